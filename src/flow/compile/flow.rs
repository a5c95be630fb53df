//! One flow: each key checked for its meaning.

use std::sync::Arc;

use super::enter::key_name;
use super::{LONGEST, Surroundings, exits, steps, word};
use crate::event::EventType;
use crate::flow::condition::About;
use crate::flow::condition::fields::Field;
use crate::flow::problem::{At, Place, Problems};
use crate::flow::spec::{FlowSpec, OfferSpec};
use crate::flow::{Because, Class, Flow, InstanceKey, OfferTemplate};
use crate::value::Span;

/// Between the extremes of what is written for flows.
const DEFAULT_PRIORITY: u32 = 50;
const MAX_PRIORITY: u32 = 1_000;
/// Long enough for any cascade of the shipped kind; a flow that means longer says so.
const DEFAULT_EXPIRES: Span = Span::from_days(7);
/// product.md §5.6: the nightly batch of offline receipts starts nothing.
const DEFAULT_MAX_AGE: Span = Span::from_days(1);
const MAX_NAME: usize = 64;

/// Checks a flow of the right shape; `None` (and a problem added) when something in it means nothing.
pub(super) fn compile(
    spec: &FlowSpec,
    surroundings: &Surroundings<'_>,
    problems: &mut Problems<'_>,
) -> Option<Flow> {
    let mut check = Check {
        surroundings,
        problems,
        later: About::ANY,
    };
    let name = check.name("flow", &spec.flow);
    let class = check.class(&spec.class);
    let list = check.list(spec, class);
    let reason = match &spec.reason {
        Some(reason) => check.because(reason),
        None => name.clone().map(|word| Because { word, field: None }),
    };
    let group = spec
        .exclusive_group
        .as_ref()
        .map(|group| check.name("exclusive_group", group));
    let priority = check.priority(spec.priority.as_ref());
    let instance = check.instance(spec.instance.as_ref());
    let enter = check.enter(&spec.enter, instance);
    let after = check.after(spec.after.as_ref(), instance);
    let exits = exits::compile(&spec.exit, &mut check);
    let reenter = check.reenter(spec.reenter.as_ref());
    let expires = check.span_or("expires", spec.expires.as_ref(), DEFAULT_EXPIRES, LONGEST);
    let max_age = check.span_or("max_age", spec.max_age.as_ref(), DEFAULT_MAX_AGE, LONGEST);
    let holdout = check.holdout(spec.holdout.as_ref(), class);
    let offer = spec
        .offer
        .as_ref()
        .map(|offer| check.offer(offer, instance));
    let steps = steps::compile(spec, &mut check);
    if let (Some(after), Some(expires), Some(steps)) = (after, expires, &steps) {
        steps::check_time(spec, after, expires, steps, &mut check);
    }
    // The canonical form is what the version is made of and what is kept: a comment or a test makes no new version.
    let text = match spec.canonical() {
        Ok(text) => text,
        Err(error) => {
            check.problems.add(
                spec.place(),
                format!("the flow cannot be written: {error}"),
                "",
            );
            return None;
        }
    };
    let version = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()));
    Some(Flow {
        name: name?,
        version: version.into(),
        text: text.into(),
        class: class?,
        list: list?,
        reason: reason?,
        priority: priority?,
        exclusive_group: transpose(group)?,
        instance: instance?,
        enter: enter?,
        after: after?,
        exits: exits?,
        reenter: reenter?,
        expires: expires?,
        max_age: max_age?,
        holdout: holdout?,
        offer: transpose(offer)?,
        steps: steps?,
    })
}

/// Not written is fine; written badly is not.
fn transpose<T>(part: Option<Option<T>>) -> Option<Option<T>> {
    match part {
        None => Some(None),
        Some(part) => part.map(Some),
    }
}

/// What a check needs at hand, and the checks of what comes in more than one place.
pub(super) struct Check<'a, 'p> {
    pub(super) surroundings: &'a Surroundings<'a>,
    pub(super) problems: &'a mut Problems<'p>,
    /// What an instance is about, for exits and steps.
    pub(super) later: About,
}

impl Check<'_, '_> {
    pub(super) fn bad<T>(
        &mut self,
        place: Place,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Option<T> {
        self.problems.add(place, message, remedy);
        None
    }

    /// A name that becomes a label, a key or a scope: lower case, digits, `_` and `-`.
    fn name(&mut self, key: &str, written: &At<String>) -> Option<Arc<str>> {
        let fits = written.value.len() <= MAX_NAME
            && written.value.starts_with(|c: char| c.is_ascii_lowercase())
            && written
                .value
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if fits {
            return Some(written.value.as_str().into());
        }
        self.bad(
            written.place,
            format!("`{key}` is a name, `{}` is none", written.value),
            format!("lower-case letters, digits, `_` and `-`, a letter first, at most {MAX_NAME}"),
        )
    }

    /// A name, or the beginning of one and a field of the customer that says the rest in words of a closed set.
    fn because(&mut self, written: &At<String>) -> Option<Because> {
        let Some((word, rest)) = written.value.split_once("${") else {
            let word = self.name("reason", written)?;
            return Some(Because { word, field: None });
        };
        let beginning = At {
            value: word.to_owned(),
            place: written.place,
        };
        let word = self.name("reason", &beginning)?;
        let closed = |field: &Field| !field.origin().is_of_event() && !field.values().is_empty();
        let field = rest.strip_suffix('}').and_then(Field::parse);
        if let Some(field) = field.filter(closed) {
            let field = Some(field);
            return Some(Because { word, field });
        }
        let known = Field::ALL.iter().copied().filter(closed);
        let known: Vec<_> = known
            .map(|field| format!("${{{}}}", field.name()))
            .collect();
        self.bad(
            written.place,
            format!("`reason` cannot be filled in from `${{{rest}`"),
            format!("it may end in one of {}", known.join(", ")),
        )
    }

    fn class(&mut self, written: &At<String>) -> Option<Class> {
        let known = [Class::Marketing, Class::Service, Class::Transactional].map(Class::name);
        word("class", written, Class::parse, known, self.problems)
    }

    fn list(&mut self, spec: &FlowSpec, class: Option<Class>) -> Option<Option<Arc<str>>> {
        match (&spec.list, class) {
            (Some(list), _) => self.name("list", list).map(Some),
            (None, Some(Class::Marketing | Class::Service)) => self.bad(
                spec.class.place,
                format!("a {} flow has no `list`", spec.class.value),
                "consent is given per list: name the one that this flow needs, as `list: offers`",
            ),
            (None, Some(Class::Transactional) | None) => Some(None),
        }
    }

    fn priority(&mut self, written: Option<&At<i64>>) -> Option<u32> {
        let Some(written) = written else {
            return Some(DEFAULT_PRIORITY);
        };
        match u32::try_from(written.value) {
            Ok(priority) if priority <= MAX_PRIORITY => Some(priority),
            _ => self.bad(
                written.place,
                format!("`priority` {} is out of range", written.value),
                format!("from 0 to {MAX_PRIORITY}; higher wins"),
            ),
        }
    }

    pub(super) fn span(&mut self, key: &str, written: &At<String>, longest: Span) -> Option<Span> {
        match written.value.parse::<Span>() {
            Ok(span) if span <= longest => Some(span),
            Ok(_) => self.bad(
                written.place,
                format!("`{key}` is longer than {longest}"),
                format!("write `{longest}` or less"),
            ),
            Err(_) if is_span_written(&written.value) => self.bad(
                written.place,
                format!("`{key}` is longer than {longest}"),
                format!("write `{longest}` or less"),
            ),
            Err(error) => {
                let remedy = span_remedy(&written.value);
                self.bad(written.place, format!("`{key}`: {error}"), remedy)
            }
        }
    }

    pub(super) fn span_or(
        &mut self,
        key: &str,
        written: Option<&At<String>>,
        default: Span,
        longest: Span,
    ) -> Option<Span> {
        match written {
            None => Some(default),
            Some(written) => self.span(key, written, longest),
        }
    }

    pub(super) fn events(&mut self, written: &[At<String>]) -> Option<Vec<EventType>> {
        let names = || EventType::ALL.iter().map(|event| event.name());
        let mut events = Vec::with_capacity(written.len());
        let mut whole = true;
        for name in written {
            match word("event", name, EventType::parse, names(), self.problems) {
                Some(event) if events.contains(&event) => {
                    whole = false;
                    self.bad::<()>(
                        name.place,
                        format!("`{}` stands here twice", event.name()),
                        "leave one of them out",
                    );
                }
                Some(event) => events.push(event),
                None => whole = false,
            }
        }
        whole.then_some(events)
    }

    /// In hundredths of a percent.
    fn holdout(&mut self, written: Option<&At<String>>, class: Option<Class>) -> Option<u32> {
        let Some(written) = written else {
            return Some(0);
        };
        if let Some(class @ (Class::Service | Class::Transactional)) = class {
            return self.bad(
                written.place,
                format!(
                    "`holdout` does nothing in a flow of class `{}`: only marketing is held back",
                    class.name()
                ),
                "leave it out",
            );
        }
        match percent(&written.value) {
            Some(share) if share <= 10_000 => Some(share),
            _ => self.bad(
                written.place,
                format!(
                    "`holdout` is a share from 0% to 100%, `{}` is none",
                    written.value
                ),
                "such as 5% or 2.5%",
            ),
        }
    }

    fn offer(
        &mut self,
        written: &OfferSpec,
        instance: Option<InstanceKey>,
    ) -> Option<OfferTemplate> {
        let mut known = vec!["customer_id", "instance"];
        known.extend(
            instance
                .filter(|key| *key != InstanceKey::Customer)
                .map(key_name),
        );
        let mut rest = written.id.value.as_str();
        let mut whole = true;
        while let Some((_, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else {
                let remedy = "close it, as in `${customer_id}`";
                return self.bad(written.id.place, "`${` without `}`", remedy);
            };
            if !known.contains(&name) {
                whole = false;
                self.bad::<()>(
                    written.id.place,
                    format!("`${{{name}}}` cannot be filled in"),
                    format!(
                        "this flow knows {}",
                        known
                            .iter()
                            .map(|name| format!("${{{name}}}"))
                            .collect::<Vec<_>>()
                            .join(", ")
                    ),
                );
            }
            rest = after;
        }
        whole.then(|| OfferTemplate {
            id: written.id.value.as_str().into(),
            discount: written.discount.as_ref().is_some_and(|at| at.value),
        })
    }
}

/// A number and a unit, and yet no length of time: more than there is.
fn is_span_written(written: &str) -> bool {
    let unit = written.trim_start_matches(|c: char| c.is_ascii_digit());
    unit.len() < written.len() && matches!(unit, "ms" | "s" | "m" | "h" | "d" | "w")
}

/// What was most likely meant by a length of time that is none: "4 hours", "1 day", "1.5h".
fn span_remedy(written: &str) -> String {
    let digits = written.chars().take_while(char::is_ascii_digit).count();
    let (number, rest) = written.split_at_checked(digits).unwrap_or(("", written));
    let unit = rest.trim_start().chars().next();
    let unit = match unit {
        _ if rest.trim_start().starts_with("ms") => Some("ms"),
        _ if rest.trim_start().starts_with("mo") => None,
        Some('s') => Some("s"),
        Some('m') => Some("m"),
        Some('h') => Some("h"),
        Some('d') => Some("d"),
        Some('w') => Some("w"),
        Some(_) | None => None,
    };
    match unit.filter(|_| !number.is_empty()) {
        Some(unit) => format!("write `{number}{unit}`"),
        None => "write a whole number and its unit, such as `4h`".to_owned(),
    }
}

/// `5%`, `2.5%`, `0.25%` in hundredths of a percent.
fn percent(text: &str) -> Option<u32> {
    let number = text.strip_suffix('%')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 2 || whole.len() > 3 {
        return None;
    }
    let fraction: u32 = format!("{fraction:0<2}").parse().ok()?;
    Some(whole.parse::<u32>().ok()? * 100 + fraction)
}
