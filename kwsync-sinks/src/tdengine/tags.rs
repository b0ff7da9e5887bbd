//! The tags of subtables that are there.

use kwsync_core::system::tdengine::{ColumnType, Session, column_name, table_name, text_literal};
use kwsync_core::{Result, TableBatch, TimeUnit, Value};
use serde_json::Value as Json;

use super::layout::Layout;

/// Subtables of one question.
const AT_ONCE: usize = 200;

/// A subtable, and the row that has its tags.
#[derive(Clone, Debug)]
pub(super) struct Child {
    pub(super) name: String,
    pub(super) row: usize,
}

/// Gives subtables the tags of their rows, where theirs are others.
pub(super) async fn update(
    session: &mut Session,
    layout: &Layout,
    batch: &TableBatch,
    children: &[Child],
) -> Result<u64> {
    let Some((tags, each)) = &layout.tags else { return Ok(0) };
    let names: Vec<_> = tags.targets().iter().map(|tag| column_name(&tag.name)).collect::<Result<_>>()?;
    let mut changed = 0;
    for some in children.chunks(AT_ONCE) {
        let list: Vec<_> = some.iter().map(|child| text_literal(&child.name)).collect::<Result<_>>()?;
        let sql = format!(
            "SELECT DISTINCT tbname, {} FROM {} WHERE tbname IN ({})",
            names.join(", "),
            layout.name,
            list.join(",")
        );
        let found = session.rows(&sql).await?;
        for child in some {
            let known = found.rows.iter().find(|row| row.first().and_then(Json::as_str) == Some(&child.name));
            let row = batch.row(child.row);
            let mut other = false;
            for (at, tag) in tags.targets().iter().enumerate() {
                let there = known.and_then(|known| known.get(at + 1));
                let value = row.at(tag.column)?;
                if there.is_some_and(|there| is_same(there, &value, tag.column_type, layout.target.unit)) {
                    continue;
                }
                let mut literal = Vec::new();
                let Some(Ok(_)) =
                    each.get(at).map(|one| one.bind(batch).write(child.row, &mut literal)).transpose()?
                else {
                    continue;
                };
                let (name, column) = (table_name(&child.name)?, column_name(&tag.name)?);
                let mut sql =
                    format!("ALTER TABLE {}{name} SET TAG {column} = ", layout.database).into_bytes();
                sql.extend_from_slice(&literal);
                session.execute(sql).await?;
                other = true;
            }
            changed += u64::from(other);
        }
    }
    Ok(changed)
}

/// Whether a tag has the value of a row. A tag that is taken for another one is only written again.
fn is_same(there: &Json, value: &Value<'_>, column_type: ColumnType, unit: TimeUnit) -> bool {
    match (there, value) {
        (Json::Null, Value::Null) => true,
        (Json::Bool(there), Value::Bool(value)) => there == value,
        (Json::Number(there), Value::Int(value)) => there.as_i64() == Some(*value),
        (Json::Number(there), Value::UInt(value)) => there.as_u64() == Some(*value),
        (Json::Number(there), Value::Float64(value)) => there.as_f64() == Some(*value),
        (Json::Number(there), Value::Float32(value)) => {
            there.as_f64().map(|there| there as f32) == Some(*value)
        }
        (Json::String(there), Value::Timestamp(value, own, _)) => kwsync_formats::nanoseconds(there)
            .is_some_and(|nanos| {
                let own = i128::from(*value) * i128::from(own.nanos());
                nanos.div_euclid(unit.nanos().into()) == own.div_euclid(unit.nanos().into())
            }),
        (Json::String(there), Value::Text(value)) => there == value,
        (there, Value::Text(value)) if column_type == ColumnType::Json => {
            value.parse::<Json>().is_ok_and(|value| value == *there)
        }
        (Json::String(there), Value::Bytes(value)) => {
            let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            there.trim_start_matches("\\x").eq_ignore_ascii_case(&digits)
        }
        _ => false,
    }
}
