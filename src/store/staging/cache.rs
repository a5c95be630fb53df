//! Decoded profiles: those that the batch touched and, as far as the limits allow, those of batches before.

use std::collections::HashMap;

use crate::profile::Profile;
use crate::value::{ProfileKey, Timestamp};

/// What a decoded profile takes beyond its bytes: the struct, its empty collections, its place in the cache.
const FIXED_BYTES: usize = 1_024;
/// Decoded bytes per stored byte (estimate: small strings and maps carry their own overhead).
const DECODED_PER_STORED: usize = 3;

/// How much stays decoded between batches. What the running batch touched is kept on top; the batch has limits of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// At most that many profiles.
    pub profiles: usize,
    /// At most about that many bytes.
    pub bytes: usize,
}

/// How often the cache helped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Reads that found the profile here.
    pub hits: u64,
    /// Reads that went to the store.
    pub misses: u64,
}

/// Stored size of each section of a profile.
#[derive(Debug, Default)]
pub(super) struct Sizes(Vec<(u8, u8, usize)>);

impl Sizes {
    /// A section was read or rendered; 0 when it is gone.
    pub(super) fn set(&mut self, section: u8, chunk: u8, len: usize) {
        match self.0.iter_mut().find(|s| (s.0, s.1) == (section, chunk)) {
            Some(size) => size.2 = len,
            None => self.0.push((section, chunk, len)),
        }
    }

    fn weight(&self) -> usize {
        let stored: usize = self.0.iter().map(|size| size.2).sum();
        stored
            .saturating_mul(DECODED_PER_STORED)
            .saturating_add(FIXED_BYTES)
    }
}

/// One decoded profile.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) profile: Profile,
    sizes: Sizes,
    weight: usize,
    /// Changed, or about to be, in the running batch: not to be evicted.
    pub(super) touched: bool,
    /// Handed out since its timers were last looked at.
    pub(super) loose: bool,
    /// Used since the hand last passed.
    pub(super) recent: bool,
    /// Its earliest timer as of its first touch in this batch: what the index holds.
    pub(super) due_before: Option<Timestamp>,
    /// Its earliest timer when last looked at.
    pub(super) due: Option<Timestamp>,
}

impl Slot {
    pub(super) fn new(profile: Profile) -> Self {
        Self {
            profile,
            sizes: Sizes::default(),
            weight: FIXED_BYTES,
            touched: false,
            loose: false,
            recent: false,
            due_before: None,
            due: None,
        }
    }

    pub(super) fn resize(&mut self, section: u8, chunk: u8, len: usize) {
        self.sizes.set(section, chunk, len);
    }

    pub(super) const fn profile_and_sizes(&mut self) -> (&mut Profile, &mut Sizes) {
        (&mut self.profile, &mut self.sizes)
    }
}

/// Profiles in slots, found by key; a hand goes round and evicts what was not used since its last pass (second chance).
#[derive(Debug)]
pub(super) struct Profiles {
    limits: CacheLimits,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    by_key: HashMap<ProfileKey, usize>,
    hand: usize,
    /// Profiles and bytes that no running batch holds: what the limits are about.
    clean: (usize, usize),
    lookups: Lookups,
}

impl Profiles {
    pub(super) fn new(limits: CacheLimits) -> Self {
        Self {
            limits,
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            hand: 0,
            clean: (0, 0),
            lookups: Lookups::default(),
        }
    }

    /// How many profiles are held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The look-ups since the last call.
    pub(super) const fn take_lookups(&mut self) -> Lookups {
        std::mem::replace(&mut self.lookups, Lookups { hits: 0, misses: 0 })
    }

    pub(super) fn find(&self, key: &ProfileKey) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    /// As [`Self::find`], counted.
    pub(super) fn look_up(&mut self, key: &ProfileKey) -> Option<usize> {
        let found = self.find(key);
        match found {
            Some(_) => self.lookups.hits += 1,
            None => self.lookups.misses += 1,
        }
        found
    }

    #[expect(
        clippy::expect_used,
        clippy::indexing_slicing,
        reason = "slot numbers come from `insert` and end with `remove`; a dangling one is a bug (ST-3)"
    )]
    pub(super) fn slot(&self, at: usize) -> &Slot {
        self.slots[at].as_ref().expect("ST-3: an empty slot")
    }

    #[expect(
        clippy::expect_used,
        clippy::indexing_slicing,
        reason = "slot numbers come from `insert` and end with `remove`; a dangling one is a bug (ST-3)"
    )]
    pub(super) fn slot_mut(&mut self, at: usize) -> &mut Slot {
        self.slots[at].as_mut().expect("ST-3: an empty slot")
    }

    /// Takes a profile in, clean.
    pub(super) fn insert(&mut self, mut slot: Slot) -> usize {
        slot.weight = slot.sizes.weight();
        self.clean.0 += 1;
        self.clean.1 += slot.weight;
        let key = slot.profile.key().clone();
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.slots.push(None);
                self.slots.len() - 1
            }
        };
        if let Some(place) = self.slots.get_mut(at) {
            *place = Some(slot);
        }
        self.by_key.insert(key, at);
        at
    }

    /// The running batch holds it from now on. False when it did before.
    pub(super) fn touch(&mut self, at: usize) -> bool {
        let slot = self.slot_mut(at);
        slot.recent = true;
        if slot.touched {
            return false;
        }
        slot.touched = true;
        slot.due_before = slot.due;
        let weight = slot.weight;
        self.clean.0 -= 1;
        self.clean.1 -= weight;
        true
    }

    /// The batch that held it is committed.
    pub(super) fn release(&mut self, at: usize) {
        let slot = self.slot_mut(at);
        slot.touched = false;
        slot.weight = slot.sizes.weight();
        let weight = slot.weight;
        self.clean.0 += 1;
        self.clean.1 += weight;
    }

    /// Takes a profile out.
    pub(super) fn remove(&mut self, at: usize) -> Option<Slot> {
        let slot = self.slots.get_mut(at)?.take()?;
        self.by_key.remove(slot.profile.key());
        self.free.push(at);
        if !slot.touched {
            self.clean.0 -= 1;
            self.clean.1 -= slot.weight;
        }
        Some(slot)
    }

    /// Evicts until the limits hold.
    pub(super) fn shrink(&mut self) {
        while self.clean.0 > self.limits.profiles || self.clean.1 > self.limits.bytes {
            self.evict();
        }
    }

    /// Evicts one clean profile; there must be one. Ends within two rounds: the first takes every second chance away.
    fn evict(&mut self) {
        loop {
            let at = self.hand;
            self.hand = (self.hand + 1) % self.slots.len().max(1);
            match self.slots.get_mut(at).and_then(Option::as_mut) {
                Some(slot) if !slot.touched && slot.recent => slot.recent = false,
                Some(slot) if !slot.touched => {
                    self.remove(at);
                    return;
                }
                Some(_) | None => {}
            }
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self {
            lookups: self.lookups,
            ..Self::new(self.limits)
        };
    }
}
