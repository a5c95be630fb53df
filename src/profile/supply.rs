//! Consumption: how long a unit of a product lasts this customer, and when what they have runs out.
//!
//! Derived from the kept orders at the moment of asking, so that the order of their arrival cannot matter and each further order moves
//! the answer. Variants of one group count together. Cancelled and fully refunded orders do not count; a subscription's deliveries do.

use std::collections::BTreeMap;

use super::orders::{OrderState, Orders};
use super::{Item, OrderRecord};
use crate::policy::norms::Consumption;
use crate::value::{Span, Timestamp};

/// Purchases from which on own orders alone show a consumable: twice used up and bought again. With a prior the first one is enough.
const MIN_PURCHASES: usize = 3;
/// Orders within that are one purchase: a forgotten line added to the basket is no sign of being used up.
const ONE_PURCHASE: Span = Span::from_days(1);
/// No supply lasts longer; what is told of the far future is told of nothing.
const LONGEST: i64 = Span::from_days(5 * 365).millis();

/// What is known of one product's use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supply {
    /// Purchases among the kept orders.
    pub purchases: usize,
    /// How long one unit lasts.
    pub per_unit: Span,
    /// When it was bought last.
    pub last: Timestamp,
    /// Units bought then.
    pub units: u64,
    /// When they are used up.
    pub depletion: Timestamp,
}

/// Units bought together.
struct Purchase {
    first: Timestamp,
    last: Timestamp,
    units: u64,
}

impl Supply {
    /// Of one product; `None` when it was not bought, or is no consumable as far as can be told.
    ///
    /// Time per unit = (w·prior + t) ÷ (w + u), where u units lasted t: all purchases but the last, each used until the next one. That is the
    /// posterior mean of a gamma–Poisson model of use, w the units that the prior weighs (Gelman et al., Bayesian Data Analysis, 3rd ed., §2.6);
    /// as own purchases grow the prior fades. The prior is the product's own, else its group's, else the shop's, all from the policy, since a
    /// profile knows nobody else. Without any, own orders decide alone from the third purchase on.
    /// Depletion = last purchase + its units × time per unit (product.md §6).
    #[must_use]
    pub fn of(orders: &Orders, product_id: &str, norms: &Consumption) -> Option<Self> {
        let group_id = group_of(orders, product_id);
        let purchases = purchases(orders, product_id, group_id);
        let prior = norms.of(product_id, group_id);
        let (last, before) = purchases.split_last()?;
        if prior.is_none() && purchases.len() < MIN_PURCHASES {
            return None;
        }
        let used: u64 = before.iter().map(|purchase| purchase.units).sum();
        let lasted = before.first().map_or(0, |first| {
            i128::from(last.first.since(first.first).millis())
        });
        let weight = prior.map_or(0, |_| i128::from(norms.weight.max(1)));
        let guess = i128::from(prior.unwrap_or_default().millis());
        let per_unit = (weight * guess + lasted) / (weight + i128::from(used)).max(1);
        let span = |millis: i128| {
            let millis = i64::try_from(millis).unwrap_or(LONGEST);
            Span::from_millis(millis.clamp(0, LONGEST))
        };
        let depletion = last
            .last
            .plus(span(per_unit.saturating_mul(i128::from(last.units))));
        Some(Self {
            purchases: purchases.len(),
            per_unit: span(per_unit),
            last: last.last,
            units: last.units,
            depletion,
        })
    }
}

/// What the variants of a product share, as its last order told it.
fn group_of<'a>(orders: &'a Orders, product_id: &str) -> Option<&'a str> {
    let lines = orders.recent().flat_map(|order| {
        let placed = (order.placed_at, &order.order_id);
        order.lines.iter().map(move |line| (placed, line))
    });
    lines
        .filter(|(_, line)| line.product_id == product_id && line.group_id.is_some())
        .max_by_key(|(placed, _)| *placed)
        .and_then(|(_, line)| line.group_id.as_deref())
}

/// A product's purchases, oldest first.
fn purchases(orders: &Orders, product_id: &str, group_id: Option<&str>) -> Vec<Purchase> {
    let mut bought: Vec<(Timestamp, u64)> = orders
        .recent()
        .filter(|order| order.is_bought() && order.state != OrderState::Refunded)
        .filter_map(|order| {
            let lines = order
                .lines
                .iter()
                .filter(|line| line.same_product(product_id, group_id));
            let units: u64 = lines.map(|line| u64::from(line.count())).sum();
            (units > 0).then_some((order.placed_at, units))
        })
        .collect();
    bought.sort_unstable();
    let mut purchases: Vec<Purchase> = Vec::new();
    for (at, units) in bought {
        match purchases.last_mut() {
            Some(last) if at.since(last.first) < ONE_PURCHASE => {
                last.units += units;
                last.last = at;
            }
            Some(_) | None => purchases.push(Purchase {
                first: at,
                last: at,
                units,
            }),
        }
    }
    purchases
}

impl Orders {
    /// Products whose use can be told: bought often enough, or with a prior. One look at the kept lines, so that a wholesale order costs
    /// no more than its length.
    #[must_use]
    pub(crate) fn consumables(&self, norms: &Consumption) -> Vec<&str> {
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        let bought = || self.recent().filter(|order| order.is_bought());
        for order in bought() {
            for line in &order.lines {
                let shared = line.group_id.as_deref().unwrap_or(&line.product_id);
                *times.entry(shared).or_default() += 1;
            }
        }
        let mut products: Vec<&str> = bought()
            .flat_map(|order| &order.lines)
            .filter(|line| {
                let group_id = line.group_id.as_deref();
                let shared = group_id.unwrap_or(&line.product_id);
                times
                    .get(shared)
                    .is_some_and(|times| *times >= MIN_PURCHASES)
                    || norms.of(&line.product_id, group_id).is_some()
            })
            .map(|line| line.product_id.as_str())
            .collect();
        products.sort_unstable();
        products.dedup();
        products
    }

    /// The newest order line of a product.
    #[must_use]
    pub(crate) fn last_bought(&self, product_id: &str) -> Option<&Item> {
        let lines = self.recent().flat_map(|order| {
            let lines = order
                .lines
                .iter()
                .filter(|line| line.product_id == product_id);
            lines.map(move |line| ((order.placed_at, &order.order_id), line))
        });
        lines
            .max_by_key(|(placed, _)| *placed)
            .map(|(_, line)| line)
    }

    /// The product that stands in most of the kept orders, as last bought; of equals the one bought last. `None` when no product stands in
    /// two of them.
    #[must_use]
    pub fn usual_product(&self) -> Option<&Item> {
        let bought = || self.recent().filter(|order| order.is_bought());
        let has = |order: &OrderRecord, item: &Item| {
            order
                .lines
                .iter()
                .any(|line| line.product_id == item.product_id)
        };
        bought()
            .flat_map(|order| order.lines.iter().map(move |line| (order, line)))
            .map(|(order, line)| {
                let times = bought().filter(|other| has(other, line)).count();
                (
                    (times, order.placed_at, &order.order_id, &line.product_id),
                    line,
                )
            })
            .filter(|((times, ..), _)| *times > 1)
            .max_by(|(a, _), (b, _)| a.cmp(b))
            .map(|(_, line)| line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventType, Order, Product, SalesChannel};

    fn day(day: i64) -> Timestamp {
        Timestamp::parse("2026-01-01T10:00:00Z")
            .unwrap()
            .plus(Span::from_days(day))
    }

    /// Orders of (day, units of `p`), folded in this order.
    fn orders(bought: &[(i64, u32)]) -> Orders {
        let mut orders = Orders::default();
        for (at, quantity) in bought {
            let product = |id: &str, quantity| Product {
                product_id: id.to_owned(),
                quantity,
                ..Product::default()
            };
            let order = Order {
                order_id: format!("o{at}"),
                cart_id: None,
                channel: SalesChannel::Online,
                total: None,
                discount: None,
                coupon: None,
                recurring: false,
                seller: None,
                products: vec![product("p", *quantity), product(&format!("x{at}"), 1)],
            };
            orders.place(&order, EventType::OrderCompleted, day(*at));
        }
        orders
    }

    fn supply(bought: &[(i64, u32)], norms: &Consumption) -> Option<Supply> {
        Supply::of(&orders(bought), "p", norms)
    }

    #[test]
    fn own_orders_tell_the_depletion_and_each_further_order_moves_it() {
        let norms = Consumption::default();
        assert_eq!(supply(&[(0, 1), (10, 2)], &norms), None);
        let known = supply(&[(0, 1), (10, 2), (30, 3)], &norms).unwrap();
        assert_eq!(known.per_unit, Span::from_days(10));
        assert_eq!(known.depletion, day(60));
        let moved = supply(&[(30, 3), (40, 1), (0, 1), (10, 2)], &norms).unwrap();
        assert_eq!(
            moved.per_unit,
            Span::from_millis(576_000_000),
            "40 days for 6 units"
        );
        assert_eq!(moved.units, 1);
    }

    #[test]
    fn a_prior_speaks_first_and_fades() {
        let mut norms = Consumption::default();
        norms.products.insert("p".to_owned(), Span::from_days(30));
        let first = supply(&[(0, 2)], &norms).unwrap();
        assert_eq!(first.depletion, day(60));
        // (2 × 30 + 40) ÷ (2 + 4) and then, with ten times the history, near the customer's own 10 days.
        let second = supply(&[(0, 4), (40, 1)], &norms).unwrap();
        assert_eq!(second.per_unit.millis(), 1_440_000_000);
        let many: Vec<(i64, u32)> = (0..12).map(|n| (n * 40, 4)).collect();
        let faded = supply(&many, &norms).unwrap().per_unit;
        assert!(faded < Span::from_days(11) && faded > Span::from_days(10));
    }

    #[test]
    fn the_usual_product_stands_in_most_orders() {
        let usual = |bought: &[(i64, u32)]| {
            orders(bought)
                .usual_product()
                .map(|item| item.product_id.clone())
        };
        assert_eq!(usual(&[(0, 1), (7, 1)]).as_deref(), Some("p"));
        assert_eq!(usual(&[(0, 1)]), None);
    }
}
