//! What makes sense only together: names, references between sections, bounds.

use std::collections::BTreeMap;

use super::problem::Problem;
use super::sections::{Config, Format, Input};
use super::setting::{Setting as _, suggestion};
use super::values::{Per, Secret};
use crate::event::Stream;
use crate::policy::Window;
use crate::profile::limits::{CONTACT_AGE, CONTACTS};
use crate::value::Span;

/// Longest time that dedup keys may be asked to stay.
const LONGEST_DEDUP: Span = Span::from_days(92);

/// Ends of inputs are asked for every third of a second, and a broker may be slow to answer: less would be a way around CK-1.
const LEAST_HOLD: Span = Span::from_secs(10);

impl Config {
    /// Everything that is wrong beyond single values, each with the path of its setting. Pure.
    #[must_use]
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.check_app(&mut problems);
        self.check_registry(&mut problems);
        self.check_shop(&mut problems);
        self.check_inputs(&mut problems);
        self.check_channels(&mut problems);
        self.check_policy(&mut problems);
        self.check_bounds(&mut problems);
        problems
    }

    fn check_app(&self, problems: &mut Vec<Problem>) {
        for (path, name) in [
            ("app.id", &self.app.id),
            ("app.instance", &self.app.instance),
        ] {
            if !topic_name(name) || name.len() > 100 {
                problems.push(Problem::of(
                    path,
                    "is no name for topics and groups",
                    "use 1 to 100 letters, digits, `.`, `_` or `-`",
                ));
            }
        }
        if self.app.workers == Some(0) {
            problems.push(Problem::of(
                "app.workers",
                "0 workers would do nothing",
                "leave it out for one per core",
            ));
        }
        if self
            .kafka
            .bootstrap
            .split(',')
            .any(|broker| !broker.trim().contains(':'))
        {
            problems.push(Problem::of(
                "kafka.bootstrap",
                "is not a list of host:port",
                "write for example broker-1:9092,broker-2:9092",
            ));
        }
        self.check_properties(problems);
        let token = self.http.customers.as_ref().map(|section| &section.token);
        let secrets = [
            ("identity.address_key", Some(&self.identity.address_key)),
            ("http.customers.token", token),
        ];
        for (path, secret) in secrets {
            if let Some(Secret::Text(text)) = secret
                && text.chars().count() < 16
            {
                problems.push(Problem::of(
                    path,
                    "is shorter than 16 characters",
                    "make one with `openssl rand -hex 32` and hand it in by ${VARIABLE} or {file: …}",
                ));
            }
        }
        if let Some(address) = self
            .http
            .customers
            .as_ref()
            .and_then(|of| of.address.as_ref())
            && (!(address.starts_with("http://") || address.starts_with("https://"))
                || address.contains(char::is_whitespace))
        {
            problems.push(Problem::of(
                "http.customers.address",
                "is not the beginning of an address",
                "write for example http://10.0.0.7:9464",
            ));
        }
    }

    /// The client library knows its properties, and the bus knows which of them its guarantees rest on; without one there is no bus.
    #[cfg(feature = "kafka")]
    fn check_properties(&self, problems: &mut Vec<Problem>) {
        for (name, value) in &self.kafka.properties.0 {
            let (value, known) = match value {
                Secret::Text(value) => (value.clone(), true),
                // What a file holds is not read here; its name can still be locked.
                Secret::File(_) => (String::new(), false),
            };
            let property = BTreeMap::from([(name.clone(), value)]);
            let told = crate::bus::kafka::settings::check(&property);
            for what in told
                .into_iter()
                .filter(|what| known || what.contains("cannot be set"))
            {
                problems.push(Problem::of(
                    format!("kafka.properties.{name}"),
                    what,
                    "remove or correct it",
                ));
            }
        }
    }

    #[cfg(not(feature = "kafka"))]
    fn check_properties(&self, _: &mut Vec<Problem>) {}

    fn check_shop(&self, problems: &mut Vec<Problem>) {
        let currencies = self
            .shop
            .rates
            .keys()
            .map(|code| (format!("shop.rates.{code}"), code));
        for (path, code) in currencies.chain([("shop.currency".to_owned(), &self.shop.currency)]) {
            if code.len() != 3 || !code.bytes().all(|b| b.is_ascii_uppercase()) {
                problems.push(Problem::of(
                    path,
                    "is no ISO 4217 code",
                    "write three capitals such as EUR",
                ));
            }
        }
        if self.shop.rates.contains_key(&self.shop.currency) {
            problems.push(Problem::of(
                format!("shop.rates.{}", self.shop.currency),
                "the shop's own currency has no rate",
                "remove it",
            ));
        }
        if jiff::tz::TimeZone::get(&self.shop.time_zone).is_err() {
            problems.push(Problem::of(
                "shop.time_zone",
                "is no known time zone",
                "write an IANA name such as Europe/Berlin",
            ));
        }
    }

    fn check_inputs(&self, problems: &mut Vec<Problem>) {
        if self.inputs.is_empty() {
            problems.push(Problem::of(
                "inputs",
                "nothing would be read",
                "write at least one",
            ));
        }
        let mut names = BTreeMap::new();
        let mut topics = BTreeMap::new();
        for (index, input) in self.inputs.iter().enumerate() {
            let path = format!("inputs[{index}]");
            check_input(input, &path, problems);
            if let Some(first) = names.insert(input.name(), index) {
                problems.push(Problem::of(
                    format!("{path}.name"),
                    format!("inputs[{first}] has the same name"),
                    "give each its own `name`",
                ));
            }
            if let Some(first) = topics.insert(&input.topic, index) {
                problems.push(Problem::of(
                    format!("{path}.topic"),
                    format!("inputs[{first}] reads the same topic"),
                    "read each topic once",
                ));
            }
        }
    }

    fn check_channels(&self, problems: &mut Vec<Problem>) {
        if self.channels.is_empty() {
            problems.push(Problem::of(
                "channels",
                "nothing could be said",
                "write at least one",
            ));
        }
        let mut topics: BTreeMap<String, String> = self
            .inputs
            .iter()
            .enumerate()
            .map(|(index, input)| (input.topic.clone(), format!("inputs[{index}]")))
            .collect();
        for internal in super::resolve::INTERNAL_TOPICS {
            topics.insert(
                super::internal_topic(&self.app.id, internal),
                "the application itself".to_owned(),
            );
        }
        for (index, input) in self.inputs.iter().enumerate() {
            let taken = super::resolve::INTERNAL_TOPICS
                .iter()
                .any(|internal| super::internal_topic(&self.app.id, internal) == input.topic);
            if taken {
                problems.push(Problem::of(
                    format!("inputs[{index}].topic"),
                    "belongs to the application itself",
                    "internal topics are read and written by tidegate alone",
                ));
            }
        }
        for (name, channel) in &self.channels {
            let path = format!("channels.{name}");
            if name.is_empty()
                || name.len() > crate::profile::limits::CHANNEL_BYTES
                || !name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            {
                problems.push(Problem::of(
                    &path,
                    "is no channel name",
                    "use lower-case letters, digits and `_`, at most 24",
                ));
            }
            if name == crate::flow::spec::ANY {
                problems.push(Problem::of(
                    &path,
                    "`any` is what a flow says to leave the channel to policy",
                    "give the channel another name",
                ));
            }
            let topic = self.channel_topic(name);
            if !topic_name(&topic) {
                problems.push(Problem::of(
                    format!("{path}.topic"),
                    "is no topic name",
                    TOPIC_REMEDY,
                ));
            }
            if let Some(owner) = topics.insert(topic, path.clone()) {
                problems.push(Problem::of(
                    format!("{path}.topic"),
                    format!("is the topic of {owner} too"),
                    "one topic per channel, and none of them an input",
                ));
            }
            for (index, report) in channel.reports.iter().enumerate() {
                if report.stream() != Stream::Deliveries {
                    problems.push(Problem::of(
                        format!("{path}.reports[{index}]"),
                        format!("`{}` is no receipt", report.name()),
                        "write types of the stream deliveries",
                    ));
                }
            }
        }
    }

    fn check_policy(&self, problems: &mut Vec<Problem>) {
        self.policy.norms.check(problems);
        for (name, budget) in &self.policy.budgets {
            let path = format!("policy.budgets.{name}");
            let Some(channel) = self.channels.get(name) else {
                let known: Vec<&str> = self.channels.keys().map(String::as_str).collect();
                let what = format!("there is no channel `{name}`");
                problems.push(Problem::of(path, what, suggestion(name, &known)));
                continue;
            };
            let is_free = channel.cost.money(6).minor() == 0;
            let (what, remedy) = match (budget.contacts, &budget.money) {
                (Some(_), Some(_)) => ("says both contacts and money", "write one of the two"),
                (None, Some(_)) if is_free => {
                    let remedy = "write what one contact costs in `cost`";
                    ("is money, and a contact costs nothing", remedy)
                }
                (_, _) => continue,
            };
            problems.push(Problem::of(path, what, remedy));
        }
        let shipped = super::policy::CapSetting::shipped();
        for (index, cap) in self.policy.caps.iter().enumerate() {
            let path = format!("policy.caps[{index}]");
            let named = [
                cap.channel.is_some(),
                cap.class.is_some(),
                cap.counts.is_some(),
            ];
            if named.iter().filter(|named| **named).count() != 1 {
                problems.push(Problem::of(
                    &path,
                    "does not say which contacts it counts",
                    "write exactly one of channel, class, counts",
                ));
            }
            if let Some(channel) = &cap.channel
                && !self.channels.contains_key(channel)
                && !shipped.contains(cap)
            {
                let known: Vec<&str> = self.channels.keys().map(String::as_str).collect();
                problems.push(Problem::of(
                    format!("{path}.channel"),
                    format!("there is no channel `{channel}`"),
                    suggestion(channel, &known),
                ));
            }
            check_cap(&path, cap.limit, cap.per, problems);
        }
        let traits = &self.policy.traits;
        for (path, limit, per) in [
            ("policy.traits.churn", traits.churn.limit, traits.churn.per),
            (
                "policy.traits.intent",
                traits.intent.limit,
                traits.intent.per,
            ),
        ] {
            check_cap(path, limit, per, problems);
        }
        for (path, span) in [
            ("policy.min_gap", self.policy.min_gap),
            ("policy.same_message", self.policy.same_message),
            ("policy.conversion_window", self.policy.conversion_window),
        ] {
            if span > CONTACT_AGE {
                problems.push(too_long(path, &format!("write {CONTACT_AGE} or less")));
            }
        }
        if self.policy.dedup > LONGEST_DEDUP {
            let remedy = format!("write {LONGEST_DEDUP} or less");
            problems.push(Problem::of(
                "policy.dedup",
                "is longer than a profile remembers events",
                remedy,
            ));
        }
        if self.policy.service_per_hour > u32::from(CONTACTS) {
            problems.push(too_many("policy.service_per_hour"));
        }
    }

    fn check_bounds(&self, problems: &mut Vec<Problem>) {
        let mut bound = |path: &str, holds: bool, what: &str, remedy: &str| {
            if !holds {
                problems.push(Problem::of(path, what, remedy));
            }
        };
        bound(
            "app.max_hold",
            self.app.max_hold >= LEAST_HOLD,
            "would let reminders out that an unread order stops",
            "write 10s or more; the default is 15m",
        );
        let topics = &self.topics;
        bound(
            "topics.partitions",
            (1..=4096).contains(&topics.partitions),
            "is out of bounds",
            "write 1 to 4096",
        );
        bound(
            "topics.replication_factor",
            (1..=99).contains(&topics.replication_factor),
            "is out of bounds",
            "write 1 or more",
        );
        bound(
            "topics.min_insync_replicas",
            (1..=topics.replication_factor.max(1)).contains(&topics.min_insync_replicas),
            "is out of bounds",
            "write at least 1 and at most topics.replication_factor",
        );
        let commit = &self.commit;
        bound(
            "commit.max_records",
            (1..=100_000).contains(&commit.max_records),
            "is out of bounds",
            "write 1 to 100000",
        );
        bound(
            "commit.max_bytes",
            (1_024..=256 << 20).contains(&commit.max_bytes),
            "is out of bounds",
            "write 1024 to 268435456",
        );
        bound(
            "commit.max_delay_ms",
            (1..=2_000).contains(&commit.max_delay_ms),
            "is out of bounds",
            "write 1 to 2000: a transaction must end well before its time-out of 5 s",
        );
        bound(
            "state.memory_budget_bytes",
            self.state
                .memory_budget_bytes
                .is_none_or(|bytes| bytes >= 128 << 20),
            "is too little to work with",
            "write at least 134217728 (128 MiB)",
        );
        bound(
            "state.profile_cache",
            self.state.profile_cache.0 <= 9_000,
            "leaves nothing for the store",
            "write at most 90%",
        );
        bound(
            "dead_letters.window",
            self.dead_letters.window >= 10,
            "is too small to tell a trend",
            "write at least 10",
        );
        bound(
            "flows",
            !self.flows.0.is_empty(),
            "names no flow file",
            "name a directory or files",
        );
    }
}

const TOPIC_REMEDY: &str = "use 1 to 249 letters, digits, `.`, `_` or `-`";

fn check_input(input: &Input, path: &str, problems: &mut Vec<Problem>) {
    if !topic_name(&input.topic) {
        problems.push(Problem::of(
            format!("{path}.topic"),
            "is no topic name",
            TOPIC_REMEDY,
        ));
    }
    if input.stream.is_none() && input.mapping.is_none() {
        problems.push(Problem::of(
            format!("{path}.stream"),
            "is required and has no default",
            format!("write {}", Stream::EXPECTED),
        ));
    }
    if input.schemas.is_some() && input.format != Format::AvroSingleObject {
        problems.push(Problem::of(
            format!("{path}.schemas"),
            "has no meaning for this format",
            "remove it",
        ));
    }
}

/// A cap can only count what a profile remembers.
fn check_cap(path: &str, limit: u32, per: Per, problems: &mut Vec<Problem>) {
    if per.0.longest() > CONTACT_AGE {
        let days = CONTACT_AGE.millis() / Span::from_days(1).millis() - 1;
        let remedy = match per.0 {
            Window::Rolling(_) => format!("write {CONTACT_AGE} or less"),
            Window::Days(_) => format!("write {days} days or fewer"),
            Window::Weeks(_) => format!("write {} weeks or fewer", days / 7),
        };
        problems.push(too_long(&format!("{path}.per"), &remedy));
    }
    if limit > u32::from(CONTACTS) {
        problems.push(too_many(&format!("{path}.limit")));
    }
}

fn too_long(path: &str, remedy: &str) -> Problem {
    let what = format!("is longer than the {CONTACT_AGE} that contacts are remembered");
    Problem::of(path, what, remedy)
}

fn too_many(path: &str) -> Problem {
    let what = format!("is more than the {CONTACTS} contacts that are remembered of a customer");
    Problem::of(path, what, format!("write {CONTACTS} or less"))
}

/// What Kafka accepts as a topic's name.
fn topic_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 249
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}
