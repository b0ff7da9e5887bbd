//! Scripts of Flux.

use crate::series::{FieldType, Item};

/// What texts are sent behind, so that an empty one is no null: annotated CSV has one form for both.
pub(super) const MARK: char = '.';

/// A text as Flux has it.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '$' if chars.peek() == Some(&'{') => out.push_str("\\$"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn points(bucket: &str, measurement: &str, (from, to): (i128, i128)) -> String {
    format!(
        "from(bucket: {})\n  |> range(start: time(v: {from}), stop: time(v: {to}))\n  |> filter(fn: (r) => r._measurement == {})",
        quote(bucket),
        quote(measurement)
    )
}

/// The names of all measurements that have points between two times, in the column `_value`.
pub(super) fn measurements(bucket: &str, (from, to): (i128, i128)) -> String {
    format!(
        "import \"influxdata/influxdb/schema\"\nschema.measurements(bucket: {}, start: time(v: {from}), stop: time(v: {to}))",
        quote(bucket)
    )
}

/// The keys of tags of a measurement, in the column `_value`; those that begin with `_` are Flux's own columns.
pub(super) fn tags(bucket: &str, measurement: &str, (from, to): (i128, i128)) -> String {
    format!(
        "import \"influxdata/influxdb/schema\"\nschema.measurementTagKeys(bucket: {}, measurement: {}, start: time(v: {from}), stop: time(v: {to}))",
        quote(bucket),
        quote(measurement)
    )
}

/// One value of each field of a measurement: its type is the column's.
pub(super) fn fields(bucket: &str, measurement: &str, range: (i128, i128)) -> String {
    format!(
        "{}\n  |> first()\n  |> keep(columns: [\"_field\", \"_value\"])\n  |> limit(n: 1)",
        points(bucket, measurement, range)
    )
}

/// The time of the first or the last point, in the column `_time`.
pub(super) fn end(bucket: &str, measurement: &str, range: (i128, i128), last: bool) -> String {
    let pick = if last { "last" } else { "first" };
    format!(
        "{}\n  |> {pick}()\n  |> keep(columns: [\"_time\"])\n  |> sort(columns: [\"_time\"], desc: {last})\n  |> limit(n: 1)",
        points(bucket, measurement, range)
    )
}

/// The points of a range, one a row, in the order of time. Texts stand behind a [mark](MARK).
pub(super) fn select(bucket: &str, measurement: &str, items: &[Item], range: (i128, i128)) -> String {
    let (mut texts, mut others) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            Item::Field(name, FieldType::String) => texts.push(name),
            Item::Field(name, _) | Item::Widened(name) => others.push(name),
            Item::Time | Item::Tag(_) => {}
        }
    }
    let of = |names: &[&String]| {
        let each: Vec<_> = names.iter().map(|name| format!("r._field == {}", quote(name))).collect();
        format!("  |> filter(fn: (r) => {})", each.join(" or "))
    };
    let points = points(bucket, measurement, range);
    let marked = format!("{}\n  |> map(fn: (r) => ({{r with _value: \"{MARK}\" + r._value}}))", of(&texts));
    let from = match (texts.is_empty(), others.is_empty()) {
        (true, _) => format!("{points}\n{}", of(&others)),
        (false, true) => format!("{points}\n{marked}"),
        (false, false) => format!(
            "texts = {points}\n{marked}\nothers = {points}\n{}\nunion(tables: [texts, others])",
            of(&others)
        ),
    };
    format!(
        "{from}\n  |> drop(columns: [\"_start\", \"_stop\", \"_measurement\"])\n  \
         |> pivot(rowKey: [\"_time\"], columnKey: [\"_field\"], valueColumn: \"_value\")\n  |> group()\n  \
         |> sort(columns: [\"_time\"])"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_data() {
        assert_eq!(quote("a\"b\\c\n${x} $y"), r#""a\"b\\c\n\${x} $y""#);
        let items = [
            Item::Time,
            Item::Tag("host".to_owned()),
            Item::Field("s\"".to_owned(), FieldType::String),
            Item::Field("n".to_owned(), FieldType::Integer),
        ];
        let script = select("b", "m", &items, (-1, 5));
        assert_eq!(
            script,
            "texts = from(bucket: \"b\")\n  |> range(start: time(v: -1), stop: time(v: 5))\n  |> filter(fn: (r) => r._measurement == \"m\")\n  \
             |> filter(fn: (r) => r._field == \"s\\\"\")\n  |> map(fn: (r) => ({r with _value: \".\" + r._value}))\n\
             others = from(bucket: \"b\")\n  |> range(start: time(v: -1), stop: time(v: 5))\n  |> filter(fn: (r) => r._measurement == \"m\")\n  \
             |> filter(fn: (r) => r._field == \"n\")\nunion(tables: [texts, others])\n  \
             |> drop(columns: [\"_start\", \"_stop\", \"_measurement\"])\n  \
             |> pivot(rowKey: [\"_time\"], columnKey: [\"_field\"], valueColumn: \"_value\")\n  |> group()\n  |> sort(columns: [\"_time\"])"
        );
        assert!(!select("b", "m", &items[..3], (0, 5)).contains("union"));
    }
}
