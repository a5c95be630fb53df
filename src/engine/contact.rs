//! From the gate to the sender: hand a step over, observe it, defer it, pass over it, or end.

use serde_json::{Map, Value};

use super::advance::step_of;
use super::choice::Tried;
use super::context::context;
use super::gate::{Promoted, Ruling, Wish};
use super::quiet::next_quiet;
use super::turn::{Name, Subject, Turn, place_at};
use crate::decision::{
    Address, Check, DecisionId, Message, Offer, Reason, Trigger, Verdict, VerdictKind, Why,
};
use crate::flow::{Class, Condition, Flow, InstanceKey, Occasion, OfferTemplate};
use crate::policy::{Channel, Policy};
use crate::profile::running::{Instance, Phase};
use crate::profile::{Cart, Contact, Profile};
use crate::value::Timestamp;

/// Names an address without showing it: a keyed hash of channel and address, 32 hex digits.
#[must_use]
pub fn address_id(key: &[u8; 32], channel: &str, address: &str) -> String {
    let mut hash = blake3::Hasher::new_keyed(key);
    hash.update(channel.as_bytes());
    hash.update(&[0]);
    hash.update(address.as_bytes());
    hash.finalize().to_hex().chars().take(32).collect()
}

/// What is to be handed over, by whoever asks.
pub(super) struct Handover<'a> {
    pub(super) wish: Wish<'a>,
    pub(super) decision: DecisionId,
    pub(super) why: Why,
    pub(super) expires_at: Timestamp,
    pub(super) priority: u32,
    pub(super) request_id: Option<&'a str>,
    pub(super) context: Map<String, Value>,
    pub(super) checks: Vec<Check>,
    /// The control group's reason: log it, do not speak.
    pub(super) observed: Option<Reason>,
    pub(super) step: u32,
}

impl Turn<'_> {
    /// The current step of a waiting instance passes the gate; steps that cannot be used are passed over at once.
    pub(super) fn pass_gate(&mut self, index: usize, flow: &Flow) {
        while let Some(instance) = self.profile.running.instances.get(index).cloned() {
            let Some(step) = step_of(flow, instance.step) else {
                return self.finish(index);
            };
            let subject = Subject::of(&instance);
            if !self.still_wanted(flow, subject) {
                let reason = self.entry_lost(&instance, flow);
                self.skip(
                    &instance,
                    flow,
                    reason,
                    None,
                    vec![unmet(self.lost_condition(flow))],
                );
                self.profile.running.instances.remove(index);
                for handed in &instance.handed {
                    self.recall(handed.decision, reason);
                }
                return;
            }
            // Another instance of the flow may have spoken since this one began.
            if instance.handed.is_empty()
                && let Some((reason, check)) =
                    self.reentry_refused(flow, &instance.key, instance.born_at)
            {
                self.skip(&instance, flow, reason, None, vec![check]);
                self.profile.running.instances.remove(index);
                return;
            }
            let tried = if self.holds(step.when.as_ref(), None, subject) {
                self.try_step(index, &instance, flow, step)
            } else {
                Tried {
                    channel: step.channels.first().cloned(),
                    ruling: Ruling::PassOver(Reason::ExitEvent),
                    checks: vec![unmet(step.when.as_ref())],
                }
            };
            let channel = tried.channel.clone();
            match tried.ruling {
                Ruling::Pass | Ruling::Observe(_) => return,
                Ruling::Capped(until, reason) | Ruling::Defer(until, reason) => {
                    return self.defer(index, flow, tried, until, reason);
                }
                Ruling::PassOver(reason) => {
                    self.skip(&instance, flow, reason, channel.as_deref(), tried.checks);
                    if let Some(instance) = self.profile.running.instances.get_mut(index) {
                        instance.step += 1;
                        instance.attempt = 0;
                    }
                }
                Ruling::End(reason) => {
                    self.skip(&instance, flow, reason, channel.as_deref(), tried.checks);
                    return self.fall_silent(index, flow);
                }
            }
        }
    }

    /// An instance will say no more. What it said and has not left yet can still be retracted by a purchase: until then it stays.
    fn fall_silent(&mut self, index: usize, flow: &Flow) {
        let last = u32::try_from(flow.steps.len()).unwrap_or(u32::MAX);
        if let Some(instance) = self.profile.running.instances.get_mut(index) {
            instance.step = last.saturating_sub(1);
        }
        self.finish(index);
    }

    /// The condition that an instance needs and that holds no more.
    fn lost_condition<'f>(&self, flow: &'f Flow) -> Option<&'f Condition> {
        match &flow.enter.on {
            Occasion::Becomes(becomes) if !self.has_become(flow) => Some(becomes),
            Occasion::Becomes(_)
            | Occasion::Events(_)
            | Occasion::Absence { .. }
            | Occasion::Moment(_) => flow.enter.when.as_ref(),
        }
    }

    /// Why the condition of entry holds no more.
    fn entry_lost(&self, instance: &Instance, flow: &Flow) -> Reason {
        let cart = instance.cart_id.as_deref();
        match (
            flow.instance,
            cart.and_then(|id| self.profile.carts.get(id)),
        ) {
            (InstanceKey::Cart, None) => Reason::CartCheckedOut,
            (InstanceKey::Cart, Some(cart)) if cart.is_empty() => Reason::CartEmpty,
            _ => Reason::ExitEvent,
        }
    }

    pub(super) fn offer(&self, template: &OfferTemplate, instance: &Instance) -> Offer {
        let product = instance
            .about
            .first()
            .map_or("", |about| about.product_id.as_str());
        let id = template
            .id
            .replace(
                "${cart_id}",
                instance.cart_id.as_deref().unwrap_or_default(),
            )
            .replace(
                "${order_id}",
                instance.order_id.as_deref().unwrap_or_default(),
            )
            .replace("${product_id}", product)
            .replace("${customer_id}", self.profile.key().id())
            .replace("${instance}", &instance.key);
        Offer {
            id,
            discount: template.discount,
            ends_at: None,
        }
    }

    /// Products that the instance would speak of.
    pub(super) fn products_of(&self, instance: &Instance) -> Vec<Promoted> {
        let cart = instance
            .cart_id
            .as_deref()
            .and_then(|id| self.profile.carts.get(id));
        let lines = cart.into_iter().flat_map(Cart::items);
        let lines = lines.map(|line| (&line.product_id, &line.group_id));
        let about = instance.about.iter();
        let about = about.map(|about| (&about.product_id, &about.group_id));
        lines
            .chain(about)
            .map(|(product_id, group_id)| Promoted {
                product_id: product_id.clone(),
                group_id: group_id.clone(),
            })
            .collect()
    }

    fn defer(&mut self, index: usize, flow: &Flow, tried: Tried, until: Timestamp, reason: Reason) {
        let Some(instance) = self.profile.running.instances.get_mut(index) else {
            return;
        };
        let id = Name {
            birth: &instance.birth,
            flow: &instance.flow,
            step: instance.step + 1,
            attempt: instance.passes,
            kind: VerdictKind::Defer,
            channel: tried.channel.as_deref().unwrap_or_default(),
            target: &instance.key,
        }
        .id();
        instance.phase = Phase::Waiting;
        instance.passes += 1;
        instance.deferred = true;
        instance.due = until.min(instance.expires_at);
        let place = place_at(flow, &instance.key, instance.step + 1);
        let mut verdict = self.verdict(VerdictKind::Defer, id, Why::Reason(reason));
        verdict.place = Some(place);
        verdict.channel = tried.channel;
        verdict.until = Some(until);
        verdict.checks = tried.checks;
        self.verdicts.push(verdict);
    }

    /// A step passed: it is handed over (or observed), and its unsent predecessor retracted.
    pub(super) fn hand_step(
        &mut self,
        index: usize,
        instance: &Instance,
        flow: &Flow,
        wish: Wish<'_>,
        observed: Option<Reason>,
        checks: Vec<Check>,
    ) {
        let Some(step) = step_of(flow, instance.step) else {
            return;
        };
        // First the unsent predecessor: never two of one instance under way.
        for handed in &instance.handed {
            self.recall(handed.decision, Reason::Expired);
        }
        let kind = if observed.is_some() {
            VerdictKind::Observe
        } else {
            VerdictKind::Send
        };
        let decision = Name {
            birth: &instance.birth,
            flow: &instance.flow,
            step: instance.step + 1,
            attempt: instance.attempt,
            kind,
            channel: &wish.channel.name,
            target: &instance.key,
        }
        .id();
        let channel = wish.channel;
        self.hand_over(Handover {
            context: context(
                self.profile,
                wish.channel,
                &self.plan.policy,
                Some(instance),
                self.now,
            ),
            decision,
            why: observed.map_or_else(
                || Why::Flow(flow.reason.told(&self.scope(None, Subject::of(instance)))),
                Why::Reason,
            ),
            expires_at: instance.expires_at,
            priority: flow.priority,
            request_id: None,
            checks,
            observed,
            step: instance.step + 1,
            wish,
        });
        self.profile
            .history
            .note(&flow.name, &instance.key, self.now);
        self.wait_for_success(index, decision, step, &channel.name);
    }

    /// Makes the trigger (or what would have been one) and remembers the contact.
    pub(super) fn hand_over(&mut self, hand: Handover<'_>) {
        let Handover { wish, decision, .. } = hand;
        let policy = &self.plan.policy;
        let kind = if hand.observed.is_some() {
            VerdictKind::Observe
        } else {
            VerdictKind::Send
        };
        let send_by = self.send_by(wish.channel, wish.class, hand.expires_at);
        let trigger = Trigger {
            class: wish.class,
            list: wish.list.map(Into::into),
            template: wish.template.into(),
            offer: wish.offer.cloned(),
            priority: hand.priority,
            not_before: self.now,
            send_by,
            expires_at: hand.expires_at,
            to: addresses(self.profile, wish.channel, wish.class, policy),
            context: hand.context,
            request_id: hand.request_id.map(str::to_owned),
        };
        let mut verdict: Verdict = self.verdict(kind, decision, hand.why);
        verdict.channel = Some(std::sync::Arc::clone(&wish.channel.name));
        verdict.place = wish
            .flow
            .map(|flow| place_at(flow, wish.instance, hand.step));
        verdict.checks = hand.checks;
        verdict.message = Some(Message::Trigger(Box::new(trigger)));
        self.verdicts.push(verdict);
        let contact = Contact {
            id: decision,
            flow: wish.flow.map(|flow| flow.name.to_string()),
            flow_version: wish.flow.map(|flow| flow.version.to_string()),
            instance: wish.instance.to_owned(),
            step: hand.step,
            steps: wish.flow.map_or(0, |flow| {
                u32::try_from(flow.steps.len()).unwrap_or(u32::MAX)
            }),
            channel: wish.channel.name.to_string(),
            class: wish.class,
            template: wish.template.to_owned(),
            list: wish.list.map(str::to_owned),
            offer: wish.offer.map(|offer| offer.id.clone()),
            discount: wish.offer.is_some_and(|offer| offer.discount),
            priority: hand.priority,
            handed_at: self.now,
            expires_at: hand.expires_at,
            observed: hand.observed.is_some(),
            replaced: false,
            recalled: false,
            accepted_at: None,
            sent_at: None,
            delivered_at: None,
            opened_at: None,
            clicked_at: None,
            failed_at: None,
            route: self.profile.key().as_str().to_owned(),
            send_by,
            gave_up_at: None,
            withheld_at: None,
            converted_at: None,
        };
        let counted = self.now.minus(policy.looks_back());
        self.profile.contacts.push(contact, counted);
        if hand.observed.is_none() && !self.profile.person.test {
            self.ledger.hand_over(wish.channel, policy, self.now);
        }
    }

    /// The latest moment to send: where quiet hours begin, and never after the whole is worth nothing.
    fn send_by(&self, channel: &Channel, class: Class, expires_at: Timestamp) -> Timestamp {
        let rules = &channel.quiet_hours;
        let quiet = if rules.is_empty() || class == Class::Transactional {
            None
        } else {
            let country = self.profile.person.country();
            let zone = self.profile.zone(&self.plan.policy);
            next_quiet(rules, country, self.now, &zone)
        };
        quiet.map_or(expires_at, |quiet| quiet.min(expires_at))
    }
}

/// A condition of the flow that does not hold, as it is written.
fn unmet(condition: Option<&Condition>) -> Check {
    Check {
        name: "when",
        passed: false,
        detail: condition.map_or_else(String::new, |condition| condition.source().to_owned()),
        seen: None,
    }
}

/// The usable addresses of a channel.
fn addresses(profile: &Profile, channel: &Channel, class: Class, policy: &Policy) -> Vec<Address> {
    let complaints = class != Class::Transactional;
    let usable = profile
        .reach
        .usable(&channel.name, policy.soft_bounce_limit, complaints);
    usable
        .unwrap_or_default()
        .into_iter()
        .map(|known| Address {
            address_id: address_id(&policy.address_key, &channel.name, &known.address),
            address: known.address.clone(),
        })
        .collect()
}
