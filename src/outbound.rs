//! Verdict → records (product.md §3): what a channel gets, what the decision log keeps, what bulk senders join, what could not be read.
//!
//! Rendering is pure and cannot fail. What leaves of addresses and context is what the channel exposes; the log carries neither.
//!
//! ```text
//!  Verdict ─┬─► channel topic   key: customer_id or anonymous_id     Decision, JSON or Avro   (not of silent verdicts, not of observe)
//!           └─► <app>-decisions key: profile                         one object per verdict, JSON or Avro
//!  forward ───► <app>-events    key: the profile that it is for        what one profile tells another
//!  blocks  ───► <app>-blocks    key: profile, compacted              live suppressions by channel; a tombstone when there are none
//!  record  ───► <app>-dlq       key, value, headers as they came     and why, in __connect.errors.*
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bus::{Outgoing, Record, Target};
use crate::decision::{Verdict, VerdictKind};
use crate::engine::forward::Forward;
use crate::event::avro::{EncodeError, Writer};
use crate::event::{Currencies, DecodeError, Origin};
use crate::policy::Policy;
use crate::profile::Block;
use crate::value::{ProfileKey, Timestamp};

pub mod letter;
mod read;
pub mod schema;
mod wire;

pub use read::LogReader;

use wire::{BlockWire, BlocksWire, VerdictWire};

/// The schema of what channels get, for Avro.
pub const DECISION_SCHEMA: &str = include_str!("../schemas/decision.avsc");
/// The schema of the decision log's entries.
pub const DECISION_LOG_SCHEMA: &str = include_str!("../schemas/decision_log.avsc");

/// Where records go and how they are written. Immutable; the same for all tasks.
#[derive(Debug)]
pub struct OutboundPlan {
    /// Name of the application, for the dead letters.
    pub application: Arc<str>,
    /// `<app>-events`.
    pub events_topic: Arc<str>,
    /// `<app>-decisions`.
    pub decisions_topic: Arc<str>,
    /// `<app>-blocks`.
    pub blocks_topic: Arc<str>,
    /// `<app>-dlq`.
    pub dead_letters_topic: Arc<str>,
    /// `<app>-profiles-changelog`.
    pub changelog_topic: Arc<str>,
    /// What writes for the channels that get Avro, by channel; the others get JSON.
    pub avro_channels: BTreeMap<Arc<str>, DecisionWriter>,
    /// What writes the decision log, if it is in Avro; else it is in JSON.
    pub avro_log: Option<DecisionWriter>,
}

/// Writes decisions, or lines of their log, in Avro.
pub struct DecisionWriter(Writer);

impl std::fmt::Debug for DecisionWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DecisionWriter")
    }
}

impl DecisionWriter {
    /// Decisions in single-object encoding.
    ///
    /// # Errors
    /// Never, unless the shipped schema is broken.
    pub fn new() -> Result<Self, EncodeError> {
        Writer::new(DECISION_SCHEMA).map(Self)
    }

    /// Decisions under the id that a registry gave [`DECISION_SCHEMA`].
    ///
    /// # Errors
    /// Never, unless the shipped schema is broken.
    pub fn registered(id: u32) -> Result<Self, EncodeError> {
        Writer::registered(DECISION_SCHEMA, id).map(Self)
    }

    /// Lines of the log under the id that a registry gave [`DECISION_LOG_SCHEMA`].
    ///
    /// # Errors
    /// Never, unless the shipped schema is broken.
    pub fn of_log(id: u32) -> Result<Self, EncodeError> {
        Writer::registered(DECISION_LOG_SCHEMA, id).map(Self)
    }
}

/// Renders a verdict: the record of its channel, if it says anything, then its line of the log.
///
/// A channel that the policy no longer knows has no topic; what it should have heard stands in the log only.
pub fn render(
    verdict: &Verdict,
    policy: &Policy,
    plan: &OutboundPlan,
    outgoing: &mut Vec<Outgoing>,
) {
    outgoing.extend(decision(verdict, policy, plan));
    outgoing.push(Outgoing {
        topic: Arc::clone(&plan.decisions_topic),
        target: Target::Key,
        key: Some(verdict.profile.as_str().as_bytes().to_vec()),
        value: Some(match &plan.avro_log {
            Some(writer) => avro(&VerdictWire::log(verdict), writer),
            None => log_line(verdict),
        }),
        headers: Vec::new(),
        changelog_of: None,
    });
}

/// The record on the verdict's channel; `None` for silent verdicts and for what the control group would have got.
#[must_use]
pub fn decision(verdict: &Verdict, policy: &Policy, plan: &OutboundPlan) -> Option<Outgoing> {
    let message = verdict.message.as_ref()?;
    if verdict.kind == VerdictKind::Observe {
        return None;
    }
    let channel = policy.channels.get(verdict.channel.as_ref()?)?;
    let value = VerdictWire::decision(verdict, message, channel);
    let bytes = match plan.avro_channels.get(&channel.name) {
        Some(writer) => avro(&value, writer),
        None => json(&value),
    };
    let route = verdict.route.as_ref().unwrap_or(&verdict.profile);
    Some(Outgoing {
        topic: Arc::clone(&channel.topic),
        target: Target::Key,
        key: Some(route.id().as_bytes().to_vec()),
        value: Some(bytes),
        headers: Vec::new(),
        changelog_of: None,
    })
}

/// The verdict's entry in the decision log, and a line of `replay --decisions` (without the line's end): no address, no trait,
/// and of the context what the contact was about.
#[must_use]
pub fn log_line(verdict: &Verdict) -> Vec<u8> {
    json(&VerdictWire::log(verdict))
}

/// The task's clock when a record was forwarded, in milliseconds: on the records' clock it is read as of then.
pub const CLOCK_HEADER: &str = "tidegate-clock";

/// What one profile tells another, keyed by the profile that it is for.
#[must_use]
pub fn forward(
    forward: &Forward,
    clock: Timestamp,
    currencies: &Currencies,
    plan: &OutboundPlan,
) -> Outgoing {
    let clock = clock.millis().to_string().into_bytes();
    Outgoing {
        topic: Arc::clone(&plan.events_topic),
        target: Target::Key,
        key: Some(forward.to.id().as_bytes().to_vec()),
        value: Some(forward.encode(currencies)),
        headers: vec![(CLOCK_HEADER.to_owned(), clock)],
        changelog_of: None,
    }
}

/// The profile's live blocks, by channel; a tombstone when there are none.
#[must_use]
pub fn blocks<'b>(
    profile: &ProfileKey,
    live: impl IntoIterator<Item = &'b Block>,
    plan: &OutboundPlan,
) -> Outgoing {
    let mut channels: BTreeMap<&str, Vec<BlockWire<'_>>> = BTreeMap::new();
    for block in live {
        for on in &block.on {
            let blocks = channels.entry(&on.channel).or_default();
            blocks.push(BlockWire::new(block, on.decision));
        }
    }
    let value = (!channels.is_empty()).then(|| json(&BlocksWire::new(profile, channels)));
    Outgoing {
        topic: Arc::clone(&plan.blocks_topic),
        target: Target::Key,
        key: Some(profile.as_str().as_bytes().to_vec()),
        value,
        headers: Vec::new(),
        changelog_of: None,
    }
}

/// Key, value and headers of a dead letter together: below what a producer sends and a broker takes by default (1 MB), because a
/// record that cannot be put aside would hold its partition up for good.
const LARGEST_DEAD_LETTER: usize = 950_000;

/// A record that is no event, as it came, with where it stood and why in headers as Kafka Connect names them.
///
/// Of one that is too large only what fits is kept: without its value, then without its own headers and key. The header
/// `tidegate-left-out-bytes` says how much is missing; topic, partition and offset say where it still stands.
#[must_use]
pub fn dead_letter(
    record: &Record,
    origin: &Origin,
    error: &DecodeError,
    plan: &OutboundPlan,
) -> Outgoing {
    let why = [
        ("topic", origin.topic.to_string()),
        ("partition", origin.partition.to_string()),
        ("offset", origin.offset.to_string()),
        ("connector.name", plan.application.to_string()),
        ("task.id", record.partition.to_string()),
        ("stage", error.stage().name().to_owned()),
        ("class.name", "tidegate.event.Decoder".to_owned()),
        ("exception.class.name", error.class_name().to_owned()),
        ("exception.message", error.to_string()),
    ];
    let why = why.map(|(name, value)| (format!("{}{name}", letter::WHY), value.into_bytes()));
    let own: Vec<(String, Vec<u8>)> = record
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().unwrap_or_default()))
        .collect();
    let value_bytes = record.value.as_ref().map_or(0, Vec::len);
    let key_bytes = record.key.as_ref().map_or(0, Vec::len);
    let rest = key_bytes + bytes_of(&own) + bytes_of(&why);
    let (value, fits) = if rest + value_bytes <= LARGEST_DEAD_LETTER {
        (record.value.clone(), true)
    } else {
        (None, rest <= LARGEST_DEAD_LETTER)
    };
    let (key, mut headers) = if fits {
        (record.key.clone(), own)
    } else {
        (None, Vec::new())
    };
    headers.extend(why);
    let stamped = origin.timestamp.millis().to_string().into_bytes();
    headers.push((letter::TIMESTAMP.to_owned(), stamped));
    if value != record.value || !fits {
        let left_out = if fits {
            value_bytes
        } else {
            value_bytes + rest
        };
        let left_out = left_out.to_string().into_bytes();
        headers.push((letter::LEFT_OUT.to_owned(), left_out));
    }
    Outgoing {
        topic: Arc::clone(&plan.dead_letters_topic),
        target: Target::Key,
        key,
        value,
        headers,
        changelog_of: None,
    }
}

fn bytes_of(headers: &[(String, Vec<u8>)]) -> usize {
    let sizes = headers.iter().map(|(name, value)| name.len() + value.len());
    sizes.sum()
}

#[expect(
    clippy::expect_used,
    reason = "structs of texts, numbers and lists always have a JSON form"
)]
fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a record of ours has a JSON form")
}

#[expect(
    clippy::expect_used,
    reason = "what is decided has the schema's shape by construction: a test writes one of each kind, with and without every optional field"
)]
fn avro(decision: &VerdictWire<'_>, writer: &DecisionWriter) -> Vec<u8> {
    let value = serde_json::to_value(decision).expect("a decision has a JSON form");
    writer.0.encode(&value).expect("a decision fits its schema")
}

#[cfg(test)]
mod tests;
