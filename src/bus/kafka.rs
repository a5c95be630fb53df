//! The bus on a real broker (or the demo's embedded one): rdkafka behind [`Bus`]. Only this module names the client library.
//!
//! ```text
//!   poll ── consumer: group member, anchor + direct inputs        ends: a thread that asks where the inputs end now
//!   begin … commit ── producer a, producer b: transactions in turn      uncommitted: a client that asks for high watermarks
//!   read_changelogs ── changelog: assigned by hand                      admin: topics, at start and on command
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::bus::{
    Bus, ChangelogChunk, Failure, Farewell, InputId, NextOffset, Outgoing, Polled, Position,
    Progress, Remedy, Turn, Watermarks,
};
use crate::clock::Clock;
use crate::planted::is_planted;
use crate::value::Timestamp;

pub mod admin;
pub mod audit;
mod changelog;
mod consumer;
mod ends;
mod failure;
pub mod feed;
pub mod letters;
pub mod mock;
pub mod owner;
pub mod plain;
mod predecessor;
pub mod probe;
mod producer;
mod refusal;
pub mod settings;

pub use settings::Settings;

use changelog::ChangelogReader;
use consumer::Member;
use ends::{Change, Watcher};
use failure::{Call, is_unknown};
use predecessor::{Waits, end_transactions};
use producer::Transactional;

/// The bound of one question for watermarks.
const ANSWER: Duration = Duration::from_secs(1);

/// Passes librdkafka's log on. Its debug contexts, which carry keys and payloads, cannot be switched on ([`settings::check`]).
fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", facility, "{message}");
        }
        // A coordinator that is still starting is asked again ten times a second: a broker's first minute would fill the log.
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning if message.ends_with("retrying") => {
            tracing::debug!(target: "librdkafka", facility, "{message}");
        }
        // What librdkafka calls an error (a connection refused) it repairs itself.
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            tracing::warn!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}

/// Callbacks of clients that only ask.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }
    fn error(&self, error: rdkafka::error::KafkaError, _reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "asker");
    }
}

impl ConsumerContext for Quiet {}

/// Learns the leaders of a topic anew after a question about it failed. Nothing else does it for a client that is assigned nothing: after
/// a broker was away it may hold partitions for unknown for ever, and every question fails at home. True when the broker says that there is
/// no such topic.
fn learn_anew(client: &BaseConsumer<Quiet>, topic: &str) -> bool {
    match client.fetch_metadata(Some(topic), ANSWER) {
        Ok(found) => found
            .topics()
            .iter()
            .any(|of| of.name() == topic && of.error().is_some_and(|code| is_unknown(code.into()))),
        Err(error) => {
            tracing::debug!(topic, %error, "leaders");
            false
        }
    }
}

/// The version of librdkafka in this binary.
#[must_use]
pub fn client_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}

/// One worker's connections to Kafka.
pub struct KafkaBus {
    settings: Settings,
    clock: Arc<dyn Clock>,
    member: Member,
    producers: [Transactional; 2],
    changelog: ChangelogReader,
    waits: Waits,
    watcher: Watcher,
    uncommitted: BaseConsumer<Quiet>,
}

/// Joins the group and makes both producers, all at once; returns when the producers are ready. The first assignment comes from
/// [`Bus::poll`].
///
/// # Errors
/// `Retry` when the coordinator did not answer within `connect_timeout`, `Fatal` when settings or rights are wrong.
pub fn connect(settings: Settings, clock: Arc<dyn Clock>) -> Result<KafkaBus, Failure> {
    let mut a = Transactional::new(&settings, Turn::A, clock.clone());
    let mut b = Transactional::new(&settings, Turn::B, clock.clone());
    let within = settings.connect_timeout;
    // One after the other this takes half a second longer after a kill (recovery.md).
    let (member, made) = thread::scope(|scope| {
        let makers =
            [&mut a, &mut b].map(|producer| scope.spawn(move || producer.make_within(within)));
        let member = Member::join(&settings, clock.clone()).inspect(Member::learn_inputs);
        let made = makers.map(|maker| {
            maker.join().unwrap_or_else(|_| {
                let attempted = "make a producer";
                Err(Failure::new(
                    attempted,
                    "its thread panicked",
                    Remedy::Fatal,
                ))
            })
        });
        (member, made)
    });
    for outcome in made {
        outcome?;
    }
    let uncommitted =
        BaseConsumer::from_config_and_context(&settings.asker("read_uncommitted"), Quiet).map_err(
            |error| failure::failure(Call::Connect, "make the client for watermarks", &error),
        )?;
    Ok(KafkaBus {
        member: member?,
        producers: [a, b],
        changelog: ChangelogReader::new(&settings),
        waits: Waits::default(),
        watcher: Watcher::start(&settings, clock.clone())?,
        uncommitted,
        settings,
        clock,
    })
}

impl KafkaBus {
    fn producer(&mut self, turn: Turn) -> &mut Transactional {
        let [a, b] = &mut self.producers;
        match turn {
            Turn::A => a,
            Turn::B => b,
        }
    }

    fn watermarks(&self, topic: &str, partition: i32) -> Result<Watermarks, Failure> {
        // Nobody else serves this client's log and error events.
        while self.uncommitted.poll(Duration::ZERO).is_some() {}
        let attempted = || format!("watermarks of {topic} partition {partition}");
        let (low, high) = self
            .uncommitted
            .fetch_watermarks(topic, partition, ANSWER)
            .map_err(|error| {
                learn_anew(&self.uncommitted, topic);
                failure::failure(Call::Ask, attempted(), &error)
            })?;
        if low < 0 || high < 0 {
            return Err(Failure::new(attempted(), "no answer", Remedy::Retry));
        }
        Ok(Watermarks {
            low: NextOffset::at(low),
            high: NextOffset::at(high),
        })
    }

    /// One end, the first offset kept or the next one written, of every input of these partitions: one request per leader.
    fn ends_of(
        &self,
        partitions: &[i32],
        which: Offset,
    ) -> Result<Vec<(InputId, i32, NextOffset)>, Failure> {
        while self.uncommitted.poll(Duration::ZERO).is_some() {}
        let attempted = || "watermarks of the inputs".to_owned();
        let mut list = TopicPartitionList::new();
        let sources = self.member.sources();
        let asked = sources.of_tasks(partitions.iter().copied());
        for (_, _, topic, partition) in &asked {
            list.add_partition_offset(topic, *partition, which)
                .map_err(|error| failure::failure(Call::Ask, attempted(), &error))?;
        }
        // The "time" of this question is a special one that means the end itself.
        let answer = self
            .uncommitted
            .offsets_for_times(list, ANSWER)
            .map_err(|error| {
                for topic in sources.topics() {
                    learn_anew(&self.uncommitted, topic);
                }
                failure::failure(Call::Ask, attempted(), &error)
            })?;
        let mut ends = Vec::with_capacity(asked.len());
        for (input, task, topic, partition) in asked {
            let told = answer.find_partition(&topic, partition);
            match told.map(|element| (element.error(), element.offset())) {
                Some((Ok(()), Offset::Offset(end))) => {
                    ends.push((input, task, NextOffset::at(end)));
                }
                Some((Err(error), _)) => {
                    learn_anew(&self.uncommitted, &topic);
                    return Err(failure::failure(Call::Ask, attempted(), &error));
                }
                Some((Ok(()), _)) | None => {
                    return Err(Failure::new(attempted(), "no answer", Remedy::Retry));
                }
            }
        }
        Ok(ends)
    }

    /// These partitions stand there; where one does so for long, a transaction of its former owner may be open.
    fn stand(&mut self, places: impl Iterator<Item = (i32, Option<NextOffset>)>) {
        let now = self.clock.elapsed();
        let due: Vec<i32> = places
            .filter(|(partition, at)| self.waits.stands(*partition, *at, now))
            .map(|(partition, _)| partition)
            .collect();
        if !due.is_empty() {
            end_transactions(&self.settings, &self.clock, due);
        }
    }

    fn watch(&self) {
        let held: BTreeSet<(InputId, i32)> = self.member.held().collect();
        self.watcher.watch(held);
    }

    /// A failure of the producer means less when the membership is lost too: then nothing may be written at all.
    fn judge<T>(&self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        outcome.map_err(|failed| match failed.remedy {
            Remedy::Remake | Remedy::Abort if self.member.lost() => Failure {
                remedy: Remedy::Fenced,
                ..failed
            },
            Remedy::Remake | Remedy::Abort | Remedy::Retry | Remedy::Fenced | Remedy::Fatal => {
                failed
            }
        })
    }
}

impl Bus for KafkaBus {
    fn poll(&mut self, wait: Duration) -> Result<Polled, Failure> {
        match self.watcher.change() {
            Some(Change::Grown(topic, count)) => {
                let grown = match self.member.grow(&topic, count) {
                    Ok(grown) => grown,
                    Err(failure) => {
                        self.watcher.tell_again(Change::Grown(topic, count));
                        return Err(failure);
                    }
                };
                self.watch();
                if !grown.is_empty() {
                    return Ok(Polled::Grown(grown));
                }
            }
            Some(Change::Doubted(topic)) => {
                let tasks = self.member.tasks_of(&topic);
                if !tasks.is_empty() {
                    return Ok(Polled::Doubted(tasks));
                }
            }
            Some(Change::Wrong(why)) => {
                return Err(Failure::new("read the inputs", why, Remedy::Fatal));
            }
            None => {}
        }
        self.member.poll(wait)
    }

    fn assign(&mut self, partitions: &[i32]) -> Result<(), Failure> {
        self.member.assign(partitions)?;
        self.watch();
        Ok(())
    }

    fn unassign(&mut self, partitions: &[i32], _lost: bool) -> Result<(), Failure> {
        // Lost or not, what is held of these numbers goes: anchors are listed, direct inputs are ours to add.
        self.member.unassign(partitions)?;
        partitions.iter().for_each(|of| self.waits.over(*of));
        self.watch();
        Ok(())
    }

    fn committed(
        &mut self,
        partitions: &[i32],
    ) -> Result<Vec<(InputId, i32, Option<NextOffset>)>, Failure> {
        let answer = self.member.committed(partitions);
        if answer.is_ok() {
            partitions.iter().for_each(|of| self.waits.over(*of));
        } else {
            self.stand(partitions.iter().map(|of| (*of, None)));
        }
        answer
    }

    fn input_watermarks(
        &mut self,
        partitions: &[i32],
    ) -> Result<Vec<(InputId, i32, Watermarks)>, Failure> {
        // One by one, a task of five inputs waits for ten answers before its first record.
        let lows = self.ends_of(partitions, Offset::Beginning)?;
        let highs = self.ends_of(partitions, Offset::End)?;
        Ok(lows
            .into_iter()
            .zip(highs)
            .map(|((input, partition, low), (_, _, high))| {
                (input, partition, Watermarks { low, high })
            })
            .collect())
    }

    fn resume(&mut self, positions: &[Position]) -> Result<(), Failure> {
        self.member.resume(positions)
    }

    fn pause(&mut self, input: InputId, partition: i32) -> Result<(), Failure> {
        self.member.pause(input, partition)
    }

    fn progress(&mut self, each: &mut dyn FnMut(Progress)) {
        let now = self.clock.elapsed();
        let watcher = &self.watcher;
        let end = |input, partition| watcher.end(input, partition).map(|known| known.end);
        for (input, partition, delivered) in self.member.delivered(end) {
            if let Some(known) = self.watcher.end(input, partition) {
                each(Progress {
                    input,
                    partition,
                    delivered,
                    end: known.end,
                    age: now.saturating_sub(known.asked),
                });
            }
        }
    }

    fn settled(&mut self, by: Duration) -> Option<Duration> {
        self.watcher.settled(by)
    }

    fn begin(&mut self, turn: Turn) -> Result<(), Failure> {
        let outcome = self.producer(turn).begin();
        self.judge(outcome)
    }

    fn send(&mut self, turn: Turn, record: Outgoing) -> Result<(), Failure> {
        let outcome = self.producer(turn).send(&record);
        self.judge(outcome)
    }

    fn drain(&mut self, turn: Turn) -> Result<Vec<(i32, i64)>, Failure> {
        let outcome = self.producer(turn).drain();
        self.judge(outcome)
    }

    fn send_offsets(&mut self, turn: Turn, positions: &[Position]) -> Result<(), Failure> {
        assert!(
            !positions.is_empty(),
            "EO-4: a transaction without offsets is not fenced; a zombie would commit"
        );
        let mut list = TopicPartitionList::new();
        let metadata = self.settings.offset_metadata();
        for position in positions {
            assert!(
                self.member.holds(position.input, position.partition),
                "EO-5: offsets of partition {}, which is not assigned",
                position.partition
            );
            let (topic, partition) = self.member.place(position.input, position.partition)?;
            let mut element = list.add_partition(topic, partition);
            element
                .set_offset(Offset::Offset(position.next.get()))
                .map_err(|error| {
                    failure::failure(Call::Assign, format!("offset in {topic}"), &error)
                })?;
            element.set_metadata(&metadata);
        }
        if is_planted("bug.offsets_outside") {
            return self.member.commit_outside(&list);
        }
        let metadata = self.member.metadata()?;
        let outcome = self.producer(turn).offsets(&list, &metadata);
        self.judge(outcome)
    }

    fn commit(&mut self, turn: Turn) -> Result<(), Failure> {
        let outcome = self.producer(turn).commit();
        self.judge(outcome)
    }

    fn abort(&mut self, turn: Turn) -> Result<(), Failure> {
        self.producer(turn).abort()
    }

    fn suspect(&self, turn: Turn) -> bool {
        let [a, b] = &self.producers;
        match turn {
            Turn::A => a.suspect(),
            Turn::B => b.suspect(),
        }
    }

    fn remake(&mut self, turn: Turn) -> Result<(), Failure> {
        self.producer(turn).remake()
    }

    fn changelog_watermarks(&mut self, partition: i32) -> Result<Watermarks, Failure> {
        if is_planted("bug.restore_to_lso") {
            return self
                .member
                .stable_watermarks(&self.settings.changelog, partition);
        }
        self.watermarks(&self.settings.changelog, partition)
    }

    fn changelog_since(
        &mut self,
        partition: i32,
        since: Timestamp,
    ) -> Result<Option<NextOffset>, Failure> {
        let topic = Arc::clone(&self.settings.changelog);
        let attempted = || format!("records of {topic} partition {partition} by time");
        let asked = |error: KafkaError| {
            learn_anew(&self.uncommitted, &topic);
            failure::failure(Call::Ask, attempted(), &error)
        };
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, partition, Offset::Offset(since.millis().max(0)))
            .map_err(asked)?;
        let answer = self
            .uncommitted
            .offsets_for_times(list, ANSWER)
            .map_err(asked)?;
        let told = answer
            .find_partition(&topic, partition)
            .ok_or_else(|| Failure::new(attempted(), "no answer", Remedy::Retry))?;
        told.error().map_err(asked)?;
        Ok(match told.offset() {
            Offset::Offset(first) => Some(NextOffset::at(first)),
            // No record is as young as that.
            Offset::End | Offset::Invalid => None,
            Offset::Beginning | Offset::Stored | Offset::OffsetTail(_) => {
                return Err(Failure::new(attempted(), "no answer", Remedy::Retry));
            }
        })
    }

    fn open_changelog(&mut self, partition: i32, from: NextOffset) -> Result<(), Failure> {
        self.changelog.open(partition, from)
    }

    fn read_changelogs(&mut self, wait: Duration) -> Result<Vec<(i32, ChangelogChunk)>, Failure> {
        let chunks = self.changelog.read(wait)?;
        self.stand(chunks.iter().map(|(of, chunk)| (*of, chunk.position)));
        Ok(chunks)
    }

    fn close_changelog(&mut self, partition: i32) -> Result<(), Failure> {
        self.waits.over(partition);
        self.changelog.close(partition)
    }

    fn close(&mut self, farewell: Farewell) -> Result<(), Failure> {
        self.watcher.watch(BTreeSet::new());
        self.member.close(farewell)
    }
}
