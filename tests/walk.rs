//! Random walks: a customer who does anything in any order, a sender who obeys (product.md §3a), lags or crashes, and a checker that shares
//! no line with the engine. `TIDEGATE_WALKS` says how many; a failure names its seed.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken test should stop there"
)]

mod shop;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use shop::{Shop, flows, open_policy};
use tidegate::decision::{DecisionId, Message, Verdict, VerdictKind};
use tidegate::engine::{Input, Plan, step};
use tidegate::flow::{Class, FlowSet};
use tidegate::policy::{
    Cap, CapScope, ChannelMode, MinuteOfDay, Policy, QuietHours, QuietRule, Window,
};
use tidegate::profile::person::control_bucket;
use tidegate::profile::running::{DueTimer, Phase};
use tidegate::value::{ProfileKey, Span, Timestamp};

/// Walks of one run: the contract's number.
const WALKS: u64 = 100_000;
/// Things that happen in one walk.
const STEPS: u64 = 24;

const FLOWS: [&str; 5] = [
    "flow: cart\nclass: marketing\nlist: offers\npriority: 60\nexclusive_group: g\ninstance: cart_id\n\
     enter: { events: [product_added, cart_updated] }\nafter: 1h\n\
     exit:\n  - { events: [order_completed], relevant: cart, reason: purchased_relevant }\n\
     reenter: always\nexpires: 3d\nmax_age: 1d\noffer: { id: \"cart:${cart_id}\", discount: true }\n\
     steps:\n  - { channel: email, template: c1, success: clicked, within: 24h, on_cap: replace }\n\
     \x20 - { channel: push, template: c2, success: opened, within: 6h }\n  - { channel: sms, template: c3 }\n",
    "flow: browse\nclass: marketing\nlist: offers\npriority: 30\nexclusive_group: g\ninstance: customer\n\
     enter: { events: [product_viewed] }\nafter: 30m\nreenter: always\nexpires: 1d\nmax_age: 1d\n\
     steps:\n  - { channel: push, template: b1, success: opened, within: 2h, on_cap: drop }\n\
     \x20 - { channel: email, template: b2, on_cap: drop }\n",
    "flow: urgent\nclass: marketing\nlist: offers\npriority: 90\ninstance: customer\n\
     enter: { events: [checkout_started] }\nafter: 15m\nreenter: always\nexpires: 2d\nmax_age: 1d\n\
     steps:\n  - { channel: sms, template: u1, success: delivered, within: 1h, on_cap: replace }\n\
     \x20 - { channel: email, template: u2, on_cap: replace }\n",
    "flow: parcel\nclass: service\nlist: orders\ninstance: order_id\nenter: { events: [order_shipped] }\nafter: 0s\n\
     exit:\n  - { events: [order_cancelled], reason: order_cancelled }\nexpires: 1d\nmax_age: 1d\n\
     steps:\n  - { channel: email, template: p1 }\n",
    "flow: open\nclass: marketing\nlist: offers\npriority: 40\ninstance: customer\nenter: { events: [cart_viewed] }\nafter: 10m\n\
     reenter: always\nexpires: 2d\nmax_age: 1d\n\
     steps:\n  - { channels: [push, email], template: o1, success: opened, within: 2h }\n\
     \x20 - { channel: any, template: o2, success: delivered, within: 2h }\n  - { channel: any, template: o3 }\n",
];

/// splitmix64 (Steele, Lea & Flood, OOPSLA 2014): a seed is a walk.
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
    fn minutes(&mut self, limit: u64) -> Span {
        Span::from_minutes(i64::try_from(self.below(limit)).unwrap())
    }
    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

const NIGHT: (u32, u32) = (21 * 60, 9 * 60);

fn random_mode(random: &mut Random) -> ChannelMode {
    match random.below(10) {
        0 => ChannelMode::Stopped,
        1 => ChannelMode::Support,
        _ => ChannelMode::Active,
    }
}

fn random_policy(random: &mut Random) -> Policy {
    let mut policy = open_policy();
    let cap = |scope, limit, window| Cap {
        scope,
        limit,
        window,
    };
    let all = [
        cap(
            CapScope::Channel("email".into()),
            1,
            Window::Rolling(Span::from_hours(16)),
        ),
        cap(CapScope::Channel("sms".into()), 1, Window::Weeks(1)),
        cap(
            CapScope::Channel("push".into()),
            2,
            Window::Rolling(Span::from_hours(24)),
        ),
        cap(CapScope::Class(Class::Marketing), 2, Window::Days(1)),
        cap(CapScope::Any, 4, Window::Weeks(1)),
        cap(CapScope::Any, 5, Window::Rolling(Span::from_days(9))),
        cap(CapScope::Channel("push".into()), 3, Window::Weeks(2)),
        cap(CapScope::Class(Class::Marketing), 6, Window::Days(10)),
        cap(CapScope::Discount, 1, Window::Rolling(Span::from_days(2))),
    ];
    policy.caps = all.into_iter().filter(|_| random.one_in(2)).collect();
    policy.min_gap = if random.one_in(2) {
        Span::from_minutes(30)
    } else {
        Span::ZERO
    };
    policy.same_message = if random.one_in(2) {
        Span::from_hours(18)
    } else {
        Span::ZERO
    };
    policy.control_group = [0, 0, 5_000, 10_000][usize::try_from(random.below(4)).unwrap()];
    policy.purchase_cooloff = if random.one_in(3) {
        Span::from_days(1)
    } else {
        Span::ZERO
    };
    policy.control_salt = "walk".to_owned();
    if random.one_in(2) {
        "Europe/Berlin".clone_into(&mut policy.time_zone);
    }
    for channel in policy.channels.values_mut() {
        channel.cost = i64::try_from(random.below(3)).unwrap() * 1_000;
        channel.mode = random_mode(random);
        if random.one_in(2) {
            channel.quiet_hours = vec![QuietRule::daily(QuietHours {
                from: MinuteOfDay(NIGHT.0),
                to: MinuteOfDay(NIGHT.1),
            })];
        }
    }
    policy
}

/// A contact as the decision log and the receipts alone tell it.
struct Known {
    at: Timestamp,
    flow: Option<(String, String)>,
    version: Option<String>,
    step: u32,
    channel: String,
    class: Class,
    discount: bool,
    observed: bool,
    not_before: Timestamp,
    send_by: Timestamp,
    /// When its cancel became readable.
    cancelled: Option<Timestamp>,
    replaced: bool,
    sent: bool,
    withheld: bool,
    failed: bool,
}

impl Known {
    fn holds_slot(&self) -> bool {
        if self.sent {
            !self.failed
        } else {
            !(self.failed || self.withheld || self.replaced)
        }
    }
    fn is_pending(&self) -> bool {
        !self.observed && !self.sent && !self.withheld && !self.failed && self.cancelled.is_none()
    }
}

/// How a sender behaves. All of them read to the end before they send, and remember what they sent.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Obedient,
    Lagging,
    Crashing,
}

struct Walk<'a> {
    seed: u64,
    /// The flows as they are, and as they are after somebody changed them.
    sets: &'a [FlowSet; 2],
    /// Taken out of force.
    removed: BTreeSet<&'static str>,
    random: Random,
    shop: Shop,
    manner: Manner,
    customer: String,
    clock: Timestamp,
    events: u32,
    /// By decision, in the order of decisions.
    known: BTreeMap<DecisionId, Known>,
    order: Vec<DecisionId>,
    looked: usize,
    /// What the sender has read and not settled; a crash forgets it, and it is read again.
    outbox: BTreeSet<DecisionId>,
    /// Durable at the sender.
    settled: BTreeSet<DecisionId>,
    /// Cancels answered.
    answered: BTreeSet<DecisionId>,
    /// By flow and instance: which contacts are of its present run, from this one on.
    begun: BTreeMap<(String, String), usize>,
}

/// What the wall's clock shows, as if it were UTC: in Berlin an hour more, two from 2026-03-29 to 2026-10-25, each 01:00 UTC.
fn wall(at: Timestamp, zone: &str) -> i64 {
    let summer = Timestamp::parse("2026-03-29T01:00:00Z").unwrap();
    let winter = Timestamp::parse("2026-10-25T01:00:00Z").unwrap();
    let hours = match zone {
        "UTC" => 0,
        _ if summer <= at && at < winter => 2,
        _ => 1,
    };
    at.millis() + hours * 3_600_000
}
fn minute_of_day(at: Timestamp, zone: &str) -> u32 {
    u32::try_from(wall(at, zone) / 60_000 % 1_440).unwrap()
}
fn day(at: Timestamp, zone: &str) -> i64 {
    wall(at, zone) / 86_400_000
}
/// 1970-01-05 was a Monday.
fn week(at: Timestamp, zone: &str) -> i64 {
    (day(at, zone) - 4).div_euclid(7)
}

impl<'a> Walk<'a> {
    fn new(seed: u64, sets: &'a [FlowSet; 2]) -> Self {
        let mut random = Random(seed);
        let policy = random_policy(&mut random);
        let manner = [Manner::Obedient, Manner::Lagging, Manner::Crashing]
            [usize::try_from(random.below(3)).unwrap()];
        let mut shop = Shop::new(Plan {
            flows: sets[0].clone(),
            policy,
        });
        shop.is_checked = false;
        let customer = format!("c{seed}");
        // One of quiet days, one into the night that has no third hour, one into the night that has it twice.
        let begins = [
            "2026-03-02T08:00:00Z",
            "2026-03-27T08:00:00Z",
            "2026-10-23T08:00:00Z",
        ];
        let begin = begins[usize::try_from(random.below(3)).unwrap()];
        let clock = Timestamp::parse(begin).unwrap();
        let mut walk = Self {
            seed,
            sets,
            removed: BTreeSet::new(),
            random,
            shop,
            manner,
            customer,
            clock,
            events: 0,
            known: BTreeMap::new(),
            order: Vec::new(),
            looked: 0,
            outbox: BTreeSet::new(),
            settled: BTreeSet::new(),
            answered: BTreeSet::new(),
            begun: BTreeMap::new(),
        };
        let known = json!({ "addresses": { "email": "c@shop.test", "push": "token", "sms": "+491" },
                            "consents": { "email": true, "push": true, "sms": true } });
        walk.tell("identified", clock, known);
        walk
    }

    fn tell(&mut self, kind: &str, event_time: Timestamp, properties: Value) {
        self.events += 1;
        let event = json!({ "event_id": format!("e{}", self.events), "type": kind, "event_time": event_time, "customer_id": self.customer,
                            "source": "walk", "properties": properties });
        let clock = self.clock;
        self.shop.event(&event.to_string(), Some(clock), false);
        self.look();
    }

    /// Something that the customer does, perhaps told late.
    fn act(&mut self) {
        let late = if self.random.one_in(4) {
            self.random.minutes(120)
        } else {
            Span::ZERO
        };
        let at = self.clock.minus(late);
        let cart = format!("k{}", self.random.below(2));
        let order = format!("o{}", self.events);
        let parcel = format!("s{}", self.random.below(6));
        let product = json!({ "product_id": format!("p{}", self.random.below(3)), "price": "40.00", "cart_id": cart });
        match self.random.below(13) {
            0..=2 => self.tell("product_added", at, product),
            3 | 4 => self.tell("product_viewed", at, product),
            5 | 6 => self.tell("checkout_started", at, json!({ "cart_id": cart })),
            7 => {
                self.tell("order_completed", at, json!({ "order_id": order, "cart_id": cart, "products": [{ "product_id": "p0" }] }));
                self.check_ended(&cart, at);
            }
            8 => self.tell("order_shipped", at, json!({ "order_id": parcel })),
            9 => self.tell("order_cancelled", at, json!({ "order_id": parcel })),
            11 => self.tell("cart_viewed", at, json!({ "cart_id": cart })),
            10 => {
                let state = if self.random.one_in(2) {
                    "granted"
                } else {
                    "denied"
                };
                self.tell(
                    "consent_changed",
                    at,
                    json!({ "channel": "push", "state": state }),
                );
            }
            _ => {
                let request = json!({ "request_id": format!("q{}", self.events), "campaign": "news", "channels": ["push", "email"],
                                      "template": format!("n{}", self.random.below(3)), "class": "marketing", "list": "offers" });
                self.tell("send_requested", at, request);
            }
        }
    }

    /// Nothing relevant runs on after a purchase of its cart, and nothing of it is still with a sender uncancelled.
    fn check_ended(&self, cart: &str, at: Timestamp) {
        let profile = &self.shop.profiles[&ProfileKey::customer(&self.customer)];
        // A flow out of force ends its instances when they are due.
        if self.removed.contains("cart") {
            return;
        }
        let runs = profile.running.instances.iter().any(|instance| {
            // What was put in after the purchase is another matter.
            let since = if instance.handed.is_empty() {
                instance.touched_at
            } else {
                instance.born_at
            };
            instance.flow == "cart" && instance.key == cart && since <= at
        });
        assert!(
            !runs,
            "seed {}: the purchase of {cart} did not end its instance",
            self.seed
        );
        for contact in profile.contacts.iter() {
            let relevant = contact.flow.as_deref() == Some("cart") && contact.instance == cart;
            assert!(
                !(relevant
                    && contact.handed_at <= at
                    && contact.is_pending()
                    && contact.send_by > self.clock),
                "seed {}: step {} of {cart} was not retracted",
                self.seed,
                contact.step
            );
        }
    }

    /// Takes new verdicts in, each checked against what was known before it.
    fn look(&mut self) {
        while let Some(verdict) = self.shop.verdicts.get(self.looked).cloned() {
            self.looked += 1;
            // The first step, handed over or passed over, begins a run.
            if let Some(place) = verdict.place.as_ref().filter(|place| place.step == 1) {
                let key = (place.flow.to_string(), place.instance.clone());
                let is_contact = matches!(verdict.kind, VerdictKind::Send | VerdictKind::Observe);
                let is_passed_over = verdict.kind == VerdictKind::Skip && verdict.channel.is_some();
                let begins = is_contact || is_passed_over;
                if begins {
                    self.begun.insert(key, self.order.len());
                }
            }
            match (&verdict.kind, &verdict.message) {
                (VerdictKind::Send | VerdictKind::Observe, Some(Message::Trigger(trigger))) => {
                    let known = Known {
                        at: verdict.decided_at,
                        flow: verdict
                            .place
                            .as_ref()
                            .map(|p| (p.flow.to_string(), p.instance.clone())),
                        version: verdict.place.as_ref().map(|p| p.flow_version.to_string()),
                        step: verdict.place.as_ref().map_or(0, |p| p.step),
                        channel: verdict.channel.as_deref().unwrap().to_owned(),
                        class: trigger.class,
                        discount: trigger.offer.as_ref().is_some_and(|offer| offer.discount),
                        observed: verdict.kind == VerdictKind::Observe,
                        not_before: trigger.not_before,
                        send_by: trigger.send_by,
                        cancelled: None,
                        replaced: false,
                        sent: false,
                        withheld: false,
                        failed: false,
                    };
                    // The log names whose slot it took: recalled for that, or recalled before.
                    let taken = verdict.checks.iter().filter(|check| check.name == "on_cap");
                    for victim in taken.filter_map(|check| check.seen.as_ref()?.decision) {
                        let victim = self.known.get_mut(&victim).unwrap();
                        assert!(
                            victim.cancelled.is_some() && !victim.sent,
                            "seed {}: replaced what had left",
                            self.seed
                        );
                        victim.replaced = true;
                    }
                    self.check_contact(&verdict, &known);
                    let again = self.known.insert(verdict.decision_id, known);
                    assert!(again.is_none(), "seed {}: a decision twice", self.seed);
                    self.order.push(verdict.decision_id);
                }
                (VerdictKind::Cancel, Some(Message::Cancel { cancels })) => {
                    let known = self.known.get_mut(cancels).unwrap();
                    assert!(
                        known.cancelled.is_none() && !known.observed,
                        "seed {}: cancelled twice",
                        self.seed
                    );
                    known.cancelled = Some(verdict.decided_at);
                }
                _ => {}
            }
        }
    }

    /// Nobody waits while every check of its gate passes: whatever the gate put off is put off again when it is asked now.
    fn check_waiting(&self) {
        let profile = &self.shop.profiles[&ProfileKey::customer(&self.customer)];
        let running = &profile.running;
        let instances = running.instances.iter().enumerate();
        let requests = running.requests.iter().enumerate();
        let put_off = instances
            .filter(|(_, instance)| instance.deferred && instance.phase == Phase::Waiting)
            .map(|(index, instance)| (instance.due, DueTimer::Instance(index)))
            .chain(
                requests
                    .filter(|(_, request)| request.passes > 0)
                    .map(|(index, request)| (request.due, DueTimer::Request(index))),
            );
        for (due, timer) in put_off {
            let mut asked = profile.clone();
            let running = &mut asked.running;
            match timer {
                DueTimer::Instance(index) => running.instances[index].due = self.clock,
                DueTimer::Request(index) => running.requests[index].due = self.clock,
                DueTimer::Watch(_) | DueTimer::Alias => unreachable!("they pass no gate"),
            }
            let mut said = Vec::new();
            let mut ledger = self.shop.ledger.clone();
            let plan = &self.shop.plan;
            step(
                plan,
                &mut ledger,
                &mut asked,
                Input::Timer,
                self.clock,
                &mut said,
            );
            let spoke = said
                .iter()
                .find(|v| v.kind != VerdictKind::Cancel)
                .filter(|v| matches!(v.kind, VerdictKind::Send | VerdictKind::Observe));
            assert!(
                spoke.is_none(),
                "seed {}: waits until {due} although it may speak at {}: {spoke:?}{}",
                self.seed,
                self.clock,
                self.story()
            );
        }
    }

    /// Every contact so far, for a failure's message.
    fn story(&self) -> String {
        let tell = |id: &DecisionId| {
            let known = &self.known[id];
            format!(
                "\n  {} {id} {:?} {}/{} cancelled {:?} replaced {} sent {} withheld {} failed {}",
                known.at,
                known.flow,
                known.channel,
                known.step,
                known.cancelled.map(|at| at.to_string()),
                known.replaced,
                known.sent,
                known.withheld,
                known.failed
            )
        };
        self.order.iter().map(tell).collect()
    }

    fn check_contact(&self, verdict: &Verdict, new: &Known) {
        let seed = self.seed;
        let policy = &self.shop.plan.policy;
        let zone = policy.time_zone.as_str();
        let flow = new.flow.as_ref().map(|(flow, _)| flow.as_str());
        assert!(
            !flow.is_some_and(|flow| self.removed.contains(flow)),
            "seed {seed}: {flow:?} spoke out of force at {}",
            new.at
        );
        let key = ProfileKey::customer(&self.customer);
        let is_member = control_bucket("walk", &key) < policy.control_group;
        if new.class == Class::Marketing {
            assert_eq!(
                new.observed, is_member,
                "seed {seed}: the control group's line was crossed"
            );
        } else {
            assert!(!new.observed, "seed {seed}: only marketing is observed");
        }
        let has_nights = !policy.channels[new.channel.as_str()].quiet_hours.is_empty();
        if has_nights && new.class != Class::Transactional {
            let minute = minute_of_day(new.at, zone);
            assert!(
                (NIGHT.1..NIGHT.0).contains(&minute),
                "seed {seed}: handed over at night"
            );
        }
        let held = || {
            self.known
                .values()
                .filter(|known| known.class == Class::Marketing && known.holds_slot())
        };
        if new.class == Class::Marketing {
            for cap in &policy.caps {
                let counts = |known: &Known| match &cap.scope {
                    CapScope::Channel(channel) => known.channel == **channel,
                    CapScope::Class(class) => known.class == *class,
                    CapScope::Discount => known.discount,
                    CapScope::Any => true,
                };
                let within = |known: &&Known| match cap.window {
                    Window::Rolling(span) => new.at.since(known.at) < span,
                    Window::Days(n) => day(new.at, zone) - day(known.at, zone) < i64::from(n),
                    Window::Weeks(n) => week(new.at, zone) - week(known.at, zone) < i64::from(n),
                };
                let before = held().filter(|known| counts(known)).filter(within).count();
                let limit = usize::try_from(cap.limit).unwrap();
                assert!(
                    !counts(new) || before < limit,
                    "seed {seed}: {cap:?} exceeded at {} by {:?}{}",
                    new.at,
                    new.flow,
                    self.story()
                );
            }
            let gap = held().map(|known| new.at.since(known.at)).min();
            assert!(
                gap.is_none_or(|gap| gap >= policy.min_gap),
                "seed {seed}: the gap at {}",
                new.at
            );
        }
        self.check_choice(verdict, new);
        self.check_cascade(verdict, new);
    }

    /// Nobody is spoken to on a stopped channel. Of a step that leaves the channel to policy: every cheaper one was asked first and has its
    /// reason, unless the cascade had been there.
    fn check_choice(&self, verdict: &Verdict, new: &Known) {
        let channels = &self.shop.plan.policy.channels;
        let taken = &channels[new.channel.as_str()];
        assert!(
            taken.mode != ChannelMode::Stopped,
            "seed {}: {} is stopped",
            self.seed,
            new.channel
        );
        let Some(flow) = new.flow.as_ref().filter(|(flow, _)| flow == "open") else {
            return;
        };
        let open: &[&str] = match new.step {
            1 => &["push", "email"],
            _ => &["email", "push", "sms"],
        };
        let asked = &verdict.checks[0];
        assert_eq!((asked.name, asked.passed), ("channel_choice", true));
        // A run lasts two days at most; its first step may have been handed over more than once.
        let all = self.order.iter().map(|id| &self.known[id]);
        let run: Vec<&Known> = all
            .filter(|known| known.flow.as_ref() == Some(flow) && known.step < new.step)
            .filter(|known| new.at.since(known.at) <= Span::from_days(2))
            .collect();
        for name in open {
            let been = run.iter().any(|known| known.channel == *name);
            let cheaper = channels[*name].cost < taken.cost;
            assert!(
                !cheaper || been || asked.detail.contains(&format!("{name} ")),
                "seed {}: {name} is cheaper: {}",
                self.seed,
                asked.detail
            );
        }
    }

    /// A cascade runs one step at a time and never comes back to a channel.
    fn check_cascade(&self, verdict: &Verdict, new: &Known) {
        let Some(flow) = &new.flow else {
            return;
        };
        let same: Vec<&Known> = self
            .order
            .iter()
            .map(|id| &self.known[id])
            .filter(|known| known.flow.as_ref() == Some(flow))
            .collect();
        assert!(
            same.iter()
                .all(|known| !known.is_pending() || known.send_by <= new.at),
            "seed {}: two steps of {flow:?} at once at {}",
            self.seed,
            verdict.decided_at
        );
        // Of the present run; the first step begins another.
        if new.step == 1 {
            return;
        }
        let begun = self.begun.get(flow).copied().unwrap_or(0);
        let run = self.order.iter().skip(begun).map(|id| &self.known[id]);
        for known in run.filter(|known| known.flow.as_ref() == Some(flow)) {
            assert!(
                !(known.channel == new.channel && known.step != new.step),
                "seed {}: {flow:?} repeats {}",
                self.seed,
                new.channel
            );
            assert_eq!(
                new.version, known.version,
                "seed {}: {flow:?} changed its version in the middle of a run",
                self.seed
            );
            assert!(
                new.step >= known.step,
                "seed {}: {flow:?} goes back",
                self.seed
            );
        }
    }

    /// The sender's turn.
    fn sender(&mut self) {
        let acts = match self.manner {
            Manner::Obedient => true,
            Manner::Lagging | Manner::Crashing => self.random.one_in(3),
        };
        if self.manner == Manner::Crashing && self.random.one_in(4) {
            self.outbox.clear();
            return;
        }
        if !acts {
            return;
        }
        // Rule 2: to the end before sending. What was settled is remembered (rule 3), everything else is read (again).
        let read: Vec<DecisionId> = self.order.clone();
        for id in read {
            if !self.known[&id].observed && !self.settled.contains(&id) {
                self.outbox.insert(id);
            }
        }
        let due: Vec<DecisionId> = self
            .order
            .iter()
            .filter(|id| self.outbox.contains(id))
            .copied()
            .collect();
        for id in due {
            self.settle(id);
        }
        let cancels: Vec<DecisionId> = self
            .order
            .iter()
            .filter(|id| self.known[id].cancelled.is_some())
            .copied()
            .collect();
        for id in cancels {
            if self.answered.insert(id) {
                self.shop.run_to(self.clock);
                self.look();
                let said = if self.known[&id].sent {
                    "sent"
                } else {
                    "cancelled"
                };
                self.receipt(id, said);
            }
        }
    }

    /// Sends, or does not.
    fn settle(&mut self, id: DecisionId) {
        let now = self.clock;
        // What the last receipt led to is readable before this one leaves.
        self.shop.run_to(now);
        self.look();
        let known = &self.known[&id];
        // A receipt of another one may have led to its cancel: that is read, too, before this one leaves.
        if known.cancelled.is_some() {
            self.outbox.remove(&id);
            self.settled.insert(id);
            return;
        }
        if now < known.not_before || (known.send_by > now && self.random.one_in(3)) {
            return;
        }
        self.outbox.remove(&id);
        self.settled.insert(id);
        let known = &self.known[&id];
        if now > known.send_by {
            return self.receipt(id, "expired");
        }
        if self.random.one_in(12) {
            return self.receipt(id, "failed");
        }
        // What a sender must never do.
        assert!(
            known.cancelled.is_none(),
            "seed {}: sent after its cancel was readable",
            self.seed
        );
        assert!(!known.sent, "seed {}: sent twice", self.seed);
        if !self.shop.plan.policy.channels[known.channel.as_str()]
            .quiet_hours
            .is_empty()
            && known.class != Class::Transactional
        {
            let minute = minute_of_day(now, &self.shop.plan.policy.time_zone);
            assert!(
                (NIGHT.1..=NIGHT.0).contains(&minute),
                "seed {}: sent at night, {now}",
                self.seed
            );
        }
        self.receipt(id, "sent");
        match self.random.below(8) {
            0 => self.receipt(id, "bounced"),
            1 => self.receipt(id, "clicked"),
            2 => self.receipt(id, "opened"),
            3 | 4 => self.receipt(id, "delivered"),
            _ => {}
        }
    }

    fn receipt(&mut self, id: DecisionId, kind: &str) {
        let known = self.known.get_mut(&id).unwrap();
        match kind {
            "sent" => known.sent = true,
            "expired" | "cancelled" => known.withheld = true,
            "failed" => known.failed = true,
            _ => {}
        }
        let properties =
            json!({ "channel": known.channel, "decision_id": id.to_string(), "bounce": "soft" });
        let at = self.clock;
        self.tell(kind, at, properties.clone());
        if self.manner == Manner::Crashing && self.random.one_in(3) {
            self.tell(kind, at, properties);
        }
        self.check_slot(id);
    }

    /// Slots add up: the profile holds what the receipts say.
    fn check_slot(&self, id: DecisionId) {
        let profile = &self.shop.profiles[&ProfileKey::customer(&self.customer)];
        if let Some(contact) = profile.contacts.get(id) {
            assert_eq!(
                contact.holds_slot(),
                self.known[&id].holds_slot(),
                "seed {}: the slot of {id}",
                self.seed
            );
        }
    }

    fn run(mut self) -> usize {
        for _ in 0..STEPS {
            let pause = if self.random.one_in(2) {
                self.random.minutes(90)
            } else {
                self.random.minutes(900)
            };
            self.on(pause);
            if self.random.one_in(40) {
                self.reload();
            }
            if self.random.one_in(600) {
                self.flood();
            }
            self.act();
            self.sender();
        }
        for _ in 0..20 {
            self.on(Span::from_hours(7));
            self.sender();
        }
        for id in &self.order {
            self.check_slot(*id);
        }
        self.order.len()
    }

    /// More transactional messages at once than contacts are remembered.
    fn flood(&mut self) {
        for _ in 0..80 {
            let request = json!({ "request_id": format!("q{}", self.events), "campaign": "reset", "channels": ["email"],
                                  "template": "r", "class": "transactional" });
            self.tell("send_requested", self.clock, request);
        }
        self.shop.run_to(self.clock);
        self.look();
    }

    /// A channel gets another mode while things run, flows get another version, or one is taken out of force.
    fn reload(&mut self) {
        match self.random.below(4) {
            0 => return self.replace_flows(),
            1 => {
                let names = ["cart", "browse", "urgent", "open"];
                let name = names[usize::try_from(self.random.below(4)).unwrap()];
                self.shop.plan.flows.remove(name);
                self.removed.insert(name);
                return;
            }
            _ => {}
        }
        let names = ["email", "push", "sms"];
        let name = names[usize::try_from(self.random.below(3)).unwrap()];
        let mode = random_mode(&mut self.random);
        let channels = &mut self.shop.plan.policy.channels;
        channels.get_mut(name).unwrap().mode = mode;
    }

    /// Another set, as a reload brings it: instances keep the versions that they entered with.
    fn replace_flows(&mut self) {
        let mut next = self.sets[usize::try_from(self.random.below(2)).unwrap()].clone();
        let old = &self.shop.plan.flows;
        for flow in old.current().values().chain(old.retired().values()) {
            next.retire(Arc::clone(flow));
        }
        for name in &self.removed {
            next.remove(name);
        }
        self.shop.plan.flows = next;
    }

    /// Time passes; the sender is looked after as often as anything is handed over.
    fn on(&mut self, pause: Span) {
        let until = self.clock.plus(pause);
        loop {
            let profile = &self.shop.profiles[&ProfileKey::customer(&self.customer)];
            match profile.next_due().filter(|due| *due <= until) {
                Some(due) => {
                    self.clock = self.clock.max(due);
                    self.shop.run_to(self.clock);
                    self.look();
                    if self.manner == Manner::Obedient {
                        self.sender();
                    }
                }
                None => break,
            }
        }
        self.clock = until;
        self.shop.run_to(until);
        self.look();
        self.check_waiting();
    }
}

#[test]
fn whatever_a_customer_and_a_sender_do_the_gate_holds() {
    let walks = std::env::var("TIDEGATE_WALKS")
        .ok()
        .and_then(|walks| walks.parse().ok());
    let only = std::env::var("TIDEGATE_WALK_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let files = FLOWS.map(|text| ("flow.yaml".to_owned(), text.to_owned()));
    let changed = FLOWS.map(|text| {
        (
            "flow.yaml".to_owned(),
            text.replace("template: ", "template: v"),
        )
    });
    let sets = [files, changed].map(|files| flows(&files, &open_policy()));
    let seeds: Vec<u64> = match only {
        Some(seed) => vec![seed],
        None => (0..walks.unwrap_or(WALKS)).collect(),
    };
    let halves = seeds.chunks(seeds.len().div_ceil(2).max(1));
    let contacts: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = halves
            .map(|seeds| {
                scope.spawn(|| {
                    seeds
                        .iter()
                        .map(|seed| Walk::new(*seed, &sets).run())
                        .sum::<usize>()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert!(
        only.is_some() || contacts > seeds.len(),
        "the walks hand hardly anything over: {contacts}"
    );
}
