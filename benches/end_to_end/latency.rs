//! Appended → readable: an open loop puts events on the bus at a fixed rate, and a read_committed reader waits for the answers.
//!
//! The time of an order is the one at which it *should* have been appended, by one monotonic clock: a generator that falls behind, or a
//! contender that makes it wait, is charged for it (no coordinated omission).

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::bus::{self, Feeder, PARTITIONS};
use crate::measure;
use crate::plain;
use crate::workload::{Made, Shop};

/// What is played.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) seed: u64,
    pub(crate) customers: usize,
    /// Events per second.
    pub(crate) rate: u64,
    pub(crate) seconds: u64,
    /// Of these first seconds nothing counts.
    pub(crate) warm_up: u64,
    /// Records are keyed by event instead of customer: any partition may get them.
    pub(crate) scattered: bool,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answers {
    /// Milliseconds, one per order after the warm-up.
    pub(crate) millis: Vec<f64>,
    /// By how much the generator was late at worst, in milliseconds.
    pub(crate) late: f64,
    /// CPU seconds of this process (generator and reader) per second.
    pub(crate) cpu: f64,
}

/// How an answer looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The order itself, copied.
    Copy,
    /// A `suppress` with the order as its cause.
    Suppress,
}

/// When each event was answered, by its number.
struct Collected {
    at: Vec<Option<Instant>>,
    repeats: usize,
}

/// Plays the load into `inputs` (in the order of [`Stream::ALL`]) and waits on `output` for the answers. An order that is not answered,
/// or a decision that is repeated, voids the run.
pub(crate) fn play(
    bootstrap: &str,
    inputs: &[String],
    output: &str,
    answer: Answer,
    load: Load,
) -> Result<Answers> {
    let prefix = format!("live{}", load.rate);
    let reader = tail(bootstrap, output)?;
    let feeder = Feeder::new(bootstrap, "2")?;
    let stopped = AtomicBool::new(false);
    // Until then connections are made and partitions looked up.
    let begins = Instant::now() + Duration::from_millis(500);
    let before = measure::cpu_seconds(std::process::id())?;
    let (sent, collected) = thread::scope(|scope| {
        let collector =
            scope.spawn(|| collect(&reader, &prefix, answer, load.rate * load.seconds, &stopped));
        let sent = feed(&feeder, &prefix, inputs, begins, load);
        if sent.is_ok() {
            // What is repeated comes late, too: the reader stays for a moment after the last answer it could have had.
            thread::sleep(Duration::from_secs(3));
        }
        stopped.store(true, Ordering::Relaxed);
        (sent, collector.join())
    });
    let sent = sent?;
    let collected = collected.map_err(|_| anyhow!("the reader panicked"))??;
    let cpu = measure::cpu_seconds(std::process::id())? - before;
    if collected.repeats > 0 {
        bail!("void: {} decisions were repeated", collected.repeats);
    }
    let mut millis = Vec::new();
    for number in &sent.orders {
        let intended = intended(begins, *number, load.rate);
        let at = collected
            .at
            .get(usize::try_from(*number)?)
            .copied()
            .flatten();
        let at = at.with_context(|| {
            format!(
                "void: order {number} of {} events was not answered",
                load.rate * load.seconds
            )
        })?;
        if *number >= load.warm_up * load.rate {
            millis.push(at.saturating_duration_since(intended).as_secs_f64() * 1e3);
        }
    }
    Ok(Answers {
        millis,
        late: sent.late.as_secs_f64() * 1e3,
        cpu: cpu / load.seconds as f64,
    })
}

/// When event `number` should be appended.
fn intended(begins: Instant, number: u64, rate: u64) -> Instant {
    begins + Duration::from_nanos(number * 1_000_000_000 / rate)
}

struct Sent {
    /// Numbers of the events that were orders.
    orders: Vec<u64>,
    late: Duration,
}

fn feed(
    feeder: &Feeder,
    prefix: &str,
    inputs: &[String],
    begins: Instant,
    load: Load,
) -> Result<Sent> {
    let mut shop = Shop::new(load.seed, load.customers, prefix);
    let mut made = Made::default();
    let (mut orders, mut late) = (Vec::new(), Duration::ZERO);
    for number in 0..load.rate * load.seconds {
        let due = intended(begins, number, load.rate);
        loop {
            let now = Instant::now();
            if now >= due {
                late = late.max(now - due);
                break;
            }
            feeder.serve();
            thread::sleep(due - now);
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let at = i64::try_from(at.as_millis())?;
        let stream = shop.next(at, &mut made);
        let topic = inputs.get(stream as usize).context("a topic per stream")?;
        if load.scattered {
            made.key = number.to_string();
        }
        feeder.send(topic, &made.key, &made.json, at)?;
        if made.order {
            orders.push(number);
        }
    }
    feeder.flush()?;
    Ok(Sent { orders, late })
}

/// A reader at the end of a topic, with a connection.
fn tail(bootstrap: &str, topic: &str) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = plain::reader(bootstrap, "bench-reader").create()?;
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let (_, end) = bus::watermarks(&consumer, topic, partition)?;
        all.add_partition_offset(topic, partition, Offset::Offset(end))?;
    }
    consumer.assign(&all)?;
    Ok(consumer)
}

fn collect(
    reader: &BaseConsumer,
    prefix: &str,
    answer: Answer,
    total: u64,
    stopped: &AtomicBool,
) -> Result<Collected> {
    let mut collected = Collected {
        at: vec![None; usize::try_from(total)?],
        repeats: 0,
    };
    let mut decisions = HashSet::new();
    while !stopped.load(Ordering::Relaxed) {
        let Some(record) = reader.poll(Duration::from_millis(50)) else {
            continue;
        };
        let record = record?;
        let at = Instant::now();
        let text = std::str::from_utf8(record.payload().unwrap_or_default())?;
        if answer == Answer::Suppress {
            let id = text_of(text, "decision_id").context("a decision without an id")?;
            if !decisions.insert(id.to_owned()) {
                collected.repeats += 1;
            }
            if text_of(text, "kind") != Some("suppress") {
                continue;
            }
        }
        let number = text_of(text, "event_id").and_then(|id| {
            id.strip_prefix(prefix)?
                .strip_prefix('-')?
                .parse::<usize>()
                .ok()
        });
        let Some(slot) = number.and_then(|number| collected.at.get_mut(number)) else {
            continue;
        };
        if slot.is_some() && answer == Answer::Copy {
            collected.repeats += 1;
        }
        slot.get_or_insert(at);
    }
    Ok(collected)
}

/// The text of the first field of this name, looked for without parsing: the reader must be cheap.
pub(crate) fn text_of<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = json;
    loop {
        let at = rest.find(name)?;
        rest = rest.get(at + name.len()..)?;
        if let Some(value) = rest.strip_prefix("\":\"") {
            return value.split('"').next();
        }
    }
}
