//! Rows in the order of time, in windows.

use std::sync::Arc;

use kwsync_core::system::tdengine::{Refusal, RefusalClass, Rows, Session};
use kwsync_core::{Error, ErrorKind, Result, TableId, TimeUnit};
use kwsync_formats::nanoseconds;
use tokio::sync::mpsc;

use super::answer::RowStream;
use super::columns::Columns;
use super::config::TdengineOptions;
use super::tables::{Table, asked, table};
use crate::relational::{Clock, CursorOptions, Database, Page, Window};
use crate::series::{Sending, SeriesDatabase, Windows, bounds_of};

/// Rows of a window that is read at once; one with more is made shorter, as far as that goes.
const MOST_ROWS: u64 = 2_000_000;
/// How often an answer that ended early is asked for again from the same time.
const PATIENCE: u32 = 5;
/// Nanoseconds before now in which rows are likely to come: an hour, so that clocks may differ.
const YOUNG: i128 = 3_600_000_000_000;

/// The tables of a database.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    options: Arc<TdengineOptions>,
    windows: Arc<Windows>,
}

impl Cursor {
    pub(super) fn new(options: TdengineOptions) -> Self {
        let windows = Arc::new(Windows::new(options.window));
        Self { options: Arc::new(options), windows }
    }

    async fn unit(&self, session: &mut Session) -> Result<TimeUnit> {
        session.features().await?;
        let database = &self.options.connect.database;
        session.precision(database).await?.ok_or_else(|| {
            let text = format!("there is no database {database:?} at {}", session.place());
            Error::new(ErrorKind::NotFound, text)
                .with_hint("check the address; names are as they were written, case counts")
        })
    }

    /// What is selected of a table in a range of nanoseconds.
    fn sql(&self, table: &Table, items: &str, (from, to): (i128, i128), order: bool) -> String {
        let unit = i128::from(table.unit.nanos());
        // The first time that is not before, on both ends.
        let up = |nanos: i128| -(-nanos).div_euclid(unit);
        let by = if order { format!(" ORDER BY {}", table.time) } else { String::new() };
        format!(
            "SELECT {items} FROM {} WHERE {time} >= {} AND {time} < {}{}{by}",
            table.name,
            up(from).max(i64::MIN.into()),
            up(to).min(i64::MAX.into()),
            table.filter,
            time = table.time
        )
    }

    /// The first, or the last, time of a table in a range.
    async fn end(
        &self,
        session: &mut Session,
        table: &Table,
        range: (i128, i128),
        function: &str,
    ) -> Result<Option<i128>> {
        let sql = self.sql(table, &format!("{function}({})", table.time), range, false);
        let rows = session.rows(&sql).await?;
        match rows.rows.first() {
            Some(row) if !row.first().is_none_or(serde_json::Value::is_null) => {
                let time = nanoseconds(Rows::text(row, 0)).ok_or_else(|| {
                    Error::new(ErrorKind::Protocol, format!("the server gives a time that is none: {sql}"))
                });
                time.map(Some)
            }
            // Of no rows there is none; and an answer whose first piece has failed looks the same.
            _ => match self.count(session, table, range).await? {
                0 => Ok(None),
                count => {
                    let text = format!(
                        "the server counts {count} rows of {}, and tells no time of them",
                        table.name
                    );
                    Err(Error::new(ErrorKind::Unavailable, text)
                        .with_hint("its log, or taosAdapter's, may tell of a fault"))
                }
            },
        }
    }

    /// Rows before 1677 and after 2262, which nanoseconds do not reach, are told instead of left out.
    async fn check_outside(&self, session: &mut Session, table: &Table, window: &Window) -> Result<()> {
        if table.unit == TimeUnit::Nanosecond {
            return Ok(());
        }
        let unit = i128::from(table.unit.nanos());
        let (first, last) = bounds_of(&Window::default());
        let mut conditions = Vec::new();
        if window.from.is_none() && window.begin.is_none() {
            conditions.push(format!("{} < {}", table.time, -(-first).div_euclid(unit)));
        }
        if window.upto.is_none() && window.below.is_none() && window.end.is_none() {
            conditions.push(format!("{} >= {}", table.time, -(-last).div_euclid(unit)));
        }
        for condition in conditions {
            let sql = format!("SELECT COUNT(*) FROM {} WHERE {condition}{}", table.name, table.filter);
            let count = session.count(&sql).await?;
            if count > 0 {
                let text = format!("{count} rows of {} lie before 1677 or after 2262", table.info.asked);
                return Err(Error::new(ErrorKind::Unsupported, text).with_hint(
                    "nanoseconds reach from 1677 to 2262 only: leave them out with begin= and end=",
                ));
            }
        }
        Ok(())
    }

    async fn count(&self, session: &mut Session, table: &Table, range: (i128, i128)) -> Result<u64> {
        session.count(&self.sql(table, "COUNT(*)", range, false)).await
    }

    /// Sends the rows of a range; returns how many there were.
    async fn rows(
        &self,
        session: &mut Session,
        table: &Table,
        range: (i128, i128),
        sending: &mut Sending<'_>,
    ) -> Result<u64> {
        let sql = self.sql(table, &table.items, range, true);
        tracing::debug!(%sql, "asking");
        let mut stream = RowStream::open(session, sql).await?;
        let mut columns = Columns::new(table);
        let (mut rows, mut bytes) = (0, 0);
        while let Some(row) = stream.next().await? {
            bytes += row.len() as u64 + 1;
            columns.push(row)?;
            rows += 1;
            if columns.rows() >= self.options.batch_rows || columns.bytes() >= self.options.batch_bytes {
                sending.push(columns.finish(std::mem::take(&mut bytes))?).await?;
            }
        }
        if !columns.is_empty() {
            sending.push(columns.finish(bytes)?).await?;
        }
        Ok(rows)
    }
}

/// Whether rows may still be written in the order of time up to here.
fn is_young(to: i128) -> bool {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.is_ok_and(|now| to > now.as_nanos() as i128 - YOUNG)
}

impl SeriesDatabase for Cursor {
    fn what(&self) -> Result<serde_json::Value> {
        let options = &self.options;
        let connect = &options.connect;
        let (begin, end) = (&options.cursor.begin, &options.cursor.end);
        serde_json::to_value((
            &connect.database,
            begin,
            end,
            &options.tables,
            &options.columns,
            &options.filter,
        ))
        .map_err(|error| Error::new(ErrorKind::Internal, "cannot write a cursor down").with_source(error))
    }

    fn cursor(&self) -> &CursorOptions {
        &self.options.cursor
    }

    fn unit(&self) -> i128 {
        self.windows.unit()
    }

    fn notes<'a>(&self, _: &'a Table) -> &'a [String] {
        &[]
    }
}

impl Database for Cursor {
    type Session = Session;
    type Table = Table;

    async fn session(&self) -> Result<Session> {
        Session::new(&self.options.connect)
    }

    async fn tables(&self, session: &mut Session, strict: bool) -> Result<Vec<Arc<Table>>> {
        self.own_tables(session, strict, &|_| true).await
    }

    async fn own_tables(
        &self,
        session: &mut Session,
        strict: bool,
        own: &(dyn Fn(&TableId) -> bool + Send + Sync),
    ) -> Result<Vec<Arc<Table>>> {
        let unit = Self::unit(self, session).await?;
        let mut tables = Vec::new();
        for (name, children) in asked(session, &self.options, strict).await? {
            if !own(&TableId::new(name.as_str())) {
                continue;
            }
            let made = table(session, &self.options, &name, children.as_deref(), unit).await;
            tables
                .extend(made.map_err(|error| error.context(format!("cannot read {name:?}")))?.map(Arc::new));
        }
        Ok(tables)
    }

    async fn clock(&self, session: &mut Session) -> Result<Clock> {
        let rows = session.rows("SELECT NOW()").await?;
        let now = rows.rows.first().and_then(|row| nanoseconds(Rows::text(row, 0)));
        let utc = now.ok_or_else(|| Error::new(ErrorKind::Protocol, "the server does not tell the time"))?;
        Ok(Clock { utc, local: utc })
    }

    async fn ends(&self, session: &mut Session, table: &Table) -> Result<Option<(i128, i128)>> {
        let (begin, end) = (self.options.cursor.begin.clone(), self.options.cursor.end.clone());
        let range = bounds_of(&Window { begin, end, ..Window::default() });
        let Some(first) = self.end(session, table, range, "FIRST").await? else { return Ok(None) };
        Ok(self.end(session, table, range, "LAST").await?.map(|last| (first, last)))
    }

    async fn read(
        &self,
        session: &mut Session,
        table: &Table,
        window: &Window,
        pages: mpsc::Sender<Page>,
    ) -> Result<()> {
        let name = table.info.asked.name();
        let context = |error: Error| match Refusal::of(&error).map(Refusal::class) {
            // Dropped, or altered, since it was looked at.
            Some(RefusalClass::NoTable | RefusalClass::NoColumn) => {
                error.context(format!("{name:?} has changed"))
            }
            _ => error.context(format!("cannot read {name:?}")),
        };
        self.check_outside(session, table, window).await.map_err(context)?;
        let (mut at, stop) = bounds_of(window);
        let (mut jump, mut patience, mut looks) = (true, PATIENCE, PATIENCE);
        while at < stop {
            if jump {
                // However long the silence is, it takes one look.
                match self.end(session, table, (at, stop), "FIRST").await.map_err(context)? {
                    Some(first) => at = first.max(at),
                    None => return Ok(()),
                }
            }
            let to = self.windows.end(name, at, stop);
            let mut count = self.count(session, table, (at, to)).await.map_err(context)?;
            if count > MOST_ROWS && self.windows.shorten(name, to - at) {
                continue;
            }
            let mut sending = Sending::new(&pages);
            let came = self.rows(session, table, (at, to), &mut sending).await.map_err(context)?;
            if came >= count && looks > 0 && is_young(to) {
                // Rows that came since they were counted could stand for those that an answer was cut by.
                looks -= 1;
                count = self.count(session, table, (at, to)).await.map_err(context)?;
            }
            if came >= count {
                sending.finish().await?;
                if to < stop {
                    self.windows.read(name, came);
                }
                (at, jump, patience, looks) = (to, came == 0, PATIENCE, PATIENCE);
                continue;
            }
            // Rows were deleted since they were counted; or taosAdapter has ended the answer early, which it does without a word.
            let before = at;
            at = sending.resume().unwrap_or(at);
            tracing::warn!(
                table = name,
                count,
                came,
                "an answer had fewer rows than there are: reading on from its last time"
            );
            jump = false;
            if at > before {
                patience = PATIENCE;
                continue;
            }
            patience -= 1;
            if patience == 0 {
                let text = format!("the server counts {count} rows of {name}, and gives {came} of them");
                return Err(Error::new(ErrorKind::Unavailable, text).with_hint(
                    "taosAdapter's restfulRowLimit cuts answers: raise it or set it to -1; its log may tell of another fault",
                ));
            }
        }
        Ok(())
    }
}
