//! The rights that an application needs on the bus: no more than it uses.

use super::kafka;
use crate::bus::kafka::probe::{Operation, Resource, Right};
use crate::bus::kafka::settings::transactional_ids;
use crate::config::{Config, internal_topic};

/// Every right, one operation each, by resource. What one implies (Read and Write imply Describe) is not listed.
#[must_use]
pub fn rights(config: &Config) -> Vec<Right> {
    let app = &config.app.id;
    let anchor = internal_topic(app, "events");
    let changelog = internal_topic(app, "profiles-changelog");
    let mut rights = Vec::new();
    for spec in kafka::topics(config) {
        let name = &spec.name;
        let input = config.inputs.iter().any(|input| input.topic == *name);
        let mut operations = Vec::new();
        if input || *name == anchor || *name == changelog {
            operations.push(Operation::Read);
        }
        if !input {
            operations.push(Operation::Write);
        }
        if *name == anchor {
            operations.push(Operation::Delete);
        }
        if !spec.settings.is_empty() {
            operations.push(Operation::DescribeConfigs);
        }
        if spec.ours && config.topics.create {
            operations.push(Operation::Create);
        }
        rights.extend(operations.into_iter().map(|operation| Right {
            resource: Resource::Topic(name.clone()),
            operation,
        }));
    }
    rights.push(Right {
        resource: Resource::Group(app.clone()),
        operation: Operation::Read,
    });
    rights.push(Right {
        resource: Resource::TransactionalIds(transactional_ids(app)),
        operation: Operation::Write,
    });
    rights
}
