//! What is exact in another unit or type.

use kwsync_core::TimeUnit;

/// A count in another unit, and whether nothing was cut off; none where 64 bits do not hold it.
pub(crate) fn scale(value: i64, from: TimeUnit, to: TimeUnit) -> Option<(i64, bool)> {
    let (from, to) = (from.nanos(), to.nanos());
    if from >= to {
        return Some((value.checked_mul(from / to)?, true));
    }
    let by = to / from;
    Some((value.div_euclid(by), value.rem_euclid(by) == 0))
}

/// Whether a float has this magnitude; `single` is that of 32 bits.
pub(crate) fn is_exact_float(magnitude: u64, single: bool) -> bool {
    match single {
        true => magnitude as f32 as u128 == u128::from(magnitude),
        false => magnitude as f64 as u128 == u128::from(magnitude),
    }
}
