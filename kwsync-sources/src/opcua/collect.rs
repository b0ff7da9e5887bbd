//! Listening to a server: subscriptions, what they tell, and coming back after a connection is lost.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use kwsync_core::{Backoff, Error, ErrorKind, Result, Retry};
use opcua::client::UARequest;
use opcua::client::services::{CreateMonitoredItems, CreateSubscription, Publish};
use opcua::types::{
    DataChangeNotification, ExtensionObject, MonitoredItemCreateRequest, MonitoringMode,
    MonitoringParameters, PublishResponse, StatusChangeNotification, StatusCode, SubscriptionAcknowledgement,
    TimestampsToReturn,
};

use super::buffer::{Buffer, Sample};
use super::config::OpcUaOptions;
use super::plan::Plan;
use super::session::{Link, fault, named, quiet};

/// How long a server that has nothing to say may be silent.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// How long a server keeps a subscription that nobody asks about: as long as a target may be slow.
const LIFETIME: Duration = Duration::from_secs(900);

/// Listens until it is told to stop, or meets what no trying again can help.
pub(super) async fn run(options: Arc<OpcUaOptions>, plan: Arc<Plan>, buffer: Arc<Buffer>) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30), u32::MAX);
    let mut clock = Clock::default();
    let mut again = false;
    loop {
        let error = match serve(&options, &plan, &buffer, &mut backoff, &mut clock, again).await {
            Ok(()) => return,
            Err(error) if error.retry() == Retry::Never => {
                buffer.fail(error);
                return;
            }
            Err(error) => error,
        };
        again = true;
        let wait = backoff.next_wait().unwrap_or_default();
        tracing::warn!(
            server = %options.url,
            error = %error,
            wait_ms = wait.as_millis() as u64,
            "connecting again; changes that the server has meanwhile are lost, but for the last value of each node"
        );
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = buffer.stop.notified() => return,
        }
    }
}

/// Microseconds since 1970, each later than the one before: they may be a primary key.
#[derive(Default)]
struct Clock(i64);

impl Clock {
    fn next(&mut self) -> i64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.0 = i64::try_from(now.as_micros()).unwrap_or(i64::MAX).max(self.0 + 1);
        self.0
    }
}

/// One session, from its beginning to its end.
async fn serve(
    options: &OpcUaOptions,
    plan: &Plan,
    buffer: &Buffer,
    backoff: &mut Backoff,
    clock: &mut Clock,
    again: bool,
) -> Result<()> {
    let link = tokio::select! {
        link = Link::open(options) => link?,
        () = buffer.stop.notified() => return Ok(()),
    };
    let subscriptions = tokio::select! {
        subscriptions = subscribe(&link, options, again) => subscriptions?,
        () = buffer.stop.notified() => {
            link.close().await;
            return Ok(());
        }
    };
    if again {
        tracing::info!(server = %options.url, "connected again");
    }
    let done = listen(&link, options, plan, buffer, subscriptions, backoff, clock).await;
    link.close().await;
    done
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

/// Subscribes to the nodes; each subscription with the longest that it may be silent.
async fn subscribe(link: &Link, options: &OpcUaOptions, again: bool) -> Result<BTreeMap<u32, Duration>> {
    let many = options.concurrent.clamp(1, options.points.len().max(1));
    let keep_alive = times(options.interval, SIGN_OF_LIFE);
    let lifetime = times(options.interval, LIFETIME).max(keep_alive * 3);
    let gone = |error: opcua::types::Error| fault(error.status(), options);
    let (mut subscriptions, mut refused) = (BTreeMap::new(), Vec::new());
    for share in 0..many {
        let request = CreateSubscription::new(&link.session)
            .publishing_interval(options.interval)
            .max_keep_alive_count(keep_alive)
            .max_lifetime_count(lifetime)
            .max_notifications_per_publish(u32::try_from(options.batch_size).unwrap_or(u32::MAX))
            .publishing_enabled(true);
        let made = quiet(request.send(link.session.channel())).await.map_err(gone)?;
        let interval = Duration::try_from_secs_f64(made.revised_publishing_interval / 1000.0)
            .unwrap_or(options.interval);
        if interval > options.interval.saturating_mul(2) {
            tracing::warn!(server = %options.url, "the server tells of changes only every {interval:?}");
        }
        subscriptions.insert(
            made.subscription_id,
            patience(
                options,
                interval.max(options.interval),
                made.revised_max_keep_alive_count.min(keep_alive.max(1) * 10),
            ),
        );
        let mine: Vec<(usize, MonitoredItemCreateRequest)> = options
            .points
            .iter()
            .enumerate()
            .filter(|(at, _)| at % many == share)
            .map(|(at, point)| (at, item(at, point.node.clone().into(), options)))
            .collect();
        let mut lossy = 0;
        for some in mine.chunks(link.at_once.1) {
            let request = CreateMonitoredItems::new(made.subscription_id, &link.session)
                .timestamps_to_return(TimestampsToReturn::Both)
                .items_to_create(some.iter().map(|(_, item)| item.clone()).collect());
            let answer = quiet(request.send(link.session.channel())).await.map_err(gone)?;
            for ((at, _), answer) in some.iter().zip(answer.results) {
                if answer.result.status_code.is_bad() {
                    let node =
                        options.points.get(*at).map(|point| point.node.to_string()).unwrap_or_default();
                    refused.push(format!("{node} ({})", named(answer.result.status_code)));
                }
                lossy += usize::from(answer.result.revised_queue_size < options.queue);
            }
        }
        if lossy > 0 {
            tracing::info!(server = %options.url, nodes = lossy, "the server keeps fewer changes than queue= asks for");
        }
    }
    if refused.is_empty() {
        return Ok(subscriptions);
    }
    let text = format!("{} does not watch {}", options.url, refused.join(", "));
    // A node that was there once costs itself only.
    if again && refused.len() < options.points.len() {
        tracing::warn!("{text}; nothing more comes from there until the connection is made again");
        return Ok(subscriptions);
    }
    let kind = if again { ErrorKind::Unavailable } else { ErrorKind::NotFound };
    Err(Error::new(kind, text).with_hint("the nodes must be variables that this user may read"))
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

type Asked = Pin<Box<dyn Future<Output = std::result::Result<PublishResponse, opcua::types::Error>> + Send>>;

/// The first answer. Requests are made in their order, by being looked at in it, and a server answers them in that order.
async fn first(asked: &mut VecDeque<Asked>) -> std::result::Result<PublishResponse, opcua::types::Error> {
    let (at, answer) = poll_fn(|context| {
        for (at, request) in asked.iter_mut().enumerate() {
            if let Poll::Ready(answer) = request.as_mut().poll(context) {
                return Poll::Ready((at, answer));
            }
        }
        Poll::Pending
    })
    .await;
    drop(asked.remove(at));
    answer
}

/// Takes what the subscriptions tell until the connection is lost. A new request is made only when the answer to an old one has found
/// room, so that a slow target makes the server keep what there is.
async fn listen(
    link: &Link,
    options: &OpcUaOptions,
    plan: &Plan,
    buffer: &Buffer,
    subscriptions: BTreeMap<u32, Duration>,
    backoff: &mut Backoff,
    clock: &mut Clock,
) -> Result<()> {
    let patience = subscriptions.values().max().copied().unwrap_or(options.request_timeout);
    let mut window = subscriptions.len() + 1;
    let mut asked: VecDeque<Asked> = VecDeque::new();
    let mut acknowledge: Vec<SubscriptionAcknowledgement> = Vec::new();
    let mut expected: BTreeMap<u32, u32> = BTreeMap::new();
    let mut overflown = 0_u64;
    loop {
        while asked.len() < window {
            let request =
                Publish::new(&link.session).acks(std::mem::take(&mut acknowledge)).timeout(patience);
            let session = Arc::clone(&link.session);
            asked.push_back(Box::pin(quiet(async move { request.send(session.channel()).await })));
        }
        let answer = tokio::select! {
            answer = first(&mut asked) => answer,
            () = buffer.stop.notified() => return Ok(()),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.status() == StatusCode::BadTooManyPublishRequests && window > 1 => {
                window -= 1;
                continue;
            }
            // The server waits no longer to have something to say; whether it is there at all the session finds out.
            Err(error) if error.status() == StatusCode::BadTimeout => continue,
            Err(error) => return Err(fault(error.status(), options)),
        };
        backoff.reset();
        let id = answer.subscription_id;
        let message = answer.notification_message;
        let notifications = message.notification_data.unwrap_or_default();
        // A sign of life has no number of its own.
        if notifications.is_empty() || !subscriptions.contains_key(&id) {
            continue;
        }
        let next = expected.entry(id).or_insert(message.sequence_number);
        if message.sequence_number > *next {
            let lost = message.sequence_number - *next;
            tracing::warn!(server = %options.url, messages = lost, "messages of the server are lost");
        }
        // Numbers go around past 0.
        *next = message.sequence_number.checked_add(1).unwrap_or(1);
        let mut samples = Vec::new();
        for notification in notifications {
            if notification.inner_is::<StatusChangeNotification>() {
                let status =
                    notification.into_inner_as::<StatusChangeNotification>().map(|change| change.status);
                let text = format!(
                    "{} has ended a subscription: {}",
                    options.url,
                    named(status.unwrap_or(StatusCode::BadUnexpectedError))
                );
                if status_ends(status) {
                    return Err(Error::new(ErrorKind::Unavailable, text));
                }
                continue;
            }
            let Some(changes) = notification.into_inner_as::<DataChangeNotification>() else { continue };
            for change in changes.monitored_items.into_iter().flatten() {
                let value = change.value;
                let Some(point) = (change.client_handle as usize).checked_sub(1) else { continue };
                let status = value.status.unwrap_or(StatusCode::Good);
                if status.overflow() {
                    overflown += 1;
                    if overflown.is_power_of_two() {
                        tracing::warn!(
                            server = %options.url,
                            node = %plan.node(point).map(ToString::to_string).unwrap_or_default(),
                            times = overflown,
                            "the server has dropped changes: more came than its queue holds; queue= asks for a longer one"
                        );
                    }
                }
                let original =
                    value.source_timestamp.map(|time| (time, value.source_picoseconds.unwrap_or(0))).or_else(
                        || value.server_timestamp.map(|time| (time, value.server_picoseconds.unwrap_or(0))),
                    );
                samples.push(Sample { point, received: clock.next(), original, value: value.value, status });
            }
        }
        if !samples.is_empty() {
            tokio::select! {
                () = buffer.push(samples) => {}
                () = buffer.stop.notified() => return Ok(()),
            }
        }
        acknowledge.push(SubscriptionAcknowledgement {
            subscription_id: id,
            sequence_number: message.sequence_number,
        });
    }
}

/// A subscription that was moved or has timed out tells nothing more.
fn status_ends(status: Option<StatusCode>) -> bool {
    status.is_none_or(|status| status.is_bad() || status == StatusCode::GoodSubscriptionTransferred)
}
