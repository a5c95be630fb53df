//! Golden scenarios: events and times in, verdicts out (tests/golden/*.txt, reviewed like code).
//!
//! A scenario begins with `== a sentence`. Its lines:
//! - `policy NAME VALUE`: changes one value of the policy from "nothing stands in the way" (see [`set`]);
//! - `flow`: the YAML of a flow follows, indented; without one the scenario runs with the shipped flows;
//! - `unflow NAME`: takes a flow out of force from here on;
//! - `stranger`: nothing is known of the customer; otherwise they are reachable and consenting on email, push and sms;
//! - `at TIME TYPE {properties}`: an event of customer `c1`; `@1` stands for the decision of the first trigger, `&KEY VALUE` after the
//!   type sets a field of the envelope (`&event_id`, `&event_time`, `&customer_id`, `&source`, `&test`, `&history`);
//! - `until TIME`: the clock runs on;
//! - `=> …`: what was decided, in order. `TIDEGATE_BLESS=1` writes these lines anew.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a scenario that cannot be read should stop the test"
)]

mod shop;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use shop::{Shop, flows, open_policy, shipped};
use tidegate::decision::{DecisionId, Message, Reason, Scope, Verdict, VerdictKind};
use tidegate::engine::Plan;
use tidegate::event::EventType;
use tidegate::explain::{Entry, Reader};
use tidegate::flow::{Class, FlowSet};
use tidegate::outbound::log_line;
use tidegate::policy::traits::{Band, Diet, Guard, Keeps, Recent};
use tidegate::policy::{
    Breaker, Cap, CapScope, ChannelMode, MinuteOfDay, Policy, QuietHours, QuietRule, Window,
};
use tidegate::value::{Money, Span, Timestamp};

fn minute(text: &str) -> MinuteOfDay {
    let (hours, minutes) = text.split_once(':').unwrap();
    MinuteOfDay(hours.parse::<u32>().unwrap() * 60 + minutes.parse::<u32>().unwrap())
}

/// One `policy` line.
fn set(policy: &mut Policy, name: &str, value: &str) {
    let words: Vec<&str> = value.split(' ').collect();
    match name {
        "min_gap" => policy.min_gap = value.parse().unwrap(),
        "same_message" => policy.same_message = value.parse().unwrap(),
        "control_group" => policy.control_group = value.parse().unwrap(),
        "purchase_cooloff" => policy.purchase_cooloff = value.parse().unwrap(),
        "cooloff_exempt" => policy.cooloff_exempt.push(value.into()),
        "bought_product" => policy.bought_product = value.parse().unwrap(),
        "soft_opt_in" => policy.soft_opt_in = value.parse().unwrap(),
        "time_zone" => value.clone_into(&mut policy.time_zone),
        "service_per_hour" => policy.service_per_hour = value.parse().unwrap(),
        "quiet" => {
            for channel in policy.channels.values_mut() {
                channel.quiet_hours = vec![QuietRule::daily(QuietHours {
                    from: minute(words[0]),
                    to: minute(words[1]),
                })];
            }
        }
        "mode" => {
            policy.channels.get_mut(words[0]).unwrap().mode = match words[1] {
                "support" => ChannelMode::Support,
                "stopped" => ChannelMode::Stopped,
                other => panic!("mode {other}"),
            }
        }
        // A channel whose sender tells of no `sent`.
        "silent" => {
            let channel = policy.channels.get_mut(words[0]).unwrap();
            channel.reports.retain(|report| *report != EventType::Sent);
        }
        "expose" => {
            for channel in policy.channels.values_mut() {
                channel.expose = words.iter().map(|word| Arc::from(*word)).collect();
            }
        }
        // cap SCOPE LIMIT WINDOW: `cap email 1 16h`, `cap marketing 1 1day`, `cap any 4 1week`
        "cap" => {
            let scope = match words[0] {
                "any" => CapScope::Any,
                "discount" => CapScope::Discount,
                name => Class::parse(name)
                    .map_or_else(|| CapScope::Channel(name.into()), CapScope::Class),
            };
            let window = if let Some(days) = words[2].strip_suffix("day") {
                Window::Days(days.parse().unwrap())
            } else if let Some(weeks) = words[2].strip_suffix("week") {
                Window::Weeks(weeks.parse().unwrap())
            } else {
                Window::Rolling(words[2].parse().unwrap())
            };
            policy.caps.push(Cap {
                scope,
                limit: words[1].parse().unwrap(),
                window,
            });
        }
        other => set_more(policy, other, &words),
    }
}

/// What stands in the policy's own parts: traits, budgets, breakers.
fn set_more(policy: &mut Policy, name: &str, words: &[&str]) {
    let keeps = |word: &str| match word {
        "discounts" => Keeps::Discounts,
        "marketing" => Keeps::Marketing,
        other => panic!("keeps {other}"),
    };
    // What it keeps away, then the flows that go free.
    let guard = |words: &[&str]| Guard {
        keeps: keeps(words[0]),
        exempt: words[1..].iter().map(|flow| Arc::from(*flow)).collect(),
    };
    // Score, bound, limit, window.
    let band = |words: &[&str]| Band {
        score: words[0].to_owned(),
        bound: Money::parse(words[1], 6).unwrap().minor(),
        cap: Cap {
            scope: CapScope::Class(Class::Marketing),
            limit: words[2].parse().unwrap(),
            window: Window::Rolling(words[3].parse().unwrap()),
        },
    };
    let recent = |words: &[&str]| Recent {
        within: words[0].parse().unwrap(),
        guard: guard(&words[1..]),
    };
    let traits = &mut policy.traits;
    match name {
        "consent_valid" => policy.consent_valid = words[0].parse().unwrap(),
        "conversion_window" => policy.conversion_window = words[0].parse().unwrap(),
        "vip" => traits.vip = guard(words),
        "negative_experience" => traits.negative_experience = guard(words),
        "returned" => traits.returned = recent(words),
        "recent_buyer" => traits.recent_buyer = recent(words),
        "churn" => traits.churn = Some(band(words)),
        "intent" => traits.intent = Some(band(words)),
        // SHARE ORDERS
        "diet" => {
            traits.discount_diet = Some(Diet {
                share: Money::parse(words[0], 6).unwrap().minor(),
                orders: words[1].parse().unwrap(),
            });
        }
        // PRODUCT SPAN
        "lasts" => {
            let lasts = words[1].parse().unwrap();
            let products = &mut policy.norms.consumption.products;
            products.insert(words[0].to_owned(), lasts);
        }
        // CHANNEL CONTACTS
        "budget" => {
            let channel = policy.channels.get_mut(words[0]).unwrap();
            channel.budget = Some(words[1].parse().unwrap());
        }
        // CHANNEL FAILURES WINDOW PROBE
        "breaker" => {
            policy.channels.get_mut(words[0]).unwrap().breaker = Some(Breaker {
                failures: words[1].parse().unwrap(),
                window: words[2].parse().unwrap(),
                probe: words[3].parse().unwrap(),
            });
        }
        // CHANNEL FROM TO COUNTRY
        "quiet_in" => {
            let mut rule = QuietRule::daily(QuietHours {
                from: minute(words[1]),
                to: minute(words[2]),
            });
            rule.countries = vec![words[3].into()];
            let channel = policy.channels.get_mut(words[0]).unwrap();
            channel.quiet_hours.push(rule);
        }
        other => panic!("unknown policy {other}"),
    }
}

fn scope(scope: &Scope) -> String {
    match scope {
        Scope::All => "all".to_owned(),
        Scope::Class(class) => format!("class:{}", class.name()),
        Scope::Flow(flow) => format!("flow:{flow}"),
        Scope::Offer(offer) => format!("offer:{offer}"),
        Scope::Product(product) => format!("product:{product}"),
        Scope::Category(category) => format!("category:{category}"),
        Scope::List(list) => format!("list:{list}"),
    }
}

/// A verdict in one line; decisions that a line refers to are numbered in the order of their appearance.
fn line(verdict: &Verdict, numbers: &mut BTreeMap<DecisionId, usize>) -> String {
    let mut text = format!("{} {}", verdict.decided_at, verdict.kind.name());
    if let Some(channel) = &verdict.channel {
        write!(text, " {channel}").unwrap();
    }
    if let Some(place) = &verdict.place {
        write!(
            text,
            " {}[{}] {}/{}",
            place.flow, place.instance, place.step, place.steps
        )
        .unwrap();
    }
    write!(text, " {}", verdict.why.name()).unwrap();
    match &verdict.message {
        Some(Message::Trigger(trigger)) => {
            let next = numbers.len() + 1;
            let number = *numbers.entry(verdict.decision_id).or_insert(next);
            write!(text, " @{number} send_by {}", trigger.send_by).unwrap();
            if !trigger.context.is_empty() {
                write!(
                    text,
                    " {}",
                    serde_json::Value::Object(trigger.context.clone())
                )
                .unwrap();
            }
        }
        Some(Message::Suppress(suppress)) => {
            let scopes: Vec<String> = suppress.scopes.iter().map(scope).collect();
            let until = suppress
                .until
                .map_or_else(|| "released".to_owned(), |until| until.to_string());
            let next = numbers.len() + 1;
            let number = *numbers.entry(verdict.decision_id).or_insert(next);
            write!(text, " @{number} {} until {until}", scopes.join(",")).unwrap();
        }
        Some(Message::Release { releases: id } | Message::Cancel { cancels: id }) => {
            write!(text, " of @{}", numbers[id]).unwrap();
        }
        Some(Message::Refuse { request_id }) => write!(text, " {request_id}").unwrap(),
        None => {
            if let Some(target) = verdict.target {
                write!(text, " of @{}", numbers[&target]).unwrap();
            }
        }
    }
    if verdict.kind == VerdictKind::Defer {
        write!(text, " until {}", verdict.until.unwrap()).unwrap();
    }
    if let Some(failed) = verdict.checks.iter().find(|check| !check.passed) {
        write!(
            text,
            " ({}{}{})",
            failed.name,
            if failed.detail.is_empty() { "" } else { ": " },
            failed.detail
        )
        .unwrap();
    }
    text
}

/// What a scenario decides: in the words of its file, and as lines of the decision log.
#[derive(Default)]
struct Played {
    decided: Vec<String>,
    logged: Vec<Vec<u8>>,
}

/// The lines of one scenario, without its `=>` lines, and what they decide.
fn play(name: &str, lines: &[&str]) -> Played {
    let mut policy = open_policy();
    let mut files: Vec<(String, String)> = Vec::new();
    let mut stranger = false;
    let mut acts = Vec::new();
    let mut lines = lines.iter().peekable();
    while let Some(line) = lines.next() {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("policy", rest) => {
                let (name, value) = rest.split_once(' ').unwrap();
                set(&mut policy, name, value);
            }
            ("flow", _) => {
                let mut text = String::new();
                while let Some(more) = lines.next_if(|line| line.starts_with("  ")) {
                    text.push_str(&more[2..]);
                    text.push('\n');
                }
                files.push((format!("flow-{}.yaml", files.len()), text));
            }
            ("stranger", _) => stranger = true,
            ("at" | "until" | "unflow", _) => acts.push(*line),
            ("#" | "", _) => {}
            (other, _) => panic!("{name}: unknown line {other}"),
        }
    }
    if files.is_empty() {
        files = shipped();
    }
    let flows = flows(&files, &policy);
    let mut shop = Shop::new(Plan { flows, policy });
    if !stranger {
        let known = serde_json::json!({
            "event_id": "known", "type": "identified", "event_time": "2026-01-01T00:00:00Z", "customer_id": "c1", "source": "crm",
            "properties": {
                "addresses": { "email": "c1@shop.test", "push": "token-1", "sms": "+491" },
                "consents": { "email": true, "push": true, "sms": true },
            },
        });
        shop.event(&known.to_string(), None, false);
    }
    let mut numbers = BTreeMap::new();
    let mut ids: Vec<String> = Vec::new();
    let mut decided = Played::default();
    for (index, act) in acts.iter().enumerate() {
        let (verb, rest) = act.split_once(' ').unwrap();
        match verb {
            "until" => shop.run_to(Timestamp::parse(rest).unwrap()),
            "unflow" => {
                shop.plan.flows.remove(rest);
            }
            _ => {
                let time = rest.split(' ').next().unwrap();
                // What falls due before has its number by then.
                shop.run_to(Timestamp::parse(time).unwrap());
                note(&mut shop, &mut decided, &mut numbers, &mut ids);
                send(&mut shop, rest, index, &ids);
            }
        }
        note(&mut shop, &mut decided, &mut numbers, &mut ids);
    }
    decided
}

/// Takes what was decided over into lines.
fn note(
    shop: &mut Shop,
    decided: &mut Played,
    numbers: &mut BTreeMap<DecisionId, usize>,
    ids: &mut Vec<String>,
) {
    for verdict in std::mem::take(&mut shop.verdicts) {
        decided.logged.push(log_line(&verdict));
        decided.decided.push(line(&verdict, numbers));
        if numbers.len() > ids.len() {
            ids.push(verdict.decision_id.to_string());
        }
    }
}

/// `TIME TYPE &field value {properties}` as an event.
fn send(shop: &mut Shop, rest: &str, index: usize, ids: &[String]) {
    let (head, properties) = rest
        .split_once('{')
        .map_or((rest, "{}".to_owned()), |(head, body)| {
            (head, format!("{{{body}"))
        });
    let mut properties = properties;
    for (index, id) in ids.iter().enumerate().rev() {
        properties = properties.replace(&format!("\"@{}\"", index + 1), &format!("\"{id}\""));
    }
    let mut words = head.split_whitespace();
    let time = words.next().unwrap();
    let kind = words.next().unwrap();
    let mut event = serde_json::json!({
        "event_id": format!("e-{}", index + 1), "type": kind, "event_time": time, "customer_id": "c1", "source": "test",
        "properties": serde_json::from_str::<serde_json::Value>(&properties).unwrap_or_else(|e| panic!("{e}: {properties}")),
    });
    let mut history = false;
    while let Some(field) = words.next() {
        let value = words.next().unwrap();
        match field.strip_prefix('&').unwrap() {
            "history" => history = true,
            "test" => event["test"] = true.into(),
            field => event[field] = value.into(),
        }
    }
    shop.event(&event.to_string(), Timestamp::parse(time), history);
}

/// Every scenario of the goldens: its name and the lines that drive it.
fn scenarios() -> Vec<(String, Vec<String>)> {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut all = Vec::new();
    for file in ["cart", "suppress", "gate", "traits", "flows"] {
        let text = std::fs::read_to_string(directory.join(format!("{file}.txt"))).unwrap();
        let (_, scenarios) = text.split_once("== ").unwrap();
        for scenario in scenarios.split("\n== ") {
            let (name, body) = scenario.split_once('\n').unwrap();
            let inputs = body
                .lines()
                .filter(|line| !line.starts_with("=>") && !line.is_empty());
            all.push((name.to_owned(), inputs.map(str::to_owned).collect()));
        }
    }
    all
}

/// Those of identities come with them.
const OF_IDENTITY: [Reason; 2] = [Reason::ProfileMerged, Reason::ProfileErased];

#[test]
fn an_order_that_was_told_late_stands_in_the_way_since_its_own_time() {
    let lines = [
        "policy purchase_cooloff 3d",
        "policy bought_product 30d",
        r#"at 2026-03-01T13:00:00Z order_completed &event_time 2026-03-01T10:00:00Z {"order_id":"o1","products":[{"product_id":"p1"}]}"#,
        r#"at 2026-03-01T14:00:00Z product_added {"cart_id":"k","product_id":"p9","price":"50.00"}"#,
        r#"at 2026-03-04T14:00:00Z product_added {"cart_id":"k2","product_id":"p1","price":"50.00"}"#,
        "until 2026-03-04T19:00:00Z",
    ];
    let reader = Reader::new("UTC");
    let logged = play("an order told late", &lines).logged;
    let said: Vec<String> = logged
        .iter()
        .map(|line| reader.sentence(&Entry::read(line).unwrap()))
        .collect();
    for part in [
        "marketing pauses after order `o1` of 10:00 until 2026-03-04 10:00",
        "was bought with order `o1` at 2026-03-01 10:00, and is not promoted until 2026-03-31 10:00",
    ] {
        assert!(said.iter().any(|said| said.contains(part)), "{said:#?}");
    }
}

#[test]
fn every_reason_is_told_in_a_sentence_with_the_numbers_of_the_check_that_decided() {
    let reader = Reader::new("UTC");
    // By reason, then verdict and deciding check: the first decision of its kind.
    let mut told: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (name, lines) in scenarios() {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        for line in play(&name, &lines).logged {
            let entry = Entry::read(&line).unwrap();
            let by = entry
                .decided_by()
                .map(|check| format!(", by {}", check.check));
            let how = format!("{}{}", entry.kind.name(), by.unwrap_or_default());
            // The flow's own words and the receipts' names stand for each other.
            let reason = match entry.closed_reason() {
                Some(reason) if entry.kind != VerdictKind::Outcome => reason.name(),
                Some(_) | None => "(of the flow, or of a receipt)",
            };
            let sentence = reader.sentence(&entry);
            told.entry(reason.to_owned())
                .or_default()
                .entry(how)
                .or_insert(sentence);
        }
    }
    let missing: Vec<&str> = Reason::ALL
        .iter()
        .filter(|reason| !OF_IDENTITY.contains(reason) && !told.contains_key(reason.name()))
        .map(|reason| reason.name())
        .collect();
    assert!(missing.is_empty(), "no scenario gives {missing:?}");
    let mut text = String::from(
        "# What `tidegate explain` says, by reason\n\nEach line is a real decision of the scenarios beside this file: verdict, the check that decided, the sentence.\n",
    );
    for (reason, sentences) in told {
        write!(text, "\n## {reason}\n\n").unwrap();
        for (how, sentence) in sentences {
            writeln!(text, "- {how}: {sentence}").unwrap();
        }
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/reasons.md");
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap());
}

#[test]
fn golden_scenarios_decide_what_their_files_say() {
    let bless = std::env::var_os("TIDEGATE_BLESS").is_some();
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut wrong = String::new();
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|ext| ext == "txt"))
    {
        let text = std::fs::read_to_string(file).unwrap();
        let mut blessed = String::new();
        let (intro, scenarios) = text.split_once("== ").unwrap();
        blessed.push_str(intro);
        for scenario in scenarios.split("\n== ") {
            let (name, body) = scenario.split_once('\n').unwrap();
            let inputs: Vec<&str> = body
                .lines()
                .filter(|line| !line.starts_with("=>") && !line.is_empty())
                .collect();
            let expected: Vec<&str> = body
                .lines()
                .filter_map(|line| line.strip_prefix("=> "))
                .collect();
            let decided = play(name, &inputs).decided;
            if decided != expected && !bless {
                writeln!(
                    wrong,
                    "\n{}: {name}\n  decided:\n    {}\n  expected:\n    {}",
                    file.display(),
                    decided.join("\n    "),
                    expected.join("\n    ")
                )
                .unwrap();
            }
            writeln!(blessed, "== {name}\n{}", inputs.join("\n")).unwrap();
            for line in &decided {
                writeln!(blessed, "=> {line}").unwrap();
            }
            blessed.push('\n');
        }
        if bless {
            std::fs::write(file, blessed.trim_end().to_owned() + "\n").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The lines of a public data set, when it is there.
fn real(name: &str) -> Option<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/data")
        .join(name);
    let file = std::fs::File::open(path).ok()?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).unwrap();
    Some(text)
}

/// A year of a wholesaler, orders of up to 1,114 lines: counts and money are exact, whatever is forgotten of the single orders.
#[test]
fn real_orders_and_refunds_fold_to_the_cent() {
    let Some(text) = real("uci_orders_a.jsonl.gz") else {
        return;
    };
    let mut policy = open_policy();
    "GBP".clone_into(&mut policy.currency);
    let mut shop = Shop::new(Plan {
        flows: FlowSet::default(),
        policy,
    });
    let (mut orders, mut money, mut refunds, mut refunded) = (0, Money::ZERO, 0, Money::ZERO);
    for line in text.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let total = event["properties"]["total"]
            .as_str()
            .and_then(|total| Money::parse(total, 2));
        if event.get("customer_id").is_some() && event["type"] == "order_completed" {
            (orders, money) = (orders + 1, money.plus(total.unwrap()));
        } else if event.get("customer_id").is_some() && event["type"] == "order_refunded" {
            (refunds, refunded) = (refunds + 1, refunded.plus(total.unwrap()));
        }
        shop.event(line, None, false);
    }
    let mut sums = (0, Money::ZERO, 0, Money::ZERO);
    for profile in shop.profiles.values() {
        let totals = profile.orders.totals();
        sums = (
            sums.0 + totals.orders,
            sums.1.plus(totals.money),
            sums.2 + totals.refunds,
            sums.3.plus(totals.refunded),
        );
    }
    assert_eq!(sums, (orders, money, refunds, refunded));
    assert_eq!((orders, refunds), (9_051, 1_828));
}

/// The table of a public data set (a multi-category shop, one night): an abandoned-cart flow that any order ends, once per customer.
#[test]
fn real_carts_left_alone_fire_as_counted_by_brute_force() {
    let Some(text) = real("rees46_a.jsonl.gz") else {
        return;
    };
    let end = Timestamp::parse("2019-10-01T02:50:00Z").unwrap();
    for (delay, by_end, later) in [
        ("5m", 27, 34),
        ("10m", 21, 30),
        ("15m", 15, 29),
        ("30m", 1, 29),
    ] {
        let flow = format!(
            "flow: cart\nclass: marketing\nlist: offers\ninstance: cart_id\nenter: {{ events: [product_added] }}\nafter: {delay}\n\
             exit:\n  - {{ events: [order_completed], relevant: any, reason: purchased_relevant }}\n\
             reenter: never\nexpires: 3d\nmax_age: 1d\nsteps:\n  - {{ channel: email, template: t }}\n"
        );
        let mut policy = open_policy();
        "USD".clone_into(&mut policy.currency);
        let flows = flows(&[("cart.yaml".to_owned(), flow)], &policy);
        let mut shop = Shop::new(Plan { flows, policy });
        for line in text.lines() {
            shop.event(line, None, false);
        }
        let sends = |shop: &Shop| {
            shop.verdicts
                .iter()
                .filter(|v| v.kind == VerdictKind::Send)
                .count()
        };
        shop.run_to(end);
        assert_eq!(sends(&shop), by_end, "{delay} by 02:50");
        shop.run_to(end.plus(Span::from_days(30)));
        assert_eq!(sends(&shop), later, "{delay} when the clock runs on");
    }
}

/// Golden bytes: a diff here is a migration.
#[test]
fn the_stored_bytes_of_each_section_stay_what_they_are() {
    let mut policy = open_policy();
    policy.purchase_cooloff = Span::from_days(3);
    let flows = flows(&shipped(), &policy);
    let mut shop = Shop::new(Plan { flows, policy });
    for line in include_str!("golden/sections.jsonl").lines() {
        shop.event(line, None, false);
    }
    let mut text = String::new();
    for ((section, chunk), value) in shop.stored.values().flatten() {
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{section:?} {chunk} {hex}").unwrap();
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sections.hex");
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap());
}
