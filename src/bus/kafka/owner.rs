//! Which instance committed last for a partition, from outside the group: the metadata of its offsets say so.

use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::failure::{Call, failure};
use super::{Quiet, Settings};
use crate::bus::Failure;

/// The bound of the question.
const ANSWER: Duration = Duration::from_secs(2);

/// The base address of that instance's HTTP; `None` when nobody committed yet, or it tells none.
///
/// # Errors
/// `Retry` while the coordinator does not answer.
pub fn address_of(settings: &Settings, partition: i32) -> Result<Option<String>, Failure> {
    let Some(anchor) = settings.sources.anchor() else {
        return Ok(None);
    };
    let attempted = format!("ask who committed for partition {partition} of {anchor}");
    let mut config = settings.asker("read_committed");
    config.set("group.id", &settings.app);
    let client: BaseConsumer<Quiet> = BaseConsumer::from_config_and_context(&config, Quiet)
        .map_err(|error| failure(Call::Connect, attempted.as_str(), &error))?;
    let mut list = TopicPartitionList::new();
    list.add_partition(anchor, partition);
    let committed = client
        .committed_offsets(list, ANSWER)
        .map_err(|error| failure(Call::Ask, attempted.as_str(), &error))?;
    let told = committed.find_partition(anchor, partition);
    Ok(told.and_then(|element| {
        let (_, address) = element.metadata().split_once(' ')?;
        Some(address.trim_end_matches('\0').to_owned())
    }))
}
