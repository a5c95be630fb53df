//! Properties of the core: whatever a customer does, in whatever order it arrives.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken test should stop there"
)]

mod shop;

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use shop::{Shop, flows, open_policy, shipped};
use tidegate::decision::{Verdict, VerdictKind};
use tidegate::engine::Plan;
use tidegate::flow::Class;
use tidegate::policy::{Cap, CapScope, Policy, Window};
use tidegate::profile::{Profile, Rhythm, Supply};
use tidegate::value::{Span, Timestamp};

/// One thing that happens: what, minutes after the one before, and how many minutes late it arrives.
#[derive(Clone, Debug)]
struct Act {
    kind: &'static str,
    properties: Value,
    after: i64,
    late: i64,
    /// The same event arrives a second time.
    twice: bool,
    /// Of a receipt: which trigger it answers, counted from the latest.
    answers: Option<usize>,
}

fn product() -> impl Strategy<Value = Value> {
    (0..4_u8, 1..4_u32, 5..120_u32).prop_map(|(product, quantity, price)| {
        json!({ "product_id": format!("p{product}"), "group_id": format!("g{}", product / 2), "category": format!("a/b{}", product % 2),
                "quantity": quantity, "price": format!("{price}.00") })
    })
}

fn with_cart(mut body: Value, cart: u8) -> Value {
    if cart > 0 {
        body["cart_id"] = format!("k{cart}").into();
    }
    body
}

/// What a customer does.
fn deed() -> impl Strategy<Value = (&'static str, Value)> {
    let lines = || prop::collection::vec(product(), 0..4);
    prop_oneof![
        5 => (product(), 0..3_u8).prop_map(|(line, cart)| ("product_added", with_cart(line, cart))),
        2 => (product(), 0..3_u8).prop_map(|(line, cart)| ("product_removed", with_cart(line, cart))),
        2 => (lines(), 0..3_u8).prop_map(|(lines, cart)| ("cart_updated", with_cart(json!({ "products": lines }), cart))),
        1 => product().prop_map(|line| ("product_viewed", line)),
        2 => (lines(), 0..3_u8, 0..6_u8).prop_map(|(lines, cart, order)| {
            ("order_completed", with_cart(json!({ "order_id": format!("o{order}"), "products": lines, "total": "30.00" }), cart))
        }),
        1 => (0..6_u8).prop_map(|order| ("order_cancelled", json!({ "order_id": format!("o{order}") }))),
        1 => (0..6_u8).prop_map(|order| ("order_delivered", json!({ "order_id": format!("o{order}") }))),
        1 => (0..6_u8, lines(), any::<u16>()).prop_map(|(order, lines, refund)| {
            ("order_refunded", json!({ "refund_id": format!("r{refund}"), "order_id": format!("o{order}"), "products": lines }))
        }),
        1 => Just(("signed_up", json!({}))),
        1 => (0..2_u8, prop::bool::ANY).prop_map(|(channel, granted)| {
            let state = if granted { "granted" } else { "denied" };
            let channel = if channel == 0 { "email" } else { "push" };
            ("consent_changed", json!({ "channel": channel, "state": state }))
        }),
        1 => Just(("unsubscribed", json!({ "channel": "email", "list": "offers" }))),
        1 => any::<u8>().prop_map(|n| ("identified", json!({ "addresses": { "email": format!("{n}@shop.test") } }))),
        1 => any::<u16>().prop_map(|n| {
            ("send_requested", json!({ "request_id": format!("q{n}"), "campaign": "c", "channels": ["push", "email"], "template": format!("t{n}"),
                                       "class": "marketing", "list": "offers" }))
        }),
    ]
}

/// How many events the shuffled history has.
const EVENTS: usize = 22;
/// Receipts that give no slot back.
const KEEPING: &[&str] = &[
    "accepted",
    "sent",
    "delivered",
    "opened",
    "clicked",
    "bounced",
];
/// All of them.
const RECEIPTS: &[&str] = &[
    "accepted",
    "sent",
    "delivered",
    "opened",
    "clicked",
    "bounced",
    "failed",
    "expired",
    "cancelled",
    "dropped",
    "complained",
];

fn act(receipts: &'static [&'static str]) -> impl Strategy<Value = Act> {
    let receipt = (0..receipts.len(), 0..3_usize).prop_map(|(kind, answers)| {
        (
            receipts[kind],
            json!({ "channel": "email", "bounce": "soft" }),
            Some(answers),
        )
    });
    let deed = deed().prop_map(|(kind, properties)| (kind, properties, None));
    let what = prop_oneof![3 => deed, 2 => receipt];
    let late = prop_oneof![4 => Just(0_i64), 1 => 0..600_i64];
    (what, 0..500_i64, late, prop::bool::weighted(0.1)).prop_map(
        |((kind, properties, answers), after, late, twice)| Act {
            kind,
            properties,
            after,
            late,
            twice,
            answers,
        },
    )
}

fn shop(policy: Policy) -> Shop {
    let flows = flows(&shipped(), &policy);
    let mut shop = Shop::new(Plan { flows, policy });
    let known = json!({
        "event_id": "known", "type": "identified", "event_time": "2026-01-01T00:00:00Z", "customer_id": "c1", "source": "crm",
        "properties": { "addresses": { "email": "c1@shop.test", "push": "token", "sms": "+491" }, "consents": { "email": true, "push": true, "sms": true } },
    });
    shop.event(&known.to_string(), None, false);
    shop
}

fn start() -> Timestamp {
    Timestamp::parse("2026-03-01T08:00:00Z").unwrap()
}

/// Plays the acts; every step checks that the profile survives being stored (see [`Shop`]).
fn play(shop: &mut Shop, acts: &[Act]) -> Timestamp {
    let mut clock = start();
    for (index, act) in acts.iter().enumerate() {
        clock = clock.plus(Span::from_minutes(act.after));
        shop.run_to(clock);
        let mut properties = act.properties.clone();
        if let Some(back) = act.answers {
            let sends: Vec<&Verdict> = shop
                .verdicts
                .iter()
                .filter(|verdict| verdict.kind == VerdictKind::Send)
                .collect();
            let Some(sent) = sends.len().checked_sub(back + 1).map(|index| sends[index]) else {
                continue;
            };
            properties["decision_id"] = sent.decision_id.to_string().into();
            properties["channel"] = sent.channel.as_deref().unwrap_or("email").into();
        }
        let event = json!({
            "event_id": format!("e-{index}"), "type": act.kind, "event_time": clock.minus(Span::from_minutes(act.late)), "customer_id": "c1",
            "source": "test", "properties": properties,
        });
        for _ in 0..=u8::from(act.twice) {
            shop.event(&event.to_string(), Some(clock), false);
        }
    }
    clock
}

fn only(shop: &Shop) -> &Profile {
    shop.profiles.values().next().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// ST-1 and TM-2 for a profile (checked after every step), EO-3's other half: no id is given twice.
    #[test]
    fn a_profile_survives_being_stored_and_no_decision_id_is_given_twice(acts in prop::collection::vec(act(RECEIPTS), 1..40)) {
        let mut policy = open_policy();
        policy.purchase_cooloff = Span::from_days(3);
        policy.bought_product = Span::from_days(30);
        let mut shop = shop(policy);
        let end = play(&mut shop, &acts);
        shop.run_to(end.plus(Span::from_days(30)));
        prop_assert_eq!(only(&shop).next_due(), None, "every instance and request comes to its end");
        let mut seen = BTreeSet::new();
        for verdict in &shop.verdicts {
            prop_assert!(seen.insert(verdict.decision_id), "{:?} {:?} twice", verdict.kind, verdict.why);
        }
    }

    /// DT-1: the same inputs and clock readings give the same bytes.
    #[test]
    fn the_same_inputs_give_the_same_bytes(acts in prop::collection::vec(act(RECEIPTS), 1..25)) {
        let run = || {
            let mut shop = shop(open_policy());
            play(&mut shop, &acts);
            (format!("{:?}", shop.verdicts), shop.stored)
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn caps_and_gap_are_never_exceeded(acts in prop::collection::vec(act(KEEPING), 1..40)) {
        let mut policy = open_policy();
        policy.min_gap = Span::from_minutes(30);
        let cap = |scope, limit, window| Cap { scope, limit, window };
        policy.caps = vec![
            cap(CapScope::Channel("email".into()), 1, Window::Rolling(Span::from_hours(16))),
            cap(CapScope::Class(Class::Marketing), 2, Window::Days(1)),
            cap(CapScope::Any, 4, Window::Weeks(1)),
        ];
        let mut shop = shop(policy);
        let end = play(&mut shop, &acts);
        shop.run_to(end.plus(Span::from_days(10)));
        let sent: Vec<(Timestamp, String)> = shop
            .verdicts
            .iter()
            .filter(|verdict| verdict.kind == VerdictKind::Send)
            .filter(|verdict| verdict.place.as_ref().is_none_or(|place| &*place.flow != "post_purchase"))
            .map(|verdict| (verdict.decided_at, verdict.channel.as_deref().unwrap_or_default().to_owned()))
            .collect();
        let email: Vec<Timestamp> = sent.iter().filter(|(_, channel)| channel == "email").map(|(at, _)| *at).collect();
        for pair in email.windows(2) {
            prop_assert!(pair[1].since(pair[0]) >= Span::from_hours(16));
        }
        for pair in sent.windows(2) {
            prop_assert!(pair[1].0.since(pair[0].0) >= Span::from_minutes(30));
        }
        let day = |at: Timestamp| at.millis() / 86_400_000;
        // 1970-01-05 was a Monday.
        let week = |at: Timestamp| (day(at) - 4).div_euclid(7);
        for (at, _) in &sent {
            prop_assert!(sent.iter().filter(|(other, _)| day(*other) == day(*at)).count() <= 2);
            prop_assert!(sent.iter().filter(|(other, _)| week(*other) == week(*at)).count() <= 4);
        }
    }

    /// A purchase of the cart ends it and retracts what is unsent, whatever happened before.
    #[test]
    fn an_order_always_ends_every_relevant_instance(acts in prop::collection::vec(act(RECEIPTS), 1..30)) {
        let mut shop = shop(open_policy());
        let end = play(&mut shop, &acts).plus(Span::from_millis(1));
        let order = json!({
            "event_id": "last", "type": "order_completed", "event_time": end, "customer_id": "c1", "source": "test",
            "properties": { "order_id": "last", "cart_id": "k1", "products": [{ "product_id": "other" }] },
        });
        shop.event(&order.to_string(), Some(end), false);
        let profile = only(&shop);
        prop_assert!(profile.running.find("abandoned_cart", "k1").is_none());
        prop_assert!(profile.running.find("welcome", "customer").is_none());
        prop_assert!(profile.carts.get("k1").is_none());
        for contact in profile.contacts.iter().filter(|contact| contact.flow.is_some() && contact.send_by > end) {
            let relevant = contact.instance == "k1" || contact.flow.as_deref() == Some("welcome");
            prop_assert!(!(relevant && contact.is_pending()), "step {} is still with the sender", contact.step);
        }
    }

    /// The fold orders by effective time: what arrives shuffled and twice ends in the same profile, and so in the same statistics.
    #[test]
    fn shuffled_and_repeated_events_fold_to_the_same(order in Just((0..EVENTS).collect::<Vec<_>>()).prop_shuffle(), twice in 0..EVENTS) {
        let at = |index: usize| start().plus(Span::from_hours(i64::try_from(index).unwrap()));
        let event = |index: usize| {
            let (kind, body) = match index % 11 {
                0 => ("product_added", json!({ "cart_id": "k", "product_id": format!("p{index}"), "price": "10.00" })),
                1 => ("identified", json!({ "locale": format!("l{index}"), "traits": { "size": index } })),
                2 => ("consent_changed", json!({ "channel": "email", "state": if index > 13 { "denied" } else { "granted" } })),
                3 => ("order_completed", json!({ "order_id": "o", "total": format!("{index}.00"), "products": [] })),
                4 => ("identified", json!({ "addresses": { "email": format!("{index}@shop.test") }, "consents": { "push": index > 13 } })),
                5 => ("order_completed", json!({ "order_id": format!("o{index}"), "total": "5.00", "discount": "1.00", "products": [{ "product_id": "p" }] })),
                6 => ("order_cancelled", json!({ "order_id": "o5" })),
                7 => ("order_refunded", json!({ "refund_id": format!("r{index}"), "order_id": "o16", "total": "2.00", "products": [{ "product_id": "p" }] })),
                8 => ("score_updated", json!({ "model": "churn", "horizon": "30d", "value": format!("0.{index}"), "valid_until": at(index + 100) })),
                9 => (if index > 13 { "ticket_opened" } else { "ticket_resolved" }, json!({ "ticket_id": "t" })),
                _ => ("feedback_given", json!({ "score": index % 10 })),
            };
            json!({ "event_id": format!("e{index}"), "type": kind, "event_time": at(index), "customer_id": "c1", "source": "s", "properties": body }).to_string()
        };
        let fold = |order: &[usize]| {
            let flows = tidegate::flow::FlowSet::default();
            let policy = Policy { time_zone: "Europe/Berlin".to_owned(), ..Policy::default() };
            let mut shop = Shop::new(Plan { flows, policy });
            let late = at(60);
            for index in order.iter().chain([&twice]) {
                shop.event(&event(*index), Some(late), false);
            }
            let profile = only(&shop);
            let policy = &shop.plan.policy;
            let zone = profile.zone(policy);
            let statistics = format!(
                "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
                Rhythm::of(&profile.orders, &zone),
                Supply::of(&profile.orders, "p", &policy.norms.consumption),
                profile.rfm(&policy.norms.rfm, late),
                (profile.discount_share(), profile.return_share(), profile.is_peak_only(&policy.norms, &zone)),
                profile.orders.usual_product().map(|item| &item.product_id),
                (profile.has_negative_experience(&policy.norms, late), profile.winback_reason(policy, late)),
                profile.scores.value("churn/30d", late),
            );
            let mut view = profile.view();
            let lines = view["carts"][0]["lines"].as_array_mut().unwrap();
            lines.sort_by_key(|line| line["product_id"].to_string());
            // What arrived first stands first in these; the rest of the profile must be equal to the letter.
            for list in ["addresses", "consents"] {
                view["reach"][list].as_array_mut().unwrap().sort_by_key(Value::to_string);
            }
            view["closed_carts"].as_array_mut().unwrap().sort_by_key(Value::to_string);
            (statistics, view)
        };
        let in_order: Vec<usize> = (0..EVENTS).collect();
        prop_assert_eq!(fold(&order), fold(&in_order));
    }

    /// Whatever order a customer's last hour arrives in: as long as nothing was due meanwhile, the same contacts follow at the same times.
    /// (Of one cart, and while the condition of entry holds throughout: an event that arrives while it does not restarts no wait, and of two
    /// carts in one exclusive group the one that is told first runs.)
    #[test]
    fn shuffled_events_lead_to_the_same_contacts(
        deeds in prop::collection::vec((0..4_u8, 0..3_u8, Just(1_u8)), 1..9).prop_flat_map(|deeds| {
            let order: Vec<usize> = (0..deeds.len()).collect();
            (Just(deeds), Just(order).prop_shuffle())
        })
    ) {
        let (deeds, order) = deeds;
        let late = start().plus(Span::from_hours(1));
        let event = |index: usize| {
            let (deed, product, cart) = deeds[index];
            let at = start().plus(Span::from_minutes(5 * i64::try_from(index).unwrap()));
            let line = json!({ "product_id": format!("p{product}"), "cart_id": format!("k{cart}"), "price": "25.00" });
            let (kind, body) = match deed {
                0..=2 => ("product_added", line),
                _ => ("order_completed", json!({ "order_id": format!("o{index}"), "cart_id": format!("k{cart}"), "products": [{ "product_id": format!("p{product}") }] })),
            };
            json!({ "event_id": format!("e{index}"), "type": kind, "event_time": at, "customer_id": "c1", "source": "s", "properties": body }).to_string()
        };
        let contacts = |order: &[usize]| {
            let policy = open_policy();
            let mut files = shipped();
            files.retain(|(name, _)| name == "abandoned_cart.yaml");
            let flows = flows(&files, &policy);
            let mut shop = Shop::new(Plan { flows, policy });
            let known = json!({
                "event_id": "known", "type": "identified", "event_time": "2026-01-01T00:00:00Z", "customer_id": "c1", "source": "crm",
                "properties": { "addresses": { "email": "c1@shop.test", "push": "token" }, "consents": { "email": true, "push": true } },
            });
            shop.event(&known.to_string(), None, false);
            for index in order {
                shop.event(&event(*index), Some(late), false);
            }
            shop.run_to(late.plus(Span::from_days(10)));
            let sent = shop.verdicts.iter().filter(|verdict| verdict.kind == VerdictKind::Send);
            let mut sent: Vec<String> = sent
                .map(|verdict| format!("{} {:?} {:?}", verdict.decided_at, verdict.channel, verdict.place))
                .collect();
            // Two carts may be due at the same instant.
            sent.sort();
            sent
        };
        let in_order: Vec<usize> = (0..deeds.len()).collect();
        prop_assert_eq!(contacts(&order), contacts(&in_order));
    }
}
