//! Answers of `/api/query`.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

/// One series of an answer.
#[derive(Debug, Deserialize)]
pub(super) struct Series {
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) dps: Points,
}

/// Times as they came, seconds or milliseconds, and values: an object by time, or a list of pairs.
#[derive(Debug, Default)]
pub(super) struct Points(pub(super) Vec<(i64, Number)>);

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of;
        impl Visitor<'_> for Of {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Number, E> {
                Ok(Number::Int(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Number, E> {
                Ok(i64::try_from(value).map_or(Number::Float(value as f64), Number::Int))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Number, E> {
                Ok(Number::Float(value))
            }

            // JSON has no such numbers.
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                text.parse().map(Number::Float).map_err(|_| E::custom(format!("{text:?} is no number")))
            }
        }
        deserializer.deserialize_any(Of)
    }
}

impl<'de> Deserialize<'de> for Points {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of;
        impl<'de> Visitor<'de> for Of {
            type Value = Points;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("points")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Points, A::Error> {
                let mut points = Vec::new();
                while let Some((time, number)) = map.next_entry::<String, Option<Number>>()? {
                    let time = time.parse().map_err(|_| de::Error::custom(format!("{time:?} is no time")))?;
                    points.extend(number.map(|number| (time, number)));
                }
                Ok(Points(points))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Points, A::Error> {
                let mut points = Vec::new();
                while let Some((time, number)) = seq.next_element::<(i64, Option<Number>)>()? {
                    points.extend(number.map(|number| (time, number)));
                }
                Ok(Points(points))
            }
        }
        deserializer.deserialize_any(Of)
    }
}

/// What a refusal looks like.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    pub(super) error: Reason,
}

/// Why.
#[derive(Debug, Deserialize)]
pub(super) struct Reason {
    #[serde(default)]
    pub(super) message: String,
}

/// A time as it came, in milliseconds.
pub(super) fn milliseconds(time: i64) -> i64 {
    // As OpenTSDB tells them apart itself.
    if time.unsigned_abs() <= 0xffff_ffff { time.saturating_mul(1_000) } else { time }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_as_objects_and_as_lists() {
        let text = r#"[{"metric":"m","tags":{"h":"a"},"aggregateTags":[],"dps":{"1365966001":9007199254740993,"1365966001500":-0.5}},
            {"metric":"m","tags":{},"dps":[[1365966002,"NaN"],[1365966003,null],[1365966004,1e300]]}]"#;
        let series: Vec<Series> = serde_json::from_str(text).unwrap();
        assert_eq!(series[0].tags["h"], "a");
        assert_eq!(
            series[0].dps.0,
            [(1_365_966_001, Number::Int(9_007_199_254_740_993)), (1_365_966_001_500, Number::Float(-0.5))]
        );
        assert!(
            matches!(series[1].dps.0[..], [(_, Number::Float(nan)), (1_365_966_004, Number::Float(1e300))] if nan.is_nan())
        );
        assert_eq!(
            (milliseconds(1_365_966_001), milliseconds(1_365_966_001_500)),
            (1_365_966_001_000, 1_365_966_001_500)
        );
    }
}
