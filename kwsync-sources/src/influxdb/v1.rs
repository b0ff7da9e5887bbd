//! Asking a server of version 1, by InfluxQL.

use std::collections::BTreeMap;

use hyper::StatusCode;
use kwsync_core::config::did_you_mean;
use kwsync_core::{Error, ErrorKind, Result, TableId};

use super::answer::{Small, document};
use super::config::InfluxVersion;
use super::influxql::{self, quote};
use super::layout::{Keys, Layout};
use super::server::{Session, complaint, refused};
use crate::series::Sending;
use crate::series::{Answer, Ask, Columns, FieldType, Lines, encode};

/// Rows of a document at most.
const MOST_ROWS: usize = 10_000;
const FORM: &str = "application/x-www-form-urlencoded";

impl Session {
    /// Whether the database is there, and the retention policy that is asked for.
    pub(super) async fn check_database(&mut self, retention_policy: Option<&str>) -> Result<()> {
        let database = self.options.bucket.clone();
        let small = self.list(&format!("SHOW RETENTION POLICIES ON {}", quote(&database))).await?;
        let Some(wanted) = retention_policy else { return Ok(()) };
        let series = small.results.iter().flat_map(|result| &result.series).flat_map(|series| &series.values);
        let names: Vec<&str> = series.filter_map(|row| row.first()?.as_str()).collect();
        if names.contains(&wanted) {
            return Ok(());
        }
        let meant = did_you_mean(wanted, names.iter().copied());
        let text = format!("the database {database:?} has no retention policy {wanted:?}{meant}");
        Err(Error::new(ErrorKind::NotFound, text).with_hint(format!("it has {}", names.join(", "))))
    }

    /// Sends statements; `more` are parameters beside the database.
    async fn query(&mut self, statements: &str, more: &str) -> Result<Answer> {
        tracing::debug!(%statements, "asking");
        let mut path = format!("/query?db={}&epoch=ns{more}", encode(&self.options.bucket));
        if let InfluxVersion::V1 { retention_policy: Some(policy) } = &self.options.version {
            path.push_str(&format!("&rp={}", encode(policy)));
        }
        let ask = Ask::post(path, FORM, format!("q={}", encode(statements)));
        let mut answer = self.http.ask(&ask).await?;
        if answer.status == StatusCode::OK {
            return Ok(answer);
        }
        let status = answer.status;
        let text = answer.text().await?;
        let said = Small::of(&text).ok().and_then(|small| small.error().map(str::to_owned));
        Err(refused(status, &said.unwrap_or(text)))
    }

    /// Sends a statement whose answer is short.
    async fn list(&mut self, statement: &str) -> Result<Small> {
        let mut answer = self.query(statement, &format!("&chunked=true&chunk_size={MOST_ROWS}")).await?;
        let small = Small::of(&answer.text().await?)?;
        match small.error() {
            Some(said) => Err(complaint(said)),
            None if small.is_partial() => {
                Err(Error::new(ErrorKind::Unavailable, "the server ended its answer early"))
            }
            None => Ok(small),
        }
    }

    /// As [`Session::keys`].
    pub(super) async fn ql_keys(&mut self, measurements: &[String]) -> Result<BTreeMap<String, Keys>> {
        let [fields, tags] = influxql::keys(measurements);
        let (fields, tags) = (self.list(&fields).await?, self.list(&tags).await?);
        let mut found: BTreeMap<String, Keys> = BTreeMap::new();
        for series in fields.results.iter().flat_map(|result| &result.series) {
            for row in &series.values {
                let [Some(name), Some(kind)] = [row.first(), row.get(1)].map(|cell| cell?.as_str()) else {
                    continue;
                };
                let Some(kind) = FieldType::of(kind) else {
                    let text = format!(
                        "{}: the field {name:?} has the type {kind:?}, which is not known",
                        series.name
                    );
                    return Err(Error::new(ErrorKind::Unsupported, text)
                        .with_hint("leave the measurement out with measurements="));
                };
                let types =
                    found.entry(series.name.clone()).or_default().fields.entry(name.to_owned()).or_default();
                types.push(kind);
                types.sort_unstable();
                types.dedup();
            }
        }
        for series in tags.results.iter().flat_map(|result| &result.series) {
            // Tags are listed for the whole database, fields for the retention policy.
            if let Some(keys) = found.get_mut(&series.name) {
                let names = series.values.iter().filter_map(|row| row.first()?.as_str());
                keys.tags.extend(names.map(str::to_owned));
            }
        }
        Ok(found)
    }

    /// As [`Session::end`].
    pub(super) async fn ql_end(
        &mut self,
        measurement: &str,
        (from, to): (i128, i128),
        last: bool,
    ) -> Result<Option<i128>> {
        let small = self.list(&influxql::end(measurement, from, to, last)).await?;
        let mut rows =
            small.results.iter().flat_map(|result| &result.series).flat_map(|series| &series.values);
        Ok(rows.next().and_then(|row| row.first()?.as_i64()).map(i128::from))
    }

    /// As [`Session::read`].
    pub(super) async fn ql_read(
        &mut self,
        table: &TableId,
        layout: &Layout,
        (from, to): (i128, i128),
        sending: &mut Sending<'_>,
    ) -> Result<u64> {
        let statement = influxql::select(table.name(), &layout.items, from, to);
        let answer =
            self.query(&statement, &format!("&chunked=true&chunk_size={}", self.document_rows)).await?;
        let mut lines = Lines::new(answer, self.options.batch_bytes.saturating_mul(8).max(64 << 20));
        let mut columns = Columns::new(table, &layout.schema, &layout.items, "influxdb");
        let (mut rows, mut all, mut bytes, mut partial) = (0, 0_usize, 0, false);
        while let Some(line) = lines.next().await? {
            bytes += line.len() as u64 + 1;
            all += line.len();
            let before = columns.rows();
            let read = document(&line, &mut columns)?;
            if let Some(said) = read.error {
                return Err(complaint(&said));
            }
            rows += (columns.rows() - before) as u64;
            partial = read.partial;
            if columns.rows() >= self.options.batch_rows || columns.bytes() >= self.options.batch_bytes {
                sending.push(columns.finish(std::mem::take(&mut bytes))?).await?;
            }
        }
        if partial {
            return Err(Error::new(ErrorKind::Unavailable, "the server ended its answer early"));
        }
        if columns.rows() > 0 || bytes > 0 {
            sending.push(columns.finish(bytes)?).await?;
        }
        if rows > 0 {
            // A document is held in memory as a whole.
            let each = all / usize::try_from(rows).unwrap_or(usize::MAX).max(1);
            let fit = self.options.batch_bytes / 4 / each.max(1);
            self.document_rows = fit.clamp(1, MOST_ROWS.min(self.options.batch_rows));
        }
        Ok(rows)
    }
}
