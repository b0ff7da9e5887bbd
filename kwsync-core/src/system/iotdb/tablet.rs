//! Rows of one device, as `insertTablet` takes them.

use super::SeriesType;

/// Rows of one device, column by column, big endian. Times must rise or stay the same from row to row.
#[derive(Clone, Debug, Default)]
pub struct Tablet {
    /// The path of the device, with backquotes where needed.
    pub device: String,
    /// The names of the measurements, with backquotes where needed.
    pub measurements: Vec<String>,
    /// Their types.
    pub types: Vec<SeriesType>,
    /// The times, 8 bytes each.
    pub times: Vec<u8>,
    /// The values, measurement by measurement; behind them, where any is null, the marks of nulls.
    pub values: Vec<u8>,
    /// The number of rows.
    pub rows: usize,
}

impl Tablet {
    /// An empty tablet of `device`.
    pub fn new(device: impl Into<String>) -> Self {
        Self { device: device.into(), ..Self::default() }
    }

    /// Sets the times.
    pub fn set_times(&mut self, times: &[i64]) {
        self.times = times.iter().flat_map(|time| time.to_be_bytes()).collect();
        self.rows = times.len();
    }

    /// Marks which values are null: for each measurement the marks of its rows, or `None` where all have values.
    /// Called once, behind the last value.
    pub fn set_nulls(&mut self, nulls: &[Option<Vec<bool>>]) {
        if nulls.iter().all(Option::is_none) {
            return;
        }
        for marks in nulls {
            let Some(marks) = marks else {
                self.values.push(0);
                continue;
            };
            self.values.push(1);
            let mut bits = vec![0_u8; self.rows / 8 + 1];
            for (row, _) in marks.iter().enumerate().filter(|(_, null)| **null) {
                if let Some(byte) = bits.get_mut(row / 8) {
                    // The lowest bit is the first row.
                    *byte |= 1 << (row % 8);
                }
            }
            self.values.extend(bits);
        }
    }

    /// About how many bytes it takes to send.
    pub fn bytes(&self) -> usize {
        self.values.len()
            + self.times.len()
            + self.device.len()
            + self.measurements.iter().map(String::len).sum::<usize>()
    }
}
