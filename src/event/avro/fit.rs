//! Can a writer's schema give an event of our own shape at all? Asked once per schema, so that an incompatible one is told as such, and not
//! by whatever its first record stumbles over.
//!
//! Fields are resolved as Avro resolves them: by name; those of the writer that we do not know are passed over, those that it lacks are
//! absent, but `type` and `event_time`, which have no default. More is taken than Avro's promotions allow: the record may have any name, ids may be
//! numbers, money any number or decimal.

use super::plan::{FieldPlan, Plan};
use crate::event::wire::{Field, Key, Place};

/// The field that stands in the way; `None` when nothing does.
pub(super) fn misfit(plan: &Plan) -> Option<Place> {
    let Plan::Record(fields) = plan else {
        return Some(Place::default());
    };
    let required = [Field::Type, Field::EventTime].map(Key::Scalar);
    let lacks = |key: &Key| !fields.iter().any(|field| field.key == Some(*key));
    if let Some(lacking) = required.into_iter().find(lacks) {
        return Some(lacking.into());
    }
    fields.iter().find_map(|field| unfit(field, false))
}

fn unfit(field: &FieldPlan, nested: bool) -> Option<Place> {
    let key = field.key?;
    let fits = match key {
        // Envelope fields stand at the top level only.
        Key::Scalar(scalar) if nested && scalar.is_envelope() => true,
        Key::Scalar(Field::Type) => any(&field.plan, |plan| {
            matches!(plan, Plan::Text | Plan::Bytes | Plan::Enum(_))
        }),
        Key::Scalar(
            Field::EventTime | Field::ReceivedAt | Field::ExpiresAt | Field::ValidUntil,
        ) => any(&field.plan, |plan| {
            matches!(plan, Plan::Long { .. } | Plan::Text | Plan::Bytes)
        }),
        Key::Scalar(_) => any(&field.plan, is_scalar),
        Key::Context => any(&field.plan, |plan| matches!(plan, Plan::Text | Plan::Bytes)),
        Key::Products => any(&field.plan, |plan| {
            let records = |items: &Plan| any(items, |plan| matches!(plan, Plan::Record(_)));
            matches!(plan, Plan::Array(items) if records(items))
        }),
        Key::Addresses | Key::Consents | Key::Traits => any(&field.plan, |plan| {
            matches!(plan, Plan::Map(_) | Plan::Record(_))
        }),
        Key::Channels | Key::Offer => any(&field.plan, |plan| {
            is_scalar(plan) || matches!(plan, Plan::Array(_) | Plan::Map(_) | Plan::Record(_))
        }),
        Key::Properties => {
            return records(&field.plan)
                .into_iter()
                .flatten()
                .find_map(|field| unfit(field, true));
        }
    };
    (!fits).then(|| key.into())
}

/// Does one of the forms that a value may take fit? One that is always null is absent.
fn any(plan: &Plan, fits: impl Fn(&Plan) -> bool + Copy) -> bool {
    if let Plan::Union(variants) = plan {
        let mut told = variants.iter().filter(|plan| !matches!(plan, Plan::Null));
        let first = told.next();
        return first.is_none_or(|first| any(first, fits) || told.any(|plan| any(plan, fits)));
    }
    matches!(plan, Plan::Null) || fits(plan)
}

fn is_scalar(plan: &Plan) -> bool {
    match plan {
        Plan::Null
        | Plan::Bool
        | Plan::Long { .. }
        | Plan::Float
        | Plan::Double
        | Plan::Bytes
        | Plan::Decimal { .. }
        | Plan::Text
        | Plan::Enum(_) => true,
        Plan::Opaque
        | Plan::Fixed(_)
        | Plan::Array(_)
        | Plan::Map(_)
        | Plan::Union(_)
        | Plan::Record(_) => false,
    }
}

/// The fields of every record that a value may be.
fn records(plan: &Plan) -> Vec<&[FieldPlan]> {
    match plan {
        Plan::Record(fields) => vec![fields],
        Plan::Union(variants) => variants.iter().flat_map(records).collect(),
        Plan::Null
        | Plan::Bool
        | Plan::Long { .. }
        | Plan::Float
        | Plan::Double
        | Plan::Bytes
        | Plan::Opaque
        | Plan::Decimal { .. }
        | Plan::Text
        | Plan::Fixed(_)
        | Plan::Enum(_)
        | Plan::Array(_)
        | Plan::Map(_) => Vec::new(),
    }
}
