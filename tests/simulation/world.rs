//! A world of one seed: a broker with preloaded inputs, instances that live, die, freeze and come back, and what they leave behind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate::bus::{Farewell, NextOffset, Sources};
use tidegate::clock::Clock;
use tidegate::outbound::OutboundPlan;
use tidegate::profile::{Profile, SectionId};
use tidegate::store::changelog::apply_changelog;
use tidegate::store::layout::{self, StateKey};
use tidegate::store::memory::MemoryStore;
use tidegate::store::{Store, StoreBatch, StoreError, StoreHead};
use tidegate::task::Phase;
use tidegate::task::fold::FoldPlan;
use tidegate::telemetry::Telemetry;
use tidegate::value::{ProfileKey, Timestamp};
use tidegate::worker::{Halt, Stores, Worker, WorkerSettings};

use crate::broker::{Faults, SharedBroker, chance};
use crate::bus::SimBus;
use crate::random::Random;
use crate::schemas::LateRegistry;

/// The wall of the simulated world.
pub(crate) struct SimClock(pub(crate) SharedBroker);

impl Clock for SimClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.0.lock().now)
    }
    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.lock().now as u64)
    }
}

/// A disk: outlives the process that wrote it.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<BTreeMap<i32, Arc<Mutex<MemoryStore>>>>>);

struct SimStores {
    disk: Disk,
    broker: SharedBroker,
    random: Random,
}

struct OnDisk {
    store: Arc<Mutex<MemoryStore>>,
    broker: SharedBroker,
    random: Random,
}

impl Stores for SimStores {
    fn open(&mut self, partition: i32) -> Result<Box<dyn Store>, StoreError> {
        let store = Arc::clone(self.disk.0.lock().unwrap().entry(partition).or_default());
        let random = Random::new(self.random.next());
        Ok(Box::new(OnDisk {
            store,
            broker: self.broker.clone(),
            random,
        }))
    }
    fn destroy(&mut self, partition: i32, _corrupt: bool) -> Result<(), StoreError> {
        self.disk.0.lock().unwrap().remove(&partition);
        Ok(())
    }
}

impl Store for OnDisk {
    fn sections(
        &self,
        profile: &ProfileKey,
        each: &mut dyn FnMut(u8, u8, &[u8]),
    ) -> Result<(), StoreError> {
        self.store.lock().unwrap().sections(profile, each)
    }
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.lock().unwrap().get(key)
    }
    fn due(
        &self,
        after: Option<&(Timestamp, ProfileKey)>,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<(Timestamp, ProfileKey)>, StoreError> {
        self.store.lock().unwrap().due(after, until, limit)
    }
    fn prefixed(
        &self,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), StoreError> {
        self.store.lock().unwrap().prefixed(prefix, each)
    }
    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        let per_mille = self.broker.lock().faults.store;
        if chance(&mut self.random, per_mille) {
            return Err(StoreError::Io {
                task: 0,
                attempted: "write",
                what: "CRASH".into(),
            });
        }
        self.store.lock().unwrap().write(batch)
    }
    fn head(&self) -> Result<StoreHead, StoreError> {
        self.store.lock().unwrap().head()
    }
    fn scan(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        self.store.lock().unwrap().scan(each)
    }
    fn bytes(&self) -> u64 {
        self.store.lock().unwrap().bytes()
    }
}

/// One process: alive with its worker, or dead with its disk.
pub(crate) struct Instance {
    pub(crate) name: String,
    pub(crate) disk: Disk,
    pub(crate) worker: Option<Worker>,
    frozen_until: i64,
}

pub(crate) struct World {
    pub(crate) broker: SharedBroker,
    pub(crate) shared: Arc<FoldPlan>,
    pub(crate) outbound: Arc<OutboundPlan>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) random: Random,
    pub(crate) restarts: u32,
    /// Where an input needs one.
    pub(crate) registry: Option<LateRegistry>,
}

impl World {
    pub(crate) fn new(
        seed: u64,
        broker: SharedBroker,
        shared: Arc<FoldPlan>,
        outbound: Arc<OutboundPlan>,
        instances: usize,
    ) -> Self {
        let instances = (0..instances)
            .map(|n| Instance {
                name: format!("i{n}-0"),
                disk: Disk::default(),
                worker: None,
                frozen_until: 0,
            })
            .collect();
        Self {
            broker,
            shared,
            outbound,
            instances,
            random: Random::new(seed),
            restarts: 0,
            registry: None,
        }
    }

    /// Starts an instance over its disk, as a static member under its old name.
    pub(crate) fn start(&mut self, index: usize) {
        let sources = self.sources();
        let seed = self.random.next();
        let instance = &mut self.instances[index];
        let changelog = Arc::clone(&self.outbound.changelog_topic);
        let bus = SimBus::connect(
            self.broker.clone(),
            &instance.name,
            sources.clone(),
            changelog,
            seed,
        );
        let stores = SimStores {
            disk: instance.disk.clone(),
            broker: self.broker.clone(),
            random: Random::new(seed),
        };
        let settings = WorkerSettings {
            max_records: 1 + (seed % 40) as usize,
            ..WorkerSettings::default()
        };
        self.broker.lock().restart(&instance.name);
        let mut worker = Worker::new(
            Box::new(bus),
            Box::new(stores),
            Arc::new(SimClock(self.broker.clone())),
            Arc::clone(&self.shared),
            Arc::clone(&self.outbound),
            settings,
            Telemetry::new("sim", &instance.name).worker(0, &sources),
        );
        if let Some(registry) = &self.registry {
            worker = worker.with_schemas(Arc::clone(&registry.desk));
        }
        instance.worker = Some(worker);
        self.restarts += 1;
    }

    fn sources(&self) -> Sources {
        tidegate::plan::sources(&self.shared, &self.broker.lock().counts)
    }

    /// One pass of one instance; a crash leaves it dead, anything else that halts a worker is a finding.
    pub(crate) fn pass(&mut self, index: usize) {
        if let Some(registry) = &mut self.registry {
            registry.turn();
        }
        let instance = &mut self.instances[index];
        let Some(worker) = &mut instance.worker else {
            return;
        };
        if let Err(halt) = worker.pass() {
            let crashed = match &halt {
                Halt::Bus(failure) => failure.code == "CRASH",
                Halt::Store(StoreError::Io { what, .. }) => what == "CRASH",
                Halt::Store(_) | Halt::Unsafe(_) => false,
            };
            assert!(crashed, "{} halted: {halt:?}", instance.name);
            instance.worker = None;
        }
    }

    /// Phase 1: faults. Instances die, freeze past their session, come back, as the seed says.
    pub(crate) fn trouble(&mut self, faults: Faults, rounds: usize) {
        self.broker.lock().faults = faults;
        for _ in 0..rounds {
            let millis = 1 + self.random.below(300) as i64;
            self.broker.lock().pass_time(millis);
            let index = self.random.below(self.instances.len() as u64) as usize;
            let now = self.broker.lock().now;
            if self.instances[index].worker.is_none() {
                match self.random.below(3) {
                    0 => self.start(index),
                    1 => self
                        .broker
                        .lock()
                        .expire(&self.instances[index].name.clone()),
                    _ => {}
                }
                continue;
            }
            if self.instances[index].frozen_until > now {
                continue;
            }
            match self.random.below(120) {
                0 => self.instances[index].worker = None,
                1 => {
                    self.instances[index].frozen_until = now + 7_000;
                    let name = self.instances[index].name.clone();
                    self.broker.lock().expire(&name);
                }
                _ => self.pass(index),
            }
        }
    }

    /// Phase 2: no more faults; everything must be read, decided and stored.
    pub(crate) fn heal(&mut self) {
        self.broker.lock().faults = Faults::default();
        for round in 0..20_000 {
            self.broker.lock().pass_time(50);
            for index in 0..self.instances.len() {
                self.instances[index].frozen_until = 0;
                if self.instances[index].worker.is_none() {
                    self.start(index);
                }
                self.pass(index);
            }
            if round % 10 == 0 && self.is_caught_up() {
                return;
            }
        }
        panic!("not caught up after healing");
    }

    pub(crate) fn stop(&mut self, index: usize) {
        if let Some(worker) = self.instances[index].worker.take() {
            worker.close(Farewell::Restart).unwrap();
        }
    }

    /// Everything is read and committed, and every owner has its state: one that was assigned a moment ago may still restore.
    fn is_caught_up(&self) -> bool {
        let broker = self.broker.lock();
        let runs = |name: &String, partition: &i32| {
            let owner = self.instances.iter().find(|one| one.name == *name);
            owner
                .and_then(|one| one.worker.as_ref()?.tasks().get(partition))
                .is_some_and(|task| task.phase == Phase::Running)
        };
        if !broker
            .members
            .iter()
            .all(|(name, member)| member.holds.iter().all(|held| runs(name, held)))
        {
            return false;
        }
        let all = tidegate::plan::sources(&self.shared, &broker.counts).all();
        all.into_iter().all(|(_, _, topic, partition)| {
            // Nothing readable behind the committed offset; what we forward to ourselves ends in a marker.
            let at = (topic.to_string(), partition);
            let from = broker.offsets.get(&at).copied().unwrap_or_default();
            let (_, next) = broker.read(&topic, partition, from);
            next.is_none() && broker.stable(&topic, partition) == broker.high(&topic, partition)
        })
    }

    /// ST-1 on whichever disk was written last, and EO-1: every input offset committed. Gives each topic's committed records.
    pub(crate) fn check(&mut self) {
        let partitions = self.broker.lock().partitions;
        for partition in 0..partitions {
            let owner = self
                .broker
                .lock()
                .members
                .iter()
                .find(|(_, m)| m.holds.contains(&partition))
                .map(|(n, _)| n.clone());
            let owner = owner.expect("EO-5: an owner after healing");
            let instance = self
                .instances
                .iter()
                .find(|instance| instance.name == owner)
                .unwrap();
            let store = Arc::clone(
                instance
                    .disk
                    .0
                    .lock()
                    .unwrap()
                    .get(&partition)
                    .expect("a store"),
            );
            let changelog: Vec<_> = self
                .broker
                .lock()
                .committed(&self.outbound.changelog_topic)
                .into_iter()
                .filter(|(p, _, _)| *p == partition)
                .map(|(_, offset, slot)| tidegate::bus::ChangelogRecord {
                    offset,
                    timestamp: slot.timestamp,
                    key: slot.key.unwrap_or_default(),
                    value: slot.value,
                })
                .collect();
            let mut folded = MemoryStore::default();
            apply_changelog(
                &mut folded,
                partition,
                &changelog,
                Some(NextOffset::at(0)),
                Timestamp::ZERO,
            )
            .unwrap();
            let content = |store: &dyn Store| {
                let mut all = Vec::new();
                store
                    .scan(&mut |key, value| all.push((key.to_vec(), value.to_vec())))
                    .unwrap();
                (all, store.due(None, Timestamp::MAX, usize::MAX).unwrap())
            };
            assert_eq!(
                content(&*store.lock().unwrap()),
                content(&folded),
                "ST-1: store of {partition} against its changelog"
            );
        }
    }

    /// Every profile, as the disks hold it.
    pub(crate) fn profiles(&self) -> BTreeMap<ProfileKey, Profile> {
        let mut profiles: BTreeMap<ProfileKey, Profile> = BTreeMap::new();
        let broker = self.broker.lock();
        for (name, member) in &broker.members {
            let instance = self.instances.iter().find(|of| of.name == *name).unwrap();
            let disk = instance.disk.0.lock().unwrap();
            for partition in &member.holds {
                let store = disk[partition].lock().unwrap();
                store
                    .scan(&mut |key, value| {
                        let Ok(StateKey::Section {
                            profile,
                            section,
                            chunk,
                        }) = layout::decode_state_key(key)
                        else {
                            return;
                        };
                        let section = SectionId::from_byte(section).unwrap();
                        profiles
                            .entry(profile.clone())
                            .or_insert_with(|| Profile::new(profile))
                            .put_section(section, chunk, value)
                            .unwrap();
                    })
                    .unwrap();
            }
        }
        profiles
    }

    /// Everything that readers of committed records see of a topic, in order per partition, without offsets of the topic itself.
    pub(crate) fn visible(&self, topic: &str) -> Vec<(i32, Vec<u8>, Vec<u8>)> {
        self.broker
            .lock()
            .committed(topic)
            .into_iter()
            .map(|(partition, _, slot)| {
                (
                    partition,
                    slot.key.unwrap_or_default(),
                    slot.value.unwrap_or_default(),
                )
            })
            .collect()
    }
}
