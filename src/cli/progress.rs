//! How far a replay is, on standard error: a bar on a terminal, now and then a line on a pipe.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::clock::{Clock as _, SystemClock};
use crate::replay::{Progress, Stage};

/// Cells of the bar.
const WIDTH: u64 = 40;

/// Runs `work` while its progress is shown. `bytes` is how much there is to read; 0 when nobody knows.
pub(super) fn shown<T>(progress: &Progress, bytes: u64, work: impl FnOnce() -> T) -> T {
    let terminal = stderr().is_terminal();
    // What takes no longer than this needs no line in a log.
    let period = Duration::from_millis(if terminal { 100 } else { 10_000 });
    let clock = SystemClock::new();
    let (done, until_done) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while until_done.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                let line = line(progress.stage(), bytes, clock.elapsed());
                let (before, after) = if terminal {
                    ("\r", "\x1b[K")
                } else {
                    ("", "\n")
                };
                // Nobody is left to tell when standard error is closed.
                drop(write!(stderr(), "{before}{line}{after}"));
            }
            if terminal {
                drop(write!(stderr(), "\r\x1b[K"));
            }
        });
        let made = work();
        drop(done);
        made
    })
}

fn line(stage: Stage, bytes: u64, elapsed: Duration) -> String {
    let (what, done, of) = match stage {
        Stage::Reading(read) => ("reading ", read, bytes),
        Stage::Deciding { done, of } => ("deciding", done, of),
    };
    let elapsed = elapsed.as_secs();
    let time = format!("{}:{:02}", elapsed / 60, elapsed % 60);
    if of == 0 {
        return format!("{what} {} MB  {time}", done / 1_000_000);
    }
    let done = done.min(of);
    let cells = usize::try_from(done * WIDTH / of).unwrap_or_default();
    let width = usize::try_from(WIDTH).unwrap_or_default();
    let (full, empty) = ("█".repeat(cells), "░".repeat(width - cells));
    format!("{what} {full}{empty} {:>3} %  {time}", done * 100 / of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_is_done_how_far_and_since_when() {
        let elapsed = Duration::from_secs(75);
        let half = Stage::Deciding { done: 5, of: 10 };
        let bar = format!("{}{}", "█".repeat(20), "░".repeat(20));
        assert_eq!(
            line(half, 0, elapsed),
            format!("deciding {bar}  50 %  1:15")
        );
        let unknown = Stage::Reading(3_200_000);
        assert_eq!(line(unknown, 0, elapsed), "reading  3 MB  1:15");
        // A file that grew meanwhile is read to its end all the same.
        assert!(line(Stage::Reading(12), 10, elapsed).contains("100 %"));
    }
}
