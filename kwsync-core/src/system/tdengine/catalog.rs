//! What a database has.

use super::names::{database_name, table_name, text_literal};
use super::refusal::{Refusal, RefusalClass};
use super::session::{Rows, Session};
use super::types::ColumnType;
use crate::{Error, ErrorKind, Result, TimeUnit};

/// A column or a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogColumn {
    /// Its name.
    pub name: String,
    /// Its type; none where it is not known here.
    pub column_type: Option<ColumnType>,
    /// Its type as the server names it.
    pub type_name: String,
    /// Whether it is a tag.
    pub tag: bool,
    /// Whether it is the second column of the primary key.
    pub key: bool,
}

/// A table: a supertable, a subtable, or one without either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogTable {
    /// Its name.
    pub name: String,
    /// The columns, of which the first is the time, and the tags.
    pub columns: Vec<CatalogColumn>,
}

impl CatalogTable {
    /// A column or tag by its name.
    pub fn column(&self, name: &str) -> Option<&CatalogColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The time.
    pub fn time(&self) -> Option<&CatalogColumn> {
        self.columns.first()
    }

    /// Whether it has tags.
    pub fn has_tags(&self) -> bool {
        self.columns.iter().any(|column| column.tag)
    }
}

impl Session {
    /// The precision of a database; none if there is no such database.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub async fn precision(&mut self, database: &str) -> Result<Option<TimeUnit>> {
        let from = format!("information_schema.ins_databases WHERE name = {}", text_literal(database)?);
        let rows = self.list("`precision`", &from).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let text = Rows::text(row, 0);
        match text {
            "ms" | "us" | "ns" => text.parse().map(Some),
            _ => Err(Error::new(
                ErrorKind::Protocol,
                format!("the database {database:?} has the precision {text:?}"),
            )),
        }
    }

    /// The columns of a table; none if there is no such table.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub async fn describe(&mut self, database: &str, table: &str) -> Result<Option<CatalogTable>> {
        let sql = format!("DESCRIBE {}.{}", database_name(database)?, table_name(table)?);
        let rows = match self.rows(&sql).await {
            Ok(rows) => rows,
            Err(error) if Refusal::of(&error).is_some_and(|r| r.class() == RefusalClass::NoTable) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let column = |row: &Vec<serde_json::Value>| {
            let length = row.get(2).and_then(serde_json::Value::as_u64).unwrap_or(0);
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            let (type_name, note) = (Rows::text(row, 1), Rows::text(row, 3));
            let column_type = ColumnType::of_described(type_name, length);
            CatalogColumn {
                name: Rows::text(row, 0).to_owned(),
                column_type,
                type_name: column_type.map_or_else(|| type_name.to_owned(), |known| known.to_string()),
                tag: note.eq_ignore_ascii_case("TAG"),
                key: note.to_ascii_uppercase().contains("KEY"),
            }
        };
        let columns: Vec<_> = rows.rows.iter().map(column).collect();
        let count = match columns.is_empty() {
            true => Some(1),
            false => self.column_count(database, table).await?,
        };
        match count {
            Some(count) if count > columns.len() as u64 => Err(self.cut(columns.len(), count, &sql)),
            _ => Ok(Some(CatalogTable { name: table.to_owned(), columns })),
        }
    }

    /// How many columns and tags a table has by the server's lists; none where they do not tell.
    async fn column_count(&mut self, database: &str, table: &str) -> Result<Option<u64>> {
        let of = |table: &str| -> Result<String> {
            Ok(format!("WHERE db_name = {} AND {table}", text_literal(database)?))
        };
        let number =
            |row: &Vec<serde_json::Value>, at: usize| row.get(at).and_then(serde_json::Value::as_u64);
        let known = |error: Error| match Refusal::of(&error).map(Refusal::class) {
            // These columns of the lists are not in every version.
            Some(RefusalClass::NoColumn | RefusalClass::Row) => Ok(Vec::new()),
            _ => Err(error),
        };
        let mut stable = table.to_owned();
        for _ in 0..2 {
            let condition = of(&format!("stable_name = {}", text_literal(&stable)?))?;
            let list = format!("information_schema.ins_stables {condition}");
            let rows = self.list("`columns`, `tags`", &list).await.or_else(known)?;
            if let Some(row) = rows.first() {
                return Ok(number(row, 0).zip(number(row, 1)).map(|(columns, tags)| columns + tags));
            }
            if stable != table {
                break;
            }
            let condition = of(&format!("table_name = {}", text_literal(table)?))?;
            let list = format!("information_schema.ins_tables {condition}");
            let rows = self.list("`columns`, stable_name", &list).await.or_else(known)?;
            match rows.first() {
                Some(row) if !Rows::text(row, 1).is_empty() => Rows::text(row, 1).clone_into(&mut stable),
                Some(row) => return Ok(number(row, 0)),
                None => break,
            }
        }
        Ok(None)
    }

    /// The supertables of a database.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub async fn supertables(&mut self, database: &str) -> Result<Vec<String>> {
        self.names(
            "stable_name",
            &format!("information_schema.ins_stables WHERE db_name = {}", text_literal(database)?),
        )
        .await
    }

    /// The tables of a database that belong to no supertable.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub async fn plain_tables(&mut self, database: &str) -> Result<Vec<String>> {
        self.names(
            "table_name",
            &format!(
                "information_schema.ins_tables WHERE db_name = {} AND type = 'NORMAL_TABLE'",
                text_literal(database)?
            ),
        )
        .await
    }

    /// Of the tables called `names`, those that are there, each with its supertable.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub async fn homes(&mut self, database: &str, names: &[String]) -> Result<Vec<(String, Option<String>)>> {
        let mut found = Vec::new();
        for some in names.chunks(500) {
            let list: Vec<_> = some.iter().map(|name| text_literal(name)).collect::<Result<_>>()?;
            let from = format!(
                "information_schema.ins_tables WHERE db_name = {} AND table_name IN ({})",
                text_literal(database)?,
                list.join(",")
            );
            for row in self.list("table_name, stable_name", &from).await? {
                let home = Some(Rows::text(&row, 1)).filter(|home| !home.is_empty());
                found.push((Rows::text(&row, 0).to_owned(), home.map(str::to_owned)));
            }
        }
        Ok(found)
    }

    async fn names(&mut self, item: &str, from: &str) -> Result<Vec<String>> {
        let mut names: Vec<String> =
            self.list(item, from).await?.iter().map(|row| Rows::text(row, 0).to_owned()).collect();
        names.sort();
        Ok(names)
    }
}
