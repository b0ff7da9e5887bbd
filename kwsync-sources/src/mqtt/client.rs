//! The two versions of the client behind one face: events in, acknowledgements out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kwsync_core::system::trust;
use kwsync_core::{Error, ErrorKind, Result};
use rumqttc::{TlsConfiguration, Transport, mqttbytes, v5};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;

use super::{MqttOptions, MqttVersion, Qos};

/// Bytes of messages that may wait; what comes then stays at the broker.
const MAX_WAITING: usize = 64 << 20;
/// Bytes of the largest message, as the protocol has it.
const MAX_MESSAGE: usize = 268_435_455;
/// Acknowledgements that may wait to be sent: more than there can be messages without one.
const MAX_REQUESTS: usize = 1 << 17;

/// A message, and what acknowledges it.
pub(super) struct Message {
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
    pub(super) ack: Ack,
    /// Held while the message waits, where nothing else bounds how many do.
    _room: Option<OwnedSemaphorePermit>,
}

pub(super) enum Ack {
    /// QoS 0: nobody waits for it.
    None,
    V4(rumqttc::Publish),
    V5(Box<v5::mqttbytes::v5::Publish>),
}

pub(super) enum Event {
    /// The broker has agreed to a subscription, or refused some of its topics: their places in the list.
    Subscribed(Vec<usize>),
    Message(Message),
    /// The connection is gone.
    Lost(Error),
}

/// A connection. It ends with this value.
pub(super) struct Client {
    half: Half,
    task: AbortHandle,
    pub(super) events: mpsc::UnboundedReceiver<Event>,
}

enum Half {
    V4(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// Begins to connect; whether that works out is the first event.
    pub(super) fn start(options: &MqttOptions) -> Result<Self> {
        let transport = match &options.ca {
            Some(ca) => {
                let identity = options.identity.as_ref().map(|(cert, key)| (cert.as_str(), key));
                let config = trust::client_config(trust::roots_of(ca)?, identity)?;
                Some(Transport::Tls(TlsConfiguration::Rustls(config)))
            }
            None => None,
        };
        let (sender, events) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(MAX_WAITING / 1024));
        let timeout = options.connect_timeout.as_secs().max(1);
        let (half, task) = match options.version {
            MqttVersion::V4 => {
                let mut set = rumqttc::MqttOptions::new(&options.client_id, &options.host, options.port);
                set.set_keep_alive(options.keep_alive)
                    .set_clean_session(options.clean_session)
                    .set_manual_acks(true);
                set.set_max_packet_size(MAX_MESSAGE, MAX_MESSAGE);
                if let Some((user, password)) = &options.credentials {
                    set.set_credentials(user, password.expose());
                }
                if let Some(transport) = transport {
                    set.set_transport(transport);
                }
                let (client, mut events) = rumqttc::AsyncClient::new(set, MAX_REQUESTS);
                let mut network = events.network_options();
                network.set_connection_timeout(timeout);
                events.set_network_options(network);
                (Half::V4(client), tokio::spawn(poll_v4(events, sender, room)).abort_handle())
            }
            MqttVersion::V5 => {
                let mut set = v5::MqttOptions::new(&options.client_id, &options.host, options.port);
                set.set_keep_alive(options.keep_alive)
                    .set_clean_start(options.clean_session)
                    .set_manual_acks(true);
                set.set_connection_timeout(timeout);
                set.set_max_packet_size(Some(MAX_MESSAGE as u32));
                set.set_receive_maximum(Some(options.receive_maximum));
                if !options.clean_session {
                    // As 3.1.1 has it: until somebody asks for a clean one.
                    set.set_session_expiry_interval(Some(u32::MAX));
                }
                if let Some((user, password)) = &options.credentials {
                    set.set_credentials(user, password.expose());
                }
                if let Some(transport) = transport {
                    set.set_transport(transport);
                }
                let (client, events) = v5::AsyncClient::new(set, MAX_REQUESTS);
                (Half::V5(client), tokio::spawn(poll_v5(events, sender, room)).abort_handle())
            }
        };
        Ok(Self { half, task, events })
    }

    /// Asks for the topics.
    pub(super) async fn subscribe(&self, options: &MqttOptions) -> Result<()> {
        let topics = options.topics.iter().map(|topic| (topic, options.asked(topic)));
        let sent = match &self.half {
            Half::V4(client) => {
                let filters = topics.map(|(topic, qos)| {
                    rumqttc::SubscribeFilter::new(
                        topic.filter.clone(),
                        match qos {
                            Qos::AtMostOnce => mqttbytes::QoS::AtMostOnce,
                            Qos::AtLeastOnce => mqttbytes::QoS::AtLeastOnce,
                            Qos::ExactlyOnce => mqttbytes::QoS::ExactlyOnce,
                        },
                    )
                });
                client.subscribe_many(filters).await.map_err(|error| error.to_string())
            }
            Half::V5(client) => {
                let filters = topics.map(|(topic, qos)| {
                    v5::mqttbytes::v5::Filter::new(
                        topic.filter.clone(),
                        match qos {
                            Qos::AtMostOnce => v5::mqttbytes::QoS::AtMostOnce,
                            Qos::AtLeastOnce => v5::mqttbytes::QoS::AtLeastOnce,
                            Qos::ExactlyOnce => v5::mqttbytes::QoS::ExactlyOnce,
                        },
                    )
                });
                client.subscribe_many(filters).await.map_err(|error| error.to_string())
            }
        };
        sent.map_err(|reason| Error::new(ErrorKind::Unavailable, format!("cannot subscribe: {reason}")))
    }

    /// Tells the broker that a message has arrived for good.
    pub(super) async fn acknowledge(&self, ack: Ack) -> Result<()> {
        let sent = match (&self.half, ack) {
            (Half::V4(client), Ack::V4(publish)) => {
                client.ack(&publish).await.map_err(|error| error.to_string())
            }
            (Half::V5(client), Ack::V5(publish)) => {
                client.ack(&publish).await.map_err(|error| error.to_string())
            }
            _ => Ok(()),
        };
        sent.map_err(|reason| {
            Error::new(ErrorKind::Unavailable, format!("cannot acknowledge a message: {reason}"))
        })
    }

    /// Says good-bye behind what was acknowledged, and waits a little until that has gone out.
    pub(super) async fn close(&mut self) {
        let gone = async {
            // A good-bye that gets lost changes nothing.
            match &self.half {
                Half::V4(client) => drop(client.disconnect().await),
                Half::V5(client) => drop(client.disconnect().await),
            }
            while self.events.recv().await.is_some() {}
        };
        if tokio::time::timeout(Duration::from_secs(2), gone).await.is_err() {
            tracing::debug!("the broker was left without a good-bye");
        }
    }
}

/// Waits until there is room for a message of QoS 0. The others are bounded by what may be unacknowledged, and must not
/// wait here: their acknowledgements, and the signs of life, go out by the same loop.
async fn take_room(room: &Arc<Semaphore>, unbounded: bool, bytes: usize) -> Option<OwnedSemaphorePermit> {
    if !unbounded {
        return None;
    }
    let units = u32::try_from((bytes / 1024 + 1).min(MAX_WAITING / 1024)).unwrap_or(1);
    Arc::clone(room).acquire_many_owned(units).await.ok()
}

async fn poll_v4(mut events: rumqttc::EventLoop, sender: mpsc::UnboundedSender<Event>, room: Arc<Semaphore>) {
    use rumqttc::{Incoming, SubscribeReasonCode};
    loop {
        let event = match events.poll().await {
            Ok(rumqttc::Event::Incoming(Incoming::Publish(publish))) => {
                let unbounded = publish.qos == mqttbytes::QoS::AtMostOnce;
                let room = take_room(&room, unbounded, publish.payload.len()).await;
                Event::Message(Message {
                    topic: publish.topic.as_str().into(),
                    payload: publish.payload.clone(),
                    ack: if publish.qos == mqttbytes::QoS::AtMostOnce { Ack::None } else { Ack::V4(publish) },
                    _room: room,
                })
            }
            Ok(rumqttc::Event::Incoming(Incoming::SubAck(answer))) => Event::Subscribed(refused(
                answer.return_codes.iter().map(|code| matches!(code, SubscribeReasonCode::Success(_))),
            )),
            Ok(rumqttc::Event::Outgoing(rumqttc::Outgoing::Disconnect)) => return,
            Ok(_) => continue,
            Err(error) => {
                use rumqttc::{ConnectReturnCode as Code, ConnectionError};
                let kind = match &error {
                    ConnectionError::ConnectionRefused(Code::BadUserNamePassword | Code::NotAuthorized) => {
                        ErrorKind::Auth
                    }
                    ConnectionError::ConnectionRefused(Code::BadClientId | Code::RefusedProtocolVersion) => {
                        ErrorKind::Config
                    }
                    ConnectionError::Tls(error) => tls_kind(error),
                    ConnectionError::NetworkTimeout => ErrorKind::Timeout,
                    _ => ErrorKind::Unavailable,
                };
                Event::Lost(Error::new(kind, error.to_string()))
            }
        };
        let lost = matches!(event, Event::Lost(_));
        if sender.send(event).is_err() || lost {
            return;
        }
    }
}

async fn poll_v5(mut events: v5::EventLoop, sender: mpsc::UnboundedSender<Event>, room: Arc<Semaphore>) {
    use v5::mqttbytes::v5::{ConnectReturnCode as Code, Packet, SubscribeReasonCode};
    use v5::{ConnectionError, StateError};
    loop {
        let event = match events.poll().await {
            Ok(v5::Event::Incoming(Packet::Publish(publish))) => {
                let unbounded = publish.qos == v5::mqttbytes::QoS::AtMostOnce;
                let room = take_room(&room, unbounded, publish.payload.len()).await;
                Event::Message(Message {
                    topic: String::from_utf8_lossy(&publish.topic).into(),
                    payload: publish.payload.clone(),
                    ack: if publish.qos == v5::mqttbytes::QoS::AtMostOnce {
                        Ack::None
                    } else {
                        Ack::V5(Box::new(publish))
                    },
                    _room: room,
                })
            }
            Ok(v5::Event::Incoming(Packet::SubAck(answer))) => Event::Subscribed(refused(
                answer.return_codes.iter().map(|code| matches!(code, SubscribeReasonCode::Success(_))),
            )),
            Ok(v5::Event::Outgoing(rumqttc::Outgoing::Disconnect)) => return,
            Ok(_) => continue,
            Err(error) => {
                let kind = match &error {
                    ConnectionError::ConnectionRefused(code)
                    | ConnectionError::MqttState(StateError::ConnFail { reason: code }) => match code {
                        Code::BadUserNamePassword | Code::NotAuthorized | Code::Banned => ErrorKind::Auth,
                        Code::ClientIdentifierNotValid | Code::UnsupportedProtocolVersion => {
                            ErrorKind::Config
                        }
                        _ => ErrorKind::Unavailable,
                    },
                    ConnectionError::Tls(error) => tls_kind(error),
                    ConnectionError::Timeout(_) => ErrorKind::Timeout,
                    _ => ErrorKind::Unavailable,
                };
                Event::Lost(Error::new(kind, error.to_string()))
            }
        };
        let lost = matches!(event, Event::Lost(_));
        if sender.send(event).is_err() || lost {
            return;
        }
    }
}

/// A certificate that is not trusted will not be trusted later; a reset connection may come back.
fn tls_kind(error: &rumqttc::TlsError) -> ErrorKind {
    match error {
        rumqttc::TlsError::Io(error) if error.get_ref().is_none() => ErrorKind::Unavailable,
        _ => ErrorKind::Tls,
    }
}

fn refused(granted: impl Iterator<Item = bool>) -> Vec<usize> {
    granted.enumerate().filter(|(_, granted)| !granted).map(|(index, _)| index).collect()
}
