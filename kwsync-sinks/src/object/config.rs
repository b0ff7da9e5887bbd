//! The parameters of the sink.

use kwsync_core::config::{Param, Params};
use kwsync_core::system::object;
use kwsync_core::{Error, Result};

use crate::file::Compression;

/// The parameters, beside those of the format.
pub static PARAMS: &[Param] = &object::joined::<{ object::PARAMS.len() + OWN.len() }>(&object::PARAMS, &OWN);

const OWN: [Param; 12] = [
    Param::text("prefix", "how keys begin, literally; a unique name follows"),
    Param::text("dir", "the folder of the objects, which ends in /; they are called TABLE.NUMBER"),
    Param::text("filepath", "for reading only"),
    Param::choice(
        "compression",
        &["auto", "none", "gzip", "lz4", "snappy", "zstd"],
        "auto: zstd within Parquet, none elsewhere; Arrow takes lz4 and zstd",
    )
    .with_aliases(&["compressiontype"])
    .with_default("auto"),
    Param::int("compressionlevel", 1, 9, "the level of gzip around records").with_default("6"),
    Param::int(
        "oss_flush_block_size",
        1,
        128,
        "MiB of a part of an upload; at least 5 are taken, as S3 wants it",
    )
    .with_default("32"),
    Param::int("oss_file_max_size", 8, 4_000, "MiB after which an object is ended and the next begun")
        .with_default("1024"),
    Param::int("num_parallel_worker", 1, 8, "parts that a lane uploads at once").with_default("3"),
    Param::int("file_rows", 1, i64::MAX, "rows after which an object is ended and the next begun"),
    Param::int("row_group_rows", 1, i64::MAX, "most rows of a row group of Parquet").with_default("1048576"),
    Param::size("buffer_bytes", "memory of the open objects of a lane; the largest is ended above it")
        .with_default("256MiB"),
    Param::choice(
        "names",
        &["reject", "hash"],
        "names of tables too long for a folder: reject the rows, or shorten by a hash",
    )
    .with_default("reject"),
];

/// S3 refuses smaller parts, save the last.
const LEAST_PART: usize = 5 << 20;

/// How keys are made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// A folder for each table below this one, which ends in `/` or is the whole bucket.
    Folders(String),
    /// Unique names behind a literal prefix.
    Prefix(String),
    /// `TABLE.NUMBER` in this folder, which ends in `/`.
    Dir(String),
}

/// How [`ObjectSink`](super::ObjectSink) writes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectSinkOptions {
    /// How keys are made.
    pub layout: Layout,
    /// How objects are compressed.
    pub compression: Compression,
    /// The level of gzip around records, from 1 to 9.
    pub gzip_level: u32,
    /// Bytes of a part.
    pub part_bytes: usize,
    /// Bytes after which an object is ended.
    pub object_bytes: u64,
    /// Rows after which an object is ended.
    pub object_rows: u64,
    /// Parts that a lane uploads at once.
    pub workers: usize,
    /// Most rows of a row group of Parquet.
    pub row_group_rows: usize,
    /// Memory that the open objects of a lane may take; parts on their way come on top.
    pub buffer_bytes: usize,
    /// Whether a name that is too long for a folder is shortened by a hash; else its rows are rejected.
    pub hash_names: bool,
}

impl ObjectSinkOptions {
    /// Objects of up to 1 GiB in parts of 32 MiB, laid out as `layout` says.
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            compression: Compression::Auto,
            gzip_level: 6,
            part_bytes: 32 << 20,
            object_bytes: 1 << 30,
            object_rows: u64::MAX,
            workers: 3,
            row_group_rows: 1 << 20,
            buffer_bytes: 256 << 20,
            hash_names: false,
        }
    }

    /// The options of checked parameters, and of what follows the bucket in the address.
    ///
    /// # Errors
    /// `Config` for a layout that is said twice, a folder without its `/`, and for `filepath`.
    pub fn from_params(params: &Params, object: Option<&str>) -> Result<Self> {
        let default = Self::new(layout(params, object)?);
        let mib = |name: &str| params.int(name).and_then(|mib| u64::try_from(mib).ok()).map(|mib| mib << 20);
        let number = |name: &str| params.int(name).and_then(|number| usize::try_from(number).ok());
        Ok(Self {
            compression: match params.choice("compression") {
                Some("none") => Compression::None,
                Some("gzip") => Compression::Gzip,
                Some("lz4") => Compression::Lz4,
                Some("snappy") => Compression::Snappy,
                Some("zstd") => Compression::Zstd,
                _ => Compression::Auto,
            },
            gzip_level: number("compressionlevel")
                .map_or(default.gzip_level, |level| level.clamp(1, 9) as u32),
            part_bytes: mib("oss_flush_block_size")
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(default.part_bytes)
                .max(LEAST_PART),
            object_bytes: mib("oss_file_max_size").unwrap_or(default.object_bytes),
            object_rows: number("file_rows").map_or(default.object_rows, |rows| rows as u64),
            workers: number("num_parallel_worker").unwrap_or(default.workers).max(1),
            row_group_rows: number("row_group_rows").unwrap_or(default.row_group_rows),
            buffer_bytes: params
                .size("buffer_bytes")
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(default.buffer_bytes),
            hash_names: params.choice("names") == Some("hash"),
            layout: default.layout,
        })
    }

    /// Sets how objects are compressed.
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets the rows after which an object is ended; at least one.
    #[must_use]
    pub fn with_object_rows(mut self, rows: u64) -> Self {
        self.object_rows = rows.max(1);
        self
    }

    /// Sets the bytes of a part; at least 5 MiB.
    #[must_use]
    pub fn with_part_bytes(mut self, bytes: usize) -> Self {
        self.part_bytes = bytes.max(LEAST_PART);
        self
    }

    /// Sets the bytes after which an object is ended.
    #[must_use]
    pub fn with_object_bytes(mut self, bytes: u64) -> Self {
        self.object_bytes = bytes;
        self
    }
}

fn layout(params: &Params, object: Option<&str>) -> Result<Layout> {
    if params.is_given("filepath") {
        return Err(Error::config("filepath= is for reading: objects are written under names of their own")
            .with_hint("give dir=FOLDER/ or prefix=TEXT"));
    }
    let given = [
        object.map(|object| ("the address", object)),
        params.text("prefix").map(|prefix| ("prefix=", prefix)),
        params.text("dir").map(|dir| ("dir=", dir)),
    ];
    let mut given = given.into_iter().flatten();
    let (Some((how, text)), more) = (given.next(), given.next()) else {
        return Ok(Layout::Folders(String::new()));
    };
    if let Some((other, _)) = more {
        return Err(Error::config(format!("where objects go is said twice: by {how} and by {other}"))
            .with_hint("give one of them: s3://BUCKET/FOLDER/, prefix= or dir="));
    }
    if text.starts_with('/') || text.contains("//") {
        return Err(Error::config(format!("{text:?} is no place in a bucket: a key has no empty part"))
            .with_hint("leave the / away that nothing stands before"));
    }
    Ok(match how {
        "prefix=" => Layout::Prefix(text.to_owned()),
        "dir=" if text.ends_with('/') => Layout::Dir(text.to_owned()),
        "dir=" => {
            return Err(Error::config(format!("dir={text} does not end in /"))
                .with_hint(format!("write dir={text}/, or prefix={text} for keys that begin so")));
        }
        _ => Layout::Folders(format!("{}/", text.trim_end_matches('/'))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(given: &[(&str, &str)], object: Option<&str>) -> Result<ObjectSinkOptions> {
        let given = given.iter().map(|(name, value)| (*name, Some(*value)));
        ObjectSinkOptions::from_params(&Params::parse("sink `s3`", PARAMS, given)?, object)
    }

    #[test]
    fn the_sizes_of_the_manual() {
        let made = options(&[], Some("out")).unwrap();
        assert_eq!(made, ObjectSinkOptions::new(Layout::Folders("out/".to_owned())));
        assert_eq!(
            (made.part_bytes, made.object_bytes, made.workers, made.gzip_level),
            (32 << 20, 1 << 30, 3, 6)
        );
        let made = options(
            &[
                ("dir", "a/"),
                ("oss_flush_block_size", "1"),
                ("oss_file_max_size", "4000"),
                ("num_parallel_worker", "8"),
                ("compressiontype", "gzip"),
                ("compressionlevel", "9"),
            ],
            None,
        )
        .unwrap();
        assert_eq!((made.part_bytes, made.object_bytes, made.workers), (5 << 20, 4_000 << 20, 8));
        assert_eq!(
            (made.layout, made.compression, made.gzip_level),
            (Layout::Dir("a/".to_owned()), Compression::Gzip, 9)
        );
        for (name, value) in [
            ("oss_flush_block_size", "0"),
            ("oss_flush_block_size", "129"),
            ("oss_file_max_size", "7"),
            ("oss_file_max_size", "4001"),
            ("num_parallel_worker", "9"),
            ("compressionlevel", "10"),
        ] {
            let error = options(&[(name, value)], None).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(" to "), "{error}");
        }
    }

    #[test]
    fn one_place() {
        let given = |given: &[(&str, &str)], object| options(given, object).unwrap().layout;
        assert_eq!(given(&[], None), Layout::Folders(String::new()));
        assert_eq!(given(&[], Some("a/b/")), Layout::Folders("a/b/".to_owned()));
        assert_eq!(
            given(&[("prefix", "osstest/exp/outfromhdb")], None),
            Layout::Prefix("osstest/exp/outfromhdb".to_owned())
        );
        for (wrong, object, expected) in [
            (&[("filepath", "a")][..], None, "filepath= is for reading"),
            (&[("prefix", "a"), ("dir", "b/")], None, "said twice: by prefix= and by dir="),
            (&[("dir", "b/")], Some("a"), "said twice: by the address and by dir="),
            (&[("dir", "b")], None, "dir=b does not end in /"),
            (&[("prefix", "/b")], None, "no empty part"),
        ] {
            let error = options(wrong, object).unwrap_err();
            assert!(error.to_string().contains(expected) && error.hint().is_some(), "{error}");
        }
    }
}
