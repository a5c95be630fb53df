//! One worker's connections to the simulated broker, with seeded faults at every call of the commit protocol.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate::bus::{
    Bus, ChangelogChunk, ChangelogRecord, Failure, Farewell, InputId, NextOffset, Outgoing, Polled,
    Position, Progress, Record, Remedy, Rounds, Sources, Turn, Watermarks,
};
use tidegate::value::Timestamp;

use crate::broker::{Fate, Faults, GroupEvent, LateEnd, SharedBroker, chance, next};
use crate::random::Random;

pub(crate) struct SimBus {
    broker: SharedBroker,
    member: String,
    sources: Sources,
    rounds: Rounds<(InputId, i32)>,
    changelog: Arc<str>,
    random: Random,
    epochs: [u32; 2],
    acknowledged: BTreeMap<i32, i64>,
    suspect: [bool; 2],
    /// Reading position by input and partition; `None` while paused.
    reading: BTreeMap<(InputId, i32), Option<i64>>,
    restoring: BTreeMap<i32, i64>,
    round: usize,
}

fn failure(attempted: &str, code: &str, remedy: Remedy) -> Failure {
    Failure {
        attempted: attempted.to_owned(),
        code: code.to_owned(),
        remedy,
    }
}

fn index(turn: Turn) -> usize {
    match turn {
        Turn::A => 0,
        Turn::B => 1,
    }
}

impl SimBus {
    pub(crate) fn connect(
        broker: SharedBroker,
        member: &str,
        sources: Sources,
        changelog: Arc<str>,
        seed: u64,
    ) -> Self {
        let mut bus = Self {
            broker,
            member: member.to_owned(),
            sources,
            rounds: Rounds::new(Duration::from_secs(15 * 60)),
            changelog,
            random: Random::new(seed),
            epochs: [0, 0],
            acknowledged: BTreeMap::new(),
            suspect: [false, false],
            reading: BTreeMap::new(),
            restoring: BTreeMap::new(),
            round: 0,
        };
        for turn in [Turn::A, Turn::B] {
            bus.epochs[index(turn)] = bus.broker.lock().init(&bus.producer(turn));
        }
        bus
    }

    fn producer(&self, turn: Turn) -> String {
        format!("{}-{}", self.member, turn.suffix())
    }

    fn place(&self, input: InputId, task: i32) -> (String, i32) {
        let (topic, partition) = self.sources.place(input, task).expect("there");
        (topic.to_string(), partition)
    }

    fn inputs_of(&self, tasks: &[i32]) -> Vec<(InputId, i32, Arc<str>, i32)> {
        self.sources.of_tasks(tasks.iter().copied())
    }

    /// The broker's intake topics grew.
    fn grow(&mut self) -> Vec<i32> {
        let counts = self.broker.lock().counts.clone();
        for (topic, count) in counts {
            self.sources.grow(&topic, count);
        }
        let tasks: Vec<i32> = self.reading.keys().map(|(_, task)| *task).collect();
        let mut grown = Vec::new();
        for (input, task, _, _) in self.inputs_of(&tasks) {
            self.reading.entry((input, task)).or_insert_with(|| {
                grown.push(task);
                None
            });
        }
        grown
    }

    fn strikes(&mut self, which: impl Fn(&Faults) -> u64) -> bool {
        let per_mille = which(&self.broker.lock().faults);
        chance(&mut self.random, per_mille)
    }

    /// A crash ends the worker at this very call: the harness sees `CRASH` and drops it.
    fn fault(&mut self, attempted: &str) -> Result<(), Failure> {
        if self.strikes(|faults| faults.crash) {
            return Err(failure(attempted, "CRASH", Remedy::Fatal));
        }
        if self.strikes(|faults| faults.transient) {
            let remedy = [Remedy::Retry, Remedy::Abort, Remedy::Abort, Remedy::Remake]
                [self.random.below(4) as usize];
            return Err(failure(attempted, "INJECTED", remedy));
        }
        Ok(())
    }

    fn is_member(&self) -> bool {
        self.broker
            .lock()
            .members
            .get(&self.member)
            .is_some_and(|member| member.valid)
    }
}

impl Bus for SimBus {
    fn poll(&mut self, _wait: Duration) -> Result<Polled, Failure> {
        if self.strikes(|faults| faults.crash) {
            return Err(failure("poll", "CRASH", Remedy::Fatal));
        }
        let grown = self.grow();
        if !grown.is_empty() {
            return Ok(Polled::Grown(grown));
        }
        let mut broker = self.broker.lock();
        let member = broker.members.get_mut(&self.member).expect("joined");
        match member.events.pop_front() {
            Some(GroupEvent::Assigned(partitions)) => return Ok(Polled::Assigned(partitions)),
            Some(GroupEvent::Revoked { partitions, lost }) => {
                return Ok(Polled::Revoked { partitions, lost });
            }
            None => {}
        }
        let readings: Vec<((InputId, i32), i64)> = self
            .reading
            .iter()
            .filter_map(|(of, at)| at.map(|at| (*of, at)))
            .collect();
        for step in 0..readings.len() {
            let ((input, task), at) = readings[(self.round + step) % readings.len()];
            let (topic, partition) = self.place(input, task);
            let is_gone = |(of, only): &(String, Option<i32>)| {
                *of == topic && only.is_none_or(|only| only == partition)
            };
            if broker.unreadable.as_ref().is_some_and(is_gone) {
                continue;
            }
            let (offset, slot) = broker.read(&topic, partition, at);
            let Some(slot) = slot else {
                self.reading.insert((input, task), Some(offset));
                continue;
            };
            self.reading.insert((input, task), Some(offset + 1));
            self.round =
                (self.round + step + usize::from(self.random.below(4) == 0)) % readings.len();
            return Ok(Polled::Record(Record {
                input,
                partition: task,
                offset,
                timestamp: slot.timestamp,
                key: slot.key,
                value: slot.value,
                headers: slot.headers,
            }));
        }
        Ok(Polled::Nothing)
    }

    fn assign(&mut self, partitions: &[i32]) -> Result<(), Failure> {
        for (input, task, _, _) in self.inputs_of(partitions) {
            self.reading.insert((input, task), None);
        }
        Ok(())
    }

    fn unassign(&mut self, partitions: &[i32], lost: bool) -> Result<(), Failure> {
        self.reading
            .retain(|(_, partition), _| !partitions.contains(partition));
        let mut broker = self.broker.lock();
        if lost {
            broker.join(&self.member.clone());
        } else {
            broker.let_go(&self.member.clone(), partitions);
        }
        Ok(())
    }

    fn committed(
        &mut self,
        partitions: &[i32],
    ) -> Result<Vec<(InputId, i32, Option<NextOffset>)>, Failure> {
        let broker = self.broker.lock();
        let mut all = Vec::new();
        for (input, task, topic, partition) in self.inputs_of(partitions) {
            match broker.committed_offset(&(topic.to_string(), partition)) {
                Ok(offset) => all.push((input, task, offset.map(next))),
                Err(()) => {
                    return Err(failure(
                        "committed",
                        "UNSTABLE_OFFSET_COMMIT",
                        Remedy::Retry,
                    ));
                }
            }
        }
        Ok(all)
    }

    fn input_watermarks(
        &mut self,
        partitions: &[i32],
    ) -> Result<Vec<(InputId, i32, Watermarks)>, Failure> {
        let mut all = Vec::new();
        for (input, task, topic, partition) in self.inputs_of(partitions) {
            let high = self.broker.lock().high(&topic, partition);
            let ends = Watermarks {
                low: next(0),
                high: next(high),
            };
            all.push((input, task, ends));
        }
        Ok(all)
    }

    fn resume(&mut self, positions: &[Position]) -> Result<(), Failure> {
        for position in positions {
            self.reading.insert(
                (position.input, position.partition),
                Some(position.next.get()),
            );
        }
        Ok(())
    }

    fn pause(&mut self, input: InputId, partition: i32) -> Result<(), Failure> {
        self.reading.insert((input, partition), None);
        Ok(())
    }

    fn progress(&mut self, each: &mut dyn FnMut(Progress)) {
        let broker = self.broker.lock();
        for (&(input, task), &at) in &self.reading {
            let (topic, partition) = self.place(input, task);
            let end = broker.high(&topic, partition);
            let delivered = at.unwrap_or(0);
            each(Progress {
                input,
                partition: task,
                delivered: next(delivered),
                end: next(end),
                age: Duration::ZERO,
            });
        }
    }

    fn settled(&mut self, by: Duration) -> Option<Duration> {
        let broker = self.broker.lock();
        let now = Duration::from_millis(broker.now as u64);
        let all = self.sources.all();
        let committed = all.iter().filter_map(|(input, task, topic, partition)| {
            let of = (topic.to_string(), *partition);
            Some(((*input, *task), next(*broker.offsets.get(&of)?)))
        });
        self.rounds.committed(committed, now);
        if self.rounds.is_over(now) {
            let partitions = all.iter().map(|(input, task, _, _)| (*input, *task));
            self.rounds.begin(partitions, now);
        }
        // Now and then a leader is slow to tell.
        let untold = self.rounds.untold();
        for (input, task, topic, partition) in &all {
            if untold.contains(&(*input, *task)) && self.random.below(10) > 0 {
                let end = next(broker.high(topic, *partition));
                self.rounds.told([((*input, *task), end)]);
            }
        }
        self.rounds.settled(by)
    }

    fn begin(&mut self, turn: Turn) -> Result<(), Failure> {
        self.suspect[index(turn)] = false;
        self.acknowledged.clear();
        self.fault("begin")
    }

    fn send(&mut self, turn: Turn, record: Outgoing) -> Result<(), Failure> {
        let changelog_of = record.changelog_of;
        let (producer, epoch) = (self.producer(turn), self.epochs[index(turn)]);
        let landed = self.broker.lock().produce(&producer, epoch, record);
        match (landed, changelog_of) {
            (Some((_, offset)), Some(task)) => {
                self.acknowledged.insert(task, offset);
            }
            (Some(_), None) => {}
            (None, _) => return Err(failure("send", "INVALID_PRODUCER_EPOCH", Remedy::Remake)),
        }
        self.fault("send")
    }

    fn drain(&mut self, _turn: Turn) -> Result<Vec<(i32, i64)>, Failure> {
        self.fault("drain")?;
        if self.strikes(|faults| faults.expiry) {
            // Stopped for longer than its session right here: others take over, and what follows must be fenced.
            self.broker.lock().expire(&self.member);
        }
        Ok(self
            .acknowledged
            .iter()
            .map(|(task, offset)| (*task, *offset))
            .collect())
    }

    fn send_offsets(&mut self, turn: Turn, positions: &[Position]) -> Result<(), Failure> {
        self.fault("send_offsets")?;
        if !self.is_member() {
            return Err(failure("send_offsets", "UNKNOWN_MEMBER_ID", Remedy::Fenced));
        }
        let offsets = positions
            .iter()
            .map(|p| (self.place(p.input, p.partition), p.next.get()))
            .collect();
        let (producer, epoch) = (self.producer(turn), self.epochs[index(turn)]);
        match self.broker.lock().add_offsets(&producer, epoch, offsets) {
            Some(()) => Ok(()),
            None => Err(failure(
                "send_offsets",
                "INVALID_PRODUCER_EPOCH",
                Remedy::Remake,
            )),
        }
    }

    fn commit(&mut self, turn: Turn) -> Result<(), Failure> {
        let (producer, epoch) = (self.producer(turn), self.epochs[index(turn)]);
        let unknown = failure("commit", "_TIMED_OUT", Remedy::Remake);
        if self.strikes(|faults| faults.commit) {
            return match self.random.below(4) {
                // It happened, the answer is lost.
                0 => {
                    self.broker.lock().end_of(&producer, epoch, Fate::Committed);
                    Err(unknown)
                }
                // It never arrived.
                1 => Err(unknown),
                // It will arrive late: harmless only if the producer was made anew by then.
                2 => {
                    let mut broker = self.broker.lock();
                    let arrives_at = broker.now + 1 + self.random.below(400) as i64;
                    broker.late.push(LateEnd {
                        producer,
                        epoch,
                        arrives_at,
                    });
                    Err(unknown)
                }
                // The process dies with the request on its way.
                _ => {
                    self.broker.lock().end_of(&producer, epoch, Fate::Committed);
                    Err(failure("commit", "CRASH", Remedy::Fatal))
                }
            };
        }
        if !self.broker.lock().end_of(&producer, epoch, Fate::Committed) {
            return Err(failure("commit", "_FENCED", Remedy::Remake));
        }
        if self.strikes(|faults| faults.suspect) {
            // The request was repeated inside the client: one copy succeeded, the other is still on its way.
            self.suspect[index(turn)] = true;
            let mut broker = self.broker.lock();
            let arrives_at = broker.now + 1 + self.random.below(400) as i64;
            broker.late.push(LateEnd {
                producer,
                epoch,
                arrives_at,
            });
        }
        Ok(())
    }

    fn abort(&mut self, turn: Turn) -> Result<(), Failure> {
        let (producer, epoch) = (self.producer(turn), self.epochs[index(turn)]);
        if self.broker.lock().end_of(&producer, epoch, Fate::Aborted) {
            Ok(())
        } else {
            Err(failure("abort", "_FENCED", Remedy::Remake))
        }
    }

    fn suspect(&self, turn: Turn) -> bool {
        self.suspect[index(turn)]
    }

    fn remake(&mut self, turn: Turn) -> Result<(), Failure> {
        if self.strikes(|faults| faults.transient) {
            return Err(failure("remake", "CONCURRENT_TRANSACTIONS", Remedy::Retry));
        }
        self.epochs[index(turn)] = self.broker.lock().init(&self.producer(turn));
        self.suspect[index(turn)] = false;
        Ok(())
    }

    fn changelog_watermarks(&mut self, partition: i32) -> Result<Watermarks, Failure> {
        let high = self.broker.lock().high(&self.changelog, partition);
        Ok(Watermarks {
            low: next(0),
            high: next(high),
        })
    }

    fn changelog_since(
        &mut self,
        partition: i32,
        since: Timestamp,
    ) -> Result<Option<NextOffset>, Failure> {
        let first = self.broker.lock().since(&self.changelog, partition, since);
        Ok(first.map(next))
    }

    fn open_changelog(&mut self, partition: i32, from: NextOffset) -> Result<(), Failure> {
        self.restoring.insert(partition, from.get());
        Ok(())
    }

    fn read_changelogs(&mut self, _wait: Duration) -> Result<Vec<(i32, ChangelogChunk)>, Failure> {
        if self.strikes(|faults| faults.crash) {
            return Err(failure("read_changelogs", "CRASH", Remedy::Fatal));
        }
        let broker = self.broker.lock();
        let mut chunks = Vec::new();
        for (&partition, at) in &mut self.restoring {
            let mut records = Vec::new();
            while records.len() < 40 {
                let (offset, slot) = broker.read(&self.changelog, partition, *at);
                *at = offset;
                let Some(slot) = slot else { break };
                *at = offset + 1;
                let (key, value, timestamp) =
                    (slot.key.unwrap_or_default(), slot.value, slot.timestamp);
                records.push(ChangelogRecord {
                    offset,
                    timestamp,
                    key,
                    value,
                });
            }
            chunks.push((
                partition,
                ChangelogChunk {
                    records,
                    position: Some(next(*at)),
                },
            ));
        }
        Ok(chunks)
    }

    fn close_changelog(&mut self, partition: i32) -> Result<(), Failure> {
        self.restoring.remove(&partition);
        Ok(())
    }

    fn close(&mut self, farewell: Farewell) -> Result<(), Failure> {
        match farewell {
            Farewell::Restart => {}
            Farewell::Leave => {
                let mut broker = self.broker.lock();
                broker.expire(&self.member);
                broker.members.remove(&self.member);
            }
        }
        Ok(())
    }
}
