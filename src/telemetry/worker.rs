//! The side of one worker thread: what it publishes, and its status.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus::{Histogram, IntCounter};

use super::labels::Remade;
use super::status::{Read, TaskState, TaskStatus, WorkerStatus};
use super::{Tally, Telemetry, lock};
use crate::bus::{InputId, Sources};
use crate::value::Timestamp;

/// A transaction that the broker confirmed.
#[derive(Clone, Copy, Debug)]
pub struct Committed<'a> {
    /// Wall time after the commit returned.
    pub at: Timestamp,
    /// From begin until the commit returned.
    pub transaction: Duration,
    /// Rendering, transaction and store write together.
    pub commit: Duration,
    /// Tasks whose positions it carried.
    pub partitions: &'a [i32],
}

/// What a task says of itself about once a second.
#[derive(Clone, Debug)]
pub struct TaskReport<'a> {
    /// Which.
    pub partition: i32,
    /// Where it stands.
    pub state: TaskState,
    /// Its clock.
    pub clock: Option<Timestamp>,
    /// Wall time of the report.
    pub now: Timestamp,
    /// Records between position and end, by input.
    pub lag: &'a [(InputId, u64)],
    /// The inputs that need a schema registry, and whether they wait for it.
    pub schemas: &'a [(InputId, bool)],
    /// Timestamp of the last record read, while there are more.
    pub lagging_at: Option<Timestamp>,
    /// Timestamp of the newest record read.
    pub newest: Option<Timestamp>,
    /// Bytes that its store takes.
    pub state_bytes: u64,
}

/// What one worker shares with HTTP.
pub(super) struct WorkerCell {
    /// Milliseconds; `i64::MIN` before the first poll. Apart from the lock, because it is written at every turn of the poll loop.
    polled_at: AtomicI64,
    status: Mutex<WorkerStatus>,
}

impl WorkerCell {
    pub(super) fn new(number: u16) -> Self {
        Self {
            polled_at: AtomicI64::new(i64::MIN),
            status: Mutex::new(WorkerStatus {
                worker: number,
                producer_sound: true,
                ..WorkerStatus::default()
            }),
        }
    }

    pub(super) fn snapshot(&self) -> WorkerStatus {
        let mut status = lock(&self.status).clone();
        let polled = self.polled_at.load(Ordering::Relaxed);
        status.polled_at = (polled != i64::MIN).then(|| Timestamp::from_millis(polled));
        status
    }
}

/// The handle of one worker thread. Dropped with the worker: its status and the series of its partitions go with it.
pub struct WorkerTelemetry {
    telemetry: Arc<Telemetry>,
    cell: Arc<WorkerCell>,
    number: u16,
    label: String,
    sources: Sources,
    committed: IntCounter,
    aborted: IntCounter,
    unknown: IntCounter,
    transaction: Histogram,
    commit: Histogram,
    event_to_output: Histogram,
}

impl WorkerTelemetry {
    pub(super) fn new(telemetry: Arc<Telemetry>, cell: Arc<WorkerCell>, sources: &Sources) -> Self {
        let families = &telemetry.families;
        let outcome = |name: &str| families.transactions.with_label_values(&[name]);
        let number = lock(&cell.status).worker;
        Self {
            committed: outcome("committed"),
            aborted: outcome("aborted"),
            unknown: outcome("unknown"),
            transaction: families.transaction_duration.with_label_values::<&str>(&[]),
            commit: families.commit_duration.with_label_values::<&str>(&[]),
            event_to_output: families.event_to_output.with_label_values::<&str>(&[]),
            number,
            label: number.to_string(),
            sources: sources.clone(),
            cell,
            telemetry,
        }
    }

    /// The poll loop turned. One relaxed store: call it at every turn.
    pub fn beat(&self, now: Timestamp) {
        self.cell.polled_at.store(now.millis(), Ordering::Relaxed);
    }

    /// The group gave us these partitions (possibly none); they restore from now on. Call it after [`crate::bus::Bus::assign`].
    pub fn assigned(&self, partitions: &[i32]) {
        self.telemetry
            .families
            .rebalances
            .with_label_values(&["assigned"])
            .inc();
        {
            let mut owners = lock(&self.telemetry.owners);
            owners.extend(partitions.iter().map(|partition| (*partition, self.number)));
        }
        let mut status = lock(&self.cell.status);
        status.joined = true;
        for &partition in partitions {
            status.tasks.insert(
                partition,
                TaskStatus {
                    partition,
                    state: TaskState::Restoring { remaining: 0 },
                    clock: None,
                    lag: 0,
                    writable: true,
                },
            );
            let reads = self
                .sources
                .of_tasks(std::iter::once(partition))
                .into_iter();
            status
                .reads
                .extend(reads.map(|(_, _, topic, partition)| Read { topic, partition }));
        }
        status.reads.sort();
        status.reads.dedup();
        self.count_tasks(&status);
    }

    /// These partitions are no longer ours; their series end. Call it after [`crate::bus::Bus::unassign`].
    pub fn revoked(&self, partitions: &[i32], lost: bool) {
        let kind = if lost { "lost" } else { "revoked" };
        self.telemetry
            .families
            .rebalances
            .with_label_values(&[kind])
            .inc();
        {
            let mut status = lock(&self.cell.status);
            let gone = self.sources.of_tasks(partitions.iter().copied());
            status.reads.retain(|read| {
                let is_gone = |(_, _, topic, partition): &(_, _, Arc<str>, i32)| {
                    *topic == read.topic && *partition == read.partition
                };
                !gone.iter().any(is_gone)
            });
            for partition in partitions {
                status.tasks.remove(partition);
            }
            self.count_tasks(&status);
        }
        for &partition in partitions {
            self.end_series(partition);
        }
    }

    /// `records` more changelog records are in the store of this task, `remaining` are to come.
    pub fn restoring(&self, partition: i32, records: u64, remaining: u64) {
        let families = &self.telemetry.families;
        families
            .restore_records
            .with_label_values::<&str>(&[])
            .inc_by(records);
        families
            .restore_remaining
            .with_label_values(&[partition.to_string()])
            .set(float(remaining));
        self.set_state(partition, TaskState::Restoring { remaining });
    }

    /// This task runs from now on; `took` since its assignment.
    pub fn restored(&self, partition: i32, took: Duration) {
        let families = &self.telemetry.families;
        families
            .restore_duration
            .with_label_values::<&str>(&[])
            .observe(took.as_secs_f64());
        families
            .restore_remaining
            .with_label_values(&[partition.to_string()])
            .set(0.0);
        self.set_state(partition, TaskState::Running);
    }

    /// This task stopped reading: too many dead letters in a row.
    pub fn poisoned(&self, partition: i32) {
        self.set_state(partition, TaskState::Poisoned);
    }

    /// A task's store could not be used and is built anew from the changelog; `why` is of a closed set.
    pub fn rebuilt(&self, why: &'static str) {
        self.telemetry
            .families
            .stores_rebuilt
            .with_label_values(&[why])
            .inc();
    }

    /// What a task says of itself, about once a second.
    pub fn task(&self, report: &TaskReport<'_>) {
        let families = &self.telemetry.families;
        let partition = report.partition.to_string();
        let seconds = |span: crate::value::Span| Duration::from_millis(unsigned(span.millis()));
        for (input, records) in report.lag {
            if let Some((topic, of_topic)) = self.sources.would_be(*input, report.partition) {
                families
                    .consumer_lag_records
                    .with_label_values(&[&**topic, of_topic.to_string().as_str()])
                    .set(float(*records));
            }
        }
        for (input, waits) in report.schemas {
            if let Some((topic, of_topic)) = self.sources.would_be(*input, report.partition) {
                families
                    .inputs_waiting
                    .with_label_values(&[&**topic, of_topic.to_string().as_str()])
                    .set(f64::from(u8::from(*waits)));
            }
        }
        let set = |family: &prometheus::GaugeVec, value: f64| {
            family.with_label_values(&[partition.as_str()]).set(value);
        };
        let lag = report
            .lagging_at
            .map_or(Duration::ZERO, |at| seconds(report.now.since(at)));
        set(&families.consumer_lag_seconds, lag.as_secs_f64());
        let skew = report
            .newest
            .map_or(Duration::ZERO, |at| seconds(at.since(report.now)));
        set(&families.clock_skew, skew.as_secs_f64());
        let held = match report.state {
            TaskState::Behind { since } => seconds(report.now.since(since)),
            TaskState::Restoring { .. } | TaskState::Running | TaskState::Poisoned => {
                Duration::ZERO
            }
        };
        set(&families.held, held.as_secs_f64());
        set(&families.state_bytes, float(report.state_bytes));
        let mut status = lock(&self.cell.status);
        if let Some(task) = status.tasks.get_mut(&report.partition) {
            task.state = report.state;
            task.clock = report.clock;
            task.lag = report.lag.iter().map(|(_, records)| records).sum();
        }
        self.count_tasks(&status);
    }

    /// The disk of this task refused a write.
    pub fn store_read_only(&self, partition: i32) {
        self.telemetry
            .families
            .state_read_only
            .with_label_values(&[partition.to_string()])
            .set(1.0);
        if let Some(task) = lock(&self.cell.status).tasks.get_mut(&partition) {
            task.writable = false;
        }
    }

    /// A transaction is committed: publishes what its batch did, and clears `tally`.
    pub fn committed(&self, tally: &mut Tally, committed: Committed<'_>) {
        let families = &self.telemetry.families;
        self.committed.inc();
        self.transaction
            .observe(committed.transaction.as_secs_f64());
        self.commit.observe(committed.commit.as_secs_f64());
        tally.publish(&self.telemetry.families, &self.sources);
        let latency = self.event_to_output.local();
        for record in tally.outputs.drain(..) {
            let millis = unsigned(committed.at.since(record).millis());
            latency.observe(Duration::from_millis(millis).as_secs_f64());
        }
        latency.flush();
        let at = Duration::from_millis(unsigned(committed.at.millis())).as_secs_f64();
        for partition in committed.partitions {
            families
                .last_commit
                .with_label_values(&[partition.to_string()])
                .set(at);
        }
        lock(&self.cell.status).committed_at = Some(committed.at);
        tally.clear();
    }

    /// A transaction was given up; its records come again.
    pub fn aborted(&self) {
        self.aborted.inc();
    }

    /// A transaction was refused because we are no member any more; its records are somebody else's now.
    pub fn fenced(&self) {
        self.telemetry
            .families
            .transactions
            .with_label_values(&["fenced"])
            .inc();
    }

    /// A commit did not answer.
    pub fn unknown_outcome(&self) {
        self.unknown.inc();
    }

    /// A producer was made anew.
    pub fn remade(&self, why: Remade) {
        self.telemetry
            .families
            .producers_remade
            .with_label_values(&[why.name()])
            .inc();
    }

    /// Is this worker able to commit? Not while a producer is being made anew.
    pub fn producer_sound(&self, sound: bool) {
        lock(&self.cell.status).producer_sound = sound;
    }

    /// Changed flows and policy are in force here.
    pub fn reload_taken(&self) {
        let reloads = &self.telemetry.families.reloads;
        reloads.with_label_values(&["taken"]).inc();
    }

    /// The worker finishes what it has and ends.
    pub fn stopping(&self) {
        lock(&self.cell.status).stopping = true;
    }

    fn set_state(&self, partition: i32, state: TaskState) {
        let mut status = lock(&self.cell.status);
        if let Some(task) = status.tasks.get_mut(&partition) {
            task.state = state;
        }
        self.count_tasks(&status);
    }

    fn count_tasks(&self, status: &WorkerStatus) {
        let families = &self.telemetry.families;
        for name in TaskState::NAMES {
            let count = status
                .tasks
                .values()
                .filter(|task| task.state.name() == name)
                .count();
            families
                .tasks
                .with_label_values(&[self.label.as_str(), name])
                .set(float(count as u64));
        }
        families
            .assigned_partitions
            .with_label_values(&[self.label.as_str()])
            .set(float(status.tasks.len() as u64));
    }

    /// Removes the series of a partition, unless another worker of this process owns it by now.
    fn end_series(&self, partition: i32) {
        let mut owners = lock(&self.telemetry.owners);
        if owners.get(&partition) != Some(&self.number) {
            return;
        }
        owners.remove(&partition);
        let families = &self.telemetry.families;
        let label = partition.to_string();
        for family in [
            &families.last_commit,
            &families.consumer_lag_seconds,
            &families.held,
            &families.restore_remaining,
            &families.state_bytes,
            &families.state_read_only,
            &families.clock_skew,
        ] {
            // An error means that the series never began.
            drop(family.remove_label_values(&[label.as_str()]));
        }
        for (input, _) in self.sources.inputs() {
            let Some((topic, of_topic)) = self.sources.would_be(input, partition) else {
                continue;
            };
            let labels = [&**topic, &of_topic.to_string()];
            drop(families.consumer_lag_records.remove_label_values(&labels));
            drop(families.inputs_waiting.remove_label_values(&labels));
            drop(families.records_consumed.remove_label_values(&labels));
        }
    }
}

impl Drop for WorkerTelemetry {
    fn drop(&mut self) {
        let partitions: Vec<i32> = lock(&self.cell.status).tasks.keys().copied().collect();
        for partition in partitions {
            self.end_series(partition);
        }
        lock(&self.telemetry.workers).retain(|cell| !Arc::ptr_eq(cell, &self.cell));
    }
}

/// Of a count that is far below 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are floats; a lag beyond 2^53 records does not exist"
)]
const fn float(count: u64) -> f64 {
    count as f64
}

/// Zero for what is negative.
fn unsigned(millis: i64) -> u64 {
    u64::try_from(millis).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::labels::Outcome;
    use super::*;
    use crate::event::EventType;

    fn telemetry() -> (Arc<Telemetry>, WorkerTelemetry) {
        let telemetry = Telemetry::new("shop", "one");
        let worker = telemetry.worker(
            0,
            &Sources::direct(&["shop-events".into(), "clicks".into()]),
        );
        (telemetry, worker)
    }

    #[test]
    fn a_batch_is_counted_once_it_is_committed() {
        let (telemetry, worker) = telemetry();
        worker.assigned(&[3]);
        let mut tally = Tally::default();
        tally.record(InputId(1), 3);
        tally.event(EventType::ProductAdded, Outcome::Folded);
        tally.dead_letter(InputId(1), "undecodable");
        tally.output(Timestamp::from_millis(1_000));
        assert!(!telemetry.render().unwrap().contains("clicks"));
        let committed = Committed {
            at: Timestamp::from_millis(1_004),
            transaction: Duration::from_millis(3),
            commit: Duration::from_millis(1),
            partitions: &[3],
        };
        worker.committed(&mut tally, committed);
        worker.committed(&mut tally, committed);
        let text = telemetry.render().unwrap();
        for line in [
            "tidegate_records_consumed_total{partition=\"3\",topic=\"clicks\"} 1",
            "tidegate_events_total{outcome=\"folded\",stream=\"clickstream\",type=\"product_added\"} 1",
            "tidegate_records_dead_lettered_total{code=\"undecodable\",topic=\"clicks\"} 1",
            "tidegate_transactions_total{outcome=\"committed\"} 2",
            "tidegate_event_to_output_seconds_bucket{le=\"0.005\"} 1",
            "tidegate_last_commit_timestamp_seconds{partition=\"3\"} 1.004",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }

    #[test]
    fn series_and_status_of_a_partition_end_when_it_is_revoked() {
        let (telemetry, worker) = telemetry();
        worker.assigned(&[3, 4]);
        worker.restoring(3, 10, 5);
        let now = Timestamp::from_millis(60_000);
        assert_eq!(
            telemetry.status(now).workers[0]
                .reads
                .iter()
                .map(|read| (&*read.topic, read.partition))
                .collect::<Vec<_>>(),
            [
                ("clicks", 3),
                ("clicks", 4),
                ("shop-events", 3),
                ("shop-events", 4)
            ]
        );
        worker.revoked(&[3], false);
        let text = telemetry.render().unwrap();
        assert!(!text.contains("partition=\"3\""), "{text}");
        assert!(
            text.contains("tidegate_tasks{state=\"restoring\",worker=\"0\"} 1"),
            "{text}"
        );
        drop(worker);
        assert!(telemetry.status(now).workers.is_empty());
        assert!(!telemetry.render().unwrap().contains("partition=\"4\""));
    }

    #[test]
    fn a_partition_that_moved_on_within_the_process_keeps_its_series() {
        let (telemetry, first) = telemetry();
        let second = telemetry.worker(
            1,
            &Sources::direct(&["shop-events".into(), "clicks".into()]),
        );
        first.assigned(&[3]);
        second.assigned(&[3]);
        second.restoring(3, 1, 7);
        first.revoked(&[3], true);
        assert!(
            telemetry
                .render()
                .unwrap()
                .contains("tidegate_restore_remaining_records{partition=\"3\"} 7")
        );
    }

    #[test]
    fn ready_means_assigned_restored_writable_and_sound() {
        use super::super::NotReady;
        let (telemetry, worker) = telemetry();
        let reasons = || telemetry.status(Timestamp::ZERO).not_ready();
        assert_eq!(reasons(), [NotReady::NotAssigned { worker: 0 }]);
        worker.assigned(&[0]);
        worker.restoring(0, 1, 9);
        assert_eq!(
            reasons(),
            [NotReady::Restoring {
                worker: 0,
                partition: 0,
                remaining: 9
            }]
        );
        worker.restored(0, Duration::from_secs(1));
        assert_eq!(reasons(), []);
        worker.producer_sound(false);
        worker.store_read_only(0);
        assert_eq!(
            reasons(),
            [
                NotReady::ProducerNotSound { worker: 0 },
                NotReady::StoreNotWritable {
                    worker: 0,
                    partition: 0
                }
            ]
        );
    }
}
