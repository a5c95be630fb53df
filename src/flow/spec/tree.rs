//! A YAML document as a tree that remembers where everything stands.
//!
//! A derived `Deserialize` stops at the first thing that it does not like. Whoever writes flows wants to hear all of it at once, so
//! the text is read into this tree first, and [`super`] takes it apart.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use crate::flow::problem::{At, Place, Problems};

/// One YAML value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing written.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Decimal(f64),
    /// Everything else that is one word or line.
    Text(String),
    /// A sequence.
    List(Vec<At<Value>>),
    /// A mapping, in the order written; no key comes twice.
    Map(Vec<(At<String>, At<Value>)>),
}

impl Value {
    /// What it is, for people.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Integer(_) | Self::Decimal(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

fn place(location: Location) -> Place {
    let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Place {
        line: small(location.line()),
        column: small(location.column()),
        width: 1,
    }
}

fn at<T>(spanned: Spanned<T>) -> At<T> {
    At {
        place: place(spanned.referenced),
        value: spanned.value,
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value)
            .map(Value::Integer)
            .map_err(|_| E::custom("this number is too large"))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Decimal(value))
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }
    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<Spanned<Value>>()? {
            items.push(at(item));
        }
        Ok(Value::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Value>>()? {
            entries.push((at(key), at(value)));
        }
        Ok(Value::Map(entries))
    }
}

/// The first line from `from` on that a tab indents.
fn indented_by_tab(text: &str, from: Place) -> Option<Place> {
    let lines = (1_u32..).zip(text.lines());
    let mut later = lines.filter(|(line, _)| *line >= from.line);
    later.find_map(|(line, text)| {
        let blanks = text.chars().take_while(|c| c.is_whitespace());
        let column = (1_u32..).zip(blanks).find(|(_, c)| *c == '\t')?.0;
        Some(Place {
            line,
            column,
            width: 1,
        })
    })
}

/// Reads one YAML document; a text that is none adds its problem.
pub(crate) fn read(text: &str, problems: &mut Problems<'_>) -> Option<At<Value>> {
    let options = serde_saphyr::options! { with_snippet: false };
    match serde_saphyr::from_str_with_options::<Spanned<Value>>(text, options) {
        Ok(tree) => Some(at(tree)),
        Err(error) => {
            let place = error.location().map(place).unwrap_or_default();
            let message = error.to_string();
            if message.starts_with("multiple YAML documents") {
                let what = "a second YAML document begins here";
                let remedy = "a file holds one flow: write the other in a file of its own, and leave the `---` out";
                problems.add(place, what, remedy);
                return None;
            }
            // The parser tells where the value before it began.
            if let Some(tab) = indented_by_tab(text, place).filter(|_| message.contains("a tab")) {
                let what = "this is not YAML: a tab indents this line";
                problems.add(tab, what, "indent with blanks");
                return None;
            }
            // The place is told by the problem itself; options of the parser are none of the reader's business.
            let message =
                [" at line ", ", set ", "\n"]
                    .iter()
                    .fold(message.as_str(), |message, end| {
                        message
                            .split_once(end)
                            .map_or(message, |(before, _)| before)
                    });
            let remedy = if message.starts_with("duplicate") {
                "leave one of the two out"
            } else {
                "look at the indentation and the brackets; a text that holds `: ` or `#` stands in quotes"
            };
            problems.add(place, format!("this is not YAML: {message}"), remedy);
            None
        }
    }
}
