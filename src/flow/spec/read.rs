//! Takes the tree apart: each key of the contract once, each problem with its place.

use super::tree::Value;
use super::{AfterSpec, EnterSpec, ExitSpec, FlowSpec, OfferSpec, ReenterSpec, StepSpec};
use crate::flow::problem::{At, Place, Problems, did_you_mean};
use crate::flow::reference::{
    AFTER_KEYS, ENTER_KEYS, EXIT_KEYS, FLOW_KEYS, OFFER_KEYS, REENTER_KEYS, STEP_KEYS,
};

/// The entries of one mapping, its unknown keys already reported.
pub(super) struct Fields<'a> {
    what: &'static str,
    place: Place,
    entries: &'a [(At<String>, At<Value>)],
}

impl<'a> Fields<'a> {
    /// `what` names the mapping for people ("a step").
    pub(super) fn of(
        node: &'a At<Value>,
        what: &'static str,
        known: &[&str],
        problems: &mut Problems<'_>,
    ) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            let kind = node.value.kind();
            problems.add(
                node.place,
                format!("{what} is a mapping, not {kind}"),
                format!("its keys: {}", known.join(", ")),
            );
            return None;
        };
        for (key, _) in entries {
            if !known.contains(&key.value.as_str()) {
                let place = whole(key);
                problems.add(
                    place,
                    format!("unknown key `{}` in {what}", key.value),
                    did_you_mean(&key.value, known.iter().copied()),
                );
            }
        }
        Some(Self {
            what,
            place: node.place,
            entries,
        })
    }

    pub(super) fn find(&self, key: &str) -> Option<&'a At<Value>> {
        self.entries
            .iter()
            .find(|(name, _)| name.value == key)
            .map(|(_, value)| value)
    }

    pub(super) fn require(
        &self,
        key: &str,
        remedy: &str,
        problems: &mut Problems<'_>,
    ) -> Option<&'a At<Value>> {
        let found = self.find(key);
        if found.is_none() {
            problems.add(self.place, format!("{} has no `{key}`", self.what), remedy);
        }
        found
    }

    pub(super) fn text(&self, key: &str, problems: &mut Problems<'_>) -> Option<At<String>> {
        text(key, self.find(key)?, problems)
    }

    pub(super) fn required_text(
        &self,
        key: &str,
        remedy: &str,
        problems: &mut Problems<'_>,
    ) -> Option<At<String>> {
        text(key, self.require(key, remedy, problems)?, problems)
    }
}

/// The place of a scalar as wide as its text.
fn whole(text: &At<String>) -> Place {
    Place {
        width: u32::try_from(text.value.chars().count()).unwrap_or(1),
        ..text.place
    }
}

pub(super) fn text(key: &str, node: &At<Value>, problems: &mut Problems<'_>) -> Option<At<String>> {
    match &node.value {
        Value::Text(text) if !text.trim().is_empty() => Some(At {
            value: text.clone(),
            place: Place {
                width: u32::try_from(text.chars().count()).unwrap_or(1),
                ..node.place
            },
        }),
        Value::Text(_) | Value::Null => {
            problems.add(
                node.place,
                format!("`{key}` is empty"),
                "leave the key out or write a value",
            );
            None
        }
        Value::Integer(_) | Value::Decimal(_) | Value::Bool(_) => {
            let kind = node.value.kind();
            problems.add(
                node.place,
                format!("`{key}` is a text, not {kind}"),
                match key {
                    "class" => "write `class: marketing`, `service` or `transactional`",
                    "holdout" => "a share, such as 5%",
                    "after" | "expires" | "max_age" | "within" | "for" | "delay" | "inactivity" => {
                        "with its unit, such as 4h"
                    }
                    "reenter" => "write `never`, `always`, or `{ after: 14d }`",
                    "instance" => "write `cart_id`, `order_id`, `product_id` or `customer`",
                    "relevant" => "write `cart`, `product`, `category` or `any`",
                    "success" => "write `delivered`, `opened`, `clicked`, `visited` or `converted`",
                    "on_cap" => "write `defer`, `drop` or `replace`",
                    "when" | "becomes" => "a condition in quotes, such as \"cart.value >= 20.0\"",
                    _ => "write it in quotes",
                },
            );
            None
        }
        Value::List(_) | Value::Map(_) => {
            let kind = node.value.kind();
            let remedy = format!("write one value: `{key}: …`");
            problems.add(node.place, format!("`{key}` is a text, not {kind}"), remedy);
            None
        }
    }
}

/// A list; something else counts as a list of none after its problem is told.
pub(super) fn list<'a>(
    key: &str,
    node: &'a At<Value>,
    problems: &mut Problems<'_>,
) -> &'a [At<Value>] {
    match &node.value {
        Value::List(items) => items,
        Value::Null
        | Value::Bool(_)
        | Value::Integer(_)
        | Value::Decimal(_)
        | Value::Text(_)
        | Value::Map(_) => {
            let kind = node.value.kind();
            problems.add(
                node.place,
                format!("`{key}` is a list, not {kind}"),
                format!("write `{key}: [ … ]`"),
            );
            &[]
        }
    }
}

/// What stands for the name of a flow that has none, so that the rest of the file is checked all the same.
pub(in crate::flow) const NAMELESS: &str = "flow-without-a-name";

/// A word in the place of one whose problem is told already.
fn stand_in(word: &str, place: Place) -> At<String> {
    At {
        value: word.to_owned(),
        place,
    }
}

/// The whole file. What is missing or of the wrong shape is told, and something that fits stands in for it: one slip hides no other.
pub(super) fn flow(document: &At<Value>, problems: &mut Problems<'_>) -> Option<FlowSpec> {
    let fields = Fields::of(document, "a flow", FLOW_KEYS, problems)?;
    let name = fields.required_text("flow", "name it: `flow: abandoned_cart`", problems);
    let class = fields.required_text(
        "class",
        "there is no default: write `class: marketing`, `service` or `transactional`",
        problems,
    );
    let enter = fields
        .require(
            "enter",
            "say what begins it: `enter: { events: [product_added] }`",
            problems,
        )
        .and_then(|node| enter(node, problems));
    let exit = fields.find("exit").map_or_else(Vec::new, |node| {
        list("exit", node, problems)
            .iter()
            .filter_map(|node| exit(node, problems))
            .collect()
    });
    let steps = fields
        .require(
            "steps",
            "write at least one: `steps: [{ channel: email, template: … }]`",
            problems,
        )
        .map(|node| steps(node, problems));
    let priority = fields
        .find("priority")
        .and_then(|node| priority(node, problems));
    if let Some(tests) = fields.find("tests") {
        list("tests", tests, problems);
    }
    Some(FlowSpec {
        list: fields.text("list", problems),
        reason: fields.text("reason", problems),
        priority,
        exclusive_group: fields.text("exclusive_group", problems),
        instance: fields.text("instance", problems),
        after: fields.find("after").and_then(|node| after(node, problems)),
        exit,
        reenter: fields
            .find("reenter")
            .and_then(|node| reenter(node, problems)),
        expires: fields.text("expires", problems),
        max_age: fields.text("max_age", problems),
        holdout: fields.text("holdout", problems),
        offer: fields.find("offer").and_then(|node| offer(node, problems)),
        tests: fields.find("tests").cloned(),
        flow: name.unwrap_or_else(|| stand_in(NAMELESS, document.place)),
        class: class.unwrap_or_else(|| stand_in("transactional", document.place)),
        enter: enter.unwrap_or_default(),
        steps: steps.unwrap_or_default(),
    })
}

fn priority(node: &At<Value>, problems: &mut Problems<'_>) -> Option<At<i64>> {
    if let Value::Integer(value) = node.value {
        return Some(At {
            value,
            place: node.place,
        });
    }
    let kind = node.value.kind();
    problems.add(
        node.place,
        format!("`priority` is a whole number, not {kind}"),
        "from 0 to 1000; higher wins",
    );
    None
}

/// A list of event names under `key`.
fn events(key: &str, node: &At<Value>, problems: &mut Problems<'_>) -> At<Vec<At<String>>> {
    names(key, "event", node, problems)
}

/// A list of names under `key`, each of a `what`.
fn names(
    key: &str,
    what: &str,
    node: &At<Value>,
    problems: &mut Problems<'_>,
) -> At<Vec<At<String>>> {
    let value: Vec<_> = list(key, node, problems)
        .iter()
        .filter_map(|node| text(key, node, problems))
        .collect();
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        let remedy = format!("name at least one {what}");
        problems.add(node.place, format!("`{key}` names no {what}"), remedy);
    }
    At {
        value,
        place: node.place,
    }
}

fn enter(node: &At<Value>, problems: &mut Problems<'_>) -> Option<EnterSpec> {
    let fields = Fields::of(node, "`enter`", ENTER_KEYS, problems)?;
    let find = |key, problems: &mut Problems<'_>| {
        let node = fields.find(key)?;
        Some(events(key, node, problems))
    };
    let ways = ["events", "absence", "at", "becomes"];
    if ways.iter().all(|way| fields.find(way).is_none()) {
        problems.add(
            node.place,
            "`enter` does not say what begins the flow",
            "by event: `events: [order_completed]`; by absence: `absence` and `for`; by time: `at`; by change: `becomes`",
        );
    }
    Some(EnterSpec {
        events: find("events", problems),
        absence: find("absence", problems),
        span: fields.text("for", problems),
        at: fields.text("at", problems),
        becomes: fields.text("becomes", problems),
        when: fields.text("when", problems),
    })
}

fn after(node: &At<Value>, problems: &mut Problems<'_>) -> Option<AfterSpec> {
    if !matches!(node.value, Value::Map(_)) {
        return text("after", node, problems).map(AfterSpec::Text);
    }
    let fields = Fields::of(node, "`after`", AFTER_KEYS, problems)?;
    Some(AfterSpec::Parts {
        inactivity: fields.text("inactivity", problems),
        delay: fields.text("delay", problems),
        at: fields.text("at", problems),
    })
}

fn exit(node: &At<Value>, problems: &mut Problems<'_>) -> Option<ExitSpec> {
    let fields = Fields::of(node, "an exit rule", EXIT_KEYS, problems)?;
    let remedy = "name them: `events: [order_completed]`";
    let events_node = fields.require("events", remedy, problems);
    Some(ExitSpec {
        when: fields.text("when", problems),
        relevant: fields.text("relevant", problems),
        reason: fields.text("reason", problems),
        events: events_node.map_or_else(Vec::new, |node| events("events", node, problems).value),
    })
}

fn reenter(node: &At<Value>, problems: &mut Problems<'_>) -> Option<ReenterSpec> {
    if !matches!(node.value, Value::Map(_)) {
        return text("reenter", node, problems).map(ReenterSpec::Word);
    }
    let fields = Fields::of(node, "`reenter`", REENTER_KEYS, problems)?;
    let per = fields.text("per", problems);
    let after = fields.required_text("after", "a length of time such as 14d", problems)?;
    Some(ReenterSpec::After { after, per })
}

fn offer(node: &At<Value>, problems: &mut Problems<'_>) -> Option<OfferSpec> {
    let fields = Fields::of(node, "`offer`", OFFER_KEYS, problems)?;
    let discount = fields.find("discount").and_then(|node| {
        if let Value::Bool(value) = node.value {
            return Some(At {
                value,
                place: node.place,
            });
        }
        let kind = node.value.kind();
        problems.add(
            node.place,
            format!("`discount` is true or false, not {kind}"),
            "write `discount: true` when it counts against the discount cap",
        );
        None
    });
    let id = fields.required_text("id", "name the offer: `id: \"cart:${cart_id}\"`", problems)?;
    Some(OfferSpec { id, discount })
}

fn steps(node: &At<Value>, problems: &mut Problems<'_>) -> Vec<StepSpec> {
    let items = list("steps", node, problems);
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        problems.add(
            node.place,
            "a flow without a step says nothing",
            "write at least one: `steps: [{ channel: email, template: … }]`",
        );
    }
    items
        .iter()
        .filter_map(|node| step(node, problems))
        .collect()
}

fn step(node: &At<Value>, problems: &mut Problems<'_>) -> Option<StepSpec> {
    let fields = Fields::of(node, "a step", STEP_KEYS, problems)?;
    let channel = fields.text("channel", problems);
    let channels = fields
        .find("channels")
        .map(|node| names("channels", "channel", node, problems));
    match (fields.find("channel"), fields.find("channels")) {
        (None, None) => {
            fields.require("channel", "say on which channel it speaks", problems);
        }
        (Some(_), Some(several)) => problems.add(
            several.place,
            "`channel` and `channels` both say on what the step speaks",
            "write one of them",
        ),
        (Some(_), None) | (None, Some(_)) => {}
    }
    let template = fields.required_text("template", "say what it sends", problems);
    Some(StepSpec {
        when: fields.text("when", problems),
        success: fields.text("success", problems),
        within: fields.text("within", problems),
        on_cap: fields.text("on_cap", problems),
        channel,
        channels,
        template: template.unwrap_or_else(|| stand_in("template", node.place)),
    })
}
