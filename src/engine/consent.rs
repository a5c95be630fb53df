//! Who may be contacted at all: consents given and taken back, opt-outs, addresses that fail, blocks by hand (product.md §4, §5.4).

use super::suppress::NewBlock;
use super::turn::Turn;
use crate::decision::{Reason, Scope};
use crate::event::{Bounce, Consent, ConsentChange, Event, EventType, Identity, OptOut, Receipt};
use crate::flow::Class;
use crate::profile::reach::{ConsentEntry, ConsentSource, Unreachable};
use crate::profile::{Block, BlockOn};

/// Suppressions of an address: they end when the channel can be reached again.
const OF_ADDRESS: [Reason; 3] = [
    Reason::HardBounced,
    Reason::SoftBounceLimit,
    Reason::Complained,
];

/// What a withdrawn consent forbids; transactional messages still leave (product.md §7).
fn with_consent() -> Vec<Scope> {
    vec![Scope::Class(Class::Marketing), Scope::Class(Class::Service)]
}

/// An opt-out through a message, as the word on consent that it is.
pub(super) fn denial_of(event: &Event, receipt: &Receipt) -> ConsentEntry {
    let channel = || Some(receipt.channel.clone());
    let (channel, list) = match receipt.opt_out.as_ref().unwrap_or(&OptOut::Channel) {
        OptOut::List(list) => (channel(), Some(list.clone())),
        OptOut::Channel => (channel(), None),
        OptOut::All => (None, None),
    };
    ConsentEntry {
        channel,
        list,
        state: Consent::Denied,
        at: event.effective_time,
        source: ConsentSource::OptOut,
        system: event.source.clone(),
    }
}

impl Turn<'_> {
    /// Channels of the policy that `channel` means: that one, or all.
    fn channels(&self, channel: Option<&str>) -> Vec<String> {
        match channel {
            Some(channel) => {
                let known = self.plan.policy.channels.contains_key(channel);
                known.then(|| channel.to_owned()).into_iter().collect()
            }
            None => self.all_channels(),
        }
    }

    /// `consent_changed`.
    pub(super) fn change_consent(&mut self, event: &Event, change: &ConsentChange) {
        self.profile.reach.say(ConsentEntry {
            channel: change.channel.clone(),
            list: change.list.clone(),
            state: change.state,
            at: event.effective_time,
            source: ConsentSource::Changed,
            system: event.source.clone(),
        });
        let (channel, list) = (change.channel.as_deref(), change.list.as_deref());
        match change.state {
            Consent::Denied => self.deny(event, channel, list, Reason::NoConsent),
            Consent::Granted => self.regrant(event, channel, list),
            Consent::Pending | Consent::Unknown => {}
        }
    }

    /// An opt-out through a message.
    fn opt_out(&mut self, event: &Event, receipt: &Receipt) {
        let denial = denial_of(event, receipt);
        let (channel, list) = (denial.channel.clone(), denial.list.clone());
        self.profile.reach.say(denial);
        self.deny(
            event,
            channel.as_deref(),
            list.as_deref(),
            Reason::Unsubscribed,
        );
    }

    /// Suppresses what a denial forbids and retracts what is under way, on every channel where the denial is in force now (a late
    /// one may be older than a grant).
    pub(super) fn deny(
        &mut self,
        event: &Event,
        channel: Option<&str>,
        list: Option<&str>,
        reason: Reason,
    ) {
        let channels: Vec<String> = self
            .channels(channel)
            .into_iter()
            .filter(|channel| self.profile.reach.consent_state(channel, list) == Consent::Denied)
            .collect();
        let said = |channel: &str, block: &Block| {
            matches!(block.reason, Reason::NoConsent | Reason::Unsubscribed)
                && (block.list.is_none() || block.list.as_deref() == list)
                && block.on.iter().any(|on| on.channel == channel)
        };
        let new: Vec<String> = channels
            .iter()
            .filter(|channel| {
                !self
                    .profile
                    .blocks(self.now)
                    .any(|block| said(channel, block))
            })
            .cloned()
            .collect();
        let scopes = list.map_or_else(with_consent, |list| vec![Scope::List(list.to_owned())]);
        self.begin_block(
            event,
            NewBlock {
                reason,
                channels: new,
                scopes,
                until: None,
                order_id: None,
                list: list.map(str::to_owned),
                rest_of: None,
            },
        );
        self.recall_all(reason, |contact| {
            contact.class != Class::Transactional
                && channels.contains(&contact.channel)
                && (list.is_none() || contact.list.as_deref() == list)
        });
    }

    /// Releases what a grant reopens.
    fn regrant(&mut self, event: &Event, channel: Option<&str>, list: Option<&str>) {
        let reach = self.profile.reach.clone();
        let reopened = |block: &Block, on: &BlockOn| {
            matches!(block.reason, Reason::NoConsent | Reason::Unsubscribed)
                && channel.is_none_or(|channel| channel == on.channel)
                && (list.is_none() || block.list.as_deref() == list)
                && reach.consent_state(&on.channel, block.list.as_deref()) == Consent::Granted
        };
        for (block, on) in self.profile.take_blocks_on(self.now, reopened) {
            self.release(event, &block, &on, Reason::Resubscribed);
        }
        for channel in self.channels(channel) {
            self.review_addresses(event, &channel);
        }
    }

    /// `identified` and `signed_up`: denials that came with it, blocks by hand, new addresses.
    pub(super) fn after_identity(&mut self, event: &Event, identity: &Identity, was_blocked: bool) {
        for (channel, list, state) in &identity.consents {
            if *state == Consent::Denied {
                self.deny(event, Some(channel), list.as_deref(), Reason::NoConsent);
            }
        }
        for (channel, _) in &identity.addresses {
            self.review_addresses(event, channel);
        }
        match (was_blocked, self.profile.reach.manual_block.is_some()) {
            (false, true) => {
                let block = NewBlock {
                    reason: Reason::ManualBlock,
                    channels: self.all_channels(),
                    scopes: with_consent(),
                    until: None,
                    order_id: None,
                    list: None,
                    rest_of: None,
                };
                self.begin_block(event, block);
                self.recall_all(Reason::ManualBlock, |contact| {
                    contact.class != Class::Transactional
                });
            }
            (true, false) => {
                let by_hand = |block: &Block| block.reason == Reason::ManualBlock;
                for block in self.profile.take_blocks(self.now, by_hand) {
                    for on in &block.on {
                        self.release(event, &block, on, Reason::Resubscribed);
                    }
                }
            }
            (true, true) | (false, false) => {}
        }
    }

    /// What a receipt says of its address and its reader.
    pub(super) fn mark_address(&mut self, event: &Event, receipt: &Receipt) {
        if event.kind == EventType::Unsubscribed {
            self.opt_out(event, receipt);
            return;
        }
        let at = event.effective_time;
        let hard = event.kind == EventType::Bounced
            && receipt.bounce.unwrap_or(Bounce::Hard) == Bounce::Hard;
        let soft = event.kind == EventType::Bounced && receipt.bounce == Some(Bounce::Soft);
        let complained = event.kind == EventType::Complained;
        let works = matches!(
            event.kind,
            EventType::Delivered | EventType::Opened | EventType::Clicked
        );
        // Only a soft bounce that is there can be taken back: do not rewrite the section for every delivery.
        let has_soft = || {
            self.profile
                .reach
                .addresses
                .iter()
                .any(|known| known.soft_bounces > 0)
        };
        if !(hard || soft || complained || (works && has_soft())) {
            return;
        }
        let address = receipt.address.as_deref();
        let Some(known) = self.profile.reach.of_receipt(&receipt.channel, address, at) else {
            return;
        };
        if hard {
            known.hard_bounced = Some(at);
        } else if complained {
            known.complained = known.complained.max(Some(at));
        } else if soft {
            known.soft_bounces = known.soft_bounces.saturating_add(1);
        } else {
            known.soft_bounces = 0;
        }
        self.review_addresses(event, &receipt.channel);
    }

    /// Suppresses a channel whose last usable address failed; releases it when one works again.
    pub(super) fn review_addresses(&mut self, event: &Event, channel: &str) {
        let known = self.plan.policy.channels.get(channel);
        if !known.is_some_and(|channel| channel.needs_address) {
            return;
        }
        let limit = self.plan.policy.soft_bounce_limit;
        let fault = self.profile.reach.usable(channel, limit, true).map(|_| ());
        let reason = match fault {
            Ok(()) => {
                let of_address = |block: &Block, on: &BlockOn| {
                    OF_ADDRESS.contains(&block.reason) && on.channel == channel
                };
                for (block, on) in self.profile.take_blocks_on(self.now, of_address) {
                    self.release(event, &block, &on, Reason::Resubscribed);
                }
                return;
            }
            Err(Unreachable::NoAddress) => return,
            Err(Unreachable::HardBounced) => Reason::HardBounced,
            Err(Unreachable::SoftBounceLimit) => Reason::SoftBounceLimit,
            Err(Unreachable::Complained) => Reason::Complained,
        };
        let is_said = self
            .profile
            .blocks(self.now)
            .any(|block| block.reason == reason && block.on.iter().any(|on| on.channel == channel));
        let complained = reason == Reason::Complained;
        if !is_said {
            let block = NewBlock {
                reason,
                channels: vec![channel.to_owned()],
                scopes: if complained {
                    with_consent()
                } else {
                    vec![Scope::All]
                },
                until: None,
                order_id: None,
                list: None,
                rest_of: None,
            };
            self.begin_block(event, block);
        }
        self.recall_all(reason, |contact| {
            contact.channel == channel && !(complained && contact.class == Class::Transactional)
        });
    }
}
