//! When a flow last spoke to the customer: what re-entry rules look at.

use minicbor::{Decode, Encode};

use super::limits;
use crate::value::Timestamp;

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

/// Last triggers, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct History {
    /// One per flow and instance key.
    #[cbor(n(0), skip_if = "Vec::is_empty")]
    pub triggers: Vec<LastTrigger>,
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
