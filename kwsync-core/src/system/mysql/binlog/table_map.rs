//! Tables as the log tells of them before their rows.

use super::bytes::Bytes;
use super::event::Flavor;

/// A column of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct MapColumn {
    /// The number of its type; of enums and sets their own, 247 and 248.
    pub kind: u8,
    /// What else the log says of the type: a length, digits, bits.
    pub meta: u16,
    /// Whether it may be null.
    pub nullable: bool,
    /// Whether it is unsigned, where the log says so.
    pub unsigned: Option<bool>,
    /// The number of its collation, where the log says so; 63 for bytes.
    pub collation: Option<u16>,
    /// Its name, where the log says so (`binlog_row_metadata=FULL`).
    pub name: Option<String>,
    /// The values of an enum or set, in its own character set, where the log says so.
    pub values: Option<Vec<Box<[u8]>>>,
}

/// A table, and how its rows lie in the events behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableMap {
    /// The number that rows refer to.
    pub id: u64,
    /// Its database.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<MapColumn>,
}

pub(super) mod kind {
    pub(crate) const TINY: u8 = 1;
    pub(crate) const SHORT: u8 = 2;
    pub(crate) const LONG: u8 = 3;
    pub(crate) const FLOAT: u8 = 4;
    pub(crate) const DOUBLE: u8 = 5;
    pub(crate) const NULL: u8 = 6;
    pub(crate) const TIMESTAMP: u8 = 7;
    pub(crate) const LONGLONG: u8 = 8;
    pub(crate) const INT24: u8 = 9;
    pub(crate) const DATE: u8 = 10;
    pub(crate) const TIME: u8 = 11;
    pub(crate) const DATETIME: u8 = 12;
    pub(crate) const YEAR: u8 = 13;
    pub(crate) const NEWDATE: u8 = 14;
    pub(crate) const VARCHAR: u8 = 15;
    pub(crate) const BIT: u8 = 16;
    pub(crate) const TIMESTAMP2: u8 = 17;
    pub(crate) const DATETIME2: u8 = 18;
    pub(crate) const TIME2: u8 = 19;
    pub(crate) const BLOB_COMPRESSED: u8 = 140;
    pub(crate) const VARCHAR_COMPRESSED: u8 = 141;
    pub(crate) const VECTOR: u8 = 242;
    pub(crate) const JSON: u8 = 245;
    pub(crate) const NEWDECIMAL: u8 = 246;
    pub(crate) const ENUM: u8 = 247;
    pub(crate) const SET: u8 = 248;
    pub(crate) const TINY_BLOB: u8 = 249;
    pub(crate) const BLOB: u8 = 252;
    pub(crate) const VAR_STRING: u8 = 253;
    pub(crate) const STRING: u8 = 254;
    pub(crate) const GEOMETRY: u8 = 255;
}

impl TableMap {
    pub(super) fn parse(mut rest: Bytes<'_>, short_ids: bool, flavor: Flavor) -> Option<Self> {
        let id = rest.little(if short_ids { 4 } else { 6 })?;
        rest.u16()?;
        let mut name = || {
            let length = rest.u8()?;
            let name = rest.take(length.into())?;
            rest.u8()?;
            // Names are utf8mb3 there.
            std::str::from_utf8(name).ok().map(str::to_owned)
        };
        let (schema, name) = (name()?, name()?);
        let count = rest.length()?;
        let kinds = rest.take(count)?;
        let mut metas = Bytes(rest.counted()?);
        let nullable = rest.take(count.div_ceil(8))?;
        let mut columns = Vec::with_capacity(kinds.len());
        for (at, kind) in kinds.iter().enumerate() {
            let nullable = bit(nullable, at);
            columns.push(MapColumn { nullable, ..column(*kind, &mut metas)? });
        }
        let mut made = Self { id, schema, name, columns };
        made.more(rest, flavor)?;
        Some(made)
    }

    /// What the log says beside that, in fields of a kind, a length and bytes.
    fn more(&mut self, mut rest: Bytes<'_>, flavor: Flavor) -> Option<()> {
        let maria = flavor == Flavor::MariaDb;
        let is_text = |kind: u8| {
            use self::kind as k;
            match kind {
                k::STRING | k::VAR_STRING | k::VARCHAR => true,
                k::TINY_BLOB..=k::BLOB | k::BLOB_COMPRESSED | k::VARCHAR_COMPRESSED => true,
                k::GEOMETRY => maria,
                _ => false,
            }
        };
        let is_listed = |kind: u8| matches!(kind, kind::ENUM | kind::SET);
        while !rest.is_empty() {
            let field = rest.u8()?;
            let mut data = Bytes(rest.counted()?);
            match field {
                1 => {
                    let numbers = self.columns.iter_mut().filter(|column| is_number(column.kind));
                    for (at, column) in numbers.enumerate() {
                        // The highest bit first.
                        let byte = data.0.get(at / 8)?;
                        column.unsigned = Some(byte & (0x80 >> (at % 8)) != 0);
                    }
                }
                2 => default_collations(&mut self.columns, is_text, data)?,
                3 => each_collation(&mut self.columns, is_text, data)?,
                4 => {
                    for column in &mut self.columns {
                        column.name = Some(std::str::from_utf8(data.counted()?).ok()?.to_owned());
                    }
                }
                5 => values(&mut self.columns, kind::SET, data)?,
                6 => values(&mut self.columns, kind::ENUM, data)?,
                10 => default_collations(&mut self.columns, is_listed, data)?,
                11 => each_collation(&mut self.columns, is_listed, data)?,
                // Kinds of geometries, primary keys, visibility, dimensions.
                _ => {}
            }
        }
        Some(())
    }

    /// Whether the log tells the names of the columns.
    pub fn has_names(&self) -> bool {
        !self.columns.is_empty() && self.columns.iter().all(|column| column.name.is_some())
    }
}

fn is_number(kind: u8) -> bool {
    use self::kind as k;
    matches!(
        kind,
        k::TINY
            | k::SHORT
            | k::INT24
            | k::LONG
            | k::LONGLONG
            | k::NEWDECIMAL
            | k::FLOAT
            | k::DOUBLE
            | k::YEAR
    )
}

/// A collation for all, and those of columns that have another, by their number among them.
fn default_collations(columns: &mut [MapColumn], of: impl Fn(u8) -> bool, mut data: Bytes<'_>) -> Option<()> {
    let default = u16::try_from(data.length()?).ok()?;
    let mut those: Vec<&mut MapColumn> = columns.iter_mut().filter(|column| of(column.kind)).collect();
    those.iter_mut().for_each(|column| column.collation = Some(default));
    while !data.is_empty() {
        let (at, collation) = (data.length()?, u16::try_from(data.length()?).ok()?);
        those.get_mut(at)?.collation = Some(collation);
    }
    Some(())
}

fn each_collation(columns: &mut [MapColumn], of: impl Fn(u8) -> bool, mut data: Bytes<'_>) -> Option<()> {
    for column in columns.iter_mut().filter(|column| of(column.kind)) {
        column.collation = Some(u16::try_from(data.length()?).ok()?);
    }
    Some(())
}

fn values(columns: &mut [MapColumn], kind: u8, mut data: Bytes<'_>) -> Option<()> {
    for column in columns.iter_mut().filter(|column| column.kind == kind) {
        let count = data.length()?;
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(data.counted()?.into());
        }
        column.values = Some(list);
    }
    Some(())
}

/// A column by the number of its type, and what is told of that.
fn column(kind: u8, metas: &mut Bytes<'_>) -> Option<MapColumn> {
    use self::kind as k;
    let meta = match kind {
        k::STRING | k::ENUM | k::SET | k::NEWDECIMAL | k::BIT => {
            let [first, second] = metas.array()?;
            if kind == k::STRING && matches!(first, k::ENUM | k::SET) {
                return Some(MapColumn { kind: first, meta: second.into(), ..MapColumn::default() });
            }
            match kind {
                // Two bits of the length hide in the type.
                k::STRING => u16::from(second) | (u16::from(first & 0x30) ^ 0x30) << 4,
                k::ENUM | k::SET => second.into(),
                k::BIT => u16::from(second) * 8 + u16::from(first),
                _ => u16::from_be_bytes([first, second]),
            }
        }
        k::VARCHAR | k::VAR_STRING | k::VARCHAR_COMPRESSED => metas.u16()?,
        k::FLOAT
        | k::DOUBLE
        | k::TINY_BLOB..=k::BLOB
        | k::BLOB_COMPRESSED
        | k::GEOMETRY
        | k::JSON
        | k::VECTOR
        | k::TIMESTAMP2
        | k::DATETIME2
        | k::TIME2 => metas.u8()?.into(),
        _ => 0,
    };
    Some(MapColumn { kind, meta, ..MapColumn::default() })
}

/// The bit of a column in a map of bits, the lowest first.
pub(super) fn bit(bits: &[u8], at: usize) -> bool {
    bits.get(at / 8).is_some_and(|byte| byte & (1 << (at % 8)) != 0)
}
