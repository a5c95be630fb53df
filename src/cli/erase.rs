//! `erase`: publishes that somebody is to be erased; whoever reads the customers' topic hears of it, and not tidegate alone.

use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::feed::avro;
use super::{Environment, Exit, Output, Settings, Stop};
use crate::app::kafka;
use crate::bus::kafka::admin::Admin;
use crate::bus::kafka::feed::{FeedProducer, Feeding};
use crate::clock::{Clock as _, SystemClock};
use crate::engine::erasure_id;
use crate::event::{EventType, Stream};
use crate::partitioner;
use crate::plan;
use crate::recording::Placing;
use crate::value::ProfileKey;

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct Erase {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    who: Who,
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
        let line = event.to_string().into_bytes();
        let rules = plan::decode_rules(&config);
        let mut placing = Placing::new(&config, &rules, config.topics.partitions);
        let no_input = |_: Stream| {
            let text = "no input carries `customers` in tidegate's own shape: publish an event there that its mapping makes an `erased`";
            Stop::new(Exit::Config, text)
        };
        let placed = placing.place(&line).map_err(no_input)?;
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
             by: one `erased` event in {topic}; what happened until now is dropped wherever it still arrives\n\
             to stay: what was forbidden, with the addresses, under keyed hashes; a proof in {app}-decisions, of profile {}\n\
             to stay until their retention ends: {topic} and the other inputs, {app}-decisions, {app}-dlq, and the channels' topics",
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
        let encoders = avro(&config)?;
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
            value: written.as_deref().unwrap_or(&line),
            time: now,
            header: None,
        })?;
        producer.finish()?;
        writeln!(output, "published")?;
        Ok(())
    }
}
