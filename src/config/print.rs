//! The tree as YAML text that every YAML 1.1 and 1.2 reader reads alike.

use super::node::{Node, Value};

/// Renders block style, two blanks per level; scalars that some reader could take for something else are quoted.
pub(super) fn yaml(root: &Node) -> String {
    let mut out = String::new();
    block(root, 0, &mut out);
    out
}

fn block(node: &Node, depth: usize, out: &mut String) {
    match &node.value {
        Value::Map(entries) => {
            for (key, value) in entries
                .iter()
                .filter(|(_, value)| value.value != Value::Null)
            {
                indent(depth, out);
                out.push_str(&scalar(key));
                out.push(':');
                nested(value, depth + 1, out);
            }
        }
        Value::List(list) => {
            for item in list {
                indent(depth, out);
                out.push('-');
                nested(item, depth + 1, out);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {
            out.push_str(&inline(node));
            out.push('\n');
        }
    }
}

/// After `key:` or `-`: on the same line when it has no structure, or is small and flat; else below.
fn nested(node: &Node, depth: usize, out: &mut String) {
    let flat = inline(node);
    let structured = matches!(node.value, Value::Map(_) | Value::List(_));
    if structured && !leaves_only(node) || flat.len() > 100 {
        out.push('\n');
        block(node, depth, out);
    } else {
        out.push(' ');
        out.push_str(&flat);
        out.push('\n');
    }
}

/// Has it only scalars below it, or nothing at all? Sections, which are long, read better as blocks.
fn leaves_only(node: &Node) -> bool {
    let leaf = |node: &Node| !matches!(node.value, Value::Map(_) | Value::List(_));
    match &node.value {
        Value::Map(entries) => {
            entries.len() <= 3 && entries.iter().all(|(_, node)| leaf(node)) || entries.is_empty()
        }
        Value::List(list) => list.iter().all(leaf),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => true,
    }
}

fn inline(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(text) => text.clone(),
        Value::Text(text) => scalar(text),
        Value::List(list) => {
            let items: Vec<String> = list.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .filter(|(_, node)| node.value != Value::Null)
                .map(|(key, node)| format!("{}: {}", scalar(key), inline(node)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

fn indent(depth: usize, out: &mut String) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

/// `30m`, `0.25%`: a number with a unit is a text to every reader.
fn with_unit(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    unit.len() < text.len()
        && text.starts_with(|c: char| c.is_ascii_digit())
        && ["ms", "s", "m", "h", "d", "w", "%"].contains(&unit)
}

/// Plain when it can mean nothing else; else in double quotes, as JSON writes them.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
        && ![
            "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf",
        ]
        .contains(&text.to_ascii_lowercase().as_str());
    if plain || with_unit(text) {
        text.to_owned()
    } else {
        // A text of `${` would be read as a variable again.
        let escaped = text.replace("${", "$${");
        serde_json::Value::String(escaped).to_string()
    }
}
