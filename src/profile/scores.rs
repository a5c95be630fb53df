//! What external models say of the customer: per model and horizon the latest value, and until when it holds (product.md §4).

use minicbor::{Decode, Encode};

use super::limits::{self, clip};
use crate::event::Score;
use crate::value::Timestamp;

/// One value of one model.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ScoreEntry {
    /// The model.
    #[n(0)]
    pub model: String,
    /// What it looks ahead (`30d`), as written.
    #[n(1)]
    pub horizon: Option<String>,
    /// In millionths.
    #[n(2)]
    pub value: i64,
    /// Effective time of its event.
    #[n(3)]
    pub at: Timestamp,
    /// Worth nothing from then on.
    #[n(4)]
    pub valid_until: Option<Timestamp>,
}

/// Latest values, by model and horizon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Scores {
    /// One per model and horizon, in their order.
    #[cbor(n(0), skip_if = "Vec::is_empty")]
    pub entries: Vec<ScoreEntry>,
}

impl Scores {
    /// The value of `name` at `now`, in millionths: `model` (its newest value of any horizon) or `model/horizon`. `None` when there is
    /// none, or it is past its time.
    #[must_use]
    pub fn value(&self, name: &str, now: Timestamp) -> Option<i64> {
        let (model, horizon) = name
            .split_once('/')
            .map_or((name, None), |(model, horizon)| (model, Some(horizon)));
        self.entries
            .iter()
            .filter(|entry| entry.model == model)
            .filter(|entry| horizon.is_none() || entry.horizon.as_deref() == horizon)
            .filter(|entry| entry.valid_until.is_none_or(|until| now < until))
            .max_by_key(|entry| entry.at)
            .map(|entry| entry.value)
    }

    /// Folds `score_updated`: the later word stands, of two at one instant the greater value. Beyond the limit the oldest goes.
    pub(super) fn learn(&mut self, score: &Score, at: Timestamp) {
        let said = ScoreEntry {
            model: clip(&score.model, limits::SCORE_NAME_BYTES),
            horizon: score
                .horizon
                .as_deref()
                .map(|horizon| clip(horizon, limits::SCORE_NAME_BYTES)),
            value: score.value,
            at,
            valid_until: score.valid_until,
        };
        self.put(said);
    }

    /// Takes one value in.
    pub(super) fn put(&mut self, said: ScoreEntry) {
        let found = self.entries.binary_search_by(|entry| {
            (&entry.model, &entry.horizon).cmp(&(&said.model, &said.horizon))
        });
        match found {
            Ok(index) => {
                if let Some(entry) = self.entries.get_mut(index)
                    && (entry.at, entry.value, entry.valid_until)
                        <= (said.at, said.value, said.valid_until)
                {
                    *entry = said;
                }
            }
            Err(index) => self.entries.insert(index, said),
        }
        if self.entries.len() > limits::SCORES {
            let oldest = self
                .entries
                .iter()
                .enumerate()
                .min_by_key(|(index, entry)| (entry.at, *index))
                .map(|(index, _)| index);
            if let Some(index) = oldest {
                self.entries.remove(index);
            }
        }
    }
}
