//! The watcher of ends: asks the brokers, beside the worker, where each input partition ends now.
//!
//! librdkafka knows only what its last fetch told it, so "no message" and "end of partition" are no proof of having caught up.
//! A fresh request is one, and its age is counted from when it was sent.
//!
//! The end is the high watermark: an order that was acknowledged behind somebody's open transaction is not readable yet, and a reminder
//! must not overtake it.
//!
//! Now and then it also asks how many partitions each input has: one that grows sends customers to partitions that nobody reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
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

/// How often the ends are asked for: two answers in a row may be late before one is too old ([`crate::task::FRESH`]).
const EVERY: Duration = Duration::from_millis(300);
/// Every so many rounds, about five seconds, the numbers of partitions are asked for too.
const ROUNDS_PER_COUNT: u32 = 16;
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
    /// An input with another number of partitions than at the start, in words.
    resized: Option<String>,
}

#[derive(Default)]
struct Shared {
    watched: Mutex<Watched>,
    changed: Condvar,
    /// Whether `resized` says something: asked at every poll, so without the lock.
    is_resized: AtomicBool,
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
            BaseConsumer::from_config_and_context(&settings.asker("read_uncommitted"), Quiet)
                .map_err(|error| failure(Call::Connect, "make the watcher's client", &error))?;
        let shared = Arc::new(Shared::default());
        let asker = Asker {
            client,
            topics: settings.inputs.clone(),
            clock,
            shared: shared.clone(),
            counts: BTreeMap::new(),
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

    /// Refuses once an input has another number of partitions than at the start.
    ///
    /// # Errors
    /// `Fatal`, with the numbers: what customers moved to would be read by nobody, and what they left behind is folded elsewhere.
    pub(super) fn check_counts(&self) -> Result<(), Failure> {
        if !self.shared.is_resized.load(Ordering::Relaxed) {
            return Ok(());
        }
        let told = self.shared.lock().resized.clone().unwrap_or_default();
        Err(Failure::new("read the inputs", told, Remedy::Fatal))
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
    /// Partitions of each input when it was first asked.
    counts: BTreeMap<Arc<str>, usize>,
}

impl Asker {
    fn run(mut self) {
        let mut round = 0_u32;
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
            self.tell(ends, asked);
            // Behind the ends: work waits for those, and a slow leader may take its time with this.
            if round.is_multiple_of(ROUNDS_PER_COUNT) {
                self.count_partitions();
            }
            round = round.wrapping_add(1);
        }
    }

    fn tell(&self, ends: Vec<Told>, asked: Duration) {
        let mut watched = self.shared.lock();
        for (which, end) in ends {
            if watched.wanted.contains(&which) {
                watched.ends.insert(which, End { end, asked });
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

    /// Looks how many partitions each input has now.
    fn count_partitions(&mut self) {
        for topic in &self.topics {
            let metadata = match self.client.fetch_metadata(Some(topic), ANSWER) {
                Ok(metadata) => metadata,
                Err(error) => {
                    tracing::debug!(%topic, %error, "number of partitions");
                    continue;
                }
            };
            let found = metadata.topics().iter().find(|of| of.name() == &**topic);
            let Some(now) = found.map(|of| of.partitions().len()).filter(|&now| now > 0) else {
                continue;
            };
            let before = *self.counts.entry(Arc::clone(topic)).or_insert(now);
            if now != before {
                let told = format!(
                    "{topic} has {now} partitions now, {before} when this started: the keys of an input that is read directly no longer \
                     stand where their profiles are. Give it {before} partitions again under another name, or begin anew under another \
                     `app.id` with `topics.partitions: {now}`"
                );
                self.shared.lock().resized = Some(told);
                self.shared.is_resized.store(true, Ordering::Relaxed);
            }
        }
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
