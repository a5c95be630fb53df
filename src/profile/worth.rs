//! What a customer's history says of them: worth, habits, bad experiences, and why they stay away.
//!
//! Derived at the moment of asking, from exact totals and from the kept orders; nothing of it is stored.

use jiff::tz::TimeZone;

use super::Profile;
use super::orders::OrderRecord;
use super::rhythm::{Day, Rhythm};
use crate::policy::Policy;
use crate::policy::norms::{Norms, RfmBands};
use crate::value::Timestamp;

/// Orders from which on always buying at a discount is a habit.
const DISCOUNT_HABIT: usize = 2;
/// Times the own mean interval after which even an irregular buyer stays away.
const LONG_AWAY: i64 = 2;
/// A ratio of one, in millionths.
const ONE: i64 = 1_000_000;

/// Scores of recency, frequency and money, 1 (worst) to 5 (best) each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rfm {
    /// How lately they bought.
    pub recency: u8,
    /// How often.
    pub frequency: u8,
    /// For how much.
    pub money: u8,
}

/// Why a customer stays away: what a winback speaks of (product.md §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WinbackReason {
    /// Unhappy since the last order.
    Complaint,
    /// Brought something back since the last order.
    Return,
    /// Only ever bought in a peak season.
    PeakOnly,
    /// Only ever bought at a discount.
    DiscountOnly,
    /// Bought once.
    OneTime,
    /// Used to come, and stopped.
    CadenceBroken,
}

impl WinbackReason {
    /// Every reason, in the order in which they are tried: what went wrong outweighs what the customer is like.
    pub const ALL: [Self; 6] = [
        Self::Complaint,
        Self::Return,
        Self::PeakOnly,
        Self::DiscountOnly,
        Self::OneTime,
        Self::CadenceBroken,
    ];

    /// As conditions and contexts spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complaint => "complaint",
            Self::Return => "return",
            Self::PeakOnly => "peak_only",
            Self::DiscountOnly => "discount_only",
            Self::OneTime => "one_time",
            Self::CadenceBroken => "cadence_broken",
        }
    }
}

/// `part` ÷ `whole` in millionths; `None` of nothing.
fn share(part: i128, whole: i128) -> Option<i64> {
    let share = (part * i128::from(ONE)).checked_div(whole)?;
    i64::try_from(share.clamp(0, i128::from(ONE))).ok()
}

/// 1 plus how many of the ascending bounds are reached.
fn band<T: PartialOrd>(value: &T, bounds: &[T; 4]) -> u8 {
    bounds
        .iter()
        .fold(1, |band, bound| band + u8::from(value >= bound))
}

impl Profile {
    /// The zone that the customer lives in, else the shop's, else UTC.
    #[must_use]
    pub fn zone(&self, policy: &Policy) -> TimeZone {
        let own = self.person.time_zone();
        own.and_then(|name| TimeZone::get(name).ok())
            .or_else(|| TimeZone::get(&policy.time_zone).ok())
            .unwrap_or(TimeZone::UTC)
    }

    fn bought(&self) -> impl Iterator<Item = &OrderRecord> {
        self.orders.recent().filter(|order| order.is_bought())
    }

    /// Orders ever, cancelled ones not.
    #[must_use]
    pub fn order_count(&self) -> u64 {
        let totals = self.orders.totals();
        totals.orders.saturating_sub(totals.cancelled)
    }

    /// RFM by the policy's bands; `None` before the first order. Money is what was paid and neither cancelled nor paid back.
    #[must_use]
    pub fn rfm(&self, bands: &RfmBands, now: Timestamp) -> Option<Rfm> {
        let last = self.orders.last()?.placed_at;
        let totals = self.orders.totals();
        let money = totals
            .money
            .minus(totals.cancelled_money)
            .minus(totals.refunded);
        let since = now.since(last);
        let beyond = bands.recency.iter().filter(|bound| since > **bound);
        Some(Rfm {
            recency: 5 - u8::try_from(beyond.count()).unwrap_or(4),
            frequency: band(&self.order_count(), &bands.frequency),
            money: band(&money, &bands.money),
        })
    }

    /// Recency in the customer's own terms: time since the last visit with an order ÷ their mean time between two, in millionths. `None` with
    /// fewer than two visits. At 1 the next order is due; the usual "90 days" means two missed orders of one customer and none of another.
    #[must_use]
    pub fn recency_ratio(&self, rhythm: &Rhythm, now: Timestamp, zone: &TimeZone) -> Option<i64> {
        let (interval, last) = (rhythm.interval?, rhythm.last?);
        let days = i128::from(Day::of(now, zone).since(last).max(0));
        let ratio = (days * i128::from(ONE) * i128::from(ONE)).checked_div(interval.into())?;
        i64::try_from(ratio).ok()
    }

    /// Share of the kept orders with a discount or coupon, in millionths; `None` before the first.
    #[must_use]
    pub fn discount_share(&self) -> Option<i64> {
        let all = self.bought().count();
        let cheap = self.bought().filter(|order| order.is_discounted()).count();
        share(i128::try_from(cheap).ok()?, i128::try_from(all).ok()?)
    }

    /// Bought several times, and never at the full price.
    #[must_use]
    pub fn is_discount_only(&self) -> bool {
        self.bought().count() >= DISCOUNT_HABIT && self.discount_share() == Some(ONE)
    }

    /// Every kept order, and the first ever, fell into one of the policy's yearly peaks.
    #[must_use]
    pub fn is_peak_only(&self, norms: &Norms, zone: &TimeZone) -> bool {
        let in_peak = |at: Timestamp| {
            let day = Day::of(at, zone).of_year();
            norms.peaks.iter().any(|peak| peak.holds(day))
        };
        let first = self.orders.totals().first_at;
        first.is_some_and(in_peak) && self.bought().all(|order| in_peak(order.placed_at))
    }

    /// Share of the money ever paid that was paid back, in millionths; `None` before the first order.
    #[must_use]
    pub fn return_share(&self) -> Option<i64> {
        let totals = self.orders.totals();
        let paid = totals.money.minus(totals.cancelled_money).minor();
        share(totals.refunded.minor().into(), paid.into())
    }

    /// When the customer last had reason to be unhappy with us: an unhappy answer, a complaint about a message, a ticket opened or settled. Returns
    /// are a trait of their own.
    #[must_use]
    pub fn last_unhappy(&self, norms: &Norms) -> Option<Timestamp> {
        let answer = self
            .service
            .feedback
            .as_ref()
            .filter(|known| known.value <= norms.unhappy_feedback)
            .map(|known| known.at);
        let complained = self.reach.addresses.iter().filter_map(|a| a.complained);
        let ticket = self.service.last_opened.max(self.service.last_resolved);
        answer.max(ticket).max(complained.max())
    }

    /// Is the customer to be left in peace: an open ticket, or a reason to be unhappy within the policy's span?
    #[must_use]
    pub fn has_negative_experience(&self, norms: &Norms, now: Timestamp) -> bool {
        let recent = |at: Timestamp| now.since(at) < norms.negative_experience;
        self.service.open_tickets() > 0 || self.last_unhappy(norms).is_some_and(recent)
    }

    /// Why the customer stays away; `None` when they do not, or nothing explains it.
    #[must_use]
    pub fn winback_reason(&self, policy: &Policy, now: Timestamp) -> Option<WinbackReason> {
        let last = self.orders.last()?.placed_at;
        let zone = self.zone(policy);
        let norms = &policy.norms;
        let since_last = |at: Option<Timestamp>| at.is_some_and(|at| at >= last);
        let holds = |reason: &WinbackReason| match reason {
            WinbackReason::Complaint => since_last(self.last_unhappy(norms)),
            WinbackReason::Return => since_last(self.orders.totals().last_refund_at),
            WinbackReason::PeakOnly => self.is_peak_only(norms, &zone),
            WinbackReason::DiscountOnly => self.is_discount_only(),
            WinbackReason::OneTime => self.order_count() == 1,
            WinbackReason::CadenceBroken => {
                let rhythm = Rhythm::of(&self.orders, &zone);
                let broken = rhythm.broken_from(&zone).is_some_and(|from| from <= now);
                let ratio = self.recency_ratio(&rhythm, now, &zone);
                broken || ratio.is_some_and(|ratio| ratio >= LONG_AWAY * ONE)
            }
        };
        WinbackReason::ALL.into_iter().find(holds)
    }
}

impl OrderRecord {
    /// Was something taken off?
    #[must_use]
    pub fn is_discounted(&self) -> bool {
        self.coupon.is_some() || self.discount.is_some_and(|amount| amount.minor() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventType, Order, Refund, SalesChannel};
    use crate::value::{Money, ProfileKey, Span};

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    /// Orders of (time, total, discount).
    fn customer(orders: &[(&str, i64, i64)]) -> Profile {
        let mut profile = Profile::new(ProfileKey::customer("c"));
        for (time, total, discount) in orders {
            let order = Order {
                order_id: format!("o-{time}"),
                cart_id: None,
                channel: SalesChannel::Online,
                total: Some(Money::from_minor(*total)),
                discount: Some(Money::from_minor(*discount)),
                coupon: None,
                recurring: false,
                seller: None,
                products: Vec::new(),
            };
            profile
                .orders
                .place(&order, EventType::OrderCompleted, at(time));
        }
        profile
    }

    fn why(profile: &Profile, now: &str) -> Option<&'static str> {
        let reason = profile.winback_reason(&Policy::default(), at(now));
        reason.map(WinbackReason::name)
    }

    #[test]
    fn a_winback_speaks_of_what_went_wrong_before_what_the_customer_is_like() {
        let mut peak = customer(&[("2025-11-28T10:00:00Z", 4_000, 500)]);
        assert_eq!(why(&peak, "2026-06-01T10:00:00Z"), Some("peak_only"));
        let refund = Refund {
            refund_id: "r".to_owned(),
            order_id: None,
            total: Some(Money::from_minor(1_000)),
            products: Vec::new(),
        };
        peak.orders.refund(&refund, at("2025-12-05T10:00:00Z"));
        assert_eq!(why(&peak, "2026-06-01T10:00:00Z"), Some("return"));
        assert_eq!(peak.return_share(), Some(250_000));
        peak.service.feedback(3, at("2025-12-06T10:00:00Z"));
        assert_eq!(why(&peak, "2026-06-01T10:00:00Z"), Some("complaint"));

        let cheap = customer(&[
            ("2026-01-05T10:00:00Z", 100, 10),
            ("2026-01-09T10:00:00Z", 100, 1),
        ]);
        assert_eq!(why(&cheap, "2026-06-01T10:00:00Z"), Some("discount_only"));
        let once = customer(&[("2026-01-05T10:00:00Z", 100, 0)]);
        assert_eq!(why(&once, "2026-06-01T10:00:00Z"), Some("one_time"));
        let twice = customer(&[
            ("2026-01-05T10:00:00Z", 100, 0),
            ("2026-02-04T10:00:00Z", 100, 0),
        ]);
        assert_eq!(
            why(&twice, "2026-03-06T10:00:00Z"),
            None,
            "an interval after the last, they may still come"
        );
        assert_eq!(why(&twice, "2026-04-06T10:00:00Z"), Some("cadence_broken"));
        assert_eq!(why(&customer(&[]), "2026-04-06T10:00:00Z"), None);
    }

    #[test]
    fn rfm_scores_are_the_bands_that_are_reached() {
        let profile = customer(&[
            ("2026-01-05T10:00:00Z", 10_000, 0),
            ("2026-02-04T10:00:00Z", 5_000, 0),
        ]);
        let bands = RfmBands::default();
        let last = at("2026-02-04T10:00:00Z");
        let scores = |days| {
            let rfm = profile
                .rfm(&bands, last.plus(Span::from_days(days)))
                .unwrap();
            (rfm.recency, rfm.frequency, rfm.money)
        };
        assert_eq!(scores(30), (5, 2, 3));
        assert_eq!(scores(31), (4, 2, 3));
        assert_eq!(scores(366), (1, 2, 3));
        assert_eq!(customer(&[]).rfm(&bands, last), None);
    }

    #[test]
    fn an_open_ticket_is_a_negative_experience_until_it_is_settled_and_a_while_after() {
        let mut profile = customer(&[]);
        let norms = Norms::default();
        let opened = at("2026-01-05T10:00:00Z");
        let bad = |profile: &Profile, days| {
            profile.has_negative_experience(&norms, opened.plus(Span::from_days(days)))
        };
        profile.service.ticket("t", EventType::TicketOpened, opened);
        assert!(bad(&profile, 100));
        profile.service.ticket(
            "t",
            EventType::TicketResolved,
            opened.plus(Span::from_days(1)),
        );
        assert!(bad(&profile, 14) && !bad(&profile, 15));
        profile
            .service
            .feedback(7, opened.plus(Span::from_days(20)));
        assert!(!bad(&profile, 21), "seven is no unhappy answer");
    }

    #[test]
    fn a_score_holds_until_its_time_and_by_its_horizon() {
        let mut profile = customer(&[]);
        let now = at("2026-01-05T10:00:00Z");
        let mut learn = |horizon: &str, value, at: Timestamp, days| {
            let score = crate::event::Score {
                model: "churn".to_owned(),
                horizon: Some(horizon.to_owned()),
                value,
                valid_until: Some(now.plus(Span::from_days(days))),
            };
            profile.scores.learn(&score, at);
        };
        learn("30d", 700_000, now, 10);
        learn("30d", 100_000, now.minus(Span::from_days(1)), 20);
        learn("7d", 200_000, now.minus(Span::from_days(2)), 20);
        let value = |name, days| profile.scores.value(name, now.plus(Span::from_days(days)));
        assert_eq!(
            value("churn/30d", 0),
            Some(700_000),
            "a late word does not undo a later one"
        );
        assert_eq!(value("churn", 0), Some(700_000));
        assert_eq!(
            value("churn", 10),
            Some(200_000),
            "past its time it says nothing"
        );
        assert_eq!(value("churn/14d", 0), None);
    }
}
