//! Tables and queries, found in the catalog, and how they are selected.

use std::collections::HashMap;
use std::sync::Arc;

use kwsync_core::system::kwdb::catalog::{self, CatalogColumn};
use kwsync_core::system::kwdb::ddl::quote;
use kwsync_core::system::postgres::profile::{Profile, Server};
use kwsync_core::system::postgres::relations;
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::{Column, Error, ErrorKind, Result, Role, Schema, TableId};
use kwsync_formats::pgcopy::CopyColumn;

use super::config::KwdbSourceOptions;
use super::travel::Travel;
use crate::relational::{CursorTable, Kind, one_line};

/// What the column of the cursor is called on its way; no column of the user's is called so.
const AT: &str = "kwsync at";

/// A table or the rows of a query, as they are read.
#[derive(Debug)]
pub(super) struct Table {
    /// With a cursor of an empty name where there is none.
    pub(super) info: CursorTable,
    /// Whether rows come in the order of a cursor.
    pub(super) ordered: bool,
    pub(super) list: String,
    pub(super) from: String,
    /// How the columns travel, and the cursor behind them where there is one.
    pub(super) travels: Vec<Travel>,
    pub(super) columns: Vec<CopyColumn>,
    pub(super) notes: Vec<String>,
}

impl AsRef<CursorTable> for Table {
    fn as_ref(&self) -> &CursorTable {
        &self.info
    }
}

/// A session, and what the server is.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) profile: Profile,
}

impl Session {
    fn is_kwdb(&self) -> bool {
        matches!(self.profile.server, Server::Kwdb | Server::KwdbTimeSeries)
    }

    fn is_series(&self) -> bool {
        self.profile.server == Server::KwdbTimeSeries
    }
}

/// The tables that the options ask for. `strict` makes an error of a name or pattern that means none.
pub(super) async fn asked(
    session: &mut Session,
    options: &KwdbSourceOptions,
    strict: bool,
) -> Result<Vec<TableId>> {
    let default = Some(options.schema.as_str());
    let all = catalog::tables(&mut session.connection).await?;
    let out = |id: &TableId| {
        let schema = id.schema().unwrap_or_default();
        options.exclude.iter().any(|pattern| pattern.matches(default, schema, id.name()))
    };
    let own = |(id, view): &&(TableId, bool)| !view && id.name() != "kwsync_checkpoint";
    if options.tables.is_empty() {
        let of_schema = all.iter().filter(own).map(|(id, _)| id).filter(|id| id.schema() == default);
        return Ok(of_schema.filter(|id| !out(id)).cloned().collect());
    }
    let mut found: Vec<TableId> = Vec::new();
    for pattern in &options.tables {
        let before = found.len();
        for (id, view) in &all {
            let schema = id.schema().unwrap_or_default();
            let is = match pattern.exact() {
                Some((asked, name)) => asked.or(default) == Some(schema) && name == id.name(),
                None => own(&&(id.clone(), *view)) && pattern.matches(default, schema, id.name()),
            };
            if is && !out(id) && !found.contains(id) {
                found.push(id.clone());
            }
        }
        if strict && found.len() == before && (pattern.exact().is_some() || options.exclude.is_empty()) {
            return Err(gone(pattern));
        }
    }
    Ok(found)
}

pub(super) fn gone(name: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no table {name} to read")).with_hint(
        "check the database, the schema and the case of the name; it may have been dropped or renamed",
    )
}

impl Table {
    pub(super) async fn of_query(
        session: &mut Session,
        options: &KwdbSourceOptions,
        query: &str,
    ) -> Result<Self> {
        let from = format!("({query}\n) AS \"kwsync query\"");
        let what = format!("`{}`", one_line(query));
        let table = options.query_table();
        let asked = TableId::new(format!("query:{table}"));
        let cursor = options.cursor.column.clone();
        Self::made(session, asked, table, "*".to_owned(), from, &what, &[], &[], cursor, true).await
    }

    pub(super) async fn of_table(
        session: &mut Session,
        options: &KwdbSourceOptions,
        id: &TableId,
    ) -> Result<Self> {
        let (kwdb, series) = (session.is_kwdb(), session.is_series());
        let columns = catalog::columns(&mut session.connection, id, kwdb, series).await?;
        if columns.is_empty() {
            return Err(gone(id));
        }
        let key = match series {
            true => Vec::new(),
            false => catalog::primary_key(&mut session.connection, id).await?,
        };
        let list = match options.columns.as_slice() {
            [] => all_columns(&columns)?,
            [star] if star == "*" => all_columns(&columns)?,
            given => given.join(", "),
        };
        let (cursor, found) = match (&options.cursor.column, series, key.as_slice()) {
            (Some(name), ..) => (Some(name.clone()), false),
            // The first column of a table of time series is its time.
            (None, true, _) => (columns.first().map(|column| column.name.clone()), false),
            (None, false, [only]) => (Some(only.clone()), true),
            (None, false, _) => (None, false),
        };
        if let Some(name) = cursor.as_ref().filter(|name| columns.iter().all(|column| column.name != **name))
        {
            let there: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
            return Err(Error::config(format!("cursor={name}: {id} has no such column"))
                .with_hint(format!("it has {}", there.join(", "))));
        }
        // Views and tables of one schema are called by their name alone.
        let table = TableId::new(id.name());
        let from = catalog::table_name(id)?;
        let (what, id) = (id.to_string(), id.clone());
        Self::made(session, id, table, list, from, &what, &columns, &key, cursor, !found).await
    }

    #[allow(clippy::too_many_arguments, reason = "what a table and a query have in common")]
    async fn made(
        session: &mut Session,
        asked: TableId,
        table: TableId,
        list: String,
        from: String,
        what: &str,
        catalog: &[CatalogColumn],
        key: &[String],
        cursor: Option<String>,
        named: bool,
    ) -> Result<Self> {
        let at = match &cursor {
            Some(name) => format!(", {} AS {}", quote(name)?, quote(AT)?),
            None => String::new(),
        };
        let cannot = |error: Error| error.context(format!("cannot read {what}"));
        let sql = format!("SELECT {list}{at} FROM {from}");
        let fields = session.connection.describe(&sql).await.map_err(cannot)?;
        let known: HashMap<&str, &CatalogColumn> =
            catalog.iter().map(|column| (column.name.as_str(), column)).collect();
        // The cursor is a column, whatever it is called on its way.
        let column_of =
            |name: &str| known.get(if name == AT { cursor.as_deref().unwrap_or(AT) } else { name }).copied();
        let travels: Vec<Travel> = match session.is_kwdb() {
            true => fields
                .iter()
                .map(|field| {
                    Travel::of_kwdb(field, column_of(&field.name).map(|column| column.type_name.as_str()))
                })
                .collect(),
            false => {
                let types = relations::types(&mut session.connection, &fields).await?;
                types.into_iter().map(Travel::of_postgres).collect()
            }
        };
        let columns: Vec<CopyColumn> = fields
            .iter()
            .zip(&travels)
            .map(|(field, travel)| CopyColumn::new(field.name.as_str(), travel.pg_type.clone()))
            .collect();
        let rows = fields.len() - usize::from(cursor.is_some());
        let mut notes = Vec::new();
        let mut made = Vec::with_capacity(rows);
        let time = catalog.first().filter(|_| session.is_series()).map(|column| column.name.as_str());
        for (field, travel) in fields.iter().zip(&travels).take(rows) {
            if let kwsync_core::DataType::Other(name) = &travel.data_type {
                notes.push(format!("column {:?} of {what} is {name}, which is read as its text", field.name));
            }
            let mut column = Column::new(field.name.as_str(), travel.data_type.clone());
            if let Some(own) = column_of(&field.name) {
                column = column.with_nullable(own.nullable && !own.primary).with_role(match own {
                    own if own.primary => Role::PrimaryTag,
                    own if own.tag => Role::Tag,
                    own if time == Some(own.name.as_str()) => Role::Timestamp,
                    _ => Role::Field,
                });
                if let Some(at) = key.iter().position(|name| *name == own.name) {
                    column = column.with_key(at as u16 + 1, key.len() as u16);
                }
            }
            made.push(column);
        }
        let schema = Schema::new(made).map_err(cannot)?;
        let nullable = column_of(AT).is_none_or(|column| column.nullable);
        let kind =
            cursor.as_ref().and_then(|_| travels.last()).and_then(|travel| Kind::of(&travel.data_type));
        let kind = match (&cursor, kind) {
            (Some(name), None) if named => {
                return Err(Error::config(format!(
                    "cursor={name}: this column of {what} is no time and no number"
                ))
                .with_hint("a cursor is a column of integers, dates or timestamps"));
            }
            (_, kind) => kind,
        };
        let (cursor, travels, columns) = match (cursor, kind) {
            (Some(name), Some(_)) => (Some(name), travels, columns),
            // A primary key of another type is no cursor.
            _ => (None, travels.into_iter().take(rows).collect(), columns.into_iter().take(rows).collect()),
        };
        if cursor.is_none() {
            notes.push(format!(
                "{what} is read in one piece, and cannot be read on from the middle; cursor= can name a column of it"
            ));
        } else if nullable {
            let name = cursor.as_deref().unwrap_or_default();
            notes.push(format!("rows of {what} without a value in {name:?} are not read"));
        }
        let unique = cursor.is_some() && key.len() == 1 && key.first() == cursor.as_ref();
        let info = CursorTable {
            asked,
            table,
            schema: Arc::new(schema),
            column: cursor.clone().unwrap_or_default(),
            kind: kind.unwrap_or(Kind::Integer),
            unique,
        };
        Ok(Self { info, ordered: cursor.is_some(), list, from, travels, columns, notes })
    }

    /// The statement that selects rows which fulfil the conditions.
    pub(super) fn statement(&self, conditions: &[String]) -> Result<String> {
        let mut sql = match self.ordered {
            true => format!("SELECT {}, {} AS {}", self.list, quote(&self.info.column)?, quote(AT)?),
            false => format!("SELECT {}", self.list),
        };
        sql.push_str(&format!(" FROM {}", self.from));
        if !conditions.is_empty() {
            sql.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
        }
        if self.ordered {
            sql.push_str(&format!(" ORDER BY {}", quote(&self.info.column)?));
        }
        Ok(sql)
    }
}

fn all_columns(columns: &[CatalogColumn]) -> Result<String> {
    let names: Vec<_> = columns.iter().map(|column| quote(&column.name)).collect::<Result<_>>()?;
    Ok(names.join(", "))
}
