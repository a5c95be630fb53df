//! The correctness gate: a run that lost, repeated or invented a decision has no figures.
//!
//! What is compared, and why not more: a live task reads its inputs side by side, so what depends on the order *between* inputs (which
//! reminder a cart that is bought later would have got) may differ from a replay, which merges them by record time. Suppressions and
//! releases depend on the order within one input only. Their `decision_id`s, which name customer, causing event, reason and channel,
//! must be exactly those of `tidegate replay` over the same events, once each in the decision log and once each on the channels.
//! Beside that every input record must be covered by the group's committed offsets, and `state verify` must find changelog and
//! store equal.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::bus;
use crate::contender::App;
use crate::latency::text_of;

/// Ids of suppressions and releases.
pub(crate) type Ids = BTreeSet<String>;

/// What `replay` decides over these events.
pub(crate) fn expected(app: &App, events: &[PathBuf], decisions: &Path) -> Result<Ids> {
    let mut arguments = vec!["replay", "--decisions"];
    let decisions = decisions.to_str().context("a path that is text")?;
    arguments.push(decisions);
    for file in events {
        arguments.push("--events");
        arguments.push(file.to_str().context("a path that is text")?);
    }
    app.command(&arguments)?;
    let mut ids = Ids::new();
    for line in BufReader::new(File::open(decisions)?).lines() {
        keep(&line?, "verdict", &mut ids)?;
    }
    if ids.is_empty() {
        bail!("replay decided nothing: the workload is not what it should be");
    }
    Ok(ids)
}

/// Voids the run unless the decision log and the channels hold exactly these.
pub(crate) fn check(bootstrap: &str, app: &App, expected: &Ids) -> Result<()> {
    for (what, field, topics) in [
        ("the decision log", "verdict", vec![app.decisions()]),
        ("the channels", "kind", app.channels()),
    ] {
        let mut found = Ids::new();
        bus::read_all(bootstrap, &topics, &mut |record| {
            keep(std::str::from_utf8(bus::value(record)?)?, field, &mut found)
        })?;
        let lost = expected.difference(&found).count();
        let invented = found.difference(expected).count();
        if lost + invented > 0 {
            let examples: Vec<_> = expected.symmetric_difference(&found).take(3).collect();
            bail!(
                "void: {what} lost {lost} and invented {invented} of {} decisions, such as {examples:?}",
                expected.len()
            );
        }
    }
    Ok(())
}

/// Remembers a suppression or release; a second one of the same id voids the run.
fn keep(json: &str, field: &str, ids: &mut Ids) -> Result<()> {
    if !matches!(text_of(json, field), Some("suppress" | "release")) {
        return Ok(());
    }
    let id = text_of(json, "decision_id").context("a decision without an id")?;
    if !ids.insert(id.to_owned()) {
        bail!("void: decision {id} is there twice");
    }
    Ok(())
}
