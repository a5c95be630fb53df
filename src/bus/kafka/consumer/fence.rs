//! What a member does when the broker says that its name belongs to somebody else (`FENCED_INSTANCE_ID`).
//!
//! Nearly always that somebody is a ghost of its own: after the broker was away for longer than the session, librdkafka joins anew,
//! the answer is lost or late, it joins once more, and the second join fences what the first one made. A ghost sends no heartbeats,
//! so the group forgets it after the session time-out; a second process that was started under the same name does send them.
//!
//! ```text
//!  Standing ── fenced ──► Fallen ── the group lists our name no more ──► Standing (joined as a new client)
//!                            └───── still listed after two sessions ───► Fatal: another process has this name
//! ```

use std::time::Duration;

use super::{Member, client};
use crate::bus::{Failure, Polled, Remedy};

/// The group is asked for its members at most that often.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Whether our name in the group is ours.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fence {
    /// As far as we know.
    Standing,
    /// No; a new client waits for the name.
    Fallen {
        /// Since when every answer of the group listed the name.
        listed_since: Option<Duration>,
        /// When the group was asked last.
        asked: Option<Duration>,
    },
}

impl Fence {
    /// Fallen just now.
    const FALLEN: Self = Self::Fallen {
        listed_since: None,
        asked: None,
    };

    /// Is the membership usable?
    pub(super) const fn is_standing(self) -> bool {
        matches!(self, Self::Standing)
    }

    /// After the group was asked at `now` whether it lists the name (`None`: no answer). `None`: another live process has it.
    fn told(self, listed: Option<bool>, now: Duration, session: Duration) -> Option<Self> {
        let Self::Fallen { listed_since, .. } = self else {
            return Some(self);
        };
        let listed_since = match listed {
            Some(false) => return Some(Self::Standing),
            Some(true) => Some(listed_since.unwrap_or(now)),
            // A coordinator that was away gives every member its session anew.
            None => None,
        };
        let alive = listed_since.is_some_and(|since| now.saturating_sub(since) > 2 * session);
        (!alive).then_some(Self::Fallen {
            listed_since,
            asked: Some(now),
        })
    }
}

impl Member {
    /// The broker fenced this client: it will never be a member again. Makes the one that will join in its place.
    pub(super) fn fenced(&mut self, failed: &Failure) -> Result<Polled, Failure> {
        tracing::warn!(
            code = %failed.code,
            "the group gave this member's name to a newer one: giving everything up, joining anew once the name is free"
        );
        let partitions = self.anchors();
        self.begin_anew(partitions)
    }

    /// Puts another client in the place of one that is not a member any more; it joins once the name is free. `partitions` were held.
    pub(super) fn begin_anew(&mut self, partitions: Vec<i32>) -> Result<Polled, Failure> {
        if let Err(closing) = self.shut() {
            // Its thread goes on closing; it can commit nothing.
            tracing::debug!(error = %closing, "closing the former client");
        }
        self.consumer = Some(client(&self.settings)?);
        self.unanswered = None;
        self.unanswered_since = None;
        self.fence = Fence::FALLEN;
        Ok(Polled::Revoked {
            partitions,
            lost: true,
        })
    }

    /// The partitions of the anchor that are held.
    pub(super) fn anchors(&self) -> Vec<i32> {
        self.held
            .keys()
            .filter(|(input, _)| input.0 == 0)
            .map(|(_, partition)| *partition)
            .collect()
    }

    /// Joins anew when the name is free again.
    ///
    /// # Errors
    /// `Fatal` when another live process has it.
    pub(super) fn stand_up(&mut self) -> Result<(), Failure> {
        let Fence::Fallen { asked, .. } = self.fence else {
            return Ok(());
        };
        let now = self.clock.elapsed();
        if asked.is_some_and(|asked| now.saturating_sub(asked) < ASK_EVERY) {
            return Ok(());
        }
        let session = self.settings.session_timeout;
        let Some(fence) = self.fence.told(self.listed(), now, session) else {
            return Err(Failure::new(
                format!(
                    "join group {} as {}",
                    self.settings.app,
                    self.settings.member_id()
                ),
                "another process is a member under this name: give each its own `instance`",
                Remedy::Fatal,
            ));
        };
        self.fence = fence;
        if fence.is_standing() {
            tracing::info!("the name is free: joining anew");
            self.subscribe()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Duration = Duration::from_secs(6);

    fn after(answers: &[(u64, Option<bool>)]) -> Option<bool> {
        let mut fence = Fence::FALLEN;
        for (at, listed) in answers {
            fence = fence.told(*listed, Duration::from_secs(*at), SESSION)?;
        }
        Some(fence.is_standing())
    }

    #[test]
    fn a_ghost_is_waited_for_and_a_live_namesake_is_not() {
        assert_eq!(
            after(&[(0, Some(true)), (6, Some(true)), (7, Some(false))]),
            Some(true)
        );
        assert_eq!(after(&[(0, Some(true)), (12, Some(true))]), Some(false));
        assert_eq!(after(&[(0, Some(true)), (13, Some(true))]), None);
    }

    #[test]
    fn a_coordinator_that_was_away_gives_the_ghost_its_session_anew() {
        let answers = [
            (0, Some(true)),
            (11, None),
            (20, Some(true)),
            (31, Some(true)),
        ];
        assert_eq!(after(&answers), Some(false));
    }
}
