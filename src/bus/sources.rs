//! Which partition of which topic a task reads as which input (engine.md §1, §4).
//!
//! A topic that is keyed by customer has as many partitions as there are tasks: task t reads its partition t. A topic that goes through
//! intake has any number: partition i belongs to task i mod N. So that a task reads one partition per input all the same, such a topic is
//! several inputs, its *lanes*: lane j of task t is partition j·N + t, if there is one.
//!
//! ```text
//!  N = 3 tasks, a topic of 5 partitions      task 0   task 1   task 2
//!                                   lane 0     0        1        2
//!                                   lane 1     3        4        –
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use super::InputId;

/// One input: a topic, or a lane of one that goes through intake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Topic name.
    pub topic: Arc<str>,
    /// Which lane; `None` for a topic that is read directly.
    pub lane: Option<i32>,
}

impl Source {
    /// A name of its own: the topic's, or, beyond the first lane, one that no topic can have.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        match self.lane {
            None | Some(0) => Arc::clone(&self.topic),
            Some(lane) => format!("{}#{lane}", self.topic).into(),
        }
    }
}

/// The inputs of an application by [`InputId`]; the first is the anchor `<app>-events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    inputs: Vec<Source>,
    tasks: i32,
    /// Partitions of the topics that go through intake.
    counts: BTreeMap<Arc<str>, i32>,
}

impl Sources {
    /// Of so many tasks; `counts` tells the partitions of each topic that goes through intake.
    #[must_use]
    pub fn new(inputs: Vec<Source>, tasks: i32, counts: BTreeMap<Arc<str>, i32>) -> Self {
        Self {
            inputs,
            tasks: tasks.max(1),
            counts,
        }
    }

    /// Topics that are all read directly.
    #[must_use]
    pub fn direct(topics: &[Arc<str>]) -> Self {
        let source = |topic: &Arc<str>| Source {
            topic: Arc::clone(topic),
            lane: None,
        };
        Self::new(topics.iter().map(source).collect(), 1, BTreeMap::new())
    }

    /// `<app>-events`, the only one that the group subscribes to.
    #[must_use]
    pub fn anchor(&self) -> Option<&Arc<str>> {
        self.inputs.first().map(|source| &source.topic)
    }

    /// Every input, by [`InputId`].
    pub fn inputs(&self) -> impl Iterator<Item = (InputId, &Source)> {
        (0..=u16::MAX).map(InputId).zip(&self.inputs)
    }

    /// Every topic, once.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        let first = |source: &&Source| source.lane.is_none_or(|lane| lane == 0);
        self.inputs.iter().filter(first).map(|source| &source.topic)
    }

    /// The names of the inputs, by [`InputId`].
    #[must_use]
    pub fn names(&self) -> Vec<Arc<str>> {
        self.inputs.iter().map(Source::name).collect()
    }

    /// Partitions of a topic that goes through intake; `None` for one that is read directly.
    #[must_use]
    pub fn intake_count(&self, topic: &str) -> Option<i32> {
        self.counts.get(topic).copied()
    }

    /// The topic and partition that a task reads as this input; `None` when there is no such partition.
    #[must_use]
    pub fn place(&self, input: InputId, task: i32) -> Option<(&Arc<str>, i32)> {
        let (topic, partition) = self.would_be(input, task)?;
        let is_there = |count: &i32| partition < *count;
        let is_direct = !self.counts.contains_key(topic);
        (is_direct || self.counts.get(topic).is_some_and(is_there)).then_some((topic, partition))
    }

    /// The same, were the topic as large as its lanes.
    #[must_use]
    pub fn would_be(&self, input: InputId, task: i32) -> Option<(&Arc<str>, i32)> {
        let source = self.inputs.get(usize::from(input.0))?;
        let lane = source.lane.unwrap_or(0);
        Some((&source.topic, lane * self.tasks + task))
    }

    /// Which input of which task reads this partition; `None` for a topic that is no input, or has more partitions than lanes.
    #[must_use]
    pub fn find(&self, topic: &str, partition: i32) -> Option<(InputId, i32)> {
        let (lane, task) = (partition / self.tasks, partition % self.tasks);
        let reads =
            |source: &Source| source.lane.is_none_or(|of| of == lane) && *source.topic == *topic;
        let index = self.inputs.iter().position(reads)?;
        let input = InputId(u16::try_from(index).ok()?);
        let is_direct = self.inputs.get(index)?.lane.is_none();
        Some((input, if is_direct { partition } else { task }))
    }

    /// Everything that there is to read in these tasks: input, task, topic, partition.
    #[must_use]
    pub fn of_tasks(
        &self,
        tasks: impl Iterator<Item = i32> + Clone,
    ) -> Vec<(InputId, i32, Arc<str>, i32)> {
        let mut all = Vec::new();
        for (input, _) in self.inputs() {
            for task in tasks.clone() {
                if let Some((topic, partition)) = self.place(input, task) {
                    all.push((input, task, Arc::clone(topic), partition));
                }
            }
        }
        all
    }

    /// Everything that there is to read at all.
    #[must_use]
    pub fn all(&self) -> Vec<(InputId, i32, Arc<str>, i32)> {
        self.of_tasks(0..self.tasks)
    }

    /// Partitions of a topic that its lanes can carry.
    #[must_use]
    pub fn room(&self, topic: &str) -> i32 {
        let lanes = self.inputs.iter().filter(|source| *source.topic == *topic);
        i32::try_from(lanes.count())
            .unwrap_or(i32::MAX)
            .saturating_mul(self.tasks)
    }

    /// A topic that goes through intake has so many partitions now.
    pub fn grow(&mut self, topic: &str, count: i32) {
        if let Some(known) = self.counts.get_mut(topic) {
            *known = count.max(*known);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_of_an_intake_topic_has_one_task_and_every_lane_one_partition() {
        let topic: Arc<str> = "clicks".into();
        let lane = |lane| Source {
            topic: Arc::clone(&topic),
            lane,
        };
        let anchor = Source {
            topic: "shop-events".into(),
            lane: None,
        };
        let inputs = vec![anchor, lane(Some(0)), lane(Some(1))];
        let mut sources = Sources::new(inputs, 3, BTreeMap::from([(Arc::clone(&topic), 5)]));
        let found: Vec<_> = (0..5).map(|n| sources.find("clicks", n).unwrap()).collect();
        let read = |input, task| (InputId(input), task);
        assert_eq!(
            found,
            [read(1, 0), read(1, 1), read(1, 2), read(2, 0), read(2, 1)]
        );
        for (number, (input, task)) in (0..).zip(found) {
            assert_eq!(sources.place(input, task), Some((&topic, number)));
        }
        assert_eq!(sources.place(InputId(2), 2), None);
        assert_eq!(sources.find("shop-events", 2), Some(read(0, 2)));
        assert_eq!(sources.all().len(), 3 + 5);
        assert_eq!(sources.room("clicks"), 6);
        sources.grow("clicks", 6);
        assert_eq!(sources.place(InputId(2), 2), Some((&topic, 5)));
        assert_eq!(sources.names().last().map(|name| &**name), Some("clicks#1"));
    }
}
