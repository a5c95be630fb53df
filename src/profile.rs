//! Everything that is known of one customer, in sections (product.md §4, engine.md §2).
//!
//! A profile is stored section by section, so that a click rewrites a hundred bytes and not the whole customer. Mutable access to a
//! section marks it changed; [`Profile::take_changes`] hands the changed ones to staging, once per batch.
//! All limits together keep a profile under 900 KiB (LM-1).

use std::ops::{Deref, DerefMut};

use crate::value::{ProfileKey, Timestamp};

/// The parts that a profile is stored in. Numbers are part of the stored key: append only, never reuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SectionId {
    /// Locale, zone, traits, control bucket.
    Person = 1,
    /// Addresses and consents per channel.
    Reach = 2,
    /// Counters and last-seen times that every event touches.
    Activity = 3,
    /// Dedup keys and views, in chunks.
    Journal = 4,
    /// Open carts.
    Carts = 5,
    /// Running flow instances and pending requests, with their timers.
    Running = 6,
    /// Recent orders with lines.
    Orders = 7,
    /// Contacts handed over: what became of them, and what caps count.
    Contacts = 8,
    /// Live suppressions.
    Blocks = 9,
    /// Last trigger per flow and instance key, for re-entry.
    History = 10,
    /// Reserved: consumption per product.
    Supply = 11,
    /// Reserved: purchase rhythm.
    Rhythm = 12,
    /// Reserved: external scores.
    Scores = 13,
    /// Reserved: tickets, returns and feedback.
    Service = 14,
    /// Reserved: attribution touches.
    Attribution = 15,
    /// Reserved: aliases and hand-over.
    Identity = 16,
}

impl SectionId {
    /// Reads the number of a stored key.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Person,
            Self::Reach,
            Self::Activity,
            Self::Journal,
            Self::Carts,
            Self::Running,
            Self::Orders,
            Self::Contacts,
            Self::Blocks,
            Self::History,
            Self::Supply,
            Self::Rhythm,
            Self::Scores,
            Self::Service,
            Self::Attribution,
            Self::Identity,
        ]
        .into_iter()
        .find(|section| *section as u8 == byte)
    }
}

/// A part of the profile that knows whether it changed since it was last taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section<T> {
    value: T,
    changed: bool,
}

impl<T> Section<T> {
    /// As read from the store.
    pub const fn stored(value: T) -> Self {
        Self {
            value,
            changed: false,
        }
    }
    /// Whether it changed; forgets it.
    pub const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.changed, false)
    }
}

impl<T> Deref for Section<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Section<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.changed = true;
        &mut self.value
    }
}

/// Stored bytes of a section that cannot be read: the store or the changelog is corrupt, or written by a newer version.
#[derive(Debug, thiserror::Error)]
#[error(
    "section {section:?} chunk {chunk} of a profile cannot be decoded (value version {version:?})"
)]
pub struct SectionError {
    /// Which section.
    pub section: SectionId,
    /// Which chunk of it.
    pub chunk: u8,
    /// First byte of the value.
    pub version: Option<u8>,
    /// What the decoder said.
    #[source]
    pub source: Option<minicbor::decode::Error>,
}

/// One customer.
#[derive(Clone, Debug)]
pub struct Profile {
    key: ProfileKey,
}

impl Profile {
    /// A customer of whom nothing is known.
    #[must_use]
    pub fn new(key: ProfileKey) -> Self {
        Self { key }
    }

    /// Whose profile this is.
    #[must_use]
    pub const fn key(&self) -> &ProfileKey {
        &self.key
    }

    /// Puts a stored section back. Sections may come in any order; each at most once per chunk.
    ///
    /// # Errors
    /// When the bytes are not what [`Self::take_changes`] wrote.
    pub fn put_section(
        &mut self,
        section: SectionId,
        chunk: u8,
        value: &[u8],
    ) -> Result<(), SectionError> {
        Err(SectionError {
            section,
            chunk,
            version: value.first().copied(),
            source: None,
        })
    }

    /// Hands out each section that changed since the last call, encoded; `None` where a chunk or section became empty and is to be deleted.
    pub fn take_changes(&mut self, _each: &mut dyn FnMut(SectionId, u8, Option<&[u8]>)) {}

    /// When the earliest of this profile's timers is due (TM-2: the index holds exactly this instant for this profile).
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        None
    }

    /// Reads the earliest due time out of a stored [`SectionId::Running`] value without decoding the rest (for restore).
    #[must_use]
    pub fn due_of_stored(_running_value: &[u8]) -> Option<Timestamp> {
        None
    }
}
