//! The parameters of the file source.

use std::path::Path;

use kwsync_core::config::{Dsn, Param, Params, format_by_ending};

use super::paths;

/// The parameters, beside those of the format.
pub static PARAMS: &[Param] = &[
    Param::choice("split", &["auto", "lines", "never"], "cut files at line ends for several lanes: auto where the format makes that exact, lines if no record holds a line end")
        .with_default("auto"),
    Param::size("split_bytes", "least size of a piece").with_default("16MiB"),
    Param::size("chunk", "bytes read at a time, from 4KiB to 64MiB").with_default("1MiB"),
    Param::choice("compression", &["auto", "none", "gzip"], "auto looks at the first bytes").with_default("auto"),
    Param::text("table", "the table of files that name none; default: the folder or the file's name"),
];

/// Whether files are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SplitMode {
    /// Files are read from end to end.
    #[default]
    Never,
    /// Files are cut at line ends.
    Lines,
}

/// How files are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Told by the first bytes.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// gzip, one member or several.
    Gzip,
}

/// How [`FileSource`](super::FileSource) reads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileOptions {
    /// Whether files are cut.
    pub split: SplitMode,
    /// Least bytes of a piece.
    pub split_bytes: u64,
    /// Bytes of a chunk.
    pub chunk_bytes: usize,
    /// How files are compressed.
    pub compression: Compression,
    /// Whether records end at line ends. A file that has grown from the middle of a line is refused then.
    pub lines: bool,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            split: SplitMode::Never,
            split_bytes: 16 << 20,
            chunk_bytes: 1 << 20,
            compression: Compression::Auto,
            lines: true,
        }
    }
}

impl FileOptions {
    /// Files from end to end, in chunks of 1 MiB, compressed as their first bytes say.
    pub fn new() -> Self {
        Self::default()
    }

    /// The options of checked parameters; `line_records` says whether a line end always ends a record of the
    /// format.
    pub fn from_params(params: &Params, line_records: bool) -> Self {
        let split = match params.choice("split") {
            Some("lines") => SplitMode::Lines,
            Some("auto") if line_records => SplitMode::Lines,
            _ => SplitMode::Never,
        };
        let compression = match params.choice("compression") {
            Some("none") => Compression::None,
            Some("gzip") => Compression::Gzip,
            _ => Compression::Auto,
        };
        let mut options = Self::new().with_split(split).with_compression(compression);
        if let Some(bytes) = params.size("split_bytes") {
            options = options.with_split_bytes(bytes);
        }
        if let Some(bytes) = params.size("chunk") {
            options = options.with_chunk_bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        options
    }

    /// Sets whether files are cut.
    #[must_use]
    pub fn with_split(mut self, split: SplitMode) -> Self {
        self.split = split;
        self
    }

    /// Sets the least bytes of a piece; at least one.
    #[must_use]
    pub fn with_split_bytes(mut self, bytes: u64) -> Self {
        self.split_bytes = bytes.max(1);
        self
    }

    /// Sets the bytes of a chunk, from 4 KiB to 64 MiB.
    #[must_use]
    pub fn with_chunk_bytes(mut self, bytes: usize) -> Self {
        self.chunk_bytes = bytes.clamp(4 << 10, 64 << 20);
        self
    }

    /// Sets how files are compressed.
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets whether records end at line ends; formats of text have such, and it is the default.
    #[must_use]
    pub fn with_lines(mut self, lines: bool) -> Self {
        self.lines = lines;
        self
    }
}

/// The format that the ending of a name stands for, `.gz` left aside; of a directory, that of its first file.
pub(super) fn guess_format(dsn: &Dsn) -> Option<&'static str> {
    match dsn.driver() {
        "csv" => return Some("csv"),
        // What was written to there: a folder for each table.
        "local" => return Some("parquet"),
        _ => {}
    }
    format_by_ending(Path::new(dsn.object()?)).or_else(|| {
        let path = dsn.path().ok()?;
        let first = Path::new(&path).is_dir().then(|| paths::find(&path).ok())??.into_iter().next()?;
        format_by_ending(&first)
    })
}
