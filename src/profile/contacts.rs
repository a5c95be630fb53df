//! Contacts handed over: what became of them, and what caps count.
//!
//! ```text
//! handed ─ accepted ─ sent ─ delivered ─ opened ─ clicked        a slot in the caps is taken at "handed"
//!    │         │        └─ bounced, failed
//!    └─────────┴─ cancelled, failed, expired, dropped            "cancelled", "failed", "expired" give the slot back;
//!                                                                a late "sent" takes it again
//! ```

use minicbor::{Decode, Encode};

use super::chunks::Chunks;
use super::limits;
use crate::decision::DecisionId;
use crate::event::EventType;
use crate::flow::Class;
use crate::value::Timestamp;

/// One trigger that left (or, for the control group, would have).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Contact {
    /// Its decision.
    #[n(0)]
    pub id: DecisionId,
    /// The flow; `None` for a request.
    #[n(1)]
    pub flow: Option<String>,
    /// The flow's version.
    #[n(2)]
    pub flow_version: Option<String>,
    /// The instance key, or the request id.
    #[n(3)]
    pub instance: String,
    /// Counted from 1.
    #[n(4)]
    pub step: u32,
    /// How many steps the flow has.
    #[n(5)]
    pub steps: u32,
    /// Which channel.
    #[n(6)]
    pub channel: String,
    /// Of the message.
    #[n(7)]
    pub class: Class,
    /// Of the message.
    #[n(8)]
    pub template: String,
    /// Consent list.
    #[n(9)]
    pub list: Option<String>,
    /// Offer id.
    #[n(10)]
    pub offer: Option<String>,
    /// Counts against the discount cap.
    #[cbor(n(11), default)]
    pub discount: bool,
    /// Of the flow.
    #[cbor(n(12), default)]
    pub priority: u32,
    /// The task's clock at hand-over.
    #[n(13)]
    pub handed_at: Timestamp,
    /// The sender remembers the id until then.
    #[n(14)]
    pub expires_at: Timestamp,
    /// The control group's: nothing left, the slot is virtual.
    #[cbor(n(15), default)]
    pub observed: bool,
    /// Its slot went to a contact of higher priority.
    #[cbor(n(16), default)]
    pub replaced: bool,
    /// We sent a `cancel` for it.
    #[cbor(n(17), default)]
    pub recalled: bool,
    /// Durable at the sender.
    #[n(18)]
    pub accepted_at: Option<Timestamp>,
    /// Left the sender.
    #[n(19)]
    pub sent_at: Option<Timestamp>,
    /// Arrived.
    #[n(20)]
    pub delivered_at: Option<Timestamp>,
    /// Opened by a human.
    #[n(21)]
    pub opened_at: Option<Timestamp>,
    /// Clicked (or answered) by a human.
    #[n(22)]
    pub clicked_at: Option<Timestamp>,
    /// Bounced, failed, dropped, expired or cancelled.
    #[n(23)]
    pub failed_at: Option<Timestamp>,
    /// Key under which it was sent: its cancel goes the same way.
    #[n(24)]
    pub route: String,
    /// Latest moment at which the sender may send it.
    #[n(25)]
    pub send_by: Timestamp,
    /// Sending failed for good.
    #[n(26)]
    pub gave_up_at: Option<Timestamp>,
    /// The sender did not send it: cancelled or expired.
    #[n(27)]
    pub withheld_at: Option<Timestamp>,
    /// The first purchase that counts as its outcome.
    #[n(28)]
    pub converted_at: Option<Timestamp>,
}

impl Contact {
    /// Handed over, not recalled, and by all that is known still with the sender: a cancel can still reach it.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        !self.observed && !self.recalled && self.failed_at.is_none() && !self.was_sent()
    }

    /// Recalled, and by all that is known it has not left: the sender's word is still due.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.recalled && self.failed_at.is_none() && !self.was_sent()
    }

    /// Did it leave the sender? Any later receipt says so too.
    #[must_use]
    pub fn was_sent(&self) -> bool {
        self.sent_at.is_some()
            || self.delivered_at.is_some()
            || self.opened_at.is_some()
            || self.clicked_at.is_some()
    }

    /// Does it hold its slot in caps and budget? One that left holds it, unless sending failed afterwards; one that did not gives it back
    /// once the sender said so (cancelled, failed, expired), or when a higher priority took it. Told by the receipts' own times and not by
    /// their order of arrival; a late `sent` takes the slot again.
    #[must_use]
    pub fn holds_slot(&self) -> bool {
        let left = [
            self.sent_at,
            self.delivered_at,
            self.opened_at,
            self.clicked_at,
        ];
        match left.into_iter().flatten().min() {
            Some(left) => self.gave_up_at.is_none_or(|gave_up| gave_up <= left),
            None => self.gave_up_at.is_none() && self.withheld_at.is_none() && !self.replaced,
        }
    }

    /// How much it is missed when it is forgotten at `now`, least first; what was handed over after `counted` may count in a cap.
    fn missed(&self, counted: Timestamp, now: Timestamp) -> Missed {
        // After `send_by` no sender takes it up any more, and there is nothing left to recall.
        let can_be_recalled = self.is_pending() && now <= self.send_by;
        let may_count = self.holds_slot() && self.handed_at > counted;
        match (self.class, can_be_recalled) {
            (Class::Transactional, false) => Missed::NotAtAll,
            (Class::Marketing | Class::Service, false) if !may_count => Missed::NotAtAll,
            // An hour is what the cap of service messages looks back; they are many where they are missed.
            (Class::Service, false) => Missed::AsService,
            // Purchases and priorities recall marketing; of these only their own flow's exit would.
            (Class::Transactional, true) => Missed::ByItsExit,
            (Class::Marketing, false) => Missed::ByCaps,
            (Class::Marketing | Class::Service, true) => Missed::ByWhatRecallsIt,
        }
    }

    /// One word for what became of it.
    #[must_use]
    pub fn status(&self) -> &'static str {
        if self.observed {
            "observed"
        } else if self.clicked_at.is_some() {
            "clicked"
        } else if self.opened_at.is_some() {
            "opened"
        } else if self.failed_at.is_some() {
            if self.recalled { "cancelled" } else { "failed" }
        } else if self.delivered_at.is_some() {
            "delivered"
        } else if self.sent_at.is_some() {
            "sent"
        } else if self.recalled {
            "recalled"
        } else if self.accepted_at.is_some() {
            "accepted"
        } else {
            "handed"
        }
    }

    /// Folds a receipt of effective time `at`; a machine's opens and clicks count as delivered only.
    pub(crate) fn receive(&mut self, kind: EventType, machine: bool, at: Timestamp) {
        let first =
            |time: &mut Option<Timestamp>| *time = Some(time.map_or(at, |known| known.min(at)));
        if kind == EventType::Accepted {
            first(&mut self.accepted_at);
        } else if kind == EventType::Sent {
            first(&mut self.sent_at);
        } else if matches!(
            kind,
            EventType::Delivered | EventType::Complained | EventType::Unsubscribed
        ) {
            // Only who got a message can complain about it.
            first(&mut self.delivered_at);
        } else if kind == EventType::Opened {
            first(if machine {
                &mut self.delivered_at
            } else {
                &mut self.opened_at
            });
        } else if matches!(
            kind,
            EventType::Clicked | EventType::Replied | EventType::Acted
        ) {
            first(if machine {
                &mut self.delivered_at
            } else {
                &mut self.clicked_at
            });
        } else if matches!(kind, EventType::Bounced | EventType::Dropped) {
            first(&mut self.failed_at);
        } else if kind == EventType::Failed {
            first(&mut self.failed_at);
            self.gave_up_at = self.gave_up_at.max(Some(at));
        } else if matches!(kind, EventType::Expired | EventType::Cancelled) {
            first(&mut self.failed_at);
            first(&mut self.withheld_at);
        }
    }
}

/// How much a contact is missed that had to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Missed {
    /// It has ended, and nothing counts it.
    NotAtAll,
    /// The cap of service messages counts it.
    AsService,
    /// A transactional message that its own flow could still recall.
    ByItsExit,
    /// A cap would let one too many pass.
    ByCaps,
    /// It would reach a customer for whom it has become pointless.
    ByWhatRecallsIt,
}

/// All contacts remembered, one per chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contacts {
    pub(super) parts: Chunks<Contact>,
}

impl Contacts {
    /// Every contact, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Contact> {
        self.parts.iter().map(|(_, contact)| contact)
    }
    /// One by its decision.
    #[must_use]
    pub fn get(&self, id: DecisionId) -> Option<&Contact> {
        self.iter().find(|contact| contact.id == id)
    }
    /// One by its decision, to be changed.
    pub(crate) fn get_mut(&mut self, id: DecisionId) -> Option<&mut Contact> {
        let (chunk, _) = self.parts.iter().find(|(_, contact)| contact.id == id)?;
        self.parts.get_mut(chunk)
    }
    /// Remembers one more; forgets what is too old, and when there is no room the one that is missed least. What was handed over after
    /// `counted` may still count in a cap.
    pub(crate) fn push(&mut self, contact: Contact, counted: Timestamp) {
        let oldest = contact.handed_at.minus(limits::CONTACT_AGE);
        let gone: Vec<u8> = self
            .parts
            .iter()
            .filter(|(_, known)| known.handed_at < oldest)
            .map(|(chunk, _)| chunk)
            .collect();
        for chunk in gone {
            self.parts.remove(chunk);
        }
        let now = contact.handed_at;
        let chunk = self.parts.free(0, limits::CONTACTS).or_else(|| {
            let missed = |known: &Contact| (known.missed(counted, now), known.handed_at, known.id);
            let least = self.parts.iter().min_by_key(|(_, known)| missed(known));
            least.map(|(chunk, _)| chunk)
        });
        self.parts.put(chunk.unwrap_or_default(), contact);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Span;

    const HOUR: Span = Span::from_hours(1);

    fn start() -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }

    fn contact(n: u64, class: Class, handed_at: Timestamp) -> Contact {
        Contact {
            id: DecisionId::of(&[&n.to_be_bytes()]),
            flow: None,
            flow_version: None,
            instance: n.to_string(),
            step: 1,
            steps: 1,
            channel: "email".to_owned(),
            class,
            template: "t".to_owned(),
            list: None,
            offer: None,
            discount: false,
            priority: 0,
            handed_at,
            expires_at: handed_at.plus(Span::from_days(7)),
            observed: false,
            replaced: false,
            recalled: false,
            accepted_at: None,
            sent_at: None,
            delivered_at: None,
            opened_at: None,
            clicked_at: None,
            failed_at: None,
            route: "c:1".to_owned(),
            send_by: handed_at.plus(Span::from_days(7)),
            gave_up_at: None,
            withheld_at: None,
            converted_at: None,
        }
    }

    fn sent(mut contact: Contact) -> Contact {
        contact.sent_at = Some(contact.handed_at);
        contact
    }

    fn is_kept(contacts: &Contacts, n: u64) -> bool {
        contacts.get(DecisionId::of(&[&n.to_be_bytes()])).is_some()
    }

    #[test]
    fn a_flood_of_transactional_messages_makes_no_room_at_the_cost_of_what_caps_count_or_can_be_recalled()
     {
        let counted = start().minus(HOUR);
        let mut contacts = Contacts::default();
        contacts.push(sent(contact(1, Class::Marketing, start())), counted);
        contacts.push(contact(2, Class::Marketing, start()), counted);
        contacts.push(contact(3, Class::Service, start()), counted);
        for n in 10..200 {
            let mut flood = contact(n, Class::Transactional, start().plus(HOUR));
            if n % 2 == 0 {
                flood = sent(flood);
            }
            contacts.push(flood, counted);
        }
        assert_eq!(contacts.iter().count(), usize::from(limits::CONTACTS));
        assert!(is_kept(&contacts, 1) && is_kept(&contacts, 2) && is_kept(&contacts, 3));
    }

    #[test]
    fn what_no_cap_counts_any_more_goes_before_what_one_counts_and_that_before_what_can_be_recalled()
     {
        let counted = start().plus(HOUR);
        let later = |hours| counted.plus(Span::from_hours(hours));
        let mut contacts = Contacts::default();
        contacts.push(contact(1, Class::Marketing, start()), counted);
        contacts.push(sent(contact(2, Class::Marketing, later(1))), counted);
        contacts.push(sent(contact(3, Class::Marketing, start())), counted);
        let mut returned = contact(4, Class::Marketing, later(2));
        returned.receive(EventType::Cancelled, false, later(2));
        contacts.push(returned, counted);
        let full = u64::from(limits::CONTACTS);
        for n in 5..=full {
            contacts.push(contact(n, Class::Marketing, later(3)), counted);
        }
        let mut gone = Vec::new();
        for n in full + 1..=full + 4 {
            contacts.push(contact(n, Class::Marketing, later(4)), counted);
            gone.extend(
                (1..=full)
                    .filter(|n| !is_kept(&contacts, *n) && !gone.contains(n))
                    .collect::<Vec<_>>(),
            );
        }
        assert_eq!(gone, [3, 4, 2, 1]);
    }
}
