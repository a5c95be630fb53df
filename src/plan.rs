//! From a checked configuration and compiled flows to what the tasks are given. Pure.

use std::sync::Arc;

use crate::bus::InputId;
use crate::config::{self, Channel, Clock, Config, internal_topic};
use crate::engine::Plan;
use crate::event::avro::EncodeError;
use crate::event::{Currencies, DecodeRules, Limits, Rate, Stream};
use crate::outbound::{DecisionWriter, OutboundPlan};
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
pub fn input_of(config: &Config, stream: Stream) -> Option<InputId> {
    let at = config
        .inputs
        .iter()
        .position(|input| input.stream == stream)?;
    u16::try_from(at + 1).ok().map(InputId)
}

/// How events are read in this shop.
#[must_use]
pub fn decode_rules(config: &Config) -> DecodeRules {
    let rates = config
        .shop
        .rates
        .iter()
        .filter_map(|(currency, rate)| Some((currency.clone(), Rate::parse(&rate.0)?)));
    DecodeRules {
        currencies: Currencies::new(&config.shop.currency, rates),
        ignored_ids: config.identity.ignore.clone(),
        limits: Limits::default(),
    }
}

/// What every task shares. `replay` says which clock it runs on, whatever the configuration says.
#[must_use]
pub fn fold_plan(config: &Config, plan: Plan, clock: ClockKind) -> FoldPlan {
    let history = std::iter::once(false).chain(config.inputs.iter().map(|input| input.history));
    let inputs = input_topics(config)
        .into_iter()
        .zip(history)
        .map(|(topic, history)| InputSpec {
            topic,
            format: Format::Json,
            history,
        })
        .collect();
    FoldPlan {
        plan,
        inputs,
        decode: decode_rules(config),
        clock,
    }
}

/// The clock that the configuration asks for.
#[must_use]
pub const fn clock_kind(config: &Config) -> ClockKind {
    match config.app.clock {
        Clock::Live => ClockKind::Live,
        Clock::Records => ClockKind::Records,
    }
}

/// Where everything goes that leaves, and how it is written.
///
/// # Errors
/// Never, unless the shipped Avro schema is broken.
pub fn outbound_plan(config: &Config) -> Result<OutboundPlan, EncodeError> {
    let internal = |what: &str| internal_topic(&config.app.id, what).into();
    let avro = |channel: &Channel| channel.format == config::Format::AvroSingleObject;
    Ok(OutboundPlan {
        application: config.app.id.as_str().into(),
        decisions_topic: internal("decisions"),
        blocks_topic: internal("blocks"),
        dead_letters_topic: internal("dlq"),
        changelog_topic: internal("profiles-changelog"),
        avro_channels: config
            .channels
            .iter()
            .filter(|(_, channel)| avro(channel))
            .map(|(name, _)| name.as_str().into())
            .collect(),
        avro: DecisionWriter::new()?,
    })
}
