//! What is wrong with a flow file, told like a compiler does: where, what, and what to write instead.

use std::fmt;

use serde::{Serialize, Serializer};

mod scalar;

/// Columns that a problem takes at most: a longer line of a file would be broken by the terminal, away from its carets.
const WIDTH: usize = 100;

/// A place in a flow file; lines and columns count from 1, columns in characters. Line 0: the file as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// How many characters the caret covers; at least 1.
    pub width: u32,
}

/// A value and where it stands. Two are equal when their values are: moving a line changes nothing.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// What is written.
    pub value: T,
    /// Where.
    pub place: Place,
}

impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Serialize> Serialize for At<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

/// One problem of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// File name as given.
    pub file: String,
    /// Line, from 1; 0 when the problem is the file's as a whole.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// How many characters are meant, at least 1.
    pub width: u32,
    /// The line of the file.
    pub excerpt: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Problem {
    /// The line, or what of a long one stands around the place that is meant; how many characters stand before that, and how many are meant.
    fn shown(&self, room: usize) -> (String, usize, usize) {
        let line: Vec<char> = self.excerpt.chars().collect();
        let before = usize::try_from(self.column.saturating_sub(1)).unwrap_or_default();
        let meant = usize::try_from(self.width).unwrap_or(1);
        let meant = meant.clamp(1, line.len().saturating_sub(before).max(1));
        if line.len() <= room {
            return (self.excerpt.clone(), before, meant);
        }
        // What is cut off on either side is told by a sign of one column.
        let room = room.saturating_sub(2);
        let around = room.saturating_sub(meant) / 2;
        let start = if before + meant <= room {
            0
        } else {
            let last = line.len().saturating_sub(room);
            before.saturating_sub(around.max(room / 4)).min(last)
        };
        let part: String = line.iter().skip(start).take(room).collect();
        let first = if start > 0 { "…" } else { "" };
        let last = if start + room < line.len() { "…" } else { "" };
        let before = before.saturating_sub(start);
        let carets = meant.min(room.saturating_sub(before)).max(1);
        let indent = before + first.chars().count();
        (format!("{first}{part}{last}"), indent, carets)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        let margin = self.line.to_string().len();
        if self.line == 0 {
            write!(f, "\n --> {}", self.file)?;
        } else {
            let (excerpt, before, carets) = self.shown(WIDTH.saturating_sub(margin + 3));
            // A tab stays a tab, so that the caret stands under what it means.
            let indent: String = excerpt
                .chars()
                .take(before)
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            write!(
                f,
                "\n{:margin$}--> {}:{}:{}",
                "", self.file, self.line, self.column
            )?;
            write!(f, "\n{:margin$} |", "")?;
            write!(f, "\n{} | {excerpt}", self.line)?;
            write!(f, "\n{:margin$} | {indent}{}", "", "^".repeat(carets))?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "\n{:margin$} = {remedy}", "")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// Collects the problems of one file.
#[derive(Debug)]
pub(crate) struct Problems<'a> {
    file: &'a str,
    text: &'a str,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    /// None yet, of the file called `file` that holds `text`.
    pub(crate) const fn of(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            found: Vec::new(),
        }
    }

    /// Adds one. An empty remedy is none.
    pub(crate) fn add(
        &mut self,
        place: Place,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let remedy = remedy.into();
        let excerpt = usize::try_from(place.line)
            .ok()
            .and_then(|line| line.checked_sub(1))
            .and_then(|line| self.text.lines().nth(line));
        self.found.push(Problem {
            file: self.file.to_owned(),
            line: place.line,
            column: place.column,
            width: place.width.max(1),
            excerpt: excerpt.unwrap_or_default().to_owned(),
            message: message.into(),
            remedy: (!remedy.is_empty()).then_some(remedy),
        });
    }

    /// Where `start..end` (in characters of the text that the scalar at `place` holds) stands in the file; the whole scalar when the two do
    /// not match, as with escapes that stand for other characters.
    pub(crate) fn within(&self, place: Place, value: &str, start: usize, end: usize) -> Place {
        let Some(places) = scalar::places(self.text, place, value) else {
            return place;
        };
        let Some(&(line, column)) = places.get(start).or_else(|| places.last()) else {
            return place;
        };
        // One past the last character stands right behind it.
        let past = u32::from(start >= places.len());
        let here = places.iter().zip(value.chars()).skip(start);
        let here = here.take(end.saturating_sub(start).max(1));
        let on_line = here.take_while(|((row, _), _)| *row == line);
        let last = on_line.filter(|(_, c)| !c.is_whitespace()).last();
        let width = last.map_or(1, |((_, last), _)| last.saturating_sub(column) + 1);
        Place {
            line,
            column: column + past,
            width,
        }
    }

    /// Is there none?
    pub(crate) const fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them, in the order of the file.
    pub(crate) fn into_sorted(mut self) -> Vec<Problem> {
        self.found
            .sort_by_key(|problem| (problem.line, problem.column));
        self.found
    }
}

/// `did you mean …?` when one of the `known` names is a slip away from `written`, else the list of them when it is short.
pub(crate) fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    const LISTED: usize = 12;
    let known: Vec<&str> = known.into_iter().collect();
    let reach = (written.chars().count() / 3).clamp(1, 3);
    // A word cut short, or with something appended, is as good as a slip.
    let is_part =
        |name: &str| written.len() >= 3 && (name.starts_with(written) || written.starts_with(name));
    let nearest = known
        .iter()
        .map(|name| (distance(written, name), *name))
        .filter(|(distance, name)| *distance <= reach || is_part(name))
        .min();
    match nearest {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None if known.is_empty() => String::new(),
        None if known.len() <= LISTED => format!("known: {}", known.join(", ")),
        None => format!("the nearest are {}", nearest_three(written, known)),
    }
}

/// Three of many names: those that begin alike first, then those that are spelt alike.
fn nearest_three(written: &str, mut known: Vec<&str>) -> String {
    let alike = |name: &str| {
        let pairs = written.chars().zip(name.chars());
        pairs.take_while(|(a, b)| a == b).count().min(4)
    };
    known.sort_by_key(|name| {
        (
            std::cmp::Reverse(alike(name)),
            distance(written, name),
            *name,
        )
    });
    let three: Vec<String> = known
        .into_iter()
        .take(3)
        .map(|name| format!("`{name}`"))
        .collect();
    three.join(", ")
}

/// Edits (insert, delete, replace, swap of neighbours) between two short names.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 64;
    let (a, b): (Vec<char>, Vec<char>) = (
        a.chars().take(LONGEST).collect(),
        b.chars().take(LONGEST).collect(),
    );
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX - 1);
            let mut least = (cell(&above, j) + usize::from(x != y))
                .min(cell(&above, j + 1) + 1)
                .min(cell(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                least = least.min(cell(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_a_different_word_is_not() {
        let known = ["email", "push", "sms"];
        assert_eq!(did_you_mean("emial", known), "did you mean `email`?");
        assert_eq!(did_you_mean("pusch", known), "did you mean `push`?");
        assert_eq!(did_you_mean("telegram", known), "known: email, push, sms");
        let many: Vec<String> = (0..20).map(|n| format!("order_{n}{n}{n}")).collect();
        let many = many.iter().map(String::as_str).chain(["checkout_started"]);
        let said = did_you_mean("checkout_begun", many);
        assert!(
            said.starts_with("the nearest are `checkout_started`, "),
            "{said}"
        );
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn of_a_long_line_the_part_is_shown_that_the_carets_stand_under() {
        let line = format!(
            "  when: '{} && cart.valu > 1.0 && {}'",
            "a".repeat(300),
            "b".repeat(300)
        );
        let told = |column: usize, width| {
            let problem = Problem {
                file: "x.yaml".to_owned(),
                line: 7,
                column: u32::try_from(column).unwrap(),
                width,
                excerpt: line.clone(),
                message: "m".to_owned(),
                remedy: None,
            };
            let text = problem.to_string();
            let mut lines = text
                .lines()
                .rev()
                .map(|line| line.chars().collect::<Vec<char>>());
            let (carets, shown) = (lines.next().unwrap(), lines.next().unwrap());
            assert!(shown.len() <= WIDTH && carets.len() <= WIDTH, "{text}");
            let pairs = carets.iter().zip(&shown);
            let meant = pairs.filter(|(caret, _)| **caret == '^').map(|(_, c)| *c);
            meant.collect::<String>()
        };
        assert_eq!(told(line.find("cart").unwrap() + 1, 9), "cart.valu");
        assert_eq!(told(3, 4), "when");
        assert_eq!(told(line.len(), 1), "'");
        assert!(told(10, 300).starts_with("aaaa"));
        assert!(told(line.find("bbb").unwrap() + 1, 300).starts_with("bbbb"));
    }

    #[test]
    fn a_part_of_a_scalar_is_found_in_plain_quoted_literal_and_folded_text() {
        let text = "a: b == 1\nc: \"d == 2\"\ne: |\n  f\n  && g\nh: \"i\\u0020j\"\nk: 'l == ''m''@\nn: >-\n  o &&\n  p == 3\n"
            .replace('@', "'");
        let problems = Problems::of("x", &text);
        let place = |line, column| Place {
            line,
            column,
            width: 1,
        };
        let found = |place, value, start, end| {
            let found = problems.within(place, value, start, end);
            (found.line, found.column, found.width)
        };
        assert_eq!(found(place(1, 4), "b == 1", 2, 4), (1, 6, 2));
        assert_eq!(found(place(2, 4), "d == 2", 2, 4), (2, 7, 2));
        // A block is placed at its sign, or where its text begins.
        assert_eq!(found(place(3, 4), "f\n&& g\n", 5, 6), (5, 6, 1));
        assert_eq!(found(place(4, 3), "f\n&& g\n", 5, 6), (5, 6, 1));
        assert_eq!(found(place(6, 4), "i j", 2, 3), (6, 4, 1));
        assert_eq!(found(place(7, 4), "l == 'm'", 5, 8), (7, 10, 4));
        assert_eq!(found(place(8, 4), "o && p == 3", 5, 11), (10, 3, 6));
        assert_eq!(found(place(9, 3), "o && p == 3", 2, 11), (9, 5, 2));
        assert_eq!(found(place(1, 4), "b == 1", 6, 7), (1, 10, 1));
    }
}
