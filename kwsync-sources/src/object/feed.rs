//! An object in chunks, fetched and unpacked ahead by a task of its own.

use std::io::Write;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use kwsync_core::system::object::{ObjectClient, ObjectInfo, ObjectStream};
use kwsync_core::{Error, ErrorKind, Result};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::ObjectSourceOptions;
use crate::file::Compression;

/// What gzip data starts with.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Compressed bytes that are unpacked at a time: they may stand for a thousand times as many.
const PACKED: usize = 8 << 10;

/// Chunks in order, one of them read ahead.
#[derive(Debug)]
pub(super) struct Feed {
    chunks: mpsc::Receiver<Result<Option<Bytes>>>,
    task: JoinHandle<()>,
    place: String,
    object: ObjectInfo,
    gzip: bool,
    ended: bool,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Feed {
    /// Begins with byte `from`, of the unpacked ones if it is `gzip`; where that is `None`, the first bytes may tell.
    pub(super) async fn open(
        client: &ObjectClient,
        object: &ObjectInfo,
        gzip: Option<bool>,
        from: u64,
        options: &ObjectSourceOptions,
    ) -> Result<Self> {
        let gzip = gzip.or(match options.compression {
            Compression::None => Some(false),
            Compression::Gzip => Some(true),
            _ => None,
        });
        let mut stream = client.open(object, if gzip == Some(true) { 0 } else { from }).await?;
        let mut first = Vec::new();
        if gzip.is_none() {
            while first.len() < GZIP.len()
                && let Some(piece) = stream.next().await?
            {
                first.extend_from_slice(&piece);
            }
        }
        let gzip = gzip.unwrap_or_else(|| first.starts_with(&GZIP));
        let (place, object) = (client.place(&object.key), stream.object().clone());
        let (sender, chunks) = mpsc::channel(1);
        let feeding = Feeding {
            stream,
            gzip: gzip.then(|| MultiGzDecoder::new(Vec::new())),
            skip: if gzip { from } else { 0 },
            gathered: Vec::new(),
            chunk_bytes: options.chunk_bytes,
            place: place.clone(),
            sender,
        };
        let task = tokio::spawn(feeding.run(first));
        Ok(Self { chunks, task, place, object, gzip, ended: false })
    }

    /// The object, with the ETag that it turned out to have.
    pub(super) fn object(&self) -> &ObjectInfo {
        &self.object
    }

    pub(super) fn is_gzip(&self) -> bool {
        self.gzip
    }

    /// The next chunk, or `None` at the end of the object.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        // Only what says that it is the end is taken for it.
        let chunk = self.chunks.recv().await.unwrap_or_else(|| {
            Err(Error::new(
                ErrorKind::Internal,
                format!("the reading of {} broke off before its end", self.place),
            ))
        })?;
        self.ended = chunk.is_none();
        Ok(chunk)
    }
}

/// The task's side.
struct Feeding {
    stream: ObjectStream,
    gzip: Option<MultiGzDecoder<Vec<u8>>>,
    /// Unpacked bytes to pass over.
    skip: u64,
    gathered: Vec<u8>,
    chunk_bytes: usize,
    place: String,
    sender: mpsc::Sender<Result<Option<Bytes>>>,
}

impl Feeding {
    async fn run(mut self, first: Vec<u8>) {
        let result = self.feed(first).await;
        // What came before a fault is good. Nobody may be there to take it.
        let rest = std::mem::take(&mut self.gathered);
        if !rest.is_empty() && self.sender.send(Ok(Some(rest.into()))).await.is_err() {
            return;
        }
        self.sender.send(result.map(|()| None)).await.ok();
    }

    async fn feed(&mut self, first: Vec<u8>) -> Result<()> {
        let mut piece = Some(Bytes::from(first)).filter(|first| !first.is_empty());
        loop {
            if piece.is_none() {
                piece = self.stream.next().await?;
            }
            let Some(bytes) = piece.take() else { break };
            if self.gzip.is_none() {
                if !self.hand_on(&bytes).await {
                    return Ok(());
                }
                continue;
            }
            for packed in bytes.chunks(PACKED) {
                let Some(unpacked) = self.unpack(packed)? else { continue };
                if !self.hand_on(&unpacked).await {
                    return Ok(());
                }
            }
        }
        if let Some(mut gzip) = self.gzip.take() {
            gzip.try_finish().map_err(|error| self.broken(error))?;
            let rest = std::mem::take(gzip.get_mut());
            let rest = self.past(rest);
            self.hand_on(&rest).await;
        }
        Ok(())
    }

    /// What `packed` stands for, as far as it is not to be passed over.
    fn unpack(&mut self, packed: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(gzip) = &mut self.gzip else { return Ok(None) };
        let wrote = gzip.write_all(packed);
        let unpacked = std::mem::take(gzip.get_mut());
        wrote.map_err(|error| self.broken(error))?;
        let unpacked = self.past(unpacked);
        Ok(Some(unpacked).filter(|bytes| !bytes.is_empty()))
    }

    fn past(&mut self, mut unpacked: Vec<u8>) -> Vec<u8> {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(unpacked.len());
        self.skip -= skipped as u64;
        unpacked.drain(..skipped);
        unpacked
    }

    fn broken(&self, error: std::io::Error) -> Error {
        let place = &self.place;
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                Error::new(ErrorKind::Io, format!("{place} ends in the middle of its gzip data"))
                    .with_hint("the object was cut off: write it again, and begin anew with --restart")
            }
            _ => Error::new(ErrorKind::Io, format!("{place} holds damaged gzip data"))
                .with_hint("check it with `gzip -t`; compression=none reads it as it is"),
        }
        .with_source(error)
    }

    /// False if nobody listens any more.
    async fn hand_on(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.gathered.capacity() == 0 {
                self.gathered.reserve_exact(self.chunk_bytes);
            }
            let taken = bytes.len().min(self.chunk_bytes - self.gathered.len());
            let (head, rest) = bytes.split_at(taken);
            self.gathered.extend_from_slice(head);
            bytes = rest;
            if self.gathered.len() >= self.chunk_bytes {
                let chunk = std::mem::take(&mut self.gathered);
                if self.sender.send(Ok(Some(chunk.into()))).await.is_err() {
                    return false;
                }
            }
        }
        true
    }
}
