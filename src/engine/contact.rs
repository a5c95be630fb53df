//! From the gate to the sender: hand a step over, observe it, defer it, pass over it, or end.

use serde_json::{Map, Value, json};

use super::advance::step_of;
use super::calendar::{next_quiet, zone};
use super::gate::{Ruling, Wish, examine};
use super::turn::{Name, Turn, place_at};
use crate::decision::{
    Address, Check, DecisionId, Message, Offer, Reason, Trigger, Verdict, VerdictKind, Why,
};
use crate::flow::{Class, Flow, InstanceKey, OfferTemplate, OnCap, Step};
use crate::policy::{Channel, Policy};
use crate::profile::running::{Instance, Phase};
use crate::profile::{Contact, Item, OrderRecord, Profile};
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
        let plan = self.plan;
        while let Some(instance) = self.profile.running.instances.get(index).cloned() {
            let Some(step) = step_of(flow, instance.step) else {
                self.profile.running.instances.remove(index);
                return;
            };
            let cart = instance.cart_id.as_deref();
            if !self.holds(flow.enter.when.as_ref(), None, cart) {
                let reason = self.entry_lost(&instance, flow);
                self.skip(&instance, flow, reason, None, vec![when(false)]);
                self.profile.running.instances.remove(index);
                return;
            }
            let (ruling, checks) = match plan.policy.channels.get(&step.channel) {
                _ if !self.holds(step.when.as_ref(), None, cart) => {
                    (Ruling::PassOver(Reason::ExitEvent), vec![when(false)])
                }
                None => (Ruling::PassOver(Reason::ChannelStopped), Vec::new()),
                Some(channel) => {
                    let offer = flow
                        .offer
                        .as_ref()
                        .map(|offer| self.offer(offer, &instance));
                    let products = self.products_of(&instance);
                    let wish = flow_wish(
                        channel,
                        flow,
                        step,
                        &instance.key,
                        offer.as_ref(),
                        &products,
                    );
                    let (ruling, checks) = examine(plan, self.profile, &wish, self.now);
                    match self.after_caps(ruling, step, &wish, flow.priority) {
                        Ruling::Pass => {
                            return self.hand_step(index, &instance, flow, wish, None, checks);
                        }
                        Ruling::Observe(reason) => {
                            return self.hand_step(
                                index,
                                &instance,
                                flow,
                                wish,
                                Some(reason),
                                checks,
                            );
                        }
                        ruling => (ruling, checks),
                    }
                }
            };
            match ruling {
                Ruling::Capped(until, reason) | Ruling::Defer(until, reason) => {
                    return self.defer(index, flow, step, until, reason, checks);
                }
                Ruling::PassOver(reason) => {
                    self.skip(&instance, flow, reason, Some(&step.channel), checks);
                    if let Some(instance) = self.profile.running.instances.get_mut(index) {
                        instance.step += 1;
                        instance.attempt = 0;
                    }
                }
                Ruling::End(reason) => {
                    self.skip(&instance, flow, reason, Some(&step.channel), checks);
                    self.profile.running.instances.remove(index);
                    return;
                }
                Ruling::Pass | Ruling::Observe(_) => return,
            }
        }
    }

    /// What a full cap means for this step: wait, give up, or take the place of a lower priority that has not left.
    fn after_caps(
        &mut self,
        ruling: Ruling,
        step: &Step,
        wish: &Wish<'_>,
        priority: u32,
    ) -> Ruling {
        let Ruling::Capped(until, reason) = ruling else {
            return ruling;
        };
        match step.on_cap {
            OnCap::Defer => Ruling::Defer(until, reason),
            OnCap::Drop => Ruling::End(reason),
            OnCap::Replace => {
                let victim = self
                    .profile
                    .contacts
                    .iter()
                    .filter(|contact| {
                        contact.is_pending()
                            && contact.class == Class::Marketing
                            && contact.priority < priority
                            && contact.channel == *wish.channel.name
                    })
                    .min_by_key(|contact| (contact.priority, contact.handed_at, contact.id))
                    .map(|contact| contact.id);
                let Some(victim) = victim else {
                    return Ruling::Defer(until, reason);
                };
                // Only when its slot is what was missing: tried on a copy, so that nothing is retracted in vain.
                let mut tried = self.profile.clone();
                if let Some(contact) = tried.contacts.get_mut(victim) {
                    contact.recalled = true;
                    contact.freed = true;
                }
                let (ruling, _) = examine(self.plan, &tried, wish, self.now);
                if !matches!(ruling, Ruling::Pass | Ruling::Observe(_)) {
                    return Ruling::Defer(until, reason);
                }
                if self.recall(victim, Reason::LowerPriority) {
                    if let Some(contact) = self.profile.contacts.get_mut(victim) {
                        contact.freed = true;
                    }
                }
                ruling
            }
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

    fn offer(&self, template: &OfferTemplate, instance: &Instance) -> Offer {
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
    fn products_of(&self, instance: &Instance) -> Vec<String> {
        let cart = instance
            .cart_id
            .as_deref()
            .and_then(|id| self.profile.carts.get(id));
        let lines = cart
            .into_iter()
            .flat_map(|cart| cart.items().map(|line| line.product_id.clone()));
        let about = instance.about.iter().map(|about| about.product_id.clone());
        lines.chain(about).collect()
    }

    fn defer(
        &mut self,
        index: usize,
        flow: &Flow,
        step: &Step,
        until: Timestamp,
        reason: Reason,
        checks: Vec<Check>,
    ) {
        let Some(instance) = self.profile.running.instances.get_mut(index) else {
            return;
        };
        let id = Name {
            birth: &instance.birth,
            flow: &instance.flow,
            step: instance.step + 1,
            attempt: instance.passes,
            kind: VerdictKind::Defer,
            channel: &step.channel,
            target: &instance.key,
        }
        .id();
        instance.phase = Phase::Waiting;
        instance.passes += 1;
        instance.due = until.min(instance.expires_at);
        let place = place_at(flow, &instance.key, instance.step + 1);
        let mut verdict = self.verdict(VerdictKind::Defer, id, Why::Reason(reason));
        verdict.place = Some(place);
        verdict.channel = Some(std::sync::Arc::clone(&step.channel));
        verdict.until = Some(until);
        verdict.checks = checks;
        self.verdicts.push(verdict);
    }

    fn hand_step(
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
            channel: &step.channel,
            target: &instance.key,
        }
        .id();
        self.hand_over(Handover {
            context: context(
                self.profile,
                wish.channel,
                &self.plan.policy,
                Some(instance),
            ),
            decision,
            why: observed.map_or_else(
                || Why::Flow(std::sync::Arc::clone(&flow.reason)),
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
        self.wait_for_success(index, decision, step);
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
        self.profile.contacts.push(Contact {
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
            freed: false,
            recalled: false,
            accepted_at: None,
            sent_at: None,
            delivered_at: None,
            opened_at: None,
            clicked_at: None,
            failed_at: None,
            route: self.profile.key().as_str().to_owned(),
            send_by,
        });
    }

    /// The latest moment to send: where quiet hours begin, and never after the whole is worth nothing.
    fn send_by(&self, channel: &Channel, class: Class, expires_at: Timestamp) -> Timestamp {
        let quiet = channel
            .quiet_hours
            .filter(|_| class != Class::Transactional)
            .and_then(|quiet| {
                let policy = &self.plan.policy;
                let zone = zone(self.profile.person.time_zone(), &policy.time_zone);
                next_quiet(self.now, quiet, &zone)
            });
        quiet.map_or(expires_at, |quiet| quiet.min(expires_at))
    }
}

fn when(passed: bool) -> Check {
    Check {
        name: "when",
        passed,
        detail: String::new(),
    }
}

fn flow_wish<'a>(
    channel: &'a Channel,
    flow: &'a Flow,
    step: &'a Step,
    instance: &'a str,
    offer: Option<&'a Offer>,
    products: &'a [String],
) -> Wish<'a> {
    Wish {
        channel,
        class: flow.class,
        list: flow.list.as_deref(),
        template: &step.template,
        offer,
        flow: Some(flow),
        instance,
        products,
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

/// What a sender needs to render, as far as the channel exposes it.
pub(super) fn context(
    profile: &Profile,
    channel: &Channel,
    policy: &Policy,
    instance: Option<&Instance>,
) -> Map<String, Value> {
    let mut context = Map::new();
    for part in &channel.expose {
        let value = match &**part {
            "cart" => {
                let id = instance.and_then(|instance| instance.cart_id.as_deref());
                id.and_then(|id| profile.carts.get(id)).map(|cart| {
                    json!({
                        "cart_id": cart.cart_id,
                        "value": cart.value().decimal(policy.currency_digits),
                        "currency": policy.currency,
                        "items": cart.count(),
                        "updated_at": cart.updated,
                    })
                })
            }
            "products" => instance.map(|instance| products(profile, instance, policy)),
            "last_order" => profile.orders.last().map(|order| last_order(order, policy)),
            "profile" => Some(json!({
                "locale": profile.person.locale(),
                "time_zone": profile.person.time_zone(),
                "country": profile.person.country(),
            })),
            _ => None,
        };
        if let Some(value) = value {
            context.insert(part.to_string(), value);
        }
    }
    context
}

fn item(item: &Item, policy: &Policy) -> Value {
    json!({
        "product_id": item.product_id,
        "sku": item.sku,
        "group_id": item.group_id,
        "name": item.name,
        "category": item.category,
        "brand": item.brand,
        "quantity": item.count(),
        "price": item.price.map(|price| price.decimal(policy.currency_digits)),
    })
}

fn products(profile: &Profile, instance: &Instance, policy: &Policy) -> Value {
    let cart = instance
        .cart_id
        .as_deref()
        .and_then(|id| profile.carts.get(id));
    let order = instance
        .order_id
        .as_deref()
        .and_then(|id| profile.orders.get(id));
    let lines = cart
        .into_iter()
        .flat_map(|cart| cart.items())
        .chain(order.into_iter().flat_map(|order| &order.lines));
    let mut products: Vec<Value> = lines.map(|line| item(line, policy)).collect();
    if products.is_empty() {
        products.extend(instance.about.iter().map(|about| {
            json!({
                "product_id": about.product_id,
                "group_id": about.group_id,
                "category": about.category,
            })
        }));
    }
    Value::Array(products)
}

fn last_order(order: &OrderRecord, policy: &Policy) -> Value {
    json!({
        "order_id": order.order_id,
        "placed_at": order.placed_at,
        "total": order.total.map(|total| total.decimal(policy.currency_digits)),
        "currency": policy.currency,
        "state": order.state.name(),
        "products": order.lines.iter().map(|line| item(line, policy)).collect::<Vec<_>>(),
    })
}
