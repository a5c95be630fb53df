//! A terminal that is drawn over and over, and left as it was found.

use std::fs::File;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::view::Size;

/// How often the size is asked for: a window may be dragged.
const ASK: Duration = Duration::from_millis(500);

/// The other screen of the terminal, without a cursor. Dropping it brings the first one back.
pub(super) struct Screen {
    out: io::Stdout,
    size: Size,
    asked: Option<Duration>,
}

impl Screen {
    /// Switches over.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn open() -> io::Result<Self> {
        let mut out = io::stdout();
        out.write_all(b"\x1b[?1049h\x1b[?25l\x1b[2J")?;
        out.flush()?;
        Ok(Self {
            out,
            size: Size::default(),
            asked: None,
        })
    }

    /// Columns and rows; `elapsed` is a reading of the clock, so that the terminal is not asked at every frame.
    pub(super) fn size(&mut self, elapsed: Duration) -> Size {
        if self
            .asked
            .is_none_or(|asked| elapsed.saturating_sub(asked) >= ASK)
        {
            self.asked = Some(elapsed);
            let size = ask().unwrap_or(self.size);
            if size != self.size {
                self.size = size;
                // What is left of the old picture goes at the next frame; an error shows there, too.
                drop(self.out.write_all(b"\x1b[2J"));
            }
        }
        self.size
    }

    /// Draws these rows from the top, in one write.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn draw(&mut self, rows: &[String]) -> io::Result<()> {
        let mut picture = String::from("\x1b[H");
        for (index, row) in rows.iter().enumerate() {
            if index > 0 {
                picture.push_str("\r\n");
            }
            picture.push_str(row);
            picture.push_str("\x1b[K");
        }
        picture.push_str("\x1b[J");
        self.out.write_all(picture.as_bytes())?;
        self.out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody is left to tell when the terminal is gone.
        drop(self.out.write_all(b"\x1b[?25h\x1b[?1049l"));
        drop(self.out.flush());
    }
}

/// Asks the terminal itself, through `stty`: the system call for it would need unsafe code or one more dependency.
fn ask() -> Option<Size> {
    let terminal = File::open("/dev/tty").ok()?;
    let answer = Command::new("stty")
        .arg("size")
        .stdin(terminal)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    let (rows, columns) = text.trim().split_once(' ')?;
    let size = Size {
        columns: columns.parse().ok()?,
        rows: rows.parse().ok()?,
    };
    (size.columns > 0 && size.rows > 0).then_some(size)
}
