//! A section in many small parts: only the parts that changed are written.

use std::collections::{BTreeMap, BTreeSet};

/// Parts of one section by their chunk number, with the numbers of those that changed.
#[derive(Clone, Debug)]
pub struct Chunks<T> {
    parts: BTreeMap<u8, T>,
    changed: BTreeSet<u8>,
    stored: BTreeSet<u8>,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self {
            parts: BTreeMap::new(),
            changed: BTreeSet::new(),
            stored: BTreeSet::new(),
        }
    }
}

impl<T: PartialEq> PartialEq for Chunks<T> {
    /// Equal in content; what is still to be written does not count.
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}
impl<T: Eq> Eq for Chunks<T> {}

impl<T> Chunks<T> {
    /// Puts a stored part back.
    pub(super) fn put_stored(&mut self, chunk: u8, part: T) {
        self.parts.insert(chunk, part);
        self.stored.insert(chunk);
    }
    /// The parts, by number.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (u8, &T)> {
        self.parts.iter().map(|(chunk, part)| (*chunk, part))
    }
    /// Nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
    /// One part.
    pub(super) fn get(&self, chunk: u8) -> Option<&T> {
        self.parts.get(&chunk)
    }
    /// One part, to be changed.
    pub(super) fn get_mut(&mut self, chunk: u8) -> Option<&mut T> {
        let part = self.parts.get_mut(&chunk)?;
        self.changed.insert(chunk);
        Some(part)
    }
    /// Writes a part anew.
    pub(super) fn put(&mut self, chunk: u8, part: T) {
        self.parts.insert(chunk, part);
        self.changed.insert(chunk);
    }
    /// Drops a part.
    pub(super) fn remove(&mut self, chunk: u8) {
        if self.parts.remove(&chunk).is_some() {
            self.changed.insert(chunk);
        }
    }
    /// Every part, taken out; the next [`Self::take_changes`] tells their end.
    pub(super) fn taken(&mut self) -> Self {
        self.changed.extend(self.parts.keys());
        let parts = std::mem::take(&mut self.parts);
        Self {
            changed: parts.keys().copied().collect(),
            parts,
            stored: BTreeSet::new(),
        }
    }
    /// The lowest number in `from..from + limit` that is free.
    pub(super) fn free(&self, from: u8, limit: u8) -> Option<u8> {
        (from..from.saturating_add(limit)).find(|chunk| !self.parts.contains_key(chunk))
    }
    /// Hands out what changed: the part, or `None` where a stored one is gone.
    pub(super) fn take_changes(&mut self, mut each: impl FnMut(u8, Option<&T>)) {
        for chunk in std::mem::take(&mut self.changed) {
            match self.parts.get(&chunk) {
                Some(part) => {
                    self.stored.insert(chunk);
                    each(chunk, Some(part));
                }
                None if self.stored.remove(&chunk) => each(chunk, None),
                None => {}
            }
        }
    }
}
