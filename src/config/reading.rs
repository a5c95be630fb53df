//! `filter` and `mapping` of an input, as written: read into the tree that [`crate::event::mapping`] compiles, and compiled once so that
//! what is wrong with it is told with the other problems of the configuration.

use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::node::{Node, Value};
use super::problem::{Place, Problem};
use super::setting::{Setting, read_scalar};
use crate::event::mapping::{self, Piece};
use crate::flow::problem::{At, Place as PlaceInFile};
use crate::flow::spec::tree::Value as Tree;

/// A part of the configuration that is compiled, not read field by field.
#[derive(Clone, Debug, PartialEq)]
pub struct Written(pub At<Tree>);

impl Written {
    fn of(node: &Node) -> Self {
        Self(tree(node))
    }

    /// As a part of a file whose text is at hand elsewhere.
    pub(crate) const fn piece(&self) -> Piece<'_> {
        Piece {
            file: "",
            text: "",
            tree: &self.0,
        }
    }
}

/// Which records are taken.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterSetting(pub Written);

impl Setting for FilterSetting {
    const EXPECTED: &'static str = "paths with the values to take: {properties.shop: [a, b]}";
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        let written = Written::of(node);
        let compiled = mapping::compile(Some(written.piece()), None);
        report(compiled.err(), node, path, problems);
        Self(written)
    }
    fn schema() -> Json {
        json!({ "type": "object", "description": Self::EXPECTED })
    }
    fn placeholder() -> Self {
        Self(Written::of(&Node::unwritten(Value::Map(Vec::new()))))
    }
    fn print(&self) -> Node {
        node(&self.0.0.value)
    }
}

/// How foreign shapes are read.
#[derive(Clone, Debug, PartialEq)]
pub enum MappingSetting {
    /// In a file of its own, relative to the configuration.
    File(PathBuf),
    /// Right here.
    Inline(Written),
}

impl Setting for MappingSetting {
    const EXPECTED: &'static str = "the path of a mapping, or the mapping itself";
    fn read(node: &Node, path: &str, problems: &mut Vec<Problem>) -> Self {
        match &node.value {
            Value::Map(_) => {
                let written = Written::of(node);
                let compiled = mapping::compile(None, Some(written.piece()));
                report(compiled.err(), node, path, problems);
                Self::Inline(written)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
                read_scalar(node, path, problems, |text| Some(Self::File(text.into())))
            }
        }
    }
    fn schema() -> Json {
        json!({ "type": ["string", "object"], "description": Self::EXPECTED })
    }
    fn placeholder() -> Self {
        Self::File(PathBuf::new())
    }
    fn print(&self) -> Node {
        match self {
            Self::File(path) => path.print(),
            Self::Inline(written) => node(&written.0.value),
        }
    }
}

/// Problems of what was compiled, as problems of the configuration.
fn report(
    found: Option<Vec<crate::flow::problem::Problem>>,
    node: &Node,
    path: &str,
    problems: &mut Vec<Problem>,
) {
    for problem in found.into_iter().flatten() {
        let in_file = matches!(node.place, Place::File { .. }) && problem.line > 0;
        let place = if in_file {
            Place::File {
                line: problem.line.into(),
                column: problem.column.into(),
            }
        } else {
            node.place.clone()
        };
        let remedy = problem.remedy.unwrap_or_default();
        problems.push(Problem::of(path, problem.message, remedy).at(place));
    }
}

fn at<T>(place: &Place, value: T) -> At<T> {
    let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let place = match place {
        Place::File { line, column } => PlaceInFile {
            line: small(*line),
            column: small(*column),
            width: 1,
        },
        Place::Named { .. } | Place::Variable(_) | Place::Flag(_) | Place::Default => {
            PlaceInFile::default()
        }
    };
    At { value, place }
}

fn tree(node: &Node) -> At<Tree> {
    let value = match &node.value {
        Value::Null => Tree::Null,
        Value::Bool(value) => Tree::Bool(*value),
        Value::Number(text) => match (text.parse(), text.parse()) {
            (Ok(whole), _) => Tree::Integer(whole),
            (Err(_), Ok(decimal)) => Tree::Decimal(decimal),
            (Err(_), Err(_)) => Tree::Text(text.clone()),
        },
        Value::Text(text) => Tree::Text(text.clone()),
        Value::List(list) => Tree::List(list.iter().map(tree).collect()),
        Value::Map(entries) => Tree::Map(
            entries
                .iter()
                .map(|(key, node)| (at(&node.place, key.clone()), tree(node)))
                .collect(),
        ),
    };
    at(&node.place, value)
}

fn node(tree: &Tree) -> Node {
    Node::unwritten(match tree {
        Tree::Null => Value::Null,
        Tree::Bool(value) => Value::Bool(*value),
        Tree::Integer(whole) => Value::Number(whole.to_string()),
        Tree::Decimal(decimal) => Value::Number(decimal.to_string()),
        Tree::Text(text) => Value::Text(text.clone()),
        Tree::List(list) => Value::List(list.iter().map(|item| node(&item.value)).collect()),
        Tree::Map(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, item)| (key.value.clone(), node(&item.value)))
                .collect(),
        ),
    })
}
