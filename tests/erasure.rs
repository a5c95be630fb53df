//! Erasure: nothing of the person stays but what they forbade, and what comes later is somebody new (product.md §9).
//! `TIDEGATE_WALKS` says how many lives are played; a failure names its seed.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken test should stop there"
)]

mod shop;
mod world;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shop::open_policy;
use tidegate::decision::{Message, VerdictKind, Why};
use tidegate::event::Consent;
use tidegate::explain::{Entry, Reader};
use tidegate::flow::FlowSet;
use tidegate::outbound;
use tidegate::value::{ProfileKey, Span, Timestamp};
use world::{
    Random, World, both, content, crowd, customer, difference, life, play_on, product, reachable,
    start, visitor,
};

/// Lives of one run.
const WALKS: u64 = 5_000;

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// Where `word` stands in what is stored, and in what waits to be delivered.
fn traces(world: &World, word: &str) -> Vec<String> {
    let holds = |bytes: &[u8]| {
        bytes
            .windows(word.len())
            .any(|part| part == word.as_bytes())
    };
    let mut found = Vec::new();
    for (key, sections) in &world.stored {
        for ((section, chunk), value) in sections {
            if holds(key.as_str().as_bytes()) || holds(value) {
                found.push(format!("{section:?} {chunk} of {}", key.as_str()));
            }
        }
    }
    assert!(world.queues.iter().all(|queue| queue.is_empty()));
    found
}

#[test]
fn what_left_is_recalled_and_no_byte_of_the_person_stays_in_any_profile() {
    let mut world = World::shipped();
    let marked = json!({ "addresses": { "email": "zz-mark@shop.test", "push": "zz-mark-token" }, "consents": { "email": true, "push": true } });
    world.at(
        "2026-03-02T10:00:00Z",
        &visitor("zz-mark-v"),
        "product_added",
        product("zz-mark-k", "p"),
    );
    world.at(
        "2026-03-02T10:05:00Z",
        &both("zz-mark", "zz-mark-v"),
        "identified",
        marked,
    );
    world.at(
        "2026-03-02T10:06:00Z",
        &customer("zz-mark-old"),
        "merged",
        json!({ "into": "zz-mark-mid" }),
    );
    world.settle();
    world.at(
        "2026-03-02T10:07:00Z",
        &customer("zz-mark-mid"),
        "merged",
        json!({ "into": "zz-mark" }),
    );
    world.at(
        "2026-03-02T10:08:00Z",
        &visitor("zz-mark-w"),
        "merged",
        json!({ "into": "zz-mark" }),
    );
    world.settle();
    world.run_to(time("2026-03-02T15:00:00Z"));
    assert_eq!(
        world.told(VerdictKind::Send),
        ["2026-03-02T14:00:00Z c:zz-mark abandoned_cart email cart_abandoned"]
    );
    assert!(traces(&world, "zz-mark").len() > 6);
    let before = world.verdicts.len();
    // By the id that is an alias of an alias: whoever it is now is meant.
    world.at(
        "2026-03-02T15:00:00Z",
        &customer("zz-mark-old"),
        "erased",
        json!({}),
    );
    world.settle();
    assert_eq!(traces(&world, "zz-mark"), Vec::<String>::new());
    assert_eq!(
        world.told(VerdictKind::Cancel),
        ["2026-03-02T15:00:00Z c:zz-mark abandoned_cart email profile_erased"]
    );
    let proofs: Vec<_> = world.verdicts[before..]
        .iter()
        .filter(|verdict| verdict.kind == VerdictKind::Outcome)
        .collect();
    assert_eq!(
        proofs.len(),
        5,
        "the customer, two merged ones and two visitors"
    );
    let ids: BTreeSet<_> = proofs.iter().map(|proof| proof.decision_id).collect();
    assert_eq!(ids.len(), 5);
    for proof in proofs {
        let line = String::from_utf8(outbound::log_line(proof)).unwrap();
        assert!(!line.contains("zz-mark"), "{line}");
        assert!(
            line.contains(r#""outcome":"erased""#) && line.contains(r#""reason":"profile_erased""#),
            "{line}"
        );
    }
    world.check_stored();
}

#[test]
fn what_happened_before_is_dropped_wherever_it_arrives_and_what_comes_later_is_somebody_new() {
    let mut world = World::shipped();
    world.at(
        "2026-03-02T10:00:00Z",
        &both("7", "v"),
        "identified",
        reachable(),
    );
    world.settle();
    world.at("2026-03-02T11:00:00Z", &customer("7"), "erased", json!({}));
    world.settle();
    let late = |world: &mut World, id: &str, who: &Value, at: &str| {
        let mut line = who.clone();
        line["event_id"] = id.into();
        line["type"] = "product_added".into();
        line["event_time"] = at.into();
        line["properties"] = product("k", "p");
        world.event(&line);
        world.settle();
    };
    late(&mut world, "l1", &customer("7"), "2026-03-02T10:59:00Z");
    late(&mut world, "l2", &visitor("v"), "2026-03-02T10:59:00Z");
    late(&mut world, "l3", &both("7", "w"), "2026-03-02T11:00:00Z");
    assert_eq!(world.erased, 3);
    assert!(
        world
            .stored
            .iter()
            .all(|(key, stored)| key.is_address() || stored.is_empty())
    );
    // The answer of the sender to a cancel is no sign of life.
    let receipt = json!({ "channel": "email", "decision_id": "0123456789abcdef0123456789abcdef" });
    world.at("2026-03-02T11:10:00Z", &customer("7"), "cancelled", receipt);
    assert_eq!(world.erased, 4);
    assert!(world.profile("c:7").is_vacant());
    // The same erasure again, and one that is told late, end nothing of what began since.
    world.at(
        "2026-03-02T12:00:00Z",
        &customer("7"),
        "product_added",
        product("k", "p"),
    );
    let again = json!({ "event_id": "again", "type": "erased", "event_time": "2026-03-02T11:00:00Z", "customer_id": "7" });
    world.event(&again);
    world.settle();
    let fresh = world.profile("c:7");
    assert_eq!(fresh.person.first_seen, Some(time("2026-03-02T12:00:00Z")));
    assert_eq!(fresh.activity.events, 1);
    assert!(fresh.reach.addresses.is_empty() && fresh.carts.get("k").is_some());
    // A later one does.
    world.at("2026-03-02T13:00:00Z", &customer("7"), "erased", json!({}));
    world.settle();
    assert!(world.profile("c:7").is_vacant());
    world.check_stored();
}

#[test]
fn a_merge_of_before_that_is_read_after_the_erasure_passes_it_on() {
    let mut world = World::new(FlowSet::default(), open_policy());
    for id in ["a", "b", "c", "d"] {
        let person = json!({ "addresses": { "email": format!("{id}@secret.test") } });
        world.at("2026-03-02T10:00:00Z", &customer(id), "identified", person);
    }
    let merged = |world: &mut World, at: &str, from: &str, into: &str| {
        world.at(at, &customer(from), "merged", json!({ "into": into }));
        world.settle();
    };
    merged(&mut world, "2026-03-02T10:10:00Z", "a", "b");
    // A backlog in the partition of `b`: what merged it into `c` is read after the erasure of `a`, which came later.
    world.at("2026-03-02T12:00:00Z", &customer("a"), "erased", json!({}));
    world.settle();
    assert!(traces(&world, "b@secret.test").is_empty());
    merged(&mut world, "2026-03-02T11:00:00Z", "b", "c");
    assert_eq!(traces(&world, "c@secret.test"), Vec::<String>::new());
    // Merged after it, somebody else.
    merged(&mut world, "2026-03-02T13:00:00Z", "b", "d");
    assert!(!traces(&world, "d@secret.test").is_empty());
}

#[test]
fn a_hand_over_that_was_on_its_way_is_dropped_and_what_it_brought_is_recalled() {
    let mut world = World::shipped();
    world.at(
        "2026-03-02T10:00:00Z",
        &visitor("v"),
        "identified",
        reachable(),
    );
    world.at(
        "2026-03-02T10:00:00Z",
        &visitor("v"),
        "product_added",
        product("k", "p"),
    );
    world.settle();
    world.run_to(time("2026-03-02T14:10:00Z"));
    assert_eq!(world.told(VerdictKind::Send).len(), 1);
    world.at(
        "2026-03-02T14:10:00Z",
        &both("7", "v"),
        "page_viewed",
        json!({}),
    );
    // The visitor has not heard of the login yet.
    world.at("2026-03-02T14:20:00Z", &customer("7"), "erased", json!({}));
    world.settle();
    assert_eq!(
        world.told(VerdictKind::Cancel),
        ["2026-03-02T14:20:00Z a:v abandoned_cart email profile_erased"]
    );
    assert!(
        world.stored.values().all(|stored| stored.is_empty()),
        "{:?}",
        traces(&world, "")
    );
}

#[test]
fn an_opt_out_outlives_the_person_with_the_address_and_nothing_else_does() {
    let mut world = World::new(FlowSet::default(), open_policy());
    let known = json!({ "addresses": { "email": "Us@Home.test", "sms": "+491" }, "consents": { "email": true, "sms": true } });
    let (one, other) = (customer("1"), customer("2"));
    world.at("2026-03-02T10:00:00Z", &one, "identified", known.clone());
    world.at("2026-03-02T10:00:00Z", &other, "identified", known.clone());
    world.settle();
    world.at(
        "2026-03-02T11:00:00Z",
        &one,
        "unsubscribed",
        json!({ "channel": "email" }),
    );
    world.at("2026-03-02T12:00:00Z", &one, "erased", json!({}));
    world.settle();
    let state = |world: &World, key: &str, channel: &str| {
        world.profile(key).reach.consent_state(channel, None)
    };
    // Who shares the mailbox has said nothing.
    assert_eq!(state(&world, "c:2", "email"), Consent::Granted);
    // A complaint of before that is told late names the address, and so it is of everybody there.
    let complaint = json!({ "event_id": "late", "type": "complained", "event_time": "2026-03-02T11:30:00Z", "customer_id": "1",
        "properties": { "channel": "sms", "address": "+491" } });
    world.event(&complaint);
    world.settle();
    let complained = |world: &World, key: &str| {
        let profile = world.profile(key);
        profile
            .reach
            .on("sms")
            .any(|known| known.complained.is_some())
    };
    assert!(complained(&world, "c:2"));
    // They come back, and somebody else gets the address: both are new, and both may not be written to.
    for (id, at) in [("1", "2026-03-02T13:00:00Z"), ("3", "2026-03-02T13:10:00Z")] {
        let known = json!({ "addresses": { "email": "us@home.test", "sms": "+491" }, "consents": { "email": true, "sms": true } });
        world.at(at, &customer(id), "identified", known);
        world.settle();
        let key = format!("c:{id}");
        assert_eq!(state(&world, &key, "email"), Consent::Denied);
        assert_eq!(state(&world, &key, "sms"), Consent::Granted);
        assert!(complained(&world, &key));
        let profile = world.profile(&key);
        let reasons: BTreeSet<&str> = profile
            .blocks(world.clock)
            .map(|block| block.reason.name())
            .collect();
        assert_eq!(reasons, BTreeSet::from(["unsubscribed", "complained"]));
    }
    // Only their own later word opens it.
    world.at(
        "2026-03-02T14:00:00Z",
        &customer("3"),
        "consent_changed",
        json!({ "channel": "email", "state": "granted" }),
    );
    world.settle();
    assert_eq!(state(&world, "c:3", "email"), Consent::Granted);
    assert_eq!(state(&world, "c:1", "email"), Consent::Denied);
    world.check_stored();
}

#[test]
fn a_device_that_follows_another_customer_by_now_is_not_erased() {
    let mut world = World::new(FlowSet::default(), open_policy());
    world.at(
        "2026-03-02T10:00:00Z",
        &both("1", "v"),
        "page_viewed",
        json!({}),
    );
    world.settle();
    world.at(
        "2026-03-02T11:00:00Z",
        &both("2", "v"),
        "page_viewed",
        json!({}),
    );
    // Still under way when the first customer is erased.
    world.at("2026-03-02T11:01:00Z", &customer("1"), "erased", json!({}));
    world.drain(&mut Random(7));
    let alias = world.profile("a:v").links.alias.clone().unwrap();
    assert_eq!(alias.into, "c:2");
    assert_eq!(world.profile("a:v").erased_until(), None);
}

#[test]
fn what_a_device_does_before_it_hears_of_the_erasure_is_its_own_and_not_the_erased_customers() {
    let mut world = World::new(FlowSet::default(), open_policy());
    world.at(
        "2026-03-02T10:00:00Z",
        &both("7", "v"),
        "page_viewed",
        json!({}),
    );
    world.settle();
    world.at("2026-03-02T11:00:00Z", &customer("7"), "erased", json!({}));
    world.at(
        "2026-03-02T11:00:01Z",
        &visitor("v"),
        "page_viewed",
        json!({}),
    );
    world.settle();
    assert!(world.profile("c:7").is_vacant());
    let device = world.profile("a:v");
    assert!(device.links.alias.is_none());
    assert_eq!(device.activity.events, 1);
    world.check_stored();
}

#[test]
fn a_login_of_before_that_a_device_hears_of_after_its_erasure_makes_it_nobodys() {
    let mut world = World::new(FlowSet::default(), open_policy());
    world.at(
        "2026-03-02T10:00:00Z",
        &both("7", "v"),
        "page_viewed",
        json!({}),
    );
    // The visitor is erased alone, and reads that before the login.
    world.at("2026-03-02T11:00:00Z", &visitor("v"), "erased", json!({}));
    world.settle();
    assert!(world.profile("a:v").links.alias.is_none());
    assert_eq!(world.profile("c:7").activity.events, 1);
    // The next login makes it theirs again.
    world.at(
        "2026-03-02T12:00:00Z",
        &both("7", "v"),
        "page_viewed",
        json!({}),
    );
    world.settle();
    let alias = world.profile("a:v").links.alias.clone();
    assert_eq!(alias.unwrap().into, "c:7");
}

#[test]
fn a_device_that_no_customer_remembers_is_erased_when_it_is_heard_of() {
    let mut world = World::new(FlowSet::default(), open_policy());
    for n in 0..100 {
        world.at(
            "2026-03-02T10:00:00Z",
            &both("7", &format!("device-{n:0>3}")),
            "page_viewed",
            json!({}),
        );
    }
    world.settle();
    world.at("2026-03-02T11:00:00Z", &customer("7"), "erased", json!({}));
    world.settle();
    let follows = |world: &World, key: &str| world.profile(key).links.alias.is_some();
    assert!(follows(&world, "a:device-000") && !follows(&world, "a:device-099"));
    world.at(
        "2026-03-02T12:00:00Z",
        &visitor("device-000"),
        "page_viewed",
        json!({}),
    );
    world.settle();
    assert!(!follows(&world, "a:device-000"));
    assert_eq!(world.profile("a:device-000").activity.events, 1);
    assert!(world.profile("c:7").is_vacant());
}

#[test]
fn an_erasure_is_told_in_sentences() {
    let mut world = World::shipped();
    world.at(
        "2026-03-02T10:00:00Z",
        &customer("7"),
        "identified",
        reachable(),
    );
    world.at(
        "2026-03-02T10:00:00Z",
        &customer("7"),
        "product_added",
        product("k", "p"),
    );
    world.run_to(time("2026-03-02T14:00:00Z"));
    world.at(
        "2026-03-02T14:05:00Z",
        &customer("7"),
        "order_completed",
        json!({ "order_id": "o", "products": [{ "product_id": "q" }] }),
    );
    let before = world.verdicts.len();
    world.at("2026-03-02T14:10:00Z", &customer("7"), "erased", json!({}));
    let reader = Reader::new("UTC");
    let told: Vec<String> = world.verdicts[before..]
        .iter()
        .map(|verdict| reader.sentence(&Entry::read(&outbound::log_line(verdict)).unwrap()))
        .collect();
    let told = told.join("\n") + "\n";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/erased.md");
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::write(&path, &told).unwrap();
    }
    assert_eq!(told, std::fs::read_to_string(&path).unwrap());
}

fn seeds() -> Vec<u64> {
    let wanted = std::env::var("TIDEGATE_WALKS").ok();
    let walks = wanted.map_or(WALKS, |walks| walks.parse().unwrap());
    match std::env::var("TIDEGATE_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..walks).collect(),
    }
}

/// What was sent from there on, and when.
fn sent(world: &World, from: usize) -> BTreeSet<String> {
    let sends = world.verdicts[from..]
        .iter()
        .filter(|verdict| verdict.kind == VerdictKind::Send);
    sends
        .map(|verdict| {
            let place = verdict.place.as_ref();
            let place = place.map(|place| (place.flow.clone(), place.instance.clone(), place.step));
            format!("{} {:?} {place:?}", verdict.decided_at, verdict.channel)
        })
        .collect()
}

/// Nothing is stored any more, and everything that left is recalled: no receipt ever said that it was sent. Gives how much the erasure
/// recalled.
fn all_gone(world: &World, seed: u64) -> u32 {
    let mut recalled = 0;
    let left: Vec<&ProfileKey> = world
        .stored
        .iter()
        .filter(|(_, stored)| !stored.is_empty())
        .map(|(key, _)| key)
        .collect();
    assert!(
        left.is_empty(),
        "seed {seed}: {} profiles are left",
        left.len()
    );
    // Everything that left is recalled: no receipt ever said that it was sent.
    let mut open = BTreeSet::new();
    for verdict in &world.verdicts {
        match &verdict.message {
            Some(Message::Trigger(_)) if verdict.kind == VerdictKind::Send => {
                open.insert(verdict.decision_id);
            }
            Some(Message::Cancel { cancels }) => {
                assert!(
                    open.remove(cancels),
                    "seed {seed}: cancelled twice, or never sent"
                );
                recalled += u32::from(
                    verdict.why == Why::Reason(tidegate::decision::Reason::ProfileErased),
                );
            }
            Some(_) | None => {}
        }
    }
    assert!(
        open.is_empty(),
        "seed {seed}: {} stay with their senders",
        open.len()
    );
    recalled
}

#[test]
fn in_any_interleaving_who_was_erased_and_comes_back_is_as_one_first_seen_then() {
    let key = ProfileKey::customer("7");
    let mut recalled = 0;
    for seed in seeds() {
        let mut random = Random(seed);
        let first = life(&mut random);
        let mut world = World::shipped();
        play_on(&mut world, start(), &first, &mut random, false);
        // Half of the lives end while what the last events told other partitions is still on its way. The others are gone on with before
        // their devices have heard of it.
        let is_back_at_once = seed % 2 == 1;
        if is_back_at_once {
            world.drain(&mut random);
        }
        let erased = json!({ "event_id": "erased", "type": "erased", "event_time": world.clock, "customer_id": "7" });
        world.event(&erased);
        if !is_back_at_once {
            world.drain(&mut random);
            world.check_stored();
            recalled += all_gone(&world, seed);
        }

        let second = life(&mut random);
        let after = if is_back_at_once {
            Span::from_millis(1)
        } else {
            Span::from_days(1)
        };
        let again = world.clock.plus(after);
        let heard_before = world.verdicts.len();
        let mut fresh = World::shipped();
        let mut same = Random(seed);
        play_on(&mut world, again, &second, &mut Random(seed), false);
        play_on(&mut fresh, again, &second, &mut same, false);
        world.drain(&mut Random(seed));
        fresh.drain(&mut Random(seed));
        let differing = difference(
            &content(&world.profiles[&key]),
            &content(&fresh.profiles[&key]),
        );
        assert!(differing.is_empty(), "seed {seed}: {differing:#?}");
        let end = fresh.clock.plus(Span::from_days(20));
        world.run_to(end);
        fresh.run_to(end);
        assert_eq!(sent(&world, heard_before), sent(&fresh, 0), "seed {seed}");
    }
    assert!(recalled > 0);
}

#[test]
fn in_any_interleaving_whichever_id_is_named_everything_that_leads_to_the_same_person_goes() {
    let mut went = 0;
    for seed in seeds() {
        let mut random = Random(seed);
        let (mut world, _, _) = crowd(&mut random);
        // Where an id leads, aliases and all.
        let end = |world: &World, key: &ProfileKey| {
            let mut key = key.clone();
            loop {
                let profile = world.profiles.get(&key);
                match profile.and_then(|profile| profile.links.alias.clone()) {
                    Some(alias) => key = ProfileKey::parse(&alias.into).unwrap(),
                    None => return key,
                }
            }
        };
        let keys: Vec<ProfileKey> = world.profiles.keys().cloned().collect();
        let named = random.of(&keys).clone();
        let head = end(&world, &named);
        let theirs: Vec<&ProfileKey> = keys.iter().filter(|key| end(&world, key) == head).collect();
        let others: Vec<(ProfileKey, Value)> = keys
            .iter()
            .filter(|key| !theirs.contains(key))
            .map(|key| (key.clone(), world.profiles[key].view()))
            .collect();
        let id = if named.customer_id().is_some() {
            "customer_id"
        } else {
            "anonymous_id"
        };
        let mut erased =
            json!({ "event_id": "erased", "type": "erased", "event_time": world.clock });
        erased[id] = named.id().into();
        world.event(&erased);
        world.drain(&mut random);
        for key in &theirs {
            let left = world
                .stored
                .get(*key)
                .is_some_and(|stored| !stored.is_empty());
            assert!(
                !left,
                "seed {seed}: {} is left of {}, by {}",
                key.as_str(),
                head.as_str(),
                named.as_str()
            );
        }
        for (key, before) in others {
            assert_eq!(
                world.profiles[&key].view(),
                before,
                "seed {seed}: {}",
                key.as_str()
            );
        }
        went += theirs.len() - 1;
    }
    assert!(went > 0);
}
