//! The blocks of an answer as batches.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray};
use bytes::{Buf, Bytes};
use kwsync_core::{
    Error, ErrorKind, Input, Origin, Position, RecordRef, Reject, Result, Segment, Stage, TableId,
};

use super::arrays::{self, Bad};
use super::config::ClickHouseOptions;
use super::native::{Blocks, Field};
use crate::series::Answer;

/// Rows as columns; those that were refused are left out.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) arrays: Vec<ArrayRef>,
    pub(super) origin: Origin,
    pub(super) rejects: Vec<Reject>,
    /// What the last column has in the rows that were refused, in their order.
    pub(super) refused: Option<ArrayRef>,
    /// Those that were refused among them.
    pub(super) rows: usize,
    /// Bytes that came for them.
    pub(super) bytes: u64,
}

/// An answer on its way into batches.
#[derive(Debug)]
pub(super) struct Batching {
    answer: Answer,
    blocks: Blocks,
    fields: Arc<[Field]>,
    binary: Vec<bool>,
    table: TableId,
    input: Arc<Input>,
    record: u64,
    chunk: Bytes,
    ended: bool,
    most: (usize, usize),
    bytes: u64,
}

impl Batching {
    /// The rows of an answer whose columns are `fields`.
    pub(super) fn new(
        answer: Answer,
        fields: &Arc<[Field]>,
        options: &ClickHouseOptions,
        table: &TableId,
        input: Arc<Input>,
    ) -> Self {
        Self {
            answer,
            blocks: Blocks::new(fields),
            fields: Arc::clone(fields),
            binary: fields.iter().map(|field| options.is_binary(&field.name)).collect(),
            table: table.clone(),
            input,
            record: 0,
            chunk: Bytes::new(),
            ended: false,
            most: (options.batch_rows, options.batch_bytes),
            bytes: 0,
        }
    }

    /// The next batch, or none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Made>> {
        while !self.ended {
            if self.chunk.is_empty() {
                match self.answer.chunk().await? {
                    Some(chunk) => {
                        self.bytes += chunk.len() as u64;
                        self.chunk = chunk;
                    }
                    None => {
                        self.blocks.finish()?;
                        self.ended = true;
                        break;
                    }
                }
            }
            let (used, block) = self.blocks.push(&self.chunk)?;
            self.chunk.advance(used);
            let (rows, bytes) = self.most;
            if block && (self.blocks.rows() >= rows || self.blocks.bytes() >= bytes) {
                return self.made().map(Some);
            }
        }
        if self.blocks.rows() > 0 { self.made().map(Some) } else { Ok(None) }
    }

    fn made(&mut self) -> Result<Made> {
        let rows = self.blocks.rows();
        let bytes = std::mem::take(&mut self.bytes);
        let nodes = self.blocks.take();
        let mut faults: BTreeMap<usize, (usize, Bad)> = BTreeMap::new();
        let mut made = Vec::with_capacity(nodes.len());
        for (at, (node, field)) in nodes.iter().zip(self.fields.iter()).enumerate() {
            let mut bad = Vec::new();
            let binary = self.binary.get(at).copied().unwrap_or(false);
            made.push(arrays::column(node, &field.is, binary, &mut bad)?);
            for one in bad {
                faults.entry(one.row).or_insert((at, one));
            }
        }
        let first = self.record + 1;
        self.record += rows as u64;
        let rejects: Vec<Reject> = faults
            .values()
            .map(|(at, bad)| {
                let name = self.fields.get(*at).map(|field| &*field.name).unwrap_or_default();
                Reject {
                    position: Position { record: first + bad.row as u64, ..Position::default() },
                    split: self.input.split().to_owned(),
                    stage: Stage::Decode,
                    format: "clickhouse".to_owned(),
                    table: Some(self.table.clone()),
                    code: bad.code.to_owned(),
                    reason: format!("column {name:?}: {}", bad.reason),
                    raw: Bytes::from(arrays::shown(&made, bad.row, *at, &bad.value)),
                    message: None,
                    at: None,
                }
            })
            .collect();
        let mut refused = None;
        if !faults.is_empty() {
            let failed = |error| Error::new(ErrorKind::Internal, "cannot filter a batch").with_source(error);
            if let Some(last) = made.last() {
                let out: BooleanArray = (0..rows).map(|row| Some(faults.contains_key(&row))).collect();
                refused = Some(arrow_select::filter::filter(last.as_ref(), &out).map_err(failed)?);
            }
            let keep: BooleanArray = (0..rows).map(|row| Some(!faults.contains_key(&row))).collect();
            for array in &mut made {
                *array = arrow_select::filter::filter(array.as_ref(), &keep).map_err(failed)?;
            }
        }
        let refs = (0..rows)
            .filter(|row| !faults.contains_key(row))
            .map(|row| RecordRef { record: row as u32, ..RecordRef::default() })
            .collect();
        let base = Position { record: first, ..Position::default() };
        let segment = Segment { input: Arc::clone(&self.input), bytes: None, base };
        Ok(Made { arrays: made, origin: Origin::new([segment], refs), rejects, refused, rows, bytes })
    }
}
