//! Who is who: logins, merges, aliases, addresses (product.md §4a, engine.md §6a).
//!
//! ```text
//!  c:7 reads {customer 7, visitor v} ──link──► a:v ──hand-over──► c:7        v is an alias of c:7 from then on:
//!  a:v reads {visitor v} ──event──► c:7                                       what still arrives for it is forwarded
//!  c:7 reads merged into 9 ──hand-over──► c:9                                 the same between two customers
//!  {address} ──event──► h:hash ──event──► every profile that holds it
//! ```
//! A customer who is known on a device tells it once a day, and remembers the last login there. Who loses the device to a login that is
//! earlier than that tells it again: each record carries a later login than the one before, so it ends, and with the latest of all.
//!
//! Aliases may form chains, and, when merges contradict each other, circles. A record remembers the aliases that passed it on; the one that
//! meets itself again has found a circle, whose oldest login is dissolved there: so the latest logins stand, and forwarding ends (ID-1).

use std::collections::BTreeSet;

use super::contact::address_id;
use super::forward::{Estate, Forward, Hop, Matter};
use super::turn::Turn;
use super::{Plan, StepCounts};
use crate::event::{Body, Event, EventType, Merge, Origin};
use crate::profile::links::{Alias, Follows, Login, alias_ends};
use crate::profile::reach::plain;
use crate::value::{ProfileKey, Timestamp};

/// Aliases one after the other that a record follows; where more follow, it is taken in.
const MOST_HOPS: usize = 64;

/// The list of those who hold an address: where an event goes that names nothing else.
#[must_use]
pub(super) fn address_key(plan: &Plan, channel: &str, address: &str) -> ProfileKey {
    let address: String = plain(address).collect();
    ProfileKey::address(&address_id(&plan.policy.address_key, channel, &address))
}

/// The profile that an event is for: the customer, else the visitor, else the list of those who hold the address that it names.
#[must_use]
pub fn profile_of(plan: &Plan, event: &Event) -> Option<ProfileKey> {
    event.profile_key().or_else(|| match &event.body {
        Body::Receipt(receipt) => {
            let address = receipt.address.as_deref()?;
            Some(address_key(plan, &receipt.channel, address))
        }
        Body::Browse(_)
        | Body::CartLine(_)
        | Body::CartSnapshot(_)
        | Body::Checkout(_)
        | Body::Order(_)
        | Body::OrderStatus(_)
        | Body::Refund(_)
        | Body::Identity(_)
        | Body::Consent(_)
        | Body::Ticket(_)
        | Body::Feedback(_)
        | Body::Score(_)
        | Body::Merge(_)
        | Body::Erasure
        | Body::SendRequest(_) => None,
    })
}

/// A login as the event that it was: what follows from it is named by it.
pub(super) fn event_of(login: &Login, into: &ProfileKey) -> Event {
    Event {
        id: login.event_id.clone(),
        kind: EventType::Merged,
        event_time: login.at,
        received_at: None,
        effective_time: login.at,
        customer_id: None,
        anonymous_id: None,
        source: login.source.clone(),
        schema_version: 1,
        test: false,
        unconverted: false,
        body: Body::Merge(Merge {
            into: into.id().to_owned(),
        }),
    }
}

/// The way that a record has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Way<'a> {
    pub(super) hops: &'a [Hop],
    pub(super) settle: bool,
}

impl Turn<'_> {
    /// Folds an event where its profile is, or sends it on.
    pub(super) fn take_event(
        &mut self,
        event: &Event,
        origin: &Origin,
        history: bool,
        way: Way<'_>,
    ) -> StepCounts {
        let matter = || Matter::Event {
            event: Box::new(event.clone()),
            origin: origin.clone(),
            history,
        };
        if self.profile.key().is_address() {
            return self.spread(event, matter);
        }
        if let Some(dropped) = self.drop_erased(event, origin, way.hops) {
            return dropped;
        }
        let is_passed = self.pass_on(way, matter);
        if is_passed {
            self.hear(event.effective_time);
        }
        if is_passed || self.turn_away(way.hops, origin, matter) {
            return StepCounts {
                forwarded: 1,
                ..StepCounts::default()
            };
        }
        if matches!(event.body, Body::Erasure) {
            self.erase(event, origin, way.hops);
            return StepCounts::default();
        }
        let counts = self.event(event, history);
        if counts.duplicates > 0 {
            return counts;
        }
        self.tell_visitor(event, origin);
        match &event.body {
            Body::Identity(_) => self.tell_addresses(),
            Body::Merge(merge) => self.merge(event, origin, merge),
            Body::Browse(_)
            | Body::CartLine(_)
            | Body::CartSnapshot(_)
            | Body::Checkout(_)
            | Body::Order(_)
            | Body::OrderStatus(_)
            | Body::Refund(_)
            | Body::Receipt(_)
            | Body::Consent(_)
            | Body::Ticket(_)
            | Body::Feedback(_)
            | Body::Score(_)
            | Body::Erasure
            | Body::SendRequest(_) => {}
        }
        counts
    }

    /// A record of `<app>-events`. `login`: what a link or hand-over is about, as an event.
    pub(super) fn take_forward(&mut self, forward: &Forward, login: Option<&Event>) -> StepCounts {
        let way = Way {
            hops: &forward.hops,
            settle: forward.settle,
        };
        let matter = || forward.matter.clone();
        match &forward.matter {
            Matter::Event {
                event,
                origin,
                history,
            } => return self.take_event(event, origin, *history, way),
            Matter::Link {
                customer,
                login,
                origin,
            } => self.follow(customer, login, origin),
            Matter::Unlink {
                visitor,
                now,
                login,
                origin,
            } => {
                if !self.pass_on(way, matter) {
                    self.lose(visitor, now.as_deref(), login, origin);
                }
            }
            Matter::Handover { from, estate, .. } => {
                // It was opened when it was decoded: it opens.
                if !self.pass_on(way, matter)
                    && let (Some(login), Ok(other)) = (login, estate.open(from))
                {
                    self.take_over(login, other, way.hops);
                }
            }
            Matter::Holds {
                profile,
                holds,
                armed,
            } => self.list(profile, *holds, armed),
            Matter::Erased { names, by, origin } => self.erase_alias(names, by, origin),
            Matter::Leaves { profile, bars } => self.unlist(profile.as_ref(), bars),
            Matter::Bars {
                address,
                bars,
                armed,
            } => {
                if !self.pass_on(way, matter) {
                    self.heed(address, bars, armed);
                }
            }
        }
        StepCounts::default()
    }

    /// An event that names an address only: to everybody who holds it.
    fn spread(&mut self, event: &Event, matter: impl Fn() -> Matter) -> StepCounts {
        let holders = &self.profile.links.holders;
        let known = holders.iter().filter_map(|key| ProfileKey::parse(key));
        let before = self.forwards.len();
        self.forwards
            .extend(known.map(|holder| Forward::new(holder, matter())));
        let reached = u32::from(self.forwards.len() > before);
        self.bar(event);
        StepCounts {
            forwarded: reached,
            unattributed: 1 - reached,
            ..StepCounts::default()
        }
    }

    /// Sends on what arrived for an alias. Gives whether it did; what it did not send on is to be taken in here.
    pub(super) fn pass_on(&mut self, way: Way<'_>, matter: impl FnOnce() -> Matter) -> bool {
        let Some(alias) = self.profile.links.alias.clone() else {
            return false;
        };
        let own = Hop {
            profile: self.profile.key().as_str().to_owned(),
            login: alias.login,
        };
        let Some(into) = ProfileKey::parse(&alias.into) else {
            return false;
        };
        if way.settle && way.hops.last() == Some(&own) {
            self.dissolve();
            return false;
        }
        // Sent here to settle, but the alias is another one by now: the circle is no more.
        let hops = if way.settle { &[] } else { way.hops };
        let circle = hops.iter().position(|hop| hop.profile == alias.into);
        let weakest = circle
            .and_then(|from| hops.get(from..))
            .and_then(|circle| circle.iter().min_by_key(|hop| (&hop.login, &hop.profile)));
        let mut forward = Forward::new(into, matter());
        match weakest {
            Some(weakest) if (&weakest.login, &weakest.profile) < (&own.login, &own.profile) => {
                let Some(to) = ProfileKey::parse(&weakest.profile) else {
                    return false;
                };
                forward.to = to;
                let others = hops.iter().chain([&own]).filter(|hop| *hop != weakest);
                forward.hops = others.chain([weakest]).cloned().collect();
                forward.settle = true;
            }
            Some(_) => {
                self.dissolve();
                return false;
            }
            None if hops.len() >= MOST_HOPS => {
                self.dissolve();
                return false;
            }
            None => {
                forward.hops = hops.to_vec();
                forward.hops.push(own);
            }
        }
        self.forwards.push(forward);
        true
    }

    /// An alias is none any more.
    fn dissolve(&mut self) {
        self.profile.links.alias = None;
        if self.profile.running.alias_until.is_some() {
            self.profile.running.alias_until = None;
        }
    }

    /// Something was heard of an anonymous alias: it lives on.
    fn hear(&mut self, at: Timestamp) {
        let until = Some(alias_ends(at));
        let is_visitor = self.profile.key().anonymous_id().is_some();
        if is_visitor && self.profile.running.alias_until < until {
            self.profile.running.alias_until = until;
        }
    }

    /// The end of an idle alias: nothing of it is left.
    pub(super) fn end_alias(&mut self) {
        self.profile.running.alias_until = None;
        let links = &mut self.profile.links;
        links.alias = None;
        links.customers.clear();
        links.shared = false;
    }

    /// A customer seen with a visitor's id: the visitor is told, the first time and once a day.
    fn tell_visitor(&mut self, event: &Event, origin: &Origin) {
        let (Some(_), Some(visitor)) = (&event.customer_id, &event.anonymous_id) else {
            return;
        };
        let is_customer = self.profile.key().customer_id().is_some();
        if is_customer && self.profile.log_in(visitor, Login::of(event)) {
            self.link(visitor, Login::of(event), origin);
        }
    }

    /// Tells a visitor of a login of this customer.
    fn link(&mut self, visitor: &str, login: Login, origin: &Origin) {
        let matter = Matter::Link {
            customer: self.profile.key().clone(),
            login,
            origin: origin.clone(),
        };
        self.forwards
            .push(Forward::new(ProfileKey::anonymous(visitor), matter));
    }

    /// Addresses that came or went: the lists of those who hold them are told.
    pub(super) fn tell_addresses(&mut self) {
        let reach = &self.profile.reach;
        let now: BTreeSet<String> = reach
            .addresses
            .iter()
            .filter(|known| !known.gone)
            .map(|known| {
                let key = address_key(self.plan, &known.channel, &known.address);
                key.id().to_owned()
            })
            .collect();
        let told = &self.profile.links.addresses;
        if now.iter().eq(told.iter()) {
            return;
        }
        let old: BTreeSet<String> = told.iter().cloned().collect();
        for hash in now.symmetric_difference(&old) {
            let matter = Matter::Holds {
                profile: self.profile.key().clone(),
                holds: now.contains(hash),
                armed: self.armed(),
            };
            self.forwards
                .push(Forward::new(ProfileKey::address(hash), matter));
        }
        self.profile.links.addresses = now.into_iter().collect();
    }

    /// `merged`: this profile goes up in a customer.
    fn merge(&mut self, event: &Event, origin: &Origin, merge: &Merge) {
        let into = ProfileKey::customer(&merge.into);
        if into == *self.profile.key() {
            return;
        }
        let login = Login::of(event);
        if self.profile.key().anonymous_id().is_some() {
            self.follow(&into, &login, origin);
            let alias = self.profile.links.alias.as_ref();
            if alias.is_some_and(|alias| alias.into == into.as_str()) {
                // Unlike one who logged in, this customer does not know of the visitor.
                self.tell_alias(into, login, origin);
            }
            return;
        }
        self.profile.links.alias = Some(Alias {
            into: into.as_str().to_owned(),
            login: login.clone(),
        });
        self.give(into, login, origin);
    }

    /// A customer logged in on this visitor's device.
    pub(super) fn follow(&mut self, customer: &ProfileKey, login: &Login, origin: &Origin) {
        let Some(visitor) = self.profile.key().anonymous_id().map(str::to_owned) else {
            return;
        };
        let unlink = |to: &str, now: Option<String>, login: &Login| {
            let matter = Matter::Unlink {
                visitor: visitor.clone(),
                now,
                login: login.clone(),
                origin: origin.clone(),
            };
            ProfileKey::parse(to).map(|to| Forward::new(to, matter))
        };
        if Some(login.at) <= self.profile.erased_until() {
            // Told late: this visitor was erased since, and the customer forgets the device.
            self.forwards.extend(unlink(customer.as_str(), None, login));
            return;
        }
        let told = match self.profile.links.follow(customer, login) {
            Follows::First => {
                self.give(customer.clone(), login.clone(), origin);
                None
            }
            Follows::Instead(before) => unlink(&before, Some(customer.as_str().to_owned()), login),
            Follows::TooLate => {
                let alias = self.profile.links.alias.as_ref();
                alias.and_then(|alias| {
                    unlink(customer.as_str(), Some(alias.into.clone()), &alias.login)
                })
            }
            Follows::Shared(Some(before)) => unlink(&before, None, login),
            Follows::Shared(None) | Follows::Same => None,
        };
        self.forwards.extend(told);
        self.hear(login.at);
    }

    /// Everything that this profile holds goes to `into`, in one record. Under its addresses it stays listed until whoever takes that in
    /// is: what names an address alone meanwhile is passed on behind it.
    fn give(&mut self, into: ProfileKey, login: Login, origin: &Origin) {
        let from = self.profile.key().clone();
        let estate = self.profile.take_estate();
        // A customer that held nothing is told of, too: whoever takes it in has to know its aliases.
        let is_told = from.customer_id().is_some() || !estate.is_vacant();
        if is_told || !estate.links.visitors.is_empty() || !estate.links.aliases.is_empty() {
            let matter = Matter::Handover {
                from,
                login,
                origin: origin.clone(),
                estate: Estate::of(estate),
            };
            self.forwards.push(Forward::new(into, matter));
        }
    }

    /// This visitor is an alias of `into`, which has nothing to take over.
    fn tell_alias(&mut self, into: ProfileKey, login: Login, origin: &Origin) {
        let is_handed = |forward: &Forward| matches!(forward.matter, Matter::Handover { .. });
        if !self.forwards.iter().any(is_handed) {
            let matter = Matter::Handover {
                from: self.profile.key().clone(),
                login,
                origin: origin.clone(),
                estate: Estate::default(),
            };
            self.forwards.push(Forward::new(into, matter));
        }
    }

    /// A device of this customer follows another login.
    fn lose(&mut self, visitor: &str, now: Option<&str>, login: &Login, origin: &Origin) {
        if now == Some(self.profile.key().as_str()) {
            return;
        }
        let rival = now.map(|_| login);
        if let Some(later) = self.profile.lose_device(visitor, rival) {
            self.link(visitor, later, origin);
        }
    }
}
