//! Splits of measurements, and readers for them.

use std::sync::{Arc, Mutex, PoisonError};

use kwsync_core::{Reader, Result, Schema, Source, SourceBatch, Split, SplitPosition, TableId};

use super::config::InfluxOptions;
use super::cursor::{Cursor, Measurement};
use super::server::Session;
use crate::relational::{self, Batches, CursorSpec, Database, Follow};
use crate::series::{Windows, bounds};

/// Measurements of InfluxDB.
///
/// # Examples
/// ```no_run
/// use kwsync_core::config::{Dsn, Params};
/// use kwsync_core::{Reader, Source};
/// use kwsync_sources::influxdb::{InfluxOptions, InfluxSource, PARAMS};
///
/// # async fn read() -> kwsync_core::Result<()> {
/// let dsn: Dsn = "influxdb+http://localhost:8086/?version=1.8&bucket=plant&beginTime=2024-01-01&endTime=2024-02-01".parse()?;
/// let params = Params::parse("influxdb", PARAMS, dsn.params())?;
/// let source = InfluxSource::new(InfluxOptions::from_dsn(&dsn, &params)?);
/// for split in source.splits(1, &[]).await? {
///     let mut reader = source.open(&split, None).await?;
///     while let Some(read) = reader.next().await? {
///         for batch in read.decoded.batches {
///             println!("{} points of {}", batch.rows(), batch.table());
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct InfluxSource {
    cursor: Cursor,
    notes: Mutex<Vec<String>>,
    tables: Mutex<Vec<(TableId, Arc<Schema>)>>,
}

/// Reads one split of an [`InfluxSource`].
#[derive(Debug)]
pub struct InfluxReader {
    batches: Batches,
}

impl InfluxSource {
    /// A source with the options given. Nothing is connected yet.
    pub fn new(options: InfluxOptions) -> Self {
        let windows = Arc::new(Windows::new(options.window));
        Self {
            cursor: Cursor { options: Arc::new(options), windows },
            notes: Mutex::default(),
            tables: Mutex::default(),
        }
    }

    fn learn(&self, measurement: &Measurement) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        for note in &measurement.layout.notes {
            if !notes.contains(note) {
                notes.push(note.clone());
            }
        }
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if tables.iter().all(|(known, _)| *known != measurement.info.table) {
            tables.push((measurement.info.table.clone(), Arc::clone(&measurement.info.schema)));
        }
    }

    /// The pieces of one of so many measurements: ranges of time, if there are too few measurements for the lanes.
    async fn pieces(
        &self,
        session: &mut Session,
        measurement: &Measurement,
        lanes: usize,
        measurements: usize,
    ) -> Result<Vec<Split>> {
        let name = measurement.info.asked.to_string();
        let unit = self.cursor.windows.unit();
        let cut = match lanes {
            0 | 1 => Vec::new(),
            _ => match self.cursor.ends(session, measurement).await? {
                Some((first, last)) => bounds(first, last, unit, lanes, measurements),
                None => Vec::new(),
            },
        };
        let ends: Vec<Option<i128>> =
            [None].into_iter().chain(cut.into_iter().map(Some)).chain([None]).collect();
        let mut splits = Vec::with_capacity(ends.len() - 1);
        for (at, pair) in ends.windows(2).enumerate() {
            let [from, to] = pair else { continue };
            let text = |value: &Option<i128>| value.map(|value| value.to_string());
            let id = if ends.len() == 2 { name.clone() } else { format!("{name}#{}", at + 1) };
            let spec = CursorSpec {
                table: Some(measurement.info.asked.clone()),
                range: Some((text(from), text(to))),
                cursor: self.cursor.what()?,
                ..CursorSpec::default()
            };
            splits.push(spec.into_split(id, false)?);
        }
        Ok(splits)
    }
}

impl Source for InfluxSource {
    type Reader = InfluxReader;

    fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tables(&self) -> Vec<(TableId, Arc<Schema>)> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn splits(&self, lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
        let (options, what) = (&self.cursor.options.cursor, self.cursor.what()?);
        if options.mode.follows() {
            let (splits, measurements) =
                relational::splits(&self.cursor, options, &what, lanes, known).await?;
            measurements.iter().for_each(|measurement| self.learn(measurement));
            return Ok(splits);
        }
        let specs = known.iter().map(|split| CursorSpec::of(split, &what)).collect::<Result<Vec<_>>>()?;
        let mut session = self.cursor.session().await?;
        let mut splits = known.to_vec();
        let measurements = self.cursor.tables(&mut session, known.is_empty()).await?;
        for measurement in &measurements {
            self.learn(measurement);
            if specs.iter().all(|spec| spec.table.as_ref() != Some(&measurement.info.asked)) {
                splits.extend(self.pieces(&mut session, measurement, lanes, measurements.len()).await?);
            }
        }
        Ok(splits)
    }

    async fn open(&self, split: &Split, at: Option<&SplitPosition>) -> Result<InfluxReader> {
        let cursor = self.cursor.clone();
        let spec = CursorSpec::of(split, &cursor.what()?)?;
        let (options, at) = (cursor.options.cursor.clone(), at.cloned());
        let follow = Follow { database: Arc::new(cursor), options, spec };
        Ok(InfluxReader { batches: Batches::of(|sender| async move { follow.run(at, &sender).await }) })
    }
}

impl Reader for InfluxReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        self.batches.next().await
    }

    fn is_interruptible(&self) -> bool {
        true
    }
}
