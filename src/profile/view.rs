//! The whole profile as JSON, for `state get` and `replay --profiles`: the same profile gives the same text, keys sorted.

use std::cmp::Reverse;

use serde_json::{Map, Value, json};

use super::carts::Item;
use super::person::{Known, TraitValue};
use super::{Block, Contact, OrderRecord, Profile};
use crate::decision::Scope;
use crate::event::Consent;
use crate::profile::running::{DueTimer, Instance, Phase};
use crate::value::Timestamp;

fn known<T: serde::Serialize>(known: Option<&Known<T>>) -> Value {
    known.map_or(Value::Null, |known| json!(known.value))
}

const fn consent(state: Consent) -> &'static str {
    match state {
        Consent::Unknown => "unknown",
        Consent::Pending => "pending",
        Consent::Granted => "granted",
        Consent::Denied => "denied",
    }
}

fn item(item: &Item) -> Value {
    json!({
        "product_id": item.product_id, "group_id": item.group_id, "sku": item.sku, "category": item.category,
        "quantity": item.quantity, "price_minor": item.price.map(crate::value::Money::minor), "at": item.at,
    })
}

fn order(order: &OrderRecord) -> Value {
    json!({
        "order_id": order.order_id, "cart_id": order.cart_id, "placed_at": order.placed_at, "state": order.state.name(),
        "total_minor": order.total.map(crate::value::Money::minor), "refunded_minor": order.refunded.minor(),
        "line_count": order.line_count, "lines": order.lines.iter().map(item).collect::<Vec<_>>(),
        "recurring": order.recurring, "offline": order.offline, "seller": order.seller,
    })
}

fn instance(instance: &Instance) -> Value {
    json!({
        "flow": instance.flow, "version": instance.version, "instance": instance.key, "born_at": instance.born_at,
        "touched_at": instance.touched_at, "expires_at": instance.expires_at, "due": instance.due, "step": instance.step + 1,
        "attempt": instance.attempt, "passes": instance.passes,
        "phase": match instance.phase { Phase::Waiting => "waiting", Phase::Handed => "handed" },
        "handed": instance.handed.iter().map(|handed| handed.decision.to_string()).collect::<Vec<_>>(),
    })
}

fn contact(contact: &Contact) -> Value {
    json!({
        "decision_id": contact.id.to_string(), "flow": contact.flow, "instance": contact.instance, "step": contact.step,
        "channel": contact.channel, "class": contact.class.name(), "template": contact.template, "offer": contact.offer,
        "handed_at": contact.handed_at, "send_by": contact.send_by, "expires_at": contact.expires_at, "status": contact.status(),
        "observed": contact.observed, "slot": contact.holds_slot(), "sent_at": contact.sent_at, "opened_at": contact.opened_at,
        "clicked_at": contact.clicked_at, "failed_at": contact.failed_at,
    })
}

fn scope(scope: &Scope) -> Value {
    match scope {
        Scope::All => json!("all"),
        Scope::Class(class) => json!({ "class": class.name() }),
        Scope::Flow(flow) => json!({ "flow": flow }),
        Scope::Offer(offer) => json!({ "offer": offer }),
        Scope::Product(product) => json!({ "product": product }),
        Scope::Category(category) => json!({ "category": category }),
        Scope::List(list) => json!({ "list": list }),
    }
}

fn block(block: &Block) -> Value {
    json!({
        "reason": block.reason.name(), "from": block.from, "until": block.until, "order_id": block.order_id, "list": block.list,
        "scopes": block.scopes.iter().map(scope).collect::<Vec<_>>(),
        "on": block.on.iter().map(|on| json!({ "channel": on.channel, "decision_id": on.decision.to_string() })).collect::<Vec<_>>(),
    })
}

impl Profile {
    /// Everything that is held of this customer, addresses and traits included: for the operator's eyes, never for a log.
    #[must_use]
    pub fn view(&self) -> Value {
        let mut contacts: Vec<&Contact> = self.contacts.iter().collect();
        contacts.sort_by_key(|contact| (contact.handed_at, contact.id));
        let mut orders: Vec<&OrderRecord> = self.orders.recent().collect();
        orders.sort_by(|a, b| (a.placed_at, &a.order_id).cmp(&(b.placed_at, &b.order_id)));
        json!({
            "profile": self.key.as_str(),
            "person": self.person_view(),
            "reach": self.reach_view(),
            "activity": {
                "events": self.activity.events, "views": self.activity.views, "last_seen": self.activity.last_seen,
                "last_visit": self.activity.last_visit, "last_view": self.activity.last_view, "last_cart": self.activity.last_cart,
                "last_checkout": self.activity.last_checkout, "last_engaged": self.activity.last_engaged,
            },
            "journal": {
                "dedup_keys": self.journal.key_count(),
                "views": self.journal.views().iter().map(|view| json!({ "product_id": view.product_id, "at": view.at })).collect::<Vec<_>>(),
            },
            "carts": self.carts.open.iter().map(|cart| json!({
                "cart_id": cart.cart_id, "created": cart.created, "updated": cart.updated, "checkout_at": cart.checkout_at,
                "value_minor": cart.value().minor(), "lines": cart.lines.iter().map(item).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "closed_carts": self.carts.closed.iter().map(|cart| json!({ "cart_id": cart.cart_id, "at": cart.at })).collect::<Vec<_>>(),
            "orders": self.orders_view(),
            "recent_orders": orders.into_iter().map(order).collect::<Vec<_>>(),
            "running": self.running.instances.iter().map(instance).collect::<Vec<_>>(),
            "watches": self.running.watches.iter().map(|watch| json!({
                "flow": watch.flow, "instance": watch.key, "due": watch.due, "past": watch.past,
            })).collect::<Vec<_>>(),
            "requests": self.running.requests.iter().map(|request| json!({
                "request_id": request.request_id, "campaign": request.campaign, "due": request.due, "expires_at": request.expires_at,
            })).collect::<Vec<_>>(),
            "contacts": contacts.into_iter().map(contact).collect::<Vec<_>>(),
            "blocks": self.blocks.blocks.iter().map(block).collect::<Vec<_>>(),
            "scores": self.scores.entries.iter().map(|score| json!({
                "model": score.model, "horizon": score.horizon, "value_millionths": score.value, "at": score.at, "valid_until": score.valid_until,
            })).collect::<Vec<_>>(),
            "service": {
                "tickets": self.service.tickets.len(), "open_tickets": self.service.open_tickets(), "last_opened": self.service.last_opened,
                "last_resolved": self.service.last_resolved, "feedback": known(self.service.feedback.as_ref()),
            },
            "links": self.links_view(),
            "history": self.history.triggers.iter().map(|last| json!({
                "flow": last.flow, "instance": last.key, "at": last.at,
            })).collect::<Vec<_>>(),
        })
    }

    fn links_view(&self) -> Value {
        let links = &self.links;
        let alias = links.alias.as_ref().map(|alias| {
            json!({ "into": alias.into, "since": alias.login.at, "until": self.running.alias_until })
        });
        json!({
            "alias": alias, "devices": links.visitors.len(), "logins": links.customers.len(), "shared": links.shared,
        })
    }

    /// What a support desk asks first: what is forbidden at `now`, what runs, what comes next, what was said last; then everything.
    #[must_use]
    pub fn summary(&self, now: Timestamp) -> Value {
        let mut next: Vec<(Timestamp, Value)> = self
            .running
            .timers()
            .map(|(due, timer)| (due, self.timer_view(due, timer)))
            .collect();
        next.sort_by_key(|(due, _)| *due);
        let mut contacts: Vec<&Contact> = self.contacts.iter().collect();
        contacts.sort_by_key(|contact| Reverse((contact.handed_at, contact.id)));
        json!({
            "profile_key": self.key.as_str(),
            "at": now,
            "suppressions": self.blocks(now).map(block).collect::<Vec<_>>(),
            "flows": self.running.instances.iter().map(instance).collect::<Vec<_>>(),
            "next_timers": next.into_iter().map(|(_, timer)| timer).collect::<Vec<_>>(),
            "last_decisions": contacts.into_iter().map(contact).collect::<Vec<_>>(),
            "profile": self.view(),
        })
    }

    fn timer_view(&self, due: Timestamp, timer: DueTimer) -> Value {
        let running = &self.running;
        match timer {
            DueTimer::Instance(at) => running.instances.get(at).map_or(Value::Null, |instance| {
                json!({ "due": due, "flow": instance.flow, "instance": instance.key, "step": instance.step + 1 })
            }),
            DueTimer::Request(at) => running.requests.get(at).map_or(Value::Null, |request| {
                json!({ "due": due, "request_id": request.request_id, "campaign": request.campaign })
            }),
            DueTimer::Watch(at) => running.watches.get(at).map_or(Value::Null, |watch| {
                json!({ "due": due, "enters": watch.flow, "instance": watch.key })
            }),
            DueTimer::Alias => json!({ "due": due, "forgets": "alias" }),
        }
    }

    fn person_view(&self) -> Value {
        let person = &self.person;
        let traits: Map<String, Value> = person
            .traits
            .iter()
            .map(|entry| {
                let value = match &entry.value {
                    TraitValue::Bool(value) => json!(value),
                    TraitValue::Number(thousandths) => json!({ "thousandths": thousandths }),
                    TraitValue::Text(text) => json!(text),
                };
                (entry.name.clone(), value)
            })
            .collect();
        json!({
            "first_seen": person.first_seen, "bucket": person.bucket, "locale": known(person.locale.as_ref()),
            "time_zone": known(person.time_zone.as_ref()), "country": known(person.country.as_ref()), "vip": known(person.vip.as_ref()),
            "traits": traits, "test": person.test, "contaminated": person.contaminated, "signed_up": person.signed_up,
            "anonymous_id": known(person.anonymous_id.as_ref()),
        })
    }

    fn reach_view(&self) -> Value {
        let addresses = self.reach.addresses.iter().map(|known| {
            json!({
                "channel": known.channel, "address": known.address, "since": known.since, "gone": known.gone,
                "hard_bounced": known.hard_bounced, "complained": known.complained, "soft_bounces": known.soft_bounces,
            })
        });
        let consents = self.reach.consents.iter().map(|entry| {
            json!({
                "channel": entry.channel, "list": entry.list, "state": consent(entry.state), "at": entry.at, "source": entry.system,
            })
        });
        json!({
            "addresses": addresses.collect::<Vec<_>>(), "consents": consents.collect::<Vec<_>>(), "manual_block": self.reach.manual_block,
        })
    }

    fn orders_view(&self) -> Value {
        let totals = self.orders.totals();
        json!({
            "orders": totals.orders, "money_minor": totals.money.minor(), "refunds": totals.refunds,
            "refunded_minor": totals.refunded.minor(), "cancelled": totals.cancelled,
            "cancelled_money_minor": totals.cancelled_money.minor(), "own": totals.own, "first_at": totals.first_at, "last_at": totals.last_at,
            "last_refund_at": totals.last_refund_at,
        })
    }
}
