//! One batch, made durable: the commit protocol of engine.md §2, d to i, for all tasks of a worker in one transaction.
//!
//! ```text
//!  render ─► begin ─► send … ─► drain ─► send_offsets ─► commit ─► store ─► release
//!            └────────── an error: abort, nothing happened ──┘ │       └─ a crash here leaves the store behind; restore reads the tail
//!                                                              └─ an error: the outcome is unknown, the broker is asked
//! ```
//! Swap commit and store, and a crash between them leaves a store that knows what nobody was told (ST-2 broken). Send the offsets
//! outside the transaction, and a crash between the two loses or repeats a batch (EO-2 broken).

use std::sync::Arc;

use fail::fail_point;

use super::Task;
use super::fold::{Decided, FoldPlan};
use crate::bus::{Bus, Failure, NextOffset, Outgoing, Position, Remedy, Target, Turn};
use crate::outbound::{self, OutboundPlan};
use crate::store::staging::Rendered;
use crate::store::{StoreBatch, StoreError};
use crate::value::Timestamp;

/// What one task puts into a transaction, and what its store gets afterwards.
#[derive(Clone, Debug)]
pub struct TaskBatch {
    /// Which task.
    pub partition: i32,
    /// Changelog and index changes.
    pub rendered: Rendered,
    /// Positions that the transaction carries.
    pub positions: Vec<Position>,
    /// Decisions, log lines, forwards, blocks, dead letters; in order.
    pub outgoing: Vec<Outgoing>,
}

/// Renders what a task staged. Verdict order is record order; one changelog record per changed section.
///
/// # Errors
/// When a profile whose blocks changed cannot be read.
pub fn render(
    task: &mut Task,
    shared: &FoldPlan,
    plan: &OutboundPlan,
) -> Result<TaskBatch, StoreError> {
    let decided = task.fold.take_decided();
    let mut outgoing = Vec::with_capacity(decided.len() * 2);
    for decided in decided {
        match decided {
            Decided::Verdict(verdict) => {
                outbound::render(&verdict, &shared.plan.policy, plan, &mut outgoing)
            }
            Decided::DeadLetter(letter) => outgoing.push(outbound::dead_letter(
                &letter.record,
                &letter.origin,
                &letter.error,
                plan,
            )),
        }
    }
    for (clock, forward) in task.fold.take_forwards() {
        outgoing.push(outbound::forward(
            &forward,
            clock,
            &shared.decode.currencies,
            plan,
        ));
    }
    for (key, changed_at) in task.fold.take_blocks_changed() {
        let live = task.fold.profile(&key)?.blocks(changed_at);
        outgoing.push(outbound::blocks(&key, live, plan));
    }
    let rendered = task.fold.render();
    for change in &rendered.changes {
        outgoing.push(Outgoing {
            topic: Arc::clone(&plan.changelog_topic),
            target: Target::Partition(task.partition),
            key: Some(change.key.clone()),
            value: change.value.clone(),
            headers: Vec::new(),
            changelog_of: Some(task.partition),
        });
    }
    Ok(TaskBatch {
        partition: task.partition,
        rendered,
        positions: task.positions_to_commit(),
        outgoing,
    })
}

/// Where a transaction broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Before the point of no return: abort, and nothing happened.
    Before(Failure),
    /// At it: only the broker knows.
    At(Failure),
}

/// How often a call that may be repeated is repeated before the transaction is given up.
const RETRIES: u32 = 5;

fn retried(mut call: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
    let mut attempt = 0;
    loop {
        match call() {
            Err(failure) if failure.remedy == Remedy::Retry && attempt < RETRIES => attempt += 1,
            other => return other,
        }
    }
}

/// Runs the transaction: everything of all batches, or nothing. Gives each task's changelog position after it.
///
/// # Errors
/// Where it broke; the caller aborts or resolves.
///
/// # Panics
/// EO-1: when a batch carries no position (the broker would not check our generation).
pub fn transact(
    bus: &mut dyn Bus,
    turn: Turn,
    batches: &mut [TaskBatch],
) -> Result<Vec<(i32, NextOffset)>, Broken> {
    fail_point!("commit.before_begin", |_| std::process::abort());
    retried(|| bus.begin(turn)).map_err(Broken::Before)?;
    for batch in batches.iter_mut() {
        for record in batch.outgoing.drain(..) {
            bus.send(turn, record).map_err(Broken::Before)?;
        }
    }
    fail_point!("commit.after_produce", |_| std::process::abort());
    let landed = bus.drain(turn).map_err(Broken::Before)?;
    fail_point!("commit.after_drain", |_| std::process::abort());
    let positions: Vec<Position> = batches
        .iter()
        .flat_map(|batch| batch.positions.iter().copied())
        .collect();
    assert!(
        !positions.is_empty(),
        "EO-1: a transaction without positions is not fenced"
    );
    retried(|| bus.send_offsets(turn, &positions)).map_err(Broken::Before)?;
    fail_point!("commit.after_offsets", |_| std::process::abort());
    bus.commit(turn).map_err(Broken::At)?;
    fail_point!("commit.after_commit", |_| std::process::abort());
    Ok(landed
        .into_iter()
        .map(|(task, offset)| (task, NextOffset::after(offset)))
        .collect())
}

/// Writes a committed batch to its task's store, in one atomic batch, and releases the staging.
///
/// # Errors
/// When the disk fails: the store stays behind the changelog, never ahead; the process must end.
pub fn store(
    task: &mut Task,
    batch: TaskBatch,
    changelog: Option<NextOffset>,
    written_at: Timestamp,
) -> Result<(), StoreError> {
    task.fold.store_mut().write(&StoreBatch {
        changes: batch.rendered.changes,
        undue: batch.rendered.undue,
        due: batch.rendered.due,
        positions: batch.positions,
        changelog,
        written_at,
    })?;
    fail_point!("commit.after_store", |_| std::process::abort());
    Ok(())
}
