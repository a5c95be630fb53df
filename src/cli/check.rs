//! `validate`: configuration, flows and their tests, every problem at once.

use super::{Environment, Output, Settings, Stop};
use crate::app::load;

pub(super) fn validate(
    settings: &Settings,
    environment: &Environment,
    output: Output<'_>,
) -> Result<(), Stop> {
    let overrides = settings.overrides(environment);
    let (config, plan) = load::load_with_tests(&settings.config, &overrides)?;
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
