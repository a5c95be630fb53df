//! What no test reaches: flows, steps, exit rules, reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::Told;
use crate::decision::{Reason, VerdictKind, Why};
use crate::flow::{Flow, FlowSet};

/// What tests reached of a flow.
#[derive(Debug)]
struct Reached {
    flow: Arc<Flow>,
    /// Steps that were handed over (or observed), from 1.
    steps: BTreeSet<u32>,
    /// Exit rules that ended an instance, from 0.
    exits: BTreeSet<usize>,
    /// An instance began, or was refused.
    entered: bool,
}

/// What all tests reached of a set of flows.
#[derive(Debug, Default)]
pub struct Coverage {
    flows: BTreeMap<Arc<str>, Reached>,
    reasons: BTreeSet<Reason>,
}

impl Coverage {
    /// Nothing yet, of these flows.
    pub(super) fn of(flows: &FlowSet) -> Self {
        let reached = |flow: &Arc<Flow>| Reached {
            flow: Arc::clone(flow),
            steps: BTreeSet::new(),
            exits: BTreeSet::new(),
            entered: false,
        };
        let all = flows.current().iter();
        Self {
            flows: all
                .map(|(name, flow)| (Arc::clone(name), reached(flow)))
                .collect(),
            reasons: BTreeSet::new(),
        }
    }

    /// What one test decided.
    pub(super) fn add(&mut self, told: &[Told]) {
        for told in told {
            let verdict = &told.verdict;
            let reason = match &verdict.why {
                Why::Reason(reason) => Some(*reason),
                Why::Flow(_) => None,
            };
            self.reasons.extend(reason);
            let Some(place) = &verdict.place else {
                continue;
            };
            let Some(reached) = self.flows.get_mut(&place.flow) else {
                continue;
            };
            reached.entered = true;
            if matches!(verdict.kind, VerdictKind::Send | VerdictKind::Observe) {
                reached.steps.insert(place.step);
            }
            // An instance ends by the first rule that the event meets; what ended tells its reason.
            if matches!(verdict.kind, VerdictKind::Skip | VerdictKind::Cancel)
                && let (Some(reason), Some(cause)) = (reason, told.cause)
            {
                let rules = reached.flow.exits.iter();
                let rule = rules
                    .enumerate()
                    .find(|(_, exit)| exit.reason == reason && exit.events.contains(&cause));
                reached.exits.extend(rule.map(|(index, _)| index));
            }
        }
    }

    /// What no test reaches, flow by flow; empty when everything is.
    #[must_use]
    pub fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        for (name, reached) in &self.flows {
            if !reached.entered {
                gaps.push(format!("{name}: no test begins it"));
                continue;
            }
            for (step, number) in reached.flow.steps.iter().zip(1_u32..) {
                if !reached.steps.contains(&number) {
                    gaps.push(format!(
                        "{name}: no test reaches step {number} ({} {})",
                        step.channels.join(" or "),
                        step.template
                    ));
                }
            }
            for (index, exit) in reached.flow.exits.iter().enumerate() {
                if !reached.exits.contains(&index) {
                    let events: Vec<_> = exit.events.iter().map(|event| event.name()).collect();
                    gaps.push(format!(
                        "{name}: no test takes exit {} ({}: {})",
                        index + 1,
                        events.join(", "),
                        exit.reason.name()
                    ));
                }
            }
        }
        gaps
    }

    /// Reasons of the closed set that no test sees.
    pub fn unseen_reasons(&self) -> impl Iterator<Item = Reason> {
        Reason::ALL
            .iter()
            .copied()
            .filter(|reason| !self.reasons.contains(reason))
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = |reached: &Reached| (reached.steps.len(), reached.flow.steps.len());
        let exits = |reached: &Reached| (reached.exits.len(), reached.flow.exits.len());
        let sum = |of: &dyn Fn(&Reached) -> (usize, usize)| {
            self.flows
                .values()
                .map(of)
                .fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
        };
        let entered = self.flows.values().filter(|flow| flow.entered).count();
        let (steps, exits) = (sum(&steps), sum(&exits));
        writeln!(
            f,
            "tests reach {entered} of {} flows, {} of {} steps, {} of {} exits, {} of {} reasons",
            self.flows.len(),
            steps.0,
            steps.1,
            exits.0,
            exits.1,
            self.reasons.len(),
            Reason::ALL.len()
        )?;
        for gap in self.gaps() {
            writeln!(f, "  {gap}")?;
        }
        let unseen: Vec<&str> = self.unseen_reasons().map(Reason::name).collect();
        if !unseen.is_empty() {
            let unseen = crate::words::wrapped(&unseen.join(", "), 94, 4);
            writeln!(f, "  reasons that no test sees:\n    {unseen}")?;
        }
        Ok(())
    }
}
