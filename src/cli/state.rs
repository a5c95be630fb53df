//! `state`: looks into the state directories of this machine while no instance runs on them.

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::{Environment, Exit, Output, Settings, Stop};
use crate::app::kafka;
use crate::bus::NextOffset;
use crate::bus::kafka::admin::Admin;
use crate::bus::kafka::audit;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::partitioner;
use crate::plan;
use crate::store::changelog;
use crate::store::layout::{self, StateKey, StoreIdentity};
use crate::store::rocks::{RocksShared, RocksStore};
use crate::store::{Store as _, StoreError, stored_profile};
use crate::value::ProfileKey;

/// Memory for looking: small, because it only looks.
const MEMORY: usize = 64 << 20;

/// What is asked for.
#[derive(Debug, Subcommand)]
pub(super) enum StateCommand {
    /// Print one profile as JSON
    Get(Get),
    /// Compare every store on this machine with its changelog, key by key
    Verify(Settings),
    /// Print every key and value as JSON lines in hexadecimal, by partition and key
    Dump(Dump),
}

#[derive(Debug, Args)]
pub(super) struct Dump {
    #[command(flatten)]
    settings: Settings,
    /// Print every profile, readable, instead of keys and values: what `replay --profiles` prints
    #[arg(long)]
    profiles: bool,
}

#[derive(Debug, Args)]
pub(super) struct Get {
    #[command(flatten)]
    settings: Settings,
    /// Of this customer
    #[arg(
        long,
        value_name = "ID",
        required_unless_present = "anonymous",
        conflicts_with = "anonymous"
    )]
    customer: Option<String>,
    /// Of this visitor, while the customer is unknown
    #[arg(long, value_name = "ID")]
    anonymous: Option<String>,
}

impl StateCommand {
    pub(super) fn run(self, environment: &Environment, output: Output<'_>) -> Result<(), Stop> {
        match self {
            Self::Get(get) => {
                let config = get.settings.load(environment)?;
                let key = match (&get.customer, &get.anonymous) {
                    (Some(id), _) => ProfileKey::customer(id),
                    (None, Some(id)) => ProfileKey::anonymous(id),
                    (None, None) => {
                        return Err(Stop::new(Exit::Usage, "write --customer or --anonymous"));
                    }
                };
                print_profile(&config, key, output)
            }
            Self::Verify(settings) => verify(&settings.load(environment)?, output),
            Self::Dump(wanted) => {
                let config = wanted.settings.load(environment)?;
                if wanted.profiles {
                    dump_profiles(&config, output)
                } else {
                    dump(&config, output)
                }
            }
        }
    }
}

/// The partitions that have a directory of this instance on this machine.
fn partitions(config: &Config) -> Vec<i32> {
    let directory = config.state_root().join(&config.app.id);
    (0..config.topics.partitions)
        .filter(|partition| directory.join(partition.to_string()).is_dir())
        .collect()
}

fn no_state(config: &Config) -> Stop {
    let directory = config.state_root().join(&config.app.id);
    Stop::new(
        Exit::Failure,
        format!("there is no state in {}", directory.display()),
    )
}

/// Opens stores one after the other, whatever cluster they were made for unless that is asked.
struct Opener<'a> {
    config: &'a Config,
    shared: RocksShared,
    inputs: Vec<Arc<str>>,
}

impl<'a> Opener<'a> {
    fn new(config: &'a Config) -> Result<Self, Stop> {
        Ok(Self {
            config,
            shared: RocksShared::new(MEMORY, 1)?,
            inputs: plan::input_topics(config),
        })
    }

    fn open(&self, partition: i32, cluster: Option<&str>) -> Result<RocksStore, Stop> {
        let (shared, directory) = (&self.shared, &self.config.state_root());
        let application = &self.config.app.id;
        let inputs = self.inputs.clone();
        let opened = match cluster {
            None => RocksStore::open_any(shared, directory, application, partition, inputs),
            Some(cluster) => {
                let identity = StoreIdentity {
                    application: application.clone(),
                    cluster: cluster.to_owned(),
                    partition,
                    partitions: self.config.topics.partitions,
                };
                RocksStore::open(shared, directory, &identity, inputs)
            }
        };
        opened.map_err(|error| match &error {
            StoreError::Io { task, what, .. } if what.contains("another process") => Stop::new(
                Exit::Temporary,
                format!("the state of partition {task} is in use by a running instance; stop it, or ask its /status"),
            ),
            StoreError::Io { .. } | StoreError::Corrupt { .. } | StoreError::Foreign { .. } => error.into(),
        })
    }
}

fn print_profile(config: &Config, key: ProfileKey, output: Output<'_>) -> Result<(), Stop> {
    let partition = partitioner::partition(key.id().as_bytes(), config.topics.partitions);
    if !partitions(config).contains(&partition) {
        let text = format!(
            "partition {partition}, which this customer belongs to, has no state on this machine"
        );
        return Err(Stop::new(Exit::Failure, text));
    }
    let store = Opener::new(config)?.open(partition, None)?;
    let Some(profile) = stored_profile(&store, partition, &key)? else {
        return Err(Stop::new(
            Exit::Failure,
            "nothing is known of this customer",
        ));
    };
    writeln!(output, "{:#}", profile.view())?;
    Ok(())
}

fn dump_profiles(config: &Config, output: Output<'_>) -> Result<(), Stop> {
    let opener = Opener::new(config)?;
    for partition in partitions(config) {
        let store = opener.open(partition, None)?;
        let mut keys = BTreeSet::new();
        store.scan(&mut |key, _| {
            if let Ok(StateKey::Section { profile, .. }) = layout::decode_state_key(key)
                && !profile.is_address()
            {
                keys.insert(profile);
            }
        })?;
        for key in keys {
            if let Some(profile) = stored_profile(&store, partition, &key)? {
                writeln!(output, "{}", profile.view())?;
            }
        }
    }
    Ok(())
}

fn verify(config: &Config, output: Output<'_>) -> Result<(), Stop> {
    let settings = kafka::settings(config, 0)?;
    let cluster = Admin::connect(&settings)?.cluster_id()?;
    let (opener, clock) = (Opener::new(config)?, SystemClock::new());
    let mut different = 0;
    let found = partitions(config);
    if found.is_empty() {
        return Err(no_state(config));
    }
    for partition in found {
        let store = opener.open(partition, Some(&cluster))?;
        let until = store.head()?.changelog.unwrap_or(NextOffset::START);
        let mut records = Vec::new();
        audit::read_changelog(&settings, &clock, partition, until, &mut |record| {
            records.push((record.key, record.value));
        })?;
        let read = records.len();
        let differences = changelog::verify(&store, records)?;
        different += differences.different;
        writeln!(
            output,
            "partition {partition}: {} equal, {} different ({read} changelog records before offset {})",
            differences.equal,
            differences.different,
            until.get()
        )?;
        for difference in &differences.first {
            writeln!(
                output,
                "  {:?}: key hash {:016x}, section {:?}",
                difference.kind, difference.key_hash, difference.section
            )?;
        }
    }
    if different == 0 {
        Ok(())
    } else {
        Err(Stop::new(
            Exit::Failure,
            format!("{different} differences between store and changelog"),
        ))
    }
}

fn dump(config: &Config, output: Output<'_>) -> Result<(), Stop> {
    let opener = Opener::new(config)?;
    for partition in partitions(config) {
        let store = opener.open(partition, None)?;
        let mut failed = None;
        store.scan(&mut |key, value| {
            if failed.is_none() {
                let line = writeln!(
                    output,
                    r#"{{"partition":{partition},"key":"{}","value":"{}"}}"#,
                    hex(key),
                    hex(value)
                );
                failed = line.err();
            }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('?');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}
