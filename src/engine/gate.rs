//! The gate: everything that wants to speak to a customer passes it, in one order; the first check that fails names the reason
//! (product.md §7).
//!
//! ```text
//! flow active ─► channel ─► consent ─► address ─► suppressions ─► traits ─► group ─► offer ─► same message ─► caps ─► gap ─► quiet ─► control
//! end            pass over  pass over  pass over  end             end       end      end      end             ◄── defer ──►       observe
//! ```
//! *Pass over*: this step's channel cannot be used, the cascade goes on with the next step. *End*: the instance has nothing to say.

use jiff::tz::TimeZone;

use super::Plan;
use super::calendar::quiet_until;
use super::caps::{self, Weight};
use crate::decision::{Check, Offer, Reason, Scope};
use crate::event::Consent;
use crate::flow::{Class, Flow};
use crate::policy::{Cap, CapScope, Channel, ChannelMode, Window};
use crate::profile::person::control_bucket;
use crate::profile::reach::{ConsentSource, Unreachable};
use crate::profile::running::Running;
use crate::profile::{Block, Contact, Profile};
use crate::value::{Span, Timestamp};

/// Somebody who wants to speak to a customer on a channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    pub(super) channel: &'a Channel,
    pub(super) class: Class,
    pub(super) list: Option<&'a str>,
    pub(super) template: &'a str,
    pub(super) offer: Option<&'a Offer>,
    /// `None` for a request.
    pub(super) flow: Option<&'a Flow>,
    /// Instance key, or request id.
    pub(super) instance: &'a str,
    /// Products that the message is about; empty when about none in particular.
    pub(super) products: &'a [String],
}

/// What the gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// Speak.
    Pass,
    /// Control group: log it, do not speak.
    Observe(Reason),
    /// A cap is full until then.
    Capped(Timestamp, Reason),
    /// Not now; the whole gate again then.
    Defer(Timestamp, Reason),
    /// Not on this channel.
    PassOver(Reason),
    /// Not at all.
    End(Reason),
}

/// The gate at work on one wish.
pub(super) struct Gate<'a> {
    plan: &'a Plan,
    profile: &'a Profile,
    now: Timestamp,
    zone: TimeZone,
    checks: Vec<Check>,
}

/// Passes a wish through the gate: the ruling, and the checks that were met on the way.
pub(super) fn examine(
    plan: &Plan,
    profile: &Profile,
    wish: &Wish<'_>,
    now: Timestamp,
) -> (Ruling, Vec<Check>) {
    let mut gate = Gate {
        plan,
        profile,
        now,
        zone: profile.zone(&plan.policy),
        checks: Vec::with_capacity(12),
    };
    let ruling = gate.rule(wish).err().unwrap_or(Ruling::Pass);
    (ruling, gate.checks)
}

impl Gate<'_> {
    /// `Err` is the first check that failed.
    fn rule(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        // The engine asked before it came here: an instance of an inactive flow does not get this far.
        self.note("flow_active", true, String::new());
        self.channel(wish)?;
        self.consent(wish)?;
        self.address(wish)?;
        if wish.class != Class::Transactional {
            self.suppressions(wish)?;
            self.traits();
            self.group(wish)?;
            self.offer(wish)?;
            self.same_message(wish)?;
            if !self.profile.person.test {
                self.caps(wish)?;
                self.gap(wish)?;
            }
            self.quiet_hours(wish)?;
        }
        if wish.class == Class::Marketing && !self.profile.person.test {
            self.control(wish)?;
        }
        Ok(())
    }

    fn note(&mut self, name: &'static str, passed: bool, detail: String) {
        self.checks.push(Check {
            name,
            passed,
            detail,
        });
    }

    /// Notes a check and turns a failed one into its ruling.
    fn verdict(
        &mut self,
        name: &'static str,
        failed: Option<Ruling>,
        detail: String,
    ) -> Result<(), Ruling> {
        self.note(name, failed.is_none(), detail);
        failed.map_or(Ok(()), Err)
    }

    fn channel(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        let (failed, detail) = match wish.channel.mode {
            ChannelMode::Active => (false, "active"),
            ChannelMode::Stopped => (true, "stopped"),
            ChannelMode::Support => {
                let other = self.plan.policy.channels.values().any(|channel| {
                    channel.mode == ChannelMode::Active
                        && self.reaches(channel, wish.class, wish.list)
                });
                (other, "support: only for whom nothing else reaches")
            }
        };
        let failed = failed.then_some(Ruling::PassOver(Reason::ChannelStopped));
        self.verdict("channel", failed, detail.to_owned())
    }

    /// Could a message of this class and list reach the customer on this channel?
    fn reaches(&self, channel: &Channel, class: Class, list: Option<&str>) -> bool {
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
        let entry = reach.consent(&channel.name, list);
        match entry.map_or(Consent::Unknown, |entry| entry.state) {
            Consent::Granted => None,
            Consent::Unknown => {
                let own_order = self.profile.orders.own() > 0;
                let passes = self.plan.policy.soft_opt_in && own_order;
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

    fn consent(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        if wish.class == Class::Transactional {
            return Ok(());
        }
        let fault = self.consent_fault(wish.channel, wish.class, wish.list);
        let detail = wish
            .list
            .map_or_else(|| "every list".to_owned(), |list| format!("list {list}"));
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

    fn address(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        let fault = self.address_fault(wish.channel, wish.class);
        self.verdict("address", fault.map(Ruling::PassOver), String::new())
    }

    fn suppressions(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        let exempt = wish
            .flow
            .is_some_and(|flow| self.plan.policy.cooloff_exempt.contains(&flow.name));
        let live: Vec<&Block> = self
            .profile
            .blocks(self.now)
            .filter(|block| block.on.iter().any(|on| *on.channel == *wish.channel.name))
            // Denials, bounces and blocks by hand have their own checks, which know what was said since.
            .filter(|block| block.order_id.is_some() && !exempt)
            .collect();
        let whole = live
            .iter()
            .find(|block| block.scopes.iter().any(|scope| covers_whole(scope, wish)));
        let covered = |product: &String| {
            live.iter().find(|block| {
                block
                    .scopes
                    .iter()
                    .any(|scope| matches!(scope, Scope::Product(id) if id == product))
            })
        };
        let is_product_wish = wish.class == Class::Marketing && !wish.products.is_empty();
        let all_bought = is_product_wish
            && wish
                .products
                .iter()
                .all(|product| covered(product).is_some());
        let reason = whole
            .map(|block| block.reason)
            .or_else(|| all_bought.then_some(Reason::PurchasedRelevant));
        let detail = format!("{} live", live.len());
        self.verdict("suppressions", reason.map(Ruling::End), detail)
    }

    /// Global traits (recent buyer, returned, churn and intent bands) have no rule yet that could fail.
    fn traits(&mut self) {
        let vip = if self.profile.person.vip() { "vip" } else { "" };
        self.note("traits", true, vip.to_owned());
    }

    fn group(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        let Some((flow, group)) = wish
            .flow
            .and_then(|flow| Some((flow, flow.exclusive_group.as_ref()?)))
        else {
            return Ok(());
        };
        let running: &Running = &self.profile.running;
        let rival = running
            .instances
            .iter()
            .filter(|other| !(*other.flow == *flow.name && other.key == wish.instance))
            .filter_map(|other| self.plan.flows.version(&other.flow, &other.version))
            .find(|other| {
                other.exclusive_group.as_ref() == Some(group) && other.priority > flow.priority
            });
        let detail = rival.map_or_else(
            || group.to_string(),
            |rival| format!("{group}: {}", rival.name),
        );
        let failed = rival.map(|_| Ruling::End(Reason::ExclusiveGroup));
        self.verdict("exclusive_group", failed, detail)
    }

    fn is_own(wish: &Wish<'_>, contact: &Contact) -> bool {
        wish.flow
            .is_some_and(|flow| contact.flow.as_deref() == Some(&*flow.name))
            && contact.instance == wish.instance
    }

    fn offer(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        let Some(offer) = wish.offer else {
            return Ok(());
        };
        let reached = self.profile.contacts.iter().any(|contact| {
            contact.offer.as_ref() == Some(&offer.id)
                && *contact.channel != *wish.channel.name
                && (contact.opened_at.is_some() || contact.clicked_at.is_some())
                && !Self::is_own(wish, contact)
        });
        let failed = reached.then_some(Ruling::End(Reason::AlreadyReachedOtherChannel));
        self.verdict("offer", failed, String::new())
    }

    fn same_message(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        let since = self.now.minus(self.plan.policy.same_message);
        let twice = self.profile.contacts.iter().any(|contact| {
            contact.template == wish.template && !contact.freed && contact.handed_at > since
        });
        let failed = twice.then_some(Ruling::End(Reason::DuplicateMessage));
        let detail = format!("within {}", self.plan.policy.same_message);
        self.verdict("same_message", failed, detail)
    }

    /// Every cap that looks at this wish: those of the policy, and the one of service messages.
    fn caps_of(&self, wish: &Wish<'_>) -> Vec<Cap> {
        let weight = Weight {
            channel: &wish.channel.name,
            class: wish.class,
            discount: wish.offer.is_some_and(|offer| offer.discount),
        };
        let mut caps: Vec<Cap> = self
            .plan
            .policy
            .caps
            .iter()
            .filter(|cap| caps::applies(cap, &weight))
            .filter(|cap| {
                wish.class == Class::Marketing || cap.scope == CapScope::Class(wish.class)
            })
            .cloned()
            .collect();
        if wish.class == Class::Service {
            caps.push(Cap {
                scope: CapScope::Class(Class::Service),
                limit: self.plan.policy.service_per_hour,
                window: Window::Rolling(Span::from_hours(1)),
            });
        }
        caps
    }

    fn caps(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        let mut worst: Option<(Timestamp, Reason)> = None;
        let mut details = Vec::new();
        for cap in self.caps_of(wish) {
            let Some(full) = caps::full(&cap, &self.profile.contacts, self.now, &self.zone) else {
                continue;
            };
            details.push(caps::describe(&cap, full.count));
            let reason = if cap.scope == CapScope::Discount {
                Reason::DiscountCapped
            } else {
                Reason::FrequencyCapped
            };
            if worst.is_none_or(|(until, _)| until < full.until) {
                worst = Some((full.until, reason));
            }
        }
        let failed = worst.map(|(until, reason)| Ruling::Capped(until, reason));
        self.verdict("caps", failed, details.join("; "))
    }

    fn gap(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        if wish.class != Class::Marketing {
            return Ok(());
        }
        let gap = self.plan.policy.min_gap;
        let until = caps::last_contact(&self.profile.contacts)
            .map(|last| last.plus(gap))
            .filter(|until| *until > self.now);
        let failed = until.map(|until| Ruling::Defer(until, Reason::MinGap));
        self.verdict("min_gap", failed, gap.to_string())
    }

    fn quiet_hours(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        let Some(quiet) = wish.channel.quiet_hours else {
            return Ok(());
        };
        let until = quiet_until(self.now, quiet, &self.zone);
        let failed = until.map(|until| Ruling::Defer(until, Reason::QuietHours));
        let detail = format!(
            "{:02}:{:02}-{:02}:{:02}",
            quiet.from.0 / 60,
            quiet.from.0 % 60,
            quiet.to.0 / 60,
            quiet.to.0 % 60
        );
        self.verdict("quiet_hours", failed, detail)
    }

    fn control(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        let policy = &self.plan.policy;
        let bucket = self.profile.person.bucket.unwrap_or_default();
        if bucket < policy.control_group {
            let held = Ruling::Observe(Reason::HoldoutGlobal);
            return self.verdict("control_group", Some(held), String::new());
        }
        let own = wish
            .flow
            .filter(|flow| flow.holdout > 0)
            .is_some_and(|flow| {
                let salt = format!("{}\0{}", policy.control_salt, flow.name);
                control_bucket(&salt, self.profile.key()) < flow.holdout
            });
        let held = own.then_some(Ruling::Observe(Reason::HoldoutFlow));
        self.verdict("control_group", held, String::new())
    }
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
