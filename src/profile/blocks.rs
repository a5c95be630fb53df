//! Live suppressions: what a channel must not say on its own account (product.md §5).

use minicbor::{Decode, Encode};

use crate::decision::{DecisionId, Reason, Scope};
use crate::value::Timestamp;

/// The suppress decision of one channel, which a release names.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct BlockOn {
    /// The channel.
    #[n(0)]
    pub channel: String,
    /// Its `suppress`.
    #[n(1)]
    pub decision: DecisionId,
}

/// One suppression: one cause, on one or several channels.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Block {
    /// Why.
    #[n(0)]
    pub reason: Reason,
    /// Where, with the decision that said so.
    #[n(1)]
    pub on: Vec<BlockOn>,
    /// What is covered.
    #[n(2)]
    pub scopes: Vec<Scope>,
    /// Since.
    #[n(3)]
    pub from: Timestamp,
    /// Until then; `None` until released.
    #[n(4)]
    pub until: Option<Timestamp>,
    /// The order that caused it.
    #[n(5)]
    pub order_id: Option<String>,
    /// The list that was opted out of.
    #[n(6)]
    pub list: Option<String>,
    /// Key under which it was sent, for its release.
    #[n(7)]
    pub route: String,
}

impl Block {
    /// Does it hold at `now`?
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// All suppressions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Blocks {
    /// Oldest first.
    #[cbor(n(0), skip_if = "Vec::is_empty")]
    pub blocks: Vec<Block>,
}
