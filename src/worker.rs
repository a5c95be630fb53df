//! One worker: a group member with its tasks, on one thread, one pass after the other (engine.md §1, §2, §4).
//!
//! ```text
//!  pass:  restore a little ─► poll until drained or full ─► fire what is due ─► commit ─► (again)
//!              never blocks        rebalances are values        not while behind   now, when drained
//! ```
//!
//! A transaction is begun and ended inside one pass, after reading, so no rebalance ever meets an open one. What the worker does
//! about a failure depends on its [`Remedy`] alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::bus::{Bus, Failure, Farewell, NextOffset, Polled, Record, Remedy, Turn};
use crate::clock::Clock;
use crate::outbound::OutboundPlan;
use crate::planted::is_planted;
use crate::store::staging::CacheLimits;
use crate::store::{Store, StoreError};
use crate::task::commit;
use crate::task::fold::{ClockKind, FoldPlan, Folded};
use crate::task::{Phase, PoisonLimit, Task};
use crate::telemetry::{Committed, Outcome, Remade, Tally, WorkerTelemetry};
use crate::value::Span;

mod assignment;
mod lookup;
mod recovery;
mod reload;
mod report;
mod timeline;
mod waiting;

pub use lookup::{Found, Lookup};

/// Opens and removes the stores of tasks: RocksDB directories, or memory in the simulation.
pub trait Stores: Send {
    /// Opens the store of a task, making it if there is none.
    ///
    /// # Errors
    /// When the directory is corrupt, foreign, or the disk refuses.
    fn open(&mut self, partition: i32) -> Result<Box<dyn Store>, StoreError>;

    /// Takes a closed store away so that the next open makes a new one; a corrupt one is kept aside for a person to look at.
    ///
    /// # Errors
    /// When the disk refuses.
    fn destroy(&mut self, partition: i32, corrupt: bool) -> Result<(), StoreError>;
}

/// When a batch is made durable although the input is not drained, and how much waits.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Records in a batch under backlog.
    pub max_records: usize,
    /// Bytes of record values in a batch under backlog.
    pub max_bytes: usize,
    /// Age of a batch under backlog.
    pub max_delay: Duration,
    /// Timers fired in one batch.
    pub max_timers: usize,
    /// How long one poll may wait when there is nothing to do.
    pub idle_wait: Duration,
    /// An input that neither moves nor answers holds hand-overs at most that long (CK-1).
    pub max_hold: Duration,
    /// `delete.retention.ms` of the changelog.
    pub delete_retention: Span,
    /// Decoded profiles kept per task.
    pub cache: CacheLimits,
    /// How many dead letters stop a task.
    pub poison: PoisonLimit,
    /// All positions are stated again after that long, so that they never expire at the broker.
    pub announce_every: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            max_records: 5_000,
            max_bytes: 16 << 20,
            max_delay: Duration::from_millis(100),
            max_timers: 5_000,
            idle_wait: Duration::from_millis(50),
            max_hold: Duration::from_secs(15 * 60),
            delete_retention: Span::from_days(7),
            cache: CacheLimits {
                profiles: 20_000,
                bytes: 64 << 20,
            },
            poison: PoisonLimit {
                window: 1_000,
                most: 500,
            },
            announce_every: Duration::from_secs(12 * 3_600),
        }
    }
}

/// Why a worker stopped without being asked.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// The bus says that there is no going on; exit code 70.
    #[error("the bus refuses for good")]
    Bus(#[source] Failure),
    /// The disk; exit code 74.
    #[error("the state store fails")]
    Store(#[source] StoreError),
    /// Going on would lose or invent something; the text has the numbers and the remedy. Exit code 70.
    #[error("{0}")]
    Unsafe(String),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// One group member.
pub struct Worker {
    bus: Box<dyn Bus>,
    stores: Box<dyn Stores>,
    clock: Arc<dyn Clock>,
    shared: Arc<FoldPlan>,
    /// Comes into force with the next batch.
    next: Option<Arc<FoldPlan>>,
    outbound: Arc<OutboundPlan>,
    settings: WorkerSettings,
    telemetry: WorkerTelemetry,
    tasks: BTreeMap<i32, Task>,
    /// Whose turn it is.
    turn: Turn,
    /// Producers that may not be used before they are made anew, and why.
    broken: Vec<(Turn, Remade)>,
    /// Begin of the current batch, once something is staged.
    batch_since: Option<Duration>,
    batch_records: usize,
    batch_bytes: usize,
    /// What the batch did, for the metrics.
    tally: Tally,
    /// Elapsed time of the last report of the tasks.
    reported_at: Duration,
    /// Nothing is tried on the bus before this: a call that asked to be repeated.
    hold_until: Duration,
    /// How often the store of a partition was found damaged.
    damages: BTreeMap<i32, u32>,
    /// Schemas of a registry, and whom to ask for more.
    schemas: waiting::Schemas,
}

/// A failed call that may be repeated is repeated after that long.
const RETRY_AFTER: Duration = Duration::from_millis(20);

impl Worker {
    /// A worker that has just connected.
    #[must_use]
    pub fn new(
        bus: Box<dyn Bus>,
        stores: Box<dyn Stores>,
        clock: Arc<dyn Clock>,
        shared: Arc<FoldPlan>,
        outbound: Arc<OutboundPlan>,
        settings: WorkerSettings,
        telemetry: WorkerTelemetry,
    ) -> Self {
        Self {
            bus,
            stores,
            clock,
            shared,
            next: None,
            outbound,
            settings,
            telemetry,
            tasks: BTreeMap::new(),
            turn: Turn::A,
            broken: Vec::new(),
            batch_since: None,
            batch_records: 0,
            batch_bytes: 0,
            tally: Tally::default(),
            reported_at: Duration::ZERO,
            hold_until: Duration::ZERO,
            damages: BTreeMap::new(),
            schemas: waiting::Schemas::default(),
        }
    }

    /// One pass. Returns whether anything was done.
    ///
    /// # Errors
    /// When the worker must stop.
    pub fn pass(&mut self) -> Result<bool, Halt> {
        match self.turn_once() {
            Err(Halt::Store(StoreError::Corrupt { task, what })) => {
                self.damaged(task, &what).map(|()| true)
            }
            done => done,
        }
    }

    fn turn_once(&mut self) -> Result<bool, Halt> {
        self.telemetry.beat(self.clock.wall());
        self.take_reload();
        self.learn_schemas()?;
        let restored = self.restore_some()?;
        let wait = if restored {
            Duration::ZERO
        } else {
            self.wait()?
        };
        let read = self.read(wait)?;
        self.look_at_ends();
        let fired = self.fire_due()?;
        let committed = if self.is_due_for_commit(read.drained) {
            self.commit()?
        } else {
            false
        };
        self.report();
        Ok(restored || read.any || fired > 0 || committed)
    }

    /// Commits what is staged, gives the tasks up and says goodbye.
    ///
    /// # Errors
    /// When the last commit fails for good; nothing is lost then: the next owner reads it again.
    pub fn close(mut self, farewell: Farewell) -> Result<(), Halt> {
        self.telemetry.stopping();
        if self.has_work() {
            self.commit()?;
        }
        self.tasks.clear();
        self.bus.close(farewell).map_err(Halt::Bus)
    }

    /// The tasks, for `/status` and the simulation's checkers.
    #[must_use]
    pub const fn tasks(&self) -> &BTreeMap<i32, Task> {
        &self.tasks
    }

    /// How long the first poll of a pass may wait: not past the next timer, not at all when work waits.
    fn wait(&mut self) -> Result<Duration, Halt> {
        if self.has_work() {
            return Ok(Duration::ZERO);
        }
        let mut wait = self.settings.idle_wait;
        if self
            .tasks
            .values()
            .any(|task| !matches!(task.phase, Phase::Running | Phase::Poisoned))
        {
            wait = wait.min(Duration::from_millis(1));
        }
        if self.shared.clock == ClockKind::Live {
            let now = self.clock.wall();
            for task in self
                .tasks
                .values_mut()
                .filter(|task| task.phase == Phase::Running)
            {
                if let Some(due) = task.fold.next_due()?
                    && (due > now || task.behind_since.is_none())
                {
                    let until = u64::try_from(due.since(now).millis()).unwrap_or(0);
                    wait = wait.min(Duration::from_millis(until));
                }
            }
        }
        Ok(wait)
    }

    fn has_work(&self) -> bool {
        self.tasks
            .values()
            .any(|task| task.phase == Phase::Running && task.has_work())
    }

    /// Polls until nothing more is there or the batch is full.
    fn read(&mut self, wait: Duration) -> Result<Read, Halt> {
        let mut read = Read {
            any: false,
            drained: false,
        };
        let mut wait = wait;
        loop {
            match self.bus.poll(wait) {
                Ok(Polled::Nothing) => {
                    read.drained = true;
                    break;
                }
                Ok(Polled::Record(record)) => self.take(record)?,
                Ok(Polled::Assigned(partitions)) => self.assigned(&partitions)?,
                Ok(Polled::Revoked { partitions, lost }) => self.revoked(&partitions, lost)?,
                Ok(Polled::Grown(partitions)) => self.grown(&partitions)?,
                Ok(Polled::Doubted(partitions)) => self.doubted(&partitions),
                Err(failure) => {
                    self.poll_failed(failure)?;
                    break;
                }
            }
            read.any = true;
            wait = Duration::ZERO;
            if self.batch_is_full() {
                break;
            }
        }
        if self.shared.clock == ClockKind::Records {
            self.merge_read()?;
        }
        Ok(read)
    }

    fn poll_failed(&mut self, failure: Failure) -> Result<(), Halt> {
        match failure.remedy {
            Remedy::Retry | Remedy::Abort => {
                tracing::warn!(error = %failure, "poll failed; reading goes on");
                Ok(())
            }
            Remedy::Fenced | Remedy::Remake | Remedy::Fatal => Err(Halt::Bus(failure)),
        }
    }

    /// A record of a task that is not running any more, or not yet, is somebody else's or will be read again: it is not processed,
    /// its offset does not move.
    fn take(&mut self, record: Record) -> Result<(), Halt> {
        let running = |task: &Task| task.phase == Phase::Running;
        if !self.tasks.get(&record.partition).is_some_and(running) {
            return Ok(());
        }
        let (input, partition, next) = (
            record.input,
            record.partition,
            NextOffset::after(record.offset),
        );
        if let Some(schema) = self.missing_schema(&record) {
            return self.wait_for(schema, &record);
        }
        let Some(task) = self.tasks.get_mut(&partition) else {
            return Ok(());
        };
        if let Some(merge) = &mut task.merge {
            if merge.push(record) == crate::task::merge::READ_AHEAD {
                self.bus.pause(input, partition).map_err(Halt::Bus)?;
                task.paused.push((input, next));
            }
            return Ok(());
        }
        task.fold.advance(self.clock.wall());
        self.fold(partition, record)
    }

    /// Folds one record whose turn it is.
    fn fold(&mut self, partition: i32, record: Record) -> Result<(), Halt> {
        let Some(task) = self.tasks.get_mut(&partition) else {
            return Ok(());
        };
        let (input, next) = (record.input, NextOffset::after(record.offset));
        self.batch_records += 1;
        self.batch_bytes += record.value.as_ref().map_or(0, Vec::len);
        if self.batch_since.is_none() {
            self.batch_since = Some(self.clock.elapsed());
        }
        task.last_record_at = task.last_record_at.max(Some(record.timestamp));
        let folded = task.fold.record(record)?;
        task.processed(input, next);
        self.tally.record(input, partition);
        match folded {
            Folded::Profile { kind, unconverted } => {
                self.tally.event(kind, Outcome::Folded);
                if unconverted {
                    self.tally.unconverted(input);
                }
            }
            Folded::Duplicate(kind) => self.tally.event(kind, Outcome::Duplicate),
            Folded::Unattributed(kind) => self.tally.event(kind, Outcome::Unattributed),
            Folded::Erased(kind) => self.tally.event(kind, Outcome::Erased),
            Folded::Left(left) => self.tally.left(input, left),
            Folded::Forwarded | Folded::DeadLetter | Folded::Mark => {}
        }
        if task.poison.count(folded == Folded::DeadLetter) {
            // Everything of this batch stays uncommitted: the offsets stay before the poison.
            task.discard();
            task.phase = Phase::Poisoned;
            self.telemetry.poisoned(partition);
            tracing::error!(
                partition,
                "too many of the last records are dead letters: reading stopped, offsets stay; mend the producer or the configuration and start again; what is in the topic already passes as dead letters with a higher `dead_letters.max_ratio`"
            );
        }
        Ok(())
    }

    fn batch_is_full(&self) -> bool {
        self.batch_records >= self.settings.max_records
            || self.batch_bytes >= self.settings.max_bytes
            || self.batch_since.is_some_and(|since| {
                self.clock.elapsed().saturating_sub(since) >= self.settings.max_delay
            })
    }

    fn is_due_for_commit(&self, drained: bool) -> bool {
        self.has_work() && (drained || self.batch_is_full())
    }

    /// CK-1: how every input stands against the end it had a moment ago.
    fn look_at_ends(&mut self) {
        let now = self.clock.elapsed();
        let tasks = &mut self.tasks;
        self.bus.progress(&mut |progress| {
            let Some(task) = tasks.get_mut(&progress.partition) else {
                return;
            };
            let read = task.read_to(progress.input, progress.delivered);
            if let Some(reach) = task.reach.get_mut(usize::from(progress.input.0)) {
                reach.look(read, progress.end, progress.age, now);
            }
        });
    }

    /// Fires what is due in every running task that is not behind. On the records' clock, [`Self::merge_read`] does it.
    fn fire_due(&mut self) -> Result<usize, Halt> {
        if self.shared.clock == ClockKind::Records {
            return Ok(0);
        }
        let (wall, now) = (self.clock.wall(), self.clock.elapsed());
        let mut fired = 0;
        for task in self
            .tasks
            .values_mut()
            .filter(|task| task.phase == Phase::Running)
        {
            task.fold.advance(wall);
            let clock = task.fold.clock();
            // Asked at every pass, due or not, so that `/status` and the metric tell it in time.
            let settled = task.anchor_read_at().and_then(|by| self.bus.settled(by));
            let until = task.caught_up_to(now, wall, self.settings.max_hold);
            let until = until.min(crate::task::settled_to(settled, now, wall));
            let behind = until.is_none_or(|until| until < wall);
            task.behind_since = behind.then(|| task.behind_since.unwrap_or(wall));
            // The clock may stand ahead of a wall that was set back; then it is the clock that fell due.
            let until = if behind { until } else { Some(clock) };
            let Some(until) = until.map(|until| until.min(clock)) else {
                continue;
            };
            if task.fold.next_due()?.is_none_or(|due| due > until) {
                continue;
            }
            fired += task.fold.fire(until, self.settings.max_timers)?;
        }
        if fired > 0 && self.batch_since.is_none() {
            self.batch_since = Some(now);
        }
        Ok(fired)
    }

    /// Makes the batch durable. Returns whether it was.
    fn commit(&mut self) -> Result<bool, Halt> {
        if !self.producers_are_sound()? {
            return Ok(false);
        }
        let started = self.clock.elapsed();
        let now = self.clock.wall();
        let mut batches = Vec::new();
        for task in self
            .tasks
            .values_mut()
            .filter(|task| task.phase == Phase::Running)
        {
            if task.announced_at + self.settings.announce_every <= started {
                task.announce = true;
            }
            if task.has_work() {
                for decided in task.fold.decided() {
                    report::count(&mut self.tally, decided);
                }
                let lookups = task.fold.take_lookups();
                self.tally.cache(lookups.hits, lookups.misses);
                let batch = commit::render(task, &self.shared, &self.outbound)?;
                for record in &batch.outgoing {
                    self.tally.produced(&record.topic);
                }
                batches.push(batch);
            }
        }
        if batches.is_empty() {
            return Ok(false);
        }
        if is_planted("bug.store_before_commit") {
            for batch in &batches {
                if let Some(task) = self.tasks.get_mut(&batch.partition) {
                    // Without the positions, as a plain cache would do it: with them the store's own check at the next open finds
                    // itself ahead of the group and rebuilds, and the bug costs time only.
                    let mut early = batch.clone();
                    early.positions.clear();
                    commit::store(task, early, None, now)?;
                }
            }
        }
        let partitions: Vec<i32> = batches.iter().map(|batch| batch.partition).collect();
        let turn = self.turn;
        let begun = self.clock.elapsed();
        let landed = match commit::transact(&mut *self.bus, turn, &mut batches) {
            Ok(landed) => landed,
            Err(broken) => return self.broken_at(turn, broken).map(|()| false),
        };
        let transaction = self.clock.elapsed().saturating_sub(begun);
        for batch in batches {
            let changelog = landed
                .iter()
                .find(|(task, _)| *task == batch.partition)
                .map(|(_, next)| *next);
            if let Some(task) = self.tasks.get_mut(&batch.partition) {
                let partition = batch.partition;
                task.landed(changelog).map_err(Halt::Unsafe)?;
                if let Err(refused) = commit::store(task, batch, changelog, now) {
                    if matches!(refused, StoreError::Io { .. }) {
                        self.telemetry.store_read_only(partition);
                    }
                    return Err(refused.into());
                }
                task.committed(started);
            }
        }
        if self.bus.suspect(turn) {
            // The commit succeeded, but a late EndTxn of its past could hit this producer's next transaction.
            self.mark_broken(turn, Remade::Suspect);
        }
        self.turn = turn.next();
        let took = self.clock.elapsed().saturating_sub(started);
        self.telemetry.committed(
            &mut self.tally,
            Committed {
                at: self.clock.wall(),
                transaction,
                commit: took,
                partitions: &partitions,
            },
        );
        self.begin_batch();
        Ok(true)
    }

    fn begin_batch(&mut self) {
        self.batch_since = None;
        self.batch_records = 0;
        self.batch_bytes = 0;
    }
}

/// What a stretch of polling brought.
struct Read {
    any: bool,
    drained: bool,
}
