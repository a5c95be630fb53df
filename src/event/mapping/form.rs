//! Ways of writing time and money that are not ours: seconds, other patterns, minor units, decimal commas.

use std::borrow::Cow;

use jiff::fmt::{rfc2822, strtime};
use jiff::tz::TimeZone;

use crate::event::currency::minor_digits;
use crate::event::fields::decimal;
use crate::event::refusal::Refusal;
use crate::event::wire::Scalar;
use crate::value::Money;

/// How a value is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Form {
    /// As the contract says: RFC 3339 or Unix milliseconds, decimals with a point.
    #[default]
    Ours,
    /// A number of units since 1970; how many of our milliseconds one is, or how many of them make one.
    Unix(Unit),
    /// As in mail headers: `Sun, 01 Mar 2026 10:00:00 +0000`.
    Rfc2822,
    /// As `strftime` writes it; in that zone when it names none itself.
    Pattern(Box<str>, TimeZone),
    /// Whole minor units of the amount's currency (`5990` for 59.90).
    MinorUnits,
    /// With a decimal comma; points, spaces and apostrophes part thousands.
    DecimalComma,
}

/// Units of time since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Millis,
    Micros,
    Nanos,
}

impl Form {
    /// Reads the name of a way to write time; anything with a `%` is a pattern.
    pub(super) fn of_time(name: &str, zone: TimeZone) -> Option<Self> {
        Some(match name {
            "seconds" => Self::Unix(Unit::Seconds),
            "milliseconds" => Self::Unix(Unit::Millis),
            "microseconds" => Self::Unix(Unit::Micros),
            "nanoseconds" => Self::Unix(Unit::Nanos),
            "rfc3339" => Self::Ours,
            "rfc2822" => Self::Rfc2822,
            pattern if is_sound(pattern) => Self::Pattern(pattern.into(), zone),
            _ => return None,
        })
    }

    /// Reads the name of a way to write money.
    pub(super) fn of_money(name: &str) -> Option<Self> {
        match name {
            "decimal" => Some(Self::Ours),
            "minor_units" => Some(Self::MinorUnits),
            "decimal_comma" => Some(Self::DecimalComma),
            _ => None,
        }
    }

    /// A time in Unix milliseconds; what is no time of this form passes as it is.
    pub(super) fn time<'t>(&self, value: Scalar<'t>) -> Result<Scalar<'t>, Refusal> {
        let read = match self {
            Self::Ours | Self::MinorUnits | Self::DecimalComma => return Ok(value),
            Self::Unix(unit) => {
                let Some(number) = decimal(&value).map_err(|_| Refusal::BadTime)? else {
                    return Ok(Scalar::Null);
                };
                unit.millis(&number)
            }
            Self::Rfc2822 => match text(&value)? {
                None => return Ok(Scalar::Null),
                Some(text) => rfc2822::parse(text)
                    .ok()
                    .map(|at| at.timestamp().as_millisecond()),
            },
            Self::Pattern(pattern, zone) => match text(&value)? {
                None => return Ok(Scalar::Null),
                Some(text) => strtime::parse(&**pattern, text)
                    .ok()
                    .and_then(|broken| instant(&broken, zone)),
            },
        };
        read.map(Scalar::Int).ok_or(Refusal::BadTime)
    }

    /// Money as a decimal with a point; `currency` is the amount's.
    pub(super) fn money<'t>(
        &self,
        value: Scalar<'t>,
        currency: &str,
    ) -> Result<Scalar<'t>, Refusal> {
        match self {
            Self::MinorUnits => {
                let Some(number) = decimal(&value).map_err(|_| Refusal::BadMoney)? else {
                    return Ok(Scalar::Null);
                };
                // 5990.0 is whole too: floats are how some write integers.
                let number = number.strip_suffix(".0").unwrap_or(&number);
                let minor: i64 = number.parse().map_err(|_| Refusal::BadMoney)?;
                let digits = minor_digits(&currency.to_ascii_uppercase());
                let amount = Money::from_minor(minor).decimal(digits);
                Ok(Scalar::Text(Cow::Owned(amount)))
            }
            Self::DecimalComma => match &value {
                Scalar::Text(text) => {
                    let parted = |c: &char| !matches!(c, '.' | ' ' | '\u{a0}' | '\u{202f}' | '\'');
                    let point = |c| if c == ',' { '.' } else { c };
                    let amount: String = text.chars().filter(parted).map(point).collect();
                    Ok(Scalar::Text(Cow::Owned(amount)))
                }
                Scalar::Null
                | Scalar::Bool(_)
                | Scalar::Int(_)
                | Scalar::Float(_)
                | Scalar::Other => Ok(value),
            },
            Self::Ours | Self::Unix(_) | Self::Rfc2822 | Self::Pattern(..) => Ok(value),
        }
    }
}

impl Unit {
    /// A decimal number of these in milliseconds, cut off.
    fn millis(self, number: &str) -> Option<i64> {
        // Exponents are how floats print beyond 10^16; no time is there.
        let whole = |digits| Money::parse(number, digits).map(Money::minor);
        match self {
            Self::Seconds => whole(3),
            Self::Millis => whole(0),
            Self::Micros => whole(0).map(|micros| micros.div_euclid(1_000)),
            Self::Nanos => whole(0).map(|nanos| nanos.div_euclid(1_000_000)),
        }
    }
}

fn text<'s>(value: &'s Scalar<'_>) -> Result<Option<&'s str>, Refusal> {
    match value {
        Scalar::Null => Ok(None),
        Scalar::Text(text) if text.is_empty() => Ok(None),
        Scalar::Text(text) => Ok(Some(text)),
        Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_) | Scalar::Other => {
            Err(Refusal::BadTime)
        }
    }
}

/// Its own offset wins; without one it is read in `zone`, a time that does not exist there moved forward, the first of two.
fn instant(broken: &strtime::BrokenDownTime, zone: &TimeZone) -> Option<i64> {
    if broken.offset().is_some() || broken.timestamp().is_some() {
        return broken.to_timestamp().ok().map(|at| at.as_millisecond());
    }
    let local = broken
        .to_datetime()
        .or_else(|_| {
            broken
                .to_date()
                .map(|date| date.to_datetime(jiff::civil::Time::midnight()))
        })
        .ok()?;
    let at = zone.to_ambiguous_zoned(local).compatible().ok()?;
    Some(at.timestamp().as_millisecond())
}

/// Does a pattern read what it writes?
fn is_sound(pattern: &str) -> bool {
    if !pattern.contains('%') {
        return false;
    }
    let Ok(then) = jiff::civil::date(2026, 3, 1).at(10, 0, 0, 0).in_tz("UTC") else {
        return false;
    };
    let Ok(written) = strtime::format(pattern, &then) else {
        return false;
    };
    strtime::parse(pattern, &written)
        .ok()
        .and_then(|broken| instant(&broken, &TimeZone::UTC))
        .is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARCH: i64 = 1_772_359_200_000;

    fn time(form: &str, zone: &str, value: Scalar<'_>) -> Result<i64, Refusal> {
        let zone = TimeZone::get(zone).unwrap();
        let value = Form::of_time(form, zone).unwrap().time(value)?;
        let Scalar::Int(millis) = value else {
            panic!("no number");
        };
        Ok(millis)
    }

    #[test]
    fn times_of_other_clocks_become_milliseconds() {
        let text = |text: &'static str| Scalar::Text(Cow::Borrowed(text));
        for (form, zone, value, millis) in [
            ("seconds", "UTC", Scalar::Int(1_772_359_200), MARCH),
            (
                "seconds",
                "UTC",
                Scalar::Float(1_772_359_200.25),
                MARCH + 250,
            ),
            ("seconds", "UTC", text("1772359200"), MARCH),
            (
                "microseconds",
                "UTC",
                Scalar::Int(1_772_359_200_000_999),
                MARCH,
            ),
            (
                "rfc2822",
                "UTC",
                text("Sun, 01 Mar 2026 10:00:00 +0000"),
                MARCH,
            ),
            (
                "%d.%m.%Y %H:%M",
                "Europe/Berlin",
                text("01.03.2026 11:00"),
                MARCH,
            ),
            (
                "%Y-%m-%dT%H:%M:%S%z",
                "Asia/Tokyo",
                text("2026-03-01T11:00:00+0100"),
                MARCH,
            ),
            ("%Y-%m-%d", "UTC", text("2026-03-01"), MARCH - 36_000_000),
        ] {
            assert_eq!(time(form, zone, value), Ok(millis), "{form}");
        }
        for (form, value) in [
            ("seconds", text("yesterday")),
            ("rfc2822", text("2026-03-01")),
            ("%Y-%m-%d", Scalar::Int(20_260_301)),
        ] {
            assert_eq!(time(form, "UTC", value), Err(Refusal::BadTime), "{form}");
        }
        assert!(Form::of_time("%H:%M", TimeZone::UTC).is_none());
        assert!(Form::of_time("iso", TimeZone::UTC).is_none());
    }

    #[test]
    fn money_of_other_hands_becomes_a_decimal() {
        let minor = |value, currency| Form::MinorUnits.money(value, currency);
        let text = |text: &str| Scalar::Text(Cow::Owned(text.to_owned()));
        assert_eq!(minor(Scalar::Int(5990), "EUR"), Ok(text("59.90")));
        assert_eq!(minor(Scalar::Int(5990), "jpy"), Ok(text("5990")));
        assert_eq!(minor(Scalar::Float(5990.0), "KWD"), Ok(text("5.990")));
        assert_eq!(minor(text("59.9"), "EUR"), Err(Refusal::BadMoney));
        for written in ["1.299,90", "1 299,90", "1'299,90", "1299,90"] {
            let read = Form::DecimalComma.money(text(written), "EUR");
            assert_eq!(read, Ok(text("1299.90")), "{written}");
        }
    }
}
