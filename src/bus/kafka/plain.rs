//! A plain producer and a plain reader, without group and without transactions: what shops and senders on the other side use.
//! Only the demo plays them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::bus::{Failure, Remedy};

/// Callbacks of both.
#[derive(Default)]
struct Callbacks {
    failed: AtomicU64,
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::log(level, facility, message);
    }
    fn error(&self, error: KafkaError, _reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "plain client");
    }
}

impl ConsumerContext for Callbacks {}

impl ProducerContext for Callbacks {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn failure(attempted: &str, error: &KafkaError) -> Failure {
    let code = error
        .rdkafka_error_code()
        .map_or_else(|| "refused".to_owned(), |code| format!("{code:?}"));
    Failure::new(attempted, code, Remedy::Fatal)
}

fn config(bootstrap: &str, entries: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("client.id", "plain")
        .set("socket.nagle.disable", "true");
    for (name, value) in entries {
        config.set(*name, *value);
    }
    config
}

/// Sends at once, keyed as Java does.
pub struct Publisher {
    native: BaseProducer<Callbacks>,
}

impl Publisher {
    /// Does not wait for a connection.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(bootstrap: &str) -> Result<Self, Failure> {
        let config = config(
            bootstrap,
            &[("partitioner", "murmur2_random"), ("linger.ms", "0")],
        );
        let native = BaseProducer::from_config_and_context(&config, Callbacks::default())
            .map_err(|error| failure("make a producer", &error))?;
        Ok(Self { native })
    }

    /// Puts one record on its way; when the local queue is full, waits for room.
    ///
    /// # Errors
    /// When the record can never be sent.
    pub fn send(&self, topic: &str, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        loop {
            let record = BaseRecord::to(topic).key(key).payload(value);
            match self.native.send(record) {
                Ok(()) => return Ok(()),
                Err((error, _)) => {
                    if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                        return Err(failure(&format!("send to {topic}"), &error));
                    }
                    self.native.poll(Duration::from_millis(1));
                }
            }
        }
    }

    /// Takes delivery reports in; call it now and then. Gives how many records were not delivered so far.
    #[must_use]
    pub fn undelivered(&self) -> u64 {
        self.native.poll(Duration::ZERO);
        self.native.context().failed.load(Ordering::Relaxed)
    }
}

/// Reads whole topics from their beginning.
pub struct Listener {
    native: BaseConsumer<Callbacks>,
}

impl Listener {
    /// Reads these topics, each with its number of partitions.
    ///
    /// # Errors
    /// When the client cannot be made or refuses the list.
    pub fn open<'a>(
        bootstrap: &str,
        topics: impl IntoIterator<Item = (&'a str, i32)>,
    ) -> Result<Self, Failure> {
        let config = config(
            bootstrap,
            &[
                // Never used: there is neither membership nor commit; the client just will not assign without.
                ("group.id", "plain"),
                ("enable.auto.commit", "false"),
                ("isolation.level", "read_committed"),
                ("auto.offset.reset", "earliest"),
                ("fetch.wait.max.ms", "2"),
                ("fetch.queue.backoff.ms", "2"),
            ],
        );
        let native: BaseConsumer<Callbacks> =
            BaseConsumer::from_config_and_context(&config, Callbacks::default())
                .map_err(|error| failure("make a reader", &error))?;
        let mut list = TopicPartitionList::new();
        for (topic, partitions) in topics {
            for partition in 0..partitions {
                list.add_partition_offset(topic, partition, Offset::Beginning)
                    .map_err(|error| failure(&format!("read {topic}"), &error))?;
            }
        }
        native
            .assign(&list)
            .map_err(|error| failure("read the topics", &error))?;
        Ok(Self { native })
    }

    /// The value of the next record, if there is one within `wait`.
    ///
    /// # Errors
    /// When the client says that reading cannot go on; what it repairs itself is none.
    pub fn poll(&self, wait: Duration) -> Result<Option<Vec<u8>>, Failure> {
        match self.native.poll(wait) {
            None => Ok(None),
            Some(Ok(message)) => Ok(message.payload().map(<[u8]>::to_vec)),
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => Err(Failure::new(
                "read the topics",
                format!("{code:?}"),
                Remedy::Fatal,
            )),
            Some(Err(_)) => Ok(None),
        }
    }
}
