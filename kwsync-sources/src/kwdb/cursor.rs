//! Rows by a cursor, and without one.

use std::sync::Arc;

use kwsync_core::system::kwdb::ddl::quote;
use kwsync_core::system::postgres::ddl::literal;
use kwsync_core::system::postgres::profile::{Profile, Server};
use kwsync_core::system::postgres::wire::{Connection, Form};
use kwsync_core::{Decoded, Decoder, Error, ErrorKind, Input, Position, Result, TableBatch};
use kwsync_formats::pgcopy::CopyDecoder;
use tokio::sync::mpsc;

use super::config::KwdbSourceOptions;
use super::table::{Session, Table, asked};
use super::travel::instant;
use crate::relational::{Clock, Database, Kind, Page, Window};

/// What a stream of rows begins with, so that the decoder of COPY takes it.
const COPY_HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
const COPY_TRAILER: &[u8; 2] = &[0xff, 0xff];

/// The tables of a source, read by a cursor.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    pub(super) options: Arc<KwdbSourceOptions>,
}

impl Cursor {
    /// What is read, as splits have it.
    pub(super) fn what(&self) -> Result<serde_json::Value> {
        let (options, cursor) = (&self.options, &self.options.cursor);
        serde_json::to_value((
            (&cursor.column, &cursor.begin, &cursor.end),
            (&options.columns, &options.condition, &options.query),
        ))
        .map_err(|error| Error::new(ErrorKind::Internal, "cannot write a cursor down").with_source(error))
    }

    async fn connect(&self) -> Result<Connection> {
        let mut tries = self.options.connect_attempts.saturating_sub(1);
        loop {
            match Connection::connect(&self.options.connect).await {
                Err(error) if tries > 0 && error.kind() != ErrorKind::Auth => {
                    tracing::warn!(%error, "connecting again");
                    tries -= 1;
                    tokio::time::sleep(self.options.connect_backoff).await;
                }
                connected => return connected,
            }
        }
    }

    /// The first row of a statement, as text.
    async fn row(&self, session: &mut Session, sql: &str) -> Result<Vec<Option<String>>> {
        let rows = session.connection.query(sql, &[]).await?.rows;
        Ok((0..rows.columns().len()).map(|column| rows.get(0, column).map(str::to_owned)).collect())
    }

    /// A value that the operator wrote, as the server understands it.
    pub(super) async fn value(&self, session: &mut Session, kind: Kind, text: &str) -> Result<i128> {
        let wrong = || {
            Error::config(format!("{text:?} is no value of the cursor, which is {}", kind.name()))
                .with_hint("write a number, or a time such as 2024-05-01 10:00:00")
        };
        let Some(nanos) = kind.nanos() else { return text.trim().parse().map_err(|_| wrong()) };
        let data_type = match kind {
            Kind::Timestamp(_, true) => "TIMESTAMPTZ",
            Kind::Timestamp(_, false) => "TIMESTAMP",
            _ => "DATE",
        };
        let sql = format!("SELECT CAST({} AS {data_type})", literal(text));
        let row = self.row(session, &sql).await.map_err(|error| wrong().with_source(error))?;
        let found = row.into_iter().next().flatten().and_then(|text| instant(&text));
        let (local, offset) = found.ok_or_else(wrong)?;
        let at = if matches!(kind, Kind::Timestamp(_, true)) { local - offset } else { local };
        // Up to the next value that the column can have: `from` on and below `to` mean the same then.
        Ok(-(-at).div_euclid(nanos))
    }

    fn conditions(&self, table: &Table, window: &Window) -> Result<Vec<String>> {
        let mut conditions: Vec<String> =
            self.options.condition.iter().map(|sql| format!("({sql}\n)")).collect();
        if table.ordered {
            let (kind, name) = (table.info.kind, quote(&table.info.column)?);
            let of = |value: i128| match kind {
                Kind::Integer => value.to_string(),
                Kind::Timestamp(_, true) => format!("'{}+00:00'", kind.text(value)),
                _ => format!("'{}'", kind.text(value)),
            };
            let text = |text: &str| match kind {
                Kind::Integer if text.trim().parse::<i128>().is_ok() => text.trim().to_owned(),
                _ => literal(text),
            };
            let own = window.conditions(&name, of, text);
            // A column that may be null could send nulls first.
            if own.is_empty() {
                conditions.push(format!("{name} IS NOT NULL"));
            }
            conditions.extend(own);
        }
        Ok(conditions)
    }

    /// Sends the rows of a window; of a table without a cursor all.
    pub(super) async fn rows(
        &self,
        session: &mut Session,
        table: &Table,
        window: &Window,
        pages: &mpsc::Sender<Page>,
    ) -> Result<()> {
        let sql = table.statement(&self.conditions(table, window)?)?;
        tracing::debug!(%sql, "reading");
        let info = &table.info;
        let context = |error: Error| error.context(format!("cannot read {}", info.asked));
        let travelling = Arc::new(CopyDecoder::schema_of(&table.columns)?);
        let rows = self.options.cursor.fetch_rows.unwrap_or(self.options.batch_rows);
        let mut decoder = CopyDecoder::try_new(info.table.clone(), &travelling, &table.columns)?
            .with_batch(rows, self.options.batch_bytes);
        decoder.begin(Arc::new(Input::new(info.asked.to_string())), Position::START);
        decode(&mut decoder, COPY_HEADER, &mut Vec::new())?;
        let forms: Vec<Form> = table.travels.iter().map(|travel| travel.form).collect();
        let mut stream = session.connection.stream(&sql, &forms).await.map_err(context)?;
        let (mut bytes, mut full, mut more) = (0, Vec::new(), true);
        while more {
            more = stream
                .read(|row| {
                    bytes += row.len() as u64;
                    let flushed = full.len();
                    decode(&mut decoder, row, &mut full)?;
                    for (_, counted) in full.iter_mut().skip(flushed) {
                        *counted = std::mem::take(&mut bytes);
                    }
                    Ok(())
                })
                .await
                .map_err(context)?;
            if !more {
                decode(&mut decoder, COPY_TRAILER, &mut full)?;
                decoder.finish()?;
                full.push((decoder.flush()?, std::mem::take(&mut bytes)));
            }
            for (decoded, bytes) in full.drain(..) {
                if pages.send(page(table, decoded, bytes)?).await.is_err() {
                    return Err(Error::new(ErrorKind::Cancelled, "nobody takes the rows any more"));
                }
            }
        }
        Ok(())
    }
}

/// Gives bytes to the decoder, and takes what it has whenever it is full.
fn decode(decoder: &mut CopyDecoder, bytes: &[u8], full: &mut Vec<(Decoded, u64)>) -> Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let used = decoder.decode_slice(rest)?;
        rest = rest.get(used..).unwrap_or_default();
        if decoder.wants_flush() {
            full.push((decoder.flush()?, 0));
        }
    }
    Ok(())
}

/// The rows as they are, without the cursor, and its values.
fn page(table: &Table, decoded: Decoded, bytes: u64) -> Result<Page> {
    let info = &table.info;
    let Decoded { batches, rejects, counts } = decoded;
    let mut made = Vec::with_capacity(batches.len());
    for batch in batches {
        let (name, _, batch, origin) = batch.into_parts();
        let arrived = table.travels.iter().zip(batch.columns());
        let mut arrays =
            arrived.map(|(travel, array)| travel.arrived(Arc::clone(array))).collect::<Result<Vec<_>>>()?;
        let mut values = Vec::new();
        if table.ordered {
            let at = arrays.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "the cursor is missing"))?;
            values = info.kind.values(at.as_ref(), &info.column)?;
        }
        made.push((TableBatch::from_columns(name, Arc::clone(&info.schema), arrays, origin)?, values));
    }
    Ok(Page { batches: made, rejects, counts, bytes })
}

impl Database for Cursor {
    type Session = Session;
    type Table = Table;

    async fn session(&self) -> Result<Session> {
        let mut connection = self.connect().await?;
        let profile = Profile::probe(&mut connection).await?;
        if matches!(profile.server, Server::Cockroach | Server::Greenplum) {
            let text = format!("the server is {}, which this source does not read", profile.server);
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        let zone = literal(&self.options.timezone);
        connection.simple_query(&format!("SET TIME ZONE {zone}")).await?;
        Ok(Session { connection, profile })
    }

    async fn tables(&self, session: &mut Session, strict: bool) -> Result<Vec<Arc<Table>>> {
        if let Some(query) = &self.options.query {
            return Ok(vec![Arc::new(Table::of_query(session, &self.options, query).await?)]);
        }
        let mut tables = Vec::new();
        for id in asked(session, &self.options, strict).await? {
            match Table::of_table(session, &self.options, &id).await {
                Ok(table) => tables.push(Arc::new(table)),
                // Gone since the list was made.
                Err(error) if !strict && error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(tables)
    }

    async fn clock(&self, session: &mut Session) -> Result<Clock> {
        let row = self.row(session, "SELECT now()").await?;
        let found = row.into_iter().next().flatten().and_then(|text| instant(&text));
        let (local, offset) =
            found.ok_or_else(|| Error::new(ErrorKind::Protocol, "the server does not tell the time"))?;
        Ok(Clock { utc: local - offset, local })
    }

    async fn ends(&self, session: &mut Session, table: &Table) -> Result<Option<(i128, i128)>> {
        let name = quote(&table.info.column)?;
        let sql = format!("SELECT min({name}), max({name}) FROM {}", table.from);
        let row = self.row(session, &sql).await?;
        let value = |text: &Option<String>| {
            let text = text.as_deref()?;
            let Some(nanos) = table.info.kind.nanos() else { return text.parse().ok() };
            let (local, offset) = instant(text)?;
            let zoned = matches!(table.info.kind, Kind::Timestamp(_, true));
            Some((if zoned { local - offset } else { local }).div_euclid(nanos))
        };
        match row.as_slice() {
            [None, None] => Ok(None),
            [min, max] => match value(min).zip(value(max)) {
                Some(ends) => Ok(Some(ends)),
                None => Err(Error::new(ErrorKind::Protocol, format!("the ends of {name} cannot be read"))),
            },
            _ => Err(Error::new(ErrorKind::Protocol, "the server does not tell the ends of a column")),
        }
    }

    async fn read(
        &self,
        session: &mut Session,
        table: &Table,
        window: &Window,
        pages: mpsc::Sender<Page>,
    ) -> Result<()> {
        self.rows(session, table, window, &pages).await
    }
}
