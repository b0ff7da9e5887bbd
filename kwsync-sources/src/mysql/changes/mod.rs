//! Inserts, updates and deletes, by the binary log: a copy of the tables as they are at one moment, and the stream of what
//! comes.
//!
//! A job is a *replica* to the server, under a number of its own. It has nothing at the server that would hold back the log:
//! that is kept as long as the server says, and a job that comes later is told so. All tables are copied as of a place in the
//! log, where the stream begins. Its split is the last, and is opened when the copy is done.
//!
//! A position of the stream is a place in the log behind a whole transaction. Where the target keeps the checkpoint in
//! the data's own transaction, each transaction of the source is there once.
//!
//! A run that resumes the copy reads what is left in a later snapshot. Its rows are upserted, and the stream begins where it
//! would have: the log has whole rows, so each is in the end what the stream says.
//!
//! The rows of the log have types and places, and names only with `binlog_row_metadata=FULL`. Without those the columns are
//! those that the catalog had when the job began. Where a table is altered, what it has then is looked up, and the log is
//! looked through up to the end as of that look-up: only if the table was not altered again, it is known what it had.

mod ahead;
mod charset;
pub(super) mod config;
mod known;
mod listed;
mod log;
mod place;
mod precheck;
mod prepared;
mod server;
mod snapshot;
mod statements;
mod stream;
mod text;
mod wkt;

use std::sync::Arc;
use std::time::Duration;

use kwsync_core::{Error, Input, Result, Split, SplitPosition, TableId};
use mysql_async::Conn;
use serde::{Deserialize, Serialize};

use self::config::ChangesOptions;
use self::listed::Listed;
use self::place::BinlogPlace;
use self::prepared::Prepared;
use self::server::Server;
use self::snapshot::Taken;
use self::stream::Streaming;
use super::config::MysqlSourceOptions;
use super::sessions::Sessions;
use super::shape::Table;
use super::source::{asked, look, named};
use crate::relational::Batches;
use crate::relational::changes::{self as shared, Extent, Place, Related};

/// The split of the stream.
const SPLIT: &str = "changes";

/// How often a beginning is tried while transactions of two phases are under way, and how long it is waited between.
const PATIENCE: u32 = 6;
const WAIT: Duration = Duration::from_millis(400);

/// Tells the task of a stream what has settled.
pub(super) type Telling = shared::Telling<BinlogPlace>;

/// What a table was when the job began, as the split of the stream remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Followed {
    /// What its rows are called.
    pub(super) table: TableId,
    /// The table that was asked for.
    pub(super) asked: TableId,
    /// The columns by which its rows are told apart; none where it has no key.
    key: Vec<String>,
    /// Tables whose changes must stay in order have the same number.
    group: usize,
    /// Whether changes of one row may be put together, and rows of the table change places.
    folds: bool,
    /// Whether it is read as of a moment; if not, its copy has rows of several.
    steady: bool,
    /// Its columns in the order of the log.
    columns: Vec<Listed>,
}

/// What the split of the stream says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ChangesSpec {
    /// What tells the server from others.
    server: String,
    /// Where the copy ends and the stream begins.
    start: BinlogPlace,
    tables: Vec<Followed>,
}

impl ChangesSpec {
    /// What a split says, if it is that of a stream.
    pub(super) fn of(split: &Split) -> Option<Result<Self>> {
        (*split.id == *SPLIT).then(|| {
            serde_json::from_value(split.spec.clone()).map_err(|error| {
                Error::config("the job of this name has not followed the changes of these tables")
                    .with_source(error)
                    .with_hint("use another --job, or --restart")
            })
        })
    }

    pub(super) fn into_split(self) -> Result<Split> {
        let spec = serde_json::to_value(self).map_err(|error| {
            Error::new(kwsync_core::ErrorKind::Internal, "cannot write a split down").with_source(error)
        })?;
        Ok(Split { spec, continues: true, after_others: true, ..Split::whole(SPLIT) })
    }

    /// Whether a table is followed.
    pub(super) fn has(&self, asked: &TableId) -> bool {
        self.tables.iter().any(|table| table.asked == *asked)
    }

    /// Whether the rows of a table are told apart by a key, and all are read as of one moment.
    pub(super) fn table(&self, asked: Option<&TableId>) -> (bool, bool) {
        let table = self.tables.iter().find(|table| Some(&table.asked) == asked);
        table.map_or((false, true), |table| (!table.key.is_empty(), table.steady))
    }

    /// Begins to read the stream.
    pub(super) fn open(
        self,
        options: &Arc<MysqlSourceOptions>,
        at: Option<&SplitPosition>,
    ) -> Result<(Batches, Telling)> {
        let at = at.map(BinlogPlace::of).transpose()?.unwrap_or_else(|| self.start.clone());
        let (telling, told) = Telling::new(at.clone());
        let input = Arc::new(Input::new("changes of the binary log").with_split(SPLIT));
        let streaming = Streaming { options: Arc::clone(options), spec: self, at, told, input };
        let batches = Batches::of(|sender| async move { streaming.run(&sender).await });
        Ok((batches, telling))
    }
}

/// The number and the name by which the server knows the job.
fn replica(options: &MysqlSourceOptions, changes: &ChangesOptions) -> (u32, String) {
    let tables = options.tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let connect = &options.connect;
    changes.replica(&format!("{:?} {:?} {tables}", connect.hosts, connect.database))
}

/// A table that was asked for.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) id: TableId,
    /// What its rows are called.
    named: TableId,
    view: bool,
    engine: String,
    table: Table,
}

impl Looked {
    /// The columns by which its rows are told apart in the log.
    fn key(&self) -> Vec<String> {
        self.table.followed_key()
    }

    fn listed(&self) -> Vec<Listed> {
        self.table.columns.iter().map(Listed::from).collect()
    }
}

/// The tables as the catalog has them.
async fn looked_at(session: &mut Conn, options: &MysqlSourceOptions) -> Result<Vec<Looked>> {
    let found = asked(session, options, true).await?;
    let mut tables = Vec::with_capacity(found.len());
    for table in &found {
        let id = TableId::with_schema(table.schema.as_str(), table.name.as_str());
        tables.push(Looked {
            named: named(options, &found, table),
            table: look(session, &id).await?,
            id,
            view: table.view,
            engine: table.engine.clone(),
        });
    }
    Ok(tables)
}

/// Looks at the tables, and refuses what cannot be followed.
async fn looked(
    session: &mut Conn,
    options: &MysqlSourceOptions,
    changes: &ChangesOptions,
) -> Result<(Server, Vec<Looked>)> {
    let server = Server::look(session).await?;
    let tables = looked_at(session, options).await?;
    precheck::check(session, &server, options, changes, &tables).await?;
    Ok((server, tables))
}

/// Whether tables of an engine are read as of a moment.
fn is_steady(engine: &str) -> bool {
    ["INNODB", "ROCKSDB", "TOKUDB"].contains(&engine.to_ascii_uppercase().as_str())
}

/// The tables as the split of the stream remembers them.
fn followed(changes: &ChangesOptions, tables: &[Looked]) -> Vec<Followed> {
    let all: Vec<Related<'_>> = tables
        .iter()
        .map(|looked| {
            let key = looked.key();
            Related {
                id: looked.id.clone(),
                refers_to: looked.table.keys.keys.iter().map(|key| &key.table).collect(),
                has_other_unique: looked.table.keys.indexes.iter().any(|index| {
                    index.unique
                        && !index
                            .columns
                            .iter()
                            .map(|column| &*column.name)
                            .eq(key.iter().map(String::as_str))
                }),
            }
        })
        .collect();
    let groups = shared::grouped(&all, changes.order);
    let own = |(looked, grouped): (&Looked, shared::Grouped)| Followed {
        table: looked.named.clone(),
        asked: looked.id.clone(),
        key: looked.key(),
        group: grouped.group,
        folds: grouped.folds,
        steady: is_steady(&looked.engine),
        columns: looked.listed(),
    };
    tables.iter().zip(groups).map(own).collect()
}

fn notes(server: &Server, changes: &ChangesOptions, tables: &[Followed]) -> Vec<String> {
    let mut notes = vec![format!(
        "the server keeps its log {}, whether the job has read it or not: a job that comes later has to begin anew (--restart)",
        server.keeps()
    )];
    if !server.names_columns() && changes.operations.alter {
        notes.push(
            "the log does not tell the names of columns (binlog_row_metadata=FULL would): a table that is altered twice in short \
             order stops the job"
                .to_owned(),
        );
    }
    let changing: Vec<String> =
        tables.iter().filter(|table| !table.steady).map(|table| table.asked.to_string()).collect();
    if !changing.is_empty() {
        notes.push(format!(
            "tables of an engine without transactions are copied as they change, and are right once the stream has caught up: {}",
            changing.join(", ")
        ));
    }
    let told = tables.iter().map(|table| (&table.asked, table.folds, !table.key.is_empty()));
    notes.extend(shared::order_notes(told));
    notes
}

/// What following would do, for a look; refuses what would be refused.
pub(super) async fn preview(
    options: &MysqlSourceOptions,
    changes: &ChangesOptions,
) -> Result<(ChangesSpec, Vec<String>)> {
    let mut session = options.connect.connect().await?;
    let (server, tables) = looked(&mut session, options, changes).await?;
    let tables = followed(changes, &tables);
    let (number, name) = replica(options, changes);
    let mut notes = notes(&server, changes, &tables);
    notes.insert(0, format!("the job is a replica to the server, number {number}, called {name}"));
    let start = BinlogPlace::new("", 0);
    Ok((ChangesSpec { server: server.identity(), start, tables }, notes))
}

/// Finds the place where a new job begins, that of the snapshot of its copy, which is taken for so many lanes.
pub(super) async fn begin(
    options: &MysqlSourceOptions,
    changes: &ChangesOptions,
    sessions: &Sessions,
    lanes: usize,
) -> Result<(ChangesSpec, Vec<String>)> {
    let mut session = options.connect.connect().await?;
    let (server, tables) = looked(&mut session, options, changes).await?;
    let mut notes_of_it = Vec::new();
    let ids: Vec<TableId> = tables.iter().map(|table| table.id.clone()).collect();
    let steady = server.flavor() == kwsync_core::system::mysql::binlog::Flavor::MariaDb;
    let (number, _) = replica(options, changes);
    let mut tries = 0;
    let mut start = loop {
        let taken = match changes.extent {
            Extent::Realtime => {
                let status = server::status(&mut session).await?.ok_or_else(snapshot::no_log)?;
                let prepared = Prepared::look(&mut session).await?;
                Taken { place: status.place, prepared, note: None }
            }
            _ => sessions.open_at(lanes, &ids, steady).await?,
        };
        let Taken { place, prepared, note } = taken;
        let Some(why) = prepared.hinders(&mut session, options, &server, &place, number).await? else {
            notes_of_it.extend(note);
            break place;
        };
        // Where transactions of two phases are usual, one is mostly under way, and soon over.
        tries += 1;
        if tries == PATIENCE {
            return Err(prepared::hindered(&why));
        }
        tracing::info!(why, "the stream begins a little later");
        tokio::time::sleep(WAIT).await;
    };
    // Their columns as of the place: those before it, if they are the same behind it.
    let again = looked_at(&mut session, options).await?;
    let same =
        |(one, other): (&Looked, &Looked)| one.id == other.id && one.table.columns == other.table.columns;
    if again.len() != tables.len() || !tables.iter().zip(&again).all(same) {
        let text = "a table was made, altered or dropped while the job began";
        return Err(Error::new(kwsync_core::ErrorKind::Conflict, text)
            .with_hint("run the job again: nothing was copied yet"));
    }
    start.gtid = server::identifiers(&mut session, &server, &start).await?.unwrap_or_default().into();
    let tables = followed(changes, &tables);
    tracing::info!(at = %start, gtid = %start.gtid, "the stream of changes begins here");
    notes_of_it.extend(notes(&server, changes, &tables));
    Ok((ChangesSpec { server: server.identity(), start, tables }, notes_of_it))
}
