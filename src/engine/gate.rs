//! The gate: everything that wants to speak to a customer passes it, in one order; the first check that fails names the reason
//! (product.md §7).
//!
//! ```text
//! flow active ─► channel ─► consent ─► address ─► suppressions ─► traits ─► group ─► priority ─► offer ─► same message ─► caps ─► gap ─► quiet ─► control
//! end            pass over  pass over  pass over  end             end       end      defer       end      end             ◄──── defer ────►      observe
//! ```
//! *Pass over*: this step's channel cannot be used, the cascade goes on with the next step. *End*: the instance has nothing to say.
//! [`standing`] asks who the customer is to us, [`pressure`] what else they hear.

use jiff::tz::TimeZone;

use super::Plan;
use super::ledger::{Health, Ledger};
use super::quiet::{describe, quiet_until};
use crate::decision::{Check, Offer, Reason, Seen};
use crate::flow::{Class, Flow};
use crate::policy::{Channel, ChannelMode};
use crate::profile::Profile;
use crate::profile::person::flow_bucket;
use crate::profile::running::PendingRequest;
use crate::value::Timestamp;

mod pressure;
mod standing;

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
    pub(super) products: &'a [Promoted],
}

/// A product that a message is about.
#[derive(Clone, Debug)]
pub(super) struct Promoted {
    pub(super) product_id: String,
    /// What all variants share: one that was bought stands for all.
    pub(super) group_id: Option<String>,
}

impl<'a> Wish<'a> {
    /// What a request wants to say on one of its channels.
    pub(super) fn of_request(
        channel: &'a Channel,
        request: &'a PendingRequest,
        offer: Option<&'a Offer>,
    ) -> Self {
        Self {
            channel,
            class: request.class,
            list: request.list.as_deref(),
            template: &request.template,
            offer,
            flow: None,
            instance: &request.request_id,
            products: &[],
        }
    }

    fn is_discount(&self) -> bool {
        self.offer.is_some_and(|offer| offer.discount)
    }

    /// Requests have none.
    fn priority(&self) -> u32 {
        self.flow.map_or(0, |flow| flow.priority)
    }
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
    ledger: &'a Ledger,
    profile: &'a Profile,
    now: Timestamp,
    zone: TimeZone,
    checks: Vec<Check>,
    /// What stands in the way, by the check that is being made.
    seen: Option<Box<Seen>>,
}

/// Passes a wish through the gate: the ruling, and the checks that were met on the way.
pub(super) fn examine(
    plan: &Plan,
    ledger: &Ledger,
    profile: &Profile,
    wish: &Wish<'_>,
    now: Timestamp,
) -> (Ruling, Vec<Check>) {
    let mut gate = Gate::new(plan, ledger, profile, now);
    let ruling = gate.rule(wish).err().unwrap_or(Ruling::Pass);
    (ruling, gate.checks)
}

/// Why purchases leave a wish nothing to say now, if they do: its check in the gate, alone.
pub(super) fn suppressed(
    plan: &Plan,
    ledger: &Ledger,
    profile: &Profile,
    wish: &Wish<'_>,
    now: Timestamp,
) -> Option<Reason> {
    Gate::new(plan, ledger, profile, now).suppressed(wish)
}

impl<'a> Gate<'a> {
    fn new(plan: &'a Plan, ledger: &'a Ledger, profile: &'a Profile, now: Timestamp) -> Self {
        Self {
            plan,
            ledger,
            profile,
            now,
            zone: profile.zone(&plan.policy),
            checks: Vec::with_capacity(14),
            seen: None,
        }
    }
}

impl Gate<'_> {
    /// `Err` is the first check that failed. Which class meets which check: product.md §7's table.
    fn rule(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        // The engine asked before it came here: an instance of an inactive flow does not get this far.
        self.note("flow_active", true, String::new());
        self.channel(wish)?;
        self.consent(wish)?;
        self.address(wish)?;
        if wish.class != Class::Transactional {
            self.suppressions(wish)?;
            if wish.class == Class::Marketing {
                self.traits(wish)?;
            }
            self.group(wish)?;
            if wish.class == Class::Marketing && !self.profile.person.test {
                self.priority(wish)?;
            }
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
        let seen = self.seen.take().filter(|_| !passed);
        self.checks.push(Check {
            name,
            passed,
            detail,
            seen,
        });
    }

    /// Remembers what stands in the way, for the check that is noted next.
    fn saw(&mut self, seen: Seen) {
        self.seen = Some(Box::new(seen));
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
        let stopped = Some(Reason::ChannelStopped);
        let (fault, detail) = match wish.channel.mode {
            ChannelMode::Active => (None, "active"),
            ChannelMode::Stopped => (stopped, "stopped"),
            ChannelMode::Support => {
                let other = self.plan.policy.channels.values().any(|channel| {
                    channel.mode == ChannelMode::Active
                        && self.ledger.health(channel, self.now) != Health::Down
                        && self.reaches(channel, wish.class, wish.list)
                });
                let fault = stopped.filter(|_| other);
                (fault, "support: only for whom nothing else reaches")
            }
        };
        let (fault, detail) = match (fault, self.ledger.health(wish.channel, self.now)) {
            (None, Health::Down) => (Some(Reason::ChannelDown), "down"),
            (None, Health::Probe) => (None, "down: this contact is to find out whether still"),
            (fault, Health::Up | Health::Probe | Health::Down) => (fault, detail),
        };
        if fault == Some(Reason::ChannelDown) {
            let at = self.ledger.down_since(wish.channel);
            self.saw(Seen {
                at,
                ..Seen::default()
            });
        }
        self.verdict("channel", fault.map(Ruling::PassOver), detail.to_owned())
    }

    fn quiet_hours(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        let rules = &wish.channel.quiet_hours;
        if rules.is_empty() {
            return Ok(());
        }
        let country = self.profile.person.country();
        let until = quiet_until(rules, country, self.now, &self.zone);
        self.saw(Seen {
            until,
            ..Seen::default()
        });
        let failed = until.map(|until| Ruling::Defer(until, Reason::QuietHours));
        self.verdict("quiet_hours", failed, describe(rules, country))
    }

    /// The last check, so that an observation is logged exactly where a contact would have left.
    fn control(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        let policy = &self.plan.policy;
        let bucket = self.profile.person.bucket.unwrap_or_default();
        let share = |limit: u32| Seen {
            count: Some(bucket),
            limit: Some(limit),
            ..Seen::default()
        };
        if bucket < policy.control_group {
            self.saw(share(policy.control_group));
            let held = Ruling::Observe(Reason::HoldoutGlobal);
            return self.verdict("control_group", Some(held), String::new());
        }
        let own = wish
            .flow
            .filter(|flow| flow.holdout > 0)
            .is_some_and(|flow| {
                flow_bucket(&policy.control_salt, &flow.name, bucket) < flow.holdout
            });
        if let Some(flow) = wish.flow.filter(|_| own) {
            self.saw(Seen {
                limit: Some(flow.holdout),
                ..Seen::default()
            });
        }
        let held = own.then_some(Ruling::Observe(Reason::HoldoutFlow));
        self.verdict("control_group", held, String::new())
    }
}
