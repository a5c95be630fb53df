//! What `doctor` makes of the answers: plain values in, findings out.

use std::collections::BTreeMap;

use super::{Finding, Grade};
use crate::bus::Record;
use crate::bus::kafka::admin::{Difference, TopicProblem};
use crate::config::Config;
use crate::event::avro::registered::Registered;
use crate::event::mapping::Read;
use crate::partitioner;
use crate::task::fold::{self, FoldPlan, MARK_HEADER};
use crate::value::{Span, Timestamp};

/// What we ask of brokers: our transactions' time-out, our session's, the largest changelog record, the pause between two
/// statements of an idle task's offsets with room.
const TRANSACTION_MS: i64 = 5_000;
const SESSION_MS: i64 = 6_000;
const RECORD_BYTES: i64 = 1_048_588;
const OFFSETS_MINUTES: i64 = 2 * 24 * 60;
/// Since then a broker checks the group's generation in a transaction (KIP-447), on which the fencing of zombies rests.
const LEAST_VERSION: (u32, u32) = (2, 5);

/// The text of a problem has the remedy behind its first semicolon.
pub(super) fn topic(problem: &TopicProblem, create: bool) -> Finding {
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
pub(super) fn sample(
    fold: &FoldPlan,
    input: usize,
    records: &[Record],
    partitions: i32,
    (registered, now): (&Registered, Timestamp),
) -> Vec<Finding> {
    let Some(spec) = fold.inputs.get(input) else {
        return Vec::new();
    };
    let what = format!("records of {}", spec.source.topic);
    // What `feed --until` leaves behind is no event.
    let is_mark = |record: &&Record| record.headers.iter().any(|(name, _)| name == MARK_HEADER);
    let records: Vec<&Record> = records.iter().filter(|record| !is_mark(record)).collect();
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
    for record in &records {
        match fold::decode(spec, record, fold, registered) {
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
    if spec.source.lane.is_none() {
        findings.push(keys(&what, &records, partitions));
    }
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
fn keys(what: &str, records: &[&Record], partitions: i32) -> Finding {
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
        "set `partitioner=murmur2_random` in producers built on librdkafka; read an input that is keyed otherwise with `key: any`",
    )
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

pub(super) fn retention(
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
pub(super) fn broker(
    config: &Config,
    broker: i32,
    found: &BTreeMap<String, String>,
) -> Vec<Finding> {
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
    let (version, old) = version(found);
    if old {
        let (major, minor) = LEAST_VERSION;
        findings.push(Finding::of(
            Grade::Bad,
            what.clone(),
            version.clone(),
            format!("{major}.{minor} or later"),
            "upgrade it, or raise its inter.broker.protocol.version: an older one lets a zombie commit",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::good(
            what,
            format!("{version}; transactions, group, sizes and copies as needed"),
        ));
    }
    findings
}

/// Which Kafka a broker speaks, in words, as far as its settings tell, and whether that is too old.
fn version(found: &BTreeMap<String, String>) -> (String, bool) {
    let Some(spoken) = found.get("inter.broker.protocol.version") else {
        // The setting went with 4.0; this one came shortly before and stays.
        let new = found.contains_key("group.coordinator.rebalance.protocols");
        let words = if new {
            "Kafka 4.0 or later"
        } else {
            "tells no version"
        };
        return (words.to_owned(), false);
    };
    // `2.8-IV1`, `3.9`.
    let mut numbers = spoken.split(['.', '-']).map(str::parse::<u32>);
    let old = match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < LEAST_VERSION,
        _ => false,
    };
    (format!("speaks Kafka {spoken}"), old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brokers_version_is_told_and_an_old_one_is_too_old() {
        let of = |name: &str, value: &str| version(&BTreeMap::from([(name.into(), value.into())]));
        let spoken = |value| of("inter.broker.protocol.version", value);
        assert_eq!(spoken("2.4-IV1"), ("speaks Kafka 2.4-IV1".into(), true));
        assert_eq!(spoken("2.5"), ("speaks Kafka 2.5".into(), false));
        assert_eq!(spoken("3.9-IV0"), ("speaks Kafka 3.9-IV0".into(), false));
        assert_eq!(spoken("0.11.0"), ("speaks Kafka 0.11.0".into(), true));
        let new = of("group.coordinator.rebalance.protocols", "classic,consumer");
        assert_eq!(new, ("Kafka 4.0 or later".into(), false));
        assert_eq!(of("log.dirs", "/"), ("tells no version".into(), false));
    }
}
