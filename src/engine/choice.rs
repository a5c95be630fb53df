//! On which channel a step speaks: the one that is written, or the cheapest that is active and reaches the customer (product.md §6).
//!
//! ```text
//! channels of the step ─ not those of earlier steps ─ cheapest first ─► gate ─ pass over ─► the next one's gate ─ … ─► the step is passed over
//!                                                                        └─ pass, observe, defer, end: that is the step's ruling
//! ```
//! A cap, a gap or quiet hours of the cheapest make the step wait: they never drive a customer to a dearer channel.

use std::sync::Arc;

use super::Plan;
use super::gate::{Ruling, Wish, examine};
use super::turn::Turn;
use crate::decision::{Check, DecisionId, Reason};
use crate::flow::{Class, Flow, OnCap, Step};
use crate::policy::Channel;
use crate::profile::Contact;
use crate::profile::running::Instance;
use crate::value::Timestamp;

/// What became of a step at the gate.
pub(super) struct Tried {
    /// The channel that it was about; of a step that is passed over the one that was asked first.
    pub(super) channel: Option<Arc<str>>,
    pub(super) ruling: Ruling,
    /// Empty when it was handed over: then its verdict has them.
    pub(super) checks: Vec<Check>,
}

/// The channels that a step may speak on, in the order in which they are asked: the cheapest first, of equal ones the one that stands
/// first in the flow. Without those that an earlier step of the instance spoke on: a cascade never comes back.
fn open_channels<'a>(plan: &'a Plan, instance: &Instance, step: &Step) -> Vec<&'a Channel> {
    let is_taken = |channel: &Channel| {
        let mut earlier = instance.handed.iter();
        earlier.any(|handed| handed.step != instance.step && *handed.channel == *channel.name)
    };
    let known = step.channels.iter();
    let mut open: Vec<&Channel> = known
        .filter_map(|name| plan.policy.channels.get(name))
        .filter(|channel| !is_taken(channel))
        .collect();
    open.sort_by_key(|channel| channel.cost);
    open
}

impl Turn<'_> {
    /// The current step of an instance at the gate, on the first of its channels that is not passed over; handed over (or observed) when
    /// it passes.
    pub(super) fn try_step(
        &mut self,
        index: usize,
        instance: &Instance,
        flow: &Flow,
        step: &Step,
    ) -> Tried {
        let plan = self.plan;
        let is_choice = step.channels.len() > 1;
        let offer = flow.offer.as_ref().map(|offer| self.offer(offer, instance));
        let products = self.products_of(instance);
        let mut asked = Vec::new();
        let mut first = None;
        for channel in open_channels(plan, instance, step) {
            let wish = Wish {
                channel,
                class: flow.class,
                list: flow.list.as_deref(),
                template: &step.template,
                offer: offer.as_ref(),
                flow: Some(flow),
                instance: &instance.key,
                products: &products,
            };
            let (ruling, mut checks) = self.ask(&wish, flow, step);
            let observed = match ruling {
                Ruling::PassOver(reason) => {
                    asked.push(format!("{} {}", channel.name, reason.name()));
                    first.get_or_insert(Tried {
                        channel: Some(Arc::clone(&channel.name)),
                        ruling,
                        checks,
                    });
                    continue;
                }
                Ruling::Observe(reason) => Some(Some(reason)),
                Ruling::Pass => Some(None),
                Ruling::Capped(..) | Ruling::Defer(..) | Ruling::End(_) => None,
            };
            if is_choice {
                asked.push(channel.name.to_string());
                checks.insert(0, choice(&asked, true));
            }
            if let Some(observed) = observed {
                let checks = std::mem::take(&mut checks);
                self.hand_step(index, instance, flow, wish, observed, checks);
            }
            return Tried {
                channel: Some(Arc::clone(&channel.name)),
                ruling,
                checks,
            };
        }
        let mut tried = first.unwrap_or_else(|| nothing_open(plan, step));
        if is_choice {
            tried.checks.insert(0, choice(&asked, false));
        }
        tried
    }

    /// The gate's ruling, after what the step does on a cap.
    fn ask(&mut self, wish: &Wish<'_>, flow: &Flow, step: &Step) -> (Ruling, Vec<Check>) {
        match examine(self.plan, self.ledger, self.profile, wish, self.now) {
            (Ruling::Capped(until, reason), checks) => match step.on_cap {
                OnCap::Defer => (Ruling::Defer(until, reason), checks),
                OnCap::Drop => (Ruling::End(reason), checks),
                OnCap::Replace => self
                    .replace(wish, flow.priority)
                    .unwrap_or((Ruling::Defer(until, reason), checks)),
            },
            other => other,
        }
    }

    /// Takes the place of a contact of lower priority that has not left yet, on whatever channel, when its slot is what was missing: the
    /// lowest priority first, of equals the oldest.
    fn replace(&mut self, wish: &Wish<'_>, priority: u32) -> Option<(Ruling, Vec<Check>)> {
        let lower = |contact: &&Contact| {
            contact.is_pending()
                && contact.class == Class::Marketing
                && contact.priority < priority
                && contact.holds_slot()
        };
        let contacts = self.profile.contacts.iter().filter(lower);
        let mut victims: Vec<(u32, Timestamp, DecisionId)> = contacts
            .map(|contact| (contact.priority, contact.handed_at, contact.id))
            .collect();
        victims.sort_unstable();
        for (_, _, victim) in victims {
            // Tried on a copy, so that nothing is retracted in vain.
            let mut tried = self.profile.clone();
            tried.contacts.get_mut(victim)?.replaced = true;
            let (ruling, checks) = examine(self.plan, self.ledger, &tried, wish, self.now);
            if matches!(ruling, Ruling::Pass | Ruling::Observe(_)) {
                self.recall(victim, Reason::LowerPriority);
                // Its slot is taken over at once; should it have been sent all the same, that receipt takes the slot again.
                self.profile.contacts.get_mut(victim)?.replaced = true;
                self.give_way(victim);
                return Some((ruling, checks));
            }
        }
        None
    }
}

/// Which channels were asked, and why they were passed over; the last one is the one that was taken, if one was.
fn choice(asked: &[String], found: bool) -> Check {
    Check {
        name: "channel_choice",
        passed: found,
        detail: format!("cheapest first: {}", asked.join(", ")),
        seen: None,
    }
}

/// No channel is left: earlier steps spoke on all of them, or the configuration has none of them any more.
fn nothing_open(plan: &Plan, step: &Step) -> Tried {
    let channels = &plan.policy.channels;
    let known = step
        .channels
        .iter()
        .find(|name| channels.contains_key(*name));
    let reason = match known {
        Some(_) => Reason::DuplicateMessage,
        None => Reason::ChannelStopped,
    };
    Tried {
        channel: step.channels.first().cloned(),
        ruling: Ruling::PassOver(reason),
        checks: Vec::new(),
    }
}
