//! The `context` of a trigger: enough to render it without a look-up, as far as its channel exposes it.

use serde_json::{Map, Value, json};

use crate::policy::{Channel, Policy};
use crate::profile::person::TraitValue;
use crate::profile::running::Instance;
use crate::profile::{Item, OrderRecord, Profile};
use crate::value::Timestamp;

/// What a sender needs to render, as far as the channel exposes it.
pub(super) fn context(
    profile: &Profile,
    channel: &Channel,
    policy: &Policy,
    instance: Option<&Instance>,
    now: Timestamp,
) -> Map<String, Value> {
    let mut context = Map::new();
    for part in &channel.expose {
        let value = match &**part {
            "cart" => {
                let id = instance.and_then(|instance| instance.cart_id.as_deref());
                id.and_then(|id| profile.carts.get(id)).map(|cart| {
                    json!({
                        "cart_id": cart.cart_id,
                        "value": cart.value().decimal(policy.currency_digits),
                        "currency": policy.currency,
                        "items": cart.count(),
                        "updated_at": cart.updated,
                    })
                })
            }
            "products" => instance.map(|instance| products(profile, instance, policy)),
            "last_order" => profile.orders.last().map(|order| last_order(order, policy)),
            "profile" => Some(customer(profile, policy, now)),
            _ => None,
        };
        if let Some(value) = value {
            context.insert(part.to_string(), value);
        }
    }
    context
}

/// What is known of the customer: traits as the shop told them, and what models say that is not past its time.
fn customer(profile: &Profile, policy: &Policy, now: Timestamp) -> Value {
    let person = &profile.person;
    let traits: Map<String, Value> = person
        .traits
        .iter()
        .map(|entry| {
            let value = match &entry.value {
                TraitValue::Bool(value) => json!(value),
                TraitValue::Number(thousandths) => json!(*thousandths as f64 / 1e3),
                TraitValue::Text(text) => json!(text),
            };
            (entry.name.clone(), value)
        })
        .collect();
    let valid = profile.scores.entries.iter();
    let valid = valid.filter(|score| score.valid_until.is_none_or(|until| now < until));
    let scores: Map<String, Value> = valid
        .map(|score| {
            let name = match &score.horizon {
                Some(horizon) => format!("{}/{horizon}", score.model),
                None => score.model.clone(),
            };
            (name, json!(score.value as f64 / 1e6))
        })
        .collect();
    let mut known = Map::new();
    let locale = person.locale().or(policy.locale.as_deref());
    known.insert("locale".to_owned(), json!(locale));
    known.insert("time_zone".to_owned(), json!(person.time_zone()));
    known.insert("country".to_owned(), json!(person.country()));
    known.insert("vip".to_owned(), json!(person.vip()));
    for (part, entries) in [("traits", traits), ("scores", scores)] {
        if !entries.is_empty() {
            known.insert(part.to_owned(), Value::Object(entries));
        }
    }
    Value::Object(known)
}

fn item(item: &Item, policy: &Policy) -> Value {
    json!({
        "product_id": item.product_id,
        "sku": item.sku,
        "group_id": item.group_id,
        "name": item.name,
        "category": item.category,
        "brand": item.brand,
        "quantity": item.count(),
        "price": item.price.map(|price| price.decimal(policy.currency_digits)),
    })
}

fn products(profile: &Profile, instance: &Instance, policy: &Policy) -> Value {
    let cart = instance
        .cart_id
        .as_deref()
        .and_then(|id| profile.carts.get(id));
    let order = instance
        .order_id
        .as_deref()
        .and_then(|id| profile.orders.get(id));
    let lines = cart
        .into_iter()
        .flat_map(|cart| cart.items())
        .chain(order.into_iter().flat_map(|order| &order.lines));
    let mut products: Vec<Value> = lines.map(|line| item(line, policy)).collect();
    if products.is_empty() {
        products.extend(instance.about.iter().map(|about| {
            json!({
                "product_id": about.product_id,
                "group_id": about.group_id,
                "category": about.category,
            })
        }));
    }
    Value::Array(products)
}

fn last_order(order: &OrderRecord, policy: &Policy) -> Value {
    json!({
        "order_id": order.order_id,
        "placed_at": order.placed_at,
        "total": order.total.map(|total| total.decimal(policy.currency_digits)),
        "currency": policy.currency,
        "state": order.state.name(),
        "products": order.lines.iter().map(|line| item(line, policy)).collect::<Vec<_>>(),
    })
}
