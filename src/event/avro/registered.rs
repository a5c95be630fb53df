//! Avro in the framing of a schema registry → [`Event`], with the schemas that are known by now.
//!
//! ```text
//! 00 │ id, 4 bytes, big-endian │ the value, in the writer's schema
//! 01 │ GUID, 16 bytes          │ the same
//! header `__value_schema_id` with one of these two beginnings │ then the record's value is nothing but the value
//! ```
//! Who asks the registry is no matter of this module: [`Registered`] is what the answers so far amount to, and a record whose schema
//! is not among them is not to be decoded yet.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use apache_avro::Schema;

use super::plan::Plan;
use super::{fit, read, tree};
use crate::event::Event;
use crate::event::check;
use crate::event::decode::DecodeContext;
use crate::event::mapping::tree::{Tree, Want};
use crate::event::refusal::{DecodeError, Refusal};
use crate::event::wire::{Place, Wire};

/// The header in which newer serializers put the schema's name.
pub const HEADER: &str = "__value_schema_id";

/// Schemas that are remembered. A registry holds far fewer; beyond it they are asked for again (LM-1).
pub const MOST_SCHEMAS: usize = 10_000;

/// What a registry calls a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SchemaId {
    /// Within one registry.
    Number(u32),
    /// Everywhere.
    Guid([u8; 16]),
}

impl fmt::Display for SchemaId {
    /// As it stands in the registry's addresses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Guid(bytes) => {
                for (index, byte) in bytes.iter().enumerate() {
                    if matches!(index, 4 | 6 | 8 | 10) {
                        f.write_str("-")?;
                    }
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }
    }
}

/// The schema's name, and what follows it.
fn named(bytes: &[u8]) -> Option<(SchemaId, &[u8])> {
    let (version, rest) = bytes.split_first()?;
    match version {
        0 => {
            let (id, rest) = rest.split_first_chunk()?;
            Some((SchemaId::Number(u32::from_be_bytes(*id)), rest))
        }
        1 => {
            let (id, rest) = rest.split_first_chunk()?;
            Some((SchemaId::Guid(*id), rest))
        }
        _ => None,
    }
}

/// Which schema a record's value is written in, and the value without its framing.
///
/// # Errors
/// [`Refusal::Unframed`].
pub fn framed<'a>(
    value: &'a [u8],
    headers: &[(String, Option<Vec<u8>>)],
) -> Result<(SchemaId, &'a [u8]), DecodeError> {
    let unframed = || DecodeError::new(Refusal::Unframed);
    let mut last = headers.iter().rev().filter(|(name, _)| name == HEADER);
    if let Some((_, header)) = last.next() {
        let (id, rest) = header.as_deref().and_then(named).ok_or_else(unframed)?;
        return if rest.is_empty() {
            Ok((id, value))
        } else {
            Err(unframed())
        };
    }
    named(value).ok_or_else(unframed)
}

/// What a registry answered for one schema.
#[derive(Debug)]
pub struct Writer(Answer);

#[derive(Debug)]
enum Answer {
    Schema {
        plan: Plan,
        /// Why no value of it can be an event of our own shape.
        misfit: Option<Place>,
    },
    /// Not Avro, not a record, or one that contains itself.
    Unreadable,
    NotFound,
}

impl Writer {
    /// A schema as text, with the texts of those that it refers to, each before those that refer to it.
    #[must_use]
    pub fn of(text: &str, referred: &[String]) -> Self {
        let others = referred.iter().map(String::as_str);
        let plan = match Schema::parse_str_with_list(text, others) {
            Ok((schema, others)) => Plan::compile_among(&schema, &others),
            Err(_) => return Self::unreadable(),
        };
        match plan {
            Ok(plan) => {
                let misfit = fit::misfit(&plan);
                Self(Answer::Schema { plan, misfit })
            }
            Err(_) => Self::unreadable(),
        }
    }

    /// A schema that is none of Avro's.
    #[must_use]
    pub const fn unreadable() -> Self {
        Self(Answer::Unreadable)
    }

    /// The registry knows no schema of that name.
    #[must_use]
    pub const fn not_found() -> Self {
        Self(Answer::NotFound)
    }

    /// Did the registry know it?
    #[must_use]
    pub const fn is_found(&self) -> bool {
        !matches!(self.0, Answer::NotFound)
    }
}

/// The schemas that are known by now, as values: another one makes another set.
#[derive(Clone, Debug, Default)]
pub struct Registered {
    writers: HashMap<SchemaId, Arc<Writer>>,
}

impl Registered {
    /// Was it answered for?
    #[must_use]
    pub fn knows(&self, id: SchemaId) -> bool {
        self.writers.contains_key(&id)
    }

    /// The same, and what was answered for `id`.
    #[must_use]
    pub fn with(&self, id: SchemaId, writer: Writer) -> Self {
        let mut more = if self.writers.len() < MOST_SCHEMAS {
            self.clone()
        } else {
            Self::default()
        };
        more.writers.insert(id, Arc::new(writer));
        more
    }

    /// The same without `id`: it is asked for again.
    #[must_use]
    pub fn without(&self, id: SchemaId) -> Self {
        let mut fewer = self.clone();
        fewer.writers.remove(&id);
        fewer
    }

    /// How to read a record's value.
    ///
    /// # Errors
    /// When it names no schema, one that the registry does not know, or one that is not Avro's.
    pub fn body<'a>(
        &'a self,
        value: &'a [u8],
        headers: &[(String, Option<Vec<u8>>)],
    ) -> Result<RegisteredValue<'a>, DecodeError> {
        let (id, payload) = framed(value, headers)?;
        match self.writers.get(&id).map(|writer| &writer.0) {
            Some(Answer::Schema { plan, misfit }) => Ok(RegisteredValue {
                plan,
                misfit: misfit.as_ref(),
                payload,
            }),
            Some(Answer::Unreadable) => Err(DecodeError::new(Refusal::IncompatibleSchema)),
            Some(Answer::NotFound) | None => Err(DecodeError::new(Refusal::UnknownSchema)),
        }
    }
}

/// A value whose writer's schema is known.
#[derive(Clone, Copy, Debug)]
pub struct RegisteredValue<'a> {
    plan: &'a Plan,
    misfit: Option<&'a Place>,
    payload: &'a [u8],
}

impl<'a> RegisteredValue<'a> {
    /// Decodes a record of our own shape; `value` is all of it, framing included.
    ///
    /// # Errors
    /// What is wrong first, and where. The text of the error holds nothing of the record.
    pub fn decode(self, value: &[u8], context: &DecodeContext<'_>) -> Result<Event, DecodeError> {
        if value.len() > context.rules.limits.record_bytes {
            return Err(DecodeError::new(Refusal::Oversize));
        }
        if let Some(place) = self.misfit {
            return Err(DecodeError::at(Refusal::IncompatibleSchema, place));
        }
        let mut wire = Wire::new();
        read::record(self.plan, self.payload, &mut wire)
            .map_err(|refusal| DecodeError::at(refusal, wire.at))?;
        check::event(&wire, value, context)
    }

    /// Reads what a mapping wants of one record.
    ///
    /// # Errors
    /// When it is not in the schema that it names.
    pub(in crate::event) fn tree(self, want: &Want) -> Result<Tree<'a>, DecodeError> {
        tree::tree(self.plan, self.payload, want).map_err(DecodeError::new)
    }
}

#[cfg(test)]
mod tests;
