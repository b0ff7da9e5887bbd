//! One job as data: what every front end (command line, job files, pipes) is turned into.

pub mod datax;
pub mod dbsync;
mod document;
pub mod external;
pub mod kafka_connect;
mod pipe;
mod settings;
pub mod taosx;
#[cfg(test)]
mod tests;
mod time;
mod transform;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use pipe::{Attributes, PipeDefinition, PipePlan, PipeSettings, PipeStatement};
pub use settings::Settings;
pub use transform::{TransformContext, TransformSpec};

use crate::config::{Dsn, Expand};
use crate::{Budget, ErrorPolicy, JobId, NameColumns, PipelineOptions, Result, Transform};

/// A job: from where to where, through what, and how. Build it in code, read it from a file ([`PipelineSpec::parse`],
/// [`Settings`]), or with serde; unknown keys are errors.
///
/// # Examples
/// ```
/// use kwsync_core::spec::PipelineSpec;
///
/// let spec = PipelineSpec::new("metrics.lp", "file:out?format=parquet")
///     .with_transform("add-tag:site=berlin".parse()?)
///     .with_jobs(2);
/// assert_eq!(spec.job_id()?, spec.clone().with_jobs(8).job_id()?, "how fast it runs makes no other job");
///
/// let same: PipelineSpec = serde_json::from_str(
///     r#"{"from": "metrics.lp", "to": "file:out?format=parquet", "transforms": ["add-tag:site=berlin"], "jobs": 2}"#,
/// )?;
/// assert_eq!(spec, same);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PipelineSpec {
    /// The address of the source.
    pub from: Address,
    /// The address of the sink.
    pub to: Address,
    /// The text of the parser configuration, for formats that take one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parser: Option<String>,
    /// What happens to rows on their way, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transforms: Vec<TransformSpec>,
    /// The name of the job; a named job keeps its state, so that the next run reads only what is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Forgets what an earlier run has done.
    #[serde(default)]
    pub restart: bool,
    /// Lanes.
    #[serde(default = "one")]
    pub jobs: usize,
    /// What happens to records that cannot be loaded.
    #[serde(default)]
    pub errors: ErrorPolicy,
    /// How many of them may be.
    #[serde(default)]
    pub max_errors: Budget,
    /// Whether each of them is logged as a warning, with its place and its reason.
    #[serde(default, skip_serializing_if = "is_false")]
    pub log_errors: bool,
    /// Rows of a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_rows: Option<usize>,
    /// Bytes of a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_bytes: Option<usize>,
    /// Milliseconds that a row may wait for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linger_ms: Option<u64>,
    /// Rows between two commits of a lane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_rows: Option<u64>,
    /// Rows a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_rows: Option<u64>,
    /// Bytes of input a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_bytes: Option<u64>,
    /// Statements that the target runs before the first row, once for a job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_sql: Vec<String>,
    /// Statements that the target runs when all rows have settled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_sql: Vec<String>,
    /// How often a fault that may pass is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Milliseconds of the longest wait between two tries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_wait_ms: Option<u64>,
    /// Where checkpoints are kept: `file:DIR`; the user's state folder when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Address>,
}

/// What a job of another tool's form says: the specs to run, one after the other, and what the operator should know of
/// the way from there to here, such as what was ignored and why.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Translation {
    /// The pipelines of the job, in order.
    pub specs: Vec<PipelineSpec>,
    /// What was ignored, assumed or mended, one sentence each.
    pub notes: Vec<String>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn one() -> usize {
    1
}

/// An address as text, which is parsed when a spec is read and shown without its secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Address(String);

impl Address {
    /// The parsed address; what the operator wrote as `${NAME}` or `@path` still stands in it.
    ///
    /// # Errors
    /// `Config`, with a caret below the fault.
    pub fn dsn(&self) -> Result<Dsn> {
        self.0.parse()
    }
}

impl<T: Into<String>> From<T> for Address {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.dsn() {
            Ok(dsn) => write!(f, "{dsn}"),
            // What cannot be parsed may hold a password anywhere.
            Err(_) => f.write_str("(an address that cannot be parsed)"),
        }
    }
}

impl PipelineSpec {
    /// A job with the defaults of everything else.
    pub fn new(from: impl Into<Address>, to: impl Into<Address>) -> Self {
        Self {
            from: from.into(),
            to: to.into(),
            parser: None,
            transforms: Vec::new(),
            job: None,
            restart: false,
            jobs: 1,
            errors: ErrorPolicy::default(),
            max_errors: Budget::default(),
            log_errors: false,
            batch_rows: None,
            batch_bytes: None,
            linger_ms: None,
            commit_rows: None,
            rate_rows: None,
            rate_bytes: None,
            pre_sql: Vec::new(),
            post_sql: Vec::new(),
            retries: None,
            retry_wait_ms: None,
            checkpoint: None,
        }
    }

    /// Adds a transform behind those that are there.
    #[must_use]
    pub fn with_transform(mut self, transform: TransformSpec) -> Self {
        self.transforms.push(transform);
        self
    }

    /// Sets the number of lanes.
    #[must_use]
    pub fn with_jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs;
        self
    }

    /// Names the job.
    #[must_use]
    pub fn with_job(mut self, name: impl Into<String>) -> Self {
        self.job = Some(name.into());
        self
    }

    /// Sets what happens to records that cannot be loaded.
    #[must_use]
    pub fn with_errors(mut self, errors: ErrorPolicy) -> Self {
        self.errors = errors;
        self
    }

    /// Keeps checkpoints at this address (`file:DIR`).
    #[must_use]
    pub fn with_checkpoint(mut self, address: impl Into<Address>) -> Self {
        self.checkpoint = Some(address.into());
        self
    }

    /// The job's name, or a hash of what makes it this job: what both addresses name ([`Dsn::identity`]), the parser and
    /// the transforms.
    ///
    /// # Errors
    /// `Config` when an address cannot be parsed.
    pub fn job_id(&self) -> Result<JobId> {
        if let Some(name) = &self.job {
            return Ok(JobId::new(name.as_str()));
        }
        let mut hash = Fnv::new();
        hash.add(&self.from.dsn()?.identity());
        hash.add(&self.to.dsn()?.identity());
        hash.add(self.parser.as_deref().unwrap_or_default());
        for transform in &self.transforms {
            hash.add(&transform.to_string());
        }
        Ok(JobId::new(format!("{:016x}", hash.0)))
    }

    /// The transforms, ready to run; `expand` finds what stands in them as `${NAME}`.
    ///
    /// # Errors
    /// `Config` for one that makes no sense.
    pub fn build_transforms(&self, expand: &Expand<'_>) -> Result<Vec<Arc<dyn Transform>>> {
        let (job, from) = (self.job_id()?, self.from.dsn()?);
        // Where there is no server, the object is a file.
        let database = from.object().filter(|_| !from.hosts().is_empty());
        let context = TransformContext { job: &job, database, expand };
        self.transforms.iter().map(|transform| transform.build(&context)).collect()
    }

    /// The options of the pipeline.
    pub fn options(&self) -> PipelineOptions {
        let mut options = PipelineOptions::new()
            .with_lanes(self.jobs)
            .with_errors(self.errors.clone())
            .with_max_errors(self.max_errors);
        let set = |target: &mut usize, value: Option<usize>| *target = value.unwrap_or(*target).max(1);
        set(&mut options.batch_rows, self.batch_rows);
        set(&mut options.batch_bytes, self.batch_bytes);
        options.linger = self.linger_ms.map_or(options.linger, Duration::from_millis);
        options.commit_rows = self.commit_rows.unwrap_or(options.commit_rows).max(1);
        options.rate_rows = self.rate_rows.unwrap_or(0);
        options.rate_bytes = self.rate_bytes.unwrap_or(0);
        options.retries = self.retries.unwrap_or(options.retries);
        options.retry_max_wait = self.retry_wait_ms.map_or(options.retry_max_wait, Duration::from_millis);
        options.keep_state = self.job.is_some();
        options.log_errors = self.log_errors;
        options
    }
}

/// FNV-1a: stable over releases and machines, which is all that a job's name asks for.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, text: &str) {
        // The length keeps "ab" + "c" apart from "a" + "bc".
        for byte in text.len().to_le_bytes().into_iter().chain(text.bytes()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
