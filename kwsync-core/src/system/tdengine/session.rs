//! A session: statements by `POST /rest/sql`.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value as Json;

use super::config::ConnectConfig;
use super::refusal::Refusal;
use super::types::Features;
use crate::system::http::{Answer, Ask, Http, HttpOptions, kind_of};
use crate::{Error, ErrorKind, Result};

/// What of an answer that is no rows is read.
const MOST_BYTES: usize = 256 << 20;

/// A session with taosAdapter; connects as it is asked, and again when the connection has gone.
#[derive(Debug)]
pub struct Session {
    http: Http,
    options: Arc<HttpOptions>,
    version: Option<(String, Features)>,
}

/// A short result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Name, type and length of each column.
    pub columns: Vec<(String, String, i64)>,
    /// The rows.
    pub rows: Vec<Vec<Json>>,
}

impl Rows {
    /// A text in a row, by the place of its column.
    pub fn text(row: &[Json], at: usize) -> &str {
        row.get(at).and_then(Json::as_str).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Document {
    code: i64,
    #[serde(default)]
    desc: String,
    #[serde(default)]
    column_meta: Vec<(String, String, i64)>,
    #[serde(default)]
    data: Vec<Vec<Json>>,
}

impl Session {
    /// A session. Nothing is connected yet.
    ///
    /// # Errors
    /// `Tls` and `Config` for authorities that cannot be used.
    pub fn new(config: &ConnectConfig) -> Result<Self> {
        let options = Arc::clone(&config.http);
        Ok(Self { http: Http::new(Arc::clone(&options))?, options, version: None })
    }

    /// The server as a person names it.
    pub fn place(&self) -> String {
        self.options.place()
    }

    /// The version, asked once, and what a server of it can do.
    ///
    /// # Errors
    /// `Unsupported` for versions before 3; and as [`rows`](Self::rows).
    pub async fn features(&mut self) -> Result<Features> {
        if let Some((_, features)) = &self.version {
            return Ok(*features);
        }
        let rows = self.rows("SELECT SERVER_VERSION()").await?;
        let Some(text) = rows.rows.first().map(|row| Rows::text(row, 0).to_owned()) else {
            return Err(self.cut(0, 1, "SELECT SERVER_VERSION()"));
        };
        let mut parts = text.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
        let number = (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        if number.0 < 3 {
            let text = format!("the server at {} is TDengine {text}", self.place());
            return Err(Error::new(ErrorKind::Unsupported, text).with_hint(
                "versions from 3.0 on are spoken to; export older ones to CSV with taosdump, or upgrade them",
            ));
        }
        let features = Features { decimal: number >= (3, 3, 6), composite_key: number >= (3, 3, 0) };
        self.version = Some((text, features));
        Ok(features)
    }

    /// Sends a statement, and returns the answer when its head is there: it may be a refusal in JSON as well as rows.
    ///
    /// # Errors
    /// As [`rows`](Self::rows), but for what the server refuses in JSON.
    ///
    /// # Cancel safety
    /// Whether a statement that was dropped has been executed is in doubt.
    pub async fn ask(&mut self, sql: impl Into<Bytes>) -> Result<Answer> {
        let sql: Bytes = sql.into();
        let ask = Ask::post("/rest/sql", "text/plain; charset=utf-8", sql);
        let mut answer = self.http.ask(&ask).await?;
        let status = answer.status;
        // Refusals come with 200, or, where the server is configured so, with a status of their own.
        if status.is_success() {
            return Ok(answer);
        }
        let text = answer.text().await?;
        Err(match serde_json::from_str::<Document>(&text) {
            // Who asks, and from where, is what these two are about, whatever the code.
            Ok(document) if matches!(status.as_u16(), 401 | 403) => self.unexpected(status, &document.desc),
            Ok(document) if document.code != 0 => self.refused(&document),
            _ => self.unexpected(status, &text),
        })
    }

    /// Sends a statement whose result is short.
    ///
    /// # Errors
    /// What the server refuses, by [`Refusal::into_error`]; `Unavailable` and others where it cannot be reached.
    pub async fn rows(&mut self, sql: &str) -> Result<Rows> {
        tracing::debug!(%sql, "asking");
        let document = self.document(sql.to_owned()).await?;
        Ok(Rows { columns: document.column_meta, rows: document.data })
    }

    /// Executes a statement; returns the rows that it changed.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub async fn execute(&mut self, sql: impl Into<Bytes>) -> Result<u64> {
        let document = self.document(sql).await?;
        Ok(document.data.first().and_then(|row| row.first()?.as_u64()).unwrap_or(0))
    }

    /// Executes a statement over a connection of its own: it is sent once, where others are sent again when the server had closed a
    /// connection that was kept.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub async fn execute_once(&mut self, sql: impl Into<Bytes>) -> Result<u64> {
        self.http.disconnect();
        self.execute(sql).await
    }

    /// What `SELECT COUNT(*)` says: one number, always.
    ///
    /// # Errors
    /// `Unavailable` where no number comes: taosAdapter ends an answer without rows where what is behind it has failed. And as
    /// [`rows`](Self::rows).
    pub async fn count(&mut self, sql: &str) -> Result<u64> {
        let rows = self.rows(sql).await?;
        match rows.rows.as_slice() {
            [row] => row.first().and_then(Json::as_u64).ok_or_else(|| {
                Error::new(
                    ErrorKind::Protocol,
                    format!("the server at {} gives no number: {sql}", self.place()),
                )
            }),
            rows => {
                let text = format!("the server at {} gives {} counts: {sql}", self.place(), rows.len());
                Err(Error::new(ErrorKind::Unavailable, text).with_hint(
                    "its log may tell of a fault; a server with countAlwaysReturnValue=0 says nothing where it counts nothing: set it to 1",
                ))
            }
        }
    }

    /// The rows of a list, as many as there are: `items` of `from`, which is a table and a condition.
    ///
    /// # Errors
    /// `Unavailable` where fewer come than are counted; and as [`count`](Self::count).
    pub(super) async fn list(&mut self, items: &str, from: &str) -> Result<Vec<Vec<Json>>> {
        let mut again = true;
        loop {
            let rows = self.rows(&format!("SELECT {items} FROM {from}")).await?.rows;
            let count = self.count(&format!("SELECT COUNT(*) FROM {from}")).await?;
            if count <= rows.len() as u64 {
                return Ok(rows);
            }
            // One may have been made in between.
            if !std::mem::replace(&mut again, false) {
                return Err(self.cut(rows.len(), count, from));
            }
        }
    }

    /// An answer with fewer rows than there are.
    pub(super) fn cut(&self, came: usize, count: u64, what: &str) -> Error {
        let text =
            format!("the server at {} has {count} rows, and gives {came} of them: {what}", self.place());
        Error::new(ErrorKind::Unavailable, text).with_hint(
            "taosAdapter's restfulRowLimit cuts answers: raise it or set it to -1; its log may tell of another fault",
        )
    }

    async fn document(&mut self, sql: impl Into<Bytes>) -> Result<Document> {
        let mut answer = self.ask(sql).await?;
        let bytes = answer.bytes(MOST_BYTES).await?;
        let document: Document = serde_json::from_slice(&bytes).map_err(|error| {
            let text = format!("what listens at {} does not answer as taosAdapter", self.place());
            Error::new(ErrorKind::Protocol, text)
                .with_source(error)
                .with_hint("check host and port: taosAdapter listens at 6041")
        })?;
        if document.code == 0 { Ok(document) } else { Err(self.refused(&document)) }
    }

    fn refused(&self, document: &Document) -> Error {
        self.refusal(document.code, &document.desc)
    }

    /// A refusal of a code and a text, as an answer in JSON has them.
    pub fn refusal(&self, code: i64, text: &str) -> Error {
        let text: String = text.trim().chars().take(300).collect();
        Refusal { code: (code & 0xffff) as u16, text }.into_error(&self.place())
    }

    fn unexpected(&self, status: hyper::StatusCode, text: &str) -> Error {
        let place = self.place();
        let said: String = text.trim().lines().next().unwrap_or_default().chars().take(200).collect();
        let made =
            Error::new(kind_of(status), format!("TDengine (taosAdapter) at {place}: HTTP {status} {said}"));
        match status.as_u16() {
            401 => made.with_hint("give taos+http://USER:PASSWORD@HOST, or token="),
            403 => made.with_hint(
                "the server takes no connections from here: its white list of addresses says who may",
            ),
            404 => Error::new(
                ErrorKind::Protocol,
                format!("what listens at {place} is no taosAdapter: it knows no /rest/sql"),
            )
            .with_hint("check host and port, or what a proxy before it does: taosAdapter listens at 6041"),
            400 if said.contains("HTTPS") => {
                made.with_hint("the server speaks TLS: the address begins with taos+https")
            }
            _ => made,
        }
    }
}
