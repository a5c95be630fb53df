//! What every client is told, what a user may add, and what they may not.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use crate::bus::{Sources, Turn};

/// What one worker's connections are made of.
#[derive(Clone)]
pub struct Settings {
    /// `host:port`, several with commas.
    pub bootstrap: String,
    /// Name of the application: consumer group, prefix of topics and transactional ids.
    pub app: String,
    /// Name of this process, stable over restarts, different from every other's.
    pub instance: String,
    /// Number of the worker within the process.
    pub worker: u16,
    /// What is read; the first input is the anchor `<app>-events`, the only topic that the group subscribes to.
    pub sources: Sources,
    /// An input that neither moves nor answers is waited for at most that long (CK-1).
    pub max_hold: Duration,
    /// How often what was read of `<app>-events` is deleted.
    pub trim_every: Duration,
    /// `<app>-profiles-changelog`.
    pub changelog: Arc<str>,
    /// Passed to librdkafka as they are, after [`check`] found nothing wrong with them.
    pub properties: BTreeMap<String, String>,
    /// A member that is silent for so long loses its partitions. Default 6 s, the broker's least.
    pub session_timeout: Duration,
    /// A transaction that is open for so long is aborted by the broker. Default 5 s: below the session. The broker looks for
    /// such only now and then; who takes over does not wait for it (`predecessor`).
    pub transaction_timeout: Duration,
    /// How long `connect` waits for the coordinator.
    pub connect_timeout: Duration,
    /// Base address of `/v1/customers`, for other instances; `None`: it is off.
    pub address: Option<String>,
}

/// What the transactional ids of an application begin with. The stroke cannot stand in an application's name, so that none of them
/// is that of another application whose name only begins like this one's.
#[must_use]
pub fn transactional_ids(app: &str) -> String {
    format!("{app}/")
}

impl Settings {
    /// Settings with the measured defaults for the times.
    #[must_use]
    pub fn new(bootstrap: &str, app: &str, instance: &str, worker: u16) -> Self {
        Self {
            bootstrap: bootstrap.to_owned(),
            app: app.to_owned(),
            instance: instance.to_owned(),
            worker,
            sources: Sources::direct(&[format!("{app}-events").into()]),
            max_hold: Duration::from_secs(15 * 60),
            trim_every: Duration::from_secs(60),
            changelog: format!("{app}-profiles-changelog").into(),
            properties: BTreeMap::new(),
            session_timeout: Duration::from_secs(6),
            transaction_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(60),
            address: None,
        }
    }

    /// `<instance>-<worker>`.
    pub(super) fn client_id(&self) -> String {
        format!("{}-{}", self.instance, self.worker)
    }

    /// Of committed offsets: by the client id a dead peer's transactions can be found; behind it, where this instance tells of its
    /// customers. It ends with a zero byte: librdkafka copies metadata without one, and clients built on it read on to the next.
    pub(super) fn offset_metadata(&self) -> String {
        match &self.address {
            Some(address) => format!("{} {address}\0", self.client_id()),
            None => format!("{}\0", self.client_id()),
        }
    }

    /// `<app>-<instance>-<worker>`: static member id, unique within the group.
    pub(super) fn member_id(&self) -> String {
        format!("{}-{}-{}", self.app, self.instance, self.worker)
    }

    /// `<app>/<instance>-<worker>-{a,b}`, unique within the cluster.
    pub(super) fn transactional_id(&self, turn: Turn) -> String {
        let stem = transactional_ids(&self.app);
        format!("{stem}{}-{}-{}", self.instance, self.worker, turn.suffix())
    }

    /// Those of the worker with this client id.
    pub(super) fn of_worker(&self, client_id: &str) -> Option<Self> {
        let (instance, worker) = client_id.rsplit_once('-')?;
        Some(Self {
            instance: instance.to_owned(),
            worker: worker.parse().ok()?,
            ..self.clone()
        })
    }

    /// Of the group member.
    pub(super) fn member(&self) -> ClientConfig {
        let session = self.session_timeout.as_millis();
        let mut config = self.reader("read_committed");
        config
            .set("group.id", &self.app)
            .set("group.instance.id", self.member_id())
            .set("group.protocol", "classic")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", session.to_string())
            // How fast a member hears of a rebalance; at 100 ms a leave costs 85 ms, at the default of 3 s 1,321 ms.
            .set("heartbeat.interval.ms", (session / 3).min(200).to_string());
        config
    }

    /// Of the changelog reader: assigned by hand, never a member; the group id only gives it a queue of its own.
    pub(super) fn changelog_reader(&self) -> ClientConfig {
        let mut config = self.reader("read_committed");
        config
            .set("group.id", &self.app)
            .set("enable.partition.eof", "true")
            // Restoring is bulk reading.
            .set("fetch.max.bytes", "16777216")
            .set("fetch.message.max.bytes", "4194304");
        config
    }

    /// Of a client that only asks for offsets, as `isolation` sees them.
    pub(super) fn asker(&self, isolation: &str) -> ClientConfig {
        self.reader(isolation)
    }

    /// Of a client that asks for ends and for what the group has committed, without being a member.
    pub(super) fn group_asker(&self) -> ClientConfig {
        let mut config = self.asker("read_uncommitted");
        config.set("group.id", &self.app);
        config
    }

    /// Of one of the two producers.
    pub(super) fn producer(&self, turn: Turn) -> ClientConfig {
        self.transactional(&self.transactional_id(turn))
    }

    /// Of a producer of transactions under this id.
    pub(super) fn transactional(&self, id: &str) -> ClientConfig {
        let timeout = self.transaction_timeout.as_millis().to_string();
        let mut config = self.client();
        config
            .set("transactional.id", id)
            .set("transaction.timeout.ms", &timeout)
            .set("message.timeout.ms", &timeout)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random");
        for (name, value) in [
            ("linger.ms", "1"),
            ("compression.type", "lz4"),
            // As `<app>-events` takes it.
            ("message.max.bytes", "2097152"),
        ] {
            if !self.properties.contains_key(name) {
                config.set(name, value);
            }
        }
        config
    }

    /// Of the admin client.
    pub(super) fn admin(&self) -> ClientConfig {
        self.client()
    }

    fn reader(&self, isolation: &str) -> ClientConfig {
        let mut config = self.client();
        config
            .set("isolation.level", isolation)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "false")
            .set("check.crcs", "true");
        for (name, value) in [
            // A full local queue is looked at again after that; the default of 1 s stalls partitions.
            ("fetch.queue.backoff.ms", "2"),
            // A resumed partition waits for the running fetch to come back.
            ("fetch.wait.max.ms", "50"),
            // How much waits in memory, per worker: what one fetch may bring of all partitions and of one, and what may wait to be
            // polled. The defaults (50 MiB, 1 MiB, 64 MiB) took 70 MiB more per worker and drained no faster.
            ("fetch.max.bytes", "4194304"),
            ("fetch.message.max.bytes", "262144"),
            ("queued.max.messages.kbytes", "8192"),
        ] {
            if !self.properties.contains_key(name) {
                config.set(name, value);
            }
        }
        config
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Info);
        for (name, value) in [
            // The pause before offset calls of transactions are repeated, and much else; the default is 100 ms.
            ("retry.backoff.ms", "5"),
            ("reconnect.backoff.ms", "20"),
            ("reconnect.backoff.max.ms", "1000"),
            ("log.connection.close", "false"),
            ("socket.keepalive.enable", "true"),
            ("socket.nagle.disable", "true"),
            // Producers would create topics too.
            ("allow.auto.create.topics", "false"),
        ] {
            config.set(name, value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", self.client_id())
            .set("statistics.interval.ms", "0");
        config
    }
}

impl fmt::Debug for Settings {
    /// Names of properties only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("bootstrap", &self.bootstrap)
            .field("member", &self.member_id())
            .field("sources", &self.sources)
            .field("properties", &self.properties.keys())
            .finish_non_exhaustive()
    }
}

/// Properties that exactly-once, ownership or privacy rest on, and why a user may not set them.
const LOCKED: &[(&str, &str)] = &[
    ("bootstrap.servers", "is `kafka.bootstrap`"),
    ("metadata.broker.list", "is `kafka.bootstrap`"),
    (
        "client.id",
        "names the worker; a dead peer's transactions are found by it",
    ),
    ("group.id", "is the application's name"),
    (
        "group.instance.id",
        "names the worker, so that a restart gets its partitions back at once",
    ),
    (
        "group.protocol",
        "only the classic protocol has static members that survive kill -9",
    ),
    (
        "group.remote.assignor",
        "belongs to a group protocol that is not used",
    ),
    (
        "partition.assignment.strategy",
        "members of one group must agree; partitions move one by one only with cooperative-sticky",
    ),
    (
        "session.timeout.ms",
        "is kept above the transaction time-out",
    ),
    ("heartbeat.interval.ms", "follows the session time-out"),
    (
        "transactional.id",
        "names the worker, so that a restart ends its predecessor's transaction",
    ),
    (
        "transaction.timeout.ms",
        "is kept below the session time-out",
    ),
    ("enable.idempotence", "exactly-once rests on it"),
    ("acks", "exactly-once rests on it"),
    ("request.required.acks", "exactly-once rests on acks=all"),
    ("max.in.flight", "is bounded by idempotence"),
    (
        "max.in.flight.requests.per.connection",
        "is bounded by idempotence",
    ),
    ("message.timeout.ms", "is the transaction time-out"),
    ("delivery.timeout.ms", "is the transaction time-out"),
    ("retries", "the transaction's time-out bounds them"),
    (
        "message.send.max.retries",
        "the transaction's time-out bounds them",
    ),
    (
        "enable.gapless.guarantee",
        "transactions already abort on a gap",
    ),
    (
        "delivery.report.only.error",
        "the changelog's offsets are read from delivery reports",
    ),
    (
        "partitioner",
        "keys must land where Java puts them (murmur2)",
    ),
    (
        "isolation.level",
        "reading what was aborted would decide on it",
    ),
    (
        "enable.auto.commit",
        "offsets are committed in the transaction only",
    ),
    (
        "auto.commit.enable",
        "offsets are committed in the transaction only",
    ),
    (
        "enable.auto.offset.store",
        "offsets are committed in the transaction only",
    ),
    (
        "auto.offset.reset",
        "a lost position is never guessed; a first start is decided by the input's own setting",
    ),
    ("enable.partition.eof", "set where it is used"),
    (
        "allow.auto.create.topics",
        "topics are created with explicit settings, or not at all",
    ),
    ("check.crcs", "records are checked"),
    (
        "statistics.interval.ms",
        "librdkafka's statistics are not used",
    ),
    ("debug", "librdkafka's debug logs carry keys and payloads"),
    ("log_level", "use the log filter's target `librdkafka`"),
    ("log.queue", "set by the client"),
    ("test.mock.num.brokers", "belongs to the demo"),
    ("plugin.library.paths", "no code is loaded at run time"),
];

/// Everything that is wrong with properties a user wants passed on: locked ones with the reason, unknown ones, bad values. Never
/// shows a value, for it may be a secret.
#[must_use]
pub fn check(properties: &BTreeMap<String, String>) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, value) in properties {
        if let Some((_, reason)) = LOCKED.iter().find(|(locked, _)| locked == name) {
            problems.push(format!("`{name}` cannot be set: it {}", sentence(reason)));
            continue;
        }
        let mut config = ClientConfig::new();
        config.set(name, value);
        if let Err(error) = config.create_native_config() {
            let unknown = matches!(
                error,
                KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)
            );
            problems.push(if unknown {
                format!("`{name}` is not a property of librdkafka")
            } else {
                format!("`{name}` has a value that librdkafka refuses")
            });
        }
    }
    problems
}

/// Reads `is …`, `names …` as they are, and puts the others into a sentence.
fn sentence(reason: &str) -> String {
    let verb = ["is ", "names ", "follows ", "belongs "];
    if verb.iter().any(|verb| reason.starts_with(verb)) {
        reason.to_owned()
    } else {
        format!("is fixed, because {reason}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn what_exactly_once_rests_on_is_refused_with_its_reason() {
        let found = check(&properties(&[
            ("acks", "1"),
            ("isolation.level", "read_uncommitted"),
            ("security.protocol", "SASL_SSL"),
            ("linger.ms", "5"),
        ]));
        assert_eq!(
            found,
            [
                "`acks` cannot be set: it is fixed, because exactly-once rests on it",
                "`isolation.level` cannot be set: it is fixed, because reading what was aborted would decide on it"
            ]
        );
    }

    #[test]
    fn unknown_names_and_bad_values_are_told_without_the_value() {
        let found = check(&properties(&[
            ("linger.mss", "5"),
            ("security.protocol", "hunter2"),
        ]));
        assert_eq!(
            found,
            [
                "`linger.mss` is not a property of librdkafka",
                "`security.protocol` has a value that librdkafka refuses"
            ]
        );
    }

    #[test]
    fn names_are_stable_over_restarts_and_differ_between_workers() {
        let mut settings = Settings::new("localhost:9092", "shop", "tidegate-0", 3);
        settings
            .properties
            .insert("sasl.password".into(), "hunter2".into());
        assert_eq!(settings.transactional_id(Turn::B), "shop/tidegate-0-3-b");
        assert_eq!(
            settings.member().get("group.instance.id"),
            Some("shop-tidegate-0-3")
        );
        assert_eq!(settings.member().get("client.id"), Some("tidegate-0-3"));
        let other = settings.of_worker("tidegate-12-0").unwrap();
        assert_eq!(other.transactional_id(Turn::A), "shop/tidegate-12-0-a");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn every_client_takes_its_settings() {
        let settings = Settings::new("localhost:9092", "shop", "one", 0);
        for config in [
            settings.member(),
            settings.changelog_reader(),
            settings.asker("read_uncommitted"),
            settings.producer(Turn::A),
            settings.admin(),
        ] {
            config.create_native_config().unwrap();
        }
    }
}
