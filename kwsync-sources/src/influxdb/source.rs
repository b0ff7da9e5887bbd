//! Splits of measurements, and readers for them.

use std::sync::Arc;

use kwsync_core::{Reader, Result, Schema, Source, SourceBatch, Split, SplitPosition, TableId};

use super::config::InfluxOptions;
use super::cursor::Cursor;
use crate::relational::Batches;
use crate::series::{Splitting, Windows};

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
    splitting: Splitting<Cursor>,
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
        Self { splitting: Splitting::new(Cursor { options: Arc::new(options), windows }) }
    }
}

impl Source for InfluxSource {
    type Reader = InfluxReader;

    fn notes(&self) -> Vec<String> {
        self.splitting.notes()
    }

    fn tables(&self) -> Vec<(TableId, Arc<Schema>)> {
        self.splitting.tables()
    }

    async fn splits(&self, lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
        self.splitting.splits(lanes, known).await
    }

    async fn open(&self, split: &Split, at: Option<&SplitPosition>) -> Result<InfluxReader> {
        Ok(InfluxReader { batches: self.splitting.open(split, at)? })
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
