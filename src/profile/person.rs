//! Who the customer is: language, zone, traits, control bucket.

use minicbor::{Decode, Encode};

use super::limits::{self, clip};
use crate::event::{Identity, Trait};
use crate::value::{ProfileKey, Timestamp};

/// A value with the time it is of: a later word wins, however late it arrives.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Known<T> {
    /// What is known.
    #[n(0)]
    pub value: T,
    /// Since when (effective time).
    #[n(1)]
    pub at: Timestamp,
}

/// Takes `value` over unless something later is known.
fn learn<T>(known: &mut Option<Known<T>>, value: Option<T>, at: Timestamp) {
    if let Some(value) = value
        && known.as_ref().is_none_or(|known| known.at <= at)
    {
        *known = Some(Known { value, at });
    }
}

/// A trait as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum TraitValue {
    /// Yes or no.
    #[n(0)]
    Bool(#[n(0)] bool),
    /// In thousandths.
    #[n(1)]
    Number(#[n(0)] i64),
    /// A text.
    #[n(2)]
    Text(#[n(0)] String),
}

/// One trait.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TraitEntry {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// What it says.
    #[n(1)]
    pub value: TraitValue,
    /// Since when.
    #[n(2)]
    pub at: Timestamp,
}

/// Everything about the person that does not change with every click.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Person {
    /// The task's clock when the first event was folded.
    #[n(0)]
    pub first_seen: Option<Timestamp>,
    /// Control bucket, 0 to 9,999, stored at first sight so that a later change of key or salt moves nobody.
    #[n(1)]
    pub bucket: Option<u32>,
    /// BCP 47.
    #[n(2)]
    pub locale: Option<Known<String>>,
    /// IANA zone.
    #[n(3)]
    pub time_zone: Option<Known<String>>,
    /// ISO 3166 alpha-2.
    #[n(4)]
    pub country: Option<Known<String>>,
    /// A very important customer.
    #[n(5)]
    pub vip: Option<Known<bool>>,
    /// Other traits, by name.
    #[cbor(n(6), skip_if = "Vec::is_empty")]
    pub traits: Vec<TraitEntry>,
    /// Bypasses control and caps, counted nowhere.
    #[cbor(n(7), default)]
    pub test: bool,
    /// Two arms of the control group were merged: counts in no comparison.
    #[cbor(n(8), default)]
    pub contaminated: bool,
    /// The visitor id seen last beside the customer id.
    #[n(9)]
    pub anonymous_id: Option<Known<String>>,
    /// When the account was made.
    #[n(10)]
    pub signed_up: Option<Timestamp>,
}

/// The control bucket of a profile key under a salt: 0 to 9,999 (product.md §7).
#[must_use]
pub fn control_bucket(salt: &str, key: &ProfileKey) -> u32 {
    let mut hash = xxhash_rust::xxh3::Xxh3Default::new();
    hash.update(salt.as_bytes());
    hash.update(&[0]);
    hash.update(key.as_str().as_bytes());
    u32::try_from(hash.digest() % 10_000).unwrap_or_default()
}

/// The bucket in a flow's own control group, of the bucket stored at first sight: a change of key moves nobody. Every flow draws anew. The
/// share of customers held out is the written one to about a quarter of a percentage point, since 10,000 buckets are drawn, not customers.
#[must_use]
pub fn flow_bucket(salt: &str, flow: &str, bucket: u32) -> u32 {
    let mut hash = xxhash_rust::xxh3::Xxh3Default::new();
    hash.update(salt.as_bytes());
    hash.update(&[0]);
    hash.update(flow.as_bytes());
    hash.update(&[0]);
    hash.update(&bucket.to_be_bytes());
    u32::try_from(hash.digest() % 10_000).unwrap_or_default()
}

impl Person {
    /// Language, when known.
    #[must_use]
    pub fn locale(&self) -> Option<&str> {
        self.locale.as_ref().map(|known| known.value.as_str())
    }
    /// Zone, when known.
    #[must_use]
    pub fn time_zone(&self) -> Option<&str> {
        self.time_zone.as_ref().map(|known| known.value.as_str())
    }
    /// Country, when known.
    #[must_use]
    pub fn country(&self) -> Option<&str> {
        self.country.as_ref().map(|known| known.value.as_str())
    }
    /// Whether the customer is known to be very important.
    #[must_use]
    pub fn vip(&self) -> bool {
        self.vip.as_ref().is_some_and(|known| known.value)
    }
    /// A trait by name.
    #[must_use]
    pub fn trait_value(&self, name: &str) -> Option<&TraitValue> {
        self.traits
            .iter()
            .find(|entry| entry.name == name)
            .map(|entry| &entry.value)
    }

    /// Folds what an `identified` or `signed_up` of effective time `at` says.
    pub(super) fn learn(&mut self, identity: &Identity, at: Timestamp) {
        let text =
            |text: &Option<String>| text.as_deref().map(|text| clip(text, limits::TEXT_BYTES));
        learn(&mut self.locale, text(&identity.locale), at);
        learn(&mut self.time_zone, text(&identity.time_zone), at);
        learn(&mut self.country, text(&identity.country), at);
        learn(&mut self.vip, identity.vip, at);
        for (name, value) in &identity.traits {
            self.learn_trait(name, value, at);
        }
    }

    fn learn_trait(&mut self, name: &str, value: &Trait, at: Timestamp) {
        let value = match value {
            Trait::Bool(value) => TraitValue::Bool(*value),
            Trait::Number(value) => TraitValue::Number(*value),
            Trait::Text(value) => TraitValue::Text(clip(value, limits::TEXT_BYTES)),
        };
        let has_room = self.traits.len() < limits::TRAITS;
        match self.traits.iter_mut().find(|entry| entry.name == name) {
            Some(entry) if entry.at <= at => {
                entry.value = value;
                entry.at = at;
            }
            Some(_) => {}
            None if has_room => {
                let place = self
                    .traits
                    .partition_point(|entry| entry.name.as_str() < name);
                let name = clip(name, limits::ID_BYTES);
                self.traits.insert(place, TraitEntry { name, value, at });
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flow_holds_out_its_share_of_whoever_is_not_in_the_global_group() {
        let mut both = 0;
        for flow in ["cart", "browse", "winback"] {
            let held = (1_000..10_000)
                .filter(|bucket| flow_bucket("s", flow, *bucket) < 500)
                .count();
            assert!((360..540).contains(&held), "{flow}: {held} of 9,000");
        }
        for bucket in 0..10_000 {
            let held = |flow| flow_bucket("s", flow, bucket) < 5_000;
            both += u32::from(held("cart") && held("browse"));
        }
        assert!(
            (2_300..2_700).contains(&both),
            "the draws hang together: {both}"
        );
    }
}
