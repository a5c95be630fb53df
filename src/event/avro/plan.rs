//! An Avro schema as the reader walks it: names looked up once, references filled in.

use apache_avro::Schema;
use apache_avro::schema::Name;
use std::collections::HashMap;

use crate::event::wire::Key;

/// Digits behind the point of a decimal: as many as 128 bits hold.
const MAX_SCALE: usize = 38;

/// How to read one value.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    Null,
    Bool,
    /// `int`, `long`, and what is written as one; `per_milli` of them are one unit of ours.
    Long {
        per_milli: i64,
    },
    Float,
    Double,
    /// A text, where they are UTF-8 (Avro's own rule); else nothing to us.
    Bytes,
    /// Bytes of a meaning that is not ours.
    Opaque,
    /// Money, as those write it who mean it; bytes of their own length, or of a fixed one.
    Decimal {
        size: Option<usize>,
        scale: usize,
    },
    Text,
    Fixed(usize),
    Enum(Vec<String>),
    Array(Box<Plan>),
    Map(Box<Plan>),
    Union(Vec<Plan>),
    Record(Vec<FieldPlan>),
}

/// How to read one field of a record.
#[derive(Clone, Debug)]
pub(super) struct FieldPlan {
    pub(super) name: String,
    /// What it means at the top level, under `properties` or in a product; `None`: read and forgotten.
    pub(super) key: Option<Key>,
    pub(super) plan: Plan,
}

impl Plan {
    /// # Errors
    /// When `schema` is not a record, or contains itself.
    pub(super) fn compile(schema: &Schema) -> Result<Self, &'static str> {
        Self::compile_among(schema, &[])
    }

    /// The same of a schema that names types of `others`, each of which stands before those that name it.
    ///
    /// # Errors
    /// When `schema` is not a record, or contains itself.
    pub(super) fn compile_among(schema: &Schema, others: &[Schema]) -> Result<Self, &'static str> {
        if !matches!(schema, Schema::Record(_)) {
            return Err("is not a record");
        }
        let mut compiler = Compiler::default();
        for other in others {
            compiler.plan(other, None)?;
        }
        compiler.plan(schema, None)
    }
}

/// Named types met so far; `None` while one is being compiled, so that one within itself is found.
#[derive(Default)]
struct Compiler {
    named: HashMap<Name, Option<Plan>>,
}

impl Compiler {
    fn plan(&mut self, schema: &Schema, space: Option<&str>) -> Result<Plan, &'static str> {
        Ok(match schema {
            Schema::Null => Plan::Null,
            Schema::Boolean => Plan::Bool,
            Schema::Int
            | Schema::Long
            | Schema::Date
            | Schema::TimeMillis
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::LocalTimestampMillis => Plan::Long { per_milli: 1 },
            Schema::TimestampMicros | Schema::LocalTimestampMicros => {
                Plan::Long { per_milli: 1_000 }
            }
            Schema::TimestampNanos | Schema::LocalTimestampNanos => Plan::Long {
                per_milli: 1_000_000,
            },
            Schema::Float => Plan::Float,
            Schema::Double => Plan::Double,
            Schema::Bytes => Plan::Bytes,
            Schema::BigDecimal => Plan::Opaque,
            Schema::String => Plan::Text,
            Schema::Uuid(apache_avro::schema::UuidSchema::String) => Plan::Text,
            Schema::Uuid(apache_avro::schema::UuidSchema::Bytes) => Plan::Opaque,
            Schema::Uuid(apache_avro::schema::UuidSchema::Fixed(fixed))
            | Schema::Duration(fixed)
            | Schema::Fixed(fixed) => self.remember(&fixed.name, space, Plan::Fixed(fixed.size)),
            Schema::Decimal(decimal) if decimal.scale > MAX_SCALE => {
                return Err("has a decimal of more than 38 digits behind the point");
            }
            Schema::Decimal(decimal) => {
                let scale = decimal.scale;
                match &decimal.inner {
                    apache_avro::schema::InnerDecimalSchema::Bytes => {
                        Plan::Decimal { size: None, scale }
                    }
                    apache_avro::schema::InnerDecimalSchema::Fixed(fixed) => {
                        let size = Some(fixed.size);
                        self.remember(&fixed.name, space, Plan::Decimal { size, scale })
                    }
                }
            }
            Schema::Enum(of) => self.remember(&of.name, space, Plan::Enum(of.symbols.clone())),
            Schema::Array(array) => Plan::Array(Box::new(self.plan(&array.items, space)?)),
            Schema::Map(map) => Plan::Map(Box::new(self.plan(&map.types, space)?)),
            Schema::Union(union) => Plan::Union(
                union
                    .variants()
                    .iter()
                    .map(|variant| self.plan(variant, space))
                    .collect::<Result<_, _>>()?,
            ),
            Schema::Record(record) => {
                let name = record.name.fully_qualified_name(space).into_owned();
                let space = name.namespace().map(str::to_owned);
                self.named.insert(name.clone(), None);
                let fields = record
                    .fields
                    .iter()
                    .map(|field| {
                        Ok(FieldPlan {
                            name: field.name.clone(),
                            key: Key::parse(&field.name),
                            plan: self.plan(&field.schema, space.as_deref())?,
                        })
                    })
                    .collect::<Result<_, &'static str>>()?;
                let plan = Plan::Record(fields);
                self.named.insert(name, Some(plan.clone()));
                plan
            }
            Schema::Ref { name } => {
                let name = name.fully_qualified_name(space);
                match self.named.get(name.as_ref()) {
                    Some(Some(plan)) => plan.clone(),
                    Some(None) => return Err("contains itself"),
                    None => return Err("names a type that it does not define"),
                }
            }
        })
    }

    fn remember(&mut self, name: &Name, space: Option<&str>, plan: Plan) -> Plan {
        let name = name.fully_qualified_name(space).into_owned();
        self.named.insert(name, Some(plan.clone()));
        plan
    }
}
