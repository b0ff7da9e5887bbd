//! The sink.

use std::fmt;
use std::sync::Arc;

use kwsync_core::system::object::ObjectClient;
use kwsync_core::{
    Capabilities, Checkpoint, Delivery, Error, JobId, Lane, Plan, Result, Run, Schema, Sink, TableId,
};
use tokio::sync::{Mutex, OnceCell};

use super::ObjectSinkOptions;
use super::session::Session;
use super::writer::ObjectWriter;
use crate::file::encoded::Encoding;
use crate::file::sink::casts;
use crate::file::{FileFormat, names};

/// Writes each table into objects of its own.
#[derive(Clone, Debug)]
pub struct ObjectSink {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) client: ObjectClient,
    pub(super) encoding: Encoding,
    pub(super) options: ObjectSinkOptions,
    checked: OnceCell<()>,
    session: Mutex<Option<Arc<Session>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("client", &self.client)
            .field("format", &self.encoding.format)
            .finish_non_exhaustive()
    }
}

impl ObjectSink {
    /// Writes into the bucket of `client`. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`Config`](kwsync_core::ErrorKind::Config) for a compression that the format has not.
    pub fn new(client: ObjectClient, format: FileFormat, options: ObjectSinkOptions) -> Result<Self> {
        if !format.takes(options.compression) {
            return Err(Error::config(format!(
                "objects of the format {} cannot be compressed that way",
                format.name()
            ))
            .with_hint(format!("use {}", format.compressions())));
        }
        let encoding = Encoding {
            format,
            compression: options.compression,
            gzip_level: options.gzip_level,
            row_group_rows: options.row_group_rows,
        };
        let (checked, session) = (OnceCell::new(), Mutex::new(None));
        Ok(Self { shared: Arc::new(Shared { client, encoding, options, checked, session }) })
    }
}

impl Shared {
    /// The table's name as part of a key; `None` if it is too long.
    pub(super) fn folder(&self, table: &TableId) -> Option<String> {
        names::folder(table, self.options.hash_names)
    }

    /// Asks once whether the bucket is there.
    async fn check(&self) -> Result<()> {
        self.checked.get_or_try_init(|| self.client.check()).await.copied()
    }

    async fn session(&self, job: &JobId, generation: u64) -> Result<Arc<Session>> {
        let mut held = self.session.lock().await;
        if let Some(session) = held.as_ref().filter(|session| session.is_of(job, generation)) {
            return Ok(Arc::clone(session));
        }
        let session = Session::open(&self.client, &self.options.layout, job, generation).await?;
        Ok(Arc::clone(held.insert(Arc::new(session))))
    }
}

impl Sink for ObjectSink {
    type Writer = ObjectWriter;

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("s3").with_delivery(Delivery::Idempotent)
    }

    async fn plan(&self, table: &TableId, schema: &Arc<Schema>) -> Result<Plan> {
        let Shared { client, encoding, options, .. } = &*self.shared;
        self.shared.check().await?;
        let strategy = format!("{} objects", encoding.format.name());
        let mut plan = Plan::new(table.to_string(), strategy, Delivery::Idempotent);
        plan.notes.push(match self.shared.folder(table) {
            Some(folder) => format!("into {}", client.place(&options.layout.place(&folder))),
            None => {
                "the name is too long for a key: all rows are rejected; names=hash shortens it".to_owned()
            }
        });
        plan.casts = casts(&encoding.format, schema);
        plan.notes.push(
            "a commit that was not recorded before a crash is undone when the job is resumed".to_owned(),
        );
        Ok(plan)
    }

    async fn start(&self, run: &Run) -> Result<()> {
        if run.shared {
            return Err(Error::config("processes that share an input cannot write into one place of a bucket: each would take the job from the other")
                .with_hint("run one process with several lanes (--jobs), or give each its own group and folder"));
        }
        self.shared.check().await
    }

    async fn finish(&self, job: &JobId) -> Result<()> {
        let mut held = self.shared.session.lock().await;
        if let Some(session) = held.as_ref() {
            session.end().await?;
            tracing::debug!(%job, "the state in the bucket is removed");
            *held = None;
        }
        Ok(())
    }

    async fn begin(&self, checkpoint: &Checkpoint) -> Result<Checkpoint> {
        self.shared.session(&checkpoint.job, checkpoint.generation).await?.begin(checkpoint).await?;
        Ok(checkpoint.clone())
    }

    async fn open(&self, lane: &Lane) -> Result<ObjectWriter> {
        let session = self.shared.session(&lane.job, lane.generation).await?;
        // An earlier writer of this lane is gone, and what it had begun with it.
        session.abandon(lane.index).await?;
        Ok(ObjectWriter::new(Arc::clone(&self.shared), session, lane.index))
    }
}
