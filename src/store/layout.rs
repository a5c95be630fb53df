//! Every key of a store and of a changelog, and the values that are not profile sections, byte by byte.
//!
//! All numbers are big-endian, so that byte order is number order. The only text of variable length inside a key carries its
//! length; elsewhere it stands last. Nothing is joined by a delimiter. A changed golden test below is a migration.
//!
//! ```text
//! state, in store and changelog alike
//!   'P' │ version u8 │ len u16 │ profile key │ section u8 │ chunk u8      value: the section's own (profile module)
//!   'T' │ version u8 │ kind u8 │ …                                        value: version u8 │ …
//!         kind 1  flow text       16 hex digits of its hash                      retired i64 ms (0: in force) │ UTF-8 text
//!         kind 2  task clock      –                                              i64 ms
//!         kind 3  reserved: alias of an anonymous visitor
//!         kind 4  erasure         32 hex digits of a keyed hash of the profile key   until i64 ms
//!         kind 5  ledger          –                                              the engine's own
//!         kind 6  inputs          –                                              per input ever committed: len u16 │ topic
//! index, in the store only: one entry per profile with a timer, its earliest
//!   due u64 (i64 with the sign bit flipped) │ profile key                 value: empty
//! meta, in the store only
//!   kind 1  whose store             version u8 │ partition u32 │ partitions u32 │ len u16 │ application │ cluster
//!   kind 2  changelog position      i64
//!   kind 3  time of the last write  i64 ms
//!   kind 4  │ partition u32 │ topic: input position   i64
//!   kind 5  erased bytes are still in the files       empty
//! ```

use std::collections::BTreeSet;

use crate::bus::NextOffset;
use crate::profile::SectionId;
use crate::store::{Change, StoreError};
use crate::value::{ProfileKey, Timestamp};

/// Version of everything below. A store directory with a greater one is refused.
pub const FORMAT: u8 = 1;

const PROFILE: u8 = b'P';
const TASK: u8 = b'T';
const FLOW_TEXT: u8 = 1;
const CLOCK: u8 = 2;
const ALIAS: u8 = 3;
const ERASURE: u8 = 4;
const LEDGER: u8 = 5;
const INPUTS: u8 = 6;
const IDENTITY: u8 = 1;
const CHANGELOG: u8 = 2;
const WRITTEN_AT: u8 = 3;
const INPUT: u8 = 4;
const STAINED: u8 = 5;
const SIGN: u64 = 1 << 63;
/// Version of a flow text's value: it tells since when the version is not in force.
const FLOW_TEXT_FORMAT: u8 = 2;
/// Hex digits of an erased profile's hash.
const ERASURE_DIGITS: usize = 32;
/// Hex digits of a flow's hash.
const HASH_DIGITS: usize = 16;

/// Bytes that are not one of our keys or values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} of {len} bytes (tag {tag:?}, version {version:?}) is none of ours")]
pub struct LayoutError {
    /// What it should have been.
    pub what: &'static str,
    /// How long it is.
    pub len: usize,
    /// First byte.
    pub tag: Option<u8>,
    /// Second byte.
    pub version: Option<u8>,
}

impl LayoutError {
    /// As the failure of the store of `task` that held these bytes.
    #[must_use]
    pub fn corrupt(self, task: i32) -> StoreError {
        StoreError::Corrupt {
            task,
            what: self.to_string(),
        }
    }

    fn of(what: &'static str, bytes: &[u8]) -> Self {
        Self {
            what,
            len: bytes.len(),
            tag: bytes.first().copied(),
            version: bytes.get(1).copied(),
        }
    }
}

/// A state key, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateKey {
    /// One chunk of one section of a profile.
    Section {
        /// Whose.
        profile: ProfileKey,
        /// Which section; a plain number, because a newer version may know more of them.
        section: u8,
        /// Which chunk of it.
        chunk: u8,
    },
    /// The text of a flow version that instances run on.
    FlowText {
        /// Its hash: 16 hex digits.
        version: String,
    },
    /// The task clock.
    Clock,
    /// Reserved: which customer an anonymous visitor is.
    Alias,
    /// That somebody was erased.
    Erasure,
    /// What the task's channels went through.
    Ledger,
    /// Which inputs the task has committed positions of.
    Inputs,
}

/// The bytes that every section key of a profile begins with, and no other key does.
///
/// # Panics
/// LM-1: when the key is longer than 65,535 bytes; events with such ids do not decode.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "LM-1 bounds ids when events are decoded"
)]
pub fn profile_prefix(profile: &ProfileKey) -> Vec<u8> {
    let text = profile.as_str().as_bytes();
    let len = u16::try_from(text.len()).expect("LM-1: a profile key is at most 65,535 bytes");
    let mut key = Vec::with_capacity(text.len() + 6);
    key.extend([PROFILE, FORMAT]);
    key.extend(len.to_be_bytes());
    key.extend(text);
    key
}

/// The key of one chunk of one section.
#[must_use]
pub fn section_key(profile: &ProfileKey, section: SectionId, chunk: u8) -> Vec<u8> {
    let mut key = profile_prefix(profile);
    key.extend([section as u8, chunk]);
    key
}

/// How long the profile prefix of a state key is; `None` for task records and foreign bytes.
#[must_use]
pub fn prefix_len(key: &[u8]) -> Option<usize> {
    match key {
        [PROFILE, FORMAT, high, low, ..] => {
            let len = usize::from(u16::from_be_bytes([*high, *low])) + 4;
            (len <= key.len()).then_some(len)
        }
        _ => None,
    }
}

/// Is it a section of the list of those who hold an address?
#[must_use]
pub fn is_of_address(key: &[u8]) -> bool {
    matches!(key, [PROFILE, FORMAT, _, _, b'h', b':', ..])
}

/// The key of a flow's text; `None` when `version` is not 16 hex digits.
#[must_use]
pub fn flow_text_key(version: &str) -> Option<Vec<u8>> {
    is_hash(version.as_bytes()).then(|| {
        let mut key = vec![TASK, FORMAT, FLOW_TEXT];
        key.extend(version.as_bytes());
        key
    })
}

/// What all keys of flow texts begin with.
#[must_use]
pub const fn flow_text_prefix() -> [u8; 3] {
    [TASK, FORMAT, FLOW_TEXT]
}

/// The key of what the task's channels went through.
#[must_use]
pub fn ledger_key() -> Vec<u8> {
    vec![TASK, FORMAT, LEDGER]
}

/// The key of the inputs that the task has committed positions of.
#[must_use]
pub fn inputs_key() -> Vec<u8> {
    vec![TASK, FORMAT, INPUTS]
}

/// The value of [`inputs_key`].
#[must_use]
pub fn inputs_value(topics: &BTreeSet<String>) -> Vec<u8> {
    let mut value = vec![FORMAT];
    for topic in topics {
        // Kafka's names have at most 249 letters.
        value.extend(u16::try_from(topic.len()).unwrap_or(u16::MAX).to_be_bytes());
        value.extend(topic.as_bytes());
    }
    value
}

/// Reads what [`inputs_value`] wrote.
///
/// # Errors
/// When the bytes are none of ours.
pub fn decode_inputs(value: &[u8]) -> Result<BTreeSet<String>, LayoutError> {
    let error = || LayoutError::of("a value of inputs", value);
    let [FORMAT, rest @ ..] = value else {
        return Err(error());
    };
    let (mut rest, mut topics) = (rest, BTreeSet::new());
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len));
        let (topic, after) = after.split_at_checked(len).ok_or_else(error)?;
        topics.insert(std::str::from_utf8(topic).map_err(|_| error())?.to_owned());
        rest = after;
    }
    if rest.is_empty() {
        Ok(topics)
    } else {
        Err(error())
    }
}

/// The key of that somebody was erased; `hash` as [`crate::engine::erasure_id`] makes it.
#[must_use]
pub fn erasure_key(hash: &str) -> Vec<u8> {
    let mut key = erasure_prefix().to_vec();
    key.extend(hash.as_bytes());
    key
}

/// What all keys of erasures begin with.
#[must_use]
pub const fn erasure_prefix() -> [u8; 3] {
    [TASK, FORMAT, ERASURE]
}

/// The value of [`erasure_key`]: what is not later is dropped. Read by [`decode_erasure`].
#[must_use]
pub fn erasure_value(until: Timestamp) -> Vec<u8> {
    clock_value(until)
}

/// Until when somebody was erased.
///
/// # Errors
/// When it is of another version or length.
pub fn decode_erasure(value: &[u8]) -> Result<Timestamp, LayoutError> {
    decode_clock(value).map_err(|_| LayoutError::of("an erasure", value))
}

/// The key of the task clock.
#[must_use]
pub fn clock_key() -> Vec<u8> {
    vec![TASK, FORMAT, CLOCK]
}

fn is_hash(text: &[u8]) -> bool {
    text.len() == HASH_DIGITS
        && text
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Reads any state key.
///
/// # Errors
/// When the bytes are no state key of this format.
pub fn decode_state_key(key: &[u8]) -> Result<StateKey, LayoutError> {
    let error = || LayoutError::of("a state key", key);
    match key {
        [TASK, FORMAT, FLOW_TEXT, hash @ ..] if is_hash(hash) => Ok(StateKey::FlowText {
            version: hash.iter().map(|byte| char::from(*byte)).collect(),
        }),
        [TASK, FORMAT, CLOCK] => Ok(StateKey::Clock),
        [TASK, FORMAT, LEDGER] => Ok(StateKey::Ledger),
        [TASK, FORMAT, INPUTS] => Ok(StateKey::Inputs),
        [TASK, FORMAT, ALIAS, ..] => Ok(StateKey::Alias),
        [TASK, FORMAT, ERASURE, hash @ ..] if hash.len() == ERASURE_DIGITS => Ok(StateKey::Erasure),
        _ => match prefix_len(key).and_then(|len| key.split_at_checked(len)) {
            Some(([_, _, _, _, profile @ ..], [section, chunk])) => Ok(StateKey::Section {
                profile: profile_key(profile).ok_or_else(error)?,
                section: *section,
                chunk: *chunk,
            }),
            _ => Err(error()),
        },
    }
}

fn profile_key(bytes: &[u8]) -> Option<ProfileKey> {
    ProfileKey::parse(std::str::from_utf8(bytes).ok()?)
}

/// The value of a flow's text; `retired` when the version is not in force any more.
#[must_use]
pub fn flow_text_value(retired: Option<Timestamp>, text: &str) -> Vec<u8> {
    let mut value = vec![FLOW_TEXT_FORMAT];
    value.extend(retired.map_or(0, Timestamp::millis).to_be_bytes());
    value.extend(text.as_bytes());
    value
}

/// Reads the value of a flow's text: when it was retired, and the text.
///
/// # Errors
/// When it is of another version or not UTF-8.
pub fn decode_flow_text(value: &[u8]) -> Result<(Option<Timestamp>, &str), LayoutError> {
    let parts = match value {
        [FLOW_TEXT_FORMAT, rest @ ..] => rest.split_first_chunk(),
        _ => None,
    };
    let read = parts.and_then(|(retired, text)| {
        let retired = i64::from_be_bytes(*retired);
        let retired = (retired != 0).then(|| Timestamp::from_millis(retired));
        Some((retired, std::str::from_utf8(text).ok()?))
    });
    read.ok_or_else(|| LayoutError::of("a flow text", value))
}

/// The value of the task clock.
#[must_use]
pub fn clock_value(clock: Timestamp) -> Vec<u8> {
    let mut value = vec![FORMAT];
    value.extend(clock.millis().to_be_bytes());
    value
}

/// The record that the task clock is kept by.
#[must_use]
pub fn clock_change(clock: Timestamp) -> Change {
    Change {
        key: clock_key(),
        value: Some(clock_value(clock)),
    }
}

/// Reads the task clock.
///
/// # Errors
/// When it is of another version or length.
pub fn decode_clock(value: &[u8]) -> Result<Timestamp, LayoutError> {
    match value {
        [FORMAT, millis @ ..] => number(millis),
        _ => None,
    }
    .map(Timestamp::from_millis)
    .ok_or_else(|| LayoutError::of("a task clock", value))
}

/// The index key of a profile whose earliest timer is due at `due` (TM-1: byte order is the order of due, then key).
#[must_use]
pub fn index_key(due: Timestamp, profile: &ProfileKey) -> Vec<u8> {
    let text = profile.as_str().as_bytes();
    let mut key = Vec::with_capacity(8 + text.len());
    key.extend((due.millis().cast_unsigned() ^ SIGN).to_be_bytes());
    key.extend(text);
    key
}

/// The smallest bytes that no index key due at or before `until` reaches; `None` when there are none.
#[must_use]
pub fn index_end(until: Timestamp) -> Option<[u8; 8]> {
    (until.millis().cast_unsigned() ^ SIGN)
        .checked_add(1)
        .map(u64::to_be_bytes)
}

/// Reads an index key.
///
/// # Errors
/// When it is shorter than a time or ends in no profile key.
pub fn decode_index_key(key: &[u8]) -> Result<(Timestamp, ProfileKey), LayoutError> {
    key.split_first_chunk::<8>()
        .and_then(|(due, profile)| {
            let due = Timestamp::from_millis((u64::from_be_bytes(*due) ^ SIGN).cast_signed());
            Some((due, profile_key(profile)?))
        })
        .ok_or_else(|| LayoutError::of("an index key", key))
}

/// Whose store it is. Fixed when the directory is made; a store of somebody else is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreIdentity {
    /// Application id.
    pub application: String,
    /// Cluster id, as the broker tells it.
    pub cluster: String,
    /// Which partition.
    pub partition: i32,
    /// How many partitions the application has.
    pub partitions: i32,
}

/// A meta key, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaKey {
    /// Whose store it is.
    Identity,
    /// Next changelog offset.
    Changelog,
    /// Wall time of the last write.
    WrittenAt,
    /// Position of one input partition, by name, so that the order of inputs in the configuration may change.
    Input {
        /// Which partition.
        partition: i32,
        /// Which topic.
        topic: String,
    },
    /// Files may hold bytes of somebody who was erased.
    Stained,
}

/// Writes a meta key.
#[must_use]
pub fn meta_key(key: &MetaKey) -> Vec<u8> {
    match key {
        MetaKey::Identity => vec![IDENTITY],
        MetaKey::Changelog => vec![CHANGELOG],
        MetaKey::WrittenAt => vec![WRITTEN_AT],
        MetaKey::Stained => vec![STAINED],
        MetaKey::Input { partition, topic } => {
            let mut bytes = vec![INPUT];
            bytes.extend(partition.to_be_bytes());
            bytes.extend(topic.as_bytes());
            bytes
        }
    }
}

/// Reads a meta key.
///
/// # Errors
/// When it is none.
pub fn decode_meta_key(key: &[u8]) -> Result<MetaKey, LayoutError> {
    match key {
        [IDENTITY] => Some(MetaKey::Identity),
        [CHANGELOG] => Some(MetaKey::Changelog),
        [WRITTEN_AT] => Some(MetaKey::WrittenAt),
        [STAINED] => Some(MetaKey::Stained),
        [INPUT, rest @ ..] => rest
            .split_first_chunk::<4>()
            .and_then(|(partition, topic)| {
                Some(MetaKey::Input {
                    partition: i32::from_be_bytes(*partition),
                    topic: std::str::from_utf8(topic).ok()?.to_owned(),
                })
            }),
        _ => None,
    }
    .ok_or_else(|| LayoutError::of("a meta key", key))
}

/// The value of positions and times in meta.
#[must_use]
pub fn number_value(number: i64) -> [u8; 8] {
    number.to_be_bytes()
}

/// Reads a position out of meta.
///
/// # Errors
/// When it is not eight bytes.
pub fn decode_offset(value: &[u8]) -> Result<NextOffset, LayoutError> {
    number(value)
        .map(NextOffset::at)
        .ok_or_else(|| LayoutError::of("a position", value))
}

/// Reads a time out of meta.
///
/// # Errors
/// When it is not eight bytes.
pub fn decode_time(value: &[u8]) -> Result<Timestamp, LayoutError> {
    number(value)
        .map(Timestamp::from_millis)
        .ok_or_else(|| LayoutError::of("a time", value))
}

fn number(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_be_bytes)
}

/// Writes whose store it is.
///
/// # Panics
/// LM-1: when the application id is longer than 65,535 bytes; Kafka ends topic names at 249.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "LM-1: Kafka bounds topic names, and the application id is part of one"
)]
pub fn identity_value(identity: &StoreIdentity) -> Vec<u8> {
    let len = u16::try_from(identity.application.len())
        .expect("LM-1: an application id is at most 65,535 bytes");
    let mut value = vec![FORMAT];
    value.extend(identity.partition.to_be_bytes());
    value.extend(identity.partitions.to_be_bytes());
    value.extend(len.to_be_bytes());
    value.extend(identity.application.as_bytes());
    value.extend(identity.cluster.as_bytes());
    value
}

/// Reads whose store it is.
///
/// # Errors
/// When it is of another version or cut short.
pub fn decode_identity(value: &[u8]) -> Result<StoreIdentity, LayoutError> {
    let read = || {
        let (version, rest) = value.split_first()?;
        let (partition, rest) = rest.split_first_chunk::<4>()?;
        let (partitions, rest) = rest.split_first_chunk::<4>()?;
        let (len, rest) = rest.split_first_chunk::<2>()?;
        let (application, cluster) =
            rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        (*version == FORMAT).then_some(())?;
        Some(StoreIdentity {
            application: std::str::from_utf8(application).ok()?.to_owned(),
            cluster: std::str::from_utf8(cluster).ok()?.to_owned(),
            partition: i32::from_be_bytes(*partition),
            partitions: i32::from_be_bytes(*partitions),
        })
    };
    read().ok_or_else(|| LayoutError::of("a store's identity", value))
}

#[cfg(test)]
mod tests;
