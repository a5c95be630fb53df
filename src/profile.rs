//! Everything that is known of one customer, in sections (product.md §4, engine.md §2).
//!
//! A profile is stored section by section, so that a click rewrites a hundred bytes and not the whole customer. Mutable access to a
//! section marks it changed; [`Profile::take_changes`] hands the changed ones to staging, once per batch.
//! All limits together keep a profile under 900 KiB (LM-1).

use std::ops::{Deref, DerefMut};

use crate::event::{Body, Event, EventType};
use crate::policy::Policy;
use crate::value::{ProfileKey, Timestamp};

pub mod activity;
pub mod blocks;
pub mod carts;
pub mod chunks;
mod codec;
pub mod contacts;
mod erase;
pub(crate) mod fold;
pub mod history;
mod join;
pub mod journal;
pub mod limits;
pub mod links;
pub mod orders;
pub mod person;
pub mod reach;
pub mod rhythm;
pub mod running;
pub mod scores;
pub mod service;
pub mod supply;
mod view;
pub mod worth;

pub use activity::Activity;
pub use blocks::{Block, BlockOn, Blocks};
pub use carts::{Cart, Carts, Item};
pub use codec::Each;
pub use contacts::{Contact, Contacts};
pub use history::History;
pub use journal::Journal;
pub use links::Links;
pub use orders::{OrderNews, OrderRecord, OrderState, Orders};
pub use person::Person;
pub use reach::Reach;
pub use rhythm::Rhythm;
pub use running::Running;
pub use scores::Scores;
pub use service::Service;
pub use supply::Supply;

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
    /// Reserved: consumption per product beyond what the kept orders tell.
    Supply = 11,
    /// Reserved: purchase rhythm beyond what the kept orders tell.
    Rhythm = 12,
    /// What external models say.
    Scores = 13,
    /// Tickets and feedback.
    Service = 14,
    /// Reserved: attribution touches.
    Attribution = 15,
    /// Aliases, devices, holders of an address.
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
#[derive(Clone, Debug, Default)]
pub struct Section<T> {
    value: T,
    changed: bool,
    /// The store holds a value of it, so that its end must be told.
    stored: bool,
}

impl<T> Section<T> {
    /// As read from the store.
    pub const fn stored(value: T) -> Self {
        Self {
            value,
            changed: false,
            stored: true,
        }
    }
    /// Made just now: all of it is still to be written.
    const fn changed(value: T) -> Self {
        Self {
            value,
            changed: true,
            stored: false,
        }
    }
    /// Whether it changed; forgets it.
    pub const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.changed, false)
    }
}

impl<T: PartialEq> PartialEq for Section<T> {
    /// Equal in content; what is still to be written does not count.
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}
impl<T: Eq> Eq for Section<T> {}

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
#[derive(Clone)]
pub struct Profile {
    key: ProfileKey,
    /// Who they are.
    pub person: Section<Person>,
    /// How they can be reached, what they allow.
    pub reach: Section<Reach>,
    /// What every event touches.
    pub activity: Section<Activity>,
    /// Dedup keys and views.
    pub journal: Journal,
    /// Open carts.
    pub carts: Section<Carts>,
    /// Orders.
    pub orders: Orders,
    /// Running instances and pending requests.
    pub running: Section<Running>,
    /// Contacts handed over.
    pub contacts: Contacts,
    /// When flows last spoke.
    pub history: Section<History>,
    /// What external models say.
    pub scores: Section<Scores>,
    /// Tickets and feedback.
    pub service: Section<Service>,
    /// Who else this profile is.
    pub links: Section<Links>,
    blocks: Section<Blocks>,
    blocks_changed: bool,
    erased: erase::Erased,
}

impl PartialEq for Profile {
    /// Equal in content; what is still to be written or told does not count.
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
            && self.person == other.person
            && self.reach == other.reach
            && self.activity == other.activity
            && self.journal == other.journal
            && self.carts == other.carts
            && self.orders == other.orders
            && self.running == other.running
            && self.contacts == other.contacts
            && self.history == other.history
            && self.scores == other.scores
            && self.service == other.service
            && self.links == other.links
            && self.blocks == other.blocks
    }
}
impl Eq for Profile {}

impl std::fmt::Debug for Profile {
    /// Never the content: a profile is personal data and debug output ends up in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Profile {
    /// A customer of whom nothing is known.
    #[must_use]
    pub fn new(key: ProfileKey) -> Self {
        Self {
            key,
            person: Section::default(),
            reach: Section::default(),
            activity: Section::default(),
            journal: Journal::default(),
            carts: Section::default(),
            orders: Orders::default(),
            running: Section::default(),
            contacts: Contacts::default(),
            history: Section::default(),
            scores: Section::default(),
            service: Section::default(),
            links: Section::default(),
            blocks: Section::default(),
            blocks_changed: false,
            erased: erase::Erased::default(),
        }
    }

    /// Whose profile this is.
    #[must_use]
    pub const fn key(&self) -> &ProfileKey {
        &self.key
    }

    /// When the earliest of this profile's timers is due (TM-2: the index holds exactly this instant for this profile).
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.running.timers().map(|(due, _)| due).min()
    }

    /// The suppressions that hold at `now`, oldest first: what `<app>-blocks` says of this profile.
    pub fn blocks(&self, now: Timestamp) -> impl Iterator<Item = &Block> {
        self.blocks
            .blocks
            .iter()
            .filter(move |block| block.is_live(now))
    }

    /// Nothing is known but how it is tied to others.
    #[must_use]
    pub fn is_vacant(&self) -> bool {
        *self.person == Person::default()
            && *self.reach == Reach::default()
            && *self.activity == Activity::default()
            && self.journal.is_empty()
            && *self.carts == Carts::default()
            && self.orders.parts.is_empty()
            && self.running.instances.is_empty()
            && self.running.requests.is_empty()
            && self.running.watches.is_empty()
            && self.contacts.parts.is_empty()
            && *self.history == History::default()
            && *self.scores == Scores::default()
            && *self.service == Service::default()
            && self.blocks.blocks.is_empty()
    }

    /// Every suppression, taken out.
    pub(crate) fn take_all_blocks(&mut self) -> Vec<Block> {
        if self.blocks.blocks.is_empty() {
            return Vec::new();
        }
        self.blocks_changed = true;
        std::mem::take(&mut self.blocks.blocks)
    }

    /// Whether suppressions began or ended since the last call; forgets it.
    pub const fn take_blocks_changed(&mut self) -> bool {
        std::mem::replace(&mut self.blocks_changed, false)
    }

    /// Adds a suppression; what is over is forgotten, and beyond the limit what ends first.
    pub(crate) fn push_block(&mut self, block: Block, now: Timestamp) {
        self.blocks_changed = true;
        let blocks = &mut self.blocks.blocks;
        blocks.retain(|block| block.is_live(now));
        if blocks.len() >= limits::BLOCKS {
            let first = blocks
                .iter()
                .enumerate()
                .filter(|(_, block)| block.until.is_some())
                .min_by_key(|(_, block)| block.until)
                .map_or(0, |(index, _)| index);
            blocks.remove(first);
        }
        blocks.push(block);
    }

    /// Takes out the live suppressions that `which` names.
    pub(crate) fn take_blocks(
        &mut self,
        now: Timestamp,
        which: impl Fn(&Block) -> bool,
    ) -> Vec<Block> {
        if !self.blocks(now).any(&which) {
            return Vec::new();
        }
        self.blocks_changed = true;
        let (taken, kept) = std::mem::take(&mut self.blocks.blocks)
            .into_iter()
            .partition(|block| block.is_live(now) && which(block));
        self.blocks.blocks = kept;
        taken
    }

    /// Takes channels off the live suppressions that `which` names, one by one; a suppression without a channel ends.
    pub(crate) fn take_blocks_on(
        &mut self,
        now: Timestamp,
        which: impl Fn(&Block, &BlockOn) -> bool,
    ) -> Vec<(Block, BlockOn)> {
        let hits = |block: &Block| block.is_live(now) && block.on.iter().any(|on| which(block, on));
        if !self.blocks.blocks.iter().any(hits) {
            return Vec::new();
        }
        self.blocks_changed = true;
        let mut taken = Vec::new();
        for block in &mut self.blocks.blocks {
            let all = std::mem::take(&mut block.on);
            let (gone, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(|on| which(block, on));
            block.on = kept;
            taken.extend(gone.into_iter().map(|on| (block.clone(), on)));
        }
        self.blocks.blocks.retain(|block| !block.on.is_empty());
        taken
    }

    /// The visitor id to state beside the customer: the profile's own, else the one seen last.
    #[must_use]
    pub fn anonymous_id(&self) -> Option<&str> {
        self.key.anonymous_id().or_else(|| {
            self.person
                .anonymous_id
                .as_ref()
                .map(|known| known.value.as_str())
        })
    }
}
