//! The gate's order: for every two checks that would fail, the earlier one names the reason (product.md §7), as a golden that a CRM
//! manager reads; and every reason of the closed set has a scenario.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken test should stop there"
)]

mod shop;

use std::fmt::Write as _;

use serde_json::{Value, json};
use shop::{Shop, flows, open_policy};
use tidegate::decision::Reason;
use tidegate::engine::Plan;
use tidegate::explain::{Entry, Reader};
use tidegate::outbound::log_line;
use tidegate::policy::traits::{Guard, Keeps};
use tidegate::policy::{
    Breaker, Cap, CapScope, ChannelMode, MinuteOfDay, Policy, QuietHours, QuietRule, Window,
};
use tidegate::value::{ProfileKey, Span, Timestamp};

/// The flow whose first step stands at the gate at eleven, and three rivals that some faults need.
const FLOWS: [&str; 3] = [
    "flow: promo\nclass: marketing\nlist: offers\npriority: 10\nexclusive_group: g\ninstance: cart_id\n\
     enter: { events: [product_added] }\nafter: 1h\nexpires: 3d\nmax_age: 1d\noffer: { id: promo, discount: true }\n\
     steps:\n  - { channel: email, template: t }\n",
    // Put beside it at the gate: as a merge of two profiles would.
    "flow: rival\nclass: marketing\nlist: offers\npriority: 20\nexclusive_group: g\ninstance: cart_id\n\
     enter: { events: [checkout_started] }\nafter: 2d\nexpires: 3d\nmax_age: 1d\nsteps:\n  - { channel: email, template: r }\n",
    // Waits for the end of its channel's quiet hours.
    "flow: urgent\nclass: marketing\nlist: offers\npriority: 90\ninstance: customer\nenter: { events: [product_reviewed] }\n\
     after: 30m\nexpires: 3d\nmax_age: 1d\nsteps:\n  - { channel: sms, template: u }\n",
];

/// One thing that makes one check fail.
struct Fault {
    check: &'static str,
    reason: Reason,
    /// What happened before, under a policy in which nothing stands in the way.
    before: fn(&mut Shop),
    /// The policy at the gate.
    policy: fn(&mut Policy),
    /// What happens after the flow was entered.
    after: fn(&mut Shop),
}

fn at(time: &str) -> Timestamp {
    Timestamp::parse(&format!("2026-03-02T{time}Z")).unwrap()
}

fn tell(shop: &mut Shop, customer: &str, time: &str, kind: &str, properties: Value) {
    let event = json!({
        "event_id": format!("{kind}-{customer}-{time}"), "type": kind, "event_time": at(time), "customer_id": customer, "source": "test",
        "properties": properties,
    });
    shop.event(&event.to_string(), Some(at(time)), false);
}

fn meet(shop: &mut Shop, customer: &str) {
    tell(
        shop,
        customer,
        "08:00:00",
        "identified",
        json!({
            "addresses": { "email": format!("{customer}@shop.test"), "push": format!("token-{customer}"), "sms": "+491" },
            "consents": { "email": true, "push": true, "sms": true }, "vip": true, "country": "DE",
        }),
    );
}

/// A campaign's contact, and the decision that it got.
fn campaign(shop: &mut Shop, customer: &str, time: &str, channel: &str, template: &str) -> String {
    tell(
        shop,
        customer,
        time,
        "send_requested",
        json!({ "request_id": format!("q-{time}"), "campaign": "c", "channels": [channel], "template": template, "class": "marketing",
                "list": "offers", "offer": "promo" }),
    );
    shop.run_to(at(time));
    let sent = shop.verdicts.iter().rev().find(|v| v.kind.name() == "send");
    sent.unwrap().decision_id.to_string()
}

fn nothing(_: &mut Shop) {}
fn as_it_is(_: &mut Policy) {}

/// In the order of the gate.
fn faults() -> Vec<Fault> {
    let mut faults = of_channel_and_person();
    faults.extend(of_rivals());
    faults.extend(of_pressure());
    faults
}

/// A check that nothing makes fail yet.
fn fault(check: &'static str, reason: Reason) -> Fault {
    Fault {
        check,
        reason,
        before: nothing,
        policy: as_it_is,
        after: nothing,
    }
}

/// From the flow to the customer's traits.
fn of_channel_and_person() -> Vec<Fault> {
    vec![
        Fault {
            after: |shop| shop.plan.flows.remove("promo"),
            ..fault("flow", Reason::FlowInactive)
        },
        Fault {
            policy: |policy| policy.channels.get_mut("email").unwrap().mode = ChannelMode::Stopped,
            ..fault("channel's mode", Reason::ChannelStopped)
        },
        Fault {
            before: |shop| {
                for customer in ["x", "y"] {
                    meet(shop, customer);
                    let id = campaign(shop, customer, "10:40:00", "email", "n");
                    tell(
                        shop,
                        customer,
                        "10:50:00",
                        "failed",
                        json!({ "channel": "email", "decision_id": id }),
                    );
                }
            },
            ..fault("breaker", Reason::ChannelDown)
        },
        Fault {
            after: |shop| {
                tell(
                    shop,
                    "c",
                    "10:55:00",
                    "consent_changed",
                    json!({ "channel": "email", "state": "denied" }),
                )
            },
            ..fault("consent", Reason::NoConsent)
        },
        Fault {
            after: |shop| {
                tell(
                    shop,
                    "c",
                    "10:56:00",
                    "identified",
                    json!({ "addresses": { "email": [] } }),
                )
            },
            ..fault("address", Reason::NoAddress)
        },
        Fault {
            policy: |policy| policy.purchase_cooloff = Span::from_days(3),
            after: |shop| {
                tell(
                    shop,
                    "c",
                    "10:57:00",
                    "order_completed",
                    json!({ "order_id": "o", "products": [{ "product_id": "other" }] }),
                );
            },
            ..fault("suppressions", Reason::PurchaseCooloff)
        },
        Fault {
            policy: |policy| {
                policy.traits.vip = Guard {
                    keeps: Keeps::Marketing,
                    exempt: vec!["urgent".into()],
                };
            },
            ..fault("traits", Reason::VipGuard)
        },
    ]
}

/// Who else wants to speak, and did.
fn of_rivals() -> Vec<Fault> {
    vec![
        Fault {
            after: |shop| {
                meet(shop, "z");
                tell(
                    shop,
                    "z",
                    "10:58:00",
                    "checkout_started",
                    json!({ "cart_id": "z" }),
                );
                let rival = shop.profiles[&ProfileKey::customer("z")].running.instances[0].clone();
                let own = shop.profiles.get_mut(&ProfileKey::customer("c")).unwrap();
                own.running.instances.push(rival);
            },
            ..fault("exclusive group", Reason::ExclusiveGroup)
        },
        Fault {
            policy: |policy| {
                policy.channels.get_mut("sms").unwrap().quiet_hours = vec![hours(10, 15)];
                policy.caps.push(Cap {
                    scope: CapScope::Any,
                    limit: 9,
                    window: Window::Days(1),
                });
            },
            after: |shop| {
                tell(
                    shop,
                    "c",
                    "10:20:00",
                    "product_reviewed",
                    json!({ "product_id": "p" }),
                );
            },
            ..fault("priority", Reason::LowerPriority)
        },
        Fault {
            before: |shop| {
                let id = campaign(shop, "c", "09:00:00", "push", "n1");
                tell(
                    shop,
                    "c",
                    "09:05:00",
                    "clicked",
                    json!({ "channel": "push", "decision_id": id }),
                );
            },
            ..fault("offer", Reason::AlreadyReachedOtherChannel)
        },
        Fault {
            before: |shop| {
                campaign(shop, "c", "09:10:00", "sms", "t");
            },
            policy: |policy| policy.same_message = Span::from_hours(18),
            ..fault("same message", Reason::DuplicateMessage)
        },
    ]
}

/// Caps, gaps, hours, control group.
fn of_pressure() -> Vec<Fault> {
    vec![
        Fault {
            before: |shop| {
                campaign(shop, "c", "09:20:00", "email", "n2");
            },
            policy: |policy| {
                policy.caps.push(Cap {
                    scope: CapScope::Channel("email".into()),
                    limit: 1,
                    window: Window::Rolling(Span::from_hours(16)),
                });
            },
            ..fault("caps", Reason::FrequencyCapped)
        },
        Fault {
            policy: |policy| policy.channels.get_mut("email").unwrap().budget = Some(0),
            ..fault("budget", Reason::ChannelBudget)
        },
        Fault {
            before: |shop| {
                campaign(shop, "c", "10:45:00", "push", "n3");
            },
            policy: |policy| policy.min_gap = Span::from_minutes(30),
            ..fault("minimum gap", Reason::MinGap)
        },
        Fault {
            policy: |policy| {
                policy.channels.get_mut("email").unwrap().quiet_hours = vec![hours(10, 12)]
            },
            ..fault("quiet hours", Reason::QuietHours)
        },
        Fault {
            policy: |policy| policy.control_group = 10_000,
            ..fault("control group", Reason::HoldoutGlobal)
        },
    ]
}

fn hours(from: u32, to: u32) -> QuietRule {
    QuietRule::daily(QuietHours {
        from: MinuteOfDay(from * 60),
        to: MinuteOfDay(to * 60),
    })
}

/// What is said of `promo` when it stands at the gate at eleven: its reason, or `sent`; and the sentence of `explain`.
fn stands_at_the_gate(faults: &[&Fault]) -> (String, String) {
    let mut policy = open_policy();
    policy.channels.get_mut("email").unwrap().breaker = Some(Breaker {
        failures: 2,
        window: Span::from_hours(1),
        probe: Span::from_hours(1),
    });
    let files = FLOWS.map(|text| ("flow.yaml".to_owned(), text.to_owned()));
    let flows = flows(&files, &policy);
    let mut shop = Shop::new(Plan { flows, policy });
    meet(&mut shop, "c");
    let mut before: Vec<&&Fault> = faults.iter().collect();
    // Times must not go back: what needs the latest contact comes last.
    before.sort_by_key(|fault| match fault.check {
        "offer" => 0,
        "same message" => 1,
        "caps" => 2,
        "breaker" => 3,
        _ => 4,
    });
    tell(&mut shop, "c", "08:30:00", "page_viewed", json!({}));
    let early = before
        .iter()
        .filter(|fault| !matches!(fault.check, "breaker" | "minimum gap"));
    for fault in early {
        (fault.before)(&mut shop);
    }
    tell(
        &mut shop,
        "c",
        "10:00:00",
        "product_added",
        json!({ "cart_id": "k", "product_id": "p", "price": "50.00" }),
    );
    let late = before.iter().filter(|fault| fault.check == "priority");
    for fault in late {
        (fault.policy)(&mut shop.plan.policy);
        (fault.after)(&mut shop);
    }
    for fault in before
        .iter()
        .filter(|fault| matches!(fault.check, "breaker" | "minimum gap"))
    {
        (fault.before)(&mut shop);
    }
    let mut rest: Vec<_> = faults.iter().filter(|f| f.check != "priority").collect();
    // Whatever the customer does after a flow was taken away ends it at once: that comes last.
    rest.sort_by_key(|fault| fault.check == "flow");
    for fault in rest {
        (fault.policy)(&mut shop.plan.policy);
        (fault.after)(&mut shop);
    }
    // Of the cap that a rival waits for, the last slot is at stake: as many contacts as there were, and one.
    let own = &shop.profiles[&ProfileKey::customer("c")];
    let had = own.contacts.iter().count();
    for cap in shop
        .plan
        .policy
        .caps
        .iter_mut()
        .filter(|cap| cap.limit == 9)
    {
        cap.limit = u32::try_from(had).unwrap() + 1;
    }
    shop.verdicts.clear();
    shop.run_to(at("11:00:00"));
    let own = |verdict: &&tidegate::decision::Verdict| {
        verdict
            .place
            .as_ref()
            .is_some_and(|place| &*place.flow == "promo")
    };
    let verdict = shop.verdicts.iter().find(own);
    let said = verdict.map_or_else(String::new, |verdict| {
        let entry = Entry::read(&log_line(verdict)).unwrap();
        Reader::new("UTC").sentence(&entry)
    });
    let reason = match verdict {
        Some(verdict) if verdict.kind.name() == "send" => "sent".to_owned(),
        Some(verdict) => verdict.why.name().to_owned(),
        None => "nothing".to_owned(),
    };
    (reason, said)
}

#[test]
fn of_two_checks_that_fail_the_earlier_names_the_reason() {
    let faults = faults();
    assert_eq!(stands_at_the_gate(&[]).0, "sent");
    let mut text = String::from(
        "# The gate's order (product.md §7). Each line: two checks that would both fail, and the reason that is named.\n\
         # Of a check alone also what `tidegate explain` says; of two only where that is not the same.\n",
    );
    let mut wrong = String::new();
    for (index, first) in faults.iter().enumerate() {
        let (alone, sentence) = stands_at_the_gate(&[first]);
        writeln!(text, "\n{} alone: {alone}\n  {sentence}", first.check).unwrap();
        if alone != first.reason.name() {
            writeln!(wrong, "{} alone: {alone}", first.check).unwrap();
        }
        for second in &faults[index + 1..] {
            let (reason, said) = stands_at_the_gate(&[first, second]);
            writeln!(text, "{} and {}: {reason}", first.check, second.check).unwrap();
            if said != sentence {
                writeln!(text, "  {said}").unwrap();
            }
            // Caps and budget are one check: the one that is full longest names the reason.
            let one_check = first.check == "caps" && second.check == "budget";
            if reason != first.reason.name() && !one_check {
                writeln!(wrong, "{} and {}: {reason}", first.check, second.check).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pairs.md");
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap());
}

/// Those of identities come with them.
const OF_IDENTITY: [Reason; 2] = [Reason::ProfileMerged, Reason::ProfileErased];

#[test]
fn every_reason_of_the_closed_set_is_given_by_a_scenario() {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut given = String::new();
    for entry in std::fs::read_dir(golden).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let text = std::fs::read_to_string(path).unwrap();
            given.extend(
                text.lines()
                    .filter(|line| line.starts_with("=> "))
                    .map(|line| format!("{line} \n")),
            );
        }
    }
    let missing: Vec<&str> = Reason::ALL
        .iter()
        .filter(|reason| !OF_IDENTITY.contains(reason))
        .map(|reason| reason.name())
        .filter(|reason| !given.contains(&format!(" {reason} ")))
        .collect();
    assert!(missing.is_empty(), "no scenario gives {missing:?}");
}
