//! A verdict as a sentence.

use jiff::tz::TimeZone;

use super::reason::because;
use super::{Entry, ScopeRead};
use crate::decision::{Reason, VerdictKind};
use crate::value::Timestamp;

/// Whose hours times are told in.
#[derive(Clone, Debug)]
pub struct Reader {
    zone: TimeZone,
    name: String,
    /// Not only for decisions that know no zone of their customer.
    is_for_all: bool,
}

impl Reader {
    /// `zone` (IANA) is for customers whose own is unknown; an unknown one is UTC.
    #[must_use]
    pub fn new(zone: &str) -> Self {
        let known = TimeZone::get(zone).ok();
        Self {
            name: known.as_ref().map_or("UTC", |_| zone).to_owned(),
            zone: known.unwrap_or(TimeZone::UTC),
            is_for_all: false,
        }
    }

    /// For the decisions of one customer, all in one zone: the one that the newest of them knows, else `zone`.
    #[must_use]
    pub fn of(entries: &[Entry], zone: &str) -> Self {
        let known = entries.iter().filter(|entry| entry.time_zone.is_some());
        let newest = known.max_by_key(|entry| entry.decided_at);
        let own = newest.and_then(|entry| entry.time_zone.as_deref());
        let own = own.filter(|own| TimeZone::get(own).is_ok());
        Self {
            is_for_all: true,
            ..Self::new(own.unwrap_or(zone))
        }
    }

    /// The zone's name.
    #[must_use]
    pub fn zone(&self) -> &str {
        &self.name
    }

    /// An instant that is no decision's: date and time.
    #[must_use]
    pub fn at(&self, at: Timestamp) -> String {
        crate::words::local(at, None, &self.name)
    }

    /// An instant as the entry's customer reads it: date and time.
    #[must_use]
    pub fn when(&self, entry: &Entry, at: Timestamp) -> String {
        self.hours(entry).long(at)
    }

    /// The entry in one sentence.
    #[must_use]
    pub fn sentence(&self, entry: &Entry) -> String {
        let hours = self.hours(entry);
        let because = because(entry, &hours);
        let subject = subject(entry);
        let until = |at: Option<Timestamp>| {
            at.map_or_else(String::new, |at| format!(" until {}", hours.near(at)))
        };
        match entry.kind {
            VerdictKind::Send => {
                let by = entry
                    .send_by
                    .map(|by| format!(", to be sent by {}", hours.near(by)));
                let what = entry.template.as_deref().unwrap_or_default();
                let by = by.unwrap_or_default();
                format!("{subject} was handed over (`{what}`){by}: {because}.")
            }
            VerdictKind::Observe => {
                format!("{subject} would have been handed over, and was held back: {because}.")
            }
            VerdictKind::Skip if entry.flow.is_none() => {
                format!("The campaign's request was not taken a second time: {because}.")
            }
            VerdictKind::Skip if entry.step == 0 => {
                format!("{} did not begin: {because}.", flow(entry))
            }
            VerdictKind::Skip => format!("{subject} was not sent: {because}."),
            VerdictKind::Defer => {
                format!("{subject} waits{}: {because}.", until(entry.until))
            }
            VerdictKind::Cancel => {
                format!("{subject} was recalled before it was known to have left: {because}.")
            }
            VerdictKind::Refuse => {
                let request = entry.request_id.as_deref().unwrap_or_default();
                format!("The campaign's request `{request}` was refused: {because}.")
            }
            VerdictKind::Suppress => {
                let until = match entry.until {
                    Some(at) => format!("until {}", hours.near(at)),
                    None => "until further notice".to_owned(),
                };
                format!("From now on {} {until}: {because}.", scopes(entry))
            }
            VerdictKind::Release if entry.closed_reason() == Some(Reason::PurchasedRelevant) => {
                format!(
                    "What was suppressed {} is suppressed until another date: {because}.",
                    on(entry)
                )
            }
            VerdictKind::Release => {
                format!(
                    "What was suppressed {} is free again: {because}.",
                    on(entry)
                )
            }
            VerdictKind::Expire => format!("{} ended: {because}.", flow(entry)),
            VerdictKind::Outcome => outcome(entry, &subject),
        }
    }

    pub(super) fn hours(&self, entry: &Entry) -> Hours {
        let own = entry.time_zone.as_deref().filter(|_| !self.is_for_all);
        Hours {
            zone: own
                .and_then(|zone| TimeZone::get(zone).ok())
                .unwrap_or_else(|| self.zone.clone()),
            now: entry.decided_at,
        }
    }
}

/// Writes instants as one customer reads them on one day.
pub(super) struct Hours {
    zone: TimeZone,
    now: Timestamp,
}

impl Hours {
    fn form(&self, at: Timestamp, form: &str) -> String {
        let instant = jiff::Timestamp::from_millisecond(at.millis()).unwrap_or_default();
        let zoned = instant.to_zoned(self.zone.clone());
        zoned.strftime(form).to_string()
    }

    /// With its date.
    fn long(&self, at: Timestamp) -> String {
        self.form(
            at,
            if has_seconds(at) {
                "%Y-%m-%d %H:%M:%S"
            } else {
                "%Y-%m-%d %H:%M"
            },
        )
    }

    /// The time alone where it is of the day of the decision.
    pub(super) fn near(&self, at: Timestamp) -> String {
        if self.form(at, "%F") == self.form(self.now, "%F") {
            self.form(at, if has_seconds(at) { "%H:%M:%S" } else { "%H:%M" })
        } else {
            self.long(at)
        }
    }
}

const fn has_seconds(at: Timestamp) -> bool {
    at.millis() % 60_000 >= 1_000
}

/// What a message on a channel is called.
pub(super) fn message(channel: &str) -> String {
    match channel {
        "email" => "e-mail".to_owned(),
        "sms" => "SMS".to_owned(),
        "push" => "push message".to_owned(),
        other => format!("message on {other}"),
    }
}

fn on(entry: &Entry) -> String {
    let channel = entry.channel.as_deref();
    channel.map_or_else(
        || "everywhere".to_owned(),
        |channel| format!("on {channel}"),
    )
}

pub(super) fn flow(entry: &Entry) -> String {
    let flow = entry.flow.as_deref().unwrap_or("a campaign");
    match entry.instance.as_deref() {
        // A flow of one instance per customer has nothing to name.
        Some(instance) if !matches!(instance, "" | "customer") => {
            format!("`{flow}` for {instance}")
        }
        Some(_) | None => format!("`{flow}`"),
    }
}

/// The message that a verdict is about: "The e-mail of `abandoned_cart` for k-1 (step 1 of 3)".
fn subject(entry: &Entry) -> String {
    let channel = entry.channel.as_deref();
    let what = channel.map_or_else(|| "message".to_owned(), message);
    let of = match (&entry.flow, &entry.request_id) {
        (Some(_), _) => flow(entry),
        (None, Some(request)) => format!("the campaign's request `{request}`"),
        (None, None) => "a campaign".to_owned(),
    };
    let step = if entry.steps > 1 && entry.step > 0 {
        format!(" (step {} of {})", entry.step, entry.steps)
    } else {
        String::new()
    };
    format!("The {what} of {of}{step}")
}

/// "no marketing by email", "no promotion of p-1, p-2 on email".
fn scopes(entry: &Entry) -> String {
    let products: Vec<&str> = valued(&entry.scopes, "product");
    let on = on(entry);
    if !products.is_empty() {
        return format!("nothing {on} promotes {}", shortened(&products));
    }
    let others: Vec<String> = entry
        .scopes
        .iter()
        .map(
            |scope| match (scope.scope.as_str(), scope.value.as_deref()) {
                ("all", _) => "nothing at all".to_owned(),
                ("class", Some(class)) => format!("no {class}"),
                ("list", Some(list)) => format!("nothing of the list `{list}`"),
                (scope, Some(value)) => format!("nothing of {scope} `{value}`"),
                (scope, None) => format!("no {scope}"),
            },
        )
        .collect();
    format!("{} is sent {on}", others.join(" and "))
}

fn valued<'a>(scopes: &'a [ScopeRead], which: &str) -> Vec<&'a str> {
    let of = scopes.iter().filter(|scope| scope.scope == which);
    of.filter_map(|scope| scope.value.as_deref()).collect()
}

/// At most three of them by name.
fn shortened(names: &[&str]) -> String {
    match names {
        [one, two, three, more @ ..] if !more.is_empty() => {
            format!("{one}, {two}, {three} and {} more", more.len())
        }
        _ => names.join(", "),
    }
}

fn outcome(entry: &Entry, subject: &str) -> String {
    let event = &entry.cause.event_id;
    let what = entry.outcome.as_deref().unwrap_or(&entry.reason);
    if entry.closed_reason() == Some(Reason::ProfileErased) {
        return "Everything that was held of somebody was erased; only a keyed hash says of whom."
            .to_owned();
    }
    match (&entry.order_id, &entry.order_total) {
        (Some(order), Some(total)) => {
            format!("{subject} was followed by order `{order}` of {total} (event `{event}`).")
        }
        (Some(order), None) => {
            format!("{subject} was followed by order `{order}` (event `{event}`).")
        }
        (None, _) => format!("{subject} was reported as {what} (event `{event}`)."),
    }
}
