//! Pages of rows, cut between values, without what was given before.

use std::collections::HashMap;

use kwsync_core::{DecodeCounts, Error, ErrorKind, Reject, Result, Retry, RowDigest, TableBatch};

use super::database::{CursorTable, Page};
use super::position::At;

/// Rows that a position remembers at most.
pub(super) const MOST_REMEMBERED: usize = 100_000;
/// Refused records that a position remembers at most.
const MOST_REFUSED: usize = 10_000;

/// Rows that end with a value: what a batch of the source is made of.
#[derive(Debug, Default)]
pub(super) struct Ready {
    pub(super) batches: Vec<TableBatch>,
    pub(super) rejects: Vec<Reject>,
    pub(super) counts: DecodeCounts,
    pub(super) bytes: u64,
}

/// One look at a table.
pub(super) struct Pages<'a> {
    info: &'a CursorTable,
    at: &'a mut At,
    /// How far behind the last value rows are remembered; none where they are not.
    overlap: Option<i128>,
    digest: RowDigest,
    /// What was given before, among the values up to `known`.
    given: HashMap<u128, usize>,
    known: Option<i128>,
    refused_before: std::collections::BTreeSet<u128>,
    /// Rows of one value that may go on.
    held: Vec<(TableBatch, Vec<i128>)>,
    last: Option<i128>,
    ready: Ready,
}

impl<'a> Pages<'a> {
    pub(super) fn new(info: &'a CursorTable, at: &'a mut At, overlap: Option<i128>) -> Self {
        let mut given = HashMap::new();
        if overlap.is_some() {
            for digest in at.seen.get_or_insert_default().values().flatten() {
                *given.entry(*digest).or_default() += 1;
            }
        } else {
            at.seen = None;
        }
        let refused_before = std::mem::take(&mut at.refused);
        Self {
            known: at.value,
            info,
            at,
            overlap,
            digest: RowDigest::new([]),
            given,
            refused_before,
            held: Vec::new(),
            last: None,
            ready: Ready::default(),
        }
    }

    /// How far the table has come with what was given.
    pub(super) fn at(&self) -> &At {
        self.at
    }

    /// Takes rows, and gives those whose values have ended.
    pub(super) fn push(&mut self, page: Page) -> Result<Option<Ready>> {
        self.ready.bytes += page.bytes;
        self.ready.counts += DecodeCounts { records: 0, ..page.counts };
        for reject in page.rejects {
            let digest = RowDigest::of_bytes(&reject.raw);
            let again = self.overlap.is_some() && self.refused_before.contains(&digest);
            if self.overlap.is_some() && self.at.refused.len() < MOST_REFUSED {
                self.at.refused.insert(digest);
            }
            if !again {
                self.ready.counts.records += 1;
                self.ready.rejects.push(reject);
            }
        }
        let mut ended = Vec::new();
        for (batch, values) in page.batches {
            self.check(&values)?;
            for (batch, values) in self.fresh(batch, values)? {
                let Some(last) = values.last().copied() else { continue };
                let tail = values.partition_point(|value| *value < last);
                let held_ends =
                    self.held.last().and_then(|(_, values)| values.last()).is_some_and(|held| *held < last);
                if held_ends || tail > 0 {
                    ended.append(&mut self.held);
                }
                if tail == 0 {
                    self.held.push((batch, values));
                    continue;
                }
                let rest = batch.slice(tail, batch.rows() - tail);
                let (head, behind) = values.split_at_checked(tail).unwrap_or((&values, &[]));
                ended.push((batch.slice(0, tail), head.to_vec()));
                self.held.push((rest, behind.to_vec()));
            }
        }
        if ended.is_empty() { Ok(None) } else { self.give(ended).map(Some) }
    }

    /// What is left at the end of the look.
    pub(super) fn finish(&mut self) -> Result<Option<Ready>> {
        let held = std::mem::take(&mut self.held);
        let left = !held.is_empty() || !self.ready.rejects.is_empty();
        if left { self.give(held).map(Some) } else { Ok(None) }
    }

    /// Rows must come in order, or a value could be passed with rows of it to come.
    fn check(&mut self, values: &[i128]) -> Result<()> {
        let Some(first) = values.first() else { return Ok(()) };
        if !values.is_sorted() || self.last.is_some_and(|last| last > *first) {
            let text = format!(
                "{}: the server sent rows out of the order of {:?}",
                self.info.asked, self.info.column
            );
            return Err(Error::new(ErrorKind::Server, text).with_retry(Retry::Never));
        }
        self.last = values.last().copied();
        Ok(())
    }

    /// The rows that were not given before.
    fn fresh(&mut self, batch: TableBatch, values: Vec<i128>) -> Result<Vec<(TableBatch, Vec<i128>)>> {
        let known = self.known.filter(|_| !self.given.is_empty());
        let old = known.map_or(0, |known| values.partition_point(|value| *value <= known));
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for row in 0..values.len() {
            if row < old {
                let digest = self.digest.of(batch.batch().columns(), row)?;
                if let Some(count) = self.given.get_mut(&digest).filter(|count| **count > 0) {
                    *count -= 1;
                    continue;
                }
            }
            match runs.last_mut() {
                Some((_, end)) if *end == row => *end += 1,
                _ => runs.push((row, row + 1)),
            }
        }
        Ok(runs
            .into_iter()
            .map(|(from, to)| {
                (batch.slice(from, to - from), values.get(from..to).unwrap_or_default().to_vec())
            })
            .collect())
    }

    /// Rows that end with a value become part of what was given.
    fn give(&mut self, rows: Vec<(TableBatch, Vec<i128>)>) -> Result<Ready> {
        let upto = rows.last().and_then(|(_, values)| values.last()).copied();
        self.at.value = self.at.value.max(upto);
        if let (Some(overlap), Some(value)) = (self.overlap, self.at.value) {
            let floor = value - overlap;
            let mut seen = self.at.seen.take().unwrap_or_default().split_off(&floor);
            for (batch, values) in &rows {
                let from = values.partition_point(|value| *value < floor);
                for (row, value) in values.iter().enumerate().skip(from) {
                    let digest = self.digest.of(batch.batch().columns(), row)?;
                    seen.entry(*value).or_default().push(digest);
                }
            }
            self.at.seen = Some(seen);
            if self.at.remembered() > MOST_REMEMBERED {
                return Err(self.too_many(overlap));
            }
        }
        let mut ready = std::mem::take(&mut self.ready);
        for (batch, _) in rows {
            ready.counts.records += batch.rows() as u64;
            ready.batches.push(batch);
        }
        Ok(ready)
    }

    fn too_many(&self, overlap: i128) -> Error {
        let (table, column) = (&self.info.asked, &self.info.column);
        let text = match overlap {
            0 => format!("{table}: more than {MOST_REMEMBERED} rows have one value of {column:?}"),
            _ => format!("{table}: more than {MOST_REMEMBERED} rows lie in the overlap"),
        };
        Error::new(ErrorKind::Limit, text).with_retry(Retry::Never).with_hint(match overlap {
            0 => "set lag=, so that a value is read when it is complete and its rows need not be remembered",
            _ => "shorten overlap=, or use lag= for rows that are a little late",
        })
    }
}
