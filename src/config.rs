//! The configuration: one YAML file, laid over by the environment and `--set`, checked as a whole (product.md §8).
//!
//! ```text
//! file ─ parse ─► tree with places ─ the policy's file ─ ${VAR:default}, TIDEGATE__…, --set ─► sections ─ check ─► Config ─ resolve ─► Policy, decoding, …
//! ```
//!
//! Everything that is wrong is reported at once, each with `file:line:column` and a remedy. [`Config`] and what hangs below it in
//! [`sections`] is the manual: what each setting is, its default, and what breaks.

use std::path::{Path, PathBuf};

mod changes;
mod check;
mod graft;
mod node;
mod norms;
mod overrides;
mod policy;
mod print;
mod problem;
mod reading;
mod registry;
mod resolve;
pub mod sections;
mod setting;
#[cfg(test)]
mod tests;
mod traits;
mod values;

pub use overrides::Overrides;
pub use problem::{Place, Problem, Problems};
pub use reading::{FilterSetting, MappingSetting, Written};
pub use resolve::internal_topic;
pub use sections::{
    Amount, App, BreakerSection, BudgetSection, CapSetting, Channel, ChurnSection, Clock, Commit,
    Config, ConsumptionSection, Counted, CustomersSection, Day, DeadLetters, DietSection, Exposed,
    Format, Http, Identity, Input, IntentSection, Kafka, Kept, Keying, Log, LogFormat, Mode,
    NegativeSection, NormsSection, Paths, PeakSection, PolicySection, RecentBuyerSection, Registry,
    ReturnedSection, RfmSection, Shop, State, Topics, TraitsSection, VipSection,
};
pub use values::{Per, Percent, Properties, QuietTime, Rate, Secret, stream_name};

use node::Node;
use setting::Setting;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {file}")]
    Unreadable {
        /// Which.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It was read, and these things are wrong with it.
    #[error(transparent)]
    Wrong(#[from] Problems),
}

/// JSON Schema (draft 2020-12) of the configuration, from the same declarations that read it.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = <Config as Setting>::schema();
    let inline = <PolicySection as Setting>::schema();
    if let Some(policy) = schema.pointer_mut("/properties/policy") {
        let about = policy.get("description").cloned();
        *policy =
            serde_json::json!({ "description": about, "anyOf": [{ "type": "string" }, inline] });
    }
    entitled(schema, "The configuration of tidegate")
}

/// JSON Schema of a policy in a file of its own.
#[must_use]
pub fn policy_schema() -> serde_json::Value {
    let whole = <Config as Setting>::schema();
    let mut schema = <PolicySection as Setting>::schema();
    if let Some(serde_json::Value::Object(properties)) = schema.pointer_mut("/properties") {
        for key in graft::SHARED {
            let shared = whole.pointer(&format!("/properties/{key}"));
            properties.extend(shared.map(|shared| (key.to_owned(), shared.clone())));
        }
    }
    entitled(schema, "The policy of a tidegate application")
}

fn entitled(mut schema: serde_json::Value, title: &str) -> serde_json::Value {
    if let serde_json::Value::Object(schema) = &mut schema {
        let draft = "https://json-schema.org/draft/2020-12/schema";
        schema.insert("$schema".to_owned(), draft.into());
        schema.insert("title".to_owned(), title.into());
    }
    schema
}

impl Config {
    /// Where this instance keeps the state of its tasks: two instances on one machine may share `app.state_dir`.
    #[must_use]
    pub fn state_root(&self) -> PathBuf {
        self.app.state_dir.join(&self.app.instance)
    }

    /// Reads the file at `path` and lays `overrides` over it. Relative paths inside are taken from the file's directory.
    ///
    /// # Errors
    /// When the file cannot be read, or with every problem at once.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, ConfigError> {
        match Self::examine(path, overrides)? {
            (config, None) => Ok(config),
            (_, Some(problems)) => Err(problems.into()),
        }
    }

    /// As [`Self::load`], for those who want to look further in spite of problems: where there is one, a placeholder stands.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn examine(
        path: &Path,
        overrides: &Overrides,
    ) -> Result<(Self, Option<Problems>), ConfigError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            file: file.clone(),
            source,
        })?;
        let directory = path.parent().unwrap_or_else(|| Path::new(""));
        let open = |named: &str| {
            let named = directory.join(named);
            Ok((
                named.display().to_string(),
                std::fs::read_to_string(&named)?,
            ))
        };
        let (mut config, problems) = Self::read_text(&file, &text, overrides, &open);
        config.anchor_paths(directory);
        Ok((config, problems))
    }

    /// The file that the policy stands in, of a configuration at `path`; `None` when it stands in the configuration, or nothing can be read.
    #[must_use]
    pub fn policy_file(path: &Path, overrides: &Overrides) -> Option<PathBuf> {
        let mut root = Node::parse(&std::fs::read_to_string(path).ok()?).ok()?;
        overrides::apply_policy(&mut root, overrides);
        let named = graft::named(&root, overrides).ok()??;
        Some(path.parent()?.join(named))
    }

    /// Reads the text of a file called `file` and lays `overrides` over it. Pure: opens nothing, asks nobody.
    ///
    /// # Errors
    /// With every problem at once, in the order of the file.
    pub fn parse(file: &str, text: &str, overrides: &Overrides) -> Result<Self, Problems> {
        let open = |_: &str| Err(std::io::ErrorKind::Unsupported.into());
        match Self::read_text(file, text, overrides, &open) {
            (config, None) => Ok(config),
            (_, Some(problems)) => Err(problems),
        }
    }

    fn read_text(
        file: &str,
        text: &str,
        overrides: &Overrides,
        open: graft::Open<'_>,
    ) -> (Self, Option<Problems>) {
        let mut found = Vec::new();
        let file = file.to_owned();
        let whole = Node::parse(text).and_then(|mut root| {
            overrides::apply_policy(&mut root, overrides);
            graft::policy(&mut root, overrides, open)?;
            Ok(root)
        });
        let mut root = match whole {
            Ok(root) => root,
            Err(problem) => {
                let list = vec![problem];
                return (Self::placeholder(), Some(Problems { file, list }));
            }
        };
        overrides::apply(&mut root, overrides, &mut found);
        overrides::interpolate(&mut root, "", &overrides.variables, &mut found);
        let config = Self::read(&root, "", &mut found);
        // What could not be read has been reported; what follows from its placeholder is no news.
        let reported: Vec<String> = found.iter().map(|problem| problem.path.clone()).collect();
        let news = config.check().into_iter().filter(|problem| {
            !reported
                .iter()
                .any(|path| covers(path, &problem.path) || covers(&problem.path, path))
        });
        found.extend(news.map(|problem| {
            let place = place_of(&root, &problem.path);
            problem.at(place)
        }));
        found.sort();
        found.dedup();
        let problems = (!found.is_empty()).then_some(Problems { file, list: found });
        (config, problems)
    }

    /// The configuration with every default filled in, as YAML; secrets masked.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        print::yaml(&self.print())
    }

    /// Relative paths mean: beside the configuration, wherever the process was started.
    fn anchor_paths(&mut self, directory: &Path) {
        let anchor = |path: &mut PathBuf| *path = directory.join(&*path);
        self.flows.0.iter_mut().for_each(anchor);
        anchor(&mut self.app.state_dir);
        for input in &mut self.inputs {
            if let Some(schemas) = &mut input.schemas {
                anchor(schemas);
            }
            if let Some(MappingSetting::File(mapping)) = &mut input.mapping {
                anchor(mapping);
            }
        }
        self.registry.ca.iter_mut().for_each(anchor);
        let properties = self.kafka.properties.0.values_mut();
        let login = self.registry.password.iter_mut();
        let login = login.chain(&mut self.registry.token);
        for secret in properties
            .chain([&mut self.identity.address_key])
            .chain(login)
        {
            if let Secret::File(path) = secret {
                anchor(path);
            }
        }
    }
}

/// Is `path` the setting at `whole`, or inside it?
fn covers(whole: &str, path: &str) -> bool {
    !whole.is_empty()
        && path
            .strip_prefix(whole)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Where the setting at `path` is written, or the nearest thing around it that is.
fn place_of(root: &Node, path: &str) -> Place {
    let mut node = root;
    let mut rest = path;
    while !rest.is_empty() {
        rest = rest.trim_start_matches('.');
        let next = if let Some(inside) = rest.strip_prefix('[') {
            let (index, after) = inside.split_once(']').unwrap_or((inside, ""));
            rest = after;
            match (&node.value, index.parse::<usize>()) {
                (node::Value::List(list), Ok(index)) => list.get(index),
                (_, _) => None,
            }
        } else {
            // Keys of mappings may hold dots themselves (client properties): the longest that fits.
            let found = node.entries().and_then(|entries| {
                entries
                    .iter()
                    .filter(|(key, _)| covers(key, rest))
                    .max_by_key(|(key, _)| key.len())
            });
            found.map(|(key, node)| {
                rest = rest.get(key.len()..).unwrap_or_default();
                node
            })
        };
        match next {
            Some(next) => node = next,
            None => break,
        }
    }
    node.place.clone()
}
