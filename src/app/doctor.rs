//! `doctor`: what would go wrong with this configuration on this bus, before anything does.
//!
//! Everything is asked first and judged then; the judging is pure. Nothing is changed (see [`Probe`]).

mod judge;
mod schemas;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::exit::Stop;
use super::{kafka, registry, rights};
use crate::bus::Failure;
use crate::bus::kafka::admin::Admin;
use crate::bus::kafka::probe::{Operation, Probe, Resource, Right, TopicState};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::engine::Plan;
use crate::plan;
use crate::value::Span;

/// So many of the newest records of each input partition are looked at.
const SAMPLE: i64 = 50;
/// Free space on the state's disk below which it is worth a warning: an instance that fills its disk stops.
const LEAST_FREE: u64 = 1 << 30;
/// Inputs should be kept at least that long: an outage over a weekend is read up afterwards, not lost.
const LEAST_RETENTION: Span = Span::from_days(3);
/// How one thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// As it should be.
    Good,
    /// It runs, but somebody should know.
    Warn,
    /// It will not run, or will lose what it should keep.
    Bad,
    /// Could not be looked at.
    Untold,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it stands.
    pub grade: Grade,
    /// What was looked at.
    pub what: String,
    /// As it is.
    pub found: String,
    /// As it should be; empty when it is.
    pub wanted: String,
    /// What to do; empty when there is nothing to do.
    pub remedy: String,
}

impl Finding {
    fn good(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self::of(Grade::Good, what, found, "", "")
    }

    fn of(
        grade: Grade,
        what: impl Into<String>,
        found: impl Into<String>,
        wanted: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            grade,
            what: what.into(),
            found: found.into(),
            wanted: wanted.into(),
            remedy: remedy.into(),
        }
    }

    fn untold(what: impl Into<String>, why: &Failure) -> Self {
        Self::of(Grade::Untold, what, why.to_string(), "", "")
    }
}

/// Looks at everything, in the order in which it would go wrong.
///
/// # Errors
/// When the configuration cannot be turned into clients; what the cluster says is a finding.
pub fn examine(config: &Config, flows: Plan) -> Result<Vec<Finding>, Stop> {
    let clock = SystemClock::new();
    let settings = kafka::settings(config, 0)?;
    let probe = Probe::connect(&settings, &clock)?;
    let mut findings = Vec::new();
    let longest = longest_life(&flows);
    let fold = plan::fold_plan(config, flows, plan::clock_kind(config))
        .map_err(|error| Stop::of(super::exit::Exit::Config, &error))?;
    let brokers = match probe.brokers() {
        Ok(brokers) => brokers,
        Err(failure) => {
            findings.push(Finding::of(
                Grade::Bad,
                "brokers",
                failure.to_string(),
                "an answer",
                format!("look whether {} is right and reachable, and at kafka.properties (security.protocol, sasl.*, ssl.*)", config.kafka.bootstrap),
            ));
            return Ok(findings);
        }
    };
    findings.push(Finding::good("brokers", list(&brokers)));
    let mut states = BTreeMap::new();
    for spec in kafka::topics(config) {
        match probe.topic(&spec.name) {
            Ok(state) => drop(states.insert(spec.name, state)),
            Err(failure) => {
                findings.push(Finding::untold(format!("topic {}", spec.name), &failure))
            }
        }
    }
    findings.extend(examine_rights(config, &probe, &states));
    findings.extend(examine_topics(config, &settings, &states));
    let registry = registry::client(config)?;
    if let Some(client) = &registry {
        findings.extend(schemas::examine(config, client)?);
    }
    for (number, input) in fold.inputs.iter().enumerate().skip(1) {
        if let Some(TopicState::Partitions(partitions)) = states.get(&*input.source.topic) {
            let sample = probe.newest(&input.source.topic, *partitions, SAMPLE);
            findings.extend(match sample {
                Ok(records) => {
                    let sample = (number, records, *partitions);
                    schemas::sample(registry.as_ref(), &fold, sample, clock.wall())?
                }
                Err(failure) => vec![Finding::untold(
                    format!("records of {}", input.source.topic),
                    &failure,
                )],
            });
        }
    }
    findings.extend(examine_retention(config, &probe, &states, longest));
    for broker in brokers {
        findings.extend(match probe.broker_settings(broker) {
            Ok(Some(found)) => judge::broker(config, broker, &found),
            Ok(None) => vec![Finding::of(
                Grade::Untold,
                format!("broker {broker}"),
                "no right to look at its settings (DescribeConfigs on the cluster); running does not need it",
                "",
                "",
            )],
            Err(failure) => vec![Finding::untold(format!("broker {broker}"), &failure)],
        });
    }
    findings.push(disk(&config.state_root()));
    Ok(findings)
}

fn list<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}

/// How long a contact may wait at most: what was said of it must be readable so long.
fn longest_life(flows: &Plan) -> Span {
    let lives = flows.flows.current().values().map(|flow| flow.expires);
    lives.max().unwrap_or(Span::ZERO)
}

fn examine_rights(
    config: &Config,
    probe: &Probe<'_>,
    states: &BTreeMap<String, TopicState>,
) -> Vec<Finding> {
    let rights = rights::rights(config);
    let state = |right: &Right| match &right.resource {
        Resource::Topic(name) => states.get(name),
        Resource::Group(_) | Resource::TransactionalIds(_) => None,
    };
    let (mut missing, mut asked) = (Vec::new(), Vec::new());
    for right in &rights {
        let needs_it_there = match right.operation {
            Operation::Read | Operation::Write | Operation::Delete => true,
            Operation::Create | Operation::DescribeConfigs => false,
        };
        match state(right) {
            // Each of these implies that its topic may be seen.
            Some(TopicState::Denied) if needs_it_there => missing.push(right.clone()),
            Some(TopicState::Absent) if right.operation != Operation::Create => {}
            Some(TopicState::Denied | TopicState::Absent | TopicState::Partitions(_)) | None => {
                asked.push(right.clone());
            }
        }
    }
    let untried = match probe.missing(&asked) {
        Ok((found, untried)) => {
            missing.extend(found);
            untried
        }
        Err(failure) => return vec![Finding::untold("rights", &failure)],
    };
    let mut findings: Vec<Finding> = missing
        .iter()
        .map(|right| {
            Finding::of(
                Grade::Bad,
                "right",
                format!("missing: {right}"),
                "granted",
                format!("kafka-acls.sh --add --allow-principal … {right}"),
            )
        })
        .collect();
    findings.extend(untried.iter().map(|right| {
        Finding::of(
            Grade::Untold,
            "right",
            format!("cannot be tried without the transactional id: {right}"),
            "",
            "",
        )
    }));
    if findings.is_empty() {
        findings.push(Finding::good(
            "rights",
            format!("all {} of them", asked.len()),
        ));
    }
    findings
}

/// A topic that we may not see is told by its missing right, not as missing.
fn examine_topics(
    config: &Config,
    settings: &crate::bus::kafka::Settings,
    states: &BTreeMap<String, TopicState>,
) -> Vec<Finding> {
    let wanted = kafka::topics(config);
    let problems = match Admin::connect(settings).and_then(|admin| admin.plan_topics(&wanted)) {
        Ok(problems) => problems,
        Err(failure) => return vec![Finding::untold("topics", &failure)],
    };
    if problems.is_empty() {
        let found = format!("all {} as they should be", wanted.len());
        return vec![Finding::good("topics", found)];
    }
    problems
        .iter()
        .filter(|problem| states.get(&problem.topic.name) != Some(&TopicState::Denied))
        .map(|problem| judge::topic(problem, config.topics.create))
        .collect()
}

fn examine_retention(
    config: &Config,
    probe: &Probe<'_>,
    states: &BTreeMap<String, TopicState>,
    longest: Span,
) -> Vec<Finding> {
    let inputs = config
        .inputs
        .iter()
        .map(|input| (input.topic.clone(), LEAST_RETENTION, true));
    let channels = config
        .channels
        .keys()
        .map(|name| (config.channel_topic(name), longest, false));
    let there = |name: &String| matches!(states.get(name), Some(TopicState::Partitions(_)));
    let mut findings = Vec::new();
    let mut looked_at = 0;
    for (topic, least, input) in inputs.chain(channels).filter(|(name, _, _)| there(name)) {
        match probe.topic_settings(&topic) {
            Ok(Some(settings)) => {
                looked_at += 1;
                findings.extend(judge::retention(&topic, &settings, least, input));
            }
            Ok(None) => findings.push(Finding::of(
                Grade::Untold,
                format!("retention of {topic}"),
                "no right to look at its settings (DescribeConfigs)",
                "",
                "",
            )),
            Err(failure) => {
                findings.push(Finding::untold(format!("retention of {topic}"), &failure))
            }
        }
    }
    if findings.is_empty() && looked_at > 0 {
        findings.push(Finding::good(
            "retention",
            format!("all {looked_at} inputs and channels are kept long enough"),
        ));
    }
    findings
}

/// Can the state be written, and is there room?
fn disk(state: &Path) -> Finding {
    let what = format!("disk at {}", state.display());
    let there = state.ancestors().find(|path| path.is_dir());
    let remedy = "set `app.state_dir` to a directory that this user may write, on a disk with room for the state";
    let Some(there) = there else {
        return Finding::of(Grade::Bad, what, "not there", "a directory", remedy);
    };
    let probe = there.join(format!(".tidegate-doctor-{}", std::process::id()));
    let written = std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe));
    if let Err(error) = written {
        return Finding::of(Grade::Bad, what, error.to_string(), "writable", remedy);
    }
    match rustix::fs::statvfs(there) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let found = format!("writable, {} MiB free", free >> 20);
            if free < LEAST_FREE {
                let wanted = format!("at least {} MiB", LEAST_FREE >> 20);
                Finding::of(Grade::Warn, what, found, wanted, remedy)
            } else {
                Finding::good(what, found)
            }
        }
        Err(error) => Finding::of(Grade::Untold, what, error.to_string(), "", ""),
    }
}
