//! Which records are taken: each path of a filter must hold what the filter says.

use super::path::Path;
use super::source::{Scope, shown};
use super::tree::{Leaf, Want};

/// All of these must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Filter(pub(super) Vec<Condition>);

/// What must hold of one path.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    pub(super) path: Path,
    pub(super) demand: Demand,
}

/// What is asked of a value. One that is no scalar counts as there, and as none of any list.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Demand {
    OneOf(Vec<Box<str>>),
    NoneOf(Vec<Box<str>>),
    Present,
    Absent,
}

impl Filter {
    /// Does it let the record through?
    pub(super) fn takes(&self, scope: Scope<'_>) -> bool {
        self.0.iter().all(|condition| condition.holds(scope))
    }

    pub(super) fn add_wants(&self, want: &mut Want) {
        for condition in &self.0 {
            want.add(&condition.path, Leaf::Scalar);
        }
    }
}

impl Condition {
    fn holds(&self, scope: Scope<'_>) -> bool {
        // Another shape than the path says: nothing stands there.
        let found = scope.find(&self.path).ok().flatten().map(super::as_scalar);
        let is_in = |list: &[Box<str>]| {
            let text = found
                .as_ref()
                .and_then(|scalar| shown(scalar).ok().flatten());
            text.is_some_and(|text| list.iter().any(|allowed| **allowed == *text))
        };
        match &self.demand {
            Demand::OneOf(list) => is_in(list),
            Demand::NoneOf(list) => !is_in(list),
            Demand::Present => found.is_some(),
            Demand::Absent => found.is_none(),
        }
    }
}
