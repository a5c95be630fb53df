//! Inputs whose next record is of a schema that is not known yet: that partition of that input stands still at the record, unread, and
//! everything else goes on.
//!
//! The record is not kept: its position does not move, reading goes on at it once the registry has answered. So it is unread in the
//! sense of CK-1, and what it may stop is held back.

use std::sync::Arc;

use super::{Halt, Worker};
use crate::bus::{NextOffset, Position, Record, Remedy};
use crate::event::avro::registered::{self, Registered, SchemaId};
use crate::registry::Desk;
use crate::task::Waiting;
use crate::task::fold::Format;

/// What the worker knows of the schema registry.
#[derive(Default)]
pub(super) struct Schemas {
    desk: Option<Arc<Desk>>,
    /// State of the desk's knowledge that was taken over.
    number: u64,
    pub(super) known: Arc<Registered>,
}

impl Worker {
    /// Inputs in the framing of a registry get their schemas from this desk.
    #[must_use]
    pub fn with_schemas(mut self, desk: Arc<Desk>) -> Self {
        self.schemas.desk = Some(desk);
        self
    }

    /// Takes over what the registry answered, and reads on where that is all that was missing.
    pub(super) fn learn_schemas(&mut self) -> Result<(), Halt> {
        let Some(desk) = &self.schemas.desk else {
            return Ok(());
        };
        if let Some(known) = desk.newer_than(&mut self.schemas.number) {
            for task in self.tasks.values_mut() {
                task.fold.learn(Arc::clone(&known));
            }
            self.schemas.known = known;
        }
        let mut positions = Vec::new();
        for task in self.tasks.values() {
            let ready = task
                .waiting
                .iter()
                .filter(|waiting| self.schemas.known.knows(waiting.schema));
            positions.extend(ready.map(|waiting| Position {
                input: waiting.input,
                partition: task.partition,
                next: waiting.at,
            }));
        }
        if positions.is_empty() {
            return Ok(());
        }
        if let Err(failure) = self.bus.resume(&positions) {
            return match failure.remedy {
                Remedy::Retry | Remedy::Abort | Remedy::Fenced => {
                    tracing::debug!(error = %failure, "reading on waits");
                    Ok(())
                }
                Remedy::Remake | Remedy::Fatal => Err(Halt::Bus(failure)),
            };
        }
        let known = &self.schemas.known;
        for task in self.tasks.values_mut() {
            task.waiting.retain(|waiting| !known.knows(waiting.schema));
        }
        Ok(())
    }

    /// The schema that this record of a running task has to wait for; `None` when it can be read, or never will.
    pub(super) fn missing_schema(&self, record: &Record) -> Option<SchemaId> {
        let input = self.shared.inputs.get(usize::from(record.input.0))?;
        match input.format {
            Format::Avro => {}
            Format::Json | Format::AvroSingleObject(_) => return None,
        }
        // What has no value or no sound framing is a dead letter, whatever the registry says.
        let (id, _) = registered::framed(record.value.as_deref()?, &record.headers).ok()?;
        (!self.schemas.known.knows(id)).then_some(id)
    }

    /// Stops reading that partition of that input before `record`.
    pub(super) fn wait_for(&mut self, schema: SchemaId, record: &Record) -> Result<(), Halt> {
        let (input, partition) = (record.input, record.partition);
        self.bus.pause(input, partition).map_err(Halt::Bus)?;
        let Some(task) = self.tasks.get_mut(&partition) else {
            return Ok(());
        };
        task.waiting.push(Waiting {
            input,
            at: NextOffset::at(record.offset),
            schema,
        });
        // What it was told of its end counted this record as read.
        if let Some(reach) = task.reach.get_mut(usize::from(input.0)) {
            reach.at_end = false;
        }
        if let Some(desk) = &self.schemas.desk {
            desk.ask(schema);
        }
        tracing::debug!(partition, schema = %schema, "an input waits for a schema");
        Ok(())
    }
}
