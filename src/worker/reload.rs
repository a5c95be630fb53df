//! Other flows and policy, between two batches.

use std::sync::Arc;

use super::Worker;
use crate::task::fold::FoldPlan;

impl Worker {
    /// These flows and this policy come into force when nothing is staged: a batch is decided by one set. The caller has checked them;
    /// inputs and clock are those that this worker began with.
    pub fn reload(&mut self, shared: Arc<FoldPlan>) {
        self.next = Some(shared);
    }

    pub(super) fn take_reload(&mut self) {
        if self.next.is_none() || self.has_work() {
            return;
        }
        if let Some(shared) = self.next.take() {
            for task in self.tasks.values_mut() {
                task.fold.reload(Arc::clone(&shared));
            }
            self.shared = shared;
            self.telemetry.reload_taken();
        }
    }
}
