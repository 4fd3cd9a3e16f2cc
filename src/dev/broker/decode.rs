//! Requests from bytes that nobody vouches for.
//!
//! The decoders of `kafka-protocol` reserve memory for as many entries as an array claims to have, before reading one; a
//! wrong length of a few bytes would end the process. So a request is read through a buffer that knows how much is left:
//! a length beyond that is refused where it is certain to be one (compact forms), and cut to one more than is left where
//! it may be any number (32 bits). An entry takes a byte at least, so a cut length makes decoding fail; if something was
//! cut and the request still decodes, it was an ordinary number, and the request is read once more as it is.

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Decodable;
use kafka_protocol::protocol::buf::ByteBuf;

/// A buffer that trusts no length.
struct Wary {
    rest: Bytes,
    /// The varint being read: value so far and bits.
    varint: (u64, u32),
    cut: bool,
}

impl Buf for Wary {
    fn remaining(&self) -> usize {
        self.rest.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.rest.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.rest.advance(count);
    }

    // Array lengths before the flexible versions, and ordinary numbers.
    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        let value = self.rest.try_get_i32()?;
        let available = self.rest.len();
        if usize::try_from(value).is_ok_and(|value| value > available) {
            self.cut = true;
            return Ok(available as i32 + 1);
        }
        Ok(value)
    }

    // Booleans, and the bytes of varints: lengths plus one, tags, sizes.
    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let byte = self.rest.try_get_u8()?;
        let (value, bits) = self.varint;
        let value = value | u64::from(byte & 0x7f) << bits;
        if byte & 0x80 != 0 && bits < 28 {
            self.varint = (value, bits + 7);
            return Ok(byte);
        }
        self.varint = (0, 0);
        let available = self.rest.len();
        if value > available as u64 + 1 {
            return Err(TryGetError { requested: value as usize, available });
        }
        Ok(byte)
    }
}

impl ByteBuf for Wary {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.rest.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.rest.split_to(size)
    }
}

macro_rules! requests {
    ($($name:ident: $request:ident),* $(,)?) => {
        fn decode_as<B: ByteBuf>(api: ApiKey, bytes: &mut B, version: i16) -> Result<RequestKind, String> {
            let decoded = match api {
                $(ApiKey::$name => $request::decode(bytes, version).map(RequestKind::$name),)*
                _ => return Err("no decoder".to_owned()),
            };
            decoded.map_err(|error| format!("{error:#}"))
        }

        /// One empty request of each kind, for the test that answers them all.
        #[cfg(test)]
        pub fn empty_requests() -> Vec<(ApiKey, RequestKind)> {
            vec![$((ApiKey::$name, RequestKind::$name($request::default()))),*]
        }
    };
}

requests! {
    Produce: ProduceRequest,
    Fetch: FetchRequest,
    ListOffsets: ListOffsetsRequest,
    Metadata: MetadataRequest,
    OffsetCommit: OffsetCommitRequest,
    OffsetFetch: OffsetFetchRequest,
    FindCoordinator: FindCoordinatorRequest,
    JoinGroup: JoinGroupRequest,
    Heartbeat: HeartbeatRequest,
    LeaveGroup: LeaveGroupRequest,
    SyncGroup: SyncGroupRequest,
    DescribeGroups: DescribeGroupsRequest,
    ListGroups: ListGroupsRequest,
    ApiVersions: ApiVersionsRequest,
    CreateTopics: CreateTopicsRequest,
    DeleteTopics: DeleteTopicsRequest,
    DeleteRecords: DeleteRecordsRequest,
    InitProducerId: InitProducerIdRequest,
    AddPartitionsToTxn: AddPartitionsToTxnRequest,
    AddOffsetsToTxn: AddOffsetsToTxnRequest,
    EndTxn: EndTxnRequest,
    TxnOffsetCommit: TxnOffsetCommitRequest,
    DescribeConfigs: DescribeConfigsRequest,
    AlterConfigs: AlterConfigsRequest,
    IncrementalAlterConfigs: IncrementalAlterConfigsRequest,
    CreatePartitions: CreatePartitionsRequest,
    DeleteGroups: DeleteGroupsRequest,
    OffsetDelete: OffsetDeleteRequest,
    DescribeCluster: DescribeClusterRequest,
}

/// Reads header and body of a request.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub fn request(frame: &Bytes, api: ApiKey, version: i16) -> Result<(RequestHeader, RequestKind), String> {
    let mut wary = Wary { rest: frame.clone(), varint: (0, 0), cut: false };
    let header = RequestHeader::decode(&mut wary, api.request_header_version(version));
    let mut header = header.map_err(|error| format!("header: {error:#}"))?;
    wary.cut = false; // the correlation id is a number
    let mut body = wary.rest.clone();
    let decoded = decode_as(api, &mut wary, version)?;
    header.correlation_id = (&frame[4..]).get_i32();
    if !wary.cut {
        return Ok((header, decoded));
    }
    Ok((header, decode_as(api, &mut body, version)?))
}
