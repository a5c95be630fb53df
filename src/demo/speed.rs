//! A shop in fast motion: every length of time of flows and policy shrinks by one factor, so that an hour passes in a second.
//! The shipped flows and the shipped policy stay what they are in every other respect.

use std::sync::Arc;

use crate::flow::{Flow, FlowSet, Moment, Occasion, Reenter};
use crate::policy::{Policy, Window};
use crate::value::Span;

/// An hour is a second.
const FACTOR: i64 = 3_600;

fn fast(span: Span) -> Span {
    if span.millis() <= 0 {
        return span;
    }
    Span::from_millis((span.millis() / FACTOR).max(1))
}

/// The flows in force, in fast motion.
pub(super) fn flows(set: &FlowSet) -> FlowSet {
    FlowSet::of(set.current().values().map(|flow| Arc::new(fast_flow(flow))))
}

fn fast_flow(flow: &Flow) -> Flow {
    let mut flow = flow.clone();
    flow.after.span = fast(flow.after.span);
    // Nobody waits for ten in the morning.
    flow.after.until = flow.after.until.and_then(fast_moment);
    flow.enter.on = match flow.enter.on {
        Occasion::Absence { of, span } => Occasion::Absence {
            of,
            span: fast(span),
        },
        Occasion::Moment(moment) => Occasion::Moment(fast_moment(moment).unwrap_or(moment)),
        Occasion::Events(events) => Occasion::Events(events),
        Occasion::Becomes(condition) => Occasion::Becomes(condition),
    };
    flow.expires = fast(flow.expires);
    flow.max_age = fast(flow.max_age);
    flow.reenter = match flow.reenter {
        Reenter::After { span, per_customer } => Reenter::After {
            span: fast(span),
            per_customer,
        },
        Reenter::Never => Reenter::Never,
        Reenter::Always => Reenter::Always,
    };
    for step in &mut flow.steps {
        step.within = fast(step.within);
    }
    flow
}

/// What is known of a customer keeps its distance; a time of day has none.
fn fast_moment(moment: Moment) -> Option<Moment> {
    match moment {
        Moment::Local { .. } => None,
        Moment::Known { landmark, offset } => Some(Moment::Known {
            landmark,
            offset: Span::from_millis(offset.millis() / FACTOR),
        }),
    }
}

/// The policy in fast motion. A calendar day becomes 24 seconds on the clock; nobody sleeps, so there are no quiet hours.
pub(super) fn policy(mut policy: Policy) -> Policy {
    for cap in &mut policy.caps {
        cap.window = Window::Rolling(fast(match cap.window {
            Window::Rolling(span) => span,
            Window::Days(days) => Span::from_days(i64::from(days)),
            Window::Weeks(weeks) => Span::from_days(7 * i64::from(weeks)),
        }));
    }
    for channel in policy.channels.values_mut() {
        channel.quiet_hours.clear();
    }
    policy.conversion_window = fast(policy.conversion_window);
    policy.min_gap = fast(policy.min_gap);
    policy.same_message = fast(policy.same_message);
    policy.purchase_cooloff = fast(policy.purchase_cooloff);
    policy.bought_product = fast(policy.bought_product);
    policy
}
