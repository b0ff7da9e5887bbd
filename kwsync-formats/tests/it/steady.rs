//! Costs: no allocation per line, and time that grows with the input only.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kwsync_core::Decoder;
use kwsync_formats::influx::{LineDecoder, lines};

use crate::output::{decode, options};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

pub(crate) fn allocations(run: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    run();
    ALLOCATIONS.with(Cell::get) - before
}

fn many_lines() -> Bytes {
    let mut text = String::new();
    for i in 0..4000 {
        text += &format!(
            "cpu,host=host_{i},region=ap-southeast-1 user={}i,idle={}.5,up=t,note=\"a \\\"quoted\\\" text {i}\" {i}\n",
            i % 100,
            i % 7
        );
        text += &format!("mem,host=host_{i} free={i}u,msg=\"a text of some length\" {i}\n");
    }
    text.into()
}

#[test]
fn no_allocation_per_line() {
    let input = many_lines();
    let mut decoder = LineDecoder::new(options().with_batch_rows(100_000));
    for _ in 0..3 {
        assert_eq!(decoder.decode(&input).unwrap(), input.len());
        assert_eq!(decoder.flush().unwrap().batches.len(), 2);
    }
    let count = allocations(|| {
        decoder.decode(&input).unwrap();
    });
    assert_eq!(decoder.buffered_rows(), 8000);
    assert!(count < 32, "{count} allocations for 8000 lines");
    let mut iterator = lines(&input);
    iterator.next();
    let count = allocations(|| {
        iterator.by_ref().for_each(drop);
    });
    assert!(count < 32, "{count} allocations for 8000 borrowed lines");
}

/// Were any of these quadratic, it would take hours.
#[test]
fn time_is_linear() {
    let size = 4 << 20;
    let open = format!("m f=\"\n{}", "m f=1 1\n".repeat(size / 8));
    let pieces = [
        "m f=\"\n",
        "m f=\"x\n",
        "m,t=\" f=\"\n",
        "m f=\"a\",g=\"\n",
        "m,t=\\\",u=x f=\",g=\"\n",
        "# \"\n",
        "\"\n",
        "m f=\"\\\n",
        "m f=\"\\\"\n",
        "m f=\"a\nb\"x\n",
        "m f=\"\",\n",
        "m f=\"\" \"\n",
    ];
    let mut inputs: Vec<Vec<u8>> =
        pieces.iter().map(|piece| piece.repeat(size / piece.len()).into_bytes()).collect();
    inputs.push(open.into_bytes());
    inputs.push(b"m f=1 1\n\xff\n".repeat(size / 10));
    let many: String = (0..200_000).map(|i| format!(",f{i}=1")).collect();
    inputs.push(format!("m {}\n", &many[1..]).into_bytes());
    inputs.push(format!("m{many} f=1\n").into_bytes());
    for input in inputs {
        let name = String::from_utf8_lossy(&input[..20]).into_owned();
        let start = Instant::now();
        let count = lines(&input).count();
        let cuts: Vec<usize> = (0..input.len()).step_by(5000).collect();
        let mut decoder = LineDecoder::new(options());
        let mut at = 0;
        let mut records = 0;
        for cut in cuts.into_iter().chain([input.len()]) {
            let mut chunk = Bytes::copy_from_slice(&input[at..cut]);
            at = cut;
            while !chunk.is_empty() {
                let used = decoder.decode(&chunk).unwrap();
                chunk = chunk.slice(used..);
                records += decoder.flush().unwrap().counts.records;
            }
        }
        decoder.finish().unwrap();
        records += decoder.flush().unwrap().counts.records;
        assert_eq!(records, count as u64, "{name:?}");
        assert!(start.elapsed() < Duration::from_secs(60), "{name:?} took {:?}", start.elapsed());
    }
}

#[test]
fn a_long_line_takes_no_memory() {
    let mut decoder = LineDecoder::new(options().with_max_line_bytes(1000));
    decoder.decode(&"m f=\"".into()).unwrap();
    let chunk = Bytes::from(vec![b'x'; 1 << 20]);
    for _ in 0..64 {
        assert_eq!(decoder.decode(&chunk).unwrap(), chunk.len());
        assert!(decoder.buffered_bytes() < 1 << 20, "{}", decoder.buffered_bytes());
    }
    decoder.decode(&"\nm f=1 1\n".into()).unwrap();
    let decoded = decoder.flush().unwrap();
    assert_eq!(decoded.rejects[0].code, "line_too_long");
    assert_eq!(decoded.rejects[0].raw.len(), 64 << 10);
    assert_eq!(decoded.batches[0].rows(), 1);
    let whole = decode(b"m f=1 1", &[3], options(), false);
    assert_eq!(whole.tables["m"].len(), 1);
}

/// Messages as Kafka brings them: a line each, with or without its end, the bytes the caller's.
#[test]
fn no_allocation_per_message() {
    let messages: Vec<String> = (0..8000)
        .map(|i| format!("cpu,host=host_{} load={i}i,note=\"a text of some length {i}\" {i}", i % 50))
        .collect();
    for end in ["", "\n"] {
        let messages: Vec<_> = messages.iter().map(|message| format!("{message}{end}")).collect();
        let mut decoder = LineDecoder::new(options().with_batch_rows(100_000));
        let feed = |decoder: &mut LineDecoder| {
            for message in &messages {
                assert_eq!(decoder.decode_slice(message.as_bytes()).unwrap(), message.len());
                decoder.end_record().unwrap();
            }
        };
        for _ in 0..2 {
            feed(&mut decoder);
            decoder.flush().unwrap();
        }
        let count = allocations(|| feed(&mut decoder));
        assert!(count < 32, "{count} allocations for 8000 messages that end in {end:?}");
        let decoded = decoder.flush().unwrap();
        let origin = decoded.batches[0].origin();
        assert_eq!((origin.segments().len(), origin.len()), (1, 8000));
        assert_eq!(origin.raw(7999).unwrap(), messages[7999].trim_end().as_bytes());
        assert_eq!(origin.position(7999).unwrap().record, 24_000);
        let text: usize = messages.iter().map(String::len).sum();
        let held = decoded.batches[0].retained_bytes();
        assert!(held < 4 * text, "{held} bytes held for {text}");
    }
}

/// A row keeps its own record, not the megabyte that it came in.
#[test]
fn few_rows_keep_little() {
    let mut text = "m f=1i 1\n".to_owned();
    text += &"# nothing to see\n".repeat(100_000);
    let text = Bytes::from(text);
    for slice in [false, true] {
        let mut decoder = LineDecoder::new(options());
        if slice { decoder.decode_slice(&text) } else { decoder.decode(&text) }.unwrap();
        let batch = decoder.flush().unwrap().batches.remove(0);
        assert!(batch.retained_bytes() < 2048, "{}", batch.retained_bytes());
        assert_eq!(batch.origin().raw(0), Some(&b"m f=1i 1"[..]));
    }
}

/// Columns lie where those of batches that are gone lay, and never where a living one does.
#[test]
fn memory_comes_back() {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    let mut decoder = LineDecoder::new(options().with_batch_rows(100_000));
    let mut next = |from: i64| {
        let text: String = (from..from + 4000).map(|i| format!("m n={i}i {i}\n")).collect();
        decoder.decode(&text.into()).unwrap();
        decoder.flush().unwrap().batches.remove(0)
    };
    let values = |batch: &kwsync_core::TableBatch| {
        let values = batch.batch().column(1).as_primitive::<Int64Type>().values().clone();
        (values.as_ptr() as usize, values)
    };
    let (first, second) = (next(0), next(10_000));
    let places = [values(&first).0, values(&second).0];
    assert_ne!(places[0], places[1]);
    assert!(values(&first).1.iter().copied().eq(0..4000));
    assert!(values(&second).1.iter().copied().eq(10_000..14_000));
    let kept = values(&second).1;
    drop((first, second));
    let third = next(20_000);
    assert!(values(&third).1.iter().copied().eq(20_000..24_000));
    // Times and values are of one type and share the memory that came back.
    let fourth = next(30_000);
    assert!([&third, &fourth].iter().any(|batch| values(batch).0 == places[0]), "nothing came back");
    assert!(kept.iter().copied().eq(10_000..14_000), "a column that is still held stays as it was");
}
