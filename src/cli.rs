//! The command line: what can be asked, and how the process ends.
//!
//! Each command is one file below this one. Results go to standard output through [`Output`], everything else to standard error.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::app::load::{self, LoadError};
use crate::bus::InputId;
use crate::config::{Config, ConfigError, Input, Overrides};
use crate::engine::Plan;
use crate::value::Timestamp;

mod check;
#[cfg(feature = "kafka")]
mod dlq;
#[cfg(all(feature = "kafka", feature = "rocks"))]
mod doctor;
#[cfg(feature = "kafka")]
mod erase;
mod explain;
#[cfg(feature = "kafka")]
mod feed;
mod map;
mod paint;
mod progress;
mod replay;
#[cfg(all(feature = "kafka", feature = "rocks"))]
mod reset;
mod schema;
#[cfg(all(feature = "kafka", feature = "rocks"))]
mod state;
mod test;
#[cfg(feature = "kafka")]
mod topics;

pub use crate::app::exit::{Exit, Stop};

/// Standard output.
pub type Output<'a> = &'a mut dyn Write;

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut version = env!("CARGO_PKG_VERSION").to_owned();
    if let Some(commit) = option_env!("TIDEGATE_COMMIT") {
        version.push_str(&format!(" ({commit})"));
    }
    for part in crate::app::native_versions() {
        version.push_str(&format!("\n{part}"));
    }
    version
});

/// Stands between a shop's Kafka bus and its channel senders: folds every event into a profile per customer, and decides in
/// milliseconds what each channel may and must say.
#[derive(Debug, Parser)]
#[command(name = "tidegate", disable_help_subcommand = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read, decide, and hand over, until told to stop
    #[cfg(all(feature = "kafka", feature = "rocks"))]
    Run(Settings),
    /// Check the configuration and its flows: every problem at once, with its place
    Validate(Settings),
    /// Run the tests that stand beside flows
    Test(test::Test),
    /// What the records of an input become, field by field, and what is left of them
    Map(map::Map),
    /// Run a recorded log of events through the configured flows, without Kafka
    Replay(replay::Replay),
    /// Why a customer did, or did not, get something: a sentence per decision, from the decision log
    Explain(explain::Explain),
    /// Play a simulated shop on an embedded broker and watch it being decided: needs no Kafka and no configuration
    #[cfg(feature = "kafka")]
    Demo(crate::demo::Args),
    /// Publish recorded events to the input topics, each record stamped with its event's time
    #[cfg(feature = "kafka")]
    Feed(feed::FeedLine),
    /// Erase a customer: shows what would go, and publishes an `erased` event when told so
    #[cfg(feature = "kafka")]
    Erase(erase::Erase),
    /// What would go wrong on this bus: brokers, rights, topics, records, keys, clocks, disk
    #[cfg(all(feature = "kafka", feature = "rocks"))]
    Doctor(doctor::Doctor),
    /// The records that could not be understood, and another try at them
    #[cfg(feature = "kafka")]
    #[command(subcommand)]
    Dlq(dlq::DlqCommand),
    /// The topics that have to be there, and the rights to them
    #[cfg(feature = "kafka")]
    Topics(topics::Topics),
    /// Look into the state on this machine's disk, while no instance runs on it
    #[cfg(all(feature = "kafka", feature = "rocks"))]
    #[command(subcommand)]
    State(state::StateCommand),
    /// Begin anew, as if the application had never run: shows what would go; refuses while it runs
    #[cfg(all(feature = "kafka", feature = "rocks"))]
    Reset(reset::Reset),
    /// Print the JSON Schema of flow files or of the configuration, for editors
    Schema {
        /// Of what
        of: schema::Of,
    },
    /// Show the configuration in force
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the completion script of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print it as YAML with every default and override in place; secrets are masked
    Print(Settings),
}

/// What every command takes that needs a configuration.
#[derive(Clone, Debug, Args)]
struct Settings {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "tidegate.yaml")]
    config: PathBuf,
    /// Lay one setting over the file, as in --set commit.max_records=500; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    fn overrides(&self, environment: &Environment) -> Overrides {
        Overrides {
            variables: environment.iter().cloned().collect(),
            flags: self.set.clone(),
        }
    }

    fn load(&self, environment: &Environment) -> Result<Config, ConfigError> {
        Config::load(&self.config, &self.overrides(environment))
    }

    fn load_with_flows(&self, environment: &Environment) -> Result<(Config, Plan), LoadError> {
        load::load(&self.config, &self.overrides(environment))
    }
}

/// The variables of the process, handed in so that nothing below reads them by itself.
pub type Environment = [(String, String)];

/// Reads the command line, does what it says, and gives the exit code.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &Environment,
    output: Output<'_>,
) -> ExitCode {
    let command = Line::command()
        .version(VERSION.as_str())
        .arg_required_else_help(true);
    let line = command
        .try_get_matches_from(arguments)
        .and_then(|matches| Line::from_arg_matches(&matches));
    let done = match line {
        Ok(line) => perform(line.command, environment, output),
        Err(error) if error.use_stderr() => Err(Stop::new(Exit::Usage, error.to_string())),
        // --help and --version.
        Err(error) => write!(output, "{error}").map_err(Stop::from),
    };
    let done = done.and_then(|()| output.flush().map_err(Stop::from));
    match done {
        Ok(()) => ExitCode::from(Exit::Success as u8),
        Err(stop) => {
            if !stop.text.is_empty() {
                // Nobody is left to tell when standard error is closed.
                let text = paint::Paint::of_errors(environment).problems(stop.text.trim_end());
                drop(writeln!(io::stderr(), "{text}"));
            }
            ExitCode::from(stop.exit as u8)
        }
    }
}

fn perform(command: Command, environment: &Environment, output: Output<'_>) -> Result<(), Stop> {
    match command {
        #[cfg(feature = "kafka")]
        Command::Demo(args) => crate::demo::run(&args, output).map_err(Stop::from),
        #[cfg(all(feature = "kafka", feature = "rocks"))]
        Command::Run(settings) => {
            let (config, flows) = settings.load_with_flows(environment)?;
            let source = crate::app::reload::Source {
                path: settings.config.clone(),
                overrides: settings.overrides(environment),
            };
            crate::app::run::run(&config, flows, source)
        }
        Command::Validate(settings) => check::validate(&settings, environment, output),
        Command::Test(test) => test.run(environment, output),
        Command::Map(map) => map.run(environment, output),
        Command::Replay(replay) => replay.run(environment, output),
        Command::Explain(explain) => explain.run(environment, output),
        #[cfg(feature = "kafka")]
        Command::Erase(erase) => erase.run(environment, output),
        #[cfg(feature = "kafka")]
        Command::Feed(feed) => feed.run(environment, output),
        #[cfg(all(feature = "kafka", feature = "rocks"))]
        Command::Doctor(doctor) => doctor.run(environment, output),
        #[cfg(feature = "kafka")]
        Command::Dlq(dlq) => dlq.run(environment, output),
        #[cfg(feature = "kafka")]
        Command::Topics(topics) => topics.run(environment, output),
        #[cfg(all(feature = "kafka", feature = "rocks"))]
        Command::State(state) => state.run(environment, output),
        #[cfg(all(feature = "kafka", feature = "rocks"))]
        Command::Reset(reset) => reset.run(environment, output),
        Command::Schema { of } => schema::print(of, output),
        Command::Config(ConfigCommand::Print(settings)) => {
            let config = settings.load(environment)?;
            output.write_all(config.to_yaml().as_bytes())?;
            Ok(())
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Line::command(), "tidegate", &mut script);
            output.write_all(&script)?;
            Ok(())
        }
    }
}

/// The input of that name.
fn named_input(config: &Config, name: &str) -> Result<InputId, Stop> {
    let at = config.inputs.iter().position(|input| input.name() == name);
    // Input 0 is the application's own.
    let id = at.and_then(|at| u16::try_from(at + 1).ok()).map(InputId);
    id.ok_or_else(|| {
        let names: Vec<&str> = config.inputs.iter().map(Input::name).collect();
        let text = format!(
            "there is no input `{name}`; there are: {}",
            names.join(", ")
        );
        Stop::new(Exit::Usage, text)
    })
}

/// Reads an instant of the command line.
fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "write a time such as 2026-03-01T10:00:00Z".to_owned())
}
