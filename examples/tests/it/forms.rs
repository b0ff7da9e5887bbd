//! Jobs in the forms of other tools.

use kwsync_core::testkit::PgServer;

use super::support::{Place, block};

#[test]
fn templates_and_what_is_not_there() {
    let place = Place::new();
    let template = place.run(&["job", "--template", "mysqlreader", "kaiwudbwriter"]).expect(0).out();
    assert_eq!(place.run(&["job", "-r", "mysqlreader", "-w", "kaiwudbwriter"]).expect(0).out(), template);
    place.write("job.json", &template);
    let spec = place.run(&["job", "job.json", "--show-spec", "--jobs", "3", "--jvm=-Xmx1G"]).expect(0).out();
    let spec: serde_json::Value = serde_json::from_str(&spec).unwrap();
    assert_eq!(
        (&spec[0]["jobs"], &spec[0]["errors"], &spec[0]["max_errors"]),
        (&3.into(), &"skip".into(), &"0".into())
    );

    // a missing file, an unknown reader, nothing at all
    let said = place.run(&["job", "absent.json"]).expect(2).err();
    assert!(said.contains("cannot read absent.json") && said.contains("check the path"), "{said}");
    let said = place.run(&["job", "--template", "mysqlraeder", "kaiwudbwriter"]).expect(2).err();
    assert!(
        said.contains(
            "KaiwuDBWriter-02: Invalid value: there is no reader \"mysqlraeder\", did you mean `mysqlreader`?"
        ),
        "{said}"
    );
    place.run(&["job"]).expect(2);
    let said = place.run(&["job", "job.json", "-p", "day=1"]).expect(2).err();
    assert!(said.contains("-Dname=value"), "{said}");

    // what has no connector is refused by name, with what there is
    let oracle = place.run(&["job", "--template", "oraclereader", "kaiwudbwriter"]).expect(0).out();
    place.write("oracle.json", oracle);
    let said = place.run(&["job", "oracle.json"]).expect(2).err();
    if cfg!(feature = "odbc") {
        assert!(said.contains("KaiwuDBWriter-00") && said.contains("which ODBC driver"), "{said}");
    } else {
        assert!(
            said.contains("KaiwuDBWriter-00: Invalid configuration: there is no source `oracle`"),
            "{said}"
        );
        assert!(said.contains("this build has the sources "), "{said}");
    }
}

#[test]
fn a_configuration_of_kafka_connect_shows_what_it_becomes() {
    let place = Place::new();
    place.write("cpu.json", block("migrating/kafka-connect.md", "json", 0));
    let brokers = ["--bootstrap-servers", "broker:9092", "--show-spec"];
    let shown = place.run(&[&["connect", "cpu.json"][..], &brokers].concat()).expect(0).out();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        shown,
        serde_json::from_str::<serde_json::Value>(&block("migrating/kafka-connect.md", "json", 1)).unwrap()
    );
    // The brokers of a worker's file.
    place.write("worker.properties", "bootstrap.servers=broker:9092\n");
    let worker =
        place.run(&["connect", "cpu.json", "--worker", "worker.properties", "--show-spec"]).expect(0).out();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&worker).unwrap(), shown);

    for (arguments, wanted) in [
        (&["connect", "cpu.json", "--bootstrap-servers", "h:x"][..], "--bootstrap-servers: "),
        (&["connect", "cpu.json", "--worker", "absent.properties"], "cannot read absent.properties"),
        (&["connect", "absent.json"], "cannot read absent.json"),
    ] {
        let said = place.run(arguments).expect(2).err();
        assert!(said.contains(wanted), "{arguments:?}: {said}");
    }
}

#[test]
fn a_command_line_of_taosx_runs_with_the_name_changed() {
    let Some(server) = PgServer::shared() else { return };
    let (place, database) = (Place::new(), server.create_database());
    place.write(
        "meters.csv",
        "ts,current,voltage\n2024-05-01T00:00:00Z,10.5,220\n2024-05-01T00:00:01Z,10.25,221\n",
    );
    let command = block("migrating/taosx.md", "sh", 0);
    let made = kwsync_core::spec::taosx::read(&command).unwrap();
    assert_eq!((made.specs[0].jobs, made.specs[0].transforms.len()), (2, 2));
    // As the shell would cut it.
    let command = command
        .replace("postgres://USER:PASSWORD@HOST:5432/power", &server.dsn(&database))
        .replacen("kwsync run", &format!("'{}' run", env!("CARGO_BIN_EXE_kwsync")), 1);
    let mut shell = place.command_of("sh", &["-c", &command]);
    super::support::Ran::of(shell.output().unwrap()).expect(0);
    let rows = server.psql(&database, "SELECT current, voltage, site FROM power_meters ORDER BY ts");
    assert_eq!(rows, "10.5|220|berlin\n10.25|221|berlin\n");
}
