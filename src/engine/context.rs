//! The `context` of a trigger: enough to render it without a look-up, as far as its channel exposes it.

use serde_json::{Map, Value, json};

use crate::policy::{Channel, Policy};
use crate::profile::running::Instance;
use crate::profile::{Item, OrderRecord, Profile};

/// What a sender needs to render, as far as the channel exposes it.
pub(super) fn context(
    profile: &Profile,
    channel: &Channel,
    policy: &Policy,
    instance: Option<&Instance>,
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
            "profile" => Some(json!({
                "locale": profile.person.locale().or(policy.locale.as_deref()),
                "time_zone": profile.person.time_zone(),
                "country": profile.person.country(),
            })),
            _ => None,
        };
        if let Some(value) = value {
            context.insert(part.to_string(), value);
        }
    }
    context
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
