//! Where each character of a YAML scalar stands in its file: plain, quoted, literal (`|`) and folded (`>`).
//!
//! What a scalar holds is not what is written: lines are folded, indentation falls away, quotes are doubled. Both are walked side by side.

use super::Place;

/// Line and column (both from 1, in characters) of each character of `value`, which the scalar at `place` of `text` holds; `None` when what
/// is written there reads otherwise.
pub(super) fn places(text: &str, place: Place, value: &str) -> Option<Vec<(u32, u32)>> {
    let mut written = Written::at(text, place)?;
    let style = match written.peek()? {
        // The sign of a block, with its own signs; the text begins on the next line.
        '|' | '>' => {
            while written.next()?.0 != '\n' {}
            None
        }
        quote @ ('"' | '\'') => {
            written.next();
            Some(quote)
        }
        _ => None,
    };
    let mut found = Vec::with_capacity(value.len());
    let mut last_is_space = false;
    for c in value.chars() {
        if c.is_whitespace() {
            // Any run of blanks stands for any other: which is which is of no use to anybody.
            found.push(written.position());
            if !last_is_space {
                written.skip_blanks();
            }
            last_is_space = true;
            continue;
        }
        last_is_space = false;
        written.skip_blanks();
        let (raw, place) = written.next()?;
        let stands_for = match (style, raw) {
            (Some('\''), '\'') | (Some('"'), '\\') => written.next()?.0,
            _ => raw,
        };
        if stands_for != c {
            return None;
        }
        found.push(place);
    }
    Some(found)
}

/// The file from one place on.
struct Written<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: u32,
    column: u32,
}

impl<'a> Written<'a> {
    fn at(text: &'a str, place: Place) -> Option<Self> {
        let lines = usize::try_from(place.line.checked_sub(1)?).ok()?;
        let columns = usize::try_from(place.column.checked_sub(1)?).ok()?;
        let begin: usize = text.split_inclusive('\n').take(lines).map(str::len).sum();
        let mut rest = text.get(begin..)?.chars();
        for _ in 0..columns {
            rest.next()?;
        }
        Some(Self {
            rest: rest.peekable(),
            line: place.line,
            column: place.column,
        })
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    const fn position(&self) -> (u32, u32) {
        (self.line, self.column)
    }

    fn next(&mut self) -> Option<(char, (u32, u32))> {
        let c = self.rest.next()?;
        let place = self.position();
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some((c, place))
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.next();
        }
    }
}
