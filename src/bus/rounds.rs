//! Has everything been read that was there a moment ago, by whoever reads it (CK-1, engine.md §5)?
//!
//! An order may stand in a partition of another task, on its way to its customer through `<app>-events`. So once in a while somebody notes
//! where every input partition of the application ends, and looks until the group has committed all of it. What that led to, a hop on
//! `<app>-events`, is covered by the round after it, for that one began later.
//!
//! ```text
//!  round n:   ends noted at a ───────► committed, seen at b         round n+1: ends noted at c > b ─────► committed, seen at d
//!             what was appended before a was forwarded before b ───────────────► and taken in before d
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::NextOffset;

/// Findings that are remembered: a task that asked for the end of `<app>-events` a moment ago needs one of before.
const REMEMBERED: usize = 8;

/// What is still to be committed of one partition.
#[derive(Clone, Copy, Debug)]
struct Goal {
    /// `None` until its leader told it: what may stand there is not known.
    end: Option<NextOffset>,
    committed: NextOffset,
    /// When (elapsed) that last moved.
    moved: Duration,
}

impl Goal {
    fn reached(&self) -> bool {
        self.end.is_some_and(|end| self.committed >= end)
    }
}

/// Rounds over all input partitions of an application.
#[derive(Debug)]
pub struct Rounds<P> {
    goals: BTreeMap<P, Goal>,
    /// When the ends of the round at hand, and of the one before it, were asked for.
    asked: Option<Duration>,
    before: Option<Duration>,
    found: VecDeque<(Duration, Duration)>,
    /// A partition whose commits have not moved for so long is not waited for.
    max_hold: Duration,
}

impl<P: Ord + Copy> Rounds<P> {
    /// None was made; a partition that is stuck is waited for that long.
    #[must_use]
    pub const fn new(max_hold: Duration) -> Self {
        Self {
            goals: BTreeMap::new(),
            asked: None,
            before: None,
            found: VecDeque::new(),
            max_hold,
        }
    }

    /// What the group has committed, as of `now`.
    pub fn committed(
        &mut self,
        committed: impl IntoIterator<Item = (P, NextOffset)>,
        now: Duration,
    ) {
        for (partition, next) in committed {
            if let Some(goal) = self.goals.get_mut(&partition)
                && goal.committed != next
            {
                goal.committed = next;
                goal.moved = now;
            }
        }
    }

    /// Is the round at hand over, as of `now`, so that another may begin?
    pub fn is_over(&mut self, now: Duration) -> bool {
        let Some(asked) = self.asked else {
            return true;
        };
        let hold = self.max_hold;
        let done = |goal: &Goal| goal.reached() || now.saturating_sub(goal.moved) >= hold;
        if !self.goals.values().all(done) {
            return false;
        }
        if let Some(before) = self.before.replace(asked) {
            self.found.push_back((before, now));
            if self.found.len() > REMEMBERED {
                self.found.pop_front();
            }
        }
        self.asked = None;
        true
    }

    /// A round over these partitions begins at `now`, after the one before it was over. Where they end is asked for from now on.
    pub fn begin(&mut self, partitions: impl IntoIterator<Item = P>, now: Duration) {
        let goal = |partition: P| {
            let known = self.goals.get(&partition).copied();
            let goal = known.unwrap_or(Goal {
                end: None,
                committed: NextOffset::START,
                moved: now,
            });
            // What stood still while there was nothing to read was not stuck.
            let moved = if goal.reached() { now } else { goal.moved };
            let end = None;
            (partition, Goal { end, moved, ..goal })
        };
        self.goals = partitions.into_iter().map(goal).collect();
        self.asked = Some(now);
    }

    /// The partitions whose leaders did not tell yet where they end.
    #[must_use]
    pub fn untold(&self) -> Vec<P> {
        let untold = self.goals.iter().filter(|(_, goal)| goal.end.is_none());
        untold.map(|(partition, _)| *partition).collect()
    }

    /// Where partitions end, asked for after the round began.
    pub fn told(&mut self, ends: impl IntoIterator<Item = (P, NextOffset)>) {
        for (partition, end) in ends {
            if let Some(goal) = self.goals.get_mut(&partition) {
                goal.end.get_or_insert(end);
            }
        }
    }

    /// The latest moment before which everything is settled, of those that were found by `by`.
    #[must_use]
    pub fn settled(&self, by: Duration) -> Option<Duration> {
        let found = self.found.iter().rev();
        found
            .filter(|(_, seen)| *seen <= by)
            .map(|(before, _)| *before)
            .next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn begin(rounds: &mut Rounds<u8>, ends: &[(u8, i64)], now: Duration) {
        rounds.begin(ends.iter().map(|(partition, _)| *partition), now);
        let told = |(partition, end): &(u8, i64)| (*partition, NextOffset::at(*end));
        rounds.told(ends.iter().map(told));
    }

    #[test]
    fn a_moment_is_settled_when_what_it_led_to_is_committed_too() {
        let mut rounds = Rounds::new(at(60));
        assert!(rounds.is_over(at(0)));
        begin(&mut rounds, &[(0, 5), (1, 0)], at(1));
        rounds.committed([(0, NextOffset::at(4))], at(2));
        assert!(!rounds.is_over(at(2)));
        // The order at offset 4 is committed with what it forwards to partition 1.
        rounds.committed([(0, NextOffset::at(5))], at(3));
        assert!(rounds.is_over(at(3)));
        assert_eq!(
            rounds.settled(at(100)),
            None,
            "partition 1 may not have read it"
        );
        begin(&mut rounds, &[(0, 5), (1, 2)], at(4));
        rounds.committed([(1, NextOffset::at(1))], at(5));
        assert!(!rounds.is_over(at(5)));
        rounds.committed([(1, NextOffset::at(2))], at(6));
        assert!(rounds.is_over(at(6)));
        assert_eq!(rounds.settled(at(5)), None, "nobody knew it then");
        assert_eq!(rounds.settled(at(6)), Some(at(1)));
    }

    #[test]
    fn a_partition_that_is_stuck_is_waited_for_a_while_only() {
        let mut rounds = Rounds::new(at(60));
        begin(&mut rounds, &[(0, 5)], at(1));
        assert!(!rounds.is_over(at(60)));
        assert!(rounds.is_over(at(61)));
    }

    #[test]
    fn a_partition_whose_end_nobody_tells_may_hold_an_order() {
        let mut rounds = Rounds::new(at(60));
        rounds.begin([0_u8, 1], at(1));
        rounds.told([(0, NextOffset::at(5))]);
        rounds.committed([(0, NextOffset::at(5)), (1, NextOffset::at(7))], at(2));
        assert_eq!(rounds.untold(), [1]);
        assert!(!rounds.is_over(at(2)), "partition 1 may end beyond 7");
        rounds.told([(1, NextOffset::at(8))]);
        assert!(rounds.untold().is_empty() && !rounds.is_over(at(3)));
        rounds.committed([(1, NextOffset::at(8))], at(4));
        assert!(rounds.is_over(at(4)));
        // The next round asks anew: the order may have come since.
        rounds.begin([0, 1], at(4));
        assert_eq!(rounds.untold(), [0, 1]);
        assert!(!rounds.is_over(at(63)) && rounds.is_over(at(64)));
    }
}
