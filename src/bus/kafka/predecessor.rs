//! Ends what a former owner left open when it died in the middle of a transaction. The broker would do it too, but it looks for transactions
//! that are older than their time-out only every ten seconds; until then nobody learns how far the changelog and the offsets stand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::failure::{Call, failure};
use super::owner::committers;
use super::producer::Transactional;
use super::{Quiet, Settings};
use crate::bus::{Failure, NextOffset, Turn};
use crate::clock::Clock;

/// A transaction of somebody who lives ends within that time.
const LEFT_OPEN: Duration = Duration::from_millis(300);
/// Who still stands there is looked after again: nobody may have answered, or the owner may have died only then.
const AGAIN: Duration = Duration::from_secs(3);
/// The bound of one request.
const ANSWER: Duration = Duration::from_secs(2);

/// One partition that was taken over and does not run yet.
struct Wait {
    /// Position in its changelog; `None` while its committed offsets are asked for.
    at: Option<NextOffset>,
    /// When (elapsed) its former owner is to be looked after.
    due: Duration,
}

/// The partitions that wait to be restored, and for how long each has stood where it stands.
#[derive(Default)]
pub(super) struct Waits(BTreeMap<i32, Wait>);

impl Waits {
    /// A partition stands there at `now` (elapsed). True when it has stood there for so long that a transaction may have been left open, and
    /// again later.
    pub(super) fn stands(&mut self, partition: i32, at: Option<NextOffset>, now: Duration) -> bool {
        let due = now.saturating_add(LEFT_OPEN);
        let wait = self.0.entry(partition).or_insert(Wait { at, due });
        if wait.at != at {
            *wait = Wait { at, due };
        }
        let is_due = now >= wait.due;
        if is_due {
            wait.due = now.saturating_add(AGAIN);
        }
        is_due
    }

    /// A partition waits no longer.
    pub(super) fn over(&mut self, partition: i32) {
        self.0.remove(&partition);
    }
}

/// Ends, in a thread of its own, what the former owners of these partitions left open, unless they are members: those end their own. One
/// that joins again in the same moment may lose a producer by it, which it makes anew; its batch is read again.
pub(super) fn end_transactions(settings: &Settings, clock: &Arc<dyn Clock>, partitions: Vec<i32>) {
    let (settings, clock) = (settings.clone(), Arc::clone(clock));
    let spawned = thread::Builder::new()
        .name("predecessor".into())
        .spawn(move || {
            if let Err(failed) = end_of_the_dead(&settings, &clock, &partitions) {
                left(&failed);
            }
        });
    if let Err(error) = spawned {
        tracing::warn!(%error, "no thread to end a former owner's transaction in");
    }
}

fn left(failed: &Failure) {
    tracing::warn!(error = %failed, "what a former owner may have left open is left to the broker's time-out");
}

fn end_of_the_dead(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    partitions: &[i32],
) -> Result<(), Failure> {
    let former: BTreeSet<String> = committers(settings, partitions)?
        .into_iter()
        .map(|committer| committer.client_id)
        .collect();
    let members = members(settings)?;
    let dead: Vec<Settings> = former
        .difference(&members)
        .filter_map(|client_id| settings.of_worker(client_id))
        .collect();
    thread::scope(|scope| {
        for dead in &dead {
            for turn in [Turn::A, Turn::B] {
                scope.spawn(move || end(dead, turn, clock));
            }
        }
    });
    Ok(())
}

/// A new incarnation of its producer, for no more than its beginning: by that the broker ends what the one before left open, and refuses
/// whatever it may still send.
fn end(dead: &Settings, turn: Turn, clock: &Arc<dyn Clock>) {
    let id = dead.transactional_id(turn);
    match Transactional::new(dead, turn, Arc::clone(clock)).make_within(ANSWER) {
        Ok(()) => tracing::info!(id, "ended what a former owner may have left open"),
        Err(failed) => left(&failed),
    }
}

/// The client ids of the group's members, ourselves among them.
fn members(settings: &Settings) -> Result<BTreeSet<String>, Failure> {
    let attempted = || format!("members of group {}", settings.app);
    let client: BaseConsumer<Quiet> =
        BaseConsumer::from_config_and_context(&settings.group_asker(), Quiet)
            .map_err(|error| failure(Call::Connect, attempted(), &error))?;
    let groups = client
        .fetch_group_list(Some(&settings.app), ANSWER)
        .map_err(|error| failure(Call::Ask, attempted(), &error))?;
    let members = groups.groups().iter().flat_map(|group| group.members());
    Ok(members
        .map(|member| member.client_id().to_owned())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn only_who_stands_still_is_due() {
        let mut waits = Waits::default();
        let moved = |offset| Some(NextOffset::at(offset));
        assert!(!waits.stands(3, moved(7), at(0)));
        assert!(!waits.stands(3, moved(8), at(200)));
        assert!(!waits.stands(3, moved(8), at(499)));
        assert!(waits.stands(3, moved(8), at(500)));
        assert!(!waits.stands(3, moved(8), at(3_400)));
        assert!(waits.stands(3, moved(8), at(3_500)));
        assert!(!waits.stands(4, None, at(5_000)));
        waits.over(3);
        assert!(!waits.stands(3, None, at(5_200)));
        assert!(waits.stands(3, None, at(5_500)));
    }
}
