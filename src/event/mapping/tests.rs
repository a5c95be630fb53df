//! Scenarios of mapping: a home-made shape with everything in it, the same in JSON and Avro, what does not fit, what is refused at load.

use apache_avro::Schema;
use apache_avro::types::Value as Avro;

use super::*;
use crate::event::{Body, DecodeRules, Order, json as own};
use crate::value::{Money, Timestamp};

const HOME_MADE: &str = r#"
filter: { shop: [acme, 7], $header.tenant: { not: test } }
type:
  path: what
  table: { SALE: order_completed, PEEK: product_viewed, PING: ignore }
fields:
  event_id: { join: [shop, nr], with: "-" }
  event_time: { path: at, time: "%d.%m.%Y %H:%M", zone: Europe/Berlin }
  customer_id: [who.id, $key]
  source: { const: till }
types:
  - of: order_completed
    fields:
      order_id: nr
      currency: money
      total: { path: sum, money: minor_units }
      channel: { path: place, table: { T: offline, W: online }, default: online }
      products:
        list: rows
        fields: { product_id: art, quantity: num, price: { path: each, money: decimal_comma }, currency: $record.money }
  - of: [product_viewed]
    fields: { product_id: "rows[only].art" }
"#;

fn reading(text: &str) -> Reading {
    let tree = parse("m.yaml", text).unwrap();
    let piece = Piece {
        file: "m.yaml",
        text,
        tree: &tree,
    };
    compile(None, Some(piece)).unwrap_or_else(|problems| panic!("{}", told(&problems)))
}

fn told(problems: &[crate::flow::problem::Problem]) -> String {
    problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect()
}

fn read_with(mapping: &str, record: &str, beside: Beside<'_>) -> Result<Read, String> {
    let rules = DecodeRules::of_shop("EUR");
    let context = DecodeContext {
        rules: &rules,
        record_timestamp: Timestamp::parse("2026-03-01T12:00:00Z"),
    };
    reading(mapping)
        .read(record.as_bytes(), Encoding::Json, beside, &context)
        .map_err(|error| format!("{}: {error}", error.code()))
}

fn read(mapping: &str, record: &str) -> Result<Read, String> {
    read_with(mapping, record, Beside::default())
}

fn event(mapping: &str, record: &str) -> Event {
    match read(mapping, record) {
        Ok(Read::Event(event)) => event,
        other => panic!("{other:?}"),
    }
}

const SALE: &str = r#"{"what":"SALE","shop":"acme","nr":12,"at":"01.03.2026 11:00","who":{"id":"c-7","name":"x"},"money":"EUR","sum":5990,"place":"T","extra":{"deep":[1,2]},
    "rows":[{"art":"p-1","num":2,"each":"1.020,50"},{"art":8,"each":"0,10","x":[]}]}"#;

#[test]
fn a_home_made_record_becomes_our_event() {
    let sale = event(HOME_MADE, SALE);
    let same = r#"{"type":"order_completed","event_id":"acme-12","event_time":"2026-03-01T10:00:00Z","customer_id":"c-7","source":"till",
        "order_id":"12","total":"59.90","channel":"offline","products":[{"product_id":"p-1","quantity":2,"price":"1020.50"},{"product_id":"8","price":"0.10"}]}"#;
    let rules = DecodeRules::of_shop("EUR");
    let context = DecodeContext {
        rules: &rules,
        record_timestamp: Timestamp::parse("2026-03-01T12:00:00Z"),
    };
    assert_eq!(Ok(sale), own::decode(same.as_bytes(), &context));
}

#[test]
fn a_name_is_put_together_of_words_and_a_text_ends_before_a_mark() {
    const TEXTS: &str = r#"
type:
  join: [state, { path: said, names: loose, table: { STOP: out, Opt Out: out }, otherwise: absent }]
  table: { in: replied, in/out: unsubscribed }
fields:
  event_time: $time
  channel: { path: from, before: ":", table: { whatsapp: whatsapp }, otherwise: { const: sms } }
  address: { path: from, strip: "whatsapp:" }
"#;
    for (said, from, kind, channel) in [
        (
            " stop!",
            "whatsapp:+491",
            EventType::Unsubscribed,
            "whatsapp",
        ),
        ("Optout", "+491", EventType::Unsubscribed, "sms"),
        ("stop it", "whatsapp+491:", EventType::Replied, "sms"),
    ] {
        let record = format!(r#"{{"state":"in","said":"{said}","from":"{from}"}}"#);
        let event = event(TEXTS, &record);
        let Body::Receipt(receipt) = &event.body else {
            panic!("{event:?}");
        };
        assert_eq!((event.kind, &*receipt.channel), (kind, channel), "{said}");
    }
}

#[test]
fn the_page_on_mappings_shows_one_that_works() {
    let page = include_str!("../../../deploy/mappings/README.md");
    let example = page.split("```yaml\n").nth(1).unwrap();
    let example = example.split("```").next().unwrap();
    let sale = r#"{"event":"Order Completed","shop":"de","id":"o-1","ts":1772359200,"user":{"id":"c-7"},"amount":5990,"lines":[{"sku":"p-1","amount":2}]}"#;
    let wrapped = serde_json::json!({ "Message": sale }).to_string();
    let event = event(example, &wrapped);
    let Body::Order(order) = &event.body else {
        panic!("{event:?}");
    };
    assert_eq!((event.kind, &*event.id), (EventType::OrderCompleted, "o-1"));
    assert_eq!(event.customer_id.as_deref(), Some("c-7"));
    assert_eq!(
        (&*order.products[0].product_id, order.products[0].quantity),
        ("p-1", 2)
    );
}

#[test]
fn key_and_headers_are_places_too() {
    let record = SALE.replace(r#""who":{"id":"c-7","name":"x"},"#, "");
    let beside = Beside {
        key: Some(b"c-9"),
        headers: &[],
    };
    match read_with(HOME_MADE, &record, beside) {
        Ok(Read::Event(event)) => assert_eq!(event.customer_id.as_deref(), Some("c-9")),
        other => panic!("{other:?}"),
    }
    let headers = [("tenant".to_owned(), Some(b"test".to_vec()))];
    let beside = Beside {
        key: None,
        headers: &headers,
    };
    assert_eq!(
        read_with(HOME_MADE, &record, beside),
        Ok(Read::Left(Left::Filtered))
    );
}

#[test]
fn what_is_filtered_or_ignored_is_left_and_no_error() {
    let other_shop = SALE.replace("\"acme\"", "\"other\"");
    assert_eq!(read(HOME_MADE, &other_shop), Ok(Read::Left(Left::Filtered)));
    let numbered = SALE.replace("\"acme\"", "7").replace("SALE", "PING");
    assert_eq!(read(HOME_MADE, &numbered), Ok(Read::Left(Left::Ignored)));
}

#[test]
fn a_record_that_does_not_fit_names_the_path_that_failed_and_nothing_that_stood_there() {
    for (from, to, told) in [
        (
            "\"SALE\"",
            "\"GIFT-secret\"",
            "unknown_type: the event type is not known, at `what → type`",
        ),
        (
            "\"what\":\"SALE\",",
            "",
            "missing: a value is missing, at `what → type`",
        ),
        (
            "01.03.2026 11:00",
            "secret",
            "bad_time: not a time, before 1990, or over a day ahead of the record, at `at → event_time` of order_completed",
        ),
        (
            "01.03.2026 11:00",
            "01.03.2036 11:00",
            "bad_time: not a time, before 1990, or over a day ahead of the record, at `at → event_time` of order_completed",
        ),
        (
            "5990",
            "59.9",
            "bad_money: not an amount of money, at `sum → total` of order_completed",
        ),
        (
            "\"T\"",
            "\"secret\"",
            "unknown_word: not one of the words allowed, at `place → channel` of order_completed",
        ),
        (
            "0,10",
            "secret",
            "bad_money: not an amount of money, at `rows[1].each → products[1].price` of order_completed",
        ),
        (
            "\"art\":8",
            "\"art\":[1]",
            "wrong_type: a value of the wrong type, at `rows[1].art → products[1].product_id` of order_completed",
        ),
        (
            "\"art\":8,",
            "",
            "missing: a value is missing, at `rows[1].art → products[1].product_id` of order_completed",
        ),
        (
            "{\"id\":\"c-7\",\"name\":\"x\"}",
            "\"secret\"",
            "wrong_type: a value of the wrong type, at `who.id or $key → customer_id` of order_completed",
        ),
        (
            "\"SALE\"",
            "\"PEEK\"",
            "too_many: a list is too long, at `rows[only].art → product_id` of product_viewed",
        ),
        (
            "\"rows\":[",
            "\"rows\":[[",
            "malformed: the value cannot be read in the input's format",
        ),
    ] {
        let record = SALE.replacen(from, to, 1);
        assert_ne!(record, SALE, "{from}");
        assert_eq!(
            read(HOME_MADE, &record),
            Err(told.to_owned()),
            "{from} → {to}"
        );
    }
}

#[test]
fn json_and_avro_mean_the_same_decimals_and_maps_included() {
    let schema = r#"{"type":"record","name":"Sale","fields":[
        {"name":"what","type":{"type":"enum","name":"What","symbols":["PEEK","SALE"]}},
        {"name":"shop","type":["null","string"]},
        {"name":"nr","type":"long"},
        {"name":"unused","type":{"type":"map","values":{"type":"array","items":"double"}}},
        {"name":"at","type":"string"},
        {"name":"who","type":{"type":"map","values":"string"}},
        {"name":"sum","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
        {"name":"rows","type":{"type":"array","items":{"type":"record","name":"Row","fields":[
            {"name":"x","type":"boolean"},{"name":"art","type":"string"},{"name":"num","type":"int"}]}}}]}"#;
    let mapping = HOME_MADE.replace(", money: minor_units", "");
    let parsed = Schema::parse_str(schema).unwrap();
    let record = |fields: Vec<(&str, Avro)>| {
        let fields = fields.into_iter();
        Avro::Record(
            fields
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    };
    let map = |pairs: Vec<(&str, Avro)>| {
        let pairs = pairs.into_iter();
        Avro::Map(
            pairs
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    };
    let row = |art: &str, n| {
        record(vec![
            ("x", true.into()),
            ("art", art.into()),
            ("num", Avro::Int(n)),
        ])
    };
    let value = record(vec![
        ("what", Avro::Enum(1, "SALE".to_owned())),
        ("shop", Avro::Union(1, Box::new("acme".into()))),
        ("nr", Avro::Long(12)),
        ("unused", map(vec![("a", Avro::Array(vec![1.5.into()]))])),
        ("at", "01.03.2026 11:00".into()),
        ("who", map(vec![("id", "c-7".into())])),
        (
            "sum",
            Avro::Decimal(apache_avro::Decimal::from([0xFE, 0x0C])),
        ),
        ("rows", Avro::Array(vec![row("p-1", 2), row("p-2", 1)])),
    ]);
    let mut writer =
        apache_avro::GenericSingleObjectWriter::new_with_capacity(&parsed, 100).unwrap();
    let mut bytes = Vec::new();
    writer.write_value(value, &mut bytes).unwrap();
    let schemas = Schemas::new([schema]).unwrap();
    let rules = DecodeRules::of_shop("EUR");
    let context = DecodeContext {
        rules: &rules,
        record_timestamp: Timestamp::parse("2026-03-01T12:00:00Z"),
    };
    let of_avro = reading(&mapping).read(
        &bytes,
        Encoding::Avro(&schemas),
        Beside::default(),
        &context,
    );
    let json = r#"{"what":"SALE","shop":"acme","nr":12,"at":"01.03.2026 11:00","who":{"id":"c-7"},"sum":"-5.00","rows":[{"art":"p-1","num":2},{"art":"p-2","num":1}]}"#;
    let of_json = event(&mapping, json);
    assert!(
        matches!(&of_json.body, Body::Order(Order { total: Some(total), .. }) if *total == Money::from_minor(-500))
    );
    assert_eq!(of_avro, Ok(Read::Event(of_json)));
}

#[test]
fn people_bring_addresses_consents_and_traits() {
    let mapping = r#"
names: loose
type: identified
fields:
  event_time: ts
  customer_id: id
  addresses: { email: mail, push: devices }
  consents: { email: { path: opt.all, table: { y: granted, n: denied } }, email/offers: { path: opt.offers, table: { y: granted, n: denied } } }
  traits: { object: about, except: [mail] }
"#;
    let record = r#"{"TS":1772359200000,"id":"c-7","mail":"a@example.org","devices":["t-1","t-2"],"opt":{"All":"n","offers":"y"},"about":{"size":42,"MAIL":"x","tags":["a"],"club":true}}"#;
    let same = r#"{"type":"identified","event_time":1772359200000,"customer_id":"c-7","addresses":{"email":"a@example.org","push":["t-1","t-2"]},
        "traits":{"size":42,"club":true}}"#;
    let rules = DecodeRules::of_shop("EUR");
    let context = DecodeContext {
        rules: &rules,
        record_timestamp: Timestamp::parse("2026-03-01T12:00:00Z"),
    };
    let (Body::Identity(mapped), Body::Identity(ours)) = (
        event(mapping, record).body,
        own::decode(same.as_bytes(), &context).unwrap().body,
    ) else {
        panic!("no identities");
    };
    let of_email = |list: Option<&str>, state| ("email".to_owned(), list.map(str::to_owned), state);
    use crate::event::Consent::{Denied, Granted};
    assert_eq!(
        mapped.consents,
        [of_email(None, Denied), of_email(Some("offers"), Granted)]
    );
    assert_eq!(
        (mapped.addresses, mapped.traits),
        (ours.addresses, ours.traits)
    );
}

#[test]
fn a_text_that_wraps_the_record_is_taken_off_and_may_be_missing() {
    let mapping =
        "unwrap: Message\ntype: page_viewed\nfields: { event_time: at, customer_id: id }\n";
    let plain = r#"{"at":1772359200000,"id":"c-7"}"#;
    let wrapped = serde_json::json!({ "Message": plain, "id": "other" }).to_string();
    assert_eq!(event(mapping, &wrapped).customer_id.as_deref(), Some("c-7"));
    assert_eq!(event(mapping, plain).customer_id.as_deref(), Some("c-7"));
    let broken = serde_json::json!({ "Message": "no json" }).to_string();
    let told = "malformed: the value cannot be read in the input's format, at `Message`";
    assert_eq!(read(mapping, &broken), Err(told.to_owned()));
}

#[test]
fn a_wrong_mapping_is_refused_with_every_problem_at_its_place() {
    let text = r#"nmaes: loose
type:
  path: what
  table: { SALE: order_complete }
fields:
  event_time: { path: at, time: noonish }
  custmer_id: id
  customer_id: a..b
  total: { path: sum, time: seconds }
  bounce: { const: medium }
  order_id: 5
  products: { list: rows, fields: { prise: p } }
"#;
    let tree = parse("m.yaml", text).unwrap();
    let problems = compile(
        None,
        Some(Piece {
            file: "m.yaml",
            text,
            tree: &tree,
        }),
    )
    .unwrap_err();
    let told: Vec<String> = problems
        .iter()
        .map(|problem| {
            let remedy = problem.remedy.as_deref().unwrap_or("-");
            format!(
                "{}:{} {}; {remedy}",
                problem.line, problem.column, problem.message
            )
        })
        .collect();
    for (line, part) in [
        (1, "unknown key `nmaes` in a mapping; did you mean `names`?"),
        (
            4,
            "`order_complete` is none of our event types; did you mean `order_completed`?",
        ),
        (6, "`noonish` is no way to write time; write seconds,"),
        (
            7,
            "an event has no field `custmer_id`; did you mean `customer_id`?",
        ),
        (8, "this path has a step without a name;"),
        (9, "this field is no time; remove it"),
        (
            10,
            "`medium` is none of the words of this field; known: hard, soft, blocked",
        ),
        (
            11,
            "a place in the record is a path, not a number; write a path such as",
        ),
        (12, "a product has no field `prise`; did you mean `price`?"),
        (12, "a product has a `product_id` or a `sku`;"),
    ] {
        let found = told
            .iter()
            .any(|told| told.starts_with(&format!("{line}:")) && told.contains(part));
        assert!(found, "{line}: {part} is not in\n{}", told.join("\n"));
    }
    assert_eq!(told.len(), 10, "{told:#?}");
}

#[test]
fn a_mapping_that_could_never_fit_is_refused() {
    for (text, part) in [
        (
            "type: page_viewed\nfields: { customer_id: id }\n",
            "page_viewed needs event_time, and nothing leads there",
        ),
        (
            "type: page_viewed\nfields: { event_time: at }\n",
            "page_viewed needs customer_id or anonymous_id, and",
        ),
        (
            "type: delivered\nfields: { event_time: at, address: to }\n",
            "delivered needs channel, and",
        ),
        (
            "type: cart_updated\nfields: { event_time: at, customer_id: id }\n",
            "cart_updated needs products or product_id or sku, and",
        ),
        (
            "type: page_viewed\nfields: { event_time: at, customer_id: id }\ntypes: [{ of: [opened], fields: {} }]\n",
            "no record becomes opened",
        ),
        (
            "fields: { event_time: at }\n",
            "a mapping says which types its records become",
        ),
        (
            "type: { path: x, table: {} }\nfields: {}\n",
            "`type` has no table",
        ),
    ] {
        let tree = parse("m.yaml", text).unwrap();
        let problems = compile(
            None,
            Some(Piece {
                file: "m.yaml",
                text,
                tree: &tree,
            }),
        )
        .unwrap_err();
        assert!(
            told(&problems).contains(part),
            "{part} is not in\n{}",
            told(&problems)
        );
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_a_mapping_panic(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        edits in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), proptest::prelude::any::<u8>()), 0..6),
    ) {
        let rules = DecodeRules::of_shop("EUR");
        let context = DecodeContext { rules: &rules, record_timestamp: Timestamp::parse("2026-03-01T12:00:00Z") };
        let reading = reading(HOME_MADE);
        let mut record = SALE.as_bytes().to_vec();
        for (place, byte) in &edits {
            let at = place.index(record.len());
            record[at] = *byte;
        }
        for bytes in [&bytes, &record] {
            let _either = reading.read(bytes, Encoding::Json, Beside::default(), &context);
            let _explained = reading.explain(bytes, Beside::default(), &context);
        }
    }
}
