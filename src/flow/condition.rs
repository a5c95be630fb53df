//! Conditions of flows.

/// A compiled condition.
#[derive(Clone, Debug)]
pub struct Condition;
