//! The real worker, on a thread of its own, on the embedded broker. Its stores are in memory: each demo begins afresh.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::live::DemoError;
use super::setting::Setting;
use crate::bus::kafka::{self, Settings};
use crate::bus::{Farewell, Sources};
use crate::clock::Clock;
use crate::plan::{fold_plan, input_topics};
use crate::store::memory::MemoryStore;
use crate::store::{Store, StoreError};
use crate::task::fold::ClockKind;
use crate::telemetry::Telemetry;
use crate::worker::{Stores, Worker, WorkerSettings};

/// A new store in memory for every task.
struct InMemory;

impl Stores for InMemory {
    fn open(&mut self, _partition: i32) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(MemoryStore::new()))
    }
    fn destroy(&mut self, _partition: i32, _corrupt: bool) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Starts the worker; it ends when `stop` is set, or with what stopped it.
pub(super) fn start(
    setting: &Setting,
    bootstrap: &str,
    clock: &Arc<dyn Clock>,
    telemetry: &Arc<Telemetry>,
    stop: &Arc<AtomicBool>,
) -> Result<JoinHandle<Result<(), DemoError>>, DemoError> {
    let config = &setting.config;
    let shared = fold_plan(config, setting.plan.clone(), ClockKind::Live)?;
    let sources = Sources::direct(&input_topics(config));
    let mut settings = Settings::new(bootstrap, &config.app.id, &config.app.instance, 0);
    settings.sources = sources.clone();
    // The embedded broker keeps no offsets that were committed in a transaction: nothing to look at.
    settings.max_hold = Duration::ZERO;
    settings.changelog = setting.internal("profiles-changelog").into();
    for (name, value) in &config.kafka.properties.0 {
        settings.properties.insert(name.clone(), value.reveal()?);
    }
    let outbound = Arc::new(setting.outbound()?);
    let (clock, stop) = (Arc::clone(clock), Arc::clone(stop));
    let telemetry = telemetry.worker(0, &sources);
    let work = move || {
        let bus = kafka::connect(settings, Arc::clone(&clock))?;
        let mut worker = Worker::new(
            Box::new(bus),
            Box::new(InMemory),
            clock,
            Arc::new(shared),
            outbound,
            WorkerSettings {
                idle_wait: Duration::from_millis(5),
                ..WorkerSettings::default()
            },
            telemetry,
        );
        while !stop.load(Ordering::Relaxed) {
            worker.pass().map_err(DemoError::Worker)?;
        }
        // The embedded broker goes with us; nobody has to be told.
        worker.close(Farewell::Restart).map_err(DemoError::Worker)
    };
    Ok(thread::Builder::new()
        .name("worker-0".to_owned())
        .spawn(work)?)
}
