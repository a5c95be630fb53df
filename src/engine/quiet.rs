//! Quiet hours: per channel, country and weekday, in the customer's zone, through every clock change (product.md §7).
//!
//! A stretch begins at a local time of a local day and ends at the next local time that is its end. A local time that does not exist moves
//! forward; one that comes twice counts once, the first time.

use jiff::tz::TimeZone;

use super::calendar::{local_day, local_time};
use crate::flow::moment::WEEKDAYS;
use crate::policy::QuietRule;
use crate::value::Timestamp;

/// Days around an instant whose stretches may matter: one that began yesterday, and whatever begins within a week.
const DAYS: std::ops::RangeInclusive<i64> = -1..=8;
/// Stretches that may follow each other without a minute between them before the answer is "then, at the latest".
const CHAINED: usize = 16;

/// The rules that bind a customer: those that name the country, else those that name none.
fn binding<'a>(rules: &'a [QuietRule], country: Option<&str>) -> Vec<&'a QuietRule> {
    let names = |rule: &&QuietRule| rule.countries.iter().any(|name| Some(&**name) == country);
    let named: Vec<&QuietRule> = rules.iter().filter(names).collect();
    if named.is_empty() {
        rules
            .iter()
            .filter(|rule| rule.countries.is_empty())
            .collect()
    } else {
        named
    }
}

/// The hours that bind a customer, in words.
pub(super) fn describe(rules: &[QuietRule], country: Option<&str>) -> String {
    let hours = binding(rules, country).into_iter().map(|rule| {
        let (from, to) = (rule.hours.from.0, rule.hours.to.0);
        let (from_hour, to_hour) = (from / 60, to / 60);
        format!(
            "{from_hour:02}:{:02}-{to_hour:02}:{:02}{}",
            from % 60,
            to % 60,
            days(rule)
        )
    });
    hours.collect::<Vec<_>>().join(", ")
}

/// ` on saturday and sunday`; nothing for every day.
fn days(rule: &QuietRule) -> String {
    let on: Vec<&str> = WEEKDAYS
        .into_iter()
        .zip(rule.weekdays)
        .filter_map(|(name, on)| on.then_some(name))
        .collect();
    match on.split_last() {
        Some((last, before)) if !before.is_empty() && on.len() < WEEKDAYS.len() => {
            format!(" on {} and {last}", before.join(", "))
        }
        Some((only, [])) => format!(" on {only}"),
        Some(_) | None => String::new(),
    }
}

/// Beginning and end of every stretch near `at`.
fn stretches(
    rules: &[QuietRule],
    country: Option<&str>,
    at: Timestamp,
    zone: &TimeZone,
) -> Vec<(Timestamp, Timestamp)> {
    let mut found = Vec::new();
    for rule in binding(rules, country) {
        let hours = rule.hours;
        for days in DAYS {
            let Some((day, weekday)) = local_day(at, days, zone) else {
                continue;
            };
            if !rule.weekdays.get(weekday).is_some_and(|on| *on) {
                continue;
            }
            let end_day = if hours.from < hours.to {
                Some((day, weekday))
            } else {
                local_day(at, days + 1, zone)
            };
            let start = local_time(day, hours.from, zone);
            let end = end_day.and_then(|(day, _)| local_time(day, hours.to, zone));
            found.extend(start.zip(end));
        }
    }
    found
}

/// Is it quiet now, and if so until when?
pub(super) fn quiet_until(
    rules: &[QuietRule],
    country: Option<&str>,
    at: Timestamp,
    zone: &TimeZone,
) -> Option<Timestamp> {
    let mut until = at;
    for _ in 0..CHAINED {
        let later = stretches(rules, country, until, zone)
            .into_iter()
            .filter(|(start, end)| *start <= until && until < *end)
            .map(|(_, end)| end)
            .max();
        match later {
            Some(end) => until = end,
            None => break,
        }
    }
    (until > at).then_some(until)
}

/// When quiet hours begin next, after `at`.
pub(super) fn next_quiet(
    rules: &[QuietRule],
    country: Option<&str>,
    at: Timestamp,
    zone: &TimeZone,
) -> Option<Timestamp> {
    stretches(rules, country, at, zone)
        .into_iter()
        .map(|(start, _)| start)
        .filter(|start| *start > at)
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{MinuteOfDay, QuietHours};

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn hours(from: u32, to: u32) -> QuietRule {
        QuietRule::daily(QuietHours {
            from: MinuteOfDay(from),
            to: MinuteOfDay(to),
        })
    }

    fn night() -> QuietRule {
        hours(21 * 60, 9 * 60)
    }

    fn until(rules: &[QuietRule], country: Option<&str>, text: &str) -> Option<String> {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        quiet_until(rules, country, at(text), &zone).map(|until| until.to_string())
    }

    #[test]
    fn quiet_hours_pass_midnight_and_end_at_local_nine() {
        let until = |text| until(&[night()], None, text);
        assert_eq!(until("2026-03-01T19:59:59Z"), None);
        assert_eq!(
            until("2026-03-01T20:00:00Z").as_deref(),
            Some("2026-03-02T08:00:00Z")
        );
        assert_eq!(
            until("2026-03-02T07:59:59Z").as_deref(),
            Some("2026-03-02T08:00:00Z")
        );
        assert_eq!(until("2026-03-02T08:00:00Z"), None);
        // The night of the change to summer time ends an hour earlier in UTC.
        assert_eq!(
            until("2026-03-28T21:00:00Z").as_deref(),
            Some("2026-03-29T07:00:00Z")
        );
        // And that of the change back an hour later.
        assert_eq!(
            until("2026-10-24T21:00:00Z").as_deref(),
            Some("2026-10-25T08:00:00Z")
        );
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let next = next_quiet(&[night()], None, at("2026-03-01T20:00:00Z"), &zone).unwrap();
        assert_eq!(next.to_string(), "2026-03-02T20:00:00Z");
    }

    #[test]
    fn a_local_time_that_does_not_exist_moves_forward_and_one_that_comes_twice_counts_once() {
        let until = |text| until(&[hours(60, 150)], None, text);
        // 02:30 does not exist on 2026-03-29; it moves to 03:30 summer time = 01:30Z.
        assert_eq!(
            until("2026-03-29T00:30:00Z").as_deref(),
            Some("2026-03-29T01:30:00Z")
        );
        // 02:30 comes twice on 2026-10-25: 00:30Z and 01:30Z; the first one ends it for good.
        assert_eq!(
            until("2026-10-24T23:30:00Z").as_deref(),
            Some("2026-10-25T00:30:00Z")
        );
        assert_eq!(until("2026-10-25T01:10:00Z"), None);
    }

    #[test]
    fn a_country_and_a_weekday_have_hours_of_their_own() {
        let mut sunday = hours(0, 18 * 60);
        sunday.weekdays = [false, false, false, false, false, false, true];
        let mut abroad = hours(12 * 60, 15 * 60);
        abroad.countries = vec!["ES".into()];
        let rules = [night(), sunday, abroad];
        // 2026-03-01 is a Sunday: Saturday's night runs into the quiet Sunday, which ends at six.
        assert_eq!(
            until(&rules, Some("DE"), "2026-02-28T22:00:00Z").as_deref(),
            Some("2026-03-01T17:00:00Z")
        );
        assert_eq!(until(&rules, Some("DE"), "2026-03-02T12:00:00Z"), None);
        assert_eq!(
            describe(&rules, Some("DE")),
            "21:00-09:00, 00:00-18:00 on sunday"
        );
        // Where a rule names the country, only those count.
        assert_eq!(
            until(&rules, Some("ES"), "2026-03-02T12:00:00Z").as_deref(),
            Some("2026-03-02T14:00:00Z")
        );
        assert_eq!(until(&rules, Some("ES"), "2026-03-01T22:00:00Z"), None);
    }
}
