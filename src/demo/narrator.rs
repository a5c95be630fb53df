//! Makes a story of what happens: facts of the shop and its senders, and the decisions that were read, become sentences and figures.
//!
//! Pure: everything comes with its time. Only customers on stage are told about; everybody is counted.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use super::latency::Latency;
use super::seen::{Seen, SeenKind};
use crate::decision::{Reason, VerdictKind};
use crate::value::{Money, Timestamp};

mod tale;

pub(super) use tale::{Fact, Line, Tone};

use tale::{list, message_of, words};

/// A purchase whose suppressions are being read.
struct Purchase {
    customer: String,
    total: Money,
    published: Duration,
    last: Duration,
    shut: Vec<String>,
    recalled: Option<String>,
    told: bool,
}

/// Sentences kept for a redraw.
const LINES: usize = 200;
/// After the last record that a purchase caused, this long nothing more is expected.
const QUIET: Duration = Duration::from_millis(40);
/// A purchase that caused nothing is forgotten after that.
const FORGET: Duration = Duration::from_secs(5);
/// Decision ids remembered, to see whether one comes twice.
const IDS: usize = 500_000;

/// The narrator.
#[derive(Default)]
pub(super) struct Narrator {
    lines: VecDeque<Line>,
    purchases: BTreeMap<String, Purchase>,
    /// Latest purchase of a customer: a recall belongs to its sentence.
    latest: BTreeMap<String, String>,
    told_causes: VecDeque<String>,
    ids: HashSet<String>,
    /// What the figures on top say.
    pub(super) figures: Figures,
}

/// Everything that is counted.
#[derive(Default)]
pub(super) struct Figures {
    /// Events published.
    pub(super) events: u64,
    /// Orders among them.
    pub(super) orders: u64,
    /// Verdicts of the decision log, by kind.
    pub(super) verdicts: BTreeMap<VerdictKind, u64>,
    /// From a purchase published until the suppression of the last channel was read.
    pub(super) shut: Latency,
    /// Messages that senders really sent.
    pub(super) sent: u64,
    /// Messages that were recalled in time.
    pub(super) recalled: u64,
    /// Decision ids that were read twice. Always 0, or something is wrong.
    pub(super) repeated: u64,
}

impl Narrator {
    /// The sentences so far, oldest first.
    pub(super) const fn lines(&self) -> &VecDeque<Line> {
        &self.lines
    }

    /// Takes the sentences that were not yet printed.
    pub(super) fn take_lines(&mut self) -> Vec<Line> {
        self.lines.drain(..).collect()
    }

    /// An event was published under this id; `fact` is what there is to tell about it.
    pub(super) fn published(
        &mut self,
        event_id: &str,
        fact: Option<Fact>,
        on_stage: bool,
        at: Timestamp,
        elapsed: Duration,
    ) {
        self.figures.events += 1;
        let Some(fact) = fact else {
            return;
        };
        match &fact {
            Fact::Bought { customer, total } => {
                self.figures.orders += 1;
                self.latest.insert(customer.clone(), event_id.to_owned());
                self.purchases.insert(
                    event_id.to_owned(),
                    Purchase {
                        customer: customer.clone(),
                        total: *total,
                        published: elapsed,
                        last: elapsed,
                        shut: Vec::new(),
                        recalled: None,
                        told: on_stage,
                    },
                );
                return;
            }
            Fact::Recalled { customer, channel } => {
                self.figures.recalled += 1;
                if let Some(purchase) = self
                    .latest
                    .get(customer)
                    .and_then(|id| self.purchases.get_mut(id))
                {
                    purchase.recalled = Some(channel.clone());
                    return;
                }
            }
            Fact::Sent { .. } => self.figures.sent += 1,
            Fact::CartLeft { .. }
            | Fact::SignedUp { .. }
            | Fact::CartEmptied { .. }
            | Fact::OrderCancelled { .. }
            | Fact::Bounced { .. }
            | Fact::Opened { .. }
            | Fact::Clicked { .. }
            | Fact::Unsubscribed { .. } => {}
        }
        if on_stage {
            self.tell_fact(at, fact);
        }
    }

    /// A decision was read from a channel's topic or from the decision log.
    pub(super) fn read(&mut self, seen: &Seen, on_stage: bool, at: Timestamp, elapsed: Duration) {
        match seen.kind {
            SeenKind::Logged(kind) => {
                *self.figures.verdicts.entry(kind).or_default() += 1;
                if on_stage {
                    self.tell_silent(at, kind, seen);
                }
                return;
            }
            SeenKind::Trigger
            | SeenKind::Suppress
            | SeenKind::Release
            | SeenKind::Cancel
            | SeenKind::Refuse => {}
        }
        if self.ids.len() < IDS && !self.ids.insert(seen.decision_id.clone()) {
            self.figures.repeated += 1;
        }
        if seen.kind == SeenKind::Suppress
            && let Some(purchase) = self.purchases.get_mut(&seen.event_id)
        {
            if !purchase.shut.contains(&seen.channel) {
                purchase.shut.push(seen.channel.clone());
            }
            purchase.last = elapsed;
            return;
        }
        if on_stage {
            self.tell_decision(at, seen);
        }
    }

    /// Time passes: purchases whose records have all been read are told.
    pub(super) fn tick(&mut self, at: Timestamp, elapsed: Duration) {
        let ripe: Vec<String> = self
            .purchases
            .iter()
            .filter(|(_, purchase)| {
                let quiet = elapsed.saturating_sub(purchase.last);
                quiet
                    > if purchase.shut.is_empty() {
                        FORGET
                    } else {
                        QUIET
                    }
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in ripe {
            if let Some(purchase) = self.purchases.remove(&id) {
                if self.latest.get(&purchase.customer) == Some(&id) {
                    self.latest.remove(&purchase.customer);
                }
                self.tell_purchase(at, purchase);
            }
        }
    }

    /// Is this the id of a purchase whose suppressions are still being read?
    pub(super) fn awaits(&self, event_id: &str) -> bool {
        self.purchases.contains_key(event_id)
    }

    /// How many such purchases there are.
    pub(super) fn awaited(&self) -> usize {
        self.purchases.len()
    }

    fn tell_purchase(&mut self, at: Timestamp, mut purchase: Purchase) {
        let took = purchase.last.saturating_sub(purchase.published);
        if !purchase.shut.is_empty() {
            self.figures.shut.add(took);
        }
        if !purchase.told {
            return;
        }
        let mut pieces = vec![
            (Tone::Who, purchase.customer),
            (
                Tone::Shop,
                format!("buys for {} EUR:", purchase.total.decimal(2)),
            ),
        ];
        if !purchase.shut.is_empty() {
            purchase.shut.sort();
            pieces.push((Tone::Hush, format!("{} shut", list(&purchase.shut))));
            pieces.push((Tone::Figure, format!("in {}", millis(took))));
        }
        if let Some(channel) = purchase.recalled {
            pieces.push((Tone::Trouble, format!("+ {channel} recalled")));
        }
        self.push(at, pieces);
    }

    fn tell_fact(&mut self, at: Timestamp, fact: Fact) {
        if let Some((customer, tone, text)) = fact.sentence() {
            self.push(at, vec![(Tone::Who, customer), (tone, text)]);
        }
    }

    fn tell_decision(&mut self, at: Timestamp, seen: &Seen) {
        let who = (Tone::Who, seen.customer.clone());
        match seen.kind {
            SeenKind::Trigger => {
                let took = Duration::from_millis(
                    u64::try_from(at.since(seen.decided_at).millis()).unwrap_or(0),
                );
                let step = if seen.steps > 1 {
                    format!(" (step {} of {})", seen.step, seen.steps)
                } else {
                    String::new()
                };
                self.push(
                    at,
                    vec![
                        who,
                        (
                            Tone::Speak,
                            format!("{} on {}{step}", message_of(&seen.flow), seen.channel),
                        ),
                        (Tone::Figure, format!("in {} ms", took.as_millis())),
                    ],
                );
            }
            SeenKind::Suppress => {
                // One record per channel; the first tells it.
                if self.first_of(&seen.event_id, "suppress") {
                    self.push(
                        at,
                        vec![
                            who,
                            (
                                Tone::Hush,
                                format!("{} shut: {}", seen.channel, words(&seen.reason)),
                            ),
                        ],
                    );
                }
            }
            SeenKind::Release => {
                if self.first_of(&seen.event_id, "release") {
                    self.push(
                        at,
                        vec![
                            who,
                            (Tone::Speak, format!("open again: {}", words(&seen.reason))),
                        ],
                    );
                }
            }
            SeenKind::Cancel | SeenKind::Refuse | SeenKind::Logged(_) => {}
        }
    }

    fn tell_silent(&mut self, at: Timestamp, kind: VerdictKind, seen: &Seen) {
        // The customer's own doing, which is told already; and a flow that ends unsaid is no news: whoever looks on has no browse reminder
        // coming.
        let told = [
            Reason::PurchasedRelevant,
            Reason::GoalReached,
            Reason::ExitEvent,
            Reason::CartEmpty,
            Reason::CartCheckedOut,
            Reason::OrderCancelled,
        ];
        if told.iter().any(|reason| reason.name() == seen.reason) {
            return;
        }
        let (tone, text) = match kind {
            VerdictKind::Observe => (
                Tone::Hush,
                format!(
                    "{} on {} held back: control group",
                    message_of(&seen.flow),
                    seen.channel
                ),
            ),
            VerdictKind::Skip => (
                Tone::Hush,
                format!("no {}: {}", message_of(&seen.flow), words(&seen.reason)),
            ),
            VerdictKind::Defer => (
                Tone::Hush,
                format!("{} waits: {}", message_of(&seen.flow), words(&seen.reason)),
            ),
            VerdictKind::Send
            | VerdictKind::Suppress
            | VerdictKind::Release
            | VerdictKind::Cancel
            | VerdictKind::Refuse
            | VerdictKind::Expire
            | VerdictKind::Outcome => return,
        };
        self.push(at, vec![(Tone::Who, seen.customer.clone()), (tone, text)]);
    }

    /// Is this the first record of this kind that the event caused?
    fn first_of(&mut self, event_id: &str, kind: &str) -> bool {
        let cause = format!("{kind} {event_id}");
        if self.told_causes.contains(&cause) {
            return false;
        }
        if self.told_causes.len() >= 64 {
            self.told_causes.pop_front();
        }
        self.told_causes.push_back(cause);
        true
    }

    fn push(&mut self, at: Timestamp, pieces: Vec<(Tone, String)>) {
        if self.lines.len() >= LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(Line { at, pieces });
    }
}

/// With one decimal.
pub(super) fn millis(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(kind: SeenKind, channel: &str) -> Seen {
        Seen {
            kind,
            decision_id: format!("{kind:?} {channel}"),
            customer: "c-017".to_owned(),
            channel: channel.to_owned(),
            flow: "abandoned_cart".to_owned(),
            reason: "cart_abandoned".to_owned(),
            step: 1,
            steps: 3,
            event_id: "e-9".to_owned(),
            decided_at: Timestamp::from_millis(1_000),
            retracts: None,
        }
    }

    fn text(narrator: &Narrator) -> Vec<String> {
        narrator
            .lines()
            .iter()
            .map(|line| {
                line.pieces
                    .iter()
                    .map(|(_, text)| text.as_str())
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect()
    }

    #[test]
    fn a_purchase_is_told_once_all_its_channels_are_shut() {
        let mut narrator = Narrator::default();
        let at = Timestamp::from_millis(1_004);
        let ms = Duration::from_millis;
        narrator.read(&seen(SeenKind::Trigger, "email"), true, at, ms(4));
        let bought = Fact::Bought {
            customer: "c-017".to_owned(),
            total: Money::from_minor(5_990),
        };
        narrator.published("e-9", Some(bought), true, at, ms(10));
        for (channel, when) in [("sms", 13), ("email", 14), ("push", 16)] {
            narrator.read(&seen(SeenKind::Suppress, channel), true, at, ms(when));
        }
        let recalled = Fact::Recalled {
            customer: "c-017".to_owned(),
            channel: "email".to_owned(),
        };
        narrator.published("e-10", Some(recalled), true, at, ms(17));
        narrator.tick(at, ms(20));
        assert_eq!(text(&narrator).len(), 1);
        narrator.tick(at, ms(100));
        assert_eq!(
            text(&narrator),
            [
                "c-017 reminder on email (step 1 of 3) in 4 ms",
                "c-017 buys for 59.90 EUR: email, push and sms shut in 6.0 ms + email recalled"
            ]
        );
        assert_eq!(
            (narrator.figures.recalled, narrator.figures.repeated),
            (1, 0)
        );
    }

    #[test]
    fn a_flow_that_ends_unsaid_is_counted_and_not_told() {
        let mut narrator = Narrator::default();
        let skip = SeenKind::Logged(VerdictKind::Skip);
        for reason in ["exit_event", "no_consent"] {
            let seen = Seen {
                reason: reason.to_owned(),
                ..seen(skip, "email")
            };
            narrator.read(&seen, true, Timestamp::ZERO, Duration::ZERO);
        }
        assert_eq!(text(&narrator), ["c-017 no reminder: no consent"]);
        assert_eq!(narrator.figures.verdicts[&VerdictKind::Skip], 2);
    }

    #[test]
    fn a_decision_that_comes_twice_is_counted_as_repeated() {
        let mut narrator = Narrator::default();
        for _ in 0..2 {
            narrator.read(
                &seen(SeenKind::Trigger, "email"),
                false,
                Timestamp::ZERO,
                Duration::ZERO,
            );
        }
        assert_eq!(narrator.figures.repeated, 1);
        assert!(text(&narrator).is_empty());
    }
}
