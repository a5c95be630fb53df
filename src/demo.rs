//! `tidegate demo`: an embedded broker, a simulated shop, the real worker, and a view that tells the story as it happens.
//!
//! ```text
//!   shop, senders (street) ── events, receipts ──► embedded broker ──► worker, as in `run` (backstage)
//!        ▲      │                                        │                  │
//!        │      └── what there is to tell ──► narrator ──► view, summary    │
//!        └───────────────────────── decisions ◄────────────────────────────┘
//! ```
//!
//! [`shop`], [`senders`], [`narrator`] and [`view`] are pure and seeded. The embedded broker keeps nothing and knows transactions
//! only roughly, so the demo shows what tidegate does and how fast, never that it does it exactly once.
#![cfg_attr(
    not(feature = "kafka"),
    expect(
        dead_code,
        reason = "without a Kafka client only the pure parts are built, for their tests"
    )
)]

mod dice;
mod latency;
mod narrator;
mod seen;
mod senders;
mod setting;
mod shop;
mod speed;
mod summary;
mod terminal;
mod view;

#[cfg(feature = "kafka")]
mod backstage;
#[cfg(feature = "kafka")]
mod live;
#[cfg(feature = "kafka")]
mod street;

#[cfg(feature = "kafka")]
pub use live::{DemoError, run};
pub use setting::SettingError;

/// What may be asked of the demo.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// End by itself after so many seconds, counted from the opening of the shop
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Events per second
    #[arg(long, value_name = "R", default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    pub rate: u32,
    /// Another seed, another story
    #[arg(long, value_name = "SEED", default_value_t = 7)]
    pub seed: u64,
}
