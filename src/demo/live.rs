//! Puts the demo together: embedded broker, real worker, street, view; and takes it apart again.

use std::io::{self, IsTerminal, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::narrator::Narrator;
use super::senders::Senders;
use super::setting::{Setting, SettingError};
use super::shop::Shop;
use super::street::{Note, Street};
use super::terminal::Screen;
use super::view::{self, Board};
use super::{Args, backstage, summary};
use crate::bus::Failure;
use crate::bus::kafka::mock::EmbeddedBroker;
use crate::bus::kafka::plain::{Listener, Publisher};
use crate::clock::{Clock, SystemClock};
use crate::http::{self, HttpError, Server};
use crate::telemetry::Telemetry;
use crate::value::Span;
use crate::worker::Halt;

/// Between two pictures.
const FRAME: Duration = Duration::from_millis(100);
/// At the end the decisions on the last purchases are waited for, at most that long.
const SEEING_OUT: Duration = Duration::from_secs(1);
/// The embedded broker lets a new group wait three seconds for more members; much more than that is a fault.
const OPENING: Duration = Duration::from_secs(30);

/// Why the demo ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// What is built in is wrong.
    #[error("what the demo plays is wrong")]
    Setting(#[from] SettingError),
    /// What is built in cannot be read.
    #[error(transparent)]
    Input(#[from] crate::plan::InputError),
    /// The embedded broker, or a client of it.
    #[error("the embedded broker refuses")]
    Bus(#[from] Failure),
    /// The worker stopped.
    #[error("the worker stopped")]
    Worker(#[source] Halt),
    /// No partition was given to the worker in time.
    #[error("the worker was not ready within {} s", OPENING.as_secs())]
    NotReady,
    /// Metrics cannot be served.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The terminal or pipe.
    #[error("cannot write the picture")]
    Output(#[from] io::Error),
    /// A thread panicked.
    #[error("the {0} thread panicked")]
    Panicked(&'static str),
}

/// Plays until the time is over, until Ctrl-C, or until whoever reads the output has seen enough. Results go to `output`, except for
/// the picture, which goes to the terminal when standard output is one.
///
/// # Errors
/// When a part refuses; the terminal is as before.
pub fn run(args: &Args, output: &mut dyn Write) -> Result<(), DemoError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let broker = EmbeddedBroker::start()?;
    let bootstrap = broker.bootstrap();
    let setting = Setting::new(&bootstrap)?;
    for topic in setting.topics() {
        broker.create_topic(&topic, setting.config.topics.partitions)?;
    }
    let telemetry = Telemetry::new(&setting.config.app.id, &setting.config.app.instance);
    let now = Arc::clone(&clock);
    let settings = http::Settings {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        stuck_after: Span::from_secs(10),
        now: Arc::new(move || now.wall()),
        customers: None,
    };
    let server = Server::start(settings, Arc::clone(&telemetry))?;
    let (tell, told) = mpsc::channel();
    interrupts(tell.clone());
    let stop = Arc::new(AtomicBool::new(false));
    let worker = backstage::start(&setting, &bootstrap, &clock, &telemetry, &stop)?;
    let mut play = Play {
        args,
        clock,
        telemetry,
        bootstrap,
        metrics: format!("http://{}/metrics", server.address()),
        told,
        stop,
        narrator: Narrator::default(),
        open_carts: 0,
        pace: vec![0],
        begun: Duration::ZERO,
    };
    let played = play.whole(&setting, &tell, output, &worker);
    play.stop.store(true, Ordering::Relaxed);
    let worked = worker.join().map_err(|_| DemoError::Panicked("worker"))?;
    // Its own failure explains what else went wrong.
    worked.and(played)
}

/// Ctrl-C and SIGTERM become a note. The thread ends with the process.
fn interrupts(tell: Sender<Note>) {
    let wait = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        runtime.block_on(async {
            let mut terminate =
                tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            tokio::select! {
                done = tokio::signal::ctrl_c() => done,
                _ = terminate.recv() => Ok(()),
            }
        })?;
        drop(tell.send(Note::Enough));
        Ok(())
    };
    thread::spawn(move || {
        let waited: io::Result<()> = wait();
        if let Err(error) = waited {
            tracing::warn!(%error, "Ctrl-C will end the demo the hard way");
        }
    });
}

struct Play<'a> {
    args: &'a Args,
    clock: Arc<dyn Clock>,
    telemetry: Arc<Telemetry>,
    bootstrap: String,
    metrics: String,
    told: Receiver<Note>,
    stop: Arc<AtomicBool>,
    narrator: Narrator,
    open_carts: u64,
    /// Events in each of the last seconds.
    pace: Vec<u64>,
    begun: Duration,
}

type WorkerThread = JoinHandle<Result<(), DemoError>>;

impl Play<'_> {
    fn whole(
        &mut self,
        setting: &Setting,
        tell: &Sender<Note>,
        output: &mut dyn Write,
        worker: &WorkerThread,
    ) -> Result<(), DemoError> {
        let topic = setting
            .channel_topics()
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        writeln!(output, "broker   {} (embedded)", self.bootstrap)?;
        writeln!(output, "metrics  {}", self.metrics)?;
        writeln!(
            output,
            "read     kcat -b {} -C -t {topic} -q",
            self.bootstrap
        )?;
        writeln!(
            output,
            "the worker joins its group; the shop opens in a few seconds"
        )?;
        output.flush()?;
        if !self.wait_until_ready(worker)? {
            return Ok(());
        }
        self.begun = self.clock.elapsed();
        let street = self.street(setting, tell)?;
        let stop = Arc::clone(&self.stop);
        let street = thread::Builder::new()
            .name("street".to_owned())
            .spawn(move || street.play(&stop))?;
        let told = if io::stdout().is_terminal() {
            self.on_screen(&topic, worker, &street)
        } else {
            self.in_lines(output, worker, &street)
        };
        let elapsed = self.clock.elapsed().saturating_sub(self.begun);
        self.stop.store(true, Ordering::Relaxed);
        street.join().map_err(|_| DemoError::Panicked("street"))??;
        told?;
        let text = summary::text(&self.narrator.figures, self.open_carts, elapsed);
        output.write_all(text.as_bytes())?;
        Ok(())
    }

    fn street(&self, setting: &Setting, tell: &Sender<Note>) -> Result<Street, DemoError> {
        let log = setting.internal("decisions");
        let partitions = setting.config.topics.partitions;
        let channels = setting.channel_topics();
        let heard = channels
            .iter()
            .map(|topic| &**topic)
            .chain([log.as_str()])
            .map(|topic| (topic, partitions));
        Ok(Street {
            shop: Shop::new(self.args.seed, self.args.rate, self.clock.wall()),
            senders: Senders::new(self.args.seed ^ 1),
            publisher: Publisher::new(&self.bootstrap)?,
            listener: Listener::open(&self.bootstrap, heard)?,
            clock: Arc::clone(&self.clock),
            view: tell.clone(),
        })
    }

    /// Waits until the worker reads. `false`: somebody wants it to end.
    fn wait_until_ready(&mut self, worker: &WorkerThread) -> Result<bool, DemoError> {
        loop {
            let status = self.telemetry.status(self.clock.wall());
            let reads = status.workers.iter().any(|worker| !worker.tasks.is_empty());
            if reads && status.not_ready().is_empty() {
                return Ok(true);
            }
            if worker.is_finished() {
                return Ok(false);
            }
            if self.clock.elapsed() > OPENING {
                return Err(DemoError::NotReady);
            }
            match self.told.recv_timeout(Duration::from_millis(20)) {
                Ok(Note::Enough) => return Ok(false),
                Ok(Note::Published { .. } | Note::Read { .. } | Note::OpenCarts(_))
                | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }

    fn on_screen(
        &mut self,
        topic: &str,
        worker: &WorkerThread,
        street: &JoinHandle<Result<(), Failure>>,
    ) -> Result<(), DemoError> {
        let mut screen = Screen::open()?;
        let mut more = true;
        while more {
            more = self.listen() && !worker.is_finished() && !street.is_finished();
            let elapsed = self.clock.elapsed();
            let board = Board {
                narrator: &self.narrator,
                elapsed: elapsed.saturating_sub(self.begun),
                limit: self.limit(),
                open_carts: self.open_carts,
                pace: &self.pace,
                bootstrap: &self.bootstrap,
                topic,
            };
            let size = screen.size(elapsed);
            screen.draw(&view::frame(&board, size))?;
        }
        self.see_out();
        Ok(())
    }

    fn in_lines(
        &mut self,
        output: &mut dyn Write,
        worker: &WorkerThread,
        street: &JoinHandle<Result<(), Failure>>,
    ) -> Result<(), DemoError> {
        let mut more = true;
        while more {
            more = self.listen() && !worker.is_finished() && !street.is_finished();
            for line in self.narrator.take_lines() {
                writeln!(output, "{}", view::plain(&line))?;
            }
            output.flush()?;
        }
        self.see_out();
        for line in self.narrator.take_lines() {
            writeln!(output, "{}", view::plain(&line))?;
        }
        writeln!(output)?;
        Ok(())
    }

    /// The last purchases are not cut off in the middle: what they caused is read, and no more counted that is published meanwhile.
    fn see_out(&mut self) {
        let last = self.clock.elapsed() + SEEING_OUT;
        loop {
            let elapsed = self.clock.elapsed();
            self.narrator.tick(self.clock.wall(), elapsed);
            if self.narrator.awaited() == 0 || elapsed >= last {
                return;
            }
            match self.told.recv_timeout(FRAME) {
                Ok(Note::Read {
                    seen,
                    on_stage,
                    at,
                    elapsed,
                }) if self.narrator.awaits(&seen.event_id) => {
                    self.narrator.read(&seen, on_stage, at, elapsed);
                }
                Ok(
                    Note::Read { .. } | Note::Published { .. } | Note::OpenCarts(_) | Note::Enough,
                )
                | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn limit(&self) -> Option<Duration> {
        self.args.seconds.map(Duration::from_secs)
    }

    /// Takes in what is told until the next picture is due. `false`: it is over.
    fn listen(&mut self) -> bool {
        let frame_at = self.clock.elapsed() + FRAME;
        loop {
            let elapsed = self.clock.elapsed();
            let played = elapsed.saturating_sub(self.begun);
            if self.limit().is_some_and(|limit| played >= limit) {
                return false;
            }
            if elapsed >= frame_at {
                self.narrator.tick(self.clock.wall(), elapsed);
                return true;
            }
            match self.told.recv_timeout(frame_at.saturating_sub(elapsed)) {
                Ok(Note::Published {
                    event_id,
                    fact,
                    on_stage,
                    at,
                    elapsed,
                }) => {
                    self.count_pace(played);
                    self.narrator
                        .published(&event_id, fact, on_stage, at, elapsed);
                }
                Ok(Note::Read {
                    seen,
                    on_stage,
                    at,
                    elapsed,
                }) => {
                    self.narrator.read(&seen, on_stage, at, elapsed);
                }
                Ok(Note::OpenCarts(count)) => self.open_carts = count,
                Ok(Note::Enough) | Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// One more event in the second that runs.
    fn count_pace(&mut self, played: Duration) {
        let second = usize::try_from(played.as_secs()).unwrap_or(usize::MAX);
        while self.pace.len() <= second && self.pace.len() < usize::MAX {
            self.pace.push(0);
        }
        if let Some(count) = self.pace.last_mut() {
            *count += 1;
        }
    }
}
