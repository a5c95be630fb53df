//! A line of the decision log, from Avro back to the JSON that it would have been.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use serde_json::{Map, Value as Json};

use crate::value::Timestamp;

/// Reads lines that were written in one schema.
pub struct LogReader(Schema);

impl LogReader {
    /// Of a schema as text; `None` when it is none.
    #[must_use]
    pub fn new(schema: &str) -> Option<Self> {
        Schema::parse_str(schema).ok().map(Self)
    }

    /// The line as compact JSON; `None` when it is not of the schema.
    #[must_use]
    pub fn line(&self, mut payload: &[u8]) -> Option<Vec<u8>> {
        let reader = GenericDatumReader::builder(&self.0).build().ok()?;
        let value = reader.read_value(&mut payload).ok()?;
        let mut line = json(value)?;
        // The schema keeps what a contact was about as text: its shape is the channel's.
        if let Some(context) = line.get_mut("context")
            && let Some(text) = context.as_str()
        {
            *context = serde_json::from_str(text).ok()?;
        }
        serde_json::to_vec(&line).ok()
    }
}

/// Fields that are null stay out, as they do in JSON.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's enum has thirty variants; our schemas use these"
)]
fn json(value: Value) -> Option<Json> {
    Some(match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => value.into(),
        Value::Int(number) => number.into(),
        Value::Long(number) => number.into(),
        Value::Double(number) => number.into(),
        Value::String(text) => text.into(),
        Value::TimestampMillis(millis) => Timestamp::from_millis(millis).to_string().into(),
        Value::Union(_, inner) => json(*inner)?,
        Value::Array(items) => Json::Array(items.into_iter().map(json).collect::<Option<_>>()?),
        Value::Map(entries) => Json::Object(
            entries
                .into_iter()
                .map(|(name, value)| Some((name, json(value)?)))
                .collect::<Option<Map<_, _>>>()?,
        ),
        Value::Record(fields) => {
            let mut object = Map::new();
            for (name, value) in fields {
                let value = json(value)?;
                if !value.is_null() {
                    object.insert(name, value);
                }
            }
            Json::Object(object)
        }
        _ => return None,
    })
}
