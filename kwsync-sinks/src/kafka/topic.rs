//! Which topic a table's rows go to.

use kwsync_core::TableId;

/// How topics are called: `PREFIX-DATABASE-TABLE-FORMAT`, without the parts that are empty. Characters that a topic cannot
/// have become `_`.
///
/// # Examples
/// ```
/// use kwsync_core::TableId;
/// use kwsync_sinks::kafka::TopicNaming;
///
/// let mut naming = TopicNaming::default();
/// naming.prefix = "kw".into();
/// naming.database = Some("tsdb".into());
/// assert_eq!(naming.topic(&TableId::new("cpu load")), "kw-tsdb-cpu_load");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicNaming {
    /// One topic for all rows, whatever the rest says.
    pub topic: Option<String>,
    /// What every name begins with.
    pub prefix: String,
    /// What stands between the parts.
    pub delimiter: String,
    /// The database; a table's schema where it is not given.
    pub database: Option<String>,
    /// Whether the database is left out.
    pub ignore_database: bool,
    /// Whether each table has a topic of its own.
    pub per_table: bool,
    /// The name of the format, where the names end with it.
    pub suffix: Option<String>,
}

impl Default for TopicNaming {
    fn default() -> Self {
        Self {
            topic: None,
            prefix: String::new(),
            delimiter: "-".to_owned(),
            database: None,
            ignore_database: false,
            per_table: true,
            suffix: None,
        }
    }
}

/// Characters of the longest name that brokers take.
const LONGEST: usize = 249;

impl TopicNaming {
    /// The topic of a table.
    pub fn topic(&self, table: &TableId) -> String {
        if let Some(topic) = &self.topic {
            return topic.clone();
        }
        let database = self.database.as_deref().or(table.schema()).filter(|_| !self.ignore_database);
        let table = self.per_table.then(|| table.name());
        let parts = [Some(&*self.prefix), database, table, self.suffix.as_deref()];
        let parts: Vec<&str> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
        let legal = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
        let name: String = parts.join(&self.delimiter).chars().map(legal).take(LONGEST).collect();
        match &*name {
            // Names that brokers refuse, though every character is fine.
            "" | "." | ".." => "kwsync".to_owned(),
            _ => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_together() {
        let table = TableId::with_schema("public", "cpu");
        let all = TopicNaming {
            prefix: "kw".into(),
            database: Some("db".into()),
            suffix: Some("json_kaiwudb".into()),
            ..TopicNaming::default()
        };
        for (naming, expected) in [
            (TopicNaming::default(), "public-cpu"),
            (all.clone(), "kw-db-cpu-json_kaiwudb"),
            (TopicNaming { ignore_database: true, ..all.clone() }, "kw-cpu-json_kaiwudb"),
            (TopicNaming { per_table: false, suffix: None, ..all.clone() }, "kw-db"),
            (TopicNaming { delimiter: "__".into(), ..all.clone() }, "kw__db__cpu__json_kaiwudb"),
            (TopicNaming { topic: Some("one".into()), ..all }, "one"),
            (TopicNaming { per_table: false, ignore_database: true, ..TopicNaming::default() }, "kwsync"),
        ] {
            assert_eq!(naming.topic(&table), expected);
        }
        let long = TableId::new("é ".repeat(300));
        assert_eq!(TopicNaming::default().topic(&long).len(), LONGEST);
    }
}
