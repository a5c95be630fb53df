//! Avro's binary form → [`Wire`], walking a [`Plan`]. Texts are borrowed; nothing is built that is not used.
//!
//! Bounded: every list that is kept ends at [`MAX_ITEMS`], all lists of a record together at [`MAX_STEPS`] (items may take no bytes, so
//! that a few bytes could ask for a million of them), every text within the record, and the depth is the schema's.

use std::borrow::Cow;

use super::plan::{FieldPlan, Plan};
use crate::event::decode::MAX_ITEMS;
use crate::event::refusal::Refusal;
use crate::event::wire::{Key, Line, Pairs, Place, Scalar, Shape, Wire};

/// Items of all lists of a record together, those that are passed over included.
const MAX_STEPS: usize = 16 * MAX_ITEMS;

pub(super) type Read<T> = Result<T, Refusal>;

/// Reads one record, all of its bytes.
pub(super) fn record<'a>(plan: &Plan, bytes: &'a [u8], wire: &mut Wire<'a>) -> Read<()> {
    let Plan::Record(fields) = plan else {
        return Err(Refusal::WrongType);
    };
    let mut input = Input::of(bytes);
    input.record(fields, wire, false)?;
    if input.is_empty() {
        return Ok(());
    }
    wire.at = Place::default();
    Err(Refusal::Malformed)
}

/// What is left to read.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    steps: usize,
}

impl<'a> Input<'a> {
    pub(super) const fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, steps: 0 }
    }

    /// Is everything read?
    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(count)
            .ok_or(Refusal::Malformed)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// Zig-zag, seven bits a byte, at most ten bytes.
    fn long(&mut self) -> Read<i64> {
        let mut raw = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.bytes.split_first().ok_or(Refusal::Malformed)?;
            self.bytes = rest;
            raw |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
            }
        }
        Err(Refusal::Malformed)
    }

    fn counted(&mut self) -> Read<&'a [u8]> {
        let count = usize::try_from(self.long()?).map_err(|_| Refusal::Malformed)?;
        self.take(count)
    }

    pub(super) fn text(&mut self) -> Read<&'a str> {
        std::str::from_utf8(self.counted()?).map_err(|_| Refusal::Malformed)
    }

    /// The items of an array or map, in blocks, at most `limit`; `each` reads one.
    pub(super) fn items(
        &mut self,
        limit: usize,
        mut each: impl FnMut(&mut Self, usize) -> Read<()>,
    ) -> Read<()> {
        let mut index = 0;
        loop {
            let mut count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                // The block's size in bytes follows; we do not skip.
                count = count.checked_neg().ok_or(Refusal::Malformed)?;
                self.long()?;
            }
            for _ in 0..count {
                self.steps += 1;
                if index >= limit || self.steps > MAX_STEPS {
                    return Err(Refusal::TooMany);
                }
                each(self, index)?;
                index += 1;
            }
        }
    }

    pub(super) fn variant<'p>(&mut self, variants: &'p [Plan]) -> Read<&'p Plan> {
        let index = usize::try_from(self.long()?).map_err(|_| Refusal::Malformed)?;
        variants.get(index).ok_or(Refusal::Malformed)
    }

    /// A scalar; anything else is read and becomes [`Scalar::Other`].
    pub(super) fn scalar(&mut self, plan: &Plan) -> Read<Scalar<'a>> {
        Ok(match plan {
            Plan::Null => Scalar::Null,
            Plan::Bool => Scalar::Bool(self.take(1)? == [1]),
            Plan::Long { per_milli } => Scalar::Int(self.long()?.div_euclid(*per_milli)),
            Plan::Float => {
                let bytes = self.take(4)?.try_into().map_err(|_| Refusal::Malformed)?;
                let float = f32::from_le_bytes(bytes);
                // By its shortest decimal: 0.1 of a float is 0.1, not 0.10000000149.
                Scalar::Float(float.to_string().parse().unwrap_or(f64::NAN))
            }
            Plan::Double => {
                let bytes = self.take(8)?.try_into().map_err(|_| Refusal::Malformed)?;
                Scalar::Float(f64::from_le_bytes(bytes))
            }
            Plan::Bytes => match std::str::from_utf8(self.counted()?) {
                Ok(text) => Scalar::Text(text.into()),
                Err(_) => Scalar::Other,
            },
            Plan::Opaque => {
                self.counted()?;
                Scalar::Other
            }
            Plan::Decimal { size, scale } => {
                let bytes = match size {
                    Some(size) => self.take(*size)?,
                    None => self.counted()?,
                };
                decimal(bytes, *scale).map_or(Scalar::Other, |text| Scalar::Text(text.into()))
            }
            Plan::Text => Scalar::Text(Cow::Borrowed(self.text()?)),
            Plan::Fixed(size) => {
                self.take(*size)?;
                Scalar::Other
            }
            Plan::Enum(symbols) => {
                let index = usize::try_from(self.long()?).map_err(|_| Refusal::Malformed)?;
                let symbol = symbols.get(index).ok_or(Refusal::Malformed)?;
                Scalar::Text(Cow::Owned(symbol.clone()))
            }
            Plan::Union(variants) => {
                let variant = self.variant(variants)?;
                self.scalar(variant)?
            }
            Plan::Array(items) => {
                self.items(MAX_STEPS, |input, _| input.scalar(items).map(drop))?;
                Scalar::Other
            }
            Plan::Map(values) => {
                self.items(MAX_STEPS, |input, _| {
                    input.text()?;
                    input.scalar(values).map(drop)
                })?;
                Scalar::Other
            }
            Plan::Record(fields) => {
                for field in fields {
                    self.scalar(&field.plan)?;
                }
                Scalar::Other
            }
        })
    }

    /// A scalar, a list of them, or some by name (a map or a record).
    fn shape(&mut self, plan: &Plan) -> Read<Shape<'a>> {
        match plan {
            Plan::Union(variants) => {
                let variant = self.variant(variants)?;
                self.shape(variant)
            }
            Plan::Array(items) => {
                let mut many = Vec::new();
                self.items(MAX_ITEMS, |input, _| {
                    many.push(input.scalar(items)?);
                    Ok(())
                })?;
                Ok(Shape::Many(many))
            }
            Plan::Map(values) => {
                let mut named = Vec::new();
                self.items(MAX_ITEMS, |input, _| {
                    let name = Cow::Borrowed(input.text()?);
                    named.push((name, input.scalar(values)?));
                    Ok(())
                })?;
                Ok(Shape::Named(named))
            }
            Plan::Record(fields) => {
                let mut named = Vec::with_capacity(fields.len());
                for field in fields {
                    let name = Cow::Owned(field.name.clone());
                    named.push((name, self.scalar(&field.plan)?));
                }
                Ok(Shape::Named(named))
            }
            Plan::Null
            | Plan::Bool
            | Plan::Long { .. }
            | Plan::Float
            | Plan::Double
            | Plan::Bytes
            | Plan::Opaque
            | Plan::Decimal { .. }
            | Plan::Text
            | Plan::Fixed(_)
            | Plan::Enum(_) => self.scalar(plan).map(Shape::One),
        }
    }

    /// What may be there or not: `None` for null.
    fn present<'p>(&mut self, plan: &'p Plan) -> Read<Option<&'p Plan>> {
        match plan {
            Plan::Union(variants) => {
                let variant = self.variant(variants)?;
                self.present(variant)
            }
            Plan::Null => Ok(None),
            Plan::Bool
            | Plan::Long { .. }
            | Plan::Float
            | Plan::Double
            | Plan::Bytes
            | Plan::Opaque
            | Plan::Decimal { .. }
            | Plan::Text
            | Plan::Fixed(_)
            | Plan::Enum(_)
            | Plan::Array(_)
            | Plan::Map(_)
            | Plan::Record(_) => Ok(Some(plan)),
        }
    }

    /// A map (or record) whose values may have any shape.
    fn pairs(&mut self, plan: &Plan) -> Read<Pairs<'a, Shape<'a>>> {
        let mut pairs = Vec::new();
        match self.present(plan)? {
            None => {}
            Some(Plan::Map(values)) => self.items(MAX_ITEMS, |input, _| {
                let name = Cow::Borrowed(input.text()?);
                pairs.push((name, input.shape(values)?));
                Ok(())
            })?,
            Some(Plan::Record(fields)) => {
                for field in fields {
                    let name = Cow::Owned(field.name.clone());
                    pairs.push((name, self.shape(&field.plan)?));
                }
            }
            Some(_) => return Err(Refusal::WrongType),
        }
        Ok(pairs)
    }

    /// `products`: an array of records.
    fn lines(&mut self, plan: &Plan, at: &mut Place) -> Read<Option<Vec<Line<'a>>>> {
        let Some(plan) = self.present(plan)? else {
            return Ok(None);
        };
        let Plan::Array(items) = plan else {
            return Err(Refusal::WrongType);
        };
        let mut lines = Vec::new();
        self.items(MAX_ITEMS, |input, index| {
            at.index = Some(index);
            let Some(Plan::Record(fields)) = input.present(items)? else {
                return Err(Refusal::WrongType);
            };
            let mut line = Line::default();
            for field in fields {
                let value = input.scalar(&field.plan)?;
                if let Some(slot) = field.key.and_then(|key| line.slot(key)) {
                    *slot = value;
                }
            }
            lines.push(line);
            Ok(())
        })?;
        Ok(Some(lines))
    }

    /// The record itself, or its `properties`.
    fn record(&mut self, fields: &[FieldPlan], wire: &mut Wire<'a>, nested: bool) -> Read<()> {
        for field in fields {
            let Some(key) = field.key else {
                self.scalar(&field.plan)?;
                continue;
            };
            wire.at = key.into();
            match key {
                Key::Scalar(scalar) => {
                    let value = self.scalar(&field.plan)?;
                    wire.put(scalar, value, nested);
                }
                Key::Properties => {
                    let present = self.present(&field.plan)?;
                    match present {
                        Some(Plan::Record(own)) if !nested => self.record(own, wire, true)?,
                        Some(other) => drop(self.scalar(other)?),
                        None => {}
                    }
                }
                Key::Products => wire.products = self.lines(&field.plan, &mut wire.at)?,
                Key::Channels => wire.channels = Some(self.shape(&field.plan)?),
                Key::Addresses => wire.addresses = self.pairs(&field.plan)?,
                Key::Consents => wire.consents = self.pairs(&field.plan)?,
                Key::Traits => wire.traits = self.pairs(&field.plan)?,
                Key::Offer => wire.offer = Some(self.shape(&field.plan)?),
                Key::Context => {
                    let text = match self.scalar(&field.plan)? {
                        Scalar::Null => continue,
                        Scalar::Text(text) => text,
                        Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_) | Scalar::Other => {
                            return Err(Refusal::WrongType);
                        }
                    };
                    let object: serde_json::Map<String, serde_json::Value> =
                        serde_json::from_str(&text).map_err(|_| Refusal::WrongType)?;
                    wire.context = Some(serde_json::Value::Object(object).to_string());
                }
            }
        }
        Ok(())
    }
}

/// A number of two's complement, its last `scale` digits behind the point; `None` beyond 128 bits.
fn decimal(bytes: &[u8], scale: usize) -> Option<String> {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let mut whole = [if negative { 0xFF } else { 0 }; 16];
    let start = whole.len().checked_sub(bytes.len())?;
    whole.get_mut(start..)?.copy_from_slice(bytes);
    let number = i128::from_be_bytes(whole);
    let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
    let (units, fraction) = digits.split_at_checked(digits.len() - scale)?;
    let sign = if number < 0 { "-" } else { "" };
    let point = if scale == 0 { "" } else { "." };
    Some(format!("{sign}{units}{point}{fraction}"))
}
