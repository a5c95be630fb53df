//! One decision of each kind, as it leaves and as it is logged.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::decision::*;
use crate::event::Refusal;
use crate::flow::Class;
use crate::policy::{Channel, ChannelMode};
use crate::profile::BlockOn;
use crate::value::{Span, Timestamp};

const MARKERS: [&str; 2] = ["canary@address.test", "canary-trait"];

fn at(hour: i64) -> Timestamp {
    Timestamp::parse("2026-03-01T00:00:00Z")
        .unwrap()
        .plus(Span::from_hours(hour))
}

fn channel(name: &str, expose_address: bool, expose: &[&str]) -> (Arc<str>, Channel) {
    let channel = Channel {
        name: name.into(),
        topic: format!("out-{name}").into(),
        mode: ChannelMode::Active,
        quiet_hours: Vec::new(),
        cost: 0,
        budget: None,
        breaker: None,
        needs_address: true,
        expose_address,
        expose: expose.iter().map(|part| Arc::from(*part)).collect(),
        reports: Vec::new(),
    };
    (name.into(), channel)
}

fn policy() -> Policy {
    Policy {
        channels: BTreeMap::from([
            channel("email", false, &["cart", "products"]),
            channel("push", true, &["profile"]),
        ]),
        ..Policy::default()
    }
}

fn plan(avro: &[&str]) -> OutboundPlan {
    OutboundPlan {
        application: "shop".into(),
        events_topic: "shop-events".into(),
        decisions_topic: "shop-decisions".into(),
        blocks_topic: "shop-blocks".into(),
        dead_letters_topic: "shop-dlq".into(),
        changelog_topic: "shop-profiles-changelog".into(),
        avro_channels: avro
            .iter()
            .map(|name| (Arc::from(*name), DecisionWriter::new().unwrap()))
            .collect(),
        avro_log: None,
    }
}

fn id(number: u8) -> DecisionId {
    DecisionId::of(&[&[number]])
}

fn origin() -> Origin {
    Origin {
        topic: "clickstream".into(),
        partition: 3,
        offset: 812,
        timestamp: at(9),
    }
}

fn verdict(kind: VerdictKind, message: Option<Message>) -> Verdict {
    Verdict {
        kind,
        decision_id: id(1),
        profile: ProfileKey::customer("c-7"),
        customer_id: Some("c-7".to_owned()),
        anonymous_id: None,
        route: None,
        channel: Some("email".into()),
        locale: Some("de".to_owned()),
        time_zone: Some("Europe/Berlin".to_owned()),
        place: Some(Place {
            flow: "abandoned_cart".into(),
            flow_version: "0011223344556677".into(),
            instance: "k-1".to_owned(),
            step: 1,
            steps: 3,
        }),
        why: Why::Flow("cart_abandoned".into()),
        checks: vec![Check {
            name: "caps",
            passed: true,
            detail: "0 of 1 in 16h".to_owned(),
            seen: None,
        }],
        decided_at: at(10),
        cause: Cause {
            origin: origin(),
            event_id: "e-1".to_owned(),
            kind: None,
        },
        target: None,
        until: None,
        outcome: None,
        purchase: None,
        test: false,
        contaminated: false,
        message,
    }
}

fn trigger() -> Message {
    let Value::Object(context) = json!({
        "cart": {"cart_id": "k-1"}, "products": [], "last_order": {"order_id": "o"},
        "profile": {"size": MARKERS[1]}, "request": {"mine": 1},
    }) else {
        panic!("an object")
    };
    Message::Trigger(Box::new(Trigger {
        class: Class::Marketing,
        list: Some("offers".into()),
        template: "cart_reminder".into(),
        offer: Some(Offer {
            id: "cart:k-1".to_owned(),
            discount: true,
            ends_at: None,
        }),
        priority: 60,
        not_before: at(10),
        send_by: at(20),
        expires_at: at(24),
        to: vec![Address {
            address_id: "a-1".to_owned(),
            address: MARKERS[0].to_owned(),
        }],
        context,
        request_id: None,
    }))
}

fn suppress(until: Option<Timestamp>) -> Message {
    Message::Suppress(Suppress {
        scopes: vec![
            Scope::All,
            Scope::Class(Class::Marketing),
            Scope::Flow("f".to_owned()),
            Scope::Offer("o".to_owned()),
            Scope::Product("p-5".to_owned()),
            Scope::Category("a/b".to_owned()),
            Scope::List("news".to_owned()),
        ],
        from: at(10),
        until,
    })
}

/// One verdict of each kind that speaks, and one that says as little as it may.
fn loud() -> Vec<Verdict> {
    let refuse = Message::Refuse {
        request_id: "q-1".to_owned(),
    };
    let mut bare = verdict(VerdictKind::Suppress, Some(suppress(None)));
    (bare.place, bare.locale, bare.time_zone, bare.customer_id) = (None, None, None, None);
    bare.profile = ProfileKey::anonymous("b-9");
    bare.anonymous_id = Some("b-9".to_owned());
    vec![
        verdict(VerdictKind::Send, Some(trigger())),
        verdict(VerdictKind::Suppress, Some(suppress(Some(at(72))))),
        verdict(
            VerdictKind::Release,
            Some(Message::Release { releases: id(2) }),
        ),
        verdict(
            VerdictKind::Cancel,
            Some(Message::Cancel { cancels: id(2) }),
        ),
        verdict(VerdictKind::Refuse, Some(refuse)),
        bare,
    ]
}

fn text(record: &Outgoing) -> &str {
    std::str::from_utf8(record.value.as_deref().unwrap()).unwrap()
}

#[test]
fn a_trigger_is_what_the_contract_shows() {
    let mut records = Vec::new();
    render(&loud()[0], &policy(), &plan(&[]), &mut records);
    let [decision, log] = &records[..] else {
        panic!("two records")
    };
    assert_eq!(
        (&*decision.topic, decision.key.as_deref()),
        ("out-email", Some(&b"c-7"[..]))
    );
    let common = r#""profile":"c:c-7","customer_id":"c-7","channel":"email","locale":"de","time_zone":"Europe/Berlin","reason":"cart_abandoned","decided_at":"2026-03-01T10:00:00Z","cause":{"topic":"clickstream","partition":3,"offset":812,"event_id":"e-1"},"flow":"abandoned_cart","flow_version":"0011223344556677","instance":"k-1","step":1,"steps":3,"class":"marketing","list":"offers","template":"cart_reminder","offer":{"id":"cart:k-1"},"priority":60,"not_before":"2026-03-01T10:00:00Z","send_by":"2026-03-01T20:00:00Z","expires_at":"2026-03-02T00:00:00Z""#;
    let named = format!(r#"{{"schema_version":1,"decision_id":"{}","#, id(1));
    assert_eq!(
        text(decision),
        format!(
            r#"{named}"kind":"trigger",{common},"to":[{{"address_id":"a-1"}}],"context":{{"cart":{{"cart_id":"k-1"}},"products":[],"request":{{"mine":1}}}}}}"#
        )
    );
    assert_eq!(
        (&*log.topic, log.key.as_deref()),
        ("shop-decisions", Some(&b"c:c-7"[..]))
    );
    // The log alone also says when the record was written that led to it.
    let cause = |at: &str| format!(r#""event_id":"e-1"{at}}}"#);
    let common = common.replace(&cause(""), &cause(r#","at":"2026-03-01T09:00:00Z""#));
    assert_eq!(
        text(log),
        format!(
            r#"{named}"verdict":"send",{common},"context":{{"cart":{{"cart_id":"k-1"}},"last_order":{{"order_id":"o"}},"products":[]}},"checks":[{{"check":"caps","passed":true,"detail":"0 of 1 in 16h"}}]}}"#
        )
    );
}

#[test]
fn only_what_a_channel_exposes_leaves_and_the_log_holds_no_address_and_no_trait() {
    let mut on_push = loud().remove(0);
    on_push.channel = Some("push".into());
    let record = decision(&on_push, &policy(), &plan(&[])).unwrap();
    assert!(
        MARKERS.iter().all(|marker| text(&record).contains(marker)),
        "exposed here"
    );
    assert!(!text(&record).contains("\"cart\""), "not exposed here");
    let mut observed = on_push.clone();
    observed.kind = VerdictKind::Observe;
    assert!(
        decision(&observed, &policy(), &plan(&[])).is_none(),
        "control group"
    );
    for verdict in [on_push, observed] {
        let line = String::from_utf8(log_line(&verdict)).unwrap();
        assert!(line.contains("cart_reminder"), "the trigger is told");
        assert!(
            line.contains(r#""context":{"cart":{"cart_id":"k-1"}"#),
            "and what it is about, in the control group too"
        );
        assert!(
            !MARKERS.iter().any(|marker| line.contains(marker)),
            "{line}"
        );
    }
}

#[test]
fn each_kind_has_its_own_fields_and_goes_under_the_key_of_what_it_retracts() {
    let own = |index: usize| -> Value {
        let record = decision(&loud()[index], &policy(), &plan(&[])).unwrap();
        serde_json::from_str(text(&record)).unwrap()
    };
    let suppress = own(1);
    assert_eq!(suppress["kind"], "suppress");
    assert_eq!(suppress["scopes"][0], json!({"scope": "all"}));
    assert_eq!(
        suppress["scopes"][1],
        json!({"scope": "class", "value": "marketing"})
    );
    assert_eq!(suppress["until"], "2026-03-04T00:00:00Z");
    assert_eq!(own(2)["releases"], id(2).to_string());
    assert_eq!(own(3)["cancels"], id(2).to_string());
    assert_eq!(own(4)["request_id"], "q-1");
    let bare = own(5);
    let names: Vec<&str> = bare
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        names,
        [
            "anonymous_id",
            "cause",
            "channel",
            "decided_at",
            "decision_id",
            "from",
            "kind",
            "profile",
            "reason",
            "schema_version",
            "scopes",
        ]
    );
    let mut moved = loud().remove(3);
    moved.route = Some(ProfileKey::anonymous("b-9"));
    let record = decision(&moved, &policy(), &plan(&[])).unwrap();
    assert_eq!(record.key.as_deref(), Some(&b"b-9"[..]));
    moved.channel = Some("fax".into());
    assert!(
        decision(&moved, &policy(), &plan(&[])).is_none(),
        "no such channel any more"
    );
    let line: Value = serde_json::from_slice(&log_line(&moved)).unwrap();
    assert_eq!(
        (&line["verdict"], &line["cancels"]),
        (&json!("cancel"), &json!(id(2).to_string()))
    );
}

#[test]
fn a_silent_verdict_is_logged_only() {
    let mut outcome = verdict(VerdictKind::Outcome, None);
    outcome.target = Some(id(2));
    outcome.outcome = Some("opened");
    outcome.test = true;
    let mut records = Vec::new();
    render(&outcome, &policy(), &plan(&[]), &mut records);
    assert_eq!(records.len(), 1);
    let line: Value = serde_json::from_str(text(&records[0])).unwrap();
    assert_eq!(line["target"], id(2).to_string());
    assert_eq!(
        (&line["outcome"], &line["test"]),
        (&json!("opened"), &json!(true))
    );
}

#[test]
fn avro_decisions_hold_what_json_decisions_hold() {
    let schema = apache_avro::Schema::parse_str(DECISION_SCHEMA).unwrap();
    let reader = apache_avro::GenericSingleObjectReader::builder()
        .schema(schema)
        .build()
        .unwrap();
    for verdict in loud() {
        let record = decision(&verdict, &policy(), &plan(&["email"])).unwrap();
        let value = reader
            .read_value(&mut record.value.as_deref().unwrap())
            .unwrap();
        let found = serde_json::Value::try_from(value).unwrap();
        let record = decision(&verdict, &policy(), &plan(&[])).unwrap();
        let wanted: Value = serde_json::from_str(text(&record)).unwrap();
        for (name, value) in wanted.as_object().unwrap() {
            let same = match &found[name] {
                Value::Number(millis) if value.is_string() => {
                    let time = Timestamp::parse(value.as_str().unwrap()).unwrap();
                    millis.as_i64() == Some(time.millis())
                }
                Value::String(text) if value.is_object() => {
                    serde_json::from_str(text).ok().as_ref() == Some(value)
                }
                // Inner records spell their nulls out.
                Value::Array(items) => items.len() == value.as_array().unwrap().len(),
                Value::Object(object) => object.len() >= value.as_object().unwrap().len(),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                    &found[name] == value
                }
            };
            assert!(same, "{name}: {} {value}", found[name]);
        }
    }
}

#[test]
fn the_log_in_avro_reads_back_as_the_line_in_json() {
    let reader = LogReader::new(DECISION_LOG_SCHEMA).unwrap();
    let mut plan = plan(&[]);
    plan.avro_log = Some(DecisionWriter::of_log(7).unwrap());
    for verdict in loud() {
        let mut outgoing = Vec::new();
        render(&verdict, &policy(), &plan, &mut outgoing);
        let written = outgoing.pop().unwrap().value.unwrap();
        assert_eq!(written[..5], [0, 0, 0, 0, 7]);
        let read: Value = serde_json::from_slice(&reader.line(&written[5..]).unwrap()).unwrap();
        let line: Value = serde_json::from_slice(&log_line(&verdict)).unwrap();
        assert_eq!(read, line);
    }
    assert!(reader.line(b"\xff").is_none() && LogReader::new("none").is_none());
}

fn block() -> Block {
    Block {
        reason: Reason::PurchaseCooloff,
        on: ["push", "email"]
            .map(|channel| BlockOn {
                channel: channel.to_owned(),
                decision: id(3),
            })
            .to_vec(),
        scopes: vec![Scope::Class(Class::Marketing)],
        from: at(0),
        until: Some(at(72)),
        order_id: Some("o-1".to_owned()),
        list: None,
        route: "c-7".to_owned(),
    }
}

#[test]
fn blocks_stand_by_channel_and_none_is_a_tombstone() {
    let block = block();
    let key = ProfileKey::customer("c-7");
    let record = blocks(&key, [&block], &plan(&[]));
    let one = format!(
        r#"[{{"decision_id":"{}","scopes":[{{"scope":"class","value":"marketing"}}],"reason":"purchase_cooloff","from":"2026-03-01T00:00:00Z","until":"2026-03-04T00:00:00Z"}}]"#,
        id(3)
    );
    assert_eq!(
        text(&record),
        format!(
            r#"{{"schema_version":1,"profile":"c:c-7","customer_id":"c-7","blocks":{{"email":{one},"push":{one}}}}}"#
        )
    );
    assert_eq!(blocks(&key, [], &plan(&[])).value, None);
}

#[test]
fn a_dead_letter_is_the_record_as_it_came_and_why() {
    let record = Record {
        input: crate::bus::InputId(1),
        partition: 3,
        offset: 812,
        timestamp: at(9),
        key: Some(b"k".to_vec()),
        value: Some(b"\xFF".to_vec()),
        headers: vec![("trace".to_owned(), Some(b"t".to_vec()))],
    };
    let error = DecodeError::new(Refusal::Malformed);
    let letter = dead_letter(&record, &origin(), &error, &plan(&[]));
    assert_eq!((&letter.key, &letter.value), (&record.key, &record.value));
    let stamp = origin().timestamp.millis().to_string();
    let headers: Vec<(&str, &str)> = letter
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), std::str::from_utf8(value).unwrap()))
        .collect();
    assert_eq!(
        headers,
        [
            ("trace", "t"),
            ("__connect.errors.topic", "clickstream"),
            ("__connect.errors.partition", "3"),
            ("__connect.errors.offset", "812"),
            ("__connect.errors.connector.name", "shop"),
            ("__connect.errors.task.id", "3"),
            ("__connect.errors.stage", "VALUE_CONVERTER"),
            ("__connect.errors.class.name", "tidegate.event.Decoder"),
            (
                "__connect.errors.exception.class.name",
                "tidegate.event.Malformed"
            ),
            (
                "__connect.errors.exception.message",
                "the value cannot be read in the input's format"
            ),
            ("tidegate-timestamp", &stamp),
        ]
    );
    let found = Record {
        input: crate::bus::InputId(0),
        partition: 1,
        offset: 5,
        timestamp: at(60),
        key: Some(b"k".to_vec()),
        value: Some(b"\xFF".to_vec()),
        headers: letter
            .headers
            .into_iter()
            .map(|(name, value)| (name, Some(value)))
            .collect(),
    };
    let read = super::letter::Letter::of(&found).unwrap();
    assert_eq!((read.topic.as_str(), read.whole), ("clickstream", true));
    assert_eq!(read.class, "tidegate.event.Malformed");
    let back = Record {
        input: found.input,
        ..record
    };
    assert_eq!(format!("{:?}", read.record), format!("{back:?}"));
}

#[test]
fn a_mark_is_known_as_one_and_a_letter_never_taken_for_one() {
    let mark = super::letter::mark("shop-dlq".into(), 3, 812);
    assert_eq!(mark.target, crate::bus::Target::Partition(3));
    let mut found = Record {
        input: crate::bus::InputId(0),
        partition: 3,
        offset: 900,
        timestamp: self::at(60),
        key: mark.key,
        value: mark.value,
        headers: mark
            .headers
            .into_iter()
            .map(|(name, value)| (name, Some(value)))
            .collect(),
    };
    assert_eq!(super::letter::marked(&found), Some(812));
    // A record that came with that header and nothing else, put aside.
    let error = DecodeError::new(Refusal::Malformed);
    let letter = dead_letter(&found, &origin(), &error, &plan(&[]));
    found.headers = letter
        .headers
        .into_iter()
        .map(|(name, value)| (name, Some(value)))
        .collect();
    assert_eq!(super::letter::marked(&found), None);
}

#[test]
fn the_schemas_beside_the_source_are_those_that_are_made_of_it() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    for (name, document) in schema::documents() {
        let path = directory.join(name);
        let made = format!("{document:#}\n");
        if std::env::var_os("TIDEGATE_BLESS").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        assert!(
            std::fs::read_to_string(&path).unwrap() == made,
            "{name} is not what the source says:\n{made}"
        );
    }
}

/// Does `value` have the shape that a JSON Schema of ours demands? Stricter than the schema: nothing may stand there that it does not name.
fn check_shape(value: &Value, schema: &Value, at: &str) {
    if let Some(words) = schema.get("enum") {
        assert!(
            words.as_array().unwrap().contains(value),
            "{at}: {value} is none of {words}"
        );
    }
    match schema["type"].as_str().unwrap() {
        "object" => {
            let object = value
                .as_object()
                .unwrap_or_else(|| panic!("{at} is no object"));
            let none = json!({});
            let properties = schema.get("properties").unwrap_or(&none);
            for name in schema
                .get("required")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                assert!(
                    object.contains_key(name.as_str().unwrap()),
                    "{at} lacks {name}"
                );
            }
            for (name, value) in object {
                let own = properties.get(name).or(schema.get("additionalProperties"));
                match own {
                    Some(own) => check_shape(value, own, &format!("{at}.{name}")),
                    None => assert!(
                        schema.get("properties").is_none(),
                        "{at}.{name} is not described"
                    ),
                }
            }
        }
        "array" => {
            for item in value
                .as_array()
                .unwrap_or_else(|| panic!("{at} is no list"))
            {
                check_shape(item, &schema["items"], at);
            }
        }
        "string" => {
            let text = value.as_str().unwrap_or_else(|| panic!("{at} is no text"));
            let timely = schema.get("format").is_none() || Timestamp::parse(text).is_some();
            assert!(timely, "{at} is no time");
        }
        "integer" => assert!(value.is_i64(), "{at} is no whole number"),
        "boolean" => assert!(value.is_boolean(), "{at} is neither true nor false"),
        other => panic!("{at}: {other} is none of our types"),
    }
}

#[test]
fn everything_that_leaves_fits_the_schema_that_describes_it() {
    let of_decision = schema::json_schema(DECISION_SCHEMA);
    let of_log = schema::json_schema(DECISION_LOG_SCHEMA);
    let mut outcome = verdict(VerdictKind::Outcome, None);
    (outcome.target, outcome.outcome, outcome.test) = (Some(id(2)), Some("opened"), true);
    for verdict in loud().iter().chain([&outcome]) {
        let mut records = Vec::new();
        render(verdict, &policy(), &plan(&[]), &mut records);
        let log = records.pop().unwrap();
        check_shape(&serde_json::from_str(text(&log)).unwrap(), &of_log, "log");
        for decision in records {
            check_shape(
                &serde_json::from_str(text(&decision)).unwrap(),
                &of_decision,
                "decision",
            );
        }
    }
    let block = Block {
        scopes: vec![Scope::All],
        ..block()
    };
    let record = blocks(&ProfileKey::anonymous("b-9"), [&block], &plan(&[]));
    let of_blocks = schema::json_schema(schema::BLOCKS_SCHEMA);
    check_shape(
        &serde_json::from_str(text(&record)).unwrap(),
        &of_blocks,
        "blocks",
    );
    for avro in [DECISION_SCHEMA, DECISION_LOG_SCHEMA, schema::BLOCKS_SCHEMA] {
        apache_avro::Schema::parse_str(avro).unwrap();
    }
}
