//! `reset`: shows what would go, and deletes it when told so.

use clap::Args;

use super::{Environment, Output, Settings, Stop};
use crate::app::reset::Reset as Plan;

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct Reset {
    #[command(flatten)]
    settings: Settings,
    /// Do it; else it only shows what would go
    #[arg(long)]
    yes: bool,
}

impl Reset {
    pub(super) fn run(self, environment: &Environment, output: Output<'_>) -> Result<(), Stop> {
        let config = self.settings.load(environment)?;
        let app = &config.app.id;
        let plan = Plan::plan(&config)?;
        writeln!(output, "to delete, so that {app} begins anew:")?;
        writeln!(output, "  group {app}: its positions in every input")?;
        for topic in &plan.topics {
            writeln!(output, "  topic {topic}")?;
        }
        for (_, path) in &plan.states {
            writeln!(output, "  directory {}", path.display())?;
        }
        writeln!(
            output,
            "to keep: the inputs, what channels and others read ({app}-blocks, {app}-decisions, {app}-dlq), state on other machines (built anew by the next run there)\n\
             The next run reads every input from its beginning and decides again. The same decision has the same id: a sender that keeps \
             ids sends nothing twice. What depends on the order between two inputs may be decided otherwise."
        )?;
        if !self.yes {
            writeln!(output, "Nothing was deleted: say --yes")?;
            return Ok(());
        }
        plan.carry_out()?;
        writeln!(output, "deleted")?;
        Ok(())
    }
}
