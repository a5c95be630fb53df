//! Reads where one value comes from, as it is written: a path, a list of them, or a mapping of `path`, `join` or `const` with what is to be
//! done to what stands there.

use jiff::tz::TimeZone;

use super::form::Form;
use super::needs::{self, Nature};
use super::path::{Path, Spelling};
use super::source::{Otherwise, Pick, Source, Table};
use crate::event::wire::{Field, Scalar};
use crate::flow::problem::{At, Place, Problems, did_you_mean};
use crate::flow::spec::tree::Value;

/// The place of a scalar as wide as its text.
pub(super) fn whole(text: &At<String>) -> Place {
    Place {
        width: u32::try_from(text.value.chars().count()).unwrap_or(1),
        ..text.place
    }
}

/// The entries of a mapping; anything else is a problem.
pub(super) fn entries<'n>(
    node: &'n At<Value>,
    what: &str,
    remedy: &str,
    problems: &mut Problems<'_>,
) -> &'n [(At<String>, At<Value>)] {
    if let Value::Map(entries) = &node.value {
        return entries;
    }
    let kind = node.value.kind();
    problems.add(
        node.place,
        format!("{what} is a mapping, not {kind}"),
        remedy,
    );
    &[]
}

/// A path, as text.
pub(super) fn path_of(node: &At<Value>, problems: &mut Problems<'_>) -> Option<Path> {
    let Value::Text(text) = &node.value else {
        let kind = node.value.kind();
        problems.add(
            node.place,
            format!("a place in the record is a path, not {kind}"),
            "write a path such as properties.order_id, in quotes where YAML takes it for something else (n, 5); a value that is always the same is { const: value }",
        );
        return None;
    };
    path(
        &At {
            value: text.clone(),
            place: node.place,
        },
        problems,
    )
}

/// A path.
pub(super) fn path(text: &At<String>, problems: &mut Problems<'_>) -> Option<Path> {
    match Path::parse(&text.value) {
        Ok(path) => Some(path),
        Err(why) => {
            problems.add(whole(text), format!("this path {}", why.0), why.1);
            None
        }
    }
}

/// One path, or a list of them.
fn paths(node: &At<Value>, problems: &mut Problems<'_>) -> Option<Vec<Path>> {
    match &node.value {
        Value::List(list) if !list.is_empty() => {
            list.iter().map(|node| path_of(node, problems)).collect()
        }
        Value::Null
        | Value::Bool(_)
        | Value::Integer(_)
        | Value::Decimal(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Map(_) => Some(vec![path_of(node, problems)?]),
    }
}

const SOURCE_KEYS: [&str; 13] = [
    "default",
    "path",
    "join",
    "with",
    "const",
    "strip",
    "before",
    "table",
    "names",
    "otherwise",
    "time",
    "zone",
    "money",
];

/// Where a value comes from; `field` tells what it may be.
pub(super) fn source(
    node: &At<Value>,
    field: Option<Field>,
    problems: &mut Problems<'_>,
) -> Option<Source> {
    let Value::Map(entries) = &node.value else {
        return Some(Source {
            pick: Pick::First(paths(node, problems)?),
            strip: None,
            before: None,
            table: None,
            form: Form::Ours,
            default: Scalar::Null,
        });
    };
    for (key, _) in entries {
        if !SOURCE_KEYS.contains(&key.value.as_str()) {
            let message = format!("unknown key `{}` in the source of a value", key.value);
            problems.add(whole(key), message, did_you_mean(&key.value, SOURCE_KEYS));
        }
    }
    let get = |key: &str| {
        entries
            .iter()
            .find(|(name, _)| name.value == key)
            .map(|(_, node)| node)
    };
    let words = field.and_then(needs::words);
    let pick = pick(node.place, &get, words, problems)?;
    let strip = get("strip").and_then(|node| text(node, "strip", problems));
    let before = get("before").and_then(|node| text(node, "before", problems));
    let table = match get("table") {
        Some(rows) => {
            let spelling = get("names").map_or(Spelling::Exact, |node| spelling(node, problems));
            Some(table(rows, get("otherwise"), spelling, words, problems))
        }
        None => {
            for key in ["otherwise", "names"] {
                if let Some(node) = get(key) {
                    problems.add(
                        node.place,
                        format!("`{key}` without a `table`"),
                        "write the table, or remove it",
                    );
                }
            }
            None
        }
    };
    let default = get("default").and_then(|node| {
        let value = constant(node, problems)?;
        allowed(&value, node.place, words, problems);
        Some(value)
    });
    Some(Source {
        pick,
        default: default.unwrap_or_default(),
        strip: strip.map(String::into_boxed_str),
        before: before.map(String::into_boxed_str),
        table,
        form: form(&get, field, problems),
    })
}

/// How names, or the words of a table, are compared.
pub(super) fn spelling(node: &At<Value>, problems: &mut Problems<'_>) -> Spelling {
    match &node.value {
        Value::Text(word) if word == "exact" => Spelling::Exact,
        Value::Text(word) if word == "loose" => Spelling::Loose,
        Value::Null
        | Value::Bool(_)
        | Value::Integer(_)
        | Value::Decimal(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Map(_) => {
            problems.add(
                node.place,
                "`names` says how the record's names, or the words of a table, are compared",
                "write exact (the default), or loose: letters and digits only, in any case",
            );
            Spelling::Exact
        }
    }
}

fn pick<'n>(
    place: Place,
    get: &dyn Fn(&str) -> Option<&'n At<Value>>,
    words: Option<&[&str]>,
    problems: &mut Problems<'_>,
) -> Option<Pick> {
    if let (Some(node), None) = (get("with"), get("join")) {
        problems.add(
            node.place,
            "`with` without a `join`",
            "write the paths to join, or remove it",
        );
    }
    match (get("path"), get("join"), get("const")) {
        (Some(node), None, None) => Some(Pick::First(paths(node, problems)?)),
        (None, Some(node), None) => {
            let with = get("with").and_then(|node| text(node, "with", problems));
            let with = with.map_or_else(|| "/".into(), String::into_boxed_str);
            let Value::List(parts) = &node.value else {
                problems.add(
                    node.place,
                    "`join` is a list of paths",
                    "write { join: [a, b] }; a part that stands in one of several places is a list itself, one with a table a mapping like this",
                );
                return None;
            };
            let parts: Option<Vec<_>> = parts
                .iter()
                .map(|part| source(part, None, problems))
                .collect();
            Some(Pick::Join(parts?, with))
        }
        (None, None, Some(node)) => {
            let value = constant(node, problems)?;
            allowed(&value, node.place, words, problems);
            Some(Pick::Const(value))
        }
        (_, _, _) => {
            problems.add(
                place,
                "a value comes from exactly one of `path`, `join` and `const`",
                "write { path: properties.total } or { const: email }",
            );
            None
        }
    }
}

pub(super) fn text(node: &At<Value>, key: &str, problems: &mut Problems<'_>) -> Option<String> {
    if let Value::Text(text) = &node.value {
        return Some(text.clone());
    }
    let kind = node.value.kind();
    problems.add(
        node.place,
        format!("`{key}` is a text, not {kind}"),
        "write it in quotes",
    );
    None
}

/// A value that stands in the mapping itself.
fn constant(node: &At<Value>, problems: &mut Problems<'_>) -> Option<Scalar<'static>> {
    match &node.value {
        Value::Null => Some(Scalar::Null),
        Value::Bool(value) => Some(Scalar::Bool(*value)),
        Value::Integer(value) => Some(Scalar::Int(*value)),
        Value::Decimal(value) => Some(Scalar::Float(*value)),
        Value::Text(text) => Some(Scalar::Text(text.clone().into())),
        Value::List(_) | Value::Map(_) => {
            let kind = node.value.kind();
            problems.add(
                node.place,
                format!("a constant is one value, not {kind}"),
                "",
            );
            None
        }
    }
}

/// Is a value of ours one of the words that its field takes?
fn allowed(value: &Scalar<'_>, place: Place, words: Option<&[&str]>, problems: &mut Problems<'_>) {
    let (Some(words), Scalar::Text(text)) = (words, value) else {
        return;
    };
    if !words.contains(&text.as_ref()) {
        let remedy = did_you_mean(text, words.iter().copied());
        problems.add(
            place,
            format!("`{text}` is none of the words of this field"),
            remedy,
        );
    }
}

fn table(
    node: &At<Value>,
    otherwise: Option<&At<Value>>,
    spelling: Spelling,
    words: Option<&[&str]>,
    problems: &mut Problems<'_>,
) -> Table {
    let mut rows = Vec::new();
    for (theirs, ours) in entries(
        node,
        "`table`",
        "write the bus's value, then ours: { opt_in: granted }",
        problems,
    ) {
        if let Some(value) = constant(ours, problems) {
            allowed(&value, ours.place, words, problems);
            rows.push((theirs.value.clone().into_boxed_str(), value));
        }
    }
    let otherwise = match otherwise.map(|node| (node, &node.value)) {
        None => Otherwise::Refuse,
        Some((_, Value::Text(word))) if word == "refuse" => Otherwise::Refuse,
        Some((_, Value::Text(word))) if word == "keep" => Otherwise::Keep,
        Some((_, Value::Text(word))) if word == "absent" => Otherwise::Absent,
        Some((node, Value::Map(entries))) => match entries.as_slice() {
            [(key, value)] if key.value == "const" => {
                let read = constant(value, problems);
                if let Some(value_read) = &read {
                    allowed(value_read, value.place, words, problems);
                }
                Otherwise::Const(read.unwrap_or_default())
            }
            _ => unknown_otherwise(node, problems),
        },
        Some((node, _)) => unknown_otherwise(node, problems),
    };
    Table {
        spelling,
        rows,
        otherwise,
    }
}

fn unknown_otherwise(node: &At<Value>, problems: &mut Problems<'_>) -> Otherwise {
    problems.add(
        node.place,
        "`otherwise` says what becomes of values that the table does not hold",
        "write refuse (the default), keep, absent or { const: value }",
    );
    Otherwise::Refuse
}

/// How time or money is written there.
fn form<'n>(
    get: &dyn Fn(&str) -> Option<&'n At<Value>>,
    field: Option<Field>,
    problems: &mut Problems<'_>,
) -> Form {
    let nature = field.map_or(Nature::Plain, needs::nature);
    let mut zone = TimeZone::UTC;
    if let Some(node) = get("zone")
        && let Some(name) = text(node, "zone", problems)
    {
        match TimeZone::get(&name) {
            Ok(known) => zone = known,
            Err(_) => problems.add(
                node.place,
                format!("there is no time zone `{name}`"),
                "write an IANA name such as Europe/Berlin",
            ),
        }
        if get("time").is_none() {
            problems.add(
                node.place,
                "`zone` without a `time`",
                "write the pattern of the time, such as \"%Y-%m-%d %H:%M:%S\"",
            );
        }
    }
    let (key, node, wanted) = match (get("time"), get("money")) {
        (Some(node), None) => ("time", node, Nature::Time),
        (None, Some(node)) => ("money", node, Nature::Money),
        (None, None) => return Form::Ours,
        (Some(_), Some(node)) => {
            problems.add(
                node.place,
                "a value is a time or money, not both",
                "remove one",
            );
            return Form::Ours;
        }
    };
    if nature != wanted {
        problems.add(node.place, format!("this field is no {key}"), "remove it");
        return Form::Ours;
    }
    let Some(name) = text(node, key, problems) else {
        return Form::Ours;
    };
    let (form, remedy) = if wanted == Nature::Time {
        (
            Form::of_time(&name, zone),
            "write seconds, milliseconds, microseconds, nanoseconds, rfc3339, rfc2822, or a pattern with a date such as \"%d.%m.%Y %H:%M\"",
        )
    } else {
        (
            Form::of_money(&name),
            "write decimal, minor_units or decimal_comma",
        )
    };
    form.unwrap_or_else(|| {
        problems.add(
            node.place,
            format!("`{name}` is no way to write {key}"),
            remedy,
        );
        Form::Ours
    })
}
