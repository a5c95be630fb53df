//! Carts of two profiles.

use crate::profile::carts::{Cart, Carts, Item};
use crate::profile::limits;

impl Cart {
    /// The same cart, told here and there: as if every event of both had come here.
    fn join(&mut self, mut other: Self) {
        self.created = self.created.min(other.created);
        self.updated = self.updated.max(other.updated);
        // A snapshot replaces what is older than it, on the other side too.
        let (own, theirs) = (self.snapshot_at, other.snapshot_at);
        if theirs > own {
            self.lines.retain(|line| Some(line.at) > theirs);
            self.snapshot_at = theirs;
        } else {
            other.lines.retain(|line| Some(line.at) > own);
        }
        for line in other.lines {
            self.join_line(line);
        }
        self.lines.retain(|line| line.quantity != 0);
        if other.checkout_at > self.checkout_at || self.coupon.is_none() {
            self.coupon = other.coupon.or_else(|| self.coupon.take());
        }
        self.checkout_at = self.checkout_at.max(other.checkout_at);
        self.bound();
    }

    fn join_line(&mut self, theirs: Item) {
        let same = |own: &&mut Item| own.product_id == theirs.product_id && own.sku == theirs.sku;
        let Some(own) = self.lines.iter_mut().find(same) else {
            self.lines.push(theirs);
            return;
        };
        own.quantity = own.quantity.saturating_add(theirs.quantity);
        own.price = if theirs.at >= own.at {
            theirs.price.or(own.price)
        } else {
            own.price.or(theirs.price)
        };
        own.at = own.at.max(theirs.at);
        own.category = own.category.take().or(theirs.category);
        own.group_id = own.group_id.take().or(theirs.group_id);
    }
}

impl Carts {
    pub(super) fn join(&mut self, other: Self) {
        for theirs in other.closed {
            match self
                .closed
                .iter_mut()
                .find(|own| own.cart_id == theirs.cart_id)
            {
                Some(own) => own.at = own.at.max(theirs.at),
                None => self.closed.push(theirs),
            }
        }
        for theirs in other.open {
            match self
                .open
                .iter_mut()
                .find(|own| own.cart_id == theirs.cart_id)
            {
                Some(own) => own.join(theirs),
                None => self.open.push(theirs),
            }
        }
        for closed in &self.closed {
            for cart in &mut self.open {
                if cart.cart_id == closed.cart_id {
                    cart.lines.retain(|line| line.at > closed.at);
                }
            }
            self.open
                .retain(|cart| cart.cart_id != closed.cart_id || cart.updated > closed.at);
        }
        while self.open.len() > limits::CARTS {
            let oldest = self.open.iter().enumerate();
            let oldest = oldest.min_by_key(|(index, cart)| (cart.updated, *index));
            if let Some(index) = oldest.map(|(index, _)| index) {
                self.open.remove(index);
            }
        }
        self.bound_closed();
        self.bound();
    }
}
