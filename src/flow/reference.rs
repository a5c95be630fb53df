//! Every key of a flow file, once: what it is, what may stand there, an example. The reader's lists of known keys, the JSON Schema that
//! editors complete and check with, and the reference in `deploy/flows/README.md` all come from here.

use serde_json::{Map, Value as Json, json};

use super::condition::fields::Field;
use super::moment::{Landmark, WEEKDAYS};
use crate::decision::{Reason, VerdictKind};
use crate::event::EventType;

/// What may stand at a key.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// A name: lower-case letters, digits, `_`, `-`.
    Name,
    /// Any text.
    Text,
    /// A whole number from the first to the second.
    Whole(u32, u32),
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A length of time.
    Span,
    /// A share such as `5%`.
    Share,
    /// A condition in CEL.
    Condition,
    /// A moment.
    Moment,
    /// A point in time.
    Time,
    /// Names of events.
    Events,
    /// One of the closed set of reasons.
    Reason,
    /// A kind of decision.
    Kind,
    /// Names.
    Names,
    /// A mapping of these keys.
    Section(&'static Section),
    /// A list of such mappings.
    List(&'static Section),
    /// What stands there is checked elsewhere.
    Mapping,
    /// An event as on the bus, with `at`.
    Acts,
    /// One or the other.
    Either(&'static [Shape]),
}

/// One key.
#[derive(Debug)]
struct Key {
    name: &'static str,
    shape: Shape,
    about: &'static str,
    example: &'static str,
    required: bool,
}

/// The keys of one mapping.
#[derive(Debug)]
struct Section {
    title: &'static str,
    keys: &'static [Key],
}

/// Declares a mapping: `"key" = shape, "what it is", "example";`, with `[required]` after the key when it has to be there.
macro_rules! section {
    ($section:ident, $names:ident, $title:literal { $($key:literal $([$required:ident])? = $shape:expr, $about:literal, $example:literal;)* }) => {
        #[doc = concat!("Keys of ", $title, ".")]
        pub(super) const $names: &[&str] = &[$($key),*];
        static $section: Section = Section {
            title: $title,
            keys: &[$(Key {
                name: $key,
                shape: $shape,
                about: $about,
                example: $example,
                required: !stringify!($($required)?).is_empty(),
            }),*],
        };
    };
}

section! { FLOW, FLOW_KEYS, "a flow" {
    "flow" [required] = Shape::Name, "Its name: in decisions, metrics and tests.", "flow: abandoned_cart";
    "class" [required] = Shape::Words(&["marketing", "service", "transactional"]), "Decides which checks of the gate it meets. No default.", "class: marketing";
    "list" = Shape::Name, "Consent list. Needed unless `transactional`.", "list: offers";
    "reason" = Shape::Text, "What triggers state as their reason; may end in a word of the customer's. Default: the name.", "reason: \"winback_${profile.winback_reason}\"";
    "priority" = Shape::Whole(0, 1_000), "0 to 1000, higher wins. Default 50.", "priority: 60";
    "exclusive_group" = Shape::Name, "At most one running instance per customer among the flows of a group; the higher priority wins.", "exclusive_group: cart";
    "instance" = Shape::Words(&["cart_id", "order_id", "product_id", "customer"]), "What tells instances apart. Default `customer`.", "instance: cart_id";
    "enter" [required] = Shape::Section(&ENTER), "What begins an instance.", "enter: { events: [product_added] }";
    "after" = Shape::Either(&[Shape::Span, Shape::Moment, Shape::Section(&AFTER)]), "Wait before the first step. A length of time is begun anew by each further entering event of the instance.", "after: 4h";
    "exit" = Shape::List(&EXIT), "What ends an instance; looked at before entries. What it handed over and is unsent is recalled.", "exit: [{ events: [order_completed], relevant: cart }]";
    "reenter" = Shape::Either(&[Shape::Words(&["never", "always"]), Shape::Section(&REENTER)]), "May it begin again? Default `never`: once per instance key.", "reenter: { after: 14d, per: customer }";
    "expires" = Shape::Span, "An instance lives at most that long. Default 7d.", "expires: 3d";
    "max_age" = Shape::Span, "An older event enters nothing. Default 1d.", "max_age: 1d";
    "holdout" = Shape::Share, "The flow's own control group, beside the global one; of marketing flows. Default none.", "holdout: 5%";
    "offer" = Shape::Section(&OFFER), "What it offers. Whom an earlier message with it reached on one channel (an open, a click, a purchase) gets it on no other, its own cascade apart; on the same channel the same template with it leaves once within `same_message`.", "offer: { id: \"cart:${cart_id}\" }";
    "steps" [required] = Shape::List(&STEP), "The cascade: the next step starts only when the one before it failed.", "steps: [{ channel: email, template: cart_reminder }]";
    "tests" = Shape::List(&TEST), "Tests of this flow; run by `tidegate test`, no part of its version.", "tests: [{ name: …, events: […], expect: [] }]";
} }

section! { ENTER, ENTER_KEYS, "`enter`" {
    "events" = Shape::Events, "By event: any of these.", "events: [product_added, cart_updated]";
    "absence" = Shape::Events, "By absence: none of these events for so long as `for` says, counted from the last one.", "absence: [order_completed]";
    "for" = Shape::Span, "How long an absence lasts.", "for: 60d";
    "at" = Shape::Moment, "By time: when this moment comes. `depletion` wants `instance: product_id`.", "at: \"depletion - 5d\"";
    "becomes" = Shape::Condition, "By change of the customer: when an event makes this true that was not. Has to hold before every step too.", "becomes: \"profile.vip\"";
    "when" = Shape::Condition, "Only then; checked again before every step.", "when: \"cart.value >= 20.0\"";
} }

section! { AFTER, AFTER_KEYS, "`after`" {
    "inactivity" = Shape::Span, "A length of time that each further entering event of the instance begins anew.", "inactivity: 4h";
    "delay" = Shape::Span, "A length of time that nothing begins anew.", "delay: 7d";
    "at" = Shape::Moment, "And then until this moment.", "at: \"10:00 local\"";
} }

section! { EXIT, EXIT_KEYS, "an exit rule" {
    "events" [required] = Shape::Events, "Any of these; of the same instance where the event names one.", "events: [order_completed]";
    "when" = Shape::Condition, "Only then.", "when: \"cart.items == 0\"";
    "relevant" = Shape::Words(&["cart", "product", "category", "any"]), "Only purchases that make the instance pointless.", "relevant: cart";
    "reason" = Shape::Reason, "Stated in what it recalls. Default `purchased_relevant` with `relevant`, else `exit_event`.", "reason: cart_empty";
} }

section! { REENTER, REENTER_KEYS, "`reenter`" {
    "after" [required] = Shape::Span, "That long after the last trigger.", "after: 14d";
    "per" = Shape::Words(&["instance", "customer"]), "Counted per instance key (default) or per customer.", "per: customer";
} }

section! { OFFER, OFFER_KEYS, "`offer`" {
    "id" [required] = Shape::Text, "Names it; `${cart_id}`, `${order_id}`, `${product_id}`, `${customer_id}`, `${instance}` are filled in.", "id: \"cart:${cart_id}\"";
    "discount" = Shape::Flag, "Counts against the discount cap. Default false.", "discount: true";
} }

section! { STEP, STEP_KEYS, "a step" {
    "channel" = Shape::Name, "On which channel of the configuration. `any`: whichever policy takes, the cheapest that is active and reaches the customer, of those that no other step names.", "channel: email";
    "channels" = Shape::Names, "Instead of `channel`: whichever of these policy takes. Of equal cost the one that stands first.", "channels: [push, email]";
    "template" [required] = Shape::Text, "What to send, by the sender's name for it.", "template: cart_reminder";
    "when" = Shape::Condition, "Passed over unless it holds. Of `cart` and `profile`: there is no event at hand.", "when: \"profile.vip\"";
    "success" = Shape::Words(&["delivered", "opened", "clicked", "visited", "converted"]), "What counts as reached. Without it the next step starts only when this one could not be sent.", "success: clicked";
    "within" = Shape::Span, "From `sent`, else from hand-over. Default 24h.", "within: 6h";
    "on_cap" = Shape::Words(&["defer", "drop", "replace"]), "When a cap is full: wait (default), give up, or take the place of a lower priority that has not left.", "on_cap: replace";
} }

section! { TEST, TEST_KEYS, "a test" {
    "name" [required] = Shape::Text, "A sentence that says what it shows.", "name: a small cart is left alone";
    "config" = Shape::Mapping, "Settings laid over the configuration.", "config: { policy: { min_gap: 0s } }";
    "with" = Shape::Either(&[Shape::Words(&["all"]), Shape::Names]), "Flows in force beside this one. Default none.", "with: [abandoned_cart]";
    "strangers" = Shape::Names, "Customers of whom nothing is known; all others are reachable and consenting.", "strangers: [c2]";
    "events" [required] = Shape::Acts, "What happens: events as on the bus, `at` is when each arrives; `decision_id: \"@1\"` is the first trigger.", "events: [{ at: 2026-03-01T10:00:00Z, type: signed_up, customer_id: c1 }]";
    "until" = Shape::Time, "The clock runs on to that time.", "until: 2026-03-02T10:00:00Z";
    "expect" [required] = Shape::List(&EXPECT), "Every trigger, cancel and refusal of this flow, in order; other kinds when one of that kind is named.", "expect: [{ kind: trigger, channel: email }]";
} }

section! { EXPECT, EXPECT_KEYS, "an expected decision" {
    "at" = Shape::Time, "When it is made.", "at: 2026-03-01T14:00:00Z";
    "kind" = Shape::Kind, "What kind of decision.", "kind: trigger";
    "flow" = Shape::Name, "Of which flow.", "flow: abandoned_cart";
    "channel" = Shape::Name, "On which channel.", "channel: email";
    "step" = Shape::Whole(0, 16), "Of which step, from 1.", "step: 1";
    "reason" = Shape::Text, "Why.", "reason: purchased_relevant";
    "template" = Shape::Text, "What is sent.", "template: cart_reminder";
    "instance" = Shape::Text, "Of which instance.", "instance: k-1";
} }

static SECTIONS: [&Section; 9] = [
    &FLOW, &ENTER, &AFTER, &EXIT, &REENTER, &OFFER, &STEP, &TEST, &EXPECT,
];

impl Shape {
    fn schema(self) -> Json {
        let events = || -> Vec<&str> { EventType::ALL.iter().map(|event| event.name()).collect() };
        let pattern = |pattern: &str| json!({ "type": "string", "pattern": pattern });
        match self {
            Self::Name => pattern("^[a-z][a-z0-9_-]{0,63}$"),
            Self::Text => json!({ "type": "string", "minLength": 1 }),
            Self::Whole(least, most) => {
                json!({ "type": "integer", "minimum": least, "maximum": most })
            }
            Self::Flag => json!({ "type": "boolean" }),
            Self::Words(words) => json!({ "enum": words }),
            Self::Span => pattern("^[0-9]+(ms|s|m|h|d)$"),
            Self::Share => pattern("^[0-9]{1,3}(\\.[0-9]{1,2})?%$"),
            Self::Condition => json!({ "type": "string", "minLength": 1, "description": "CEL" }),
            Self::Moment => {
                let names: Vec<&str> = Landmark::ALL.iter().map(|(mark, _)| mark.name()).collect();
                let days = WEEKDAYS.join("|");
                pattern(&format!(
                    "^((({days}) )?[0-2][0-9]:[0-5][0-9] local|({})( [+-] [0-9]+(ms|s|m|h|d))?)$",
                    names.join("|")
                ))
            }
            Self::Time => json!({ "type": "string", "format": "date-time" }),
            Self::Events => {
                json!({ "type": "array", "minItems": 1, "items": { "enum": events() } })
            }
            Self::Reason => {
                let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
                json!({ "enum": reasons })
            }
            Self::Kind => {
                let mut kinds = vec!["trigger"];
                kinds.extend(VerdictKind::ALL.iter().map(|kind| kind.name()));
                json!({ "enum": kinds })
            }
            Self::Names => json!({ "type": "array", "items": { "type": "string" } }),
            Self::Section(section) => section.schema(),
            Self::List(section) => json!({ "type": "array", "items": section.schema() }),
            Self::Mapping => json!({ "type": "object" }),
            Self::Acts => json!({
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["at", "type"],
                    "properties": {
                        "at": { "type": "string", "format": "date-time" },
                        "type": { "enum": events() },
                    },
                },
            }),
            Self::Either(shapes) => {
                let shapes: Vec<Json> = shapes.iter().map(|shape| shape.schema()).collect();
                json!({ "anyOf": shapes })
            }
        }
    }
}

impl Section {
    fn schema(&self) -> Json {
        let mut properties = Map::new();
        for key in self.keys {
            let mut schema = key.shape.schema();
            if let Json::Object(schema) = &mut schema {
                schema.insert("description".to_owned(), key.about.into());
            }
            properties.insert(key.name.to_owned(), schema);
        }
        let required: Vec<&str> = self
            .keys
            .iter()
            .filter(|key| key.required)
            .map(|key| key.name)
            .collect();
        let mut schema = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": properties,
            "required": required,
        });
        let one_of = self.one_of().iter().map(|key| json!({ "required": [key] }));
        let one_of: Vec<Json> = one_of.collect();
        if let (Json::Object(schema), false) = (&mut schema, one_of.is_empty()) {
            schema.insert("oneOf".to_owned(), Json::Array(one_of));
        }
        schema
    }

    /// Keys of which exactly one has to be there.
    fn one_of(&self) -> &'static [&'static str] {
        if std::ptr::eq(self, &ENTER) {
            &["events", "absence", "at", "becomes"]
        } else if std::ptr::eq(self, &STEP) {
            &["channel", "channels"]
        } else {
            &[]
        }
    }
}

/// JSON Schema (draft 2020-12) of a flow file.
#[must_use]
pub fn schema() -> Json {
    let mut schema = FLOW.schema();
    if let Json::Object(schema) = &mut schema {
        let draft = "https://json-schema.org/draft/2020-12/schema";
        schema.insert("$schema".to_owned(), draft.into());
        schema.insert("title".to_owned(), "A flow of tidegate".into());
    }
    schema
}

/// The reference of keys, moments and fields, in Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::new();
    for section in SECTIONS {
        text.push_str(&format!(
            "### Keys of {}\n\n| key | what | example |\n|---|---|---|\n",
            section.title
        ));
        for key in section.keys {
            let required = if key.required { " (required)" } else { "" };
            text.push_str(&format!(
                "| `{}`{required} | {} | `{}` |\n",
                key.name, key.about, key.example
            ));
        }
        text.push('\n');
    }
    text.push_str("### Moments of a customer\n\n| moment | what |\n|---|---|\n");
    for (landmark, about) in Landmark::ALL {
        text.push_str(&format!("| `{}` | {} |\n", landmark.name(), about.trim()));
    }
    text.push_str("\n### Fields of conditions\n\n| field | type | what |\n|---|---|---|\n");
    for field in Field::ALL {
        text.push_str(&format!(
            "| `{}` | {} | {} |\n",
            field.name(),
            field.of_type().name(),
            field.about().trim()
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_of_flows_holds_this_reference() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/flows/README.md");
        let readme = std::fs::read_to_string(path).unwrap();
        let begin = "<!-- From here on generated: `TIDEGATE_BLESS=1 cargo test the_readme_of_flows` -->\n\n";
        let (before, told) = readme.split_once(begin).unwrap();
        if std::env::var_os("TIDEGATE_BLESS").is_some() {
            std::fs::write(path, format!("{before}{begin}{}", markdown())).unwrap();
            return;
        }
        assert_eq!(told, markdown());
        // The pages that a person wrote name no key that does not exist.
        for line in before.lines().filter(|line| line.starts_with("- `")) {
            let key = line
                .trim_start_matches("- `")
                .split(['`', ':'])
                .next()
                .unwrap();
            let known = SECTIONS
                .iter()
                .any(|section| section.keys.iter().any(|known| known.name == key));
            assert!(known, "{line}");
        }
    }

    /// Just enough of JSON Schema to hold the shipped flows against ours.
    fn fits(schema: &Json, value: &Json) -> bool {
        if let Some(any) = schema["anyOf"].as_array() {
            return any.iter().any(|schema| fits(schema, value));
        }
        if let Some(words) = schema["enum"].as_array() {
            return words.contains(value);
        }
        match (schema["type"].as_str(), value) {
            (Some("object"), Json::Object(map)) => {
                let known = &schema["properties"];
                let closed = schema["additionalProperties"] == false;
                let required = schema["required"].as_array().into_iter().flatten();
                let one_of = schema["oneOf"].as_array();
                let is_one = one_of.is_none_or(|one_of| {
                    let is_there =
                        |way: &&Json| map.contains_key(way["required"][0].as_str().unwrap());
                    one_of.iter().filter(is_there).count() == 1
                });
                is_one
                    && map.iter().all(|(key, value)| match known.get(key) {
                        Some(schema) => fits(schema, value),
                        None => !closed,
                    })
                    && required
                        .into_iter()
                        .all(|key| map.contains_key(key.as_str().unwrap()))
            }
            (Some("array"), Json::Array(items)) => {
                items.iter().all(|item| fits(&schema["items"], item))
            }
            (Some("integer"), Json::Number(number)) => {
                let number = number.as_i64();
                number >= schema["minimum"].as_i64() && number <= schema["maximum"].as_i64()
            }
            (Some("string"), Json::String(_)) | (Some("boolean"), Json::Bool(_)) => true,
            _ => false,
        }
    }

    #[test]
    fn the_shipped_flows_fit_the_schema_and_a_wrong_word_does_not() {
        let schema = schema();
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/flows");
        let mut looked = 0;
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let mut flow: Json = serde_saphyr::from_str(&text).unwrap();
            assert!(fits(&schema, &flow), "{}", path.display());
            for (key, wrong) in [
                ("class", json!("marketting")),
                ("priority", json!(1_001)),
                ("enter", json!({ "at": "order", "becomes": "profile.vip" })),
            ] {
                let right = std::mem::replace(&mut flow[key], wrong);
                assert!(!fits(&schema, &flow), "{key}");
                flow[key] = right;
            }
            looked += 1;
        }
        assert_eq!(looked, 9);
    }
}
