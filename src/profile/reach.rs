//! How the customer can be reached, and what they allow: addresses, consents, opt-outs (product.md §4).
//!
//! Bounces and complaints belong to the address, not to the person: a new address is clean. A consent is the latest explicit word
//! (`consent_changed`, an opt-out) on a channel and list; `identified` only fills what nobody spoke about.

use minicbor::{Decode, Encode};

use super::limits::{self, clip};
use crate::event::{Consent, Identity, Trait};
use crate::value::Timestamp;

/// The trait by which staff block a customer by hand: `true` blocks, `false` ends it.
pub const MANUAL_BLOCK: &str = "manual_block";

/// One address of one channel, with what its provider said about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AddressState {
    /// Which channel.
    #[n(0)]
    pub channel: String,
    /// The address or token.
    #[n(1)]
    pub address: String,
    /// Effective time of the event that told it.
    #[n(2)]
    pub since: Timestamp,
    /// No longer the customer's; kept only because of what follows.
    #[cbor(n(3), default)]
    pub gone: bool,
    /// It does not exist.
    #[n(4)]
    pub hard_bounced: Option<Timestamp>,
    /// Its reader called us spam.
    #[n(5)]
    pub complained: Option<Timestamp>,
    /// Soft bounces since it last worked.
    #[cbor(n(6), default)]
    pub soft_bounces: u32,
}

impl AddressState {
    /// The customer's, or one that must not be forgotten.
    pub(super) fn is_worth_keeping(&self) -> bool {
        !self.gone
            || self.hard_bounced.is_some()
            || self.complained.is_some()
            || self.soft_bounces > 0
    }
}

/// Where a consent comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ConsentSource {
    /// `identified` or `signed_up`: fills what is unknown.
    #[n(0)]
    Identified,
    /// `consent_changed`.
    #[n(1)]
    Changed,
    /// An opt-out through a message.
    #[n(2)]
    OptOut,
}

/// An address without what people and systems write differently: upper or lower case, numbers in groups.
pub(crate) fn plain(address: &str) -> impl Iterator<Item = char> {
    let letters = address.chars().filter(|letter| !letter.is_whitespace());
    letters.flat_map(char::to_lowercase)
}

/// Are these two spellings of one address?
pub(super) fn is_same(one: &str, other: &str) -> bool {
    plain(one).eq(plain(other))
}

/// One word on consent.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ConsentEntry {
    /// Which channel; `None` every channel.
    #[n(0)]
    pub channel: Option<String>,
    /// Which list; `None` every list.
    #[n(1)]
    pub list: Option<String>,
    /// What was said.
    #[n(2)]
    pub state: Consent,
    /// Effective time.
    #[n(3)]
    pub at: Timestamp,
    /// By which way.
    #[n(4)]
    pub source: ConsentSource,
    /// The reporting system (`source` of the event).
    #[cbor(n(5), default)]
    pub system: String,
}

impl ConsentEntry {
    fn covers(&self, channel: &str, list: Option<&str>) -> bool {
        self.channel.as_deref().is_none_or(|own| own == channel)
            && self.list.as_deref().is_none_or(|own| Some(own) == list)
    }
    /// Said by the customer, not filled in.
    pub(super) fn is_explicit(&self) -> bool {
        self.source != ConsentSource::Identified
    }
}

/// Addresses and consents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Reach {
    /// By channel, in the order in which they were told.
    #[cbor(n(0), skip_if = "Vec::is_empty")]
    pub addresses: Vec<AddressState>,
    /// At most one explicit and one filled entry per channel and list.
    #[cbor(n(1), skip_if = "Vec::is_empty")]
    pub consents: Vec<ConsentEntry>,
    /// Blocked by hand (trait `manual_block`), since.
    #[n(2)]
    pub manual_block: Option<Timestamp>,
    /// Effective time of the newest word on the block.
    #[cbor(n(3), default)]
    pub manual_block_at: Timestamp,
}

/// Why no address of a channel can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// There is none.
    NoAddress,
    /// All of them bounced.
    HardBounced,
    /// Too many soft bounces in a row.
    SoftBounceLimit,
    /// Their readers complained.
    Complained,
}

impl Reach {
    /// Addresses that the customer has on a channel, usable or not.
    pub fn on<'a>(&'a self, channel: &'a str) -> impl Iterator<Item = &'a AddressState> {
        self.addresses
            .iter()
            .filter(move |address| address.channel == channel && !address.gone)
    }

    /// Is there a later explicit grant than `since` that covers the channel? It takes a complaint back.
    fn granted_since(&self, channel: &str, since: Timestamp) -> bool {
        self.consents.iter().any(|entry| {
            entry.source == ConsentSource::Changed
                && entry.state == Consent::Granted
                && entry.at > since
                && entry.channel.as_deref().is_none_or(|own| own == channel)
        })
    }

    /// Why this address cannot be used; `None` when it can. `complaints`: whether the class of message heeds them.
    #[must_use]
    pub fn fault(
        &self,
        address: &AddressState,
        soft_bounce_limit: u32,
        complaints: bool,
    ) -> Option<Unreachable> {
        if address.hard_bounced.is_some() {
            return Some(Unreachable::HardBounced);
        }
        if address.soft_bounces >= soft_bounce_limit {
            return Some(Unreachable::SoftBounceLimit);
        }
        let complained = address
            .complained
            .is_some_and(|at| !self.granted_since(&address.channel, at));
        (complaints && complained).then_some(Unreachable::Complained)
    }

    /// The usable addresses of a channel, or why there is none.
    ///
    /// # Errors
    /// The fault of the address told last, [`Unreachable::NoAddress`] when there is none.
    pub fn usable<'a>(
        &'a self,
        channel: &'a str,
        soft_bounce_limit: u32,
        complaints: bool,
    ) -> Result<Vec<&'a AddressState>, Unreachable> {
        let mut fault = Unreachable::NoAddress;
        let mut usable = Vec::new();
        for address in self.on(channel) {
            match self.fault(address, soft_bounce_limit, complaints) {
                None => usable.push(address),
                Some(found) => fault = found,
            }
        }
        if usable.is_empty() {
            Err(fault)
        } else {
            Ok(usable)
        }
    }

    /// The consent in force for a channel and list: the latest explicit word that covers it (a denial wins a tie), else the most
    /// specific one that `identified` filled in.
    #[must_use]
    pub fn consent(&self, channel: &str, list: Option<&str>) -> Option<&ConsentEntry> {
        let covering = || {
            self.consents
                .iter()
                .filter(|entry| entry.covers(channel, list))
        };
        let explicit = covering()
            .filter(|entry| entry.is_explicit())
            .max_by_key(|entry| (entry.at, entry.state == Consent::Denied));
        match explicit {
            Some(entry) if entry.state != Consent::Unknown => Some(entry),
            Some(_) | None => covering()
                .filter(|entry| !entry.is_explicit())
                .max_by_key(|entry| (entry.list.is_some(), entry.channel.is_some())),
        }
    }

    /// State of [`Self::consent`].
    #[must_use]
    pub fn consent_state(&self, channel: &str, list: Option<&str>) -> Consent {
        self.consent(channel, list)
            .map_or(Consent::Unknown, |entry| entry.state)
    }

    /// Folds addresses and consents of an `identified`.
    pub(super) fn learn(&mut self, identity: &Identity, system: &str, at: Timestamp) {
        for (channel, addresses) in &identity.addresses {
            self.learn_addresses(channel, addresses, at);
        }
        for (channel, list, state) in &identity.consents {
            self.say(ConsentEntry {
                channel: Some(clip(channel, limits::ID_BYTES)),
                list: list.as_deref().map(|list| clip(list, limits::ID_BYTES)),
                state: *state,
                at,
                source: ConsentSource::Identified,
                system: clip(system, limits::ID_BYTES),
            });
        }
        let block = identity
            .traits
            .iter()
            .find(|(name, _)| name == MANUAL_BLOCK);
        if let Some((_, Trait::Bool(blocked))) = block
            && at >= self.manual_block_at
        {
            self.manual_block_at = at;
            self.manual_block = blocked.then_some(at);
        }
    }

    fn learn_addresses(&mut self, channel: &str, addresses: &[String], at: Timestamp) {
        if self
            .addresses
            .iter()
            .any(|known| known.channel == channel && known.since > at)
        {
            return;
        }
        for known in self
            .addresses
            .iter_mut()
            .filter(|known| known.channel == channel)
        {
            known.gone = !addresses
                .iter()
                .any(|address| is_same(&known.address, address));
            known.since = at;
        }
        for address in addresses {
            if self.find(channel, address).is_none() && address.len() <= limits::ADDRESS_BYTES {
                self.push(AddressState {
                    channel: clip(channel, limits::ID_BYTES),
                    address: address.clone(),
                    since: at,
                    ..AddressState::default()
                });
            }
        }
        self.addresses.retain(AddressState::is_worth_keeping);
    }

    fn push(&mut self, address: AddressState) {
        if self.addresses.len() >= limits::ADDRESSES {
            let oldest = self
                .addresses
                .iter()
                .enumerate()
                .min_by_key(|(_, known)| (!known.gone, known.since))
                .map(|(index, _)| index);
            if let Some(index) = oldest {
                self.addresses.remove(index);
            }
        }
        self.addresses.push(address);
    }

    fn find(&mut self, channel: &str, address: &str) -> Option<usize> {
        self.addresses
            .iter()
            .position(|known| known.channel == channel && is_same(&known.address, address))
    }

    /// The address that a receipt is about: the one it names (remembered even when it is not the customer's now), else the only one.
    pub(crate) fn of_receipt(
        &mut self,
        channel: &str,
        address: Option<&str>,
        at: Timestamp,
    ) -> Option<&mut AddressState> {
        let index = match address {
            Some(address) if address.len() > limits::ADDRESS_BYTES => return None,
            Some(address) => match self.find(channel, address) {
                Some(index) => index,
                None => {
                    self.push(AddressState {
                        channel: clip(channel, limits::ID_BYTES),
                        address: address.to_owned(),
                        since: at,
                        gone: true,
                        ..AddressState::default()
                    });
                    self.addresses.len() - 1
                }
            },
            None => {
                let mut own = self
                    .addresses
                    .iter()
                    .enumerate()
                    .filter(|(_, known)| known.channel == channel && !known.gone);
                let (index, _) = own.next()?;
                if own.next().is_some() {
                    return None;
                }
                index
            }
        };
        self.addresses.get_mut(index)
    }

    /// Takes one word on consent in. An explicit one replaces an older explicit one of the same channel and list; a filled one stays
    /// the first that was said.
    pub(crate) fn say(&mut self, said: ConsentEntry) {
        let same = self.consents.iter_mut().find(|entry| {
            entry.channel == said.channel
                && entry.list == said.list
                && entry.is_explicit() == said.is_explicit()
        });
        match same {
            Some(entry) => {
                let replaces = if said.is_explicit() {
                    (said.at, said.state == Consent::Denied)
                        >= (entry.at, entry.state == Consent::Denied)
                } else {
                    said.at < entry.at || entry.state == Consent::Unknown
                };
                if replaces {
                    *entry = said;
                }
            }
            None => {
                if self.consents.len() >= limits::CONSENTS {
                    // What allows goes first: forgetting must never let somebody be contacted.
                    let victim = self
                        .consents
                        .iter()
                        .enumerate()
                        .min_by_key(|(_, entry)| (entry.state == Consent::Denied, entry.at))
                        .map(|(index, _)| index);
                    if let Some(index) = victim {
                        self.consents.remove(index);
                    }
                }
                self.consents.push(said);
            }
        }
    }
}
