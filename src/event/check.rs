//! Wire → [`Event`]: what product.md §2 demands of each type, the same for JSON and Avro.

use std::borrow::Cow;

use super::decode::DecodeContext;
use super::fields::{Fields, MAX_COUNT};
use super::refusal::{DecodeError, Refusal};
use super::wire::{Field, Key, Place, Scalar, Wire};
use super::{
    Body, Bounce, Browse, CartLine, CartSnapshot, Checkout, Event, EventType, Feedback, Merge,
    OptOut, Order, OrderStatus, Product, Receipt, Refund, SalesChannel, Score, SendRequest, Ticket,
    person,
};
use crate::flow::Class;
use crate::value::{Span, Timestamp};

/// 1990-01-01T00:00:00Z: an earlier event is a broken clock.
const EARLIEST: Timestamp = Timestamp::from_millis(631_152_000_000);
/// An event may be ahead of its record by that much (a device's clock, a wrong zone).
const AHEAD: Span = Span::from_days(1);

/// Makes the event of a record whose bytes are `bytes`.
pub(super) fn event(
    wire: &Wire<'_>,
    bytes: &[u8],
    context: &DecodeContext<'_>,
) -> Result<Event, DecodeError> {
    let top = Fields::of_record(wire, context.rules);
    let missing = |field| top.refuse(field, Refusal::Missing);
    let name = top.text(Field::Type)?.ok_or_else(|| missing(Field::Type))?;
    let kind =
        EventType::parse(&name).ok_or_else(|| top.refuse(Field::Type, Refusal::UnknownType))?;
    checked(kind, wire, top, bytes, context.record_timestamp).map_err(|error| error.of(kind))
}

fn checked(
    kind: EventType,
    wire: &Wire<'_>,
    top: Fields<'_, '_>,
    bytes: &[u8],
    record: Option<Timestamp>,
) -> Result<Event, DecodeError> {
    let event_time = top
        .time(Field::EventTime)?
        .ok_or_else(|| top.refuse(Field::EventTime, Refusal::Missing))?;
    let received_at = top.time(Field::ReceivedAt)?;
    let record = record.unwrap_or_else(|| received_at.unwrap_or(event_time));
    let sound = |time| time >= EARLIEST && time <= record.plus(AHEAD);
    if !sound(event_time) {
        return Err(top.refuse(Field::EventTime, Refusal::BadTime));
    }
    if !received_at.is_none_or(sound) {
        return Err(top.refuse(Field::ReceivedAt, Refusal::BadTime));
    }
    if record < EARLIEST {
        return Err(DecodeError::new(Refusal::BadTime));
    }
    let id = match top.id(Field::EventId)? {
        Some(id) => id,
        None => nameless(bytes, record),
    };
    let body = body(kind, &id, wire, top)?;
    let unconverted = unconverted(wire, top)?;
    Ok(Event {
        kind,
        event_time,
        received_at,
        effective_time: event_time.min(record).min(received_at.unwrap_or(record)),
        customer_id: somebody(top, Field::CustomerId)?,
        anonymous_id: somebody(top, Field::AnonymousId)?,
        source: top.owned(Field::Source)?.unwrap_or_default(),
        schema_version: top.count(Field::SchemaVersion, MAX_COUNT)?.unwrap_or(1),
        test: top.flag(Field::Test)?.unwrap_or(false),
        unconverted,
        id,
        body,
    })
}

/// Is there an amount in a currency without a rate? It was read as none.
fn unconverted(wire: &Wire<'_>, top: Fields<'_, '_>) -> Result<bool, DecodeError> {
    let shared = top.text(Field::Currency)?;
    let lost = |fields: Fields<'_, '_>, currency: Option<&str>| {
        !top.rules.currencies.converts(currency)
            && [Field::Price, Field::Total, Field::Discount]
                .iter()
                .any(|field| !matches!(fields.get(*field), Scalar::Null))
    };
    if lost(top, shared.as_deref()) {
        return Ok(true);
    }
    for (index, line) in wire.products.iter().flatten().enumerate() {
        let line = top.of_line(line, index);
        let own = line.text(Field::Currency)?;
        if lost(line, own.as_deref().or(shared.as_deref())) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// EO-3: an event without id is named by its record's bytes and time.
fn nameless(bytes: &[u8], record: Timestamp) -> String {
    let seed = record.millis().cast_unsigned();
    format!(
        "{:032x}",
        xxhash_rust::xxh3::xxh3_128_with_seed(bytes, seed)
    )
}

/// An id, unless it is one of those that mean nobody.
fn somebody(top: Fields<'_, '_>, field: Field) -> Result<Option<String>, DecodeError> {
    let id = top.id(field)?;
    let nobody =
        |id: &str| id.is_empty() || top.rules.ignored_ids.iter().any(|ignored| ignored == id);
    Ok(id.filter(|id| !nobody(id.trim())))
}

fn body(
    kind: EventType,
    event_id: &str,
    wire: &Wire<'_>,
    top: Fields<'_, '_>,
) -> Result<Body, DecodeError> {
    Ok(match kind {
        EventType::PageViewed
        | EventType::ProductViewed
        | EventType::ProductListViewed
        | EventType::ProductsSearched
        | EventType::CartViewed
        | EventType::ProductAddedToWishlist
        | EventType::ProductReviewed => Body::Browse(browse(top)?),
        EventType::ProductAdded | EventType::ProductRemoved => Body::CartLine(CartLine {
            cart_id: top.id(Field::CartId)?,
            product: one_product(top)?
                .ok_or_else(|| top.refuse(Field::ProductId, Refusal::Missing))?,
        }),
        EventType::CartUpdated => Body::CartSnapshot(CartSnapshot {
            cart_id: top.id(Field::CartId)?,
            // Without its lines a snapshot would empty the cart.
            products: lines(wire, top)?
                .ok_or_else(|| DecodeError::at(Refusal::Missing, Place::from(Key::Products)))?,
        }),
        EventType::CheckoutStarted
        | EventType::CheckoutStepCompleted
        | EventType::CouponApplied => Body::Checkout(Checkout {
            cart_id: top.id(Field::CartId)?,
            order_id: top.id(Field::OrderId)?,
            step: top.owned(Field::Step)?,
            coupon: top.owned(Field::Coupon)?,
            products: lines(wire, top)?.unwrap_or_default(),
        }),
        EventType::OrderCompleted | EventType::OrderUpdated => {
            Body::Order(order(event_id, wire, top)?)
        }
        EventType::OrderCancelled
        | EventType::OrderShipped
        | EventType::OrderReady
        | EventType::OrderDelivered => Body::OrderStatus(OrderStatus {
            order_id: top.need_id(Field::OrderId)?,
            reason: top.owned(Field::Reason)?,
        }),
        EventType::OrderRefunded => Body::Refund(Refund {
            refund_id: top
                .id(Field::RefundId)?
                .unwrap_or_else(|| event_id.to_owned()),
            order_id: top.id(Field::OrderId)?,
            total: top.money(Field::Total, top.text(Field::Currency)?.as_deref())?,
            products: lines(wire, top)?.unwrap_or_default(),
        }),
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
        | EventType::Acted => Body::Receipt(receipt(kind, top)?),
        EventType::SignedUp | EventType::Identified => Body::Identity(person::identity(wire, top)?),
        EventType::ConsentChanged => Body::Consent(person::consent_change(top)?),
        EventType::TicketOpened | EventType::TicketResolved => Body::Ticket(Ticket {
            ticket_id: top.need_id(Field::TicketId)?,
        }),
        EventType::FeedbackGiven => Body::Feedback(Feedback {
            score: top
                .count(Field::Score, 10)?
                .ok_or_else(|| top.refuse(Field::Score, Refusal::Missing))?,
        }),
        EventType::ScoreUpdated => Body::Score(Score {
            model: top.need_id(Field::Model)?,
            horizon: top.owned(Field::Horizon)?,
            value: top
                .millionths(Field::Value)?
                .ok_or_else(|| top.refuse(Field::Value, Refusal::Missing))?,
            valid_until: top.time(Field::ValidUntil)?,
        }),
        EventType::Merged => Body::Merge(Merge {
            into: somebody(top, Field::Into)?
                .ok_or_else(|| top.refuse(Field::Into, Refusal::Missing))?,
        }),
        EventType::Erased => Body::Erasure,
        EventType::SendRequested => Body::SendRequest(send_request(wire, top)?),
    })
}

fn browse(top: Fields<'_, '_>) -> Result<Browse, DecodeError> {
    Ok(Browse {
        page: top.owned(Field::Page)?,
        product: one_product(top)?,
        category: top.owned(Field::Category)?,
        query: top.owned(Field::Query)?,
        cart_id: top.id(Field::CartId)?,
        rating: top.count(Field::Rating, 100)?,
    })
}

/// The product whose fields stand beside each other in `fields`; `None` when none is named.
fn product(fields: Fields<'_, '_>, currency: Option<&str>) -> Result<Option<Product>, DecodeError> {
    let sku = fields.id(Field::Sku)?;
    let Some(product_id) = fields.id(Field::ProductId)?.or_else(|| sku.clone()) else {
        return Ok(None);
    };
    let own = fields.text(Field::Currency)?;
    Ok(Some(Product {
        product_id,
        sku,
        group_id: fields.id(Field::GroupId)?,
        name: fields.owned(Field::Name)?,
        category: fields.owned(Field::Category)?,
        brand: fields.owned(Field::Brand)?,
        quantity: fields.count(Field::Quantity, MAX_COUNT)?.unwrap_or(1),
        price: fields.money(Field::Price, own.as_deref().or(currency))?,
        line_id: fields.id(Field::LineId)?,
    }))
}

fn one_product(top: Fields<'_, '_>) -> Result<Option<Product>, DecodeError> {
    product(top, None)
}

/// `products`, or the one product named at the top; `None` when neither is there.
fn lines(wire: &Wire<'_>, top: Fields<'_, '_>) -> Result<Option<Vec<Product>>, DecodeError> {
    let Some(lines) = &wire.products else {
        return Ok(one_product(top)?.map(|product| vec![product]));
    };
    let currency = top.text(Field::Currency)?;
    let mut products = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        let line = top.of_line(line, index);
        let product = product(line, currency.as_deref())?
            .ok_or_else(|| line.refuse(Field::ProductId, Refusal::Missing))?;
        products.push(product);
    }
    Ok(Some(products))
}

fn order(event_id: &str, wire: &Wire<'_>, top: Fields<'_, '_>) -> Result<Order, DecodeError> {
    let currency = top.text(Field::Currency)?;
    let channel = match top.text(Field::Channel)?.as_deref() {
        None | Some("online" | "web" | "app") => SalesChannel::Online,
        Some("offline" | "store" | "pos") => SalesChannel::Offline,
        Some(_) => return Err(top.refuse(Field::Channel, Refusal::UnknownWord)),
    };
    Ok(Order {
        order_id: top
            .id(Field::OrderId)?
            .unwrap_or_else(|| event_id.to_owned()),
        cart_id: top.id(Field::CartId)?,
        channel,
        total: top.money(Field::Total, currency.as_deref())?,
        discount: top.money(Field::Discount, currency.as_deref())?,
        coupon: top.owned(Field::Coupon)?,
        recurring: top.flag(Field::Recurring)?.unwrap_or(false),
        seller: top.id(Field::Seller)?,
        products: lines(wire, top)?.unwrap_or_default(),
    })
}

fn receipt(kind: EventType, top: Fields<'_, '_>) -> Result<Receipt, DecodeError> {
    Ok(Receipt {
        channel: top.need_id(Field::Channel)?,
        decision_id: top.id(Field::DecisionId)?,
        address: top.owned(Field::Address)?,
        machine: top.flag(Field::Machine)?.unwrap_or(false),
        bounce: (kind == EventType::Bounced)
            .then(|| bounce(top))
            .transpose()?,
        opt_out: (kind == EventType::Unsubscribed)
            .then(|| opt_out(top))
            .transpose()?,
        link: top
            .text(Field::Link)?
            .or(top.text(Field::Page)?)
            .map(Cow::into_owned),
        action: top.id(Field::Action)?,
        cart_id: top.id(Field::CartId)?,
        order_id: top.id(Field::OrderId)?,
        reason: top.owned(Field::Reason)?,
    })
}

fn bounce(top: Fields<'_, '_>) -> Result<Bounce, DecodeError> {
    match top.text(Field::Bounce)?.as_deref() {
        None | Some("hard") => Ok(Bounce::Hard),
        Some("soft") => Ok(Bounce::Soft),
        Some("blocked") => Ok(Bounce::Blocked),
        Some(_) => Err(top.refuse(Field::Bounce, Refusal::UnknownWord)),
    }
}

/// `scope` says how far; without it a `list` means that list, `all: true` everything, and else it is the channel.
fn opt_out(top: Fields<'_, '_>) -> Result<OptOut, DecodeError> {
    let list = top.id(Field::List)?;
    let everything = top.flag(Field::All)?.unwrap_or(false);
    match (top.text(Field::Scope)?.as_deref(), list) {
        (Some("all"), _) => Ok(OptOut::All),
        (None, _) if everything => Ok(OptOut::All),
        (Some("list") | None, Some(list)) => Ok(OptOut::List(list)),
        (Some("list"), None) => Err(top.refuse(Field::List, Refusal::Missing)),
        (Some("channel"), _) | (None, None) => Ok(OptOut::Channel),
        (Some(_), _) => Err(top.refuse(Field::Scope, Refusal::UnknownWord)),
    }
}

fn send_request(wire: &Wire<'_>, top: Fields<'_, '_>) -> Result<SendRequest, DecodeError> {
    let word = top
        .text(Field::Class)?
        .ok_or_else(|| top.refuse(Field::Class, Refusal::Missing))?;
    Ok(SendRequest {
        request_id: top.need_id(Field::RequestId)?,
        campaign: top.id(Field::Campaign)?.unwrap_or_default(),
        channels: person::channels(wire)?,
        template: top.need_id(Field::Template)?,
        class: Class::parse(&word).ok_or_else(|| top.refuse(Field::Class, Refusal::UnknownWord))?,
        list: top.id(Field::List)?,
        offer: person::offer(wire)?,
        expires_at: top.time(Field::ExpiresAt)?,
        context: wire.context.clone(),
    })
}
