//! The same log through two plans, decision by decision: what the new one adds, what it leaves out, what it decides otherwise.
//!
//! A decision is the same one in both when it has the same id: ids are made of causes only (EO-3), so a reminder that leaves two hours
//! later keeps its own. What has no counterpart by id is then looked at by its place, because an id also holds kind and channel: a
//! contact that left and is now held back is one change, not two.
//!
//! ```text
//!  old decisions ─┐ by id        ┌─► the same │ changed (time, reason, template …)
//!                 ├───► then ────┤
//!  new decisions ─┘ by place     └─► removed, added
//! ```
//! Whatever differs between the plans shows, flows and policy alike; who calls decides what they differ in. Receipts in the log are of
//! what really left at the time: what only one of the plans sends gets none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::partition::Partition;
use super::progress::Progress;
use super::{Log, ReplayError};
use crate::decision::{DecisionId, Message, Verdict, VerdictKind};
use crate::task::fold::{Decided, FoldPlan};
use crate::value::{Span, Timestamp};

/// Contacts of one step of one instance that are further apart are two, not one that changed.
const SAME_CONTACT: Span = Span::from_days(3);

/// What is compared, and how.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// As it was.
    pub old: Arc<FoldPlan>,
    /// As it would be. Reads its inputs as the old one does.
    pub new: Arc<FoldPlan>,
    /// Run the clock on to this instant after the last line.
    pub until: Option<Timestamp>,
    /// How many examples are kept of each kind of difference.
    pub samples: usize,
    /// Threads; they change nothing but the time that it takes.
    pub threads: usize,
}

/// A decision, as far as it is compared and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    id: DecisionId,
    /// Whose.
    pub profile: String,
    /// Where their hours are told by.
    pub time_zone: Option<String>,
    /// Of which flow; empty for none.
    pub flow: String,
    /// Instance key, or request id.
    pub instance: String,
    /// Counted from 1; 0 for none.
    pub step: u32,
    /// How many the flow has.
    pub steps: u32,
    /// On which channel; empty for none.
    pub channel: String,
    /// What.
    pub verdict: VerdictKind,
    /// Why.
    pub reason: String,
    /// When.
    pub decided_at: Timestamp,
    /// The numbers of the check that decided, when it was the gate.
    pub check: Option<String>,
    /// Until when it waits or holds.
    pub until: Option<Timestamp>,
    /// Of a contact: what is sent.
    pub template: Option<Arc<str>>,
    /// Of a contact: what is offered, how urgent it is, until when it may leave.
    terms: Option<(Option<String>, u32, Timestamp)>,
}

impl Made {
    fn of(verdict: Verdict) -> Self {
        let failed = verdict.checks.into_iter().find(|check| !check.passed);
        let mut made = Self {
            id: verdict.decision_id,
            profile: verdict.profile.as_str().to_owned(),
            time_zone: verdict.time_zone,
            flow: String::new(),
            instance: String::new(),
            step: 0,
            steps: 0,
            channel: verdict
                .channel
                .map_or_else(String::new, |name| name.to_string()),
            verdict: verdict.kind,
            reason: verdict.why.name().to_owned(),
            decided_at: verdict.decided_at,
            check: failed.map(|check| match check.detail.as_str() {
                "" => check.name.to_owned(),
                detail => format!("{}: {detail}", check.name),
            }),
            until: verdict.until,
            template: None,
            terms: None,
        };
        if let Some(place) = verdict.place {
            made.flow = place.flow.to_string();
            made.instance = place.instance;
            (made.step, made.steps) = (place.step, place.steps);
        }
        match verdict.message {
            Some(Message::Trigger(trigger)) => {
                if let Some(request) = trigger.request_id {
                    made.instance = request;
                }
                let offer = trigger.offer.map(|offer| offer.id);
                made.template = Some(trigger.template);
                made.terms = Some((offer, trigger.priority, trigger.send_by));
            }
            Some(Message::Refuse { request_id }) => made.instance = request_id,
            Some(Message::Suppress(suppress)) => made.until = suppress.until,
            Some(Message::Release { .. } | Message::Cancel { .. }) | None => {}
        }
        made
    }

    fn row(&self) -> Row {
        Row {
            flow: self.flow.clone(),
            channel: self.channel.clone(),
            verdict: self.verdict,
            reason: self.reason.clone(),
        }
    }

    /// Is it the end of an attempt to speak? Of these each step of an instance has one.
    fn is_answer(&self) -> bool {
        match self.verdict {
            VerdictKind::Send
            | VerdictKind::Refuse
            | VerdictKind::Skip
            | VerdictKind::Observe
            | VerdictKind::Expire => true,
            VerdictKind::Suppress
            | VerdictKind::Release
            | VerdictKind::Cancel
            | VerdictKind::Defer
            | VerdictKind::Outcome => false,
        }
    }

    fn order(&self) -> (Timestamp, &str, &str, &str, u32, DecisionId) {
        (
            self.decided_at,
            &self.profile,
            &self.flow,
            &self.instance,
            self.step,
            self.id,
        )
    }
}

/// What one plan makes of some records.
#[derive(Default)]
struct Decisions {
    made: Vec<Made>,
    dead_letters: u64,
}

impl Decisions {
    fn take(&mut self, decided: Decided) {
        match decided {
            Decided::Verdict(verdict) => self.made.push(Made::of(*verdict)),
            Decided::DeadLetter(_) => self.dead_letters += 1,
        }
    }
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Which flow; empty for none.
    pub flow: String,
    /// Which channel; empty for none.
    pub channel: String,
    /// What.
    pub verdict: VerdictKind,
    /// Why.
    pub reason: String,
}

/// How often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Decided so by the old plan.
    pub old: u64,
    /// Decided so by the new one.
    pub new: u64,
    /// Only by the new one.
    pub added: u64,
    /// Only by the old one.
    pub removed: u64,
    /// By both, and not alike: within this row, into it, or out of it.
    pub changed: u64,
}

/// In what two decisions about one thing differ, beside verdict, reason and channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// The new one comes later.
    Later,
    /// It comes earlier.
    Earlier,
    /// Another step says it.
    Step,
    /// Something else is sent.
    Template,
    /// Another offer, priority, or end of the time to send.
    Terms,
    /// It waits, or holds, until another time.
    Until,
}

/// Kinds of difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Only the new plan decides so.
    Added(Row),
    /// Only the old one did.
    Removed(Row),
    /// Both decide, otherwise.
    Changed {
        /// As it was.
        old: Row,
        /// As it would be.
        new: Row,
        /// In what else.
        aspects: BTreeSet<Aspect>,
    },
}

/// Two decisions about one thing, or the one that stands alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// As it was.
    pub old: Option<Made>,
    /// As it would be.
    pub new: Option<Made>,
}

impl Sample {
    fn order(&self) -> Option<(Timestamp, &str, &str, &str, u32, DecisionId)> {
        self.new.as_ref().or(self.old.as_ref()).map(Made::order)
    }
}

/// All differences of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// How many.
    pub count: u64,
    /// By how much the time differs, at least and at most.
    pub shift: Option<(Span, Span)>,
    /// The first of them by time.
    pub samples: Vec<Sample>,
}

/// What differs between two plans over one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Decisions that both make, alike in everything compared.
    pub same: u64,
    /// By flow, channel, verdict and reason.
    pub rows: BTreeMap<Row, Tally>,
    /// The differences.
    pub found: BTreeMap<Kind, Found>,
    /// Lines that are no events: neither plan saw them.
    pub dead_letters: u64,
}

impl Difference {
    /// Does nothing differ?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Contacts that leave: of the old plan, of the new one.
    #[must_use]
    pub fn sent(&self) -> (u64, u64) {
        let sends = self
            .rows
            .iter()
            .filter(|(row, _)| row.verdict == VerdictKind::Send);
        sends.fold((0, 0), |(old, new), (_, tally)| {
            (old + tally.old, new + tally.new)
        })
    }

    fn between(old: Decisions, new: Decisions, samples: usize) -> Self {
        let mut difference = Self {
            // Both read the same records in the same way.
            dead_letters: new.dead_letters,
            ..Self::default()
        };
        let (old, new) = (old.made, new.made);
        for made in &old {
            difference.rows.entry(made.row()).or_default().old += 1;
        }
        for made in &new {
            difference.rows.entry(made.row()).or_default().new += 1;
        }
        let mut pairs = Pairs {
            old,
            new,
            pairs: Vec::new(),
        };
        pairs.by(|made| Some(made.id), None);
        let place = |made: &Made| {
            (
                made.profile.clone(),
                made.flow.clone(),
                made.instance.clone(),
            )
        };
        // The same step on the same channel says something else; then another step of that channel; then the step on another channel.
        let answer = |made: &Made| made.is_answer().then(|| place(made));
        let near = Some(SAME_CONTACT);
        pairs.by(|m| Some((answer(m)?, m.step, m.channel.clone())), near);
        pairs.by(|m| Some((answer(m)?, m.verdict, m.channel.clone())), near);
        pairs.by(|m| Some((answer(m)?, m.verdict, m.step)), near);
        for (old, new) in pairs.pairs {
            difference.note_pair(old, new, samples);
        }
        for old in pairs.old {
            difference.row(&old).removed += 1;
            let sample = Sample {
                old: Some(old),
                new: None,
            };
            difference.note(sample, None, samples);
        }
        for new in pairs.new {
            difference.row(&new).added += 1;
            let sample = Sample {
                old: None,
                new: Some(new),
            };
            difference.note(sample, None, samples);
        }
        difference
    }

    fn row(&mut self, made: &Made) -> &mut Tally {
        self.rows.entry(made.row()).or_default()
    }

    fn note_pair(&mut self, old: Made, new: Made, samples: usize) {
        let aspects = aspects(&old, &new);
        let (was, is) = (old.row(), new.row());
        if was == is && aspects.is_empty() {
            self.same += 1;
            return;
        }
        self.row(&old).changed += 1;
        if was != is {
            self.row(&new).changed += 1;
        }
        let (from, to) = (old.decided_at, new.decided_at);
        let shift = if from <= to {
            to.since(from)
        } else {
            from.since(to)
        };
        let shift = (from != to).then_some((shift, shift));
        let sample = Sample {
            old: Some(old),
            new: Some(new),
        };
        self.note(sample, shift, samples);
    }

    fn note(&mut self, sample: Sample, shift: Option<(Span, Span)>, samples: usize) {
        let kind = match (&sample.old, &sample.new) {
            (Some(old), Some(new)) => Kind::Changed {
                old: old.row(),
                new: new.row(),
                aspects: aspects(old, new),
            },
            (Some(old), None) => Kind::Removed(old.row()),
            (None, Some(new)) => Kind::Added(new.row()),
            (None, None) => return,
        };
        let one = Found {
            count: 1,
            shift,
            samples: vec![sample],
        };
        self.found.entry(kind).or_default().add(one, samples);
    }

    fn add(&mut self, part: Self, samples: usize) {
        self.same += part.same;
        self.dead_letters += part.dead_letters;
        for (row, tally) in part.rows {
            let sum = self.rows.entry(row).or_default();
            sum.old += tally.old;
            sum.new += tally.new;
            sum.added += tally.added;
            sum.removed += tally.removed;
            sum.changed += tally.changed;
        }
        for (kind, found) in part.found {
            self.found.entry(kind).or_default().add(found, samples);
        }
    }
}

impl Found {
    fn add(&mut self, other: Self, samples: usize) {
        self.count += other.count;
        self.shift = match (self.shift, other.shift) {
            (Some((low, high)), Some((least, most))) => Some((low.min(least), high.max(most))),
            (known, None) => known,
            (None, shift) => shift,
        };
        for sample in other.samples {
            let place = self
                .samples
                .partition_point(|known| known.order() <= sample.order());
            if place < samples {
                self.samples.insert(place, sample);
                self.samples.truncate(samples);
            }
        }
    }
}

fn aspects(old: &Made, new: &Made) -> BTreeSet<Aspect> {
    let time = match old.decided_at.cmp(&new.decided_at) {
        std::cmp::Ordering::Less => Some(Aspect::Later),
        std::cmp::Ordering::Greater => Some(Aspect::Earlier),
        std::cmp::Ordering::Equal => None,
    };
    // What lies as far from the decision as before moved with it: the time says so already.
    let ahead = |made: &Made, at: Option<Timestamp>| at.map(|at| at.since(made.decided_at));
    let waits = old.until != new.until && ahead(old, old.until) != ahead(new, new.until);
    let terms = match (&old.terms, &new.terms) {
        // The end of the time to send moves with its beginning, through quiet hours at least.
        (Some((a, b, was)), Some((c, d, is))) => (a, b) != (c, d) || (time.is_none() && was != is),
        (None, _) | (_, None) => false,
    };
    let found = [
        time,
        (old.step != new.step).then_some(Aspect::Step),
        (old.template.is_some() && new.template.is_some() && old.template != new.template)
            .then_some(Aspect::Template),
        terms.then_some(Aspect::Terms),
        (old.verdict == new.verdict && waits).then_some(Aspect::Until),
    ];
    found.into_iter().flatten().collect()
}

/// What found its counterpart, and what has not yet.
struct Pairs {
    old: Vec<Made>,
    new: Vec<Made>,
    pairs: Vec<(Made, Made)>,
}

impl Pairs {
    /// Pairs decisions of one key, in the order of their times, where they are no further apart than `near`.
    fn by<K: Ord>(&mut self, key: impl Fn(&Made) -> Option<K>, near: Option<Span>) {
        let mut waiting: BTreeMap<K, VecDeque<Made>> = BTreeMap::new();
        let mut left = Vec::new();
        self.old.sort_by(|a, b| a.order().cmp(&b.order()));
        self.new.sort_by(|a, b| a.order().cmp(&b.order()));
        for made in self.old.drain(..) {
            match key(&made) {
                Some(key) => waiting.entry(key).or_default().push_back(made),
                None => left.push(made),
            }
        }
        let mut alone = Vec::new();
        for new in self.new.drain(..) {
            let queue = key(&new).and_then(|key| waiting.get_mut(&key));
            let apart = |old: &Made| {
                let (a, b) = (old.decided_at, new.decided_at);
                if a <= b { b.since(a) } else { a.since(b) }
            };
            let fits = |old: &Made| near.is_none_or(|near| apart(old) <= near);
            let place = queue.as_ref().and_then(|queue| queue.iter().position(fits));
            match queue
                .zip(place)
                .and_then(|(queue, place)| queue.remove(place))
            {
                Some(old) => self.pairs.push((old, new)),
                None => alone.push(new),
            }
        }
        left.extend(waiting.into_values().flatten());
        (self.old, self.new) = (left, alone);
    }
}

/// Runs `log` through both plans. `wall` caps the clock, as it does in `run`.
///
/// # Errors
/// When the log cannot be read again.
pub fn compare(
    log: &Log,
    comparison: &Comparison,
    wall: Timestamp,
    progress: &Progress,
) -> Result<Difference, ReplayError> {
    progress.begin(log.records() * 2);
    let until = comparison.until.map(|until| until.min(wall));
    let samples = comparison.samples;
    let decide = |number: i32, plan: &Arc<FoldPlan>| -> Result<Decisions, ReplayError> {
        let mut decisions = Decisions::default();
        let records = log.spool.partition(number);
        let partition = Partition::new(number, plan, records, wall)?;
        partition.run(until, progress, &mut |decided| decisions.take(decided))?;
        Ok(decisions)
    };
    if log.crosses {
        // What one customer does concerns others: all partitions together, under one flow set after the other.
        let together = |plan: &Arc<FoldPlan>| -> Result<Decisions, ReplayError> {
            let mut decisions = Decisions::default();
            log.together(plan, wall, until, progress, &mut |_, decided| {
                decisions.take(decided);
            })?;
            Ok(decisions)
        };
        let old = together(&comparison.old)?;
        let new = together(&comparison.new)?;
        return Ok(Difference::between(old, new, samples));
    }
    let parts = log.by_partition(comparison.threads, |number| {
        // One after the other, so that the state of only one of them is in memory.
        let old = decide(number, &comparison.old)?;
        let new = decide(number, &comparison.new)?;
        Ok(Difference::between(old, new, samples))
    })?;
    let mut difference = Difference::default();
    for part in parts {
        difference.add(part, samples);
    }
    Ok(difference)
}
