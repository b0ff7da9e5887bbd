//! Checkpoints in the target itself: updated in the data's transaction, so that data and checkpoint are there both or
//! not at all.
//!
//! Each split of a job has a row; one more, with the split [`JOB`], tells which run has the job. A run claims a split
//! by writing its generation into the row, and a commit counts the row's sequence up only where it still finds its own
//! generation and the sequence that it left: the commit of a process that was taken over finds nothing to update, and
//! fails. A claim waits for the lock of a transaction that is still under way, so nothing can slip in behind it.

use kwsync_core::system::postgres::ddl::{self, literal};
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::{Checkpoint, Error, ErrorKind, JobId, Result, SplitPosition, TableId};

/// The row that stands for the job as a whole.
const JOB: &str = "(job)";

/// The name of the table as SQL has it.
pub(super) fn table_name(name: &str, schema: Option<&str>) -> Result<String> {
    let table = match name.split_once('.') {
        Some((schema, name)) => TableId::with_schema(schema, name),
        None => TableId::new(name),
    };
    ddl::table_name(&table, schema)
}

/// The statement that makes the table.
pub(super) fn create(table: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (job text NOT NULL, split text NOT NULL, position text, \
         sequence bigint NOT NULL, generation bigint NOT NULL, done boolean NOT NULL, \
         updated timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (job, split))"
    )
}

/// Whether the table is there.
pub(super) async fn exists(control: &mut Connection, table: &str) -> Result<bool> {
    let found = control.query("SELECT to_regclass($1) IS NOT NULL", &[Some(table)]).await?;
    Ok(found.rows.get(0, 0) == Some("t"))
}

/// Makes the table where it is missing.
pub(super) async fn prepare(control: &mut Connection, table: &str) -> Result<()> {
    if exists(control, table).await? {
        return Ok(());
    }
    match control.simple_query(&create(table)).await {
        Ok(_) => Ok(()),
        // Somebody else made it at the same time.
        Err(error) if matches!(error.code(), Some("23505" | "42P07")) => Ok(()),
        Err(error) => Err(error.context(format!("cannot make the checkpoint table {table}"))),
    }
}

/// Takes a job over. Returns the generation of this run, which is higher than that of any before, and whether the job
/// is new here.
pub(super) async fn claim_job(
    control: &mut Connection,
    table: &str,
    job: &JobId,
    generation: u64,
) -> Result<(u64, bool)> {
    let settled = format!("SELECT count(*) FROM {table} WHERE job = $1 AND sequence > 0");
    let settled = control.query(&settled, &[Some(job.as_str())]).await?;
    let sql = format!(
        "INSERT INTO {table} AS c (job, split, sequence, generation, done) VALUES ($1, $2, 0, $3::bigint, false) \
         ON CONFLICT (job, split) DO UPDATE SET generation = greatest(c.generation + 1, EXCLUDED.generation), \
         updated = now() RETURNING generation"
    );
    let found = control.query(&sql, &[Some(job.as_str()), Some(JOB), Some(&generation.to_string())]).await?;
    Ok((number(found.rows.get(0, 0))?, number(settled.rows.get(0, 0))? == 0))
}

/// Takes a split over for the run of `checkpoint`, and returns where it stands here.
pub(super) async fn claim(
    control: &mut Connection,
    table: &str,
    checkpoint: &Checkpoint,
) -> Result<Checkpoint> {
    let update =
        "SET generation = EXCLUDED.generation, updated = now() WHERE c.generation <= EXCLUDED.generation";
    claim_by(control, table, checkpoint, update).await
}

/// Takes a split over from whoever has it, and returns where it stands here, with a generation that fences them off.
pub(super) async fn take_over(
    control: &mut Connection,
    table: &str,
    checkpoint: &Checkpoint,
) -> Result<Checkpoint> {
    let update = "SET generation = greatest(c.generation + 1, EXCLUDED.generation), updated = now()";
    claim_by(control, table, checkpoint, update).await
}

async fn claim_by(
    control: &mut Connection,
    table: &str,
    checkpoint: &Checkpoint,
    update: &str,
) -> Result<Checkpoint> {
    let sql = format!(
        "INSERT INTO {table} AS c (job, split, position, sequence, generation, done) \
         VALUES ($1, $2, $3, $4::bigint, $5::bigint, $6::boolean) \
         ON CONFLICT (job, split) DO UPDATE {update} RETURNING position, sequence, done, generation"
    );
    let position = checkpoint.position.as_ref().map(|position| position.0.to_string());
    let parameters = [
        Some(checkpoint.job.as_str()),
        Some(&*checkpoint.split),
        position.as_deref(),
        Some(&checkpoint.sequence.to_string()),
        Some(&checkpoint.generation.to_string()),
        Some(if checkpoint.done { "t" } else { "f" }),
    ];
    let found = control.query(&sql, &parameters).await?.rows;
    if found.is_empty() {
        return Err(fenced(&checkpoint.job));
    }
    let position = found.get(0, 0).map(serde_json::from_str).transpose().map_err(|error| {
        Error::new(ErrorKind::Config, format!("the checkpoint of split {} cannot be read", checkpoint.split))
            .with_source(error)
            .with_hint("start over with --restart")
    })?;
    Ok(Checkpoint {
        position: position.map(SplitPosition),
        sequence: number(found.get(0, 1))?,
        done: found.get(0, 2) == Some("t"),
        generation: number(found.get(0, 3))?,
        ..checkpoint.clone()
    })
}

/// The statements that move splits to where they stand after this commit, one each.
pub(super) fn advance(table: &str, checkpoints: &[Checkpoint]) -> String {
    let mut sql = String::new();
    for checkpoint in checkpoints {
        let position = match &checkpoint.position {
            Some(position) => literal(&position.0.to_string()),
            None => "NULL".to_owned(),
        };
        sql.push_str(&format!(
            "UPDATE {table} SET position = {position}, sequence = {sequence}, done = {done}, updated = now() \
             WHERE job = {job} AND split = {split} AND generation = {generation} AND sequence = {before};",
            sequence = checkpoint.sequence,
            before = checkpoint.sequence.saturating_sub(1),
            done = checkpoint.done,
            job = literal(checkpoint.job.as_str()),
            split = literal(&checkpoint.split),
            generation = checkpoint.generation,
        ));
    }
    sql
}

/// Whether the transaction that was to move these splits has committed. Waits for it, if the server still has it.
pub(super) async fn is_committed(
    connection: &mut Connection,
    table: &str,
    checkpoints: &[Checkpoint],
) -> Result<bool> {
    let Some(first) = checkpoints.first() else { return Ok(false) };
    let sql = format!("SELECT sequence, generation FROM {table} WHERE job = $1 AND split = $2 FOR UPDATE");
    // All of them moved, or none: one tells.
    let found = connection.query(&sql, &[Some(first.job.as_str()), Some(&*first.split)]).await?.rows;
    if found.is_empty() || number(found.get(0, 1))? != first.generation {
        return Err(fenced(&first.job));
    }
    Ok(number(found.get(0, 0))? >= first.sequence)
}

/// Forgets a job.
pub(super) async fn forget(control: &mut Connection, table: &str, job: &JobId) -> Result<()> {
    control.query(&format!("DELETE FROM {table} WHERE job = $1"), &[Some(job.as_str())]).await.map(|_| ())
}

/// The error of a run whose job was taken over.
pub(super) fn fenced(job: &JobId) -> Error {
    Error::new(ErrorKind::Fenced, format!("another run has taken job {job} over")).with_hint(
        "another process runs the same job; let one of them finish, or give them different --job names",
    )
}

fn number(text: Option<&str>) -> Result<u64> {
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        Error::new(ErrorKind::Protocol, format!("the checkpoint table says {text:?} where a number belongs"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_moves_only_what_it_left_itself() {
        let at = Checkpoint::start(JobId::new("it's"), "a\\b".into(), 7);
        let next = at.next(SplitPosition(serde_json::json!({"byte": 5})), true);
        let sql = advance(&table_name("ops.progress", None).unwrap(), &[next]);
        assert_eq!(
            sql,
            "UPDATE \"ops\".\"progress\" SET position = '{\"byte\":5}', sequence = 1, done = true, updated = now() \
             WHERE job = 'it''s' AND split = E'a\\\\b' AND generation = 7 AND sequence = 0;"
        );
    }
}
