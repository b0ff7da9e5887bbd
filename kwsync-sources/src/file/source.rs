//! Files as chunks of bytes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use kwsync_core::{
    ByteReader, ByteSource, Chunk, Error, ErrorKind, Input, Position, Result, Split, SplitPosition,
};
use serde::{Deserialize, Serialize};

use super::ahead::Ahead;
use super::identity::Identity;
use super::input::{self, Piece, STDIN, shown};
use super::{FileOptions, SplitMode, paths};

/// Most pieces of one file for each lane: enough that a slow lane leaves little for the others to wait for.
const PIECES_PER_LANE: u64 = 4;

/// The bytes of a file, of the files of a pattern or directory, or of standard input (`-`).
///
/// # Examples
/// ```
/// use kwsync_core::{ByteReader, ByteSource};
/// use kwsync_sources::file::{FileOptions, FileSource};
///
/// # let dir = tempfile::tempdir().unwrap();
/// # std::fs::write(dir.path().join("a.lp"), "cpu usage=1\n").unwrap();
/// # let pattern = dir.path().join("*.lp").display().to_string();
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let source = FileSource::new(pattern, FileOptions::new());
/// for split in source.splits(4, &[]).await? {
///     let mut reader = source.open(&split, None).await?;
///     while let Some(chunk) = reader.next_chunk().await? {
///         assert_eq!(chunk.bytes, "cpu usage=1\n");
///     }
/// }
/// # Ok::<(), kwsync_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct FileSource {
    path: String,
    options: FileOptions,
    stdin_taken: AtomicBool,
}

/// What a split says to [`FileSource::open`].
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Spec {
    path: PathBuf,
    start: u64,
    /// `None`: to the end, wherever that is (gzip, pipes).
    end: Option<u64>,
    /// `None`: no regular file.
    file: Option<Identity>,
}

/// What a position says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Place {
    path: PathBuf,
    file: Option<Identity>,
    at: Position,
}

impl FileSource {
    /// Reads `path`: a file, a pattern, a directory, or `-`. Nothing is opened yet.
    pub fn new(path: impl Into<String>, options: FileOptions) -> Self {
        Self { path: path.into(), options, stdin_taken: AtomicBool::new(false) }
    }

    /// Cuts `[from, len)` of a file.
    fn cut(&self, path: &Path, from: u64, lanes: usize, splits: &mut Vec<Split>) -> Result<()> {
        let metadata = std::fs::metadata(path)
            .map_err(|error| Error::io(format_args!("cannot open {}", path.display()), error))?;
        if !metadata.is_file() {
            splits.push(split(Spec { path: path.to_owned(), start: 0, end: None, file: None })?);
            return Ok(());
        }
        let mut file = input::open(path)?;
        let identity = Identity::of(path, &mut file)?;
        let len = identity.len;
        if input::is_gzip(path, &mut file, self.options.compression)? {
            splits.push(split(Spec { path: path.to_owned(), start: 0, end: None, file: Some(identity) })?);
            return Ok(());
        }
        // No piece of nothing: the id of an empty one would be that of what is appended later.
        if len <= from {
            return Ok(());
        }
        let pieces = lanes as u64 * PIECES_PER_LANE;
        let size = ((len - from) / pieces.max(1)).max(self.options.split_bytes);
        let whole = lanes < 2 || self.options.split == SplitMode::Never;
        let mut start = from;
        loop {
            let end = if whole {
                len
            } else {
                input::line_start(path, &mut file, start.saturating_add(size), len)?
            };
            splits.push(split(Spec {
                path: path.to_owned(),
                start,
                end: Some(end),
                file: Some(identity.clone()),
            })?);
            start = end;
            if start >= len {
                return Ok(());
            }
        }
    }
}

fn split(spec: Spec) -> Result<Split> {
    let name = spec.path.display();
    let id = if spec.start == 0 { name.to_string() } else { format!("{name}@{}", spec.start) };
    // What is read is counted uncompressed, so that the length of a gzip file says nothing.
    let bytes = spec.end.map(|end| end - spec.start);
    let resumable = spec.file.is_some();
    let spec = serde_json::to_value(spec).map_err(|error| {
        Error::new(ErrorKind::Unsupported, format!("the name of the file {id} is not UTF-8"))
            .with_source(error)
            .with_hint("rename it, or give it as standard input")
    })?;
    Ok(Split { spec, bytes, resumable, ..Split::whole(id) })
}

fn spec(split: &Split) -> Result<Spec> {
    serde_json::from_value(split.spec.clone()).map_err(|error| {
        Error::config(format!("the split `{}` of the checkpoint is not one of files", split.id))
            .with_source(error)
            .with_hint("the job of this name read something else: use another --job, or --restart")
    })
}

impl ByteSource for FileSource {
    type Reader = FileReader;

    async fn splits(&self, lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
        let mut splits = known.to_vec();
        if self.path == STDIN {
            if splits.is_empty() {
                splits.push(split(Spec { path: STDIN.into(), start: 0, end: None, file: None })?);
            }
            return Ok(splits);
        }
        // The pieces of one file were cut at different times if it has grown: the last says most.
        let mut last_pieces: HashMap<PathBuf, Spec> = HashMap::with_capacity(known.len());
        for split in known {
            let spec = spec(split)?;
            if last_pieces.get(&spec.path).is_none_or(|last| last.end < spec.end) {
                last_pieces.insert(spec.path.clone(), spec);
            }
        }
        for path in paths::find(&self.path)? {
            let Some(last) = last_pieces.get(&path) else {
                self.cut(&path, 0, lanes, &mut splits)?;
                continue;
            };
            let Some(identity) = &last.file else { continue };
            let mut file = input::open(&path)?;
            let len = identity.verify(&path, &mut file)?;
            match last.end {
                Some(end) if len > end => {
                    let from = if self.options.lines { input::appended(&path, &mut file, end)? } else { end };
                    self.cut(&path, from, lanes, &mut splits)?;
                }
                None if len > identity.len => {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        format!("{} has grown from {} to {len} bytes since the job began, and gzip cannot be read on", path.display(), identity.len),
                    )
                    .with_hint("begin anew with --restart or another --job"));
                }
                _ => {}
            }
        }
        Ok(splits)
    }

    async fn open(&self, split: &Split, at: Option<&SplitPosition>) -> Result<FileReader> {
        let spec = spec(split)?;
        let path = spec.path.clone();
        let (mut at, file) = match at {
            Some(SplitPosition(json)) => {
                let place: Place = serde_json::from_value(json.clone()).map_err(|error| {
                    Error::config(format!("the position of `{}` is not one in a file", split.id))
                        .with_source(error)
                        .with_hint("use another --job, or --restart")
                })?;
                (place.at, place.file)
            }
            None => (Position { byte: spec.start, ..Position::START }, spec.file.clone()),
        };
        let piece = match &file {
            None => {
                if at.byte > spec.start {
                    let text = format!("{} cannot be read again from byte {}", shown(&path), at.byte);
                    return Err(Error::new(ErrorKind::Unsupported, text).with_hint(
                        "begin anew with --restart; write the input to a file to make the job resumable",
                    ));
                }
                if path == Path::new(STDIN) && self.stdin_taken.swap(true, Ordering::Relaxed) {
                    return Err(Error::new(ErrorKind::Unsupported, "standard input can be read only once"));
                }
                Piece::Pipe { compression: self.options.compression }
            }
            Some(identity) => {
                let mut file = input::open(&path)?;
                identity.verify(&path, &mut file)?;
                match spec.end {
                    Some(end) => {
                        at.byte = at.byte.max(spec.start);
                        Piece::Plain { file, from: at.byte, to: end }
                    }
                    None => Piece::Gzip { file, from: at.byte },
                }
            }
        };
        let mut input = Input::new(shown(&path)).with_split(Arc::clone(&split.id));
        if spec.start > 0 {
            let (path, start) = (path.clone(), spec.start);
            input = input.with_line_counter(move || input::count_lines(&path, start));
        }
        Ok(FileReader {
            chunks: input::read_ahead(path, piece, self.options.chunk_bytes)?,
            begin: Some((Arc::new(input), at)),
            spec,
        })
    }
}

/// Reads one split of a [`FileSource`].
#[derive(Debug)]
pub struct FileReader {
    chunks: Ahead<Bytes>,
    begin: Option<(Arc<Input>, Position)>,
    spec: Spec,
}

impl ByteReader for FileReader {
    async fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        let Some(bytes) = self.chunks.next().await? else { return Ok(None) };
        Ok(Some(Chunk { begin: self.begin.take(), ..Chunk::new(bytes) }))
    }

    fn position(&self, at: Position) -> SplitPosition {
        let place = Place { path: self.spec.path.clone(), file: self.spec.file.clone(), at };
        // These are numbers and text: they always can be written down.
        SplitPosition(serde_json::to_value(place).unwrap_or_default())
    }
}
