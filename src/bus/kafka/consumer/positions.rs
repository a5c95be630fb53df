//! Positions of the member: what the group committed, where reading goes on, how far it got.

use std::thread;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{ANSWER, Gone, Held, LOCAL, Member};
use crate::bus::kafka::failure::{Call, failure};
use crate::bus::{Failure, InputId, NextOffset, Position, Remedy};

/// The bound of one question for committed offsets. While a dead peer's transaction is open on them there is no answer, for up to
/// ten seconds, and the tasks that run already must go on meanwhile.
const STABLE: Duration = Duration::from_millis(100);
/// After so long without an answer it is the broker that is slow, and gets more time.
const SLOW: Duration = Duration::from_secs(15);

impl Member {
    pub(in crate::bus::kafka) fn committed(
        &mut self,
        partitions: &[i32],
    ) -> Result<Vec<(InputId, i32, Option<NextOffset>)>, Failure> {
        let now = self.clock.elapsed();
        let since = *self.unanswered_since.get_or_insert(now);
        let slow = now.saturating_sub(since) > SLOW;
        let offsets = self.ask_committed(partitions, if slow { ANSWER } else { STABLE })?;
        self.unanswered_since = None;
        Ok(offsets)
    }

    fn ask_committed(
        &self,
        partitions: &[i32],
        within: Duration,
    ) -> Result<Vec<(InputId, i32, Option<NextOffset>)>, Failure> {
        let asked = self.inputs_of(partitions);
        let mut list = TopicPartitionList::new();
        for (_, _, topic, partition) in &asked {
            list.add_partition(topic, *partition);
        }
        let attempted = || format!("committed offsets of group {}", self.settings.app);
        let answer = self
            .consumer()?
            .committed_offsets(list, within)
            .map_err(|error| failure(Call::Ask, attempted(), &error))?;
        let mut offsets = Vec::with_capacity(asked.len());
        for (input, task, topic, partition) in asked {
            let missing = || Failure::new(attempted(), "no answer", Remedy::Retry);
            let element = answer
                .find_partition(&topic, partition)
                .ok_or_else(missing)?;
            element
                .error()
                .map_err(|error| failure(Call::Ask, attempted(), &error))?;
            let next = match element.offset() {
                Offset::Offset(next) => Some(NextOffset::at(next)),
                Offset::Invalid => None,
                // Nothing else is an answer, and a missing one is never read as zero.
                Offset::Beginning | Offset::End | Offset::Stored | Offset::OffsetTail(_) => {
                    return Err(missing());
                }
            };
            offsets.push((input, task, next));
        }
        Ok(offsets)
    }

    pub(in crate::bus::kafka) fn resume(&mut self, positions: &[Position]) -> Result<(), Failure> {
        if positions.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for position in positions {
            let (topic, partition) = self.place(position.input, position.partition)?;
            list.add_partition_offset(topic, partition, Offset::Offset(position.next.get()))
                .map_err(|error| failure(Call::Seek, format!("position in {topic}"), &error))?;
        }
        let asleep = !self.held.values().any(|held| held.reading);
        // The seek goes first: a resumed partition would fetch from where it stood.
        self.seek(list.clone())?;
        self.consumer()?
            .resume(&list)
            .map_err(|error| failure(Call::Seek, "resume", &error))?;
        if self.gone == Gone::Told {
            self.gone = Gone::Settled;
        }
        for position in positions {
            if let Some(held) = self.held.get_mut(&(position.input, position.partition)) {
                held.delivered = Some(position.next);
                held.reading = true;
            }
        }
        if asleep {
            self.wake();
        }
        Ok(())
    }

    /// Seeks them all. A partition just taken over may have to wait until one just given up has stopped.
    fn seek(&self, list: TopicPartitionList) -> Result<(), Failure> {
        let consumer = self.consumer()?;
        let deadline = self.clock.elapsed().saturating_add(LOCAL);
        let mut left = list;
        loop {
            let answer = consumer
                .seek_partitions(left, LOCAL)
                .map_err(|error| failure(Call::Seek, "seek", &error))?;
            let mut refused = TopicPartitionList::new();
            let mut reason = None;
            for element in answer.elements() {
                if let Err(error) = element.error() {
                    let failed =
                        failure(Call::Seek, format!("seek in {}", element.topic()), &error);
                    if failed.remedy == Remedy::Fatal {
                        return Err(failed);
                    }
                    reason = Some(failed);
                    refused
                        .add_partition_offset(
                            element.topic(),
                            element.partition(),
                            element.offset(),
                        )
                        .map_err(|error| failure(Call::Seek, "seek", &error))?;
                }
            }
            let Some(reason) = reason else {
                return Ok(());
            };
            if self.clock.elapsed() >= deadline {
                for element in refused.elements() {
                    self.learn(element.topic());
                }
                return Err(reason);
            }
            left = refused;
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    pub(in crate::bus::kafka) fn pause(
        &mut self,
        input: InputId,
        task: i32,
    ) -> Result<(), Failure> {
        let (topic, partition) = self.place(input, task)?;
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        self.consumer()?
            .pause(&list)
            .map_err(|error| failure(Call::Seek, format!("pause {topic}"), &error))?;
        if let Some(held) = self.held.get_mut(&(input, task)) {
            held.reading = false;
        }
        Ok(())
    }

    /// Every input partition held, with how far it was delivered (none before its first position). `end` tells where a partition
    /// ends, as far as known: only when one seems to lag behind that are markers looked for.
    pub(in crate::bus::kafka) fn delivered(
        &mut self,
        end: impl Fn(InputId, i32) -> Option<NextOffset>,
    ) -> Vec<(InputId, i32, NextOffset)> {
        let lags = |((input, partition), held): (&(InputId, i32), &Held)| {
            held.delivered < end(*input, *partition)
        };
        if self.drained && self.held.iter().any(lags) {
            self.move_over_markers();
        }
        self.drained = false;
        self.held
            .iter()
            .filter_map(|((input, partition), held)| {
                held.delivered.map(|next| (*input, *partition, next))
            })
            .collect()
    }

    /// The client's own positions also count transaction markers, which no record tells of.
    fn move_over_markers(&mut self) {
        let positions = match self.consumer().map(Consumer::position) {
            Ok(Ok(positions)) => positions,
            Ok(Err(error)) => {
                tracing::debug!(%error, "positions");
                return;
            }
            Err(_) => return,
        };
        for ((input, task), held) in &mut self.held {
            let Some((topic, partition)) = self.settings.sources.place(*input, *task) else {
                continue;
            };
            if held.reading
                && let Some(element) = positions.find_partition(topic, partition)
                && let Offset::Offset(next) = element.offset()
            {
                held.delivered = held.delivered.max(Some(NextOffset::at(next)));
            }
        }
    }
}
