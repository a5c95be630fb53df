//! JSON → [`Event`]: one pass over the bytes, no tree, texts borrowed until the event is made.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::decode::{DecodeContext, MAX_ITEMS};
use super::refusal::{DecodeError, Refusal};
use super::wire::{Key, Line, Pairs, Place, Scalar, Shape, Wire};
use super::{Currencies, Event, check, encode};

/// Decodes one record.
///
/// # Errors
/// What is wrong first, and where. The text of the error holds nothing of the record.
pub fn decode(value: &[u8], context: &DecodeContext<'_>) -> Result<Event, DecodeError> {
    if value.len() > context.rules.limits.record_bytes {
        return Err(DecodeError::new(Refusal::Oversize));
    }
    let text = std::str::from_utf8(value).map_err(|_| DecodeError::new(Refusal::Malformed))?;
    let mut wire = Wire::new();
    let mut json = serde_json::Deserializer::from_str(text);
    let read = Record {
        wire: &mut wire,
        nested: false,
    }
    .deserialize(&mut json);
    match read.and_then(|()| json.end()) {
        Ok(()) => check::event(&wire, value, context),
        Err(error) => Err(refused(&wire, &error)),
    }
}

/// Writes an event as one line of JSON, whose money is in the shop's currency.
#[must_use]
pub fn encode(event: &Event, currencies: &Currencies) -> Vec<u8> {
    serde_json::Value::Object(encode::object(event, currencies))
        .to_string()
        .into_bytes()
}

/// What went wrong, without what serde says of it: that would quote the record.
fn refused(wire: &Wire<'_>, error: &serde_json::Error) -> DecodeError {
    if let Some(problem) = wire.problem {
        return DecodeError::at(problem, wire.at);
    }
    match error.classify() {
        serde_json::error::Category::Data => DecodeError::at(Refusal::WrongType, wire.at),
        serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof
        | serde_json::error::Category::Io => DecodeError::new(Refusal::Malformed),
    }
}

/// Reads an object's key into what it means, without keeping it.
struct KeyName;

impl<'de> DeserializeSeed<'de> for KeyName {
    type Value = Option<Key>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyName {
    type Value = Option<Key>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }
    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Key::parse(name))
    }
}

/// The record itself, or its `properties`.
struct Record<'w, 'a> {
    wire: &'w mut Wire<'a>,
    nested: bool,
}

impl<'de> DeserializeSeed<'de> for Record<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Record<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        if self.nested {
            return Ok(());
        }
        Err(E::custom("null is no event"))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { wire, nested } = self;
        while let Some(key) = map.next_key_seed(KeyName)? {
            let Some(key) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            wire.at = key.into();
            match key {
                Key::Scalar(field) => {
                    let value = map.next_value_seed(AnyScalar)?;
                    wire.put(field, value, nested);
                }
                // One level only: `properties` of `properties` mean nothing.
                Key::Properties if nested => {
                    map.next_value::<IgnoredAny>()?;
                }
                Key::Properties => map.next_value_seed(Record { wire, nested: true })?,
                Key::Products
                | Key::Channels
                | Key::Addresses
                | Key::Consents
                | Key::Traits
                | Key::Offer
                | Key::Context => compound(key, wire, &mut map)?,
            }
        }
        Ok(())
    }
}

/// Reads a field that holds a list or an object.
fn compound<'de, A: MapAccess<'de>>(
    key: Key,
    wire: &mut Wire<'de>,
    map: &mut A,
) -> Result<(), A::Error> {
    let Wire { at, problem, .. } = wire;
    match key {
        Key::Products => wire.products = map.next_value_seed(Products { at, problem })?,
        Key::Channels => wire.channels = Some(map.next_value_seed(AnyShape { problem })?),
        Key::Addresses => wire.addresses = map.next_value_seed(Object { problem })?,
        Key::Consents => wire.consents = map.next_value_seed(Object { problem })?,
        Key::Traits => wire.traits = map.next_value_seed(Object { problem })?,
        Key::Offer => wire.offer = Some(map.next_value_seed(AnyShape { problem })?),
        Key::Context => {
            let context: Option<serde_json::Map<String, serde_json::Value>> = map.next_value()?;
            wire.context = context.map(|object| serde_json::Value::Object(object).to_string());
        }
        Key::Scalar(_) | Key::Properties => {}
    }
    Ok(())
}

/// One more item; too many end the reading.
fn counted<E: serde::de::Error>(count: usize, problem: &mut Option<Refusal>) -> Result<(), E> {
    if count < MAX_ITEMS {
        return Ok(());
    }
    *problem = Some(Refusal::TooMany);
    Err(E::custom("too many"))
}

/// The visits of a scalar, for a visitor whose value `$make` makes of a [`Scalar`].
macro_rules! scalar_visits {
    ($make:expr) => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($make(Scalar::Null))
        }
        fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
            Ok($make(Scalar::Bool(value)))
        }
        fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
            Ok($make(Scalar::Int(value)))
        }
        fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
            Ok($make(match i64::try_from(value) {
                Ok(value) => Scalar::Int(value),
                // An id of twenty digits stays itself.
                Err(_) => Scalar::Text(Cow::Owned(value.to_string())),
            }))
        }
        fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
            Ok($make(Scalar::Float(value)))
        }
        fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
            Ok($make(Scalar::Text(Cow::Borrowed(value))))
        }
        fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
            Ok($make(Scalar::Text(Cow::Owned(value.to_owned()))))
        }
    };
}

/// Any scalar; lists and objects are passed over and become [`Scalar::Other`].
struct AnyScalar;

impl<'de> DeserializeSeed<'de> for AnyScalar {
    type Value = Scalar<'de>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Scalar<'de>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyScalar {
    type Value = Scalar<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }
    scalar_visits!(std::convert::identity);
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

/// A scalar, a list of scalars or an object of scalars.
struct AnyShape<'w> {
    problem: &'w mut Option<Refusal>,
}

impl<'de> DeserializeSeed<'de> for AnyShape<'_> {
    type Value = Shape<'de>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyShape<'_> {
    type Value = Shape<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }
    scalar_visits!(Shape::One);
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut many = Vec::new();
        while let Some(value) = seq.next_element_seed(AnyScalar)? {
            counted(many.len(), self.problem)?;
            many.push(value);
        }
        Ok(Shape::Many(many))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut named = Vec::new();
        while let Some(name) = map.next_key::<Name<'de>>()? {
            counted(named.len(), self.problem)?;
            named.push((name.0, map.next_value_seed(AnyScalar)?));
        }
        Ok(Shape::Named(named))
    }
}

/// A free name (a channel, a list, a trait), borrowed unless it is escaped.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// An object with free names.
struct Object<'w> {
    problem: &'w mut Option<Refusal>,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Pairs<'de, Shape<'de>>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Pairs<'de, Shape<'de>>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(name) = map.next_key::<Name<'de>>()? {
            counted(pairs.len(), self.problem)?;
            let problem = &mut *self.problem;
            pairs.push((name.0, map.next_value_seed(AnyShape { problem })?));
        }
        Ok(pairs)
    }
}

/// `products`: a list of objects.
struct Products<'w> {
    at: &'w mut Place,
    problem: &'w mut Option<Refusal>,
}

impl<'de> DeserializeSeed<'de> for Products<'_> {
    type Value = Option<Vec<Line<'de>>>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Products<'_> {
    type Value = Option<Vec<Line<'de>>>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of products")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let Self { at, problem } = self;
        let mut lines = Vec::new();
        at.index = Some(0);
        while let Some(line) = seq.next_element_seed(OneLine)? {
            counted(lines.len(), problem)?;
            lines.push(line);
            at.index = Some(lines.len());
        }
        Ok(Some(lines))
    }
}

/// One product of the list.
struct OneLine;

impl<'de> DeserializeSeed<'de> for OneLine {
    type Value = Line<'de>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneLine {
    type Value = Line<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a product")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut line = Line::default();
        while let Some(key) = map.next_key_seed(KeyName)? {
            let value = map.next_value_seed(AnyScalar)?;
            if let Some(slot) = key.and_then(|key| line.slot(key)) {
                *slot = value;
            }
        }
        Ok(line)
    }
}
