//! Purchase rhythm: how regularly a customer buys, on which weekday, and when the next order is to be expected.
//!
//! Derived from the kept orders at the moment of asking, so the order of their arrival cannot matter. Everything is counted in the
//! customer's calendar days: orders of one day are one visit, as in the buy-till-you-die models (Schmittlein, Morrison & Colombo, "Counting
//! Your Customers", Management Science 33(1), 1987), and a clock change moves nothing. Cancelled orders and a subscription's deliveries are no
//! visits: nobody decided to come.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Span as Calendar, ToSpan};

use super::orders::{OrderRecord, Orders};
use crate::policy::norms::MonthDay;
use crate::value::Timestamp;

/// Visits from which on a rhythm can be told: three intervals, the fewest whose spread means anything.
const MIN_VISITS: usize = 4;
/// Least shape of the gamma distribution that makes intervals regular: 4 is a coefficient of variation of one half. 1 would be a Poisson buyer, who
/// has no rhythm at all.
const REGULAR_SHAPE: i128 = 4;
/// Least shape for a weekday rhythm, which the weekday itself makes more certain.
const WEEKLY_SHAPE: i128 = 2;
/// Longest mean interval, in days, in which a weekday can be a habit and not a coincidence.
const WEEKLY_AT_MOST: i64 = 28;
/// Rayleigh's statistic n·R² from which on weekdays are not scattered by chance (5 %).
const RAYLEIGH: i128 = 3;
/// Days that a weekday's expected day may be missed by: who shops on Saturdays may come on Sunday.
const WEEKDAY_TOLERANCE: i64 = 1;
/// Cosine and sine of the weekdays on a circle of seven, Monday first, in millionths.
const CIRCLE: [(i128, i128); 7] = [
    (1_000_000, 0),
    (623_490, 781_831),
    (-222_521, 974_928),
    (-900_969, 433_884),
    (-900_969, -433_884),
    (-222_521, -974_928),
    (623_490, -781_831),
];
/// As conditions spell the weekdays, Monday first.
pub const WEEKDAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];
const EPOCH: Date = Date::constant(1970, 1, 1);

/// A day of somebody's calendar, in days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(i64);

impl Day {
    /// The local day of an instant.
    #[must_use]
    pub fn of(at: Timestamp, zone: &TimeZone) -> Self {
        let date = jiff::Timestamp::from_millisecond(at.millis())
            .map_or(EPOCH, |instant| zone.to_datetime(instant).date());
        Self(date.duration_since(EPOCH).as_hours() / 24)
    }

    /// Its first instant.
    #[must_use]
    pub fn start(self, zone: &TimeZone) -> Timestamp {
        zone.to_ambiguous_zoned(self.date().to_datetime(Time::midnight()))
            .compatible()
            .map_or(Timestamp::MAX, |start| {
                Timestamp::from_millis(start.timestamp().as_millisecond())
            })
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0
    }

    /// The day after.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// Its place in the year.
    #[must_use]
    pub fn of_year(self) -> MonthDay {
        let date = self.date();
        MonthDay {
            month: date.month(),
            day: date.day(),
        }
    }

    fn date(self) -> Date {
        let days: Calendar = i32::try_from(self.0).unwrap_or(i32::MAX).days();
        EPOCH.saturating_add(days)
    }

    /// Monday is 0.
    fn weekday(self) -> usize {
        // 1970-01-01 was a Thursday.
        usize::try_from((self.0 + 3).rem_euclid(7)).unwrap_or_default()
    }

    const fn plus(self, days: i64) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// Days after `earlier`; negative when before.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What makes the rhythm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// No rhythm, or too few orders to tell.
    Irregular,
    /// The intervals are alike.
    Interval,
    /// It is mostly this weekday; 0 is Monday.
    Weekday(usize),
}

impl Beat {
    /// As conditions spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Irregular => "irregular",
            Self::Interval => "interval",
            Self::Weekday(_) => "weekday",
        }
    }
}

/// How a customer buys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// Days with an order, among the orders that are kept.
    pub visits: usize,
    /// Mean days between them, in millionths; `None` with fewer than two visits.
    pub interval: Option<i64>,
    /// What is regular about it.
    pub beat: Beat,
    /// The last visit.
    pub last: Option<Day>,
    /// When the next is expected; `None` without a rhythm.
    pub expected: Option<Day>,
    /// Days that it may come later and still be the customer's ordinary way.
    pub tolerance: i64,
}

impl Rhythm {
    /// Of the kept orders, in the customer's zone.
    ///
    /// *Interval*: interpurchase times are taken as gamma distributed; their shape, estimated by moments as mean² ÷ variance, says how
    /// regular they are (Wheat & Morrison, "Estimating Purchase Regularity with Two Interpurchase Times", Journal of Marketing Research
    /// 27(1), 1990; Platzer & Reutterer, "Ticking Away the Moments", Marketing Science 35(5), 2016). From shape 4 on the next visit is
    /// expected a mean interval after the last, tolerance one standard deviation, at least a day.
    ///
    /// *Weekday*: visits are put on a circle of seven; n·R² ≥ 3, R the mean resultant length, rejects chance at 5 % (Rayleigh's test:
    /// Fisher, Statistical Analysis of Circular Data, 1993, §4.3). Then the next visit is expected on the commonest weekday nearest to a
    /// whole number of weeks after the last. Where both hold, the weekday says more.
    #[must_use]
    pub fn of(orders: &Orders, zone: &TimeZone) -> Self {
        let mut days: Vec<Day> = orders
            .recent()
            .filter(|order| order.is_bought() && !order.recurring)
            .map(|order| Day::of(order.placed_at, zone))
            .collect();
        days.sort_unstable();
        days.dedup();
        Self::of_days(&days)
    }

    /// Of visits in ascending order, each day once.
    fn of_days(days: &[Day]) -> Self {
        let mut rhythm = Self {
            visits: days.len(),
            interval: None,
            beat: Beat::Irregular,
            last: days.last().copied(),
            expected: None,
            tolerance: 0,
        };
        let (Some(first), Some(last)) = (days.first(), days.last()) else {
            return rhythm;
        };
        let gaps = i64::try_from(days.len()).unwrap_or(i64::MAX) - 1;
        if gaps == 0 {
            return rhythm;
        }
        let total = last.since(*first);
        rhythm.interval = Some(total.saturating_mul(1_000_000) / gaps);
        if days.len() < MIN_VISITS {
            return rhythm;
        }
        let spread = Spread::of(days, gaps, total);
        let usual = usual_weekday(days);
        if let Some(weekday) = usual
            && spread.is_shape(WEEKLY_SHAPE)
            && total <= WEEKLY_AT_MOST * gaps
        {
            let weeks = ((2 * total + 7 * gaps) / (14 * gaps)).max(1);
            let near = last.plus(weeks * 7);
            let ahead = i64::try_from((weekday + 7 - near.weekday()) % 7).unwrap_or_default();
            rhythm.beat = Beat::Weekday(weekday);
            rhythm.expected = Some(near.plus(if ahead > 3 { ahead - 7 } else { ahead }));
            rhythm.tolerance = WEEKDAY_TOLERANCE;
        } else if spread.is_shape(REGULAR_SHAPE) {
            rhythm.beat = Beat::Interval;
            rhythm.expected = Some(last.plus((2 * total + gaps) / (2 * gaps)));
            rhythm.tolerance = spread.deviation().max(1);
        }
        rhythm
    }

    /// The usual weekday, when that is the rhythm.
    #[must_use]
    pub fn weekday(&self) -> Option<&'static str> {
        match self.beat {
            Beat::Weekday(weekday) => WEEKDAYS.get(weekday).copied(),
            Beat::Irregular | Beat::Interval => None,
        }
    }

    /// The first instant at which the expected day has passed by more than its tolerance: the cadence is broken from then on.
    #[must_use]
    pub fn broken_from(&self, zone: &TimeZone) -> Option<Timestamp> {
        let expected = self.expected?;
        Some(expected.plus(self.tolerance + 1).start(zone))
    }
}

/// Of the intervals, in whole numbers: exact, whatever the machine.
struct Spread {
    gaps: i128,
    total: i128,
    /// gaps · Σ interval² − total²; the variance is this ÷ (gaps · (gaps − 1)).
    excess: i128,
}

impl Spread {
    fn of(days: &[Day], gaps: i64, total: i64) -> Self {
        let squares: i128 = days
            .iter()
            .zip(days.iter().skip(1))
            .map(|(earlier, later)| i128::from(later.since(*earlier)).pow(2))
            .sum();
        let (gaps, total) = (i128::from(gaps), i128::from(total));
        Self {
            gaps,
            total,
            excess: gaps * squares - total * total,
        }
    }

    /// mean² ÷ variance ≥ `shape`
    const fn is_shape(&self, shape: i128) -> bool {
        self.total * self.total * (self.gaps - 1) >= shape * self.gaps * self.excess
    }

    /// The standard deviation in days, rounded up.
    fn deviation(&self) -> i64 {
        let divisor = self.gaps * (self.gaps - 1);
        let variance = (self.excess + divisor - 1) / divisor;
        let root = variance.isqrt();
        let up = root + i128::from(root * root < variance);
        i64::try_from(up).unwrap_or(i64::MAX)
    }
}

/// The commonest weekday (of equals the one seen last), when weekdays are not scattered by chance.
fn usual_weekday(days: &[Day]) -> Option<usize> {
    let (mut x, mut y) = (0, 0);
    let mut counts = [(0_usize, Day(i64::MIN)); 7];
    for day in days {
        let weekday = day.weekday();
        let (cosine, sine) = CIRCLE.get(weekday)?;
        (x, y) = (x + cosine, y + sine);
        let count = counts.get_mut(weekday)?;
        *count = (count.0 + 1, *day);
    }
    let visits = i128::try_from(days.len()).ok()?;
    if x * x + y * y < RAYLEIGH * visits * 1_000_000_000_000 {
        return None;
    }
    counts
        .iter()
        .enumerate()
        .max_by_key(|(_, count)| **count)
        .map(|(weekday, _)| weekday)
}

impl OrderRecord {
    /// Something was bought by it: its lines are known, and it is not off.
    #[must_use]
    pub fn is_bought(&self) -> bool {
        self.told_at != Timestamp::ZERO && self.state != super::OrderState::Cancelled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-02, a Monday.
    const MONDAY: i64 = 20_514;

    fn rhythm(days: &[i64]) -> Rhythm {
        let days: Vec<Day> = days.iter().map(|day| Day(MONDAY + day)).collect();
        Rhythm::of_days(&days)
    }

    #[test]
    fn who_buys_every_ten_days_is_expected_ten_days_after_the_last() {
        let rhythm = rhythm(&[0, 10, 21, 30, 41]);
        assert_eq!(rhythm.beat, Beat::Interval);
        assert_eq!(rhythm.interval, Some(10_250_000));
        assert_eq!(rhythm.expected, Some(Day(MONDAY + 51)));
        assert_eq!(rhythm.tolerance, 1);
    }

    #[test]
    fn who_shops_on_saturdays_is_expected_on_one_even_after_a_sunday() {
        let rhythm = rhythm(&[5, 12, 19, 26, 34]);
        assert_eq!(rhythm.weekday(), Some("saturday"));
        assert_eq!(rhythm.expected, Some(Day(MONDAY + 40)));
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        // Saturday 2026-04-11, one day of tolerance, and Sunday has to be over.
        let broken = rhythm.broken_from(&zone).unwrap();
        assert_eq!(broken.to_string(), "2026-04-12T22:00:00Z");
    }

    #[test]
    fn a_poisson_buyer_and_a_newcomer_have_no_rhythm() {
        assert_eq!(rhythm(&[0, 2, 30, 33, 90]).beat, Beat::Irregular);
        assert_eq!(rhythm(&[0, 10, 20]).beat, Beat::Irregular);
        assert_eq!(rhythm(&[0]).interval, None);
        assert_eq!(rhythm(&[]).last, None);
    }

    #[test]
    fn weekdays_of_every_sort_are_no_habit() {
        let all = rhythm(&[0, 8, 16, 24, 32, 40, 48]);
        assert_eq!(all.weekday(), None);
        assert_eq!(all.beat, Beat::Interval);
    }
}
