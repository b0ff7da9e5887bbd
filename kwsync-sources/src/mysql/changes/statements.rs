//! What statements in the log do to the tables that are followed.

use std::sync::Arc;

use kwsync_core::system::mysql::binlog::{Name, Query, Statement};
use kwsync_core::{Error, ErrorKind, Result, Retry};

use super::Followed;
use super::listed::{Listed, Narrowed};
use super::place::Altered;
use super::stream::{Stream, still};
use crate::mysql::source::look;

/// The error of a table that is not what it was.
pub(super) fn gone(text: String) -> Error {
    Error::new(ErrorKind::Conflict, text).with_retry(Retry::Never).with_hint(
        "leave it out with exclude=, or begin anew with --restart, which copies the tables again (with mode=truncate for the target, what is there \
         goes first)",
    )
}

impl Stream {
    /// Takes a statement: of transactions, of tables, or one that changes rows and is in the log for want of those.
    pub(super) async fn statement(&mut self, query: &Query<'_>) -> Result<()> {
        let schema = String::from_utf8_lossy(query.schema).into_owned();
        let sql = self.sql(query).await?;
        match Statement::parse(&sql, query.ansi_quotes) {
            Statement::Begin => {
                (self.flow.within, self.begun) = (true, true);
                return Ok(());
            }
            Statement::Savepoint => return Ok(()),
            Statement::Commit => self.begun = false,
            Statement::Rollback => {
                self.undone("ROLLBACK")?;
                self.begun = false;
            }
            Statement::RollbackTo => return self.undone("ROLLBACK TO SAVEPOINT"),
            Statement::Xa(word) if matches!(word.as_str(), "COMMIT" | "ROLLBACK") => self.begun = false,
            Statement::Xa(_) => {
                (self.flow.within, self.begun) = (true, true);
                return Ok(());
            }
            Statement::Changes => self.by_statement(&sql, query.ansi_quotes, &schema)?,
            other => self.of_tables(other, &schema).await?,
        }
        if !self.begun {
            self.ends();
        }
        Ok(())
    }

    /// A part of a transaction is undone although it is in the log.
    fn undone(&self, what: &str) -> Result<()> {
        if !self.touched {
            return Ok(());
        }
        let text = format!(
            "the transaction that ends at {} undoes changes of tables that are followed ({what}): it changed tables without transactions, too",
            self.log.here()
        );
        Err(Error::new(ErrorKind::Unsupported, text)
            .with_retry(Retry::Never)
            .with_hint("begin anew with --restart; keep tables of MyISAM out of transactions of others"))
    }

    /// Rows that a statement changes: what it does to them is not in the log.
    fn by_statement(&self, sql: &[u8], ansi_quotes: bool, schema: &str) -> Result<()> {
        let mentions = |name: &str| Statement::mentions(sql, ansi_quotes, name);
        let changed = self.followed().find(|table| {
            let own = table.asked.schema().unwrap_or_default();
            mentions(table.asked.name()) && (own.eq_ignore_ascii_case(schema) || mentions(own))
        });
        let Some(table) = changed else { return Ok(()) };
        let text = format!(
            "a statement that changes {}, or may, is in the log at {} in place of the rows: it was run with binlog_format other than ROW",
            table.asked,
            self.log.here()
        );
        Err(Error::new(ErrorKind::Unsupported, text)
            .with_retry(Retry::Never)
            .with_hint("have all sessions write with binlog_format=ROW, and begin anew with --restart"))
    }

    async fn of_tables(&mut self, statement: Statement, schema: &str) -> Result<()> {
        let here = self.log.here();
        let find =
            |stream: &Self, name: &Name| stream.find(name.schema.as_deref().unwrap_or(schema), &name.name);
        match statement {
            Statement::Truncate(name) => {
                if let Some(table) = find(self, &name) {
                    self.truncate(&table).await?;
                }
            }
            Statement::Drop(names) => {
                if let Some(table) = names.iter().find_map(|name| find(self, name)) {
                    return Err(gone(format!(
                        "the table {} was dropped or made anew at {here}",
                        table.asked
                    )));
                }
            }
            Statement::DropDatabase(name) => {
                let case = self.minds_case();
                let is = |own: &str| own == name || (!case && own.eq_ignore_ascii_case(&name));
                if let Some(table) = self.followed().find(|table| table.asked.schema().is_some_and(is)) {
                    return Err(gone(format!("the table {} went with its database at {here}", table.asked)));
                }
            }
            Statement::Rename(names) => {
                for (from, to) in names {
                    if let Some(table) = find(self, &from) {
                        return Err(gone(format!(
                            "the table {} was renamed to {to} at {here} (or a temporary table was that hid it)",
                            table.asked
                        )));
                    }
                    if let Some(table) = find(self, &to) {
                        return Err(gone(format!(
                            "the table {} is since {here} what was {from} before",
                            table.asked
                        )));
                    }
                }
            }
            Statement::Alter { table: name, renamed, moves, with, columns } => {
                if let Some(table) = renamed.as_ref().and_then(|to| find(self, to)) {
                    return Err(gone(format!(
                        "the table {} is since {here} what was {name} before",
                        table.asked
                    )));
                }
                if let Some(table) = with.as_ref().and_then(|with| find(self, with)) {
                    let what = moves.unwrap_or_default();
                    return Err(gone(format!(
                        "rows of {} came from {name}, or went there, by {what} at {here}, and the log does not have them",
                        table.asked
                    )));
                }
                let Some(table) = find(self, &name) else { return Ok(()) };
                if let Some(to) = renamed {
                    return Err(gone(format!("the table {} was renamed to {to} at {here}", table.asked)));
                }
                if let Some(what) = moves {
                    return Err(gone(format!(
                        "rows of {} came or went by ALTER TABLE ... {what} at {here}, and the log does not have them",
                        table.asked
                    )));
                }
                self.altered(&table, columns).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The columns of a table may be others from here on, or its keys.
    async fn altered(&mut self, table: &Arc<Followed>, columns: bool) -> Result<()> {
        let name = table.asked.to_string();
        let here = self.log.here();
        tracing::info!(table = name, at = %here, columns, "the table was altered");
        self.forget(&name);
        let mut session = self.session().await?;
        let found = look(&mut session, &table.asked).await;
        drop(session.disconnect().await);
        let found = match found {
            Ok(found) => Some(found),
            // The stream will come to that.
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(found) = &found {
            still(self.options(), table, found).map_err(|error| error.context(format!("at {here}")))?;
        }
        if !columns {
            return Ok(());
        }
        let since: Vec<Listed> = found.iter().flat_map(|found| &found.columns).map(Listed::from).collect();
        for before in self.columns_before(table) {
            let after = since.iter().find(|after| after.name == before.name && !after.generated);
            match after.and_then(|after| before.narrowed(after)) {
                Some(Narrowed::Rounded) => {
                    return Err(gone(format!(
                        "the column {:?} of {name} has fewer digits since it was altered at {here}: the server has rounded its values, and the log does not have them",
                        before.name
                    )));
                }
                Some(Narrowed::Cut) => tracing::warn!(
                    table = name,
                    column = before.name,
                    at = %here,
                    "the column takes fewer values since it was altered: a server that is not strict has changed those that no longer fit, which the log does not have"
                ),
                None => {}
            }
        }
        self.note(Altered { table: name, columns: None, since });
        Ok(())
    }
}
