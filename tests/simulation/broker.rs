//! A broker in memory that knows what the commit protocol depends on: transactions of protocol version 1 (epochs, late `EndTxn`),
//! the last stable offset, aborted ranges, pending offsets, group membership and its expiry. One seed decides every fault.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use tidegate::bus::{NextOffset, Outgoing, Target};
use tidegate::partitioner::partition as partition_of;
use tidegate::value::Timestamp;

use crate::random::Random;

pub(crate) type Partition = (String, i32);

/// One slot of a log: a record, or the marker that ends a transaction in this partition.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Slot {
    pub(crate) timestamp: Timestamp,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    /// Number of the transaction that wrote it; `None` for plain records.
    pub(crate) transaction: Option<u64>,
    pub(crate) marker: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    Open,
    Committed,
    Aborted,
}

#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) fate: Fate,
    pub(crate) partitions: BTreeSet<Partition>,
    pub(crate) offsets: BTreeMap<Partition, i64>,
    pub(crate) began_at: i64,
}

#[derive(Debug, Default)]
pub(crate) struct ProducerId {
    pub(crate) epoch: u32,
    pub(crate) open: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Member {
    /// Partitions that this member holds until it says that it let go.
    pub(crate) holds: BTreeSet<i32>,
    pub(crate) events: VecDeque<GroupEvent>,
    /// False once its session expired: fenced until it has noticed and rejoined.
    pub(crate) valid: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GroupEvent {
    Assigned(Vec<i32>),
    Revoked { partitions: Vec<i32>, lost: bool },
}

/// An `EndTxn` on its way that the client has given up waiting for.
#[derive(Clone, Debug)]
pub(crate) struct LateEnd {
    pub(crate) producer: String,
    pub(crate) epoch: u32,
    pub(crate) arrives_at: i64,
}

/// What may go wrong, in chances per thousand calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) transient: u64,
    pub(crate) commit: u64,
    pub(crate) suspect: u64,
    pub(crate) crash: u64,
    pub(crate) expiry: u64,
    /// The store fails after the commit: the process dies between commit and store.
    pub(crate) store: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Broker {
    pub(crate) faults: Faults,
    /// The leader of this topic, or of one partition of it, is gone: what is in it cannot be read.
    pub(crate) unreadable: Option<(String, Option<i32>)>,
    pub(crate) logs: BTreeMap<Partition, Vec<Slot>>,
    pub(crate) transactions: BTreeMap<u64, Transaction>,
    pub(crate) producers: BTreeMap<String, ProducerId>,
    pub(crate) offsets: BTreeMap<Partition, i64>,
    pub(crate) members: BTreeMap<String, Member>,
    pub(crate) late: Vec<LateEnd>,
    /// Milliseconds of the simulated wall.
    pub(crate) now: i64,
    pub(crate) partitions: i32,
    /// Partitions of the topics that go through intake.
    pub(crate) counts: BTreeMap<Arc<str>, i32>,
    next_transaction: u64,
}

/// The broker aborts a transaction that is open for that long.
const TRANSACTION_TIMEOUT: i64 = 5_000;

#[derive(Clone)]
pub(crate) struct SharedBroker(Arc<Mutex<Broker>>);

impl SharedBroker {
    pub(crate) fn new(partitions: i32, now: i64) -> Self {
        Self(Arc::new(Mutex::new(Broker {
            partitions,
            now,
            ..Broker::default()
        })))
    }
    pub(crate) fn lock(&self) -> MutexGuard<'_, Broker> {
        self.0.lock().unwrap()
    }
}

impl Broker {
    pub(crate) fn append(&mut self, topic: &str, partition: i32, slot: Slot) -> i64 {
        let log = self.logs.entry((topic.to_owned(), partition)).or_default();
        log.push(slot);
        log.len() as i64 - 1
    }

    pub(crate) fn high(&self, topic: &str, partition: i32) -> i64 {
        self.logs
            .get(&(topic.to_owned(), partition))
            .map_or(0, |log| log.len() as i64)
    }

    /// The first offset whose timestamp is not before `since`.
    pub(crate) fn since(&self, topic: &str, partition: i32, since: Timestamp) -> Option<i64> {
        let log = self.logs.get(&(topic.to_owned(), partition))?;
        let first = log.iter().position(|slot| slot.timestamp >= since)?;
        Some(first as i64)
    }

    /// The last stable offset: readers of committed records stop before the first record of an open transaction.
    pub(crate) fn stable(&self, topic: &str, partition: i32) -> i64 {
        let Some(log) = self.logs.get(&(topic.to_owned(), partition)) else {
            return 0;
        };
        log.iter()
            .position(|slot| {
                slot.transaction
                    .is_some_and(|id| self.transactions[&id].fate == Fate::Open)
            })
            .map_or(log.len() as i64, |first| first as i64)
    }

    /// What a read_committed reader gets at `from`: the offset of the next visible record (or the stable end), and the record.
    pub(crate) fn read(&self, topic: &str, partition: i32, from: i64) -> (i64, Option<Slot>) {
        let stable = self.stable(topic, partition);
        let Some(log) = self.logs.get(&(topic.to_owned(), partition)) else {
            return (from, None);
        };
        for offset in from..stable {
            let slot = &log[offset as usize];
            let visible = !slot.marker
                && slot
                    .transaction
                    .is_none_or(|id| self.transactions[&id].fate == Fate::Committed);
            if visible {
                return (offset, Some(slot.clone()));
            }
        }
        (stable.max(from), None)
    }

    /// All visible records of a topic, by partition, in order.
    pub(crate) fn committed(&self, topic: &str) -> Vec<(i32, i64, Slot)> {
        let mut all = Vec::new();
        for partition in 0..self.partitions {
            let mut from = 0;
            while let (offset, Some(slot)) = self.read(topic, partition, from) {
                all.push((partition, offset, slot));
                from = offset + 1;
            }
        }
        all
    }

    /// `init_transactions`: ends whatever the id had open, and fences its older epochs.
    pub(crate) fn init(&mut self, producer: &str) -> u32 {
        if let Some(id) = self.producers.entry(producer.to_owned()).or_default().open {
            self.end(id, Fate::Aborted);
        }
        let state = self.producers.get_mut(producer).unwrap();
        state.open = None;
        state.epoch += 1;
        state.epoch
    }

    fn open(&mut self, producer: &str, epoch: u32) -> Option<u64> {
        let state = self.producers.get(producer)?;
        if state.epoch != epoch {
            return None;
        }
        if let Some(id) = state.open {
            return (self.transactions[&id].fate == Fate::Open).then_some(id);
        }
        let id = self.next_transaction;
        self.next_transaction += 1;
        let transaction = Transaction {
            fate: Fate::Open,
            partitions: BTreeSet::new(),
            offsets: BTreeMap::new(),
            began_at: self.now,
        };
        self.transactions.insert(id, transaction);
        self.producers.get_mut(producer).unwrap().open = Some(id);
        Some(id)
    }

    /// `None`: fenced.
    pub(crate) fn produce(
        &mut self,
        producer: &str,
        epoch: u32,
        record: Outgoing,
    ) -> Option<(i32, i64)> {
        let id = self.open(producer, epoch)?;
        let partition = match record.target {
            Target::Partition(partition) => partition,
            Target::Key => partition_of(record.key.as_deref().unwrap_or_default(), self.partitions),
        };
        let headers = record
            .headers
            .into_iter()
            .map(|(name, value)| (name, Some(value)))
            .collect();
        let slot = Slot {
            timestamp: Timestamp::from_millis(self.now),
            key: record.key,
            value: record.value,
            headers,
            transaction: Some(id),
            marker: false,
        };
        self.transactions
            .get_mut(&id)
            .unwrap()
            .partitions
            .insert((record.topic.to_string(), partition));
        Some((partition, self.append(&record.topic, partition, slot)))
    }

    /// `None`: fenced.
    pub(crate) fn add_offsets(
        &mut self,
        producer: &str,
        epoch: u32,
        offsets: Vec<(Partition, i64)>,
    ) -> Option<()> {
        let id = self.open(producer, epoch)?;
        self.transactions
            .get_mut(&id)
            .unwrap()
            .offsets
            .extend(offsets);
        Some(())
    }

    /// `EndTxn` of one epoch; false: fenced, or the broker had timed it out.
    pub(crate) fn end_of(&mut self, producer: &str, epoch: u32, fate: Fate) -> bool {
        let Some(state) = self.producers.get_mut(producer) else {
            return false;
        };
        if state.epoch != epoch {
            return false;
        }
        match state.open.take() {
            Some(id) if self.transactions[&id].fate == Fate::Open => {
                self.end(id, fate);
                true
            }
            Some(_) => false,
            None => true,
        }
    }

    fn end(&mut self, id: u64, fate: Fate) {
        let transaction = self.transactions.get_mut(&id).unwrap();
        if transaction.fate != Fate::Open {
            return;
        }
        transaction.fate = fate;
        let (partitions, offsets) = (transaction.partitions.clone(), transaction.offsets.clone());
        for (topic, partition) in partitions {
            let now = Timestamp::from_millis(self.now);
            let marker = Slot {
                timestamp: now,
                key: None,
                value: None,
                headers: Vec::new(),
                transaction: Some(id),
                marker: true,
            };
            self.append(&topic, partition, marker);
        }
        if fate == Fate::Committed {
            self.offsets.extend(offsets);
        }
    }

    /// Stable committed offset; `Err` while a transaction that would change it is open.
    pub(crate) fn committed_offset(&self, of: &Partition) -> Result<Option<i64>, ()> {
        let pending = self
            .transactions
            .values()
            .any(|t| t.fate == Fate::Open && t.offsets.contains_key(of));
        if pending {
            Err(())
        } else {
            Ok(self.offsets.get(of).copied())
        }
    }

    /// Lets time pass: late `EndTxn`s arrive, old transactions are aborted by the broker.
    pub(crate) fn pass_time(&mut self, millis: i64) {
        self.now += millis;
        let now = self.now;
        let (due, still): (Vec<_>, Vec<_>) =
            self.late.drain(..).partition(|late| late.arrives_at <= now);
        self.late = still;
        for late in due {
            self.end_of(&late.producer, late.epoch, Fate::Committed);
        }
        let timed_out: Vec<u64> = self
            .transactions
            .iter()
            .filter(|(_, t)| t.fate == Fate::Open && t.began_at + TRANSACTION_TIMEOUT <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in timed_out {
            self.end(id, Fate::Aborted);
        }
    }

    // The group: cooperative, one owner per partition number; a partition moves only when its holder let go or expired.

    pub(crate) fn join(&mut self, member: &str) {
        let member = self.members.entry(member.to_owned()).or_default();
        member.valid = true;
        self.rebalance();
    }

    /// Gone for good, or thought dead: what it held is free.
    pub(crate) fn expire(&mut self, name: &str) {
        if let Some(member) = self.members.get_mut(name) {
            let mut lost = std::mem::take(&mut member.holds);
            // One that has not heard of an earlier loss still believes in what it held then.
            for event in &member.events {
                if let GroupEvent::Revoked {
                    partitions,
                    lost: true,
                } = event
                {
                    lost.extend(partitions);
                }
            }
            let partitions: Vec<i32> = lost.into_iter().collect();
            member.valid = false;
            member.events = VecDeque::from([GroupEvent::Revoked {
                partitions,
                lost: true,
            }]);
        }
        self.rebalance();
    }

    /// The process is gone and comes back under the same name: a static member keeps its partitions.
    pub(crate) fn restart(&mut self, name: &str) {
        let member = self.members.entry(name.to_owned()).or_default();
        member.valid = true;
        let partitions: Vec<i32> = member.holds.iter().copied().collect();
        member.events = VecDeque::from([GroupEvent::Assigned(partitions)]);
        self.rebalance();
    }

    pub(crate) fn let_go(&mut self, name: &str, partitions: &[i32]) {
        if let Some(member) = self.members.get_mut(name) {
            partitions.iter().for_each(|partition| {
                member.holds.remove(partition);
            });
        }
        self.rebalance();
    }

    fn rebalance(&mut self) {
        let names: Vec<String> = self
            .members
            .iter()
            .filter(|(_, m)| m.valid)
            .map(|(name, _)| name.clone())
            .collect();
        if names.is_empty() {
            return;
        }
        for partition in 0..self.partitions {
            let target = &names[partition as usize % names.len()];
            let holder = self
                .members
                .iter()
                .find(|(_, m)| m.holds.contains(&partition))
                .map(|(name, _)| name.clone());
            match holder {
                Some(holder) if holder == *target => {}
                Some(holder) => {
                    let event = GroupEvent::Revoked {
                        partitions: vec![partition],
                        lost: false,
                    };
                    let member = self.members.get_mut(&holder).unwrap();
                    if !member.events.contains(&event) {
                        member.events.push_back(event);
                    }
                }
                None => {
                    let member = self.members.get_mut(target).unwrap();
                    member.holds.insert(partition);
                    member
                        .events
                        .push_back(GroupEvent::Assigned(vec![partition]));
                }
            }
        }
    }
}

/// Where the next read of a partition goes on.
pub(crate) fn next(offset: i64) -> NextOffset {
    NextOffset::at(offset)
}

/// Decides with the given chance in a thousand.
pub(crate) fn chance(random: &mut Random, per_mille: u64) -> bool {
    random.below(1_000) < per_mille
}
