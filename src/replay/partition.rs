//! One partition while it is replayed: what a task does between its records and its commits, without a bus.

use std::collections::VecDeque;
use std::sync::Arc;

use super::progress::Progress;
use super::spool::{Merged, Paid};
use super::{Counts, ReplayError};
use crate::bus::Record;
use crate::engine::forward::{Forward, Matter};
use crate::store::memory::MemoryStore;
use crate::store::staging::CacheLimits;
use crate::store::{StoreBatch, StoreError};
use crate::task::fold::{Decided, Fold, FoldPlan, Folded};
use crate::value::Timestamp;

/// Records between two writes to the memory store, as a task under backlog would commit.
const BATCH: u64 = 5_000;

/// Profiles kept decoded beside the store, per partition.
const CACHE: CacheLimits = CacheLimits {
    profiles: 50_000,
    bytes: 256 << 20,
};

/// A fold over an empty store, and the records that it has yet to read.
pub(super) struct Partition<'a> {
    number: i32,
    fold: Fold,
    records: Merged<'a>,
    in_batch: u64,
    wall: Timestamp,
    counts: Counts,
}

impl<'a> Partition<'a> {
    pub(super) fn new(
        number: i32,
        shared: &Arc<FoldPlan>,
        records: Merged<'a>,
        wall: Timestamp,
    ) -> Result<Self, StoreError> {
        let store = Box::new(MemoryStore::new());
        Ok(Self {
            number,
            fold: Fold::new(number, Arc::clone(shared), store, CACHE)?,
            records,
            in_batch: 0,
            wall,
            counts: Counts::default(),
        })
    }

    /// Folds all records, then lets the clock run on to `until`; `each` gets what was decided, in order.
    pub(super) fn run(
        mut self,
        until: Option<Timestamp>,
        progress: &Progress,
        each: &mut dyn FnMut(Decided),
    ) -> Result<(Counts, Fold), ReplayError> {
        while self.turn(progress, each)? {
            // Only who holds which address, and the log never asks.
            drop(self.fold.take_forwards());
        }
        self.finish(until, progress, each)
    }

    /// The time of the next record.
    pub(super) fn next_time(&mut self) -> Result<Option<Timestamp>, ReplayError> {
        Ok(self.records.next_time()?)
    }

    /// Folds the next record, and what is due before and after it; false when there is none.
    pub(super) fn turn(
        &mut self,
        progress: &Progress,
        each: &mut dyn FnMut(Decided),
    ) -> Result<bool, ReplayError> {
        let Some((record, paid)) = self.records.next()? else {
            return Ok(false);
        };
        let now = record.timestamp.min(self.wall);
        // An inactivity of N is no event in [t, t+N): what is due at the record's time fires before it.
        self.fold.fire(now, usize::MAX)?;
        self.fold.advance(now);
        self.record(record, paid)?;
        let clock = self.fold.clock();
        self.fold.fire(clock, usize::MAX)?;
        self.in_batch += 1;
        if self.in_batch >= BATCH {
            self.commit(each)?;
            progress.decided(self.in_batch);
            self.in_batch = 0;
        }
        Ok(true)
    }

    /// What it told other profiles since the last call.
    pub(super) fn take_forwards(&mut self) -> VecDeque<(Timestamp, Forward)> {
        self.fold.take_forwards()
    }

    /// What another partition forwarded, as it would stand in `<app>-events`.
    pub(super) fn receive(&mut self, forward: &Forward, clock: Timestamp) {
        let paid = match &forward.matter {
            Matter::Event { event, .. } => Paid::of(event),
            Matter::Link { .. }
            | Matter::Unlink { .. }
            | Matter::Handover { .. }
            | Matter::Holds { .. }
            | Matter::Erased { .. }
            | Matter::Leaves { .. }
            | Matter::Bars { .. } => None,
        };
        let value = forward.encode(&self.fold.shared().decode.currencies);
        let key = forward.to.id().as_bytes().to_vec();
        self.records.forwarded(self.number, key, value, clock, paid);
    }

    /// Lets the clock run on to `until`, and ends.
    pub(super) fn finish(
        mut self,
        until: Option<Timestamp>,
        progress: &Progress,
        each: &mut dyn FnMut(Decided),
    ) -> Result<(Counts, Fold), ReplayError> {
        if let Some(until) = until {
            self.fold.fire(until, usize::MAX)?;
            self.fold.advance(until);
        }
        self.commit(each)?;
        progress.decided(self.in_batch);
        Ok((self.counts, self.fold))
    }

    fn record(&mut self, record: Record, paid: Option<Paid>) -> Result<(), StoreError> {
        let folded = self.fold.record(record)?;
        let counts = &mut self.counts;
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
            Folded::Erased(_) => counts.erased += 1,
            Folded::Unattributed(kind) => *counts.unattributed.entry(kind).or_default() += 1,
            Folded::Left(left) => *counts.left.entry(left).or_default() += 1,
            // Counted where its letter is taken.
            Folded::Forwarded | Folded::DeadLetter | Folded::Mark => {}
        }
        Ok(())
    }

    /// What a task's commit does, without a bus: hands out what was decided, and writes what changed.
    fn commit(&mut self, each: &mut dyn FnMut(Decided)) -> Result<(), StoreError> {
        self.fold.take_decided().into_iter().for_each(each);
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
}
