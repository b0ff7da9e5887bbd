//! The sink and its writers.

use std::any::Any;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use kwsync_core::config::EncoderFactory;
use kwsync_core::system::kafka::{GroupOffsets, Membership, Place, make_topic};
use kwsync_core::{
    Capabilities, Checkpoint, Delivered, Delivery, Encoder, Error, ErrorKind, Lane, Plan, Reject, Result,
    Role, RowCounts, Schema, Settled, Sink, Stage, TableBatch, TableId, Value, Writer,
};

use super::producer::Producer;
use super::{KafkaSinkOptions, MessageKey};

/// Writes rows as messages.
///
/// # Examples
/// See `examples/kafka.rs` of package `kwsync`.
#[derive(Clone)]
pub struct KafkaSink {
    shared: Arc<Shared>,
}

struct Shared {
    options: KafkaSinkOptions,
    encoder: EncoderFactory,
    /// Topics that are there.
    known: Mutex<HashSet<String>>,
    /// The offsets of the source's group, where they are part of the transactions.
    adopted: OnceLock<Arc<GroupOffsets>>,
}

impl std::fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSink").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl KafkaSink {
    /// A sink with the options given, whose messages are written by the encoders that `encoder` makes. Nothing is connected
    /// yet.
    pub fn new(options: KafkaSinkOptions, encoder: EncoderFactory) -> Self {
        Self {
            shared: Arc::new(Shared { options, encoder, known: Mutex::default(), adopted: OnceLock::new() }),
        }
    }
}

impl Shared {
    fn topic(&self, table: &TableId) -> String {
        self.options.naming.topic(table)
    }

    fn delivery(&self) -> Delivery {
        if self.adopted.get().is_some() { Delivery::ExactlyOnce } else { Delivery::AtLeastOnce }
    }

    fn place(&self) -> String {
        format!("Kafka {}", self.options.client.brokers())
    }

    /// Makes the topic where it is missing.
    async fn make(&self, topic: &str) -> Result<()> {
        let options = &self.options;
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !options.create || known().contains(topic) {
            return Ok(());
        }
        // Where it may not be made, somebody else may make it, or the brokers by themselves.
        make_topic(&options.client, topic, options.partitions, options.replication)
            .await
            .map_err(|fault| fault.context(self.place()))?;
        known().insert(topic.to_owned());
        Ok(())
    }
}

impl Sink for KafkaSink {
    type Writer = KafkaWriter;

    fn capabilities(&self) -> Capabilities {
        let adopted = self.shared.adopted.get().is_some();
        Capabilities::new("kafka").with_delivery(self.shared.delivery()).with_checkpoints(adopted)
    }

    /// Offsets of a group of the same cluster, where there are transactions.
    fn adopt(&self, positions: &Arc<dyn Any + Send + Sync>) -> bool {
        let options = &self.shared.options;
        let Ok(offsets) = Arc::clone(positions).downcast::<GroupOffsets>() else { return false };
        let can = options.transactional_id.is_some() && offsets.is_of(&options.client);
        if can && self.shared.adopted.set(Arc::clone(&offsets)).is_ok() {
            offsets.keep();
            return true;
        }
        false
    }

    async fn plan(&self, table: &TableId, _schema: &Arc<Schema>) -> Result<Plan> {
        let options = &self.shared.options;
        let format = (self.shared.encoder)()?.format();
        let strategy = format!("messages of {} rows at most as {format}", options.message_rows);
        let mut plan = Plan::new(table.to_string(), strategy, self.shared.delivery());
        let make = if options.create { ", made where it is missing" } else { "" };
        plan.notes.push(format!("topic {}{make}", self.shared.topic(table)));
        plan.notes.push(match &options.key {
            MessageKey::None => "no key: messages go to all partitions in turn".to_owned(),
            MessageKey::Table => "key: the table's name".to_owned(),
            MessageKey::Tags => "key: the values of the tags".to_owned(),
            MessageKey::Columns(columns) => format!("key: {}", columns.join(", ")),
        });
        match (&options.transactional_id, self.shared.adopted.get()) {
            (Some(id), Some(offsets)) => plan.notes.push(format!(
                "each commit is one transaction of {id}, and the offsets of the group {} are part of it",
                offsets.group()
            )),
            (Some(id), None) => plan.notes.push(format!("each commit is one transaction of {id}")),
            (None, _) => {}
        }
        Ok(plan)
    }

    async fn prepare(&self, table: &TableId, schema: &Arc<Schema>) -> Result<()> {
        if let MessageKey::Columns(columns) = &self.shared.options.key
            && let Some(missing) = columns.iter().find(|column| schema.index_of(column).is_none())
        {
            let text = format!("table {table} has no column {missing:?}, which the key is made of");
            return Err(Error::new(ErrorKind::Data, text)
                .with_code("no_key_column")
                .with_hint("mend key=, or leave the table out"));
        }
        self.shared.make(&self.shared.topic(table)).await
    }

    async fn open(&self, lane: &Lane) -> Result<KafkaWriter> {
        let options = &self.shared.options;
        // A lane has the same id in every run, so that a run that hangs is fenced off by the next.
        let id = options.transactional_id.as_ref().map(|id| format!("{id}-{}", lane.index));
        let producer = Producer::new(&options.client, id.as_deref(), &[])?;
        producer
            .connect(options.client.connect_timeout(), id.is_some())
            .await
            .map_err(|fault| fault.context(self.shared.place()))?;
        Ok(KafkaWriter {
            shared: Arc::clone(&self.shared),
            producer,
            encoder: (self.shared.encoder)()?,
            transaction: None,
            offsets: Vec::new(),
            batches: Vec::new(),
            messages: Vec::new(),
            pending: Settled::default(),
            refused: Settled::default(),
            buffer: Vec::new(),
            broken: false,
        })
    }
}

/// Writes the messages of one lane.
///
/// # Cancel safety
/// As [`Writer`] says; messages of a call that was dropped may have gone out, and are sent again: at least once. In a
/// transaction they are taken back.
pub struct KafkaWriter {
    shared: Arc<Shared>,
    producer: Producer,
    encoder: Box<dyn Encoder>,
    /// Whether a transaction is open; `None` where there are none yet.
    transaction: Option<()>,
    /// Where the source stands once the transaction is committed.
    offsets: Vec<(Membership, Place)>,
    /// What has been sent since the last commit, for the rejects.
    batches: Vec<TableBatch>,
    /// Which rows each message has: the batch, the first row, and the number of rows.
    messages: Vec<(u32, u32, u32)>,
    /// What the commit will settle.
    pending: Settled,
    /// What is refused already, whatever becomes of the commit.
    refused: Settled,
    buffer: Vec<u8>,
    /// Whether a call was broken off.
    broken: bool,
}

impl std::fmt::Debug for KafkaWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaWriter").field("batches", &self.batches.len()).finish_non_exhaustive()
    }
}

impl KafkaWriter {
    fn refuse(&mut self, batch: usize, row: usize, stage: Stage, code: &str, reason: &str) {
        let Some(batch) = self.batches.get(batch) else { return };
        let reject: Reject = batch.reject(row, stage, code, reason);
        self.refused.add(batch.table(), RowCounts { rejected: 1, ..RowCounts::default() });
        self.refused.rejects.push(reject);
    }

    async fn send_batch(&mut self, batch: &TableBatch) -> Result<()> {
        self.begin()?;
        let index = self.batches.len();
        self.batches.push(batch.clone());
        let topic = self.shared.topic(batch.table());
        let (mut row, most) = (0, self.shared.options.message_rows);
        let mut keys = Keys::new(&self.shared.options.key, batch);
        // Rows that are sent one by one, because one of them cannot be written.
        let mut single = 0;
        while row < batch.rows() {
            let rows = if single > row { 1 } else { most.min(batch.rows() - row) };
            self.buffer.clear();
            let encoded = self
                .encoder
                .begin(&mut self.buffer)
                .and_then(|()| self.encoder.encode(batch, row..row + rows, &mut self.buffer))
                .and_then(|()| self.encoder.end(&mut self.buffer));
            match encoded {
                Ok(()) => {}
                Err(fault) if !matches!(fault.kind(), ErrorKind::Data | ErrorKind::Unsupported) => {
                    return Err(fault);
                }
                Err(_) if rows > 1 => {
                    single = row + rows;
                    continue;
                }
                Err(fault) => {
                    let code = fault.code().unwrap_or("cannot_encode").to_owned();
                    self.refuse(index, row, Stage::Encode, &code, &fault.to_string());
                    row += 1;
                    continue;
                }
            }
            // A line's end ends a record in a stream; a message ends by itself.
            let payload = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
            let number = self.messages.len();
            let key = keys.of(row);
            match self.producer.send(&topic, key, payload, number).await {
                Ok(()) => {
                    self.pending.bytes += payload.len() as u64;
                    self.messages.push((index as u32, row as u32, rows as u32));
                }
                Err(fault) => {
                    let fault = self.producer.explained(fault);
                    if fault.kind() != ErrorKind::Data {
                        return Err(fault.context(format!("topic {topic}")));
                    }
                    if rows > 1 {
                        single = row + rows;
                        continue;
                    }
                    self.refuse(index, row, Stage::Write, "message_too_large", &fault.to_string());
                }
            }
            row += rows;
        }
        Ok(())
    }

    /// Sends a message again by itself; false where it is refused again.
    async fn send_alone(&mut self, number: usize) -> Result<bool> {
        let Some((index, row, rows)) = self.messages.get(number).copied() else { return Ok(true) };
        let Some(batch) = self.batches.get(index as usize).cloned() else { return Ok(true) };
        let topic = self.shared.topic(batch.table());
        self.buffer.clear();
        self.encoder.begin(&mut self.buffer)?;
        self.encoder.encode(&batch, row as usize..(row + rows) as usize, &mut self.buffer)?;
        self.encoder.end(&mut self.buffer)?;
        let payload = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        let mut keys = Keys::new(&self.shared.options.key, &batch);
        let sent = self.producer.send(&topic, keys.of(row as usize), payload, number).await;
        let fault = match sent {
            Err(fault) => Some(fault),
            Ok(()) => self.producer.settle().await.pop().map(|(_, fault)| fault),
        };
        match fault.map(|fault| self.producer.explained(fault)) {
            None => Ok(true),
            Some(fault) if fault.kind() == ErrorKind::Data => Ok(false),
            Some(fault) => Err(fault.context(format!("topic {topic}")).context(self.shared.place())),
        }
    }

    async fn settle(&mut self) -> Result<()> {
        let failed = self.producer.settle().await;
        let mut refused = Vec::new();
        for (number, fault) in failed {
            let fault = self.producer.explained(fault);
            if fault.kind() != ErrorKind::Data || self.transaction.is_some() {
                let (batch, ..) = self.messages.get(number).copied().unwrap_or_default();
                let table = self.batches.get(batch as usize).map(|batch| batch.table().clone());
                let fault = match table {
                    Some(table) => fault.context(format!("topic {}", self.shared.topic(&table))),
                    None => fault,
                };
                return Err(fault.context(self.shared.place()).with_delivered(Delivered::InDoubt));
            }
            refused.push((number, fault));
        }
        for (number, fault) in refused {
            // A broker refuses a batch of messages as a whole: one that is too large is found by sending each alone.
            if !self.send_alone(number).await? {
                let Some(message) = self.messages.get_mut(number) else { continue };
                let (batch, row, rows) = std::mem::take(message);
                for row in row..row + rows {
                    let reason = fault.to_string();
                    self.refuse(batch as usize, row as usize, Stage::Write, "message_too_large", &reason);
                }
            }
        }
        for (batch, _, rows) in self.messages.drain(..) {
            if let Some(batch) = self.batches.get(batch as usize) {
                let counts = RowCounts { written: u64::from(rows), ..RowCounts::default() };
                self.pending.add(batch.table(), counts);
            }
        }
        self.batches.clear();
        if !self.offsets.is_empty() {
            // All that was read may have been refused or filtered.
            self.begin()?;
            self.producer
                .send_offsets(&self.offsets)
                .await
                .map_err(|fault| fault.context(self.shared.place()))?;
            self.offsets.clear();
        }
        if self.transaction.is_some() {
            self.producer.commit().await.map_err(|fault| fault.context(self.shared.place()))?;
            self.transaction = None;
        }
        Ok(())
    }

    fn settled(&mut self) -> Settled {
        let mut settled = std::mem::take(&mut self.pending);
        settled.merge(std::mem::take(&mut self.refused));
        settled
    }

    fn begin(&mut self) -> Result<()> {
        if self.shared.options.transactional_id.is_some() && self.transaction.is_none() {
            self.producer.begin()?;
            self.transaction = Some(());
        }
        Ok(())
    }

    /// Ends what a call that was dropped or failed has left.
    async fn mend(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.broken, true) {
            return Ok(());
        }
        drop(self.producer.settle().await);
        if self.transaction.take().is_some() {
            self.producer.abort().await?;
        }
        self.messages.clear();
        self.batches.clear();
        self.offsets.clear();
        self.pending = Settled::default();
        self.refused = Settled::default();
        Err(Error::new(
            ErrorKind::Unavailable,
            "a call was broken off: the rows since the last commit are sent again",
        )
        .with_delivered(Delivered::InDoubt))
    }
}

impl Writer for KafkaWriter {
    async fn write(&mut self, batch: &TableBatch) -> Result<Settled> {
        self.mend().await?;
        self.send_batch(batch).await?;
        self.broken = false;
        // At once: they are judged, and are safe, before offsets are committed beyond them.
        Ok(std::mem::take(&mut self.refused))
    }

    async fn flush(&mut self) -> Result<Settled> {
        self.mend().await?;
        self.settle().await?;
        self.broken = false;
        Ok(self.settled())
    }

    async fn flush_with(&mut self, checkpoints: &[Checkpoint]) -> Result<Settled> {
        let mut offsets = Vec::new();
        if let Some(group) = self.shared.adopted.get() {
            for checkpoint in checkpoints {
                let Some(position) = &checkpoint.position else { continue };
                let Some(membership) = group.membership(&checkpoint.split) else {
                    let text = format!("{} is somebody else's by now", checkpoint.split);
                    return Err(Error::new(ErrorKind::Fenced, text).context(self.shared.place()));
                };
                offsets.push((membership, Place::of(position)?));
            }
        }
        self.mend().await?;
        self.offsets = offsets;
        self.settle().await?;
        self.broken = false;
        Ok(self.settled())
    }
}

/// The keys of a batch's rows.
struct Keys<'a> {
    batch: &'a TableBatch,
    /// The columns and their names; without names where there is one alone.
    columns: Vec<(usize, Option<&'a str>)>,
    key: Option<String>,
    fixed: bool,
}

impl<'a> Keys<'a> {
    fn new(key: &MessageKey, batch: &'a TableBatch) -> Self {
        let all = batch.schema().columns();
        let named = |index: usize| all.get(index).map(|column| (index, Some(column.name())));
        let columns: Vec<_> = match key {
            MessageKey::None | MessageKey::Table => Vec::new(),
            MessageKey::Tags => (0..all.len())
                .filter(|index| matches!(all[*index].role(), Role::Tag | Role::PrimaryTag))
                .filter_map(named)
                .collect(),
            MessageKey::Columns(names) => match &**names {
                [name] => batch.schema().index_of(name).map(|index| (index, None)).into_iter().collect(),
                names => names.iter().filter_map(|name| named(batch.schema().index_of(name)?)).collect(),
            },
        };
        let fixed = matches!(key, MessageKey::None | MessageKey::Table);
        let key = (*key == MessageKey::Table).then(|| batch.table().name().to_owned());
        Self { batch, columns, key, fixed }
    }

    /// The key of a row; none where all its parts are null.
    fn of(&mut self, row: usize) -> Option<&[u8]> {
        if !self.fixed {
            let row = self.batch.row(row);
            let mut key = String::new();
            let mut any = false;
            for (index, name) in &self.columns {
                // A value that cannot be shown is none of a key.
                let Ok(value) = row.at(*index) else { continue };
                if matches!(value, Value::Null) {
                    continue;
                }
                if any {
                    key.push(',');
                }
                if let Some(name) = name {
                    key.push_str(name);
                    key.push('=');
                }
                key.push_str(&value.to_string());
                any = true;
            }
            self.key = any.then_some(key);
        }
        self.key.as_deref().map(str::as_bytes)
    }
}
