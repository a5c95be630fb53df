//! What went wrong on the bus, and what must be done about it.
//!
//! Client errors are translated once, at the edge ([`super::kafka`]), into a [`Remedy`]; the worker acts on the remedy and never looks at a client's error code.

/// What the worker must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Remedy {
    /// The same call again, under a deadline.
    Retry,
    /// Abort the transaction, drop staged work, rewind to the committed positions, go on.
    Abort,
    /// Not a member any more: drop everything, write nothing to Kafka or disk (EO-4), rejoin.
    Fenced,
    /// The producer is gone or its outcome unknown, the membership is not: make it anew, restore from the changelog's tail, rewind to the committed positions.
    Remake,
    /// The process must end with exit code 70.
    Fatal,
}

/// A failed call on the bus. The text names call and object, never a key or payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{attempted}: {code}")]
pub struct Failure {
    /// What was attempted, on which named object.
    pub attempted: String,
    /// The client's or broker's error name.
    pub code: String,
    /// What to do.
    pub remedy: Remedy,
}

impl Failure {
    /// A failed call: what was attempted on which named object, the client's name of the error, what to do.
    #[must_use]
    pub fn new(attempted: impl Into<String>, code: impl Into<String>, remedy: Remedy) -> Self {
        Self {
            attempted: attempted.into(),
            code: code.into(),
            remedy,
        }
    }
}
