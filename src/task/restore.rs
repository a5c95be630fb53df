//! From an opened store to a running task: compare, catch up, settle (engine.md §4).
//!
//! Order matters. The *high* watermark is taken before reading: it counts records of transactions that are still open, so a restore
//! that begins while a dead peer's transaction is open waits for its end and does not stop before a commit that is still landing.
//! The committed offsets are asked for only *after* the changelog was read: asked before, a commit that lands in between would leave
//! the store ahead of the offsets, and its records would be decided twice.

use crate::bus::{NextOffset, Watermarks};
use crate::store::StoreHead;
use crate::value::{Span, Timestamp};

/// What the comparison of a store with its changelog says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Read on from here.
    Tail(NextOffset),
    /// The store cannot be trusted: destroy it and read everything.
    Rebuild(&'static str),
    /// State would be lost: stop, with the numbers and the remedy.
    Stop(String),
}

/// Compares an opened store with the ends of its changelog (sanity at open).
///
/// `now` is wall time; `delete_retention` the topic's `delete.retention.ms`: a store that was last written longer ago than half of it
/// may have missed tombstones that compaction has removed since, and the erased would live again.
#[must_use]
pub fn compare(
    task: i32,
    head: &StoreHead,
    ends: Watermarks,
    now: Timestamp,
    delete_retention: Span,
) -> Start {
    let Some(at) = head.changelog else {
        return Start::Tail(ends.low);
    };
    if at > ends.high {
        return Start::Stop(format!(
            "the changelog of task {task} ends at offset {}, but its store has seen it up to {}: the topic was deleted or re-created, or a \
             broker lost records; restore the topic, or remove this task's state directory to go on with what the changelog holds",
            ends.high.get(),
            at.get()
        ));
    }
    if at < ends.low {
        return Start::Rebuild("the changelog no longer holds what it has not seen");
    }
    let age = head
        .written_at
        .map_or(Span::ZERO, |written| now.since(written));
    if age.millis() > delete_retention.millis() / 2 {
        return Start::Rebuild("it is older than the changelog keeps tombstones");
    }
    Start::Tail(at)
}

/// Clocks of instances may differ by that much.
const SKEW: Span = Span::from_secs(10);

/// A record of the changelog that is younger than this cannot be one that the store has seen: it was written before. `None` when the
/// store has seen none. If such a record stands before the store's position, the topic was made anew: another past, at other offsets.
#[must_use]
pub fn younger_than(head: &StoreHead) -> Option<Timestamp> {
    head.changelog.filter(|at| *at > NextOffset::START)?;
    Some(head.written_at?.plus(SKEW))
}

/// Compares the store's input positions with what the group committed: the store is written after the commit, so it is never ahead.
#[must_use]
pub fn is_ahead(
    head: &StoreHead,
    committed: &[(crate::bus::InputId, i32, Option<NextOffset>)],
) -> bool {
    head.positions.iter().any(|position| {
        committed.iter().any(|(input, partition, next)| {
            *input == position.input
                && *partition == position.partition
                && next.is_none_or(|next| position.next > next)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::{InputId, Position};

    fn head(changelog: i64, written: i64) -> StoreHead {
        StoreHead {
            changelog: Some(NextOffset::at(changelog)),
            positions: Vec::new(),
            written_at: Some(Timestamp::from_millis(written)),
        }
    }

    #[test]
    fn a_store_is_only_trusted_between_the_ends_and_while_tombstones_live() {
        let ends = Watermarks {
            low: NextOffset::at(10),
            high: NextOffset::at(50),
        };
        let week = Span::from_days(7);
        let now = Timestamp::from_millis(0).plus(Span::from_days(3));
        assert_eq!(
            compare(0, &StoreHead::default(), ends, now, week),
            Start::Tail(NextOffset::at(10))
        );
        assert_eq!(
            compare(0, &head(50, 0), ends, now, week),
            Start::Tail(NextOffset::at(50))
        );
        assert!(matches!(
            compare(0, &head(51, 0), ends, now, week),
            Start::Stop(_)
        ));
        assert!(matches!(
            compare(0, &head(9, 0), ends, now, week),
            Start::Rebuild(_)
        ));
        assert!(matches!(
            compare(0, &head(50, 0), ends, now.plus(Span::from_days(1)), week),
            Start::Rebuild(_)
        ));
        let empty = Watermarks {
            low: NextOffset::START,
            high: NextOffset::START,
        };
        assert!(matches!(
            compare(0, &head(50, 0), empty, now, week),
            Start::Stop(_)
        ));
    }

    #[test]
    fn a_store_ahead_of_the_committed_offsets_is_found() {
        let position = |next| Position {
            input: InputId(1),
            partition: 0,
            next: NextOffset::at(next),
        };
        let store = StoreHead {
            positions: vec![position(5)],
            ..StoreHead::default()
        };
        assert!(!is_ahead(
            &store,
            &[(InputId(1), 0, Some(NextOffset::at(5)))]
        ));
        assert!(is_ahead(
            &store,
            &[(InputId(1), 0, Some(NextOffset::at(4)))]
        ));
        assert!(is_ahead(&store, &[(InputId(1), 0, None)]));
    }
}
