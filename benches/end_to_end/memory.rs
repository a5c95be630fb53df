//! Memory: a million customers made known and four million events of them, in a process whose budget is much smaller than their state.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Bench, PATIENCE, say};
use crate::bus::Group;
use crate::contender::Contender;
use crate::table::{Report, Row};

const MIB: f64 = 1_048_576.0;

pub(crate) fn run(bench: &Bench) -> Result<Report> {
    let mut report = Report::new(&bench.options);
    let budget = bench.options.budget_mib << 20;
    bench.preload()?;
    let app = bench.app("memory")?;
    app.configure(&bench.drain_inputs())?;
    let topics = [std::slice::from_ref(&bench.base), bench.backlog.as_slice()].concat();
    let watch = Group::new(&bench.options.bootstrap, &app.name, &topics)?;
    let mut running = Contender::tidegate(&app)?;
    let started = Instant::now();
    let mut told = 0;
    watch.wait(watch.records, 6 * PATIENCE, &mut || {
        running.check()?;
        let peak = running.peak()?;
        if peak > budget {
            bail!(
                "{} MiB resident, with a budget of {} MiB",
                peak >> 20,
                budget >> 20
            );
        }
        let minutes = started.elapsed().as_secs() / 60;
        if minutes > told {
            told = minutes;
            say(&format!(
                "{} of {} records, {} MiB at most",
                watch.look()?.records,
                watch.records,
                peak >> 20
            ));
        }
        std::thread::park_timeout(Duration::from_millis(200));
        Ok(())
    })?;
    report.add(
        Row::DrainFromStart,
        watch.records as f64 / started.elapsed().as_secs_f64(),
    );
    report.add(Row::Budget, bench.options.budget_mib as f64);
    report.add(Row::Peak, running.peak()? as f64 / MIB);
    running.stop()?;
    app.command(&["state", "verify"])?;
    fs::remove_dir_all(&app.directory)?;
    Ok(report)
}
