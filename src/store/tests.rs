//! What holds for every store, under random batches: staging equals a model, a store equals the fold of its changelog, and the stores
//! equal one another.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::changelog::{Differences, apply_changelog, verify};
use super::memory::MemoryStore;
use super::staging::{CacheLimits, Rendered, Staging};
use super::*;
use crate::bus::{ChangelogRecord, InputId};
use crate::profile::SectionId;
use crate::profile::running::Instance;

/// What one event does to a customer's profile in these tests.
#[derive(Clone, Debug)]
enum Act {
    /// Counts.
    Count,
    /// Arms one more timer.
    Arm(i64),
    /// Ends whatever runs.
    Disarm,
    /// Is read only.
    Look,
}

#[derive(Clone, Debug)]
struct Batch {
    acts: Vec<(u8, Act)>,
    committed: bool,
}

fn batches() -> impl Strategy<Value = Vec<Batch>> {
    let act = prop_oneof![
        3 => Just(Act::Count),
        3 => (0_i64..60).prop_map(Act::Arm),
        1 => Just(Act::Disarm),
        1 => Just(Act::Look),
    ];
    let batch = (proptest::collection::vec((0_u8..24, act), 0..30), 0_u8..4);
    let batch = batch.prop_map(|(acts, luck)| Batch {
        acts,
        committed: luck > 0,
    });
    proptest::collection::vec(batch, 1..12)
}

/// Events counted and pending timers, by customer.
type Model = BTreeMap<ProfileKey, (u64, Vec<Timestamp>)>;

fn first_due(model: &Model, until: Timestamp) -> Option<(Timestamp, ProfileKey)> {
    model
        .iter()
        .filter_map(|(key, (_, timers))| Some((*timers.iter().min()?, key.clone())))
        .min()
        .filter(|(due, _)| *due <= until)
}

fn act(
    staging: &mut Staging,
    store: &dyn Store,
    model: &mut Model,
    (customer, act): &(u8, Act),
) -> Result<(), TestCaseError> {
    let key = ProfileKey::customer(&customer.to_string());
    let known = model.entry(key.clone()).or_default();
    let profile = staging.profile(&key, store).unwrap();
    prop_assert_eq!(profile.activity.events, known.0);
    prop_assert_eq!(profile.next_due(), known.1.iter().min().copied());
    match act {
        Act::Count => {
            profile.activity.events += 1;
            known.0 += 1;
        }
        Act::Arm(due) => {
            let due = Timestamp::from_millis(*due);
            profile.running.instances.push(Instance {
                due,
                ..Instance::default()
            });
            known.1.push(due);
        }
        Act::Disarm => {
            profile.running.instances.clear();
            known.1.clear();
        }
        Act::Look => {}
    }
    Ok(())
}

/// One history: what every commit wrote, in order.
struct History {
    model: Model,
    changelog: Vec<ChangelogRecord>,
}

/// Runs the batches over a store, comparing staging with the model at every step (ST-1, ST-3, TM-2).
fn run(store: &mut dyn Store, batches: &[Batch]) -> Result<History, TestCaseError> {
    let limits = CacheLimits {
        profiles: 5,
        bytes: 1 << 20,
    };
    let mut staging = Staging::new(0, limits);
    let mut history = History {
        model: Model::new(),
        changelog: Vec::new(),
    };
    for (number, batch) in batches.iter().enumerate() {
        prop_assert!(staging.is_empty(), "ST-3");
        let before = history.model.clone();
        for (step, next) in batch.acts.iter().enumerate() {
            act(&mut staging, store, &mut history.model, next)?;
            // Not every step asks, so that several changes meet in one look.
            if step % 3 != 0 {
                for until in [Timestamp::from_millis(20), Timestamp::MAX] {
                    let due = staging.first_due(store, until).unwrap();
                    prop_assert_eq!(due, first_due(&history.model, until));
                }
            }
        }
        let rendered = staging.render();
        if batch.committed {
            commit(store, rendered, number, &mut history.changelog);
            staging.committed();
        } else {
            staging.discard();
            history.model = before;
        }
        prop_assert!(staging.cached() <= limits.profiles);
        let due = staging.first_due(store, Timestamp::MAX).unwrap();
        prop_assert_eq!(due, first_due(&history.model, Timestamp::MAX));
    }
    prop_assert_eq!(verify_all(store, &history.changelog).different, 0);
    Ok(history)
}

fn commit(
    store: &mut dyn Store,
    rendered: Rendered,
    number: usize,
    changelog: &mut Vec<ChangelogRecord>,
) {
    let keys: BTreeSet<_> = rendered.changes.iter().map(|change| &change.key).collect();
    assert_eq!(
        keys.len(),
        rendered.changes.len(),
        "one change per section and batch"
    );
    for change in &rendered.changes {
        changelog.push(ChangelogRecord {
            offset: i64::try_from(changelog.len()).unwrap(),
            timestamp: Timestamp::ZERO,
            key: change.key.clone(),
            value: change.value.clone(),
        });
    }
    let position = |next: usize| NextOffset::at(i64::try_from(next).unwrap());
    let batch = StoreBatch {
        changes: rendered.changes,
        undue: rendered.undue,
        due: rendered.due,
        positions: vec![Position {
            input: InputId(1),
            partition: 0,
            next: position(number),
        }],
        changelog: Some(position(changelog.len())),
        written_at: Timestamp::from_millis(1),
    };
    store.write(&batch).unwrap();
}

fn verify_all(store: &dyn Store, changelog: &[ChangelogRecord]) -> Differences {
    let records = changelog
        .iter()
        .map(|record| (record.key.clone(), record.value.clone()));
    verify(store, records).unwrap()
}

fn restore(store: &mut dyn Store, changelog: &[ChangelogRecord], stretch: usize) {
    for records in changelog.chunks(stretch) {
        let next = records.last().map(|last| NextOffset::after(last.offset));
        apply_changelog(store, 0, records, next, Timestamp::ZERO).unwrap();
    }
}

type Contents = (
    Vec<(Vec<u8>, Vec<u8>)>,
    Vec<(Timestamp, ProfileKey)>,
    Option<NextOffset>,
);

fn contents(store: &dyn Store) -> Contents {
    let mut state = Vec::new();
    store
        .scan(&mut |key, value| state.push((key.to_vec(), value.to_vec())))
        .unwrap();
    let index = store.due(None, Timestamp::MAX, usize::MAX).unwrap();
    (state, index, store.head().unwrap().changelog)
}

proptest! {
    #[test]
    fn staging_is_the_model_and_a_restore_is_the_store(batches in batches(), stretch in 1_usize..20, again in 0_usize..20) {
        let mut store = MemoryStore::new();
        let history = run(&mut store, &batches)?;
        let mut restored = MemoryStore::new();
        restore(&mut restored, &history.changelog, stretch);
        prop_assert_eq!(contents(&restored).0, contents(&store).0);
        prop_assert_eq!(contents(&restored).1, contents(&store).1);
        // A crash in the middle of a restore repeats a stretch.
        restore(&mut restored, &history.changelog[history.changelog.len().saturating_sub(again)..], stretch);
        prop_assert_eq!(verify_all(&restored, &history.changelog).different, 0);
    }
}

#[test]
fn verify_finds_every_kind_of_difference_and_names_nobody() {
    use super::changelog::DifferenceKind as Kind;
    let mut store = MemoryStore::new();
    let acts = |range: std::ops::Range<u8>| range.map(|c| (c, Act::Arm(i64::from(c)))).collect();
    let batch = Batch {
        acts: acts(0..4),
        committed: true,
    };
    let history = run(&mut store, &[batch]).unwrap();
    assert_eq!(verify_all(&store, &history.changelog).equal, 8);
    let key = |customer: usize| history.changelog[customer].key.clone();
    let change = |key, value| Change { key, value };
    let timer = |customer: u8| {
        let key = ProfileKey::customer(&customer.to_string());
        (Timestamp::from_millis(customer.into()), key)
    };
    store
        .write(&StoreBatch {
            changes: vec![
                change(key(0), None),
                change(key(1), Some(b"other".to_vec())),
                change(layout::clock_key(), Some(b"extra".to_vec())),
                change(b"garbage".to_vec(), Some(Vec::new())),
            ],
            undue: vec![timer(3)],
            due: vec![timer(9)],
            ..StoreBatch::default()
        })
        .unwrap();
    let found = verify_all(&store, &history.changelog);
    let kinds: Vec<Kind> = found
        .first
        .iter()
        .map(|difference| difference.kind)
        .collect();
    for kind in [
        Kind::MissingInStore,
        Kind::OtherValue,
        Kind::MissingInChangelog,
        Kind::UnknownKey,
        Kind::MissingInIndex,
        Kind::MissingInProfile,
    ] {
        assert!(kinds.contains(&kind), "{kind:?} is not among {kinds:?}");
    }
    assert!(!format!("{found:?}").contains("c:"));
}

#[test]
fn bytes_that_are_no_section_are_told_as_corrupt_or_newer_without_the_customer() {
    let key = ProfileKey::customer("secret-id");
    for (section, newer) in [(SectionId::Carts as u8, false), (99, true)] {
        let mut store = MemoryStore::new();
        let mut at = layout::profile_prefix(&key);
        at.extend([section, 0]);
        let broken = StoreBatch {
            changes: vec![Change {
                key: at,
                value: Some(b"\x01\xff\xff".to_vec()),
            }],
            ..StoreBatch::default()
        };
        store.write(&broken).unwrap();
        let limits = CacheLimits {
            profiles: 1,
            bytes: 1,
        };
        let mut staging = Staging::new(7, limits);
        let error = staging.profile(&key, &store).unwrap_err();
        assert_eq!(matches!(error, StoreError::Foreign { .. }), newer);
        assert_eq!(matches!(error, StoreError::Corrupt { .. }), !newer);
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(staging.is_empty());
    }
}

#[test]
fn an_index_entry_without_its_timer_is_corruption_not_an_endless_loop() {
    let key = ProfileKey::customer("1");
    let mut store = MemoryStore::new();
    let stray = StoreBatch {
        due: vec![(Timestamp::ZERO, key.clone())],
        ..StoreBatch::default()
    };
    store.write(&stray).unwrap();
    let limits = CacheLimits {
        profiles: 1,
        bytes: 1,
    };
    let mut staging = Staging::new(0, limits);
    let due = staging.first_due(&store, Timestamp::ZERO).unwrap();
    assert_eq!(due, Some((Timestamp::ZERO, key.clone())));
    staging.profile(&key, &store).unwrap();
    let error = staging.first_due(&store, Timestamp::ZERO).unwrap_err();
    assert!(error.to_string().contains("TM-2"), "{error}");
}

#[cfg(feature = "rocks")]
mod on_disk;
