//! The channels' senders, played: they take triggers over, send them after a while, obey cancels, and answer with receipts.
//! Pure and seeded, like the shop.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use serde_json::{Value, json};

use super::dice::Dice;
use super::narrator::Fact;
use super::shop::Shop;
use crate::value::{Span, Timestamp};

/// A receipt to publish on `deliveries`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) customer: usize,
    pub(super) kind: &'static str,
    pub(super) own: Value,
    pub(super) fact: Option<Fact>,
}

/// How a channel behaves: shortest and longest time until a message leaves, and what becomes of a hundred of them.
struct Manner {
    channel: &'static str,
    wait: (i64, i64),
    bounced: u64,
    opened: u64,
    clicked: u64,
    unsubscribed: u64,
}

const MANNERS: [Manner; 3] = [
    Manner {
        channel: "email",
        wait: (500, 1_600),
        bounced: 9,
        opened: 55,
        clicked: 35,
        unsubscribed: 3,
    },
    Manner {
        channel: "push",
        wait: (80, 400),
        bounced: 6,
        opened: 40,
        clicked: 20,
        unsubscribed: 1,
    },
    Manner {
        channel: "sms",
        wait: (200, 700),
        bounced: 3,
        opened: 0,
        clicked: 30,
        unsubscribed: 2,
    },
];

/// What happens to a message that was taken over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Leave,
    Bounce,
    Open,
    Click,
    Unsubscribe,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Message {
    decision: String,
    customer: usize,
    channel: String,
}

/// All senders.
pub(super) struct Senders {
    dice: Dice,
    agenda: BinaryHeap<Reverse<(Timestamp, u64, Stage, Message)>>,
    scheduled: u64,
    /// Taken over and not sent.
    waiting: BTreeMap<String, Message>,
    cancelled: BTreeSet<String>,
}

impl Senders {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            agenda: BinaryHeap::new(),
            scheduled: 0,
            waiting: BTreeMap::new(),
            cancelled: BTreeSet::new(),
        }
    }

    /// A trigger was read: it is durable here, and leaves after a while.
    pub(super) fn trigger(
        &mut self,
        decision: &str,
        customer: usize,
        channel: &str,
        now: Timestamp,
    ) -> Vec<Answer> {
        let message = Message {
            decision: decision.to_owned(),
            customer,
            channel: channel.to_owned(),
        };
        if self.cancelled.contains(decision) {
            return Vec::new();
        }
        let (shortest, longest) = manner(channel).map_or((0, 0), |manner| manner.wait);
        let wait = Span::from_millis(self.dice.between(shortest, longest));
        self.plan(now.plus(wait), Stage::Leave, message.clone());
        self.waiting.insert(decision.to_owned(), message.clone());
        vec![answer(&message, "accepted", None)]
    }

    /// A cancel was read: obeyed when the message is still here, too late otherwise (`sent` has told so already).
    pub(super) fn cancel(&mut self, decision: &str) -> Vec<Answer> {
        self.cancelled.insert(decision.to_owned());
        let Some(message) = self.waiting.remove(decision) else {
            return Vec::new();
        };
        let fact = Fact::Recalled {
            customer: Shop::name(message.customer),
            channel: message.channel.clone(),
        };
        vec![answer(&message, "cancelled", Some(fact))]
    }

    /// When there is something to do next.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.agenda.peek().map(|Reverse((at, ..))| *at)
    }

    /// What happens up to `now`, in order.
    pub(super) fn advance(&mut self, now: Timestamp) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(Reverse((at, ..))) = self.agenda.peek()
            && *at <= now
            && let Some(Reverse((at, _, stage, message))) = self.agenda.pop()
        {
            answers.extend(self.act(at, stage, &message));
        }
        answers
    }

    fn plan(&mut self, at: Timestamp, stage: Stage, message: Message) {
        self.scheduled += 1;
        self.agenda
            .push(Reverse((at, self.scheduled, stage, message)));
    }

    fn act(&mut self, now: Timestamp, stage: Stage, message: &Message) -> Option<Answer> {
        let customer = Shop::name(message.customer);
        let channel = message.channel.clone();
        Some(match stage {
            Stage::Leave => {
                // Recalled in the meantime: nothing leaves.
                self.waiting.remove(&message.decision)?;
                self.foresee(now, message);
                answer(message, "sent", Some(Fact::Sent { customer, channel }))
            }
            Stage::Bounce => {
                let mut bounced = answer(
                    message,
                    "bounced",
                    Some(Fact::Bounced { customer, channel }),
                );
                if let Some(own) = bounced.own.as_object_mut() {
                    own.insert("bounce".to_owned(), json!("hard"));
                }
                bounced
            }
            Stage::Open => answer(message, "opened", Some(Fact::Opened { customer, channel })),
            Stage::Click => answer(
                message,
                "clicked",
                Some(Fact::Clicked { customer, channel }),
            ),
            Stage::Unsubscribe => answer(
                message,
                "unsubscribed",
                Some(Fact::Unsubscribed { customer, channel }),
            ),
        })
    }

    /// What the customer will make of a message that has left.
    fn foresee(&mut self, now: Timestamp, message: &Message) {
        let Some(manner) = manner(&message.channel) else {
            return;
        };
        let mut later = |low, high| now.plus(Span::from_millis(self.dice.between(low, high)));
        let (soon, opens, clicks) = (later(50, 300), later(700, 3_000), later(300, 900));
        if self.dice.percent(manner.bounced) {
            self.plan(soon, Stage::Bounce, message.clone());
            return;
        }
        let opened = manner.opened == 0 || self.dice.percent(manner.opened);
        if opened && manner.opened > 0 {
            self.plan(opens, Stage::Open, message.clone());
        }
        let after = clicks.plus(opens.since(now));
        if opened && self.dice.percent(manner.unsubscribed) {
            self.plan(after, Stage::Unsubscribe, message.clone());
        } else if opened && self.dice.percent(manner.clicked) {
            self.plan(after, Stage::Click, message.clone());
        }
    }
}

fn manner(channel: &str) -> Option<&'static Manner> {
    MANNERS.iter().find(|manner| manner.channel == channel)
}

fn answer(message: &Message, kind: &'static str, fact: Option<Fact>) -> Answer {
    Answer {
        customer: message.customer,
        kind,
        own: json!({ "channel": message.channel, "decision_id": message.decision }),
        fact,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(answers: &[Answer]) -> Vec<&str> {
        answers.iter().map(|answer| answer.kind).collect()
    }

    #[test]
    fn a_message_leaves_unless_it_is_recalled_in_time() {
        let mut senders = Senders::new(1);
        let at = Timestamp::from_millis(0);
        assert_eq!(kinds(&senders.trigger("a", 0, "email", at)), ["accepted"]);
        assert_eq!(kinds(&senders.trigger("b", 1, "email", at)), ["accepted"]);
        assert_eq!(kinds(&senders.cancel("a")), ["cancelled"]);
        let later = at.plus(Span::from_secs(10));
        let answers = senders.advance(later);
        assert!(
            answers.iter().all(|answer| answer.customer == 1),
            "{answers:?}"
        );
        assert_eq!(answers.first().unwrap().kind, "sent");
        assert_eq!(kinds(&senders.cancel("b")), Vec::<&str>::new());
    }

    #[test]
    fn a_cancel_that_overtakes_its_trigger_still_counts() {
        let mut senders = Senders::new(1);
        assert!(senders.cancel("a").is_empty());
        assert!(senders.trigger("a", 0, "email", Timestamp::ZERO).is_empty());
        assert!(senders.advance(Timestamp::MAX).is_empty());
    }
}
