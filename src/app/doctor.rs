//! `doctor`: what would go wrong with this configuration on this bus, before anything does.
//!
//! Everything is asked first and judged then; the judging is pure. Nothing is changed (see [`Probe`]).

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::exit::Stop;
use super::{kafka, rights};
use crate::bus::kafka::admin::{Admin, Difference, TopicProblem};
use crate::bus::kafka::probe::{Operation, Probe, Resource, Right, TopicState};
use crate::bus::{Failure, Record};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::engine::Plan;
use crate::event::mapping::Read;
use crate::partitioner;
use crate::plan;
use crate::task::fold::{self, FoldPlan};
use crate::value::{Span, Timestamp};

/// So many of the newest records of each input partition are looked at.
const SAMPLE: i64 = 50;
/// Free space on the state's disk below which it is worth a warning: an instance that fills its disk stops.
const LEAST_FREE: u64 = 1 << 30;
/// Inputs should be kept at least that long: an outage over a weekend is read up afterwards, not lost.
const LEAST_RETENTION: Span = Span::from_days(3);
/// What we ask of brokers: our transactions' time-out, our session's, the largest changelog record, the pause between two
/// statements of an idle task's offsets with room.
const TRANSACTION_MS: i64 = 5_000;
const SESSION_MS: i64 = 6_000;
const RECORD_BYTES: i64 = 1_048_588;
const OFFSETS_MINUTES: i64 = 2 * 24 * 60;

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
    for (number, input) in fold.inputs.iter().enumerate().skip(1) {
        if let Some(TopicState::Partitions(partitions)) = states.get(&*input.topic) {
            let sample = probe.newest(&input.topic, *partitions, SAMPLE);
            findings.extend(match sample {
                Ok(records) => judge_sample(&fold, number, &records, *partitions, clock.wall()),
                Err(failure) => vec![Finding::untold(
                    format!("records of {}", input.topic),
                    &failure,
                )],
            });
        }
    }
    findings.extend(examine_retention(config, &probe, &states, longest));
    for broker in brokers {
        findings.extend(match probe.broker_settings(broker) {
            Ok(Some(found)) => judge_broker(config, broker, &found),
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
        .map(|problem| judge_topic(problem, config.topics.create))
        .collect()
}

/// The text of a problem has the remedy behind its first semicolon.
fn judge_topic(problem: &TopicProblem, create: bool) -> Finding {
    let what = format!("topic {}", problem.topic.name);
    if create && problem.topic.ours && problem.difference == Difference::Missing {
        return Finding::good(what, "not there yet: created at start");
    }
    let text = problem.to_string();
    let text = text.strip_prefix(&format!("{what}: ")).unwrap_or(&text);
    let (found, remedy) = text.split_once("; ").unwrap_or((text, ""));
    let unseen = matches!(&problem.difference, Difference::Setting { found: None, .. });
    let grade = if unseen {
        Grade::Untold
    } else if problem.stops() {
        Grade::Bad
    } else {
        Grade::Warn
    };
    Finding::of(grade, what, found, "", remedy)
}

/// What the newest records of an input become, where they stand, and how their times stand to ours.
fn judge_sample(
    fold: &FoldPlan,
    input: usize,
    records: &[Record],
    partitions: i32,
    now: Timestamp,
) -> Vec<Finding> {
    let Some(spec) = fold.inputs.get(input) else {
        return Vec::new();
    };
    let what = format!("records of {}", spec.topic);
    if records.is_empty() {
        return vec![Finding::of(
            Grade::Untold,
            what,
            "there are none to look at",
            "",
            "",
        )];
    }
    let mut refused: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut left = 0;
    for record in records {
        match fold::decode(spec, record, fold) {
            Ok(Read::Event(_)) => {}
            Ok(Read::Left(_)) => left += 1,
            Err(error) => *refused.entry(error.refusal().code()).or_default() += 1,
        }
    }
    let sampled = records.len();
    let mut findings = Vec::new();
    let dead: usize = refused.values().sum();
    let left_out = if left > 0 {
        format!(", {left} left out as configured")
    } else {
        String::new()
    };
    if dead == 0 {
        let found = format!("{sampled} newest: all readable{left_out}");
        findings.push(Finding::good(what.clone(), found));
    } else {
        let codes: Vec<String> = refused
            .iter()
            .map(|(code, count)| format!("{code} {count}"))
            .collect();
        let grade = if dead * 2 > sampled {
            Grade::Bad
        } else {
            Grade::Warn
        };
        findings.push(Finding::of(
            grade,
            what.clone(),
            format!("{sampled} newest: {dead} would be dead letters ({}){left_out}", codes.join(", ")),
            "none",
            "`tidegate map` shows what records become; wrong_key: the record's key is not the customer id; wrong_partition: its producer does not partition as Java does",
        ));
    }
    findings.push(judge_keys(&what, records, partitions));
    let newest = records.iter().map(|record| record.timestamp).max();
    let ahead = newest.map_or(Span::ZERO, |newest| newest.since(now));
    if ahead > Span::from_secs(1) {
        findings.push(Finding::of(
            Grade::Warn,
            what,
            format!(
                "the newest is stamped {} s ahead of our clock",
                ahead.millis() / 1_000
            ),
            "not ahead",
            "synchronize the clocks (NTP) of this machine and of the producers",
        ));
    }
    findings
}

/// Do the keys stand where Java would put them?
fn judge_keys(what: &str, records: &[Record], partitions: i32) -> Finding {
    let count = u32::try_from(partitions).unwrap_or(1).max(1);
    let keyed: Vec<(&[u8], i32)> = records
        .iter()
        .filter_map(|record| Some((record.key.as_deref()?, record.partition)))
        .collect();
    let keyless = records.len() - keyed.len();
    let misplaced = keyed
        .iter()
        .filter(|(key, at)| partitioner::partition(key, partitions) != *at)
        .count();
    if misplaced == 0 && keyless == 0 {
        return Finding::good(what, "keys stand where Java's murmur2 puts them");
    }
    let by_crc32 = keyed
        .iter()
        .filter(|(key, at)| i32::try_from(crc32(key) % count).is_ok_and(|place| place == *at))
        .count();
    let whose = if misplaced > 0 && by_crc32 == keyed.len() {
        " (all stand where CRC32 puts them: librdkafka's default)"
    } else {
        ""
    };
    Finding::of(
        Grade::Bad,
        what,
        format!(
            "of {} newest, {misplaced} stand in another partition than murmur2 gives{whose}, {keyless} have no key",
            records.len()
        ),
        "keyed by customer, partitioned as Java does",
        "set `partitioner=murmur2_random` in producers built on librdkafka; an input that is keyed otherwise needs `key: any`",
    )
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
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
    for (topic, least, input) in inputs.chain(channels).filter(|(name, _, _)| there(name)) {
        match probe.topic_settings(&topic) {
            Ok(Some(settings)) => findings.extend(judge_retention(&topic, &settings, least, input)),
            Ok(None) => {}
            Err(failure) => {
                findings.push(Finding::untold(format!("retention of {topic}"), &failure))
            }
        }
    }
    if findings.is_empty() {
        findings.push(Finding::good(
            "retention",
            "inputs and channels are kept long enough",
        ));
    }
    findings
}

fn judge_retention(
    topic: &str,
    settings: &BTreeMap<String, String>,
    least: Span,
    input: bool,
) -> Vec<Finding> {
    let what = format!("retention of {topic}");
    let mut findings = Vec::new();
    let kept: i64 = settings
        .get("retention.ms")
        .and_then(|value| value.parse().ok())
        .unwrap_or(-1);
    if kept >= 0 && kept < least.millis() {
        let hours = |millis: i64| format!("{} h", millis / 3_600_000);
        let remedy = if input {
            "an outage that lasts longer loses events: raise its retention.ms"
        } else {
            "a trigger would outlive the record that cancels it: raise its retention.ms"
        };
        let (found, wanted) = (hours(kept), format!("at least {}", hours(least.millis())));
        findings.push(Finding::of(
            Grade::Warn,
            what.clone(),
            found,
            wanted,
            remedy,
        ));
    }
    if settings
        .get("cleanup.policy")
        .is_some_and(|policy| policy.contains("compact"))
    {
        let (grade, remedy) = if input {
            (
                Grade::Warn,
                "events of one customer replace each other before they are read",
            )
        } else {
            (
                Grade::Bad,
                "a sender that starts anew would miss cancels: use cleanup.policy=delete",
            )
        };
        findings.push(Finding::of(
            grade,
            what,
            "compacted",
            "deleted by age",
            remedy,
        ));
    }
    findings
}

/// The settings of a broker that our transactions, our group and our durability rest on.
fn judge_broker(config: &Config, broker: i32, found: &BTreeMap<String, String>) -> Vec<Finding> {
    let what = format!("broker {broker}");
    let copies = i64::from(config.topics.replication_factor);
    let least = [
        ("transaction.max.timeout.ms", TRANSACTION_MS, Grade::Bad),
        ("message.max.bytes", RECORD_BYTES, Grade::Warn),
        ("offsets.retention.minutes", OFFSETS_MINUTES, Grade::Warn),
        (
            "transaction.state.log.replication.factor",
            copies,
            Grade::Warn,
        ),
        ("offsets.topic.replication.factor", copies, Grade::Warn),
    ];
    let mut findings = Vec::new();
    let number = |name: &str| found.get(name).and_then(|value| value.parse::<i64>().ok());
    let mut odd = |grade, name: &str, is: &str, wanted: String| {
        findings.push(Finding::of(
            grade,
            what.clone(),
            format!("{name} is {is}"),
            wanted,
            "change it in server.properties, or with kafka-configs.sh --entity-type brokers",
        ));
    };
    for (name, at_least, grade) in least {
        if let Some(is) = number(name).filter(|is| *is < at_least) {
            odd(grade, name, &is.to_string(), format!("at least {at_least}"));
        }
    }
    if let Some(is) = number("group.min.session.timeout.ms").filter(|is| *is > SESSION_MS) {
        let name = "group.min.session.timeout.ms";
        odd(
            Grade::Bad,
            name,
            &is.to_string(),
            format!("at most {SESSION_MS}"),
        );
    }
    for name in [
        "auto.create.topics.enable",
        "unclean.leader.election.enable",
    ] {
        if found.get(name).is_some_and(|is| is == "true") {
            odd(Grade::Warn, name, "true", "false".to_owned());
        }
    }
    if findings.is_empty() {
        findings.push(Finding::good(
            what,
            "transactions, group, sizes and copies as needed",
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
