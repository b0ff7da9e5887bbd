//! Checkpoints in the target itself: updated in the data's transaction, so that data and checkpoint are there both or
//! not at all. The table is laid out, and claimed, as that of the PostgreSQL sink.

use kwsync_core::system::mysql::ddl::{literal, quote};
use kwsync_core::system::mysql::session::error;
use kwsync_core::{Checkpoint, Error, ErrorKind, JobId, Result, SplitPosition};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

/// The row that stands for the job as a whole.
const JOB: &str = "(job)";
/// Characters of a split's name that an index can hold beside a job's.
const SPLIT: usize = 570;

/// The name of the table as SQL has it.
pub(super) fn table_name(name: &str) -> Result<String> {
    match name.split_once('.') {
        Some((schema, name)) => Ok(format!("{}.{}", quote(schema)?, quote(name)?)),
        None => quote(name),
    }
}

/// The statement that makes the table.
pub(super) fn create(table: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (job varchar(190) NOT NULL, split varchar({SPLIT}) NOT NULL, \
         position longtext, sequence bigint NOT NULL, generation bigint NOT NULL, done boolean NOT NULL, \
         updated timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (job, split)) \
         ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
    )
}

/// A split's name as the table holds it: a long one is cut, and told apart by a hash.
fn split_literal(split: &str) -> String {
    if split.chars().count() <= SPLIT {
        return literal(split);
    }
    let hash = split.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let start: String = split.chars().take(SPLIT - 20).collect();
    literal(&format!("{start}#{hash:016x}"))
}

/// Takes a job over. Returns the generation of this run, which is higher than that of any before, and whether the job
/// is new here.
pub(super) async fn claim_job(
    control: &mut Conn,
    table: &str,
    job: &JobId,
    generation: u64,
) -> Result<(u64, bool)> {
    let name = literal(job.as_str());
    let own = format!("job = {name} AND split = '{JOB}'");
    control.query_drop("START TRANSACTION").await.map_err(error)?;
    let settled = format!("SELECT COUNT(*) FROM {table} WHERE job = {name} AND sequence > 0");
    let settled: Option<u64> = control.query_first(settled).await.map_err(error)?;
    let sql = format!(
        "INSERT INTO {table} (job, split, sequence, generation, done) VALUES ({name}, '{JOB}', 0, {generation}, false) \
         ON DUPLICATE KEY UPDATE generation = GREATEST(generation + 1, VALUES(generation))"
    );
    control.query_drop(sql).await.map_err(error)?;
    let found: Option<u64> =
        control.query_first(format!("SELECT generation FROM {table} WHERE {own}")).await.map_err(error)?;
    control.query_drop("COMMIT").await.map_err(error)?;
    Ok((found.unwrap_or(generation), settled.unwrap_or(0) == 0))
}

/// Takes a split over for the run of `checkpoint`, and returns where it stands here.
pub(super) async fn claim(control: &mut Conn, table: &str, checkpoint: &Checkpoint) -> Result<Checkpoint> {
    let begun = claim_by(control, table, checkpoint, "GREATEST(generation, VALUES(generation))").await?;
    match begun.generation == checkpoint.generation {
        true => Ok(begun),
        false => Err(fenced(&checkpoint.job)),
    }
}

/// Takes a split over from whoever has it, and returns where it stands here, with a generation that fences them off.
pub(super) async fn take_over(
    control: &mut Conn,
    table: &str,
    checkpoint: &Checkpoint,
) -> Result<Checkpoint> {
    claim_by(control, table, checkpoint, "GREATEST(generation + 1, VALUES(generation))").await
}

async fn claim_by(
    control: &mut Conn,
    table: &str,
    checkpoint: &Checkpoint,
    update: &str,
) -> Result<Checkpoint> {
    let (job, split) = (literal(checkpoint.job.as_str()), split_literal(&checkpoint.split));
    let position = position_literal(checkpoint);
    let (sequence, generation, done) = (checkpoint.sequence, checkpoint.generation, checkpoint.done);
    control.query_drop("START TRANSACTION").await.map_err(error)?;
    // Waits for the lock of a transaction that is still under way.
    let sql = format!(
        "INSERT INTO {table} (job, split, position, sequence, generation, done) \
         VALUES ({job}, {split}, {position}, {sequence}, {generation}, {done}) \
         ON DUPLICATE KEY UPDATE generation = {update}"
    );
    control.query_drop(sql).await.map_err(error)?;
    let sql = format!(
        "SELECT position, sequence, done, generation FROM {table} WHERE job = {job} AND split = {split} FOR UPDATE"
    );
    let found: Option<(Option<String>, u64, bool, u64)> = control.query_first(sql).await.map_err(error)?;
    control.query_drop("COMMIT").await.map_err(error)?;
    let Some((position, sequence, done, generation)) = found else {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("the checkpoint of split {} is gone", checkpoint.split),
        ));
    };
    let position = position.as_deref().map(serde_json::from_str).transpose().map_err(|error| {
        Error::new(ErrorKind::Config, format!("the checkpoint of split {} cannot be read", checkpoint.split))
            .with_source(error)
            .with_hint("start over with --restart")
    })?;
    Ok(Checkpoint { position: position.map(SplitPosition), sequence, done, generation, ..checkpoint.clone() })
}

fn position_literal(checkpoint: &Checkpoint) -> String {
    match &checkpoint.position {
        Some(position) => literal(&position.0.to_string()),
        None => "NULL".to_owned(),
    }
}

/// Moves splits to where they stand after this commit, in the transaction that is open.
pub(super) async fn advance(connection: &mut Conn, table: &str, checkpoints: &[Checkpoint]) -> Result<()> {
    for checkpoint in checkpoints {
        let sql = format!(
            "UPDATE {table} SET position = {position}, sequence = {sequence}, done = {done} \
             WHERE job = {job} AND split = {split} AND generation = {generation} AND sequence = {before}",
            position = position_literal(checkpoint),
            sequence = checkpoint.sequence,
            before = checkpoint.sequence.saturating_sub(1),
            done = checkpoint.done,
            job = literal(checkpoint.job.as_str()),
            split = split_literal(&checkpoint.split),
            generation = checkpoint.generation,
        );
        connection.query_drop(sql).await.map_err(error)?;
        if connection.affected_rows() != 1 {
            return Err(fenced(&checkpoint.job));
        }
    }
    Ok(())
}

/// Whether the transaction that was to move these splits has committed. Waits for it, if the server still has it.
pub(super) async fn is_committed(
    connection: &mut Conn,
    table: &str,
    checkpoints: &[Checkpoint],
) -> Result<bool> {
    let Some(first) = checkpoints.first() else { return Ok(false) };
    let sql = format!(
        "SELECT sequence, generation FROM {table} WHERE job = {} AND split = {} FOR UPDATE",
        literal(first.job.as_str()),
        split_literal(&first.split)
    );
    // All of them moved, or none: one tells.
    let found: Option<(u64, u64)> = connection.query_first(sql).await.map_err(error)?;
    match found {
        Some((sequence, generation)) if generation == first.generation => Ok(sequence >= first.sequence),
        _ => Err(fenced(&first.job)),
    }
}

/// Forgets a job.
pub(super) async fn forget(control: &mut Conn, table: &str, job: &JobId) -> Result<()> {
    let sql = format!("DELETE FROM {table} WHERE job = {}", literal(job.as_str()));
    control.query_drop(sql).await.map_err(error)
}

fn fenced(job: &JobId) -> Error {
    Error::new(ErrorKind::Fenced, format!("another run has taken job {job} over")).with_hint(
        "another process runs the same job; let one of them finish, or give them different --job names",
    )
}
