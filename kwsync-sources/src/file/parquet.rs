//! Parquet files as batches.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kwsync_core::arrow::array::RecordBatch;
use kwsync_core::{
    DecodeCounts, Decoded, Error, ErrorKind, Origin, Reader, Result, Schema, Source, SourceBatch, Split,
    SplitPosition, TableBatch, TableId,
};
use kwsync_formats::parquet::{BatchReader, ReadOptions};
use serde::{Deserialize, Serialize};

use super::ahead::Ahead;
use super::identity::Identity;
use super::{input, paths};

/// Rows of a batch.
const BATCH_ROWS: usize = 16 << 10;

/// The rows of Parquet files; a split is a row group.
///
/// The table is named, in this order, by [`with_table`](Self::with_table), by the folder below the directory that
/// is read (as the file sink writes them), or by the file, without its ending.
#[derive(Debug)]
pub struct ParquetSource {
    path: String,
    table: Option<TableId>,
}

/// What a split says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Spec {
    path: PathBuf,
    file: Identity,
    row_group: usize,
    rows: u64,
    bytes: u64,
    table: TableId,
}

impl ParquetSource {
    /// Reads `path`: a file, a pattern or a directory. Nothing is opened yet.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), table: None }
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
}

/// Undoes the percent-encoding of the file sink; what is not encoded stays.
fn decoded(name: &str) -> String {
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

impl Source for ParquetSource {
    type Reader = ParquetReader;

    async fn splits(&self, _lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
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
            let groups = BatchReader::row_groups(file).map_err(|error| error.context(path.display()))?;
            for (row_group, group) in groups.iter().enumerate() {
                let id = format!("{}#{row_group}", path.display());
                let spec = Spec {
                    path: path.clone(),
                    file: identity.clone(),
                    row_group,
                    rows: group.rows,
                    bytes: group.bytes,
                    table: self.table_of(&path),
                };
                let spec = serde_json::to_value(spec).map_err(|error| {
                    Error::new(ErrorKind::Unsupported, format!("the name of the file {id} is not UTF-8"))
                        .with_source(error)
                })?;
                splits.push(Split { spec, bytes: Some(group.bytes), ..Split::whole(id) });
            }
        }
        Ok(splits)
    }

    async fn open(&self, split: &Split, at: Option<&SplitPosition>) -> Result<ParquetReader> {
        let spec = spec(split)?;
        let row = at.map_or(0, |at| at.0.as_u64().unwrap_or_default());
        let file = unchanged(&spec)?;
        let (group, rows, path) = (spec.row_group, spec.rows, spec.path.clone());
        let batches = Ahead::spawn(path.display().to_string(), move |send| {
            let options = ReadOptions::new()
                .with_batch_rows(BATCH_ROWS)
                .with_row_groups(group..group + 1)
                .with_skip_rows(usize::try_from(row).unwrap_or(usize::MAX));
            let in_file = |error: Error| error.context(path.display());
            let mut end = row;
            for batch in BatchReader::from_file(file, &options).map_err(in_file)? {
                let batch = batch.map_err(in_file)?;
                end += batch.num_rows() as u64;
                if !send(batch) {
                    return Ok(());
                }
            }
            if end < rows {
                let text = format!("row group {group} ends after {end} of its {rows} rows");
                return Err(in_file(Error::new(ErrorKind::Io, text).with_hint(
                    "the file is damaged or was changed while it was read: fetch or write it again",
                )));
            }
            Ok(())
        })?;
        Ok(ParquetReader { batches, schema: None, spec, row })
    }
}

/// The file, if it is still the one that was cut into row groups.
fn unchanged(spec: &Spec) -> Result<File> {
    let mut file = input::open(&spec.path)?;
    let len = spec.file.verify(&spec.path, &mut file)?;
    if len == spec.file.len {
        return Ok(file);
    }
    let text = format!(
        "{} was changed since the job began: it has grown from {} to {len} bytes",
        spec.path.display(),
        spec.file.len
    );
    Err(Error::new(ErrorKind::NotFound, text).with_hint("begin anew with --restart or another --job"))
}

fn spec(split: &Split) -> Result<Spec> {
    serde_json::from_value(split.spec.clone()).map_err(|error| {
        Error::config(format!("the split `{}` of the checkpoint is not one of Parquet files", split.id))
            .with_source(error)
            .with_hint("the job of this name read something else: use another --job, or --restart")
    })
}

/// Reads one row group of a [`ParquetSource`]. The reading itself is done by a thread of its own.
#[derive(Debug)]
pub struct ParquetReader {
    batches: Ahead<RecordBatch>,
    schema: Option<Arc<Schema>>,
    spec: Spec,
    row: u64,
}

impl Reader for ParquetReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        let Some(batch) = self.batches.next().await? else { return Ok(None) };
        let schema = match &self.schema {
            Some(schema) => Arc::clone(schema),
            None => {
                let schema = Schema::from_arrow(&batch.schema())
                    .map_err(|error| error.context(self.spec.path.display()))?;
                Arc::clone(self.schema.insert(Arc::new(schema)))
            }
        };
        let rows = batch.num_rows() as u64;
        self.row += rows;
        let batch = TableBatch::new(self.spec.table.clone(), schema, batch, Origin::unknown(rows as usize))?;
        let counts = DecodeCounts { records: rows, ..DecodeCounts::default() };
        let decoded = Decoded { batches: vec![batch], rejects: Vec::new(), counts };
        let bytes = self.spec.bytes * rows / self.spec.rows.max(1);
        Ok(Some(SourceBatch { bytes, ..SourceBatch::of(decoded, SplitPosition(self.row.into())) }))
    }
}
