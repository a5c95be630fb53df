//! A dead letter read back: the record that it was, and what was said of it.

use std::sync::Arc;

use super::{Outgoing, Record, Target};
use crate::value::Timestamp;

/// What headers that say why begin with: Kafka Connect's, so that its tools read ours.
pub(super) const WHY: &str = "__connect.errors.";
/// The timestamp that the record had, in milliseconds: the letter's own is that of its transaction.
pub(super) const TIMESTAMP: &str = "tidegate-timestamp";
/// How many bytes of it are missing.
pub(super) const LEFT_OUT: &str = "tidegate-left-out-bytes";

/// The one header of a mark.
const REPLAYED_UNTIL: &str = "tidegate-replayed-until";

/// A mark in `<app>-dlq`: what stands in this partition before `until` has been handed on. It has no key, no value, one header.
#[must_use]
pub fn mark(topic: Arc<str>, partition: i32, until: i64) -> Outgoing {
    Outgoing {
        topic,
        target: Target::Partition(partition),
        key: None,
        value: None,
        headers: vec![(REPLAYED_UNTIL.to_owned(), until.to_string().into_bytes())],
        changelog_of: None,
    }
}

/// How far a mark says; `None` of a letter, whatever headers its record came with: it has more than one.
#[must_use]
pub fn marked(found: &Record) -> Option<i64> {
    match (&found.key, &found.value, found.headers.as_slice()) {
        (None, None, [(name, Some(until))]) if name == REPLAYED_UNTIL => {
            std::str::from_utf8(until).ok()?.parse().ok()
        }
        _ => None,
    }
}

/// One record of `<app>-dlq`.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Topic that it was read from.
    pub topic: String,
    /// The record as it came, with its own headers; its input is not known here.
    pub record: Record,
    /// What kind of refusal, as in `tidegate.event.Malformed`.
    pub class: String,
    /// The refusal in words; it never quotes the record.
    pub message: String,
    /// Nothing of it was left out for its size.
    pub whole: bool,
}

impl Letter {
    /// Takes a record of the topic apart; `None` when its headers do not say where it comes from: somebody else wrote it.
    #[must_use]
    pub fn of(found: &Record) -> Option<Self> {
        let text = |name: &str| {
            let value = found
                .headers
                .iter()
                .rev()
                .find(|(header, _)| header == name);
            let value = value.and_then(|(_, value)| value.as_deref());
            value.and_then(|value| std::str::from_utf8(value).ok())
        };
        let why = |name: &str| text(&format!("{WHY}{name}"));
        let stamped = text(TIMESTAMP).and_then(|millis| millis.parse().ok());
        let ours = |name: &str| name.starts_with(WHY) || name == TIMESTAMP || name == LEFT_OUT;
        let own = found.headers.iter().filter(|(name, _)| !ours(name));
        Some(Self {
            topic: why("topic")?.to_owned(),
            class: why("exception.class.name").unwrap_or_default().to_owned(),
            message: why("exception.message").unwrap_or_default().to_owned(),
            whole: text(LEFT_OUT).is_none(),
            record: Record {
                input: found.input,
                partition: why("partition")?.parse().ok()?,
                offset: why("offset")?.parse().ok()?,
                timestamp: stamped.map_or(found.timestamp, Timestamp::from_millis),
                key: found.key.clone(),
                value: found.value.clone(),
                headers: own.cloned().collect(),
            },
        })
    }
}
