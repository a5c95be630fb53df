//! Where the time of one event goes, without any bus: decode and decide, render, store. `cargo bench --bench fold -- [EVENTS]`.
//!
//! The events of the end-to-end harness, in batches of 2,000, through one task over a store in memory.

#![expect(clippy::print_stdout, reason = "the figures are the output")]
#![expect(clippy::disallowed_methods, reason = "a stopwatch reads the clock")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "small numbers of a harness; a wrong one ends it"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tidegate::app::load::load;
use tidegate::bus::{InputId, Record};
use tidegate::config::Overrides;
use tidegate::outbound::{self, OutboundPlan};
use tidegate::plan::{fold_plan, input_of, outbound_plan};
use tidegate::store::StoreBatch;
use tidegate::store::memory::MemoryStore;
use tidegate::store::staging::CacheLimits;
use tidegate::task::fold::{ClockKind, Decided, Fold};
use tidegate::value::Timestamp;
use workload::{Made, Shop, Stream};

#[path = "end_to_end/workload.rs"]
mod workload;

const BATCH: usize = 2_000;
const CUSTOMERS: usize = 1_000_000;
const KNOWN: usize = 100_000;

fn main() -> Result<()> {
    let events = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(300_000);
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/local/tidegate.yaml");
    let (config, plan) = load(&config, &Overrides::default())?;
    let shared = Arc::new(fold_plan(&config, plan, ClockKind::Live)?);
    let outbound = outbound_plan(&config)?;
    let events_of = [
        tidegate::event::Stream::Clickstream,
        tidegate::event::Stream::Deliveries,
        tidegate::event::Stream::Purchases,
        tidegate::event::Stream::Customers,
    ];
    let inputs = Stream::ALL
        .iter()
        .filter_map(|stream| {
            let of = events_of.iter().find(|of| of.name() == stream.name())?;
            input_of(&config, *of)
        })
        .collect();
    let cache = CacheLimits {
        profiles: 200_000,
        bytes: 400 << 20,
    };
    let fold = Fold::new(0, Arc::clone(&shared), Box::new(MemoryStore::new()), cache)?;
    let mut bench = Bench {
        fold,
        outbound,
        inputs,
        offset: 0,
        spent: Spent::default(),
    };
    let mut shop = Shop::new(1, CUSTOMERS, "b");
    let start = 1_780_000_000_000;
    let mut customer = 0;
    bench.play(KNOWN, |at, made| {
        customer += 1;
        shop.identify(customer - 1, start + at, made)
    })?;
    bench.spent = Spent::default();
    bench.play(events, |at, made| shop.next(start + 10_000_000 + at, made))?;
    bench.spent.print(events);
    Ok(())
}

#[derive(Default)]
struct Spent {
    fold: Duration,
    render: Duration,
    store: Duration,
    changes: usize,
    change_bytes: usize,
    records: usize,
    record_bytes: usize,
}

impl Spent {
    fn print(&self, events: usize) {
        let per = |spent: Duration| spent.as_secs_f64() * 1e6 / events as f64;
        println!("decode and decide {:.2} us/event", per(self.fold));
        println!("render            {:.2} us/event", per(self.render));
        println!("store             {:.2} us/event", per(self.store));
        println!(
            "changelog {:.2} records, {:.0} bytes per event; other records {:.3}, {:.0} bytes",
            self.changes as f64 / events as f64,
            self.change_bytes as f64 / events as f64,
            self.records as f64 / events as f64,
            self.record_bytes as f64 / events as f64
        );
    }
}

struct Bench {
    fold: Fold,
    outbound: OutboundPlan,
    inputs: Vec<InputId>,
    offset: i64,
    spent: Spent,
}

impl Bench {
    fn play(&mut self, count: usize, mut next: impl FnMut(i64, &mut Made) -> Stream) -> Result<()> {
        let mut made = Made::default();
        let mut left = count;
        while left > 0 {
            let batch = left.min(BATCH);
            left -= batch;
            let mut records = Vec::with_capacity(batch);
            for _ in 0..batch {
                self.offset += 1;
                let stream = next(self.offset, &mut made);
                records.push(Record {
                    input: self.inputs[stream as usize],
                    partition: 0,
                    offset: self.offset,
                    timestamp: Timestamp::MAX,
                    key: Some(made.key.clone().into_bytes()),
                    value: Some(made.json.clone().into_bytes()),
                    headers: Vec::new(),
                });
            }
            self.batch(records)?;
        }
        Ok(())
    }

    fn batch(&mut self, records: Vec<Record>) -> Result<()> {
        let began = Instant::now();
        // Half a day after the first event: nothing is due, nothing is stale.
        self.fold.advance(Timestamp::from_millis(
            1_780_000_000_000 + 10_000_000 + self.offset,
        ));
        for record in records {
            self.fold.record(record)?;
        }
        let folded = Instant::now();
        let mut outgoing = Vec::new();
        let shared = Arc::clone(self.fold.shared());
        for decided in self.fold.take_decided() {
            match decided {
                Decided::Verdict(verdict) => {
                    outbound::render(&verdict, &shared.plan.policy, &self.outbound, &mut outgoing);
                }
                Decided::DeadLetter(letter) => {
                    println!("dead letter: {}", letter.error);
                }
            }
        }
        for (key, changed_at) in self.fold.take_blocks_changed() {
            let live = self.fold.profile(&key)?.blocks(changed_at);
            outgoing.push(outbound::blocks(&key, live, &self.outbound));
        }
        let rendered = self.fold.render();
        let rendered_at = Instant::now();
        let bytes = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        self.spent.changes += rendered.changes.len();
        self.spent.change_bytes += rendered
            .changes
            .iter()
            .map(|change| change.key.len() + bytes(&change.value))
            .sum::<usize>();
        self.spent.records += outgoing.len();
        self.spent.record_bytes += outgoing
            .iter()
            .map(|record| bytes(&record.key) + bytes(&record.value))
            .sum::<usize>();
        let storing = Instant::now();
        let written_at = self.fold.clock();
        self.fold.store_mut().write(&StoreBatch {
            changes: rendered.changes,
            undue: rendered.undue,
            due: rendered.due,
            positions: Vec::new(),
            changelog: None,
            written_at,
        })?;
        self.fold.committed();
        self.spent.fold += folded - began;
        self.spent.render += rendered_at - folded;
        self.spent.store += storing.elapsed();
        Ok(())
    }
}
