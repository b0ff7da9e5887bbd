//! What else lies in the log up to a place.

use std::sync::Arc;

use kwsync_core::system::mysql::binlog::{Event, Name, Statement};
use kwsync_core::{Error, ErrorKind, Result, Retry};
use mysql_async::Conn;

use super::Followed;
use super::charset::Charsets;
use super::listed::Listed;
use super::log::Log;
use super::place::BinlogPlace;
use super::server::{Server, lost, status};
use super::stream::{SILENCE, silent};
use crate::mysql::config::MysqlSourceOptions;
use crate::mysql::source::look;

/// A stretch of the log that was looked through, and what was done to the columns of tables in it.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    stretch: Option<(BinlogPlace, BinlogPlace)>,
    /// Behind which place, and of which table.
    altered: Vec<(BinlogPlace, (String, String))>,
}

impl Ahead {
    /// The columns that a table has now, if it was not altered between `here` and now.
    ///
    /// # Errors
    /// `Schema` where it was.
    #[expect(clippy::too_many_arguments, reason = "what it takes to read a log")]
    pub(super) async fn columns(
        &mut self,
        session: &mut Conn,
        options: &MysqlSourceOptions,
        server: &Server,
        here: &BinlogPlace,
        followed: &Followed,
        replica: u32,
        charsets: &mut Charsets,
        is_followed: impl Fn(&str, &str) -> bool + Send + Sync,
    ) -> Result<Vec<Listed>> {
        let asked = &followed.asked;
        let table = look(session, asked).await?;
        let listed: Vec<Listed> = table.columns.iter().map(Listed::from).collect();
        let ends = status(session).await?.ok_or_else(|| lost(here, "the server has no log any more"))?.place;
        let from = match &self.stretch {
            // What was looked through is not looked through again.
            Some((from, to)) if from <= here && here <= to => to.clone(),
            _ => {
                self.altered.clear();
                self.stretch = Some((here.clone(), here.clone()));
                here.clone()
            }
        };
        tracing::info!(table = %asked, %from, to = %ends, "the log is looked through for what else was done to the table");
        let (altered, stretch) = (&mut self.altered, &mut self.stretch);
        altered.retain(|(at, _)| at > here);
        scan(options, server, (&from, &ends), replica, charsets, |schema, statement, at| {
            let mut note = |name: Name| {
                let own = name.schema.unwrap_or_else(|| schema.to_owned());
                if is_followed(&own, &name.name) {
                    altered.push((at.clone(), (own, name.name)));
                }
            };
            match statement {
                Statement::Alter { table, columns: true, .. } => note(table),
                Statement::Alter { table, renamed: Some(to), .. } => [table, to].into_iter().for_each(note),
                Statement::Drop(names) => names.into_iter().for_each(note),
                Statement::Rename(names) => names.into_iter().for_each(|(from, to)| {
                    note(from);
                    note(to);
                }),
                _ => {}
            }
            if let Some((_, to)) = stretch.as_mut() {
                *to = at.clone();
            }
            Ok(())
        })
        .await?;
        if let Some((_, to)) = stretch.as_mut() {
            *to = ends.max(from);
        }
        let is = |(_, (schema, name)): &&(BinlogPlace, (String, String))| {
            schema.eq_ignore_ascii_case(asked.schema().unwrap_or_default())
                && name.eq_ignore_ascii_case(asked.name())
        };
        if let Some((at, _)) = self.altered.iter().find(is) {
            let text = format!(
                "{asked} was altered more than once, the last time at {at} or later, and the log does not tell the names of its columns between (binlog_row_metadata)"
            );
            return Err(Error::new(ErrorKind::Schema, text).with_retry(Retry::Never).with_hint(
                "SET GLOBAL binlog_row_metadata = FULL, which MySQL has since 8.0.1 and MariaDB since 10.5, and begin anew with --restart",
            ));
        }
        Ok(listed)
    }
}

/// Reads a stretch of the log; `each` gets the database of each statement, what it does, and the place behind it.
pub(super) async fn scan(
    options: &MysqlSourceOptions,
    server: &Server,
    (from, until): (&BinlogPlace, &BinlogPlace),
    replica: u32,
    charsets: &mut Charsets,
    mut each: impl FnMut(&str, Statement, BinlogPlace) -> Result<()> + Send,
) -> Result<()> {
    if from >= until {
        return Ok(());
    }
    let mut log = Log::open(options, server, from, (other(replica), "kwsync-ahead")).await?;
    while log.here() < *until {
        let next = tokio::time::timeout(SILENCE, log.next()).await.map_err(|_| silent())??;
        let Some(packet) = next else {
            return Err(Error::new(ErrorKind::Unavailable, "the server has ended the stream of changes"));
        };
        let (_, event) = log.read(&packet)?;
        let Event::Query(query) = event else { continue };
        let schema = String::from_utf8_lossy(query.schema);
        // What nobody can read is told when the stream comes to it.
        let sql = charsets.sql(options, &query).await?.unwrap_or_else(|| query.sql.clone());
        let statement = Statement::parse(&sql, query.ansi_quotes);
        let place = BinlogPlace::new(Arc::clone(&log.file), log.at);
        each(&schema, statement, place)?;
    }
    Ok(())
}

/// The number of a replica beside that of the job: two with one would throw each other out.
pub(super) fn other(replica: u32) -> u32 {
    0x4000_0000 | (replica.wrapping_mul(0x9e37_79b1) >> 2)
}
