//! How an instance begins, and how each further entering event restarts its wait (product.md §6).

use std::sync::Arc;

use super::turn::{Name, Subject, Turn, place_at};
use crate::decision::{Check, Reason, Seen, VerdictKind, Why};
use crate::event::{Body, Event, EventType};
use crate::flow::{Flow, InstanceKey, Occasion, Reenter};
use crate::profile::fold::Folded;
use crate::profile::running::{About, Birth, Instance, Phase};
use crate::profile::{OrderNews, OrderState, limits};
use crate::value::Timestamp;

/// Instance key of flows with one instance per customer.
pub(super) const CUSTOMER: &str = "customer";

/// The instance that an event can begin, unless there is one for each product.
fn key<'a>(flow: &Flow, event: &'a Event) -> Option<&'a str> {
    match flow.instance {
        InstanceKey::Cart => event.cart_id(),
        InstanceKey::Order => event.order_id(),
        InstanceKey::Customer => Some(CUSTOMER),
        InstanceKey::Product => None,
    }
}

/// What begins an instance: when it came, and what it is about.
pub(super) struct Entry {
    pub(super) at: Timestamp,
    pub(super) birth: Birth,
    pub(super) about: Vec<About>,
    pub(super) order_id: Option<String>,
    pub(super) cart_id: Option<String>,
}

impl Turn<'_> {
    /// Of the flows that begin when a condition becomes true: for which it holds already.
    pub(super) fn held_before(&self, event: &Event) -> Vec<bool> {
        let flows = &self.plan.flows.concerned(event.kind).becoming;
        flows.iter().map(|flow| self.has_become(flow)).collect()
    }

    /// Does the condition hold that a flow begins with?
    pub(super) fn has_become(&self, flow: &Flow) -> bool {
        match &flow.enter.on {
            Occasion::Becomes(condition) => self.holds(Some(condition), None, Subject::default()),
            Occasion::Events(_) | Occasion::Absence { .. } | Occasion::Moment(_) => true,
        }
    }

    /// Does what was asked at entry still hold, without the event?
    pub(super) fn still_wanted(&self, flow: &Flow, subject: Subject<'_>) -> bool {
        self.has_become(flow) && self.holds(flow.enter.when.as_ref(), None, subject)
    }

    /// Looks at every flow that this event can begin. `held`: see [`Self::held_before`].
    pub(super) fn enter_flows(&mut self, event: &Event, folded: &Folded, held: &[bool]) {
        let plan = self.plan;
        let concerned = plan.flows.concerned(event.kind);
        let is_nobodys = concerned.entering.is_empty() && concerned.becoming.is_empty();
        if is_nobodys || !self.may_start_flows(event, folded) {
            return;
        }
        let cart = event.cart_id();
        for flow in &concerned.entering {
            if flow.instance == InstanceKey::Product {
                self.enter_products(flow, event);
            } else {
                let subject = Subject {
                    cart,
                    product: None,
                };
                if let Some(key) = key(flow, event)
                    && self.holds(flow.enter.when.as_ref(), Some(event), subject)
                {
                    self.enter(flow, key.to_owned(), event);
                }
            }
        }
        for (flow, held) in concerned.becoming.iter().zip(held) {
            if !held && self.still_wanted(flow, Subject::default()) {
                self.enter(flow, CUSTOMER.to_owned(), event);
            }
        }
    }

    /// Looks at one flow for each product that the event names.
    fn enter_products(&mut self, flow: &Arc<Flow>, event: &Event) {
        let mut seen: Vec<&str> = Vec::new();
        for product in event.products() {
            let key = product.product_id.as_str();
            if seen.contains(&key) || seen.len() >= limits::ABOUT {
                continue;
            }
            seen.push(key);
            let subject = Subject {
                cart: event.cart_id(),
                product: Some(key),
            };
            if self.holds(flow.enter.when.as_ref(), Some(event), subject) {
                self.enter(flow, key.to_owned(), event);
            }
        }
    }

    /// What starts no flow at all: cart events of bought carts, known or cancelled orders, subscription deliveries.
    fn may_start_flows(&self, event: &Event, folded: &Folded) -> bool {
        let order_is_news = match folded.order {
            Some(OrderNews::New) | None => true,
            Some(OrderNews::Update) => event.kind != EventType::OrderCompleted,
            Some(OrderNews::AlreadyCancelled) => false,
        };
        let recurring = match &event.body {
            Body::Order(order) => order.recurring,
            Body::OrderStatus(status) => {
                self.profile
                    .orders
                    .get(&status.order_id)
                    .is_some_and(|order| {
                        let off = order.state == OrderState::Cancelled;
                        order.recurring || (off && event.kind != EventType::OrderCancelled)
                    })
            }
            Body::Browse(_)
            | Body::CartLine(_)
            | Body::CartSnapshot(_)
            | Body::Checkout(_)
            | Body::Refund(_)
            | Body::Receipt(_)
            | Body::Identity(_)
            | Body::Consent(_)
            | Body::Ticket(_)
            | Body::Feedback(_)
            | Body::Score(_)
            | Body::Merge(_)
            | Body::Erasure
            | Body::SendRequest(_) => false,
        };
        !folded.outdated && order_is_news && !recurring
    }

    fn enter(&mut self, flow: &Arc<Flow>, key: String, event: &Event) {
        if let Some(index) = self.profile.running.find(&flow.name, &key) {
            self.restart(index, flow, event);
            return;
        }
        let about = match flow.instance {
            InstanceKey::Cart => Vec::new(),
            InstanceKey::Order | InstanceKey::Product | InstanceKey::Customer => about(
                event,
                matches!(flow.instance, InstanceKey::Product).then_some(&key),
            ),
        };
        let entry = Entry {
            at: event.effective_time,
            birth: self.birth(event),
            about,
            order_id: event.order_id().map(str::to_owned),
            cart_id: event.cart_id().map(str::to_owned),
        };
        self.begin(flow, key, entry);
    }

    /// Begins an instance, unless it may not: then that is logged.
    pub(super) fn begin(&mut self, flow: &Arc<Flow>, key: String, entry: Entry) {
        let at = entry.at;
        // Waiting for what is not known of the customer is no waiting.
        let Some(due) = self.due(flow, &key, at) else {
            return;
        };
        if let Some((reason, check)) = self.entry_refused(flow, &key, at) {
            self.skip_entry(flow, &key, &entry.birth, reason, check);
            return;
        }
        let expires_at = at.plus(flow.life());
        let instance = Instance {
            flow: flow.name.to_string(),
            version: flow.version.to_string(),
            birth: entry.birth,
            born_at: at,
            touched_at: at,
            expires_at,
            phase: Phase::Waiting,
            due: due.min(expires_at),
            armed: self.armed(),
            about: entry.about,
            order_id: entry.order_id,
            cart_id: entry.cart_id,
            key,
            ..Instance::default()
        };
        self.profile.running.instances.push(instance);
    }

    /// When the first step of an instance that began (or was touched) at `at` is due; `None` when its moment is not known.
    fn due(&self, flow: &Flow, key: &str, at: Timestamp) -> Option<Timestamp> {
        let from = at.plus(flow.after.span);
        match flow.after.until {
            None => Some(from),
            Some(moment) => self.moment_from(moment, key, from),
        }
    }

    /// A further entering event restarts the wait, as long as nothing was handed over; one that arrives late restarts nothing.
    fn restart(&mut self, index: usize, flow: &Flow, event: &Event) {
        let at = event.effective_time;
        let armed = self.armed();
        let newer = |instance: &&Instance| {
            instance.phase == Phase::Waiting
                && instance.handed.is_empty()
                && instance.touched_at < at
        };
        let instances = &self.profile.running.instances;
        let Some(instance) = instances.get(index).filter(newer) else {
            return;
        };
        if !flow.after.restarts {
            return;
        }
        let Some(due) = self.due(flow, &instance.key, at) else {
            return;
        };
        if let Some(instance) = self.profile.running.instances.get_mut(index) {
            instance.touched_at = at;
            instance.deferred = false;
            instance.due = due.min(instance.expires_at);
            instance.armed = armed;
            if flow.instance == InstanceKey::Customer {
                // It speaks of what was last.
                let mut newest = about(event, None);
                for old in std::mem::take(&mut instance.about) {
                    if newest.iter().all(|new| new.product_id != old.product_id) {
                        newest.push(old);
                    }
                }
                newest.truncate(limits::ABOUT);
                instance.about = newest;
            }
        }
    }

    /// Why an instance may not begin: too old, too soon after the last, or its group is taken.
    fn entry_refused(&mut self, flow: &Flow, key: &str, at: Timestamp) -> Option<(Reason, Check)> {
        if self.now.since(at) > flow.max_age {
            let seen = Seen {
                at: Some(at),
                window: Some(flow.max_age.to_string()),
                ..Seen::default()
            };
            return Some((Reason::StaleEvent, refused("max_age", seen)));
        }
        if let Some(refusal) = self.reentry_refused(flow, key, at) {
            return Some(refusal);
        }
        if self.profile.running.instances.len() >= limits::INSTANCES {
            let seen = Seen {
                limit: u32::try_from(limits::INSTANCES).ok(),
                ..Seen::default()
            };
            return Some((Reason::FrequencyCapped, refused("instances", seen)));
        }
        self.contend(flow)
    }

    /// Has the flow spoken too recently for an instance that began at `at`?
    pub(super) fn reentry_refused(
        &self,
        flow: &Flow,
        key: &str,
        at: Timestamp,
    ) -> Option<(Reason, Check)> {
        let history = &self.profile.history;
        let (last, barred) = match flow.reenter {
            Reenter::Never => {
                let last = history.last(&flow.name, Some(key));
                (last, last.is_some())
            }
            Reenter::Always => (None, false),
            Reenter::After { span, per_customer } => {
                let last = history.last(&flow.name, (!per_customer).then_some(key));
                (last, last.is_some_and(|last| at < last.plus(span)))
            }
        };
        if barred {
            let span = match flow.reenter {
                Reenter::After { span, .. } => Some(span),
                Reenter::Never | Reenter::Always => None,
            };
            let seen = Seen {
                at: last,
                until: last.zip(span).map(|(last, span)| last.plus(span)),
                window: span.map(|span| span.to_string()),
                ..Seen::default()
            };
            return Some((Reason::NotReentrant, refused("reenter", seen)));
        }
        None
    }

    /// At most one running instance per customer among the flows of a group: the higher priority wins, the running one wins a tie.
    fn contend(&mut self, flow: &Flow) -> Option<(Reason, Check)> {
        let group = flow.exclusive_group.as_ref()?;
        let in_group = |turn: &Self, instance: &Instance| {
            turn.flow_of(instance)
                .filter(|other| other.exclusive_group.as_ref() == Some(group))
        };
        let rivals: Vec<Arc<Flow>> = self
            .profile
            .running
            .instances
            .iter()
            .filter_map(|instance| in_group(self, instance))
            .collect();
        if let Some(rival) = rivals.iter().find(|rival| rival.priority >= flow.priority) {
            let seen = Seen {
                scope: Some(group.to_string()),
                flow: Some(rival.name.to_string()),
                ..Seen::default()
            };
            return Some((Reason::ExclusiveGroup, refused("exclusive_group", seen)));
        }
        let winner = Seen {
            scope: Some(group.to_string()),
            flow: Some(flow.name.to_string()),
            ..Seen::default()
        };
        let by = refused("exclusive_group", winner);
        let mut index = 0;
        while let Some(instance) = self.profile.running.instances.get(index) {
            match in_group(self, instance) {
                Some(rival) => {
                    self.end_instance(index, &rival, Reason::LowerPriority, Some(&by));
                }
                None => index += 1,
            }
        }
        None
    }

    /// Logs that an instance may not begin: once a day for each reason, because whoever looks around enters again with every click.
    fn skip_entry(&mut self, flow: &Flow, key: &str, birth: &Birth, reason: Reason, check: Check) {
        if !self
            .profile
            .history
            .is_refusal_news(&flow.name, key, reason, self.now)
        {
            return;
        }
        let now = self.now;
        self.profile
            .history
            .note_refusal(&flow.name, key, reason, now);
        let id = Name {
            birth,
            flow: &flow.name,
            step: 0,
            attempt: 0,
            kind: VerdictKind::Skip,
            channel: "",
            target: key,
        }
        .id();
        let mut verdict = self.verdict(VerdictKind::Skip, id, Why::Reason(reason));
        verdict.place = Some(place_at(flow, key, 0));
        verdict.checks = vec![check];
        self.verdicts.push(verdict);
    }
}

/// What keeps an instance from beginning; the numbers say it all.
fn refused(name: &'static str, seen: Seen) -> Check {
    Check {
        name,
        passed: false,
        detail: String::new(),
        seen: Some(Box::new(seen)),
    }
}

/// The products that an instance without a cart is about.
fn about(event: &Event, only: Option<&String>) -> Vec<About> {
    event
        .products()
        .iter()
        .filter(|product| only.is_none_or(|only| product.product_id == *only))
        .take(limits::ABOUT)
        .map(|product| About {
            product_id: product.product_id.clone(),
            group_id: product.group_id.clone(),
            category: product.category.clone(),
        })
        .collect()
}
