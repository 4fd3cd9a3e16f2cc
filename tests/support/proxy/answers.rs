//! The answers that the proxy reads (to count) and rewrites (to stay in the way).

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    ResponseError,
    messages::{
        AddOffsetsToTxnResponse, AddPartitionsToTxnResponse, ApiKey, DescribeClusterResponse, FindCoordinatorResponse,
        MetadataResponse, ResponseHeader,
    },
    protocol::{Decodable, Encodable, StrBytes},
};

/// What an answer held.
pub enum Seen {
    Nothing,
    /// The whole frame with our ports in place of the brokers'.
    Rewritten(Vec<u8>),
    AddPartitions {
        concurrent: bool,
    },
    AddOffsets {
        concurrent: bool,
    },
}

/// Reads one answer. `port` gives our port before a broker's `host:port`.
/// An error where the answer does not fit the version's schema as the protocol crate knows it.
pub fn read(api: ApiKey, version: i16, frame: &[u8], port: &dyn Fn(&str) -> u16) -> Result<Seen, String> {
    let answer = Answer { api, version, frame };
    let through = |host: &mut StrBytes, number: &mut i32| {
        // An answer without a broker has no port.
        if *number > 0 {
            *number = i32::from(port(&format!("{}:{number}", host.as_str())));
            *host = StrBytes::from_static_str("127.0.0.1");
        }
    };
    match api {
        ApiKey::Metadata => answer.rewrite(|metadata: &mut MetadataResponse| {
            metadata.brokers.iter_mut().for_each(|broker| through(&mut broker.host, &mut broker.port));
        }),
        ApiKey::DescribeCluster => answer.rewrite(|cluster: &mut DescribeClusterResponse| {
            cluster.brokers.iter_mut().for_each(|broker| through(&mut broker.host, &mut broker.port));
        }),
        ApiKey::FindCoordinator => answer.rewrite(|found: &mut FindCoordinatorResponse| {
            through(&mut found.host, &mut found.port);
            found.coordinators.iter_mut().for_each(|broker| through(&mut broker.host, &mut broker.port));
        }),
        ApiKey::AddPartitionsToTxn => Ok(Seen::AddPartitions { concurrent: partitions_concurrent(&answer.body()?.1) }),
        ApiKey::AddOffsetsToTxn => {
            let (_, added): (_, AddOffsetsToTxnResponse) = answer.body()?;
            Ok(Seen::AddOffsets { concurrent: is_concurrent(added.error_code) })
        }
        _ => Ok(Seen::Nothing),
    }
}

fn partitions_concurrent(added: &AddPartitionsToTxnResponse) -> bool {
    let later = added.results_by_transaction.iter().flat_map(|transaction| &transaction.topic_results);
    later
        .chain(&added.results_by_topic_v3_and_below)
        .flat_map(|topic| &topic.results_by_partition)
        .any(|partition| is_concurrent(partition.partition_error_code))
}

fn is_concurrent(code: i16) -> bool {
    code == ResponseError::ConcurrentTransactions.code()
}

struct Answer<'a> {
    api: ApiKey,
    version: i16,
    frame: &'a [u8],
}

impl Answer<'_> {
    fn body<M: Decodable>(&self) -> Result<(ResponseHeader, M), String> {
        let mut bytes = Bytes::copy_from_slice(self.frame.get(4..).unwrap_or_default());
        let text = |error| format!("{:?} v{}: {error}", self.api, self.version);
        let header = ResponseHeader::decode(&mut bytes, self.header_version()).map_err(text)?;
        let body = M::decode(&mut bytes, self.version).map_err(text)?;
        if bytes.is_empty() { Ok((header, body)) } else { Err(format!("{:?}: {} bytes left", self.api, bytes.len())) }
    }

    fn rewrite<M: Decodable + Encodable>(&self, change: impl FnOnce(&mut M)) -> Result<Seen, String> {
        let (header, mut body) = self.body::<M>()?;
        change(&mut body);
        let mut frame = BytesMut::zeroed(4);
        let text = |error| format!("{:?} v{}: {error}", self.api, self.version);
        header.encode(&mut frame, self.header_version()).map_err(text)?;
        body.encode(&mut frame, self.version).map_err(text)?;
        let length = (frame.len() - 4) as u32;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        Ok(Seen::Rewritten(frame.to_vec()))
    }

    fn header_version(&self) -> i16 {
        self.api.response_header_version(self.version)
    }
}
