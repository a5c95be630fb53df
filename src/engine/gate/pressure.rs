//! What else the customer hears: rivals, offers that reached them, caps and gaps.

use super::{Gate, Ruling, Wish};
use crate::decision::{Reason, Seen};
use crate::engine::advance::step_of;
use crate::engine::caps::{self, Weight};
use crate::engine::ledger::next_shop_day;
use crate::flow::{Class, Flow};
use crate::policy::{Cap, CapScope, Window};
use crate::profile::Contact;
use crate::profile::running::{Instance, Phase};
use crate::value::{Span, Timestamp};

/// How far ahead a slot is kept for a higher priority that waits for its hour: a day holds every quiet time and gap.
const KEPT_AHEAD: Span = Span::from_days(1);

impl Gate<'_> {
    /// The flows of the other running instances.
    fn rivals<'s>(&'s self, wish: &'s Wish<'_>) -> impl Iterator<Item = (&'s Instance, &'s Flow)> {
        let own = |other: &&Instance| {
            wish.flow.is_some_and(|flow| *other.flow == *flow.name) && other.key == wish.instance
        };
        let others = self.profile.running.instances.iter();
        others.filter(move |other| !own(other)).filter_map(|other| {
            let flow = self.plan.flows.version(&other.flow, &other.version)?;
            Some((other, &**flow))
        })
    }

    pub(super) fn group(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        let Some((flow, group)) = wish
            .flow
            .and_then(|flow| Some((flow, flow.exclusive_group.as_ref()?)))
        else {
            return Ok(());
        };
        let rival = self.rivals(wish).find(|(_, other)| {
            other.exclusive_group.as_ref() == Some(group) && other.priority > flow.priority
        });
        let detail = rival.map_or_else(
            || group.to_string(),
            |(_, rival)| format!("{group}: {}", rival.name),
        );
        let seen = rival.map(|(_, rival)| Seen {
            scope: Some(group.to_string()),
            flow: Some(rival.name.to_string()),
            ..Seen::default()
        });
        let failed = rival.map(|_| Ruling::End(Reason::ExclusiveGroup));
        self.seen = seen.map(Box::new);
        self.verdict("exclusive_group", failed, detail)
    }

    /// A higher priority that only waits for its hour keeps the slot that this wish would take away from it.
    pub(super) fn priority(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        let caps = self.caps_of(wish);
        let holder = self
            .rivals(wish)
            .filter(|(other, flow)| {
                other.phase == Phase::Waiting
                    && other.passes > 0
                    && other.due > self.now
                    && other.due <= self.now.plus(KEPT_AHEAD)
                    && other.due < other.expires_at
                    && flow.class == Class::Marketing
                    && flow.priority > wish.priority()
            })
            .filter(|(other, flow)| {
                caps.iter()
                    .any(|(cap, _)| self.would_fill(cap, other, flow))
            })
            .map(|(other, flow)| (other.due, flow.name.to_string()))
            .min();
        let detail = holder.as_ref().map_or_else(
            || wish.priority().to_string(),
            |(due, flow)| format!("{flow} is to go first at {due}"),
        );
        if let Some((due, flow)) = &holder {
            self.saw(Seen {
                flow: Some(flow.clone()),
                until: Some(*due),
                ..Seen::default()
            });
        }
        let after = |due: Timestamp| due.plus(Span::from_millis(1));
        let failed = holder.map(|(due, _)| Ruling::Defer(after(due), Reason::LowerPriority));
        self.verdict("priority", failed, detail)
    }

    /// Would a contact now leave a rival without a slot when its time comes?
    fn would_fill(&self, cap: &Cap, rival: &Instance, flow: &Flow) -> bool {
        let Some(step) = step_of(flow, rival.step) else {
            return false;
        };
        // Which of several channels policy will take is not known yet: the slot is kept on each.
        let applies = step.channels.iter().any(|channel| {
            let weight = Weight {
                channel,
                class: flow.class,
                discount: flow.offer.as_ref().is_some_and(|offer| offer.discount),
            };
            caps::applies(cap, &weight)
        });
        let full = |extra| {
            let contacts = &self.profile.contacts;
            caps::full(cap, contacts, extra, rival.due, &self.zone).is_some()
        };
        applies && full(Some(self.now)) && !full(None)
    }

    fn is_own(wish: &Wish<'_>, contact: &Contact) -> bool {
        wish.flow
            .is_some_and(|flow| contact.flow.as_deref() == Some(&*flow.name))
            && contact.instance == wish.instance
    }

    pub(super) fn offer(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        let Some(offer) = wish.offer else {
            return Ok(());
        };
        let reached = self.profile.contacts.iter().find(|contact| {
            contact.offer.as_ref() == Some(&offer.id)
                && *contact.channel != *wish.channel.name
                && reached_at(contact).is_some()
                && !Self::is_own(wish, contact)
        });
        let failed = reached.map(|_| Ruling::End(Reason::AlreadyReachedOtherChannel));
        self.seen = reached.map(|contact| Box::new(said_before(contact)));
        self.verdict("offer", failed, String::new())
    }

    /// The same template about the same thing: a reminder of a second product that runs out is another message, for the caps to space.
    pub(super) fn same_message(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        let since = self.now.minus(self.plan.policy.same_message);
        let offer = wish.offer.map(|offer| &offer.id);
        let twice = self.profile.contacts.iter().find(|contact| {
            contact.template == wish.template
                && contact.offer.as_ref() == offer
                && contact.holds_slot()
                && contact.handed_at > since
        });
        let failed = twice.map(|_| Ruling::End(Reason::DuplicateMessage));
        self.seen = twice.map(|contact| {
            let mut seen = said_before(contact);
            seen.at = Some(contact.handed_at);
            seen.until = Some(contact.handed_at.plus(self.plan.policy.same_message));
            seen.window = Some(self.plan.policy.same_message.to_string());
            Box::new(seen)
        });
        let detail = format!("within {}", self.plan.policy.same_message);
        self.verdict("same_message", failed, detail)
    }

    /// The caps of the churn and intent bands that the customer is in, as far as they look at this wish.
    pub(super) fn band_caps(&self, wish: &Wish<'_>) -> Vec<(Cap, Reason)> {
        if wish.class != Class::Marketing {
            return Vec::new();
        }
        let traits = &self.plan.policy.traits;
        let score = |name: &str| self.profile.scores.value(name, self.now);
        let churn = traits.churn.as_ref().filter(|band| {
            let score = score(&band.score);
            score.is_some_and(|score| score >= band.bound)
        });
        let intent = traits.intent.as_ref().filter(|band| {
            let score = score(&band.score);
            score.is_some_and(|score| score <= band.bound)
        });
        let weight = Self::weight(wish);
        [(churn, Reason::ChurnGuard), (intent, Reason::LowIntent)]
            .into_iter()
            .filter_map(|(band, reason)| Some((band?.cap.clone(), reason)))
            .filter(|(cap, _)| caps::applies(cap, &weight))
            .collect()
    }

    fn weight<'w>(wish: &'w Wish<'_>) -> Weight<'w> {
        Weight {
            channel: &wish.channel.name,
            class: wish.class,
            discount: wish.is_discount(),
        }
    }

    /// Every cap that looks at this wish, and the reason it names: the policy's, the bands', and the one of service messages.
    fn caps_of(&self, wish: &Wish<'_>) -> Vec<(Cap, Reason)> {
        let weight = Self::weight(wish);
        let of_policy = self
            .plan
            .policy
            .caps
            .iter()
            .filter(|cap| caps::applies(cap, &weight))
            .filter(|cap| {
                wish.class == Class::Marketing || cap.scope == CapScope::Class(wish.class)
            })
            .map(|cap| {
                let reason = match &cap.scope {
                    CapScope::Discount => Reason::DiscountCapped,
                    CapScope::Channel(_) | CapScope::Class(_) | CapScope::Any => {
                        Reason::FrequencyCapped
                    }
                };
                (cap.clone(), reason)
            });
        let mut caps: Vec<(Cap, Reason)> = of_policy.chain(self.band_caps(wish)).collect();
        if wish.class == Class::Service {
            let hourly = Cap {
                scope: CapScope::Class(Class::Service),
                limit: self.plan.policy.service_per_hour,
                window: Window::Rolling(Span::from_hours(1)),
            };
            caps.push((hourly, Reason::FrequencyCapped));
        }
        caps
    }

    /// All caps that look at this wish must have a slot; of several full ones the one that is full longest names the reason.
    pub(super) fn caps(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        let mut worst: Option<(Timestamp, Reason)> = None;
        let mut details = Vec::new();
        let mut by = None;
        let mut note = |until: Timestamp, reason: Reason, detail: String, seen: Seen| {
            details.push(detail);
            if worst.is_none_or(|(known, _)| known < until) {
                worst = Some((until, reason));
                by = Some(Box::new(seen));
            }
        };
        for (cap, reason) in self.caps_of(wish) {
            let contacts = &self.profile.contacts;
            if let Some(full) = caps::full(&cap, contacts, None, self.now, &self.zone) {
                let seen = caps::seen(&cap, &full);
                note(full.until, reason, caps::describe(&cap, &full), seen);
            }
        }
        let policy = &self.plan.policy;
        let budget = self.ledger.budget(wish.channel, policy, self.now);
        if wish.class == Class::Marketing
            && let Some((spent, share)) = budget
            && spent >= share
        {
            let until = next_shop_day(policy, self.now);
            let detail = format!("budget of {}: {spent} of {share} today", wish.channel.name);
            let seen = Seen {
                until: Some(until),
                count: Some(spent),
                limit: Some(share),
                ..Seen::default()
            };
            note(until, Reason::ChannelBudget, detail, seen);
        }
        self.seen = by;
        let failed = worst.map(|(until, reason)| Ruling::Capped(until, reason));
        self.verdict("caps", failed, details.join("; "))
    }

    pub(super) fn gap(&mut self, wish: &Wish<'_>) -> Result<(), Ruling> {
        if wish.class != Class::Marketing {
            return Ok(());
        }
        let gap = self.plan.policy.min_gap;
        let last = caps::last_contact(&self.profile.contacts);
        let until = last
            .map(|last| last.handed_at.plus(gap))
            .filter(|until| *until > self.now);
        self.seen = last.map(|contact| {
            let mut seen = said_before(contact);
            seen.at = Some(contact.handed_at);
            seen.until = until;
            seen.window = Some(gap.to_string());
            Box::new(seen)
        });
        let failed = until.map(|until| Ruling::Defer(until, Reason::MinGap));
        self.verdict("min_gap", failed, gap.to_string())
    }
}

/// When a contact reached its customer: a click, an open, or a purchase that it led to.
fn reached_at(contact: &Contact) -> Option<Timestamp> {
    contact
        .clicked_at
        .or(contact.opened_at)
        .or(contact.converted_at)
}

/// An earlier contact that stands in the way; when it reached the customer.
fn said_before(contact: &Contact) -> Seen {
    Seen {
        flow: contact.flow.clone(),
        channel: Some(contact.channel.clone()),
        decision: Some(contact.id),
        at: reached_at(contact),
        ..Seen::default()
    }
}
