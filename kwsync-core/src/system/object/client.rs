//! What source and sink ask of a bucket.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    BackoffConfig, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig,
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::error::fault;
use super::http::Connector;
use super::{Addressing, Credentials, ObjectOptions, ObjectStream};
use crate::{Error, ErrorKind, Result, Retry};

/// Tries of one request, beyond the first; the job's own tries come on top.
const RETRIES: usize = 3;
/// How long an answer that is no object may take with all its tries.
const PATIENCE: Duration = Duration::from_secs(300);

/// An object as a listing tells of it, and what it is known by: another object of this key has another ETag or size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectInfo {
    /// The key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// The ETag with its quotes, where the service tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// When it was written, in seconds since 1970.
    pub modified: i64,
}

impl ObjectInfo {
    fn of(meta: ObjectMeta) -> Self {
        Self {
            key: meta.location.into(),
            size: meta.size,
            etag: meta.e_tag,
            modified: meta.last_modified.timestamp(),
        }
    }

    /// What differs in `now`, an object of the same key; `None` if it is the same one.
    pub fn change(&self, now: &Self) -> Option<String> {
        if self.size != now.size {
            return Some(format!("it has {} bytes instead of {}", now.size, self.size));
        }
        match (&self.etag, &now.etag) {
            (Some(old), Some(new)) if old != new => Some(format!("its ETag is {new} instead of {old}")),
            (Some(_), Some(_)) => None,
            _ if self.modified != now.modified => Some("it was written at another time".to_owned()),
            _ => None,
        }
    }
}

/// An upload in parts: nothing of it is visible before it is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// The key that the object will have.
    pub key: String,
    /// What the service calls the upload.
    pub id: String,
}

/// A part that the service holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedPart(String);

/// A client of one bucket; clones share their connections.
#[derive(Clone)]
pub struct ObjectClient {
    store: Arc<AmazonS3>,
    options: Arc<ObjectOptions>,
}

// The library's own form would tell more than it should.
impl fmt::Debug for ObjectClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectClient").field("options", &self.options).finish_non_exhaustive()
    }
}

impl ObjectClient {
    /// A client. Nothing is connected yet.
    ///
    /// # Errors
    /// `Config` for authorities that are none; `Tls` where the machine trusts none.
    pub fn new(options: ObjectOptions) -> Result<Self> {
        let mut builder = match &options.credentials {
            Credentials::Environment => AmazonS3Builder::from_env(),
            _ => AmazonS3Builder::new(),
        };
        builder = match &options.credentials {
            Credentials::Key { id, key, token } => {
                let builder = builder.with_access_key_id(id).with_secret_access_key(key.expose());
                match token {
                    Some(token) => builder.with_token(token.expose()),
                    None => builder,
                }
            }
            Credentials::Anonymous => builder.with_skip_signature(true),
            Credentials::Environment | Credentials::Instance => builder,
        };
        let is_virtual = options.addressing == Addressing::Virtual;
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(match endpoint.split_once("://") {
                Some((scheme, host)) if is_virtual => format!("{scheme}://{}.{host}", options.bucket),
                _ => endpoint.clone(),
            });
        }
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        };
        let store = builder
            .with_bucket_name(&options.bucket)
            .with_region(&options.region)
            .with_virtual_hosted_style_request(is_virtual)
            // What does not know conditions, as OSS, is never asked for any.
            .with_conditional_put(S3ConditionalPut::Disabled)
            .with_disable_bulk_delete(true)
            .with_retry(RetryConfig { backoff, max_retries: RETRIES, retry_timeout: Duration::from_secs(60) })
            .with_http_connector(Connector::new(&options)?)
            .build()
            .map_err(|error| fault("the client cannot be set up", &options.bucket, error))?;
        Ok(Self { store: Arc::new(store), options: Arc::new(options) })
    }

    /// How the bucket is reached.
    pub fn options(&self) -> &ObjectOptions {
        &self.options
    }

    /// An object as a person names it: `s3://bucket/key`.
    pub fn place(&self, key: &str) -> String {
        self.options.place(key)
    }

    pub(super) fn fault(&self, doing: &str, key: &str, error: object_store::Error) -> Error {
        fault(&format!("cannot {doing} {}", self.place(key)), &self.options.bucket, error)
    }

    /// What is small comes soon, or never.
    async fn patient<T>(&self, doing: &str, key: &str, asking: impl Future<Output = T>) -> Result<T> {
        timeout(PATIENCE, asking).await.map_err(|_| {
            let text = format!("cannot {doing} {}: no answer within {PATIENCE:?}", self.place(key));
            Error::new(ErrorKind::Timeout, text)
        })
    }

    fn path(&self, key: &str) -> Result<Path> {
        Path::parse(key).ok().filter(|path| path.as_ref() == key).ok_or_else(|| {
            let text = format!("{} is no key that can be read or written here", self.place(key));
            Error::config(text).with_hint("a key has no empty part: neither a//b nor /a nor a/")
        })
    }

    /// Whether the bucket is there and may be listed.
    ///
    /// # Errors
    /// What the service says.
    pub async fn check(&self) -> Result<()> {
        let first = PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() };
        match self.patient("list", "", self.store.list_paginated(None, first)).await? {
            // A key that cannot be named is no fault of the bucket.
            Ok(_) | Err(object_store::Error::InvalidPath { .. }) => Ok(()),
            Err(error) => Err(self.fault("list", "", error)),
        }
    }

    /// The objects whose keys begin with `prefix`, literally, in the order of the service, which is that of their bytes; those
    /// behind a further `/` only if it is `deep`. Objects without bytes, as the consoles make them for folders, are left out.
    ///
    /// # Errors
    /// What the service says; `Unsupported` where it tells of a key that cannot be named.
    pub async fn list(&self, prefix: &str, deep: bool) -> Result<Vec<ObjectInfo>> {
        let mut found = Vec::new();
        let mut page_token = None;
        loop {
            let options = PaginatedListOptions {
                delimiter: (!deep).then(|| "/".into()),
                page_token: page_token.take(),
                ..PaginatedListOptions::default()
            };
            let listing =
                self.store.list_paginated(Some(prefix).filter(|prefix| !prefix.is_empty()), options);
            let page = self.patient("list", prefix, listing).await?;
            let page = page.map_err(|error| self.fault("list", prefix, error))?;
            let objects = page.result.objects.into_iter().map(ObjectInfo::of);
            found.extend(objects.filter(|object| object.size > 0 && object.key.starts_with(prefix)));
            page_token = page.page_token;
            if page_token.is_none() {
                return Ok(found);
            }
        }
    }

    /// What is known of an object; `None` if there is none of this key.
    ///
    /// # Errors
    /// What the service says; `Config` for a key that cannot be named.
    pub async fn head(&self, key: &str) -> Result<Option<ObjectInfo>> {
        match self.patient("read", key, self.store.head(&self.path(key)?)).await? {
            Ok(meta) => Ok(Some(ObjectInfo::of(meta))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => {
                let error = self.fault("read", key, error);
                // What is refused here is refused without a word, and elsewhere with some.
                if error.code().is_some() || error.retry() != Retry::Never {
                    return Err(error);
                }
                self.check().await?;
                Err(error)
            }
        }
    }

    /// Reads an object from byte `from` to its end, as a stream that takes itself up again where it broke off.
    ///
    /// # Errors
    /// What the service says; `NotFound` if the object is gone or another one now.
    pub async fn open(&self, object: &ObjectInfo, from: u64) -> Result<ObjectStream> {
        ObjectStream::open(self.clone(), object.clone(), from..object.size).await
    }

    /// Bytes of an object.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn range(&self, object: &ObjectInfo, range: std::ops::Range<u64>) -> Result<Bytes> {
        let length = range.end.saturating_sub(range.start);
        let mut stream = ObjectStream::open(self.clone(), object.clone(), range).await?;
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        while let Some(piece) = stream.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.into())
    }

    pub(super) async fn get(
        &self,
        object: &ObjectInfo,
        range: std::ops::Range<u64>,
    ) -> Result<object_store::GetResult> {
        let options =
            GetOptions::new().with_range(Some(GetRange::Bounded(range))).with_if_match(object.etag.clone());
        let result = self.store.get_opts(&self.path(&object.key)?, options).await;
        let changed = |how: &str| {
            let text = format!("{} was changed since the job began: {how}", self.place(&object.key));
            Err(Error::new(ErrorKind::NotFound, text)
                .with_hint("put the old object back, or begin anew with --restart or another --job"))
        };
        match result {
            Ok(got) => match object.change(&ObjectInfo::of(got.meta.clone())) {
                Some(how) => changed(&how),
                None => Ok(got),
            },
            Err(object_store::Error::Precondition { .. }) => changed("it has another ETag"),
            Err(error) => Err(self.fault("read", &object.key, error)),
        }
    }

    /// A small object as a whole; `None` if there is none of this key.
    ///
    /// # Errors
    /// What the service says.
    pub async fn read_small(&self, key: &str) -> Result<Option<Bytes>> {
        let path = self.path(key)?;
        let reading = async { self.store.get(&path).await?.bytes().await };
        match self.patient("read", key, reading).await? {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.fault("read", key, error)),
        }
    }

    /// Writes a small object at once.
    ///
    /// # Errors
    /// What the service says.
    pub async fn write_small(&self, key: &str, bytes: impl Into<Bytes>) -> Result<()> {
        let path = self.path(key)?;
        let writing = self.store.put(&path, PutPayload::from(bytes.into()));
        let written = self.patient("write", key, writing).await?;
        written.map(drop).map_err(|error| self.fault("write", key, error))
    }

    /// Removes an object, unless it is gone.
    ///
    /// # Errors
    /// What the service says.
    pub async fn delete(&self, key: &str) -> Result<()> {
        match self.store.delete(&self.path(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.fault("remove", key, error)),
        }
    }

    /// Begins an upload in parts.
    ///
    /// # Errors
    /// What the service says.
    pub async fn begin_upload(&self, key: &str) -> Result<Upload> {
        let path = self.path(key)?;
        let id = self.patient("write", key, self.store.create_multipart(&path)).await?;
        let id = id.map_err(|error| self.fault("write", key, error))?;
        Ok(Upload { key: key.to_owned(), id })
    }

    /// Uploads part `number`, from 0; each but the last has 5 MiB or more.
    ///
    /// # Errors
    /// What the service says; `Fenced` if somebody has aborted the upload.
    pub async fn upload_part(
        &self,
        upload: &Upload,
        number: usize,
        pieces: Vec<Bytes>,
    ) -> Result<UploadedPart> {
        let payload: PutPayload = pieces.into_iter().collect();
        let part = self.store.put_part(&self.path(&upload.key)?, &upload.id, number, payload).await;
        part.map(|part| UploadedPart(part.content_id)).map_err(|error| self.upload_fault(upload, error))
    }

    /// Makes the object of all `parts`, in order: it is visible now. The key must be one that nobody else writes.
    ///
    /// # Errors
    /// What the service says; `Fenced` if somebody has aborted the upload.
    pub async fn complete_upload(&self, upload: &Upload, parts: Vec<UploadedPart>) -> Result<()> {
        let parts = parts.into_iter().map(|part| PartId { content_id: part.0 }).collect();
        let path = self.path(&upload.key)?;
        let completing = self.store.complete_multipart(&path, &upload.id, parts);
        match self.patient("write", &upload.key, completing).await? {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = self.upload_fault(upload, error);
                // An answer that was lost: nobody else makes an object of this key.
                match self.head(&upload.key).await {
                    Ok(Some(_)) => Ok(()),
                    _ => Err(error),
                }
            }
        }
    }

    /// Gives an upload up, unless it is gone or complete. Where the access key may not, a warning says so: some services say the
    /// same of an upload that is gone.
    ///
    /// # Errors
    /// What else the service says.
    pub async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        let path = self.path(&upload.key)?;
        let aborting = self.store.abort_multipart(&path, &upload.id);
        match self.patient("give up the upload of", &upload.key, aborting).await? {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => {
                let error = self.fault("give up the upload of", &upload.key, error);
                if error.kind() != ErrorKind::Permission {
                    return Err(error);
                }
                if let Ok(Some(_)) = self.head(&upload.key).await {
                    return Ok(());
                }
                tracing::warn!(%error, "an upload that is not complete may be left behind");
                Ok(())
            }
        }
    }

    fn upload_fault(&self, upload: &Upload, error: object_store::Error) -> Error {
        let made = self.fault("write", &upload.key, error);
        if made.code() != Some("NoSuchUpload") {
            return made;
        }
        Error::new(
            ErrorKind::Fenced,
            format!("the upload of {} was given up by somebody else", self.place(&upload.key)),
        )
        .with_source(made)
        .with_hint(
            "a later run of the job has taken over, or a rule of the bucket removes uploads that take long",
        )
    }
}
