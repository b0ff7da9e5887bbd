//! Documents of a collection, in the order of a field, as batches.

use std::sync::Arc;

use arrow_array::ArrayRef;
use bytes::Bytes;
use kwsync_core::{
    Error, ErrorKind, Input, Origin, Position, RecordRef, Reject, Result, Segment, Stage, TableId,
};

use super::bson::{Doc, Elem};
use super::columns::{Column, Columns};
use super::config::MongoDbOptions;
use super::session::{Reply, Session};
use super::written::{Key, Written};

/// Documents that the server is asked for at once, at most; it sends up to 16 MiB, and the first time 101 where nothing is said.
const MOST_AT_ONCE: usize = 10_000;

/// Documents that the server hands out page by page.
#[derive(Debug)]
pub(super) struct Find {
    collection: String,
    database: String,
    at_once: i32,
    id: i64,
    command: Option<Written>,
}

impl Find {
    /// Of a collection, those that fulfil all the filters, in the order of a field.
    pub(super) fn new(
        options: &MongoDbOptions,
        collection: &str,
        filters: Vec<Written>,
        order: Option<(&str, i32)>,
    ) -> Self {
        let at_once = options.batch_rows.min(MOST_AT_ONCE) as i32;
        let mut command =
            Written::new().text("find", collection).doc("filter", &all_of(filters)).i32("batchSize", at_once);
        if let Some((field, direction)) = order {
            command = command.doc("sort", &Written::new().i32(field, direction));
        }
        Self {
            collection: collection.to_owned(),
            database: options.database.clone(),
            at_once,
            id: 0,
            command: Some(command),
        }
    }

    pub(super) fn with_limit(mut self, limit: u64) -> Self {
        if limit > 0 {
            self.command =
                self.command.map(|command| command.i64("limit", limit.try_into().unwrap_or(i64::MAX)));
        }
        self
    }

    /// Only some fields; without those of documents within documents.
    pub(super) fn with_fields<'f>(mut self, fields: impl IntoIterator<Item = &'f str>) -> Self {
        let mut names: Vec<&str> =
            fields.into_iter().map(|path| path.split_once('.').map_or(path, |(name, _)| name)).collect();
        names.sort_unstable();
        names.dedup();
        let chosen = names.into_iter().fold(Written::new(), |chosen, name| chosen.i32(name, 1));
        self.command = self.command.map(|command| command.doc("projection", &chosen));
        self
    }

    /// The next page, or none at the end.
    pub(super) async fn page(&mut self, session: &mut Session) -> Result<Option<Reply>> {
        let command = match (self.command.take(), self.id) {
            (Some(command), _) => command,
            (None, 0) => return Ok(None),
            (None, id) => Written::new()
                .i64("getMore", id)
                .text("collection", &self.collection)
                .i32("batchSize", self.at_once),
        };
        let reply = session.command(&command.text("$db", &self.database)).await?;
        let cursor = reply
            .doc()?
            .doc("cursor")?
            .ok_or_else(|| Error::new(ErrorKind::Protocol, "the server's answer has no cursor"))?;
        self.id = match cursor.get("id")? {
            Some(Elem::Int64(id)) => id,
            Some(Elem::Int32(id)) => id.into(),
            _ => 0,
        };
        Ok(Some(reply))
    }
}

/// The documents of a page.
pub(super) fn documents(reply: &Reply) -> Result<impl Iterator<Item = Result<Doc<'_>>>> {
    let cursor = reply.doc()?.doc("cursor")?;
    let page = match cursor {
        Some(cursor) => match cursor.doc("firstBatch")? {
            Some(page) => Some(page),
            None => cursor.doc("nextBatch")?,
        },
        None => None,
    };
    let wrong = || Error::new(ErrorKind::Protocol, "the server's answer has something else than documents");
    Ok(page.into_iter().flat_map(Doc::elems).map(move |found| match found? {
        (_, Elem::Doc(doc)) => Ok(doc),
        _ => Err(wrong()),
    }))
}

/// A condition that all of these make up.
fn all_of(mut filters: Vec<Written>) -> Written {
    match filters.len() {
        0 => Written::new(),
        1 => filters.remove(0),
        _ => Written::new().array("$and", &filters),
    }
}

/// Rows that were made of documents.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) arrays: Vec<ArrayRef>,
    pub(super) origin: Origin,
    pub(super) rejects: Vec<Reject>,
    pub(super) rows: usize,
    pub(super) bytes: u64,
    /// The `_id` of the last document, if it can be a position.
    pub(super) last: Option<Key>,
}

/// Documents on their way into a batch.
pub(super) struct Making {
    columns: Columns,
    table: TableId,
    input: Arc<Input>,
    rejects: Vec<Reject>,
    /// Bytes of what was refused.
    refused: usize,
    refs: Vec<RecordRef>,
    first: u64,
    record: u64,
    bytes: u64,
    last: Option<Key>,
}

impl Making {
    pub(super) fn new(columns: &[Column], strict: bool, table: &TableId, input: Arc<Input>) -> Result<Self> {
        Ok(Self {
            columns: Columns::new(columns, strict)?,
            table: table.clone(),
            input,
            rejects: Vec::new(),
            refused: 0,
            refs: Vec::new(),
            first: 1,
            record: 0,
            bytes: 0,
            last: None,
        })
    }

    pub(super) fn is_full(&self, rows: usize, bytes: usize) -> bool {
        self.columns.rows() + self.rejects.len() >= rows || self.columns.bytes() + self.refused >= bytes
    }

    /// Adds a document; false where it is refused.
    pub(super) fn add(&mut self, doc: Doc<'_>) -> Result<bool> {
        let at = self.record + 1 - self.first;
        self.record += 1;
        self.last = doc.get("_id")?.as_ref().and_then(Key::of);
        let Err(mut fault) = self.columns.push(doc)? else {
            self.refs
                .push(RecordRef { record: u32::try_from(at).unwrap_or(u32::MAX), ..RecordRef::default() });
            return Ok(true);
        };
        let mut raw = String::new();
        Elem::Doc(doc).json(&mut raw)?;
        if fault.code == "bad_utf8"
            && let Some(id) = doc.get("_id")?
        {
            fault.reason.push_str("; _id ");
            id.json(&mut fault.reason)?;
        }
        self.refused += raw.len() + fault.reason.len();
        self.rejects.push(Reject {
            position: Position { record: self.record, ..Position::default() },
            split: self.input.split().to_owned(),
            stage: Stage::Decode,
            format: "mongodb".to_owned(),
            table: Some(self.table.clone()),
            code: fault.code.to_owned(),
            reason: fault.reason,
            raw: Bytes::from(raw),
            message: None,
            at: None,
        });
        Ok(false)
    }

    /// Counts what came for the rows.
    pub(super) fn came(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(super) fn finish(&mut self) -> Made {
        let rows = self.columns.rows() + self.rejects.len();
        let base = Position { record: self.first, ..Position::default() };
        let segment = Segment { input: Arc::clone(&self.input), bytes: None, base };
        self.first = self.record + 1;
        self.refused = 0;
        Made {
            arrays: self.columns.finish(),
            origin: Origin::new([segment], std::mem::take(&mut self.refs)),
            rejects: std::mem::take(&mut self.rejects),
            rows,
            bytes: std::mem::take(&mut self.bytes),
            last: self.last.clone(),
        }
    }
}
