//! Splits of tables, and readers for them.

use std::sync::Arc;

use kwsync_core::{Reader, Result, Schema, Source, SourceBatch, Split, SplitPosition, TableId};

use super::config::TdengineOptions;
use super::cursor::Cursor;
use crate::relational::Batches;
use crate::series::Splitting;

/// Supertables and tables of TDengine.
///
/// # Examples
/// ```no_run
/// use kwsync_core::Source;
/// use kwsync_core::config::{Dsn, Params};
/// use kwsync_sources::tdengine::{PARAMS, TdengineOptions, TdengineSource};
///
/// # async fn read() -> kwsync_core::Result<()> {
/// let dsn: Dsn = "taos+http://root:taosdata@localhost:6041/power?stables=meters".parse()?;
/// let params = Params::parse("taos", PARAMS, dsn.params())?;
/// let source = TdengineSource::new(TdengineOptions::from_dsn(&dsn, &params)?);
/// println!("{} pieces", source.splits(2, &[]).await?.len());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TdengineSource {
    splitting: Splitting<Cursor>,
}

/// Reads one split of a [`TdengineSource`].
#[derive(Debug)]
pub struct TdengineReader {
    batches: Batches,
}

impl TdengineSource {
    /// A source with the options given. Nothing is connected yet.
    pub fn new(options: TdengineOptions) -> Self {
        Self { splitting: Splitting::new(Cursor::new(options)) }
    }
}

impl Source for TdengineSource {
    type Reader = TdengineReader;

    fn notes(&self) -> Vec<String> {
        self.splitting.notes()
    }

    fn tables(&self) -> Vec<(TableId, Arc<Schema>)> {
        self.splitting.tables()
    }

    async fn splits(&self, lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
        self.splitting.splits(lanes, known).await
    }

    async fn open(&self, split: &Split, at: Option<&SplitPosition>) -> Result<TdengineReader> {
        Ok(TdengineReader { batches: self.splitting.open(split, at)? })
    }
}

impl Reader for TdengineReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        self.batches.next().await
    }

    fn is_interruptible(&self) -> bool {
        true
    }
}
