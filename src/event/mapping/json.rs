//! JSON → the part of it that is wanted: one pass over the bytes, texts borrowed.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::tree::{Tree, Want};
use crate::event::decode::MAX_ITEMS;
use crate::event::refusal::Refusal;
use crate::event::wire::Scalar;

/// Reads `text`, keeping what `want` says.
///
/// # Errors
/// [`Refusal::Malformed`], or [`Refusal::TooMany`] for a list that is wanted and too long.
pub(super) fn read<'a>(text: &'a str, want: &Want) -> Result<Tree<'a>, Refusal> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut too_many = false;
    let read = Wanted {
        want,
        too_many: &mut too_many,
    }
    .deserialize(&mut json);
    match read.and_then(|tree| json.end().map(|()| tree)) {
        Ok(tree) => Ok(tree),
        Err(_) if too_many => Err(Refusal::TooMany),
        // What the library says would quote the record.
        Err(_) => Err(Refusal::Malformed),
    }
}

struct Wanted<'w> {
    want: &'w Want,
    too_many: &'w mut bool,
}

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Tree<'de>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Tree<'de>, D::Error> {
        from.deserialize_any(self)
    }
}

/// A name, borrowed unless it is escaped.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Tree<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }
    fn visit_unit<E>(self) -> Result<Tree<'de>, E> {
        Ok(Tree::Scalar(Scalar::Null))
    }
    fn visit_bool<E>(self, value: bool) -> Result<Tree<'de>, E> {
        Ok(Tree::Scalar(Scalar::Bool(value)))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Tree<'de>, E> {
        Ok(Tree::Scalar(Scalar::Int(value)))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Tree<'de>, E> {
        Ok(Tree::Scalar(match i64::try_from(value) {
            Ok(value) => Scalar::Int(value),
            // An id of twenty digits stays itself.
            Err(_) => Scalar::Text(Cow::Owned(value.to_string())),
        }))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Tree<'de>, E> {
        Ok(Tree::Scalar(Scalar::Float(value)))
    }
    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Tree<'de>, E> {
        Ok(Tree::Scalar(Scalar::Text(Cow::Borrowed(value))))
    }
    fn visit_str<E>(self, value: &str) -> Result<Tree<'de>, E> {
        Ok(Tree::Scalar(Scalar::Text(Cow::Owned(value.to_owned()))))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree<'de>, A::Error> {
        let Self { want, too_many } = self;
        let Some(want) = want.of_element() else {
            // Only whether it is empty is told: PHP writes an empty map so.
            let mut empty = true;
            while seq.next_element::<IgnoredAny>()?.is_some() {
                empty = false;
            }
            return Ok(if empty {
                Tree::List(Vec::new())
            } else {
                Tree::Scalar(Scalar::Other)
            });
        };
        let mut list = Vec::new();
        while let Some(item) = seq.next_element_seed(Wanted {
            want,
            too_many: &mut *too_many,
        })? {
            if list.len() >= MAX_ITEMS {
                *too_many = true;
                return Err(A::Error::custom("too many"));
            }
            list.push(item);
        }
        Ok(Tree::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree<'de>, A::Error> {
        let Self { want, too_many } = self;
        if !want.wants_names() {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Tree::Scalar(Scalar::Other));
        }
        let mut entries = Vec::new();
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let Some(want) = want.of_name(&name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if entries.len() >= MAX_ITEMS {
                *too_many = true;
                return Err(A::Error::custom("too many"));
            }
            let too_many = &mut *too_many;
            entries.push((name, map.next_value_seed(Wanted { want, too_many })?));
        }
        Ok(Tree::Object(entries))
    }
}
