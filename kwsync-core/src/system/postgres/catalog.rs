//! What a server's catalog says of a table.

use super::types::{PgKind, PgType};
use super::wire::Connection;
use crate::{Error, ErrorKind, Result, TableId};

/// A column as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CatalogColumn {
    /// The name.
    pub name: String,
    /// The type, domains resolved.
    pub pg_type: PgType,
    /// Whether it refuses nulls.
    pub not_null: bool,
    /// Whether the server fills it in when it is left out: a default, an identity, a serial.
    pub has_default: bool,
    /// Whether it can never be written: a generated column, or GENERATED ALWAYS AS IDENTITY.
    pub generated: bool,
}

/// A table as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CatalogTable {
    /// The schema that the table was found in.
    pub schema: String,
    /// The name.
    pub name: String,
    /// The columns in order.
    pub columns: Vec<CatalogColumn>,
}

impl CatalogTable {
    /// A column by its name.
    pub fn column(&self, name: &str) -> Option<&CatalogColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// A domain is followed to what it is of, whose modifier counts where the column has none.
const COLUMNS: &str = "
WITH RECURSIVE found AS (
    SELECT c.oid, n.nspname, c.relname
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = $1 AND c.relkind IN ('r', 'p', 'f', 'v')
      AND CASE WHEN $2::text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid) ELSE n.nspname = $2 END
    LIMIT 1
), base AS (
    SELECT a.attnum, a.attname, a.atttypid AS typid, a.atttypmod AS typmod, a.attnotnull, a.atthasdef,
           a.attgenerated::text AS generated, a.attidentity::text AS identity, f.nspname, 0 AS depth
    FROM found f JOIN pg_catalog.pg_attribute a ON a.attrelid = f.oid
    WHERE a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
    SELECT b.attnum, b.attname, t.typbasetype, CASE WHEN b.typmod = -1 THEN t.typtypmod ELSE b.typmod END,
           b.attnotnull OR t.typnotnull, b.atthasdef OR t.typdefault IS NOT NULL, b.generated, b.identity, b.nspname,
           b.depth + 1
    FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.typid
    WHERE t.typtype = 'd'
)
SELECT DISTINCT ON (b.attnum) b.nspname, b.attname, b.typid, b.typmod, pg_catalog.format_type(b.typid, b.typmod),
       t.typtype::text, b.attnotnull, b.atthasdef, b.generated, b.identity,
       e.oid, pg_catalog.format_type(e.oid, b.typmod), e.typtype::text
FROM base b
JOIN pg_catalog.pg_type t ON t.oid = b.typid
LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
ORDER BY b.attnum, b.depth DESC";

/// The columns of a table, looked up in its schema, or else along the session's search path. `None` when there is
/// no such table.
///
/// # Errors
/// What the server says.
///
/// # Cancel safety
/// Dropping the future breaks the session.
pub async fn table(
    connection: &mut Connection,
    table: &TableId,
    default_schema: Option<&str>,
) -> Result<Option<CatalogTable>> {
    let schema = table.schema().or(default_schema);
    let rows = connection.query(COLUMNS, &[Some(table.name()), schema]).await?.rows;
    let mut columns = Vec::with_capacity(rows.len());
    let mut found = String::new();
    for row in 0..rows.len() {
        let text = |column| rows.get(row, column).unwrap_or_default();
        let number = |column: usize| {
            text(column).parse::<i64>().map_err(|_| {
                Error::new(
                    ErrorKind::Protocol,
                    format!("the catalog says {:?} where a number belongs", text(column)),
                )
            })
        };
        let modifier = number(3)? as i32;
        let kind = match (text(5), rows.get(row, 10)) {
            ("e", _) => PgKind::Enum,
            ("b", Some(_)) => {
                let kind = if text(12) == "e" { PgKind::Enum } else { PgKind::Base };
                let item = PgType { oid: number(10)? as u32, name: text(11).to_owned(), modifier, kind };
                PgKind::Array(Box::new(item))
            }
            ("b", None) => PgKind::Base,
            _ => PgKind::Other,
        };
        found = text(0).to_owned();
        columns.push(CatalogColumn {
            name: text(1).to_owned(),
            pg_type: PgType { oid: number(2)? as u32, name: text(4).to_owned(), modifier, kind },
            not_null: text(6) == "t",
            has_default: text(7) == "t" || !text(9).is_empty(),
            generated: !text(8).is_empty() || text(9) == "a",
        });
    }
    Ok((!columns.is_empty()).then(|| CatalogTable { schema: found, name: table.name().to_owned(), columns }))
}
