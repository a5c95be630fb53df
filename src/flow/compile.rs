//! Flow files to flows: reads, checks and compiles, and tells every problem of every file at once.
//!
//! What is checked is everything that could go wrong at run time and can be known now: names, closed sets, lengths of time that leave a
//! step no time, a success that its channel cannot report, a key that the entering events do not carry. What remains cannot fail (FL-1).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::problem::{At, Problem, Problems, did_you_mean};
use super::spec::FlowSpec;
use super::spec::read::NAMELESS;
use super::{Flow, FlowSet};
use crate::policy::{Channel, Policy};
use crate::value::Span;

mod enter;
mod exits;
mod flow;
mod steps;

/// Most flows of one application.
pub const MAX_FLOWS: usize = 500;
/// Longest text of one flow, tests included, in bytes.
pub const MAX_TEXT: usize = 64 * 1024;
/// Most steps of one flow.
pub const MAX_STEPS: usize = 16;
/// Most exit rules of one flow.
pub const MAX_EXITS: usize = 32;

/// Longest length of time in a flow, half a year: what other journey builders allow too.
pub const LONGEST: Span = Span::from_days(182);

/// One file as found.
#[derive(Clone, Copy, Debug)]
pub struct FlowFile<'a> {
    /// For messages.
    pub name: &'a str,
    /// Its content.
    pub text: &'a str,
}

/// What flows are checked against.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The channels and what they report.
    pub channels: &'a BTreeMap<Arc<str>, Channel>,
    /// Minor digits of the shop's currency.
    pub currency_digits: u32,
}

impl<'a> Surroundings<'a> {
    /// Those of a policy.
    #[must_use]
    pub const fn of(policy: &'a Policy) -> Self {
        Self {
            channels: &policy.channels,
            currency_digits: policy.currency_digits,
        }
    }
}

/// Compiles all files together.
///
/// # Errors
/// Every problem of every file, in the order of files and lines.
pub fn compile(
    files: &[FlowFile<'_>],
    surroundings: &Surroundings<'_>,
) -> Result<FlowSet, Vec<Problem>> {
    let mut flows = Vec::new();
    let mut found = Vec::new();
    let mut seen: BTreeMap<Arc<str>, &str> = BTreeMap::new();
    for file in files {
        let mut problems = Problems::of(file.name, file.text);
        let spec = spec(file.text, &mut problems);
        if let Some(spec) = &spec {
            let name: Arc<str> = spec.flow.value.as_str().into();
            if let Some(other) = seen.insert(Arc::clone(&name), file.name)
                && *name != *NAMELESS
            {
                problems.add(
                    spec.flow.place,
                    format!("there is a flow `{name}` already, in {other}"),
                    "each flow has a name of its own",
                );
            }
            if let Some(flow) = flow::compile(spec, surroundings, &mut problems) {
                flows.push(Arc::new(flow));
            }
        }
        found.extend(problems.into_sorted());
    }
    if files.len() > MAX_FLOWS {
        let mut problems = Problems::of("flows", "");
        problems.add(
            super::problem::Place::default(),
            format!("{} flows are more than {MAX_FLOWS}", files.len()),
            "run a second application for the rest",
        );
        found.extend(problems.into_sorted());
    }
    if found.is_empty() {
        Ok(FlowSet::of(flows))
    } else {
        Err(found)
    }
}

/// Compiles one flow by itself: a version that is no longer in force, from the text that was kept for its instances.
///
/// # Errors
/// Every problem; such instances end as `flow_inactive`.
pub fn compile_text(
    name: &str,
    text: &str,
    surroundings: &Surroundings<'_>,
) -> Result<Arc<Flow>, Vec<Problem>> {
    let mut problems = Problems::of(name, text);
    let compiled = spec(text, &mut problems)
        .and_then(|spec| flow::compile(&spec, surroundings, &mut problems));
    match compiled {
        Some(flow) if problems.is_empty() => Ok(Arc::new(flow)),
        _ => Err(problems.into_sorted()),
    }
}

fn spec(text: &str, problems: &mut Problems<'_>) -> Option<FlowSpec> {
    if text.len() > MAX_TEXT {
        problems.add(
            super::problem::Place::default(),
            format!(
                "a flow file has at most {} KiB, this one has {} KiB",
                MAX_TEXT / 1024,
                text.len().div_ceil(1024)
            ),
            "leave some of its tests out, or write two flows",
        );
        return None;
    }
    FlowSpec::read(text, problems)
}

/// Reads a word of a closed set; adds a problem with the nearest word when it is none.
fn word<T>(
    what: &str,
    written: &At<String>,
    parse: impl Fn(&str) -> Option<T>,
    known: impl IntoIterator<Item = &'static str>,
    problems: &mut Problems<'_>,
) -> Option<T> {
    let parsed = parse(&written.value);
    if parsed.is_none() {
        problems.add(
            written.place,
            format!("unknown {what} `{}`", written.value),
            did_you_mean(&written.value, known),
        );
    }
    parsed
}

#[cfg(test)]
mod tests;
