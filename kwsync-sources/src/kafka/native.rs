//! Messages as librdkafka has them: many in one call, where the crate's own interface asks for each by itself, which takes
//! as long as all the rest of the way of a small message.
//!
//! All unsafe code of this connector is here.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::consumer::base_consumer::BaseConsumer;
use rdkafka::consumer::{Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;

/// Messages of one call at most.
const MOST: usize = 1024;

/// A queue that the messages of partitions go to, while everything else that the client tells comes by its own.
pub(super) struct Messages<'a> {
    queue: NonNull<sys::rd_kafka_queue_t>,
    buffer: Vec<*mut sys::rd_kafka_message_t>,
    /// The queue must go before the client does.
    client: PhantomData<&'a ()>,
}

/// Sends partitions' messages to the queue; of no use once that is gone.
#[derive(Clone, Copy)]
pub(super) struct Forward(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: queues of librdkafka may be used by any thread; they lock themselves.
unsafe impl Send for Forward {}

/// A fault that came in the place of a message.
pub(super) struct Refused {
    pub(super) fault: KafkaError,
    /// Of which partition at which offset, and what the client says of it.
    pub(super) what: String,
}

impl Refused {
    fn of(message: &sys::rd_kafka_message_t) -> Self {
        let told = Incoming { message };
        let topic = String::from_utf8_lossy(told.topic());
        let said = String::from_utf8_lossy(told.payload());
        let mut what = format!("{topic}[{}]", told.partition());
        if told.offset() >= 0 {
            what.push_str(&format!(" at offset {}", told.offset()));
        }
        if !said.is_empty() {
            what.push_str(&format!(": {said}"));
        }
        Self { fault: KafkaError::MessageConsumption(message.err.into()), what }
    }
}

impl<'a> Messages<'a> {
    /// A queue of this client.
    pub(super) fn new<C: ConsumerContext>(consumer: &'a BaseConsumer<C>) -> Option<Self> {
        // SAFETY: the client is alive, and outlives what is made of it by `'a`.
        let queue = unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) };
        let queue = NonNull::new(queue)?;
        Some(Self { queue, buffer: vec![ptr::null_mut(); MOST], client: PhantomData })
    }

    pub(super) fn forward(&self) -> Forward {
        Forward(self.queue)
    }

    /// Hands out what is there, `most` at most; waits for the first one. Returns how many there were.
    ///
    /// # Errors
    /// The first fault that lay among them; what lay behind it was handed out all the same.
    pub(super) fn take(
        &mut self,
        most: usize,
        wait: Duration,
        mut each: impl FnMut(&Incoming<'_>),
    ) -> Result<usize, Refused> {
        let wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        let most = most.clamp(1, MOST);
        // The call waits until it has all that it is asked for: so it may wait for one alone.
        let mut taken = self.fill(0, most, 0);
        if taken == 0 && wait > 0 {
            taken = self.fill(0, 1, wait);
            if taken == 1 && most > 1 {
                taken += self.fill(1, most, 0);
            }
        }
        let mut fault = None;
        for pointer in &self.buffer[..taken] {
            // SAFETY: the client has filled these with messages that are ours until they are destroyed, which is once,
            // here; `Incoming` does not outlive the call.
            unsafe {
                if let Some(message) = pointer.as_ref() {
                    if message.err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                        each(&Incoming { message });
                    } else {
                        fault.get_or_insert_with(|| Refused::of(message));
                    }
                    sys::rd_kafka_message_destroy(*pointer);
                }
            }
        }
        fault.map_or(Ok(taken), Err)
    }

    /// Fills the buffer from `from` to `to`; returns how many there were.
    fn fill(&mut self, from: usize, to: usize, wait: i32) -> usize {
        let room = &mut self.buffer[from..to];
        // SAFETY: the queue is alive, and there is room for as many pointers as are asked for.
        let filled = unsafe {
            sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), wait, room.as_mut_ptr(), room.len())
        };
        // Below zero it tells a fault of the call, and has filled nothing.
        usize::try_from(filled).unwrap_or(0)
    }
}

impl Drop for Messages<'_> {
    fn drop(&mut self) {
        // SAFETY: it was made by `rd_kafka_queue_new` and is given up once; the client is alive by `'a`.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

impl Forward {
    /// From now on the messages of this partition come by the queue. To be called before it is assigned, so that none comes
    /// by the other way.
    pub(super) fn partition<C: ConsumerContext>(
        self,
        consumer: &BaseConsumer<C>,
        topic: &str,
        partition: i32,
    ) {
        let Ok(topic) = CString::new(topic) else { return };
        // SAFETY: client and queue are alive; the partition's queue is given up once.
        unsafe {
            let own =
                sys::rd_kafka_queue_get_partition(consumer.client().native_ptr(), topic.as_ptr(), partition);
            if !own.is_null() {
                sys::rd_kafka_queue_forward(own, self.0.as_ptr());
                sys::rd_kafka_queue_destroy(own);
            }
        }
    }
}

/// A message that the client holds.
pub(super) struct Incoming<'a> {
    message: &'a sys::rd_kafka_message_t,
}

impl<'a> Incoming<'a> {
    /// One that came by the crate's own interface.
    pub(super) fn of(message: &'a BorrowedMessage<'_>) -> Option<Self> {
        // SAFETY: the message is alive as long as its owner is borrowed.
        unsafe { message.ptr().as_ref() }.map(|message| Self { message })
    }

    pub(super) fn topic(&self) -> &'a [u8] {
        if self.message.rkt.is_null() {
            return &[];
        }
        // SAFETY: the topic of a message has a name, which ends with a zero and lives as long as the message.
        unsafe {
            let name = sys::rd_kafka_topic_name(self.message.rkt);
            if name.is_null() { &[] } else { CStr::from_ptr(name).to_bytes() }
        }
    }

    pub(super) fn partition(&self) -> i32 {
        self.message.partition
    }

    pub(super) fn offset(&self) -> i64 {
        self.message.offset
    }

    /// Milliseconds since the Unix epoch.
    pub(super) fn timestamp(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive, and the kind is written to a place of ours.
        let ms = unsafe { sys::rd_kafka_message_timestamp(self.message, &mut kind) };
        let there = kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        (there && ms >= 0).then_some(ms)
    }

    pub(super) fn payload(&self) -> &'a [u8] {
        // SAFETY: pointer and length are those of the message's own bytes, which live as long as it.
        unsafe { bytes(self.message.payload, self.message.len) }.unwrap_or_default()
    }

    pub(super) fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: as of the payload.
        unsafe { bytes(self.message.key, self.message.key_len) }
    }

    /// Calls `each` with every header, in order.
    pub(super) fn headers(&self, mut each: impl FnMut(&str, Option<&[u8]>)) {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is alive; the list and what it points to belong to it and live as long.
        unsafe {
            let found = sys::rd_kafka_message_headers(self.message, &mut headers);
            if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || headers.is_null() {
                return;
            }
            for index in 0.. {
                let (mut name, mut value, mut len) = (ptr::null::<c_char>(), ptr::null::<c_void>(), 0);
                let found = sys::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut len);
                if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
                    return;
                }
                each(&CStr::from_ptr(name).to_string_lossy(), bytes(value, len));
            }
        }
    }
}

/// Bytes of C; none where the pointer is null.
///
/// # Safety
/// What it points to must have this length, and live as long as `'a`.
unsafe fn bytes<'a>(pointer: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: by the caller.
    (!pointer.is_null()).then(|| unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), len) })
}
