//! tidegate: what an event becomes on its way through (the architecture page is written at the end).

pub mod decision;
pub mod engine;
pub mod event;
pub mod flow;
pub mod partitioner;
pub mod policy;
pub mod profile;
pub mod value;

pub mod app;
pub mod bus;
pub mod cli;
pub mod clock;
pub mod config;
pub mod http;
pub mod store;
pub mod telemetry;
