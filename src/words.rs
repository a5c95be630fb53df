//! Figures and times as a person reads them, names as an address takes them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::value::{Span, Timestamp};

/// What RFC 3986, 2.3 does not call unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A name as one segment of an address.
pub(crate) fn escaped(name: &str) -> String {
    utf8_percent_encode(name, RESERVED).to_string()
}

/// `1204567` → `1,204,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An instant by the clock of the customer's wall, or of `zone` where theirs is unknown: `2026-03-01 14:00`; seconds only when there are any.
pub(crate) fn local(at: Timestamp, own: Option<&str>, zone: &str) -> String {
    let Ok(instant) = jiff::Timestamp::from_millisecond(at.millis()) else {
        return at.to_string();
    };
    let zone = own
        .and_then(|own| jiff::tz::TimeZone::get(own).ok())
        .or_else(|| jiff::tz::TimeZone::get(zone).ok())
        .unwrap_or(jiff::tz::TimeZone::UTC);
    let form = if at.millis() % 60_000 < 1_000 {
        "%Y-%m-%d %H:%M"
    } else {
        "%Y-%m-%d %H:%M:%S"
    };
    instant.to_zoned(zone).strftime(form).to_string()
}

/// A text in which instants are written as they are on the wire (`2026-03-01T10:00:00Z`), with each as `tell` writes it.
pub(crate) fn with_times(text: &str, tell: impl Fn(Timestamp) -> String) -> String {
    let told = |word: &str| {
        let word_end = word.trim_end_matches([',', ';', ')']);
        let at = word_end
            .contains('T')
            .then(|| Timestamp::parse(word_end))??;
        Some(format!("{}{}", tell(at), word.get(word_end.len()..)?))
    };
    let words = text.split(' ');
    let words = words.map(|word| told(word).unwrap_or_else(|| word.to_owned()));
    words.collect::<Vec<_>>().join(" ")
}

/// A length of time to within its two largest units: `2 h 30 min`, `3 d`.
pub(crate) fn span(span: Span) -> String {
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "min"),
        (1_000, "s"),
    ];
    let mut rest = span.millis();
    let mut parts = Vec::new();
    for (unit, name) in units {
        if rest >= unit {
            parts.push(format!("{} {name}", rest / unit));
            rest %= unit;
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() {
        return format!("{rest} ms");
    }
    parts.join(" ")
}

/// Broken at `width` columns; lines after the first begin with `indent` blanks.
pub(crate) fn wrapped(text: &str, width: usize, indent: usize) -> String {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    lines.join(&format!("\n{:indent$}", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words() {
        assert_eq!(
            wrapped("one two three four", 9, 2),
            "one two\n  three\n  four"
        );
        assert_eq!(wrapped("one two  three", 9, 0), "one two\nthree");
        assert_eq!(
            wrapped("incomprehensibilities", 9, 2),
            "incomprehensibilities"
        );
    }

    #[test]
    fn figures_and_times_are_written_as_people_write_them() {
        assert_eq!(
            [0, 999, 1_000, 1_204_567].map(count),
            ["0", "999", "1,000", "1,204,567"]
        );
        let spans = [0, 1_500, 60_000, 9_000_000, 86_400_000, 90_061_000];
        let said = spans.map(|millis| span(Span::from_millis(millis)));
        assert_eq!(
            said,
            ["0 ms", "1 s", "1 min", "2 h 30 min", "1 d", "1 d 1 h"]
        );
        let at = Timestamp::parse("2026-07-01T10:00:07Z").unwrap();
        assert_eq!(
            local(at, Some("Europe/Berlin"), "UTC"),
            "2026-07-01 12:00:07"
        );
        let told = with_times("email: 1 of 1, cart at 2026-07-01T10:00:07Z; Total", |at| {
            local(at, None, "Europe/Berlin")
        });
        assert_eq!(told, "email: 1 of 1, cart at 2026-07-01 12:00:07; Total");
        let at = Timestamp::parse("2026-07-01T10:00:00Z").unwrap();
        assert_eq!(local(at, None, "America/New_York"), "2026-07-01 06:00");
    }
}
