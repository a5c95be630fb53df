//! From the configuration to a client of the schema registry, and what is registered there at start.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::exit::{Exit, Stop};
use crate::bus::Record;
use crate::config::{Config, Format, Secret, internal_topic};
use crate::event::avro::registered::{Registered, SchemaId, Writer, framed};
use crate::outbound::{
    DECISION_LOG_SCHEMA, DECISION_SCHEMA, DecisionWriter, LogReader, OutboundPlan,
};
use crate::registry::{Client, Login, RegistryError, Settings};

/// How often a registry that does not answer is asked at start; about half a minute in all.
const ATTEMPTS: u32 = 8;

/// A client of the configured registry; `None` where nothing needs one.
///
/// # Errors
/// When a secret's file or the trusted authorities cannot be read, or the address is none.
pub fn client(config: &Config) -> Result<Option<Client>, Stop> {
    let registry = &config.registry;
    let Some(url) = registry.url.as_ref().filter(|_| config.needs_registry()) else {
        return Ok(None);
    };
    let reveal = |name: &str, secret: &Secret| {
        secret.reveal().map_err(|error| {
            let text = format!("registry.{name}: cannot read its file: {error}");
            Stop::new(Exit::Config, text)
        })
    };
    let login = match (&registry.user, &registry.password, &registry.token) {
        (Some(user), Some(password), _) => Login::Basic {
            user: user.clone(),
            password: reveal("password", password)?,
        },
        (_, _, Some(token)) => Login::Bearer(reveal("token", token)?),
        (_, _, None) => Login::None,
    };
    let settings = Settings {
        url: url.clone(),
        login,
        ca: registry.ca.clone(),
    };
    let client = Client::new(&settings).map_err(|error| Stop::of(Exit::Config, &error))?;
    Ok(Some(client))
}

/// Waits for something that is asked of the registry.
///
/// # Errors
/// When the system gives no event loop.
pub fn wait<T>(asked: impl Future<Output = T>) -> Result<T, Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    Ok(runtime.block_on(asked))
}

/// How to end when the registry did not do what was asked.
#[must_use]
pub fn refused(error: RegistryError) -> Stop {
    let exit = if error.may_pass() {
        Exit::Temporary
    } else {
        Exit::Config
    };
    Stop::of(exit, &error)
}

/// What is known of schemas, and what the registry tells of those that these records name beside them.
///
/// # Errors
/// When it does not answer; outside, when the system gives no event loop.
pub fn schemas_of(
    client: &Client,
    records: &[Record],
    mut known: Registered,
) -> Result<Result<Registered, RegistryError>, Stop> {
    let ids: BTreeSet<SchemaId> = records
        .iter()
        .filter_map(|record| framed(record.value.as_deref()?, &record.headers).ok())
        .map(|(id, _)| id)
        .filter(|id| !known.knows(*id))
        .collect();
    if ids.is_empty() {
        return Ok(Ok(known));
    }
    wait(async {
        for id in ids {
            let writer = match client.writer(id).await {
                Err(RegistryError::NotFound { .. }) => Writer::not_found(),
                told => told?,
            };
            known = known.with(id, writer);
        }
        Ok(known)
    })
}

/// Registers the schemas of what is written with the registry, under `<topic>-value`, and puts their ids into the plan.
///
/// # Errors
/// 78 when the registry refuses one as incompatible, 75 when it does not answer.
pub fn register(config: &Config, client: &Client, outbound: &mut OutboundPlan) -> Result<(), Stop> {
    let broken = |error| Stop::of(Exit::Config, &error);
    for (name, channel) in &config.channels {
        if channel.format == Format::Avro {
            let id = registered(client, &config.channel_topic(name), DECISION_SCHEMA)?;
            let writer = DecisionWriter::registered(id).map_err(broken)?;
            outbound.avro_channels.insert(name.as_str().into(), writer);
        }
    }
    if config.topics.decisions_format == Format::Avro {
        let topic = internal_topic(&config.app.id, "decisions");
        let id = registered(client, &topic, DECISION_LOG_SCHEMA)?;
        outbound.avro_log = Some(DecisionWriter::of_log(id).map_err(broken)?);
    }
    Ok(())
}

/// The id of a schema under the subject of a topic; a registry that is just being restarted is waited for.
fn registered(client: &Client, topic: &str, schema: &str) -> Result<u32, Stop> {
    let subject = format!("{topic}-value");
    let attempts = async {
        let mut attempt = 0;
        loop {
            match client.register(&subject, schema).await {
                Err(error) if error.may_pass() && attempt + 1 < ATTEMPTS => {
                    tracing::warn!(%error, subject, "the schema of what is written is not registered yet");
                    tokio::time::sleep(Client::pause(SchemaId::Number(0), attempt)).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
    };
    wait(attempts)?.map_err(refused)
}

/// Turns lines of the decision log into JSON, whatever they were written in.
pub struct LogLines {
    client: Option<Client>,
    readers: BTreeMap<u32, Option<LogReader>>,
}

impl LogLines {
    /// For the log of this configuration.
    ///
    /// # Errors
    /// When the registry cannot be asked as configured.
    pub fn of(config: &Config) -> Result<Self, Stop> {
        Ok(Self {
            client: client(config)?,
            readers: BTreeMap::new(),
        })
    }

    /// The line in JSON; as it came when it is that already, or cannot be read.
    pub fn line<'v>(&mut self, value: &'v [u8]) -> Cow<'v, [u8]> {
        let framed = value
            .strip_prefix(&[0])
            .and_then(|rest| rest.split_first_chunk::<4>());
        let (Some((id, payload)), Some(client)) = (framed, &self.client) else {
            return value.into();
        };
        let id = u32::from_be_bytes(*id);
        let reader = self.readers.entry(id).or_insert_with(|| {
            let text = wait(client.text(id)).ok()?.ok()?;
            LogReader::new(&text)
        });
        let read = reader.as_ref().and_then(|reader| reader.line(payload));
        read.map_or(value.into(), Into::into)
    }
}
