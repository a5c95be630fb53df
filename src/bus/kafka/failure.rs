//! The one table from the client's errors to what must be done (engine.md §3).

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::bus::failure::{Failure, Remedy};

/// The calls that can fail, as far as the remedy depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Making a client.
    Connect,
    /// Polling the group member.
    Poll,
    /// Taking partitions over or giving them up.
    Assign,
    /// Setting the next offset of partitions, pausing, resuming.
    Seek,
    /// Asking for offsets, ends, metadata; creating topics.
    Ask,
    /// Reading a changelog.
    Changelog,
    /// `init_transactions`.
    Init,
    /// `begin_transaction`.
    Begin,
    /// Putting a record into the producer's queue.
    Send,
    /// The delivery report of a record.
    Report,
    /// `send_offsets_to_transaction`.
    Offsets,
    /// `commit_transaction`.
    Commit,
    /// `abort_transaction`.
    Abort,
}

/// Nothing that is tried again under this name, with these rights, with this client will ever work.
const HOPELESS: [Code; 11] = [
    Code::UnreleasedInstanceId,
    Code::TopicAuthorizationFailed,
    Code::GroupAuthorizationFailed,
    Code::ClusterAuthorizationFailed,
    Code::TransactionalIdAuthorizationFailed,
    Code::SaslAuthenticationFailed,
    Code::Authentication,
    Code::UnsupportedSASLMechanism,
    Code::UnsupportedVersion,
    Code::InvalidTransactionTimeout,
    Code::InvalidGroupId,
];

/// The group has moved on; the transaction cannot commit, the producer is sound.
const REBALANCED: [Code; 3] = [
    Code::UnknownMemberId,
    Code::IllegalGeneration,
    Code::RebalanceInProgress,
];

/// The record itself can never be sent.
const TOO_LARGE: [Code; 3] = [
    Code::MessageSizeTooLarge,
    Code::MessageBatchTooLarge,
    Code::InvalidMessageSize,
];

/// The offset to read from is not kept any more (or never was): going on would skip or repeat.
const GONE: [Code; 4] = [
    Code::AutoOffsetReset,
    Code::OffsetOutOfRange,
    Code::LogTruncation,
    Code::NoOffset,
];

/// The topic or partition that configuration names does not exist.
const UNKNOWN: [Code; 3] = [
    Code::UnknownPartition,
    Code::UnknownTopic,
    Code::InvalidTopic,
];

/// Does a broker say that there is no such topic or partition?
pub(super) fn is_unknown(code: Code) -> bool {
    code == Code::UnknownTopicOrPartition || UNKNOWN.contains(&code)
}

/// Is what stood at the position to read from not there any more?
pub(super) fn is_gone(error: &KafkaError) -> bool {
    error
        .rdkafka_error_code()
        .is_some_and(|code| GONE.contains(&code))
}

/// What must be done about `code` at `call`.
///
/// A lost membership goes before this table: the callers say `Fenced` then.
pub(super) fn remedy(call: Call, code: Code) -> Remedy {
    if HOPELESS.contains(&code) {
        return Remedy::Fatal;
    }
    // Somebody has our name in the group, most often a ghost of ours: `consumer::fence` finds out.
    if code == Code::FencedInstanceId {
        return Remedy::Fenced;
    }
    match call {
        // The client reports what it will repair itself; what it cannot repair is a position that is gone.
        Call::Poll | Call::Changelog if GONE.contains(&code) => Remedy::Fatal,
        Call::Poll if code == Code::Fatal => Remedy::Fatal,
        Call::Poll | Call::Changelog | Call::Ask => Remedy::Retry,
        // A fenced client is of no use even for `init_transactions`; everything else is waiting for the coordinator.
        Call::Init if fenced(code) => Remedy::Remake,
        Call::Init => Remedy::Retry,
        Call::Seek if UNKNOWN.contains(&code) => Remedy::Fatal,
        Call::Seek => Remedy::Retry,
        Call::Connect | Call::Assign => Remedy::Fatal,
        Call::Send if UNKNOWN.contains(&code) => Remedy::Fatal,
        Call::Send if code == Code::QueueFull => Remedy::Retry,
        // The same batch would be refused again and again, and nobody of this worker would be answered.
        Call::Send | Call::Report if TOO_LARGE.contains(&code) => Remedy::Fatal,
        Call::Send if code == Code::State => Remedy::Abort,
        // Purged reports follow from the cause that came first; the caller looks whether the producer died of it.
        Call::Report if matches!(code, Code::PurgeQueue | Code::PurgeInflight) => Remedy::Abort,
        // Definite answers of the broker: ordinary, the producer stays sound.
        Call::Offsets if REBALANCED.contains(&code) => Remedy::Abort,
        // What is left at these calls may still be on its way to a broker: it must not meet the next transaction of this
        // producer (protocol v1 does not tell them apart), and after a commit nobody knows the outcome.
        Call::Send | Call::Report | Call::Offsets | Call::Begin | Call::Commit | Call::Abort => {
            Remedy::Remake
        }
    }
}

/// Did the broker give this producer's place to a newer one, or time its transaction out?
pub(super) fn fenced(code: Code) -> bool {
    matches!(
        code,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::Fatal
    )
}

/// Is a right missing?
pub(super) fn is_denial(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
    )
}

/// The failure of `attempted` (call and named object, no key or payload).
pub(super) fn failure(call: Call, attempted: impl Into<String>, error: &KafkaError) -> Failure {
    let code = error.rdkafka_error_code();
    let remedy = match code {
        // Errors of configuration and of the local queues carry a text only.
        None => remedy(call, Code::Fail),
        Some(code)
            if matches!(error, KafkaError::MessageConsumptionFatal(_))
                && code != Code::FencedInstanceId =>
        {
            Remedy::Fatal
        }
        Some(code) => remedy(call, code),
    };
    Failure {
        attempted: attempted.into(),
        code: name(call, error),
        remedy,
    }
}

/// The right that `call` rests on, when a resource of this kind refuses it.
fn right(call: Call, code: Code) -> &'static str {
    match (call, code) {
        (_, Code::GroupAuthorizationFailed) if call != Call::Ask => "Read on the group",
        (_, Code::TransactionalIdAuthorizationFailed) => "Write on the transactional id",
        (Call::Poll | Call::Changelog, Code::TopicAuthorizationFailed) => "Read on the topic",
        (Call::Send | Call::Report, Code::TopicAuthorizationFailed) => "Write on the topic",
        _ => "a right",
    }
}

/// What is said of a code; of those that a person must mend, also how.
pub(super) fn said(call: Call, code: Code) -> String {
    if is_denial(code) {
        let right = right(call, code);
        format!(
            "{code}: {right} is missing; `tidegate topics --acls` prints the commands that grant what running, and each command, needs"
        )
    } else if TOO_LARGE.contains(&code) {
        format!(
            "{code}: raise `max.message.bytes` of the topic (1048588 suffices for all that tidegate writes), and start again"
        )
    } else {
        code.to_string()
    }
}

/// The error's name, without values of properties (they may be secrets).
fn name(call: Call, error: &KafkaError) -> String {
    if let KafkaError::ClientConfig(_, description, property, _) = error {
        return format!("{property}: {description}");
    }
    match (error, error.rdkafka_error_code()) {
        (_, Some(code)) => said(call, code),
        (other, None) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_met_in_the_study_has_its_remedy() {
        use Call::{Abort, Begin, Changelog, Commit, Init, Offsets, Poll, Report, Send};
        for (call, code, wanted) in [
            (Offsets, Code::UnknownMemberId, Remedy::Abort),
            (Offsets, Code::IllegalGeneration, Remedy::Abort),
            (Offsets, Code::RebalanceInProgress, Remedy::Abort),
            (Offsets, Code::Fenced, Remedy::Remake),
            (Offsets, Code::InvalidProducerEpoch, Remedy::Remake),
            (Offsets, Code::OperationTimedOut, Remedy::Remake),
            (Offsets, Code::FencedInstanceId, Remedy::Fenced),
            (Offsets, Code::GroupAuthorizationFailed, Remedy::Fatal),
            (Commit, Code::Fenced, Remedy::Remake),
            (Commit, Code::InvalidProducerEpoch, Remedy::Remake),
            (Commit, Code::OperationTimedOut, Remedy::Remake),
            (Commit, Code::BrokerTransportFailure, Remedy::Remake),
            (Commit, Code::UnknownProducerId, Remedy::Remake),
            (Commit, Code::InvalidTransactionalState, Remedy::Remake),
            (
                Commit,
                Code::TransactionalIdAuthorizationFailed,
                Remedy::Fatal,
            ),
            (Abort, Code::Fenced, Remedy::Remake),
            (Abort, Code::OperationTimedOut, Remedy::Remake),
            (Begin, Code::Fenced, Remedy::Remake),
            (Begin, Code::State, Remedy::Remake),
            (Init, Code::ConcurrentTransactions, Remedy::Retry),
            (Init, Code::OperationTimedOut, Remedy::Retry),
            (Init, Code::CoordinatorLoadInProgress, Remedy::Retry),
            (Init, Code::Fenced, Remedy::Remake),
            (Init, Code::InvalidTransactionTimeout, Remedy::Fatal),
            (Send, Code::QueueFull, Remedy::Retry),
            (Send, Code::MessageSizeTooLarge, Remedy::Fatal),
            (Send, Code::State, Remedy::Abort),
            (Send, Code::Fatal, Remedy::Remake),
            (Send, Code::UnknownPartition, Remedy::Fatal),
            (Report, Code::InvalidProducerEpoch, Remedy::Remake),
            (Report, Code::PurgeQueue, Remedy::Abort),
            (Report, Code::PurgeInflight, Remedy::Abort),
            (Report, Code::MessageSizeTooLarge, Remedy::Fatal),
            (Report, Code::MessageTimedOut, Remedy::Remake),
            (Poll, Code::UnreleasedInstanceId, Remedy::Fatal),
            (Poll, Code::FencedInstanceId, Remedy::Fenced),
            (Poll, Code::AutoOffsetReset, Remedy::Fatal),
            (Poll, Code::PollExceeded, Remedy::Retry),
            (Poll, Code::BrokerTransportFailure, Remedy::Retry),
            (Poll, Code::UnknownTopicOrPartition, Remedy::Retry),
            (Changelog, Code::OffsetOutOfRange, Remedy::Fatal),
            (Changelog, Code::AllBrokersDown, Remedy::Retry),
        ] {
            assert_eq!(remedy(call, code), wanted, "{call:?} {code:?}");
        }
    }

    #[test]
    fn a_fatal_consumer_error_ends_the_process_whatever_its_code() {
        let error = KafkaError::MessageConsumptionFatal(Code::UnknownMemberId);
        assert_eq!(failure(Call::Poll, "poll", &error).remedy, Remedy::Fatal);
    }
}
