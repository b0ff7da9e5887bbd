//! Points in the order of time, in windows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use kwsync_core::config::did_you_mean;
use kwsync_core::{Column, DataType, Error, ErrorKind, Result, Role, Schema, TableId, TimeUnit};
use tokio::sync::mpsc;

use super::answer::{Number, Series, milliseconds};
use super::config::OpenTsdbOptions;
use super::server::{MILLI, Session};
use crate::relational::{Clock, CursorOptions, CursorTable, Database, Kind, Page, Window};
use crate::series::{Cell, Columns, Item, SeriesDatabase, TOO_LARGE, Windows, bounds_of, free_name};

/// Makes a point a day of each series, where only the series are asked for, and about when they are.
const DAYS: &str = "1d-max";

/// A metric.
#[derive(Debug)]
pub(super) struct Metric {
    info: CursorTable,
}

impl AsRef<CursorTable> for Metric {
    fn as_ref(&self) -> &CursorTable {
        &self.info
    }
}

/// What is known of a metric.
#[derive(Clone, Debug, Default)]
struct Known {
    tags: BTreeSet<String>,
    /// The first and the last day that had points when this was asked, in nanoseconds.
    ends: Option<(i128, i128)>,
}

/// The metrics of a server.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    pub(super) options: Arc<OpenTsdbOptions>,
    windows: Arc<Windows>,
    known: Arc<Mutex<BTreeMap<String, Known>>>,
}

impl Cursor {
    pub(super) fn new(options: OpenTsdbOptions) -> Self {
        let windows = Arc::new(Windows::new(options.window));
        Self { options: Arc::new(options), windows, known: Arc::default() }
    }

    fn known(&self, metric: &str) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(metric).cloned()
    }

    /// Adds the tags of series to those that a metric is known to have.
    fn learn(&self, metric: &str, series: &[Series], ends: Option<(i128, i128)>) -> Known {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.entry(metric.to_owned()).or_default();
        known.tags.extend(series.iter().flat_map(|series| series.tags.keys()).cloned());
        known.ends = known.ends.or(ends);
        known.clone()
    }

    fn whole(&self) -> (i128, i128) {
        let (begin, end) = (self.options.cursor.begin.clone(), self.options.cursor.end.clone());
        let (from, to) = bounds_of(&Window { begin, end, ..Window::default() });
        (from.max(0), to)
    }

    /// What there is of a metric; none if it has no points in the range that is asked for.
    async fn look(&self, session: &mut Session, metric: &str) -> Result<Option<Known>> {
        if let Some(known) = self.known(metric) {
            return Ok(Some(known));
        }
        let (from, to) = self.whole();
        let series = match session.series(metric, (from, to), Some(DAYS)).await {
            Ok(series) => series,
            // Its tags come with its points, in windows as short as they must be.
            Err(error) if error.code() == Some(TOO_LARGE) => {
                tracing::debug!(metric, %error, "reading without a look at the whole");
                return Ok(Some(self.learn(metric, &[], None)));
            }
            Err(error) => return Err(error),
        };
        let times = || {
            series
                .iter()
                .flat_map(|series| &series.dps.0)
                .map(|(time, _)| i128::from(milliseconds(*time)) * MILLI)
        };
        let Some((first, last)) = times().min().zip(times().max()) else { return Ok(None) };
        const DAY: i128 = 86_400_000 * MILLI;
        let ends = (first.max(from), (last + DAY - 1).min(to - 1));
        Ok(Some(self.learn(metric, &series, Some(ends))))
    }

    /// The table of a metric whose series have these tags, and what its columns hold.
    fn layout(&self, metric: &str, tags: &BTreeSet<String>) -> Result<(TableId, Arc<Schema>, Vec<Item>)> {
        let names = self.options.names.of(metric);
        let mut columns = vec![
            Column::new(names.time, DataType::TimestampTz(TimeUnit::Millisecond))
                .with_role(Role::Timestamp)
                .with_nullable(false),
            Column::new(names.value.as_str(), DataType::Float64),
        ];
        let mut items = vec![Item::Time, Item::Widened(names.value.clone())];
        for tag in tags {
            columns
                .push(Column::new(free_name(tag, &columns, |_| false), DataType::Text).with_role(Role::Tag));
            items.push(Item::Tag(tag.clone()));
        }
        Ok((TableId::new(names.table), Arc::new(Schema::new(columns)?), items))
    }

    /// Metrics of one table and column could not be told apart there. Those that other readers have found count, too.
    fn distinct(&self, metrics: &[Arc<Metric>]) -> Result<()> {
        let known: Vec<String> =
            self.known.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        let mut taken = BTreeMap::new();
        let own = metrics.iter().map(|metric| metric.info.asked.name());
        for name in known.iter().map(String::as_str).chain(own) {
            let names = self.options.names.of(name);
            if let Some(other) = taken.insert((names.table.clone(), names.value), name)
                && other != name
            {
                let text = format!(
                    "the metrics {other:?} and {name:?} would both become the table {:?}",
                    names.table
                );
                return Err(Error::config(text).with_hint(
                    "with metric=verbatim each has a table of its own; or name in metrics= those that are to be read",
                ));
            }
        }
        Ok(())
    }

    fn metric(&self, name: &str, known: &Known) -> Result<Arc<Metric>> {
        let (table, schema, _) = self.layout(name, &known.tags)?;
        let info = CursorTable {
            asked: TableId::new(name),
            table,
            schema,
            column: self.options.names.of(name).time.to_owned(),
            kind: Kind::Timestamp(TimeUnit::Nanosecond, true),
            // As with InfluxDB: what comes at a time that was passed is late.
            unique: true,
        };
        Ok(Arc::new(Metric { info }))
    }

    /// Sends the points of a window; returns how many there were.
    async fn send(
        &self,
        metric: &str,
        series: &[Series],
        (from, to): (i128, i128),
        pages: &mpsc::Sender<Page>,
    ) -> Result<u64> {
        let known = self.learn(metric, series, None);
        let (table, schema, items) = self.layout(metric, &known.tags)?;
        let mut points: Vec<(i64, usize, Number)> = Vec::new();
        for (at, one) in series.iter().enumerate() {
            let times = one.dps.0.iter().map(|(time, number)| (milliseconds(*time), at, *number));
            points.extend(times.filter(|(time, ..)| (from..to).contains(&(i128::from(*time) * MILLI))));
        }
        points.sort_by_key(|(time, at, _)| (*time, *at));
        let mut columns = Columns::new(&table, &schema, &items, "opentsdb");
        let fault = |fault: String| Error::new(ErrorKind::Internal, fault);
        for (time, at, number) in &points {
            columns.begin(i128::from(*time) * MILLI);
            let (float, integer) = match number {
                Number::Int(value) => (Cell::Float(*value as f64), Cell::Int(*value)),
                Number::Float(value) => (Cell::Float(*value), Cell::Null),
            };
            columns.push(float).map_err(fault)?;
            columns.push(integer).map_err(fault)?;
            for tag in &known.tags {
                let value = series.get(*at).and_then(|series| series.tags.get(tag));
                columns.push(value.map_or(Cell::Null, |value| Cell::Text(value))).map_err(fault)?;
            }
            columns.end().map_err(fault)?;
            if columns.rows() >= self.options.batch_rows {
                give(pages, columns.finish(0)?).await?;
            }
        }
        if columns.rows() > 0 {
            give(pages, columns.finish(0)?).await?;
        }
        Ok(points.len() as u64)
    }
}

async fn give(pages: &mpsc::Sender<Page>, page: Page) -> Result<()> {
    let gone = |_| Error::new(ErrorKind::Cancelled, "nobody takes the rows any more");
    pages.send(page).await.map_err(gone)
}

impl SeriesDatabase for Cursor {
    fn what(&self) -> Result<serde_json::Value> {
        let options = &self.options;
        serde_json::to_value((format!("{:?}", options.names), &options.cursor.begin, &options.cursor.end))
            .map_err(|error| Error::new(ErrorKind::Internal, "cannot write a cursor down").with_source(error))
    }

    fn cursor(&self) -> &CursorOptions {
        &self.options.cursor
    }

    fn unit(&self) -> i128 {
        self.windows.unit()
    }

    fn notes<'a>(&self, _: &'a Metric) -> &'a [String] {
        &[]
    }
}

impl Database for Cursor {
    type Session = Session;
    type Table = Metric;

    async fn session(&self) -> Result<Session> {
        Session::open(Arc::clone(&self.options)).await
    }

    async fn tables(&self, session: &mut Session, strict: bool) -> Result<Vec<Arc<Metric>>> {
        self.own_tables(session, strict, &|_| true).await
    }

    async fn own_tables(
        &self,
        session: &mut Session,
        strict: bool,
        own: &(dyn Fn(&TableId) -> bool + Send + Sync),
    ) -> Result<Vec<Arc<Metric>>> {
        let asked = &self.options.metrics;
        let mut names = if asked.is_empty() { session.metrics().await? } else { asked.clone() };
        names.retain(|name| own(&TableId::new(name.as_str())));
        let mut metrics = Vec::new();
        for name in &names {
            match self.look(session, name).await {
                Ok(Some(known)) => metrics.push(self.metric(name, &known)?),
                // It may have some later.
                Ok(None) if !asked.is_empty() => metrics.push(self.metric(name, &Known::default())?),
                Ok(None) => {}
                Err(error) if Session::is_unknown(&error) && (!strict || asked.is_empty()) => {}
                Err(error) if Session::is_unknown(&error) => {
                    let all = session.metrics().await.unwrap_or_default();
                    let meant = did_you_mean(name, all.iter().map(String::as_str));
                    let text = format!("there is no metric {name:?}{meant}");
                    return Err(Error::new(ErrorKind::NotFound, text).with_source(error).with_hint(format!(
                        "the server has {} metrics; names are as they were written, case counts",
                        all.len()
                    )));
                }
                Err(error) => return Err(error.context(format!("cannot look at {name:?}"))),
            }
        }
        self.distinct(&metrics)?;
        Ok(metrics)
    }

    async fn clock(&self, session: &mut Session) -> Result<Clock> {
        let utc = session.clock().await?;
        Ok(Clock { utc, local: utc })
    }

    async fn ends(&self, session: &mut Session, table: &Metric) -> Result<Option<(i128, i128)>> {
        Ok(self.look(session, table.info.asked.name()).await?.and_then(|known| known.ends))
    }

    async fn read(
        &self,
        session: &mut Session,
        table: &Metric,
        window: &Window,
        pages: mpsc::Sender<Page>,
    ) -> Result<()> {
        let name = table.info.asked.name();
        let context = |error: Error| error.context(format!("cannot read {name:?}"));
        let (at, stop) = bounds_of(window);
        // There is no time before 1970 there.
        let mut at = at.max(0);
        if let Some((first, _)) =
            self.known(name).and_then(|known| known.ends).filter(|_| window.from.is_none())
        {
            at = at.max(first);
        }
        while at < stop {
            let to = self.windows.end(name, at, stop);
            match session.series(name, (at, to), None).await {
                Ok(series) => {
                    let rows = self.send(name, &series, (at, to), &pages).await.map_err(context)?;
                    if to < stop {
                        self.windows.read(name, rows);
                    }
                    at = to;
                }
                Err(error) if error.code() == Some(TOO_LARGE) && self.windows.shorten(name, to - at) => {
                    tracing::debug!(metric = name, %error, "asking for less at once");
                }
                Err(error) => return Err(context(error)),
            }
        }
        Ok(())
    }
}
