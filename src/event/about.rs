//! What an event is about: its product, order and cart, whatever its shape. Everything that asks this asks here.

use super::{Body, Event, EventType, Order, Product};

/// Id of the cart that cart events without `cart_id` belong to.
pub const DEFAULT_CART: &str = "default";

impl Event {
    /// The one product that it names: of a click, or of a cart line.
    #[must_use]
    pub const fn product(&self) -> Option<&Product> {
        match &self.body {
            Body::Browse(browse) => browse.product.as_ref(),
            Body::CartLine(line) => Some(&line.product),
            Body::CartSnapshot(_)
            | Body::Checkout(_)
            | Body::Order(_)
            | Body::OrderStatus(_)
            | Body::Refund(_)
            | Body::Receipt(_)
            | Body::Identity(_)
            | Body::Consent(_)
            | Body::Ticket(_)
            | Body::Feedback(_)
            | Body::Score(_)
            | Body::Merge(_)
            | Body::Erasure
            | Body::SendRequest(_) => None,
        }
    }

    /// Every product that it names.
    #[must_use]
    pub fn products(&self) -> &[Product] {
        match &self.body {
            Body::Order(order) => &order.products,
            Body::Refund(refund) => &refund.products,
            Body::Checkout(checkout) => &checkout.products,
            Body::CartSnapshot(snapshot) => &snapshot.products,
            Body::Browse(_) | Body::CartLine(_) => self.product().map_or(&[], std::slice::from_ref),
            Body::OrderStatus(_)
            | Body::Receipt(_)
            | Body::Identity(_)
            | Body::Consent(_)
            | Body::Ticket(_)
            | Body::Feedback(_)
            | Body::Score(_)
            | Body::Merge(_)
            | Body::Erasure
            | Body::SendRequest(_) => &[],
        }
    }

    /// The order that it carries.
    #[must_use]
    pub const fn order(&self) -> Option<&Order> {
        match &self.body {
            Body::Order(order) => Some(order),
            Body::Browse(_)
            | Body::CartLine(_)
            | Body::CartSnapshot(_)
            | Body::Checkout(_)
            | Body::OrderStatus(_)
            | Body::Refund(_)
            | Body::Receipt(_)
            | Body::Identity(_)
            | Body::Consent(_)
            | Body::Ticket(_)
            | Body::Feedback(_)
            | Body::Score(_)
            | Body::Merge(_)
            | Body::Erasure
            | Body::SendRequest(_) => None,
        }
    }

    /// Id of the order that it names.
    #[must_use]
    pub fn order_id(&self) -> Option<&str> {
        match &self.body {
            Body::Order(order) => Some(&order.order_id),
            Body::OrderStatus(status) => Some(&status.order_id),
            Body::Refund(refund) => refund.order_id.as_deref(),
            Body::Checkout(checkout) => checkout.order_id.as_deref(),
            Body::Receipt(receipt) => receipt.order_id.as_deref(),
            Body::Browse(_)
            | Body::CartLine(_)
            | Body::CartSnapshot(_)
            | Body::Identity(_)
            | Body::Consent(_)
            | Body::Ticket(_)
            | Body::Feedback(_)
            | Body::Score(_)
            | Body::Merge(_)
            | Body::Erasure
            | Body::SendRequest(_) => None,
        }
    }

    /// Id of the cart that it names; [`DEFAULT_CART`] for cart events that name none.
    #[must_use]
    pub fn cart_id(&self) -> Option<&str> {
        let named = match &self.body {
            Body::CartLine(line) => &line.cart_id,
            Body::CartSnapshot(snapshot) => &snapshot.cart_id,
            Body::Checkout(checkout) => &checkout.cart_id,
            Body::Browse(browse) if self.kind == EventType::CartViewed => &browse.cart_id,
            Body::Order(order) => return order.cart_id.as_deref(),
            Body::Browse(_)
            | Body::OrderStatus(_)
            | Body::Refund(_)
            | Body::Receipt(_)
            | Body::Identity(_)
            | Body::Consent(_)
            | Body::Ticket(_)
            | Body::Feedback(_)
            | Body::Score(_)
            | Body::Merge(_)
            | Body::Erasure
            | Body::SendRequest(_) => return None,
        };
        Some(named.as_deref().unwrap_or(DEFAULT_CART))
    }
}
