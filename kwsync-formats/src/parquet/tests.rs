use std::io::Write;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringDictionaryBuilder};
use arrow_array::types::{Int32Type, IntervalMonthDayNanoType};
use arrow_array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
    FixedSizeBinaryArray, Float32Array, Float64Array, Int8Array, Int64Array, IntervalMonthDayNanoArray,
    RecordBatch, StringArray, StringViewArray, Time64NanosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use arrow_schema::{DataType, TimeUnit};
use kwsync_core::ErrorKind;

use super::*;

fn written(batch: &RecordBatch, options: &WriteOptions) -> Vec<u8> {
    let mut writer = BatchWriter::try_new(Vec::new(), &batch.schema(), options).unwrap();
    writer.write(batch).unwrap();
    assert_eq!(writer.rows(), batch.num_rows() as u64);
    writer.finish().unwrap()
}

fn read(file: Vec<u8>, options: &ReadOptions) -> Vec<RecordBatch> {
    BatchReader::from_bytes(file.into(), options).unwrap().map(Result::unwrap).collect()
}

type Result<T> = kwsync_core::Result<T>;

fn column(array: impl arrow_array::Array + 'static) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("c", Arc::new(array) as ArrayRef, true)]).unwrap()
}

#[test]
fn every_type_comes_back() {
    let mut list = ListBuilder::new(arrow_array::builder::Int64Builder::new());
    list.append_value([Some(1), None]);
    list.append_null();
    let mut dictionary = StringDictionaryBuilder::<Int32Type>::new();
    dictionary.extend([Some("b"), None, Some("a")]);
    for batch in [
        column(BooleanArray::from(vec![Some(true), None])),
        column(Int8Array::from(vec![i8::MIN, i8::MAX])),
        column(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)])),
        column(UInt64Array::from(vec![u64::MAX, 0])),
        column(Float32Array::from(vec![0.1, f32::MIN_POSITIVE])),
        column(Float64Array::from(vec![-0.0, 1e300, f64::INFINITY])),
        column(Decimal128Array::from(vec![-5, 7]).with_precision_and_scale(38, 2).unwrap()),
        column(
            Decimal256Array::from(vec![arrow_buffer::i256::MINUS_ONE])
                .with_precision_and_scale(76, 10)
                .unwrap(),
        ),
        column(StringViewArray::from(vec![Some("é"), None, Some("a longer text than twelve bytes")])),
        column(BinaryViewArray::from(vec![&b"\x00\xff"[..], b""])),
        column(FixedSizeBinaryArray::try_from_iter([[7u8; 16]].into_iter()).unwrap()),
        column(Date32Array::from(vec![i32::MIN, 0, i32::MAX])),
        column(Time64NanosecondArray::from(vec![86_399_999_999_999])),
        column(TimestampMillisecondArray::from(vec![i64::MIN, -1, i64::MAX])),
        column(TimestampNanosecondArray::from(vec![i64::MIN, 1, i64::MAX]).with_timezone("UTC")),
        column(dictionary.finish()),
        column(list.finish()),
    ] {
        for compression in [Compression::None, Compression::Snappy, Compression::Gzip, Compression::Zstd] {
            let file = written(&batch, &WriteOptions::new().with_compression(compression));
            assert_eq!(
                read(file, &ReadOptions::new()),
                *std::slice::from_ref(&batch),
                "{:?} {compression:?}",
                batch.schema()
            );
        }
    }
}

#[test]
fn seconds_become_milliseconds_and_intervals_text() {
    let batch = column(TimestampSecondArray::from(vec![Some(-1), None]).with_timezone("UTC"));
    let back = &read(written(&batch, &WriteOptions::new()), &ReadOptions::new())[0];
    assert_eq!(
        **back.column(0),
        *(&TimestampMillisecondArray::from(vec![Some(-1_000), None]).with_timezone("UTC")
            as &dyn arrow_array::Array)
    );
    assert_eq!(
        *back.schema().field(0).data_type(),
        DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
    );

    let batch = column(TimestampSecondArray::from(vec![i64::MAX]));
    let mut writer = BatchWriter::try_new(Vec::new(), &batch.schema(), &WriteOptions::new()).unwrap();
    let error = writer.write(&batch).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Data, Some("out_of_range")));
    assert_eq!(writer.rows(), 0);

    let batch = column(IntervalMonthDayNanoArray::from(vec![
        Some(IntervalMonthDayNanoType::make_value(1, 2, 3)),
        None,
    ]));
    let back = &read(written(&batch, &WriteOptions::new()), &ReadOptions::new())[0];
    assert_eq!(
        **back.column(0),
        *(&StringViewArray::from(vec![Some("P1M2DT0.000000003S"), None]) as &dyn arrow_array::Array)
    );
}

#[test]
fn encodings_may_change_from_batch_to_batch() {
    let mut dictionary = StringDictionaryBuilder::<Int32Type>::new();
    dictionary.extend([Some("c"), None]);
    let first = column(StringViewArray::from(vec!["a"]));
    let mut writer = BatchWriter::try_new(Vec::new(), &first.schema(), &WriteOptions::new()).unwrap();
    for batch in [first, column(StringArray::from(vec!["b"])), column(dictionary.finish())] {
        writer.write(&batch).unwrap();
    }
    let back = read(writer.finish().unwrap(), &ReadOptions::new());
    assert_eq!(back, [column(StringViewArray::from(vec![Some("a"), Some("b"), Some("c"), None]))]);
}

#[test]
fn parts_of_a_file() {
    let batch = RecordBatch::try_from_iter([
        ("a", Arc::new(Int64Array::from_iter_values(0..1_000)) as ArrayRef),
        ("b", Arc::new(Int64Array::from_iter_values(1_000..2_000)) as ArrayRef),
    ])
    .unwrap();
    let file = written(&batch, &WriteOptions::new().with_row_group_rows(300));
    let on_disk = tempfile::tempfile().unwrap();
    (&on_disk).write_all(&file).unwrap();
    let groups = BatchReader::row_groups(on_disk.try_clone().unwrap()).unwrap();
    assert_eq!(groups.iter().map(|group| group.rows).collect::<Vec<_>>(), [300, 300, 300, 100]);
    assert!(groups.iter().all(|group| group.bytes > 0));
    let options =
        ReadOptions::new().with_row_groups(1..3).with_skip_rows(250).with_batch_rows(200).with_columns(["b"]);
    let rows: Vec<_> = BatchReader::from_file(on_disk, &options).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [200, 150]);
    let first =
        arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Int64Type>(rows[0].column(0)).value(0);
    assert_eq!(first, 1_000 + 300 + 250);

    let fault = |options: ReadOptions| BatchReader::from_bytes(file.clone().into(), &options).unwrap_err();
    assert!(fault(ReadOptions::new().with_columns(["c"])).hint().unwrap().contains("a, b"));
    assert_eq!(fault(ReadOptions::new().with_row_groups(3..5)).kind(), ErrorKind::Config);
}

#[test]
fn by_ranges() {
    let options = WriteOptions::new().with_row_group_rows(300);
    let batch = column(Int64Array::from_iter_values(0..1_000));
    let mut writer = BatchWriter::try_new(Vec::new(), &batch.schema(), &options).unwrap();
    writer.write(&batch).unwrap();
    let file = bytes::Bytes::from(writer.finish().unwrap());
    let first_asked = Arc::new(std::sync::Mutex::new(u64::MAX));
    for (skip, rows) in [(0, 1_000), (299, 701), (300, 700), (650, 350), (1_000, 0)] {
        *first_asked.lock().unwrap() = u64::MAX;
        let (whole, asked) = (file.clone(), Arc::clone(&first_asked));
        let read = move |range: std::ops::Range<u64>| {
            let mut least = asked.lock().unwrap();
            *least = range.start.min(*least);
            Ok(whole.slice(range.start as usize..range.end as usize))
        };
        let options = ReadOptions::new().with_skip_rows(skip);
        let reader = BatchReader::from_ranges(file.len() as u64, read, &options).unwrap();
        let read: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(read, rows, "behind {skip}");
        // What lies before is not even fetched.
        assert_eq!(*first_asked.lock().unwrap() < 100, skip < 300, "behind {skip}");
    }
    let lost = |_: std::ops::Range<u64>| Err(std::io::ErrorKind::ConnectionReset.into());
    let error = BatchReader::from_ranges(file.len() as u64, lost, &ReadOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[test]
fn what_is_no_parquet_file() {
    for bytes in [&b""[..], b"PAR1", b"cpu usage=1\n", &[0; 100]] {
        let error = BatchReader::from_bytes(bytes.to_vec().into(), &ReadOptions::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains("cannot be read as Parquet"), "{error}");
    }
}

#[test]
fn other_columns_are_refused_before_anything_is_written() {
    let batch = column(Int64Array::from(vec![1]));
    let mut writer = BatchWriter::try_new(Vec::new(), &batch.schema(), &WriteOptions::new()).unwrap();
    let two =
        RecordBatch::try_from_iter([("a", Arc::clone(batch.column(0))), ("b", Arc::clone(batch.column(0)))])
            .unwrap();
    assert_eq!(writer.write(&two).unwrap_err().kind(), ErrorKind::Schema);
    writer.write(&batch).unwrap();
    assert_eq!(read(writer.finish().unwrap(), &ReadOptions::new()), [batch]);
}

/// An output that is full after some bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_named() {
    let batch = column(Int64Array::from_iter_values(0..100_000));
    let options = WriteOptions::new().with_compression(Compression::None).with_row_group_rows(10_000);
    let mut writer = BatchWriter::try_new(Full(50_000), &batch.schema(), &options).unwrap();
    let result = writer.write(&batch).and_then(|()| writer.finish().map(drop));
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
    assert!(error.hint().is_some());
}
