//! One side of a comparison.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use kwsync_core::arrow::array::ArrayRef;
use kwsync_core::config::{Dsn, OpenOptions, Registry};
use kwsync_core::{
    DynSource, Error, ErrorKind, Result, RowDigest, Schema, Split, TableBatch, TableId, Transform, Value,
};
use tokio::task::JoinSet;

use super::{Shared, VerifyOptions};

/// Parts of a table whose sums are kept apart, so that rows that differ need not be looked for in all of it.
const BUCKETS: usize = 1024;
/// Parts of a table that are looked through for rows that differ.
const SUSPECTS: usize = 4;
/// Rows that are held for that, of one table and side.
const MOST_ROWS: usize = 200_000;
/// Characters of a row that has no key.
const NAME: usize = 120;

/// The parts of each table in which rows differ.
pub(super) type Suspects = BTreeMap<TableId, HashSet<usize>>;

/// The rows of one key.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) sum: u128,
    pub(super) count: u64,
}

/// The digests of a table, added up.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) rows: u64,
    pub(super) unreadable: u64,
    buckets: Vec<(u64, u128)>,
}

impl Totals {
    fn add(&mut self, bucket: usize, digest: u128) {
        self.rows += 1;
        if self.buckets.is_empty() {
            self.buckets = vec![(0, 0); BUCKETS];
        }
        if let Some((count, sum)) = self.buckets.get_mut(bucket) {
            *count += 1;
            *sum = sum.wrapping_add(digest);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.unreadable += other.unreadable;
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
            return;
        }
        for ((count, sum), (more, add)) in self.buckets.iter_mut().zip(&other.buckets) {
            *count += more;
            *sum = sum.wrapping_add(*add);
        }
    }

    /// The first parts whose rows are not the same.
    pub(super) fn differing(&self, other: &Self) -> HashSet<usize> {
        let at = |totals: &Self, bucket: usize| totals.buckets.get(bucket).copied().unwrap_or_default();
        (0..BUCKETS).filter(|bucket| at(self, *bucket) != at(other, *bucket)).take(SUSPECTS).collect()
    }
}

/// One side, its pieces and tables known.
pub(super) struct Side {
    source: Arc<dyn DynSource>,
    splits: Vec<Split>,
    tables: Vec<(TableId, Arc<Schema>)>,
    transforms: Vec<Arc<dyn Transform>>,
    jobs: usize,
}

impl Side {
    pub(super) async fn open(
        dsn: &Dsn,
        registry: &Registry,
        options: &VerifyOptions,
        transforms: Vec<Arc<dyn Transform>>,
    ) -> Result<Self> {
        let source: Arc<dyn DynSource> = registry.source(dsn, &OpenOptions::new())?.into();
        let jobs = options.jobs.max(1);
        let mut splits = source.preview(jobs).await?;
        // Changes are no rows: what is there is compared.
        splits.retain(|split| !split.after_others);
        let mut side = Self { source, splits, tables: Vec::new(), transforms, jobs };
        let known = side.source.tables();
        let mut told = !known.is_empty();
        for (table, schema) in known {
            let batches = side.transformed(TableBatch::empty(table, schema)?)?;
            told &= !batches.is_empty();
            for batch in batches {
                if side.tables.iter().all(|(table, _)| table != batch.table()) {
                    side.tables.push((batch.table().clone(), Arc::clone(batch.schema())));
                }
            }
        }
        if !told {
            // Files tell of their tables when they are read, and some transforms need rows.
            let found = side.each(
                |_| HashMap::new(),
                |found: &mut HashMap<TableId, Arc<Schema>>, batch| {
                    let (table, schema) = (batch.table().clone(), Arc::clone(batch.schema()));
                    found.entry(table).or_insert(schema);
                    Ok(())
                },
            );
            let mut tables: BTreeMap<_, _> = side.tables.iter().cloned().collect();
            for (found, _) in found.await? {
                tables.extend(found);
            }
            side.tables = tables.into_iter().collect();
        }
        Ok(side)
    }

    pub(super) fn tables(&self) -> &[(TableId, Arc<Schema>)] {
        &self.tables
    }

    fn transformed(&self, batch: TableBatch) -> Result<Vec<TableBatch>> {
        let mut batches = vec![batch];
        for transform in &self.transforms {
            let mut changed = Vec::new();
            for batch in batches {
                changed.extend(transform.apply(batch)?.batches);
            }
            batches = changed;
        }
        Ok(batches)
    }

    /// Reads all pieces, several at a time, and gives what each reader has made of its batches, with the rows that could
    /// not be read by table.
    async fn each<T: Send + 'static>(
        &self,
        new: impl Fn(usize) -> T + Send,
        take: impl Fn(&mut T, &TableBatch) -> Result<()> + Clone + Send + Sync + 'static,
    ) -> Result<Vec<(T, HashMap<TableId, u64>)>> {
        let splits = Arc::new(Mutex::new(self.splits.iter().cloned().collect::<VecDeque<_>>()));
        let mut readers = JoinSet::new();
        for number in 0..self.jobs.min(self.splits.len()) {
            let (splits, source, take) = (Arc::clone(&splits), Arc::clone(&self.source), take.clone());
            let (mut made, transforms) = (new(number), self.transforms.clone());
            readers.spawn(async move {
                let mut unreadable: HashMap<TableId, u64> = HashMap::new();
                loop {
                    let next = splits.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(split) = next else { return Ok((made, unreadable)) };
                    let mut reader = source.open(&split, None).await?;
                    while let Some(read) = reader.next().await? {
                        for reject in read.decoded.rejects {
                            let table = reject.table.unwrap_or_else(|| TableId::new(""));
                            *unreadable.entry(table).or_default() += 1;
                        }
                        let mut batches = read.decoded.batches;
                        for transform in &transforms {
                            let mut changed = Vec::new();
                            for batch in batches {
                                let table = batch.table().clone();
                                let done = transform.apply(batch)?;
                                *unreadable.entry(table).or_default() += done.rejects.len() as u64;
                                changed.extend(done.batches);
                            }
                            batches = changed;
                        }
                        batches.iter().try_for_each(|batch| take(&mut made, batch))?;
                    }
                }
            });
        }
        let mut all = Vec::new();
        while let Some(ended) = readers.join_next().await {
            let ended: Result<_> = ended.unwrap_or_else(|fault| {
                Err(Error::new(ErrorKind::Internal, "a reader broke off").with_source(fault))
            });
            all.push(ended?);
        }
        Ok(all)
    }

    /// The sums of all tables that both sides have; of the others the rows.
    pub(super) async fn totals(
        &self,
        shared: &Arc<BTreeMap<TableId, Shared>>,
    ) -> Result<HashMap<TableId, Totals>> {
        let shared = Arc::clone(shared);
        let read = self.each(
            |_| HashMap::new(),
            move |made: &mut HashMap<TableId, Totals>, batch| {
                let totals = made.entry(batch.table().clone()).or_default();
                let Some(columns) = shared.get(batch.table()) else {
                    totals.rows += batch.rows() as u64;
                    return Ok(());
                };
                let mut rows = Rows::new(columns, batch);
                for row in 0..batch.rows() {
                    let (key, digest) = rows.digests(row)?;
                    totals.add((key % BUCKETS as u128) as usize, digest);
                }
                Ok(())
            },
        );
        let mut all: HashMap<TableId, Totals> = HashMap::new();
        for (made, unreadable) in read.await? {
            for (table, totals) in made {
                all.entry(table).or_default().merge(&totals);
            }
            for (table, count) in unreadable {
                all.entry(table).or_default().unreadable += count;
            }
        }
        Ok(all)
    }

    /// The rows of the parts of tables that are suspected.
    pub(super) async fn rows(
        &self,
        shared: &Arc<BTreeMap<TableId, Shared>>,
        suspects: &Arc<Suspects>,
    ) -> Result<HashMap<TableId, HashMap<u128, Row>>> {
        let (shared, wanted) = (Arc::clone(shared), Arc::clone(suspects));
        type Found = HashMap<TableId, HashMap<u128, Row>>;
        let read = self.each(
            |_| Found::new(),
            move |made: &mut Found, batch| {
                let (Some(columns), Some(buckets)) = (shared.get(batch.table()), wanted.get(batch.table()))
                else {
                    return Ok(());
                };
                let mut rows = Rows::new(columns, batch);
                let found = made.entry(batch.table().clone()).or_default();
                for row in 0..batch.rows() {
                    let (key, digest) = rows.digests(row)?;
                    let is_wanted = buckets.contains(&((key % BUCKETS as u128) as usize));
                    if !is_wanted || (found.len() >= MOST_ROWS && !found.contains_key(&key)) {
                        continue;
                    }
                    let name = rows.name(row)?;
                    add(found, key, Row { name, sum: digest, count: 1 });
                }
                Ok(())
            },
        );
        let mut all: Found = suspects.keys().map(|table| (table.clone(), HashMap::new())).collect();
        for (made, _) in read.await? {
            for (table, rows) in made {
                let found = all.entry(table).or_default();
                rows.into_iter().for_each(|(key, row)| add(found, key, row));
            }
        }
        Ok(all)
    }
}

fn add(found: &mut HashMap<u128, Row>, key: u128, row: Row) {
    match found.get_mut(&key) {
        Some(known) => {
            known.sum = known.sum.wrapping_add(row.sum);
            known.count += row.count;
        }
        None => drop(found.insert(key, row)),
    }
}

/// The rows of a batch, as they are compared.
struct Rows {
    columns: Vec<ArrayRef>,
    names: Vec<String>,
    /// The columns of the key among them; none where there is none.
    key: Vec<usize>,
    keys: Vec<ArrayRef>,
    row: RowDigest,
    of_key: RowDigest,
}

impl Rows {
    fn new(shared: &Shared, batch: &TableBatch) -> Self {
        let mut columns = Vec::with_capacity(shared.columns.len());
        let mut by = Vec::with_capacity(shared.columns.len());
        let mut names = Vec::with_capacity(shared.columns.len());
        for (name, comparable) in &shared.columns {
            if let Some(at) = batch.schema().index_of(name) {
                columns.push(Arc::clone(batch.batch().column(at)));
                by.push(*comparable);
                names.push(name.clone());
            }
        }
        let key: Vec<usize> =
            shared.key.iter().filter_map(|name| names.iter().position(|own| own == name)).collect();
        let keys = key.iter().filter_map(|at| columns.get(*at).cloned()).collect();
        let of_key = RowDigest::new(key.iter().filter_map(|at| by.get(*at).copied()));
        Self { columns, names, key, keys, row: RowDigest::new(by), of_key }
    }

    /// The digest of a row's key, and of the row; they are one where there is no key.
    fn digests(&mut self, row: usize) -> Result<(u128, u128)> {
        let digest = self.row.of(&self.columns, row)?;
        if self.keys.is_empty() {
            return Ok((digest, digest));
        }
        Ok((self.of_key.of(&self.keys, row)?, digest))
    }

    /// A row by its key, or by as much of it as fits.
    fn name(&self, row: usize) -> Result<String> {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let shown = if self.key.is_empty() { &all } else { &self.key };
        let mut name = String::new();
        for at in shown {
            let (Some(column), Some(own)) = (self.columns.get(*at), self.names.get(*at)) else { continue };
            let comma = if name.is_empty() { "" } else { ", " };
            name.push_str(&format!("{comma}{own}={}", Value::of(column.as_ref(), row)?));
        }
        if let Some((end, _)) = name.char_indices().nth(NAME) {
            name.truncate(end);
            name.push_str("...");
        }
        Ok(name)
    }
}

/// What an address has of how to get there, as opposed to what is done there.
const CONNECTING: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "port",
    "connect_timeout",
    "application_name",
    "schema",
    "timezone",
    "ssl_mode",
    "ssl_ca",
];

/// The target as a source. An address that says what to read is taken as it is; one of a sink is read for `tables`.
pub(super) async fn of_target(
    to: &Dsn,
    registry: &Registry,
    options: &VerifyOptions,
    tables: &[(TableId, Arc<Schema>)],
) -> Result<Side> {
    let info = registry.source_info(to)?;
    let has = |name: &str| info.params().iter().any(|param| param.is_called(name));
    if !has("tables") || ["tables", "table", "query"].iter().any(|name| to.has(name)) {
        return Side::open(to, registry, options, Vec::new()).await;
    }
    let mut dsn = to.clone().without_params();
    for (name, value) in to.params() {
        if CONNECTING.contains(&name) && has(name) {
            dsn = dsn.with_param(name, value.map(str::to_owned));
        }
    }
    let qualified = tables.iter().any(|(table, _)| table.schema().is_some());
    if has("qualified") {
        let word = if qualified { "always" } else { "never" };
        dsn = dsn.with_param("qualified", Some(word.to_owned()));
        if !qualified && !dsn.has("schema") {
            dsn = dsn.with_param("schema", Some("public".to_owned()));
        }
    }
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let name = |(table, _): &(TableId, Arc<Schema>)| match table.schema() {
        Some(schema) => format!("{}.{}", quoted(schema), quoted(table.name())),
        None => quoted(table.name()),
    };
    let mut names: Vec<String> = tables.iter().map(name).collect();
    let read = |list: &[String]| {
        // A comma parts names; whoever has one in a name reads all tables.
        let all = list.iter().any(|name| name.contains(','));
        dsn.clone().with_param("tables", Some(if all { "*".to_owned() } else { list.join(",") }))
    };
    match Side::open(&read(&names), registry, options, Vec::new()).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => return opened,
    }
    // One is missing, which is no fault of the others.
    let mut there = Vec::with_capacity(names.len());
    for name in names.drain(..) {
        let one = registry.source(&read(std::slice::from_ref(&name)), &OpenOptions::new())?;
        match one.splits(1, &[]).await {
            Ok(_) => there.push(name),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    if there.is_empty() {
        let source: Arc<dyn DynSource> =
            registry.source(&read(&["*".to_owned()]), &OpenOptions::new())?.into();
        return Ok(Side { source, splits: Vec::new(), tables: Vec::new(), transforms: Vec::new(), jobs: 1 });
    }
    Side::open(&read(&there), registry, options, Vec::new()).await
}
