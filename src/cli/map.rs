//! `map`: what the records of an input become, field by field, and what of them nobody looked at.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::{Environment, Exit, Output, Settings, Stop, named_input};
use crate::bus::InputId;
use crate::event::DecodeContext;
use crate::event::mapping::{Beside, Explained, Mapped, Read};
use crate::plan;
use crate::recording::Lines;

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct Map {
    #[command(flatten)]
    settings: Settings,
    /// The input whose filter and mapping are to be tried
    #[arg(short, long, value_name = "NAME")]
    input: String,
    /// Its records as JSON Lines, one value each, plain or gzip; `-` is standard input
    #[arg(short, long, value_name = "FILE", num_args = 1.., required = true)]
    events: Vec<PathBuf>,
    /// Only count what they become
    #[arg(long)]
    summary: bool,
}

/// Different rows of the summary; whatever comes after them is counted as one.
const MOST_ROWS: usize = 1_000;

impl Map {
    pub(super) fn run(self, environment: &Environment, output: Output<'_>) -> Result<(), Stop> {
        let config = self.settings.load(environment)?;
        let InputId(number) = named_input(&config, &self.input)?;
        let input = config.inputs.get(usize::from(number).saturating_sub(1));
        let reading = match input.map(plan::reading).transpose() {
            Ok(reading) => reading.flatten().unwrap_or_default(),
            Err(error) => return Err(Stop::of(Exit::Config, &error)),
        };
        let rules = plan::decode_rules(&config);
        let context = DecodeContext {
            rules: &rules,
            record_timestamp: None,
        };
        let mut lines = Lines::of(self.events);
        let (mut line, mut number) = (Vec::new(), 0_u64);
        let mut summary = Summary::default();
        let failed = |error| Stop::of(Exit::Io, &error);
        while lines.next_into(&mut line).map_err(failed)? {
            number += 1;
            let explained = reading.explain(&line, Beside::default(), &context);
            summary.count(&explained);
            if !self.summary {
                write!(output, "{}", shown(number, &explained))?;
            }
        }
        write!(output, "{}", summary.shown(number))?;
        Ok(())
    }
}

/// What became of one record, in one word or type, and what the bus calls it.
fn outcome(explained: &Explained) -> (String, String) {
    let name = explained.name.clone().unwrap_or_default();
    let became = match &explained.read {
        Ok(Read::Event(event)) => event.kind.name().to_owned(),
        Ok(Read::Left(left)) => format!("left out, {}", left.name()),
        Err(error) => format!("refused, {error}"),
    };
    (became, name)
}

/// One record: what it became, where each field came from, and what nobody looked at.
fn shown(number: u64, explained: &Explained) -> String {
    let (became, name) = outcome(explained);
    let name = if name.is_empty() {
        name
    } else {
        format!(" \"{name}\"")
    };
    let mut text = format!("{number}{name} → {became}\n");
    let width = |length: fn(&Mapped) -> usize| {
        explained
            .fields
            .iter()
            .map(length)
            .max()
            .unwrap_or_default()
    };
    let ours = width(|field| field.ours.chars().count());
    let value = width(|field| field.value.chars().count()).min(48);
    for field in &explained.fields {
        let theirs = field.theirs.as_deref().unwrap_or("(default)");
        text.push_str(&format!(
            "  {:ours$}  {:value$}  {theirs}\n",
            field.ours, field.value
        ));
    }
    if !explained.unused.is_empty() {
        text.push_str(&format!(
            "  not looked at: {}\n",
            explained.unused.join(", ")
        ));
    }
    text
}

/// How many records became what.
#[derive(Default)]
struct Summary {
    rows: BTreeMap<(String, String), u64>,
    others: u64,
}

impl Summary {
    fn count(&mut self, explained: &Explained) {
        let (became, name) = outcome(explained);
        let row = (without_places(&became), name);
        if self.rows.len() < MOST_ROWS || self.rows.contains_key(&row) {
            *self.rows.entry(row).or_default() += 1;
        } else {
            self.others += 1;
        }
    }

    fn shown(&self, records: u64) -> String {
        let mut text = format!("{records:>9}  records\n");
        for ((became, name), count) in &self.rows {
            let name = if name.is_empty() {
                String::new()
            } else {
                format!("  \"{name}\"")
            };
            text.push_str(&format!("{count:>9}  {became}{name}\n"));
        }
        if self.others > 0 {
            text.push_str(&format!(
                "{:>9}  of more kinds than are listed here\n",
                self.others
            ));
        }
        text
    }
}

/// `products[3].price` → `products[].price`: the same cause is one row.
fn without_places(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(before);
        out.push('[');
        rest = match after.split_once(']') {
            Some((place, _)) if place.bytes().all(|b| b.is_ascii_digit()) => {
                after.get(place.len()..).unwrap_or_default()
            }
            Some(_) | None => after,
        };
    }
    out.push_str(rest);
    out
}
