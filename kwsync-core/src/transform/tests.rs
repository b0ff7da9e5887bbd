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
    let tags = one(&SetRole::new(Role::Tag, vec!["s".into(), "absent".into()]).unwrap());
    assert_eq!(names(&tags), ["host", "s", "n"]);
    assert_eq!(tags.schema().columns()[1].role(), Role::Tag);
    let time = one(&SetRole::new(Role::Timestamp, vec!["n".into()]).unwrap());
    assert_eq!(names(&time), ["n", "host", "s"]);
    assert_eq!(time.schema().columns()[0].role(), Role::Timestamp);
    assert_eq!(time.row(1).get("n").unwrap(), Value::Int(300));
    assert!(SetRole::new(Role::Timestamp, vec!["a".into(), "b".into()]).is_err());
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

#[cfg(feature = "expressions")]
#[test]
fn rows_are_filtered_and_values_computed() {
    let made = FilterRows::new("n > 0 AND s <> 'x'".parse().unwrap()).apply(batch()).unwrap();
    assert_eq!((made.filtered, made.rejects.len()), (2, 0));
    assert_eq!(made.batches[0].row(0).get("host").unwrap(), Value::Text("a".into()));
    let made = FilterRows::new("absent > 0".parse().unwrap()).apply(batch()).unwrap();
    assert_eq!((made.filtered, made.batches.len()), (3, 0));
    let made = FilterRows::new("10 / (n - 1) < 1".parse().unwrap()).apply(batch()).unwrap();
    assert_eq!((made.filtered, made.rejects.len(), made.batches[0].rows()), (0, 1, 2));
    assert_eq!(made.rejects[0].code, "expression_fails");
    assert!(made.rejects[0].reason.contains("division by zero"), "{}", made.rejects[0].reason);
    let fault = FilterRows::new("n + 1".parse().unwrap()).apply(batch()).unwrap_err();
    assert!(fault.message().contains("neither true nor false"), "{fault}");

    let double = one(&ComputeColumn::new("double", "n * 2".parse().unwrap()));
    assert_eq!(names(&double), ["host", "n", "s", "double"]);
    assert_eq!(double.row(1).get("double").unwrap(), Value::Int(600));
    let replaced = one(&ComputeColumn::new("n", "n / 100.0".parse().unwrap()));
    assert_eq!(names(&replaced), ["host", "n", "s"]);
    assert_eq!(replaced.row(1).get("n").unwrap(), Value::Float64(3.0));
    assert_eq!(replaced.schema().column("host").unwrap().role(), Role::Tag);
    let made = ComputeColumn::new("m", "CAST(s AS bigint)".parse().unwrap()).apply(batch()).unwrap();
    assert_eq!((made.batches[0].rows(), made.rejects.len()), (2, 1));
}

#[test]
fn values_are_masked_and_hashed() {
    let masked = one(&MaskColumn::new("n", Mask::Last(1)));
    assert_eq!(masked.row(1).get("n").unwrap(), Value::Text("**0".into()));
    assert_eq!(masked.schema().column("n").unwrap().data_type(), &DataType::Text);
    assert_eq!(names(&one(&MaskColumn::new("absent", Mask::Last(1)))), ["host", "n", "s"]);

    // SHA-256 and HMAC-SHA-256 of "a", as any other program computes them.
    let hashed = one(&HashColumn::new("host", None));
    let known = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    assert_eq!(hashed.row(0).get("host").unwrap(), Value::Text(known.into()));
    assert_eq!(hashed.schema().column("host").unwrap().role(), Role::Tag);
    let keyed = HashColumn::new("host", Some("key".into()));
    let known = "780c3db4ce3de5b9e55816fba98f590631d96c075271b26976238d5f4444219b";
    assert_eq!(one(&keyed).row(0).get("host").unwrap(), Value::Text(known.into()));
    assert!(!format!("{keyed:?}").contains("key\""), "{keyed:?}");
}

#[test]
fn what_was_masked_does_not_come_back_in_a_reject() {
    let (table, schema, rows, _) = batch().into_parts();
    let segment = crate::Segment {
        input: Arc::new(crate::Input::new("in")),
        bytes: Some(bytes::Bytes::from_static(b"secret-a secret-b secret-c")),
        base: crate::Position::default(),
    };
    let at = |n: u32| crate::RecordRef { start: n * 9, len: 8, ..crate::RecordRef::default() };
    let origin = crate::Origin::new([segment], (0..3).map(at).collect());
    let batch = TableBatch::new(table, schema, rows, origin).unwrap();
    let reject = |batch: &TableBatch| batch.reject(1, crate::Stage::Write, "code", "reason").raw;
    assert_eq!(reject(&batch), "secret-b");
    let masked = MaskColumn::new("host", Mask::Text("-".into())).apply(batch).unwrap();
    let raw = String::from_utf8(reject(&masked.batches[0]).to_vec()).unwrap();
    assert!(raw.contains("\"host\":\"-\"") && !raw.contains("secret"), "{raw}");
}

#[test]
fn merged_rows_are_told_apart_by_their_table_too() {
    let schema = |columns: Vec<Column>| Arc::new(Schema::new(columns).unwrap());
    let (x, y) =
        (Column::new("x", DataType::Int64).with_key(2, 2), Column::new("y", DataType::Int64).with_key(1, 2));
    let of = |columns: Vec<Column>| {
        let values = vec![Value::Int(1); columns.len()];
        let batch = TableBatch::from_rows("t", schema(columns), &[values]).unwrap();
        MergeTables::new("all", "source", "").apply(batch).unwrap().batches.remove(0)
    };
    let merged = of(vec![x.clone(), y, Column::new("v", DataType::Int64)]);
    assert_eq!(merged.schema().key(), ["y", "x", "source"]);
    // A part of a key is none.
    assert!(of(vec![x.clone()]).schema().key().is_empty());
    let emptied = TableBatch::empty("t", schema(vec![x])).unwrap().with_change(crate::Change::Truncate);
    let error = MergeTables::new("all", "source", "").apply(emptied).unwrap_err().to_string();
    assert!(error.contains("emptied"), "{error}");
}

#[test]
fn tables_are_merged_under_the_name_of_their_source() {
    let merged = one(&MergeTables::new("all", "source", "job:db."));
    assert_eq!((merged.table().name(), merged.rows()), ("all", 3));
    assert_eq!(merged.row(2).get("source").unwrap(), Value::Text("job:db.cpu".into()));
    let in_schema = batch().with_table(crate::TableId::with_schema("public", "cpu"));
    let merged = MergeTables::new("all", "source", "").apply(in_schema).unwrap();
    assert_eq!(merged.batches[0].row(0).get("source").unwrap(), Value::Text("public.cpu".into()));
    assert!(MergeTables::new("all", "host", "").apply(batch()).is_err());
}
