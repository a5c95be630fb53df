//! Every bound of a profile, with its reason (LM-1): all of them together stay under 900 KiB, so that no section outgrows a
//! Kafka record and a customer can always be loaded in one read.

use crate::value::Span;

/// Longest id (customer, cart, order, product, list …); the decoder refuses longer ones, so none is ever cut here.
pub const ID_BYTES: usize = 512;
/// Longest text kept for display (name, brand, category, coupon): enough for a mail, and a category path of ten levels.
pub const TEXT_BYTES: usize = 128;
/// Traits of one person: what CRM exports carry, without letting one system store its rows here.
pub const TRAITS: usize = 48;
/// Addresses over all channels; a customer rarely has more than a few devices, and dead tokens are kept to stay blocked.
pub const ADDRESSES: usize = 32;
/// Longest address or token kept; what is longer is none.
pub const ADDRESS_BYTES: usize = 512;
/// Consent entries: a handful of channels times a few lists.
pub const CONSENTS: usize = 32;
/// Open carts: one per device and shop front, with room.
pub const CARTS: usize = 8;
/// Lines of one cart; what a reminder can show is a tenth of it.
pub const CART_LINES: usize = 50;
/// Bytes of all lines of all carts: the oldest line goes first. Ordinary ids never come near it.
pub const CART_BYTES: usize = 48 * 1_024;
/// How long a cart is kept after its last change (product.md §4).
pub const CART_AGE: Span = Span::from_days(30);
/// Closed carts remembered, so that a late cart event revives nothing.
pub const CLOSED_CARTS: usize = 16;
/// Orders kept with their lines: enough for rhythm and relevance; the totals count all of them.
pub const ORDERS: u8 = 16;
/// Lines kept of one order; a wholesale order of 1,114 lines folds, and keeps its first 50.
pub const ORDER_LINES: usize = 50;
/// Bytes of the lines kept of one order.
pub const ORDER_BYTES: usize = 6 * 1_024;
/// A known order id seen again within this is an update (product.md §2).
pub const ORDER_KNOWN: Span = Span::from_days(400);
/// Order ids known, per chunk; a chunk is what one more order rewrites.
pub const KNOWN_PER_CHUNK: usize = 16;
/// Chunks of known order ids: 1,024 orders in 400 days is more than two a day.
pub const KNOWN_CHUNKS: u8 = 64;
/// Refund ids remembered against duplicates that come later than the dedup window.
pub const REFUNDS: usize = 64;
/// Dedup keys in one chunk: a click rewrites one chunk, some 60 bytes on average.
pub const KEYS_PER_CHUNK: usize = 8;
/// Chunks of dedup keys: 1,024 events a day; beyond that the oldest is forgotten first.
pub const KEY_CHUNKS: u8 = 128;
/// Views in one chunk.
pub const VIEWS_PER_CHUNK: usize = 2;
/// Chunks of views: the 24 products seen last.
pub const VIEW_CHUNKS: u8 = 12;
/// Running instances of all flows together; an entry beyond it is skipped, visibly.
pub const INSTANCES: usize = 20;
/// Products that an instance without a cart remembers to be about.
pub const ABOUT: usize = 3;
/// Pending `send_requested`; the next one is refused.
pub const REQUESTS: usize = 6;
/// Longest context of a request that is handed through; a longer one is left out.
pub const REQUEST_CONTEXT: usize = 4_096;
/// Contacts remembered: four marketing contacts a week for 60 days, twice over.
pub const CONTACTS: u8 = 72;
/// How long a contact is remembered: receipts come within days, the longest caps count four weeks.
pub const CONTACT_AGE: Span = Span::from_days(60);
/// Live suppressions.
pub const BLOCKS: usize = 24;
/// Scopes of one suppression: a basket, not a wholesale order.
pub const SCOPES: usize = 64;
/// Bytes of those scopes: a basket of long ids keeps its first.
pub const SCOPE_BYTES: usize = 4_096;
/// Last triggers remembered for re-entry.
pub const HISTORY: usize = 80;
/// Steps of a flow that an instance can remember.
pub const STEPS: usize = 16;

/// At most `limit` bytes of `text`, cut at a character.
#[must_use]
pub(super) fn clip(text: &str, limit: usize) -> String {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// [`clip`] of what may be absent.
#[must_use]
pub(super) fn clip_text(text: Option<&String>) -> Option<String> {
    text.map(|text| clip(text, TEXT_BYTES))
}
