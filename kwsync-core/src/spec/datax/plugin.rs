//! The plugins of DataX by name, and what they are here.

use crate::config::did_you_mean;
use crate::spec::document::{Fields, Wrong};

/// How the parameters of a plugin are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// A database of SQL, by its JDBC address.
    Sql,
    /// KaiwuDB: one table, windows of time.
    Kaiwudb,
    /// TDengine by SQL.
    Tdengine,
    MongoDb,
    InfluxDb,
    OpenTsdb,
}

/// A plugin: its name there, its driver here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plugin {
    pub(super) name: &'static str,
    pub(super) driver: &'static str,
    pub(super) family: Family,
    /// The name behind `jdbc:`.
    pub(super) jdbc: &'static str,
    /// The port that templates show.
    pub(super) port: u16,
}

const fn plugin(
    name: &'static str,
    driver: &'static str,
    family: Family,
    jdbc: &'static str,
    port: u16,
) -> Plugin {
    Plugin { name, driver, family, jdbc, port }
}

pub(super) const READERS: [Plugin; 13] = [
    plugin("mysqlreader", "mysql", Family::Sql, "mysql", 3306),
    plugin("postgresqlreader", "postgres", Family::Sql, "postgresql", 5432),
    plugin("oraclereader", "oracle", Family::Sql, "oracle", 1521),
    plugin("sqlserverreader", "sqlserver", Family::Sql, "sqlserver", 1433),
    plugin("clickhousereader", "clickhouse", Family::Sql, "clickhouse", 8123),
    plugin("mongodbreader", "mongodb", Family::MongoDb, "", 27017),
    plugin("influxdb10reader", "influxdb+http", Family::InfluxDb, "", 8086),
    plugin("influxdb20reader", "influxdb+http", Family::InfluxDb, "", 8086),
    plugin("opentsdbreader", "opentsdb+http", Family::OpenTsdb, "", 4242),
    plugin("tdengine20reader", "taos", Family::Tdengine, "TAOS-RS", 6041),
    plugin("tdenginereader", "taos", Family::Tdengine, "TAOS-RS", 6041),
    plugin("tdengine30reader", "taos", Family::Tdengine, "TAOS-RS", 6041),
    plugin("kaiwudbreader", "kwdb", Family::Kaiwudb, "kaiwudb", 26257),
];

pub(super) const WRITERS: [Plugin; 6] = [
    plugin("kaiwudbwriter", "kwdb", Family::Kaiwudb, "kaiwudb", 26257),
    plugin("mysqlwriter", "mysql", Family::Sql, "mysql", 3306),
    plugin("postgresqlwriter", "postgres", Family::Sql, "postgresql", 5432),
    plugin("tdenginewriter", "taos", Family::Tdengine, "TAOS-RS", 6041),
    plugin("tdengine20writer", "taos", Family::Tdengine, "TAOS-RS", 6041),
    plugin("tdengine30writer", "taos", Family::Tdengine, "TAOS-RS", 6041),
];

/// The plugin called `name`, in any letter case.
pub(super) fn find<'a>(name: &str, plugins: &'a [Plugin]) -> Option<&'a Plugin> {
    plugins.iter().find(|plugin| plugin.name.eq_ignore_ascii_case(name.trim()))
}

/// What is said of a name that no plugin has.
pub(super) fn unknown(name: &str, plugins: &[Plugin], kind: &str) -> (String, String) {
    let names = || plugins.iter().map(|plugin| plugin.name);
    let meant = did_you_mean(name, names());
    let known = names().collect::<Vec<_>>().join(", ");
    (format!("there is no {kind} {name:?}{meant}"), format!("known {kind}s are: {known}"))
}

/// The plugin and its parameters.
pub(super) fn open<'a>(
    fields: Fields<'a>,
    plugins: &'static [Plugin],
    kind: &'static str,
) -> Option<(&'static Plugin, Fields<'a>)> {
    let found = fields.required("name", &format!("which {kind} it is")).and_then(|name| {
        let found = find(name, plugins);
        if found.is_none() {
            let (text, hint) = unknown(name, plugins, kind);
            fields.fault("name", Wrong::Value, format!("`{}`: {text}", fields.path("name")), Some(hint));
        }
        found
    });
    let parameter = fields.object("parameter");
    if parameter.is_none() {
        fields.missing_unless_there("parameter", "the parameters: {...}");
    }
    fields.finish();
    found.zip(parameter)
}
