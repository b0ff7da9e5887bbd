//! The reading task: splits one after the other, and what the writing loop tells of them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use tokio::sync::mpsc;
use tracing::Instrument;

use super::super::Shared;
use super::super::queue::Sender;
use super::writing::reject_bytes;
use super::{Ack, Message, Taken};
use crate::{Assignment, DynReader, Parts, Result, SourceBatch, Split, TableBatch};

/// Reads splits one after the other until none is left.
pub(super) async fn read(
    shared: Arc<Shared>,
    taken: Taken,
    queue: Sender<Message>,
    mut acked: mpsc::UnboundedReceiver<Ack>,
) -> Result<()> {
    // Readers stay open until their last rows have settled: a consumer of messages acknowledges them then.
    let mut readers: HashMap<Arc<str>, Box<dyn DynReader>> = HashMap::new();
    let mut fault = None;
    while let Some(split) = shared.next_split() {
        let id = Arc::clone(&split.id);
        taken.lock().unwrap_or_else(PoisonError::into_inner).push(split.clone());
        if split.after_others && !others_done(&shared, &queue, &mut acked, &mut readers).await? {
            break;
        }
        let span = tracing::info_span!("split", split = %id);
        let read = read_split(&shared, &split, &queue, &mut acked, &mut readers);
        match read.instrument(span).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                tracing::debug!(error = %error, "reading stopped");
                fault = Some(error);
                break;
            }
        }
    }
    drop(queue);
    while let Some(ack) = acked.recv().await {
        acknowledge(None, &mut readers, ack).await?;
    }
    for reader in readers.values_mut() {
        reader.close().await?;
    }
    fault.map_or(Ok(()), Err)
}

/// Waits until all other splits are done, which those of this lane are once they are committed; false when the job stops before.
async fn others_done(
    shared: &Shared,
    queue: &Sender<Message>,
    acked: &mut mpsc::UnboundedReceiver<Ack>,
    readers: &mut HashMap<Arc<str>, Box<dyn DynReader>>,
) -> Result<bool> {
    if !shared.is_last_left() && !queue.send(Message::Commit, 0).await {
        return Ok(false);
    }
    loop {
        let committed = shared.committed.notified();
        if shared.is_last_left() {
            return Ok(true);
        }
        tokio::select! {
            () = shared.stop.cancelled() => return Ok(false),
            () = committed => {}
            ack = acked.recv() => match ack {
                Some(ack) => acknowledge(None, readers, ack).await?,
                None => return Ok(false),
            },
        }
    }
}

/// Reads one split to its end; false when the job stops before.
async fn read_split(
    shared: &Shared,
    split: &Split,
    queue: &Sender<Message>,
    acked: &mut mpsc::UnboundedReceiver<Ack>,
    readers: &mut HashMap<Arc<str>, Box<dyn DynReader>>,
) -> Result<bool> {
    let id = &split.id;
    let parts = split.parts != Parts::None;
    let mut position = None;
    if !parts {
        let checkpoint = shared.ledger.checkpoint(id).await;
        let checkpoint = match shared.sink.capabilities().stores_checkpoints && !split.resumable {
            // What cannot be read again has no checkpoint that would help.
            true => checkpoint,
            false => shared.sink.begin(&checkpoint).await?,
        };
        let done = checkpoint.done;
        position.clone_from(&checkpoint.position);
        if !queue.send(Message::Begin(checkpoint), 0).await {
            return Ok(false);
        }
        if done {
            return Ok(queue.send(Message::End { split: Arc::clone(id), parts }, 0).await);
        }
    }
    let mut reader = shared.source.open(split, position.as_ref()).await?;
    if let Some((rows, bytes)) = shared.rate.share(shared.lanes) {
        reader.limit_batches(rows, bytes);
    }
    loop {
        while let Ok(ack) = acked.try_recv() {
            acknowledge(Some((id, reader.as_mut())), readers, ack).await?;
        }
        let interruptible = reader.is_interruptible();
        let next = tokio::select! {
            biased;
            () = shared.stop.cancelled() => {
                while let Some(batch) = reader.last_batch()? {
                    if !pass_on(shared, split, queue, batch).await {
                        break;
                    }
                }
                readers.insert(Arc::clone(id), reader);
                return Ok(false);
            }
            Some(ack) = acked.recv(), if interruptible => {
                acknowledge(Some((id, reader.as_mut())), readers, ack).await?;
                continue;
            }
            () = tokio::time::sleep(shared.options.linger), if interruptible => None,
            next = reader.next() => Some(next),
        };
        let mut batch = match next {
            Some(next) => match next? {
                Some(batch) => batch,
                None => break,
            },
            // The input pauses: what is there must not wait for more.
            None => match reader.take_partial()? {
                Some(batch) => batch,
                None => continue,
            },
        };
        let assignment = std::mem::take(&mut batch.assignment);
        if !pass_on(shared, split, queue, batch).await {
            return Ok(false);
        }
        if !assignment.is_empty() && !hand_over(shared, split, queue, reader.as_mut(), assignment).await? {
            return Ok(false);
        }
    }
    readers.insert(Arc::clone(id), reader);
    Ok(queue.send(Message::End { split: Arc::clone(id), parts }, 0).await)
}

/// Puts a batch into the queue, no faster than the job may be; false when the writing loop is gone.
async fn pass_on(shared: &Shared, split: &Split, queue: &Sender<Message>, batch: SourceBatch) -> bool {
    let rows: usize = batch.decoded.batches.iter().map(TableBatch::rows).sum();
    tokio::select! {
        biased;
        () = shared.rate.take(rows as u64, batch.bytes) => {}
        // What was read is written; the next look at the reader ends this.
        () = shared.stop.cancelled() => {}
    }
    let bytes = TableBatch::retained_together(&batch.decoded.batches);
    let refused: usize = batch.decoded.rejects.iter().map(reject_bytes).sum();
    let id = (split.parts == Parts::None).then(|| Arc::clone(&split.id));
    queue.send(Message::Batch { split: id, batch, bytes }, bytes + refused).await
}

/// Gives parts up, and takes others over where they stand; false when the writing loop is gone.
async fn hand_over(
    shared: &Shared,
    split: &Split,
    queue: &Sender<Message>,
    reader: &mut dyn DynReader,
    assignment: Assignment,
) -> Result<bool> {
    if !assignment.released.is_empty() && !queue.send(Message::Release(assignment.released), 0).await {
        return Ok(false);
    }
    let mut from = Vec::with_capacity(assignment.taken.len());
    for part in assignment.taken {
        let known = shared.ledger.checkpoint(&part).await;
        let begun = match split.parts {
            Parts::Shared => shared.sink.take_over(&known).await?,
            _ => shared.sink.begin(&known).await?,
        };
        from.push((part, begun.position.clone()));
        if !queue.send(Message::Begin(begun), 0).await {
            return Ok(false);
        }
    }
    reader.start_parts(from)?;
    Ok(true)
}

/// Tells the reader in hand, and those that wait, what has settled.
async fn acknowledge(
    mut in_hand: Option<(&Arc<str>, &mut dyn DynReader)>,
    readers: &mut HashMap<Arc<str>, Box<dyn DynReader>>,
    ack: Ack,
) -> Result<()> {
    let checkpoints = match ack {
        Ack::Settled { checkpoints, refused } => {
            if !refused.is_empty() {
                readers.values_mut().for_each(|reader| reader.refused(&refused));
                if let Some((_, reader)) = &mut in_hand {
                    reader.refused(&refused);
                }
            }
            checkpoints
        }
        Ack::Failed(told) => {
            drop(told);
            return Ok(());
        }
        Ack::Released(parts) => {
            if let Some((_, reader)) = in_hand {
                reader.release_parts(&parts).await?;
            }
            return Ok(());
        }
    };
    let mut parts = Vec::new();
    for checkpoint in checkpoints {
        if let Some((id, reader)) = &mut in_hand
            && checkpoint.split == **id
        {
            if let Some(position) = &checkpoint.position {
                reader.commit(position).await?;
            }
            continue;
        }
        let Some(reader) = readers.get_mut(&checkpoint.split) else {
            parts.extend(checkpoint.position.map(|position| (checkpoint.split, position)));
            continue;
        };
        if let Some(position) = &checkpoint.position {
            reader.commit(position).await?;
        }
        if checkpoint.done
            && let Some(mut reader) = readers.remove(&checkpoint.split)
        {
            reader.close().await?;
        }
    }
    if parts.is_empty() {
        return Ok(());
    }
    for reader in readers.values_mut() {
        reader.commit_parts(&parts).await?;
    }
    match in_hand {
        Some((_, reader)) => reader.commit_parts(&parts).await,
        None => Ok(()),
    }
}
