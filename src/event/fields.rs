//! Scalars of the wire, read as what the contract says they are: ids, texts, counts, flags, times, money.

use std::borrow::Cow;

use super::currency::Absurd;
use super::decode::{DecodeRules, MAX_ID, MAX_TEXT};
use super::refusal::{DecodeError, Refusal};
use super::wire::{Field, Key, Line, Place, Scalar, Wire};
use crate::value::{Money, Timestamp};

/// No quantity is larger.
pub(super) const MAX_COUNT: u32 = 1_000_000;

/// The scalars of a record or of one of its lines, and what is needed to read them.
#[derive(Clone, Copy)]
pub(super) struct Fields<'w, 'a> {
    scalars: &'w [Scalar<'a>],
    line: Option<usize>,
    pub(super) rules: &'w DecodeRules,
}

impl<'w, 'a> Fields<'w, 'a> {
    pub(super) const fn of_record(wire: &'w Wire<'a>, rules: &'w DecodeRules) -> Self {
        Self {
            scalars: &wire.scalars,
            line: None,
            rules,
        }
    }

    pub(super) const fn of_line(self, line: &'w Line<'a>, index: usize) -> Self {
        Self {
            scalars: &line.0,
            line: Some(index),
            rules: self.rules,
        }
    }

    pub(super) fn get(self, field: Field) -> &'w Scalar<'a> {
        self.scalars.get(field as usize).unwrap_or(&Scalar::Null)
    }

    /// The error that says what is wrong with `field`.
    pub(super) fn refuse(self, field: Field, refusal: Refusal) -> DecodeError {
        let place = match self.line {
            None => Place::from(Key::Scalar(field)),
            Some(index) => Place {
                key: Some(Key::Products),
                index: Some(index),
                inner: Some(field.name()),
            },
        };
        DecodeError::at(refusal, place)
    }

    /// A text; numbers count as their digits, the empty text as absent.
    pub(super) fn text(self, field: Field) -> Result<Option<Cow<'w, str>>, DecodeError> {
        text(self.get(field), MAX_TEXT).map_err(|refusal| self.refuse(field, refusal))
    }

    /// A text of the length of an id.
    pub(super) fn id(self, field: Field) -> Result<Option<String>, DecodeError> {
        text(self.get(field), MAX_ID)
            .map(|id| id.map(Cow::into_owned))
            .map_err(|refusal| self.refuse(field, refusal))
    }

    pub(super) fn owned(self, field: Field) -> Result<Option<String>, DecodeError> {
        self.text(field).map(|text| text.map(Cow::into_owned))
    }

    /// An id that the type cannot do without.
    pub(super) fn need_id(self, field: Field) -> Result<String, DecodeError> {
        self.id(field)?
            .ok_or_else(|| self.refuse(field, Refusal::Missing))
    }

    /// Yes or no, also written as 1 and 0 or as text.
    pub(super) fn flag(self, field: Field) -> Result<Option<bool>, DecodeError> {
        flag(self.get(field)).map_err(|refusal| self.refuse(field, refusal))
    }

    /// A number from 0 to `max`; fractions count as begun (half a kilo is one).
    pub(super) fn count(self, field: Field, max: u32) -> Result<Option<u32>, DecodeError> {
        let bad = || self.refuse(field, Refusal::BadNumber);
        let scalar = self.get(field);
        let whole = if let Scalar::Int(whole) = scalar {
            *whole
        } else {
            let text = decimal(scalar).map_err(|refusal| self.refuse(field, refusal))?;
            let Some(text) = text else {
                return Ok(None);
            };
            let thousandths = Money::parse(&text, 3).ok_or_else(bad)?.minor();
            thousandths.div_euclid(1_000) + i64::from(thousandths.rem_euclid(1_000) != 0)
        };
        u32::try_from(whole)
            .ok()
            .filter(|count| *count <= max)
            .map(Some)
            .ok_or_else(bad)
    }

    /// A decimal in millionths.
    pub(super) fn millionths(self, field: Field) -> Result<Option<i64>, DecodeError> {
        let text = decimal(self.get(field)).map_err(|refusal| self.refuse(field, refusal))?;
        text.map(|text| {
            Money::parse(&text, 6)
                .map(Money::minor)
                .ok_or_else(|| self.refuse(field, Refusal::BadNumber))
        })
        .transpose()
    }

    /// An amount of `currency` in the shop's; `None` also when there is no rate.
    pub(super) fn money(
        self,
        field: Field,
        currency: Option<&str>,
    ) -> Result<Option<Money>, DecodeError> {
        let text = decimal(self.get(field)).map_err(|refusal| {
            let not_a_number = refusal == Refusal::BadNumber;
            self.refuse(
                field,
                if not_a_number {
                    Refusal::BadMoney
                } else {
                    refusal
                },
            )
        })?;
        let Some(text) = text else {
            return Ok(None);
        };
        self.rules
            .currencies
            .read(&text, currency)
            .map_err(|Absurd| self.refuse(field, Refusal::BadMoney))
    }

    /// RFC 3339, or Unix milliseconds as number or digits.
    pub(super) fn time(self, field: Field) -> Result<Option<Timestamp>, DecodeError> {
        let bad = || self.refuse(field, Refusal::BadTime);
        let millis = match self.get(field) {
            Scalar::Null => return Ok(None),
            Scalar::Int(millis) => *millis,
            Scalar::Float(_) => {
                let text = decimal(self.get(field))
                    .map_err(|_| bad())?
                    .unwrap_or_default();
                Money::parse(&text, 0).ok_or_else(bad)?.minor()
            }
            Scalar::Text(text) if text.is_empty() => return Ok(None),
            Scalar::Text(text) => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                if !digits.bytes().all(|b| b.is_ascii_digit()) {
                    return Timestamp::parse(text).map(Some).ok_or_else(bad);
                }
                text.parse().map_err(|_| bad())?
            }
            Scalar::Bool(_) | Scalar::Other => {
                return Err(self.refuse(field, Refusal::WrongType));
            }
        };
        Ok(Some(Timestamp::from_millis(millis)))
    }
}

/// A text of at most `max` bytes.
pub(super) fn text<'w>(
    scalar: &'w Scalar<'_>,
    max: usize,
) -> Result<Option<Cow<'w, str>>, Refusal> {
    match scalar {
        Scalar::Null => Ok(None),
        Scalar::Text(text) if text.is_empty() => Ok(None),
        Scalar::Text(text) if text.len() > max => Err(Refusal::TooLong),
        Scalar::Text(text) => Ok(Some(Cow::Borrowed(text))),
        Scalar::Int(number) => Ok(Some(Cow::Owned(number.to_string()))),
        Scalar::Bool(_) | Scalar::Float(_) | Scalar::Other => Err(Refusal::WrongType),
    }
}

/// Yes or no.
pub(super) fn flag(scalar: &Scalar<'_>) -> Result<Option<bool>, Refusal> {
    match scalar {
        Scalar::Null => Ok(None),
        Scalar::Bool(yes) => Ok(Some(*yes)),
        Scalar::Int(0) => Ok(Some(false)),
        Scalar::Int(1) => Ok(Some(true)),
        Scalar::Text(text) => match text.as_ref() {
            "" => Ok(None),
            "true" | "1" => Ok(Some(true)),
            "false" | "0" => Ok(Some(false)),
            _ => Err(Refusal::WrongType),
        },
        Scalar::Int(_) | Scalar::Float(_) | Scalar::Other => Err(Refusal::WrongType),
    }
}

/// The decimal digits of a number. A float is printed as the shortest decimal that reads back, which is what was written
/// for every number of up to 15 digits; no arithmetic is done on it.
pub(super) fn decimal<'w>(scalar: &'w Scalar<'_>) -> Result<Option<Cow<'w, str>>, Refusal> {
    match scalar {
        Scalar::Null => Ok(None),
        Scalar::Text(text) => {
            let text = text.trim();
            Ok((!text.is_empty()).then_some(Cow::Borrowed(text)))
        }
        Scalar::Int(number) => Ok(Some(Cow::Owned(number.to_string()))),
        Scalar::Float(number) if number.is_finite() => Ok(Some(Cow::Owned(number.to_string()))),
        Scalar::Float(_) => Err(Refusal::BadNumber),
        Scalar::Bool(_) | Scalar::Other => Err(Refusal::WrongType),
    }
}
