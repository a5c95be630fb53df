//! The producer of `feed`: idempotent, not transactional, with partitions and timestamps chosen by the caller.
//!
//! What it publishes is somebody else's input, so there is no exactly-once to keep: a feed that is killed and started again
//! publishes again, and the events' ids make the repeats duplicates.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::Settings;
use super::failure::{Call, failure};
use crate::bus::{Failure, Remedy};
use crate::value::Timestamp;

/// How long one record may take before it counts as lost.
const DELIVERY: &str = "60000";
/// Wait for room in the local queue, per look.
const ROOM: Duration = Duration::from_millis(5);

/// One record to publish.
#[derive(Clone, Copy, Debug)]
pub struct Feeding<'a> {
    /// Which line of the log it is, counted from 1, named when it cannot be published; `None`: none.
    pub line: Option<usize>,
    /// To which topic.
    pub topic: &'a str,
    /// To which partition of it.
    pub partition: i32,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: &'a [u8],
    /// Its timestamp.
    pub time: Timestamp,
    /// One header, if any.
    pub header: Option<(&'a str, &'a str)>,
}

#[derive(Default)]
struct Callbacks {
    failed: Mutex<Option<Failure>>,
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::log(level, facility, message);
    }
}

impl ProducerContext for Callbacks {
    /// The line, 0 for none.
    type DeliveryOpaque = usize;
    fn delivery(&self, result: &DeliveryResult<'_>, line: usize) {
        if let Err((error, message)) = result {
            let attempted = attempted(line, message.topic(), message.partition());
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert_with(|| failure(Call::Send, attempted, error));
        }
    }
}

fn attempted(line: usize, topic: &str, partition: i32) -> String {
    if line == 0 {
        format!("publish to {topic} partition {partition}")
    } else {
        format!("publish line {line} to {topic} partition {partition}")
    }
}

/// Publishes events.
pub struct FeedProducer {
    native: BaseProducer<Callbacks>,
}

impl FeedProducer {
    /// Makes the client; the first record connects it.
    ///
    /// # Errors
    /// `Fatal` when librdkafka refuses the settings.
    pub fn connect(settings: &Settings) -> Result<Self, Failure> {
        let mut config = settings.admin();
        config
            .set("client.id", "tidegate-feed")
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("delivery.timeout.ms", DELIVERY)
            // The broker's limit decides, and says so.
            .set("message.max.bytes", "16777216");
        for (name, value) in [("linger.ms", "5"), ("compression.type", "lz4")] {
            if !settings.properties.contains_key(name) {
                config.set(name, value);
            }
        }
        let native = BaseProducer::from_config_and_context(&config, Callbacks::default())
            .map_err(|error| failure(Call::Connect, "make the producer", &error))?;
        Ok(Self { native })
    }

    /// Queues a record, waiting for room.
    ///
    /// # Errors
    /// When this record, or one before it, cannot be published.
    pub fn send(&self, feeding: Feeding<'_>) -> Result<(), Failure> {
        let line = feeding.line.unwrap_or(0);
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(feeding.topic, line)
            .partition(feeding.partition)
            .payload(feeding.value)
            .timestamp(feeding.time.millis());
        if let Some(key) = feeding.key {
            record = record.key(key);
        }
        if let Some((key, value)) = feeding.header {
            let value = Some(value);
            record = record.headers(OwnedHeaders::new().insert(Header { key, value }));
        }
        loop {
            match self.native.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.wait(ROOM)?;
                }
                Err((error, _)) => {
                    let attempted = attempted(line, feeding.topic, feeding.partition);
                    return Err(failure(Call::Send, attempted, &error));
                }
            }
        }
        self.wait(Duration::ZERO)
    }

    /// Serves delivery reports for that long.
    ///
    /// # Errors
    /// When a record could not be published.
    pub fn wait(&self, time: Duration) -> Result<(), Failure> {
        self.native.poll(time);
        let mut failed = self
            .native
            .context()
            .failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        failed.take().map_or(Ok(()), Err)
    }

    /// Waits until everything is acknowledged.
    ///
    /// # Errors
    /// When a record could not be published in time.
    pub fn finish(&self) -> Result<(), Failure> {
        let bound = Duration::from_millis(DELIVERY.parse().unwrap_or(60_000));
        self.native
            .flush(bound)
            .map_err(|error| failure(Call::Send, "publish the last records", &error))?;
        self.wait(Duration::ZERO)?;
        if self.native.in_flight_count() == 0 {
            Ok(())
        } else {
            Err(Failure::new(
                "publish the last records",
                "no answer",
                Remedy::Retry,
            ))
        }
    }
}
