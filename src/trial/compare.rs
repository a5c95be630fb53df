//! Expected and decided, side by side.

use std::fmt;

use super::Told;
use crate::decision::{Check, Message, Verdict, VerdictKind};
use crate::flow::spec::trial::{Expected, Trial};
use crate::words::wrapped;

/// Columns of a terminal that a comparison fits.
const WIDTH: usize = 100;

/// One line of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Expected and decided.
    Same(String, String),
    /// Expected, not decided.
    Missing(String),
    /// Decided, not expected.
    Surplus(String),
}

/// Where a test and what was decided part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// In order.
    pub lines: Vec<Line>,
    /// What else was decided about the flow, with the checks of the gate: usually the reason.
    pub beside: Vec<String>,
}

/// `None` when everything that was expected was decided, and nothing else of what counts.
pub(super) fn compare(flow: &str, trial: &Trial, told: &[Told]) -> Option<Difference> {
    let (counted, beside): (Vec<&Told>, Vec<&Told>) = told
        .iter()
        .partition(|told| counts(flow, &trial.expect, &told.verdict));
    let fits = |expected: usize, actual: usize| {
        let pair = trial.expect.get(expected).zip(counted.get(actual));
        pair.is_some_and(|(expected, told)| is_met(expected, &told.verdict))
    };
    let lines: Vec<Line> = align(trial.expect.len(), counted.len(), fits)
        .into_iter()
        .filter_map(|pair| {
            let expected = pair.0.and_then(|at| trial.expect.get(at)).map(wish);
            let actual = pair.1.and_then(|at| counted.get(at));
            let actual = actual.map(|told| summary(&told.verdict));
            match (expected, actual) {
                (Some(expected), Some(actual)) => Some(Line::Same(expected, actual)),
                (Some(expected), None) => Some(Line::Missing(expected)),
                (None, Some(actual)) => Some(Line::Surplus(actual)),
                (None, None) => None,
            }
        })
        .collect();
    let is_met = lines.iter().all(|line| matches!(line, Line::Same(..)));
    (!is_met).then(|| Difference {
        lines,
        beside: counted
            .iter()
            .chain(&beside)
            .filter(|told| told.verdict.place.is_some() && !told.verdict.checks.is_empty())
            .map(|told| with_checks(&told.verdict))
            .collect(),
    })
}

/// What a test is compared with: triggers, cancels and refusals of its own flow and of those that it names; other kinds when it names one
/// of that kind.
fn counts(flow: &str, expect: &[Expected], verdict: &Verdict) -> bool {
    let loud = matches!(
        verdict.kind,
        VerdictKind::Send | VerdictKind::Cancel | VerdictKind::Refuse
    );
    let asked = expect
        .iter()
        .any(|expected| expected.kind == Some(verdict.kind));
    let of_flow = verdict.place.as_ref().is_none_or(|place| {
        let named = |expected: &Expected| expected.flow.as_deref() == Some(&*place.flow);
        *place.flow == *flow || expect.iter().any(named)
    });
    (loud || asked) && of_flow
}

fn template(verdict: &Verdict) -> Option<&str> {
    match &verdict.message {
        Some(Message::Trigger(trigger)) => Some(&trigger.template),
        Some(
            Message::Suppress(_)
            | Message::Release { .. }
            | Message::Cancel { .. }
            | Message::Refuse { .. },
        )
        | None => None,
    }
}

fn is_met(expected: &Expected, verdict: &Verdict) -> bool {
    let place = verdict.place.as_ref();
    let same = |wanted: &Option<String>, is: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| Some(wanted) == is)
    };
    expected.at.is_none_or(|at| at == verdict.decided_at)
        && expected.kind.is_none_or(|kind| kind == verdict.kind)
        && same(&expected.flow, place.map(|place| &*place.flow))
        && same(&expected.channel, verdict.channel.as_deref())
        && same(&expected.instance, place.map(|place| &*place.instance))
        && same(&expected.reason, Some(verdict.why.name()))
        && same(&expected.template, template(verdict))
        && expected
            .step
            .is_none_or(|step| place.map(|place| place.step) == Some(step))
}

/// Pairs of indices in order, as many matches as possible (longest common subsequence; both lists are short).
fn align(
    expected: usize,
    actual: usize,
    fits: impl Fn(usize, usize) -> bool,
) -> Vec<(Option<usize>, Option<usize>)> {
    let width = actual + 1;
    let mut best = vec![0_usize; (expected + 1) * width];
    let at = |best: &[usize], i: usize, j: usize| best.get(i * width + j).copied().unwrap_or(0);
    for i in (0..expected).rev() {
        for j in (0..actual).rev() {
            let value = if fits(i, j) {
                at(&best, i + 1, j + 1) + 1
            } else {
                at(&best, i + 1, j).max(at(&best, i, j + 1))
            };
            if let Some(cell) = best.get_mut(i * width + j) {
                *cell = value;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut pairs = Vec::new();
    while i < expected || j < actual {
        if i < expected && j < actual && fits(i, j) {
            pairs.push((Some(i), Some(j)));
            (i, j) = (i + 1, j + 1);
        } else if i < expected && (j == actual || at(&best, i + 1, j) >= at(&best, i, j + 1)) {
            pairs.push((Some(i), None));
            i += 1;
        } else {
            pairs.push((None, Some(j)));
            j += 1;
        }
    }
    pairs
}

/// The word that tests use for a kind.
const fn kind_name(kind: VerdictKind) -> &'static str {
    match kind {
        VerdictKind::Send => "trigger",
        VerdictKind::Suppress
        | VerdictKind::Release
        | VerdictKind::Cancel
        | VerdictKind::Refuse
        | VerdictKind::Defer
        | VerdictKind::Skip
        | VerdictKind::Observe
        | VerdictKind::Expire
        | VerdictKind::Outcome => kind.name(),
    }
}

fn wish(expected: &Expected) -> String {
    let step = expected.step.map(|step| format!("step {step}"));
    let parts = [
        expected.at.map(|at| at.to_string()),
        expected.kind.map(|kind| kind_name(kind).to_owned()),
        expected.flow.clone(),
        expected.instance.as_ref().map(|key| format!("[{key}]")),
        expected.channel.clone(),
        step,
        expected.template.clone(),
        expected.reason.clone(),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join(" ")
}

fn summary(verdict: &Verdict) -> String {
    let place = verdict.place.as_ref();
    let parts = [
        Some(verdict.decided_at.to_string()),
        Some(kind_name(verdict.kind).to_owned()),
        place.map(|place| place.flow.to_string()),
        verdict.channel.as_ref().map(ToString::to_string),
        place
            .filter(|place| place.step > 0)
            .map(|place| format!("step {}", place.step)),
        template(verdict).map(str::to_owned),
        // A trigger's reason is its flow's name, unless the flow says otherwise.
        Some(verdict.why.name().to_owned())
            .filter(|why| place.is_none_or(|place| *place.flow != **why)),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join(" ")
}

/// A verdict and the checks that led to it: those that passed by name, the one that did not with its numbers.
fn with_checks(verdict: &Verdict) -> String {
    let (passed, failed): (Vec<&Check>, Vec<&Check>) =
        verdict.checks.iter().partition(|check| check.passed);
    let mut text = wrapped(&summary(verdict), WIDTH - 4, 4);
    let passed: Vec<&str> = passed.iter().map(|check| check.name).collect();
    if !passed.is_empty() {
        let passed = wrapped(&passed.join(", "), 88, 6);
        text.push_str(&format!("\n    ✓ {passed}"));
    }
    for check in failed {
        let detail = match check.detail.as_str() {
            "" => String::new(),
            detail => format!(" ({detail})"),
        };
        let failed = wrapped(&format!("{}{detail}", check.name), 88, 6);
        text.push_str(&format!("\n    ✗ {failed}"));
    }
    text
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.lines.iter().map(|line| match line {
            Line::Same(expected, _) | Line::Missing(expected) => expected.chars().count(),
            Line::Surplus(_) => 0,
        });
        let width = left.max().unwrap_or_default().max("expected".len());
        // Where both do not fit side by side, each has half.
        let width = width.min((WIDTH - 7) / 2);
        writeln!(f, "    {:width$} │ decided", "expected")?;
        for line in &self.lines {
            let (sign, expected, actual) = match line {
                Line::Same(expected, actual) => (' ', expected.as_str(), actual.as_str()),
                Line::Missing(expected) => ('✗', expected.as_str(), "–"),
                Line::Surplus(actual) => ('✗', "–", actual.as_str()),
            };
            let expected = wrapped(expected, width, 0);
            let actual = wrapped(actual, WIDTH - 7 - width, 0);
            let rows = expected.lines().count().max(actual.lines().count());
            let (mut left, mut right) = (expected.lines(), actual.lines());
            for row in 0..rows {
                let sign = if row == 0 { sign } else { ' ' };
                let (left, right) = (left.next().unwrap_or(""), right.next().unwrap_or(""));
                let line = format!("  {sign} {left:width$} │ {right}");
                writeln!(f, "{}", line.trim_end())?;
            }
        }
        if !self.beside.is_empty() {
            writeln!(f, "  what the gate saw:")?;
        }
        for verdict in &self.beside {
            for line in verdict.lines() {
                writeln!(f, "    {line}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_is_broken_between_words_where_it_would_be_wider_than_a_terminal() {
        let long = "2026-03-02T10:00:00Z trigger abandoned_cart [k-1] email step 1 cart_reminder";
        let difference = Difference {
            lines: vec![
                Line::Same(long.to_owned(), long.to_owned()),
                Line::Missing(long.to_owned()),
                Line::Surplus(long.to_owned()),
            ],
            beside: Vec::new(),
        };
        let text = difference.to_string();
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
        let column = |line: &str| line.chars().position(|c| c == '│');
        let columns: std::collections::BTreeSet<_> = text.lines().map(column).collect();
        assert_eq!(columns.len(), 1, "{text}");
        for word in long.split(' ') {
            let found = text.split_whitespace().filter(|other| *other == word);
            assert_eq!(found.count(), 4, "{word} in\n{text}");
        }
    }

    #[test]
    fn the_longest_common_run_is_kept_together() {
        // Expected a b c, decided b x c.
        let (expected, actual) = (["a", "b", "c"], ["b", "x", "c"]);
        let pairs = align(3, 3, |i, j| expected[i] == actual[j]);
        assert_eq!(
            pairs,
            [
                (Some(0), None),
                (Some(1), Some(0)),
                (None, Some(1)),
                (Some(2), Some(2))
            ]
        );
        assert_eq!(align(0, 0, |_, _| true), []);
    }
}
