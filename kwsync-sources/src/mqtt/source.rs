//! The source and its reader.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kwsync_core::{
    Backoff, ByteReader, ByteSource, Chunk, Error, ErrorKind, Input, Metadata, Position, Result, Retry,
    Split, SplitPosition,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::MqttOptions;
use super::client::{Ack, Client, Event, Message};

/// Most messages of a batch that nothing else bounds (QoS 0).
const MAX_MESSAGES: usize = 65_536;
/// Most topics whose inputs are kept.
const MAX_INPUTS: usize = 4_096;

/// Listens to topics of a broker.
#[derive(Clone, Debug)]
pub struct MqttSource {
    options: Arc<MqttOptions>,
}

impl MqttSource {
    /// A source with the options given. Nothing is connected yet.
    pub fn new(options: MqttOptions) -> Self {
        Self { options: Arc::new(options) }
    }
}

impl ByteSource for MqttSource {
    type Reader = MqttReader;

    /// One piece: a session has one connection.
    async fn splits(&self, _lanes: usize, _known: &[Split]) -> Result<Vec<Split>> {
        let id = format!("mqtt://{}/{}", self.options.place(), self.options.client_id);
        Ok(vec![Split { resumable: false, redelivers: self.options.redelivers(), ..Split::whole(id) }])
    }

    async fn open(&self, _split: &Split, _at: Option<&SplitPosition>) -> Result<MqttReader> {
        let session = connect(&self.options).await?;
        Ok(MqttReader {
            inputs: HashMap::new(),
            topic: None,
            messages: 0,
            options: Arc::clone(&self.options),
            link: Link::Up(session),
            unacknowledged: VecDeque::new(),
            waiting: 0,
            bytes: 0,
            since: Instant::now(),
            backoff: Backoff::new(Duration::from_millis(200), Duration::from_secs(30), u32::MAX),
        })
    }
}

/// A connection whose topics are agreed, and what came before they were: a session that was kept delivers at once.
struct Session {
    client: Client,
    early: VecDeque<Message>,
}

/// Connects and subscribes.
async fn connect(options: &MqttOptions) -> Result<Session> {
    let place = options.place();
    let mut client = Client::start(options)?;
    client.subscribe(options).await?;
    let mut early = VecDeque::new();
    let answered = async {
        loop {
            match client.events.recv().await {
                Some(Event::Subscribed(refused)) => {
                    let names: Vec<&str> = refused
                        .iter()
                        .filter_map(|at| options.topics.get(*at))
                        .map(|topic| &*topic.filter)
                        .collect();
                    if names.is_empty() {
                        return Ok(());
                    }
                    let text = format!(
                        "{place} refuses to let {} listen to {}",
                        options.client_id,
                        names.join(", ")
                    );
                    return Err(Error::new(ErrorKind::Permission, text)
                        .with_hint("the user may lack the right to these topics"));
                }
                Some(Event::Message(message)) => early.push_back(message),
                Some(Event::Lost(error)) => return Err(explained(error, options)),
                None => return Err(Error::new(ErrorKind::Unavailable, format!("{place} is gone"))),
            }
        }
    };
    match timeout(options.connect_timeout, answered).await {
        Ok(answered) => answered.map(|()| Session { client, early }),
        Err(_) => Err(Error::new(ErrorKind::Timeout, format!("{place} does not answer"))
            .with_hint("connect_timeout= gives it more time")),
    }
}

fn explained(error: Error, options: &MqttOptions) -> Error {
    let hint = match error.kind() {
        ErrorKind::Auth => "user or password is refused: mqtt://user:password@host",
        ErrorKind::Tls => {
            "the broker's certificate must be signed by an authority of ca=, for the name of the host"
        }
        ErrorKind::Config => "the broker refuses the client_id or the version",
        _ if options.ca.is_none() => {
            "nobody may listen there, or the port may want TLS (ca=@FILE); another client of the same client_id ends this one's session"
        }
        _ => "nobody may listen there; another client of the same client_id ends this one's session",
    };
    error.context(format!("MQTT broker {}", options.place())).with_hint(hint)
}

enum Link {
    Up(Session),
    /// On the way to a new one, by a task: whoever waits here may stop waiting and come back.
    Coming(JoinHandle<Result<Session>>),
}

/// Listens to the topics of a session.
pub struct MqttReader {
    options: Arc<MqttOptions>,
    link: Link,
    /// An input for each topic, so that a row knows its own.
    inputs: HashMap<Arc<str>, Arc<Input>>,
    /// The topic of the last message.
    topic: Option<Arc<str>>,
    /// Messages handed out.
    messages: u64,
    /// Where each message ends that is not acknowledged yet.
    unacknowledged: VecDeque<(u64, Ack)>,
    /// Messages handed out since the last end of a batch.
    waiting: usize,
    /// Bytes of all messages handed out.
    bytes: u64,
    /// When something came last.
    since: Instant,
    backoff: Backoff,
}

impl std::fmt::Debug for MqttReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MqttReader").field("options", &self.options).finish_non_exhaustive()
    }
}

impl MqttReader {
    /// The next event, or `None` when `until` is reached before.
    async fn event(&mut self, until: Option<Instant>) -> Result<Option<Event>> {
        loop {
            let session = match &mut self.link {
                Link::Up(session) => session,
                Link::Coming(task) => {
                    let ended = match until {
                        Some(until) => match timeout_at(until, task).await {
                            Ok(ended) => ended,
                            Err(_) => return Ok(None),
                        },
                        None => task.await,
                    };
                    let came = ended.unwrap_or_else(|fault| {
                        Err(Error::new(ErrorKind::Internal, "connecting broke off").with_source(fault))
                    });
                    match came {
                        Ok(session) => {
                            tracing::info!(broker = %self.options.place(), "connected again");
                            self.backoff.reset();
                            self.link = Link::Up(session);
                        }
                        Err(error) if error.retry() == Retry::Never => return Err(error),
                        Err(error) => self.reconnect(&error),
                    }
                    continue;
                }
            };
            if let Some(message) = session.early.pop_front() {
                return Ok(Some(Event::Message(message)));
            }
            let next = session.client.events.recv();
            let event = match until {
                Some(until) => match timeout_at(until, next).await {
                    Ok(event) => event,
                    Err(_) => return Ok(None),
                },
                None => next.await,
            };
            let gone = || Event::Lost(Error::new(ErrorKind::Unavailable, "the connection is gone"));
            return Ok(Some(event.unwrap_or_else(gone)));
        }
    }

    /// Begins to connect anew, after a while.
    fn reconnect(&mut self, error: &Error) {
        let wait = self.backoff.next_wait().unwrap_or_default();
        tracing::warn!(
            broker = %self.options.place(),
            error = %error,
            wait_ms = wait.as_millis() as u64,
            "connecting again; what is published meanwhile is lost (clean_session=true)"
        );
        // The broker has forgotten this session, and nobody waits for an answer any more.
        for (_, ack) in &mut self.unacknowledged {
            *ack = Ack::None;
        }
        let options = Arc::clone(&self.options);
        self.link = Link::Coming(tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            connect(&options).await
        }));
    }

    fn input(&mut self, topic: &Arc<str>) -> Arc<Input> {
        if let Some(input) = self.inputs.get(topic) {
            return Arc::clone(input);
        }
        if self.inputs.len() >= MAX_INPUTS {
            self.inputs.clear();
        }
        let name = format!("mqtt://{}/{topic}", self.options.place());
        let input = Arc::new(Input::new(name).with_topic(Arc::clone(topic), None));
        self.inputs.insert(Arc::clone(topic), Arc::clone(&input));
        input
    }

    fn hand_out(&mut self, message: Message) -> Chunk {
        self.since = Instant::now();
        self.waiting += 1;
        let before = self.bytes;
        self.bytes += message.payload.len() as u64;
        self.unacknowledged.push_back((self.bytes, message.ack));
        let begin = (self.topic.as_ref() != Some(&message.topic)).then(|| {
            let at = Position { byte: before, line: 0, column: 1, record: self.messages };
            (self.input(&message.topic), at)
        });
        self.messages += 1;
        self.topic = Some(Arc::clone(&message.topic));
        let metadata = Arc::new(Metadata::new().with_topic(message.topic));
        Chunk { begin, ..Chunk::message(message.payload, metadata) }
    }
}

impl ByteReader for MqttReader {
    async fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        loop {
            let (until, ends) = match (self.waiting, self.options.timeout) {
                (0, Duration::MAX) => (None, false),
                (0, quiet) => (Some(self.since + quiet), true),
                _ => (Some(self.since + self.options.linger), false),
            };
            if self.waiting >= MAX_MESSAGES {
                return Ok(Some(self.end_of_batch()));
            }
            match self.event(until).await? {
                Some(Event::Message(message)) => return Ok(Some(self.hand_out(message))),
                Some(Event::Subscribed(_)) => {}
                Some(Event::Lost(error)) => {
                    let error = explained(error, &self.options);
                    if self.options.redelivers() || error.retry() == Retry::Never {
                        return Err(error);
                    }
                    self.reconnect(&error);
                }
                None if ends => return Ok(None),
                None if self.waiting > 0 => return Ok(Some(self.end_of_batch())),
                None => {}
            }
        }
    }

    /// Where messages end, in bytes of all of them.
    fn position(&self, at: Position) -> SplitPosition {
        SplitPosition(at.byte.into())
    }

    async fn commit(&mut self, position: &SplitPosition) -> Result<()> {
        let settled = position.0.as_u64().unwrap_or(0);
        while self.unacknowledged.front().is_some_and(|(end, _)| *end <= settled) {
            if let (Some((_, ack)), Link::Up(session)) = (self.unacknowledged.pop_front(), &self.link) {
                let told = session.client.acknowledge(ack).await;
                // A broker that hands nothing out again has forgotten what this is about.
                if self.options.redelivers() {
                    told?;
                }
            }
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        match &mut self.link {
            Link::Up(session) => session.client.close().await,
            Link::Coming(task) => task.abort(),
        }
        Ok(())
    }
}

impl MqttReader {
    /// Nothing more comes before what was handed out is acknowledged, or nothing more is there.
    fn end_of_batch(&mut self) -> Chunk {
        self.waiting = 0;
        Chunk { last_before_commit: true, ..Chunk::new(Bytes::new()) }
    }
}
