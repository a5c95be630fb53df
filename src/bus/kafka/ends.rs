//! The watcher of ends: asks the brokers, beside the worker, where each input partition ends now.
//!
//! librdkafka knows only what its last fetch told it, so "no message" and "end of partition" are no proof of having caught up.
//! A fresh request is one, and its age is counted from when it was sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::failure::{Call, failure};
use super::{Quiet, learn_anew, settings::Settings};
use crate::bus::{Failure, InputId, NextOffset, Remedy};
use crate::clock::Clock;

/// How often the ends are asked for.
const EVERY: Duration = Duration::from_millis(400);
/// How long one question may wait for its answer.
const ANSWER: Duration = Duration::from_secs(1);

/// The end of one input partition, and when (elapsed time of the clock) it was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) end: NextOffset,
    pub(super) asked: Duration,
}

#[derive(Default)]
struct Watched {
    wanted: BTreeSet<(InputId, i32)>,
    ends: BTreeMap<(InputId, i32), End>,
    at_once: bool,
    stop: bool,
}

#[derive(Default)]
struct Shared {
    watched: Mutex<Watched>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that keeps the ends of the assigned input partitions fresh.
pub(super) struct Watcher {
    shared: Arc<Shared>,
}

impl Watcher {
    /// Starts watching; nothing is asked before something is wanted.
    pub(super) fn start(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        let client =
            BaseConsumer::from_config_and_context(&settings.asker("read_committed"), Quiet)
                .map_err(|error| failure(Call::Connect, "make the watcher's client", &error))?;
        let shared = Arc::new(Shared::default());
        let asker = Asker {
            client,
            topics: settings.inputs.clone(),
            clock,
            shared: shared.clone(),
        };
        thread::Builder::new()
            .name(format!("ends-{}", settings.worker))
            .spawn(move || asker.run())
            .map_err(|error| {
                Failure::new(
                    "start the watcher's thread",
                    error.to_string(),
                    Remedy::Fatal,
                )
            })?;
        Ok(Self { shared })
    }

    /// Watches exactly these from now on, and asks at once.
    pub(super) fn watch(&self, wanted: BTreeSet<(InputId, i32)>) {
        let mut watched = self.shared.lock();
        watched.ends.retain(|which, _| wanted.contains(which));
        watched.wanted = wanted;
        watched.at_once = true;
        self.shared.changed.notify_one();
    }

    /// The latest answer for one input partition.
    pub(super) fn end(&self, input: InputId, partition: i32) -> Option<End> {
        self.shared.lock().ends.get(&(input, partition)).copied()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The thread ends by itself within one question; waiting for it would wait for a broker.
        self.shared.lock().stop = true;
        self.shared.changed.notify_one();
    }
}

/// Where one input partition ends.
type Told = ((InputId, i32), NextOffset);

struct Asker {
    client: BaseConsumer<Quiet>,
    topics: Vec<Arc<str>>,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
}

impl Asker {
    fn run(self) {
        while let Some(wanted) = self.next() {
            // Nobody else serves this client's log and error events.
            while self.client.poll(Duration::ZERO).is_some() {}
            let asked = self.clock.elapsed();
            let ends = match self.ask(wanted.iter().copied()) {
                Ok(ends) => ends,
                // One leader that is gone fails the whole question: ask one by one, so that the others stay fresh.
                Err(()) => {
                    for topic in &self.topics {
                        learn_anew(&self.client, topic);
                    }
                    wanted
                        .iter()
                        .filter_map(|which| self.ask_one(*which))
                        .collect()
                }
            };
            let mut watched = self.shared.lock();
            for (which, end) in ends {
                if watched.wanted.contains(&which) {
                    watched.ends.insert(which, End { end, asked });
                }
            }
        }
    }

    /// Waits for the next round; `None` when it is over.
    fn next(&self) -> Option<BTreeSet<(InputId, i32)>> {
        let watched = self.shared.lock();
        let (mut watched, _) = self
            .shared
            .changed
            .wait_timeout_while(watched, EVERY, |watched| !watched.stop && !watched.at_once)
            .unwrap_or_else(PoisonError::into_inner);
        watched.at_once = false;
        (!watched.stop).then(|| watched.wanted.clone())
    }

    fn ask(&self, wanted: impl Iterator<Item = (InputId, i32)>) -> Result<Vec<Told>, ()> {
        let mut list = TopicPartitionList::new();
        let mut asked = Vec::new();
        for (input, partition) in wanted {
            let topic = self.topics.get(usize::from(input.0)).ok_or(())?;
            // The "time" of this question is the special one that means the end: one request per leader for all partitions.
            list.add_partition_offset(topic, partition, Offset::End)
                .map_err(|_| ())?;
            asked.push((input, topic, partition));
        }
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let answer = self
            .client
            .offsets_for_times(list, ANSWER)
            .map_err(|error| tracing::debug!(%error, "ends of the inputs"))?;
        let mut ends = Vec::with_capacity(asked.len());
        for (input, topic, partition) in asked {
            let element = answer.find_partition(topic, partition).ok_or(())?;
            match (element.error(), element.offset()) {
                (Ok(()), Offset::Offset(end)) => {
                    ends.push(((input, partition), NextOffset::at(end)));
                }
                _ => return Err(()),
            }
        }
        Ok(ends)
    }

    fn ask_one(&self, which: (InputId, i32)) -> Option<Told> {
        self.ask(std::iter::once(which)).ok()?.pop()
    }
}
