//! Points in the order of time, in windows.

use std::sync::Arc;

use kwsync_core::config::did_you_mean;
use kwsync_core::{Error, ErrorKind, Result, TableId, TimeUnit};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::config::{InfluxOptions, InfluxVersion};
use super::layout::Layout;
use super::server::Session;
use crate::relational::{Clock, CursorOptions, CursorTable, Database, Kind, Page, Window};
use crate::series::Sending;
use crate::series::{SeriesDatabase, TOO_LARGE, Windows, bounds_of};

/// A measurement.
#[derive(Debug)]
pub(super) struct Measurement {
    pub(super) info: CursorTable,
    pub(super) layout: Layout,
}

impl AsRef<CursorTable> for Measurement {
    fn as_ref(&self) -> &CursorTable {
        &self.info
    }
}

impl Measurement {
    fn new(name: &str, layout: Layout) -> Self {
        let info = CursorTable {
            asked: TableId::new(name),
            table: TableId::new(name),
            schema: Arc::clone(&layout.schema),
            column: "time".to_owned(),
            kind: Kind::Timestamp(TimeUnit::Nanosecond, true),
            // Series share times; but what comes at a time that was passed is late, and is left to the lag: digests of points
            // would change with every field that is new.
            unique: true,
        };
        Self { info, layout }
    }
}

/// The measurements of a bucket.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    pub(super) options: Arc<InfluxOptions>,
    pub(super) windows: Arc<Windows>,
}

impl Cursor {
    /// All that the job asks for.
    fn whole(&self) -> (i128, i128) {
        let (begin, end) = (self.options.cursor.begin.clone(), self.options.cursor.end.clone());
        bounds_of(&Window { begin, end, ..Window::default() })
    }

    /// The keys of a measurement as they are now; in version 2 those of a range, and none if it has no field that is asked for.
    async fn layout(&self, session: &mut Session, name: &str, range: (i128, i128)) -> Result<Option<Layout>> {
        let keys = session.keys(&[name.to_owned()], range).await?;
        match (&self.options.version, keys.get(name)) {
            (InfluxVersion::V1 { .. }, Some(keys)) => Layout::of(name, keys, &self.options.columns).map(Some),
            (InfluxVersion::V2 { .. }, Some(keys)) => Layout::within(name, keys, &self.options.columns),
            (InfluxVersion::V2 { .. }, None) => Ok(None),
            (InfluxVersion::V1 { .. }, None) => {
                Err(Error::new(ErrorKind::NotFound, format!("the measurement {name:?} is gone")))
            }
        }
    }
}

fn is_too_large(error: &Error) -> bool {
    error.code() == Some(TOO_LARGE)
}

impl SeriesDatabase for Cursor {
    fn what(&self) -> Result<serde_json::Value> {
        let options = &self.options;
        // The retention policy, or the organization: a bucket of the same name in another one is another.
        let version = format!("{:?}", options.version);
        let (begin, end) = (&options.cursor.begin, &options.cursor.end);
        serde_json::to_value((&options.bucket, version, begin, end, &options.columns))
            .map_err(|error| Error::new(ErrorKind::Internal, "cannot write a cursor down").with_source(error))
    }

    fn cursor(&self) -> &CursorOptions {
        &self.options.cursor
    }

    fn unit(&self) -> i128 {
        self.windows.unit()
    }

    fn notes<'a>(&self, measurement: &'a Measurement) -> &'a [String] {
        &measurement.layout.notes
    }
}

impl Database for Cursor {
    type Session = Session;
    type Table = Measurement;

    async fn session(&self) -> Result<Session> {
        Session::open(Arc::clone(&self.options)).await
    }

    async fn tables(&self, session: &mut Session, strict: bool) -> Result<Vec<Arc<Measurement>>> {
        self.own_tables(session, strict, &|_| true).await
    }

    async fn own_tables(
        &self,
        session: &mut Session,
        strict: bool,
        own: &(dyn Fn(&TableId) -> bool + Send + Sync),
    ) -> Result<Vec<Arc<Measurement>>> {
        let own = |name: &String| own(&TableId::new(name.as_str()));
        let mut asked = self.options.measurements.clone();
        // Version 1 lists the keys of all at once; version 2 is asked for each.
        let by_name = matches!(self.options.version, InfluxVersion::V2 { .. });
        if asked.is_empty() && by_name {
            asked = session.flux_measurements(self.whole()).await?;
        }
        let all = asked.is_empty() && !by_name;
        asked.retain(own);
        if asked.is_empty() && !all {
            return Ok(Vec::new());
        }
        let found = session.keys(&asked, self.whole()).await?;
        let missing = self.options.measurements.iter().filter(|name| own(name));
        if let Some(missing) = missing.into_iter().find(|name| strict && !found.contains_key(*name)) {
            let all = session.keys(&[], self.whole()).await?;
            let meant = did_you_mean(missing, all.keys().map(String::as_str));
            let text = format!("{:?} has no measurement {missing:?}{meant}", self.options.bucket);
            let hint = match all.len() {
                0 => "there are no points at all: check bucket=, and the retention policy in it".to_owned(),
                many => format!("it has {many}; names are as they were written, case counts"),
            };
            return Err(Error::new(ErrorKind::NotFound, text).with_hint(hint));
        }
        let made = found.iter().filter(|(name, _)| own(name)).map(|(name, keys)| {
            Ok(Arc::new(Measurement::new(name, Layout::of(name, keys, &self.options.columns)?)))
        });
        made.collect()
    }

    async fn clock(&self, session: &mut Session) -> Result<Clock> {
        let utc = session.clock().await?;
        Ok(Clock { utc, local: utc })
    }

    async fn ends(&self, session: &mut Session, table: &Measurement) -> Result<Option<(i128, i128)>> {
        let (from, to) = self.whole();
        let name = table.info.asked.name();
        let looking = async {
            let Some(first) = session.end(name, (from, to), false).await? else { return Ok(None) };
            Ok(session.end(name, (first, to), true).await?.map(|last| (first, last)))
        };
        match looking.await {
            // It is read as a whole, then, in windows as short as they must be.
            Err(error) if is_too_large(&error) => Ok(None),
            ends => ends,
        }
    }

    async fn read(
        &self,
        session: &mut Session,
        table: &Measurement,
        window: &Window,
        pages: mpsc::Sender<Page>,
    ) -> Result<()> {
        let name = table.info.asked.name();
        let context = |error: Error| error.context(format!("cannot read {name:?}"));
        let (mut at, stop) = bounds_of(window);
        // Version 2 lists what a range has.
        let by_range = matches!(self.options.version, InfluxVersion::V2 { .. });
        let keeps = |listed: Instant| !by_range && listed.elapsed() < self.options.cursor.poll_interval;
        let (mut known, mut jump): (Option<(Layout, Instant)>, _) = (None, true);
        let mut looks = true;
        while at < stop {
            if jump && looks {
                // However long the silence is, it takes one look.
                match session.end(name, (at, stop), false).await {
                    Ok(Some(first)) => at = first.max(at),
                    Ok(None) => return Ok(()),
                    // Window by window, then: they can be shorter.
                    Err(error) if is_too_large(&error) => {
                        tracing::debug!(measurement = name, %error, "reading without a look at what lies ahead");
                        looks = false;
                    }
                    Err(error) => return Err(context(error)),
                }
            }
            let to = self.windows.end(name, at, stop);
            // Fields come with points: whoever had listed them before would miss the values of those that are new.
            let layout = match known.take() {
                Some((layout, listed)) if keeps(listed) => (layout, listed),
                _ => match self.layout(session, name, (at, to)).await? {
                    Some(layout) => (layout, Instant::now()),
                    None => {
                        if to < stop {
                            self.windows.read(name, 0);
                        }
                        (at, jump) = (to, true);
                        continue;
                    }
                },
            };
            let (layout, _) = known.insert(layout);
            let mut sending = Sending::new(&pages);
            match session.read(&table.info.table, layout, (at, to), &mut sending).await {
                Ok(rows) => {
                    sending.finish().await?;
                    if to < stop {
                        self.windows.read(name, rows);
                    }
                    jump = rows == 0 || by_range;
                    at = to;
                }
                Err(error) if is_too_large(&error) && self.windows.shorten(name, to - at) => {
                    tracing::debug!(measurement = name, %error, "asking for less at once");
                    at = sending.resume().unwrap_or(at);
                    jump = by_range;
                }
                Err(error) => return Err(context(error)),
            }
        }
        Ok(())
    }
}
