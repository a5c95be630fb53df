//! Every metric, declared once: name, unit, labels and what it means. Dashboards, alerts and the README are checked against this table.

use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only ever up, until the process or the partition goes away.
    Counter,
    /// Up and down.
    Gauge,
    /// Counted into [`BUCKETS`].
    Histogram,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// As Prometheus sees it, prefix and unit included.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What one of it is.
    pub unit: &'static str,
    /// Label names. Their values are numbers of partitions and workers, names from the configuration, or closed sets; never a customer's.
    pub labels: &'static [&'static str],
    /// What it means, in one sentence.
    pub help: &'static str,
}

/// Upper bounds of every histogram, in seconds: half a millisecond to half a minute.
pub const BUCKETS: [f64; 16] = [
    0.000_5, 0.001, 0.002, 0.003, 0.005, 0.007_5, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
    10.0, 30.0,
];

type Counter = IntCounterVec;
type Gauge = GaugeVec;
type Histogram = HistogramVec;

/// Makes one metric of each kind and registers it.
trait Family: Sized {
    fn register(metric: &Metric, registry: &Registry) -> Result<Self, prometheus::Error>;
}

impl Family for Counter {
    fn register(metric: &Metric, registry: &Registry) -> Result<Self, prometheus::Error> {
        let family = Self::new(Opts::new(metric.name, metric.help), metric.labels)?;
        registry.register(Box::new(family.clone()))?;
        Ok(family)
    }
}

impl Family for Gauge {
    fn register(metric: &Metric, registry: &Registry) -> Result<Self, prometheus::Error> {
        let family = Self::new(Opts::new(metric.name, metric.help), metric.labels)?;
        registry.register(Box::new(family.clone()))?;
        Ok(family)
    }
}

impl Family for Histogram {
    fn register(metric: &Metric, registry: &Registry) -> Result<Self, prometheus::Error> {
        let options = HistogramOpts::new(metric.name, metric.help).buckets(BUCKETS.to_vec());
        let family = Self::new(options, metric.labels)?;
        registry.register(Box::new(family.clone()))?;
        Ok(family)
    }
}

macro_rules! metrics {
    ($($field:ident: $kind:ident $name:literal, $unit:literal, [$($label:literal),*], $help:literal;)*) => {
        /// The table, in the order in which the README shows it.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: concat!("tidegate_", $name),
            kind: Kind::$kind,
            unit: $unit,
            labels: &[$($label),*],
            help: $help,
        }),*];

        /// One typed handle per line of the table.
        pub(super) struct Families { $(pub(super) $field: $kind,)* }

        impl Families {
            /// Registers the whole table.
            pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
                let mut table = METRICS.iter();
                let mut next = || table.next().ok_or_else(|| prometheus::Error::Msg("the table ended early".to_owned()));
                Ok(Self { $($field: <$kind as Family>::register(next()?, registry)?,)* })
            }
        }
    };
}

metrics! {
    records_consumed: Counter "records_consumed_total", "records", ["topic", "partition"],
        "Input records whose transaction is committed.";
    events: Counter "events_total", "events", ["stream", "type", "outcome"],
        "Decoded events by what became of them: folded, duplicate, unattributed, or dropped because the customer was erased after it.";
    records_dead_lettered: Counter "records_dead_lettered_total", "records", ["topic", "code"],
        "Input records that went to the dead letters, by the error's code.";
    records_left: Counter "records_left_total", "records", ["topic", "why"],
        "Input records that are no events of ours, as the configuration says: filtered, or ignored by a mapping.";
    events_unconverted: Counter "events_unconverted_total", "events", ["topic"],
        "Folded events with money in a currency that `shop.rates` does not hold: it counts in no condition and no sum.";
    records_produced: Counter "records_produced_total", "records", ["topic"],
        "Records committed to our own topics, changelog and decision log included.";
    verdicts: Counter "verdicts_total", "verdicts", ["kind", "flow", "channel", "reason"],
        "Lines of the decision log, the silent ones included; test customers are not counted.";
    event_to_output: Histogram "event_to_output_seconds", "seconds", [],
        "From the timestamp of an input record that led to a suppression until the commit of its transaction.";
    transactions: Counter "transactions_total", "transactions", ["outcome"],
        "Transactions by outcome: committed, aborted, fenced (we are no member any more), or unknown (resolved from the changelog).";
    transaction_duration: Histogram "transaction_duration_seconds", "seconds", [],
        "From begin until the commit returned.";
    commit_duration: Histogram "commit_duration_seconds", "seconds", [],
        "What one batch waits for to be durable: rendering it, its transaction, writing the store.";
    last_commit: Gauge "last_commit_timestamp_seconds", "seconds since 1970", ["partition"],
        "When the position of this partition was last committed.";
    producers_remade: Counter "producers_remade_total", "producers", ["why"],
        "Producers dropped and made anew: unknown outcome, suspect, or fenced.";
    rebalances: Counter "rebalances_total", "rebalances", ["kind"],
        "Answers to the group: assigned, revoked, or lost.";
    assigned_partitions: Gauge "assigned_partitions", "partitions", ["worker"],
        "Partition numbers that this worker owns.";
    consumer_lag_records: Gauge "consumer_lag_records", "records", ["topic", "partition"],
        "Records between our position and the end of the partition.";
    consumer_lag_seconds: Gauge "consumer_lag_seconds", "seconds", ["partition"],
        "Age of the last record read while there are more; 0 when the inputs are drained.";
    tasks: Gauge "tasks", "tasks", ["worker", "state"],
        "Tasks by state: restoring, running, behind, or poisoned.";
    held: Gauge "hand_overs_held_seconds", "seconds", ["partition"],
        "For how long this task has handed nothing over because an input was not read to its end.";
    restore_records: Counter "restore_records_total", "records", [],
        "Changelog records read back into stores.";
    restore_remaining: Gauge "restore_remaining_records", "records", ["partition"],
        "Changelog records still to be read before this task runs.";
    restore_duration: Histogram "restore_duration_seconds", "seconds", [],
        "From the assignment of a task until it ran.";
    stores_rebuilt: Counter "stores_rebuilt_total", "stores", ["why"],
        "Stores that could not be used and were built anew from the changelog.";
    state_bytes: Gauge "state_bytes", "bytes", ["partition"],
        "Size of the task's store on disk.";
    state_read_only: Gauge "state_read_only", "0 or 1", ["partition"],
        "1 when the disk refused a write; the process exits with code 74.";
    cache_lookups: Counter "profile_cache_lookups_total", "look-ups", ["result"],
        "Profiles found (hit) or not found (miss) in the cache of decoded profiles.";
    clock_skew: Gauge "clock_skew_seconds", "seconds", ["partition"],
        "How far the newest input record is stamped ahead of our clock; 0 when it is not.";
    log_lines: Counter "log_lines_total", "lines", ["target", "level"],
        "Log lines of warning level and above; target is ours or the Kafka client's.";
    registry_requests: Counter "registry_requests_total", "requests", ["outcome"],
        "Questions to the schema registry by outcome: answered, not_found, or failed (asked again until it answers).";
    inputs_waiting: Gauge "inputs_waiting_for_schema", "0 or 1", ["topic", "partition"],
        "1 while an input partition stands still before a record whose schema the registry has not told yet.";
    reloads: Counter "reloads_total", "reloads", ["outcome"],
        "Changed flow and policy files by outcome: taken (counted by each worker), or refused because something in them is wrong.";
    reload_failed: Gauge "reload_failed", "0 or 1", [],
        "1 while changed flow or policy files are wrong and the old ones stay in force.";
    build_info: Gauge "build_info", "1", ["version"],
        "Always 1; the label tells the version.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_their_unit_and_no_label_can_name_a_customer() {
        for metric in METRICS {
            assert_eq!(
                metric.kind == Kind::Counter,
                metric.name.ends_with("_total"),
                "{}",
                metric.name
            );
            if metric.kind == Kind::Histogram {
                assert!(
                    metric.name.ends_with("_seconds") && metric.unit == "seconds",
                    "{}",
                    metric.name
                );
            }
            for label in metric.labels {
                assert!(
                    [
                        "topic",
                        "partition",
                        "stream",
                        "type",
                        "outcome",
                        "code",
                        "kind",
                        "flow",
                        "channel",
                        "reason",
                        "why",
                        "worker",
                        "state",
                        "result",
                        "target",
                        "level",
                        "version"
                    ]
                    .contains(label),
                    "{label}"
                );
            }
        }
    }

    const DASHBOARD: &str = include_str!("../../deploy/dashboards/tidegate.json");
    const RULES: &str = include_str!("../../deploy/alerts/tidegate.rules.yaml");
    const RULE_TESTS: &str = include_str!("../../deploy/alerts/tidegate.test.yaml");

    /// Words that look like one of our metrics, as declared (without the suffixes of a histogram's series).
    fn metrics_named_in(text: &str) -> Vec<&str> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("tidegate_"))
            .map(|word| {
                ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|suffix| word.strip_suffix(suffix))
                    .unwrap_or(word)
            })
            .collect()
    }

    #[test]
    fn dashboard_and_alerts_name_only_metrics_that_exist() {
        for text in [DASHBOARD, RULES, RULE_TESTS] {
            let names = metrics_named_in(text);
            assert!(!names.is_empty());
            for name in names {
                assert!(METRICS.iter().any(|metric| metric.name == name), "{name}");
            }
        }
    }

    #[test]
    fn every_metric_is_on_the_dashboard_and_every_alert_has_a_test() {
        let shown = metrics_named_in(DASHBOARD);
        for metric in METRICS {
            assert!(shown.contains(&metric.name), "{}", metric.name);
        }
        for line in RULES.lines() {
            if let Some(alert) = line.trim().strip_prefix("- alert: ") {
                assert!(
                    RULE_TESTS.contains(&format!("alertname: {alert}")),
                    "{alert}"
                );
            }
        }
    }
}
