//! Topics: what should be there, what is there, what to do about the difference; and trimming the anchor behind what was read.
//!
//! Used by `topics print`, `topics apply` and the checks at start.

mod reset;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::runtime::{Builder, Runtime};

use super::failure::{Call, failure, said};
use super::{Quiet, Settings, refusal};
use crate::bus::{Failure, NextOffset, Remedy};

/// The bound of one question to the brokers.
const ANSWER: Duration = Duration::from_secs(10);
/// The pause between looks for what was just created.
const LOOK: Duration = Duration::from_millis(20);

/// Bytes of the largest record that we write, with Kafka's own around it: its default limit.
const LARGEST: &str = "1048588";
/// Bytes of the largest record that is forwarded: an event of another shape may grow when it is written in ours.
const LARGEST_FORWARD: &str = "2097152";

/// A topic as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// How many copies; `None` for the broker's default. Used on creation only.
    pub replication: Option<i32>,
    /// Settings by Kafka's names.
    pub settings: BTreeMap<String, String>,
    /// Settings on creation only; later they are the operator's.
    pub initial: BTreeMap<String, String>,
    /// tidegate may create it. Topics of others are only looked at.
    pub ours: bool,
    /// Any number of partitions is right: it goes through intake.
    pub any_count: bool,
}

impl TopicSpec {
    fn ours(name: String, partitions: i32, settings: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            name,
            partitions,
            replication: None,
            settings: settings.iter().map(owned).collect(),
            initial: BTreeMap::new(),
            ours: true,
            any_count: false,
        }
    }

    /// An input topic: another's, with as many partitions as the anchor, or a customer's events would be spread over tasks.
    #[must_use]
    pub fn input(name: &str, partitions: i32) -> Self {
        Self {
            ours: false,
            ..Self::ours(name.to_owned(), partitions, &[])
        }
    }

    /// A topic of decisions that senders read: compacted it would lose cancels, and it must take our largest records.
    #[must_use]
    pub fn outbound(name: &str, partitions: i32) -> Self {
        let settings = [("cleanup.policy", "delete"), ("max.message.bytes", LARGEST)];
        Self {
            // Longer than what the shipped flows may wait, so that what recalls a message is as readable as the message.
            initial: BTreeMap::from([("retention.ms".to_owned(), "2592000000".to_owned())]),
            ..Self::ours(name.to_owned(), partitions, &settings)
        }
    }
}

/// The internal topics of an application with `partitions` tasks.
#[must_use]
pub fn internal_topics(app: &str, partitions: i32) -> Vec<TopicSpec> {
    let week = "604800000";
    vec![
        // Kept by what is unread: trimmed behind the committed offsets, never by age.
        TopicSpec::ours(
            format!("{app}-events"),
            partitions,
            &[
                ("cleanup.policy", "delete"),
                ("retention.ms", "-1"),
                ("retention.bytes", "-1"),
                ("max.message.bytes", LARGEST_FORWARD),
            ],
        ),
        // Tombstones stay for a week: a store that was away for less than half of that can catch up without reviving the erased.
        TopicSpec::ours(
            format!("{app}-profiles-changelog"),
            partitions,
            &[
                ("cleanup.policy", "compact"),
                ("delete.retention.ms", week),
                ("max.compaction.lag.ms", "86400000"),
                ("min.cleanable.dirty.ratio", "0.3"),
                ("segment.ms", "86400000"),
                ("max.message.bytes", LARGEST),
            ],
        ),
        TopicSpec::ours(
            format!("{app}-blocks"),
            partitions,
            &[
                ("cleanup.policy", "compact"),
                ("delete.retention.ms", week),
                // Else what was erased could stay in a quiet partition for good.
                ("max.compaction.lag.ms", "86400000"),
                ("max.message.bytes", LARGEST),
            ],
        ),
        TopicSpec::ours(
            format!("{app}-decisions"),
            partitions,
            &[
                ("cleanup.policy", "delete"),
                ("retention.ms", "2592000000"),
                ("max.message.bytes", LARGEST),
            ],
        ),
        TopicSpec::ours(
            format!("{app}-dlq"),
            partitions,
            &[
                ("cleanup.policy", "delete"),
                ("retention.ms", "2592000000"),
                ("max.message.bytes", LARGEST),
            ],
        ),
    ]
}

/// A topic as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicFound {
    /// How many partitions.
    pub partitions: i32,
    /// Settings in force by Kafka's names, defaults included.
    pub settings: BTreeMap<String, String>,
}

/// How a topic differs from what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It does not exist.
    Missing,
    /// It has another number of partitions. State is per partition, so this cannot be mended in place.
    Partitions {
        /// As it is.
        found: i32,
        /// As it should be.
        wanted: i32,
    },
    /// A setting has another value.
    Setting {
        /// Its name.
        name: String,
        /// As it is; `None` when the broker does not show it: it does not know it, or we may not see it.
        found: Option<String>,
        /// As it should be.
        wanted: String,
    },
}

/// One difference of one topic. Displays what was found, what is wanted, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicProblem {
    /// The topic as it should be.
    pub topic: TopicSpec,
    /// How it differs.
    pub difference: Difference,
}

impl TopicProblem {
    /// Must not be run with: a missing topic, another partition count, records that the broker would delete by age or by key against
    /// our will, or would not take. Any other setting that differs is worth a warning.
    #[must_use]
    pub fn stops(&self) -> bool {
        match &self.difference {
            Difference::Missing | Difference::Partitions { .. } => true,
            Difference::Setting { name, .. } => {
                matches!(name.as_str(), "cleanup.policy" | "max.message.bytes")
            }
        }
    }
}

impl fmt::Display for TopicProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TopicSpec {
            name,
            partitions,
            ours,
            ..
        } = &self.topic;
        match &self.difference {
            Difference::Missing if *ours => write!(
                f,
                "topic {name}: not found, wanted with {} partitions; `tidegate topics apply` creates it, or set `topics.create: true`",
                partitions
            ),
            Difference::Missing => write!(
                f,
                "topic {name}: not found; it is an input, so its owner creates it (with {} partitions), or take it out of the inputs",
                partitions
            ),
            Difference::Partitions { found, wanted } if *ours => write!(
                f,
                "topic {name}: {found} partitions found, {wanted} wanted; the number of tasks cannot change in place: set `topics.partitions: {found}`, or start anew under another `app.id`"
            ),
            Difference::Partitions { found, wanted } => write!(
                f,
                "topic {name}: {found} partitions found, {wanted} wanted; an input that is read directly has as many partitions as there are tasks: read it with `key: any`, or set `topics.partitions: {found}` before the first start"
            ),
            Difference::Setting {
                name: setting,
                found: Some(found),
                wanted,
            } => write!(
                f,
                "topic {name}: {setting} is {found}, wanted {wanted}; change it with kafka-configs.sh --alter"
            ),
            Difference::Setting {
                name: setting,
                found: None,
                wanted,
            } => write!(
                f,
                "topic {name}: the broker does not show {setting}, wanted {wanted}; grant DescribeConfigs on the topic"
            ),
        }
    }
}

/// What differs between the topics as they should be and as they are. Pure.
#[must_use]
pub fn compare(wanted: &[TopicSpec], found: &BTreeMap<String, TopicFound>) -> Vec<TopicProblem> {
    let mut problems = Vec::new();
    for topic in wanted {
        let mut add = |difference| {
            problems.push(TopicProblem {
                topic: topic.clone(),
                difference,
            });
        };
        let Some(is) = found.get(&topic.name) else {
            add(Difference::Missing);
            continue;
        };
        if topic.partitions != is.partitions && !topic.any_count {
            add(Difference::Partitions {
                found: is.partitions,
                wanted: topic.partitions,
            });
        }
        for (name, wanted) in &topic.settings {
            let value = is.settings.get(name);
            let number = |text: &String| text.parse::<i64>().ok();
            // More is as good.
            let enough = name == "max.message.bytes" && value.and_then(number) >= number(wanted);
            if value != Some(wanted) && !enough {
                add(Difference::Setting {
                    name: name.clone(),
                    found: value.cloned(),
                    wanted: wanted.clone(),
                });
            }
        }
    }
    problems
}

/// Asks and changes topics.
pub struct Admin {
    client: AdminClient<Quiet>,
    runtime: Runtime,
    settings: Settings,
}

impl Admin {
    /// Makes the client; nothing is asked yet.
    ///
    /// # Errors
    /// `Fatal` when librdkafka refuses the settings.
    pub fn connect(settings: &Settings) -> Result<Self, Failure> {
        let client = AdminClient::from_config_and_context(&settings.admin(), Quiet)
            .map_err(|error| failure(Call::Connect, "make the admin client", &error))?;
        let runtime = Builder::new_current_thread().build().map_err(|error| {
            Failure::new("make the admin client", error.to_string(), Remedy::Fatal)
        })?;
        Ok(Self {
            client,
            runtime,
            settings: settings.clone(),
        })
    }

    fn run<T>(
        &self,
        attempted: &str,
        asked: impl Future<Output = Result<T, KafkaError>>,
    ) -> Result<T, Failure> {
        self.runtime
            .block_on(asked)
            .map_err(|error| failure(Call::Ask, attempted, &error))
    }

    /// The id of the cluster, by which a state directory knows where it belongs.
    ///
    /// # Errors
    /// `Retry` while no broker answers.
    pub fn cluster_id(&self) -> Result<String, Failure> {
        let id = self.client.inner().fetch_cluster_id(ANSWER);
        id.ok_or_else(|| Failure::new("ask for the cluster's id", "no answer", Remedy::Retry))
    }

    /// The number of partitions of a topic; `None` when it does not exist.
    ///
    /// # Errors
    /// `Retry` while no broker answers.
    pub fn partitions(&self, topic: &str) -> Result<Option<i32>, Failure> {
        let metadata = self
            .client
            .inner()
            .fetch_metadata(None, ANSWER)
            .map_err(|error| failure(Call::Ask, format!("metadata of {topic}"), &error))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        Ok(found.map(|found| i32::try_from(found.partitions().len()).unwrap_or(i32::MAX)))
    }

    /// The settings in force of topics that exist.
    ///
    /// # Errors
    /// `Retry` while the brokers do not answer, `Fatal` without the right to ask.
    pub fn settings(
        &self,
        topics: &[&str],
    ) -> Result<BTreeMap<String, BTreeMap<String, String>>, Failure> {
        let mut all = BTreeMap::new();
        if topics.is_empty() {
            return Ok(all);
        }
        let asked: Vec<_> = topics
            .iter()
            .map(|topic| ResourceSpecifier::Topic(topic))
            .collect();
        let answer = self.run(
            "describe the settings of topics",
            self.client.describe_configs(&asked, &options()),
        )?;
        for (topic, described) in topics.iter().zip(answer) {
            let described = described.map_err(|code| {
                let error = KafkaError::Global(code);
                failure(
                    Call::Ask,
                    format!("describe the settings of {topic}"),
                    &error,
                )
            })?;
            let values = described.entries.into_iter();
            let values = values.filter_map(|entry| entry.value.map(|value| (entry.name, value)));
            all.insert((*topic).to_owned(), values.collect());
        }
        Ok(all)
    }

    /// Looks at the topics and tells what differs from how they should be.
    ///
    /// # Errors
    /// `Retry` while the brokers do not answer.
    pub fn plan_topics(&self, wanted: &[TopicSpec]) -> Result<Vec<TopicProblem>, Failure> {
        let metadata = self
            .client
            .inner()
            .fetch_metadata(None, ANSWER)
            .map_err(|error| {
                let failed = failure(Call::Ask, "list the topics", &error);
                refusal::behind(failed, &self.settings)
            })?;
        let mut found = BTreeMap::new();
        for topic in metadata.topics() {
            if wanted.iter().any(|wanted| wanted.name == topic.name()) {
                let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
                let settings = BTreeMap::new();
                found.insert(
                    topic.name().to_owned(),
                    TopicFound {
                        partitions,
                        settings,
                    },
                );
            }
        }
        let judged: Vec<&str> = wanted
            .iter()
            .filter(|topic| !topic.settings.is_empty() && found.contains_key(&topic.name))
            .map(|topic| topic.name.as_str())
            .collect();
        for (topic, settings) in self.settings(&judged)? {
            if let Some(found) = found.get_mut(&topic) {
                found.settings = settings;
            }
        }
        Ok(compare(wanted, &found))
    }

    /// Creates the topics of ours that `problems` names as missing. Gives the names created; one that somebody else created
    /// meanwhile is among them.
    ///
    /// # Errors
    /// `Retry` while the brokers do not answer, `Fatal` when they refuse one.
    pub fn apply_topics(&self, problems: &[TopicProblem]) -> Result<Vec<String>, Failure> {
        let missing: Vec<&TopicSpec> = problems
            .iter()
            .filter(|problem| problem.topic.ours && problem.difference == Difference::Missing)
            .map(|problem| &problem.topic)
            .collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: Vec<NewTopic<'_>> = missing
            .iter()
            .map(|topic| {
                let replication = TopicReplication::Fixed(topic.replication.unwrap_or(-1));
                let settings = topic.settings.iter().chain(&topic.initial);
                settings.fold(
                    NewTopic::new(&topic.name, topic.partitions, replication),
                    |topic, (name, value)| topic.set(name, value),
                )
            })
            .collect();
        let answer = self.run(
            "create topics",
            self.client.create_topics(&wanted, &options()),
        )?;
        let mut created = Vec::new();
        for outcome in answer {
            match outcome {
                Ok(name) | Err((name, rdkafka::error::RDKafkaErrorCode::TopicAlreadyExists)) => {
                    created.push(name);
                }
                Err((name, code)) => {
                    let attempted = format!("create topic {name}");
                    return Err(Failure::new(
                        attempted,
                        said(Call::Ask, code),
                        Remedy::Fatal,
                    ));
                }
            }
        }
        self.wait_for(&created)?;
        Ok(created)
    }

    /// Waits until a broker lists these topics. The controller answers a creation before the brokers have heard of it; on a busy
    /// machine that takes long enough to be told "not found" about a topic just created.
    fn wait_for(&self, topics: &[String]) -> Result<(), Failure> {
        for _ in 0..ANSWER.as_millis() / LOOK.as_millis() {
            let listed = self.client.inner().fetch_metadata(None, ANSWER);
            let listed =
                listed.map_err(|error| failure(Call::Ask, "list the topics created", &error))?;
            let is_there = |name: &String| {
                let mut all = listed.topics().iter();
                all.any(|topic| topic.name() == name && !topic.partitions().is_empty())
            };
            if topics.iter().all(is_there) {
                return Ok(());
            }
            std::thread::park_timeout(LOOK);
        }
        let attempted = "wait for the topics created";
        Err(Failure::new(attempted, "not listed", Remedy::Retry))
    }

    /// Deletes what lies before `keep_from` in partitions of a topic: the anchor behind the committed offsets.
    ///
    /// # Errors
    /// `Retry` while a leader does not answer; nothing is lost by that.
    pub fn trim(&self, topic: &str, keep_from: &[(i32, NextOffset)]) -> Result<(), Failure> {
        if keep_from.is_empty() {
            return Ok(());
        }
        let attempted = format!("delete read records of {topic}");
        let mut list = TopicPartitionList::new();
        for (partition, next) in keep_from {
            list.add_partition_offset(topic, *partition, Offset::Offset(next.get()))
                .map_err(|error| failure(Call::Ask, attempted.as_str(), &error))?;
        }
        let answer = self.run(&attempted, self.client.delete_records(&list, &options()))?;
        for element in answer.elements() {
            element
                .error()
                .map_err(|error| failure(Call::Ask, attempted.as_str(), &error))?;
        }
        Ok(())
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(ANSWER))
        .operation_timeout(Some(ANSWER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_topic_found_wanted_and_remedy() {
        let mut wanted = internal_topics("shop", 8);
        wanted.push(TopicSpec::input("clicks", 8));
        let mut found = BTreeMap::new();
        for topic in &wanted {
            let partitions = topic.partitions;
            let settings = topic.settings.clone();
            found.insert(
                topic.name.clone(),
                TopicFound {
                    partitions,
                    settings,
                },
            );
        }
        assert_eq!(compare(&wanted, &found), []);

        found.remove("shop-dlq");
        found.get_mut("clicks").unwrap().partitions = 6;
        let changelog = found.get_mut("shop-profiles-changelog").unwrap();
        changelog
            .settings
            .insert("cleanup.policy".into(), "delete".into());
        let problems = compare(&wanted, &found);
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "topic shop-profiles-changelog: cleanup.policy is delete, wanted compact; change it with kafka-configs.sh --alter",
                "topic shop-dlq: not found, wanted with 8 partitions; `tidegate topics apply` creates it, or set `topics.create: true`",
                "topic clicks: 6 partitions found, 8 wanted; an input that is read directly has as many partitions as there are tasks: read it with `key: any`, or set `topics.partitions: 6` before the first start",
            ]
        );
        assert_eq!(
            problems.iter().map(TopicProblem::stops).collect::<Vec<_>>(),
            [true, true, true]
        );
    }
}
