//! Configuration and flow files, read and checked together. Used by `run`, `validate` and `replay` alike.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

use super::exit::{Exit, Stop};
use crate::config::{Config, ConfigError, MappingSetting, Overrides, Problems};
use crate::engine::Plan;
use crate::flow::FlowSet;
use crate::flow::compile::{FlowFile, Surroundings, compile};
use crate::flow::problem::Problem;
use crate::flow::spec::trial;
use crate::plan::{self, InputError};
use crate::policy::Policy;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file that it names cannot be read.
    #[error("cannot read {what} {path}", path = path.display())]
    Unreadable {
        /// What it is for.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Settings, flows or both are wrong.
    #[error(transparent)]
    Wrong(#[from] Findings),
}

/// Everything that is wrong with a configuration and its flows.
#[derive(Debug, Default, thiserror::Error)]
pub struct Findings {
    /// Of the configuration.
    pub config: Option<Problems>,
    /// Of flows and mappings.
    pub files: Vec<Problem>,
}

impl fmt::Display for Findings {
    /// One problem after the other, and how many there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut count = self.files.len();
        if let Some(problems) = &self.config {
            count += problems.list.len();
            writeln!(f, "{problems}\n")?;
        }
        for problem in &self.files {
            writeln!(f, "{problem}\n")?;
        }
        write!(f, "{count} problem{}", if count == 1 { "" } else { "s" })
    }
}

/// Reads a configuration and the flows that it names.
///
/// # Errors
/// Every problem of both, at once. Flows are looked at even when the configuration has problems, unless those are in what flows are
/// checked against.
pub fn load(path: &Path, overrides: &Overrides) -> Result<(Config, Plan), LoadError> {
    let (config, problems) = Config::examine(path, overrides)?;
    let in_the_way = problems.as_ref().is_some_and(|problems| {
        problems.list.iter().any(|problem| {
            let path = problem.path.as_str();
            path.is_empty()
                || ["channels", "flows", "shop"]
                    .iter()
                    .any(|part| path.starts_with(part))
        })
    });
    let (texts, mut found) = readable(&config.flows.0);
    if in_the_way {
        let files = found;
        return Err(Findings {
            config: problems,
            files,
        }
        .into());
    }
    let policy = policy(&config, path);
    // The address key's file says nothing about flows.
    let compiled = compiled(&config, &texts);
    found.extend(compiled.as_ref().err().into_iter().flatten().cloned());
    found.extend(mapping_problems(&config)?);
    match (compiled, problems) {
        (Ok(flows), None) if found.is_empty() => Ok((
            config,
            Plan {
                flows,
                policy: policy?,
            },
        )),
        (_, config) => Err(Findings {
            config,
            files: found,
        }
        .into()),
    }
}

/// The same, and the tests that stand beside the flows are looked at too: a test that cannot be played is found before it is wanted.
///
/// # Errors
/// Every problem of configuration, flows and tests, at once.
pub fn load_with_tests(path: &Path, overrides: &Overrides) -> Result<(Config, Plan), LoadError> {
    let loaded = load(path, overrides);
    let (config, _) = Config::examine(path, overrides)?;
    let (texts, _) = readable(&config.flows.0);
    let found = trial::problems(&files_of(&texts));
    match (loaded, found.is_empty()) {
        (loaded, true) => loaded,
        (Ok(_), false) => Err(Findings {
            config: None,
            files: found,
        }
        .into()),
        (Err(LoadError::Wrong(mut findings)), false) => {
            findings.files.extend(found);
            Err(findings.into())
        }
        (Err(error), false) => Err(error),
    }
}

/// Another flow set for a configuration: what stands at `paths` instead of what the configuration names.
///
/// # Errors
/// Every problem of it, at once.
pub fn other_flows(config: &Config, paths: &[PathBuf]) -> Result<FlowSet, LoadError> {
    let set = flow_set(config, paths)?;
    set.map_err(|files| {
        LoadError::from(Findings {
            config: None,
            files,
        })
    })
}

/// Flows and policy of a configuration that is good, which was read at `path`.
///
/// # Errors
/// Every problem of the flows; or a file that cannot be read.
pub fn plan_of(config: &Config, path: &Path) -> Result<Plan, LoadError> {
    let flows = other_flows(config, &config.flows.0)?;
    let policy = policy(config, path)?;
    Ok(Plan { flows, policy })
}

fn policy(config: &Config, path: &Path) -> Result<Policy, LoadError> {
    config.policy().map_err(|source| LoadError::Unreadable {
        what: "the address key",
        path: config
            .identity
            .address_key
            .path()
            .unwrap_or(path)
            .to_owned(),
        source,
    })
}

/// The flows at these paths, or what is wrong with them.
fn flow_set(
    config: &Config,
    paths: &[PathBuf],
) -> Result<Result<FlowSet, Vec<Problem>>, LoadError> {
    Ok(compiled(config, &flow_texts(paths)?))
}

fn files_of(texts: &[(String, String)]) -> Vec<FlowFile<'_>> {
    let files = texts.iter().map(|(name, text)| FlowFile { name, text });
    files.collect()
}

/// What stands in these files, compiled.
fn compiled(config: &Config, texts: &[(String, String)]) -> Result<FlowSet, Vec<Problem>> {
    let (channels, currency_digits) = config.flow_surroundings();
    let surroundings = Surroundings {
        channels: &channels,
        currency_digits,
    };
    compile(&files_of(texts), &surroundings)
}

/// Name and text of every flow file that can be read, and what is wrong with the paths that cannot.
fn readable(paths: &[PathBuf]) -> (Vec<(String, String)>, Vec<Problem>) {
    let (mut texts, mut found) = (Vec::new(), Vec::new());
    for path in paths {
        let files = flow_files(std::slice::from_ref(path));
        let files = files.unwrap_or_else(|error| {
            found.push(unreadable(path, &error));
            Vec::new()
        });
        // One that cannot be read hides nothing of the others.
        for file in files {
            let read = std::fs::read(&file).map_err(|source| no_flows(&file, source));
            match read.map(String::from_utf8) {
                Ok(Ok(text)) => texts.push((file.display().to_string(), text)),
                Ok(Err(error)) => found.push(not_utf8(&file, &error)),
                Err(error) => found.push(unreadable(&file, &error)),
            }
        }
    }
    (texts, found)
}

fn unreadable(path: &Path, error: &LoadError) -> Problem {
    let remedy = "`flows` in the configuration names it: a file, or a directory with *.yaml files";
    Problem {
        file: path.display().to_string(),
        line: 0,
        column: 0,
        width: 1,
        excerpt: String::new(),
        message: Stop::of(Exit::Config, error).text,
        remedy: Some(remedy.to_owned()),
    }
}

/// A file of bytes that are no text, told at the first of them.
fn not_utf8(file: &Path, error: &FromUtf8Error) -> Problem {
    let before = error.utf8_error().valid_up_to();
    let (good, rest) = error.as_bytes().split_at(before);
    let good = String::from_utf8_lossy(good);
    let start = good.rsplit('\n').next().unwrap_or_default();
    let rest = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let number = |count: usize| u32::try_from(count + 1).unwrap_or(u32::MAX);
    Problem {
        file: file.display().to_string(),
        line: number(good.matches('\n').count()),
        column: number(start.chars().count()),
        width: 1,
        excerpt: format!("{start}{}", String::from_utf8_lossy(rest)),
        message: "here the file is not UTF-8".to_owned(),
        remedy: Some("save it as UTF-8".to_owned()),
    }
}

/// What is wrong with the mappings that stand in files of their own; those within the configuration were told with its problems.
fn mapping_problems(config: &Config) -> Result<Vec<Problem>, LoadError> {
    let mut found = Vec::new();
    for input in &config.inputs {
        if !matches!(input.mapping, Some(MappingSetting::File(_))) {
            continue;
        }
        match plan::reading(input) {
            Err(InputError::Mapping { problems, .. }) => found.extend(problems),
            Err(InputError::NoMapping { path, source }) => {
                let what = "the mapping";
                return Err(LoadError::Unreadable { what, path, source });
            }
            Ok(_) | Err(InputError::Unreadable { .. } | InputError::Schema { .. }) => {}
        }
    }
    Ok(found)
}

/// Name and text of every flow file at these paths, directories in the order of their file names.
///
/// # Errors
/// When one cannot be read, or a directory holds none.
pub fn flow_texts(paths: &[PathBuf]) -> Result<Vec<(String, String)>, LoadError> {
    let files = flow_files(paths)?.into_iter();
    files
        .map(|file| {
            let text = std::fs::read_to_string(&file).map_err(|source| no_flows(&file, source))?;
            Ok((file.display().to_string(), text))
        })
        .collect()
}

/// Every flow file at these paths.
///
/// # Errors
/// When a directory cannot be read, or holds none.
pub fn flow_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, LoadError> {
    let mut all = Vec::new();
    for path in paths {
        let files = if path.is_dir() {
            yaml_files(path).map_err(|source| no_flows(path, source))?
        } else {
            vec![path.clone()]
        };
        if files.is_empty() {
            let nothing = io::Error::new(io::ErrorKind::NotFound, "no *.yaml file in it");
            return Err(no_flows(path, nothing));
        }
        all.extend(files);
    }
    Ok(all)
}

fn no_flows(path: &Path, source: io::Error) -> LoadError {
    LoadError::Unreadable {
        what: "flows",
        path: path.to_owned(),
        source,
    }
}

fn yaml_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("yaml" | "yml")) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
