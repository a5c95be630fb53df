//! The store in memory: for `replay`, tests and the simulation.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::bus::{InputId, NextOffset};
use crate::store::{Store, StoreBatch, StoreError, StoreHead, layout};
use crate::value::{ProfileKey, Timestamp};

/// State of one task in ordered maps. Cloning it is the simulation's disk image.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    index: BTreeSet<(Timestamp, ProfileKey)>,
    positions: BTreeMap<(InputId, i32), NextOffset>,
    changelog: Option<NextOffset>,
    written_at: Option<Timestamp>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemoryStore {
    fn sections(
        &self,
        profile: &ProfileKey,
        each: &mut dyn FnMut(u8, u8, &[u8]),
    ) -> Result<(), StoreError> {
        let prefix = layout::profile_prefix(profile);
        let from = (Bound::Included(prefix.as_slice()), Bound::Unbounded);
        for (key, value) in self.state.range::<[u8], _>(from) {
            match key.strip_prefix(prefix.as_slice()) {
                Some([section, chunk]) => each(*section, *chunk, value),
                Some(_) | None => break,
            }
        }
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state.get(key).cloned())
    }

    fn due(
        &self,
        after: Option<&(Timestamp, ProfileKey)>,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Timestamp, ProfileKey)>, StoreError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self
            .index
            .range((from, Bound::Unbounded))
            .take_while(|(due, _)| *due <= until)
            .take(limit)
            .cloned()
            .collect())
    }

    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        for change in &batch.changes {
            match &change.value {
                Some(value) => {
                    self.state.insert(change.key.clone(), value.clone());
                }
                None => {
                    self.state.remove(&change.key);
                }
            }
        }
        for entry in &batch.undue {
            self.index.remove(entry);
        }
        self.index.extend(batch.due.iter().cloned());
        for position in &batch.positions {
            self.positions
                .insert((position.input, position.partition), position.next);
        }
        self.changelog = batch.changelog.or(self.changelog);
        self.written_at = Some(batch.written_at);
        Ok(())
    }

    fn head(&self) -> Result<StoreHead, StoreError> {
        let positions = self
            .positions
            .iter()
            .map(|((input, partition), next)| crate::bus::Position {
                input: *input,
                partition: *partition,
                next: *next,
            })
            .collect();
        Ok(StoreHead {
            changelog: self.changelog,
            positions,
            written_at: self.written_at,
        })
    }

    fn prefixed(
        &self,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), StoreError> {
        for (key, value) in self.state.range(prefix.to_vec()..) {
            if !key.starts_with(prefix) {
                break;
            }
            each(key, value);
        }
        Ok(())
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        for (key, value) in &self.state {
            each(key, value);
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        let of = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.len() + value.len()) as u64;
        self.state.iter().map(of).sum()
    }
}
