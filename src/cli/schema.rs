//! `schema`: JSON Schemas, so that editors complete and check flows and configurations.

use super::{Output, Stop};
use crate::{config, flow};

/// Of what.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Of {
    /// A flow file
    Flows,
    /// The configuration
    Config,
    /// A policy in a file of its own
    Policy,
}

pub(super) fn print(of: Of, output: Output<'_>) -> Result<(), Stop> {
    let schema = match of {
        Of::Flows => flow::reference::schema(),
        Of::Config => config::schema(),
        Of::Policy => config::policy_schema(),
    };
    writeln!(output, "{schema:#}")?;
    Ok(())
}
