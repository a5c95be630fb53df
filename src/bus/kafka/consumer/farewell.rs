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
    pub(super) fn leave(&mut self) -> Result<(), Failure> {
        let deadline = self.clock.elapsed().saturating_add(GOODBYE);
        self.answer_outstanding();
        self.consumer()?.unsubscribe();
        let attempted = format!("leave group {}", self.settings.app);
        loop {
            match self.poll(Duration::from_millis(20)) {
                Ok(Polled::Revoked { .. }) => {
                    let all: Vec<i32> = self.held.keys().map(|(_, partition)| *partition).collect();
                    self.unassign(&all)?;
                }
                Ok(Polled::Assigned(_)) => self.assign(&[])?,
                Ok(Polled::Nothing | Polled::Record(_) | Polled::Grown(_)) => {
                    if self.held.is_empty() && !self.listed().unwrap_or(true) {
                        return Ok(());
                    }
                }
                Err(failed) => return Err(failed),
            }
            if self.clock.elapsed() >= deadline {
                return Err(Failure::new(attempted, "no answer", Remedy::Retry));
            }
        }
    }

    /// Does the coordinator still list us? `None` without an answer.
    pub(super) fn listed(&self) -> Option<bool> {
        let consumer = self.consumer.as_ref()?;
        let groups = consumer
            .fetch_group_list(Some(&self.settings.app), ANSWER)
            .ok()?;
        let client_id = self.settings.client_id();
        let members = groups.groups().iter().flat_map(|group| group.members());
        Some(
            members
                .into_iter()
                .any(|member| member.client_id() == client_id),
        )
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
