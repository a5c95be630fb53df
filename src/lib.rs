//! tidegate stands between a shop's Kafka bus and its channel senders: it folds clicks, orders and receipts into one profile per
//! customer and decides, exactly once, what each channel may and must say.
//!
//! # The walk of one record
//!
//! Read the modules in this order, and you have followed a record from the bus to a decision.
//!
//! | step | what | where | if the power goes out here |
//! |---|---|---|---|
//! | 1 | the worker polls a record of one of its tasks | [`worker`], [`bus`] | nothing happened; it is read again |
//! | 2 | bytes become an [`event`], or a dead letter staged in the same transaction | [`task::fold`], [`event`] | the same |
//! | 3 | the customer's [`profile`] is loaded: staged, else cached, else stored | [`store::staging`] | the same |
//! | 4 | [`engine::step`] folds it in and decides, with the [`flow`]s and [`policy`] in force | [`engine`] | the same |
//! | 5 | due timers are inputs of the same kind, unless the task is behind (CK-1) | [`task::fold`], [`worker`] | the same |
//! | 6 | decisions ([`outbound`]), changelog, dead letters and offsets go out in one transaction | [`task::commit`] | the broker aborts it; all is read again |
//! | 7 | **commit**: the point of no return | [`task::commit`] | all or nothing; the broker is asked which (`worker::recovery`) |
//! | 8 | the store is written, in one batch | [`store`] | the store is behind; [`task::restore`] reads the changelog's tail |
//!
//! An event that stands where its profile is not (an input of any key, see [`bus::sources`]; a visitor's late click) takes the walk twice:
//! at step 4 it is forwarded to `<app>-events`, in the transaction that commits its offset, and read from there by its profile's task.
//!
//! # Invariants
//!
//! Their ids stand in asserts, tests and the simulation's checkers.
//!
//! - **EO-1** every input offset is covered by exactly one committed transaction. **EO-2** outputs, changelog and offsets of a batch
//!   commit together or not at all. **EO-3** a decision id depends only on its cause. **EO-4** after a fence a task writes nothing.
//!   **EO-5** a partition number has one owner for all inputs; partition i of an input of any key is its task's, i mod N.
//! - **ST-1** the store is the fold of the changelog up to its position. **ST-2** that position is never beyond the changelog's end.
//!   **ST-3** staging is empty at the start of a batch.
//! - **TM-1** byte order of timer keys is their order. **TM-2** a timer is in the index iff it is in its profile. **TM-3** it fires
//!   at most once, not early.
//! - **FL-1** a compiled flow cannot fail. **LM-1** everything that grows has a named limit. **DT-1** the same inputs and clock
//!   readings give the same bytes. **CK-1** a task that is behind hands nothing over.
//!
//! # What is deliberately absent
//!
//! The core (first group below) has no I/O, clock, randomness, logs or metrics: [`engine::step`] is a function of values, and
//! [`outbound`] writes what it decided into the bus's plain values. Only [`bus::kafka`](bus) names the Kafka client, only
//! `store::rocks` RocksDB, only [`clock`] reads the time; `tests/tidy.rs` holds us to it. There is no mode in which a decision may be
//! lost or repeated; the bugs of [`planted`] exist only in the builds that the fault suite must catch.
//!
//! # Beside the walk
//!
//! [`config`] reads the one file, [`plan`] turns it into what tasks are given, [`app`] puts the parts together, [`cli`] asks for them.
//! [`replay`] drives the same fold and merge over a [`recording`], without a bus; `feed` publishes that recording so that `run` sees
//! the same. [`registry`] asks what the schemas of Avro records are, off the hot path. [`telemetry`] and [`http`] tell of it all, and of no customer.

// The core, in reading order.
pub mod value;

pub mod event;

pub mod profile;

pub mod flow;
pub mod policy;

pub mod engine;

pub mod decision;
pub mod outbound;
pub mod partitioner;

// The shell, in reading order.
pub mod bus;
pub mod clock;
pub mod store;

pub mod task;

pub mod registry;
pub mod worker;

pub mod planted;

pub mod config;
pub mod explain;
#[cfg(feature = "kafka")]
pub mod feed;
pub mod plan;
pub mod recording;
pub mod replay;
pub mod trial;
mod words;

pub mod http;
pub mod telemetry;

pub mod app;
pub mod cli;

// A stage for all of it.
#[cfg(any(test, feature = "kafka"))]
pub mod demo;
