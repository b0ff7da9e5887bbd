//! How many rows go into one segment.

/// Rows of a segment while nothing is refused.
pub(super) const WHOLE: usize = 65_536;
const MIN: usize = 250;
const MAX: usize = 8_192;
/// What a segment costs, in rows that could be written in the same time.
const OVERHEAD: f64 = 128.0;
/// Rows after which the past counts half.
const MEMORY: f64 = 200_000.0;

/// Follows the rate at which rows are refused. A refused row costs the rows of its segment that came before it, a
/// segment costs about as much as [`OVERHEAD`] rows; the sum of both is least at the square root below.
#[derive(Debug, Default)]
pub(super) struct Pace {
    rows: f64,
    faults: f64,
}

impl Pace {
    /// The rows of the next segment.
    pub(super) fn rows(&self) -> usize {
        if self.faults < 0.5 {
            return WHOLE;
        }
        ((2.0 * OVERHEAD * self.rows.max(1.0) / self.faults).sqrt() as usize).clamp(MIN, MAX)
    }

    /// Rows were taken.
    pub(super) fn passed(&mut self, rows: usize) {
        self.rows += rows as f64;
        while self.rows > MEMORY {
            self.rows /= 2.0;
            self.faults /= 2.0;
        }
    }

    /// One was refused.
    pub(super) fn failed(&mut self) {
        self.faults += 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_shrink_with_faults_and_grow_again() {
        let mut pace = Pace::default();
        pace.passed(50_000);
        assert_eq!(pace.rows(), WHOLE);
        for _ in 0..50 {
            pace.failed();
        }
        assert_eq!(pace.rows(), 505);
        for _ in 0..10_000 {
            pace.failed();
        }
        assert_eq!(pace.rows(), MIN);
        let mut before = 0;
        for _ in 0..40 {
            pace.passed(100_000);
            assert!(pace.rows() >= before);
            before = pace.rows();
        }
        assert_eq!(pace.rows(), WHOLE);
    }
}
