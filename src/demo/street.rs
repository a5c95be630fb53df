//! The street: one thread on which the shop's visitors and the channels' senders act, on the far side of the broker.
//!
//! ```text
//!   shop ── events ──► input topics ──► (tidegate) ──► channel topics, decision log ──► senders ── receipts ──► deliveries
//!     └──────────────────────────── what there is to tell ────────────────────────────────┘──► view
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::narrator::Fact;
use super::seen::{Seen, SeenKind};
use super::senders::{Answer, Senders};
use super::shop::{Publish, Shop};
use crate::bus::Failure;
use crate::bus::kafka::plain::{Listener, Publisher};
use crate::clock::Clock;
use crate::event::Stream;
use crate::value::Timestamp;

/// What the view is told.
pub(super) enum Note {
    /// An event went out.
    Published {
        event_id: String,
        fact: Option<Fact>,
        on_stage: bool,
        at: Timestamp,
        elapsed: Duration,
    },
    /// A decision came in.
    Read {
        seen: Box<Seen>,
        on_stage: bool,
        at: Timestamp,
        elapsed: Duration,
    },
    /// So many carts are left open.
    OpenCarts(u64),
    /// Somebody wants it to end.
    Enough,
}

/// Everything on the far side of the broker.
pub(super) struct Street {
    pub(super) shop: Shop,
    pub(super) senders: Senders,
    pub(super) publisher: Publisher,
    pub(super) listener: Listener,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) view: Sender<Note>,
}

/// Longest wait for a record: visitors do not wait longer than that for their turn.
const WAIT: Duration = Duration::from_millis(4);
/// Records taken in before the visitors get their turn.
const AT_ONCE: usize = 256;

impl Street {
    /// Plays until `stop`.
    ///
    /// # Errors
    /// When the embedded broker refuses a record for good.
    pub(super) fn play(mut self, stop: &AtomicBool) -> Result<(), Failure> {
        let now = self.clock.wall();
        // Before the doors open; nothing to tell.
        for event in self.shop.introductions(now) {
            self.send(&event)?;
        }
        while !stop.load(Ordering::Relaxed) {
            let now = self.clock.wall();
            for event in self.shop.advance(now) {
                self.publish(event)?;
            }
            for answer in self.senders.advance(now) {
                self.answer(answer)?;
            }
            self.listen()?;
            let lost = self.publisher.undelivered();
            if lost > 0 {
                tracing::warn!(lost, "the embedded broker refused events");
            }
            // The view may have gone first; then there is nobody to tell, and `stop` follows.
            drop(self.view.send(Note::OpenCarts(self.shop.open_carts())));
        }
        Ok(())
    }

    fn listen(&mut self) -> Result<(), Failure> {
        let now = self.clock.wall();
        let next = self
            .shop
            .next_at()
            .into_iter()
            .chain(self.senders.next_at())
            .min();
        let until = next.map_or(WAIT, |next| {
            Duration::from_millis(u64::try_from(next.since(now).millis()).unwrap_or(0))
        });
        let mut wait = until.min(WAIT);
        for _ in 0..AT_ONCE {
            let Some(heard) = self.listener.poll(wait)? else {
                break;
            };
            wait = Duration::ZERO;
            if let Some(seen) = Seen::read(&heard) {
                self.hear(seen)?;
            }
        }
        Ok(())
    }

    /// A decision was read: the view is told, the channel's sender obeys.
    fn hear(&mut self, seen: Seen) -> Result<(), Failure> {
        let customer = Shop::customer(&seen.customer);
        let (at, elapsed) = (self.clock.wall(), self.clock.elapsed());
        let on_stage = customer.is_some_and(|customer| self.shop.on_stage(customer));
        let answers = match (seen.kind, customer) {
            (SeenKind::Trigger, Some(customer)) => {
                self.senders
                    .trigger(&seen.decision_id, customer, &seen.channel, at)
            }
            (SeenKind::Cancel, _) => seen
                .retracts
                .as_deref()
                .map_or_else(Vec::new, |trigger| self.senders.cancel(trigger)),
            (
                SeenKind::Trigger
                | SeenKind::Suppress
                | SeenKind::Release
                | SeenKind::Refuse
                | SeenKind::Logged(_),
                _,
            ) => Vec::new(),
        };
        drop(self.view.send(Note::Read {
            seen: Box::new(seen),
            on_stage,
            at,
            elapsed,
        }));
        for answer in answers {
            self.answer(answer)?;
        }
        Ok(())
    }

    fn answer(&mut self, answer: Answer) -> Result<(), Failure> {
        let now = self.clock.wall();
        if let Some(Fact::Clicked { .. }) = answer.fact {
            self.shop.clicked(answer.customer, now);
        }
        let Answer {
            customer,
            kind,
            own,
            fact,
        } = answer;
        let event = self
            .shop
            .event(Stream::Deliveries, kind, customer, own, now, fact);
        self.publish(event)
    }

    fn publish(&mut self, event: Publish) -> Result<(), Failure> {
        let (at, elapsed) = (self.clock.wall(), self.clock.elapsed());
        self.send(&event)?;
        let note = Note::Published {
            on_stage: self.shop.on_stage(event.customer),
            event_id: event.event_id,
            fact: event.fact,
            at,
            elapsed,
        };
        drop(self.view.send(note));
        Ok(())
    }

    fn send(&self, event: &Publish) -> Result<(), Failure> {
        let key = Shop::name(event.customer);
        let value = event.value.to_string();
        self.publisher
            .send(event.stream.name(), key.as_bytes(), value.as_bytes())
    }
}
