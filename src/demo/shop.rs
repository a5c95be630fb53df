//! The simulated shop: customers who look around, leave carts, buy, change their minds. Pure and seeded: time comes in, events go out.
//!
//! One hour of the shop passes in a second. A few customers at a time are *on stage*: what happens to them is told; the others are
//! the crowd, so that the engine has something to do.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use serde_json::{Map, Value, json};

use super::dice::Dice;
use super::narrator::Fact;
use crate::event::Stream;
use crate::value::{Span, Timestamp};

mod goods;

use goods::{CATALOGUE, Cart, product_fields};

/// An event to publish: on which stream, under which key, what.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Publish {
    pub(super) stream: Stream,
    pub(super) customer: usize,
    pub(super) event_id: String,
    pub(super) value: Value,
    /// What there is to tell once it is published.
    pub(super) fact: Option<Fact>,
}

/// Of the channels, share of customers with an address there, in percent.
pub(super) const CHANNELS: [(&str, u64); 3] = [("email", 96), ("push", 70), ("sms", 60)];

/// Customers on stage at one time.
const STAGE: usize = 12;
/// The next one steps on stage not before.
const STAGE_PAUSE: Span = Span::from_millis(700);
/// Whoever is on stage leaves it after that, or soon after the end of the story.
const STAGE_TIME: Span = Span::from_secs(16);
/// How long the end of a story is: an order may be cancelled.
const STAGE_END: Span = Span::from_secs(6);
/// Somebody new comes that often.
const SIGN_UPS: Span = Span::from_millis(3_500);
/// Events that one visit brings on average, to come from events per second to visits per second.
const EVENTS_PER_VISIT: u64 = 6;

/// What a customer will do next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Intent {
    /// The next visitor comes in.
    Arrive,
    /// Looks at something; so many looks and additions are still to come.
    Look {
        customer: usize,
        looks: u32,
        adds: u32,
    },
    /// Puts something into the cart; so many are still to come.
    Add { customer: usize, adds: u32 },
    /// Goes away or pays.
    Decide { customer: usize },
    /// Comes back and buys what lies in the cart.
    Return { customer: usize },
    /// Comes back and empties the cart.
    Empty { customer: usize },
    /// Cancels the order.
    Cancel { customer: usize, order: u64 },
    /// The parcel arrives.
    Receive { customer: usize, order: u64 },
    /// Somebody new makes an account.
    SignUp,
}

#[derive(Clone, Debug, Default)]
struct Customer {
    cart: Option<Cart>,
    busy: bool,
    /// On stage until then.
    stage: Option<Timestamp>,
}

/// The shop.
pub(super) struct Shop {
    dice: Dice,
    customers: Vec<Customer>,
    agenda: BinaryHeap<Reverse<(Timestamp, u64, Intent)>>,
    scheduled: u64,
    named: u64,
    carts: u64,
    orders: u64,
    /// Milliseconds between two visitors, in thousandths.
    gap_micros: i64,
    debt_micros: i64,
    next_on_stage: Timestamp,
    /// Carts left and neither bought nor emptied.
    open_carts: u64,
}

impl Shop {
    /// A shop that makes about `rate` events per second from `opens` on.
    pub(super) fn new(seed: u64, rate: u32, opens: Timestamp) -> Self {
        let rate = u64::from(rate.max(1));
        let crowd = usize::try_from((rate * 6).clamp(300, 20_000)).unwrap_or(300);
        let gap = 1_000_000 * EVENTS_PER_VISIT / rate;
        let mut shop = Self {
            dice: Dice::new(seed),
            customers: vec![Customer::default(); crowd],
            agenda: BinaryHeap::new(),
            scheduled: 0,
            named: 0,
            carts: 0,
            orders: 0,
            gap_micros: i64::try_from(gap).unwrap_or(i64::MAX),
            debt_micros: 0,
            next_on_stage: opens,
            open_carts: 0,
        };
        shop.plan(opens, Intent::Arrive);
        shop.plan(opens.plus(SIGN_UPS), Intent::SignUp);
        shop
    }

    /// How a customer is called.
    pub(super) fn name(customer: usize) -> String {
        format!("c-{:03}", customer + 1)
    }

    /// The customer of that name.
    pub(super) fn customer(name: &str) -> Option<usize> {
        name.strip_prefix("c-")?
            .parse::<usize>()
            .ok()?
            .checked_sub(1)
    }

    /// Carts left and neither bought nor emptied.
    pub(super) const fn open_carts(&self) -> u64 {
        self.open_carts
    }

    /// Is this customer's story told?
    pub(super) fn on_stage(&self, customer: usize) -> bool {
        self.customers
            .get(customer)
            .is_some_and(|customer| customer.stage.is_some())
    }

    /// Everybody introduces themselves: addresses and consents. Published once, before the doors open.
    pub(super) fn introductions(&mut self, now: Timestamp) -> Vec<Publish> {
        (0..self.customers.len())
            .map(|customer| self.introduce("identified", customer, now, None))
            .collect()
    }

    fn introduce(
        &mut self,
        kind: &str,
        customer: usize,
        now: Timestamp,
        fact: Option<Fact>,
    ) -> Publish {
        let name = Self::name(customer);
        let mut addresses = Map::new();
        let mut consents = Map::new();
        for (channel, share) in CHANNELS {
            if self.dice.percent(share) {
                let address = format!("{name}@{channel}.example");
                addresses.insert(channel.to_owned(), json!([address]));
                consents.insert(channel.to_owned(), json!(true));
            }
        }
        let own = json!({
            "addresses": addresses, "consents": consents, "locale": "en", "time_zone": "Europe/Berlin"
        });
        self.event(Stream::Customers, kind, customer, own, now, fact)
    }

    /// When there is something to do next.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.agenda.peek().map(|Reverse((at, _, _))| *at)
    }

    /// What happens up to `now`, in order.
    pub(super) fn advance(&mut self, now: Timestamp) -> Vec<Publish> {
        let mut events = Vec::new();
        while let Some(Reverse((at, _, _))) = self.agenda.peek()
            && *at <= now
            && let Some(Reverse((at, _, intent))) = self.agenda.pop()
        {
            self.act(at, intent, &mut events);
        }
        events
    }

    /// A message made this customer come back: some buy.
    pub(super) fn clicked(&mut self, customer: usize, now: Timestamp) {
        if self.dice.percent(70) {
            let wait = Span::from_millis(self.dice.between(400, 2_000));
            self.plan(now.plus(wait), Intent::Return { customer });
        }
    }

    fn plan(&mut self, at: Timestamp, intent: Intent) {
        self.scheduled += 1;
        self.agenda.push(Reverse((at, self.scheduled, intent)));
    }

    fn act(&mut self, now: Timestamp, intent: Intent, events: &mut Vec<Publish>) {
        match intent {
            Intent::Arrive => self.arrive(now, events),
            Intent::Look {
                customer,
                looks,
                adds,
            } => self.look(now, customer, looks, adds, events),
            Intent::Add { customer, adds } => self.add(now, customer, adds, events),
            Intent::Decide { customer } => self.decide(now, customer, events),
            Intent::Return { customer } => self.buy(now, customer, events),
            Intent::Empty { customer } => self.empty(now, customer, events),
            Intent::Cancel { customer, order } => {
                let own = json!({ "order_id": format!("o-{order}") });
                let fact = Fact::OrderCancelled {
                    customer: Self::name(customer),
                };
                events.push(self.event(
                    Stream::Purchases,
                    "order_cancelled",
                    customer,
                    own,
                    now,
                    Some(fact),
                ));
            }
            Intent::Receive { customer, order } => {
                let own = json!({ "order_id": format!("o-{order}") });
                events.push(self.event(
                    Stream::Purchases,
                    "order_delivered",
                    customer,
                    own,
                    now,
                    None,
                ));
            }
            Intent::SignUp => {
                self.plan(now.plus(SIGN_UPS), Intent::SignUp);
                let customer = self.customers.len();
                self.customers.push(Customer {
                    stage: Some(now.plus(STAGE_TIME)),
                    ..Customer::default()
                });
                let fact = Fact::SignedUp {
                    customer: Self::name(customer),
                };
                let event = self.introduce("signed_up", customer, now, Some(fact));
                events.push(event);
            }
        }
    }

    fn arrive(&mut self, now: Timestamp, events: &mut Vec<Publish>) {
        self.debt_micros += self.gap_micros;
        let wait = self.debt_micros / 1_000;
        self.debt_micros -= wait * 1_000;
        self.plan(now.plus(Span::from_millis(wait)), Intent::Arrive);
        let chosen = usize::try_from(self.dice.below(self.customers.len() as u64)).unwrap_or(0);
        self.clear_stage(now);
        let room = self
            .customers
            .iter()
            .filter(|customer| customer.stage.is_some())
            .count()
            < STAGE;
        let Some(customer) = self.customers.get_mut(chosen) else {
            return;
        };
        if customer.busy {
            return;
        }
        customer.busy = true;
        if room && now >= self.next_on_stage && customer.cart.is_none() {
            customer.stage = Some(now.plus(STAGE_TIME));
            self.next_on_stage = now.plus(STAGE_PAUSE);
        }
        let own = json!({ "page": "/" });
        events.push(self.event(Stream::Clickstream, "page_viewed", chosen, own, now, None));
        let looks = u32::try_from(self.dice.between(1, 4)).unwrap_or(1);
        let adds = if self.on_stage(chosen) || self.dice.percent(45) {
            u32::try_from(self.dice.between(1, 3)).unwrap_or(1)
        } else {
            0
        };
        let wait = self.pause();
        self.plan(
            now.plus(wait),
            Intent::Look {
                customer: chosen,
                looks,
                adds,
            },
        );
    }

    fn clear_stage(&mut self, now: Timestamp) {
        for customer in &mut self.customers {
            if customer.stage.is_some_and(|until| until <= now) {
                customer.stage = None;
            }
        }
    }

    fn look(
        &mut self,
        now: Timestamp,
        customer: usize,
        looks: u32,
        adds: u32,
        events: &mut Vec<Publish>,
    ) {
        let product = self.product();
        let own = product_fields(product, 1);
        events.push(self.event(
            Stream::Clickstream,
            "product_viewed",
            customer,
            own,
            now,
            None,
        ));
        let wait = self.pause();
        let next = if looks > 1 {
            Intent::Look {
                customer,
                looks: looks - 1,
                adds,
            }
        } else if adds > 0 {
            Intent::Add { customer, adds }
        } else {
            Intent::Decide { customer }
        };
        self.plan(now.plus(wait), next);
    }

    fn add(&mut self, now: Timestamp, customer: usize, adds: u32, events: &mut Vec<Publish>) {
        let product = self.product();
        let fresh = self.carts + 1;
        let Some(owner) = self.customers.get_mut(customer) else {
            return;
        };
        let cart = owner.cart.get_or_insert_with(|| Cart {
            id: fresh,
            lines: BTreeMap::new(),
            left: false,
        });
        self.carts = self.carts.max(cart.id);
        *cart.lines.entry(product).or_default() += 1;
        let mut own = product_fields(product, 1);
        put(&mut own, "cart_id", json!(format!("k-{}", cart.id)));
        events.push(self.event(
            Stream::Clickstream,
            "product_added",
            customer,
            own,
            now,
            None,
        ));
        let wait = self.pause();
        let next = if adds > 1 {
            Intent::Add {
                customer,
                adds: adds - 1,
            }
        } else {
            Intent::Decide { customer }
        };
        self.plan(now.plus(wait), next);
    }

    /// Pays, or goes away; who goes away may come back just when the reminder is under way.
    fn decide(&mut self, now: Timestamp, customer: usize, events: &mut Vec<Publish>) {
        let Some(owner) = self.customers.get_mut(customer) else {
            return;
        };
        owner.busy = false;
        let Some(cart) = &mut owner.cart else {
            return;
        };
        if self.dice.percent(25) {
            self.buy(now, customer, events);
            return;
        }
        if !cart.left {
            cart.left = true;
            self.open_carts += 1;
        }
        let left = Fact::CartLeft {
            customer: Self::name(customer),
            items: cart.lines.values().sum(),
            total: cart.total(),
        };
        // The last thing anybody sees of a visitor who goes away is a look at the cart.
        let own = json!({ "cart_id": format!("k-{}", cart.id) });
        events.push(self.event(
            Stream::Clickstream,
            "cart_viewed",
            customer,
            own,
            now,
            Some(left),
        ));
        let fate = self.dice.below(100);
        if fate < 35 {
            // Four hours after the last change the reminder is handed over; the sender takes an hour or so to get to it.
            let wait = Span::from_millis(self.dice.between(4_100, 5_600));
            self.plan(now.plus(wait), Intent::Return { customer });
        } else if fate < 45 {
            let wait = Span::from_millis(self.dice.between(900, 3_500));
            self.plan(now.plus(wait), Intent::Return { customer });
        } else if fate < 52 {
            let wait = Span::from_millis(self.dice.between(900, 3_500));
            self.plan(now.plus(wait), Intent::Empty { customer });
        }
    }

    fn buy(&mut self, now: Timestamp, customer: usize, events: &mut Vec<Publish>) {
        let Some(cart) = self.take_cart(now, customer) else {
            return;
        };
        self.orders += 1;
        let order = self.orders;
        let products: Vec<Value> = cart
            .lines
            .iter()
            .map(|(product, quantity)| product_fields(*product, *quantity))
            .collect();
        let own = json!({
            "order_id": format!("o-{order}"), "cart_id": format!("k-{}", cart.id),
            "total": cart.total().decimal(2), "currency": "EUR", "products": products
        });
        let bought = Fact::Bought {
            customer: Self::name(customer),
            total: cart.total(),
        };
        events.push(self.event(
            Stream::Purchases,
            "order_completed",
            customer,
            own,
            now,
            Some(bought),
        ));
        if self.dice.percent(8) {
            let wait = Span::from_millis(self.dice.between(1_500, 6_000));
            self.plan(now.plus(wait), Intent::Cancel { customer, order });
        } else {
            // Next day.
            let wait = Span::from_millis(self.dice.between(8_000, 26_000));
            self.plan(now.plus(wait), Intent::Receive { customer, order });
        }
    }

    fn empty(&mut self, now: Timestamp, customer: usize, events: &mut Vec<Publish>) {
        let Some(cart) = self.take_cart(now, customer) else {
            return;
        };
        let own = json!({ "cart_id": format!("k-{}", cart.id), "products": [] });
        let emptied = Fact::CartEmptied {
            customer: Self::name(customer),
        };
        events.push(self.event(
            Stream::Clickstream,
            "cart_updated",
            customer,
            own,
            now,
            Some(emptied),
        ));
    }

    /// The story of this cart is over.
    fn take_cart(&mut self, now: Timestamp, customer: usize) -> Option<Cart> {
        let owner = self.customers.get_mut(customer)?;
        let cart = owner.cart.take()?;
        owner.stage = owner.stage.map(|until| until.min(now.plus(STAGE_END)));
        if cart.left {
            self.open_carts = self.open_carts.saturating_sub(1);
        }
        Some(cart)
    }

    fn product(&mut self) -> usize {
        usize::try_from(self.dice.below(CATALOGUE.len() as u64)).unwrap_or(0)
    }

    /// Between two things that a visitor does: a few minutes of the shop.
    fn pause(&mut self) -> Span {
        Span::from_millis(self.dice.between(30, 250))
    }

    /// The envelope around an event's own fields.
    pub(super) fn event(
        &mut self,
        stream: Stream,
        kind: &str,
        customer: usize,
        own: Value,
        now: Timestamp,
        fact: Option<Fact>,
    ) -> Publish {
        self.named += 1;
        let event_id = format!("e-{}", self.named);
        let value = json!({
            "event_id": event_id, "type": kind, "event_time": now.to_string(),
            "customer_id": Self::name(customer), "source": "demo", "properties": own
        });
        Publish {
            stream,
            customer,
            event_id,
            value,
            fact,
        }
    }
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_minute(seed: u64, rate: u32) -> Vec<Publish> {
        let opens = Timestamp::parse("2026-03-01T10:00:00Z").unwrap();
        let mut shop = Shop::new(seed, rate, opens);
        let mut events = shop.introductions(opens);
        events.extend(shop.advance(opens.plus(Span::from_secs(60))));
        events
    }

    #[test]
    fn one_seed_is_one_story_at_about_the_asked_rate() {
        let events = a_minute(7, 100);
        assert_eq!(events, a_minute(7, 100));
        assert_ne!(events, a_minute(8, 100));
        let clicks = events
            .iter()
            .filter(|event| event.stream != Stream::Customers)
            .count();
        assert!((3_000..9_000).contains(&clicks), "{clicks}");
    }

    #[test]
    fn every_kind_of_fate_is_met_within_a_minute() {
        let events = a_minute(1, 100);
        for kind in [
            "product_added",
            "cart_viewed",
            "order_completed",
            "cart_updated",
            "order_cancelled",
            "order_delivered",
            "signed_up",
        ] {
            assert!(
                events.iter().any(|event| event.value["type"] == kind),
                "{kind}"
            );
        }
    }
}
