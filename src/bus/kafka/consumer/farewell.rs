//! How a member says goodbye: for good, or to come back under the same name.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::context::{Rebalance, give_up};
use super::{ANSWER, Member};
use crate::bus::{Failure, Farewell, Polled, Remedy};

/// The bound of saying goodbye.
const GOODBYE: Duration = Duration::from_secs(10);
/// How long a join that is under way is waited for before.
const JOINED: Duration = Duration::from_secs(3);

/// How a group stands to one of its members.
#[derive(Clone, Copy, Debug)]
struct Seat {
    listed: bool,
    /// No rebalance is under way.
    stable: bool,
}

impl Seat {
    /// The member's join is through.
    const fn is_taken(self) -> bool {
        self.listed && self.stable
    }
}

impl Member {
    /// Says goodbye and closes, in at most some seconds.
    pub(in crate::bus::kafka) fn close(&mut self, farewell: Farewell) -> Result<(), Failure> {
        if self.consumer.is_none() {
            return Ok(());
        }
        let left = match farewell {
            Farewell::Restart => Ok(()),
            Farewell::Leave => self.leave(),
        };
        let closed = self.shut();
        left.and(closed)
    }

    /// A static member does not leave when it closes. It does leave when it unsubscribes, once it has given everything up; closing
    /// before that would cancel it. The group's own list tells when it is gone.
    ///
    /// librdkafka says goodbye only after a join that is through: one under way would leave a ghost behind, which is given partitions and
    /// keeps them until its session ends. So the group is waited for, but not for long.
    pub(super) fn leave(&mut self) -> Result<(), Failure> {
        self.watch.end();
        self.answer_outstanding();
        let joined = self.clock.elapsed().saturating_add(JOINED);
        self.turn_away(joined, |member| member.seat().is_some_and(Seat::is_taken))?;
        if !self.fence.is_standing() {
            // The name is somebody else's: there is nothing to leave.
            return Ok(());
        }
        self.consumer()?.unsubscribe();
        let deadline = self.clock.elapsed().saturating_add(GOODBYE);
        let gone =
            |member: &Self| member.held.is_empty() && member.listed().is_some_and(|listed| !listed);
        if !self.turn_away(deadline, gone)? {
            tracing::warn!(
                group = %self.settings.app,
                "the group has not let this member go: others take over when its session ends"
            );
        }
        Ok(())
    }

    /// Takes nothing and gives up what is asked back, until `done` or that time; gives whether it was done.
    fn turn_away(
        &mut self,
        until: Duration,
        done: impl Fn(&Self) -> bool,
    ) -> Result<bool, Failure> {
        while self.fence.is_standing() {
            match self.poll(Duration::from_millis(20))? {
                Polled::Revoked { .. } => {
                    let all: Vec<i32> = self.held.keys().map(|(_, partition)| *partition).collect();
                    self.unassign(&all)?;
                }
                Polled::Assigned(_) => self.assign(&[])?,
                Polled::Nothing | Polled::Record(_) | Polled::Grown(_) | Polled::Doubted(_) => {
                    if done(self) {
                        return Ok(true);
                    }
                }
            }
            if self.clock.elapsed() >= until {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How the group stands to us; `None` without an answer.
    fn seat(&self) -> Option<Seat> {
        let consumer = self.consumer.as_ref()?;
        let groups = consumer
            .fetch_group_list(Some(&self.settings.app), ANSWER)
            .ok()?;
        let client_id = self.settings.client_id();
        let group = groups.groups().first();
        let members = group.into_iter().flat_map(|group| group.members());
        Some(Seat {
            listed: members
                .into_iter()
                .any(|member| member.client_id() == client_id),
            stable: group.is_some_and(|group| group.state() == "Stable"),
        })
    }

    /// Does the coordinator still list us? `None` without an answer.
    pub(super) fn listed(&self) -> Option<bool> {
        self.seat().map(|seat| seat.listed)
    }

    /// Answers what the worker has not answered and will not any more: takes nothing, gives everything up.
    fn answer_outstanding(&mut self) {
        let Some(consumer) = &self.consumer else {
            return;
        };
        let mut outstanding: Vec<bool> = self.unanswered.take().into_iter().collect();
        // Events that wait in the queue; a bound, because records wait there too.
        for _ in 0..64 {
            consumer.poll(Duration::ZERO);
            while let Some(told) = consumer.context().next() {
                outstanding.push(matches!(told, Rebalance::Assigned(_)));
            }
        }
        for assigned in outstanding {
            if assigned {
                if let Err(error) = consumer.incremental_assign(&TopicPartitionList::new()) {
                    tracing::debug!(%error, "refusing partitions while closing");
                }
            } else if let Ok(all) = consumer.assignment() {
                give_up(consumer, &all);
                self.held.clear();
            }
        }
    }

    /// Closes in a thread of its own, so that a coordinator that does not answer cannot hold the process.
    pub(super) fn shut(&mut self) -> Result<(), Failure> {
        if self.consumer.is_none() {
            return Ok(());
        }
        self.answer_outstanding();
        self.held.clear();
        let consumer = self.consumer.take();
        if let Some(consumer) = &consumer {
            consumer.context().close();
        }
        let (done, closed) = mpsc::channel();
        let closer = thread::Builder::new()
            .name("farewell".into())
            .spawn(move || {
                drop(consumer);
                // Nobody listens any more when it took too long.
                done.send(()).ok();
            });
        let attempted = || format!("close the member of group {}", self.settings.app);
        if closer.is_err() {
            return Err(Failure::new(attempted(), "no thread", Remedy::Retry));
        }
        closed
            .recv_timeout(GOODBYE)
            .map_err(|_| Failure::new(attempted(), "no answer", Remedy::Retry))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Err(failed) = self.shut() {
            tracing::warn!(%failed, "closing the group member");
        }
    }
}
