//! From YAML to a [`Reading`]: every problem at once, each with its place and what to write instead.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{Part, Parts, assemble, parts, want_source};
use super::fill::Fields;
use super::filter::{Condition, Demand, Filter};
use super::needs;
use super::path::{Path, Root, Spelling};
use super::tree::{Leaf, Want};
use super::written::{entries, path, path_of, source, spelling, whole};
use super::{Becomes, Kind, Mapping, Reading, Unnamed};
use crate::event::EventType;
use crate::flow::problem::{At, Place, Problem, Problems, did_you_mean};
use crate::flow::spec::tree::{self as yaml, Value};

/// A part of a configuration, and the file that it stands in.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Name of the file, for messages.
    pub file: &'a str,
    /// Its text, for excerpts; may be empty.
    pub text: &'a str,
    /// What is written.
    pub tree: &'a At<Value>,
}

/// Reads the text of a mapping's file.
///
/// # Errors
/// When it is no YAML.
pub fn parse(file: &str, text: &str) -> Result<At<Value>, Vec<Problem>> {
    let mut problems = Problems::of(file, text);
    match yaml::read(text, &mut problems) {
        Some(tree) => Ok(tree),
        None => Err(problems.into_sorted()),
    }
}

/// Compiles the `filter` and the `mapping` of one input.
///
/// # Errors
/// Every problem of both.
pub fn compile(
    filter: Option<Piece<'_>>,
    mapping: Option<Piece<'_>>,
) -> Result<Reading, Vec<Problem>> {
    let mut found = Vec::new();
    let mut filters = Vec::new();
    if let Some(piece) = filter {
        let mut problems = Problems::of(piece.file, piece.text);
        filters.push(read_filter(piece.tree, &mut problems));
        found.extend(problems.into_sorted());
    }
    let mut compiled = None;
    if let Some(piece) = mapping {
        let mut problems = Problems::of(piece.file, piece.text);
        if let Some((mapping, filter)) = read_mapping(piece.tree, &mut problems) {
            filters.extend(filter);
            compiled = Some(mapping);
        }
        found.extend(problems.into_sorted());
    }
    if !found.is_empty() {
        return Err(found);
    }
    let mut want = Want::new(
        compiled
            .as_ref()
            .map_or(Spelling::Exact, |mapping| mapping.spelling),
    );
    for filter in &filters {
        filter.add_wants(&mut want);
    }
    if let Some(mapping) = &compiled {
        mapping.add_wants(&mut want);
    }
    Ok(Reading {
        want,
        filters,
        mapping: compiled,
    })
}

impl Mapping {
    fn add_wants(&self, want: &mut Want) {
        if let Some(path) = &self.unwrap {
            want.add(path, Leaf::Scalar);
        }
        self.kind.add_wants(want);
        for fields in self.fields.values() {
            fields.add_wants(want);
        }
    }
}

impl Kind {
    pub(super) fn add_wants(&self, want: &mut Want) {
        match self {
            Self::Always(_) => {}
            Self::Named { name, .. } => want_source(name, &Leaf::Scalar, want),
        }
    }

    /// The types that records may become.
    fn leads_to(&self) -> BTreeSet<EventType> {
        match self {
            Self::Always(kind) => BTreeSet::from([*kind]),
            Self::Named { table, .. } => table
                .values()
                .filter_map(|becomes| match becomes {
                    Becomes::Event(kind) => Some(*kind),
                    Becomes::Nothing => None,
                })
                .collect(),
        }
    }
}

/// A filter: paths, each with the values allowed.
fn read_filter(node: &At<Value>, problems: &mut Problems<'_>) -> Filter {
    const REMEDY: &str = "write paths with the values to take: { properties.shop: [a, b], $header.tenant: { not: test }, context.ip: present }";
    let mut conditions = Vec::new();
    for (written, node) in entries(node, "a filter", REMEDY, problems) {
        let demand = match &node.value {
            Value::Text(word) if word == "present" => Some(Demand::Present),
            Value::Text(word) if word == "absent" => Some(Demand::Absent),
            Value::Map(entries) => match entries.as_slice() {
                [(key, values)] if key.value == "not" => words(values).map(Demand::NoneOf),
                [(key, values)] if key.value == "is" => words(values).map(Demand::OneOf),
                _ => None,
            },
            Value::Null
            | Value::Bool(_)
            | Value::Integer(_)
            | Value::Decimal(_)
            | Value::Text(_)
            | Value::List(_) => words(node).map(Demand::OneOf),
        };
        if demand.is_none() {
            problems.add(node.place, "a filter asks for values", REMEDY);
        }
        if let (Some(path), Some(demand)) = (path(written, problems), demand) {
            conditions.push(Condition { path, demand });
        }
    }
    Filter(conditions)
}

/// One value or a list of them, as texts.
fn words(node: &At<Value>) -> Option<Vec<Box<str>>> {
    match &node.value {
        Value::Bool(value) => Some(vec![value.to_string().into()]),
        Value::Integer(value) => Some(vec![value.to_string().into()]),
        Value::Decimal(value) => Some(vec![value.to_string().into()]),
        Value::Text(text) => Some(vec![text.clone().into()]),
        Value::List(list) if !list.is_empty() => {
            let each: Option<Vec<_>> = list.iter().map(words).collect();
            Some(each?.concat())
        }
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

const KEYS: [&str; 6] = ["names", "unwrap", "filter", "type", "fields", "types"];

fn read_mapping(
    node: &At<Value>,
    problems: &mut Problems<'_>,
) -> Option<(Mapping, Option<Filter>)> {
    let written = entries(node, "a mapping", "write `type` and `fields`", problems);
    for (key, _) in written {
        if !KEYS.contains(&key.value.as_str()) {
            let message = format!("unknown key `{}` in a mapping", key.value);
            problems.add(whole(key), message, did_you_mean(&key.value, KEYS));
        }
    }
    let get = |key: &str| {
        written
            .iter()
            .find(|(name, _)| name.value == key)
            .map(|(_, node)| node)
    };
    let spelling = get("names").map_or(Spelling::Exact, |node| spelling(node, problems));
    let filter = get("filter").map(|node| read_filter(node, problems));
    let unwrap = get("unwrap").and_then(|node| unwrap(node, problems));
    let kind = match get("type") {
        Some(node) => kind(node, spelling, problems),
        None => {
            problems.add(
                node.place,
                "a mapping says which types its records become",
                "write type: { path: event, table: { Order Completed: order_completed } }, or type: order_completed when all are",
            );
            None
        }
    };
    let common = get("fields").map_or_else(Parts::new, |node| parts(node, problems));
    let kind = kind?;
    let mut of_types: BTreeMap<EventType, Parts> = kind
        .leads_to()
        .into_iter()
        .map(|kind| (kind, common.clone()))
        .collect();
    if let Some(node) = get("types") {
        lay_over(node, &mut of_types, problems);
    }
    if problems.is_empty() {
        check_needs(node.place, &of_types, problems);
    }
    let fields: BTreeMap<EventType, Fields> = of_types
        .into_iter()
        .map(|(kind, parts)| (kind, assemble(&parts)))
        .collect();
    let mapping = Mapping {
        spelling,
        unwrap,
        kind,
        fields,
    };
    Some((mapping, filter))
}

fn unwrap(node: &At<Value>, problems: &mut Problems<'_>) -> Option<Path> {
    let path = path_of(node, problems)?;
    if matches!(path.root, Root::Key | Root::Time | Root::Header(_)) {
        problems.add(
            node.place,
            "only a text within the record can be unwrapped",
            "write a path without $",
        );
        return None;
    }
    Some(path)
}

/// One type, or the source of a name with its table.
fn kind(node: &At<Value>, spelling: Spelling, problems: &mut Problems<'_>) -> Option<Kind> {
    if let Value::Text(name) = &node.value {
        return Some(Kind::Always(our_type(name, node.place, problems)?));
    }
    const REMEDY: &str = "write { path: event, table: { Order Completed: order_completed, Test: ignore }, otherwise: ignore }";
    let (mut from, mut table, mut otherwise) = (Vec::new(), BTreeMap::new(), Unnamed::Refused);
    for (key, node) in entries(node, "`type`", REMEDY, problems) {
        match key.value.as_str() {
            "path" | "join" | "with" | "strip" | "before" | "default" => {
                from.push((key.clone(), node.clone()))
            }
            "table" => table = type_table(node, spelling, problems),
            "otherwise" => match &node.value {
                Value::Text(word) if word == "ignore" => otherwise = Unnamed::Ignored,
                Value::Text(word) if word == "refuse" => otherwise = Unnamed::Refused,
                Value::Null
                | Value::Bool(_)
                | Value::Integer(_)
                | Value::Decimal(_)
                | Value::Text(_)
                | Value::List(_)
                | Value::Map(_) => problems.add(
                    node.place,
                    "`otherwise` says what becomes of names that the table does not hold",
                    "write refuse (the default: they are dead letters) or ignore",
                ),
            },
            _ => problems.add(
                whole(key),
                format!("unknown key `{}` in `type`", key.value),
                REMEDY,
            ),
        }
    }
    if table.is_empty() && problems.is_empty() {
        problems.add(node.place, "`type` has no table", REMEDY);
    }
    let from = At {
        value: Value::Map(from),
        place: node.place,
    };
    let name = source(&from, None, problems)?;
    Some(Kind::Named {
        name: Box::new(name),
        table,
        otherwise,
    })
}

fn type_table(
    node: &At<Value>,
    spelling: Spelling,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, Becomes> {
    let mut table = BTreeMap::new();
    for (theirs, ours) in entries(
        node,
        "`table`",
        "write the bus's name, then our type",
        problems,
    ) {
        let Value::Text(name) = &ours.value else {
            problems.add(
                ours.place,
                "a name leads to one of our types",
                "write order_completed, or ignore",
            );
            continue;
        };
        let becomes = if name == "ignore" {
            Some(Becomes::Nothing)
        } else {
            our_type(name, ours.place, problems).map(Becomes::Event)
        };
        let Some(becomes) = becomes else {
            continue;
        };
        let folded = spelling.folded(&theirs.value).into_owned();
        if table
            .insert(folded, becomes)
            .is_some_and(|before| before != becomes)
        {
            let message = format!(
                "`{}` stands in the table already, with another type",
                theirs.value
            );
            problems.add(whole(theirs), message, "remove one of them");
        }
    }
    table
}

fn our_type(name: &str, place: Place, problems: &mut Problems<'_>) -> Option<EventType> {
    let known = EventType::ALL.iter().find(|kind| kind.name() == name);
    if known.is_none() {
        let remedy = did_you_mean(name, EventType::ALL.iter().map(|kind| kind.name()));
        let place = Place {
            width: u32::try_from(name.chars().count()).unwrap_or(1),
            ..place
        };
        problems.add(
            place,
            format!("`{name}` is none of our event types"),
            remedy,
        );
    }
    known.copied()
}

/// Lays the fields of `types` over those of every type, a later entry over an earlier one.
fn lay_over(
    node: &At<Value>,
    of_types: &mut BTreeMap<EventType, Parts>,
    problems: &mut Problems<'_>,
) {
    const REMEDY: &str =
        "write - { of: [delivered, opened], fields: { channel: { const: email } } }";
    let Value::List(list) = &node.value else {
        problems.add(node.place, "`types` is a list", REMEDY);
        return;
    };
    for entry in list {
        let (mut kinds, mut own) = (Vec::new(), Parts::new());
        for (key, node) in entries(entry, "an entry of `types`", REMEDY, problems) {
            match (key.value.as_str(), &node.value) {
                ("of", Value::List(names)) => kinds.extend(names),
                ("of", _) => kinds.push(node),
                ("fields", _) => own = parts(node, problems),
                (_, _) => problems.add(
                    whole(key),
                    format!("unknown key `{}` in `types`", key.value),
                    REMEDY,
                ),
            }
        }
        for name in kinds {
            let Value::Text(text) = &name.value else {
                problems.add(name.place, "`of` names our types", REMEDY);
                continue;
            };
            let Some(kind) = our_type(text, name.place, problems) else {
                continue;
            };
            match of_types.get_mut(&kind) {
                Some(parts) => parts.extend(own.clone()),
                None => problems.add(
                    name.place,
                    format!("no record becomes {text}"),
                    "lead a name to it in the table of `type`, or remove it here",
                ),
            }
        }
    }
}

/// What a type cannot do without must come from somewhere.
fn check_needs(place: Place, of_types: &BTreeMap<EventType, Parts>, problems: &mut Problems<'_>) {
    for (kind, parts) in of_types {
        let has = |name: &&&str| {
            parts
                .get(**name)
                .is_some_and(|part| !matches!(part, Part::Nothing))
        };
        let mut lacks = |any: &[&str]| {
            if any.iter().filter(has).count() == 0 {
                problems.add(
                    place,
                    format!(
                        "{} needs {}, and nothing leads there",
                        kind.name(),
                        any.join(" or ")
                    ),
                    "write it under `fields`, or for this type alone under `types`",
                );
            }
        };
        lacks(&["event_time"]);
        lacks(needs::somebody(*kind));
        for any in needs::of(*kind) {
            lacks(any);
        }
    }
}
