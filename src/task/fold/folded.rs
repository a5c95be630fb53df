//! What became of a record.

use crate::engine::StepCounts;
use crate::event::mapping::Left;
use crate::event::{Event, EventType};

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folded {
    /// Into its profile.
    Profile {
        /// Which type.
        kind: EventType,
        /// Money in a currency without a rate was left out of it.
        unconverted: bool,
    },
    /// Its profile had seen it before, within the dedup window.
    Duplicate(EventType),
    /// On to another profile, or about who is who.
    Forwarded,
    /// Nobody's event: counted, no error.
    Unattributed(EventType),
    /// Of somebody who was erased after it: counted, no error.
    Erased(EventType),
    /// No event of ours, as the configuration says: counted, no error.
    Left(Left),
    /// Not readable.
    DeadLetter,
    /// A mark: moved the clock.
    Mark,
}

impl Folded {
    /// An event, as its profile took it.
    pub(super) fn of(event: &Event, counts: StepCounts) -> Self {
        if counts.duplicates > 0 {
            Self::Duplicate(event.kind)
        } else if counts.erased > 0 {
            Self::Erased(event.kind)
        } else if counts.unattributed > 0 {
            Self::Unattributed(event.kind)
        } else if counts.forwarded > 0 {
            Self::Forwarded
        } else {
            Self::Profile {
                kind: event.kind,
                unconverted: event.unconverted,
            }
        }
    }
}
