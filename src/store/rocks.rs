//! The store on disk: one RocksDB per task. The only file that names RocksDB.
//!
//! Kafka is the commit; what is written here was committed before and can be had again from the changelog. So the write-ahead log
//! is on but never synced: a killed process loses nothing, a power cut leaves the store behind, and restore reads the tail. Never
//! may it be torn: one batch is one record of the log, recovery ends at the first incomplete one, and the column families are
//! flushed together, so that sections, index and positions always tell of the same moment.
//!
//! What an erasure deletes is rewritten at once ([`scrub`]): elsewhere deleted bytes lie in the files until they are rewritten for
//! another reason.
//!
//! Three column families: `state` and `index` as [`layout`] lays them out, and RocksDB's default one for meta.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use rocksdb::{
    BlockBasedOptions, BlockBasedTablePinningTier, BottommostLevelCompaction, Cache, ColumnFamily,
    ColumnFamilyDescriptor, CompactOptions, DB, DBCompressionType, DBRecoveryMode, Env, ErrorKind,
    LogLevel, Options, ReadOptions, SliceTransform, WriteBatch, WriteBufferManager, WriteOptions,
    properties,
};

use crate::bus::{InputId, Position};
use crate::store::directory::Directory;
use crate::store::layout::{self, LayoutError, MetaKey, StoreIdentity};
use crate::store::{Store, StoreBatch, StoreError, StoreHead};
use crate::value::{ProfileKey, Timestamp};

mod scrub;

use scrub::{Ranges, Scrubber};

const STATE: &str = "state";
const INDEX: &str = "index";
/// RocksDB makes this one in any case.
const META: &str = "default";

const KIB: usize = 1_024;
const MIB: usize = 1_024 * KIB;
/// Changed sections of a task in memory before they are flushed: bounds what a restart after a kill reads from the log.
const STATE_BUFFER: usize = 8 * MIB;
const INDEX_BUFFER: usize = 4 * MIB;
const META_BUFFER: usize = MIB;
/// A killed process reads about that much log per task before it answers again: 5 ms of CPU per MiB (measured).
const LOG_BYTES: u64 = 8 * 1_024 * 1_024;
/// Small enough that a cold profile costs one small read, large enough that sections of neighbours compress together.
const BLOCK: usize = 8 * KIB;
const BLOOM_BITS: f64 = 10.0;
const OPEN_FILES: i32 = 512;

/// Memory and threads that all stores of the process share.
pub struct RocksShared {
    cache: Cache,
    buffers: WriteBufferManager,
    env: Env,
}

impl RocksShared {
    /// `memory` bytes for blocks, filters, indexes and unflushed changes of all tasks together (a third of it at most for the
    /// latter), and `threads` for flushes and compactions.
    ///
    /// # Errors
    /// When RocksDB's environment cannot be had.
    pub fn new(memory: usize, threads: i32) -> Result<Self, StoreError> {
        // Without locks on its hits; 0: it sizes itself.
        let cache = Cache::new_hyper_clock_cache(memory, 0);
        let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            memory / 3,
            false,
            cache.clone(),
        );
        let mut env = Env::new().map_err(|error| failure(-1, "open", &error))?;
        env.set_background_threads(threads.max(1));
        env.set_high_priority_background_threads(1);
        Ok(Self {
            cache,
            buffers,
            env,
        })
    }

    /// Bytes that blocks and unflushed changes take now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.cache.get_usage()
    }

    fn database(&self) -> Result<Options, rocksdb::Error> {
        // Has no setter. Without it every start after a kill would write what it has just read from the log.
        let mut options =
            Options::default().get_options_from_string("avoid_flush_during_recovery=true")?;
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_env(&self.env);
        options.set_write_buffer_manager(&self.buffers);
        options.set_atomic_flush(true);
        options.set_paranoid_checks(true);
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options.set_max_total_wal_size(LOG_BYTES);
        options.set_max_background_jobs(4);
        options.set_max_open_files(OPEN_FILES);
        options.set_bytes_per_sync(MIB as u64);
        // Its own log: warnings only, because at higher levels it names key ranges.
        options.set_log_level(LogLevel::Warn);
        // It names the first and last key of every file, also of those that are gone.
        options.set_max_manifest_file_size(MIB);
        options.set_keep_log_file_num(2);
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        Ok(options)
    }

    fn family(&self, buffer: usize) -> (Options, BlockBasedOptions) {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_block_size(BLOCK);
        table.set_format_version(6);
        // Filters and indexes count in the budget and stay: a read asks each of them (half the time of a read otherwise).
        table.set_cache_index_and_filter_blocks(true);
        table.set_unpartitioned_pinning_tier(BlockBasedTablePinningTier::All);
        table.set_optimize_filters_for_memory(true);
        let mut options = Options::default();
        options.set_write_buffer_size(buffer);
        options.set_max_write_buffer_number(4);
        options.set_arena_block_size(256 * KIB);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_bottommost_compression_type(DBCompressionType::Zstd);
        (options, table)
    }

    fn families(&self) -> Vec<ColumnFamilyDescriptor> {
        let (mut state, mut table) = self.family(STATE_BUFFER);
        // One filter entry per profile instead of one per section: reads are for whole profiles.
        state.set_prefix_extractor(SliceTransform::create(
            "tidegate.profile.1",
            |key| {
                layout::prefix_len(key)
                    .and_then(|len| key.get(..len))
                    .unwrap_or(key)
            },
            Some(|key| layout::prefix_len(key).is_some()),
        ));
        state.set_memtable_prefix_bloom_ratio(0.05);
        table.set_bloom_filter(BLOOM_BITS, false);
        table.set_whole_key_filtering(false);
        state.set_block_based_table_factory(&table);
        let (mut index, table) = self.family(INDEX_BUFFER);
        index.set_block_based_table_factory(&table);
        // A fired timer leaves a deletion where the next reader begins: compact such stretches away.
        index.add_compact_on_deletion_collector_factory(4_096, 2_048, 0.5);
        let (mut meta, table) = self.family(META_BUFFER);
        meta.set_block_based_table_factory(&table);
        vec![
            ColumnFamilyDescriptor::new(STATE, state),
            ColumnFamilyDescriptor::new(INDEX, index),
            ColumnFamilyDescriptor::new(META, meta),
        ]
    }
}

/// State of one task on disk.
pub struct RocksStore {
    // Closed before the directory is let go: fields are dropped in this order.
    closing: Closing,
    db: Arc<DB>,
    directory: Directory,
    task: i32,
    inputs: Vec<Arc<str>>,
    /// The store says of itself that there is something to be rewritten.
    is_stained: bool,
}

/// Ends what is being rewritten when the store is closed: the next open goes on.
struct Closing {
    db: Arc<DB>,
    scrubber: Scrubber,
}

impl Drop for Closing {
    fn drop(&mut self) {
        if !self.scrubber.is_idle() {
            self.db.cancel_all_background_work(false);
        }
        self.scrubber.join();
    }
}

/// Writes to files what is not yet, and those files anew that hold profiles of `ranges`. What fails stays to be done.
fn rewrite(db: &DB, ranges: &Ranges) {
    let families = [STATE, INDEX, META].map(|name| db.cf_handle(name));
    let [Some(state), Some(index), Some(meta)] = families else {
        return;
    };
    let flushed = db.flush_cfs_opt(&[state, index, meta], &rocksdb::FlushOptions::default());
    if flushed.is_err() {
        return;
    }
    let mut options = CompactOptions::default();
    // Also the last level: a deletion that found nothing to delete is moved there as it is, with the key.
    options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
    options.set_exclusive_manual_compaction(false);
    let all = None::<&[u8]>;
    match ranges {
        Some(profiles) => {
            for from in profiles {
                let to = [from, &[u8::MAX; 3][..]].concat();
                db.compact_range_cf_opt(state, Some(from), Some(&to), &options);
            }
        }
        None => db.compact_range_cf_opt(state, all, all, &options),
    }
    db.compact_range_cf_opt(index, all, all, &options);
}

/// The profiles of which a batch with an erasure deletes something, and the addresses that it changes; `None`: it has none.
fn erased_in(batch: &StoreBatch) -> Option<BTreeSet<Vec<u8>>> {
    let marks = layout::erasure_prefix();
    let changes = &batch.changes;
    if !changes.iter().any(|change| change.key.starts_with(&marks)) {
        return None;
    }
    let held = changes
        .iter()
        .filter(|change| change.value.is_none() || layout::is_of_address(&change.key));
    let profiles = held.filter_map(|change| change.key.get(..layout::prefix_len(&change.key)?));
    Some(profiles.map(<[u8]>::to_vec).collect())
}

impl RocksStore {
    /// Opens the store of `identity.partition` under `state_dir`, made on demand. `inputs` names the topics by [`InputId`]; positions of
    /// topics that are not among them stay stored and are not told.
    ///
    /// # Errors
    /// `Foreign` when the directory was made for another application, cluster, partition or number of partitions, or by a newer version;
    /// `Corrupt` when its bytes are not what was written; `Io` when the disk refuses or another process holds it.
    pub fn open(
        shared: &RocksShared,
        state_dir: &Path,
        identity: &StoreIdentity,
        inputs: Vec<Arc<str>>,
    ) -> Result<Self, StoreError> {
        let (application, task) = (&identity.application, identity.partition);
        let mut store = Self::open_any(shared, state_dir, application, task, inputs)?;
        store.check_identity(identity)?;
        let key = layout::meta_key(&MetaKey::Stained);
        let stained = store.db.get_pinned(&key);
        store.is_stained = stained
            .map_err(|error| failure(task, "read", &error))?
            .is_some();
        if store.is_stained {
            store.closing.scrubber.want(None);
        }
        Ok(store)
    }

    /// As [`Self::open`], whatever cluster the store was made for: for looking at it (`state get`).
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_any(
        shared: &RocksShared,
        state_dir: &Path,
        application: &str,
        task: i32,
        inputs: Vec<Arc<str>>,
    ) -> Result<Self, StoreError> {
        let directory = Directory::claim(state_dir, application, task)?;
        let db = shared
            .database()
            .and_then(|options| {
                DB::open_cf_descriptors(&options, directory.database(), shared.families())
            })
            .map_err(|error| failure(task, "open", &error))?;
        let db = Arc::new(db);
        let erased = Arc::clone(&db);
        Ok(Self {
            closing: Closing {
                scrubber: Scrubber::new(Arc::new(move |ranges| rewrite(&erased, ranges))),
                db: Arc::clone(&db),
            },
            db,
            directory,
            task,
            inputs,
            is_stained: false,
        })
    }

    fn check_identity(&self, expected: &StoreIdentity) -> Result<(), StoreError> {
        let key = layout::meta_key(&MetaKey::Identity);
        let stored = self
            .db
            .get_pinned(&key)
            .map_err(|error| failure(self.task, "read", &error))?;
        let Some(stored) = stored else {
            return self
                .db
                .put(key, layout::identity_value(expected))
                .map_err(|error| failure(self.task, "write", &error));
        };
        let stored = layout::decode_identity(&stored).map_err(|error| error.corrupt(self.task))?;
        if stored == *expected {
            return Ok(());
        }
        let of = |identity: &StoreIdentity| {
            format!(
                "partition {} of {} of {} on cluster {}",
                identity.partition, identity.partitions, identity.application, identity.cluster
            )
        };
        Err(StoreError::Foreign {
            task: self.task,
            what: format!("it was made for {}, this is {}", of(&stored), of(expected)),
        })
    }

    /// Writes everything to table files and waits for it: a return reads no log.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn flush(&self) -> Result<(), StoreError> {
        let families = [self.family(STATE)?, self.family(INDEX)?, self.family(META)?];
        let options = rocksdb::FlushOptions::default();
        self.db
            .flush_cfs_opt(&families, &options)
            .map_err(|error| failure(self.task, "write", &error))
    }

    /// Waits until everything is rewritten that was erased.
    #[cfg(test)]
    pub(super) fn scrubbed(&mut self) {
        self.closing.scrubber.join();
    }

    /// Closes the store and hands its directory out, to be put aside or deleted.
    #[must_use]
    pub fn close(self) -> Directory {
        self.directory
    }

    fn family(&self, name: &str) -> Result<&ColumnFamily, StoreError> {
        self.db.cf_handle(name).ok_or_else(|| StoreError::Corrupt {
            task: self.task,
            what: format!("it has no column family {name}"),
        })
    }

    /// Calls `each` with keys and values of a family from `from` to the options' upper bound, until it says no.
    fn read(
        &self,
        family: &str,
        options: ReadOptions,
        from: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> Result<bool, LayoutError>,
    ) -> Result<(), StoreError> {
        let mut rows = self.db.raw_iterator_cf_opt(self.family(family)?, options);
        rows.seek(from);
        while let Some((key, value)) = rows.item() {
            if !each(key, value).map_err(|error| error.corrupt(self.task))? {
                break;
            }
            rows.next();
        }
        // An iterator ends at an error as at the end: only its status tells them apart.
        rows.status()
            .map_err(|error| failure(self.task, "read", &error))
    }

    fn input(&self, topic: &str) -> Option<InputId> {
        let at = self.inputs.iter().position(|name| **name == *topic)?;
        u16::try_from(at).ok().map(InputId)
    }
}

impl Store for RocksStore {
    fn sections(
        &self,
        profile: &ProfileKey,
        each: &mut dyn FnMut(u8, u8, &[u8]),
    ) -> Result<(), StoreError> {
        let prefix = layout::profile_prefix(profile);
        let mut end = prefix.clone();
        end.extend([u8::MAX; 3]);
        let mut options = ReadOptions::default();
        options.set_prefix_same_as_start(true);
        options.set_iterate_upper_bound(end);
        self.read(STATE, options, &prefix, |key, value| {
            match key.strip_prefix(prefix.as_slice()) {
                Some([section, chunk]) => each(*section, *chunk, value),
                // Not of our making: the whole store is in doubt.
                Some(_) | None => layout::decode_state_key(key).map(drop)?,
            }
            Ok(true)
        })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db
            .get_cf(self.family(STATE)?, key)
            .map_err(|error| failure(self.task, "read", &error))
    }

    fn due(
        &self,
        after: Option<&(Timestamp, ProfileKey)>,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Timestamp, ProfileKey)>, StoreError> {
        let mut options = ReadOptions::default();
        if let Some(end) = layout::index_end(until) {
            options.set_iterate_upper_bound(end);
        }
        let after = after.map(|(due, profile)| layout::index_key(*due, profile));
        let from = after.clone().unwrap_or_default();
        let mut due = Vec::new();
        self.read(INDEX, options, &from, |key, _| {
            if after.as_deref() != Some(key) && due.len() < limit {
                due.push(layout::decode_index_key(key)?);
            }
            Ok(due.len() < limit)
        })?;
        Ok(due)
    }

    /// # Panics
    /// EO-1: when a position is of an input that this store was not opened with.
    #[expect(
        clippy::expect_used,
        reason = "EO-1: positions and names come from the same list of inputs"
    )]
    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        let (state, index) = (self.family(STATE)?, self.family(INDEX)?);
        let bytes: usize = batch
            .changes
            .iter()
            .map(|change| change.key.len() + change.value.as_ref().map_or(0, Vec::len) + 12)
            .sum();
        let mut rows = WriteBatch::with_capacity_bytes(bytes + 4 * KIB);
        for change in &batch.changes {
            match &change.value {
                Some(value) => rows.put_cf(state, &change.key, value),
                None => rows.delete_cf(state, &change.key),
            }
        }
        for (due, profile) in &batch.undue {
            rows.delete_cf(index, layout::index_key(*due, profile));
        }
        for (due, profile) in &batch.due {
            rows.put_cf(index, layout::index_key(*due, profile), []);
        }
        for position in &batch.positions {
            let topic = self
                .inputs
                .get(usize::from(position.input.0))
                .expect("EO-1: a position of an input that is not configured");
            let key = MetaKey::Input {
                partition: position.partition,
                topic: topic.to_string(),
            };
            let next = layout::number_value(position.next.get());
            rows.put(layout::meta_key(&key), next);
        }
        if let Some(changelog) = batch.changelog {
            let next = layout::number_value(changelog.get());
            rows.put(layout::meta_key(&MetaKey::Changelog), next);
        }
        let written_at = layout::number_value(batch.written_at.millis());
        rows.put(layout::meta_key(&MetaKey::WrittenAt), written_at);
        let erased = erased_in(batch);
        let key = layout::meta_key(&MetaKey::Stained);
        if erased.is_some() {
            rows.put(key, []);
        } else if self.is_stained && self.closing.scrubber.is_idle() {
            rows.delete(key);
            self.is_stained = false;
        }
        let mut options = WriteOptions::default();
        options.set_sync(false);
        self.db
            .write_opt(rows, &options)
            .map_err(|error| failure(self.task, "write", &error))?;
        if erased.is_some() {
            self.is_stained = true;
            self.closing.scrubber.want(erased);
        }
        Ok(())
    }

    fn head(&self) -> Result<StoreHead, StoreError> {
        let mut head = StoreHead::default();
        self.read(META, ReadOptions::default(), &[], |key, value| {
            match layout::decode_meta_key(key)? {
                MetaKey::Identity | MetaKey::Stained => {}
                MetaKey::Changelog => head.changelog = Some(layout::decode_offset(value)?),
                MetaKey::WrittenAt => head.written_at = Some(layout::decode_time(value)?),
                MetaKey::Input { partition, topic } => {
                    let next = layout::decode_offset(value)?;
                    head.positions
                        .extend(self.input(&topic).map(|input| Position {
                            input,
                            partition,
                            next,
                        }));
                }
            }
            Ok(true)
        })?;
        head.positions.sort();
        Ok(head)
    }

    fn prefixed(
        &self,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), StoreError> {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        self.read(STATE, options, prefix, |key, value| {
            let inside = key.starts_with(prefix);
            if inside {
                each(key, value);
            }
            Ok(inside)
        })
    }

    fn scan(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        options.fill_cache(false);
        self.read(STATE, options, &[], |key, value| {
            each(key, value);
            Ok(true)
        })
    }

    /// Live table files and what is not flushed yet.
    fn bytes(&self) -> u64 {
        let told = |property| {
            [STATE, INDEX, META]
                .into_iter()
                .filter_map(|name| self.db.cf_handle(name))
                .filter_map(|family| self.db.property_int_value_cf(family, property).ok()?)
                .sum::<u64>()
        };
        told(properties::LIVE_SST_FILES_SIZE) + told(properties::CUR_SIZE_ALL_MEM_TABLES)
    }
}

/// What RocksDB's error means to us. Its text is kept only where it cannot name a key.
fn failure(task: i32, attempted: &'static str, error: &rocksdb::Error) -> StoreError {
    let text = error.as_ref();
    let kind = text.split(':').next().unwrap_or_default();
    let what = if text.to_ascii_lowercase().contains("key") {
        kind.to_owned()
    } else {
        text.to_owned()
    };
    // A file of the store that is gone is damage too: the changelog has it all.
    let gone = text.contains("No such file or directory");
    if error.kind() == ErrorKind::Corruption || gone {
        StoreError::Corrupt { task, what }
    } else {
        StoreError::Io {
            task,
            attempted,
            what,
        }
    }
}
