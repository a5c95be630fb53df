//! How the process's memory budget is divided: what every worker needs beside state, and the rest for state.
//!
//! The constants are measured: `make bench ARGS=--memory` plays five million events of a million customers and prints the peak, which
//! must stay under the budget.

use crate::config::Config;

const MIB: u64 = 1 << 20;
/// The program's pages, HTTP, askers, thread stacks.
const PROGRAM: u64 = 48 * MIB;
/// A worker's librdkafka queues (fetched and not yet polled, produced and not yet acknowledged) and what its allocator keeps at hand.
const WORKER: u64 = 144 * MIB;
/// One record of a full batch: the profile that it touched, and its outbound records in our hands and in the producer's.
const RECORD: u64 = 5 * 1_024;
/// With less than this the store would read from disk for every block.
const LEAST_STATE: u64 = 64 * MIB;
/// What is left for state without a configured budget.
const USUAL_STATE: u64 = 512 * MIB;

/// Bytes for state, for the whole process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    /// Decoded profiles of all tasks together.
    pub(super) profiles: usize,
    /// Blocks, filters, indexes and unflushed changes of all stores together.
    pub(super) store: usize,
}

/// The budget cannot hold this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "state.memory_budget_bytes is {budget}, but {workers} workers with batches of commit.max_records need {least}: write at least that, \
     or lower app.workers or commit.max_records"
)]
pub(super) struct TooLittle {
    budget: u64,
    workers: u16,
    least: u64,
}

/// Divides the budget of `config` for this many workers.
///
/// # Errors
/// When less than 64 MiB would be left for state.
pub(super) fn divide(config: &Config, workers: u16) -> Result<Memory, TooLittle> {
    let records = u64::try_from(config.commit.max_records).unwrap_or(u64::MAX);
    let worker = WORKER.saturating_add(records.saturating_mul(RECORD));
    let beside = worker
        .saturating_mul(u64::from(workers))
        .saturating_add(PROGRAM);
    let least = beside.saturating_add(LEAST_STATE);
    let budget = config
        .state
        .memory_budget_bytes
        .unwrap_or(beside.saturating_add(USUAL_STATE));
    if budget < least {
        return Err(TooLittle {
            budget,
            workers,
            least,
        });
    }
    let state = budget - beside;
    // In ten-thousandths.
    let profiles = state / 10_000 * u64::from(config.state.profile_cache.0);
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Ok(Memory {
        profiles: bytes(profiles),
        store: bytes(state - profiles),
    })
}
