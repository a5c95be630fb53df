//! What a member does about partitions that a restart in the middle of a rebalance left without an owner.
//!
//! A cooperative rebalance moves a partition in two steps: its owner gives it up, and joins again so that it can be given on. A static
//! member that is killed or stopped between the two comes back under its name, and a group that looks stable hands it what the first
//! step gave it and calls for no second one: nobody reads what it was about to give up until the next rebalance, whenever that is.
//! So a member looks, from its start until it has seen every partition owned, and leaves and joins anew when one stays without.

use std::time::Duration;

use rdkafka::consumer::Consumer;

use super::{ANSWER, Member};
use crate::bus::{Failure, Polled};

/// The group is asked for its assignments at most that often.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// An owner gives up and joins again within that time, as a rule; one that does not only sees one more rebalance.
const PATIENCE: Duration = Duration::from_secs(3);
/// Nobody joins anew more often than that, however long another owner takes.
const MOST_PATIENCE: Duration = Duration::from_secs(60);

/// Whether every partition was seen to have an owner since this client joined.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    asked: Option<Duration>,
    /// Since when every answer showed a stable group that leaves a partition out.
    unowned_since: Option<Duration>,
    patience: Duration,
    seen_whole: bool,
}

impl Watch {
    /// Of the process's first client.
    pub(super) const fn new() -> Self {
        Self {
            asked: None,
            unowned_since: None,
            patience: PATIENCE,
            seen_whole: false,
        }
    }

    /// Of the client that joins anew: more patient than the one before.
    fn again(self) -> Self {
        Self {
            patience: self.patience.saturating_mul(2).min(MOST_PATIENCE),
            ..Self::new()
        }
    }

    /// Nobody looks any more: the member leaves, and what it polls meanwhile must not make it join anew.
    pub(super) const fn end(&mut self) {
        self.seen_whole = true;
    }

    /// After the group was asked at `now` whether every partition has an owner (`None`: no answer, or it is rebalancing). True when
    /// that has been denied for too long.
    fn told(&mut self, whole: Option<bool>, now: Duration) -> bool {
        self.asked = Some(now);
        self.seen_whole |= whole == Some(true);
        self.unowned_since = match whole {
            Some(false) => Some(self.unowned_since.unwrap_or(now)),
            Some(true) | None => None,
        };
        self.unowned_since
            .is_some_and(|since| now.saturating_sub(since) >= self.patience)
    }
}

impl Member {
    /// Joins anew when a partition stays without an owner; what is held is given up then.
    ///
    /// # Errors
    /// When no new client can be made.
    pub(super) fn look_for_unowned(&mut self) -> Result<Option<Polled>, Failure> {
        let now = self.clock.elapsed();
        let soon = |asked: Duration| now.saturating_sub(asked) < ASK_EVERY;
        if self.watch.seen_whole || !self.fence.is_standing() || self.watch.asked.is_some_and(soon)
        {
            return Ok(None);
        }
        let whole = self.group_is_whole();
        if !self.watch.told(whole, now) {
            return Ok(None);
        }
        tracing::warn!("the group leaves partitions without an owner: leaving it and joining anew");
        let next = self.watch.again();
        let partitions = self.anchors();
        if let Err(leaving) = self.leave() {
            tracing::debug!(error = %leaving, "the name stays listed until the session ends");
        }
        self.watch = next;
        self.begin_anew(partitions).map(Some)
    }

    /// Does every partition of the anchor have an owner? `None` without an answer, and while the group rebalances.
    fn group_is_whole(&self) -> Option<bool> {
        let consumer = self.consumer.as_ref()?;
        let anchor = self.anchor().ok()?;
        let groups = consumer
            .fetch_group_list(Some(&self.settings.app), ANSWER)
            .ok()?;
        let group = groups.groups().first()?;
        if group.state() != "Stable" {
            return None;
        }
        let metadata = consumer.fetch_metadata(Some(anchor), ANSWER).ok()?;
        let partitions = metadata.topics().first()?.partitions().len();
        let owned: Option<usize> = group
            .members()
            .iter()
            .map(|member| owned(anchor, member.assignment().unwrap_or_default()))
            .sum();
        Some(owned? >= partitions)
    }
}

/// How many partitions of `topic` a member's assignment holds (Kafka's `ConsumerProtocolAssignment`, any version); `None` when it is not
/// one. A member that was assigned nothing may have no bytes at all.
fn owned(topic: &str, assignment: &[u8]) -> Option<usize> {
    if assignment.is_empty() {
        return Some(0);
    }
    let (_version, rest) = assignment.split_first_chunk::<2>()?;
    let (topics, mut rest) = length(rest)?;
    let mut owned = 0;
    for _ in 0..topics {
        let (letters, after) = rest.split_first_chunk::<2>()?;
        let letters = usize::try_from(i16::from_be_bytes(*letters)).ok()?;
        let (name, after) = after.split_at_checked(letters)?;
        let (partitions, after) = length(after)?;
        let (_, after) = after.split_at_checked(partitions.checked_mul(4)?)?;
        if name == topic.as_bytes() {
            owned += partitions;
        }
        rest = after;
    }
    Some(owned)
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(i32::from_be_bytes(*length)).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_tells_how_many_partitions_of_the_anchor_it_holds() {
        let mut bytes = vec![0, 1, 0, 0, 0, 2];
        bytes.extend(b"\x00\x01a\x00\x00\x00\x01\x00\x00\x00\x07");
        bytes.extend(b"\x00\x02it\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03\xff\xff\xff\xff");
        assert_eq!(owned("it", &bytes), Some(2));
        assert_eq!(owned("a", &bytes), Some(1));
        assert_eq!(owned("other", &bytes), Some(0));
        assert_eq!(owned("it", &[]), Some(0));
        assert_eq!(owned("it", &bytes[..bytes.len() - 8]), None);
    }

    /// At which second, of answers one second apart, it would join anew.
    fn joins_anew(watch: &mut Watch, answers: &[Option<bool>]) -> Option<usize> {
        answers
            .iter()
            .zip(0..)
            .position(|(answer, second)| watch.told(*answer, Duration::from_secs(second)))
    }

    #[test]
    fn a_partition_without_an_owner_is_waited_for_and_longer_the_next_time() {
        let unowned = [Some(false); 10];
        let mut watch = Watch::new();
        assert_eq!(joins_anew(&mut watch, &unowned), Some(3));
        assert_eq!(joins_anew(&mut watch.again(), &unowned), Some(6));
    }

    #[test]
    fn a_group_that_rebalances_meanwhile_is_waited_for_anew_and_a_whole_one_ends_it() {
        let mut watch = Watch::new();
        let answers = [Some(false), Some(false), None, Some(false), Some(false)];
        assert_eq!(joins_anew(&mut watch, &answers), None);
        assert!(!watch.seen_whole);
        assert_eq!(joins_anew(&mut watch, &[Some(true)]), None);
        assert!(watch.seen_whole);
    }
}
