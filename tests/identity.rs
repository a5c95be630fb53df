//! Who is who: logins, hand-overs, merges, addresses, over several partitions whose records arrive in any interleaving (product.md §4a).
//! `TIDEGATE_WALKS` says how many interleavings; a failure names its seed.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken test should stop there"
)]

mod shop;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};
use shop::{flows, open_policy, shipped};
use tidegate::decision::{Message, Reason, Verdict, VerdictKind, Why};
use tidegate::engine::forward::{Forward, Matter};
use tidegate::engine::{Input, Ledger, Plan, Stepped, profile_of, step};
use tidegate::event::{DecodeContext, DecodeRules, Origin, json as event_json};
use tidegate::flow::FlowSet;
use tidegate::partitioner::partition;
use tidegate::policy::Policy;
use tidegate::profile::{Profile, SectionId};
use tidegate::value::{ProfileKey, Span, Timestamp};

/// Interleavings of one run: the contract's number.
const WALKS: u64 = 100_000;
/// Of them, those in which a whole customer with flows is compared with one known from the start.
const CUSTOMERS: u64 = 10;
const PARTITIONS: i32 = 5;

/// splitmix64 (Steele, Lea & Flood, OOPSLA 2014): a seed is an interleaving.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[usize::try_from(self.below(list.len() as u64)).unwrap()]
    }
}

/// An application of several partitions: what one forwards waits in the queue of the other until it is delivered.
struct World {
    plan: Plan,
    rules: DecodeRules,
    ledger: Ledger,
    profiles: BTreeMap<ProfileKey, Profile>,
    stored: BTreeMap<ProfileKey, BTreeMap<(SectionId, u8), Vec<u8>>>,
    queues: Vec<VecDeque<Forward>>,
    clock: Timestamp,
    offset: i64,
    verdicts: Vec<Verdict>,
    /// Deliveries, and hand-overs among what was forwarded.
    delivered: u32,
    handed: u32,
    unattributed: u32,
}

impl World {
    fn new(flows: FlowSet, policy: Policy) -> Self {
        Self {
            rules: DecodeRules::of_shop(&policy.currency),
            plan: Plan { flows, policy },
            ledger: Ledger::new(0),
            profiles: BTreeMap::new(),
            stored: BTreeMap::new(),
            queues: (0..PARTITIONS).map(|_| VecDeque::new()).collect(),
            clock: Timestamp::ZERO,
            offset: 0,
            verdicts: Vec::new(),
            delivered: 0,
            handed: 0,
            unattributed: 0,
        }
    }

    fn shipped() -> Self {
        let policy = open_policy();
        Self::new(flows(&shipped(), &policy), policy)
    }

    fn send(&mut self, forwards: Vec<Forward>) {
        for forward in forwards {
            self.handed += u32::from(matches!(forward.matter, Matter::Handover { .. }));
            // As it would lie in the topic.
            let bytes = forward.encode(&self.rules.currencies);
            let read = Forward::decode(&bytes, &self.rules).unwrap();
            assert!(
                read == forward,
                "a forwarded record differs from what was written"
            );
            let to = partition(read.to.id().as_bytes(), PARTITIONS);
            self.queues[usize::try_from(to).unwrap()].push_back(read);
        }
    }

    fn step(&mut self, key: &ProfileKey, input: Input<'_>) -> Stepped {
        let profile = self
            .profiles
            .entry(key.clone())
            .or_insert_with(|| Profile::new(key.clone()));
        let stepped = step(
            &self.plan,
            &mut self.ledger,
            profile,
            input,
            self.clock,
            &mut self.verdicts,
        );
        let stored = self.stored.entry(key.clone()).or_default();
        profile.take_changes(&mut |section, chunk, value| match value {
            Some(value) => drop(stored.insert((section, chunk), value.to_vec())),
            None => assert!(stored.remove(&(section, chunk)).is_some()),
        });
        stepped
    }

    /// Every profile reads back as it is, its timer included (TM-2).
    fn check_stored(&self) {
        for (key, profile) in &self.profiles {
            let mut restored = Profile::new(key.clone());
            for ((section, chunk), value) in &self.stored[key] {
                restored.put_section(*section, *chunk, value).unwrap();
            }
            assert!(restored == *profile, "a restored profile differs");
            let running = self.stored[key].get(&(SectionId::Running, 0));
            let due = running.and_then(|value| Profile::due_of_stored(value));
            assert_eq!(due, profile.next_due());
        }
    }

    /// One record of a direct input, at the clock.
    fn event(&mut self, line: &Value) {
        let context = DecodeContext {
            rules: &self.rules,
            record_timestamp: Some(self.clock),
        };
        let line = line.to_string();
        let event = event_json::decode(line.as_bytes(), &context).unwrap_or_else(|e| panic!("{e}"));
        let origin = Origin {
            topic: "t".into(),
            partition: 0,
            offset: self.offset,
            timestamp: self.clock,
        };
        self.offset += 1;
        let key = profile_of(&self.plan, &event).unwrap();
        if key.is_address() {
            let matter = Matter::Event {
                event: Box::new(event),
                origin,
                history: false,
            };
            self.send(vec![Forward::new(key, matter)]);
            return;
        }
        let input = Input::Event {
            event: &event,
            origin: &origin,
            history: false,
        };
        let stepped = self.step(&key, input);
        self.send(stepped.forwards);
    }

    /// The oldest record of one partition of `<app>-events`; false when it is empty.
    fn deliver(&mut self, partition: usize) -> bool {
        let Some(forward) = self.queues[partition].pop_front() else {
            return false;
        };
        self.delivered += 1;
        assert!(self.delivered < 10_000, "ID-1: forwarding does not end");
        let stepped = self.step(&forward.to.clone(), Input::Forward(&forward));
        self.unattributed += stepped.counts.unattributed;
        self.send(stepped.forwards);
        true
    }

    fn drain(&mut self, random: &mut Random) {
        while self.queues.iter().any(|queue| !queue.is_empty()) {
            let partition = usize::try_from(random.below(PARTITIONS as u64)).unwrap();
            self.deliver(partition);
        }
    }

    fn settle(&mut self) {
        self.drain(&mut Random(0));
    }

    fn run_to(&mut self, until: Timestamp) {
        loop {
            let timers = self.profiles.iter();
            let next = timers
                .filter_map(|(key, profile)| Some((profile.next_due()?, key.clone())))
                .min();
            let Some((due, key)) = next.filter(|(due, _)| *due <= until) else {
                break;
            };
            self.clock = self.clock.max(due);
            self.step(&key, Input::Timer);
        }
        self.clock = self.clock.max(until);
    }

    /// Runs to then, and reads.
    fn at(&mut self, time: &str, who: &Value, kind: &str, properties: Value) {
        let at = Timestamp::parse(time).unwrap();
        self.run_to(at);
        let mut line = who.clone();
        line["event_id"] = format!("e{}", self.offset).into();
        line["type"] = kind.into();
        line["event_time"] = json!(at);
        line["source"] = "web".into();
        line["properties"] = properties;
        self.event(&line);
    }

    fn profile(&self, key: &str) -> &Profile {
        &self.profiles[&ProfileKey::parse(key).unwrap()]
    }

    fn told(&self, kind: VerdictKind) -> Vec<String> {
        self.verdicts
            .iter()
            .filter(|verdict| verdict.kind == kind)
            .map(|verdict| {
                let flow = verdict.place.as_ref().map_or("", |place| &*place.flow);
                let channel = verdict.channel.as_deref().unwrap_or_default();
                let route = verdict.route.as_ref().unwrap_or(&verdict.profile);
                format!(
                    "{} {} {flow} {channel} {}",
                    verdict.decided_at,
                    route.as_str(),
                    verdict.why.name()
                )
            })
            .collect()
    }
}

fn visitor(id: &str) -> Value {
    json!({ "anonymous_id": id })
}
fn customer(id: &str) -> Value {
    json!({ "customer_id": id })
}
fn both(customer: &str, visitor: &str) -> Value {
    json!({ "customer_id": customer, "anonymous_id": visitor })
}
fn reachable() -> Value {
    json!({ "addresses": { "email": "c@shop.test", "push": "token" }, "consents": { "email": true, "push": true } })
}
fn product(cart: &str, product: &str) -> Value {
    json!({ "cart_id": cart, "product_id": product, "quantity": 1, "price": "50.00" })
}

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

/// Everything of a profile but what tells where it has been.
fn content(profile: &Profile) -> Value {
    let mut view = profile.view();
    for gone in ["profile", "links", "contacts", "history"] {
        view.as_object_mut().unwrap().remove(gone);
    }
    for gone in ["first_seen", "anonymous_id"] {
        view["person"].as_object_mut().unwrap().remove(gone);
    }
    let contacts = profile.contacts.iter();
    let mut contacts: Vec<String> = contacts
        .map(|contact| {
            format!(
                "{} {:?} {} {} {}",
                contact.handed_at,
                contact.flow,
                contact.step,
                contact.instance,
                contact.status()
            )
        })
        .collect();
    contacts.sort();
    view["contacts"] = json!(contacts);
    let mut blocks: Vec<String> = profile
        .blocks(Timestamp::ZERO)
        .map(|block| {
            format!(
                "{:?} {:?} {:?} {:?}",
                block.reason, block.until, block.order_id, block.scopes
            )
        })
        .collect();
    blocks.sort();
    view["blocks"] = json!(blocks);
    let sort = |list: &mut Value| list.as_array_mut().unwrap().sort_by_key(Value::to_string);
    for cart in view["carts"].as_array_mut().unwrap() {
        // A cart that was closed and filled again is as old as its first line; told late, an order leaves it the older time.
        cart.as_object_mut().unwrap().remove("created");
        sort(&mut cart["lines"]);
    }
    for list in ["carts", "closed_carts"] {
        sort(&mut view[list]);
    }
    for list in ["addresses", "consents"] {
        sort(&mut view["reach"][list]);
    }
    sort(&mut view["journal"]["views"]);
    // How many old keys are forgotten with a chunk depends on how they are chunked.
    view["journal"]
        .as_object_mut()
        .unwrap()
        .remove("dedup_keys");
    // An order of the other side ends an instance when it is told, and the next event begins another; here the one goes on, and ends by
    // the time of its first event.
    let of = |instance: &Value| {
        let due = (instance["phase"] == "waiting").then(|| instance["due"].clone());
        json!([
            instance["flow"],
            instance["instance"],
            due,
            instance["phase"],
            instance["step"]
        ])
    };
    let running: Vec<Value> = view["running"].as_array().unwrap().iter().map(of).collect();
    view["running"] = json!(running);
    sort(&mut view["running"]);
    view
}

/// The parts in which the two differ.
fn difference(one: &Value, other: &Value) -> Vec<String> {
    let parts = one.as_object().unwrap().iter();
    parts
        .filter(|(part, value)| other[*part] != **value)
        .map(|(part, value)| format!("{part}: {value}\n   known: {}", other[part]))
        .collect()
}

/// What the customer heard, when, and what was taken back.
fn heard(world: &World) -> BTreeSet<String> {
    let told = world.verdicts.iter().filter(|verdict| {
        matches!(verdict.kind, VerdictKind::Send | VerdictKind::Cancel) && verdict.message.is_some()
    });
    told.map(|verdict| {
        let place = verdict
            .place
            .as_ref()
            .map(|place| (place.flow.clone(), place.instance.clone(), place.step));
        // A cancel leaves when its cause is known, and that is when it was forwarded.
        let (why, at) = match &verdict.message {
            Some(Message::Cancel { .. }) => (verdict.why.clone(), Timestamp::ZERO),
            Some(_) | None => (Why::Flow("".into()), verdict.decided_at),
        };
        format!(
            "{} {:?} {:?} {place:?} {}",
            at,
            verdict.kind,
            verdict.channel,
            why.name()
        )
    })
    .collect()
}

/// One customer on two devices: what they do within a few minutes, and which ids the record of it shows.
fn life(random: &mut Random) -> Vec<(Span, Value)> {
    let mut acts = Vec::new();
    let mut minute = 0;
    let mut logged_in = BTreeSet::new();
    let known = json!({ "addresses": { "email": "c@shop.test", "push": "token" }, "consents": { "email": true, "push": true } });
    let put = |acts: &mut Vec<(Span, Value)>,
               minute: i64,
               mut line: Value,
               kind: &str,
               properties: Value| {
        line["event_id"] = format!("e{}", acts.len()).into();
        line["type"] = kind.into();
        line["source"] = "web".into();
        line["properties"] = properties;
        acts.push((Span::from_minutes(minute), line));
    };
    put(&mut acts, 0, customer("7"), "identified", known);
    for _ in 0..4 + random.below(14) {
        minute += 1 + i64::try_from(random.below(4)).unwrap();
        if random.one_in(6) && logged_in.len() == 2 {
            // The next day: everything that was due has been sent. Before the login it would have been due with a visitor nobody can reach.
            minute += 24 * 60;
        }
        let device = *random.of(&["v1", "v2"]);
        let who = match random.below(6) {
            0 => customer("7"),
            1 => {
                logged_in.insert(device);
                both("7", device)
            }
            _ => visitor(device),
        };
        // Each its own: a line keeps one time, so of one product put in before and after an order that is told late both stay.
        let p = format!("p{}", acts.len());
        // One cart for all devices: of two in one exclusive group the one that is told first runs, and what is forwarded is told later.
        let cart = "k";
        // Nobody signs up without becoming a customer.
        let is_visitor = who.get("customer_id").is_none();
        let (kind, properties) = match random.below(if is_visitor { 7 } else { 8 }) {
            0..3 => ("product_added", product(cart, &p)),
            3 | 4 => (
                "product_viewed",
                json!({ "product_id": p, "category": "a/b" }),
            ),
            5 => (
                "order_completed",
                json!({ "order_id": format!("o{}", acts.len()), "cart_id": cart, "products": [{ "product_id": p, "price": "50.00" }] }),
            ),
            6 => ("page_viewed", json!({})),
            _ => ("signed_up", json!({})),
        };
        put(&mut acts, minute, who, kind, properties);
    }
    for device in ["v1", "v2"] {
        if !logged_in.contains(device) {
            minute += 1;
            put(
                &mut acts,
                minute,
                both("7", device),
                "page_viewed",
                json!({}),
            );
        }
    }
    acts
}

fn start() -> Timestamp {
    Timestamp::parse("2026-03-02T08:00:00Z").unwrap()
}

/// Plays a life: what is forwarded arrives at any time before the next pause of a day, in any interleaving.
fn play(acts: &[(Span, Value)], random: &mut Random, known_from_the_start: bool) -> World {
    let mut world = World::shipped();
    for (index, (after, line)) in acts.iter().enumerate() {
        let at = start().plus(*after);
        if at.since(world.clock) > Span::from_hours(1) {
            world.drain(random);
        }
        world.run_to(at);
        let mut line = line.clone();
        line["event_time"] = json!(at);
        if known_from_the_start {
            line["customer_id"] = "7".into();
        }
        world.event(&line);
        while !known_from_the_start && index % 2 == 0 && random.one_in(2) {
            let partition = usize::try_from(random.below(PARTITIONS as u64)).unwrap();
            world.deliver(partition);
        }
    }
    world.drain(random);
    world.check_stored();
    world
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

/// Customers and visitors who log in and merge in every way.
fn crowd(random: &mut Random) -> (World, BTreeMap<String, String>, u64) {
    let mut world = World::new(FlowSet::default(), open_policy());
    let customers = ["1", "2", "3", "4", "5"];
    let visitors = ["v", "w"];
    // Union of what was merged, by any member.
    let mut group: BTreeMap<String, String> =
        customers.map(|id| (id.to_owned(), id.to_owned())).into();
    let mut read = 0;
    for index in 0..6 + random.below(20) {
        world.clock = start().plus(Span::from_minutes(i64::try_from(index * 10).unwrap()));
        // Late and early: the order of reading is not that of happening.
        let at = world
            .clock
            .minus(Span::from_minutes(i64::try_from(random.below(60)).unwrap()));
        let (one, other) = (*random.of(&customers), *random.of(&customers));
        let device = *random.of(&visitors);
        let mut line = match random.below(5) {
            0 | 1 => {
                let (from, into) = (group[one].clone(), group[other].clone());
                for of in group.values_mut() {
                    if *of == from {
                        of.clone_from(&into);
                    }
                }
                json!({ "customer_id": one, "type": "merged", "properties": { "into": other } })
            }
            2 => json!({ "customer_id": one, "anonymous_id": device, "type": "page_viewed" }),
            3 => json!({ "anonymous_id": device, "type": "page_viewed" }),
            _ => json!({ "customer_id": one, "type": "page_viewed" }),
        };
        line["event_id"] = format!("e{index}").into();
        line["event_time"] = json!(at);
        world.event(&line);
        read += 1;
        while random.one_in(2) {
            let partition = usize::try_from(random.below(PARTITIONS as u64)).unwrap();
            world.deliver(partition);
        }
    }
    world.drain(random);
    (world, group, read)
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
