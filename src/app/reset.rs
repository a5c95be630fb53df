//! `reset`: an application begins anew, as if it had never run.
//!
//! Its positions, its profiles and what it forwarded to itself go. What others read stays: channels, blocks, decision log, dead
//! letters. The next run reads every input from its beginning and decides again. A decision's id depends on nothing but the events, so
//! the same decision has the same id; what depends on the order between two inputs may be decided otherwise, as they are read at once.

use std::path::PathBuf;

use super::exit::{Exit, Stop};
use super::kafka;
use crate::bus::kafka::admin::Admin;
use crate::config::{Config, internal_topic};
use crate::store::directory::Directory;

/// What would go.
pub struct Reset<'a> {
    config: &'a Config,
    admin: Admin,
    /// Topics that are there.
    pub topics: Vec<String>,
    /// Partitions that have state of this instance on this machine, and where.
    pub states: Vec<(i32, PathBuf)>,
}

impl<'a> Reset<'a> {
    /// Looks at what is there.
    ///
    /// # Errors
    /// When the brokers do not answer, or the application runs.
    pub fn plan(config: &'a Config) -> Result<Self, Stop> {
        let admin = Admin::connect(&kafka::settings(config, 0)?)?;
        let app = &config.app.id;
        let members = admin.members(app)?;
        if !members.is_empty() {
            let text = format!(
                "{app} runs: {} of its workers are in the group ({}); stop every instance first (SIGINT leaves the group at once; one \
                 that got SIGTERM, or was killed, is listed for 6 seconds more)",
                members.len(),
                members.join(", ")
            );
            return Err(Stop::new(Exit::Temporary, text));
        }
        let mut topics = Vec::new();
        for name in ["events", "profiles-changelog"].map(|name| internal_topic(app, name)) {
            if admin.partitions(&name)?.is_some() {
                topics.push(name);
            }
        }
        let directory = config.state_root().join(app);
        let states = (0..config.topics.partitions)
            .map(|partition| (partition, directory.join(partition.to_string())))
            .filter(|(_, path)| path.is_dir())
            .collect();
        Ok(Self {
            config,
            admin,
            topics,
            states,
        })
    }

    /// Deletes all of it: the group first, which the brokers refuse while somebody is in it.
    ///
    /// # Errors
    /// When the brokers or the disk refuse; what went is gone, and a repeated call goes on with the rest.
    pub fn carry_out(&self) -> Result<(), Stop> {
        self.admin.delete_group(&self.config.app.id)?;
        if !self.topics.is_empty() {
            self.admin.delete_topics(&self.topics)?;
        }
        for (partition, _) in &self.states {
            Directory::claim_any(&self.config.state_root(), &self.config.app.id, *partition)?
                .delete()?;
        }
        Ok(())
    }
}
