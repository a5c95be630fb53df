//! ID-1 with the real worker: a hand-over happens once and loses nothing, whatever breaks at whichever step of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tidegate::engine::forward::{Forward, Matter};
use tidegate::event::DecodeRules;
use tidegate::value::ProfileKey;

use crate::broker::SharedBroker;
use crate::random::Random;
use crate::shop::{self, put};
use crate::world::World;

/// 2026-03-01T08:00:00Z.
const BEGIN: i64 = 1_772_352_000_000;
const VISITORS: u64 = 9;
const CUSTOMERS: u64 = 5;

/// Visitors who look around and log in, customers who merge: each visitor belongs to one customer. In the end everybody is erased, if so
/// wanted. Gives how many events there are.
fn preload(broker: &SharedBroker, random: &mut Random, erased: bool) -> u64 {
    let mut time = BEGIN;
    let mut count = 0;
    let mut put = |time: i64, kind: &str, who: serde_json::Value, properties: serde_json::Value| {
        let key = who["customer_id"].as_str().or(who["anonymous_id"].as_str());
        let mut event = who.clone();
        event["event_id"] = format!("e{count}").into();
        event["type"] = kind.into();
        event["event_time"] = time.into();
        event["properties"] = properties;
        put(broker, "clickstream", time, key.unwrap(), &event);
        count += 1;
    };
    for _ in 0..120 {
        time += random.below(60_000) as i64;
        let of = random.below(VISITORS);
        let (visitor, customer) = (format!("v{of}"), format!("c{}", of % 5));
        match random.below(12) {
            0..7 => {
                let line = json!({ "product_id": "p", "cart_id": visitor, "price": "30.00" });
                put(
                    time,
                    "product_added",
                    json!({ "anonymous_id": visitor }),
                    line,
                );
            }
            7 | 8 => {
                let who = json!({ "anonymous_id": visitor, "customer_id": customer });
                put(time, "page_viewed", who, json!({}));
            }
            9 => {
                let into = format!("c{}", random.below(3));
                let who = json!({ "customer_id": customer });
                put(time, "merged", who, json!({ "into": into }));
            }
            _ => put(
                time,
                "page_viewed",
                json!({ "customer_id": customer }),
                json!({}),
            ),
        }
    }
    for of in 0..if erased { VISITORS } else { 0 } {
        let who =
            json!({ "anonymous_id": format!("v{of}"), "customer_id": format!("c{}", of % 5) });
        put(time, "page_viewed", who, json!({}));
    }
    for of in 0..if erased { CUSTOMERS } else { 0 } {
        let who = json!({ "customer_id": format!("c{of}") });
        put(time, "erased", who, json!({}));
    }
    count
}

#[test]
fn whatever_breaks_a_hand_over_happens_once_and_loses_nothing() {
    let rules = DecodeRules::of_shop("EUR");
    let (mut handed, mut restarts) = (0, 0);
    for seed in crate::seeds() {
        let mut random = Random::new(seed ^ 0x1d);
        let broker = SharedBroker::new(crate::PARTITIONS, shop::WALL);
        let read = preload(&broker, &mut random, false);
        let instances = 1 + random.below(3) as usize;
        let (plan, outbound) = (shop::fold_plan(), shop::outbound_plan());
        let mut world = World::new(seed, broker, plan, outbound, instances);
        world.trouble(crate::faults(&mut random), 1_500);
        world.heal();
        world.check();
        restarts += world.restarts;

        let profiles = world.profiles();
        let folded: u64 = profiles
            .values()
            .map(|profile| profile.activity.events)
            .sum();
        assert_eq!(
            folded, read,
            "seed {seed}: every event stands in one profile"
        );
        for profile in profiles.values() {
            let is_alias = profile.links.alias.is_some();
            assert!(
                !is_alias || profile.is_vacant(),
                "seed {seed}: an alias holds something"
            );
        }
        // What a visitor left behind is in one place, and that is where their alias leads.
        let mut carts: BTreeMap<String, BTreeSet<&ProfileKey>> = BTreeMap::new();
        for (key, profile) in &profiles {
            for cart in &profile.carts.open {
                carts.entry(cart.cart_id.clone()).or_default().insert(key);
            }
        }
        assert!(
            carts.values().all(|keys| keys.len() == 1),
            "seed {seed}: a cart in two profiles"
        );
        let mut given: BTreeSet<ProfileKey> = BTreeSet::new();
        for (_, _, value) in world.visible("shop-events") {
            let forward = Forward::decode(&value, &rules).unwrap();
            if let Matter::Handover { from, .. } = forward.matter
                && from.anonymous_id().is_some()
                && forward.hops.is_empty()
            {
                assert!(
                    given.insert(from),
                    "seed {seed}: a visitor handed over twice"
                );
            }
        }
        handed += given.len();
    }
    println!("{handed} hand-overs of visitors, {restarts} starts");
    assert!(handed > 0);
}

#[test]
fn whatever_breaks_an_erasure_ends_every_profile_of_a_person_and_is_proved_once() {
    for seed in crate::seeds() {
        let mut random = Random::new(seed ^ 0xe5);
        let broker = SharedBroker::new(crate::PARTITIONS, shop::WALL);
        preload(&broker, &mut random, true);
        let instances = 1 + random.below(3) as usize;
        let (plan, outbound) = (shop::fold_plan(), shop::outbound_plan());
        let mut world = World::new(seed, broker, plan, outbound, instances);
        world.trouble(crate::faults(&mut random), 1_500);
        world.heal();
        world.check();
        let left = world.profiles();
        assert!(
            left.is_empty(),
            "seed {seed}: left are {:?}",
            left.keys().map(ProfileKey::as_str).collect::<Vec<_>>()
        );
        let log = world.visible("shop-decisions");
        let lines = log
            .iter()
            .map(|(_, _, value)| serde_json::from_slice::<serde_json::Value>(value).unwrap());
        let proofs: Vec<String> = lines
            .filter(|line| line["outcome"] == "erased")
            .map(|line| line["profile"].as_str().unwrap().to_owned())
            .collect();
        let of: BTreeSet<&String> = proofs.iter().collect();
        assert_eq!((proofs.len(), of.len()), (14, 14), "seed {seed}");
    }
}
