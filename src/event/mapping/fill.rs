//! The fields of one of our types: what a record's parts become, written onto the [`Wire`] that our own shape is read onto too.

use std::borrow::Cow;
use std::fmt::{self, Display};

use super::path::Path;
use super::source::{Found, Scope, Source};
use super::tree::Tree;
use crate::event::decode::{DecodeRules, MAX_ITEMS};
use crate::event::refusal::{DecodeError, Refusal};
use crate::event::wire::{Field, Line, Pairs, Scalar, Shape, Wire};

/// The elements of a list, each with the same fields.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lines {
    pub(super) list: Path,
    pub(super) fields: Vec<(Field, Source)>,
}

/// Where traits come from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Traits {
    /// Every scalar of an object but these.
    Object { object: Source, except: Vec<String> },
    /// Each from its own place.
    Named(Vec<(String, Source)>),
}

/// One consent: of a list, or of the whole channel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ConsentOf {
    pub(super) channel: String,
    pub(super) list: Option<String>,
    pub(super) state: Source,
}

/// Where every field of a type comes from.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields {
    /// Currencies before the amounts that are counted in them.
    pub(super) scalars: Vec<(Field, Source)>,
    pub(super) products: Option<Lines>,
    pub(super) addresses: Vec<(String, Source)>,
    pub(super) consents: Vec<ConsentOf>,
    pub(super) traits: Option<Traits>,
    pub(super) channels: Option<Source>,
    pub(super) offer: Option<(Source, Option<Source>)>,
    pub(super) context: Option<Path>,
}

/// The refusal of what stands at `theirs`, which is to become `ours`.
pub(super) fn unfit(
    refusal: Refusal,
    theirs: &dyn Display,
    ours: fmt::Arguments<'_>,
) -> DecodeError {
    DecodeError::at(refusal, format_args!("{theirs} → {ours}"))
}

impl Fields {
    /// Writes what the record holds onto `wire`.
    pub(super) fn fill<'t>(
        &'t self,
        wire: &mut Wire<'t>,
        scope: Scope<'t>,
        rules: &DecodeRules,
    ) -> Result<(), DecodeError> {
        for (field, source) in &self.scalars {
            let currency = wire.scalars.get(Field::Currency as usize);
            let value = scalar(source, scope, currency, rules)
                .map_err(|refusal| unfit(refusal, source, format_args!("{}", field.name())))?;
            wire.put(*field, value, false);
        }
        if let Some(lines) = &self.products {
            wire.products = lines.read(wire.scalars.get(Field::Currency as usize), scope, rules)?;
        }
        for (channel, source) in &self.addresses {
            let shape = shape(source, scope)
                .map_err(|refusal| unfit(refusal, source, format_args!("addresses.{channel}")))?;
            if let Some(shape) = shape {
                wire.addresses.push((Cow::Borrowed(channel), shape));
            }
        }
        self.consents(wire, scope)?;
        self.traits(wire, scope)?;
        self.request(wire, scope)
    }

    fn consents<'t>(&'t self, wire: &mut Wire<'t>, scope: Scope<'t>) -> Result<(), DecodeError> {
        for ConsentOf {
            channel,
            list,
            state,
        } in &self.consents
        {
            let value = state
                .value(scope)
                .map_err(|refusal| unfit(refusal, state, format_args!("consents.{channel}")))?;
            if value == Scalar::Null {
                continue;
            }
            let shape = match list {
                None => Shape::One(value),
                Some(list) => Shape::Named(vec![(Cow::Borrowed(list.as_str()), value)]),
            };
            wire.consents.push((Cow::Borrowed(channel), shape));
        }
        Ok(())
    }

    fn traits<'t>(&'t self, wire: &mut Wire<'t>, scope: Scope<'t>) -> Result<(), DecodeError> {
        match &self.traits {
            None => {}
            Some(Traits::Named(named)) => {
                for (name, source) in named {
                    let value = source
                        .value(scope)
                        .map_err(|refusal| unfit(refusal, source, format_args!("traits.{name}")))?;
                    if value != Scalar::Null {
                        wire.traits.push((Cow::Borrowed(name), Shape::One(value)));
                    }
                }
            }
            Some(Traits::Object { object, except }) => {
                let bad = |refusal| unfit(refusal, object, format_args!("traits"));
                wire.traits = match object.find(scope).map_err(bad)? {
                    None => Pairs::new(),
                    Some(Found::Tree(Tree::Object(entries))) => {
                        let taken = entries.iter().filter(|(name, _)| {
                            !except.iter().any(|known| scope.spelling.same(known, name))
                        });
                        taken
                            .map(|(name, value)| {
                                (Cow::Borrowed(name.as_ref()), Shape::One(value.scalar()))
                            })
                            .collect()
                    }
                    // An empty map, as PHP writes it.
                    Some(Found::Tree(Tree::List(list))) if list.is_empty() => Pairs::new(),
                    Some(Found::Tree(_) | Found::Scalar(_)) => return Err(bad(Refusal::WrongType)),
                };
            }
        }
        Ok(())
    }

    /// What only requests have.
    fn request<'t>(&'t self, wire: &mut Wire<'t>, scope: Scope<'t>) -> Result<(), DecodeError> {
        if let Some(source) = &self.channels {
            wire.channels = shape(source, scope)
                .map_err(|refusal| unfit(refusal, source, format_args!("channels")))?;
        }
        if let Some((id, discount)) = &self.offer {
            let part = |source: &'t Source, name| {
                let value = source.value(scope);
                value.map_err(|refusal| unfit(refusal, source, format_args!("offer.{name}")))
            };
            let id = part(id, "id")?;
            if id != Scalar::Null {
                let mut offer = vec![(Cow::Borrowed("id"), id)];
                if let Some(discount) = discount {
                    offer.push((Cow::Borrowed("discount"), part(discount, "discount")?));
                }
                wire.offer = Some(Shape::Named(offer));
            }
        }
        if let Some(path) = &self.context {
            let bad = |refusal| unfit(refusal, path, format_args!("context"));
            wire.context = match scope.find(path).map_err(bad)? {
                None => None,
                Some(Found::Tree(object @ Tree::Object(_))) => Some(object.json().to_string()),
                Some(Found::Tree(_) | Found::Scalar(_)) => return Err(bad(Refusal::WrongType)),
            };
        }
        Ok(())
    }
}

/// One field; money in the currency given, or else the shop's.
fn scalar<'t>(
    source: &'t Source,
    scope: Scope<'t>,
    currency: Option<&Scalar<'_>>,
    rules: &DecodeRules,
) -> Result<Scalar<'t>, Refusal> {
    let value = source.value(scope)?;
    let currency = match currency {
        Some(Scalar::Text(code)) if !code.is_empty() => code.as_ref(),
        Some(_) | None => rules.currencies.shop(),
    };
    source.form.money(value, currency)
}

/// A scalar, or a list of them; the way of writing is that of each one.
fn shape<'t>(source: &'t Source, scope: Scope<'t>) -> Result<Option<Shape<'t>>, Refusal> {
    Ok(match source.find(scope)? {
        None => None,
        Some(Found::Tree(Tree::List(list))) => {
            let each = list.iter().map(|item| source.ours(item.scalar()));
            Some(Shape::Many(each.collect::<Result<_, _>>()?))
        }
        Some(Found::Tree(tree)) => Some(Shape::One(source.ours(tree.scalar())?)),
        Some(Found::Scalar(scalar)) => Some(Shape::One(source.ours(scalar)?)),
    })
}

impl Lines {
    fn read<'t>(
        &'t self,
        currency: Option<&Scalar<'_>>,
        scope: Scope<'t>,
        rules: &DecodeRules,
    ) -> Result<Option<Vec<Line<'t>>>, DecodeError> {
        let bad = |refusal| unfit(refusal, &self.list, format_args!("products"));
        let elements = match scope.find(&self.list).map_err(bad)? {
            None => return Ok(None),
            Some(Found::Tree(Tree::List(elements))) => elements,
            Some(Found::Tree(_) | Found::Scalar(_)) => return Err(bad(Refusal::WrongType)),
        };
        if elements.len() > MAX_ITEMS {
            return Err(bad(Refusal::TooMany));
        }
        let mut lines = Vec::with_capacity(elements.len());
        for (index, here) in elements.iter().enumerate() {
            let scope = Scope { here, ..scope };
            let mut line = Line::default();
            for (field, source) in &self.fields {
                let own = line.0.get(Field::Currency as usize);
                let own = own.filter(|own| **own != Scalar::Null);
                let value = scalar(source, scope, own.or(currency), rules).map_err(|refusal| {
                    let theirs = format!("{}[{index}].{source}", self.list);
                    unfit(
                        refusal,
                        &theirs,
                        format_args!("products[{index}].{}", field.name()),
                    )
                })?;
                if let Some(slot) = line.0.get_mut(*field as usize) {
                    *slot = value;
                }
            }
            lines.push(line);
        }
        Ok(Some(lines))
    }
}

impl Fields {
    /// Where the field `ours` (`total`, `products[3].price`, `addresses.email[0]`) comes from, as a person would point at it.
    pub(super) fn origin(&self, ours: &str) -> Option<String> {
        let end = ours.find(['.', '[']).unwrap_or(ours.len());
        let (first, rest) = ours.split_at(end);
        let inner = rest
            .trim_start_matches(|c| c != '.')
            .trim_start_matches('.');
        let under = |name: &str| {
            rest.strip_prefix('.').is_some_and(|rest| {
                rest == name
                    || rest
                        .strip_prefix(name)
                        .is_some_and(|rest| rest.starts_with(['[', '.']))
            })
        };
        match first {
            "products" => {
                let lines = self.products.as_ref()?;
                let index = rest.split_once(']').map_or(rest, |(index, _)| index);
                let close = if index.is_empty() { "" } else { "]" };
                let field = lines.fields.iter().find(|(field, _)| field.name() == inner);
                Some(match field {
                    Some((_, source)) => format!("{}{index}{close}.{source}", lines.list),
                    None => format!("{}{index}{close}", lines.list),
                })
            }
            "addresses" => shown_all(
                self.addresses
                    .iter()
                    .filter(|(name, _)| rest.is_empty() || under(name))
                    .map(|(_, source)| source),
            ),
            "consents" => shown_all(
                self.consents
                    .iter()
                    .filter(|of| rest.is_empty() || under(&of.channel))
                    .filter(|of| match &of.list {
                        Some(list) => rest.is_empty() || rest.ends_with(&format!(".{list}")),
                        None => true,
                    })
                    .map(|of| &of.state),
            ),
            "traits" => match self.traits.as_ref()? {
                Traits::Object { object, .. } if inner.is_empty() => Some(object.to_string()),
                Traits::Object { object, .. } => Some(format!("{object}.{inner}")),
                Traits::Named(named) => shown_all(
                    named
                        .iter()
                        .filter(|(name, _)| rest.is_empty() || name == inner)
                        .map(|(_, source)| source),
                ),
            },
            "channels" => self.channels.as_ref().map(Source::to_string),
            "offer" => {
                let (id, discount) = self.offer.as_ref()?;
                let source = if inner == "discount" {
                    discount.as_ref()?
                } else {
                    id
                };
                Some(source.to_string())
            }
            "context" => self.context.as_ref().map(Path::to_string),
            name => {
                let named = self.scalars.iter().find(|(field, _)| field.name() == name);
                named.map(|(_, source)| source.to_string())
            }
        }
    }
}

fn shown_all<'s>(sources: impl Iterator<Item = &'s Source>) -> Option<String> {
    let shown: Vec<String> = sources.map(Source::to_string).collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}
