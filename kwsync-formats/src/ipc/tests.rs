use std::io::{Cursor, Write};
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder, StringDictionaryBuilder};
use arrow_array::types::{Int32Type, IntervalMonthDayNanoType};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Decimal256Array,
    FixedSizeBinaryArray, Float64Array, Int8Array, Int64Array, IntervalMonthDayNanoArray, RecordBatch,
    StringArray, StringViewArray, Time32SecondArray, Time64NanosecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt64Array,
};
use kwsync_core::ErrorKind;

use super::*;

fn written(batches: &[RecordBatch], options: &WriteOptions) -> Vec<u8> {
    let mut writer = BatchWriter::try_new(Vec::new(), &batches[0].schema(), options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    assert_eq!(writer.rows(), batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>());
    let before = writer.bytes();
    let bytes = writer.finish().unwrap();
    assert!(before > 0 && before < bytes.len() as u64);
    bytes
}

fn read(bytes: &[u8], options: &ReadOptions) -> kwsync_core::Result<Vec<RecordBatch>> {
    BatchReader::try_new(Cursor::new(bytes), options)?.collect()
}

fn column(array: impl Array + 'static) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("c", Arc::new(array) as ArrayRef, true)]).unwrap()
}

fn layouts() -> impl Iterator<Item = WriteOptions> {
    [Layout::File, Layout::Stream].into_iter().flat_map(|layout| {
        [Compression::None, Compression::Lz4, Compression::Zstd]
            .map(|compression| WriteOptions::new().with_layout(layout).with_compression(compression))
    })
}

#[test]
fn every_type_comes_back() {
    let mut list = ListBuilder::new(StringBuilder::new());
    list.append_value([Some("a"), None]);
    list.append_null();
    for batch in [
        column(BooleanArray::from(vec![Some(true), None])),
        column(Int8Array::from(vec![i8::MIN, i8::MAX])),
        column(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)])),
        column(UInt64Array::from(vec![u64::MAX, 0])),
        column(Float64Array::from(vec![-0.0, 1e300, f64::INFINITY])),
        column(
            Decimal256Array::from(vec![arrow_buffer::i256::MINUS_ONE])
                .with_precision_and_scale(76, 10)
                .unwrap(),
        ),
        column(StringArray::from(vec![Some("é"), None, Some("a longer text than twelve bytes")])),
        column(BinaryArray::from(vec![&b"\x00\xff"[..], b""])),
        column(FixedSizeBinaryArray::try_from_iter([[7u8; 16]].into_iter()).unwrap()),
        column(Date32Array::from(vec![i32::MIN, 0, i32::MAX])),
        column(Time32SecondArray::from(vec![86_399])),
        column(Time64NanosecondArray::from(vec![86_399_999_999_999])),
        column(TimestampSecondArray::from(vec![i64::MIN, -1, i64::MAX])),
        column(TimestampNanosecondArray::from(vec![i64::MIN, 1, i64::MAX]).with_timezone("UTC")),
        column(IntervalMonthDayNanoArray::from(vec![
            Some(IntervalMonthDayNanoType::make_value(1, 2, 3)),
            None,
        ])),
        column(list.finish()),
    ] {
        for options in layouts() {
            let bytes = written(std::slice::from_ref(&batch), &options);
            assert_eq!(
                read(&bytes, &ReadOptions::new()).unwrap(),
                *std::slice::from_ref(&batch),
                "{options:?}"
            );
        }
    }
}

#[test]
fn text_is_plain_whatever_it_was() {
    let mut dictionary = StringDictionaryBuilder::<Int32Type>::new();
    dictionary.extend([Some("d"), None]);
    let first = column(StringViewArray::from(vec!["a", "a text of more than twelve bytes"])).slice(1, 1);
    for options in layouts() {
        let mut writer = BatchWriter::try_new(Vec::new(), &first.schema(), &options).unwrap();
        let batches =
            [first.clone(), column(StringArray::from(vec!["b"])), column(dictionary.finish_cloned())];
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        // Without rows there is nothing to write.
        writer.write(&first.slice(0, 0)).unwrap();
        let back = read(&writer.finish().unwrap(), &ReadOptions::new()).unwrap();
        let expected: Vec<_> =
            [vec![Some("a text of more than twelve bytes")], vec![Some("b")], vec![Some("d"), None]]
                .into_iter()
                .map(|texts| column(StringArray::from(texts)))
                .collect();
        assert_eq!(back, expected);
    }
    let bytes = written(&[column(BinaryViewArray::from(vec![&b"\xff"[..]]))], &WriteOptions::new());
    assert_eq!(read(&bytes, &ReadOptions::new()).unwrap(), [column(BinaryArray::from(vec![&b"\xff"[..]]))]);
}

#[test]
fn parts_of_a_file() {
    let batches: Vec<_> = (0..5).map(|n| column(Int64Array::from_iter_values(n * 10..n * 10 + 10))).collect();
    for options in layouts() {
        let bytes = written(&batches, &options);
        for range in [0..5, 1..3, 4..5, 2..2] {
            let some = ReadOptions::new().with_batches(range.clone());
            assert_eq!(read(&bytes, &some).unwrap(), batches[range], "{options:?}");
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let known = (options.layout == Layout::File).then_some(5);
        assert_eq!(BatchReader::count(file).unwrap(), known);
        let stream = BatchReader::from_stream(&bytes[..], &ReadOptions::new());
        assert_eq!(stream.is_ok(), options.layout == Layout::Stream);
    }
    let too_many = ReadOptions::new().with_batches(3..6);
    assert_eq!(
        read(&written(&batches, &WriteOptions::new()), &too_many).unwrap_err().kind(),
        ErrorKind::Config
    );
}

#[test]
fn what_is_not_arrow_or_not_whole() {
    for bytes in [&b""[..], b"ARROW1", b"ARROW1\0\0", b"cpu usage=1\n", &[0; 3], &[0xff; 100]] {
        let error = read(bytes, &ReadOptions::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{bytes:?}: {error}");
        assert!(error.to_string().contains("cannot be read as Arrow"), "{error}");
    }
    let batches =
        [column(Int64Array::from_iter_values(0..1_000)), column(Int64Array::from_iter_values(0..1_000))];
    let file = written(&batches, &WriteOptions::new());
    assert_eq!(read(&file[..file.len() - 1], &ReadOptions::new()).unwrap_err().kind(), ErrorKind::Data);
    // A stream that breaks off within a batch gives the batches before, and then the fault.
    let stream = written(&batches, &WriteOptions::new().with_layout(Layout::Stream));
    let cut = &stream[..stream.len() - 100];
    let mut reader = BatchReader::from_stream(cut, &ReadOptions::new()).unwrap();
    assert_eq!(reader.next().unwrap().unwrap(), batches[0]);
    assert_eq!(reader.next().unwrap().unwrap_err().kind(), ErrorKind::Data);
}

#[test]
fn other_columns_are_refused_before_anything_is_written() {
    let batch = column(Int64Array::from(vec![1]));
    let mut writer = BatchWriter::try_new(Vec::new(), &batch.schema(), &WriteOptions::new()).unwrap();
    let two =
        RecordBatch::try_from_iter([("a", Arc::clone(batch.column(0))), ("b", Arc::clone(batch.column(0)))])
            .unwrap();
    for other in [two, column(StringArray::from(vec!["1"]))] {
        assert_eq!(writer.write(&other).unwrap_err().kind(), ErrorKind::Schema);
    }
    writer.write(&batch).unwrap();
    assert_eq!(read(&writer.finish().unwrap(), &ReadOptions::new()).unwrap(), [batch]);
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
    for options in layouts() {
        let mut writer = BatchWriter::try_new(Full(10_000), &batch.schema(), &options).unwrap();
        let result = writer.write(&batch).and_then(|()| writer.finish().map(drop));
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
    }
}
