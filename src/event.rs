//! What happened: one event of one of the five streams, decoded and checked (product.md §2).
//!
//! An [`Event`] is what [`json`] and [`avro`] make of a record's bytes. It holds no bytes of the wire format, no float and no
//! unchecked time: money is in minor units of the shop's currency, times are within bounds, list lengths are bounded.

use std::sync::Arc;

use crate::value::{Money, ProfileKey, Timestamp};

mod about;
pub mod avro;
mod check;
pub mod currency;
pub mod decode;
mod encode;
mod fields;
pub mod json;
pub mod mapping;
mod person;
pub mod refusal;
mod wire;

pub use about::DEFAULT_CART;
pub use currency::{Currencies, Rate};
pub use decode::{DecodeContext, DecodeRules, Limits};
pub use refusal::{DecodeError, Refusal, Stage, check_key};

/// Where a record stands in the log. It goes into a decision's `cause`; never into a decision id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Topic name.
    pub topic: Arc<str>,
    /// Partition number.
    pub partition: i32,
    /// Offset of the record itself (not of the next one).
    pub offset: i64,
    /// The record's own timestamp.
    pub timestamp: Timestamp,
}

/// The five logical streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Browsing and cart.
    Clickstream,
    /// Orders and what becomes of them.
    Purchases,
    /// Receipts of the channels.
    Deliveries,
    /// Who the customer is and what they allow.
    Customers,
    /// Bulk campaigns that ask to contact one customer.
    Requests,
}

impl Stream {
    /// Name in configurations and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clickstream => "clickstream",
            Self::Purchases => "purchases",
            Self::Deliveries => "deliveries",
            Self::Customers => "customers",
            Self::Requests => "requests",
        }
    }
}

/// Declares the event types once: variant, wire name, stream, accepted other spellings (Segment, Braze), lower case.
macro_rules! event_types {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal, $stream:ident $(, $alias:literal)*;)*) => {
        /// What kind of thing happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventType { $($(#[doc = $doc])* $variant,)* }

        impl EventType {
            /// Every type, in the order of the contract.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name on the wire, `snake_case`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The stream that this type belongs to.
            #[must_use]
            pub const fn stream(self) -> Stream {
                match self { $(Self::$variant => Stream::$stream,)* }
            }

            /// Reads the wire name or one of its accepted spellings, in lower case with spaces as underscores.
            fn from_normalised(name: &str) -> Option<Self> {
                match name { $($name $(| $alias)* => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

event_types! {
    /// A page was seen.
    PageViewed = "page_viewed", Clickstream, "page";
    /// A product page was seen.
    ProductViewed = "product_viewed", Clickstream, "ecommerce.product_viewed";
    /// A list or category was seen.
    ProductListViewed = "product_list_viewed", Clickstream;
    /// A search was made.
    ProductsSearched = "products_searched", Clickstream;
    /// One product went into the cart.
    ProductAdded = "product_added", Clickstream;
    /// One product left the cart.
    ProductRemoved = "product_removed", Clickstream;
    /// The cart was looked at.
    CartViewed = "cart_viewed", Clickstream;
    /// Full snapshot of the cart.
    CartUpdated = "cart_updated", Clickstream, "ecommerce.cart_updated";
    /// The checkout was begun.
    CheckoutStarted = "checkout_started", Clickstream, "ecommerce.checkout_started";
    /// One step of the checkout is done.
    CheckoutStepCompleted = "checkout_step_completed", Clickstream;
    /// A coupon was entered.
    CouponApplied = "coupon_applied", Clickstream;
    /// A product was put on the wish list.
    ProductAddedToWishlist = "product_added_to_wishlist", Clickstream;
    /// A product was reviewed.
    ProductReviewed = "product_reviewed", Clickstream;
    /// An order was placed.
    OrderCompleted = "order_completed", Purchases, "ecommerce.order_placed";
    /// Full snapshot of a known order.
    OrderUpdated = "order_updated", Purchases;
    /// The whole order is off.
    OrderCancelled = "order_cancelled", Purchases, "ecommerce.order_cancelled";
    /// Some lines were paid back.
    OrderRefunded = "order_refunded", Purchases, "ecommerce.order_refunded";
    /// The parcel left.
    OrderShipped = "order_shipped", Purchases;
    /// Ready to be picked up.
    OrderReady = "order_ready", Purchases;
    /// Delivered or picked up.
    OrderDelivered = "order_delivered", Purchases;
    /// The sender has taken the trigger over durably.
    Accepted = "accepted", Deliveries, "email_accepted";
    /// The message left the sender.
    Sent = "sent", Deliveries, "email_sent", "push_notification_sent";
    /// The message arrived.
    Delivered = "delivered", Deliveries, "email_delivered", "push_notification_received";
    /// The message was opened (by a human unless `machine`).
    Opened = "opened", Deliveries, "email_opened", "push_notification_tapped";
    /// A link was clicked (by a human unless `machine`).
    Clicked = "clicked", Deliveries, "email_link_clicked";
    /// The message came back.
    Bounced = "bounced", Deliveries, "email_bounced", "push_notification_bounced";
    /// The provider tries later.
    Deferred = "deferred", Deliveries, "email_deferred";
    /// The provider refused to try.
    Dropped = "dropped", Deliveries, "email_dropped";
    /// Sending failed for good.
    Failed = "failed", Deliveries;
    /// The sender missed `send_by`.
    Expired = "expired", Deliveries;
    /// The sender obeyed a cancel.
    Cancelled = "cancelled", Deliveries;
    /// Marked as spam.
    Complained = "complained", Deliveries, "email_marked_as_spam";
    /// Opted out through the message.
    Unsubscribed = "unsubscribed", Deliveries, "unsubscribe";
    /// Answered.
    Replied = "replied", Deliveries;
    /// A button inside the message was used.
    Acted = "acted", Deliveries;
    /// A new account.
    SignedUp = "signed_up", Customers;
    /// Traits, addresses, consents became known.
    Identified = "identified", Customers, "identify";
    /// A consent was given or taken back.
    ConsentChanged = "consent_changed", Customers;
    /// A complaint or question is open.
    TicketOpened = "ticket_opened", Customers;
    /// It is settled.
    TicketResolved = "ticket_resolved", Customers;
    /// A score from 0 to 10.
    FeedbackGiven = "feedback_given", Customers;
    /// An external model's value.
    ScoreUpdated = "score_updated", Customers;
    /// Two customers turned out to be one.
    Merged = "merged", Customers;
    /// The customer asked to be forgotten.
    Erased = "erased", Customers;
    /// A bulk campaign asks to contact one customer.
    SendRequested = "send_requested", Requests;
}

impl EventType {
    /// Reads a type in any accepted spelling ("Product Added", `ecommerce.cart_updated`, `order_completed`).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_normalised(text).or_else(|| {
            let normalised: String = text
                .trim()
                .chars()
                .map(|c| {
                    if c == ' ' || c == '-' {
                        '_'
                    } else {
                        c.to_ascii_lowercase()
                    }
                })
                .collect();
            Self::from_normalised(&normalised)
        })
    }
}

/// One thing that happened to one customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Given by the producer, else a hash of the record's bytes and time.
    pub id: String,
    /// What kind of thing.
    pub kind: EventType,
    /// When it happened, by its own account.
    pub event_time: Timestamp,
    /// When the collector received it, if told.
    pub received_at: Option<Timestamp>,
    /// The least of event time, `received_at` and record timestamp: what orders the fold.
    pub effective_time: Timestamp,
    /// The known customer; ids of the ignore list count as absent.
    pub customer_id: Option<String>,
    /// The unknown visitor.
    pub anonymous_id: Option<String>,
    /// Who reported it (`web`, `pos`, …); part of the dedup key.
    pub source: String,
    /// Of the producer's schema; 1 when not told.
    pub schema_version: u32,
    /// Bypasses control and caps, counted nowhere.
    pub test: bool,
    /// Some amount was in a currency without a rate: it is read as none, counts in no money condition, and in a metric.
    pub unconverted: bool,
    /// The type's own fields.
    pub body: Body,
}

impl Event {
    /// The profile that this event belongs to: the customer when known, else the visitor; `None` for nobody's events.
    #[must_use]
    pub fn profile_key(&self) -> Option<ProfileKey> {
        match (&self.customer_id, &self.anonymous_id) {
            (Some(id), _) => Some(ProfileKey::customer(id)),
            (None, Some(id)) => Some(ProfileKey::anonymous(id)),
            (None, None) => None,
        }
    }
}

/// The own fields of an event, by shape. [`Event::kind`] tells which type it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// `page_viewed`, `product_viewed`, `product_list_viewed`, `products_searched`, `cart_viewed`, `product_added_to_wishlist`, `product_reviewed`.
    Browse(Browse),
    /// `product_added`, `product_removed`.
    CartLine(CartLine),
    /// `cart_updated`.
    CartSnapshot(CartSnapshot),
    /// `checkout_started`, `checkout_step_completed`, `coupon_applied`.
    Checkout(Checkout),
    /// `order_completed`, `order_updated`.
    Order(Order),
    /// `order_cancelled`, `order_shipped`, `order_ready`, `order_delivered`.
    OrderStatus(OrderStatus),
    /// `order_refunded`.
    Refund(Refund),
    /// Every type of `deliveries`.
    Receipt(Receipt),
    /// `signed_up`, `identified`.
    Identity(Identity),
    /// `consent_changed`.
    Consent(ConsentChange),
    /// `ticket_opened`, `ticket_resolved`.
    Ticket(Ticket),
    /// `feedback_given`.
    Feedback(Feedback),
    /// `score_updated`.
    Score(Score),
    /// `merged`.
    Merge(Merge),
    /// `erased`.
    Erasure,
    /// `send_requested`.
    SendRequest(SendRequest),
}

/// One product as an event names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Product {
    /// The product.
    pub product_id: String,
    /// The variant.
    pub sku: Option<String>,
    /// What all variants of one product share.
    pub group_id: Option<String>,
    /// For display.
    pub name: Option<String>,
    /// Path `a/b/c`.
    pub category: Option<String>,
    /// For display and conditions.
    pub brand: Option<String>,
    /// How many; 1 when not told.
    pub quantity: u32,
    /// Of one, in minor units of the shop's currency; `None` when not told or not convertible.
    pub price: Option<Money>,
    /// Of an order.
    pub line_id: Option<String>,
}

/// Looking around.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Browse {
    /// Page address or name.
    pub page: Option<String>,
    /// The product looked at.
    pub product: Option<Product>,
    /// The category of a list.
    pub category: Option<String>,
    /// The search text.
    pub query: Option<String>,
    /// The cart looked at.
    pub cart_id: Option<String>,
    /// Of a review, 0 to 100.
    pub rating: Option<u32>,
}

/// One product into or out of a cart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CartLine {
    /// `None` means the customer's default cart.
    pub cart_id: Option<String>,
    /// What was added or removed.
    pub product: Product,
}

/// A cart as it now is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CartSnapshot {
    /// `None` means the customer's default cart.
    pub cart_id: Option<String>,
    /// All lines.
    pub products: Vec<Product>,
}

/// On the way to paying.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkout {
    /// `None` means the customer's default cart.
    pub cart_id: Option<String>,
    /// The order that it may become.
    pub order_id: Option<String>,
    /// Which step.
    pub step: Option<String>,
    /// The coupon entered.
    pub coupon: Option<String>,
    /// Lines, when told.
    pub products: Vec<Product>,
}

/// Where an order was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SalesChannel {
    /// Web or app; the default.
    #[default]
    Online,
    /// A shop's till.
    Offline,
}

/// An order, or its full new state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The `event_id` when not told.
    pub order_id: String,
    /// The cart it came from, when told.
    pub cart_id: Option<String>,
    /// Where.
    pub channel: SalesChannel,
    /// In the shop's currency; `None` when not told or not convertible.
    pub total: Option<Money>,
    /// Part of the price that was taken off.
    pub discount: Option<Money>,
    /// The coupon used.
    pub coupon: Option<String>,
    /// A subscription's delivery: starts no flow.
    pub recurring: bool,
    /// Another seller's order grants no consent.
    pub seller: Option<String>,
    /// Lines.
    pub products: Vec<Product>,
}

/// An order moved on, or is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderStatus {
    /// Which order.
    pub order_id: String,
    /// Free text code.
    pub reason: Option<String>,
}

/// Money back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// The `event_id` when not told.
    pub refund_id: String,
    /// The order; real feeds often cannot tell.
    pub order_id: Option<String>,
    /// Paid back, in the shop's currency.
    pub total: Option<Money>,
    /// Lines paid back; empty means all.
    pub products: Vec<Product>,
}

/// How hard a message came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bounce {
    /// The address does not exist.
    Hard,
    /// Try again some day.
    Soft,
    /// The receiving side refuses us.
    Blocked,
}

/// How far an opt-out reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptOut {
    /// One list of the receipt's channel.
    List(String),
    /// Everything on the receipt's channel.
    Channel,
    /// Everything on every channel.
    All,
}

/// What a channel says of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Which channel.
    pub channel: String,
    /// The trigger it answers, when known.
    pub decision_id: Option<String>,
    /// The address, when that is all that is known.
    pub address: Option<String>,
    /// A scanner or prefetcher did it, not a human.
    pub machine: bool,
    /// Of `bounced`; hard when not told.
    pub bounce: Option<Bounce>,
    /// Of `unsubscribed`; the channel when not told.
    pub opt_out: Option<OptOut>,
    /// Of `clicked`.
    pub link: Option<String>,
    /// Of `acted`.
    pub action: Option<String>,
    /// Of `acted`.
    pub cart_id: Option<String>,
    /// Of `acted`.
    pub order_id: Option<String>,
    /// The provider's code, never free text of the customer.
    pub reason: Option<String>,
}

/// State of a consent.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, minicbor::Encode, minicbor::Decode,
)]
#[cbor(index_only)]
pub enum Consent {
    /// Nobody asked.
    #[default]
    #[n(0)]
    Unknown,
    /// Double opt-in under way.
    #[n(1)]
    Pending,
    /// Yes.
    #[n(2)]
    Granted,
    /// No.
    #[n(3)]
    Denied,
}

/// Who the customer is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Channel → addresses (all push tokens); an empty list removes them.
    pub addresses: Vec<(String, Vec<String>)>,
    /// Channel, list (`None`: every list of the channel), state. Fills only what is unknown.
    pub consents: Vec<(String, Option<String>, Consent)>,
    /// BCP 47.
    pub locale: Option<String>,
    /// IANA name, known to the zone database.
    pub time_zone: Option<String>,
    /// ISO 3166 alpha-2, upper case.
    pub country: Option<String>,
    /// A very important customer.
    pub vip: Option<bool>,
    /// Other traits, as compact JSON scalars, for conditions; never leave by default.
    pub traits: Vec<(String, Trait)>,
}

/// A trait's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trait {
    /// Yes or no.
    Bool(bool),
    /// A number, in thousandths, so that equality is exact.
    Number(i64),
    /// A text.
    Text(String),
}

/// One consent given or taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentChange {
    /// Which channel; `None` every channel.
    pub channel: Option<String>,
    /// Which list; `None` every list.
    pub list: Option<String>,
    /// The new state.
    pub state: Consent,
}

/// A question or complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Which.
    pub ticket_id: String,
}

/// How content the customer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// 0 to 10.
    pub score: u32,
}

/// What an external model says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    /// The model's name.
    pub model: String,
    /// What it looks ahead (`30d`), as written.
    pub horizon: Option<String>,
    /// In millionths, so that equality is exact.
    pub value: i64,
    /// Worth nothing afterwards.
    pub valid_until: Option<Timestamp>,
}

/// Two customers are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The customer that this one goes up in.
    pub into: String,
}

/// A bulk campaign's wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendRequest {
    /// Of the caller; the answer carries it.
    pub request_id: String,
    /// The campaign.
    pub campaign: String,
    /// In order of preference.
    pub channels: Vec<String>,
    /// What to send.
    pub template: String,
    /// `marketing`, `service` or `transactional`.
    pub class: crate::flow::Class,
    /// Consent list.
    pub list: Option<String>,
    /// Offer id and whether it is a discount.
    pub offer: Option<(String, bool)>,
    /// Worth nothing afterwards.
    pub expires_at: Option<Timestamp>,
    /// Handed through, as compact JSON.
    pub context: Option<String>,
}

#[cfg(test)]
mod examples;
