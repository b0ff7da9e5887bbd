//! External tables on object storage, as AnalyticDB for PostgreSQL has them (`oss_ext`): `CREATE [READABLE | WRITABLE]
//! EXTERNAL TABLE ... LOCATION('oss://...')` and the `INSERT INTO ... SELECT` that reads or writes one.
//!
//! Each `INSERT` becomes a pipeline: into a table of the database out of the bucket, or out of the database into the bucket.

mod parse;
#[cfg(test)]
mod tests;

use super::{PipelineSpec, Translation};
use crate::config::Dsn;
use crate::{Budget, Error, ErrorPolicy, Result};

use parse::{ExternalTable, Insert, Statement};

/// Reads statements; `database` is the address of the database in which they would run. `name` is what faults call the
/// text.
///
/// # Errors
/// `Config` with line and column for what is no such statement, for an external table that is not there or of the wrong kind,
/// and for a text without an `INSERT`; `Unsupported` for what has no counterpart here, by its name.
pub fn read(name: &str, text: &str, database: &str) -> Result<Translation> {
    let database: Dsn = database.parse().map_err(|error: Error| error.context("the database"))?;
    let (mut tables, mut specs) = (Vec::<ExternalTable>::new(), Vec::new());
    let (mut notes, mut logs) = (Vec::new(), Vec::new());
    for statement in parse::statements(text).map_err(|error| error.context(name))? {
        match statement {
            Statement::Create(table) => {
                if tables.iter().any(|known| known.name == table.name) {
                    return Err(Error::config(format!(
                        "{name}: the external table {} is made twice",
                        table.name
                    )));
                }
                tables.push(*table);
            }
            Statement::Insert(insert) => {
                specs.push(pipeline(&insert, &tables, &database, &mut notes, &mut logs)?)
            }
            Statement::Other(what) => notes.push(what),
        }
    }
    if specs.is_empty() {
        return Err(Error::config(format!("{name} moves no rows")).with_hint(
            "add INSERT INTO table SELECT * FROM external_table, or INSERT INTO external_table SELECT * FROM table",
        ));
    }
    Ok(Translation { specs, notes })
}

fn pipeline(
    insert: &Insert,
    tables: &[ExternalTable],
    database: &Dsn,
    notes: &mut Vec<String>,
    logs: &mut Vec<String>,
) -> Result<PipelineSpec> {
    let external = |name: &str| tables.iter().find(|table| table.name == name);
    let from = insert.from.as_deref();
    if let Some(table) = external(&insert.into) {
        if !table.writable {
            return Err(Error::config(format!(
                "INSERT INTO {0}: the external table {0} is readable",
                table.name
            ))
            .with_hint("CREATE WRITABLE EXTERNAL TABLE makes one that can be written"));
        }
        if from.and_then(external).is_some() {
            return Err(Error::config(format!("INSERT INTO {}: both sides are external tables", table.name))
                .with_hint("kwsync run --from oss://... --to oss://... copies from bucket to bucket"));
        }
        return Ok(export(insert, table, database));
    }
    let Some(table) = from.and_then(external) else {
        let known: Vec<_> = tables.iter().map(|table| table.name.as_str()).collect();
        return Err(Error::config(format!("INSERT INTO {}: neither side is an external table", insert.into))
            .with_hint(match known.as_slice() {
                [] => "CREATE EXTERNAL TABLE must stand before it".to_owned(),
                known => format!("known are: {}", known.join(", ")),
            }));
    };
    if table.writable {
        return Err(Error::config(format!(
            "SELECT FROM {0}: the external table {0} is writable",
            table.name
        ))
        .with_hint("CREATE READABLE EXTERNAL TABLE makes one that can be read"));
    }
    if !insert.all {
        return Err(Error::new(
            crate::ErrorKind::Unsupported,
            format!("of the external table {} all columns are read, by SELECT *", table.name),
        )
        .with_hint("write SELECT *, and choose and change columns by -T (see docs/transforms.md)"));
    }
    import(insert, table, database, notes, logs)
}

/// Out of the bucket.
fn import(
    insert: &Insert,
    table: &ExternalTable,
    database: &Dsn,
    notes: &mut Vec<String>,
    logs: &mut Vec<String>,
) -> Result<PipelineSpec> {
    let Some(columns) = &table.columns else {
        return Err(Error::new(
            crate::ErrorKind::Unsupported,
            format!("the external table {} takes its columns from another table (LIKE)", table.name),
        )
        .with_hint("name the columns and their types instead"));
    };
    let (schema, target) = split_name(&insert.into);
    let from = located(table).with_param("columns", Some(columns.clone())).with_param("table", Some(target));
    let mut to = database.clone();
    if let Some(schema) = schema.filter(|_| !database.has("schema")) {
        to = to.with_param("schema", Some(plain(&schema)));
    }
    if !database.has("create") {
        // As INSERT has it: a table that is not there, or lacks a column of this name, is an error.
        to = to.with_param("create", Some("never".to_owned()));
    }
    let mut spec = PipelineSpec::new(from.to_string_with_secrets(), to.to_string_with_secrets());
    if let Some(log) = &table.log {
        let file = log_file(log, logs);
        notes.push(format!("rows of {} that cannot be loaded go to the file {file}", table.name));
        spec.errors = ErrorPolicy::Reject(file.into());
    }
    if let Some((count, percent)) = table.reject_limit {
        let text = if percent { format!("{count}%") } else { count.to_string() };
        spec.max_errors = text.parse::<Budget>()?;
        if table.log.is_none() {
            spec.errors = ErrorPolicy::Skip;
        }
    }
    Ok(spec)
}

/// Into the bucket.
fn export(insert: &Insert, table: &ExternalTable, database: &Dsn) -> PipelineSpec {
    let from = match (&insert.from, insert.all) {
        (Some(from), true) => {
            let (schema, name) = split_name(from);
            let from = database.clone().with_param("table", Some(plain(&name)));
            match schema.filter(|_| !database.has("schema")) {
                Some(schema) => from.with_param("schema", Some(plain(&schema))),
                None => from,
            }
        }
        _ => database
            .clone()
            .with_param("query", Some(plain(&insert.select)))
            .with_param("table", Some(plain(&table.name))),
    };
    PipelineSpec::new(from.to_string_with_secrets(), located(table).to_string_with_secrets())
}

/// The address of the objects, with the options of their format.
fn located(table: &ExternalTable) -> Dsn {
    let mut dsn = table.location.clone();
    if !dsn.has("compressiontype") && !dsn.has("compression") {
        // The statement's default; an address would look at the first bytes.
        dsn = dsn.with_param("compressiontype", Some("none".to_owned()));
    }
    let options = table.options.iter().map(|(name, value)| (*name, value.clone()));
    std::iter::once(("format", table.format.to_owned()))
        .chain(options)
        .fold(dsn, |dsn, (name, value)| dsn.with_param(name, Some(value)))
        .literal()
}

/// A text of the file as a parameter of an address that is expanded: `$$` stands for `$` there.
fn plain(text: &str) -> String {
    text.replace("$$", "$$$$")
}

/// The file of rejects that are logged under a name, in the present folder whatever the name is; one that another statement
/// has is not written over.
fn log_file(name: &str, taken: &mut Vec<String>) -> String {
    let stem: String =
        name.chars().map(|c| if c.is_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' }).collect();
    let mut file = format!("{stem}.jsonl");
    let mut number = 1;
    while taken.contains(&file) {
        number += 1;
        file = format!("{stem}-{number}.jsonl");
    }
    taken.push(file.clone());
    file
}

/// Schema, where there is one, and table.
fn split_name(name: &str) -> (Option<String>, String) {
    match name.split_once(parse::SEPARATOR) {
        Some((schema, name)) => (Some(schema.to_owned()), name.to_owned()),
        None => (None, name.to_owned()),
    }
}
