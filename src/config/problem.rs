//! What is wrong with a configuration, and where: everything at once, each with a place and a remedy.

use std::fmt;
use std::sync::Arc;

/// Where a value came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file, counted from 1.
    File {
        /// Line.
        line: u64,
        /// Column, in characters.
        column: u64,
    },
    /// In a file that the configuration names, counted from 1.
    Named {
        /// Its name.
        file: Arc<str>,
        /// Line.
        line: u64,
        /// Column, in characters.
        column: u64,
    },
    /// An environment variable, by name.
    Variable(String),
    /// A `--set` on the command line, by key.
    Flag(String),
    /// Not written anywhere: a default.
    #[default]
    Default,
}

impl Place {
    /// What stands in the configuration's file by its own count stands in the file of that name.
    pub(super) fn inside(self, file: &Arc<str>) -> Self {
        match self {
            Self::File { line, column } => Self::Named {
                file: Arc::clone(file),
                line,
                column,
            },
            Self::Named { .. } | Self::Variable(_) | Self::Flag(_) | Self::Default => self,
        }
    }
}

/// One problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// The setting's path (`channels.email.mode`); empty for the file as a whole.
    pub path: String,
    /// What is wrong. Never the value of a secret.
    pub what: String,
    /// What to write instead.
    pub remedy: String,
}

impl Problem {
    /// A problem of the setting at `path`, whose place is looked up later.
    #[must_use]
    pub fn of(path: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            place: Place::Default,
            path: path.into(),
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// The same problem at `place`.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }
}

/// Every problem of one file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    /// As given on the command line.
    pub file: String,
    /// At least one, in the order of the file.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    /// One line per problem: `file:line:column: path: what; remedy`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match &problem.place {
                Place::File { line, column } => write!(f, "{}:{line}:{column}", self.file)?,
                Place::Named { file, line, column } => write!(f, "{file}:{line}:{column}")?,
                Place::Variable(name) => write!(f, "environment variable {name}")?,
                Place::Flag(key) => write!(f, "--set {key}")?,
                Place::Default => f.write_str(&self.file)?,
            }
            // In the policy's own file its settings have no `policy.` before them.
            let path = match &problem.place {
                Place::Named { .. } => problem.path.trim_start_matches("policy."),
                Place::File { .. } | Place::Variable(_) | Place::Flag(_) | Place::Default => {
                    &problem.path
                }
            };
            if path.is_empty() {
                write!(f, ": {}", problem.what)?;
            } else {
                write!(f, ": {path}: {}", problem.what)?;
            }
            if !problem.remedy.is_empty() {
                write!(f, "; {}", problem.remedy)?;
            }
        }
        Ok(())
    }
}
