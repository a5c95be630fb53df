//! Which decisions are of one instance: the log names its key, and a key may come again.
//!
//! An instance speaks of each step once, in order. Whatever speaks of a step that was done begins the next instance, unless the step was
//! taken back: its place taken by a higher priority, or its time to send missed.

use std::collections::BTreeMap;

use super::Entry;
use crate::decision::VerdictKind;

/// The number of the instance that each decision of one flow and key is of, in the order of `entries`, which is that of their times. `None`
/// for what did not begin.
pub(super) fn instances(entries: &[&Entry]) -> Vec<Option<usize>> {
    let mut number = 0;
    let mut done = 0;
    // Which instance handed over what, and with which step.
    let mut handed: BTreeMap<&str, (usize, u32)> = BTreeMap::new();
    let mut found = Vec::with_capacity(entries.len());
    for entry in entries {
        let target = entry.cancels.as_deref().or(entry.target.as_deref());
        match entry.kind {
            VerdictKind::Cancel | VerdictKind::Outcome => {
                let of = target.and_then(|id| handed.get(id)).copied();
                if let Some((of, step)) = of.filter(|_| takes_back(entry))
                    && of == number
                    && step == done
                {
                    done -= 1;
                }
                found.push(Some(of.map_or(number, |(of, _)| of)));
            }
            VerdictKind::Send
            | VerdictKind::Observe
            | VerdictKind::Skip
            | VerdictKind::Defer
            | VerdictKind::Expire
            | VerdictKind::Suppress
            | VerdictKind::Release
            | VerdictKind::Refuse => {
                if entry.step == 0 {
                    found.push(None);
                    continue;
                }
                if entry.step <= done {
                    number += 1;
                    done = 0;
                }
                if entry.kind != VerdictKind::Defer {
                    done = entry.step;
                }
                handed.insert(&entry.decision_id, (number, entry.step));
                found.push(Some(number));
            }
        }
    }
    found
}

/// May the step of a contact be spoken of again after this?
fn takes_back(entry: &Entry) -> bool {
    let replaced = entry.decided_by().is_some_and(|by| by.check == "on_cap");
    replaced || entry.outcome.as_deref() == Some("expired")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: &str) -> Entry {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        for (key, known) in [
            ("profile", "c:1"),
            ("reason", "r"),
            ("decided_at", "2026-03-01T10:00:00Z"),
        ] {
            value[key] = known.into();
        }
        value["cause"] =
            serde_json::json!({ "topic": "t", "partition": 0, "offset": 0, "event_id": "e" });
        Entry::read(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_step_that_was_done_and_comes_again_is_of_the_next_instance() {
        let log = [
            r#"{"decision_id":"a","verdict":"defer","step":1}"#,
            r#"{"decision_id":"b","verdict":"send","step":1}"#,
            r#"{"decision_id":"c","verdict":"send","step":2}"#,
            // Its place is taken: it speaks of the same step again.
            r#"{"decision_id":"d","verdict":"cancel","step":2,"cancels":"c","checks":[{"check":"on_cap","passed":false}]}"#,
            r#"{"decision_id":"e","verdict":"send","step":2}"#,
            r#"{"decision_id":"f","verdict":"skip","step":0}"#,
            r#"{"decision_id":"g","verdict":"send","step":1}"#,
            // A late receipt is of the instance that sent.
            r#"{"decision_id":"h","verdict":"outcome","step":2,"target":"e","outcome":"opened"}"#,
            r#"{"decision_id":"i","verdict":"skip","step":2}"#,
            r#"{"decision_id":"j","verdict":"skip","step":1}"#,
        ]
        .map(entry);
        let log: Vec<&Entry> = log.iter().collect();
        let of = [0, 0, 0, 0, 0, 9, 1, 0, 1, 2].map(|n| (n < 9).then_some(n));
        assert_eq!(instances(&log), of);
    }
}
