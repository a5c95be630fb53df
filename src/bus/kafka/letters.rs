//! The dead letters of an application, for `dlq`: read from where the last replay ended, and handed on in transactions that move that
//! place along with them.
//!
//! The place is a mark in the partition itself, behind the letters that it covers ([`mark`]): whatever expires first takes them first.
//! A committed position would not do: brokers drop those of a group without members after a week, letters stay for a month.

use std::sync::Arc;
use std::time::Duration;

use fail::fail_point;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::failure::{Call, failure};
use super::producer::Transactional;
use super::{Quiet, Settings, consumer};
use crate::bus::{Failure, NextOffset, Outgoing, Record, Remedy, Sources, Turn};
use crate::clock::Clock;
use crate::outbound::letter::{mark, marked};

/// The bound of one question.
const ANSWER: Duration = Duration::from_secs(10);
/// Silence for so long means that the rest will not come.
const SILENCE: Duration = Duration::from_secs(20);
/// Between two looks whether open transactions have ended.
const LOOK: Duration = Duration::from_millis(50);

/// Letters of one partition that nobody has handed on yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// Which partition.
    pub partition: i32,
    /// From this offset on.
    pub from: NextOffset,
    /// Up to, not including, this one: where the partition ended when it was asked.
    pub until: NextOffset,
}

/// The topic `<app>-dlq`.
pub struct DeadLetters {
    connect_timeout: Duration,
    topic: Arc<str>,
    partitions: i32,
    consumer: BaseConsumer<Quiet>,
    /// Sees records of transactions that are open, too.
    asker: BaseConsumer<Quiet>,
    producer: Transactional,
    clock: Arc<dyn Clock>,
}

impl DeadLetters {
    /// Makes the clients; nothing is asked yet.
    ///
    /// # Errors
    /// `Fatal` when librdkafka refuses the settings.
    pub fn connect(
        settings: &Settings,
        topic: &str,
        partitions: i32,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        // One name whoever does it and wherever: two replays at a time would hand on the same letters, so the later one ends the other.
        let mut settings = settings.clone();
        settings.instance = "dlq".to_owned();
        let reader = |config| {
            BaseConsumer::from_config_and_context(&config, Quiet)
                .map_err(|error| failure(Call::Connect, "make the reader of dead letters", &error))
        };
        let consumer = reader(settings.changelog_reader())?;
        let asker = reader(settings.asker("read_uncommitted"))?;
        Ok(Self {
            asker,
            producer: Transactional::new(&settings, Turn::A, Arc::clone(&clock)),
            connect_timeout: settings.connect_timeout,
            topic: topic.into(),
            partitions,
            consumer,
            clock,
        })
    }

    /// Lets the brokers end what another replay left open, and keeps others from going on.
    ///
    /// # Errors
    /// `Retry` while the coordinator does not answer, `Fatal` without the right.
    pub fn begin(&mut self) -> Result<(), Failure> {
        self.producer.make_within(self.connect_timeout)
    }

    /// What is open in each partition. Reads the topic once, for the marks.
    ///
    /// # Errors
    /// `Retry` while the brokers do not answer, `Fatal` without the right.
    pub fn open(&mut self) -> Result<Vec<Open>, Failure> {
        let mut all = Vec::new();
        for partition in 0..self.partitions {
            let (low, high) = self.settled(partition)?;
            let mut open = Open {
                partition,
                from: NextOffset::at(low),
                until: NextOffset::at(high),
            };
            self.records::<Failure>(open, &mut |_, record| {
                let until = marked(&record).map_or(open.from, NextOffset::at);
                open.from = open.from.max(until);
                Ok(())
            })?;
            if open.from < open.until {
                all.push(open);
            }
        }
        Ok(all)
    }

    /// Where a partition begins and ends, once all that stands there now is committed or aborted: behind the first record of an open
    /// transaction nothing is read, and a mark may stand there.
    fn settled(&self, partition: i32) -> Result<(i64, i64), Failure> {
        let attempted = format!("positions of {}", self.topic);
        let ends = |client: &BaseConsumer<Quiet>| {
            let found = client.fetch_watermarks(&self.topic, partition, ANSWER);
            found.map_err(|error| failure(Call::Ask, attempted.as_str(), &error))
        };
        let (_, written) = ends(&self.asker)?;
        let begun = self.clock.elapsed();
        loop {
            let (low, high) = ends(&self.consumer)?;
            if high >= written {
                return Ok((low, high));
            }
            if self.clock.elapsed().saturating_sub(begun) > SILENCE {
                let code = "a transaction is open there";
                return Err(Failure::new(attempted.as_str(), code, Remedy::Retry));
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// Calls `each` with the committed letters of one stretch, in order; the clients are handed back for it to hand letters on.
    ///
    /// # Errors
    /// `Retry` when the broker does not answer; what `each` fails with.
    pub fn read<E: From<Failure>>(
        &mut self,
        open: Open,
        each: &mut dyn FnMut(&mut Self, Record) -> Result<(), E>,
    ) -> Result<(), E> {
        self.records(open, &mut |letters, record| match marked(&record) {
            Some(_) => Ok(()),
            None => each(letters, record),
        })
    }

    /// Letters and marks.
    fn records<E: From<Failure>>(
        &mut self,
        open: Open,
        each: &mut dyn FnMut(&mut Self, Record) -> Result<(), E>,
    ) -> Result<(), E> {
        if open.from >= open.until {
            return Ok(());
        }
        let attempted = format!("read {} partition {}", self.topic, open.partition);
        let asked = |error: KafkaError| failure(Call::Ask, attempted.as_str(), &error);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, open.partition, Offset::Offset(open.from.get()))
            .map_err(asked)?;
        self.consumer.assign(&list).map_err(asked)?;
        let topics = Sources::direct(&[Arc::clone(&self.topic)]);
        let mut heard = self.clock.elapsed();
        loop {
            let record = match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => consumer::record(&topics, &message),
                Some(Err(KafkaError::PartitionEOF(at))) if at == open.partition => break,
                Some(Err(KafkaError::PartitionEOF(_))) => None,
                Some(Err(error)) => {
                    let failed = failure(Call::Poll, attempted.as_str(), &error);
                    if failed.remedy != Remedy::Retry {
                        return Err(failed.into());
                    }
                    None
                }
                None => None,
            };
            let now = self.clock.elapsed();
            match record {
                Some(record) if record.offset >= open.until.get() => break,
                Some(record) => {
                    heard = now;
                    each(self, record)?;
                }
                None if now.saturating_sub(heard) > SILENCE => {
                    return Err(Failure::new(attempted, "no answer", Remedy::Retry).into());
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Publishes these and moves the partition's place to `next`, both or neither.
    ///
    /// # Errors
    /// When it cannot be known to have happened. Nothing is lost: the next replay begins where the place stands then.
    pub fn hand_on(
        &mut self,
        partition: i32,
        next: NextOffset,
        outgoing: &[Outgoing],
    ) -> Result<(), Failure> {
        fail_point!("dlq.before_begin", |_| std::process::abort());
        self.producer.begin()?;
        for record in outgoing {
            self.producer.send(record)?;
        }
        self.producer
            .send(&mark(Arc::clone(&self.topic), partition, next.get()))?;
        self.producer.drain()?;
        fail_point!("dlq.after_drain", |_| std::process::abort());
        self.producer.commit()?;
        fail_point!("dlq.after_commit", |_| std::process::abort());
        Ok(())
    }
}
