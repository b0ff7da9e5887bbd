//! What a job did: while it runs, and at its end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::lane::Tally;
use super::meter::{Count, Meter};
use crate::{DecodeCounts, Delivery, RowCounts, Settled, TableId};

/// Counters of a running job. Cheap to read at any time, from any thread.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    pub(super) bytes_total: AtomicU64,
    pub(super) bytes_read: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) rows_read: AtomicU64,
    pub(super) rows_settled: AtomicU64,
    pub(super) filtered: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) bytes_written: AtomicU64,
    pub(super) retried: AtomicU64,
    pub(super) splits_done: AtomicU64,
    pub(super) splits_total: AtomicU64,
    tables: Mutex<Tables>,
    pub(super) meter: Meter,
}

#[derive(Debug, Default)]
struct Tables {
    counts: BTreeMap<TableId, TableReport>,
    decode: DecodeCounts,
}

/// A look at a running job.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Since the start.
    pub elapsed: Duration,
    /// Bytes of input that are known to be there; 0 when nothing is known.
    pub bytes_total: u64,
    /// Bytes of input read.
    pub bytes_read: u64,
    /// Rows read.
    pub rows_read: u64,
    /// Rows whose fate is settled at the target.
    pub rows_settled: u64,
    /// Rows that a transform left out on purpose.
    pub filtered: u64,
    /// Records and rows refused.
    pub rejected: u64,
    /// Splits finished.
    pub splits_done: u64,
    /// Splits in all.
    pub splits_total: u64,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            bytes_total: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            records: AtomicU64::new(0),
            rows_read: AtomicU64::new(0),
            rows_settled: AtomicU64::new(0),
            filtered: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            splits_done: AtomicU64::new(0),
            splits_total: AtomicU64::new(0),
            tables: Mutex::default(),
            meter: Meter::default(),
        }
    }
}

impl Progress {
    /// The counters now.
    pub fn snapshot(&self) -> Snapshot {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            elapsed: self.started.elapsed(),
            bytes_total: get(&self.bytes_total),
            bytes_read: get(&self.bytes_read),
            rows_read: get(&self.rows_read),
            rows_settled: get(&self.rows_settled),
            filtered: get(&self.filtered),
            rejected: get(&self.rejected),
            splits_done: get(&self.splits_done),
            splits_total: get(&self.splits_total),
        }
    }

    pub(super) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn decoded(
        &self,
        counts: DecodeCounts,
        bytes: u64,
        rows: u64,
        filtered: u64,
        read: &BTreeMap<TableId, u64>,
    ) {
        Self::add(&self.records, counts.records);
        Self::add(&self.bytes_read, bytes);
        Self::add(&self.rows_read, rows);
        Self::add(&self.filtered, filtered);
        self.meter.add(Count::RowsRead, rows);
        self.meter.add(Count::BytesRead, bytes);
        self.meter.add(Count::RowsFiltered, filtered);
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.decode += counts;
        for (table, rows) in read {
            tables.of(table).rows_read += rows;
        }
    }

    /// Takes back what was counted of rows that will be read again.
    pub(super) fn take_back(&self, tally: &Tally) {
        let sub = |counter: &AtomicU64, n: u64| counter.fetch_sub(n, Ordering::Relaxed);
        sub(&self.records, tally.counts.records);
        sub(&self.bytes_read, tally.bytes);
        sub(&self.rows_read, tally.rows_read);
        sub(&self.filtered, tally.filtered);
        sub(&self.rejected, tally.rejected);
        Self::add(&self.retried, tally.rows_read);
        self.meter.add(Count::RowsRetried, tally.rows_read);
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.decode.missing_timestamps -= tally.counts.missing_timestamps;
        tables.decode.duplicate_fields -= tally.counts.duplicate_fields;
        tables.decode.coerced -= tally.counts.coerced + tally.coerced;
        for (table, rows) in &tally.rows {
            tables.of(table).rows_read -= rows;
        }
        for (table, counts) in &tally.settled {
            // What the target has stays counted as written; what it refused, it will refuse again.
            tables.of(table).rows.rejected -= counts.rejected;
            sub(&self.rows_settled, counts.rejected);
        }
    }

    pub(super) fn settled(&self, settled: &Settled) {
        Self::add(&self.rows_settled, settled.total().rows());
        Self::add(&self.bytes_written, settled.bytes);
        self.meter.add(Count::RowsSettled, settled.total().rows());
        self.meter.add(Count::BytesWritten, settled.bytes);
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.decode.coerced += settled.coerced;
        for (table, counts) in &settled.tables {
            tables.of(table).rows += *counts;
        }
    }

    pub(super) fn report(&self, job: &str, delivery: Delivery, status: Status) -> Report {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let total = tables.counts.values().fold(RowCounts::default(), |mut total, table| {
            total += table.rows;
            total
        });
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = |n: u64| if seconds > 0.0 { (n as f64 / seconds) as u64 } else { 0 };
        let (rows_read, bytes_read) = (get(&self.rows_read), get(&self.bytes_read));
        Report {
            job: job.to_owned(),
            status,
            delivery,
            rows_read,
            bytes_read,
            records_read: get(&self.records),
            rows_written: total.written,
            rows_updated: total.updated,
            rows_deleted: total.deleted,
            rows_ignored: total.ignored,
            rows_filtered: get(&self.filtered),
            rows_rejected: get(&self.rejected),
            rows_retried: get(&self.retried),
            values_coerced: tables.decode.coerced,
            missing_timestamps: tables.decode.missing_timestamps,
            duplicate_fields: tables.decode.duplicate_fields,
            bytes_written: get(&self.bytes_written),
            seconds,
            rows_per_second: rate(rows_read),
            bytes_per_second: rate(bytes_read),
            tables: tables.counts.iter().map(|(table, counts)| (table.to_string(), *counts)).collect(),
        }
    }
}

impl Tables {
    fn of(&mut self, table: &TableId) -> &mut TableReport {
        self.counts.entry(table.clone()).or_default()
    }
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All was loaded.
    Done,
    /// All was loaded but for the rejects.
    DoneWithRejects,
    /// It was stopped on request, and can be resumed.
    Interrupted,
    /// It failed.
    Failed,
}

/// One table's share of a [`Report`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableReport {
    /// Rows decoded.
    pub rows_read: u64,
    /// What became of them.
    #[serde(flatten)]
    pub rows: RowCounts,
}

/// What a job did. As JSON it is one object with these names; `Display` is for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The job.
    pub job: String,
    /// How it ended.
    pub status: Status,
    /// What was promised about faults.
    pub delivery: Delivery,
    /// Rows decoded.
    pub rows_read: u64,
    /// Bytes of input.
    pub bytes_read: u64,
    /// Records of input, the refused ones included.
    pub records_read: u64,
    /// Rows new in the target.
    pub rows_written: u64,
    /// Rows that replaced others.
    pub rows_updated: u64,
    /// Rows that were there and are gone, since a change says so.
    pub rows_deleted: u64,
    /// Rows dropped on purpose.
    pub rows_ignored: u64,
    /// Rows that a transform left out on purpose.
    pub rows_filtered: u64,
    /// Records and rows refused.
    pub rows_rejected: u64,
    /// Rows sent again after a fault.
    pub rows_retried: u64,
    /// Values changed by an option that allows it.
    pub values_coerced: u64,
    /// Records whose missing timestamp was filled in.
    pub missing_timestamps: u64,
    /// Fields that stood twice in a record.
    pub duplicate_fields: u64,
    /// Bytes sent or written.
    pub bytes_written: u64,
    /// From start to end.
    pub seconds: f64,
    /// Rows read a second.
    pub rows_per_second: u64,
    /// Bytes of input a second.
    pub bytes_per_second: u64,
    /// Each table's share, by name.
    pub tables: BTreeMap<String, TableReport>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            Status::Done => "done",
            Status::DoneWithRejects => "done, with rejects",
            Status::Interrupted => "interrupted; run the same command again to resume",
            Status::Failed => "failed",
        };
        writeln!(f, "{status}: job {}, {}", self.job, self.delivery)?;
        writeln!(
            f,
            "  read      {:>14} rows  {:>14} bytes in {:.2} s ({} rows/s, {}/s)",
            group(self.rows_read),
            group(self.bytes_read),
            self.seconds,
            group(self.rows_per_second),
            human_bytes(self.bytes_per_second)
        )?;
        writeln!(
            f,
            "  written   {:>14} rows  {:>14} bytes",
            group(self.rows_written),
            group(self.bytes_written)
        )?;
        for (name, rows) in [
            ("updated", self.rows_updated),
            ("deleted", self.rows_deleted),
            ("ignored", self.rows_ignored),
            ("filtered", self.rows_filtered),
            ("rejected", self.rows_rejected),
            ("retried", self.rows_retried),
        ] {
            if rows > 0 || name == "rejected" {
                writeln!(f, "  {name:<9} {:>14} rows", group(rows))?;
            }
        }
        for (text, count) in [
            ("values changed as an option allows", self.values_coerced),
            ("records without a timestamp got the time of receipt or null", self.missing_timestamps),
            ("fields stood twice in a record; the last one won", self.duplicate_fields),
        ] {
            if count > 0 {
                writeln!(f, "  note: {} {text}", group(count))?;
            }
        }
        let width = self.tables.keys().map(|name| name.chars().count()).max().unwrap_or(0).clamp(5, 40);
        if !self.tables.is_empty() {
            writeln!(f, "  {:<width$} {:>14} {:>14} {:>10}", "table", "read", "written", "rejected")?;
        }
        for (name, table) in &self.tables {
            let rows = table.rows;
            writeln!(
                f,
                "  {name:<width$} {:>14} {:>14} {:>10}",
                group(table.rows_read),
                group(rows.written + rows.updated + rows.deleted + rows.ignored),
                group(rows.rejected)
            )?;
        }
        Ok(())
    }
}

/// Digits in groups of three: 1,234,567.
pub(crate) fn group(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}
