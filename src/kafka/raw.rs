//! What rust-rdkafka does not give, through the sys crate. The only unsafe code of the house.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString},
    ptr, slice,
    time::Duration,
};

use rdkafka::{
    ClientContext, TopicPartitionList,
    bindings::{self as sys, rd_kafka_event_t},
    client::Client,
};

/// One partition's committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub partition: i32,
    /// `None` where nothing is committed.
    pub offset: Option<i64>,
    /// As committed, whatever it is: rust-rdkafka's own accessor panics on bytes that are not UTF-8.
    pub metadata: Vec<u8>,
    /// The partition's own error code, 0 for none.
    pub error: i32,
}

/// Reads the answer of `committed_offsets`.
pub fn committed(list: &TopicPartitionList) -> Vec<Committed> {
    // SAFETY: the list is alive and owned by the caller; its elements are `cnt` initialised structs, and `metadata`
    // points to `metadata_size` bytes where it is not null.
    unsafe {
        let list = &*list.ptr();
        if list.elems.is_null() || list.cnt <= 0 {
            return Vec::new();
        }
        slice::from_raw_parts(list.elems, list.cnt as usize)
            .iter()
            .map(|element| Committed {
                partition: element.partition,
                offset: (element.offset >= 0).then_some(element.offset),
                metadata: if element.metadata.is_null() {
                    Vec::new()
                } else {
                    slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size).to_vec()
                },
                error: element.err as i32,
            })
            .collect()
    }
}

/// Who we are in the group. The broker accepts a commit of generation -1 or of no member unchecked: only a valid one
/// may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    pub generation: i32,
    pub member: String,
}

impl GroupMember {
    /// As librdkafka knows it now.
    pub fn of<C: ClientContext>(client: &Client<C>) -> Option<Self> {
        // SAFETY: the client is alive; the metadata is ours until destroyed, and its member id a C string within it.
        unsafe {
            let metadata = sys::rd_kafka_consumer_group_metadata(client.native_ptr());
            if metadata.is_null() {
                return None;
            }
            let generation = sys::rd_kafka_consumer_group_metadata_generation_id(metadata);
            let member = sys::rd_kafka_consumer_group_metadata_member_id(metadata);
            let member =
                if member.is_null() { String::new() } else { CStr::from_ptr(member).to_string_lossy().into_owned() };
            sys::rd_kafka_consumer_group_metadata_destroy(metadata);
            Some(GroupMember { generation, member })
        }
    }

    /// Whether the broker will check it.
    pub fn is_valid(&self) -> bool {
        self.generation >= 0 && !self.member.is_empty()
    }
}

/// Gives a partition a queue of its own before it is assigned, so that no record of it comes by the consumer's queue.
/// It lasts until the partition is given up.
pub fn split<C: ClientContext>(client: &Client<C>, topic: &str, partition: i32) {
    let Ok(topic) = CString::new(topic) else { return }; // Topics come from Kafka: no zero byte in them.
    // SAFETY: the client is alive; the queue's handle is ours and given back, the queue itself stays with the partition.
    unsafe {
        let queue = sys::rd_kafka_queue_get_partition(client.native_ptr(), topic.as_ptr(), partition);
        if !queue.is_null() {
            sys::rd_kafka_queue_forward(queue, ptr::null_mut());
            sys::rd_kafka_queue_destroy(queue);
        }
    }
}

/// The topic's id: 128 bits that a recreated topic does not share. `Err` holds librdkafka's text.
pub fn topic_id<C: ClientContext>(client: &Client<C>, topic: &str, timeout: Duration) -> Result<[u8; 16], String> {
    let name = CString::new(topic).map_err(|error| error.to_string())?;
    let milliseconds = timeout.as_millis().min(i32::MAX as u128) as i32;
    // SAFETY: every object made here is destroyed here, in reverse order; results are read before their event goes.
    unsafe {
        let handle = client.native_ptr();
        let mut names = [name.as_ptr()];
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
        let queue = sys::rd_kafka_queue_new(handle);
        let options =
            sys::rd_kafka_AdminOptions_new(handle, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        let mut error = [0 as std::ffi::c_char; 256];
        sys::rd_kafka_AdminOptions_set_request_timeout(options, milliseconds, error.as_mut_ptr(), error.len());
        sys::rd_kafka_DescribeTopics(handle, topics, options, queue);
        let event = sys::rd_kafka_queue_poll(queue, milliseconds + 1_000);
        let id = if event.is_null() { Err("no answer in time".to_owned()) } else { read_topic_id(event) };
        if !event.is_null() {
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_queue_destroy(queue);
        sys::rd_kafka_TopicCollection_destroy(topics);
        id
    }
}

/// # Safety
/// `event` is a live event of a queue that only `rd_kafka_DescribeTopics` answers to.
unsafe fn read_topic_id(event: *mut rd_kafka_event_t) -> Result<[u8; 16], String> {
    unsafe {
        let text = |error: *const std::ffi::c_char| {
            if error.is_null() {
                "unknown error".to_owned()
            } else {
                CStr::from_ptr(error).to_string_lossy().into_owned()
            }
        };
        if sys::rd_kafka_event_error(event) as i32 != 0 {
            return Err(text(sys::rd_kafka_event_error_string(event)));
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        let mut count = 0;
        let descriptions = if result.is_null() {
            ptr::null_mut()
        } else {
            sys::rd_kafka_DescribeTopics_result_topics(result, &mut count)
        };
        if descriptions.is_null() || count == 0 {
            return Err("no description in the answer".to_owned());
        }
        let description = *descriptions;
        let error = sys::rd_kafka_TopicDescription_error(description);
        if !error.is_null() && sys::rd_kafka_error_code(error) as i32 != 0 {
            return Err(text(sys::rd_kafka_error_string(error)));
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(description);
        if id.is_null() {
            return Err("the broker gives no topic id".to_owned());
        }
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&sys::rd_kafka_Uuid_most_significant_bits(id).to_be_bytes());
        bytes[8..].copy_from_slice(&sys::rd_kafka_Uuid_least_significant_bits(id).to_be_bytes());
        Ok(bytes)
    }
}
