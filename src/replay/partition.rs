//! One partition while it is replayed: what a task does between its records and its commits, without a bus.

use std::sync::Arc;

use super::progress::Progress;
use super::spool::{Merged, Paid};
use super::{Counts, ReplayError};
use crate::bus::Record;
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

/// A fold over an empty store.
pub(super) struct Partition {
    fold: Fold,
    wall: Timestamp,
    counts: Counts,
}

impl Partition {
    pub(super) fn new(
        partition: i32,
        shared: &Arc<FoldPlan>,
        wall: Timestamp,
    ) -> Result<Self, StoreError> {
        let store = Box::new(MemoryStore::new());
        Ok(Self {
            fold: Fold::new(partition, Arc::clone(shared), store, CACHE)?,
            wall,
            counts: Counts::default(),
        })
    }

    /// Folds all `records`, then lets the clock run on to `until`; `each` gets what was decided, in order.
    pub(super) fn run(
        mut self,
        mut records: Merged<'_>,
        until: Option<Timestamp>,
        progress: &Progress,
        each: &mut dyn FnMut(Decided),
    ) -> Result<(Counts, Fold), ReplayError> {
        let mut in_batch = 0;
        while let Some((record, paid)) = records.next()? {
            let now = record.timestamp.min(self.wall);
            // An inactivity of N is no event in [t, t+N): what is due at the record's time fires before it.
            self.fold.fire(now, usize::MAX)?;
            self.fold.advance(now);
            self.record(record, paid)?;
            let clock = self.fold.clock();
            self.fold.fire(clock, usize::MAX)?;
            in_batch += 1;
            if in_batch >= BATCH {
                self.commit(each)?;
                progress.decided(in_batch);
                in_batch = 0;
            }
        }
        if let Some(until) = until {
            self.fold.fire(until, usize::MAX)?;
            self.fold.advance(until);
        }
        self.commit(each)?;
        progress.decided(in_batch);
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
            Folded::Unattributed(kind) => *counts.unattributed.entry(kind).or_default() += 1,
            Folded::Left(left) => *counts.left.entry(left).or_default() += 1,
            // Counted where its letter is taken.
            Folded::DeadLetter | Folded::Mark => {}
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
