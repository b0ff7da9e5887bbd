//! Points on their way out, cut between times.

use kwsync_core::{DecodeCounts, Error, ErrorKind, Result, TableBatch};
use tokio::sync::mpsc;

use crate::relational::Page;

/// Sends pages, and keeps the points of the last time back until it is over: what breaks off can be asked for again from there.
pub(super) struct Sending<'p> {
    pages: &'p mpsc::Sender<Page>,
    held: Vec<(TableBatch, Vec<i128>)>,
    resume: Option<i128>,
}

impl<'p> Sending<'p> {
    pub(super) fn new(pages: &'p mpsc::Sender<Page>) -> Self {
        Self { pages, held: Vec::new(), resume: None }
    }

    /// Takes a page of points in the order of time.
    pub(super) async fn push(&mut self, page: Page) -> Result<()> {
        let Page { batches, rejects, counts, bytes } = page;
        let mut ended = Vec::new();
        for (batch, times) in batches {
            let Some(last) = times.last().copied() else { continue };
            let tail = times.partition_point(|time| *time < last);
            if tail > 0 || self.resume != Some(last) {
                ended.append(&mut self.held);
            }
            let (head, rest) = times.split_at_checked(tail).unwrap_or((&times, &[]));
            if tail > 0 {
                ended.push((batch.slice(0, tail), head.to_vec()));
            }
            self.held.push((batch.slice(tail, batch.rows() - tail), rest.to_vec()));
            self.resume = Some(last);
        }
        self.send(Page { batches: ended, rejects, counts, bytes }).await
    }

    /// Sends what was kept back: the range is over.
    pub(super) async fn finish(mut self) -> Result<()> {
        let batches = std::mem::take(&mut self.held);
        self.send(Page { batches, rejects: Vec::new(), counts: DecodeCounts::default(), bytes: 0 }).await
    }

    /// Where to ask again from when the answer has broken off; none if nothing was taken.
    pub(super) fn resume(&self) -> Option<i128> {
        self.resume
    }

    async fn send(&self, page: Page) -> Result<()> {
        let gone = |_| Error::new(ErrorKind::Cancelled, "nobody takes the rows any more");
        self.pages.send(page).await.map_err(gone)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kwsync_core::{Column, DataType, Schema, Value};

    use super::*;

    fn page(times: &[i128]) -> Page {
        let schema = Arc::new(Schema::new(vec![Column::new("n", DataType::Int64)]).unwrap());
        let rows: Vec<_> = times.iter().map(|time| vec![Value::Int(*time as i64)]).collect();
        let batch = TableBatch::from_rows("t", schema, &rows).unwrap();
        Page {
            batches: vec![(batch, times.to_vec())],
            rejects: Vec::new(),
            counts: DecodeCounts::default(),
            bytes: 1,
        }
    }

    #[tokio::test]
    async fn a_time_goes_out_when_it_is_over() {
        let (sender, mut pages) = mpsc::channel(10);
        let mut sending = Sending::new(&sender);
        for times in [&[1, 2, 2][..], &[2], &[2, 3], &[3], &[4], &[]] {
            sending.push(page(times)).await.unwrap();
        }
        assert_eq!(sending.resume(), Some(4));
        sending.finish().await.unwrap();
        drop(sender);
        let mut sent = Vec::new();
        while let Some(page) = pages.recv().await {
            sent.push(page.batches.into_iter().flat_map(|(_, times)| times).collect::<Vec<_>>());
        }
        assert_eq!(sent, [vec![1], vec![], vec![2, 2, 2, 2], vec![], vec![3, 3], vec![], vec![4]]);
    }
}
