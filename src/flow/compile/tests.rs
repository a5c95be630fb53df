use super::*;
use crate::event::EventType;
use crate::flow::{Class, InstanceKey, Landmark, Moment, Occasion, Reenter, Relevance};
use crate::policy::ChannelMode;

fn channels() -> BTreeMap<Arc<str>, Channel> {
    let channel = |name: &str, reports: &[EventType]| {
        let name: Arc<str> = name.into();
        let channel = Channel {
            name: name.clone(),
            topic: name.clone(),
            mode: ChannelMode::Active,
            quiet_hours: Vec::new(),
            cost: 0,
            budget: None,
            breaker: None,
            needs_address: true,
            expose_address: false,
            expose: Vec::new(),
            reports: reports.to_vec(),
        };
        (name, channel)
    };
    let full = [
        EventType::Sent,
        EventType::Delivered,
        EventType::Opened,
        EventType::Clicked,
    ];
    [
        channel("email", &full),
        channel("push", &full),
        channel("sms", &[EventType::Sent, EventType::Delivered]),
    ]
    .into()
}

fn compiled(files: &[(&str, &str)]) -> Result<FlowSet, Vec<Problem>> {
    let channels = channels();
    let surroundings = Surroundings {
        channels: &channels,
        currency_digits: 2,
    };
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| FlowFile { name, text })
        .collect();
    compile(&files, &surroundings)
}

fn text_of(problems: &[Problem]) -> String {
    let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
    shown.join("\n\n") + "\n"
}

/// Names of `tests/golden/flows/<name>.yaml`, each with what is said about it in `<name>.txt`.
macro_rules! broken {
    ($($name:literal),* $(,)?) => {
        [$((
            concat!($name, ".yaml"),
            include_str!(concat!("../../../tests/golden/flows/", $name, ".yaml")),
            include_str!(concat!("../../../tests/golden/flows/", $name, ".txt")),
        )),*]
    };
}

#[test]
fn every_problem_of_a_broken_file_is_told_with_its_place_and_remedy() {
    let mut differs = Vec::new();
    for (name, yaml, expected) in broken![
        "absences",
        "arguments_of_functions",
        "becomes_by_time",
        "choice_of_channel",
        "condition_blocks",
        "condition_fields",
        "condition_remedies",
        "condition_syntax",
        "condition_types",
        "holdout_of_service",
        "key_twice",
        "lengths_of_time",
        "missing_keys",
        "moment_of_a_product",
        "moments",
        "no_time_left",
        "not_yaml",
        "never_at_hand_absence",
        "never_at_hand_becomes",
        "never_at_hand_events",
        "never_at_hand_moment",
        "nothing_said",
        "offer_places",
        "one_slip_hides_no_other",
        "relevance_without_purchase",
        "success_not_reported",
        "tab_indents",
        "two_documents",
        "unknown_keys",
        "unknown_names",
        "waits_too_long",
        "ways_of_entry",
        "wrong_shapes",
    ] {
        let said = match compiled(&[(name, yaml)]) {
            Ok(_) => "compiles\n".to_owned(),
            Err(problems) => {
                let mute = problems.iter().find(|problem| problem.remedy.is_none());
                assert!(mute.is_none(), "{name}: no remedy for {mute:?}");
                text_of(&problems)
            }
        };
        if std::env::var_os("TIDEGATE_BLESS").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/flows/");
            let golden = name.replace(".yaml", ".txt");
            std::fs::write(format!("{path}{golden}"), &said).unwrap();
        } else if said != expected {
            differs.push(format!("=== {name}\n{said}"));
        }
    }
    assert!(differs.is_empty(), "{}", differs.concat());
}

macro_rules! shipped {
    ($name:literal) => {
        (
            concat!($name, ".yaml"),
            include_str!(concat!("../../../deploy/flows/", $name, ".yaml")),
        )
    };
}

const SHIPPED: [(&str, &str); 9] = [
    shipped!("abandoned_cart"),
    shipped!("welcome"),
    shipped!("post_purchase"),
    shipped!("abandoned_browse"),
    shipped!("abandoned_checkout"),
    shipped!("cross_sell"),
    shipped!("winback"),
    shipped!("replenishment"),
    shipped!("cadence_break"),
];

#[test]
fn the_shipped_flows_compile_to_what_they_say() {
    let set = compiled(&SHIPPED).unwrap_or_else(|problems| panic!("{}", text_of(&problems)));
    let cart = &set.current()["abandoned_cart"];
    assert_eq!(cart.class, Class::Marketing);
    assert_eq!(cart.instance, InstanceKey::Cart);
    assert_eq!(cart.after.span, Span::from_hours(4));
    assert!(cart.after.restarts);
    assert_eq!(&*cart.reason.word, "cart_abandoned");
    assert_eq!(cart.exits[0].relevant, Some(Relevance::Cart));
    assert_eq!(
        cart.reenter,
        Reenter::After {
            span: Span::from_days(14),
            per_customer: true
        }
    );
    let channels: Vec<_> = cart.steps.iter().map(|step| &*step.channels[0]).collect();
    assert_eq!(channels, ["email", "push", "sms"]);
    assert_eq!(&*set.current()["welcome"].reason.word, "welcome");
    assert_eq!(set.current()["post_purchase"].class, Class::Service);
    let ninety_days = Span::from_days(90);
    assert!(matches!(
        set.current()["winback"].enter.on,
        Occasion::Absence { span, .. } if span == ninety_days
    ));
    assert!(matches!(
        set.current()["replenishment"].enter.on,
        Occasion::Moment(Moment::Known {
            landmark: Landmark::Depletion,
            ..
        })
    ));
    assert!(!set.current()["cross_sell"].after.restarts);
}

#[test]
fn the_kept_text_of_a_flow_compiles_to_the_same_version() {
    let channels = channels();
    let surroundings = Surroundings {
        channels: &channels,
        currency_digits: 2,
    };
    for flow in compiled(&SHIPPED).unwrap().current().values() {
        let again = compile_text(&flow.name, &flow.text, &surroundings).unwrap();
        assert_eq!(again.version, flow.version);
        assert_eq!(format!("{again:?}"), format!("{flow:?}"));
        assert_eq!(flow.version.len(), 16);
    }
}

const CART: &str = "flow: cart\nclass: marketing\nlist: offers\ninstance: cart_id\nenter: { events: [product_added] }\n";

#[test]
fn only_what_a_flow_means_makes_a_new_version() {
    let version = |text: &str| {
        compiled(&[("cart.yaml", text)]).unwrap().current()["cart"]
            .version
            .clone()
    };
    let steps = "steps: [{ channel: email, template: a }]\n";
    let plain = version(&format!("{CART}{steps}"));
    let reordered = format!(
        "# A comment.\nsteps:\n- template: \"a\"\n  channel: email\n{CART}tests: [{{ name: x }}]\n"
    );
    assert_eq!(version(&reordered), plain);
    assert_ne!(version(&format!("{CART}after: 1h\n{steps}")), plain);
}

#[test]
fn files_are_checked_together_and_within_limits() {
    let steps = "steps: [{ channel: email, template: a }]\n";
    let flow = format!("{CART}{steps}");
    let problems = compiled(&[("a.yaml", &flow), ("b.yaml", &flow)]).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].file.as_str(), problems[0].line), ("b.yaml", 1));
    assert_eq!(
        problems[0].message,
        "there is a flow `cart` already, in a.yaml"
    );

    let step = "  - { channel: email, template: a, within: 1m, when: \"profile.vip\" }\n";
    assert!(compiled(&[("a.yaml", &format!("{CART}steps:\n{}", step.repeat(16)))]).is_ok());
    let problems =
        compiled(&[("a.yaml", &format!("{CART}steps:\n{}", step.repeat(17)))]).unwrap_err();
    assert_eq!(
        (problems[0].line, problems[0].message.as_str()),
        (23, "17 steps are more than 16")
    );

    let long = format!("{flow}# {}\n", "x".repeat(MAX_TEXT));
    let problems = compiled(&[("a.yaml", &long)]).unwrap_err();
    assert_eq!(
        problems[0].message,
        "a flow file has at most 64 KiB, this one has 65 KiB"
    );
    assert_eq!(problems[0].to_string().lines().nth(1), Some(" --> a.yaml"));
}

proptest::proptest! {
    #[test]
    fn no_damage_to_a_flow_file_makes_the_compiler_panic(
        which in 0_usize..9,
        cut in 0_usize..4_000,
        length in 0_usize..40,
        insert in ".{0,12}",
    ) {
        let (name, text) = SHIPPED[which];
        let mut chars: Vec<char> = text.chars().collect();
        let at = cut.min(chars.len());
        chars.splice(at..(at + length).min(chars.len()), insert.chars());
        let damaged: String = chars.into_iter().collect();
        match compiled(&[(name, &damaged)]) {
            Ok(set) => for flow in set.current().values() {
                let channels = channels();
                let surroundings = Surroundings { channels: &channels, currency_digits: 2 };
                let again = compile_text(&flow.name, &flow.text, &surroundings).unwrap();
                proptest::prop_assert_eq!(&again.version, &flow.version);
            },
            Err(problems) => { text_of(&problems); }
        }
    }
}
