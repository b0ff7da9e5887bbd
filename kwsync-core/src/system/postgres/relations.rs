//! Which tables a database has, where their rows lie, and what the types of a statement's columns are.

use super::types::{PgKind, PgType};
use super::wire::{Connection, Described};
use crate::{Error, ErrorKind, Result};

/// What a relation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RelationKind {
    /// A table that holds rows itself, or a materialized view.
    Plain,
    /// A table whose rows lie in its partitions.
    Partitioned,
    /// A view.
    View,
    /// A table of another server.
    Foreign,
}

/// A table, or what can be read like one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Relation {
    /// The object id.
    pub oid: u32,
    /// The schema.
    pub schema: String,
    /// The name.
    pub name: String,
    /// What it is.
    pub kind: RelationKind,
    /// Whether it is a partition of another.
    pub partition: bool,
    /// Whether it is an extension's own.
    pub extension: bool,
    /// Whether other tables inherit from it, partitions among them.
    pub parent: bool,
    /// Bytes of its own rows, without indexes and long values that lie elsewhere.
    pub bytes: u64,
    /// Its rows as the statistics have them, where they have been gathered.
    pub rows: Option<u64>,
    /// The file that holds its rows; another one after they were written anew (VACUUM FULL, CLUSTER, TRUNCATE).
    pub file: u64,
}

const RELATIONS: &str = "
SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relispartition, c.relhassubclass,
       CASE WHEN c.relkind IN ('r', 'm') THEN pg_catalog.pg_relation_size(c.oid) ELSE 0 END,
       c.reltuples::bigint, c.relfilenode,
       EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass
               AND d.objid = c.oid AND d.deptype = 'e')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f') AND c.relpersistence <> 't'";

/// All tables of the database but its own catalog, by schema and name.
///
/// # Errors
/// What the server says.
///
/// # Cancel safety
/// Dropping the future breaks the session.
pub async fn all(connection: &mut Connection) -> Result<Vec<Relation>> {
    let sql = format!(
        "{} AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' ORDER BY n.nspname, c.relname",
        fitted(connection)
    );
    read(connection, &sql, &[]).await
}

/// The relations of this name; of all schemas along the search path the first that has it, where none is given.
///
/// # Errors
/// What the server says.
///
/// # Cancel safety
/// Dropping the future breaks the session.
pub async fn named(
    connection: &mut Connection,
    schema: Option<&str>,
    name: &str,
) -> Result<Option<Relation>> {
    let sql = format!(
        "{} AND c.relname = $1 AND CASE WHEN $2::text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid) \
         ELSE n.nspname = $2 END LIMIT 1",
        fitted(connection)
    );
    Ok(read(connection, &sql, &[Some(name), schema]).await?.pop())
}

/// Where the rows of a table lie: in itself, in its partitions and in the tables that inherit from it, over all
/// generations. Those that hold none themselves are left out.
///
/// # Errors
/// What the server says.
///
/// # Cancel safety
/// Dropping the future breaks the session.
pub async fn storage(connection: &mut Connection, oid: u32) -> Result<Vec<Relation>> {
    let sql = format!(
        "WITH RECURSIVE tree AS (SELECT $1::oid AS oid UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i \
         JOIN tree ON i.inhparent = tree.oid) {} AND c.relkind IN ('r', 'm', 'f') \
         AND c.oid IN (SELECT oid FROM tree) ORDER BY n.nspname, c.relname",
        fitted(connection)
    );
    read(connection, &sql, &[Some(&oid.to_string())]).await
}

/// [`RELATIONS`] for a server of this age.
fn fitted(connection: &Connection) -> String {
    match super::catalog::version(connection) {
        ..10 => RELATIONS.replace("c.relispartition", "false"),
        _ => RELATIONS.to_owned(),
    }
}

async fn read(connection: &mut Connection, sql: &str, parameters: &[Option<&str>]) -> Result<Vec<Relation>> {
    let rows = connection.query(sql, parameters).await?.rows;
    (0..rows.len())
        .map(|row| {
            let text = |column| rows.get(row, column).unwrap_or_default();
            let number = |column| parsed::<i64>(text(column));
            Ok(Relation {
                oid: parsed(text(0))?,
                schema: text(1).to_owned(),
                name: text(2).to_owned(),
                kind: match text(3) {
                    "p" => RelationKind::Partitioned,
                    "v" => RelationKind::View,
                    "f" => RelationKind::Foreign,
                    _ => RelationKind::Plain,
                },
                partition: text(4) == "t",
                parent: text(5) == "t",
                bytes: number(6)?.unsigned_abs(),
                rows: u64::try_from(number(7)?).ok(),
                file: number(8)?.unsigned_abs(),
                extension: text(9) == "t",
            })
        })
        .collect()
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| {
        Error::new(ErrorKind::Protocol, format!("the catalog says {text:?} where a number belongs"))
    })
}

/// The types of the columns that a statement returns, in their order.
///
/// # Errors
/// What the server says.
///
/// # Cancel safety
/// Dropping the future breaks the session.
pub async fn types(connection: &mut Connection, columns: &[Described]) -> Result<Vec<PgType>> {
    let columns: Vec<_> = columns.iter().map(|column| (column.type_oid, column.modifier)).collect();
    base_types(connection, &columns).await
}

/// The types that these object ids and modifiers mean, domains resolved, in their order.
///
/// # Errors
/// What the server says; `Protocol` for a type that the catalog does not have.
///
/// # Cancel safety
/// Dropping the future breaks the session.
pub async fn base_types(connection: &mut Connection, columns: &[(u32, i32)]) -> Result<Vec<PgType>> {
    const TYPES: &str = "
WITH RECURSIVE base AS (
    SELECT m.oid, m.modifier, m.at, 0 AS depth FROM unnest($1::oid[], $2::int4[]) WITH ORDINALITY AS m(oid, modifier, at)
  UNION ALL
    SELECT t.typbasetype, CASE WHEN b.modifier = -1 THEN t.typtypmod ELSE b.modifier END, b.at, b.depth + 1
    FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.oid
    WHERE t.typtype = 'd'
)
SELECT DISTINCT ON (m.at) t.oid, m.modifier, pg_catalog.format_type(t.oid, m.modifier), t.typtype::text,
       e.oid, pg_catalog.format_type(e.oid, m.modifier), e.typtype::text
FROM base m
JOIN pg_catalog.pg_type t ON t.oid = m.oid
LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
ORDER BY m.at, m.depth DESC";
    let list = |of: fn(&(u32, i32)) -> String| {
        format!("{{{}}}", columns.iter().map(of).collect::<Vec<_>>().join(","))
    };
    let oids = list(|(oid, _)| oid.to_string());
    let modifiers = list(|(_, modifier)| modifier.to_string());
    let rows = connection.query(TYPES, &[Some(&oids), Some(&modifiers)]).await?.rows;
    if rows.len() != columns.len() {
        let text = "the catalog does not have the types of all columns";
        return Err(Error::new(ErrorKind::Protocol, text));
    }
    (0..rows.len())
        .map(|row| {
            let text = |column| rows.get(row, column).unwrap_or_default();
            let modifier = parsed(text(1))?;
            let kind_of = |kind: &str| match kind {
                "b" => PgKind::Base,
                "e" => PgKind::Enum,
                _ => PgKind::Other,
            };
            let kind = match rows.get(row, 4) {
                Some(item) if text(3) == "b" => PgKind::Array(Box::new(PgType {
                    oid: parsed(item)?,
                    name: text(5).to_owned(),
                    modifier,
                    kind: kind_of(text(6)),
                })),
                _ => kind_of(text(3)),
            };
            Ok(PgType { oid: parsed(text(0))?, name: text(2).to_owned(), modifier, kind })
        })
        .collect()
}
