//! Taking an application's own things off the bus: its group with all positions, and topics that only it writes.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::{ANSWER, Admin, LOOK, options};
use crate::bus::kafka::failure::{Call, failure, said};
use crate::bus::{Failure, Remedy};

impl Admin {
    /// Who is in the group now, by client id.
    ///
    /// # Errors
    /// `Retry` while the coordinator does not answer.
    pub fn members(&self, group: &str) -> Result<Vec<String>, Failure> {
        let listed = self
            .client
            .inner()
            .fetch_group_list(Some(group), ANSWER)
            .map_err(|error| failure(Call::Ask, format!("list the members of {group}"), &error))?;
        let members = listed.groups().iter().flat_map(|group| group.members());
        Ok(members
            .map(|member| member.client_id().to_owned())
            .collect())
    }

    /// Deletes the group and every position in it. The coordinator refuses while it has members, whoever joined since somebody
    /// looked. Gives whether there was one.
    ///
    /// # Errors
    /// `Fatal` when it has members or may not be deleted, `Retry` while the coordinator does not answer.
    pub fn delete_group(&self, group: &str) -> Result<bool, Failure> {
        let attempted = format!("delete the group {group}");
        let answer = self.run(&attempted, self.client.delete_groups(&[group], &options()))?;
        for outcome in answer {
            match outcome {
                Ok(_) => {}
                Err((_, Code::GroupIdNotFound)) => return Ok(false),
                Err((_, code)) => {
                    return Err(Failure::new(
                        attempted,
                        said(Call::Ask, code),
                        Remedy::Fatal,
                    ));
                }
            }
        }
        Ok(true)
    }

    /// Deletes topics, and waits until no broker lists them. Gives the names of those that were there.
    ///
    /// # Errors
    /// `Fatal` when one may not be deleted, `Retry` while the brokers do not answer.
    pub fn delete_topics(&self, topics: &[String]) -> Result<Vec<String>, Failure> {
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let answer = self.run(
            "delete topics",
            self.client.delete_topics(&names, &options()),
        )?;
        let mut deleted = Vec::new();
        for outcome in answer {
            match outcome {
                Ok(name) => deleted.push(name),
                Err((_, Code::UnknownTopicOrPartition)) => {}
                Err((name, code)) => {
                    let error = KafkaError::AdminOp(code);
                    return Err(failure(Call::Ask, format!("delete topic {name}"), &error));
                }
            }
        }
        for _ in 0..ANSWER.as_millis() / LOOK.as_millis() {
            let mut left = false;
            for name in &deleted {
                left |= self.partitions(name)?.is_some();
            }
            if !left {
                return Ok(deleted);
            }
            std::thread::park_timeout(LOOK);
        }
        Err(Failure::new(
            "wait until the topics are gone",
            "still listed",
            Remedy::Retry,
        ))
    }
}
