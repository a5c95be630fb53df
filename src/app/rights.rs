//! The rights that an application needs on the bus, and what commands need beside them: no more than they use.

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

/// What people need for the commands that do more than running does, beside [`rights`]: by command. `doctor` does not ask for it.
#[must_use]
pub fn of_commands(config: &Config) -> Vec<(&'static str, Vec<Right>)> {
    let app = &config.app.id;
    let on = |operation: Operation, topic: &str| Right {
        resource: Resource::Topic(topic.to_owned()),
        operation,
    };
    let inputs = config.inputs.iter();
    let inputs = inputs
        .flat_map(|input| {
            [Operation::Write, Operation::DescribeConfigs].map(|of| on(of, &input.topic))
        })
        .collect();
    let changelog = internal_topic(app, "profiles-changelog");
    let group = Right {
        resource: Resource::Group(app.clone()),
        operation: Operation::Delete,
    };
    let ours = kafka::topics(config).into_iter().filter(|spec| spec.ours);
    let mut commands = vec![
        (
            "dlq list, dlq replay",
            vec![on(Operation::Read, &internal_topic(app, "dlq"))],
        ),
        (
            "explain",
            vec![on(Operation::Read, &internal_topic(app, "decisions"))],
        ),
        ("feed, erase", inputs),
        ("reset", vec![group, on(Operation::Delete, &changelog)]),
        (
            "topics apply",
            ours.map(|spec| on(Operation::Create, &spec.name)).collect(),
        ),
    ];
    let running = rights(config);
    for (_, wanted) in &mut commands {
        wanted.retain(|right| !running.contains(right));
    }
    commands.retain(|(_, wanted)| !wanted.is_empty());
    commands
}
