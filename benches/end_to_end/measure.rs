//! What the kernel and the disk say: CPU time and memory of a process, bytes of topics.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// CPU seconds that a process and its threads have used, user and system.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("/proc/PID/stat")?;
    // The name in parentheses may hold blanks.
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat")?;
    let field = |number: usize| -> Result<f64> {
        let text = fields.split_whitespace().nth(number - 3);
        text.context("too few fields")?.parse().context("a number")
    };
    // Clock ticks are a hundredth of a second on every Linux that matters.
    Ok((field(14)? + field(15)?) / 100.0)
}

/// Largest resident size so far, in bytes.
pub(crate) fn peak_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("/proc/PID/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line
        .and_then(|line| line.split_whitespace().next())
        .context("no VmHWM")?
        .parse()?;
    Ok(kib * 1024)
}

/// Bytes in the segments of every partition of the topics whose name `wanted` accepts.
pub(crate) fn topic_bytes(data: &Path, wanted: impl Fn(&str) -> bool) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(data).context("the broker's data directory")? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((topic, _partition)) = name.rsplit_once('-') else {
            continue;
        };
        if !entry.path().is_dir() || !wanted(topic) {
            continue;
        }
        for file in fs::read_dir(entry.path())? {
            let file = file?;
            if file
                .path()
                .extension()
                .is_some_and(|ending| ending == "log")
            {
                bytes += file.metadata()?.len();
            }
        }
    }
    Ok(bytes)
}

/// The middle of several values (the lower one of two), and the distance between the quartiles.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which this share of the values lies (nearest rank).
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}
