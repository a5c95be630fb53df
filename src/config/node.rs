//! A YAML document as a tree that knows where each value stands.
//!
//! Reading goes through this tree instead of straight into structs, so that one pass can report every problem with its place,
//! and so that overrides can be laid over the file before anything is checked.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::problem::{Place, Problem};

/// What a node holds.
#[derive(Clone, PartialEq)]
pub(super) enum Value {
    /// Nothing (`null`, `~`, or no text at all).
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as text.
    Number(String),
    /// A text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(String, Node)>),
}

/// A value and where it stands.
#[derive(Clone, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    /// Where the key stands that names this value, or the value itself in lists: what a person looks for.
    pub(super) place: Place,
}

impl Node {
    /// A node that nobody wrote.
    pub(super) const fn unwritten(value: Value) -> Self {
        Self {
            value,
            place: Place::Default,
        }
    }

    /// A text that nobody wrote (for printing).
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::unwritten(Value::Text(text.into()))
    }

    /// The document, or its syntax error.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let options = serde_saphyr::options! {
            strict_booleans: true,
            leading_zero_numbers_as_strings: true,
            underscored_numbers_as_strings: true,
            with_snippet: false,
        };
        match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
            Ok(root) => Ok(Self::of(root)),
            Err(error) => {
                let place = error.location().map_or(Place::Default, place);
                // The library's text ends in a place of its own (" at line 3, column 7"); ours stands in front.
                let what = error.without_snippet().to_string();
                let what = what.split(" at line ").next().unwrap_or(&what).to_owned();
                Err(Problem::of("", format!("not valid YAML: {what}"), "").at(place))
            }
        }
    }

    fn of(raw: Spanned<Raw>) -> Self {
        let place = place(raw.referenced);
        let value = match raw.value {
            Raw::Null => Value::Null,
            Raw::Bool(value) => Value::Bool(value),
            Raw::Number(text) => Value::Number(text),
            Raw::Text(text) => Value::Text(text),
            Raw::List(list) => Value::List(list.into_iter().map(Self::of).collect()),
            Raw::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| {
                        let mut node = Self::of(value);
                        node.place = self::place(key.referenced);
                        (key.value, node)
                    })
                    .collect(),
            ),
        };
        Self { value, place }
    }

    /// The entries, when this is a mapping; nothing at all counts as an empty one.
    pub(super) fn entries(&self) -> Option<&[(String, Self)]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            Value::Null => Some(&[]),
            Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => None,
        }
    }

    /// The entry of that name.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries()?
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, node)| node)
    }

    /// The scalar's text, when it is a text or a number.
    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Number(text) => Some(text),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// What it is, for messages that must not show the value.
    pub(super) const fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

fn place(location: serde_saphyr::Location) -> Place {
    Place::File {
        line: location.line(),
        column: location.column(),
    }
}

/// As the parser hands it out.
enum Raw {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }
    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = access.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
