//! One lane's rows, as requests.

use std::collections::HashMap;
use std::sync::Arc;

use kwsync_core::system::iotdb::{Session, Status, Tablet, error_of, place_of, quoted};
use kwsync_core::{
    Delivered, Error, ErrorKind, Result, Retry, RowCounts, Settled, Stage, TableBatch, TableId, Value, Writer,
};

use super::device::Group;
use super::sink::{Device, Layout, Shared, look_up};
use super::values::{Fault, Times, encode};

/// Devices of one request.
const DEVICES_AT_ONCE: usize = 1_000;

/// Writes one lane's rows; each request is settled when it is answered.
#[derive(Debug)]
pub struct IotdbWriter {
    shared: Arc<Shared>,
    session: Option<Session>,
    /// What becomes of the columns that each table had last.
    layouts: HashMap<TableId, Arc<Layout>>,
}

/// A tablet, and the rows that it has.
struct Filled {
    tablet: Tablet,
    device: Arc<str>,
    rows: Vec<usize>,
    cut: u64,
}

/// What a batch is written by.
struct Work<'a> {
    batch: &'a TableBatch,
    layout: &'a Layout,
    times: Vec<i64>,
    unit: Times,
    settled: Settled,
}

impl Work<'_> {
    fn refuse(&mut self, row: usize, code: &str, reason: &str) {
        self.settled.add(self.batch.table(), RowCounts { rejected: 1, ..RowCounts::default() });
        self.settled.rejects.push(self.batch.reject(row, Stage::Write, code, reason));
    }

    fn written(&mut self, filled: &Filled) {
        let written = filled.rows.len() as u64;
        self.settled.add(self.batch.table(), RowCounts { written, ..RowCounts::default() });
        self.settled.bytes += filled.tablet.bytes() as u64;
        self.settled.coerced += filled.cut;
    }

    /// The tablet of `rows`; rows that cannot be written exactly are rejects, and `None` is returned if none is left.
    fn fill(
        &mut self,
        device: &Arc<str>,
        known: &Device,
        mut rows: Vec<usize>,
        create: bool,
    ) -> Option<Filled> {
        loop {
            let mut tablet = Tablet::new(&**device);
            let (mut nulls, mut faults, mut cut): (_, Vec<(usize, Fault)>, _) = (Vec::new(), Vec::new(), 0);
            for field in &self.layout.fields {
                let array = self.batch.batch().column(field.column);
                let there = known.series.get(&field.name).copied();
                if rows.iter().all(|row| array.is_null(*row)) {
                    // A series of which nothing is known yet must not come to be by that.
                    continue;
                }
                if there.is_none() && !create {
                    let text =
                        format!("there is no series {device}.{}, and create=never", quoted(&field.name));
                    let lacking = rows.iter().enumerate().filter(|(_, row)| !array.is_null(**row));
                    faults.extend(lacking.map(|(at, _)| (at, ("no_series", text.clone()))));
                    continue;
                }
                let series = there.unwrap_or(field.series);
                let from = faults.len();
                let encoded = encode(array, &field.data_type, &rows, series, self.unit, &mut faults);
                for (_, (_, reason)) in faults.iter_mut().skip(from) {
                    *reason = format!("{}: {reason}", field.name);
                }
                tablet.measurements.push(quoted(&field.name).into_owned());
                tablet.types.push(series);
                tablet.values.extend_from_slice(&encoded.bytes);
                nulls.push(encoded.nulls);
                cut += encoded.cut;
            }
            if faults.is_empty() {
                let times: Vec<i64> = rows.iter().filter_map(|row| self.times.get(*row).copied()).collect();
                tablet.set_times(&times);
                tablet.set_nulls(&nulls);
                return (!rows.is_empty()).then(|| Filled { tablet, device: Arc::clone(device), rows, cut });
            }
            faults.sort_by_key(|(at, _)| *at);
            faults.dedup_by_key(|(at, _)| *at);
            for (at, (code, reason)) in faults.iter().rev() {
                let row = rows.remove(*at);
                self.refuse(row, code, reason);
            }
            if rows.is_empty() {
                return None;
            }
        }
    }
}

impl IotdbWriter {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, session: None, layouts: HashMap::new() }
    }

    /// A session that can be used, taken out: one whose call is dropped is gone.
    async fn session(&mut self) -> Result<Session> {
        match self.session.take() {
            Some(session) if !session.is_broken() => Ok(session),
            _ => self.shared.connect().await,
        }
    }

    /// Rows by device, in the order of time; those that have none, or no value at all, are settled.
    fn groups(&self, work: &mut Work<'_>) -> Result<Vec<Group>> {
        let batch = work.batch;
        let columns = batch.batch().columns();
        let time = batch.batch().column(work.layout.time);
        let fields = &work.layout.fields;
        let may_be_empty = fields.iter().all(|field| batch.batch().column(field.column).null_count() > 0);
        let naming = work.layout.naming.columns();
        let mut groups: Vec<Group> = Vec::new();
        let mut by_key: HashMap<String, Option<usize>> = HashMap::new();
        let mut by_path: HashMap<Arc<str>, usize> = HashMap::new();
        let (mut times, mut ignored) = (vec![0_i64; batch.rows()], 0);
        for (row, moment) in times.iter_mut().enumerate() {
            if may_be_empty && fields.iter().all(|field| batch.batch().column(field.column).is_null(row)) {
                ignored += 1;
                continue;
            }
            match Value::of(time.as_ref(), row)? {
                Value::Timestamp(value, unit, _) => match work.unit.exact(value, unit) {
                    Ok((value, cut)) => {
                        *moment = value;
                        work.settled.coerced += u64::from(cut);
                    }
                    Err((code, reason)) => {
                        work.refuse(row, code, &reason);
                        continue;
                    }
                },
                _ => {
                    work.refuse(
                        row,
                        "missing_timestamp",
                        "the row has no time, and each value of a series has one",
                    );
                    continue;
                }
            }
            let mut key = String::new();
            for column in &naming {
                let value = columns.get(*column).map(|array| Value::of(array.as_ref(), row)).transpose()?;
                match value {
                    None | Some(Value::Null) => key.push_str("\0n"),
                    Some(Value::Text(text)) => {
                        key.push_str("\0v");
                        key.push_str(&text);
                    }
                    Some(value) => key.push_str(&format!("\0v{value}")),
                }
            }
            let known = match by_key.get(&key) {
                Some(known) => *known,
                None => match work.layout.naming.device(self.shared.options.database.as_ref(), batch, row) {
                    Ok(path) => {
                        let path: Arc<str> = path.to_string().into();
                        let at = *by_path.entry(Arc::clone(&path)).or_insert_with(|| {
                            groups.push(Group { device: path, rows: Vec::new() });
                            groups.len() - 1
                        });
                        by_key.insert(key, Some(at));
                        Some(at)
                    }
                    Err(error) if error.kind() == ErrorKind::Data => {
                        // Each row of the device has to say so.
                        work.refuse(row, error.code().unwrap_or("no_device"), error.message());
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            if let Some(group) = known.and_then(|at| groups.get_mut(at)) {
                group.rows.push(row);
            }
        }
        if ignored > 0 {
            work.settled.add(batch.table(), RowCounts { ignored, ..RowCounts::default() });
        }
        for group in &mut groups {
            // Of two rows of one time the later stays the later.
            if !group.rows.is_sorted_by_key(|row| times[*row]) {
                group.rows.sort_by_key(|row| times[*row]);
            }
        }
        work.times = times;
        Ok(groups)
    }

    /// What the server has of a device.
    async fn device(&mut self, path: &Arc<str>, complete: bool) -> Result<Arc<Device>> {
        match self.shared.device(path) {
            Some(known) => Ok(known),
            None if complete => Ok(Arc::default()),
            None => self.look(path).await,
        }
    }

    async fn look(&mut self, path: &Arc<str>) -> Result<Arc<Device>> {
        let mut backoff = self.shared.backoff();
        loop {
            let mut session = self.session().await?;
            match look_up(&mut session, path).await {
                Ok(device) => {
                    self.session = Some(session);
                    return Ok(self.shared.learn(Arc::clone(path), device));
                }
                Err(error) if error.retry() == Retry::Never => return Err(error),
                Err(error) => {
                    let Some(wait) = backoff.next_wait() else { return Err(error) };
                    tracing::warn!(%error, device = %path, "asking again");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn write_batch(&mut self, batch: &TableBatch) -> Result<Settled> {
        let Some(complete) = self.shared.ready(batch.table()) else {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("table {} has not been prepared", batch.table()),
            ));
        };
        let session = self.session().await?;
        let (unit, most_bytes) = (session.unit(), session.most_bytes());
        let layout = match self.layouts.get(batch.table()) {
            Some(known) if known.schema == *batch.schema() => Arc::clone(known),
            _ => {
                let layout = Arc::new(self.shared.layout(&session, batch.table(), batch.schema())?);
                self.layouts.insert(batch.table().clone(), Arc::clone(&layout));
                layout
            }
        };
        self.session = Some(session);
        let unit = Times { unit, truncate: self.shared.options.truncate_times };
        let mut work = Work { batch, layout: &layout, times: Vec::new(), unit, settled: Settled::default() };
        let groups = self.groups(&mut work)?;
        // Requests of aligned devices and of others.
        let mut waiting: [(Vec<Filled>, usize); 2] = Default::default();
        for group in groups {
            let known = self.device(&group.device, complete).await?;
            let aligned = known.aligned.unwrap_or(layout.aligned);
            for rows in group.rows.chunks(self.shared.options.tablet_rows) {
                let Some(filled) =
                    work.fill(&group.device, &known, rows.to_vec(), self.shared.options.create)
                else {
                    continue;
                };
                let bytes = filled.tablet.bytes();
                let (requests, held) = &mut waiting[usize::from(aligned)];
                if *held + bytes > most_bytes || requests.len() >= DEVICES_AT_ONCE {
                    let full = std::mem::take(requests);
                    *held = 0;
                    self.send(&mut work, full, aligned, most_bytes).await?;
                }
                let (requests, held) = &mut waiting[usize::from(aligned)];
                requests.push(filled);
                *held += bytes;
            }
        }
        for (aligned, (requests, _)) in waiting.into_iter().enumerate() {
            self.send(&mut work, requests, aligned == 1, most_bytes).await?;
        }
        Ok(work.settled)
    }

    /// Sends tablets together; where the server refuses something, each by itself.
    async fn send(
        &mut self,
        work: &mut Work<'_>,
        all: Vec<Filled>,
        aligned: bool,
        most_bytes: usize,
    ) -> Result<()> {
        if all.is_empty() {
            return Ok(());
        }
        let fits = all.len() > 1 || all.iter().all(|filled| filled.tablet.bytes() <= most_bytes);
        if fits {
            let (tablets, rest): (Vec<Tablet>, Vec<_>) = all
                .into_iter()
                .map(|filled| (filled.tablet, (filled.device, filled.rows, filled.cut)))
                .unzip();
            let status = self.insert(&tablets, aligned).await?;
            let all: Vec<Filled> = tablets
                .into_iter()
                .zip(rest)
                .map(|(tablet, (device, rows, cut))| Filled { tablet, device, rows, cut })
                .collect();
            if status.is_success() {
                for filled in &all {
                    work.written(filled);
                    self.remember(work, filled, aligned);
                }
                return Ok(());
            }
            if !is_refusal(&status) {
                return Err(error_of(&status, "the rows cannot be written"));
            }
            for filled in all {
                self.alone(work, filled, aligned, most_bytes).await?;
            }
            return Ok(());
        }
        for filled in all {
            self.alone(work, filled, aligned, most_bytes).await?;
        }
        Ok(())
    }

    /// What has come to be at the server by a tablet.
    fn remember(&self, work: &Work<'_>, filled: &Filled, aligned: bool) {
        let known = self.shared.device(&filled.device);
        let all = || filled.tablet.measurements.iter().zip(&filled.tablet.types);
        let name_of = |quoted_name: &str| {
            work.layout
                .fields
                .iter()
                .find(|field| quoted(&field.name) == quoted_name)
                .map(|field| field.name.clone())
        };
        let knows = |known: &Arc<Device>| {
            known.aligned.is_some()
                && all().all(|(name, _)| name_of(name).is_some_and(|name| known.series.contains_key(&name)))
        };
        if known.as_ref().is_some_and(knows) {
            return;
        }
        let mut device = known.map(|known| (*known).clone()).unwrap_or_default();
        device.aligned.get_or_insert(aligned);
        for (name, series) in all() {
            if let Some(name) = name_of(name) {
                device.series.entry(name).or_insert(*series);
            }
        }
        self.shared.learn(Arc::clone(&filled.device), device);
    }

    /// Sends the rows of one device until every one is written or refused: what the server has is looked up again, what is missing
    /// is made, and a row that is refused is found by halves.
    async fn alone(
        &mut self,
        work: &mut Work<'_>,
        filled: Filled,
        mut aligned: bool,
        most_bytes: usize,
    ) -> Result<()> {
        let device = Arc::clone(&filled.device);
        let create = self.shared.options.create;
        let mut known = self.shared.device(&device).unwrap_or_default();
        let (mut looked, mut made) = (false, false);
        let mut open = vec![filled.rows];
        while let Some(rows) = open.pop() {
            let Some(filled) = work.fill(&device, &known, rows, create) else { continue };
            if filled.tablet.bytes() > most_bytes {
                match filled.rows.as_slice() {
                    [row] => work.refuse(
                        *row,
                        "row_too_large",
                        "the row is larger than what the server takes at once",
                    ),
                    rows => halve(rows, &mut open),
                }
                continue;
            }
            let status = self.insert(std::slice::from_ref(&filled.tablet), aligned).await?;
            if status.is_success() {
                work.written(&filled);
                self.remember(work, &filled, aligned);
                continue;
            }
            if !is_refusal(&status) {
                let place = place_of(&device, None);
                return Err(error_of(&status, "the rows cannot be written").with_location(place));
            }
            if !looked {
                looked = true;
                known = self.look(&device).await?;
                aligned = known.aligned.unwrap_or(aligned);
                open.push(filled.rows);
            } else if create && !made && self.make(work, &filled, &known, aligned).await? {
                made = true;
                known = self.look(&device).await?;
                open.push(filled.rows);
            } else if let [row] = filled.rows.as_slice() {
                let error = error_of(&status, &device);
                work.refuse(*row, error.code().unwrap_or("refused"), error.message());
            } else {
                halve(&filled.rows, &mut open);
            }
        }
        Ok(())
    }

    /// Makes the series that a device lacks, where the server does not by itself; false where it lacks none.
    async fn make(
        &mut self,
        work: &Work<'_>,
        filled: &Filled,
        known: &Device,
        aligned: bool,
    ) -> Result<bool> {
        let lacking: Vec<_> = work
            .layout
            .fields
            .iter()
            .filter(|field| !known.series.contains_key(&field.name))
            .filter(|field| filled.tablet.measurements.iter().any(|name| *name == quoted(&field.name)))
            .collect();
        if lacking.is_empty() {
            return Ok(false);
        }
        let mut session = self.session().await?;
        let statements: Vec<String> = if aligned {
            let series: Vec<_> = lacking
                .iter()
                .map(|field| format!("{} {}", quoted(&field.name), field.series.name()))
                .collect();
            vec![format!("CREATE ALIGNED TIMESERIES {}({})", filled.device, series.join(", "))]
        } else {
            let one = |name: &str, series: &str| {
                format!("CREATE TIMESERIES {}.{} {series}", filled.device, quoted(name))
            };
            lacking.iter().map(|field| one(&field.name, field.series.name())).collect()
        };
        for statement in &statements {
            match session.execute(statement).await {
                // Another lane was first.
                Err(error) if matches!(error.code(), Some("iotdb_503" | "iotdb_506")) => {}
                Err(error) if error.retry() == Retry::Never => {
                    tracing::debug!(%error, "a series cannot be made");
                    self.session = Some(session);
                    return Ok(false);
                }
                done => done?,
            }
        }
        self.session = Some(session);
        Ok(true)
    }

    /// Sends a request, again where the connection was lost or the server is busy: a row that is sent twice replaces itself.
    async fn insert(&mut self, tablets: &[Tablet], aligned: bool) -> Result<Status> {
        let mut backoff = self.shared.backoff();
        loop {
            let mut session = self.session().await?;
            let error = match session.insert(tablets, aligned).await {
                Ok(status) => {
                    self.session = Some(session);
                    let error = error_of(&status, "the rows cannot be written");
                    if status.is_success() || error.retry() == Retry::Never || is_refusal(&status) {
                        return Ok(status);
                    }
                    error
                }
                Err(error) if error.retry() == Retry::Never => return Err(error),
                Err(error) => error,
            };
            let Some(wait) = backoff.next_wait() else {
                return Err(error.with_delivered(Delivered::InDoubt));
            };
            tracing::warn!(%error, "the rows are sent again");
            if error.code() == Some("iotdb_802") {
                // The server was restarted, and does not know the session.
                self.session = None;
            }
            tokio::time::sleep(wait).await;
        }
    }
}

/// Whether a status is about the rows, and not about the server.
fn is_refusal(status: &Status) -> bool {
    matches!(status.code, 301 | 302 | 507..=509 | 528 | 607 | 609 | 613..=616 | 701 | 750..=752)
}

fn halve(rows: &[usize], open: &mut Vec<Vec<usize>>) {
    let (first, second) = rows.split_at(rows.len() / 2);
    open.push(second.to_vec());
    open.push(first.to_vec());
}

impl Writer for IotdbWriter {
    async fn write(&mut self, batch: &TableBatch) -> Result<Settled> {
        self.write_batch(batch).await
    }

    async fn flush(&mut self) -> Result<Settled> {
        Ok(Settled::default())
    }

    async fn close(&mut self) -> Result<Settled> {
        if let Some(session) = self.session.take() {
            // All is settled: a good-bye that gets lost changes nothing.
            drop(session.close().await);
        }
        Ok(Settled::default())
    }
}
