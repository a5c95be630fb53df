//! The watcher of ends: asks the brokers, beside the worker, where each input partition ends now.
//!
//! librdkafka knows only what its last fetch told it, so "no message" and "end of partition" are no proof of having caught up.
//! A fresh request is one, and its age is counted from when it was sent.
//!
//! The end is the high watermark: an order that was acknowledged behind somebody's open transaction is not readable yet, and a reminder
//! must not overtake it.
//!
//! Now and then it also asks how many partitions each input has. One that is read directly and grows sends customers to partitions that
//! nobody reads; one that goes through intake may grow.
//!
//! And it looks, beyond the own tasks, what the group has committed of all inputs ([`Rounds`]), and deletes what was read of `<app>-events`.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::failure::{Call, failure, is_unknown};
use super::{Quiet, admin::Admin, learn_anew, settings::Settings};
use crate::bus::{Failure, InputId, NextOffset, Remedy, Rounds, Sources};
use crate::clock::Clock;

/// How often the ends are asked for: two answers in a row may be late before one is too old ([`crate::task::FRESH`]).
const EVERY: Duration = Duration::from_millis(300);
/// At the start more often, and so many times: whoever was killed hands over again when two rounds are over.
const AT_FIRST: Duration = Duration::from_millis(50);
const FIRST_ROUNDS: u32 = 20;
/// As often, and so many times, after a topic went: five seconds.
const ROUNDS_AFTER_IT_WENT: u32 = 100;
/// Every so many rounds, about two and a half seconds, the numbers of partitions are asked for too: half of [`crate::task::SETTLED`], for an
/// order may stand in a partition that was not there before.
const ROUNDS_PER_COUNT: u32 = 8;
/// How long one question may wait for its answer.
const ANSWER: Duration = Duration::from_secs(1);

/// The end of one input partition, and when (elapsed time of the clock) it was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) end: NextOffset,
    pub(super) asked: Duration,
}

/// What became of a topic that is read.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// It goes through intake and has more partitions than before: so many.
    Grown(Arc<str>, i32),
    /// It was gone for a while, ends before where it ended, or its committed offsets went: it may be another one by now.
    Doubted(Arc<str>),
    /// No going on, in words with the numbers: an input that is read directly has another number of partitions than at the start, so what
    /// customers moved to would be read by nobody, and what they left behind is folded elsewhere.
    Wrong(String),
}

struct Watched {
    wanted: BTreeSet<(InputId, i32)>,
    ends: BTreeMap<(InputId, i32), End>,
    at_once: bool,
    stop: bool,
    changes: Vec<Change>,
    rounds: Rounds<(InputId, i32)>,
}

struct Shared {
    watched: Mutex<Watched>,
    changed: Condvar,
    /// Whether `changes` says something: asked at every poll, so without the lock.
    is_changed: AtomicBool,
}

impl Shared {
    fn push(&self, change: Change) {
        self.lock().changes.push(change);
        self.is_changed.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that keeps the ends of the assigned input partitions fresh.
pub(super) struct Watcher {
    shared: Arc<Shared>,
}

impl Watcher {
    /// Starts watching the own tasks, as soon as there are some, and what the whole group has committed.
    pub(super) fn start(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        let connect = |error| failure(Call::Connect, "make the watcher's client", &error);
        let client = BaseConsumer::from_config_and_context(&settings.group_asker(), Quiet)
            .map_err(connect)?;
        let shared = Arc::new(Shared {
            watched: Mutex::new(Watched {
                wanted: BTreeSet::new(),
                ends: BTreeMap::new(),
                at_once: false,
                stop: false,
                changes: Vec::new(),
                rounds: Rounds::new(settings.max_hold),
            }),
            changed: Condvar::new(),
            is_changed: AtomicBool::new(false),
        });
        let asker = Asker {
            client,
            settings: settings.clone(),
            sources: settings.sources.clone(),
            trimmed_at: clock.elapsed(),
            clock,
            shared: shared.clone(),
            counts: BTreeMap::new(),
            admin: None,
            trimmed: BTreeMap::new(),
            gone: RefCell::default(),
            hurry: Cell::new(0),
            committed: RefCell::default(),
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

    /// What became of a topic since the last call, once.
    pub(super) fn change(&self) -> Option<Change> {
        if !self.shared.is_changed.load(Ordering::Relaxed) {
            return None;
        }
        let mut watched = self.shared.lock();
        let told = watched.changes.pop();
        let more = !watched.changes.is_empty();
        self.shared.is_changed.store(more, Ordering::Relaxed);
        told
    }

    /// What [`Self::change`] told could not be followed: it tells it again.
    pub(super) fn tell_again(&self, change: Change) {
        self.shared.push(change);
    }

    /// The latest moment before which everything is settled, as it was known at `by`.
    pub(super) fn settled(&self, by: Duration) -> Option<Duration> {
        self.shared.lock().rounds.settled(by)
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
    settings: Settings,
    sources: Sources,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    /// Partitions of each input when it was asked last.
    counts: BTreeMap<Arc<str>, i32>,
    admin: Option<Admin>,
    /// Up to where `<app>-events` was deleted, and when that was looked at last.
    trimmed: BTreeMap<i32, NextOffset>,
    trimmed_at: Duration,
    /// Topics of which a broker said that there is no such topic or partition, or that lost their committed offsets.
    gone: RefCell<BTreeSet<Arc<str>>>,
    /// So many rounds more are to follow fast.
    hurry: Cell<u32>,
    /// What the group had committed offsets of.
    committed: RefCell<BTreeSet<(InputId, i32)>>,
}

impl Asker {
    fn run(mut self) {
        let mut round = 0_u32;
        while let Some(wanted) = self.next(round) {
            // Nobody else serves this client's log and error events.
            while self.client.poll(Duration::ZERO).is_some() {}
            let asked = self.clock.elapsed();
            let ends = self.ask_all(wanted.iter().copied());
            self.tell(ends, asked);
            // Behind the ends: work waits for those, and a slow leader may take its time with this.
            if round.is_multiple_of(ROUNDS_PER_COUNT) {
                self.count_partitions();
            }
            self.go_round(round);
            round = round.wrapping_add(1);
            if asked.saturating_sub(self.trimmed_at) >= self.settings.trim_every {
                self.trimmed_at = asked;
                self.trim(&wanted);
            }
        }
    }

    fn tell(&self, ends: Vec<Told>, asked: Duration) {
        let mut doubted: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut watched = self.shared.lock();
        for (which, end) in ends {
            if !watched.wanted.contains(&which) {
                continue;
            }
            let before = watched.ends.insert(which, End { end, asked });
            if let Some((topic, _)) = self.sources.place(which.0, which.1)
                && (before.is_some_and(|before| end < before.end)
                    || self.gone.borrow().contains(topic))
            {
                doubted.insert(Arc::clone(topic));
            }
        }
        drop(watched);
        for topic in doubted {
            self.gone.borrow_mut().remove(&topic);
            self.shared.push(Change::Doubted(topic));
        }
    }

    /// What the group has committed of all inputs, and, when that is all that there was, where they end now.
    fn go_round(&self, round: u32) {
        let all = self.sources.all();
        let committed = self.committed(&all).unwrap_or_default();
        let seen = self.clock.elapsed();
        let (untold, began) = {
            let mut watched = self.shared.lock();
            watched.rounds.committed(committed, seen);
            let began = watched.rounds.is_over(seen);
            if began {
                let partitions = all.iter().map(|(input, task, _, _)| (*input, *task));
                watched.rounds.begin(partitions, seen);
            }
            (watched.rounds.untold(), began)
        };
        let ends = if began {
            self.ask_all(untold.iter().copied())
        } else {
            self.ask_again(&untold, round)
        };
        self.shared.lock().rounds.told(ends);
    }

    /// Asks after partitions whose leaders did not answer, by one of them at a time: each may cost the whole bound, and the ends of our own
    /// tasks are to stay fresh.
    fn ask_again(&self, untold: &[(InputId, i32)], round: u32) -> Vec<Told> {
        let turn = (round as usize).checked_rem(untold.len());
        match turn.and_then(|turn| self.ask_one(*untold.get(turn)?)) {
            Some(_) => self.ask_all(untold.iter().copied()),
            None => Vec::new(),
        }
    }

    /// What the group has committed; what is still in an open transaction is not.
    fn committed(&self, all: &[(InputId, i32, Arc<str>, i32)]) -> Option<Vec<Told>> {
        let mut list = TopicPartitionList::new();
        for (_, _, topic, partition) in all {
            list.add_partition(topic, *partition);
        }
        let answer = self.client.committed_offsets(list, ANSWER);
        let answer = answer
            .map_err(|error| tracing::debug!(%error, "what the group has committed"))
            .ok()?;
        let mut told = Vec::with_capacity(all.len());
        let mut committed = self.committed.borrow_mut();
        for (input, task, topic, partition) in all {
            let which = (*input, *task);
            let element = answer.find_partition(topic, *partition);
            match element.map(|element| (element.error(), element.offset())) {
                Some((Ok(()), Offset::Offset(next))) => {
                    committed.insert(which);
                    told.push((which, NextOffset::at(next)));
                }
                // With a topic the group's offsets of it go.
                Some((Ok(()), Offset::Invalid)) if committed.remove(&which) => {
                    self.went(topic);
                }
                Some(_) | None => {}
            }
        }
        Some(told)
    }

    /// Deletes what was read of the `<app>-events` of our tasks, but for the last offset: a log that begins where reading goes on would
    /// look as if nothing had ever been read.
    fn trim(&mut self, wanted: &BTreeSet<(InputId, i32)>) {
        let ours = |task: i32| wanted.contains(&(InputId(0), task));
        let mut anchors = self.sources.all();
        anchors.retain(|(input, task, _, _)| *input == InputId(0) && ours(*task));
        let Some(anchor) = self.sources.anchor().map(Arc::clone) else {
            return;
        };
        let mut behind = Vec::new();
        for ((_, task), next) in self.committed(&anchors).unwrap_or_default() {
            let keep = NextOffset::at(next.get() - 1);
            if keep > *self.trimmed.get(&task).unwrap_or(&NextOffset::START) {
                behind.push((task, keep));
            }
        }
        if self.admin.is_none() {
            self.admin = Admin::connect(&self.settings).ok();
        }
        let Some(admin) = self.admin.as_ref().filter(|_| !behind.is_empty()) else {
            return;
        };
        match admin.trim(&anchor, &behind) {
            Ok(()) => self.trimmed.extend(behind),
            Err(failure) => {
                tracing::warn!(error = %failure, "what was read stays longer than it has to")
            }
        }
    }

    fn went(&self, topic: &Arc<str>) {
        if self.gone.borrow_mut().insert(Arc::clone(topic)) {
            self.hurry.set(ROUNDS_AFTER_IT_WENT);
        }
    }

    /// Waits for the next round; `None` when it is over.
    fn next(&self, round: u32) -> Option<BTreeSet<(InputId, i32)>> {
        // One that is gone is doubted as soon as it is there again, before somebody commits offsets of what goes by its name now.
        let hurry = self.hurry.get();
        self.hurry.set(hurry.saturating_sub(1));
        let every = if round < FIRST_ROUNDS || hurry > 0 {
            AT_FIRST
        } else {
            EVERY
        };
        let watched = self.shared.lock();
        let (mut watched, _) = self
            .shared
            .changed
            .wait_timeout_while(watched, every, |watched| !watched.stop && !watched.at_once)
            .unwrap_or_else(PoisonError::into_inner);
        watched.at_once = false;
        (!watched.stop).then(|| watched.wanted.clone())
    }

    /// Looks how many partitions each input has now.
    fn count_partitions(&mut self) {
        let topics: Vec<Arc<str>> = self.sources.topics().cloned().collect();
        for topic in topics {
            let metadata = match self.client.fetch_metadata(Some(&topic), ANSWER) {
                Ok(metadata) => metadata,
                Err(error) => {
                    tracing::debug!(%topic, %error, "number of partitions");
                    continue;
                }
            };
            let found = metadata.topics().iter().find(|of| of.name() == &*topic);
            let count = found.map(|of| i32::try_from(of.partitions().len()).unwrap_or(i32::MAX));
            let Some(now) = count.filter(|&now| now > 0) else {
                continue;
            };
            let at_start = self.sources.intake_count(&topic).unwrap_or(now);
            let before = *self.counts.entry(Arc::clone(&topic)).or_insert(at_start);
            if now != before {
                let change = self.resized(&topic, before, now);
                self.counts.insert(topic, now);
                self.shared.push(change);
            }
        }
    }

    fn resized(&mut self, topic: &Arc<str>, before: i32, now: i32) -> Change {
        if self.sources.intake_count(topic).is_none() {
            return Change::Wrong(format!(
                "{topic} has {now} partitions now, {before} when this started: the keys of an input that is read directly no longer \
                 stand where their profiles are. Give it {before} partitions again under another name, or begin anew under another \
                 `app.id` with `topics.partitions: {now}`"
            ));
        }
        if now < before {
            return Change::Wrong(format!(
                "{topic} has {now} partitions now, {before} before: it was re-created. Nothing was skipped; reset the group's offsets for \
                 this topic deliberately if what is gone is acceptable"
            ));
        }
        if now > self.sources.room(topic) {
            return Change::Wrong(format!(
                "{topic} has {now} partitions now, {before} before: too many to go on as this was started; start again, nothing is lost"
            ));
        }
        tracing::info!(%topic, before, now, "an input has more partitions");
        self.sources.grow(topic, now);
        Change::Grown(Arc::clone(topic), now)
    }

    /// Where these end, as far as their leaders answer.
    fn ask_all(&self, wanted: impl Iterator<Item = (InputId, i32)> + Clone) -> Vec<Told> {
        match self.ask(wanted.clone()) {
            Ok(ends) => ends,
            // One leader that is gone fails the whole question: ask one by one, so that the others stay fresh.
            Err(()) => {
                for topic in self.sources.topics() {
                    if learn_anew(&self.client, topic) {
                        self.went(topic);
                    }
                }
                wanted.filter_map(|which| self.ask_one(which)).collect()
            }
        }
    }

    fn ask(&self, wanted: impl Iterator<Item = (InputId, i32)>) -> Result<Vec<Told>, ()> {
        let mut list = TopicPartitionList::new();
        let mut asked = Vec::new();
        for (input, task) in wanted {
            let (topic, partition) = self.sources.place(input, task).ok_or(())?;
            // The "time" of this question is the special one that means the end: one request per leader for all partitions.
            list.add_partition_offset(topic, partition, Offset::End)
                .map_err(|_| ())?;
            asked.push((input, task, topic, partition));
        }
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let answer = self
            .client
            .offsets_for_times(list, ANSWER)
            .map_err(|error| tracing::debug!(%error, "ends of the inputs"))?;
        let unknown = |error: KafkaError| error.rdkafka_error_code().is_some_and(is_unknown);
        let mut ends = Vec::with_capacity(asked.len());
        for (input, task, topic, partition) in asked {
            let element = answer.find_partition(topic, partition).ok_or(())?;
            match (element.error(), element.offset()) {
                (Ok(()), Offset::Offset(end)) => {
                    ends.push(((input, task), NextOffset::at(end)));
                }
                (Err(error), _) => {
                    if unknown(error) {
                        self.went(topic);
                    }
                    return Err(());
                }
                (Ok(()), _) => return Err(()),
            }
        }
        Ok(ends)
    }

    fn ask_one(&self, which: (InputId, i32)) -> Option<Told> {
        self.ask(std::iter::once(which)).ok()?.pop()
    }
}
