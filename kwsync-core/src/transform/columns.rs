//! Fewer, more, other columns.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef};
use arrow_cast::CastOptions;

use super::cast::cast;
use super::{Transform, Transformed};
use crate::{
    Column, DataType, Error, ErrorKind, Location, Origin, Reject, Result, Role, Schema, Stage, TableBatch,
    Value,
};

pub(super) fn rebuild(batch: TableBatch, columns: Vec<(Column, ArrayRef)>) -> Result<TableBatch> {
    let (table, schema, _, origin) = batch.into_parts();
    let (columns, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let schema = Schema::new(columns)?.with_version(schema.version());
    TableBatch::from_columns(table, Arc::new(schema), arrays, origin)
}

pub(super) fn pairs(batch: &TableBatch) -> Vec<(Column, ArrayRef)> {
    batch.schema().columns().iter().cloned().zip(batch.batch().columns().iter().cloned()).collect()
}

fn check_names(names: &[String]) -> Result<()> {
    if names.is_empty() || names.iter().any(String::is_empty) {
        return Err(Error::config("a list of columns needs at least one name, and no empty one"));
    }
    Ok(())
}

/// Keeps the named columns, in the order of the names. A table that lacks one goes without it.
#[derive(Clone, Debug)]
pub struct SelectColumns(Vec<String>);

impl SelectColumns {
    /// Keeps `names`.
    ///
    /// # Errors
    /// `Config` for an empty list or name.
    pub fn new(names: Vec<String>) -> Result<Self> {
        check_names(&names)?;
        Ok(Self(names))
    }
}

impl Transform for SelectColumns {
    fn takes_changes(&self) -> bool {
        true
    }

    fn apply(&self, batch: TableBatch) -> Result<Transformed> {
        let all = pairs(&batch);
        let kept =
            self.0.iter().filter_map(|name| all.iter().find(|(column, _)| column.name() == name).cloned());
        let kept = kept.collect();
        Ok(rebuild(batch, kept)?.into())
    }
}

/// Leaves the named columns out.
#[derive(Clone, Debug)]
pub struct DropColumns(Vec<String>);

impl DropColumns {
    /// Leaves `names` out.
    ///
    /// # Errors
    /// `Config` for an empty list or name.
    pub fn new(names: Vec<String>) -> Result<Self> {
        check_names(&names)?;
        Ok(Self(names))
    }
}

impl Transform for DropColumns {
    fn takes_changes(&self) -> bool {
        true
    }

    fn apply(&self, batch: TableBatch) -> Result<Transformed> {
        if !batch.schema().columns().iter().any(|column| self.0.iter().any(|name| name == column.name())) {
            return Ok(batch.into());
        }
        let mut kept = pairs(&batch);
        kept.retain(|(column, _)| !self.0.iter().any(|name| name == column.name()));
        Ok(rebuild(batch, kept)?.into())
    }
}

/// Gives a column another name, in the tables that have it.
#[derive(Clone, Debug)]
pub struct RenameColumn {
    from: String,
    to: String,
}

impl RenameColumn {
    /// Renames `from` to `to`.
    pub fn new(from: impl Into<String>, to: impl Into<String>) -> Self {
        Self { from: from.into(), to: to.into() }
    }
}

impl Transform for RenameColumn {
    fn takes_changes(&self) -> bool {
        true
    }

    fn apply(&self, batch: TableBatch) -> Result<Transformed> {
        if batch.schema().index_of(&self.from).is_none() {
            return Ok(batch.into());
        }
        let table = batch.table().clone();
        let renamed = pairs(&batch)
            .into_iter()
            .map(|(column, array)| {
                (if column.name() == self.from { column.with_name(self.to.as_str()) } else { column }, array)
            })
            .collect();
        rebuild(batch, renamed).map(Into::into).map_err(|error| {
            error
                .context(format!("cannot rename column {:?} to {:?}", self.from, self.to))
                .with_location(Location::new().with_table(table.name()))
        })
    }
}

/// Adds a text column with one value in every row, behind the others. As a tag, it stands behind the tags.
#[derive(Clone, Debug)]
pub struct AddColumn {
    column: Column,
    value: String,
}

impl AddColumn {
    /// Adds `name` = `value` as a field.
    pub fn field(name: impl Into<Arc<str>>, value: impl Into<String>) -> Self {
        Self { column: Column::new(name, DataType::Text), value: value.into() }
    }

    /// Adds `name` = `value` as a tag.
    pub fn tag(name: impl Into<Arc<str>>, value: impl Into<String>) -> Self {
        Self { column: Column::new(name, DataType::Text).with_role(Role::Tag), value: value.into() }
    }
}

impl Transform for AddColumn {
    fn takes_changes(&self) -> bool {
        true
    }

    fn apply(&self, batch: TableBatch) -> Result<Transformed> {
        if batch.schema().index_of(self.column.name()).is_some() {
            let text = format!("cannot add column {:?}: the table has one of that name", self.column.name());
            return Err(Error::new(ErrorKind::Schema, text)
                .with_location(Location::new().with_table(batch.table().name())));
        }
        let values =
            arrow_array::StringViewArray::from_iter_values(std::iter::repeat_n(&self.value, batch.rows()));
        let mut columns = pairs(&batch);
        let at = match self.column.role() {
            Role::Tag => columns
                .iter()
                .rposition(|(column, _)| {
                    matches!(column.role(), Role::Tag | Role::PrimaryTag | Role::Timestamp)
                })
                .map_or(0, |last| last + 1),
            _ => columns.len(),
        };
        columns.insert(at, (self.column.clone(), Arc::new(values)));
        Ok(rebuild(batch, columns)?.into())
    }
}

/// Casts a column to another type; a value that the type cannot hold exactly rejects its row. Text is read as Arrow's
/// cast reads it, and digits of a second beyond the type's unit are dropped then.
#[derive(Clone, Debug)]
pub struct CastColumn {
    column: String,
    to: DataType,
}

impl CastColumn {
    /// Casts `column` to `to`, in the tables that have it.
    pub fn new(column: impl Into<String>, to: DataType) -> Self {
        Self { column: column.into(), to }
    }
}

impl Transform for CastColumn {
    fn takes_changes(&self) -> bool {
        true
    }

    fn apply(&self, batch: TableBatch) -> Result<Transformed> {
        let Some(index) = batch.schema().index_of(&self.column) else {
            return Ok(batch.into());
        };
        let old = batch.batch().column(index);
        let options = CastOptions { safe: true, ..CastOptions::default() };
        let impossible = |error: arrow_schema::ArrowError| {
            Error::new(
                ErrorKind::Schema,
                format!("cannot cast column {:?} to {}: {error}", self.column, self.to),
            )
            .with_location(Location::new().with_table(batch.table().name()))
        };
        let new = cast(old, &self.to.to_arrow(), &options).map_err(impossible)?;
        // Whether nothing was lost shows when the way back gives the old value again.
        let back = cast(&new, old.data_type(), &options).map_err(impossible)?;
        let exact = |row: usize| -> Result<bool> {
            if old.is_null(row) {
                return Ok(true);
            }
            let (before, after) = (Value::of(old.as_ref(), row)?, Value::of(back.as_ref(), row)?);
            let same = match (&before, &after) {
                (Value::Float64(before), Value::Float64(after)) => {
                    before == after || before.is_nan() && after.is_nan()
                }
                (Value::Float32(before), Value::Float32(after)) => {
                    before == after || before.is_nan() && after.is_nan()
                }
                // Text has many spellings of one value ("01", "1.0"): it is enough that it could be read.
                (Value::Text(_), _) => !new.is_null(row),
                _ => before == after,
            };
            Ok(same)
        };
        let mut lost = Vec::new();
        for row in 0..old.len() {
            if !exact(row)? {
                lost.push(row);
            }
        }
        let rejects: Vec<_> = lost.iter().map(|row| self.reject(&batch, old.as_ref(), *row)).collect();
        let mut columns = pairs(&batch);
        if let Some((column, array)) = columns.get_mut(index) {
            *column = column.clone().with_data_type(self.to.clone());
            *array = new;
        }
        let changed = rebuild(batch, columns)?;
        let kept = if lost.is_empty() { changed } else { without(changed, &lost)? };
        Ok(Transformed {
            batches: if kept.rows() > 0 { vec![kept] } else { Vec::new() },
            rejects,
            filtered: 0,
        })
    }
}

impl CastColumn {
    fn reject(&self, batch: &TableBatch, old: &dyn Array, row: usize) -> Reject {
        let value = Value::of(old, row).map_or_else(|_| "the value".to_owned(), |value| value.to_string());
        let code = "cast_loses";
        batch.reject(
            row,
            Stage::Transform,
            code,
            format!("{value} in column {:?} is no {}", self.column, self.to),
        )
    }
}

/// The rows of `batch` but for those at `gone`, which is sorted.
pub(crate) fn without(batch: TableBatch, gone: &[usize]) -> Result<TableBatch> {
    let rows = batch.rows();
    let keep = |row: &usize| gone.binary_search(row).is_err();
    let mask: arrow_array::BooleanArray = (0..rows).map(|row| Some(keep(&row))).collect();
    let (table, schema, record_batch, origin) = batch.into_parts();
    let kept = arrow_select::filter::filter_record_batch(&record_batch, &mask)
        .map_err(|error| Error::new(ErrorKind::Internal, "cannot filter a batch").with_source(error))?;
    let origin: Origin = origin.take((0..rows).filter(keep));
    TableBatch::new(table, schema, kept, origin)
}

/// The batch without one of its columns.
pub(crate) fn without_column(batch: TableBatch, column: usize) -> Result<TableBatch> {
    let mut kept = pairs(&batch);
    kept.remove(column);
    rebuild(batch, kept)
}
