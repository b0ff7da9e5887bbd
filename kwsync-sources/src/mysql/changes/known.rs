//! A table of the stream: how its rows in the log become batches.

use std::collections::HashSet;
use std::sync::Arc;

use kwsync_core::system::mysql::binlog::{Image, MapColumn, Raw, TableMap, write_decimal, write_json};
use kwsync_core::system::mysql::types::unit_of;
use kwsync_core::system::mysql::wire::Cell;
use kwsync_core::{
    Change, Column, DataType, DecodeCounts, Decoded, Error, ErrorKind, Input, Position, Result, Schema,
    TableBatch, TimeUnit, civil_date,
};
use mysql_async::Conn;

use super::super::config::{MysqlSourceOptions, TimeAs};
use super::super::reader::{Made, Making};
use super::Followed;
use super::charset::{Charset, Charsets};
use super::listed::Listed;
use super::text::{write_inet, write_uuid};
use super::wkt::write_wkt;
use crate::relational::changes::{Changing, Values};

/// What the catalog has of a table now.
#[derive(Debug)]
pub(super) struct Now {
    /// As the copy has it.
    pub(super) schema: Arc<Schema>,
    pub(super) listed: Vec<Listed>,
}

/// How the values of a column become those that the copy has.
#[derive(Debug)]
enum How {
    Plain,
    Text(Arc<Charset>),
    /// Bytes of a fixed length, whose zeros at the end the log leaves out.
    Padded(usize),
    Decimal(u16),
    /// The texts of an enum.
    One(Vec<String>),
    /// Those of a set.
    Some(Vec<String>),
    Json,
    Uuid,
    /// Of so many bytes.
    Inet(usize),
    Wkt,
}

/// A table with one set of columns.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) followed: Arc<Followed>,
    /// The columns as the log told of them.
    told: Vec<MapColumn>,
    /// The same with what is known otherwise.
    map: TableMap,
    /// Of each column of the log: how its values are read, and where they go; none of those that are not followed.
    columns: Vec<Option<(How, usize)>>,
    /// Of each column of the log: where it stands in the key.
    key_at: Vec<Option<usize>>,
    schema: Arc<Schema>,
    key_schema: Arc<Schema>,
    options: Arc<MysqlSourceOptions>,
}

/// A value of a row, the bytes of all of them lying together.
#[derive(Clone, Copy, Debug)]
enum Slot {
    Bytes(usize, usize),
    Other(Cell<'static>),
}

/// What a column is that the catalog does not tell of as it was.
fn data_type(
    told: &MapColumn,
    charset: Option<&str>,
    width: usize,
    options: &MysqlSourceOptions,
) -> DataType {
    let unsigned = told.unsigned == Some(true);
    let bytes = matches!(charset, None | Some("binary"));
    let characters = || u32::try_from(usize::from(told.meta) / width.max(1)).unwrap_or(u32::MAX).max(1);
    match (told.kind, unsigned) {
        (1, false) => DataType::Int8,
        (1, true) => DataType::UInt8,
        (2, false) | (13, _) => DataType::Int16,
        (2, true) => DataType::UInt16,
        (3 | 9, false) => DataType::Int32,
        (3 | 9, true) => DataType::UInt32,
        (8, false) => DataType::Int64,
        (8, true) => DataType::UInt64,
        (4, _) => DataType::Float32,
        (5, _) => DataType::Float64,
        (246, _) => DataType::Numeric(Some((told.meta >> 8, (told.meta & 0xff) as i16))),
        (16, _) => DataType::Bit(u32::from(told.meta).max(1)),
        (10 | 14, _) => DataType::Date,
        (12 | 18, _) => DataType::Timestamp(unit_of(told.meta.into())),
        (7 | 17, _) => DataType::TimestampTz(unit_of(told.meta.into())),
        (11 | 19, _) => match options.time_as {
            TimeAs::Time => DataType::Time(TimeUnit::Microsecond),
            TimeAs::Interval => DataType::Interval,
            TimeAs::Text => DataType::Text,
        },
        (245, _) => DataType::Json,
        (255, _) => DataType::Geometry,
        (254, _) if !bytes => DataType::Char(characters()),
        (15 | 253, _) if !bytes => DataType::VarChar(Some(characters())),
        (249..=252, _) if !bytes => DataType::Text,
        (247 | 248, _) => DataType::Text,
        _ => DataType::Bytes,
    }
}

impl Known {
    /// The table as the log tells it; `listed` is its columns as of here, where these are known otherwise than by the log, and `now` what the
    /// catalog has at present.
    pub(super) async fn new(
        session: &mut Conn,
        charsets: &mut Charsets,
        options: &Arc<MysqlSourceOptions>,
        followed: Arc<Followed>,
        mut map: TableMap,
        listed: Option<&[Listed]>,
        now: Option<&Now>,
    ) -> Result<Self> {
        let asked = followed.asked.clone();
        let fits = |list: &&[Listed]| {
            list.len() == map.columns.len()
                && list.iter().zip(&map.columns).all(|(known, told)| known.is(told))
        };
        let listed = listed.filter(fits);
        if !map.has_names() {
            let Some(listed) = listed else { return Err(unknown(&followed)) };
            for (told, known) in map.columns.iter_mut().zip(listed) {
                told.name = Some(known.name.clone());
            }
        }
        let alter = options.changes.as_ref().is_none_or(|changes| changes.operations.alter);
        let since: HashSet<&str> = followed.columns.iter().map(|column| column.name.as_str()).collect();
        let mut columns = Vec::with_capacity(map.columns.len());
        let mut own = Vec::with_capacity(map.columns.len());
        let parts = followed.key.len() as u16;
        for (at, told) in map.columns.iter_mut().enumerate() {
            let name = told.name.clone().unwrap_or_default();
            let as_of_here = listed.and_then(|listed| listed.get(at));
            let at_present = now.and_then(|now| now.listed.iter().find(|known| known.name == name));
            let at_first = || followed.columns.iter().find(|known| known.name == name && known.is(told));
            let known = as_of_here.or(at_present.filter(|known| known.is(told))).or_else(at_first);
            // What MariaDB keeps beside a unique index over long text, and shows to nobody.
            if name.starts_with("DB_ROW_HASH_") && known.is_none() {
                columns.push(None);
                continue;
            }
            if known.is_some_and(|known| known.generated) || (!alter && !since.contains(name.as_str())) {
                columns.push(None);
                continue;
            }
            if told.unsigned.is_none() {
                told.unsigned = known.map(|known| known.unsigned);
            }
            if matches!(told.kind, 7 | 11 | 12) && known.is_none_or(|known| known.digits > 0) {
                let text =
                    format!("{asked}: the values of column {name:?} lie in the log as before version 5.6");
                return Err(Error::new(ErrorKind::Unsupported, text)
                    .with_hint("ALTER TABLE ... FORCE writes the table anew, with mysql56_temporal_format=ON; then begin anew with --restart"));
            }
            let charset = match told.collation {
                Some(collation) => Some(charsets.of_collation(collation).map(str::to_owned).ok_or_else(|| {
                    let text = format!("{asked}: column {name:?} has a collation {collation} that the server's catalog does not tell of");
                    Error::new(ErrorKind::Unsupported, text).with_hint("convert the column to utf8mb4, and begin anew with --restart")
                })?),
                None => known.and_then(|known| known.charset.clone()),
            };
            // As the copy has it, if it is the same now.
            let shown = now
                .and_then(|now| now.schema.column(&name))
                .filter(|_| at_present.is_some_and(|now| now.is(told)));
            let width = charset.as_deref().map_or(1, |name| charsets.width(name));
            let column = match shown {
                Some(column) => column.clone(),
                None => {
                    let declared = known.and_then(Listed::declared);
                    let data_type =
                        declared.unwrap_or_else(|| data_type(told, charset.as_deref(), width, options));
                    Column::new(name.as_str(), data_type)
                }
            };
            let how = how(session, charsets, told, charset.as_deref(), known, column.data_type()).await?;
            let place = followed.key.iter().position(|key| *key == name);
            own.push(match place {
                Some(place) => column.with_key(place as u16 + 1, parts),
                // What may not be null now may have been when this was written.
                None => column.with_nullable(true),
            });
            columns.push(Some((how, own.len() - 1)));
        }
        let mut key_at = vec![None; map.columns.len()];
        let mut keys = Vec::with_capacity(followed.key.len());
        for (part, name) in followed.key.iter().enumerate() {
            let found = map.columns.iter().position(|told| told.name.as_deref() == Some(name));
            let at = found.filter(|at| columns.get(*at).is_some_and(Option::is_some)).ok_or_else(|| {
                let text = format!("{asked}: the column {name:?} of its key is gone or renamed");
                Error::new(ErrorKind::Schema, text)
                    .with_hint("name it as before, or begin anew with --restart")
            })?;
            if let Some(place) = key_at.get_mut(at) {
                *place = Some(part);
            }
            keys.extend(columns.get(at).and_then(Option::as_ref).and_then(|(_, to)| own.get(*to)).cloned());
        }
        let (schema, key_schema) = (Arc::new(Schema::new(own)?), Arc::new(Schema::new(keys)?));
        Ok(Self {
            followed,
            told: Vec::new(),
            map,
            columns,
            key_at,
            schema,
            key_schema,
            options: Arc::clone(options),
        })
    }

    /// A table of which no rows have come yet: it can be emptied, and nothing else.
    pub(super) fn empty(
        followed: Arc<Followed>,
        schema: Arc<Schema>,
        options: &Arc<MysqlSourceOptions>,
    ) -> Self {
        let key_schema = Arc::clone(&schema);
        Self {
            followed,
            told: Vec::new(),
            map: TableMap::default(),
            columns: Vec::new(),
            key_at: Vec::new(),
            schema,
            key_schema,
            options: Arc::clone(options),
        }
    }

    pub(super) fn map(&self) -> &TableMap {
        &self.map
    }

    /// Keeps the table as the log told of it.
    pub(super) fn told(mut self, told: TableMap) -> Self {
        self.told = told.columns;
        self
    }

    /// Whether the log tells of the same columns again.
    pub(super) fn is(&self, map: &TableMap) -> bool {
        self.told == map.columns
    }

    /// A row as it is kept. Of one that is there no more the key alone is needed.
    pub(super) fn values(&self, image: &Image<'_>, gone: bool) -> Result<Values> {
        let needed = |at: usize| match gone {
            true => self.key_at.get(at).is_some_and(Option::is_some),
            false => self.columns.get(at).is_some_and(Option::is_some),
        };
        let lacking = (0..self.columns.len()).find(|at| needed(*at) && !image.has(*at));
        if let Some(at) = lacking {
            let name = self.map.columns.get(at).and_then(|column| column.name.as_deref()).unwrap_or_default();
            let text = format!(
                "a changed row of {} is in the log without its column {name:?}: a session wrote it with binlog_row_image other than FULL",
                self.followed.asked
            );
            return Err(Error::new(ErrorKind::Unsupported, text).with_hint(
                "have all sessions write with binlog_row_image=FULL, and begin anew with --restart",
            ));
        }
        let mut values = Values::default();
        image.write(&mut values.record);
        Ok(values)
    }

    fn image<'a>(&self, values: &'a Values) -> Result<Image<'a>> {
        Image::of(&values.record, self.map.columns.len())
    }

    /// Reads a row into `slots`, by the columns of a batch.
    fn read(&self, values: &Values, keys: bool, bytes: &mut Vec<u8>, slots: &mut Vec<Slot>) -> Result<()> {
        bytes.clear();
        slots.clear();
        let count = if keys { self.key_schema.columns().len() } else { self.schema.columns().len() };
        slots.resize(count, Slot::Other(Cell::Null));
        self.image(values)?.values(&self.map, |at, raw, _| {
            let Some(Some((how, to))) = self.columns.get(at) else { return };
            let to = match keys {
                true => self.key_at.get(at).copied().flatten(),
                false => Some(*to),
            };
            if let Some(slot) = to.and_then(|to| slots.get_mut(to)) {
                *slot = read(raw, how, bytes);
            }
        })
    }
}

/// The error of rows whose columns have no names.
fn unknown(followed: &Followed) -> Error {
    let text = format!(
        "{} was altered, and the log does not tell the names of its columns as of then (binlog_row_metadata)",
        followed.asked
    );
    Error::new(ErrorKind::Schema, text).with_hint(
        "SET GLOBAL binlog_row_metadata = FULL, which MySQL has since 8.0.1 and MariaDB since 10.5, and begin anew with --restart",
    )
}

async fn how(
    session: &mut Conn,
    charsets: &mut Charsets,
    told: &MapColumn,
    charset: Option<&str>,
    known: Option<&Listed>,
    data_type: &DataType,
) -> Result<How> {
    Ok(match told.kind {
        246 => How::Decimal(told.meta),
        245 => How::Json,
        255 => How::Wkt,
        247 | 248 => {
            let texts = match &told.values {
                Some(values) => {
                    let charset = charsets.get(session, charset.unwrap_or("utf8mb4")).await?;
                    values.iter().map(|value| charset.text(value)).collect()
                }
                None => known.and_then(|known| known.values.clone()).unwrap_or_default(),
            };
            if told.kind == 247 { How::One(texts) } else { How::Some(texts) }
        }
        15 | 249..=254 => match (data_type, charset) {
            (DataType::Uuid, _) => How::Uuid,
            (DataType::Inet, _) => How::Inet(told.meta.into()),
            (_, None | Some("binary")) if told.kind == 254 => How::Padded(told.meta.into()),
            (_, None | Some("binary")) => How::Plain,
            (_, Some(name)) => How::Text(charsets.get(session, name).await?),
        },
        _ => How::Plain,
    })
}

/// No text of any type: the row is refused by whoever makes columns of it.
const NOTHING: &[u8] = &[0xff];

fn read(raw: Raw<'_>, how: &How, bytes: &mut Vec<u8>) -> Slot {
    let begin = bytes.len();
    let good = match (raw, how) {
        (Raw::Int(number), How::One(texts)) => match usize::try_from(number).ok().map(|at| at.checked_sub(1))
        {
            // What is none of its values, which a server that is not strict keeps.
            Some(None) => true,
            Some(Some(at)) => texts.get(at).map(|text| bytes.extend_from_slice(text.as_bytes())).is_some(),
            None => false,
        },
        (Raw::UInt(bits), How::Some(texts)) => {
            for (at, text) in texts.iter().enumerate().take(64).filter(|(at, _)| bits >> at & 1 != 0) {
                if bits & ((1 << at) - 1) != 0 {
                    bytes.push(b',');
                }
                bytes.extend_from_slice(text.as_bytes());
            }
            texts.len() >= 64 || bits >> texts.len() == 0
        }
        (Raw::Decimal(decimal), How::Decimal(meta)) => write_decimal(decimal, *meta, bytes),
        (Raw::Json(json), _) => write_json(json, bytes),
        (Raw::Bytes(text), How::Text(charset)) => {
            charset.write(text, bytes);
            true
        }
        (Raw::Bytes(text), How::Padded(length)) => {
            bytes.extend_from_slice(text);
            bytes.resize((begin + length).max(bytes.len()), 0);
            true
        }
        (Raw::Bytes(value), How::Uuid) => write_uuid(value, bytes),
        (Raw::Bytes(value), How::Inet(length)) => write_inet(value, bytes, *length),
        (Raw::Bytes(value), How::Wkt) => write_wkt(value, bytes),
        (Raw::Bytes(text), _) => {
            bytes.extend_from_slice(text);
            true
        }
        (other, _) => return Slot::Other(cell(other)),
    };
    if !good {
        bytes.truncate(begin);
        bytes.extend_from_slice(NOTHING);
    }
    Slot::Bytes(begin, bytes.len())
}

fn cell(raw: Raw<'_>) -> Cell<'static> {
    match raw {
        Raw::Int(number) => Cell::Int(number),
        Raw::UInt(number) => i64::try_from(number).map_or(Cell::UInt(number), Cell::Int),
        Raw::Float(number) => Cell::Float(number),
        Raw::Double(number) => Cell::Double(number),
        Raw::Date(year, month, day, hour, minute, second, micros) => {
            Cell::Date(year, month, day, hour, minute, second, micros)
        }
        Raw::Time(negative, hours, minutes, seconds, micros) => {
            Cell::Time(negative, (hours / 24).into(), (hours % 24) as u8, minutes, seconds, micros)
        }
        // The server's word for a date that is none.
        Raw::Timestamp(0, 0) => Cell::Date(0, 0, 0, 0, 0, 0, 0),
        Raw::Timestamp(seconds, micros) => date(seconds, micros),
        // The others are written as bytes.
        _ => Cell::Null,
    }
}

/// The date of seconds since 1970.
fn date(seconds: i64, micros: u32) -> Cell<'static> {
    let (days, clock) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_date(days);
    Cell::Date(
        year as u16,
        month,
        day,
        (clock / 3_600) as u8,
        (clock / 60 % 60) as u8,
        (clock % 60) as u8,
        micros,
    )
}

impl Changing for Known {
    fn group(&self) -> usize {
        self.followed.group
    }

    fn folds(&self) -> bool {
        self.followed.folds
    }

    fn is_keyed(&self) -> bool {
        !self.followed.key.is_empty()
    }

    fn key_of(&self, values: &Values) -> Box<[u8]> {
        let mut parts: Vec<&[u8]> = vec![&[]; self.followed.key.len()];
        let Ok(image) = self.image(values) else { return Box::default() };
        // It was read before, when it came.
        let found = image.values(&self.map, |at, _, bytes| {
            let part = self.key_at.get(at).copied().flatten();
            if let Some(part) = part.and_then(|part| parts.get_mut(part)) {
                *part = bytes;
            }
        });
        debug_assert!(found.is_ok());
        let mut key = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
        for part in parts {
            key.extend_from_slice(&(part.len() as u32).to_le_bytes());
            key.extend_from_slice(part);
        }
        key.into_boxed_slice()
    }

    // The log has whole rows.
    fn fill(_: &mut Values, _: &Values) {}

    fn batches(&self, change: Change, rows: &[Values], input: &Arc<Input>, at: Position) -> Result<Decoded> {
        let table = &self.followed.table;
        if change == Change::Truncate {
            let batch = TableBatch::empty(table.clone(), Arc::clone(&self.schema))?.with_change(change);
            return Ok(Decoded { batches: vec![batch], ..Decoded::default() });
        }
        let keys = change == Change::Delete;
        let schema = if keys { &self.key_schema } else { &self.schema };
        let mut making = Making::new(schema, table, Arc::clone(input), self.options.zero_dates)?;
        let (mut bytes, mut slots) = (Vec::new(), Vec::new());
        for row in rows {
            self.read(row, keys, &mut bytes, &mut slots)?;
            making.add(slots.iter().map(|slot| {
                Ok(match slot {
                    Slot::Bytes(begin, end) => Cell::Bytes(bytes.get(*begin..*end).unwrap_or_default()),
                    Slot::Other(cell) => *cell,
                })
            }))?;
        }
        let Made { arrays, origin, mut rejects, rows, .. } = making.finish()?;
        for reject in &mut rejects {
            reject.position.byte = at.byte;
            if change.is_change() {
                reject.reason = format!("{change}: {}", reject.reason);
            }
        }
        let counts = DecodeCounts { records: rows as u64, ..DecodeCounts::default() };
        let mut batches = Vec::new();
        if rows > rejects.len() {
            let batch = TableBatch::from_columns(table.clone(), Arc::clone(schema), arrays, origin)?;
            batches.push(batch.with_change(change));
        }
        Ok(Decoded { batches, rejects, counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_seconds() {
        for (seconds, date_and_clock) in [
            (1, (1970, 1, 1, 0, 0, 1)),
            (951_782_399, (2000, 2, 28, 23, 59, 59)),
            (951_782_400, (2000, 2, 29, 0, 0, 0)),
            (1_709_251_199, (2024, 2, 29, 23, 59, 59)),
            (2_147_483_647, (2038, 1, 19, 3, 14, 7)),
            (4_294_967_295, (2106, 2, 7, 6, 28, 15)),
        ] {
            let (year, month, day, hour, minute, second) = date_and_clock;
            assert_eq!(date(seconds, 7), Cell::Date(year, month, day, hour, minute, second, 7));
        }
    }

    #[test]
    fn sets_and_enums() {
        let texts = || ["x", "y", "z"].map(str::to_owned).to_vec();
        for (raw, how, text) in [
            (Raw::UInt(5), How::Some(texts()), "x,z"),
            (Raw::UInt(0), How::Some(texts()), ""),
            (Raw::UInt(6), How::Some(texts()), "y,z"),
            (Raw::Int(3), How::One(texts()), "z"),
            (Raw::Int(0), How::One(texts()), ""),
        ] {
            let mut bytes = b"before".to_vec();
            let Slot::Bytes(begin, end) = read(raw, &how, &mut bytes) else { panic!() };
            assert_eq!(&bytes[begin..end], text.as_bytes());
        }
        for (raw, how) in [
            (Raw::UInt(8), How::Some(texts())),
            (Raw::Int(4), How::One(texts())),
            (Raw::Int(-1), How::One(texts())),
        ] {
            let mut bytes = Vec::new();
            read(raw, &how, &mut bytes);
            assert_eq!(bytes, NOTHING);
        }
    }
}
