//! Who else this profile is: the customer that it went up in, the visitors that logged in to it, the profiles that hold an address
//! (product.md §4a).
//!
//! ```text
//!  a:visitor ──alias──► c:customer ──alias (merged)──► c:other          an alias holds nothing but this section
//!  h:address ──holders──► every profile that has it
//! ```

use minicbor::{Decode, Encode};

use super::reach::ConsentEntry;
use super::{Profile, limits};
use crate::event::Event;
use crate::value::{ProfileKey, Span, Timestamp};

/// An anonymous alias ends when nothing was heard of it for so long; counted in days, so that a busy one is not written at each click.
const IDLE_DAYS: i64 = 30;
/// A customer tells a known device again after so long: the alias there lives on.
const TOLD_AGAIN: Span = Span::from_days(1);
const DAY: i64 = 86_400_000;

/// A record that told something that is remembered: that somebody is somebody else, or what an address is not for. Later wins; of two
/// at one instant the greater event id.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(map)]
pub struct Login {
    /// Effective time of the event that told it.
    #[n(0)]
    pub at: Timestamp,
    /// Its id.
    #[n(1)]
    pub event_id: String,
    /// Who reported it.
    #[n(2)]
    pub source: String,
}

impl Login {
    /// One whose record is not at hand.
    pub(crate) const fn until(at: Timestamp) -> Self {
        Self {
            at,
            event_id: String::new(),
            source: String::new(),
        }
    }

    /// An event as the login that it is.
    pub(crate) fn of(event: &Event) -> Self {
        Self {
            at: event.effective_time,
            event_id: event.id.clone(),
            source: event.source.clone(),
        }
    }
}

/// Where everything of a profile went, and what arrives for it goes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Alias {
    /// Profile key.
    #[n(0)]
    pub into: String,
    /// Since this login.
    #[n(1)]
    pub login: Login,
}

/// A device that a customer logged in on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Visitor {
    /// Hash of its anonymous id: two devices are told apart, nothing else is asked of it.
    #[n(0)]
    pub id: u64,
    /// Effective time of the event by which it was told last.
    #[n(1)]
    pub told: Timestamp,
    /// The last login there, as of when another device was used instead; [`Device`] knows a later one.
    #[n(2)]
    pub seen: Option<Login>,
}

/// The device that a customer used last.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Device {
    /// As [`Visitor::id`].
    #[n(0)]
    pub id: u64,
    /// The last login there, whenever it arrived.
    #[n(1)]
    pub seen: Login,
}

/// What ties a profile to others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Links {
    /// This profile has gone up in another.
    #[n(0)]
    pub alias: Option<Alias>,
    /// Of a customer: devices, the one told longest ago first.
    #[cbor(n(1), skip_if = "Vec::is_empty")]
    pub visitors: Vec<Visitor>,
    /// Of a visitor: hashes of the customers that logged in here.
    #[cbor(n(2), skip_if = "Vec::is_empty")]
    pub customers: Vec<u64>,
    /// Of a visitor: too many customers logged in here; it keeps to itself.
    #[cbor(n(3), default)]
    pub shared: bool,
    /// Keyed hashes of the addresses that this profile is listed under, in their order.
    #[cbor(n(4), skip_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Of an address: keys of the profiles that hold it, in the order in which they told.
    #[cbor(n(5), skip_if = "Vec::is_empty")]
    pub holders: Vec<String>,
    /// Keys of the profiles that are aliases of this one, directly or by others, or were: where an erasure goes. The one told longest ago
    /// stands first.
    #[cbor(n(6), skip_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Of an address: what was forbidden under it.
    #[n(7)]
    pub bars: Option<Bars>,
}

/// What was forbidden under an address, by whoever is reached there. It names nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Bars {
    /// Opt-outs.
    #[cbor(n(0), skip_if = "Vec::is_empty")]
    pub denials: Vec<Denial>,
    /// It does not exist, says this record.
    #[n(1)]
    pub hard_bounced: Option<Login>,
    /// Its reader called us spam.
    #[n(2)]
    pub complained: Option<Login>,
}

/// One opt-out.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Denial {
    /// What was denied.
    #[n(0)]
    pub word: ConsentEntry,
    /// The record that said so; empty once somebody who is listed there is erased, for an id may be made of theirs.
    #[cbor(n(1), default)]
    pub event_id: String,
}

impl Bars {
    /// Nothing is forbidden.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Both together; of the same word the later one.
    pub(crate) fn join(&mut self, other: Self) {
        for denial in other.denials {
            let word = &denial.word;
            let same = |own: &&mut Denial| {
                (&own.word.channel, &own.word.list) == (&word.channel, &word.list)
            };
            let has_room = self.denials.len() < limits::CONSENTS;
            match self.denials.iter_mut().find(same) {
                Some(own) if (own.word.at, &own.event_id) < (word.at, &denial.event_id) => {
                    *own = denial;
                }
                Some(_) => {}
                None if has_room => self.denials.push(denial),
                None => {}
            }
        }
        self.hard_bounced = self.hard_bounced.take().max(other.hard_bounced);
        self.complained = self.complained.take().max(other.complained);
    }

    /// Forgets which records said so.
    pub(crate) fn unname(&mut self) {
        for denial in &mut self.denials {
            denial.event_id.clear();
            denial.word.system.clear();
        }
        for said in self.hard_bounced.iter_mut().chain(&mut self.complained) {
            *said = Login::until(said.at);
        }
    }
}

/// What a login does to a visitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    /// Everything that the visitor holds goes to the customer.
    First,
    /// The alias leads elsewhere from now on; the customer that it led to is told.
    Instead(String),
    /// Nothing new.
    Same,
    /// A later login is known: the customer of this one is told that the visitor is not theirs.
    TooLate,
    /// A shared device: nobody's alias (any more).
    Shared(Option<String>),
}

fn hash(id: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(id.as_bytes())
}

impl Links {
    /// Must the visitor be told that this customer is logged in there? Notes that it was.
    pub(crate) fn tells(&mut self, visitor: &str, at: Timestamp) -> bool {
        let id = hash(visitor);
        match self.visitors.iter().position(|known| known.id == id) {
            Some(index) => match self.visitors.get_mut(index) {
                Some(known) if at >= known.told.plus(TOLD_AGAIN) => known.told = at,
                Some(_) | None => return false,
            },
            None => {
                if self.visitors.len() >= limits::VISITORS {
                    let oldest = self.visitors.iter().enumerate();
                    let oldest = oldest.min_by_key(|(index, known)| (known.told, *index));
                    if let Some(index) = oldest.map(|(index, _)| index) {
                        self.visitors.remove(index);
                    }
                }
                let seen = None;
                self.visitors.push(Visitor { id, told: at, seen });
            }
        }
        true
    }

    /// Would [`Self::tells`] say yes? Asked first, because asking to change writes the section.
    pub(crate) fn would_tell(&self, visitor: &str, at: Timestamp) -> bool {
        let id = hash(visitor);
        let known = self.visitors.iter().find(|known| known.id == id);
        known.is_none_or(|known| at >= known.told.plus(TOLD_AGAIN))
    }

    /// A customer logged in here.
    pub(crate) fn follow(&mut self, customer: &ProfileKey, login: &Login) -> Follows {
        let customer_hash = hash(customer.as_str());
        if !self.customers.contains(&customer_hash) {
            if self.customers.len() >= limits::LOGINS {
                self.shared = true;
            } else {
                self.customers.push(customer_hash);
            }
        }
        if self.shared {
            return Follows::Shared(self.alias.take().map(|alias| alias.into));
        }
        let alias = Alias {
            into: customer.as_str().to_owned(),
            login: login.clone(),
        };
        match &mut self.alias {
            None => {
                self.alias = Some(alias);
                Follows::First
            }
            Some(known) if known.into == alias.into => {
                if known.login < alias.login {
                    *known = alias;
                }
                Follows::Same
            }
            Some(known) if known.login > alias.login => Follows::TooLate,
            Some(known) => Follows::Instead(std::mem::replace(known, alias).into),
        }
    }

    /// A device that is known here.
    fn visitor(&self, id: u64) -> Option<&Visitor> {
        self.visitors.iter().find(|known| known.id == id)
    }

    /// Lists a profile under this address, or takes it off; beyond the limit who told first goes.
    pub(crate) fn list(&mut self, profile: &str, holds: bool) {
        self.holders.retain(|known| known != profile);
        if holds {
            if self.holders.len() >= limits::HOLDERS {
                self.holders.remove(0);
            }
            self.holders.push(profile.to_owned());
        }
    }

    /// That profile is an alias of this one. Where there is no room, the device told longest ago goes, whose alias ends by itself when idle;
    /// one of a merged customer stays.
    pub(crate) fn lead_here(&mut self, alias: &str) {
        self.aliases.retain(|known| known != alias);
        self.aliases.push(alias.to_owned());
        let bytes = |keys: &[String]| keys.iter().map(|key| key.len() + 2).sum::<usize>();
        while bytes(&self.aliases) > limits::ALIAS_BYTES {
            let is_device = |key: &String| {
                ProfileKey::parse(key).is_some_and(|key| key.anonymous_id().is_some())
            };
            let oldest = self.aliases.iter().position(is_device);
            self.aliases.remove(oldest.unwrap_or_default());
        }
    }

    /// Takes over what another profile was tied to; its alias is its own.
    pub(super) fn join(&mut self, other: Self) {
        for alias in &other.aliases {
            self.lead_here(alias);
        }
        for theirs in other.visitors {
            match self.visitors.iter_mut().find(|own| own.id == theirs.id) {
                Some(own) => {
                    own.told = own.told.max(theirs.told);
                    own.seen = own.seen.take().max(theirs.seen);
                }
                None => self.visitors.push(theirs),
            }
        }
        self.visitors.sort_by_key(|known| known.told);
        let extra = self.visitors.len().saturating_sub(limits::VISITORS);
        self.visitors.drain(..extra);
    }
}

impl Profile {
    /// Notes a login of this customer. Gives whether the visitor must be told of it.
    pub(crate) fn log_in(&mut self, visitor: &str, login: Login) -> bool {
        let at = login.at;
        let is_told = self.links.would_tell(visitor, at) && self.links.tells(visitor, at);
        if is_told {
            self.links
                .lead_here(ProfileKey::anonymous(visitor).as_str());
        }
        self.see(Device {
            id: hash(visitor),
            seen: login,
        });
        is_told
    }

    /// The last login on a device stands with the device used last, or with the device.
    pub(super) fn see(&mut self, mut device: Device) {
        match &mut self.activity.device {
            Some(latest) if latest.id == device.id => {
                if latest.seen < device.seen {
                    latest.seen = device.seen;
                }
            }
            latest => {
                if let Some(earlier) = self.links.visitor(device.id).and_then(|it| it.seen.clone())
                {
                    device.seen = device.seen.max(earlier);
                }
                let before = latest.replace(device);
                if let Some(before) = before
                    && self.links.visitor(before.id).is_some()
                {
                    let mut visitors = self.links.visitors.iter_mut();
                    if let Some(known) = visitors.find(|known| known.id == before.id) {
                        known.seen = Some(before.seen);
                    }
                }
            }
        }
    }

    /// A device follows this login of another customer; `None`: of nobody. Gives the later login of this customer on it, of which it
    /// must then be told; without one the device is forgotten, so that it is told of the next.
    pub(crate) fn lose_device(&mut self, visitor: &str, rival: Option<&Login>) -> Option<Login> {
        let id = hash(visitor);
        let known = self.links.visitor(id)?;
        let latest = self.activity.device.as_ref();
        let latest = latest.filter(|latest| latest.id == id);
        let seen = latest.map(|latest| &latest.seen).max(known.seen.as_ref());
        if let Some(seen) = seen
            && rival.is_some_and(|rival| rival < seen)
        {
            return Some(seen.clone());
        }
        if latest.is_some() {
            self.activity.device = None;
        }
        self.links.visitors.retain(|known| known.id != id);
        None
    }
}

/// When an anonymous alias ends that was last heard of at `at`.
pub(crate) fn alias_ends(at: Timestamp) -> Timestamp {
    Timestamp::from_millis((at.millis().div_euclid(DAY) + IDLE_DAYS + 1) * DAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::SectionId;

    fn login(at: i64) -> Login {
        Login {
            at: Timestamp::from_millis(at),
            event_id: "e".to_owned(),
            source: "web".to_owned(),
        }
    }

    #[test]
    fn a_device_follows_the_last_login_and_after_three_customers_nobody() {
        let customer = |n: u32| ProfileKey::customer(&n.to_string());
        let mut links = Links::default();
        assert_eq!(links.follow(&customer(1), &login(10)), Follows::First);
        assert_eq!(links.follow(&customer(1), &login(20)), Follows::Same);
        assert_eq!(links.follow(&customer(2), &login(15)), Follows::TooLate);
        let instead = links.follow(&customer(2), &login(30));
        assert_eq!(instead, Follows::Instead("c:1".to_owned()));
        let instead = links.follow(&customer(3), &login(40));
        assert_eq!(instead, Follows::Instead("c:2".to_owned()));
        let shared = links.follow(&customer(4), &login(50));
        assert_eq!(shared, Follows::Shared(Some("c:3".to_owned())));
        let still = links.follow(&customer(1), &login(60));
        assert_eq!(still, Follows::Shared(None));
    }

    #[test]
    fn a_known_device_is_told_once_a_day_and_the_one_told_longest_ago_makes_room() {
        let mut links = Links::default();
        let at = |hours: i64| Timestamp::from_millis(hours * 3_600_000);
        assert!(links.tells("v", at(0)) && !links.tells("v", at(23)));
        assert!(links.would_tell("v", at(24)) && links.tells("v", at(24)));
        for n in 0..limits::VISITORS {
            assert!(links.tells(&format!("v{n}"), at(30)));
        }
        assert_eq!(links.visitors.len(), limits::VISITORS);
        assert!(links.would_tell("v", at(31)), "it was forgotten");
    }

    #[test]
    fn the_next_login_on_the_same_device_writes_nothing_but_what_each_event_writes() {
        let mut profile = Profile::new(ProfileKey::customer("7"));
        let written = |profile: &mut Profile| {
            let mut written = Vec::new();
            profile.take_changes(&mut |section, _, _| written.push(section));
            written
        };
        assert!(profile.log_in("v", login(10)));
        assert_eq!(written(&mut profile).len(), 2);
        assert!(!profile.log_in("v", login(20)));
        assert_eq!(written(&mut profile), [SectionId::Activity]);
    }

    #[test]
    fn the_last_login_on_each_device_is_known_in_whatever_order_they_are_told() {
        let mut profile = Profile::new(ProfileKey::customer("7"));
        for (visitor, at) in [("v", 10), ("v", 30), ("w", 40), ("v", 20), ("w", 35)] {
            profile.log_in(visitor, login(at));
        }
        assert_eq!(profile.lose_device("v", Some(&login(29))), Some(login(30)));
        assert_eq!(profile.lose_device("v", Some(&login(30))), None);
        assert!(profile.log_in("v", login(50)), "it was forgotten");
        assert_eq!(profile.lose_device("w", Some(&login(39))), Some(login(40)));
        assert_eq!(profile.lose_device("w", None), None, "it is nobody's");
        assert_eq!(
            profile.lose_device("x", Some(&login(0))),
            None,
            "never seen"
        );
    }
}
