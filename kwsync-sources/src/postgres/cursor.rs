//! Tables and queries read by a cursor.

use std::sync::Arc;

use kwsync_core::system::postgres::ddl::{literal, quote, table_name};
use kwsync_core::system::postgres::profile::Profile;
use kwsync_core::system::postgres::relations::{Relation, RelationKind};
use kwsync_core::system::postgres::types::PgType;
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::{Decoded, Decoder, Error, ErrorKind, Input, Position, Result, TableBatch, TableId};
use kwsync_formats::pgcopy::{CopyColumn, CopyDecoder};
use tokio::sync::mpsc;

use super::config::{PostgresSourceOptions, Qualified};
use super::relation::{Asked, Shape, asked};
use super::session::{begin, refuse};
use super::statement::fetch;
use crate::relational::{Clock, CursorTable, Database, Kind, Page, Window};

/// What the column of the cursor is called on its way; no column of the user's is called so.
const AT: &str = "kwsync at";

/// The tables of a source, read by a cursor.
#[derive(Debug)]
pub(super) struct Cursor {
    options: Arc<PostgresSourceOptions>,
}

/// A table as it is read.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) info: CursorTable,
    shape: Shape,
    /// The type of the cursor.
    pg_type: PgType,
    nullable: bool,
}

impl AsRef<CursorTable> for Table {
    fn as_ref(&self) -> &CursorTable {
        &self.info
    }
}

impl Table {
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = self.shape.notes.clone();
        if self.nullable {
            let (table, column) = (&self.info.asked, &self.info.column);
            notes.push(format!("rows of {table} without a value in {column:?} are not read"));
        }
        notes
    }

    /// A value as SQL. Times are those of the session's zone unless they say another.
    fn literal(&self, value: i128) -> String {
        let zone = if matches!(self.info.kind, Kind::Timestamp(_, true)) { "+00" } else { "" };
        self.text(&format!("{}{zone}", self.info.kind.text(value)))
    }

    fn text(&self, text: &str) -> String {
        format!("{}::{}", literal(text), self.pg_type.name)
    }
}

impl Cursor {
    pub(super) fn new(options: Arc<PostgresSourceOptions>) -> Self {
        Self { options }
    }

    /// What is read, as splits have it.
    pub(super) fn what(&self) -> Result<serde_json::Value> {
        let (options, cursor) = (&self.options, &self.options.cursor);
        serde_json::to_value((
            (&cursor.column, &cursor.begin, &cursor.end),
            (&options.columns, &options.condition, &options.query),
        ))
        .map_err(|error| Error::new(ErrorKind::Internal, "cannot write a cursor down").with_source(error))
    }

    fn column(&self) -> Result<&str> {
        let column = self.options.cursor.column.as_deref();
        column.ok_or_else(|| Error::new(ErrorKind::Internal, "there is no cursor"))
    }

    async fn of_query(&self, connection: &mut Connection, query: &str) -> Result<Table> {
        let shape = Shape::of_query(connection, query).await?;
        let name = self.column()?;
        let pg_type =
            shape.columns.iter().find(|column| column.name == name).map(|column| column.pg_type.clone());
        let there = shape.columns.iter().map(|column| column.name.as_str());
        let pg_type = pg_type.ok_or_else(|| no_column(name, "the query", there))?;
        let table = self.options.query_table();
        let asked = TableId::new(format!("query:{table}"));
        self.made(asked, table, shape, pg_type, false, true)
    }

    async fn of_table(
        &self,
        connection: &mut Connection,
        relation: Relation,
        table: TableId,
    ) -> Result<Table> {
        let look = Asked::look(connection, relation).await?;
        let id = TableId::with_schema(look.relation.schema.as_str(), look.relation.name.as_str());
        let mut shape = Shape::of_table(connection, &self.options, &look, &look.relation).await?;
        // With the rows of partitions and of tables that inherit.
        shape.from = table_name(&id, None)?;
        let name = self.column()?;
        let there = look.catalog.columns.iter().map(|column| column.name.as_str());
        let column = look.catalog.column(name).ok_or_else(|| no_column(name, &id.to_string(), there))?;
        let whole = !look.relation.parent || look.relation.kind == RelationKind::Partitioned;
        let unique = column.not_null
            && whole
            && look.catalog.unique.iter().any(|index| index.columns == [column.name.as_str()]);
        let (pg_type, nullable) = (column.pg_type.clone(), !column.not_null);
        self.made(id, table, shape, pg_type, unique, nullable)
    }

    fn made(
        &self,
        asked: TableId,
        table: TableId,
        shape: Shape,
        pg_type: PgType,
        unique: bool,
        nullable: bool,
    ) -> Result<Table> {
        let column = self.column()?.to_owned();
        let kind = Kind::of(&pg_type.data_type()).ok_or_else(|| {
            Error::config(format!("cursor={column}: the column of {asked} is {}", pg_type.name))
                .with_hint("a cursor is a column of integers, dates or timestamps")
        })?;
        let info = CursorTable { asked, table, schema: Arc::clone(&shape.schema), column, kind, unique };
        Ok(Table { info, shape, pg_type, nullable })
    }

    /// The statement of a window.
    fn statement(&self, table: &Table, window: &Window) -> Result<(String, Vec<CopyColumn>)> {
        let shape = &table.shape;
        let (at, name) = (quote(AT)?, quote(&table.info.column)?);
        let mut outer = Vec::with_capacity(shape.columns.len() + 1);
        for (column, cast) in shape.columns.iter().zip(&shape.cast) {
            let name = format!("q.{}", quote(&column.name)?);
            outer.push(if *cast { format!("{name}::text") } else { name });
        }
        outer.push(format!("q.{at}"));
        let mut columns = shape.columns.clone();
        columns.push(CopyColumn::new(AT, table.pg_type.clone()));
        let mut conditions: Vec<String> =
            self.options.condition.iter().map(|sql| format!("({sql}\n)")).collect();
        conditions.push(match table.info.kind {
            Kind::Integer => format!("{name} IS NOT NULL"),
            // False for an infinite value, and null for none.
            _ => format!("pg_catalog.isfinite({name})"),
        });
        conditions.extend(window.conditions(&name, |value| table.literal(value), |text| table.text(text)));
        let sql = format!(
            "SELECT {} FROM (SELECT {}, {name} AS {at} FROM {} WHERE {}) AS q ORDER BY q.{at}",
            outer.join(", "),
            shape.list,
            shape.from,
            conditions.join(" AND ")
        );
        Ok((sql, columns))
    }

    async fn copy(
        &self,
        connection: &mut Connection,
        table: &Table,
        window: &Window,
        pages: &mpsc::Sender<Page>,
    ) -> Result<()> {
        let (sql, columns) = self.statement(table, window)?;
        tracing::debug!(%sql, "reading");
        let info = &table.info;
        let context = |error: Error| error.context(format!("cannot read {}", info.asked));
        let travelling = Arc::new(CopyDecoder::schema_of(&columns)?);
        let rows = self.options.cursor.fetch_rows.unwrap_or(self.options.batch_rows);
        let mut decoder = CopyDecoder::try_new(info.table.clone(), &travelling, &columns)?
            .with_batch(rows, self.options.batch_bytes);
        decoder.begin(Arc::new(Input::new(info.asked.to_string())), Position::START);
        let mut copy = fetch(connection, &sql, &self.options).await.map_err(context)?;
        let (mut bytes, mut full, mut more) = (0, Vec::new(), true);
        while more {
            more = copy
                .read(|data| {
                    bytes += data.len() as u64;
                    let mut rest = data;
                    while !rest.is_empty() {
                        let used = decoder.decode_slice(rest)?;
                        rest = rest.get(used..).unwrap_or_default();
                        if decoder.wants_flush() {
                            full.push((decoder.flush()?, std::mem::take(&mut bytes)));
                        }
                    }
                    Ok(())
                })
                .await
                .map_err(context)?;
            if !more {
                decoder.finish()?;
                full.push((decoder.flush()?, std::mem::take(&mut bytes)));
            }
            for (decoded, bytes) in full.drain(..) {
                if pages.send(page(info, decoded, bytes)?).await.is_err() {
                    return Err(Error::new(ErrorKind::Cancelled, "nobody takes the rows any more"));
                }
            }
        }
        Ok(())
    }
}

/// The rows without the cursor, and its values.
fn page(info: &CursorTable, decoded: Decoded, bytes: u64) -> Result<Page> {
    let Decoded { batches, rejects, counts } = decoded;
    let mut made = Vec::with_capacity(batches.len());
    for batch in batches {
        let (table, _, batch, origin) = batch.into_parts();
        let mut arrays = batch.columns().to_vec();
        let at = arrays.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "the cursor is missing"))?;
        let values = info.kind.values(at.as_ref(), &info.column)?;
        made.push((TableBatch::from_columns(table, Arc::clone(&info.schema), arrays, origin)?, values));
    }
    Ok(Page { batches: made, rejects, counts, bytes })
}

fn no_column<'a>(name: &str, what: &str, there: impl Iterator<Item = &'a str>) -> Error {
    Error::config(format!("cursor={name}: {what} has no such column"))
        .with_hint(format!("it has {}", there.collect::<Vec<_>>().join(", ")))
}

/// Nanoseconds of the clock, by the server's own arithmetic.
const CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, \
                     (extract(epoch FROM clock_timestamp()::timestamp) * 1000000)::bigint";

impl Database for Cursor {
    type Session = Connection;
    type Table = Table;

    async fn session(&self) -> Result<Connection> {
        let mut connection = Connection::connect(&self.options.connect).await?;
        refuse(&Profile::probe(&mut connection).await?)?;
        let zone = literal(&self.options.timezone);
        connection.simple_query(&format!("SET TIME ZONE {zone}")).await?;
        Ok(connection)
    }

    async fn tables(&self, connection: &mut Connection, strict: bool) -> Result<Vec<Arc<Table>>> {
        if let Some(query) = &self.options.query {
            return Ok(vec![Arc::new(self.of_query(connection, query).await?)]);
        }
        let found = asked(connection, &self.options, strict).await?;
        let several = found.windows(2).any(|pair| pair[0].schema != pair[1].schema);
        let qualified = match self.options.qualified {
            Qualified::Auto => several,
            Qualified::Always => true,
            Qualified::Never => false,
        };
        let mut tables = Vec::with_capacity(found.len());
        for relation in found {
            let id = TableId::with_schema(relation.schema.as_str(), relation.name.as_str());
            let table = if qualified { id } else { TableId::new(relation.name.as_str()) };
            match self.of_table(connection, relation, table).await {
                Ok(table) => tables.push(Arc::new(table)),
                // Gone since the list was made.
                Err(error) if !strict && error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(tables)
    }

    async fn clock(&self, connection: &mut Connection) -> Result<Clock> {
        let rows = connection.query(CLOCK, &[]).await?.rows;
        let nanos =
            |column| rows.get(0, column).and_then(|text| text.parse::<i128>().ok()).map(|n| n * 1_000);
        match (nanos(0), nanos(1)) {
            (Some(utc), Some(local)) => Ok(Clock { utc, local }),
            _ => Err(Error::new(ErrorKind::Protocol, "the server does not tell the time")),
        }
    }

    async fn ends(&self, connection: &mut Connection, table: &Table) -> Result<Option<(i128, i128)>> {
        let (name, from) = (quote(&table.info.column)?, &table.shape.from);
        let of = |end: &str| match table.info.kind {
            Kind::Integer => format!("{end}({name})::text"),
            Kind::Date => format!("({end}({name}) - date '1970-01-01')::text"),
            Kind::Timestamp(..) => format!("(extract(epoch FROM {end}({name})) * 1000000)::bigint::text"),
        };
        let finite = match table.info.kind {
            Kind::Integer => String::new(),
            _ => format!(" WHERE pg_catalog.isfinite({name})"),
        };
        let sql = format!("SELECT {}, {} FROM {from}{finite}", of("min"), of("max"));
        let rows = connection.simple_query(&sql).await?;
        let unit = match table.info.kind {
            Kind::Timestamp(unit, _) => i128::from(unit.nanos()),
            _ => 1_000,
        };
        let value = |column| {
            let text = rows.first().and_then(|result| result.rows.get(0, column));
            text.and_then(|text| text.parse::<i128>().ok()).map(|value| value * 1_000 / unit)
        };
        Ok(value(0).zip(value(1)))
    }

    async fn read(
        &self,
        connection: &mut Connection,
        table: &Table,
        window: &Window,
        pages: mpsc::Sender<Page>,
    ) -> Result<()> {
        connection.simple_query(&begin(&self.options, None)).await?;
        let read = self.copy(connection, table, window, &pages).await;
        if !connection.is_broken() {
            connection.simple_query(if read.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
        }
        read
    }
}
