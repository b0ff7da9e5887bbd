//! SQL expressions over the columns of a batch, evaluated by Arrow's kernels.

mod coerce;
mod eval;
mod function;
mod node;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::new_null_array;

use crate::{DataType, Error, ErrorKind, Location, Result, TableBatch};
use eval::{Context, Fault};
use node::Node;

/// An SQL expression over the columns of a table.
///
/// Names are taken as they stand (`"..."` around those that are no plain words); a column that a table lacks is null.
/// The rules are PostgreSQL's where it has the word: three-valued logic, integer division of integers, `LIKE`,
/// `~` for regular expressions (Rust's `regex`, linear in time). Not in it are subqueries, aggregates and windows.
///
/// | | |
/// |---|---|
/// | operators | `+ - * / %`, `\|\|`, `= <> < <= > >=`, `IS [NOT] DISTINCT FROM`, `AND OR NOT`, `IN (...)`, `BETWEEN`, `[NOT] LIKE`, `ILIKE`, `~ ~* !~ !~*`, `IS [NOT] NULL`, `IS [NOT] TRUE`, `CASE`, `CAST(x AS type)`, `x::type` |
/// | text | `lower upper trim ltrim rtrim length substr(text, from, count) replace(text, old, new) concat left right split_part starts_with` |
/// | numbers | `abs floor ceil round` |
/// | any | `coalesce nullif`, `EXTRACT(field FROM time)` |
/// | the record | `table_name() schema_name() input_name() topic() partition() message_offset() message_key() message_header(name) message_time() line_number() byte_offset() record_number() now()` |
///
/// # Examples
/// ```
/// use kwsync_core::{Column, DataType, Expression, Schema, TableBatch, Value};
/// use std::sync::Arc;
///
/// let expression: Expression = "usage > 0.5 AND host LIKE 'web%'".parse()?;
/// assert!(expression.columns().eq(["host", "usage"]));
///
/// let schema = Schema::new(vec![Column::new("usage", DataType::Float64), Column::new("host", DataType::Text)])?;
/// let rows = [vec![Value::Float64(0.75), Value::Text("web1".into())], vec![Value::Null, Value::Text("web2".into())]];
/// let batch = TableBatch::from_rows("cpu", Arc::new(schema), &rows)?;
/// let result = expression.evaluate(&batch)?;
/// assert_eq!(Value::of(&result.array, 0)?, Value::Bool(true));
/// assert_eq!(Value::of(&result.array, 1)?, Value::Null);
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Expression {
    text: Arc<str>,
    node: Arc<Node>,
    columns: Arc<[Arc<str>]>,
}

/// What an expression is for the rows of a batch.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// A value a row; null for the rows in `faults`.
    pub array: ArrayRef,
    /// The type of the values.
    pub data_type: DataType,
    /// The rows that have no value, in order, and why: an overflow, a division by zero, a cast that cannot be.
    pub faults: Vec<(usize, String)>,
}

impl Expression {
    /// The names of the columns that it looks at, sorted.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|name| &**name)
    }

    /// Evaluates it for every row of `batch`.
    ///
    /// # Errors
    /// `Schema` where the types of the table's columns do not go together, as text and a number.
    pub fn evaluate(&self, batch: &TableBatch) -> Result<Evaluated> {
        let context = Context::new(batch);
        let (mut parts, mut faults) = (Vec::new(), Vec::new());
        self.part(&context, 0, batch.rows(), &mut parts, &mut faults).map_err(|reason| {
            Error::new(ErrorKind::Schema, format!("`{}`: {reason}", self.text))
                .with_location(Location::new().with_table(batch.table().name()))
        })?;
        let internal =
            |error| Error::new(ErrorKind::Internal, "cannot put results together").with_source(error);
        let known =
            parts.iter().flatten().next().map(|(array, data_type)| (array.data_type().clone(), data_type));
        let (arrow, data_type) = match known {
            Some((arrow, data_type)) => (arrow, data_type.clone()),
            None => (DataType::Text.to_arrow(), DataType::Text),
        };
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(parts.len());
        for part in parts {
            arrays.push(match part {
                Some((array, _)) => array,
                None => new_null_array(&arrow, 1),
            });
        }
        let array = match arrays.as_slice() {
            [one] => Arc::clone(one),
            [] => new_null_array(&arrow, 0),
            many => {
                let views: Vec<_> = many.iter().map(AsRef::as_ref).collect();
                arrow_select::concat::concat(&views).map_err(internal)?
            }
        };
        Ok(Evaluated { array, data_type, faults })
    }

    /// Evaluates `len` rows; where one of them has no value, the halves, down to the row.
    fn part(
        &self,
        context: &Context<'_>,
        start: usize,
        len: usize,
        parts: &mut Vec<Option<(ArrayRef, DataType)>>,
        faults: &mut Vec<(usize, String)>,
    ) -> std::result::Result<(), String> {
        match context.slice(start, len).evaluate(&self.node) {
            Ok(done) => parts.push(Some(done)),
            Err(Fault::Table(reason)) => return Err(reason),
            Err(Fault::Row(reason)) if len <= 1 => {
                faults.push((start, reason));
                parts.push(None);
            }
            Err(Fault::Row(_)) => {
                let half = len / 2;
                self.part(context, start, half, parts, faults)?;
                self.part(context, start + half, len - half, parts, faults)?;
            }
        }
        Ok(())
    }
}

impl FromStr for Expression {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let node = parse::parse(text)?;
        let mut columns = Vec::new();
        node.columns(&mut columns);
        columns.sort_unstable();
        columns.dedup();
        Ok(Self { text: text.into(), node: Arc::new(node), columns: columns.into() })
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.text)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
