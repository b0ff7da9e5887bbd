//! Rows chosen and values computed by expressions.

use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;

use super::columns::{pairs, rebuild, without};
use super::expr::Evaluated;
use super::lacking::Lacking;
use super::{Expression, Transform, Transformed};
use crate::{Column, Error, ErrorKind, Location, Reject, Result, Stage, TableBatch};

/// Keeps the rows for which an expression is true; the others are counted as filtered.
///
/// A column that a table lacks is null there, so that `usage > 5` drops every row of a table without `usage`; a
/// warning says so once for each table. A row for which the expression cannot be computed is refused.
#[derive(Debug)]
pub struct FilterRows {
    expression: Expression,
    lacking: Lacking,
}

impl FilterRows {
    /// Keeps the rows for which `expression` is true.
    pub fn new(expression: Expression) -> Self {
        Self { expression, lacking: Lacking::default() }
    }
}

impl Transform for FilterRows {
    fn apply(&self, batch: TableBatch) -> Result<Transformed> {
        self.lacking.warn(&self.expression, self.expression.columns(), &batch);
        let Evaluated { array, data_type, faults } = self.expression.evaluate(&batch)?;
        let rejects = refused(&batch, &faults, &self.expression);
        let Some(mask) = array.as_boolean_opt() else {
            // Nothing but nulls, or nothing but faults, has no type of its own.
            if array.null_count() == array.len() {
                return Ok(Transformed {
                    filtered: (batch.rows() - rejects.len()) as u64,
                    rejects,
                    batches: Vec::new(),
                });
            }
            let text = format!("the filter `{}` is {data_type}, neither true nor false", self.expression);
            return Err(Error::new(ErrorKind::Config, text)
                .with_location(Location::new().with_table(batch.table().name())));
        };
        if mask.true_count() == batch.rows() {
            return Ok(batch.into());
        }
        let gone: Vec<usize> =
            mask.iter().enumerate().filter(|(_, keep)| *keep != Some(true)).map(|(row, _)| row).collect();
        let filtered = (gone.len() - rejects.len()) as u64;
        let kept = without(batch, &gone)?;
        Ok(Transformed { batches: if kept.rows() > 0 { vec![kept] } else { Vec::new() }, rejects, filtered })
    }
}

/// Adds a column with the value of an expression, or puts it in the place of the column of that name. A row for which it
/// cannot be computed is refused.
#[derive(Debug)]
pub struct ComputeColumn {
    name: Arc<str>,
    expression: Expression,
    lacking: Lacking,
}

impl ComputeColumn {
    /// Computes the column `name`.
    pub fn new(name: impl Into<Arc<str>>, expression: Expression) -> Self {
        Self { name: name.into(), expression, lacking: Lacking::default() }
    }
}

impl Transform for ComputeColumn {
    fn apply(&self, batch: TableBatch) -> Result<Transformed> {
        self.lacking.warn(&self.expression, self.expression.columns(), &batch);
        let Evaluated { array, data_type, faults } = self.expression.evaluate(&batch)?;
        let rejects = refused(&batch, &faults, &self.expression);
        let mut columns = pairs(&batch);
        match batch.schema().index_of(&self.name).and_then(|index| columns.get_mut(index)) {
            Some((column, old)) => {
                let nullable = column.is_nullable() || array.null_count() > faults.len();
                let nullable = nullable || !faults.is_empty();
                *column =
                    column.clone().with_data_type(data_type).without_definition().with_nullable(nullable);
                *old = array;
            }
            None => columns.push((Column::new(Arc::clone(&self.name), data_type), array)),
        }
        let made = rebuild(batch, columns)?;
        let gone: Vec<usize> = faults.iter().map(|(row, _)| *row).collect();
        // One that had no row tells of its table all the same.
        let stays = made.rows() == 0;
        let kept = if gone.is_empty() { made } else { without(made, &gone)? };
        Ok(Transformed {
            batches: if stays || kept.rows() > 0 { vec![kept] } else { Vec::new() },
            rejects,
            filtered: 0,
        })
    }
}

fn refused(batch: &TableBatch, faults: &[(usize, String)], expression: &Expression) -> Vec<Reject> {
    let reject = |(row, reason): &(usize, String)| {
        batch.reject(*row, Stage::Transform, "expression_fails", format!("`{expression}`: {reason}"))
    };
    faults.iter().map(reject).collect()
}
