//! Tasks come and go: what the worker does when partitions are assigned or revoked, and how a new task gets from its store to running.

use std::collections::BTreeMap;

use fail::fail_point;

use super::{Halt, RETRY_AFTER, Worker};
use crate::bus::{Failure, InputId, NextOffset, Position, Remedy, Watermarks};
use crate::store::StoreError;
use crate::store::changelog::apply_changelog;
use crate::task::fold::Fold;
use crate::task::restore::{self, Start};
use crate::task::{Phase, Task};

/// Changelog records are applied to a store in batches of about that many.
const RESTORE_WAIT: std::time::Duration = std::time::Duration::from_millis(1);

impl Worker {
    /// Commits what is open, then takes the partitions over, paused until their tasks are restored.
    pub(super) fn assigned(&mut self, partitions: &[i32]) -> Result<(), Halt> {
        // What blocks during a rebalance outlives the transaction's time-out, so nothing staged may wait for it.
        if self.has_work() {
            self.commit()?;
        }
        self.bus.assign(partitions).map_err(Halt::Bus)?;
        self.telemetry.assigned(partitions);
        for &partition in partitions {
            tracing::info!(partition, "partition assigned");
            self.open(partition)?;
        }
        Ok(())
    }

    /// Finishes the batch, gives the tasks up, closes their stores; the directories stay for a quick return.
    pub(super) fn revoked(&mut self, partitions: &[i32], lost: bool) -> Result<(), Halt> {
        if lost {
            // EO-4: somebody else may own them already. Whatever is staged for them is void, and with it the whole batch.
            self.discard_all();
        } else if self.has_work() {
            self.commit()?;
        }
        fail_point!("revoke.drain", |_| std::process::abort());
        for &partition in partitions {
            if let Some(task) = self.tasks.remove(&partition)
                && matches!(task.phase, Phase::Restoring { .. })
            {
                self.bus.close_changelog(partition).map_err(Halt::Bus)?;
            }
            tracing::info!(partition, lost, "partition given up");
        }
        self.bus.unassign(partitions, lost).map_err(Halt::Bus)?;
        self.telemetry.revoked(partitions, lost);
        Ok(())
    }

    /// These tasks have more to read: they settle again, and begin the new partitions where the group stands in them, or at their beginning.
    pub(super) fn grown(&mut self, partitions: &[i32]) -> Result<(), Halt> {
        if self.has_work() {
            self.commit()?;
        }
        tracing::info!(
            ?partitions,
            "an input has more partitions: tasks settle again"
        );
        self.discard_all();
        Ok(())
    }

    /// What is known of these tasks' positions may be of topics that are gone. Nothing is committed: with a topic the group's offsets of it
    /// went, and a commit would bring them back.
    pub(super) fn doubted(&mut self, partitions: &[i32]) {
        tracing::warn!(
            ?partitions,
            "an input was gone for a while, is shorter than it was, or lost its committed offsets: tasks settle again"
        );
        self.discard_all();
        for partition in partitions {
            if let Some(task) = self.tasks.get_mut(partition) {
                task.checked = false;
            }
        }
    }

    pub(super) fn open(&mut self, partition: i32) -> Result<(), Halt> {
        let store = match self.stores.open(partition) {
            Err(StoreError::Corrupt { .. }) => {
                tracing::warn!(
                    partition,
                    "the state directory is corrupt: kept aside, rebuilding from the changelog"
                );
                self.stores.destroy(partition, true)?;
                self.telemetry.rebuilt("corrupt");
                self.stores.open(partition)?
            }
            other => other?,
        };
        let mut fold = Fold::new(
            partition,
            std::sync::Arc::clone(&self.shared),
            store,
            self.settings.cache,
        )?;
        fold.learn(std::sync::Arc::clone(&self.schemas.known));
        let now = self.clock.elapsed();
        self.tasks.insert(
            partition,
            Task::new(partition, fold, self.settings.poison, now),
        );
        Ok(())
    }

    fn rebuild(&mut self, partition: i32, why: &'static str) -> Result<(), Halt> {
        tracing::warn!(
            partition,
            why,
            "the state directory cannot be trusted: rebuilding from the changelog"
        );
        self.tasks.remove(&partition);
        self.stores.destroy(partition, false)?;
        self.telemetry.rebuilt("untrusted");
        self.open(partition)
    }

    /// Does a bounded part of what is to be restored. Returns whether anything is left or was done.
    pub(super) fn restore_some(&mut self) -> Result<bool, Halt> {
        if self.clock.elapsed() < self.hold_until {
            return Ok(false);
        }
        let waiting = |phase: Phase| {
            matches!(
                phase,
                Phase::Opening | Phase::Restoring { .. } | Phase::Settling
            )
        };
        if !self.tasks.values().any(|task| waiting(task.phase)) {
            return Ok(false);
        }
        // An old transaction of our own must have ended before the changelog's ends mean anything.
        if !self.producers_are_sound()? {
            return Ok(false);
        }
        self.compare_opened()?;
        let read = self.read_changelogs()?;
        self.settle()?;
        Ok(read)
    }

    /// Opening → Restoring: the store against the changelog's ends.
    fn compare_opened(&mut self) -> Result<(), Halt> {
        let opening: Vec<i32> = self.in_phase(|phase| phase == Phase::Opening);
        for partition in opening {
            let ends = match self.bus.changelog_watermarks(partition) {
                Ok(ends) => ends,
                Err(failure) => return self.restore_failed(failure),
            };
            let Some(task) = self.tasks.get_mut(&partition) else {
                continue;
            };
            let head = task.fold.store().head()?;
            let mut start = restore::compare(
                partition,
                &head,
                ends,
                self.clock.wall(),
                self.settings.delete_retention,
            );
            if let (Start::Tail(at), Some(since)) = (&start, restore::younger_than(&head)) {
                match self.bus.changelog_since(partition, since) {
                    Ok(first) if first.is_some_and(|first| first < *at) => {
                        start = Start::Rebuild("its changelog was made anew since it was written");
                    }
                    Ok(_) => {}
                    Err(failure) => return self.restore_failed(failure),
                }
            }
            match start {
                Start::Tail(at) => {
                    if let Err(failure) = self.bus.open_changelog(partition, at) {
                        return self.restore_failed(failure);
                    }
                    if let Some(task) = self.tasks.get_mut(&partition) {
                        task.phase = Phase::Restoring {
                            target: ends.high,
                            at,
                        };
                    }
                }
                Start::Rebuild(why) => self.rebuild(partition, why)?,
                Start::Stop(why) => return Err(Halt::Unsafe(why)),
            }
        }
        Ok(())
    }

    /// Restoring → Settling: the tail of the changelog into the store.
    fn read_changelogs(&mut self) -> Result<bool, Halt> {
        let mut chunks = Vec::new();
        if !self
            .in_phase(|phase| matches!(phase, Phase::Restoring { .. }))
            .is_empty()
        {
            chunks = match self.bus.read_changelogs(RESTORE_WAIT) {
                Ok(chunks) => chunks,
                Err(failure) => return self.restore_failed(failure).map(|()| false),
            };
        }
        let read = !chunks.is_empty();
        let now = self.clock.wall();
        for (partition, chunk) in chunks {
            let Some(task) = self.tasks.get_mut(&partition) else {
                continue;
            };
            let Phase::Restoring { target, at } = task.phase else {
                continue;
            };
            fail_point!("restore.midway", |_| std::process::abort());
            let at = chunk.position.map_or(at, |position| position.max(at));
            // Only a finished restore has seen every tombstone: one that is interrupted again and again stays as old as it was.
            let written_at = if at >= target {
                now
            } else {
                task.fold.store().head()?.written_at.unwrap_or(now)
            };
            apply_changelog(
                task.fold.store_mut(),
                partition,
                &chunk.records,
                Some(at),
                written_at,
            )?;
            task.phase = Phase::Restoring { target, at };
            let remaining = u64::try_from(target.get() - at.get()).unwrap_or(0);
            self.telemetry
                .restoring(partition, chunk.records.len() as u64, remaining);
        }
        let done: Vec<i32> =
            self.in_phase(|phase| matches!(phase, Phase::Restoring { target, at } if at >= target));
        for partition in done {
            self.bus.close_changelog(partition).map_err(Halt::Bus)?;
            if let Some(task) = self.tasks.get_mut(&partition) {
                task.fold.restored()?;
                if let Phase::Restoring { at, .. } = task.phase {
                    task.changelog = Some(at);
                }
                task.phase = Phase::Settling;
            }
        }
        Ok(read)
    }

    /// Settling → Running: the committed offsets, asked for after the changelog was read.
    fn settle(&mut self) -> Result<(), Halt> {
        let settling: Vec<i32> = self.in_phase(|phase| phase == Phase::Settling);
        if settling.is_empty() {
            return Ok(());
        }
        let committed = match self.bus.committed(&settling) {
            Ok(committed) => committed,
            Err(failure) => return self.restore_failed(failure),
        };
        // Only a task that reads on where it was knows that its offsets are still kept.
        let unsure: Vec<i32> = settling
            .iter()
            .copied()
            .filter(|partition| {
                let checked = self.tasks.get(partition).is_some_and(|task| task.checked);
                !checked
                    || committed
                        .iter()
                        .any(|(_, of, next)| of == partition && next.is_none())
            })
            .collect();
        let ends = if unsure.is_empty() {
            Vec::new()
        } else {
            match self.bus.input_watermarks(&unsure) {
                Ok(ends) => ends,
                Err(failure) => return self.restore_failed(failure),
            }
        };
        let mut positions = Vec::new();
        for &partition in &settling {
            let Some(task) = self.tasks.get(&partition) else {
                continue;
            };
            let head = task.fold.store().head()?;
            let lost = committed.iter().find(|(input, of, next)| {
                let spec = self.shared.inputs.get(usize::from(input.0));
                *of == partition
                    && next.is_none()
                    && spec.is_some_and(|spec| task.fold.has_read(&spec.source.name()))
            });
            if let Some(input) = lost.map(|(input, _, _)| *input) {
                let place = self.shared.place(input, partition);
                return Err(Halt::Unsafe(format!(
                    "{place} was read before, but the group has no committed offset for it: the topic was re-created, or its \
                     offsets expired or were deleted; commit the offset to go on from, or begin anew with `tidegate reset`"
                )));
            }
            if restore::is_ahead(&head, &committed) {
                if task.rebuilt {
                    // The changelog itself carries what the group has not committed: nobody but a person can tell which is right.
                    return Err(Halt::Unsafe(format!(
                        "the group's committed offsets of partition {partition} are behind its changelog: they were reset or lost; \
                         restore them, or begin anew with `tidegate reset`"
                    )));
                }
                self.rebuild(
                    partition,
                    "its positions are beyond the group's committed offsets",
                )?;
                if let Some(task) = self.tasks.get_mut(&partition) {
                    task.rebuilt = true;
                }
                continue;
            }
            positions.extend(self.positions(partition, &committed, &ends)?);
        }
        if positions.is_empty() {
            return Ok(());
        }
        if let Err(failure) = self.bus.resume(&positions) {
            return self.restore_failed(failure);
        }
        self.run(&positions)
    }

    fn run(&mut self, positions: &[Position]) -> Result<(), Halt> {
        let mut by_task: BTreeMap<i32, Vec<&Position>> = BTreeMap::new();
        for position in positions {
            by_task
                .entry(position.partition)
                .or_default()
                .push(position);
        }
        let now = self.clock.elapsed();
        for (partition, positions) in by_task {
            if let Some(task) = self.tasks.get_mut(&partition) {
                task.begin(&positions, now);
                let took = now.saturating_sub(task.assigned_at);
                self.telemetry.restored(partition, took);
                tracing::info!(partition, took_ms = took.as_millis(), "task runs");
            }
        }
        Ok(())
    }

    /// Where one task reads on in each of its inputs. `ends` holds the watermarks of tasks that do not know theirs to be kept.
    fn positions(
        &mut self,
        partition: i32,
        committed: &[(InputId, i32, Option<NextOffset>)],
        ends: &[(InputId, i32, Watermarks)],
    ) -> Result<Vec<Position>, Halt> {
        let Some(task) = self.tasks.get_mut(&partition) else {
            return Ok(Vec::new());
        };
        let had_state = task.fold.has_state();
        let mut positions = Vec::new();
        for &(input, _, next) in committed.iter().filter(|(_, of, _)| *of == partition) {
            let place = self.shared.place(input, partition);
            if next.is_none() && input.0 == 0 && had_state {
                // A missing answer is never read as zero: everything would be decided again.
                return Err(Halt::Unsafe(format!(
                    "the group has no committed offset for {place}, but its changelog is not empty: the offsets expired or were \
                     deleted; restore them, or begin anew with `tidegate reset`"
                )));
            }
            let kept = ends
                .iter()
                .find(|(of, at, _)| (*of, *at) == (input, partition))
                .map(|(_, _, kept)| *kept);
            if !had_state && next.zip(kept).is_some_and(|(next, kept)| next > kept.low) {
                // Every commit of ours carries state. To go on without would forget opt-outs and decide again.
                return Err(Halt::Unsafe(format!(
                    "{place} was read before, but the changelog and the state directory of this partition are empty: restore the \
                     changelog or one instance's state directory, or reset the group's offsets to read everything again"
                )));
            }
            let next = match (next, kept) {
                (Some(next), None) => next,
                (next, Some(kept)) => {
                    let next = next.unwrap_or(kept.low);
                    if next < kept.low || next > kept.high {
                        return Err(Halt::Unsafe(format!(
                            "{place} holds offsets {} to {}, but reading must go on at {}: retention has passed us or the topic was \
                             re-created; nothing was skipped. Reset the group's offsets for this topic deliberately if the gap is acceptable",
                            kept.low.get(),
                            kept.high.get(),
                            next.get()
                        )));
                    }
                    next
                }
                (None, None) => {
                    return Err(Halt::Unsafe(format!(
                        "EO-1: {place} has neither a committed offset nor a known beginning"
                    )));
                }
            };
            positions.push(Position {
                input,
                partition,
                next,
            });
        }
        task.checked = true;
        Ok(positions)
    }

    fn in_phase(&self, is: impl Fn(Phase) -> bool) -> Vec<i32> {
        self.tasks
            .values()
            .filter(|task| is(task.phase))
            .map(|task| task.partition)
            .collect()
    }

    /// A restore call failed: repeated later when that may help, else the worker stops.
    fn restore_failed(&mut self, failure: Failure) -> Result<(), Halt> {
        match failure.remedy {
            Remedy::Retry | Remedy::Abort | Remedy::Fenced => {
                tracing::debug!(error = %failure, "restore waits");
                self.hold_until = self.clock.elapsed() + RETRY_AFTER;
                Ok(())
            }
            Remedy::Remake | Remedy::Fatal => Err(Halt::Bus(failure)),
        }
    }
}
