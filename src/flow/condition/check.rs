//! A parsed condition to its plan: names, types, limits.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};

use super::fields::{Field, Origin, Type};
use super::plan::{Arithmetic, Comparison, Plan, Search};
use super::source::{Source, decimal, path};
use super::{Fault, MAX_DEPTH, MAX_LIST, Setting};
use crate::flow::problem::did_you_mean;

/// Checks `source` and makes its plan.
pub(super) fn check(source: &str, setting: &Setting<'_>) -> Result<Plan, Vec<Fault>> {
    let (expression, source) = Source::parse(source)?;
    let mut checker = Checker {
        source,
        setting,
        faults: Vec::new(),
    };
    let typed = checker.expression(&expression, 0);
    if let Some((_, found)) = &typed
        && !matches!(found, Type::Bool | Type::Any)
    {
        checker.fault::<()>(
            &expression,
            format!("a condition is true or false; this is {}", found.name()),
            "compare it with something",
        );
    }
    match typed {
        Some((plan, _)) if checker.faults.is_empty() => Ok(plan),
        _ => Err(checker.faults),
    }
}

struct Checker<'a> {
    source: Source<'a>,
    setting: &'a Setting<'a>,
    faults: Vec<Fault>,
}

type Typed = Option<(Plan, Type)>;

impl Checker<'_> {
    /// Adds a fault at `node`; gives `None`, what a checked expression is when it is none.
    fn fault<T>(
        &mut self,
        node: &IdedExpr,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Option<T> {
        let (start, end) = self.source.span(node);
        self.faults.push(Fault {
            start,
            end,
            message: message.into(),
            remedy: remedy.into(),
        });
        None
    }

    fn expression(&mut self, node: &IdedExpr, depth: usize) -> Typed {
        if depth > MAX_DEPTH {
            return self.fault(
                node,
                format!("this condition is nested deeper than {MAX_DEPTH}"),
                "write it flatter, or in two flows",
            );
        }
        match &node.expr {
            Expr::Literal(literal) => self.literal(node, literal),
            Expr::Ident(name) => {
                let remedy = fields_below(name);
                let remedy = if remedy.is_empty() {
                    did_you_mean(name, ROOTS.iter().copied())
                } else {
                    remedy
                };
                self.fault(node, format!("`{name}` is no value"), remedy)
            }
            Expr::Select(select) => self.select(node, select),
            Expr::Call(call) => self.call(node, call, depth),
            Expr::List(_) => self.fault(
                node,
                "a list stands only to the right of `in`",
                "such as `order.channel in [\"online\"]`",
            ),
            Expr::Comprehension(_) => self.fault(
                node,
                "`all`, `exists`, `map` and `filter` are not part of conditions",
                "ask for one value: `x in [1, 2]`, or `a || b`",
            ),
            Expr::Map(_) | Expr::Struct(_) => self.fault(
                node,
                "mappings are not part of conditions",
                "compare one field with one value",
            ),
            Expr::Unspecified => self.fault(
                node,
                "something is missing here",
                "write what it is compared with",
            ),
        }
    }

    fn literal(&mut self, node: &IdedExpr, literal: &LiteralValue) -> Typed {
        match literal {
            LiteralValue::Boolean(truth) => Some((Plan::Bool(*truth.inner()), Type::Bool)),
            LiteralValue::Int(number) => Some((Plan::Whole(*number.inner()), Type::Whole)),
            LiteralValue::UInt(number) => match i64::try_from(*number.inner()) {
                Ok(number) => Some((Plan::Whole(number), Type::Whole)),
                Err(_) => self.fault(node, "this number is too large", "write a smaller one"),
            },
            LiteralValue::Double(number) => match decimal(*number.inner()) {
                Some(number) => Some((Plan::Decimal(number), Type::Decimal)),
                None => self.fault(
                    node,
                    "this number has more than six decimals or is too large",
                    "write it with six decimals at most",
                ),
            },
            LiteralValue::String(text) => Some((Plan::Text(text.inner().into()), Type::Text)),
            LiteralValue::Bytes(_) => self.fault(
                node,
                "bytes are not part of conditions",
                "write a text: `\"…\"`",
            ),
            LiteralValue::Null => self.fault(
                node,
                "`null` is not part of conditions",
                "ask `has(field)`, or `!has(field)`",
            ),
        }
    }

    fn select(&mut self, node: &IdedExpr, select: &SelectExpr) -> Typed {
        let Some(parent) = path(&select.operand) else {
            return self.fault(node, "only fields have fields", "such as `cart.value`");
        };
        let name = format!("{parent}.{}", select.field);
        let (plan, kind) = match Table::parse(&parent) {
            Some(table) => table.entry(&select.field),
            None => self.field(node, &name)?,
        };
        // `has(a.b)` is a selection that only asks.
        Some(if select.test {
            (Plan::Has(Box::new(plan)), Type::Bool)
        } else {
            (plan, kind)
        })
    }

    fn field(&mut self, node: &IdedExpr, name: &str) -> Typed {
        let Some(field) = Field::parse(name) else {
            let remedy = match name {
                "profile.traits" => "name one: `profile.traits[\"size\"]`".to_owned(),
                "profile.scores" => "name one: `profile.scores[\"churn/30d\"]`".to_owned(),
                _ => {
                    let near = did_you_mean(name, Field::ALL.iter().map(|field| field.name()));
                    if near.is_empty() {
                        fields_below(name.split('.').next().unwrap_or_default())
                    } else {
                        near
                    }
                }
            };
            return self.fault(node, format!("`{name}` is no field"), remedy);
        };
        let about = self.setting.about;
        if field.origin() == Origin::Cart && !about.cart {
            return self.fault(
                node,
                format!("`{name}` is of a cart, and none is at hand here"),
                "begin by what happens to a cart, as `events: [product_added, cart_updated]`, or use fields of `profile`",
            );
        }
        if field.origin() == Origin::Supply && !about.product {
            return self.fault(
                node,
                format!("`{name}` is of a product, and none is at hand here"),
                "write `instance: product_id`, or use fields of `profile`",
            );
        }
        if field.origin().is_of_event() {
            match self.setting.events {
                None => {
                    let remedy = if about.cart {
                        "use fields of `cart` and `profile` here"
                    } else {
                        "use fields of `profile` here"
                    };
                    return self.fault(
                        node,
                        format!("`{name}` is of an event, and there is none at hand here"),
                        remedy,
                    );
                }
                Some(events) if !events.iter().any(|event| field.origin().is_told_by(*event)) => {
                    let names: Vec<_> = events.iter().map(|event| event.name()).collect();
                    return self.fault(
                        node,
                        format!("`{name}` is never told by {}", names.join(", ")),
                        "ask for a field of `cart` or `profile`, or for an event that tells it",
                    );
                }
                Some(_) => {}
            }
        }
        Some((Plan::Field(field), field.of_type()))
    }

    fn call(&mut self, node: &IdedExpr, call: &CallExpr, depth: usize) -> Typed {
        let depth = depth + 1;
        if let Some(target) = &call.target {
            return self.method(node, call, target, depth);
        }
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_NOT, [part]) => {
                let part = self.truth(part, "`!`", depth)?;
                Some((Plan::Not(Box::new(part)), Type::Bool))
            }
            (operators::LOGICAL_AND, [left, right]) => {
                let sides = self.truths(left, right, "`&&`", depth)?;
                Some((Plan::And(sides), Type::Bool))
            }
            (operators::LOGICAL_OR, [left, right]) => {
                let sides = self.truths(left, right, "`||`", depth)?;
                Some((Plan::Or(sides), Type::Bool))
            }
            (operators::CONDITIONAL, [test, yes, no]) => self.choice(test, yes, no, depth),
            (operators::NEGATE, [part]) => {
                let (plan, kind) = self.number(part, "`-`", depth)?;
                Some((Plan::Negate(Box::new(plan)), kind))
            }
            (operators::INDEX, [of, name]) => self.index(node, of, name),
            (operators::IN, [value, list]) => self.among(value, list, depth),
            ("size", [part]) => self.length(part, depth),
            (name, [left, right]) => {
                if let Some(how) = Comparison::of_operator(name) {
                    self.comparison(how, left, right, depth)
                } else if let Some((how, sign)) = Arithmetic::of_operator(name) {
                    self.arithmetic(how, sign, left, right, depth)
                } else {
                    self.unknown_function(node, name)
                }
            }
            (name, _) => self.unknown_function(node, name),
        }
    }

    fn unknown_function(&mut self, node: &IdedExpr, name: &str) -> Typed {
        const SEARCHES: [&str; 3] = ["startsWith", "endsWith", "contains"];
        if SEARCHES.contains(&name) {
            let message = format!("`{name}` stands behind a text and takes one argument");
            return self.fault(
                node,
                message,
                format!("write `order.channel.{name}(\"…\")`"),
            );
        }
        if name == "size" {
            let message = "`size` takes one text and nothing else";
            return self.fault(node, message, "write `size(order.channel)`");
        }
        self.fault(
            node,
            format!("`{name}` is no function of conditions"),
            did_you_mean(name, ["has", "size", "startsWith", "endsWith", "contains"]),
        )
    }

    fn method(&mut self, node: &IdedExpr, call: &CallExpr, of: &IdedExpr, depth: usize) -> Typed {
        let how = match (call.func_name.as_str(), call.args.as_slice()) {
            ("size", []) => return self.length(of, depth),
            ("startsWith", [_]) => Search::StartsWith,
            ("endsWith", [_]) => Search::EndsWith,
            ("contains", [_]) => Search::Contains,
            (name, _) => return self.unknown_function(node, name),
        };
        let text = self.text(of, &call.func_name, depth);
        let part = call
            .args
            .first()
            .and_then(|part| self.text(part, &call.func_name, depth));
        Some((Plan::Search(how, Box::new((text?, part?))), Type::Bool))
    }

    fn length(&mut self, part: &IdedExpr, depth: usize) -> Typed {
        let text = self.text(part, "size", depth)?;
        Some((Plan::Length(Box::new(text)), Type::Whole))
    }

    fn choice(&mut self, test: &IdedExpr, yes: &IdedExpr, no: &IdedExpr, depth: usize) -> Typed {
        let test = self.truth(test, "`?`", depth);
        let yes_typed = self.expression(yes, depth);
        let no_typed = self.expression(no, depth);
        let ((yes, yes_type), (no_plan, no_type)) = (yes_typed?, no_typed?);
        let kind = match (yes_type, no_type) {
            (left, right) if left == right => left,
            (left, right) if left.is_number() && right.is_number() => Type::Decimal,
            (Type::Any, other) | (other, Type::Any) => other,
            (left, right) => {
                return self.fault(
                    no,
                    format!(
                        "this is {}, the other branch is {}",
                        right.name(),
                        left.name()
                    ),
                    format!("write {} in both", left.name()),
                );
            }
        };
        Some((Plan::Choose(Box::new((test?, yes, no_plan))), kind))
    }

    fn index(&mut self, node: &IdedExpr, of: &IdedExpr, name: &IdedExpr) -> Typed {
        let Some(table) = path(of).as_deref().and_then(Table::parse) else {
            return self.fault(
                node,
                "only `profile.traits[\"…\"]` and `profile.scores[\"…\"]` are looked up by name",
                "write a field with a dot, such as `cart.value`",
            );
        };
        let Expr::Literal(LiteralValue::String(text)) = &name.expr else {
            return self.fault(name, table.wants_text(), table.example());
        };
        Some(table.entry(text.inner()))
    }

    fn among(&mut self, value: &IdedExpr, list: &IdedExpr, depth: usize) -> Typed {
        // `"size" in profile.traits` asks whether there is such a trait.
        if let Some(table) = path(list).as_deref().and_then(Table::parse) {
            let Expr::Literal(LiteralValue::String(text)) = &value.expr else {
                return self.fault(value, table.wants_text(), table.example());
            };
            let (plan, _) = table.entry(text.inner());
            return Some((Plan::Has(Box::new(plan)), Type::Bool));
        }
        let Expr::List(items) = &list.expr else {
            return self.fault(
                list,
                "`in` is followed by a list",
                "such as `[\"online\", \"offline\"]`",
            );
        };
        if items.elements.is_empty() || items.elements.len() > MAX_LIST {
            return self.fault(
                list,
                format!("a list has between 1 and {MAX_LIST} values"),
                "write at least one, or two lists and `||`",
            );
        }
        let typed = self.expression(value, depth);
        let mut plans = Vec::with_capacity(items.elements.len());
        for item in &items.elements {
            let Some((plan, kind)) = self.expression(item, depth) else {
                continue;
            };
            if let Some((value, value_type)) = &typed {
                if !comparable(*value_type, kind, true) {
                    let message =
                        format!("{} cannot be equal to {}", value_type.name(), kind.name());
                    let remedy = format!("write {} here, or leave it out", value_type.name());
                    self.fault::<()>(item, message, remedy);
                }
                self.closed_set(value, &plan, item);
            }
            plans.push(plan);
        }
        Some((Plan::In(Box::new(typed?.0), plans.into()), Type::Bool))
    }

    fn comparison(
        &mut self,
        how: Comparison,
        left: &IdedExpr,
        right: &IdedExpr,
        depth: usize,
    ) -> Typed {
        let left_typed = self.expression(left, depth);
        let right_typed = self.expression(right, depth);
        let ((left_plan, left_type), (right_plan, right_type)) = (left_typed?, right_typed?);
        let equality = matches!(how, Comparison::Equal | Comparison::NotEqual);
        if !comparable(left_type, right_type, equality) {
            let remedy = self.mend(left, left_type, right, right_type);
            if (left_type, right_type) == (Type::Bool, Type::Bool) {
                return self.fault(right, "true and false have no order", "use `==` or `!=`");
            }
            return self.fault(
                right,
                format!(
                    "{} cannot be compared with {}",
                    left_type.name(),
                    right_type.name()
                ),
                remedy,
            );
        }
        self.closed_set(&left_plan, &right_plan, right);
        self.closed_set(&right_plan, &left_plan, left);
        Some((
            Plan::Compare(how, Box::new((left_plan, right_plan))),
            Type::Bool,
        ))
    }

    /// A field of a closed set that is compared with a word outside of it can never be equal to it.
    fn closed_set(&mut self, field: &Plan, other: &Plan, node: &IdedExpr) {
        let (Plan::Field(field), Plan::Text(word)) = (field, other) else {
            return;
        };
        let values = field.values();
        if !values.is_empty() && !values.contains(&&**word) {
            self.fault::<()>(
                node,
                format!("`{}` is never {word:?}", field.name()),
                did_you_mean(word, values),
            );
        }
    }

    fn arithmetic(
        &mut self,
        how: Arithmetic,
        sign: &str,
        left: &IdedExpr,
        right: &IdedExpr,
        depth: usize,
    ) -> Typed {
        let left_typed = self.number(left, sign, depth);
        let right_typed = self.number(right, sign, depth);
        let ((left_plan, left_type), (right_plan, right_type)) = (left_typed?, right_typed?);
        let kind = if (left_type, right_type) == (Type::Whole, Type::Whole) {
            Type::Whole
        } else {
            Type::Decimal
        };
        let divides = matches!(how, Arithmetic::Divide | Arithmetic::Remainder);
        if divides && matches!(right_plan, Plan::Whole(0) | Plan::Decimal(0)) {
            let remedy = "divide by another number, or leave the division out";
            return self.fault(right, "this divides by zero", remedy);
        }
        if how == Arithmetic::Remainder
            && (left_type == Type::Decimal || right_type == Type::Decimal)
        {
            let remedy = "ask for a range instead, such as `cart.value >= 20.0`";
            return self.fault(right, "`%` is for whole numbers", remedy);
        }
        Some((
            Plan::Arithmetic(how, Box::new((left_plan, right_plan))),
            kind,
        ))
    }

    fn truths(
        &mut self,
        left: &IdedExpr,
        right: &IdedExpr,
        sign: &str,
        depth: usize,
    ) -> Option<Box<(Plan, Plan)>> {
        let left = self.truth(left, sign, depth);
        let right = self.truth(right, sign, depth);
        Some(Box::new((left?, right?)))
    }

    /// An expression that has to be true or false.
    fn truth(&mut self, node: &IdedExpr, sign: &str, depth: usize) -> Option<Plan> {
        let (plan, kind) = self.expression(node, depth)?;
        if matches!(kind, Type::Bool | Type::Any) {
            return Some(plan);
        }
        let message = format!("{sign} wants true or false, this is {}", kind.name());
        self.fault(node, message, "compare it with something")
    }

    /// An expression that has to be a number.
    fn number(&mut self, node: &IdedExpr, sign: &str, depth: usize) -> Typed {
        let (plan, kind) = self.expression(node, depth)?;
        if kind.is_number() {
            return Some((plan, kind));
        }
        let message = format!("{sign} wants a number, this is {}", kind.name());
        let remedy = match kind {
            Type::Text => {
                "texts are not counted with: compare them with `==`, or ask `startsWith`, `endsWith`, `contains`"
            }
            Type::Bool => "count with a number, such as `cart.items`; true and false stand alone",
            Type::Any => "compare a trait as it is, as in `profile.traits[\"size\"] > 3`",
            Type::Whole | Type::Decimal => "",
        };
        self.fault(node, message, remedy)
    }

    /// An expression that has to be text.
    fn text(&mut self, node: &IdedExpr, function: &str, depth: usize) -> Option<Plan> {
        let (plan, kind) = self.expression(node, depth)?;
        if matches!(kind, Type::Text | Type::Any) {
            return Some(plan);
        }
        let message = format!("`{function}` wants text, this is {}", kind.name());
        let remedy = "ask it of a text, such as `order.channel`; compare the others";
        self.fault(node, message, remedy)
    }

    /// What to write instead of a comparison whose sides do not go together.
    fn mend(&self, left: &IdedExpr, left_type: Type, right: &IdedExpr, right_type: Type) -> String {
        let is_number = |node: &IdedExpr| matches!(&node.expr, Expr::Literal(LiteralValue::String(text)) if text.inner().parse::<f64>().is_ok());
        let alone = |node: &IdedExpr| {
            let field = path(node)?;
            Some(format!(
                "it is true or false by itself: write `{field}` or `!{field}`"
            ))
        };
        let by_itself = match (left_type, right_type) {
            (Type::Bool, _) => alone(left),
            (_, Type::Bool) => alone(right),
            _ => None,
        };
        if let Some(by_itself) = by_itself {
            return by_itself;
        }
        match (left_type, right_type) {
            _ if is_number(left) || is_number(right) => {
                "write the number without quotes".to_owned()
            }
            (one, other) => {
                let (one, other) = (one.name(), other.name());
                format!("compare {one} with {one}, or {other} with {other}")
            }
        }
    }
}

/// What is looked up by a name that the shop chose.
#[derive(Clone, Copy)]
enum Table {
    Traits,
    Scores,
}

impl Table {
    fn parse(path: &str) -> Option<Self> {
        match path {
            "profile.traits" => Some(Self::Traits),
            "profile.scores" => Some(Self::Scores),
            _ => None,
        }
    }

    fn entry(self, name: &str) -> (Plan, Type) {
        match self {
            Self::Traits => (Plan::Trait(name.into()), Type::Any),
            Self::Scores => (Plan::Score(name.into()), Type::Decimal),
        }
    }

    const fn example(self) -> &'static str {
        match self {
            Self::Traits => "such as `profile.traits[\"size\"]` or `\"size\" in profile.traits`",
            Self::Scores => "such as `profile.scores[\"churn/30d\"]`",
        }
    }

    const fn wants_text(self) -> &'static str {
        match self {
            Self::Traits => "the name of a trait is a text in quotes",
            Self::Scores => "the name of a score is a text in quotes",
        }
    }
}

/// The names that fields begin with.
const ROOTS: &[&str] = &[
    "cart", "event", "order", "product", "profile", "feedback", "supply",
];

/// "its fields: …" for a name that fields begin with.
fn fields_below(root: &str) -> String {
    let fields: Vec<&str> = Field::ALL
        .iter()
        .map(|field| field.name())
        .filter(|name| name.split('.').next() == Some(root))
        .collect();
    if fields.is_empty() {
        String::new()
    } else {
        format!("its fields: {}", fields.join(", "))
    }
}

/// May the two be compared? Traits may always; true and false only for equality.
fn comparable(left: Type, right: Type, equality: bool) -> bool {
    match (left, right) {
        (Type::Any, Type::Bool) | (Type::Bool, Type::Any | Type::Bool) => equality,
        (Type::Any, _) | (_, Type::Any) | (Type::Text, Type::Text) => true,
        (left, right) => left.is_number() && right.is_number(),
    }
}
