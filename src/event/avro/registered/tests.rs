//! Framing, and schemas that changed on either side: what Avro's own resolution gives, ours gives.

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema_compatibility::SchemaCompatibility;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use serde_json::{Value as Json, json};

use super::*;
use crate::event::avro::{Encoder, schema_text};
use crate::event::examples::rules;
use crate::event::{DecodeRules, Stream, json as own_json};
use crate::value::Timestamp;

const ID: SchemaId = SchemaId::Number(7);

fn context(rules: &DecodeRules) -> DecodeContext<'_> {
    DecodeContext {
        rules,
        record_timestamp: Timestamp::parse("2026-03-01T12:00:00Z"),
    }
}

fn decode(text: &str, value: &[u8]) -> Result<Event, DecodeError> {
    let known = Registered::default().with(ID, Writer::of(text, &[]));
    let rules = rules();
    known.body(value, &[])?.decode(value, &context(&rules))
}

/// A value of `text`, framed with [`ID`].
fn written(text: &str, value: impl Into<Value>) -> Vec<u8> {
    let schema = Schema::parse_str(text).unwrap();
    let mut bytes = vec![0, 0, 0, 0, 7];
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    let value = value.into().resolve(&schema).unwrap();
    writer.write_value_ref(&mut bytes, &value).unwrap();
    bytes
}

fn record(fields: &[(&str, Value)]) -> Value {
    let fields = fields.iter();
    Value::Record(
        fields
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    )
}

#[test]
fn every_way_of_naming_the_schema_leads_to_the_same_value() {
    let rules = rules();
    let line = r#"{"type":"product_viewed","event_id":"e-1","event_time":1772359200000,"customer_id":"c-7","product_id":"p-5"}"#;
    let event = own_json::decode(line.as_bytes(), &context(&rules)).unwrap();
    let encoder = Encoder::registered(Stream::Clickstream, 7).unwrap();
    let numbered = encoder.encode(&event, &rules.currencies).unwrap();
    let payload = &numbered[5..];
    let guid = [0xAB; 16];
    let text = schema_text(Stream::Clickstream);
    let known = Registered::default()
        .with(ID, Writer::of(text, &[]))
        .with(SchemaId::Guid(guid), Writer::of(text, &[]));
    let named = [&[1], guid.as_slice()].concat();
    let in_header = |bytes: &[u8]| vec![(HEADER.to_owned(), Some(bytes.to_vec()))];
    for (value, headers) in [
        (numbered.clone(), vec![]),
        ([&named, payload].concat(), vec![]),
        (payload.to_vec(), in_header(&named)),
        (payload.to_vec(), in_header(&numbered[..5])),
    ] {
        let framed = known.body(&value, &headers).unwrap();
        assert_eq!(framed.decode(&value, &context(&rules)).as_ref(), Ok(&event));
    }
    assert_eq!(
        SchemaId::Guid(*b"0123456789abcdef").to_string(),
        "30313233-3435-3637-3839-616263646566"
    );
    for (value, headers) in [
        (payload.to_vec(), in_header(&named[..16])),
        (
            payload.to_vec(),
            in_header(&[&named, [0].as_slice()].concat()),
        ),
        (payload.to_vec(), vec![(HEADER.to_owned(), None)]),
        (vec![0, 0, 0, 7], vec![]),
        (vec![], vec![]),
        (line.as_bytes().to_vec(), vec![]),
    ] {
        let refused = known.body(&value, &headers).unwrap_err();
        assert_eq!(refused.code(), "unframed", "{value:?}");
    }
}

#[test]
fn what_the_registry_does_not_know_or_nobody_can_read_is_told_apart() {
    let value = [0, 0, 0, 0, 7, 1];
    let code = |known: &Registered| known.body(&value, &[]).unwrap_err().code();
    assert_eq!(
        code(&Registered::default().with(ID, Writer::not_found())),
        "unknown_schema"
    );
    for text in [
        "\"string\"",
        "no schema",
        r#"{"type":"record","name":"N","fields":[{"name":"n","type":["null","N"]}]}"#,
    ] {
        let known = Registered::default().with(ID, Writer::of(text, &[]));
        assert_eq!(code(&known), "incompatible_schema", "{text}");
    }
    let known = Registered::default().with(ID, Writer::unreadable());
    assert!(known.knows(ID) && !known.without(ID).knows(ID));
}

/// Our schema of clicks, edited.
fn edited(edit: impl FnOnce(&mut Vec<Json>)) -> String {
    let mut schema: Json = serde_json::from_str(schema_text(Stream::Clickstream)).unwrap();
    edit(schema["fields"].as_array_mut().unwrap());
    schema.to_string()
}

fn named(name: &'static str) -> impl Fn(&Json) -> bool {
    move |field| field["name"] == name
}

/// The field with another type, and so without its default.
fn retype(fields: &mut [Json], name: &'static str, kind: Json) {
    let field = fields.iter_mut().find(|field| named(name)(field)).unwrap();
    *field = json!({ "name": name, "type": kind });
}

#[test]
fn older_and_newer_writers_are_read_as_avro_itself_resolves_them() {
    let ours = Schema::parse_str(schema_text(Stream::Clickstream)).unwrap();
    let time = Value::TimestampMillis(1_772_359_200_000);
    let base = [
        ("type", Value::from("product_added")),
        ("event_id", Value::Union(1, Box::new("e-1".into()))),
        ("event_time", time),
        ("customer_id", Value::Union(1, Box::new("c-7".into()))),
        ("product_id", Value::Union(1, Box::new("p-5".into()))),
        ("quantity", Value::Union(1, Box::new(Value::Int(2)))),
    ];
    let keeps = |names: &'static [&'static str]| {
        edited(move |fields| {
            fields.retain(|field| names.contains(&field["name"].as_str().unwrap()))
        })
    };
    let bare = [
        "type",
        "event_id",
        "event_time",
        "customer_id",
        "product_id",
        "quantity",
    ];
    let older = keeps(&[
        "type",
        "event_id",
        "event_time",
        "customer_id",
        "product_id",
        "quantity",
    ]);
    let newer = edited(|fields| {
        fields.retain(|field| bare.contains(&field["name"].as_str().unwrap()));
        let colours = json!({"type": "array", "items": {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}});
        fields.insert(0, json!({"name": "colours", "type": colours}));
        fields.push(json!({"name": "page_depth", "type": ["null", "double"], "default": null}));
    });
    let plainer = edited(|fields| {
        fields.retain(|field| bare.contains(&field["name"].as_str().unwrap()));
        fields.reverse();
        for (name, kind) in [
            ("customer_id", "string"),
            ("product_id", "bytes"),
            ("quantity", "int"),
        ] {
            retype(fields, name, kind.into());
        }
    });
    for text in [older, newer, plainer] {
        let writer = Schema::parse_str(&text).unwrap();
        SchemaCompatibility::can_read(&writer, &ours).unwrap();
        let mut fields = base.to_vec();
        if text.contains("colours") {
            fields.push((
                "colours",
                Value::Array(vec![Value::Enum(1, "BLUE".to_owned())]),
            ));
            fields.push(("page_depth", Value::Union(1, Box::new(Value::Double(0.5)))));
        }
        let flat = !text.contains(r#"["null","int"]"#);
        if flat {
            for (name, value) in &mut fields {
                if let Value::Union(_, inner) = value.clone() {
                    *value = *inner;
                }
                if *name == "product_id" {
                    *value = Value::Bytes(b"p-5".to_vec());
                }
            }
        }
        let bytes = written(&text, record(&fields));
        let reader = GenericDatumReader::builder(&writer)
            .reader_schema(&ours)
            .build()
            .unwrap();
        let resolved = reader.read_value(&mut &bytes[5..]).unwrap();
        let theirs = decode(
            schema_text(Stream::Clickstream),
            &written(schema_text(Stream::Clickstream), resolved),
        );
        assert_eq!(decode(&text, &bytes), theirs, "{text}");
        assert!(theirs.is_ok());
    }
}

#[test]
fn a_schema_that_can_give_no_event_names_the_field_that_stands_in_the_way() {
    let map = json!({"type": "map", "values": "string"});
    let list = json!({"type": "array", "items": "string"});
    for (name, kind) in [
        ("event_time", json!("boolean")),
        ("product_id", map),
        ("products", list),
        ("type", json!("long")),
    ] {
        let text = edited(|fields| retype(fields, name, kind));
        let error = decode(&text, &[0, 0, 0, 0, 7, 0]).unwrap_err();
        assert_eq!((error.code(), error.path()), ("incompatible_schema", name));
    }
    let text = edited(|fields| fields.retain(|field| !named("event_time")(field)));
    let error = decode(&text, &[0, 0, 0, 0, 7, 0]).unwrap_err();
    assert_eq!(
        (error.code(), error.path()),
        ("incompatible_schema", "event_time")
    );
}

#[test]
fn a_schema_may_name_types_of_others() {
    let money = r#"{"type":"record","name":"Money","namespace":"shop","fields":[{"name":"amount","type":"string"}]}"#;
    let line = r#"{"type":"record","name":"Line","namespace":"shop","fields":[{"name":"product_id","type":"string"},{"name":"paid","type":"shop.Money"}]}"#;
    let order = r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"type","type":"string"},{"name":"event_time","type":"long"},
        {"name":"customer_id","type":"string"},{"name":"order_id","type":"string"},{"name":"products","type":{"type":"array","items":"shop.Line"}}]}"#;
    let whole = order.replace("\"shop.Line\"", &line.replace("\"shop.Money\"", money));
    let product = record(&[
        ("product_id", "p-1".into()),
        ("paid", record(&[("amount", "1.00".into())])),
    ]);
    let value = record(&[
        ("type", "order_completed".into()),
        ("event_time", Value::Long(1_772_359_200_000)),
        ("customer_id", "c-7".into()),
        ("order_id", "o-1".into()),
        ("products", Value::Array(vec![product])),
    ]);
    let bytes = written(&whole, value);
    let writer = Writer::of(order, &[money.to_owned(), line.to_owned()]);
    let known = Registered::default().with(ID, writer);
    let rules = rules();
    let event = known
        .body(&bytes, &[])
        .unwrap()
        .decode(&bytes, &context(&rules));
    assert_eq!(event, decode(&whole, &bytes));
    assert!(event.is_ok(), "{event:?}");
}
