//! What the shell tells of itself: metrics, status, logs. The core tells nothing; the shell counts what `step` returns.
//!
//! [`table`] declares every metric once. [`Telemetry`] owns them, without a global registry, and is shared by [`Arc`]; each worker
//! thread writes through its own [`WorkerTelemetry`], which counts a batch in plain memory ([`Tally`]) and publishes it once, after
//! the commit: what was aborted and read again is counted once. Nothing of a customer's is ever a label or part of a log line.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::process_collector::ProcessCollector;
use prometheus::{Registry, TextEncoder};

use crate::bus::Sources;
use crate::value::Timestamp;

mod labels;
pub mod logs;
pub mod status;
pub mod table;
mod tally;
mod worker;

pub use labels::{Asked, Outcome, Remade};
pub use logs::{LogError, LogFormat};
pub use status::{NotReady, Read, Status, Stuck, TaskState, TaskStatus, WorkerStatus};
pub use table::{BUCKETS, Kind, METRICS, Metric};
pub use tally::Tally;
pub use worker::{Committed, TaskReport, WorkerTelemetry};

use table::Families;
use worker::WorkerCell;

/// All metrics and the status of one process.
pub struct Telemetry {
    app: Arc<str>,
    instance: Arc<str>,
    registry: Registry,
    families: Families,
    workers: Mutex<Vec<Arc<WorkerCell>>>,
    /// Which worker's series a partition's are: a partition that has moved on within the process keeps its series.
    owners: Mutex<std::collections::BTreeMap<i32, u16>>,
}

impl Telemetry {
    /// Registers the whole table and the process's own figures (`process_*`).
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "the table is constant and a test registers it: a clash is a bug, not a state"
    )]
    pub fn new(app: &str, instance: &str) -> Arc<Self> {
        let registry = Registry::new();
        let families = Families::register(&registry).expect("metric table without clashes");
        registry
            .register(Box::new(ProcessCollector::for_self()))
            .expect("process metrics beside ours");
        families
            .build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1.0);
        let unlabelled: [&str; 0] = [];
        families
            .reload_failed
            .with_label_values(&unlabelled)
            .set(0.0);
        Arc::new(Self {
            app: app.into(),
            instance: instance.into(),
            registry,
            families,
            workers: Mutex::default(),
            owners: Mutex::default(),
        })
    }

    /// The handle of worker `number`, which reads `sources`.
    #[must_use]
    pub fn worker(self: &Arc<Self>, number: u16, sources: &Sources) -> WorkerTelemetry {
        let cell = Arc::new(WorkerCell::new(number));
        lock(&self.workers).push(Arc::clone(&cell));
        WorkerTelemetry::new(Arc::clone(self), cell, sources)
    }

    /// Which worker of this process owns a partition.
    #[must_use]
    pub fn owner(&self, partition: i32) -> Option<u16> {
        lock(&self.owners).get(&partition).copied()
    }

    /// Changed flows and policy are good: workers may take them.
    pub fn reload_checked(&self) {
        self.reload_failed(0.0);
    }

    /// Changed flows and policy are wrong; the old ones stay in force.
    pub fn reload_refused(&self) {
        self.families.reloads.with_label_values(&["refused"]).inc();
        self.reload_failed(1.0);
    }

    /// A question to the schema registry ended.
    pub fn asked_registry(&self, asked: Asked) {
        let requests = &self.families.registry_requests;
        requests.with_label_values(&[asked.name()]).inc();
    }

    fn reload_failed(&self, failed: f64) {
        let unlabelled: [&str; 0] = [];
        let gauge = &self.families.reload_failed;
        gauge.with_label_values(&unlabelled).set(failed);
    }

    /// Every metric in Prometheus' text format.
    ///
    /// # Errors
    /// When two families share a name, which the table excludes.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// What every worker said last; `now` is the wall time of the answer.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        let mut workers: Vec<WorkerStatus> = lock(&self.workers)
            .iter()
            .map(|cell| cell.snapshot())
            .collect();
        workers.sort_by_key(|worker| worker.worker);
        Status {
            version: env!("CARGO_PKG_VERSION"),
            app: Arc::clone(&self.app),
            instance: Arc::clone(&self.instance),
            now,
            workers,
        }
    }
}

/// The lock, whatever a thread that panicked left behind: the guarded values are whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The table of metrics as the README shows it.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from("| metric | labels | unit | meaning |\n|---|---|---|---|\n");
    for metric in METRICS {
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let line = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            metric.name,
            labels.join(", "),
            metric.unit,
            metric.help
        );
        debug_assert!(line.is_ok(), "writing to a String cannot fail");
    }
    text
}
