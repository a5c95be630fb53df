//! The reasons of the closed set as the second half of a sentence, with the numbers of the check that decided.

use super::sentence::{Hours, message};
use super::{CheckRead, Entry};
use crate::decision::{Reason, VerdictKind};
use crate::value::{Span, Timestamp};
use crate::words::span;

/// What comes after "because" (which is not written).
pub(super) fn because(entry: &Entry, hours: &Hours) -> String {
    let nothing = CheckRead::default();
    let told = Told {
        entry,
        hours,
        check: entry.decided_by().unwrap_or(&nothing),
    };
    match entry.closed_reason() {
        None => format!("{} (armed by {})", entry.reason, told.event()),
        Some(reason) => told.reason(reason),
    }
}

struct Told<'a> {
    entry: &'a Entry,
    hours: &'a Hours,
    /// The check that decided; an empty one where no check did.
    check: &'a CheckRead,
}

impl Told<'_> {
    fn reason(&self, reason: Reason) -> String {
        match reason {
            Reason::PurchasedRelevant => self.purchased(),
            Reason::PurchaseCooloff => self.cooloff(),
            Reason::GoalReached => self.by_event("it has reached its goal"),
            Reason::ExitEvent => self.exit(),
            Reason::CartEmpty => self.by_event("the cart is empty"),
            Reason::CartCheckedOut => "the cart is checked out".to_owned(),
            Reason::NoConsent => self.no_consent(),
            Reason::ConsentExpired => self.consent_expired(),
            Reason::Unsubscribed => self.unreachable("they unsubscribed on"),
            Reason::HardBounced => self.unreachable("there is no working address on"),
            Reason::SoftBounceLimit => self.soft_bounces(),
            Reason::Complained => self.unreachable("they complained about a message on"),
            Reason::ManualBlock => self.by_event("somebody of the shop blocked them"),
            Reason::NoAddress => self.unreachable("they have no address on"),
            Reason::FrequencyCapped => self.frequency(),
            Reason::MinGap => self.gap(),
            Reason::DiscountCapped => self.discount(),
            Reason::ChannelBudget => self.budget(),
            Reason::QuietHours => format!("it is quiet time there ({})", self.check.detail),
            Reason::LowerPriority => self.lower_priority(),
            Reason::ExclusiveGroup => self.group(),
            Reason::DuplicateMessage => self.duplicate(),
            Reason::AlreadyReachedOtherChannel => self.reached(),
            Reason::NotReentrant => self.reentry(),
            Reason::HoldoutGlobal => self.holdout(),
            Reason::HoldoutFlow => self.holdout_of_flow(),
            Reason::LowIntent => self.band("they hardly mean to buy"),
            Reason::ChurnGuard => self.band("they are about to leave"),
            Reason::NegativeExperience => self.bad_experience(),
            Reason::VipGuard => "they are a VIP, whom the policy spares this".to_owned(),
            Reason::StaleEvent => self.stale(),
            Reason::Expired => self.expired(),
            Reason::ChannelStopped => self.stopped(),
            Reason::ChannelDown => self.down(),
            Reason::FlowInactive => "the flow was taken out of force".to_owned(),
            Reason::OrderCancelled => self.by_event("the order was cancelled"),
            Reason::OrderRefunded => self.by_event("it was given back"),
            Reason::Resubscribed => self.by_event("they can be reached, and want to be, again"),
            Reason::ProfileMerged => "the profile was merged into another".to_owned(),
            Reason::ProfileErased => "the profile was erased".to_owned(),
        }
    }

    /// Nothing to say about it but what brought it about.
    fn by_event(&self, what: &str) -> String {
        if self.check.check.is_empty() {
            format!("{what} ({})", self.event())
        } else {
            what.to_owned()
        }
    }

    fn at(&self, at: Option<Timestamp>) -> String {
        at.map_or_else(|| "an unknown time".to_owned(), |at| self.hours.near(at))
    }

    /// "event `e-1` of 10:00", with its type where the event itself decided.
    fn event(&self) -> String {
        let cause = &self.entry.cause;
        let kind = cause.kind.as_deref().unwrap_or("event");
        let at = cause.at.map(|at| format!(" of {}", self.hours.near(at)));
        format!("{kind} `{}`{}", cause.event_id, at.unwrap_or_default())
    }

    /// "16 h", "a calendar day", "2 calendar weeks".
    fn window(&self) -> String {
        let window = self.check.window.as_deref().unwrap_or_default();
        match window {
            "1 calendar day" => "a calendar day".to_owned(),
            "1 calendar week" => "a calendar week".to_owned(),
            other => other
                .parse::<Span>()
                .map_or_else(|_| other.to_owned(), span),
        }
    }

    /// "for `welcome`", "for a campaign".
    fn flow(&self) -> String {
        let flow = self.check.flow.as_deref();
        flow.map_or_else(|| "a campaign".to_owned(), |flow| format!("`{flow}`"))
    }

    fn order(&self) -> String {
        let order = self.check.order_id.as_deref();
        order.map_or_else(
            || "a purchase".to_owned(),
            |order| format!("order `{order}`"),
        )
    }

    fn until(&self) -> String {
        let until = self
            .check
            .until
            .map(|at| format!(" until {}", self.hours.near(at)));
        until.unwrap_or_default()
    }

    fn purchased(&self) -> String {
        if self.check.check == "suppressions" {
            let (order, at) = (self.order(), self.at(self.check.at));
            return format!(
                "what it would promote was bought with {order} at {at}, and is not promoted{}",
                self.until()
            );
        }
        match self.entry.kind {
            // An earlier suppression gives way to the one that this purchase begins.
            VerdictKind::Suppress | VerdictKind::Release => {
                format!("they bought it ({})", self.event())
            }
            VerdictKind::Send
            | VerdictKind::Cancel
            | VerdictKind::Refuse
            | VerdictKind::Defer
            | VerdictKind::Skip
            | VerdictKind::Observe
            | VerdictKind::Expire
            | VerdictKind::Outcome => format!("a purchase made it pointless ({})", self.event()),
        }
    }

    fn cooloff(&self) -> String {
        match self.check.check.as_str() {
            "suppressions" => format!(
                "marketing pauses after {} of {}{}",
                self.order(),
                self.at(self.check.at),
                self.until()
            ),
            "traits" => format!(
                "they bought at {}, less than {} ago",
                self.at(self.check.at),
                self.window()
            ),
            _ => format!("they bought ({})", self.event()),
        }
    }

    fn exit(&self) -> String {
        match (self.check.check.as_str(), self.check.detail.as_str()) {
            ("when", "") => "its condition does not hold".to_owned(),
            ("when", condition) => format!("its condition `{condition}` does not hold"),
            _ => format!("an exit rule of the flow ended it ({})", self.event()),
        }
    }

    /// What happened on the channel, to which list, and by which event or since when.
    fn unreachable(&self, what: &str) -> String {
        let told = match self.check.at {
            Some(at) => format!(" at {}", self.hours.near(at)),
            None if self.check.check.is_empty() => format!(" ({})", self.event()),
            None => String::new(),
        };
        format!("{what} {}{told}", self.channel())
    }

    /// "email, list `offers`".
    fn channel(&self) -> String {
        let channel = self.entry.channel.as_deref().unwrap_or("this channel");
        match self.check.detail.strip_prefix("list ") {
            Some(list) => format!("{channel}, list `{list}`"),
            None => channel.to_owned(),
        }
    }

    fn no_consent(&self) -> String {
        match (self.check.check.is_empty(), self.check.at) {
            (false, None) => format!("nobody told of a consent for {}", self.channel()),
            (false, Some(at)) => {
                let (channel, at) = (self.channel(), self.hours.near(at));
                format!("there is no consent for {channel}, as told at {at}")
            }
            (true, _) => format!("they took back their consent ({})", self.event()),
        }
    }

    fn consent_expired(&self) -> String {
        let (channel, at) = (self.channel(), self.at(self.check.at));
        format!(
            "the consent for {channel} is of {at}, older than {}",
            self.window()
        )
    }

    fn soft_bounces(&self) -> String {
        match self.check.limit {
            Some(limit) => {
                let channel = self.channel();
                format!("{limit} messages in a row came back from every address on {channel}")
            }
            None => self.unreachable("message after message came back from the address on"),
        }
    }

    /// "it would have been the 2nd e-mail in 16 h, cap 1; the first left at 09:12 for `welcome`".
    fn cap(&self) -> String {
        let (Some(count), Some(limit)) = (self.check.count, self.check.limit) else {
            return "a cap is full".to_owned();
        };
        let scope = self.check.scope.as_deref().unwrap_or("any");
        let what = match scope {
            "any" => "contact of any kind".to_owned(),
            "discount" => "discount".to_owned(),
            "marketing" | "service" | "transactional" => format!("{scope} contact"),
            channel => message(channel),
        };
        if limit == 0 {
            return format!("the cap allows no {what}");
        }
        let nth = ordinal(count + 1);
        let holder = match self.check.at {
            Some(_) => format!(
                "; {} left at {} for {}",
                if count == 1 {
                    "the first"
                } else {
                    "the one whose place comes free first"
                },
                self.at(self.check.at),
                self.flow()
            ),
            None => String::new(),
        };
        format!(
            "it would have been the {nth} {what} in {}, cap {limit}{holder}",
            self.window()
        )
    }

    fn frequency(&self) -> String {
        match self.check.check.as_str() {
            "instances" => {
                let limit = self.check.limit.unwrap_or_default();
                format!("{limit} instances run for them already, the most that may")
            }
            "" => "as many requests wait for them as may".to_owned(),
            _ => self.cap(),
        }
    }

    fn discount(&self) -> String {
        if self.check.check == "traits" {
            "they nearly always buy at a discount, and are not taught to wait for the next"
                .to_owned()
        } else {
            self.cap()
        }
    }

    fn budget(&self) -> String {
        let spent = self.check.count.zip(self.check.limit);
        let spent = spent.map(|(spent, share)| format!(" ({spent} of {share} in this partition)"));
        format!(
            "today's budget of the channel is spent{}",
            spent.unwrap_or_default()
        )
    }

    fn gap(&self) -> String {
        let channel = self.check.channel.as_deref().map(message);
        format!(
            "the last contact, the {} of {}, left at {}, less than {} before",
            channel.unwrap_or_else(|| "message".to_owned()),
            self.flow(),
            self.at(self.check.at),
            self.window()
        )
    }

    /// A trait that is a band: it closes altogether, or has a cap of its own.
    fn band(&self, who: &str) -> String {
        if self.check.check == "traits" {
            format!("{who}, and are left alone")
        } else {
            format!("{who}, and hear less: {}", self.cap())
        }
    }

    fn lower_priority(&self) -> String {
        let flow = self.flow();
        match self.check.check.as_str() {
            "" => "something of higher priority took its place".to_owned(),
            "exclusive_group" => {
                let group = self.check.scope.as_deref().unwrap_or_default();
                format!("{flow}, of the same group `{group}` and higher priority, began")
            }
            "on_cap" => format!("{flow}, of higher priority, took its place"),
            _ => {
                let at = self.at(self.check.until);
                format!(
                    "{flow}, of higher priority, is to go first at {at}, and there is room for one"
                )
            }
        }
    }

    fn group(&self) -> String {
        let group = self.check.scope.as_deref().unwrap_or_default();
        let rival = self.flow();
        format!("{rival}, of the same group `{group}` and no lower priority, is running")
    }

    fn duplicate(&self) -> String {
        if self.check.check == "request" {
            let request = &self.check.detail;
            return match (self.check.at, self.check.channel.as_deref()) {
                (Some(at), Some(channel)) => {
                    let at = self.hours.near(at);
                    format!(
                        "`{request}` was answered by the {} of {at}",
                        message(channel)
                    )
                }
                _ => format!("`{request}` is waiting already"),
            };
        }
        let channel = self.check.channel.as_deref().unwrap_or_default();
        let (at, window) = (self.at(self.check.at), self.window());
        format!("the same message left at {at} on {channel}, less than {window} before")
    }

    fn reached(&self) -> String {
        let channel = self.check.channel.as_deref().unwrap_or_default();
        let (at, whose) = (self.at(self.check.at), self.flow());
        format!("the same offer reached them at {at} on {channel}, from {whose}")
    }

    fn reentry(&self) -> String {
        let at = self.at(self.check.at);
        match (self.check.at, self.check.until) {
            (Some(_), Some(until)) => {
                let until = self.hours.near(until);
                format!("it spoke at {at}, and begins again from {until} at the earliest")
            }
            (Some(_), None) => format!("it spoke at {at}, and speaks but once"),
            (None, _) => "it has spoken, and may not yet again".to_owned(),
        }
    }

    fn holdout(&self) -> String {
        let bucket = self.check.count.zip(self.check.limit);
        let bucket = bucket
            .map(|(own, limit)| format!(" (bucket {own}; those below {limit} of 10,000 are)"));
        format!(
            "they are in the control group{}",
            bucket.unwrap_or_default()
        )
    }

    fn holdout_of_flow(&self) -> String {
        let share = self.check.limit.map(|share| {
            let (whole, cents) = (share / 100, share % 100);
            let share = if cents == 0 {
                whole.to_string()
            } else {
                format!("{whole}.{cents:02}")
            };
            format!(" of {share} %")
        });
        format!(
            "they are in the flow's own control group{}",
            share.unwrap_or_default()
        )
    }

    fn stale(&self) -> String {
        let (at, window) = (self.at(self.check.at), self.window());
        format!("what would have begun it is of {at}, and nothing older than {window} may")
    }

    fn stopped(&self) -> String {
        match self.check.detail.as_str() {
            "" | "stopped" => "the channel is stopped".to_owned(),
            _ => "the channel is for those alone whom no other reaches".to_owned(),
        }
    }

    fn down(&self) -> String {
        let since = self
            .check
            .at
            .map(|at| format!(" since {}", self.hours.near(at)));
        let since = since.unwrap_or_default();
        format!("the channel is down{since}: too many of its messages failed")
    }

    fn bad_experience(&self) -> String {
        match (self.check.scope.as_deref(), self.check.at) {
            (Some("returned"), Some(_)) => format!(
                "they sent something back at {}, less than {} ago",
                self.at(self.check.at),
                self.window()
            ),
            _ => "they had a bad experience lately: a ticket, a complaint or an unhappy answer"
                .to_owned(),
        }
    }

    fn expired(&self) -> String {
        match self.entry.kind {
            VerdictKind::Cancel => "the next step takes its place".to_owned(),
            VerdictKind::Refuse => "the request's time was over".to_owned(),
            VerdictKind::Send
            | VerdictKind::Suppress
            | VerdictKind::Release
            | VerdictKind::Defer
            | VerdictKind::Skip
            | VerdictKind::Observe
            | VerdictKind::Expire
            | VerdictKind::Outcome => "its time was over".to_owned(),
        }
    }
}

/// `1st`, `2nd`, `3rd`, `4th`, `11th`, `21st`.
fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_end_as_they_are_spoken() {
        let said = [1, 2, 3, 4, 11, 12, 21, 102, 111].map(ordinal);
        assert_eq!(
            said,
            [
                "1st", "2nd", "3rd", "4th", "11th", "12th", "21st", "102nd", "111th"
            ]
        );
    }
}
