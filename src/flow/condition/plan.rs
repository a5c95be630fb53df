//! What a condition becomes: a tree whose evaluation is total and allocates nothing.

use std::cmp::Ordering;
use std::sync::Arc;

use cel::common::ast::operators;

use super::Scope;
use super::fields::Field;
use super::read;

/// Millionths in one.
pub(super) const MILLION: i128 = 1_000_000;

/// A value while a condition is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Bool(bool),
    Whole(i64),
    /// In millionths.
    Decimal(i128),
    Text(&'a str),
}

/// Why a part has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// Not there, or not computable.
    Missing,
    /// It speaks of the event, and there is none at hand.
    NoEvent,
}

/// What the plan is evaluated on.
pub(super) struct Sight<'a> {
    pub(super) scope: &'a Scope<'a>,
    /// Millionths of the major unit in one minor unit.
    pub(super) minor_unit: i128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    StartsWith,
    EndsWith,
    Contains,
}

impl Comparison {
    /// Reads the parser's name of an operator.
    pub(super) fn of_operator(name: &str) -> Option<Self> {
        Some(match name {
            operators::EQUALS => Self::Equal,
            operators::NOT_EQUALS => Self::NotEqual,
            operators::LESS => Self::Less,
            operators::LESS_EQUALS => Self::AtMost,
            operators::GREATER => Self::Greater,
            operators::GREATER_EQUALS => Self::AtLeast,
            _ => return None,
        })
    }
}

impl Arithmetic {
    /// Reads the parser's name of an operator; gives the sign for messages too.
    pub(super) fn of_operator(name: &str) -> Option<(Self, &'static str)> {
        Some(match name {
            operators::ADD => (Self::Add, "`+`"),
            operators::SUBSTRACT => (Self::Subtract, "`-`"),
            operators::MULTIPLY => (Self::Multiply, "`*`"),
            operators::DIVIDE => (Self::Divide, "`/`"),
            operators::MODULO => (Self::Remainder, "`%`"),
            _ => return None,
        })
    }
}

/// A checked expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plan {
    Bool(bool),
    Whole(i64),
    Decimal(i128),
    Text(Arc<str>),
    Field(Field),
    Trait(Arc<str>),
    Score(Arc<str>),
    /// Of a field, trait or score.
    Has(Box<Plan>),
    Not(Box<Plan>),
    And(Box<(Plan, Plan)>),
    Or(Box<(Plan, Plan)>),
    Compare(Comparison, Box<(Plan, Plan)>),
    Arithmetic(Arithmetic, Box<(Plan, Plan)>),
    Negate(Box<Plan>),
    In(Box<Plan>, Box<[Plan]>),
    Search(Search, Box<(Plan, Plan)>),
    Length(Box<Plan>),
    Choose(Box<(Plan, Plan, Plan)>),
}

impl Plan {
    /// The value of an expression that the checker found to be true or false.
    pub(super) fn truth(&self, sight: &Sight<'_>) -> Result<bool, Gap> {
        match self.value(sight)? {
            Value::Bool(truth) => Ok(truth),
            // Only a trait can turn out to be something else.
            Value::Whole(_) | Value::Decimal(_) | Value::Text(_) => Err(Gap::Missing),
        }
    }

    /// Adds the fields that it looks at.
    pub(super) fn fields(&self, found: &mut Vec<Field>) {
        match self {
            Self::Field(field) => found.push(*field),
            Self::Bool(_)
            | Self::Whole(_)
            | Self::Decimal(_)
            | Self::Text(_)
            | Self::Trait(_)
            | Self::Score(_) => {}
            Self::Has(part) | Self::Not(part) | Self::Negate(part) | Self::Length(part) => {
                part.fields(found);
            }
            Self::And(sides) | Self::Or(sides) => {
                sides.0.fields(found);
                sides.1.fields(found);
            }
            Self::Compare(_, sides) | Self::Arithmetic(_, sides) | Self::Search(_, sides) => {
                sides.0.fields(found);
                sides.1.fields(found);
            }
            Self::In(value, list) => {
                value.fields(found);
                list.iter().for_each(|item| item.fields(found));
            }
            Self::Choose(parts) => {
                parts.0.fields(found);
                parts.1.fields(found);
                parts.2.fields(found);
            }
        }
    }

    fn value<'a>(&'a self, sight: &Sight<'a>) -> Result<Value<'a>, Gap> {
        match self {
            Self::Bool(truth) => Ok(Value::Bool(*truth)),
            Self::Whole(number) => Ok(Value::Whole(*number)),
            Self::Decimal(number) => Ok(Value::Decimal(*number)),
            Self::Text(text) => Ok(Value::Text(text)),
            Self::Field(field) => read::read(*field, sight),
            Self::Trait(name) => read::read_trait(name, sight),
            Self::Score(name) => read::read_score(name, sight),
            Self::Has(part) => match part.value(sight) {
                Ok(_) => Ok(Value::Bool(true)),
                Err(Gap::Missing) => Ok(Value::Bool(false)),
                Err(Gap::NoEvent) => Err(Gap::NoEvent),
            },
            Self::Not(part) => Ok(Value::Bool(!part.truth(sight)?)),
            Self::And(sides) => both(sides.0.truth(sight), || sides.1.truth(sight)),
            Self::Or(sides) => either(sides.0.truth(sight), || sides.1.truth(sight)),
            Self::Compare(how, sides) => {
                compare(*how, sides.0.value(sight)?, sides.1.value(sight)?)
                    .map(Value::Bool)
                    .ok_or(Gap::Missing)
            }
            Self::Arithmetic(how, sides) => {
                arithmetic(*how, sides.0.value(sight)?, sides.1.value(sight)?).ok_or(Gap::Missing)
            }
            Self::Negate(part) => match part.value(sight)? {
                Value::Whole(number) => number.checked_neg().map(Value::Whole),
                Value::Decimal(number) => number.checked_neg().map(Value::Decimal),
                Value::Bool(_) | Value::Text(_) => None,
            }
            .ok_or(Gap::Missing),
            Self::In(part, list) => among(part.value(sight)?, list, sight),
            Self::Search(how, sides) => match (sides.0.value(sight)?, sides.1.value(sight)?) {
                (Value::Text(text), Value::Text(part)) => Ok(Value::Bool(match how {
                    Search::StartsWith => text.starts_with(part),
                    Search::EndsWith => text.ends_with(part),
                    Search::Contains => text.contains(part),
                })),
                _ => Err(Gap::Missing),
            },
            Self::Length(part) => match part.value(sight)? {
                Value::Text(text) => i64::try_from(text.chars().count())
                    .map(Value::Whole)
                    .map_err(|_| Gap::Missing),
                Value::Bool(_) | Value::Whole(_) | Value::Decimal(_) => Err(Gap::Missing),
            },
            Self::Choose(parts) => {
                if parts.0.truth(sight)? {
                    parts.1.value(sight)
                } else {
                    parts.2.value(sight)
                }
            }
        }
    }
}

/// `&&`: one false side settles it; missing outweighs unknown, because it makes the whole condition fail.
fn both<'a>(
    left: Result<bool, Gap>,
    right: impl FnOnce() -> Result<bool, Gap>,
) -> Result<Value<'a>, Gap> {
    let truth = match (left, left != Ok(false)) {
        (_, false) => Ok(false),
        (left, true) => match (left, right()) {
            (_, Ok(false)) => Ok(false),
            (Ok(_), right) => right,
            (Err(left), Ok(_)) => Err(left),
            (Err(Gap::NoEvent), Err(Gap::NoEvent)) => Err(Gap::NoEvent),
            (Err(_), Err(_)) => Err(Gap::Missing),
        },
    };
    truth.map(Value::Bool)
}

/// `||`: one true side settles it; unknown outweighs missing, because it may have been true at entry.
fn either<'a>(
    left: Result<bool, Gap>,
    right: impl FnOnce() -> Result<bool, Gap>,
) -> Result<Value<'a>, Gap> {
    let truth = if left == Ok(true) {
        Ok(true)
    } else {
        match (left, right()) {
            (_, Ok(true)) => Ok(true),
            (Ok(_), right) => right,
            (Err(left), Ok(_)) => Err(left),
            (Err(Gap::Missing), Err(Gap::Missing)) => Err(Gap::Missing),
            (Err(_), Err(_)) => Err(Gap::NoEvent),
        }
    };
    truth.map(Value::Bool)
}

/// A whole number or decimal in millionths.
fn millionths(value: Value<'_>) -> Option<i128> {
    match value {
        Value::Whole(number) => Some(i128::from(number) * MILLION),
        Value::Decimal(number) => Some(number),
        Value::Bool(_) | Value::Text(_) => None,
    }
}

/// `None` for an order between values that have none. Values of different kinds are not equal.
fn compare(how: Comparison, left: Value<'_>, right: Value<'_>) -> Option<bool> {
    let ordering = match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(&right)),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (left, right) => match (millionths(left), millionths(right)) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => None,
        },
    };
    match how {
        Comparison::Equal => Some(ordering == Some(Ordering::Equal)),
        Comparison::NotEqual => Some(ordering != Some(Ordering::Equal)),
        Comparison::Less => ordering.map(Ordering::is_lt),
        Comparison::AtMost => ordering.map(Ordering::is_le),
        Comparison::Greater => ordering.map(Ordering::is_gt),
        Comparison::AtLeast => ordering.map(Ordering::is_ge),
    }
}

/// `None` on overflow, division by zero, or what is no number.
fn arithmetic<'a>(how: Arithmetic, left: Value<'a>, right: Value<'a>) -> Option<Value<'a>> {
    if let (Value::Whole(left), Value::Whole(right)) = (left, right) {
        return match how {
            Arithmetic::Add => left.checked_add(right),
            Arithmetic::Subtract => left.checked_sub(right),
            Arithmetic::Multiply => left.checked_mul(right),
            Arithmetic::Divide => left.checked_div(right),
            Arithmetic::Remainder => left.checked_rem(right),
        }
        .map(Value::Whole);
    }
    let (left, right) = (millionths(left)?, millionths(right)?);
    match how {
        Arithmetic::Add => left.checked_add(right),
        Arithmetic::Subtract => left.checked_sub(right),
        Arithmetic::Multiply => left.checked_mul(right).map(|product| product / MILLION),
        Arithmetic::Divide => left.checked_mul(MILLION)?.checked_div(right),
        // Of whole numbers only: a trait may have turned out to be a decimal.
        Arithmetic::Remainder => None,
    }
    .map(Value::Decimal)
}

/// `x in [a, b]`: true when one is equal, else a gap when one has no value.
fn among<'a>(value: Value<'a>, list: &'a [Plan], sight: &Sight<'a>) -> Result<Value<'a>, Gap> {
    let mut verdict = Ok(Value::Bool(false));
    for item in list {
        let same = item
            .value(sight)
            .map(|item| compare(Comparison::Equal, value, item) == Some(true));
        verdict = either(verdict.map(|found| found == Value::Bool(true)), || same);
        if verdict == Ok(Value::Bool(true)) {
            break;
        }
    }
    verdict
}
