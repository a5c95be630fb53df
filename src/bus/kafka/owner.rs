//! Who committed last for a partition, from outside the group: the metadata of its offsets say so.

use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::failure::{Call, failure};
use super::{Quiet, Settings};
use crate::bus::Failure;

/// The bound of the question.
const ANSWER: Duration = Duration::from_secs(2);

/// Who made the last commit of one partition.
pub(super) struct Committer {
    /// `<instance>-<worker>`.
    pub(super) client_id: String,
    /// Base address of the instance's HTTP, if it tells one.
    address: Option<String>,
}

/// The last committers of these partitions, as far as somebody committed. Transactions that are still open do not hold the answer up: what
/// was committed before them is told.
///
/// # Errors
/// `Retry` while the coordinator does not answer.
pub(super) fn committers(
    settings: &Settings,
    partitions: &[i32],
) -> Result<Vec<Committer>, Failure> {
    let Some(anchor) = settings.sources.anchor() else {
        return Ok(Vec::new());
    };
    let attempted = format!("ask who committed for partitions {partitions:?} of {anchor}");
    let client: BaseConsumer<Quiet> =
        BaseConsumer::from_config_and_context(&settings.group_asker(), Quiet)
            .map_err(|error| failure(Call::Connect, attempted.as_str(), &error))?;
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(anchor, *partition);
    }
    let committed = client
        .committed_offsets(list, ANSWER)
        .map_err(|error| failure(Call::Ask, attempted.as_str(), &error))?;
    let told = committed.elements();
    Ok(told
        .iter()
        .filter_map(|element| Committer::read(element.metadata()))
        .collect())
}

impl Committer {
    /// Reads what [`Settings::offset_metadata`] wrote.
    fn read(metadata: &str) -> Option<Self> {
        let metadata = metadata.trim_end_matches('\0');
        let (client_id, address) = match metadata.split_once(' ') {
            Some((client_id, address)) => (client_id, Some(address.to_owned())),
            None => (metadata, None),
        };
        (!client_id.is_empty()).then(|| Self {
            client_id: client_id.to_owned(),
            address,
        })
    }
}

/// The base address of the HTTP of the instance that committed last for a partition; `None` when nobody committed yet, or it tells none.
///
/// # Errors
/// `Retry` while the coordinator does not answer.
pub fn address_of(settings: &Settings, partition: i32) -> Result<Option<String>, Failure> {
    let told = committers(settings, &[partition])?;
    Ok(told.into_iter().find_map(|committer| committer.address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_committer_is_read_as_it_was_written() {
        let mut settings = Settings::new("localhost:9092", "shop", "one", 2);
        let read = |settings: &Settings| Committer::read(&settings.offset_metadata());
        let told = read(&settings).unwrap();
        assert_eq!((told.client_id.as_str(), told.address), ("one-2", None));
        settings.address = Some("http://one:8080".into());
        let told = read(&settings).unwrap();
        assert_eq!(told.client_id, "one-2");
        assert_eq!(told.address.as_deref(), Some("http://one:8080"));
        assert!(Committer::read("").is_none());
    }
}
