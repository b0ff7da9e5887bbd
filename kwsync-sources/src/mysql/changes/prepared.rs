//! Transactions of two phases (XA) that were prepared before the stream begins: their rows lie before its place, and whether they are
//! committed behind it.

use kwsync_core::system::mysql::binlog::Statement;
use kwsync_core::system::mysql::session::error;
use kwsync_core::{Error, ErrorKind, Result, Retry};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::charset::Charsets;
use super::place::BinlogPlace;
use super::server::{Server, status};
use super::{ahead, snapshot};
use crate::mysql::config::MysqlSourceOptions;

/// What was prepared at a moment.
#[derive(Debug)]
pub(super) struct Prepared {
    names: Vec<String>,
    /// Where the log ended then.
    until: BinlogPlace,
}

impl Prepared {
    /// Asks the server.
    ///
    /// # Errors
    /// What the server says; MySQL 8 tells only those with `XA_RECOVER_ADMIN`.
    pub(super) async fn look(session: &mut Conn) -> Result<Self> {
        let names = names(session).await?;
        // In this order: what was committed before the server was asked is in the log before this.
        let until = status(session).await?.ok_or_else(snapshot::no_log)?.place;
        Ok(Self { names, until })
    }

    /// What may have been prepared before `place` and be committed behind it, in words.
    pub(super) async fn hinders(
        &self,
        session: &mut Conn,
        options: &MysqlSourceOptions,
        server: &Server,
        place: &BinlogPlace,
        replica: u32,
    ) -> Result<Option<String>> {
        if !self.names.is_empty() {
            return Ok(Some(format!("transactions are prepared: {}", self.names.join(", "))));
        }
        if self.until <= *place {
            return Ok(None);
        }
        let mut found = None;
        let mut charsets = Charsets::look(session).await?;
        ahead::scan(options, server, (place, &self.until), replica, &mut charsets, |_, statement, at| {
            if matches!(statement, Statement::Xa(word) if word == "COMMIT") {
                found = Some(format!("one was committed at {at}, while the job began"));
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }
}

/// The names of what is prepared now.
pub(super) async fn names(session: &mut Conn) -> Result<Vec<String>> {
    let rows: Vec<Row> = session.query("XA RECOVER").await.map_err(error)?;
    Ok(rows
        .iter()
        .map(|row| {
            let bytes: Vec<u8> = row.get_opt(3).and_then(std::result::Result::ok).unwrap_or_default();
            format!("{:?}", String::from_utf8_lossy(&bytes))
        })
        .collect())
}

/// The error of transactions that are in the way.
pub(super) fn hindered(why: &str) -> Error {
    let text = format!(
        "the stream of changes cannot begin: the rows of a transaction of two phases (XA) that is prepared lie in the log before its place, and would be \
         lost if it is committed; {why}"
    );
    Error::new(ErrorKind::Conflict, text).with_retry(Retry::Never).with_hint(
        "have its owner end it, or end it with XA COMMIT or XA ROLLBACK (XA RECOVER tells of all), and run the job again: nothing was copied yet",
    )
}
