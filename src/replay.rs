//! A recorded log through given flows, without Kafka (product.md §8).
//!
//! The same [`Fold`] and [`Merge`](crate::task::merge::Merge) as a task's, one per murmur2 partition, over a store in memory, on the records' clock: what `run`
//! decides with `clock: records` over the same preloaded log, this decides too, under the same ids. What one partition forwards to another
//! (logins, merges, addresses) is handed on at once: such a log is replayed on one thread, its partitions in turn.
//!
//! ```text
//!  lines ─► Log: placed by partition and input ─► one partition after the other, on each thread ─► Outcome
//!           [spool]                               [partition]                              └────► Difference, of two flow sets [diff]
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::bus::InputId;
use crate::config::Config;
use crate::decision::VerdictKind;
use crate::event::mapping::Left;
use crate::event::{Body, Event, EventType, Stream};
use crate::outbound;
use crate::partitioner;
use crate::recording::{Lines, Placing, RecordingError};
use crate::store::StoreError;
use crate::store::layout::{self, StateKey};
use crate::task::fold::{DeadLetter, Decided, Fold, FoldPlan};
use crate::value::{Money, ProfileKey, Timestamp};

pub mod diff;
mod partition;
mod progress;
mod spool;

pub use progress::{Progress, Stage};

use partition::Partition;
use spool::{Paid, Spool};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
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
    /// What does not fit into memory cannot be put aside.
    #[error("cannot keep the log in the directory for temporary files (TMPDIR)")]
    Spool(#[from] io::Error),
    /// State cannot be read back: a bug, for the store is memory.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What happened to the log's lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Folded into a profile, by type; duplicates not among them.
    pub folded: BTreeMap<EventType, u64>,
    /// Seen before within the dedup window.
    pub duplicates: u64,
    /// Of somebody who was erased after them.
    pub erased: u64,
    /// Of the folded ones, those with money in a currency without a rate.
    pub unconverted: u64,
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

impl Counts {
    fn add(&mut self, counts: Self) {
        for (kind, count) in counts.folded {
            *self.folded.entry(kind).or_default() += count;
        }
        for (kind, count) in counts.unattributed {
            *self.unattributed.entry(kind).or_default() += count;
        }
        for (code, count) in counts.dead_letters {
            *self.dead_letters.entry(code).or_default() += count;
        }
        for (left, count) in counts.left {
            *self.left.entry(left).or_default() += count;
        }
        for (stream, count) in counts.unread {
            *self.unread.entry(stream).or_default() += count;
        }
        self.duplicates += counts.duplicates;
        self.erased += counts.erased;
        self.unconverted += counts.unconverted;
        self.ordered = self.ordered.plus(counts.ordered);
        self.refunded = self.refunded.plus(counts.refunded);
    }
}

impl Outcome {
    fn add(&mut self, part: Self) {
        self.counts.add(part.counts);
        for (row, count) in part.table {
            *self.table.entry(row).or_default() += count;
        }
        self.decisions.extend(part.decisions);
        self.dead_letters.extend(part.dead_letters);
        self.profiles.extend(part.profiles);
    }

    /// What was decided, or could not be read.
    fn take(&mut self, decided: Decided, wanted: Wanted) {
        match decided {
            Decided::Verdict(verdict) => {
                let flow = verdict.place.as_ref().map(|place| place.flow.to_string());
                let row = (
                    flow.unwrap_or_default(),
                    verdict.kind,
                    verdict.why.name().to_owned(),
                );
                *self.table.entry(row).or_default() += 1;
                if wanted.decisions {
                    let line = outbound::log_line(&verdict);
                    self.decisions.push((verdict.decided_at, line));
                }
            }
            Decided::DeadLetter(letter) => {
                let code = letter.error.refusal().code();
                *self.counts.dead_letters.entry(code).or_default() += 1;
                if wanted.dead_letters {
                    self.dead_letters.push(dead_letter_line(&letter));
                }
            }
        }
    }

    /// Every profile as it stands in the end, by its key.
    fn take_profiles(&mut self, fold: &mut Fold) -> Result<(), StoreError> {
        let mut keys = BTreeSet::new();
        fold.store().scan(&mut |key, _| {
            if let Ok(StateKey::Section { profile, .. }) = layout::decode_state_key(key)
                && !profile.is_address()
            {
                keys.insert(profile);
            }
        })?;
        for key in keys {
            let view = fold.profile(&key)?.view();
            self.profiles.insert(key, view.to_string().into_bytes());
        }
        Ok(())
    }
}

/// A recorded log, placed: read once, replayed as often as one likes.
#[derive(Debug)]
pub struct Log {
    spool: Spool,
    /// What stream no input carries, and how often.
    unread: BTreeMap<Stream, u64>,
    /// Something in it concerns two profiles.
    crosses: bool,
}

/// Does this event concern more than one profile: a login, a merge, an erasure (its addresses outlive it), an address that stands alone?
fn crosses(event: &Event) -> bool {
    let is_login = event.customer_id.is_some() && event.anonymous_id.is_some();
    let names_address_only = event.profile_key().is_none()
        && matches!(&event.body, Body::Receipt(receipt) if receipt.address.is_some());
    is_login || names_address_only || matches!(event.kind, EventType::Merged | EventType::Erased)
}

impl Log {
    /// Places `lines` among the inputs of `config`. With `input` every line is a record of that input, in its own shape; else all are in ours.
    ///
    /// # Errors
    /// When the log cannot be read, or not be kept.
    pub fn read(
        config: &Config,
        shared: &FoldPlan,
        partitions: i32,
        mut lines: Lines,
        input: Option<InputId>,
        progress: &Progress,
    ) -> Result<Self, ReplayError> {
        let mut placing = Placing::new(config, &shared.decode, partitions);
        if let Some(input) = input {
            let spec = shared.inputs.get(usize::from(input.0));
            placing = placing.of_input(input, spec.and_then(|spec| spec.reading.as_deref()));
        }
        let mut spool = Spool::new(partitions, shared.inputs.len());
        let mut unread: BTreeMap<Stream, u64> = BTreeMap::new();
        let mut crossing = false;
        let mut line = Vec::new();
        while lines.next_into(&mut line)? {
            match placing.place(&line) {
                Ok(placed) => {
                    let paid = placed.event.as_ref().and_then(Paid::of);
                    crossing |= placed.event.as_ref().is_some_and(crosses);
                    let key = placed.key.as_deref();
                    spool.push(
                        placed.partition,
                        placed.input,
                        placed.time,
                        key,
                        &line,
                        paid,
                    )?;
                }
                Err(stream) => *unread.entry(stream).or_default() += 1,
            }
            progress.read(lines.bytes_read());
        }
        Ok(Self {
            spool,
            unread,
            crosses: crossing,
        })
    }

    /// How many records were placed.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.spool.records()
    }

    /// All partitions in turn, the oldest head first, what one forwards to another handed on at once: the outcome depends on the log
    /// alone. `each` gets what a partition decided, in its order.
    fn together(
        &self,
        shared: &Arc<FoldPlan>,
        wall: Timestamp,
        until: Option<Timestamp>,
        progress: &Progress,
        each: &mut dyn FnMut(usize, Decided),
    ) -> Result<Vec<(Counts, Fold)>, ReplayError> {
        let count = self.spool.partitions();
        let mut partitions = Vec::new();
        for number in 0..count {
            let records = self.spool.partition(number);
            partitions.push(Partition::new(number, shared, records, wall)?);
        }
        loop {
            let mut oldest: Option<(Timestamp, usize)> = None;
            for (index, partition) in partitions.iter_mut().enumerate() {
                let head = partition.next_time()?.map(|time| (time, index));
                oldest = match (oldest, head) {
                    (Some(oldest), Some(head)) => Some(oldest.min(head)),
                    (oldest, head) => oldest.or(head),
                };
            }
            let Some((_, index)) = oldest else {
                break;
            };
            let Some(partition) = partitions.get_mut(index) else {
                break;
            };
            partition.turn(progress, &mut |decided| each(index, decided))?;
            for (clock, forward) in partition.take_forwards() {
                let key = forward.to.id().as_bytes();
                let to = usize::try_from(partitioner::partition(key, count)).unwrap_or_default();
                if let Some(receiver) = partitions.get_mut(to) {
                    receiver.receive(&forward, clock);
                }
            }
        }
        let ended = partitions.into_iter().enumerate();
        ended
            .map(|(index, partition)| {
                partition.finish(until, progress, &mut |decided| each(index, decided))
            })
            .collect()
    }

    /// Does `work` for each partition, on so many threads, and gives what it made in the order of partitions: the number of threads
    /// changes nothing.
    fn by_partition<T: Send>(
        &self,
        threads: usize,
        work: impl Fn(i32) -> Result<T, ReplayError> + Sync,
    ) -> Result<Vec<T>, ReplayError> {
        let waiting = Mutex::new(0..self.spool.partitions());
        let work_on = || {
            let mut done = Vec::new();
            loop {
                let next = waiting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .next();
                let Some(partition) = next else {
                    return Ok(done);
                };
                done.push((partition, work(partition)?));
            }
        };
        let parts: Vec<Result<Vec<(i32, T)>, ReplayError>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work_on)).collect();
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
        Ok(in_order.into_values().collect())
    }
}

/// Runs `log` through `shared`. `wall` caps the clock, as it does in `run`.
///
/// # Errors
/// When the log cannot be read again.
pub fn replay(
    log: &Log,
    shared: &Arc<FoldPlan>,
    wanted: Wanted,
    wall: Timestamp,
    progress: &Progress,
) -> Result<Outcome, ReplayError> {
    progress.begin(log.records());
    let until = wanted.until.map(|until| until.min(wall));
    let end = |mut part: Outcome, counts, mut fold| -> Result<Outcome, ReplayError> {
        part.counts.add(counts);
        if wanted.profiles {
            part.take_profiles(&mut fold)?;
        }
        Ok(part)
    };
    let parts = if log.crosses {
        let partitions = 0..log.spool.partitions();
        let mut parts: Vec<Outcome> = partitions.map(|_| Outcome::default()).collect();
        let ends = log.together(shared, wall, until, progress, &mut |index, decided| {
            if let Some(part) = parts.get_mut(index) {
                part.take(decided, wanted);
            }
        })?;
        let ended = parts.into_iter().zip(ends);
        ended
            .map(|(part, (counts, fold))| end(part, counts, fold))
            .collect::<Result<Vec<_>, _>>()?
    } else {
        log.by_partition(wanted.threads, |number| {
            let mut part = Outcome::default();
            let records = log.spool.partition(number);
            let partition = Partition::new(number, shared, records, wall)?;
            let (counts, fold) = partition.run(until, progress, &mut |decided| {
                part.take(decided, wanted);
            })?;
            end(part, counts, fold)
        })?
    };
    let mut outcome = Outcome::default();
    outcome.counts.unread.clone_from(&log.unread);
    for part in parts {
        outcome.add(part);
    }
    // Stable: what was decided at one instant stays in the order of partitions, and as decided within one.
    outcome.decisions.sort_by_key(|(time, _)| *time);
    Ok(outcome)
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
