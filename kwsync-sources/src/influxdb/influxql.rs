//! Statements of InfluxQL.

use crate::series::Item;

/// A name as InfluxQL has it.
pub(super) fn quote(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    out.push('"');
    for c in name.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The points from `from` on and below `to`, in the order of time. Columns are numbered, so that no name can clash.
pub(super) fn select(measurement: &str, items: &[Item], from: i128, to: i128) -> String {
    let mut parts = Vec::new();
    let mut part = |name: &str, kind: &str| {
        parts.push(format!("{}::{kind} AS \"c{}\"", quote(name), parts.len()));
    };
    for item in items {
        match item {
            // It comes first by itself.
            Item::Time => {}
            Item::Tag(name) => part(name, "tag"),
            Item::Field(name, _) => part(name, "field"),
            // Each as it is in its shard, and as the other: whether one is exact shows beside the other.
            Item::Widened(name) => {
                part(name, "float");
                part(name, "integer");
            }
        }
    }
    format!(
        "SELECT {} FROM {} WHERE time >= {from} AND time < {to} ORDER BY time ASC",
        parts.join(", "),
        quote(measurement)
    )
}

/// The first or the last point between two times.
pub(super) fn end(measurement: &str, from: i128, to: i128, last: bool) -> String {
    let order = if last { "DESC" } else { "ASC" };
    format!(
        "SELECT * FROM {} WHERE time >= {from} AND time < {to} ORDER BY time {order} LIMIT 1",
        quote(measurement)
    )
}

/// The keys of fields, and those of tags, of some measurements; of all where none is named.
pub(super) fn keys(measurements: &[String]) -> [String; 2] {
    let names: Vec<_> = measurements.iter().map(|name| quote(name)).collect();
    let from = if names.is_empty() { String::new() } else { format!(" FROM {}", names.join(", ")) };
    [format!("SHOW FIELD KEYS{from}"), format!("SHOW TAG KEYS{from}")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::FieldType;

    #[test]
    fn names_are_data() {
        assert_eq!(quote("a\"b\\c.d e'f\n"), r#""a\"b\\c.d e'f\n""#);
        let items = [
            Item::Time,
            Item::Tag("h\"".to_owned()),
            Item::Field("f".to_owned(), FieldType::Float),
            Item::Widened("w".to_owned()),
        ];
        assert_eq!(
            select("m", &items, -5, 7),
            r#"SELECT "h\""::tag AS "c0", "f"::field AS "c1", "w"::float AS "c2", "w"::integer AS "c3" FROM "m" WHERE time >= -5 AND time < 7 ORDER BY time ASC"#
        );
        assert_eq!(
            keys(&["a".to_owned(), "b".to_owned()]),
            [r#"SHOW FIELD KEYS FROM "a", "b""#, r#"SHOW TAG KEYS FROM "a", "b""#]
        );
    }
}
