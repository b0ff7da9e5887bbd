//! Decoders as readers.

use arrow_array::RecordBatchReader;
use kwsync_formats::adapt::ReadDecoder;
use kwsync_formats::influx::{LineDecoder, LineOptions};

fn reader(text: &'static str) -> ReadDecoder<&'static [u8], LineDecoder> {
    ReadDecoder::new(text.as_bytes(), LineDecoder::new(LineOptions::default().with_batch_rows(1)))
}

#[test]
fn one_table_as_a_reader() {
    let two = "cpu u=1i 1\nmem f=1i 1\ncpu v=2i 2\n";
    // A column that turns up later has no place in a schema that is fixed.
    let mut cpu = reader(two).into_table("cpu").unwrap();
    assert_eq!(cpu.schema().fields().len(), 2);
    assert_eq!(cpu.next().unwrap().unwrap().num_rows(), 1);
    assert!(cpu.next().unwrap().unwrap_err().to_string().contains("\"v\" turns up"));
    let mut only = reader(two).into_only_table().unwrap();
    only.next().unwrap().unwrap();
    assert!(only.next().unwrap().unwrap_err().to_string().contains("besides table cpu there is mem"));
    assert!(reader("cpu u=1i 1\n").into_table("mem").is_err());
    let mut bad = reader("cpu u=1i 1\noops\n").into_only_table().unwrap();
    bad.next().unwrap().unwrap();
    assert!(bad.next().unwrap().is_err());
}
