//! The source and its reader.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc as commands;
use std::time::Duration;

use bytes::Bytes;
use kwsync_core::system::kafka::{GroupOffsets, Place, Topics};
use kwsync_core::{
    Assignment, ByteReader, ByteSource, Chunk, Error, ErrorKind, Input, Parts, Position, Result, Split,
    SplitPosition,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::KafkaOptions;
use super::batch::{Batch, Message, Part};
use super::worker::{self, Command, Event, Wanted};

/// Batches that may wait for the reader; the client itself holds 32 MiB more.
const WAITING: usize = 4;
/// How long nothing may come, though there is more, until the reader is opened anew.
const STALLED: Duration = Duration::from_secs(60);
/// How long the client may take to leave its group.
const LEAVE: Duration = Duration::from_secs(10);

/// Reads topics of a cluster.
#[derive(Clone, Debug)]
pub struct KafkaSource {
    options: Arc<KafkaOptions>,
    /// The group's offsets, which a sink of the same cluster may keep.
    offsets: Option<Arc<GroupOffsets>>,
}

impl KafkaSource {
    /// A source with the options given. Nothing is connected yet.
    pub fn new(options: KafkaOptions) -> Self {
        let offsets = options.group.as_ref().map(|group| Arc::new(GroupOffsets::new(&options.client, group)));
        Self { options: Arc::new(options), offsets }
    }
}

impl ByteSource for KafkaSource {
    type Reader = KafkaReader;

    fn positions(&self) -> Option<Arc<dyn std::any::Any + Send + Sync>> {
        self.offsets.clone().map(|offsets| offsets as Arc<dyn std::any::Any + Send + Sync>)
    }

    /// One piece a lane: the partitions are its parts. Those that are this job's own are dealt out here, the others by the
    /// group.
    async fn splits(&self, lanes: usize, _known: &[Split]) -> Result<Vec<Split>> {
        let options = Arc::clone(&self.options);
        let asked = tokio::task::spawn_blocking(move || ask(&options)).await;
        let own = asked.map_err(|fault| {
            Error::new(ErrorKind::Internal, "asking the brokers broke off").with_source(fault)
        })??;
        let split = |number: usize, parts, partitions: Vec<&(String, i32)>| Split {
            spec: serde_json::json!(partitions),
            parts,
            redelivers: self.options.group.is_some(),
            ..Split::whole(format!("kafka://{}#{number}", self.options.client.brokers()))
        };
        if self.options.shares() {
            return Ok((0..lanes.max(1)).map(|number| split(number, Parts::Shared, Vec::new())).collect());
        }
        let pieces = lanes.clamp(1, own.len().max(1));
        let dealt = |number| own.iter().skip(number).step_by(pieces).collect();
        Ok((0..pieces).map(|number| split(number, Parts::Owned, dealt(number))).collect())
    }

    async fn open(&self, split: &Split, _at: Option<&SplitPosition>) -> Result<KafkaReader> {
        let wanted = match split.parts {
            Parts::Shared => Wanted::Group(match &self.options.topics_regex {
                // What begins with ^ is an expression to the client.
                Some(regex) => vec![format!("^({regex})$")],
                None => self.options.topics.clone(),
            }),
            _ => Wanted::Own(serde_json::from_value(split.spec.clone()).map_err(|fault| {
                Error::config(format!("the split {} cannot be read", split.id)).with_source(fault)
            })?),
        };
        let (sender, events) = mpsc::channel(WAITING);
        let (commands, received) = commands::channel();
        let (running, gone) = oneshot::channel::<()>();
        let (options, group) = (Arc::clone(&self.options), self.offsets.clone());
        std::thread::Builder::new()
            .name("kwsync-kafka".to_owned())
            .spawn(move || {
                worker::run(&options, group, wanted, sender, received);
                drop(running);
            })
            .map_err(|fault| Error::io("cannot start a thread for the Kafka client", fault))?;
        Ok(KafkaReader {
            options: Arc::clone(&self.options),
            events,
            commands: Some(commands),
            gone,
            batch: None,
            held: HashSet::new(),
            unsettled: VecDeque::new(),
            begun: Vec::new(),
            since: None,
            ended: false,
            waiting: None,
        })
    }
}

/// The partitions that are named, or all of the topics; none where a group deals them out. Whether the topics are there is
/// asked in either case.
fn ask(options: &KafkaOptions) -> Result<Vec<(String, i32)>> {
    let place = || format!("Kafka {}", options.client.brokers());
    let topics = Topics::new(&options.client)?;
    if options.topics_regex.is_some() {
        return topics.connect().map(|()| Vec::new()).map_err(|fault| fault.context(place()));
    }
    let mut found: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for topic in options.topics.iter().chain(options.partitions.keys()) {
        found.insert(topic, topics.partitions(topic).map_err(|fault| fault.context(place()))?);
    }
    for (topic, wanted) in &options.partitions {
        let there = found.get_mut(topic.as_str()).map(std::mem::take).unwrap_or_default();
        if let Some(missing) = wanted.iter().find(|partition| !there.contains(partition)) {
            let text = format!("topic {topic} has no partition {missing}, but {}", there.len());
            return Err(Error::new(ErrorKind::NotFound, text)
                .with_hint("they are numbered from 0")
                .context(place()));
        }
        found.insert(topic, wanted.clone());
    }
    let each = |(topic, partitions): (&str, Vec<i32>)| {
        let topic = topic.to_owned();
        partitions.into_iter().map(move |partition| (topic.clone(), partition)).collect::<Vec<_>>()
    };
    Ok(found.into_iter().flat_map(each).collect())
}

/// A message, or what is left of it, that has been handed out and has not settled.
#[derive(Debug)]
struct Unsettled {
    part: Arc<Part>,
    offset: i64,
    bytes: u64,
}

/// Reads the partitions of one lane.
pub struct KafkaReader {
    options: Arc<KafkaOptions>,
    events: mpsc::Receiver<Event>,
    commands: Option<commands::Sender<Command>>,
    /// Answers when the thread has ended.
    gone: oneshot::Receiver<()>,
    batch: Option<Batch>,
    /// The partitions that this reader has.
    held: HashSet<Arc<str>>,
    unsettled: VecDeque<Unsettled>,
    /// Where partitions begin that have no checkpoint.
    begun: Vec<(Arc<str>, i64)>,
    /// When something came last, from the first assignment on.
    since: Option<Instant>,
    /// Whether all has come that there was then.
    ended: bool,
    /// When the first message came that no commit has been asked for.
    waiting: Option<Instant>,
}

impl std::fmt::Debug for KafkaReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaReader").field("options", &self.options).finish_non_exhaustive()
    }
}

impl KafkaReader {
    fn hand_out(&mut self, message: Message) -> Chunk {
        let Message { part, offset, skip, payload, window, metadata } = message;
        // Each message is an input of its own, and counts from its own beginning; what line it goes on in is not known.
        let at = Position { byte: skip as u64, line: u64::from(skip == 0), column: 1, record: 0 };
        let metadata = Arc::new(metadata);
        let input = Input::new(Arc::clone(&part.id)).with_message(Arc::clone(&metadata));
        self.unsettled.push_back(Unsettled { part, offset, bytes: payload.len() as u64 });
        Chunk {
            begin: Some((Arc::new(input), at)),
            window: Some(window.slice(skip..)),
            ..Chunk::message(payload.slice(skip..), metadata)
        }
    }

    /// Nothing more comes for a while, or enough has come.
    fn ask_for_commit(&mut self) -> Chunk {
        self.waiting = None;
        Chunk { last_before_commit: true, ..Chunk::new(Bytes::new()) }
    }

    fn stalled(&self) -> Error {
        let text = format!(
            "Kafka {}: nothing has come for {} s, and the end of the topic has not been reached",
            self.options.client.brokers(),
            self.options.timeout.max(STALLED).as_secs()
        );
        Error::new(ErrorKind::Unavailable, text)
            .with_hint("the brokers do not answer; see the warnings before")
    }

    fn tell(&self, command: Command) -> Result<()> {
        let told = self.commands.as_ref().is_some_and(|commands| commands.send(command).is_ok());
        if told {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, "the Kafka client has ended"))
    }
}

impl ByteReader for KafkaReader {
    async fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        loop {
            if let Some(batch) = &mut self.batch {
                if let Some(message) = batch.next() {
                    return Ok(Some(self.hand_out(message)));
                }
                self.batch = None;
                if self.waiting.is_some_and(|first| first.elapsed() >= self.options.latency) {
                    return Ok(Some(self.ask_for_commit()));
                }
            }
            let quiet = self.options.timeout;
            let until = match (self.since, self.waiting) {
                (Some(since), Some(_)) => Some(since + self.options.linger.min(quiet)),
                (Some(since), None) if quiet != Duration::MAX => {
                    Some(since + if self.ended { quiet } else { quiet.max(STALLED) })
                }
                _ => None,
            };
            let next = self.events.recv();
            let event = match until {
                None => next.await,
                Some(until) => match timeout_at(until, next).await {
                    Ok(event) => event,
                    Err(_) if self.waiting.is_some() => return Ok(Some(self.ask_for_commit())),
                    Err(_) if self.ended => return Ok(None),
                    Err(_) => return Err(self.stalled()),
                },
            };
            let assigned = |assignment| Chunk { assignment, ..Chunk::new(Bytes::new()) };
            match event {
                Some(Event::Messages(batch)) => {
                    let now = Instant::now();
                    self.since = Some(now);
                    self.ended = false;
                    self.waiting.get_or_insert(now);
                    self.batch = Some(batch);
                }
                Some(Event::End) => {
                    self.since.get_or_insert_with(Instant::now);
                    self.ended = true;
                }
                Some(Event::Taken(parts)) => {
                    // Silence counts from when the client reads.
                    self.since = parts.is_empty().then(Instant::now);
                    self.ended = parts.is_empty() && self.held.is_empty();
                    if !parts.is_empty() {
                        let taken: Vec<_> = parts.iter().map(|part| Arc::clone(&part.id)).collect();
                        self.held.extend(taken.iter().cloned());
                        return Ok(Some(assigned(Assignment { taken, ..Assignment::default() })));
                    }
                }
                Some(Event::At(begun)) => {
                    self.begun.extend(begun);
                    self.since = Some(Instant::now());
                }
                Some(Event::Released(released)) => {
                    let left = self.held.len() > released.len();
                    (self.since, self.ended) = (left.then(Instant::now), false);
                    return Ok(Some(assigned(Assignment { released, ..Assignment::default() })));
                }
                Some(Event::Fault(fault)) => return Err(fault),
                None => return Err(Error::new(ErrorKind::Unavailable, "the Kafka client has ended")),
            }
        }
    }

    /// The parts say where this is.
    fn position(&self, at: Position) -> SplitPosition {
        SplitPosition(at.byte.into())
    }

    fn parts(&mut self, at: Position) -> Vec<(Arc<str>, SplitPosition)> {
        let mut reached: Vec<(Arc<str>, Place)> = Vec::new();
        let mut set =
            |id: &Arc<str>, place: Place| match reached.iter_mut().rev().find(|(known, _)| known == id) {
                Some((_, known)) => *known = place,
                None => reached.push((Arc::clone(id), place)),
            };
        for (id, offset) in self.begun.drain(..) {
            set(&id, Place { offset, skip: 0 });
        }
        // The decoder is at the last message that was handed out, and through with those before.
        while let Some(first) = self.unsettled.pop_front() {
            if self.unsettled.is_empty() && at.byte < first.bytes {
                if at.byte > 0 {
                    set(&first.part.id, Place { offset: first.offset, skip: at.byte });
                }
                self.unsettled.push_front(first);
                break;
            }
            set(&first.part.id, Place { offset: first.offset + 1, skip: 0 });
        }
        reached.into_iter().map(|(id, place)| (id, place.position())).collect()
    }

    fn start_parts(&mut self, parts: Vec<(Arc<str>, Option<SplitPosition>)>) -> Result<()> {
        let place = |position: Option<SplitPosition>| position.as_ref().map(Place::of).transpose();
        let places = parts.into_iter().map(|(id, position)| Ok((id, place(position)?)));
        let places = places.collect::<Result<_>>()?;
        self.tell(Command::Start(places))
    }

    async fn commit_parts(&mut self, parts: &[(Arc<str>, SplitPosition)]) -> Result<()> {
        let mut places = Vec::with_capacity(parts.len());
        for (id, position) in parts.iter().filter(|(id, _)| self.held.contains(id)) {
            places.push((Arc::clone(id), Place::of(position)?.offset));
        }
        // A thread that has ended has said why, or is about to.
        if !places.is_empty() {
            drop(self.tell(Command::Commit(places)));
        }
        Ok(())
    }

    async fn release_parts(&mut self, parts: &[Arc<str>]) -> Result<()> {
        self.held.retain(|part| !parts.contains(part));
        drop(self.tell(Command::Released(parts.to_vec())));
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        self.commands = None;
        // Faults that the thread ends with: the group was not told what was read last.
        let ended = async {
            let mut last = Ok(());
            while let Some(event) = self.events.recv().await {
                if let Event::Fault(fault) = event {
                    last = Err(fault);
                }
            }
            // It is gone when it does not answer.
            drop((&mut self.gone).await);
            last
        };
        match timeout(LEAVE, ended).await {
            Ok(Err(fault)) => {
                tracing::warn!(error = %fault, "the Kafka client ended with a fault");
                Ok(())
            }
            Ok(Ok(())) => Ok(()),
            Err(_) => {
                tracing::warn!("the Kafka client takes long to leave; it is left alone");
                Ok(())
            }
        }
    }
}
