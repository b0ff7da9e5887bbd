//! Anything that can be read, as an iterator of what a decoder makes of it.

use std::io::Read;

use bytes::Bytes;
use kwsync_core::{Decoded, Decoder, Error, Result};

use super::{Pump, TableReader};

/// Bytes that are read at a time.
const CHUNK: usize = 512 << 10;

/// Iterator over what `decoder` makes of `input`: batches of all tables, and rejects, as they come.
///
/// It ends after the first error, which is one of reading or of the input as a whole; records that are refused are
/// among what it yields.
///
/// # Examples
/// ```
/// use kwsync_formats::adapt::ReadDecoder;
/// use kwsync_formats::influx::{LineDecoder, LineOptions};
///
/// let input = std::io::Cursor::new("cpu usage=1i 1\nmem free=2i 1\noops\n");
/// let mut rows = 0;
/// for decoded in ReadDecoder::new(input, LineDecoder::new(LineOptions::default())) {
///     let decoded = decoded?;
///     rows += decoded.batches.iter().map(|batch| batch.rows()).sum::<usize>();
///     assert_eq!(decoded.rejects[0].code, "missing_fields");
/// }
/// assert_eq!(rows, 2);
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Debug)]
pub struct ReadDecoder<R, D> {
    input: R,
    decoder: D,
    pump: Pump,
    failed: bool,
}

impl<R: Read, D: Decoder> ReadDecoder<R, D> {
    /// Reads `input` from its start.
    pub fn new(input: R, decoder: D) -> Self {
        Self { input, decoder, pump: Pump::default(), failed: false }
    }

    /// The batches of one table as Arrow's `RecordBatchReader`; the first batch is read to learn the schema. The
    /// rows of other tables are dropped.
    ///
    /// # Errors
    /// As the iterator; `Data` for the first record that is refused; `NotFound` where the table has no row.
    pub fn into_table(self, table: &str) -> Result<TableReader<Self>> {
        TableReader::new(self, Some(table))
    }

    /// The batches of the only table of the input, as Arrow's `RecordBatchReader`.
    ///
    /// # Errors
    /// As [`into_table`](Self::into_table); `Schema` when a second table turns up.
    pub fn into_only_table(self) -> Result<TableReader<Self>> {
        TableReader::new(self, None)
    }

    fn advance(&mut self) -> Result<Option<Decoded>> {
        loop {
            if let Some(decoded) = self.pump.turn(&mut self.decoder)? {
                return Ok(Some(decoded));
            }
            if self.pump.finished {
                return Ok(None);
            }
            let mut chunk = vec![0; CHUNK];
            let mut len = 0;
            while len < chunk.len() {
                match self.input.read(chunk.get_mut(len..).unwrap_or_default()) {
                    Ok(0) => break,
                    Ok(n) => len += n,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(Error::io("cannot read the input", error)),
                }
            }
            if len == 0 {
                return self.pump.finish(&mut self.decoder);
            }
            chunk.truncate(len);
            self.pump.rest = Bytes::from(chunk);
        }
    }
}

impl<R: Read, D: Decoder> Iterator for ReadDecoder<R, D> {
    type Item = Result<Decoded>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.advance();
        self.failed = next.is_err();
        next.transpose()
    }
}
