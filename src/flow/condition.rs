//! Conditions of flows: CEL in, a plan out that cannot fail (FL-1).
//!
//! The language is the part of CEL that a condition needs: `&& || !`, comparisons, `+ - * / %`, `in` with a list, `a ? b : c`,
//! `has(field)`, `size(text)`, and `startsWith`, `endsWith`, `contains` on text. The fields are those of [`fields`]; every one has a type, and an
//! expression whose types do not fit is refused when it is read, with its place.
//!
//! **Numbers** are whole (64 bits) or decimal. Decimals are fixed-point with six places in 128 bits, so that `cart.value >= 20.1` is exact: no
//! binary fraction comes near money. The two mix freely; whole by whole divides to a whole, toward zero, as in CEL; a decimal
//! product or quotient is cut after six places.
//!
//! **What cannot be told.** A field that the profile or event does not have, an overflow and a division by zero make the part that needs
//! them *missing*. `&&` with a false side is false and `||` with a true side is true whatever the other side is; everything else with a
//! missing part is missing; a whole condition that is missing does not hold. So `has(x) && x > 1`, `!has(x) || x > 1` read as one expects.
//!
//! **Between events.** `enter.when` is checked again before each step, when there is no event at hand. What it said of the event was true at entry and is not asked again: a part that needs the
//! event is *unknown* then, and a condition that depends on nothing else holds.

use std::fmt;
use std::sync::Arc;

use crate::event::{Event, EventType};
use crate::policy::Policy;
use crate::profile::Profile;
use crate::profile::carts::Cart;
use crate::value::Timestamp;

mod check;
pub mod fields;
mod plan;
mod read;
mod source;

/// Longest source of a condition, in bytes.
pub const MAX_SOURCE: usize = 1_024;
/// Deepest nesting of a condition.
pub const MAX_DEPTH: usize = 32;
/// Most values in a list.
pub const MAX_LIST: usize = 128;

/// What a condition looks at.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The customer.
    pub profile: &'a Profile,
    /// What just happened; `None` between events.
    pub event: Option<&'a Event>,
    /// The cart that the instance or the event is about.
    pub cart: Option<&'a Cart>,
    /// The product that the instance is about; else fields of `supply` go by the event's.
    pub product: Option<&'a str>,
    /// What the customer's history is measured against.
    pub policy: &'a Policy,
    /// The task's clock.
    pub now: Timestamp,
}

/// Where a condition stands: decides which fields it may use.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// The events that it is checked on; `None` for a step, which begins without one.
    pub events: Option<&'a [EventType]>,
    /// What it can be about beside the customer.
    pub about: About,
    /// Minor digits of the shop's currency.
    pub currency_digits: u32,
}

/// What can be at hand beside the customer; what never is makes a condition that never holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// A cart: fields of `cart`.
    pub cart: bool,
    /// A product: fields of `supply`.
    pub product: bool,
}

impl About {
    /// Either.
    pub const ANY: Self = Self {
        cart: true,
        product: true,
    };
    /// The customer alone.
    pub const NOTHING: Self = Self {
        cart: false,
        product: false,
    };
}

/// What is wrong with a condition, and where in its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// First character meant, from 0.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it; may be empty.
    pub remedy: String,
}

/// A compiled condition.
#[derive(Clone)]
pub struct Condition {
    source: Arc<str>,
    plan: Arc<plan::Plan>,
    /// Millionths of the major unit in one minor unit of the shop's currency.
    minor_unit: i128,
}

impl Condition {
    /// Checks and compiles `source` for use in `setting`.
    ///
    /// # Errors
    /// Every fault that was found.
    pub fn compile(source: &str, setting: &Setting<'_>) -> Result<Self, Vec<Fault>> {
        let plan = check::check(source, setting)?;
        Ok(Self {
            source: source.into(),
            plan: Arc::new(plan),
            minor_unit: 10_i128.pow(6_u32.saturating_sub(setting.currency_digits)),
        })
    }

    /// Does it hold? Total: every gap has its meaning (see the module).
    #[must_use]
    pub fn holds(&self, scope: &Scope<'_>) -> bool {
        let sight = plan::Sight {
            scope,
            minor_unit: self.minor_unit,
        };
        match self.plan.truth(&sight) {
            Ok(truth) => truth,
            Err(plan::Gap::Missing) => false,
            Err(plan::Gap::NoEvent) => true,
        }
    }

    /// The fields that it looks at.
    #[must_use]
    pub fn fields(&self) -> Vec<fields::Field> {
        let mut found = Vec::new();
        self.plan.fields(&mut found);
        found
    }

    /// As written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// The text that a field holds now.
#[must_use]
pub fn text_of<'a>(field: fields::Field, scope: &'a Scope<'a>) -> Option<&'a str> {
    let sight = plan::Sight {
        scope,
        minor_unit: 1,
    };
    match read::read(field, &sight) {
        Ok(plan::Value::Text(text)) => Some(text),
        Ok(plan::Value::Bool(_) | plan::Value::Whole(_) | plan::Value::Decimal(_)) | Err(_) => None,
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({})", self.source)
    }
}

#[cfg(test)]
mod tests;
