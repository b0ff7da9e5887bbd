//! A producer, and what became of its messages.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kwsync_core::system::kafka::{ClientOptions, KafkaContext, Membership, Place, error};
use kwsync_core::{Error, ErrorKind, Result};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::Notify;

/// How long the brokers may take to begin or to end a transaction.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait for room in the client's queue before asking again.
const FULL: Duration = Duration::from_millis(2);

/// A message's number, as its writer counts.
pub(super) type Number = usize;

/// What has been told of messages, on the client's own thread.
#[derive(Default)]
pub(super) struct Deliveries {
    kafka: KafkaContext,
    /// Messages of which nothing is known yet.
    open: AtomicUsize,
    failed: Mutex<Vec<(Number, KafkaError)>>,
    settled: Notify,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.kafka.log(level, facility, message);
    }

    fn error(&self, fault: KafkaError, reason: &str) {
        self.kafka.error(fault, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Number;

    fn delivery(&self, result: &DeliveryResult<'_>, number: Number) {
        if let Err((fault, _)) = result {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).push((number, fault.clone()));
        }
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.settled.notify_one();
        }
    }
}

/// A producer of one writer.
#[derive(Clone)]
pub(super) struct Producer {
    inner: Arc<ThreadedProducer<Deliveries>>,
}

impl Producer {
    /// A producer that waits for all replicas; `defaults` are properties that the user may set otherwise.
    pub(super) fn new(
        client: &ClientOptions,
        transactional_id: Option<&str>,
        defaults: &[(&str, &str)],
    ) -> Result<Self> {
        let own = [
            ("enable.idempotence", "true"),
            ("linger.ms", "5"),
            ("batch.num.messages", "10000"),
            ("queue.buffering.max.messages", "100000"),
            ("queue.buffering.max.kbytes", "65536"),
            // A commit that takes longer has failed, and is made again.
            ("message.timeout.ms", "60000"),
        ];
        let mut config = client.config(&[&own, defaults].concat());
        if let Some(id) = transactional_id {
            config.set("transactional.id", id);
            // A message must not outlast its transaction, or the client refuses both.
            let number = |name: &str| config.get(name).and_then(|text| text.parse::<u64>().ok());
            if let (Some(transaction), Some(message)) =
                (number("transaction.timeout.ms"), number("message.timeout.ms"))
                && transaction < message
            {
                config.set("message.timeout.ms", transaction.to_string());
            }
        }
        let inner = config.create_with_context(Deliveries::default()).map_err(error)?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Hands a message to the client; waits while its queue is full.
    ///
    /// # Errors
    /// The fault, for a message that can never be sent; nothing is sent then.
    pub(super) async fn send(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        payload: &[u8],
        number: Number,
    ) -> std::result::Result<(), KafkaError> {
        let mut record = BaseRecord::with_opaque_to(topic, number).payload(payload);
        record.key = key;
        self.send_record(record).await
    }

    /// As [`send`](Self::send), of a message with whatever it has.
    pub(super) async fn send_record(
        &self,
        mut record: BaseRecord<'_, [u8], [u8], Number>,
    ) -> std::result::Result<(), KafkaError> {
        loop {
            let context = self.inner.context();
            // Before it is sent: its delivery may be told at once.
            context.open.fetch_add(1, Ordering::AcqRel);
            match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((fault, back)) => {
                    context.open.fetch_sub(1, Ordering::AcqRel);
                    if fault.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                        return Err(fault);
                    }
                    record = back;
                    tokio::time::sleep(FULL).await;
                }
            }
        }
    }

    /// Waits until the fate of every message is known; returns those that failed.
    pub(super) async fn settle(&self) -> Vec<(Number, KafkaError)> {
        let context = self.inner.context();
        loop {
            let settled = context.settled.notified();
            if context.open.load(Ordering::Acquire) == 0 {
                break;
            }
            settled.await;
        }
        std::mem::take(&mut *context.failed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The error of a fault.
    pub(super) fn explained(&self, fault: KafkaError) -> Error {
        use RDKafkaErrorCode as Code;
        let fatal = self.inner.client().fatal_error();
        let code = fatal.as_ref().map(|(code, _)| *code).or(fault.rdkafka_error_code());
        // To begin anew would fence off the other one, which would do the same.
        if let Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) = code {
            return Error::config("another process has taken this one's transactional_id over").with_hint(
                "give each its own; or a transaction took longer than kafka.transaction.timeout.ms, and was ended",
            );
        }
        let fault = error(fault);
        match fatal {
            Some((code, reason)) => fault.context(format!("the producer cannot go on: {code}: {reason}")),
            None => fault,
        }
    }

    /// The error of a fault, with what the connections failed of where it says only that something took too long.
    pub(super) fn told(&self, fault: KafkaError) -> Error {
        self.inner.context().kafka.explained(self.explained(fault))
    }

    async fn blocking(
        &self,
        what: &'static str,
        call: impl FnOnce(&ThreadedProducer<Deliveries>) -> std::result::Result<(), KafkaError> + Send + 'static,
    ) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || call(&inner)).await.map_err(|fault| {
            Error::new(ErrorKind::Internal, "a call of the Kafka client broke off").with_source(fault)
        })?;
        done.map_err(|fault| self.explained(fault).context(what))
    }

    /// Waits until the brokers answer and know the topics; with a transactional id, fences off whoever had it.
    pub(super) async fn connect(&self, patience: Duration, transactional: bool) -> Result<()> {
        let answered = self
            .blocking("the brokers do not answer", move |inner| {
                // Of none by name, which some brokers would make.
                inner.client().fetch_metadata(None, patience).map(drop)
            })
            .await;
        // What the first connections failed of says more.
        answered.map_err(|fault| self.inner.context().kafka.explained(fault))?;
        match transactional {
            true => {
                self.blocking("transactions cannot begin", |inner| inner.init_transactions(PATIENCE)).await
            }
            false => Ok(()),
        }
    }

    pub(super) fn begin(&self) -> Result<()> {
        self.inner.begin_transaction().map_err(|fault| self.explained(fault))
    }

    /// Makes the places where a group goes on reading part of the transaction.
    pub(super) async fn send_offsets(&self, places: &[(Membership, Place)]) -> Result<()> {
        // Lists for each member; a lane has one reader, so that there is one almost always.
        let mut lists: Vec<(Arc<ConsumerGroupMetadata>, TopicPartitionList)> = Vec::new();
        for (Membership { topic, partition, member }, place) in places {
            let known = lists.iter().position(|(known, _)| Arc::ptr_eq(known, member));
            let at = known.unwrap_or_else(|| {
                lists.push((Arc::clone(member), TopicPartitionList::new()));
                lists.len() - 1
            });
            let list = &mut lists[at].1;
            list.add_partition_offset(topic, *partition, Offset::Offset(place.offset)).map_err(error)?;
            let note = place.note();
            if let Some(mut element) = list.find_partition(topic, *partition).filter(|_| !note.is_empty()) {
                element.set_metadata(note);
            }
        }
        for (member, list) in lists {
            self.blocking("the offsets of the group cannot be part of the transaction", move |inner| {
                inner.send_offsets_to_transaction(&list, &member, PATIENCE)
            })
            .await?;
        }
        Ok(())
    }

    pub(super) async fn commit(&self) -> Result<()> {
        self.blocking("the transaction cannot be committed", |inner| inner.commit_transaction(PATIENCE)).await
    }

    pub(super) async fn abort(&self) -> Result<()> {
        self.blocking("the transaction cannot be taken back", |inner| inner.abort_transaction(PATIENCE)).await
    }
}
