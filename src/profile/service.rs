//! Tickets and feedback: how content the customer is (product.md §4).
//!
//! Every fold takes the latest of two times, so tickets that are told late, twice or in the wrong order end in the same state.

use minicbor::{Decode, Encode};

use super::limits;
use super::person::Known;
use crate::event::EventType;
use crate::value::Timestamp;

/// One question or complaint.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TicketState {
    /// xxh3 of its id: two tickets are told apart, nothing else is asked of it.
    #[n(0)]
    pub id: u64,
    /// When it was opened last.
    #[n(1)]
    pub opened: Option<Timestamp>,
    /// When it was settled last.
    #[n(2)]
    pub resolved: Option<Timestamp>,
}

impl TicketState {
    /// Opened, and not settled since.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.opened > self.resolved
    }

    fn newest(&self) -> Option<Timestamp> {
        self.opened.max(self.resolved)
    }
}

/// What went well and what did not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Service {
    /// By id.
    #[cbor(n(0), skip_if = "Vec::is_empty")]
    pub tickets: Vec<TicketState>,
    /// The last answer to a question for feedback, 0 to 10.
    #[n(1)]
    pub feedback: Option<Known<u32>>,
    /// When any ticket last was opened.
    #[n(2)]
    pub last_opened: Option<Timestamp>,
    /// When any ticket last was settled.
    #[n(3)]
    pub last_resolved: Option<Timestamp>,
}

impl Service {
    /// How many tickets are open.
    #[must_use]
    pub fn open_tickets(&self) -> usize {
        self.tickets
            .iter()
            .filter(|ticket| ticket.is_open())
            .count()
    }

    /// Folds `ticket_opened` or `ticket_resolved`; beyond the limit the ticket that has been quiet longest is forgotten, settled ones first.
    pub(super) fn ticket(&mut self, ticket_id: &str, kind: EventType, at: Timestamp) {
        let id = xxhash_rust::xxh3::xxh3_64(ticket_id.as_bytes());
        let place = self.tickets.partition_point(|ticket| ticket.id < id);
        if self.tickets.get(place).is_none_or(|ticket| ticket.id != id) {
            let new = TicketState {
                id,
                opened: None,
                resolved: None,
            };
            self.tickets.insert(place, new);
        }
        let Some(ticket) = self.tickets.get_mut(place) else {
            return;
        };
        if kind == EventType::TicketResolved {
            ticket.resolved = ticket.resolved.max(Some(at));
            self.last_resolved = self.last_resolved.max(Some(at));
        } else {
            ticket.opened = ticket.opened.max(Some(at));
            self.last_opened = self.last_opened.max(Some(at));
        }
        self.bound();
    }

    /// Forgets beyond the limit.
    pub(super) fn bound(&mut self) {
        while self.tickets.len() > limits::TICKETS {
            let quiet = self
                .tickets
                .iter()
                .enumerate()
                .min_by_key(|(_, ticket)| (ticket.is_open(), ticket.newest(), ticket.id))
                .map(|(index, _)| index);
            let Some(index) = quiet else {
                return;
            };
            self.tickets.remove(index);
        }
    }

    /// Folds `feedback_given`; of two answers at one instant the worse one counts.
    pub(super) fn feedback(&mut self, score: u32, at: Timestamp) {
        let rank = |at: Timestamp, score: u32| (at, std::cmp::Reverse(score));
        let newer = self
            .feedback
            .as_ref()
            .is_none_or(|known| rank(known.at, known.value) <= rank(at, score));
        if newer {
            self.feedback = Some(Known { value: score, at });
        }
    }
}
