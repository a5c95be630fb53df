//! The figures of all rounds, and the table that is made of them.

use std::collections::BTreeMap;
use std::fmt;

use crate::latency::Answers;
use crate::measure::{median, quantile};
use crate::options::{self, Options};

/// One figure of one contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Row {
    ReadDrain,
    ReadCpu,
    CopyDrain,
    CopyCpu,
    CopyBrokerCpu,
    Drain,
    DrainFromStart,
    Cpu,
    BrokerCpu,
    ChangelogBytes,
    DecisionBytes,
    ChannelBytes,
    OffsetBytes,
    Peak,
    Budget,
    Ready,
    /// Milliseconds: rate, per mille of the answers.
    Latency(u64, u32, Who),
    /// Cores in use: rate.
    Load(u64, Who),
    /// Cores in use by the broker: rate.
    BrokerLoad(u64, Who),
    /// Cores of the harness itself: rate.
    Harness(u64),
    /// By how much the generator was late at worst, ms.
    Late(u64),
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// B0: the input itself.
    Nobody,
    /// B2.
    Copy,
    /// tidegate.
    Ours,
    /// tidegate, whose inputs are keyed otherwise.
    Intake,
}

/// Percentiles of the table, in per mille.
const PERCENTILES: [u32; 3] = [500, 990, 999];

pub(crate) struct Report {
    options: Options,
    values: BTreeMap<Row, Vec<f64>>,
}

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            options: options.clone(),
            values: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, row: Row, value: f64) {
        super::say(&format!("{row:?} {value:.2}"));
        self.values.entry(row).or_default().push(value);
    }

    /// The answers of one run at one rate, and the cores that contender and broker used meanwhile.
    pub(crate) fn answers(
        &mut self,
        rate: u64,
        who: Who,
        answers: &Answers,
        [cores, broker]: [f64; 2],
    ) {
        for percentile in PERCENTILES {
            let share = f64::from(percentile) / 1_000.0;
            let value = quantile(&answers.millis, share);
            self.add(Row::Latency(rate, percentile, who), value);
        }
        self.add(Row::Load(rate, who), cores);
        self.add(Row::BrokerLoad(rate, who), broker);
        self.add(Row::Harness(rate), answers.cpu);
        self.add(Row::Late(rate), answers.late);
    }

    fn median(&self, row: Row) -> Option<f64> {
        self.values.get(&row).map(|values| median(values))
    }

    /// Median and, in brackets, the least and the greatest.
    fn shown(&self, row: Option<Row>) -> String {
        let Some(values) = row.and_then(|row| self.values.get(&row)) else {
            return "–".into();
        };
        let (least, greatest) = (quantile(values, 0.0), quantile(values, 1.0));
        format!(
            "{} ({}–{})",
            number(median(values)),
            number(least),
            number(greatest)
        )
    }

    fn line(
        &self,
        out: &mut fmt::Formatter<'_>,
        what: &str,
        [read, copy, ours]: [Option<Row>; 3],
    ) -> fmt::Result {
        let any = [read, copy, ours].into_iter().flatten();
        if !any.into_iter().any(|row| self.values.contains_key(&row)) {
            return Ok(());
        }
        let ratio = ours
            .and_then(|row| self.median(row))
            .zip(copy.and_then(|row| self.median(row)))
            .map_or_else(|| "–".into(), |(ours, copy)| format!("{:.2}", ours / copy));
        writeln!(
            out,
            "| {what} | {} | {} | {} | {ratio} |",
            self.shown(read),
            self.shown(copy),
            self.shown(ours)
        )
    }

    /// What is shown of one rate.
    fn latency(&self, out: &mut fmt::Formatter<'_>, rate: u64) -> fmt::Result {
        for percentile in PERCENTILES {
            let what = format!(
                "order appended → readable at {}/s, p{} ms",
                number(rate as f64),
                f64::from(percentile) / 10.0
            );
            let row = |who| Some(Row::Latency(rate, percentile, who));
            self.line(
                out,
                &what,
                [row(Who::Nobody), row(Who::Copy), row(Who::Ours)],
            )?;
            let what = format!("{what}, inputs of any key");
            self.line(out, &what, [None, None, row(Who::Intake)])?;
        }
        let what = format!("cores in use at {}/s, process", number(rate as f64));
        let row = |who| Some(Row::Load(rate, who));
        self.line(out, &what, [None, row(Who::Copy), row(Who::Ours)])?;
        let any = format!("{what}, inputs of any key");
        self.line(out, &any, [None, None, row(Who::Intake)])?;
        let what = format!("cores in use at {}/s, broker", number(rate as f64));
        let row = |who| Some(Row::BrokerLoad(rate, who));
        self.line(
            out,
            &what,
            [row(Who::Nobody), row(Who::Copy), row(Who::Ours)],
        )?;
        let any = format!("{what}, inputs of any key");
        self.line(out, &any, [None, None, row(Who::Intake)])?;
        Ok(())
    }
}

/// Three digits that matter, thousands apart.
fn number(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else if value < 1_000.0 {
        format!("{value:.1}")
    } else {
        let whole = format!("{value:.0}");
        let mut text = String::new();
        for (at, digit) in whole.chars().enumerate() {
            if at > 0 && (whole.len() - at) % 3 == 0 {
                text.push(',');
            }
            text.push(digit);
        }
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        let runs = if options.memory {
            "one run, whose store equalled its changelog afterwards".to_owned()
        } else {
            format!(
                "median of {} (least–greatest). B0 reads; B2 copies in transactions of at most 2,000 records or 10 ms; every figure of \
                 tidegate has passed the correctness gate",
                options.runs
            )
        };
        writeln!(
            out,
            "Workload profile-fold v1, seed {}: {} events of {} customers, {} of them known; {runs}.\n",
            options.seed, options.events, options.customers, options.known
        )?;
        writeln!(out, "| figure | B0 | B2 | tidegate | tidegate ÷ B2 |")?;
        writeln!(out, "|---|---|---|---|---|")?;
        let ours = |row| [None, None, Some(row)];
        self.line(
            out,
            "drain, events/s",
            [Some(Row::ReadDrain), Some(Row::CopyDrain), Some(Row::Drain)],
        )?;
        self.line(
            out,
            "drain with the start, events/s",
            ours(Row::DrainFromStart),
        )?;
        self.line(
            out,
            "CPU-s per million events, process",
            [Some(Row::ReadCpu), Some(Row::CopyCpu), Some(Row::Cpu)],
        )?;
        self.line(
            out,
            "CPU-s per million events, broker",
            [None, Some(Row::CopyBrokerCpu), Some(Row::BrokerCpu)],
        )?;
        for &rate in &options.rates {
            self.latency(out, rate)?;
        }
        self.line(out, "bytes per event: changelog", ours(Row::ChangelogBytes))?;
        self.line(
            out,
            "bytes per event: decision log",
            ours(Row::DecisionBytes),
        )?;
        self.line(
            out,
            "bytes per event: channels, blocks",
            ours(Row::ChannelBytes),
        )?;
        self.line(
            out,
            "bytes per event: offsets, transactions",
            ours(Row::OffsetBytes),
        )?;
        self.line(out, "peak resident size, MiB", ours(Row::Peak))?;
        self.line(out, "configured memory budget, MiB", ours(Row::Budget))?;
        self.line(out, "start → ready, warm store, ms", ours(Row::Ready))?;
        for &rate in &options.rates {
            let (harness, late) = (Row::Harness(rate), Row::Late(rate));
            let shown = (self.shown(Some(harness)), self.shown(Some(late)));
            if self.values.contains_key(&harness) {
                writeln!(
                    out,
                    "\nAt {}/s generator and reader used {} cores; the generator was late by {} ms at worst (charged to the contender).",
                    number(rate as f64),
                    shown.0,
                    shown.1
                )?;
            }
        }
        writeln!(out, "\nMade by `benches/run {}`.", options::given())
    }
}
