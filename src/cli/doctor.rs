//! `doctor`: one screen that says what would go wrong.

use clap::Args;

use super::{Environment, Exit, Output, Settings, Stop};
use crate::app::doctor::{self, Finding, Grade};

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    settings: Settings,
    /// Print the findings as one JSON array
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Prints every finding. Ends with 0 when nothing is bad, with 1 when something is.
    pub(super) fn run(&self, environment: &Environment, output: Output<'_>) -> Result<(), Stop> {
        let (config, flows) = self.settings.load_with_flows(environment)?;
        let findings = doctor::examine(&config, flows)?;
        if self.json {
            let text = serde_json::to_string_pretty(&findings)
                .map_err(|error| Stop::of(Exit::Failure, &error))?;
            writeln!(output, "{text}")?;
        } else {
            print(&findings, output)?;
        }
        let bad = count(&findings, Grade::Bad);
        if bad == 0 {
            return Ok(());
        }
        let text = format!("{bad} of {} findings would stop or harm it", findings.len());
        Err(Stop::new(Exit::Failure, text))
    }
}

fn count(findings: &[Finding], grade: Grade) -> usize {
    let of = |finding: &&Finding| finding.grade == grade;
    findings.iter().filter(of).count()
}

fn print(findings: &[Finding], output: Output<'_>) -> Result<(), Stop> {
    let width = findings
        .iter()
        .map(|finding| finding.what.chars().count())
        .max()
        .unwrap_or(0)
        .min(40);
    for finding in findings {
        let mark = match finding.grade {
            Grade::Good => "ok   ",
            Grade::Warn => "WARN ",
            Grade::Bad => "BAD  ",
            Grade::Untold => "?    ",
        };
        writeln!(output, "{mark} {:width$}  {}", finding.what, finding.found)?;
        for (label, text) in [("wanted", &finding.wanted), ("do", &finding.remedy)] {
            if !text.is_empty() {
                writeln!(output, "      {:width$}  {label}: {text}", "")?;
            }
        }
    }
    writeln!(
        output,
        "\n{} looked at: {} ok, {} to know of, {} bad, {} not told",
        findings.len(),
        count(findings, Grade::Good),
        count(findings, Grade::Warn),
        count(findings, Grade::Bad),
        count(findings, Grade::Untold),
    )?;
    Ok(())
}
