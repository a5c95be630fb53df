//! Who is who: logins, hand-overs, merges, addresses, over several partitions whose records arrive in any interleaving (product.md §4a).
//! `TIDEGATE_WALKS` says how many interleavings; a failure names its seed.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken test should stop there"
)]

mod shop;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use shop::{flows, open_policy, shipped};
use tidegate::decision::{Reason, VerdictKind};
use tidegate::flow::FlowSet;
use tidegate::value::{ProfileKey, Span, Timestamp};
use world::{
    PARTITIONS, Random, World, both, content, crowd, customer, difference, heard, life, play,
    product, reachable, start, visitor, words,
};

/// Interleavings of one run: the contract's number.
const WALKS: u64 = 100_000;
/// Of them, those in which a whole customer with flows is compared with one known from the start.
const CUSTOMERS: u64 = 10;

#[test]
fn what_a_visitor_put_into_the_cart_is_remembered_to_the_customer_who_then_logs_in() {
    let mut world = World::shipped();
    world.at(
        "2026-03-02T10:00:00Z",
        &visitor("v"),
        "product_added",
        product("k", "p"),
    );
    world.at(
        "2026-03-02T10:30:00Z",
        &both("7", "v"),
        "identified",
        reachable(),
    );
    world.settle();
    // Still read as the visitor's: the browser has not noticed. It restarts the wait of the instance that was handed over.
    world.at(
        "2026-03-02T11:00:00Z",
        &visitor("v"),
        "product_added",
        product("k", "p2"),
    );
    world.settle();
    world.run_to(Timestamp::parse("2026-03-02T20:00:00Z").unwrap());
    assert_eq!(
        world.told(VerdictKind::Send),
        ["2026-03-02T15:00:00Z c:7 abandoned_cart email cart_abandoned"]
    );
    let sent = world
        .verdicts
        .iter()
        .find(|verdict| verdict.kind == VerdictKind::Send)
        .unwrap();
    assert_eq!(sent.cause.event_id, "e2");
    assert!(world.profile("a:v").is_vacant());
    assert_eq!(world.profile("c:7").carts.get("k").unwrap().count(), 2);
    assert_eq!(world.handed, 1, "a hand-over happens once");
    world.check_stored();
}

#[test]
fn a_purchase_of_the_customer_retracts_what_left_for_the_visitor() {
    let mut world = World::shipped();
    world.plan.policy.conversion_window = Span::from_days(3);
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
    world.run_to(Timestamp::parse("2026-03-02T14:00:00Z").unwrap());
    assert_eq!(
        world.told(VerdictKind::Send),
        ["2026-03-02T14:00:00Z a:v abandoned_cart email cart_abandoned"]
    );
    let bought = json!({ "order_id": "o", "cart_id": "k", "products": [{ "product_id": "p" }] });
    world.at(
        "2026-03-02T14:10:00Z",
        &customer("7"),
        "order_completed",
        bought,
    );
    world.at(
        "2026-03-02T14:20:00Z",
        &both("7", "v"),
        "page_viewed",
        json!({}),
    );
    world.settle();
    // Under the key that it left by.
    assert_eq!(
        world.told(VerdictKind::Cancel),
        ["2026-03-02T14:20:00Z a:v abandoned_cart email purchased_relevant"]
    );
    assert!(world.profile("c:7").running.instances.is_empty());
    // The order is the outcome of the visitor's contact.
    let outcome = world.told(VerdictKind::Outcome);
    assert_eq!(
        outcome,
        ["2026-03-02T14:20:00Z c:7 abandoned_cart email order_completed"]
    );
}

#[test]
fn a_suppression_of_the_visitor_ends_there_and_begins_with_the_customer() {
    let mut policy = open_policy();
    policy.purchase_cooloff = Span::from_days(3);
    let mut world = World::new(FlowSet::default(), policy);
    let bought = json!({ "order_id": "o", "products": [{ "product_id": "p" }] });
    world.at(
        "2026-03-02T10:00:00Z",
        &visitor("v"),
        "order_completed",
        bought,
    );
    world.at(
        "2026-03-02T10:20:00Z",
        &both("7", "v"),
        "page_viewed",
        json!({}),
    );
    world.settle();
    let on = |kind| -> Vec<(String, String)> {
        let of_kind = world.verdicts.iter().filter(|verdict| verdict.kind == kind);
        of_kind
            .map(|verdict| {
                let route = verdict.route.as_ref().unwrap_or(&verdict.profile);
                (route.as_str().to_owned(), verdict.why.name().to_owned())
            })
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    };
    let pair = |key: &str, reason: &str| (key.to_owned(), reason.to_owned());
    assert_eq!(on(VerdictKind::Release), [pair("a:v", "profile_merged")]);
    assert_eq!(
        on(VerdictKind::Suppress),
        [
            pair("a:v", "purchase_cooloff"),
            pair("c:7", "purchase_cooloff")
        ]
    );
    let until = Timestamp::parse("2026-03-05T10:00:00Z").unwrap();
    let profile = world.profile("c:7");
    assert_eq!(
        profile
            .blocks(world.clock)
            .map(|block| block.until)
            .collect::<Vec<_>>(),
        [Some(until)]
    );
    assert_eq!(world.profile("a:v").blocks(world.clock).count(), 0);
}

#[test]
fn what_each_side_took_back_is_forbidden_on_each_channel_and_what_was_granted_to_both_together_is_open()
 {
    let say = |world: &mut World, at: &str, who: &Value, kind: &str, what: Value| {
        world.at(&format!("2026-03-02T{at}:00Z"), who, kind, what);
    };
    let closed = |world: &World| -> BTreeSet<String> {
        let blocks = world.profile("c:7").blocks(world.clock);
        blocks
            .flat_map(|block| block.on.iter().map(|on| on.channel.clone()))
            .collect()
    };
    let mut world = World::new(FlowSet::default(), open_policy());
    say(
        &mut world,
        "10:00",
        &customer("7"),
        "unsubscribed",
        json!({ "channel": "sms" }),
    );
    say(
        &mut world,
        "10:05",
        &visitor("v"),
        "unsubscribed",
        json!({ "channel": "email" }),
    );
    say(
        &mut world,
        "10:06",
        &visitor("v"),
        "unsubscribed",
        json!({ "channel": "push" }),
    );
    // The visitor's partition is behind: that they are one since ten past is heard of after what they granted together.
    let login = world
        .queues
        .iter()
        .map(std::collections::VecDeque::len)
        .sum::<usize>();
    say(
        &mut world,
        "10:10",
        &both("7", "v"),
        "page_viewed",
        json!({}),
    );
    let sent = world
        .queues
        .iter()
        .map(std::collections::VecDeque::len)
        .sum::<usize>();
    assert!(sent > login, "the visitor is told");
    let granted = json!({ "channel": "push", "state": "granted" });
    say(
        &mut world,
        "10:20",
        &customer("7"),
        "consent_changed",
        granted,
    );
    world.settle();
    let channels = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(closed(&world), channels(&["email", "sms"]));
    let state = |channel| world.profile("c:7").reach.consent_state(channel, None);
    assert_eq!(state("push"), tidegate::event::Consent::Granted);
    assert_eq!(state("email"), tidegate::event::Consent::Denied);
}

#[test]
fn a_stop_with_nothing_but_an_address_reaches_everybody_who_holds_it() {
    let mut world = World::new(FlowSet::default(), open_policy());
    let family = json!({ "addresses": { "sms": "+491", "email": "Us@Home.test" }, "consents": { "sms": true, "email": true } });
    for id in ["1", "2"] {
        world.at(
            "2026-03-02T10:00:00Z",
            &customer(id),
            "identified",
            family.clone(),
        );
    }
    world.at("2026-03-02T10:00:00Z", &visitor("v"), "identified", family);
    world.settle();
    // The visitor goes up in a third customer: the address goes along.
    world.at(
        "2026-03-02T10:05:00Z",
        &both("3", "v"),
        "page_viewed",
        json!({}),
    );
    world.settle();
    // One of them has another number by now.
    world.at(
        "2026-03-02T10:10:00Z",
        &customer("2"),
        "identified",
        json!({ "addresses": { "sms": "+492" } }),
    );
    world.settle();
    let stop = json!({ "channel": "sms", "address": "+491" });
    world.at("2026-03-02T11:00:00Z", &json!({}), "unsubscribed", stop);
    world.settle();
    let denied = |world: &World, key: &str, channel: &str| {
        world.profile(key).reach.consent_state(channel, None) == tidegate::event::Consent::Denied
    };
    assert!(denied(&world, "c:1", "sms") && denied(&world, "c:3", "sms"));
    assert!(!denied(&world, "c:2", "sms"));
    let spam = json!({ "channel": "email", "address": "us@home.test" });
    world.at("2026-03-02T12:00:00Z", &json!({}), "complained", spam);
    world.settle();
    for key in ["c:1", "c:2", "c:3"] {
        let blocks = world.profile(key).blocks(world.clock);
        let complained = blocks
            .filter(|block| block.reason == Reason::Complained)
            .count();
        assert_eq!(complained, 1, "{key}");
    }
    let nobody = json!({ "channel": "sms", "address": "+499" });
    world.at("2026-03-02T13:00:00Z", &json!({}), "unsubscribed", nobody);
    world.settle();
    assert_eq!(world.unattributed, 1);
    assert!(
        !world
            .profiles
            .keys()
            .any(|key| key.as_str().contains("+49")),
        "the index shows no address"
    );
}

/// Whatever the tasks have and have not read: the hand-over may still lie in the topic when the opt-out is read.
#[test]
fn a_stop_that_names_an_address_is_not_lost_while_its_holder_is_handed_over() {
    for seed in 0..200 {
        let random = &mut Random(seed);
        let mut world = World::new(FlowSet::default(), open_policy());
        world.at(
            "2026-03-02T10:00:00Z",
            &customer("old"),
            "identified",
            reachable(),
        );
        world.at(
            "2026-03-02T10:00:00Z",
            &visitor("v"),
            "identified",
            json!({ "addresses": { "sms": "+49 1" } }),
        );
        world.drain(random);
        world.at(
            "2026-03-02T10:05:00Z",
            &customer("old"),
            "merged",
            json!({ "into": "new" }),
        );
        world.at(
            "2026-03-02T10:05:00Z",
            &both("new", "v"),
            "page_viewed",
            json!({}),
        );
        for _ in 0..random.below(12) {
            let partition = usize::try_from(random.below(PARTITIONS as u64)).unwrap();
            world.deliver(partition);
        }
        for (channel, address) in [("email", "C@shop.test"), ("sms", "+491")] {
            let stop = json!({ "channel": channel, "address": address });
            world.at("2026-03-02T10:06:00Z", &json!({}), "unsubscribed", stop);
        }
        world.drain(random);
        for channel in ["email", "sms"] {
            let state = world.profile("c:new").reach.consent_state(channel, None);
            assert_eq!(
                state,
                tidegate::event::Consent::Denied,
                "seed {seed}, {channel}"
            );
        }
        // The one that went up in another is listed no more.
        let listed = world.profiles.iter().filter(|(key, _)| key.is_address());
        let mut holders = listed.flat_map(|(_, profile)| profile.links.holders.clone());
        assert!(holders.all(|holder| holder == "c:new"), "seed {seed}");
    }
}

/// The task that knows who holds an address, and the one that reads the opt-out, hear of it in any order: after an outage, minutes apart.
#[test]
fn what_an_address_forbids_reaches_a_holder_of_whom_that_is_not_known_yet() {
    let event = |world: &mut World, at: &str, kind: &str, who: Value, properties: Value| {
        let mut line = who;
        line["event_id"] = kind.into();
        line["type"] = kind.into();
        line["event_time"] = at.into();
        line["properties"] = properties;
        world.run_to(Timestamp::parse("2026-03-02T12:00:00Z").unwrap());
        world.event(&line);
    };
    let says = |world: &mut World| {
        for (at, kind) in [("11:00", "unsubscribed"), ("12:00", "bounced")] {
            let address = json!({ "channel": "sms", "address": "+491" });
            event(
                world,
                &format!("2026-03-02T{at}:00Z"),
                kind,
                json!({}),
                address,
            );
        }
    };
    let is_told = |world: &mut World| {
        let reachable = json!({ "addresses": { "sms": "+49 1" }, "consents": { "sms": true } });
        event(
            world,
            "2026-03-02T10:00:00Z",
            "identified",
            customer("1"),
            reachable,
        );
    };
    let of = |world: &World| {
        let profile = world.profile("c:1");
        let denied = profile.reach.consent_state("sms", None);
        let mut decided: Vec<_> = world
            .verdicts
            .iter()
            .map(|v| (v.decision_id, v.kind))
            .collect();
        decided.sort_unstable();
        (denied, profile.reach.addresses.clone(), decided)
    };
    let mut known = World::new(FlowSet::default(), open_policy());
    is_told(&mut known);
    known.settle();
    says(&mut known);
    known.settle();
    assert_eq!(of(&known).0, tidegate::event::Consent::Denied);
    for seed in 0..200 {
        let random = &mut Random(seed);
        let mut world = World::new(FlowSet::default(), open_policy());
        let steps: [&dyn Fn(&mut World); 2] = [&says, &is_told];
        for step in steps {
            step(&mut world);
            for _ in 0..random.below(6) {
                let partition = usize::try_from(random.below(PARTITIONS as u64)).unwrap();
                world.deliver(partition);
            }
        }
        world.drain(random);
        assert_eq!(of(&world), of(&known), "seed {seed}");
        // Who is reached there later hears of it, too; whoever has agreed since stays agreed.
        let explicit = json!({ "channel": "sms", "state": "granted" });
        let same = json!({ "addresses": { "sms": "+491" } });
        for (id, at) in [("2", "2026-03-02T10:30:00Z"), ("3", "2026-03-02T13:00:00Z")] {
            world.at(
                "2026-03-02T13:00:00Z",
                &customer(id),
                "identified",
                same.clone(),
            );
            world.at(at, &customer(id), "consent_changed", explicit.clone());
        }
        world.drain(random);
        let state = |id: &str| world.profile(id).reach.consent_state("sms", None);
        use tidegate::event::Consent::{Denied, Granted};
        assert_eq!(
            (state("c:2"), state("c:3")),
            (Denied, Granted),
            "seed {seed}"
        );
    }
}

#[test]
fn of_two_merges_that_contradict_each_other_the_later_one_stands_whichever_is_read_first() {
    for swapped in [false, true] {
        let mut world = World::new(FlowSet::default(), open_policy());
        let merged = |at: &str, id: &str, who: &str, into: &str| json!({ "event_id": id, "type": "merged", "event_time": at, "customer_id": who, "source": "crm", "properties": { "into": into } });
        world.clock = Timestamp::parse("2026-03-02T12:00:00Z").unwrap();
        let first = merged("2026-03-02T10:00:00Z", "m1", "1", "2");
        let second = merged("2026-03-02T11:00:00Z", "m2", "2", "1");
        let order = if swapped {
            [&second, &first]
        } else {
            [&first, &second]
        };
        world.event(order[0]);
        world.event(order[1]);
        world.settle();
        assert!(
            world.profile("c:1").links.alias.is_none(),
            "swapped: {swapped}"
        );
        assert_eq!(
            world.profile("c:2").links.alias.as_ref().unwrap().into,
            "c:1"
        );
        assert_eq!(world.profile("c:1").activity.events, 2);
    }
}

#[test]
fn restriction_wins_and_two_arms_of_the_control_group_are_told() {
    let mut policy = open_policy();
    policy.control_group = 5_000;
    let held_back =
        |key: &ProfileKey| tidegate::profile::person::control_bucket("salt", key) < 5_000;
    let id = |arm: bool| {
        let ids = (1..).map(|n: u32| n.to_string());
        ids.into_iter()
            .find(|id| held_back(&ProfileKey::customer(id)) == arm)
            .unwrap()
    };
    let (control, treated) = (id(true), id(false));
    let mut files = shipped();
    files.retain(|(name, _)| name == "welcome.yaml");
    let mut world = World::new(flows(&files, &policy), policy);
    let who = customer(&control);
    world.at("2026-03-02T10:00:00Z", &who, "identified", reachable());
    world.at("2026-03-02T10:00:00Z", &who, "signed_up", json!({}));
    let denied = json!({ "channel": "email", "list": "offers", "state": "denied" });
    world.at("2026-03-02T11:00:00Z", &who, "consent_changed", denied);
    let granted = json!({ "channel": "email", "state": "granted" });
    world.at(
        "2026-03-02T12:00:00Z",
        &customer(&treated),
        "consent_changed",
        granted,
    );
    assert_eq!(
        world.told(VerdictKind::Observe).len(),
        1,
        "{:?}",
        world.told(VerdictKind::Skip)
    );
    world.at(
        "2026-03-02T13:00:00Z",
        &who,
        "merged",
        json!({ "into": treated }),
    );
    world.settle();
    let profile = world.profile(&format!("c:{treated}"));
    assert!(profile.person.contaminated);
    let consent = |list| profile.reach.consent_state("email", Some(list));
    assert_eq!(consent("offers"), tidegate::event::Consent::Denied);
    assert_eq!(consent("news"), tidegate::event::Consent::Granted);
}

#[test]
fn an_idle_alias_is_forgotten_after_thirty_days_and_leaves_nothing_in_the_store() {
    let mut world = World::new(FlowSet::default(), open_policy());
    world.at(
        "2026-03-02T10:00:00Z",
        &both("7", "v"),
        "page_viewed",
        json!({}),
    );
    world.settle();
    world.at(
        "2026-03-20T10:00:00Z",
        &visitor("v"),
        "page_viewed",
        json!({}),
    );
    world.settle();
    assert_eq!(world.profile("c:7").activity.events, 2);
    world.run_to(Timestamp::parse("2026-04-19T10:00:00Z").unwrap());
    assert!(
        world.profile("a:v").links.alias.is_some(),
        "heard of 30 days ago"
    );
    world.run_to(Timestamp::parse("2026-04-21T00:00:00Z").unwrap());
    assert!(world.stored[&ProfileKey::anonymous("v")].is_empty());
    // Somebody else's from now on, until the next login.
    world.at(
        "2026-04-22T10:00:00Z",
        &visitor("v"),
        "page_viewed",
        json!({}),
    );
    world.settle();
    assert_eq!(world.profile("a:v").activity.events, 1);
}

#[test]
fn a_device_that_many_log_in_on_follows_the_last_one_and_then_nobody() {
    let mut world = World::new(FlowSet::default(), open_policy());
    for (hour, id) in ["1", "2", "1", "3", "4"].iter().enumerate() {
        let at = |minute: u32| format!("2026-03-02T{:02}:{minute:02}:00Z", 10 + hour);
        world.at(&at(0), &both(id, "v"), "page_viewed", json!({}));
        world.settle();
        world.at(&at(30), &visitor("v"), "page_viewed", json!({}));
        world.settle();
    }
    let events = ["c:1", "c:2", "c:3", "c:4", "a:v"].map(|key| world.profile(key).activity.events);
    assert_eq!(events, [4, 2, 2, 1, 1]);
}

/// Reads an event on device `v`, at the clock; `received` when it is late.
fn click(world: &mut World, event_time: &str, received: &str, who: &Value) {
    world.run_to(Timestamp::parse(received).unwrap());
    let mut line = who.clone();
    line["event_id"] = format!("e{}", world.offset).into();
    line["type"] = "page_viewed".into();
    line["event_time"] = event_time.into();
    world.event(&line);
}

#[test]
fn a_login_that_was_read_before_its_customer_heard_of_another_on_the_device_counts() {
    let mut world = World::new(FlowSet::default(), open_policy());
    let logins = [
        ("2026-03-02T10:00:00Z", "c"),
        ("2026-03-02T10:00:05Z", "d"),
        ("2026-03-02T10:00:10Z", "c"),
    ];
    for (at, id) in logins {
        click(&mut world, at, at, &both(id, "v"));
        if id == "c" && at < "2026-03-02T10:00:10Z" {
            world.settle();
        }
    }
    // Nobody knows yet.
    assert_eq!(
        world.profile("a:v").links.alias.as_ref().unwrap().into,
        "c:c"
    );
    world.settle();
    let alias = world.profile("a:v").links.alias.clone().unwrap();
    assert_eq!((&*alias.into, &*alias.login.event_id), ("c:c", "e2"));
    let at = "2026-03-02T10:00:20Z";
    click(&mut world, at, at, &visitor("v"));
    world.settle();
    assert_eq!(world.profile("c:c").activity.events, 3);
    assert_eq!(world.profile("c:d").activity.events, 1);
    world.check_stored();
}

#[test]
fn a_late_login_takes_no_device_from_a_customer_who_logged_in_after_it() {
    let mut world = World::new(FlowSet::default(), open_policy());
    let events = [
        (
            "2026-03-02T10:00:00Z",
            "2026-03-02T10:00:00Z",
            both("c", "v"),
        ),
        (
            "2026-03-02T15:00:00Z",
            "2026-03-02T15:00:00Z",
            both("c", "v"),
        ),
        (
            "2026-03-02T11:00:00Z",
            "2026-03-02T15:10:00Z",
            both("d", "v"),
        ),
        ("2026-03-02T15:20:00Z", "2026-03-02T15:20:00Z", visitor("v")),
        // Later than what it was told of when it lost the device.
        (
            "2026-03-02T15:30:00Z",
            "2026-03-02T15:30:00Z",
            both("d", "v"),
        ),
        ("2026-03-02T15:40:00Z", "2026-03-02T15:40:00Z", visitor("v")),
    ];
    for (at, received, who) in events {
        click(&mut world, at, received, &who);
        world.settle();
    }
    assert_eq!(world.profile("c:c").activity.events, 3);
    assert_eq!(world.profile("c:d").activity.events, 3);
    world.check_stored();
}

fn walks() -> u64 {
    let wanted = std::env::var("TIDEGATE_WALKS").ok();
    wanted.map_or(WALKS, |walks| walks.parse().unwrap())
}

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("TIDEGATE_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..count).collect(),
    }
}

#[test]
fn in_any_interleaving_a_customer_ends_as_one_who_was_known_from_the_start() {
    for seed in seeds(walks() / CUSTOMERS) {
        let mut random = Random(seed);
        let acts = life(&mut random);
        let mut apart = play(&acts, &mut random, false);
        let mut known = play(&acts, &mut random, true);
        let key = ProfileKey::customer("7");
        let differing = difference(
            &content(&apart.profiles[&key]),
            &content(&known.profiles[&key]),
        );
        assert!(differing.is_empty(), "seed {seed}: {differing:#?}");
        let end = known.clock.plus(Span::from_days(20));
        apart.run_to(end);
        known.run_to(end);
        assert_eq!(heard(&apart), heard(&known), "seed {seed}: decisions");
    }
}

/// What is shut for own messages (consents, addresses), and for senders (suppressions), by channel and list.
fn shut(profile: &tidegate::profile::Profile, at: Timestamp) -> BTreeSet<String> {
    let mut shut = BTreeSet::new();
    for channel in ["email", "sms", "push"] {
        for list in [None, Some("offers")] {
            let place = format!("{channel} {}", list.unwrap_or("all"));
            if profile.reach.consent_state(channel, list) == tidegate::event::Consent::Denied {
                shut.insert(format!("{place} denied"));
            }
            let is_on = |block: &&tidegate::profile::Block| {
                matches!(block.reason, Reason::NoConsent | Reason::Unsubscribed)
                    && block.list.as_deref().is_none_or(|own| Some(own) == list)
                    && block.on.iter().any(|on| on.channel == channel)
            };
            if profile.blocks(at).any(|block| is_on(&block)) {
                shut.insert(format!("{place} suppressed"));
            }
        }
    }
    let failed = |reason| {
        let of_reason = profile
            .blocks(at)
            .filter(move |block| block.reason == reason);
        of_reason.flat_map(|block| block.on.iter().map(|on| on.channel.clone()))
    };
    let gone: BTreeSet<String> = failed(Reason::HardBounced).collect();
    // What does not exist is not written to at all; whether its reader had complained before does not matter any more.
    let complained = failed(Reason::Complained).filter(|channel| !gone.contains(channel));
    shut.extend(complained.map(|channel| format!("{channel} complained")));
    shut.extend(gone.iter().map(|channel| format!("{channel} hard_bounced")));
    shut
}

#[test]
fn in_any_interleaving_what_a_customer_forbade_on_any_device_is_forbidden_and_told_to_senders() {
    let (mut joined, mut stricter) = (0, 0);
    for seed in seeds(walks() / CUSTOMERS) {
        let random = &mut Random(seed);
        // Without grants the two end the same; with some, a denial of before the login wins over a later grant of the other side.
        let grants = seed % 2 == 1;
        let acts = words(random, grants);
        let apart = play(&acts, random, false);
        let known = play(&acts, random, true);
        let of = |world: &World| shut(world.profile("c:7"), world.clock);
        let (apart, known) = (of(&apart), of(&known));
        if grants {
            assert!(
                apart.is_superset(&known),
                "seed {seed}: {apart:?}\n   known: {known:?}"
            );
            stricter += usize::from(apart != known);
        } else {
            assert_eq!(apart, known, "seed {seed}");
            joined += usize::from(!apart.is_empty());
        }
        for denied in apart
            .iter()
            .filter_map(|place| place.strip_suffix(" denied"))
        {
            assert!(
                apart.contains(&format!("{denied} suppressed")),
                "seed {seed}: {apart:?}"
            );
        }
    }
    assert!(joined > 0 && stricter > 0);
}

#[test]
fn in_any_interleaving_nothing_is_lost_or_taken_twice_and_forwarding_ends() {
    for seed in seeds(walks()) {
        let (world, group, read) = crowd(&mut Random(seed));
        let folded: u64 = world
            .profiles
            .values()
            .map(|profile| profile.activity.events)
            .sum();
        assert_eq!(
            folded, read,
            "seed {seed}: every event stands in one profile"
        );
        // Where an alias leads in the end.
        let end = |key: &str| {
            let mut key = key.to_owned();
            for _ in 0..20 {
                let alias = world
                    .profiles
                    .get(&ProfileKey::parse(&key).unwrap())
                    .and_then(|p| p.links.alias.clone());
                match alias {
                    Some(alias) => key = alias.into,
                    None => return key,
                }
            }
            panic!("seed {seed}: a circle of aliases is left");
        };
        for (key, profile) in &world.profiles {
            let is_alias = profile.links.alias.is_some();
            assert!(
                !is_alias || profile.is_vacant(),
                "seed {seed}: an alias holds something"
            );
            end(key.as_str());
        }
        for (one, of) in &group {
            for (other, of_other) in &group {
                let together = end(&format!("c:{one}")) == end(&format!("c:{other}"));
                assert_eq!(together, of == of_other, "seed {seed}: {one} and {other}");
            }
        }
        if seed % 64 == 0 {
            world.check_stored();
        }
    }
}

/// A login as it is compared: effective time, event id; and whose it is.
type Last = (Timestamp, String, String);

/// Three customers on two devices within three days, in part at the same instants, in part merged; tasks that are not level: what is
/// read is any event of any task, what is delivered any task's oldest. Gives the last login on each device.
fn rivals(random: &mut Random) -> (World, BTreeMap<String, Last>, u64) {
    let mut world = World::new(FlowSet::default(), open_policy());
    world.clock = start().plus(Span::from_days(3));
    let merges = random.one_in(2);
    let mut lines = Vec::new();
    let mut last: BTreeMap<String, Last> = BTreeMap::new();
    for index in 0..3 + random.below(14) {
        let (who, device) = (*random.of(&["1", "2", "3"]), *random.of(&["v", "w"]));
        // Some minutes, on any of three days: a customer tells a device anew after one.
        let minutes = random.below(3) * 24 * 60 + random.below(6);
        let at = start().plus(Span::from_minutes(i64::try_from(minutes).unwrap()));
        let id = format!("e{:02}", (index * 7) % 23);
        let mut line = match random.below(12) {
            0 => visitor(device),
            1 => customer(who),
            2 | 3 if merges && who != "3" => {
                let into = if who == "1" { "2" } else { "3" };
                json!({ "customer_id": who, "type": "merged", "properties": { "into": into } })
            }
            _ => {
                let login = (at, id.clone(), format!("c:{who}"));
                let known = last.entry(format!("a:{device}")).or_insert(login.clone());
                *known = login.max(known.clone());
                both(who, device)
            }
        };
        line["event_id"] = id.into();
        line["event_time"] = json!(at);
        if line.get("type").is_none() {
            line["type"] = "page_viewed".into();
        }
        lines.push(line);
    }
    let read = lines.len() as u64;
    // Sometimes nothing is delivered before all is read, sometimes nearly all.
    let pace = random.below(4);
    while !lines.is_empty() {
        let index = usize::try_from(random.below(lines.len() as u64)).unwrap();
        let line = lines.swap_remove(index);
        world.event(&line);
        for _ in 0..random.below(1 + 4 * pace) {
            let partition = usize::try_from(random.below(PARTITIONS as u64)).unwrap();
            world.deliver(partition);
        }
    }
    world.drain(random);
    (world, last, read)
}

#[test]
fn in_any_interleaving_a_device_follows_its_last_login() {
    let mut changed = 0;
    for seed in seeds(walks() / 5) {
        let (world, last, read) = rivals(&mut Random(seed));
        let alias = |key: &str| {
            let profile = world.profiles.get(&ProfileKey::parse(key).unwrap());
            profile.and_then(|profile| profile.links.alias.clone())
        };
        let end = |key: &str| {
            let mut key = key.to_owned();
            while let Some(alias) = alias(&key) {
                key = alias.into;
            }
            key
        };
        for (device, (at, id, owner)) in &last {
            let owner = end(owner);
            assert_eq!(end(device), owner, "seed {seed}: {device}, {at} {id}");
            changed += u32::from(owner != "c:1");
        }
        let profiles = world.profiles.values();
        let folded: u64 = profiles.map(|profile| profile.activity.events).sum();
        assert_eq!(
            folded, read,
            "seed {seed}: every event stands in one profile"
        );
        if seed % 64 == 0 {
            world.check_stored();
        }
    }
    assert!(changed > 0);
}
