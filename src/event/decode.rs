//! What decoding has to know beside the bytes: the shop's currency, ids that mean nobody, limits, the record's timestamp.

use super::currency::Currencies;
use crate::value::Timestamp;

/// Lines of an order, consents, traits: no list is longer.
pub const MAX_ITEMS: usize = 5_000;
/// Bytes of a text field.
pub const MAX_TEXT: usize = 16 * 1024;
/// Bytes of an id: it becomes part of keys and is remembered.
pub const MAX_ID: usize = 512;

/// What is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a record's value. Default 1 MiB, Kafka's own default for the largest record.
    pub record_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record_bytes: 1024 * 1024,
        }
    }
}

/// What applies to every record of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeRules {
    /// The shop's currency and the rates of others.
    pub currencies: Currencies,
    /// Values of `customer_id` and `anonymous_id` that mean nobody (`0`, `guest` …). The empty text always does.
    pub ignored_ids: Vec<String>,
    /// What is too much.
    pub limits: Limits,
}

impl DecodeRules {
    /// Of a shop that counts in `currency`: no rates, ids ignored as product.md §2 names them, default limits.
    #[must_use]
    pub fn of_shop(currency: &str) -> Self {
        Self {
            currencies: Currencies::new(currency, []),
            ignored_ids: ["", "0", "null", "guest"].map(str::to_owned).into(),
            limits: Limits::default(),
        }
    }
}

/// Rules and the record's own timestamp.
#[derive(Clone, Copy, Debug)]
pub struct DecodeContext<'a> {
    /// What applies to every record.
    pub rules: &'a DecodeRules,
    /// The record's timestamp. `None` where there is no record yet (a line of a file): then `received_at`, or else `event_time`,
    /// stands for it, which is also what `feed` stamps.
    pub record_timestamp: Option<Timestamp>,
}
