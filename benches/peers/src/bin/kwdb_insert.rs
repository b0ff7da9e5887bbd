//! Rows as INSERT statements of literals for KWDB: a time, a tag, eight numbers; statements of 10,000 rows.
//! Arguments: rows (default 1000000), rounds (default 9).

use std::sync::Arc;

use kwsync_bench::Rng;
use kwsync_core::{Column, DataType, Schema, TableBatch, TimeUnit, Value};
use kwsync_formats::kwdb::{InsertColumn, InsertEncoder, InsertOptions, SeriesType};
use kwsync_peers::measure::{median, timed};

const STATEMENT_ROWS: usize = 10_000;

fn main() {
    let mut args = std::env::args().skip(1).map_while(|text| text.parse::<usize>().ok());
    let (rows, rounds) = (args.next().unwrap_or(1_000_000), args.next().unwrap_or(9).max(1));
    let mut columns = vec![
        Column::new("k_timestamp", DataType::TimestampTz(TimeUnit::Nanosecond)),
        Column::new("host", DataType::Text),
    ];
    let mut targets = vec![
        InsertColumn::new("k_timestamp", SeriesType::Timestamp(TimeUnit::Nanosecond, true))
            .with_not_null(true),
        InsertColumn::new("host", SeriesType::VarChar(64)).with_not_null(true),
    ];
    for index in 0..4 {
        columns.push(Column::new(format!("f{index}"), DataType::Float64));
        targets.push(InsertColumn::new(format!("f{index}"), SeriesType::Float8));
        columns.push(Column::new(format!("i{index}"), DataType::Int64));
        targets.push(InsertColumn::new(format!("i{index}"), SeriesType::Int8));
    }
    let schema = Arc::new(Schema::new(columns).expect("schema"));
    let mut rng = Rng::new(7);
    let made: Vec<Vec<Value<'static>>> = (0..STATEMENT_ROWS)
        .map(|row| {
            let time = 1_700_000_000_000_000_000 + row as i64 * 1_000_000_000;
            let mut values = vec![
                Value::Timestamp(time, TimeUnit::Nanosecond, true),
                Value::Text(format!("host_{}", row % 1000).into()),
            ];
            for _ in 0..4 {
                values.push(Value::Float64(rng.below(10_000) as f64 / 100.0));
                values.push(Value::Int(rng.below(100_000) as i64));
            }
            values
        })
        .collect();
    let batch = TableBatch::from_rows("cpu", Arc::clone(&schema), &made).expect("batch");
    let mut encoder =
        InsertEncoder::try_new("\"cpu\"", &schema, &targets, InsertOptions::new()).expect("encoder");
    let (mut times, mut bytes, mut sql) = (Vec::new(), 0, Vec::new());
    let statements = rows.div_ceil(STATEMENT_ROWS);
    for _ in 0..rounds {
        let (time, ()) = timed(|| {
            bytes = 0;
            for _ in 0..statements {
                sql.clear();
                encoder.begin(&mut sql);
                let faults = encoder.encode(&batch, 0..STATEMENT_ROWS, &mut sql).expect("rows");
                assert!(faults.is_empty());
                bytes += sql.len();
            }
        });
        times.push(time);
    }
    let (seconds, rows) = (median(times), (statements * STATEMENT_ROWS) as f64);
    println!(
        "{:.2} M rows/s, {:.2} GB/s of SQL, {:.0} B a row",
        rows / 1e6 / seconds,
        bytes as f64 / 1e9 / seconds,
        bytes as f64 / rows
    );
}
