//! JSON → Avro, in a schema of ours: single-object encoding, or a registry's framing.

use apache_avro::Schema;
use apache_avro::headers::{HeaderBuilder, RabinFingerprintHeader};
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;

use crate::value::Timestamp;

/// A value that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The schema cannot be read.
    #[error("an Avro schema cannot be read")]
    Schema(#[source] Box<apache_avro::Error>),
    /// The value does not have the schema's shape.
    #[error("a value does not fit its Avro schema")]
    Unfit,
}

/// Writes values of one schema.
pub struct Writer {
    schema: Schema,
    /// What every value begins with: the marker and the schema's fingerprint, or the schema's id.
    header: Vec<u8>,
}

impl Writer {
    /// Of a schema as text.
    ///
    /// # Errors
    /// When it is no schema.
    pub fn new(schema: &str) -> Result<Self, EncodeError> {
        let schema =
            Schema::parse_str(schema).map_err(|error| EncodeError::Schema(Box::new(error)))?;
        let header = RabinFingerprintHeader::from_schema(&schema).build_header();
        Ok(Self { schema, header })
    }

    /// Of a schema that a registry knows under `id`.
    ///
    /// # Errors
    /// When it is no schema.
    pub fn registered(schema: &str, id: u32) -> Result<Self, EncodeError> {
        let mut writer = Self::new(schema)?;
        writer.header = [&[0], id.to_be_bytes().as_slice()].concat();
        Ok(writer)
    }

    /// Writes an object: fields by name, those that are missing as null, times (RFC 3339) as milliseconds,
    /// an object where the schema wants a text as compact JSON.
    ///
    /// # Errors
    /// When it does not have the schema's shape.
    pub fn encode(&self, object: &serde_json::Value) -> Result<Vec<u8>, EncodeError> {
        let value = shaped(object, &self.schema).ok_or(EncodeError::Unfit)?;
        let mut bytes = self.header.clone();
        // What the library says would quote the value.
        GenericDatumWriter::builder(&self.schema)
            .build()
            .and_then(|writer| writer.write_value_ref(&mut bytes, &value))
            .map_err(|_| EncodeError::Unfit)?;
        Ok(bytes)
    }
}

/// `json` in the shape of `schema`; `None` when it does not fit.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's enum has forty variants; our schemas use these"
)]
fn shaped(json: &serde_json::Value, schema: &Schema) -> Option<Value> {
    Some(match schema {
        Schema::Null => json.is_null().then_some(Value::Null)?,
        Schema::Boolean => Value::Boolean(json.as_bool()?),
        Schema::Int => Value::Int(i32::try_from(json.as_i64()?).ok()?),
        Schema::Long => Value::Long(json.as_i64()?),
        Schema::Double => Value::Double(json.as_f64()?),
        Schema::String if json.is_object() => Value::String(json.to_string()),
        Schema::String => Value::String(json.as_str()?.to_owned()),
        Schema::TimestampMillis => {
            Value::TimestampMillis(Timestamp::parse(json.as_str()?)?.millis())
        }
        Schema::Array(array) => Value::Array(
            json.as_array()?
                .iter()
                .map(|item| shaped(item, &array.items))
                .collect::<Option<_>>()?,
        ),
        Schema::Map(map) => Value::Map(
            json.as_object()?
                .iter()
                .map(|(name, value)| Some((name.clone(), shaped(value, &map.types)?)))
                .collect::<Option<_>>()?,
        ),
        Schema::Record(record) => {
            let object = json.as_object()?;
            let field = |field: &apache_avro::schema::RecordField| {
                let value = object.get(&field.name).unwrap_or(&serde_json::Value::Null);
                Some((field.name.clone(), shaped(value, &field.schema)?))
            };
            Value::Record(record.fields.iter().map(field).collect::<Option<_>>()?)
        }
        Schema::Union(union) => {
            // An object becomes text only where no map or record takes it.
            let texts_last = |last: bool| {
                let mut variants = (0..).zip(union.variants());
                variants.find_map(|(index, variant)| {
                    let text = json.is_object() && matches!(variant, Schema::String);
                    Some((index, (text == last).then(|| shaped(json, variant))??))
                })
            };
            let (index, value) = texts_last(false).or_else(|| texts_last(true))?;
            Value::Union(index, Box::new(value))
        }
        _ => return None,
    })
}
