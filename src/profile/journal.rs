//! The recent past in small chunks: dedup keys of 24 hours and the products seen last.
//!
//! Chunks from 0 hold dedup keys, chunks from [`VIEWS`] hold views. Each chunk has a sequence number; the greatest is written on,
//! and when it is full the next free slot is taken (the oldest when none is), so a click rewrites one small chunk of each.

use std::collections::HashMap;

use minicbor::{Decode, Encode};

use super::chunks::Chunks;
use super::limits::{self, clip};
use crate::event::{Event, Product};
use crate::value::{Span, Timestamp};

/// First chunk of views.
pub(super) const VIEWS: u8 = 128;

/// A dedup key and when it was folded.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SeenKey {
    /// xxh3 of source, type and event id.
    #[n(0)]
    pub key: u64,
    /// Seconds after the chunk's base.
    #[n(1)]
    pub after: u32,
}

/// Some dedup keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Keys {
    /// Order of the chunks.
    #[n(0)]
    pub sequence: u32,
    /// The task's clock at the first key.
    #[n(1)]
    pub base: Timestamp,
    /// In order of arrival.
    #[n(2)]
    pub keys: Vec<SeenKey>,
}

impl Keys {
    fn newest(&self) -> Timestamp {
        let after = self
            .keys
            .iter()
            .map(|seen| seen.after)
            .max()
            .unwrap_or_default();
        self.base.plus(Span::from_secs(i64::from(after)))
    }
}

/// One product seen.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct View {
    /// Which.
    #[n(0)]
    pub product_id: String,
    /// What all variants share.
    #[n(1)]
    pub group_id: Option<String>,
    /// Path.
    #[n(2)]
    pub category: Option<String>,
    /// Effective time.
    #[n(3)]
    pub at: Timestamp,
}

/// Some views.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Views {
    /// Order of the chunks.
    #[n(0)]
    pub sequence: u32,
    /// In order of arrival.
    #[n(1)]
    pub views: Vec<View>,
}

/// One chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum JournalPart {
    /// Dedup keys.
    Keys(Keys),
    /// Views.
    Views(Views),
}

/// Dedup keys and views.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    parts: Chunks<JournalPart>,
    /// How often each key is held: never stored, only asked and never walked, so that a busy customer's next event does not scan
    /// a thousand keys.
    held: HashMap<u64, u32>,
    /// The chunk of keys that is written on.
    latest: Option<u8>,
}

impl PartialEq for Journal {
    /// Equal in what is stored.
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}
impl Eq for Journal {}

/// The dedup key of an event: source, type and event id.
#[must_use]
pub fn dedup_key(event: &Event) -> u64 {
    let mut hash = xxhash_rust::xxh3::Xxh3Default::new();
    for part in [event.source.as_str(), event.kind.name(), event.id.as_str()] {
        hash.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.digest()
}

impl Journal {
    /// Puts a stored chunk back.
    pub(super) fn put_stored(&mut self, chunk: u8, part: JournalPart) {
        if let JournalPart::Keys(keys) = &part {
            for seen in &keys.keys {
                *self.held.entry(seen.key).or_default() += 1;
            }
            let sequence = self
                .latest
                .and_then(|latest| self.keys_in(latest))
                .map(|keys| keys.sequence);
            if sequence.is_none_or(|sequence| sequence < keys.sequence) {
                self.latest = Some(chunk);
            }
        }
        self.parts.put_stored(chunk, part);
    }

    /// Hands out the chunks that changed.
    pub(super) fn take_changes(&mut self, each: impl FnMut(u8, Option<&JournalPart>)) {
        self.parts.take_changes(each);
    }

    fn keys_in(&self, chunk: u8) -> Option<&Keys> {
        match self.parts.get(chunk) {
            Some(JournalPart::Keys(keys)) => Some(keys),
            Some(JournalPart::Views(_)) | None => None,
        }
    }

    /// Drops a chunk of keys.
    fn forget(&mut self, chunk: u8) {
        let gone: Vec<u64> = self
            .keys_in(chunk)
            .into_iter()
            .flat_map(|keys| &keys.keys)
            .map(|seen| seen.key)
            .collect();
        for key in gone {
            if let Some(count) = self.held.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.held.remove(&key);
                }
            }
        }
        self.parts.remove(chunk);
    }

    fn keys(&self) -> impl Iterator<Item = (u8, &Keys)> {
        self.parts.iter().filter_map(|(chunk, part)| match part {
            JournalPart::Keys(keys) => Some((chunk, keys)),
            JournalPart::Views(_) => None,
        })
    }

    fn view_parts(&self) -> impl Iterator<Item = (u8, &Views)> {
        self.parts.iter().filter_map(|(chunk, part)| match part {
            JournalPart::Views(views) => Some((chunk, views)),
            JournalPart::Keys(_) => None,
        })
    }

    /// Everything, taken out.
    pub(super) fn take_all(&mut self) -> Self {
        Self {
            parts: self.parts.taken(),
            held: std::mem::take(&mut self.held),
            latest: self.latest.take(),
        }
    }

    /// Nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Takes over what another profile saw: its dedup keys, and of the views of both those seen last.
    pub(super) fn join(&mut self, other: &Self, window: Span) {
        let mut keys: Vec<(Timestamp, u64)> = other
            .keys()
            .flat_map(|(_, keys)| {
                keys.keys.iter().map(|seen| {
                    let after = Span::from_secs(i64::from(seen.after));
                    (keys.base.plus(after), seen.key)
                })
            })
            .collect();
        keys.sort_unstable();
        for (at, key) in keys {
            if !self.held.contains_key(&key) {
                self.remember(key, at, window);
            }
        }
        let theirs: Vec<View> = other.views().into_iter().cloned().collect();
        if theirs.is_empty() {
            return;
        }
        let mut views: Vec<View> = self.views().into_iter().cloned().collect();
        views.extend(theirs);
        views.sort_by_key(|view| view.at);
        let chunks: Vec<u8> = self.view_parts().map(|(chunk, _)| chunk).collect();
        for chunk in chunks {
            self.parts.remove(chunk);
        }
        for view in views {
            self.push_view(view);
        }
    }

    /// How many dedup keys are held.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.keys().map(|(_, keys)| keys.keys.len()).sum()
    }

    /// The products seen last, in order of arrival.
    #[must_use]
    pub fn views(&self) -> Vec<&View> {
        let mut parts: Vec<&Views> = self.view_parts().map(|(_, views)| views).collect();
        parts.sort_by_key(|views| views.sequence);
        parts.into_iter().flat_map(|views| &views.views).collect()
    }

    /// Was an event of this key folded within `window` before `now`?
    #[must_use]
    pub fn has_seen(&self, key: u64, now: Timestamp, window: Span) -> bool {
        if !self.held.contains_key(&key) {
            return false;
        }
        let since = now.minus(window);
        self.keys().any(|(_, keys)| {
            keys.keys.iter().any(|seen| {
                seen.key == key
                    && keys.base.plus(Span::from_secs(i64::from(seen.after) + 1)) > since
            })
        })
    }

    /// Remembers a key folded at `now`; forgets chunks that are wholly outside `window`.
    pub(super) fn remember(&mut self, key: u64, now: Timestamp, window: Span) {
        *self.held.entry(key).or_default() += 1;
        let latest = self
            .latest
            .and_then(|chunk| Some((chunk, self.keys_in(chunk)?)))
            .map(|(chunk, keys)| (chunk, keys.sequence, keys.base, keys.keys.len()));
        let after = |base: Timestamp| u32::try_from((now.since(base).millis() / 1_000).max(0)).ok();
        if let Some((chunk, _, base, len)) = latest
            && len < limits::KEYS_PER_CHUNK
            && now.since(base) < window
            && let Some(after) = after(base)
            && let Some(JournalPart::Keys(keys)) = self.parts.get_mut(chunk)
        {
            keys.keys.push(SeenKey { key, after });
            return;
        }
        let since = now.minus(window);
        let old: Vec<u8> = self
            .keys()
            .filter(|(_, keys)| keys.newest() < since)
            .map(|(chunk, _)| chunk)
            .collect();
        for chunk in old {
            self.forget(chunk);
        }
        let sequence = latest.map_or(0, |(_, sequence, ..)| sequence.wrapping_add(1));
        let oldest = || {
            self.keys()
                .min_by_key(|(_, keys)| keys.sequence)
                .map(|(chunk, _)| chunk)
        };
        let chunk = self
            .parts
            .free(0, limits::KEY_CHUNKS)
            .or_else(oldest)
            .unwrap_or_default();
        // The oldest makes room where no slot is free.
        self.forget(chunk);
        self.latest = Some(chunk);
        let keys = vec![SeenKey { key, after: 0 }];
        self.parts.put(
            chunk,
            JournalPart::Keys(Keys {
                sequence,
                base: now,
                keys,
            }),
        );
    }

    /// Remembers a product seen.
    pub(super) fn view(&mut self, product: &Product, at: Timestamp) {
        let view = View {
            product_id: clip(&product.product_id, limits::ID_BYTES),
            group_id: product
                .group_id
                .as_deref()
                .map(|id| clip(id, limits::ID_BYTES)),
            category: product
                .category
                .as_deref()
                .map(|text| clip(text, limits::TEXT_BYTES)),
            at,
        };
        self.push_view(view);
    }

    fn push_view(&mut self, view: View) {
        let latest = self
            .view_parts()
            .max_by_key(|(_, views)| views.sequence)
            .map(|(chunk, views)| (chunk, views.sequence, views.views.len()));
        if let Some((chunk, _, len)) = latest
            && len < limits::VIEWS_PER_CHUNK
            && let Some(JournalPart::Views(views)) = self.parts.get_mut(chunk)
        {
            views.views.push(view);
            return;
        }
        let sequence = latest.map_or(0, |(_, sequence, _)| sequence.wrapping_add(1));
        let oldest = || {
            self.view_parts()
                .min_by_key(|(_, views)| views.sequence)
                .map(|(chunk, _)| chunk)
        };
        let chunk = self
            .parts
            .free(VIEWS, limits::VIEW_CHUNKS)
            .or_else(oldest)
            .unwrap_or(VIEWS);
        let views = vec![view];
        self.parts
            .put(chunk, JournalPart::Views(Views { sequence, views }));
    }
}
