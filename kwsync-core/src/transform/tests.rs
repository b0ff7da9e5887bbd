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
fn tables_are_renamed() {
    for (text, wanted) in [
        ("rename-table:prefix:x_", "x_cpu"),
        ("rename-table:suffix:{}", "cpu{}"),
        ("rename-table:template:{stable}-{table}-{old}", "cpu-cpu-cpu"),
        ("rename-table:replace_with_regex:^c(?<old>)::x_$old", "x_pu"),
        ("rename-table:replace_with_regex:p(?<rest>.*)::$$${rest}_$rest", "c$u_u"),
        // Neither subtables nor a table that has some.
        ("rename-child-table:prefix:x_", "cpu"),
        ("rename-super-table:prefix:x_", "cpu"),
    ] {
        assert_eq!(one(&text.parse::<RenameTable>().unwrap()).table().name(), wanted, "{text}");
    }
    let error =
        "rename-table:replace_with_regex:.*::".parse::<RenameTable>().unwrap().apply(batch()).unwrap_err();
    assert!(error.to_string().contains("leaves nothing"), "{error}");
}

#[test]
fn subtables_are_the_values_of_tbname() {
    let schema = Schema::new(vec![
        Column::new("ts", DataType::Int64),
        Column::new("tbname", DataType::Text).with_role(Role::PrimaryTag),
    ])
    .unwrap();
    let rows: Vec<Vec<Value<'_>>> = [Some("prefix1_a"), None, Some("b"), Some("prefix1_a")]
        .into_iter()
        .map(|name| vec![Value::Int(1), name.map_or(Value::Null, |name| Value::Text(name.into()))])
        .collect();
    let plain = TableBatch::from_rows("prefix1_st", Arc::new(schema), &rows).unwrap();
    let (table, schema, record_batch, origin) = plain.clone().into_parts();
    let mut arrays = record_batch.columns().to_vec();
    let dictionary = arrow_schema::DataType::Dictionary(
        Box::new(arrow_schema::DataType::Int32),
        Box::new(arrow_schema::DataType::Utf8),
    );
    arrays[1] = arrow_cast::cast(&arrays[1], &dictionary).unwrap();
    let encoded = TableBatch::from_columns(table, schema, arrays, origin).unwrap();
    for batch in [plain, encoded] {
        for (text, table, child) in [
            (
                "rename-child-table:replace_with_regex:^prefix1(?<old>)::prefix2_$old",
                "prefix1_st",
                "prefix2__a",
            ),
            ("rename-super-table:replace_with_regex:^prefix1::prefix2", "prefix2_st", "prefix1_a"),
            ("rename-table:prefix:p_", "p_prefix1_st", "p_prefix1_a"),
            ("rename-child-table:template:{stable}.{table}", "prefix1_st", "prefix1_st.prefix1_a"),
        ] {
            let made =
                text.parse::<RenameTable>().unwrap().apply(batch.clone()).unwrap().batches.pop().unwrap();
            assert_eq!(made.table().name(), table, "{text}");
            assert_eq!(made.row(3).get("tbname").unwrap(), Value::Text(child.into()), "{text}");
            assert_eq!(made.row(1).get("tbname").unwrap(), Value::Null);
        }
    }
}

#[test]
fn columns_are_named_by_position() {
    let named = |names: &[&str]| NameColumns::new(names.iter().map(|name| (*name).to_owned())).unwrap();
    // Names may change places.
    assert_eq!(names(&one(&named(&["n", "host", "x"]))), ["n", "host", "x"]);
    assert_eq!(one(&named(&["n", "host", "x"])).row(0).get("host").unwrap(), Value::Int(1));
    let error = named(&["a", "b"]).apply(batch()).unwrap_err();
    assert!(error.to_string().contains("3 columns are read, but 2 are written"), "{error}");
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
