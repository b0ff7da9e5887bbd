//! The boxed twins of the contracts.

use std::any::Any;
use std::sync::Arc;

use super::{BoxFuture, Reader, Source, SourceBatch};
use crate::{Error, Reject, Result, Schema, Split, SplitPosition, TableId};

/// [`Source`] in a box; every source is one.
pub trait DynSource: Send + Sync {
    /// As [`Source::notes`].
    fn notes(&self) -> Vec<String>;

    /// As [`Source::tables`].
    fn tables(&self) -> Vec<(TableId, Arc<Schema>)>;

    /// As [`Source::positions`].
    fn positions(&self) -> Option<Arc<dyn Any + Send + Sync>>;

    /// As [`Source::answers`].
    fn answers(&self) -> bool;

    /// As [`Source::end`].
    fn end<'a>(&'a self, fault: Option<&'a Error>) -> BoxFuture<'a, ()>;

    /// As [`Source::yields_changes`].
    fn yields_changes(&self) -> bool;

    /// As [`Source::preview`].
    fn preview(&self, lanes: usize) -> BoxFuture<'_, Result<Vec<Split>>>;

    /// As [`Source::forget`].
    fn forget(&self) -> BoxFuture<'_, Result<()>>;

    /// As [`Source::splits`].
    fn splits<'a>(&'a self, lanes: usize, known: &'a [Split]) -> BoxFuture<'a, Result<Vec<Split>>>;

    /// As [`Source::open`].
    fn open<'a>(
        &'a self,
        split: &'a Split,
        at: Option<&'a SplitPosition>,
    ) -> BoxFuture<'a, Result<Box<dyn DynReader>>>;
}

/// [`Reader`] in a box; every reader is one.
pub trait DynReader: Send {
    /// As [`Reader::next`].
    fn next(&mut self) -> BoxFuture<'_, Result<Option<SourceBatch>>>;

    /// As [`Reader::is_interruptible`].
    fn is_interruptible(&self) -> bool;

    /// As [`Reader::limit_batches`].
    fn limit_batches(&mut self, rows: usize, bytes: u64);

    /// As [`Reader::take_partial`].
    fn take_partial(&mut self) -> Result<Option<SourceBatch>>;

    /// As [`Reader::last_batch`].
    fn last_batch(&mut self) -> Result<Option<SourceBatch>>;

    /// As [`Reader::refused`].
    fn refused(&mut self, rejects: &[Reject]);

    /// As [`Reader::commit`].
    fn commit<'a>(&'a mut self, position: &'a SplitPosition) -> BoxFuture<'a, Result<()>>;

    /// As [`Reader::start_parts`].
    fn start_parts(&mut self, parts: Vec<(Arc<str>, Option<SplitPosition>)>) -> Result<()>;

    /// As [`Reader::commit_parts`].
    fn commit_parts<'a>(&'a mut self, parts: &'a [(Arc<str>, SplitPosition)]) -> BoxFuture<'a, Result<()>>;

    /// As [`Reader::release_parts`].
    fn release_parts<'a>(&'a mut self, parts: &'a [Arc<str>]) -> BoxFuture<'a, Result<()>>;

    /// As [`Reader::close`].
    fn close(&mut self) -> BoxFuture<'_, Result<()>>;
}

impl<S: Source> DynSource for S
where
    S::Reader: 'static,
{
    fn notes(&self) -> Vec<String> {
        Source::notes(self)
    }

    fn tables(&self) -> Vec<(TableId, Arc<Schema>)> {
        Source::tables(self)
    }

    fn positions(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Source::positions(self)
    }

    fn answers(&self) -> bool {
        Source::answers(self)
    }

    fn end<'a>(&'a self, fault: Option<&'a Error>) -> BoxFuture<'a, ()> {
        Box::pin(Source::end(self, fault))
    }

    fn yields_changes(&self) -> bool {
        Source::yields_changes(self)
    }

    fn preview(&self, lanes: usize) -> BoxFuture<'_, Result<Vec<Split>>> {
        Box::pin(Source::preview(self, lanes))
    }

    fn forget(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(Source::forget(self))
    }

    fn splits<'a>(&'a self, lanes: usize, known: &'a [Split]) -> BoxFuture<'a, Result<Vec<Split>>> {
        Box::pin(Source::splits(self, lanes, known))
    }

    fn open<'a>(
        &'a self,
        split: &'a Split,
        at: Option<&'a SplitPosition>,
    ) -> BoxFuture<'a, Result<Box<dyn DynReader>>> {
        Box::pin(async move { Ok(Box::new(Source::open(self, split, at).await?) as Box<dyn DynReader>) })
    }
}

impl<R: Reader> DynReader for R {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<SourceBatch>>> {
        Box::pin(Reader::next(self))
    }

    fn is_interruptible(&self) -> bool {
        Reader::is_interruptible(self)
    }

    fn limit_batches(&mut self, rows: usize, bytes: u64) {
        Reader::limit_batches(self, rows, bytes);
    }

    fn take_partial(&mut self) -> Result<Option<SourceBatch>> {
        Reader::take_partial(self)
    }

    fn last_batch(&mut self) -> Result<Option<SourceBatch>> {
        Reader::last_batch(self)
    }

    fn refused(&mut self, rejects: &[Reject]) {
        Reader::refused(self, rejects);
    }

    fn commit<'a>(&'a mut self, position: &'a SplitPosition) -> BoxFuture<'a, Result<()>> {
        Box::pin(Reader::commit(self, position))
    }

    fn start_parts(&mut self, parts: Vec<(Arc<str>, Option<SplitPosition>)>) -> Result<()> {
        Reader::start_parts(self, parts)
    }

    fn commit_parts<'a>(&'a mut self, parts: &'a [(Arc<str>, SplitPosition)]) -> BoxFuture<'a, Result<()>> {
        Box::pin(Reader::commit_parts(self, parts))
    }

    fn release_parts<'a>(&'a mut self, parts: &'a [Arc<str>]) -> BoxFuture<'a, Result<()>> {
        Box::pin(Reader::release_parts(self, parts))
    }

    fn close(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(Reader::close(self))
    }
}
