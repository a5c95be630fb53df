//! The same on disk, and what a disk can do to a store.

use super::*;
use crate::store::directory::Directory;
use crate::store::layout::StoreIdentity;
use crate::store::rocks::{RocksShared, RocksStore};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of one test alone, gone when it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tidegate-rocks-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn identity() -> StoreIdentity {
    StoreIdentity {
        application: "shop".into(),
        cluster: "kraft".into(),
        partition: 0,
        partitions: 8,
    }
}

fn shared() -> RocksShared {
    RocksShared::new(64 << 20, 2).unwrap()
}

fn open_with(
    shared: &RocksShared,
    at: &Path,
    identity: &StoreIdentity,
    inputs: &[&str],
) -> Result<RocksStore, StoreError> {
    let inputs = inputs.iter().map(|name| Arc::from(*name)).collect();
    RocksStore::open(shared, at, identity, inputs)
}

fn open(shared: &RocksShared, at: &Path) -> Result<RocksStore, StoreError> {
    open_with(shared, at, &identity(), &["shop-events", "clicks"])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn disk_and_memory_agree_over_restarts_and_restores(batches in batches(), stretch in 1_usize..20, flushed: bool) {
        let (shared, disk) = (shared(), Scratch::new());
        let mut memory = MemoryStore::new();
        let mut store = open(&shared, &disk.0).unwrap();
        let history = run(&mut memory, &batches)?;
        run(&mut store, &batches)?;
        prop_assert_eq!(contents(&store), contents(&memory));
        if flushed {
            store.flush().unwrap();
            prop_assert!(store.bytes() > 0);
        }
        drop(store);
        let store = open(&shared, &disk.0).unwrap();
        prop_assert_eq!(contents(&store), contents(&memory));
        prop_assert_eq!(store.head().unwrap(), memory.head().unwrap());
        store.close().delete().unwrap();
        let mut store = open(&shared, &disk.0).unwrap();
        prop_assert_eq!(store.head().unwrap(), StoreHead::default());
        restore(&mut store, &history.changelog, stretch);
        prop_assert_eq!(contents(&store).0, contents(&memory).0);
        prop_assert_eq!(contents(&store).1, contents(&memory).1);
    }
}

#[test]
fn a_directory_of_somebody_else_is_refused_with_both_sides_named() {
    let (shared, disk) = (shared(), Scratch::new());
    drop(open(&shared, &disk.0).unwrap());
    let other_cluster = StoreIdentity {
        cluster: "other".into(),
        ..identity()
    };
    let more_partitions = StoreIdentity {
        partitions: 16,
        ..identity()
    };
    for stranger in [other_cluster, more_partitions] {
        let error = open_with(&shared, &disk.0, &stranger, &[]).err().unwrap();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains("of 8 of shop on cluster kraft"));
    }
    // Copied to another application's place.
    fs::create_dir_all(disk.0.join("outlet")).unwrap();
    fs::rename(disk.0.join("shop/0"), disk.0.join("outlet/0")).unwrap();
    let outlet = StoreIdentity {
        application: "outlet".into(),
        ..identity()
    };
    let error = open_with(&shared, &disk.0, &outlet, &[]).err().unwrap();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
}

#[test]
fn positions_follow_their_topic_when_the_configuration_orders_inputs_anew() {
    let (shared, disk) = (shared(), Scratch::new());
    let mut store = open_with(&shared, &disk.0, &identity(), &["a", "b", "c"]).unwrap();
    let position = |input, next| Position {
        input: InputId(input),
        partition: 0,
        next: NextOffset::at(next),
    };
    let batch = StoreBatch {
        positions: vec![position(0, 10), position(1, 11), position(2, 12)],
        ..StoreBatch::default()
    };
    store.write(&batch).unwrap();
    drop(store);
    let store = open_with(&shared, &disk.0, &identity(), &["c", "new", "a"]).unwrap();
    let expected = vec![position(0, 12), position(2, 10)];
    assert_eq!(store.head().unwrap().positions, expected);
}

fn fill(store: &mut RocksStore, batches: i64) -> Vec<ChangelogRecord> {
    let mut changelog = Vec::new();
    for number in 0..batches {
        let key = ProfileKey::customer(&number.to_string());
        let rendered = Rendered {
            changes: vec![Change {
                key: layout::section_key(&key, SectionId::Activity, 0),
                value: Some(vec![7; 100]),
            }],
            ..Rendered::default()
        };
        commit(store, rendered, 0, &mut changelog);
    }
    changelog
}

fn files(disk: &Scratch, extension: &str) -> Vec<PathBuf> {
    fs::read_dir(disk.0.join("shop/0/db"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == extension))
        .collect()
}

#[test]
fn a_log_torn_by_a_power_cut_leaves_the_store_behind_but_whole() {
    let (shared, disk) = (shared(), Scratch::new());
    let mut store = open(&shared, &disk.0).unwrap();
    let changelog = fill(&mut store, 50);
    drop(store);
    let [log] = &files(&disk, "log")[..] else {
        panic!("one log expected");
    };
    let file = fs::File::options().write(true).open(log).unwrap();
    file.set_len(file.metadata().unwrap().len() - 2_000)
        .unwrap();
    let mut store = open(&shared, &disk.0).unwrap();
    let next = store.head().unwrap().changelog.unwrap().get();
    assert!((1..50).contains(&next), "{next}");
    let (seen, tail) = changelog.split_at(usize::try_from(next).unwrap());
    assert_eq!(verify_all(&store, seen).different, 0);
    restore(&mut store, tail, 7);
    assert_eq!(verify_all(&store, &changelog).different, 0);
}

#[test]
fn a_rotten_table_is_found_put_aside_and_the_task_begins_anew() {
    let (shared, disk) = (shared(), Scratch::new());
    let mut store = open(&shared, &disk.0).unwrap();
    fill(&mut store, 2_000);
    store.flush().unwrap();
    drop(store);
    let tables = files(&disk, "sst");
    assert!(!tables.is_empty());
    for table in &tables {
        let mut bytes = fs::read(table).unwrap();
        bytes[10] ^= 0xff;
        fs::write(table, bytes).unwrap();
    }
    let read = open(&RocksShared::new(8 << 20, 1).unwrap(), &disk.0)
        .and_then(|store| store.scan(&mut |_, _| {}));
    let error = read.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    let aside = Directory::claim_any(&disk.0, "shop", 0)
        .and_then(Directory::quarantine)
        .unwrap();
    assert_eq!(aside, Some(disk.0.join("shop/0.corrupt-1")));
    let store = open(&shared, &disk.0).unwrap();
    assert_eq!(store.head().unwrap(), StoreHead::default());
}

/// Files below a directory that hold `word`.
fn files_with(directory: &Path, word: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, word));
        } else if fs::read(&path)
            .unwrap()
            .windows(word.len())
            .any(|part| part == word)
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn what_an_erasure_deleted_stands_in_no_file_soon_after() {
    let (shared, disk) = (shared(), Scratch::new());
    let mut store = open(&shared, &disk.0).unwrap();
    let marked = ProfileKey::customer("zz-mark");
    let address = ProfileKey::address("00ff");
    let due = |n: i64| (Timestamp::from_millis(n), marked.clone());
    let section = |key: &ProfileKey, value: Option<String>| Change {
        key: layout::section_key(key, SectionId::Person, 0),
        value: value.map(String::into_bytes),
    };
    // In several files, and among others.
    for round in 0..4 {
        let others = (0..300).map(|n| ProfileKey::customer(&format!("{n}")));
        let all = others.chain([marked.clone()]);
        let listed = section(&address, Some(format!("c:zz-mark {round}")));
        let batch = StoreBatch {
            changes: all
                .map(|key| section(&key, Some(format!("{} {round}", key.as_str()))))
                .chain([listed])
                .collect(),
            undue: (round > 0).then(|| due(round - 1)).into_iter().collect(),
            due: vec![due(round)],
            ..StoreBatch::default()
        };
        store.write(&batch).unwrap();
        store.flush().unwrap();
    }
    assert!(files_with(&disk.0, b"zz-mark").len() > 3);
    let before = contents(&store);
    let erasure = Change {
        key: layout::erasure_key(&"0".repeat(32)),
        value: Some(layout::erasure_value(Timestamp::from_millis(1))),
    };
    let batch = StoreBatch {
        changes: vec![
            section(&marked, None),
            section(&address, Some("nobody".to_owned())),
            erasure,
        ],
        undue: vec![due(3)],
        ..StoreBatch::default()
    };
    store.write(&batch).unwrap();
    store.scrubbed();
    let left = files_with(&disk.0, b"zz-mark");
    // The list of files names the first and last key of those that were there, until it is written anew.
    let lists = |path: &String| path.contains("MANIFEST");
    assert!(left.iter().all(lists), "{left:?}");
    assert_eq!(contents(&store).0.len(), before.0.len());
    drop(store);
    drop(open(&shared, &disk.0).unwrap());
    assert_eq!(files_with(&disk.0, b"zz-mark"), Vec::<String>::new());
}

#[test]
fn what_an_erasure_left_in_files_when_the_process_ended_goes_after_the_next_open() {
    let (shared, disk) = (shared(), Scratch::new());
    let marked = ProfileKey::customer("zz-mark");
    let mut store = open(&shared, &disk.0).unwrap();
    let key = layout::section_key(&marked, SectionId::Person, 0);
    let value = Some(b"zz-mark".to_vec());
    let put = StoreBatch {
        changes: vec![Change {
            key: key.clone(),
            value,
        }],
        ..StoreBatch::default()
    };
    store.write(&put).unwrap();
    store.flush().unwrap();
    let erasure = Change {
        key: layout::erasure_key(&"0".repeat(32)),
        value: Some(layout::erasure_value(Timestamp::from_millis(1))),
    };
    let erase = StoreBatch {
        changes: vec![Change { key, value: None }, erasure],
        ..StoreBatch::default()
    };
    store.write(&erase).unwrap();
    drop(store);
    let mut store = open(&shared, &disk.0).unwrap();
    store.scrubbed();
    drop(store);
    drop(open(&shared, &disk.0).unwrap());
    assert_eq!(files_with(&disk.0, b"zz-mark"), Vec::<String>::new());
}
