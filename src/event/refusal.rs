//! Why a record is no event: a bounded code, the path of the field, and never a byte of what it held.

use std::fmt;

use crate::partitioner;

use super::{Event, EventType};

/// The kind of refusal. Bounded, so that it may be a metric label and a dead-letter header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// The record has no value (a tombstone means nothing on an input).
    NoValue,
    /// The record is larger than the configured limit.
    Oversize,
    /// Not JSON, not Avro, cut short, nested too deeply, not UTF-8.
    Malformed,
    /// It does not begin with the name of a schema, as the framing of a schema registry has it.
    Unframed,
    /// Avro of a schema that nobody told us, or that the registry does not know.
    UnknownSchema,
    /// The writer's schema can give no event of our own shape, or is none of Avro's.
    IncompatibleSchema,
    /// A field holds another shape than the contract says (an object for a text …).
    WrongType,
    /// A field that this event type cannot do without.
    Missing,
    /// The event type is none of product.md §2.
    UnknownType,
    /// A time that cannot be read, before 1990, or more than a day ahead of the record.
    BadTime,
    /// Money that cannot be read, is not a number, or is absurd.
    BadMoney,
    /// A number that cannot be read or is out of its range.
    BadNumber,
    /// A word outside its closed set (class, bounce, consent …).
    UnknownWord,
    /// A time zone that the zone database does not know.
    UnknownZone,
    /// A text over the limit of its field.
    TooLong,
    /// A list over its limit.
    TooMany,
    /// The record's key is not its profile's id.
    WrongKey,
    /// The record stands in another partition than its profile: its producer does not partition as Java does.
    WrongPartition,
}

impl Refusal {
    /// Every kind.
    pub const ALL: [Self; 18] = [
        Self::NoValue,
        Self::Oversize,
        Self::Malformed,
        Self::Unframed,
        Self::UnknownSchema,
        Self::IncompatibleSchema,
        Self::WrongType,
        Self::Missing,
        Self::UnknownType,
        Self::BadTime,
        Self::BadMoney,
        Self::BadNumber,
        Self::UnknownWord,
        Self::UnknownZone,
        Self::TooLong,
        Self::TooMany,
        Self::WrongKey,
        Self::WrongPartition,
    ];

    /// Name in metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoValue => "no_value",
            Self::Oversize => "oversize",
            Self::Malformed => "malformed",
            Self::Unframed => "unframed",
            Self::UnknownSchema => "unknown_schema",
            Self::IncompatibleSchema => "incompatible_schema",
            Self::WrongType => "wrong_type",
            Self::Missing => "missing",
            Self::UnknownType => "unknown_type",
            Self::BadTime => "bad_time",
            Self::BadMoney => "bad_money",
            Self::BadNumber => "bad_number",
            Self::UnknownWord => "unknown_word",
            Self::UnknownZone => "unknown_zone",
            Self::TooLong => "too_long",
            Self::TooMany => "too_many",
            Self::WrongKey => "wrong_key",
            Self::WrongPartition => "wrong_partition",
        }
    }

    /// Name of the exception in the dead letter, as tools of Kafka Connect group by it.
    #[must_use]
    pub const fn class_name(self) -> &'static str {
        match self {
            Self::NoValue => "tidegate.event.NoValue",
            Self::Oversize => "tidegate.event.Oversize",
            Self::Malformed => "tidegate.event.Malformed",
            Self::Unframed => "tidegate.event.Unframed",
            Self::UnknownSchema => "tidegate.event.UnknownSchema",
            Self::IncompatibleSchema => "tidegate.event.IncompatibleSchema",
            Self::WrongType => "tidegate.event.WrongType",
            Self::Missing => "tidegate.event.Missing",
            Self::UnknownType => "tidegate.event.UnknownType",
            Self::BadTime => "tidegate.event.BadTime",
            Self::BadMoney => "tidegate.event.BadMoney",
            Self::BadNumber => "tidegate.event.BadNumber",
            Self::UnknownWord => "tidegate.event.UnknownWord",
            Self::UnknownZone => "tidegate.event.UnknownZone",
            Self::TooLong => "tidegate.event.TooLong",
            Self::TooMany => "tidegate.event.TooMany",
            Self::WrongKey => "tidegate.event.WrongKey",
            Self::WrongPartition => "tidegate.event.WrongPartition",
        }
    }

    const fn says(self) -> &'static str {
        match self {
            Self::NoValue => "the record has no value",
            Self::Oversize => "the record is larger than the limit",
            Self::Malformed => "the value cannot be read in the input's format",
            Self::Unframed => {
                "the value does not begin with a schema id as a registry's serializer writes it (00 and four bytes, or 01 and sixteen)"
            }
            Self::UnknownSchema => "the value is of a schema that is not known",
            Self::IncompatibleSchema => {
                "the writer's schema cannot be resolved into ours, nor is there a mapping"
            }
            Self::WrongType => "a value of the wrong type",
            Self::Missing => "a value is missing",
            Self::UnknownType => "the event type is not known",
            Self::BadTime => "not a time, before 1990, or over a day ahead of the record",
            Self::BadMoney => "not an amount of money",
            Self::BadNumber => "not a number, or out of its range",
            Self::UnknownWord => "not one of the words allowed",
            Self::UnknownZone => "not a known time zone",
            Self::TooLong => "a text is too long",
            Self::TooMany => "a list is too long",
            Self::WrongKey => "the record's key is not the event's customer_id or anonymous_id",
            Self::WrongPartition => {
                "the record is not in the partition that murmur2 gives its key: partition as Java does (librdkafka: partitioner=murmur2_random)"
            }
        }
    }
}

/// Which part of a record could not be taken, as Kafka Connect names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The value.
    Value,
    /// The key.
    Key,
}

impl Stage {
    /// Name in the dead letter's header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Value => "VALUE_CONVERTER",
            Self::Key => "KEY_CONVERTER",
        }
    }
}

/// A record that is no event. Its text names the field and the type, never what stood there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DecodeError {
    refusal: Refusal,
    path: String,
    kind: Option<EventType>,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.refusal.says())?;
        if !self.path.is_empty() {
            write!(f, ", at `{}`", self.path)?;
        }
        match self.kind {
            Some(kind) => write!(f, " of {}", kind.name()),
            None => Ok(()),
        }
    }
}

impl DecodeError {
    /// A refusal of the record as a whole.
    #[must_use]
    pub const fn new(refusal: Refusal) -> Self {
        Self {
            refusal,
            path: String::new(),
            kind: None,
        }
    }

    /// A refusal of the field at `path` (`products[3].price`), which must not hold anything that the record said.
    pub(crate) fn at(refusal: Refusal, path: impl fmt::Display) -> Self {
        Self {
            refusal,
            path: path.to_string(),
            kind: None,
        }
    }

    /// The same, knowing the event type.
    pub(crate) fn of(mut self, kind: EventType) -> Self {
        self.kind = Some(kind);
        self
    }

    /// The same, at another path: where the value stood that was mapped.
    pub(crate) fn moved(mut self, path: impl fmt::Display) -> Self {
        self.path = path.to_string();
        self
    }

    /// Which kind.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        self.refusal
    }
    /// Bounded name for metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.refusal.code()
    }
    /// The field (`products[3].price`); empty when it is about the whole record.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
    /// For `__connect.errors.stage`.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match self.refusal {
            Refusal::WrongKey | Refusal::WrongPartition => Stage::Key,
            Refusal::NoValue
            | Refusal::Oversize
            | Refusal::Malformed
            | Refusal::Unframed
            | Refusal::UnknownSchema
            | Refusal::IncompatibleSchema
            | Refusal::WrongType
            | Refusal::Missing
            | Refusal::UnknownType
            | Refusal::BadTime
            | Refusal::BadMoney
            | Refusal::BadNumber
            | Refusal::UnknownWord
            | Refusal::UnknownZone
            | Refusal::TooLong
            | Refusal::TooMany => Stage::Value,
        }
    }
    /// For `__connect.errors.exception.class.name`.
    #[must_use]
    pub const fn class_name(&self) -> &'static str {
        self.refusal.class_name()
    }
}

/// Checks that a record of an input with `key: customer_id` stands where its profile is: its key is the event's `customer_id`,
/// or its `anonymous_id` while the customer is unknown, and its partition (which, of how many) is that key's. An event of nobody may
/// have any key.
///
/// # Errors
/// [`Refusal::WrongKey`], [`Refusal::WrongPartition`]: folding it here would give a customer two profiles.
pub fn check_key(
    event: &Event,
    key: Option<&[u8]>,
    (partition, partitions): (i32, i32),
) -> Result<(), DecodeError> {
    let Some(id) = event.customer_id.as_ref().or(event.anonymous_id.as_ref()) else {
        return Ok(());
    };
    if key != Some(id.as_bytes()) {
        return Err(DecodeError::new(Refusal::WrongKey).of(event.kind));
    }
    if partitioner::partition(id.as_bytes(), partitions) != partition {
        return Err(DecodeError::new(Refusal::WrongPartition).of(event.kind));
    }
    Ok(())
}
