//! What the shop sells, and carts of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::value::Money;

/// Product id, category, price in cents.
pub(super) const CATALOGUE: [(&str, &str, i64); 16] = [
    ("sneaker-01", "shoes/sneakers", 8_990),
    ("sneaker-02", "shoes/sneakers", 11_900),
    ("boot-01", "shoes/boots", 15_900),
    ("sandal-01", "shoes/sandals", 3_990),
    ("shirt-01", "clothes/shirts", 2_990),
    ("shirt-02", "clothes/shirts", 3_490),
    ("jeans-01", "clothes/trousers", 7_990),
    ("jacket-01", "clothes/jackets", 12_990),
    ("coffee-01", "food/coffee", 1_290),
    ("coffee-02", "food/coffee", 2_490),
    ("tea-01", "food/tea", 890),
    ("lamp-01", "home/lamps", 4_990),
    ("chair-01", "home/chairs", 17_900),
    ("pan-01", "kitchen/pans", 5_990),
    ("knife-01", "kitchen/knives", 6_490),
    ("book-01", "books", 1_990),
];

/// What a customer is about to buy.
#[derive(Clone, Debug)]
pub(super) struct Cart {
    pub(super) id: u64,
    /// Product of the catalogue and how many.
    pub(super) lines: BTreeMap<usize, i64>,
    /// Its customer went away.
    pub(super) left: bool,
}

impl Cart {
    pub(super) fn total(&self) -> Money {
        let minor = self
            .lines
            .iter()
            .filter_map(|(product, quantity)| {
                CATALOGUE
                    .get(*product)
                    .map(|(_, _, price)| price * quantity)
            })
            .sum();
        Money::from_minor(minor)
    }
}

/// A product as events carry it.
pub(super) fn product_fields(product: usize, quantity: i64) -> Value {
    let (id, category, price) = CATALOGUE.get(product).copied().unwrap_or(("", "", 0));
    json!({
        "product_id": id, "category": category, "quantity": quantity,
        "price": Money::from_minor(price).decimal(2), "currency": "EUR"
    })
}
