//! Structured logs through `tracing`, to standard error: lines for people, or JSON for machines.
//!
//! ERROR: someone must act. WARN: recovered, nothing lost. INFO: life-cycle. DEBUG: per batch. TRACE: per record. The Kafka client
//! speaks under the target [`CLIENT`].

use std::io;
use std::sync::Arc;

use serde::Deserialize;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::Telemetry;

/// Target of what librdkafka says.
pub const CLIENT: &str = "librdkafka";

/// Our life-cycle, and of the client only what is worth a look.
pub const DEFAULT_FILTER: &str = "info,librdkafka=warn";

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("the log filter is not a list such as `info,librdkafka=warn`")]
    Filter(#[source] ParseError),
    /// Somebody set up logging before.
    #[error("logging is set up already")]
    Twice(#[source] TryInitError),
}

/// Sets up logging for the whole process: `filter` as in `info,tidegate::task=debug,librdkafka=warn`. Lines of warning level and
/// above are counted in `telemetry`, when there is one.
///
/// # Errors
/// When the filter does not parse, or logging is set up already.
pub fn init(
    format: LogFormat,
    filter: &str,
    telemetry: Option<Arc<Telemetry>>,
) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(filter).map_err(LogError::Filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let registry = tracing_subscriber::registry()
        .with(filter)
        .with(telemetry.map(Count));
    match format {
        LogFormat::Text => registry.with(lines.with_ansi(false)).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    }
    .map_err(LogError::Twice)
}

/// Counts lines of warning level and above.
struct Count(Arc<Telemetry>);

impl<S: Subscriber> Layer<S> for Count {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let level = match *metadata.level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            _ => return,
        };
        let target = if metadata.target().starts_with(CLIENT) {
            CLIENT
        } else {
            "tidegate"
        };
        self.0
            .families
            .log_lines
            .with_label_values(&[target, level])
            .inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_counted_by_who_speaks() {
        let telemetry = Telemetry::new("shop", "one");
        let subscriber = tracing_subscriber::registry().with(Count(Arc::clone(&telemetry)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: CLIENT, "broker down");
            tracing::error!("disk full");
            tracing::info!("started");
        });
        let text = telemetry.render().unwrap();
        for line in [
            "tidegate_log_lines_total{level=\"warn\",target=\"librdkafka\"} 1",
            "tidegate_log_lines_total{level=\"error\",target=\"tidegate\"} 1",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(!text.contains("level=\"info\""));
    }
}
