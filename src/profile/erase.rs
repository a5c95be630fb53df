//! Nothing is left of a profile but, outside of it, that it was erased (product.md §9).
//!
//! When that was stands in a record of the task, under a keyed hash of the profile's key; who loads a profile puts it in here. It is no
//! part of what is stored of the profile, so that what is dropped because of it leaves no trace.

use super::{Links, Profile};
use crate::value::Timestamp;

/// That a profile was erased: what is not later is dropped.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Erased {
    until: Option<Timestamp>,
    /// Since [`Profile::take_erased`] was asked last.
    changed: bool,
}

impl Profile {
    /// Everything of this profile up to that time was erased.
    #[must_use]
    pub const fn erased_until(&self) -> Option<Timestamp> {
        self.erased.until
    }

    /// As the task's record says.
    pub const fn put_erased(&mut self, until: Option<Timestamp>) {
        self.erased.until = until;
    }

    /// The new time of erasure, for the task's record; forgets that it is new.
    pub const fn take_erased(&mut self) -> Option<Timestamp> {
        if std::mem::replace(&mut self.erased.changed, false) {
            self.erased.until
        } else {
            None
        }
    }

    /// Forgets everything. The next [`Self::take_changes`] tells the end of every stored section, and those who join the blocks are told
    /// that there are none, whether there were or not: what lies in that topic may be older than what is live.
    pub(crate) fn erase(&mut self, until: Timestamp) {
        drop(self.take_estate());
        if *self.links != Links::default() {
            *self.links = Links::default();
        }
        if self.running.alias_until.is_some() {
            self.running.alias_until = None;
        }
        self.blocks_changed = true;
        self.erased.until = self.erased.until.max(Some(until));
        self.erased.changed = true;
    }
}
