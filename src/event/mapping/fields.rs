//! Reads where each field comes from: `fields` of a mapping, of its `types`, and of the elements of a list.

use std::collections::BTreeMap;

use super::fill::{ConsentOf, Fields, Lines, Traits};
use super::path::{Path, Root};
use super::source::Source;
use super::tree::{Leaf, Want};
use super::written::{entries, path_of, source, text, whole};
use crate::event::wire::Field;
use crate::flow::problem::{At, Problems, did_you_mean};
use crate::flow::spec::tree::Value;

/// One field as written.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// `null`: this type has no such field, whatever stands above it.
    Nothing,
    Scalar(Field, Source),
    Products(Lines),
    Addresses(Vec<(String, Source)>),
    Consents(Vec<ConsentOf>),
    Traits(Traits),
    Channels(Source),
    Offer(Source, Option<Source>),
    Context(Path),
}

/// Fields by their names.
pub(super) type Parts = BTreeMap<String, Part>;

/// Names that hold more than a scalar.
const COMPOUND: [&str; 7] = [
    "products",
    "addresses",
    "consents",
    "traits",
    "channels",
    "offer",
    "context",
];

/// Every field of `node`.
pub(super) fn parts(node: &At<Value>, problems: &mut Problems<'_>) -> Parts {
    let mut parts = Parts::new();
    for (name, node) in entries(
        node,
        "`fields`",
        "write our fields, each with its path: order_id: properties.order_id",
        problems,
    ) {
        if let Some(part) = part(name, node, problems) {
            parts.insert(name.value.clone(), part);
        }
    }
    parts
}

fn part(name: &At<String>, node: &At<Value>, problems: &mut Problems<'_>) -> Option<Part> {
    if node.value == Value::Null {
        let known = field(&name.value).is_some() || COMPOUND.contains(&name.value.as_str());
        return if known {
            Some(Part::Nothing)
        } else {
            unknown(name, problems)
        };
    }
    Some(match name.value.as_str() {
        "products" => Part::Products(lines(node, problems)?),
        "addresses" => Part::Addresses(named(node, "`addresses`", problems)),
        "consents" => Part::Consents(consents(node, problems)),
        "traits" => Part::Traits(traits(node, problems)?),
        "channels" => Part::Channels(source(node, None, problems)?),
        "offer" => offer(node, problems)?,
        "context" => Part::Context(path_of(node, problems)?),
        _ => match field(&name.value) {
            Some(field) => Part::Scalar(field, source(node, Some(field), problems)?),
            None => return unknown(name, problems),
        },
    })
}

/// The field of that name. The type has a table of its own.
fn field(name: &str) -> Option<Field> {
    let mut all = Field::ALL.into_iter();
    all.find(|field| field.name() == name && *field != Field::Type)
}

fn unknown<T>(name: &At<String>, problems: &mut Problems<'_>) -> Option<T> {
    if name.value == "type" {
        problems.add(
            whole(name),
            "the type is no field",
            "write `type:` beside `fields:`",
        );
        return None;
    }
    let scalars = Field::ALL.iter().map(|field| field.name());
    let remedy = did_you_mean(&name.value, scalars.chain(COMPOUND));
    let message = format!("an event has no field `{}`", name.value);
    problems.add(whole(name), message, remedy);
    None
}

/// Names of our choice, each with its source.
fn named(node: &At<Value>, what: &str, problems: &mut Problems<'_>) -> Vec<(String, Source)> {
    entries(node, what, "write names, each with its path", problems)
        .iter()
        .filter_map(|(name, node)| Some((name.value.clone(), source(node, None, problems)?)))
        .collect()
}

/// `channel: path`, or `channel/list: path`.
fn consents(node: &At<Value>, problems: &mut Problems<'_>) -> Vec<ConsentOf> {
    entries(
        node,
        "`consents`",
        "write channels (or channel/list), each with its path",
        problems,
    )
    .iter()
    .filter_map(|(name, node)| {
        let (channel, list) = match name.value.split_once('/') {
            Some((channel, list)) => (channel, Some(list.to_owned())),
            None => (name.value.as_str(), None),
        };
        Some(ConsentOf {
            channel: channel.to_owned(),
            list,
            state: source(node, Some(Field::State), problems)?,
        })
    })
    .collect()
}

/// A path to an object, `{ object: path, except: [names] }`, or names with their sources.
fn traits(node: &At<Value>, problems: &mut Problems<'_>) -> Option<Traits> {
    let Value::Map(entries) = &node.value else {
        let object = source(node, None, problems)?;
        return Some(Traits::Object {
            object,
            except: Vec::new(),
        });
    };
    let Some((_, object)) = entries.iter().find(|(key, _)| key.value == "object") else {
        return Some(Traits::Named(named(node, "`traits`", problems)));
    };
    let mut except = Vec::new();
    for (key, node) in entries {
        match (key.value.as_str(), &node.value) {
            ("object", _) => {}
            ("except", Value::List(list)) => {
                except.extend(
                    list.iter()
                        .filter_map(|name| text(name, "except", problems)),
                );
            }
            (_, _) => problems.add(
                whole(key),
                format!("`{}` does not belong beside `object`", key.value),
                "write { object: traits, except: [email] }",
            ),
        }
    }
    Some(Traits::Object {
        object: source(object, None, problems)?,
        except,
    })
}

fn offer(node: &At<Value>, problems: &mut Problems<'_>) -> Option<Part> {
    const REMEDY: &str = "write { id: path, discount: path }";
    let (mut id, mut discount) = (None, None);
    for (key, node) in entries(node, "`offer`", REMEDY, problems) {
        match key.value.as_str() {
            "id" => id = source(node, None, problems),
            "discount" => discount = source(node, None, problems),
            _ => problems.add(
                whole(key),
                format!("unknown key `{}` in `offer`", key.value),
                REMEDY,
            ),
        }
    }
    if id.is_none() {
        problems.add(node.place, "an offer has an `id`", REMEDY);
    }
    Some(Part::Offer(id?, discount))
}

/// `{ list: path, fields: {…} }`.
fn lines(node: &At<Value>, problems: &mut Problems<'_>) -> Option<Lines> {
    const REMEDY: &str = "write { list: properties.products, fields: { product_id: product_id } }";
    let (mut list, mut fields) = (None, Vec::new());
    for (key, node) in entries(node, "`products`", REMEDY, problems) {
        match key.value.as_str() {
            "list" => list = path_of(node, problems),
            "fields" => fields = line_fields(node, problems),
            _ => problems.add(
                whole(key),
                format!("unknown key `{}` in `products`", key.value),
                REMEDY,
            ),
        }
    }
    if !fields
        .iter()
        .any(|(field, _)| matches!(field, Field::ProductId | Field::Sku))
    {
        problems.add(
            node.place,
            "a product has a `product_id` or a `sku`",
            REMEDY,
        );
    }
    // Currencies before the amounts that are counted in them.
    fields.sort_by_key(|(field, _)| *field != Field::Currency);
    Some(Lines {
        list: list?,
        fields,
    })
}

fn line_fields(node: &At<Value>, problems: &mut Problems<'_>) -> Vec<(Field, Source)> {
    let mut fields = Vec::new();
    for (name, node) in entries(
        node,
        "`fields`",
        "write the product's fields, each with its path in the element",
        problems,
    ) {
        match field(&name.value).filter(|field| (*field as usize) < Field::OF_LINE) {
            Some(field) => {
                fields.extend(source(node, Some(field), problems).map(|source| (field, source)))
            }
            None => {
                let known = Field::ALL
                    .iter()
                    .take(Field::OF_LINE)
                    .map(|field| field.name());
                let remedy = did_you_mean(&name.value, known);
                problems.add(
                    whole(name),
                    format!("a product has no field `{}`", name.value),
                    remedy,
                );
            }
        }
    }
    fields
}

/// The fields of one type.
pub(super) fn assemble(parts: &Parts) -> Fields {
    let mut fields = Fields::default();
    for part in parts.values().cloned() {
        match part {
            Part::Nothing => {}
            Part::Scalar(field, source) => fields.scalars.push((field, source)),
            Part::Products(lines) => fields.products = Some(lines),
            Part::Addresses(addresses) => fields.addresses = addresses,
            Part::Consents(consents) => fields.consents = consents,
            Part::Traits(traits) => fields.traits = Some(traits),
            Part::Channels(source) => fields.channels = Some(source),
            Part::Offer(id, discount) => fields.offer = Some((id, discount)),
            Part::Context(path) => fields.context = Some(path),
        }
    }
    fields
        .scalars
        .sort_by_key(|(field, _)| *field != Field::Currency);
    fields
}

/// Adds all that `source` looks at.
pub(super) fn want_source(source: &Source, leaf: &Leaf, want: &mut Want) {
    for path in source.paths() {
        want.add(path, leaf.clone());
    }
}

impl Fields {
    /// Adds all that these fields look at.
    pub(super) fn add_wants(&self, want: &mut Want) {
        for (_, source) in &self.scalars {
            want_source(source, &Leaf::Scalar, want);
        }
        if let Some(lines) = &self.products {
            let mut line = Want::new(want.spelling);
            for path in lines.fields.iter().flat_map(|(_, source)| source.paths()) {
                // From within an element, the record is another tree.
                let of_element = path.root == Root::Here;
                (if of_element { &mut line } else { &mut *want }).add(path, Leaf::Scalar);
            }
            want.add(&lines.list, Leaf::List(line));
        }
        let shapes = self.addresses.iter().map(|(_, source)| source);
        for source in shapes.chain(&self.channels) {
            want_source(source, &Leaf::Whole, want);
        }
        let offer = self
            .offer
            .iter()
            .flat_map(|(id, discount)| [Some(id), discount.as_ref()]);
        let states = self.consents.iter().map(|consent| &consent.state);
        for source in offer.flatten().chain(states) {
            want_source(source, &Leaf::Scalar, want);
        }
        match &self.traits {
            Some(Traits::Object { object, .. }) => want_source(object, &Leaf::Whole, want),
            Some(Traits::Named(named)) => {
                for (_, source) in named {
                    want_source(source, &Leaf::Scalar, want);
                }
            }
            None => {}
        }
        if let Some(path) = &self.context {
            want.add(path, Leaf::Whole);
        }
    }
}
