//! The reader of changelog partitions: assigned by hand, read_committed, never a member.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::failure::{Call, failure};
use super::settings::Settings;
use crate::bus::{ChangelogChunk, ChangelogRecord, Failure, NextOffset, Remedy};
use crate::value::Timestamp;

/// Limits of one read.
const RECORDS: usize = 5_000;
const BYTES: usize = 4 << 20;

/// Takes librdkafka's callbacks of the reader.
#[derive(Default)]
struct ReaderCallbacks {
    /// Offset of the end of partition that was told last. rdkafka's error has the partition only; librdkafka's text, which arrives
    /// here just before in the same thread, has the offset that the next fetch starts at. That may lie beyond the position, where
    /// compaction emptied the last batches.
    end: Mutex<Option<i64>>,
}

impl ClientContext for ReaderCallbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::log(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(Code::PartitionEOF) {
            *self.end.lock().unwrap_or_else(PoisonError::into_inner) = end_in(reason);
        } else {
            tracing::debug!(target: "librdkafka", %error, "changelog reader");
        }
    }
}

impl ConsumerContext for ReaderCallbacks {}

/// Reads `… reached end of partition at offset 812 (HighwaterMark 812)`.
fn end_in(reason: &str) -> Option<i64> {
    let (_, after) = reason.split_once("at offset ")?;
    after.split(' ').next()?.parse().ok()
}

/// Reads several partitions of the changelog.
pub(super) struct ChangelogReader {
    /// Made when the first partition is opened.
    consumer: Option<BaseConsumer<ReaderCallbacks>>,
    settings: Settings,
    /// Open partitions with their positions.
    open: BTreeMap<i32, NextOffset>,
}

impl ChangelogReader {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            consumer: None,
            settings: settings.clone(),
            open: BTreeMap::new(),
        }
    }

    fn topic(&self) -> &Arc<str> {
        &self.settings.changelog
    }

    fn attempted(&self, what: &str, partition: i32) -> String {
        format!("{what} {} partition {partition}", self.topic())
    }

    pub(super) fn open(&mut self, partition: i32, from: NextOffset) -> Result<(), Failure> {
        if self.open.contains_key(&partition) {
            self.close(partition)?;
        }
        let attempted = self.attempted("open", partition);
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => BaseConsumer::from_config_and_context(
                &self.settings.changelog_reader(),
                ReaderCallbacks::default(),
            )
            .map_err(|error| failure(Call::Connect, "make the changelog reader", &error))?,
        };
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(self.topic(), partition, Offset::Offset(from.get()))
            .map_err(|error| failure(Call::Assign, attempted.as_str(), &error))?;
        let assigned = consumer
            .incremental_assign(&list)
            .map_err(|error| failure(Call::Assign, attempted.as_str(), &error));
        self.consumer = Some(consumer);
        assigned?;
        self.open.insert(partition, from);
        self.wake();
        Ok(())
    }

    pub(super) fn close(&mut self, partition: i32) -> Result<(), Failure> {
        if self.open.remove(&partition).is_none() {
            return Ok(());
        }
        let Some(consumer) = &self.consumer else {
            return Ok(());
        };
        let mut list = TopicPartitionList::new();
        list.add_partition(self.topic(), partition);
        consumer
            .incremental_unassign(&list)
            .map_err(|error| failure(Call::Assign, self.attempted("close", partition), &error))
    }

    /// The thread that fetches from a broker sleeps up to a second when it had nothing to fetch.
    fn wake(&self) {
        if let Some(consumer) = &self.consumer
            && let Err(error) = consumer.fetch_metadata(Some(self.topic()), Duration::from_secs(1))
        {
            tracing::debug!(%error, "metadata of the changelog");
        }
    }

    pub(super) fn read(&mut self, wait: Duration) -> Result<Vec<(i32, ChangelogChunk)>, Failure> {
        let mut chunks: BTreeMap<i32, ChangelogChunk> = BTreeMap::new();
        let Some(consumer) = self.consumer.as_ref().filter(|_| !self.open.is_empty()) else {
            return Ok(Vec::new());
        };
        let mut remaining = wait;
        let mut records = 0;
        let mut bytes = 0;
        while records < RECORDS && bytes < BYTES {
            let Some(polled) = consumer.poll(remaining) else {
                break;
            };
            remaining = Duration::ZERO;
            match polled {
                Ok(message) => {
                    let partition = message.partition();
                    let Some(position) = self.open.get_mut(&partition) else {
                        continue;
                    };
                    *position = NextOffset::after(message.offset());
                    records += 1;
                    bytes += message.payload_len() + message.key_len();
                    let chunk = chunks.entry(partition).or_default();
                    chunk.records.push(record(&message));
                }
                Err(KafkaError::PartitionEOF(partition)) => {
                    let end = consumer
                        .context()
                        .end
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .take();
                    if let Some(position) = self.open.get_mut(&partition) {
                        *position =
                            end.map_or(*position, |end| (*position).max(NextOffset::at(end)));
                        chunks.entry(partition).or_default();
                    }
                }
                Err(error) => {
                    let failed = failure(
                        Call::Changelog,
                        format!("read {}", self.settings.changelog),
                        &error,
                    );
                    if failed.remedy == Remedy::Fatal {
                        return Err(failed);
                    }
                    tracing::debug!(code = %failed.code, "changelog reader");
                }
            }
        }
        self.move_over_markers();
        for (partition, position) in &self.open {
            // A partition of which only a marker arrived has moved too.
            let chunk = chunks.entry(*partition).or_default();
            chunk.position = Some(*position);
        }
        Ok(chunks.into_iter().collect())
    }

    /// The client's own positions also count transaction markers and aborted records before them.
    fn move_over_markers(&mut self) {
        let Some(Ok(positions)) = self.consumer.as_ref().map(Consumer::position) else {
            return;
        };
        for (partition, position) in &mut self.open {
            if let Some(element) = positions.find_partition(&self.settings.changelog, *partition)
                && let Offset::Offset(next) = element.offset()
            {
                *position = (*position).max(NextOffset::at(next));
            }
        }
    }
}

fn record(message: &BorrowedMessage<'_>) -> ChangelogRecord {
    ChangelogRecord {
        offset: message.offset(),
        timestamp: Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0)),
        key: message.key().unwrap_or_default().to_vec(),
        value: message.payload().map(<[u8]>::to_vec),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_read_from_librdkafkas_text() {
        let reason =
            "Fetch from broker 1 reached end of partition at offset 812 (HighwaterMark 815)";
        assert_eq!(end_in(reason), Some(812));
        assert_eq!(end_in("Fetch from broker 1 failed"), None);
    }
}
