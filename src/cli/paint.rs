//! Colours for a person at a terminal; none for a pipe, nor where `NO_COLOR` is set.

use std::io::{IsTerminal as _, stderr, stdout};

use super::Environment;

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// What stands over something.
    Title,
    /// What one may skip.
    Faint,
    /// Good, or more.
    Plus,
    /// Bad, or less.
    Minus,
    /// Otherwise than before.
    Other,
}

/// Paints, or leaves text as it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(bool);

impl Paint {
    /// For standard output as it is now.
    pub(super) fn of(environment: &Environment) -> Self {
        Self(stdout().is_terminal() && !refused(environment))
    }

    /// For standard error as it is now.
    pub(super) fn of_errors(environment: &Environment) -> Self {
        Self(stderr().is_terminal() && !refused(environment))
    }

    /// Problems as they are told everywhere: what is wrong stands out, and so does the place that is pointed at.
    pub(super) fn problems(self, text: &str) -> String {
        let lines = text.lines().map(|line| {
            let pointed = line.rsplit('|').next().unwrap_or_default().trim();
            let points = !pointed.is_empty() && pointed.chars().all(|c| c == '^');
            if line.starts_with("error: ") {
                self.on(Tone::Title, line)
            } else if points {
                self.on(Tone::Minus, line)
            } else if line.trim_start().starts_with("= ") {
                self.on(Tone::Plus, line)
            } else if line.trim_start().starts_with("--> ") {
                self.on(Tone::Faint, line)
            } else {
                line.to_owned()
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The text in its tone.
    pub(super) fn on(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Title => "1",
            Tone::Faint => "90",
            Tone::Plus => "32",
            Tone::Minus => "31",
            Tone::Other => "33",
        };
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

fn refused(environment: &Environment) -> bool {
    environment
        .iter()
        .any(|(name, value)| name == "NO_COLOR" && !value.is_empty())
}
