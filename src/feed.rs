//! Publishes a recorded log to the input topics: trying out, backfill, load (product.md §8).
//!
//! Each event goes to the topic of its stream, under the key that `run` demands, to the partition that Java would choose, stamped
//! with the time that `replay` would give it. So `run` with `clock: records` over what was fed decides what `replay` decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::bus::kafka::feed::{FeedProducer, Feeding};
use crate::bus::{Failure, InputId};
use crate::clock::Clock;
use crate::event::avro::{EncodeError, Encoder};
use crate::event::{DecodeRules, Stream};
use crate::partitioner;
use crate::recording::{Lines, Placed, Placing, RecordingError};
use crate::task::fold::{ANCHOR, MARK_HEADER};
use crate::value::{Span, Timestamp};

/// Why feeding stopped.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The log cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The broker does not take a record.
    #[error(transparent)]
    Bus(#[from] Failure),
    /// An event that Avro cannot carry: a bug, for it was decoded.
    #[error("line {line} cannot be written in Avro")]
    Avro {
        /// Which line, blank ones not counted.
        line: u64,
        /// What the encoder said.
        source: EncodeError,
    },
    /// A record that the topic would delete at its next look.
    #[error(
        "line {line}: its time {time} is older than the retention of topic {topic} ({retention}): the broker would delete it; \
         raise retention.ms of that topic, or feed a log that is younger"
    )]
    TooOld {
        /// Which line, blank ones not counted.
        line: u64,
        /// Its time.
        time: Timestamp,
        /// Where it would go.
        topic: Arc<str>,
        /// What that topic keeps.
        retention: Span,
    },
}

/// Where and how to publish.
pub struct Feed<'a> {
    /// Publishes.
    pub producer: &'a FeedProducer,
    /// Topic names by input.
    pub topics: &'a [Arc<str>],
    /// What each topic keeps; absent: everything.
    pub retention: &'a BTreeMap<Arc<str>, Span>,
    /// Partitions of each.
    pub partitions: &'a [i32],
    /// What writes for the inputs that are read in Avro; all others get the lines as they are.
    pub avro: BTreeMap<InputId, Encoder>,
    /// At most that many events per second.
    pub rate: Option<u32>,
    /// Reads the time.
    pub clock: &'a dyn Clock,
}

/// What was published.
#[derive(Clone, Debug, Default)]
pub struct Fed {
    /// Records.
    pub records: u64,
    /// Of them, lines that are no events.
    pub strange: u64,
    /// Lines of streams that no input carries.
    pub unread: BTreeMap<Stream, u64>,
}

impl Feed<'_> {
    /// Publishes every line, then the marks. Calls `progress` now and then.
    ///
    /// # Errors
    /// When the log or the broker fails, or a record is too old for its topic.
    pub fn run(
        &self,
        mut lines: Lines,
        mut placing: Placing<'_>,
        until: Option<Timestamp>,
        progress: &mut dyn FnMut(u64, Duration),
    ) -> Result<Fed, FeedError> {
        let begun = self.clock.elapsed();
        let (mut fed, mut number, mut told) = (Fed::default(), 0, begun);
        let mut line = Vec::new();
        while lines.next_into(&mut line)? {
            number += 1;
            let placed = match placing.place(&line) {
                Ok(placed) => placed,
                Err(stream) => {
                    *fed.unread.entry(stream).or_default() += 1;
                    continue;
                }
            };
            let topic = self.topic(placed.input);
            if let Some(&retention) = self.retention.get(topic)
                && placed.time < self.clock.wall().minus(retention)
            {
                return Err(FeedError::TooOld {
                    line: number,
                    time: placed.time,
                    topic: Arc::clone(topic),
                    retention,
                });
            }
            let written =
                self.written(&placed, placing.rules())
                    .map_err(|source| FeedError::Avro {
                        line: number,
                        source,
                    })?;
            // Of an input that goes through intake, as Java would choose there.
            let partitions = self.partitions_of(placed.input);
            let key = placed.key.as_deref().unwrap_or(&line);
            self.producer.send(Feeding {
                line: usize::try_from(number).ok(),
                topic,
                partition: partitioner::partition(key, partitions),
                key: placed.key.as_deref(),
                value: written.as_deref().unwrap_or(&line),
                time: placed.time,
                header: None,
            })?;
            fed.records += 1;
            fed.strange += u64::from(placed.event.is_none());
            self.keep_pace(fed.records, begun)?;
            let now = self.clock.elapsed();
            if now.saturating_sub(told) >= Duration::from_millis(250) {
                told = now;
                progress(fed.records, now.saturating_sub(begun));
            }
        }
        // A mark must not overtake a record of another partition that is still on its way.
        self.producer.finish()?;
        if let Some(until) = until {
            self.mark(until)?;
        }
        progress(fed.records, self.clock.elapsed().saturating_sub(begun));
        Ok(fed)
    }

    /// The event in its input's own format; `None` where the line is that already, or is no event (and becomes a dead letter).
    fn written(
        &self,
        placed: &Placed,
        rules: &DecodeRules,
    ) -> Result<Option<Vec<u8>>, EncodeError> {
        match (self.avro.get(&placed.input), &placed.event) {
            (Some(encoder), Some(event)) => encoder.encode(event, &rules.currencies).map(Some),
            (_, _) => Ok(None),
        }
    }

    fn topic(&self, input: InputId) -> &Arc<str> {
        let index = usize::from(input.0);
        #[expect(
            clippy::indexing_slicing,
            reason = "inputs are numbered by this very list"
        )]
        &self.topics[index]
    }

    fn partitions_of(&self, input: InputId) -> i32 {
        let count = self.partitions.get(usize::from(input.0));
        count.copied().unwrap_or(1)
    }

    /// Waits until the next record may go.
    fn keep_pace(&self, records: u64, begun: Duration) -> Result<(), Failure> {
        let Some(rate) = self.rate else {
            return Ok(());
        };
        let due = Duration::from_micros(records.saturating_mul(1_000_000) / u64::from(rate.max(1)));
        let early = due.saturating_sub(self.clock.elapsed().saturating_sub(begun));
        // Below that, waiting costs more than it evens out.
        if early >= Duration::from_millis(2) {
            self.producer.wait(early)?;
        }
        Ok(())
    }

    /// Runs the records' clock of every partition on to `until`: by a record that holds nothing else, last in every input.
    fn mark(&self, until: Timestamp) -> Result<(), Failure> {
        let text = until.to_string();
        let topics = self.topics.iter().zip(self.partitions);
        // A task may have no partition of an input that goes through intake; where none has one of each task, the anchor has.
        let tasks = self.partitions_of(ANCHOR);
        let reaches_all = self.partitions.iter().skip(1).any(|count| *count >= tasks);
        for (topic, partitions) in topics.skip(usize::from(reaches_all)) {
            for partition in 0..*partitions {
                self.producer.send(Feeding {
                    line: None,
                    topic,
                    partition,
                    key: None,
                    value: b"",
                    time: until,
                    header: Some((MARK_HEADER, &text)),
                })?;
            }
        }
        self.producer.finish()
    }
}
