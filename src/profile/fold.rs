//! One event into all sections: who folds what, in which order.

use super::carts::CartChange;
use super::journal::dedup_key;
use super::person::{Known, control_bucket};
use super::{Body, Event, EventType, OrderNews, Policy, Profile, Timestamp};
use crate::event::DEFAULT_CART;

/// What folding one event found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Folded {
    /// The event was folded before (same source, type and id): nothing changed.
    pub(crate) duplicate: bool,
    /// A cart event older than the order that closed its cart: counted, revives nothing.
    pub(crate) outdated: bool,
    /// Of an order.
    pub(crate) order: Option<OrderNews>,
    /// Of `order_cancelled`: it was not cancelled before. Of `order_refunded`: the refund was not known.
    pub(crate) first_reversal: bool,
}

impl Profile {
    /// Folds an event into every section but consents by opt-out, contacts, blocks and running instances, which the engine decides.
    pub(crate) fn fold(&mut self, event: &Event, policy: &Policy, now: Timestamp) -> Folded {
        let key = dedup_key(event);
        if self.journal.has_seen(key, now, policy.dedup) {
            return Folded {
                duplicate: true,
                ..Folded::default()
            };
        }
        self.journal.remember(key, now, policy.dedup);
        self.meet(event, policy, now);
        self.activity.count(event);
        self.fold_body(event, now)
    }

    /// First sight, test flag, visitor id.
    fn meet(&mut self, event: &Event, policy: &Policy, now: Timestamp) {
        if self.person.first_seen.is_none() {
            let bucket = control_bucket(&policy.control_salt, &self.key);
            self.person.first_seen = Some(now);
            self.person.bucket = Some(bucket);
        }
        if event.test && !self.person.test {
            self.person.test = true;
        }
        if let (Some(_), Some(visitor)) = (&event.customer_id, &event.anonymous_id) {
            let at = event.effective_time;
            let known = self.person.anonymous_id.as_ref();
            if known.is_none_or(|known| known.value != *visitor && known.at <= at) {
                let value = super::limits::clip(visitor, super::limits::ID_BYTES);
                self.person.anonymous_id = Some(Known { value, at });
            }
        }
    }

    fn fold_body(&mut self, event: &Event, now: Timestamp) -> Folded {
        let at = event.effective_time;
        let mut folded = Folded::default();
        match &event.body {
            Body::Browse(browse) => {
                if event.kind == EventType::ProductViewed
                    && let Some(product) = &browse.product
                {
                    self.journal.view(product, at);
                }
            }
            Body::CartLine(line) => {
                let change = if event.kind == EventType::ProductRemoved {
                    CartChange::Remove(&line.product)
                } else {
                    CartChange::Add(&line.product)
                };
                folded.outdated = !self.change_cart(event, change, now);
            }
            Body::CartSnapshot(snapshot) => {
                let change = CartChange::Snapshot(&snapshot.products);
                folded.outdated = !self.change_cart(event, change, now);
            }
            Body::Checkout(checkout) => {
                let change = CartChange::Checkout(&checkout.products, checkout.coupon.as_deref());
                folded.outdated = !self.change_cart(event, change, now);
            }
            Body::Order(order) => {
                let news = self.orders.place(order, event.kind, at);
                if news != OrderNews::Update {
                    self.carts.close(order, at);
                }
                folded.order = Some(news);
            }
            Body::OrderStatus(status) => {
                folded.first_reversal = self.orders.move_on(status, event.kind, at);
            }
            Body::Refund(refund) => folded.first_reversal = self.orders.refund(refund, at),
            Body::Identity(identity) => {
                self.person.learn(identity, at);
                if event.kind == EventType::SignedUp && self.person.signed_up.is_none() {
                    self.person.signed_up = Some(at);
                }
                self.reach.learn(identity, &event.source, at);
            }
            Body::Ticket(ticket) => self.service.ticket(&ticket.ticket_id, event.kind, at),
            Body::Feedback(feedback) => self.service.feedback(feedback.score, at),
            Body::Score(score) => self.scores.learn(score, at),
            // The engine folds these together with what follows from them.
            Body::Receipt(_)
            | Body::Consent(_)
            | Body::SendRequest(_)
            | Body::Merge(_)
            | Body::Erasure => {}
        }
        folded
    }

    fn change_cart(&mut self, event: &Event, change: CartChange<'_>, now: Timestamp) -> bool {
        let cart_id = event.cart_id().unwrap_or(DEFAULT_CART);
        self.carts
            .change(cart_id, change, event.effective_time, &self.orders, now)
    }
}
