//! What `replay --diff` tells: a table of what each flow would say more or less often, then each kind of difference with examples.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::cli::paint::{Paint, Tone};
use crate::flow::FlowSet;
use crate::replay::diff::{Aspect, Difference, Found, Kind, Made, Row, Sample, Tally};
use crate::value::Span;
use crate::words::{count, local, span, with_times, wrapped};

/// Columns that lines are broken at.
const WIDTH: usize = 100;
/// Kinds of difference of one title that are told one by one; the table above counts them all.
const KINDS: usize = 12;

/// How the report is written.
pub(super) struct Telling<'a> {
    pub(super) paint: Paint,
    /// The shop's zone, for customers whose own is unknown.
    pub(super) zone: &'a str,
    /// The flow sets.
    pub(super) old: &'a FlowSet,
    pub(super) new: &'a FlowSet,
    /// Records that both saw.
    pub(super) records: u64,
}

impl Telling<'_> {
    /// The whole report.
    pub(super) fn tell(&self, difference: &Difference) -> String {
        let mut text = self.flows();
        text.push_str(&self.summary(difference));
        if difference.is_empty() {
            return text;
        }
        text.push_str(&self.table(difference));
        type Belongs = fn(&Kind) -> bool;
        let kinds: [(&str, Tone, Belongs); 3] = [
            ("Changed", Tone::Other, |kind| {
                matches!(kind, Kind::Changed { .. })
            }),
            ("Added", Tone::Plus, |kind| matches!(kind, Kind::Added(_))),
            ("Removed", Tone::Minus, |kind| {
                matches!(kind, Kind::Removed(_))
            }),
        ];
        for (title, tone, belongs) in kinds {
            let mut found: Vec<(&Kind, &Found)> = difference
                .found
                .iter()
                .filter(|(kind, _)| belongs(kind))
                .collect();
            // The most frequent first; of equals in the order of the table.
            found.sort_by_key(|(_, found)| std::cmp::Reverse(found.count));
            if !found.is_empty() {
                writeln!(text, "\n{}", self.paint.on(Tone::Title, title)).unwrap_or_default();
            }
            let rest = found.split_off(found.len().min(KINDS));
            for (kind, found) in found {
                self.found(kind, found, tone, &mut text);
            }
            if !rest.is_empty() {
                let sum = rest.iter().map(|(_, found)| found.count).sum();
                let kinds = if rest.len() == 1 { "kind" } else { "kinds" };
                let told = format!(
                    "{:>9}  … in {} other {kinds}",
                    count(sum),
                    count(rest.len() as u64)
                );
                writeln!(text, "{}", self.paint.on(Tone::Faint, &told)).unwrap_or_default();
            }
        }
        text
    }

    /// Which flows the sets do not share.
    fn flows(&self) -> String {
        let (old, new) = (self.old.current(), self.new.current());
        let names: BTreeSet<&str> = old.keys().chain(new.keys()).map(|name| &**name).collect();
        let mut parts: [(&str, Vec<&str>); 4] = [
            ("changed", Vec::new()),
            ("added", Vec::new()),
            ("removed", Vec::new()),
            ("as before", Vec::new()),
        ];
        let [changed, added, removed, same] = &mut parts;
        for name in names {
            let list = match (old.get(name), new.get(name)) {
                (Some(was), Some(is)) if was.version == is.version => &mut *same,
                (Some(_), Some(_)) => &mut *changed,
                (None, _) => &mut *added,
                (Some(_), None) => &mut *removed,
            };
            list.1.push(name);
        }
        let mut text = format!("{}\n", self.paint.on(Tone::Title, "Flows"));
        for (what, flows) in parts.iter().filter(|(_, flows)| !flows.is_empty()) {
            let list = wrapped(&flows.join(", "), 86, 13);
            writeln!(text, "  {what:<10} {list}").unwrap_or_default();
        }
        text
    }

    fn summary(&self, difference: &Difference) -> String {
        let sum = |of: fn(&Tally) -> u64| difference.rows.values().map(of).sum::<u64>();
        let changed: u64 = difference
            .found
            .iter()
            .filter(|(kind, _)| matches!(kind, Kind::Changed { .. }))
            .map(|(_, found)| found.count)
            .sum();
        let title = self.paint.on(Tone::Title, "Decisions");
        let mut text = format!(
            "\n{title} over {} events; times where the customer lives, else in {}\n",
            count(self.records),
            self.zone
        );
        if difference.dead_letters > 0 {
            let told = format!(
                "{} of them are none: nobody decided by these (`replay --dead-letters FILE` shows them)",
                count(difference.dead_letters)
            );
            writeln!(text, "  {}", self.paint.on(Tone::Minus, &told)).unwrap_or_default();
        }
        let (old, new) = (sum(|tally| tally.old), sum(|tally| tally.new));
        let line = |what: &str, before: u64, after: u64| {
            format!(
                "  {what:<10} {:>11} → {}{}\n",
                count(before),
                count(after),
                by(before, after)
            )
        };
        text.push_str(&line("all", old, new));
        let (old, new) = difference.sent();
        text.push_str(&line("contacts", old, new));
        if difference.is_empty() {
            text.push_str("  nothing differs\n");
            return text;
        }
        let figure = |number: u64, what: &str| format!("{} {what}", count(number));
        let figures = [
            figure(difference.same, "the same"),
            figure(changed, "changed"),
            figure(sum(|tally| tally.added), "added"),
            figure(sum(|tally| tally.removed), "removed"),
        ];
        writeln!(text, "  {}", figures.join(", ")).unwrap_or_default();
        text
    }

    /// The rows in which something differs, by flow.
    fn table(&self, difference: &Difference) -> String {
        let differs = |tally: &Tally| tally.added + tally.removed + tally.changed > 0;
        let rows: Vec<(&Row, &Tally)> = difference
            .rows
            .iter()
            .filter(|(_, tally)| differs(tally))
            .collect();
        let width = |of: fn(&Row) -> usize, least: usize| {
            let widths = rows.iter().map(|(row, _)| of(row));
            widths.max().unwrap_or_default().max(least)
        };
        let channel = width(|row| row.channel.len(), 7);
        let verdict = width(|row| row.verdict.name().len(), 7);
        let reason = width(|row| row.reason.len(), 6);
        let head = format!(
            "  {:channel$}  {:verdict$}  {:reason$} {:>9} {:>9} {:>8} {:>8} {:>8}",
            "channel", "verdict", "reason", "old", "new", "added", "removed", "changed"
        );
        let mut text = format!("\n{}\n", self.paint.on(Tone::Faint, &head));
        let mut flow = None;
        for (row, tally) in &rows {
            if flow != Some(&row.flow) {
                flow = Some(&row.flow);
                writeln!(text, "{}", self.paint.on(Tone::Title, flow_name(row)))
                    .unwrap_or_default();
            }
            let cell = |number: u64, tone: Tone| {
                let shown = if number == 0 {
                    "–".to_owned()
                } else {
                    count(number)
                };
                let tone = if number == 0 { Tone::Faint } else { tone };
                self.paint.on(tone, &format!("{shown:>8}"))
            };
            let Row {
                channel: on,
                reason: why,
                ..
            } = row;
            let line = format!(
                "  {on:channel$}  {:verdict$}  {why:reason$} {:>9} {:>9} {} {} {}",
                row.verdict.name(),
                count(tally.old),
                count(tally.new),
                cell(tally.added, Tone::Plus),
                cell(tally.removed, Tone::Minus),
                cell(tally.changed, Tone::Other),
            );
            writeln!(text, "{line}").unwrap_or_default();
        }
        let alike = difference.rows.len() - rows.len();
        if alike > 0 {
            let rest = format!("  {alike} more rows, alike in both");
            writeln!(text, "{}", self.paint.on(Tone::Faint, &rest)).unwrap_or_default();
        }
        text
    }

    fn found(&self, kind: &Kind, found: &Found, tone: Tone, text: &mut String) {
        let head = self.paint.on(tone, &format!("{:>9}", count(found.count)));
        let told = wrapped(&headline(kind, found.shift), WIDTH - 11, 13);
        writeln!(text, "{head}  {told}").unwrap_or_default();
        for sample in &found.samples {
            // The words stay together, and a long reason gets lines of its own.
            let example = wrapped(&self.example(sample), WIDTH - 13, 13);
            let example = format!("{:11}{example}", "");
            writeln!(text, "{}", self.paint.on(Tone::Faint, &example)).unwrap_or_default();
        }
    }

    /// One decision, or one before and after.
    fn example(&self, sample: &Sample) -> String {
        let when = |made: &Made| local(made.decided_at, made.time_zone.as_deref(), self.zone);
        let (Some(shown), other) = (sample.new.as_ref().or(sample.old.as_ref()), &sample.old)
        else {
            return String::new();
        };
        let mut text = format!("{}  {}", shown.profile, subject(shown));
        match (other, &sample.new) {
            (Some(old), Some(new)) => {
                write!(text, "  {}", when(old)).unwrap_or_default();
                let (before, after) = (when(old), when(new));
                if before != after {
                    // The same day is said once.
                    let same_day = before.get(..11) == after.get(..11);
                    let after = if same_day {
                        after.get(11..)
                    } else {
                        Some(&*after)
                    };
                    write!(text, " → {}", after.unwrap_or_default()).unwrap_or_default();
                }
                if old.step != new.step {
                    write!(text, "; step {} → {}", old.step, new.step).unwrap_or_default();
                }
                if let (Some(was), Some(is)) = (&old.template, &new.template)
                    && was != is
                {
                    write!(text, "; {was} → {is}").unwrap_or_default();
                }
            }
            (Some(_), None) | (None, _) => write!(text, "  {}", when(shown)).unwrap_or_default(),
        }
        let decided_by = sample.new.as_ref();
        if let Some((made, check)) = decided_by.and_then(|made| Some((made, made.check.as_ref()?)))
        {
            // Such as the deciding contact's time: by the same clock as the rest of the line.
            let own = made.time_zone.as_deref();
            let check = with_times(check, |at| local(at, own, self.zone));
            write!(text, "  ({check})").unwrap_or_default();
        }
        text
    }
}

/// ` (+12)`.
fn by(before: u64, after: u64) -> String {
    if after >= before {
        format!(" (+{})", count(after - before))
    } else {
        format!(" (−{})", count(before - after))
    }
}

fn flow_name(row: &Row) -> &str {
    if row.flow.is_empty() {
        "(no flow: campaigns and suppressions)"
    } else {
        &row.flow
    }
}

/// What a sample is about: instance and step.
fn subject(made: &Made) -> String {
    match (made.instance.as_str(), made.step) {
        // A flow of one instance per customer has nothing to name.
        ("" | "customer", 0) => "-".to_owned(),
        (instance, 0) => instance.to_owned(),
        ("" | "customer", step) => format!("step {step} of {}", made.steps),
        (instance, step) => format!("{instance}, step {step} of {}", made.steps),
    }
}

/// Flow and channel, then what was and what would be.
fn headline(kind: &Kind, shift: Option<(Span, Span)>) -> String {
    let said = |row: &Row| format!("{} {}", row.verdict.name(), row.reason);
    let whose = |row: &Row| {
        let parts = [row.flow.as_str(), row.channel.as_str()];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join(" · ")
    };
    let of = |row: &Row| match whose(row) {
        whose if whose.is_empty() => said(row),
        whose => format!("{whose} · {}", said(row)),
    };
    match kind {
        Kind::Added(row) | Kind::Removed(row) => of(row),
        Kind::Changed { old, new, aspects } => {
            let mut text = of(old);
            let mut becomes = Vec::new();
            if old.channel != new.channel {
                becomes.push(match new.channel.as_str() {
                    "" => "no channel".to_owned(),
                    channel => channel.to_owned(),
                });
            }
            if (old.verdict, &old.reason) != (new.verdict, &new.reason) {
                becomes.push(said(new));
            }
            if !becomes.is_empty() {
                write!(text, " → {}", becomes.join(" · ")).unwrap_or_default();
            }
            let more: Vec<String> = aspects.iter().map(|aspect| told(*aspect, shift)).collect();
            if !more.is_empty() {
                write!(text, ": {}", more.join(", ")).unwrap_or_default();
            }
            text
        }
    }
}

fn told(aspect: Aspect, shift: Option<(Span, Span)>) -> String {
    let by = shift.map(|(least, most)| match (span(least), span(most)) {
        (least, most) if least == most => least,
        (least, most) => format!("{least} to {most}"),
    });
    let by = by.unwrap_or_default();
    match aspect {
        Aspect::Later => format!("{by} later"),
        Aspect::Earlier => format!("{by} earlier"),
        Aspect::Step => "another step".to_owned(),
        Aspect::Template => "another template".to_owned(),
        Aspect::Terms => "another offer, priority or end".to_owned(),
        Aspect::Until => "until another time".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::VerdictKind;

    #[test]
    fn what_comes_to_no_channel_says_so() {
        let row = |channel: &str, verdict, reason: &str| Row {
            flow: "cart".to_owned(),
            channel: channel.to_owned(),
            verdict,
            reason: reason.to_owned(),
        };
        let kind = Kind::Changed {
            old: row("email", VerdictKind::Send, "cart"),
            new: row("", VerdictKind::Skip, "goal_reached"),
            aspects: BTreeSet::new(),
        };
        assert_eq!(
            headline(&kind, None),
            "cart · email · send cart → no channel · skip goal_reached"
        );
    }
}
