//! What the client reports, as errors of ours.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::{Error, ErrorKind};

/// The error of what the client has reported.
pub fn error(fault: KafkaError) -> Error {
    match &fault {
        KafkaError::ClientConfig(_, reason, key, _) if !key.is_empty() => {
            // The value may be a secret.
            let reason = reason.trim_end_matches('.');
            Error::config(format!("the property {key} of the Kafka client is wrong: {reason}"))
                .with_hint("kafka.NAME=VALUE sets properties of librdkafka")
        }
        KafkaError::ClientCreation(reason) => {
            Error::config(format!("the Kafka client cannot be made: {reason}"))
        }
        _ => match fault.rdkafka_error_code() {
            Some(code) => code_error(code),
            None => Error::new(ErrorKind::Internal, "the Kafka client failed").with_source(fault),
        },
    }
}

/// The error of a code.
pub fn code_error(code: Code) -> Error {
    let (kind, hint) = classified(code);
    // `Name (Broker: What it is)`.
    let text = code.to_string();
    let text = text.split_once('(').map_or(&*text, |(_, text)| text.trim_end_matches(')'));
    let text = text.split_once(": ").map_or(text, |(_, text)| text);
    let error = Error::new(kind, text.to_owned()).with_code(format!("{code:?}"));
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn classified(code: Code) -> (ErrorKind, Option<&'static str>) {
    match code {
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::NetworkException
        | Code::NotCoordinator
        | Code::CoordinatorNotAvailable
        | Code::CoordinatorLoadInProgress
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::KafkaStorageError
        | Code::PollExceeded
        | Code::RebalanceInProgress
        | Code::IllegalGeneration
        | Code::UnknownMemberId => (ErrorKind::Unavailable, None),
        Code::OperationTimedOut | Code::RequestTimedOut | Code::MessageTimedOut | Code::QueueFull => {
            (ErrorKind::Timeout, None)
        }
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            (ErrorKind::NotFound, Some("was the topic deleted? list what there is with kafka-topics --list"))
        }
        Code::Authentication | Code::SaslAuthenticationFailed => {
            (ErrorKind::Auth, Some("kafka://user:password@host, sasl_mechanism= as the brokers want it"))
        }
        Code::SSL => {
            (ErrorKind::Tls, Some("ca= must hold the authority that signed the broker's certificate"))
        }
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => {
            (ErrorKind::Permission, Some("the user lacks a right (ACL)"))
        }
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId => {
            (ErrorKind::Fenced, Some("another process has the same transactional_id or instance"))
        }
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::InvalidMessage => {
            (ErrorKind::Data, Some("message.max.bytes of broker and topic bounds a message"))
        }
        Code::AutoOffsetReset | Code::OffsetOutOfRange => (
            ErrorKind::NotFound,
            Some("they were deleted before they were read; lost_messages=skip goes on with what is left"),
        ),
        Code::InvalidArgument | Code::InvalidConfig | Code::UnsupportedSASLMechanism => {
            (ErrorKind::Config, None)
        }
        Code::NotImplemented | Code::UnsupportedFeature | Code::UnsupportedVersion => {
            (ErrorKind::Unsupported, None)
        }
        _ => (ErrorKind::Server, None),
    }
}
