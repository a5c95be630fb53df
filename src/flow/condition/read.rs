//! Where the value of a field comes from.

use super::fields::Field;
use super::plan::{Gap, Sight, Value};
use crate::event::{Body, Event, Order, Product, SalesChannel};
use crate::profile::person::TraitValue;
use crate::profile::rhythm::Day;
use crate::profile::worth::Rfm;
use crate::profile::{Cart, Profile, Rhythm, Supply};
use crate::value::{Money, Span, Timestamp};

type Read<'a> = Result<Value<'a>, Gap>;

/// The value of a field.
pub(super) fn read<'a>(field: Field, sight: &Sight<'a>) -> Read<'a> {
    let profile = sight.scope.profile;
    let (person, now) = (&profile.person, sight.scope.now);
    let yes = |truth| Ok(Value::Bool(truth));
    let ago = |then| days_since(then, now);
    match field {
        Field::CartValue => Ok(sight.money(sight.cart()?.value())),
        Field::CartItems => many(sight.cart()?.count()),
        Field::CartProducts => count(sight.cart()?.items().count()),
        Field::ProfileVip => yes(person.vip()),
        Field::ProfileLocale => text(person.locale()),
        Field::ProfileCountry => text(person.country()),
        Field::ProfileTimeZone => text(person.time_zone()),
        Field::ProfileTest => yes(person.test),
        Field::ProfileOrders => many(profile.order_count()),
        Field::ProfileOrderValue => {
            let totals = profile.orders.totals();
            Ok(sight.money(totals.money.minus(totals.cancelled_money)))
        }
        Field::ProfileLastOrderDays => ago(profile.orders.last().map(|order| order.placed_at)),
        Field::ProfileLastVisitDays => ago(profile.activity.last_visit),
        Field::ProfileLastEngagedDays => ago(profile.activity.last_engaged),
        Field::ProfileViews => many(profile.activity.views),
        Field::ProfileLifetimeDays => ago(profile.orders.totals().first_at),
        Field::ProfileOneTime => yes(profile.order_count() == 1),
        Field::ProfileRfmRecency => Ok(sight.band(sight.rfm()?.recency)),
        Field::ProfileRfmFrequency => Ok(sight.band(sight.rfm()?.frequency)),
        Field::ProfileRfmMoney => Ok(sight.band(sight.rfm()?.money)),
        Field::ProfileOrderIntervalDays => millionths(sight.rhythm().interval),
        Field::ProfileRecencyRatio => {
            let zone = profile.zone(sight.scope.policy);
            millionths(profile.recency_ratio(&sight.rhythm(), now, &zone))
        }
        Field::ProfileRhythm => text(Some(sight.rhythm().beat.name())),
        Field::ProfileOrderWeekday => text(sight.rhythm().weekday()),
        Field::ProfileExpectedOrderDays => sight.expected_order_days(),
        Field::ProfileCadenceBroken => yes(sight.is_cadence_broken()),
        Field::ProfileUsualProduct => {
            let usual = profile.orders.usual_product();
            text(usual.map(|item| item.product_id.as_str()))
        }
        Field::ProfileDiscountShare => millionths(profile.discount_share()),
        Field::ProfileDiscountOnly => yes(profile.is_discount_only()),
        Field::ProfilePeakOnly => yes(sight.is_peak_only()),
        Field::ProfileReturns => many(profile.orders.totals().refunds),
        Field::ProfileReturnShare => millionths(profile.return_share()),
        Field::ProfileLastReturnDays => ago(profile.orders.totals().last_refund_at),
        Field::ProfileOpenTickets => count(profile.service.open_tickets()),
        Field::ProfileLastTicketDays => ago(profile.service.last_opened),
        Field::ProfileFeedback => feedback(profile),
        Field::ProfileNegativeExperience => {
            yes(profile.has_negative_experience(&sight.scope.policy.norms, now))
        }
        Field::ProfileWinbackReason => {
            let reason = profile.winback_reason(sight.scope.policy, now);
            text(reason.map(|reason| reason.name()))
        }
        Field::SupplyDaysPerUnit => {
            let day = i128::from(Span::from_days(1).millis());
            let lasts = i128::from(sight.supply()?.per_unit.millis());
            Ok(Value::Decimal(lasts * 1_000_000 / day))
        }
        Field::SupplyDaysLeft => days_until(sight.supply()?.depletion, now),
        Field::SupplyPurchases => count(sight.supply()?.purchases),
        Field::EventType => text(Some(sight.event()?.kind.name())),
        Field::EventSource => text(Some(&sight.event()?.source)),
        Field::OrderTotal => sight.price(sight.order()?.total),
        Field::OrderDiscount => sight.price(sight.order()?.discount),
        Field::OrderItems => {
            let lines = sight.order()?.products.iter();
            many(lines.map(|line| u64::from(line.quantity)).sum())
        }
        Field::OrderProducts => count(sight.order()?.products.len()),
        Field::OrderRecurring => yes(sight.order()?.recurring),
        Field::OrderChannel => text(Some(match sight.order()?.channel {
            SalesChannel::Online => "online",
            SalesChannel::Offline => "offline",
        })),
        Field::OrderCoupon => text(sight.order()?.coupon.as_deref()),
        Field::ProductId => text(Some(&sight.product()?.product_id)),
        Field::ProductPrice => sight.price(sight.product()?.price),
        Field::ProductCategory => text(sight.product()?.category.as_deref()),
        Field::ProductBrand => text(sight.product()?.brand.as_deref()),
        Field::ProductQuantity => many(sight.product()?.quantity.into()),
        Field::FeedbackScore => {
            let score = feedback_score(sight.event()?).ok_or(Gap::Missing)?;
            many(score.into())
        }
    }
}

impl<'a> Sight<'a> {
    fn money<'v>(&self, amount: Money) -> Value<'v> {
        Value::Decimal(i128::from(amount.minor()) * self.minor_unit)
    }

    fn price<'v>(&self, amount: Option<Money>) -> Read<'v> {
        amount.map(|amount| self.money(amount)).ok_or(Gap::Missing)
    }

    fn band<'v>(&self, band: u8) -> Value<'v> {
        Value::Whole(i64::from(band))
    }

    fn cart(&self) -> Result<&'a Cart, Gap> {
        self.scope.cart.ok_or(Gap::Missing)
    }

    fn event(&self) -> Result<&'a Event, Gap> {
        self.scope.event.ok_or(Gap::NoEvent)
    }

    fn order(&self) -> Result<&'a Order, Gap> {
        self.event()?.order().ok_or(Gap::Missing)
    }

    fn product(&self) -> Result<&'a Product, Gap> {
        self.event()?.product().ok_or(Gap::Missing)
    }

    fn rfm(&self) -> Result<Rfm, Gap> {
        let bands = &self.scope.policy.norms.rfm;
        let rfm = self.scope.profile.rfm(bands, self.scope.now);
        rfm.ok_or(Gap::Missing)
    }

    fn rhythm(&self) -> Rhythm {
        let profile = self.scope.profile;
        Rhythm::of(&profile.orders, &profile.zone(self.scope.policy))
    }

    fn expected_order_days<'v>(&self) -> Read<'v> {
        let zone = self.scope.profile.zone(self.scope.policy);
        let expected = self.rhythm().expected.ok_or(Gap::Missing)?;
        let today = Day::of(self.scope.now, &zone);
        Ok(Value::Whole(expected.since(today)))
    }

    fn is_cadence_broken(&self) -> bool {
        let zone = self.scope.profile.zone(self.scope.policy);
        let broken_from = self.rhythm().broken_from(&zone);
        broken_from.is_some_and(|from| from <= self.scope.now)
    }

    fn is_peak_only(&self) -> bool {
        let profile = self.scope.profile;
        let zone = profile.zone(self.scope.policy);
        profile.is_peak_only(&self.scope.policy.norms, &zone)
    }

    /// Of the instance's product, else of the one that the event is about.
    fn supply(&self) -> Result<Supply, Gap> {
        let product_id = match self.scope.product {
            Some(product_id) => product_id,
            None => &self.product().map_err(|_| Gap::Missing)?.product_id,
        };
        let norms = &self.scope.policy.norms.consumption;
        Supply::of(&self.scope.profile.orders, product_id, norms).ok_or(Gap::Missing)
    }
}

/// The score that an event carries.
const fn feedback_score(event: &Event) -> Option<u32> {
    match &event.body {
        Body::Feedback(feedback) => Some(feedback.score),
        Body::Browse(_)
        | Body::CartLine(_)
        | Body::CartSnapshot(_)
        | Body::Checkout(_)
        | Body::Order(_)
        | Body::OrderStatus(_)
        | Body::Refund(_)
        | Body::Receipt(_)
        | Body::Identity(_)
        | Body::Consent(_)
        | Body::Ticket(_)
        | Body::Score(_)
        | Body::Merge(_)
        | Body::Erasure
        | Body::SendRequest(_) => None,
    }
}

fn text(value: Option<&str>) -> Read<'_> {
    value.map(Value::Text).ok_or(Gap::Missing)
}

fn count<'a>(number: usize) -> Read<'a> {
    i64::try_from(number)
        .map(Value::Whole)
        .map_err(|_| Gap::Missing)
}

fn many<'a>(number: u64) -> Read<'a> {
    i64::try_from(number)
        .map(Value::Whole)
        .map_err(|_| Gap::Missing)
}

fn millionths<'a>(value: Option<i64>) -> Read<'a> {
    let value = value.ok_or(Gap::Missing)?;
    Ok(Value::Decimal(i128::from(value)))
}

fn feedback<'a>(profile: &Profile) -> Read<'a> {
    let known = profile.service.feedback.as_ref().ok_or(Gap::Missing)?;
    Ok(Value::Whole(i64::from(known.value)))
}

/// Whole days of 24 hours from `now` to `then`, rounded down: negative when it is past.
fn days_until<'a>(then: Timestamp, now: Timestamp) -> Read<'a> {
    let day = Span::from_days(1).millis();
    Ok(Value::Whole(then.since(now).millis().div_euclid(day)))
}

/// Whole days of 24 hours from `then` to `now`; a time in the future counts as now.
fn days_since<'a>(then: Option<Timestamp>, now: Timestamp) -> Read<'a> {
    let day = Span::from_days(1).millis();
    then.map(|then| Value::Whole(now.since(then).millis().max(0) / day))
        .ok_or(Gap::Missing)
}

/// The value of a trait.
pub(super) fn read_trait<'a>(name: &str, sight: &Sight<'a>) -> Read<'a> {
    match sight.scope.profile.person.trait_value(name) {
        Some(TraitValue::Bool(truth)) => Ok(Value::Bool(*truth)),
        // Kept in thousandths.
        Some(TraitValue::Number(number)) => Ok(Value::Decimal(i128::from(*number) * 1_000)),
        Some(TraitValue::Text(text)) => Ok(Value::Text(text)),
        None => Err(Gap::Missing),
    }
}

/// What an external model says, while it holds.
pub(super) fn read_score<'a>(name: &str, sight: &Sight<'a>) -> Read<'a> {
    millionths(sight.scope.profile.scores.value(name, sight.scope.now))
}
