//! The indexes and foreign keys that a server's catalog has of a table, beside its primary key.

use super::catalog::{CatalogTable, version};
use super::wire::Connection;
use crate::{ForeignKey, Index, IndexColumn, NameScope, ReferentialAction, Result, TableId};

/// What a table has beside its rows and its primary key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CatalogKeys {
    /// Its indexes over plain columns, the primary key's left out.
    pub indexes: Vec<Index>,
    /// Its foreign keys.
    pub keys: Vec<ForeignKey>,
    /// What there is that these cannot say, in words.
    pub left_out: Vec<String>,
}

/// One row for each column of each index; the last but one says why the index cannot be described by its columns.
const INDEXES: &str = "
SELECT i.relname, x.indisunique, a.attname, (x.indoption[k.at - 1] & 1) = 1,
       CASE WHEN x.indpred IS NOT NULL THEN 'it covers some rows only'
            WHEN x.indexprs IS NOT NULL THEN 'it is over an expression'
            WHEN x.indisexclusion THEN 'it is that of an exclusion'
            WHEN m.amname <> 'btree' THEN 'it is of the kind ' || m.amname
            WHEN x.indisunique AND NOT x.indimmediate THEN 'it is deferrable'
            WHEN NOT x.indisvalid THEN 'it is not valid'
            WHEN x.indnatts > x.indnkeyatts THEN 'it includes other columns'
            WHEN EXISTS (SELECT 1 FROM unnest(x.indclass::oid[]) AS u(oid) JOIN pg_catalog.pg_opclass o ON o.oid = u.oid
                         WHERE NOT o.opcdefault) THEN 'it has operators of its own'
            WHEN EXISTS (SELECT 1 FROM unnest(x.indoption::int2[]) AS u(bits) WHERE bits IN (1, 2))
                THEN 'it has nulls at the other end'
            WHEN pg_catalog.pg_get_indexdef(x.indexrelid) LIKE '% NULLS NOT DISTINCT%' THEN 'its nulls are alike'
            WHEN pg_catalog.pg_get_indexdef(x.indexrelid) LIKE '% COLLATE %' THEN 'it has a collation of its own'
       END,
       pg_catalog.pg_get_indexdef(x.indexrelid)
FROM pg_catalog.pg_index x
JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
JOIN pg_catalog.pg_am m ON m.oid = i.relam
CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY AS k(attnum, at)
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
WHERE x.indrelid = $1::oid AND NOT x.indisprimary AND k.at <= x.indnkeyatts
ORDER BY i.relname, k.at";

const KEYS: &str = "
SELECT c.conname, n.nspname, f.relname, a.attname, b.attname, c.confdeltype::text, c.confupdtype::text,
       CASE WHEN c.condeferrable THEN 'is deferrable' WHEN c.confmatchtype = 'f' THEN 'is MATCH FULL'
            WHEN NOT c.convalidated THEN 'is not validated'
            WHEN pg_catalog.pg_get_constraintdef(c.oid) LIKE '% ON DELETE SET % (%' THEN 'sets some columns only' END
FROM pg_catalog.pg_constraint c
JOIN pg_catalog.pg_class f ON f.oid = c.confrelid
JOIN pg_catalog.pg_namespace n ON n.oid = f.relnamespace
CROSS JOIN LATERAL unnest(c.conkey, c.confkey) WITH ORDINALITY AS k(own, other, at)
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.own
JOIN pg_catalog.pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = k.other
WHERE c.conrelid = $1::oid AND c.contype = 'f' AND c.conparentid = 0
ORDER BY c.conname, k.at";

/// The indexes and foreign keys of a table.
///
/// # Errors
/// What the server says.
///
/// # Cancel safety
/// Dropping the future breaks the session.
pub async fn keys(connection: &mut Connection, table: &CatalogTable) -> Result<CatalogKeys> {
    let (mut indexes, mut keys) = (INDEXES.to_owned(), KEYS.to_owned());
    if version(connection) < 11 {
        indexes = indexes.replace("x.indnkeyatts", "x.indnatts");
        keys = keys.replace(" AND c.conparentid = 0", "");
    }
    let oid = table.oid.to_string();
    let mut found = CatalogKeys::default();
    let rows = connection.query(&indexes, &[Some(&oid)]).await?.rows;
    let mut last = None;
    for row in 0..rows.len() {
        let text = |column| rows.get(row, column).unwrap_or_default();
        let begins = last.as_deref() != Some(text(0));
        last = Some(text(0).to_owned());
        if let Some(why) = rows.get(row, 4) {
            if begins {
                found.left_out.push(format!("index {:?}: {why}: {}", text(0), text(5)));
            }
            continue;
        }
        if begins {
            found.indexes.push(Index::new(text(0), text(1) == "t", Vec::new()).with_scope(NameScope::Schema));
        }
        if let Some(index) = found.indexes.last_mut() {
            index.columns.push(IndexColumn::new(text(2)).with_descending(text(3) == "t"));
        }
    }
    let rows = connection.query(&keys, &[Some(&oid)]).await?.rows;
    for row in 0..rows.len() {
        let text = |column| rows.get(row, column).unwrap_or_default();
        if found.keys.last().is_none_or(|key| *key.name != *text(0)) {
            if let Some(what) = rows.get(row, 7) {
                found.left_out.push(format!("foreign key {:?} {what}, which is not kept", text(0)));
            }
            let table = TableId::with_schema(text(1), text(2));
            let key = ForeignKey::new(text(0), Vec::new(), table, Vec::new());
            found.keys.push(key.with_actions(action(text(5)), action(text(6))));
        }
        if let Some(key) = found.keys.last_mut() {
            key.columns.push(text(3).into());
            key.referenced.push(text(4).into());
        }
    }
    Ok(found)
}

fn action(letter: &str) -> ReferentialAction {
    match letter {
        "r" => ReferentialAction::Restrict,
        "c" => ReferentialAction::Cascade,
        "n" => ReferentialAction::SetNull,
        "d" => ReferentialAction::SetDefault,
        _ => ReferentialAction::NoAction,
    }
}
