//! Which collections are read, what their columns are, and how they are cut.

use kwsync_core::{Error, ErrorKind, Result};

use super::bson::Elem;
use super::columns::{Column, Target};
use super::config::MongoDbOptions;
use super::infer::Inferring;
use super::reading::{Find, documents};
use super::session::Session;
use super::written::{Key, Written};

/// Most pieces that are cut without being asked for.
const MOST_PIECES: u64 = 10_000;
/// Least documents of a piece that is cut only for a lane.
const LANE_ROWS: u64 = 100_000;
/// Documents that are drawn for each bound.
const DRAWN: usize = 20;

/// The collections that are asked for. `strict` makes an error of a name that means none.
pub(super) async fn collections(
    session: &mut Session,
    options: &MongoDbOptions,
    strict: bool,
) -> Result<Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    let command =
        Written::new().i32("listCollections", 1).bool("nameOnly", true).text("$db", &options.database);
    let reply = session.command(&command).await?;
    let mut names = Vec::new();
    for doc in documents(&reply)? {
        let doc = doc?;
        let name = doc.text("name")?.map(str::to_owned);
        let view = doc.text("type")? == Some("view");
        names.extend(name.map(|name| (name, view)));
    }
    names.sort();
    for pattern in &options.tables {
        let exact = pattern.exact().is_some();
        let before = found.len();
        for (name, view) in &names {
            if options.asks_for(pattern, name) && (exact || !view) && !found.contains(name) {
                found.push(name.clone());
            }
        }
        if strict && found.len() == before && (exact || options.exclude.is_empty()) {
            let text = format!(
                "there is no collection {} in the database {:?}",
                pattern.to_string().replace('\u{1}', "."),
                options.database
            );
            let there: Vec<_> = names.iter().take(20).map(|(name, _)| name.as_str()).collect();
            let hint = match there.as_slice() {
                [] => "it has none: check the path of the address, and that the user may see them".to_owned(),
                there => format!("it has {}; case counts", there.join(", ")),
            };
            return Err(Error::new(ErrorKind::NotFound, text).with_hint(hint));
        }
    }
    Ok(found)
}

/// Whether the job names a collection, and no pattern only.
pub(super) fn is_named(options: &MongoDbOptions, collection: &str) -> bool {
    options.tables.iter().any(|pattern| pattern.exact().is_some() && options.asks_for(pattern, collection))
}

/// The columns of a collection, and what to say of them.
pub(super) async fn columns(
    session: &mut Session,
    options: &MongoDbOptions,
    collection: &str,
) -> Result<(Vec<Column>, Vec<String>)> {
    let given = |name: &str| -> Option<Target> { options.types.get(name).cloned() };
    let all_given = !options.columns.is_empty() && options.columns.iter().all(|name| given(name).is_some());
    if all_given {
        let columns =
            options.columns.iter().filter_map(|name| Some(Column::new(name.as_str(), &given(name)?)));
        return Ok((columns.collect(), Vec::new()));
    }
    let filters = options.condition.iter().map(|(_, filter)| filter.clone()).collect();
    let mut find = Find::new(options, collection, filters, None).with_limit(options.sample);
    let mut inferring = Inferring::default();
    let nested = options.nested || !options.columns.is_empty();
    while let Some(reply) = find.page(session).await? {
        for doc in documents(&reply)? {
            inferring.look(doc?, nested)?;
        }
    }
    if !options.columns.is_empty() {
        let columns = options.columns.iter().map(|name| {
            let target = given(name).unwrap_or_else(|| Target::Of(inferring.at(name)));
            Column::new(name.as_str(), &target)
        });
        return Ok((columns.collect(), Vec::new()));
    }
    let columns = inferring.columns(&given);
    if columns.is_empty() {
        return Ok((
            vec![Column::new("_id", &Target::Of(kwsync_core::DataType::Text))],
            vec![format!("{collection} has no documents yet")],
        ));
    }
    let looked = inferring.documents();
    let note = match options.sample {
        0 => format!("the columns of {collection} are those of all its {looked} documents"),
        _ => format!(
            "the columns of {collection} are inferred from {looked} documents; one with other fields or types later is {}",
            if options.ignores_unknown {
                "a reject where a type differs, and other fields are left out"
            } else {
                "a reject"
            }
        ),
    };
    Ok((columns, vec![note]))
}

/// Values of `_id` below which a piece ends; and whether rows can be told by it at all, from which place on.
pub(super) struct Cut {
    pub(super) bounds: Vec<Key>,
    /// Whether all of them are compared with each other, so that a range leaves none out.
    pub(super) resumable: bool,
}

pub(super) async fn cut(
    session: &mut Session,
    options: &MongoDbOptions,
    collection: &str,
    lanes: usize,
) -> Result<Cut> {
    let end = |direction: i32| {
        Find::new(options, collection, Vec::new(), Some(("_id", direction)))
            .with_limit(1)
            .with_fields(["_id"])
    };
    let mut kinds = Vec::new();
    for direction in [1, -1] {
        let Some(reply) = end(direction).page(session).await? else { continue };
        for doc in documents(&reply)? {
            let id = doc?.get("_id")?;
            kinds.push(id.as_ref().and_then(|id| Key::of(id).map(|_| id.bracket())));
        }
    }
    let resumable = match kinds.as_slice() {
        [] => true,
        [first, last] => first.is_some() && first == last,
        _ => false,
    };
    let rows = count(session, options, collection).await?;
    let pieces = match options.splits {
        Some(splits) => splits,
        None => (rows / options.split_rows).max((lanes as u64).min(rows / LANE_ROWS)).clamp(1, MOST_PIECES)
            as usize,
    };
    let mut cut = Cut { bounds: Vec::new(), resumable };
    if pieces > 1 && resumable && !kinds.is_empty() {
        cut.bounds = bounds(session, options, collection, pieces).await?;
    }
    Ok(cut)
}

/// About how many documents a collection has.
async fn count(session: &mut Session, options: &MongoDbOptions, collection: &str) -> Result<u64> {
    let command = Written::new().text("count", collection).text("$db", &options.database);
    let reply = session.command(&command).await?;
    Ok(reply.doc()?.number("n")?.unwrap_or(0.0).max(0.0) as u64)
}

/// Bounds between pieces of about as many documents, from some that the server draws.
async fn bounds(
    session: &mut Session,
    options: &MongoDbOptions,
    collection: &str,
    pieces: usize,
) -> Result<Vec<Key>> {
    let drawn = (pieces * DRAWN) as i64;
    let mut stages = Vec::new();
    stages.extend(options.condition.iter().map(|(_, filter)| Written::new().doc("$match", filter)));
    stages.push(Written::new().doc("$sample", &Written::new().i64("size", drawn)));
    stages.push(Written::new().doc("$project", &Written::new().i32("_id", 1)));
    stages.push(Written::new().doc("$sort", &Written::new().i32("_id", 1)));
    let command = Written::new()
        .text("aggregate", collection)
        .array("pipeline", &stages)
        .doc("cursor", &Written::new().i32("batchSize", i32::MAX))
        .bool("allowDiskUse", true)
        .text("$db", &options.database);
    let reply = match session.command(&command).await {
        Ok(reply) => reply,
        Err(error)
            if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Auth | ErrorKind::Timeout) =>
        {
            return Err(error);
        }
        // It can be read in one piece.
        Err(error) => {
            tracing::warn!(%error, collection, "the collection is not cut");
            return Ok(Vec::new());
        }
    };
    let mut ids: Vec<Key> = Vec::new();
    for doc in documents(&reply)? {
        let id: Option<Elem<'_>> = doc?.get("_id")?;
        ids.extend(id.as_ref().and_then(Key::of).filter(|key| ids.last() != Some(key)));
    }
    let mut bounds: Vec<Key> =
        (1..pieces).filter_map(|piece| ids.get(ids.len() * piece / pieces).cloned()).collect();
    bounds.dedup();
    Ok(bounds)
}
