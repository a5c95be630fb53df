//! A schema registry that answers when it likes: orders in Avro, in schemas that come to be known one by one, at any moment of the trouble.

use std::sync::Arc;

use tidegate::event::avro::registered::{SchemaId, Writer};
use tidegate::event::avro::{Encoder, schema_text};
use tidegate::event::{DecodeContext, Stream, json};
use tidegate::registry::Desk;
use tidegate::task::fold::{ClockKind, Format};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::broker::{Faults, SharedBroker};
use crate::random::Random;
use crate::world::World;
use crate::{PARTITIONS, by_customer, faults, reference, shop, visible};

/// Questions that wait for an answer.
pub(crate) struct LateRegistry {
    pub(crate) desk: Arc<Desk>,
    asked: UnboundedReceiver<SchemaId>,
    random: Random,
    pub(crate) answers: usize,
}

impl LateRegistry {
    fn new(seed: u64) -> Self {
        let (ask, asked) = unbounded_channel();
        Self {
            desk: Arc::new(Desk::new(ask)),
            asked,
            random: Random::new(seed),
            answers: 0,
        }
    }

    /// Answers one question, or none.
    pub(crate) fn turn(&mut self) {
        if self.random.below(40) == 0
            && let Ok(id) = self.asked.try_recv()
        {
            self.answers += 1;
            let writer = Writer::of(schema_text(Stream::Purchases), &[]);
            self.desk.publish(id, writer);
        }
    }
}

/// The same shop with its orders in Avro, under one of three ids each.
fn world(seed: u64, instances: usize) -> World {
    let broker = SharedBroker::new(PARTITIONS, shop::WALL);
    shop::preload(&broker, &mut Random::new(seed));
    let mut plan = shop::plan(ClockKind::Records, PARTITIONS);
    let mut encoders: Vec<Encoder> = (7..10)
        .map(|id| Encoder::registered(Stream::Purchases, id).unwrap())
        .collect();
    for ((topic, _), log) in &mut broker.lock().logs {
        if topic != "purchases" {
            continue;
        }
        for slot in log {
            let context = DecodeContext {
                rules: &plan.decode,
                record_timestamp: Some(slot.timestamp),
            };
            let event = json::decode(slot.value.as_ref().unwrap(), &context).unwrap();
            encoders.rotate_left(1);
            slot.value = Some(encoders[0].encode(&event, &plan.decode.currencies).unwrap());
        }
    }
    for input in &mut plan.inputs {
        if &*input.source.topic == "purchases" {
            input.format = Format::Avro;
        }
    }
    let mut world = World::new(
        seed,
        broker,
        Arc::new(plan),
        shop::outbound_plan(),
        instances,
    );
    world.registry = Some(LateRegistry::new(seed));
    world
}

#[test]
fn a_registry_that_answers_late_changes_nothing_but_the_time() {
    let mut answers = 0;
    for seed in crate::seeds().into_iter().take(20) {
        let mut random = Random::new(seed ^ 0xa5c0);
        let mut world = world(seed, 1 + random.below(3) as usize);
        let faults = if seed % 4 == 0 {
            Faults::default()
        } else {
            faults(&mut random)
        };
        world.trouble(faults, 1_500);
        world.heal();
        world.check();
        assert_eq!(reference(seed), by_customer(visible(&world)), "seed {seed}");
        answers += world.registry.map_or(0, |registry| registry.answers);
    }
    assert!(
        answers >= 40,
        "only {answers} questions: the test proves little"
    );
}
