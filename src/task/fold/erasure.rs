//! The task's records of who was erased: kept under a keyed hash, asked when a profile is loaded.

use super::Fold;
use crate::engine::erasure_id;
use crate::store::{StoreError, layout};
use crate::value::{ProfileKey, Timestamp};

impl Fold {
    /// Whether there are any: while there are none, no profile that is loaded has to ask.
    pub(super) fn read_erasures(&mut self) -> Result<(), StoreError> {
        let mut any = false;
        let prefix = layout::erasure_prefix();
        self.store.prefixed(&prefix, &mut |_, _| any = true)?;
        if any {
            self.staging.heed_erasures(self.plan.policy.address_key);
        }
        Ok(())
    }

    /// What is not later than `until` is dropped from now on.
    pub(super) fn mark_erased(&mut self, key: &ProfileKey, until: Timestamp) {
        let secret = self.plan.policy.address_key;
        let mark = layout::erasure_key(&erasure_id(&secret, key));
        self.staging
            .put_record(mark, Some(layout::erasure_value(until)));
        self.staging.heed_erasures(secret);
    }
}
