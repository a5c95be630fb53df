//! Tests beside flows, played (product.md §6): the same fold as `run` and `replay`, on the records' clock, over a store in memory.
//!
//! Customers are reachable and consenting on every channel unless the test calls them strangers. Only the flow that the test stands
//! with is in force, unless it names others; so a new flow breaks no other flow's tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::config::{Config, Format, Overrides};
use crate::decision::{Verdict, VerdictKind};
use crate::engine::Plan;
use crate::event::{DecodeContext, Event, EventType, Origin, json as event_json};
use crate::flow::FlowSet;
use crate::flow::compile::{FlowFile, Surroundings, compile};
use crate::flow::problem::Problem;
use crate::flow::spec::trial::{self, Act, Trial, With};
use crate::plan::fold_plan;
use crate::policy::Policy;
use crate::store::memory::MemoryStore;
use crate::store::staging::CacheLimits;
use crate::task::fold::{ClockKind, Decided, Fold, FoldPlan, Folded};
use crate::value::{Span, Timestamp};

pub mod compare;
pub mod coverage;

pub use compare::Difference;
pub use coverage::Coverage;

/// The configuration of tests that are run without one: three channels that report everything, shipped policy, nobody held out.
const BUILT_IN: &str = include_str!("trial/built_in.yaml");

const CACHE: CacheLimits = CacheLimits {
    profiles: 1_000,
    bytes: 16 << 20,
};

/// What the tests run under.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// The configuration; `None` for the one that is built in.
    pub config: Option<&'a Path>,
    /// Laid over it.
    pub overrides: &'a Overrides,
}

/// What became of one test.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// As expected.
    Passed,
    /// Something else was decided.
    Failed(Box<Difference>),
    /// It could not be played.
    Broken(String),
}

/// One test that was played.
#[derive(Clone, Debug)]
pub struct Played {
    /// The flow that it stands with.
    pub flow: String,
    /// File and line.
    pub place: String,
    /// What it shows.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// All tests of some flow files.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order of files and lines.
    pub played: Vec<Played>,
    /// What they reached.
    pub coverage: Coverage,
}

/// A verdict of a test, and the type of the event that caused it.
#[derive(Clone, Debug)]
pub struct Told {
    /// What was decided.
    pub verdict: Verdict,
    /// Type of the event that led to it.
    pub cause: Option<EventType>,
}

/// Plays the tests of `files` whose name contains `only`. `beside` are the other files of the set: tests may name their flows, and their own
/// tests are not played.
///
/// # Errors
/// Every problem of the files, when there is one: flows first, then tests. A file beside them is asked for only by a test that names it.
pub fn run(
    files: &[(String, String)],
    beside: &[(String, String)],
    setting: Setting<'_>,
    only: Option<&str>,
) -> Result<Report, Vec<Problem>> {
    let mut stage = Stage {
        setting,
        flows: BTreeMap::new(),
        beside: BTreeMap::new(),
        unread: Vec::new(),
        policies: BTreeMap::new(),
    };
    let mut found = Vec::new();
    let mut trials = Vec::new();
    for (name, text) in files {
        match trial::read(&FlowFile { name, text }) {
            Ok((flow, own)) => {
                stage.flows.insert(flow.clone(), (name, text));
                trials.extend(own.into_iter().map(|trial| (flow.clone(), name, trial)));
            }
            Err(problems) => found.extend(problems),
        }
    }
    if !found.is_empty() {
        return Err(found);
    }
    for (name, text) in beside {
        match trial::read(&FlowFile { name, text }) {
            Ok((flow, _)) if !stage.flows.contains_key(&flow) => {
                stage.beside.insert(flow, (name, text));
            }
            Ok(_) => {}
            Err(problems) => stage.unread.extend(problems),
        }
    }
    let mut report = Report {
        coverage: stage.coverage()?,
        ..Report::default()
    };
    for (flow, file, trial) in trials {
        if only.is_some_and(|only| !trial.name.value.contains(only) && !flow.contains(only)) {
            continue;
        }
        let outcome = match stage.play(&flow, &trial) {
            Ok(told) => {
                report.coverage.add(&told);
                compare::compare(&flow, &trial, &told).map_or(Outcome::Passed, |difference| {
                    Outcome::Failed(Box::new(difference))
                })
            }
            Err(why) => Outcome::Broken(why),
        };
        report.played.push(Played {
            flow,
            place: format!("{file}:{}", trial.name.place.line),
            name: trial.name.value,
            outcome,
        });
    }
    Ok(report)
}

/// Configuration and policy under one set of settings.
type Configured = Arc<(Config, Policy)>;

/// Where tests are played.
struct Stage<'a> {
    setting: Setting<'a>,
    /// Name and text of the file of each flow.
    flows: BTreeMap<String, (&'a str, &'a str)>,
    /// The same of those that stand beside them.
    beside: BTreeMap<String, (&'a str, &'a str)>,
    /// What is wrong with files beside them that cannot be read.
    unread: Vec<Problem>,
    /// By what the tests lay over the configuration.
    policies: BTreeMap<Vec<String>, Configured>,
}

impl<'a> Stage<'a> {
    /// Configuration and policy with these settings laid over.
    fn configured(&mut self, flags: &[String]) -> Result<Configured, String> {
        if let Some(known) = self.policies.get(flags) {
            return Ok(Arc::clone(known));
        }
        let mut overrides = self.setting.overrides.clone();
        overrides.flags.extend(flags.iter().cloned());
        let config = match self.setting.config {
            Some(path) => Config::load(path, &overrides).map_err(|error| error.to_string()),
            None => Config::parse("the built-in configuration", BUILT_IN, &overrides)
                .map_err(|problems| problems.to_string()),
        };
        let mut config = config?;
        for input in &mut config.inputs {
            input.format = Format::Json;
        }
        let policy = config.policy().map_err(|error| error.to_string())?;
        let configured = Arc::new((config, policy));
        self.policies
            .insert(flags.to_vec(), Arc::clone(&configured));
        Ok(configured)
    }

    /// The flows of these names, compiled.
    fn compiled(&self, names: &BTreeSet<&str>, policy: &Policy) -> Result<FlowSet, Vec<Problem>> {
        let files: Vec<FlowFile<'_>> = self
            .flows
            .iter()
            .chain(&self.beside)
            .filter(|(flow, _)| names.contains(flow.as_str()))
            .map(|(_, (name, text))| FlowFile { name, text })
            .collect();
        compile(&files, &Surroundings::of(policy))
    }

    /// What there is to be reached; the whole set has to compile under the configuration as it is.
    fn coverage(&mut self) -> Result<Coverage, Vec<Problem>> {
        let wrong = |message: String| {
            vec![Problem {
                file: "the configuration".to_owned(),
                line: 0,
                column: 0,
                width: 1,
                excerpt: String::new(),
                message,
                remedy: None,
            }]
        };
        let configured = self.configured(&[]).map_err(wrong)?;
        let all = self.flows.keys().map(String::as_str).collect();
        let flows = self.compiled(&all, &configured.1)?;
        Ok(Coverage::of(&flows))
    }

    /// Why a flow that a test names is not there: perhaps its file is broken.
    fn why_unread(&self, what: &str) -> String {
        let lines = self.unread.iter().map(ToString::to_string);
        let all: Vec<String> = std::iter::once(what.to_owned()).chain(lines).collect();
        all.join("\n")
    }

    fn play(&mut self, flow: &str, trial: &Trial) -> Result<Vec<Told>, String> {
        let flags: Vec<String> = trial
            .config
            .iter()
            .map(|(path, value)| format!("{path}={value}"))
            .collect();
        let configured = self.configured(&flags)?;
        let (config, policy) = &*configured;
        let mut names = BTreeSet::from([flow]);
        match &trial.with {
            With::All if !self.unread.is_empty() => {
                return Err(self.why_unread("not all of the set can be read"));
            }
            With::All => {
                let all = self.flows.keys().chain(self.beside.keys());
                names.extend(all.map(String::as_str));
            }
            With::Named(with) => {
                for name in with {
                    let has = |set: &BTreeMap<String, _>| set.contains_key(&name.value);
                    if !has(&self.flows) && !has(&self.beside) {
                        return Err(self.why_unread(&format!("there is no flow `{}`", name.value)));
                    }
                    names.insert(&name.value);
                }
            }
        }
        let flows = self.compiled(&names, policy).map_err(|problems| {
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            all.join("\n")
        })?;
        // A test is played in one partition, to which a budget belongs whole.
        let policy = Policy {
            partitions: 1,
            ..policy.clone()
        };
        let plan = Plan { flows, policy };
        let shared = fold_plan(config, plan, ClockKind::Records);
        let shared = Arc::new(shared.map_err(|error| error.to_string())?);
        Scene::new(shared)
            .and_then(|scene| scene.play(trial))
            .map_err(|error| error.to_string())
    }
}

/// Why a test cannot be played.
#[derive(Debug, thiserror::Error)]
enum SceneError {
    /// An event that is none.
    #[error("event {number} is refused: {why}")]
    Event { number: usize, why: String },
    /// State cannot be read back: a bug, for the store is memory.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

/// One test while it is played.
struct Scene {
    fold: Fold,
    shared: Arc<FoldPlan>,
    told: Vec<Told>,
    /// Types of the events by id.
    types: BTreeMap<String, EventType>,
    offset: i64,
}

impl Scene {
    fn new(shared: Arc<FoldPlan>) -> Result<Self, SceneError> {
        let store = Box::new(MemoryStore::new());
        Ok(Self {
            fold: Fold::new(0, Arc::clone(&shared), store, CACHE)?,
            shared,
            told: Vec::new(),
            types: BTreeMap::new(),
            offset: 0,
        })
    }

    fn play(mut self, trial: &Trial) -> Result<Vec<Told>, SceneError> {
        if let Some(first) = trial.events.first() {
            self.introduce(trial, first.at.minus(Span::from_hours(1)))?;
        }
        for (index, act) in trial.events.iter().enumerate() {
            self.act(index + 1, act)?;
        }
        if let Some(until) = trial.until {
            self.fold.fire(until, usize::MAX)?;
            self.note();
        }
        Ok(self.told)
    }

    /// Whoever comes up in the test and is no stranger is reachable and consenting everywhere.
    fn introduce(&mut self, trial: &Trial, at: Timestamp) -> Result<(), SceneError> {
        let mut known = BTreeSet::new();
        for act in &trial.events {
            for key in ["customer_id", "anonymous_id"] {
                if let Some(Json::String(id)) = act.event.get(key)
                    && !trial.strangers.contains(id)
                {
                    known.insert((key, id.as_str()));
                }
            }
        }
        let channels = || self.shared.plan.policy.channels.keys();
        let lines: Vec<Json> = known
            .iter()
            .map(|(key, id)| {
                let addresses: serde_json::Map<String, Json> = channels()
                    .map(|channel| (channel.to_string(), json!([format!("{id}@{channel}.test")])))
                    .collect();
                let consents: serde_json::Map<String, Json> = channels()
                    .map(|channel| (channel.to_string(), json!("granted")))
                    .collect();
                json!({
                    "event_id": format!("known {key} {id}"), "type": "identified", "event_time": at.to_string(), "source": "test", *key: id,
                    "addresses": addresses, "consents": consents,
                })
            })
            .collect();
        for line in lines {
            let event = self.decode(0, &line)?;
            // As history: who somebody is begins no flow.
            self.event(&event, at, true)?;
        }
        Ok(())
    }

    fn decode(&self, number: usize, line: &Json) -> Result<Event, SceneError> {
        let context = DecodeContext {
            rules: &self.shared.decode,
            record_timestamp: None,
        };
        event_json::decode(line.to_string().as_bytes(), &context).map_err(|error| {
            SceneError::Event {
                number,
                why: error.to_string(),
            }
        })
    }

    fn act(&mut self, number: usize, act: &Act) -> Result<(), SceneError> {
        // What is due by then fires first: a receipt may name what was triggered.
        self.fold.fire(act.at, usize::MAX)?;
        self.note();
        let mut line = act.event.clone();
        let mut default = |key: &str, value: String| {
            line.entry(key).or_insert(Json::String(value));
        };
        default("event_id", format!("e{number}"));
        default("event_time", act.at.to_string());
        default("source", "test".to_owned());
        let mut line = Json::Object(line);
        self.name_decisions(number, &mut line)?;
        let event = self.decode(number, &line)?;
        self.event(&event, act.at, act.history)
    }

    fn event(&mut self, event: &Event, at: Timestamp, history: bool) -> Result<(), SceneError> {
        self.types.insert(event.id.clone(), event.kind);
        let origin = Origin {
            topic: event.kind.stream().name().into(),
            partition: 0,
            offset: self.offset,
            timestamp: at,
        };
        self.offset += 1;
        self.fold.advance(at);
        let folded = self.fold.event(event, &origin, history)?;
        self.fold.deliver()?;
        if let Folded::Unattributed(_) = folded {
            return Err(SceneError::Event {
                number: usize::try_from(self.offset).unwrap_or_default(),
                why: "it names no customer".to_owned(),
            });
        }
        let clock = self.fold.clock();
        self.fold.fire(clock, usize::MAX)?;
        self.note();
        Ok(())
    }

    /// `@1` stands for the first trigger of the test.
    fn name_decisions(&self, number: usize, line: &mut Json) -> Result<(), SceneError> {
        let id = match line.pointer("/properties/decision_id") {
            Some(Json::String(text)) => text.strip_prefix('@').map(str::to_owned),
            _ => None,
        };
        let Some(wanted) = id else {
            return Ok(());
        };
        let triggers = self
            .told
            .iter()
            .filter(|told| told.verdict.kind == VerdictKind::Send);
        let found = wanted
            .parse::<usize>()
            .ok()
            .and_then(|wanted| triggers.clone().nth(wanted.checked_sub(1)?));
        let Some(found) = found else {
            return Err(SceneError::Event {
                number,
                why: format!(
                    "there is no trigger @{wanted}, only {} so far",
                    triggers.count()
                ),
            });
        };
        let id = found.verdict.decision_id.to_string();
        if let Some(place) = line.pointer_mut("/properties/decision_id") {
            *place = Json::String(id);
        }
        Ok(())
    }

    fn note(&mut self) {
        for decided in self.fold.take_decided() {
            if let Decided::Verdict(verdict) = decided {
                let cause = self.types.get(&verdict.cause.event_id).copied();
                self.told.push(Told {
                    verdict: *verdict,
                    cause,
                });
            }
        }
    }
}
