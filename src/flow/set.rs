//! The flows in force, indexed by what begins them, and the older versions that instances still run on.
//!
//! An event looks at the flows that it can begin and at no other, so that a shop of two hundred flows pays for those of its event.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Flow, Landmark, Moment, Occasion};
use crate::event::{EventType, Stream};

/// The flows in force, and the older versions that instances still run on.
#[derive(Clone, Debug, Default)]
pub struct FlowSet {
    /// In force, by name.
    current: BTreeMap<Arc<str>, Arc<Flow>>,
    /// Older versions that some instance may still run on, by version.
    retired: BTreeMap<Arc<str>, Arc<Flow>>,
    /// By event type (its place in [`EventType::ALL`]): what an event of it concerns.
    concerned: Vec<Concerned>,
}

/// The flows in force that an event of one type concerns, each list by name.
#[derive(Clone, Debug, Default)]
pub struct Concerned {
    /// It can begin them.
    pub entering: Vec<Arc<Flow>>,
    /// It can make their condition come true.
    pub becoming: Vec<Arc<Flow>>,
    /// It can move the time at which they begin.
    pub timed: Vec<Arc<Flow>>,
}

/// What the events of no type concern.
static NOBODY: Concerned = Concerned {
    entering: Vec::new(),
    becoming: Vec::new(),
    timed: Vec::new(),
};

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

    /// The flows in force that an event of this type concerns.
    #[must_use]
    pub fn concerned(&self, event: EventType) -> &Concerned {
        self.concerned.get(event as usize).unwrap_or(&NOBODY)
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
        self.concerned = EventType::ALL
            .iter()
            .map(|event| Concerned::by(*event, self.current.values()))
            .collect();
    }
}

impl Concerned {
    fn by<'a>(event: EventType, flows: impl Iterator<Item = &'a Arc<Flow>>) -> Self {
        let mut concerned = Self::default();
        for flow in flows {
            let list = match &flow.enter.on {
                Occasion::Events(events) if events.contains(&event) => &mut concerned.entering,
                Occasion::Absence { of, .. } if of.contains(&event) => &mut concerned.timed,
                Occasion::Moment(moment) if moves(event, *moment) => &mut concerned.timed,
                // Whatever is folded may do it.
                Occasion::Becomes(_) => &mut concerned.becoming,
                Occasion::Events(_) | Occasion::Absence { .. } | Occasion::Moment(_) => continue,
            };
            list.push(Arc::clone(flow));
        }
        concerned
    }
}

/// Can an event of this type move the moment, or be the first sign of a customer who has it?
fn moves(event: EventType, moment: Moment) -> bool {
    match moment {
        Moment::Local { .. } => true,
        Moment::Known { landmark, .. } => match landmark {
            Landmark::Depletion
            | Landmark::CadenceBreak
            | Landmark::LastOrder
            | Landmark::FirstOrder => event.stream() == Stream::Purchases,
            Landmark::SignedUp => event == EventType::SignedUp,
        },
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
