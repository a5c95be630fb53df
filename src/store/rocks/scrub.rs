//! Deleted bytes stay in a store's files until these are rewritten for another reason, which may be never. After an erasure they are
//! rewritten at once, on a thread of the store's own: no task waits for it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// More profiles than that at once, and the whole store is rewritten.
const MOST: usize = 64;

/// What is to be rewritten: everything that begins with one of these; `None`: all.
pub(super) type Ranges = Option<BTreeSet<Vec<u8>>>;

/// Rewrites what it is told.
pub(super) type Rewrite = Arc<dyn Fn(&Ranges) + Send + Sync>;

/// One thread at most, which ends when there is nothing left to rewrite.
pub(super) struct Scrubber {
    rewrite: Rewrite,
    wanted: Arc<Mutex<Wanted>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Wanted {
    ranges: Ranges,
    any: bool,
    runs: bool,
}

impl Wanted {
    fn add(&mut self, more: Ranges) {
        self.ranges = match (self.ranges.take(), more) {
            (Some(mut known), Some(more)) if self.any => {
                known.extend(more);
                (known.len() <= MOST).then_some(known)
            }
            (None, _) if self.any => None,
            (_, more) => more.filter(|more| more.len() <= MOST),
        };
        self.any = true;
    }
}

impl Scrubber {
    pub(super) fn new(rewrite: Rewrite) -> Self {
        Self {
            rewrite,
            wanted: Arc::default(),
            thread: None,
        }
    }

    /// Is there nothing left to rewrite?
    pub(super) fn is_idle(&self) -> bool {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        !wanted.runs
    }

    /// Rewrites this soon.
    pub(super) fn want(&mut self, ranges: Ranges) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.add(ranges);
        if std::mem::replace(&mut wanted.runs, true) {
            return;
        }
        drop(wanted);
        let (rewrite, wanted) = (Arc::clone(&self.rewrite), Arc::clone(&self.wanted));
        let run = move || {
            while let Some(ranges) = next(&wanted) {
                rewrite(&ranges);
            }
        };
        // Without a thread it stays wanted, and the store says so at its next open.
        self.thread = thread::Builder::new().name("scrub".into()).spawn(run).ok();
    }

    /// Waits for the thread; whoever wants it to end early ends what it does.
    pub(super) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn next(wanted: &Mutex<Wanted>) -> Option<Ranges> {
    let mut wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
    wanted.runs = wanted.any;
    std::mem::take(&mut wanted.any).then(|| wanted.ranges.take())
}
