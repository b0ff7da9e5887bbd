use arrow_array::Array;

use super::block;
use super::*;
use crate::data::Value;
use crate::{DataType, ErrorKind, TimeUnit};

#[test]
fn paths_are_read_and_written_back() {
    for (text, nodes, back) in [
        ("root", vec!["root"], "root"),
        ("root.ln.wf01.wt01", vec!["root", "ln", "wf01", "wt01"], "root.ln.wf01.wt01"),
        ("root.`a.b`.`c``d`", vec!["root", "a.b", "c`d"], "root.`a.b`.`c``d`"),
        ("root.1TS.`1`.时间", vec!["root", "1TS", "1", "时间"], "root.`1TS`.`1`.`时间`"),
        ("root.`a@b`.`time`.`x y`", vec!["root", "a@b", "time", "x y"], "root.`a@b`.`time`.`x y`"),
    ] {
        let path: Path = text.parse().unwrap();
        assert_eq!(path.nodes(), nodes, "{text}");
        // Han characters are plain to the server.
        assert_eq!(path.to_string(), back.replace("`时间`", "时间"), "{text}");
        assert_eq!(path.to_string().parse::<Path>().unwrap(), path);
    }
    for text in ["", "root.", "root..a", "root.`a", "root.`a`b", "root.``", "root.a\nb"] {
        assert_eq!(text.parse::<Path>().unwrap_err().kind(), ErrorKind::Config, "{text:?}");
    }
    let device: Path = "root.plant.line.m1".parse().unwrap();
    assert_eq!(device.behind(&"root.plant".parse().unwrap()).unwrap(), ["line", "m1"]);
    assert_eq!(device.behind(&"root.pla".parse().unwrap()), None);
    assert_eq!(device.without_root(), "plant.line.m1");
}

#[test]
fn types_keep_what_they_hold() {
    for code in [0, 1, 2, 3, 4, 5, 8, 9, 10, 11] {
        let series = SeriesType::from_code(code).unwrap();
        assert_eq!((series.code(), SeriesType::from_name(series.name())), (code, Some(series)));
        // There and back is the same type, at a server that has it.
        assert_eq!(SeriesType::of(&series.data_type(TimeUnit::Microsecond), true), Some(series));
    }
    assert_eq!(SeriesType::from_code(6), None);
    assert_eq!(SeriesType::of(&DataType::VarChar(Some(3)), false), Some(SeriesType::Text));
    assert_eq!(SeriesType::of(&DataType::Bytes, false), None);
    assert_eq!(SeriesType::of(&DataType::Numeric(None), true), Some(SeriesType::Text));
}

/// A block of three rows as the Java server writes it: DOUBLE with a null, BOOLEAN, TEXT repeated, DATE.
#[test]
fn blocks_are_read() {
    let mut bytes = Vec::new();
    bytes.extend(4_i32.to_be_bytes());
    bytes.extend([4, 0, 5, 9]);
    bytes.extend(3_i32.to_be_bytes());
    bytes.extend([2, 2, 0, 4, 1]);
    bytes.push(0);
    for time in [1_i64, 2, 3] {
        bytes.extend(time.to_be_bytes());
    }
    bytes.extend([1, 0b0100_0000]);
    for value in [1.5_f64, -2.0] {
        bytes.extend(value.to_be_bytes());
    }
    bytes.extend([0, 0b1010_0000]);
    bytes.extend([3, 0]);
    bytes.extend(2_i32.to_be_bytes());
    bytes.extend(b"ab");
    bytes.push(0);
    for date in [20_240_229_i32, 19_700_101, 19_691_231] {
        bytes.extend(date.to_be_bytes());
    }
    let found = block::read(&bytes, &[], TimeUnit::Millisecond).unwrap();
    assert_eq!(found.times.values(), &[1, 2, 3]);
    let column = |at: usize| -> Vec<String> {
        let column = &found.columns[at];
        (0..column.len()).map(|row| format!("{:?}", Value::of(column.as_ref(), row).unwrap())).collect()
    };
    assert_eq!(column(0), ["Float64(1.5)", "Null", "Float64(-2.0)"]);
    assert_eq!(column(1), ["Bool(true)", "Bool(false)", "Bool(true)"]);
    assert_eq!(column(2), [r#"Text("ab")"#; 3]);
    assert_eq!(column(3), ["Date(19782)", "Date(0)", "Date(-1)"]);
    // Cut off anywhere, it is an error and no panic.
    for end in 0..bytes.len() {
        assert_eq!(
            block::read(&bytes[..end], &[], TimeUnit::Millisecond).unwrap_err().kind(),
            ErrorKind::Protocol
        );
    }
}

#[test]
fn dates_go_there_and_back() {
    for (days, number) in [
        (0, 19_700_101),
        (-1, 19_691_231),
        (19_782, 20_240_229),
        (11_016, 20_000_229),
        (-354_285, 10_000_101),
    ] {
        assert_eq!(date_number(days), Some(number));
    }
    assert_eq!(date_number(-354_286), None);
    assert_eq!(date_number(2_932_897), None);
    assert_eq!(date_number(2_932_896), Some(99_991_231));
}

#[test]
fn nulls_are_marked_from_the_lowest_bit() {
    let mut tablet = Tablet::new("root.a.b");
    tablet.set_times(&[1; 9]);
    tablet.set_nulls(&[None, None]);
    assert!(tablet.values.is_empty());
    let mut marks = vec![false; 9];
    (marks[0], marks[8]) = (true, true);
    tablet.set_nulls(&[None, Some(marks)]);
    assert_eq!(tablet.values, [0, 1, 1, 1]);
}

#[test]
fn a_comment_says_where_devices_come_from() {
    let database: Path = "root.`a b`".parse().unwrap();
    for aligned in [false, true] {
        let comment = device_comment(&database, aligned);
        assert_eq!(of_device_comment(&comment), Some((database.clone(), aligned)));
    }
    assert_eq!(of_device_comment("a device"), None);
}
