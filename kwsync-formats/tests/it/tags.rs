//! Tags as dictionaries: the same rows, a dictionary that only grows, and the way back to a plain column.

use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_array::{Array, StringArray};
use arrow_schema::DataType as Arrow;
use kwsync_core::{Decoder, TableBatch};
use kwsync_formats::influx::{LineDecoder, LineOptions, TagEncoding};
use proptest::prelude::*;

use crate::inputs;
use crate::output::{decode, options};

fn dictionary() -> LineOptions {
    options().with_tag_encoding(TagEncoding::Dictionary)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn same_rows(
        input in inputs::any_input(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        rows in 1usize..20,
    ) {
        let cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        let views = decode(&input, &[], options(), false);
        prop_assert_eq!(&decode(&input, &cuts, dictionary().with_batch_rows(rows), false), &views);
    }
}

fn values(batch: &TableBatch, tag: &str) -> Vec<String> {
    let column = batch.batch().column_by_name(tag).unwrap().as_dictionary::<UInt32Type>();
    let values: &StringArray = column.values().as_string();
    values.iter().map(|value| value.unwrap().to_owned()).collect()
}

fn one(decoder: &mut LineDecoder, input: &str) -> TableBatch {
    let mut rest = bytes::Bytes::copy_from_slice(input.as_bytes());
    rest = rest.slice(decoder.decode(&rest).unwrap()..);
    assert!(rest.is_empty());
    let mut decoded = decoder.flush().unwrap();
    for column in decoded.batches[0].batch().columns() {
        column.to_data().validate_full().unwrap();
    }
    decoded.batches.swap_remove(0)
}

#[test]
fn a_dictionary_is_extended_and_never_changed() {
    let mut decoder = LineDecoder::new(dictionary());
    let long = "a-value-too-long-for-a-view";
    let first = one(&mut decoder, &format!("m,t=b f=1 1\nm,t={long} f=1 1\nm,t=b f=2 2\nm f=2 2\n"));
    assert_eq!(values(&first, "t"), ["b", long]);
    assert!(first.batch().column(1).is_null(3));
    let again = one(&mut decoder, &format!("m,t={long} f=1 1\n"));
    assert_eq!(values(&again, "t"), ["b", long]);
    let data = |batch: &TableBatch| batch.batch().column(1).as_any_dictionary().values().to_data();
    assert!(data(&again).ptr_eq(&data(&first)), "nothing new, nothing copied");
    let more = one(&mut decoder, "m,t=a f=1 1\nm,t=x\\ y f=1 1\nm,t=b f=1 1\n");
    assert_eq!(values(&more, "t"), ["b", long, "a", "x y"]);
    assert_eq!(more.batch().column(1).as_dictionary::<UInt32Type>().keys().values(), &[2, 3, 0]);
}

/// A refused record must not leave bytes behind that are no text, though the dictionary outlives it.
#[test]
fn what_is_not_utf8_stays_out() {
    let mut input = b"m,t=a f=1 1\nm,t=a f=1 1\n".repeat(4);
    input.extend_from_slice(b"m,t=\xff f=1 1\nm,t=a-long-one-that-goes-wrong\xff f=1 1\nm,t=b f=1 1\n");
    let mut decoder = LineDecoder::new(dictionary());
    decoder.decode(&input.into()).unwrap();
    let decoded = decoder.flush().unwrap();
    assert_eq!(decoded.rejects.len(), 2);
    assert_eq!(values(&decoded.batches[0], "t"), ["a", "b"]);
}

#[test]
fn too_many_values_and_the_column_goes_plain() {
    let mut decoder = LineDecoder::new(dictionary().with_batch_rows(100_000));
    for (entries, len) in [(65_537, 1), (5_000, 1_000)] {
        decoder.decode(&format!("n{len},other=x f=1i 1\n").into()).unwrap();
        let mut text = String::new();
        for i in 0..entries {
            writeln!(text, "n{len},t={i:0len$},other=x f={i}i {i}").unwrap();
        }
        let batch = one(&mut decoder, &text);
        assert_eq!(batch.rows(), entries + 1);
        let column = batch.batch().column_by_name("t").unwrap();
        assert_eq!(column.data_type(), &Arrow::Utf8View);
        assert!(column.is_null(0));
        let column = column.as_string_view();
        assert!((0..entries).all(|i| column.value(i + 1).parse() == Ok(i)));
        assert_eq!(values(&batch, "other"), ["x"]);
        let batch = one(&mut decoder, &format!("n{len},t=7,other=y f=1i 1\n"));
        assert_eq!(batch.batch().column_by_name("t").unwrap().data_type(), &Arrow::Utf8View);
        assert_eq!(values(&batch, "other"), ["x", "y"]);
    }
}

#[test]
fn a_reset_forgets_rows_and_nulls() {
    for options in [options(), dictionary()] {
        let mut decoder = LineDecoder::new(options);
        decoder
            .decode(&"m,a=1 f=1 1\nm,b=2 f=\"a text that stays in its chunk\" 2\nm,a=3 g=1i\n".into())
            .unwrap();
        decoder.reset();
        assert_eq!(decoder.buffered_rows(), 0);
        let batch = one(&mut decoder, "m,b=3 g=2i 3\n");
        assert_eq!(batch.rows(), 1);
        assert_eq!(batch.row(0).get("b").unwrap().to_string(), "3");
        assert!(batch.row(0).get("a").unwrap().is_null());
    }
}
