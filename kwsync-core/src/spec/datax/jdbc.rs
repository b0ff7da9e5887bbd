//! Properties of JDBC drivers, which stand in the addresses of jobs: carried over where they mean something here.

use super::plugin::Plugin;
use crate::config::Dsn;

/// Properties that tune the driver of Java. What they are about is either always so here, or there is no such thing.
const IGNORED: [&str; 39] = [
    "allowLoadLocalInfile",
    "allowMultiQueries",
    "allowPublicKeyRetrieval",
    "applicationName",
    "autoReconnect",
    "batchfetch",
    "binaryTransfer",
    "cachePrepStmts",
    "characterEncoding",
    "charset",
    "compress",
    "dataTransferTimeout",
    "decompress",
    "defaultRowFetchSize",
    "failOverReadOnly",
    "maxReconnects",
    "noAccessToProcedureBodies",
    "nullCatalogMeansCurrent",
    "packetSize",
    "preferQueryMode",
    "prepareThreshold",
    "responseBuffering",
    "reWriteBatchedInserts",
    "rewriteBatchedStatements",
    "selectMethod",
    "sendStringParametersAsUnicode",
    "serverTimezone",
    "socketTimeout",
    "stringtype",
    "tcpKeepAlive",
    "timestampFormat",
    "tinyInt1isBit",
    "useCursorFetch",
    "useLegacyDatetimeCode",
    "useServerPrepStmts",
    "useUnicode",
    "use_server_time_zone",
    "use_time_zone",
    "yearIsDateType",
];

/// The address with the parameters of the connector in the place of the driver's properties. `reads` says which end it is.
pub(super) fn carry_over(plugin: &Plugin, dsn: Dsn, reads: bool, notes: &mut Vec<String>) -> Dsn {
    let given: Vec<(String, Option<String>)> =
        dsn.params().map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).collect();
    let mut made = dsn.without_params();
    let mut ignored = Vec::new();
    if let Some(mode) = ssl_mode(&given).filter(|_| plugin.jdbc == "mysql") {
        made = made.with_param("ssl_mode", Some(mode.to_owned()));
    }
    for (name, value) in given {
        let text = value.clone().unwrap_or_default();
        let on = text.eq_ignore_ascii_case("true") || value.is_none();
        let milliseconds = || Some(format!("{text}ms"));
        let carried = match (plugin.jdbc, name.as_str()) {
            ("mysql", "useSSL" | "requireSSL" | "verifyServerCertificate") => continue,
            ("mysql", "sslMode") => Some(("ssl_mode", Some(text.to_ascii_lowercase()))),
            ("mysql", "connectTimeout") if !text.is_empty() => Some(("connect_timeout", milliseconds())),
            ("mysql", "zeroDateTimeBehavior") if reads && text.to_ascii_lowercase().ends_with("null") => {
                Some(("zero_dates", Some("null".to_owned())))
            }
            ("mysql", "zeroDateTimeBehavior") => {
                ignored.push(name);
                continue;
            }
            ("postgresql" | "kaiwudb", "ssl") => {
                Some(("sslmode", Some(if on { "verify-full" } else { "disable" }.to_owned())))
            }
            ("postgresql" | "kaiwudb", "currentSchema") => Some(("schema", value.clone())),
            ("postgresql" | "kaiwudb", "ApplicationName") => Some(("application_name", value.clone())),
            ("postgresql" | "kaiwudb", "connectTimeout" | "loginTimeout") if !text.is_empty() => {
                Some(("connect_timeout", Some(format!("{text}s"))))
            }
            ("clickhouse", "socket_timeout") if !text.is_empty() => Some(("timeout", milliseconds())),
            ("clickhouse", "connection_timeout" | "connect_timeout") if !text.is_empty() => {
                Some(("connect_timeout", milliseconds()))
            }
            ("sqlserver", "loginTimeout") if !text.is_empty() => {
                Some(("connect_timeout", Some(format!("{text}s"))))
            }
            _ => None,
        };
        match carried {
            Some((name, value)) => made = made.with_param(name, value),
            None if IGNORED.iter().any(|known| known.eq_ignore_ascii_case(&name)) => ignored.push(name),
            // Its own parameters, and what nobody knows: the connector says so.
            None => made = made.with_param(name, value),
        }
    }
    if !ignored.is_empty() {
        notes.push(format!("{} of the address ignored: they tune the driver of Java", ignored.join(", ")));
    }
    made
}

/// What the three switches of MySQL's driver come to, as its documentation has it.
fn ssl_mode(given: &[(String, Option<String>)]) -> Option<&'static str> {
    let switch = |name: &str| {
        let (_, value) = given.iter().find(|(known, _)| known == name)?;
        Some(value.as_deref().is_none_or(|value| value.eq_ignore_ascii_case("true")))
    };
    match (switch("useSSL"), switch("requireSSL"), switch("verifyServerCertificate")) {
        (None, None, None) => None,
        (Some(false), ..) => Some("disabled"),
        (_, _, Some(true)) => Some("verify_ca"),
        (_, Some(true), _) => Some("required"),
        _ => Some("preferred"),
    }
}
