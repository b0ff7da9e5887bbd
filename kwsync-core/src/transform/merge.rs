//! Many tables into one.

use std::sync::Arc;

use arrow_array::StringViewArray;

use super::columns::{pairs, rebuild};
use super::{Transform, Transformed};
use crate::{Change, Column, DataType, Error, ErrorKind, Location, Result, TableBatch, TableId};

/// Puts the rows of all tables into one, and the table that each came from into a column, which Data Transmission
/// Service calls `__dts_data_source`: `<prefix><schema>.<table>`, without the schema where there is none. That column becomes the last
/// of the primary key, where the tables have one.
///
/// # Examples
/// ```
/// use kwsync_core::{Column, DataType, MergeTables, Schema, TableBatch, Transform, Value};
/// use std::sync::Arc;
///
/// let schema = Arc::new(Schema::new(vec![Column::new("id", DataType::Int64)])?);
/// let batch = TableBatch::from_rows("orders_2", schema, &[vec![Value::Int(7)]])?;
/// let merged = MergeTables::new("orders", "__dts_data_source", "job1:shop.").apply(batch)?;
/// let batch = &merged.batches[0];
/// assert_eq!(batch.table().name(), "orders");
/// assert_eq!(batch.row(0).get("__dts_data_source")?, Value::Text("job1:shop.orders_2".into()));
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MergeTables {
    into: TableId,
    column: Arc<str>,
    prefix: String,
}

impl MergeTables {
    /// Merges into the table `into`; `column` says where a row came from.
    pub fn new(into: impl Into<TableId>, column: impl Into<Arc<str>>, prefix: impl Into<String>) -> Self {
        Self { into: into.into(), column: column.into(), prefix: prefix.into() }
    }
}

impl Transform for MergeTables {
    fn takes_changes(&self) -> bool {
        true
    }

    fn apply(&self, batch: TableBatch) -> Result<Transformed> {
        if batch.change() == Change::Truncate {
            let text =
                format!("{} was emptied, and its rows are merged with those of other tables", batch.table());
            return Err(Error::new(ErrorKind::Unsupported, text)
                .with_hint("delete its rows in the target, by the column that says where they come from, and leave truncate out of operations="));
        }
        if batch.schema().index_of(&self.column).is_some() {
            let text = format!("cannot add column {:?}: the table has one of that name", self.column);
            return Err(Error::new(ErrorKind::Schema, text)
                .with_location(Location::new().with_table(batch.table().name())));
        }
        let source = match batch.table().schema() {
            Some(schema) => format!("{}{schema}.{}", self.prefix, batch.table().name()),
            None => format!("{}{}", self.prefix, batch.table().name()),
        };
        let values = StringViewArray::from_iter_values(std::iter::repeat_n(source, batch.rows()));
        let mut columns = pairs(&batch);
        let parts = batch.schema().key().len() as u16;
        for (column, _) in &mut columns {
            // What was distinct in each table need not be so in all of them, save with the table.
            let own = column.clone().without_relations();
            *column = match own.key() {
                Some((place, _)) if parts > 0 => own.with_key(place, parts + 1),
                _ => own,
            };
        }
        let column = Column::new(Arc::clone(&self.column), DataType::Text).with_nullable(false);
        let column = if parts > 0 { column.with_key(parts + 1, parts + 1) } else { column };
        columns.push((column, Arc::new(values)));
        Ok(rebuild(batch, columns)?.with_table(self.into.clone()).into())
    }
}
