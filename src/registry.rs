//! The schema registry: which schema an id means, asked once, off the hot path.
//!
//! ```text
//!  worker: a record of an unknown id ─► Desk::ask ─► thread `registry`: one question per id at a time,
//!     the partition waits at that record            │ again and again until there is an answer
//!  worker's next pass: reads on there ◄─ Desk::publish ◄─┘   (a schema, or a definite "not found")
//! ```
//! Schemas never change under their id, so what was answered stays. A "not found" is forgotten after a while: the id may come to be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;

use crate::event::avro::registered::{SchemaId, Writer};
use crate::telemetry::{Asked, Telemetry};

pub mod client;
mod desk;
mod http;

pub use client::{Client, Login, RegistryError, Settings};
pub use desk::Desk;

/// First and longest pause between two attempts; the pause doubles in between.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// So often in a row a registry has to say "not found", over 1.5 to 3 s: one that has just started, or follows another, may not have read
/// yet what a producer has registered.
const SURE: u32 = 5;

/// With so many ids not found at a time the next one is believed at once: records with made-up ids shall not stop an input at each.
const MOST_DOUBTED: u32 = 3;

/// How long a "not found" stands: records of that id are dead letters so long without another question.
const NOT_FOUND_STANDS: Duration = Duration::from_secs(30);

/// Starts the thread that asks. It ends with the process, or when the desk does.
///
/// # Errors
/// When the system gives no thread.
pub fn start(client: Client, telemetry: &Arc<Telemetry>) -> std::io::Result<Arc<Desk>> {
    let (ask, asked) = unbounded_channel();
    let (desk, telemetry) = (Arc::new(Desk::new(ask)), Arc::clone(telemetry));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let clerk = Clerk {
        client: Arc::new(client),
        desk: Arc::downgrade(&desk),
        telemetry,
        silent: Arc::new(AtomicBool::new(false)),
    };
    std::thread::Builder::new()
        .name("registry".to_owned())
        .spawn(move || runtime.block_on(clerk.serve(asked)))?;
    Ok(desk)
}

/// Who asks.
struct Clerk {
    client: Arc<Client>,
    desk: std::sync::Weak<Desk>,
    telemetry: Arc<Telemetry>,
    /// Said once per outage.
    silent: Arc<AtomicBool>,
}

/// What a question under way ends with.
enum Done {
    Answered(SchemaId, Writer),
    /// The time of a "not found" is over.
    Over(SchemaId),
}

impl Clerk {
    async fn serve(self, mut asked: UnboundedReceiver<SchemaId>) {
        let (mut open, mut not_found) = (BTreeSet::new(), 0);
        let mut questions: JoinSet<Done> = JoinSet::new();
        loop {
            tokio::select! {
                id = asked.recv() => {
                    let Some(id) = id else { return };
                    let known = self.desk.upgrade().is_some_and(|desk| desk.knows(id));
                    // Several workers meet the same new schema at once.
                    if !known && open.insert(id) {
                        let sure = if not_found < MOST_DOUBTED { SURE } else { 1 };
                        questions.spawn(self.question(id, sure));
                    }
                }
                Some(done) = questions.join_next(), if !questions.is_empty() => {
                    let Some(desk) = self.desk.upgrade() else { return };
                    match done {
                        Ok(Done::Answered(id, writer)) => {
                            open.remove(&id);
                            if !writer.is_found() {
                                not_found += 1;
                                questions.spawn(async move {
                                    tokio::time::sleep(NOT_FOUND_STANDS).await;
                                    Done::Over(id)
                                });
                            }
                            desk.publish(id, writer);
                        }
                        Ok(Done::Over(id)) => {
                            not_found -= 1;
                            desk.forget(id);
                        }
                        Err(error) => tracing::error!(%error, "a question to the schema registry broke off"),
                    }
                }
            }
        }
    }

    /// Asks until there is an answer; a "not found" is one when it was said `sure` times in a row.
    fn question(&self, id: SchemaId, sure: u32) -> impl Future<Output = Done> + use<> {
        let (client, telemetry) = (Arc::clone(&self.client), Arc::clone(&self.telemetry));
        let silent = Arc::clone(&self.silent);
        async move {
            let (mut failures, mut not_found) = (0, 0);
            loop {
                let answer = client.writer(id).await;
                let (asked, heard) = match &answer {
                    Ok(_) => (Asked::Answered, true),
                    Err(RegistryError::NotFound { .. }) => (Asked::NotFound, true),
                    Err(_) => (Asked::Failed, false),
                };
                telemetry.asked_registry(asked);
                if silent.swap(!heard, Ordering::Relaxed) == heard {
                    match &answer {
                        Err(error) if !heard => tracing::warn!(
                            error = %told(error),
                            "the schema registry does not answer: inputs wait where they need a schema that is not known yet"
                        ),
                        Ok(_) | Err(_) => tracing::info!("the schema registry answers again"),
                    }
                }
                let before = match answer {
                    Ok(writer) => return Done::Answered(id, writer),
                    Err(RegistryError::NotFound { .. }) => {
                        not_found += 1;
                        if not_found >= sure {
                            tracing::warn!(schema = %id, "the schema registry does not know this schema: its records are dead letters");
                            return Done::Answered(id, Writer::not_found());
                        }
                        not_found - 1
                    }
                    Err(_) => {
                        not_found = 0;
                        failures += 1;
                        failures - 1
                    }
                };
                tokio::time::sleep(Client::pause(id, before)).await;
            }
        }
    }
}

/// An error and everything behind it, in one line.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
