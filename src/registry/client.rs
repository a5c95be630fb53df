//! What is asked of a schema registry, in the calls that Confluent's made common; others answer them too.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::http::{Answer, Http};
use super::{FIRST_PAUSE, LONGEST_PAUSE};
use crate::event::avro::registered::{SchemaId, Writer};
use crate::words::escaped;

/// Schemas that one schema may refer to, one after the other.
const MOST_REFERENCES: usize = 50;

/// Where the registry is, and who we are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Begin of every address: `https://registry:8081`.
    pub url: String,
    /// Who we are.
    pub login: Login,
    /// Trusted authorities (PEM); `None`: those of the system.
    pub ca: Option<PathBuf>,
}

/// Who we are to the registry. Never printed.
#[derive(Clone)]
pub enum Login {
    /// Nobody.
    None,
    /// A user.
    Basic {
        /// Name.
        user: String,
        /// And password.
        password: String,
    },
    /// Whoever has this token.
    Bearer(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(…)")
    }
}

/// Why the registry gave no schema.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The address is none.
    #[error("registry.url is no address such as https://registry:8081")]
    Address,
    /// The build has no TLS.
    #[error("this build reads no https address: it was made without the feature `kafka`")]
    NoTls,
    /// The name, password or token cannot stand in a header.
    #[error("the login of the schema registry holds a character that HTTP does not carry")]
    Login,
    /// The file of trusted authorities.
    #[error("cannot read the trusted authorities in {file}", file = file.display())]
    Authorities {
        /// Which file.
        file: PathBuf,
        /// What OpenSSL said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No connection.
    #[error("cannot connect to the schema registry")]
    Unreachable(#[source] std::io::Error),
    /// No connection that can be trusted.
    #[error("cannot make a TLS connection to the schema registry")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke.
    #[error("the schema registry broke off")]
    Broken(#[source] hyper::Error),
    /// The answer broke off, or is too long.
    #[error("the schema registry's answer broke off")]
    CutShort(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer in time.
    #[error("the schema registry does not answer within {} s", .0.as_secs())]
    Slow(Duration),
    /// An answer that says nothing about the schema: a server's failure, a missing right, a proxy's page.
    #[error("the schema registry answers {status} to {what}{}", if *code == 0 { String::new() } else { format!(" (error code {code})") })]
    Odd {
        /// What was asked.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The registry's own code, 0 when there is none.
        code: u32,
    },
    /// There is no such thing, says the registry itself.
    #[error("the schema registry knows no {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// A schema that does not follow from those that its subject has.
    #[error(
        "the schema registry refuses our schema for {subject} as incompatible with those that the subject has ({said}); change the subject's compatibility, or write to a topic of another name"
    )]
    Incompatible {
        /// Of which subject.
        subject: String,
        /// What the registry said.
        said: String,
    },
}

impl RegistryError {
    /// May the same question have another answer later?
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Address
            | Self::NoTls
            | Self::Login
            | Self::Authorities { .. }
            | Self::NotFound { .. }
            | Self::Incompatible { .. } => false,
            Self::Unreachable(_)
            | Self::Tls(_)
            | Self::Broken(_)
            | Self::CutShort(_)
            | Self::Slow(_)
            | Self::Odd { .. } => true,
        }
    }
}

/// Asks one registry.
pub struct Client {
    http: Http,
}

/// A schema as the registry tells it.
#[derive(Deserialize)]
struct Told {
    schema: String,
    /// Absent: Avro.
    #[serde(rename = "schemaType", default)]
    kind: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

/// A schema that another one names types of.
#[derive(Clone, Deserialize)]
struct Reference {
    subject: String,
    version: u32,
}

/// An error as the registry tells it.
#[derive(Deserialize)]
struct Refusal {
    error_code: u32,
    #[serde(default)]
    message: String,
}

/// A registered schema.
#[derive(Deserialize)]
struct Registration {
    id: u32,
}

impl Client {
    /// Of the registry at these settings. Connects to nothing.
    ///
    /// # Errors
    /// When address, login or trusted authorities cannot be used.
    pub fn new(settings: &Settings) -> Result<Self, RegistryError> {
        Ok(Self {
            http: Http::new(settings)?,
        })
    }

    /// What `id` stands for. A schema that we cannot read is an answer, too.
    ///
    /// # Errors
    /// `NotFound` when the registry itself says so; anything else may pass.
    pub async fn writer(&self, id: SchemaId) -> Result<Writer, RegistryError> {
        let (what, path) = match id {
            SchemaId::Number(_) => (format!("schema {id}"), format!("/schemas/ids/{id}")),
            SchemaId::Guid(_) => (format!("schema {id}"), format!("/schemas/guids/{id}")),
        };
        let told: Told = match (self.get(&what, &path).await, id) {
            // Registries older than the framing by GUID do not know the call; whether this is one, and no wrong address, others tell.
            (Err(RegistryError::Odd { status: 404, .. }), SchemaId::Guid(_)) => {
                self.subjects().await?;
                return Err(RegistryError::NotFound { what });
            }
            (told, _) => told?,
        };
        if told.kind.as_deref().is_some_and(|kind| kind != "AVRO") {
            return Ok(Writer::unreadable());
        }
        Ok(match self.referred(told.references).await? {
            Some(texts) => Writer::of(&told.schema, &texts),
            None => Writer::unreadable(),
        })
    }

    /// The text of a schema of ours, which refers to no others.
    ///
    /// # Errors
    /// When the registry does not tell it.
    pub async fn text(&self, id: u32) -> Result<String, RegistryError> {
        let told: Told = self
            .get(&format!("schema {id}"), &format!("/schemas/ids/{id}"))
            .await?;
        Ok(told.schema)
    }

    /// The texts behind references, each before those that refer to it; `None` when there are too many.
    async fn referred(&self, first: Vec<Reference>) -> Result<Option<Vec<String>>, RegistryError> {
        // Depth first, without recursion: a reference is left when all that it refers to is told.
        let mut open: Vec<(Reference, Option<String>)> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut texts = Vec::new();
        open.extend(first.into_iter().rev().map(|reference| (reference, None)));
        while let Some((reference, text)) = open.pop() {
            if let Some(text) = text {
                texts.push(text);
                continue;
            }
            if !seen.insert((reference.subject.clone(), reference.version)) {
                continue;
            }
            if seen.len() > MOST_REFERENCES {
                return Ok(None);
            }
            let (subject, version) = (escaped(&reference.subject), reference.version);
            let what = format!("version {version} of subject {}", reference.subject);
            let path = format!("/subjects/{subject}/versions/{version}");
            let told: Told = self.get(&what, &path).await?;
            open.push((reference, Some(told.schema)));
            let more = told.references.into_iter().rev();
            open.extend(more.map(|reference| (reference, None)));
        }
        Ok(Some(texts))
    }

    /// The names that schemas are registered under.
    ///
    /// # Errors
    /// When the registry does not tell.
    pub async fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        self.get("its subjects", "/subjects").await
    }

    /// Registers an Avro schema under a subject, or finds it there; gives its id.
    ///
    /// # Errors
    /// `Incompatible` when the subject has schemas that it must not follow.
    pub async fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        let path = format!("/subjects/{}/versions", escaped(subject));
        let body = json!({ "schema": schema, "schemaType": "AVRO" }).to_string();
        let answer = self.http.ask(Method::POST, &path, Some(body)).await?;
        if matches!(
            answer.status,
            StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY
        ) {
            let said = serde_json::from_slice(&answer.body);
            return Err(RegistryError::Incompatible {
                subject: subject.to_owned(),
                said: said.map_or_else(|_| answer.status.to_string(), |said: Refusal| said.message),
            });
        }
        let registered: Registration = told(&format!("a schema for {subject}"), &answer)?;
        Ok(registered.id)
    }

    async fn get<T: DeserializeOwned>(&self, what: &str, path: &str) -> Result<T, RegistryError> {
        let answer = self.http.ask(Method::GET, path, None).await?;
        told(what, &answer)
    }

    /// How long to wait after the attempt of that number (from 0) has failed: doubling, and not the same for all ids.
    #[must_use]
    pub fn pause(id: SchemaId, attempt: u32) -> Duration {
        let whole = FIRST_PAUSE
            .saturating_mul(1 << attempt.min(10))
            .min(LONGEST_PAUSE);
        let seed = format!("{id} {attempt} {}", std::process::id());
        let share = xxhash_rust::xxh3::xxh3_64(seed.as_bytes()) % 500;
        whole.mul_f64(0.5 + Duration::from_millis(share).as_secs_f64())
    }
}

/// The answer to a question; only the registry's own code makes a "not found" definite: a wrong address has 404s, too.
fn told<T: DeserializeOwned>(what: &str, answer: &Answer) -> Result<T, RegistryError> {
    let odd = |code| RegistryError::Odd {
        what: what.to_owned(),
        status: answer.status.as_u16(),
        code,
    };
    if answer.status.is_success() {
        return serde_json::from_slice(&answer.body).map_err(|_| odd(0));
    }
    let code = serde_json::from_slice(&answer.body).map_or(0, |said: Refusal| said.error_code);
    match (answer.status, code) {
        (StatusCode::NOT_FOUND, 40_401..=40_403) => Err(RegistryError::NotFound {
            what: what.to_owned(),
        }),
        (_, code) => Err(odd(code)),
    }
}
