//! The timers next to come due, in memory, so that asking "is anything due?" does not ask the disk.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::store::{Store, StoreError};
use crate::value::{ProfileKey, Timestamp};

/// How many index entries one look into the store brings; few in tests, so that they turn pages.
const PAGE: usize = if cfg!(test) { 4 } else { 512 };
/// Above that many entries the far ones are dropped again (LM-1).
const MOST: usize = 4 * PAGE;

/// How far the index was read.
#[derive(Debug, Default, PartialEq, Eq)]
enum Horizon {
    /// Not at all.
    #[default]
    Unread,
    /// Through this entry.
    Through((Timestamp, ProfileKey)),
    /// To its end.
    End,
}

/// The near end of the timer index as the staged profiles change it.
///
/// Holds every entry up to the horizon: the stored one of profiles that the batch did not touch, the staged one of those that it
/// did. Entries of touched profiles beyond the horizon may be here as well: the store does not know them yet.
#[derive(Debug, Default)]
pub(super) struct Near {
    entries: BTreeSet<(Timestamp, ProfileKey)>,
    horizon: Horizon,
}

impl Near {
    /// Whether every entry due at or before `until` is here.
    pub(super) fn covers(&self, until: Timestamp) -> bool {
        match &self.horizon {
            Horizon::Unread => false,
            // Others that are due at the horizon's own instant may lie behind it.
            Horizon::Through((due, _)) => *due > until,
            Horizon::End => true,
        }
    }

    /// The first entry, when it is due at or before `until` and within the horizon.
    pub(super) fn first(&self, until: Timestamp) -> Option<&(Timestamp, ProfileKey)> {
        self.entries
            .first()
            .filter(|entry| entry.0 <= until && self.reaches(entry))
    }

    fn reaches(&self, entry: &(Timestamp, ProfileKey)) -> bool {
        match &self.horizon {
            Horizon::Unread => false,
            Horizon::Through(last) => entry <= last,
            Horizon::End => true,
        }
    }

    /// Reads on in the store's index, without the entries that `superseded` says a staged profile has left behind.
    pub(super) fn extend(
        &mut self,
        store: &dyn Store,
        superseded: impl Fn(Timestamp, &ProfileKey) -> bool,
    ) -> Result<(), StoreError> {
        let after = match &self.horizon {
            Horizon::Unread => None,
            Horizon::Through(last) => Some(last),
            Horizon::End => return Ok(()),
        };
        let page = store.due(after, Timestamp::MAX, PAGE)?;
        self.horizon = match page.last() {
            Some(last) if page.len() >= PAGE => Horizon::Through(last.clone()),
            Some(_) | None => Horizon::End,
        };
        self.entries
            .extend(page.into_iter().filter(|(due, key)| !superseded(*due, key)));
        Ok(())
    }

    /// A profile's earliest timer moved.
    pub(super) fn replace(
        &mut self,
        key: &ProfileKey,
        before: Option<Timestamp>,
        now: Option<Timestamp>,
    ) {
        if let Some(due) = before {
            self.entries.remove(&(due, key.clone()));
        }
        if let Some(due) = now {
            self.entries.insert((due, key.clone()));
        }
    }

    /// Nothing is staged any more: what lies beyond the horizon is the store's to tell.
    pub(super) fn settle(&mut self) {
        if self.entries.len() > MOST
            && let Some(last) = self.entries.iter().nth(PAGE)
            && self.reaches(last)
        {
            self.horizon = Horizon::Through(last.clone());
        }
        match &self.horizon {
            Horizon::Unread => self.entries.clear(),
            Horizon::Through(last) => {
                let beyond = (Bound::Excluded(last), Bound::Unbounded);
                if self.entries.range(beyond).next().is_some() {
                    let mut far = self.entries.split_off(last);
                    if far.remove(last) {
                        self.entries.insert(last.clone());
                    }
                }
            }
            Horizon::End => {}
        }
    }
}
