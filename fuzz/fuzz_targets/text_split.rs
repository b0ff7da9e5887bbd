//! However the text formats are cut into chunks, the same rows, rejects and positions come out: the dialects of line
//! protocol, OpenTSDB telnet, TEXT and CSV. The first bytes of the input choose the format and the sizes.
#![no_main]

use kwsync_core::Decoder;
use kwsync_formats::Limits;
use kwsync_formats::delimited::{DelimitedDecoder, DelimitedOptions, Header, Newline, ReadOptions, Types};
use kwsync_formats::influx::{Dialect, LineDecoder, LineOptions};
use kwsync_formats::opentsdb::{TelnetDecoder, TelnetOptions};
use kwsync_fuzz::decode;
use libfuzzer_sys::fuzz_target;

fn make(kind: u8, limit: usize, rows: usize) -> Option<Box<dyn Decoder>> {
    let limits = Limits::new().with_max_record_bytes(limit).with_batch_rows(rows).with_clock(|| 1);
    let line = |dialect| {
        let options = LineOptions::default().with_dialect(dialect).with_max_line_bytes(limit);
        Box::new(LineDecoder::new(options.with_batch_rows(rows).with_clock(|| 1))) as Box<dyn Decoder>
    };
    let delimited = |options: DelimitedOptions| {
        let options = if kind & 0x10 != 0 { options.with_header(Header::Names) } else { options };
        let options = if kind & 0x20 != 0 { options.with_newline(Newline::CrLf) } else { options };
        let options = if kind & 0x40 != 0 { options.with_encoding("SJIS").ok()? } else { options };
        let types = if kind & 0x80 != 0 { Types::Text } else { Types::Infer };
        let read = ReadOptions::new().with_types(types).with_limits(limits.clone());
        Some(Box::new(DelimitedDecoder::new(options, read).ok()?) as Box<dyn Decoder>)
    };
    match kind & 0x0f {
        0 => Some(line(Dialect::Kwdb)),
        1 => Some(line(Dialect::Tdengine)),
        2 => Some(Box::new(TelnetDecoder::new(TelnetOptions::new().with_floats(true).with_limits(limits)))),
        3 => delimited(DelimitedOptions::csv()),
        4 => delimited(DelimitedOptions::text()),
        5 => delimited(DelimitedOptions::csv().with_escape(Some(b'\\')).with_null("NULL")),
        6 => delimited(DelimitedOptions::text().with_escape(None).with_delimiter(Some(b'|'))),
        _ => None,
    }
}

fuzz_target!(|input: &[u8]| {
    let [kind, chunk, rows, limit, input @ ..] = input else { return };
    let limit = if *limit == 0 { 1 << 20 } else { usize::from(*limit) };
    let Some(mut one) = make(*kind, limit, 1 << 20) else { return };
    let Some(mut other) = make(*kind, limit, usize::from(*rows).max(1)) else { return };
    let whole = decode(input, input.len().max(1), one.as_mut());
    let cut = decode(input, usize::from(*chunk), other.as_mut());
    assert_eq!(whole, cut);
    if whole.error.is_none() {
        assert_eq!(whole.counts.records as usize, whole.rows.len() + whole.rejects.len());
    }
});
