//! Numbers against the standard library.

use kwsync_formats::influx::number::{Number, NumberError, parse};
use proptest::prelude::*;

fn float(text: &str) -> Result<f64, NumberError> {
    match parse(text.as_bytes()) {
        Ok(Number::F64(v)) => Ok(v),
        Ok(other) => panic!("{text} is {other:?}"),
        Err(error) => Err(error),
    }
}

#[test]
fn grammar() {
    for text in [
        "1",
        "-1",
        "1.",
        ".5",
        "-.5",
        "1.e5",
        "1E+3",
        "1e-3",
        "007",
        "-0",
        "0.0",
        "1e-400",
        "123456789012345678901234567890",
    ] {
        let expected: f64 = text.parse().unwrap();
        assert_eq!(float(text).map(f64::to_bits), Ok(expected.to_bits()), "{text}");
    }
    for text in
        ["", "-", ".", "-.", "+1", "1e", "1e+", ".e5", "1_0", "0x10", "NaN", "inf", "1.2.3", "--1", "1 "]
    {
        assert_eq!(float(text), Err(NumberError::BadFloat), "{text:?}");
    }
    for text in ["1e400", "-1e400", "1.8e308"] {
        assert_eq!(float(text), Err(NumberError::FloatOverflow), "{text:?}");
    }
    for text in ["1.5i", "1.i", "1e3i", "-1u", "-0u", "1i2", "1ii", "1iu"] {
        assert_eq!(parse(text.as_bytes()), Err(NumberError::BadInteger), "{text:?}");
    }
    for text in
        ["9223372036854775808i", "-9223372036854775809i", "18446744073709551616u", "99999999999999999999999i"]
    {
        assert_eq!(parse(text.as_bytes()), Err(NumberError::IntegerOverflow), "{text:?}");
    }
    assert_eq!(parse(b"00000000000000000000000000000000042i"), Ok(Number::I64(42)));
    assert_eq!(parse(b"-9223372036854775808i"), Ok(Number::I64(i64::MIN)));
    assert_eq!(parse(b"18446744073709551615u"), Ok(Number::U64(u64::MAX)));
}

/// Digits, a point and digits: every path (exact division, 128-bit product, standard library).
fn agrees(text: &str) -> Result<(), TestCaseError> {
    let expected: f64 = text.parse().unwrap();
    prop_assert_eq!(float(text).map(f64::to_bits), Ok(expected.to_bits()), "{}", text);
    Ok(())
}

/// Decimals at and beside the middle between two floats, where rounding is decided.
#[test]
fn halfway() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..50_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Above 2^53 only every second integer is a float: odd ones are halfway.
        let odd = ((1 << 53) + (state >> 12)) | 1;
        for text in
            [format!("{odd}"), format!("{odd}.0"), format!("{}.5", odd >> 1), format!("{}.25", odd >> 2)]
        {
            agrees(&text).unwrap();
        }
        let value = f64::from_bits((state >> 12) | 0x3ff0_0000_0000_0000);
        agrees(&format!("{value}")).unwrap();
        agrees(&format!("{value:.18}")).unwrap();
        agrees(&format!("{:.15}", value * 1000.0)).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decimals(text in "-?[0-9]{1,20}\\.[0-9]{0,20}") {
        agrees(&text)?;
    }

    #[test]
    fn shortest(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
        prop_assert_eq!(float(&format!("{value:e}")).map(f64::to_bits), Ok(value.to_bits()));
        prop_assert_eq!(float(&format!("{value}")).map(f64::to_bits), Ok(value.to_bits()));
    }

    #[test]
    fn integers(value in any::<i64>(), unsigned in any::<u64>(), short in -1000i64..1000) {
        prop_assert_eq!(parse(format!("{value}i").as_bytes()), Ok(Number::I64(value)));
        prop_assert_eq!(parse(format!("{short}i").as_bytes()), Ok(Number::I64(short)));
        prop_assert_eq!(parse(format!("{unsigned}u").as_bytes()), Ok(Number::U64(unsigned)));
    }
}
