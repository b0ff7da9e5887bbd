//! What tests do at a cluster beside kwsync: topics, messages in and out.

use std::time::{Duration, Instant};

use kwsync_core::testkit::KafkaServer;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// Talks to the broker that all tests share.
pub(super) struct Cluster {
    pub(super) brokers: String,
    producer: BaseProducer,
}

/// A message as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) partition: i32,
    pub(super) key: Option<String>,
    /// As text, as far as it is some.
    pub(super) payload: String,
    pub(super) bytes: Vec<u8>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) timestamp: i64,
}

impl Message {
    /// The value of the last header of this name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().rfind(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("log_level", "0");
    config
}

impl Cluster {
    pub(super) fn new(server: &KafkaServer) -> Self {
        let brokers = server.brokers();
        let producer = config(&brokers).set("linger.ms", "5").create().unwrap();
        Self { brokers, producer }
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        config(&self.brokers).create().unwrap()
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    pub(super) fn create(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (name, value) in settings {
            new = new.set(name, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let made = self.wait(self.admin().create_topics(&[new], &options)).unwrap();
        made.into_iter().for_each(|made| drop(made.unwrap()));
        // It is made before all parts of the broker know of it.
        let until = Instant::now() + Duration::from_secs(30);
        while self.partitions(topic) != partitions as usize {
            assert!(Instant::now() < until, "topic {topic} does not appear");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(super) fn delete(&self, topic: &str) {
        let done = self.wait(self.admin().delete_topics(&[topic], &AdminOptions::new())).unwrap();
        done.into_iter().for_each(|done| drop(done.unwrap()));
    }

    /// Deletes the messages of a partition before an offset.
    pub(super) fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        self.wait(self.admin().delete_records(&list, &AdminOptions::new())).unwrap();
    }

    pub(super) fn has(&self, topic: &str) -> bool {
        self.partitions(topic) > 0
    }

    fn partitions(&self, topic: &str) -> usize {
        let metadata = self.producer.client().fetch_metadata(Some(topic), Duration::from_secs(30)).unwrap();
        metadata
            .topics()
            .iter()
            .filter(|found| found.error().is_none())
            .map(|found| found.partitions().len())
            .sum()
    }

    /// Sends each text to its partition, and waits until the broker has them.
    pub(super) fn send<'a>(&self, topic: &str, messages: impl IntoIterator<Item = (i32, &'a str)>) {
        for (partition, payload) in messages {
            self.send_one(BaseRecord::<(), _>::to(topic).partition(partition).payload(payload));
        }
        self.producer.flush(Duration::from_secs(60)).unwrap();
    }

    /// Sends one message with a key and a header.
    pub(super) fn send_with(&self, topic: &str, key: &str, header: (&str, &str), payload: &[u8]) {
        let headers = OwnedHeaders::new().insert(Header { key: header.0, value: Some(header.1) });
        self.send_one(BaseRecord::to(topic).partition(0).key(key).payload(payload).headers(headers));
        self.producer.flush(Duration::from_secs(60)).unwrap();
    }

    /// Sends one message of a certain time, in milliseconds since the Unix epoch.
    pub(super) fn send_at(&self, topic: &str, partition: i32, ms: i64, payload: &str) {
        self.send_one(BaseRecord::<(), _>::to(topic).partition(partition).timestamp(ms).payload(payload));
        self.producer.flush(Duration::from_secs(60)).unwrap();
    }

    fn send_one<K: rdkafka::message::ToBytes + ?Sized, P: rdkafka::message::ToBytes + ?Sized>(
        &self,
        record: BaseRecord<'_, K, P>,
    ) {
        let mut record = Some(record);
        while let Some(next) = record.take() {
            if let Err((fault, back)) = self.producer.send(next) {
                assert_eq!(fault.rdkafka_error_code(), Some(rdkafka::types::RDKafkaErrorCode::QueueFull));
                self.producer.poll(Duration::from_millis(10));
                record = Some(back);
            }
        }
        self.producer.poll(Duration::ZERO);
    }

    /// Every message that a topic holds now; of transactions only those that were committed.
    pub(super) fn all(&self, topic: &str) -> Vec<Message> {
        let consumer: BaseConsumer = config(&self.brokers)
            .set("group.id", "test")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions(topic) as i32 {
            list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let (mut open, mut found) = (list.count(), Vec::new());
        let until = Instant::now() + Duration::from_secs(60);
        while open > 0 {
            assert!(Instant::now() < until, "topic {topic} does not end");
            match consumer.poll(Duration::from_millis(100)) {
                None => {}
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => open -= 1,
                Some(Err(fault)) => panic!("{topic}: {fault}"),
                Some(Ok(message)) => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    found.push(Message {
                        partition: message.partition(),
                        key: message.key().map(text),
                        payload: text(message.payload().unwrap_or_default()),
                        bytes: message.payload().unwrap_or_default().to_vec(),
                        timestamp: message.timestamp().to_millis().unwrap_or(-1),
                        headers: message.headers().map_or_else(Vec::new, |headers| {
                            headers
                                .iter()
                                .map(|h| (h.key.to_owned(), text(h.value.unwrap_or_default())))
                                .collect()
                        }),
                    });
                }
            }
        }
        found
    }

    /// What a group has committed, added up over the partitions.
    pub(super) fn committed(&self, group: &str, topic: &str) -> i64 {
        let consumer: BaseConsumer = config(&self.brokers).set("group.id", group).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, self.partitions(topic) as i32 - 1);
        // The first group of a broker waits until there is a coordinator.
        let Ok(found) = consumer.committed_offsets(list, Duration::from_secs(30)) else { return 0 };
        let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
        found.elements().iter().map(|element| offset(element.offset())).sum()
    }
}
