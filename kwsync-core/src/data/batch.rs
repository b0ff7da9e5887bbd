//! A batch of rows of one table.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_data::ArrayData;
use arrow_schema::DataType as Arrow;

use super::{Change, Origin, Row, Schema, TableId};
use crate::{Error, ErrorKind, Result};

/// Rows of one table, typed, with the record that each came from.
///
/// # Examples
/// ```
/// use kwsync_core::{Column, DataType, Schema, TableBatch, Value};
/// use std::sync::Arc;
///
/// let schema = Arc::new(Schema::new(vec![Column::new("n", DataType::Int64)])?);
/// let batch = TableBatch::from_rows("t", schema, &[vec![Value::Int(1)], vec![Value::Null]])?;
/// assert_eq!(batch.rows(), 2);
/// assert_eq!(batch.row(0).get("n")?, Value::Int(1));
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TableBatch {
    table: TableId,
    schema: Arc<Schema>,
    batch: RecordBatch,
    origin: Origin,
    change: Change,
}

impl TableBatch {
    /// A batch of columns that agree with `schema` in number, names and types; each column may lie in memory in
    /// any encoding of its type.
    ///
    /// # Errors
    /// `Schema` when columns and schema disagree, or when there is not one origin a row.
    pub fn new(
        table: impl Into<TableId>,
        schema: Arc<Schema>,
        batch: RecordBatch,
        origin: Origin,
    ) -> Result<Self> {
        let table = table.into();
        let fault = |text: String| Err(Error::new(ErrorKind::Schema, format!("table {table}: {text}")));
        if batch.num_columns() != schema.columns().len() {
            return fault(format!(
                "{} columns for a schema of {}",
                batch.num_columns(),
                schema.columns().len()
            ));
        }
        for (column, field) in schema.columns().iter().zip(batch.schema_ref().fields()) {
            if column.name() != field.name() {
                return fault(format!("column {:?} where the schema has {:?}", field.name(), column.name()));
            }
            if !column.data_type().is_stored_as(field.data_type()) {
                return fault(format!(
                    "column {:?} is {} where the schema has {}",
                    field.name(),
                    field.data_type(),
                    column.data_type()
                ));
            }
        }
        if origin.len() != batch.num_rows() {
            return fault(format!("{} origins for {} rows", origin.len(), batch.num_rows()));
        }
        Ok(Self { table, schema, batch, origin, change: Change::Rows })
    }

    /// A batch of columns in the order of the schema, each in any encoding of its type.
    ///
    /// # Errors
    /// As [`TableBatch::new`]; also when the columns differ in length or hold nulls where they may not.
    pub fn from_columns(
        table: impl Into<TableId>,
        schema: Arc<Schema>,
        columns: Vec<ArrayRef>,
        origin: Origin,
    ) -> Result<Self> {
        let table = table.into();
        if columns.len() != schema.columns().len() {
            let text = format!(
                "table {table}: {} columns for a schema of {}",
                columns.len(),
                schema.columns().len()
            );
            return Err(Error::new(ErrorKind::Schema, text));
        }
        let usual = schema.arrow_schema();
        let arrow = if usual
            .fields()
            .iter()
            .zip(&columns)
            .all(|(field, array)| field.data_type() == array.data_type())
        {
            Arc::clone(usual)
        } else {
            let fields: Vec<_> = schema
                .columns()
                .iter()
                .zip(&columns)
                .map(|(column, array)| column.to_field_as(array.data_type().clone()))
                .collect();
            Arc::new(arrow_schema::Schema::new(fields))
        };
        let options = RecordBatchOptions::new().with_row_count(Some(origin.len()));
        let batch = RecordBatch::try_new_with_options(arrow, columns, &options)
            .map_err(|error| Error::new(ErrorKind::Schema, format!("table {table}: {error}")))?;
        Self::new(table, schema, batch, origin)
    }

    /// A batch without rows.
    ///
    /// # Errors
    /// As [`TableBatch::new`].
    pub fn empty(table: impl Into<TableId>, schema: Arc<Schema>) -> Result<Self> {
        let fields = schema.arrow_schema().fields().iter();
        let columns = fields.map(|field| arrow_array::new_empty_array(field.data_type())).collect();
        Self::from_columns(table, schema, columns, Origin::unknown(0))
    }

    /// The table.
    pub fn table(&self) -> &TableId {
        &self.table
    }

    /// The columns.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The rows as Arrow.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// Where the rows came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What the rows are.
    pub fn change(&self) -> Change {
        self.change
    }

    /// The same rows as changes of this kind, or as rows again. What [`into_parts`](Self::into_parts) gives does not have it: whoever
    /// makes a batch anew says it again.
    ///
    /// # Examples
    /// ```
    /// use kwsync_core::{Change, Column, DataType, Schema, TableBatch, Value};
    /// use std::sync::Arc;
    ///
    /// let schema = Arc::new(Schema::new(vec![Column::new("id", DataType::Int64).with_key(1, 1)])?);
    /// let gone = TableBatch::from_rows("t", schema, &[vec![Value::Int(7)]])?.with_change(Change::Delete);
    /// assert_eq!(gone.slice(0, 1).change(), Change::Delete);
    /// # Ok::<(), kwsync_core::Error>(())
    /// ```
    #[must_use]
    pub fn with_change(mut self, change: Change) -> Self {
        self.change = change;
        self
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// One row.
    ///
    /// # Panics
    /// When `index` is not below [`rows`](Self::rows).
    pub fn row(&self, index: usize) -> Row<'_> {
        assert!(index < self.rows(), "row {index} of {}", self.rows());
        Row::new(self, index)
    }

    /// The parts again.
    pub fn into_parts(self) -> (TableId, Arc<Schema>, RecordBatch, Origin) {
        (self.table, self.schema, self.batch, self.origin)
    }

    /// The same rows under another table's name.
    #[must_use]
    pub fn with_table(mut self, table: impl Into<TableId>) -> Self {
        self.table = table.into();
        self
    }

    /// The same rows without the bytes of their records, so that a reject shows the row as it is now.
    #[must_use]
    pub fn without_raw(mut self) -> Self {
        self.origin = self.origin.without_raw();
        self
    }

    /// `len` rows from `offset` on; copies nothing.
    ///
    /// # Panics
    /// When the range is not within the rows.
    #[must_use]
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        Self {
            table: self.table.clone(),
            schema: Arc::clone(&self.schema),
            batch: self.batch.slice(offset, len),
            origin: self.origin.slice(offset, len),
            change: self.change,
        }
    }

    /// Bytes of memory that this batch keeps alive. A buffer that several columns share counts once, and so
    /// does a chunk of input that both columns and origin point into.
    pub fn retained_bytes(&self) -> usize {
        Self::retained_together(std::slice::from_ref(self))
    }

    /// Bytes of memory that several batches keep alive together; what they share counts once.
    pub fn retained_together(batches: &[Self]) -> usize {
        let mut buffers = Vec::new();
        let mut index = 0;
        for batch in batches {
            for column in batch.batch.columns() {
                collect(&column.to_data(), &mut buffers);
            }
            for segment in batch.origin.segments() {
                if let Some(bytes) = &segment.bytes {
                    buffers.push((bytes.as_ptr() as usize, bytes.len()));
                }
            }
            index += batch.origin.index_bytes();
        }
        // Slices of one allocation overlap; what they cover together is what is kept.
        buffers.sort_unstable();
        let mut covered_to = 0;
        let mut total = 0;
        for (start, len) in buffers {
            let end = start + len;
            let from = start.max(covered_to);
            if end > from {
                total += end - from;
                covered_to = end;
            }
        }
        total + index
    }

    /// The same rows; string and byte views, and the origin, that hold more than four times the memory that
    /// they use are copied, so that a small batch does not keep large chunks alive.
    #[must_use]
    pub fn compact(self) -> Self {
        let mut changed = false;
        let columns: Vec<ArrayRef> = self
            .batch
            .columns()
            .iter()
            .map(|column| match compact_view(column) {
                Some(small) => {
                    changed = true;
                    small
                }
                None => Arc::clone(column),
            })
            .collect();
        let batch = if changed {
            let options = RecordBatchOptions::new().with_row_count(Some(self.batch.num_rows()));
            RecordBatch::try_new_with_options(self.batch.schema(), columns, &options).unwrap_or(self.batch)
        } else {
            self.batch
        };
        Self { origin: self.origin.compact(), batch, ..self }
    }
}

fn compact_view(column: &ArrayRef) -> Option<ArrayRef> {
    match column.data_type() {
        Arrow::Utf8View => {
            let view = column.as_string_view();
            let held: usize = view.data_buffers().iter().map(|buffer| buffer.len()).sum();
            let used = view.total_buffer_bytes_used();
            (held > 4 * used.max(1)).then(|| Arc::new(view.gc()) as ArrayRef)
        }
        Arrow::BinaryView => {
            let view = column.as_binary_view();
            let held: usize = view.data_buffers().iter().map(|buffer| buffer.len()).sum();
            let used = view.total_buffer_bytes_used();
            (held > 4 * used.max(1)).then(|| Arc::new(view.gc()) as ArrayRef)
        }
        _ => None,
    }
}

fn collect(data: &ArrayData, buffers: &mut Vec<(usize, usize)>) {
    // The whole allocation stays alive, however small the slice; a buffer of foreign memory (input chunks)
    // tells its own length only.
    buffers
        .extend(data.buffers().iter().map(|buffer| (buffer.data_ptr().as_ptr() as usize, buffer.capacity())));
    if let Some(nulls) = data.nulls() {
        let buffer = nulls.buffer();
        buffers.push((buffer.data_ptr().as_ptr() as usize, buffer.capacity()));
    }
    data.child_data().iter().for_each(|child| collect(child, buffers));
}
