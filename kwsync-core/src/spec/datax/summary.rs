//! The lines with which a job ends.

use std::fmt;

use crate::Report;

/// What a whole job did, in the lines that the tool prints at its end.
///
/// # Examples
/// ```
/// use kwsync_core::spec::datax::Summary;
///
/// let summary = Summary::new("2024-01-24 09:20:15", "2024-01-24 09:20:20", 5.2).with_counts(1_070, 52, 50, 2);
/// let lines: Vec<_> = summary.to_string().lines().map(String::from).collect();
/// assert_eq!(lines[3], "Average Throughput   : 205B/s");
/// assert_eq!(lines[4], "Write Speed          : 9rec/s");
/// assert_eq!(lines[5..], ["Total Records Read   : 52", "Total Failures       : 2"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// When the job started, as it is shown.
    pub started: String,
    /// When it ended, as it is shown.
    pub ended: String,
    /// From start to end.
    pub seconds: f64,
    /// Bytes of input.
    pub bytes: u64,
    /// Records read, those that failed included.
    pub records: u64,
    /// Rows that are in the target now.
    pub written: u64,
    /// Records and rows that were refused.
    pub failures: u64,
}

impl Summary {
    /// A job that has read nothing.
    pub fn new(started: impl Into<String>, ended: impl Into<String>, seconds: f64) -> Self {
        Self { started: started.into(), ended: ended.into(), seconds, ..Self::default() }
    }

    /// Adds bytes and records read, rows written, and failures.
    #[must_use]
    pub fn with_counts(mut self, bytes: u64, records: u64, written: u64, failures: u64) -> Self {
        self.bytes += bytes;
        self.records += records;
        self.written += written;
        self.failures += failures;
        self
    }

    /// Adds what one of the job's pipelines did.
    #[must_use]
    pub fn with_report(self, report: &Report) -> Self {
        let written = report.rows_written + report.rows_updated;
        self.with_counts(report.bytes_read, report.records_read, written, report.rows_rejected)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = |n: u64| if self.seconds > 0.0 { (n as f64 / self.seconds) as u64 } else { n };
        writeln!(f, "Job Start Time       : {}", self.started)?;
        writeln!(f, "Job End Time         : {}", self.ended)?;
        writeln!(f, "Total Duration       : {}s", self.seconds as u64)?;
        writeln!(f, "Average Throughput   : {}B/s", rate(self.bytes))?;
        writeln!(f, "Write Speed          : {}rec/s", rate(self.written))?;
        writeln!(f, "Total Records Read   : {}", self.records)?;
        writeln!(f, "Total Failures       : {}", self.failures)
    }
}
