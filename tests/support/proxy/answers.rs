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

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{
        add_partitions_to_txn_response::{
            AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
        },
        metadata_response::MetadataResponseBroker,
    };

    use super::*;

    fn frame(api: ApiKey, version: i16, body: &impl Encodable) -> Vec<u8> {
        let mut frame = BytesMut::zeroed(4);
        let header = ResponseHeader::default().with_correlation_id(7);
        header.encode(&mut frame, api.response_header_version(version)).expect("a header");
        body.encode(&mut frame, version).expect("a body");
        frame.to_vec()
    }

    #[test]
    fn concurrent_transactions_is_found_in_every_version_of_the_answers() {
        for code in [0, ResponseError::ConcurrentTransactions.code()] {
            let added = AddOffsetsToTxnResponse::default().with_error_code(code);
            let partition = AddPartitionsToTxnPartitionResult::default().with_partition_error_code(code);
            let topic = AddPartitionsToTxnTopicResult::default().with_results_by_partition(vec![partition]);
            let early = AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(vec![topic.clone()]);
            let transaction = AddPartitionsToTxnResult::default().with_topic_results(vec![topic]);
            let late = AddPartitionsToTxnResponse::default().with_results_by_transaction(vec![transaction]);
            for version in 0..=5 {
                let api = ApiKey::AddPartitionsToTxn;
                let body = if version < 4 { &early } else { &late };
                let seen = read(api, version, &frame(api, version, body), &|_| 1).expect("read");
                assert!(matches!(seen, Seen::AddPartitions { concurrent } if concurrent == (code != 0)), "v{version}");
            }
            for version in 0..=4 {
                let api = ApiKey::AddOffsetsToTxn;
                let seen = read(api, version, &frame(api, version, &added), &|_| 1).expect("read");
                assert!(matches!(seen, Seen::AddOffsets { concurrent } if concurrent == (code != 0)), "v{version}");
            }
        }
    }

    #[test]
    fn each_broker_gets_a_port_of_ours() {
        let api = ApiKey::Metadata;
        let broker = |port| MetadataResponseBroker::default().with_host(StrBytes::from_static_str("b")).with_port(port);
        let metadata = MetadataResponse::default().with_brokers(vec![broker(1), broker(2)]);
        let port = |upstream: &str| if upstream == "b:1" { 11 } else { 12 };
        let Ok(Seen::Rewritten(frame)) = read(api, 12, &frame(api, 12, &metadata), &port) else { panic!("rewritten") };
        let (header, rewritten) =
            Answer { api, version: 12, frame: &frame }.body::<MetadataResponse>().expect("a whole answer");
        let places: Vec<_> = rewritten.brokers.iter().map(|broker| (broker.host.to_string(), broker.port)).collect();
        assert_eq!(header.correlation_id, 7);
        assert_eq!(places, [("127.0.0.1".into(), 11), ("127.0.0.1".into(), 12)]);
    }

    #[test]
    fn an_answer_that_does_not_fit_its_version_is_an_error() {
        let api = ApiKey::AddOffsetsToTxn;
        let mut long = frame(api, 0, &AddOffsetsToTxnResponse::default());
        long.push(0);
        assert!(read(api, 0, &long, &|_| 1).is_err());
        assert!(read(api, 0, &long[..6], &|_| 1).is_err());
    }
}
