//! `replay`: a recorded log through the configured flows, without Kafka.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::paint::Paint;
use super::{Environment, Exit, Output, Settings, Stop, instant, named_input, progress};
use crate::app::load;
use crate::bus::InputId;
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, Format, Keying, stream_name};
use crate::engine::Plan;
use crate::event::EventType;
use crate::plan;
use crate::recording::Lines;
use crate::replay::diff::{self, Comparison};
use crate::replay::{self, Counts, Log, Outcome, Progress, ReplayError, Table, Wanted};
use crate::task::fold::{ClockKind, FoldPlan};
use crate::value::{Money, Timestamp};

mod difference;

use difference::Telling;

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    settings: Settings,
    /// Recorded events as JSON Lines, plain or gzip, all streams mixed, in arrival order; `-` is standard input
    #[arg(short, long, value_name = "FILE", num_args = 1.., required = true)]
    events: Vec<PathBuf>,
    /// The events are records of this input, in its own shape: its filter and mapping apply; else they are in tidegate's
    #[arg(long, value_name = "NAME")]
    input: Option<String>,
    /// Let the clock run on to this time after the last event
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<Timestamp>,
    /// Write the decision log there, one verdict per line; `-` is standard output
    #[arg(long, value_name = "FILE")]
    decisions: Option<PathBuf>,
    /// Write lines that are no events there, with the reason
    #[arg(long, value_name = "FILE")]
    dead_letters: Option<PathBuf>,
    /// Write every profile there as it stands in the end, one per line, by key
    #[arg(long, value_name = "FILE")]
    profiles: Option<PathBuf>,
    /// Partitions, each with a clock of its own; default: topics.partitions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=4096))]
    partitions: Option<i32>,
    /// Compare with these flows, a file or a directory: what the configuration's flows decide otherwise over the same events
    #[arg(long, value_name = "OLD_FLOWS", conflicts_with_all = ["decisions", "dead_letters", "profiles"])]
    diff: Option<PathBuf>,
    /// With --diff: how many examples of each kind of difference
    #[arg(long, value_name = "N", default_value_t = 3, requires = "diff")]
    samples: usize,
    /// Threads; default: one per core. The result is the same with any number of them
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

impl From<ReplayError> for Stop {
    fn from(error: ReplayError) -> Self {
        match &error {
            ReplayError::Recording(_) | ReplayError::Spool(_) => Self::of(Exit::Io, &error),
            ReplayError::Store(_) => Self::of(Exit::Failure, &error),
        }
    }
}

/// What a replay works with, read and checked.
struct Ready {
    config: Config,
    shared: Arc<FoldPlan>,
    /// With `--diff`: the same under the old flows.
    old: Option<Arc<FoldPlan>>,
    input: Option<InputId>,
    partitions: i32,
    threads: usize,
}

impl Replay {
    pub(super) fn run(mut self, environment: &Environment, output: Output<'_>) -> Result<(), Stop> {
        let ready = self.ready(environment)?;
        let bytes = self.events.iter().map(std::fs::metadata);
        let bytes = bytes
            .map(|found| found.map_or(0, |found| found.len()))
            .sum();
        let lines = Lines::of(std::mem::take(&mut self.events));
        let wall = SystemClock::new().wall();
        let progress = Progress::default();
        let read = || {
            let Ready { config, shared, .. } = &ready;
            Log::read(
                config,
                shared,
                ready.partitions,
                lines,
                ready.input,
                &progress,
            )
        };
        let Some(old) = &ready.old else {
            let wanted = Wanted {
                until: self.until,
                decisions: self.decisions.is_some(),
                dead_letters: self.dead_letters.is_some(),
                profiles: self.profiles.is_some(),
                threads: ready.threads,
            };
            let outcome = progress::shown(&progress, bytes, || {
                replay::replay(&read()?, &ready.shared, wanted, wall, &progress)
            })?;
            return self.write(outcome, &ready, output);
        };
        let comparison = Comparison {
            old: Arc::clone(old),
            new: Arc::clone(&ready.shared),
            until: self.until,
            samples: self.samples,
            threads: ready.threads,
        };
        let (records, difference) = progress::shown(&progress, bytes, || {
            let log = read()?;
            let difference = diff::compare(&log, &comparison, wall, &progress)?;
            Ok::<_, ReplayError>((log.records(), difference))
        })?;
        let telling = Telling {
            paint: Paint::of(environment),
            zone: &ready.config.shop.time_zone,
            old: &old.plan.flows,
            new: &ready.shared.plan.flows,
            records,
        };
        output.write_all(telling.tell(&difference).as_bytes())?;
        Ok(())
    }

    fn ready(&self, environment: &Environment) -> Result<Ready, Stop> {
        let (mut config, mut plan) = self.settings.load_with_flows(environment)?;
        if let Some(partitions) = self.partitions {
            config.topics.partitions = partitions;
            // Budgets are split over those that there are.
            plan.policy.partitions = u32::try_from(partitions).unwrap_or(1);
        }
        let input = self.input.as_deref().map(|name| named_input(&config, name));
        let input = input.transpose()?;
        for of_config in &mut config.inputs {
            // A recorded log is JSON, whatever its input's records are on the bus, and in our own shape unless it is said whose it is.
            of_config.format = Format::Json;
            // Its lines are placed by whose they are.
            of_config.key = Keying::CustomerId;
            if input.is_none() {
                of_config.mapping = None;
                of_config.filter = None;
            }
        }
        let under = |plan: Plan| {
            plan::fold_plan(&config, plan, ClockKind::Records)
                .map(Arc::new)
                .map_err(|error| Stop::of(Exit::Config, &error))
        };
        let old = match &self.diff {
            Some(path) => {
                let flows = load::other_flows(&config, std::slice::from_ref(path))?;
                let policy = plan.policy.clone();
                Some(under(Plan { flows, policy })?)
            }
            None => None,
        };
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Ready {
            shared: under(plan)?,
            old,
            input,
            partitions: config.topics.partitions,
            threads: self.threads.unwrap_or_else(all),
            config,
        })
    }

    fn write(&self, outcome: Outcome, ready: &Ready, output: Output<'_>) -> Result<(), Stop> {
        let money = |amount: Money| {
            let digits = ready.shared.plan.policy.currency_digits;
            format!("{} {}", amount.decimal(digits), ready.config.shop.currency)
        };
        let told = report(&outcome, &money);
        let Outcome {
            decisions,
            dead_letters,
            profiles,
            ..
        } = outcome;
        let decisions = decisions.into_iter().map(|(_, line)| line);
        write_lines(self.decisions.as_deref(), decisions, output)?;
        write_lines(self.dead_letters.as_deref(), dead_letters, output)?;
        write_lines(self.profiles.as_deref(), profiles.into_values(), output)?;
        // Nobody is left to tell when standard error is closed.
        drop(std::io::stderr().write_all(told.as_bytes()));
        Ok(())
    }
}

fn write_lines(
    path: Option<&Path>,
    lines: impl IntoIterator<Item = Vec<u8>>,
    output: Output<'_>,
) -> Result<(), Stop> {
    let Some(path) = path else {
        return Ok(());
    };
    if path == Path::new("-") {
        for line in lines {
            output.write_all(&line)?;
            output.write_all(b"\n")?;
        }
        return Ok(());
    }
    let failed = |error: std::io::Error| {
        Stop::new(
            Exit::Io,
            format!("cannot write {}: {error}", path.display()),
        )
    };
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    for line in lines {
        file.write_all(&line).map_err(failed)?;
        file.write_all(b"\n").map_err(failed)?;
    }
    file.flush().map_err(failed)
}

/// What is told on standard error.
fn report(outcome: &Outcome, money: &dyn Fn(Money) -> String) -> String {
    let mut text = table(&outcome.table);
    text.push('\n');
    text.push_str(&counts(&outcome.counts, money));
    text
}

fn table(table: &Table) -> String {
    let mut rows = vec![["flow", "verdict", "reason", "count"].map(str::to_owned)];
    for ((flow, verdict, reason), count) in table {
        let flow = if flow.is_empty() { "-" } else { flow };
        rows.push([
            flow.to_owned(),
            verdict.name().to_owned(),
            reason.clone(),
            count.to_string(),
        ]);
    }
    let width = |column: fn(&[String; 4]) -> &String| {
        rows.iter()
            .map(|row| column(row).chars().count())
            .max()
            .unwrap_or_default()
    };
    let (flow, verdict) = (width(|[flow, ..]| flow), width(|[_, verdict, ..]| verdict));
    let (reason, count) = (
        width(|[_, _, reason, _]| reason),
        width(|[.., count]| count),
    );
    let mut text = String::new();
    for [a, b, c, d] in &rows {
        text.push_str(&format!(
            "{a:flow$}  {b:verdict$}  {c:reason$}  {d:>count$}\n"
        ));
    }
    text
}

fn counts(counts: &Counts, money: &dyn Fn(Money) -> String) -> String {
    let mut text = String::new();
    let mut line = |what: &str, count: u64, more: &str| {
        text.push_str(&format!("{what:<40} {count:>10}{more}\n"));
    };
    for (kind, count) in &counts.folded {
        let sum = if *kind == EventType::OrderCompleted {
            format!("  {}", money(counts.ordered))
        } else if *kind == EventType::OrderRefunded {
            format!("  {}", money(counts.refunded))
        } else {
            String::new()
        };
        line(&format!("folded {}", kind.name()), *count, &sum);
    }
    line("folded", counts.folded.values().sum(), "");
    if counts.unconverted > 0 {
        line("folded, money without a rate", counts.unconverted, "");
    }
    line("duplicates", counts.duplicates, "");
    if counts.erased > 0 {
        line("of erased customers, dropped", counts.erased, "");
    }
    for (kind, count) in &counts.unattributed {
        line(&format!("unattributed {}", kind.name()), *count, "");
    }
    line("unattributed", counts.unattributed.values().sum(), "");
    for (code, count) in &counts.dead_letters {
        line(&format!("dead letters {code}"), *count, "");
    }
    line("dead letters", counts.dead_letters.values().sum(), "");
    for (left, count) in &counts.left {
        line(&format!("left out, {}", left.name()), *count, "");
    }
    for (stream, count) in &counts.unread {
        line(
            &format!("left out, no input for {}", stream_name(*stream)),
            *count,
            "",
        );
    }
    text
}
