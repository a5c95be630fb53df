//! A hand-over arrives: two profiles become one, and everything that the joined history forbids ends (engine.md §6a).
//!
//! What each side knew is laid before what the other had running: every order before the other's exit rules and outcomes, every last trigger
//! before the other's entries, every denial before the other's contacts. What already left is cancelled, under the key that it left by.

use std::sync::Arc;

use super::forward::{Forward, Matter};
use super::suppress::NewBlock;
use super::turn::Turn;
use crate::decision::Reason;
use crate::event::{Body, Consent, Event, EventType, Order, Product, SalesChannel};
use crate::flow::{Class, Flow, InstanceKey, Moment, Occasion, Reenter};
use crate::profile::carts::Item;
use crate::profile::fold::Folded;
use crate::profile::running::{Armed, Instance, PendingRequest, Phase, Watch};
use crate::profile::{Block, History, OrderNews, OrderRecord, OrderState, Orders, Profile, limits};
use crate::value::{ProfileKey, Timestamp};

/// What an order is for the side that did not know it.
const NEWS: Folded = Folded {
    duplicate: false,
    outdated: false,
    order: Some(OrderNews::New),
    first_reversal: false,
};

/// The orders that one side knows and the other does not, oldest first, as the events that they once were.
fn orders_of(known: &Orders, unknown_to: &Orders) -> Vec<(Event, Order)> {
    let mut orders: Vec<&OrderRecord> = known
        .recent()
        .filter(|order| order.told_at != Timestamp::ZERO && order.state != OrderState::Cancelled)
        .filter(|order| unknown_to.get(&order.order_id).is_none())
        .collect();
    orders.sort_by(|a, b| (a.placed_at, &a.order_id).cmp(&(b.placed_at, &b.order_id)));
    orders.into_iter().map(order_event).collect()
}

fn order_event(record: &OrderRecord) -> (Event, Order) {
    let order = Order {
        order_id: record.order_id.clone(),
        cart_id: record.cart_id.clone(),
        channel: if record.offline {
            SalesChannel::Offline
        } else {
            SalesChannel::Online
        },
        total: record.total,
        discount: record.discount,
        coupon: record.coupon.clone(),
        recurring: record.recurring,
        seller: record.seller.clone(),
        products: record.lines.iter().map(product).collect(),
    };
    let event = Event {
        id: record.order_id.clone(),
        kind: EventType::OrderCompleted,
        event_time: record.placed_at,
        received_at: None,
        effective_time: record.placed_at,
        customer_id: None,
        anonymous_id: None,
        source: String::new(),
        schema_version: 1,
        test: false,
        unconverted: false,
        body: Body::Order(order.clone()),
    };
    (event, order)
}

fn product(line: &Item) -> Product {
    Product {
        product_id: line.product_id.clone(),
        sku: line.sku.clone(),
        group_id: line.group_id.clone(),
        name: line.name.clone(),
        category: line.category.clone(),
        brand: line.brand.clone(),
        quantity: line.count(),
        price: line.price,
        line_id: line.line_id.clone(),
    }
}

/// Did the instance already speak?
fn has_spoken(instance: &Instance) -> bool {
    instance.phase == Phase::Handed || !instance.handed.is_empty()
}

/// Would the other side's last trigger have kept this instance from beginning?
fn is_barred(flow: &Flow, instance: &Instance, history: &History) -> bool {
    let at = instance.born_at;
    let last = |key: Option<&str>| history.last(&flow.name, key).filter(|last| *last <= at);
    !has_spoken(instance)
        && match flow.reenter {
            Reenter::Never => last(Some(&instance.key)).is_some(),
            Reenter::Always => false,
            Reenter::After { span, per_customer } => last((!per_customer).then_some(&instance.key))
                .is_some_and(|last| at < last.plus(span)),
        }
}

impl Turn<'_> {
    /// Takes in everything that `other` held. `login`: the event that made the two one.
    pub(super) fn join(&mut self, login: &Event, mut other: Profile) {
        let own_orders = orders_of(&self.profile.orders, &other.orders);
        let their_orders = orders_of(&other.orders, &self.profile.orders);
        let own_carts = self.profile.carts.open.clone();
        let their_carts = other.carts.open.clone();
        let own_history = (*self.profile.history).clone();
        let their_history = (*other.history).clone();
        self.exchange_outcomes(&own_orders, &their_orders, &mut other);
        for (event, order) in &their_orders {
            self.profile.carts.close(order, event.effective_time);
        }
        for (event, order) in &own_orders {
            other.carts.close(order, event.effective_time);
        }
        let theirs = std::mem::take(&mut *other.running);
        let blocks = other.take_all_blocks();
        let (from, listed) = (other.key().clone(), other.links.addresses.clone());
        self.profile
            .join(&mut other, &self.plan.policy, login.effective_time);
        for (event, _) in &their_orders {
            self.take_exits(event, &own_carts, &NEWS);
        }
        let own = std::mem::replace(&mut self.profile.running.instances, theirs.instances);
        for (event, _) in &own_orders {
            self.take_exits(event, &their_carts, &NEWS);
        }
        let instances = std::mem::replace(&mut self.profile.running.instances, own);
        self.join_instances(instances, &own_history, &their_history);
        self.join_requests(theirs.requests);
        self.join_watches(theirs.watches);
        self.join_blocks(login, blocks);
        self.restrict(login);
        self.tell_addresses();
        // Behind that, so that at no moment nobody is listed.
        self.forwards.extend(listed.into_iter().map(|hash| {
            let matter = Matter::Holds {
                profile: from.clone(),
                holds: false,
                armed: Armed::default(),
            };
            Forward::new(ProfileKey::address(&hash), matter)
        }));
    }

    /// Each side's purchases are outcomes of the other side's contacts.
    fn exchange_outcomes(
        &mut self,
        own: &[(Event, Order)],
        theirs: &[(Event, Order)],
        other: &mut Profile,
    ) {
        for (event, order) in theirs {
            self.convert(event, order, &NEWS);
        }
        std::mem::swap(&mut self.profile.contacts, &mut other.contacts);
        for (event, order) in own {
            self.convert(event, order, &NEWS);
        }
        std::mem::swap(&mut self.profile.contacts, &mut other.contacts);
    }

    fn join_instances(&mut self, theirs: Vec<Instance>, own_past: &History, their_past: &History) {
        let mut index = 0;
        while let Some(instance) = self.profile.running.instances.get(index) {
            match self
                .flow_of(instance)
                .filter(|flow| is_barred(flow, instance, their_past))
            {
                Some(flow) => self.end_instance(index, &flow, Reason::NotReentrant, None),
                None => index += 1,
            }
        }
        for instance in theirs {
            let Some(flow) = self.flow_of(&instance) else {
                self.profile.running.instances.push(instance);
                continue;
            };
            let known = self.profile.running.find(&instance.flow, &instance.key);
            if is_barred(&flow, &instance, own_past) {
                self.end_joined(instance, &flow, Reason::NotReentrant);
            } else if let Some(index) = known {
                self.join_instance(index, instance, &flow);
            } else if self.profile.running.instances.len() >= limits::INSTANCES {
                self.end_joined(instance, &flow, Reason::FrequencyCapped);
            } else {
                self.join_group(instance, &flow);
            }
        }
        self.profile
            .running
            .instances
            .sort_by_key(|instance| instance.born_at);
    }

    /// Ends an instance that does not come over.
    fn end_joined(&mut self, instance: Instance, flow: &Arc<Flow>, reason: Reason) {
        let instances = &mut self.profile.running.instances;
        let index = instances.len();
        instances.push(instance);
        self.end_instance(index, flow, reason, None);
    }

    /// Both sides run the same instance: the one that spoke goes on; of two that wait the older, restarted by the later.
    fn join_instance(&mut self, index: usize, theirs: Instance, flow: &Arc<Flow>) {
        let Some(own) = self.profile.running.instances.get_mut(index) else {
            return;
        };
        let born = |instance: &Instance| (instance.born_at, instance.birth.event_id.clone());
        match (has_spoken(own), has_spoken(&theirs)) {
            (true, false) => {}
            (false, true) => *own = theirs,
            (true, true) => {
                let younger = if born(own) <= born(&theirs) {
                    theirs
                } else {
                    std::mem::replace(own, theirs)
                };
                self.end_joined(younger, flow, Reason::ProfileMerged);
            }
            (false, false) => {
                let (mut older, younger) = if born(own) <= born(&theirs) {
                    (std::mem::take(own), theirs)
                } else {
                    (theirs, std::mem::take(own))
                };
                restart(&mut older, younger, flow);
                *own = older;
            }
        }
    }

    /// At most one of an exclusive group: the higher priority, of equals the older.
    fn join_group(&mut self, theirs: Instance, flow: &Arc<Flow>) {
        let rival = |turn: &Self, instance: &Instance| {
            turn.flow_of(instance).filter(|other| {
                flow.exclusive_group.is_some() && other.exclusive_group == flow.exclusive_group
            })
        };
        let mut index = 0;
        while let Some(own) = self.profile.running.instances.get(index) {
            let Some(other) = rival(self, own) else {
                index += 1;
                continue;
            };
            let own_wins = (other.priority, std::cmp::Reverse(own.born_at))
                >= (flow.priority, std::cmp::Reverse(theirs.born_at));
            let reason = if other.priority == flow.priority {
                Reason::ExclusiveGroup
            } else {
                Reason::LowerPriority
            };
            if own_wins {
                self.end_joined(theirs, flow, reason);
                return;
            }
            self.end_instance(index, &other, reason, None);
        }
        self.profile.running.instances.push(theirs);
    }

    fn join_requests(&mut self, theirs: Vec<PendingRequest>) {
        for request in theirs {
            let requests = &self.profile.running.requests;
            if requests
                .iter()
                .any(|own| own.request_id == request.request_id)
            {
                continue;
            }
            if requests.len() >= limits::REQUESTS {
                self.refuse(&request, Reason::FrequencyCapped, Vec::new());
            } else {
                self.profile.running.requests.push(request);
            }
        }
    }

    /// The later sign of life counts for an absence; moments are reckoned anew from the joined history.
    fn join_watches(&mut self, theirs: Vec<Watch>) {
        for watch in theirs {
            let watches = &mut self.profile.running.watches;
            let has_room = watches.len() < limits::WATCHES;
            match watches.iter_mut().find(|own| own.flow == watch.flow) {
                Some(own) => {
                    if (watch.past, &watch.past_key) > (own.past, &own.past_key) {
                        own.past = watch.past;
                        own.past_key = watch.past_key;
                    }
                    if watch.due > own.due {
                        own.due = watch.due;
                        own.key = watch.key;
                        own.armed = watch.armed;
                    }
                    if own.due <= own.past {
                        own.due = None;
                    }
                }
                None if has_room => watches.push(watch),
                None => {}
            }
        }
        let plan = self.plan;
        for flow in plan.flows.current().values() {
            if let Occasion::Moment(moment @ Moment::Known { .. }) = &flow.enter.on {
                self.watch_moment(flow, *moment);
            }
        }
    }

    /// Senders know the suppressions under the old key: there they end, here they begin.
    fn join_blocks(&mut self, login: &Event, theirs: Vec<Block>) {
        for block in theirs {
            if !block.is_live(self.now) {
                continue;
            }
            for on in &block.on {
                self.release(login, &block, on, Reason::ProfileMerged);
            }
            let is_said = |channel: &str| {
                self.profile.blocks(self.now).any(|own| {
                    (own.reason, &own.scopes, own.until, &own.order_id, &own.list)
                        == (
                            block.reason,
                            &block.scopes,
                            block.until,
                            &block.order_id,
                            &block.list,
                        )
                        && own.on.iter().any(|on| on.channel == channel)
                })
            };
            // Granted again since the two were one.
            let is_over = |channel: &str| {
                matches!(block.reason, Reason::NoConsent | Reason::Unsubscribed)
                    && self
                        .profile
                        .reach
                        .consent_state(channel, block.list.as_deref())
                        == Consent::Granted
            };
            let channels = block.on.iter().map(|on| &on.channel);
            let channels = channels.filter(|channel| !is_said(channel) && !is_over(channel));
            let channels = channels.cloned().collect();
            let rest_of = block.on.first().map(|on| on.decision);
            let new = NewBlock {
                reason: block.reason,
                channels,
                scopes: block.scopes,
                until: block.until,
                order_id: block.order_id,
                list: block.list,
                rest_of,
            };
            self.begin_block(login, new);
        }
    }

    /// What either side forbids is forbidden: contacts of the other side that are still unsent are retracted.
    fn restrict(&mut self, login: &Event) {
        let reach = (*self.profile.reach).clone();
        let denials = reach.consents.iter();
        for denial in denials.filter(|entry| entry.state == Consent::Denied) {
            // Where one side had taken it back in part, the other side's senders may know of nothing.
            let (channel, list) = (denial.channel.as_deref(), denial.list.as_deref());
            self.deny(login, channel, list, Reason::NoConsent);
        }
        self.recall_all(Reason::NoConsent, |contact| {
            contact.class != Class::Transactional
                && reach.consent_state(&contact.channel, contact.list.as_deref()) == Consent::Denied
        });
        if reach.manual_block.is_some() {
            self.recall_all(Reason::ManualBlock, |contact| {
                contact.class != Class::Transactional
            });
        }
        for channel in self.all_channels() {
            self.review_addresses(login, &channel);
        }
    }
}

/// The younger's newest event is one more entering event of the older.
fn restart(older: &mut Instance, younger: Instance, flow: &Flow) {
    if !flow.after.restarts || younger.touched_at <= older.touched_at {
        return;
    }
    older.touched_at = younger.touched_at;
    older.due = younger.due.min(older.expires_at);
    older.armed = younger.armed;
    older.deferred = younger.deferred;
    if flow.instance == InstanceKey::Customer {
        let mut newest = younger.about;
        for old in std::mem::take(&mut older.about) {
            if newest.iter().all(|new| new.product_id != old.product_id) {
                newest.push(old);
            }
        }
        newest.truncate(limits::ABOUT);
        older.about = newest;
    }
}
