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
    /// What was refused and is known by its value, as far as the next look will see it again.
    marks: Vec<(i128, u128)>,
    /// Rows of one value that may go on, what was refused at it, and the value.
    held: Vec<(TableBatch, Vec<i128>)>,
    refused: Vec<(i128, Reject)>,
    held_at: Option<i128>,
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
            marks: Vec::new(),
            held: Vec::new(),
            refused: Vec::new(),
            held_at: None,
            last: None,
            ready: Ready::default(),
        }
    }

    /// How far the table has come with what was given.
    pub(super) fn at(&self) -> &At {
        self.at
    }

    /// Takes rows, and gives those whose values have ended.
    pub(super) fn push(&mut self, mut page: Page) -> Result<Option<Ready>> {
        self.ready.bytes += page.bytes;
        self.ready.counts += DecodeCounts { records: 0, ..page.counts };
        let mut refused = page.refused();
        if self.overlap.is_some() && !self.refused_before.is_empty() {
            let (before, at, marks) = (&self.refused_before, &mut *self.at, &mut self.marks);
            refused.retain(|(value, reject)| {
                let digest = RowDigest::of_bytes(&reject.raw);
                let again = before.contains(&digest);
                if again && at.refused.insert(digest) {
                    marks.push((*value, digest));
                }
                !again
            });
        }
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
        let mut came = Vec::new();
        for (batch, values) in page.batches {
            self.check(&values)?;
            came.extend(self.fresh(batch, values)?);
        }
        let values = came.iter().filter_map(|(_, values)| values.last());
        let Some(last) = values.chain(refused.iter().map(|(value, _)| value)).max().copied() else {
            return Ok(None);
        };
        let (mut ended, mut over) = (Vec::new(), Vec::new());
        if self.held_at.is_some_and(|held| held < last) {
            ended.append(&mut self.held);
            over.append(&mut self.refused);
        }
        for (batch, values) in came {
            let tail = values.partition_point(|value| *value < last);
            let (head, behind) = values.split_at_checked(tail).unwrap_or((&values, &[]));
            if !head.is_empty() {
                ended.push((batch.slice(0, tail), head.to_vec()));
            }
            if !behind.is_empty() {
                self.held.push((batch.slice(tail, batch.rows() - tail), behind.to_vec()));
            }
        }
        for (value, reject) in refused {
            if value < last { &mut over } else { &mut self.refused }.push((value, reject));
        }
        self.held_at = Some(last);
        if ended.is_empty() && over.is_empty() { Ok(None) } else { self.give(ended, over).map(Some) }
    }

    /// What is left at the end of the look.
    pub(super) fn finish(&mut self) -> Result<Option<Ready>> {
        let (held, refused) = (std::mem::take(&mut self.held), std::mem::take(&mut self.refused));
        let left = !held.is_empty() || !refused.is_empty() || !self.ready.rejects.is_empty();
        if left { self.give(held, refused).map(Some) } else { Ok(None) }
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

    /// Rows that end with a value become part of what was given, and so does what was refused among them.
    fn give(&mut self, rows: Vec<(TableBatch, Vec<i128>)>, refused: Vec<(i128, Reject)>) -> Result<Ready> {
        let upto = rows.last().and_then(|(_, values)| values.last()).copied();
        self.at.value = self.at.value.max(upto).max(refused.last().map(|(value, _)| *value));
        if let (Some(overlap), Some(value)) = (self.overlap, self.at.value) {
            let floor = value - overlap;
            // Remembered once it is given, not before: what a job that is killed has not committed is refused again.
            for (_, digest) in self.marks.extract_if(.., |(value, _)| *value < floor) {
                self.at.refused.remove(&digest);
            }
            for (value, reject) in refused.iter().filter(|(value, _)| *value >= floor) {
                let digest = RowDigest::of_bytes(&reject.raw);
                if self.at.refused.len() < MOST_REFUSED && self.at.refused.insert(digest) {
                    self.marks.push((*value, digest));
                }
            }
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
        ready.counts.records += refused.len() as u64;
        ready.rejects.extend(refused.into_iter().map(|(_, reject)| reject));
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

#[cfg(all(test, feature = "series"))]
mod tests {
    use std::sync::Arc;

    use kwsync_core::{Column, DataType, Schema, Stage, TableId, TimeUnit, Value};

    use super::super::value::Kind;
    use super::*;

    /// What is refused goes with the rows of its value, and the position passes it.
    #[test]
    fn values_are_passed_with_what_was_refused_of_them() {
        let schema = Arc::new(Schema::new(vec![Column::new("n", DataType::Int64)]).unwrap());
        let info = CursorTable {
            asked: TableId::new("t"),
            table: TableId::new("t"),
            schema: Arc::clone(&schema),
            column: "time".to_owned(),
            kind: Kind::Timestamp(TimeUnit::Nanosecond, true),
            unique: true,
        };
        let page = |values: &[i128], refused: &[i128]| {
            let rows = |values: &[i128]| {
                let rows: Vec<_> = values.iter().map(|value| vec![Value::Int(*value as i64)]).collect();
                TableBatch::from_rows("t", Arc::clone(&schema), &rows).unwrap()
            };
            let of = rows(&[0]);
            let rejects =
                refused.iter().map(|value| (*value, of.reject(0, Stage::Decode, "bad", value.to_string())));
            let mut page = Page {
                batches: vec![(rows(values), values.to_vec())],
                rejects: Vec::new(),
                counts: DecodeCounts::default(),
                bytes: 0,
            };
            page.refuse(&of, rejects.collect());
            page
        };
        let mut at = At::default();
        let mut pages = Pages::new(&info, &mut at, None);
        let mut given = Vec::new();
        for (values, refused) in [
            (&[1, 2][..], &[1, 2][..]),
            (&[2], &[]),
            // All of a page.
            (&[], &[2, 3, 3]),
            (&[], &[4]),
            (&[4, 5], &[]),
            (&[], &[6]),
        ] {
            let ready = pages.push(page(values, refused)).unwrap();
            given.extend(ready.map(|ready| (ready, pages.at().value)));
        }
        let last = pages.finish().unwrap();
        given.extend(last.map(|ready| (ready, pages.at().value)));
        let told: Vec<_> = given
            .iter()
            .map(|(ready, value)| {
                let rows: usize = ready.batches.iter().map(TableBatch::rows).sum();
                assert_eq!(ready.counts.records as usize, rows + ready.rejects.len());
                let rejects: Vec<_> = ready.rejects.iter().map(|reject| reject.reason.as_str()).collect();
                (rows, rejects.join(","), value.unwrap())
            })
            .collect();
        let told: Vec<_> =
            told.iter().map(|(rows, rejects, value)| (*rows, rejects.as_str(), *value)).collect();
        assert_eq!(told, [(1, "1", 1), (2, "2,2", 2), (0, "3,3", 3), (1, "4", 4), (1, "", 5), (0, "6", 6)]);
    }

    /// What is refused at the newest value comes again with each look where rows may be late, and is told once.
    #[test]
    fn what_was_refused_is_told_once() {
        let schema = Arc::new(Schema::new(vec![Column::new("n", DataType::Int64)]).unwrap());
        let info = CursorTable {
            asked: TableId::new("t"),
            table: TableId::new("t"),
            schema: Arc::clone(&schema),
            column: "n".to_owned(),
            kind: Kind::Integer,
            unique: false,
        };
        let of = TableBatch::from_rows("t", schema, &[vec![Value::Int(0)]]).unwrap();
        let mut at = At::default();
        let mut look = |refused: &[(i128, &str)]| {
            let mut pages = Pages::new(&info, &mut at, Some(0));
            let mut told = Vec::new();
            for (value, raw) in refused {
                let (batches, rejects) = (Vec::new(), Vec::new());
                let mut page = Page { batches, rejects, counts: DecodeCounts::default(), bytes: 0 };
                let reject = of.reject(0, Stage::Decode, "bad", "");
                page.refuse(&of, vec![(*value, Reject { raw: raw.as_bytes().to_vec().into(), ..reject })]);
                told.extend(pages.push(page).unwrap());
            }
            told.extend(pages.finish().unwrap());
            let told: usize = told.iter().map(|ready| ready.rejects.len()).sum();
            drop(pages);
            (told, at.value, at.refused.len())
        };
        assert_eq!(look(&[(1, "a"), (2, "b"), (2, "c")]), (3, Some(2), 2));
        for _ in 0..3 {
            assert_eq!(look(&[(2, "b"), (2, "c")]), (0, Some(2), 2));
        }
        assert_eq!(look(&[(2, "b"), (2, "c"), (2, "d")]), (1, Some(2), 3));
        assert_eq!(look(&[(2, "b"), (2, "c"), (2, "d"), (3, "e")]), (1, Some(3), 1));
        assert_eq!(look(&[(3, "e")]), (0, Some(3), 1));
    }
}
