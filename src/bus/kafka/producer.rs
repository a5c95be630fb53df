//! One transactional producer: queue, delivery reports, transaction calls, and when it must be made anew.
//!
//! Every call that ends in doubt marks the producer *suspect*: librdkafka speaks transaction protocol v1, in which a late request of
//! one transaction can still hit the next one. Only a new incarnation under the same id (a higher epoch) is safe from it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::failure::{Call, failure, fenced, remedy, said};
use super::settings::Settings;
use crate::bus::{Failure, Outgoing, Remedy, Target, Turn};
use crate::clock::Clock;

/// The pause between looks at the queue. `BaseProducer::poll(t)` waits for the whole of `t`, in milliseconds; a drain takes less.
const LOOK: Duration = Duration::from_micros(100);
/// The bound of making a producer, per call.
const INIT: Duration = Duration::from_secs(2);
/// One attempt of `init_transactions`. After CONCURRENT_TRANSACTIONS (the broker is ending what a killed predecessor left open,
/// some 10 ms) librdkafka looks again after 500 ms, or at once when it is called again: so it is called again.
const INIT_ATTEMPT: Duration = Duration::from_millis(40);

/// What the broker said about records, collected while polling.
#[derive(Default)]
struct Reports {
    /// Highest changelog offset per task.
    highest: BTreeMap<i32, i64>,
    /// The first failure that is not a mere consequence.
    failed: Option<(Code, String)>,
}

/// Takes librdkafka's callbacks of one producer.
#[derive(Default)]
pub(super) struct ProducerCallbacks {
    reports: Mutex<Reports>,
    /// A time-out or transport error was told.
    disturbed: AtomicBool,
}

impl ClientContext for ProducerCallbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::log(level, facility, message);
    }
    fn error(&self, error: KafkaError, _reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "producer");
        self.disturbed.store(true, Ordering::SeqCst);
    }
}

impl ProducerContext for ProducerCallbacks {
    /// 0, or 1 + the task whose changelog the record belongs to.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, task: usize) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(message) => {
                if let Some(task) = task
                    .checked_sub(1)
                    .and_then(|task| i32::try_from(task).ok())
                {
                    let highest = reports.highest.entry(task).or_insert(-1);
                    *highest = message.offset().max(*highest);
                }
            }
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
                let consequence = matches!(code, Code::PurgeQueue | Code::PurgeInflight);
                if reports.failed.is_none() || !consequence {
                    reports.failed = Some((code, message.topic().to_owned()));
                }
            }
        }
    }
}

type Native = BaseProducer<ProducerCallbacks>;

/// One of a worker's two producers.
pub(super) struct Transactional {
    /// `None` between two incarnations.
    native: Option<Native>,
    /// `init_transactions` has succeeded on this incarnation.
    ready: bool,
    /// It may not begin again.
    suspect: bool,
    id: String,
    turn: Turn,
    settings: Settings,
    clock: Arc<dyn Clock>,
}

impl Transactional {
    /// A producer that is not connected yet; [`Self::make`] does that.
    pub(super) fn new(settings: &Settings, turn: Turn, clock: Arc<dyn Clock>) -> Self {
        Self {
            native: None,
            ready: false,
            suspect: false,
            id: settings.transactional_id(turn),
            turn,
            settings: settings.clone(),
            clock,
        }
    }

    fn attempted(&self, call: &str) -> String {
        format!("{call} of {}", self.id)
    }

    /// Makes the client if there is none, and lets the broker end what an earlier incarnation left open. May be repeated after
    /// `Retry`: librdkafka goes on where it was.
    pub(super) fn make(&mut self) -> Result<(), Failure> {
        if self.ready {
            return Ok(());
        }
        let native = match self.native.take() {
            Some(native) => native,
            None => Native::from_config_and_context(
                &self.settings.producer(self.turn),
                ProducerCallbacks::default(),
            )
            .map_err(|error| failure(Call::Connect, self.attempted("making"), &error))?,
        };
        // A connected broker first: without one, `init_transactions` waits a fixed half second before it looks again.
        let connected = native
            .client()
            .fetch_metadata(Some(&self.settings.changelog), INIT);
        if let Err(error) = connected {
            // Not kept: one whose first connections met a paused broker was seen to refuse for a minute after all others had answers.
            discard(native);
            return Err(failure(Call::Ask, self.attempted("metadata"), &error));
        }
        let outcome = self.init(&native);
        native.poll(Duration::ZERO);
        match &outcome {
            Ok(()) => {
                native.context().disturbed.store(false, Ordering::SeqCst);
                self.ready = true;
                self.suspect = false;
                self.native = Some(native);
            }
            Err(failed) if failed.remedy == Remedy::Retry => self.native = Some(native),
            Err(_) => discard(native),
        }
        // The caller's `Remake` is this very call: what it must do is call again.
        outcome.map_err(|failed| match failed.remedy {
            Remedy::Remake => Failure {
                remedy: Remedy::Retry,
                ..failed
            },
            Remedy::Retry | Remedy::Abort | Remedy::Fenced | Remedy::Fatal => failed,
        })
    }

    fn init(&self, native: &Native) -> Result<(), Failure> {
        let deadline = self.clock.elapsed().saturating_add(INIT);
        loop {
            let Err(error) = native.init_transactions(INIT_ATTEMPT) else {
                return Ok(());
            };
            let failed = failure(Call::Init, self.attempted("init_transactions"), &error);
            if failed.remedy != Remedy::Retry || self.clock.elapsed() >= deadline {
                return Err(failed);
            }
        }
    }

    /// Calls [`Self::make`] until it succeeds or `within` is over.
    pub(super) fn make_within(&mut self, within: Duration) -> Result<(), Failure> {
        let deadline = self.clock.elapsed().saturating_add(within);
        loop {
            match self.make() {
                Err(failed) if failed.remedy == Remedy::Retry => {
                    if self.clock.elapsed() >= deadline {
                        return Err(failed);
                    }
                }
                done => return done,
            }
        }
    }

    /// A new incarnation under the same id.
    pub(super) fn remake(&mut self) -> Result<(), Failure> {
        // After a `Retry` of ours the client at hand is the new one already.
        if self.ready
            && let Some(native) = self.native.take()
        {
            discard(native);
        }
        self.ready = false;
        self.make()
    }

    pub(super) fn suspect(&self) -> bool {
        self.suspect || !self.ready
    }

    fn native(&self) -> Result<&Native, Failure> {
        match &self.native {
            Some(native) if self.ready => Ok(native),
            _ => Err(Failure::new(
                self.attempted("use"),
                "not ready",
                Remedy::Remake,
            )),
        }
    }

    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        if self.suspect {
            return Err(Failure::new(
                self.attempted("begin_transaction"),
                "suspect since an earlier transaction",
                Remedy::Remake,
            ));
        }
        let native = self.native()?;
        // What was told while no transaction was open (an idle connection closed) disturbs nobody.
        native.poll(Duration::ZERO);
        let context = native.context();
        context.disturbed.store(false, Ordering::SeqCst);
        *context
            .reports
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Reports::default();
        native
            .begin_transaction()
            .map_err(|error| failure(Call::Begin, self.attempted("begin_transaction"), &error))
    }

    pub(super) fn send(&mut self, record: &Outgoing) -> Result<(), Failure> {
        let deadline = self.deadline();
        loop {
            match self.native()?.send(self.outgoing(record)) {
                Ok(()) => return Ok(()),
                Err((error, _)) if error.rdkafka_error_code() == Some(Code::QueueFull) => {
                    self.look()?;
                    if self.clock.elapsed() >= deadline {
                        self.suspect = true;
                        let attempted = self.attempted("drain of a full queue");
                        return Err(Failure::new(attempted, "timed out", Remedy::Remake));
                    }
                }
                Err((error, _)) => {
                    let attempted = format!("produce to {} by {}", record.topic, self.id);
                    return Err(failure(Call::Send, attempted, &error));
                }
            }
        }
    }

    fn outgoing<'a>(&self, record: &'a Outgoing) -> BaseRecord<'a, [u8], [u8], usize> {
        let task = record
            .changelog_of
            .and_then(|task| usize::try_from(task).ok())
            .map_or(0, |task| task + 1);
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in &record.headers {
            headers = headers.insert(Header {
                key,
                value: Some(value.as_slice()),
            });
        }
        BaseRecord {
            topic: &record.topic,
            partition: match record.target {
                Target::Partition(partition) => Some(partition),
                Target::Key => None,
            },
            payload: record.value.as_deref(),
            key: record.key.as_deref(),
            timestamp: None,
            headers: (!record.headers.is_empty()).then_some(headers),
            delivery_opaque: task,
        }
    }

    /// Serves one event; waits a moment when there was none.
    fn look(&self) -> Result<(), Failure> {
        let native = self.native()?;
        let before = native.in_flight_count();
        native.poll(Duration::ZERO);
        if native.in_flight_count() == before {
            thread::park_timeout(LOOK);
        }
        Ok(())
    }

    fn deadline(&self) -> Duration {
        self.clock
            .elapsed()
            .saturating_add(self.settings.transaction_timeout)
    }

    /// Waits until nothing is in flight; false when the transaction's time is over before that.
    fn empty(&self) -> Result<bool, Failure> {
        let deadline = self.deadline();
        while self.native()?.in_flight_count() > 0 {
            if self.clock.elapsed() >= deadline {
                return Ok(false);
            }
            self.look()?;
        }
        Ok(true)
    }

    pub(super) fn drain(&mut self) -> Result<Vec<(i32, i64)>, Failure> {
        if !self.empty()? {
            self.suspect = true;
            let attempted = self.attempted("drain");
            return Err(Failure::new(attempted, "timed out", Remedy::Remake));
        }
        let native = self.native()?;
        let reports = std::mem::take(
            &mut *native
                .context()
                .reports
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let Some((code, topic)) = reports.failed else {
            return Ok(reports.highest.into_iter().collect());
        };
        // Records are purged when the producer dies of something else.
        let died = native.client().fatal_error().is_some() || fenced(code);
        let remedy = if died {
            Remedy::Remake
        } else {
            remedy(Call::Report, code)
        };
        self.suspect |= remedy == Remedy::Remake;
        Err(Failure {
            attempted: format!("delivery to {topic} by {}", self.id),
            code: said(Call::Report, code),
            remedy,
        })
    }

    pub(super) fn offsets(
        &mut self,
        offsets: &TopicPartitionList,
        metadata: &ConsumerGroupMetadata,
    ) -> Result<(), Failure> {
        let timeout = self.settings.transaction_timeout;
        self.transact(Call::Offsets, "send_offsets_to_transaction", |native| {
            native.send_offsets_to_transaction(offsets, metadata, timeout)
        })
    }

    pub(super) fn commit(&mut self) -> Result<(), Failure> {
        // Twice the time after which the broker itself gives the transaction up.
        let timeout = self.settings.transaction_timeout.saturating_mul(2);
        self.transact(Call::Commit, "commit_transaction", |native| {
            native.commit_transaction(timeout)
        })
    }

    pub(super) fn abort(&mut self) -> Result<(), Failure> {
        if self.suspect {
            // Its commit may have taken place, or a request of it may still be on its way: only the broker can end it now.
            return Err(Failure::new(
                self.attempted("abort_transaction"),
                "outcome unknown",
                Remedy::Remake,
            ));
        }
        // rdkafka does not poll inside `abort_transaction`, which waits for reports: serve them first.
        if !self.empty()? {
            self.suspect = true;
            let attempted = self.attempted("drain before abort_transaction");
            return Err(Failure::new(attempted, "timed out", Remedy::Remake));
        }
        let timeout = self.settings.transaction_timeout.saturating_mul(2);
        self.transact(Call::Abort, "abort_transaction", |native| {
            native.abort_transaction(timeout)
        })
    }

    /// One blocking call of the transaction; judges afterwards whether the producer may be used again.
    fn transact(
        &mut self,
        call: Call,
        name: &str,
        run: impl FnOnce(&Native) -> Result<(), KafkaError>,
    ) -> Result<(), Failure> {
        let native = self.native()?;
        let started = self.clock.elapsed();
        let outcome = run(native);
        let took = self.clock.elapsed().saturating_sub(started);
        // Error events wait in the queue until somebody looks.
        while native.in_flight_count() > 0 && !native.context().disturbed.load(Ordering::SeqCst) {
            let before = native.in_flight_count();
            native.poll(Duration::ZERO);
            if native.in_flight_count() >= before {
                break;
            }
        }
        native.poll(Duration::ZERO);
        let disturbed = native.context().disturbed.load(Ordering::SeqCst);
        let outcome = outcome.map_err(|error| failure(call, self.attempted(name), &error));
        let remade = matches!(&outcome, Err(failed) if failed.remedy == Remedy::Remake);
        // So slow that librdkafka must have repeated a request somewhere.
        let slow = took.saturating_mul(2) > self.settings.transaction_timeout;
        self.suspect |= disturbed || remade || slow;
        outcome
    }
}

impl Drop for Transactional {
    fn drop(&mut self) {
        if let Some(native) = self.native.take() {
            discard(native);
        }
    }
}

/// Drops a client in a thread of its own: it may wait for a broker that does not answer, and nobody needs it any more.
fn discard(native: Native) {
    let dropped = thread::Builder::new()
        .name("farewell".into())
        .spawn(move || drop(native));
    if let Err(error) = dropped {
        tracing::warn!(%error, "no thread to drop a producer in");
    }
}
