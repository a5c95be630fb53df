//! What `/status` and the probes tell: plain data, written by the worker threads, read by HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::value::Timestamp;

/// The instance as it is right now.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Of the program.
    pub version: &'static str,
    /// `app` of the configuration.
    #[serde(serialize_with = "text")]
    pub app: Arc<str>,
    /// `instance` of the configuration.
    #[serde(serialize_with = "text")]
    pub instance: Arc<str>,
    /// Wall time of this answer.
    pub now: Timestamp,
    /// One per worker thread, by number.
    pub workers: Vec<WorkerStatus>,
}

/// One worker thread.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WorkerStatus {
    /// Its number.
    pub worker: u16,
    /// Last turn of its poll loop; `None` before the first.
    pub polled_at: Option<Timestamp>,
    /// Last committed transaction.
    pub committed_at: Option<Timestamp>,
    /// Has the group answered yet? An answer without partitions counts.
    pub joined: bool,
    /// May its producers be used?
    pub producer_sound: bool,
    /// Does it refuse new work because it is about to end?
    pub stopping: bool,
    /// Every partition of every input that it reads right now (EO-5 is checked from outside through this).
    pub reads: Vec<Read>,
    /// Its tasks, by partition.
    #[serde(serialize_with = "values")]
    pub tasks: BTreeMap<i32, TaskStatus>,
}

fn text<S: serde::Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn values<S: serde::Serializer>(
    tasks: &BTreeMap<i32, TaskStatus>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(tasks.values())
}

/// One input partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Read {
    /// Topic name.
    #[serde(serialize_with = "text")]
    pub topic: Arc<str>,
    /// Partition number.
    pub partition: i32,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskStatus {
    /// Its number.
    pub partition: i32,
    /// Where it stands in its life.
    #[serde(flatten)]
    pub state: TaskState,
    /// Its clock, once it runs.
    pub clock: Option<Timestamp>,
    /// Records between its positions and the ends, all inputs together.
    pub lag: u64,
    /// Can its store be written?
    pub writable: bool,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TaskState {
    /// Reads its changelog back.
    Restoring {
        /// Changelog records still to be read, as far as known.
        remaining: u64,
    },
    /// Reads, decides, hands over.
    Running,
    /// Reads and decides, but hands nothing over: some input has not been read to its end (CK-1).
    Behind {
        /// Since when.
        since: Timestamp,
    },
    /// Too many dead letters in a row: it stopped reading, its offsets stay, a person must look.
    Poisoned,
}

impl TaskState {
    /// Every name, in the order of a task's life.
    pub const NAMES: [&'static str; 4] = ["restoring", "running", "behind", "poisoned"];

    /// As label and in `/status`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Restoring { .. } => "restoring",
            Self::Running => "running",
            Self::Behind { .. } => "behind",
            Self::Poisoned => "poisoned",
        }
    }
}

/// Why an instance is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum NotReady {
    /// No worker has started yet.
    Starting,
    /// The group has not answered this worker.
    NotAssigned {
        /// Which.
        worker: u16,
    },
    /// A task reads its changelog back.
    Restoring {
        /// Which.
        worker: u16,
        /// Which.
        partition: i32,
        /// Changelog records still to be read.
        remaining: u64,
    },
    /// A task stopped reading because of too many dead letters.
    Poisoned {
        /// Which.
        worker: u16,
        /// Which.
        partition: i32,
    },
    /// The disk refuses.
    StoreNotWritable {
        /// Which.
        worker: u16,
        /// Which.
        partition: i32,
    },
    /// A producer is being made anew.
    ProducerNotSound {
        /// Which.
        worker: u16,
    },
    /// The worker is about to end.
    Stopping {
        /// Which.
        worker: u16,
    },
}

/// A worker whose poll loop does not turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stuck {
    /// Which.
    pub worker: u16,
    /// Last turn of its poll loop.
    pub polled_at: Option<Timestamp>,
}

impl Status {
    /// Everything that stands in the way of being ready; empty means ready. A task that is behind is ready: suppressions leave.
    #[must_use]
    pub fn not_ready(&self) -> Vec<NotReady> {
        if self.workers.is_empty() {
            return vec![NotReady::Starting];
        }
        let mut reasons = Vec::new();
        for status in &self.workers {
            let worker = status.worker;
            if !status.joined {
                reasons.push(NotReady::NotAssigned { worker });
            }
            if !status.producer_sound {
                reasons.push(NotReady::ProducerNotSound { worker });
            }
            if status.stopping {
                reasons.push(NotReady::Stopping { worker });
            }
            for task in status.tasks.values() {
                let partition = task.partition;
                if !task.writable {
                    reasons.push(NotReady::StoreNotWritable { worker, partition });
                }
                match task.state {
                    TaskState::Restoring { remaining } => reasons.push(NotReady::Restoring {
                        worker,
                        partition,
                        remaining,
                    }),
                    TaskState::Poisoned => reasons.push(NotReady::Poisoned { worker, partition }),
                    TaskState::Running | TaskState::Behind { .. } => {}
                }
            }
        }
        reasons
    }

    /// Workers whose poll loop has not turned for `limit` milliseconds; empty means alive.
    #[must_use]
    pub fn stuck(&self, limit: crate::value::Span) -> Vec<Stuck> {
        self.workers
            .iter()
            .filter(|worker| {
                worker
                    .polled_at
                    .is_some_and(|polled| self.now.since(polled) > limit)
            })
            .map(|worker| Stuck {
                worker: worker.worker,
                polled_at: worker.polled_at,
            })
            .collect()
    }
}
