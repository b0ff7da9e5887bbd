//! One table as Arrow's `RecordBatchReader`.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchReader, new_null_array};
use arrow_schema::{ArrowError, SchemaRef};
use kwsync_core::{Decoded, Error, ErrorKind, Result, TableBatch};

/// Batches of one table and one schema, for whatever takes a `RecordBatchReader`.
///
/// The schema is that of the first batch. Columns that a later batch lacks are null; a column that only a later batch
/// has is an error, since a reader has one schema. The first record that is refused is an error, too; iterate
/// over [`ReadDecoder`](super::ReadDecoder) to go on behind them.
///
/// # Examples
/// ```
/// use arrow_array::RecordBatchReader;
/// use kwsync_formats::adapt::ReadDecoder;
/// use kwsync_formats::influx::{LineDecoder, LineOptions};
///
/// let input = std::io::Cursor::new("cpu,host=a usage=1i 1\ncpu,host=b usage=2i 2\n");
/// let reader = ReadDecoder::new(input, LineDecoder::new(LineOptions::default())).into_table("cpu")?;
/// assert_eq!(reader.schema().field(1).name(), "host");
/// let rows: usize = reader.map(|batch| batch.map(|batch| batch.num_rows()).unwrap()).sum();
/// assert_eq!(rows, 2);
/// # Ok::<(), kwsync_core::Error>(())
/// ```
pub struct TableReader<I> {
    inner: I,
    table: Option<String>,
    /// A second table is an error
    only: bool,
    waiting: VecDeque<TableBatch>,
    schema: SchemaRef,
}

impl<I> fmt::Debug for TableReader<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableReader").field("table", &self.table).finish_non_exhaustive()
    }
}

impl<I: Iterator<Item = Result<Decoded>>> TableReader<I> {
    pub(super) fn new(inner: I, table: Option<&str>) -> Result<Self> {
        let mut reader = Self {
            inner,
            table: table.map(str::to_owned),
            only: table.is_none(),
            waiting: VecDeque::new(),
            schema: SchemaRef::new(arrow_schema::Schema::empty()),
        };
        match reader.pull()? {
            Some(first) => {
                reader.schema = first.batch().schema();
                reader.waiting.push_front(first);
                Ok(reader)
            }
            None => {
                let what =
                    table.map_or_else(|| "no row".to_owned(), |table| format!("no row of table {table:?}"));
                Err(Error::new(ErrorKind::NotFound, format!("the input has {what}")))
            }
        }
    }

    fn pull(&mut self) -> Result<Option<TableBatch>> {
        loop {
            if let Some(batch) = self.waiting.pop_front() {
                return Ok(Some(batch));
            }
            let Some(decoded) = self.inner.next() else { return Ok(None) };
            let decoded = decoded?;
            if let Some(reject) = decoded.rejects.first() {
                return Err(reject.to_error());
            }
            for batch in decoded.batches {
                match &self.table {
                    Some(table) if batch.table().name() != table && self.only => {
                        let text = format!("besides table {table} there is {}", batch.table());
                        return Err(
                            Error::new(ErrorKind::Schema, text).with_hint("choose one with into_table")
                        );
                    }
                    Some(table) if batch.table().name() != table => {}
                    Some(_) => self.waiting.push_back(batch),
                    None => {
                        self.table = Some(batch.table().name().to_owned());
                        self.waiting.push_back(batch);
                    }
                }
            }
        }
    }

    fn fit(&self, batch: &TableBatch) -> Result<RecordBatch> {
        let batch = batch.batch();
        let own = batch.schema();
        if own == self.schema {
            return Ok(batch.clone());
        }
        let new = own.fields().iter().find(|field| self.schema.field_with_name(field.name()).is_err());
        if let Some(field) = new {
            let text = format!(
                "column {:?} turns up after the first batch, and a reader has one schema",
                field.name()
            );
            return Err(Error::new(ErrorKind::Schema, text).with_hint("iterate over ReadDecoder instead"));
        }
        let columns = self.schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
            Some(column) => Arc::clone(column),
            None => new_null_array(field.data_type(), batch.num_rows()),
        });
        RecordBatch::try_new(Arc::clone(&self.schema), columns.collect())
            .map_err(|error| Error::new(ErrorKind::Schema, error.to_string()))
    }
}

impl<I: Iterator<Item = Result<Decoded>>> Iterator for TableReader<I> {
    type Item = std::result::Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.pull().and_then(|batch| batch.map(|batch| self.fit(&batch)).transpose());
        batch.map_err(|error| ArrowError::ExternalError(Box::new(error))).transpose()
    }
}

impl<I: Iterator<Item = Result<Decoded>>> RecordBatchReader for TableReader<I> {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
