//! Running flow instances and pending requests, with their timers.
//!
//! ```text
//!  enter ─► Waiting ──due──► gate ─► Handed ──due (no success in time) or failure──► next step's gate
//!              ▲              │         └─ success, exit, purchase: the instance ends; what is unsent is cancelled
//!   each further entering     └─ defer: Waiting again
//!   event restarts it
//! ```
//! Before it, for flows that begin by time or absence, a [`Watch`] keeps the moment.

use minicbor::{Decode, Encode};

use crate::decision::DecisionId;
use crate::event::{Event, Origin};
use crate::flow::Class;
use crate::value::{ProfileKey, Timestamp};

/// The record that armed a timer: the `cause` of what the timer decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Armed {
    /// Topic.
    #[n(0)]
    pub topic: String,
    /// Partition.
    #[n(1)]
    pub partition: i32,
    /// Offset.
    #[n(2)]
    pub offset: i64,
    /// Record timestamp.
    #[n(3)]
    pub timestamp: Timestamp,
    /// Its event's id.
    #[n(4)]
    pub event_id: String,
}

impl Armed {
    /// By this event, read there.
    #[must_use]
    pub fn by(event: &Event, origin: &Origin) -> Self {
        Self {
            topic: origin.topic.to_string(),
            partition: origin.partition,
            offset: origin.offset,
            timestamp: origin.timestamp,
            event_id: event.id.clone(),
        }
    }
}

/// What an instance was born of: the part of its decision ids that survives merges and restarts (EO-3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Birth {
    /// Profile at that time.
    #[n(0)]
    pub profile: String,
    /// Source of the entering event.
    #[n(1)]
    pub source: String,
    /// Its type.
    #[n(2)]
    pub kind: String,
    /// Its id.
    #[n(3)]
    pub event_id: String,
}

impl Birth {
    /// By this event, of this profile.
    #[must_use]
    pub fn of(profile: &ProfileKey, event: &Event) -> Self {
        Self {
            profile: profile.as_str().to_owned(),
            source: event.source.clone(),
            kind: event.kind.name().to_owned(),
            event_id: event.id.clone(),
        }
    }
}

/// A product that an instance without a cart is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct About {
    /// The product.
    #[n(0)]
    pub product_id: String,
    /// What all variants share.
    #[n(1)]
    pub group_id: Option<String>,
    /// Path.
    #[n(2)]
    pub category: Option<String>,
}

/// A contact that an instance handed over.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct HandedStep {
    /// Index of the step, from 0.
    #[n(0)]
    pub step: u32,
    /// Its decision.
    #[n(1)]
    pub decision: DecisionId,
    /// The task's clock.
    #[n(2)]
    pub at: Timestamp,
    /// On which channel: a cascade does not come back to it.
    #[cbor(n(3), default)]
    pub channel: String,
}

/// What an instance waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Phase {
    /// For its time; then its step passes the gate.
    #[default]
    #[n(0)]
    Waiting,
    /// For a success of the contact that was handed over last; then, without one, the next step's turn comes.
    #[n(1)]
    Handed,
}

/// One running flow instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Instance {
    /// Flow name.
    #[n(0)]
    pub flow: String,
    /// The version it entered with.
    #[n(1)]
    pub version: String,
    /// Instance key.
    #[n(2)]
    pub key: String,
    /// What it was born of.
    #[n(3)]
    pub birth: Birth,
    /// Effective time of the entering event.
    #[n(4)]
    pub born_at: Timestamp,
    /// Effective time of the newest entering event.
    #[n(5)]
    pub touched_at: Timestamp,
    /// It lives at most until then.
    #[n(6)]
    pub expires_at: Timestamp,
    /// What it waits for.
    #[cbor(n(7), default)]
    pub phase: Phase,
    /// Index of the current step, from 0.
    #[cbor(n(8), default)]
    pub step: u32,
    /// Hand-overs of the current step before.
    #[cbor(n(9), default)]
    pub attempt: u32,
    /// Passes of the gate that ended in a defer, of this instance.
    #[cbor(n(10), default)]
    pub passes: u32,
    /// When its timer is due.
    #[n(11)]
    pub due: Timestamp,
    /// The record that armed the timer.
    #[n(12)]
    pub armed: Armed,
    /// Contacts handed over, oldest first.
    #[cbor(n(13), skip_if = "Vec::is_empty")]
    pub handed: Vec<HandedStep>,
    /// What it is about, when not about a cart.
    #[cbor(n(14), skip_if = "Vec::is_empty")]
    pub about: Vec<About>,
    /// The order it is about.
    #[n(15)]
    pub order_id: Option<String>,
    /// The cart it is about.
    #[n(16)]
    pub cart_id: Option<String>,
    /// The gate let it wait until `due`: what makes room before that brings it back at once.
    #[cbor(n(17), default)]
    pub deferred: bool,
}

/// A `send_requested` that waits for the gate.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PendingRequest {
    /// Of the caller.
    #[n(0)]
    pub request_id: String,
    /// The campaign.
    #[n(1)]
    pub campaign: String,
    /// In order of preference.
    #[n(2)]
    pub channels: Vec<String>,
    /// What to send.
    #[n(3)]
    pub template: String,
    /// Decides which checks apply.
    #[n(4)]
    pub class: Class,
    /// Consent list.
    #[n(5)]
    pub list: Option<String>,
    /// Offer id.
    #[n(6)]
    pub offer: Option<String>,
    /// Is it a discount?
    #[cbor(n(7), default)]
    pub discount: bool,
    /// Worth nothing afterwards.
    #[n(8)]
    pub expires_at: Timestamp,
    /// Handed through, as compact JSON.
    #[n(9)]
    pub context: Option<String>,
    /// What it was born of.
    #[n(10)]
    pub birth: Birth,
    /// When it passes the gate (again).
    #[n(11)]
    pub due: Timestamp,
    /// Its record.
    #[n(12)]
    pub armed: Armed,
    /// Passes of the gate that ended in a defer.
    #[cbor(n(13), default)]
    pub passes: u32,
}

/// The time at which a flow that begins by time or absence begins next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Watch {
    /// Flow name; the version in force when it is due decides.
    #[n(0)]
    pub flow: String,
    /// Instance key.
    #[n(1)]
    pub key: String,
    /// When; `None` when it has been and nothing new is known.
    #[n(2)]
    pub due: Option<Timestamp>,
    /// The record that told it.
    #[n(3)]
    pub armed: Armed,
    /// The last one that has been, so that it comes once.
    #[n(4)]
    pub past: Option<Timestamp>,
    /// Its instance key: others of the same time, in the order of keys, are still to come.
    #[cbor(n(5), skip_if = "String::is_empty")]
    pub past_key: String,
}

/// Everything that has a timer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Running {
    /// In order of entry.
    #[cbor(n(0), skip_if = "Vec::is_empty")]
    pub instances: Vec<Instance>,
    /// In order of arrival.
    #[cbor(n(1), skip_if = "Vec::is_empty")]
    pub requests: Vec<PendingRequest>,
    /// One per flow that begins by time or absence.
    #[cbor(n(2), skip_if = "Vec::is_empty")]
    pub watches: Vec<Watch>,
    /// An anonymous alias ends then, unless something is heard of it before. It stands here and not with the alias, because this
    /// section is where restore looks for timers.
    #[n(3)]
    pub alias_until: Option<Timestamp>,
}

/// Whose timer is due first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueTimer {
    /// The instance at this index.
    Instance(usize),
    /// The request at this index.
    Request(usize),
    /// The watch at this index.
    Watch(usize),
    /// The end of an idle alias.
    Alias,
}

impl Running {
    /// Every timer: instances before requests before watches, older before newer.
    pub fn timers(&self) -> impl Iterator<Item = (Timestamp, DueTimer)> {
        let instances = self.instances.iter().enumerate();
        let requests = self.requests.iter().enumerate();
        let watches = self.watches.iter().enumerate();
        instances
            .map(|(index, instance)| (instance.due, DueTimer::Instance(index)))
            .chain(requests.map(|(index, request)| (request.due, DueTimer::Request(index))))
            .chain(watches.filter_map(|(index, watch)| Some((watch.due?, DueTimer::Watch(index)))))
            .chain(self.alias_until.map(|due| (due, DueTimer::Alias)))
    }

    /// The running instance of a flow and key.
    #[must_use]
    pub fn find(&self, flow: &str, key: &str) -> Option<usize> {
        self.instances
            .iter()
            .position(|instance| instance.flow == flow && instance.key == key)
    }

    /// Nothing has a timer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
            && self.requests.is_empty()
            && self.watches.is_empty()
            && self.alias_until.is_none()
    }
}
