//! Deliberate bugs, for the negative control of the fault suite: a suite that cannot fail proves nothing.
//!
//! They exist only in a build with the feature `failpoints`, and there only when `FAILPOINTS` names them. Each is one that engine.md
//! warns of: the store written before the commit, offsets committed outside the transaction, a restore that takes the last stable
//! offset for the end.

/// Is this bug planted? Never, in a build without fail points.
#[must_use]
pub fn is_planted(bug: &'static str) -> bool {
    fail::fail_point!(bug, |_| true);
    // Without the feature the line above compiles to nothing.
    let _: &str = bug;
    false
}
