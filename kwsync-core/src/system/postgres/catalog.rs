//! What a server's catalog says of a table.

use std::collections::HashMap;

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
    /// Whether it is GENERATED AS IDENTITY, ALWAYS or BY DEFAULT.
    pub identity: bool,
    /// Its number in the table, counted from 1; dropped columns count, too.
    pub number: i16,
    /// The expression of its default, as the catalog prints it.
    pub default: Option<String>,
    /// Its comment.
    pub comment: Option<String>,
}

/// A table as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CatalogTable {
    /// The schema that the table was found in.
    pub schema: String,
    /// The name.
    pub name: String,
    /// The object id.
    pub oid: u32,
    /// Whether it is an ordinary table: not partitioned, no view, not foreign.
    pub plain: bool,
    /// Whether it has triggers, those of foreign keys among them.
    pub triggers: bool,
    /// The columns in order.
    pub columns: Vec<CatalogColumn>,
    /// The unique indexes over plain columns, the primary key first; empty until [`unique_indexes`] was asked.
    pub unique: Vec<UniqueIndex>,
}

/// A unique index that covers all rows and is checked at once: what `ON CONFLICT` can name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UniqueIndex {
    /// The name.
    pub name: String,
    /// Whether it is the primary key's.
    pub primary: bool,
    /// The columns.
    pub columns: Vec<String>,
}

impl UniqueIndex {
    /// An index.
    pub fn new(
        name: impl Into<String>,
        primary: bool,
        columns: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self { name: name.into(), primary, columns: columns.into_iter().map(Into::into).collect() }
    }
}

impl CatalogTable {
    /// An ordinary table without columns.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        let (schema, name) = (schema.into(), name.into());
        Self { schema, name, oid: 0, plain: true, triggers: true, columns: Vec::new(), unique: Vec::new() }
    }

    /// Adds a column that may be null and has no default.
    #[must_use]
    pub fn with_column(mut self, name: impl Into<String>, pg_type: PgType) -> Self {
        self.columns.push(CatalogColumn {
            name: name.into(),
            pg_type,
            not_null: false,
            has_default: false,
            generated: false,
            identity: false,
            number: i16::try_from(self.columns.len() + 1).unwrap_or(i16::MAX),
            default: None,
            comment: None,
        });
        self
    }

    /// A column by its name.
    pub fn column(&self, name: &str) -> Option<&CatalogColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// A domain is followed to what it is of, whose modifier counts where the column has none.
const COLUMNS: &str = "
WITH RECURSIVE found AS (
    SELECT c.oid, n.nspname, c.relname, c.relkind, c.relhastriggers
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = $1 AND c.relkind IN ('r', 'p', 'f', 'v', 'm')
      AND CASE WHEN $2::text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid) ELSE n.nspname = $2 END
    LIMIT 1
), base AS (
    SELECT a.attnum, a.attname, a.atttypid AS typid, a.atttypmod AS typmod, a.attnotnull, a.atthasdef,
           a.attgenerated::text AS generated, a.attidentity::text AS identity, f.nspname,
           f.relkind = 'r' AS plain, f.oid AS rel, f.relhastriggers AS triggers, 0 AS depth
    FROM found f JOIN pg_catalog.pg_attribute a ON a.attrelid = f.oid
    WHERE a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
    SELECT b.attnum, b.attname, t.typbasetype, CASE WHEN b.typmod = -1 THEN t.typtypmod ELSE b.typmod END,
           b.attnotnull OR t.typnotnull, b.atthasdef OR t.typdefault IS NOT NULL, b.generated, b.identity, b.nspname,
           b.plain, b.rel, b.triggers, b.depth + 1
    FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.typid
    WHERE t.typtype = 'd'
)
SELECT DISTINCT ON (b.attnum) b.nspname, b.attname, b.typid, b.typmod, pg_catalog.format_type(b.typid, b.typmod),
       t.typtype::text, b.attnotnull, b.atthasdef, b.generated, b.identity,
       e.oid, pg_catalog.format_type(e.oid, b.typmod), e.typtype::text, b.plain,
       b.rel, b.triggers, b.attnum, pg_catalog.pg_get_expr(d.adbin, d.adrelid),
       pg_catalog.col_description(b.rel, b.attnum)
FROM base b
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = b.rel AND d.adnum = b.attnum
JOIN pg_catalog.pg_type t ON t.oid = b.typid
LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
ORDER BY b.attnum, b.depth DESC";

/// The major version that the server says it is; a recent one where it says none.
pub(super) fn version(connection: &Connection) -> u32 {
    let told = connection.parameter("server_version").unwrap_or_default();
    told.split(|c: char| !c.is_ascii_digit()).next().and_then(|major| major.parse().ok()).unwrap_or(12)
}

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
    let version = version(connection);
    let mut sql = COLUMNS.to_owned();
    // Columns of the catalog that came with 10 and 12.
    if version < 10 {
        sql = sql.replace("a.attidentity::text", "''::text");
    }
    if version < 12 {
        sql = sql.replace("a.attgenerated::text", "''::text");
    }
    let rows = connection.query(&sql, &[Some(table.name()), schema]).await?.rows;
    let mut columns = Vec::with_capacity(rows.len());
    let (mut found, mut plain, mut oid, mut triggers) = (String::new(), true, 0, false);
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
        plain = text(13) == "t";
        oid = number(14)? as u32;
        triggers = text(15) == "t";
        columns.push(CatalogColumn {
            name: text(1).to_owned(),
            pg_type: PgType { oid: number(2)? as u32, name: text(4).to_owned(), modifier, kind },
            not_null: text(6) == "t",
            has_default: text(7) == "t" || !text(9).is_empty(),
            generated: !text(8).is_empty() || text(9) == "a",
            identity: !text(9).is_empty(),
            number: number(16)? as i16,
            default: rows.get(row, 17).map(str::to_owned),
            comment: rows.get(row, 18).map(str::to_owned),
        });
    }
    let name = table.name().to_owned();
    Ok((!columns.is_empty()).then(|| CatalogTable {
        schema: found,
        name,
        oid,
        plain,
        triggers,
        columns,
        unique: Vec::new(),
    }))
}

/// The values of the enums among the columns of a table, by the type's object id, in their order.
///
/// # Errors
/// What the server says.
///
/// # Cancel safety
/// Dropping the future breaks the session.
pub async fn enum_values(
    connection: &mut Connection,
    table: &CatalogTable,
) -> Result<HashMap<u32, Vec<String>>> {
    let enums = table.columns.iter().filter(|column| column.pg_type.kind == PgKind::Enum);
    let oids: Vec<_> = enums.map(|column| column.pg_type.oid.to_string()).collect();
    let mut values: HashMap<u32, Vec<String>> = HashMap::new();
    if oids.is_empty() {
        return Ok(values);
    }
    let sql = "SELECT enumtypid, enumlabel FROM pg_catalog.pg_enum WHERE enumtypid = ANY ($1::oid[]) \
               ORDER BY enumtypid, enumsortorder";
    let rows = connection.query(sql, &[Some(&format!("{{{}}}", oids.join(",")))]).await?.rows;
    for row in 0..rows.len() {
        let oid = rows.get(row, 0).and_then(|text| text.parse().ok()).unwrap_or_default();
        values.entry(oid).or_default().push(rows.get(row, 1).unwrap_or_default().to_owned());
    }
    Ok(values)
}

/// One row for each column of each index, in the order of the index.
const UNIQUE: &str = "
SELECT i.relname, x.indisprimary, a.attname
FROM pg_catalog.pg_index x
JOIN pg_catalog.pg_class c ON c.oid = x.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY AS k(attnum, at)
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
WHERE n.nspname = $1 AND c.relname = $2 AND x.indisunique AND x.indisvalid AND x.indimmediate
  AND x.indpred IS NULL AND x.indexprs IS NULL AND k.at <= x.indnkeyatts
ORDER BY NOT x.indisprimary, i.relname, k.at";

/// The unique indexes of a table over plain columns; deferrable and partial ones are left out.
///
/// # Errors
/// What the server says.
///
/// # Cancel safety
/// Dropping the future breaks the session.
pub async fn unique_indexes(connection: &mut Connection, table: &CatalogTable) -> Result<Vec<UniqueIndex>> {
    let sql = match version(connection) {
        // Before 11 all columns of an index are of its key.
        ..11 => UNIQUE.replace("x.indnkeyatts", "x.indnatts"),
        _ => UNIQUE.to_owned(),
    };
    let rows = connection.query(&sql, &[Some(&table.schema), Some(&table.name)]).await?.rows;
    let mut found: Vec<UniqueIndex> = Vec::new();
    for row in 0..rows.len() {
        let text = |column| rows.get(row, column).unwrap_or_default().to_owned();
        match found.last_mut() {
            Some(last) if last.name == text(0) => last.columns.push(text(2)),
            _ => {
                found.push(UniqueIndex { name: text(0), primary: text(1) == "t", columns: vec![text(2)] });
            }
        }
    }
    Ok(found)
}
