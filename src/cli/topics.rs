//! `topics`: what has to be there, and making it so.

use clap::{Args, Subcommand};

use super::{Environment, Exit, Output, Settings, Stop};
use crate::app::{kafka, rights};
use crate::bus::kafka::admin::{Admin, TopicProblem, TopicSpec};
use crate::bus::kafka::probe::Right;
use crate::config::Config;

/// What is asked for.
#[derive(Debug, Subcommand)]
pub(super) enum TopicsCommand {
    /// Print every topic that the application touches, as it should be, and the rights that it and people's commands need; asks no broker
    Print(Settings),
    /// Create the topics of ours that are missing, and tell what differs
    Apply(Settings),
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(super) struct Topics {
    /// Print the commands that grant exactly the rights it needs, and behind them those that `dlq`, `explain`, `feed`, `erase` and `reset` need beside
    #[arg(long)]
    acls: bool,
    /// To whom --acls grants them
    #[arg(
        long,
        value_name = "PRINCIPAL",
        default_value = "User:tidegate",
        requires = "acls"
    )]
    principal: String,
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<TopicsCommand>,
}

impl Topics {
    pub(super) fn run(self, environment: &Environment, output: Output<'_>) -> Result<(), Stop> {
        match self.command {
            Some(TopicsCommand::Print(settings)) => print(&settings.load(environment)?, output),
            Some(TopicsCommand::Apply(settings)) => apply(&settings.load(environment)?, output),
            None if self.acls => acls(&self.settings.load(environment)?, &self.principal, output),
            None => Err(Stop::new(
                Exit::Usage,
                "write `topics print`, `topics apply` or `topics --acls`",
            )),
        }
    }
}

fn print(config: &Config, output: Output<'_>) -> Result<(), Stop> {
    for TopicSpec {
        name,
        partitions,
        replication,
        settings,
        initial,
        ours,
        any_count,
    } in kafka::topics(config)
    {
        let copies =
            replication.map_or_else(|| "the broker's".to_owned(), |copies| copies.to_string());
        let whose = if ours {
            "created by `topics apply`"
        } else {
            "created by its owner"
        };
        let partitions = if any_count {
            "any number".to_owned()
        } else {
            partitions.to_string()
        };
        writeln!(
            output,
            "{name}\n  partitions {partitions}, replication {copies}, {whose}"
        )?;
        for (setting, value) in settings.into_iter().chain(initial) {
            writeln!(output, "  {setting}={value}")?;
        }
    }
    writeln!(output, "\nrights of the principal that runs tidegate:")?;
    for right in rights::rights(config) {
        writeln!(output, "  {right}")?;
    }
    for (command, rights) in rights::of_commands(config) {
        writeln!(output, "and beside them for {command}:")?;
        for right in rights {
            writeln!(output, "  {right}")?;
        }
    }
    Ok(())
}

/// One command per right: those of running first, then those that commands need beside them, each behind a comment.
fn acls(config: &Config, principal: &str, output: Output<'_>) -> Result<(), Stop> {
    let grant = |output: Output<'_>, right: &Right| {
        writeln!(
            output,
            "kafka-acls.sh --bootstrap-server {} --add --allow-principal {principal} {right}",
            config.kafka.bootstrap
        )
    };
    for right in rights::rights(config) {
        grant(output, &right)?;
    }
    for (command, rights) in rights::of_commands(config) {
        writeln!(output, "\n# beside those, for {command}:")?;
        for right in rights {
            grant(output, &right)?;
        }
    }
    Ok(())
}

fn apply(config: &Config, output: Output<'_>) -> Result<(), Stop> {
    let admin = Admin::connect(&kafka::settings(config, 0)?)?;
    let wanted = kafka::topics(config);
    let (created, left) = kafka::create_topics(&wanted, &admin)?;
    for name in created {
        writeln!(output, "created {name}")?;
    }
    if left.is_empty() {
        writeln!(output, "{} topics are as they should be", wanted.len())?;
        return Ok(());
    }
    let lines: Vec<String> = left.iter().map(ToString::to_string).collect();
    if left.iter().any(TopicProblem::stops) {
        return Err(Stop::new(Exit::Config, lines.join("\n")));
    }
    // Settings that differ are the operator's business: told, not changed.
    writeln!(output, "{}", lines.join("\n"))?;
    Ok(())
}
