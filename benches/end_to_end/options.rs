//! What `make bench` may be told.

use std::path::PathBuf;

use clap::Args;

/// Options of the whole harness.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Address of the broker
    #[arg(long, default_value = "127.0.0.1:9092")]
    pub(crate) bootstrap: String,
    /// Directory of the local broker (its log and process id)
    #[arg(long, default_value = ".")]
    pub(crate) broker: PathBuf,
    /// The program under test
    #[arg(long, default_value = "tidegate")]
    pub(crate) tidegate: PathBuf,
    /// Where events and state are put
    #[arg(long, default_value = "/tmp/tidegate-bench")]
    pub(crate) directory: PathBuf,
    /// Rounds; the table shows medians
    #[arg(long, default_value_t = 5)]
    pub(crate) runs: usize,
    /// Two rounds, short ones
    #[arg(long)]
    pub(crate) quick: bool,
    /// Memory instead of speed: 5 million events of 1 million customers
    #[arg(long)]
    pub(crate) memory: bool,
    /// Events in the backlog
    #[arg(long, default_value_t = 500_000)]
    pub(crate) events: u64,
    /// Customers, drawn by a zipf law (0.99)
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) customers: usize,
    /// Of these customers, the most frequent, addresses and consents are known before
    #[arg(long, default_value_t = 200_000)]
    pub(crate) known: usize,
    /// MiB that tidegate may use in the memory run
    #[arg(long, default_value_t = 512)]
    pub(crate) budget_mib: u64,
    /// Seconds at each rate, of which the first three do not count
    #[arg(long, default_value_t = 20)]
    pub(crate) seconds: u64,
    /// Events per second of the latency runs
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    pub(crate) rates: Vec<u64>,
    /// Latency of inputs of any key too, beside that of inputs that are read directly
    #[arg(long)]
    pub(crate) intake: bool,
    /// Seed of the workload
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Worker threads of tidegate; default: its own
    #[arg(long)]
    pub(crate) workers: Option<usize>,
    /// Settings laid over tidegate's configuration, as in --set commit.max_records=500
    #[arg(long, value_parser = setting)]
    pub(crate) set: Vec<(String, String)>,
    /// Leave out: read, copy, drain, latency
    #[arg(long, value_delimiter = ',')]
    pub(crate) skip: Vec<String>,
    /// Write the table there too
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// The arguments that a person gave, without those that `benches/run` adds.
pub(crate) fn given() -> String {
    const ADDED: [&str; 4] = ["--bootstrap", "--broker", "--tidegate", "--directory"];
    let mut given = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if ADDED.contains(&argument.as_str()) {
            arguments.next();
        } else {
            given.push(argument);
        }
    }
    given.join(" ")
}
