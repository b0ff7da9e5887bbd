//! The sink: what the server has, what is made, and what the writers share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use kwsync_core::system::iotdb::{Path, SeriesType, Session, quoted};
use kwsync_core::{
    Backoff, Capabilities, Cast, DataType, Delivery, Error, ErrorKind, Lane, Location, Plan, Result, Retry,
    Role, Schema, Sink, TableId,
};
use tokio::sync::Mutex as AsyncMutex;

use super::config::{Aligned, IotdbOptions};
use super::device::{Naming, home_of, no_database};
use super::writer::IotdbWriter;

/// Series of a table that are looked up at once; where there are more, devices are looked up as they come.
const SERIES_AT_ONCE: usize = 50_000;

/// What the server has of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Device {
    /// Whether it is aligned, where it is there.
    pub(super) aligned: Option<bool>,
    /// Its series, by the name of the measurement.
    pub(super) series: HashMap<String, SeriesType>,
}

/// What becomes of the columns of a schema.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) schema: Arc<Schema>,
    pub(super) naming: Naming,
    pub(super) time: usize,
    pub(super) fields: Vec<Field>,
    /// Whether devices that are made are aligned.
    pub(super) aligned: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) column: usize,
    pub(super) name: String,
    pub(super) data_type: DataType,
    /// The type of a series that is made.
    pub(super) series: SeriesType,
}

/// What the writers of a sink share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: IotdbOptions,
    /// The tables that are ready, and whether every device of theirs that is not known is none yet.
    tables: RwLock<HashMap<TableId, bool>>,
    devices: Mutex<HashMap<Arc<str>, Arc<Device>>>,
}

impl Shared {
    /// Whether a table is ready, and if so, whether every device of its that is not known is none yet.
    pub(super) fn ready(&self, table: &TableId) -> Option<bool> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).get(table).copied()
    }

    pub(super) fn device(&self, path: &str) -> Option<Arc<Device>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    pub(super) fn learn(&self, path: Arc<str>, device: Device) -> Arc<Device> {
        let device = Arc::new(device);
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).insert(path, Arc::clone(&device));
        device
    }

    /// A session, tried again while no node can be reached.
    pub(super) async fn connect(&self) -> Result<Session> {
        let mut backoff = self.backoff();
        loop {
            match Session::connect(&self.options.connect).await {
                Ok(session) => return Ok(session),
                Err(error) if error.retry() == Retry::Never => return Err(error),
                Err(error) => {
                    let Some(wait) = backoff.next_wait() else { return Err(error) };
                    tracing::warn!(%error, "connecting again");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff::new(Duration::from_millis(200), Duration::from_secs(10), self.options.attempts)
    }

    /// What becomes of the columns of a table.
    pub(super) fn layout(&self, session: &Session, table: &TableId, schema: &Arc<Schema>) -> Result<Layout> {
        let options = &self.options;
        let at = |error: Error| error.with_location(Location::new().with_table(table.name()));
        let naming = Naming::of(table, schema, &options.device, &options.device_column).map_err(at)?;
        if options.database.is_none() && !matches!(naming, Naming::Whole { .. }) {
            return Err(no_database());
        }
        let columns = schema.columns();
        let is_time =
            |data_type: &DataType| matches!(data_type, DataType::Timestamp(_) | DataType::TimestampTz(_));
        let time = columns
            .iter()
            .position(|column| column.role() == Role::Timestamp && is_time(column.data_type()))
            .or_else(|| {
                columns
                    .iter()
                    .position(|column| column.name() == options.time_column && is_time(column.data_type()))
            })
            .ok_or_else(|| {
                let text = format!("{table} has no time, and each value of a series has one");
                at(Error::new(ErrorKind::Schema, text)
                    .with_hint("name a column of type timestamp: time_column=NAME"))
            })?;
        let mut fields = Vec::new();
        for (column, about) in columns.iter().enumerate() {
            if column == time || matches!(about.role(), Role::Tag | Role::PrimaryTag) {
                continue;
            }
            let place = |error: Error| {
                error.with_location(Location::new().with_table(table.name()).with_column(about.name()))
            };
            if ["time", "timestamp"].iter().any(|word| about.name().eq_ignore_ascii_case(word)) {
                let text = format!("IoTDB takes no measurement called {:?}", about.name());
                return Err(place(Error::new(ErrorKind::Schema, text).with_hint(
                    "rename it by -T rename-column:OLD:NEW, or let it be the time: time_column=NAME",
                )));
            }
            // A name that no node can have is told here, and not with the first row.
            Path::root().join(about.name()).map_err(place)?;
            let series = SeriesType::of(about.data_type(), session.has_recent_types()).ok_or_else(|| {
                let text = format!("IoTDB {} has no type for {}", session.version(), about.data_type());
                place(Error::new(ErrorKind::Unsupported, text).with_hint(format!(
                    "leave the column out: -T drop-columns:{0}, or make text of it: -T cast:{0}=text",
                    about.name()
                )))
            })?;
            fields.push(Field {
                column,
                name: about.name().to_owned(),
                data_type: about.data_type().clone(),
                series,
            });
        }
        if fields.is_empty() {
            let text = format!("{table} has no column beside time and tags: there is nothing to measure");
            return Err(at(Error::new(ErrorKind::Schema, text)));
        }
        let aligned = match options.aligned {
            Aligned::Yes => true,
            Aligned::No => false,
            Aligned::Auto => matches!(naming, Naming::Whole { aligned: true, .. }),
        };
        Ok(Layout { schema: Arc::clone(schema), naming, time, fields, aligned })
    }

    /// The database that rows of a table go to.
    fn database(&self, table: &TableId, naming: &Naming) -> Path {
        match (&self.options.database, naming) {
            (Some(database), _) => database.clone(),
            (None, Naming::Whole { home, .. }) => home.clone(),
            (None, Naming::Nodes(_)) => home_of(table),
        }
    }

    /// The statements that make the database, where it is missing.
    async fn statements(&self, session: &mut Session, database: &Path) -> Result<Vec<String>> {
        if database.nodes().len() < 2 {
            return Ok(Vec::new());
        }
        let known = session.show("SHOW DATABASES").await?;
        let known: Vec<Path> = known.iter().filter_map(|row| row.first()?.as_deref()?.parse().ok()).collect();
        // One above it holds it; below it there may be others, which must not lie within one.
        if known.iter().any(|other| database.behind(other).is_some()) {
            return Ok(Vec::new());
        }
        if !self.options.create {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("there is no database {database} at {}", session.place()),
            )
            .with_hint("create it, or let it be created: create=missing"));
        }
        if let Some(below) = known.iter().find(|other| other.behind(database).is_some()) {
            let text = format!("{database} cannot be a database: {below} lies within it, and is one");
            return Err(
                Error::new(ErrorKind::Schema, text).with_hint("name that, or another, in the address")
            );
        }
        Ok(vec![format!("CREATE DATABASE {database}")])
    }
}

/// What the server has of one device.
pub(super) async fn look_up(session: &mut Session, path: &str) -> Result<Device> {
    let mut device = Device::default();
    for row in session.show(&format!("SHOW DEVICES {path}")).await? {
        device.aligned = row.get(1).and_then(Option::as_deref).map(|aligned| aligned == "true");
    }
    if device.aligned.is_some() {
        for (name, series) in all_series(session, &format!("SHOW TIMESERIES {path}.*"), path).await? {
            device.series.insert(name.1, series);
        }
    }
    Ok(device)
}

/// Devices and measurements with the types of the series.
async fn all_series(
    session: &mut Session,
    statement: &str,
    place: &str,
) -> Result<Vec<((String, String), SeriesType)>> {
    let mut found = Vec::new();
    for row in session.show(statement).await? {
        let text = |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default();
        let path: Path = text(0).parse()?;
        let Some((name, device)) = path.nodes().split_last() else { continue };
        let series = SeriesType::from_name(text(3)).ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!("{place} has a series of type {}, which is unknown here", text(3)),
            )
        })?;
        let device: Vec<_> = device.iter().map(|node| quoted(node)).collect();
        found.push(((device.join("."), name.clone()), series));
    }
    Ok(found)
}

/// Writes to Apache IoTDB.
///
/// # Examples
/// ```
/// use kwsync_core::system::iotdb::ConnectConfig;
/// use kwsync_sinks::iotdb::{IotdbOptions, IotdbSink};
///
/// let connect = ConnectConfig::new("localhost", 6667);
/// let sink = IotdbSink::new(IotdbOptions::new(connect, Some("root.plant".parse()?)));
/// # Ok::<(), kwsync_core::Error>(())
/// ```
#[derive(Debug)]
pub struct IotdbSink {
    shared: Arc<Shared>,
    /// The session for looking and for statements.
    control: AsyncMutex<Option<Session>>,
}

impl IotdbSink {
    /// A sink with the options given. Nothing is connected yet.
    pub fn new(options: IotdbOptions) -> Self {
        let shared = Shared { options, tables: RwLock::default(), devices: Mutex::default() };
        Self { shared: Arc::new(shared), control: AsyncMutex::new(None) }
    }
}

impl Sink for IotdbSink {
    type Writer = IotdbWriter;

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("iotdb")
            .with_delivery(Delivery::Idempotent)
            .with_parallel(!self.shared.options.ordered)
    }

    async fn plan(&self, table: &TableId, schema: &Arc<Schema>) -> Result<Plan> {
        let mut control = self.control.lock().await;
        let session = connected(&self.shared, &mut control).await?;
        let layout = self.shared.layout(session, table, schema)?;
        let database = self.shared.database(table, &layout.naming);
        let kind = if layout.aligned { "aligned devices" } else { "devices" };
        let strategy =
            format!("tablets of {kind} in {database}, up to {} rows each", self.shared.options.tablet_rows);
        let mut plan = Plan::new(table.to_string(), strategy, Delivery::Idempotent);
        plan.statements = self.shared.statements(session, &database).await?;
        for field in &layout.fields {
            let text = field.series == SeriesType::Text && !is_text(&field.data_type);
            plan.casts.push(Cast {
                column: field.name.clone(),
                from: field.data_type.to_string(),
                to: field.series.name().to_owned(),
                lossy: text.then(|| "as text".to_owned()),
            });
        }
        let unit = session.unit().as_str();
        plan.notes.push(format!(
            "times are {unit} at the server; finer ones are rejected, if timestamp_ns=truncate is not given"
        ));
        plan.notes.push("a row replaces the values that its device has at its time; a row without a value is none, and is ignored".to_owned());
        if !schema.key().is_empty() {
            plan.left_out.push("the primary key: a row is told by its device and its time".to_owned());
        }
        Ok(plan)
    }

    async fn prepare(&self, table: &TableId, schema: &Arc<Schema>) -> Result<()> {
        let mut control = self.control.lock().await;
        let session = connected(&self.shared, &mut control).await?;
        // Here, and not with the first row, columns that cannot be written are told.
        let layout = self.shared.layout(session, table, schema)?;
        let database = self.shared.database(table, &layout.naming);
        for statement in self.shared.statements(session, &database).await? {
            match session.execute(&statement).await {
                // Another job was first.
                Err(error) if error.code() == Some("iotdb_501") => {}
                done => done.map_err(|error| error.context(format!("cannot prepare {table}")))?,
            }
        }
        let known = self.shared.ready(table);
        let complete = match known {
            Some(known) => known,
            None => self.look_around(session, &database).await?,
        };
        self.shared.tables.write().unwrap_or_else(PoisonError::into_inner).insert(table.clone(), complete);
        Ok(())
    }

    async fn open(&self, _lane: &Lane) -> Result<IotdbWriter> {
        Ok(IotdbWriter::new(Arc::clone(&self.shared)))
    }
}

impl IotdbSink {
    /// Learns what series a database has, if they are not too many; false then.
    async fn look_around(&self, session: &mut Session, database: &Path) -> Result<bool> {
        let most = SERIES_AT_ONCE + 1;
        let statement = format!("SHOW TIMESERIES {database}.** LIMIT {most}");
        let series = all_series(session, &statement, &database.to_string()).await?;
        if series.len() == most {
            return Ok(false);
        }
        let mut devices: HashMap<String, Device> = HashMap::new();
        for ((device, name), series) in series {
            devices.entry(device).or_default().series.insert(name, series);
        }
        for row in session.show(&format!("SHOW DEVICES {database}.**")).await? {
            let path: Option<Path> = row.first().and_then(|path| path.as_deref()?.parse().ok());
            let aligned = row.get(1).and_then(Option::as_deref) == Some("true");
            if let Some(device) = path.and_then(|path| devices.get_mut(&path.to_string())) {
                device.aligned = Some(aligned);
            }
        }
        for (path, device) in devices {
            if self.shared.device(&path).is_none() {
                self.shared.learn(path.into(), device);
            }
        }
        Ok(true)
    }
}

async fn connected<'c>(shared: &Shared, control: &'c mut Option<Session>) -> Result<&'c mut Session> {
    // A server that was restarted has forgotten the session: it is asked for something harmless.
    let known = match control.take() {
        Some(mut session) => session.show("SHOW VERSION").await.is_ok().then_some(session),
        None => None,
    };
    let session = match known {
        Some(session) => session,
        None => shared.connect().await?,
    };
    Ok(control.insert(session))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Text
            | DataType::Char(_)
            | DataType::VarChar(_)
            | DataType::NChar(_)
            | DataType::NVarChar(_)
            | DataType::Json
            | DataType::Jsonb
            | DataType::Xml
    )
}
