//! The format `points` of rows that are no lines of line protocol.

use kwsync_core::{DataType, Result, Role, TableBatch, Value};
use serde_json::{Value as Json, json};

/// Appends one JSON object a row: its line, table, tags, fields with their types, and time in nanoseconds. Nulls
/// are left out.
pub(crate) fn rows(batches: &[TableBatch], out: &mut Vec<u8>) -> Result<()> {
    let mut all: Vec<(u64, String)> = Vec::new();
    for batch in batches {
        for row in 0..batch.rows() {
            let at = batch.origin().position(row);
            let (mut tags, mut fields, mut time) = (Vec::new(), Vec::new(), Json::Null);
            for (index, column) in batch.schema().columns().iter().enumerate() {
                let value = batch.row(row).at(index)?;
                match (column.role(), value) {
                    (_, Value::Null) => {}
                    (Role::Timestamp, Value::Timestamp(value, unit, _)) => {
                        time = i128::from(value)
                            .checked_mul(unit.nanos().into())
                            .and_then(|nanos| i64::try_from(nanos).ok())
                            .map_or(Json::Null, Json::from);
                    }
                    (Role::Tag | Role::PrimaryTag, value) => {
                        tags.push(json!([column.name(), value.to_string()]));
                    }
                    (_, value) => {
                        fields.push(json!([column.name(), kind(column.data_type()), value.to_string()]));
                    }
                }
            }
            let line = at.map_or(0, |at| at.line);
            let (table, tags, fields) =
                (Json::from(batch.table().name()), Json::from(tags), Json::from(fields));
            let object = format!(
                r#"{{"line":{line},"table":{table},"tags":{tags},"fields":{fields},"timestamp":{time}}}"#
            );
            all.push((at.map_or(0, |at| at.byte), object));
        }
    }
    all.sort_by_key(|(at, _)| *at);
    for (_, line) in all {
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    Ok(())
}

/// The names of types that `points` has; others by their own.
fn kind(data_type: &DataType) -> String {
    match data_type {
        DataType::Text | DataType::Char(_) | DataType::VarChar(_) => "string".to_owned(),
        DataType::NChar(_) | DataType::NVarChar(_) => "nstring".to_owned(),
        DataType::Bytes | DataType::VarBytes(_) => "bytes".to_owned(),
        DataType::Timestamp(_) | DataType::TimestampTz(_) => "timestamp".to_owned(),
        other => other.to_string(),
    }
}
