//! Records and due timers in, staged work out: everything a task does between two commits, without any bus.
//!
//! `run`, `replay`, the simulation and the tests drive this same code; what differs is who reads the records, and when due timers
//! may fire: a live task fires them only when it is not behind (CK-1), a task on the records' clock before each later record.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::versions::Versions;
use crate::bus::{InputId, Record};
use crate::decision::Verdict;
use crate::engine::forward::{Forward, Matter};
use crate::engine::{self, Input, Ledger, Plan, StepCounts};
use crate::event::avro::registered::Registered;
use crate::event::mapping::Read;
use crate::event::{DecodeError, Event, Origin, Refusal};
use crate::store::staging::{CacheLimits, Lookups, Rendered, Staging};
use crate::store::{Change, Store, StoreError, layout};
use crate::value::{ProfileKey, Span, Timestamp};

mod erasure;
mod folded;
mod read;

pub use folded::Folded;
pub use read::{
    ClockKind, FoldPlan, Format, InputSpec, MARK_HEADER, decode, decode_anywhere, is_mark,
};

/// `<app>-events`: holds forwarded records only.
pub const ANCHOR: InputId = InputId(0);

/// Bytes of an event that is forwarded, at most: it is written in our own shape, which may be longer than the record that it came in, and
/// `<app>-events` takes records of 2 MiB. The rest is for the aliases that pass it on.
pub const LARGEST_FORWARD: usize = 1_900_000;
/// An event grows less than that much when it is written in our own shape; one that came in a smaller record needs no look.
const SURE_TO_FIT: usize = LARGEST_FORWARD / 32;

/// Timers of one profile that may fire at one reading of the clock: a chain of steps that never waits is a broken flow (TM-3).
const MAX_FIRINGS_AT_ONCE: u32 = 1_000;

/// A live task writes its clock down when it is that far ahead of what is written: it only guards against a wall that was set
/// back while we were down, and every write is a changelog record.
const LIVE_CLOCK_STRIDE: Span = Span::from_minutes(1);

/// A record that could not be read as an event of its key.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// As it came.
    pub record: Record,
    /// Where it stands.
    pub origin: Origin,
    /// Why.
    pub error: DecodeError,
}

/// What a fold decided, in order.
#[derive(Clone, Debug)]
pub enum Decided {
    /// For the decision log, and the channel if it carries a message.
    Verdict(Box<Verdict>),
    /// For `<app>-dlq`.
    DeadLetter(Box<DeadLetter>),
}

/// One task's state and what a batch made of it.
pub struct Fold {
    task: i32,
    shared: Arc<FoldPlan>,
    /// The shared plan, and the older flow versions that this task's instances may still run on.
    plan: Plan,
    versions: Versions,
    store: Box<dyn Store>,
    staging: Staging,
    /// What the channels went through over all profiles of this task, now and as of the last commit.
    ledger: Ledger,
    stored_ledger: Ledger,
    clock: Timestamp,
    stored_clock: Timestamp,
    rendered_clock: Timestamp,
    verdicts: Vec<Verdict>,
    decided: Vec<Decided>,
    /// Topics of the inputs that the state knows, and that it will know after the batch at hand.
    known_inputs: BTreeSet<String>,
    rendered_inputs: BTreeSet<String>,
    /// Names of the inputs that it reads.
    read_inputs: BTreeSet<String>,
    /// For other profiles, each with the clock at which it was told.
    forwards: VecDeque<(Timestamp, Forward)>,
    /// When the live blocks of a profile last changed in this batch.
    blocks_changed: BTreeMap<ProfileKey, Timestamp>,
    /// What the schema registry told so far.
    registered: Arc<Registered>,
}

impl Fold {
    /// Over an opened store; the clock goes on where the store's task record left it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn new(
        task: i32,
        shared: Arc<FoldPlan>,
        store: Box<dyn Store>,
        cache: CacheLimits,
    ) -> Result<Self, StoreError> {
        let mut fold = Self {
            task,
            plan: shared.plan.clone(),
            versions: Versions::default(),
            shared,
            store,
            staging: Staging::new(task, cache),
            ledger: Ledger::new(task),
            stored_ledger: Ledger::new(task),
            clock: Timestamp::ZERO,
            stored_clock: Timestamp::ZERO,
            rendered_clock: Timestamp::ZERO,
            verdicts: Vec::new(),
            decided: Vec::new(),
            known_inputs: BTreeSet::new(),
            rendered_inputs: BTreeSet::new(),
            read_inputs: BTreeSet::new(),
            forwards: VecDeque::new(),
            blocks_changed: BTreeMap::new(),
            registered: Arc::default(),
        };
        fold.read_records()?;
        Ok(fold)
    }

    /// Task records: the clock, and the text of every flow version that an instance here may have entered with.
    fn read_records(&mut self) -> Result<(), StoreError> {
        self.read_clock()?;
        self.read_ledger()?;
        self.read_inputs()?;
        self.read_erasures()?;
        let Plan { flows, policy } = &mut self.plan;
        self.versions = Versions::read(self.task, &*self.store, policy, flows)?;
        Ok(())
    }

    /// Other flows and policy come into force. Instances keep the version that they entered with; those of a flow that is gone end as
    /// `flow_inactive`. The caller has checked `shared`: this cannot fail.
    pub fn reload(&mut self, shared: Arc<FoldPlan>) {
        let before = std::mem::replace(&mut self.plan, shared.plan.clone()).flows;
        let kept = before.retired().values().chain(before.current().values());
        for flow in kept {
            self.plan.flows.retire(Arc::clone(flow));
        }
        self.shared = shared;
        self.versions.reloaded();
    }

    /// What the schema registry told by now. A record whose schema is not among it yet is not given to [`Self::record`].
    pub fn learn(&mut self, registered: Arc<Registered>) {
        self.registered = registered;
    }

    /// Whether anything was ever committed here: the first commit of a task writes down which inputs it read, and no later one does.
    #[must_use]
    pub fn has_state(&self) -> bool {
        !self.known_inputs.is_empty()
    }

    fn read_ledger(&mut self) -> Result<(), StoreError> {
        let ledger = match self.store.get(&layout::ledger_key())? {
            Some(stored) => {
                Ledger::decode(self.task, &stored).ok_or_else(|| StoreError::Corrupt {
                    task: self.task,
                    what: "the ledger of the channels is none of ours".to_owned(),
                })?
            }
            None => Ledger::new(self.task),
        };
        self.stored_ledger = ledger.clone();
        self.ledger = ledger;
        Ok(())
    }

    fn read_inputs(&mut self) -> Result<(), StoreError> {
        self.known_inputs = match self.store.get(&layout::inputs_key())? {
            Some(stored) => {
                layout::decode_inputs(&stored).map_err(|error| error.corrupt(self.task))?
            }
            None => BTreeSet::new(),
        };
        self.rendered_inputs.clone_from(&self.known_inputs);
        Ok(())
    }

    /// Was a position of the input of this name ever committed by this task? Told by the changelog, so also after the disk was lost.
    #[must_use]
    pub fn has_read(&self, input: &str) -> bool {
        self.known_inputs.contains(input)
    }

    /// The inputs of these names are read from now on: the next commit states that it carries their positions.
    pub fn reads(&mut self, inputs: impl Iterator<Item = Arc<str>>) {
        self.read_inputs = inputs.map(|name| name.to_string()).collect();
    }

    fn read_clock(&mut self) -> Result<(), StoreError> {
        if let Some(stored) = self.store.get(&layout::clock_key())? {
            let clock = layout::decode_clock(&stored).map_err(|error| error.corrupt(self.task))?;
            self.stored_clock = clock;
            self.clock = self.clock.max(clock);
        }
        Ok(())
    }

    /// The task's clock.
    #[must_use]
    pub const fn clock(&self) -> Timestamp {
        self.clock
    }

    /// Moves the clock on; a reading before it waits (the clock never goes back).
    pub fn advance(&mut self, now: Timestamp) {
        self.clock = self.clock.max(now);
    }

    /// The plan that decides.
    #[must_use]
    pub const fn shared(&self) -> &Arc<FoldPlan> {
        &self.shared
    }

    /// The store, for restore and reading.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The store, for the one write after a commit and for restore.
    #[must_use]
    pub fn store_mut(&mut self) -> &mut dyn Store {
        &mut *self.store
    }

    /// Folds one record at the task's clock. Input bytes never fail: what cannot be read becomes a dead letter.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn record(&mut self, record: Record) -> Result<Folded, StoreError> {
        if is_mark(&record) {
            return Ok(Folded::Mark);
        }
        let shared = Arc::clone(&self.shared);
        let Some(input) = shared.inputs.get(usize::from(record.input.0)) else {
            return Ok(Folded::Mark);
        };
        let lane = input.source.lane;
        let origin = Origin {
            topic: Arc::clone(&input.source.topic),
            partition: lane.map_or(record.partition, |lane| {
                lane * shared.partitions + record.partition
            }),
            offset: record.offset,
            timestamp: record.timestamp,
        };
        if record.input == ANCHOR {
            return match read::decode_forward(&record, &shared) {
                Ok(forward) => self.forward(&forward),
                Err(error) => Ok(self.put_aside(record, origin, error)),
            };
        }
        match decode(input, &record, &shared, &self.registered) {
            Ok(Read::Event(event)) => {
                let waiting = self.forwards.len();
                let folded = if lane.is_some() {
                    self.identify(&event, &origin, input.history)
                } else {
                    self.event(&event, &origin, input.history)?
                };
                let length = record.value.as_ref().map_or(0, Vec::len);
                if length > SURE_TO_FIT && self.is_too_large_to_forward(waiting) {
                    // Whose it is did not take it in: it only passed it on.
                    self.forwards.truncate(waiting);
                    let error = DecodeError::new(Refusal::Oversize);
                    return Ok(self.put_aside(record, origin, error));
                }
                Ok(folded)
            }
            Ok(Read::Left(left)) => Ok(Folded::Left(left)),
            Err(error) => Ok(self.put_aside(record, origin, error)),
        }
    }

    /// Is one of what is forwarded from this place on an event that `<app>-events` would not take?
    fn is_too_large_to_forward(&self, from: usize) -> bool {
        let currencies = &self.shared.decode.currencies;
        let is_event = |forward: &Forward| matches!(forward.matter, Matter::Event { .. });
        self.forwards
            .iter()
            .skip(from)
            .filter(|(_, forward)| is_event(forward))
            .any(|(_, forward)| forward.encode(currencies).len() > LARGEST_FORWARD)
    }

    fn put_aside(&mut self, record: Record, origin: Origin, error: DecodeError) -> Folded {
        self.decided.push(Decided::DeadLetter(Box::new(DeadLetter {
            record,
            origin,
            error,
        })));
        Folded::DeadLetter
    }

    /// Takes in what another profile told one of this task's.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn forward(&mut self, forward: &Forward) -> Result<Folded, StoreError> {
        let counts = self.step(&forward.to, Input::Forward(forward))?;
        if let Matter::Leaves { .. } = forward.matter {
            // The address listed somebody: the store has to rewrite that, too.
            self.mark_erased(&forward.to, self.clock);
        }
        Ok(match &forward.matter {
            Matter::Event { event, .. } => Folded::of(event, counts),
            Matter::Link { .. }
            | Matter::Unlink { .. }
            | Matter::Handover { .. }
            | Matter::Holds { .. }
            | Matter::Erased { .. }
            | Matter::Leaves { .. }
            | Matter::Bars { .. } => Folded::Forwarded,
        })
    }

    /// What is for other profiles since the last call, each with the clock at which it was told.
    pub fn take_forwards(&mut self) -> VecDeque<(Timestamp, Forward)> {
        std::mem::take(&mut self.forwards)
    }

    /// Delivers what is for other profiles at once: where one task has them all.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn deliver(&mut self) -> Result<(), StoreError> {
        while let Some((_, forward)) = self.forwards.pop_front() {
            self.forward(&forward)?;
        }
        Ok(())
    }

    /// Intake: the record stands where its producer put it; the event goes to its profile, which may be another task's.
    fn identify(&mut self, event: &Event, origin: &Origin, history: bool) -> Folded {
        let Some(key) = engine::profile_of(&self.plan, event) else {
            return Folded::Unattributed(event.kind);
        };
        let matter = Matter::Event {
            event: Box::new(event.clone()),
            origin: origin.clone(),
            history,
        };
        self.forwards
            .push_back((self.clock, Forward::new(key, matter)));
        Folded::Forwarded
    }

    /// Folds one decoded event.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn event(
        &mut self,
        event: &Event,
        origin: &Origin,
        history: bool,
    ) -> Result<Folded, StoreError> {
        let Some(key) = engine::profile_of(&self.plan, event) else {
            return Ok(Folded::Unattributed(event.kind));
        };
        if key.is_address() {
            // Who holds it may be known to another task only.
            return Ok(self.identify(event, origin, history));
        }
        let counts = self.step(
            &key,
            Input::Event {
                event,
                origin,
                history,
            },
        )?;
        Ok(Folded::of(event, counts))
    }

    /// Fires every timer due at or before `until`, in due order, the clock moving along. `until` at the clock fires what is due now.
    /// Stops after about `limit`; gives how many fired.
    ///
    /// # Errors
    /// When the store cannot be read.
    ///
    /// # Panics
    /// TM-3: when a timer does not go away by firing.
    pub fn fire(&mut self, until: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut fired = 0;
        // How often the same profile fired at the same instant: thousands of others may have waited for nine o'clock, too.
        let mut again: Option<((Timestamp, ProfileKey), u32)> = None;
        while fired < limit {
            let Some((due, key)) = self.staging.first_due(&*self.store, until)? else {
                break;
            };
            self.clock = self.clock.max(due);
            self.step(&key, Input::Timer)?;
            let next = self.staging.profile(&key, &*self.store)?.next_due();
            let fired_here = match &again {
                Some((place, count)) if *place == (due, key.clone()) => count + 1,
                Some(_) | None => 1,
            };
            again = Some(((due, key), fired_here));
            assert!(
                next.is_none_or(|next| next != due) || fired_here < MAX_FIRINGS_AT_ONCE,
                "TM-3: a timer of task {} fires again and again at one instant",
                self.task
            );
            fired += 1;
        }
        Ok(fired)
    }

    /// When the next timer is due, staged ones included.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn next_due(&mut self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self
            .staging
            .first_due(&*self.store, Timestamp::MAX)?
            .map(|(due, _)| due))
    }

    fn step(&mut self, key: &ProfileKey, input: Input<'_>) -> Result<StepCounts, StoreError> {
        let profile = self.staging.profile(key, &*self.store)?;
        let stepped = engine::step(
            &self.plan,
            &mut self.ledger,
            profile,
            input,
            self.clock,
            &mut self.verdicts,
        );
        let clock = self.clock;
        let forwards = stepped.forwards.into_iter();
        self.forwards
            .extend(forwards.map(|forward| (clock, forward)));
        if profile.take_blocks_changed() {
            self.blocks_changed.insert(key.clone(), self.clock);
        }
        if let Some(until) = profile.take_erased() {
            self.mark_erased(key, until);
        }
        self.decided.extend(
            self.verdicts
                .drain(..)
                .map(|verdict| Decided::Verdict(Box::new(verdict))),
        );
        Ok(stepped.counts)
    }

    /// Is anything staged that only a commit makes durable?
    #[must_use]
    pub fn has_staged(&self) -> bool {
        !self.staging.is_empty()
            || !self.decided.is_empty()
            || !self.forwards.is_empty()
            || self.versions.is_pending(&self.plan.flows)
    }

    /// What is decided and not yet taken, in order.
    #[must_use]
    pub fn decided(&self) -> &[Decided] {
        &self.decided
    }

    /// What was decided since the last call, in order.
    pub fn take_decided(&mut self) -> Vec<Decided> {
        std::mem::take(&mut self.decided)
    }

    /// Profiles whose live blocks changed since the last call, and when they last did: what was live *then* is said of them, however
    /// large the batch (DT-1).
    pub fn take_blocks_changed(&mut self) -> BTreeMap<ProfileKey, Timestamp> {
        std::mem::take(&mut self.blocks_changed)
    }

    /// A profile as the batch left it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn profile(
        &mut self,
        key: &ProfileKey,
    ) -> Result<&mut crate::profile::Profile, StoreError> {
        self.staging.profile(key, &*self.store)
    }

    /// How often the cache of decoded profiles helped since the last call.
    pub const fn take_lookups(&mut self) -> Lookups {
        self.staging.take_lookups()
    }

    /// Everything that changed, once: the changelog records and the index changes of this batch, task clock included.
    pub fn render(&mut self) -> Rendered {
        if self.ledger.take_changed() {
            let value = self.ledger.encode();
            self.staging.put_record(layout::ledger_key(), Some(value));
        }
        let mut rendered = self.staging.render();
        let write = match self.shared.clock {
            ClockKind::Live => self.clock.since(self.stored_clock) >= LIVE_CLOCK_STRIDE,
            ClockKind::Records => self.clock != self.stored_clock,
        };
        if write {
            rendered.changes.push(layout::clock_change(self.clock));
        }
        // The first commit states the position of every input.
        if !self.read_inputs.is_subset(&self.known_inputs) {
            self.rendered_inputs
                .extend(self.read_inputs.iter().cloned());
            rendered.changes.push(Change {
                key: layout::inputs_key(),
                value: Some(layout::inputs_value(&self.rendered_inputs)),
            });
        }
        let texts = self.versions.render(&self.plan.flows, self.clock);
        rendered.changes.extend(texts);
        self.rendered_clock = if write { self.clock } else { self.stored_clock };
        rendered
    }

    /// The batch is durable and stored: what it touched is clean now.
    pub fn committed(&mut self) {
        self.stored_clock = self.rendered_clock;
        self.known_inputs.clone_from(&self.rendered_inputs);
        for version in self.versions.committed() {
            self.plan.flows.forget(&version);
        }
        if self.stored_ledger != self.ledger {
            self.stored_ledger = self.ledger.clone();
        }
        self.staging.committed();
    }

    /// The batch is void: drops everything staged and decided (ST-3). On the records' clock, time too is what the last commit left:
    /// the records are read again, and what they lead to may not depend on the abort (DT-1). A live clock stays: it never goes back.
    pub fn discard(&mut self) {
        if self.shared.clock == ClockKind::Records {
            self.clock = self.stored_clock;
        }
        self.ledger = self.stored_ledger.clone();
        self.staging.discard();
        self.decided.clear();
        self.forwards.clear();
        self.verdicts.clear();
        self.blocks_changed.clear();
    }

    /// The store was written behind the staging's back (restore): nothing cached may survive.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn restored(&mut self) -> Result<(), StoreError> {
        self.discard();
        self.staging.forget();
        self.read_records()
    }
}
