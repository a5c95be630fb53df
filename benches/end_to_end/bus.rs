//! The broker as the harness uses it: topics, backlog, how far a group has come.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

use crate::plain;

/// Of every topic.
pub(crate) const PARTITIONS: i32 = 8;
const ANSWER: Duration = Duration::from_secs(30);
/// How often the harness asks how far a group has come.
const LOOK: Duration = Duration::from_millis(10);

/// Topics of a run, made and taken away.
pub(crate) struct Topics {
    client: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
}

impl Topics {
    pub(crate) fn new(bootstrap: &str) -> Result<Self> {
        Ok(Self {
            client: plain::client(bootstrap).create()?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
        })
    }

    pub(crate) fn create(&self, names: &[String]) -> Result<()> {
        let topics: Vec<NewTopic<'_>> = names
            .iter()
            .map(|name| {
                // Records are stamped with event time: retention by time is not for them.
                NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1))
                    .set("retention.ms", "-1")
            })
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        for outcome in self
            .runtime
            .block_on(self.client.create_topics(&topics, &options))?
        {
            outcome.map_err(|(topic, code)| anyhow!("create topic {topic}: {code}"))?;
        }
        Ok(())
    }

    /// Takes topics away; those that are not there do not matter.
    pub(crate) fn delete(&self, names: &[String]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        for outcome in self
            .runtime
            .block_on(self.client.delete_topics(&names, &options))?
        {
            match outcome {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((topic, code)) => bail!("delete topic {topic}: {code}"),
            }
        }
        Ok(())
    }

    /// Topics whose name begins like this.
    pub(crate) fn named(&self, prefix: &str) -> Result<Vec<String>> {
        let metadata = self.client.inner().fetch_metadata(None, ANSWER)?;
        let names = metadata
            .topics()
            .iter()
            .map(|topic| topic.name().to_owned());
        Ok(names.filter(|name| name.starts_with(prefix)).collect())
    }
}

/// Puts records into the input topics.
pub(crate) struct Feeder(BaseProducer);

impl Feeder {
    /// `linger_ms` is how long a record may wait for others.
    pub(crate) fn new(bootstrap: &str, linger_ms: &str) -> Result<Self> {
        let producer = plain::client(bootstrap)
            .set("linger.ms", linger_ms)
            .set("partitioner", "murmur2_random")
            .set("queue.buffering.max.messages", "200000")
            .create()?;
        Ok(Self(producer))
    }

    pub(crate) fn send(&self, topic: &str, key: &str, value: &str, at: i64) -> Result<()> {
        let mut record = BaseRecord::to(topic).key(key).payload(value).timestamp(at);
        while let Err((error, back)) = self.0.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            self.0.poll(Duration::from_millis(1));
            record = back;
        }
        Ok(())
    }

    pub(crate) fn serve(&self) {
        self.0.poll(Duration::ZERO);
    }

    pub(crate) fn flush(&self) -> Result<()> {
        Ok(self.0.flush(ANSWER)?)
    }
}

/// Watches the committed offsets of a group from outside, whoever its members are.
pub(crate) struct Group {
    client: BaseConsumer,
    partitions: TopicPartitionList,
    /// Records in the topics when the watch began.
    pub(crate) records: u64,
}

/// How far a group was, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) records: u64,
}

impl Group {
    /// Everything that is in `topics` now is to be read.
    pub(crate) fn new(bootstrap: &str, group: &str, topics: &[String]) -> Result<Self> {
        // Stable offsets would be waited for; the last committed ones are known at once.
        let client: BaseConsumer = plain::reader(bootstrap, group)
            .set("isolation.level", "read_uncommitted")
            .create()?;
        let mut partitions = TopicPartitionList::new();
        let mut records = 0;
        for topic in topics {
            for partition in 0..PARTITIONS {
                let (_, end) = watermarks(&client, topic, partition)?;
                records += u64::try_from(end)?;
                partitions.add_partition(topic, partition);
            }
        }
        Ok(Self {
            client,
            partitions,
            records,
        })
    }

    pub(crate) fn look(&self) -> Result<Seen> {
        let committed = self
            .client
            .committed_offsets(self.partitions.clone(), ANSWER)?;
        let records = committed.elements().into_iter().map(|element| {
            let offset = element.offset();
            if let Offset::Offset(next) = offset {
                next
            } else {
                0
            }
        });
        Ok(Seen {
            records: u64::try_from(records.sum::<i64>())?,
            at: Instant::now(),
        })
    }

    /// Waits until at least `records` are committed.
    pub(crate) fn wait(
        &self,
        records: u64,
        within: Duration,
        alive: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Seen> {
        let deadline = Instant::now() + within;
        loop {
            let seen = self.look()?;
            if seen.records >= records {
                return Ok(seen);
            }
            if seen.at > deadline {
                bail!("{} of {records} records after {within:?}", seen.records);
            }
            alive()?;
            std::thread::park_timeout(LOOK);
        }
    }
}

/// First and next offset of a partition; a topic that was just made is waited for.
pub(crate) fn watermarks(client: &BaseConsumer, topic: &str, partition: i32) -> Result<(i64, i64)> {
    let deadline = Instant::now() + ANSWER;
    loop {
        match client.fetch_watermarks(topic, partition, ANSWER) {
            Ok(found) => return Ok(found),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("watermarks of {topic}"));
            }
            Err(_) => std::thread::park_timeout(LOOK),
        }
    }
}

/// Reads everything that is committed in `topics` now.
pub(crate) fn read_all(
    bootstrap: &str,
    topics: &[String],
    each: &mut dyn FnMut(&BorrowedMessage<'_>) -> Result<()>,
) -> Result<()> {
    let consumer: BaseConsumer = plain::reader(bootstrap, "bench-judge")
        .set("enable.partition.eof", "true")
        .create()?;
    let mut all = TopicPartitionList::new();
    for topic in topics {
        for partition in 0..PARTITIONS {
            all.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
    }
    let mut open = all.count();
    consumer.assign(&all)?;
    let deadline = Instant::now() + 10 * ANSWER;
    while open > 0 {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(record)) => each(&record)?,
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => return Err(error.into()),
            None if Instant::now() > deadline => bail!("reading the decisions takes too long"),
            None => {}
        }
    }
    Ok(())
}

/// The value of a record, which must have one.
pub(crate) fn value<'a>(record: &'a BorrowedMessage<'_>) -> Result<&'a [u8]> {
    record.payload().context("a record without a value")
}
