//! An application of several partitions, driven through `step` alone: what one forwards to another arrives in any interleaving.

#![allow(dead_code, reason = "each test crate uses its part")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};
use tidegate::decision::{Message, Verdict, VerdictKind, Why};
use tidegate::engine::forward::{Forward, Matter};
use tidegate::engine::{Input, Ledger, Plan, Stepped, profile_of, step};
use tidegate::event::{DecodeContext, DecodeRules, Origin, json as event_json};
use tidegate::flow::FlowSet;
use tidegate::partitioner::partition;
use tidegate::policy::Policy;
use tidegate::profile::{Profile, SectionId};
use tidegate::value::{ProfileKey, Span, Timestamp};

use crate::shop::{flows, open_policy, shipped};

pub(crate) const PARTITIONS: i32 = 5;

/// splitmix64 (Steele, Lea & Flood, OOPSLA 2014): a seed is an interleaving.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
    pub(crate) fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
    pub(crate) fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[usize::try_from(self.below(list.len() as u64)).unwrap()]
    }
}

/// An application of several partitions: what one forwards waits in the queue of the other until it is delivered.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) rules: DecodeRules,
    pub(crate) ledger: Ledger,
    pub(crate) profiles: BTreeMap<ProfileKey, Profile>,
    pub(crate) stored: BTreeMap<ProfileKey, BTreeMap<(SectionId, u8), Vec<u8>>>,
    pub(crate) queues: Vec<VecDeque<Forward>>,
    pub(crate) clock: Timestamp,
    pub(crate) offset: i64,
    pub(crate) verdicts: Vec<Verdict>,
    /// Deliveries, and hand-overs among what was forwarded.
    pub(crate) delivered: u32,
    pub(crate) handed: u32,
    pub(crate) unattributed: u32,
    /// Dropped because of an erasure.
    pub(crate) erased: u32,
}

impl World {
    pub(crate) fn new(flows: FlowSet, policy: Policy) -> Self {
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
            erased: 0,
        }
    }

    pub(crate) fn shipped() -> Self {
        let policy = open_policy();
        Self::new(flows(&shipped(), &policy), policy)
    }

    pub(crate) fn send(&mut self, forwards: Vec<Forward>) {
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

    pub(crate) fn step(&mut self, key: &ProfileKey, input: Input<'_>) -> Stepped {
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
        self.erased += stepped.counts.erased;
        let stored = self.stored.entry(key.clone()).or_default();
        profile.take_changes(&mut |section, chunk, value| match value {
            Some(value) => drop(stored.insert((section, chunk), value.to_vec())),
            None => assert!(stored.remove(&(section, chunk)).is_some()),
        });
        stepped
    }

    /// Every profile reads back as it is, its timer included (TM-2).
    pub(crate) fn check_stored(&self) {
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
    pub(crate) fn event(&mut self, line: &Value) {
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
    pub(crate) fn deliver(&mut self, partition: usize) -> bool {
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

    pub(crate) fn drain(&mut self, random: &mut Random) {
        while self.queues.iter().any(|queue| !queue.is_empty()) {
            let partition = usize::try_from(random.below(PARTITIONS as u64)).unwrap();
            self.deliver(partition);
        }
    }

    pub(crate) fn settle(&mut self) {
        self.drain(&mut Random(0));
    }

    pub(crate) fn run_to(&mut self, until: Timestamp) {
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
    pub(crate) fn at(&mut self, time: &str, who: &Value, kind: &str, properties: Value) {
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

    pub(crate) fn profile(&self, key: &str) -> &Profile {
        &self.profiles[&ProfileKey::parse(key).unwrap()]
    }

    pub(crate) fn told(&self, kind: VerdictKind) -> Vec<String> {
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

pub(crate) fn visitor(id: &str) -> Value {
    json!({ "anonymous_id": id })
}
pub(crate) fn customer(id: &str) -> Value {
    json!({ "customer_id": id })
}
pub(crate) fn both(customer: &str, visitor: &str) -> Value {
    json!({ "customer_id": customer, "anonymous_id": visitor })
}
pub(crate) fn reachable() -> Value {
    json!({ "addresses": { "email": "c@shop.test", "push": "token" }, "consents": { "email": true, "push": true } })
}
pub(crate) fn product(cart: &str, product: &str) -> Value {
    json!({ "cart_id": cart, "product_id": product, "quantity": 1, "price": "50.00" })
}

/// Everything of a profile but what tells where it has been.
pub(crate) fn content(profile: &Profile) -> Value {
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
        .flat_map(|block| {
            block.on.iter().map(|on| {
                format!(
                    "{:?} {:?} {:?} {:?} {}",
                    block.reason, block.until, block.order_id, block.scopes, on.channel
                )
            })
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
pub(crate) fn difference(one: &Value, other: &Value) -> Vec<String> {
    let parts = one.as_object().unwrap().iter();
    parts
        .filter(|(part, value)| other[*part] != **value)
        .map(|(part, value)| format!("{part}: {value}\n   known: {}", other[part]))
        .collect()
}

/// What the customer heard, when, and what was taken back.
pub(crate) fn heard(world: &World) -> BTreeSet<String> {
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
pub(crate) fn life(random: &mut Random) -> Vec<(Span, Value)> {
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

/// What one customer on two devices forbids and, if `grants`, allows again, within hours; in the end both devices are theirs.
pub(crate) fn words(random: &mut Random, grants: bool) -> Vec<(Span, Value)> {
    let mut acts = Vec::new();
    let everywhere =
        json!({ "addresses": { "email": "c@shop.test", "sms": "+491", "push": "token" } });
    let mut put = |minute: u64, mut line: Value, kind: &str, properties: Value| {
        line["event_id"] = format!("e{}", acts.len()).into();
        line["type"] = kind.into();
        line["source"] = "web".into();
        line["properties"] = properties;
        acts.push((Span::from_minutes(i64::try_from(minute).unwrap()), line));
    };
    put(0, customer("7"), "identified", everywhere);
    let mut minute = 0;
    for _ in 0..3 + random.below(10) {
        minute += 1 + random.below(20);
        let device = *random.of(&["v1", "v2"]);
        let who = match random.below(8) {
            0 | 1 => customer("7"),
            2 => both("7", device),
            _ => visitor(device),
        };
        let (channel, address) = *random.of(&[
            ("email", "C@shop.test"),
            ("sms", "+49 1"),
            ("push", "token"),
        ]);
        let (kind, properties) = match random.below(if grants { 10 } else { 7 }) {
            0 | 1 => (
                "unsubscribed",
                json!({ "channel": channel, "scope": "channel" }),
            ),
            2 => (
                "unsubscribed",
                json!({ "channel": channel, "scope": "list", "list": "offers" }),
            ),
            3 => (
                "consent_changed",
                json!({ "channel": channel, "state": "denied" }),
            ),
            4 => ("bounced", json!({ "channel": channel, "address": address })),
            5 => (
                "complained",
                json!({ "channel": channel, "address": address }),
            ),
            6 => (
                "unsubscribed",
                json!({ "channel": channel, "scope": "all" }),
            ),
            7 | 8 => (
                "consent_changed",
                json!({ "channel": channel, "state": "granted" }),
            ),
            _ => (
                "consent_changed",
                json!({ "channel": channel, "list": "offers", "state": "granted" }),
            ),
        };
        put(minute, who, kind, properties);
    }
    for device in ["v1", "v2"] {
        minute += 1;
        put(minute, both("7", device), "page_viewed", json!({}));
    }
    acts
}

pub(crate) fn start() -> Timestamp {
    Timestamp::parse("2026-03-02T08:00:00Z").unwrap()
}

/// Plays a life: what is forwarded arrives at any time before the next pause of a day, in any interleaving.
pub(crate) fn play(
    acts: &[(Span, Value)],
    random: &mut Random,
    known_from_the_start: bool,
) -> World {
    let mut world = World::shipped();
    play_on(&mut world, start(), acts, random, known_from_the_start);
    world.drain(random);
    world.check_stored();
    world
}

/// The same in a world that goes on: what is forwarded last is still on its way.
pub(crate) fn play_on(
    world: &mut World,
    from: Timestamp,
    acts: &[(Span, Value)],
    random: &mut Random,
    known_from_the_start: bool,
) {
    for (index, (after, line)) in acts.iter().enumerate() {
        let at = from.plus(*after);
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
}

/// Customers and visitors who log in and merge in every way.
pub(crate) fn crowd(random: &mut Random) -> (World, BTreeMap<String, String>, u64) {
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
