//! What the records of an input are: bytes in, an event of this task's profiles out, or what another profile told.

use std::sync::Arc;

use crate::bus::{InputId, Record, Source};
use crate::engine::Plan;
use crate::engine::forward::Forward;
use crate::event::avro::Schemas;
use crate::event::avro::registered::Registered;
use crate::event::mapping::{Beside, Encoding, Read, Reading};
use crate::event::{DecodeContext, DecodeError, DecodeRules, Refusal, check_key, json};
use crate::partitioner::partition;

/// A record with this header (its value is not read) only moves the records' clock: `feed --until`.
pub const MARK_HEADER: &str = "tidegate-mark";

/// Does a record only move the records' clock?
#[must_use]
pub fn is_mark(record: &Record) -> bool {
    record.headers.iter().any(|(name, _)| name == MARK_HEADER)
}

/// How the values of an input are encoded.
#[derive(Clone, Debug)]
pub enum Format {
    /// One JSON object.
    Json,
    /// Avro single-object encoding, with the schemas that writers may use.
    AvroSingleObject(Arc<Schemas>),
    /// Avro in the framing of a schema registry.
    Avro,
}

/// One input of the application.
#[derive(Clone, Debug)]
pub struct InputSpec {
    /// Where it is read.
    pub source: Source,
    /// How values are encoded.
    pub format: Format,
    /// Which records are taken and what they become; `None`: all of them, in our own shape.
    pub reading: Option<Arc<Reading>>,
    /// Backfill: folds and suppresses, starts no flow.
    pub history: bool,
}

/// Whose time a task runs on (engine.md §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockKind {
    /// The wall's.
    Live,
    /// The greatest record time read: `replay`, tests, backfill.
    Records,
}

/// What every task of the application shares; immutable, a reload makes a new one.
#[derive(Debug)]
pub struct FoldPlan {
    /// Flows and policy.
    pub plan: Plan,
    /// By [`crate::bus::InputId`]; 0 is `<app>-events`.
    pub inputs: Vec<InputSpec>,
    /// How many tasks the application has: as many as each direct input has partitions.
    pub partitions: i32,
    /// How events are read.
    pub decode: DecodeRules,
    /// Whose time.
    pub clock: ClockKind,
}

impl FoldPlan {
    /// What a task reads as an input, in words: topic and partition.
    #[must_use]
    pub fn place(&self, input: InputId, task: i32) -> String {
        let spec = self.inputs.get(usize::from(input.0));
        let topic = spec.map_or("", |spec| &*spec.source.topic);
        let lane = spec.and_then(|spec| spec.source.lane).unwrap_or(0);
        format!("{topic}[{}]", lane * self.partitions + task)
    }
}

/// What another profile told one of this task's.
pub(super) fn decode_forward(record: &Record, shared: &FoldPlan) -> Result<Forward, DecodeError> {
    let value = record.value.as_deref();
    let value = value.ok_or_else(|| DecodeError::new(Refusal::NoValue))?;
    let forward = Forward::decode(value, &shared.decode)?;
    // Somebody else's producer, or a topic that was given more partitions: here it would make a second profile of the same person.
    let own = partition(forward.to.id().as_bytes(), shared.partitions);
    if own != record.partition {
        return Err(DecodeError::new(Refusal::WrongPartition));
    }
    Ok(forward)
}

/// Bytes to an event, which on an input that is read directly stands where its profile is.
///
/// # Errors
/// Why the record is a dead letter.
pub fn decode(
    input: &InputSpec,
    record: &Record,
    shared: &FoldPlan,
    registered: &Registered,
) -> Result<Read, DecodeError> {
    let read = decode_anywhere(input, record, shared, registered)?;
    if let Read::Event(event) = &read
        && input.source.lane.is_none()
    {
        let place = (record.partition, shared.partitions);
        check_key(event, record.key.as_deref(), place)?;
    }
    Ok(read)
}

/// Bytes to an event, wherever it stands.
///
/// # Errors
/// Why it is none.
pub fn decode_anywhere(
    input: &InputSpec,
    record: &Record,
    shared: &FoldPlan,
    registered: &Registered,
) -> Result<Read, DecodeError> {
    let value = record
        .value
        .as_deref()
        .ok_or_else(|| DecodeError::new(Refusal::NoValue))?;
    let context = DecodeContext {
        rules: &shared.decode,
        record_timestamp: Some(record.timestamp),
    };
    let encoding = match &input.format {
        Format::Json => Encoding::Json,
        Format::AvroSingleObject(schemas) => Encoding::Avro(schemas),
        Format::Avro => Encoding::Registered(registered.body(value, &record.headers)?),
    };
    Ok(match (&input.reading, encoding) {
        (Some(reading), encoding) => {
            let beside = Beside {
                key: record.key.as_deref(),
                headers: &record.headers,
            };
            reading.read(value, encoding, beside, &context)?
        }
        (None, Encoding::Json) => Read::Event(json::decode(value, &context)?),
        (None, Encoding::Avro(schemas)) => Read::Event(schemas.decode(value, &context)?),
        (None, Encoding::Registered(framed)) => Read::Event(framed.decode(value, &context)?),
    })
}
