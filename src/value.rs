//! Values that carry a law: instants, lengths of time, money, profile keys.
//!
//! Everything here is plain data. The current time never comes from here: it is an argument everywhere in the core.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Timestamp(#[n(0)] i64);

impl Timestamp {
    /// The beginning of Unix time.
    pub const ZERO: Self = Self(0);
    /// Later than every instant that an event may carry.
    pub const MAX: Self = Self(i64::MAX);

    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Reads RFC 3339 with any offset (`2026-03-01T10:00:00.250+01:00`); `None` when it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        jiff::Timestamp::from_str(text)
            .ok()
            .map(|instant| Self(instant.as_millisecond()))
    }

    /// This instant moved by `span` (which may be negative); saturates at the ends of time.
    #[must_use]
    pub const fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// This instant moved back by `span`; saturates.
    #[must_use]
    pub const fn minus(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }

    /// How long after `earlier` this is; negative when it is before.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, with milliseconds only when there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => instant.fmt(f),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom("not an RFC 3339 time such as 2026-03-01T10:00:00Z")
        })
    }
}

/// A length of time in milliseconds. Written `500ms`, `90s`, `30m`, `4h`, `14d`, `2w`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Span(#[n(0)] i64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From milliseconds.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }
    /// From seconds.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs * 1_000)
    }
    /// From minutes.
    #[must_use]
    pub const fn from_minutes(minutes: i64) -> Self {
        Self(minutes * 60_000)
    }
    /// From hours of 60 minutes.
    #[must_use]
    pub const fn from_hours(hours: i64) -> Self {
        Self(hours * 3_600_000)
    }
    /// From days of 24 hours.
    #[must_use]
    pub const fn from_days(days: i64) -> Self {
        Self(days * 86_400_000)
    }
    /// In milliseconds.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }
}

/// Why a text is not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a length of time such as 500ms, 90s, 30m, 4h, 14d or 2w")]
pub struct SpanError(String);

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let error = || SpanError(text.to_owned());
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
        let (number, unit) = text.split_at(digits);
        let number: i64 = number.parse().map_err(|_| error())?;
        let unit = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(error()),
        };
        number.checked_mul(unit).map(Self).ok_or_else(error)
    }
}

impl fmt::Display for Span {
    /// In the largest unit that divides it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [
            (604_800_000, "w"),
            (86_400_000, "d"),
            (3_600_000, "h"),
            (60_000, "m"),
            (1_000, "s"),
        ] {
            if self.0 != 0 && self.0 % unit == 0 {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}ms", self.0)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An amount in minor units (cents) of the shop's currency, or of the currency that stands beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Money(#[n(0)] i64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From minor units.
    #[must_use]
    pub const fn from_minor(minor: i64) -> Self {
        Self(minor)
    }
    /// In minor units.
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.0
    }
    /// Sum; saturates, so that absurd input cannot wrap around.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
    /// Difference; saturates.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
    /// This amount `quantity` times; saturates.
    #[must_use]
    pub const fn times(self, quantity: u32) -> Self {
        Self(self.0.saturating_mul(quantity as i64))
    }

    /// Reads a decimal (`59.90`, `-3`, `1e2` is none) with `digits` minor digits, rounding half away from zero beyond them.
    /// `None` when it is not a decimal or does not fit.
    #[must_use]
    pub fn parse(text: &str, digits: u32) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        if !whole
            .bytes()
            .chain(fraction.bytes())
            .all(|b| b.is_ascii_digit())
        {
            return None;
        }
        let mut minor: i64 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        let mut rest = fraction.bytes();
        for _ in 0..digits {
            let digit = rest.next().map_or(0, |b| i64::from(b - b'0'));
            minor = minor.checked_mul(10)?.checked_add(digit)?;
        }
        if rest.next().is_some_and(|b| b >= b'5') {
            minor = minor.checked_add(1)?;
        }
        Some(Self(if negative { -minor } else { minor }))
    }

    /// Writes the amount as a decimal with `digits` minor digits (`5990`, 2 → `59.90`).
    #[must_use]
    pub fn decimal(self, digits: u32) -> String {
        if digits == 0 {
            return self.0.to_string();
        }
        let unit = 10_u64.pow(digits);
        let sign = if self.0 < 0 { "-" } else { "" };
        let minor = self.0.unsigned_abs();
        let width = digits as usize;
        format!("{sign}{}.{:0width$}", minor / unit, minor % unit)
    }
}

/// Who a profile is of: `c:<customer_id>`, or `a:<anonymous_id>` while the customer is unknown. The two are separate name spaces.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileKey(Arc<str>);

impl ProfileKey {
    /// Of a known customer.
    #[must_use]
    pub fn customer(id: &str) -> Self {
        Self(format!("c:{id}").into())
    }
    /// Of an anonymous visitor.
    #[must_use]
    pub fn anonymous(id: &str) -> Self {
        Self(format!("a:{id}").into())
    }
    /// Of an address, by its keyed hash: not a person, but the list of those who hold it.
    #[must_use]
    pub fn address(hash: &str) -> Self {
        Self(format!("h:{hash}").into())
    }
    /// Reads the written form; `None` when it has none of the prefixes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        ["c:", "a:", "h:"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
            .then(|| Self(text.into()))
    }
    /// The written form, prefix included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The id without its prefix.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.get(2..).unwrap_or_default()
    }
    /// The customer id, when this is a known customer.
    #[must_use]
    pub fn customer_id(&self) -> Option<&str> {
        self.0.strip_prefix("c:")
    }
    /// The anonymous id, when the customer is unknown.
    #[must_use]
    pub fn anonymous_id(&self) -> Option<&str> {
        self.0.strip_prefix("a:")
    }
    /// Is this the list of those who hold an address, and not a person?
    #[must_use]
    pub fn is_address(&self) -> bool {
        self.0.starts_with("h:")
    }
}

impl fmt::Debug for ProfileKey {
    /// Never the id: a profile key is personal data and debug output ends up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.starts_with("c:") {
            "ProfileKey(c:…)"
        } else if self.0.starts_with("a:") {
            "ProfileKey(a:…)"
        } else {
            "ProfileKey(h:…)"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_keeps_every_cent_and_rounds_half_away_from_zero() {
        for (text, minor) in [
            ("59.90", 5990),
            ("-3", -300),
            ("0.005", 1),
            ("-0.005", -1),
            (".5", 50),
            ("7.", 700),
        ] {
            assert_eq!(
                Money::parse(text, 2),
                Some(Money::from_minor(minor)),
                "{text}"
            );
        }
        for text in [
            "",
            ".",
            "NaN",
            "1e3",
            "--1",
            "1.2.3",
            "99999999999999999999",
        ] {
            assert_eq!(Money::parse(text, 2), None, "{text}");
        }
        assert_eq!(Money::from_minor(-1205).decimal(2), "-12.05");
        assert_eq!(Money::parse("120", 0), Some(Money::from_minor(120)));
    }

    #[test]
    fn spans_and_times_read_what_they_write() {
        for text in ["500ms", "90s", "30m", "4h", "15d", "2w"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert!(
            "4 h".parse::<Span>().is_err()
                && "h".parse::<Span>().is_err()
                && "-4h".parse::<Span>().is_err()
        );
        let time = Timestamp::parse("2026-03-01T11:00:00.250+01:00").unwrap();
        assert_eq!(time.to_string(), "2026-03-01T10:00:00.25Z");
        assert_eq!(Timestamp::parse(&time.to_string()), Some(time));
    }
}
