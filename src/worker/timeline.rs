//! On the records' clock: inputs merged by record time, due timers before what is later (engine.md §5).

use super::{Halt, Worker};
use crate::bus::Position;
use crate::task::Phase;

impl Worker {
    /// On the records' clock: folds in the order of record times, due timers before the records that are later.
    pub(super) fn merge_read(&mut self) -> Result<(), Halt> {
        let wall = self.clock.wall();
        let partitions: Vec<i32> = self.tasks.keys().copied().collect();
        for partition in partitions {
            while !self.batch_is_full() {
                let room = self.settings.max_records - self.batch_records;
                let Some(task) = self
                    .tasks
                    .get_mut(&partition)
                    .filter(|task| task.phase == Phase::Running)
                else {
                    break;
                };
                let (reach, positions) = (&task.reach, &task.positions);
                // A lane without a partition has nothing to wait for.
                let at_end = |input: crate::bus::InputId| {
                    let index = usize::from(input.0);
                    let is_read = positions.get(index).is_some_and(Option::is_some);
                    !is_read || reach.get(index).is_some_and(|reach| reach.at_end)
                };
                let next = task.merge.as_ref().and_then(|merge| merge.head(at_end));
                // What is due goes first, in batches too: a mark that runs the clock on may make every timer of the partition due (LM-1).
                let clock = task.fold.clock();
                let until = next.map_or(clock, |time| clock.max(time.min(wall)));
                let fired = task.fold.fire(until, room)?;
                if fired > 0 {
                    self.batch_records += fired;
                    self.batch_since.get_or_insert_with(|| self.clock.elapsed());
                    continue;
                }
                task.fold.advance(until);
                let Some(record) = task.merge.as_mut().and_then(|merge| merge.next(at_end)) else {
                    break;
                };
                self.fold(partition, record)?;
            }
            self.unpause(partition)?;
        }
        Ok(())
    }

    /// Reads on in inputs whose queue has shrunk.
    fn unpause(&mut self, partition: i32) -> Result<(), Halt> {
        let Some(task) = self.tasks.get_mut(&partition) else {
            return Ok(());
        };
        let Some(merge) = &task.merge else {
            return Ok(());
        };
        let (ready, still): (Vec<_>, Vec<_>) = task
            .paused
            .drain(..)
            .partition(|(input, _)| merge.waiting(*input) < crate::task::merge::READ_AHEAD / 2);
        task.paused = still;
        let positions: Vec<Position> = ready
            .into_iter()
            .map(|(input, next)| Position {
                input,
                partition,
                next,
            })
            .collect();
        if positions.is_empty() {
            Ok(())
        } else {
            self.bus.resume(&positions).map_err(Halt::Bus)
        }
    }
}
