//! Throughput and latency of tidegate beside plain librdkafka, on one broker, interleaved in one run. `make bench` runs it.
//!
//! Ratios travel, absolutes do not: broker, load, reader and contender share one machine. Timings are reported and never asserted; the
//! correctness gate ([`gate`]) is, after every run.
//!
//! ```text
//! per round:  B0 read │ B2 copy │ tidegate drain ─► gate ─► state verify │ B0, B2 at 1 K/s, 10 K/s │ tidegate at 1 K/s, 10 K/s ─► gate
//! ```
//!
//! *Drain*: a backlog lies on the bus; a group's committed offsets are looked at from outside every 10 ms; events/s between the first
//! commit and the last. tidegate is started and knows its customers (their `identified` events were folded by an earlier start);
//! what the start itself takes is a figure of its own. *Latency*: [`latency`].

#![expect(clippy::print_stdout, reason = "the table is the output")]
#![expect(
    clippy::disallowed_methods,
    reason = "a stopwatch reads the clock, an open loop sleeps until the next event"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "small numbers of a harness; a wrong one ends it"
)]

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};

use bus::{Feeder, Group, Topics};
use contender::{App, Contender, Settings};
use latency::{Answer, Load};
use options::Options;
use table::{Report, Row, Who};
use workload::{Made, Shop, Stream};

mod bus;
mod contender;
mod gate;
mod latency;
mod measure;
mod memory;
mod options;
mod plain;
mod table;
mod workload;

#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Line {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// B0, in its own process
    #[command(hide = true)]
    PlainRead {
        bootstrap: String,
        inputs: String,
        records: u64,
    },
    /// B2, in its own process
    #[command(hide = true)]
    PlainCopy {
        bootstrap: String,
        group: String,
        inputs: String,
        output: String,
    },
}

fn main() -> Result<()> {
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let line = Line::parse();
    match line.part {
        Some(Part::PlainRead {
            bootstrap,
            inputs,
            records,
        }) => plain::read(&bootstrap, &list(&inputs), records),
        Some(Part::PlainCopy {
            bootstrap,
            group,
            inputs,
            output,
        }) => plain::copy(&bootstrap, &group, &list(&inputs), &output),
        None => {
            let mut options = line.options;
            if options.quick {
                options.runs = 2;
                options.events = options.events.min(200_000);
                options.known = options.known.min(50_000);
                options.seconds = options.seconds.min(10);
            }
            if options.memory {
                (options.known, options.events) = (1_000_000, 4_000_000);
                let budget = (options.budget_mib << 20).to_string();
                options
                    .set
                    .push(("state.memory_budget_bytes".into(), budget));
            }
            let bench = Bench::new(options)?;
            let report = if bench.options.memory {
                memory::run(&bench)
            } else {
                bench.run()
            };
            // Topics of a run that failed are in nobody's way, but large.
            bench.clean()?;
            let text = report?.to_string();
            println!("{text}");
            if let Some(out) = &bench.options.out {
                fs::write(out, text)?;
            }
            Ok(())
        }
    }
}

/// One run of the harness.
struct Bench {
    options: Options,
    topics: Topics,
    /// Beginning of every name on the bus.
    name: String,
    /// CPU of the broker is read there.
    broker_pid: u32,
    /// The known customers; then the backlog, one topic per stream.
    base: String,
    backlog: Vec<String>,
    files: Vec<PathBuf>,
}

const PATIENCE: Duration = Duration::from_secs(600);

impl Bench {
    fn new(options: Options) -> Result<Self> {
        let pid = fs::read_to_string(options.broker.join("pid"))
            .with_context(|| format!("no broker in {}", options.broker.display()))?;
        fs::create_dir_all(&options.directory)?;
        let name = format!("bench-{}", std::process::id());
        let topics = Topics::new(&options.bootstrap)?;
        // What an earlier run left behind when it was stopped.
        topics.delete(&topics.named("bench-")?)?;
        Ok(Self {
            topics,
            broker_pid: pid.trim().parse()?,
            base: format!("{name}-known"),
            backlog: inputs(&format!("{name}-backlog")),
            files: vec![
                options.directory.join("known.jsonl"),
                options.directory.join("backlog.jsonl"),
            ],
            name,
            options,
        })
    }

    fn clean(&self) -> Result<()> {
        self.topics.delete(&self.topics.named(&self.name)?)
    }

    fn wants(&self, part: &str) -> bool {
        !self.options.skip.iter().any(|skipped| skipped == part)
    }

    fn run(&self) -> Result<Report> {
        let mut report = Report::new(&self.options);
        self.preload()?;
        let expected = if self.wants("drain") {
            let app = self.app("replay")?;
            app.configure(&self.drain_inputs())?;
            say("replay of the backlog, for the gate");
            gate::expected(
                &app,
                &self.files,
                &self.options.directory.join("expected.jsonl"),
            )?
        } else {
            gate::Expected::default()
        };
        for round in 1..=self.options.runs {
            say(&format!("round {round} of {}", self.options.runs));
            if self.wants("read") {
                self.read(&mut report)?;
            }
            if self.wants("copy") {
                self.copy(round, &mut report)?;
            }
            if self.wants("drain") {
                self.drain(round, &expected, &mut report)?;
            }
            if self.wants("latency") {
                if self.wants("read") {
                    self.read_latency(round, &mut report)?;
                }
                if self.wants("copy") {
                    self.copy_latency(round, &mut report)?;
                }
                self.latency(round, Who::Ours, &mut report)?;
                if self.options.intake {
                    self.latency(round, Who::Intake, &mut report)?;
                }
            }
        }
        Ok(report)
    }

    fn app(&self, name: &str) -> Result<App> {
        let settings = Settings {
            workers: self.options.workers,
            set: self.options.set.clone(),
        };
        let name = format!("{}-{name}", self.name);
        App::new(
            &name,
            &self.options.tidegate,
            &self.options.bootstrap,
            &self.options.directory,
            &settings,
        )
    }

    /// The known customers and the backlog of half an hour that ends now, on the bus and in files.
    fn preload(&self) -> Result<()> {
        let options = &self.options;
        say(&format!(
            "{} known customers, {} events",
            options.known, options.events
        ));
        self.topics
            .create(&[std::slice::from_ref(&self.base), self.backlog.as_slice()].concat())?;
        let feeder = Feeder::new(&options.bootstrap, "20")?;
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let mut shop = Shop::new(options.seed, options.customers, "b");
        let mut made = Made::default();
        let mut bytes = 0;
        let [known, backlog] = [0, 1].map(|at: usize| File::create(&self.files[at]));
        let (mut known, mut backlog) = (BufWriter::new(known?), BufWriter::new(backlog?));
        let (hour, half) = (3_600_000, 1_800_000);
        for customer in 0..options.known {
            let at = now - hour + half * customer as i64 / options.known as i64;
            shop.identify(customer, at, &mut made);
            feeder.send(&self.base, &made.key, &made.json, at)?;
            writeln!(known, "{}", made.json)?;
        }
        for number in 0..options.events {
            let at = now - half + half * number as i64 / options.events as i64;
            let stream = shop.next(at, &mut made);
            feeder.send(&self.backlog[stream as usize], &made.key, &made.json, at)?;
            bytes += made.json.len();
            writeln!(backlog, "{}", made.json)?;
        }
        say(&format!(
            "{} bytes per event",
            bytes / options.events as usize
        ));
        known.flush()?;
        backlog.flush()?;
        feeder.flush()
    }

    fn drain_inputs(&self) -> Vec<(Stream, String)> {
        let mut all = vec![(Stream::Customers, self.base.clone())];
        all.extend(Stream::ALL.into_iter().zip(self.backlog.iter().cloned()));
        all
    }

    fn read(&self, report: &mut Report) -> Result<()> {
        let records = self.options.events;
        let (seconds, cpu) = Contender::read(&self.options.bootstrap, &self.backlog, records)?;
        report.add(Row::ReadDrain, records as f64 / seconds);
        report.add(Row::ReadCpu, cpu / records as f64 * 1e6);
        Ok(())
    }

    fn copy(&self, round: usize, report: &mut Report) -> Result<()> {
        let group = format!("{}-copy-{round}", self.name);
        let output = format!("{group}-out");
        self.topics.create(std::slice::from_ref(&output))?;
        let bootstrap = &self.options.bootstrap;
        let watch = Group::new(bootstrap, &group, &self.backlog)?;
        let mut copy = Contender::copy(bootstrap, &group, &self.backlog, &output)?;
        let drained = self.watch(&watch, 0, &mut copy)?;
        report.add(Row::CopyDrain, drained.rate);
        report.add(Row::CopyCpu, drained.cpu);
        report.add(Row::CopyBrokerCpu, drained.broker);
        drop(copy);
        self.topics.delete(&[output])
    }

    /// From the first commit beyond `done` records to the last.
    fn watch(&self, group: &Group, done: u64, contender: &mut Contender) -> Result<Drained> {
        let first = group.wait(done + 1, PATIENCE, &mut || contender.check())?;
        let before = (contender.cpu()?, measure::cpu_seconds(self.broker_pid)?);
        let last = group.wait(group.records, PATIENCE, &mut || contender.check())?;
        let after = (contender.cpu()?, measure::cpu_seconds(self.broker_pid)?);
        let records = (last.records - first.records) as f64;
        if records < group.records as f64 / 2.0 {
            bail!("drained before the first look: more --events are needed");
        }
        Ok(Drained {
            rate: records / (last.at - first.at).as_secs_f64(),
            cpu: (after.0 - before.0) / records * 1e6,
            broker: (after.1 - before.1) / records * 1e6,
            from_start: last.at - contender.started,
        })
    }

    fn drain(&self, round: usize, expected: &gate::Expected, report: &mut Report) -> Result<()> {
        let bootstrap = &self.options.bootstrap;
        let app = self.app(&format!("drain-{round}"))?;
        let known = self.learn(&app)?;
        app.configure(&self.drain_inputs())?;
        let topics = [std::slice::from_ref(&self.base), self.backlog.as_slice()].concat();
        let watch = Group::new(bootstrap, &app.name, &topics)?;
        let before = self.bytes(&app)?;
        let mut running = Contender::tidegate(&app)?;
        let drained = self.watch(&watch, known, &mut running)?;
        app.ready(&mut running)?;
        let after = self.bytes(&app)?;
        report.add(Row::Drain, drained.rate);
        report.add(
            Row::DrainFromStart,
            self.options.events as f64 / drained.from_start.as_secs_f64(),
        );
        report.add(Row::Cpu, drained.cpu);
        report.add(Row::BrokerCpu, drained.broker);
        report.add(Row::Peak, running.peak()? as f64 / f64::from(1 << 20));
        let rows = [
            Row::ChangelogBytes,
            Row::DecisionBytes,
            Row::ChannelBytes,
            Row::OffsetBytes,
        ];
        for ((row, before), after) in rows.into_iter().zip(before).zip(after) {
            report.add(row, (after - before) as f64 / self.options.events as f64);
        }
        running.stop()?;
        gate::check(bootstrap, &app, expected)?;
        app.command(&["state", "verify"])?;
        self.forget(&app)
    }

    /// Folds the known customers in a start of its own; how many records that were.
    fn learn(&self, app: &App) -> Result<u64> {
        app.configure(&[(Stream::Customers, self.base.clone())])?;
        // As an operator does; a broker that is busy shows new topics a moment later.
        app.command(&["topics", "apply"])?;
        let owned = self.topics.named(&app.name)?;
        Group::new(&self.options.bootstrap, &app.name, &owned)?;
        let mut learning = Contender::tidegate(app)?;
        app.ready(&mut learning)?;
        let watch = Group::new(
            &self.options.bootstrap,
            &app.name,
            std::slice::from_ref(&self.base),
        )?;
        watch.wait(watch.records, PATIENCE, &mut || learning.check())?;
        learning.stop()?;
        Ok(watch.records)
    }

    /// Bytes on the broker: changelog, decision log, channels with blocks, offsets with transaction states.
    fn bytes(&self, app: &App) -> Result<[u64; 4]> {
        let data = self.options.broker.join("data");
        let changelog = format!("{}-profiles-changelog", app.name);
        let decisions = app.decisions();
        let mut channels = app.channels();
        channels.push(format!("{}-blocks", app.name));
        Ok([
            measure::topic_bytes(&data, |topic| topic == changelog)?,
            measure::topic_bytes(&data, |topic| topic == decisions)?,
            measure::topic_bytes(&data, |topic| channels.iter().any(|name| name == topic))?,
            measure::topic_bytes(&data, |topic| {
                topic == "__consumer_offsets" || topic == "__transaction_state"
            })?,
        ])
    }

    fn forget(&self, app: &App) -> Result<()> {
        self.topics.delete(&self.topics.named(&app.name)?)?;
        Ok(fs::remove_dir_all(&app.directory)?)
    }

    /// Cores that the broker used since it had used so many seconds, when a load was played.
    fn cores(&self, before: f64) -> Result<f64> {
        let now = measure::cpu_seconds(self.broker_pid)?;
        Ok((now - before) / self.options.seconds as f64)
    }

    fn load(&self, rate: u64) -> Load {
        Load {
            seed: self.options.seed + rate,
            customers: self.options.customers,
            rate,
            seconds: self.options.seconds,
            warm_up: 3,
            scattered: false,
        }
    }

    /// What is left when nobody stands between: the input itself is read.
    fn read_latency(&self, round: usize, report: &mut Report) -> Result<()> {
        let live = inputs(&format!("{}-read-live-{round}", self.name));
        self.topics.create(&live)?;
        for &rate in &self.options.rates {
            let orders = &live[Stream::Purchases as usize];
            let load = self.load(rate);
            let broker = measure::cpu_seconds(self.broker_pid)?;
            let answers =
                latency::play(&self.options.bootstrap, &live, orders, Answer::Copy, load)?;
            report.answers(rate, Who::Nobody, &answers, [0.0, self.cores(broker)?]);
        }
        self.topics.delete(&live)
    }

    fn copy_latency(&self, round: usize, report: &mut Report) -> Result<()> {
        let (bootstrap, group) = (
            &self.options.bootstrap,
            format!("{}-copy-live-{round}", self.name),
        );
        let (live, output) = (inputs(&format!("{group}-in")), format!("{group}-out"));
        let all = [live.as_slice(), std::slice::from_ref(&output)].concat();
        self.topics.create(&all)?;
        let mut copy = Contender::copy(bootstrap, &group, &live, &output)?;
        for &rate in &self.options.rates {
            let (before, broker) = (copy.cpu()?, measure::cpu_seconds(self.broker_pid)?);
            let answers = latency::play(bootstrap, &live, &output, Answer::Copy, self.load(rate))?;
            copy.check()?;
            report.answers(
                rate,
                Who::Copy,
                &answers,
                [
                    (copy.cpu()? - before) / self.options.seconds as f64,
                    self.cores(broker)?,
                ],
            );
        }
        drop(copy);
        self.topics.delete(&all)
    }

    fn latency(&self, round: usize, who: Who, report: &mut Report) -> Result<()> {
        let bootstrap = &self.options.bootstrap;
        let app = self.app(&format!("live-{who:?}-{round}"))?;
        let live = inputs(&format!("{}-in", app.name));
        self.topics.create(&live)?;
        self.learn(&app)?;
        let known = (Stream::Customers, self.base.clone());
        let live_inputs = Stream::ALL.into_iter().zip(live.iter().cloned());
        let scattered = who == Who::Intake;
        if scattered {
            app.configure_with(&[known], &live_inputs.collect::<Vec<_>>())?;
        } else {
            app.configure(
                &std::iter::once(known)
                    .chain(live_inputs)
                    .collect::<Vec<_>>(),
            )?;
        }
        let mut running = Contender::tidegate(&app)?;
        let ready = app.ready(&mut running)?;
        if !scattered {
            report.add(Row::Ready, ready.as_secs_f64() * 1e3);
        }
        for &rate in &self.options.rates {
            let (email, before) = (app.channel("email"), running.cpu()?);
            let broker = measure::cpu_seconds(self.broker_pid)?;
            let load = Load {
                scattered,
                ..self.load(rate)
            };
            let answers = latency::play(bootstrap, &live, &email, Answer::Suppress, load)?;
            running.check()?;
            let cores = (running.cpu()? - before) / self.options.seconds as f64;
            report.answers(rate, who, &answers, [cores, self.cores(broker)?]);
        }
        running.stop()?;
        app.command(&["state", "verify"])?;
        self.forget(&app)
    }
}

struct Drained {
    rate: f64,
    /// CPU seconds per million events.
    cpu: f64,
    broker: f64,
    from_start: Duration,
}

/// One topic per stream.
fn inputs(prefix: &str) -> Vec<String> {
    Stream::ALL
        .iter()
        .map(|stream| format!("{prefix}-{}", stream.name()))
        .collect()
}

/// Progress, beside the table.
fn say(text: &str) {
    eprintln!("bench: {text}");
}
