//! What the worker does when a transaction breaks: one exhaustive match over the remedy, and where it broke (engine.md §2, §3).

use super::{Halt, RETRY_AFTER, Worker};
use crate::bus::{Remedy, Turn};
use crate::store::StoreError;
use crate::task::Phase;
use crate::task::commit::Broken;
use crate::telemetry::Remade;

/// A disk that damages a store more often than that is not to be written on.
const MOST_DAMAGES: u32 = 3;

impl Worker {
    /// Acts on a broken transaction. Afterwards nothing is staged, and every task reads on from what is really committed.
    pub(super) fn broken_at(&mut self, turn: Turn, broken: Broken) -> Result<(), Halt> {
        let (failure, at_commit) = match broken {
            Broken::Before(failure) => (failure, false),
            Broken::At(failure) => (failure, true),
        };
        let remedy = match (failure.remedy, at_commit) {
            // Whether a commit that only timed out took place is for the broker to say: repeating or aborting it would guess.
            (Remedy::Retry, true) => Remedy::Remake,
            (Remedy::Retry, false) => Remedy::Abort,
            (remedy, _) => remedy,
        };
        tracing::warn!(error = %failure, ?remedy, at_commit, "transaction broken");
        match remedy {
            Remedy::Abort | Remedy::Retry => {
                self.telemetry.aborted();
                self.abort(turn);
            }
            Remedy::Fenced => {
                self.telemetry.fenced();
                self.abort(turn);
            }
            Remedy::Remake => {
                let why = if at_commit {
                    Remade::UnknownOutcome
                } else {
                    Remade::Fenced
                };
                if at_commit {
                    self.telemetry.unknown_outcome();
                }
                self.mark_broken(turn, why);
                self.discard_all();
                self.catch_up();
            }
            Remedy::Fatal => return Err(Halt::Bus(failure)),
        }
        Ok(())
    }

    /// Nothing of the transaction happened: drop it, read again from the committed positions.
    fn abort(&mut self, turn: Turn) {
        if let Err(failure) = self.bus.abort(turn) {
            tracing::warn!(error = %failure, "abort failed: the producer is made anew");
            self.mark_broken(turn, Remade::Fenced);
        }
        self.discard_all();
        for task in self
            .tasks
            .values_mut()
            .filter(|task| task.phase == Phase::Running)
        {
            task.phase = Phase::Settling;
        }
        self.hold_until = self.clock.elapsed() + RETRY_AFTER;
    }

    /// The store may be behind the changelog: read its tail before asking for the committed positions.
    fn catch_up(&mut self) {
        for task in self
            .tasks
            .values_mut()
            .filter(|task| matches!(task.phase, Phase::Running | Phase::Settling))
        {
            task.phase = Phase::Opening;
        }
    }

    /// Drops all staged work of all tasks (ST-3): a batch is one transaction over all of them.
    pub(super) fn discard_all(&mut self) {
        for task in self.tasks.values_mut() {
            task.discard();
            if task.phase == Phase::Running {
                task.phase = Phase::Settling;
            }
        }
        self.tally.clear();
        self.begin_batch();
    }

    /// A store turned out damaged while it was read or written: it is put aside and built anew from the changelog. No transaction is
    /// open (one begins after the last read and ends before the write), but what was committed last may not stand in every store.
    pub(super) fn damaged(&mut self, partition: i32, what: &str) -> Result<(), Halt> {
        let damages = self.damages.entry(partition).or_default();
        *damages += 1;
        if *damages > MOST_DAMAGES {
            return Err(Halt::Store(StoreError::Corrupt {
                task: partition,
                what: format!("{what}; it was rebuilt {MOST_DAMAGES} times: look at the disk"),
            }));
        }
        tracing::warn!(
            partition,
            what,
            "the state directory is damaged: kept aside, rebuilding from the changelog"
        );
        self.mark_broken(self.turn, Remade::Suspect);
        self.discard_all();
        self.catch_up();
        if let Some(task) = self.tasks.remove(&partition)
            && matches!(task.phase, Phase::Restoring { .. })
        {
            self.bus.close_changelog(partition).map_err(Halt::Bus)?;
        }
        self.stores.destroy(partition, true)?;
        self.telemetry.rebuilt("corrupt");
        self.open(partition)
    }

    /// This producer may not begin again before it was made anew.
    pub(super) fn mark_broken(&mut self, turn: Turn, why: Remade) {
        if !self.broken.iter().any(|(broken, _)| *broken == turn) {
            self.broken.push((turn, why));
            self.telemetry.producer_sound(false);
        }
    }

    /// Makes broken producers anew: the broker completes or aborts their old transactions. False: to be tried again later.
    pub(super) fn producers_are_sound(&mut self) -> Result<bool, Halt> {
        while let Some((turn, why)) = self.broken.last().copied() {
            if self.clock.elapsed() < self.hold_until {
                return Ok(false);
            }
            match self.bus.remake(turn) {
                Ok(()) => {
                    self.broken.pop();
                    self.telemetry.remade(why);
                    self.telemetry.producer_sound(self.broken.is_empty());
                }
                Err(failure) if failure.remedy == Remedy::Fatal => return Err(Halt::Bus(failure)),
                Err(failure) => {
                    tracing::warn!(error = %failure, "producer cannot be made anew yet");
                    self.hold_until = self.clock.elapsed() + RETRY_AFTER;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
