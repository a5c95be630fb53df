//! Where workers and the thread that asks the registry meet.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::UnboundedSender;

use crate::event::avro::registered::{Registered, SchemaId, Writer};

/// The schemas that are known, for workers to look at before every pass: one atomic load while nothing is new.
pub struct Desk {
    number: AtomicU64,
    known: Mutex<Arc<Registered>>,
    ask: UnboundedSender<SchemaId>,
}

impl Desk {
    /// With nothing known; what is asked goes to `ask`.
    #[must_use]
    pub fn new(ask: UnboundedSender<SchemaId>) -> Self {
        Self {
            number: AtomicU64::new(0),
            known: Mutex::default(),
            ask,
        }
    }

    /// What is known, when it is another state than the one of that number, which moves on.
    pub fn newer_than(&self, number: &mut u64) -> Option<Arc<Registered>> {
        let now = self.number.load(Ordering::Acquire);
        if now == *number {
            return None;
        }
        *number = now;
        Some(Arc::clone(&*self.get()))
    }

    /// Is `id` answered for?
    #[must_use]
    pub fn knows(&self, id: SchemaId) -> bool {
        self.get().knows(id)
    }

    /// Wants to know `id`; the answer is published. Asking again while the question is open changes nothing.
    pub fn ask(&self, id: SchemaId) {
        if self.ask.send(id).is_err() {
            tracing::error!("nobody asks the schema registry any more");
        }
    }

    /// The answer for `id`.
    pub fn publish(&self, id: SchemaId, writer: Writer) {
        self.change(|known| known.with(id, writer));
    }

    /// `id` is asked for again when it comes.
    pub fn forget(&self, id: SchemaId) {
        self.change(|known| known.without(id));
    }

    fn change(&self, change: impl FnOnce(&Registered) -> Registered) {
        {
            let mut known = self.get();
            *known = Arc::new(change(&known));
        }
        // First the set, then its number: whoever sees the number finds the set.
        self.number.fetch_add(1, Ordering::Release);
    }

    fn get(&self) -> MutexGuard<'_, Arc<Registered>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
