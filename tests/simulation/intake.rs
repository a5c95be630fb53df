//! Inputs that are keyed otherwise, with the real worker: each record reaches its profile once, whatever breaks, and the topics may grow.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tidegate::engine::forward::{Forward, Matter};
use tidegate::event::DecodeRules;
use tidegate::task::fold::{ClockKind, FoldPlan};
use tidegate::value::{ProfileKey, Timestamp};

use crate::broker::{SharedBroker, Slot};
use crate::random::Random;
use crate::shop;
use crate::world::World;

/// 2026-03-01T08:00:00Z.
const BEGIN: i64 = 1_772_352_000_000;
const TOPICS: [(&str, i32); 3] = [("clickstream", 7), ("purchases", 2), ("deliveries", 4)];

fn plan(counts: &BTreeMap<Arc<str>, i32>) -> FoldPlan {
    let mut plan = shop::plan(ClockKind::Records, crate::PARTITIONS);
    for input in &mut plan.inputs {
        if counts.contains_key(&input.source.topic) {
            input.source.lane = Some(0);
        }
    }
    tidegate::plan::add_lanes(&mut plan, counts);
    plan
}

/// Events of eight customers, each in any partition of its topic.
fn put(broker: &SharedBroker, random: &mut Random, from: u64, count: u64) {
    for n in from..from + count {
        let time = BEGIN + (n * 60_000) as i64;
        let (topic, _) = TOPICS[random.below(3) as usize];
        let partitions = broker.lock().counts[topic];
        let customer = format!("c{}", random.below(8));
        let (kind, properties) = match topic {
            "clickstream" => (
                "product_added",
                json!({"product_id": format!("p{n}"), "cart_id": "k", "quantity": 1, "price": "9.00"}),
            ),
            "purchases" => (
                "order_completed",
                json!({"order_id": format!("o{n}"), "products": []}),
            ),
            _ => ("opened", json!({"channel": "email"})),
        };
        let event = json!({"event_id": format!("e{n}"), "type": kind, "event_time": time, "customer_id": customer, "properties": properties});
        let slot = Slot {
            timestamp: Timestamp::from_millis(time),
            key: None,
            value: Some(event.to_string().into_bytes()),
            headers: Vec::new(),
            transaction: None,
            marker: false,
        };
        let partition = random.below(partitions as u64) as i32;
        broker.lock().append(topic, partition, slot);
    }
}

#[test]
fn whatever_breaks_every_record_of_any_key_reaches_its_profile_once_while_topics_grow() {
    let rules = DecodeRules::of_shop("EUR");
    for seed in crate::seeds() {
        let mut random = Random::new(seed ^ 0x17a);
        let broker = SharedBroker::new(crate::PARTITIONS, shop::WALL);
        let counts: BTreeMap<Arc<str>, i32> =
            TOPICS.map(|(topic, count)| (topic.into(), count)).into();
        broker.lock().counts.clone_from(&counts);
        put(&broker, &mut random, 0, 100);
        let instances = 1 + random.below(3) as usize;
        let shared = Arc::new(plan(&counts));
        let mut world = World::new(
            seed,
            broker.clone(),
            shared,
            shop::outbound_plan(),
            instances,
        );
        let faults = crate::faults(&mut random);
        world.trouble(faults, 500);
        for count in broker.lock().counts.values_mut() {
            *count += 1 + random.below(4) as i32;
        }
        put(&broker, &mut random, 100, 100);
        world.trouble(faults, 700);
        world.heal();
        world.check();
        let profiles = world.profiles();
        let folded: u64 = profiles
            .values()
            .map(|profile| profile.activity.events)
            .sum();
        assert_eq!(
            folded, 200,
            "seed {seed}: every event stands in its profile"
        );
        let mut seen: BTreeMap<String, ProfileKey> = BTreeMap::new();
        for (_, _, value) in world.visible("shop-events") {
            let forward = Forward::decode(&value, &rules).unwrap();
            if let Matter::Event { event, .. } = forward.matter {
                let before = seen.insert(event.id.clone(), forward.to);
                assert!(before.is_none(), "seed {seed}: forwarded twice");
            }
        }
        assert_eq!(seen.len(), 200, "seed {seed}");
    }
}
