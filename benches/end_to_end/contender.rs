//! The processes that are measured.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use crate::bus::PARTITIONS;
use crate::measure;
use crate::workload::Stream;

/// A running contender; ended with the value.
pub(crate) struct Contender {
    child: Child,
    pub(crate) started: Instant,
    log: Option<PathBuf>,
}

impl Drop for Contender {
    fn drop(&mut self) {
        // Already gone is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Contender {
    /// B2, as this very program with other arguments. Returns once its producers are ready.
    pub(crate) fn copy(
        bootstrap: &str,
        group: &str,
        inputs: &[String],
        output: &str,
    ) -> Result<Self> {
        let started = Instant::now();
        let mut child = Command::new(std::env::current_exe()?)
            .args(["plain-copy", bootstrap, group, &inputs.join(","), output])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let this = Self {
            child,
            started,
            log: None,
        };
        if line.trim() != "started" {
            bail!("B2 did not start");
        }
        Ok(this)
    }

    /// B0, to its end: seconds between its first and last record, and CPU seconds.
    pub(crate) fn read(bootstrap: &str, inputs: &[String], records: u64) -> Result<(f64, f64)> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([
                "plain-read",
                bootstrap,
                &inputs.join(","),
                &records.to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let mut fields = line.split_whitespace().map(str::parse::<f64>);
        let (Some(Ok(seconds)), Some(Ok(cpu))) = (fields.next(), fields.next()) else {
            bail!("B0 did not finish");
        };
        child.wait()?;
        Ok((seconds, cpu))
    }

    /// `tidegate run`.
    pub(crate) fn tidegate(shop: &App) -> Result<Self> {
        let log = shop.directory.join("log");
        let file = File::options().create(true).append(true).open(&log)?;
        let started = Instant::now();
        let child = Command::new(&shop.binary)
            .args(["run", "--config"])
            .arg(&shop.config)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| {
                format!(
                    "{}: build it first (make bench does)",
                    shop.binary.display()
                )
            })?;
        Ok(Self {
            child,
            started,
            log: Some(log),
        })
    }

    pub(crate) fn cpu(&self) -> Result<f64> {
        measure::cpu_seconds(self.child.id())
    }

    pub(crate) fn peak(&self) -> Result<u64> {
        measure::peak_bytes(self.child.id())
    }

    /// Fails, with the end of its log, when the process has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else {
            return Ok(());
        };
        let log = self.log.as_ref().map(fs::read_to_string).transpose()?;
        let log = log.unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(20).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        bail!("the contender ended with {status}:\n{}", tail.join("\n"));
    }

    /// Ends tidegate as an operator does, and waits for it.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.check()?;
        let asked = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()?;
        let ended = self.child.wait()?;
        if !asked.success() || !ended.success() {
            bail!("tidegate ended with {ended} on SIGTERM");
        }
        Ok(())
    }
}

/// One application of tidegate: a name on the bus, a configuration, a state directory.
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    pub(crate) config: PathBuf,
    binary: PathBuf,
    bootstrap: String,
    port: u16,
    settings: Settings,
}

/// What may be set from outside.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) workers: Option<usize>,
    /// `--set` of the harness: `commit.max_records=500`.
    pub(crate) set: Vec<(String, String)>,
}

impl App {
    pub(crate) fn new(
        name: &str,
        binary: &Path,
        bootstrap: &str,
        directory: &Path,
        settings: &Settings,
    ) -> Result<Self> {
        let directory = directory.join(name);
        fs::create_dir_all(&directory)?;
        // Free now; nobody else asks for ports between here and the start.
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        Ok(Self {
            name: name.to_owned(),
            config: directory.join("tidegate.json"),
            directory,
            binary: binary.to_owned(),
            bootstrap: bootstrap.to_owned(),
            port,
            settings: settings.clone(),
        })
    }

    /// Writes the configuration with these inputs, read directly, in place of the one before.
    pub(crate) fn configure(&self, inputs: &[(Stream, String)]) -> Result<()> {
        self.configure_with(inputs, &[])
    }

    /// The same, with some that go through intake.
    pub(crate) fn configure_with(
        &self,
        direct: &[(Stream, String)],
        intake: &[(Stream, String)],
    ) -> Result<()> {
        let flows = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/flows");
        let reports = [
            "accepted",
            "sent",
            "delivered",
            "opened",
            "clicked",
            "bounced",
            "failed",
            "expired",
            "cancelled",
            "unsubscribed",
            "complained",
        ];
        let channel = |name: &str| {
            json!({
                "topic": self.channel(name), "expose": ["address", "cart", "products", "last_order"], "reports": reports,
            })
        };
        let keyed = |key: &'static str| move |(stream, topic): &(Stream, String)| json!({"stream": stream.name(), "topic": topic, "key": key});
        let inputs: Vec<_> = (direct.iter().map(keyed("customer_id")))
            .chain(intake.iter().map(keyed("any")))
            .collect();
        let mut config = json!({
            "app": {"id": self.name, "instance": "bench", "state_dir": self.directory.join("state")},
            "kafka": {"bootstrap": self.bootstrap},
            "shop": {"currency": "EUR", "time_zone": "Europe/Berlin"},
            "identity": {"address_key": "known to whoever reads this"},
            "inputs": inputs,
            "channels": {"email": channel("email"), "push": channel("push"), "sms": channel("sms")},
            "control_group": "0%",
            "flows": flows,
            "topics": {"create": true, "partitions": PARTITIONS, "replication_factor": 1, "min_insync_replicas": 1},
            "http": {"listen": format!("127.0.0.1:{}", self.port)},
        });
        if let Some(workers) = self.settings.workers {
            config["app"]["workers"] = json!(workers);
        }
        for (path, value) in &self.settings.set {
            let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
            *path
                .split('.')
                .fold(&mut config, |node, part| &mut node[part]) = value;
        }
        Ok(fs::write(
            &self.config,
            serde_json::to_vec_pretty(&config)?,
        )?)
    }

    pub(crate) fn channel(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    pub(crate) fn channels(&self) -> Vec<String> {
        ["email", "push", "sms"]
            .iter()
            .map(|name| self.channel(name))
            .collect()
    }

    pub(crate) fn decisions(&self) -> String {
        format!("{}-decisions", self.name)
    }

    /// Waits until `/readyz` says yes.
    pub(crate) fn ready(&self, contender: &mut Contender) -> Result<Duration> {
        let deadline = contender.started + Duration::from_secs(120);
        while !self.answers().unwrap_or(false) {
            contender.check()?;
            if Instant::now() > deadline {
                bail!("tidegate is not ready after two minutes");
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Ok(contender.started.elapsed())
    }

    fn answers(&self) -> Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(answer.ends_with(b"200"))
    }

    /// Runs another command of the program to its end; its standard output.
    pub(crate) fn command(&self, arguments: &[&str]) -> Result<String> {
        let done = Command::new(&self.binary)
            .args(arguments)
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::null())
            .output()?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            bail!("tidegate {}: {}\n{said}", arguments.join(" "), done.status);
        }
        Ok(String::from_utf8(done.stdout)?)
    }
}
