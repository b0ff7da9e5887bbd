//! Where batches come from: sources of bytes, which a decoder turns into batches, and sources of batches.

mod boxed;
mod decoding;

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

pub use boxed::{DynReader, DynSource};
pub use decoding::{DecoderFactory, Decoding, DecodingReader};

use crate::{
    DecodeCounts, Decoded, Error, Input, Metadata, Position, Reject, Result, Schema, Split, SplitPosition,
    TableBatch, TableId,
};

/// A future in a box, as the boxed twins of the contracts return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A piece of an input: 256 KiB to 1 MiB of a file, or one message.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The bytes.
    pub bytes: Bytes,
    /// The bytes and what lies behind them in memory, as [`Decoder::decode_message`](crate::Decoder::decode_message) wants it; of a whole message alone.
    pub window: Option<Bytes>,
    /// Whether a record ends here although no terminator says so: the end of a message.
    pub end_of_record: bool,
    /// Set where another input begins: what it is, and the place of the first of `bytes` in it.
    pub begin: Option<(Arc<Input>, Position)>,
    /// What the message carries beside its bytes, where it is one.
    pub metadata: Option<Arc<Metadata>>,
    /// Whether no more will come before this has been committed: a broker hands out only so many messages that are not
    /// acknowledged.
    pub last_before_commit: bool,
    /// Parts that the reader has come by, or must give up, behind these bytes.
    pub assignment: Assignment,
}

/// Parts of a split that a reader has come by, or must give up: partitions that a group assigns. A part is named as its
/// checkpoint is, for ever by the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Parts that it may read once it has been [told where](Reader::start_parts).
    pub taken: Vec<Arc<str>>,
    /// Parts that it gives up once what was read of them [has settled](Reader::release_parts).
    pub released: Vec<Arc<str>>,
}

impl Assignment {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.released.is_empty()
    }
}

impl Chunk {
    /// The next bytes of the input in hand.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self {
            bytes: bytes.into(),
            window: None,
            end_of_record: false,
            begin: None,
            metadata: None,
            last_before_commit: false,
            assignment: Assignment::default(),
        }
    }

    /// A whole message.
    pub fn message(bytes: impl Into<Bytes>, metadata: Arc<Metadata>) -> Self {
        Self { end_of_record: true, metadata: Some(metadata), ..Self::new(bytes) }
    }
}

/// A source of bytes, in splits.
pub trait ByteSource: Send + Sync {
    /// What reads one split.
    type Reader: ByteReader;

    /// As [`Source::positions`].
    fn positions(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }

    /// Cuts the input into pieces that can be read at the same time; `lanes` says how many readers there are, and
    /// more pieces are fine. `known` are the pieces that an earlier run of the job recorded: they are returned
    /// again as they are, whatever `lanes` is now, with further pieces for what has come since.
    fn splits(&self, lanes: usize, known: &[Split]) -> impl Future<Output = Result<Vec<Split>>> + Send;

    /// Opens a split, at a position that an earlier reader of it returned, or at its beginning.
    fn open(
        &self,
        split: &Split,
        at: Option<&SplitPosition>,
    ) -> impl Future<Output = Result<Self::Reader>> + Send;
}

/// Reads the bytes of one split.
pub trait ByteReader: Send {
    /// The next bytes, or `None` at the end.
    ///
    /// # Cancel safety
    /// When the future is dropped no bytes are lost, and the next call goes on where this one was: a read that is
    /// under way on another thread is kept, not started again.
    fn next_chunk(&mut self) -> impl Future<Output = Result<Option<Chunk>>> + Send;

    /// The position to resume from when everything before `at` has settled.
    fn position(&self, at: Position) -> SplitPosition;

    /// Says that everything before `position` has settled: a consumer of messages acknowledges them now.
    fn commit(&mut self, position: &SplitPosition) -> impl Future<Output = Result<()>> + Send {
        let _ = position;
        async { Ok(()) }
    }

    /// How far each part has come that moved since this was asked last, when everything before `at` has settled.
    fn parts(&mut self, at: Position) -> Vec<(Arc<str>, SplitPosition)> {
        let _ = at;
        Vec::new()
    }

    /// As [`Reader::start_parts`].
    fn start_parts(&mut self, parts: Vec<(Arc<str>, Option<SplitPosition>)>) -> Result<()> {
        let _ = parts;
        Ok(())
    }

    /// As [`Reader::commit_parts`].
    fn commit_parts(
        &mut self,
        parts: &[(Arc<str>, SplitPosition)],
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = parts;
        async { Ok(()) }
    }

    /// As [`Reader::release_parts`].
    fn release_parts(&mut self, parts: &[Arc<str>]) -> impl Future<Output = Result<()>> + Send {
        let _ = parts;
        async { Ok(()) }
    }

    /// Releases what the reader holds, when the last commit has been told. Dropping it instead never blocks.
    fn close(&mut self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
}

/// A source of typed batches, in splits that are read independently and again from a position.
///
/// See `examples/own_source.rs` of package `kwsync` for one written by hand.
pub trait Source: Send + Sync {
    /// What reads one split.
    type Reader: Reader;

    /// What a person should know of the reading before it begins, once [`splits`](Self::splits) has been asked: what
    /// comes as text, what is not of one moment. A dry run prints it.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// The tables that will be read and their columns, where they are known before a row is read, once
    /// [`splits`](Self::splits) has been asked.
    fn tables(&self) -> Vec<(TableId, Arc<Schema>)> {
        Vec::new()
    }

    /// What a target of the same system may keep of the positions, so that they and the rows are one transaction there: it
    /// [adopts](crate::Sink::adopt) them if it can. Nobody else looks inside.
    fn positions(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }

    /// Whether somebody waits to hear what became of each record: readers are told [what was refused](Reader::refused) then,
    /// and a table that does not fit costs the rows that are meant for it, and not the job.
    fn answers(&self) -> bool {
        false
    }

    /// Says that the job has ended, and by which fault, when all readers are gone: whoever still waits for an answer gets one
    /// now. `Cancelled` where it was stopped on request.
    fn end(&self, fault: Option<&Error>) -> impl Future<Output = ()> + Send {
        let _ = fault;
        async {}
    }

    /// Whether it yields [changes](crate::Change) beside rows: inserts, updates and deletes by key.
    fn yields_changes(&self) -> bool {
        false
    }

    /// As [`ByteSource::splits`].
    fn splits(&self, lanes: usize, known: &[Split]) -> impl Future<Output = Result<Vec<Split>>> + Send;

    /// As [`splits`](Self::splits) for a job that is new, and for looking only: a source that leaves something behind when it cuts its input (a slot
    /// for changes) does not here.
    fn preview(&self, lanes: usize) -> impl Future<Output = Result<Vec<Split>>> + Send {
        self.splits(lanes, &[])
    }

    /// Removes what the source keeps for the job at its system (a slot for changes), when the job is forgotten.
    fn forget(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// As [`ByteSource::open`].
    fn open(
        &self,
        split: &Split,
        at: Option<&SplitPosition>,
    ) -> impl Future<Output = Result<Self::Reader>> + Send;
}

/// Reads the batches of one split.
pub trait Reader: Send {
    /// The next batches and rejects with the position behind them, or `None` at the end of the split.
    ///
    /// # Cancel safety
    /// When the future is dropped no rows are lost: the next call returns them.
    fn next(&mut self) -> impl Future<Output = Result<Option<SourceBatch>>> + Send;

    /// Whether a call of [`next`](Self::next) goes on where a dropped one was. Then the pipeline interrupts it now
    /// and then, to take partial batches and to acknowledge. A reader whose `next` would start over (a request, a
    /// query, a sleep) must say no, which is the default: interrupted again and again it would never finish.
    fn is_interruptible(&self) -> bool {
        false
    }

    /// Asks for batches of about so many rows and bytes of input, or fewer, where a job is slowed down: rows would come in
    /// bursts otherwise. It is a wish, which a reader may ignore.
    fn limit_batches(&mut self, rows: usize, bytes: u64) {
        let _ = (rows, bytes);
    }

    /// What has been read but not returned yet, for when the input pauses: rows should not wait for a full batch.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    fn take_partial(&mut self) -> Result<Option<SourceBatch>> {
        Ok(None)
    }

    /// What has come and nobody can be asked for again, when the job is stopped: asked for until there is nothing more, so
    /// that it is written with what was read. `None` where a later run reads it.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    fn last_batch(&mut self) -> Result<Option<SourceBatch>> {
        Ok(None)
    }

    /// Says which records were refused, by decoder, transform or target, right before the [`commit`](Self::commit) that
    /// settles them. Those of other readers are among them. Only for a source that [answers](Source::answers).
    fn refused(&mut self, rejects: &[Reject]) {
        let _ = rejects;
    }

    /// Says that everything up to `position` has settled.
    fn commit(&mut self, position: &SplitPosition) -> impl Future<Output = Result<()>> + Send {
        let _ = position;
        async { Ok(()) }
    }

    /// Says where to read each part from that an [`Assignment`] took: behind what has settled before, or, with `None`, where
    /// the reader would begin by itself. Never called for a split without [parts](Split::parts).
    ///
    /// # Errors
    /// `Config` for a position that is none.
    fn start_parts(&mut self, parts: Vec<(Arc<str>, Option<SplitPosition>)>) -> Result<()> {
        let _ = parts;
        Ok(())
    }

    /// Says that everything up to these positions has settled; parts of other readers among them are to be ignored.
    fn commit_parts(
        &mut self,
        parts: &[(Arc<str>, SplitPosition)],
    ) -> impl Future<Output = Result<()>> + Send {
        let _ = parts;
        async { Ok(()) }
    }

    /// Says that all that was read of these parts has settled and been [told](Self::commit_parts): somebody else may have
    /// them.
    fn release_parts(&mut self, parts: &[Arc<str>]) -> impl Future<Output = Result<()>> + Send {
        let _ = parts;
        async { Ok(()) }
    }

    /// Releases what the reader holds. Dropping it instead never blocks and commits nothing.
    fn close(&mut self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
}

/// What a reader returns at a time.
#[derive(Debug)]
pub struct SourceBatch {
    /// Batches, rejects and counts.
    pub decoded: Decoded,
    /// Where reading goes on behind these rows.
    pub position: SplitPosition,
    /// Bytes of input that were read for them.
    pub bytes: u64,
    /// Whether the source waits for these rows to be committed before it gives more.
    pub commit: bool,
    /// Whether these rows are of a transaction of the source that is not over: nothing is committed before its rest has come.
    pub unfinished: bool,
    /// How far each part has come with these rows, in a split that has [parts](Split::parts); `position` says nothing then.
    pub parts: Vec<(Arc<str>, SplitPosition)>,
    /// Parts that the reader has come by, or must give up, behind these rows.
    pub assignment: Assignment,
}

impl SourceBatch {
    /// Batches of good rows, and the position behind them.
    pub fn new(batches: Vec<TableBatch>, position: SplitPosition) -> Self {
        let records = batches.iter().map(|batch| batch.rows() as u64).sum();
        let counts = DecodeCounts { records, ..DecodeCounts::default() };
        Self::of(Decoded { batches, rejects: Vec::new(), counts }, position)
    }

    /// What was decoded, and the position behind it.
    pub fn of(decoded: Decoded, position: SplitPosition) -> Self {
        Self {
            decoded,
            position,
            bytes: 0,
            commit: false,
            unfinished: false,
            parts: Vec::new(),
            assignment: Assignment::default(),
        }
    }
}
