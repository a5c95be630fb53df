//! What every event touches: counters and last-seen times.

use minicbor::{Decode, Encode};

use super::links::Device;
use crate::event::{Event, EventType, Stream};
use crate::value::Timestamp;

/// Counters since ever and times of the latest, by effective time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Activity {
    /// Newest event of any kind.
    #[cbor(n(0), default)]
    pub last_seen: Timestamp,
    /// Events folded.
    #[cbor(n(1), default)]
    pub events: u64,
    /// Products viewed.
    #[cbor(n(2), default)]
    pub views: u64,
    /// Newest visit of the shop (any click).
    #[n(3)]
    pub last_visit: Option<Timestamp>,
    /// Newest product view.
    #[n(4)]
    pub last_view: Option<Timestamp>,
    /// Newest change of a cart.
    #[n(5)]
    pub last_cart: Option<Timestamp>,
    /// Newest step of a checkout.
    #[n(6)]
    pub last_checkout: Option<Timestamp>,
    /// Newest human open or click of a message.
    #[n(7)]
    pub last_engaged: Option<Timestamp>,
    /// Of a customer: the device used last. Among [`super::links::Links`] each click would write one more section.
    #[n(8)]
    pub device: Option<Device>,
}

impl Activity {
    pub(super) fn count(&mut self, event: &Event) {
        let at = event.effective_time;
        self.events += 1;
        self.last_seen = self.last_seen.max(at);
        let kind = event.kind;
        if kind.stream() == Stream::Clickstream {
            self.last_visit = self.last_visit.max(Some(at));
        }
        if kind == EventType::ProductViewed {
            self.views += 1;
            self.last_view = self.last_view.max(Some(at));
        } else if matches!(
            kind,
            EventType::ProductAdded | EventType::ProductRemoved | EventType::CartUpdated
        ) {
            self.last_cart = self.last_cart.max(Some(at));
        } else if matches!(
            kind,
            EventType::CheckoutStarted | EventType::CheckoutStepCompleted
        ) {
            self.last_checkout = self.last_checkout.max(Some(at));
        }
    }
}
