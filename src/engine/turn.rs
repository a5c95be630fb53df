//! One call of `step`: what it sees, and how its verdicts are made and named.

use std::sync::Arc;

use super::forward::Forward;
use super::{Ledger, Plan};
use crate::decision::{
    Cause, Check, DecisionId, Message, Place, Reason, Verdict, VerdictKind, Why,
};
use crate::event::{Event, Origin};
use crate::flow::{Condition, Flow, condition};
use crate::profile::Profile;
use crate::profile::contacts::Contact;
use crate::profile::running::{Armed, Birth, Instance};
use crate::value::{ProfileKey, Timestamp};

/// What drives this step.
#[derive(Clone, Debug)]
pub(super) enum Source<'a> {
    /// An event and where it stands.
    Event(&'a Event, &'a Origin),
    /// A timer and the record that armed it.
    Timer(Armed),
}

/// Everything that one step works with.
pub(super) struct Turn<'a> {
    pub(super) plan: &'a Plan,
    pub(super) ledger: &'a mut Ledger,
    pub(super) profile: &'a mut Profile,
    pub(super) now: Timestamp,
    pub(super) source: Source<'a>,
    pub(super) verdicts: &'a mut Vec<Verdict>,
    pub(super) forwards: &'a mut Vec<Forward>,
}

/// What a condition looks at beside the customer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Subject<'a> {
    pub(super) cart: Option<&'a str>,
    pub(super) product: Option<&'a str>,
}

impl<'a> Subject<'a> {
    /// What an instance is about.
    pub(super) fn of(instance: &'a Instance) -> Self {
        Self {
            cart: instance.cart_id.as_deref(),
            product: instance
                .about
                .first()
                .map(|about| about.product_id.as_str()),
        }
    }
}

/// What a decision id is made of (EO-3): causes only, never a partition, offset or clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a> {
    /// What the instance was born of; for decisions of no instance, the event that caused them.
    pub(super) birth: &'a Birth,
    /// Flow name; empty for decisions of no flow.
    pub(super) flow: &'a str,
    /// Counted from 1; 0 for none.
    pub(super) step: u32,
    /// Hand-overs (or, for silent verdicts, passes of the gate) before.
    pub(super) attempt: u32,
    /// What is decided.
    pub(super) kind: VerdictKind,
    /// On which channel; empty for none.
    pub(super) channel: &'a str,
    /// Tells apart what else one cause may decide.
    pub(super) target: &'a str,
}

impl Name<'_> {
    /// The id.
    pub(super) fn id(&self) -> DecisionId {
        DecisionId::of(&[
            self.birth.profile.as_bytes(),
            self.flow.as_bytes(),
            self.birth.source.as_bytes(),
            self.birth.kind.as_bytes(),
            self.birth.event_id.as_bytes(),
            &self.step.to_be_bytes(),
            &self.attempt.to_be_bytes(),
            self.kind.name().as_bytes(),
            self.channel.as_bytes(),
            self.target.as_bytes(),
        ])
    }
}

impl Turn<'_> {
    /// A verdict of this step, silent until a message is put in.
    pub(super) fn verdict(&self, kind: VerdictKind, decision_id: DecisionId, why: Why) -> Verdict {
        let profile = &*self.profile;
        Verdict {
            kind,
            decision_id,
            profile: profile.key().clone(),
            customer_id: profile.key().customer_id().map(str::to_owned),
            anonymous_id: profile.anonymous_id().map(str::to_owned),
            route: None,
            channel: None,
            locale: profile
                .person
                .locale()
                .map(str::to_owned)
                .or_else(|| self.plan.policy.locale.clone()),
            time_zone: profile.person.time_zone().map(str::to_owned),
            place: None,
            why,
            checks: Vec::new(),
            decided_at: self.now,
            cause: self.cause(),
            target: None,
            until: None,
            outcome: None,
            test: profile.person.test,
            contaminated: profile.person.contaminated,
            purchase: None,
            message: None,
        }
    }

    fn cause(&self) -> Cause {
        match &self.source {
            Source::Event(event, origin) => Cause {
                origin: (*origin).clone(),
                event_id: event.id.clone(),
                kind: Some(event.kind),
            },
            Source::Timer(armed) => Cause {
                origin: Origin {
                    topic: Arc::from(armed.topic.as_str()),
                    partition: armed.partition,
                    offset: armed.offset,
                    timestamp: armed.timestamp,
                },
                event_id: armed.event_id.clone(),
                kind: None,
            },
        }
    }

    /// The record that drives this step, as what arms a timer.
    pub(super) fn armed(&self) -> Armed {
        match &self.source {
            Source::Event(event, origin) => Armed::by(event, origin),
            Source::Timer(armed) => armed.clone(),
        }
    }

    /// The event that drives this step as the birth of a decision of no instance.
    pub(super) fn birth(&self, event: &Event) -> Birth {
        Birth::of(self.profile.key(), event)
    }

    /// The channel's shared name; one that policy does not know gets its own.
    pub(super) fn channel_name(&self, channel: &str) -> Arc<str> {
        let known = self.plan.policy.channels.get_key_value(channel);
        known.map_or_else(|| Arc::from(channel), |(name, _)| Arc::clone(name))
    }

    /// The flow that an instance runs on.
    pub(super) fn flow_of(&self, instance: &Instance) -> Option<Arc<Flow>> {
        self.plan
            .flows
            .version(&instance.flow, &instance.version)
            .cloned()
    }

    /// Does a condition hold now? `None` always does.
    pub(super) fn holds(
        &self,
        condition: Option<&Condition>,
        event: Option<&Event>,
        subject: Subject<'_>,
    ) -> bool {
        condition.is_none_or(|condition| condition.holds(&self.scope(event, subject)))
    }

    /// What conditions look at now.
    pub(super) fn scope<'b>(
        &'b self,
        event: Option<&'b Event>,
        subject: Subject<'b>,
    ) -> condition::Scope<'b> {
        condition::Scope {
            profile: self.profile,
            event,
            cart: subject.cart.and_then(|id| self.profile.carts.get(id)),
            product: subject.product,
            policy: &self.plan.policy,
            now: self.now,
        }
    }

    /// Retracts a contact, when it is one that a cancel can still reach. Gives whether it was.
    pub(super) fn recall(&mut self, id: DecisionId, reason: Reason) -> bool {
        self.recall_by(id, reason, None)
    }

    /// The same, with who or what stood in its way.
    pub(super) fn recall_by(&mut self, id: DecisionId, reason: Reason, by: Option<&Check>) -> bool {
        if !self
            .profile
            .contacts
            .get(id)
            .is_some_and(Contact::is_pending)
        {
            return false;
        }
        let Some(contact) = self.profile.contacts.get_mut(id) else {
            return false;
        };
        contact.recalled = true;
        let contact = contact.clone();
        let target = id.to_string();
        let birth = Birth {
            profile: contact.route.clone(),
            ..Birth::default()
        };
        let name = Name {
            birth: &birth,
            flow: contact.flow.as_deref().unwrap_or_default(),
            step: contact.step,
            attempt: 0,
            kind: VerdictKind::Cancel,
            channel: &contact.channel,
            target: &target,
        };
        let mut verdict = self.verdict(VerdictKind::Cancel, name.id(), Why::Reason(reason));
        verdict.route = ProfileKey::parse(&contact.route);
        verdict.channel = Some(self.channel_name(&contact.channel));
        verdict.place = place_of(&contact);
        verdict.checks = by.cloned().into_iter().collect();
        verdict.target = Some(id);
        verdict.message = Some(Message::Cancel { cancels: id });
        self.verdicts.push(verdict);
        true
    }
}

/// Where a contact stood in its flow.
pub(super) fn place_of(contact: &Contact) -> Option<Place> {
    Some(Place {
        flow: Arc::from(contact.flow.as_deref()?),
        flow_version: Arc::from(contact.flow_version.as_deref().unwrap_or_default()),
        instance: contact.instance.clone(),
        step: contact.step,
        steps: contact.steps,
    })
}

/// Where an instance stands; `step` counted from 1, 0 before the first.
pub(super) fn place_at(flow: &Flow, instance: &str, step: u32) -> Place {
    Place {
        flow: Arc::clone(&flow.name),
        flow_version: Arc::clone(&flow.version),
        instance: instance.to_owned(),
        step,
        steps: u32::try_from(flow.steps.len()).unwrap_or(u32::MAX),
    }
}
