//! The client's thread: it asks the client for messages, and hands them to the reader.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use kwsync_core::system::kafka::{GroupOffsets, Place, error};
use kwsync_core::{Error, ErrorKind, Result, Retry};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::base_consumer::BaseConsumer;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::mpsc::Sender;

use super::batch::{Batch, Builder, Part};
use super::desk::{Context, QUESTION};
use super::native::{Incoming, Messages, Refused};
use super::{KafkaOptions, LostMessages};

/// How long one look for messages takes; what the reader wants meanwhile waits.
const POLL: Duration = Duration::from_millis(20);
/// How long the reader may be busy before the client is told to fetch no more.
const PATIENCE: Duration = Duration::from_millis(250);

/// What the thread tells the reader.
#[derive(Debug)]
pub(super) enum Event {
    Messages(Batch),
    /// All has come that the partitions of this reader hold, if it has any.
    End,
    /// Partitions that it may have. The thread waits for [`Command::Start`], unless there are none.
    Taken(Vec<Arc<Part>>),
    /// It is known where the partitions that were taken begin: those that have no checkpoint are to be remembered, though
    /// nothing has come yet.
    At(Vec<(Arc<str>, i64)>),
    /// Partitions that go away. The thread waits for [`Command::Released`].
    Released(Vec<Arc<str>>),
    Fault(Error),
}

/// What the reader tells the thread. It ends when nobody can tell it anything any more.
#[derive(Debug)]
pub(super) enum Command {
    Start(Vec<(Arc<str>, Option<Place>)>),
    Commit(Vec<(Arc<str>, i64)>),
    Released(Vec<Arc<str>>),
}

/// Which partitions to read.
#[derive(Debug)]
pub(super) enum Wanted {
    /// What the group assigns of these topics.
    Group(Vec<String>),
    /// These.
    Own(Vec<(String, i32)>),
}

/// Reads until the reader is gone, or to the first fault that the client cannot mend by itself.
pub(super) fn run(
    options: &Arc<KafkaOptions>,
    group: Option<Arc<GroupOffsets>>,
    wanted: Wanted,
    events: Sender<Event>,
    commands: Receiver<Command>,
) {
    if let Err(fault) = try_run(options, group, wanted, events.clone(), commands) {
        // Nobody may be left who wants to know.
        drop(
            events.blocking_send(Event::Fault(fault.context(format!("Kafka {}", options.client.brokers())))),
        );
    }
}

fn try_run(
    options: &Arc<KafkaOptions>,
    group: Option<Arc<GroupOffsets>>,
    wanted: Wanted,
    events: Sender<Event>,
    commands: Receiver<Command>,
) -> Result<()> {
    let reset = match options.lost {
        LostMessages::Fail => "error",
        LostMessages::Skip => "earliest",
    };
    let mut config = options.client.config(&[
        ("queued.max.messages.kbytes", "32768"),
        ("fetch.queue.backoff.ms", "20"),
        ("topic.metadata.refresh.interval.ms", "60000"),
        ("allow.auto.create.topics", "false"),
    ]);
    // These are not the user's to set: what was read counts when its rows are committed.
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // See `ends`.
        .set("enable.partition.eof", "false")
        .set("auto.offset.reset", reset)
        // A client without a group gets no messages; nothing is asked of or told to this one.
        .set("group.id", options.group.as_deref().unwrap_or("kwsync-alone"));
    if options.timeout != Duration::MAX {
        let interval = super::ends::interval(options.timeout);
        config.set("statistics.interval.ms", interval.as_millis().to_string());
    }
    let context = Context::new(Arc::clone(options), group, events, commands);
    let consumer: BaseConsumer<Context> = config.create_with_context(context).map_err(error)?;
    let context = consumer.context();
    let mut messages = Messages::new(&consumer)
        .ok_or_else(|| Error::new(ErrorKind::Internal, "the Kafka client makes no queue"))?;
    context.desk().forward = Some(messages.forward());
    let ended = begin(&consumer, &wanted).and_then(|begun| match begun {
        true => read(&consumer, &mut messages),
        false => Ok(()),
    });
    // Nothing is forwarded any more to what goes now.
    context.desk().forward = None;
    drop(messages);
    let last = context.desk().commit_last(&consumer);
    context.desk().withdraw();
    if let Err(fault) = ended.and(last) {
        // Before the consumer is dropped, which takes as long as it takes to leave the group.
        let fault = fault.context(format!("Kafka {}", options.client.brokers()));
        let mut desk = context.desk();
        desk.outbox = None;
        desk.builder = Builder::default();
        desk.tell(Event::Fault(fault));
    }
    Ok(())
}

/// Asks the group for partitions, or takes those that are this job's own; false when the reader is gone.
fn begin(consumer: &BaseConsumer<Context>, wanted: &Wanted) -> Result<bool> {
    let context = consumer.context();
    match wanted {
        Wanted::Group(topics) => {
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            consumer.subscribe(&topics).map_err(error)?;
        }
        Wanted::Own(partitions) => {
            let Some(list) = context.desk().take(consumer, partitions)? else { return Ok(false) };
            context.desk().forward(consumer, &list);
            consumer.assign(&list).map_err(error)?;
            context.desk().enrol(consumer);
        }
    }
    Ok(true)
}

fn read(consumer: &BaseConsumer<Context>, messages: &mut Messages<'_>) -> Result<()> {
    let context = consumer.context();
    // Since when the reader is busy.
    let mut stalled: Option<Instant> = None;
    loop {
        let mut desk = context.desk();
        if let Some(fault) = desk.fault.take() {
            return Err(fault);
        }
        loop {
            match desk.commands.try_recv() {
                Ok(Command::Commit(places)) => desk.commit(consumer, places, CommitMode::Async),
                Ok(_) => {}
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
        if std::mem::take(&mut desk.assigned) {
            // What came meanwhile is not paused, and what stayed may be.
            desk.resume(consumer)?;
        }
        desk.tell_end();
        if !desk.offer() {
            // The target is slower. The client must be asked all the same, or the group would take it for dead.
            let since = *stalled.get_or_insert_with(Instant::now);
            let paused = desk.paused.is_some();
            if !paused && since.elapsed() >= PATIENCE {
                let all = consumer.assignment().map_err(error)?;
                consumer.pause(&all).map_err(error)?;
                desk.paused = Some(all.to_topic_map().into_keys().collect());
                continue;
            }
            drop(desk);
            if paused {
                serve(consumer, POLL)?;
                // Partitions may have been assigned just now.
                let mut desk = context.desk();
                messages
                    .take(1, Duration::ZERO, |message| desk.push(message))
                    .or_else(|refused| weigh(refused).map(|()| 0))?;
            } else {
                std::thread::sleep(Duration::from_millis(1));
            }
            continue;
        }
        stalled = None;
        desk.resume(consumer)?;
        let parts: Option<Vec<_>> =
            context.doubt.swap(false, Ordering::AcqRel).then(|| desk.parts.values().cloned().collect());
        drop(desk);
        for part in parts.unwrap_or_default() {
            look(consumer, &part)?;
        }
        // What else the client has to tell; the group may be divided anew meanwhile.
        serve(consumer, Duration::ZERO)?;
        let mut desk = context.desk();
        if desk.fault.is_some() || desk.outbox.is_some() {
            continue;
        }
        // Who has something in hand does not wait for more.
        let wait = if desk.builder.is_empty() { POLL } else { Duration::ZERO };
        let room = desk.builder.room();
        let taken = messages.take(room, wait, |message| desk.push(message));
        let taken = taken.or_else(|refused| weigh(refused).map(|()| 1))?;
        if taken == 0 || desk.builder.is_full() {
            desk.seal();
        }
    }
}

/// Whether a partition is still there.
fn look(consumer: &BaseConsumer<Context>, part: &Part) -> Result<()> {
    // Brokers that do not answer now are asked for messages all the same.
    let Ok(metadata) = consumer.fetch_metadata(Some(&part.topic), QUESTION) else { return Ok(()) };
    let known = metadata.topics().iter().find(|known| known.name() == &*part.topic);
    let there = known.is_some_and(|known| known.partitions().iter().any(|own| own.id() == part.partition));
    let fault = known.and_then(|known| known.error()).map(Into::into);
    match fault.or((!there).then_some(RDKafkaErrorCode::UnknownPartition)) {
        Some(fault) => judge(KafkaError::MessageConsumption(fault))
            .map_err(|fault| fault.context(format!("{}[{}]", part.topic, part.partition))),
        None => Ok(()),
    }
}

/// Serves the client: it calls back for what is neither message nor fault.
fn serve(consumer: &BaseConsumer<Context>, wait: Duration) -> Result<()> {
    match consumer.poll(wait) {
        Some(Ok(message)) => {
            // None comes this way once its partition is forwarded.
            if let Some(message) = Incoming::of(&message) {
                consumer.context().desk().push(&message);
            }
            Ok(())
        }
        Some(Err(fault)) => judge(fault),
        None => Ok(()),
    }
}

pub(super) fn resume(consumer: &BaseConsumer<Context>, partitions: HashSet<(String, i32)>) -> Result<()> {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition(&topic, partition);
    }
    if list.count() > 0 { consumer.resume(&list).map_err(error) } else { Ok(()) }
}

/// [`judge`] of a fault among messages.
fn weigh(Refused { fault, what }: Refused) -> Result<()> {
    judge(fault).map_err(|fault| fault.context(what))
}

/// The client mends by itself what may be mended.
fn judge(fault: KafkaError) -> Result<()> {
    let gone = matches!(
        fault.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
    );
    let fault = error(fault);
    if gone {
        return Err(fault.context("messages that were to be read next are not there"));
    }
    // By the fault itself: what some connection failed of an hour ago says nothing of this one.
    if fault.retry() == Retry::Never {
        return Err(fault);
    }
    tracing::debug!(error = %fault, "the Kafka client goes on trying");
    Ok(())
}
