//! What is laid over the file before it is read: `${VAR:default}`, `TIDEGATE__SECTION__KEY`, `--set section.key=value`.
//!
//! All three write into the tree and leave their name as the place, so an unknown or wrong override is reported like a wrong line.

use std::collections::BTreeMap;

use super::node::{Node, Value};
use super::problem::{Place, Problem};

/// Prefix of overriding environment variables; the rest names the path, `__` between its parts.
const PREFIX: &str = "TIDEGATE__";
const POLICY_VARIABLE: &str = "TIDEGATE__POLICY";
const POLICY_FLAG: &str = "policy=";

/// What stands outside the file: given to [`super::Config::load`], so that reading a configuration depends on its arguments alone.
/// Not printable: the environment holds secrets.
#[derive(Clone, Default)]
pub struct Overrides {
    /// The process's environment.
    pub variables: BTreeMap<String, String>,
    /// `--set path=value`, in order; later ones win.
    pub flags: Vec<String>,
}

/// Replaces `${VAR}` and `${VAR:default}` in every text; `$${` stands for `${`.
pub(super) fn interpolate(
    node: &mut Node,
    path: &str,
    variables: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) {
    match &mut node.value {
        Value::Text(text) => match expand(text, variables) {
            Ok(None) => {}
            Ok(Some(expanded)) => *text = expanded,
            Err((what, remedy)) => {
                problems.push(Problem::of(path, what, remedy).at(node.place.clone()));
            }
        },
        Value::List(list) => {
            for (index, item) in list.iter_mut().enumerate() {
                interpolate(item, &format!("{path}[{index}]"), variables, problems);
            }
        }
        Value::Map(entries) => {
            for (key, item) in entries {
                interpolate(item, &join(path, key), variables, problems);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `None` when there is nothing to replace.
fn expand(
    text: &str,
    variables: &BTreeMap<String, String>,
) -> Result<Option<String>, (String, String)> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, from) = rest.split_at(start);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = from.get(2..).unwrap_or_default();
            continue;
        }
        out.push_str(before);
        let Some(end) = from.find('}') else {
            return Err((
                "`${` without `}`".to_owned(),
                "close it, or write `$${` for a literal `${`".to_owned(),
            ));
        };
        let inside = from.get(2..end).unwrap_or_default();
        let (name, default) = match inside.split_once(':') {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        match (variables.get(name), default) {
            (Some(value), _) => out.push_str(value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => {
                return Err((
                    format!("environment variable {name} is not set"),
                    format!("set it, or give a default: ${{{name}:default}}"),
                ));
            }
        }
        rest = from.get(end + 1..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(Some(out))
}

/// Lays over what names the policy, or is all of it: which file is read hangs on that.
pub(super) fn apply_policy(root: &mut Node, overrides: &Overrides) {
    let variables = overrides.variables.iter();
    let variable = variables
        .filter(|(name, _)| name.as_str() == POLICY_VARIABLE)
        .map(|(name, value)| (value.as_str(), Place::Variable(name.clone())));
    let flags = overrides.flags.iter();
    let flags = flags
        .filter_map(|flag| flag.strip_prefix(POLICY_FLAG))
        .map(|value| (value, Place::Flag("policy".to_owned())));
    for (value, place) in variable.chain(flags) {
        put(root, &["policy".to_owned()], value, &place, &mut Vec::new());
    }
}

/// Lays environment variables and flags over the document, but those of [`apply_policy`]. Whether a path exists is found out when the sections are read.
pub(super) fn apply(root: &mut Node, overrides: &Overrides, problems: &mut Vec<Problem>) {
    for (name, value) in &overrides.variables {
        let Some(path) = name
            .strip_prefix(PREFIX)
            .filter(|_| name != POLICY_VARIABLE)
        else {
            continue;
        };
        let path: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
        let place = Place::Variable(name.clone());
        put(root, &path, value, &place, problems);
    }
    let flags = overrides.flags.iter();
    for flag in flags.filter(|flag| !flag.starts_with(POLICY_FLAG)) {
        let Some((path, value)) = flag.split_once('=') else {
            problems.push(
                Problem::of("", "has no value", "write --set section.key=value")
                    .at(Place::Flag(flag.clone())),
            );
            continue;
        };
        let parts: Vec<String> = match path.strip_prefix("kafka.properties.") {
            // Names of librdkafka properties hold dots themselves.
            Some(property) => vec!["kafka".into(), "properties".into(), property.to_owned()],
            None => path.split('.').map(str::to_owned).collect(),
        };
        put(root, &parts, value, &Place::Flag(path.to_owned()), problems);
    }
}

fn put(root: &mut Node, path: &[String], value: &str, place: &Place, problems: &mut Vec<Problem>) {
    // `[a, b]`, `{from: "21:00", to: "09:00"}` and numbers are YAML here too; what is no YAML is a plain text (`a: b: c`).
    let mut leaf = Node::parse(value).unwrap_or_else(|_| Node::text(value));
    replace_places(&mut leaf, place);
    let mut node = root;
    let mut walked = String::new();
    for part in path {
        let name = if walked == "kafka.properties" && matches!(place, Place::Variable(_)) {
            property_name(node, part)
        } else {
            part.clone()
        };
        let Some(next) = child(node, &name, place) else {
            problems.push(
                Problem::of(
                    path.join("."),
                    format!("there is no such setting: nothing named `{part}` under `{walked}`"),
                    "look at `tidegate config print`",
                )
                .at(place.clone()),
            );
            return;
        };
        node = next;
        walked = join(&walked, part);
    }
    *node = leaf;
}

/// The entry of that name of a mapping (made when missing), or of that number of a list; `None` in everything else.
fn child<'a>(node: &'a mut Node, name: &str, place: &Place) -> Option<&'a mut Node> {
    // `none` stands for a section that is not there: what is laid over it makes it.
    if node.value == Value::Null || node.value == Value::Text("none".to_owned()) {
        node.value = Value::Map(Vec::new());
    }
    match &mut node.value {
        Value::List(list) => list.get_mut(name.parse::<usize>().ok()?),
        Value::Map(entries) => {
            let index = entries.iter().position(|(key, _)| key == name);
            let index = index.unwrap_or_else(|| {
                let place = place.clone();
                entries.push((
                    name.to_owned(),
                    Node {
                        value: Value::Null,
                        place,
                    },
                ));
                entries.len() - 1
            });
            entries.get_mut(index).map(|(_, node)| node)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => None,
    }
}

/// Environment variables cannot hold dots: `SASL_PASSWORD` means `sasl.password`, unless the file has a property that only differs in them.
fn property_name(properties: &Node, part: &str) -> String {
    let written = properties.entries().and_then(|entries| {
        entries
            .iter()
            .find(|(key, _)| key.replace('.', "_") == *part)
    });
    written.map_or_else(|| part.replace('_', "."), |(key, _)| key.clone())
}

fn replace_places(node: &mut Node, place: &Place) {
    node.place = place.clone();
    match &mut node.value {
        Value::List(list) => list.iter_mut().for_each(|item| replace_places(item, place)),
        Value::Map(entries) => entries
            .iter_mut()
            .for_each(|(_, item)| replace_places(item, place)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
    }
}

/// `path.key`, without a dot at the top.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
