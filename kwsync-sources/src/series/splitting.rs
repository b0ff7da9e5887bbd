//! Splits of series, and their readers.

use std::sync::{Arc, Mutex, PoisonError};

use kwsync_core::{Result, Schema, Split, SplitPosition, TableId};

use super::pieces::bounds;
use crate::relational::{self, Batches, CursorOptions, CursorSpec, Database, Follow};

/// A database whose tables are read by their times.
pub(crate) trait SeriesDatabase: Database + Clone {
    /// What is read, as splits have it.
    fn what(&self) -> Result<serde_json::Value>;

    fn cursor(&self) -> &CursorOptions;

    /// Nanoseconds of the unit of windows.
    fn unit(&self) -> i128;

    /// What a person should know of a table.
    fn notes<'a>(&self, table: &'a Self::Table) -> &'a [String];
}

/// What a source of series is made of, whatever the database.
#[derive(Debug)]
pub(crate) struct Splitting<D> {
    database: D,
    notes: Mutex<Vec<String>>,
    tables: Mutex<Vec<(TableId, Arc<Schema>)>>,
}

impl<D: SeriesDatabase> Splitting<D> {
    pub(crate) fn new(database: D) -> Self {
        Self { database, notes: Mutex::default(), tables: Mutex::default() }
    }

    /// As [`Source::notes`](kwsync_core::Source::notes).
    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As [`Source::tables`](kwsync_core::Source::tables).
    pub(crate) fn tables(&self) -> Vec<(TableId, Arc<Schema>)> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn learn(&self, table: &D::Table) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        for note in self.database.notes(table) {
            if !notes.contains(note) {
                notes.push(note.clone());
            }
        }
        let info = table.as_ref();
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if tables.iter().all(|(known, _)| *known != info.table) {
            tables.push((info.table.clone(), Arc::clone(&info.schema)));
        }
    }

    /// The pieces of one of so many tables: ranges of time, if there are too few tables for the lanes.
    async fn pieces(
        &self,
        session: &mut D::Session,
        table: &D::Table,
        lanes: usize,
        tables: usize,
    ) -> Result<Vec<Split>> {
        let asked = &table.as_ref().asked;
        let cut = match lanes {
            0 | 1 => Vec::new(),
            _ => match self.database.ends(session, table).await? {
                Some((first, last)) => bounds(first, last, self.database.unit(), lanes, tables),
                None => Vec::new(),
            },
        };
        let ends: Vec<Option<i128>> =
            [None].into_iter().chain(cut.into_iter().map(Some)).chain([None]).collect();
        let mut splits = Vec::with_capacity(ends.len() - 1);
        for (at, pair) in ends.windows(2).enumerate() {
            let [from, to] = pair else { continue };
            let text = |value: &Option<i128>| value.map(|value| value.to_string());
            let id = if ends.len() == 2 { asked.to_string() } else { format!("{asked}#{}", at + 1) };
            let spec = CursorSpec {
                table: Some(asked.clone()),
                range: Some((text(from), text(to))),
                cursor: self.database.what()?,
                ..CursorSpec::default()
            };
            // The end may be in the future, or the lag has not passed it: a later run reads what is left.
            splits.push(spec.into_split(id, true)?);
        }
        Ok(splits)
    }

    /// As [`Source::splits`](kwsync_core::Source::splits).
    pub(crate) async fn splits(&self, lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
        let (options, what) = (self.database.cursor(), self.database.what()?);
        if options.mode.follows() {
            let (splits, tables) = relational::splits(&self.database, options, &what, lanes, known).await?;
            tables.iter().for_each(|table| self.learn(table));
            return Ok(splits);
        }
        let specs = known.iter().map(|split| CursorSpec::of(split, &what)).collect::<Result<Vec<_>>>()?;
        let mut session = self.database.session().await?;
        let mut splits = known.to_vec();
        let tables = self.database.tables(&mut session, known.is_empty()).await?;
        for table in &tables {
            self.learn(table);
            let asked = &(**table).as_ref().asked;
            if specs.iter().all(|spec| spec.table.as_ref() != Some(asked)) {
                splits.extend(self.pieces(&mut session, table, lanes, tables.len()).await?);
            }
        }
        Ok(splits)
    }

    /// As [`Source::open`](kwsync_core::Source::open).
    pub(crate) fn open(&self, split: &Split, at: Option<&SplitPosition>) -> Result<Batches> {
        let spec = CursorSpec::of(split, &self.database.what()?)?;
        let (options, at) = (self.database.cursor().clone(), at.cloned());
        let follow = Follow { database: Arc::new(self.database.clone()), options, spec };
        Ok(Batches::of(|sender| async move { follow.run(at, &sender).await }))
    }
}
