//! Why a customer did or did not get something, in a person's words, from the decision log alone.
//!
//! ```text
//!  line of the log ─► Entry ─► of this customer? ─► Account: what is asked for, what led there, what became of it
//!                                                      └─► one sentence each: verdict [sentence], because of … [reason]
//! ```
//! Pure: whoever calls reads the log, from files or from Kafka. The log holds verdicts, with the numbers of the check that decided. It
//! does not hold what nobody decided about: an event whose condition of entry did not hold leaves no line, and an [`Account`] says so.

use serde::{Deserialize, Serialize};

use crate::decision::{Reason, VerdictKind};
use crate::value::Timestamp;

mod course;
mod reason;
mod sentence;
mod story;

pub use sentence::Reader;
pub use story::{Account, Question, Window};

/// A line of the decision log. Fields that a verdict has not are empty.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    /// Names the decision.
    pub decision_id: String,
    /// What was decided.
    #[serde(rename = "verdict", deserialize_with = "verdict")]
    pub kind: VerdictKind,
    /// Whose profile decided.
    pub profile: String,
    /// The known customer.
    #[serde(default)]
    pub customer_id: Option<String>,
    /// The visitor.
    #[serde(default)]
    pub anonymous_id: Option<String>,
    /// On which channel.
    #[serde(default)]
    pub channel: Option<String>,
    /// The customer's zone, when known.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// Why: of the closed set, or the flow's own word.
    pub reason: String,
    /// When.
    pub decided_at: Timestamp,
    /// What led to it.
    pub cause: Cause,
    /// Which flow; none for campaigns and suppressions.
    #[serde(default)]
    pub flow: Option<String>,
    /// Instance key.
    #[serde(default)]
    pub instance: Option<String>,
    /// Counted from 1; 0 before the first.
    #[serde(default)]
    pub step: u32,
    /// How many steps the flow has.
    #[serde(default)]
    pub steps: u32,
    /// What is sent.
    #[serde(default)]
    pub template: Option<String>,
    /// Until when it may be sent.
    #[serde(default)]
    pub send_by: Option<Timestamp>,
    /// What a suppression covers.
    #[serde(default)]
    pub scopes: Vec<ScopeRead>,
    /// Until when a defer waits or a suppression holds.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// The suppression that ends.
    #[serde(default)]
    pub releases: Option<String>,
    /// The trigger that is recalled.
    #[serde(default)]
    pub cancels: Option<String>,
    /// A campaign's request.
    #[serde(default)]
    pub request_id: Option<String>,
    /// The contact that this is the outcome of.
    #[serde(default)]
    pub target: Option<String>,
    /// The receipt.
    #[serde(default)]
    pub outcome: Option<String>,
    /// The order that is an outcome.
    #[serde(default)]
    pub order_id: Option<String>,
    /// What it cost.
    #[serde(default)]
    pub order_total: Option<String>,
    /// The checks of the gate, in order.
    #[serde(default)]
    pub checks: Vec<CheckRead>,
}

/// What led to a decision.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Cause {
    /// Topic of the record; for a timer, of the one that armed it.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The event.
    pub event_id: String,
    /// The record's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The event's type; none when a timer decided.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// What a suppression covers.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ScopeRead {
    /// `all`, `class`, `flow`, `offer`, `product`, `category` or `list`.
    pub scope: String,
    /// Which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A check of the gate; see [`crate::decision::Seen`] for what stood in the way.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[allow(missing_docs, reason = "the same names as in the verdict")]
pub struct CheckRead {
    pub check: String,
    pub passed: bool,
    #[serde(default)]
    pub detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
}

fn verdict<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<VerdictKind, D::Error> {
    let name = String::deserialize(deserializer)?;
    let kind = VerdictKind::ALL
        .into_iter()
        .find(|kind| kind.name() == name);
    kind.ok_or_else(|| serde::de::Error::custom("no verdict of ours"))
}

impl Entry {
    /// Reads a line of the log; `None` for what is none.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// Is it about this customer, or this visitor (`c:…`, `a:…`)?
    #[must_use]
    pub fn is_about(&self, profile: &str) -> bool {
        self.profile == profile
            || match profile.split_once(':') {
                Some(("c", id)) => self.customer_id.as_deref() == Some(id),
                Some(("a", id)) => self.anonymous_id.as_deref() == Some(id),
                Some(_) | None => false,
            }
    }

    /// The reason, when it is one of the closed set.
    #[must_use]
    pub fn closed_reason(&self) -> Option<Reason> {
        Reason::parse(&self.reason)
    }

    /// The check that decided, when it was one.
    #[must_use]
    pub fn decided_by(&self) -> Option<&CheckRead> {
        self.checks.iter().find(|check| !check.passed)
    }
}
