//! Numbers that count on: rows bring theirs along, so the sequence of an identity has to be moved behind them at the end, or the
//! first row that the application adds would meet a number that is taken.
//!
//! Where checkpoints are kept in the target, the columns are marked there: a table may have been finished by an earlier run of the job.

use std::collections::BTreeSet;

use kwsync_core::system::postgres::catalog::CatalogTable;
use kwsync_core::system::postgres::ddl::{self, literal};
use kwsync_core::system::postgres::defaults::advance_identity;
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::{ColumnDefault, ErrorKind, JobId, Result, Schema, TableId};

use super::shared::Claimed;

/// What stands before a mark among the splits of the checkpoint table.
const MARK: &str = "(identity) ";

/// Columns of identities that rows were written to: the table as SQL names it, and the column.
#[derive(Debug, Default)]
pub(super) struct Identities(BTreeSet<(String, String)>);

impl Identities {
    /// Remembers the identities of a table among the columns that count on in the source.
    pub(super) async fn note(
        &mut self,
        control: &mut Connection,
        claimed: Option<&Claimed>,
        job: Option<&JobId>,
        found: &CatalogTable,
        schema: &Schema,
    ) -> Result<()> {
        let table = TableId::with_schema(found.schema.as_str(), found.name.as_str());
        let table = ddl::table_name(&table, None)?;
        let counting =
            schema.columns().iter().filter(|column| column.default() == Some(&ColumnDefault::Identity));
        for column in counting {
            let counts = found.column(column.name()).is_some_and(|known| known.identity);
            if !counts || !self.0.insert((table.clone(), column.name().to_owned())) {
                continue;
            }
            if let (Some(claimed), Some(job)) = (claimed, job) {
                let mark = format!("{MARK}{}", serde_json::json!([table, column.name()]));
                let sql = format!(
                    "INSERT INTO {} (job, split, sequence, generation, done) VALUES ({}, {}, 0, {}, true) \
                     ON CONFLICT (job, split) DO NOTHING",
                    claimed.table,
                    literal(job.as_str()),
                    literal(&mark),
                    claimed.generation
                );
                control.simple_query(&sql).await?;
            }
        }
        Ok(())
    }

    /// Moves the sequences, those of earlier runs of the job too.
    pub(super) async fn advance(
        &mut self,
        control: &mut Connection,
        claimed: Option<&Claimed>,
        job: Option<&JobId>,
    ) -> Result<()> {
        let mut all = std::mem::take(&mut self.0);
        if let (Some(claimed), Some(job)) = (claimed, job) {
            let sql = format!("SELECT split FROM {} WHERE job = $1 AND split LIKE '{MARK}%'", claimed.table);
            let rows = control.query(&sql, &[Some(job.as_str())]).await?.rows;
            for row in 0..rows.len() {
                let mark = rows.get(row, 0).and_then(|text| text.strip_prefix(MARK));
                all.extend(mark.and_then(|text| serde_json::from_str::<(String, String)>(text).ok()));
            }
        }
        for (table, column) in all {
            match control.simple_query(&advance_identity(&table, &column)?).await {
                Ok(_) => {}
                // The table is gone, or was replaced; the sequence is another's.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Permission) => {
                    tracing::warn!(%table, %column, %error, "the sequence was not moved behind the rows");
                }
                Err(error) => return Err(error.context(format!("cannot move the sequence of {table}"))),
            }
        }
        Ok(())
    }
}
