//! Foreign shapes: how a bus's own records become our events (product.md §2), declared in YAML, compiled once, the same for JSON and Avro.
//!
//! ```text
//! bytes ─ tree (only what is wanted) ─ filter ─ type's table ─► fields of that type ─► Wire ─ check ─► Event
//! ```
//! The last two steps are those of our own shape, so a mapped record is held to the same contract. A [`Reading`] is what an input's
//! `filter` and `mapping` compile to; `deploy/mappings` holds shipped ones, with every key in use.

use std::collections::BTreeMap;

use super::avro::Schemas;
use super::avro::registered::RegisteredValue;
use super::decode::DecodeContext;
use super::refusal::{DecodeError, Refusal};
use super::wire::{Field, Scalar, Wire};
use super::{Event, EventType, check, json as own_json};

mod compile;
mod explain;
mod fields;
mod fill;
mod filter;
mod form;
mod json;
mod needs;
mod path;
mod source;
#[cfg(test)]
mod tests;
pub(super) mod tree;
mod written;

pub use compile::{Piece, compile, parse};
pub use explain::{Explained, Mapped};
pub use source::Beside;

use fill::{Fields, unfit};
use filter::Filter;
use path::{Path, Spelling};
use source::{Found, Scope, Source, shown};
use tree::{Tree, Want};

/// How a value is encoded.
#[derive(Clone, Copy, Debug)]
pub enum Encoding<'s> {
    /// One JSON object.
    Json,
    /// Avro single-object encoding, in one of these schemas.
    Avro(&'s Schemas),
    /// Avro in a registry's framing, taken apart.
    Registered(RegisteredValue<'s>),
}

/// What was read of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "taken apart as soon as it is made; a box would cost every event an allocation"
)]
pub enum Read {
    /// An event.
    Event(Event),
    /// Nothing of ours, as the configuration says: counted, no error.
    Left(Left),
}

/// Why a sound record is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    /// The filter does not let it through.
    Filtered,
    /// The mapping ignores records of its name.
    Ignored,
}

/// How the records of an input are read: which of them, and what they become.
/// The default takes all records, in our own shape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// All that the filters and the mapping look at, and the text to unwrap.
    want: Want,
    /// Of the input, and of the mapping.
    filters: Vec<Filter>,
    /// `None`: the records have our own shape.
    mapping: Option<Mapping>,
}

/// What records become.
#[derive(Clone, Debug, PartialEq)]
struct Mapping {
    spelling: Spelling,
    /// The text there holds the record as JSON; when there is none, the record is what came.
    unwrap: Option<Path>,
    kind: Kind,
    /// By type; exactly those that the table leads to.
    fields: BTreeMap<EventType, Fields>,
}

/// Which type a record becomes.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// Always this one.
    Always(EventType),
    /// By the name that the bus gives it.
    Named {
        name: Box<Source>,
        /// By folded name.
        table: BTreeMap<String, Becomes>,
        otherwise: Unnamed,
    },
}

/// What a name of the bus means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Becomes {
    Event(EventType),
    Nothing,
}

/// What becomes of names that the table does not hold, and of records without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unnamed {
    Refused,
    Ignored,
}

impl Reading {
    /// Reads one record.
    ///
    /// # Errors
    /// What is wrong first: the path in the record and, after an arrow, the field of ours. Nothing of what stood there.
    pub fn read(
        &self,
        value: &[u8],
        encoding: Encoding<'_>,
        beside: Beside<'_>,
        context: &DecodeContext<'_>,
    ) -> Result<Read, DecodeError> {
        if value.len() > context.rules.limits.record_bytes {
            return Err(DecodeError::new(Refusal::Oversize));
        }
        let tree = match encoding {
            Encoding::Json => {
                let text = std::str::from_utf8(value);
                let text = text.map_err(|_| DecodeError::new(Refusal::Malformed))?;
                json::read(text, &self.want).map_err(DecodeError::new)?
            }
            Encoding::Avro(schemas) => schemas.tree(value, &self.want)?,
            Encoding::Registered(framed) => framed.tree(&self.want)?,
        };
        let inner = self.unwrapped(&tree)?;
        let record = inner.as_ref().unwrap_or(&tree);
        let scope = Scope {
            record,
            here: record,
            beside,
            time: context.record_timestamp,
            spelling: self.spelling(),
        };
        if !self.filters.iter().all(|filter| filter.takes(scope)) {
            return Ok(Read::Left(Left::Filtered));
        }
        let Some(mapping) = &self.mapping else {
            return match encoding {
                Encoding::Json => own_json::decode(value, context),
                Encoding::Avro(schemas) => schemas.decode(value, context),
                Encoding::Registered(framed) => framed.decode(value, context),
            }
            .map(Read::Event);
        };
        match mapping.kind.of(scope)? {
            Becomes::Nothing => Ok(Read::Left(Left::Ignored)),
            Becomes::Event(kind) => mapping.event(kind, scope, value, context).map(Read::Event),
        }
    }

    fn spelling(&self) -> Spelling {
        self.mapping
            .as_ref()
            .map_or(Spelling::Exact, |mapping| mapping.spelling)
    }

    /// What the text holds that wraps the record; `None` when nothing does.
    fn unwrapped<'t>(&'t self, tree: &'t Tree<'t>) -> Result<Option<Tree<'t>>, DecodeError> {
        let Some(path) = self
            .mapping
            .as_ref()
            .and_then(|mapping| mapping.unwrap.as_ref())
        else {
            return Ok(None);
        };
        let bad = |refusal| DecodeError::at(refusal, path);
        match tree.at(&path.hops, self.spelling()).map_err(bad)? {
            Some(Tree::Scalar(Scalar::Text(text))) => {
                json::read(text, &self.want).map(Some).map_err(bad)
            }
            Some(_) | None => Ok(None),
        }
    }
}

impl Kind {
    fn of(&self, scope: Scope<'_>) -> Result<Becomes, DecodeError> {
        let (name, table, otherwise) = match self {
            Self::Always(kind) => return Ok(Becomes::Event(*kind)),
            Self::Named {
                name,
                table,
                otherwise,
            } => (name, table, *otherwise),
        };
        let bad = |refusal| unfit(refusal, name, format_args!("type"));
        let found = name.value(scope).map_err(bad)?;
        let known = match shown(&found).map_err(bad)? {
            Some(text) => table.get(scope.spelling.folded(&text).as_ref()),
            None => None,
        };
        match (known, otherwise) {
            (Some(becomes), _) => Ok(*becomes),
            (None, Unnamed::Ignored) => Ok(Becomes::Nothing),
            (None, Unnamed::Refused) if found == Scalar::Null => Err(bad(Refusal::Missing)),
            (None, Unnamed::Refused) => Err(bad(Refusal::UnknownType)),
        }
    }
}

impl Mapping {
    fn event(
        &self,
        kind: EventType,
        scope: Scope<'_>,
        value: &[u8],
        context: &DecodeContext<'_>,
    ) -> Result<Event, DecodeError> {
        let Some(fields) = self.fields.get(&kind) else {
            // Compiling gave every type of the table its fields.
            return Err(DecodeError::new(Refusal::UnknownType));
        };
        let mut wire = Wire::new();
        wire.put(Field::Type, Scalar::Text(kind.name().into()), false);
        fields
            .fill(&mut wire, scope, context.rules)
            .map_err(|error| error.of(kind))?;
        check::event(&wire, value, context).map_err(|error| {
            let ours = error.path().to_owned();
            match fields.origin(&ours) {
                Some(theirs) => error.moved(format_args!("{theirs} → {ours}")),
                None => error,
            }
        })
    }
}

impl Left {
    /// Name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Filtered => "filtered",
            Self::Ignored => "ignored",
        }
    }
}

/// What a source found, as a scalar.
fn as_scalar(found: Found<'_>) -> Scalar<'_> {
    match found {
        Found::Tree(tree) => tree.scalar(),
        Found::Scalar(scalar) => scalar,
    }
}
