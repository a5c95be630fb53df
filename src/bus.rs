//! The seam to the bus: what one worker needs of Kafka, in words without a client library.
//!
//! Two implementations: [`kafka`] (rdkafka; real brokers and the demo's embedded one) and the simulation's seeded in-memory bus,
//! which knows transactions, generations, the last stable offset and late commits. Rebalances arrive as values from
//! [`Bus::poll`], so that the worker, and not a callback, decides in which order to commit, assign and let go.
//!
//! ```text
//! a transaction:  begin ─► send … ─► drain ─► send_offsets ─► commit
//!                   │        │         │           │             ├─ Ok: the point of no return
//!                   └────────┴─────────┴───────────┴─ abort      └─ Err(Unknown…): remake, ask the broker what happened
//! ```

use std::sync::Arc;
use std::time::Duration;

use crate::value::Timestamp;

pub mod failure;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod rounds;
pub mod sources;

pub use failure::{Failure, Remedy};
pub use rounds::Rounds;
pub use sources::{Source, Sources};

/// The next offset to read. The `+ 1` after a record happens once, in [`NextOffset::after`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextOffset(i64);

impl NextOffset {
    /// The beginning of a partition that was never trimmed.
    pub const START: Self = Self(0);
    /// The offset that follows the record at `offset`.
    #[must_use]
    pub const fn after(offset: i64) -> Self {
        Self(offset + 1)
    }
    /// An offset that already means "next".
    #[must_use]
    pub const fn at(offset: i64) -> Self {
        Self(offset)
    }
    /// As the broker counts.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// Index in the worker's list of inputs ([`Sources`]); 0 is `<app>-events`, the anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputId(pub u16);

/// One record of an input.
#[derive(Clone, Debug)]
pub struct Record {
    /// Which input.
    pub input: InputId,
    /// Partition = task.
    pub partition: i32,
    /// Its own offset.
    pub offset: i64,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Key bytes.
    pub key: Option<Vec<u8>>,
    /// Value bytes.
    pub value: Option<Vec<u8>>,
    /// Headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// What one poll brought.
#[derive(Debug)]
pub enum Polled {
    /// Nothing within the wait.
    Nothing,
    /// A record.
    Record(Record),
    /// These anchor partitions are ours from now on; answer with [`Bus::assign`] (also when empty).
    Assigned(Vec<i32>),
    /// Give these anchor partitions up; answer with [`Bus::unassign`] (also when empty).
    Revoked {
        /// Which.
        partitions: Vec<i32>,
        /// Somebody else may own them already: commit nothing more of them.
        lost: bool,
    },
    /// Topics that go through intake have more partitions than before: these tasks have more to read, paused until [`Bus::resume`].
    Grown(Vec<i32>),
    /// An input of these tasks was gone for a while, or ends before where it ended: it may have been made anew, and nothing that is known
    /// of its positions can be trusted. Commit nothing more before they are settled again.
    Doubted(Vec<i32>),
}

/// Where an outbound record goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This partition.
    Partition(i32),
    /// By murmur2 of the key, as Java does.
    Key,
}

/// A record to produce. Its timestamp is the time of production.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Topic name.
    pub topic: Arc<str>,
    /// Which partition.
    pub target: Target,
    /// Key bytes.
    pub key: Option<Vec<u8>>,
    /// Value bytes; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Report where it landed: `Some(task)` for changelog records, whose highest offset the store must know.
    pub changelog_of: Option<i32>,
}

/// Which of a worker's two producers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The first.
    A,
    /// The second.
    B,
}

impl Turn {
    /// The one whose turn comes next.
    #[must_use]
    pub const fn next(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
    /// Suffix of its transactional id.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

/// Position of one task in one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Which input.
    pub input: InputId,
    /// Which partition.
    pub partition: i32,
    /// The next offset to read.
    pub next: NextOffset,
}

/// How far one input partition was read, against the end it had when somebody last asked (CK-1, merge by record time).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which input.
    pub input: InputId,
    /// Which partition.
    pub partition: i32,
    /// Everything readable below this offset was returned by [`Bus::poll`]; moves over markers and aborted records.
    pub delivered: NextOffset,
    /// The high watermark as a fresh request to the broker told it (never from a fetch response's cache): what is appended behind an
    /// open transaction counts, readable or not.
    pub end: NextOffset,
    /// How long ago that request was *sent*.
    pub age: Duration,
}

/// One record of a changelog partition.
#[derive(Clone, Debug)]
pub struct ChangelogRecord {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Key.
    pub key: Vec<u8>,
    /// Value; `None` deletes.
    pub value: Option<Vec<u8>>,
}

/// What one read of a changelog brought.
#[derive(Debug, Default)]
pub struct ChangelogChunk {
    /// Records, in order; markers and aborted records are not among them.
    pub records: Vec<ChangelogRecord>,
    /// Position after them, markers included: the next offset that the reader would fetch.
    pub position: Option<NextOffset>,
}

/// First offset kept and next offset to be written of a changelog partition, transactions still open included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// First offset kept.
    pub low: NextOffset,
    /// Next offset to be written (the high watermark, not the last stable offset).
    pub high: NextOffset,
}

/// One worker's connections: a group member, two transactional producers, a reader of changelogs.
///
/// All calls come from the worker's thread. None but `poll` waits longer than its own bounded network call.
pub trait Bus {
    /// Waits up to `wait` for the next thing to happen.
    ///
    /// # Errors
    /// What the failure's remedy says; a fatal consumer error ends the process.
    fn poll(&mut self, wait: Duration) -> Result<Polled, Failure>;

    /// Takes the anchor and direct inputs of these partitions over in one call, paused until [`Bus::resume`].
    ///
    /// # Errors
    /// When the client refuses; the worker must not go on.
    fn assign(&mut self, partitions: &[i32]) -> Result<(), Failure>;

    /// Gives every input of these partitions up, exactly what is held.
    ///
    /// # Errors
    /// When the client refuses; the worker must not go on.
    fn unassign(&mut self, partitions: &[i32], lost: bool) -> Result<(), Failure>;

    /// The committed (stable) offsets of every input of these partitions; `None` where nothing was ever committed.
    ///
    /// # Errors
    /// `Retry` while an answer is missing: a missing answer is never read as zero.
    fn committed(
        &mut self,
        partitions: &[i32],
    ) -> Result<Vec<(InputId, i32, Option<NextOffset>)>, Failure>;

    /// First offset kept and end of every input of these partitions, in one question.
    ///
    /// # Errors
    /// `Retry` while a leader does not answer: all or none.
    fn input_watermarks(
        &mut self,
        partitions: &[i32],
    ) -> Result<Vec<(InputId, i32, Watermarks)>, Failure>;

    /// Reads on from these positions (seeks and resumes). What was fetched before is forgotten.
    ///
    /// # Errors
    /// When the client refuses.
    fn resume(&mut self, positions: &[Position]) -> Result<(), Failure>;

    /// Stops reading one input partition until [`Bus::resume`] (backpressure of the merge by record time, waiting inputs).
    ///
    /// # Errors
    /// When the client refuses.
    fn pause(&mut self, input: InputId, partition: i32) -> Result<(), Failure>;

    /// The latest known [`Progress`] of every input partition that is assigned and was asked for at least once. Never blocks:
    /// a watcher beside the worker asks the brokers for the ends about every half second, and at once after an assignment.
    fn progress(&mut self, each: &mut dyn FnMut(Progress));

    /// CK-1 beyond the own tasks: a moment (elapsed) of which somebody found, at `by` at the latest, that everything appended before it
    /// to any input partition of the application, ours or another's, is committed, and what that led to on `<app>-events` too. Never
    /// blocks. `None` until it is known of any.
    fn settled(&mut self, by: Duration) -> Option<Duration>;

    /// Opens a transaction on the producer whose turn it is.
    ///
    /// # Errors
    /// `Remake` when this producer was fenced while the consumer is still a member.
    fn begin(&mut self, turn: Turn) -> Result<(), Failure>;

    /// Puts a record into the open transaction; the local queue being full is served inside.
    ///
    /// # Errors
    /// When the record can never be sent (too large), or the transaction must be aborted.
    fn send(&mut self, turn: Turn, record: Outgoing) -> Result<(), Failure>;

    /// Waits until every record of the transaction is acknowledged. Gives, per task, the highest offset of its changelog records.
    ///
    /// # Errors
    /// `Abort` when any record failed.
    fn drain(&mut self, turn: Turn) -> Result<Vec<(i32, i64)>, Failure>;

    /// Adds the consumed positions of *every* task in the batch to the transaction, under group metadata read now.
    /// An empty list would silently be no generation check (a zombie would commit), so it is a broken invariant.
    ///
    /// # Errors
    /// `Abort` on a rebalance, `Fenced` when we are no member any more.
    fn send_offsets(&mut self, turn: Turn, positions: &[Position]) -> Result<(), Failure>;

    /// The point of no return.
    ///
    /// # Errors
    /// `Remake` when the outcome is unknown: never abort after it.
    fn commit(&mut self, turn: Turn) -> Result<(), Failure>;

    /// Gives the open transaction up.
    ///
    /// # Errors
    /// `Remake` when even that is not certain.
    fn abort(&mut self, turn: Turn) -> Result<(), Failure>;

    /// Did something happen since `begin` after which this producer may not be used again, though the commit succeeded
    /// (time-out, transport error, coordinator change: a late `EndTxn` could hit the next transaction)?
    fn suspect(&self, turn: Turn) -> bool;

    /// Drops the producer and makes it anew under the same id; the broker completes or aborts its old transaction.
    ///
    /// # Errors
    /// `Retry` while the coordinator does not answer.
    fn remake(&mut self, turn: Turn) -> Result<(), Failure>;

    /// Ends of a changelog partition, as a read_uncommitted client sees them.
    ///
    /// # Errors
    /// `Retry` while the leader does not answer.
    fn changelog_watermarks(&mut self, partition: i32) -> Result<Watermarks, Failure>;

    /// The offset of the first record of a changelog partition that was produced at `since` or later; `None` when there is none.
    ///
    /// # Errors
    /// `Retry` while the leader does not answer.
    fn changelog_since(
        &mut self,
        partition: i32,
        since: Timestamp,
    ) -> Result<Option<NextOffset>, Failure>;

    /// Starts reading a changelog partition (read_committed) at `from`; several may be open.
    ///
    /// # Errors
    /// When the client refuses.
    fn open_changelog(&mut self, partition: i32, from: NextOffset) -> Result<(), Failure>;

    /// Reads what has arrived of the open changelogs, up to `wait` for the first record: partition → chunk.
    ///
    /// # Errors
    /// `Retry` on transport errors.
    fn read_changelogs(&mut self, wait: Duration) -> Result<Vec<(i32, ChangelogChunk)>, Failure>;

    /// Ends reading a changelog partition.
    ///
    /// # Errors
    /// When the client refuses.
    fn close_changelog(&mut self, partition: i32) -> Result<(), Failure>;

    /// Leaves the group for good (scale-in) or closes so that a restart under the same name takes its place at once.
    ///
    /// # Errors
    /// When the goodbye did not reach the coordinator; nothing is lost by that.
    fn close(&mut self, farewell: Farewell) -> Result<(), Failure>;
}

/// How a worker says goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// Coming back soon: stay a static member.
    Restart,
    /// Not coming back: hand the partitions over now.
    Leave,
}
