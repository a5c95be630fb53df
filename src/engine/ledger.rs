//! What the channels of one task have been through, over all its customers: breakers and budgets (product.md §7).
//!
//! It belongs to the task, not to the process: it changes only by what the task's own records and timers do, is written with them (a task
//! record) and restored with them, so that a restart, another owner and `replay` decide the same (DT-1). Each task sees a share of the
//! shop: a breaker opens per task, a budget is split evenly over the partitions.
//!
//! ```text
//!         failures ≥ limit and ≥ successes, within the window
//!   up ────────────────────────────────────────────────────────► down: the gate says `channel_down`, cascades move on
//!    ▲                                                             │ every `probe`: one contact is let through
//!    └──────────── a message sent or delivered after that ─────────┘
//! ```
//! The half-open circuit breaker of Nygard, Release It!, 2nd ed. (2018), ch. 5.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use minicbor::{Decode, Encode};

use crate::event::{Bounce, Event, EventType, Receipt};
use crate::policy::{Breaker, Channel, Policy};
use crate::profile::rhythm::Day;
use crate::value::{Span, Timestamp};

/// Parts that a breaker's window is counted in: a finer count than a tenth of it decides nothing.
const PARTS: i64 = 10;
/// Version of the written form.
const VERSION: u8 = 1;

/// Results of a stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
struct Part {
    #[n(0)]
    start: Timestamp,
    #[n(1)]
    good: u32,
    #[n(2)]
    bad: u32,
}

/// One channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Account {
    /// Oldest first, at most [`PARTS`] and one.
    #[cbor(n(0), skip_if = "Vec::is_empty")]
    parts: Vec<Part>,
    /// Since when it is down.
    #[n(1)]
    down_since: Option<Timestamp>,
    /// When the last probe was let through.
    #[n(2)]
    probed: Option<Timestamp>,
    /// The shop's day that `spent` is of.
    #[cbor(n(3), default)]
    day: i64,
    /// Contacts of that day that hold their slot.
    #[cbor(n(4), default)]
    spent: u32,
}

/// What the gate asks of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// As ever.
    Up,
    /// Down, and this contact may find out whether still.
    Probe,
    /// Down until the next probe at the earliest.
    Down,
}

/// All channels of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    task: u32,
    accounts: BTreeMap<String, Account>,
    changed: bool,
}

impl Ledger {
    /// Of the task of this partition, before anything happened.
    #[must_use]
    pub fn new(task: i32) -> Self {
        Self {
            task: u32::try_from(task).unwrap_or_default(),
            ..Self::default()
        }
    }

    /// As [`Self::encode`] wrote it; `None` when it did not.
    #[must_use]
    pub fn decode(task: i32, value: &[u8]) -> Option<Self> {
        let (version, cbor) = value.split_first()?;
        let accounts = (*version == VERSION).then(|| minicbor::decode(cbor).ok())??;
        Some(Self {
            accounts,
            ..Self::new(task)
        })
    }

    /// For the task's record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        #[expect(
            clippy::expect_used,
            reason = "a Vec takes every byte and our types have no encoder of their own that could refuse"
        )]
        minicbor::encode(&self.accounts, &mut bytes).expect("writing CBOR to memory cannot fail");
        bytes
    }

    /// Whether it changed since the last call; forgets it.
    pub const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.changed, false)
    }

    /// May the channel be spoken on?
    pub(super) fn health(&self, channel: &Channel, now: Timestamp) -> Health {
        let account = self.accounts.get(&*channel.name);
        let Some((account, breaker)) = account.zip(channel.breaker) else {
            return Health::Up;
        };
        match account.down_since {
            None => Health::Up,
            Some(since) => {
                let last = account.probed.map_or(since, |probed| probed.max(since));
                if now.since(last) >= breaker.probe {
                    Health::Probe
                } else {
                    Health::Down
                }
            }
        }
    }

    /// Since when a channel is down.
    pub(super) fn down_since(&self, channel: &Channel) -> Option<Timestamp> {
        self.accounts.get(&*channel.name)?.down_since
    }

    /// The task's share of a channel's budget, and what is spent of it today.
    pub(super) fn budget(
        &self,
        channel: &Channel,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<(u32, u32)> {
        let whole = channel.budget?;
        let partitions = policy.partitions.max(1);
        // The rest of the division goes to the first partitions, so that no contact of the budget is lost.
        let share = whole / partitions + u32::from(self.task < whole % partitions);
        let today = shop_day(policy, now);
        let account = self.accounts.get(&*channel.name);
        let spent = account
            .filter(|account| account.day == today)
            .map_or(0, |account| account.spent);
        Some((spent, share))
    }

    /// A contact leaves: it is paid for, and it is the probe of a channel that is down.
    pub(super) fn hand_over(&mut self, channel: &Channel, policy: &Policy, now: Timestamp) {
        if self.health(channel, now) == Health::Probe
            && let Some(account) = self.accounts.get_mut(&*channel.name)
        {
            account.probed = Some(now);
            self.changed = true;
        }
        self.pay(channel, policy, now, now, true);
    }

    /// A contact of `handed_at` took its slot (again), or gave it back: on its own day the budget follows.
    pub(super) fn pay(
        &mut self,
        channel: &Channel,
        policy: &Policy,
        handed_at: Timestamp,
        now: Timestamp,
        takes: bool,
    ) {
        if channel.budget.is_none() {
            return;
        }
        let today = shop_day(policy, now);
        if shop_day(policy, handed_at) != today {
            return;
        }
        let account = self.account(&channel.name);
        if account.day != today {
            (account.day, account.spent) = (today, 0);
        }
        account.spent = if takes {
            account.spent.saturating_add(1)
        } else {
            account.spent.saturating_sub(1)
        };
    }

    /// A receipt says how its channel does. Hard and soft bounces speak of an address, not of the channel.
    pub(super) fn receive(
        &mut self,
        channel: &Channel,
        event: &Event,
        receipt: &Receipt,
        now: Timestamp,
    ) {
        let Some(breaker) = channel.breaker else {
            return;
        };
        let blocked = event.kind == EventType::Bounced && receipt.bounce == Some(Bounce::Blocked);
        let bad = blocked || matches!(event.kind, EventType::Failed | EventType::Dropped);
        let good = matches!(event.kind, EventType::Sent | EventType::Delivered);
        let at = event.effective_time;
        let is_late = now.since(at) >= breaker.window;
        if !(bad || good) || is_late {
            return;
        }
        let known = self.accounts.get(&*channel.name);
        let troubled =
            known.is_some_and(|account| account.down_since.is_some() || !account.parts.is_empty());
        // While nothing fails nothing is counted, and nothing is written.
        if !bad && !troubled {
            return;
        }
        self.account(&channel.name).count(bad, at, now, breaker);
    }

    fn account(&mut self, channel: &str) -> &mut Account {
        self.changed = true;
        if !self.accounts.contains_key(channel) {
            self.accounts.insert(channel.to_owned(), Account::default());
        }
        match self.accounts.get_mut(channel) {
            Some(account) => account,
            None => unreachable!("it was put in right above"),
        }
    }
}

impl Account {
    /// Counts a result of effective time `at`; the channel goes down or comes back by it.
    fn count(&mut self, bad: bool, at: Timestamp, now: Timestamp, breaker: Breaker) {
        if let Some(since) = self.down_since {
            // Only what was sent after the channel went down says that it is back.
            if !bad && at > since {
                *self = Self {
                    day: self.day,
                    spent: self.spent,
                    ..Self::default()
                };
            }
            return;
        }
        let width = (breaker.window.millis() / PARTS).max(1);
        let start = Timestamp::from_millis(at.millis().div_euclid(width) * width);
        let oldest = now.minus(breaker.window);
        self.parts
            .retain(|part| part.start > oldest.minus(Span::from_millis(width)));
        let place = self.parts.partition_point(|part| part.start < start);
        if self.parts.get(place).is_none_or(|part| part.start != start) {
            let new = Part {
                start,
                ..Part::default()
            };
            self.parts.insert(place, new);
        }
        if let Some(part) = self.parts.get_mut(place) {
            part.bad += u32::from(bad);
            part.good += u32::from(!bad);
        }
        let sum =
            |count: fn(&Part) -> u32| self.parts.iter().map(count).map(u64::from).sum::<u64>();
        let (good, failed) = (sum(|part| part.good), sum(|part| part.bad));
        if failed >= u64::from(breaker.failures.max(1)) && failed >= good {
            self.parts.clear();
            self.down_since = Some(now);
        } else if failed == 0 {
            self.parts.clear();
        }
    }
}

/// The shop's calendar day.
fn shop_day(policy: &Policy, at: Timestamp) -> i64 {
    let zone = TimeZone::get(&policy.time_zone).unwrap_or(TimeZone::UTC);
    Day::of(at, &zone).number()
}

/// When the shop's next day begins: a spent budget is whole again.
pub(super) fn next_shop_day(policy: &Policy, at: Timestamp) -> Timestamp {
    let zone = TimeZone::get(&policy.time_zone).unwrap_or(TimeZone::UTC);
    Day::of(at, &zone).next().start(&zone)
}
