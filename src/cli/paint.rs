//! Colours for a person at a terminal; none for a pipe, nor where `NO_COLOR` is set.

use std::io::{IsTerminal as _, stdout};

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
        let refused = environment
            .iter()
            .any(|(name, value)| name == "NO_COLOR" && !value.is_empty());
        Self(stdout().is_terminal() && !refused)
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
