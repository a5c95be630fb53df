//! How far a replay is, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counted up by the threads that work, read by the one that draws.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of the log's files that were read; compressed ones where they are.
    read: AtomicU64,
    /// Records that are to be decided, over all flow sets; 0 until the log is read.
    records: AtomicU64,
    /// Records that are decided.
    decided: AtomicU64,
}

/// One reading of [`Progress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// So many bytes of the log are read.
    Reading(u64),
    /// So many records are decided.
    Deciding {
        /// Done.
        done: u64,
        /// Of all.
        of: u64,
    },
}

impl Progress {
    pub(super) fn read(&self, bytes: u64) {
        self.read.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn begin(&self, records: u64) {
        self.records.store(records, Ordering::Relaxed);
    }

    pub(super) fn decided(&self, records: u64) {
        self.decided.fetch_add(records, Ordering::Relaxed);
    }

    /// How far it is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self.records.load(Ordering::Relaxed) {
            0 => Stage::Reading(self.read.load(Ordering::Relaxed)),
            of => Stage::Deciding {
                done: self.decided.load(Ordering::Relaxed),
                of,
            },
        }
    }
}
