//! Where the value of one of our fields comes from, and how the bus's way of writing it becomes ours.

use std::borrow::Cow;
use std::fmt;

use super::form::Form;
use super::path::{Path, Root, Spelling};
use super::tree::{Tree, borrowed};
use crate::event::fields::decimal;
use crate::event::refusal::Refusal;
use crate::event::wire::Scalar;
use crate::value::Timestamp;

/// What came with a value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'r> {
    /// The record's key.
    pub key: Option<&'r [u8]>,
    /// Its headers, in order.
    pub headers: &'r [(String, Option<Vec<u8>>)],
}

/// What paths are walked over.
#[derive(Clone, Copy)]
pub(super) struct Scope<'t> {
    /// The record's value.
    pub(super) record: &'t Tree<'t>,
    /// It, or the element of the list that is being mapped.
    pub(super) here: &'t Tree<'t>,
    pub(super) beside: Beside<'t>,
    pub(super) time: Option<Timestamp>,
    pub(super) spelling: Spelling,
}

/// What a path led to.
pub(super) enum Found<'t> {
    Tree(&'t Tree<'t>),
    Scalar(Scalar<'t>),
}

impl<'t> Found<'t> {
    fn scalar(self) -> Scalar<'t> {
        match self {
            Self::Tree(tree) => tree.scalar(),
            Self::Scalar(scalar) => scalar,
        }
    }
}

impl<'t> Scope<'t> {
    /// What stands at `path`; `None` when nothing does, null, or an empty text.
    pub(super) fn find(self, path: &Path) -> Result<Option<Found<'t>>, Refusal> {
        let text = |bytes: Option<&'t [u8]>| -> Result<Option<Found<'t>>, Refusal> {
            let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else {
                return Ok(None);
            };
            let text = std::str::from_utf8(bytes).map_err(|_| Refusal::WrongType)?;
            Ok(Some(Found::Scalar(Scalar::Text(Cow::Borrowed(text)))))
        };
        let tree = match &path.root {
            Root::Here => self.here,
            Root::Record => self.record,
            Root::Key => return text(self.beside.key),
            Root::Time => {
                let time = self.time.map(|time| Scalar::Int(time.millis()));
                return Ok(time.map(Found::Scalar));
            }
            Root::Header(name) => {
                let mut headers = self.beside.headers.iter().rev();
                let header = headers.find(|(known, _)| known == name);
                return text(header.and_then(|(_, value)| value.as_deref()));
            }
        };
        let found = tree.at(&path.hops, self.spelling)?;
        let empty =
            |tree: &Tree<'_>| matches!(tree, Tree::Scalar(Scalar::Text(text)) if text.is_empty());
        Ok(found.filter(|tree| !empty(tree)).map(Found::Tree))
    }
}

impl<'t> Scope<'t> {
    /// What stands at the first of these paths at which something does.
    pub(super) fn first(self, paths: &[Path]) -> Result<Option<Found<'t>>, Refusal> {
        for path in paths {
            if let Some(found) = self.find(path)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// Which value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Pick {
    /// Always this one.
    Const(Scalar<'static>),
    /// The first of these paths at which something stands.
    First(Vec<Path>),
    /// These, put together; what is absent is left out.
    Join(Vec<Source>, Box<str>),
}

/// What a table does with a value that it does not list.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Otherwise {
    /// The record does not fit.
    Refuse,
    /// The value stays.
    Keep,
    /// The field is absent.
    Absent,
    /// This instead.
    Const(Scalar<'static>),
}

/// The bus's values → ours.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    /// How the bus's are compared.
    pub(super) spelling: Spelling,
    pub(super) rows: Vec<(Box<str>, Scalar<'static>)>,
    pub(super) otherwise: Otherwise,
}

/// Where one of our values comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Source {
    pub(super) pick: Pick,
    /// Taken off the front of a text.
    pub(super) strip: Option<Box<str>>,
    /// A text ends where this begins.
    pub(super) before: Option<Box<str>>,
    pub(super) table: Option<Table>,
    pub(super) form: Form,
    /// When nothing stands there; in our way of writing.
    pub(super) default: Scalar<'static>,
}

impl fmt::Display for Source {
    /// As a person would point at it; constants have no place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pick {
            Pick::Const(_) => f.write_str("(constant)"),
            Pick::First(paths) => {
                let paths: Vec<String> = paths.iter().map(Path::to_string).collect();
                f.write_str(&paths.join(" or "))
            }
            Pick::Join(parts, _) => {
                let parts: Vec<String> = parts.iter().map(Self::to_string).collect();
                f.write_str(&parts.join(" + "))
            }
        }
    }
}

impl Source {
    /// Its paths.
    pub(super) fn paths(&self) -> Vec<&Path> {
        match &self.pick {
            Pick::Const(_) => Vec::new(),
            Pick::First(paths) => paths.iter().collect(),
            Pick::Join(parts, _) => parts.iter().flat_map(Self::paths).collect(),
        }
    }

    /// What stands there, as it is; constants and joined texts too.
    pub(super) fn find<'t>(&'t self, scope: Scope<'t>) -> Result<Option<Found<'t>>, Refusal> {
        match &self.pick {
            Pick::Const(value) => Ok(Some(Found::Scalar(borrowed(value)))),
            Pick::First(paths) => scope.first(paths),
            Pick::Join(parts, between) => {
                let (mut joined, mut any) = (String::new(), false);
                for part in parts {
                    let scalar = part.value(scope)?;
                    if scalar == Scalar::Null {
                        continue;
                    }
                    let part = shown(&scalar)?.ok_or(Refusal::WrongType)?;
                    if any {
                        joined.push_str(between);
                    }
                    any = true;
                    joined.push_str(&part);
                }
                let joined = Found::Scalar(Scalar::Text(Cow::Owned(joined)));
                Ok(any.then_some(joined))
            }
        }
    }

    /// The value in our way of writing; null when there is none. Money in minor units is left to [`Form::money`], which needs a currency.
    pub(super) fn value<'t>(&'t self, scope: Scope<'t>) -> Result<Scalar<'t>, Refusal> {
        match self.find(scope)? {
            None => Ok(borrowed(&self.default)),
            Some(found) => self.ours(found.scalar()),
        }
    }

    /// One value of the bus in our way of writing.
    pub(super) fn ours<'t>(&'t self, theirs: Scalar<'t>) -> Result<Scalar<'t>, Refusal> {
        let stripped = match (&self.strip, theirs) {
            (Some(front), Scalar::Text(text)) => Scalar::Text(without(text, front)),
            (_, theirs) => theirs,
        };
        let stripped = match (&self.before, stripped) {
            (Some(mark), Scalar::Text(text)) => Scalar::Text(until(text, mark)),
            (_, stripped) => stripped,
        };
        let Some(table) = &self.table else {
            return self.form.time(stripped);
        };
        let Some(text) = shown(&stripped)? else {
            return Ok(Scalar::Null);
        };
        let mut rows = table.rows.iter();
        let row = rows.find(|(known, _)| table.spelling.same(known, &text));
        match (row, &table.otherwise) {
            (Some((_, value)), _) | (None, Otherwise::Const(value)) => Ok(borrowed(value)),
            (None, Otherwise::Refuse) => Err(Refusal::UnknownWord),
            (None, Otherwise::Absent) => Ok(Scalar::Null),
            (None, Otherwise::Keep) => {
                drop(text);
                Ok(stripped)
            }
        }
    }
}

fn without<'t>(text: Cow<'t, str>, front: &str) -> Cow<'t, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.strip_prefix(front).unwrap_or(text)),
        Cow::Owned(text) => match text.strip_prefix(front) {
            Some(rest) => Cow::Owned(rest.to_owned()),
            None => Cow::Owned(text),
        },
    }
}

fn until<'t>(text: Cow<'t, str>, mark: &str) -> Cow<'t, str> {
    match text.find(mark) {
        None => text,
        Some(at) => match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.get(..at).unwrap_or(text)),
            Cow::Owned(mut text) => {
                text.truncate(at);
                Cow::Owned(text)
            }
        },
    }
}

/// A scalar as the text that tables and filters compare; `None` for null and the empty text.
pub(super) fn shown<'s>(scalar: &'s Scalar<'_>) -> Result<Option<Cow<'s, str>>, Refusal> {
    match scalar {
        Scalar::Bool(true) => Ok(Some(Cow::Borrowed("true"))),
        Scalar::Bool(false) => Ok(Some(Cow::Borrowed("false"))),
        Scalar::Text(text) if text.is_empty() => Ok(None),
        Scalar::Text(text) => Ok(Some(Cow::Borrowed(text))),
        Scalar::Null | Scalar::Int(_) | Scalar::Float(_) | Scalar::Other => decimal(scalar),
    }
}
