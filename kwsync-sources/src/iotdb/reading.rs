//! Reading a share of the devices, window by window.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow_array::{ArrayRef, StringArray};
use kwsync_core::system::iotdb::Session;
use kwsync_core::{
    Error, ErrorKind, Location, Origin, Result, SourceBatch, SplitPosition, TableBatch, TimeUnit,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::catalog::{Device, devices};
use super::config::IotdbOptions;

/// A share of the devices, as a split has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Share {
    pub(super) share: u64,
    pub(super) of: u64,
}

impl Share {
    fn has(self, device: &Device) -> bool {
        // FNV-1a: the same in every run.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in device.path.to_string().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hash % self.of.max(1) == self.share
    }
}

/// How far a share has been read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// The first and the last time of the window, in the server's precision.
    pub(super) window: (i64, i64),
    /// The device that was read last; none before the first, those before it are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<String>,
    /// The last time that was given of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<i64>,
    /// Whether all of the window was given.
    #[serde(default)]
    pub(super) done: bool,
    /// Where the window behind it begins.
    pub(super) next: i64,
}

impl Place {
    pub(super) fn of(position: &SplitPosition) -> Result<Self> {
        serde_json::from_value(position.0.clone()).map_err(|error| {
            Error::config(format!("the position of this job is none of IoTDB's: {error}"))
                .with_hint("was it made by another version? --restart begins anew")
        })
    }

    fn position(&self) -> Result<SplitPosition> {
        serde_json::to_value(self).map(SplitPosition).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("cannot write down a position: {error}"))
        })
    }
}

/// Reads a share to its end, and sends what it finds.
pub(super) async fn run(
    options: Arc<IotdbOptions>,
    share: Share,
    at: Option<SplitPosition>,
    sender: mpsc::Sender<Result<SourceBatch>>,
) -> Result<()> {
    let mut session = Session::connect(&options.connect).await?;
    let unit = session.unit();
    let last = options.range_in(unit).1;
    let mut place = match &at {
        Some(position) => Place::of(position)?,
        None => {
            let place = first_window(&options, unit);
            // Where "now" was is written down first: a job that is killed soon would else begin later.
            let begun = SourceBatch::new(Vec::new(), place.position()?);
            if options.follow && sender.send(Ok(begun)).await.is_err() {
                return Ok(());
            }
            place
        }
    };
    loop {
        if !place.done {
            if !read(&mut session, &options, share, &mut place, &sender).await? {
                return Ok(());
            }
            place.done = true;
            (place.device, place.time) = (None, None);
            let batch = SourceBatch::new(Vec::new(), place.position()?);
            if sender.send(Ok(batch)).await.is_err() {
                return Ok(());
            }
        }
        if !options.follow || place.next > last {
            drop(session.close().await);
            return Ok(());
        }
        let end = behind_clock(unit, options.lag).min(last);
        if end < place.next {
            tokio::time::sleep(options.query_interval.max(Duration::from_millis(50))).await;
            continue;
        }
        let next = end.saturating_add(1);
        place = Place { window: (place.next, end), device: None, time: None, done: false, next };
    }
}

/// History, as far as it reaches.
fn first_window(options: &IotdbOptions, unit: TimeUnit) -> Place {
    let (first, last) = options.history_in(unit);
    if !options.follow {
        return Place { window: (first, last), device: None, time: None, done: false, next: i64::MAX };
    }
    let now = behind_clock(unit, options.lag);
    // What has a later time than that comes in the windows behind history.
    let next = now.saturating_add(1).max(options.range_in(unit).0);
    Place { window: (first, last.min(now)), device: None, time: None, done: !options.with_history, next }
}

fn behind_clock(unit: TimeUnit, lag: Duration) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let nanos =
        i128::try_from(now.as_nanos()).unwrap_or(i128::MAX) - i128::try_from(lag.as_nanos()).unwrap_or(0);
    i64::try_from(nanos.div_euclid(i128::from(unit.nanos()))).unwrap_or(i64::MAX)
}

/// Reads what is left of a window; false when nobody listens any more.
async fn read(
    session: &mut Session,
    options: &IotdbOptions,
    share: Share,
    place: &mut Place,
    sender: &mpsc::Sender<Result<SourceBatch>>,
) -> Result<bool> {
    let (first, last) = place.window;
    if first > last {
        return Ok(true);
    }
    // Series come with rows: whoever had listed them before would miss those that are new.
    let mut all: Vec<(String, Device)> = devices(session, options)
        .await?
        .into_iter()
        .filter(|device| share.has(device))
        .map(|device| (device.path.to_string(), device))
        .collect();
    // As positions compare them.
    all.sort_by(|one, other| one.0.cmp(&other.0));
    for (path, device) in all {
        let mut from = first;
        match &place.device {
            Some(done) if path < *done => continue,
            Some(done) if path == *done => match place.time {
                Some(i64::MAX) => continue,
                Some(time) => from = time + 1,
                None => {}
            },
            _ => {}
        }
        if from > last {
            continue;
        }
        let in_device = |error: Error| match error.location() {
            Some(_) => error,
            None => error.with_location(Location::new().with_table(path.as_str())),
        };
        let mut query =
            session.query(&device.statement(from, last), options.fetch_rows).await.map_err(in_device)?;
        while let Some((times, columns)) = session.next(&mut query).await.map_err(in_device)? {
            let rows = times.len();
            place.device = Some(path.clone());
            place.time = times.values().last().copied();
            let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.len() + 2);
            arrays.push(moments(&times, session.unit()));
            arrays.push(Arc::new(StringArray::from(vec![path.as_str(); rows])));
            arrays.extend(columns);
            let batch = TableBatch::from_columns(
                device.table.clone(),
                Arc::clone(&device.schema),
                arrays,
                Origin::unknown(rows),
            )?;
            let bytes = batch.batch().get_array_memory_size() as u64;
            let mut read = SourceBatch::new(vec![batch], place.position()?);
            read.bytes = bytes;
            if sender.send(Ok(read)).await.is_err() {
                return Ok(false);
            }
        }
        session.end(query).await.map_err(in_device)?;
    }
    Ok(true)
}

/// Times as timestamps of the server's precision.
fn moments(times: &arrow_array::Int64Array, unit: TimeUnit) -> ArrayRef {
    use arrow_array::types::{TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType};
    let zone = "UTC";
    match unit {
        TimeUnit::Nanosecond => {
            Arc::new(times.reinterpret_cast::<TimestampNanosecondType>().with_timezone(zone))
        }
        TimeUnit::Microsecond => {
            Arc::new(times.reinterpret_cast::<TimestampMicrosecondType>().with_timezone(zone))
        }
        _ => Arc::new(times.reinterpret_cast::<TimestampMillisecondType>().with_timezone(zone)),
    }
}
