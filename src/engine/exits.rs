//! What ends a running instance: purchases that made it pointless, other exits, and successes that an event of the customer is.

use super::advance::step_of;
use super::turn::{Name, Subject, Turn, place_at};
use crate::decision::{Check, Reason, VerdictKind, Why};
use crate::event::{Body, Event, EventType, Order, Stream};
use crate::flow::{Exit, Flow, InstanceKey, Relevance, Success};
use crate::profile::fold::Folded;
use crate::profile::running::{HandedStep, Instance, Phase};
use crate::profile::{Cart, Carts, Contact, OrderNews};

/// Is one category the other, or above or below it?
fn related(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    long.strip_prefix(short)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Does a purchase make this instance pointless? `carts` are those from before the order closed any.
fn is_relevant(relevance: Relevance, instance: &Instance, order: &Order, carts: &[Cart]) -> bool {
    let cart = instance
        .cart_id
        .as_deref()
        .and_then(|id| carts.iter().find(|cart| cart.cart_id == id));
    let same_cart_id = instance.cart_id.is_some() && instance.cart_id == order.cart_id;
    let lines = cart.into_iter().flat_map(Cart::items);
    let about = instance
        .about
        .iter()
        .map(|about| {
            (
                about.product_id.as_str(),
                about.group_id.as_deref(),
                about.category.as_deref(),
            )
        })
        .chain(lines.map(|line| {
            (
                line.product_id.as_str(),
                line.group_id.as_deref(),
                line.category.as_deref(),
            )
        }));
    match relevance {
        Relevance::Any => true,
        Relevance::Cart => {
            same_cart_id
                || cart.is_some_and(|cart| Carts::is_bought_by(cart, order))
                || (instance.cart_id.is_none() && about_any(about, order, false))
        }
        Relevance::Product => same_cart_id || about_any(about, order, false),
        Relevance::Category => same_cart_id || about_any(about, order, true),
    }
}

fn about_any<'a>(
    mut about: impl Iterator<Item = (&'a str, Option<&'a str>, Option<&'a str>)>,
    order: &Order,
    by_category: bool,
) -> bool {
    about.any(|(product_id, group_id, category)| {
        order.products.iter().any(|bought| {
            let same = bought.product_id == product_id
                || (group_id.is_some() && bought.group_id.as_deref() == group_id);
            let categories = bought.category.as_deref().zip(category);
            same || (by_category && categories.is_some_and(|(a, b)| related(a, b)))
        })
    })
}

/// Is the event of the same instance, as far as it names one?
fn same_instance(flow: &Flow, instance: &Instance, event: &Event) -> bool {
    let named = match flow.instance {
        InstanceKey::Cart => event.cart_id(),
        InstanceKey::Order => event.order_id(),
        InstanceKey::Product => event.product().map(|product| product.product_id.as_str()),
        InstanceKey::Customer => None,
    };
    named.is_none_or(|named| named == instance.key)
}

impl Turn<'_> {
    /// Ends every instance that this event makes pointless or successful.
    pub(super) fn take_exits(&mut self, event: &Event, carts: &[Cart], folded: &Folded) {
        let mut index = 0;
        while let Some(instance) = self.profile.running.instances.get(index) {
            let Some(flow) = self.flow_of(instance) else {
                index += 1;
                continue;
            };
            let exit = flow
                .exits
                .iter()
                .find(|exit| self.is_exit(exit, &flow, instance, event, carts));
            let reason = exit
                .map(|exit| exit.reason)
                .or_else(|| reached(&flow, instance, event, folded).then_some(Reason::GoalReached));
            match reason {
                Some(reason) => self.end_instance(index, &flow, reason, None),
                None => index += 1,
            }
        }
    }

    fn is_exit(
        &self,
        exit: &Exit,
        flow: &Flow,
        instance: &Instance,
        event: &Event,
        carts: &[Cart],
    ) -> bool {
        if !exit.events.contains(&event.kind) {
            return false;
        }
        let concerns = match (exit.relevant, &event.body) {
            // A late order ends what was pending at its time; what began after it is another matter.
            (Some(relevance), Body::Order(order)) => {
                let known = self.profile.orders.get(&order.order_id);
                // News of an old order is no new purchase.
                let placed_at = known.map_or(event.effective_time, |order| order.placed_at);
                // Before it spoke an instance is as old as its newest entering event: in its own time the order would have ended the
                // one before, and that event begun another.
                let is_silent = instance.phase == Phase::Waiting && instance.handed.is_empty();
                let since = if is_silent {
                    instance.touched_at
                } else {
                    instance.born_at
                };
                placed_at >= since && is_relevant(relevance, instance, order, carts)
            }
            (None, Body::Order(order)) => {
                let known = self.profile.orders.get(&order.order_id);
                let placed_at = known.map_or(event.effective_time, |order| order.placed_at);
                placed_at >= instance.born_at && same_instance(flow, instance, event)
            }
            (Some(_) | None, _) => same_instance(flow, instance, event),
        };
        concerns && self.holds(exit.when.as_ref(), Some(event), Subject::of(instance))
    }

    /// Ends an instance: what it handed over and is still unsent is retracted; what it had yet to say is logged as skipped. `by`: who or what
    /// ended it, where the reason alone does not say.
    pub(super) fn end_instance(
        &mut self,
        index: usize,
        flow: &Flow,
        reason: Reason,
        by: Option<&Check>,
    ) {
        let mut instance = self.profile.running.instances.remove(index);
        let mut recalled = false;
        for handed in &instance.handed {
            recalled |= self.recall_by(handed.decision, reason, by);
        }
        if self.has_said(&instance) {
            instance.step += 1;
        }
        if !recalled && step_of(flow, instance.step).is_some() {
            self.skip(
                &instance,
                flow,
                reason,
                None,
                by.cloned().into_iter().collect(),
            );
        }
    }

    /// Did the current step of an instance speak? Then the one after it is what it has yet to say.
    pub(super) fn has_said(&self, instance: &Instance) -> bool {
        let contacts = &self.profile.contacts;
        // It was to speak anew, and the contact that it was recalled for left all the same.
        let left = |handed: &HandedStep| {
            let contact = contacts.get(handed.decision);
            handed.step == instance.step && contact.is_some_and(Contact::was_sent)
        };
        instance.phase == Phase::Handed || instance.handed.last().is_some_and(left)
    }

    /// Logs that an instance will not speak.
    pub(super) fn skip(
        &mut self,
        instance: &Instance,
        flow: &Flow,
        reason: Reason,
        channel: Option<&str>,
        checks: Vec<Check>,
    ) {
        let id = Name {
            birth: &instance.birth,
            flow: &instance.flow,
            step: instance.step + 1,
            attempt: instance.passes,
            kind: VerdictKind::Skip,
            channel: channel.unwrap_or_default(),
            target: &instance.key,
        }
        .id();
        let mut verdict = self.verdict(VerdictKind::Skip, id, Why::Reason(reason));
        verdict.place = Some(place_at(flow, &instance.key, instance.step + 1));
        verdict.channel = channel.map(|channel| self.channel_name(channel));
        verdict.checks = checks;
        self.verdicts.push(verdict);
    }
}

/// Is this event the success of a contact that the instance handed over: a visit or a purchase?
fn reached(flow: &Flow, instance: &Instance, event: &Event, folded: &Folded) -> bool {
    instance.handed.iter().any(|handed| {
        let step = usize::try_from(handed.step)
            .ok()
            .and_then(|step| flow.steps.get(step));
        let wanted = step.and_then(|step| step.success);
        let is_it = match wanted {
            Some(Success::Visited) => event.kind.stream() == Stream::Clickstream,
            Some(Success::Converted) => {
                event.kind == EventType::OrderCompleted && folded.order == Some(OrderNews::New)
            }
            Some(Success::Delivered | Success::Opened | Success::Clicked) | None => false,
        };
        is_it && event.effective_time >= handed.at
    })
}
