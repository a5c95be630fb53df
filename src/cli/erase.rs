//! `erase`: publishes that somebody is to be erased; whoever reads the customers' topic hears of it, and not tidegate alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::feed::avro;
use super::{Environment, Exit, Output, Settings, Stop};
use crate::app::kafka;
use crate::bus::InputId;
use crate::bus::kafka::admin::Admin;
use crate::bus::kafka::feed::{FeedProducer, Feeding};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, Format};
use crate::engine::erasure_id;
use crate::event::{DecodeRules, EventType, Stream};
use crate::partitioner;
use crate::plan;
use crate::recording::{Placed, Placing};
use crate::value::ProfileKey;

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct Erase {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    who: Who,
    /// The record to publish instead of tidegate's own, for an input with a mapping or a filter; it has to be read there as the erasure
    #[arg(long, value_name = "JSON")]
    record: Option<String>,
    /// Do it; else it only shows what would go
    #[arg(long)]
    yes: bool,
}

/// Exactly one of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Who {
    /// The customer; their devices and the customers merged into them go along
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// The visitor; of one who logged in, the whole customer
    #[arg(long, value_name = "ANONYMOUS_ID")]
    visitor: Option<String>,
}

impl Who {
    fn key(&self) -> ProfileKey {
        match (&self.customer, &self.visitor) {
            (Some(id), _) => ProfileKey::customer(id),
            (None, visitor) => ProfileKey::anonymous(visitor.as_deref().unwrap_or_default()),
        }
    }
}

/// Why nothing was published.
const fn unread(is_given: bool) -> &'static str {
    if is_given {
        "no JSON input reads this record as the erasure of that id: `tidegate map --input NAME --events FILE` shows what becomes of it"
    } else {
        "no input takes an `erased` event in tidegate's own shape: those that carry `customers` have a mapping, or a filter that leaves it \
         out; say with --record what an erasure looks like there"
    }
}

/// The first input that reads `line` as the erasure of `key`; `is_given`: it is not tidegate's own. Without a key and event where the id is nobody's.
fn place(
    config: &Config,
    rules: &DecodeRules,
    line: &[u8],
    key: &ProfileKey,
    is_given: bool,
) -> Result<Option<Placed>, Stop> {
    // Input 0 is the application's own.
    for (id, input) in (1_u16..).map(InputId).zip(&config.inputs) {
        let is_ours = input.stream == Some(Stream::Customers);
        let is_read = if input.format == Format::Json {
            is_ours || input.mapping.is_some()
        } else {
            // Avro is written of our own events only.
            is_ours && input.mapping.is_none() && !is_given
        };
        if !is_read {
            continue;
        }
        let reading = plan::reading(input).map_err(|error| Stop::of(Exit::Config, &error))?;
        let placing = Placing::new(config, rules, config.topics.partitions);
        let placed = placing.of_input(id, reading.as_ref()).place(line);
        let Ok(placed) = placed else { continue };
        match &placed.event {
            Some(event) if event.kind != EventType::Erased => {}
            Some(event) if event.profile_key().is_none_or(|read| read == *key) => {
                return Ok(Some(placed));
            }
            Some(_) | None => {}
        }
    }
    Ok(None)
}

impl Erase {
    pub(super) fn run(self, environment: &Environment, output: Output<'_>) -> Result<(), Stop> {
        let (config, flows) = self.settings.load_with_flows(environment)?;
        let (app, key) = (&config.app.id, self.who.key());
        let clock = SystemClock::new();
        let now = clock.wall();
        // An id that tells nothing of the person.
        let mut event = json!({
            "event_id": format!("erase-{}", now.millis()), "type": EventType::Erased.name(), "event_time": now, "source": "tidegate",
        });
        let field = if self.who.customer.is_some() {
            "customer_id"
        } else {
            "anonymous_id"
        };
        if let Some(event) = event.as_object_mut() {
            event.insert(field.to_owned(), key.id().into());
        }
        let own = event.to_string();
        let line = self.record.as_deref().unwrap_or(&own).as_bytes();
        let rules = plan::decode_rules(&config);
        let is_given = self.record.is_some();
        let Some(placed) = place(&config, &rules, line, &key, is_given)? else {
            return Err(Stop::new(Exit::Config, unread(is_given)));
        };
        let (Some(event), Some(of)) = (&placed.event, &placed.key) else {
            let text = "this is nobody's id: it is empty, too long, or one of identity.ignore";
            return Err(Stop::new(Exit::Usage, text));
        };
        let topics = plan::input_topics(&config);
        let topic = topics.get(usize::from(placed.input.0));
        let topic = topic.map_or_else(|| Arc::from(""), Arc::clone);
        let proof = ProfileKey::address(&erasure_id(&flows.policy.address_key, &key));
        writeln!(
            output,
            "to erase: the profile with all it holds, its aliases, timers and running flows; what left and was not sent is cancelled\n\
             by: one `erased` event in {topic}; what happened until {} is dropped wherever it still arrives\n\
             to stay: what was forbidden, with the addresses, under keyed hashes; a proof in {app}-decisions, of profile {}\n\
             to stay until their retention ends: {topic} and the other inputs, {app}-decisions, {app}-dlq, and the channels' topics",
            event.event_time,
            proof.as_str()
        )?;
        if !self.yes {
            writeln!(output, "Nothing was published: say --yes")?;
            return Ok(());
        }
        let settings = kafka::settings(&config, 0)?;
        let admin = Admin::connect(&settings)?;
        kafka::ready_topics(&kafka::input_topics(&config), &admin, config.topics.create)?;
        let counts = kafka::intake_counts(&config, &admin)?;
        let count = counts.get(&topic).copied();
        let partition = partitioner::partition(of, count.unwrap_or(config.topics.partitions));
        let encoders = if self.record.is_none() {
            avro(&config)?
        } else {
            BTreeMap::new()
        };
        let written = encoders
            .get(&placed.input)
            .map(|encoder| encoder.encode(event, &rules.currencies))
            .transpose()
            .map_err(|error| Stop::of(Exit::Failure, &error))?;
        let producer = FeedProducer::connect(&settings)?;
        producer.send(Feeding {
            line: None,
            topic: &topic,
            partition,
            key: Some(of),
            value: written.as_deref().unwrap_or(line),
            time: now,
            header: None,
        })?;
        producer.finish()?;
        writeln!(output, "published")?;
        Ok(())
    }
}
