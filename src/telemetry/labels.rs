//! Closed sets whose names become values of labels.

/// What became of a decoded event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Into a profile.
    Folded,
    /// Seen before within the dedup window.
    Duplicate,
    /// Nobody's.
    Unattributed,
    /// Of somebody who was erased after it.
    Erased,
}

impl Outcome {
    /// As label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Folded => "folded",
            Self::Duplicate => "duplicate",
            Self::Unattributed => "unattributed",
            Self::Erased => "erased",
        }
    }
}

/// Why a producer was made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remade {
    /// Its commit had an unknown outcome.
    UnknownOutcome,
    /// Its commit succeeded, but a late `EndTxn` may be on its way.
    Suspect,
    /// The broker fenced it while the consumer is still a member.
    Fenced,
}

impl Remade {
    /// As label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownOutcome => "unknown_outcome",
            Self::Suspect => "suspect",
            Self::Fenced => "fenced",
        }
    }
}

/// How a question to the schema registry ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// With a schema.
    Answered,
    /// With a definite "there is none".
    NotFound,
    /// Without an answer; it is asked again.
    Failed,
}

impl Asked {
    /// As label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::NotFound => "not_found",
            Self::Failed => "failed",
        }
    }
}
