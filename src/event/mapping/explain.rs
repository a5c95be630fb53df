//! What a record becomes, field by field, and what of it nobody looked at: for `tidegate map`, and for the goldens of shipped mappings.

use serde_json::Value;

use super::fill::Fields;
use super::source::{Beside, Scope, shown};
use super::tree::Want;
use super::{Encoding, Kind, Mapping, Read, Reading, json};
use crate::event::decode::DecodeContext;
use crate::event::refusal::DecodeError;
use crate::event::{Event, encode};

/// What became of a record.
#[derive(Debug)]
pub struct Explained {
    /// What the bus calls it, when that can be read.
    pub name: Option<String>,
    /// What it became.
    pub read: Result<Read, DecodeError>,
    /// The fields of the event, in our order.
    pub fields: Vec<Mapped>,
    /// Paths in the record at which something stands that nobody looked at; elements of lists are `[]`.
    pub unused: Vec<String>,
}

/// One field of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Its path: `products[0].price`.
    pub ours: String,
    /// Where it came from; `None` for what was not mapped but follows (a default, the record's own shape).
    pub theirs: Option<String>,
    /// What stands there, as JSON.
    pub value: String,
}

impl Reading {
    /// Reads a record of JSON as [`Self::read`] does, and tells all about it.
    #[must_use]
    pub fn explain(
        &self,
        value: &[u8],
        beside: Beside<'_>,
        context: &DecodeContext<'_>,
    ) -> Explained {
        let read = self.read(value, Encoding::Json, beside, context);
        let mut explained = Explained {
            name: None,
            read,
            fields: Vec::new(),
            unused: Vec::new(),
        };
        let Ok(text) = std::str::from_utf8(value) else {
            return explained;
        };
        let Some((inner, text)) = self.told(text, beside, context) else {
            return explained;
        };
        explained.name = inner;
        let of_kind = match (&explained.read, &self.mapping) {
            (Ok(Read::Event(event)), Some(mapping)) => {
                let fields = mapping.fields.get(&event.kind);
                explained.fields = mapped(event, fields, context);
                fields.map(|fields| mapping.wanted(fields))
            }
            (Ok(Read::Event(event)), None) => {
                explained.fields = mapped(event, None, context);
                None
            }
            (Ok(Read::Left(_)) | Err(_), _) => None,
        };
        if let (Some(mut want), Ok(whole)) = (of_kind, serde_json::from_str::<Value>(&text)) {
            for filter in &self.filters {
                filter.add_wants(&mut want);
            }
            unused(
                &whole,
                Some(&want),
                &mut String::new(),
                &mut explained.unused,
            );
            explained.unused.sort();
            explained.unused.dedup();
        }
        explained
    }

    /// The bus's name of the record, and the text that the mapping looks at.
    fn told(
        &self,
        text: &str,
        beside: Beside<'_>,
        context: &DecodeContext<'_>,
    ) -> Option<(Option<String>, String)> {
        let tree = json::read(text, &self.want).ok()?;
        let inner = self.unwrapped(&tree).ok()?;
        let record = inner.as_ref().unwrap_or(&tree);
        let scope = Scope {
            record,
            here: record,
            beside,
            time: context.record_timestamp,
            spelling: self.spelling(),
        };
        let name = match self.mapping.as_ref().map(|mapping| &mapping.kind) {
            Some(Kind::Named { name, .. }) => {
                let name = name.value(scope).ok();
                name.and_then(|name| shown(&name).ok().flatten().map(|text| text.into_owned()))
            }
            Some(Kind::Always(_)) | None => None,
        };
        let wrapped = self
            .mapping
            .as_ref()
            .and_then(|mapping| mapping.unwrap.as_ref());
        let text = match wrapped {
            Some(path) if inner.is_some() => {
                let wrapping = tree.at(&path.hops, self.spelling()).ok()??.json();
                wrapping.as_str()?.to_owned()
            }
            Some(_) | None => text.to_owned(),
        };
        Some((name, text))
    }
}

impl Mapping {
    /// What is looked at for one type.
    fn wanted(&self, fields: &Fields) -> Want {
        let mut want = Want::new(self.spelling);
        self.kind.add_wants(&mut want);
        fields.add_wants(&mut want);
        want
    }
}

/// The fields of an event, each with its place in the record.
fn mapped(event: &Event, fields: Option<&Fields>, context: &DecodeContext<'_>) -> Vec<Mapped> {
    let object = Value::Object(encode::object(event, &context.rules.currencies));
    let mut found = Vec::new();
    leaves(&object, &mut String::new(), &mut |ours, value| {
        // Told apart: it has a table of its own.
        if ours == "type" {
            return;
        }
        found.push(Mapped {
            ours: ours.to_owned(),
            theirs: fields.and_then(|fields| fields.origin(ours)),
            value: value.to_string(),
        });
    });
    found
}

/// Every scalar of a value with its path; empty lists and objects count as nothing.
fn leaves(value: &Value, path: &mut String, each: &mut dyn FnMut(&str, &Value)) {
    let length = path.len();
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
                leaves(value, path, each);
                path.truncate(length);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                leaves(value, path, each);
                path.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => each(path, value),
    }
}

/// Paths of scalars that are not wanted.
fn unused(value: &Value, want: Option<&Want>, path: &mut String, found: &mut Vec<String>) {
    let length = path.len();
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
                unused(value, want.and_then(|want| want.of_name(name)), path, found);
                path.truncate(length);
            }
        }
        Value::Array(list) => {
            for value in list {
                path.push_str("[]");
                unused(value, want.and_then(Want::of_element), path, found);
                path.truncate(length);
            }
        }
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            if want.is_none() {
                found.push(path.clone());
            }
        }
    }
}
