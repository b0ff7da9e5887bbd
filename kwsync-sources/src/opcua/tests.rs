use std::time::Duration;

use kwsync_core::config::{Dsn, Params};
use kwsync_core::{DataType, Result, Role, TimeUnit, Value};
use opcua::types::{Array, DateTime, StatusCode, Variant, VariantScalarTypeId};

use super::buffer::{Buffer, Sample};
use super::plan::Plan;
use super::points::{from_csv, from_nodes};
use super::session::same_namespaces;
use super::values::value_for;
use super::{OpcUaOptions, PARAMS, SecurityMode, SecurityPolicy};

/// The configuration of taosX's documentation, comments and all.
const TABLES: &str = r#"{
    "stable_prefix": "meters", // 超级表前缀
    "column_configs":
    [
        {
            "column_name": "received_time", // 存储接收时间
            "column_type": "timestamp",
            "column_alias": "ts", // 接收时间建表列用列名为 ts
            "is_primary_key": true // 接收时间时间戳作为主键
        },
        { "column_name": "original_time", "column_type": "timestamp", "column_alias": "ts_2", "is_primary_key": false },
        { "column_name": "value", "column_alias": "valueaa", "is_primary_key": false },
        { "column_name": "quality", "column_type": "int", "column_alias": "quality11", "is_primary_key": false }
    ]
}"#;

fn options(address: &str) -> Result<OpcUaOptions> {
    let dsn: Dsn = address.parse().unwrap();
    OpcUaOptions::from_dsn(&dsn, &Params::parse("opcua", PARAMS, dsn.params())?)
}

fn sample(point: usize, received: i64, value: impl Into<Variant>) -> Sample {
    let value = Some(value.into());
    Sample { point, received, original: None, value, status: StatusCode::Good }
}

#[test]
fn the_example_of_taosx_is_read() {
    let address = format!(
        "opcua://uauser:uapass@localhost:4840?ua.nodes=ns=2;i=2::DSF1312,ns=2;i=3::DSF1313&opc_table_config={TABLES}"
    );
    let made = options(&address).unwrap();
    assert_eq!(made.url, "opc.tcp://localhost:4840");
    let points: Vec<_> =
        made.points.iter().map(|point| (point.node(), point.subtable().to_owned())).collect();
    assert_eq!(points, [("ns=2;i=2".into(), "DSF1312".into()), ("ns=2;i=3".into(), "DSF1313".into())]);
    assert_eq!((made.interval, made.sampling), (Duration::from_secs(1), Duration::from_secs(1)));
    assert_eq!((made.batch_size, made.batch_timeout), (100, Duration::from_secs(20)));
    let shown = format!("{made:?}");
    assert!(!shown.contains("uapass"), "{shown}");
    let plan = Plan::new("s", &made.points, &[DataType::Float32, DataType::Float64]).unwrap();
    let names: Vec<_> = plan.tables().iter().map(|(table, _)| table.name().to_owned()).collect();
    assert_eq!(names, ["meters_float", "meters_double"]);
    let columns: Vec<_> = plan.tables()[0]
        .1
        .columns()
        .iter()
        .map(|column| (column.name().to_owned(), column.data_type().to_string(), column.role()))
        .collect();
    let expected = [
        ("ts", "timestamptz(us)", Role::Timestamp),
        ("ts_2", "timestamptz(ns)", Role::Field),
        ("valueaa", "f32", Role::Field),
        ("quality11", "i32", Role::Field),
        ("tbname", "text", Role::PrimaryTag),
    ];
    let expected = expected.map(|(name, data_type, role)| (name.to_owned(), data_type.to_owned(), role));
    assert_eq!(columns, expected);
}

#[test]
fn faults_of_an_address_say_what_to_do() {
    let plain = r#"{"stable_prefix": "p", "column_configs": [{"column_name": "received_time", "is_primary_key": true}, {"column_name": "value"}]}"#;
    let with = |more: &str| format!("opcua://h?ua.nodes=ns=2;i=2::a&opc_table_config={plain}&{more}");
    let made = options(&with("interval=5&sampling=100&concurrent=4&request_timeout=3")).unwrap();
    assert_eq!((made.interval, made.sampling), (Duration::from_secs(5), Duration::from_millis(100)));
    assert_eq!((made.security.policy, made.security.mode), (SecurityPolicy::None, SecurityMode::None));
    for (address, expected) in [
        ("opcua://h".to_owned(), "no nodes are named"),
        ("opcua://h?ua.nodes=ns=2;i=2::a".to_owned(), "opc_table_config is not"),
        (format!("opcua://h?opc_table_config={plain}"), "ua.nodes is not"),
        (format!("opcua://h?ua.nodes=ns=2;i=2&opc_table_config={plain}"), "has no code"),
        (format!("opcua://h?ua.nodes=ns=2;i=2::&opc_table_config={plain}"), "has no code"),
        (format!("opcua://h?ua.nodes=two::a&opc_table_config={plain}"), "\"two\" is no NodeId"),
        (format!("opcua://h?ua.nodes=i=2::a,i=2::b&opc_table_config={plain}"), "is named twice"),
        (format!("opcua://h,i?ua.nodes=i=2::a&opc_table_config={plain}"), "one server"),
        (with("security_policy=Basic256Sha256"), "needs a security_mode"),
        (with("security_mode=Sign"), "needs a security_policy"),
        (with("security_mode=Sign&security_policy=Basic256Sha256"), "certificate and private_key"),
        (with("security_mode=Sign&security_policy=Aes512"), "Basic256Sha256"),
        (
            with("security_mode=Sign&security_policy=Basic256&certificate=/no/such&private_key=/none"),
            "cannot read /no/such",
        ),
        (with("enable=true&path=/tmp&keep=3"), "is not kept a second time"),
        (with("intervall=3"), "did you mean `interval`?"),
        (with("concurrent=0"), "concurrent"),
    ] {
        let error = options(&address).unwrap_err().report();
        assert!(error.contains(expected), "{address}: {error}");
    }
    let faults = [
        ("{", "opc_table_config cannot be read"),
        (r#"{"stable_prefix": "p", "column_configs": [{"column_name": "value"}]}"#, "the time of a row"),
        (
            r#"{"stable_prefix": "p", "column_configs": [{"column_name": "received_time", "is_primary_key": true}]}"#,
            "holds the value",
        ),
        (
            r#"{"stable_prefix": "p", "column_configs": [{"column_name": "velocity"}]}"#,
            "no column_name \"velocity\"",
        ),
        (
            r#"{"stable_prefix": "p", "column_configs": [{"column_name": "value", "is_primary_key": true}]}"#,
            "cannot be the primary key",
        ),
        (
            r#"{"stable_prefix": "p", "column_configs": [{"column_name": "value", "column_type": "number"}]}"#,
            "is no type",
        ),
        (
            r#"{"stable_prefix": "p", "column_configs": [{"column_name": "received_time", "column_type": "int"}]}"#,
            "a time is a timestamp",
        ),
        (
            r#"{"stable_prefix": "p", "column_configs": [{"column_name": "quality", "column_type": "float"}]}"#,
            "a quality is no",
        ),
        (r#"{"stable_prefix": "p", "columns": []}"#, "columns"),
        (
            r#"{"stable_prefix": "p", "column_configs": [{"column_name": "received_time", "is_primary_key": true}, {"column_name": "value", "column_alias": "tbname"}]}"#,
            "two columns are named \"tbname\"",
        ),
    ];
    for (tables, expected) in faults {
        let error = from_nodes("ns=2;i=2::a", tables).unwrap_err().report();
        assert!(error.contains(expected), "{tables}: {error}");
    }
}

#[test]
fn names_of_nodes_may_hold_commas() {
    let points = from_nodes("ns=2;s=a,b::x,ns=3;s=c::d::y,i=7::z", TABLES).unwrap();
    let found: Vec<_> = points.iter().map(|point| (point.node(), point.subtable())).collect();
    assert_eq!(
        found,
        [("ns=2;s=a,b".to_owned(), "x"), ("ns=3;s=c::d".to_owned(), "y"), ("i=7".to_owned(), "z")]
    );
}

#[test]
fn a_csv_of_points_as_taosx_has_it() {
    let text = "\u{feff}序号,数据点位id,是否启用,a,b,c,d,e,f,g,h,i\r\n\
        No.,point_id,enabled,stable,tbname,value_col,value_transform,type,quality_col,received_ts_col,ts_col,tag::VARCHAR(20)::name\r\n\
        1,ns=3;i=1001,1,opc_{type},t_{ns}_{id},val,,,quality,rts,ts,Constant\r\n\
        2,\"ns=3;s=a,\"\"b\"\".c\",,opc.{type},t_{id},val,,double,,rts,ts,\"two\nlines\"\r\n\
        3,ns=3;i=1003,0,opc_{type},gone,val,,,quality,rts,ts,\r\n\r\n";
    let points = from_csv(text).unwrap();
    let found: Vec<_> = points.iter().map(|point| (point.node(), point.subtable())).collect();
    assert_eq!(
        found,
        [("ns=3;i=1001".to_owned(), "t_3_1001"), ("ns=3;s=a,\"b\".c".to_owned(), "t_a,\"b\"_c")]
    );
    let plan = Plan::new("s", &points, &[DataType::Int32, DataType::Float32]).unwrap();
    let tables: Vec<_> = plan.tables().iter().map(|(table, _)| table.name().to_owned()).collect();
    // The type that is given goes before that of the node.
    assert_eq!(tables, ["opc_int", "opc_double"]);
    // The first of two times is that of the row.
    let columns: Vec<_> =
        plan.tables()[0].1.columns().iter().map(|column| column.name().to_owned()).collect();
    assert_eq!(columns, ["rts", "ts", "val", "quality", "name", "tbname"]);
    for (text, expected) in [
        ("stable,tbname\na,b\n", "no column point_id"),
        ("point_id,stable,tbname\nns=1;i=1,a\n", "line 2: 2 cells under 3 names"),
        ("point_id,stable,tbname\n,a,b\n", "point_id is empty"),
        ("point_id,stable,tbname\nns=1;i=1,,b\n", "stable is empty"),
        ("point_id,stable,tbname,value_transform\nns=1;i=1,a,b,val*2\n", "value_transform is not there"),
        ("point_id,stable,tbname,enable\nns=1;i=1,a,b,yes\n", "enable is 0 or 1"),
        ("point_id,stable,tbname,type\nns=1;i=1,a,b,word\n", "\"word\" is no type"),
        ("point_id,stable,tbname,tag::x\nns=1;i=1,a,b,word\n", "is no tag"),
        ("point_id,stable,tbname\n\"ns=1;i=1,a,b\n", "a quote is not closed"),
        ("point_id,stable,tbname\nns=1;i=1,a,b\nns=1;i=1,a,c\n", "is named twice"),
        ("point_id,stable,tbname\n", "names no node"),
        ("point_id,stable,stable\n", "stands twice"),
    ] {
        let error = from_csv(text).unwrap_err().report();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

/// Nodes of one table with columns of their own, and such as cannot share one.
#[test]
fn nodes_share_a_table() {
    let text = "point_id,stable,tbname,ts_col,value_col,quality_col\n\
        i=1,wide,w,ts,speed,speed_q\ni=2,wide,w,ts,heat,\n";
    let points = from_csv(text).unwrap();
    let plan = Plan::new("s", &points, &[DataType::Int16, DataType::Float64]).unwrap();
    let [(_, schema)] = plan.tables() else { panic!("{plan:?}") };
    let columns: Vec<_> = schema.columns().iter().map(|column| column.name()).collect();
    assert_eq!(columns, ["ts", "speed", "speed_q", "heat", "tbname"]);
    let buffer = Buffer::default();
    let time = Some((DateTime::ymd(2024, 1, 1), 0));
    let push = vec![
        Sample { original: time, ..sample(0, 1, 5_i16) },
        Sample { original: time, status: StatusCode::BadTimeout, ..sample(1, 2, 1.5) },
        // No time, and no place for the value.
        sample(0, 3, 6_i16),
        Sample { original: time, ..sample(0, 4, 70_000_i32) },
    ];
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(buffer.push(push));
    let decoded = plan.rows(&buffer.take(10).unwrap()).unwrap();
    let batch = &decoded.batches[0];
    assert_eq!(batch.rows(), 2);
    assert_eq!(batch.row(0).get("speed").unwrap(), Value::Int(5));
    assert_eq!(batch.row(0).get("heat").unwrap(), Value::Null);
    // A bad status is a row without a value.
    assert_eq!(batch.row(1).get("heat").unwrap(), Value::Null);
    let rejects: Vec<_> =
        decoded.rejects.iter().map(|reject| (reject.code.as_str(), reject.position.record)).collect();
    assert_eq!(rejects, [("missing_timestamp", 3), ("type_conflict", 4)]);
    assert_eq!(decoded.counts.records, 4);
    for (text, expected) in [
        ("point_id,stable,tbname\ni=1,t,a\ni=2,t,b\n", "it is i16 for another node, and f64 for this one"),
        (
            "point_id,stable,tbname,type\ni=1,t,a,double\ni=2,t,a,double\n",
            "i=2 and i=1 both go into this column of the subtable \"a\"",
        ),
        // One name in two tables.
        ("point_id,stable,tbname\ni=1,t_{type},a\ni=2,t_{type},a\n", ""),
        ("point_id,stable,tbname,ts_col,received_ts_col\ni=1,t,a,ts,\ni=2,t_{type},b,,rts\n", ""),
    ] {
        let made = Plan::new("s", &from_csv(text).unwrap(), &[DataType::Int16, DataType::Float64]);
        match expected {
            "" => assert_eq!(made.unwrap().tables().len(), 2),
            expected => assert!(made.unwrap_err().report().contains(expected), "{text}"),
        }
    }
}

#[test]
fn values_are_exact_or_refused() {
    let stamp = |unit| DataType::TimestampTz(unit);
    let time = DateTime::from((1969, 12, 31, 23, 59, 59, 999_999_900));
    for (value, to, expected) in [
        (Variant::from(5_u8), DataType::Int64, Some(Value::Int(5))),
        (Variant::from(-5_i64), DataType::UInt64, None),
        (Variant::from(u64::MAX), DataType::UInt64, Some(Value::UInt(u64::MAX))),
        (Variant::from(300_i32), DataType::Int8, None),
        (Variant::from(1.5_f32), DataType::Float64, Some(Value::Float64(1.5))),
        (Variant::from(0.1), DataType::Float32, None),
        (Variant::from(0.5), DataType::Float32, Some(Value::Float32(0.5))),
        (Variant::from((1_i64 << 53) + 1), DataType::Float64, None),
        (Variant::from(1_i64 << 53), DataType::Float64, Some(Value::Float64(9_007_199_254_740_992.0))),
        (Variant::from(1.0), DataType::Int32, None),
        (Variant::from(true), DataType::Int32, None),
        (Variant::from(-7_i16), DataType::Text, Some(Value::Text("-7".into()))),
        (Variant::Empty, DataType::Int32, Some(Value::Null)),
        (
            Variant::from(time),
            stamp(TimeUnit::Nanosecond),
            Some(Value::Timestamp(-100, TimeUnit::Nanosecond, true)),
        ),
        (Variant::from(time), stamp(TimeUnit::Microsecond), None),
        (Variant::from(DateTime::null()), stamp(TimeUnit::Nanosecond), Some(Value::Null)),
        (Variant::from(DateTime::endtimes()), stamp(TimeUnit::Nanosecond), None),
        (Variant::from(DateTime::ymd(1600, 1, 1)), stamp(TimeUnit::Nanosecond), None),
        (Variant::String(opcua::types::UAString::null()), DataType::Text, Some(Value::Null)),
    ] {
        assert_eq!(value_for(&value, &to).ok(), expected, "{value:?} as {to}");
    }
    let items = vec![Variant::from(u64::MAX), Variant::from(0_u64)];
    let array = Variant::from(Array::new(VariantScalarTypeId::UInt64, items).unwrap());
    let json = value_for(&array, &DataType::Json).unwrap();
    assert_eq!(json, Value::Text("[18446744073709551615,0]".into()));
    assert!(value_for(&array, &DataType::UInt64).unwrap_err().contains("an array of"));
}

/// What was handed out and is not committed comes again, once and in its order; what is committed goes.
#[tokio::test]
async fn what_is_not_committed_comes_again() {
    let buffer = Buffer::default();
    let (long, never) = (Duration::from_secs(3600), Duration::MAX);
    buffer.push((0..10).map(|n| sample(0, n, n)).collect()).await;
    let times =
        |handed: &super::buffer::Handed| handed.samples.iter().map(|one| one.received).collect::<Vec<_>>();
    let first = buffer.next(4, long, never).await.unwrap().unwrap();
    assert_eq!((times(&first), first.first), (vec![0, 1, 2, 3], 0));
    let second = buffer.next(4, long, never).await.unwrap().unwrap();
    assert_eq!((times(&second), second.first), (vec![4, 5, 6, 7], 4));
    buffer.settle(2);
    buffer.rewind();
    let again = buffer.next(4, long, never).await.unwrap().unwrap();
    assert_eq!((times(&again), again.first), (vec![2, 3, 4, 5], 2));
    // Two wait, and nobody else comes: they go after a while.
    buffer.settle(6);
    let next = buffer.next(4, long, never).await.unwrap().unwrap();
    assert_eq!(times(&next), [6, 7, 8, 9]);
    buffer.push(vec![sample(0, 10, 1)]).await;
    let rest = buffer.next(4, Duration::from_millis(1), never).await.unwrap().unwrap();
    assert_eq!((times(&rest), rest.first), (vec![10], 10));
    buffer.there();
    assert!(buffer.next(4, long, Duration::from_millis(1)).await.unwrap().is_none());
    buffer.fail(kwsync_core::Error::config("over"));
    assert!(buffer.next(4, long, never).await.is_err());
}

/// Silence is an end only of a server that is there.
#[tokio::test]
async fn silence_of_a_server_that_is_away_is_an_error() {
    let buffer = Buffer::default();
    let (long, quiet) = (Duration::from_secs(3600), Duration::from_millis(1));
    // Nobody knows yet whether it has something to say.
    let waits = tokio::time::timeout(Duration::from_millis(20), buffer.next(4, long, quiet));
    assert!(waits.await.is_err());
    buffer.there();
    assert!(buffer.next(4, long, quiet).await.unwrap().is_none());
    buffer.away(kwsync_core::Error::new(kwsync_core::ErrorKind::Unavailable, "nobody listens"));
    let error = buffer.next(4, long, quiet).await.err().unwrap();
    assert!(error.report().contains("nobody listens"), "{error}");
    assert_eq!(
        (error.kind(), error.retry()),
        (kwsync_core::ErrorKind::Unavailable, kwsync_core::Retry::Never)
    );
    // What came before it went away comes first.
    buffer.push(vec![sample(0, 0, 1)]).await;
    buffer.away(kwsync_core::Error::new(kwsync_core::ErrorKind::Unavailable, "nobody listens"));
    assert_eq!(buffer.next(1, long, quiet).await.unwrap().unwrap().samples.len(), 1);
    buffer.there();
    assert!(buffer.next(4, long, quiet).await.unwrap().is_none());
}

#[test]
fn numbers_of_namespaces_must_mean_what_they_did() {
    let made = options(&format!("opcua://h?ua.nodes=ns=2;i=2::a&opc_table_config={TABLES}")).unwrap();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let before = names(&["ua", "server", "plant", "other"]);
    // Others may come, go and change.
    for now in
        [&["ua", "server", "plant", "other"][..], &["ua", "renamed", "plant"], &["ua", "", "plant", "x", "y"]]
    {
        same_namespaces(&made, &before, &names(now)).unwrap();
    }
    same_namespaces(&made, &[], &before).unwrap();
    let error = same_namespaces(&made, &before, &names(&["ua", "server", "other", "plant"])).unwrap_err();
    assert!(error.report().contains("the namespace 2 was \"plant\" and is \"other\" now"), "{error}");
    assert_eq!(error.retry(), kwsync_core::Retry::Never);
    for now in [&["ua", "server"][..], &["ua", "server", "", "plant"], &[]] {
        let error = same_namespaces(&made, &before, &names(now)).unwrap_err();
        assert_eq!(error.retry(), kwsync_core::Retry::Backoff, "{error}");
    }
}

/// The first value of each node does not wait for others.
#[tokio::test]
async fn first_values_are_handed_out_at_once() {
    let buffer = Buffer::eager(2);
    let long = Duration::from_secs(3600);
    buffer.push(vec![sample(0, 0, 1)]).await;
    assert_eq!(buffer.next(4, long, Duration::MAX).await.unwrap().unwrap().samples.len(), 1);
    buffer.push(vec![sample(1, 1, 1)]).await;
    assert_eq!(buffer.next(4, long, Duration::MAX).await.unwrap().unwrap().samples.len(), 1);
    buffer.push(vec![sample(1, 2, 1)]).await;
    let waits = tokio::time::timeout(Duration::from_millis(5), buffer.next(4, long, Duration::MAX));
    assert!(waits.await.is_err());
}

/// Values wait at the server when there is no room for them.
#[tokio::test]
async fn the_buffer_is_bounded() {
    let buffer = std::sync::Arc::new(Buffer::default());
    let large = "x".repeat(1 << 20);
    for n in 0..32 {
        buffer.push(vec![sample(0, n, large.as_str())]).await;
    }
    let pushing = {
        let buffer = std::sync::Arc::clone(&buffer);
        tokio::spawn(async move { buffer.push(vec![sample(0, 99, 1)]).await })
    };
    tokio::task::yield_now().await;
    assert!(!pushing.is_finished());
    // It is handed out without waiting for more, and asks to be committed.
    let handed = buffer.next(1000, Duration::MAX, Duration::MAX).await.unwrap().unwrap();
    assert!(handed.full && handed.samples.len() == 32);
    buffer.settle(32);
    pushing.await.unwrap();
    assert_eq!(buffer.take(10).unwrap().samples.len(), 1);
}
