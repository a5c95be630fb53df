//! When a flow last spoke to the customer: what re-entry rules look at.

use minicbor::{Decode, Encode};

use super::limits;
use crate::decision::Reason;
use crate::value::{Span, Timestamp};

/// The last trigger of a flow for one instance key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LastTrigger {
    /// Flow name.
    #[n(0)]
    pub flow: String,
    /// Instance key.
    #[n(1)]
    pub key: String,
    /// The task's clock at the last hand-over (or observation).
    #[n(2)]
    pub at: Timestamp,
}

/// An entry that was refused, and said so.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Refusal {
    /// Flow name.
    #[n(0)]
    pub flow: String,
    /// Instance key.
    #[n(1)]
    pub key: String,
    /// Why.
    #[n(2)]
    pub reason: Reason,
    /// The task's clock.
    #[n(3)]
    pub at: Timestamp,
}

/// The same refusal is news again after that.
const REFUSAL_NEWS: Span = Span::from_days(1);

/// Last triggers, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct History {
    /// One per flow and instance key.
    #[cbor(n(0), skip_if = "Vec::is_empty")]
    pub triggers: Vec<LastTrigger>,
    /// Refused entries of the last day, oldest first.
    #[cbor(n(1), skip_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
}

impl History {
    /// The last trigger of a flow: of one instance key, or (`None`) of any.
    #[must_use]
    pub fn last(&self, flow: &str, key: Option<&str>) -> Option<Timestamp> {
        self.triggers
            .iter()
            .filter(|last| last.flow == flow && key.is_none_or(|key| last.key == key))
            .map(|last| last.at)
            .max()
    }

    /// Was the same not said within the last day?
    #[must_use]
    pub fn is_refusal_news(&self, flow: &str, key: &str, reason: Reason, now: Timestamp) -> bool {
        !self.refusals.iter().any(|known| {
            known.flow == flow
                && known.key == key
                && known.reason == reason
                && now < known.at.plus(REFUSAL_NEWS)
        })
    }

    /// Notes a refused entry; forgets those of earlier days.
    pub(crate) fn note_refusal(&mut self, flow: &str, key: &str, reason: Reason, now: Timestamp) {
        self.refusals
            .retain(|known| now < known.at.plus(REFUSAL_NEWS));
        if self.refusals.len() >= limits::REFUSALS {
            self.refusals.remove(0);
        }
        self.refusals.push(Refusal {
            flow: flow.to_owned(),
            key: key.to_owned(),
            reason,
            at: now,
        });
    }

    /// Notes a trigger.
    pub(crate) fn note(&mut self, flow: &str, key: &str, at: Timestamp) {
        self.triggers
            .retain(|last| !(last.flow == flow && last.key == key));
        if self.triggers.len() >= limits::HISTORY {
            self.triggers.remove(0);
        }
        self.triggers.push(LastTrigger {
            flow: flow.to_owned(),
            key: key.to_owned(),
            at,
        });
    }
}
