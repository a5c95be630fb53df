//! The changelog as the other way into a store: restore applies its records, `state verify` compares.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::bus::{ChangelogRecord, NextOffset};
use crate::profile::{Profile, SectionId};
use crate::store::layout::{self, StateKey};
use crate::store::{Change, Store, StoreBatch, StoreError};
use crate::value::{ProfileKey, Timestamp};

/// Writes a stretch of the changelog into the store of `task`, timer index included, in one batch.
///
/// `position` is where the reader stands after `records`, markers included. Only [`SectionId::Running`] sections read what they
/// replace, to find the index entry that goes; so the cost follows the stretch and not the state. Applying a stretch again
/// changes nothing (ST-1). `written_at`: see [`StoreBatch::written_at`].
///
/// # Errors
/// When the disk fails, or a key is not of our layout: then another program wrote into the changelog, or a newer version did.
pub fn apply_changelog(
    store: &mut dyn Store,
    task: i32,
    records: &[ChangelogRecord],
    position: Option<NextOffset>,
    written_at: Timestamp,
) -> Result<(), StoreError> {
    let mut last: HashMap<&[u8], usize> = HashMap::with_capacity(records.len());
    for (at, record) in records.iter().enumerate() {
        last.insert(&record.key, at);
    }
    let mut batch = StoreBatch {
        changelog: position,
        written_at,
        ..StoreBatch::default()
    };
    for (at, record) in records.iter().enumerate() {
        if last.get(record.key.as_slice()) != Some(&at) {
            continue;
        }
        let key = layout::decode_state_key(&record.key).map_err(|error| StoreError::Foreign {
            task,
            what: format!("changelog record at offset {}: {error}", record.offset),
        })?;
        if let Some(profile) = timed(key) {
            let before = store.get(&record.key)?;
            let before = before.as_deref().and_then(Profile::due_of_stored);
            let after = record.value.as_deref().and_then(Profile::due_of_stored);
            if before != after {
                batch.undue.extend(before.map(|due| (due, profile.clone())));
                batch.due.extend(after.map(|due| (due, profile)));
            }
        }
        batch.changes.push(Change {
            key: record.key.clone(),
            value: record.value.clone(),
        });
    }
    store.write(&batch)
}

/// The profile whose index entry this key's value decides; `None` when the value holds no timers.
fn timed(key: StateKey) -> Option<ProfileKey> {
    match key {
        StateKey::Section {
            profile, section, ..
        } => (section == SectionId::Running as u8).then_some(profile),
        StateKey::FlowText { .. }
        | StateKey::Clock
        | StateKey::Alias
        | StateKey::Erasure
        | StateKey::Ledger
        | StateKey::Inputs => None,
    }
}

/// In which way a store differs from its changelog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The changelog holds the key, the store does not (ST-1).
    MissingInStore,
    /// The store holds the key, the changelog does not (ST-1).
    MissingInChangelog,
    /// Both hold the key, with other values (ST-1).
    OtherValue,
    /// A timer of a profile is not in the index (TM-2).
    MissingInIndex,
    /// The index holds what is no timer of a profile (TM-2).
    MissingInProfile,
    /// Neither side should hold such a key.
    UnknownKey,
}

/// One difference, without anything that tells who the customer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which way.
    pub kind: DifferenceKind,
    /// xxh3 (64 bits) of the key; of the profile key for the index.
    pub key_hash: u64,
    /// Which section, where the key names a known one.
    pub section: Option<SectionId>,
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Keys and index entries that agree.
    pub equal: u64,
    /// Those that do not.
    pub different: u64,
    /// The first few of them.
    pub first: Vec<Difference>,
}

impl Differences {
    /// How many are told one by one.
    pub const TOLD: usize = 20;

    fn add(&mut self, kind: DifferenceKind, key: &[u8], section: Option<SectionId>) {
        self.different += 1;
        if self.first.len() < Self::TOLD {
            self.first.push(Difference {
                kind,
                key_hash: xxh3_64(key),
                section,
            });
        }
    }
}

/// Compares a store with all of its changelog up to the stored position: every key and value (ST-1) and the index (TM-2).
///
/// Memory: a key and 16 bytes per live key.
///
/// # Errors
/// When the disk fails.
pub fn verify(
    store: &dyn Store,
    changelog: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
) -> Result<Differences, StoreError> {
    let mut folded: BTreeMap<Vec<u8>, u128> = BTreeMap::new();
    for (key, value) in changelog {
        match value {
            Some(value) => folded.insert(key, xxh3_128(&value)),
            None => folded.remove(&key),
        };
    }
    let mut differences = Differences::default();
    let mut timers = BTreeSet::new();
    store.scan(&mut |key, value| {
        let read = layout::decode_state_key(key).ok();
        let section = read.as_ref().and_then(section_of);
        if read.is_none() {
            differences.add(DifferenceKind::UnknownKey, key, None);
        }
        match folded.remove(key) {
            Some(hash) if hash == xxh3_128(value) => differences.equal += 1,
            Some(_) => differences.add(DifferenceKind::OtherValue, key, section),
            None => differences.add(DifferenceKind::MissingInChangelog, key, section),
        }
        if let Some(profile) = read.and_then(timed)
            && let Some(due) = Profile::due_of_stored(value)
        {
            timers.insert((due, profile));
        }
    })?;
    for key in folded.keys() {
        let section = layout::decode_state_key(key).ok();
        let section = section.as_ref().and_then(section_of);
        differences.add(DifferenceKind::MissingInStore, key, section);
    }
    verify_index(store, timers, &mut differences)?;
    Ok(differences)
}

fn section_of(key: &StateKey) -> Option<SectionId> {
    match key {
        StateKey::Section { section, .. } => SectionId::from_byte(*section),
        StateKey::FlowText { .. }
        | StateKey::Clock
        | StateKey::Alias
        | StateKey::Erasure
        | StateKey::Ledger
        | StateKey::Inputs => None,
    }
}

/// TM-2: the index holds exactly `timers`.
fn verify_index(
    store: &dyn Store,
    mut timers: BTreeSet<(Timestamp, ProfileKey)>,
    differences: &mut Differences,
) -> Result<(), StoreError> {
    const PAGE: usize = 10_000;
    let running = Some(SectionId::Running);
    let mut after = None;
    loop {
        let page = store.due(after.as_ref(), Timestamp::MAX, PAGE)?;
        for entry in &page {
            if timers.remove(entry) {
                differences.equal += 1;
            } else {
                let key = entry.1.as_str().as_bytes();
                differences.add(DifferenceKind::MissingInProfile, key, running);
            }
        }
        if page.len() < PAGE {
            break;
        }
        after = page.into_iter().next_back();
    }
    for (_, profile) in &timers {
        let key = profile.as_str().as_bytes();
        differences.add(DifferenceKind::MissingInIndex, key, running);
    }
    Ok(())
}
