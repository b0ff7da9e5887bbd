//! The reject file: JSON lines, appended, made durable before a checkpoint speaks of them, and readable again.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Reject, Stage};
use crate::{Error, ErrorKind, Location, Metadata, Position, Result, TableId};

#[derive(Serialize, Deserialize)]
struct Line {
    position: Position,
    split: String,
    stage: Stage,
    format: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
    code: String,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<MessageLine>,
}

/// A message: `{"topic","partition","offset","timestamp","key","headers":[["name","value"]]}`, with
/// `{"base64": ...}` in place of a text where the bytes are not UTF-8.
#[derive(Serialize, Deserialize)]
struct MessageLine {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Shown>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(Box<str>, Option<Shown>)>,
}

/// Bytes as text where they are some.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Shown {
    Text(String),
    Bytes { base64: String },
}

impl From<&Bytes> for Shown {
    fn from(bytes: &Bytes) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes { base64: base64(bytes) },
        }
    }
}

impl TryFrom<Shown> for Bytes {
    type Error = String;

    fn try_from(shown: Shown) -> std::result::Result<Self, String> {
        match shown {
            Shown::Text(text) => Ok(text.into()),
            Shown::Bytes { base64 } => {
                Ok(unbase64(&base64).ok_or("what stands for bytes is no base64")?.into())
            }
        }
    }
}

impl From<&Metadata> for MessageLine {
    fn from(message: &Metadata) -> Self {
        let header =
            |(name, value): &(Box<str>, Option<Bytes>)| (name.clone(), value.as_ref().map(Shown::from));
        Self {
            topic: message.topic.clone(),
            partition: message.partition,
            offset: message.offset,
            timestamp: message.timestamp,
            key: message.key.as_ref().map(Shown::from),
            headers: message.headers.iter().map(header).collect(),
        }
    }
}

impl Metadata {
    /// The headers as a JSON object, the last of each name, and `{"base64": ...}` for a value that is not UTF-8; nothing
    /// where there are none.
    ///
    /// # Examples
    /// ```
    /// use kwsync_core::Metadata;
    ///
    /// let metadata = Metadata::new().with_header("trace", Some("abc".into())).with_header("empty", None);
    /// assert_eq!(metadata.headers_json().as_deref(), Some(r#"{"empty":null,"trace":"abc"}"#));
    /// ```
    pub fn headers_json(&self) -> Option<String> {
        let all: std::collections::BTreeMap<&str, Option<Shown>> =
            self.headers.iter().map(|(name, value)| (&**name, value.as_ref().map(Shown::from))).collect();
        // Texts can always be written.
        (!all.is_empty()).then(|| serde_json::to_string(&all).unwrap_or_default())
    }
}

impl TryFrom<MessageLine> for Metadata {
    type Error = String;

    fn try_from(line: MessageLine) -> std::result::Result<Self, String> {
        let mut headers = Vec::with_capacity(line.headers.len());
        for (name, value) in line.headers {
            headers.push((name, value.map(Bytes::try_from).transpose()?));
        }
        Ok(Self {
            topic: line.topic,
            partition: line.partition,
            offset: line.offset,
            timestamp: line.timestamp,
            key: line.key.map(Bytes::try_from).transpose()?,
            headers,
        })
    }
}

impl From<&Reject> for Line {
    fn from(reject: &Reject) -> Self {
        let (raw, raw_base64) = match std::str::from_utf8(&reject.raw) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(base64(&reject.raw))),
        };
        Self {
            position: reject.position,
            split: reject.split.clone(),
            stage: reject.stage,
            format: reject.format.clone(),
            table: reject.table.as_ref().map(|table| table.name().to_owned()),
            schema: reject.table.as_ref().and_then(|table| table.schema().map(str::to_owned)),
            code: reject.code.clone(),
            reason: reject.reason.clone(),
            raw,
            raw_base64,
            message: reject.message.as_deref().map(MessageLine::from),
        }
    }
}

impl TryFrom<Line> for Reject {
    type Error = String;

    fn try_from(line: Line) -> std::result::Result<Self, String> {
        let raw = match (line.raw, line.raw_base64) {
            (Some(text), None) => Bytes::from(text),
            (None, Some(text)) => unbase64(&text).ok_or("raw_base64 is no base64")?.into(),
            _ => return Err("needs either raw or raw_base64".to_owned()),
        };
        let table = line.table.map(|name| match line.schema {
            Some(schema) => TableId::with_schema(schema, name),
            None => TableId::new(name),
        });
        Ok(Self {
            position: line.position,
            split: line.split,
            stage: line.stage,
            format: line.format,
            table,
            code: line.code,
            reason: line.reason,
            raw,
            message: line.message.map(Metadata::try_from).transpose()?.map(Arc::new),
            at: None,
        })
    }
}

/// Appends rejects to a file.
#[derive(Debug)]
pub struct RejectWriter {
    path: PathBuf,
    file: File,
    length: u64,
}

impl RejectWriter {
    /// Opens `path` for a job that starts afresh (`keep` 0) or resumes (`keep` = the length its checkpoint
    /// recorded): what lies beyond is cut off, since those records will be read again.
    ///
    /// # Errors
    /// When the file cannot be opened or cut.
    pub fn open(path: impl Into<PathBuf>, keep: u64) -> Result<Self> {
        Self::open_at(path.into(), keep, keep == 0)
    }

    /// Opens `path` and keeps all rejects that it holds; a line that a crash has left unfinished is cut off.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn append_to(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let whole = match whole_lines(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            whole => whole.map_err(|error| Error::io(format!("cannot read {}", path.display()), error))?,
        };
        Self::open_at(path, whole, true)
    }

    fn open_at(path: PathBuf, keep: u64, check: bool) -> Result<Self> {
        let what = || format!("cannot open the reject file {}", path.display());
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| Error::io(what(), error))?;
        if check {
            refuse_foreign(&path)?;
        }
        let held = file.metadata().map_err(|error| Error::io(what(), error))?.len();
        let length = keep.min(held);
        file.set_len(length)
            .and_then(|()| file.seek(SeekFrom::Start(length)))
            .map_err(|error| Error::io(what(), error))?;
        Ok(Self { path, file, length })
    }

    /// Appends `rejects`, makes them durable, and returns the length of the file in bytes.
    ///
    /// # Errors
    /// When the file cannot be written; then it is as long as before.
    pub fn append(&mut self, rejects: &[Reject]) -> Result<u64> {
        if rejects.is_empty() {
            return Ok(self.length);
        }
        let mut text = Vec::new();
        for reject in rejects {
            serde_json::to_writer(&mut text, &Line::from(reject)).map_err(|error| {
                Error::new(ErrorKind::Internal, "cannot write a reject as JSON").with_source(error)
            })?;
            text.push(b'\n');
        }
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Nothing half-written may stay; if even that fails, the next open cuts it off.
            let restored =
                self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
            drop(restored);
            return Err(Error::io(format!("cannot write the reject file {}", self.path.display()), error));
        }
        self.length += text.len() as u64;
        Ok(self.length)
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that are durable.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether nothing has been rejected yet.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// Bytes of a file up to the end of its last whole line.
fn whole_lines(path: &Path) -> std::io::Result<u64> {
    let mut file = File::open(path)?;
    let mut end = file.metadata()?.len();
    let mut block = vec![0; 8192];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// A slip of the finger must not empty somebody's data: what is there must be a reject file.
fn refuse_foreign(path: &Path) -> Result<()> {
    let fault = |error| Error::io(format!("cannot read {}", path.display()), error);
    let mut first = Vec::new();
    let mut start = std::io::BufReader::new(File::open(path).map_err(fault)?).take(1 << 20);
    start.read_until(b'\n', &mut first).map_err(fault)?;
    if first.is_empty() || serde_json::from_slice::<Line>(&first).is_ok() {
        return Ok(());
    }
    Err(Error::config(format!("{} is there and is no reject file: it is left alone", path.display()))
        .with_hint("name another file for the rejects, or move this one away"))
}

/// Reads a reject file again, one reject a line; for replaying it, or for looking at it.
///
/// # Examples
/// ```
/// use kwsync_core::RejectReader;
///
/// let line = br#"{"position":{"byte":0,"line":1,"column":3,"record":1},"split":"a.lp","stage":"decode",
///     "format":"line_influxdb","code":"bad_integer","reason":"not an integer","raw":"m f=xi"}"#;
/// let text = String::from_utf8_lossy(line).replace('\n', "");
/// let rejects: Vec<_> = RejectReader::new(text.as_bytes(), "bad.jsonl").collect::<Result<_, _>>()?;
/// assert_eq!(&rejects[0].raw[..], b"m f=xi");
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Debug)]
pub struct RejectReader<R> {
    input: R,
    name: String,
    line: u64,
    byte: u64,
}

impl<R: BufRead> RejectReader<R> {
    /// Reads from `input`; `name` is for errors.
    pub fn new(input: R, name: impl Into<String>) -> Self {
        Self { input, name: name.into(), line: 0, byte: 0 }
    }

    fn next_line(&mut self) -> Result<Option<Reject>> {
        loop {
            let mut text = Vec::new();
            let start = self.byte;
            let read = self
                .input
                .read_until(b'\n', &mut text)
                .map_err(|error| Error::io(format!("cannot read {}", self.name), error))?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            self.byte += read as u64;
            if text.trim_ascii().is_empty() {
                continue;
            }
            let parsed = serde_json::from_slice::<Line>(&text)
                .map_err(|error| error.to_string())
                .and_then(Reject::try_from);
            return parsed.map(Some).map_err(|fault| {
                let position = Position { byte: start, line: self.line, column: 0, record: self.line };
                Error::new(ErrorKind::Data, format!("no line of a reject file: {fault}"))
                    .with_location(Location::new().with_input(self.name.as_str()).with_position(position))
            });
        }
    }
}

impl<R: BufRead> Iterator for RejectReader<R> {
    type Item = Result<Reject>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line().transpose()
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648, with padding; twenty lines against one more dependency.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().enumerate().fold(0u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let six = (bits >> (18 - 6 * at) & 63) as usize;
            text.push(if at <= group.len() { char::from(ALPHABET[six]) } else { '=' });
        }
    }
    text
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for group in text.chunks(4) {
        if group.len() == 1 {
            return None;
        }
        let mut bits = 0u32;
        for (at, byte) in group.iter().enumerate() {
            let six = ALPHABET.iter().position(|letter| letter == byte)?;
            bits |= (six as u32) << (18 - 6 * at);
        }
        bytes.extend((0..group.len() - 1).map(|at| (bits >> (16 - 8 * at)) as u8));
    }
    Some(bytes)
}
