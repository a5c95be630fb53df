//! Local time: times of day, calendar days and weeks in the customer's zone, through every clock change.
//!
//! A local time that does not exist moves forward; one that comes twice counts once (its first).

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span as Calendar, ToSpan};

use crate::policy::MinuteOfDay;
use crate::value::Timestamp;

fn local(at: Timestamp, zone: &TimeZone) -> Option<DateTime> {
    let instant = jiff::Timestamp::from_millisecond(at.millis()).ok()?;
    Some(zone.to_datetime(instant))
}

fn instant(date: Date, time: Time, zone: &TimeZone) -> Option<Timestamp> {
    let instant = zone
        .to_ambiguous_zoned(date.to_datetime(time))
        .compatible()
        .ok()?;
    Some(Timestamp::from_millis(instant.timestamp().as_millisecond()))
}

fn time(minute: MinuteOfDay) -> Time {
    let hour = i8::try_from(minute.0 / 60 % 24).unwrap_or_default();
    let minute = i8::try_from(minute.0 % 60).unwrap_or_default();
    Time::constant(0, 0, 0, 0)
        .with()
        .hour(hour)
        .minute(minute)
        .build()
        .unwrap_or(Time::MIN)
}

fn add(date: Date, span: Calendar) -> Date {
    date.saturating_add(span)
}

/// The local day `days` after the one of `at`, and its weekday, Monday 0.
pub(super) fn local_day(at: Timestamp, days: i64, zone: &TimeZone) -> Option<(Date, usize)> {
    let date = add(local(at, zone)?.date(), days.days());
    let weekday = usize::try_from(date.weekday().to_monday_zero_offset()).ok()?;
    Some((date, weekday))
}

/// The instant of a local time of a local day.
pub(super) fn local_time(date: Date, minute: MinuteOfDay, zone: &TimeZone) -> Option<Timestamp> {
    instant(date, time(minute), zone)
}

/// The first instant after `at` that is `time` on the clock, on `weekday` (0 is Monday) if one is given.
pub(super) fn next_local(
    at: Timestamp,
    minute: MinuteOfDay,
    weekday: Option<u8>,
    zone: &TimeZone,
) -> Option<Timestamp> {
    let today = local(at, zone)?.date();
    (0..9)
        .map(|days| add(today, days.days()))
        .filter(|date| {
            weekday.is_none_or(|weekday| {
                i64::from(date.weekday().to_monday_zero_offset()) == i64::from(weekday)
            })
        })
        .find_map(|date| instant(date, time(minute), zone).filter(|next| *next > at))
}

/// The first instant of the local day `ago` days before the one of `at` (0: its own; negative: later days).
pub(super) fn day_start(at: Timestamp, ago: i64, zone: &TimeZone) -> Option<Timestamp> {
    let date = add(local(at, zone)?.date(), (-ago).days());
    instant(date, Time::midnight(), zone)
}

/// The first instant of the local week (Monday first) `ago` weeks before the one of `at`.
pub(super) fn week_start(at: Timestamp, ago: i64, zone: &TimeZone) -> Option<Timestamp> {
    let date = local(at, zone)?.date();
    let monday = i64::from(date.weekday().to_monday_zero_offset());
    day_start(at, monday + ago * 7, zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn the_next_time_of_day_is_local_and_strictly_later() {
        let zone = zone("Europe/Berlin");
        let next = |text, weekday| {
            next_local(at(text), MinuteOfDay(8 * 60 + 30), weekday, &zone)
                .unwrap()
                .to_string()
        };
        assert_eq!(next("2026-03-02T07:29:00Z", None), "2026-03-02T07:30:00Z");
        assert_eq!(next("2026-03-02T07:30:00Z", None), "2026-03-03T07:30:00Z");
        // Over the change to summer time.
        assert_eq!(next("2026-03-28T08:00:00Z", None), "2026-03-29T06:30:00Z");
        // 2026-03-02 is a Monday.
        assert_eq!(
            next("2026-03-02T08:00:00Z", Some(0)),
            "2026-03-09T07:30:00Z"
        );
        assert_eq!(
            next("2026-03-02T08:00:00Z", Some(6)),
            "2026-03-08T07:30:00Z"
        );
    }

    #[test]
    fn days_and_weeks_begin_at_local_midnight() {
        let zone = zone("America/New_York");
        let noon = at("2026-03-08T16:00:00Z");
        assert_eq!(
            day_start(noon, 0, &zone).unwrap().to_string(),
            "2026-03-08T05:00:00Z"
        );
        assert_eq!(
            day_start(noon, -1, &zone).unwrap().to_string(),
            "2026-03-09T04:00:00Z"
        );
        // 2026-03-08 is a Sunday: its week began on Monday the 2nd.
        assert_eq!(
            week_start(noon, 0, &zone).unwrap().to_string(),
            "2026-03-02T05:00:00Z"
        );
    }
}
