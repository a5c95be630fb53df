//! From a checked configuration to what the tasks and the worker are given. No I/O but the secret's own file.

use std::sync::Arc;

use crate::bus::InputId;
use crate::config::{Config, internal_topic};
use crate::engine::Plan;
use crate::event::DecodeRules;
use crate::flow::FlowSet;
use crate::task::fold::{ClockKind, FoldPlan, Format, InputSpec};

/// The topics that a task reads, by [`InputId`]: the anchor `<app>-events` first, then the inputs in the order of the configuration.
#[must_use]
pub fn input_topics(config: &Config) -> Vec<Arc<str>> {
    let anchor = internal_topic(&config.app.id, "events").into();
    let direct = config
        .inputs
        .iter()
        .map(|input| input.topic.as_str().into());
    std::iter::once(anchor).chain(direct).collect()
}

/// The input that carries a stream: the first one of the configuration that is bound to it.
#[must_use]
pub fn input_of(config: &Config, stream: crate::event::Stream) -> Option<InputId> {
    let at = config
        .inputs
        .iter()
        .position(|input| input.stream == stream)?;
    u16::try_from(at + 1).ok().map(InputId)
}

/// What every task shares.
///
/// # Errors
/// When the file that holds a secret cannot be read.
pub fn fold_plan(
    config: &Config,
    flows: FlowSet,
    rules: DecodeRules,
    clock: ClockKind,
) -> std::io::Result<FoldPlan> {
    let mut inputs: Vec<InputSpec> = input_topics(config)
        .into_iter()
        .map(|topic| InputSpec {
            topic,
            format: Format::Json,
            history: false,
        })
        .collect();
    for (spec, input) in inputs.iter_mut().skip(1).zip(&config.inputs) {
        spec.history = input.history;
    }
    Ok(FoldPlan {
        plan: Plan {
            flows,
            policy: config.policy()?,
        },
        inputs,
        decode: rules,
        clock,
    })
}
