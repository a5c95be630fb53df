//! The group member: rebalances as values, assignment by hand, records.
//!
//! librdkafka hands a rebalance over as an event and then waits, in a state of its own, until `incremental_assign` or
//! `incremental_unassign` is called; it does not care whether that happens inside rdkafka's callback (`rd_kafka_event_destroy` only
//! frees the list, the group stays in WAIT_ASSIGN_CALL or WAIT_UNASSIGN_CALL, and hands out no second event meanwhile). So the
//! callback here only stores what it was told, and the worker answers when it has committed.
//!
//! ```text
//!  subscribe(anchor) ─► Assigned ─► assign: anchor + direct inputs, paused ─► restore ─► resume at committed positions
//!                       Revoked  ─► (worker commits or aborts) ─► unassign: exactly what is held
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerGroupMetadata};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::failure::{Call, failure, is_gone};
use super::settings::Settings;
use crate::bus::{Failure, InputId, NextOffset, Polled, Record, Remedy, Sources, Watermarks};
use crate::clock::Clock;
use crate::value::Timestamp;

mod context;
mod farewell;
mod fence;
mod positions;
mod unowned;

use context::{MemberContext, Rebalance};
use fence::Fence;
use unowned::Watch;

/// The bound of calls that wait for a broker's answer.
const ANSWER: Duration = Duration::from_secs(1);
/// The bound of local calls that wait for librdkafka's main thread.
const LOCAL: Duration = Duration::from_secs(2);

/// One input partition that this member holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Everything readable below it was handed out; `None` until a position was given.
    delivered: Option<NextOffset>,
    /// Records may be handed out.
    reading: bool,
}

/// Positions that are not there any more: one may be told for every partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    /// None is known of.
    None,
    /// Told, and the tasks settle again.
    Told,
    /// Settled since, and nothing was delivered yet: another one is told as it is.
    Settled,
}

/// The group member of one worker.
pub(super) struct Member {
    /// `None` once closed.
    consumer: Option<BaseConsumer<MemberContext>>,
    settings: Settings,
    clock: Arc<dyn Clock>,
    held: BTreeMap<(InputId, i32), Held>,
    /// A rebalance that was handed out and not answered yet: true for an assignment.
    unanswered: Option<bool>,
    /// Since when the question for committed offsets has no answer.
    unanswered_since: Option<Duration>,
    /// What was made of a position that is not there any more.
    gone: Gone,
    /// The last poll found nothing, so markers may have moved positions that no record told of.
    drained: bool,
    /// What became of our name in the group.
    fence: Fence,
    /// Whether the group owns every partition.
    watch: Watch,
}

impl Member {
    /// Makes the member and lets it join; joining goes on in librdkafka's thread.
    pub(super) fn join(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        let mut member = Self {
            consumer: Some(client(settings)?),
            settings: settings.clone(),
            clock,
            held: BTreeMap::new(),
            unanswered: None,
            unanswered_since: None,
            gone: Gone::None,
            drained: false,
            fence: Fence::Standing,
            watch: Watch::new(),
        };
        member.subscribe()?;
        Ok(member)
    }

    fn subscribe(&mut self) -> Result<(), Failure> {
        let anchor = self.anchor()?;
        self.consumer()?
            .subscribe(&[anchor])
            .map_err(|error| failure(Call::Connect, format!("subscribe to {anchor}"), &error))
    }

    /// Learns the leaders of the direct inputs beforehand, so that the first assignment does not wait for them.
    pub(super) fn learn_inputs(&self) {
        for topic in self.settings.sources.topics() {
            self.learn(topic);
        }
    }

    /// Learns partitions and leaders of a topic: librdkafka seeks in no partition that it does not know.
    fn learn(&self, topic: &str) {
        if let Ok(consumer) = self.consumer()
            && let Err(error) = consumer.fetch_metadata(Some(topic), ANSWER)
        {
            tracing::debug!(%topic, %error, "metadata of an input");
        }
    }

    fn consumer(&self) -> Result<&BaseConsumer<MemberContext>, Failure> {
        self.consumer
            .as_ref()
            .ok_or_else(|| Failure::new("use the group member", "closed", Remedy::Fatal))
    }

    pub(super) const fn sources(&self) -> &Sources {
        &self.settings.sources
    }

    fn anchor(&self) -> Result<&Arc<str>, Failure> {
        let anchor = self.settings.sources.anchor();
        anchor.ok_or_else(|| Failure::new("find the anchor", "no input topic", Remedy::Fatal))
    }

    /// The topic and partition that a task reads as this input.
    pub(super) fn place(&self, input: InputId, task: i32) -> Result<(&Arc<str>, i32), Failure> {
        let place = self.settings.sources.place(input, task);
        place.ok_or_else(|| Failure::new("find an input", "no such partition", Remedy::Fatal))
    }

    pub(super) fn poll(&mut self, wait: Duration) -> Result<Polled, Failure> {
        let deadline = self.clock.elapsed().saturating_add(wait);
        let mut remaining = wait;
        self.stand_up()?;
        if let Some(told) = self.look_for_unowned()? {
            return Ok(told);
        }
        loop {
            if let Some(told) = self.take_rebalance()? {
                return Ok(told);
            }
            let consumer = self.consumer()?;
            let Some(polled) = consumer.poll(remaining) else {
                if let Some(told) = self.take_rebalance()? {
                    return Ok(told);
                }
                self.drained = true;
                return Ok(Polled::Nothing);
            };
            match polled.map(|message| record(&self.settings.sources, &message)) {
                Ok(Some(record)) => {
                    if let Some(held) = self.held.get_mut(&(record.input, record.partition))
                        && held.reading
                    {
                        held.delivered = Some(NextOffset::after(record.offset));
                        if self.gone == Gone::Settled {
                            self.gone = Gone::None;
                        }
                        return Ok(Polled::Record(record));
                    }
                    // Fetched before its pause took hold; `resume` seeks anyway, so it comes again.
                }
                Ok(None) => {}
                Err(error) => {
                    let failed = failure(Call::Poll, "poll the inputs", &error);
                    if failed.remedy == Remedy::Fenced {
                        return self.fenced(&failed);
                    }
                    // Which one it is of, nobody tells: all are settled again, and that finds the place and the numbers.
                    if is_gone(&error) && self.gone == Gone::None {
                        self.gone = Gone::Told;
                        let tasks: BTreeSet<i32> = self.held.keys().map(|of| of.1).collect();
                        return Ok(Polled::Doubted(tasks.into_iter().collect()));
                    }
                    let is_told = is_gone(&error) && self.gone == Gone::Told;
                    if failed.remedy == Remedy::Fatal && !is_told {
                        return Err(failed);
                    }
                    // librdkafka repairs these itself (connections, metadata, membership); the log has them.
                    tracing::debug!(code = %failed.code, "poll");
                }
            }
            remaining = deadline.saturating_sub(self.clock.elapsed());
        }
    }

    fn take_rebalance(&mut self) -> Result<Option<Polled>, Failure> {
        let told = self.consumer()?.context().next();
        Ok(told.map(|told| match told {
            Rebalance::Assigned(partitions) => {
                self.unanswered = Some(true);
                Polled::Assigned(partitions)
            }
            Rebalance::Revoked { partitions, lost } => {
                self.unanswered = Some(false);
                Polled::Revoked { partitions, lost }
            }
        }))
    }

    /// Every input of these tasks with its topic and partition, once: librdkafka ends the process over a partition unassigned twice.
    fn inputs_of(&self, tasks: &[i32]) -> Vec<(InputId, i32, Arc<str>, i32)> {
        let tasks: BTreeSet<i32> = tasks.iter().copied().collect();
        self.settings.sources.of_tasks(tasks.iter().copied())
    }

    /// The tasks that read a partition of this topic here.
    pub(super) fn tasks_of(&self, topic: &str) -> Vec<i32> {
        let sources = &self.settings.sources;
        let reads = |(input, task): &(InputId, i32)| {
            sources
                .place(*input, *task)
                .is_some_and(|(of, _)| **of == *topic)
        };
        let held = self.held.keys().filter(|which| reads(which));
        let tasks: BTreeSet<i32> = held.map(|(_, task)| *task).collect();
        tasks.into_iter().collect()
    }

    /// A topic that goes through intake has so many partitions now. Those of our tasks are taken over, paused; gives these tasks.
    pub(super) fn grow(&mut self, topic: &str, count: i32) -> Result<Vec<i32>, Failure> {
        self.settings.sources.grow(topic, count);
        self.learn(topic);
        let tasks: Vec<i32> = self.held.keys().map(|(_, task)| *task).collect();
        let mut taken = self.inputs_of(&tasks);
        taken.retain(|(input, task, _, _)| !self.held.contains_key(&(*input, *task)));
        if !taken.is_empty() {
            self.take_over(&taken)?;
        }
        Ok(taken.into_iter().map(|(_, task, _, _)| task).collect())
    }

    /// Answers an assignment. New partitions start paused: nothing is fetched and no offset is asked of the group before
    /// [`Self::resume`] (that question would wait here for a dead peer's open transaction).
    ///
    /// They start at an offset that is a number. A logical one, such as the end, is looked up at the broker, and librdkafka asks
    /// again half a second later when a seek came before the answer: the position would jump to the end behind the seek's back,
    /// and what lies between would never be read.
    pub(super) fn assign(&mut self, partitions: &[i32]) -> Result<(), Failure> {
        let taken = self.inputs_of(partitions);
        self.take_over(&taken)?;
        self.unanswered = None;
        self.wake();
        Ok(())
    }

    fn take_over(&mut self, taken: &[(InputId, i32, Arc<str>, i32)]) -> Result<(), Failure> {
        let mut list = TopicPartitionList::new();
        for (_, _, topic, partition) in taken {
            list.add_partition_offset(topic, *partition, Offset::Offset(0))
                .map_err(|error| failure(Call::Assign, format!("list {topic}"), &error))?;
        }
        let consumer = self.consumer()?;
        let pause = || {
            if taken.is_empty() {
                return Ok(());
            }
            let paused = consumer.pause(&list);
            paused.map_err(|error| failure(Call::Assign, "pause new partitions", &error))
        };
        // Before, so that those that were here already never fetch; after, for those that librdkafka only learns of now.
        pause()?;
        consumer
            .incremental_assign(&list)
            .map_err(|error| failure(Call::Assign, "incremental_assign", &error))?;
        pause()?;
        for (input, task, _, _) in taken {
            let held = Held {
                delivered: None,
                reading: false,
            };
            self.held.insert((*input, *task), held);
        }
        Ok(())
    }

    /// Answers a revocation with exactly what is held of these partition numbers: an unknown one would fail the whole call, and
    /// the broker lists anchors only.
    pub(super) fn unassign(&mut self, partitions: &[i32]) -> Result<(), Failure> {
        let mut list = TopicPartitionList::new();
        let given_up: Vec<_> = self
            .inputs_of(partitions)
            .into_iter()
            .filter(|(input, task, _, _)| self.held.contains_key(&(*input, *task)))
            .collect();
        for (_, _, topic, partition) in &given_up {
            list.add_partition(topic, *partition);
        }
        if self.fence.is_standing() {
            self.consumer()?
                .incremental_unassign(&list)
                .map_err(|error| failure(Call::Assign, "incremental_unassign", &error))?;
        }
        self.unanswered = None;
        for (input, task, _, _) in given_up {
            self.held.remove(&(input, task));
        }
        self.wake();
        Ok(())
    }

    /// Ends the pause of up to a second that a rebalance (or a resume, when nothing else was being read) leaves behind: a request
    /// to a broker wakes the thread that fetches from it.
    fn wake(&self) {
        let (Ok(consumer), Ok(anchor)) = (self.consumer(), self.anchor()) else {
            return;
        };
        let metadata = match consumer.fetch_metadata(Some(anchor), ANSWER) {
            Ok(metadata) => metadata,
            Err(error) => {
                tracing::debug!(%error, "metadata of the anchor");
                return;
            }
        };
        if metadata.brokers().len() < 2 {
            return;
        }
        // Metadata woke one broker's thread; the leaders of what we hold are woken one by one.
        let mut asked = Vec::new();
        for partition in metadata
            .topics()
            .iter()
            .flat_map(|topic| topic.partitions())
        {
            let held = self.held.contains_key(&(InputId(0), partition.id()));
            if held && !asked.contains(&partition.leader()) {
                asked.push(partition.leader());
                if let Err(error) = consumer.fetch_watermarks(anchor, partition.id(), ANSWER) {
                    tracing::debug!(%error, "waking a leader");
                }
            }
        }
    }

    /// Is this input partition assigned?
    pub(super) fn holds(&self, input: InputId, partition: i32) -> bool {
        self.held.contains_key(&(input, partition))
    }

    /// The input partitions that are assigned.
    pub(super) fn held(&self) -> impl Iterator<Item = (InputId, i32)> {
        self.held.keys().copied()
    }

    /// The membership as of now, for the generation check of a commit.
    ///
    /// # Errors
    /// `Fenced` when the membership is lost. It is looked at after the metadata was read: librdkafka's main thread empties the
    /// member id and marks the loss in one go, so metadata without a member always meets the mark.
    pub(super) fn metadata(&self) -> Result<ConsumerGroupMetadata, Failure> {
        let consumer = self.consumer()?;
        let metadata = consumer.group_metadata();
        let gone = |code: &str| Failure::new("read the membership", code, Remedy::Fenced);
        if !self.fence.is_standing() {
            return Err(gone("fenced"));
        }
        if consumer.assignment_lost() {
            return Err(gone("assignment lost"));
        }
        metadata.ok_or_else(|| gone("no member"))
    }

    /// The wrong way, for the negative control: a crash between this and the transaction's end loses the batch.
    pub(super) fn commit_outside(&self, positions: &TopicPartitionList) -> Result<(), Failure> {
        self.consumer()?
            .commit(positions, CommitMode::Sync)
            .map_err(|error| failure(Call::Ask, "commit offsets outside the transaction", &error))
    }

    /// The wrong end, for the negative control: a read_committed client's end hides transactions that are still open.
    pub(super) fn stable_watermarks(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<Watermarks, Failure> {
        let (low, high) = self
            .consumer()?
            .fetch_watermarks(topic, partition, Duration::from_secs(5))
            .map_err(|error| {
                failure(
                    Call::Ask,
                    format!("stable end of {topic} partition {partition}"),
                    &error,
                )
            })?;
        Ok(Watermarks {
            low: NextOffset::at(low),
            high: NextOffset::at(high),
        })
    }

    /// Somebody else may own our partitions already.
    pub(super) fn lost(&self) -> bool {
        !self.fence.is_standing() || self.consumer.as_ref().is_none_or(Consumer::assignment_lost)
    }
}

/// A client that has not joined yet.
fn client(settings: &Settings) -> Result<BaseConsumer<MemberContext>, Failure> {
    let Some(anchor) = settings.sources.anchor() else {
        return Err(Failure::new("join", "no input topic", Remedy::Fatal));
    };
    BaseConsumer::from_config_and_context(&settings.member(), MemberContext::new(anchor.clone()))
        .map_err(|error| failure(Call::Connect, "make the group member", &error))
}

/// Copies a message out of librdkafka's memory; `None` for a topic that is no input.
pub(super) fn record(sources: &Sources, message: &BorrowedMessage<'_>) -> Option<Record> {
    let (input, task) = sources.find(message.topic(), message.partition())?;
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        let owned = |value: &[u8]| value.to_vec();
        headers
            .iter()
            .map(|header| (header.key.to_owned(), header.value.map(owned)))
            .collect()
    });
    Some(Record {
        input,
        partition: task,
        offset: message.offset(),
        timestamp: Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0)),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
    })
}
