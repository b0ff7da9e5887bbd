//! The indexes and foreign keys that a server's catalog has of a table, beside its primary key.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::ddl::literal;
use super::session::error;
use crate::{ForeignKey, Index, IndexColumn, NameScope, ReferentialAction, Result, TableId};

/// What a table has beside its rows and its primary key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CatalogKeys {
    /// Its indexes over columns, the primary key's left out.
    pub indexes: Vec<Index>,
    /// Its foreign keys.
    pub keys: Vec<ForeignKey>,
    /// What there is that these cannot say, in words.
    pub left_out: Vec<String>,
}

/// The indexes and foreign keys of a table.
///
/// # Errors
/// What the server says.
///
/// # Cancel safety
/// Dropping the future may leave the session unusable.
pub async fn keys(connection: &mut Conn, schema: &str, table: &str) -> Result<CatalogKeys> {
    let place = |prefix: &str| {
        format!("{prefix}TABLE_SCHEMA = {} AND {prefix}TABLE_NAME = {}", literal(schema), literal(table))
    };
    let mut found = CatalogKeys::default();
    let sql = format!(
        "SELECT INDEX_NAME, NON_UNIQUE, COALESCE(COLUMN_NAME, ''), COALESCE(COLLATION, '') = 'D', SUB_PART, INDEX_TYPE \
         FROM information_schema.STATISTICS WHERE {} AND INDEX_NAME <> 'PRIMARY' ORDER BY INDEX_NAME, SEQ_IN_INDEX",
        place("")
    );
    let rows: Vec<(String, u64, String, u8, Option<u32>, String)> =
        connection.query(sql).await.map_err(error)?;
    let mut hindered: Option<String> = None;
    for (name, non_unique, column, descending, prefix, kind) in rows {
        let why = match kind.as_str() {
            "FULLTEXT" | "SPATIAL" | "RTREE" => Some(format!("it is of the kind {kind}")),
            _ if column.is_empty() => Some("it is over an expression".to_owned()),
            _ => None,
        };
        if hindered.as_ref() == Some(&name) {
            continue;
        }
        if let Some(why) = why {
            found.indexes.retain(|index| *index.name != *name);
            found.left_out.push(format!("index {name:?}: {why}"));
            hindered = Some(name);
            continue;
        }
        if found.indexes.last().is_none_or(|index| *index.name != *name) {
            found.indexes.push(Index::new(name.as_str(), non_unique == 0, Vec::new()));
        }
        if let Some(index) = found.indexes.last_mut() {
            let column = IndexColumn::new(column.as_str()).with_descending(descending != 0);
            index.columns.push(column.with_prefix(prefix));
        }
    }
    let sql = format!(
        "SELECT k.CONSTRAINT_NAME, k.REFERENCED_TABLE_SCHEMA, k.REFERENCED_TABLE_NAME, k.COLUMN_NAME, \
         k.REFERENCED_COLUMN_NAME, r.DELETE_RULE, r.UPDATE_RULE FROM information_schema.KEY_COLUMN_USAGE k \
         JOIN information_schema.REFERENTIAL_CONSTRAINTS r ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA \
         AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME \
         WHERE {} AND k.REFERENCED_TABLE_NAME IS NOT NULL ORDER BY k.CONSTRAINT_NAME, k.ORDINAL_POSITION",
        place("k.")
    );
    let rows: Vec<(String, String, String, String, String, String, String)> =
        connection.query(sql).await.map_err(error)?;
    for (name, schema, table, column, referenced, on_delete, on_update) in rows {
        if found.keys.last().is_none_or(|key| *key.name != *name) {
            let table = TableId::with_schema(schema, table);
            let key = ForeignKey::new(name.as_str(), Vec::new(), table, Vec::new());
            let key = key.with_scope(NameScope::Schema);
            found.keys.push(key.with_actions(action(&on_delete), action(&on_update)));
        }
        if let Some(key) = found.keys.last_mut() {
            key.columns.push(column.into());
            key.referenced.push(referenced.into());
        }
    }
    Ok(found)
}

fn action(words: &str) -> ReferentialAction {
    match words {
        // What InnoDB does with both is the same, and NO ACTION is what other servers do by default.
        "CASCADE" => ReferentialAction::Cascade,
        "SET NULL" => ReferentialAction::SetNull,
        "SET DEFAULT" => ReferentialAction::SetDefault,
        _ => ReferentialAction::NoAction,
    }
}
