//! A flow as people write it (product.md §6): the keys, their shapes and places, nothing of their meaning.
//!
//! Unknown keys are refused, and every problem of a file is told, not only the first. [`FlowSpec::canonical`] is the flow without
//! comments, layout and tests: what its version is made of, and what is kept for instances that outlive the file.

use serde::Serialize;

use super::problem::{At, Place, Problems};

pub(super) mod read;
pub mod tree;
pub mod trial;

/// One flow file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowSpec {
    /// Name of the flow.
    pub flow: At<String>,
    /// `marketing`, `service` or `transactional`; no default.
    pub class: At<String>,
    /// Consent list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<At<String>>,
    /// What triggers state as their reason; default: the flow's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<At<String>>,
    /// Higher wins; default 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<At<i64>>,
    /// At most one running instance per customer in a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclusive_group: Option<At<String>>,
    /// `cart_id`, `order_id`, `product_id` or `customer` (default).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<At<String>>,
    /// What begins an instance.
    pub enter: EnterSpec,
    /// Wait before the first step; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<AfterSpec>,
    /// What ends an instance.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exit: Vec<ExitSpec>,
    /// `never` (default), `always` or `{ after, per }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reenter: Option<ReenterSpec>,
    /// An instance lives at most that long; default 7 d.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<At<String>>,
    /// An older event enters nothing; default 1 d.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<At<String>>,
    /// The flow's own control group, as `5%`; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holdout: Option<At<String>>,
    /// What it offers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offer: Option<OfferSpec>,
    /// The cascade.
    pub steps: Vec<StepSpec>,
    /// Tests that live beside the flow; no part of its version.
    #[serde(skip)]
    pub tests: Option<At<tree::Value>>,
}

/// What begins an instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EnterSpec {
    /// Any of these events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<At<Vec<At<String>>>>,
    /// None of these events for `for`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absence: Option<At<Vec<At<String>>>>,
    /// How long none of them.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub span: Option<At<String>>,
    /// At this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<At<String>>,
    /// When this begins to hold, in CEL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub becomes: Option<At<String>>,
    /// Only then, in CEL; checked again before every step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<At<String>>,
}

/// How long an instance waits.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum AfterSpec {
    /// A length of time that each further entering event restarts, or a moment.
    Text(At<String>),
    /// In parts.
    Parts {
        /// A length of time that each further entering event restarts.
        #[serde(skip_serializing_if = "Option::is_none")]
        inactivity: Option<At<String>>,
        /// A length of time that nothing restarts.
        #[serde(skip_serializing_if = "Option::is_none")]
        delay: Option<At<String>>,
        /// And then until that moment.
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<At<String>>,
    },
}

impl AfterSpec {
    /// Where it is written.
    #[must_use]
    pub fn place(&self) -> Place {
        let part = match self {
            Self::Text(text) => Some(text),
            Self::Parts {
                inactivity,
                delay,
                at,
            } => inactivity.as_ref().or(delay.as_ref()).or(at.as_ref()),
        };
        part.map(|part| part.place).unwrap_or_default()
    }
}

/// What ends an instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExitSpec {
    /// Any of these events.
    pub events: Vec<At<String>>,
    /// Only then, in CEL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<At<String>>,
    /// Only purchases of the same `cart`, `product`, `category`, or `any`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relevant: Option<At<String>>,
    /// One of the closed set of reasons; default `exit_event`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<At<String>>,
}

/// May an instance begin again?
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ReenterSpec {
    /// `never` or `always`.
    Word(At<String>),
    /// So long after the last trigger.
    After {
        /// A length of time.
        after: At<String>,
        /// `instance` (default) or `customer`.
        #[serde(skip_serializing_if = "Option::is_none")]
        per: Option<At<String>>,
    },
}

/// What a flow offers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfferSpec {
    /// With `${…}` to fill in.
    pub id: At<String>,
    /// Counts against the discount cap; default no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discount: Option<At<bool>>,
}

/// One contact of the cascade.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepSpec {
    /// On which channel; [`ANY`] for whichever policy takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<At<String>>,
    /// On one of these, whichever policy takes. Stands instead of `channel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<At<Vec<At<String>>>>,
    /// What to send.
    pub template: At<String>,
    /// Skipped unless it holds, in CEL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<At<String>>,
    /// `delivered`, `opened`, `clicked`, `visited`, `converted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success: Option<At<String>>,
    /// From `sent`, else from hand-over; default 24 h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<At<String>>,
    /// `defer` (default), `drop` or `replace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_cap: Option<At<String>>,
}

/// Stands for every channel of the configuration.
pub const ANY: &str = "any";

impl StepSpec {
    /// Where the step says on what it speaks.
    #[must_use]
    pub fn place(&self) -> Place {
        let several = || self.channels.as_ref().map(|channels| channels.place);
        let one = self.channel.as_ref().map(|channel| channel.place);
        one.or_else(several).unwrap_or(self.template.place)
    }
}

impl FlowSpec {
    /// Reads a file's text; `None` when so much is wrong that there is no flow to check further. Adds every problem of shape.
    pub(super) fn read(text: &str, problems: &mut Problems<'_>) -> Option<Self> {
        let document = tree::read(text, problems)?;
        read::flow(&document, problems)
    }

    /// The flow as one line of JSON (which is YAML too): keys in a fixed order, no comments, no tests. Equal for flows that mean the same,
    /// and itself a flow file.
    ///
    /// # Errors
    /// Never in practice: every part is text, number or boolean.
    pub fn canonical(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// Where the flow begins.
    #[must_use]
    pub const fn place(&self) -> Place {
        self.flow.place
    }
}
