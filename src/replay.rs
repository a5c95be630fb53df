//! A recorded log through given flows, without Kafka (product.md §8).
//!
//! The same [`Fold`] and [`Merge`] as a task's, one per murmur2 partition, over a store in memory, on the records' clock: what `run`
//! decides with `clock: records` over the same preloaded log, this decides too, under the same ids.
//!
//! The log is held in memory, because the merge by record time may have to look at its end before its beginning.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::bus::{InputId, Record};
use crate::config::Config;
use crate::decision::VerdictKind;
use crate::event::mapping::Left;
use crate::event::{Body, Event, EventType, Stream};
use crate::outbound;
use crate::recording::{Lines, Placing, RecordingError};
use crate::store::layout::{self, StateKey};
use crate::store::memory::MemoryStore;
use crate::store::staging::CacheLimits;
use crate::store::{StoreBatch, StoreError};
use crate::task::fold::{DeadLetter, Decided, Fold, FoldPlan, Folded};
use crate::task::merge::Merge;
use crate::value::{Money, ProfileKey, Timestamp};

/// Records between two writes to the memory store, as a task under backlog would commit.
const BATCH: usize = 5_000;

/// Profiles kept decoded beside the store, per partition.
const CACHE: CacheLimits = CacheLimits {
    profiles: 50_000,
    bytes: 256 << 20,
};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Every line is a record of this input, in its own shape; else all are in ours.
    pub input: Option<InputId>,
    /// Run the clock on to this instant after the last line.
    pub until: Option<Timestamp>,
    /// Keep the decision log.
    pub decisions: bool,
    /// Keep the dead letters.
    pub dead_letters: bool,
    /// Render every profile at the end.
    pub profiles: bool,
    /// Threads; partitions are independent.
    pub threads: usize,
}

/// Why a replay failed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// State cannot be read back: a bug, for the store is memory.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What happened to the log's lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Folded into a profile, by type; duplicates not among them.
    pub folded: BTreeMap<EventType, u64>,
    /// Of the folded ones, those with money in a currency without a rate.
    pub unconverted: u64,
    /// Seen before within the dedup window.
    pub duplicates: u64,
    /// Nobody's, by type.
    pub unattributed: BTreeMap<EventType, u64>,
    /// No events, by code of the refusal.
    pub dead_letters: BTreeMap<&'static str, u64>,
    /// No events of ours, as the input's filter or mapping says.
    pub left: BTreeMap<Left, u64>,
    /// Of a stream that no input carries.
    pub unread: BTreeMap<Stream, u64>,
    /// Sum of the totals of folded orders.
    pub ordered: Money,
    /// Sum of the totals of folded refunds.
    pub refunded: Money,
}

/// What was decided, how often: by flow (empty for none), verdict and reason.
pub type Table = BTreeMap<(String, VerdictKind, String), u64>;

/// One partition's part of the outcome, and in the end the whole of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What happened to the lines.
    pub counts: Counts,
    /// What was decided.
    pub table: Table,
    /// The decision log, when wanted: clock and line, in order of the clock, then of partitions, then as decided.
    pub decisions: Vec<(Timestamp, Vec<u8>)>,
    /// Dead letters, when wanted, as JSON lines.
    pub dead_letters: Vec<Vec<u8>>,
    /// Every profile, when wanted, as JSON lines.
    pub profiles: BTreeMap<ProfileKey, Vec<u8>>,
}

impl Outcome {
    fn add(&mut self, part: Self) {
        let counts = part.counts;
        for (kind, count) in counts.folded {
            *self.counts.folded.entry(kind).or_default() += count;
        }
        for (kind, count) in counts.unattributed {
            *self.counts.unattributed.entry(kind).or_default() += count;
        }
        for (code, count) in counts.dead_letters {
            *self.counts.dead_letters.entry(code).or_default() += count;
        }
        for (left, count) in counts.left {
            *self.counts.left.entry(left).or_default() += count;
        }
        for (stream, count) in counts.unread {
            *self.counts.unread.entry(stream).or_default() += count;
        }
        self.counts.duplicates += counts.duplicates;
        self.counts.unconverted += counts.unconverted;
        self.counts.ordered = self.counts.ordered.plus(counts.ordered);
        self.counts.refunded = self.counts.refunded.plus(counts.refunded);
        for (row, count) in part.table {
            *self.table.entry(row).or_default() += count;
        }
        self.decisions.extend(part.decisions);
        self.dead_letters.extend(part.dead_letters);
        self.profiles.extend(part.profiles);
    }
}

/// Runs the log in `lines` through `shared`. `wall` caps the clock, as it does in `run`.
///
/// # Errors
/// When the log cannot be read.
pub fn replay(
    config: &Config,
    shared: &Arc<FoldPlan>,
    partitions: i32,
    lines: Lines,
    wanted: Wanted,
    wall: Timestamp,
) -> Result<Outcome, ReplayError> {
    let mut outcome = Outcome::default();
    let mut placing = Placing::new(config, &shared.decode, partitions);
    if let Some(input) = wanted.input {
        let spec = shared.inputs.get(usize::from(input.0));
        placing = placing.of_input(input, spec.and_then(|spec| spec.reading.as_deref()));
    }
    let logs = read(
        placing,
        shared.inputs.len(),
        partitions,
        lines,
        &mut outcome.counts,
    )?;
    let waiting = Mutex::new(logs.into_iter().enumerate());
    let replay_some = || {
        let mut done = Vec::new();
        loop {
            let next = waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .next();
            let Some((index, log)) = next else {
                return Ok(done);
            };
            let partition = i32::try_from(index).unwrap_or(i32::MAX);
            let part = Partition::new(partition, shared, wanted, wall)?.run(log)?;
            done.push((partition, part));
        }
    };
    let parts: Vec<Result<Vec<(i32, Outcome)>, StoreError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..wanted.threads.max(1))
            .map(|_| scope.spawn(replay_some))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    let mut in_order = BTreeMap::new();
    for part in parts {
        in_order.extend(part?);
    }
    for part in in_order.into_values() {
        outcome.add(part);
    }
    // Stable: what was decided at one instant stays in the order of partitions, and as decided within one.
    outcome.decisions.sort_by_key(|(time, _)| *time);
    Ok(outcome)
}

/// What an order or refund comes to.
#[derive(Clone, Copy, Debug)]
enum Paid {
    Order(Money),
    Back(Money),
}

impl Paid {
    fn of(event: &Event) -> Option<Self> {
        match &event.body {
            Body::Order(order) if event.kind == EventType::OrderCompleted => {
                order.total.map(Self::Order)
            }
            Body::Refund(refund) => refund.total.map(Self::Back),
            Body::Order(_)
            | Body::Browse(_)
            | Body::CartLine(_)
            | Body::CartSnapshot(_)
            | Body::Checkout(_)
            | Body::OrderStatus(_)
            | Body::Receipt(_)
            | Body::Identity(_)
            | Body::Consent(_)
            | Body::Ticket(_)
            | Body::Feedback(_)
            | Body::Score(_)
            | Body::Merge(_)
            | Body::Erasure
            | Body::SendRequest(_) => None,
        }
    }
}

/// One partition's share of the log.
struct Log {
    merge: Merge,
    /// Next offset by input: those that `feed` would get on new topics.
    offsets: Vec<i64>,
    /// By record, what its order or refund comes to.
    paid: BTreeMap<(InputId, i64), Paid>,
}

/// The whole log, placed.
fn read(
    mut placing: Placing<'_>,
    inputs: usize,
    partitions: i32,
    mut lines: Lines,
    counts: &mut Counts,
) -> Result<Vec<Log>, RecordingError> {
    let mut logs: Vec<Log> = (0..partitions)
        .map(|_| Log {
            merge: Merge::new(inputs),
            offsets: vec![0; inputs],
            paid: BTreeMap::new(),
        })
        .collect();
    let mut line = Vec::new();
    while lines.next_into(&mut line)? {
        let placed = match placing.place(&line) {
            Ok(placed) => placed,
            Err(stream) => {
                *counts.unread.entry(stream).or_default() += 1;
                continue;
            }
        };
        let log = usize::try_from(placed.partition)
            .ok()
            .and_then(|index| logs.get_mut(index));
        let Some(log) = log else {
            continue;
        };
        let Some(next) = log.offsets.get_mut(usize::from(placed.input.0)) else {
            continue;
        };
        let offset = *next;
        *next += 1;
        if let Some(paid) = placed.event.as_ref().and_then(Paid::of) {
            log.paid.insert((placed.input, offset), paid);
        }
        log.merge.push(Record {
            input: placed.input,
            partition: placed.partition,
            offset,
            timestamp: placed.time,
            key: placed.key,
            value: Some(line.clone()),
            headers: Vec::new(),
        });
    }
    Ok(logs)
}

/// One partition while it is replayed.
struct Partition {
    fold: Fold,
    wanted: Wanted,
    wall: Timestamp,
    paid: BTreeMap<(InputId, i64), Paid>,
    outcome: Outcome,
}

impl Partition {
    fn new(
        partition: i32,
        shared: &Arc<FoldPlan>,
        wanted: Wanted,
        wall: Timestamp,
    ) -> Result<Self, StoreError> {
        let store = Box::new(MemoryStore::new());
        Ok(Self {
            fold: Fold::new(partition, Arc::clone(shared), store, CACHE)?,
            wanted,
            wall,
            paid: BTreeMap::new(),
            outcome: Outcome::default(),
        })
    }

    fn run(mut self, log: Log) -> Result<Outcome, StoreError> {
        let mut merge = log.merge;
        self.paid = log.paid;
        let mut in_batch = 0;
        while let Some(record) = merge.next(|_| true) {
            let now = record.timestamp.min(self.wall);
            // An inactivity of N is no event in [t, t+N): what is due at the record's time fires before it.
            self.fold.fire(now, usize::MAX)?;
            self.fold.advance(now);
            self.record(record)?;
            let clock = self.fold.clock();
            self.fold.fire(clock, usize::MAX)?;
            in_batch += 1;
            if in_batch >= BATCH {
                in_batch = 0;
                self.commit()?;
            }
        }
        if let Some(until) = self.wanted.until {
            let until = until.min(self.wall);
            self.fold.fire(until, usize::MAX)?;
            self.fold.advance(until);
        }
        self.commit()?;
        if self.wanted.profiles {
            self.profiles()?;
        }
        Ok(self.outcome)
    }

    fn record(&mut self, record: Record) -> Result<(), StoreError> {
        let paid = self.paid.remove(&(record.input, record.offset));
        let folded = self.fold.record(record)?;
        let counts = &mut self.outcome.counts;
        match folded {
            Folded::Profile { kind, unconverted } => {
                counts.unconverted += u64::from(unconverted);
                *counts.folded.entry(kind).or_default() += 1;
                match paid {
                    Some(Paid::Order(total)) => counts.ordered = counts.ordered.plus(total),
                    Some(Paid::Back(total)) => counts.refunded = counts.refunded.plus(total),
                    None => {}
                }
            }
            Folded::Duplicate(_) => counts.duplicates += 1,
            Folded::Unattributed(kind) => *counts.unattributed.entry(kind).or_default() += 1,
            Folded::Left(left) => *counts.left.entry(left).or_default() += 1,
            // Counted where its letter is taken.
            Folded::DeadLetter | Folded::Mark => {}
        }
        Ok(())
    }

    /// What a task's commit does, without a bus: hands out what was decided, and writes what changed.
    fn commit(&mut self) -> Result<(), StoreError> {
        for decided in self.fold.take_decided() {
            match decided {
                Decided::Verdict(verdict) => {
                    let flow = verdict.place.as_ref().map(|place| place.flow.to_string());
                    let row = (
                        flow.unwrap_or_default(),
                        verdict.kind,
                        verdict.why.name().to_owned(),
                    );
                    *self.outcome.table.entry(row).or_default() += 1;
                    if self.wanted.decisions {
                        let line = outbound::log_line(&verdict);
                        self.outcome.decisions.push((verdict.decided_at, line));
                    }
                }
                Decided::DeadLetter(letter) => {
                    let code = letter.error.refusal().code();
                    *self.outcome.counts.dead_letters.entry(code).or_default() += 1;
                    if self.wanted.dead_letters {
                        self.outcome.dead_letters.push(dead_letter_line(&letter));
                    }
                }
            }
        }
        drop(self.fold.take_blocks_changed());
        let rendered = self.fold.render();
        self.fold.store_mut().write(&StoreBatch {
            changes: rendered.changes,
            undue: rendered.undue,
            due: rendered.due,
            ..StoreBatch::default()
        })?;
        self.fold.committed();
        Ok(())
    }

    /// Every profile as it stands in the end, by its key.
    fn profiles(&mut self) -> Result<(), StoreError> {
        let mut keys = BTreeSet::new();
        self.fold.store().scan(&mut |key, _| {
            if let Ok(StateKey::Section { profile, .. }) = layout::decode_state_key(key) {
                keys.insert(profile);
            }
        })?;
        for key in keys {
            let view = self.fold.profile(&key)?.view();
            self.outcome
                .profiles
                .insert(key, view.to_string().into_bytes());
        }
        Ok(())
    }
}

/// What is kept of a line that is no event: where it would stand, why, and the line itself.
fn dead_letter_line(letter: &DeadLetter) -> Vec<u8> {
    let value = letter.record.value.as_deref().map(String::from_utf8_lossy);
    let line = serde_json::json!({
        "topic": &*letter.origin.topic,
        "partition": letter.origin.partition,
        "offset": letter.origin.offset,
        "error": letter.error.refusal().code(),
        "message": letter.error.to_string(),
        "value": value,
    });
    line.to_string().into_bytes()
}
