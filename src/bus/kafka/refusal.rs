//! Why no broker answers: the client repairs connections by itself, and what it is asked meanwhile only fails as "transport".

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::Settings;
use crate::bus::{Failure, Remedy};

/// A refusal comes with the first connection; looks for it, and the pause between two.
const LOOKS: u32 = 30;
const PAUSE: Duration = Duration::from_millis(100);

/// What nobody mends by waiting: a password, a mechanism, a certificate.
const REFUSALS: [Code; 4] = [
    Code::Authentication,
    Code::SSL,
    Code::SaslAuthenticationFailed,
    Code::UnsupportedSASLMechanism,
];

/// Keeps the first refusal.
#[derive(Default)]
struct Listener(Mutex<Option<String>>);

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::log(level, facility, message);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if code.is_some_and(|code| REFUSALS.contains(&code)) {
            let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            told.get_or_insert_with(|| reason.to_owned());
        }
    }
}

impl ConsumerContext for Listener {}

/// `failed`, or what stands behind it when the brokers refuse us: by a client of its own, whose errors are listened to.
pub(super) fn behind(failed: Failure, settings: &Settings) -> Failure {
    if failed.remedy != Remedy::Retry {
        return failed;
    }
    let client: Result<BaseConsumer<Listener>, _> = BaseConsumer::from_config_and_context(
        &settings.asker("read_committed"),
        Listener::default(),
    );
    let Ok(client) = client else { return failed };
    for _ in 0..LOOKS {
        // Serves the client's events; a client that is assigned nothing gets no record.
        drop(client.poll(PAUSE));
        let told = client
            .context()
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(reason) = told {
            let attempted = format!("connect to {}", settings.bootstrap);
            let reason =
                format!("{reason}; look at kafka.properties (security.protocol, sasl.*, ssl.*)");
            return Failure::new(attempted, reason, Remedy::Fatal);
        }
    }
    failed
}
