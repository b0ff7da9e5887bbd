//! Arrow to COPY BINARY against pgpq. For ratios run the binary `pgcopy_ratio`.
#![allow(missing_docs)]

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kwsync_peers::pgcopy::{Rows, Tags};

fn pgcopy(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pgcopy");
    group.sample_size(20);
    for tags in [Tags::View, Tags::Utf8, Tags::Dictionary] {
        let rows = Rows::generate(4 << 20, tags);
        group.throughput(Throughput::Elements(rows.rows() as u64));
        let mut out = Vec::new();
        group.bench_function(format!("kwsync_{tags:?}"), |b| b.iter(|| rows.kwsync(&mut out)));
        let mut out = BytesMut::new();
        group.bench_function(format!("pgpq_{tags:?}"), |b| b.iter(|| rows.pgpq(&mut out)));
    }
    group.finish();
}

criterion_group!(benches, pgcopy);
criterion_main!(benches);
