//! Erasure (product.md §9): what left is recalled, nothing of the person stays, and what still arrives of before is dropped.
//!
//! ```text
//!  c:7 reads erased ─┬─► cancels, refusals; every section ends; a mark under a keyed hash of the key
//!                    ├─erased─► a:v, c:5   its aliases: the same there
//!                    └─leaves─► h:hash     its addresses keep what it had forbidden ──bars──► whoever is reached there next
//! ```
//! Restriction outlives the person: a denial, a complaint or a bounce is kept with the address, under a keyed hash that names nobody.
//! What is not later than the erasure is dropped, hand-overs too. What comes later begins a new profile, but for receipts: alone they
//! only answer what had left before.

use std::collections::{BTreeMap, BTreeSet};

use super::StepCounts;
use super::consent::denial_of;
use super::contact::address_id;
use super::forward::{Forward, Hop, Matter};
use super::identity::{self, address_key};
use super::turn::{Name, Turn};
use crate::decision::{DecisionId, Reason, VerdictKind, Why};
use crate::event::{Body, Bounce, Consent, Event, EventType, Origin};
use crate::profile::Profile;
use crate::profile::links::{Bars, Denial, Login};
use crate::profile::reach::ConsentEntry;
use crate::profile::running::{Armed, Birth};
use crate::value::{ProfileKey, Timestamp};

/// Names a profile that was erased, without showing it: a keyed hash, 32 hex digits.
#[must_use]
pub fn erasure_id(key: &[u8; 32], profile: &ProfileKey) -> String {
    // No channel has an empty name, so no address has the same.
    address_id(key, "", profile.as_str())
}

/// The erasure as the event that it was.
pub(super) fn event_of(by: &Login) -> Event {
    Event {
        kind: EventType::Erased,
        body: Body::Erasure,
        ..identity::event_of(by, &ProfileKey::customer(""))
    }
}

/// What a receipt forbids that names an address: where, and what.
fn bars_of(event: &Event) -> Option<(&str, &str, Bars)> {
    let Body::Receipt(receipt) = &event.body else {
        return None;
    };
    let address = receipt.address.as_deref()?;
    let mut bars = Bars::default();
    if event.kind == EventType::Unsubscribed {
        bars.denials.push(Denial {
            word: denial_of(event, receipt),
            event_id: event.id.clone(),
        });
    } else if event.kind == EventType::Complained {
        bars.complained = Some(Login::of(event));
    } else if event.kind == EventType::Bounced
        && receipt.bounce.unwrap_or(Bounce::Hard) == Bounce::Hard
    {
        bars.hard_bounced = Some(Login::of(event));
    } else {
        return None;
    }
    Some((&receipt.channel, address, bars))
}

impl Turn<'_> {
    /// Drops an event that an erasure covers; `None` when none does. What it forbids stays with its address; the device that it names, the
    /// aliases that passed it on, and the customer that it merges this one into, were of the erased.
    pub(super) fn drop_erased(
        &mut self,
        event: &Event,
        origin: &Origin,
        hops: &[Hop],
    ) -> Option<StepCounts> {
        let until = self.profile.erased_until()?;
        let is_answer = matches!(event.body, Body::Receipt(_))
            && self.profile.links.alias.is_none()
            && self.profile.is_vacant();
        if event.effective_time > until && !is_answer {
            return None;
        }
        if let Some((channel, address, mut bars)) = bars_of(event) {
            bars.unname();
            for denial in &mut bars.denials {
                // Others who are reached there share the address with the erased, not the rest.
                denial.word.channel = Some(channel.to_owned());
            }
            let to = address_key(self.plan, channel, address);
            let matter = Matter::Leaves {
                profile: None,
                bars,
            };
            self.forwards.push(Forward::new(to, matter));
        }
        if event.effective_time <= until {
            let device = event.anonymous_id.as_deref().map(ProfileKey::anonymous);
            let hops = hops.iter().map(|hop| hop.profile.clone());
            let names = hops.chain(device.map(|key| key.as_str().to_owned()));
            self.tell_aliases(names.collect(), &Login::until(until), origin);
            if let Body::Merge(merge) = &event.body {
                let by = Login {
                    at: until,
                    ..Login::of(event)
                };
                self.erase_at(&merge.into, &by, origin);
            }
        }
        let is_again = matches!(event.body, Body::Erasure);
        Some(StepCounts {
            duplicates: u32::from(is_again),
            erased: u32::from(!is_again),
            ..StepCounts::default()
        })
    }

    /// Read in its order, the merge would have passed the erasure on to that customer.
    fn erase_at(&mut self, into: &str, by: &Login, origin: &Origin) {
        let into = ProfileKey::customer(into);
        let own = self.profile.key();
        // A visitor may follow a customer after one who was erased: it takes none along.
        if own.customer_id().is_some() && into != *own {
            let event = Event {
                customer_id: Some(into.id().to_owned()),
                ..event_of(by)
            };
            // No event is later than its record, and that of the merge may be older than the erasure: its place, with the erasure's time.
            let origin = Origin {
                timestamp: by.at,
                ..origin.clone()
            };
            let matter = Matter::Event {
                event: Box::new(event),
                origin,
                history: false,
            };
            self.forwards.push(Forward::new(into, matter));
        }
    }

    /// Sends back what came over an alias that the erasure of this profile has to reach yet, or was not told to: whoever it came from is
    /// somebody else by now. Gives whether it did.
    pub(super) fn turn_away(
        &mut self,
        hops: &[Hop],
        origin: &Origin,
        matter: impl FnOnce() -> Matter,
    ) -> bool {
        let (Some(until), Some(first), Some(last)) =
            (self.profile.erased_until(), hops.first(), hops.last())
        else {
            return false;
        };
        let to = ProfileKey::parse(&first.profile);
        let Some(to) = to.filter(|_| last.login.at <= until) else {
            return false;
        };
        let names = hops.iter().map(|hop| hop.profile.clone()).collect();
        self.tell_aliases(names, &Login::until(until), origin);
        // Behind that, in the same partition: the alias is none when it arrives.
        self.forwards.push(Forward::new(to, matter()));
        true
    }

    /// `erased`: this profile, and everything that leads to it.
    /// `hops`: the aliases that passed it on.
    pub(super) fn erase(&mut self, event: &Event, origin: &Origin, hops: &[Hop]) {
        let by = Login::of(event);
        let mut names: BTreeSet<String> = self.profile.links.aliases.iter().cloned().collect();
        names.extend(hops.iter().map(|hop| hop.profile.clone()));
        let seen = self.profile.person.anonymous_id.as_ref();
        let visitors = seen.map(|known| &known.value).into_iter();
        names.extend(
            visitors
                .chain(&event.anonymous_id)
                .map(|id| ProfileKey::anonymous(id).as_str().to_owned()),
        );
        self.tell_aliases(names, &by, origin);
        self.forget(&by);
    }

    /// Tells the aliases of this profile that it is erased.
    fn tell_aliases(&mut self, mut names: BTreeSet<String>, by: &Login, origin: &Origin) {
        let own = self.profile.key().as_str().to_owned();
        names.remove(&own);
        let others = names.clone();
        names.insert(own);
        let names: Vec<String> = names.into_iter().collect();
        let others = others.iter().filter_map(|key| ProfileKey::parse(key));
        self.forwards.extend(others.map(|other| {
            let matter = Matter::Erased {
                names: names.clone(),
                by: by.clone(),
                origin: origin.clone(),
            };
            Forward::new(other, matter)
        }));
    }

    /// Somebody is erased whose alias this was, and perhaps still is: a device may follow another's login by now, or a later one of theirs.
    pub(super) fn erase_alias(&mut self, names: &[String], by: &Login, origin: &Origin) {
        let links = &self.profile.links;
        let is_theirs = match &links.alias {
            Some(alias) => alias.login.at <= by.at && names.contains(&alias.into),
            None => self.profile.key().anonymous_id().is_some() && !links.shared,
        };
        if is_theirs && self.profile.erased_until() < Some(by.at) {
            let names = links.aliases.iter().cloned().collect();
            self.tell_aliases(names, by, origin);
            self.forget(by);
        }
    }

    /// Nothing is left of this profile.
    fn forget(&mut self, by: &Login) {
        self.end_all();
        self.leave_addresses();
        self.profile.erase(by.at);
        self.prove(by);
    }

    /// What this profile had under way ends.
    fn end_all(&mut self) {
        while let Some(instance) = self.profile.running.instances.first() {
            match self.flow_of(instance) {
                Some(flow) => self.end_instance(0, &flow, Reason::ProfileErased, None),
                None => drop(self.profile.running.instances.remove(0)),
            }
        }
        let contacts = self.profile.contacts.iter();
        let pending = contacts.filter(|contact| contact.is_pending());
        let mut pending: Vec<(Timestamp, DecisionId)> = pending
            .map(|contact| (contact.handed_at, contact.id))
            .collect();
        pending.sort_unstable();
        for (_, id) in pending {
            self.recall(id, Reason::ProfileErased);
        }
        if !self.profile.running.requests.is_empty() {
            for request in std::mem::take(&mut self.profile.running.requests) {
                self.refuse(&request, Reason::ProfileErased, Vec::new());
            }
        }
    }

    /// The addresses keep what is forbidden there, and forget who it was.
    fn leave_addresses(&mut self) {
        let told = self.profile.links.addresses.iter();
        let mut left: BTreeMap<String, Bars> =
            told.map(|hash| (hash.clone(), Bars::default())).collect();
        for known in &self.profile.reach.addresses {
            let key = address_key(self.plan, &known.channel, &known.address);
            let bars = Bars {
                denials: self.denials(&known.channel),
                hard_bounced: known.hard_bounced.map(Login::until),
                complained: known.complained.map(Login::until),
            };
            left.entry(key.id().to_owned()).or_default().join(bars);
        }
        let profile = self.profile.key().clone();
        self.forwards.extend(left.into_iter().map(|(hash, bars)| {
            let profile = Some(profile.clone());
            Forward::new(ProfileKey::address(&hash), Matter::Leaves { profile, bars })
        }));
    }

    /// The denials in force on a channel.
    fn denials(&self, channel: &str) -> Vec<Denial> {
        let reach = &self.profile.reach;
        let denied = |entry: &&ConsentEntry| {
            entry.state == Consent::Denied
                && entry.channel.as_deref().is_none_or(|own| own == channel)
                && reach.consent_state(channel, entry.list.as_deref()) == Consent::Denied
        };
        let entries = reach.consents.iter().filter(denied).cloned();
        entries
            .map(|entry| Denial {
                word: ConsentEntry {
                    channel: Some(channel.to_owned()),
                    ..entry
                },
                event_id: String::new(),
            })
            .collect()
    }

    /// For the decision log: that somebody was erased, and by which record. Only who knows the id, and the secret, can tell who.
    fn prove(&mut self, by: &Login) {
        let hash = erasure_id(&self.plan.policy.address_key, self.profile.key());
        let profile = ProfileKey::address(&hash);
        let birth = Birth {
            profile: profile.as_str().to_owned(),
            source: by.source.clone(),
            kind: EventType::Erased.name().to_owned(),
            event_id: by.event_id.clone(),
        };
        let name = Name {
            birth: &birth,
            flow: "",
            step: 0,
            attempt: 0,
            kind: VerdictKind::Outcome,
            channel: "",
            target: "",
        };
        let why = Why::Reason(Reason::ProfileErased);
        let mut verdict = self.verdict(VerdictKind::Outcome, name.id(), why);
        verdict.profile = profile;
        (verdict.customer_id, verdict.anonymous_id) = (None, None);
        // An id may be made of the customer's.
        verdict.cause.event_id.clear();
        verdict.outcome = Some(EventType::Erased.name());
        self.verdicts.push(verdict);
    }

    /// A hand-over arrives: it is taken over, unless this profile was erased after the login.
    pub(super) fn take_over(&mut self, login: &Event, mut other: Profile, hops: &[Hop]) {
        let until = self.profile.erased_until();
        let Some(until) = until.filter(|until| login.effective_time <= *until) else {
            self.join(login, other);
            return;
        };
        let origin = match &self.source {
            super::turn::Source::Event(_, origin) => (*origin).clone(),
            super::turn::Source::Timer(_) => return,
        };
        let by = Login {
            at: until,
            ..Login::of(login)
        };
        let mut names: BTreeSet<String> = other.links.aliases.iter().cloned().collect();
        names.insert(other.key().as_str().to_owned());
        names.extend(hops.iter().map(|hop| hop.profile.clone()));
        self.tell_aliases(names, &by, &origin);
        let mut theirs = Turn {
            plan: self.plan,
            ledger: &mut *self.ledger,
            profile: &mut other,
            now: self.now,
            source: self.source.clone(),
            verdicts: &mut *self.verdicts,
            forwards: &mut *self.forwards,
        };
        theirs.end_all();
        theirs.leave_addresses();
    }

    /// Of an address: a profile is reached here, or no more. It is told what was forbidden before.
    pub(super) fn list(&mut self, profile: &ProfileKey, holds: bool, armed: &Armed) {
        let links = &mut self.profile.links;
        links.list(profile.as_str(), holds);
        let bars = links.bars.clone().filter(|_| holds);
        self.forwards.extend(bars.map(|bars| {
            let matter = Matter::Bars {
                address: self.profile.key().id().to_owned(),
                bars,
                armed: armed.clone(),
            };
            Forward::new(profile.clone(), matter)
        }));
    }

    /// Of an address: an erased profile leaves it, and what it had forbidden stays.
    pub(super) fn unlist(&mut self, profile: Option<&ProfileKey>, bars: &Bars) {
        let address = self.profile.key().id().to_owned();
        let links = &mut self.profile.links;
        match profile {
            Some(profile) => links.list(profile.as_str(), false),
            None => {
                let holders = links.holders.iter();
                let holders = holders.filter_map(|key| ProfileKey::parse(key));
                self.forwards.extend(holders.map(|holder| {
                    let matter = Matter::Bars {
                        address: address.clone(),
                        bars: bars.clone(),
                        armed: Armed::default(),
                    };
                    Forward::new(holder, matter)
                }));
            }
        }
        if !bars.is_empty() {
            links.bars.get_or_insert_default().join(bars.clone());
        }
        if let Some(known) = &mut links.bars {
            known.unname();
        }
    }

    /// Of an address: what is said under it stays with it, for those of whom it is not known yet that they are reached there.
    pub(super) fn bar(&mut self, event: &Event) {
        if let Some((_, _, more)) = bars_of(event) {
            self.profile.links.bars.get_or_insert_default().join(more);
        }
    }

    /// What was forbidden under an address that this profile is reached under.
    pub(super) fn heed(&mut self, address: &str, bars: &Bars, armed: &Armed) {
        if !self
            .profile
            .links
            .addresses
            .iter()
            .any(|own| own == address)
        {
            return;
        }
        let told = Login {
            at: armed.timestamp,
            event_id: armed.event_id.clone(),
            source: String::new(),
        };
        // Named by the record that said it, as if it had come here itself; or else by the one that told of the address, and when it was said:
        // what is forbidden again after a grant is another decision.
        let own = self.profile.key().clone();
        let event = |kind, said: &Login| {
            if said.event_id.is_empty() {
                let id = format!("{}@{}", told.event_id, said.at.millis());
                let event = identity::event_of(&told, &own);
                let kind = EventType::Identified;
                return Event { id, kind, ..event };
            }
            let event = identity::event_of(said, &own);
            Event { kind, ..event }
        };
        for denial in &bars.denials {
            let word = &denial.word;
            let said = Login {
                at: word.at,
                event_id: denial.event_id.clone(),
                source: word.system.clone(),
            };
            self.profile.reach.say(word.clone());
            let (channel, list) = (word.channel.as_deref(), word.list.as_deref());
            let event = event(EventType::Unsubscribed, &said);
            self.deny(&event, channel, list, Reason::Unsubscribed);
        }
        let hard_bounced = bars.hard_bounced.iter();
        let hard_bounced = hard_bounced.map(|said| (said, EventType::Bounced));
        let complained = bars.complained.iter();
        let complained = complained.map(|said| (said, EventType::Complained));
        let mut faults: Vec<_> = hard_bounced.chain(complained).collect();
        faults.sort_unstable_by_key(|(said, _)| *said);
        for (said, kind) in faults {
            let plan = self.plan;
            let mut channels = BTreeSet::new();
            for known in &mut self.profile.reach.addresses {
                if address_key(plan, &known.channel, &known.address).id() == address {
                    let fault = if kind == EventType::Bounced {
                        &mut known.hard_bounced
                    } else {
                        &mut known.complained
                    };
                    *fault = (*fault).max(Some(said.at));
                    channels.insert(known.channel.clone());
                }
            }
            for channel in channels {
                self.review_addresses(&event(kind, said), &channel);
            }
        }
    }
}
