//! `run`: the parts put together, turned until somebody says stop.
//!
//! ```text
//! main thread: signals ──► stop ──► every worker's next pass ends with close(farewell)
//! worker n:    connect ─► pass, pass, pass … ─► close       (no async, no lock between workers)
//! http thread: /metrics, /livez, /readyz, /status from what workers said last
//! reload:      looks for changed flows and policy; workers take them between two batches
//! ```
//!
//! SIGTERM: finish the batch and close, coming back soon (a static member keeps its partitions). SIGINT: the same, but leave the
//! group for good, so that others take over at once (scale-in). A second signal, or a close that outlasts `app.stop_within`, ends
//! the process where it stands; what was not committed is read again.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::exit::{Exit, Stop};
use super::reload::{self, Current, Source};
use super::{kafka, memory, registry as schemas};
use crate::bus::kafka::admin::Admin;
use crate::bus::{Farewell, Sources};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, LogFormat};
use crate::engine::Plan;
use crate::outbound::OutboundPlan;
use crate::plan;
use crate::store::directory::{Directory, HELD, claim_instance};
use crate::store::layout::StoreIdentity;
use crate::store::rocks::{RocksShared, RocksStore};
use crate::store::staging::CacheLimits;
use crate::store::{Store, StoreError};
use crate::task::PoisonLimit;
use crate::task::fold::FoldPlan;
use crate::telemetry::{Telemetry, logs};
use crate::value::Span;
use crate::worker::{Lookup, Stores, Worker, WorkerSettings};
use crate::{bus, http, registry};

/// A poll loop that has not turned for that long is stuck. Longer than any bounded call of the bus.
const STUCK_AFTER: Span = Span::from_secs(60);

/// A worker that lost a partition lets go of it within that time: its session and one bounded call of the bus.
const HANDED_OVER_WITHIN: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Signals that follow the first one that fast are the same wish.
const SAME_WISH: Duration = Duration::from_millis(500);

/// A decoded profile takes about that many bytes, at least.
const LEAST_PROFILE: usize = 512;

/// Goes on, or how to end.
const GO: u8 = 0;
const RESTART: u8 = 1;
const LEAVE: u8 = 2;

/// Runs the application until a signal or a failure ends it.
///
/// # Errors
/// Why it ended, if nobody asked it to.
pub fn run(config: &Config, flows: Plan, source: Source) -> Result<(), Stop> {
    // Before anything that takes time: a signal that comes meanwhile waits until it can be heeded, and is not lost.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let signals = runtime.block_on(async { Signals::listen() })?;
    let telemetry = Telemetry::new(&config.app.id, &config.app.instance);
    let format = match config.log.format {
        LogFormat::Text => logs::LogFormat::Text,
        LogFormat::Json => logs::LogFormat::Json,
    };
    logs::init(format, &config.log.level, Some(Arc::clone(&telemetry)))
        .map_err(|error| Stop::of(Exit::Config, &error))?;
    let state = config.state_root().join(&config.app.id);
    let _instance = claim_instance(&state).map_err(|error| {
        let text = format!(
            "cannot claim {}: {error}; give each instance its own app.instance",
            state.display()
        );
        Stop::new(Exit::Io, text)
    })?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let wall = Arc::clone(&clock);
    let workers = worker_count(config);
    let (asked, mut lookups): (Vec<_>, VecDeque<_>) = (0..workers).map(|_| channel()).unzip();
    let server = http::Settings {
        listen: config.http.listen,
        stuck_after: STUCK_AFTER,
        now: Arc::new(move || wall.wall()),
        customers: customers(config, asked)?,
    };
    let server = http::Server::start(server, Arc::clone(&telemetry))
        .map_err(|error| Stop::of(Exit::Io, &error))?;
    tracing::info!(address = %server.address(), "HTTP is up");

    let admin = Admin::connect(&kafka::settings(config, 0)?)?;
    kafka::ready_topics(&kafka::topics(config), &admin, config.topics.create)?;
    let cluster = admin.cluster_id()?;
    let delete_retention = kafka::delete_retention(config, &admin)?;
    let counts = kafka::intake_counts(config, &admin)?;
    let parts = Parts::of(
        config,
        flows,
        clock,
        Arc::clone(&telemetry),
        cluster,
        delete_retention,
        &counts,
    )?;
    let again = reload::watch(source, config, &parts.current, &telemetry)?;
    let (ended, watch) = unbounded_channel();
    let command = Arc::new(AtomicU8::new(GO));
    let mut threads = Vec::new();
    for number in 0..workers {
        let Some(lookups) = lookups.pop_front() else {
            break;
        };
        threads.push(parts.start(config, number, lookups, &command, ended.clone())?);
    }
    drop(ended);
    // When a worker hangs, joining it would hang too: the process ends as it stands.
    let stopped = stop(&command, signals, watch, config.app.stop_within, &again);
    runtime.block_on(stopped)?;
    let mut outcome = Ok(());
    for thread in threads {
        let ended = thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        outcome = outcome.and(ended);
    }
    drop(server);
    outcome
}

/// What `/v1/customers` takes, if it is switched on.
fn customers(
    config: &Config,
    workers: Vec<Sender<Lookup>>,
) -> Result<Option<http::Customers>, Stop> {
    let (Some(section), Some(address)) = (&config.http.customers, config.http.customers_address())
    else {
        return Ok(None);
    };
    let token = section.token.reveal().map_err(|error| {
        let text = format!("http.customers.token: cannot read its file: {error}");
        Stop::new(Exit::Config, text)
    })?;
    let settings = kafka::settings(config, 0)?;
    let elsewhere: http::Elsewhere = Arc::new(move |partition| {
        bus::kafka::owner::address_of(&settings, partition)
            .inspect_err(|error| tracing::warn!(%error, "a customer was asked for"))
            .ok()
            .flatten()
    });
    Ok(Some(http::Customers::new(
        &token,
        config.topics.partitions,
        workers,
        elsewhere,
        address,
    )))
}

/// One per core, at most one per partition.
fn worker_count(config: &Config) -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let partitions = usize::try_from(config.topics.partitions).unwrap_or(1);
    let wanted = config.app.workers.unwrap_or(cores).min(partitions).max(1);
    u16::try_from(wanted).unwrap_or(u16::MAX)
}

/// What all workers share.
struct Parts {
    clock: Arc<dyn Clock>,
    telemetry: Arc<Telemetry>,
    shared: Arc<FoldPlan>,
    current: Arc<Current>,
    outbound: Arc<OutboundPlan>,
    settings: WorkerSettings,
    stores: RocksStores,
    /// Where something is read or written with a schema registry.
    desk: Option<Arc<registry::Desk>>,
    sources: Sources,
}

impl Parts {
    fn of(
        config: &Config,
        flows: Plan,
        clock: Arc<dyn Clock>,
        telemetry: Arc<Telemetry>,
        cluster: String,
        delete_retention: Span,
        counts: &BTreeMap<Arc<str>, i32>,
    ) -> Result<Self, Stop> {
        let memory = memory::divide(config, worker_count(config))
            .map_err(|error| Stop::of(Exit::Config, &error))?;
        let partitions = usize::try_from(config.topics.partitions)
            .unwrap_or(1)
            .max(1);
        let threads = i32::from(worker_count(config));
        let mut outbound =
            plan::outbound_plan(config).map_err(|error| Stop::of(Exit::Config, &error))?;
        let desk = match schemas::client(config)? {
            Some(client) => {
                schemas::register(config, &client, &mut outbound)?;
                Some(registry::start(client, &telemetry)?)
            }
            None => None,
        };
        let mut shared = plan::fold_plan(config, flows, plan::clock_kind(config))
            .map_err(|error| Stop::of(Exit::Config, &error))?;
        plan::add_lanes(&mut shared, counts);
        let sources = plan::sources(&shared, counts);
        let shared = Arc::new(shared);
        Ok(Self {
            desk,
            clock,
            telemetry,
            outbound: Arc::new(outbound),
            current: Arc::new(Current::new(Arc::clone(&shared))),
            shared,
            settings: WorkerSettings {
                max_records: config.commit.max_records,
                max_bytes: config.commit.max_bytes,
                max_delay: Duration::from_millis(config.commit.max_delay_ms),
                max_hold: duration(config.app.max_hold),
                delete_retention,
                cache: CacheLimits {
                    // One process may come to own every partition.
                    profiles: (memory.profiles / partitions / LEAST_PROFILE).max(100),
                    bytes: memory.profiles / partitions,
                },
                poison: poison(config),
                ..WorkerSettings::default()
            },
            stores: RocksStores {
                shared: Arc::new(RocksShared::new(memory.store, threads)?),
                state_dir: config.state_root(),
                application: config.app.id.clone(),
                cluster,
                partitions: config.topics.partitions,
                inputs: sources.names(),
            },
            sources,
        })
    }

    /// Starts one worker's thread: it connects, then passes until told to stop.
    fn start(
        &self,
        config: &Config,
        number: u16,
        lookups: Receiver<Lookup>,
        command: &Arc<AtomicU8>,
        ended: UnboundedSender<()>,
    ) -> Result<JoinHandle<Result<(), Stop>>, Stop> {
        let mut settings = kafka::settings(config, number)?;
        settings.sources = self.sources.clone();
        let telemetry = self.telemetry.worker(number, &self.sources);
        let (clock, shared) = (Arc::clone(&self.clock), Arc::clone(&self.shared));
        let (outbound, stores) = (Arc::clone(&self.outbound), self.stores.clone());
        let (limits, command) = (self.settings.clone(), Arc::clone(command));
        let desk = self.desk.clone();
        let (current, mut number_of_set) = (Arc::clone(&self.current), 0);
        let turn = move || {
            // Dropped at the end, also by a panic: the main thread hears of it.
            let _ended = Ended(ended);
            let bus = bus::kafka::connect(settings, Arc::clone(&clock))?;
            let mut worker = Worker::new(
                Box::new(bus),
                Box::new(stores),
                clock,
                shared,
                outbound,
                limits,
                telemetry,
            );
            if let Some(desk) = desk {
                worker = worker.with_schemas(desk);
            }
            tracing::info!(worker = number, "connected");
            loop {
                let farewell = match command.load(Ordering::Acquire) {
                    GO => None,
                    LEAVE => Some(Farewell::Leave),
                    _ => Some(Farewell::Restart),
                };
                if let Some(farewell) = farewell {
                    return worker.close(farewell).map_err(Stop::from);
                }
                if let Some(set) = current.newer_than(&mut number_of_set) {
                    worker.reload(set);
                }
                lookups.try_iter().for_each(|asked| worker.look_up(asked));
                worker.pass()?;
            }
        };
        std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(turn)
            .map_err(Stop::from)
    }
}

/// Tells the main thread that a worker has ended.
struct Ended(UnboundedSender<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        if self.0.send(()).is_err() {
            tracing::debug!("the main thread had given up waiting");
        }
    }
}

/// The signals that `run` heeds.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Waits for a signal or the end of a worker (SIGHUP only asks for changed flows and policy `again`), tells the workers to stop, and waits for their end.
async fn stop(
    command: &AtomicU8,
    mut signals: Signals,
    mut ended: UnboundedReceiver<()>,
    within: Span,
    again: &Sender<()>,
) -> Result<(), Stop> {
    let how = loop {
        tokio::select! {
            _ = signals.terminate.recv() => break RESTART,
            _ = signals.interrupt.recv() => break LEAVE,
            // A worker ended by itself: that is a failure, and the others must not go on alone.
            _ = ended.recv() => break RESTART,
            _ = signals.hangup.recv() => {
                if again.send(()).is_err() {
                    tracing::error!("nobody looks for changed flows any more");
                }
            }
        }
    };
    tracing::info!(leave = how == LEAVE, "stopping");
    command.store(how, Ordering::Release);
    let all_ended = async { while ended.recv().await.is_some() {} };
    let second = async {
        // One wish often arrives twice: from the terminal to the group, and from whoever started us.
        tokio::time::sleep(SAME_WISH).await;
        let mut signals = Signals::listen()?;
        tokio::select! { _ = signals.terminate.recv() => {}, _ = signals.interrupt.recv() => {} }
        Ok::<(), std::io::Error>(())
    };
    tokio::select! {
        () = all_ended => Ok(()),
        heard = second => heard.map_err(Stop::from).and_then(|()| {
            Err(Stop::new(Exit::Failure, "stopped at once by a second signal"))
        }),
        () = tokio::time::sleep(duration(within)) => Err(Stop::new(
            Exit::Temporary,
            "a worker did not stop within app.stop_within; what it had not committed is read again",
        )),
    }
}

fn duration(span: Span) -> Duration {
    Duration::from_millis(u64::try_from(span.millis()).unwrap_or_default())
}

/// The circuit breaker's limit, from a share of a window.
fn poison(config: &Config) -> PoisonLimit {
    let window = u32::try_from(config.dead_letters.window).unwrap_or(u32::MAX);
    let most = u64::from(window) * u64::from(config.dead_letters.max_ratio.0) / 10_000;
    PoisonLimit {
        window,
        most: u32::try_from(most).unwrap_or(u32::MAX),
    }
}

/// The stores of this process: RocksDB directories under this instance's part of `app.state_dir`.
#[derive(Clone)]
struct RocksStores {
    shared: Arc<RocksShared>,
    state_dir: PathBuf,
    application: String,
    cluster: String,
    partitions: i32,
    inputs: Vec<Arc<str>>,
}

impl Stores for RocksStores {
    fn open(&mut self, partition: i32) -> Result<Box<dyn Store>, StoreError> {
        let identity = StoreIdentity {
            application: self.application.clone(),
            cluster: self.cluster.clone(),
            partition,
            partitions: self.partitions,
        };
        let mut waited = Duration::ZERO;
        loop {
            let inputs = self.inputs.clone();
            match RocksStore::open(&self.shared, &self.state_dir, &identity, inputs) {
                // After a broker's pause a partition may come to one worker before another of this process has heard that it lost it.
                Err(StoreError::Io { what, .. }) if what == HELD && waited < HANDED_OVER_WITHIN => {
                    std::thread::park_timeout(LOOK_AGAIN);
                    waited += LOOK_AGAIN;
                }
                opened => return Ok(Box::new(opened?)),
            }
        }
    }

    fn destroy(&mut self, partition: i32, corrupt: bool) -> Result<(), StoreError> {
        let directory = Directory::claim_any(&self.state_dir, &self.application, partition)?;
        if !corrupt {
            return directory.delete();
        }
        if let Some(aside) = directory.quarantine()? {
            tracing::warn!(partition, directory = %aside.display(), "kept aside");
        }
        Ok(())
    }
}
