//! What flows cost: nanoseconds per event for nine flows and for two hundred, and compiled conditions beside interpreted CEL.
//! `cargo bench --bench flows`: criterion's figures, with their spread. Reported, not asserted.
//!
//! The two hundred are the nine shipped ones and copies of them for other countries, each with a condition of its own: what a shop has
//! that runs one set per market.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that meets the unexpected should stop there and say so"
)]
#![expect(clippy::disallowed_methods, reason = "a stopwatch reads the clock")]

use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidegate::app::load::{flow_texts, load};
use tidegate::config::Overrides;
use tidegate::engine::{Input, Ledger, Plan, step};
use tidegate::event::{DecodeContext, DecodeRules, Event, Origin, json};
use tidegate::flow::compile::{FlowFile, Surroundings, compile};
use tidegate::flow::condition::{About, Condition, Scope, Setting};
use tidegate::policy::Policy;
use tidegate::profile::Profile;
use tidegate::value::{ProfileKey, Timestamp};

const EVENTS: usize = 50_000;
const CUSTOMERS: usize = 2_000;

criterion_group!(benches, flows, conditions);
criterion_main!(benches);

/// One event through `step`, by how many flows are in force.
fn flows(criterion: &mut Criterion) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shipped = root.join("deploy/local/tidegate.yaml");
    let (_, nine) = load(&shipped, &Overrides::default()).unwrap();
    let texts = flow_texts(&[root.join("deploy/flows")]).unwrap();
    let many = copies(&texts, &nine.policy, 200).unwrap();
    let events = input(EVENTS).unwrap();
    let mut group = criterion.benchmark_group("event");
    group
        .sample_size(20)
        .throughput(Throughput::Elements(EVENTS as u64));
    for plan in [&nine, &many] {
        let name = BenchmarkId::new("flows", plan.flows.current().len());
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| fold(plan, &events).unwrap()).sum());
        });
    }
    group.finish();
}

/// The flows, and copies of them for countries where nobody of the bench lives.
fn copies(files: &[(String, String)], policy: &Policy, count: usize) -> Result<Plan> {
    let mut texts: Vec<(String, String)> = files.to_vec();
    let mut number = 0;
    while texts.len() < count {
        for (name, text) in files.iter().take(count - texts.len()) {
            let copy = elsewhere(text, number).context("a flow without `enter`")?;
            texts.push((format!("{number}-{name}"), copy));
        }
        number += 1;
    }
    let named: Vec<FlowFile<'_>> = texts
        .iter()
        .map(|(name, text)| FlowFile { name, text })
        .collect();
    match compile(&named, &Surroundings::of(policy)) {
        Ok(flows) => Ok(Plan {
            flows,
            policy: policy.clone(),
        }),
        Err(problems) => {
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            bail!("{}", all.join("\n"))
        }
    }
}

/// A flow under a name of its own, for a country of its own; without its tests.
fn elsewhere(text: &str, number: usize) -> Option<String> {
    let text = text.split("\ntests:").next()?;
    let named = text.find("flow: ")? + "flow: ".len();
    let end = named + text.get(named..)?.find('\n')?;
    let begin = end + text.get(end..)?.find("\nenter:")? + "\nenter:".len();
    let block = text.get(begin..)?;
    let length = block
        .match_indices('\n')
        .find(|(at, _)| {
            block
                .get(at + 1..)
                .is_some_and(|rest| !rest.starts_with([' ', '#']))
        })
        .map_or(block.len(), |(at, _)| at);
    let (enter, rest) = block.split_at(length);
    let country = format!("profile.country == 'X{number}'");
    let enter = if enter.contains("when: \"") {
        enter.replacen("when: \"", &format!("when: \"{country} && "), 1)
    } else if enter.starts_with(" {") {
        enter.replacen('{', &format!("{{ when: \"{country}\","), 1)
    } else {
        format!("\n  when: \"{country}\"{enter}")
    };
    let (before, between) = (text.get(..end)?, text.get(end..begin)?);
    Some(format!("{before}_{number}{between}{enter}{rest}\n"))
}

/// Events of a few customers: mostly looks, some carts, a few orders.
fn input(count: usize) -> Result<Vec<Event>> {
    let rules = DecodeRules::of_shop("EUR");
    let context = DecodeContext {
        rules: &rules,
        record_timestamp: None,
    };
    let begin = 1_780_000_000_000_i64;
    (0..count)
        .map(|n| {
            let kind = match n % 20 {
                0 | 7 => "product_added",
                13 => "order_completed",
                _ => "product_viewed",
            };
            let products = if kind == "order_completed" {
                format!(r#""order_id":"o{n}","products":[{{"product_id":"p{}","price":"9.90"}}]"#, n % 97)
            } else {
                format!(r#""product_id":"p{}","price":"29.90","category":"a/b""#, n % 97)
            };
            let line = format!(
                r#"{{"event_id":"e{n}","type":"{kind}","event_time":{},"customer_id":"c{}","source":"web","properties":{{{products}}}}}"#,
                begin + i64::try_from(n)? * 1_000,
                (n * 7_919) % CUSTOMERS,
            );
            json::decode(line.as_bytes(), &context).context("an event of the bench")
        })
        .collect()
}

/// All events through `step`; timers stay.
fn fold(plan: &Plan, events: &[Event]) -> Result<Duration> {
    let mut profiles: Vec<Profile> = (0..CUSTOMERS)
        .map(|n| Profile::new(ProfileKey::customer(&format!("c{n}"))))
        .collect();
    let mut ledger = Ledger::new(0);
    let mut verdicts = Vec::new();
    let origin = Origin {
        topic: "clicks".into(),
        partition: 0,
        offset: 0,
        timestamp: Timestamp::from_millis(0),
    };
    let mut spent = Duration::ZERO;
    for (n, event) in events.iter().enumerate() {
        let profile = profiles
            .get_mut((n * 7_919) % CUSTOMERS)
            .context("a customer of the bench")?;
        let input = Input::Event {
            event,
            origin: &origin,
            history: false,
        };
        let began = Instant::now();
        black_box(step(
            plan,
            &mut ledger,
            profile,
            input,
            event.effective_time,
            &mut verdicts,
        ));
        spent += began.elapsed();
        profile.take_changes(&mut |_, _, _| {});
        verdicts.clear();
    }
    Ok(spent)
}

/// The same conditions, compiled by us and interpreted by the `cel` crate over a context that holds the same values.
fn conditions(criterion: &mut Criterion) {
    let profile = Profile::new(ProfileKey::customer("c1"));
    let setting = Setting {
        events: None,
        about: About::ANY,
        currency_digits: 2,
    };
    let policy = Policy::default();
    let scope = Scope {
        profile: &profile,
        event: None,
        cart: None,
        product: None,
        policy: &policy,
        now: Timestamp::from_millis(1_780_000_000_000),
    };
    let mut group = criterion.benchmark_group("condition");
    for source in [
        "profile.orders >= 3",
        "profile.vip || profile.views > 10",
        "profile.orders == 0 && (profile.views > 5 || !profile.test)",
    ] {
        let ours = Condition::compile(source, &setting).unwrap();
        let program = cel::Program::compile(source).unwrap();
        let fields: HashMap<String, cel::Value> = [
            ("orders".to_owned(), 0_i64.into()),
            ("views".to_owned(), 0_i64.into()),
            ("vip".to_owned(), false.into()),
            ("test".to_owned(), false.into()),
        ]
        .into();
        let mut context = cel::Context::default();
        context.add_variable_from_value("profile", fields);
        let reference = matches!(program.execute(&context), Ok(cel::Value::Bool(true)));
        assert_eq!(
            reference,
            ours.holds(&scope),
            "{source} means something else to us"
        );
        group.bench_function(BenchmarkId::new("compiled", source), |bencher| {
            bencher.iter(|| ours.holds(black_box(&scope)));
        });
        group.bench_function(BenchmarkId::new("interpreted", source), |bencher| {
            bencher.iter(|| program.execute(black_box(&context)));
        });
    }
    group.finish();
}
