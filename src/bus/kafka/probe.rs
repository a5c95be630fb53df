//! Looks at a cluster without changing it, for `doctor`: which rights we have, how brokers are set, what stands newest in a topic.
//!
//! A right is known by using it: what is written goes into a transaction that is aborted, topics are created "to validate only",
//! and records are deleted before offset 0. Broker, client and topic are the real ones; only the effect is missing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::runtime::{Builder, Runtime};

use super::failure::{Call, failure, is_denial};
use super::settings::transactional_ids;
use super::{Quiet, Settings, consumer, refusal};
use crate::bus::{Failure, Record, Remedy, Sources};
use crate::clock::Clock;

/// The bound of one question.
const ANSWER: Duration = Duration::from_secs(10);

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Consume, join, commit.
    Read,
    /// Produce, also in transactions.
    Write,
    /// Create the topic.
    Create,
    /// Delete records that were read.
    Delete,
    /// Look at settings.
    DescribeConfigs,
}

/// To what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// One topic.
    Topic(String),
    /// The consumer group.
    Group(String),
    /// All transactional ids that begin so.
    TransactionalIds(String),
}

/// One right of the principal that runs tidegate. Displays the options of `kafka-acls.sh` that grant it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// To what.
    pub resource: Resource,
    /// What may be done.
    pub operation: Operation,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--operation {:?} ", self.operation)?;
        match &self.resource {
            Resource::Topic(name) => write!(f, "--topic {name}"),
            Resource::Group(name) => write!(f, "--group {name}"),
            Resource::TransactionalIds(prefix) => {
                write!(
                    f,
                    "--transactional-id {prefix} --resource-pattern-type prefixed"
                )
            }
        }
    }
}

/// How a topic stands for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicState {
    /// There, with so many partitions.
    Partitions(i32),
    /// Not there.
    Absent,
    /// We may not even see whether it is there.
    Denied,
}

/// What the last delivery report said: `None` until it came.
#[derive(Default)]
struct Report(Mutex<Option<Option<Code>>>);

impl Report {
    /// What was told since the last call.
    fn take(&self) -> Option<Option<Code>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Report {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::log(level, facility, message);
    }
    fn error(&self, error: KafkaError, _reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "probe");
    }
}

impl ProducerContext for Report {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let code = result
            .as_ref()
            .err()
            .map(|(error, _)| error.rdkafka_error_code().unwrap_or(Code::Fail));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
    }
}

/// The one transaction that rights are tried in; a producer that was refused something cannot even abort, and is made anew.
enum Trial {
    Unmade,
    Begun(BaseProducer<Report>),
    /// No producer of ours may have transactions.
    Denied,
}

/// Asks without changing anything.
pub struct Probe<'a> {
    settings: &'a Settings,
    clock: &'a dyn Clock,
    admin: AdminClient<Quiet>,
    reader: BaseConsumer<Quiet>,
    runtime: Runtime,
}

impl<'a> Probe<'a> {
    /// Makes the clients; nothing is asked yet.
    ///
    /// # Errors
    /// `Fatal` when librdkafka refuses the settings.
    pub fn connect(settings: &'a Settings, clock: &'a dyn Clock) -> Result<Self, Failure> {
        let refused =
            |error: KafkaError| failure(Call::Connect, "make the probe's clients", &error);
        let admin =
            AdminClient::from_config_and_context(&settings.admin(), Quiet).map_err(refused)?;
        let reader = BaseConsumer::from_config_and_context(&settings.changelog_reader(), Quiet)
            .map_err(refused)?;
        let runtime = Builder::new_current_thread().build().map_err(|error| {
            Failure::new("make the probe's clients", error.to_string(), Remedy::Fatal)
        })?;
        Ok(Self {
            settings,
            clock,
            admin,
            reader,
            runtime,
        })
    }

    /// The brokers' numbers.
    ///
    /// # Errors
    /// `Retry` while no broker answers.
    pub fn brokers(&self) -> Result<Vec<i32>, Failure> {
        let metadata = self
            .admin
            .inner()
            .fetch_metadata(None, ANSWER)
            .map_err(|error| {
                let failed = failure(Call::Ask, "list the brokers", &error);
                refusal::behind(failed, self.settings)
            })?;
        let mut brokers: Vec<i32> = metadata
            .brokers()
            .iter()
            .map(|broker| broker.id())
            .collect();
        brokers.sort_unstable();
        Ok(brokers)
    }

    /// The settings in force of one broker; `None` without the right to ask, which running does not need.
    ///
    /// # Errors
    /// `Retry` while it does not answer.
    pub fn broker_settings(
        &self,
        broker: i32,
    ) -> Result<Option<BTreeMap<String, String>>, Failure> {
        let asked = [ResourceSpecifier::Broker(broker)];
        match self.describe(&asked) {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_denied(&error) => Ok(None),
            Err(error) => Err(failure(
                Call::Ask,
                format!("settings of broker {broker}"),
                &error,
            )),
        }
    }

    fn describe(
        &self,
        asked: &[ResourceSpecifier<'_>],
    ) -> Result<BTreeMap<String, String>, KafkaError> {
        let answer = self
            .runtime
            .block_on(self.admin.describe_configs(asked, &options()))?;
        let mut found = BTreeMap::new();
        for described in answer {
            let entries = described.map_err(KafkaError::Global)?.entries.into_iter();
            found.extend(entries.filter_map(|entry| Some((entry.name, entry.value?))));
        }
        // The client library passes over what a resource says of its own: one that may not be looked at comes without a setting.
        if found.is_empty() {
            return Err(KafkaError::Global(Code::TopicAuthorizationFailed));
        }
        Ok(found)
    }

    /// How a topic stands for us.
    ///
    /// # Errors
    /// `Retry` while no broker answers.
    pub fn topic(&self, name: &str) -> Result<TopicState, Failure> {
        let attempted = || format!("metadata of {name}");
        let metadata = self
            .reader
            .fetch_metadata(Some(name), ANSWER)
            .map_err(|error| failure(Call::Ask, attempted(), &error))?;
        let found = metadata.topics().iter().find(|topic| topic.name() == name);
        let Some(found) = found else {
            return Ok(TopicState::Absent);
        };
        match found.error().map(Code::from) {
            None => {
                let partitions = i32::try_from(found.partitions().len()).unwrap_or(i32::MAX);
                Ok(TopicState::Partitions(partitions))
            }
            Some(code) if is_denial(code) => Ok(TopicState::Denied),
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Ok(TopicState::Absent),
            Some(code) => Err(Failure::new(attempted(), code.to_string(), Remedy::Retry)),
        }
    }

    /// The settings in force of a topic; `None` without the right to ask.
    ///
    /// # Errors
    /// `Retry` while no broker answers.
    pub fn topic_settings(&self, name: &str) -> Result<Option<BTreeMap<String, String>>, Failure> {
        match self.describe(&[ResourceSpecifier::Topic(name)]) {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_denied(&error) => Ok(None),
            Err(error) => Err(failure(Call::Ask, format!("settings of {name}"), &error)),
        }
    }

    /// The newest records of a topic, up to `each` of every partition; read to the ends that the partitions have now.
    ///
    /// # Errors
    /// `Retry` when the ends are not reached in time.
    pub fn newest(&self, topic: &str, partitions: i32, each: i64) -> Result<Vec<Record>, Failure> {
        let attempted = || format!("read the newest records of {topic}");
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::OffsetTail(each))
                .map_err(|error| failure(Call::Ask, attempted(), &error))?;
        }
        self.reader
            .assign(&list)
            .map_err(|error| failure(Call::Ask, attempted(), &error))?;
        let inputs = Sources::direct(&[topic.into()]);
        let until = self.clock.elapsed() + ANSWER;
        let (mut found, mut open) = (Vec::new(), partitions);
        while open > 0 && self.clock.elapsed() < until {
            match self.reader.poll(Duration::from_millis(50)) {
                Some(Ok(message)) => found.extend(consumer::record(&inputs, &message)),
                Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
                Some(Err(error)) if is_topic_denied(&error) => {
                    return Err(Failure::new(attempted(), "not authorized", Remedy::Fatal));
                }
                Some(Err(_)) | None => {}
            }
        }
        self.unassign();
        if open > 0 {
            return Err(Failure::new(attempted(), "no answer", Remedy::Retry));
        }
        Ok(found)
    }

    fn unassign(&self) {
        if let Err(error) = self.reader.unassign() {
            tracing::debug!(%error, "unassign");
        }
    }

    /// Which of these rights are missing, and which could not be tried because another one is.
    ///
    /// # Errors
    /// `Retry` while the brokers do not answer.
    pub fn missing(&self, rights: &[Right]) -> Result<(Vec<Right>, Vec<Right>), Failure> {
        let (mut missing, mut untried) = (Vec::new(), Vec::new());
        let mut trial = Trial::Unmade;
        for right in rights {
            let allowed = match (&right.resource, right.operation) {
                (Resource::TransactionalIds(_), _) => Some(self.begun(&mut trial)?.is_some()),
                (Resource::Topic(topic), Operation::Write) => self.may_write(&mut trial, topic)?,
                (Resource::Group(_), _) => self.may_commit(&mut trial)?,
                (Resource::Topic(topic), Operation::Read) => Some(self.may_read(topic)?),
                (Resource::Topic(topic), Operation::Create) => Some(self.may_create(topic)?),
                (Resource::Topic(topic), Operation::Delete) => Some(self.may_delete(topic)?),
                (Resource::Topic(topic), Operation::DescribeConfigs) => {
                    let asked = self.describe(&[ResourceSpecifier::Topic(topic)]);
                    Some(tried(asked, || format!("settings of {topic}"))?)
                }
            };
            match allowed {
                Some(true) => {}
                Some(false) => missing.push(right.clone()),
                None => untried.push(right.clone()),
            }
        }
        if let Trial::Begun(producer) = &trial {
            producer
                .abort_transaction(ANSWER)
                .map_err(|error| failure(Call::Ask, "abort the trial's transaction", &error))?;
        }
        Ok((missing, untried))
    }

    /// The producer that rights are tried with, inside a transaction; `None` when there can be none.
    fn begun<'p>(&self, trial: &'p mut Trial) -> Result<Option<&'p BaseProducer<Report>>, Failure> {
        if matches!(trial, Trial::Unmade) {
            *trial = match self.producer()? {
                Some(producer) => {
                    producer
                        .begin_transaction()
                        .map_err(|error| failure(Call::Ask, "begin a transaction", &error))?;
                    Trial::Begun(producer)
                }
                None => Trial::Denied,
            };
        }
        Ok(match trial {
            Trial::Begun(producer) => Some(producer),
            Trial::Unmade | Trial::Denied => None,
        })
    }

    /// A transactional producer under a name of its own; `None` when that is not allowed.
    fn producer(&self) -> Result<Option<BaseProducer<Report>>, Failure> {
        let id = format!("{}doctor", transactional_ids(&self.settings.app));
        let config = self.settings.transactional(&id);
        let attempted = || format!("init_transactions of {id}");
        let producer: BaseProducer<Report> =
            BaseProducer::from_config_and_context(&config, Report::default())
                .map_err(|error| failure(Call::Connect, attempted(), &error))?;
        Ok(tried(producer.init_transactions(ANSWER), attempted)?.then_some(producer))
    }

    /// An empty tombstone, in a transaction that is aborted; `None` when there can be no transaction.
    fn may_write(&self, trial: &mut Trial, topic: &str) -> Result<Option<bool>, Failure> {
        let attempted = || format!("write to {topic} in a transaction");
        let asked = |error: KafkaError| failure(Call::Ask, attempted(), &error);
        let Some(producer) = self.begun(trial)? else {
            return Ok(None);
        };
        let record: BaseRecord<'_, [u8], ()> = BaseRecord::to(topic).partition(0).key(&[]);
        if let Err((error, _)) = producer.send(record) {
            return Err(asked(error));
        }
        let until = self.clock.elapsed() + ANSWER;
        let reported = loop {
            producer.poll(Duration::from_millis(5));
            // Purged: a consequence, the cause is to be asked for.
            let report = producer
                .context()
                .take()
                .filter(|code| *code != Some(Code::PurgeQueue));
            if report.is_some() || self.clock.elapsed() > until {
                break report;
            }
            // A record whose partition may not join the transaction is never sent. Only a call that is out of turn tells of it: in a
            // sound transaction it is refused for its state.
            let code = producer
                .begin_transaction()
                .err()
                .and_then(|error| error.rdkafka_error_code());
            if code.is_some_and(|code| code != Code::State) {
                break Some(code);
            }
        };
        match reported {
            Some(None) => Ok(Some(true)),
            Some(Some(code)) if is_denial(code) => {
                *trial = Trial::Unmade;
                Ok(Some(false))
            }
            Some(Some(code)) => Err(Failure::new(attempted(), code.to_string(), Remedy::Retry)),
            None => Err(Failure::new(attempted(), "no answer", Remedy::Retry)),
        }
    }

    /// Positions of the group, in a transaction that is aborted; `None` when there can be no transaction.
    fn may_commit(&self, trial: &mut Trial) -> Result<Option<bool>, Failure> {
        let attempted = || format!("commit offsets of group {}", self.settings.app);
        let asked = |error: KafkaError| failure(Call::Ask, attempted(), &error);
        let Some(producer) = self.begun(trial)? else {
            return Ok(None);
        };
        let Some(metadata) = self.reader.group_metadata() else {
            return Err(Failure::new(
                attempted(),
                "no group metadata",
                Remedy::Fatal,
            ));
        };
        let mut list = TopicPartitionList::new();
        if let Some(anchor) = self.settings.sources.anchor() {
            list.add_partition_offset(anchor, 0, Offset::Offset(0))
                .map_err(asked)?;
        }
        let Err(error) = producer.send_offsets_to_transaction(&list, &metadata, ANSWER) else {
            return Ok(Some(true));
        };
        *trial = Trial::Unmade;
        match error.rdkafka_error_code() {
            Some(Code::GroupAuthorizationFailed) => Ok(Some(false)),
            // A group with members refuses those who are none, after it asked whether we may; and a topic is another right.
            Some(
                Code::UnknownMemberId
                | Code::IllegalGeneration
                | Code::RebalanceInProgress
                | Code::FencedInstanceId
                | Code::TopicAuthorizationFailed
                | Code::UnknownTopicOrPartition,
            ) => Ok(Some(true)),
            _ => Err(asked(error)),
        }
    }

    fn may_read(&self, topic: &str) -> Result<bool, Failure> {
        let attempted = || format!("read {topic}");
        let asked = |error: KafkaError| failure(Call::Ask, attempted(), &error);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::End)
            .map_err(asked)?;
        self.reader.assign(&list).map_err(asked)?;
        let until = self.clock.elapsed() + ANSWER;
        let mut allowed = None;
        while allowed.is_none() && self.clock.elapsed() < until {
            allowed = match self.reader.poll(Duration::from_millis(50)) {
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => Some(true),
                Some(Err(error)) if is_topic_denied(&error) => Some(false),
                Some(Err(_)) | None => None,
            };
        }
        self.unassign();
        allowed.ok_or_else(|| Failure::new(attempted(), "no answer", Remedy::Retry))
    }

    fn may_create(&self, topic: &str) -> Result<bool, Failure> {
        let wanted = [NewTopic::new(topic, 1, TopicReplication::Fixed(-1))];
        let answer = self.runtime.block_on(
            self.admin
                .create_topics(&wanted, &options().validate_only(true)),
        );
        let answer = answer
            .map_err(|error| failure(Call::Ask, format!("create {topic}"), &error))?
            .pop();
        match answer {
            Some(Err((_, code))) => Ok(!is_denial(code)),
            Some(Ok(_)) | None => Ok(true),
        }
    }

    fn may_delete(&self, topic: &str) -> Result<bool, Failure> {
        let attempted = || format!("delete records of {topic}");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Offset(0))
            .map_err(|error| failure(Call::Ask, attempted(), &error))?;
        let answer = self
            .runtime
            .block_on(self.admin.delete_records(&list, &options()));
        match answer {
            Ok(told) => Ok(!told
                .elements()
                .iter()
                .any(|element| element.error().is_err_and(|error| is_denied(&error)))),
            Err(error) => tried(Err::<(), _>(error), attempted),
        }
    }
}

/// An answer that says "not allowed" is one; what says something else is a failure.
fn tried<T>(
    outcome: Result<T, KafkaError>,
    attempted: impl Fn() -> String,
) -> Result<bool, Failure> {
    match outcome {
        Ok(_) => Ok(true),
        Err(error) if is_denied(&error) => Ok(false),
        Err(error) => Err(failure(Call::Ask, attempted(), &error)),
    }
}

/// A reader also hears of the group that it has to name, which is another right.
fn is_topic_denied(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(Code::TopicAuthorizationFailed)
}

fn is_denied(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(is_denial)
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(ANSWER))
        .operation_timeout(Some(ANSWER))
}
