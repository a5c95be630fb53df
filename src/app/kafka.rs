//! From the configuration to the clients' settings and the topics that must be there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::exit::{Exit, Stop};
use crate::bus::Sources;
use crate::bus::kafka::Settings;
use crate::bus::kafka::admin::{Admin, Difference, TopicProblem, TopicSpec, internal_topics};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, Keying, internal_topic};
use crate::plan;
use crate::value::Span;

/// What the clients of one worker are made of. Reads the files that hold secrets.
///
/// # Errors
/// When such a file cannot be read.
pub fn settings(config: &Config, worker: u16) -> Result<Settings, Stop> {
    let app = &config.app;
    let mut settings = Settings::new(&config.kafka.bootstrap, &app.id, &app.instance, worker);
    settings.sources = Sources::direct(&plan::input_topics(config));
    settings.max_hold = duration(config.app.max_hold);
    settings.address = config.http.customers_address();
    for (name, value) in &config.kafka.properties.0 {
        let value = value.reveal().map_err(|error| {
            Stop::new(
                Exit::Config,
                format!("kafka.properties.{name}: cannot read its file: {error}"),
            )
        })?;
        settings.properties.insert(name.clone(), value);
    }
    Ok(settings)
}

fn duration(span: Span) -> Duration {
    Duration::from_millis(u64::try_from(span.millis()).unwrap_or_default())
}

/// How many partitions the topics have that go through intake.
///
/// # Errors
/// When the brokers do not tell.
pub fn intake_counts(config: &Config, admin: &Admin) -> Result<BTreeMap<Arc<str>, i32>, Stop> {
    let mut counts = BTreeMap::new();
    for topic in plan::intake_topics(config) {
        if let Some(count) = admin.partitions(topic)? {
            counts.insert(topic.into(), count);
        }
    }
    Ok(counts)
}

/// The topics that the application reads and does not write, as they should be.
#[must_use]
pub fn input_topics(config: &Config) -> Vec<TopicSpec> {
    let inputs = topics(config).into_iter();
    inputs
        .filter(|spec| config.inputs.iter().any(|input| input.topic == spec.name))
        .collect()
}

/// Every topic that the application touches, as it should be.
#[must_use]
pub fn topics(config: &Config) -> Vec<TopicSpec> {
    let wanted = &config.topics;
    let millis = |span: crate::value::Span| span.millis().to_string();
    let mut specs = internal_topics(&config.app.id, wanted.partitions);
    let retention = BTreeMap::from([
        (
            format!("{}-decisions", config.app.id),
            millis(wanted.decisions_retention),
        ),
        (
            format!("{}-dlq", config.app.id),
            millis(wanted.dead_letters_retention),
        ),
    ]);
    for spec in &mut specs {
        if let Some(kept) = retention.get(&spec.name) {
            spec.settings
                .insert("retention.ms".to_owned(), kept.clone());
        }
    }
    for name in config.channels.keys() {
        specs.push(TopicSpec::outbound(
            &config.channel_topic(name),
            wanted.partitions,
        ));
    }
    for spec in &mut specs {
        let least = wanted.min_insync_replicas.to_string();
        spec.settings
            .insert("min.insync.replicas".to_owned(), least);
    }
    for input in &config.inputs {
        let mut spec = TopicSpec::input(&input.topic, wanted.partitions);
        spec.any_count = input.key == Keying::Any;
        if wanted.create_inputs {
            spec.ours = true;
            // `feed` stamps event time: records of last year would be deleted at the next look.
            spec.settings
                .insert("retention.ms".to_owned(), "-1".to_owned());
        }
        specs.push(spec);
    }
    for spec in &mut specs {
        spec.replication = Some(wanted.replication_factor);
    }
    specs
}

/// How long the changelog keeps tombstones, as the broker has it: a store that was away for half of that is not trusted.
///
/// # Errors
/// When the broker does not tell.
pub fn delete_retention(config: &Config, admin: &Admin) -> Result<Span, Stop> {
    let changelog = internal_topic(&config.app.id, "profiles-changelog");
    let settings = admin.settings(&[&changelog])?;
    settings
        .get(&changelog)
        .and_then(|settings| settings.get("delete.retention.ms")?.parse().ok())
        .map(Span::from_millis)
        .ok_or_else(|| {
            Stop::new(
                Exit::Kafka,
                format!("the broker does not tell `delete.retention.ms` of {changelog}"),
            )
        })
}

/// How long a broker may take to tell of a topic that was just created.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// Creates the topics of ours that are missing; gives their names, and what still differs afterwards.
///
/// # Errors
/// When the brokers refuse or do not answer.
pub fn create_topics(
    wanted: &[TopicSpec],
    admin: &Admin,
) -> Result<(Vec<String>, Vec<TopicProblem>), Stop> {
    let problems = admin.plan_topics(wanted)?;
    let created = admin.apply_topics(&problems)?;
    let clock = SystemClock::new();
    loop {
        let left = admin.plan_topics(wanted)?;
        // The controller knows a new topic at once, the broker that answers us a little later.
        let unheard = left.iter().any(|problem| {
            problem.difference == Difference::Missing && created.contains(&problem.topic.name)
        });
        if !unheard || clock.elapsed() > TOLD_WITHIN {
            return Ok((created, left));
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Creates what is missing when the configuration allows it, and refuses to go on with topics that cannot work.
///
/// # Errors
/// With every topic that is missing or has another number of partitions.
pub fn ready_topics(wanted: &[TopicSpec], admin: &Admin, create: bool) -> Result<(), Stop> {
    let mut problems = admin.plan_topics(wanted)?;
    // What others have to mend first: topics created beside a wrong number of partitions would have it too.
    let foreign = problems
        .iter()
        .any(|problem| problem.stops() && !problem.topic.ours);
    if create && !foreign && problems.iter().any(TopicProblem::stops) {
        let (created, left) = create_topics(wanted, admin)?;
        for name in created {
            tracing::info!(topic = name, "topic created");
        }
        problems = left;
    }
    let (stopping, odd): (Vec<_>, Vec<_>) =
        problems.into_iter().partition(|problem| problem.stops());
    for problem in odd {
        tracing::warn!("{problem}");
    }
    if stopping.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = stopping.iter().map(ToString::to_string).collect();
    Err(Stop::new(Exit::Config, lines.join("\n")))
}
