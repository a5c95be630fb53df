//! `validate`: configuration and flows, every problem at once.

use super::{Environment, Output, Settings, Stop};
use crate::app::plan;

pub(super) fn validate(
    settings: &Settings,
    environment: &Environment,
    output: Output<'_>,
) -> Result<(), Stop> {
    let config = settings.load(environment)?;
    let flows = plan::flow_texts(&config)?;
    writeln!(
        output,
        "{} is good: {} inputs, {} channels, {} flow files",
        settings.config.display(),
        config.inputs.len(),
        config.channels.len(),
        flows.len()
    )?;
    Ok(())
}
