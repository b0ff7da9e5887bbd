//! The parameters of the file sink.

use std::fmt;
use std::path::Path;

use kwsync_core::config::{Dsn, EncoderFactory, Param, Params, format_by_ending};

/// The parameters, beside those of the format.
pub static PARAMS: &[Param] = &[
    Param::choice(
        "compression",
        &["auto", "none", "gzip", "lz4", "snappy", "zstd"],
        "auto: zstd within Parquet, none elsewhere; Arrow takes lz4 and zstd",
    )
    .with_default("auto"),
    Param::int("file_rows", 1, i64::MAX, "rows after which a file is ended and the next begun"),
    Param::size("file_bytes", "bytes after which a file is ended and the next begun").with_default("1GiB"),
    Param::int("row_group_rows", 1, i64::MAX, "most rows of a row group of Parquet").with_default("1048576"),
    Param::size("buffer_bytes", "memory of the open files of a lane; the largest is ended above it")
        .with_default("256MiB"),
    Param::choice(
        "names",
        &["reject", "hash"],
        "names of tables too long for a folder: reject the rows, or shorten by a hash",
    )
    .with_default("reject"),
    Param::flag("fsync", "force files to the disk before they get their names").with_default("true"),
];

/// What the files hold.
#[derive(Clone)]
pub enum FileFormat {
    /// Parquet.
    Parquet,
    /// Arrow IPC, files of random access.
    Arrow,
    /// Records one after the other, as an encoder writes them.
    Records {
        /// The name of the format.
        name: &'static str,
        /// Makes an encoder for each file.
        encoders: EncoderFactory,
    },
}

impl FileFormat {
    /// The name of the format.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::Records { name, .. } => name,
        }
    }

    /// Whether such files can be compressed that way.
    pub(crate) fn takes(&self, compression: Compression) -> bool {
        match self {
            Self::Parquet => compression != Compression::Lz4,
            Self::Arrow => !matches!(compression, Compression::Gzip | Compression::Snappy),
            Self::Records { .. } => {
                matches!(compression, Compression::Auto | Compression::None | Compression::Gzip)
            }
        }
    }

    /// The compressions that it takes, as an address names them.
    pub(crate) fn compressions(&self) -> &'static str {
        match self {
            Self::Parquet => "compression=zstd, snappy, gzip or none",
            Self::Arrow => "compression=lz4, zstd or none",
            Self::Records { .. } => "compression=gzip or none",
        }
    }

    /// The ending of file names, without the first dot.
    pub(crate) fn ending(&self) -> &'static str {
        match self.name() {
            "json" => "ndjson",
            "line_influxdb" => "lp",
            "text" => "txt",
            name => name,
        }
    }
}

impl fmt::Debug for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How files are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Zstandard within Parquet, none elsewhere.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// gzip: within Parquet, or records as a whole file, which then ends in `.gz`.
    Gzip,
    /// LZ4, within Arrow only.
    Lz4,
    /// Snappy, within Parquet only.
    Snappy,
    /// Zstandard, within Parquet and Arrow.
    Zstd,
}

/// How [`FileSink`](super::FileSink) writes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileSinkOptions {
    /// How files are compressed.
    pub compression: Compression,
    /// Rows after which a file is ended.
    pub file_rows: u64,
    /// Bytes after which a file is ended.
    pub file_bytes: u64,
    /// Most rows of a row group of Parquet.
    pub row_group_rows: usize,
    /// Memory that the open files of a lane may take.
    pub buffer_bytes: usize,
    /// Whether a name that is too long for a folder is shortened by a hash; else its rows are rejected.
    pub hash_names: bool,
    /// Whether files are forced to the disk. Without it a crash of the machine may lose what a commit has settled.
    pub fsync: bool,
}

impl Default for FileSinkOptions {
    fn default() -> Self {
        Self {
            compression: Compression::Auto,
            file_rows: u64::MAX,
            file_bytes: 1 << 30,
            row_group_rows: 1 << 20,
            buffer_bytes: 256 << 20,
            hash_names: false,
            fsync: true,
        }
    }
}

impl FileSinkOptions {
    /// Files of up to 1 GiB, forced to the disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// The options of checked parameters.
    pub fn from_params(params: &Params) -> Self {
        let default = Self::new();
        Self {
            compression: match params.choice("compression") {
                Some("none") => Compression::None,
                Some("gzip") => Compression::Gzip,
                Some("lz4") => Compression::Lz4,
                Some("snappy") => Compression::Snappy,
                Some("zstd") => Compression::Zstd,
                _ => Compression::Auto,
            },
            file_rows: params
                .int("file_rows")
                .and_then(|rows| rows.try_into().ok())
                .unwrap_or(default.file_rows),
            file_bytes: params.size("file_bytes").unwrap_or(default.file_bytes),
            row_group_rows: params
                .int("row_group_rows")
                .and_then(|rows| rows.try_into().ok())
                .unwrap_or(default.row_group_rows),
            buffer_bytes: params
                .size("buffer_bytes")
                .and_then(|bytes| bytes.try_into().ok())
                .unwrap_or(default.buffer_bytes),
            hash_names: params.choice("names") == Some("hash"),
            fsync: params.flag("fsync"),
        }
    }

    /// Sets how files are compressed.
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets the rows after which a file is ended; at least one.
    #[must_use]
    pub fn with_file_rows(mut self, rows: u64) -> Self {
        self.file_rows = rows.max(1);
        self
    }

    /// Sets the bytes after which a file is ended.
    #[must_use]
    pub fn with_file_bytes(mut self, bytes: u64) -> Self {
        self.file_bytes = bytes;
        self
    }

    /// Sets the memory that the open files of a lane may take.
    #[must_use]
    pub fn with_buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes;
        self
    }

    /// Sets whether names that are too long are shortened by a hash.
    #[must_use]
    pub fn with_hash_names(mut self, hash: bool) -> Self {
        self.hash_names = hash;
        self
    }

    /// Sets whether files are forced to the disk.
    #[must_use]
    pub fn with_fsync(mut self, fsync: bool) -> Self {
        self.fsync = fsync;
        self
    }
}

/// The format that the ending of the directory's name stands for: whoever writes into `out.csv` wants CSV. Parquet else.
pub(crate) fn guess_format(dsn: &Dsn) -> Option<&'static str> {
    dsn.object().and_then(|name| format_by_ending(Path::new(name))).or(Some("parquet"))
}
