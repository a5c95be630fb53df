//! Caps and the least gap between contacts: counted from the contacts that were handed over and still hold their slot.

use jiff::tz::TimeZone;

use super::calendar::{day_start, week_start};
use crate::decision::{DecisionId, Seen};
use crate::flow::Class;
use crate::policy::{Cap, CapScope, Window};
use crate::profile::Contact;
use crate::profile::Contacts;
use crate::value::{Span, Timestamp};

/// What a cap would let wait: longer than any instance lives.
const FOR_EVER: Span = Span::from_days(3_650);

/// What is about to be counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weight<'a> {
    pub(super) channel: &'a str,
    pub(super) class: Class,
    pub(super) discount: bool,
}

/// A cap that is full.
#[derive(Clone, Debug)]
pub(super) struct Full {
    /// When a slot comes free by itself.
    pub(super) until: Timestamp,
    /// How many hold a slot.
    pub(super) count: usize,
    /// Of the contact whose end makes room: when it was handed over, for which flow, and its decision.
    holder: Option<(Timestamp, Option<String>, DecisionId)>,
}

/// Does `cap` look at contacts like this one?
pub(super) fn applies(cap: &Cap, weight: &Weight<'_>) -> bool {
    match &cap.scope {
        CapScope::Channel(channel) => **channel == *weight.channel,
        CapScope::Class(class) => *class == weight.class,
        CapScope::Discount => weight.discount,
        CapScope::Any => true,
    }
}

/// Does a contact hold a slot in `cap`? Only marketing meets caps (product.md §7), unless a cap names another class.
pub(super) fn counts(cap: &Cap, contact: &Contact) -> bool {
    let in_scope = match &cap.scope {
        CapScope::Channel(channel) => {
            contact.class == Class::Marketing && **channel == *contact.channel
        }
        CapScope::Class(class) => contact.class == *class,
        CapScope::Discount => contact.class == Class::Marketing && contact.discount,
        CapScope::Any => contact.class == Class::Marketing,
    };
    in_scope && contact.holds_slot()
}

/// Is the cap full at `now`, `extra` being one more contact that would have been handed over then? The window's older end is not counted:
/// one slot in 16 h is free again exactly 16 h later.
pub(super) fn full(
    cap: &Cap,
    contacts: &Contacts,
    extra: Option<Timestamp>,
    now: Timestamp,
    zone: &TimeZone,
) -> Option<Full> {
    let start = match cap.window {
        Window::Rolling(span) => now.minus(span),
        // A day begins at its first instant, which counts.
        Window::Days(days) => before(day_start(now, i64::from(days) - 1, zone)?),
        Window::Weeks(weeks) => before(week_start(now, i64::from(weeks) - 1, zone)?),
    };
    let nobody = DecisionId::default();
    let mut held: Vec<(Timestamp, Option<&str>, DecisionId)> = contacts
        .iter()
        .filter(|contact| counts(cap, contact) && contact.handed_at > start)
        .map(|contact| (contact.handed_at, contact.flow.as_deref(), contact.id))
        .chain(extra.filter(|at| *at > start).map(|at| (at, None, nobody)))
        .collect();
    let limit = usize::try_from(cap.limit).unwrap_or(usize::MAX);
    if held.len() < limit {
        return None;
    }
    held.sort_unstable();
    // The contact whose end makes room: all older ones are gone by then.
    let holder = held.get(held.len() - limit).copied();
    let until = holder
        .and_then(|(at, ..)| match cap.window {
            Window::Rolling(span) => Some(at.plus(span)),
            Window::Days(days) => day_start(at, -i64::from(days), zone),
            Window::Weeks(weeks) => week_start(at, -i64::from(weeks), zone),
        })
        .unwrap_or_else(|| now.plus(FOR_EVER));
    Some(Full {
        until,
        count: held.len(),
        holder: holder.map(|(at, flow, id)| (at, flow.map(str::to_owned), id)),
    })
}

fn before(at: Timestamp) -> Timestamp {
    at.minus(Span::from_millis(1))
}

/// The newest marketing contact that holds its slot.
pub(super) fn last_contact(contacts: &Contacts) -> Option<&Contact> {
    contacts
        .iter()
        .filter(|contact| contact.class == Class::Marketing && contact.holds_slot())
        .max_by_key(|contact| contact.handed_at)
}

fn scope(cap: &Cap) -> String {
    match &cap.scope {
        CapScope::Channel(channel) => channel.to_string(),
        CapScope::Class(class) => class.name().to_owned(),
        CapScope::Discount => "discount".to_owned(),
        CapScope::Any => "any".to_owned(),
    }
}

fn window(cap: &Cap) -> String {
    match cap.window {
        Window::Rolling(span) => span.to_string(),
        Window::Days(1) => "1 calendar day".to_owned(),
        Window::Weeks(1) => "1 calendar week".to_owned(),
        Window::Days(days) => format!("{days} calendar days"),
        Window::Weeks(weeks) => format!("{weeks} calendar weeks"),
    }
}

/// A full cap, for `explain`.
pub(super) fn seen(cap: &Cap, full: &Full) -> Seen {
    let (at, flow, decision) = match &full.holder {
        Some((at, flow, id)) => (Some(*at), flow.clone(), Some(*id)),
        None => (None, None, None),
    };
    Seen {
        scope: Some(scope(cap)),
        flow,
        decision,
        at,
        until: Some(full.until),
        count: u32::try_from(full.count).ok(),
        limit: Some(cap.limit),
        window: Some(window(cap)),
        ..Seen::default()
    }
}

/// A cap in words, for the decision log.
pub(super) fn describe(cap: &Cap, full: &Full) -> String {
    let (scope, window) = (scope(cap), window(cap));
    let count = full.count;
    let holder = full.holder.as_ref().map(|(at, flow, _)| {
        let flow = flow.as_deref().unwrap_or("a request");
        format!(", {flow} at {at}")
    });
    let holder = holder.unwrap_or_default();
    format!("{scope}: {count} of {} in {window}{holder}", cap.limit)
}
