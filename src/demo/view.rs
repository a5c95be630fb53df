//! The picture: figures on top, the story below. Pure: a board and a size go in, text goes out.

use std::fmt::Write as _;
use std::time::Duration;

use super::narrator::{Figures, Line, Narrator, Tone, millis};
use crate::decision::VerdictKind;
use crate::value::Timestamp;

/// Columns and rows of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Default for Size {
    fn default() -> Self {
        Self {
            columns: 80,
            rows: 24,
        }
    }
}

/// What the picture shows beside the narrator's story.
pub(super) struct Board<'a> {
    pub(super) narrator: &'a Narrator,
    pub(super) elapsed: Duration,
    pub(super) limit: Option<Duration>,
    pub(super) open_carts: u64,
    /// Events published in each of the last seconds, oldest first.
    pub(super) pace: &'a [u64],
    pub(super) bootstrap: &'a str,
    pub(super) topic: &'a str,
}

/// Verdicts shown, each with its tone.
const SHOWN: [(VerdictKind, Tone); 9] = [
    (VerdictKind::Send, Tone::Speak),
    (VerdictKind::Suppress, Tone::Hush),
    (VerdictKind::Cancel, Tone::Trouble),
    (VerdictKind::Release, Tone::Speak),
    (VerdictKind::Skip, Tone::Plain),
    (VerdictKind::Defer, Tone::Plain),
    (VerdictKind::Observe, Tone::Plain),
    (VerdictKind::Expire, Tone::Plain),
    (VerdictKind::Outcome, Tone::Plain),
];

/// Rows around the story: title, three of figures, two of verdicts, the footer, the rules and room between them.
const FRAME_ROWS: usize = 11;

/// The whole picture: one row per line, no line break after the last.
pub(super) fn frame(board: &Board<'_>, size: Size) -> Vec<String> {
    let width = size.columns.max(20);
    let figures = &board.narrator.figures;
    let mut rows = vec![title(board, width), String::new()];
    rows.push(fit(&pace_row(board, figures), width));
    rows.push(fit(&shut_row(figures), width));
    rows.push(fit(&message_row(figures), width));
    rows.push(String::new());
    let (names, counts) = verdict_rows(figures);
    rows.push(fit(&names, width));
    rows.push(fit(&counts, width));
    rows.push(rule(width));
    let room = size.rows.saturating_sub(FRAME_ROWS).max(1);
    let lines = board.narrator.lines();
    let skipped = lines.len().saturating_sub(room);
    rows.extend(
        lines
            .iter()
            .skip(skipped)
            .map(|line| fit(&sentence(line), width)),
    );
    rows.resize(FRAME_ROWS - 2 + room, String::new());
    rows.push(rule(width));
    rows.push(fit(&footer(board), width));
    rows.truncate(size.rows.max(1));
    rows
}

/// One sentence without colours, for a pipe.
pub(super) fn plain(line: &Line) -> String {
    let mut text = clock(line.at);
    for (_, piece) in &line.pieces {
        text.push(' ');
        text.push_str(piece);
    }
    text
}

fn title(board: &Board<'_>, width: usize) -> String {
    let left = " tidegate   a simulated shop, decided live   1 h = 1 s";
    let right = match board.limit {
        Some(limit) => format!("{} of {} ", minutes(board.elapsed), minutes(limit)),
        None => format!("{} ", minutes(board.elapsed)),
    };
    let room = width.saturating_sub(right.chars().count());
    let left: String = left.chars().take(room).collect();
    format!("\x1b[1;37;44m{left:<room$}{right}\x1b[0m")
}

type Pieces = Vec<(Tone, String)>;

fn pace_row(board: &Board<'_>, figures: &Figures) -> Pieces {
    // The second that runs is not over.
    let pace = board.pace.split_last().map_or(board.pace, |(_, past)| past);
    let now = pace.last().copied().unwrap_or(0);
    vec![
        (Tone::Dim, " events".to_owned()),
        (Tone::Figure, format!("{:>9}", grouped(figures.events))),
        (Tone::Figure, format!("{:>7}/s", grouped(now))),
        (Tone::Shop, format!("{:<14}", bars(pace, 14))),
        (Tone::Dim, "carts open".to_owned()),
        (Tone::Figure, format!("{:<5}", grouped(board.open_carts))),
        (Tone::Dim, "orders".to_owned()),
        (Tone::Figure, grouped(figures.orders)),
    ]
}

fn shut_row(figures: &Figures) -> Pieces {
    let quantile = |percent| {
        figures
            .shut
            .quantile(percent)
            .map_or_else(|| "–".to_owned(), millis)
    };
    vec![
        (Tone::Dim, " purchase → all channels shut".to_owned()),
        (Tone::Dim, " p50".to_owned()),
        (Tone::Figure, format!("{:<8}", quantile(50))),
        (Tone::Dim, "p99".to_owned()),
        (Tone::Figure, format!("{:<8}", quantile(99))),
        (Tone::Hush, bars(&figures.shut.last(20), 20)),
    ]
}

fn message_row(figures: &Figures) -> Pieces {
    vec![
        (Tone::Dim, " messages sent".to_owned()),
        (Tone::Speak, format!("{:<6}", grouped(figures.sent))),
        (Tone::Dim, "recalled before they left".to_owned()),
        (Tone::Trouble, format!("{:<6}", grouped(figures.recalled))),
        (Tone::Dim, "decisions read twice".to_owned()),
        (Tone::Figure, grouped(figures.repeated)),
    ]
}

fn verdict_rows(figures: &Figures) -> (Pieces, Pieces) {
    let mut names = vec![(Tone::Dim, String::new())];
    let mut counts = vec![(Tone::Dim, String::new())];
    for (kind, tone) in SHOWN {
        let count = figures.verdicts.get(&kind).copied().unwrap_or(0);
        names.push((Tone::Dim, format!("{:>7}", kind.name())));
        let width = kind.name().len().max(7);
        let tone = if count == 0 { Tone::Dim } else { tone };
        counts.push((tone, format!("{:>width$}", grouped(count))));
    }
    (names, counts)
}

fn footer(board: &Board<'_>) -> Pieces {
    vec![
        (Tone::Dim, " read along:".to_owned()),
        (
            Tone::Plain,
            format!("kcat -b {} -C -t {} -q", board.bootstrap, board.topic),
        ),
        (Tone::Dim, " Ctrl-C ends".to_owned()),
    ]
}

fn sentence(line: &Line) -> Pieces {
    let mut pieces = vec![(Tone::Dim, format!(" {}", clock(line.at)))];
    for (tone, text) in &line.pieces {
        let text = if *tone == Tone::Who {
            format!("{text:<6}")
        } else {
            text.clone()
        };
        pieces.push((*tone, text));
    }
    pieces
}

/// Pieces with their colours, a space between them, cut to `width` columns.
fn fit(pieces: &[(Tone, String)], width: usize) -> String {
    let mut text = String::new();
    let mut left = width;
    for (index, (tone, piece)) in pieces.iter().enumerate() {
        if index > 0 && left > 0 {
            text.push(' ');
            left -= 1;
        }
        let shown: String = piece.chars().take(left).collect();
        left -= shown.chars().count();
        if shown.is_empty() {
            continue;
        }
        let written = write!(text, "{}{shown}\x1b[0m", colour(*tone));
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }
    text
}

const fn colour(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "",
        Tone::Dim => "\x1b[90m",
        Tone::Who => "\x1b[1m",
        Tone::Shop => "\x1b[36m",
        Tone::Speak => "\x1b[32m",
        Tone::Hush => "\x1b[35m",
        Tone::Trouble => "\x1b[33m",
        Tone::Figure => "\x1b[1;37m",
    }
}

fn rule(width: usize) -> String {
    format!("\x1b[90m{}\x1b[0m", "─".repeat(width))
}

/// The last `count` values as bars, the highest as high as possible.
fn bars(values: &[u64], count: usize) -> String {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let values = values
        .get(values.len().saturating_sub(count)..)
        .unwrap_or_default();
    let highest = values.iter().copied().max().unwrap_or(0).max(1);
    values
        .iter()
        .filter_map(|value| {
            let step = usize::try_from(value.saturating_mul(7) / highest).ok()?;
            STEPS.get(step)
        })
        .collect()
}

/// `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn minutes(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// Time of day, UTC.
fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(11..19).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::narrator::Fact;
    use crate::value::Money;

    fn columns(row: &str) -> usize {
        let mut count = 0;
        let mut escape = false;
        for c in row.chars() {
            match (escape, c) {
                (false, '\x1b') => escape = true,
                (true, 'm') => escape = false,
                (true, _) => {}
                (false, _) => count += 1,
            }
        }
        count
    }

    #[test]
    fn the_picture_fits_any_terminal() {
        let mut narrator = Narrator::default();
        for number in 0..50 {
            let fact = Fact::CartLeft {
                customer: format!("c-{number:03}"),
                items: 3,
                total: Money::from_minor(5_990),
            };
            narrator.published(
                "e",
                Some(fact),
                true,
                Timestamp::from_millis(0),
                Duration::ZERO,
            );
        }
        let pace: Vec<u64> = (0..40).collect();
        let board = Board {
            narrator: &narrator,
            elapsed: Duration::from_secs(61),
            limit: Some(Duration::from_secs(120)),
            open_carts: 1_234,
            pace: &pace,
            bootstrap: "127.0.0.1:12345",
            topic: "demo-email",
        };
        for (columns_wide, rows) in [(80, 24), (200, 60), (40, 10), (20, 5), (1, 1)] {
            let size = Size {
                columns: columns_wide,
                rows,
            };
            let picture = frame(&board, size);
            assert_eq!(picture.len(), rows.max(1), "{size:?}");
            for row in &picture {
                assert!(columns(row) <= columns_wide.max(20), "{size:?}: {row}");
            }
        }
        let picture = frame(&board, Size::default());
        assert!(
            picture.iter().any(|row| row.contains("c-049")),
            "the newest is shown"
        );
        assert!(picture.first().unwrap().contains("1:01 of 2:00"));
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [grouped(0), grouped(999), grouped(1_000), grouped(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
