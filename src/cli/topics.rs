//! `topics`: what has to be there, and making it so.

use clap::Subcommand;

use super::{Environment, Exit, Output, Settings, Stop};
use crate::app::kafka;
use crate::bus::kafka::admin::{Admin, TopicProblem, TopicSpec};
use crate::config::Config;

/// What is asked for.
#[derive(Debug, Subcommand)]
pub(super) enum TopicsCommand {
    /// Print every topic that the application touches, as it should be, and the rights that it needs; asks no broker
    Print(Settings),
    /// Create the topics of ours that are missing, and tell what differs
    Apply(Settings),
}

impl TopicsCommand {
    pub(super) fn run(self, environment: &Environment, output: Output<'_>) -> Result<(), Stop> {
        match self {
            Self::Print(settings) => print(&settings.load(environment)?, output),
            Self::Apply(settings) => apply(&settings.load(environment)?, output),
        }
    }
}

fn print(config: &Config, output: Output<'_>) -> Result<(), Stop> {
    for TopicSpec {
        name,
        partitions,
        replication,
        settings,
        ours,
    } in kafka::topics(config)
    {
        let copies =
            replication.map_or_else(|| "the broker's".to_owned(), |copies| copies.to_string());
        let whose = if ours {
            "created by `topics apply`"
        } else {
            "created by its owner"
        };
        writeln!(
            output,
            "{name}\n  partitions {partitions}, replication {copies}, {whose}"
        )?;
        for (setting, value) in settings {
            writeln!(output, "  {setting}={value}")?;
        }
    }
    let app = &config.app.id;
    writeln!(output, "\nrights of the principal that runs tidegate:")?;
    for input in &config.inputs {
        writeln!(output, "  topic {}: Read, Describe", input.topic)?;
    }
    writeln!(
        output,
        "  topics {app}-* (prefix): Read, Write, Describe, DescribeConfigs, Delete records of {app}-events; Create where topics.create is true"
    )?;
    for name in config.channels.keys() {
        writeln!(
            output,
            "  topic {}: Write, Describe",
            config.channel_topic(name)
        )?;
    }
    writeln!(
        output,
        "  group {app}: Read, Describe\n  transactional ids {app}-* (prefix): Write, Describe\n  cluster: IdempotentWrite, Describe"
    )?;
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
