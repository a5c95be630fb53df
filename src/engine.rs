//! The one entry of the core: what an input makes of a profile, and what is decided (engine.md, product.md §5–§7).
//!
//! [`step`] is total and pure: the same plan, profile, input and clock reading give the same bytes (DT-1). It never hands a
//! contact over while it folds an event: an entry only arms a timer, due at once where the flow has no delay. Firing timers is the
//! caller's choice, so a task that is behind simply does not fire them (CK-1), while suppressions and cancels leave at once.
//!
//! ```text
//! event ─► dedup ─► fold ─► exits ─► suppressions, releases ─► receipts, outcomes ─► entries, watches (arm timers)
//!                            [exits]  [suppress], [consent]    [advance], [outcome]  [enter], [watch], [request] ─► what waits [wake]
//! forward ─► event │ link │ hand-over …: who is who                     [identity], [join]; what goes to other profiles: [forward]
//! erased ─► what left is recalled, nothing stays but a mark              [erase]
//! timer ─► advance or expire ─► gate ─► hand over │ observe │ defer │ skip │ refuse         (fires exactly one)
//!          [advance]            [gate], [caps], [quiet], [ledger]   [choice], [contact], [context]
//! ```

use crate::decision::Verdict;
use crate::event::{Body, Event, Origin};
use crate::flow::FlowSet;
use crate::policy::Policy;
use crate::profile::running::{Armed, DueTimer, Instance, Running};
use crate::profile::{OrderNews, Profile};
use crate::value::Timestamp;

mod advance;
mod calendar;
mod caps;
mod choice;
mod consent;
mod contact;
mod context;
mod enter;
mod erase;
mod exits;
pub mod forward;
mod gate;
mod identity;
mod join;
mod ledger;
mod outcome;
mod quiet;
mod request;
mod suppress;
mod turn;
mod wake;
mod watch;

pub use contact::address_id;
pub use erase::erasure_id;
pub use identity::profile_of;
pub use ledger::Ledger;

use forward::{Forward, Matter};
use identity::{Way, event_of};
use turn::{Source, Turn};

/// Flows and policy in force. Immutable; a reload makes a new one.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The flows.
    pub flows: FlowSet,
    /// What applies to all of them.
    pub policy: Policy,
}

/// What may happen to a profile.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A record was read.
    Event {
        /// Decoded.
        event: &'a Event,
        /// Where it stands.
        origin: &'a Origin,
        /// From a history input (backfill): folds and suppresses, starts no flow.
        history: bool,
    },
    /// A record of `<app>-events` was read.
    Forward(&'a Forward),
    /// The profile's earliest timer is due (`profile.next_due() <= now`): fires exactly one, of those due the one of the highest priority (TM-3).
    Timer,
}

/// What a step met that no verdict tells, for the shell to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepCounts {
    /// The event had been folded before.
    pub duplicates: u32,
    /// A cart event older than the order that closed its cart.
    pub outdated: u32,
    /// A receipt whose decision is not (or no longer) known.
    pub unknown_receipts: u32,
    /// The event went on to whoever this profile is now.
    pub forwarded: u32,
    /// The event names an address that nobody holds.
    pub unattributed: u32,
    /// The event is of somebody who was erased after it.
    pub erased: u32,
}

/// What a step found out beside its verdicts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stepped {
    /// For the shell to count.
    pub counts: StepCounts,
    /// For `<app>-events`, in order, in the same transaction.
    pub forwards: Vec<Forward>,
}

/// Folds `input` into `profile` at the task's clock `now` and appends what was decided to `verdicts`, in order. `ledger` is the task's:
/// what its channels went through over all its profiles.
pub fn step(
    plan: &Plan,
    ledger: &mut Ledger,
    profile: &mut Profile,
    input: Input<'_>,
    now: Timestamp,
    verdicts: &mut Vec<Verdict>,
) -> Stepped {
    let login = match input {
        Input::Forward(forward) => login_of(forward),
        Input::Event { .. } | Input::Timer => None,
    };
    let due = match input {
        Input::Timer => foremost(plan, profile, now),
        Input::Event { .. } | Input::Forward(_) => None,
    };
    let mut forwards = Vec::new();
    let source = match input {
        Input::Event { event, origin, .. } => Source::Event(event, origin),
        Input::Forward(forward) => source_of(forward, login.as_ref()),
        Input::Timer => Source::Timer(due.and_then(|due| armed(profile, due)).unwrap_or_default()),
    };
    let mut turn = Turn {
        plan,
        ledger,
        profile,
        now,
        source,
        verdicts,
        forwards: &mut forwards,
    };
    if !matches!(input, Input::Timer) {
        turn.end_out_of_force();
    }
    let counts = match input {
        Input::Event {
            event,
            origin,
            history,
        } => turn.take_event(event, origin, history, Way::default()),
        Input::Forward(forward) => turn.take_forward(forward, login.as_ref()),
        Input::Timer => {
            turn.fire(due);
            StepCounts::default()
        }
    };
    turn.wake();
    Stepped { counts, forwards }
}

/// The login that a forwarded record is about, as the event that it was.
fn login_of(forward: &Forward) -> Option<Event> {
    match &forward.matter {
        Matter::Link {
            customer, login, ..
        } => Some(event_of(login, customer)),
        Matter::Handover { login, .. } => Some(event_of(login, &forward.to)),
        Matter::Erased { by, .. } => Some(erase::event_of(by)),
        Matter::Event { .. }
        | Matter::Unlink { .. }
        | Matter::Holds { .. }
        | Matter::Leaves { .. }
        | Matter::Bars { .. } => None,
    }
}

fn source_of<'a>(forward: &'a Forward, login: Option<&'a Event>) -> Source<'a> {
    let nothing = || Source::Timer(Armed::default());
    match &forward.matter {
        Matter::Event { event, origin, .. } => Source::Event(event, origin),
        Matter::Link { origin, .. }
        | Matter::Handover { origin, .. }
        | Matter::Erased { origin, .. } => {
            login.map_or_else(nothing, |login| Source::Event(login, origin))
        }
        Matter::Bars { armed, .. } => Source::Timer(armed.clone()),
        Matter::Unlink { .. } | Matter::Holds { .. } | Matter::Leaves { .. } => nothing(),
    }
}

impl Plan {
    /// How urgent a timer is: a flow's priority. A request has none, and the others say nothing.
    fn priority_of(&self, running: &Running, timer: DueTimer) -> u32 {
        match timer {
            DueTimer::Instance(index) => {
                let instance = running.instances.get(index);
                instance
                    .and_then(|instance| self.flows.version(&instance.flow, &instance.version))
                    .map_or(0, |flow| flow.priority)
            }
            DueTimer::Request(_) | DueTimer::Watch(_) | DueTimer::Alias => 0,
        }
    }
}

/// Of the timers that are due together the one of the highest priority: it passes the gate first and takes the slot (TM-3: never early).
/// Of equals the earlier due comes first, then instances before requests, older before newer. Before all of them ends what runs on a flow
/// that was taken away, due or not: it stands in nobody's way.
fn foremost(plan: &Plan, profile: &Profile, now: Timestamp) -> Option<DueTimer> {
    let running = &profile.running;
    if let Some(index) = out_of_force(plan, running) {
        return Some(DueTimer::Instance(index));
    }
    running
        .timers()
        .filter(|(due, _)| *due <= now)
        .min_by_key(|(due, timer)| {
            let priority = plan.priority_of(running, *timer);
            (std::cmp::Reverse(priority), *due)
        })
        .map(|(_, timer)| timer)
}

/// The first instance whose flow was taken away.
fn out_of_force(plan: &Plan, running: &Running) -> Option<usize> {
    let flows = plan.flows.current();
    let is_out = |instance: &Instance| !flows.contains_key(instance.flow.as_str());
    running.instances.iter().position(is_out)
}

/// The record that armed a timer.
fn armed(profile: &Profile, timer: DueTimer) -> Option<Armed> {
    let running = &profile.running;
    match timer {
        DueTimer::Instance(index) => running.instances.get(index).map(|i| i.armed.clone()),
        DueTimer::Request(index) => running.requests.get(index).map(|r| r.armed.clone()),
        DueTimer::Watch(index) => running.watches.get(index).map(|w| w.armed.clone()),
        DueTimer::Alias => None,
    }
}

impl Turn<'_> {
    /// Ends what runs on flows that were taken away: whatever touches a profile after the reload finds it so.
    fn end_out_of_force(&mut self) {
        while let Some(index) = out_of_force(self.plan, &self.profile.running) {
            self.end_inactive(index);
        }
    }

    /// Fires exactly one timer, when one is due.
    fn fire(&mut self, due: Option<DueTimer>) {
        match due {
            None => {}
            Some(DueTimer::Instance(index)) => self.fire_instance(index),
            Some(DueTimer::Request(index)) => self.fire_request(index),
            Some(DueTimer::Watch(index)) => self.fire_watch(index),
            Some(DueTimer::Alias) => self.end_alias(),
        }
    }

    /// One event: the order below is the contract's. Exits come before entries, or a purchase would end what it just began; the
    /// carts are looked at as they were before the order closed them.
    fn event(&mut self, event: &Event, history: bool) -> StepCounts {
        let was_blocked = self.profile.reach.manual_block.is_some();
        let ends_carts = matches!(event.body, Body::Order(_));
        let carts_before = if ends_carts && !self.profile.running.instances.is_empty() {
            self.profile.carts.open.clone()
        } else {
            Vec::new()
        };
        let told_before = self.lines_of(event);
        let held = self.held_before(event);
        let folded = self.profile.fold(event, &self.plan.policy, self.now);
        let mut counts = StepCounts {
            duplicates: u32::from(folded.duplicate),
            outdated: u32::from(folded.outdated),
            ..StepCounts::default()
        };
        if folded.duplicate {
            return counts;
        }
        self.take_exits(event, &carts_before, &folded);
        match &event.body {
            Body::Order(order) => {
                if folded.order != Some(OrderNews::Update) {
                    self.remember_carts(&carts_before, order, event.effective_time);
                }
                self.suppress_after_purchase(event, order, &folded, told_before.as_deref());
                self.convert(event, order, &folded);
            }
            Body::OrderStatus(status) if folded.first_reversal => {
                self.release_cancelled(event, status);
            }
            Body::Refund(refund) if folded.first_reversal => self.release_refunded(event, refund),
            Body::Receipt(receipt) => {
                counts.unknown_receipts = u32::from(!self.receive(event, receipt));
            }
            Body::Consent(change) => self.change_consent(event, change),
            Body::Identity(identity) => {
                self.after_identity(event, identity, was_blocked);
            }
            Body::SendRequest(request) if !history => self.request(event, request),
            Body::OrderStatus(_)
            | Body::Refund(_)
            | Body::SendRequest(_)
            | Body::Browse(_)
            | Body::CartLine(_)
            | Body::CartSnapshot(_)
            | Body::Checkout(_)
            | Body::Ticket(_)
            | Body::Feedback(_)
            | Body::Score(_)
            | Body::Merge(_)
            | Body::Erasure => {}
        }
        if !history {
            self.enter_flows(event, &folded, &held);
        }
        // Also from history: what is known of the past says when the future comes.
        self.watch_flows(event, &folded);
        counts
    }
}
