//! Requests written by hand, field by field, to ask what no client library lets one ask.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{PATIENCE, Running};

pub const NONE: i16 = 0;
pub const UNKNOWN_MEMBER_ID: i16 = 25;
pub const ILLEGAL_GENERATION: i16 = 22;
pub const INVALID_TXN_STATE: i16 = 48;
pub const CONCURRENT_TRANSACTIONS: i16 = 51;
pub const UNSTABLE_OFFSET_COMMIT: i16 = 88;
pub const PRODUCER_FENCED: i16 = 90;

/// A connection, with a transactional id of its own.
pub struct Wire {
    stream: TcpStream,
    transactional_id: String,
}

/// The fields of a request, in order.
#[derive(Default)]
pub struct Fields(Vec<u8>);

impl Fields {
    pub fn i8(mut self, value: i8) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }
    pub fn i16(mut self, value: i16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }
    pub fn i32(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }
    pub fn i64(mut self, value: i64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }
    pub fn str(self, value: &str) -> Self {
        let mut fields = self.i16(value.len() as i16);
        fields.0.extend(value.as_bytes());
        fields
    }
    pub fn compact_str(self, value: &str) -> Self {
        let mut fields = self.i8(value.len() as i8 + 1);
        fields.0.extend(value.as_bytes());
        fields
    }
}

/// The fields of a response, in order.
pub struct Answer(Vec<u8>, usize);

impl Answer {
    pub fn skip(&mut self, bytes: usize) -> &mut Self {
        self.1 += bytes;
        self
    }
    fn take<const N: usize>(&mut self) -> [u8; N] {
        self.1 += N;
        self.0[self.1 - N..self.1].try_into().unwrap()
    }
    pub fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }
    pub fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }
    pub fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }
    pub fn str(&mut self) -> String {
        let length = self.i16() as usize;
        self.1 += length;
        String::from_utf8(self.0[self.1 - length..self.1].to_vec()).unwrap()
    }
}

impl Wire {
    pub fn connect(running: &Running) -> Self {
        let stream = TcpStream::connect(running.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, transactional_id: running.name("wire") }
    }

    /// Sends bytes as they are, then reads until the other side closes. Gives how much came.
    pub fn raw(mut self, bytes: &[u8]) -> usize {
        self.stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        self.stream.read_to_end(&mut answer).unwrap()
    }

    pub fn send(&mut self, api: i16, version: i16, flexible: bool, correlation: i32, body: Fields) {
        let header = Fields::default().i16(api).i16(version).i32(correlation).str("wire");
        let mut frame = if flexible { header.i8(0) } else { header }.0;
        frame.extend(body.0);
        let mut bytes = (frame.len() as i32).to_be_bytes().to_vec();
        bytes.extend(frame);
        self.stream.write_all(&bytes).unwrap();
    }

    pub fn receive(&mut self) -> Answer {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; i32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut answer).unwrap();
        Answer(answer, 0)
    }

    fn call(&mut self, api: i16, version: i16, body: Fields) -> Answer {
        self.send(api, version, false, 7, body);
        let mut answer = self.receive();
        assert_eq!(answer.i32(), 7, "the correlation id comes back");
        answer
    }

    /// InitProducerId v1: error, producer id, epoch.
    pub fn init_producer(&mut self, timeout_ms: i32) -> (i16, i64, i16) {
        let mut answer = self.call(22, 1, Fields::default().str(&self.transactional_id).i32(timeout_ms));
        answer.skip(4);
        (answer.i16(), answer.i64(), answer.i16())
    }

    /// The producer, or None while the coordinator is not ready for it.
    pub fn try_init_producer(&mut self, timeout_ms: i32) -> Option<(i64, i16)> {
        let (error, id, epoch) = self.init_producer(timeout_ms);
        (error == NONE).then_some((id, epoch))
    }

    /// AddPartitionsToTxn v2 for one partition.
    pub fn add_partition(&mut self, producer: (i64, i16), topic: &str) -> i16 {
        let body = Fields::default().str(&self.transactional_id).i64(producer.0).i16(producer.1);
        let mut answer = self.call(24, 2, body.i32(1).str(topic).i32(1).i32(0));
        answer.skip(8).str();
        answer.skip(8).i16()
    }

    /// AddOffsetsToTxn v2.
    pub fn add_offsets(&mut self, producer: (i64, i16), group: &str) -> i16 {
        let body = Fields::default().str(&self.transactional_id).i64(producer.0).i16(producer.1).str(group);
        self.call(25, 2, body).skip(4).i16()
    }

    /// EndTxn v2.
    pub fn end(&mut self, producer: (i64, i16), commit: bool) -> i16 {
        let body = Fields::default().str(&self.transactional_id).i64(producer.0).i16(producer.1).i8(i8::from(commit));
        self.call(26, 2, body).skip(4).i16()
    }

    /// TxnOffsetCommit v3 (flexible: it carries generation and member) for partition 0.
    pub fn commit_in_txn(&mut self, producer: (i64, i16), group: &str, member: (&str, i32), topic: &str) -> i16 {
        let body =
            Fields::default().compact_str(&self.transactional_id).compact_str(group).i64(producer.0).i16(producer.1);
        let body = body.i32(member.1).compact_str(member.0).i8(0); // generation, member, no instance
        let body = body.i8(2).compact_str(topic).i8(2).i32(0).i64(5).i32(-1).compact_str("m").i8(0).i8(0).i8(0);
        self.send(28, 3, true, 7, body);
        let mut answer = self.receive();
        answer.skip(4 + 1 + 4 + 1 + 1 + topic.len() + 1 + 4).i16()
    }

    /// OffsetFetch v7 of partition 0: error, offset.
    pub fn fetch_offset(&mut self, group: &str, topic: &str, require_stable: bool) -> (i16, i64) {
        let body = Fields::default().compact_str(group).i8(2).compact_str(topic).i8(2).i32(0).i8(0);
        self.send(9, 7, true, 7, body.i8(i8::from(require_stable)).i8(0));
        let mut answer = self.receive();
        answer.skip(4 + 1 + 4 + 1 + 1 + topic.len() + 1 + 4);
        let offset = answer.i64();
        answer.skip(4); // leader epoch
        let metadata = answer.take::<1>()[0] as usize;
        answer.skip(metadata.saturating_sub(1));
        (answer.i16(), offset)
    }
}
