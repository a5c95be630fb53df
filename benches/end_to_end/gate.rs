//! The correctness gate: a run that lost, repeated or invented a decision has no figures.
//!
//! What is compared, and why not more: a live task reads its inputs side by side, so what depends on the order *between* inputs (which
//! reminder a cart that is bought later would have got) may differ from a replay, which merges them by record time. Suppressions and
//! releases depend on the order within one input only, as long as a profile holds all of its suppressions: the law by which customers
//! are drawn gives the first of them a thousand orders in half an hour, and where a bound pushes the oldest out, another input's
//! unsubscription may push too. Of customers with more than [`HELD`] orders only repeats are looked for. The `decision_id`s of all
//! others, which name customer, causing event, reason and channel, must be exactly those of `tidegate replay` over the same events,
//! once each in the decision log and once each on the channels.
//! Beside that every input record must be covered by the group's committed offsets, and `state verify` must find changelog and
//! store equal.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::bus;
use crate::contender::App;
use crate::latency::text_of;

/// Orders of one customer whose suppressions a profile holds beside those of consents: it has room for 24, an order takes one.
const HELD: usize = 16;

/// Ids of suppressions and releases, by customer.
type Ids = BTreeMap<String, BTreeSet<String>>;

/// What a sound run decides.
#[derive(Default)]
pub(crate) struct Expected {
    ids: Ids,
    /// Customers whose bounds decide.
    crowded: BTreeSet<String>,
}

/// What `replay` decides over these events.
pub(crate) fn expected(app: &App, events: &[PathBuf], decisions: &Path) -> Result<Expected> {
    let mut arguments = vec!["replay", "--decisions"];
    let decisions = decisions.to_str().context("a path that is text")?;
    arguments.push(decisions);
    for file in events {
        arguments.push("--events");
        arguments.push(file.to_str().context("a path that is text")?);
    }
    app.command(&arguments)?;
    let mut expected = Expected::default();
    let mut causes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in BufReader::new(File::open(decisions)?).lines() {
        let line = line?;
        keep(&line, "verdict", &mut expected.ids)?;
        if text_of(&line, "reason") == Some("purchased_relevant") {
            let event = text_of(&line, "event_id").context("a purchase without an event")?;
            let customer = causes.entry(customer(&line)?).or_default();
            customer.insert(event.to_owned());
        }
    }
    if expected.ids.is_empty() {
        bail!("replay decided nothing: the workload is not what it should be");
    }
    let crowded = causes.into_iter().filter(|(_, orders)| orders.len() > HELD);
    expected.crowded = crowded.map(|(customer, _)| customer).collect();
    let Expected { ids, crowded } = &mut expected;
    ids.retain(|customer, _| !crowded.contains(customer));
    Ok(expected)
}

/// Voids the run unless the decision log and the channels hold exactly these.
pub(crate) fn check(bootstrap: &str, app: &App, expected: &Expected) -> Result<()> {
    for (what, field, topics) in [
        ("the decision log", "verdict", vec![app.decisions()]),
        ("the channels", "kind", app.channels()),
    ] {
        let mut found = Ids::new();
        bus::read_all(bootstrap, &topics, &mut |record| {
            keep(std::str::from_utf8(bus::value(record)?)?, field, &mut found)
        })?;
        found.retain(|customer, _| !expected.crowded.contains(customer));
        let flat = |ids: &Ids| -> BTreeSet<String> { ids.values().flatten().cloned().collect() };
        let (expected, found) = (flat(&expected.ids), flat(&found));
        let lost = expected.difference(&found).count();
        let invented = found.difference(&expected).count();
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
    if !ids
        .entry(customer(json)?)
        .or_default()
        .insert(id.to_owned())
    {
        bail!("void: decision {id} is there twice");
    }
    Ok(())
}

fn customer(json: &str) -> Result<String> {
    let id = text_of(json, "customer_id").context("a decision without a customer")?;
    Ok(id.to_owned())
}
