//! Files that hold batches: Parquet and Arrow IPC.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kwsync_core::arrow::array::RecordBatch;
use kwsync_core::{
    DecodeCounts, Decoded, Error, ErrorKind, Origin, Reader, Result, Schema, Source, SourceBatch, Split,
    SplitPosition, TableBatch, TableId,
};
use serde::{Deserialize, Serialize};

use super::ahead::Ahead;
use super::identity::Identity;
use super::input::{self, STDIN};
use super::paths;

/// Most rows of a batch.
const BATCH_ROWS: usize = 16 << 10;
/// A split of an Arrow file has about so many bytes.
#[cfg(feature = "ipc")]
const SPLIT_BYTES: u64 = 64 << 20;

/// What the files of a [`BatchFileSource`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg(feature = "parquet")]
    Parquet,
    #[cfg(feature = "ipc")]
    Arrow,
}

/// The rows of Parquet files, where a split is a row group, or of Arrow IPC files, where it is a run of batches; an Arrow
/// stream is one split, which may come from standard input.
///
/// The table is named, in this order, by [`with_table`](Self::with_table), by the folder below the directory that
/// is read (as the file sink writes them), or by the file, without its ending.
#[derive(Debug)]
pub struct BatchFileSource {
    path: String,
    table: Option<TableId>,
    kind: Kind,
}

/// What a split says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Spec {
    path: PathBuf,
    /// `None` of standard input
    file: Option<Identity>,
    /// The row group, or the first batch
    part: usize,
    /// Rows of the row group, or batches; `None` of a stream, up to whose end it reaches
    count: Option<u64>,
    bytes: u64,
    table: TableId,
}

impl BatchFileSource {
    /// Reads Parquet files at `path`: a file, a pattern or a directory. Nothing is opened yet.
    #[cfg(feature = "parquet")]
    pub fn parquet(path: impl Into<String>) -> Self {
        Self { path: path.into(), table: None, kind: Kind::Parquet }
    }

    /// Reads Arrow IPC files or streams at `path`: a file, a pattern, a directory, or `-` for a stream from standard
    /// input, which cannot be resumed. Nothing is opened yet.
    #[cfg(feature = "ipc")]
    pub fn arrow(path: impl Into<String>) -> Self {
        Self { path: path.into(), table: None, kind: Kind::Arrow }
    }

    /// Names the table of all files.
    #[must_use]
    pub fn with_table(mut self, table: impl Into<TableId>) -> Self {
        self.table = Some(table.into());
        self
    }

    fn table_of(&self, path: &Path) -> TableId {
        if let Some(table) = &self.table {
            return table.clone();
        }
        let folder = path
            .strip_prefix(&self.path)
            .ok()
            .and_then(Path::parent)
            .filter(|folder| !folder.as_os_str().is_empty());
        let name = folder.map_or_else(
            || path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            |folder| decoded(&folder.to_string_lossy()),
        );
        TableId::new(name)
    }

    /// The one split of standard input.
    fn standard_input(&self) -> Result<Split> {
        #[cfg(feature = "parquet")]
        if self.kind == Kind::Parquet {
            return Err(Error::config(
                "Parquet cannot be read from standard input: its columns stand at its end",
            )
            .with_hint("write it to a file first"));
        }
        let table = self.table.clone().unwrap_or_else(|| TableId::new("stdin"));
        let spec = Spec { path: STDIN.into(), file: None, part: 0, count: None, bytes: 0, table };
        Ok(Split { resumable: false, ..self.split(STDIN.to_owned(), &spec)? })
    }

    fn split(&self, id: String, spec: &Spec) -> Result<Split> {
        let made = serde_json::to_value(spec).map_err(|error| {
            Error::new(ErrorKind::Unsupported, format!("the name of the file {id} is not UTF-8"))
                .with_source(error)
        })?;
        Ok(Split { spec: made, bytes: Some(spec.bytes).filter(|bytes| *bytes > 0), ..Split::whole(id) })
    }

    /// The parts of a file: where each begins, how much it holds, and its bytes.
    fn parts(&self, file: File, len: u64) -> Result<Vec<(usize, Option<u64>, u64)>> {
        match self.kind {
            #[cfg(feature = "parquet")]
            Kind::Parquet => {
                let groups = kwsync_formats::parquet::BatchReader::row_groups(file)?;
                Ok(groups.iter().enumerate().map(|(at, group)| (at, Some(group.rows), group.bytes)).collect())
            }
            #[cfg(feature = "ipc")]
            Kind::Arrow => {
                let Some(count) = kwsync_formats::ipc::BatchReader::count(file)? else {
                    return Ok(vec![(0, None, len)]);
                };
                let parts = usize::try_from(len / SPLIT_BYTES).unwrap_or(usize::MAX).clamp(1, count.max(1));
                let each = count.div_ceil(parts).max(1);
                let bytes = |batches: usize| len * batches as u64 / count.max(1) as u64;
                let part = |at| {
                    let batches = each.min(count - at);
                    (at, Some(batches as u64), bytes(batches))
                };
                Ok((0..count).step_by(each).map(part).collect())
            }
        }
    }
}

/// Undoes the percent-encoding of the file sink; what is not encoded stays.
pub(crate) fn decoded(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let escape = after.split_at_checked(2).filter(|_| byte == b'%');
        let value = escape.and_then(|(digits, rest)| {
            let text = std::str::from_utf8(digits)
                .ok()
                .filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
            Some((u8::from_str_radix(text, 16).ok()?, rest))
        });
        match value {
            Some((value, after)) => {
                bytes.push(value);
                rest = after;
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| name.to_owned())
}

impl Source for BatchFileSource {
    type Reader = BatchFileReader;

    async fn splits(&self, _lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
        if self.path == STDIN {
            return Ok(vec![self.standard_input()?]);
        }
        let mut splits = known.to_vec();
        let known = known.iter().map(spec).map(|spec| spec.map(|spec| (spec.path.clone(), spec)));
        let known = known.collect::<Result<HashMap<_, _>>>()?;
        for path in paths::find(&self.path)? {
            if let Some(spec) = known.get(&path) {
                // What was read of it stays as it was, and nothing of another file of this name is left out silently.
                unchanged(spec)?;
                continue;
            }
            let mut file = input::open(&path)?;
            let identity = Identity::of(&path, &mut file)?;
            let parts = self.parts(file, identity.len).map_err(|error| error.context(path.display()))?;
            for (part, count, bytes) in parts {
                let id = format!("{}#{part}", path.display());
                let (file, table) = (Some(identity.clone()), self.table_of(&path));
                splits.push(self.split(id, &Spec { path: path.clone(), file, part, count, bytes, table })?);
            }
        }
        Ok(splits)
    }

    async fn open(&self, split: &Split, at: Option<&SplitPosition>) -> Result<BatchFileReader> {
        let spec = spec(split)?;
        let at = at.map_or(0, |at| at.0.as_u64().unwrap_or_default());
        let file = unchanged(&spec)?;
        let (read, name) = (spec.clone(), spec.path.display().to_string());
        let kind = self.kind;
        let batches = Ahead::spawn(name.clone(), move |send| {
            kind.read(&read, file, at, send).map_err(|error| error.context(name))
        })?;
        Ok(BatchFileReader { batches, schema: None, spec, at })
    }
}

impl Kind {
    /// Sends the batches of a split from the place `at` on, each with what the place grows by.
    fn read(
        self,
        spec: &Spec,
        file: Option<File>,
        at: u64,
        send: &mut dyn FnMut((RecordBatch, u64)) -> bool,
    ) -> Result<()> {
        let skip = usize::try_from(at).unwrap_or(usize::MAX);
        match self {
            #[cfg(feature = "parquet")]
            Self::Parquet => {
                let Some(file) = file else { return Ok(()) };
                let options = kwsync_formats::parquet::ReadOptions::new()
                    .with_batch_rows(BATCH_ROWS)
                    .with_row_groups(spec.part..spec.part + 1)
                    .with_skip_rows(skip);
                let mut end = at;
                for batch in kwsync_formats::parquet::BatchReader::from_file(file, &options)? {
                    let batch = batch?;
                    let rows = batch.num_rows() as u64;
                    end += rows;
                    if !send((batch, rows)) {
                        return Ok(());
                    }
                }
                let rows = spec.count.unwrap_or_default();
                if end < rows {
                    let text = format!("row group {} ends after {end} of its {rows} rows", spec.part);
                    return Err(Error::new(ErrorKind::Io, text).with_hint(
                        "the file is damaged or was changed while it was read: fetch or write it again",
                    ));
                }
                Ok(())
            }
            #[cfg(feature = "ipc")]
            Self::Arrow => {
                use kwsync_formats::ipc::{BatchReader, ReadOptions};
                let count = spec.count.map_or(usize::MAX, |count| count as usize);
                let options =
                    ReadOptions::new().with_batches(spec.part + skip..spec.part.saturating_add(count));
                let batches = match file {
                    Some(file) => BatchReader::try_new(file, &options)?,
                    None => BatchReader::from_stream(std::io::stdin(), &options)?,
                };
                for batch in batches {
                    if !send((batch?, 1)) {
                        return Ok(());
                    }
                }
                Ok(())
            }
        }
    }
}

/// The file, if it is still the one that was cut; `None` of standard input.
fn unchanged(spec: &Spec) -> Result<Option<File>> {
    let Some(identity) = &spec.file else { return Ok(None) };
    let mut file = input::open(&spec.path)?;
    let len = identity.verify(&spec.path, &mut file)?;
    if len == identity.len {
        return Ok(Some(file));
    }
    let text = format!(
        "{} was changed since the job began: it has grown from {} to {len} bytes",
        spec.path.display(),
        identity.len
    );
    Err(Error::new(ErrorKind::NotFound, text).with_hint("begin anew with --restart or another --job"))
}

fn spec(split: &Split) -> Result<Spec> {
    serde_json::from_value(split.spec.clone()).map_err(|error| {
        Error::config(format!("the split `{}` of the checkpoint is not one of such files", split.id))
            .with_source(error)
            .with_hint("the job of this name read something else: use another --job, or --restart")
    })
}

/// Reads one split of a [`BatchFileSource`]. The reading itself is done by a thread of its own.
#[derive(Debug)]
pub struct BatchFileReader {
    batches: Ahead<(RecordBatch, u64)>,
    schema: Option<Arc<Schema>>,
    spec: Spec,
    /// Rows of a row group, or batches
    at: u64,
}

impl Reader for BatchFileReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        let Some((batch, step)) = self.batches.next().await? else { return Ok(None) };
        let schema = match &self.schema {
            Some(schema) => Arc::clone(schema),
            None => {
                let schema = Schema::from_arrow(&batch.schema())
                    .map_err(|error| error.context(self.spec.path.display()))?;
                Arc::clone(self.schema.insert(Arc::new(schema)))
            }
        };
        self.at += step;
        let rows = batch.num_rows();
        let mut batches = Vec::with_capacity(rows.div_ceil(BATCH_ROWS));
        for from in (0..rows).step_by(BATCH_ROWS) {
            let piece = batch.slice(from, BATCH_ROWS.min(rows - from));
            let origin = Origin::unknown(piece.num_rows());
            batches.push(TableBatch::new(self.spec.table.clone(), Arc::clone(&schema), piece, origin)?);
        }
        let counts = DecodeCounts { records: rows as u64, ..DecodeCounts::default() };
        let decoded = Decoded { batches, rejects: Vec::new(), counts };
        // Of a stream it is not known how many batches share the bytes of its file.
        let bytes = match self.spec.count {
            Some(count) => self.spec.bytes * step / count.max(1),
            None => batch.get_array_memory_size() as u64,
        };
        Ok(Some(SourceBatch { bytes, ..SourceBatch::of(decoded, SplitPosition(self.at.into())) }))
    }
}
