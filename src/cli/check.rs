//! `validate`: configuration and flows, every problem at once.

use super::{Environment, Output, Settings, Stop};

pub(super) fn validate(
    settings: &Settings,
    environment: &Environment,
    output: Output<'_>,
) -> Result<(), Stop> {
    let (config, plan) = settings.load_with_flows(environment)?;
    let names: Vec<&str> = plan.flows.current().keys().map(|name| &**name).collect();
    writeln!(
        output,
        "{} is good: {} inputs, {} channels, {} flows ({})",
        settings.config.display(),
        config.inputs.len(),
        config.channels.len(),
        names.len(),
        names.join(", ")
    )?;
    Ok(())
}
