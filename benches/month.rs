//! A recorded month of a mid-size shop, for `replay`: `cargo bench --bench month -- [EVENTS] [CUSTOMERS] > month.jsonl`.
//!
//! Ten million events of half a million customers unless said otherwise: the events of the end-to-end harness (its seed and mix), spread
//! evenly over thirty days, after every customer was identified once. The same numbers give the same bytes.

#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "small numbers of a harness; a wrong one ends it"
)]

use std::io::{BufWriter, Write as _, stdout};

use workload::{Made, Shop};

#[path = "end_to_end/workload.rs"]
#[expect(dead_code, reason = "keys and streams are for a bus")]
mod workload;

/// 2026-03-01T00:00:00Z.
const START: i64 = 1_772_323_200_000;
const MONTH: i64 = 30 * 86_400_000;
/// Customers are identified in the day before the month.
const DAY: i64 = 86_400_000;

fn main() -> std::io::Result<()> {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|number| number.parse().ok());
    let events: i64 = numbers.next().unwrap_or(10_000_000);
    let customers: i64 = numbers.next().unwrap_or(500_000);
    let mut shop = Shop::new(1, usize::try_from(customers).unwrap_or(1), "m");
    let mut out = BufWriter::with_capacity(1 << 20, stdout().lock());
    let mut made = Made::default();
    for customer in 0..customers {
        let at = START - DAY + customer * DAY / customers;
        shop.identify(usize::try_from(customer).unwrap_or_default(), at, &mut made);
        writeln!(out, "{}", made.json)?;
    }
    for event in 0..events {
        shop.next(START + event * MONTH / events, &mut made);
        writeln!(out, "{}", made.json)?;
    }
    out.flush()
}
