//! A flow as the engine runs it: compiled, checked, nothing left to parse (product.md §6).
//!
//! [`compile`] makes a [`FlowSet`] of YAML files or tells every problem with its place. FL-1: a compiled flow cannot fail when evaluated.

use std::sync::Arc;

use minicbor::{Decode, Encode};

use crate::decision::Reason;
use crate::event::EventType;
use crate::value::Span;

pub mod compile;
pub mod condition;
pub mod moment;
pub mod problem;
pub mod reference;
mod set;
pub mod spec;

pub use condition::Condition;
pub use moment::{Landmark, Moment};
pub use set::FlowSet;

/// Who may get a message: decides which checks of the gate it meets (product.md §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Class {
    /// Wants to sell.
    #[n(0)]
    Marketing,
    /// Helps with what was bought.
    #[n(1)]
    Service,
    /// Has to be said.
    #[n(2)]
    Transactional,
}

impl Class {
    /// Name in flows, configs and on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Marketing => "marketing",
            Self::Service => "service",
            Self::Transactional => "transactional",
        }
    }
    /// Reads the name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Marketing, Self::Service, Self::Transactional]
            .into_iter()
            .find(|class| class.name() == name)
    }
}

/// What tells the instances of a flow apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceKey {
    /// One per cart.
    Cart,
    /// One per order.
    Order,
    /// One per product.
    Product,
    /// One per customer.
    Customer,
}

/// What begins an instance.
#[derive(Clone, Debug)]
pub struct Enter {
    /// What happens.
    pub on: Occasion,
    /// Checked at entry and again before every step.
    pub when: Option<Condition>,
}

/// What has to happen for an instance to begin.
#[derive(Clone, Debug)]
pub enum Occasion {
    /// Any of these events.
    Events(Vec<EventType>),
    /// None of these events for that long, counted from the last one.
    Absence {
        /// Each of them begins the count anew.
        of: Vec<EventType>,
        /// How long.
        span: Span,
    },
    /// A moment of the customer's comes.
    Moment(Moment),
    /// This begins to hold by an event: it did not before. Has to hold before every step too.
    Becomes(Condition),
}

/// How long an instance waits before its first step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// At least that long.
    pub span: Span,
    /// Each further entering event of the instance restarts it.
    pub restarts: bool,
    /// And then until that moment.
    pub until: Option<Moment>,
}

/// Which purchases end an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relevance {
    /// Of the same cart (by id, else by product or group).
    Cart,
    /// Of a product (or group) that the instance is about.
    Product,
    /// Of the same category, or one below or above it.
    Category,
    /// Every purchase.
    Any,
}

/// What ends an instance.
#[derive(Clone, Debug)]
pub struct Exit {
    /// Any of these.
    pub events: Vec<EventType>,
    /// Only then.
    pub when: Option<Condition>,
    /// Only such purchases; `None`: the event alone (of the same instance key where the event names one).
    pub relevant: Option<Relevance>,
    /// Stated in what it cancels.
    pub reason: Reason,
}

/// May an instance begin again?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reenter {
    /// Once per instance key and for ever (as long as it is remembered).
    Never,
    /// Whenever none is running.
    Always,
    /// That long after the last trigger.
    After {
        /// How long.
        span: Span,
        /// Counted per customer instead of per instance key.
        per_customer: bool,
    },
}

/// When a step counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Success {
    /// It arrived.
    Delivered,
    /// A human opened it.
    Opened,
    /// A human clicked.
    Clicked,
    /// The customer came to the shop.
    Visited,
    /// The customer bought.
    Converted,
}

/// What a step does when a cap stands in its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnCap {
    /// Wait until the cap lets it pass.
    Defer,
    /// Give the step up.
    Drop,
    /// Take the place of a lower priority that has not left.
    Replace,
}

/// One contact of a cascade.
#[derive(Clone, Debug)]
pub struct Step {
    /// On which channel; of several policy takes the cheapest that is active and reaches the customer. At least one, each once.
    pub channels: Vec<Arc<str>>,
    /// What to send.
    pub template: Arc<str>,
    /// Skipped unless it holds.
    pub when: Option<Condition>,
    /// What counts as reached; `None`: nothing follows from receipts, the next step starts only on failure.
    pub success: Option<Success>,
    /// From `sent`, else from hand-over.
    pub within: Span,
    /// On a cap.
    pub on_cap: OnCap,
}

/// What triggers state as their reason: a word, and what a field of the customer adds to it (`winback_` and `complaint`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Because {
    /// The word, or its beginning.
    pub word: Arc<str>,
    /// What follows.
    pub field: Option<condition::fields::Field>,
}

impl Because {
    /// The whole word; without what is not known.
    #[must_use]
    pub fn told(&self, scope: &condition::Scope<'_>) -> Arc<str> {
        let Some(field) = self.field else {
            return Arc::clone(&self.word);
        };
        match condition::text_of(field, scope) {
            Some(rest) => format!("{}{rest}", self.word).into(),
            None => self.word.trim_end_matches(['_', '-']).into(),
        }
    }
}

/// The offer of a flow; the id may hold `${cart_id}`, `${order_id}`, `${product_id}`, `${customer_id}`, `${instance}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferTemplate {
    /// With places to fill in.
    pub id: Arc<str>,
    /// Counts against the discount cap.
    pub discount: bool,
}

/// Longest wait for something that is known of a customer.
const LONGEST_WAIT: Span = Span::from_days(182);

impl Flow {
    /// How long an instance of it can live, from its entry. What waits for a moment of the customer's begins to expire only then.
    #[must_use]
    pub fn life(&self) -> Span {
        match self.after.until {
            Some(Moment::Known { .. }) => {
                Span::from_millis(self.expires.millis() + LONGEST_WAIT.millis())
            }
            Some(Moment::Local { .. }) | None => self.expires,
        }
    }
}

/// One flow in one version.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Its name.
    pub name: Arc<str>,
    /// Hash of its text: 16 hex digits.
    pub version: Arc<str>,
    /// The text, kept for instances that outlive the file.
    pub text: Arc<str>,
    /// Decides which checks apply.
    pub class: Class,
    /// Consent list.
    pub list: Option<Arc<str>>,
    /// What triggers state as reason (`cart_abandoned`); the flow's name when not written.
    pub reason: Because,
    /// Higher wins.
    pub priority: u32,
    /// At most one running instance per customer among the flows of a group; the higher priority wins.
    pub exclusive_group: Option<Arc<str>>,
    /// What tells instances apart.
    pub instance: InstanceKey,
    /// What begins one.
    pub enter: Enter,
    /// Wait before the first step.
    pub after: Wait,
    /// What ends one; looked at before entries.
    pub exits: Vec<Exit>,
    /// May it begin again?
    pub reenter: Reenter,
    /// An instance lives at most that long.
    pub expires: Span,
    /// An older event enters nothing.
    pub max_age: Span,
    /// Members of the flow's own control group, in hundredths of a percent.
    pub holdout: u32,
    /// What it offers.
    pub offer: Option<OfferTemplate>,
    /// The cascade; at least one.
    pub steps: Vec<Step>,
}
