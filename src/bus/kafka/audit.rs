//! Reading a changelog for `state verify`, and the decision log for `explain`, from outside: no group member, no producer, so a running instance does not notice.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::Settings;
use super::changelog::ChangelogReader;
use super::failure::{Call, failure};
use crate::bus::{ChangelogRecord, Failure, NextOffset, Remedy};
use crate::clock::Clock;

/// Silence for so long means that the rest will not come.
const SILENCE: Duration = Duration::from_secs(20);
const ANSWER: Duration = Duration::from_secs(10);

/// Calls `each` with every committed record of a changelog partition before `until`, in order.
///
/// # Errors
/// `Retry` when the broker does not answer; `Fatal` when the changelog ends before `until`.
pub fn read_changelog(
    settings: &Settings,
    clock: &dyn Clock,
    partition: i32,
    until: NextOffset,
    each: &mut dyn FnMut(ChangelogRecord),
) -> Result<(), Failure> {
    let attempted = format!("read {} partition {partition}", settings.changelog);
    let asker: BaseConsumer = settings
        .asker("read_uncommitted")
        .create()
        .map_err(|error| failure(Call::Connect, "make the client for watermarks", &error))?;
    let (low, high) = asker
        .fetch_watermarks(&settings.changelog, partition, ANSWER)
        .map_err(|error| failure(Call::Ask, attempted.as_str(), &error))?;
    if high < until.get() {
        let code = format!("it ends at {high}, the store says {}", until.get());
        return Err(Failure::new(attempted, code, Remedy::Fatal));
    }
    if low >= until.get() {
        return Ok(());
    }
    let mut reader = ChangelogReader::new(settings);
    reader.open(partition, NextOffset::at(low))?;
    let (mut heard, mut reached) = (clock.elapsed(), None);
    loop {
        let mut at = reached;
        for (_, chunk) in reader.read(Duration::from_millis(200))? {
            at = at.max(chunk.position);
            for record in chunk.records {
                if record.offset < until.get() {
                    each(record);
                }
            }
        }
        if at.is_some_and(|at| at >= until) {
            return reader.close(partition);
        }
        if at > reached {
            (heard, reached) = (clock.elapsed(), at);
        } else if clock.elapsed().saturating_sub(heard) > SILENCE {
            return Err(Failure::new(attempted, "no answer", Remedy::Retry));
        }
    }
}

/// Calls `each` with every committed value of one partition of the decision log, in order, up to the end that it has now.
///
/// # Errors
/// `Retry` when the broker does not answer; `Fatal` when it refuses.
pub fn read_decisions(
    settings: &Settings,
    clock: &dyn Clock,
    topic: &str,
    partition: i32,
    each: &mut dyn FnMut(&[u8]),
) -> Result<(), Failure> {
    // Read as a changelog is: by hand, as no member of any group.
    let mut settings = settings.clone();
    settings.changelog = topic.into();
    let asker: BaseConsumer = settings
        .asker("read_committed")
        .create()
        .map_err(|error| failure(Call::Connect, "make the client for watermarks", &error))?;
    // Of a read_committed client the end is that of what is committed: an open transaction is not waited for.
    let (_, end) = asker
        .fetch_watermarks(topic, partition, ANSWER)
        .map_err(|error| {
            let attempted = format!("ask for the end of {topic} partition {partition}");
            failure(Call::Ask, attempted, &error)
        })?;
    let until = NextOffset::at(end);
    read_changelog(&settings, clock, partition, until, &mut |record| {
        if let Some(value) = &record.value {
            each(value);
        }
    })
}
