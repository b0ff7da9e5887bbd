//! Inserts, updates and deletes, by logical replication: a copy of the tables as they are at one moment, and the
//! stream of what comes.
//!
//! A job has a *slot* at the server, by which the server keeps its log until the job has read it, and a *publication*,
//! which says of which tables. The slot is made with a snapshot; all tables are copied in it, and the stream begins
//! where it ends. Its split is the last, and is opened when the copy is done.
//!
//! A position of the stream is a place in the log behind a whole transaction. Where the target keeps the checkpoint in
//! the data's own transaction, each transaction of the source is there once. The server is told that a place has
//! settled only when the target has committed; so the slot is never ahead of the checkpoint, and one that is shows
//! that it is another slot, which is refused.
//!
//! A run that resumes the copy reads what is left in a later snapshot. Its rows are upserted, and the stream begins
//! where it would have: each row is either as it was at the slot's beginning, or the stream brings what has become of
//! it since.
//!
//! The protocol: <https://www.postgresql.org/docs/current/protocol-replication.html> and
//! `protocol-logicalrep-message-formats.html`, version 1.

pub(super) mod config;
mod lsn;
mod pgoutput;
mod precheck;
mod slot;
mod stream;
mod table;

use std::sync::Arc;

use kwsync_core::system::postgres::ddl::quote;
use kwsync_core::system::postgres::profile::Profile;
use kwsync_core::system::postgres::relations::RelationKind;
use kwsync_core::system::postgres::wire::{ConnectConfig, Connection};
use kwsync_core::{Error, Input, Result, Split, SplitPosition, TableId};
use serde::{Deserialize, Serialize};

use self::config::ChangesOptions;
use self::lsn::Lsn;
use self::slot::Names;
use self::stream::Streaming;
use self::table::Followed;
use super::config::PostgresSourceOptions;
use super::relation::Asked;
use crate::relational::Batches;
use crate::relational::changes::{self as shared, Extent, Place, Related};

/// The split of the stream.
const SPLIT: &str = "changes";

/// What the split of the stream says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ChangesSpec {
    slot: String,
    publications: Vec<String>,
    /// Where the copy ends and the stream begins.
    start: Lsn,
    tables: Vec<Followed>,
}

/// Tells the task of a stream what has settled.
pub(super) type Telling = crate::relational::changes::Telling<Lsn>;

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

    /// The columns by which the rows of a table are told apart; none where they are not.
    pub(super) fn key(&self, asked: Option<&TableId>) -> &[String] {
        let table = self.tables.iter().find(|table| Some(&table.asked) == asked);
        table.map_or(&[], |table| table.key.as_slice())
    }

    /// Whether a table is followed.
    pub(super) fn has(&self, asked: &TableId) -> bool {
        self.tables.iter().any(|table| table.asked == *asked)
    }

    /// Begins to read the stream.
    pub(super) fn open(
        self,
        options: &Arc<PostgresSourceOptions>,
        at: Option<&SplitPosition>,
    ) -> Result<(Batches, Telling)> {
        let at = at.map(Lsn::of).transpose()?;
        let (telling, told) = Telling::new(at.unwrap_or(self.start));
        let input =
            Arc::new(Input::new(format!("changes of {}", options.connect.database)).with_split(SPLIT));
        let streaming = Streaming { options: Arc::clone(options), spec: self, at, told, input };
        let batches = Batches::of(|sender| async move { streaming.run(&sender).await });
        Ok((batches, telling))
    }
}

/// The names of what the job keeps at the server.
fn names(options: &PostgresSourceOptions, changes: &ChangesOptions) -> Names {
    let job = match &changes.job {
        Some(job) => job.clone(),
        // Whoever embeds the source without a job: the tables are the job.
        None => options.tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    };
    Names::new(&job, &options.connect.database, changes.slot.as_deref(), changes.publication.as_deref())
}

/// Looks at the tables, and refuses what cannot be followed.
async fn looked(
    connection: &mut Connection,
    options: &PostgresSourceOptions,
    changes: &ChangesOptions,
) -> Result<(Names, Vec<Asked>, Profile)> {
    let profile = Profile::probe(connection).await?;
    super::session::refuse(&profile)?;
    precheck::able(&profile)?;
    let mut tables = Vec::new();
    for relation in super::relation::asked(connection, options, true).await? {
        tables.push(Asked::look(connection, relation).await?.with_identity(connection).await?);
    }
    let names = names(options, changes);
    precheck::check(connection, &profile, changes, &names, &tables).await?;
    Ok((names, tables, profile))
}

/// The tables as the split of the stream remembers them; `named` says what the rows of each are called.
fn followed(changes: &ChangesOptions, tables: &[Asked], named: impl Fn(&Asked) -> TableId) -> Vec<Followed> {
    let all: Vec<Related<'_>> = tables
        .iter()
        .map(|table| Related {
            id: table.id(),
            refers_to: table.keys.keys.iter().map(|key| &key.table).collect(),
            has_other_unique: table.has_other_unique(),
        })
        .collect();
    let groups = shared::grouped(&all, changes.order);
    let own = |(table, grouped): (&Asked, shared::Grouped)| {
        let stored = table.stored.iter().map(|relation| relation.oid);
        Followed {
            table: named(table),
            asked: table.id(),
            oids: std::iter::once(table.relation.oid).chain(stored).collect(),
            key: table.identity().to_vec(),
            group: grouped.group,
            folds: grouped.folds,
        }
    };
    tables.iter().zip(groups).map(own).collect()
}

/// What following would do, for a look; refuses what would be refused.
pub(super) async fn preview(
    options: &PostgresSourceOptions,
    changes: &ChangesOptions,
) -> Result<(ChangesSpec, Vec<String>)> {
    let mut connection = Connection::connect(&options.connect).await?;
    let (names, tables, profile) = looked(&mut connection, options, changes).await?;
    let followed = followed(changes, &tables, |table| TableId::new(table.relation.name.as_str()));
    let mut notes = Vec::new();
    if !slot::published(&mut connection, &names.publication).await? {
        notes.extend(slot::publications(&names, &followed, profile.version.0)?);
    }
    notes.push(format!(
        "the slot {:?} holds the server's log back until its changes are read; `--forget` ends the job for good and drops it",
        names.slot
    ));
    notes.extend(order_notes(&followed, &tables));
    let spec =
        ChangesSpec { slot: names.slot, publications: Vec::new(), start: Lsn::default(), tables: followed };
    Ok((spec, notes))
}

fn order_notes(tables: &[Followed], asked: &[Asked]) -> Vec<String> {
    let mut notes = Vec::new();
    let partitioned = asked.iter().filter(|table| table.relation.kind == RelationKind::Partitioned);
    for table in partitioned {
        notes.push(format!(
            "TRUNCATE of a single partition of {} does not come: PostgreSQL does not publish it",
            table.id()
        ));
    }
    let told = tables.iter().map(|table| (&table.asked, table.folds, !table.key.is_empty()));
    notes.extend(shared::order_notes(told));
    notes
}

/// What is kept at the server for a job that begins.
pub(super) struct Begun {
    pub(super) spec: ChangesSpec,
    pub(super) notes: Vec<String>,
    /// The session that holds the snapshot, and its name; none where nothing is copied.
    pub(super) snapshot: Option<(Connection, String)>,
}

/// Makes slot and publication for a job that is new.
pub(super) async fn begin(
    options: &PostgresSourceOptions,
    changes: &ChangesOptions,
    named: impl Fn(&Asked) -> TableId,
) -> Result<Begun> {
    let mut connection = Connection::connect(&options.connect).await?;
    let (names, tables, profile) = looked(&mut connection, options, changes).await?;
    let looked = tables;
    let tables = followed(changes, &looked, named);
    let copies = changes.extent != Extent::Realtime;
    let there = slot::released(&mut connection, &names.slot).await?;
    if there.is_some() && names.slot_given && copies {
        return Err(Error::config(format!("the slot {:?} is there already, and the copy has to begin with it", names.slot))
            .with_hint(format!(
                "drop it: SELECT pg_drop_replication_slot('{}'); or follow from where it stands, without a copy: mode=realtime",
                names.slot
            )));
    }
    let given = there.filter(|_| names.slot_given);
    if given.is_none() {
        // One of an earlier life of the job, which nobody knows any more.
        slot::drop_slot(&mut connection, &names.slot).await?;
    }
    let mut publications = vec![names.publication.clone()];
    if !(names.publication_given && slot::published(&mut connection, &names.publication).await?) {
        publications.clear();
        let made = slot::publications(&names, &tables, profile.version.0)?;
        let has = |keyless: bool| tables.iter().any(|table| table.key.is_empty() == keyless);
        for (name, wanted) in [(names.publication.clone(), has(false)), (names.inserts(), has(true))] {
            if !names.publication_given {
                // One of an earlier life of the job.
                let old = format!("DROP PUBLICATION IF EXISTS {}", quote(&name)?);
                connection.simple_query(&old).await?;
            }
            publications.extend(wanted.then_some(name));
        }
        for sql in made {
            tracing::info!("{sql}");
            connection
                .simple_query(&sql)
                .await
                .map_err(|error| error.context("cannot make the publication"))?;
        }
    }
    let notes = order_notes(&tables, &looked);
    let spec = |start| ChangesSpec { slot: names.slot.clone(), publications, start, tables };
    if let Some(slot::Slot { confirmed: Some(start), fault: None, .. }) = given {
        return Ok(Begun { spec: spec(start), notes, snapshot: None });
    }
    let made = slot::create(&options.connect, &names.slot).await?;
    tracing::info!(slot = names.slot, at = %made.start, "the slot is made: the server keeps its log for it");
    let snapshot = copies.then_some((made.connection, made.snapshot));
    Ok(Begun { spec: spec(made.start), notes, snapshot })
}

/// Removes what is kept at the server.
pub(super) async fn forget(options: &PostgresSourceOptions, changes: &ChangesOptions) -> Result<()> {
    let config: &ConnectConfig = &options.connect;
    let mut connection = Connection::connect(config).await?;
    slot::forget(&mut connection, &names(options, changes)).await
}
