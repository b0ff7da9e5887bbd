//! Rows as TEXT or CSV, by way of their binary form: what a column cannot hold is found, cast and cut just as for COPY
//! BINARY, and the text is that of the column's own type.

use std::ops::Range;
use std::sync::Arc;

use kwsync_core::{Decoder, Encoder, Error, ErrorKind, Input, Position, Result, TableBatch};
use kwsync_formats::delimited::{DelimitedEncoder, DelimitedOptions};
use kwsync_formats::pgcopy::{CopyColumn, CopyDecoder, CopyEncoder};

use super::send::Fault;

/// Turns rows into text.
#[derive(Debug)]
pub(super) struct Textual {
    decoder: CopyDecoder,
    encoder: DelimitedEncoder,
    scratch: Vec<u8>,
}

impl Textual {
    /// For a COPY into these columns; `csv` or TEXT.
    ///
    /// # Errors
    /// `Schema` for a column whose binary form is not known.
    pub(super) fn new(columns: &[CopyColumn], csv: bool) -> Result<Self> {
        let schema = Arc::new(CopyDecoder::schema_of(columns)?);
        let options = if csv { DelimitedOptions::csv() } else { DelimitedOptions::text() };
        Ok(Self {
            decoder: CopyDecoder::try_new("rows", &schema, columns)?.with_batch(usize::MAX, usize::MAX),
            encoder: DelimitedEncoder::new(options)?,
            scratch: Vec::new(),
        })
    }

    /// Appends rows to `out`, but for those that are returned.
    pub(super) fn encode(
        &mut self,
        binary: &mut CopyEncoder,
        batch: &TableBatch,
        rows: Range<usize>,
        out: &mut Vec<u8>,
    ) -> Result<Vec<Fault>> {
        self.scratch.clear();
        CopyEncoder::write_header(&mut self.scratch);
        let refused = binary.encode(batch, rows.clone(), &mut self.scratch)?;
        let mut faults: Vec<_> = refused.into_iter().map(Fault::from).collect();
        CopyEncoder::write_trailer(&mut self.scratch);
        self.decoder.begin(Arc::new(Input::new("rows")), Position::default());
        let taken = self.decoder.decode_slice(&self.scratch)?;
        if taken < self.scratch.len() {
            return Err(Error::new(ErrorKind::Internal, "rows were not decoded as they were encoded"));
        }
        self.decoder.finish()?;
        let decoded = self.decoder.flush()?;
        if !decoded.rejects.is_empty() {
            // Values that only the binary form has, such as NaN in a numeric with bounds.
            let sent: Vec<usize> = rows.filter(|row| !faults.iter().any(|fault| fault.row == *row)).collect();
            for reject in decoded.rejects {
                let at = reject.position.record.saturating_sub(1) as usize;
                let Some(row) = sent.get(at) else { continue };
                faults.push(Fault { row: *row, code: reject.code, reason: reject.reason });
            }
            faults.sort_by_key(|fault| fault.row);
        }
        for batch in &decoded.batches {
            self.encoder.encode(batch, 0..batch.rows(), out)?;
        }
        Ok(faults)
    }
}
