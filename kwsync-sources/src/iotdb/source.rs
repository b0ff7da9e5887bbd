//! Splits of devices, and readers for them.

use std::sync::{Arc, Mutex, PoisonError};

use kwsync_core::system::iotdb::Session;
use kwsync_core::{Error, Reader, Result, Schema, Source, SourceBatch, Split, SplitPosition, TableId};

use super::catalog::{Known, devices, tables};
use super::config::IotdbOptions;
use super::reading::{Share, run};
use crate::relational::Batches;

/// Devices of Apache IoTDB.
///
/// # Examples
/// ```no_run
/// use kwsync_core::config::{Dsn, Params};
/// use kwsync_core::{Reader, Source};
/// use kwsync_sources::iotdb::{IotdbOptions, IotdbSource, PARAMS};
///
/// # async fn read() -> kwsync_core::Result<()> {
/// let dsn: Dsn = "iotdb://root:root@localhost:6667/?pattern=root.plant&start-time=2024-01-01".parse()?;
/// let params = Params::parse("iotdb", PARAMS, dsn.params())?;
/// let source = IotdbSource::new(IotdbOptions::from_dsn(&dsn, &params)?);
/// for split in source.splits(1, &[]).await? {
///     let mut reader = source.open(&split, None).await?;
///     while let Some(read) = reader.next().await? {
///         for batch in read.decoded.batches {
///             println!("{} rows of {}", batch.rows(), batch.table());
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct IotdbSource {
    options: Arc<IotdbOptions>,
    known: Mutex<Known>,
}

/// Reads one split of an [`IotdbSource`].
#[derive(Debug)]
pub struct IotdbReader {
    batches: Batches,
}

impl IotdbSource {
    /// A source with the options given. Nothing is connected yet.
    pub fn new(options: IotdbOptions) -> Self {
        Self { options: Arc::new(options), known: Mutex::default() }
    }
}

impl Source for IotdbSource {
    type Reader = IotdbReader;

    fn notes(&self) -> Vec<String> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    fn tables(&self) -> Vec<(TableId, Arc<Schema>)> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    async fn splits(&self, lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
        let mut session = Session::connect(&self.options.connect).await?;
        let found = devices(&mut session, &self.options).await?;
        // All is read: a good-bye that gets lost changes nothing.
        drop(session.close().await);
        let (tables, mut notes) = tables(&found)?;
        if found.is_empty() {
            notes.push(format!("no series begins with {} yet", self.options.pattern));
        }
        if self.options.follow {
            notes.push(format!(
                "what is new is found by its time, {:?} behind the clock: rows that are written later than that are missed",
                self.options.lag
            ));
        }
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = (tables, notes);
        if !known.is_empty() {
            return Ok(known.to_vec());
        }
        // A reader that follows never ends, so there is one a lane; others may be more, so that lanes end together.
        let most = if self.options.follow { lanes } else { lanes.saturating_mul(4).min(found.len()) };
        let of = if lanes <= 1 { 1 } else { most.max(1) as u64 };
        (0..of).map(|share| self.split(Share { share, of })).collect()
    }

    async fn open(&self, split: &Split, at: Option<&SplitPosition>) -> Result<IotdbReader> {
        let share: Share = serde_json::from_value(split.spec.clone()).map_err(|error| {
            Error::config(format!("the split {} of this job is none of IoTDB's: {error}", split.id))
                .with_hint("--restart begins anew")
        })?;
        let (options, at) = (Arc::clone(&self.options), at.cloned());
        Ok(IotdbReader { batches: Batches::of(|sender| run(options, share, at, sender)) })
    }
}

impl IotdbSource {
    fn split(&self, share: Share) -> Result<Split> {
        let id = match share.of {
            1 => "devices".to_owned(),
            of => format!("devices {}/{of}", share.share + 1),
        };
        let mut split = Split::whole(id);
        split.spec = serde_json::to_value(share).map_err(|error| {
            Error::new(kwsync_core::ErrorKind::Internal, format!("cannot write down a split: {error}"))
        })?;
        split.continues = self.options.follow;
        Ok(split)
    }
}

impl Reader for IotdbReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        self.batches.next().await
    }

    fn is_interruptible(&self) -> bool {
        true
    }
}
