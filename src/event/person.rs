//! The lists and maps of the wire: addresses, consents and traits of a person, channels and offer of a request.
//!
//! What comes out is sorted by name: Avro's maps have no order of their own, and the order of a list reaches decisions.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::decode::{MAX_ID, MAX_TEXT};
use super::fields::{Fields, decimal, flag, text};
use super::refusal::{DecodeError, Refusal};
use super::wire::{Field, Key, Place, Scalar, Shape, Wire};
use super::{Consent, ConsentChange, Identity, Trait};
use crate::value::Money;

/// `signed_up` and `identified`.
pub(super) fn identity(wire: &Wire<'_>, top: Fields<'_, '_>) -> Result<Identity, DecodeError> {
    Ok(Identity {
        addresses: addresses(wire)?,
        consents: consents(wire)?,
        locale: top.id(Field::Locale)?,
        time_zone: time_zone(top)?,
        country: country(top)?,
        vip: top.flag(Field::Vip)?,
        traits: traits(wire)?,
    })
}

/// `consent_changed`.
pub(super) fn consent_change(top: Fields<'_, '_>) -> Result<ConsentChange, DecodeError> {
    let state = consent(top.get(Field::State))
        .and_then(|state| state.ok_or(Refusal::Missing))
        .map_err(|refusal| top.refuse(Field::State, refusal))?;
    Ok(ConsentChange {
        channel: top.id(Field::Channel)?,
        list: top.id(Field::List)?,
        state,
    })
}

fn refuse(key: Key, refusal: Refusal) -> DecodeError {
    DecodeError::at(refusal, Place::from(key))
}

/// A free name that is kept.
fn name(key: Key, name: &str) -> Result<String, DecodeError> {
    if name.len() > MAX_ID {
        return Err(refuse(key, Refusal::TooLong));
    }
    Ok(name.to_owned())
}

/// Channel → its addresses; null and an empty list mean that it has none any more.
fn addresses(wire: &Wire<'_>) -> Result<Vec<(String, Vec<String>)>, DecodeError> {
    let bad = |refusal| refuse(Key::Addresses, refusal);
    let mut sorted = BTreeMap::new();
    for (channel, shape) in &wire.addresses {
        let given = match shape {
            Shape::One(one) => std::slice::from_ref(one),
            Shape::Many(many) => many.as_slice(),
            Shape::Named(_) => return Err(bad(Refusal::WrongType)),
        };
        let mut addresses: Vec<String> = Vec::with_capacity(given.len());
        for address in given {
            let address = text(address, MAX_TEXT).map_err(bad)?;
            addresses.extend(address.map(Cow::into_owned));
        }
        sorted.insert(name(Key::Addresses, channel)?, addresses);
    }
    Ok(sorted.into_iter().collect())
}

/// Channel, list, state.
fn consents(wire: &Wire<'_>) -> Result<Vec<(String, Option<String>, Consent)>, DecodeError> {
    let bad = |refusal| refuse(Key::Consents, refusal);
    let mut sorted = BTreeMap::new();
    for (channel, shape) in &wire.consents {
        let channel = name(Key::Consents, channel)?;
        match shape {
            Shape::One(one) => {
                if let Some(state) = consent(one).map_err(bad)? {
                    sorted.insert((channel, None), state);
                }
            }
            Shape::Named(lists) => {
                for (list, value) in lists {
                    let list = name(Key::Consents, list)?;
                    if let Some(state) = consent(value).map_err(bad)? {
                        sorted.insert((channel.clone(), Some(list)), state);
                    }
                }
            }
            Shape::Many(_) => return Err(bad(Refusal::WrongType)),
        }
    }
    Ok(sorted
        .into_iter()
        .map(|((channel, list), state)| (channel, list, state))
        .collect())
}

/// `true`, `false`, or a word; null says nothing.
fn consent(scalar: &Scalar<'_>) -> Result<Option<Consent>, Refusal> {
    if let Scalar::Text(word) = scalar
        && let Some(state) = consent_word(word)
    {
        return Ok(Some(state));
    }
    let yes = flag(scalar).map_err(|_| Refusal::UnknownWord)?;
    Ok(yes.map(|yes| {
        if yes {
            Consent::Granted
        } else {
            Consent::Denied
        }
    }))
}

fn consent_word(word: &str) -> Option<Consent> {
    match word {
        "granted" => Some(Consent::Granted),
        "denied" => Some(Consent::Denied),
        "pending" => Some(Consent::Pending),
        "unknown" => Some(Consent::Unknown),
        _ => None,
    }
}

/// Scalars only: lists and objects are none of ours and passed over.
fn traits(wire: &Wire<'_>) -> Result<Vec<(String, Trait)>, DecodeError> {
    let bad = |refusal| refuse(Key::Traits, refusal);
    let mut sorted = BTreeMap::new();
    for (trait_name, shape) in &wire.traits {
        let Shape::One(value) = shape else {
            continue;
        };
        let value = match value {
            Scalar::Null | Scalar::Other => continue,
            Scalar::Bool(yes) => Trait::Bool(*yes),
            Scalar::Int(_) | Scalar::Float(_) => {
                let number = decimal(value).map_err(bad)?.unwrap_or_default();
                let thousandths =
                    Money::parse(&number, 3).ok_or_else(|| bad(Refusal::BadNumber))?;
                Trait::Number(thousandths.minor())
            }
            Scalar::Text(_) => Trait::Text(
                text(value, MAX_TEXT)
                    .map_err(bad)?
                    .unwrap_or_default()
                    .into_owned(),
            ),
        };
        sorted.insert(name(Key::Traits, trait_name)?, value);
    }
    Ok(sorted.into_iter().collect())
}

/// In the spelling of the zone database.
fn time_zone(top: Fields<'_, '_>) -> Result<Option<String>, DecodeError> {
    let Some(zone) = top.text(Field::TimeZone)? else {
        return Ok(None);
    };
    let unknown = || top.refuse(Field::TimeZone, Refusal::UnknownZone);
    let zone = jiff::tz::TimeZone::get(&zone).map_err(|_| unknown())?;
    zone.iana_name()
        .map(|name| Some(name.to_owned()))
        .ok_or_else(unknown)
}

/// Two letters, upper case.
fn country(top: Fields<'_, '_>) -> Result<Option<String>, DecodeError> {
    let Some(country) = top.text(Field::Country)? else {
        return Ok(None);
    };
    if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Err(top.refuse(Field::Country, Refusal::UnknownWord));
    }
    Ok(Some(country.to_ascii_uppercase()))
}

/// `channels` of a request: at least one, in the order of the wire.
pub(super) fn channels(wire: &Wire<'_>) -> Result<Vec<String>, DecodeError> {
    let bad = |refusal| refuse(Key::Channels, refusal);
    let given = match &wire.channels {
        None => &[],
        Some(Shape::One(one)) => std::slice::from_ref(one),
        Some(Shape::Many(many)) => many.as_slice(),
        Some(Shape::Named(_)) => return Err(bad(Refusal::WrongType)),
    };
    let mut channels = Vec::with_capacity(given.len());
    for channel in given {
        channels.extend(text(channel, MAX_ID).map_err(bad)?.map(Cow::into_owned));
    }
    if channels.is_empty() {
        return Err(bad(Refusal::Missing));
    }
    Ok(channels)
}

/// `offer` of a request: its id, or an object of `id` and `discount`.
pub(super) fn offer(wire: &Wire<'_>) -> Result<Option<(String, bool)>, DecodeError> {
    let bad = |refusal| refuse(Key::Offer, refusal);
    let (mut id, mut discount) = (None, None);
    match &wire.offer {
        None => {}
        Some(Shape::One(one)) => id = text(one, MAX_ID).map_err(bad)?,
        Some(Shape::Named(fields)) => {
            for (field, value) in fields {
                match field.as_ref() {
                    "id" => id = text(value, MAX_ID).map_err(bad)?,
                    "discount" => discount = flag(value).map_err(bad)?,
                    _ => {}
                }
            }
            if id.is_none() {
                return Err(bad(Refusal::Missing));
            }
        }
        Some(Shape::Many(_)) => return Err(bad(Refusal::WrongType)),
    }
    Ok(id.map(|id| (id.into_owned(), discount.unwrap_or(false))))
}
