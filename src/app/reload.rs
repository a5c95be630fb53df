//! Changed flows and policy while running (product.md §6): looked for about twice a second, off the hot path, or at once on SIGHUP.
//!
//! ```text
//!  files ─ stamps differ, and stand still for one look ─► contents differ ─► load, check everything ─┬─ good ─► workers take it between batches
//!  SIGHUP ───────────────────────────────────────────────────────────────────────────────────────────┴─ not: the old set stays, an alarm rises
//! ```
//! What may change: flows, policy with its control group, and the mode, cost, quiet hours and breaker of channels. Whatever else differs waits for a restart and is named.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::exit::{Exit, Stop};
use super::load::{LoadError, flow_files, load, plan_of};
use crate::config::{Config, Overrides};
use crate::engine::Plan;
use crate::flow::Flow;
use crate::task::fold::FoldPlan;
use crate::telemetry::Telemetry;

/// Between two looks. A set that is written file by file is taken when it has stood still for that long.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The set in force, for workers to look at before every pass: one atomic load while nothing has changed.
pub(super) struct Current {
    number: AtomicU64,
    set: Mutex<Arc<FoldPlan>>,
}

impl Current {
    pub(super) fn new(set: Arc<FoldPlan>) -> Self {
        Self {
            number: AtomicU64::new(0),
            set: Mutex::new(set),
        }
    }

    /// The set in force, when it is another than the one of that number, which moves on.
    pub(super) fn newer_than(&self, number: &mut u64) -> Option<Arc<FoldPlan>> {
        let now = self.number.load(Ordering::Acquire);
        if now == *number {
            return None;
        }
        *number = now;
        Some(Arc::clone(&*self.get()))
    }

    fn get(&self) -> std::sync::MutexGuard<'_, Arc<FoldPlan>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, set: FoldPlan) {
        // First the set, then its number: whoever sees the number finds the set.
        *self.get() = Arc::new(set);
        self.number.fetch_add(1, Ordering::Release);
    }
}

/// Where the configuration came from.
pub struct Source {
    /// Its file.
    pub path: PathBuf,
    /// What was laid over it.
    pub overrides: Overrides,
}

/// What a look at the files sees without reading them: when and how long, and which file it is (a directory of links may be switched).
type Stamps = BTreeMap<PathBuf, Option<(i64, i64, u64, u64)>>;

/// The thread that looks.
struct Watch {
    source: Source,
    /// As it is in force: what waits for a restart is as it was.
    config: Config,
    /// Flow files and directories that were named last, by a good configuration or not: what is mended there is seen.
    flows: Vec<PathBuf>,
    current: Arc<Current>,
    telemetry: Arc<Telemetry>,
    /// As of the last look.
    seen: Stamps,
    /// Of the contents that are known.
    known: Stamps,
    contents: u64,
}

/// Starts to look; a message on the channel asks for a look at once (SIGHUP). The thread ends with the process, or when the sender does.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn watch(
    source: Source,
    config: &Config,
    current: &Arc<Current>,
    telemetry: &Arc<Telemetry>,
) -> std::io::Result<Sender<()>> {
    let (ask, asked) = channel();
    let mut watch = Watch {
        flows: config.flows.0.clone(),
        source,
        config: config.clone(),
        current: Arc::clone(current),
        telemetry: Arc::clone(telemetry),
        seen: Stamps::new(),
        known: Stamps::new(),
        contents: 0,
    };
    watch.remember(watch.look());
    std::thread::Builder::new()
        .name("reload".to_owned())
        .spawn(move || watch.turn(&asked))?;
    Ok(ask)
}

impl Watch {
    fn turn(mut self, asked: &Receiver<()>) {
        loop {
            match asked.recv_timeout(LOOK_EVERY) {
                Ok(()) => {
                    tracing::info!("SIGHUP: flows and policy are read again");
                    self.remember(self.look());
                    self.reload();
                }
                Err(RecvTimeoutError::Timeout) => self.look_again(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Reads only what has another stamp, and only when that has stood still since the last look.
    fn look_again(&mut self) {
        let stamps = self.look();
        let stands_still = stamps == self.seen;
        self.seen.clone_from(&stamps);
        if stands_still && stamps != self.known {
            let before = self.contents;
            self.remember(stamps);
            if self.contents != before {
                self.reload();
            }
        }
    }

    fn remember(&mut self, stamps: Stamps) {
        self.contents = contents(&stamps);
        self.seen.clone_from(&stamps);
        self.known = stamps;
    }

    /// The files that may change: configuration, policy, flows.
    fn look(&self) -> Stamps {
        let Source { path, overrides } = &self.source;
        let policy = Config::policy_file(path, overrides);
        let flows = self.flows.iter().flat_map(|named| {
            let files = flow_files(std::slice::from_ref(named)).unwrap_or_default();
            std::iter::once(named.clone()).chain(files)
        });
        let files = std::iter::once(path.clone()).chain(policy).chain(flows);
        files
            .map(|file| {
                let stamp = stamp(&file);
                (file, stamp)
            })
            .collect()
    }

    fn reload(&mut self) {
        match self.load() {
            Ok(taken) => {
                self.telemetry.reload_checked();
                tracing::info!(flows = %taken, "changed flows and policy are good: the workers take them with their next batch");
            }
            Err(error) => {
                self.telemetry.reload_refused();
                let why = Stop::of(Exit::Config, &error);
                tracing::error!(error = %why, "changed flows and policy are not taken, the old ones stay in force: mend the files");
            }
        }
    }

    /// Reads and checks everything, and puts it in force when all of it is good. Gives the flows that changed.
    fn load(&mut self) -> Result<String, LoadError> {
        let Source { path, overrides } = &self.source;
        if let Ok((named, _)) = Config::examine(path, overrides) {
            self.flows = named.flows.0;
        }
        let (new, _) = load(path, overrides)?;
        let taken = self.config.taking(&new);
        let left = taken.differences(&new);
        if !left.is_empty() {
            let settings = left.join(", ");
            tracing::warn!(settings, "changed, and taken by a restart only");
        }
        // The flows once more, against what is in force of the channels.
        let plan = plan_of(&taken, path)?;
        let old = Arc::clone(&*self.current.get());
        let changed = changed(&old.plan, &plan);
        self.config = taken;
        self.current.put(FoldPlan {
            plan,
            inputs: old.inputs.clone(),
            partitions: old.partitions,
            decode: old.decode.clone(),
            clock: old.clock,
        });
        Ok(changed)
    }
}

/// Names of the flows that are new, gone or another version; `none` when only the policy changed.
fn changed(old: &Plan, new: &Plan) -> String {
    let (old, new) = (old.flows.current(), new.flows.current());
    let names: BTreeSet<&Arc<str>> = old.keys().chain(new.keys()).collect();
    let version = |flows: &BTreeMap<Arc<str>, Arc<Flow>>, name| {
        let flow = flows.get(name);
        flow.map(|flow| Arc::clone(&flow.version))
    };
    let changed: Vec<&str> = names
        .into_iter()
        .filter(|name| version(old, *name) != version(new, *name))
        .map(|name| &**name)
        .collect();
    if changed.is_empty() {
        "none".to_owned()
    } else {
        changed.join(", ")
    }
}

fn stamp(file: &Path) -> Option<(i64, i64, u64, u64)> {
    let about = std::fs::metadata(file).ok()?;
    Some((about.mtime(), about.mtime_nsec(), about.size(), about.ino()))
}

/// Hash of names and contents; what cannot be read counts as not there.
fn contents(stamps: &Stamps) -> u64 {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    for file in stamps.keys() {
        hash.update(file.as_os_str().as_encoded_bytes());
        if let Ok(text) = std::fs::read(file) {
            hash.update(&text.len().to_be_bytes());
            hash.update(&text);
        }
    }
    hash.digest()
}
