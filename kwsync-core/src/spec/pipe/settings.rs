//! The pipe settings of `iotdb-common.properties`.

use std::time::Duration;

use crate::{Error, Result};

/// What IoTDB's `iotdb-common.properties` says of pipes; other settings of that file are none of ours.
///
/// # Examples
/// ```
/// use kwsync_core::spec::PipeSettings;
/// use std::time::Duration;
///
/// let settings = PipeSettings::from_properties("pipe_sink_timeout_ms=5000\n# a comment\ndn_rpc_port=6667\n")?;
/// assert_eq!(settings.sink_timeout, Duration::from_secs(5));
/// assert_eq!(settings.max_threads, 5);
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PipeSettings {
    /// `pipe_subtask_executor_max_thread_num`: lanes of one pipe at most, and never more than half of the cores.
    pub max_threads: usize,
    /// `pipe_sink_timeout_ms`, once `pipe_connector_timeout_ms`: how long a connection may take to come about.
    pub sink_timeout: Duration,
    /// Settings of pipes that mean nothing here.
    pub ignored: Vec<String>,
}

impl Default for PipeSettings {
    fn default() -> Self {
        Self { max_threads: 5, sink_timeout: Duration::from_millis(900_000), ignored: Vec::new() }
    }
}

impl PipeSettings {
    /// Reads a file's text.
    ///
    /// # Errors
    /// `Config` with the line of a value that is no number.
    pub fn from_properties(text: &str) -> Result<Self> {
        let mut settings = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.starts_with(['#', '!']) {
                continue;
            }
            let Some((key, value)) = line.split_once(['=', ':']) else { continue };
            let (key, value) = (key.trim(), value.trim());
            let number = || {
                value.parse::<u64>().ok().filter(|number| *number > 0).ok_or_else(|| {
                    Error::config(format!("line {}: {key}={value} is no number above 0", index + 1))
                })
            };
            match key {
                "pipe_subtask_executor_max_thread_num" => {
                    settings.max_threads = usize::try_from(number()?).unwrap_or(usize::MAX);
                }
                "pipe_sink_timeout_ms" | "pipe_connector_timeout_ms" => {
                    settings.sink_timeout = Duration::from_millis(number()?);
                }
                other if other.starts_with("pipe_") => settings.ignored.push(other.to_owned()),
                _ => {}
            }
        }
        Ok(settings)
    }

    /// The lanes that a pipe may have on a machine of `cores`.
    pub fn lanes(&self, cores: usize) -> usize {
        self.max_threads.min((cores / 2).max(1))
    }
}
