//! What was decided: one [`Verdict`] per decision, loud or silent (product.md §3).
//!
//! A verdict is one line of the decision log. When it carries a [`Message`] it is also one record on its channel's topic;
//! [`crate::outbound`] renders both. The decision id is made of causes only (EO-3), so the same events give the same ids
//! in `run` and in `replay`, on any partition, at any speed.

use std::fmt;
use std::sync::Arc;

use minicbor::{Decode, Encode};

use crate::event::{EventType, Origin};
use crate::flow::Class;
use crate::value::{ProfileKey, Timestamp};

/// Version of the wire format of decisions.
pub const SCHEMA_VERSION: u32 = 1;

/// 128 bits that name a decision, written as 32 hex digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct DecisionId(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]);

impl DecisionId {
    /// The id of what `parts` caused. Each part is length-prefixed, so that no two lists of parts share their bytes.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
        for part in parts {
            bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        Self(xxhash_rust::xxh3::xxh3_128(&bytes).to_be_bytes())
    }

    /// Reads 32 hex digits; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten()
            .map(|id| Self(id.to_be_bytes()))
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Declares the closed set of reasons once: variant and wire name.
macro_rules! reasons {
    ($($variant:ident = $name:literal, $number:literal;)*) => {
        /// Why something was decided so: the closed set of product.md §3.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(index_only)]
        #[allow(missing_docs, reason = "the names are the contract's and speak for themselves")]
        pub enum Reason { $(#[n($number)] $variant,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// Name on the wire.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
            /// Reads the name on the wire.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

reasons! {
    PurchasedRelevant = "purchased_relevant", 0;
    PurchaseCooloff = "purchase_cooloff", 1;
    GoalReached = "goal_reached", 2;
    ExitEvent = "exit_event", 3;
    CartEmpty = "cart_empty", 4;
    CartCheckedOut = "cart_checked_out", 5;
    NoConsent = "no_consent", 6;
    ConsentExpired = "consent_expired", 7;
    Unsubscribed = "unsubscribed", 8;
    HardBounced = "hard_bounced", 9;
    SoftBounceLimit = "soft_bounce_limit", 10;
    Complained = "complained", 11;
    ManualBlock = "manual_block", 12;
    NoAddress = "no_address", 13;
    FrequencyCapped = "frequency_capped", 14;
    MinGap = "min_gap", 15;
    DiscountCapped = "discount_capped", 16;
    ChannelBudget = "channel_budget", 17;
    QuietHours = "quiet_hours", 18;
    LowerPriority = "lower_priority", 19;
    ExclusiveGroup = "exclusive_group", 20;
    DuplicateMessage = "duplicate_message", 21;
    AlreadyReachedOtherChannel = "already_reached_other_channel", 22;
    NotReentrant = "not_reentrant", 23;
    HoldoutGlobal = "holdout_global", 24;
    HoldoutFlow = "holdout_flow", 25;
    LowIntent = "low_intent", 26;
    ChurnGuard = "churn_guard", 27;
    NegativeExperience = "negative_experience", 28;
    VipGuard = "vip_guard", 29;
    StaleEvent = "stale_event", 30;
    Expired = "expired", 31;
    ChannelStopped = "channel_stopped", 32;
    ChannelDown = "channel_down", 33;
    FlowInactive = "flow_inactive", 34;
    OrderCancelled = "order_cancelled", 35;
    OrderRefunded = "order_refunded", 36;
    Resubscribed = "resubscribed", 37;
    ProfileMerged = "profile_merged", 38;
    ProfileErased = "profile_erased", 39;
}

/// The reason that a record states: one of the closed set, or, on a trigger, what the flow says that it is about (`cart_abandoned`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Of the closed set.
    Reason(Reason),
    /// The flow's own word.
    Flow(Arc<str>),
}

impl Why {
    /// As written on the wire.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Reason(reason) => reason.name(),
            Self::Flow(name) => name,
        }
    }
}

/// What kind of verdict the decision log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VerdictKind {
    /// A trigger was handed over.
    Send,
    /// A suppression began.
    Suppress,
    /// A suppression ended early.
    Release,
    /// A trigger was retracted.
    Cancel,
    /// A `send_requested` got its no.
    Refuse,
    /// Wanted to speak, passes the whole gate again later.
    Defer,
    /// Wanted to speak, will not.
    Skip,
    /// Control group: would have been sent exactly here.
    Observe,
    /// A running instance or pending contact ended because its time was over.
    Expire,
    /// A receipt folded onto its decision.
    Outcome,
}

impl VerdictKind {
    /// Every kind, in the order of the contract.
    pub const ALL: [Self; 10] = [
        Self::Send,
        Self::Suppress,
        Self::Release,
        Self::Cancel,
        Self::Refuse,
        Self::Defer,
        Self::Skip,
        Self::Observe,
        Self::Expire,
        Self::Outcome,
    ];

    /// Name in the decision log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Suppress => "suppress",
            Self::Release => "release",
            Self::Cancel => "cancel",
            Self::Refuse => "refuse",
            Self::Defer => "defer",
            Self::Skip => "skip",
            Self::Observe => "observe",
            Self::Expire => "expire",
            Self::Outcome => "outcome",
        }
    }
}

/// The record or timer that led to a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Where the causing record stands; for a timer, the record that armed it.
    pub origin: Origin,
    /// The causing event's id.
    pub event_id: String,
    /// Its type, where the event itself decided and no timer.
    pub kind: Option<EventType>,
}

/// Which flow instance and step a verdict is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Flow name.
    pub flow: Arc<str>,
    /// Version of the flow that the instance entered with.
    pub flow_version: Arc<str>,
    /// Instance key (`cart_id` …).
    pub instance: String,
    /// Counted from 1; 0 before the first step.
    pub step: u32,
    /// How many steps the flow has.
    pub steps: u32,
}

/// One check of the gate as it was met, for `explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Name of the check (`consent`, `caps`, `quiet_hours` …).
    pub name: &'static str,
    /// Did it let the contact pass?
    pub passed: bool,
    /// The numbers it saw ("1 of 1 in 16h"); never an address or trait.
    pub detail: String,
    /// Of one that failed: what stood in the way.
    pub seen: Option<Box<Seen>>,
}

/// What stood in a contact's way, as far as the check knows it: what a sentence about it needs. No address, no trait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What the check looks at: the scope of a cap, an exclusive group, the name of a trait.
    pub scope: Option<String>,
    /// Of which flow.
    pub flow: Option<String>,
    /// On which channel.
    pub channel: Option<String>,
    /// Which earlier decision.
    pub decision: Option<DecisionId>,
    /// Which order.
    pub order_id: Option<String>,
    /// Since when, or when it happened.
    pub at: Option<Timestamp>,
    /// Until when.
    pub until: Option<Timestamp>,
    /// How many there are.
    pub count: Option<u32>,
    /// How many there may be.
    pub limit: Option<u32>,
    /// Within how much time: a length, or calendar days.
    pub window: Option<String>,
}

/// The order that an outcome is, so that lift can be computed from the log alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// Which order.
    pub order_id: String,
    /// What it cost, as a decimal in the shop's currency, when told.
    pub total: Option<String>,
}

/// One decision, loud or silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What was decided.
    pub kind: VerdictKind,
    /// Names it.
    pub decision_id: DecisionId,
    /// Whose profile decided.
    pub profile: ProfileKey,
    /// The known customer.
    pub customer_id: Option<String>,
    /// The visitor, when known.
    pub anonymous_id: Option<String>,
    /// Key of the outbound record when it is not the profile's: a retraction goes under the key of what it retracts.
    pub route: Option<ProfileKey>,
    /// Which channel; silent verdicts may be about none.
    pub channel: Option<Arc<str>>,
    /// BCP 47, when known.
    pub locale: Option<String>,
    /// IANA zone, when known.
    pub time_zone: Option<String>,
    /// Which flow, instance and step.
    pub place: Option<Place>,
    /// Why.
    pub why: Why,
    /// The checks that were met, in order.
    pub checks: Vec<Check>,
    /// The task's clock.
    pub decided_at: Timestamp,
    /// What led to it.
    pub cause: Cause,
    /// The decision that this one retracts or is the outcome of.
    pub target: Option<DecisionId>,
    /// Of a defer: when the gate is passed again. Of an outcome: none.
    pub until: Option<Timestamp>,
    /// Of an outcome: the type of the receipt.
    pub outcome: Option<&'static str>,
    /// Of an outcome that is a purchase: what was bought.
    pub purchase: Option<Purchase>,
    /// A `test: true` customer's: counted nowhere.
    pub test: bool,
    /// Two arms of the control group were merged into this customer: counts in no comparison.
    pub contaminated: bool,
    /// What the channel's topic gets; `None` for silent verdicts.
    /// An `observe` carries the trigger that would have left: it is logged (without addresses), never produced.
    pub message: Option<Message>,
}

/// The own fields of an outbound record, by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Send this.
    Trigger(Box<Trigger>),
    /// Send nothing of your own in this scope.
    Suppress(Suppress),
    /// A suppression ended early.
    Release {
        /// The suppression's decision.
        releases: DecisionId,
    },
    /// Do not send that trigger if you have not yet.
    Cancel {
        /// The trigger's decision.
        cancels: DecisionId,
    },
    /// The answer "no" to a `send_requested`.
    Refuse {
        /// The request.
        request_id: String,
    },
}

/// Send `template` to this customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Who may get it (§7's table).
    pub class: Class,
    /// Consent list.
    pub list: Option<Arc<str>>,
    /// What to send.
    pub template: Arc<str>,
    /// The offer.
    pub offer: Option<Offer>,
    /// Of the flow.
    pub priority: u32,
    /// Not earlier.
    pub not_before: Timestamp,
    /// Not later: ends where quiet hours begin, and with the instance.
    pub send_by: Timestamp,
    /// Remember the id until then.
    pub expires_at: Timestamp,
    /// Reachable addresses.
    pub to: Vec<Address>,
    /// Enough to render without a look-up: JSON object, keys `cart`, `products`, `last_order`, `profile`, `request`.
    pub context: serde_json::Map<String, serde_json::Value>,
    /// Of a `send_requested`: its id.
    pub request_id: Option<String>,
}

/// What is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its id after filling in.
    pub id: String,
    /// Counts against the discount cap.
    pub discount: bool,
    /// Worth nothing afterwards.
    pub ends_at: Option<Timestamp>,
}

/// One address of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Keyed hash of channel and address: names it without showing it.
    pub address_id: String,
    /// The address itself; rendered only where the channel exposes it.
    pub address: String,
}

/// Send nothing of your own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppress {
    /// What is covered.
    pub scopes: Vec<Scope>,
    /// From now on.
    pub from: Timestamp,
    /// Until then; `None` until released.
    pub until: Option<Timestamp>,
}

/// How far a suppression reaches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Scope {
    /// Everything.
    #[n(0)]
    All,
    /// One class of messages.
    #[n(1)]
    Class(#[n(0)] Class),
    /// One flow.
    #[n(2)]
    Flow(#[n(0)] String),
    /// One offer.
    #[n(3)]
    Offer(#[n(0)] String),
    /// One product (or variant group).
    #[n(4)]
    Product(#[n(0)] String),
    /// One category and all below it.
    #[n(5)]
    Category(#[n(0)] String),
    /// One consent list of the channel (an opt-out from a list). Rendered as `class`-like scope `list`.
    #[n(6)]
    List(#[n(0)] String),
}
