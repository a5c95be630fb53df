//! Who the customer is to us: what they allow, where they can be reached, what was suppressed, what they went through.

use super::{Gate, Promoted, Ruling, Wish};
use crate::decision::{Reason, Scope, Seen};
use crate::event::Consent;
use crate::flow::Class;
use crate::policy::Channel;
use crate::policy::traits::{Guard, Keeps, Recent};
use crate::profile::Block;
use crate::profile::reach::{ConsentSource, Unreachable};
use crate::value::{Span, Timestamp};

impl Gate<'_> {
    /// Could a message of this class and list reach the customer on this channel?
    pub(super) fn reaches(&self, channel: &Channel, class: Class, list: Option<&str>) -> bool {
        self.consent_fault(channel, class, list).is_none()
            && self.address_fault(channel, class).is_none()
    }

    fn consent_fault(&self, channel: &Channel, class: Class, list: Option<&str>) -> Option<Reason> {
        if class == Class::Transactional {
            return None;
        }
        let reach = &self.profile.reach;
        if reach.manual_block.is_some() {
            return Some(Reason::ManualBlock);
        }
        let policy = &self.plan.policy;
        let entry = reach.consent(&channel.name, list);
        match entry.map_or(Consent::Unknown, |entry| entry.state) {
            Consent::Granted => {
                let valid = policy.consent_valid;
                let given = entry.map(|entry| entry.at);
                let expired = valid != Span::ZERO
                    && given.is_some_and(|given| self.now.since(given) >= valid);
                expired.then_some(Reason::ConsentExpired)
            }
            Consent::Unknown => {
                let own_order = self.profile.orders.own() > 0;
                let passes = policy.soft_opt_in && own_order;
                (!passes).then_some(Reason::NoConsent)
            }
            Consent::Pending => Some(Reason::NoConsent),
            Consent::Denied => {
                let opted_out = entry.is_some_and(|entry| entry.source == ConsentSource::OptOut);
                Some(if opted_out {
                    Reason::Unsubscribed
                } else {
                    Reason::NoConsent
                })
            }
        }
    }

    pub(super) fn consent(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        if wish.class == Class::Transactional {
            return Ok(());
        }
        let fault = self.consent_fault(wish.channel, wish.class, wish.list);
        let detail = wish
            .list
            .map_or_else(|| "every list".to_owned(), |list| format!("list {list}"));
        let entry = self.profile.reach.consent(&wish.channel.name, wish.list);
        let valid = self.plan.policy.consent_valid;
        self.saw(Seen {
            at: entry.map(|entry| entry.at),
            window: (fault == Some(Reason::ConsentExpired)).then(|| valid.to_string()),
            ..Seen::default()
        });
        self.verdict("consent", fault.map(Ruling::PassOver), detail)
    }

    fn address_fault(&self, channel: &Channel, class: Class) -> Option<Reason> {
        if !channel.needs_address {
            return None;
        }
        let limit = self.plan.policy.soft_bounce_limit;
        let complaints = class != Class::Transactional;
        let fault = self
            .profile
            .reach
            .usable(&channel.name, limit, complaints)
            .err()?;
        Some(match fault {
            Unreachable::NoAddress => Reason::NoAddress,
            Unreachable::HardBounced => Reason::HardBounced,
            Unreachable::SoftBounceLimit => Reason::SoftBounceLimit,
            Unreachable::Complained => Reason::Complained,
        })
    }

    pub(super) fn address(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        let fault = self.address_fault(wish.channel, wish.class);
        if fault == Some(Reason::SoftBounceLimit) {
            self.saw(Seen {
                limit: Some(self.plan.policy.soft_bounce_limit),
                ..Seen::default()
            });
        }
        self.verdict("address", fault.map(Ruling::PassOver), String::new())
    }

    pub(super) fn suppressions(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        let live = self.purchase_blocks(wish);
        let by = covering(&live, wish);
        let detail = format!("{} live", live.len());
        // The order's own time: it may have been told late. One that is no longer known by its lines leaves the time it was told at.
        let placed_at = |block: &Block| {
            let order = self.profile.orders.get(block.order_id.as_deref()?)?;
            Some(order.placed_at)
        };
        let seen = by.map(|(_, block)| Seen {
            decision: block
                .on
                .iter()
                .find(|on| *on.channel == *wish.channel.name)
                .map(|on| on.decision),
            order_id: block.order_id.clone(),
            at: placed_at(block).or(Some(block.from)),
            until: block.until,
            ..Seen::default()
        });
        let reason = by.map(|(reason, _)| reason);
        self.seen = seen.map(Box::new);
        self.verdict("suppressions", reason.map(Ruling::End), detail)
    }

    /// Why purchases leave this wish nothing to say, if they do.
    pub(super) fn suppressed(&self, wish: &Wish<'_>) -> Option<Reason> {
        let by = covering(&self.purchase_blocks(wish), wish);
        by.map(|(reason, _)| reason)
    }

    /// What purchases suppress on the wish's channel now.
    fn purchase_blocks(&self, wish: &Wish<'_>) -> Vec<&Block> {
        let exempt = wish
            .flow
            .is_some_and(|flow| self.plan.policy.cooloff_exempt.contains(&flow.name));
        self.profile
            .blocks(self.now)
            .filter(|block| block.on.iter().any(|on| *on.channel == *wish.channel.name))
            // Denials, bounces and blocks by hand have their own checks, which know what was said since.
            .filter(|block| block.order_id.is_some() && !exempt)
            .collect()
    }

    /// Global traits, in the order of product.md §5.5; the bands of churn and intent bind through caps, except where theirs allow nothing.
    pub(super) fn traits(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        let (profile, policy) = (self.profile, &self.plan.policy);
        let traits = &policy.traits;
        let since = |at: Option<Timestamp>, recent: &Recent| {
            at.is_some_and(|at| self.now.since(at) < recent.within)
        };
        let last_order = profile.orders.last().map(|order| order.placed_at);
        let returned = profile.orders.totals().last_refund_at;
        let bad = || profile.has_negative_experience(&policy.norms, self.now);
        let found = if guards(&traits.vip, wish) && profile.person.vip() {
            Some((Reason::VipGuard, "vip"))
        } else if guards(&traits.recent_buyer.guard, wish)
            && since(last_order, &traits.recent_buyer)
        {
            Some((Reason::PurchaseCooloff, "recent_buyer"))
        } else if guards(&traits.returned.guard, wish) && since(returned, &traits.returned) {
            Some((Reason::NegativeExperience, "returned"))
        } else if guards(&traits.negative_experience, wish) && bad() {
            Some((Reason::NegativeExperience, "negative_experience"))
        } else if self.shut_out(wish) == Some(Reason::ChurnGuard) {
            Some((Reason::ChurnGuard, "churn"))
        } else if self.shut_out(wish) == Some(Reason::LowIntent) {
            Some((Reason::LowIntent, "intent"))
        } else if wish.is_discount() && self.is_on_diet() {
            Some((Reason::DiscountCapped, "discount_diet"))
        } else {
            None
        };
        let detail = found.map_or("", |(_, detail)| detail).to_owned();
        let (at, within) = match detail.as_str() {
            "recent_buyer" => (last_order, Some(traits.recent_buyer.within)),
            "returned" => (returned, Some(traits.returned.within)),
            _ => (None, None),
        };
        self.saw(Seen {
            scope: Some(detail.clone()),
            at,
            window: within.map(|within| within.to_string()),
            ..Seen::default()
        });
        let failed = found.map(|(reason, _)| Ruling::End(reason));
        self.verdict("traits", failed, detail)
    }

    /// A band whose cap allows nothing at all.
    fn shut_out(&self, wish: &Wish<'_>) -> Option<Reason> {
        let caps = self.band_caps(wish);
        let none = caps.iter().find(|(cap, _)| cap.limit == 0);
        none.map(|(_, reason)| *reason)
    }

    /// Who always buys at a discount is not taught to wait for the next.
    fn is_on_diet(&self) -> bool {
        let known = self.profile.orders.recent().filter(|o| o.is_bought());
        self.plan.policy.traits.discount_diet.is_some_and(|diet| {
            let share = self.profile.discount_share();
            known.count() >= diet.orders && share.is_some_and(|share| share >= diet.share)
        })
    }
}

/// The suppression that covers everything that this wish could say, and the reason that it names: one alone, or several of products together.
fn covering<'b>(live: &[&'b Block], wish: &Wish<'_>) -> Option<(Reason, &'b Block)> {
    let whole = live
        .iter()
        .find(|block| block.scopes.iter().any(|scope| covers_whole(scope, wish)));
    let names = |scope: &Scope, product: &Promoted| match scope {
        Scope::Product(id) => *id == product.product_id || Some(id) == product.group_id.as_ref(),
        Scope::All
        | Scope::Class(_)
        | Scope::Flow(_)
        | Scope::Offer(_)
        | Scope::Category(_)
        | Scope::List(_) => false,
    };
    let covered = |product: &Promoted| {
        live.iter()
            .find(|block| block.scopes.iter().any(|scope| names(scope, product)))
    };
    let mut products = wish.products.iter();
    let all_bought =
        wish.class == Class::Marketing && products.all(|product| covered(product).is_some());
    whole.map(|block| (block.reason, *block)).or_else(|| {
        let by = wish
            .products
            .iter()
            .find_map(covered)
            .filter(|_| all_bought);
        by.map(|block| (Reason::PurchasedRelevant, *block))
    })
}

/// Does the guard keep this wish away, if its trait holds?
fn guards(guard: &Guard, wish: &Wish<'_>) -> bool {
    let concerns = match guard.keeps {
        Keeps::Nothing => false,
        Keeps::Discounts => wish.is_discount(),
        Keeps::Marketing => true,
    };
    concerns
        && !wish
            .flow
            .is_some_and(|flow| guard.exempt.contains(&flow.name))
}

/// Does a suppression's scope cover everything that this wish could say? Service heeds only what names it.
fn covers_whole(scope: &Scope, wish: &Wish<'_>) -> bool {
    let marketing = wish.class == Class::Marketing;
    match scope {
        Scope::All => marketing,
        Scope::Class(class) => *class == wish.class && marketing,
        Scope::Flow(name) => wish.flow.is_some_and(|flow| *flow.name == **name),
        Scope::Offer(id) => wish.offer.is_some_and(|offer| offer.id == *id),
        Scope::List(list) => wish.list == Some(list.as_str()),
        Scope::Product(_) | Scope::Category(_) => false,
    }
}
