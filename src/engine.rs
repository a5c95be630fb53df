//! The one entry of the core: what an input makes of a profile, and what is decided (engine.md, product.md §5–§7).
//!
//! [`step`] is total and pure: the same plan, profile, input and clock reading give the same bytes (DT-1). It never hands a
//! contact over while it folds an event: an entry only arms a timer, due at once where the flow has no delay. Firing timers is the
//! caller's choice, so a task that is behind simply does not fire them (CK-1), while suppressions and cancels leave at once.
//!
//! ```text
//! event ─► dedup ─► fold ─► exits ─► suppressions, releases ─► receipts, outcomes ─► entries, watches (arm timers)
//!                            [exits]  [suppress], [consent]    [advance], [outcome]  [enter], [watch], [request]
//! timer ─► advance or expire ─► gate ─► hand over │ observe │ defer │ skip │ refuse         (fires exactly one)
//!          [advance]            [gate], [caps], [quiet], [ledger]   [choice], [contact], [context]
//! ```

use crate::decision::Verdict;
use crate::event::{Body, Event, Origin};
use crate::flow::FlowSet;
use crate::policy::Policy;
use crate::profile::Profile;
use crate::profile::running::DueTimer;
use crate::value::Timestamp;

mod advance;
mod calendar;
mod caps;
mod choice;
mod consent;
mod contact;
mod context;
mod enter;
mod exits;
mod gate;
mod ledger;
mod outcome;
mod quiet;
mod request;
mod suppress;
mod turn;
mod watch;

pub use contact::address_id;
pub use ledger::Ledger;

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
) -> StepCounts {
    match input {
        Input::Event {
            event,
            origin,
            history,
        } => {
            let mut turn = Turn {
                plan,
                ledger,
                profile,
                now,
                source: Source::Event(event, origin),
                verdicts,
            };
            turn.event(event, history)
        }
        Input::Timer => {
            fire(plan, ledger, profile, now, verdicts);
            StepCounts::default()
        }
    }
}

/// Of the timers that are due together the one of the highest priority: it passes the gate first and takes the slot (TM-3: never early).
/// A request has no priority; of equals the earlier due comes first, then instances before requests, older before newer.
fn foremost(plan: &Plan, profile: &Profile, now: Timestamp) -> Option<DueTimer> {
    let priority = |timer: DueTimer| match timer {
        DueTimer::Instance(index) => {
            let instance = profile.running.instances.get(index);
            instance
                .and_then(|instance| plan.flows.version(&instance.flow, &instance.version))
                .map_or(0, |flow| flow.priority)
        }
        DueTimer::Request(_) | DueTimer::Watch(_) => 0,
    };
    profile
        .running
        .timers()
        .filter(|(due, _)| *due <= now)
        .min_by_key(|(due, timer)| (std::cmp::Reverse(priority(*timer)), *due))
        .map(|(_, timer)| timer)
}

/// Fires exactly one timer, when one is due.
fn fire(
    plan: &Plan,
    ledger: &mut Ledger,
    profile: &mut Profile,
    now: Timestamp,
    verdicts: &mut Vec<Verdict>,
) {
    let Some(timer) = foremost(plan, profile, now) else {
        return;
    };
    let armed = match timer {
        DueTimer::Instance(index) => profile
            .running
            .instances
            .get(index)
            .map(|i| i.armed.clone()),
        DueTimer::Request(index) => profile.running.requests.get(index).map(|r| r.armed.clone()),
        DueTimer::Watch(index) => profile.running.watches.get(index).map(|w| w.armed.clone()),
    };
    let mut turn = Turn {
        plan,
        ledger,
        profile,
        now,
        source: Source::Timer(armed.unwrap_or_default()),
        verdicts,
    };
    match timer {
        DueTimer::Instance(index) => turn.fire_instance(index),
        DueTimer::Request(index) => turn.fire_request(index),
        DueTimer::Watch(index) => turn.fire_watch(index),
    }
}

impl Turn<'_> {
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
        let held = self.held_before(event);
        let folded = self.profile.fold(event, &self.plan.policy, self.now);
        let mut counts = StepCounts {
            duplicates: u32::from(folded.duplicate),
            outdated: u32::from(folded.outdated),
            unknown_receipts: 0,
        };
        if folded.duplicate {
            return counts;
        }
        self.take_exits(event, &carts_before, &folded);
        match &event.body {
            Body::Order(order) => {
                self.suppress_after_purchase(event, order, &folded);
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
