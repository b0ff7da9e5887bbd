//! Points on their way out, cut between times.

use kwsync_core::{DecodeCounts, Error, ErrorKind, Reject, Result, TableBatch};
use tokio::sync::mpsc;

use crate::relational::Page;

/// Sends pages, and keeps the points of the last time back until it is over: what breaks off can be asked for again from there.
pub(crate) struct Sending<'p> {
    pages: &'p mpsc::Sender<Page>,
    held: Vec<(TableBatch, Vec<i128>)>,
    /// What was refused at the last time, and any batch of its table.
    refused: Vec<(i128, Reject)>,
    of: Option<TableBatch>,
    resume: Option<i128>,
}

impl<'p> Sending<'p> {
    pub(crate) fn new(pages: &'p mpsc::Sender<Page>) -> Self {
        Self { pages, held: Vec::new(), refused: Vec::new(), of: None, resume: None }
    }

    /// Takes a page of points in the order of time.
    pub(crate) async fn push(&mut self, mut page: Page) -> Result<()> {
        let refused = page.refused();
        let Page { batches, rejects, counts, bytes } = page;
        self.of = batches.first().map(|(batch, _)| batch.slice(0, 0)).or(self.of.take());
        let (mut ended, mut over) = (Vec::new(), Vec::new());
        let times = batches.iter().filter_map(|(_, times)| times.last());
        if let Some(last) = times.chain(refused.iter().map(|(time, _)| time)).max().copied() {
            if self.resume != Some(last) {
                ended.append(&mut self.held);
                over.append(&mut self.refused);
            }
            for (batch, times) in batches {
                let tail = times.partition_point(|time| *time < last);
                let (head, rest) = times.split_at_checked(tail).unwrap_or((&times, &[]));
                if !head.is_empty() {
                    ended.push((batch.slice(0, tail), head.to_vec()));
                }
                if !rest.is_empty() {
                    self.held.push((batch.slice(tail, batch.rows() - tail), rest.to_vec()));
                }
            }
            for (time, reject) in refused {
                if time < last { &mut over } else { &mut self.refused }.push((time, reject));
            }
            self.resume = Some(last);
        }
        self.send(Page { batches: ended, rejects, counts, bytes }, over).await
    }

    /// Sends what was kept back: the range is over.
    pub(crate) async fn finish(mut self) -> Result<()> {
        let (batches, refused) = (std::mem::take(&mut self.held), std::mem::take(&mut self.refused));
        let page = Page { batches, rejects: Vec::new(), counts: DecodeCounts::default(), bytes: 0 };
        self.send(page, refused).await
    }

    /// Where to ask again from when the answer has broken off; none if nothing was taken.
    pub(crate) fn resume(&self) -> Option<i128> {
        self.resume
    }

    async fn send(&self, mut page: Page, refused: Vec<(i128, Reject)>) -> Result<()> {
        if let Some(of) = &self.of {
            page.refuse(of, refused);
        }
        let gone = |_| Error::new(ErrorKind::Cancelled, "nobody takes the rows any more");
        self.pages.send(page).await.map_err(gone)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kwsync_core::{Column, DataType, Schema, Stage, Value};

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

    /// What was refused at a time that is asked for again is not told before it is over.
    #[tokio::test]
    async fn what_was_refused_goes_out_with_its_time() {
        let (sender, mut pages) = mpsc::channel(10);
        let mut sending = Sending::new(&sender);
        for (times, refused) in [(&[1, 2][..], &[1, 2][..]), (&[], &[2]), (&[], &[3]), (&[], &[])] {
            let mut page = page(times);
            let of =
                TableBatch::from_rows("t", Arc::clone(page.batches[0].0.schema()), &[vec![Value::Int(0)]])
                    .unwrap();
            let rejects =
                refused.iter().map(|time| (*time, of.reject(0, Stage::Decode, "bad", time.to_string())));
            page.refuse(&of, rejects.collect());
            sending.push(page).await.unwrap();
        }
        assert_eq!(sending.resume(), Some(3));
        sending.finish().await.unwrap();
        drop(sender);
        let mut sent = Vec::new();
        while let Some(mut page) = pages.recv().await {
            let refused: Vec<i128> = page.refused().into_iter().map(|(time, _)| time).collect();
            sent.push((page.batches.into_iter().flat_map(|(_, times)| times).collect::<Vec<_>>(), refused));
        }
        let none = (vec![], vec![]);
        assert_eq!(sent, [(vec![1], vec![1]), none.clone(), (vec![2], vec![2, 2]), none, (vec![], vec![3])]);
    }
}
