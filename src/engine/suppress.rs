//! Suppressions and releases: what a purchase, its reversal or a block tells every channel at once (product.md §5).

use super::gate::{self, Wish};
use super::turn::{Name, Turn};
use crate::decision::{DecisionId, Message, Reason, Scope, Suppress, VerdictKind, Why};
use crate::event::{Body, Event, Order, OrderStatus, Product, Refund};
use crate::flow::Class;
use crate::profile::fold::Folded;
use crate::profile::running::{About, Instance};
use crate::profile::{Block, BlockOn, Cart, Carts, Contact, Item, OrderNews, Supply, limits};
use crate::value::{ProfileKey, Span, Timestamp};

/// A suppression about to begin.
#[derive(Clone, Debug)]
pub(super) struct NewBlock {
    pub(super) reason: Reason,
    pub(super) channels: Vec<String>,
    pub(super) scopes: Vec<Scope>,
    pub(super) until: Option<Timestamp>,
    pub(super) order_id: Option<String>,
    pub(super) list: Option<String>,
    /// The suppression of which this is what remains.
    pub(super) rest_of: Option<DecisionId>,
}

/// Products (and their groups) as scopes, bounded.
fn product_scopes(products: &[Product]) -> Vec<Scope> {
    let mut scopes: Vec<Scope> = Vec::new();
    let mut bytes = 0;
    for product in products {
        for id in std::iter::once(&product.product_id).chain(&product.group_id) {
            let scope = Scope::Product(id.clone());
            let fits = scopes.len() < limits::SCOPES && bytes + id.len() <= limits::SCOPE_BYTES;
            if fits && !scopes.contains(&scope) {
                bytes += id.len();
                scopes.push(scope);
            }
        }
    }
    scopes
}

impl Turn<'_> {
    /// Every channel that a record can go to.
    pub(super) fn all_channels(&self) -> Vec<String> {
        self.plan
            .policy
            .channels
            .keys()
            .map(ToString::to_string)
            .collect()
    }

    /// The products of the order that an event tells anew, as they were known before it.
    pub(super) fn lines_of(&self, event: &Event) -> Option<Vec<String>> {
        let Body::Order(order) = &event.body else {
            return None;
        };
        let known = self.profile.orders.get(&order.order_id)?;
        let lines = known.lines.iter();
        Some(lines.map(|line| line.product_id.clone()).collect())
    }

    /// An order of effective time `at` closed carts: what their instances speak of is what was in them by then.
    pub(super) fn remember_carts(&mut self, before: &[Cart], order: &Order, at: Timestamp) {
        for instance in &mut self.profile.running.instances {
            let cart_id = instance.cart_id.as_deref();
            let cart = before
                .iter()
                .find(|cart| Some(cart.cart_id.as_str()) == cart_id);
            let Some(cart) = cart.filter(|cart| Carts::is_bought_by(cart, order)) else {
                continue;
            };
            let is_bought = |line: &&Item| {
                let mut bought = order.products.iter();
                bought.any(|product| {
                    line.same_product(&product.product_id, product.group_id.as_deref())
                })
            };
            let is_new = |line: &&Item| {
                let mut about = instance.about.iter();
                about.all(|about| about.product_id != line.product_id)
            };
            let lines = cart.items().filter(|line| line.at <= at);
            let mut lines: Vec<&Item> = lines.filter(is_new).collect();
            // Those first that are still to be had: there is not room for all.
            lines.sort_by_key(is_bought);
            let lines = lines.into_iter().map(|line| About {
                product_id: line.product_id.clone(),
                group_id: line.group_id.clone(),
                category: line.category.clone(),
            });
            let lines: Vec<About> = lines.collect();
            instance.about.extend(lines);
            instance.about.truncate(limits::ABOUT);
        }
    }

    /// A purchase: the pause of marketing, and what was bought is not promoted. `told_before`: of an order that was known its products until
    /// now; those that came to it since are bought as well.
    pub(super) fn suppress_after_purchase(
        &mut self,
        event: &Event,
        order: &Order,
        folded: &Folded,
        told_before: Option<&[String]>,
    ) {
        match (folded.order, told_before) {
            (Some(OrderNews::New), _) => {
                let cooloff = self.plan.policy.purchase_cooloff;
                if cooloff != Span::ZERO {
                    let until = event.effective_time.plus(cooloff);
                    let scopes = vec![Scope::Class(Class::Marketing)];
                    self.suppress_purchase(event, order, Reason::PurchaseCooloff, scopes, until);
                }
                self.suppress_bought(event, order, &order.products);
            }
            (Some(OrderNews::Update), Some(told_before)) => {
                let now_known = self.lines_of(event).unwrap_or_default();
                let is_added = |product: &&Product| {
                    now_known.contains(&product.product_id)
                        && !told_before.contains(&product.product_id)
                };
                let added = order.products.iter().filter(is_added).cloned();
                let added: Vec<Product> = added.collect();
                if added.is_empty() {
                    return;
                }
                self.suppress_bought(event, order, &added);
            }
            (Some(OrderNews::Update | OrderNews::AlreadyCancelled) | None, _) => return,
        }
        self.recall_suppressed();
    }

    /// What was bought is not promoted.
    fn suppress_bought(&mut self, event: &Event, order: &Order, products: &[Product]) {
        let policy = &self.plan.policy;
        let at = event.effective_time;
        if policy.bought_product == Span::ZERO {
            return;
        }
        // A product whose use is known may be promoted again shortly before it is used up; the others all together.
        let mut together: Vec<Product> = Vec::new();
        let mut alone: Vec<(&Product, Timestamp)> = Vec::new();
        for product in products {
            let is_known =
                |(known, _): &(&Product, Timestamp)| known.product_id == product.product_id;
            if alone.iter().any(is_known) {
                continue;
            }
            let norms = &policy.norms.consumption;
            let supply = Supply::of(&self.profile.orders, &product.product_id, norms);
            match supply.filter(|_| alone.len() < limits::SUPPLY_BLOCKS) {
                Some(supply) => alone.push((product, supply.depletion.minus(norms.lead))),
                None => together.push(product.clone()),
            }
        }
        let alone: Vec<(Vec<Scope>, Timestamp)> = alone
            .into_iter()
            .map(|(product, until)| (product_scopes(std::slice::from_ref(product)), until))
            .collect();
        // What earlier orders said when their use was not known yet would outlast the time at which they are wanted again.
        let longer = |block: &Block| {
            let outlasts = |(scopes, until): &(Vec<Scope>, Timestamp)| {
                block.until.is_some_and(|known| known > *until)
                    && block.scopes.iter().any(|scope| scopes.contains(scope))
            };
            block.reason == Reason::PurchasedRelevant && alone.iter().any(outlasts)
        };
        let gone: Vec<Scope> = alone
            .iter()
            .flat_map(|(scopes, _)| scopes)
            .cloned()
            .collect();
        if !alone.is_empty() {
            self.release_scopes(event, &gone, Reason::PurchasedRelevant, longer);
        }
        for (scopes, until) in alone {
            self.suppress_purchase(event, order, Reason::PurchasedRelevant, scopes, until);
        }
        let until = at.plus(policy.bought_product);
        let mut scopes = product_scopes(&together);
        scopes.retain(|scope| !gone.contains(scope));
        self.suppress_purchase(event, order, Reason::PurchasedRelevant, scopes, until);
    }

    /// Retracts what was handed over, has not left, and would not pass the gate's check of suppressions any more; an instance that it was of
    /// ends, as it would at the gate.
    fn recall_suppressed(&mut self) {
        let mut pending: Vec<(Timestamp, DecisionId, Reason)> = self
            .profile
            .contacts
            .iter()
            .filter(|contact| contact.is_pending() && contact.class != Class::Transactional)
            .filter_map(|contact| {
                let reason = self.suppressed(contact)?;
                Some((contact.handed_at, contact.id, reason))
            })
            .collect();
        pending.sort_unstable_by_key(|(at, id, _)| (*at, *id));
        for (_, id, reason) in pending {
            let of = |instance: &Instance| instance.handed.iter().any(|h| h.decision == id);
            let index = self.profile.running.instances.iter().position(of);
            let running = index.and_then(|index| {
                let flow = self.flow_of(self.profile.running.instances.get(index)?)?;
                Some((index, flow))
            });
            match running {
                Some((index, flow)) => self.end_instance(index, &flow, reason, None),
                None => {
                    self.recall(id, reason);
                }
            }
        }
    }

    /// Why purchases leave nothing to say of what a contact said.
    fn suppressed(&self, contact: &Contact) -> Option<Reason> {
        let channel = self.plan.policy.channels.get(contact.channel.as_str())?;
        let running = contact
            .flow
            .as_deref()
            .and_then(|flow| self.profile.running.find(flow, &contact.instance))
            .and_then(|index| self.profile.running.instances.get(index));
        let flow = match (running, contact.flow.as_deref()) {
            (Some(instance), _) => self.flow_of(instance),
            (None, Some(name)) => self.plan.flows.current().get(name).cloned(),
            (None, None) => None,
        };
        let products = running.map_or_else(Vec::new, |instance| self.products_of(instance));
        let wish = Wish {
            channel,
            class: contact.class,
            list: contact.list.as_deref(),
            template: &contact.template,
            offer: None,
            flow: flow.as_deref(),
            instance: &contact.instance,
            products: &products,
        };
        gate::suppressed(self.plan, self.ledger, self.profile, &wish, self.now)
    }

    /// One suppression that an order causes, on every channel.
    fn suppress_purchase(
        &mut self,
        event: &Event,
        order: &Order,
        reason: Reason,
        scopes: Vec<Scope>,
        until: Timestamp,
    ) {
        // An order of last month (a nightly batch, a backfill) has nothing left to suppress.
        if until <= self.now || scopes.is_empty() {
            return;
        }
        let block = NewBlock {
            reason,
            channels: self.all_channels(),
            scopes,
            until: Some(until),
            order_id: Some(order.order_id.clone()),
            list: None,
            rest_of: None,
        };
        self.begin_block(event, block);
    }

    /// Begins a suppression: one `suppress` per channel, one block in the profile.
    pub(super) fn begin_block(&mut self, event: &Event, new: NewBlock) {
        let birth = self.birth(event);
        // An order may suppress several products for different times: the first one tells these apart.
        let product = new.scopes.iter().find_map(|scope| match scope {
            Scope::Product(id) => Some(id.as_str()),
            Scope::All
            | Scope::Class(_)
            | Scope::Flow(_)
            | Scope::Offer(_)
            | Scope::Category(_)
            | Scope::List(_) => None,
        });
        let rest_of = new.rest_of.map(|id| id.to_string());
        let target = format!(
            "{}:{}:{}:{}:{}",
            new.reason.name(),
            new.order_id.as_deref().unwrap_or_default(),
            new.list.as_deref().unwrap_or_default(),
            product.unwrap_or_default(),
            rest_of.unwrap_or_default()
        );
        let route = self.profile.key().as_str().to_owned();
        let mut block = Block {
            reason: new.reason,
            on: Vec::with_capacity(new.channels.len()),
            scopes: new.scopes,
            from: self.now,
            until: new.until,
            order_id: new.order_id,
            list: new.list,
            route,
        };
        for channel in new.channels {
            let decision = Name {
                birth: &birth,
                flow: "",
                step: 0,
                attempt: 0,
                kind: VerdictKind::Suppress,
                channel: &channel,
                target: &target,
            }
            .id();
            let mut verdict =
                self.verdict(VerdictKind::Suppress, decision, Why::Reason(new.reason));
            verdict.channel = Some(self.channel_name(&channel));
            verdict.message = Some(Message::Suppress(Suppress {
                scopes: block.scopes.clone(),
                from: block.from,
                until: block.until,
            }));
            self.verdicts.push(verdict);
            block.on.push(BlockOn { channel, decision });
        }
        if !block.on.is_empty() {
            self.profile.push_block(block, self.now);
        }
    }

    /// Ends a suppression on one channel early.
    pub(super) fn release(&mut self, event: &Event, block: &Block, on: &BlockOn, reason: Reason) {
        let birth = self.birth(event);
        let target = on.decision.to_string();
        let decision = Name {
            birth: &birth,
            flow: "",
            step: 0,
            attempt: 0,
            kind: VerdictKind::Release,
            channel: &on.channel,
            target: &target,
        }
        .id();
        let mut verdict = self.verdict(VerdictKind::Release, decision, Why::Reason(reason));
        verdict.route = ProfileKey::parse(&block.route);
        verdict.channel = Some(self.channel_name(&on.channel));
        verdict.target = Some(on.decision);
        verdict.message = Some(Message::Release {
            releases: on.decision,
        });
        self.verdicts.push(verdict);
    }

    /// A cancelled order: what it started ends.
    pub(super) fn release_cancelled(&mut self, event: &Event, status: &OrderStatus) {
        let of_order = |block: &Block| block.order_id.as_deref() == Some(&status.order_id);
        for block in self.profile.take_blocks(self.now, of_order) {
            for on in &block.on {
                self.release(event, &block, on, Reason::OrderCancelled);
            }
        }
    }

    /// A refund: its lines may be promoted again.
    pub(super) fn release_refunded(&mut self, event: &Event, refund: &Refund) {
        let back: Vec<Scope> = product_scopes(&refund.products);
        let concerns = |block: &Block| {
            block.reason == Reason::PurchasedRelevant
                && match &refund.order_id {
                    Some(order_id) => block.order_id.as_ref() == Some(order_id),
                    // Real feeds cannot always tell the order: then every order of these products.
                    None => block.scopes.iter().any(|scope| back.contains(scope)),
                }
                && (back.is_empty() || block.scopes.iter().any(|scope| back.contains(scope)))
        };
        self.release_scopes(event, &back, Reason::OrderRefunded, concerns);
    }

    /// Ends the suppressions that `concerns` names; what they covered beside `gone` is suppressed anew, because a release ends a whole
    /// `suppress`. Nothing in `gone`: all they covered.
    fn release_scopes(
        &mut self,
        event: &Event,
        gone: &[Scope],
        reason: Reason,
        concerns: impl Fn(&Block) -> bool,
    ) {
        for block in self.profile.take_blocks(self.now, concerns) {
            for on in &block.on {
                self.release(event, &block, on, reason);
            }
            let mut scopes = block.scopes;
            scopes.retain(|scope| !gone.contains(scope));
            if gone.is_empty() || scopes.is_empty() {
                continue;
            }
            let rest_of = block.on.first().map(|on| on.decision);
            let channels = block.on.into_iter().map(|on| on.channel).collect();
            let rest = NewBlock {
                reason: block.reason,
                channels,
                scopes,
                until: block.until,
                order_id: block.order_id,
                list: None,
                rest_of,
            };
            self.begin_block(event, rest);
        }
    }

    /// Retracts every unsent contact that `which` names; a running instance whose current contact it was goes on with its next step.
    pub(super) fn recall_all(&mut self, reason: Reason, which: impl Fn(&Contact) -> bool) {
        let mut pending: Vec<(Timestamp, DecisionId)> = self
            .profile
            .contacts
            .iter()
            .filter(|contact| contact.is_pending() && which(contact))
            .map(|contact| (contact.handed_at, contact.id))
            .collect();
        pending.sort_unstable();
        for (_, id) in pending {
            if self.recall(id, reason) {
                self.step_failed(id);
            }
        }
    }
}
