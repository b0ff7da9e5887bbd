//! Whose line protocol it is.

use super::parse::Names;

/// A dialect of line protocol.
///
/// `influx` is InfluxDB's, as docs/formats.md fixes it. `kwdb` is what KWDB's Kafka connector documents, and
/// `tdengine` what TDengine's schemaless writing does: both write the type behind each number, know several kinds
/// of strings, and have one record a physical line.
///
/// # Examples
/// ```
/// use kwsync_formats::influx::{lines, Dialect, FieldValue};
/// let line = lines(b"t,site=a n=11i16,name=L\"x\" 1").with_dialect(Dialect::Kwdb).next().unwrap().unwrap();
/// let types: Vec<_> = line.fields().map(|(_, value)| value.type_name()).collect();
/// assert_eq!(types, ["i16", "nstring"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// InfluxDB's.
    #[default]
    Influx,
    /// KWDB's: `i16 i32 i64 i f32 f64`, strings in `"`, `'`, `\"` and `L"..."`, bytes as `"\x3132"`.
    Kwdb,
    /// TDengine's: `i8 i16 i32 i64 i u8 u16 u32 u64 u f32 f64`, `"..."`, `L"..."`, `B"..."`, `G"..."`.
    Tdengine,
}

impl Dialect {
    /// The escapes of a measurement.
    pub(crate) const fn measurement(self) -> Names {
        match self {
            Self::Influx => Names::Measurement,
            Self::Kwdb => Names::KwdbName,
            Self::Tdengine => Names::TdMeasurement,
        }
    }

    /// The escapes of keys and of tag values.
    pub(crate) const fn key(self) -> Names {
        match self {
            Self::Influx => Names::Key,
            Self::Kwdb => Names::KwdbName,
            Self::Tdengine => Names::TdKey,
        }
    }

    /// The escapes of a string, unless its span says that it has others.
    pub(crate) const fn string(self) -> Names {
        match self {
            Self::Influx | Self::Tdengine => Names::String,
            Self::Kwdb => Names::KwdbString,
        }
    }
}

/// `influx`, `kwdb`, `tdengine`; the error is the text that was none of them.
impl std::str::FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "influx" => Ok(Self::Influx),
            "kwdb" => Ok(Self::Kwdb),
            "tdengine" => Ok(Self::Tdengine),
            other => Err(format!("unknown dialect {other:?}; one of influx, kwdb, tdengine")),
        }
    }
}
