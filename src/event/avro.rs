//! Avro single-object encoding ⇄ [`Event`]; [`registered`] is the same in a schema registry's framing.
//!
//! ```text
//! C3 01 │ CRC-64-AVRO of the writer's schema, 8 bytes, little-endian │ the value, in the writer's schema
//! ```
//! The writer's schema is found by its fingerprint among our own (`schemas/*.avsc`) and those that the configuration adds. Fields
//! are taken by name, and what is not there is absent, so a writer may drop fields that we do not need and add others.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::rabin::Rabin;

use super::decode::DecodeContext;
use super::mapping::tree::{Tree, Want};
use super::refusal::{DecodeError, Refusal};
use super::wire::Wire;
use super::{Currencies, Event, Stream, check, encode};
mod fit;
mod plan;
mod read;
pub mod registered;
mod tree;
mod write;

use plan::Plan;
pub use write::{EncodeError, Writer};

/// What every value begins with.
const MARKER: [u8; 2] = [0xC3, 0x01];

/// The schema of a stream, as text.
#[must_use]
pub const fn schema_text(stream: Stream) -> &'static str {
    match stream {
        Stream::Clickstream => include_str!("../../schemas/clickstream.avsc"),
        Stream::Purchases => include_str!("../../schemas/purchases.avsc"),
        Stream::Deliveries => include_str!("../../schemas/deliveries.avsc"),
        Stream::Customers => include_str!("../../schemas/customers.avsc"),
        Stream::Requests => include_str!("../../schemas/requests.avsc"),
    }
}

const STREAMS: [Stream; 5] = [
    Stream::Clickstream,
    Stream::Purchases,
    Stream::Deliveries,
    Stream::Customers,
    Stream::Requests,
];

/// A schema that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Not a schema.
    #[error("Avro schema {index} of the configuration cannot be read")]
    Unreadable {
        /// Which one, from 0.
        index: usize,
        /// Why.
        #[source]
        source: Box<apache_avro::Error>,
    },
    /// Not a record, or one that contains itself.
    #[error("Avro schema {index} of the configuration {why}")]
    Unfit {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// The schemas that values may be written in.
#[derive(Debug)]
pub struct Schemas {
    plans: HashMap<[u8; 8], Plan>,
}

impl Schemas {
    /// Our own, and those of `more` (texts of `.avsc` files).
    ///
    /// # Errors
    /// When one of `more` is not a schema of a record, or contains itself (its depth would be the sender's choice).
    pub fn new<'t>(more: impl IntoIterator<Item = &'t str>) -> Result<Self, SchemaError> {
        let own = STREAMS.map(schema_text);
        let mut plans = HashMap::new();
        for (index, text) in more.into_iter().enumerate() {
            let (fingerprint, plan) = compiled(index, text)?;
            plans.insert(fingerprint, plan);
        }
        for (index, text) in own.into_iter().enumerate() {
            let (fingerprint, plan) = compiled(index, text)?;
            plans.insert(fingerprint, plan);
        }
        Ok(Self { plans })
    }

    /// Decodes one record.
    ///
    /// # Errors
    /// What is wrong first, and where. The text of the error holds nothing of the record.
    pub fn decode(&self, value: &[u8], context: &DecodeContext<'_>) -> Result<Event, DecodeError> {
        if value.len() > context.rules.limits.record_bytes {
            return Err(DecodeError::new(Refusal::Oversize));
        }
        let (plan, payload) = self.framed(value)?;
        let mut wire = Wire::new();
        read::record(plan, payload, &mut wire)
            .map_err(|refusal| DecodeError::at(refusal, wire.at))?;
        check::event(&wire, value, context)
    }

    /// Reads what a mapping wants of one record.
    ///
    /// # Errors
    /// When it is not in one of the schemas.
    pub(super) fn tree<'a>(&self, value: &'a [u8], want: &Want) -> Result<Tree<'a>, DecodeError> {
        let (plan, payload) = self.framed(value)?;
        tree::tree(plan, payload, want).map_err(DecodeError::new)
    }

    /// How to read a value, and its payload.
    fn framed<'a>(&self, value: &'a [u8]) -> Result<(&Plan, &'a [u8]), DecodeError> {
        let malformed = || DecodeError::new(Refusal::Malformed);
        let framed = value.strip_prefix(&MARKER).ok_or_else(malformed)?;
        let (fingerprint, payload) = framed.split_first_chunk::<8>().ok_or_else(malformed)?;
        let plan = self.plans.get(fingerprint);
        let plan = plan.ok_or_else(|| DecodeError::new(Refusal::UnknownSchema))?;
        Ok((plan, payload))
    }
}

fn compiled(index: usize, text: &str) -> Result<([u8; 8], Plan), SchemaError> {
    let schema = Schema::parse_str(text).map_err(|source| SchemaError::Unreadable {
        index,
        source: Box::new(source),
    })?;
    let unfit = |why| SchemaError::Unfit { index, why };
    let fingerprint = schema
        .fingerprint::<Rabin>()
        .bytes
        .try_into()
        .map_err(|_| unfit("has no fingerprint"))?;
    Ok((fingerprint, Plan::compile(&schema).map_err(unfit)?))
}

/// Writes events in the schema of their stream.
pub struct Encoder {
    writers: Vec<(Stream, Writer)>,
}

impl Encoder {
    /// Of our own schemas.
    ///
    /// # Errors
    /// Never, unless the shipped schemas are broken.
    pub fn new() -> Result<Self, EncodeError> {
        let writers = STREAMS
            .into_iter()
            .map(|stream| Ok((stream, Writer::new(schema_text(stream))?)))
            .collect::<Result<_, _>>()?;
        Ok(Self { writers })
    }

    /// Of the schema of one stream, which a registry knows under `id`. Writes no events of other streams.
    ///
    /// # Errors
    /// Never, unless the shipped schema is broken.
    pub fn registered(stream: Stream, id: u32) -> Result<Self, EncodeError> {
        let writer = Writer::registered(schema_text(stream), id)?;
        Ok(Self {
            writers: vec![(stream, writer)],
        })
    }

    /// Writes `event`, whose money is in the shop's currency.
    ///
    /// # Errors
    /// Never for a decoded event.
    pub fn encode(&self, event: &Event, currencies: &Currencies) -> Result<Vec<u8>, EncodeError> {
        let stream = event.kind.stream();
        let (_, writer) = self
            .writers
            .iter()
            .find(|(of, _)| *of == stream)
            .ok_or(EncodeError::Unfit)?;
        writer.encode(&serde_json::Value::Object(encode::object(
            event, currencies,
        )))
    }
}

#[cfg(test)]
mod tests {
    use apache_avro::types::Value;
    use proptest::prelude::*;

    use super::*;
    use crate::event::examples::{EXAMPLES, record, rules};
    use crate::event::{DecodeRules, json};
    use crate::value::Timestamp;

    fn context(rules: &DecodeRules) -> DecodeContext<'_> {
        DecodeContext {
            rules,
            record_timestamp: Timestamp::parse("2026-03-01T12:00:00Z"),
        }
    }

    fn examples() -> Vec<Event> {
        let rules = rules();
        EXAMPLES
            .iter()
            .map(|(kind, own)| {
                json::decode(record(kind.name(), own).as_bytes(), &context(&rules)).unwrap()
            })
            .collect()
    }

    #[test]
    fn every_event_is_the_same_in_json_and_avro_and_reads_back() {
        let rules = rules();
        let schemas = Schemas::new([]).unwrap();
        let encoder = Encoder::new().unwrap();
        for event in examples() {
            let written = json::encode(&event, &rules.currencies);
            assert_eq!(
                json::decode(&written, &context(&rules)).as_ref(),
                Ok(&event)
            );
            let written = encoder.encode(&event, &rules.currencies).unwrap();
            assert_eq!(
                schemas.decode(&written, &context(&rules)).as_ref(),
                Ok(&event)
            );
        }
    }

    #[test]
    fn a_writers_own_schema_is_read_by_the_names_of_its_fields() {
        let writer = r#"{"type":"record","name":"Click","fields":[
            {"name":"added_later","type":{"type":"array","items":{"type":"map","values":"double"}}},
            {"name":"kind","type":{"type":"enum","name":"Kind","symbols":["A","B"]}},
            {"name":"type","type":"string"},
            {"name":"event_time","type":{"type":"long","logicalType":"timestamp-micros"}},
            {"name":"customer_id","type":["null","long"]},
            {"name":"properties","type":{"type":"record","name":"Own","fields":[
                {"name":"product_id","type":"int"},
                {"name":"price","type":"float"}]}}]}"#;
        let schemas = Schemas::new([writer]).unwrap();
        let schema = Schema::parse_str(writer).unwrap();
        let named = |fields: Vec<(&str, Value)>| {
            let fields = fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value));
            Value::Record(fields.collect())
        };
        let map = |pairs: &[(&str, f64)]| {
            let pairs = pairs
                .iter()
                .map(|(name, number)| ((*name).to_owned(), (*number).into()));
            Value::Map(pairs.collect())
        };
        let own = named(vec![("product_id", 5.into()), ("price", 59.9_f32.into())]);
        let value = named(vec![
            (
                "added_later",
                Value::Array(vec![map(&[("x", 1.5)]), map(&[])]),
            ),
            ("kind", Value::Enum(1, "B".to_owned())),
            ("type", "Product Viewed".into()),
            ("event_time", Value::TimestampMicros(1_772_359_200_000_000)),
            ("customer_id", Value::Union(1, Box::new(7_i64.into()))),
            ("properties", own),
        ]);
        let mut framed =
            apache_avro::GenericSingleObjectWriter::new_with_capacity(&schema, 100).unwrap();
        let mut bytes = Vec::new();
        framed.write_value(value, &mut bytes).unwrap();
        let rules = rules();
        let event = schemas.decode(&bytes, &context(&rules)).unwrap();
        let same = r#"{"type":"product_viewed","event_time":1772359200000,"customer_id":7,"product_id":5,"price":"59.90"}"#;
        let same = json::decode(same.as_bytes(), &context(&rules)).unwrap();
        assert_eq!(event.body, same.body);
        assert_eq!(event.profile_key(), same.profile_key());
        assert_eq!(event.event_time, same.event_time);
        let error = Schemas::new([]).unwrap().decode(&bytes, &context(&rules));
        assert_eq!(error.unwrap_err().code(), "unknown_schema");
    }

    #[test]
    fn schemas_that_would_give_their_depth_away_are_refused() {
        for (schema, said) in [
            ("7", "cannot be read"),
            (r#""string""#, "is not a record"),
            (
                r#"{"type":"record","name":"Node","fields":[{"name":"next","type":["null","Node"]}]}"#,
                "contains itself",
            ),
        ] {
            let error = Schemas::new([schema]).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_few_bytes_cannot_ask_for_millions_of_steps() {
        let schema = r#"{"type":"record","name":"Bomb","fields":[{"name":"x","type":{"type":"array","items":"null"}}]}"#;
        let schemas = Schemas::new([schema]).unwrap();
        let fingerprint = Schema::parse_str(schema)
            .unwrap()
            .fingerprint::<Rabin>()
            .bytes;
        let mut bytes = MARKER.to_vec();
        bytes.extend(fingerprint);
        bytes.extend([0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
        let rules = rules();
        let error = schemas.decode(&bytes, &context(&rules)).unwrap_err();
        assert_eq!(error.code(), "too_many");
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            which in 0..EXAMPLES.len(),
            edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let rules = rules();
            let context = context(&rules);
            let schemas = Schemas::new([]).unwrap();
            let event = &examples()[which];
            let mut avro = Encoder::new().unwrap().encode(event, &rules.currencies).unwrap();
            let mut text = record(event.kind.name(), EXAMPLES[which].1).into_bytes();
            for (place, byte) in &edits {
                // Behind the header: the schema stays known.
                let behind = avro.len() - 10;
                avro[10 + place.index(behind)] = *byte;
                let at = place.index(text.len());
                text[at] = *byte;
            }
            for mutant in [&bytes[..], &avro, &text, &avro[..cut.index(avro.len())], &text[..cut.index(text.len())]] {
                let _either = json::decode(mutant, &context);
                let _either = schemas.decode(mutant, &context);
            }
            let mut framed = avro[..10].to_vec();
            framed.extend(&bytes);
            let _either = schemas.decode(&framed, &context);
        }
    }
}
