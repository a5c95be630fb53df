//! Moments: instants that a flow names instead of a length of time ("08:30 local", "monday 09:00 local", "depletion - 3d").

use crate::policy::MinuteOfDay;
use crate::value::Span;

/// Names of the days in the order of their numbers, Monday first.
pub const WEEKDAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// Declares the moments that are known of a customer once: variant, name, what moves it.
macro_rules! landmarks {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal;)*) => {
        /// An instant that is known of a customer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Landmark { $($(#[doc = $doc])* $variant,)* }

        impl Landmark {
            /// Every one, with what it is.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$variant, concat!($($doc),*))),*];
            /// As written in a flow.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
            /// Reads the name.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

landmarks! {
    /// What the customer has of the product is used up: last order plus quantity times days per unit.
    Depletion = "depletion";
    /// The expected day of the next order has passed by more than its tolerance: the customer's own rhythm is broken.
    CadenceBreak = "cadence_break";
    /// The last order was placed.
    LastOrder = "last_order";
    /// The first order was placed.
    FirstOrder = "first_order";
    /// The account was opened.
    SignedUp = "signed_up";
}

/// An instant of one customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The next such time in the customer's zone.
    Local {
        /// On this day of the week only, 0 is Monday.
        weekday: Option<u8>,
        /// Time of day.
        time: MinuteOfDay,
    },
    /// So long before (negative) or after something known of the customer.
    Known {
        /// What.
        landmark: Landmark,
        /// Moved by that.
        offset: Span,
    },
}

/// How moments are written, for messages.
pub const EXPECTED: &str =
    "a moment such as \"08:30 local\", \"monday 09:00 local\" or \"depletion - 3d\"";

impl Moment {
    /// Reads a moment; `Err` says what is wrong.
    ///
    /// # Errors
    /// With the part that is no moment.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            [time, "local"] => Ok(Self::Local {
                weekday: None,
                time: time_of_day(time)?,
            }),
            [weekday, time, "local"] => Ok(Self::Local {
                weekday: Some(day_of_week(weekday)?),
                time: time_of_day(time)?,
            }),
            [name] => Ok(Self::Known {
                landmark: landmark(name)?,
                offset: Span::ZERO,
            }),
            [name, sign @ ("+" | "-" | "−"), span] => {
                let landmark = landmark(name)?;
                let span: Span = span.parse().map_err(|error| format!("{error}"))?;
                let offset = if *sign == "+" {
                    span.millis()
                } else {
                    -span.millis()
                };
                Ok(Self::Known {
                    landmark,
                    offset: Span::from_millis(offset),
                })
            }
            _ => Err(format!("`{text}` is no moment")),
        }
    }
}

fn landmark(name: &str) -> Result<Landmark, String> {
    Landmark::parse(name).ok_or_else(|| format!("`{name}` is no moment of a customer"))
}

fn day_of_week(name: &str) -> Result<u8, String> {
    WEEKDAYS
        .iter()
        .position(|day| *day == name)
        .and_then(|day| u8::try_from(day).ok())
        .ok_or_else(|| format!("`{name}` is no day of the week"))
}

fn time_of_day(text: &str) -> Result<MinuteOfDay, String> {
    let parts = text
        .split_once(':')
        .filter(|(hour, minute)| hour.len() == 2 && minute.len() == 2)
        .and_then(|(hour, minute)| Some((hour.parse::<u32>().ok()?, minute.parse::<u32>().ok()?)))
        .filter(|(hour, minute)| *hour < 24 && *minute < 60);
    parts
        .map(|(hour, minute)| MinuteOfDay(hour * 60 + minute))
        .ok_or_else(|| format!("`{text}` is no time of day"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_written() {
        let nine = MinuteOfDay(9 * 60);
        let read = |text| Moment::parse(text).unwrap();
        assert_eq!(
            read("monday 09:00 local"),
            Moment::Local {
                weekday: Some(0),
                time: nine
            }
        );
        assert_eq!(
            read("09:00 local"),
            Moment::Local {
                weekday: None,
                time: nine
            }
        );
        assert_eq!(
            read("depletion - 3d"),
            Moment::Known {
                landmark: Landmark::Depletion,
                offset: Span::from_millis(-3 * 86_400_000)
            }
        );
        for (wrong, said) in [
            ("24:00 local", "`24:00` is no time of day"),
            ("9:00 local", "`9:00` is no time of day"),
            ("someday 09:00 local", "`someday` is no day of the week"),
            ("deplete - 3d", "`deplete` is no moment of a customer"),
            ("09:00", "`09:00` is no moment of a customer"),
            ("depletion minus 3d", "`depletion minus 3d` is no moment"),
        ] {
            assert_eq!(Moment::parse(wrong), Err(said.to_owned()));
        }
    }
}
