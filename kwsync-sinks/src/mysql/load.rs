//! Rows by LOAD DATA LOCAL.
//!
//! The server reads the very text that an INSERT would have, told how its fields and lines stand. But what an INSERT refuses,
//! LOAD DATA LOCAL changes until it fits, or leaves out, and tells by a count of warnings. So it runs behind a savepoint, and
//! where it tells of anything all of it is taken back and goes in by INSERT, which names the row.

use bytes::Bytes;
use kwsync_core::system::mysql::ddl::quote;
use kwsync_core::system::mysql::session::error;
use kwsync_core::{Error, ErrorKind, Result, Schema};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, InfileData};

use super::config::{Mode, MysqlOptions, Strategy};
use super::literal::Target;

/// Bytes that are sent in one packet.
const PACKET: usize = 512 << 10;
/// Fewer rows go in as fast by one INSERT, which takes one exchange with the server rather than two.
pub(super) const FEW_ROWS: usize = 64;
/// Batches that go in by INSERT after one whose rows LOAD DATA would have changed: where there is one, there are more.
pub(super) const AFTER_FAULTS: u32 = 8;

/// Why rows cannot go in by LOAD DATA LOCAL; none if they can.
pub(super) fn hindrance(
    options: &MysqlOptions,
    allowed: bool,
    revocable: bool,
    targets: &[Target],
) -> Option<&'static str> {
    if !matches!(options.mode, Mode::Insert | Mode::Replace) {
        Some("it has no way to tell of each row what became of it in this mode")
    } else if !allowed {
        Some("the server does not allow it (local_infile is off)")
    } else if !revocable {
        Some("what it changed could not be taken back, as the table is not one of InnoDB")
    } else if targets.contains(&Target::Geometry) {
        Some("it does not read geometries")
    } else {
        None
    }
}

/// Whether rows go in so, where the strategy leaves a choice or demands it.
///
/// # Errors
/// `Unsupported` when it is demanded and cannot be.
pub(super) fn chosen(options: &MysqlOptions, hindrance: Option<&'static str>) -> Result<bool> {
    match (options.strategy, hindrance) {
        (Strategy::Insert, _) => Ok(false),
        (Strategy::Auto, hindrance) => Ok(hindrance.is_none()),
        (Strategy::LoadData, None) => Ok(true),
        (Strategy::LoadData, Some(why)) => {
            Err(Error::new(ErrorKind::Unsupported, format!("strategy=load-data cannot be used: {why}"))
                .with_hint("use strategy=auto, which takes INSERT there"))
        }
    }
}

/// Whether the server lets a client send it a file.
pub(super) async fn is_allowed(connection: &mut Conn) -> Result<bool> {
    let on: Option<u8> = connection.query_first("SELECT @@local_infile").await.map_err(error)?;
    Ok(on == Some(1))
}

/// The statement that reads the rows of `schema` as they stand in an INSERT, `(1,'it''s',NULL)`.
pub(super) fn statement(table: &str, mode: Mode, schema: &Schema, targets: &[Target]) -> Result<String> {
    let mut fields = Vec::new();
    let mut set = Vec::new();
    for (at, (column, target)) in schema.columns().iter().zip(targets).enumerate() {
        let name = quote(column.name())?;
        // Without the `x'` or `b'` before it and the quote behind it.
        let inner = format!("SUBSTR(@kwsync_{at}, 3, CHAR_LENGTH(@kwsync_{at}) - 3)");
        match target {
            Target::Bytes => set.push(format!("{name} = UNHEX({inner})")),
            Target::Bit => set.push(format!("{name} = CAST(CONV({inner}, 2, 10) AS UNSIGNED)")),
            _ => {
                fields.push(name);
                continue;
            }
        }
        fields.push(format!("@kwsync_{at}"));
    }
    let verb = if mode == Mode::Replace { "REPLACE " } else { "" };
    let set = if set.is_empty() { String::new() } else { format!(" SET {}", set.join(", ")) };
    // The name of the file is for nobody: what is sent is in memory.
    Ok(format!(
        "LOAD DATA LOCAL INFILE 'kwsync' {verb}INTO TABLE {table} CHARACTER SET utf8mb4 \
         FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\\'' ESCAPED BY '\\\\' \
         LINES STARTING BY '(' TERMINATED BY ')' ({}){set}",
        fields.join(", ")
    ))
}

/// What the server told of a LOAD DATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loaded {
    pub(super) records: u64,
    /// Rows that had to make room.
    pub(super) deleted: u64,
    pub(super) skipped: u64,
    pub(super) warnings: u64,
}

impl Loaded {
    /// Whether all of `rows` are there just as they were sent.
    pub(super) fn is_exact(&self, rows: u64) -> bool {
        self.records == rows && self.skipped == 0 && self.warnings == 0
    }
}

/// Runs `statement` over `text`.
pub(super) async fn run(connection: &mut Conn, statement: &str, text: Bytes) -> Result<Loaded> {
    // Only what is here is ever sent, whatever file the server asks for, and only for this statement.
    connection.set_infile_handler(async move {
        let mut rest = text;
        let packets = std::iter::from_fn(move || {
            let packet = rest.split_to(rest.len().min(PACKET));
            (!packet.is_empty()).then_some(Ok(packet))
        });
        Ok(Box::pin(futures_util::stream::iter(packets)) as InfileData)
    });
    connection.query_drop(statement).await.map_err(error)?;
    let info = connection.info().into_owned();
    let number = |label: &str| {
        let rest = info.split(label).nth(1).unwrap_or_default().trim_start_matches([':', ' ']);
        rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse::<u64>().ok())
    };
    let told = (number("Records"), number("Deleted"), number("Skipped"), number("Warnings"));
    let (Some(records), Some(deleted), Some(skipped), Some(warnings)) = told else {
        // In another language, say: then nothing is known.
        return Ok(Loaded { records: 0, deleted: 0, skipped: 0, warnings: u64::MAX });
    };
    Ok(Loaded { records, deleted, skipped, warnings: warnings.max(connection.get_warnings().into()) })
}

#[cfg(test)]
mod tests {
    use kwsync_core::{Column, DataType};

    use super::*;

    #[test]
    fn the_statement_takes_bytes_and_bits_apart() {
        let columns = [("a`b", DataType::Int32), ("raw", DataType::Bytes), ("bits", DataType::Bit(4))];
        let columns = columns.map(|(name, data_type)| Column::new(name, data_type)).to_vec();
        let schema = Schema::new(columns).unwrap();
        let targets = [Target::Int(0, 9), Target::Bytes, Target::Bit];
        let sql = statement("`t`", Mode::Replace, &schema, &targets).unwrap();
        assert!(sql.contains("REPLACE INTO TABLE `t`"), "{sql}");
        assert!(sql.contains("(`a``b`, @kwsync_1, @kwsync_2) SET `raw` = UNHEX(SUBSTR(@kwsync_1"), "{sql}");
        assert!(sql.contains("`bits` = CAST(CONV("), "{sql}");
    }
}
