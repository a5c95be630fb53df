//! What became of a contact, for the decision log: receipts, and the purchases that followed. The log alone tells who was contacted (or, in
//! the control group, would have been), when, and what they then bought (product.md §7).

use super::turn::{Name, Turn, place_of};
use crate::decision::{DecisionId, Purchase, Verdict, VerdictKind, Why};
use crate::event::{Event, Order};
use crate::flow::Class;
use crate::profile::fold::Folded;
use crate::profile::{Contact, OrderNews};

impl Turn<'_> {
    /// Logs an event as the outcome of a contact.
    pub(super) fn outcome(&mut self, event: &Event, contact: &Contact) {
        let verdict = self.outcome_of(event, contact);
        self.verdicts.push(verdict);
    }

    fn outcome_of(&self, event: &Event, contact: &Contact) -> Verdict {
        let birth = self.birth(event);
        let target = contact.id.to_string();
        let id = Name {
            birth: &birth,
            flow: "",
            step: 0,
            attempt: 0,
            kind: VerdictKind::Outcome,
            channel: &contact.channel,
            target: &target,
        }
        .id();
        let why = Why::Flow(event.kind.name().into());
        let mut verdict = self.verdict(VerdictKind::Outcome, id, why);
        verdict.channel = Some(self.channel_name(&contact.channel));
        verdict.place = place_of(contact);
        verdict.target = Some(contact.id);
        verdict.outcome = Some(event.kind.name());
        verdict
    }

    /// A purchase is the outcome of every marketing contact of the conversion window before it, observed ones included, so that both arms
    /// are counted alike: no click is needed, and offline orders count (view-through).
    pub(super) fn convert(&mut self, event: &Event, order: &Order, folded: &Folded) {
        let policy = &self.plan.policy;
        if folded.order != Some(OrderNews::New) {
            return;
        }
        let at = event.effective_time;
        let window = policy.conversion_window;
        let mut led: Vec<&Contact> = self
            .profile
            .contacts
            .iter()
            .filter(|contact| contact.class == Class::Marketing && contact.holds_slot())
            .filter(|contact| {
                let since = at.since(contact.handed_at);
                contact.handed_at <= at && since < window
            })
            .collect();
        led.sort_by_key(|contact| (contact.handed_at, contact.id));
        let purchase = Purchase {
            order_id: order.order_id.clone(),
            total: order
                .total
                .map(|total| total.decimal(policy.currency_digits)),
        };
        let outcomes: Vec<Verdict> = led
            .iter()
            .map(|contact| Verdict {
                purchase: Some(purchase.clone()),
                ..self.outcome_of(event, contact)
            })
            .collect();
        let led: Vec<DecisionId> = led.into_iter().map(|contact| contact.id).collect();
        for id in led {
            if let Some(contact) = self.profile.contacts.get_mut(id) {
                let first = contact.converted_at.map_or(at, |known| known.min(at));
                contact.converted_at = Some(first);
            }
        }
        self.verdicts.extend(outcomes);
    }
}
