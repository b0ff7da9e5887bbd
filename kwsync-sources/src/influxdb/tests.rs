//! Servers of version 2, and servers that break off, by a stand-in that answers as their manuals say: neither can be had here.
//! Version 1 is tested against a real one by the command (`examples/tests/it/influx.rs`).

use std::sync::Arc;

use kwsync_core::config::{Dsn, Params};
use kwsync_core::{ErrorKind, Reader, Retry, Role, Source, TableId};

use super::annotated::Column;
use super::cursor::Cursor;
use super::layout::{Keys, Layout};
use super::{InfluxOptions, InfluxSource, PARAMS};
use crate::series::stand_in::{Reply, Request, StandIn, parsed, read_all, rows};
use crate::series::{FieldType, SeriesDatabase, Windows};

/// The script of a request of version 2.
fn script(request: &Request) -> String {
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    body["query"].as_str().unwrap().to_owned()
}

fn csv(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

/// The measurement `cpu` as version 2 would give it, in the form of its manual.
fn version_two(request: &Request) -> Reply {
    let script = script(request);
    let bound = |mark: &str| -> i128 {
        script.split(mark).nth(1).unwrap().split(')').next().unwrap().parse().unwrap()
    };
    let (from, to) = (bound("start: time(v: "), bound("stop: time(v: "));
    // 2023-06-01 00:00:00 UTC, and in nanoseconds behind that:
    const JUNE: i128 = 1_685_577_600_000_000_000;
    let points = [
        (
            1,
            "2023-06-01T00:00:00.000000001Z,a,,true,1e+300,9007199254740993,\".ü \"\"x\"\"\r\ny\",18446744073709551615",
        ),
        (1, "2023-06-01T00:00:00.000000001Z,b,x y,,,,.,"),
        (90_000_000_000, "2023-06-01T00:01:30Z,b,,false,-0.5,-9223372036854775808,..,0"),
    ];
    let within: Vec<&str> =
        points.iter().filter(|(at, _)| (from..to).contains(&(JUNE + at))).map(|(_, row)| *row).collect();
    let body = if script.contains("schema.measurements(") {
        csv(&[
            "#datatype,string,long,string",
            "#group,false,false,false",
            "#default,_result,,",
            ",result,table,_value",
            ",,0,cpu",
        ])
    } else if script.contains("schema.measurementTagKeys(") {
        csv(&[
            "#datatype,string,long,string",
            "#group,false,false,false",
            "#default,_result,,",
            ",result,table,_value",
            ",,0,_start",
            ",,0,_field",
            ",,0,host",
            ",,0,\"da\"\"ta, center\"",
        ])
    } else if script.contains("\"_field\", \"_value\"") {
        let one = |kind: &str, name: &str, value: &str| {
            csv(&[
                &format!("#datatype,string,long,string,{kind}"),
                "#group,false,false,true,false",
                "#default,_result,,,",
                ",result,table,_field,_value",
                &format!(",,0,{name},{value}"),
                "",
            ])
        };
        [
            one("boolean", "b", "true"),
            one("double", "f", "1"),
            one("long", "i", "1"),
            one("string", "s", "x"),
            one("unsignedLong", "u", "1"),
        ]
        .concat()
    } else if script.contains("|> first()") || script.contains("|> last()") {
        let last = script.contains("|> last()");
        let found = if last { within.last() } else { within.first() };
        let mut lines = vec![
            "#datatype,string,long,dateTime:RFC3339Nano".to_owned(),
            "#group,false,false,false".to_owned(),
            "#default,_result,,".to_owned(),
            ",result,table,_time".to_owned(),
        ];
        lines.extend(found.map(|row| format!(",,0,{}", row.split(',').next().unwrap())));
        csv(&lines.iter().map(String::as_str).collect::<Vec<_>>())
    } else {
        assert!(script.contains("r._field == \"s\")\n  |> map("), "{script}");
        let mut lines = vec![
            "#datatype,string,long,dateTime:RFC3339Nano,string,string,boolean,double,long,string,unsignedLong".to_owned(),
            "#group,false,false,false,false,false,false,false,false,false,false".to_owned(),
            "#default,_result,,,,,,,,,".to_owned(),
            ",result,table,_time,host,\"da\"\"ta, center\",b,f,i,s,u".to_owned(),
        ];
        lines.extend(within.iter().map(|row| format!(",,0,{row}")));
        csv(&lines.iter().map(String::as_str).collect::<Vec<_>>())
    };
    Reply { gzip: true, ..Reply::ok(body) }
}

/// The seconds of a point since 2023-06-01 00:00:00 UTC, and its values with their types: `tag`, or as annotations have them.
type Point = (i128, &'static [(&'static str, &'static str, &'static str)]);

/// A measurement `m` with these points, as version 2 would give it.
fn flux(points: &'static [Point]) -> impl Fn(&Request) -> Reply + Send + Sync {
    let table = |types: &[&str], names: &[&str], rows: &[Vec<&str>]| {
        let line = |first: &str, cells: &[&str]| {
            let cells = cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\"")));
            format!("{first},{}\r\n", cells.collect::<Vec<_>>().join(","))
        };
        let mut text = line("#datatype", &[&["string", "long"], types].concat())
            + &line("#default", &[&["_result", ""], &vec![""; types.len()][..]].concat())
            + &line("", &[&["result", "table"], names].concat());
        for row in rows {
            text += &line("", &[&["", "0"], &row[..]].concat());
        }
        text + "\r\n"
    };
    move |request| {
        let script = script(request);
        let bound = |mark: &str| -> i128 {
            script.split(mark).nth(1).unwrap().split(')').next().unwrap().parse().unwrap()
        };
        let (from, to) = (bound("start: time(v: "), bound("stop: time(v: "));
        let moment = |seconds: &i128| (1_685_577_600 + seconds) * 1_000_000_000;
        let within: Vec<&Point> =
            points.iter().filter(|(seconds, _)| (from..to).contains(&moment(seconds))).collect();
        let time = |seconds: &i128| format!("2023-06-01T00:{:02}:{:02}Z", seconds / 60, seconds % 60);
        let mut columns: Vec<(&str, &str)> =
            within.iter().flat_map(|(_, values)| *values).map(|(name, kind, _)| (*kind, *name)).collect();
        columns.sort_unstable();
        columns.dedup();
        let (tags, fields): (Vec<_>, Vec<_>) = columns.into_iter().partition(|(kind, _)| *kind == "tag");
        if script.contains("schema.measurements(") {
            let found: Vec<_> = within.first().map(|_| vec!["m"]).into_iter().collect();
            return Reply::ok(table(&["string"], &["_value"], &found));
        }
        if script.contains("schema.measurementTagKeys(") {
            let rows: Vec<_> = tags.iter().map(|(_, name)| vec![*name]).collect();
            return Reply::ok(table(&["string"], &["_value"], &rows));
        }
        if script.contains("\"_field\", \"_value\"") {
            let one = |(kind, name): &(&str, &str)| {
                table(&["string", kind], &["_field", "_value"], &[vec![*name, "1"]])
            };
            return Reply::ok(fields.iter().map(one).collect::<String>());
        }
        if script.contains("|> first()") || script.contains("|> last()") {
            let found = if script.contains("|> last()") { within.last() } else { within.first() };
            let found = found.map(|(seconds, _)| time(seconds));
            let rows: Vec<_> = found.iter().map(|time| vec![time.as_str()]).collect();
            return Reply::ok(table(&["dateTime:RFC3339Nano"], &["_time"], &rows));
        }
        let asked: Vec<_> = fields
            .iter()
            .filter(|(_, name)| script.contains(&format!("r._field == \"{name}\"")))
            .copied()
            .collect();
        let of = |kind: &'static str| if kind == "tag" { "string" } else { kind };
        let (types, names): (Vec<_>, Vec<_>) = [("dateTime:RFC3339Nano", "_time")]
            .into_iter()
            .chain(tags.iter().copied().chain(asked.iter().copied()).map(|(kind, name)| (of(kind), name)))
            .unzip();
        let mut rows = Vec::new();
        for (seconds, values) in within {
            if !values.iter().any(|(name, kind, _)| asked.contains(&(*kind, *name))) {
                continue;
            }
            let mut row = vec![time(seconds)];
            for (kind, name) in tags.iter().chain(&asked) {
                let value = values.iter().find(|(known, ..)| known == name).map_or("", |(.., value)| *value);
                row.push(if *kind == "string" { format!(".{value}") } else { value.to_owned() });
            }
            rows.push(row);
        }
        let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
        Reply::ok(if rows.is_empty() { String::new() } else { table(&types, &names, &rows) })
    }
}

const TWO: &str = "version=2.7&orgId=org%201&token=hunter2&bucket=b&beginTime=2023-06-01&endTime=2023-06-02";

fn source(server: &StandIn, parameters: &str) -> InfluxSource {
    let dsn: Dsn = format!("influxdb+http://127.0.0.1:{}/?{parameters}", server.port).parse().unwrap();
    let params = Params::parse("influxdb", PARAMS, dsn.params()).unwrap();
    InfluxSource::new(InfluxOptions::from_dsn(&dsn, &params).unwrap())
}

#[tokio::test]
async fn version_two_by_flux() {
    let server = StandIn::start("v2.7.1", version_two);
    let influx = source(&server, TWO);
    let batches = read_all(&influx, 1).await.unwrap();
    // A null is none, an empty text is one; integers are whole.
    assert_eq!(
        rows(&batches),
        parsed(&[
            r#"{"time":"2023-06-01T00:00:00.000000001Z","host":"a","da\"ta, center":null,"b":true,"f":1e+300,"i":9007199254740993,"s":"ü \"x\"\r\ny","u":18446744073709551615}"#,
            r#"{"time":"2023-06-01T00:00:00.000000001Z","host":"b","da\"ta, center":"x y","b":null,"f":null,"i":null,"s":"","u":null}"#,
            r#"{"time":"2023-06-01T00:01:30.000000000Z","host":"b","da\"ta, center":null,"b":false,"f":-0.5,"i":-9223372036854775808,"s":".","u":0}"#,
        ])
    );
    let schema = batches[0].schema();
    assert_eq!((schema.columns()[1].role(), schema.columns()[3].role()), (Role::Tag, Role::Field));
    let asked = server.asked.lock().unwrap();
    assert!(asked.iter().all(|request| request.authorization == "Token hunter2"), "{asked:?}");
    assert!(asked.iter().all(|request| request.path == "/api/v2/query?org=org%201"), "{asked:?}");
}

/// Flux has columns of its own before those of the data: `result` and `table`. Tags and fields may be called the same.
#[tokio::test]
async fn names_of_flux_are_names_of_tags_and_fields() {
    let server = StandIn::start(
        "v2.7.1",
        flux(&[
            (1, &[("table", "tag", "x"), ("result", "long", "7")]),
            (2, &[("table", "tag", "y"), ("other", "double", "1.5")]),
        ]),
    );
    let batches = read_all(&source(&server, TWO), 1).await.unwrap();
    assert_eq!(
        rows(&batches),
        parsed(&[
            r#"{"time":"2023-06-01T00:00:01.000000000Z","table":"x","other":null,"result":7}"#,
            r#"{"time":"2023-06-01T00:00:02.000000000Z","table":"y","other":1.5,"result":null}"#,
        ])
    );
    // One of them that has come up since the keys were listed is seen.
    let column = |name: &str| {
        let mut column = Column::default();
        column.name.push_str(name);
        column
    };
    let header: Vec<_> = ["", "result", "table", "_time", "table"].map(column).into();
    let mut keys = Keys::default();
    keys.fields.insert("v".to_owned(), vec![FieldType::Float]);
    let layout = Layout::of("m", &keys, &[]).unwrap();
    let check = |header: &[Column]| super::v2::check(&TableId::new("m"), &layout, header);
    assert!(check(&header[..4]).is_ok());
    assert!(check(&header).unwrap_err().message().contains("\"table\" has come up"));
}

#[tokio::test]
async fn refusals_of_version_two_say_what_to_do() {
    for (status, body, kind, expected) in [
        (401, r#"{"code":"unauthorized","message":"unauthorized access"}"#, ErrorKind::Auth, "token="),
        (
            404,
            r#"{"code":"not found","message":"failed to initialize execute state: could not find bucket \"b\""}"#,
            ErrorKind::NotFound,
            "check bucket= and orgId=",
        ),
        (429, r#"{"code":"too many requests","message":"slow down"}"#, ErrorKind::Unavailable, "slow down"),
        (503, "busy", ErrorKind::Unavailable, "busy"),
    ] {
        let server = StandIn::start("2.7.1", move |_| Reply { status, ..Reply::ok(body) });
        let error = read_all(&source(&server, TWO), 1).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error.report());
        assert!(
            error.report().contains(expected) && !error.report().contains("hunter2"),
            "{}",
            error.report()
        );
    }
    // The other version than the address says, both ways.
    let server = StandIn::start("v2.7.1", version_two);
    let error = read_all(&source(&server, "version=1.7&bucket=b&beginTime=2023-06-01"), 1).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::Config && error.report().contains("give version=2.x"),
        "{}",
        error.report()
    );
    let server = StandIn::start("1.8.10", version_two);
    let error = read_all(&source(&server, TWO), 1).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::Config && error.report().contains("give version=1.x"),
        "{}",
        error.report()
    );
}

/// An answer that breaks off is no end.
#[tokio::test]
async fn what_breaks_off_is_tried_again() {
    for (cut, partial) in [(true, false), (false, true)] {
        let server = StandIn::start("1.8.10", move |request| {
            let body = if request.body.contains("SHOW%20RETENTION") {
                r#"{"results":[{"series":[{"columns":["name"],"values":[["autogen"]]}]}]}"#.to_owned()
            } else if request.body.contains("SHOW%20TAG") {
                r#"{"results":[{}]}"#.to_owned()
            } else if request.body.contains("SHOW%20FIELD") {
                r#"{"results":[{"series":[{"name":"m","values":[["n","integer"]]}]}]}"#.to_owned()
            } else if request.body.contains("LIMIT") {
                r#"{"results":[{"series":[{"values":[[1685577600000000000,1]]}]}]}"#.to_owned()
            } else {
                let rows = format!(
                    r#"{{"results":[{{"series":[{{"name":"m","values":[[1685577600000000000,1]]}}],"partial":{partial}}}]}}"#
                );
                return Reply { cut, ..Reply::ok(format!("{rows}\n")) };
            };
            Reply::ok(body)
        });
        let influx = source(&server, "version=1.8&bucket=b&beginTime=2023-06-01&endTime=2023-06-02");
        let error = read_all(&influx, 1).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Unavailable, Retry::Backoff),
            "{}",
            error.report()
        );
    }
}

/// A server that answers no more than four seconds at once, and says so when it has begun: each point comes once, in order.
#[tokio::test]
async fn windows_shrink_to_what_a_server_can_answer() {
    const HALF: i128 = 500_000_000;
    const BEGIN: i128 = 1_685_577_600_000_000_000;
    let server = StandIn::start("1.8.10", |request| {
        let bound = |mark: &str| {
            let at = request.body.split(mark).nth(1).unwrap();
            at.split("%20").next().unwrap().parse::<i128>().unwrap()
        };
        let body = if request.body.contains("SHOW%20RETENTION") || request.body.contains("SHOW%20TAG") {
            r#"{"results":[{}]}"#.to_owned()
        } else if request.body.contains("SHOW%20FIELD") {
            r#"{"results":[{"series":[{"name":"m","values":[["n","integer"]]}]}]}"#.to_owned()
        } else {
            let (from, to) = (bound("time%20%3E%3D%20"), bound("time%20%3C%20"));
            // Two points at a time, each half second for a minute.
            let times =
                (0..240).map(|n| BEGIN + n / 2 * HALF).enumerate().filter(|(_, at)| (from..to).contains(at));
            let rows: Vec<String> = times.map(|(n, at)| format!("[{at},{n}]")).collect();
            let document = |rows: &[String], more: &str| {
                format!(
                    r#"{{"results":[{{"series":[{{"name":"m","values":[{}]}}]{more}}}]}}"#,
                    rows.join(",")
                )
            };
            if request.body.contains("LIMIT") {
                document(&rows[..rows.len().min(1)], "")
            } else if to - from > 8 * HALF && rows.len() > 5 {
                let broken = r#"{"results":[{"error":"max-select-point limit exceeed: (13/12)"}]}"#;
                format!("{}\n{broken}\n", document(&rows[..5], r#","partial":true"#))
            } else {
                document(&rows, "")
            }
        };
        Reply::ok(body)
    });
    let influx = source(&server, "version=1.8&bucket=b&beginTime=2023-06-01&endTime=2023-06-02&batch_rows=3");
    let batches = read_all(&influx, 1).await.unwrap();
    let numbers: Vec<String> = batches
        .iter()
        .flat_map(|batch| {
            (0..batch.rows()).map(|row| batch.row(row).get("n").unwrap().to_string()).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(numbers, (0..240).map(|n| n.to_string()).collect::<Vec<_>>());
    // Not asked for half a minute again and again.
    let asked = server.asked.lock().unwrap().len();
    assert!(asked < 60, "{asked}");
}

/// A reader asks version 2 for the keys of what it reads: not for those of every measurement.
#[tokio::test]
async fn a_reader_looks_at_its_own_measurement() {
    let inner = flux(&[(1, &[("v", "double", "1.5")])]);
    let server = StandIn::start("v2.7.1", move |request| {
        if script(request).contains("schema.measurements(") {
            return Reply::ok(csv(&[
                "#datatype,string,long,string",
                "#default,_result,,",
                ",result,table,_value",
                ",,0,m",
                ",,0,n",
                ",,0,o",
            ]));
        }
        inner(request)
    });
    for more in ["", "&measurements=n,o"] {
        let influx = source(&server, &format!("{TWO}{more}"));
        let splits = influx.splits(1, &[]).await.unwrap();
        let split = splits.iter().find(|split| &*split.id == "n").unwrap();
        server.asked.lock().unwrap().clear();
        let mut reader = influx.open(split, None).await.unwrap();
        let mut points = 0;
        while let Some(read) = reader.next().await.unwrap() {
            points += rows(&read.decoded.batches).len();
        }
        let asked = server.asked.lock().unwrap();
        let others =
            asked.iter().map(script).filter(|script| script.contains("\"m\"") || script.contains("\"o\""));
        assert_eq!((points, others.count()), (1, 0));
    }
}

/// Keys come by pieces, as rows do: `max-row-limit` cuts answers that come as a whole.
#[tokio::test]
async fn keys_come_by_pieces() {
    let server = StandIn::start("1.8.10", |request| {
        assert!(request.path.contains("&chunked=true"), "{}", request.path);
        let (asked, mark) = (&request.body, "SHOW%20");
        let piece = |values: &str, more: &str| {
            format!("{{\"results\":[{{\"series\":[{{\"name\":\"m\",\"values\":{values}}}]{more}}}]}}\n")
        };
        let partial = r#","partial":true"#;
        Reply::ok(if asked.contains(&format!("{mark}FIELD")) {
            piece(r#"[["a","integer"]]"#, partial) + &piece(r#"[["b","float"]]"#, "")
        } else if asked.contains(&format!("{mark}TAG")) {
            piece(r#"[["g"]]"#, partial) + &piece(r#"[["h"]]"#, "")
        } else if asked.contains(mark) {
            "{\"results\":[{}]}\n".to_owned()
        } else if asked.contains("LIMIT") {
            piece("[[1685577600000000000,1]]", "")
        } else {
            piece(r#"[[1685577600000000000,"x","y",1,2.5]]"#, "")
        })
    });
    let influx = source(&server, "version=1.8&bucket=b&beginTime=2023-06-01&endTime=2023-06-01T00:00:30");
    let read = read_all(&influx, 1).await.unwrap();
    assert_eq!(
        rows(&read),
        parsed(&[r#"{"time":"2023-06-01T00:00:00.000000000Z","g":"x","h":"y","a":1,"b":2.5}"#])
    );
}

/// A server that cannot say where points begin is asked for them window by window.
#[tokio::test]
async fn what_is_too_large_to_be_looked_at_is_read() {
    let inner = flux(&[
        (1, &[("v", "double", "1.5")]),
        (200, &[("v", "double", "2.5")]),
        (3_000, &[("v", "double", "3.5")]),
    ]);
    let server = StandIn::start("v2.7.1", move |request| {
        let script = script(request);
        if script.contains("\"_time\"], desc") {
            return Reply { status: 500, ..Reply::ok(r#"{"message":"query timeout"}"#) };
        }
        inner(request)
    });
    for lanes in [1, 3] {
        let found = rows(&read_all(&source(&server, TWO), lanes).await.unwrap());
        let found: Vec<_> = found.iter().map(|row| row["v"].to_string()).collect();
        assert_eq!(found, ["1.5", "2.5", "3.5"]);
    }
}

/// Columns that are asked for by name are read where they are: no minute needs to have them all, or any.
#[tokio::test]
async fn version_two_reads_windows_without_the_columns_that_are_asked_for() {
    let server = StandIn::start(
        "v2.7.1",
        flux(&[
            (1, &[("host", "tag", "a"), ("other", "long", "1")]),
            (200, &[("host", "tag", "a"), ("v", "double", "2.5")]),
            (400, &[("v", "double", "3.5"), ("other", "long", "1")]),
            (600, &[("host", "tag", "a"), ("other", "long", "1")]),
        ]),
    );
    let batches = read_all(&source(&server, &format!("{TWO}&columns=host,v")), 1).await.unwrap();
    let found: Vec<_> = rows(&batches).iter().map(|row| row["v"].to_string()).collect();
    assert_eq!(found, ["2.5", "3.5"]);
    // What no point of the whole range has is an error still.
    let error = read_all(&source(&server, &format!("{TWO}&columns=v,hots")), 1).await.unwrap_err();
    assert!(error.report().contains("did you mean `host`?"), "{}", error.report());
}

/// A job does not go on in another retention policy, or another organization, where the first one had come to.
#[tokio::test]
async fn a_job_keeps_to_its_bucket() {
    let server = StandIn::start("v2.7.1", flux(&[(1, &[("v", "double", "1")])]));
    let split = &source(&server, TWO).splits(1, &[]).await.unwrap()[0];
    let other = source(&server, &TWO.replace("orgId=org%201", "orgId=org%202"));
    assert!(source(&server, TWO).open(split, None).await.is_ok());
    assert_eq!(other.open(split, None).await.unwrap_err().kind(), ErrorKind::Config);
    let what = |bucket: &str| {
        let dsn: Dsn =
            format!("influxdb://h/?version=1.8&bucket={bucket}&beginTime=2023-06-01").parse().unwrap();
        let options =
            InfluxOptions::from_dsn(&dsn, &Params::parse("influxdb", PARAMS, dsn.params()).unwrap()).unwrap();
        let windows = Arc::new(Windows::new(options.window));
        Cursor { options: Arc::new(options), windows }.what().unwrap()
    };
    assert_ne!(what("db/a"), what("db/b"));
    assert_ne!(what("db/a"), what("db"));
}
