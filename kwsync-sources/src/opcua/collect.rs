//! Listening to a server: subscriptions, what they tell, and coming back after a connection is lost.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use kwsync_core::{Backoff, Error, ErrorKind, Result, Retry};
use opcua::client::UARequest;
use opcua::client::services::{Publish, Republish};
use opcua::types::{
    DataChangeNotification, NotificationMessage, PublishResponse, StatusChangeNotification, StatusCode,
    SubscriptionAcknowledgement,
};
use tokio::time::Instant;

use super::buffer::{Buffer, Sample};
use super::config::OpcUaOptions;
use super::plan::Plan;
use super::session::{Link, fault, named, quiet, same_namespaces};
use super::subscribe::{Subscriptions, subscribe};

/// How long a server that had let us in may refuse to: while it starts, it may not know its users or certificates yet.
const PATIENCE: Duration = Duration::from_secs(300);
/// Most messages that are asked for once more.
const MAX_AGAIN: u32 = 1000;

/// Listens until it is told to stop, or meets what no trying again can help.
pub(super) async fn run(options: Arc<OpcUaOptions>, plan: Arc<Plan>, buffer: Arc<Buffer>) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30), u32::MAX);
    let mut clock = Clock::default();
    let mut up = false;
    let mut refused: Option<Instant> = None;
    loop {
        let was_up = std::mem::take(&mut up);
        let done = serve(&options, &plan, &buffer, &mut backoff, &mut clock, was_up, &mut up).await;
        if up {
            refused = None;
        }
        up |= was_up;
        let Err(error) = done else { return };
        let wait = if error.retry() == Retry::Never {
            let since = *refused.get_or_insert_with(Instant::now);
            if !up || is_final(&error) || since.elapsed() >= PATIENCE {
                buffer.fail(error);
                return;
            }
            let wait = backoff.next_wait().unwrap_or_default();
            tracing::warn!(
                server = %options.url,
                error = %error,
                wait_ms = wait.as_millis() as u64,
                "refused by a server that had let us in; trying for {} minutes",
                PATIENCE.as_secs() / 60
            );
            wait
        } else {
            refused = None;
            let wait = backoff.next_wait().unwrap_or_default();
            tracing::warn!(
                server = %options.url,
                error = %error,
                wait_ms = wait.as_millis() as u64,
                "connecting again; changes that the server has meanwhile are lost, but for the last value of each node"
            );
            wait
        };
        buffer.away(error);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = buffer.stop.notified() => return,
        }
    }
}

/// Whether it is not the server that may say something else in a while.
fn is_final(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Schema | ErrorKind::Internal)
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

/// One session, from its beginning to its end. `up` becomes true when nodes are watched.
async fn serve(
    options: &OpcUaOptions,
    plan: &Plan,
    buffer: &Buffer,
    backoff: &mut Backoff,
    clock: &mut Clock,
    again: bool,
    up: &mut bool,
) -> Result<()> {
    let link = tokio::select! {
        link = Link::open(options) => link?,
        () = buffer.stop.notified() => return Ok(()),
    };
    if let Err(error) = same_namespaces(options, plan.namespaces(), &link.namespaces) {
        link.close().await;
        return Err(error);
    }
    let subscriptions = tokio::select! {
        subscriptions = subscribe(&link, options, again) => subscriptions,
        () = buffer.stop.notified() => {
            link.close().await;
            return Ok(());
        }
    };
    let subscriptions = match subscriptions {
        Ok(subscriptions) => subscriptions,
        Err(error) => {
            link.close().await;
            return Err(error);
        }
    };
    *up = true;
    buffer.there();
    if again {
        tracing::info!(server = %options.url, "connected again");
    }
    let done = listen(&link, options, plan, buffer, subscriptions, backoff, clock).await;
    link.close().await;
    done
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
    subscriptions: Subscriptions,
    backoff: &mut Backoff,
    clock: &mut Clock,
) -> Result<()> {
    let Subscriptions { silence: subscriptions, mut refused } = subscriptions;
    let patience = subscriptions.values().max().copied().unwrap_or(options.request_timeout);
    let mut window = subscriptions.len() + 1;
    let mut asked: VecDeque<Asked> = VecDeque::new();
    let mut expected: BTreeMap<u32, u32> = BTreeMap::new();
    let mut heard = Heard::default();
    loop {
        while asked.len() < window {
            let request =
                Publish::new(&link.session).acks(std::mem::take(&mut heard.acknowledge)).timeout(patience);
            let session = Arc::clone(&link.session);
            asked.push_back(Box::pin(quiet(async move { request.send(session.channel()).await })));
        }
        let answer = tokio::select! {
            answer = first(&mut asked) => answer,
            () = refused.due() => {
                tokio::select! {
                    done = refused.ask(link, options) => done?,
                    () = buffer.stop.notified() => return Ok(()),
                }
                continue;
            }
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
        let number = message.sequence_number;
        let next = expected.get(&id).copied().unwrap_or(number);
        // Numbers go around past 0.
        expected.insert(id, if number < next { next } else { number.checked_add(1).unwrap_or(1) });
        let mut lost = number.saturating_sub(next);
        for missing in next..number.min(next.saturating_add(MAX_AGAIN)) {
            let request = Republish::new(id, missing, &link.session);
            let answer = tokio::select! {
                answer = quiet(request.send(link.session.channel())) => answer,
                () = buffer.stop.notified() => return Ok(()),
            };
            match answer {
                Ok(answer) => {
                    lost -= 1;
                    if !heard.hand_on(id, answer.notification_message, options, plan, buffer, clock).await? {
                        return Ok(());
                    }
                }
                // It has kept others, maybe.
                Err(error) if error.status() == StatusCode::BadMessageNotAvailable => {}
                Err(error) => {
                    tracing::debug!(server = %options.url, "messages are not said again: {}", named(error.status()));
                    break;
                }
            }
        }
        if lost > 0 {
            tracing::warn!(server = %options.url, messages = lost, "messages of the server are lost");
        }
        let message = NotificationMessage { notification_data: Some(notifications), ..message };
        if !heard.hand_on(id, message, options, plan, buffer, clock).await? {
            return Ok(());
        }
    }
}

/// What has been heard in a session.
#[derive(Default)]
struct Heard {
    /// How often changes were dropped.
    overflown: u64,
    /// Messages that the server need not keep any longer.
    acknowledge: Vec<SubscriptionAcknowledgement>,
}

impl Heard {
    /// Hands on the values of a message; false when it is time to stop.
    ///
    /// # Errors
    /// `Unavailable` for a subscription that the server has ended.
    async fn hand_on(
        &mut self,
        subscription_id: u32,
        message: NotificationMessage,
        options: &OpcUaOptions,
        plan: &Plan,
        buffer: &Buffer,
        clock: &mut Clock,
    ) -> Result<bool> {
        let sequence_number = message.sequence_number;
        let mut ended = None;
        let mut samples = Vec::new();
        for notification in message.notification_data.unwrap_or_default() {
            if notification.inner_is::<StatusChangeNotification>() {
                let status =
                    notification.into_inner_as::<StatusChangeNotification>().map(|change| change.status);
                let text = format!(
                    "{} has ended a subscription: {}",
                    options.url,
                    named(status.unwrap_or(StatusCode::BadUnexpectedError))
                );
                if status_ends(status) {
                    ended = Some(Error::new(ErrorKind::Unavailable, text));
                }
                continue;
            }
            let Some(changes) = notification.into_inner_as::<DataChangeNotification>() else { continue };
            for change in changes.monitored_items.into_iter().flatten() {
                let value = change.value;
                let Some(point) = (change.client_handle as usize).checked_sub(1) else { continue };
                let status = value.status.unwrap_or(StatusCode::Good);
                if status.overflow() {
                    self.overflown += 1;
                    if self.overflown.is_power_of_two() {
                        tracing::warn!(
                            server = %options.url,
                            node = %plan.node(point).map(ToString::to_string).unwrap_or_default(),
                            times = self.overflown,
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
                () = buffer.stop.notified() => return Ok(false),
            }
        }
        self.acknowledge.push(SubscriptionAcknowledgement { subscription_id, sequence_number });
        ended.map_or(Ok(true), Err)
    }
}

/// A subscription that was moved or has timed out tells nothing more.
fn status_ends(status: Option<StatusCode>) -> bool {
    status.is_none_or(|status| status.is_bad() || status == StatusCode::GoodSubscriptionTransferred)
}
