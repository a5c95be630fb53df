//! The flows in force, indexed by what begins them, and the older versions that instances still run on.
//!
//! An event looks at the flows that it can begin and at no other, so that a shop of two hundred flows pays for those of its event.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Flow;
use crate::event::EventType;

/// The flows in force, and the older versions that instances still run on.
#[derive(Clone, Debug, Default)]
pub struct FlowSet {
    /// In force, by name.
    current: BTreeMap<Arc<str>, Arc<Flow>>,
    /// Older versions that some instance may still run on, by version.
    retired: BTreeMap<Arc<str>, Arc<Flow>>,
    /// By event type (its place in [`EventType::ALL`]): the flows in force that it can begin, by name.
    entering: Vec<Vec<Arc<Flow>>>,
}

impl FlowSet {
    /// These flows in force; of two with one name the later.
    #[must_use]
    pub fn of(flows: impl IntoIterator<Item = Arc<Flow>>) -> Self {
        let mut set = Self {
            current: flows
                .into_iter()
                .map(|flow| (Arc::clone(&flow.name), flow))
                .collect(),
            ..Self::default()
        };
        set.index();
        set
    }

    /// Those in force, by name.
    #[must_use]
    pub const fn current(&self) -> &BTreeMap<Arc<str>, Arc<Flow>> {
        &self.current
    }

    /// Those no longer in force that instances may still run on, by version.
    #[must_use]
    pub const fn retired(&self) -> &BTreeMap<Arc<str>, Arc<Flow>> {
        &self.retired
    }

    /// The flows in force that an event of this type can begin, by name.
    #[must_use]
    pub fn entering(&self, event: EventType) -> &[Arc<Flow>] {
        self.entering.get(event as usize).map_or(&[], Vec::as_slice)
    }

    /// Takes a flow out of force; its instances end as `flow_inactive`.
    pub fn remove(&mut self, name: &str) {
        self.current.remove(name);
        self.index();
    }

    /// Keeps a version for the instances that entered with it; nothing to do while it is in force.
    pub fn retire(&mut self, flow: Arc<Flow>) {
        if self.version(&flow.name, &flow.version).is_none() {
            self.retired.insert(Arc::clone(&flow.version), flow);
        }
    }

    /// Forgets a version that nobody runs on any more.
    pub fn forget(&mut self, version: &str) {
        self.retired.remove(version);
    }

    /// The flow that an instance runs on: the version it entered with, in force or retired; `None` when its text no longer compiles.
    #[must_use]
    pub fn version(&self, name: &str, version: &str) -> Option<&Arc<Flow>> {
        self.current
            .get(name)
            .filter(|flow| &*flow.version == version)
            .or_else(|| self.retired.get(version))
    }

    fn index(&mut self) {
        let mut entering = vec![Vec::new(); EventType::ALL.len()];
        for flow in self.current.values() {
            for event in &flow.enter.events {
                if let Some(flows) = entering.get_mut(*event as usize) {
                    flows.push(Arc::clone(flow));
                }
            }
        }
        self.entering = entering;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_type_in_the_list_is_its_number() {
        for (place, event) in EventType::ALL.iter().enumerate() {
            assert_eq!(*event as usize, place);
        }
    }
}
