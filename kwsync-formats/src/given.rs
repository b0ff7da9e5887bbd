//! Types of columns that are given by a parameter.

use kwsync_core::{Column, DataType, Error, Result, Schema};

/// `name:type` between commas that are outside parentheses.
pub(crate) fn types(text: &str) -> Result<Schema> {
    let mut depth = 0;
    let parts = text.split(|c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    let mut columns = Vec::new();
    for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
        let Some((name, data_type)) = part.rsplit_once(':') else {
            return Err(Error::config(format!("types: {part:?} is no name:type"))
                .with_hint("write types=id:i32,price:numeric(10,2)"));
        };
        let data_type: DataType =
            data_type.parse().map_err(|error: Error| error.context(format!("types, column {name:?}")))?;
        columns.push(Column::new(name.trim(), data_type));
    }
    Schema::new(columns)
}
