//! The sections of the configuration: this file is its manual. Each field says what it is, its default, and what breaks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::node::{Node, Value};
use super::problem::Problem;
use super::reading::{FilterSetting, MappingSetting};
use super::setting::{Fields, Setting, choice, read_scalar, section};
use super::values::{Percent, Properties, QuietTime, Rate, Secret};
use crate::event::{EventType, Stream};
use crate::value::Span;

pub use super::norms::{Amount, ConsumptionSection, Day, NormsSection, PeakSection, RfmSection};
pub use super::policy::{BudgetSection, CapSetting, Counted, PolicySection};
pub use super::traits::{
    ChurnSection, DietSection, IntentSection, Kept, NegativeSection, RecentBuyerSection,
    ReturnedSection, TraitsSection, VipSection,
};

section! {
    /// The whole file.
    pub struct Config {
        /// Who this application and this process are.
        app: App,
        /// The brokers.
        kafka: Kafka,
        /// The schema registry, where something is `format: avro`.
        registry: Registry,
        /// What is the same for the whole shop.
        shop: Shop,
        /// How customers and addresses are told apart.
        identity: Identity,
        /// What is read. At least one.
        inputs: Vec<Input>,
        /// What is spoken through, by name. At least one; flows name these.
        channels: BTreeMap<String, Channel>,
        /// What binds every flow: the path of its own file, relative to this one (then `control_group` and `control_salt` stand there too),
        /// `built-in` for the shipped one, or the section itself. Everything in it but `control_group` has a default. A changed file is
        /// taken by a running process.
        policy: PolicySection,
        /// Share of customers that get no marketing at all, so that lift can be measured: `10%`, or `0%` for nobody.
        /// No default: it is a business decision that must be visible. Changing it later moves customers between the arms
        /// only at first sight; those already seen keep theirs.
        control_group: Percent,
        /// Salt of the control bucket. Default: `app.id`. Another salt draws another group; customers already seen keep their bucket.
        control_salt: Option<String>,
        /// Flow files, or directories of them (`*.yaml`), relative to this file.
        flows: Paths,
        /// The topics that belong to the application.
        topics: Topics,
        /// How much goes into one transaction.
        commit: Commit,
        /// State on disk and in memory.
        state: State,
        /// Metrics, probes and status.
        http: Http,
        /// What the process says of itself.
        log: Log,
        /// What happens to records that cannot be understood.
        dead_letters: DeadLetters,
    }
}

section! {
    /// Who this application and this process are.
    pub struct App {
        /// Names the application on the bus: prefix of its topics, consumer group and transactional ids. Letters, digits, `.`, `_`, `-`.
        /// Changing it starts a new application: no offsets, no state, everything decided anew.
        id: String,
        /// Names this process among those of the application: stable over restarts (a StatefulSet's pod name), never shared by two
        /// that run. Default `0`, right for a single one. Two with the same name fence each other, and one ends with code 70 (with 74 when they share a state directory too).
        instance: String = "0".to_owned(),
        /// Worker threads, each a member of the consumer group. Default: one per core, at most one per partition. Each
        /// commits for itself: more of them fold more under backlog, and fewer cost the broker less at low rates.
        workers: Option<usize>,
        /// Where tasks keep their state, each instance in a directory of its name. Default `/var/lib/tidegate`. A cache of the changelog: if lost, it is rebuilt, which takes time.
        state_dir: PathBuf = "/var/lib/tidegate".into(),
        /// Which clock timers run by. Default `live`; `records` is for replays and backfill runs over an old log.
        clock: Clock = Clock::Live,
        /// How long one stuck input may hold back what is due (no hand-over while an order may still be unread). Default 15m.
        /// Shorter: a broker's outage lets reminders out that an unread order would have stopped. Longer: everything waits for it.
        max_hold: Span = Span::from_minutes(15),
        /// How long a SIGTERM waits for the batch in progress. Default 20s, below the 30 s after which Kubernetes kills.
        stop_within: Span = Span::from_secs(20),
    }
}

choice! {
    /// Which clock timers run by.
    pub enum Clock {
        /// The wall's.
        Live = "live",
        /// The greatest record time read, capped by the wall's.
        Records = "records",
    }
}

section! {
    /// The brokers.
    pub struct Kafka {
        /// `host:port`, several with commas.
        bootstrap: String,
        /// Passed to librdkafka as they are (TLS, SASL, buffers). Secrets best as `${VAR}` or `{file: /path}`.
        /// Those that exactly-once rests on (group, isolation, idempotence, offsets, partitioner …) are refused.
        properties: Properties = Properties::default(),
    }
}

section! {
    /// The schema registry: Confluent's, or one that answers its calls (Apicurio under `/apis/ccompat/v7`, Karapace, Redpanda).
    pub struct Registry {
        /// Begin of its addresses: `https://registry:8081`. Required where an input, a channel or the decision log is in `avro`.
        url: Option<String>,
        /// Name for HTTP's basic login; `password` goes with it. Default: no login.
        user: Option<String>,
        /// Best as `${VAR}` or `{file: /path}`.
        password: Option<Secret>,
        /// Bearer token instead of name and password. Read at start; best as `${VAR}` or `{file: /path}`.
        token: Option<Secret>,
        /// Trusted authorities (PEM file) for `https`. Default: those of the system.
        ca: Option<PathBuf>,
    }
}

section! {
    /// What is the same for the whole shop.
    pub struct Shop {
        /// ISO 4217. Money without a currency is in it, and all money is kept in it. Changing it makes old amounts wrong.
        currency: String,
        /// What one unit of another currency is worth in the shop's: `{USD: 0.92}`. Default: none. Amounts in a currency that is not
        /// here count in no money condition (and in a metric).
        rates: BTreeMap<String, Rate> = BTreeMap::new(),
        /// IANA zone of customers whose own is unknown: quiet hours and calendar caps go by it. Default `UTC`, wrong by hours elsewhere.
        time_zone: String = "UTC".to_owned(),
        /// BCP 47 locale for customers whose own is unknown. Default: none, and the field stays out of their decisions.
        locale: Option<String>,
    }
}

section! {
    /// How customers and addresses are told apart.
    pub struct Identity {
        /// Ids that mean nobody. Without these a shop's placeholder would be one enormous customer.
        ignore: Vec<String> = ["", "0", "-1", "null", "none", "undefined", "unknown", "anonymous", "guest", "nan"].map(str::to_owned).to_vec(),
        /// Secret of the hash that names addresses without showing them; at least 16 characters, the same on every instance.
        /// Another key gives every address another id: bounces and opt-outs of addresses are forgotten, and who was erased.
        address_key: Secret,
    }
}

section! {
    /// One topic that is read.
    pub struct Input {
        /// Names it in metrics, logs and errors. Default: the topic.
        name: Option<String>,
        /// Which of the five streams it carries: `feed` publishes those types here. An event of another stream on it is folded all the same.
        /// Required, but of an input with a `mapping`: a foreign topic may carry several.
        stream: Option<Stream>,
        /// The topic. With `key: customer_id` it must have exactly `topics.partitions` partitions.
        topic: String,
        /// How its values are written. Default `json`.
        format: Format = Format::Json,
        /// How its records are keyed. `customer_id`: by customer id (anonymous id when there is none), partitioned as Java does. `any`, the
        /// default: otherwise or not at all, in any number of partitions; each record goes to its profile by way of `<app>-events`, which
        /// costs a second trip over the bus, and the order between two partitions is as they are read.
        key: Keying = Keying::Any,
        /// A backfill or nightly batch: folds and suppresses, starts no flow. Default false.
        history: bool = false,
        /// Directory with further Avro schemas of writers, for `avro-single-object`. Default: only the built-in ones.
        schemas: Option<PathBuf>,
        /// Which records are taken: paths, each with the values to take, as in `{properties.shop: [a, b]}`. Default: all of them. Those
        /// left out are counted and no dead letters; a filter that is too narrow leaves orders out, and reminders go to buyers.
        filter: Option<FilterSetting>,
        /// How records of a foreign shape become events: the path of a mapping (`deploy/mappings` has some), or the mapping itself.
        /// Default: records have our own shape. `tidegate map` shows what records become.
        mapping: Option<MappingSetting>,
    }
}

choice! {
    /// How values are written.
    pub enum Format {
        /// One JSON object.
        Json = "json",
        /// Avro single-object encoding: the marker C3 01, the schema's fingerprint, the value.
        AvroSingleObject = "avro-single-object",
        /// Avro in the framing of a schema registry: 00, the schema's id in four bytes, the value; or a GUID, there or in a header.
        Avro = "avro",
    }
}

choice! {
    /// How an input is keyed.
    pub enum Keying {
        /// By customer: read directly.
        CustomerId = "customer_id",
        /// Any other way: read by intake.
        Any = "any",
    }
}

section! {
    /// One channel.
    pub struct Channel {
        /// Its outbound topic. Default `<app.id>-<name>`. It must have `topics.partitions` partitions, so that a customer's records stay in order.
        topic: Option<String>,
        /// How decisions are written. Default `json`.
        format: Format = Format::Json,
        /// What it is used for. Default `active`.
        mode: Mode = Mode::Active,
        /// When it is silent, in the customer's local time. Default 21:00 to 09:00; `none` for a channel that disturbs nobody. A list gives
        /// stretches to `weekdays` (on which they begin) and `countries`; where one names the customer's country, only such count.
        quiet_hours: QuietTime = QuietTime::night(),
        /// What one contact costs, in the shop's currency: `"0.045"`. Default 0. Decides which channel is the cheapest, and what a budget buys.
        cost: Amount = Amount("0".to_owned()),
        /// When the channel counts as down.
        breaker: BreakerSection,
        /// Does a contact need an address on this channel? Default true; false for a channel in the shop's own pages.
        needs_address: bool = true,
        /// What leaves on its topic: `address`, `cart`, `products`, `last_order`, `profile`. Default: cart, products and last order, no address.
        expose: Vec<Exposed> = vec![Exposed::Cart, Exposed::Products, Exposed::LastOrder],
        /// Receipts that the sender gives. A flow whose `success` needs another is refused. Default: what every sender can tell, no opens or clicks.
        reports: Vec<EventType> = vec![
            EventType::Accepted, EventType::Sent, EventType::Delivered, EventType::Bounced, EventType::Failed,
            EventType::Expired, EventType::Cancelled, EventType::Unsubscribed,
        ],
    }
}

section! {
    /// Many failures in a short time say that a channel is down: cascades move on at once, and single contacts find out when it is back.
    /// Counted per partition.
    pub struct BreakerSection {
        /// Failed, dropped or blocked messages within `window`, and no fewer than arrived. Default 20; 0 never.
        failures: u32 = 20,
        /// Default 5m.
        window: Span = Span::from_minutes(5),
        /// While it is down one contact is let through per that time. Default 1m.
        probe: Span = Span::from_minutes(1),
    }
}

choice! {
    /// What a channel is used for.
    pub enum Mode {
        /// As flows say.
        Active = "active",
        /// Only for those whom nothing else reaches.
        Support = "support",
        /// Not at all; cascades move on.
        Stopped = "stopped",
    }
}

choice! {
    /// What may leave on a channel's topic.
    pub enum Exposed {
        /// The address itself, beside its id.
        Address = "address",
        /// The cart that it is about.
        Cart = "cart",
        /// Its products.
        Products = "products",
        /// The last order.
        LastOrder = "last_order",
        /// What is known of the customer, traits included.
        Profile = "profile",
    }
}

/// Paths of files or directories: one text, or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths(pub Vec<PathBuf>);

impl Setting for Paths {
    const EXPECTED: &'static str = "a file or directory, or a list of them";
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        match node.value {
            Value::List(_) => Self(Vec::read(node, path, problems)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => {
                read_scalar(node, path, problems, |text| Some(Self(vec![text.into()])))
            }
        }
    }
    fn placeholder() -> Self {
        Self(Vec::new())
    }
    fn print(&self) -> Node {
        self.0.print()
    }
}

section! {
    /// The topics that belong to the application.
    pub struct Topics {
        /// Create what is missing at start. Default false: an operator runs `tidegate topics apply`, and a typing error creates nothing.
        create: bool = false,
        /// Partitions of the internal topics and of every direct input and channel; the upper bound of parallelism. Default 8.
        /// Fixed for good: state belongs to partitions, and a changed count is refused at start.
        partitions: i32 = 8,
        /// Copies of each internal topic. Default 3. Fewer than 3 loses decisions and state with a broker.
        replication_factor: i32 = 3,
        /// Copies that must confirm a write. Default 2. 1 makes a write durable on a single broker only.
        min_insync_replicas: i32 = 2,
        /// How long the decision log is kept. Default 400d, so that last year's season can be explained.
        decisions_retention: Span = Span::from_days(400),
        /// How the decision log is written: `json`, or `avro` with the schema registry. Default `json`. `explain` reads both.
        decisions_format: Format = Format::Json,
        /// How long dead letters are kept. Default 30d.
        dead_letters_retention: Span = Span::from_days(30),
        /// Create missing input topics too, which belong to somebody else in earnest. Default false; for trying out, where `feed` fills them.
        create_inputs: bool = false,
    }
}

section! {
    /// How much goes into one transaction. An idle input commits at once; these bound a batch under backlog.
    pub struct Commit {
        /// Records. Default 10,000: a customer's changes meet in one batch and are written once, which drains half as fast again as
        /// 2,000. More: more throughput, later decisions, more to repeat after a crash.
        max_records: usize = 10_000,
        /// Bytes of records. Default 16 MiB. The first record always counts.
        max_bytes: usize = 16 << 20,
        /// Milliseconds from the first record of a batch to its commit. Default 100. What is decided is readable only after the commit.
        max_delay_ms: u64 = 100,
    }
}

section! {
    /// State on disk and in memory, for the whole process.
    pub struct State {
        /// Bytes of memory that the process may take, everything counted: set it a tenth below the container's limit. Default: 512 MiB
        /// for state, 48 MiB for the program, and per worker 112 MiB and 5 KiB for each of `commit.max_records`. What the workers do
        /// not need is for state (blocks, unflushed changes, decoded profiles): less means more reads from disk.
        memory_budget_bytes: Option<u64> = None,
        /// Share of the state's part for decoded profiles. Default 40%.
        profile_cache: Percent = Percent(4_000),
    }
}

section! {
    /// Metrics, probes and status.
    pub struct Http {
        /// Address of `/metrics`, `/livez`, `/readyz` and `/status`. Default loopback: nothing is visible from outside unless you say so.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9464)),
        /// `/v1/customers/{id}`: everything that is held of one customer, for a support desk. Default: off.
        customers: Option<CustomersSection>,
    }
}

section! {
    /// `/v1/customers/{id}`.
    pub struct CustomersSection {
        /// Whoever shows it (`Authorization: Bearer …`) sees every customer; at least 16 characters, the same on every instance.
        token: Secret,
        /// Where other instances send those who ask for a customer of this one, as in `http://10.0.0.7:9464`. Default: `http://` and `listen`.
        address: Option<String>,
    }
}

section! {
    /// What the process says of itself, on stderr.
    pub struct Log {
        /// Default `text`; `json` for collectors.
        format: LogFormat = LogFormat::Text,
        /// `error`, `warn`, `info`, `debug` or `trace`, or per module as in `info,tidegate::worker=debug`. Default `info`.
        level: String = "info".to_owned(),
    }
}

choice! {
    /// How log lines are written.
    pub enum LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object per line.
        Json = "json",
    }
}

section! {
    /// What happens to records that cannot be understood.
    pub struct DeadLetters {
        /// Stop the task when more than this share of a stretch of `window` records are dead letters: a bad deploy upstream must not drain
        /// a topic into the dead letters. Default 50%; 100% never stops.
        max_ratio: Percent = Percent(5_000),
        /// Records that the ratio is taken over. Default 1,000. Smaller windows stop on a short burst.
        window: usize = 1_000,
    }
}

impl Http {
    /// Where other instances send those who ask for a customer of this one; `None` while nobody is told anything.
    #[must_use]
    pub fn customers_address(&self) -> Option<String> {
        let customers = self.customers.as_ref()?;
        let listen = || format!("http://{}", self.listen);
        let written = customers.address.clone().unwrap_or_else(listen);
        Some(written.trim_end_matches('/').to_owned())
    }
}
