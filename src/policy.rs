//! What applies to every flow: channels, caps, quiet hours, suppressions, control group (product.md §5, §7).
//!
//! Policy is resolved data: [`crate::config`] reads it from YAML, fills in the defaults and checks it; the engine only looks.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::flow::Class;
use crate::value::Span;

pub mod norms;
pub mod traits;

pub use norms::Norms;
pub use traits::Traits;

/// What a channel is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelMode {
    /// As flows say.
    Active,
    /// Only for those whom nothing else reaches.
    Support,
    /// Not at all; cascades move on.
    Stopped,
}

/// A local time of day, in minutes since midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MinuteOfDay(pub u32);

/// A daily stretch of local time in which a channel is silent; may pass midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietHours {
    /// First silent minute.
    pub from: MinuteOfDay,
    /// First minute that is not silent.
    pub to: MinuteOfDay,
}

/// When a channel is silent for some customers on some days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuietRule {
    /// ISO 3166 alpha-2, upper case: only for customers of these countries; empty for those whom no other rule of the channel names.
    pub countries: Vec<Arc<str>>,
    /// Local days on which the stretch begins, Monday first.
    pub weekdays: [bool; 7],
    /// Which stretch.
    pub hours: QuietHours,
}

impl QuietRule {
    /// Every day, for everybody.
    #[must_use]
    pub const fn daily(hours: QuietHours) -> Self {
        Self {
            countries: Vec::new(),
            weekdays: [true; 7],
            hours,
        }
    }
}

/// When a channel counts as down, and how it comes back. Counted per task: each sees its own customers' receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// So many failures within the window, and no fewer than successes.
    pub failures: u32,
    /// Length of the window.
    pub window: Span,
    /// While it is down, one contact is let through per that time; its success brings the channel back.
    pub probe: Span,
}

/// One channel.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Its name.
    pub name: Arc<str>,
    /// Its outbound topic.
    pub topic: Arc<str>,
    /// What it is used for.
    pub mode: ChannelMode,
    /// When it is silent; empty: it speaks at any time. Where rules name the customer's country, only those count.
    pub quiet_hours: Vec<QuietRule>,
    /// What one contact costs, in millionths of the shop's currency.
    pub cost: i64,
    /// Contacts per day of the shop for all customers together, split evenly over the partitions; binds marketing only.
    pub budget: Option<u32>,
    /// `None`: it never counts as down.
    pub breaker: Option<Breaker>,
    /// A channel of the shop's own pages needs no address (`false`); mail, push and SMS do.
    pub needs_address: bool,
    /// Address in `to`?
    pub expose_address: bool,
    /// Which parts of the context leave: `cart`, `products`, `last_order`, `profile`.
    pub expose: Vec<Arc<str>>,
    /// Receipts that this channel can give (`sent`, `delivered`, `opened`, `clicked` …).
    pub reports: Vec<crate::event::EventType>,
}

/// The window of a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Elapsed time, rolling.
    Rolling(Span),
    /// That many calendar days in the customer's zone, today included.
    Days(u32),
    /// That many calendar weeks (Monday first) in the customer's zone, this one included.
    Weeks(u32),
}

impl Window {
    /// The longest time that it looks back.
    #[must_use]
    pub const fn longest(self) -> Span {
        // A calendar day lasts 25 hours where clocks are put back: one more day holds that, and a customer who changes zones.
        match self {
            Self::Rolling(span) => span,
            Self::Days(days) => Span::from_days(days as i64 + 1),
            Self::Weeks(weeks) => Span::from_days(weeks as i64 * 7 + 1),
        }
    }
}

/// What a cap counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CapScope {
    /// Contacts on one channel, of any class that meets caps.
    Channel(Arc<str>),
    /// Contacts of one class on all channels.
    Class(Class),
    /// Contacts that carry a discount.
    Discount,
    /// Every contact that meets caps.
    Any,
}

/// At most `limit` contacts of `scope` in `window`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cap {
    /// What counts.
    pub scope: CapScope,
    /// How many.
    pub limit: u32,
    /// In which stretch.
    pub window: Window,
}

/// Everything that applies to every flow.
#[derive(Clone, Debug)]
pub struct Policy {
    /// By name.
    pub channels: BTreeMap<Arc<str>, Channel>,
    /// All of them must let a contact pass.
    pub caps: Vec<Cap>,
    /// Least time between two contacts.
    pub min_gap: Span,
    /// The same template is not sent twice for the same offer (or twice without one) within that.
    pub same_message: Span,
    /// Members of the control group, in hundredths of a percent. No default.
    pub control_group: u32,
    /// Salt of the control bucket.
    pub control_salt: String,
    /// Length of the marketing pause after a purchase; zero: none.
    pub purchase_cooloff: Span,
    /// Flows that the pause does not bind.
    pub cooloff_exempt: Vec<Arc<str>>,
    /// How long a bought product is not promoted; zero: not at all.
    pub bought_product: Span,
    /// `unknown` consent passes after an own order.
    pub soft_opt_in: bool,
    /// Zone of customers without one.
    pub time_zone: String,
    /// BCP 47 locale of customers whose own is unknown.
    pub locale: Option<String>,
    /// Window of the dedup keys.
    pub dedup: Span,
    /// Soft bounces of one address in a row that block it.
    pub soft_bounce_limit: u32,
    /// Service messages per hour.
    pub service_per_hour: u32,
    /// Secret of the address hash.
    pub address_key: [u8; 32],
    /// Minor digits of the shop's currency.
    pub currency_digits: u32,
    /// The shop's currency, ISO 4217.
    pub currency: String,
    /// What a customer's history is measured against.
    pub norms: Norms,
    /// What is true of a customer and binds every flow.
    pub traits: Traits,
    /// A granted consent holds that long after it was given; zero: for good.
    pub consent_valid: Span,
    /// An order that long after a contact is its outcome; zero: none is.
    pub conversion_window: Span,
    /// How many partitions the application has: budgets are split over them.
    pub partitions: u32,
}

impl Policy {
    /// How far back a contact may still stand in another one's way, or have an outcome.
    #[must_use]
    pub fn looks_back(&self) -> Span {
        let bands = [&self.traits.churn, &self.traits.intent];
        let bands = bands.into_iter().flatten().map(|band| &band.cap);
        let windows = self.caps.iter().chain(bands);
        let others = [self.min_gap, self.same_message, self.conversion_window];
        windows
            .map(|cap| cap.window.longest())
            .chain(others)
            .max()
            .unwrap_or_default()
    }
}

impl Default for Policy {
    /// Nothing stands in the way: no caps, gaps, pauses or control group, and no channel either. What is configured starts from
    /// [`crate::config`]'s defaults, not from these.
    fn default() -> Self {
        Self {
            channels: BTreeMap::new(),
            caps: Vec::new(),
            min_gap: Span::ZERO,
            same_message: Span::ZERO,
            control_group: 0,
            control_salt: String::new(),
            purchase_cooloff: Span::ZERO,
            cooloff_exempt: Vec::new(),
            bought_product: Span::ZERO,
            soft_opt_in: false,
            time_zone: "UTC".to_owned(),
            locale: None,
            dedup: Span::from_hours(24),
            soft_bounce_limit: 3,
            service_per_hour: 5,
            address_key: [0; 32],
            currency_digits: 2,
            currency: "EUR".to_owned(),
            norms: Norms::default(),
            traits: Traits::default(),
            consent_valid: Span::ZERO,
            conversion_window: Span::ZERO,
            partitions: 1,
        }
    }
}
