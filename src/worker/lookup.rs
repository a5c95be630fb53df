//! One customer's profile, for whoever asks over HTTP: as it was last committed, so nobody sees what an abort would take back.

use serde_json::Value;
use tokio::sync::oneshot;

use super::Worker;
use crate::store::{StoreError, stored_profile};
use crate::task::Phase;
use crate::value::ProfileKey;

/// A question for the worker that owns the profile's partition.
#[derive(Debug)]
pub struct Lookup {
    /// Whose profile.
    pub key: ProfileKey,
    /// Its partition.
    pub partition: i32,
    /// Where the answer goes; nobody may be waiting any more.
    pub answer: oneshot::Sender<Found>,
}

/// What a worker found.
#[derive(Debug)]
pub enum Found {
    /// [`crate::profile::Profile::summary`].
    Profile(Value),
    /// It went up in this customer's.
    Merged(String),
    /// Nothing is known of this customer.
    Nothing,
    /// The partition is restoring, or has left this worker meanwhile: ask again.
    NotYet,
    /// The disk refuses. The next batch meets the same, and the worker stops with it.
    Failed(StoreError),
}

impl Worker {
    /// Answers between two passes.
    pub fn look_up(&self, lookup: Lookup) {
        let Lookup {
            key,
            partition,
            answer,
        } = lookup;
        let found = match self.tasks.get(&partition) {
            Some(task) if matches!(task.phase, Phase::Running | Phase::Poisoned) => {
                match stored_profile(task.fold.store(), partition, &key) {
                    Ok(Some(profile)) => {
                        let alias = profile.links.alias.as_ref();
                        let into = alias.and_then(|alias| ProfileKey::parse(&alias.into));
                        match into.as_ref().and_then(ProfileKey::customer_id) {
                            Some(into) => Found::Merged(into.to_owned()),
                            None => Found::Profile(profile.summary(self.clock.wall())),
                        }
                    }
                    Ok(None) => Found::Nothing,
                    Err(error) => Found::Failed(error),
                }
            }
            Some(_) | None => Found::NotYet,
        };
        if answer.send(found).is_err() {
            tracing::debug!(partition, "whoever asked for a customer has gone");
        }
    }
}
