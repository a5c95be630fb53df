//! The simulated shop: its configuration, and a few days of its events, preloaded in arrival order.

use std::sync::Arc;

use serde_json::json;
use tidegate::config::{Config, Overrides};
use tidegate::engine::Plan;
use tidegate::flow::compile::{FlowFile, Surroundings, compile};
use tidegate::outbound::OutboundPlan;
use tidegate::partitioner::partition as partition_of;
use tidegate::task::fold::{ClockKind, FoldPlan};
use tidegate::value::Timestamp;

use crate::broker::{SharedBroker, Slot};
use crate::random::Random;

/// 2026-03-20T00:00:00Z: later than every preloaded record.
pub(crate) const WALL: i64 = 1_773_964_800_000;
/// 2026-03-01T08:00:00Z.
const BEGIN: i64 = 1_772_352_000_000;

const CONFIG: &str = include_str!("shop.yaml");

fn config() -> Config {
    Config::parse("shop.yaml", CONFIG, &Overrides::default())
        .unwrap_or_else(|problems| panic!("{problems}"))
}

/// The shop's plan over inputs of so many partitions.
pub(crate) fn plan(clock: ClockKind, partitions: i32) -> FoldPlan {
    let mut config = config();
    config.topics.partitions = partitions;
    let policy = config.policy().unwrap();
    let files = [
        FlowFile {
            name: "abandoned_cart.yaml",
            text: include_str!("../../deploy/flows/abandoned_cart.yaml"),
        },
        FlowFile {
            name: "welcome.yaml",
            text: include_str!("../../deploy/flows/welcome.yaml"),
        },
        FlowFile {
            name: "post_purchase.yaml",
            text: include_str!("../../deploy/flows/post_purchase.yaml"),
        },
    ];
    let flows = compile(&files, &Surroundings::of(&policy))
        .unwrap_or_else(|problems| panic!("{problems:?}"));
    tidegate::plan::fold_plan(&config, Plan { flows, policy }, clock).unwrap()
}

pub(crate) fn fold_plan() -> Arc<FoldPlan> {
    Arc::new(plan(ClockKind::Records, crate::PARTITIONS))
}

pub(crate) fn outbound_plan() -> Arc<OutboundPlan> {
    Arc::new(tidegate::plan::outbound_plan(&config()).unwrap())
}

pub(crate) fn outputs() -> Vec<String> {
    ["email", "push", "sms", "shop-decisions", "shop-dlq"]
        .map(str::to_owned)
        .into()
}

/// Puts one event where its producer would have put it.
pub(crate) fn put(
    broker: &SharedBroker,
    topic: &str,
    time: i64,
    customer: &str,
    event: &serde_json::Value,
) {
    let partitions = broker.lock().partitions;
    let slot = Slot {
        timestamp: Timestamp::from_millis(time),
        key: Some(customer.as_bytes().to_vec()),
        value: Some(event.to_string().into_bytes()),
        headers: Vec::new(),
        transaction: None,
        marker: false,
    };
    broker
        .lock()
        .append(topic, partition_of(customer.as_bytes(), partitions), slot);
}

/// A known, reachable, consenting customer.
pub(crate) fn identified(broker: &SharedBroker, time: i64, customer: &str) {
    let event = json!({
        "event_id": format!("id-{customer}"), "type": "identified", "event_time": time, "customer_id": customer,
        "properties": {
            "addresses": {"email": format!("{customer}@shop.test"), "push": [format!("token-{customer}")], "sms": "+4915100"},
            "consents": {"email": true, "push": true, "sms": true}, "time_zone": "Europe/Berlin"
        }
    });
    put(broker, "customers", time, customer, &event);
}

/// One event with these properties.
pub(crate) fn event(
    id: &str,
    kind: &str,
    time: i64,
    customer: &str,
    properties: serde_json::Value,
) -> serde_json::Value {
    json!({"event_id": id, "type": kind, "event_time": time, "customer_id": customer, "properties": properties})
}

/// A few days of a dozen customers, with poison, duplicates, disorder and nobody's events among them.
pub(crate) fn preload(broker: &SharedBroker, random: &mut Random) {
    let customers: Vec<String> = (0..12).map(|n| format!("c{n}")).collect();
    let mut time = BEGIN;
    for customer in &customers {
        identified(broker, time, customer);
    }
    for n in 0..160 {
        time += random.below(70 * 60_000) as i64;
        let customer = &customers[random.below(customers.len() as u64) as usize];
        let product = json!({"product_id": format!("p{}", random.below(5)), "category": "shoes/sneakers", "quantity": 1, "price": "30.00"});
        let id = format!("e{n}");
        let line = |extra: serde_json::Value| {
            let mut line = product.clone();
            line.as_object_mut()
                .unwrap()
                .extend(extra.as_object().unwrap().clone());
            line
        };
        match random.below(20) {
            0..=8 => {
                let added = event(
                    &id,
                    "product_added",
                    time,
                    customer,
                    line(json!({"cart_id": format!("k-{customer}")})),
                );
                put(broker, "clickstream", time, customer, &added);
                if random.below(6) == 0 {
                    put(broker, "clickstream", time + 5, customer, &added);
                }
            }
            9..=11 => put(
                broker,
                "clickstream",
                time,
                customer,
                &event(&id, "product_viewed", time, customer, product),
            ),
            12..=14 => {
                let order = json!({"order_id": format!("o{n}"), "currency": "EUR", "total": "30.00", "products": [product]});
                // Orders of the shops arrive late.
                let late = random.below(4) as i64 * 40 * 60_000;
                put(
                    broker,
                    "purchases",
                    time + late,
                    customer,
                    &event(&id, "order_completed", time, customer, order),
                );
            }
            15 => {
                let refund = json!({"refund_id": format!("r{n}"), "order_id": format!("o{}", random.below(n + 1)), "products": []});
                put(
                    broker,
                    "purchases",
                    time,
                    customer,
                    &event(&id, "order_refunded", time, customer, refund),
                );
            }
            16 => {
                let kind = ["unsubscribed", "complained", "bounced"][random.below(3) as usize];
                let receipt = json!({"channel": "push", "address": format!("token-{customer}"), "bounce": "hard"});
                put(
                    broker,
                    "deliveries",
                    time,
                    customer,
                    &event(&id, kind, time, customer, receipt),
                );
            }
            17 => put(
                broker,
                "clickstream",
                time,
                customer,
                &json!({"event_id": id, "type": "no_such_type", "event_time": time}),
            ),
            18 => put(
                broker,
                "clickstream",
                time,
                "",
                &json!({"event_id": id, "type": "page_viewed", "event_time": time}),
            ),
            _ => {
                let consent = json!({"channel": "email", "state": if random.below(2) == 0 { "denied" } else { "granted" }});
                put(
                    broker,
                    "customers",
                    time,
                    customer,
                    &event(&id, "consent_changed", time, customer, consent),
                );
            }
        }
    }
    // A mark in every partition runs the clock on.
    let partitions = broker.lock().partitions;
    for partition in 0..partitions {
        let slot = Slot {
            timestamp: Timestamp::from_millis(time + 4 * 86_400_000),
            key: None,
            value: None,
            headers: vec![("tidegate-mark".to_owned(), None)],
            transaction: None,
            marker: false,
        };
        broker.lock().append("clickstream", partition, slot);
    }
}
