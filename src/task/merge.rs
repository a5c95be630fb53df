//! The inputs of one task in the order of their record times, for `clock: records` and `replay` (engine.md §5).
//!
//! The oldest head goes first; equal times go in the order of the inputs. An input without a head holds the others back unless it
//! was read to its end, so the order depends on the log alone and not on which fetch answered first (DT-1).

use std::collections::VecDeque;

use crate::bus::{InputId, Record};
use crate::value::Timestamp;

/// Queues of records that were read and not yet processed.
#[derive(Debug)]
pub struct Merge {
    queues: Vec<VecDeque<Record>>,
}

/// Records that one input may be read ahead; beyond it the input is paused (LM-1).
pub const READ_AHEAD: usize = 20_000;

impl Merge {
    /// For that many inputs.
    #[must_use]
    pub fn new(inputs: usize) -> Self {
        Self {
            queues: (0..inputs).map(|_| VecDeque::new()).collect(),
        }
    }

    /// Queues a record; gives the length of its input's queue.
    pub fn push(&mut self, record: Record) -> usize {
        let Some(queue) = self.queues.get_mut(usize::from(record.input.0)) else {
            return 0;
        };
        queue.push_back(as_of_its_clock(record));
        queue.len()
    }

    /// The time of the record whose turn it is, which stays where it is.
    pub fn head(&self, at_end: impl Fn(InputId) -> bool) -> Option<Timestamp> {
        self.first(at_end).map(|(_, time)| time)
    }

    /// The record whose turn it is; `None` when all is taken, or when an input that is not `at_end` has no head.
    pub fn next(&mut self, at_end: impl Fn(InputId) -> bool) -> Option<Record> {
        let (queue, _) = self.first(at_end)?;
        self.queues.get_mut(queue)?.pop_front()
    }

    fn first(&self, at_end: impl Fn(InputId) -> bool) -> Option<(usize, Timestamp)> {
        let mut first: Option<(usize, Timestamp)> = None;
        for (index, queue) in self.queues.iter().enumerate() {
            match queue.front() {
                Some(head) if first.is_none_or(|(_, time)| head.timestamp < time) => {
                    first = Some((index, head.timestamp))
                }
                Some(_) => {}
                None if at_end(InputId(u16::try_from(index).unwrap_or(u16::MAX))) => {}
                None => return None,
            }
        }
        first
    }

    /// How many records wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    /// How many records of one input wait.
    #[must_use]
    pub fn waiting(&self, input: InputId) -> usize {
        self.queues
            .get(usize::from(input.0))
            .map_or(0, VecDeque::len)
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }

    /// Forgets what waits; it will be read again.
    pub fn clear(&mut self) {
        self.queues.iter_mut().for_each(VecDeque::clear);
    }
}

/// A forwarded record is as old as the clock that it was told at: its own timestamp is the time of production.
fn as_of_its_clock(mut record: Record) -> Record {
    let header = record
        .headers
        .iter()
        .find(|(name, _)| name == crate::outbound::CLOCK_HEADER);
    let told = header.and_then(|(_, value)| std::str::from_utf8(value.as_deref()?).ok());
    if let Some(clock) = told.and_then(|text| text.parse().ok()) {
        record.timestamp = Timestamp::from_millis(clock);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(input: u16, offset: i64, time: i64) -> Record {
        Record {
            input: InputId(input),
            partition: 0,
            offset,
            timestamp: Timestamp::from_millis(time),
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }

    #[test]
    fn the_oldest_head_goes_first_and_ties_go_by_input_however_they_arrived() {
        let mut merge = Merge::new(3);
        for (input, offset, time) in [(2, 0, 10), (1, 0, 10), (0, 0, 30), (1, 1, 5), (2, 1, 40)] {
            merge.push(record(input, offset, time));
        }
        let order: Vec<(u16, i64)> = std::iter::from_fn(|| merge.next(|_| true))
            .map(|r| (r.input.0, r.offset))
            .collect();
        assert_eq!(order, [(1, 0), (1, 1), (2, 0), (0, 0), (2, 1)]);
    }

    #[test]
    fn an_input_that_is_not_at_its_end_holds_the_others_back() {
        let mut merge = Merge::new(2);
        merge.push(record(0, 0, 10));
        assert!(merge.next(|_| false).is_none());
        assert!(
            merge.next(|input| input == InputId(0)).is_none(),
            "input 1 may still bring an older record"
        );
        assert!(merge.next(|input| input == InputId(1)).is_some());
    }
}
