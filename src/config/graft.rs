//! A policy in a file of its own (product.md §7): taken into the tree where the configuration names it, so that everything after (overrides,
//! variables, sections, checks) is the same for both spellings and every problem names the file that it stands in.

use std::sync::Arc;

use super::node::{Node, Value};
use super::overrides::{self, Overrides};
use super::problem::Problem;

/// Stands for the shipped policy.
const BUILT_IN: &str = "built-in";
const SHIPPED: &str = include_str!("../../deploy/policy.yaml");

/// Settings of the whole that a policy's file states too: who gets no marketing is part of the policy.
pub(super) const SHARED: [&str; 2] = ["control_group", "control_salt"];

/// Reads the file at a path as written in the configuration: its name for people, and its text.
pub(super) type Open<'a> = &'a dyn Fn(&str) -> std::io::Result<(String, String)>;

/// The path that `policy` names, variables filled in; `None` when the section stands right here, or nowhere.
pub(super) fn named(root: &Node, overrides: &Overrides) -> Result<Option<String>, Problem> {
    let Some(node) = root.get("policy") else {
        return Ok(None);
    };
    let mut node = node.clone();
    let mut problems = Vec::new();
    overrides::interpolate(&mut node, "policy", &overrides.variables, &mut problems);
    match (problems.pop(), node.value) {
        (Some(problem), _) => Err(problem),
        (None, Value::Text(path)) => Ok(Some(path)),
        (
            None,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_),
        ) => Ok(None),
    }
}

/// Takes the file in that `policy` names, if it names one.
pub(super) fn policy(
    root: &mut Node,
    overrides: &Overrides,
    open: Open<'_>,
) -> Result<(), Problem> {
    let Some(path) = named(root, overrides)? else {
        return Ok(());
    };
    let place = root.get("policy").map(|node| node.place.clone());
    let place = place.unwrap_or_default();
    let (name, text) = if path == BUILT_IN {
        (BUILT_IN.to_owned(), SHIPPED.to_owned())
    } else {
        open(&path).map_err(|error| {
            let what = format!("cannot read `{path}`: {error}");
            Problem::of("policy", what, "name the policy's file, or write it here").at(place)
        })?
    };
    let file: Arc<str> = name.into();
    let mut section = Node::parse(&text).map_err(|problem| {
        let place = problem.place.clone().inside(&file);
        problem.at(place)
    })?;
    move_places(&mut section, &file);
    let Value::Map(entries) = section.value else {
        let what = format!("{} is no policy", section.kind());
        return Err(Problem::of("policy", what, "write its settings").at(section.place));
    };
    let (shared, own): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .partition(|(key, _)| SHARED.contains(&key.as_str()));
    let Value::Map(whole) = &mut root.value else {
        return Ok(());
    };
    for (key, node) in shared {
        if whole.iter().any(|(known, _)| *known == key) {
            let what = "stands in the configuration too";
            return Err(Problem::of(key, what, "write it in one place").at(node.place));
        }
        whole.push((key, node));
    }
    if let Some((_, node)) = whole.iter_mut().find(|(key, _)| key == "policy") {
        node.value = Value::Map(own);
        node.place = section.place;
    }
    Ok(())
}

fn move_places(node: &mut Node, file: &Arc<str>) {
    node.place = std::mem::take(&mut node.place).inside(file);
    match &mut node.value {
        Value::List(list) => list.iter_mut().for_each(|item| move_places(item, file)),
        Value::Map(entries) => entries
            .iter_mut()
            .for_each(|(_, item)| move_places(item, file)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
    }
}
