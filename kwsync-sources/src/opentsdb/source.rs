//! Splits of metrics, and readers for them.

use std::sync::Arc;

use kwsync_core::{Reader, Result, Schema, Source, SourceBatch, Split, SplitPosition, TableId};

use super::config::OpenTsdbOptions;
use super::cursor::Cursor;
use crate::relational::Batches;
use crate::series::Splitting;

/// Metrics of OpenTSDB.
///
/// # Examples
/// ```no_run
/// use kwsync_core::Source;
/// use kwsync_core::config::{Dsn, Params};
/// use kwsync_sources::opentsdb::{OpenTsdbOptions, OpenTsdbSource, PARAMS};
///
/// # async fn read() -> kwsync_core::Result<()> {
/// let dsn: Dsn = "opentsdb+http://localhost:4242/?metrics=sys.cpu&beginTime=2024-01-01&endTime=2024-02-01".parse()?;
/// let params = Params::parse("opentsdb", PARAMS, dsn.params())?;
/// let source = OpenTsdbSource::new(OpenTsdbOptions::from_dsn(&dsn, &params)?);
/// println!("{} pieces", source.splits(2, &[]).await?.len());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct OpenTsdbSource {
    splitting: Splitting<Cursor>,
}

/// Reads one split of an [`OpenTsdbSource`].
#[derive(Debug)]
pub struct OpenTsdbReader {
    batches: Batches,
}

impl OpenTsdbSource {
    /// A source with the options given. Nothing is connected yet.
    pub fn new(options: OpenTsdbOptions) -> Self {
        Self { splitting: Splitting::new(Cursor::new(options)) }
    }
}

impl Source for OpenTsdbSource {
    type Reader = OpenTsdbReader;

    fn notes(&self) -> Vec<String> {
        self.splitting.notes()
    }

    fn tables(&self) -> Vec<(TableId, Arc<Schema>)> {
        self.splitting.tables()
    }

    async fn splits(&self, lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
        self.splitting.splits(lanes, known).await
    }

    async fn open(&self, split: &Split, at: Option<&SplitPosition>) -> Result<OpenTsdbReader> {
        Ok(OpenTsdbReader { batches: self.splitting.open(split, at)? })
    }
}

impl Reader for OpenTsdbReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        self.batches.next().await
    }

    fn is_interruptible(&self) -> bool {
        true
    }
}
