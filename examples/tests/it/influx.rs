//! Points of a real InfluxDB.

use kwsync_core::testkit::{InfluxServer, PgServer};

use super::support::Place;

/// The command of taosX's manual, into PostgreSQL, with an end.
#[test]
fn one_measurement_arrives() {
    let (Some(influx), Some(server)) = (InfluxServer::shared(), PgServer::shared()) else { return };
    let (db, to) = (influx.create_database(), server.create_database());
    influx.write(
        &db,
        "cpu,host=a usage=0.5,n=1i 1700000000000000000\ncpu,host=b usage=1 1700000060000000000\n",
    );
    let from = format!(
        "influxdb+http://127.0.0.1:{}/?version=1.6&bucket={db}&measurements=cpu&beginTime=2023-06-01T00:00:00+0800&endTime=2024-01-01T00:00:00Z&readWindow=M",
        influx.port()
    );
    Place::new().run(&["run", "--from", &from, "--to", &server.dsn(&to), "-vv"]).expect(0);
    assert_eq!(
        server.psql(&to, "SELECT time AT TIME ZONE 'UTC', host, n, usage FROM cpu ORDER BY time"),
        "2023-11-14 22:13:20|a|1|0.5\n2023-11-14 22:14:20|b||1\n"
    );
}
