//! How one value is read from the tree and printed again, and the declaration of sections.
//!
//! [`section!`] declares a section once: fields, their documentation and their defaults. Reading, printing, the refusal of unknown
//! keys and the list of known ones all come from that declaration, so they cannot disagree.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::graft::SHARED;
use super::node::{Node, Value};
use super::overrides::join;
use super::problem::{Place, Problem};
use crate::value::Span;

/// A type that can stand in a configuration.
pub(super) trait Setting: Sized {
    /// What is to be written, for messages: `a length of time such as 30m`.
    const EXPECTED: &'static str;

    /// Reads the node. Always gives a value, so that one wrong setting does not hide the problems of others; when a problem was
    /// added, the value is a placeholder that nobody will see.
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self;

    /// Stands in where reading failed.
    fn placeholder() -> Self;

    /// As it is written in a file; secrets masked.
    fn print(&self) -> Node;

    /// JSON Schema of what may stand there. Every scalar may also be a text, because `${VAR}` may stand for it.
    fn schema() -> Json {
        json!({ "description": format!("write {}", Self::EXPECTED) })
    }

    /// The setting has no default and is not there.
    fn missing(parent: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        problems.push(
            Problem::of(
                path,
                "is required and has no default",
                format!("write {}", Self::EXPECTED),
            )
            .at(parent.place.clone()),
        );
        Self::placeholder()
    }
}

/// Says what was found and what was expected, without showing what may be a secret.
pub(super) fn mismatch<T: Setting>(node: &Node, path: &str, problems: &mut Vec<Problem>) -> T {
    let found = match &node.value {
        Value::Text(text) if text.len() <= 40 => format!("`{text}`"),
        Value::Number(text) => format!("`{text}`"),
        Value::Bool(_) | Value::Null | Value::List(_) | Value::Map(_) | Value::Text(_) => {
            node.kind().to_owned()
        }
    };
    problems.push(
        Problem::of(
            path,
            format!("{found} is wrong here"),
            format!("write {}", T::EXPECTED),
        )
        .at(node.place.clone()),
    );
    T::placeholder()
}

/// Reads scalars that have a parser.
pub(super) fn read_scalar<T: Setting>(
    node: &Node,
    path: &str,
    problems: &mut Vec<Problem>,
    parse: impl FnOnce(&str) -> Option<T>,
) -> T {
    match node.scalar().and_then(parse) {
        Some(value) => value,
        None => mismatch(node, path, problems),
    }
}

impl Setting for String {
    const EXPECTED: &'static str = "a text";
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        read_scalar(node, path, problems, |text| Some(text.to_owned()))
    }
    fn placeholder() -> Self {
        Self::new()
    }
    fn print(&self) -> Node {
        Node::text(self)
    }
}

impl Setting for PathBuf {
    const EXPECTED: &'static str = "a path";
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        read_scalar(node, path, problems, |text| Some(Self::from(text)))
    }
    fn placeholder() -> Self {
        Self::new()
    }
    fn print(&self) -> Node {
        Node::text(self.to_string_lossy())
    }
}

impl Setting for SocketAddr {
    const EXPECTED: &'static str = "an address and port such as 127.0.0.1:9464";
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        read_scalar(node, path, problems, |text| text.parse().ok())
    }
    fn placeholder() -> Self {
        Self::from(([127, 0, 0, 1], 0))
    }
    fn print(&self) -> Node {
        Node::text(self.to_string())
    }
}

impl Setting for Span {
    const EXPECTED: &'static str = "a length of time such as 500ms, 90s, 30m, 4h or 14d";
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        read_scalar(node, path, problems, |text| text.parse().ok())
    }
    fn placeholder() -> Self {
        Self::ZERO
    }
    fn print(&self) -> Node {
        Node::text(self.to_string())
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false";
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        match &node.value {
            Value::Bool(value) => *value,
            Value::Text(text) if text == "true" => true,
            Value::Text(text) if text == "false" => false,
            Value::Text(_) | Value::Null | Value::Number(_) | Value::List(_) | Value::Map(_) => {
                mismatch(node, path, problems)
            }
        }
    }
    fn placeholder() -> Self {
        false
    }
    fn print(&self) -> Node {
        Node::unwritten(Value::Bool(*self))
    }
    fn schema() -> Json {
        json!({ "type": ["boolean", "string"] })
    }
}

/// Whole numbers.
macro_rules! whole_numbers {
    ($($type:ty),*) => {$(
        impl Setting for $type {
            const EXPECTED: &'static str = "a whole number";
            fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
                read_scalar(node, path, problems, |text| text.parse().ok())
            }
            fn placeholder() -> Self {
                0
            }
            fn print(&self) -> Node {
                Node::unwritten(Value::Number(self.to_string()))
            }
            fn schema() -> Json {
                json!({ "type": ["integer", "string"] })
            }
        }
    )*};
}
whole_numbers!(i32, u32, u64, usize);

impl<T: Setting> Setting for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        match node.value {
            Value::Null => None,
            Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                Some(T::read(node, path, problems))
            }
        }
    }
    fn placeholder() -> Self {
        None
    }
    fn print(&self) -> Node {
        self.as_ref()
            .map_or(Node::unwritten(Value::Null), Setting::print)
    }
    fn schema() -> Json {
        T::schema()
    }
    fn missing(_: &Node, _: &str, _: &mut Vec<Problem>) -> Self {
        None
    }
}

impl<T: Setting> Setting for Vec<T> {
    const EXPECTED: &'static str = "a list";
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        match &node.value {
            Value::List(list) => list
                .iter()
                .enumerate()
                .map(|(index, item)| T::read(item, &format!("{path}[{index}]"), problems))
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => {
                mismatch(node, path, problems)
            }
        }
    }
    fn placeholder() -> Self {
        Self::new()
    }
    fn print(&self) -> Node {
        Node::unwritten(Value::List(self.iter().map(Setting::print).collect()))
    }
    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }
}

impl<T: Setting> Setting for BTreeMap<String, T> {
    const EXPECTED: &'static str = "a mapping from names";
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        match node.entries() {
            Some(entries) => entries
                .iter()
                .map(|(key, item)| (key.clone(), T::read(item, &join(path, key), problems)))
                .collect(),
            None => mismatch(node, path, problems),
        }
    }
    fn placeholder() -> Self {
        Self::new()
    }
    fn print(&self) -> Node {
        Node::unwritten(Value::Map(
            self.iter()
                .map(|(key, value)| (key.clone(), value.print()))
                .collect(),
        ))
    }
    fn schema() -> Json {
        json!({ "type": "object", "additionalProperties": T::schema() })
    }
}

/// The entries of a section while it is being read.
pub(super) struct Fields<'a> {
    node: &'a Node,
    path: &'a str,
}

impl<'a> Fields<'a> {
    /// Refuses what is no mapping, and every key that the section does not know.
    pub(super) fn open(
        node: &'a Node,
        path: &'a str,
        known: &[&str],
        problems: &mut Vec<Problem>,
    ) -> Self {
        match node.entries() {
            None => problems.push(
                Problem::of(
                    path,
                    format!("{} is wrong here", node.kind()),
                    format!("write a mapping with some of: {}", known.join(", ")),
                )
                .at(node.place.clone()),
            ),
            Some(entries) => {
                // A policy's own file states these, too.
                let is_policy_file = path == "policy" && matches!(node.place, Place::Named { .. });
                let shared = is_policy_file.then_some(SHARED).into_iter().flatten();
                let told: Vec<&str> = known.iter().copied().chain(shared).collect();
                for (key, item) in entries {
                    if !known.contains(&key.as_str()) {
                        problems.push(
                            Problem::of(
                                join(path, key),
                                "there is no such setting",
                                suggestion(key, &told),
                            )
                            .at(item.place.clone()),
                        );
                    }
                }
            }
        }
        Self { node, path }
    }

    /// Reads one field; a key that is absent, or present without a value, takes the default.
    pub(super) fn read<T: Setting>(
        &self,
        key: &str,
        default: Option<fn() -> T>,
        problems: &mut Vec<Problem>,
    ) -> T {
        let path = join(self.path, key);
        let written = self.node.get(key);
        match (written, default) {
            (Some(node), None) if node.value != Value::Null => T::read(node, &path, problems),
            (Some(node), Some(_)) if node.value != Value::Null => T::read(node, &path, problems),
            (_, Some(default)) => default(),
            // A section that is not a mapping has been reported as such; its fields are not missing.
            (_, None) if self.node.entries().is_none() => T::placeholder(),
            (Some(node), None) => T::missing(node, &path, problems),
            (None, None) => T::missing(self.node, &path, problems),
        }
    }
}

/// JSON Schema of a section: name, documentation and schema of each key.
pub(super) fn mapping<const N: usize>(keys: [(&str, &str, Json); N]) -> Json {
    let properties: serde_json::Map<String, Json> = keys
        .into_iter()
        .map(|(name, about, mut schema)| {
            if let Json::Object(schema) = &mut schema {
                schema.insert("description".to_owned(), about.trim().into());
            }
            (name.to_owned(), schema)
        })
        .collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

/// The known name that is meant, or all of them.
pub(super) fn suggestion(written: &str, known: &[&str]) -> String {
    known
        .iter()
        .map(|name| (distance(written, name), name))
        .min()
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 4))
        .map_or_else(
            || format!("known here: {}", known.join(", ")),
            |(_, name)| format!("did you mean `{name}`?"),
        )
}

/// Edits between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (slot, y) in row.iter_mut().skip(1).zip(b.chars()) {
            let best = (diagonal + usize::from(x != y))
                .min(*slot + 1)
                .min(left + 1);
            diagonal = *slot;
            *slot = best;
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Declares a section: `field: Type` is required, `field: Type = default` is not.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        pub struct $name:ident {
            $($(#[doc = $doc:literal])* $field:ident: $type:ty $(= $default:expr)?,)*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[doc = $doc])* pub $field: $type,)* }

        impl $name {
            /// Its keys, in the order in which they are printed.
            pub const KEYS: &'static [&'static str] = &[$(stringify!($field)),*];
        }

        impl $crate::config::setting::Setting for $name {
            const EXPECTED: &'static str = "a mapping";
            fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
                let fields = Fields::open(node, path, Self::KEYS, problems);
                Self { $($field: fields.read(stringify!($field), section!(@default $type $(, $default)?), problems),)* }
            }
            fn placeholder() -> Self {
                Self::read(&Node::unwritten(Value::Null), "", &mut Vec::new())
            }
            fn print(&self) -> Node {
                Node::unwritten(Value::Map(vec![$((stringify!($field).to_owned(), Setting::print(&self.$field)),)*]))
            }
            fn schema() -> serde_json::Value {
                let properties = [$((stringify!($field), concat!($($doc),*), <$type as Setting>::schema())),*];
                $crate::config::setting::mapping(properties)
            }
            /// A section that is not there has its defaults, and may still miss what has none.
            fn missing(parent: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
                Self::read(&Node { value: Value::Null, place: parent.place.clone() }, path, problems)
            }
        }
    };
    (@default $type:ty) => { None::<fn() -> $type> };
    (@default $type:ty, $default:expr) => { Some((|| $default) as fn() -> $type) };
}

/// Declares a closed set of words: `Variant = "word"`.
macro_rules! choice {
    (
        $(#[doc = $about:literal])*
        pub enum $name:ident { $($(#[doc = $doc:literal])* $variant:ident = $word:literal,)* }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $doc])* $variant,)* }

        impl $crate::config::setting::Setting for $name {
            const EXPECTED: &'static str = choice!(@words $($word)*);
            fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
                read_scalar(node, path, problems, |text| match text { $($word => Some(Self::$variant),)* _ => None })
            }
            fn placeholder() -> Self {
                choice!(@first $($variant)*)
            }
            fn print(&self) -> Node {
                Node::text(match self { $(Self::$variant => $word,)* })
            }
            fn schema() -> serde_json::Value {
                serde_json::json!({ "enum": [$($word),*] })
            }
        }
    };
    (@words $first:literal $($rest:literal)*) => { concat!("`", $first, "`" $(, " or `", $rest, "`")*) };
    (@first $first:ident $($rest:ident)*) => { Self::$first };
}

pub(super) use {choice, section};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_gets_the_nearest_name_and_a_strange_one_gets_the_list() {
        assert_eq!(
            suggestion("bootstap", &["bootstrap", "properties"]),
            "did you mean `bootstrap`?"
        );
        assert_eq!(
            suggestion("colour", &["bootstrap", "properties"]),
            "known here: bootstrap, properties"
        );
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
