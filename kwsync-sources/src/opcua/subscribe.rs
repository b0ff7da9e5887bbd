//! Subscriptions at a server, and the nodes that they watch.

use std::collections::BTreeMap;
use std::time::Duration;

use kwsync_core::{Backoff, Error, ErrorKind, Result};
use opcua::client::UARequest;
use opcua::client::services::{CreateMonitoredItems, CreateSubscription};
use opcua::types::{
    ExtensionObject, MonitoredItemCreateRequest, MonitoringMode, MonitoringParameters, StatusCode,
    TimestampsToReturn,
};
use tokio::time::{Instant, sleep_until};

use super::config::OpcUaOptions;
use super::nodes::list;
use super::session::{Link, fault, named, quiet};

/// How long a server that has nothing to say may be silent.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// How long a server keeps a subscription that nobody asks about: as long as a target may be slow.
const LIFETIME: Duration = Duration::from_secs(900);

/// What a session watches.
pub(super) struct Subscriptions {
    /// The longest that each subscription may be silent, by its number.
    pub(super) silence: BTreeMap<u32, Duration>,
    pub(super) refused: Refused,
}

/// Nodes that were there once and are refused: they are asked for again and again.
pub(super) struct Refused {
    /// Places in the list of points, by the subscription that is to have them.
    nodes: BTreeMap<u32, Vec<usize>>,
    backoff: Backoff,
    at: Instant,
}

impl Refused {
    fn new(nodes: BTreeMap<u32, Vec<usize>>) -> Self {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), u32::MAX);
        let wait = backoff.next_wait().unwrap_or_default();
        Self { nodes, backoff, at: Instant::now() + wait }
    }

    /// Waits until there are some to be asked for.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn due(&self) {
        if self.nodes.is_empty() {
            std::future::pending::<()>().await;
        }
        sleep_until(self.at).await;
    }

    /// Asks for them once more.
    ///
    /// # Errors
    /// `Protocol` for an answer that does not fit. Others cost nothing: when the session is gone, whoever listens hears of it.
    pub(super) async fn ask(&mut self, link: &Link, options: &OpcUaOptions) -> Result<()> {
        let mut there = Vec::new();
        for (subscription, points) in &mut self.nodes {
            match watch(link, options, *subscription, points).await {
                Ok(still) => {
                    let is_there = |at: &&usize| !still.iter().any(|(refused, _)| refused == *at);
                    there.extend(points.iter().filter(is_there).map(|at| name(options, *at)));
                    *points = still.into_iter().map(|(at, _)| at).collect();
                }
                Err(error) if error.kind() == ErrorKind::Protocol => return Err(error),
                Err(error) => {
                    tracing::debug!(server = %options.url, error = %error, "nodes are still refused")
                }
            }
        }
        self.nodes.retain(|_, points| !points.is_empty());
        if !there.is_empty() {
            tracing::info!(server = %options.url, nodes = %list(&there), "nodes are watched again");
            self.backoff.reset();
        }
        self.at = Instant::now() + self.backoff.next_wait().unwrap_or_default();
        Ok(())
    }
}

fn name(options: &OpcUaOptions, at: usize) -> String {
    options.points.get(at).map(|point| point.node.to_string()).unwrap_or_default()
}

/// Times that `interval` fits into `time`.
fn times(interval: Duration, time: Duration) -> u32 {
    let times = time.as_millis() / interval.as_millis().max(1);
    u32::try_from(times).unwrap_or(u32::MAX / 4).clamp(1, u32::MAX / 4)
}

/// The longest that an answer to a request to publish may take.
fn patience(options: &OpcUaOptions, interval: Duration, keep_alive: u32) -> Duration {
    interval.saturating_mul(keep_alive.saturating_mul(3)).saturating_add(options.request_timeout)
}

/// Subscribes to the nodes.
///
/// # Errors
/// `NotFound` for nodes that are refused; `again`, when they were there once, only where all are: `Unavailable` then.
pub(super) async fn subscribe(link: &Link, options: &OpcUaOptions, again: bool) -> Result<Subscriptions> {
    let many = options.concurrent.clamp(1, options.points.len().max(1));
    let keep_alive = times(options.interval, SIGN_OF_LIFE);
    let lifetime = times(options.interval, LIFETIME).max(keep_alive * 3);
    let (mut silence, mut refused, mut said) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for share in 0..many {
        let request = CreateSubscription::new(&link.session)
            .publishing_interval(options.interval)
            .max_keep_alive_count(keep_alive)
            .max_lifetime_count(lifetime)
            .max_notifications_per_publish(u32::try_from(options.batch_size).unwrap_or(u32::MAX))
            .publishing_enabled(true);
        let made = quiet(request.send(link.session.channel()))
            .await
            .map_err(|error| fault(error.status(), options))?;
        let interval = Duration::try_from_secs_f64(made.revised_publishing_interval / 1000.0)
            .unwrap_or(options.interval);
        if interval > options.interval.saturating_mul(2) {
            tracing::warn!(server = %options.url, "the server tells of changes only every {interval:?}");
        }
        silence.insert(
            made.subscription_id,
            patience(
                options,
                interval.max(options.interval),
                made.revised_max_keep_alive_count.min(keep_alive.max(1) * 10),
            ),
        );
        let mine: Vec<usize> = (0..options.points.len()).filter(|at| at % many == share).collect();
        let not = watch(link, options, made.subscription_id, &mine).await?;
        said.extend(not.iter().map(|(at, status)| format!("{} ({})", name(options, *at), named(*status))));
        if !not.is_empty() {
            refused.insert(made.subscription_id, not.into_iter().map(|(at, _)| at).collect());
        }
    }
    if !said.is_empty() {
        let text = format!("{} does not watch {}", options.url, list(&said));
        // A node that was there once costs itself only.
        if !again || said.len() >= options.points.len() {
            let kind = if again { ErrorKind::Unavailable } else { ErrorKind::NotFound };
            return Err(
                Error::new(kind, text).with_hint("the nodes must be variables that this user may read")
            );
        }
        tracing::warn!("{text}; they are asked for again, with growing pauses");
    }
    Ok(Subscriptions { silence, refused: Refused::new(refused) })
}

/// Has a subscription watch nodes, by their places in the list of points; those that the server refuses, and why.
async fn watch(
    link: &Link,
    options: &OpcUaOptions,
    subscription: u32,
    points: &[usize],
) -> Result<Vec<(usize, StatusCode)>> {
    let (mut refused, mut lossy) = (Vec::new(), 0);
    let items: Vec<(usize, MonitoredItemCreateRequest)> = points
        .iter()
        .filter_map(|at| Some((*at, item(*at, options.points.get(*at)?.node.clone().into(), options))))
        .collect();
    for some in items.chunks(link.at_once.1) {
        let request = CreateMonitoredItems::new(subscription, &link.session)
            .timestamps_to_return(TimestampsToReturn::Both)
            .items_to_create(some.iter().map(|(_, item)| item.clone()).collect());
        let odd = || {
            let text = format!(
                "{} was to watch {} nodes, and its answer is not for all of them",
                options.url,
                some.len()
            );
            Error::new(ErrorKind::Protocol, text)
        };
        let answer =
            quiet(request.send(link.session.channel())).await.map_err(|error| match error.status() {
                // Thus the library says that there are more or fewer results.
                StatusCode::BadUnexpectedError => odd(),
                status => fault(status, options),
            })?;
        if answer.results.len() != some.len() {
            return Err(odd());
        }
        for ((at, _), answer) in some.iter().zip(answer.results) {
            if answer.result.status_code.is_bad() {
                refused.push((*at, answer.result.status_code));
            } else {
                lossy += usize::from(answer.result.revised_queue_size < options.queue);
            }
        }
    }
    if lossy > 0 {
        tracing::info!(server = %options.url, nodes = lossy, "the server keeps fewer changes than queue= asks for");
    }
    Ok(refused)
}

fn item(at: usize, node: opcua::types::ReadValueId, options: &OpcUaOptions) -> MonitoredItemCreateRequest {
    MonitoredItemCreateRequest {
        item_to_monitor: node,
        monitoring_mode: MonitoringMode::Reporting,
        requested_parameters: MonitoringParameters {
            // The library gives 0 another number.
            client_handle: u32::try_from(at + 1).unwrap_or(u32::MAX),
            sampling_interval: options.sampling.as_secs_f64() * 1000.0,
            filter: ExtensionObject::null(),
            queue_size: options.queue,
            // What is lost is the oldest; the newest value is always there.
            discard_oldest: true,
        },
    }
}
