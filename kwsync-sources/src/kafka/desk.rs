//! What there is to do for the client's thread, and what the client calls when the group assigns partitions anew: it waits
//! then until the rows of what is given up are committed, or until the target has said where to begin.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kwsync_core::system::kafka::{GroupOffsets, KafkaContext, Membership, Place, error};
use kwsync_core::{Error, ErrorKind, Result};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::base_consumer::BaseConsumer;
use rdkafka::consumer::{CommitMode, Consumer, ConsumerContext, ConsumerGroupMetadata, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::batch::{Builder, Part};
use super::ends::Ends;
use super::native::{Forward, Incoming};
use super::worker::{Command, Event, resume};
use super::{FallbackOffset, KafkaOptions};

/// How long what was read of a partition may take to be committed before somebody else gets it.
const HAND_OVER: Duration = Duration::from_secs(60);
/// How long the brokers may take to say where a group stands.
pub(super) const QUESTION: Duration = Duration::from_secs(30);
/// How long it may take until a group's offsets are in no transaction: one that nobody ends lasts a minute.
const STABLE: Duration = Duration::from_secs(90);

/// What the client calls, on this thread while it is asked for messages.
pub(super) struct Context {
    kafka: KafkaContext,
    desk: Mutex<Desk>,
    /// Whether the client has logged a fault: those of a partition that is not there it tells in no other way where messages
    /// are taken by the hundred.
    pub(super) doubt: AtomicBool,
}

/// What there is to do, and to tell. Only this thread is ever at it.
pub(super) struct Desk {
    options: Arc<KafkaOptions>,
    /// Sends the messages of partitions that are assigned to where they are taken.
    pub(super) forward: Option<Forward>,
    /// The group's offsets, which a sink may keep.
    group: Option<Arc<GroupOffsets>>,
    /// As whom this client has its partitions.
    member: Option<Arc<ConsumerGroupMetadata>>,
    events: Sender<Event>,
    pub(super) commands: Receiver<Command>,
    /// A batch that waits for the reader.
    pub(super) outbox: Option<Event>,
    pub(super) builder: Builder,
    pub(super) parts: HashMap<(String, i32), Arc<Part>>,
    /// The partition of the last message.
    last: Option<Arc<Part>>,
    ends: Ends,
    /// Where the first message of a partition has been read in part.
    skips: HashMap<Arc<str>, Place>,
    /// Offsets that the group is yet to be told, or was told without waiting for an answer.
    told: HashMap<Arc<str>, i64>,
    /// Partitions that are paused for the reader.
    pub(super) paused: Option<HashSet<(String, i32)>>,
    /// Whether partitions have been assigned since this was looked at.
    pub(super) assigned: bool,
    pub(super) fault: Option<Error>,
}

impl Context {
    /// Nothing is to do yet.
    pub(super) fn new(
        options: Arc<KafkaOptions>,
        group: Option<Arc<GroupOffsets>>,
        events: Sender<Event>,
        commands: Receiver<Command>,
    ) -> Self {
        let desk = Desk {
            options,
            group,
            member: None,
            forward: None,
            events,
            commands,
            outbox: None,
            builder: Builder::default(),
            parts: HashMap::new(),
            last: None,
            ends: Ends::default(),
            skips: HashMap::new(),
            told: HashMap::new(),
            paused: None,
            assigned: false,
            fault: None,
        };
        Self { kafka: KafkaContext::default(), desk: Mutex::new(desk), doubt: AtomicBool::new(false) }
    }

    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    /// Says that messages of these partitions, which are about to be assigned, come by the queue.
    pub(super) fn forward(&self, consumer: &BaseConsumer<Context>, list: &TopicPartitionList) {
        let Some(forward) = self.forward else { return };
        for (topic, partition) in list.to_topic_map().keys() {
            forward.partition(consumer, topic, *partition);
        }
    }

    pub(super) fn push(&mut self, message: &Incoming<'_>) {
        let topic = message.topic();
        let is = |part: &&Arc<Part>| part.partition == message.partition() && part.topic.as_bytes() == topic;
        // Looking a text up copies it, and the next message is most often of the same partition.
        let part = match self.last.as_ref().filter(is) {
            Some(part) => part,
            None => {
                let Ok(topic) = std::str::from_utf8(topic) else { return };
                let key = (topic.to_owned(), message.partition());
                let Some(part) = self.parts.get(&key) else { return };
                self.last.insert(Arc::clone(part))
            }
        };
        self.ends.goes_on(part);
        // Hardly ever is there one, and looking costs as much as copying a small message.
        let begun = if self.skips.is_empty() { None } else { self.skips.remove(&part.id) };
        let skip = begun.filter(|place| place.offset == message.offset()).map_or(0, |place| place.skip);
        self.builder.push(part, message, skip);
    }

    /// Goes on with what is paused. With nothing else: the client would fetch again what it has handed out.
    pub(super) fn resume(&mut self, consumer: &BaseConsumer<Context>) -> Result<()> {
        match self.paused.take() {
            Some(paused) => {
                self.ends.resumed();
                resume(consumer, paused)
            }
            None => Ok(()),
        }
    }

    /// Says in whose name the partitions' offsets are to be committed, by a sink that keeps them.
    pub(super) fn enrol(&mut self, consumer: &BaseConsumer<Context>) {
        let Some(group) = self.group.as_ref().filter(|group| group.is_kept()) else { return };
        let Some(member) = consumer.group_metadata().map(Arc::new) else { return };
        for part in self.parts.values() {
            let membership = Membership {
                topic: Arc::clone(&part.topic),
                partition: part.partition,
                member: Arc::clone(&member),
            };
            group.join(Arc::clone(&part.id), membership);
        }
        self.member = Some(member);
    }

    /// Nothing is committed in this client's name any more.
    pub(super) fn withdraw(&mut self) {
        let parts: Vec<_> = self.parts.values().map(|part| Arc::clone(&part.id)).collect();
        self.leave(&parts);
        self.parts.clear();
    }

    fn leave(&self, parts: &[Arc<str>]) {
        if let (Some(group), Some(member)) = (&self.group, &self.member) {
            parts.iter().for_each(|part| group.leave(part, member));
        }
    }

    /// Whether it is this client that commits the group's offsets.
    fn commits(&self) -> bool {
        self.group.as_ref().is_some_and(|group| !group.is_kept())
    }

    /// What has come together is to be handed over.
    pub(super) fn seal(&mut self) {
        if !self.builder.is_empty() {
            debug_assert!(self.outbox.is_none(), "a batch would be lost");
            self.outbox = Some(Event::Messages(self.builder.take()));
        }
    }

    /// Has the reader know that all has come that there is, behind what it is to get before.
    pub(super) fn tell_end(&mut self) {
        if self.outbox.is_none() && self.builder.is_empty() && self.ends.is_news(self.parts.len()) {
            self.outbox = Some(Event::End);
        }
    }

    /// Whether nothing waits for the reader any more.
    pub(super) fn offer(&mut self) -> bool {
        let Some(event) = self.outbox.take() else { return true };
        match self.events.try_send(event) {
            // Where the reader is gone, the commands tell.
            Ok(()) | Err(TrySendError::Closed(_)) => true,
            Err(TrySendError::Full(event)) => {
                self.outbox = Some(event);
                false
            }
        }
    }

    /// Tells the reader behind all that it is to get before; false when it is gone.
    pub(super) fn tell(&mut self, event: Event) -> bool {
        let waiting = self.outbox.take();
        self.seal();
        let all = waiting.into_iter().chain(self.outbox.take()).chain([event]);
        all.into_iter().all(|event| self.events.blocking_send(event).is_ok())
    }

    /// Asks where to begin with these partitions; `None` when the reader is gone.
    pub(super) fn take(
        &mut self,
        consumer: &BaseConsumer<Context>,
        partitions: &[(String, i32)],
    ) -> Result<Option<TopicPartitionList>> {
        let mut list = TopicPartitionList::new();
        let mut taken = Vec::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            list.add_partition(topic, *partition);
            let part = Arc::new(Part::new(topic, *partition));
            self.parts.insert((topic.clone(), *partition), Arc::clone(&part));
            taken.push(part);
        }
        let none = taken.is_empty();
        self.ends.taken(&taken);
        if !self.tell(Event::Taken(taken)) {
            return Ok(None);
        }
        if none {
            return Ok(Some(list));
        }
        let places: HashMap<Arc<str>, Place> = loop {
            match self.commands.recv() {
                Ok(Command::Start(places)) => {
                    break places.into_iter().filter_map(|(id, place)| Some((id, place?))).collect();
                }
                Ok(Command::Commit(places)) => self.commit(consumer, places, CommitMode::Async),
                Ok(Command::Released(_)) => {}
                Err(_) => return Ok(None),
            }
        };
        self.begin(consumer, &mut list, &places)?;
        Ok(Some(list))
    }

    /// Sets the offsets of `list`: behind the checkpoint or what the group has committed, whichever is further on.
    fn begin(
        &mut self,
        consumer: &BaseConsumer<Context>,
        list: &mut TopicPartitionList,
        places: &HashMap<Arc<str>, Place>,
    ) -> Result<()> {
        let committed = match self.options.group {
            Some(_) => Some(
                consumer
                    .committed_offsets(list.clone(), STABLE)
                    .map_err(|fault| error(fault).context("the group does not say where it stands"))?,
            ),
            None => None,
        };
        let (mut begun, mut behind) = (Vec::new(), Vec::new());
        for ((topic, partition), _) in list.to_topic_map() {
            let Some(part) = self.parts.get(&(topic.clone(), partition)) else { continue };
            let known = places.get(&part.id).copied();
            let group = committed.as_ref().and_then(|list| list.find_partition(&topic, partition));
            let group = group.and_then(|found| match found.offset() {
                Offset::Offset(offset) => Some(match self.commits() {
                    true => Place { offset, skip: 0 },
                    false => Place::of_note(offset, found.metadata()),
                }),
                _ => None,
            });
            // What a sink has kept there is as good as a checkpoint of its own.
            let known = if self.commits() { known } else { group.or(known) };
            let group = group.map(|place| place.offset);
            let offset = match (known, group) {
                (Some(place), group) if group.is_none_or(|offset| offset <= place.offset) => {
                    if group != Some(place.offset) {
                        behind.push((Arc::clone(&part.id), place.offset));
                    }
                    if place.skip > 0 {
                        self.skips.insert(Arc::clone(&part.id), place);
                    }
                    Offset::Offset(place.offset)
                }
                (_, Some(offset)) => Offset::Offset(offset),
                (_, None) => {
                    let offset = fallback(consumer, self.options.fallback, &topic, partition)?;
                    if let Offset::Offset(offset) = offset {
                        begun.push((Arc::clone(&part.id), offset));
                    }
                    offset
                }
            };
            if let Offset::Offset(offset) = offset {
                part.set_next(offset);
            }
            list.set_partition_offset(&topic, partition, offset).map_err(error)?;
        }
        // Questions may have taken long.
        self.ends.begun();
        // Whoever looks at the group's lag wants to see what the target knows.
        self.commit(consumer, behind, CommitMode::Async);
        self.tell(Event::At(begun));
        Ok(())
    }

    /// Waits until what was read of these partitions is committed.
    fn give_up(&mut self, consumer: &BaseConsumer<Context>, list: &TopicPartitionList) {
        let keys: Vec<_> = list.to_topic_map().into_keys().collect();
        let parts: Vec<_> = keys.iter().filter_map(|key| self.parts.remove(key)).collect();
        self.last = None;
        let ids: Vec<_> = parts.iter().map(|part| Arc::clone(&part.id)).collect();
        self.ends.given_up(&ids);
        if ids.is_empty() || !self.tell(Event::Released(ids.clone())) {
            return;
        }
        let until = Instant::now() + HAND_OVER;
        loop {
            match self.commands.recv_timeout(until.saturating_duration_since(Instant::now())) {
                // The answer to an earlier question may have come too late.
                Ok(Command::Released(released)) if released == ids => break,
                Ok(Command::Released(_)) => {}
                Ok(Command::Commit(places)) => {
                    // They are gone from the desk, but not yet from the group.
                    let list = offsets(&parts, &places);
                    if self.commits() && list.count() > 0 {
                        log(consumer.commit(&list, CommitMode::Sync));
                    }
                    let others = places.into_iter().filter(|(id, _)| !ids.contains(id)).collect();
                    self.commit(consumer, others, CommitMode::Async);
                }
                Ok(Command::Start(_)) => {}
                Err(RecvTimeoutError::Timeout) => {
                    tracing::warn!("partitions are given up before what was read of them is committed");
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if let Some(paused) = &mut self.paused {
            // A partition that is paused when it goes away would come back so.
            let gone = keys.iter().filter_map(|key| paused.take(key)).collect();
            if let Err(fault) = resume(consumer, gone) {
                self.fault.get_or_insert(fault);
            }
        }
        self.leave(&ids);
        for id in ids {
            self.told.remove(&id);
            self.skips.remove(&id);
        }
    }

    /// Tells the group how far it is.
    pub(super) fn commit(
        &mut self,
        consumer: &BaseConsumer<Context>,
        places: Vec<(Arc<str>, i64)>,
        mode: CommitMode,
    ) {
        if !self.commits() || places.is_empty() {
            return;
        }
        let parts: Vec<_> = self.parts.values().cloned().collect();
        let list = offsets(&parts, &places);
        self.told.extend(places);
        if list.count() > 0 {
            log(consumer.commit(&list, mode));
        }
    }

    /// Waits until the group knows where this reader stopped.
    pub(super) fn commit_last(&mut self, consumer: &BaseConsumer<Context>) -> Result<()> {
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Commit(places) = command {
                self.told.extend(places);
            }
        }
        let parts: Vec<_> = self.parts.values().cloned().collect();
        let list = offsets(&parts, &self.told.drain().collect::<Vec<_>>());
        if list.count() == 0 || !self.commits() {
            return Ok(());
        }
        consumer
            .commit(&list, CommitMode::Sync)
            .map_err(|fault| error(fault).context("the group was not told what has been read last"))
    }
}

/// Where a partition begins that nobody has read.
fn fallback(
    consumer: &BaseConsumer<Context>,
    fallback: FallbackOffset,
    topic: &str,
    partition: i32,
) -> Result<Offset> {
    let about = |fault| error(fault).context(format!("{topic}[{partition}] does not say what it holds"));
    let end = || consumer.fetch_watermarks(topic, partition, QUESTION).map(|(_, end)| end).map_err(about);
    match fallback {
        FallbackOffset::Earliest => Ok(Offset::Beginning),
        // By number: whoever gets the partition before a message has come must begin there too.
        FallbackOffset::Latest => Ok(Offset::Offset(end()?)),
        FallbackOffset::ByTime(ms) => {
            let mut asked = TopicPartitionList::new();
            asked.add_partition_offset(topic, partition, Offset::Offset(ms)).map_err(about)?;
            let found = consumer.offsets_for_times(asked, QUESTION).map_err(about)?;
            match found.find_partition(topic, partition).map(|found| found.offset()) {
                Some(Offset::Offset(offset)) => Ok(Offset::Offset(offset)),
                _ => Ok(Offset::Offset(end()?)),
            }
        }
    }
}

fn offsets(parts: &[Arc<Part>], places: &[(Arc<str>, i64)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (id, offset) in places {
        if let Some(part) = parts.iter().find(|part| part.id == *id) {
            // Only an offset below zero would be refused.
            drop(list.add_partition_offset(&part.topic, part.partition, Offset::Offset(*offset)));
        }
    }
    list
}

/// What the group was not told now it will be with the next commit; the target knows better where it keeps positions.
fn log(told: KafkaResult<()>) {
    if let Err(fault) = told {
        tracing::warn!(error = %error(fault), "the group was not told what has been committed");
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "ERROR" {
            self.doubt.store(true, Ordering::Release);
        }
        self.kafka.log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let mut desk = self.desk();
        let Desk { ends, parts, .. } = &mut *desk;
        ends.look(statistics, parts.values());
    }

    fn error(&self, fault: KafkaError, reason: &str) {
        self.kafka.error(fault, reason);
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let mut desk = self.desk();
        let by_parts = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let done = match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                let partitions: Vec<_> = list.to_topic_map().into_keys().collect();
                tracing::info!(partitions = partitions.len(), "the group assigns partitions");
                desk.assigned = true;
                match desk.take(consumer, &partitions) {
                    Ok(Some(list)) => {
                        desk.forward(consumer, &list);
                        let assigned = if by_parts {
                            consumer.incremental_assign(&list)
                        } else {
                            consumer.assign(&list)
                        };
                        assigned.map_err(error)
                    }
                    // The group must be answered, or the client could never leave it: what is assigned is given back at once.
                    Ok(None) if by_parts => {
                        desk.fault.get_or_insert(Error::new(ErrorKind::Cancelled, "the reader is gone"));
                        consumer.incremental_assign(list).map_err(error)
                    }
                    Err(fault) if by_parts => {
                        consumer.incremental_assign(list).map_err(error).and(Err(fault))
                    }
                    Ok(None) => consumer.unassign().map_err(error),
                    Err(fault) => consumer.unassign().map_err(error).and(Err(fault)),
                }
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                tracing::info!(partitions = list.count(), "the group takes partitions away");
                desk.give_up(consumer, list);
                match by_parts {
                    true => consumer.incremental_unassign(list).map_err(error),
                    false => consumer.unassign().map_err(error),
                }
            }
            code => Err(Error::new(
                ErrorKind::Unavailable,
                format!("the group cannot be divided anew: {:?}", code),
            )),
        };
        if let Err(fault) = done {
            desk.fault.get_or_insert(fault);
        } else {
            // What stays goes by another division of the group now, too.
            desk.enrol(consumer);
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        log(result);
    }
}
