//! The yardsticks: what librdkafka alone costs on this machine. Each runs as a process of its own, so that its CPU can be told apart.
//!
//! *B0* reads and does nothing else. *B2* copies each record of all inputs into one output topic, in transactions, as fast and as promptly
//! as the bus allows: two producers in turn, a batch ends after 2,000 records, 10 ms, or when the input is drained, and everything in
//! flight is waited for by short polls before the commit (`flush` alone costs 100 ms).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::bus::PARTITIONS;
use crate::measure;

const BATCH: usize = 2_000;
const BATCH_TIME: Duration = Duration::from_millis(10);
const ANSWER: Duration = Duration::from_secs(30);

/// What every client of the harness is told.
pub(crate) fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("retry.backoff.ms", "5")
        .set("allow.auto.create.topics", "false");
    config
}

/// A reader of what is committed, told the same as tidegate's.
pub(crate) fn reader(bootstrap: &str, group: &str) -> ClientConfig {
    let mut config = client(bootstrap);
    config
        .set("group.id", group)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.queue.backoff.ms", "2")
        .set("fetch.wait.max.ms", "50")
        .set("queued.max.messages.kbytes", "16384");
    config
}

/// Tells the parent process that the work begins, or what came of it.
fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush().context("standard output")
}

/// B0: reads `records` records, then prints how many seconds lay between the first and the last, and the CPU seconds used.
pub(crate) fn read(bootstrap: &str, inputs: &[String], records: u64) -> Result<()> {
    let consumer: BaseConsumer = reader(bootstrap, "bench-read").create()?;
    let mut everything = TopicPartitionList::new();
    for topic in inputs {
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
        for partition in metadata
            .topics()
            .iter()
            .flat_map(|topic| topic.partitions())
        {
            everything.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
        }
    }
    consumer.assign(&everything)?;
    let (mut seen, mut bytes) = (0_u64, 0_usize);
    let mut first = None;
    while seen < records {
        if let Some(record) = consumer.poll(Duration::from_millis(50)) {
            bytes += record?.payload_len();
            seen += 1;
            first.get_or_insert_with(Instant::now);
        }
    }
    let seconds = first.map_or(0.0, |first| first.elapsed().as_secs_f64());
    let cpu = measure::cpu_seconds(std::process::id())?;
    if bytes == 0 {
        bail!("empty records");
    }
    say(&format!("{seconds} {cpu}"))
}

/// B2: copies for ever.
pub(crate) fn copy(bootstrap: &str, group: &str, inputs: &[String], output: &str) -> Result<()> {
    let producers = [
        producer(bootstrap, group, "a")?,
        producer(bootstrap, group, "b")?,
    ];
    let consumer: BaseConsumer = reader(bootstrap, group)
        .set("session.timeout.ms", "6000")
        // A topic that was made a moment ago.
        .set("topic.metadata.refresh.interval.ms", "1000")
        .create()?;
    consumer.subscribe(&inputs.iter().map(String::as_str).collect::<Vec<_>>())?;
    // A record that came with the assignment is the first of the first batch.
    let mut early = None;
    let wanted = inputs.len() * usize::try_from(PARTITIONS)?;
    while early.is_none() && consumer.assignment()?.count() < wanted {
        early = consumer.poll(Duration::from_millis(10)).transpose()?;
    }
    say("started")?;
    for producer in producers.iter().cycle() {
        let first = loop {
            if let Some(record) = early.take() {
                break record;
            }
            if let Some(record) = consumer.poll(Duration::from_millis(50)) {
                break record?;
            }
        };
        let since = Instant::now();
        producer.begin_transaction()?;
        let mut read = BTreeMap::new();
        let mut next = Some(first);
        let mut count = 0;
        while let Some(record) = next {
            forward(producer, output, record.key(), record.payload())?;
            read.insert(
                (record.topic().to_owned(), record.partition()),
                record.offset() + 1,
            );
            count += 1;
            if count >= BATCH || since.elapsed() >= BATCH_TIME {
                break;
            }
            next = consumer.poll(Duration::ZERO).transpose()?;
        }
        let mut offsets = TopicPartitionList::new();
        for ((topic, partition), offset) in read {
            offsets.add_partition_offset(&topic, partition, Offset::Offset(offset))?;
        }
        while producer.in_flight_count() > 0 {
            let before = producer.in_flight_count();
            producer.poll(Duration::ZERO);
            if producer.in_flight_count() == before {
                thread::park_timeout(Duration::from_micros(100));
            }
        }
        let member = consumer.group_metadata().context("no group yet")?;
        producer.send_offsets_to_transaction(&offsets, &member, ANSWER)?;
        producer.commit_transaction(ANSWER)?;
    }
    Ok(())
}

fn producer(bootstrap: &str, group: &str, suffix: &str) -> Result<BaseProducer> {
    let producer: BaseProducer = client(bootstrap)
        .set("transactional.id", format!("{group}-{suffix}"))
        .set("transaction.timeout.ms", "5000")
        .set("linger.ms", "1")
        .set("compression.type", "lz4")
        .set("partitioner", "murmur2_random")
        .create()?;
    producer.init_transactions(ANSWER)?;
    Ok(producer)
}

fn forward(
    producer: &BaseProducer,
    topic: &str,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<()> {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic);
    record.key = key;
    record.payload = value;
    while let Err((error, back)) = producer.send(record) {
        if error.rdkafka_error_code() != Some(rdkafka::types::RDKafkaErrorCode::QueueFull) {
            return Err(error.into());
        }
        producer.poll(Duration::from_millis(1));
        record = back;
    }
    Ok(())
}
