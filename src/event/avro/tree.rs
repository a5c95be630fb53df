//! Avro's binary form → the part of it that a mapping wants.

use std::borrow::Cow;

use super::plan::Plan;
use super::read::{Input, Read};
use crate::event::decode::MAX_ITEMS;
use crate::event::mapping::tree::{Tree, Want};
use crate::event::refusal::Refusal;

/// Reads one record, all of its bytes, keeping what `want` says.
pub(super) fn tree<'a>(plan: &Plan, bytes: &'a [u8], want: &Want) -> Read<Tree<'a>> {
    let mut input = Input::of(bytes);
    let tree = wanted(&mut input, plan, want)?;
    if input.is_empty() {
        return Ok(tree);
    }
    Err(Refusal::Malformed)
}

fn wanted<'a>(input: &mut Input<'a>, plan: &Plan, want: &Want) -> Read<Tree<'a>> {
    match plan {
        Plan::Union(variants) => {
            let variant = input.variant(variants)?;
            wanted(input, variant, want)
        }
        Plan::Array(items) => {
            let Some(want) = want.of_element() else {
                return passed_over(input, plan);
            };
            let mut list = Vec::new();
            input.items(MAX_ITEMS, |input, _| {
                list.push(wanted(input, items, want)?);
                Ok(())
            })?;
            Ok(Tree::List(list))
        }
        Plan::Map(values) if want.wants_names() => {
            let mut entries = Vec::new();
            input.items(MAX_ITEMS, |input, _| {
                let name = input.text()?;
                match want.of_name(name) {
                    Some(want) => entries.push((Cow::Borrowed(name), wanted(input, values, want)?)),
                    None => drop(passed_over(input, values)?),
                }
                Ok(())
            })?;
            Ok(Tree::Object(entries))
        }
        Plan::Record(fields) if want.wants_names() => {
            let mut entries = Vec::new();
            for field in fields {
                match want.of_name(&field.name) {
                    Some(want) => {
                        let name = Cow::Owned(field.name.clone());
                        entries.push((name, wanted(input, &field.plan, want)?));
                    }
                    None => drop(passed_over(input, &field.plan)?),
                }
            }
            Ok(Tree::Object(entries))
        }
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
        | Plan::Map(_)
        | Plan::Record(_) => passed_over(input, plan),
    }
}

/// Scalars stay; the rest is read and forgotten.
fn passed_over<'a>(input: &mut Input<'a>, plan: &Plan) -> Read<Tree<'a>> {
    input.scalar(plan).map(Tree::Scalar)
}
