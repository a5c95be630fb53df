//! `dlq`: the records that could not be understood, and another try at them.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Environment, Output, Settings, Stop};
use crate::app::dlq::{self, Wanted};
use crate::outbound::letter::Letter;
use crate::value::Timestamp;
use crate::words::count;

/// What is asked for.
#[derive(Debug, Subcommand)]
pub(super) enum DlqCommand {
    /// What waits there: how many of which kind, from where, since when
    List(List),
    /// Try them again once the cause is mended: what is an event now goes to its profile, each once; the rest stays
    Replay(Replay),
}

/// Which letters.
#[derive(Debug, Args)]
struct Choice {
    /// Only those read from this topic
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Only those refused for this, as `list` names it
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    choice: Choice,
    /// Print one JSON object per letter: where it stood, when, why; never what it says
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    choice: Choice,
}

impl From<Choice> for Wanted {
    fn from(choice: Choice) -> Self {
        Self {
            topic: choice.topic,
            reason: choice.reason,
        }
    }
}

impl DlqCommand {
    pub(super) fn run(self, environment: &Environment, output: Output<'_>) -> Result<(), Stop> {
        match self {
            Self::List(list) => list.run(environment, output),
            Self::Replay(replay) => replay.run(environment, output),
        }
    }
}

/// Letters of one kind.
struct Kind {
    letters: u64,
    first: Timestamp,
    last: Timestamp,
    example: String,
    message: String,
}

fn place(letter: &Letter) -> String {
    format!(
        "partition {} offset {}",
        letter.record.partition, letter.record.offset
    )
}

fn reason(letter: &Letter) -> &str {
    letter.class.rsplit('.').next().unwrap_or_default()
}

impl List {
    fn run(self, environment: &Environment, output: Output<'_>) -> Result<(), Stop> {
        let config = self.settings.load(environment)?;
        let wanted = self.choice.into();
        if self.json {
            return dlq::list(&config, &wanted, &mut |letter| {
                let line = json!({
                    "topic": letter.topic, "partition": letter.record.partition, "offset": letter.record.offset,
                    "at": letter.record.timestamp, "reason": reason(&letter), "message": letter.message, "whole": letter.whole,
                });
                Ok(writeln!(output, "{line}")?)
            });
        }
        let mut kinds: BTreeMap<(String, String), Kind> = BTreeMap::new();
        dlq::list(&config, &wanted, &mut |letter| {
            let at = letter.record.timestamp;
            let key = (letter.topic.clone(), reason(&letter).to_owned());
            let kind = kinds.entry(key).or_insert_with(|| Kind {
                letters: 0,
                first: at,
                last: at,
                example: place(&letter),
                message: letter.message.clone(),
            });
            kind.letters += 1;
            kind.first = kind.first.min(at);
            kind.last = kind.last.max(at);
            Ok(())
        })?;
        let all: u64 = kinds.values().map(|kind| kind.letters).sum();
        writeln!(
            output,
            "{} dead letters in {}-dlq",
            count(all),
            config.app.id
        )?;
        for ((topic, reason), kind) in kinds {
            writeln!(
                output,
                "\n  {:>7}  {reason} from {topic}, {} to {}\n           first: {}: {}",
                count(kind.letters),
                kind.first,
                kind.last,
                kind.example,
                kind.message
            )?;
        }
        Ok(())
    }
}

impl Replay {
    fn run(self, environment: &Environment, output: Output<'_>) -> Result<(), Stop> {
        let (config, flows) = self.settings.load_with_flows(environment)?;
        let replayed = dlq::replay(&config, flows, &self.choice.into())?;
        writeln!(
            output,
            "{} handed on to their profiles, {} left out as configured",
            count(replayed.handed_on),
            count(replayed.left)
        )?;
        for (why, letters) in replayed.stay {
            writeln!(output, "{} stay: {why}", count(letters))?;
        }
        Ok(())
    }
}
