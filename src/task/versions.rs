//! Flow versions in a task's state: a running instance keeps the version that it entered with, over reloads and restarts
//! (product.md §6).
//!
//! ```text
//! in force ── text is written with the first commit ──► the file changes ──► retired, with the clock's time
//!     ▲                                                                        │ nobody can run on it any more
//!     └── the same text comes into force again ◄───────────────────────────────┴──► deleted
//! ```
//! An instance lives no longer than its flow's `expires`, counted from its entry; so a version has no instances left that long after it
//! was retired, and nobody needs to be asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::flow::compile::{LONGEST, Surroundings, compile_text};
use crate::flow::{Flow, FlowSet};
use crate::policy::Policy;
use crate::store::{Change, Store, StoreError, layout};
use crate::value::{Span, Timestamp};

/// Kept beyond the life of the last instance: a task that was behind still fires what fell due meanwhile.
const MARGIN: Span = Span::from_days(7);

/// What the state says of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stored {
    /// When it was found not to be in force any more.
    retired: Option<Timestamp>,
    /// How long an instance of it can live.
    life: Span,
}

/// The flow versions that a task's state holds the text of.
#[derive(Debug, Default)]
pub(super) struct Versions {
    stored: BTreeMap<String, Stored>,
    /// What the batch at hand makes of it; `None` when it changes nothing.
    rendered: Option<BTreeMap<String, Stored>>,
    /// Nothing is to be done before: as of the last look, by the clock.
    rest_until: Option<Timestamp>,
}

impl Versions {
    /// Reads the texts of the state and gives `flows` those that are not in force.
    ///
    /// FL-1: a text that this program cannot compile any more is left out; its instances end as `flow_inactive`, visibly.
    pub(super) fn read(
        task: i32,
        store: &dyn Store,
        policy: &Policy,
        flows: &mut FlowSet,
    ) -> Result<Self, StoreError> {
        let mut records = Vec::new();
        let prefix = layout::flow_text_prefix();
        store.prefixed(&prefix, &mut |key, value| {
            records.push((key.to_vec(), value.to_vec()));
        })?;
        let mut versions = Self::default();
        for (key, value) in records {
            let (retired, text) =
                layout::decode_flow_text(&value).map_err(|error| error.corrupt(task))?;
            let version = match layout::decode_state_key(&key) {
                Ok(layout::StateKey::FlowText { version }) => version,
                Ok(_) | Err(_) => continue,
            };
            let flow = compile_text("a flow of the state", text, &Surroundings::of(policy)).ok();
            let life = flow.as_ref().map_or(LONGEST, |flow| flow.life());
            if let Some(flow) = flow {
                flows.retire(flow);
            }
            versions.stored.insert(version, Stored { retired, life });
        }
        Ok(versions)
    }

    /// Other flows came into force: everything is looked at again.
    pub(super) const fn reloaded(&mut self) {
        self.rest_until = None;
    }

    /// Is the text of a flow in force still to be written?
    pub(super) fn is_pending(&self, flows: &FlowSet) -> bool {
        let is_stored = |flow: &Flow| {
            let stored = self.stored.get(&*flow.version);
            stored.is_some_and(|stored| stored.retired.is_none())
        };
        self.rest_until.is_none() && !flows.current().values().all(|flow| is_stored(flow))
    }

    /// The texts to write and delete at `clock`, and the versions that are not needed any more.
    pub(super) fn render(&mut self, flows: &FlowSet, clock: Timestamp) -> Vec<Change> {
        self.rendered = None;
        if self.rest_until.is_some_and(|until| clock < until) {
            return Vec::new();
        }
        let mut changes = Vec::new();
        let mut next = self.stored.clone();
        let in_force: BTreeMap<&str, &Arc<Flow>> = flows
            .current()
            .values()
            .map(|flow| (&*flow.version, flow))
            .collect();
        for (version, flow) in &in_force {
            let life = flow.life();
            let known = next.get(*version);
            if known.is_none_or(|known| known.retired.is_some()) {
                changes.extend(write(flow, None));
                let retired = None;
                next.insert((*version).to_owned(), Stored { retired, life });
            }
        }
        next.retain(|version, stored| {
            let over = match stored.retired {
                _ if in_force.contains_key(version.as_str()) => false,
                Some(retired) => clock >= end_of(retired, stored.life),
                None => {
                    stored.retired = Some(clock);
                    // A text that does not compile is not written anew: it says when it goes all the same, in memory.
                    let kept = flows.retired().get(version.as_str());
                    changes.extend(kept.and_then(|flow| write(flow, Some(clock))));
                    false
                }
            };
            if over {
                changes
                    .extend(layout::flow_text_key(version).map(|key| Change { key, value: None }));
            }
            !over
        });
        self.rendered = Some(next);
        changes
    }

    /// The batch is durable: gives the versions that are gone.
    pub(super) fn committed(&mut self) -> Vec<String> {
        let Some(next) = self.rendered.take() else {
            return Vec::new();
        };
        let gone = self
            .stored
            .keys()
            .filter(|version| !next.contains_key(*version))
            .cloned()
            .collect();
        self.stored = next;
        let ends = self
            .stored
            .values()
            .filter_map(|stored| Some(end_of(stored.retired?, stored.life)));
        self.rest_until = Some(ends.min().unwrap_or(Timestamp::MAX));
        gone
    }
}

fn end_of(retired: Timestamp, life: Span) -> Timestamp {
    retired.plus(life).plus(MARGIN)
}

fn write(flow: &Flow, retired: Option<Timestamp>) -> Option<Change> {
    Some(Change {
        key: layout::flow_text_key(&flow.version)?,
        value: Some(layout::flow_text_value(retired, &flow.text)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::compile::{FlowFile, compile};
    use crate::store::StoreBatch;
    use crate::store::memory::MemoryStore;

    fn flows(template: &str) -> FlowSet {
        let channel = crate::policy::Channel {
            name: "email".into(),
            topic: "email".into(),
            mode: crate::policy::ChannelMode::Active,
            quiet_hours: Vec::new(),
            cost: 0,
            budget: None,
            breaker: None,
            needs_address: true,
            expose_address: false,
            expose: Vec::new(),
            reports: Vec::new(),
        };
        let channels = BTreeMap::from([(Arc::clone(&channel.name), channel)]);
        let text = format!(
            "flow: hello\nclass: transactional\nenter: {{ events: [signed_up] }}\nexpires: 2d\nsteps: [{{ channel: email, template: {template} }}]\n"
        );
        let surroundings = Surroundings {
            channels: &channels,
            currency_digits: 2,
        };
        let file = FlowFile {
            name: "hello.yaml",
            text: &text,
        };
        compile(&[file], &surroundings).unwrap()
    }

    fn day(day: i64) -> Timestamp {
        Timestamp::from_millis(0).plus(Span::from_days(day))
    }

    /// One commit: what is rendered goes into the store.
    fn commit(
        versions: &mut Versions,
        flows: &mut FlowSet,
        store: &mut MemoryStore,
        at: Timestamp,
    ) -> usize {
        let changes = versions.render(flows, at);
        let count = changes.len();
        let batch = StoreBatch {
            changes,
            ..StoreBatch::default()
        };
        store.write(&batch).unwrap();
        for version in versions.committed() {
            flows.forget(&version);
        }
        count
    }

    fn texts(store: &MemoryStore) -> Vec<Vec<u8>> {
        let mut texts = Vec::new();
        let prefix = layout::flow_text_prefix();
        store
            .prefixed(&prefix, &mut |_, value| texts.push(value.to_vec()))
            .unwrap();
        texts
    }

    #[test]
    fn a_version_is_kept_while_an_instance_of_it_can_live_and_then_deleted() {
        let (mut old, mut new) = (flows("first"), flows("second"));
        let version = old.current()["hello"].version.clone();
        let mut store = MemoryStore::new();
        let mut versions = Versions::default();
        assert!(versions.is_pending(&old));
        assert_eq!(commit(&mut versions, &mut old, &mut store, day(1)), 1);
        assert!(!versions.is_pending(&old));
        assert_eq!(commit(&mut versions, &mut old, &mut store, day(2)), 0);

        // The file changes.
        new.retire(Arc::clone(&old.current()["hello"]));
        versions.reloaded();
        // The new text is written, the old one is marked.
        assert_eq!(commit(&mut versions, &mut new, &mut store, day(3)), 2);
        let marked: Vec<_> = texts(&store)
            .iter()
            .map(|value| layout::decode_flow_text(value).unwrap().0)
            .collect();
        assert!(marked.contains(&Some(day(3))) && marked.contains(&None));
        assert_eq!(commit(&mut versions, &mut new, &mut store, day(11)), 0);
        assert!(new.version("hello", &version).is_some());
        // Two days of life and seven of margin after its end.
        assert_eq!(commit(&mut versions, &mut new, &mut store, day(12)), 1);
        assert!(new.version("hello", &version).is_none());
        assert_eq!(texts(&store).len(), 1);
    }

    #[test]
    fn what_a_void_batch_would_have_written_is_written_by_the_next() {
        let flows = flows("first");
        let mut versions = Versions::default();
        assert_eq!(versions.render(&flows, day(1)).len(), 1);
        assert_eq!(versions.render(&flows, day(1)).len(), 1);
    }
}
