//! librdkafka's embedded broker: for the demo and for injecting errors, never for an exactly-once claim.
//!
//! It has no read_committed, stores no transactional offsets, creates topics by its own call only, and drops what exceeds 5 MB or
//! 100,000 records per partition. So: one worker, started fresh, nothing to restore, and a bounded rate.

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::bus::{Failure, Remedy};

/// One broker inside this process, gone when dropped.
pub struct EmbeddedBroker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl EmbeddedBroker {
    /// Starts it on a free port of the loopback.
    ///
    /// # Errors
    /// `Fatal` when there is no port to be had.
    pub fn start() -> Result<Self, Failure> {
        let cluster = MockCluster::new(1)
            .map_err(|error| refused("start the embedded broker".to_owned(), &error))?;
        Ok(Self { cluster })
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// `Fatal` when it is refused.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), Failure> {
        let created = self.cluster.create_topic(topic, partitions, 1);
        created.map_err(|error| refused(format!("create the embedded topic {topic}"), &error))
    }

    /// `host:port`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.cluster.bootstrap_servers()
    }
}

fn refused(attempted: String, error: &KafkaError) -> Failure {
    Failure::new(attempted, error.to_string(), Remedy::Fatal)
}
