//! The columns of a table as the catalog had them, for logs that do not tell their names.

use kwsync_core::DataType;
use kwsync_core::system::mysql::binlog::MapColumn;
use kwsync_core::system::mysql::catalog::CatalogColumn;
use kwsync_core::system::mysql::types::declared;
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
    #[serde(default)]
    nullable: bool,
}

/// How the values of a column that is kept may have become others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Narrowed {
    /// By rounding, which every server does without a word.
    Rounded,
    /// Only where the server is not strict; a strict one refuses.
    Cut,
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
            nullable: column.nullable,
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

    /// What it is where the log would not tell, and whoever reads the table would: JSON, UUID, addresses.
    pub(super) fn declared(&self) -> Option<DataType> {
        declared(&self.kind, None)
    }

    /// What becoming `other` may have done to values that fitted before.
    pub(super) fn narrowed(&self, other: &Self) -> Option<Narrowed> {
        let whole = |kind: &str| {
            ["tinyint", "smallint", "mediumint", "int", "bigint"].iter().position(|own| *own == kind)
        };
        let part = |listed: &Self| match listed.kind.as_str() {
            // What has a fraction of no certain length has all of it.
            "float" => Some(i32::from(u16::MAX) + 1),
            "double" => Some(i32::from(u16::MAX) + 2),
            "decimal" => Some(listed.scale.into()),
            kind => whole(kind).map(|_| 0),
        };
        let clock = |listed: &Self| match listed.kind.as_str() {
            "time" | "datetime" | "timestamp" => Some(1 + listed.digits),
            "date" => Some(0),
            _ => None,
        };
        let less = |(before, after)| after < before;
        if part(self).zip(part(other)).is_some_and(less) {
            return Some(Narrowed::Rounded);
        }
        if clock(self).zip(clock(other)).is_some_and(|(before, after)| after < before) {
            return Some(Narrowed::Rounded);
        }
        let digits = |listed: &Self| i32::from(listed.precision) - i32::from(listed.scale);
        let cut = (self.nullable && !other.nullable)
            || (!self.unsigned && other.unsigned)
            || matches!((whole(&self.kind), whole(&other.kind)), (Some(before), Some(after)) if after < before)
            || (self.kind == "decimal" && other.kind == "decimal" && digits(other) < digits(self))
            || matches!((self.octets, other.octets), (Some(before), Some(after)) if after < before)
            || self
                .values
                .as_ref()
                .zip(other.values.as_ref())
                .is_some_and(|(before, after)| before.iter().any(|value| !after.contains(value)));
        cut.then_some(Narrowed::Cut)
    }

    /// What of the columns cannot be followed, and why.
    pub(super) fn fault(column: &CatalogColumn) -> Option<&'static str> {
        if column.column_type.contains("compressed") {
            return Some("it is COMPRESSED, and its values lie so in the log");
        }
        (column.type_name == "vector").then_some("it is a VECTOR")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_narrow() {
        let column = |kind: &str, precision, scale, digits, octets| Listed {
            kind: kind.to_owned(),
            precision,
            scale,
            digits,
            octets,
            ..Listed::default()
        };
        let decimal = |precision, scale| column("decimal", precision, scale, 0, None);
        let plain = |kind| column(kind, 0, 0, 0, None);
        let text = |octets| column("varchar", 0, 0, 0, Some(octets));
        for (before, after, expected) in [
            (decimal(10, 4), decimal(10, 2), Some(Narrowed::Rounded)),
            (decimal(10, 2), decimal(12, 4), None),
            (decimal(10, 2), decimal(9, 2), Some(Narrowed::Cut)),
            (decimal(10, 2), plain("int"), Some(Narrowed::Rounded)),
            (plain("double"), plain("float"), Some(Narrowed::Rounded)),
            (plain("double"), decimal(30, 10), Some(Narrowed::Rounded)),
            (plain("int"), plain("double"), None),
            (plain("bigint"), plain("int"), Some(Narrowed::Cut)),
            (plain("int"), plain("bigint"), None),
            (column("datetime", 0, 0, 6, None), column("datetime", 0, 0, 3, None), Some(Narrowed::Rounded)),
            (plain("datetime"), plain("date"), Some(Narrowed::Rounded)),
            (plain("date"), plain("datetime"), None),
            (text(80), text(40), Some(Narrowed::Cut)),
            (text(40), text(80), None),
            (Listed { nullable: true, ..plain("int") }, plain("int"), Some(Narrowed::Cut)),
            (plain("int"), Listed { nullable: true, ..plain("int") }, None),
        ] {
            assert_eq!(before.narrowed(&after), expected, "{before:?} {after:?}");
        }
    }
}
