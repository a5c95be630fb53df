//! The schema registry, as far as it has to answer for what is read and written.

use super::{Finding, Grade, judge};
use crate::app::exit::Stop;
use crate::app::registry;
use crate::bus::Record;
use crate::config::{Config, Format, internal_topic};
use crate::event::avro::registered::Registered;
use crate::registry::Client;
use crate::task::fold::{self, FoldPlan};
use crate::value::Timestamp;

/// Does it answer, and does it know the subjects of our topics?
///
/// # Errors
/// When the system gives no event loop.
pub(super) fn examine(config: &Config, client: &Client) -> Result<Vec<Finding>, Stop> {
    let what = "schema registry";
    let subjects = match registry::wait(client.subjects())? {
        Ok(subjects) => subjects,
        Err(error) => {
            return Ok(vec![Finding::of(
                Grade::Bad,
                what,
                Stop::of(crate::app::exit::Exit::Kafka, &error).text,
                "an answer",
                "look at registry.url (with its path, such as /apis/ccompat/v7 of Apicurio), registry.user or registry.token, and registry.ca",
            )]);
        }
    };
    let mut findings = vec![Finding::good(
        what,
        format!("answers, {} subjects", subjects.len()),
    )];
    let read = config
        .inputs
        .iter()
        .map(|input| (input.format, input.topic.clone(), true));
    let written = config
        .channels
        .iter()
        .map(|(name, channel)| (channel.format, config.channel_topic(name), false));
    let log = (
        config.topics.decisions_format,
        internal_topic(&config.app.id, "decisions"),
        false,
    );
    for (format, topic, is_read) in read.chain(written).chain([log]) {
        if format != Format::Avro {
            continue;
        }
        let subject = format!("{topic}-value");
        findings.push(if subjects.contains(&subject) {
            Finding::good(what, format!("has the subject {subject}"))
        } else if !is_read {
            let found = format!("has no subject {subject} yet: registered at start");
            Finding::good(what, found)
        } else {
            Finding::of(
                Grade::Warn,
                what,
                format!("has no subject {subject}"),
                "there once a producer has registered its schema",
                "none to do if no producer has written yet, or if they name subjects in another way",
            )
        });
    }
    Ok(findings)
}

/// What the newest records of an input become, given what the registry tells of their schemas; which input, its records, how many partitions it has.
///
/// # Errors
/// When the system gives no event loop.
pub(super) fn sample(
    client: Option<&Client>,
    fold: &FoldPlan,
    (number, records, partitions): (usize, Vec<Record>, i32),
    now: Timestamp,
) -> Result<Vec<Finding>, Stop> {
    let spec = fold.inputs.get(number);
    let is_avro = spec.is_some_and(|spec| matches!(spec.format, fold::Format::Avro));
    let registered = match client.filter(|_| is_avro) {
        Some(client) => registry::schemas_of(client, &records, Registered::default())?,
        None => Ok(Registered::default()),
    };
    Ok(match registered {
        Ok(registered) => judge::sample(fold, number, &records, partitions, (&registered, now)),
        Err(error) => vec![Finding::of(
            Grade::Untold,
            format!("records of {}", spec.map_or("", |spec| &*spec.source.topic)),
            error.to_string(),
            "",
            "",
        )],
    })
}
