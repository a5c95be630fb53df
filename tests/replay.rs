//! `tidegate replay`, run as a program: over two public data sets where they lie beside the repository, and over a log made here
//! whose figures can be counted by hand.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected should stop there and say so"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory of one test, gone when it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("tidegate-replay-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Everything off but one flow that waits for `delay`.
fn configuration(scratch: &Scratch, currency: &str, delay: &str) -> PathBuf {
    scratch.write(
        "flow.yaml",
        &format!(
            "flow: abandoned_cart
class: marketing
list: offers
priority: 60
instance: cart_id
enter: {{ events: [product_added] }}
after: {delay}
exit:
  - {{ events: [order_completed], relevant: any, reason: purchased_relevant }}
reenter: never
expires: 3d
max_age: 1d
steps:
  - {{ channel: email, template: cart_reminder }}
"
        ),
    );
    scratch.write(
        "tidegate.yaml",
        &format!(
            "app: {{ id: shop }}
kafka: {{ bootstrap: 'nowhere:9092' }}
shop: {{ currency: {currency} }}
identity: {{ address_key: 0123456789abcdef }}
inputs:
  - {{ stream: clickstream, topic: clicks, key: customer_id }}
  - {{ stream: purchases, topic: orders, key: customer_id }}
  - {{ stream: customers, topic: people, key: customer_id }}
channels: {{ email: {{ quiet_hours: none }} }}
policy: {{ caps: [], min_gap: 0s, same_message: 0s, purchase_cooloff: 0s, bought_product: 0s }}
control_group: 0%
flows: flow.yaml
"
        ),
    )
}

/// Runs the program; gives what it said on standard output and standard error.
fn replay(config: &Path, events: &Path, more: &[&str]) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["replay", "--config"])
        .arg(config)
        .arg("--events")
        .arg(events)
        .args(more)
        .output()
        .unwrap();
    let (out, told) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(output.status.success(), "{told}");
    (out, told)
}

/// The number at the end of the first line that begins with these words.
fn figure(told: &str, words: &[&str]) -> u64 {
    told.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|line| line.starts_with(words))
        .and_then(|line| line.get(words.len())?.parse().ok())
        .unwrap_or(0)
}

/// The public data sets, which are not part of the repository.
fn data(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/data")
        .join(name);
    path.exists().then_some(path)
}

#[test]
fn abandoned_carts_of_the_multi_category_shop_are_those_counted_from_the_raw_rows() {
    let Some(events) = data("rees46_a.jsonl.gz") else {
        return;
    };
    let scratch = Scratch::new("rees46");
    for (delay, by_the_end, later) in [
        ("5m", 27, 34),
        ("10m", 21, 30),
        ("15m", 15, 29),
        ("30m", 1, 29),
    ] {
        let config = configuration(&scratch, "USD", delay);
        for (until, expected) in [
            ("2019-10-01T02:50:00Z", by_the_end),
            ("2019-10-02T02:50:00Z", later),
        ] {
            let (_, told) = replay(&config, &events, &["--until", until]);
            let sent = figure(&told, &["abandoned_cart", "send", "abandoned_cart"]);
            assert_eq!(sent, expected, "{delay} until {until}\n{told}");
        }
    }
}

#[test]
fn orders_of_the_wholesaler_fold_to_the_cent() {
    let Some(events) = data("uci_orders_a.jsonl.gz") else {
        return;
    };
    let scratch = Scratch::new("uci");
    let (_, told) = replay(&configuration(&scratch, "GBP", "4h"), &events, &[]);
    assert_eq!(
        figure(&told, &["folded", "order_completed"]),
        9_051,
        "{told}"
    );
    assert_eq!(
        figure(&told, &["folded", "order_refunded"]),
        1_828,
        "{told}"
    );
    assert!(
        told.contains("4487194.57 GBP") && told.contains("391331.06 GBP"),
        "{told}"
    );
    let unattributed = figure(&told, &["unattributed", "order_completed"])
        + figure(&told, &["unattributed", "order_refunded"]);
    assert_eq!(unattributed, 1_178, "{told}");
    assert_eq!(figure(&told, &["dead", "letters"]), 0, "{told}");
}

/// Gaps of at least that length between the orders of a customer, the open last one counted.
#[test]
fn absences_of_the_wholesalers_customers_are_those_counted_from_the_raw_rows() {
    let Some(events) = data("uci_orders_a.jsonl.gz") else {
        return;
    };
    let scratch = Scratch::new("absence");
    let config = configuration(&scratch, "GBP", "4h");
    for (days, expected) in [(30, 4_391), (60, 2_508), (90, 1_596), (180, 637)] {
        let flow = format!(
            "flow: winback
class: transactional
enter: {{ absence: [order_completed], for: {days}d }}
reenter: always
expires: 1d
exit: [{{ events: [order_completed], relevant: any }}]
steps: [{{ channel: email, template: winback }}]
"
        );
        scratch.write("flow.yaml", &flow);
        let more = [
            "--until",
            "2011-12-10T00:00:00Z",
            "--set",
            "channels.email.needs_address=false",
        ];
        let (_, told) = replay(&config, &events, &more);
        let sent = figure(&told, &["winback", "send", "winback"]);
        assert_eq!(sent, expected, "{days} days\n{told}");
    }
}

/// Customer n leaves a cart at minute n; every third buys ten minutes later; every fifth cart event comes twice; two lines are dirt.
fn log(customers: u32) -> String {
    let mut events: Vec<(u32, String)> = Vec::new();
    let time = |minute: u32| format!("2026-03-01T{:02}:{:02}:00Z", minute / 60, minute % 60);
    for n in 0..customers {
        let add = |kind: &str, id: &str, minute: u32, properties: &str| {
            (
                minute,
                format!(
                    r#"{{"event_id":"{id}-{n}","type":"{kind}","event_time":"{}","customer_id":"c{n}","source":"web","properties":{properties}}}"#,
                    time(minute)
                ),
            )
        };
        events.push(add(
            "identified",
            "i",
            n,
            &format!(r#"{{"addresses":{{"email":"c{n}@shop.test"}},"consents":{{"email":true}}}}"#),
        ));
        let cart = add(
            "product_added",
            "a",
            n,
            r#"{"product_id":"p","quantity":1,"price":"9.99"}"#,
        );
        if n % 5 == 0 {
            events.push(cart.clone());
        }
        events.push(cart);
        if n % 3 == 0 {
            events.push(add("order_completed", "o", n + 10, r#"{"order_id":"x","total":"9.99","products":[{"product_id":"p","quantity":1,"price":"9.99"}]}"#));
        }
    }
    events.sort_by_key(|(minute, _)| *minute);
    let mut text = String::from("no event at all\n");
    for (_, line) in events {
        writeln!(text, "{line}").unwrap();
    }
    text.push_str(r#"{"event_id":"n","type":"order_completed","event_time":"2026-03-01T10:00:00Z","properties":{"total":"5.00"}}"#);
    text
}

#[test]
fn a_log_made_here_gives_the_figures_that_can_be_counted_by_hand() {
    let scratch = Scratch::new("made");
    let config = configuration(&scratch, "EUR", "30m");
    let events = scratch.write("events.jsonl", &log(300));
    let letters = scratch.0.join("letters.jsonl");
    let profiles = scratch.0.join("profiles.jsonl");
    let more = [
        "--until",
        "2026-03-02T00:00:00Z",
        "--decisions",
        "-",
        "--dead-letters",
        letters.to_str().unwrap(),
        "--profiles",
        profiles.to_str().unwrap(),
    ];
    let (decisions, told) = replay(&config, &events, &more);
    assert_eq!(
        figure(&told, &["abandoned_cart", "send", "abandoned_cart"]),
        200,
        "{told}"
    );
    assert_eq!(figure(&told, &["folded", "order_completed"]), 100, "{told}");
    assert!(told.contains("999.00 EUR"), "{told}");
    assert_eq!(figure(&told, &["duplicates"]), 60, "{told}");
    assert_eq!(
        figure(&told, &["unattributed", "order_completed"]),
        1,
        "{told}"
    );
    assert_eq!(
        figure(&told, &["dead", "letters", "malformed"]),
        1,
        "{told}"
    );
    assert_eq!(decisions.matches(r#""verdict":"send""#).count(), 200);
    assert_eq!(std::fs::read_to_string(letters).unwrap().lines().count(), 1);
    let profiles: Vec<String> = std::fs::read_to_string(profiles)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(profiles.len(), 300);

    // The number of partitions changes clocks and places, not what is decided, once the clock has run on everywhere.
    let ids = |text: &str| {
        let mut ids: Vec<String> = text
            .lines()
            .filter_map(|line| {
                Some(
                    line.split_once(r#""decision_id":""#)?
                        .1
                        .get(..32)?
                        .to_owned(),
                )
            })
            .collect();
        ids.sort();
        ids
    };
    let (other, _) = replay(
        &config,
        &events,
        &[
            "--until",
            "2026-03-02T00:00:00Z",
            "--decisions",
            "-",
            "--partitions",
            "3",
        ],
    );
    assert_eq!(ids(&other), ids(&decisions));
}

/// Runs `replay --diff`; gives the report.
fn difference(config: &Path, events: &Path, old: &Path, more: &[&str]) -> String {
    let old = old.to_str().unwrap();
    let more: Vec<&str> = ["--diff", old].iter().chain(more).copied().collect();
    replay(config, events, &more).0
}

#[test]
fn a_changed_delay_a_new_step_and_flows_that_come_and_go_show_as_what_they_are() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/diff");
    let read = |name: &str| std::fs::read_to_string(golden.join(name)).unwrap();
    let scratch = Scratch::new("diff");
    // Paths of a configuration are relative to its file.
    let flows = format!("flows: {}", golden.join("new").display());
    let config = read("tidegate.yaml").replace("flows: new", &flows);
    let config = scratch.write("tidegate.yaml", &config);
    let events = golden.join("events.jsonl");
    let until = ["--until", "2026-03-06T00:00:00Z"];
    let told = difference(&config, &events, &golden.join("old"), &until);
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::write(golden.join("report.txt"), &told).unwrap();
    }
    assert_eq!(told, read("report.txt"));
    let itself = difference(&config, &events, &golden.join("new"), &until);
    assert!(itself.contains("nothing differs"), "{itself}");
}

#[test]
fn a_budget_is_split_over_the_partitions_that_there_are() {
    let scratch = Scratch::new("budget");
    let config = configuration(&scratch, "EUR", "30m");
    let text = std::fs::read_to_string(&config).unwrap();
    let policy = "policy: { budgets: { email: { contacts: 4 } },";
    scratch.write("tidegate.yaml", &text.replace("policy: {", policy));
    let events = scratch.write("events.jsonl", &log(60));
    for partitions in ["1", "2"] {
        let more = [
            "--until",
            "2026-03-01T12:00:00Z",
            "--partitions",
            partitions,
        ];
        let (_, told) = replay(&config, &events, &more);
        let sent = figure(&told, &["abandoned_cart", "send", "abandoned_cart"]);
        assert_eq!(sent, 4, "{partitions}: {told}");
    }
}

#[test]
fn many_customers_may_each_have_several_things_due_at_one_instant() {
    let scratch = Scratch::new("nine");
    let config = configuration(&scratch, "EUR", "1h");
    // A second flow that is due when the first is.
    let flow = std::fs::read_to_string(scratch.0.join("flow.yaml")).unwrap();
    let second = flow.replace("flow: abandoned_cart", "flow: second");
    scratch.write("second.yaml", &second);
    let text = std::fs::read_to_string(&config).unwrap();
    let both = text.replace("flows: flow.yaml", "flows: [flow.yaml, second.yaml]");
    scratch.write("tidegate.yaml", &both);
    let mut log = String::new();
    // More than a profile may fire timers at once.
    for customer in 0..1_100 {
        writeln!(
            log,
            r#"{{"event_id":"e{customer}","type":"product_added","event_time":"2026-03-01T10:00:00Z","customer_id":"c-{customer}","properties":{{"cart_id":"k","product_id":"p"}}}}"#
        )
        .unwrap();
    }
    let events = scratch.write("events.jsonl", &log);
    let until = ["--until", "2026-03-01T12:00:00Z", "--partitions", "1"];
    let (_, told) = replay(&config, &events, &until);
    // Nobody consented: each wish is passed over at the gate.
    assert_eq!(
        figure(&told, &["second", "skip", "no_consent"]),
        1_100,
        "{told}"
    );
}

/// The decision log of the golden events, and what `explain` says of it: exit code and standard output.
struct Explained {
    /// Kept until the log is done with.
    _scratch: Scratch,
    config: PathBuf,
    log: PathBuf,
}

impl Explained {
    fn new(name: &str) -> Self {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/diff");
        let scratch = Scratch::new(name);
        let log = scratch.0.join("decisions.jsonl");
        let config = golden.join("tidegate.yaml");
        let until = "2026-03-06T00:00:00Z";
        let more = ["--until", until, "--decisions", log.to_str().unwrap()];
        replay(&config, &golden.join("events.jsonl"), &more);
        Self {
            _scratch: scratch,
            config,
            log,
        }
    }

    fn ask(&self, question: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .arg("explain")
            .arg("--config")
            .arg(&self.config)
            .arg("--log")
            .arg(&self.log)
            .args(question)
            .output()
            .unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), told)
    }

    /// The id of the one decision that waits.
    fn deferred(&self) -> String {
        let lines = std::fs::read_to_string(&self.log).unwrap();
        let defer = lines
            .lines()
            .find(|line| line.contains(r#""verdict":"defer""#))
            .unwrap();
        let defer: serde_json::Value = serde_json::from_str(defer).unwrap();
        defer["decision_id"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_person_is_told_why_from_the_decision_log_alone() {
    let explained = Explained::new("explain");
    let defer = explained.deferred();
    let defer = defer.as_str();
    let questions: [&[&str]; 7] = [
        &["--customer", "eve"],
        &["--customer", "eve", "--decision", defer],
        &[
            "--customer",
            "eve",
            "--flow",
            "review",
            "--at",
            "2026-03-02T12:00:00Z",
        ],
        &[
            "--customer",
            "ben",
            "--flow",
            "cart",
            "--at",
            "2026-03-02T12:00:00Z",
        ],
        &[
            "--customer",
            "nobody",
            "--flow",
            "cart",
            "--at",
            "2027-01-01T00:00:00Z",
        ],
        &["--customer", "nobody"],
        &["--customer", "nobody", "--decision", defer],
    ];
    let mut told = String::new();
    for question in questions {
        let (code, answer) = explained.ask(question);
        // Who is not in the log has no answer there.
        assert_eq!(code, i32::from(question.contains(&"nobody")), "{answer}");
        let question = question.join(" ");
        writeln!(told, "$ tidegate explain {question}\n{answer}").unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/diff/explained.txt");
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::write(&path, &told).unwrap();
    }
    assert_eq!(told, std::fs::read_to_string(&path).unwrap());
    let (_, answer) = explained.ask(&["--customer", "eve", "--decision", defer, "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let sentence = answer["decisions"][0]["sentence"].as_str().unwrap();
    assert!(
        sentence.ends_with("2nd e-mail in 16 h, cap 1; the first left at 11:40 for `hello`."),
        "{sentence}"
    );
    assert_eq!(answer["log"]["decisions"], 9);
}

#[test]
fn the_readmes_show_what_explain_prints_and_what_is_not_known_ends_with_1() {
    let explained = Explained::new("unknown");
    let (_, shown) = explained.ask(&["--customer", "eve", "--decision", &explained.deferred()]);
    for readme in ["README.md", "deploy/flows/README.md"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(readme);
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(&shown), "{readme} does not show\n{shown}");
    }
    let at = "2026-03-02T12:00:00Z";
    let questions: [(&[&str], &str); 2] = [
        (
            &["--decision", "0123"],
            "no decision of this customer by that id",
        ),
        (
            &["--flow", "crat", "--at", at],
            "There is no flow `crat`: neither the log nor the configuration names it. Known are: cart, hello, review.",
        ),
    ];
    for (question, said) in questions {
        let (code, told) = explained.ask(&[&["--customer", "eve"], question].concat());
        let told = told.replace('\n', " ");
        assert!(code == 1 && told.contains(said), "{code} {told}");
    }
}

/// A few hundred events of forty customers, whose like a seed gives again.
fn crowd(seed: u64) -> String {
    let mut state = seed;
    let mut draw = move |bound: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let mut log = String::new();
    for customer in 0..40 {
        writeln!(
            log,
            r#"{{"event_id":"i{customer}","type":"identified","event_time":"2026-03-01T00:00:00Z","customer_id":"c-{customer}","addresses":{{"email":"{customer}@shop.test","push":"t-{customer}","sms":"+49{customer}"}},"consents":{{"email":true,"push":true,"sms":true}}}}"#
        )
        .unwrap();
    }
    for event in 0..600 {
        let (day, hour, minute) = (1 + event / 60, event % 60 / 3, event % 3 * 20);
        let (customer, product) = (draw(40), draw(12));
        let kinds = [
            "product_viewed",
            "product_added",
            "product_added",
            "checkout_started",
            "order_completed",
            "signed_up",
        ];
        let kind = kinds[usize::try_from(draw(6)).unwrap()];
        let about = match kind {
            "order_completed" => format!(
                r#""order_id":"o{event}","cart_id":"k{customer}","total":"49.00","products":[{{"product_id":"p{product}","quantity":1,"price":"49.00"}}]"#
            ),
            "signed_up" => String::new(),
            _ => format!(
                r#""cart_id":"k{customer}","product_id":"p{product}","category":"a/b","quantity":1,"price":"49.00""#
            ),
        };
        writeln!(
            log,
            r#"{{"event_id":"e{event}","type":"{kind}","event_time":"2026-03-{day:02}T{hour:02}:{minute:02}:00Z","customer_id":"c-{customer}","properties":{{{about}}}}}"#
        )
        .unwrap();
    }
    log
}

#[test]
fn the_shipped_flows_do_not_differ_from_themselves_and_threads_change_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scratch = Scratch::new("crowd");
    let config = std::fs::read_to_string(root.join("deploy/local/tidegate.yaml")).unwrap();
    let shipped = root.join("deploy/flows");
    let config = config.replace("../", &format!("{}/", root.join("deploy").display()));
    let config = scratch.write("tidegate.yaml", &config);
    let until = ["--until", "2026-04-01T00:00:00Z"];
    // Others: carts wait half as long, and nobody is welcomed.
    let old = scratch.0.join("old");
    std::fs::create_dir_all(&old).unwrap();
    for entry in std::fs::read_dir(&shipped).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".yaml") && name != "welcome.yaml" {
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(old.join(name), text.replace("after: 4h", "after: 2h")).unwrap();
        }
    }
    for seed in [1, 2, 3] {
        let events = scratch.write("events.jsonl", &crowd(seed));
        let itself = difference(&config, &events, &shipped, &until);
        assert!(itself.contains("nothing differs"), "seed {seed}\n{itself}");
        let [one, two] = ["1", "2"].map(|threads| {
            let more = [until[0], until[1], "--threads", threads];
            difference(&config, &events, &old, &more)
        });
        assert_eq!(one, two, "seed {seed}");
        assert!(one.contains("2 h later"), "seed {seed}\n{one}");
        assert!(
            one.contains("added") && one.contains("welcome"),
            "seed {seed}\n{one}"
        );
    }
}
