use std::sync::Arc;

use kwsync_core::{Column, DataType, JobId, Lane, Schema, Sink, TableBatch, Value, Writer};

use super::*;

#[tokio::test]
async fn counts_rows_of_each_table() {
    let schema = Arc::new(Schema::new(vec![Column::new("n", DataType::Int64)]).unwrap());
    let lane = Lane { job: JobId::new("j"), index: 0, generation: 1 };
    let mut writer = DiscardSink::new().open(&lane).await.unwrap();
    for (table, rows) in [("a", 2), ("b", 1), ("a", 3)] {
        let rows = vec![vec![Value::Int(1)]; rows];
        let batch = TableBatch::from_rows(table, Arc::clone(&schema), &rows).unwrap();
        assert_eq!(writer.write(&batch).await.unwrap().total().rows(), 0);
    }
    let settled = writer.flush().await.unwrap();
    assert_eq!(settled.tables[&"a".into()].written, 5);
    assert_eq!(settled.tables[&"b".into()].written, 1);
    assert_eq!(writer.close().await.unwrap().total().rows(), 0);
}
