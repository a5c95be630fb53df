//! How an instance begins, and how each further entering event restarts its wait (product.md §6).

use std::sync::Arc;

use super::turn::{Name, Subject, Turn, place_at};
use crate::decision::{Reason, VerdictKind, Why};
use crate::event::{Body, Event, EventType};
use crate::flow::{Flow, InstanceKey, Reenter};
use crate::profile::fold::Folded;
use crate::profile::running::{About, Instance, Phase};
use crate::profile::{OrderNews, OrderState, limits};

/// Instance key of flows with one instance per customer.
const CUSTOMER: &str = "customer";

/// The instances that an event can begin: one, or one per product.
fn keys(flow: &Flow, event: &Event) -> Vec<String> {
    let one = |key: Option<&str>| key.map(str::to_owned).into_iter().collect();
    match flow.instance {
        InstanceKey::Cart => one(event.cart_id()),
        InstanceKey::Order => one(event.order_id()),
        InstanceKey::Customer => one(Some(CUSTOMER)),
        InstanceKey::Product => {
            let mut keys: Vec<String> = Vec::new();
            for product in event.products() {
                if !keys.contains(&product.product_id) && keys.len() < limits::ABOUT {
                    keys.push(product.product_id.clone());
                }
            }
            keys
        }
    }
}

impl Turn<'_> {
    /// Looks at every flow that this event can begin.
    pub(super) fn enter_flows(&mut self, event: &Event, folded: &Folded) {
        let plan = self.plan;
        let flows = plan.flows.entering(event.kind);
        if flows.is_empty() || !self.may_start_flows(event, folded) {
            return;
        }
        let cart = event.cart_id();
        for flow in flows {
            for key in keys(flow, event) {
                let product = matches!(flow.instance, InstanceKey::Product).then_some(key.as_str());
                let subject = Subject { cart, product };
                if self.holds(flow.enter.when.as_ref(), Some(event), subject) {
                    self.enter(flow, key, event);
                }
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
        if let Some(reason) = self.entry_refused(flow, &key, event) {
            self.skip_entry(flow, &key, event, reason);
            return;
        }
        let about = match flow.instance {
            InstanceKey::Cart => Vec::new(),
            InstanceKey::Order | InstanceKey::Product | InstanceKey::Customer => about(
                event,
                matches!(flow.instance, InstanceKey::Product).then_some(&key),
            ),
        };
        let at = event.effective_time;
        let instance = Instance {
            flow: flow.name.to_string(),
            version: flow.version.to_string(),
            birth: self.birth(event),
            born_at: at,
            touched_at: at,
            expires_at: at.plus(flow.expires),
            phase: Phase::Waiting,
            due: at.plus(flow.after),
            armed: self.armed(),
            about,
            order_id: event.order_id().map(str::to_owned),
            cart_id: event.cart_id().map(str::to_owned),
            key,
            ..Instance::default()
        };
        self.profile.running.instances.push(instance);
    }

    /// A further entering event restarts the wait, as long as nothing was handed over; one that arrives late restarts nothing.
    fn restart(&mut self, index: usize, flow: &Flow, event: &Event) {
        let at = event.effective_time;
        let armed = self.armed();
        let newer = self
            .profile
            .running
            .instances
            .get(index)
            .is_some_and(|instance| {
                instance.phase == Phase::Waiting
                    && instance.handed.is_empty()
                    && instance.touched_at < at
            });
        if newer && let Some(instance) = self.profile.running.instances.get_mut(index) {
            instance.touched_at = at;
            instance.due = at.plus(flow.after);
            instance.armed = armed;
        }
    }

    /// Why an instance may not begin: too old, too soon after the last, or its group is taken.
    fn entry_refused(&mut self, flow: &Flow, key: &str, event: &Event) -> Option<Reason> {
        if self.now.since(event.effective_time) > flow.max_age {
            return Some(Reason::StaleEvent);
        }
        let history = &self.profile.history;
        let barred = match flow.reenter {
            Reenter::Never => history.last(&flow.name, Some(key)).is_some(),
            Reenter::Always => false,
            Reenter::After { span, per_customer } => history
                .last(&flow.name, (!per_customer).then_some(key))
                .is_some_and(|last| event.effective_time < last.plus(span)),
        };
        if barred {
            return Some(Reason::NotReentrant);
        }
        if self.profile.running.instances.len() >= limits::INSTANCES {
            return Some(Reason::FrequencyCapped);
        }
        self.contend(flow)
    }

    /// At most one running instance per customer among the flows of a group: the higher priority wins, the running one wins a tie.
    fn contend(&mut self, flow: &Flow) -> Option<Reason> {
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
        if rivals.iter().any(|rival| rival.priority >= flow.priority) {
            return Some(Reason::ExclusiveGroup);
        }
        let mut index = 0;
        while let Some(instance) = self.profile.running.instances.get(index) {
            match in_group(self, instance) {
                Some(rival) => self.end_instance(index, &rival, Reason::LowerPriority),
                None => index += 1,
            }
        }
        None
    }

    fn skip_entry(&mut self, flow: &Flow, key: &str, event: &Event, reason: Reason) {
        let birth = self.birth(event);
        let id = Name {
            birth: &birth,
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
        self.verdicts.push(verdict);
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
