//! The source and its reader.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use kwsync_core::config::{OpenOptions, Registry};
use kwsync_core::{
    Decoded, Decoder, Error, ErrorKind, Metadata, Reader, Reject, Result, Schema, Source, SourceBatch, Split,
    SplitPosition, SqlStateClass, Stage, TableId, classify_sqlstate,
};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep_until};

use super::ListenOptions;
use super::formats::{Formats, Key};
use super::queue::{MOST_TOLD, Outcome, Queue, Refused, Request, Settled};
use super::server::{Listening, Server, Shared};

/// Rows and bytes of decoded requests that are handed on although others are being committed.
const BATCH_ROWS: usize = 65_536;
const BATCH_BYTES: usize = 8 << 20;
/// Bytes that are decoded at once where batches are limited.
const LARGEST_PIECE: usize = 64 << 10;
/// Most decoders that are kept.
const MOST_DECODERS: usize = 32;
/// Bytes of a refused record that an answer may show.
const LONGEST_RAW: usize = 1_024;

/// What is called once with the addresses, when requests are taken.
type Ready = Arc<dyn Fn(&Listening) + Send + Sync>;

/// Listens for requests, and answers each when its rows are committed.
///
/// It listens from when its first split is opened until the job has ended.
pub struct ListenSource {
    shared: Arc<Shared>,
    server: OnceCell<Server>,
    ready: Option<Ready>,
}

impl std::fmt::Debug for ListenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListenSource").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl ListenSource {
    /// A source with the options given, of the formats of `registry`. Nothing listens yet.
    ///
    /// # Errors
    /// `Config` for parameters that a format does not have.
    pub fn new(options: ListenOptions, registry: &Registry, open: &OpenOptions) -> Result<Self> {
        let formats = Formats::new(registry.clone(), open.clone(), &options)?;
        let queue = Queue::new(options.max_waiting);
        let shared = Shared::new(options, formats, queue)?;
        Ok(Self { shared: Arc::new(shared), server: OnceCell::new(), ready: None })
    }

    /// Calls `ready` with the addresses once requests are taken.
    #[must_use]
    pub fn with_ready(mut self, ready: impl Fn(&Listening) + Send + Sync + 'static) -> Self {
        self.ready = Some(Arc::new(ready));
        self
    }
}

impl Source for ListenSource {
    type Reader = ListenReader;

    fn notes(&self) -> Vec<String> {
        self.shared.options.warnings()
    }

    fn answers(&self) -> bool {
        true
    }

    async fn end(&self, fault: Option<&Error>) {
        let reason = match fault {
            Some(error) if error.kind() == ErrorKind::Cancelled => "the server is stopping".to_owned(),
            Some(error) => format!("the server has stopped: {error}"),
            None => "the server has stopped".to_owned(),
        };
        self.shared.queue.end(&reason);
        if let Some(server) = self.server.get() {
            server.end().await;
        }
    }

    /// One for each lane: they share the requests.
    async fn splits(&self, lanes: usize, _known: &[Split]) -> Result<Vec<Split>> {
        let place = self.shared.options.place();
        let split = |lane: usize| Split {
            resumable: false,
            redelivers: true,
            ..Split::whole(format!("listen://{place}#{lane}"))
        };
        Ok((0..lanes.max(1)).map(split).collect())
    }

    async fn open(&self, _split: &Split, _at: Option<&SplitPosition>) -> Result<ListenReader> {
        self.server
            .get_or_try_init(async || {
                let server = Server::start(&self.shared).await?;
                self.shared.options.warnings().iter().for_each(|text| tracing::warn!("{text}"));
                let listening = server.listening();
                tracing::info!(http = %listening.http, "listening");
                if let Some(ready) = &self.ready {
                    ready(listening);
                }
                Ok::<_, Error>(server)
            })
            .await?;
        Ok(ListenReader::new(Arc::clone(&self.shared)))
    }
}

/// A request that is being decoded.
struct InHand {
    open: Open,
    rest: Bytes,
}

/// A request whose rows have not all settled.
struct Open {
    request: Request,
    rows: u64,
    fault: Option<String>,
    /// What was refused of it so far, where it is answered before its commit.
    told: Settled,
}

/// The columns of a batch.
struct Columns {
    /// The number of the last request that was read whole.
    taken: u64,
    schema: Option<Arc<str>>,
    table: TableId,
    columns: Arc<Schema>,
}

/// Takes requests, and returns what they hold: all that have come while others were being committed.
pub struct ListenReader {
    shared: Arc<Shared>,
    decoders: HashMap<Key, Box<dyn Decoder>>,
    in_hand: Option<InHand>,
    /// Requests that are decoded and have not settled, in their order; the first is that of number `settled + 1`.
    open: VecDeque<Open>,
    /// What was refused of them, by the split of their inputs.
    refused: HashMap<String, Settled>,
    /// Rows that were refused and have lost where they came from.
    lost: u64,
    /// How many requests have been decoded, how many of them were returned with the wish to commit, and how many have settled.
    taken: u64,
    given: u64,
    settled: u64,
    /// The columns of what was returned and has not settled.
    columns: VecDeque<Columns>,
    /// Whether rows of it were refused for their columns.
    misfit: bool,
    /// What the decoders know of columns.
    epoch: u64,
    /// When the first of those came that were not returned yet.
    since: Option<Instant>,
    /// Bytes decoded since the last batch.
    bytes: u64,
    /// Rows and bytes of a batch where the job is slowed down: nobody is told anything while a batch waits for its turn.
    limit: Option<(usize, u64)>,
}

impl std::fmt::Debug for ListenReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListenReader")
            .field("taken", &self.taken)
            .field("settled", &self.settled)
            .finish_non_exhaustive()
    }
}

impl ListenReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.queue.reader(true);
        let shared_epoch = shared.formats.learned.epoch();
        Self {
            shared,
            decoders: HashMap::new(),
            in_hand: None,
            open: VecDeque::new(),
            refused: HashMap::new(),
            lost: 0,
            taken: 0,
            given: 0,
            settled: 0,
            columns: VecDeque::new(),
            misfit: false,
            epoch: shared_epoch,
            since: None,
            bytes: 0,
            limit: None,
        }
    }

    /// Begins with a request.
    fn begin(&mut self, mut request: Request) -> Result<()> {
        let epoch = self.shared.formats.learned.epoch();
        if self.since.is_none() && self.epoch != epoch {
            // They hold nothing now, and know what has been forgotten since.
            self.decoders.clear();
            self.epoch = epoch;
        }
        self.since.get_or_insert_with(Instant::now);
        if !self.decoders.contains_key(&request.key) {
            match self.shared.formats.decoder(&request.key) {
                Ok(decoder) => drop(self.decoders.insert(request.key.clone(), decoder)),
                Err(error) => {
                    request.answer(Outcome::Settled(Settled {
                        fault: Some(error.report()),
                        ..Settled::default()
                    }));
                    return Ok(());
                }
            }
        }
        let decoder = decoder(&mut self.decoders, &request.key)?;
        decoder.begin(Arc::clone(&request.input), request.at);
        decoder.message(&Metadata::new());
        let rest = request.body.clone();
        self.in_hand =
            Some(InHand { open: Open { request, rows: 0, fault: None, told: Settled::default() }, rest });
        Ok(())
    }

    /// Decodes the request in hand, until it ends or the decoder is full.
    fn decode(&mut self) -> Result<()> {
        let Some(InHand { open, rest }) = &mut self.in_hand else { return Ok(()) };
        let decoder = decoder(&mut self.decoders, &open.request.key)?;
        let before = decoder.buffered_rows();
        let mut fault = None;
        let enough = |rows: usize, read: u64| {
            self.limit.is_some_and(|(most_rows, most_bytes)| rows >= most_rows || read >= most_bytes)
        };
        // As long as a few rows are, so that a batch is hardly longer than it should be.
        let piece =
            self.limit.map_or(usize::MAX, |(rows, _)| rows.saturating_mul(8).clamp(64, LARGEST_PIECE));
        while !rest.is_empty() && !decoder.wants_flush() && !enough(decoder.buffered_rows(), self.bytes) {
            let piece = rest.slice(..rest.len().min(piece));
            match decoder.decode(&piece) {
                Ok(0) if !decoder.wants_flush() => {
                    let text = format!("the decoder of {} stands still", decoder.format());
                    return Err(Error::new(ErrorKind::Internal, text));
                }
                Ok(taken) => {
                    rest.advance(taken);
                    self.bytes += taken as u64;
                }
                // The body as a whole is at fault; what was read of it is good.
                Err(error) => {
                    fault = Some(error.report());
                    rest.clear();
                }
            }
        }
        let ended = rest.is_empty();
        if ended && fault.is_none() {
            fault = decoder.finish().err().map(|error| error.report());
        }
        open.rows += decoder.buffered_rows().saturating_sub(before) as u64;
        open.fault = fault;
        if ended && let Some(InHand { open, .. }) = self.in_hand.take() {
            self.taken += 1;
            self.open.push_back(open);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        let mut rows = 0;
        let mut bytes = 0;
        for decoder in self.decoders.values() {
            if decoder.wants_flush() {
                return true;
            }
            rows += decoder.buffered_rows();
            bytes += decoder.buffered_bytes();
        }
        let (most_rows, most_bytes) = self.limit.unwrap_or((usize::MAX, u64::MAX));
        rows >= BATCH_ROWS.min(most_rows)
            || bytes >= BATCH_BYTES
            || self.bytes >= most_bytes
            || self.decoders.len() > MOST_DECODERS
    }

    /// What was decoded; asks for a commit unless a request has only been read in part.
    fn flush(&mut self) -> Result<SourceBatch> {
        let mut all = Decoded::default();
        for (key, decoder) in &mut self.decoders {
            let decoded = decoder.flush()?;
            all.counts += decoded.counts;
            all.rejects.extend(decoded.rejects);
            for batch in decoded.batches {
                let schema = self.shared.formats.schema(key.database.as_ref()).cloned();
                let (table, columns) = (batch.table().clone(), Arc::clone(batch.schema()));
                self.columns.push_back(Columns { taken: self.taken, schema, table, columns });
                let placed = self.shared.formats.place(batch, key.database.as_ref())?;
                all.batches.extend(placed.batches);
                all.rejects.extend(placed.rejects);
            }
        }
        let epoch = self.shared.formats.learned.epoch();
        if self.decoders.len() > MOST_DECODERS || self.epoch != epoch {
            let current = self.in_hand.as_ref().map(|in_hand| in_hand.open.request.key.clone());
            self.decoders.retain(|key, _| Some(key) == current.as_ref());
            // The one in hand goes next time.
            self.epoch = if current.is_none() { epoch } else { self.epoch };
        }
        self.answer_accepted(&all.rejects);
        let mut batch = SourceBatch::of(all, SplitPosition(self.taken.into()));
        batch.bytes = std::mem::take(&mut self.bytes);
        batch.commit = self.in_hand.is_none();
        if batch.commit {
            self.given = self.taken;
            self.since = None;
        }
        Ok(batch)
    }

    /// Tells those that wait for no commit what could be read, once it is all of it.
    fn answer_accepted(&mut self, rejects: &[Reject]) {
        let in_hand = self.in_hand.iter_mut().map(|in_hand| (&mut in_hand.open, false));
        for (open, ended) in self.open.iter_mut().map(|open| (open, true)).chain(in_hand) {
            if !open.request.accept || open.request.answer.is_none() {
                continue;
            }
            let own = rejects.iter().filter(|reject| reject.split == open.request.input.split());
            own.for_each(|reject| add(&mut open.told, reject));
            if ended {
                let told = std::mem::take(&mut open.told);
                let settled = Settled { rows: open.rows, fault: open.fault.clone(), ..told };
                open.request.answer(Outcome::Settled(settled));
            }
        }
    }
}

fn decoder<'a>(
    decoders: &'a mut HashMap<Key, Box<dyn Decoder>>,
    key: &Key,
) -> Result<&'a mut Box<dyn Decoder>> {
    decoders.get_mut(key).ok_or_else(|| Error::new(ErrorKind::Internal, "a request without a decoder"))
}

/// Whether a row was refused for the columns of its batch rather than for its own values.
fn is_misfit(reject: &Reject) -> bool {
    /// Refusals of a row for itself that have no SQLSTATE, and a row that is too long.
    const OF_ROWS: [&str; 3] = ["duplicate_key", "message_too_large", "54000"];
    let code = reject.code.as_str();
    match reject.stage {
        Stage::Transform => matches!(code, "cannot_transform" | "column_clash"),
        Stage::Write => classify_sqlstate(code).0 != SqlStateClass::Row && !OF_ROWS.contains(&code),
        _ => false,
    }
}

fn add(settled: &mut Settled, reject: &Reject) {
    settled.refused += 1;
    settled.refused_rows += u64::from(reject.stage != Stage::Decode);
    if settled.first.len() < MOST_TOLD {
        let raw = reject.raw.get(..LONGEST_RAW).unwrap_or(&reject.raw);
        settled.first.push(Refused {
            line: reject.position.line,
            reason: reject.reason.clone(),
            raw: Bytes::copy_from_slice(raw),
        });
    }
}

impl Reader for ListenReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        loop {
            self.decode()?;
            if self.in_hand.is_some() || self.is_full() {
                return self.flush().map(Some);
            }
            let waits = self.taken > self.given;
            // While others are being committed, those that come are gathered: the next commit is of all of them.
            let due = self.since.filter(|_| waits && self.settled >= self.given);
            let due = due.map(|since| since + self.shared.options.linger);
            let request = match (self.shared.queue.take_now(), due) {
                (Some(request), _) => request,
                (None, Some(due)) if due <= Instant::now() => return self.flush().map(Some),
                (None, Some(due)) => tokio::select! {
                    request = self.shared.queue.take() => request,
                    () = sleep_until(due) => continue,
                },
                (None, None) => self.shared.queue.take().await,
            };
            self.begin(request)?;
        }
    }

    fn is_interruptible(&self) -> bool {
        true
    }

    fn limit_batches(&mut self, rows: usize, bytes: u64) {
        self.limit = Some((rows.max(1), bytes.max(1)));
    }

    fn last_batch(&mut self) -> Result<Option<SourceBatch>> {
        self.shared.stop("the server is stopping");
        loop {
            self.decode()?;
            if self.in_hand.is_some() || self.is_full() {
                return self.flush().map(Some);
            }
            match self.shared.queue.take_now() {
                Some(request) => self.begin(request)?,
                None if self.taken > self.given => return self.flush().map(Some),
                None => return Ok(None),
            }
        }
    }

    fn refused(&mut self, rejects: &[Reject]) {
        for reject in rejects {
            self.misfit |= is_misfit(reject);
            if reject.split.is_empty() {
                self.lost += 1;
            }
            let own = |open: &Open| open.request.input.split() == reject.split;
            let known = self.refused.contains_key(&reject.split)
                || self.open.iter().any(own)
                || self.in_hand.as_ref().is_some_and(|in_hand| own(&in_hand.open));
            if known {
                add(self.refused.entry(reject.split.clone()).or_default(), reject);
            }
        }
    }

    async fn commit(&mut self, position: &SplitPosition) -> Result<()> {
        let settled = position.0.as_u64().unwrap_or(0);
        let lost = if settled > self.settled { std::mem::take(&mut self.lost) } else { 0 };
        while self.settled < settled
            && let Some(mut open) = self.open.pop_front()
        {
            self.settled += 1;
            let mut told = self.refused.remove(open.request.input.split()).unwrap_or_default();
            (told.rows, told.fault) = (open.rows, open.fault.take());
            told.first.sort_by_key(|refused| refused.line);
            if lost > 0 {
                // It may have been this one's: better told twice than not at all.
                told.fault.get_or_insert_with(|| {
                    format!(
                        "{lost} rows of this or of other requests, whose lines are not known, were refused"
                    )
                });
            }
            open.request.answer(Outcome::Settled(told));
        }
        let misfit = std::mem::take(&mut self.misfit);
        while self.columns.front().is_some_and(|first| first.taken <= settled) {
            let Some(Columns { schema, table, columns, .. }) = self.columns.pop_front() else { break };
            if !misfit {
                self.shared.formats.learned.keep(schema.as_ref(), &table, &columns);
            }
        }
        if misfit {
            self.shared.formats.learned.forget();
        }
        // A long request may have been committed in parts, and others with it.
        self.given = self.given.max(self.settled);
        Ok(())
    }
}

impl Drop for ListenReader {
    /// What has not settled is read again, by whoever reads next.
    fn drop(&mut self) {
        self.shared.queue.reader(false);
        let open = std::mem::take(&mut self.open).into_iter();
        let in_hand = self.in_hand.take().map(|in_hand| in_hand.open);
        let requests: Vec<Request> = open.chain(in_hand).map(|open| open.request).collect();
        self.shared.queue.put_back(requests.into_iter());
    }
}

/// How long connections may take to say good-bye.
pub(super) const GOODBYE: Duration = Duration::from_secs(2);
