use super::support::{Place, parquet_files};

#[test]
fn the_demo_loads_its_data_set_and_shows_it() {
    let place = Place::new();
    let ran = place.run(&["demo"]).expect(0);
    let out = ran.out();
    for wanted in
        ["done: job", "cpu ", "timestamp timestamptz(ns)", "tag text", "field i64", "kwsync-demo/parquet"]
    {
        assert!(out.contains(wanted), "{wanted} is not in {out}");
    }
    let tables = ["cpu", "disk", "kernel", "load", "mem", "net", "pressure"];
    for table in tables {
        assert_eq!(parquet_files(&place.path("kwsync-demo/parquet").join(table)).len(), 1, "{table}");
    }
    // Again: the same files, not more of them.
    place.run(&["demo"]).expect(0);
    assert_eq!(parquet_files(&place.path("kwsync-demo/parquet")).len(), tables.len());
}
