//! Splits of tables, and readers for them.

use std::sync::{Arc, Mutex, PoisonError};

use kwsync_core::{
    DecodeCounts, Decoded, Error, ErrorKind, Reader, Result, Schema, Source, SourceBatch, Split,
    SplitPosition, TableBatch, TableId,
};
use tokio::sync::mpsc;

use super::config::KwdbSourceOptions;
use super::cursor::Cursor;
use super::table::{Session, Table, gone};
use crate::relational::{self, Batches, CursorSpec, Database, Follow, Window};

/// Pieces of a table for each lane, and in all: years in windows of a minute must not become millions of queries.
const PIECES_PER_LANE: i128 = 8;
const MOST_PIECES: i128 = 256;

/// Tables and queries of KWDB.
///
/// # Examples
/// ```no_run
/// use kwsync_core::system::postgres::wire::ConnectConfig;
/// use kwsync_core::{Reader, Source};
/// use kwsync_sources::kwdb::{KwdbSource, KwdbSourceOptions};
///
/// # async fn read() -> kwsync_core::Result<()> {
/// let connect = ConnectConfig::new("localhost", 26257, "root", "benchmark");
/// let source = KwdbSource::new(KwdbSourceOptions::new(connect).with_tables(["cpu"])?);
/// for split in source.splits(1, &[]).await? {
///     let mut reader = source.open(&split, None).await?;
///     while let Some(read) = reader.next().await? {
///         for batch in read.decoded.batches {
///             println!("{} rows of {}", batch.rows(), batch.table());
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct KwdbSource {
    cursor: Cursor,
    notes: Mutex<Vec<String>>,
    tables: Mutex<Vec<(TableId, Arc<Schema>)>>,
}

/// Reads one split of a [`KwdbSource`].
#[derive(Debug)]
pub struct KwdbReader {
    batches: Batches,
}

impl KwdbSource {
    /// A source with the options given. Nothing is connected yet.
    pub fn new(options: KwdbSourceOptions) -> Self {
        Self {
            cursor: Cursor { options: Arc::new(options) },
            notes: Mutex::default(),
            tables: Mutex::default(),
        }
    }

    fn learn(&self, table: &Table) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        for note in &table.notes {
            if !notes.contains(note) {
                notes.push(note.clone());
            }
        }
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if tables.iter().all(|(known, _)| *known != table.info.table) {
            tables.push((table.info.table.clone(), Arc::clone(&table.info.schema)));
        }
    }

    /// The pieces of one table: windows of time, the last of which is open and read on by later runs; or a single one.
    async fn pieces(&self, session: &mut Session, table: &Table, lanes: usize) -> Result<Vec<Split>> {
        let (info, options) = (&table.info, &self.cursor.options);
        let name = info.asked.to_string();
        let spec = |range| -> Result<CursorSpec> {
            Ok(CursorSpec {
                table: Some(info.asked.clone()),
                range,
                cursor: self.cursor.what()?,
                ..CursorSpec::default()
            })
        };
        if !table.ordered {
            return Ok(vec![Split { resumable: false, ..spec(None)?.into_split(name, false)? }]);
        }
        let bounds = match (info.kind.nanos(), self.cursor.ends(session, table).await?) {
            (Some(nanos), Some((min, max))) => {
                let (begin, end) = (&options.cursor.begin, &options.cursor.end);
                let from = match begin {
                    Some(text) => self.cursor.value(session, info.kind, text).await?.max(min),
                    None => min,
                };
                let to = match end {
                    Some(text) => self.cursor.value(session, info.kind, text).await?.min(max + 1),
                    None => max + 1,
                };
                let window = (options.split_interval.as_nanos() as i128 / nanos).max(1);
                bounds(from, to, window, lanes)
            }
            _ => Vec::new(),
        };
        let ends: Vec<Option<i128>> =
            [None].into_iter().chain(bounds.into_iter().map(Some)).chain([None]).collect();
        let count = ends.len() - 1;
        let mut splits = Vec::with_capacity(count);
        for (at, pair) in ends.windows(2).enumerate() {
            let [from, to] = pair else { continue };
            let text = |value: &Option<i128>| value.map(|value| value.to_string());
            let id = if count == 1 { name.clone() } else { format!("{name}#{}", at + 1) };
            let open = to.is_none() && options.cursor.end.is_none();
            splits.push(spec(Some((text(from), text(to))))?.into_split(id, open)?);
        }
        Ok(splits)
    }
}

/// The bounds between pieces of whole windows, from the first value to the one behind the last.
fn bounds(from: i128, to: i128, window: i128, lanes: usize) -> Vec<i128> {
    if to <= from {
        return Vec::new();
    }
    let windows = (to - from + window - 1) / window;
    let most = (lanes as i128 * PIECES_PER_LANE).clamp(1, MOST_PIECES);
    let each = (windows + most - 1) / most;
    (1..).map(|piece| from + piece * each * window).take_while(|bound| *bound < to).collect()
}

/// Reads a table without a cursor to its end.
async fn whole(cursor: Cursor, spec: CursorSpec, sender: mpsc::Sender<Result<SourceBatch>>) -> Result<()> {
    let mut session = cursor.session().await?;
    let tables = cursor.tables(&mut session, true).await?;
    let own = |table: &&Arc<Table>| spec.table.as_ref() == Some(&table.info.asked);
    let Some(table) = tables.iter().find(own) else {
        return Err(gone(&spec.table.map_or_else(|| "query".to_owned(), |id| id.to_string())));
    };
    let position = || SplitPosition(serde_json::Value::Null);
    // A table without rows is one, too: whoever takes it makes it.
    let none = TableBatch::empty(table.info.table.clone(), Arc::clone(&table.info.schema))?;
    if sender.send(Ok(SourceBatch::new(vec![none], position()))).await.is_err() {
        return Ok(());
    }
    let (pages, mut taken) = mpsc::channel(2);
    let read = async {
        // Moved, so that it ends with the reading.
        let pages = pages;
        cursor.rows(&mut session, table, &Window::default(), &pages).await
    };
    let passed = async {
        while let Some(page) = taken.recv().await {
            let batches: Vec<_> = page.batches.into_iter().map(|(batch, _)| batch).collect();
            let rows: usize = batches.iter().map(TableBatch::rows).sum();
            let records = (rows + page.rejects.len()) as u64;
            let counts = DecodeCounts { records, ..page.counts };
            let decoded = Decoded { batches, rejects: page.rejects, counts };
            let batch = SourceBatch { bytes: page.bytes, ..SourceBatch::of(decoded, position()) };
            if sender.send(Ok(batch)).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    tokio::try_join!(read, passed).map(|_| ())
}

impl Source for KwdbSource {
    type Reader = KwdbReader;

    fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tables(&self) -> Vec<(TableId, Arc<Schema>)> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn splits(&self, lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
        let options = &self.cursor.options.cursor;
        if options.mode.follows() {
            let (splits, tables) =
                relational::splits(&self.cursor, options, &self.cursor.what()?, lanes, known).await?;
            for table in &tables {
                self.learn(table);
            }
            if let Some(table) = tables.iter().find(|table| !table.ordered) {
                return Err(no_cursor(&table.info.asked));
            }
            return Ok(splits);
        }
        let what = self.cursor.what()?;
        let specs = known.iter().map(|split| CursorSpec::of(split, &what)).collect::<Result<Vec<_>>>()?;
        let mut session = self.cursor.session().await?;
        let mut splits = known.to_vec();
        for table in self.cursor.tables(&mut session, true).await? {
            self.learn(&table);
            if specs.iter().all(|spec| spec.table.as_ref() != Some(&table.info.asked)) {
                splits.extend(self.pieces(&mut session, &table, lanes).await?);
            }
        }
        Ok(splits)
    }

    async fn open(&self, split: &Split, at: Option<&SplitPosition>) -> Result<KwdbReader> {
        let cursor = self.cursor.clone();
        let spec = CursorSpec::of(split, &cursor.what()?)?;
        if !split.resumable {
            return Ok(KwdbReader { batches: Batches::of(|sender| whole(cursor, spec, sender)) });
        }
        let (options, at) = (cursor.options.cursor.clone(), at.cloned());
        let follow = Follow { database: Arc::new(cursor), options, spec };
        Ok(KwdbReader { batches: Batches::of(|sender| async move { follow.run(at, &sender).await }) })
    }
}

fn no_cursor(table: &TableId) -> Error {
    let text = format!("{table} has no column by which what is new could be told");
    Error::new(ErrorKind::Config, text)
        .with_hint("name one with cursor=, or leave the table out with exclude=")
}

impl Reader for KwdbReader {
    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        self.batches.next().await
    }

    fn is_interruptible(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod windows {
    use super::bounds;

    #[test]
    fn years_in_windows_of_a_minute_are_few_pieces() {
        assert_eq!(bounds(0, 180, 60, 1), [60, 120]);
        assert_eq!(bounds(0, 181, 60, 1), [60, 120, 180]);
        assert_eq!(bounds(7, 8, 60, 4), Vec::<i128>::new());
        assert_eq!(bounds(8, 8, 60, 4), Vec::<i128>::new());
        let years = bounds(0, 10 * 31_536_000, 60, 4);
        assert_eq!(years.len(), 31);
        assert!(years.iter().all(|bound| bound % 60 == 0));
    }
}
