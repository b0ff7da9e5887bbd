//! The parameters of the source.

use kwsync_core::config::{Dsn, Param, Params, format_by_ending};
use kwsync_core::system::object;
use kwsync_core::{Error, Result};

use crate::file::Compression;

/// The parameters, beside those of the format.
pub static PARAMS: &[Param] = &object::joined::<{ object::PARAMS.len() + OWN.len() }>(&object::PARAMS, &OWN);

const OWN: [Param; 10] = [
    Param::text("prefix", "how the keys of the objects begin, literally"),
    Param::text("dir", "a folder, which ends in /: its objects, without those in folders of it"),
    Param::text(
        "filepath",
        "the key F of an object, with F.1, F.2 and so on, up to the first that is missing",
    ),
    Param::choice("compression", &["auto", "none", "gzip"], "auto looks at the first bytes")
        .with_aliases(&["compressiontype"])
        .with_default("auto"),
    Param::size("chunk", "bytes handed on at a time, from 4KiB to 64MiB").with_default("1MiB"),
    Param::int("compressionlevel", 1, 9, "for writing only").ignored(),
    Param::int("oss_flush_block_size", 1, 128, "for writing only").ignored(),
    Param::int("oss_file_max_size", 8, 4_000, "for writing only").ignored(),
    Param::int("num_parallel_worker", 1, 8, "for writing only").ignored(),
    Param::text("table", "the table of objects that name none; default: the folder or the object's name"),
];

/// Which objects are read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selection {
    /// The one of this key.
    Key(String),
    /// Those whose keys match: `*` is any text without `/`, `?` any one character, `**` any folders.
    Pattern(String),
    /// All below this folder, which ends in `/`; without those whose name starts with `.` or `_`, or a folder of theirs.
    Folder(String),
    /// All whose keys begin so.
    Prefix(String),
    /// Those in this folder, which ends in `/`, and not in folders of it.
    Dir(String),
    /// This key, and `.1`, `.2` ... behind it up to the first that is missing.
    FilePath(String),
}

impl Selection {
    /// The folder that keys are seen from, with its `/`; empty for the whole bucket.
    #[cfg_attr(
        not(any(feature = "ipc", feature = "parquet")),
        allow(dead_code, reason = "names tables of batches")
    )]
    pub(super) fn base(&self) -> &str {
        let up_to_last = |text: &'_ str| text.rfind('/').map_or(0, |at| at + 1);
        match self {
            Self::Folder(base) | Self::Dir(base) => base,
            Self::Prefix(text) | Self::Key(text) | Self::FilePath(text) => {
                text.get(..up_to_last(text)).unwrap_or_default()
            }
            Self::Pattern(text) => {
                let plain = literal(text);
                plain.get(..up_to_last(plain)).unwrap_or_default()
            }
        }
    }
}

/// What stands before the first wildcard of a pattern.
pub(super) fn literal(pattern: &str) -> &str {
    pattern.split(['*', '?', '[']).next().unwrap_or_default()
}

/// What [`ObjectSource`](super::ObjectSource) reads, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectSourceOptions {
    /// Which objects.
    pub selection: Selection,
    /// How they are compressed.
    pub compression: Compression,
    /// Bytes of a chunk.
    pub chunk_bytes: usize,
}

impl ObjectSourceOptions {
    /// Objects in chunks of 1 MiB, compressed as their first bytes say.
    pub fn new(selection: Selection) -> Self {
        Self { selection, compression: Compression::Auto, chunk_bytes: 1 << 20 }
    }

    /// The options of checked parameters, and of what follows the bucket in the address.
    ///
    /// # Errors
    /// `Config` if it is not said which objects, or said twice; for a folder without its `/`.
    pub fn from_params(params: &Params, object: Option<&str>) -> Result<Self> {
        let mut options = Self::new(selection(params, object)?);
        options.compression = match params.choice("compression") {
            Some("none") => Compression::None,
            Some("gzip") => Compression::Gzip,
            _ => Compression::Auto,
        };
        let chunk = params.size("chunk").and_then(|bytes| usize::try_from(bytes).ok());
        Ok(options.with_chunk_bytes(chunk.unwrap_or(1 << 20)))
    }

    /// Sets how objects are compressed.
    #[must_use]
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets the bytes of a chunk, from 4 KiB to 64 MiB.
    #[must_use]
    pub fn with_chunk_bytes(mut self, bytes: usize) -> Self {
        self.chunk_bytes = bytes.clamp(4 << 10, 64 << 20);
        self
    }
}

fn selection(params: &Params, object: Option<&str>) -> Result<Selection> {
    let named = ["prefix", "dir", "filepath"].map(|name| params.text(name).map(|text| (name, text)));
    let mut given =
        object.map(|object| ("the address", object)).into_iter().chain(named.into_iter().flatten());
    let (Some((how, text)), more) = (given.next(), given.next()) else {
        return Err(Error::config("it is not said which objects are read").with_hint(
            "name a key, a pattern or a folder behind the bucket (s3://BUCKET/KEY, s3://BUCKET/logs/*.csv, \
             s3://BUCKET/logs/), or give one of prefix=, dir= and filepath=",
        ));
    };
    if let Some((other, _)) = more {
        return Err(Error::config(format!("which objects are read is said twice: by {how} and by {other}"))
            .with_hint("prefix=, dir=, filepath= and a key in the address exclude each other: leave all but one away"));
    }
    if text.starts_with('/') {
        return Err(Error::config(format!("{text:?} begins with a /, which no key does"))
            .with_hint(format!("write {:?}", text.trim_start_matches('/'))));
    }
    let text = text.to_owned();
    Ok(match how {
        "prefix" => Selection::Prefix(text),
        "dir" if text.ends_with('/') => Selection::Dir(text),
        "dir" => {
            return Err(Error::config(format!("dir={text} does not end in /"))
                .with_hint(format!("write dir={text}/; an object and its parts are filepath={text}")));
        }
        "filepath" if text.ends_with('/') => {
            return Err(
                Error::config(format!("filepath={text} is a folder")).with_hint(format!("write dir={text}"))
            );
        }
        "filepath" => Selection::FilePath(text),
        _ if text.ends_with('/') => Selection::Folder(text),
        _ if text.contains(['*', '?', '[']) => Selection::Pattern(text),
        _ => Selection::Key(text),
    })
}

/// The format that the ending of the name stands for, `.gz` left aside.
pub(super) fn guess_format(dsn: &Dsn) -> Option<&'static str> {
    let named = dsn.object().or_else(|| dsn.get("filepath")).or_else(|| dsn.get("prefix"))?;
    format_by_ending(std::path::Path::new(named))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(given: &[(&str, &str)], object: Option<&str>) -> Result<Selection> {
        let given = given.iter().map(|(name, value)| (*name, Some(*value)));
        let params = Params::parse("source `s3`", PARAMS, given)?;
        ObjectSourceOptions::from_params(&params, object).map(|options| options.selection)
    }

    #[test]
    fn one_selection() {
        for (given, object, expected) in [
            (&[][..], Some("a/b.csv"), Selection::Key("a/b.csv".to_owned())),
            (&[], Some("a/*.csv"), Selection::Pattern("a/*.csv".to_owned())),
            (&[], Some("a/"), Selection::Folder("a/".to_owned())),
            (&[("prefix", "test/filename")], None, Selection::Prefix("test/filename".to_owned())),
            (&[("dir", "test/mydir/")], None, Selection::Dir("test/mydir/".to_owned())),
            (&[("filepath", "a/f")], None, Selection::FilePath("a/f".to_owned())),
        ] {
            assert_eq!(chosen(given, object).unwrap(), expected);
        }
        for (given, object, expected) in [
            (&[][..], None, "not said which objects"),
            (&[("prefix", "a"), ("dir", "b/")], None, "said twice: by prefix and by dir"),
            (&[("filepath", "a")], Some("k"), "said twice: by the address and by filepath"),
            (&[("dir", "test/file_name")], None, "dir=test/file_name does not end in /"),
            (&[("filepath", "a/")], None, "is a folder"),
            (&[("prefix", "/a")], None, "begins with a /"),
        ] {
            let error = chosen(given, object).unwrap_err();
            assert!(error.to_string().contains(expected) && error.hint().is_some(), "{error}");
        }
        // The slip of the manual: a file where a folder is wanted.
        let error = chosen(&[("dir", "test/file_name")], None).unwrap_err();
        assert!(error.hint().unwrap().contains("filepath=test/file_name"), "{error:?}");
    }

    #[test]
    fn bases() {
        for (selection, base) in [
            (Selection::Key("a/b/c.csv".to_owned()), "a/b/"),
            (Selection::Key("c.csv".to_owned()), ""),
            (Selection::Pattern("a/b*/c".to_owned()), "a/"),
            (Selection::Folder("a/".to_owned()), "a/"),
            (Selection::Prefix("a/b".to_owned()), "a/"),
        ] {
            assert_eq!(selection.base(), base, "{selection:?}");
        }
    }

    #[test]
    fn formats_by_name() {
        let guess = |address: &str| guess_format(&address.parse().unwrap());
        assert_eq!(guess("s3://b/x/y.lp.gz"), Some("line_influxdb"));
        assert_eq!(guess("s3://b/x/*.csv?id=i"), Some("csv"));
        assert_eq!(guess("oss://h filepath=a/b.parquet bucket=b"), Some("parquet"));
        assert_eq!(guess("oss://h prefix=a/b bucket=b"), None);
    }
}
