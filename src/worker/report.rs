//! What a worker tells the outside about its tasks, once a second.

use std::time::Duration;

use super::Worker;
use crate::bus::{InputId, Progress};
use crate::task::fold::{Decided, Format};
use crate::task::merge::Merge;
use crate::task::{Phase, Task};
use crate::telemetry::{Tally, TaskReport, TaskState};

const EVERY: Duration = Duration::from_secs(1);

impl Worker {
    /// Reports every task, at most once a second.
    pub(super) fn report(&mut self) {
        let now = self.clock.elapsed();
        if now.saturating_sub(self.reported_at) < EVERY {
            return;
        }
        self.reported_at = now;
        self.move_over_markers();
        let mut reads: Vec<Progress> = Vec::new();
        self.bus.progress(&mut |progress| reads.push(progress));
        let wall = self.clock.wall();
        for task in self.tasks.values() {
            let waiting = task.merge.as_ref().map_or(0, |merge| merge.len() as u64);
            let mut lag: Vec<(InputId, u64)> = reads
                .iter()
                .filter(|read| read.partition == task.partition)
                .map(|read| {
                    let to = task.read_to(read.input, read.delivered);
                    let lag = u64::try_from(read.end.get() - to.get()).unwrap_or(0);
                    (read.input, lag)
                })
                .collect();
            if let Some((_, first)) = lag.first_mut() {
                *first += waiting;
            }
            self.telemetry.task(&TaskReport {
                partition: task.partition,
                state: state(task),
                clock: (task.phase == Phase::Running).then(|| task.fold.clock()),
                now: wall,
                lag: &lag,
                schemas: &schemas(task),
                lagging_at: task
                    .last_record_at
                    .filter(|_| lag.iter().any(|(_, lag)| *lag > 0)),
                newest: task.last_record_at,
                state_bytes: task.fold.store().bytes(),
            });
        }
    }
}

impl Worker {
    /// Takes in that nothing but markers and aborted records lies behind what was processed: the next commit says so, and nobody sees a
    /// lag that never ends. Once a second, because it costs a commit.
    fn move_over_markers(&mut self) {
        let tasks = &mut self.tasks;
        self.bus.progress(&mut |progress| {
            let Some(task) = tasks.get_mut(&progress.partition) else {
                return;
            };
            let merged = |merge: &Merge| merge.waiting(progress.input) == 0;
            // Not beyond a record that waits for its schema: it is unread.
            let read = task.read_to(progress.input, progress.delivered);
            let position = task.positions.get(usize::from(progress.input.0));
            if task.phase == Phase::Running
                && task.merge.as_ref().is_none_or(merged)
                && position.is_some_and(|at| at.is_some_and(|at| at < read))
            {
                task.processed(progress.input, read);
            }
        });
    }
}

/// The inputs that need a registry, and whether they wait for it.
fn schemas(task: &Task) -> Vec<(InputId, bool)> {
    let inputs = (0..).map(InputId).zip(&task.fold.shared().inputs);
    inputs
        .filter(|(_, spec)| matches!(spec.format, Format::Avro))
        .map(|(input, _)| {
            let waits = task.waiting.iter().any(|waiting| waiting.input == input);
            (input, waits)
        })
        .collect()
}

fn state(task: &Task) -> TaskState {
    match task.phase {
        Phase::Opening | Phase::Settling => TaskState::Restoring { remaining: 0 },
        Phase::Restoring { target, at } => TaskState::Restoring {
            remaining: u64::try_from(target.get() - at.get()).unwrap_or(0),
        },
        Phase::Running => task
            .behind_since
            .map_or(TaskState::Running, |since| TaskState::Behind { since }),
        Phase::Poisoned => TaskState::Poisoned,
    }
}

/// Counts one decision for the metrics.
pub(super) fn count(tally: &mut Tally, decided: &Decided) {
    match decided {
        Decided::Verdict(verdict) => {
            tally.verdict(verdict);
            // The product's latency: a purchase appended until its suppressions are readable.
            if verdict.kind == crate::decision::VerdictKind::Suppress {
                tally.output(verdict.cause.origin.timestamp);
            }
        }
        Decided::DeadLetter(letter) => tally.dead_letter(letter.record.input, letter.error.code()),
    }
}
