//! What is asked for, found among a customer's decisions, with what led there and what became of it.

use std::collections::BTreeSet;

use super::course::instances;
use super::sentence::{flow, message};
use super::{Entry, Reader};
use crate::decision::VerdictKind;
use crate::value::{Span, Timestamp};

/// How far around the time of a question its flow's decisions belong to the answer.
const AROUND: Span = Span::from_days(3);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Everything.
    All,
    /// About one decision.
    Decision(String),
    /// Why this flow did, or did not, speak around that time.
    Flow {
        /// Which flow.
        flow: String,
        /// When.
        at: Timestamp,
    },
}

/// What of the log was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Lines that are verdicts, of whomever.
    pub lines: u64,
    /// Lines that are none.
    pub unreadable: u64,
    /// The earliest decision, and the latest.
    pub span: Option<(Timestamp, Timestamp)>,
    /// The one partition that was read, where a log of several is not read whole: all of one customer's stand in one.
    pub partition: Option<i32>,
}

impl Window {
    /// Counts a line.
    pub fn note(&mut self, decided_at: Option<Timestamp>) {
        let Some(at) = decided_at else {
            self.unreadable += 1;
            return;
        };
        self.lines += 1;
        self.span = Some(match self.span {
            Some((first, last)) => (first.min(at), last.max(at)),
            None => (at, at),
        });
    }
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Account<'a> {
    /// What is asked about: none when nothing was decided about it.
    pub asked: Vec<&'a Entry>,
    /// Of one decision: what the same instance, or whatever stands in its way, did before.
    pub before: Vec<&'a Entry>,
    /// Of one decision: what became of it.
    pub after: Vec<&'a Entry>,
    /// Of a flow that said nothing: the pauses that were in force.
    pub in_force: Vec<&'a Entry>,
    /// What the log does and does not hold, where that is the answer.
    pub notes: Vec<String>,
    /// There is no such customer, decision or flow in the log: the question cannot be answered.
    pub is_unknown: bool,
}

impl<'a> Account<'a> {
    /// Answers from the customer's decisions, in the order of their times. `flows` are all that are known, of the log and of the configuration.
    #[must_use]
    pub fn of(
        question: &Question,
        entries: &'a [Entry],
        window: Window,
        flows: &BTreeSet<String>,
        reader: &Reader,
    ) -> Self {
        let mut account = Self {
            asked: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            in_force: Vec::new(),
            notes: Vec::new(),
            is_unknown: false,
        };
        if let Question::Flow { flow, .. } = question
            && !flows.contains(flow)
        {
            let known: Vec<&str> = flows.iter().map(String::as_str).collect();
            account.unknown(&format!(
                "There is no flow `{flow}`: neither the log nor the configuration names it. Known are: {}.",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            ));
            return account;
        }
        if entries.is_empty() {
            account.unknown(
                "The log holds no decision about them: nothing was ever decided, or it is older than the log, or the id is another one.",
            );
        }
        match question {
            Question::All => account.asked = entries.iter().collect(),
            Question::Decision(_) if entries.is_empty() => {}
            Question::Decision(id) => account.decision(id, entries),
            Question::Flow { flow, at } => account.flow(flow, *at, entries, window, reader),
        }
        account
    }

    fn unknown(&mut self, note: &str) {
        self.notes.push(note.to_owned());
        self.is_unknown = true;
    }

    fn decision(&mut self, id: &str, entries: &'a [Entry]) {
        self.asked = entries
            .iter()
            .filter(|entry| entry.decision_id == id)
            .collect();
        let Some(asked) = self.asked.first().copied() else {
            self.unknown(
                "The log holds no decision of this customer by that id: it may be another customer's, or older than the log.",
            );
            return;
        };
        let refers = |entry: &Entry| {
            [&entry.cancels, &entry.releases, &entry.target]
                .into_iter()
                .flatten()
                .cloned()
                .collect::<BTreeSet<String>>()
        };
        let mut wanted = refers(asked);
        wanted.extend(
            asked
                .checks
                .iter()
                .filter_map(|check| check.decision_id.clone()),
        );
        let of_key = |entry: &&Entry| {
            entry.flow.is_some() && (&entry.flow, &entry.instance) == (&asked.flow, &asked.instance)
        };
        let of_key: Vec<&Entry> = entries.iter().filter(of_key).collect();
        let instances = instances(&of_key);
        let number = |wanted: &Entry| {
            let mut places = of_key.iter();
            let place = places.position(|entry| entry.decision_id == wanted.decision_id)?;
            instances.get(place).copied().flatten()
        };
        let own = number(asked);
        let same_instance = |entry: &&Entry| own.is_some() && number(entry) == own;
        let is_asked = |entry: &&Entry| entry.decision_id == asked.decision_id;
        for entry in entries.iter().filter(|entry| !is_asked(entry)) {
            let earlier = entry.decided_at <= asked.decided_at;
            if refers(entry).contains(&asked.decision_id) {
                self.after.push(entry);
            } else if wanted.contains(&entry.decision_id) || (earlier && same_instance(&entry)) {
                self.before.push(entry);
            } else if same_instance(&entry) {
                self.after.push(entry);
            }
        }
    }

    fn flow(
        &mut self,
        flow: &str,
        at: Timestamp,
        entries: &'a [Entry],
        window: Window,
        reader: &Reader,
    ) {
        let own: Vec<&Entry> = entries
            .iter()
            .filter(|entry| entry.flow.as_deref() == Some(flow))
            .collect();
        let apart = |entry: &Entry| {
            let when = entry.decided_at;
            if when <= at {
                at.since(when)
            } else {
                when.since(at)
            }
        };
        self.asked = own
            .iter()
            .copied()
            .filter(|entry| apart(entry) <= AROUND)
            .collect();
        let sends = self.asked.iter().copied();
        let sends: Vec<&Entry> = sends
            .filter(|entry| entry.kind == VerdictKind::Send)
            .collect();
        let mut next = sends.iter().copied().min_by_key(|entry| apart(entry));
        let mut may_have_reached = false;
        while let Some(sent) = next {
            let fate = Fate::of(sent, entries);
            self.notes.push(told(sent, fate, reader));
            may_have_reached = fate.may_have_reached();
            // It was recalled for the step after it: then that is the answer.
            let gave_way = fate.recalled.filter(|by| by.reason == "expired");
            let later = sends.iter().copied().filter(|entry| {
                entry.instance == sent.instance && entry.decided_at > sent.decided_at
            });
            next = gave_way.and_then(|_| later.min_by_key(|entry| entry.decided_at));
        }
        if self.asked.is_empty() {
            self.nothing(flow, at, &own, window, reader);
        } else if sends.is_empty() {
            self.notes.push(format!(
                "`{flow}` handed nothing over in the three days before and after."
            ));
        }
        if !may_have_reached {
            self.in_force = in_force(entries, at);
        }
    }

    /// Nothing was decided: that too has its reasons, and the log can only bound them.
    fn nothing(
        &mut self,
        flow: &str,
        at: Timestamp,
        own: &[&Entry],
        window: Window,
        reader: &Reader,
    ) {
        self.notes.push(format!(
            "Nothing was decided about `{flow}` for them in the three days before and after."
        ));
        let nearest = own.iter().min_by_key(|entry| {
            let when = entry.decided_at;
            if when <= at {
                at.since(when)
            } else {
                when.since(at)
            }
        });
        if let Some(entry) = nearest {
            self.notes.push(format!(
                "The nearest it has of it: {} {}",
                reader.when(entry, entry.decided_at),
                reader.sentence(entry)
            ));
        }
        match window.span {
            Some((first, last)) if first <= at && at <= last => self.notes.push(
                "The log covers that time. It holds every verdict, and no line for what no flow wanted: no event of theirs began \
                 the flow, or one came and the condition of entry did not hold, or the flow was not in force."
                    .to_owned(),
            ),
            Some((first, last)) => {
                let show = |at: Timestamp| reader.at(at);
                self.notes.push(format!(
                    "The log that was read does not cover that time: it holds decisions from {} to {}.",
                    show(first),
                    show(last)
                ));
            }
            None => self.notes.push("The log that was read holds no decision at all.".to_owned()),
        }
    }
}

/// What became of a message that was handed over, by the log.
#[derive(Clone, Copy, Debug)]
struct Fate<'a> {
    /// The first that was told of it: sent, delivered, …
    arrived: Option<&'a Entry>,
    /// The last that was told of it: failed, cancelled, …
    failed: Option<&'a Entry>,
    recalled: Option<&'a Entry>,
}

impl<'a> Fate<'a> {
    fn of(sent: &Entry, entries: &'a [Entry]) -> Self {
        let id = Some(sent.decision_id.as_str());
        let outcomes = || entries.iter().filter(|entry| entry.target.as_deref() == id);
        let is = |entry: &&Entry, names: &[&str]| {
            let outcome = entry.outcome.as_deref();
            outcome.is_some_and(|outcome| names.contains(&outcome))
        };
        Self {
            arrived: outcomes().find(|entry| is(entry, &ARRIVED)),
            failed: outcomes().rfind(|entry| is(entry, &FAILED)),
            recalled: entries.iter().find(|entry| entry.cancels.as_deref() == id),
        }
    }

    /// Not known never to have.
    const fn may_have_reached(self) -> bool {
        match (self.arrived, self.failed, self.recalled) {
            (Some(_), _, _) => true,
            (None, failed, recalled) => failed.is_none() && recalled.is_none(),
        }
    }
}

/// Receipts of a message that left.
const ARRIVED: [&str; 8] = [
    "sent",
    "delivered",
    "opened",
    "clicked",
    "replied",
    "acted",
    "complained",
    "unsubscribed",
];
/// Receipts of one that did not, or not for good.
const FAILED: [&str; 5] = ["bounced", "dropped", "failed", "expired", "cancelled"];

/// Did they get it? As far as it is ours to say.
fn told(sent: &Entry, fate: Fate<'_>, reader: &Reader) -> String {
    let at = |entry: &Entry| reader.when(entry, entry.decided_at);
    let word = |entry: &'_ Entry| entry.outcome.clone().unwrap_or_default();
    let what = format!(
        "the {} of {}, handed over at {}",
        message(sent.channel.as_deref().unwrap_or_default()),
        flow(sent),
        at(sent)
    );
    match (fate.arrived, fate.failed, fate.recalled) {
        (_, Some(failed), None) => {
            format!(
                "They did not get it: {what}, was reported as {} at {}.",
                word(failed),
                at(failed)
            )
        }
        (None, Some(failed), Some(recalled)) => format!(
            "They did not get it: {what}, was recalled at {} and reported as {} at {}.",
            at(recalled),
            word(failed),
            at(failed)
        ),
        (Some(arrived), _, _) => format!(
            "They did get it, as far as it is ours to say: {what}, was reported as {} at {}.",
            word(arrived),
            at(arrived)
        ),
        (None, None, Some(recalled)) => format!(
            "They were not to get it any more: {what}, was recalled at {}. Its sender has not said whether it had left by then.",
            at(recalled)
        ),
        (None, None, None) => format!(
            "They were to get it: {what}. What became of it the log does not say: no receipt of it was read."
        ),
    }
}

/// The suppressions that began before `at` and had not ended, by time or by release.
fn in_force(entries: &[Entry], at: Timestamp) -> Vec<&Entry> {
    let released: BTreeSet<&str> = entries
        .iter()
        .filter(|entry| entry.decided_at <= at)
        .filter_map(|entry| entry.releases.as_deref())
        .collect();
    entries
        .iter()
        .filter(|entry| entry.kind == VerdictKind::Suppress && entry.decided_at <= at)
        .filter(|entry| entry.until.is_none_or(|until| until > at))
        .filter(|entry| !released.contains(entry.decision_id.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A decision of `cart`, as a line of the log.
    fn entry(at: &str, verdict: &str, instance: &str, more: serde_json::Value) -> Entry {
        let mut line = serde_json::json!({
            "decision_id": format!("{verdict}-{instance}"), "verdict": verdict, "profile": "c:1", "channel": "email",
            "reason": "cart", "decided_at": format!("2026-03-02T{at}Z"), "flow": "cart", "instance": instance, "step": 1, "steps": 1,
            "cause": { "topic": "t", "partition": 0, "offset": 0, "event_id": "e" },
        });
        if let (Some(line), serde_json::Value::Object(more)) = (line.as_object_mut(), more) {
            line.extend(more);
        }
        Entry::read(line.to_string().as_bytes()).unwrap()
    }

    fn told(entries: &[Entry], hour: &str) -> String {
        let question = Question::Flow {
            flow: "cart".to_owned(),
            at: Timestamp::parse(&format!("2026-03-02T{hour}:00:00Z")).unwrap(),
        };
        let flows = BTreeSet::from(["cart".to_owned()]);
        let reader = Reader::of(entries, "UTC");
        let account = Account::of(&question, entries, Window::default(), &flows, &reader);
        account.notes.join(" ")
    }

    #[test]
    fn whether_they_got_it_is_told_of_the_message_nearest_to_the_question_and_by_what_became_of_it()
    {
        let log = [
            entry("09:00:00", "send", "k1", serde_json::json!({})),
            entry(
                "09:10:00",
                "cancel",
                "k1",
                serde_json::json!({ "cancels": "send-k1" }),
            ),
            entry("12:00:00", "send", "k2", serde_json::json!({})),
            entry(
                "12:01:00",
                "outcome",
                "k2",
                serde_json::json!({ "target": "send-k2", "outcome": "delivered" }),
            ),
            entry(
                "13:00:00",
                "outcome",
                "k1",
                serde_json::json!({ "target": "send-k1", "outcome": "cancelled" }),
            ),
        ];
        assert_eq!(
            told(&log, "09"),
            "They did not get it: the e-mail of `cart` for k1, handed over at 2026-03-02 09:00, was recalled at 2026-03-02 09:10 and \
             reported as cancelled at 2026-03-02 13:00."
        );
        assert_eq!(
            told(&log[..4], "09"),
            "They were not to get it any more: the e-mail of `cart` for k1, handed over at 2026-03-02 09:00, was recalled at 2026-03-02 \
             09:10. Its sender has not said whether it had left by then."
        );
        assert!(told(&log, "12").starts_with(
            "They did get it, as far as it is ours to say: the e-mail of `cart` for k2,"
        ));
    }

    #[test]
    fn a_message_that_was_recalled_for_the_next_step_is_followed_by_that_one() {
        let log = [
            entry("09:00:00", "send", "k", serde_json::json!({})),
            entry(
                "10:00:00",
                "cancel",
                "k",
                serde_json::json!({ "cancels": "send-k", "reason": "expired" }),
            ),
            entry(
                "10:00:00",
                "send",
                "k",
                serde_json::json!({ "decision_id": "second", "step": 2, "channel": "push" }),
            ),
        ];
        let told = told(&log, "09");
        let (first, second) = told.split_once("by then. ").unwrap();
        assert!(first.contains("the e-mail of `cart` for k"), "{told}");
        assert!(
            second.starts_with("They were to get it: the push message of `cart` for k"),
            "{told}"
        );
    }

    #[test]
    fn all_times_of_an_answer_are_of_one_zone_and_it_is_named() {
        let mut log = [
            entry("09:00:00", "send", "k1", serde_json::json!({})),
            entry("10:00:00", "send", "k2", serde_json::json!({})),
        ];
        log[1].time_zone = Some("Europe/Berlin".to_owned());
        let reader = Reader::of(&log, "UTC");
        assert_eq!(reader.zone(), "Europe/Berlin");
        assert_eq!(reader.when(&log[0], log[0].decided_at), "2026-03-02 10:00");
    }
}
