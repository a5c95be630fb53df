//! A decision as a consumer of the topics sees it: read from JSON, as a sender would.

use serde::Deserialize;

use crate::decision::VerdictKind;
use crate::value::Timestamp;

/// Which kind of record it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SeenKind {
    /// Of a channel's topic.
    Trigger,
    /// Of a channel's topic.
    Suppress,
    /// Of a channel's topic.
    Release,
    /// Of a channel's topic.
    Cancel,
    /// Of a channel's topic.
    Refuse,
    /// A line of the decision log.
    Logged(VerdictKind),
}

/// What the demo needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) kind: SeenKind,
    pub(super) decision_id: String,
    pub(super) customer: String,
    pub(super) channel: String,
    pub(super) flow: String,
    pub(super) reason: String,
    pub(super) step: u32,
    pub(super) steps: u32,
    /// The event that caused it.
    pub(super) event_id: String,
    pub(super) decided_at: Timestamp,
    /// Of a cancel: the trigger.
    pub(super) retracts: Option<String>,
}

/// The wire's fields.
#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    kind: Option<String>,
    /// Of the decision log, in place of `kind`.
    #[serde(default)]
    verdict: Option<String>,
    decision_id: String,
    #[serde(default)]
    customer_id: Option<String>,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    flow: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    step: Option<u32>,
    #[serde(default)]
    steps: Option<u32>,
    #[serde(default)]
    cause: Option<Cause>,
    #[serde(default)]
    decided_at: Option<Timestamp>,
    #[serde(default)]
    cancels: Option<String>,
}

#[derive(Deserialize)]
struct Cause {
    #[serde(default)]
    event_id: Option<String>,
}

impl Seen {
    /// Reads a record of a channel's topic, or of the decision log; `None` for what is neither.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let wire: Wire = serde_json::from_slice(value).ok()?;
        let kind = match (&wire.verdict, wire.kind.as_deref()) {
            (Some(verdict), _) => VerdictKind::ALL
                .into_iter()
                .find(|kind| kind.name() == verdict)
                .map(SeenKind::Logged),
            (None, Some("trigger")) => Some(SeenKind::Trigger),
            (None, Some("suppress")) => Some(SeenKind::Suppress),
            (None, Some("release")) => Some(SeenKind::Release),
            (None, Some("cancel")) => Some(SeenKind::Cancel),
            (None, Some("refuse")) => Some(SeenKind::Refuse),
            (None, Some(_) | None) => None,
        };
        Some(Self {
            kind: kind?,
            decision_id: wire.decision_id,
            customer: wire.customer_id.unwrap_or_default(),
            channel: wire.channel.unwrap_or_default(),
            flow: wire.flow.unwrap_or_default(),
            reason: wire.reason.unwrap_or_default(),
            step: wire.step.unwrap_or_default(),
            steps: wire.steps.unwrap_or_default(),
            event_id: wire
                .cause
                .and_then(|cause| cause.event_id)
                .unwrap_or_default(),
            decided_at: wire.decided_at.unwrap_or_default(),
            retracts: wire.cancels,
        })
    }
}
