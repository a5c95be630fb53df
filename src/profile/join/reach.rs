//! Addresses and consents of two profiles: restriction wins.

use crate::event::Consent;
use crate::profile::limits;
use crate::profile::reach::{AddressState, ConsentEntry, Reach, is_same};
use crate::value::Timestamp;

/// Is there a channel and list that both speak of?
fn overlap(a: &ConsentEntry, b: &ConsentEntry) -> bool {
    let meets = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
    meets(&a.channel, &b.channel) && meets(&a.list, &b.list)
}

/// Does `later` take all of `denial` back?
fn takes_back(later: &ConsentEntry, denial: &ConsentEntry) -> bool {
    let covers = |wide: &Option<String>, narrow: &Option<String>| wide.is_none() || wide == narrow;
    later.state == Consent::Granted
        && later.at > denial.at
        && covers(&later.channel, &denial.channel)
        && covers(&later.list, &denial.list)
}

/// A denial in force here is at least as late as every grant there that it overlaps: so it stands. Not later than the grants that followed
/// when the two were one already: those took it back.
fn harden(here: &mut [ConsentEntry], there: &[ConsentEntry], one_since: Timestamp) {
    let own = here.to_vec();
    let is_explicit =
        |entry: &&mut ConsentEntry| entry.state == Consent::Denied && entry.is_explicit();
    for denial in here.iter_mut().filter(is_explicit) {
        if own.iter().any(|later| takes_back(later, denial)) {
            continue;
        }
        let granted = there
            .iter()
            .filter(|entry| entry.state == Consent::Granted && overlap(denial, entry))
            .map(|entry| entry.at)
            .filter(|at| *at <= one_since);
        denial.at = granted.max().map_or(denial.at, |at| denial.at.max(at));
    }
}

impl Reach {
    pub(super) fn join(&mut self, mut other: Self, one_since: Timestamp) {
        self.join_addresses(std::mem::take(&mut other.addresses));
        harden(&mut self.consents, &other.consents, one_since);
        harden(&mut other.consents, &self.consents, one_since);
        for entry in other.consents {
            self.join_consent(entry);
        }
        // A block by hand stays until somebody ends it, here.
        self.manual_block = match (self.manual_block, other.manual_block) {
            (Some(own), Some(theirs)) => Some(own.min(theirs)),
            (own, theirs) => own.or(theirs),
        };
        self.manual_block_at = self.manual_block_at.max(other.manual_block_at);
    }

    fn join_consent(&mut self, theirs: ConsentEntry) {
        let same = self.consents.iter_mut().find(|own| {
            own.channel == theirs.channel
                && own.list == theirs.list
                && own.is_explicit() == theirs.is_explicit()
        });
        match same {
            // What `identified` filled in: a denial, or else the first word.
            Some(own) if !theirs.is_explicit() => {
                let (denied, unknown) = (Consent::Denied, Consent::Unknown);
                let yields = own.state == unknown
                    || (own.state != denied && (theirs.state == denied || theirs.at < own.at));
                if yields && theirs.state != unknown {
                    *own = theirs;
                }
            }
            Some(_) | None => self.say(theirs),
        }
    }

    /// On a channel that both tell addresses of, those told later are the person's; what a provider said of an address stays with it.
    fn join_addresses(&mut self, theirs: Vec<AddressState>) {
        let newest = |list: &[AddressState], channel: &str| {
            list.iter()
                .filter(|known| known.channel == channel && !known.gone)
                .map(|known| known.since)
                .max()
        };
        let own = self.addresses.clone();
        for known in &mut self.addresses {
            known.gone |= newest(&theirs, &known.channel) > newest(&own, &known.channel);
        }
        for mut their in theirs.clone() {
            let is_older = newest(&own, &their.channel) > newest(&theirs, &their.channel);
            their.gone |= is_older;
            let same = self.addresses.iter_mut().find(|known| {
                known.channel == their.channel && is_same(&known.address, &their.address)
            });
            match same {
                Some(known) => {
                    known.since = known.since.max(their.since);
                    known.gone &= their.gone;
                    known.hard_bounced = known.hard_bounced.or(their.hard_bounced);
                    known.complained = known.complained.max(their.complained);
                    known.soft_bounces = known.soft_bounces.max(their.soft_bounces);
                }
                None => self.addresses.push(their),
            }
        }
        self.addresses.retain(AddressState::is_worth_keeping);
        self.addresses
            .sort_by_key(|known| std::cmp::Reverse((!known.gone, known.since)));
        self.addresses.truncate(limits::ADDRESSES);
        self.addresses.sort_by_key(|known| known.since);
    }
}
