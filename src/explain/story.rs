//! What is asked for, found among a customer's decisions, with what led there and what became of it.

use std::collections::BTreeSet;

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
        let same_instance = |entry: &&Entry| {
            entry.flow.is_some() && (&entry.flow, &entry.instance) == (&asked.flow, &asked.instance)
        };
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
        let spoke = self
            .asked
            .iter()
            .find(|entry| entry.kind == VerdictKind::Send)
            .copied();
        match (self.asked.is_empty(), spoke) {
            (false, Some(sent)) => self.notes.push(format!(
                "They did get it, as far as it is ours to say: `{flow}` handed a message over at {}.",
                reader.when(sent, sent.decided_at)
            )),
            (false, None) => self
                .notes
                .push(format!("`{flow}` handed nothing over in the three days before and after.")),
            (true, _) => self.nothing(flow, at, &own, entries, window, reader),
        }
        if spoke.is_none() {
            self.in_force = in_force(entries, at);
        }
    }

    /// Nothing was decided: that too has its reasons, and the log can only bound them.
    fn nothing(
        &mut self,
        flow: &str,
        at: Timestamp,
        own: &[&Entry],
        entries: &[Entry],
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
                let show = |at: Timestamp| {
                    entries.first().map_or_else(|| at.to_string(), |entry| reader.when(entry, at))
                };
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
