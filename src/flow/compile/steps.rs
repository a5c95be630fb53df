//! The cascade of a flow: each step, and whether there is time for all of them.

use std::sync::Arc;

use super::flow::Check;
use super::{LONGEST, MAX_STEPS, word};
use crate::event::EventType;
use crate::flow::problem::{At, did_you_mean};
use crate::flow::spec::{ANY, FlowSpec, StepSpec};
use crate::flow::{Moment, OnCap, Step, Success, Wait};
use crate::value::Span;

/// product.md §7: cascade 24 h.
const DEFAULT_WITHIN: Span = Span::from_hours(24);
const SHORTEST_WITHIN: Span = Span::from_minutes(1);
const MAX_TEMPLATE: usize = 128;

/// Checks the cascade.
pub(super) fn compile(spec: &FlowSpec, check: &mut Check<'_, '_>) -> Option<Vec<Step>> {
    if let Some(step) = spec.steps.get(MAX_STEPS) {
        return check.bad(
            step.place(),
            format!("{} steps are more than {MAX_STEPS}", spec.steps.len()),
            "leave some out, or write a second flow",
        );
    }
    let steps: Vec<_> = spec
        .steps
        .iter()
        .enumerate()
        .map(|(index, written)| step(check, spec, index, written))
        .collect();
    steps.into_iter().collect()
}

fn step(
    check: &mut Check<'_, '_>,
    spec: &FlowSpec,
    index: usize,
    written: &StepSpec,
) -> Option<Step> {
    let channels = channels(check, spec, index, written);
    let template = template(check, &written.template);
    let success = match &written.success {
        None => Some(None),
        Some(word) => success(check, channels.as_deref(), word).map(Some),
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
        check.bad::<()>(
            written.place,
            format!("`within` is shorter than {SHORTEST_WITHIN}"),
            format!("a receipt takes longer than that: write `within: {SHORTEST_WITHIN}` or more"),
        );
    }
    let when = check.condition(written.when.as_ref(), None, check.later);
    Some(Step {
        channels: channels?,
        template: template?,
        when: when?,
        success: success?,
        within: within?,
        on_cap: on_cap?,
    })
}

/// On what a step may speak: one channel, or those that policy takes the cheapest of.
fn channels(
    check: &mut Check<'_, '_>,
    spec: &FlowSpec,
    index: usize,
    written: &StepSpec,
) -> Option<Vec<Arc<str>>> {
    match (&written.channel, &written.channels) {
        (Some(name), _) if name.value == ANY => {
            let named = |channel: &str| spec.steps.iter().any(|step| names(step, channel));
            let every = check.surroundings.channels.keys();
            let left: Vec<_> = every.filter(|name| !named(name)).cloned().collect();
            if left.is_empty() {
                let message = "no channel is left to choose from";
                return check.bad(name.place, message, "the other steps name them all");
            }
            Some(left)
        }
        (Some(name), _) => {
            let channel = channel(check, name)?;
            // A step that may be passed over by its `when` leaves its channel to the next.
            let before = spec.steps.get(..index).unwrap_or_default();
            let taken = before
                .iter()
                .position(|step| step.when.is_none() && names(step, &name.value));
            if let Some(taken) = taken {
                return check.bad(
                    name.place,
                    format!("step {} speaks on `{channel}` already", taken + 1),
                    "a cascade never comes back to a channel: name another, or write a flow of its own",
                );
            }
            Some(vec![channel])
        }
        (None, Some(several)) => {
            let mut channels: Vec<Arc<str>> = Vec::new();
            let mut whole = true;
            for name in &several.value {
                match channel(check, name) {
                    Some(channel) if channels.contains(&channel) => {
                        whole = false;
                        check.bad::<()>(
                            name.place,
                            format!("`{channel}` stands here twice"),
                            "leave one of them out",
                        );
                    }
                    Some(channel) => channels.push(channel),
                    None => whole = false,
                }
            }
            whole.then_some(channels)
        }
        // The reader has told it.
        (None, None) => None,
    }
}

/// Is this the channel that a step is written for?
fn names(step: &StepSpec, channel: &str) -> bool {
    step.channel
        .as_ref()
        .is_some_and(|name| name.value == channel)
}

fn channel(check: &mut Check<'_, '_>, name: &At<String>) -> Option<Arc<str>> {
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

/// What counts as reached: every channel that the step may speak on must be able to tell it.
fn success(
    check: &mut Check<'_, '_>,
    channels: Option<&[Arc<str>]>,
    written: &At<String>,
) -> Option<Success> {
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
    let known = &check.surroundings.channels;
    let asked: Vec<_> = channels
        .unwrap_or_default()
        .iter()
        .filter_map(|name| known.get(name))
        .collect();
    let (able, unable): (Vec<_>, Vec<_>) = asked
        .into_iter()
        .partition(|channel| channel.reports.contains(&receipt));
    let Some(channel) = unable.first() else {
        return Some(success);
    };
    let in_the_shop = "`visited` and `converted` are seen in the shop";
    let reports: Vec<_> = channel.reports.iter().map(|event| event.name()).collect();
    let remedy = if !able.is_empty() {
        let able: Vec<&str> = able.iter().map(|channel| &*channel.name).collect();
        format!(
            "leave the choice to those that can: `channels: [{}]`; {in_the_shop}",
            able.join(", ")
        )
    } else if reports.is_empty() {
        format!("it reports nothing; {in_the_shop}")
    } else {
        format!("it reports {}; {in_the_shop}", reports.join(", "))
    };
    let message = format!(
        "channel `{}` cannot report `{}`",
        channel.name,
        receipt.name()
    );
    check.bad(written.place, message, remedy)
}

/// The longest that a wait until a moment takes: such a time comes every day, or every week.
const fn longest_until(moment: Option<Moment>) -> Span {
    match moment {
        Some(Moment::Local { weekday: None, .. }) => Span::from_days(1),
        Some(Moment::Local {
            weekday: Some(_), ..
        }) => Span::from_days(7),
        // What is known of a customer may be half a year away: `expires` begins only then.
        Some(Moment::Known { .. }) | None => Span::ZERO,
    }
}

/// A step that begins only after the instance has ended is never taken.
pub(super) fn check_time(
    spec: &FlowSpec,
    after: Wait,
    expires: Span,
    steps: &[Step],
    check: &mut Check<'_, '_>,
) {
    let until = longest_until(after.until);
    let mut begins = after.span.millis().saturating_add(until.millis());
    for (step, written) in steps.iter().zip(&spec.steps) {
        if begins >= expires.millis() {
            let may = if until == Span::ZERO {
                "begins"
            } else {
                "may begin only"
            };
            check.bad::<()>(
                written.place(),
                format!(
                    "this step {may} {} after its entry, when the flow has expired (`expires: {expires}`)",
                    Span::from_millis(begins)
                ),
                "make `expires` longer, or `after` and the `within` before it shorter",
            );
            return;
        }
        begins = begins.saturating_add(step.within.millis());
    }
}
