//! One task: one partition number, with that partition of every input, its store, its clock and its timers (engine.md §1).
//!
//! ```text
//!              open store, compare with the changelog's ends
//!   assigned ──► Opening ──► Restoring ──► Settling ──► Running ──► closed (revoked, stopped)
//!                   ▲            ▲            ▲            │
//!                   │            │            └── abort ───┤   staged work dropped, positions asked anew
//!                   │            └── outcome unknown ──────┤   the tail of the changelog tells what happened
//!                   └── store unusable: destroyed ─────────┘   rebuilt from the changelog
//! ```
//!
//! [`fold`] turns records and due timers into staged work, without any bus; [`merge`] orders the inputs by record time where the
//! clock is the records'; [`commit`] renders what a batch staged; [`restore`] brings the store up to the changelog's end.

use std::time::Duration;

use crate::bus::{InputId, NextOffset, Position};
use crate::event::avro::registered::SchemaId;
use crate::value::{Span, Timestamp};

pub mod commit;
pub mod fold;
pub mod merge;
pub mod restore;
mod versions;

use fold::{ClockKind, Fold};
use merge::Merge;

/// Where a task stands in its life. Restoring never blocks the poll loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The store is open; the changelog's ends are not known yet.
    Opening,
    /// Reading the changelog until `target` (its high watermark) has been passed.
    Restoring {
        /// The high watermark at the start of the restore: open transactions of a dead peer included.
        target: NextOffset,
        /// Where reading stands.
        at: NextOffset,
    },
    /// The store is complete; waiting for the stable committed offsets.
    Settling,
    /// Reading, deciding.
    Running,
    /// Too much of its input is poison: reads nothing more, offsets stay, a person must look.
    Poisoned,
}

/// One partition number and everything that belongs to it.
pub struct Task {
    /// The partition number.
    pub partition: i32,
    /// Where it stands.
    pub phase: Phase,
    /// What decides.
    pub fold: Fold,
    /// Present when the clock is the records'.
    pub merge: Option<Merge>,
    /// Next offset to *process*, by input; `None` until settled.
    pub positions: Vec<Option<NextOffset>>,
    /// Inputs whose position moved since the last commit.
    pub moved: Vec<bool>,
    /// The next commit states every position (first commit after a start; offsets of topics that nobody subscribes to expire).
    pub announce: bool,
    /// When (elapsed time) all positions were last stated.
    pub announced_at: Duration,
    /// Reach of each input against its end, for CK-1.
    pub reach: Vec<Reach>,
    /// The circuit breaker.
    pub poison: Poison,
    /// The breaker as it stood at the last commit: what is read again after an abort must not count twice.
    poison_committed: Poison,
    /// Up to where its changelog was read or written, as far as this process knows.
    pub changelog: Option<NextOffset>,
    /// Positions were compared with the log's ends since the store was opened.
    pub checked: bool,
    /// The store was already rebuilt once since the assignment.
    pub rebuilt: bool,
    /// Elapsed time of the assignment.
    pub assigned_at: Duration,
    /// Inputs that are paused because enough of them waits in the merge, and where they read on.
    pub paused: Vec<(InputId, NextOffset)>,
    /// Inputs that stand still before a record of a schema that is not known yet.
    pub waiting: Vec<Waiting>,
    /// Timestamp of the newest record read.
    pub last_record_at: Option<Timestamp>,
    /// Wall time since when hand-overs are held back (CK-1).
    pub behind_since: Option<Timestamp>,
}

/// An input partition that stands still before a record whose schema is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Which input.
    pub input: InputId,
    /// The record that needs the schema, where reading goes on.
    pub at: NextOffset,
    /// The schema.
    pub schema: SchemaId,
}

/// An end of an input that was asked for longer ago says nothing any more (CK-1).
pub const FRESH: Duration = Duration::from_secs(1);

/// What stands in partitions of other tasks is waited for only when it was appended longer ago: so long it may take, where all keep up,
/// until everything is committed, found to be, and handed on. It is twice [`FRESH`] for each of two rounds, and one.
pub const SETTLED: Duration = Duration::from_secs(5);

/// CK-1 beyond the own inputs: what was due until then may be handed over, when everything appended before `settled` was read, wherever
/// it stood. `None`: nothing may.
#[must_use]
pub fn settled_to(settled: Option<Duration>, now: Duration, wall: Timestamp) -> Option<Timestamp> {
    let behind = now.saturating_sub(settled?).saturating_sub(SETTLED);
    let behind = i64::try_from(behind.as_millis()).unwrap_or(i64::MAX);
    Some(wall.minus(Span::from_millis(behind)))
}

/// How one input stands against its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Read to the end that it had a moment ago.
    pub at_end: bool,
    /// Last offset seen delivered.
    pub delivered: i64,
    /// Elapsed time when it was last at its end or moved.
    pub alive_at: Duration,
    /// The end that is to be reached next, and when it was asked for.
    pub target: Option<(NextOffset, Duration)>,
    /// When the latest end that is reached was asked for: everything appended before was read.
    pub caught: Option<Duration>,
}

impl Reach {
    /// Takes in how far the input was read at `now`, and the end that it had when somebody last asked, `age` ago.
    pub fn look(&mut self, delivered: NextOffset, end: NextOffset, age: Duration, now: Duration) {
        let asked = now.saturating_sub(age);
        if let Some((wanted, at)) = self.target
            && delivered >= wanted
        {
            self.caught = self.caught.max(Some(at));
            self.target = None;
        }
        if delivered >= end {
            self.caught = self.caught.max(Some(asked));
            self.target = None;
        } else if self.target.is_none() {
            self.target = Some((end, asked));
        }
        self.at_end = age <= FRESH && delivered >= end;
        if self.at_end || delivered.get() != self.delivered {
            self.delivered = delivered.get();
            self.alive_at = now;
        }
    }
}

/// The circuit breaker: a bad deploy upstream never drains a topic into the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poison {
    limit: PoisonLimit,
    records: u32,
    dead: u32,
}

/// How much poison is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoisonLimit {
    /// Records that are looked at together.
    pub window: u32,
    /// Dead letters that a window may hold; one more stops the task.
    pub most: u32,
}

impl Poison {
    /// A breaker that has seen nothing.
    #[must_use]
    pub const fn new(limit: PoisonLimit) -> Self {
        Self {
            limit,
            records: 0,
            dead: 0,
        }
    }

    /// Counts one record; true when its window holds too many dead letters.
    pub fn count(&mut self, dead: bool) -> bool {
        if self.records >= self.limit.window {
            *self = Self::new(self.limit);
        }
        self.records += 1;
        self.dead += u32::from(dead);
        self.dead > self.limit.most
    }
}

impl Task {
    /// A task that was just assigned, over its opened store.
    #[must_use]
    pub fn new(partition: i32, fold: Fold, poison: PoisonLimit, now: Duration) -> Self {
        let inputs = fold.shared().inputs.len();
        let by_record_time = fold.shared().clock == ClockKind::Records;
        Self {
            partition,
            phase: Phase::Opening,
            fold,
            merge: by_record_time.then(|| Merge::new(inputs)),
            positions: vec![None; inputs],
            moved: vec![false; inputs],
            announce: true,
            announced_at: now,
            reach: vec![
                Reach {
                    alive_at: now,
                    ..Reach::default()
                };
                inputs
            ],
            poison: Poison::new(poison),
            poison_committed: Poison::new(poison),
            changelog: None,
            checked: false,
            rebuilt: false,
            assigned_at: now,
            paused: Vec::new(),
            waiting: Vec::new(),
            last_record_at: None,
            behind_since: None,
        }
    }

    /// Settled: reads on from here. The first commit states every position.
    pub fn begin(&mut self, positions: &[&Position], now: Duration) {
        for position in positions {
            if let Some(at) = self.positions.get_mut(usize::from(position.input.0)) {
                *at = Some(position.next);
            }
        }
        let shared = std::sync::Arc::clone(self.fold.shared());
        let read = shared.inputs.iter().zip(&self.positions);
        let read = read.filter_map(|(input, at)| at.map(|_| input.source.name()));
        self.fold.reads(read);
        self.phase = Phase::Running;
        self.announce = true;
        self.reach.fill(Reach {
            alive_at: now,
            ..Reach::default()
        });
    }

    /// The changelog records of a batch landed before `next`; `None`: it had none.
    ///
    /// # Errors
    /// In words, when they landed where the changelog had been before: it is another one, and does not hold what the store does.
    pub fn landed(&mut self, next: Option<NextOffset>) -> Result<(), String> {
        let Some(next) = next else {
            return Ok(());
        };
        if let Some(known) = self.changelog.replace(next)
            && next <= known
        {
            return Err(format!(
                "the changelog of task {} took records at offset {}, but was read or written up to {} before: the topic was deleted or \
                 re-created while this ran. The state directory holds what it held; restore the topic, or stop every instance and begin \
                 anew with `tidegate reset`",
                self.partition,
                next.get() - 1,
                known.get()
            ));
        }
        Ok(())
    }

    /// The batch is durable.
    pub fn committed(&mut self, now: Duration) {
        self.fold.committed();
        self.poison_committed = self.poison;
        self.moved.fill(false);
        if self.announce {
            self.announce = false;
            self.announced_at = now;
        }
    }

    /// Marks the record of `input` before `next` as processed.
    ///
    /// # Panics
    /// EO-1: when positions go back.
    pub fn processed(&mut self, input: InputId, next: NextOffset) {
        let index = usize::from(input.0);
        if let (Some(position), Some(moved)) =
            (self.positions.get_mut(index), self.moved.get_mut(index))
        {
            assert!(
                position.is_none_or(|at| at <= next),
                "EO-1: task {} went back in input {index}",
                self.partition
            );
            *position = Some(next);
            *moved = true;
        }
    }

    /// The positions that the next transaction must carry: what moved, everything when announcing, and never an empty list.
    #[must_use]
    pub fn positions_to_commit(&self) -> Vec<Position> {
        let position = |index: usize| {
            let next = *self.positions.get(index)?.as_ref()?;
            let input = InputId(u16::try_from(index).ok()?);
            Some(Position {
                input,
                partition: self.partition,
                next,
            })
        };
        let mut positions: Vec<Position> = (0..self.positions.len())
            .filter(|index| self.announce || self.moved.get(*index).copied().unwrap_or(false))
            .filter_map(position)
            .collect();
        if positions.is_empty() {
            // A batch of timers only: without any offset the broker would not check our generation, and a zombie would commit.
            positions.extend(position(0));
        }
        positions
    }

    /// How far `input` was read, given what the bus handed out: not beyond a record that waits for its schema.
    #[must_use]
    pub fn read_to(&self, input: InputId, delivered: NextOffset) -> NextOffset {
        let mut waiting = self.waiting.iter();
        waiting
            .find(|waiting| waiting.input == input)
            .map_or(delivered, |waiting| waiting.at.min(delivered))
    }

    /// Is there anything that a commit would make durable?
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.fold.has_staged()
            || self.announce && self.phase == Phase::Running
            || self.moved.contains(&true)
    }

    /// Drops everything that is staged and not committed (ST-3), and what was read ahead.
    pub fn discard(&mut self) {
        self.fold.discard();
        self.poison = self.poison_committed;
        self.moved.fill(false);
        self.positions.fill(None);
        self.announce = true;
        self.paused.clear();
        self.waiting.clear();
        if let Some(merge) = &mut self.merge {
            merge.clear();
        }
    }

    /// When (elapsed) the end of `<app>-events` was asked for up to which it was read.
    #[must_use]
    pub fn anchor_read_at(&self) -> Option<Duration> {
        self.reach.first().and_then(|reach| reach.caught)
    }

    /// CK-1: what was due until then may be handed over, by a clock that says `wall` at elapsed time `now`; `None`: nothing may.
    ///
    /// What is due at a moment may leave when every input was read to the end that it had then, or up to a second before. So a producer
    /// that always has a transaction open delays contacts by its transactions, not for ever. An input that neither moves nor is at its
    /// end holds them at most `max_hold`.
    #[must_use]
    pub fn caught_up_to(
        &self,
        now: Duration,
        wall: Timestamp,
        max_hold: Duration,
    ) -> Option<Timestamp> {
        let mut until = wall;
        // A lane of an input of which this task has no partition is none.
        let read = self.reach.iter().zip(&self.positions);
        for (reach, _) in read.filter(|(_, position)| position.is_some()) {
            if reach.at_end || now.saturating_sub(reach.alive_at) >= max_hold {
                continue;
            }
            let behind = now.saturating_sub(reach.caught?).saturating_sub(FRESH);
            let behind = i64::try_from(behind.as_millis()).unwrap_or(i64::MAX);
            until = until.min(wall.minus(Span::from_millis(behind)));
        }
        Some(until)
    }
}
