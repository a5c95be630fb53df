//! State of one task: profile sections, task records, timer index and positions (engine.md §1, §2h).
//!
//! [`layout`] lays out every key; [`staging`] holds what a batch changed and renders it twice, to changelog records and to one
//! store batch, so the two cannot differ (ST-1); [`rocks`] is the only file that names RocksDB; [`memory`] is the same store in
//! memory for `replay`, tests and the simulation.
//!
//! [`changelog`] is the other way into a store, used by restore, and the check that a store equals its changelog. [`directory`] is
//! where a store lives on disk.
//!
//! The stored changelog position may change in two ways only: [`Store::write`] after a commit, and the same call during restore.

use crate::bus::{NextOffset, Position};
use crate::profile::{Profile, SectionId};
use crate::value::{ProfileKey, Timestamp};

pub mod changelog;
pub mod directory;
pub mod layout;
pub mod memory;
#[cfg(feature = "rocks")]
pub mod rocks;
pub mod staging;

/// One change of the keyed state: exactly one changelog record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Laid out by [`layout`]; the same bytes in store and changelog.
    pub key: Vec<u8>,
    /// `None` deletes.
    pub value: Option<Vec<u8>>,
}

/// Everything that one commit (or one stretch of restore) changes in a store, applied in one atomic batch.
#[derive(Clone, Debug, Default)]
pub struct StoreBatch {
    /// Sections and task records.
    pub changes: Vec<Change>,
    /// Index entries to remove: the instant at which the index holds this profile.
    pub undue: Vec<(Timestamp, ProfileKey)>,
    /// Index entries to add.
    pub due: Vec<(Timestamp, ProfileKey)>,
    /// Input positions after this batch; those of inputs that are not named stay as they were.
    pub positions: Vec<Position>,
    /// Changelog position after this batch; `None` leaves it as it was.
    pub changelog: Option<NextOffset>,
    /// Wall time up to which the store is known to have seen every deletion, for the check against `delete.retention.ms`: now,
    /// after a commit or at the end of a restore; in the middle of a restore what it was before.
    pub written_at: Timestamp,
}

/// What a store says of itself when it is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreHead {
    /// Next changelog offset that the store has not seen; `None` for a new store.
    pub changelog: Option<NextOffset>,
    /// Input positions as of the last write.
    pub positions: Vec<Position>,
    /// Wall time of the last write.
    pub written_at: Option<Timestamp>,
}

/// A store call that failed: the disk or the bytes on it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The bytes are not what we wrote: quarantine the directory, rebuild from the changelog.
    #[error("the state directory of task {task} is corrupt: {what}")]
    Corrupt {
        /// Which task.
        task: i32,
        /// What was found.
        what: String,
    },
    /// The disk refuses (full, read-only, gone): exit with code 74, start again when it is mended.
    #[error("cannot {attempted} the state directory of task {task}: {what}")]
    Io {
        /// Which task.
        task: i32,
        /// `open`, `read`, `write`.
        attempted: &'static str,
        /// What the system said.
        what: String,
    },
    /// Written for another application, cluster, partition count or by a newer version.
    #[error("the state directory of task {task} belongs elsewhere: {what}")]
    Foreign {
        /// Which task.
        task: i32,
        /// Both sides, with numbers.
        what: String,
    },
}

/// One profile as it was last committed; `None` when nothing is stored of it.
///
/// # Errors
/// When the disk fails, or what is stored cannot be decoded.
pub fn stored_profile(
    store: &dyn Store,
    task: i32,
    key: &ProfileKey,
) -> Result<Option<Profile>, StoreError> {
    let mut profile = Profile::new(key.clone());
    let (mut sections, mut unreadable) = (0, None);
    store.sections(key, &mut |section, chunk, value| {
        sections += 1;
        if let Some(section) = SectionId::from_byte(section)
            && let Err(error) = profile.put_section(section, chunk, value)
        {
            unreadable = Some(error.to_string());
        }
    })?;
    match unreadable {
        Some(what) => Err(StoreError::Corrupt { task, what }),
        None => Ok((sections > 0).then_some(profile)),
    }
}

/// The state of one task.
pub trait Store: Send {
    /// Calls `each` with section byte, chunk byte and value for every stored section of a profile; one contiguous read.
    ///
    /// # Errors
    /// When the disk fails.
    fn sections(
        &self,
        profile: &ProfileKey,
        each: &mut dyn FnMut(u8, u8, &[u8]),
    ) -> Result<(), StoreError>;

    /// One value by its full key (task records).
    ///
    /// # Errors
    /// When the disk fails.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Calls `each` with every state key that begins with `prefix`, and its value, in key order (task records of one kind).
    ///
    /// # Errors
    /// When the disk fails.
    fn prefixed(&self, prefix: &[u8], each: &mut dyn FnMut(&[u8], &[u8]))
    -> Result<(), StoreError>;

    /// Profiles whose earliest timer is due at or before `until`, in order of (due, key), at most `limit`; only those that
    /// come after `after` in that order, so that a reader goes on where it stopped.
    ///
    /// # Errors
    /// When the disk fails.
    fn due(
        &self,
        after: Option<&(Timestamp, ProfileKey)>,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Timestamp, ProfileKey)>, StoreError>;

    /// Applies one batch atomically.
    ///
    /// # Errors
    /// When the disk fails; nothing of the batch was applied.
    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError>;

    /// Positions as of the last write.
    ///
    /// # Errors
    /// When the disk fails.
    fn head(&self) -> Result<StoreHead, StoreError>;

    /// Calls `each` with every key and value of the changelogged state, in key order (`state verify`).
    ///
    /// # Errors
    /// When the disk fails.
    fn scan(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError>;

    /// Bytes that the state takes where it is kept; about, and cheap to ask.
    fn bytes(&self) -> u64;
}

#[cfg(test)]
mod tests;
