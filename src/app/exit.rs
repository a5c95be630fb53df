//! How the process ends, and what it says then.

use std::fmt;
use std::io;

use super::load::LoadError;
use crate::bus::{Failure, Remedy};
use crate::config::ConfigError;
use crate::store::StoreError;
use crate::worker::Halt;

/// How the process ends (sysexits, so that a supervisor can tell what helps).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Success = 0,
    /// A finding: what was asked for is not so (`state verify` found a difference).
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Kafka refuses for good: starting again will not help.
    Kafka = 70,
    /// Disk, files, sockets.
    Io = 74,
    /// Try again later.
    Temporary = 75,
    /// The configuration or a flow is wrong.
    Config = 78,
}

/// A command that did not succeed.
#[derive(Debug)]
pub struct Stop {
    /// How the process ends.
    pub exit: Exit,
    /// What is said on standard error; several lines where there are several problems.
    pub text: String,
}

impl Stop {
    /// With a text of its own.
    #[must_use]
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self {
            exit,
            text: text.into(),
        }
    }

    /// An error and everything behind it, in one line.
    #[must_use]
    pub fn of(exit: Exit, error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        Self { exit, text }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<ConfigError> for Stop {
    fn from(error: ConfigError) -> Self {
        Self::of(Exit::Config, &error)
    }
}

impl From<LoadError> for Stop {
    fn from(error: LoadError) -> Self {
        Self::of(Exit::Config, &error)
    }
}

#[cfg(feature = "kafka")]
impl From<crate::demo::DemoError> for Stop {
    fn from(error: crate::demo::DemoError) -> Self {
        use crate::demo::DemoError;
        let exit = match &error {
            DemoError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Self::new(Exit::Success, "");
            }
            DemoError::Output(_) | DemoError::Http(_) => Exit::Io,
            DemoError::Setting(_) | DemoError::Input(_) => Exit::Config,
            DemoError::Bus(_)
            | DemoError::Worker(_)
            | DemoError::NotReady
            | DemoError::Panicked(_) => Exit::Kafka,
        };
        Self::of(exit, &error)
    }
}

impl From<io::Error> for Stop {
    /// Whoever read our output has seen enough: no error.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::new(Exit::Success, "")
        } else {
            Self::new(Exit::Io, error.to_string())
        }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        let exit = match failure.remedy {
            Remedy::Retry => Exit::Temporary,
            Remedy::Abort | Remedy::Fenced | Remedy::Remake | Remedy::Fatal => Exit::Kafka,
        };
        Self::of(exit, &failure)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            StoreError::Io { .. } => Exit::Io,
            StoreError::Corrupt { .. } => Exit::Failure,
            StoreError::Foreign { .. } => Exit::Config,
        };
        Self::of(exit, &error)
    }
}

impl From<Halt> for Stop {
    fn from(halt: Halt) -> Self {
        let exit = match &halt {
            Halt::Bus(failure) if failure.remedy == Remedy::Retry => Exit::Temporary,
            Halt::Bus(_) | Halt::Unsafe(_) => Exit::Kafka,
            Halt::Store(StoreError::Foreign { .. }) => Exit::Config,
            Halt::Store(_) => Exit::Io,
        };
        Self::of(exit, &halt)
    }
}
