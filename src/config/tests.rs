//! Scenarios of reading a configuration.

use std::collections::BTreeMap;

use super::*;
use crate::value::Span;

const SMALL: &str = r#"
app: { id: shop }
kafka: { bootstrap: "localhost:9092" }
shop: { currency: EUR }
identity: { address_key: "0123456789abcdef" }
inputs:
  - { stream: clickstream, topic: clicks, key: customer_id }
channels:
  email: { topic: mail }
policy: {}
control_group: 10%
flows: flows
topics: {}
commit: {}
state: {}
http: {}
log: {}
dead_letters: {}
"#;

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse("t.yaml", text, &Overrides::default())
}

fn with(variables: &[(&str, &str)], flags: &[&str]) -> Overrides {
    Overrides {
        variables: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
    }
}

#[test]
fn sections_without_required_settings_may_be_left_out() {
    let short: String = SMALL
        .lines()
        .filter(|line| !line.ends_with(": {}"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(parse(&short).unwrap(), parse(SMALL).unwrap());
}

#[test]
fn every_problem_is_reported_at_once_each_with_its_place() {
    let text = SMALL
        .replace("control_group: 10%\n", "")
        .replace("id: shop", "id: shop, wokers: 3")
        .replace("currency: EUR", "currency: euro")
        .replace("policy: {}", "policy:\n  min_gap: half an hour\n  caps:\n    - { channel: mail, limit: 1, per: 16h }")
        .replace("key: customer_id", "key: customer");
    let problems = parse(&text).unwrap_err().to_string();
    let lines: Vec<&str> = problems.lines().collect();
    assert_eq!(lines.len(), 6, "{problems}");
    for line in [
        "t.yaml:2:18: app.wokers: there is no such setting; did you mean `workers`?",
        "t.yaml:4:9: shop.currency: is no ISO 4217 code; write three capitals such as EUR",
        "t.yaml:7:43: inputs[0].key: `customer` is wrong here; write `customer_id` or `any`",
        "t.yaml:11:3: policy.min_gap: `half an hour` is wrong here; write a length of time such as 500ms, 90s, 30m, 4h or 14d",
        "t.yaml:13:9: policy.caps[0].channel: there is no channel `mail`; did you mean `email`?",
    ] {
        assert!(lines.contains(&line), "missing {line}\nin\n{problems}");
    }
    assert!(
        problems
            .contains("control_group: is required and has no default; write a share such as 5%"),
        "{problems}"
    );
}

/// With `policy.yaml` beside it, and nothing else.
fn with_policy(policy: &'static str, overrides: &Overrides) -> Result<Config, String> {
    let text = SMALL
        .replace("policy: {}", "policy: policy.yaml")
        .replace("control_group: 10%\n", "");
    let open = |name: &str| match name {
        "policy.yaml" => Ok(("dir/policy.yaml".to_owned(), policy.to_owned())),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    match Config::read_text("t.yaml", &text, overrides, &open) {
        (config, None) => Ok(config),
        (_, Some(problems)) => Err(problems.to_string()),
    }
}

#[test]
fn a_policy_in_its_own_file_is_the_same_policy_and_its_problems_name_that_file() {
    let none = Overrides::default();
    let told = "min_gap: 1h\ncontrol_group: 5%\nbudgets: { email: { contacts: 9 } }\n";
    let config = with_policy(told, &none).unwrap();
    assert_eq!(config.policy.min_gap, Span::from_hours(1));
    assert_eq!(config.control_group, Percent(500));
    assert_eq!(config.flow_surroundings().0["email"].budget, Some(9));
    // What is laid over the configuration lies over the file, too.
    let over = with(&[], &["policy.min_gap=2h", "control_group=0%"]);
    let config = with_policy(told, &over).unwrap();
    assert_eq!(config.policy.min_gap, Span::from_hours(2));
    assert_eq!(config.control_group, Percent(0));
    // Printed, it stands in one place, and means the same.
    let printed = Config::parse(
        "p.yaml",
        &config.to_yaml().replace("********", "0123456789abcdef"),
        &none,
    );
    assert_eq!(printed.unwrap().policy, config.policy);

    let wrong = "min_gab: 1h\ncaps:\n  - { channel: fax, limit: 1, per: day }\nbudgets: { fax: { contacts: 1 } }\n";
    let said = with_policy(wrong, &none).unwrap_err();
    for line in [
        "dir/policy.yaml:1:1: min_gab: there is no such setting; did you mean `min_gap`?",
        "dir/policy.yaml:3:7: caps[0].channel: there is no channel `fax`",
        "dir/policy.yaml:4:12: budgets.fax: there is no channel `fax`",
        "control_group: is required and has no default",
    ] {
        assert!(said.contains(line), "missing {line}\nin\n{said}");
    }
    let said = with_policy("min_gap: [\n", &none).unwrap_err();
    assert!(said.starts_with("dir/policy.yaml:"), "{said}");
    let said = with_policy("control_group: 5%\n", &with(&[], &["policy=other.yaml"])).unwrap_err();
    assert!(
        said.contains("--set policy: policy: cannot read `other.yaml`"),
        "{said}"
    );
    let twice = SMALL.replace("policy: {}", "policy: built-in");
    let said = parse(&twice).unwrap_err().to_string();
    assert!(
        said.contains("control_group: stands in the configuration too"),
        "{said}"
    );
}

#[test]
fn the_shipped_policy_file_writes_out_the_defaults() {
    let text = SMALL
        .replace("policy: {}", "policy: built-in")
        .replace("control_group: 10%\n", "")
        .replace("email: { topic: mail }", "email: {}\n  push: {}\n  sms: {}");
    let config = parse(&text).unwrap();
    let plain = parse(&text.replace("policy: built-in", "control_group: 10%")).unwrap();
    assert_eq!(config.policy, plain.policy);
    assert_eq!(config.control_group, Percent(1_000));
}

#[test]
fn what_is_no_yaml_is_reported_with_its_place() {
    let problems = parse("app: [1, 2\nshop: }").unwrap_err().to_string();
    assert!(problems.starts_with("t.yaml:"), "{problems}");
    assert!(problems.contains("not valid YAML"), "{problems}");
}

#[test]
fn variables_and_flags_are_laid_over_the_file_and_flags_win() {
    let overrides = with(
        &[
            ("TIDEGATE__COMMIT__MAX_RECORDS", "10"),
            ("TIDEGATE__CHANNELS__EMAIL__QUIET_HOURS", "none"),
            ("TIDEGATE__KAFKA__PROPERTIES__SASL_USERNAME", "u"),
            ("TIDEGATE__APP__WORKERS", "2"),
            ("TIDEGATE_CACHE", "not ours"),
        ],
        &[
            "app.workers=3",
            "kafka.properties.sasl.password=hunter2hunter2",
            "inputs.0.topic=other",
            "policy.caps=[]",
        ],
    );
    let config = Config::parse("t.yaml", SMALL, &overrides).unwrap();
    assert_eq!(
        (config.commit.max_records, config.app.workers),
        (10, Some(3))
    );
    assert_eq!(config.channels["email"].quiet_hours, QuietTime(Vec::new()));
    assert_eq!(config.inputs[0].topic, "other");
    assert!(config.policy.caps.is_empty());
    assert!(config.kafka.properties.0.contains_key("sasl.username"));
    let printed = config.to_yaml();
    assert!(
        !printed.contains("hunter2") && !format!("{config:?}").contains("hunter2"),
        "{printed}"
    );
}

#[test]
fn an_unknown_override_is_an_error_that_names_it() {
    let overrides = with(
        &[("TIDEGATE__COMIT__MAX_RECORDS", "10")],
        &["app.colour=red", "app.id.x=1", "nothing"],
    );
    let problems = Config::parse("t.yaml", SMALL, &overrides)
        .unwrap_err()
        .to_string();
    for part in [
        "environment variable TIDEGATE__COMIT__MAX_RECORDS: comit: there is no such setting; did you mean `commit`?",
        "--set app.colour: app.colour: there is no such setting",
        "--set app.id.x: app.id.x: there is no such setting: nothing named `x` under `app.id`",
        "--set nothing: has no value",
    ] {
        assert!(problems.contains(part), "missing {part}\nin\n{problems}");
    }
}

#[test]
fn interpolation_takes_the_variable_or_the_default_or_complains() {
    let text = SMALL
        .replace("\"localhost:9092\"", "\"${HOST}:${PORT:9092}\"")
        .replace("topic: mail", "topic: \"${TOPIC}\"");
    let problems = Config::parse("t.yaml", &text, &with(&[("HOST", "b")], &[]))
        .unwrap_err()
        .to_string();
    assert_eq!(
        problems,
        "t.yaml:9:12: channels.email.topic: environment variable TOPIC is not set; set it, or give a default: ${TOPIC:default}"
    );
    let config = Config::parse(
        "t.yaml",
        &text,
        &with(&[("HOST", "b"), ("TOPIC", "m")], &[]),
    )
    .unwrap();
    assert_eq!(config.kafka.bootstrap, "b:9092");
}

#[test]
fn what_is_printed_reads_back_the_same() {
    let text = SMALL.replace("\"0123456789abcdef\"", "{ file: /run/key }").replace("policy: {}", "policy: { caps: [{ counts: discount, limit: 2, per: 3 days }], cooloff_exempt: [\"no\", \"$${x}\"] }");
    let config = parse(&text).unwrap();
    let printed = config.to_yaml();
    assert_eq!(
        parse(&printed).unwrap_or_else(|problems| panic!("{problems}\n{printed}")),
        config,
        "{printed}"
    );
    assert_eq!(config.policy.cooloff_exempt[1], "${x}");
}

#[cfg(feature = "kafka")]
#[test]
fn properties_that_guarantees_rest_on_are_refused() {
    let text = SMALL.replace("bootstrap: \"localhost:9092\"", "bootstrap: \"localhost:9092\", properties: { isolation.level: read_uncommitted, linger.ms: 5 }");
    let problems = parse(&text).unwrap_err().to_string();
    assert!(
        problems.starts_with(
            "t.yaml:3:53: kafka.properties.isolation.level: `isolation.level` cannot be set"
        ),
        "{problems}"
    );
    assert_eq!(problems.lines().count(), 1, "{problems}");
}

#[test]
fn what_is_known_in_a_policy_of_its_own_file_is_all_that_may_stand_there() {
    let said = with_policy(
        "control_group: 5%\nquiet_hours_everywhere: 1\n",
        &Overrides::default(),
    );
    let said = said.unwrap_err();
    assert!(
        said.contains("there is no such setting; known here: caps, ")
            && said.contains("conversion_window, control_group, control_salt"),
        "{said}"
    );
    let within = SMALL.replace("policy: {}", "policy: { quiet_hours_everywhere: 1 }");
    let said = parse(&within).unwrap_err().to_string();
    assert!(!said.contains("control_salt"), "{said}");
}

#[test]
fn a_window_longer_than_contacts_are_remembered_is_refused_with_the_longest_that_is_not() {
    let caps = "caps:\n  - { channel: email, limit: 1, per: 61d }\n  - { channel: email, limit: 69, per: 60 days }\n  \
                - { channel: email, limit: 1, per: 9 weeks }\n  - { channel: email, limit: 68, per: 60d }\n  \
                - { channel: email, limit: 1, per: 8 weeks }\n";
    let policy = format!(
        "control_group: 5%\nmin_gap: 61d\nsame_message: 1440h\nconversion_window: 1441h\nservice_per_hour: 69\n{caps}traits: {{ churn: {{ per: 90d }} }}\n"
    );
    let said = with_policy(policy.leak(), &Overrides::default()).unwrap_err();
    let told: Vec<&str> = said.lines().collect();
    assert_eq!(
        told,
        [
            "dir/policy.yaml:2:1: min_gap: is longer than the 60d that contacts are remembered; write 60d or less",
            "dir/policy.yaml:4:1: conversion_window: is longer than the 60d that contacts are remembered; write 60d or less",
            "dir/policy.yaml:5:1: service_per_hour: is more than the 68 contacts that are remembered of a customer; write 68 or less",
            "dir/policy.yaml:7:33: caps[0].per: is longer than the 60d that contacts are remembered; write 60d or less",
            "dir/policy.yaml:8:23: caps[1].limit: is more than the 68 contacts that are remembered of a customer; write 68 or less",
            "dir/policy.yaml:8:34: caps[1].per: is longer than the 60d that contacts are remembered; write 59 days or fewer",
            "dir/policy.yaml:9:33: caps[2].per: is longer than the 60d that contacts are remembered; write 8 weeks or fewer",
            "dir/policy.yaml:12:20: traits.churn.per: is longer than the 60d that contacts are remembered; write 60d or less",
        ]
    );
}

#[test]
fn the_shipped_caps_apply_to_the_channels_that_exist() {
    let policy = parse(SMALL).unwrap().policy().unwrap();
    assert_eq!(policy.caps.len(), 4, "{:?}", policy.caps);
    assert_eq!(
        (policy.control_group, policy.control_salt.as_str()),
        (1_000, "shop")
    );
    assert_eq!(&*policy.channels["email"].topic, "mail");
}

#[test]
fn shares_read_what_they_write() {
    for text in ["0%", "5%", "0.25%", "12.50%", "100%"] {
        assert_eq!(Percent::parse(text).unwrap().to_string(), text);
    }
    for text in ["5", "101%", "-1%", "0.001%", "%", "1.%", "100.01%"] {
        assert_eq!(Percent::parse(text), None, "{text}");
    }
}

#[test]
fn the_shipped_local_configuration_is_good() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/local/tidegate.yaml");
    let config =
        Config::load(&path, &Overrides::default()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        config.channels.keys().collect::<Vec<_>>(),
        ["email", "push", "sms"]
    );
    assert!(config.flows.0[0].ends_with("deploy/local/../flows"));
}

#[test]
fn a_filter_and_a_mapping_may_stand_in_the_configuration_itself_and_are_refused_with_their_places()
{
    let small = SMALL.replace("\"0123456789abcdef\"", "{ file: /run/key }");
    let foreign = small.replace(
        "  - { stream: clickstream, topic: clicks, key: customer_id }",
        "  - topic: clicks
    key: customer_id
    filter: { shop: [acme, 7], $header.tenant: { not: test } }
    mapping:
      type: page_viewed
      fields: { event_time: { path: at, time: seconds }, customer_id: who, page: { const: 5 } }",
    );
    let config = parse(&foreign).unwrap();
    let printed = config.to_yaml();
    assert_eq!(
        parse(&printed).unwrap_or_else(|problems| panic!("{problems}\n{printed}")),
        config,
        "{printed}"
    );
    let wrong = foreign
        .replace("page_viewed", "page_vewed")
        .replace("[acme, 7]", "{ nt: 7 }");
    let problems = parse(&wrong).unwrap_err().to_string();
    for line in [
        "t.yaml:9:15: inputs[0].filter: a filter asks for values; write paths",
        "t.yaml:11:7: inputs[0].mapping: `page_vewed` is none of our event types; did you mean `page_viewed`?",
    ] {
        assert!(problems.contains(line), "missing {line}\nin\n{problems}");
    }
    let bare = SMALL.replace("stream: clickstream, ", "");
    let problems = parse(&bare).unwrap_err().to_string();
    assert!(
        problems.contains("inputs[0].stream: is required and has no default"),
        "{problems}"
    );
}
