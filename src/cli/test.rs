//! `test`: the tests that stand beside flows.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;

use super::paint::{Paint, Tone};
use super::{Environment, Exit, Output, Stop};
use crate::app::load;
use crate::config::{Config, Overrides};
use crate::trial::{self, Outcome, Report, Setting};

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct Test {
    /// Flow files, or directories of them; default: those of the configuration. The flows that a test names with `with` come from there, from
    /// the configuration's set, or from the file's directory
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The configuration; without it, and with paths, a shop with three channels and the shipped policy
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Lay one setting over the configuration, as in --set control_group=0%; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Only tests whose name or flow contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Tell what no test reaches: flows, steps, exits, reasons
    #[arg(long)]
    coverage: bool,
}

impl Test {
    pub(super) fn run(self, environment: &Environment, output: Output<'_>) -> Result<(), Stop> {
        let overrides = Overrides {
            variables: environment.iter().cloned().collect(),
            flags: self.set,
        };
        let config = match (&self.config, self.paths.is_empty()) {
            (Some(path), _) => Some(path.clone()),
            (None, true) => Some(PathBuf::from("tidegate.yaml")),
            (None, false) => None,
        };
        let configured = match &config {
            Some(path) => Config::load(path, &overrides)?.flows.0,
            None => Vec::new(),
        };
        let (files, beside) = if self.paths.is_empty() {
            (load::flow_texts(&configured)?, Vec::new())
        } else {
            let files = load::flow_texts(&self.paths)?;
            let set = if config.is_some() {
                configured
            } else {
                directories(&self.paths)
            };
            (files, load::flow_texts(&set)?)
        };
        let setting = Setting {
            config: config.as_deref(),
            overrides: &overrides,
        };
        let report =
            trial::run(&files, &beside, setting, self.only.as_deref()).map_err(|problems| {
                let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
                let count = match all.len() {
                    1 => "1 problem".to_owned(),
                    several => format!("{several} problems"),
                };
                let text = format!("{}\n{count}", all.join("\n"));
                Stop::new(Exit::Config, text)
            })?;
        tell(&report, self.coverage, Paint::of(environment), output)
    }
}

/// The directories that single files stand in: the set that they are of.
fn directories(paths: &[PathBuf]) -> Vec<PathBuf> {
    let files = paths.iter().filter(|path| path.is_file());
    let directories = files.filter_map(|file| file.parent()).map(|parent| {
        if parent.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            parent.to_owned()
        }
    });
    directories.collect::<BTreeSet<_>>().into_iter().collect()
}

fn tell(report: &Report, coverage: bool, paint: Paint, output: Output<'_>) -> Result<(), Stop> {
    let (ok, fail) = (paint.on(Tone::Plus, "ok  "), paint.on(Tone::Minus, "FAIL"));
    let mut failed = 0;
    for played in &report.played {
        match &played.outcome {
            Outcome::Passed => writeln!(output, "{ok}  {}: {}", played.flow, played.name)?,
            Outcome::Failed(difference) => {
                failed += 1;
                writeln!(output, "{fail}  {}: {}", played.flow, played.name)?;
                writeln!(output, "  {}", played.place)?;
                let mut passed = false;
                for line in difference.to_string().lines() {
                    let trimmed = line.trim_start();
                    // The names of those that passed may need several lines.
                    passed = trimmed.starts_with('✓') || (passed && line.starts_with("          "));
                    let shown = match (passed, trimmed.starts_with('✗')) {
                        (true, _) => paint.on(Tone::Faint, line),
                        (false, true) => paint.on(Tone::Minus, line),
                        (false, false) => line.to_owned(),
                    };
                    writeln!(output, "{shown}")?;
                }
            }
            Outcome::Broken(why) => {
                failed += 1;
                writeln!(output, "{fail}  {}: {}", played.flow, played.name)?;
                writeln!(output, "  {}", played.place)?;
                writeln!(output, "  it cannot be played: {why}")?;
            }
        }
    }
    let count = report.played.len();
    let tests = if count == 1 { "test" } else { "tests" };
    writeln!(output, "{count} {tests}, {failed} failed")?;
    if coverage {
        write!(output, "{}", report.coverage)?;
    }
    if failed > 0 {
        output.flush()?;
        return Err(Stop::new(Exit::Failure, ""));
    }
    Ok(())
}
