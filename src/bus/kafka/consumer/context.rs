//! What librdkafka tells the group member, stored until the worker asks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

/// What librdkafka told about the group, in order.
#[derive(Debug)]
pub(super) enum Rebalance {
    Assigned(Vec<i32>),
    Revoked { partitions: Vec<i32>, lost: bool },
}

/// Takes librdkafka's callbacks of the group member.
pub(in crate::bus::kafka) struct MemberContext {
    anchor: Arc<str>,
    told: Mutex<VecDeque<Rebalance>>,
    /// Nobody is there to answer any more: rebalances are answered on the spot, or closing would wait for ever.
    closing: AtomicBool,
}

impl MemberContext {
    /// Of a member that subscribes to `anchor`.
    pub(super) fn new(anchor: Arc<str>) -> Self {
        Self {
            anchor,
            told: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }

    /// From now on rebalances are answered on the spot.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// The oldest rebalance that was not taken yet.
    pub(super) fn next(&self) -> Option<Rebalance> {
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        crate::bus::kafka::log(level, facility, message);
    }
    fn error(&self, error: KafkaError, _reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "member");
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let assigned = kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::SeqCst) {
            // While it closes, librdkafka takes any answer as "give everything up", and revokes what it had assigned before. Only
            // that is answered: a second answer could meet a group that has ended, and would wait for it for ever.
            if !assigned && !consumer.closed() {
                give_up(consumer, &TopicPartitionList::new());
            }
            return;
        }
        let partitions = list
            .elements_for_topic(&self.anchor)
            .iter()
            .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
            .collect();
        let told = if assigned {
            Rebalance::Assigned(partitions)
        } else {
            Rebalance::Revoked {
                partitions,
                // Read here: `incremental_unassign` clears it.
                lost: consumer.assignment_lost(),
            }
        };
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(told);
    }
}

/// Gives partitions up, whatever comes of it.
pub(super) fn give_up(consumer: &BaseConsumer<MemberContext>, list: &TopicPartitionList) {
    if let Err(error) = consumer.incremental_unassign(list) {
        tracing::debug!(%error, "giving partitions up while closing");
    }
}
