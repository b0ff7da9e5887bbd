use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array};
use kwsync_core::system::iotdb::{Path, SeriesType};
use kwsync_core::{Column, DataType, Role, Schema, TableBatch, TableId, TimeUnit, Value};

use super::config::database_of;
use super::device::{Naming, Template};
use super::values::{Times, encode};

const MS: Times = Times { unit: TimeUnit::Millisecond, truncate: false };

fn schema() -> Arc<Schema> {
    let columns = vec![
        Column::new("time", DataType::TimestampTz(TimeUnit::Millisecond)).with_role(Role::Timestamp),
        Column::new("host", DataType::Text).with_role(Role::Tag),
        Column::new("rack", DataType::Int32).with_role(Role::Tag),
        Column::new("v", DataType::Float64),
    ];
    Arc::new(Schema::new(columns).unwrap())
}

#[test]
fn rows_find_their_device() {
    let row = |host: Value<'static>, rack| {
        vec![Value::Timestamp(1, TimeUnit::Millisecond, true), host, rack, Value::Float64(1.0)]
    };
    let rows = [
        row(Value::Text("a.b c".into()), Value::Int(7)),
        row(Value::Null, Value::Null),
        row(Value::Text("__null__".into()), Value::Int(1)),
        row(Value::Text("".into()), Value::Int(1)),
    ];
    let table = TableId::from("cpu 1");
    let batch = TableBatch::from_rows(table.clone(), schema(), &rows).unwrap();
    let database: Path = "root.plant".parse().unwrap();
    let device = |template: &str, row: usize| {
        let template: Template = template.parse().unwrap();
        let naming =
            Naming::of(&table, batch.schema(), &template, "device").map_err(|error| error.report())?;
        naming
            .device(Some(&database), &batch, row)
            .map(|path| path.to_string())
            .map_err(|error| error.report())
    };
    assert_eq!(device("{table}.{tags}", 0).unwrap(), "root.plant.`cpu 1`.`a.b c`.`7`");
    assert_eq!(device("{table}.{tags}", 1).unwrap(), "root.plant.`cpu 1`.__null__.__null__");
    assert_eq!(device("{rack}.x_{host}", 0).unwrap(), "root.plant.`7`.`x_a.b c`");
    assert_eq!(device("{host}.{tags}", 0).unwrap(), "root.plant.`a.b c`.`7`");
    assert!(device("{table}.{tags}", 2).unwrap_err().contains("stands for none"));
    assert!(device("{table}.time.{tags}", 0).unwrap_err().contains("no path with a node called \"time\""));
    assert!(device("{table}.{tags}", 3).unwrap_err().contains("cannot be empty"));
    assert!(device("{table}.{host}", 0).unwrap_err().contains("leaves out the tag \"rack\""));
    assert!(device("{tags}.{hots}", 0).unwrap_err().contains("asks for a tag"));
    for wrong in ["{table", "a..b", "", "x{tags}", "{}"] {
        assert!(wrong.parse::<Template>().is_err(), "{wrong}");
    }
}

#[test]
fn rows_of_iotdb_keep_their_path() {
    let columns = vec![
        Column::new("time", DataType::TimestampTz(TimeUnit::Millisecond)).with_role(Role::Timestamp),
        Column::new("device", DataType::Text).with_role(Role::PrimaryTag),
        Column::new("v", DataType::Float64),
    ];
    let schema = Arc::new(Schema::new(columns).unwrap());
    let row = |device: &'static str| {
        vec![Value::Timestamp(1, TimeUnit::Millisecond, true), Value::Text(device.into()), Value::Null]
    };
    let batch =
        TableBatch::from_rows("ln.a", schema, &[row("root.ln.a.`x y`.d"), row("root.other.d"), row("d1")])
            .unwrap();
    let naming = Naming::of(batch.table(), batch.schema(), &Template::default(), "device").unwrap();
    let device = |database: Option<&str>, row: usize| {
        let database = database.map(|text| database_of(text).unwrap());
        naming.device(database.as_ref(), &batch, row).map(|path| path.to_string())
    };
    assert_eq!(device(None, 0).unwrap(), "root.ln.a.`x y`.d");
    assert_eq!(device(Some("copy"), 0).unwrap(), "root.copy.`x y`.d");
    assert_eq!(device(Some("root.copy.b"), 1).unwrap(), "root.copy.b.other.d");
    assert_eq!(device(None, 2).unwrap_err().code(), Some("no_device"));
    assert!(database_of("root").is_err());
}

#[test]
fn values_are_exact_or_refused() {
    let faults_of = |array: ArrayRef, from: DataType, to: SeriesType| {
        let mut faults = Vec::new();
        let rows: Vec<usize> = (0..array.len()).collect();
        let encoded = encode(&array, &from, &rows, to, MS, &mut faults);
        (encoded.bytes, faults.into_iter().map(|(at, _)| at).collect::<Vec<_>>())
    };
    let whole: ArrayRef = Arc::new(Int64Array::from(vec![1, i64::from(i32::MAX) + 1, (1 << 53) + 1]));
    assert_eq!(faults_of(Arc::clone(&whole), DataType::Int64, SeriesType::Int32).1, [1, 2]);
    assert_eq!(faults_of(Arc::clone(&whole), DataType::Int64, SeriesType::Double).1, [2]);
    assert_eq!(faults_of(Arc::clone(&whole), DataType::Int64, SeriesType::Boolean).1, [0, 1, 2]);
    assert_eq!(faults_of(Arc::clone(&whole), DataType::Int64, SeriesType::Int64).0.len(), 24);
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.5, 0.1, f64::NAN, f64::INFINITY]));
    assert_eq!(faults_of(Arc::clone(&floats), DataType::Float64, SeriesType::Float).1, [1]);
    assert_eq!(faults_of(floats, DataType::Float64, SeriesType::Int64).1, [0, 1, 2, 3]);
    assert_eq!(MS.exact(1_000_001, TimeUnit::Microsecond).unwrap_err().0, "timestamp_too_fine");
    let cut = Times { truncate: true, ..MS };
    assert_eq!(cut.exact(-1_000_001, TimeUnit::Microsecond).unwrap(), (-1001, true));
    assert_eq!(MS.exact(5, TimeUnit::Second).unwrap(), (5_000, false));
    assert_eq!(MS.exact(i64::MAX, TimeUnit::Second).unwrap_err().0, "timestamp_out_of_range");
}
