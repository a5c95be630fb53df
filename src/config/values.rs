//! Values of the configuration that have a spelling of their own: shares, secrets, quiet hours, windows, rates.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::node::{Node, Value};
use super::overrides::join;
use super::problem::Problem;
use super::setting::{Setting, mismatch, read_scalar};
use crate::event::{EventType, Stream};
use crate::flow::Class;
use crate::policy::{MinuteOfDay, QuietHours, QuietRule, Window};
use crate::value::Span;

/// A share of the whole, in hundredths of a percent. Written `5%` or `0.25%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u32);

impl Percent {
    /// Reads `5%`, `0.25%`; `None` beyond 100 % and for more than two decimals.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.strip_suffix('%')?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if fraction.len() > 2 || fraction.is_empty() || !digits(whole) || !digits(fraction) {
            return None;
        }
        let whole: u32 = whole.parse().ok().filter(|whole| *whole <= 100)?;
        let fraction: u32 = format!("{fraction:0<2}").parse().ok()?;
        let hundredths = whole * 100 + fraction;
        (hundredths <= 10_000).then_some(Self(hundredths))
    }

    /// As a factor between 0 and 1.
    #[must_use]
    pub fn ratio(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 100 {
            0 => write!(f, "{}%", self.0 / 100),
            rest => write!(f, "{}.{rest:02}%", self.0 / 100),
        }
    }
}

impl Setting for Percent {
    const EXPECTED: &'static str = "a share such as 5% (0% for none)";
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        read_scalar(node, path, problems, Self::parse)
    }
    fn placeholder() -> Self {
        Self(0)
    }
    fn print(&self) -> Node {
        Node::text(self.to_string())
    }
}

/// A secret, or the file that holds it. Neither `Debug` nor `config print` shows it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The secret itself, normally by `${VAR}`.
    Text(String),
    /// A file whose content it is, without the last line break.
    File(PathBuf),
}

impl Secret {
    /// The file that holds it, if one does.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Text(_) => None,
            Self::File(path) => Some(path),
        }
    }

    /// The secret.
    ///
    /// # Errors
    /// When its file cannot be read as text.
    pub fn reveal(&self) -> std::io::Result<String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => std::fs::read_to_string(path)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned()),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What stands for a secret in print.
const MASK: &str = "********";

impl Setting for Secret {
    const EXPECTED: &'static str = "a text, best as ${VARIABLE}, or {file: /path/to/it}";
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        if let Some(text) = node.scalar() {
            return Self::Text(text.to_owned());
        }
        if let Value::Bool(value) = node.value {
            return Self::Text(value.to_string());
        }
        match node.entries() {
            Some([(key, file)]) if key == "file" => {
                Self::File(PathBuf::read(file, &join(path, key), problems))
            }
            Some(_) | None => {
                problems.push(
                    Problem::of(
                        path,
                        format!("{} is wrong here", node.kind()),
                        format!("write {}", Self::EXPECTED),
                    )
                    .at(node.place.clone()),
                );
                Self::placeholder()
            }
        }
    }
    fn placeholder() -> Self {
        Self::Text(String::new())
    }
    fn print(&self) -> Node {
        match self {
            Self::Text(_) => Node::text(MASK),
            Self::File(path) => {
                Node::unwritten(Value::Map(vec![("file".to_owned(), path.print())]))
            }
        }
    }
}

/// Client properties by librdkafka's names. What may be a secret is masked in print.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(pub BTreeMap<String, Secret>);

impl Properties {
    /// Does the name of a property tell that its value may be a secret?
    fn secret(name: &str) -> bool {
        [
            "password",
            "secret",
            "token",
            "pem",
            "sasl.oauthbearer.config",
            "sasl.jaas",
        ]
        .iter()
        .any(|word| name.contains(word))
            && !name.ends_with(".location")
            && !name.ends_with(".url")
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Setting for Properties {
    const EXPECTED: &'static str = "a mapping of librdkafka's properties";
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        Self(BTreeMap::read(node, path, problems))
    }
    fn placeholder() -> Self {
        Self::default()
    }
    fn print(&self) -> Node {
        let entries = self.0.iter().map(|(name, value)| {
            let node = match value {
                Secret::Text(text) if !Self::secret(name) => Node::text(text),
                Secret::Text(_) | Secret::File(_) => value.print(),
            };
            (name.clone(), node)
        });
        Node::unwritten(Value::Map(entries.collect()))
    }
}

/// Quiet hours of a channel: a daily stretch of local time, a list of stretches, or `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuietTime(pub Vec<QuietRule>);

/// As weekdays are written, Monday first.
const WEEKDAYS: [&str; 7] = crate::profile::rhythm::WEEKDAYS;

impl QuietTime {
    /// The shipped default: 21:00 to 09:00.
    #[must_use]
    pub fn night() -> Self {
        Self(vec![QuietRule::daily(QuietHours {
            from: MinuteOfDay(21 * 60),
            to: MinuteOfDay(9 * 60),
        })])
    }

    /// `{from, to}`, with `weekdays` and `countries` if any; `None` for anything else.
    fn rule(node: &Node) -> Option<QuietRule> {
        let known = ["from", "to", "weekdays", "countries"];
        let entries = node.entries()?;
        if entries
            .iter()
            .any(|(key, _)| !known.contains(&key.as_str()))
        {
            return None;
        }
        let minute = |key: &str| node.get(key).and_then(Node::scalar).and_then(minute_of_day);
        let (from, to) = (minute("from")?, minute("to")?);
        if from == to {
            return None;
        }
        let mut rule = QuietRule::daily(QuietHours { from, to });
        if let Some(days) = node.get("weekdays") {
            let days = texts(days)?;
            rule.weekdays = WEEKDAYS.map(|day| days.contains(&day));
            if days.is_empty() || days.iter().any(|day| !WEEKDAYS.contains(day)) {
                return None;
            }
        }
        if let Some(countries) = node.get("countries") {
            let countries = texts(countries)?;
            let is_code =
                |code: &&str| code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase());
            if countries.is_empty() || !countries.iter().all(is_code) {
                return None;
            }
            rule.countries = countries.into_iter().map(Into::into).collect();
        }
        Some(rule)
    }
}

/// A list of texts.
fn texts(node: &Node) -> Option<Vec<&str>> {
    match &node.value {
        Value::List(list) => list.iter().map(Node::scalar).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => None,
    }
}

/// Reads `21:00`.
fn minute_of_day(text: &str) -> Option<MinuteOfDay> {
    let (hour, minute) = text.split_once(':')?;
    if hour.len() != 2 || minute.len() != 2 {
        return None;
    }
    let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour < 24 && minute < 60).then_some(MinuteOfDay(hour * 60 + minute))
}

fn print_minute(minute: MinuteOfDay) -> Node {
    Node::text(format!("{:02}:{:02}", minute.0 / 60, minute.0 % 60))
}

fn print_rule(rule: &QuietRule) -> Node {
    let mut entries = vec![
        ("from".to_owned(), print_minute(rule.hours.from)),
        ("to".to_owned(), print_minute(rule.hours.to)),
    ];
    let list = |texts: Vec<Node>| Node::unwritten(Value::List(texts));
    if rule.weekdays != [true; 7] {
        let on = WEEKDAYS.iter().zip(rule.weekdays).filter(|(_, on)| *on);
        let days = on.map(|(day, _)| Node::text(*day)).collect();
        entries.push(("weekdays".to_owned(), list(days)));
    }
    if !rule.countries.is_empty() {
        let countries = rule.countries.iter().map(|code| Node::text(&**code));
        entries.push(("countries".to_owned(), list(countries.collect())));
    }
    Node::unwritten(Value::Map(entries))
}

impl Setting for QuietTime {
    const EXPECTED: &'static str = r#"{from: "21:00", to: "09:00"} in local time, a list of them with weekdays: [sunday] or countries: [DE], or none"#;
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        if node.scalar() == Some("none") {
            return Self(Vec::new());
        }
        let rules: Option<Vec<QuietRule>> = match &node.value {
            Value::List(list) => list.iter().map(Self::rule).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => {
                Self::rule(node).map(|rule| vec![rule])
            }
        };
        match rules {
            Some(rules) if !rules.is_empty() => Self(rules),
            Some(_) | None => mismatch(node, path, problems),
        }
    }
    fn placeholder() -> Self {
        Self::night()
    }
    fn print(&self) -> Node {
        match self.0.as_slice() {
            [] => Node::text("none"),
            [rule] => print_rule(rule),
            rules => Node::unwritten(Value::List(rules.iter().map(print_rule).collect())),
        }
    }
}

/// The window of a cap: elapsed time (`16h`, `7d`), or the customer's calendar (`day`, `week`, `3 days`, `2 weeks`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Per(pub Window);

impl Setting for Per {
    const EXPECTED: &'static str =
        "elapsed time such as 16h, or a calendar stretch: day, week, 3 days, 2 weeks";
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        read_scalar(node, path, problems, |text| {
            let window = match text {
                "day" => Window::Days(1),
                "week" => Window::Weeks(1),
                _ => match text.split_once(' ') {
                    Some((count, "days")) => {
                        Window::Days(count.parse().ok().filter(|n| (1..=90).contains(n))?)
                    }
                    Some((count, "weeks")) => {
                        Window::Weeks(count.parse().ok().filter(|n| (1..=13).contains(n))?)
                    }
                    Some(_) => return None,
                    None => Window::Rolling(text.parse().ok().filter(|span| *span > Span::ZERO)?),
                },
            };
            Some(Self(window))
        })
    }
    fn placeholder() -> Self {
        Self(Window::Days(1))
    }
    fn print(&self) -> Node {
        Node::text(match self.0 {
            Window::Rolling(span) => span.to_string(),
            Window::Days(1) => "day".to_owned(),
            Window::Weeks(1) => "week".to_owned(),
            Window::Days(days) => format!("{days} days"),
            Window::Weeks(weeks) => format!("{weeks} weeks"),
        })
    }
}

/// What one unit of a foreign currency is worth in the shop's, as a positive decimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate(pub String);

impl Setting for Rate {
    const EXPECTED: &'static str = "a positive decimal such as 0.92";
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        read_scalar(node, path, problems, |text| {
            crate::event::Rate::parse(text).map(|_| Self(text.to_owned()))
        })
    }
    fn placeholder() -> Self {
        Self("1".to_owned())
    }
    fn print(&self) -> Node {
        Node::text(&self.0)
    }
}

impl Setting for Stream {
    const EXPECTED: &'static str =
        "one of the streams clickstream, purchases, deliveries, customers, requests";
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        read_scalar(node, path, problems, |text| {
            STREAMS
                .into_iter()
                .find(|(_, name)| *name == text)
                .map(|(stream, _)| stream)
        })
    }
    fn placeholder() -> Self {
        Self::Clickstream
    }
    fn print(&self) -> Node {
        Node::text(stream_name(*self))
    }
}

const STREAMS: [(Stream, &str); 5] = [
    (Stream::Clickstream, "clickstream"),
    (Stream::Purchases, "purchases"),
    (Stream::Deliveries, "deliveries"),
    (Stream::Customers, "customers"),
    (Stream::Requests, "requests"),
];

/// The name of a stream in a configuration.
#[must_use]
pub const fn stream_name(stream: Stream) -> &'static str {
    match stream {
        Stream::Clickstream => "clickstream",
        Stream::Purchases => "purchases",
        Stream::Deliveries => "deliveries",
        Stream::Customers => "customers",
        Stream::Requests => "requests",
    }
}

impl Setting for Class {
    const EXPECTED: &'static str = "marketing, service or transactional";
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        read_scalar(node, path, problems, Self::parse)
    }
    fn placeholder() -> Self {
        Self::Marketing
    }
    fn print(&self) -> Node {
        Node::text(self.name())
    }
}

impl Setting for EventType {
    const EXPECTED: &'static str = "an event type such as delivered";
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        read_scalar(node, path, problems, Self::parse)
    }
    fn placeholder() -> Self {
        Self::Sent
    }
    fn print(&self) -> Node {
        Node::text(self.name())
    }
}
