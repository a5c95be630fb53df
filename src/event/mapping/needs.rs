//! What each of our types cannot do without, and which words fields take: so that a mapping that can never fit is refused at load.

use crate::event::wire::Field;
use crate::event::{EventType, Stream};

/// Fields of which a type needs at least one each; names as mappings write them.
pub(super) const fn of(kind: EventType) -> &'static [&'static [&'static str]] {
    match kind {
        EventType::ProductAdded | EventType::ProductRemoved => &[&["product_id", "sku"]],
        EventType::CartUpdated => &[&["products", "product_id", "sku"]],
        EventType::OrderCancelled
        | EventType::OrderShipped
        | EventType::OrderReady
        | EventType::OrderDelivered => &[&["order_id"]],
        EventType::Accepted
        | EventType::Sent
        | EventType::Delivered
        | EventType::Opened
        | EventType::Clicked
        | EventType::Bounced
        | EventType::Deferred
        | EventType::Dropped
        | EventType::Failed
        | EventType::Expired
        | EventType::Cancelled
        | EventType::Complained
        | EventType::Unsubscribed
        | EventType::Replied
        | EventType::Acted => &[&["channel"]],
        EventType::ConsentChanged => &[&["state"]],
        EventType::TicketOpened | EventType::TicketResolved => &[&["ticket_id"]],
        EventType::FeedbackGiven => &[&["score"]],
        EventType::ScoreUpdated => &[&["model"], &["value"]],
        EventType::Merged => &[&["into"]],
        EventType::SendRequested => &[&["request_id"], &["template"], &["class"], &["channels"]],
        EventType::PageViewed
        | EventType::ProductViewed
        | EventType::ProductListViewed
        | EventType::ProductsSearched
        | EventType::CartViewed
        | EventType::CheckoutStarted
        | EventType::CheckoutStepCompleted
        | EventType::CouponApplied
        | EventType::ProductAddedToWishlist
        | EventType::ProductReviewed
        | EventType::OrderCompleted
        | EventType::OrderUpdated
        | EventType::OrderRefunded
        | EventType::SignedUp
        | EventType::Identified
        | EventType::Erased => &[],
    }
}

/// Fields that tell whose event it is; a receipt may name its decision or its address instead.
pub(super) const fn somebody(kind: EventType) -> &'static [&'static str] {
    match kind.stream() {
        Stream::Deliveries => &["customer_id", "anonymous_id", "decision_id", "address"],
        Stream::Clickstream | Stream::Purchases | Stream::Customers | Stream::Requests => {
            &["customer_id", "anonymous_id"]
        }
    }
}

/// The words that a field takes; `None`: any.
pub(super) fn words(field: Field) -> Option<&'static [&'static str]> {
    let mut closed = CLOSED.iter();
    closed
        .find(|(known, _)| *known == field)
        .map(|(_, words)| *words)
}

/// Fields whose words are a closed set. Of a consent, `true` and `false` mean the first two.
const CLOSED: [(Field, &[&str]); 4] = [
    (Field::Bounce, &["hard", "soft", "blocked"]),
    (Field::Scope, &["list", "channel", "all"]),
    (Field::Class, &["marketing", "service", "transactional"]),
    (Field::State, &["granted", "denied", "pending", "unknown"]),
];

/// What a way of writing applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    Time,
    Money,
    Plain,
}

/// Is a field a time, an amount of money, or neither?
pub(super) fn nature(field: Field) -> Nature {
    let is_in = |fields: &[Field]| fields.contains(&field);
    if is_in(&[
        Field::EventTime,
        Field::ReceivedAt,
        Field::ValidUntil,
        Field::ExpiresAt,
    ]) {
        Nature::Time
    } else if is_in(&[Field::Price, Field::Total, Field::Discount]) {
        Nature::Money
    } else {
        Nature::Plain
    }
}
