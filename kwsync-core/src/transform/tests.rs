use std::sync::Arc;

use super::*;
use crate::{Column, DataType, Role, Schema, Value};

fn batch() -> TableBatch {
    let schema = Schema::new(vec![
        Column::new("host", DataType::Text).with_role(Role::Tag),
        Column::new("n", DataType::Int64),
        Column::new("s", DataType::Text),
    ])
    .unwrap();
    let rows: Vec<Vec<Value<'_>>> = [("a", 1, "7"), ("b", 300, "x"), ("c", -5, "9")]
        .into_iter()
        .map(|(host, n, s)| vec![Value::Text(host.into()), Value::Int(n), Value::Text(s.into())])
        .collect();
    TableBatch::from_rows("cpu", Arc::new(schema), &rows).unwrap()
}

fn one(transform: &dyn Transform) -> TableBatch {
    let mut made = transform.apply(batch()).unwrap();
    assert!(made.rejects.is_empty());
    made.batches.pop().unwrap()
}

fn names(batch: &TableBatch) -> Vec<&str> {
    batch.schema().columns().iter().map(Column::name).collect()
}

#[test]
fn columns_are_chosen_renamed_and_added() {
    let select = SelectColumns::new(vec!["s".into(), "host".into(), "absent".into()]).unwrap();
    assert_eq!(names(&one(&select)), ["s", "host"]);
    assert_eq!(names(&one(&DropColumns::new(vec!["n".into()]).unwrap())), ["host", "s"]);
    assert_eq!(names(&one(&RenameColumn::new("n", "m"))), ["host", "m", "s"]);
    assert_eq!(names(&one(&AddColumn::tag("site", "x"))), ["host", "site", "n", "s"]);
    let added = one(&AddColumn::field("site", "x"));
    assert_eq!(names(&added), ["host", "n", "s", "site"]);
    assert_eq!(added.row(2).get("site").unwrap(), Value::Text("x".into()));
    assert!(AddColumn::field("n", "x").apply(batch()).is_err());
    let error = RenameColumn::new("n", "s").apply(batch()).unwrap_err();
    assert!(error.to_string().contains("two columns are named \"s\""), "{error}");
}

#[test]
fn tables_are_renamed_by_template() {
    assert_eq!(one(&RenameTable::template("x_{table}").unwrap()).table().name(), "x_cpu");
}

#[test]
fn a_cast_keeps_what_fits_and_rejects_the_rest() {
    let made = CastColumn::new("n", DataType::Int8).apply(batch()).unwrap();
    assert_eq!(made.batches[0].rows(), 2);
    assert_eq!(made.batches[0].row(1).get("n").unwrap(), Value::Int(-5));
    assert_eq!(made.rejects[0].reason, "300 in column \"n\" is no i8");
    assert_eq!(&made.rejects[0].raw[..], br#"{"host":"b","n":300,"s":"x"}"#);

    let made = CastColumn::new("s", DataType::Int32).apply(batch()).unwrap();
    assert_eq!(made.batches[0].rows(), 2);
    assert_eq!(made.rejects.len(), 1);
    assert!(CastColumn::new("absent", DataType::Int8).apply(batch()).unwrap().rejects.is_empty());
}
