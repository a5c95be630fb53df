//! What one batch did, counted in plain memory and published once, after its commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::labels::Outcome;
use super::table::Families;
use crate::bus::{InputId, Sources};
use crate::decision::{Verdict, VerdictKind};
use crate::event::EventType;
use crate::event::mapping::Left;
use crate::value::Timestamp;

/// Names of one series of verdicts.
type VerdictLabels = (VerdictKind, Arc<str>, Arc<str>, Arc<str>);

/// What one batch did, in plain memory. Cleared by [`WorkerTelemetry::committed`](super::WorkerTelemetry::committed); after an abort clear it, the records come again.
#[derive(Debug, Default)]
pub struct Tally {
    consumed: BTreeMap<(InputId, i32), u64>,
    events: BTreeMap<(EventType, Outcome), u64>,
    dead: BTreeMap<(InputId, &'static str), u64>,
    left: BTreeMap<(InputId, Left), u64>,
    unconverted: BTreeMap<InputId, u64>,
    produced: BTreeMap<Arc<str>, u64>,
    verdicts: BTreeMap<VerdictLabels, u64>,
    pub(super) outputs: Vec<Timestamp>,
    hits: u64,
    misses: u64,
}

impl Tally {
    /// One input record was read.
    pub fn record(&mut self, input: InputId, partition: i32) {
        *self.consumed.entry((input, partition)).or_default() += 1;
    }

    /// One event was decoded and dealt with.
    pub fn event(&mut self, kind: EventType, outcome: Outcome) {
        *self.events.entry((kind, outcome)).or_default() += 1;
    }

    /// One input record is no event of ours, as the configuration says.
    pub fn left(&mut self, input: InputId, left: Left) {
        *self.left.entry((input, left)).or_default() += 1;
    }

    /// One folded event had money in a currency without a rate.
    pub fn unconverted(&mut self, input: InputId) {
        *self.unconverted.entry(input).or_default() += 1;
    }

    /// One input record goes to the dead letters; `code` is of the decode error's closed set.
    pub fn dead_letter(&mut self, input: InputId, code: &'static str) {
        *self.dead.entry((input, code)).or_default() += 1;
    }

    /// One record goes to `topic`.
    pub fn produced(&mut self, topic: &Arc<str>) {
        match self.produced.get_mut(topic) {
            Some(count) => *count += 1,
            None => {
                self.produced.insert(Arc::clone(topic), 1);
            }
        }
    }

    /// One verdict was reached; a test customer's is counted nowhere.
    pub fn verdict(&mut self, verdict: &Verdict) {
        if verdict.test {
            return;
        }
        let none = || Arc::from("");
        let flow = verdict
            .place
            .as_ref()
            .map_or_else(none, |place| Arc::clone(&place.flow));
        let channel = verdict.channel.clone().unwrap_or_else(none);
        let reason = Arc::from(verdict.why.name());
        *self
            .verdicts
            .entry((verdict.kind, flow, channel, reason))
            .or_default() += 1;
    }

    /// The record with this timestamp led to at least one verdict: its way to the commit is measured.
    pub fn output(&mut self, record: Timestamp) {
        self.outputs.push(record);
    }

    /// Profiles were looked up in the cache of decoded profiles.
    pub const fn cache(&mut self, hits: u64, misses: u64) {
        self.hits += hits;
        self.misses += misses;
    }

    /// Forgets everything; the memory stays for the next batch.
    pub fn clear(&mut self) {
        self.consumed.clear();
        self.events.clear();
        self.dead.clear();
        self.left.clear();
        self.unconverted.clear();
        self.produced.clear();
        self.verdicts.clear();
        self.outputs.clear();
        self.hits = 0;
        self.misses = 0;
    }

    /// Everything of a batch but its latencies.
    pub(super) fn publish(&self, families: &Families, sources: &Sources) {
        let topic = |input: &InputId| sources.would_be(*input, 0).map_or("", |(topic, _)| topic);
        for ((input, task), count) in &self.consumed {
            if let Some((topic, partition)) = sources.would_be(*input, *task) {
                families
                    .records_consumed
                    .with_label_values(&[&**topic, partition.to_string().as_str()])
                    .inc_by(*count);
            }
        }
        for ((kind, outcome), count) in &self.events {
            families
                .events
                .with_label_values(&[kind.stream().name(), kind.name(), outcome.name()])
                .inc_by(*count);
        }
        for ((input, code), count) in &self.dead {
            families
                .records_dead_lettered
                .with_label_values(&[topic(input), code])
                .inc_by(*count);
        }
        for ((input, left), count) in &self.left {
            families
                .records_left
                .with_label_values(&[topic(input), left.name()])
                .inc_by(*count);
        }
        for (input, count) in &self.unconverted {
            families
                .events_unconverted
                .with_label_values(&[topic(input)])
                .inc_by(*count);
        }
        for (topic, count) in &self.produced {
            families
                .records_produced
                .with_label_values(&[topic])
                .inc_by(*count);
        }
        for ((kind, flow, channel, reason), count) in &self.verdicts {
            families
                .verdicts
                .with_label_values(&[kind.name(), flow, channel, reason])
                .inc_by(*count);
        }
        for (result, count) in [("hit", self.hits), ("miss", self.misses)] {
            families
                .cache_lookups
                .with_label_values(&[result])
                .inc_by(count);
        }
    }
}
