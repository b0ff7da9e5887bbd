//! Objects as chunks of bytes.

use std::collections::HashMap;
use std::sync::Arc;

use kwsync_core::system::object::{ObjectClient, ObjectInfo};
use kwsync_core::{
    ByteReader, ByteSource, Chunk, Error, ErrorKind, Input, Position, Result, Split, SplitPosition,
};
use serde::{Deserialize, Serialize};

use super::feed::Feed;
use super::{ObjectSourceOptions, select};

/// The bytes of the objects of a selection.
#[derive(Clone, Debug)]
pub struct ObjectSource {
    client: ObjectClient,
    options: ObjectSourceOptions,
}

/// What a position says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Place {
    object: ObjectInfo,
    /// Whether the bytes are counted uncompressed.
    gzip: bool,
    at: Position,
}

impl ObjectSource {
    /// Reads objects of the bucket of `client`. Nothing is asked of it yet.
    pub fn new(client: ObjectClient, options: ObjectSourceOptions) -> Self {
        Self { client, options }
    }
}

/// The splits that are known, and one for each object that is not among them. An object that was changed is refused:
/// what was read of it stays as it was, and nothing of another one of its key is left out silently.
pub(super) fn split(client: &ObjectClient, found: Vec<ObjectInfo>, known: &[Split]) -> Result<Vec<Split>> {
    let mut splits = known.to_vec();
    let known = known.iter().map(|split| object(split).map(|object| (object.key.clone(), object)));
    let known = known.collect::<Result<HashMap<_, _>>>()?;
    for now in found {
        if let Some(object) = known.get(&now.key) {
            if let Some(how) = object.change(&now) {
                let text = format!("{} was changed since the job began: {how}", client.place(&now.key));
                return Err(Error::new(ErrorKind::NotFound, text)
                    .with_hint("put the old object back, or begin anew with --restart or another --job"));
            }
            continue;
        }
        let id = client.place(&now.key);
        let spec = serde_json::to_value(&now).map_err(|error| {
            Error::new(ErrorKind::Internal, "an object cannot be noted").with_source(error)
        })?;
        // What is read is counted uncompressed.
        let bytes = Some(now.size).filter(|_| !now.key.ends_with(".gz"));
        splits.push(Split { spec, bytes, ..Split::whole(id) });
    }
    Ok(splits)
}

/// The object of a split.
pub(super) fn object(split: &Split) -> Result<ObjectInfo> {
    serde_json::from_value(split.spec.clone()).map_err(|error| {
        Error::config(format!("the split `{}` of the checkpoint is not one of objects", split.id))
            .with_source(error)
            .with_hint("the job of this name read something else: use another --job, or --restart")
    })
}

impl ByteSource for ObjectSource {
    type Reader = ObjectReader;

    async fn splits(&self, _lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
        split(&self.client, select::find(&self.client, &self.options.selection).await?, known)
    }

    async fn open(&self, split: &Split, at: Option<&SplitPosition>) -> Result<ObjectReader> {
        let place = match at {
            Some(SplitPosition(json)) => {
                let place = serde_json::from_value::<Place>(json.clone()).map_err(|error| {
                    Error::config(format!("the position of `{}` is not one in an object", split.id))
                        .with_source(error)
                        .with_hint("use another --job, or --restart")
                })?;
                Some(place)
            }
            None => None,
        };
        let object = match &place {
            Some(place) => place.object.clone(),
            None => object(split)?,
        };
        let at = place.as_ref().map_or(Position::START, |place| place.at);
        let gzip = place.map(|place| place.gzip);
        let feed = Feed::open(&self.client, &object, gzip, at.byte, &self.options).await?;
        let input = Input::new(self.client.place(&object.key)).with_split(Arc::clone(&split.id));
        Ok(ObjectReader { feed, begin: Some((Arc::new(input), at)) })
    }
}

/// Reads one split of an [`ObjectSource`].
#[derive(Debug)]
pub struct ObjectReader {
    feed: Feed,
    begin: Option<(Arc<Input>, Position)>,
}

impl ByteReader for ObjectReader {
    async fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        let Some(bytes) = self.feed.next().await? else { return Ok(None) };
        Ok(Some(Chunk { begin: self.begin.take(), ..Chunk::new(bytes) }))
    }

    fn position(&self, at: Position) -> SplitPosition {
        let place = Place { object: self.feed.object().clone(), gzip: self.feed.is_gzip(), at };
        // These are numbers and text: they always can be written down.
        SplitPosition(serde_json::to_value(place).unwrap_or_default())
    }
}
