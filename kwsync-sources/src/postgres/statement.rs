//! The statement that reads a split.

use kwsync_core::Result;
use kwsync_core::system::postgres::ddl::{literal, quote};
use kwsync_core::system::postgres::types::{PgType, oid};
use kwsync_core::system::postgres::wire::{Connection, CopyOut};
use kwsync_formats::pgcopy::CopyColumn;

use super::config::PostgresSourceOptions;
use super::relation::Shape;
use super::spec::{Order, Range, Spec};

/// What the column is called that tells where a row is; no column of the user's is called so.
const AT: &str = "kwsync at";

/// Runs a SELECT; its rows come as COPY BINARY has them.
pub(super) async fn fetch<'a>(
    connection: &'a mut Connection,
    sql: &str,
    options: &PostgresSourceOptions,
) -> Result<CopyOut<'a>> {
    match options.select {
        true => connection.select_out(sql).await,
        false => connection.copy_out(&format!("COPY ({sql}) TO STDOUT (FORMAT binary)")).await,
    }
}

/// A SELECT, and the columns that it sends.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    /// Those of the shape, and behind them the one of [`Places::Behind`].
    pub(super) columns: Vec<CopyColumn>,
    pub(super) places: Places,
}

/// Which of the columns tells where a row is, so that reading can go on behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Places {
    /// Rows are in no order.
    None,
    /// One of the columns that are asked for: a column more costs the server a tenth of its time.
    Among(usize),
    /// One behind them, which goes no further than the reader.
    Behind,
}

/// The statement for a split, from behind the row at `after` on. `condition` is the operator's.
pub(super) fn select(
    spec: &Spec,
    shape: &Shape,
    condition: Option<&str>,
    after: Option<&str>,
) -> Result<Statement> {
    let mut outer = Vec::with_capacity(shape.columns.len() + 1);
    for (column, cast) in shape.columns.iter().zip(&shape.cast) {
        // Qualified, so that it is the column itself and nothing that is called like it further out.
        let name = format!("q.{}", quote(&column.name)?);
        outer.push(if *cast { format!("{name}::text") } else { name });
    }
    let mut columns = shape.columns.clone();
    let mut inner = shape.list.clone();
    let mut sorted = String::new();
    let mut places = Places::Behind;
    let mut conditions: Vec<String> = condition.iter().map(|sql| format!("({sql}\n)")).collect();
    match &spec.order {
        Order::None => places = Places::None,
        Order::Ctid => {
            inner.push_str(&format!(", ctid AS {}", quote(AT)?));
            outer.push(format!("q.{}", quote(AT)?));
            columns.push(CopyColumn::new(AT, PgType::base(oid::TID, -1, "tid")));
            conditions.extend(after.map(|after| format!("ctid > {}::tid", literal(after))));
        }
        Order::Key { column, data_type, .. } => {
            let name = quote(column)?;
            if let Some(at) = shape.place_of(column, spec.asked.is_none()) {
                places = Places::Among(at);
                sorted = format!(" ORDER BY {}", outer[at]);
            } else {
                inner.push_str(&format!(", {name} AS {}", quote(AT)?));
                let (travels, expression) = match data_type.as_str() {
                    "smallint" | "integer" | "bigint" => {
                        (PgType::base(oid::INT8, -1, "bigint"), format!("q.{}::bigint", quote(AT)?))
                    }
                    _ => (PgType::base(oid::TEXT, -1, "text"), format!("q.{}::text", quote(AT)?)),
                };
                outer.push(expression);
                columns.push(CopyColumn::new(AT, travels));
                sorted = format!(" ORDER BY q.{}", quote(AT)?);
            }
            let last = spec.range.as_ref().is_none_or(|range| range.to.is_none());
            conditions.extend(after.map(|after| {
                let behind = format!("{name} > {}::{data_type}", literal(after));
                or_null(&behind, &name, last && !is_unique(&spec.order))
            }));
        }
    }
    if let Some(range) = &spec.range {
        conditions.push(within(range)?);
    }
    let mut sql = format!("SELECT {} FROM (SELECT {inner} FROM {}", outer.join(", "), shape.from);
    if !conditions.is_empty() {
        sql.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
    }
    sql.push_str(&format!(") AS q{sorted}"));
    Ok(Statement { sql, columns, places })
}

fn is_unique(order: &Order) -> bool {
    matches!(order, Order::Key { unique: true, .. })
}

/// A row without a value is never left out silently: the reader meets it, and says that it has no place.
fn or_null(condition: &str, name: &str, nulls: bool) -> String {
    if nulls { format!("({condition} OR {name} IS NULL)") } else { condition.to_owned() }
}

fn within(range: &Range) -> Result<String> {
    let name = match range.data_type.as_str() {
        // A system column, which is no name to quote.
        "tid" => range.column.clone(),
        _ => quote(&range.column)?,
    };
    let bound =
        |operator: &str, value: &str| format!("{name} {operator} {}::{}", literal(value), range.data_type);
    let mut parts: Vec<String> = Vec::new();
    parts.extend(range.from.as_deref().map(|from| bound(">=", from)));
    parts.extend(range.to.as_deref().map(|to| bound("<", to)));
    Ok(or_null(&parts.join(" AND "), &name, range.nulls))
}
