//! How a cascade goes on: receipts that succeed or fail a step, late successes, time that ran out (product.md §6).
//!
//! The next step starts only when the one before it failed: bounced, failed, dropped, expired, no receipt, or no success in time.
//! A receipt only arms a timer; the gate is passed when that fires.

use super::turn::{Name, Turn, place_at};
use crate::decision::{DecisionId, Reason, VerdictKind, Why};
use crate::event::{Event, EventType, Receipt};
use crate::flow::{Flow, Step, Success};
use crate::profile::Contact;
use crate::profile::running::{Armed, HandedStep, Instance, Phase};

/// Is this receipt of a human what the step calls a success? A later stage implies the earlier ones.
fn is_success(wanted: Success, kind: EventType, machine: bool) -> bool {
    let clicked = matches!(
        kind,
        EventType::Clicked | EventType::Replied | EventType::Acted
    ) && !machine;
    let opened = clicked || (kind == EventType::Opened && !machine);
    let delivered = kind == EventType::Delivered
        || matches!(
            kind,
            EventType::Opened | EventType::Clicked | EventType::Replied | EventType::Acted
        );
    match wanted {
        Success::Delivered => delivered,
        Success::Opened => opened,
        // A click leads to the shop.
        Success::Clicked | Success::Visited => clicked,
        Success::Converted => false,
    }
}

/// The step at an index from 0.
pub(super) fn step_of(flow: &Flow, index: u32) -> Option<&Step> {
    flow.steps.get(usize::try_from(index).ok()?)
}

impl Turn<'_> {
    /// Folds a receipt. Gives whether its decision is known (or it needs none).
    pub(super) fn receive(&mut self, event: &Event, receipt: &Receipt) -> bool {
        let id = receipt.decision_id.as_deref().and_then(DecisionId::parse);
        let at = event.effective_time;
        let contact = id
            .and_then(|id| self.profile.contacts.get_mut(id))
            .map(|contact| {
                let held = contact.holds_slot();
                contact.receive(event.kind, receipt.machine, at);
                (held, contact.clone())
            });
        self.account(event, receipt, contact.as_ref());
        let contact = contact.map(|(_, contact)| contact);
        if let Some(contact) = &contact {
            self.outcome(event, contact);
        }
        let engaged = matches!(event.kind, EventType::Opened | EventType::Clicked);
        if engaged && !receipt.machine {
            let last = self.profile.activity.last_engaged;
            self.profile.activity.last_engaged = last.max(Some(at));
        }
        self.mark_address(event, receipt);
        let Some(contact) = contact else {
            return receipt.decision_id.is_none();
        };
        let running = contact
            .flow
            .as_deref()
            .and_then(|flow| self.profile.running.find(flow, &contact.instance));
        if let Some(index) = running {
            self.advance(index, contact.id, event, receipt);
        }
        true
    }

    /// What a receipt means for its channel: the breaker counts it, the budget follows the contact's slot. Test customers are counted nowhere.
    fn account(&mut self, event: &Event, receipt: &Receipt, contact: Option<&(bool, Contact)>) {
        let policy = &self.plan.policy;
        let Some(channel) = policy.channels.get(receipt.channel.as_str()) else {
            return;
        };
        if self.profile.person.test {
            return;
        }
        self.ledger.receive(channel, event, receipt, self.now);
        if let Some((held, contact)) = contact
            && *held != contact.holds_slot()
        {
            let (handed_at, now) = (contact.handed_at, self.now);
            self.ledger
                .pay(channel, policy, handed_at, now, contact.holds_slot());
        }
    }

    /// What a receipt means for the instance that handed its contact over.
    fn advance(&mut self, index: usize, id: DecisionId, event: &Event, receipt: &Receipt) {
        let Some(instance) = self.profile.running.instances.get(index) else {
            return;
        };
        let Some(flow) = self.flow_of(instance) else {
            return;
        };
        let Some(handed) = instance.handed.iter().find(|handed| handed.decision == id) else {
            return;
        };
        let is_last = instance
            .handed
            .last()
            .is_some_and(|last| last.decision == id);
        // Its slot went to a higher priority, and it was sent all the same: then it need not pass the gate again.
        let left_anyway = is_last
            && instance.phase == Phase::Waiting
            && instance.step == handed.step
            && self
                .profile
                .contacts
                .get(id)
                .is_some_and(|contact| contact.replaced && contact.was_sent());
        // An instance that has fallen silent only waits for what it said before: that leads nowhere any more.
        let is_silent = instance.step != handed.step;
        let waits = instance.phase == Phase::Handed && !is_silent;
        let is_current = is_last && (waits || left_anyway);
        let step = step_of(&flow, handed.step);
        let wanted = step.and_then(|step| step.success);
        if wanted.is_some_and(|wanted| is_success(wanted, event.kind, receipt.machine)) {
            // Also when it arrives late: the step after it is retracted.
            self.end_instance(index, &flow, Reason::GoalReached, None);
            return;
        }
        let within = step.map(|step| step.within).unwrap_or_default();
        if is_current && (event.kind == EventType::Sent || left_anyway) {
            let armed = self.armed();
            let Some(instance) = self.profile.running.instances.get_mut(index) else {
                return;
            };
            instance.phase = Phase::Handed;
            instance.deferred = false;
            instance.due = event.effective_time.plus(within).min(instance.expires_at);
            instance.armed = armed;
        } else if is_current && event.kind == EventType::Expired {
            self.missed(index, &flow);
        } else if is_current
            && matches!(
                event.kind,
                EventType::Bounced | EventType::Failed | EventType::Dropped
            )
        {
            self.next_step(index, &flow);
        }
    }

    /// The sender missed `send_by`: the next step's turn, or, when there is none, the gate decides on the same one anew.
    fn missed(&mut self, index: usize, flow: &Flow) {
        let is_last = self
            .profile
            .running
            .instances
            .get(index)
            .is_some_and(|instance| step_of(flow, instance.step + 1).is_none());
        if !is_last {
            self.next_step(index, flow);
            return;
        }
        let (now, armed) = (self.now, self.armed());
        if let Some(instance) = self.profile.running.instances.get_mut(index) {
            instance.attempt += 1;
            wait(instance, now, armed);
        }
    }

    /// A higher priority took the slot of a contact that had not left: its instance waits for another, and passes the whole gate again. One
    /// that has fallen silent since has nothing more to say.
    pub(super) fn give_way(&mut self, id: DecisionId) {
        let waits = |instance: &Instance| {
            instance.phase == Phase::Handed
                && instance
                    .handed
                    .last()
                    .is_some_and(|last| last.decision == id)
        };
        let (now, armed) = (self.now, self.armed());
        let instances = &mut self.profile.running.instances;
        let Some(index) = instances.iter().position(waits) else {
            return;
        };
        let Some(instance) = instances.get_mut(index) else {
            return;
        };
        let is_silent = instance
            .handed
            .last()
            .is_some_and(|last| last.step != instance.step);
        if is_silent {
            // It ends by its timer: the gate that is being passed counts on the others' places.
            instance.due = now;
            instance.armed = armed;
        } else {
            instance.attempt += 1;
            wait(instance, now, armed);
        }
    }

    /// Arms the gate for the step after the current one, at once; without one the instance is over.
    fn next_step(&mut self, index: usize, flow: &Flow) {
        let (now, armed) = (self.now, self.armed());
        let Some(instance) = self.profile.running.instances.get_mut(index) else {
            return;
        };
        if step_of(flow, instance.step + 1).is_none() {
            self.finish(index);
            return;
        }
        instance.step += 1;
        instance.attempt = 0;
        wait(instance, now, armed);
    }

    /// A contact was retracted for a reason of its channel: the instance that waits for it goes on.
    pub(super) fn step_failed(&mut self, id: DecisionId) {
        let waits = |instance: &Instance| {
            instance.phase == Phase::Handed
                && instance
                    .handed
                    .last()
                    .is_some_and(|last| last.decision == id)
        };
        let Some(index) = self.profile.running.instances.iter().position(waits) else {
            return;
        };
        let flow = self
            .profile
            .running
            .instances
            .get(index)
            .and_then(|instance| self.flow_of(instance));
        if let Some(flow) = flow {
            self.next_step(index, &flow);
        }
    }

    /// An instance's timer fired.
    pub(super) fn fire_instance(&mut self, index: usize) {
        let Some(instance) = self.profile.running.instances.get(index) else {
            return;
        };
        let is_current = self
            .plan
            .flows
            .current()
            .contains_key(instance.flow.as_str());
        let Some(flow) = self.flow_of(instance).filter(|_| is_current) else {
            self.end_inactive(index);
            return;
        };
        match instance.phase {
            Phase::Waiting if self.now >= instance.expires_at => self.expire(index, &flow),
            Phase::Waiting => self.pass_gate(index, &flow),
            Phase::Handed => self.time_is_over(index, &flow),
        }
    }

    /// No success came in time.
    fn time_is_over(&mut self, index: usize, flow: &Flow) {
        let Some(instance) = self.profile.running.instances.get(index) else {
            return;
        };
        let has_more = step_of(flow, instance.step + 1).is_some();
        if !has_more || self.is_done(instance, flow) {
            self.finish(index);
        } else if self.now >= instance.expires_at {
            self.expire(index, flow);
        } else {
            self.next_step(index, flow);
            self.pass_gate(index, flow);
        }
    }

    /// An instance has said all it had to say. While something of it is still unsent it stays, so that a purchase finds what to retract.
    pub(super) fn finish(&mut self, index: usize) {
        let now = self.now;
        let Some(instance) = self.profile.running.instances.get(index) else {
            return;
        };
        let unsent = instance
            .handed
            .iter()
            .filter_map(|handed| self.profile.contacts.get(handed.decision))
            .filter(|contact| contact.is_pending() && contact.send_by > now)
            .map(|contact| contact.send_by)
            .max();
        match (unsent, self.profile.running.instances.get_mut(index)) {
            (Some(until), Some(instance)) => {
                instance.phase = Phase::Handed;
                instance.due = until;
            }
            (None, _) | (_, None) => {
                self.profile.running.instances.remove(index);
            }
        }
    }

    /// Without a success to wait for, a step is done when it left: by its receipt, or by hand-over where the channel reports none.
    fn is_done(&self, instance: &Instance, flow: &Flow) -> bool {
        let waits = step_of(flow, instance.step).is_none_or(|step| step.success.is_some());
        let Some(last) = instance.handed.last().filter(|_| !waits) else {
            return false;
        };
        let channel = self.plan.policy.channels.get(last.channel.as_str());
        let reports = channel.is_some_and(|channel| channel.reports.contains(&EventType::Sent));
        let contact = self.profile.contacts.get(last.decision);
        contact.is_some_and(|contact| {
            contact.observed || contact.was_sent() || (!reports && contact.failed_at.is_none())
        })
    }

    /// The instance's time is over before it said all it had to say.
    pub(super) fn expire(&mut self, index: usize, flow: &Flow) {
        let mut instance = self.profile.running.instances.remove(index);
        if self.has_said(&instance) {
            instance.step += 1;
        }
        let id = Name {
            birth: &instance.birth,
            flow: &instance.flow,
            step: instance.step + 1,
            attempt: 0,
            kind: VerdictKind::Expire,
            channel: "",
            target: &instance.key,
        }
        .id();
        let mut verdict = self.verdict(VerdictKind::Expire, id, Why::Reason(Reason::Expired));
        verdict.place = Some(place_at(flow, &instance.key, instance.step + 1));
        self.verdicts.push(verdict);
    }

    /// The flow was taken away, or its stored text no longer compiles (FL-1). What it handed over and is still unsent is retracted: nobody
    /// would look after it any more.
    pub(super) fn end_inactive(&mut self, index: usize) {
        let Some(instance) = self.profile.running.instances.get(index) else {
            return;
        };
        if let Some(flow) = self.flow_of(instance) {
            return self.end_instance(index, &flow, Reason::FlowInactive, None);
        }
        let mut instance = self.profile.running.instances.remove(index);
        let mut recalled = false;
        for handed in &instance.handed {
            recalled |= self.recall(handed.decision, Reason::FlowInactive);
        }
        if recalled {
            return;
        }
        if self.has_said(&instance) {
            instance.step += 1;
        }
        let id = Name {
            birth: &instance.birth,
            flow: &instance.flow,
            step: instance.step + 1,
            attempt: 0,
            kind: VerdictKind::Skip,
            channel: "",
            target: &instance.key,
        }
        .id();
        let why = Why::Reason(Reason::FlowInactive);
        let mut verdict = self.verdict(VerdictKind::Skip, id, why);
        verdict.place = Some(crate::decision::Place {
            flow: instance.flow.as_str().into(),
            flow_version: instance.version.as_str().into(),
            instance: instance.key,
            step: instance.step + 1,
            steps: 0,
        });
        self.verdicts.push(verdict);
    }

    /// Notes a hand-over (or observation) on its instance and waits for what comes of it.
    pub(super) fn wait_for_success(
        &mut self,
        index: usize,
        decision: DecisionId,
        step: &Step,
        channel: &str,
    ) {
        let now = self.now;
        let Some(instance) = self.profile.running.instances.get_mut(index) else {
            return;
        };
        if instance.handed.len() >= crate::profile::limits::STEPS {
            instance.handed.remove(0);
        }
        instance.handed.push(HandedStep {
            step: instance.step,
            decision,
            at: now,
            channel: channel.to_owned(),
        });
        instance.phase = Phase::Handed;
        instance.deferred = false;
        instance.due = now.plus(step.within).min(instance.expires_at);
    }
}

fn wait(instance: &mut Instance, due: crate::value::Timestamp, armed: Armed) {
    instance.phase = Phase::Waiting;
    instance.deferred = false;
    instance.due = due;
    instance.armed = armed;
}
