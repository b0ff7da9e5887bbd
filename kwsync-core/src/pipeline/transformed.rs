//! What a source returned, behind all transforms and fit for the target.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::Array;

use super::Shared;
use crate::transform::{self, Transform, without, without_column};
use crate::{
    DecodeCounts, Error, ErrorKind, Location, Reject, Result, SourceBatch, SplitPosition, Stage, TableBatch,
};

/// A batch of the source behind all transforms.
pub(super) struct Transformed {
    pub(super) batches: Vec<TableBatch>,
    pub(super) rejects: Vec<Reject>,
    pub(super) counts: DecodeCounts,
    /// Rows as they came from the source.
    pub(super) rows: u64,
    pub(super) filtered: u64,
    pub(super) read: u64,
    /// How far each split or part has come.
    pub(super) reached: Vec<(Arc<str>, SplitPosition)>,
}

impl Transformed {
    pub(super) fn new(shared: &Shared, split: Option<Arc<str>>, batch: SourceBatch) -> Result<Self> {
        let SourceBatch { decoded, position, bytes, parts, commit: _, unfinished: _, assignment: _ } = batch;
        let reached = match split {
            Some(split) => vec![(split, position)],
            None => parts,
        };
        let rows = decoded.batches.iter().map(|batch| batch.rows() as u64).sum();
        let (mut batches, mut rejects, mut filtered) = (decoded.batches, decoded.rejects, 0);
        for transform in &shared.transforms {
            let mut changed = Vec::with_capacity(batches.len());
            for batch in batches {
                let kept = shared.answers.then(|| batch.clone());
                match (apply(transform.as_ref(), batch), kept) {
                    (Ok(made), _) => {
                        changed.extend(made.batches);
                        rejects.extend(made.rejects);
                        filtered += made.filtered;
                    }
                    // One client's columns must not end the job of all others.
                    (Err(error), Some(batch)) if is_misfit(&error) => {
                        for part in by_input(batch)? {
                            match apply(transform.as_ref(), part.clone()) {
                                Ok(made) => {
                                    changed.extend(made.batches);
                                    rejects.extend(made.rejects);
                                    filtered += made.filtered;
                                }
                                Err(error) if is_misfit(&error) => {
                                    let reason = error.message();
                                    let reject =
                                        |row| part.reject(row, Stage::Transform, "cannot_transform", reason);
                                    rejects.extend((0..part.rows()).map(reject));
                                }
                                Err(error) => return Err(error),
                            }
                        }
                    }
                    (Err(error), _) => return Err(error),
                }
            }
            batches = changed;
        }
        Ok(Self { batches, rejects, counts: decoded.counts, rows, filtered, read: bytes, reached })
    }

    /// Makes the target ready for every batch. Where a fault of the data stands in the way, as a name that the target
    /// cannot have, the rows that have that column are refused, or all of them if it is the table; the others go on.
    pub(super) async fn prepare(&mut self, shared: &Shared) -> Result<()> {
        let mut ready = Vec::with_capacity(self.batches.len());
        let mut due: VecDeque<_> =
            std::mem::take(&mut self.batches).into_iter().map(|batch| (batch, !shared.answers)).collect();
        'batches: while let Some((mut batch, is_one)) = due.pop_front() {
            while !shared.is_ready(batch.table(), batch.schema()) {
                let Err(error) = shared.prepare(batch.table(), batch.schema()).await else { break };
                if !concerns_rows(&error, shared.answers) {
                    return Err(error);
                }
                let named = error.location().and_then(Location::column);
                let column = named.and_then(|name| batch.schema().index_of(name));
                if column.is_none() && !is_one {
                    // Whose fault it is shows when each input is tried by itself.
                    by_input(batch)?.into_iter().rev().for_each(|part| due.push_front((part, true)));
                    continue 'batches;
                }
                let has =
                    |row: &usize| column.is_none_or(|column| batch.batch().column(column).is_valid(*row));
                let refused: Vec<usize> = (0..batch.rows()).filter(has).collect();
                let (code, reason) = (error.code().unwrap_or("cannot_prepare"), error.message());
                self.rejects.extend(refused.iter().map(|row| batch.reject(*row, Stage::Write, code, reason)));
                match column {
                    Some(column) if refused.len() < batch.rows() => {
                        batch = without_column(without(batch, &refused)?, column)?;
                    }
                    _ => continue 'batches,
                }
            }
            ready.push(batch);
        }
        self.batches = ready;
        Ok(())
    }
}

/// What a transform makes of a batch: rows of the same kind, whatever the transform knows of kinds.
fn apply(transform: &dyn Transform, batch: TableBatch) -> Result<transform::Transformed> {
    let change = batch.change();
    let mut made = transform.apply(batch)?;
    if change.is_change() {
        made.batches = made.batches.into_iter().map(|batch| batch.with_change(change)).collect();
    }
    Ok(made)
}

/// Whether a table that cannot be made ready costs the rows alone. Where somebody waits for an answer, so do rows that do not
/// fit their table, and tables that may not be made: one client must not end the job of all others.
fn concerns_rows(error: &Error, answers: bool) -> bool {
    match error.kind() {
        ErrorKind::Data => true,
        ErrorKind::Schema => answers,
        // No such schema; no right to make a table.
        ErrorKind::NotFound | ErrorKind::Permission if matches!(error.code(), Some("3F000" | "42501")) => {
            answers
        }
        // No such table where none may be made, or another thing of its name; a file that is missing concerns all of them.
        ErrorKind::NotFound => {
            answers && error.code().is_none() && std::error::Error::source(error).is_none()
        }
        // More columns than a table may have.
        ErrorKind::Limit => answers,
        _ => false,
    }
}

/// Whether a transform does not fit a table.
fn is_misfit(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Schema | ErrorKind::Config)
}

/// The rows of each input by themselves, without the columns that they have no values of.
fn by_input(batch: TableBatch) -> Result<Vec<TableBatch>> {
    let (mut parts, mut from) = (Vec::new(), 0);
    for row in 1..=batch.rows() {
        let input = |row: usize| batch.origin().input(row).map(Arc::as_ptr);
        if row < batch.rows() && input(row) == input(from) {
            continue;
        }
        let mut part = batch.slice(from, row - from);
        for column in (0..part.schema().columns().len()).rev() {
            let values = part.batch().column(column);
            if values.null_count() == values.len() && part.schema().columns().len() > 1 {
                part = without_column(part, column)?;
            }
        }
        parts.push(part);
        from = row;
    }
    Ok(parts)
}
