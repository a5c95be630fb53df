//! Orders: exact totals of all, lines of the recent, ids of the last 400 days.
//!
//! Chunk 0 holds the totals, chunks from [`RECENT`] one order each, chunks from [`KNOWN`] order ids; so one more order writes
//! itself, the totals and one list of ids.

use minicbor::{Decode, Encode};

use super::carts::Item;
use super::chunks::Chunks;
use super::limits::{self, clip, clip_text};
use crate::event::{EventType, Order, OrderStatus, Refund, SalesChannel};
use crate::value::{Money, Timestamp};

/// First chunk of orders with lines.
pub(super) const RECENT: u8 = 1;
/// First chunk of known ids.
pub(super) const KNOWN: u8 = 128;

/// How far an order is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum OrderState {
    /// Placed.
    #[default]
    #[n(0)]
    Placed,
    /// On its way.
    #[n(1)]
    Shipped,
    /// Ready to be picked up.
    #[n(2)]
    Ready,
    /// With the customer.
    #[n(3)]
    Delivered,
    /// Off.
    #[n(4)]
    Cancelled,
    /// Paid back in full.
    #[n(5)]
    Refunded,
}

impl OrderState {
    /// As conditions and contexts spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Shipped => "shipped",
            Self::Ready => "ready",
            Self::Delivered => "delivered",
            Self::Cancelled => "cancelled",
            Self::Refunded => "refunded",
        }
    }
}

/// One order with what is kept of its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OrderRecord {
    /// Its id.
    #[n(0)]
    pub order_id: String,
    /// The cart it came from.
    #[n(1)]
    pub cart_id: Option<String>,
    /// Effective time of the order.
    #[n(2)]
    pub placed_at: Timestamp,
    /// Effective time of the newest event that told its lines.
    #[n(3)]
    pub told_at: Timestamp,
    /// Made at a till.
    #[cbor(n(4), default)]
    pub offline: bool,
    /// What it cost.
    #[n(5)]
    pub total: Option<Money>,
    /// What was taken off.
    #[n(6)]
    pub discount: Option<Money>,
    /// The coupon.
    #[n(7)]
    pub coupon: Option<String>,
    /// A subscription's delivery.
    #[cbor(n(8), default)]
    pub recurring: bool,
    /// Of another seller.
    #[n(9)]
    pub seller: Option<String>,
    /// How many lines the order really has.
    #[cbor(n(10), default)]
    pub line_count: u32,
    /// The first lines.
    #[cbor(n(11), skip_if = "Vec::is_empty")]
    pub lines: Vec<Item>,
    /// How far it is.
    #[n(12)]
    pub state: OrderState,
    /// Paid back so far.
    #[cbor(n(13), default)]
    pub refunded: Money,
}

impl OrderRecord {
    fn tell(&mut self, order: &Order, at: Timestamp) {
        self.told_at = at;
        self.cart_id = order
            .cart_id
            .as_deref()
            .map(|id| clip(id, limits::ID_BYTES));
        self.offline = order.channel == SalesChannel::Offline;
        self.total = order.total.or(self.total);
        self.discount = order.discount;
        self.coupon = clip_text(order.coupon.as_ref());
        self.recurring = order.recurring;
        self.seller = order.seller.as_deref().map(|id| clip(id, limits::ID_BYTES));
        self.line_count = u32::try_from(order.products.len()).unwrap_or(u32::MAX);
        self.lines.clear();
        let mut weight = 0;
        for product in order.products.iter().take(limits::ORDER_LINES) {
            let line = Item::of(product, at);
            weight += line.weight();
            if weight > limits::ORDER_BYTES {
                break;
            }
            self.lines.push(line);
        }
    }
}

/// What is remembered of an order for 400 days.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KnownOrder {
    /// xxh3 of its id.
    #[n(0)]
    pub id: u64,
    /// When it was placed.
    #[n(1)]
    pub at: Timestamp,
    /// What the totals count for it.
    #[cbor(n(2), default)]
    pub counted: Money,
    /// The totals count it (a cancellation may arrive before its order).
    #[cbor(n(3), default)]
    pub is_counted: bool,
    /// An `order_completed` of it was folded.
    #[cbor(n(4), default)]
    pub completed: bool,
    /// It is off.
    #[cbor(n(5), default)]
    pub cancelled: bool,
}

/// Sums over every order ever folded; exact, whatever is forgotten of the single ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Totals {
    /// Orders placed, cancelled ones included.
    #[cbor(n(0), default)]
    pub orders: u64,
    /// What they cost.
    #[cbor(n(1), default)]
    pub money: Money,
    /// Refunds.
    #[cbor(n(2), default)]
    pub refunds: u64,
    /// What was paid back.
    #[cbor(n(3), default)]
    pub refunded: Money,
    /// Orders cancelled.
    #[cbor(n(4), default)]
    pub cancelled: u64,
    /// What those had cost.
    #[cbor(n(5), default)]
    pub cancelled_money: Money,
    /// Effective time of the first order.
    #[n(6)]
    pub first_at: Option<Timestamp>,
    /// Effective time of the last order.
    #[n(7)]
    pub last_at: Option<Timestamp>,
    /// Of this shop, not of another seller: what a soft opt-in needs.
    #[cbor(n(8), default)]
    pub own: u64,
    /// Hashes of recent refund ids, oldest first.
    #[cbor(n(9), skip_if = "Vec::is_empty")]
    pub refund_ids: Vec<u64>,
    /// Effective time of the last refund.
    #[n(10)]
    pub last_refund_at: Option<Timestamp>,
}

/// One chunk of the section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OrdersPart {
    /// Chunk 0.
    Totals(Totals),
    /// One order.
    Recent(Box<OrderRecord>),
    /// Ids.
    Known(Vec<KnownOrder>),
}

/// What an order event turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderNews {
    /// A purchase that was not known.
    New,
    /// A known order again.
    Update,
    /// It was cancelled before it arrived: counted, but suppresses and starts nothing.
    AlreadyCancelled,
}

/// All orders of a customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    pub(super) parts: Chunks<OrdersPart>,
}

fn hash(id: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(id.as_bytes())
}

impl Orders {
    /// What an order id is known by.
    pub(super) fn id_of(order_id: &str) -> u64 {
        hash(order_id)
    }

    /// Sums over everything.
    #[must_use]
    pub fn totals(&self) -> Totals {
        match self.parts.get(0) {
            Some(OrdersPart::Totals(totals)) => totals.clone(),
            Some(OrdersPart::Recent(_) | OrdersPart::Known(_)) | None => Totals::default(),
        }
    }

    /// How many orders there ever were.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self.parts.get(0) {
            Some(OrdersPart::Totals(totals)) => totals.orders,
            Some(OrdersPart::Recent(_) | OrdersPart::Known(_)) | None => 0,
        }
    }

    /// How many of them were of this shop itself.
    #[must_use]
    pub fn own(&self) -> u64 {
        match self.parts.get(0) {
            Some(OrdersPart::Totals(totals)) => totals.own,
            Some(OrdersPart::Recent(_) | OrdersPart::Known(_)) | None => 0,
        }
    }

    /// Recent orders with lines, in no order.
    pub fn recent(&self) -> impl Iterator<Item = &OrderRecord> {
        self.parts.iter().filter_map(|(_, part)| match part {
            OrdersPart::Recent(order) => Some(&**order),
            OrdersPart::Totals(_) | OrdersPart::Known(_) => None,
        })
    }

    /// A recent order by id.
    #[must_use]
    pub fn get(&self, order_id: &str) -> Option<&OrderRecord> {
        self.recent().find(|order| order.order_id == order_id)
    }

    /// The order placed last, cancelled ones left out.
    #[must_use]
    pub fn last(&self) -> Option<&OrderRecord> {
        self.recent()
            .filter(|order| {
                order.state != OrderState::Cancelled && order.told_at != Timestamp::ZERO
            })
            .max_by(|a, b| (a.placed_at, &a.order_id).cmp(&(b.placed_at, &b.order_id)))
    }

    /// Was this product (or a variant) bought at or after `at` by an order that names no cart?
    pub(super) fn bought_without_cart(
        &self,
        product_id: &str,
        group_id: Option<&str>,
        at: Timestamp,
    ) -> bool {
        self.recent().any(|order| {
            order.cart_id.is_none()
                && order.placed_at >= at
                && order.state != OrderState::Cancelled
                && order
                    .lines
                    .iter()
                    .any(|line| line.same_product(product_id, group_id))
        })
    }

    pub(super) fn totals_mut(&mut self) -> &mut Totals {
        if !matches!(self.parts.get(0), Some(OrdersPart::Totals(_))) {
            self.parts.put(0, OrdersPart::Totals(Totals::default()));
        }
        match self.parts.get_mut(0) {
            Some(OrdersPart::Totals(totals)) => totals,
            Some(OrdersPart::Recent(_) | OrdersPart::Known(_)) | None => {
                unreachable!("chunk 0 was just made the totals")
            }
        }
    }

    fn recent_chunk(&self, order_id: &str) -> Option<u8> {
        self.parts.iter().find_map(|(chunk, part)| match part {
            OrdersPart::Recent(order) if order.order_id == order_id => Some(chunk),
            OrdersPart::Recent(_) | OrdersPart::Totals(_) | OrdersPart::Known(_) => None,
        })
    }

    /// The record of an order, made when there is none; the oldest makes room.
    pub(super) fn recent_mut(&mut self, order_id: &str, at: Timestamp) -> Option<&mut OrderRecord> {
        let chunk = self.recent_chunk(order_id).or_else(|| {
            let chunk = self.parts.free(RECENT, limits::ORDERS).or_else(|| {
                let oldest = self.parts.iter().filter_map(|(chunk, part)| match part {
                    OrdersPart::Recent(order) => Some((order.placed_at, chunk)),
                    OrdersPart::Totals(_) | OrdersPart::Known(_) => None,
                });
                oldest
                    .min()
                    .filter(|(placed, _)| *placed <= at)
                    .map(|(_, chunk)| chunk)
            })?;
            let order = OrderRecord {
                order_id: clip(order_id, limits::ID_BYTES),
                placed_at: at,
                ..OrderRecord::default()
            };
            self.parts.put(chunk, OrdersPart::Recent(Box::new(order)));
            Some(chunk)
        })?;
        match self.parts.get_mut(chunk) {
            Some(OrdersPart::Recent(order)) => Some(order),
            Some(OrdersPart::Totals(_) | OrdersPart::Known(_)) | None => None,
        }
    }

    fn known_mut(&mut self, order_id: &str, at: Timestamp) -> Option<&mut KnownOrder> {
        let id = hash(order_id);
        let oldest = at.minus(limits::ORDER_KNOWN);
        let found = self.parts.iter().find_map(|(chunk, part)| match part {
            OrdersPart::Known(known) => known
                .iter()
                .position(|known| known.id == id && known.at >= oldest)
                .map(|index| (chunk, index)),
            OrdersPart::Recent(_) | OrdersPart::Totals(_) => None,
        });
        let (chunk, index) = found.unwrap_or_else(|| self.push_known(id, at));
        match self.parts.get_mut(chunk) {
            Some(OrdersPart::Known(known)) => known.get_mut(index),
            Some(OrdersPart::Recent(_) | OrdersPart::Totals(_)) | None => None,
        }
    }

    /// Appends an id to the chunk with room, else to a new one, else to the one whose newest id is the oldest.
    pub(super) fn push_known(&mut self, id: u64, at: Timestamp) -> (u8, usize) {
        let new = KnownOrder {
            id,
            at,
            ..KnownOrder::default()
        };
        let room = self.parts.iter().find_map(|(chunk, part)| match part {
            OrdersPart::Known(known) if known.len() < limits::KNOWN_PER_CHUNK => {
                Some((chunk, known.len()))
            }
            OrdersPart::Known(_) | OrdersPart::Recent(_) | OrdersPart::Totals(_) => None,
        });
        if let Some((chunk, index)) = room {
            if let Some(OrdersPart::Known(known)) = self.parts.get_mut(chunk) {
                known.push(new);
            }
            return (chunk, index);
        }
        let chunk = self
            .parts
            .free(KNOWN, limits::KNOWN_CHUNKS)
            .unwrap_or_else(|| {
                let newest = |known: &[KnownOrder]| known.iter().map(|known| known.at).max();
                self.parts
                    .iter()
                    .filter_map(|(chunk, part)| match part {
                        OrdersPart::Known(known) => Some((newest(known), chunk)),
                        OrdersPart::Recent(_) | OrdersPart::Totals(_) => None,
                    })
                    .min()
                    .map_or(KNOWN, |(_, chunk)| chunk)
            });
        self.parts.put(chunk, OrdersPart::Known(vec![new]));
        (chunk, 0)
    }

    /// Folds `order_completed` or `order_updated` of effective time `at`.
    pub(crate) fn place(&mut self, order: &Order, kind: EventType, at: Timestamp) -> OrderNews {
        let completed = kind == EventType::OrderCompleted;
        let amount = order.total.unwrap_or_else(|| {
            order.products.iter().fold(Money::ZERO, |sum, product| {
                product
                    .price
                    .map_or(sum, |price| sum.plus(price.times(product.quantity)))
            })
        });
        let told_at = self.get(&order.order_id).map(|record| record.told_at);
        let is_newest = told_at.is_none_or(|told_at| told_at <= at);
        let Some(known) = self.known_mut(&order.order_id, at) else {
            return OrderNews::Update;
        };
        let was_counted = std::mem::replace(&mut known.is_counted, true);
        let was_completed = known.completed;
        known.completed |= completed;
        let before = known.counted;
        if !was_counted || is_newest {
            known.counted = amount;
        }
        let after = known.counted;
        known.at = known.at.min(at);
        let cancelled = known.cancelled;
        let totals = self.totals_mut();
        totals.money = totals.money.minus(before).plus(after);
        if !was_counted {
            totals.orders += 1;
            totals.own += u64::from(order.seller.is_none());
        }
        totals.first_at = Some(totals.first_at.map_or(at, |first| first.min(at)));
        if cancelled {
            let change = after.minus(before);
            totals.cancelled_money = totals.cancelled_money.plus(change);
        }
        if let Some(record) = self.recent_mut(&order.order_id, at) {
            // What was told of it before its first order event (a refund, a parcel) says nothing of when it was placed.
            let is_told = record.told_at != Timestamp::ZERO;
            record.placed_at = if is_told {
                record.placed_at.min(at)
            } else {
                at
            };
            if is_newest {
                record.tell(order, at);
            }
        }
        // An update may overtake its order: what was placed last is told by the records, not by the times of arrival.
        let last_at = self
            .recent()
            .filter(|order| order.told_at != Timestamp::ZERO)
            .map(|order| order.placed_at)
            .max();
        let totals = self.totals_mut();
        totals.last_at = last_at.or(totals.last_at);
        match (cancelled, was_counted && (was_completed || !completed)) {
            (true, _) => OrderNews::AlreadyCancelled,
            (false, true) => OrderNews::Update,
            (false, false) => OrderNews::New,
        }
    }

    /// Folds a change of state; `true` when the order was not cancelled before and now is.
    pub(super) fn move_on(&mut self, status: &OrderStatus, kind: EventType, at: Timestamp) -> bool {
        let state = if kind == EventType::OrderShipped {
            OrderState::Shipped
        } else if kind == EventType::OrderReady {
            OrderState::Ready
        } else if kind == EventType::OrderDelivered {
            OrderState::Delivered
        } else {
            OrderState::Cancelled
        };
        if state == OrderState::Cancelled {
            let Some(known) = self.known_mut(&status.order_id, at) else {
                return false;
            };
            if std::mem::replace(&mut known.cancelled, true) {
                return false;
            }
            let counted = known.counted;
            let totals = self.totals_mut();
            totals.cancelled += 1;
            totals.cancelled_money = totals.cancelled_money.plus(counted);
        }
        if let Some(record) = self.recent_mut(&status.order_id, at) {
            record.state = record.state.max(state);
        }
        state == OrderState::Cancelled
    }

    /// Folds a refund; `false` when its id is known.
    pub(super) fn refund(&mut self, refund: &Refund, at: Timestamp) -> bool {
        let id = hash(&refund.refund_id);
        let amount = refund.total.unwrap_or_else(|| {
            refund.products.iter().fold(Money::ZERO, |sum, product| {
                product
                    .price
                    .map_or(sum, |price| sum.plus(price.times(product.quantity)))
            })
        });
        let totals = self.totals_mut();
        if totals.refund_ids.contains(&id) {
            return false;
        }
        totals.refund_ids.push(id);
        if totals.refund_ids.len() > limits::REFUNDS {
            totals.refund_ids.remove(0);
        }
        totals.refunds += 1;
        totals.last_refund_at = totals.last_refund_at.max(Some(at));
        totals.refunded = totals.refunded.plus(amount);
        if let Some(order_id) = &refund.order_id
            && let Some(record) = self.recent_mut(order_id, at)
        {
            record.refunded = record.refunded.plus(amount);
            let full = refund.products.is_empty()
                || record.total.is_some_and(|total| total <= record.refunded);
            if full {
                record.state = record.state.max(OrderState::Refunded);
            }
        }
        true
    }
}
