//! INSERT.

use super::words::{Words, split_type};
use super::{Column, Done, Literal, Outcome, Row, State, Table, fault};

/// What a statement does to one table.
struct Part {
    database: String,
    table: String,
    home: Option<(String, Row)>,
    rows: Vec<(i64, Literal, Row)>,
}

impl State {
    pub(super) fn insert(&mut self, words: &mut Words) -> Done<Outcome> {
        self.inserts += 1;
        let number = self.inserts;
        if !self.delay.is_zero() {
            std::thread::sleep(self.delay);
        }
        if self.cut_before.contains(&number) {
            return Ok(Outcome::Cut);
        }
        if let Some(code) = self.refuse.get(&number) {
            return fault(*code, "as the test wants it");
        }
        words.expect("into")?;
        // The whole statement is checked before anything is written.
        let mut parts = Vec::new();
        loop {
            parts.push(self.part(words)?);
            words.take(";");
            if words.is_end() {
                break;
            }
        }
        // Rows of one table, time and key are one.
        let mut changed = std::collections::BTreeSet::new();
        for part in parts {
            let Some(database) = self.databases.get_mut(&part.database) else { continue };
            let table = database.tables.entry(part.table.clone()).or_insert_with(|| {
                let (home, tags) = part.home.map_or((None, Row::new()), |(home, tags)| (Some(home), tags));
                Table { home, tags, ..Table::default() }
            });
            for (time, key, row) in part.rows {
                changed.insert((part.database.clone(), part.table.clone(), time, key.clone()));
                // Columns that are not named stay as they are.
                table.rows.entry((time, key)).or_default().extend(row);
            }
        }
        let changed = changed.len();
        if self.cut_after.contains(&number) {
            return Ok(Outcome::Cut);
        }
        Ok(Outcome::Changed(changed))
    }

    fn part(&self, words: &mut Words) -> Done<Part> {
        let (database_name, table) = words.full_name()?;
        let Some(database) = self.databases.get(&database_name) else {
            return fault(0x0388, "Database not exist");
        };
        let precision = database.precision.as_str();
        let mut home = None;
        if words.take("using") {
            let (other, stable) = words.full_name()?;
            let Some(found) = database.supers.get(&stable).filter(|_| other == database_name) else {
                return fault(0x0362, format!("STable not exist: {stable}"));
            };
            if database.supers.contains_key(&table) {
                return fault(0x061d, "Table already exists in other stables");
            }
            let names = words.names()?;
            words.expect("tags")?;
            let literals = words.literals()?;
            if names.len() != literals.len() {
                return fault(0x260d, "Tags number not matched");
            }
            let mut tags = Row::new();
            for (name, literal) in names.into_iter().zip(literals) {
                let Some(tag) = found.tags.iter().find(|tag| tag.name == name) else {
                    return fault(0x260e, format!("Invalid tag name: {name}"));
                };
                tags.insert(name, self.checked(tag, literal, precision, true)?);
            }
            for tag in &found.tags {
                tags.entry(tag.name.clone()).or_insert(Literal::Null);
            }
            if let Some(known) = database.tables.get(&table)
                && known.home.as_ref() != Some(&stable)
            {
                return fault(0x061d, "Table already exists in other stables");
            }
            home = Some((stable, tags));
        }
        let columns = match (&home, database.layout(&table)) {
            (Some((stable, _)), _) => database.layout(stable).map(|(columns, _)| columns),
            (None, Some(_)) if database.supers.contains_key(&table) => {
                return fault(0x2600, "syntax error near: insert data into super table is not supported");
            }
            (None, found) => found.map(|(columns, _)| columns),
        };
        let Some(columns) = columns else {
            return fault(0x2603, format!("Table does not exist: {table}"));
        };
        let names = words.names()?;
        let mut targets: Vec<&Column> = Vec::new();
        for name in &names {
            match columns.iter().find(|column| column.name == *name) {
                Some(column) => targets.push(column),
                None => return fault(0x2602, format!("Invalid column name: {name}")),
            }
        }
        words.expect("values")?;
        let mut rows = Vec::new();
        loop {
            let literals = words.literals()?;
            if literals.len() != targets.len() {
                return fault(0x2600, "syntax error near: ) expected");
            }
            let mut row = Row::new();
            for (column, literal) in targets.iter().zip(literals) {
                row.insert(column.name.clone(), self.checked(column, literal, precision, false)?);
            }
            let time = columns.first().and_then(|column| row.get(&column.name));
            let Some(Literal::Number(time)) = time else {
                return fault(0x2600, "syntax error near: primary timestamp should not be null");
            };
            let time = time.parse().unwrap_or_default();
            let key = columns.iter().find(|column| column.key);
            let key = key.map_or(Literal::Null, |key| row.get(&key.name).cloned().unwrap_or(Literal::Null));
            if columns.iter().any(|column| column.key) && key == Literal::Null {
                return fault(0x267b, "Primary key column should not be null");
            }
            rows.push((time, key, row));
            if !words.is_next("(") {
                break;
            }
        }
        Ok(Part { database: database_name, table, home, rows })
    }

    fn checked(&self, column: &Column, literal: Literal, precision: &str, tag: bool) -> Done<Literal> {
        if let (Some((poison, code)), Literal::Text(text)) = (&self.poison, &literal)
            && text == poison
        {
            return fault(*code, "the server does not like it");
        }
        checked(column, literal, precision, tag)
    }
}

/// A literal as its column keeps it.
pub(super) fn checked(column: &Column, literal: Literal, precision: &str, tag: bool) -> Done<Literal> {
    let (kind, length) = split_type(&column.sql_type);
    let invalid = |what: &str| fault(0x2600, format!("syntax error near {literal:?} (invalid {what} data)"));
    let text = match &literal {
        Literal::Null => return Ok(Literal::Null),
        Literal::Bool(_) if kind == "BOOL" => return Ok(literal),
        Literal::Bool(_) => return invalid(kind),
        Literal::Number(text) | Literal::Text(text) => text.as_str(),
    };
    let quoted = matches!(literal, Literal::Text(_));
    let integer = |least: i128, most: i128| match text.parse::<i128>() {
        Ok(value) if (least..=most).contains(&value) => Ok(Literal::Number(text.to_owned())),
        Ok(_) => fault(0x2600, format!("syntax error near {text:?} ({kind} data overflow)")),
        Err(_) => invalid(kind),
    };
    match kind {
        "TIMESTAMP" if !quoted => {
            let Ok(value) = text.parse::<i64>() else { return invalid("timestamp") };
            let per_second = match precision {
                "ns" => 1_000_000_000,
                "us" => 1_000_000,
                _ => 1_000,
            };
            // A thousand years from 1970 on; nanoseconds until 2262.
            let last = if precision == "ns" { 9_214_646_400 } else { 31_556_995_200 };
            if !tag && value / per_second >= last {
                return fault(0x060b, "Timestamp data out of range");
            }
            Ok(literal)
        }
        "TINYINT" => integer(i8::MIN.into(), i8::MAX.into()),
        "SMALLINT" => integer(i16::MIN.into(), i16::MAX.into()),
        "INT" => integer(i32::MIN.into(), i32::MAX.into()),
        "BIGINT" => integer(i64::MIN.into(), i64::MAX.into()),
        "TINYINT UNSIGNED" => integer(0, u8::MAX.into()),
        "SMALLINT UNSIGNED" => integer(0, u16::MAX.into()),
        "INT UNSIGNED" => integer(0, u32::MAX.into()),
        "BIGINT UNSIGNED" => integer(0, u64::MAX.into()),
        "FLOAT" | "DOUBLE" if !quoted => match text.parse::<f64>() {
            Ok(value) if value.is_finite() && (kind == "DOUBLE" || (value as f32).is_finite()) => Ok(literal),
            _ => invalid(kind),
        },
        "DECIMAL" if !quoted => {
            let scale: usize = column
                .sql_type
                .trim_end_matches(')')
                .rsplit(", ")
                .next()
                .and_then(|n| n.parse().ok())
                .unwrap_or(0);
            let digits = text.trim_start_matches('-');
            let (whole, behind) = digits.split_once('.').unwrap_or((digits, ""));
            if whole.trim_start_matches('0').len() > length - scale {
                return fault(0x013d, "Decimal value overflow");
            }
            // It rounds; a test that sees this has sent too many digits.
            let behind: String = behind.chars().chain(std::iter::repeat('0')).take(scale).collect();
            let sign = if text.starts_with('-') { "-" } else { "" };
            let point = if scale == 0 { "" } else { "." };
            Ok(Literal::Number(format!("{sign}{whole}{point}{behind}")))
        }
        "VARCHAR" if quoted && text.len() > length => too_long(column),
        "NCHAR" if quoted && text.chars().count() > length => too_long(column),
        "JSON" if quoted => match serde_json::from_str::<serde_json::Value>(text) {
            Ok(serde_json::Value::Object(_)) => Ok(literal),
            _ => fault(0x0221, "Invalid JSON format"),
        },
        "VARBINARY" if quoted => match text.strip_prefix("\\x") {
            Some(digits) if digits.len() / 2 > length => too_long(column),
            Some(digits) if digits.len() % 2 == 0 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Ok(literal)
            }
            _ => fault(0x266a, "Invalid varbinary value"),
        },
        "VARCHAR" | "NCHAR" if quoted => Ok(literal),
        _ => invalid(kind),
    }
}

fn too_long(column: &Column) -> Done<Literal> {
    fault(0x2653, format!("Value too long for column/tag: {}", column.name))
}
