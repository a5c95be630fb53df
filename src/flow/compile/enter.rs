//! What begins an instance, what tells instances apart, how long one waits, and whether it may begin again.

use super::flow::Check;
use super::{LONGEST, word};
use crate::event::EventType;
use crate::flow::condition::fields::Origin;
use crate::flow::condition::{About, Setting};
use crate::flow::moment::EXPECTED;
use crate::flow::problem::{At, did_you_mean};
use crate::flow::spec::{AfterSpec, EnterSpec, ReenterSpec};
use crate::flow::{
    Condition, Enter, InstanceKey, Landmark, Moment, Occasion, Reenter, Wait, moment,
};
use crate::value::Span;

/// Re-entry may be rarer than any instance lives.
const LONGEST_REENTER: Span = Span::from_days(730);
/// Absence may be longer than any instance lives.
const LONGEST_ABSENCE: Span = Span::from_days(730);
/// A shorter absence is no absence: the customer is still there.
const SHORTEST_ABSENCE: Span = Span::from_minutes(1);

/// The keys of `enter` that say what begins an instance.
const WAYS: &str = "`events`, `absence` with `for`, `at`, or `becomes`";

impl Check<'_, '_> {
    pub(super) fn instance(&mut self, written: Option<&At<String>>) -> Option<InstanceKey> {
        let Some(written) = written else {
            return Some(InstanceKey::Customer);
        };
        let known = [
            InstanceKey::Cart,
            InstanceKey::Order,
            InstanceKey::Product,
            InstanceKey::Customer,
        ];
        word(
            "instance key",
            written,
            |name| known.into_iter().find(|key| key_name(*key) == name),
            known.map(key_name),
            self.problems,
        )
    }

    pub(super) fn enter(
        &mut self,
        spec: &EnterSpec,
        instance: Option<InstanceKey>,
    ) -> Option<Enter> {
        let ways = [
            spec.events.as_ref().map(|at| at.place),
            spec.absence.as_ref().map(|at| at.place),
            spec.at.as_ref().map(|at| at.place),
            spec.becomes.as_ref().map(|at| at.place),
        ];
        let written: Vec<_> = ways.into_iter().flatten().collect();
        if let Some(second) = written.get(1) {
            self.bad::<()>(
                *second,
                "a flow begins in one way",
                format!("write one of {WAYS}, and a flow of its own for the other"),
            );
        }
        if let (Some(span), None) = (&spec.span, &spec.absence) {
            self.bad::<()>(
                span.place,
                "`for` says how long an absence lasts, and there is none",
                "write `absence: [order_completed]` beside it; a wait after the entry is `after`",
            );
        }
        let on = if let Some(events) = &spec.events {
            self.entering(&events.value, instance).map(Occasion::Events)
        } else if let Some(of) = &spec.absence {
            self.absence(spec, of, instance)
        } else if let Some(at) = &spec.at {
            self.entry_moment(at, instance).map(Occasion::Moment)
        } else {
            self.becomes(spec, instance)
        };
        let events = match &on {
            Some(Occasion::Events(events)) => Some(events.as_slice()),
            Some(Occasion::Absence { .. } | Occasion::Moment(_) | Occasion::Becomes(_)) => None,
            // Which events they are is not known: then the condition may ask for what any of them tells.
            None if spec.absence.is_none() && spec.at.is_none() && spec.becomes.is_none() => {
                Some(EventType::ALL)
            }
            None => None,
        };
        let about = match (&on, instance) {
            (Some(on), Some(instance)) => {
                self.later = about_later(on, instance);
                about_at_entry(on, instance)
            }
            (None, _) if spec.becomes.is_some() => About::NOTHING,
            (Some(_) | None, _) => About::ANY,
        };
        let when = self.condition(spec.when.as_ref(), events, about)?;
        Some(Enter { on: on?, when })
    }

    fn entering(
        &mut self,
        written: &[At<String>],
        instance: Option<InstanceKey>,
    ) -> Option<Vec<EventType>> {
        let events = self.events(written);
        let mut whole = true;
        for written in written {
            let Some(event) = EventType::parse(&written.value) else {
                continue;
            };
            if matches!(
                event,
                EventType::Merged | EventType::Erased | EventType::SendRequested
            ) {
                whole = false;
                self.bad::<()>(
                    written.place,
                    format!("`{}` begins no flow", event.name()),
                    "leave it out",
                );
            } else if let Some(key) = instance
                && !carries(event, key)
            {
                whole = false;
                self.bad::<()>(
                    written.place,
                    format!(
                        "`{}` names no {}, which tells the instances of this flow apart",
                        event.name(),
                        key_name(key)
                    ),
                    "choose another `instance`, or leave the event out",
                );
            }
        }
        events.filter(|events| whole && !events.is_empty())
    }

    fn absence(
        &mut self,
        spec: &EnterSpec,
        of: &At<Vec<At<String>>>,
        instance: Option<InstanceKey>,
    ) -> Option<Occasion> {
        let events = self.events(&of.value);
        self.customer_only("an absence", of, instance);
        let Some(written) = &spec.span else {
            return self.bad(of.place, "`absence` without `for`", "such as `for: 60d`");
        };
        let span = self.span("for", written, LONGEST_ABSENCE)?;
        if span < SHORTEST_ABSENCE {
            return self.bad(
                written.place,
                format!("`for` is shorter than {SHORTEST_ABSENCE}"),
                format!("write `for: {SHORTEST_ABSENCE}` or more"),
            );
        }
        Some(Occasion::Absence {
            of: events.filter(|events| !events.is_empty())?,
            span,
        })
    }

    /// What is the customer's as a whole has no cart, order or product to tell instances apart by.
    fn customer_only<T>(&mut self, what: &str, at: &At<T>, instance: Option<InstanceKey>) {
        if let Some(key) = instance.filter(|key| *key != InstanceKey::Customer) {
            self.bad::<()>(
                at.place,
                format!("{what} is the customer's and names no {}", key_name(key)),
                "write `instance: customer`",
            );
        }
    }

    fn entry_moment(
        &mut self,
        written: &At<String>,
        instance: Option<InstanceKey>,
    ) -> Option<Moment> {
        let moment = self.moment("at", written)?;
        let of_product = matches!(
            moment,
            Moment::Known {
                landmark: Landmark::Depletion,
                ..
            }
        );
        match instance {
            Some(InstanceKey::Product) if of_product => {}
            _ if of_product => {
                self.bad::<()>(
                    written.place,
                    "`depletion` is of a customer and a product",
                    "write `instance: product_id`",
                );
            }
            _ => self.customer_only("this moment", written, instance),
        }
        Some(moment)
    }

    pub(super) fn moment(&mut self, key: &str, written: &At<String>) -> Option<Moment> {
        match Moment::parse(&written.value) {
            Ok(moment) => Some(moment),
            Err(error) => {
                let first = written.value.split_whitespace().next().unwrap_or_default();
                let names = Landmark::ALL
                    .iter()
                    .map(|(landmark, _)| landmark.name())
                    .chain(moment::WEEKDAYS);
                let is_time = first.starts_with(|c: char| c.is_ascii_digit());
                // A name that is right is not what is wrong.
                let remedy = if is_time || moment::WEEKDAYS.contains(&first) {
                    "a time of day goes from 00:00 to 23:59, as in \"08:30 local\" or \"monday 08:30 local\"".to_owned()
                } else if Landmark::parse(first).is_some() {
                    format!("write {EXPECTED}")
                } else {
                    did_you_mean(first, names)
                };
                self.bad(written.place, format!("`{key}`: {error}"), remedy)
            }
        }
    }

    fn becomes(&mut self, spec: &EnterSpec, instance: Option<InstanceKey>) -> Option<Occasion> {
        let written = spec.becomes.as_ref()?;
        self.customer_only("a change of the customer", written, instance);
        let condition = self.condition(Some(written), None, About::NOTHING)??;
        let by_time: Vec<&str> = condition
            .fields()
            .into_iter()
            .filter(|field| field.moves_with_time())
            .map(crate::flow::condition::fields::Field::name)
            .collect();
        if let Some(field) = by_time.first() {
            return self.bad(
                written.place,
                format!(
                    "`{field}` moves with time alone, so nothing happens when this begins to hold"
                ),
                "begin by `absence` or `at`, and ask for the rest in `when`",
            );
        }
        Some(Occasion::Becomes(condition))
    }

    pub(super) fn after(
        &mut self,
        written: Option<&AfterSpec>,
        instance: Option<InstanceKey>,
    ) -> Option<Wait> {
        let mut whole = true;
        let mut wait = Wait {
            span: Span::ZERO,
            restarts: true,
            until: None,
        };
        match written {
            None => {}
            Some(AfterSpec::Text(text)) if is_span(&text.value) => {
                wait.span = self.span("after", text, LONGEST)?;
            }
            Some(AfterSpec::Text(text)) => {
                wait.until = Some(self.moment("after", text)?);
            }
            Some(AfterSpec::Parts {
                inactivity,
                delay,
                at,
            }) => {
                if let (Some(_), Some(second)) = (inactivity, delay) {
                    whole = false;
                    self.bad::<()>(
                        second.place,
                        "a wait is an `inactivity` or a `delay`",
                        "an inactivity is begun anew by each further event of the instance, a delay is not",
                    );
                }
                wait.restarts = delay.is_none();
                if let Some(span) = inactivity.as_ref().or(delay.as_ref()) {
                    wait.span = self.span("after", span, LONGEST)?;
                }
                if let Some(at) = at {
                    wait.until = Some(self.moment("at", at)?);
                }
            }
        }
        if let (
            Some(Moment::Known {
                landmark: Landmark::Depletion,
                ..
            }),
            Some(key),
            Some(written),
        ) = (wait.until, instance, written)
            && key != InstanceKey::Product
        {
            return self.bad(
                written.place(),
                "`depletion` is of a customer and a product",
                "write `instance: product_id`",
            );
        }
        whole.then_some(wait)
    }

    pub(super) fn reenter(&mut self, written: Option<&ReenterSpec>) -> Option<Reenter> {
        match written {
            None => Some(Reenter::Never),
            Some(ReenterSpec::Word(written)) => match written.value.as_str() {
                "never" => Some(Reenter::Never),
                "always" => Some(Reenter::Always),
                other => self.bad(
                    written.place,
                    format!("unknown re-entry rule `{other}`"),
                    "`never`, `always`, or `{ after: 14d, per: customer }`",
                ),
            },
            Some(ReenterSpec::After { after, per }) => {
                let per_customer = match per {
                    None => Some(false),
                    Some(per) => word(
                        "re-entry scope",
                        per,
                        |name| match name {
                            "instance" => Some(false),
                            "customer" => Some(true),
                            _ => None,
                        },
                        ["instance", "customer"],
                        self.problems,
                    ),
                };
                let span = self.span("reenter", after, LONGEST_REENTER);
                Some(Reenter::After {
                    span: span?,
                    per_customer: per_customer?,
                })
            }
        }
    }

    pub(super) fn condition(
        &mut self,
        written: Option<&At<String>>,
        events: Option<&[EventType]>,
        about: About,
    ) -> Option<Option<Condition>> {
        let Some(written) = written else {
            return Some(None);
        };
        let setting = Setting {
            events,
            about,
            currency_digits: self.surroundings.currency_digits,
        };
        match Condition::compile(&written.value, &setting) {
            Ok(condition) => Some(Some(condition)),
            Err(faults) => {
                for fault in faults {
                    let place =
                        self.problems
                            .within(written.place, &written.value, fault.start, fault.end);
                    self.problems.add(place, fault.message, fault.remedy);
                }
                None
            }
        }
    }
}

/// What the condition of entry can be about: of the event or the moment.
fn about_at_entry(on: &Occasion, instance: InstanceKey) -> About {
    let is_product = instance == InstanceKey::Product;
    match on {
        Occasion::Events(events) => About {
            cart: events
                .iter()
                .any(|event| carries(*event, InstanceKey::Cart)),
            product: is_product
                || events
                    .iter()
                    .any(|event| Origin::Product.is_told_by(*event)),
        },
        Occasion::Absence { .. } | Occasion::Moment(_) => About {
            cart: false,
            product: is_product,
        },
        Occasion::Becomes(_) => About::NOTHING,
    }
}

/// What an instance is about once it has begun.
fn about_later(on: &Occasion, instance: InstanceKey) -> About {
    match on {
        Occasion::Events(events) => About {
            cart: events
                .iter()
                .any(|event| carries(*event, InstanceKey::Cart)),
            product: instance != InstanceKey::Cart
                && events.iter().any(|event| names_products(*event)),
        },
        Occasion::Moment(Moment::Known { landmark, .. }) => About {
            cart: false,
            product: matches!(landmark, Landmark::Depletion | Landmark::CadenceBreak),
        },
        Occasion::Moment(Moment::Local { .. }) | Occasion::Absence { .. } => About::NOTHING,
        // Any event may have made it true.
        Occasion::Becomes(_) => About::ANY,
    }
}

/// Is this meant to be a length of time? Everything that begins with a digit and is no time of day.
fn is_span(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.') && !text.contains(':')
}

/// Name of an instance key, in flows and in offer ids.
pub(super) const fn key_name(key: InstanceKey) -> &'static str {
    match key {
        InstanceKey::Cart => "cart_id",
        InstanceKey::Order => "order_id",
        InstanceKey::Product => "product_id",
        InstanceKey::Customer => "customer",
    }
}

/// Does an event of this type name products?
const fn names_products(event: EventType) -> bool {
    carries(event, InstanceKey::Cart)
        || carries(event, InstanceKey::Product)
        || matches!(event, EventType::OrderUpdated | EventType::OrderRefunded)
}

/// Does an event of this type say which cart, order or product it is about? (Without `cart_id` a cart event belongs to the default cart.)
const fn carries(event: EventType, key: InstanceKey) -> bool {
    match key {
        InstanceKey::Customer => true,
        InstanceKey::Cart => matches!(
            event,
            EventType::ProductAdded
                | EventType::ProductRemoved
                | EventType::CartViewed
                | EventType::CartUpdated
                | EventType::CheckoutStarted
                | EventType::CheckoutStepCompleted
                | EventType::CouponApplied
        ),
        InstanceKey::Order => matches!(
            event,
            EventType::OrderCompleted
                | EventType::OrderUpdated
                | EventType::OrderCancelled
                | EventType::OrderRefunded
                | EventType::OrderShipped
                | EventType::OrderReady
                | EventType::OrderDelivered
        ),
        InstanceKey::Product => matches!(
            event,
            EventType::ProductViewed
                | EventType::ProductAdded
                | EventType::ProductRemoved
                | EventType::ProductAddedToWishlist
                | EventType::ProductReviewed
                | EventType::OrderCompleted
        ),
    }
}
