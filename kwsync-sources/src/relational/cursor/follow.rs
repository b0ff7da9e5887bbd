//! Looks at tables, once or again and again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kwsync_core::{
    Decoded, Error, ErrorKind, Result, SourceBatch, Split, SplitPosition, TableBatch, TableId,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::config::{CursorOptions, Mode};
use super::database::{Bound, CursorTable, Database, Window};
use super::pages::{Pages, Ready};
use super::position::{At, CursorSpec, Position, Share};
use super::value::{Kind, Span};

/// Pages that wait to be cut; more would only take memory.
const AHEAD: usize = 2;
/// How late a row may be where reading goes on and nothing else is said.
const LAG: Span = Span::Time(Duration::from_millis(500));
/// The split that never ends.
const FOLLOW: &str = "follow";

/// The splits of a job: of each table one, which later runs read on, or those that never end, among which the tables are dealt: one a
/// lane, or a table, if there are fewer. `cursor` is what is read, as the source writes it down.
pub(crate) async fn splits<D: Database>(
    database: &D,
    options: &CursorOptions,
    cursor: &serde_json::Value,
    lanes: usize,
    known: &[Split],
) -> Result<(Vec<Split>, Vec<Arc<D::Table>>)> {
    let specs = known.iter().map(|split| CursorSpec::of(split, cursor)).collect::<Result<Vec<_>>>()?;
    let mut session = database.session().await?;
    // A table that was dropped since is no reason not to go on with the others.
    let strict = known.is_empty() || !options.mode.follows();
    let tables = database.tables(&mut session, strict).await?;
    let mut splits = known.to_vec();
    if !options.mode.follows() {
        for table in &tables {
            let info = (**table).as_ref();
            if specs.iter().all(|spec| spec.table.as_ref() != Some(&info.asked)) {
                let spec = CursorSpec {
                    table: Some(info.asked.clone()),
                    cursor: cursor.clone(),
                    ..CursorSpec::default()
                };
                splits.push(spec.into_split(info.asked.to_string(), true)?);
            }
        }
        return Ok((splits, tables));
    }
    if known.is_empty() {
        let mut spec = CursorSpec { cursor: cursor.clone(), ..CursorSpec::default() };
        if options.mode == Mode::Realtime {
            // Written down before a row is read: a job that is killed then begins at the same moment again.
            let clock = database.clock(&mut session).await?;
            let back = match options.lookback {
                Some(Span::Time(time)) => time.as_nanos() as i128,
                _ => 0,
            };
            spec.since = Some(((clock.utc - back).to_string(), (clock.local - back).to_string()));
            for table in &tables {
                let info = (**table).as_ref();
                if info.kind == Kind::Integer {
                    let back = units("lookback", options.lookback, info.kind)?.unwrap_or(0);
                    if let Some((_, last)) = database.ends(&mut session, table).await? {
                        spec.behind.insert(info.asked.to_string(), (last - back).to_string());
                    }
                }
            }
        }
        let count = lanes.min(tables.len()).max(1);
        let dealt: Vec<_> = tables.iter().map(|table| (**table).as_ref().asked.to_string()).collect();
        for index in 0..count {
            let (mut spec, mut id) = (spec.clone(), FOLLOW.to_owned());
            if count > 1 {
                spec.share = Some(Share { index, of: count, dealt: dealt.clone() });
                id.push_str(&format!("#{}", index + 1));
            }
            splits.push(spec.into_split(id, true)?);
        }
    }
    if splits.len() > lanes.max(1) {
        // Each of them holds its lane for good.
        let text =
            format!("the job has begun to follow its tables by {} lanes, and has {lanes} now", splits.len());
        return Err(
            Error::config(text).with_hint(format!("use --jobs {} or more, or --restart", splits.len()))
        );
    }
    Ok((splits, tables))
}

fn units(name: &str, span: Option<Span>, kind: Kind) -> Result<Option<i128>> {
    span.map(|span| span.units(name, kind)).transpose()
}

/// Reads one split.
#[derive(Debug)]
pub(crate) struct Follow<D> {
    pub(crate) database: Arc<D>,
    pub(crate) options: CursorOptions,
    pub(crate) spec: CursorSpec,
}

impl<D: Database> Follow<D> {
    /// Reads from behind `at` on, to the end or until nobody takes the batches any more.
    pub(crate) async fn run(
        self,
        at: Option<SplitPosition>,
        sender: &mpsc::Sender<Result<SourceBatch>>,
    ) -> Result<()> {
        let follows = self.spec.table.is_none();
        let mut position = Position::of(at.as_ref())?;
        let mut session = self.database.session().await?;
        let mut tables = self.tables(&mut session, !follows).await?;
        let mut looked = Instant::now();
        let mut made = BTreeSet::new();
        loop {
            let mut changed = false;
            for table in &tables {
                let info = (**table).as_ref();
                if made.insert(info.asked.to_string()) {
                    // A table without rows is one, too: whoever takes it makes it.
                    let none = TableBatch::empty(info.table.clone(), Arc::clone(&info.schema))?;
                    if sender.send(Ok(SourceBatch::new(vec![none], position.written()?))).await.is_err() {
                        return Ok(());
                    }
                }
                match self.look(&mut session, table, &mut position, sender).await {
                    Ok(true) => {}
                    Ok(false) => return Ok(()),
                    // Dropped, or changed, while it was read: the next look at the catalog tells.
                    Err(error)
                        if follows
                            && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Schema)
                            && !changed =>
                    {
                        tracing::warn!(table = %info.asked, %error, "looking for the tables again");
                        changed = true;
                    }
                    Err(error) => return Err(error),
                }
            }
            if !follows {
                return Ok(());
            }
            tokio::time::sleep(self.options.query_interval).await;
            if changed || looked.elapsed() >= self.options.poll_interval {
                looked = Instant::now();
                tables = self.again(&mut session, &tables, &mut position).await?;
                made.retain(|name| position.tables.contains_key(name));
            }
        }
    }

    async fn tables(&self, session: &mut D::Session, strict: bool) -> Result<Vec<Arc<D::Table>>> {
        let own = |asked: &TableId| {
            self.spec.table.as_ref().is_none_or(|own| own == asked)
                && self.spec.share.as_ref().is_none_or(|share| share.has(&asked.to_string()))
        };
        let all = self.database.own_tables(session, strict, &own).await?;
        let tables: Vec<_> = all.into_iter().filter(|table| own(&(**table).as_ref().asked)).collect();
        match &self.spec.table {
            Some(asked) if tables.is_empty() => {
                Err(Error::new(ErrorKind::NotFound, format!("the table {asked} is gone")).with_hint(
                    "it was dropped or renamed since the job began; run the job again with --restart",
                ))
            }
            _ => Ok(tables),
        }
    }

    /// The tables as they are now. Of one that is gone the position is forgotten: if it comes back, it is another.
    async fn again(
        &self,
        session: &mut D::Session,
        before: &[Arc<D::Table>],
        position: &mut Position,
    ) -> Result<Vec<Arc<D::Table>>> {
        let tables = self.tables(session, false).await?;
        let names = |tables: &[Arc<D::Table>]| -> BTreeSet<String> {
            tables.iter().map(|table| (**table).as_ref().asked.to_string()).collect()
        };
        let (old, new) = (names(before), names(&tables));
        for name in old.difference(&new) {
            tracing::warn!(table = %name, "the table is gone");
        }
        for name in new.difference(&old) {
            tracing::info!(table = %name, "a new table");
        }
        position.tables.retain(|name, _| new.contains(name));
        Ok(tables)
    }

    /// Reads what is new in one table; false when nobody takes it.
    async fn look(
        &self,
        session: &mut D::Session,
        table: &Arc<D::Table>,
        position: &mut Position,
        sender: &mpsc::Sender<Result<SourceBatch>>,
    ) -> Result<bool> {
        let info = (**table).as_ref();
        let name = info.asked.to_string();
        let mut at = position.tables.get(&name).cloned().unwrap_or_default();
        if at.kind.is_empty() {
            at.kind = info.kind.name();
        } else if at.kind != info.kind.name() {
            let text = format!(
                "{name}: the cursor {:?} was {} and is {} now",
                info.column,
                at.kind,
                info.kind.name()
            );
            return Err(Error::config(text).with_hint("begin anew with --restart"));
        }
        let lag =
            self.options.lag.or((self.options.mode.follows() && info.kind != Kind::Integer).then_some(LAG));
        let overlap = units("overlap", self.options.overlap, info.kind)?.unwrap_or(0);
        let lag = match units("lag", lag, info.kind)? {
            None | Some(0) => None,
            Some(_) => lag,
        };
        let upto = match lag {
            None => None,
            Some(lag) => match self.bound(session, table, lag).await? {
                Some(bound) => Some(bound),
                None => return self.kept(position, name, at),
            },
        };
        // A value that the lag has passed is complete; one of a unique column always is.
        let tracked = overlap > 0 || (lag.is_none() && !info.unique);
        let floor = self.floor(info, &name)?;
        let from = match at.value {
            None => floor.map(|value| (value, Bound::With)),
            // Nothing was remembered by an earlier run that had no need to.
            Some(value) if !tracked || at.seen.is_none() => Some((value, Bound::Behind)),
            Some(value) => Some(((value - overlap).max(floor.unwrap_or(i128::MIN)), Bound::With)),
        };
        if let (Some((from, _)), Some(upto)) = (from, upto)
            && upto < from
        {
            return self.kept(position, name, at);
        }
        let below = match &self.spec.range {
            Some((_, to)) => to.as_deref().map(number).transpose()?,
            None => None,
        };
        let (begin, end) = (self.options.begin.clone(), self.options.end.clone());
        let window = Window { from, upto, below, begin, end };
        let (pages, mut taken) = mpsc::channel(AHEAD);
        let mut cutting = Pages::new(info, &mut at, tracked.then_some(overlap));
        let reading = self.database.read(session, table, &window, pages);
        let cut = async {
            loop {
                let (ready, more) = match taken.recv().await {
                    Some(page) => (cutting.push(page)?, true),
                    None => (cutting.finish()?, false),
                };
                if let Some(ready) = ready {
                    position.tables.insert(name.clone(), cutting.at().clone());
                    if sender.send(Ok(batch(ready, position)?)).await.is_err() {
                        return Ok(false);
                    }
                }
                if !more {
                    return Ok(true);
                }
            }
        };
        let ((), going) = tokio::try_join!(reading, cut)?;
        self.kept(position, info.asked.to_string(), at)?;
        Ok(going)
    }

    fn kept(&self, position: &mut Position, name: String, at: At) -> Result<bool> {
        position.tables.insert(name, at);
        Ok(true)
    }

    /// The last value that the lag has passed.
    async fn bound(
        &self,
        session: &mut D::Session,
        table: &Arc<D::Table>,
        lag: Span,
    ) -> Result<Option<i128>> {
        let kind = (**table).as_ref().kind;
        Ok(match (kind.nanos(), lag) {
            // A value stands for all that its unit holds: it is over when the next one has begun.
            (Some(nanos), Span::Time(lag)) => {
                let clock = self.database.clock(session).await?;
                Some((clock.of(kind) - lag.as_nanos() as i128).div_euclid(nanos) - 1)
            }
            _ => {
                let lag = lag.units("lag", kind)?;
                self.database.ends(session, table).await?.map(|(_, last)| last - lag)
            }
        })
    }

    /// The first value that belongs to the split, if not the first of all.
    fn floor(&self, info: &CursorTable, name: &str) -> Result<Option<i128>> {
        if let Some((Some(from), _)) = &self.spec.range {
            return number(from).map(Some);
        }
        match (info.kind.nanos(), &self.spec.since) {
            (Some(nanos), Some((utc, local))) => {
                let zoned = matches!(info.kind, Kind::Timestamp(_, true));
                Ok(Some(number(if zoned { utc } else { local })?.div_euclid(nanos)))
            }
            (None, Some(_)) => {
                self.spec.behind.get(name).map(|last| number(last).map(|last| last + 1)).transpose()
            }
            _ => Ok(None),
        }
    }
}

fn number(text: &str) -> Result<i128> {
    text.parse().map_err(|_| Error::new(ErrorKind::Internal, format!("a split holds {text:?} for a number")))
}

fn batch(ready: Ready, position: &Position) -> Result<SourceBatch> {
    let Ready { batches, rejects, counts, bytes } = ready;
    let decoded = Decoded { batches, rejects, counts };
    Ok(SourceBatch { bytes, ..SourceBatch::of(decoded, position.written()?) })
}
