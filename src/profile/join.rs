//! Two profiles become one (product.md §4a): what a customer would hold who had been known from the start.
//!
//! Sums add up, the later word wins, what is known twice counts once. Where the two contradict each other, restriction wins: a denial over
//! a grant, every suppression, every contact in the caps; what is unknown yields. Running instances, suppressions and what follows from
//! the joined orders are the engine's.

use super::limits;
use super::person::{Known, TraitEntry, control_bucket};
use super::service::TicketState;
use super::{Activity, Contacts, History, Orders, Person, Profile, Scores, Section, Service};
use crate::flow::Class;
use crate::policy::Policy;
use crate::value::{Span, Timestamp};

mod carts;
mod orders;
mod reach;

fn take<T: Default + PartialEq>(section: &mut Section<T>) -> T {
    if **section == T::default() {
        return T::default();
    }
    std::mem::take(&mut **section)
}

fn later<T>(own: Option<Known<T>>, theirs: Option<Known<T>>) -> Option<Known<T>> {
    match (own, theirs) {
        (Some(own), Some(theirs)) if theirs.at > own.at => Some(theirs),
        (own, theirs) => own.or(theirs),
    }
}

fn earliest<T: Ord>(own: Option<T>, theirs: Option<T>) -> Option<T> {
    match (own, theirs) {
        (Some(own), Some(theirs)) => Some(own.min(theirs)),
        (own, theirs) => own.or(theirs),
    }
}

impl Profile {
    /// Everything that this profile holds, taken out of it; its links to others stay.
    pub(crate) fn take_estate(&mut self) -> Self {
        let mut estate = Self::new(self.key.clone());
        let holds = |section: &Section<_>| **section != super::Links::default();
        if holds(&self.links) {
            estate.links.visitors = std::mem::take(&mut self.links.visitors);
            estate.links.addresses = std::mem::take(&mut self.links.addresses);
            estate.links.aliases = std::mem::take(&mut self.links.aliases);
        }
        estate.person = Section::changed(take(&mut self.person));
        estate.reach = Section::changed(take(&mut self.reach));
        estate.activity = Section::changed(take(&mut self.activity));
        estate.journal = self.journal.take_all();
        estate.carts = Section::changed(take(&mut self.carts));
        estate.orders = Orders {
            parts: self.orders.parts.taken(),
        };
        if !self.running.is_empty() {
            estate.running.instances = std::mem::take(&mut self.running.instances);
            estate.running.requests = std::mem::take(&mut self.running.requests);
            estate.running.watches = std::mem::take(&mut self.running.watches);
        }
        estate.contacts = Contacts {
            parts: self.contacts.parts.taken(),
        };
        estate.history = Section::changed(take(&mut self.history));
        estate.scores = Section::changed(take(&mut self.scores));
        estate.service = Section::changed(take(&mut self.service));
        if !self.blocks.blocks.is_empty() {
            self.blocks_changed = true;
            estate.blocks = Section::changed(take(&mut self.blocks));
        }
        estate
    }

    /// Takes over what only the data tells. Left in `other` are its running instances, requests and suppressions. `one_since`: effective
    /// time of the event that made the two one.
    pub(crate) fn join(&mut self, other: &mut Self, policy: &Policy, one_since: Timestamp) {
        let bucket = self.person.bucket;
        let bucket = bucket.unwrap_or_else(|| control_bucket(&policy.control_salt, &self.key));
        let is_held_back = |bucket: u32| bucket < policy.control_group;
        let arms_differ = other
            .person
            .bucket
            .is_some_and(|theirs| is_held_back(theirs) != is_held_back(bucket));
        // A visitor to whom nothing was said, or would have been, was in neither arm yet; a customer's contacts of long ago are forgotten.
        let was_exposed = other.key.customer_id().is_some()
            || other
                .contacts
                .iter()
                .any(|contact| contact.class == Class::Marketing);
        self.person.bucket = Some(bucket);
        self.person.contaminated |= arms_differ && was_exposed;
        self.person.join(take(&mut other.person));
        self.reach.join(take(&mut other.reach), one_since);
        let mut activity = take(&mut other.activity);
        let device = activity.device.take();
        self.activity.join(&activity);
        self.journal.join(&other.journal, policy.dedup);
        self.carts.join(take(&mut other.carts));
        self.orders.join(&other.orders);
        self.contacts.join(&other.contacts, policy.looks_back());
        self.history.join(take(&mut other.history));
        self.scores.join(take(&mut other.scores));
        self.service.join(take(&mut other.service));
        self.links.join(take(&mut other.links));
        self.links.lead_here(other.key.as_str());
        let own = self.key.as_str();
        if self.links.aliases.iter().any(|alias| alias == own) {
            self.links.aliases.retain(|alias| alias != own);
        }
        if let Some(device) = device {
            self.see(device);
        }
    }
}

impl Person {
    fn join(&mut self, other: Self) {
        self.first_seen = earliest(self.first_seen, other.first_seen);
        self.locale = later(self.locale.take(), other.locale);
        self.time_zone = later(self.time_zone.take(), other.time_zone);
        self.country = later(self.country.take(), other.country);
        self.vip = later(self.vip.take(), other.vip);
        self.anonymous_id = later(self.anonymous_id.take(), other.anonymous_id);
        self.test |= other.test;
        self.contaminated |= other.contaminated;
        self.signed_up = earliest(self.signed_up, other.signed_up);
        for theirs in other.traits {
            self.join_trait(theirs);
        }
    }

    fn join_trait(&mut self, theirs: TraitEntry) {
        let place = self
            .traits
            .binary_search_by(|own| own.name.as_str().cmp(&theirs.name));
        match place {
            Ok(index) => {
                if let Some(own) = self.traits.get_mut(index)
                    && own.at < theirs.at
                {
                    *own = theirs;
                }
            }
            Err(index) if self.traits.len() < limits::TRAITS => self.traits.insert(index, theirs),
            Err(_) => {}
        }
    }
}

impl Activity {
    fn join(&mut self, other: &Self) {
        self.events += other.events;
        self.views += other.views;
        self.last_seen = self.last_seen.max(other.last_seen);
        self.last_visit = self.last_visit.max(other.last_visit);
        self.last_view = self.last_view.max(other.last_view);
        self.last_cart = self.last_cart.max(other.last_cart);
        self.last_checkout = self.last_checkout.max(other.last_checkout);
        self.last_engaged = self.last_engaged.max(other.last_engaged);
    }
}

impl Contacts {
    fn join(&mut self, other: &Self, looked_back: Span) {
        let mut theirs: Vec<_> = other.iter().collect();
        theirs.sort_by_key(|contact| (contact.handed_at, contact.id));
        for contact in theirs {
            if self.get(contact.id).is_none() {
                let counted = contact.handed_at.minus(looked_back);
                self.push(contact.clone(), counted);
            }
        }
    }
}

impl History {
    fn join(&mut self, other: Self) {
        for theirs in other.triggers {
            let same = |own: &&mut super::history::LastTrigger| {
                own.flow == theirs.flow && own.key == theirs.key
            };
            match self.triggers.iter_mut().find(same) {
                Some(own) => own.at = own.at.max(theirs.at),
                None => self.triggers.push(theirs),
            }
        }
        self.triggers.sort_by_key(|last| last.at);
        let extra = self.triggers.len().saturating_sub(limits::HISTORY);
        self.triggers.drain(..extra);
        self.refusals.extend(other.refusals);
        self.refusals.sort_by_key(|refusal| refusal.at);
        let extra = self.refusals.len().saturating_sub(limits::REFUSALS);
        self.refusals.drain(..extra);
    }
}

impl Scores {
    fn join(&mut self, other: Self) {
        for entry in other.entries {
            self.put(entry);
        }
    }
}

impl Service {
    fn join(&mut self, other: Self) {
        for theirs in other.tickets {
            self.join_ticket(theirs);
        }
        self.last_opened = self.last_opened.max(other.last_opened);
        self.last_resolved = self.last_resolved.max(other.last_resolved);
        if let Some(feedback) = other.feedback {
            self.feedback(feedback.value, feedback.at);
        }
        self.bound();
    }

    fn join_ticket(&mut self, theirs: TicketState) {
        match self.tickets.binary_search_by_key(&theirs.id, |own| own.id) {
            Ok(index) => {
                if let Some(own) = self.tickets.get_mut(index) {
                    own.opened = own.opened.max(theirs.opened);
                    own.resolved = own.resolved.max(theirs.resolved);
                }
            }
            Err(index) => self.tickets.insert(index, theirs),
        }
    }
}
