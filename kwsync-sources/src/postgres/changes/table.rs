//! A table of the stream: how the values of its changes become batches.

use std::sync::Arc;

use kwsync_core::system::postgres::catalog::CatalogTable;
use kwsync_core::system::postgres::ddl::{quote, table_name};
use kwsync_core::system::postgres::relations;
use kwsync_core::system::postgres::types::{PgType, oid};
use kwsync_core::system::postgres::wire::Connection;
use kwsync_core::{
    Change, Column, DataType, Decoded, Decoder, Error, ErrorKind, Input, Position, Result, Schema,
    TableBatch, TableId,
};
use kwsync_formats::pgcopy::{CopyColumn, CopyDecoder, TextValues};
use serde::{Deserialize, Serialize};

use super::pgoutput::{Field, Relation};
use crate::relational::changes::{Changing, Values};

/// What a table was when the job began, as the split of the stream remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Followed {
    /// What its rows are called.
    pub(super) table: TableId,
    /// The table that was asked for.
    pub(super) asked: TableId,
    /// The object ids under which its changes come.
    pub(super) oids: Vec<u32>,
    /// The columns by which its rows are told apart; none where it has no key.
    pub(super) key: Vec<String>,
    /// Tables whose changes must stay in order have the same number.
    pub(super) group: usize,
    /// Whether changes of one row may be put together, and rows of the table change places.
    pub(super) folds: bool,
}

/// A table with one set of columns.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) followed: Arc<Followed>,
    schema: Arc<Schema>,
    columns: Vec<CopyColumn>,
    /// What reads values that come as text; none for those that stay text.
    texts: Vec<Option<TextValues>>,
    /// Where the columns of the key are.
    pub(super) key: Vec<usize>,
}

impl Known {
    /// The table as `relation` tells it; `shape` is what the catalog has of it now, for what beside types is known of its columns.
    pub(super) async fn new(
        connection: &mut Connection,
        followed: Arc<Followed>,
        relation: &Relation<'_>,
        shape: Option<&Schema>,
    ) -> Result<Self> {
        let types: Vec<_> =
            relation.columns.iter().map(|column| (column.type_oid, column.modifier)).collect();
        let types = relations::base_types(connection, &types).await?;
        let mut made = Self {
            followed,
            schema: Arc::new(Schema::new(Vec::new())?),
            columns: Vec::with_capacity(types.len()),
            texts: Vec::with_capacity(types.len()),
            key: Vec::new(),
        };
        let parts = made.followed.key.len() as u16;
        let mut columns = Vec::with_capacity(types.len());
        for (column, pg_type) in relation.columns.iter().zip(types) {
            let native = CopyDecoder::reads(&pg_type) && pg_type.oid != oid::TID;
            let data_type = match native {
                true => pg_type.data_type(),
                false => DataType::Other(pg_type.name.as_str().into()),
            };
            let known = shape.and_then(|shape| shape.column(column.name));
            let own = known.filter(|known| *known.data_type() == data_type).cloned();
            let own = own.unwrap_or_else(|| Column::new(column.name, data_type));
            let place = made.followed.key.iter().position(|name| name == column.name);
            columns.push(match place {
                Some(at) => own.with_key(at as u16 + 1, parts),
                // What may not be null now may have been when this was written.
                None => own.with_nullable(true),
            });
            made.texts.push(native.then(|| TextValues::new(&pg_type)).flatten());
            let travels = if native { pg_type } else { PgType::base(oid::TEXT, -1, "text") };
            made.columns.push(CopyColumn::new(column.name, travels));
        }
        for name in &made.followed.key {
            let at = relation.columns.iter().position(|column| column.name == name).ok_or_else(|| {
                let text =
                    format!("{}: the column {name:?} of its key is gone or renamed", made.followed.asked);
                Error::new(ErrorKind::Schema, text)
                    .with_hint("name it as before, or begin anew with --restart")
            })?;
            // Of rows that are updated or deleted the server tells what the identity has, and nothing else.
            if relation.columns.get(at).is_some_and(|column| !column.key) {
                let text = format!(
                    "{}: the column {name:?} of the key by which its rows are followed is of its replica identity no more",
                    made.followed.asked
                );
                return Err(Error::new(ErrorKind::Schema, text)
                    .with_hint("begin anew with --restart, which follows by the identity that it has now"));
            }
            made.key.push(at);
        }
        made.schema = Arc::new(Schema::new(columns)?);
        Ok(made)
    }

    /// Whether all columns come in a binary form that is read here.
    pub(super) fn is_binary(&self) -> bool {
        self.texts.iter().all(Option::is_some)
    }

    pub(super) fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// What tells of changes that cannot be carried.
    pub(super) fn keyless(&self, change: Change) -> Error {
        let asked = &self.followed.asked;
        let text = format!(
            "a row of {asked} was changed ({change}), and the table has no key by which it could be found"
        );
        Error::new(ErrorKind::Unsupported, text)
            .with_hint("give it a primary key, or leave it out with exclude=, and begin anew with --restart")
    }

    /// The values of a row as they are kept.
    pub(super) fn values(&self, fields: &[Field<'_>]) -> Result<Values> {
        if fields.len() != self.columns.len() {
            let text = format!("{} values of a table of {} columns", fields.len(), self.columns.len());
            return Err(Error::new(ErrorKind::Protocol, text));
        }
        let bytes: usize = fields
            .iter()
            .map(|field| match field {
                Field::Text(bytes) | Field::Binary(bytes) => bytes.len() + 4,
                _ => 4,
            })
            .sum();
        let mut made = Values { record: Vec::with_capacity(bytes + 2), missing: Vec::new() };
        made.record.extend_from_slice(&(fields.len() as u16).to_be_bytes());
        for (at, (field, text)) in fields.iter().zip(&self.texts).enumerate() {
            let before = made.record.len();
            made.record.extend_from_slice(&(-1_i32).to_be_bytes());
            match field {
                Field::Null => continue,
                Field::Unchanged => {
                    made.missing.push(at as u16);
                    continue;
                }
                Field::Binary(bytes) => made.record.extend_from_slice(bytes),
                Field::Text(bytes) => match text {
                    None => made.record.extend_from_slice(bytes),
                    Some(values) => {
                        let text = std::str::from_utf8(bytes).unwrap_or("\u{fffd}");
                        if let Err(reason) = values.write(text, &mut made.record) {
                            tracing::debug!(table = %self.followed.asked, column = at, reason, "a value cannot be read");
                            // No value of any type is so: the decoder refuses its row.
                            made.record.extend_from_slice(&[0xff; 3]);
                        }
                    }
                },
            }
            let length = (made.record.len() - before - 4) as i32;
            if let Some(field) = made.record.get_mut(before..before + 4) {
                field.copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(made)
    }

    /// Whether `values` lack a part of the key.
    pub(super) fn lacks_key(&self, values: &Values) -> bool {
        self.key.iter().any(|at| values.missing.contains(&(*at as u16)))
    }

    /// Makes of a row of which the key alone was sent one that lacks all else.
    pub(super) fn key_only(&self, mut values: Values) -> Values {
        values.missing =
            (0..self.columns.len()).filter(|at| !self.key.contains(at)).map(|at| at as u16).collect();
        values
    }

    /// Fills in what `values` lack from the row as the source has it now; false where it has no row of this key.
    pub(super) async fn look_up(
        &self,
        session: &mut Connection,
        catalog: &CatalogTable,
        values: &mut Values,
        binary: bool,
    ) -> Result<bool> {
        let id = TableId::with_schema(catalog.schema.as_str(), catalog.name.as_str());
        let from = table_name(&id, None)?;
        let name = |at: usize| quote(self.columns.get(at).map_or("", |column| &column.name));
        let own: Vec<&[u8]> = fields(&values.record).collect();
        // By the text of the key: what the server prints, it reads.
        let mut wanted = Vec::new();
        for at in &values.missing {
            let column = self.columns.get(usize::from(*at)).map_or("", |column| &column.name);
            wanted.push(match catalog.column(column) {
                Some(_) => format!("{}::text", name(usize::from(*at))?),
                // It has been dropped since.
                None => "NULL".to_owned(),
            });
        }
        let (mut conditions, mut given) = (Vec::new(), Vec::new());
        for (place, at) in self.key.iter().enumerate() {
            let value = own.get(*at).and_then(|field| field.get(4..)).unwrap_or_default();
            let shown = self.shown(*at, value)?;
            let known = catalog.column(self.columns.get(*at).map_or("", |column| &column.name));
            let data_type = known.map_or("text", |known| known.pg_type.name.as_str());
            conditions.push(format!("{} = ${}::text::{data_type}", name(*at)?, place + 1));
            given.push(shown);
        }
        let sql = format!("SELECT {} FROM {from} WHERE {}", wanted.join(", "), conditions.join(" AND "));
        let given: Vec<Option<&str>> = given.iter().map(|text| Some(text.as_str())).collect();
        let rows = session.query(&sql, &given).await?.rows;
        if rows.is_empty() {
            return Ok(false);
        }
        let texts: Vec<Option<String>> =
            (0..values.missing.len()).map(|column| rows.get(0, column).map(str::to_owned)).collect();
        let mut found = vec![Field::Null; self.columns.len()];
        for (at, text) in values.missing.iter().zip(&texts) {
            if let (Some(field), Some(text)) = (found.get_mut(usize::from(*at)), text) {
                *field = Field::Text(text.as_bytes());
            }
        }
        tracing::debug!(table = %self.followed.asked, binary, "long values were read from the table");
        let found = self.values(&found)?;
        Self::fill(values, &found);
        Ok(true)
    }

    /// A value as text.
    fn shown(&self, at: usize, value: &[u8]) -> Result<String> {
        let (Some(column), Some(own)) = (self.columns.get(at), self.schema.columns().get(at)) else {
            return Err(Error::new(ErrorKind::Internal, "a column of a key is missing"));
        };
        let schema = Arc::new(CopyDecoder::schema_of(std::slice::from_ref(column))?);
        let mut decoder = CopyDecoder::try_new("key", &schema, std::slice::from_ref(column))?;
        decoder.decode_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0")?;
        let mut record = vec![0, 1];
        record.extend_from_slice(&(value.len() as u32).to_be_bytes());
        record.extend_from_slice(value);
        decoder.decode_slice(&record)?;
        let batch = decoder.flush()?.batches.pop();
        let batch = batch.ok_or_else(|| {
            Error::new(ErrorKind::Data, format!("a value of the key column {:?} cannot be read", own.name()))
        })?;
        let shown = batch.row(0).at(0)?.to_string();
        Ok(match column.pg_type.oid {
            oid::UUID => shown.trim_start_matches("\\x").to_owned(),
            _ => shown,
        })
    }
}

impl Changing for Known {
    fn group(&self) -> usize {
        self.followed.group
    }

    fn folds(&self) -> bool {
        self.followed.folds
    }

    fn is_keyed(&self) -> bool {
        !self.key.is_empty()
    }

    fn key_of(&self, values: &Values) -> Box<[u8]> {
        let fields: Vec<&[u8]> = fields(&values.record).collect();
        let mut key = Vec::new();
        self.key.iter().filter_map(|at| fields.get(*at)).for_each(|field| key.extend_from_slice(field));
        key.into_boxed_slice()
    }

    fn fill(values: &mut Values, older: &Values) {
        if values.missing.is_empty() {
            return;
        }
        let lacking = std::mem::take(&mut values.missing);
        let (mut record, old): (Vec<u8>, Vec<&[u8]>) = (Vec::new(), fields(&older.record).collect());
        record.extend_from_slice(values.record.get(..2).unwrap_or_default());
        for (at, field) in fields(&values.record).enumerate() {
            let number = at as u16;
            if !lacking.contains(&number) {
                record.extend_from_slice(field);
            } else if older.missing.contains(&number) {
                values.missing.push(number);
                record.extend_from_slice(field);
            } else {
                record.extend_from_slice(old.get(at).copied().unwrap_or(field));
            }
        }
        values.record = record;
    }

    fn batches(&self, change: Change, rows: &[Values], input: &Arc<Input>, at: Position) -> Result<Decoded> {
        let table = &self.followed.table;
        if change == Change::Truncate {
            let batch = TableBatch::empty(table.clone(), Arc::clone(&self.schema))?.with_change(change);
            return Ok(Decoded { batches: vec![batch], ..Decoded::default() });
        }
        let missing = rows.first().map(|row| row.missing.as_slice()).unwrap_or_default();
        let takes = |at: usize| match change {
            Change::Delete => self.key.contains(&at),
            _ => !missing.contains(&(at as u16)),
        };
        let kept: Vec<usize> = (0..self.columns.len()).filter(|at| takes(*at)).collect();
        let all = kept.len() == self.columns.len();
        let of = |at: &usize| (self.columns.get(*at).cloned(), self.schema.columns().get(*at).cloned());
        let (columns, own): (Vec<_>, Vec<_>) = kept.iter().map(of).unzip();
        let columns: Vec<CopyColumn> = columns.into_iter().flatten().collect();
        let schema = match all {
            true => Arc::clone(&self.schema),
            false => Arc::new(Schema::new(own.into_iter().flatten().collect())?),
        };
        let travelling = Arc::new(CopyDecoder::schema_of(&columns)?);
        let mut decoder = CopyDecoder::try_new(table.clone(), &travelling, &columns)?
            .with_batch(rows.len().max(1), 1 << 30);
        decoder.begin(Arc::clone(input), at);
        decoder.decode_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0")?;
        let mut record = Vec::new();
        for row in rows {
            if all {
                decoder.decode_slice(&row.record)?;
                continue;
            }
            record.clear();
            record.extend_from_slice(&(kept.len() as u16).to_be_bytes());
            fields(&row.record)
                .enumerate()
                .filter(|(at, _)| takes(*at))
                .for_each(|(_, field)| record.extend_from_slice(field));
            decoder.decode_slice(&record)?;
        }
        let Decoded { batches, mut rejects, counts } = decoder.flush()?;
        let batches = batches.into_iter().map(|batch| {
            let (_, _, batch, origin) = batch.into_parts();
            let made = TableBatch::from_columns(
                table.clone(),
                Arc::clone(&schema),
                batch.columns().to_vec(),
                origin,
            )?;
            Ok(made.with_change(change))
        });
        if change.is_change() {
            rejects.iter_mut().for_each(|reject| reject.reason = format!("{change}: {}", reject.reason));
        }
        Ok(Decoded { batches: batches.collect::<Result<_>>()?, rejects, counts })
    }
}

/// The values of a row, each with its length before it.
fn fields(record: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = record.get(2..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = i32::from_be_bytes(*rest.first_chunk::<4>()?);
        let (field, behind) = rest.split_at_checked(4 + usize::try_from(length).unwrap_or(0))?;
        rest = behind;
        Some(field)
    })
}
