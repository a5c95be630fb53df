//! Tests that stand beside a flow, as people write them (product.md §6): events and times in, decisions out.

use serde_json::Value as Json;

use super::read::{Fields, list, text};
use super::{FlowSpec, tree};
use crate::decision::{Reason, VerdictKind};
use crate::event::EventType;
use crate::flow::compile::FlowFile;
use crate::flow::problem::{At, Problem, Problems, did_you_mean};
use crate::flow::reference::{EXPECT_KEYS, TEST_KEYS};
use crate::value::Timestamp;

/// One test.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What it shows.
    pub name: At<String>,
    /// Settings laid over the configuration: path and value as YAML.
    pub config: Vec<(String, String)>,
    /// Which flows are in force beside the one that it stands with.
    pub with: With,
    /// Customers of whom nothing is known; all others are reachable and consenting on every channel.
    pub strangers: Vec<String>,
    /// What happens, in this order.
    pub events: Vec<Act>,
    /// The clock runs on to that time.
    pub until: Option<Timestamp>,
    /// What has to be decided.
    pub expect: Vec<Expected>,
}

/// Flows in force beside the one that a test stands with.
#[derive(Clone, Debug, PartialEq)]
pub enum With {
    /// These.
    Named(Vec<At<String>>),
    /// All of the set.
    All,
}

/// One event of a test.
#[derive(Clone, Debug)]
pub struct Act {
    /// When it arrives; also its event time unless that is written.
    pub at: Timestamp,
    /// The event as it would stand on the bus, without `at`.
    pub event: serde_json::Map<String, Json>,
    /// It comes from a backfill.
    pub history: bool,
}

/// One decision that a test expects: what is not written is not compared.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// When it is made.
    pub at: Option<Timestamp>,
    /// What kind.
    pub kind: Option<VerdictKind>,
    /// Of which flow.
    pub flow: Option<String>,
    /// On which channel.
    pub channel: Option<String>,
    /// Of which step, from 1.
    pub step: Option<u32>,
    /// Why.
    pub reason: Option<String>,
    /// What is sent.
    pub template: Option<String>,
    /// Of which instance.
    pub instance: Option<String>,
}

/// Reads the tests of a flow file, and the name of its flow.
///
/// # Errors
/// Every problem of the tests and of the file's shape; what its flow means is told by [`crate::flow::compile::compile`].
pub fn read(file: &FlowFile<'_>) -> Result<(String, Vec<Trial>), Vec<Problem>> {
    let mut problems = Problems::of(file.name, file.text);
    let Some(spec) = FlowSpec::read(file.text, &mut problems) else {
        return Err(problems.into_sorted());
    };
    let trials = trials(&spec, &mut problems);
    if problems.is_empty() {
        Ok((spec.flow.value, trials))
    } else {
        Err(problems.into_sorted())
    }
}

/// What is wrong with the tests of these files, and with nothing else of them: names that no file has, unknown keys, kinds and events.
#[must_use]
pub fn problems(files: &[FlowFile<'_>]) -> Vec<Problem> {
    let mut read = Vec::new();
    for file in files {
        // What is wrong with the flow itself is told where it is compiled.
        if let Some(spec) = FlowSpec::read(file.text, &mut Problems::of(file.name, file.text)) {
            let mut problems = Problems::of(file.name, file.text);
            let trials = trials(&spec, &mut problems);
            read.push((spec.flow.value, trials, problems));
        }
    }
    let flows: Vec<String> = read.iter().map(|(flow, ..)| flow.clone()).collect();
    let mut found = Vec::new();
    for (_, trials, mut problems) in read {
        for trial in &trials {
            let With::Named(names) = &trial.with else {
                continue;
            };
            for name in names.iter().filter(|name| !flows.contains(&name.value)) {
                problems.add(
                    name.place,
                    format!("there is no flow `{}`", name.value),
                    did_you_mean(&name.value, flows.iter().map(String::as_str)),
                );
            }
        }
        found.extend(problems.into_sorted());
    }
    found
}

fn trials(spec: &FlowSpec, problems: &mut Problems<'_>) -> Vec<Trial> {
    // That `tests` is no list is told with the shape of the flow.
    let Some(tree::Value::List(nodes)) = spec.tests.as_ref().map(|tests| &tests.value) else {
        return Vec::new();
    };
    let trials = nodes.iter().map(|node| trial(node, problems));
    trials.collect::<Vec<_>>().into_iter().flatten().collect()
}

fn trial(node: &At<tree::Value>, problems: &mut Problems<'_>) -> Option<Trial> {
    let fields = Fields::of(node, "a test", TEST_KEYS, problems)?;
    let name = fields.required_text("name", "a sentence that says what it shows", problems);
    let events = fields
        .require(
            "events",
            "what happens: `events: [{ at: …, type: … }]`",
            problems,
        )
        .map(|node| acts(node, problems));
    let expect = fields
        .require("expect", "what is decided then; `[]` for nothing", problems)
        .map(|node| expectations(node, problems));
    let mut config = Vec::new();
    if let Some(node) = fields.find("config") {
        flatten("", node, &mut config);
    }
    let strangers = fields.find("strangers").map_or_else(Vec::new, |node| {
        let names = list("strangers", node, problems).iter();
        let names: Vec<_> = names
            .filter_map(|node| text("strangers", node, problems))
            .collect();
        names.into_iter().map(|name| name.value).collect()
    });
    let until = fields
        .text("until", problems)
        .and_then(|text| time(&text, problems));
    Some(Trial {
        config,
        with: with(&fields, problems),
        strangers,
        until,
        name: name?,
        events: events?,
        expect: expect?,
    })
}

fn with(fields: &Fields<'_>, problems: &mut Problems<'_>) -> With {
    match fields.find("with") {
        None => With::Named(Vec::new()),
        Some(node) if matches!(&node.value, tree::Value::Text(word) if word == "all") => With::All,
        Some(node) => {
            let names = list("with", node, problems).iter();
            With::Named(
                names
                    .filter_map(|node| text("with", node, problems))
                    .collect(),
            )
        }
    }
}

/// `a: { b: c }` as `a.b` and `c`.
fn flatten(path: &str, node: &At<tree::Value>, found: &mut Vec<(String, String)>) {
    match &node.value {
        tree::Value::Map(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let path = if path.is_empty() {
                    key.value.clone()
                } else {
                    format!("{path}.{}", key.value)
                };
                flatten(&path, value, found);
            }
        }
        tree::Value::Map(_)
        | tree::Value::List(_)
        | tree::Value::Null
        | tree::Value::Bool(_)
        | tree::Value::Integer(_)
        | tree::Value::Decimal(_)
        | tree::Value::Text(_) => found.push((path.to_owned(), json(&node.value).to_string())),
    }
}

fn json(value: &tree::Value) -> Json {
    match value {
        tree::Value::Null => Json::Null,
        tree::Value::Bool(value) => Json::Bool(*value),
        tree::Value::Integer(value) => Json::from(*value),
        tree::Value::Decimal(value) => Json::from(*value),
        tree::Value::Text(value) => Json::from(value.as_str()),
        tree::Value::List(items) => items.iter().map(|item| json(&item.value)).collect(),
        tree::Value::Map(entries) => entries
            .iter()
            .map(|(key, value)| (key.value.clone(), json(&value.value)))
            .collect(),
    }
}

fn time(text: &At<String>, problems: &mut Problems<'_>) -> Option<Timestamp> {
    let time = Timestamp::parse(&text.value);
    if time.is_none() {
        problems.add(
            text.place,
            format!("`{}` is no time", text.value),
            "write it as 2026-03-01T10:00:00Z",
        );
    }
    time
}

fn acts(node: &At<tree::Value>, problems: &mut Problems<'_>) -> Vec<Act> {
    let mut acts: Vec<Act> = Vec::new();
    for node in list("events", node, problems) {
        let tree::Value::Map(entries) = &node.value else {
            let kind = node.value.kind();
            problems.add(
                node.place,
                format!("an event is a mapping, not {kind}"),
                "write `{ at: …, type: …, customer_id: … }`",
            );
            continue;
        };
        let mut event: serde_json::Map<String, Json> = entries
            .iter()
            .map(|(key, value)| (key.value.clone(), json(&value.value)))
            .collect();
        check_type(node, entries, problems);
        let history = event.remove("history") == Some(Json::Bool(true));
        event.remove("at");
        let written = entries.iter().find(|(key, _)| key.value == "at");
        let Some((_, written)) = written else {
            problems.add(
                node.place,
                "an event has no `at`",
                "when it arrives, such as `at: 2026-03-01T10:00:00Z`",
            );
            continue;
        };
        let Some(at) = text("at", written, problems).and_then(|text| time(&text, problems)) else {
            continue;
        };
        if acts.last().is_some_and(|last| at < last.at) {
            problems.add(
                written.place,
                "events stand in the order in which they arrive",
                "what happened earlier and arrives late has an `event_time` of its own",
            );
        }
        acts.push(Act { at, event, history });
    }
    acts
}

/// An event of a test is one that may stand on the bus.
fn check_type(
    node: &At<tree::Value>,
    entries: &[(At<String>, At<tree::Value>)],
    problems: &mut Problems<'_>,
) {
    let Some((_, written)) = entries.iter().find(|(key, _)| key.value == "type") else {
        problems.add(
            node.place,
            "an event has no `type`",
            "what happens, such as `type: product_added`",
        );
        return;
    };
    if let Some(name) = text("type", written, problems)
        && EventType::parse(&name.value).is_none()
    {
        let names = EventType::ALL.iter().map(|event| event.name());
        problems.add(
            name.place,
            format!("unknown event `{}`", name.value),
            did_you_mean(&name.value, names),
        );
    }
}

fn expectations(node: &At<tree::Value>, problems: &mut Problems<'_>) -> Vec<Expected> {
    list("expect", node, problems)
        .iter()
        .filter_map(|node| expected(node, problems))
        .collect()
}

/// Reads the kind of a decision; `trigger` is what the decision log calls `send`.
fn kind_of(name: &str) -> Option<VerdictKind> {
    if name == "trigger" {
        return Some(VerdictKind::Send);
    }
    VerdictKind::ALL
        .into_iter()
        .find(|kind| kind.name() == name)
}

fn expected(node: &At<tree::Value>, problems: &mut Problems<'_>) -> Option<Expected> {
    let fields = Fields::of(node, "an expected decision", EXPECT_KEYS, problems)?;
    let at = fields.text("at", problems);
    let kind = fields.text("kind", problems).and_then(|word| {
        let kind = kind_of(&word.value);
        if kind.is_none() {
            let known = VerdictKind::ALL.into_iter().map(VerdictKind::name);
            problems.add(
                word.place,
                format!("unknown kind `{}`", word.value),
                did_you_mean(&word.value, known.chain(["trigger"])),
            );
        }
        kind
    });
    let step = fields.find("step").and_then(|node| match node.value {
        tree::Value::Integer(step) => u32::try_from(step).ok(),
        tree::Value::Null
        | tree::Value::Bool(_)
        | tree::Value::Decimal(_)
        | tree::Value::Text(_)
        | tree::Value::List(_)
        | tree::Value::Map(_) => {
            problems.add(node.place, "`step` is a whole number", "counted from 1");
            None
        }
    });
    let reason = fields.text("reason", problems);
    if let (Some(reason), Some(kind)) = (&reason, kind)
        && kind != VerdictKind::Send
        && kind != VerdictKind::Outcome
        && Reason::parse(&reason.value).is_none()
    {
        problems.add(
            reason.place,
            format!("unknown reason `{}`", reason.value),
            did_you_mean(
                &reason.value,
                Reason::ALL.iter().map(|reason| reason.name()),
            ),
        );
    }
    let text = |key, problems: &mut Problems<'_>| {
        fields
            .text(key, problems)
            .map(|text: At<String>| text.value)
    };
    Some(Expected {
        at: at.and_then(|at| time(&at, problems)),
        kind,
        flow: text("flow", problems),
        channel: text("channel", problems),
        step,
        reason: reason.map(|reason| reason.value),
        template: text("template", problems),
        instance: text("instance", problems),
    })
}
