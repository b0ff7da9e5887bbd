//! The columns of a table as the catalog had them, for logs that do not tell their names.

use kwsync_core::system::mysql::binlog::MapColumn;
use kwsync_core::system::mysql::catalog::CatalogColumn;
use serde::{Deserialize, Serialize};

/// A column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    pub(super) name: String,
    /// The name of the type.
    kind: String,
    #[serde(default)]
    pub(super) unsigned: bool,
    #[serde(default)]
    pub(super) generated: bool,
    #[serde(default)]
    pub(super) charset: Option<String>,
    /// The most bytes of a text.
    #[serde(default)]
    octets: Option<u64>,
    /// Digits of a number, or bits.
    #[serde(default)]
    precision: u16,
    #[serde(default)]
    scale: i16,
    /// Digits of the second.
    #[serde(default)]
    pub(super) digits: u32,
    /// The values of an enum or set.
    #[serde(default)]
    pub(super) values: Option<Vec<String>>,
}

impl From<&CatalogColumn> for Listed {
    fn from(column: &CatalogColumn) -> Self {
        Self {
            name: column.name.clone(),
            kind: column.type_name.clone(),
            unsigned: column.is_unsigned(),
            generated: column.generated,
            charset: column.character_set.clone(),
            octets: column.octets,
            precision: column.precision.unwrap_or_default(),
            scale: column.scale.unwrap_or_default(),
            digits: column.second_digits,
            values: column.values.clone().or_else(|| column.members.clone()),
        }
    }
}

impl Listed {
    /// Whether the log may tell of this column so. Its type's number and what stands with that are all it needs to say.
    pub(super) fn is(&self, told: &MapColumn) -> bool {
        let meta = usize::from(told.meta);
        let octets = self.octets.and_then(|octets| usize::try_from(octets).ok());
        let values = self.values.as_ref().map_or(0, Vec::len);
        let signs = told.unsigned.is_none_or(|unsigned| unsigned == self.unsigned || self.kind == "year");
        let kinds: (&[u8], Option<usize>) = match self.kind.as_str() {
            "tinyint" => (&[1], None),
            "smallint" => (&[2], None),
            "mediumint" => (&[9], None),
            "int" => (&[3], None),
            "bigint" => (&[8], None),
            "float" => (&[4], None),
            "double" => (&[5], None),
            "decimal" => {
                (&[246], Some(usize::from(self.precision) << 8 | self.scale.unsigned_abs() as usize))
            }
            "bit" => (&[16], Some(self.precision.into())),
            "year" => (&[13], None),
            "date" => (&[10, 14], None),
            // Those of before 5.6 have no digits behind the point.
            "time" if told.kind == 11 => (&[11], None),
            "datetime" if told.kind == 12 => (&[12], None),
            "timestamp" if told.kind == 7 => (&[7], None),
            "time" => (&[19], Some(self.digits as usize)),
            "datetime" => (&[18], Some(self.digits as usize)),
            "timestamp" => (&[17], Some(self.digits as usize)),
            "char" | "binary" => (&[254], octets),
            "varchar" | "varbinary" => (&[15, 253], octets),
            "tinytext" | "tinyblob" => (&[249, 252], Some(1)),
            "text" | "blob" => (&[252], Some(2)),
            "mediumtext" | "mediumblob" => (&[250, 252], Some(3)),
            "longtext" | "longblob" => (&[251, 252], Some(4)),
            "enum" => (&[247], Some(if values > 255 { 2 } else { 1 })),
            "set" => (
                &[248],
                Some(match values.div_ceil(8) {
                    0 | 1 => 1,
                    few @ 2..=4 => few,
                    _ => 8,
                }),
            ),
            // MariaDB's is a text that is checked.
            "json" => (&[245, 252], Some(4)),
            "uuid" | "inet6" => (&[254], Some(16)),
            "inet4" => (&[254], Some(4)),
            _ => (&[255], Some(4)),
        };
        signs && kinds.0.contains(&told.kind) && kinds.1.is_none_or(|wanted| wanted == meta)
    }

    /// What of the columns cannot be followed, and why.
    pub(super) fn fault(column: &CatalogColumn) -> Option<&'static str> {
        if column.column_type.contains("compressed") {
            return Some("it is COMPRESSED, and its values lie so in the log");
        }
        (column.type_name == "vector").then_some("it is a VECTOR")
    }
}
