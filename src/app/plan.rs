//! Configuration and flow files → what every task decides by. Used by `run`, `validate` and `replay` alike.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The configuration is wrong or unreadable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file that it names cannot be read.
    #[error("cannot read {what} {path}: {source}", path = path.display())]
    Unreadable {
        /// What it is for.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Name and text of every flow file that the configuration names, directories in the order of their file names.
///
/// # Errors
/// When one cannot be read, or a directory holds none.
pub fn flow_texts(config: &Config) -> Result<Vec<(String, String)>, PlanError> {
    let mut texts = Vec::new();
    for path in &config.flows.0 {
        let unreadable = |path: &Path, source| PlanError::Unreadable {
            what: "flows",
            path: path.to_owned(),
            source,
        };
        let files = if path.is_dir() {
            yaml_files(path).map_err(|source| unreadable(path, source))?
        } else {
            vec![path.clone()]
        };
        if files.is_empty() {
            let nothing = io::Error::new(io::ErrorKind::NotFound, "no *.yaml file in it");
            return Err(unreadable(path, nothing));
        }
        for file in files {
            let text =
                std::fs::read_to_string(&file).map_err(|source| unreadable(&file, source))?;
            texts.push((file.display().to_string(), text));
        }
    }
    Ok(texts)
}

fn yaml_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        if yaml && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
