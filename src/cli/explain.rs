//! `explain`: why a customer did or did not get something, from the decision log.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::paint::{Paint, Tone};
use super::{Environment, Exit, Output, Settings, Stop, instant};
use crate::decision::VerdictKind;
use crate::explain::{Account, CheckRead, Entry, Question, Reader, Window};
use crate::recording::Lines;
use crate::value::{ProfileKey, Timestamp};
use crate::words::wrapped;

/// Columns that sentences are broken at.
const WIDTH: usize = 100;

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    settings: Settings,
    /// Of this customer
    #[arg(
        long,
        value_name = "ID",
        required_unless_present = "anonymous",
        conflicts_with = "anonymous"
    )]
    customer: Option<String>,
    /// Of this visitor, while the customer is unknown
    #[arg(long, value_name = "ID")]
    anonymous: Option<String>,
    /// Only this decision, with its checks, what led to it and what became of it
    #[arg(long, value_name = "ID", conflicts_with = "flow")]
    decision: Option<String>,
    /// Why this flow did, or did not, speak around --at
    #[arg(long, value_name = "NAME", requires = "at")]
    flow: Option<String>,
    /// With --flow: when
    #[arg(long, value_name = "TIME", requires = "flow", value_parser = instant)]
    at: Option<Timestamp>,
    /// Read the decision log from these files (as `replay --decisions` writes them, plain or gzip; `-` is standard input); else from Kafka
    #[arg(long, value_name = "FILE", num_args = 1..)]
    log: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn run(self, environment: &Environment, output: Output<'_>) -> Result<(), Stop> {
        let key = match (&self.customer, &self.anonymous) {
            (Some(id), _) => ProfileKey::customer(id),
            (None, Some(id)) => ProfileKey::anonymous(id),
            (None, None) => {
                return Err(Stop::new(Exit::Usage, "write --customer or --anonymous"));
            }
        };
        let (mut found, zone) = if self.log.is_empty() {
            self.read_topic(environment, &key)?
        } else {
            let mut found = Found::new(key.as_str());
            let mut lines = Lines::of(self.log.clone());
            let mut line = Vec::new();
            let failed = |error| Stop::of(Exit::Io, &error);
            while lines.next_into(&mut line).map_err(failed)? {
                found.take(&line);
            }
            // A log that was copied off may have no configuration beside it; then only the zone of customers without one is unknown.
            let config = Path::new(&self.settings.config)
                .exists()
                .then(|| self.settings.load(environment).ok());
            let zone = config.flatten().map(|config| config.shop.time_zone);
            (found, zone.unwrap_or_else(|| "UTC".to_owned()))
        };
        let question = match (&self.decision, &self.flow, self.at) {
            (Some(id), _, _) => Question::Decision(id.clone()),
            (None, Some(flow), Some(at)) => Question::Flow {
                flow: flow.clone(),
                at,
            },
            (None, _, _) => Question::All,
        };
        if let Question::Flow { flow, .. } = &question
            && !found.flows.contains(flow)
            && Path::new(&self.settings.config).exists()
            && let Ok((_, plan)) = self.settings.load_with_flows(environment)
        {
            // A flow that never spoke to anybody is known all the same.
            let configured = plan.flows.current().keys();
            found.flows.extend(configured.map(ToString::to_string));
        }
        let Found {
            entries,
            window,
            flows,
            ..
        } = found.in_order();
        let reader = Reader::of(&entries, &zone);
        let account = Account::of(&question, &entries, window, &flows, &reader);
        let telling = Telling {
            reader: &reader,
            paint: Paint::of(environment),
            profile: key.as_str(),
            details: matches!(question, Question::Decision(_)),
        };
        if self.json {
            writeln!(output, "{}", telling.json(&account, window))?;
        } else {
            output.write_all(telling.text(&account, entries.len(), window).as_bytes())?;
        }
        output.flush()?;
        if account.is_unknown {
            return Err(Stop::new(Exit::Failure, ""));
        }
        Ok(())
    }

    #[cfg(feature = "kafka")]
    fn read_topic(
        &self,
        environment: &Environment,
        key: &ProfileKey,
    ) -> Result<(Found, String), Stop> {
        let config = self.settings.load(environment)?;
        let settings = crate::app::kafka::settings(&config, 0)?;
        let topic = crate::config::internal_topic(&config.app.id, "decisions");
        let profile = key.as_str();
        let partition = crate::partitioner::partition(profile.as_bytes(), config.topics.partitions);
        let mut found = Found::new(profile);
        found.window.partition = Some(partition);
        let clock = crate::clock::SystemClock::new();
        let mut lines = crate::app::registry::LogLines::of(&config)?;
        let mut take = |value: &[u8]| found.take(&lines.line(value));
        crate::bus::kafka::audit::read_decisions(&settings, &clock, &topic, partition, &mut take)?;
        Ok((found, config.shop.time_zone))
    }

    #[cfg(not(feature = "kafka"))]
    fn read_topic(&self, _: &Environment, _: &ProfileKey) -> Result<(Found, String), Stop> {
        let text =
            "this program was built without a Kafka client: give the decision log with --log";
        Err(Stop::new(Exit::Usage, text))
    }
}

/// What the log holds of one customer.
struct Found {
    profile: String,
    entries: Vec<Entry>,
    window: Window,
    /// That any decision is of, of whomever.
    flows: BTreeSet<String>,
}

impl Found {
    fn new(profile: &str) -> Self {
        Self {
            profile: profile.to_owned(),
            entries: Vec::new(),
            window: Window::default(),
            flows: BTreeSet::new(),
        }
    }

    fn take(&mut self, line: &[u8]) {
        /// As much as is looked at of other customers' decisions.
        #[derive(serde::Deserialize)]
        struct Dated {
            decided_at: Timestamp,
            #[serde(default)]
            flow: Option<String>,
        }
        let id = self.profile.split_once(':').map_or("", |(_, id)| id);
        let may_be = line.windows(id.len().max(1)).any(|part| part == id.as_bytes())
            // An id that JSON writes otherwise than it is.
            || line.contains(&b'\\');
        if may_be && let Some(entry) = Entry::read(line) {
            self.window.note(Some(entry.decided_at));
            self.note_flow(entry.flow.as_deref());
            if entry.is_about(&self.profile) {
                self.entries.push(entry);
            }
            return;
        }
        let dated = serde_json::from_slice::<Dated>(line).ok();
        self.window
            .note(dated.as_ref().map(|dated| dated.decided_at));
        self.note_flow(dated.as_ref().and_then(|dated| dated.flow.as_deref()));
    }

    fn note_flow(&mut self, flow: Option<&str>) {
        if let Some(flow) = flow
            && !self.flows.contains(flow)
        {
            self.flows.insert(flow.to_owned());
        }
    }

    /// Partitions and files may come in any order; what was decided at one instant stays as it was read.
    fn in_order(mut self) -> Self {
        self.entries.sort_by_key(|entry| entry.decided_at);
        self
    }
}

struct Telling<'a> {
    reader: &'a Reader,
    paint: Paint,
    profile: &'a str,
    /// Tell of the checks, too.
    details: bool,
}

impl Telling<'_> {
    fn text(&self, account: &Account<'_>, known: usize, window: Window) -> String {
        // Of a topic only the customer's partition is read: its decisions are not all that there are.
        let read = window.partition.map_or_else(
            || "the log".to_owned(),
            |partition| format!("partition {partition}, where theirs stand,"),
        );
        let mut text = format!(
            "{}  {known} of the {} decisions in {read} are theirs; times in {}\n",
            self.paint.on(Tone::Title, self.profile),
            crate::words::count(window.lines),
            self.reader.zone()
        );
        if window.unreadable > 0 {
            let unreadable = crate::words::count(window.unreadable);
            text.push_str(&format!("{unreadable} lines of the log are no decisions\n"));
        }
        for note in &account.notes {
            text.push_str(&format!("\n{}\n", wrapped(note, WIDTH, 0)));
        }
        for entry in &account.asked {
            text.push_str(&self.entry(entry));
            if self.details {
                text.push_str(&self.checks(entry));
            }
        }
        for (title, entries) in [
            ("What led there", &account.before),
            ("What became of it", &account.after),
            ("Suppressions in force then", &account.in_force),
        ] {
            if !entries.is_empty() {
                text.push_str(&format!("\n{}\n", self.paint.on(Tone::Title, title)));
            }
            for entry in entries {
                text.push_str(&self.entry(entry));
            }
        }
        text
    }

    /// When, in a sentence, and from what.
    fn entry(&self, entry: &Entry) -> String {
        let when = self.reader.when(entry, entry.decided_at);
        let tone = match entry.kind {
            VerdictKind::Send => Tone::Plus,
            VerdictKind::Cancel | VerdictKind::Refuse | VerdictKind::Skip => Tone::Minus,
            VerdictKind::Defer | VerdictKind::Observe | VerdictKind::Expire => Tone::Other,
            VerdictKind::Suppress | VerdictKind::Release | VerdictKind::Outcome => Tone::Faint,
        };
        let kind = self.paint.on(tone, &format!("{:<8}", entry.kind.name()));
        let sentence = wrapped(&self.reader.sentence(entry), WIDTH - 31, 31);
        let cause = &entry.cause;
        let event = format!(
            "event {}, {} partition {} offset {}",
            cause.event_id, cause.topic, cause.partition, cause.offset
        );
        let id = &entry.decision_id;
        let fits = 31 + id.len() + 2 + event.chars().count() <= WIDTH;
        let event = wrapped(&event, WIDTH - 31, 31);
        let from = if fits {
            format!("{:31}{id}  {event}", "")
        } else {
            format!("{:31}{id}\n{:31}{event}", "", "")
        };
        let from = self.paint.on(Tone::Faint, &from);
        format!("\n{when:<19}  {kind}  {sentence}\n{from}\n")
    }

    /// The checks that were met, in order.
    fn checks(&self, entry: &Entry) -> String {
        if entry.checks.is_empty() {
            return "\nNo check of the gate was needed.\n".to_owned();
        }
        let mut text = format!("\n{}\n", self.paint.on(Tone::Title, "Checks, in order"));
        for CheckRead {
            check,
            passed,
            detail,
            ..
        } in &entry.checks
        {
            let sign = if *passed {
                self.paint.on(Tone::Plus, "✓")
            } else {
                self.paint.on(Tone::Minus, "✗")
            };
            // As the sentence has it, not as the wire does.
            let detail = crate::words::with_times(detail, |at| self.reader.at(at));
            let line = format!("  {sign} {check:<16} {detail}");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn json(&self, account: &Account<'_>, window: Window) -> Value {
        let entries = |entries: &[&Entry]| -> Vec<Value> {
            entries.iter().map(|entry| self.entry_json(entry)).collect()
        };
        let (from, to) = window.span.unzip();
        json!({
            "profile": self.profile,
            "decisions": entries(&account.asked),
            "led_there": entries(&account.before),
            "became_of_it": entries(&account.after),
            "suppressions_in_force": entries(&account.in_force),
            "notes": account.notes,
            "log": { "partition": window.partition, "decisions": window.lines, "unreadable": window.unreadable, "from": from, "to": to },
        })
    }

    fn entry_json(&self, entry: &Entry) -> Value {
        json!({
            "decision_id": entry.decision_id,
            "decided_at": entry.decided_at,
            "verdict": entry.kind.name(),
            "reason": entry.reason,
            "sentence": self.reader.sentence(entry),
            "flow": entry.flow,
            "instance": entry.instance,
            "step": entry.step,
            "channel": entry.channel,
            "cause": entry.cause,
            "checks": entry.checks,
        })
    }
}
