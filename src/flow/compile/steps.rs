//! The cascade of a flow: each step, and whether there is time for all of them.

use std::sync::Arc;

use super::flow::Check;
use super::{LONGEST, MAX_STEPS, word};
use crate::event::EventType;
use crate::flow::problem::{At, did_you_mean};
use crate::flow::spec::{FlowSpec, StepSpec};
use crate::flow::{OnCap, Step, Success};
use crate::value::Span;

/// product.md §7: cascade 24 h.
const DEFAULT_WITHIN: Span = Span::from_hours(24);
const SHORTEST_WITHIN: Span = Span::from_minutes(1);
const MAX_TEMPLATE: usize = 128;

/// Checks the cascade.
pub(super) fn compile(spec: &FlowSpec, check: &mut Check<'_, '_>) -> Option<Vec<Step>> {
    if let Some(step) = spec.steps.get(MAX_STEPS) {
        return check.bad(
            step.channel.place,
            format!("{} steps are more than {MAX_STEPS}", spec.steps.len()),
            "",
        );
    }
    let steps: Vec<_> = spec
        .steps
        .iter()
        .map(|written| step(check, written))
        .collect();
    steps.into_iter().collect()
}

fn step(check: &mut Check<'_, '_>, written: &StepSpec) -> Option<Step> {
    let channel = channel(check, written);
    let template = template(check, &written.template);
    let success = match &written.success {
        None => Some(None),
        Some(word) => success(check, written, word).map(Some),
    };
    let on_cap = match &written.on_cap {
        None => Some(OnCap::Defer),
        Some(on_cap) => word(
            "answer to a cap",
            on_cap,
            |name| match name {
                "defer" => Some(OnCap::Defer),
                "drop" => Some(OnCap::Drop),
                "replace" => Some(OnCap::Replace),
                _ => None,
            },
            ["defer", "drop", "replace"],
            check.problems,
        ),
    };
    let within = check.span_or("within", written.within.as_ref(), DEFAULT_WITHIN, LONGEST);
    if let (Some(within), Some(written)) = (within, &written.within)
        && within < SHORTEST_WITHIN
    {
        return check.bad(
            written.place,
            format!("`within` is shorter than {SHORTEST_WITHIN}"),
            "a receipt takes longer than that",
        );
    }
    let when = check.condition(written.when.as_ref(), None);
    Some(Step {
        channel: channel?,
        template: template?,
        when: when?,
        success: success?,
        within: within?,
        on_cap: on_cap?,
    })
}

fn channel(check: &mut Check<'_, '_>, written: &StepSpec) -> Option<Arc<str>> {
    let name = &written.channel;
    if let Some((channel, _)) = check
        .surroundings
        .channels
        .get_key_value(name.value.as_str())
    {
        return Some(channel.clone());
    }
    let known = check.surroundings.channels.keys().map(|channel| &**channel);
    let remedy = did_you_mean(&name.value, known);
    check.bad(
        name.place,
        format!("the configuration has no channel `{}`", name.value),
        remedy,
    )
}

fn template(check: &mut Check<'_, '_>, written: &At<String>) -> Option<Arc<str>> {
    if written.value.len() <= MAX_TEMPLATE
        && !written
            .value
            .contains(|c: char| c.is_whitespace() || c.is_control())
    {
        return Some(written.value.as_str().into());
    }
    check.bad(
        written.place,
        "`template` is a name without spaces",
        format!("at most {MAX_TEMPLATE} bytes"),
    )
}

fn success(check: &mut Check<'_, '_>, step: &StepSpec, written: &At<String>) -> Option<Success> {
    let success = word(
        "success",
        written,
        |name| {
            Some(match name {
                "delivered" => Success::Delivered,
                "opened" => Success::Opened,
                "clicked" => Success::Clicked,
                "visited" => Success::Visited,
                "converted" => Success::Converted,
                _ => return None,
            })
        },
        ["delivered", "opened", "clicked", "visited", "converted"],
        check.problems,
    )?;
    // Visits and purchases are seen in the shop, not told by the channel.
    let receipt = match success {
        Success::Delivered => EventType::Delivered,
        Success::Opened => EventType::Opened,
        Success::Clicked => EventType::Clicked,
        Success::Visited | Success::Converted => return Some(success),
    };
    let Some(channel) = check.surroundings.channels.get(step.channel.value.as_str()) else {
        return Some(success);
    };
    if channel.reports.contains(&receipt) {
        return Some(success);
    }
    let reports: Vec<_> = channel.reports.iter().map(|event| event.name()).collect();
    check.bad(
        written.place,
        format!(
            "channel `{}` cannot report `{}`",
            channel.name,
            receipt.name()
        ),
        if reports.is_empty() {
            "it reports nothing; `visited` and `converted` are seen in the shop".to_owned()
        } else {
            format!(
                "it reports {}; `visited` and `converted` are seen in the shop",
                reports.join(", ")
            )
        },
    )
}

/// A step that begins only after the instance has ended is never taken.
pub(super) fn check_time(
    spec: &FlowSpec,
    after: Span,
    expires: Span,
    steps: &[Step],
    check: &mut Check<'_, '_>,
) {
    let mut begins = after.millis();
    for (step, written) in steps.iter().zip(&spec.steps) {
        if begins >= expires.millis() {
            check.bad::<()>(
                written.channel.place,
                format!(
                    "this step begins after {}, when the flow has expired ({expires})",
                    Span::from_millis(begins)
                ),
                "make `expires` longer, or `after` and the `within` before it shorter",
            );
            return;
        }
        begins = begins.saturating_add(step.within.millis());
    }
}
