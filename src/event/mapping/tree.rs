//! The part of a record that a mapping looks at: read in one pass over the bytes, everything else passed over.
//!
//! A [`Want`] is made of all paths of a mapping when it is compiled; the readers ([`json`](super::json), Avro's) keep only what lies on it.

use std::borrow::Cow;

use super::path::{Hop, Path, Root, Spelling};
use crate::event::refusal::Refusal;
use crate::event::wire::Scalar;

/// What is to be kept of a value. Scalars always are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::event) struct Want {
    /// Everything, to the bottom.
    pub(super) whole: bool,
    /// Of an object.
    pub(super) names: Vec<(Box<str>, Want)>,
    /// Of every element of a list.
    pub(super) elements: Option<Box<Want>>,
    pub(super) spelling: Spelling,
}

/// What a path leads to.
#[derive(Clone, Debug)]
pub(super) enum Leaf {
    /// One value without parts.
    Scalar,
    /// All of it.
    Whole,
    /// A list whose elements are read so.
    List(Want),
}

impl Want {
    pub(super) fn new(spelling: Spelling) -> Self {
        Self {
            spelling,
            ..Self::default()
        }
    }

    /// Adds what lies at the end of `path`, seen from `root`.
    pub(super) fn add(&mut self, path: &Path, leaf: Leaf) {
        match path.root {
            Root::Here | Root::Record => self.add_hops(&path.hops, leaf),
            Root::Key | Root::Time | Root::Header(_) => {}
        }
    }

    fn add_hops(&mut self, hops: &[Hop], leaf: Leaf) {
        match hops.split_first() {
            Some((Hop::Name(name), rest)) => self.named(name).add_hops(rest, leaf),
            Some((Hop::Index(_) | Hop::Only, rest)) => self.element().add_hops(rest, leaf),
            None => match leaf {
                Leaf::Scalar => {}
                Leaf::Whole => self.whole = true,
                Leaf::List(want) => self.element().merge(want),
            },
        }
    }

    /// Takes in what `other` wants too.
    pub(super) fn merge(&mut self, other: Self) {
        self.whole |= other.whole;
        for (name, want) in other.names {
            self.named(&name).merge(want);
        }
        if let Some(want) = other.elements {
            self.element().merge(*want);
        }
    }

    fn named(&mut self, name: &str) -> &mut Self {
        let at = self.names.iter().position(|(known, _)| **known == *name);
        let at = at.unwrap_or_else(|| {
            self.names.push((name.into(), Self::new(self.spelling)));
            self.names.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "found or pushed right here")]
        &mut self.names[at].1
    }

    fn element(&mut self) -> &mut Self {
        let spelling = self.spelling;
        self.elements
            .get_or_insert_with(|| Box::new(Self::new(spelling)))
    }

    /// What is wanted of the entry called `name`; `None`: nothing.
    pub(in crate::event) fn of_name(&self, name: &str) -> Option<&Self> {
        if self.whole {
            return Some(self);
        }
        let mut names = self.names.iter();
        names
            .find(|(known, _)| self.spelling.same(known, name))
            .map(|(_, want)| want)
    }

    /// What is wanted of an element; `None`: nothing.
    pub(in crate::event) fn of_element(&self) -> Option<&Self> {
        if self.whole {
            return Some(self);
        }
        self.elements.as_deref()
    }

    /// Is any entry of an object wanted?
    pub(in crate::event) const fn wants_names(&self) -> bool {
        self.whole || !self.names.is_empty()
    }
}

/// What was kept of a record.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::event) enum Tree<'a> {
    /// A scalar; [`Scalar::Other`] for an object or list of which nothing is wanted.
    Scalar(Scalar<'a>),
    /// A list, all elements of it.
    List(Vec<Tree<'a>>),
    /// An object: those entries that are wanted, in the record's order.
    Object(Vec<(Cow<'a, str>, Tree<'a>)>),
}

impl<'a> Tree<'a> {
    const fn is_null(&self) -> bool {
        matches!(self, Self::Scalar(Scalar::Null))
    }

    /// What stands at the end of `hops`; `None` when nothing does, or null.
    ///
    /// # Errors
    /// When the record has another shape than the hops, or `[only]` meets a second element.
    pub(super) fn at(&self, hops: &[Hop], spelling: Spelling) -> Result<Option<&Self>, Refusal> {
        let mut here = self;
        for hop in hops {
            let next = match (hop, here) {
                (_, Self::Scalar(Scalar::Null)) => None,
                (Hop::Name(name), Self::Object(entries)) => {
                    // The last of those of the same name, as parsers of JSON do, unless it is null.
                    let mut named = entries.iter().rev();
                    named
                        .find(|(key, value)| spelling.same(name, key) && !value.is_null())
                        .map(|(_, value)| value)
                }
                // An empty map, as PHP writes it.
                (Hop::Name(_), Self::List(list)) if list.is_empty() => None,
                (Hop::Index(index), Self::List(list)) => list.get(*index),
                (Hop::Only, Self::List(list)) if list.len() > 1 => return Err(Refusal::TooMany),
                (Hop::Only, Self::List(list)) => list.first(),
                (Hop::Name(_), Self::Scalar(_) | Self::List(_))
                | (Hop::Index(_) | Hop::Only, Self::Scalar(_) | Self::Object(_)) => {
                    return Err(Refusal::WrongType);
                }
            };
            match next {
                Some(next) => here = next,
                None => return Ok(None),
            }
        }
        Ok((!here.is_null()).then_some(here))
    }

    /// As a scalar, borrowed; objects and lists are [`Scalar::Other`].
    pub(super) fn scalar(&self) -> Scalar<'_> {
        match self {
            Self::Scalar(scalar) => borrowed(scalar),
            Self::List(_) | Self::Object(_) => Scalar::Other,
        }
    }

    /// As JSON.
    pub(super) fn json(&self) -> serde_json::Value {
        match self {
            Self::Scalar(scalar) => match scalar {
                Scalar::Null | Scalar::Other => serde_json::Value::Null,
                Scalar::Bool(value) => (*value).into(),
                Scalar::Int(value) => (*value).into(),
                Scalar::Float(value) => (*value).into(),
                Scalar::Text(text) => text.as_ref().into(),
            },
            Self::List(list) => list.iter().map(Self::json).collect(),
            Self::Object(entries) => serde_json::Value::Object(
                entries
                    .iter()
                    .map(|(name, value)| (name.as_ref().to_owned(), value.json()))
                    .collect(),
            ),
        }
    }
}

/// The same scalar, its text borrowed.
pub(super) fn borrowed<'t>(scalar: &'t Scalar<'_>) -> Scalar<'t> {
    match scalar {
        Scalar::Null => Scalar::Null,
        Scalar::Bool(value) => Scalar::Bool(*value),
        Scalar::Int(value) => Scalar::Int(*value),
        Scalar::Float(value) => Scalar::Float(*value),
        Scalar::Text(text) => Scalar::Text(Cow::Borrowed(text)),
        Scalar::Other => Scalar::Other,
    }
}
