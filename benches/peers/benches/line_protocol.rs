//! Line protocol to Arrow against the peer's parsing alone. For ratios run the binary `line_protocol_ratio`.
#![allow(missing_docs)]

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kwsync_bench::line_protocol::{Kind, generate};
use kwsync_formats::influx::LineOptions;

fn line_protocol(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("line_protocol");
    for kind in Kind::ALL {
        let text = generate(kind, 4 << 20);
        let bytes = Bytes::from(text.clone());
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.sample_size(20);
        group.bench_with_input(BenchmarkId::new("kwsync_to_arrow", kind.name()), &bytes, |b, input| {
            b.iter(|| kwsync_peers::kwsync(input, LineOptions::default()));
        });
        group.bench_with_input(BenchmarkId::new("kwsync_lines", kind.name()), &bytes, |b, input| {
            b.iter(|| kwsync_peers::kwsync_lines(input));
        });
        group.bench_with_input(
            BenchmarkId::new("influxdb_line_protocol_parse", kind.name()),
            &text,
            |b, input| {
                b.iter(|| kwsync_peers::influxdb_line_protocol(input));
            },
        );
    }
    group.finish();
}

criterion_group!(benches, line_protocol);
criterion_main!(benches);
