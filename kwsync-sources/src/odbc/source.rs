//! Splits of tables, and readers.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use kwsync_core::{Error, ErrorKind, Input, Result, Schema, Source, Split, SplitPosition, TableId};

use super::config::OdbcSourceOptions;
use super::dialect::Server;
use super::reader::{OdbcReader, Reading};
use super::session::{Found, Session};
use super::shape::Shape;
use crate::relational::ranged::{Range, Spec, What, after, cut_evenly};

/// Least width of a range that is cut without being asked for.
const PIECE_WIDTH: i128 = 50_000;
/// Pieces of a table for each lane: enough that a slow lane leaves little for the others to wait for.
const PIECES_PER_LANE: i128 = 4;

/// Tables and queries of whatever has an ODBC driver.
///
/// # Examples
/// ```no_run
/// use kwsync_core::{Reader, Source};
/// use kwsync_sources::odbc::{OdbcSource, OdbcSourceOptions};
///
/// # async fn read() -> kwsync_core::Result<()> {
/// let connection = "Driver=SQLite3;Database=/var/lib/shop.db;".into();
/// let source = OdbcSource::new(OdbcSourceOptions::new(connection, "shop.db").with_tables(["orders"])?);
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
pub struct OdbcSource {
    options: Arc<OdbcSourceOptions>,
    shapes: Mutex<HashMap<Option<TableId>, Arc<Shape>>>,
    notes: Mutex<Vec<String>>,
    tables: Mutex<Vec<(TableId, Arc<Schema>)>>,
}

/// What was found out of what is to be read.
#[derive(Default)]
struct Planned {
    splits: Vec<Split>,
    shapes: HashMap<Option<TableId>, Arc<Shape>>,
    notes: Vec<String>,
    tables: Vec<(TableId, Arc<Schema>)>,
}

impl OdbcSource {
    /// A source with the options given. Nothing is connected yet.
    pub fn new(options: OdbcSourceOptions) -> Self {
        Self {
            options: Arc::new(options),
            shapes: Mutex::default(),
            notes: Mutex::default(),
            tables: Mutex::default(),
        }
    }
}

fn what(options: &OdbcSourceOptions) -> What {
    What::new(&options.columns, options.condition.as_deref(), options.query.as_deref())
}

/// The shape of what a split is of.
pub(super) fn shape(session: &Session, options: &OdbcSourceOptions, spec: &Spec) -> Result<Shape> {
    match &spec.asked {
        Some(id) => {
            let found = Found {
                catalog: (session.dialect.server == Server::MySql)
                    .then(|| id.schema().map(str::to_owned))
                    .flatten(),
                schema: id.schema().map(str::to_owned),
                name: id.name().to_owned(),
                view: false,
            };
            Shape::of_table(session, options, id, &found, spec.key.clone())
        }
        None => {
            let query = options.query.as_deref().unwrap_or_default();
            Shape::of_query(session, options, query, spec.key.clone())
        }
    }
}

fn plan(options: &OdbcSourceOptions, lanes: usize, known: &[Spec]) -> Result<Planned> {
    let session = Session::open(options)?;
    let mut planned = Planned::default();
    planned.notes.push(
        "each piece is read at a moment of its own: ODBC has no snapshot that sessions could share"
            .to_owned(),
    );
    match &options.query {
        Some(_) if !known.is_empty() => {}
        Some(query) => plan_query(&session, options, query, &mut planned)?,
        None => {
            let asked = asked(&session, options)?;
            let schemas: BTreeSet<_> = asked.iter().map(|found| found.schema.as_deref()).collect();
            for found in &asked {
                plan_table(&session, options, found, schemas.len() > 1, lanes, known, &mut planned)?;
            }
        }
    }
    Ok(planned)
}

/// The tables that the options ask for.
fn asked(session: &Session, options: &OdbcSourceOptions) -> Result<Vec<Found>> {
    let all = session.tables()?;
    let default = session.default_schema();
    let default = default.as_deref();
    let mut asked: Vec<Found> = Vec::new();
    for pattern in &options.tables {
        let before = asked.len();
        for found in &all {
            let schema = found.schema.as_deref().unwrap_or_default();
            let is = match pattern.exact() {
                Some((named, name)) => {
                    name == found.name && named.or(default).is_none_or(|wanted| wanted == schema)
                }
                None => {
                    !found.view
                        && found.name != "kwsync_checkpoint"
                        && pattern.matches(default, schema, &found.name)
                }
            };
            let out = options.exclude.iter().any(|other| other.matches(default, schema, &found.name));
            if is && !out && !asked.contains(found) {
                asked.push(found.clone());
            }
        }
        if asked.len() == before && (pattern.exact().is_some() || options.exclude.is_empty()) {
            let place = default.map(|name| format!(" in {name:?}")).unwrap_or_default();
            let text = format!("there is no table {pattern}{place} to read");
            return Err(Error::new(ErrorKind::NotFound, text).with_hint(
                "check the schema and the case of the name, and that the user may read it; it may have been dropped or renamed",
            ));
        }
    }
    Ok(asked)
}

fn plan_query(
    session: &Session,
    options: &OdbcSourceOptions,
    query: &str,
    planned: &mut Planned,
) -> Result<()> {
    let table = match options.tables.first().and_then(|pattern| pattern.exact()) {
        Some((Some(schema), name)) => TableId::with_schema(schema, name),
        Some((None, name)) => TableId::new(name),
        None => TableId::new("query"),
    };
    let key: Vec<String> = options.split_by.iter().cloned().collect();
    let shape = Shape::of_query(session, options, query, key)?;
    let pieces = match &options.split_by {
        Some(name) => cut(session, &shape, name, true, options.splits.unwrap_or(1))?,
        None => {
            planned.notes.push(
                "the query is read in one piece, and cannot be read on from the middle; split_by= can name a column of \
                 it whose values are distinct"
                    .to_owned(),
            );
            vec![None]
        }
    };
    planned.made(&table, None, shape, false, pieces, what(options))
}

fn plan_table(
    session: &Session,
    options: &OdbcSourceOptions,
    found: &Found,
    qualified: bool,
    lanes: usize,
    known: &[Spec],
    planned: &mut Planned,
) -> Result<()> {
    let named = |schema: Option<&str>| match schema {
        Some(schema) => TableId::with_schema(schema, found.name.as_str()),
        None => TableId::new(found.name.as_str()),
    };
    let id = named(found.schema.as_deref());
    if known.iter().any(|spec| spec.asked.as_ref() == Some(&id)) {
        return Ok(());
    }
    let (mut key, mut unique) = (session.key(found), true);
    if let Some(name) = options.split_by.as_ref().filter(|_| key.is_empty() && found.view) {
        (key, unique) = (vec![name.clone()], false);
    }
    let shape = Shape::of_table(session, options, &id, found, key)?;
    if shape.key.is_empty() {
        planned
            .notes
            .push(format!("{id} cannot be read on from the middle: there is no primary key to do so by"));
    }
    let ranges = match options.split_by.as_ref().or_else(|| shape.key.first()) {
        Some(column) => {
            let asked = options.split_by.is_some();
            let pieces = match (options.splits, lanes) {
                (Some(pieces), _) => Pieces::Exactly(pieces),
                (None, ..2) => Pieces::Exactly(1),
                (None, lanes) => Pieces::AtMost(lanes),
            };
            match pieces {
                Pieces::Exactly(pieces) => match cut(session, &shape, column, asked, pieces) {
                    Err(error) if asked => return Err(error),
                    // The first column of the key is no number.
                    other => other.unwrap_or_else(|_| vec![None]),
                },
                Pieces::AtMost(lanes) => match ends(session, &shape, column) {
                    Ok(Some((min, max))) => {
                        let most = lanes as i128 * PIECES_PER_LANE;
                        let pieces = (max.saturating_sub(min) / PIECE_WIDTH).clamp(1, most);
                        cut_evenly(column, min, max, pieces as usize, asked)
                    }
                    Err(error) if asked => return Err(error),
                    _ => vec![None],
                },
            }
        }
        None => vec![None],
    };
    let name = named(found.schema.as_deref().filter(|_| qualified));
    planned.made(&name, Some(&id), shape, unique, ranges, what(options))
}

enum Pieces {
    Exactly(usize),
    AtMost(usize),
}

/// Ranges of a column of numbers.
fn cut(
    session: &Session,
    shape: &Shape,
    column: &str,
    nulls: bool,
    pieces: usize,
) -> Result<Vec<Option<Range>>> {
    if pieces < 2 {
        return Ok(vec![None]);
    }
    Ok(match ends(session, shape, column)? {
        Some((min, max)) => cut_evenly(column, min, max, pieces, nulls),
        None => vec![None],
    })
}

/// The least and the greatest value of a column of numbers, cut to whole ones; none where there are no rows.
fn ends(session: &Session, shape: &Shape, column: &str) -> Result<Option<(i128, i128)>> {
    let name = session.dialect.quote(column)?;
    let rows = session.texts(&format!("SELECT MIN({name}), MAX({name}) FROM {}", shape.from()))?;
    let Some([Some(min), Some(max)]) = rows.first().map(Vec::as_slice) else { return Ok(None) };
    let whole = |text: &str| text.trim().split('.').next().and_then(|digits| digits.parse::<i128>().ok());
    match (whole(min), whole(max)) {
        (Some(min), Some(max)) => Ok(Some((min, max))),
        _ => Err(Error::config(format!("rows cannot be cut by {column:?}, which is no column of numbers"))
            .with_hint("name another with split_by=, or none")),
    }
}

impl Planned {
    fn made(
        &mut self,
        table: &TableId,
        asked: Option<&TableId>,
        shape: Shape,
        unique: bool,
        ranges: Vec<Option<Range>>,
        what: What,
    ) -> Result<()> {
        let count = ranges.len();
        let name = asked.map_or_else(|| format!("query:{table}"), TableId::to_string);
        for (at, range) in ranges.into_iter().enumerate() {
            let spec = Spec {
                table: table.clone(),
                asked: asked.cloned(),
                key: shape.key.clone(),
                unique,
                range,
                what: what.clone(),
            };
            let id = if count == 1 { name.clone() } else { format!("{name}#{}", at + 1) };
            self.splits.push(spec.into_split(id, None)?);
        }
        self.notes.extend(shape.notes.iter().cloned());
        self.tables.push((table.clone(), Arc::clone(&shape.schema)));
        self.shapes.insert(asked.cloned(), Arc::new(shape));
        Ok(())
    }
}

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source for OdbcSource {
    type Reader = OdbcReader;

    fn notes(&self) -> Vec<String> {
        held(&self.notes).clone()
    }

    fn tables(&self) -> Vec<(TableId, Arc<Schema>)> {
        held(&self.tables).clone()
    }

    async fn splits(&self, lanes: usize, known: &[Split]) -> Result<Vec<Split>> {
        let what = what(&self.options);
        let specs = known.iter().map(|split| Spec::of(split, "ODBC", &what)).collect::<Result<Vec<_>>>()?;
        let options = Arc::clone(&self.options);
        let planned =
            tokio::task::spawn_blocking(move || plan(&options, lanes, &specs)).await.map_err(|error| {
                Error::new(ErrorKind::Internal, "the ODBC driver broke its thread").with_source(error)
            })??;
        let mut notes = held(&self.notes);
        for note in planned.notes {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        drop(notes);
        held(&self.shapes).extend(planned.shapes);
        held(&self.tables).extend(planned.tables);
        Ok(known.iter().cloned().chain(planned.splits).collect())
    }

    async fn open(&self, split: &Split, at: Option<&SplitPosition>) -> Result<OdbcReader> {
        let spec = Spec::of(split, "ODBC", &what(&self.options))?;
        let after = after(at)?;
        if spec.key.is_empty() && after.is_some() {
            let text = format!("`{}` cannot be read on from the middle", split.id);
            return Err(Error::new(ErrorKind::Unsupported, text).with_hint(
                "empty the target and begin anew with --restart; a primary key would have made it possible",
            ));
        }
        let shape = held(&self.shapes).get(&spec.asked).cloned();
        let name = spec.asked.as_ref().map_or_else(|| "the query".to_owned(), TableId::to_string);
        let input = Arc::new(Input::new(name).with_split(Arc::clone(&split.id)));
        OdbcReader::start(Reading { options: Arc::clone(&self.options), spec, shape, input, after })
    }
}
