//! What is played: the demo's configuration, the shipped flows, both in fast motion.

#[cfg(feature = "kafka")]
use std::collections::BTreeMap;
use std::sync::Arc;

use super::speed;
use crate::config::{Config, Overrides, Problems, internal_topic};
use crate::engine::Plan;
use crate::flow::compile::{FlowFile, Surroundings, compile};
use crate::flow::problem::Problem;
#[cfg(feature = "kafka")]
use crate::outbound::OutboundPlan;

const CONFIG: &str = include_str!("demo.yaml");

/// One of them, by name.
macro_rules! shipped {
    ($name:literal) => {
        (
            concat!($name, ".yaml"),
            include_str!(concat!("../../deploy/flows/", $name, ".yaml")),
        )
    };
}

/// The shipped flows.
const FLOWS: [(&str, &str); 9] = [
    shipped!("abandoned_browse"),
    shipped!("abandoned_cart"),
    shipped!("abandoned_checkout"),
    shipped!("cadence_break"),
    shipped!("cross_sell"),
    shipped!("post_purchase"),
    shipped!("replenishment"),
    shipped!("welcome"),
    shipped!("winback"),
];

/// What is built into the program is wrong: a test keeps that from happening.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] Problems),
    /// A flow.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Flows(Vec<Problem>),
    /// The policy.
    #[error("the demo's policy cannot be read")]
    Policy(#[from] std::io::Error),
    /// The schema of decisions.
    #[error(transparent)]
    Schema(#[from] crate::event::avro::EncodeError),
}

/// Configuration of the demo, and what it decides by.
pub(super) struct Setting {
    pub(super) config: Config,
    pub(super) plan: Plan,
}

impl Setting {
    /// For a broker at `bootstrap`.
    pub(super) fn new(bootstrap: &str) -> Result<Self, SettingError> {
        let overrides = Overrides {
            variables: [("BOOTSTRAP".to_owned(), bootstrap.to_owned())].into(),
            flags: Vec::new(),
        };
        let config = Config::parse("demo.yaml", CONFIG, &overrides)?;
        let policy = config.policy()?;
        let files = FLOWS.map(|(name, text)| FlowFile { name, text });
        let flows = compile(&files, &Surroundings::of(&policy)).map_err(SettingError::Flows)?;
        Ok(Self {
            plan: Plan {
                flows: speed::flows(&flows),
                policy: speed::policy(policy),
            },
            config,
        })
    }

    /// Topics of the channels, by channel.
    pub(super) fn channel_topics(&self) -> Vec<Arc<str>> {
        self.plan
            .policy
            .channels
            .values()
            .map(|channel| Arc::clone(&channel.topic))
            .collect()
    }

    /// Where the worker's records go.
    #[cfg(feature = "kafka")]
    pub(super) fn outbound(&self) -> Result<OutboundPlan, SettingError> {
        let topic = |what| self.internal(what).into();
        Ok(OutboundPlan {
            application: self.config.app.id.as_str().into(),
            events_topic: topic("events"),
            decisions_topic: topic("decisions"),
            blocks_topic: topic("blocks"),
            dead_letters_topic: topic("dlq"),
            changelog_topic: topic("profiles-changelog"),
            avro_channels: BTreeMap::new(),
            avro_log: None,
        })
    }

    /// An internal topic.
    pub(super) fn internal(&self, what: &str) -> String {
        internal_topic(&self.config.app.id, what)
    }

    /// Every topic that the demo needs.
    pub(super) fn topics(&self) -> Vec<String> {
        let internal = ["events", "profiles-changelog", "blocks", "decisions", "dlq"];
        let mut topics: Vec<String> = internal.map(|what| self.internal(what)).into();
        topics.extend(self.config.inputs.iter().map(|input| input.topic.clone()));
        topics.extend(self.channel_topics().iter().map(ToString::to_string));
        topics
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Span;

    #[test]
    fn what_is_built_in_is_right_and_an_hour_is_a_second() {
        let setting = Setting::new("localhost:1").unwrap();
        let cart = &setting.plan.flows.current()["abandoned_cart"];
        assert_eq!(cart.after.span, Span::from_secs(4));
        assert_eq!(cart.steps[0].within, Span::from_secs(24));
        assert_eq!(setting.topics().len(), 12);
    }
}
