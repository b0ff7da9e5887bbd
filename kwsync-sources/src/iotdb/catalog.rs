//! What the server has: devices, and their series.

use std::collections::BTreeMap;
use std::sync::Arc;

use kwsync_core::system::iotdb::{Path, SeriesType, Session, device_comment, quoted};
use kwsync_core::{Column, DataType, Error, ErrorKind, Location, Result, Role, Schema, TableId, TimeUnit};

use super::config::{IotdbOptions, TableOf};

/// A device, and what is read of it.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) path: Path,
    pub(super) table: TableId,
    /// The time, the device, and the measurements.
    pub(super) schema: Arc<Schema>,
    /// Whether it is a table of its own since it differs from the others of its database.
    pub(super) apart: bool,
    /// The measurements, as statements have them.
    pub(super) measurements: Vec<String>,
}

impl Device {
    /// The rows from `first` to `last`, both included.
    pub(super) fn statement(&self, first: i64, last: i64) -> String {
        let mut statement = format!("SELECT {} FROM {}", self.measurements.join(", "), self.path);
        let mut word = " WHERE";
        for (bound, sign, open) in [(first, ">=", i64::MIN), (last, "<=", i64::MAX)] {
            if bound != open {
                statement.push_str(&format!("{word} time {sign} {bound}"));
                word = " AND";
            }
        }
        statement
    }
}

/// The longest path of whole nodes that every series of the pattern lies below.
pub(super) fn below(pattern: &str) -> String {
    let mut end = 0;
    let mut quoted = false;
    for (at, c) in pattern.char_indices() {
        match c {
            '`' => quoted = !quoted,
            '.' if !quoted => end = at,
            _ => {}
        }
    }
    match pattern.get(..end) {
        None | Some("") => "root".to_owned(),
        Some(whole) => whole.to_owned(),
    }
}

/// The devices whose series match the pattern, by their paths.
pub(super) async fn devices(session: &mut Session, options: &IotdbOptions) -> Result<Vec<Device>> {
    let place = below(&options.pattern);
    let unit = session.unit();
    let mut found: BTreeMap<Path, (Path, Vec<(String, SeriesType)>)> = BTreeMap::new();
    for row in session.show(&format!("SHOW TIMESERIES {place}.**")).await? {
        let text = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
        let (name, database) = (text(0), text(2));
        // A view has what another series has; the server's own databases are nobody's data.
        let own = ["root.__system", "root.__audit"].contains(&database);
        if !name.starts_with(&options.pattern) || own || text(10).eq_ignore_ascii_case("view") {
            continue;
        }
        let path: Path = name.parse()?;
        let series = SeriesType::from_name(text(3)).ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!("{name} is of type {}, which is unknown here", text(3)),
            )
            .with_hint("leave it out with pattern=")
        })?;
        let Some((measurement, device)) = path.nodes().split_last() else { continue };
        let device: Path = joined(device)?;
        let entry = found.entry(device).or_insert_with(|| (Path::root(), Vec::new()));
        entry.0 = database.parse()?;
        entry.1.push((measurement.clone(), series));
    }
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let mut aligned: BTreeMap<Path, bool> = BTreeMap::new();
    for row in session.show(&format!("SHOW DEVICES {place}.**")).await? {
        if let Some(path) = row.first().and_then(|path| path.as_deref()?.parse().ok()) {
            aligned.insert(path, row.get(1).and_then(Option::as_deref) == Some("true"));
        }
    }
    // A table has one type a column. Of two devices that differ in it the first by its path decides, and the other is a table of its own.
    let mut types: BTreeMap<(Path, String), SeriesType> = BTreeMap::new();
    let mut devices = Vec::with_capacity(found.len());
    for (path, (database, mut series)) in found {
        series.sort();
        let aligned = aligned.get(&path).copied().unwrap_or(false);
        let mut alone = options.tables == TableOf::Device;
        for (name, kind) in &series {
            let key = (database.clone(), name.clone());
            alone |= types.get(&key).is_some_and(|known| known != kind);
        }
        if !alone {
            types.extend(series.iter().map(|(name, kind)| ((database.clone(), name.clone()), *kind)));
        }
        let table = if alone { path.without_root() } else { database.without_root() };
        let apart = alone && options.tables == TableOf::Database;
        devices.push(Device { apart, ..device(options, unit, path, &database, &table, &series, aligned)? });
    }
    Ok(devices)
}

fn joined(nodes: &[String]) -> Result<Path> {
    let text: Vec<_> = nodes.iter().map(|node| quoted(node)).collect();
    text.join(".").parse()
}

fn device(
    options: &IotdbOptions,
    unit: TimeUnit,
    path: Path,
    database: &Path,
    table: &str,
    series: &[(String, SeriesType)],
    aligned: bool,
) -> Result<Device> {
    let device = Column::new(options.device_column.as_str(), DataType::Text)
        .with_role(Role::PrimaryTag)
        .with_nullable(false)
        .with_comment(device_comment(database, aligned));
    let time =
        Column::new("time", DataType::TimestampTz(unit)).with_role(Role::Timestamp).with_nullable(false);
    let mut columns = vec![time, device];
    for (name, series) in series {
        if *name == options.device_column || name == "time" {
            let text = format!(
                "{path} has a measurement {name:?}, and the column of this name holds something else here"
            );
            return Err(Error::new(ErrorKind::Schema, text)
                .with_location(Location::new().with_table(table).with_column(name.as_str()))
                .with_hint(
                    "give that column another name with device_column=, at the source and at a sink of IoTDB",
                ));
        }
        columns.push(Column::new(name.as_str(), series.data_type(unit)));
    }
    let measurements = series.iter().map(|(name, _)| quoted(name).into_owned()).collect();
    Ok(Device {
        path,
        table: TableId::from(table),
        schema: Arc::new(Schema::new(columns)?),
        apart: false,
        measurements,
    })
}

/// Tables, and what a person should know of them.
pub(super) type Known = (Vec<(TableId, Arc<Schema>)>, Vec<String>);

/// The tables that devices make up, with all columns of theirs; of two types of a column the first.
pub(super) fn tables(devices: &[Device]) -> Result<Known> {
    let mut found: BTreeMap<&TableId, Vec<Column>> = BTreeMap::new();
    let mut notes = Vec::new();
    for device in devices {
        if device.apart && notes.len() < 20 {
            notes.push(format!(
                "{} has a measurement of another type than the devices before it, and is a table of its own",
                device.path
            ));
        }
        let known = found.entry(&device.table).or_default();
        for column in device.schema.columns() {
            if known.iter().all(|other| other.name() != column.name()) {
                known.push(column.clone());
            }
        }
    }
    let tables =
        found.into_iter().map(|(table, columns)| Ok((table.clone(), Arc::new(Schema::new(columns)?))));
    Ok((tables.collect::<Result<_>>()?, notes))
}
