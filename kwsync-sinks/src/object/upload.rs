//! The upload of one object.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kwsync_core::system::object::{Upload, UploadedPart};
use kwsync_core::{Error, ErrorKind, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::session::Session;

/// An upload that has all its parts and waits for its commit.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) upload: Upload,
    pub(super) parts: Vec<UploadedPart>,
}

/// An object on its way, several parts at once. Dropped, it uploads no more.
#[derive(Debug)]
pub(super) struct Uploading {
    session: Arc<Session>,
    lane: usize,
    key: String,
    upload: Option<Upload>,
    /// Parts on their way, and those that are there.
    under_way: JoinSet<Result<(usize, UploadedPart)>>,
    parts: BTreeMap<usize, UploadedPart>,
    next: usize,
}

impl Uploading {
    /// Nothing is asked of the service yet.
    pub(super) fn new(session: Arc<Session>, lane: usize, key: String) -> Self {
        Self { session, lane, key, upload: None, under_way: JoinSet::new(), parts: BTreeMap::new(), next: 0 }
    }

    /// Uploads a part behind those before, as soon as one of the `workers` is free.
    pub(super) async fn send(&mut self, pieces: Vec<Bytes>, workers: &Arc<Semaphore>) -> Result<()> {
        let upload = match &self.upload {
            Some(upload) => upload.clone(),
            None => {
                let begun = self.session.begin_upload(self.lane, &self.key).await?;
                self.upload.insert(begun).clone()
            }
        };
        let permit = Arc::clone(workers)
            .acquire_owned()
            .await
            .map_err(|error| Error::new(ErrorKind::Internal, "nobody uploads any more").with_source(error))?;
        while let Some(ended) = self.under_way.try_join_next() {
            self.keep(ended)?;
        }
        let (client, number) = (self.session.client().clone(), self.next);
        self.next += 1;
        self.under_way.spawn(async move {
            let part = client.upload_part(&upload, number, pieces).await;
            drop(permit);
            part.map(|part| (number, part))
        });
        Ok(())
    }

    fn keep(&mut self, ended: Result<Result<(usize, UploadedPart)>, tokio::task::JoinError>) -> Result<()> {
        let (number, part) = ended.map_err(|fault| {
            Error::new(ErrorKind::Internal, "the upload of a part broke off").with_source(fault)
        })??;
        self.parts.insert(number, part);
        Ok(())
    }

    /// Waits for all parts; `None` if there are none.
    pub(super) async fn finish(mut self) -> Result<Option<Whole>> {
        while let Some(ended) = self.under_way.join_next().await {
            self.keep(ended)?;
        }
        let parts = std::mem::take(&mut self.parts).into_values().collect();
        Ok(self.upload.take().map(|upload| Whole { upload, parts }))
    }
}
