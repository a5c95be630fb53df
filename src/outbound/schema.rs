//! What leaves, described for those who read it: JSON Schema and AsyncAPI, made from the Avro schemas in `schemas/`, which are the source.
//!
//! `schemas/*.schema.json` and `schemas/asyncapi.json` are the output of this module; a test compares them. Readers must tolerate fields
//! that they do not know, so no schema is closed.

use serde_json::{Map, Value, json};

use super::{DECISION_LOG_SCHEMA, DECISION_SCHEMA};
use crate::decision::VerdictKind;
use crate::flow::Class;

/// The schema of `<app>-blocks`' values.
pub const BLOCKS_SCHEMA: &str = include_str!("../../schemas/blocks.avsc");

/// The documents of `schemas/`: file name and content.
#[must_use]
pub fn documents() -> [(&'static str, Value); 4] {
    [
        ("decision.schema.json", json_schema(DECISION_SCHEMA)),
        ("decision_log.schema.json", json_schema(DECISION_LOG_SCHEMA)),
        ("blocks.schema.json", json_schema(BLOCKS_SCHEMA)),
        ("asyncapi.json", asyncapi()),
    ]
}

/// The JSON Schema of values that are described by an Avro schema of ours.
///
/// # Panics
/// When the text is no JSON: the schemas are shipped, and tests read them.
#[must_use]
pub fn json_schema(avro: &str) -> Value {
    #[expect(
        clippy::expect_used,
        reason = "shipped with the program, and read by a test"
    )]
    let avro: Value = serde_json::from_str(avro).expect("a shipped schema is JSON");
    let mut schema = of_type(&avro);
    if let Some(object) = schema.as_object_mut() {
        let draft = "https://json-schema.org/draft/2020-12/schema";
        object.insert("$schema".to_owned(), draft.into());
        for (ours, theirs) in [("title", "name"), ("description", "doc")] {
            object.insert(
                ours.to_owned(),
                avro.get(theirs).cloned().unwrap_or_default(),
            );
        }
    }
    schema
}

/// One Avro type as JSON carries it: times as RFC 3339, absent fields left out.
fn of_type(avro: &Value) -> Value {
    let name = avro.as_str().or_else(|| avro.get("type")?.as_str());
    if avro.get("logicalType").is_some() {
        return json!({ "type": "string", "format": "date-time" });
    }
    match name {
        Some("int" | "long") => json!({ "type": "integer" }),
        Some("boolean") => json!({ "type": "boolean" }),
        Some("array") => {
            json!({ "type": "array", "items": of_type(avro.get("items").unwrap_or(&Value::Null)) })
        }
        Some("map") => {
            let values = of_type(avro.get("values").unwrap_or(&Value::Null));
            json!({ "type": "object", "additionalProperties": values })
        }
        Some("record") => record(avro),
        Some(_) | None => json!({ "type": "string" }),
    }
}

fn record(avro: &Value) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in avro
        .get("fields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let name = field
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let kind = field.get("type").unwrap_or(&Value::Null);
        // Optional fields are unions with null, and are left out where they are null.
        let given = kind
            .as_array()
            .and_then(|variants| variants.iter().find(|of| *of != "null"));
        if given.is_none() {
            required.push(name);
        }
        let mut property = if name == "context" {
            // Avro carries it as text.
            json!({ "type": "object" })
        } else {
            of_type(given.unwrap_or(kind))
        };
        if let Some(object) = property.as_object_mut() {
            if let Some(doc) = field.get("doc") {
                object.insert("description".to_owned(), doc.clone());
            }
            if let Some(words) = words(name) {
                object.insert("enum".to_owned(), words.into());
            }
        }
        properties.insert(name.to_owned(), property);
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

/// The words of a closed set. A trigger's `reason` may be the name of a flow, so reasons are none.
fn words(field: &str) -> Option<Vec<&'static str>> {
    match field {
        "kind" => Some(vec!["trigger", "suppress", "release", "cancel", "refuse"]),
        "verdict" => Some(VerdictKind::ALL.map(VerdictKind::name).to_vec()),
        "class" => Some(
            [Class::Marketing, Class::Service, Class::Transactional]
                .map(Class::name)
                .to_vec(),
        ),
        "scope" => Some(vec![
            "all", "class", "flow", "offer", "product", "category", "list",
        ]),
        _ => None,
    }
}

/// The headers of a dead letter.
const DEAD_LETTER_HEADERS: [(&str, &str); 10] = [
    (
        "__connect.errors.topic",
        "Topic of the record that could not be read.",
    ),
    ("__connect.errors.partition", "Its partition."),
    ("__connect.errors.offset", "Its offset."),
    ("__connect.errors.connector.name", "The application."),
    ("__connect.errors.task.id", "The task."),
    (
        "__connect.errors.stage",
        "VALUE_CONVERTER or KEY_CONVERTER.",
    ),
    ("__connect.errors.class.name", "What refused it."),
    (
        "__connect.errors.exception.class.name",
        "Why, of a closed set.",
    ),
    (
        "__connect.errors.exception.message",
        "Why, with the path that failed; nothing of what stood there.",
    ),
    (
        "tidegate-left-out-bytes",
        "How much of it was left out, when it was too large.",
    ),
];

/// Every topic that an application writes for others, as AsyncAPI 3.
#[must_use]
pub fn asyncapi() -> Value {
    let message = |name: &str, summary: &str, key: &str, file: &str| {
        json!({
            "name": name,
            "summary": summary,
            "contentType": "application/json",
            "payload": { "$ref": format!("./{file}.schema.json") },
            "bindings": { "kafka": { "key": { "type": "string", "description": key } } },
        })
    };
    let headers: Map<String, Value> = DEAD_LETTER_HEADERS
        .iter()
        .map(|(name, doc)| {
            (
                (*name).to_owned(),
                json!({ "type": "string", "description": doc }),
            )
        })
        .collect();
    let mut of_avro = message(
        "Decision",
        "What a channel must do, or must not do, in Avro single-object encoding",
        KEY_OF_DECISION,
        "decision",
    );
    if let Some(object) = of_avro.as_object_mut() {
        object.insert("contentType".to_owned(), "avro/binary".into());
        let format = "application/vnd.apache.avro+json;version=1.9.0";
        let payload = json!({ "schemaFormat": format, "schema": { "$ref": "./decision.avsc" } });
        object.insert("payload".to_owned(), payload);
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "tidegate",
            "version": "1",
            "description": "What an application writes for others. Read with isolation.level=read_committed.",
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "channels": {
            "channel": topic("{app}-{channel}", "What one channel gets, unless channels.<name>.topic says otherwise; JSON or Avro, as channels.<name>.format says", &["app", "channel"], &["decision", "decisionAvro"]),
            "decisions": topic("{app}-decisions", "The decision log: every verdict, the silent ones too. No address, no trait", &["app"], &["verdict"]),
            "blocks": topic("{app}-blocks", "Live suppressions by profile; compacted, a tombstone when there are none", &["app"], &["blocks"]),
            "deadLetters": topic("{app}-dlq", "Records that could not be read, as they came, with the reason in headers; and marks of `dlq replay`, without key and value", &["app"], &["deadLetter", "replayed"]),
        },
        "operations": {
            "decide": send("channel"),
            "log": send("decisions"),
            "block": send("blocks"),
            "putAside": send("deadLetters"),
        },
        "components": { "messages": {
            "decision": message("Decision", "What a channel must do, or must not do", KEY_OF_DECISION, "decision"),
            "decisionAvro": of_avro,
            "verdict": message("LogEntry", "One verdict, loud or silent", "The `profile`", "decision_log"),
            "blocks": message("Blocks", "The live suppressions of one profile, by channel", KEY_OF_PROFILE, "blocks"),
            "replayed": { "name": "Replayed", "summary": "No letter: those before it in its partition have been handed on", "headers": { "type": "object", "properties": { "tidegate-replayed-until": { "type": "string", "description": "Up to, not including, this offset." } } } },
            "deadLetter": { "name": "DeadLetter", "summary": "A record that could not be read, as it came", "headers": { "type": "object", "properties": headers } },
        } },
    })
}

const KEY_OF_DECISION: &str = "customer_id, or anonymous_id while unknown; of cancel and release, the key of what they retract";
const KEY_OF_PROFILE: &str = "c:customer_id or a:anonymous_id";

fn topic(address: &str, description: &str, parameters: &[&str], messages: &[&str]) -> Value {
    let parameters: Map<String, Value> = parameters
        .iter()
        .map(|name| {
            let description = match *name {
                "app" => "app.id of the configuration",
                _ => "Name of the channel",
            };
            ((*name).to_owned(), json!({ "description": description }))
        })
        .collect();
    let messages: Map<String, Value> = messages
        .iter()
        .map(|name| {
            (
                (*name).to_owned(),
                json!({ "$ref": format!("#/components/messages/{name}") }),
            )
        })
        .collect();
    json!({ "address": address, "description": description, "parameters": parameters, "messages": messages })
}

fn send(channel: &str) -> Value {
    json!({ "action": "send", "channel": { "$ref": format!("#/channels/{channel}") } })
}
