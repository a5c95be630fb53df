//! What a batch changed in one task and has not committed yet, over a cache of what did not change.
//!
//! ```text
//!   profile(key) ──► touched in this batch? ──► in the cache? ──► store: one contiguous read
//!        │ (mark touched)
//!   render() ──► its changes go to the changelog in the transaction, the whole of it to the store after the commit
//!        │
//!        ├─ committed(): what was touched stays, clean, in the cache
//!        └─ discard():   what was touched is forgotten; the store was never written, so nothing has to be undone
//! ```
//!
//! Changes come out in the order in which profiles were first touched: the same batch renders to the same bytes (DT-1).
//! Due timers are seen through the same overlay ([`Staging::first_due`]): a staged profile's own timers count, not its index entry.

use std::collections::BTreeMap;

use crate::engine::erasure_id;
use crate::profile::{Profile, SectionId};
use crate::store::{Change, Store, StoreError, layout};
use crate::value::{ProfileKey, Timestamp};

mod cache;
mod near;

use cache::{Profiles, Slot};
use near::Near;

pub use cache::{CacheLimits, Lookups};

/// What a batch changed, rendered once for changelog and store alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// One per changed section, then one per task record: the changelog records, and what the store writes.
    pub changes: Vec<Change>,
    /// Index entries to remove.
    pub undue: Vec<(Timestamp, ProfileKey)>,
    /// Index entries to add.
    pub due: Vec<(Timestamp, ProfileKey)>,
}

/// The uncommitted overlay of one task, with its profile cache. Lives as long as the task.
#[derive(Debug)]
pub struct Staging {
    task: i32,
    profiles: Profiles,
    /// Slots of the profiles of this batch, in the order of their first touch.
    touched: Vec<usize>,
    /// Slots that were handed out since their timers were last looked at.
    loose: Vec<usize>,
    near: Near,
    records: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    rendered: bool,
    /// Somebody of this task was erased: what the keys of erasures are hashed with.
    erasures: Option<[u8; 32]>,
}

impl Staging {
    /// For partition `task`; `limits` bound what stays decoded between batches.
    #[must_use]
    pub fn new(task: i32, limits: CacheLimits) -> Self {
        Self {
            task,
            profiles: Profiles::new(limits),
            touched: Vec::new(),
            loose: Vec::new(),
            near: Near::default(),
            records: BTreeMap::new(),
            rendered: false,
            erasures: None,
        }
    }

    /// From now on a profile that is loaded knows whether it was erased: the task has erasures, hashed with this key.
    pub const fn heed_erasures(&mut self, key: [u8; 32]) {
        self.erasures = Some(key);
    }

    /// Whether nothing is staged (ST-3: so it must be at the start of a batch).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty() && self.records.is_empty() && !self.rendered
    }

    /// How many profiles this batch has touched.
    #[must_use]
    pub fn touched(&self) -> usize {
        self.touched.len()
    }

    /// How often the cache helped since the last call.
    pub const fn take_lookups(&mut self) -> Lookups {
        self.profiles.take_lookups()
    }

    /// How many decoded profiles are held.
    #[cfg(test)]
    pub(super) fn cached(&self) -> usize {
        self.profiles.len()
    }

    /// The profile, to be changed in this batch: as staged, else as cached, else as stored, else new.
    ///
    /// # Errors
    /// When the disk fails or the stored bytes cannot be decoded.
    ///
    /// # Panics
    /// ST-3: between [`Self::render`] and [`Self::committed`] or [`Self::discard`], where a change would be lost.
    pub fn profile(
        &mut self,
        key: &ProfileKey,
        store: &dyn Store,
    ) -> Result<&mut Profile, StoreError> {
        assert!(
            !self.rendered,
            "ST-3: a profile is changed after its batch was rendered"
        );
        let at = match self.profiles.look_up(key) {
            Some(at) => at,
            None => {
                let slot = self.load(key, store)?;
                self.profiles.insert(slot)
            }
        };
        if self.profiles.touch(at) {
            self.touched.push(at);
        }
        let slot = self.profiles.slot_mut(at);
        if !slot.loose {
            slot.loose = true;
            self.loose.push(at);
        }
        Ok(&mut self.profiles.slot_mut(at).profile)
    }

    fn load(&self, key: &ProfileKey, store: &dyn Store) -> Result<Slot, StoreError> {
        let mut slot = Slot::new(Profile::new(key.clone()));
        let mut failed = None;
        store.sections(key, &mut |section, chunk, value| {
            slot.resize(section, chunk, value.len());
            let put = match SectionId::from_byte(section) {
                Some(section) => slot
                    .profile
                    .put_section(section, chunk, value)
                    .map_err(|error| self.corrupt(error.to_string())),
                None => Err(StoreError::Foreign {
                    task: self.task,
                    what: format!("section {section} is known to newer versions only"),
                }),
            };
            if let Err(error) = put {
                failed = Some(error);
            }
        })?;
        slot.due = slot.profile.next_due();
        slot.profile.put_erased(self.erased(key, store)?);
        failed.map_or(Ok(slot), Err)
    }

    fn erased(&self, key: &ProfileKey, store: &dyn Store) -> Result<Option<Timestamp>, StoreError> {
        let Some(secret) = &self.erasures else {
            return Ok(None);
        };
        let key = layout::erasure_key(&erasure_id(secret, key));
        let value = self.record(&key, store)?;
        let until = value
            .map(|value| layout::decode_erasure(&value))
            .transpose();
        until.map_err(|error| error.corrupt(self.task))
    }

    /// A task record as staged, else as stored.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn record(&self, key: &[u8], store: &dyn Store) -> Result<Option<Vec<u8>>, StoreError> {
        match self.records.get(key) {
            Some(staged) => Ok(staged.clone()),
            None => store.get(key),
        }
    }

    /// Stages a task record ([`layout`] makes its key and value); `None` deletes it.
    pub fn put_record(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.records.insert(key, value);
    }

    /// The profile whose timer is due first, if that is at or before `until`, with the instant; as staged where this batch touched
    /// it. Firing it changes what is due: ask again. Costs next to nothing while nothing is due.
    ///
    /// # Errors
    /// When the disk fails, or the index names a timer that its profile does not have (TM-2).
    pub fn first_due(
        &mut self,
        store: &dyn Store,
        until: Timestamp,
    ) -> Result<Option<(Timestamp, ProfileKey)>, StoreError> {
        self.refresh_timers();
        let profiles = &self.profiles;
        let superseded = |due: Timestamp, key: &ProfileKey| {
            profiles
                .find(key)
                .map(|at| profiles.slot(at))
                .is_some_and(|slot| slot.touched && slot.due != Some(due))
        };
        loop {
            if let Some((due, key)) = self.near.first(until) {
                // What is near is kept equal to what the profiles say; a difference was read from the disk.
                if superseded(*due, key) {
                    return Err(self.corrupt(
                        "TM-2: the index names a timer that its profile does not have".into(),
                    ));
                }
                return Ok(Some((*due, key.clone())));
            }
            if self.near.covers(until) {
                return Ok(None);
            }
            self.near.extend(store, superseded)?;
        }
    }

    fn refresh_timers(&mut self) {
        for at in self.loose.drain(..) {
            let slot = self.profiles.slot_mut(at);
            slot.loose = false;
            let due = slot.profile.next_due();
            if due != slot.due {
                self.near.replace(slot.profile.key(), slot.due, due);
                slot.due = due;
            }
        }
    }

    /// Everything that this batch changed, once: each changed section, each task record, what the index loses and gains.
    ///
    /// # Panics
    /// ST-3: when called twice in a batch; the second would miss what the first took.
    pub fn render(&mut self) -> Rendered {
        assert!(!self.rendered, "ST-3: a batch is rendered once");
        self.refresh_timers();
        self.rendered = true;
        let mut batch = Rendered::default();
        for at in &self.touched {
            let slot = self.profiles.slot_mut(*at);
            let key = slot.profile.key().clone();
            let (profile, sizes) = slot.profile_and_sizes();
            profile.take_changes(&mut |section, chunk, value| {
                sizes.set(section as u8, chunk, value.map_or(0, <[u8]>::len));
                batch.changes.push(Change {
                    key: layout::section_key(&key, section, chunk),
                    value: value.map(<[u8]>::to_vec),
                });
            });
            if slot.due != slot.due_before {
                let before = slot.due_before.map(|due| (due, key.clone()));
                batch.undue.extend(before);
                batch.due.extend(slot.due.map(|due| (due, key)));
            }
        }
        for (key, value) in &self.records {
            batch.changes.push(Change {
                key: key.clone(),
                value: value.clone(),
            });
        }
        batch
    }

    /// The batch is committed and written to the store: what it touched stays in the cache.
    ///
    /// # Panics
    /// ST-3: when something is staged that was never rendered.
    pub fn committed(&mut self) {
        assert!(
            self.rendered || self.is_empty(),
            "ST-3: staged changes were not rendered"
        );
        for at in self.touched.drain(..) {
            self.profiles.release(at);
        }
        self.records.clear();
        self.rendered = false;
        self.near.settle();
        self.profiles.shrink();
    }

    /// The batch was aborted: forgets what it touched. The next read comes from the store, which was not written.
    pub fn discard(&mut self) {
        self.loose.clear();
        for at in self.touched.drain(..) {
            if let Some(slot) = self.profiles.remove(at) {
                self.near
                    .replace(slot.profile.key(), slot.due, slot.due_before);
            }
        }
        self.records.clear();
        self.rendered = false;
        self.near.settle();
    }

    /// Forgets everything, the cache included: to be called when anything but this staging's own batch wrote the store (catching up
    /// after an unknown outcome).
    pub fn forget(&mut self) {
        self.loose.clear();
        self.touched.clear();
        self.profiles.clear();
        self.records.clear();
        self.near = Near::default();
        self.rendered = false;
    }

    fn corrupt(&self, what: String) -> StoreError {
        StoreError::Corrupt {
            task: self.task,
            what,
        }
    }
}
