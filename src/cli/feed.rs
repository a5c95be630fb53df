//! `feed`: publishes recorded events to the input topics.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::{Environment, Exit, Output, Settings, Stop, instant};
use crate::app::{kafka, registry};
use crate::bus::InputId;
use crate::bus::kafka::admin::Admin;
use crate::bus::kafka::feed::FeedProducer;
use crate::clock::SystemClock;
use crate::config::{Config, Format, stream_name};
use crate::event::avro::{Encoder, schema_text};
use crate::feed::{Feed, FeedError};
use crate::plan;
use crate::recording::{Lines, Placing};
use crate::value::{Span, Timestamp};

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct FeedLine {
    #[command(flatten)]
    settings: Settings,
    /// Events as JSON Lines, plain or gzip, all streams mixed, in arrival order; `-` is standard input
    #[arg(short, long, value_name = "FILE", num_args = 1.., required = true)]
    events: Vec<PathBuf>,
    /// At most that many events per second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Then run the records' clock on to this time, by a mark in every partition
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<Timestamp>,
}

impl From<FeedError> for Stop {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Recording(error) => Self::of(Exit::Io, &error),
            FeedError::Bus(failure) => failure.into(),
            FeedError::TooOld { .. } => Self::of(Exit::Config, &error),
            FeedError::Avro { .. } => Self::of(Exit::Failure, &error),
        }
    }
}

impl FeedLine {
    pub(super) fn run(self, environment: &Environment, output: Output<'_>) -> Result<(), Stop> {
        let config = self.settings.load(environment)?;
        let settings = kafka::settings(&config, 0)?;
        let admin = Admin::connect(&settings)?;
        let inputs = kafka::input_topics(&config);
        kafka::ready_topics(&inputs, &admin, config.topics.create)?;
        let topics = plan::input_topics(&config);
        let counts = kafka::intake_counts(&config, &admin)?;
        let count = |topic: &Arc<str>| counts.get(topic).copied();
        let partitions: Vec<i32> = topics
            .iter()
            .map(|topic| count(topic).unwrap_or(config.topics.partitions))
            .collect();
        let producer = FeedProducer::connect(&settings)?;
        let rules = plan::decode_rules(&config);
        let feed = Feed {
            producer: &producer,
            topics: &topics,
            retention: &retention(&admin, &topics)?,
            partitions: &partitions,
            avro: avro(&config)?,
            rate: self.rate,
            clock: &SystemClock::new(),
        };
        let terminal = std::io::stderr().is_terminal();
        let mut progress = |records: u64, took: Duration| {
            if terminal {
                let rate = records as f64 / took.as_secs_f64().max(0.001);
                // Nobody looks when it cannot be written.
                drop(write!(
                    std::io::stderr(),
                    "\r{records} events, {rate:.0}/s "
                ));
            }
        };
        let placing = Placing::new(&config, &rules, config.topics.partitions);
        let fed = feed.run(Lines::of(self.events), placing, self.until, &mut progress)?;
        if terminal {
            drop(writeln!(std::io::stderr()));
        }
        writeln!(output, "{} events published", fed.records - fed.strange)?;
        if fed.strange > 0 {
            writeln!(
                output,
                "{} lines published that are no events: `run` makes them dead letters",
                fed.strange
            )?;
        }
        for (stream, count) in fed.unread {
            writeln!(
                output,
                "{count} left out: no input for {}",
                stream_name(stream)
            )?;
        }
        Ok(())
    }
}

/// What writes for the inputs that are read in Avro in our own shape. Schemas for those with a registry are registered, as any producer does.
pub(super) fn avro(config: &Config) -> Result<BTreeMap<InputId, Encoder>, Stop> {
    let client = registry::client(config)?;
    let mut encoders = BTreeMap::new();
    // Input 0 is the application's own.
    for (id, input) in (1_u16..).map(InputId).zip(&config.inputs) {
        let encoder = match (input.format, input.stream, &client) {
            (Format::AvroSingleObject, _, _) => Encoder::new(),
            (Format::Avro, Some(stream), Some(client)) if input.mapping.is_none() => {
                let subject = format!("{}-value", input.topic);
                let registered = client.register(&subject, schema_text(stream));
                let schema = registry::wait(registered)?.map_err(registry::refused)?;
                Encoder::registered(stream, schema)
            }
            (Format::Json | Format::Avro, _, _) => continue,
        };
        let encoder = encoder.map_err(|error| Stop::of(Exit::Failure, &error))?;
        encoders.insert(id, encoder);
    }
    Ok(encoders)
}

/// What each input topic keeps, by age; those without a limit are not among them. A topic that stamps records itself cannot be fed.
fn retention(admin: &Admin, topics: &[Arc<str>]) -> Result<BTreeMap<Arc<str>, Span>, Stop> {
    let inputs: Vec<&str> = topics.iter().skip(1).map(|topic| &**topic).collect();
    let mut kept = BTreeMap::new();
    for (topic, settings) in admin.settings(&inputs)? {
        if settings
            .get("message.timestamp.type")
            .is_some_and(|kind| kind == "LogAppendTime")
        {
            return Err(Stop::new(
                Exit::Config,
                format!(
                    "topic {topic} has message.timestamp.type=LogAppendTime: records would lose their time; set it to CreateTime"
                ),
            ));
        }
        let deletes = settings
            .get("cleanup.policy")
            .is_none_or(|policy| policy.contains("delete"));
        let age = settings
            .get("retention.ms")
            .and_then(|age| age.parse().ok());
        if let Some(age) = age.filter(|age| deletes && *age >= 0) {
            kept.insert(topic.as_str().into(), Span::from_millis(age));
        }
    }
    Ok(kept)
}
