//! On which channel a step speaks: the one that is written, or the cheapest that is active and reaches the customer (product.md §6).
//!
//! ```text
//! channels of the step ─ not those of earlier steps ─ cheapest first ─► gate ─ pass over ─► the next one's gate ─ … ─► the step is passed over
//!                                                                        └─ pass, observe, defer, end: that is the step's ruling
//! ```
//! A cap, a gap or quiet hours of the cheapest make the step wait: they never drive a customer to a dearer channel.

use std::sync::Arc;

use super::Plan;
use super::advance::step_of;
use super::gate::{Promoted, Ruling, Wish, examine};
use super::turn::{Subject, Turn};
use crate::decision::{Check, DecisionId, Offer, Reason, Seen};
use crate::event::EventType;
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

/// Whose place is taken, the ruling without them, and the checks that were met.
type Taken = (DecisionId, Ruling, Vec<Check>);

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
            let wish = wish(channel, flow, step, instance, offer.as_ref(), &products);
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
                OnCap::Replace => self.replace(wish, flow.priority).unwrap_or_else(|sooner| {
                    let until = sooner.map_or(until, |sooner| sooner.min(until));
                    (Ruling::Defer(until, reason), checks)
                }),
            },
            other => other,
        }
    }

    /// The contact of lower priority whose place a wish can take when its slot is what is missing: handed over and not left yet, on whatever
    /// channel, or recalled already and not yet known not to have left. The recalled ones first (nobody loses anything by them), then the
    /// lowest priority, of equals the oldest. Not one that its sender can have sent without a word, or may not send any more. `Err`: there is none now; when taking one will be enough, if ever.
    fn victim(&self, wish: &Wish<'_>, priority: u32) -> Result<Taken, Option<Timestamp>> {
        let now = self.now;
        let tells = |contact: &Contact| {
            let channel = self.plan.policy.channels.get(contact.channel.as_str());
            channel.is_some_and(|channel| channel.reports.contains(&EventType::Sent))
        };
        let lower = |contact: &&Contact| {
            (contact.is_pending() || contact.is_withdrawn())
                && contact.send_by > now
                && tells(contact)
                && contact.class == Class::Marketing
                && contact.priority < priority
                && contact.holds_slot()
        };
        let contacts = self.profile.contacts.iter().filter(lower);
        let mut victims: Vec<(bool, u32, Timestamp, DecisionId)> = contacts
            .map(|contact| {
                let leaves = !contact.recalled;
                (leaves, contact.priority, contact.handed_at, contact.id)
            })
            .collect();
        victims.sort_unstable();
        let mut soonest: Option<Timestamp> = None;
        for (.., victim) in victims {
            // Tried on a copy, so that nothing is retracted in vain.
            let mut tried = self.profile.clone();
            if let Some(contact) = tried.contacts.get_mut(victim) {
                contact.replaced = true;
            }
            match examine(self.plan, self.ledger, &tried, wish, self.now) {
                (ruling @ (Ruling::Pass | Ruling::Observe(_)), checks) => {
                    return Ok((victim, ruling, checks));
                }
                (Ruling::Capped(until, _) | Ruling::Defer(until, _), _) => {
                    soonest = Some(soonest.map_or(until, |known| known.min(until)));
                }
                (Ruling::PassOver(_) | Ruling::End(_), _) => {}
            }
        }
        Err(soonest)
    }

    /// Takes that place: it is recalled if it was not, and its slot taken over at once; should it have been sent all the same, that receipt
    /// takes the slot again.
    fn replace(
        &mut self,
        wish: &Wish<'_>,
        priority: u32,
    ) -> Result<(Ruling, Vec<Check>), Option<Timestamp>> {
        let (victim, ruling, mut checks) = self.victim(wish, priority)?;
        let by = Check {
            name: "on_cap",
            passed: false,
            detail: String::new(),
            seen: Some(Box::new(Seen {
                flow: wish.flow.map(|flow| flow.name.to_string()),
                ..Seen::default()
            })),
        };
        if self.recall_by(victim, Reason::LowerPriority, Some(&by)) {
            self.give_way(victim);
        }
        if let Some(contact) = self.profile.contacts.get_mut(victim) {
            contact.replaced = true;
            checks.push(takes_place_of(contact));
        }
        Ok((ruling, checks))
    }

    /// When the current step of an instance that waits would pass the gate as things are: now, or at the time that the gate names. `None` when
    /// it would not wait but be passed over. Nothing is changed.
    pub(super) fn would_pass(&self, instance: &Instance) -> Option<Timestamp> {
        let flow = self.flow_of(instance)?;
        let step = step_of(&flow, instance.step)?;
        let subject = Subject::of(instance);
        if !self.still_wanted(&flow, subject) || !self.holds(step.when.as_ref(), None, subject) {
            return None;
        }
        let offer = flow.offer.as_ref().map(|offer| self.offer(offer, instance));
        let products = self.products_of(instance);
        for channel in open_channels(self.plan, instance, step) {
            let wish = wish(channel, &flow, step, instance, offer.as_ref(), &products);
            let (ruling, checks) = examine(self.plan, self.ledger, self.profile, &wish, self.now);
            return match ruling {
                Ruling::PassOver(_) => continue,
                Ruling::Pass | Ruling::Observe(_) => Some(self.now),
                Ruling::Capped(until, _) => {
                    if step.on_cap != OnCap::Replace {
                        return Some(until);
                    }
                    match self.victim(&wish, flow.priority) {
                        Ok(_) => Some(self.now),
                        Err(sooner) => Some(sooner.map_or(until, |sooner| sooner.min(until))),
                    }
                }
                Ruling::Defer(until, _) => Some(until),
                // What would end it may be over before its time has come.
                Ruling::End(_) => over_at(&checks),
            };
        }
        None
    }
}

/// When what failed last is over by itself, where that is known.
pub(super) fn over_at(checks: &[Check]) -> Option<Timestamp> {
    checks.last()?.seen.as_ref()?.until
}

/// What a step wants to say on one of its channels.
fn wish<'a>(
    channel: &'a Channel,
    flow: &'a Flow,
    step: &'a Step,
    instance: &'a Instance,
    offer: Option<&'a Offer>,
    products: &'a [Promoted],
) -> Wish<'a> {
    Wish {
        channel,
        class: flow.class,
        list: flow.list.as_deref(),
        template: &step.template,
        offer,
        flow: Some(flow),
        instance: &instance.key,
        products,
    }
}

/// Whose slot a contact took over, for the decision log.
fn takes_place_of(contact: &Contact) -> Check {
    let flow = contact.flow.as_deref().unwrap_or("a request");
    Check {
        name: "on_cap",
        passed: true,
        detail: format!("replaces {flow} of {}", contact.handed_at),
        seen: Some(Box::new(Seen {
            flow: contact.flow.clone(),
            channel: Some(contact.channel.clone()),
            decision: Some(contact.id),
            at: Some(contact.handed_at),
            ..Seen::default()
        })),
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
