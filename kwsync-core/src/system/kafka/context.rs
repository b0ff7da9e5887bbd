//! What the client's own threads tell: its log, and why the last connection failed.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::{Error, ErrorKind};

/// Sends the client's log to `tracing`, and keeps the last fault of a connection: the client tries again for ever by itself,
/// and says of its requests only that they took too long.
#[derive(Debug, Default)]
pub struct KafkaContext {
    fault: Mutex<Option<String>>,
}

impl KafkaContext {
    /// The error in place of `error`: with what the connection failed of, where it did.
    pub fn explained(&self, error: Error) -> Error {
        if !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) {
            return error;
        }
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(fault) = fault else {
            return error
                .with_hint("the port may want TLS (use_ssl=true) or a password, or the brokers are busy");
        };
        let says = |words: &[&str]| words.iter().any(|word| fault.contains(word));
        let (kind, hint) = if says(&["SASL", "uthentication"]) {
            (ErrorKind::Auth, "kafka://user:password@host, sasl_mechanism= as the brokers want it")
        } else if says(&["SSL", "ertificate"]) {
            (
                ErrorKind::Tls,
                "ca= must hold the authority that signed the broker's certificate, for its host name",
            )
        } else {
            (ErrorKind::Unavailable, "nobody may listen there, or the port may want TLS (use_ssl=true)")
        };
        Error::new(kind, fault).with_hint(hint)
    }

    fn keep(&self, text: &str) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(shortened(text));
    }
}

/// `[thrd:ssl://h:1/boot]: ssl://h:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: ...` without what only the client's
/// developers want to know.
fn shortened(text: &str) -> String {
    let text = match text.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")) {
        Some((_, rest)) => rest,
        None => text,
    };
    let text = text.split(" (after ").next().unwrap_or(text);
    text.trim().to_owned()
}

impl ClientContext for KafkaContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        use RDKafkaLogLevel as Level;
        let lost = matches!(facility, "FAIL" | "ERROR" | "SASL" | "TLSVERIFY" | "SSL");
        match level {
            Level::Emerg | Level::Alert | Level::Critical | Level::Error | Level::Warning if lost => {
                self.keep(message);
                tracing::warn!(target: "kwsync_kafka", facility, "{message}");
            }
            Level::Emerg | Level::Alert | Level::Critical | Level::Error | Level::Warning => {
                tracing::warn!(target: "kwsync_kafka", facility, "{message}");
            }
            Level::Notice | Level::Info => tracing::info!(target: "kwsync_kafka", facility, "{message}"),
            Level::Debug => tracing::debug!(target: "kwsync_kafka", facility, "{message}"),
        }
    }

    fn error(&self, fault: KafkaError, reason: &str) {
        // That all are down follows from what each of them failed of, which was logged.
        if fault.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            self.keep(reason);
        }
        tracing::debug!(target: "kwsync_kafka", fault = %fault, "{reason}");
    }
}

impl ConsumerContext for KafkaContext {}
