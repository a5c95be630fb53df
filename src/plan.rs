//! From a checked configuration and compiled flows to what the tasks are given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bus::{InputId, Source, Sources};
use crate::config::{self, Clock, Config, Input, Keying, MappingSetting, internal_topic};
use crate::engine::Plan;
use crate::event::avro::{EncodeError, SchemaError, Schemas};
use crate::event::mapping::{self, Piece, Reading};
use crate::event::{Currencies, DecodeRules, Limits, Rate, Stream};
use crate::flow::problem::Problem;
use crate::outbound::{DecisionWriter, OutboundPlan};
use crate::task::fold::{ClockKind, FoldPlan, Format, InputSpec};

/// The topics that are read, in the order of the configuration: the anchor `<app>-events` first.
#[must_use]
pub fn input_topics(config: &Config) -> Vec<Arc<str>> {
    let anchor = internal_topic(&config.app.id, "events").into();
    let inputs = config
        .inputs
        .iter()
        .map(|input| input.topic.as_str().into());
    std::iter::once(anchor).chain(inputs).collect()
}

/// A topic that goes through intake may grow to so many times its partitions while it is read, or to so many.
const GROWTH: i32 = 4;
const LEAST_ROOM: i32 = 64;

/// Gives the topics that go through intake as many lanes as their partitions (and some more that may come) need: inputs behind all
/// others, so that the numbers of those do not change.
pub fn add_lanes(shared: &mut FoldPlan, counts: &BTreeMap<Arc<str>, i32>) {
    let tasks = shared.partitions.max(1);
    let mut lanes = Vec::new();
    for input in shared
        .inputs
        .iter()
        .filter(|input| input.source.lane.is_some())
    {
        let count = counts.get(&input.source.topic).copied().unwrap_or(tasks);
        let room = count.saturating_mul(GROWTH).max(LEAST_ROOM);
        let most = room.saturating_add(tasks - 1) / tasks;
        for lane in 1..most {
            let mut more = input.clone();
            more.source.lane = Some(lane);
            lanes.push(more);
        }
    }
    shared.inputs.extend(lanes);
}

/// Where every input stands on the bus.
#[must_use]
pub fn sources(shared: &FoldPlan, counts: &BTreeMap<Arc<str>, i32>) -> Sources {
    let inputs = shared.inputs.iter().map(|input| input.source.clone());
    Sources::new(inputs.collect(), shared.partitions, counts.clone())
}

/// The topics that go through intake.
#[must_use]
pub fn intake_topics(config: &Config) -> Vec<&str> {
    let intake = config
        .inputs
        .iter()
        .filter(|input| input.key == Keying::Any);
    intake.map(|input| input.topic.as_str()).collect()
}

/// The input that carries a stream in our own shape: the first one of the configuration that is bound to it.
#[must_use]
pub fn input_of(config: &Config, stream: Stream) -> Option<InputId> {
    let at = config
        .inputs
        .iter()
        .position(|input| input.stream == Some(stream) && input.mapping.is_none())?;
    u16::try_from(at + 1).ok().map(InputId)
}

/// How events are read in this shop.
#[must_use]
pub fn decode_rules(config: &Config) -> DecodeRules {
    let rates = config
        .shop
        .rates
        .iter()
        .filter_map(|(currency, rate)| Some((currency.clone(), Rate::parse(&rate.0)?)));
    DecodeRules {
        currencies: Currencies::new(&config.shop.currency, rates),
        ignored_ids: config.identity.ignore.clone(),
        limits: Limits::default(),
    }
}

/// Why the inputs cannot be read as configured.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The directory of an input's schemas, or a file in it.
    #[error("cannot read the Avro schemas of input {input}")]
    Unreadable {
        /// Name of the input.
        input: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// One of them is not a schema that we can read with.
    #[error("input {input} has an Avro schema that cannot be used")]
    Schema {
        /// Name of the input.
        input: String,
        /// Which and why.
        source: SchemaError,
    },
    /// The file of an input's mapping.
    #[error("cannot read the mapping {path}", path = path.display())]
    NoMapping {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A mapping or filter is wrong.
    #[error("input {input} has a mapping that cannot be used:{found}", found = listed(problems))]
    Mapping {
        /// Name of the input.
        input: String,
        /// Everything that is wrong with it.
        problems: Vec<Problem>,
    },
}

fn listed(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| format!("\n{problem}"))
        .collect()
}

/// What every task shares. `replay` says which clock it runs on, whatever the configuration says.
///
/// # Errors
/// When the schemas of an Avro input cannot be read.
pub fn fold_plan(config: &Config, plan: Plan, clock: ClockKind) -> Result<FoldPlan, InputError> {
    let anchor = InputSpec {
        source: Source {
            topic: internal_topic(&config.app.id, "events").into(),
            lane: None,
        },
        format: Format::Json,
        reading: None,
        history: false,
    };
    let mut inputs = vec![anchor];
    for input in &config.inputs {
        inputs.push(InputSpec {
            source: Source {
                topic: input.topic.as_str().into(),
                lane: (input.key == Keying::Any).then_some(0),
            },
            format: format(input)?,
            reading: reading(input)?.map(Arc::new),
            history: input.history,
        });
    }
    Ok(FoldPlan {
        plan,
        inputs,
        partitions: config.topics.partitions,
        decode: decode_rules(config),
        clock,
    })
}

/// Which records of an input are taken, and what they become; `None`: all of them, in our own shape.
///
/// # Errors
/// When the file of its mapping cannot be read, or is wrong.
pub fn reading(input: &Input) -> Result<Option<Reading>, InputError> {
    let wrong = |problems| InputError::Mapping {
        input: input.name().to_owned(),
        problems,
    };
    let filter = input.filter.as_ref().map(|filter| filter.0.piece());
    let compiled = match (&input.mapping, filter) {
        (None, None) => return Ok(None),
        (None, filter) => mapping::compile(filter, None),
        (Some(MappingSetting::Inline(written)), filter) => {
            mapping::compile(filter, Some(written.piece()))
        }
        (Some(MappingSetting::File(path)), filter) => {
            let text = std::fs::read_to_string(path).map_err(|source| InputError::NoMapping {
                path: path.clone(),
                source,
            })?;
            let file = path.display().to_string();
            let tree = mapping::parse(&file, &text).map_err(wrong)?;
            let piece = Piece {
                file: &file,
                text: &text,
                tree: &tree,
            };
            mapping::compile(filter, Some(piece))
        }
    };
    compiled.map(Some).map_err(wrong)
}

fn format(input: &Input) -> Result<Format, InputError> {
    match input.format {
        config::Format::Json => Ok(Format::Json),
        config::Format::Avro => Ok(Format::Avro),
        config::Format::AvroSingleObject => {
            let name = || input.name().to_owned();
            let texts = match &input.schemas {
                Some(directory) => {
                    schema_texts(directory).map_err(|source| InputError::Unreadable {
                        input: name(),
                        source,
                    })?
                }
                None => Vec::new(),
            };
            let schemas = Schemas::new(texts.iter().map(String::as_str)).map_err(|source| {
                InputError::Schema {
                    input: name(),
                    source,
                }
            })?;
            Ok(Format::AvroSingleObject(Arc::new(schemas)))
        }
    }
}

/// The `.avsc` files of a directory, in the order of their names.
fn schema_texts(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut files: Vec<_> = std::fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "avsc")
    });
    files.sort();
    files.iter().map(std::fs::read_to_string).collect()
}

/// The clock that the configuration asks for.
#[must_use]
pub const fn clock_kind(config: &Config) -> ClockKind {
    match config.app.clock {
        Clock::Live => ClockKind::Live,
        Clock::Records => ClockKind::Records,
    }
}

/// Where everything goes that leaves, and how it is written; what is written with a registry gets its writers when its schemas are registered.
///
/// # Errors
/// Never, unless the shipped Avro schema is broken.
pub fn outbound_plan(config: &Config) -> Result<OutboundPlan, EncodeError> {
    let internal = |what: &str| internal_topic(&config.app.id, what).into();
    Ok(OutboundPlan {
        application: config.app.id.as_str().into(),
        events_topic: internal("events"),
        decisions_topic: internal("decisions"),
        blocks_topic: internal("blocks"),
        dead_letters_topic: internal("dlq"),
        changelog_topic: internal("profiles-changelog"),
        avro_channels: config
            .channels
            .iter()
            .filter(|(_, channel)| channel.format == config::Format::AvroSingleObject)
            .map(|(name, _)| Ok((name.as_str().into(), DecisionWriter::new()?)))
            .collect::<Result<_, EncodeError>>()?,
        avro_log: None,
    })
}
