//! Open carts: lines by product, folded in any order of arrival (product.md §4).
//!
//! Adds and removals are sums, so their order of arrival does not matter; a removal that arrives before its add leaves a line below
//! zero that only an older add may fill. A snapshot replaces what is older than it. An order closes its cart: an event of the
//! cart that is older than the order revives nothing.

use minicbor::{Decode, Encode};

use super::limits::{self, clip, clip_text};
use super::orders::Orders;
use crate::event::{DEFAULT_CART, Order, Product};
use crate::value::{Money, Timestamp};

/// A product in a cart or an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Item {
    /// The product.
    #[n(0)]
    pub product_id: String,
    /// What all variants share.
    #[n(1)]
    pub group_id: Option<String>,
    /// The variant.
    #[n(2)]
    pub sku: Option<String>,
    /// Path `a/b/c`.
    #[n(3)]
    pub category: Option<String>,
    /// For display.
    #[n(4)]
    pub name: Option<String>,
    /// For display.
    #[n(5)]
    pub brand: Option<String>,
    /// How many; at or below zero it is not in the cart.
    #[n(6)]
    pub quantity: i64,
    /// Of one.
    #[n(7)]
    pub price: Option<Money>,
    /// Effective time of the last event of this line.
    #[cbor(n(8), default)]
    pub at: Timestamp,
    /// Of an order.
    #[n(9)]
    pub line_id: Option<String>,
}

impl Item {
    /// What is kept of a product that an event of time `at` names.
    #[must_use]
    pub(super) fn of(product: &Product, at: Timestamp) -> Self {
        Self {
            product_id: clip(&product.product_id, limits::ID_BYTES),
            group_id: product
                .group_id
                .as_deref()
                .map(|id| clip(id, limits::ID_BYTES)),
            sku: product.sku.as_deref().map(|id| clip(id, limits::ID_BYTES)),
            category: clip_text(product.category.as_ref()),
            name: clip_text(product.name.as_ref()),
            brand: clip_text(product.brand.as_ref()),
            quantity: i64::from(product.quantity),
            price: product.price,
            at,
            line_id: product
                .line_id
                .as_deref()
                .map(|id| clip(id, limits::ID_BYTES)),
        }
    }

    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        let texts = [
            &self.group_id,
            &self.sku,
            &self.category,
            &self.name,
            &self.brand,
            &self.line_id,
        ];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        self.product_id.len() + texts + 48
    }

    /// Is this the same product, or a variant of the same?
    #[must_use]
    pub fn same_product(&self, product_id: &str, group_id: Option<&str>) -> bool {
        self.product_id == product_id
            || (group_id.is_some() && self.group_id.as_deref() == group_id)
    }

    /// How many, never negative.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.quantity.max(0)).unwrap_or(u32::MAX)
    }
}

/// One open cart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Cart {
    /// Its id; [`DEFAULT_CART`] for events without one.
    #[n(0)]
    pub cart_id: String,
    /// Lines by product, those below one included: they wait for their late adds.
    #[cbor(n(1), skip_if = "Vec::is_empty")]
    pub lines: Vec<Item>,
    /// Effective time of its oldest event.
    #[n(2)]
    pub created: Timestamp,
    /// Effective time of its newest event.
    #[n(3)]
    pub updated: Timestamp,
    /// Effective time of the newest full snapshot.
    #[n(4)]
    pub snapshot_at: Option<Timestamp>,
    /// When the checkout was last moved on.
    #[n(5)]
    pub checkout_at: Option<Timestamp>,
    /// The coupon entered.
    #[n(6)]
    pub coupon: Option<String>,
}

impl Cart {
    /// Lines that are really in the cart.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.lines.iter().filter(|line| line.quantity > 0)
    }
    /// How many pieces are in it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.items().map(|line| u64::from(line.count())).sum()
    }
    /// What they cost; lines without a price count nothing.
    #[must_use]
    pub fn value(&self) -> Money {
        self.items().fold(Money::ZERO, |sum, line| {
            line.price
                .map_or(sum, |price| sum.plus(price.times(line.count())))
        })
    }
    /// Nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items().next().is_none()
    }

    fn touch(&mut self, at: Timestamp) {
        self.created = self.created.min(at);
        self.updated = self.updated.max(at);
    }

    /// Adds (`sign` 1) or removes (`sign` -1) a product.
    fn change(&mut self, product: &Product, at: Timestamp, sign: i64) {
        self.touch(at);
        if self.snapshot_at.is_some_and(|snapshot| at <= snapshot) {
            return;
        }
        let delta = i64::from(product.quantity) * sign;
        let found = self.lines.iter_mut().find(|line| {
            line.product_id == product.product_id && line.sku.as_deref() == product.sku.as_deref()
        });
        match found {
            Some(line) => {
                // Below zero waits for an older add; a newer add begins anew.
                let before = if line.quantity < 0 && sign > 0 && at > line.at {
                    0
                } else {
                    line.quantity
                };
                let newer = at >= line.at;
                line.quantity = before.saturating_add(delta);
                if newer {
                    line.at = at;
                    line.price = product.price.or(line.price);
                } else {
                    line.price = line.price.or(product.price);
                }
                if line.category.is_none() {
                    line.category = clip_text(product.category.as_ref());
                }
                if line.group_id.is_none() {
                    line.group_id = product
                        .group_id
                        .as_deref()
                        .map(|id| clip(id, limits::ID_BYTES));
                }
            }
            None => {
                let mut line = Item::of(product, at);
                line.quantity = delta;
                self.lines.push(line);
            }
        }
        self.lines.retain(|line| line.quantity != 0);
        self.bound();
    }

    /// Drops what is beyond the limit: waiting lines first, then the oldest.
    pub(super) fn bound(&mut self) {
        while self.lines.len() > limits::CART_LINES {
            let victim = self
                .lines
                .iter()
                .enumerate()
                .min_by_key(|(_, line)| (line.quantity > 0, line.at))
                .map(|(index, _)| index);
            if let Some(index) = victim {
                self.lines.remove(index);
            }
        }
    }

    fn snapshot(&mut self, products: &[Product], at: Timestamp) {
        self.touch(at);
        if self.snapshot_at.is_some_and(|snapshot| at < snapshot) {
            return;
        }
        self.snapshot_at = Some(at);
        self.lines.retain(|line| line.at > at);
        for product in products.iter().take(limits::CART_LINES) {
            let known = self.lines.iter().any(|line| {
                line.product_id == product.product_id
                    && line.sku.as_deref() == product.sku.as_deref()
            });
            if !known && product.quantity > 0 {
                self.lines.push(Item::of(product, at));
            }
        }
        self.bound();
    }
}

/// A cart that an order closed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ClosedCart {
    /// Its id.
    #[n(0)]
    pub cart_id: String,
    /// Effective time of the order.
    #[n(1)]
    pub at: Timestamp,
}

/// All carts of a customer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Carts {
    /// Open ones, in order of their first event's arrival.
    #[cbor(n(0), skip_if = "Vec::is_empty")]
    pub open: Vec<Cart>,
    /// Closed ones, oldest first.
    #[cbor(n(1), skip_if = "Vec::is_empty")]
    pub closed: Vec<ClosedCart>,
}

/// What a cart event does.
#[derive(Clone, Copy, Debug)]
pub(super) enum CartChange<'a> {
    /// One product in.
    Add(&'a Product),
    /// One product out.
    Remove(&'a Product),
    /// All lines.
    Snapshot(&'a [Product]),
    /// The checkout moved on; a coupon may have been entered. Lines, when told, fill an unknown cart.
    Checkout(&'a [Product], Option<&'a str>),
}

impl Carts {
    /// An open cart by id.
    #[must_use]
    pub fn get(&self, cart_id: &str) -> Option<&Cart> {
        self.open.iter().find(|cart| cart.cart_id == cart_id)
    }

    /// The cart changed last.
    #[must_use]
    pub fn latest(&self) -> Option<&Cart> {
        self.open.iter().max_by_key(|cart| cart.updated)
    }

    /// Folds a cart event; `false` when it is older than the order that closed its cart.
    pub(super) fn change(
        &mut self,
        cart_id: &str,
        change: CartChange<'_>,
        at: Timestamp,
        orders: &Orders,
        now: Timestamp,
    ) -> bool {
        if self.is_closed_since(cart_id, change, at, orders) {
            return false;
        }
        self.open
            .retain(|cart| cart.cart_id == cart_id || cart.updated > now.minus(limits::CART_AGE));
        let cart = self.open_or_new(cart_id, at);
        match change {
            CartChange::Add(product) => cart.change(product, at, 1),
            CartChange::Remove(product) => cart.change(product, at, -1),
            CartChange::Snapshot(products) => cart.snapshot(products, at),
            CartChange::Checkout(products, coupon) => {
                if cart.lines.is_empty() && !products.is_empty() {
                    cart.snapshot(products, at);
                }
                cart.touch(at);
                cart.checkout_at = cart.checkout_at.max(Some(at));
                if let Some(coupon) = coupon {
                    cart.coupon = Some(clip(coupon, limits::TEXT_BYTES));
                }
            }
        }
        self.bound();
        true
    }

    /// Keeps all lines together within their bytes: the oldest line of any cart goes first.
    pub(super) fn bound(&mut self) {
        let weight = |cart: &Cart| cart.lines.iter().map(Item::weight).sum::<usize>();
        while self.open.iter().map(weight).sum::<usize>() > limits::CART_BYTES {
            let oldest = |cart: &Cart| cart.lines.iter().map(|line| line.at).min();
            let carts = self.open.iter_mut().filter(|cart| !cart.lines.is_empty());
            let Some(cart) = carts.min_by_key(|cart| oldest(cart)) else {
                return;
            };
            let first = oldest(cart);
            if let Some(index) = cart.lines.iter().position(|line| Some(line.at) == first) {
                cart.lines.remove(index);
            }
        }
    }

    /// Would folding this event revive a cart that was bought at or after its time?
    fn is_closed_since(
        &self,
        cart_id: &str,
        change: CartChange<'_>,
        at: Timestamp,
        orders: &Orders,
    ) -> bool {
        let closed = |closed: &ClosedCart| closed.cart_id == cart_id && closed.at >= at;
        if self.closed.iter().any(closed) {
            return true;
        }
        match change {
            CartChange::Add(product) => {
                orders.bought_without_cart(&product.product_id, product.group_id.as_deref(), at)
            }
            CartChange::Remove(_) | CartChange::Snapshot(_) | CartChange::Checkout(..) => false,
        }
    }

    fn open_or_new(&mut self, cart_id: &str, at: Timestamp) -> &mut Cart {
        let index = match self.open.iter().position(|cart| cart.cart_id == cart_id) {
            Some(index) => index,
            None => {
                if self.open.len() >= limits::CARTS {
                    let oldest = self
                        .open
                        .iter()
                        .enumerate()
                        .min_by_key(|(_, cart)| cart.updated);
                    if let Some((index, _)) = oldest {
                        self.open.remove(index);
                    }
                }
                self.open.push(Cart {
                    cart_id: clip(cart_id, limits::ID_BYTES),
                    created: at,
                    updated: at,
                    ..Cart::default()
                });
                self.open.len() - 1
            }
        };
        #[expect(clippy::indexing_slicing, reason = "found or pushed right above")]
        &mut self.open[index]
    }

    /// Is this cart the one that `order` bought: by its id, else by a product or group in it?
    #[must_use]
    pub fn is_bought_by(cart: &Cart, order: &Order) -> bool {
        match &order.cart_id {
            Some(cart_id) if cart.cart_id != DEFAULT_CART => *cart_id == cart.cart_id,
            Some(cart_id) if cart_id == DEFAULT_CART => true,
            Some(_) | None => order.products.iter().any(|product| {
                cart.items()
                    .any(|line| line.same_product(&product.product_id, product.group_id.as_deref()))
            }),
        }
    }

    /// Closes what an order of effective time `at` bought: the lines up to then; the whole cart when none is newer.
    /// Gives whether anything changed.
    pub(crate) fn close(&mut self, order: &Order, at: Timestamp) {
        let mut closed: Vec<String> = Vec::new();
        for cart in &mut self.open {
            if !Self::is_bought_by(cart, order) {
                continue;
            }
            closed.push(cart.cart_id.clone());
            cart.lines.retain(|line| line.at > at);
        }
        self.open
            .retain(|cart| !(closed.contains(&cart.cart_id) && cart.updated <= at));
        // An order may overtake every event of its cart.
        if let Some(cart_id) = &order.cart_id
            && !closed.contains(cart_id)
        {
            closed.push(clip(cart_id, limits::ID_BYTES));
        }
        for cart_id in closed {
            match self
                .closed
                .iter_mut()
                .find(|closed| closed.cart_id == cart_id)
            {
                Some(closed) => closed.at = closed.at.max(at),
                None => self.closed.push(ClosedCart { cart_id, at }),
            }
        }
        self.bound_closed();
    }

    /// Forgets the carts that were closed first.
    pub(super) fn bound_closed(&mut self) {
        if self.closed.len() > limits::CLOSED_CARTS {
            self.closed.sort_by_key(|closed| closed.at);
            self.closed
                .drain(..self.closed.len() - limits::CLOSED_CARTS);
        }
    }
}
