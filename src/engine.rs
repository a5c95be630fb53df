//! The one entry of the core: what an input makes of a profile, and what is decided (engine.md, product.md §5–§7).
//!
//! [`step`] is total and pure: the same plan, profile, input and clock reading give the same bytes (DT-1). It never hands a
//! contact over while it folds an event: an entry only arms a timer, due at once where the flow has no delay. Firing timers is the
//! caller's choice, so a task that is behind simply does not fire them (CK-1), while suppressions and cancels leave at once.

use crate::decision::Verdict;
use crate::event::{Event, Origin};
use crate::flow::FlowSet;
use crate::policy::Policy;
use crate::profile::Profile;
use crate::value::Timestamp;

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
    /// The profile's earliest timer is due (`profile.next_due() <= now`): fires exactly that one (TM-3).
    Timer,
}

/// Folds `input` into `profile` at the task's clock `now` and appends what was decided to `verdicts`, in order.
pub fn step(
    plan: &Plan,
    profile: &mut Profile,
    input: Input<'_>,
    now: Timestamp,
    verdicts: &mut Vec<Verdict>,
) {
    let (_, _, _, _, _) = (plan, profile, input, now, verdicts);
}
