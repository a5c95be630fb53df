//! The exit rules of a flow.

use super::flow::Check;
use super::{MAX_EXITS, word};
use crate::decision::Reason;
use crate::event::EventType;
use crate::flow::condition::fields::Origin;
use crate::flow::problem::Place;
use crate::flow::spec::ExitSpec;
use crate::flow::{Exit, Relevance};

/// Checks the exit rules.
pub(super) fn compile(written: &[ExitSpec], check: &mut Check<'_, '_>) -> Option<Vec<Exit>> {
    if written.len() > MAX_EXITS {
        let place = written
            .iter()
            .find_map(|exit| exit.events.first())
            .map_or_else(Place::default, |event| event.place);
        return check.bad(
            place,
            format!("{} exit rules are more than {MAX_EXITS}", written.len()),
            "join those of one reason: `events: [ … ]`",
        );
    }
    let exits: Vec<_> = written.iter().map(|written| exit(written, check)).collect();
    exits.into_iter().collect()
}

fn exit(written: &ExitSpec, check: &mut Check<'_, '_>) -> Option<Exit> {
    let events = check.events(&written.events);
    let relevant = match &written.relevant {
        None => Some(None),
        Some(relevant) => word(
            "relevance",
            relevant,
            relevance,
            ["cart", "product", "category", "any"],
            check.problems,
        )
        .map(Some),
    };
    let reason = match &written.reason {
        None if written.relevant.is_some() => Some(Reason::PurchasedRelevant),
        None => Some(Reason::ExitEvent),
        Some(reason) => word(
            "reason",
            reason,
            Reason::parse,
            Reason::ALL.iter().map(|reason| reason.name()),
            check.problems,
        ),
    };
    // By events that are not known a condition may ask for what any of them tells.
    let known = events.as_deref().filter(|events| !events.is_empty());
    let asked = known.unwrap_or(EventType::ALL);
    let mut about = check.later;
    about.product |= asked.iter().any(|event| Origin::Product.is_told_by(*event));
    let when = check.condition(written.when.as_ref(), Some(asked), about);
    if let Some(relevant) = &written.relevant {
        for event in known.unwrap_or_default() {
            if !matches!(event, EventType::OrderCompleted | EventType::OrderUpdated) {
                check.bad::<()>(
                    relevant.place,
                    format!(
                        "`relevant` asks what was bought, and `{}` is no purchase",
                        event.name()
                    ),
                    "give that event an exit rule of its own",
                );
            }
        }
    }
    Some(Exit {
        events: events?,
        when: when?,
        relevant: relevant?,
        reason: reason?,
    })
}

fn relevance(name: &str) -> Option<Relevance> {
    Some(match name {
        "cart" => Relevance::Cart,
        "product" => Relevance::Product,
        "category" => Relevance::Category,
        "any" => Relevance::Any,
        _ => return None,
    })
}
