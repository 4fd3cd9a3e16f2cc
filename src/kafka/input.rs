//! A record as it comes from Kafka, borrowed from librdkafka's buffer or kept.

use rdkafka::message::{BorrowedMessage, Headers as _, Message};

/// A record, borrowed.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    /// Of the record: milliseconds since 1970 UTC.
    pub timestamp_ms: Option<i64>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// Its headers: asked for, not copied.
#[derive(Clone, Copy)]
pub enum Headers<'a> {
    None,
    Borrowed(&'a rdkafka::message::BorrowedHeaders),
    Kept(&'a [(String, Vec<u8>)]),
}

impl<'a> Headers<'a> {
    /// The last header of that name.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        match self {
            Headers::None => None,
            Headers::Borrowed(headers) => {
                let mut found = None;
                for index in 0..headers.count() {
                    let header = headers.get(index);
                    if header.key == name {
                        found = header.value;
                    }
                }
                found
            }
            Headers::Kept(headers) => {
                headers.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_slice())
            }
        }
    }

    /// A copy of all of them.
    pub fn keep(&self) -> Vec<(String, Vec<u8>)> {
        match self {
            Headers::None => Vec::new(),
            Headers::Borrowed(headers) => headers
                .iter()
                .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
                .collect(),
            Headers::Kept(headers) => headers.to_vec(),
        }
    }
}

impl<'a> Input<'a> {
    /// A view of a message in librdkafka's buffer.
    pub fn borrow(message: &'a BorrowedMessage<'_>) -> Self {
        Input {
            topic: message.topic(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key(),
            value: message.payload(),
            headers: message.headers().map_or(Headers::None, Headers::Borrowed),
        }
    }

    /// Bytes of key and value.
    pub fn bytes(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len)
    }

    /// A copy that outlives the buffer.
    pub fn keep(&self) -> OwnedInput {
        OwnedInput {
            topic: self.topic.to_owned(),
            partition: self.partition,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            key: self.key.map(<[u8]>::to_vec),
            value: self.value.map(<[u8]>::to_vec),
            headers: self.headers.keep(),
        }
    }
}

/// A record, kept.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnedInput {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp_ms: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

impl OwnedInput {
    /// A view of it.
    pub fn view(&self) -> Input<'_> {
        Input {
            topic: &self.topic,
            partition: self.partition,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: Headers::Kept(&self.headers),
        }
    }
}
