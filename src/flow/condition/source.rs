//! The source of a condition: parsed by the `cel` crate (nothing of its interpreter is used), with places in characters.

use cel::common::ast::{Expr, IdedExpr, SourceInfo};
use cel::parser::Parser;

use super::plan::MILLION;
use super::{Fault, MAX_DEPTH, MAX_SOURCE};

/// A source that parsed.
pub(super) struct Source<'a> {
    text: &'a str,
    places: SourceInfo,
}

impl<'a> Source<'a> {
    /// Parses `text` within the limits.
    pub(super) fn parse(text: &'a str) -> Result<(IdedExpr, Self), Vec<Fault>> {
        let whole = |message: String| {
            vec![Fault {
                start: 0,
                end: text.chars().count(),
                message,
                remedy: "write it shorter, or in two flows".to_owned(),
            }]
        };
        if text.len() > MAX_SOURCE {
            return Err(whole(format!(
                "this condition is longer than {MAX_SOURCE} bytes"
            )));
        }
        // The parser goes down one call per bracket or sign before it counts depth.
        if nesting(text) > MAX_DEPTH {
            return Err(whole(format!(
                "this condition is nested deeper than {MAX_DEPTH}"
            )));
        }
        let (expression, places) = Parser::new()
            .parse_with_source_info(text)
            .map_err(|errors| syntax(text, &errors))?;
        Ok((expression, Self { text, places }))
    }

    /// First and one past the last character of an expression.
    pub(super) fn span(&self, node: &IdedExpr) -> (usize, usize) {
        let mut span: Option<(usize, usize)> = None;
        self.widen(node, &mut span);
        let (first, last) = span.unwrap_or((0, self.text.len()));
        // Offsets are bytes; the last one is where the last character begins.
        let chars = |to: usize| {
            self.text
                .char_indices()
                .take_while(|(at, _)| *at < to)
                .count()
        };
        (chars(first), chars(last.saturating_add(1)))
    }

    fn widen(&self, node: &IdedExpr, span: &mut Option<(usize, usize)>) {
        if let Some((start, stop)) = self.places.offset_for(node.id) {
            let (start, stop) = (
                usize::try_from(start).unwrap_or_default(),
                usize::try_from(stop).unwrap_or_default(),
            );
            *span = Some(span.map_or((start, stop), |(first, last)| {
                (first.min(start), last.max(stop))
            }));
        }
        match &node.expr {
            Expr::Call(call) => {
                for part in call.target.as_deref().into_iter().chain(&call.args) {
                    self.widen(part, span);
                }
            }
            Expr::Select(select) => {
                self.widen(&select.operand, span);
                // The place of a selection is its dot.
                if let Some((_, last)) = span {
                    *last += select.field.len();
                }
            }
            Expr::List(list) => {
                for part in &list.elements {
                    self.widen(part, span);
                }
            }
            Expr::Unspecified
            | Expr::Comprehension(_)
            | Expr::Ident(_)
            | Expr::Literal(_)
            | Expr::Map(_)
            | Expr::Struct(_) => {}
        }
    }
}

/// The deepest run of open brackets, plus signs that pile up.
fn nesting(source: &str) -> usize {
    let (mut depth, mut deepest, mut signs) = (0_usize, 0_usize, 0_usize);
    for c in source.chars() {
        match c {
            '(' | '[' | '{' | '?' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        signs = match c {
            '!' | '-' => signs + 1,
            c if c.is_whitespace() => signs,
            _ => 0,
        };
        deepest = deepest.max(depth + signs);
    }
    deepest
}

/// The parser's first complaint, without its file and line. One slip makes it stumble on: the rest rarely helps.
fn syntax(source: &str, errors: &cel::ParseErrors) -> Vec<Fault> {
    let Some(error) = errors.errors.first() else {
        return Vec::new();
    };
    let row = usize::try_from(error.pos.0.max(1)).unwrap_or(1) - 1;
    let column = usize::try_from(error.pos.1.max(1)).unwrap_or(1) - 1;
    let before: usize = source
        .split_inclusive('\n')
        .take(row)
        .map(|line| line.chars().count())
        .sum();
    let start = (before + column).min(source.chars().count());
    // ANTLR lists every token that it would have taken: nobody reads that.
    let message = error
        .msg
        .trim_start_matches("Syntax error: ")
        .split(" expecting ")
        .next()
        .unwrap_or_default()
        .replace("'<EOF>'", "end")
        .replace("token recognition error at:", "not understood:");
    if message.contains("has() macro") {
        return vec![Fault {
            start,
            end: start + 1,
            message: "`has` asks for a field with a dot".to_owned(),
            remedy: looked_up(source)
                .unwrap_or_else(|| "such as `has(profile.country)`".to_owned()),
        }];
    }
    vec![Fault {
        start,
        end: start + 1,
        message: format!("this is not a condition: {message}"),
        remedy: hint(source, start).to_owned(),
    }]
}

/// How one asks for a trait or a score by its name.
fn looked_up(source: &str) -> Option<String> {
    ["profile.traits", "profile.scores"]
        .iter()
        .find_map(|table| {
            let (_, rest) = source.split_once(&format!("has({table}["))?;
            let (name, _) = rest.split_once(']')?;
            Some(format!("write `{name} in {table}`"))
        })
}

/// What people write who come from another language.
fn hint(source: &str, start: usize) -> &'static str {
    let rest: String = source.chars().skip(start).collect();
    let word = rest.split_whitespace().next().unwrap_or_default();
    if rest.starts_with('=') && !rest.starts_with("==") {
        "equality is `==`"
    } else if word.eq_ignore_ascii_case("and") {
        "write `&&`"
    } else if word.eq_ignore_ascii_case("or") {
        "write `||`"
    } else if word.eq_ignore_ascii_case("not") {
        "write `!`"
    } else {
        "conditions are CEL, such as `cart.value >= 20.0 && profile.vip`"
    }
}

/// A written decimal in millionths. The shortest text that reads as `number` is what was written, so no digit is lost.
pub(super) fn decimal(number: f64) -> Option<i128> {
    if !number.is_finite() || number.abs() >= 1e15 {
        return None;
    }
    let text = format!("{number}");
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.as_str()),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 6 {
        return None;
    }
    let whole: i128 = whole.parse().ok()?;
    let fraction: i128 = format!("{fraction:0<6}").parse().ok()?;
    let millionths = whole * MILLION + fraction;
    Some(if negative { -millionths } else { millionths })
}

/// `a.b.c` when the expression is nothing but a name.
pub(super) fn path(node: &IdedExpr) -> Option<String> {
    match &node.expr {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => {
            Some(format!("{}.{}", path(&select.operand)?, select.field))
        }
        Expr::Select(_)
        | Expr::Unspecified
        | Expr::Call(_)
        | Expr::Comprehension(_)
        | Expr::List(_)
        | Expr::Literal(_)
        | Expr::Map(_)
        | Expr::Struct(_) => None,
    }
}
