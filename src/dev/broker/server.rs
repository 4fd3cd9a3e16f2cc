//! Connections: accept, frame, dispatch, answer, one request after the other as Kafka does it; and the broker's timers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse, RequestKind, ResponseHeader, ResponseKind};
use kafka_protocol::protocol::Encodable;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::{
    Shared, api_admin, api_configs, api_fetch, api_group, api_metadata, api_offsets, api_produce, api_txn, decode,
};
use crate::clock;

/// Kafka's `socket.request.max.bytes`.
const MAX_REQUEST_BYTES: usize = 100 << 20;
/// The shortest request: key, version, correlation id, no client id.
const MIN_REQUEST_BYTES: usize = 10;
const MAX_CONNECTIONS: usize = 2_000;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Sessions and rebalances are looked at this often.
const TICK: Duration = Duration::from_millis(20);

/// What is answered, and in which versions. Left out on purpose: topic ids in Produce and Fetch, and the versions
/// that belong to transactions' second protocol (KIP-890).
pub const APIS: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Produce, 3, 11),
    (ApiKey::Fetch, 4, 12),
    (ApiKey::ListOffsets, 1, 7),
    (ApiKey::Metadata, 0, 12),
    (ApiKey::OffsetCommit, 2, 9),
    (ApiKey::OffsetFetch, 1, 9),
    (ApiKey::FindCoordinator, 0, 4),
    (ApiKey::JoinGroup, 0, 9),
    (ApiKey::Heartbeat, 0, 4),
    (ApiKey::LeaveGroup, 0, 5),
    (ApiKey::SyncGroup, 0, 5),
    (ApiKey::DescribeGroups, 0, 5),
    (ApiKey::ListGroups, 0, 5),
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::CreateTopics, 2, 7),
    (ApiKey::DeleteTopics, 1, 6),
    (ApiKey::DeleteRecords, 0, 2),
    (ApiKey::InitProducerId, 0, 4),
    (ApiKey::AddPartitionsToTxn, 0, 3),
    (ApiKey::AddOffsetsToTxn, 0, 3),
    (ApiKey::EndTxn, 0, 3),
    (ApiKey::TxnOffsetCommit, 0, 3),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::AlterConfigs, 0, 2),
    (ApiKey::IncrementalAlterConfigs, 0, 1),
    (ApiKey::CreatePartitions, 0, 3),
    (ApiKey::DeleteGroups, 0, 2),
    (ApiKey::OffsetDelete, 0, 0),
    (ApiKey::DescribeCluster, 0, 1),
];

/// Who asks.
pub struct Caller {
    /// Notified when a partition this connection waits for has grown.
    pub wake: Arc<Notify>,
    /// As Kafka's tools print it: `/127.0.0.1`.
    pub host: String,
    /// What the client calls itself.
    pub client_id: String,
}

/// Serves until told to stop.
pub async fn run(shared: Arc<Shared>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let mut tasks = JoinSet::new();
    tasks.spawn(tick(shared.clone()));
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            accepted = listener.accept() => match accepted {
                Ok((_, peer)) if tasks.len() > MAX_CONNECTIONS => {
                    tracing::warn!(%peer, "development broker: too many connections, this one is refused");
                }
                Ok((stream, peer)) => {
                    tasks.spawn(serve(shared.clone(), stream, peer));
                }
                Err(error) => {
                    tracing::warn!(%error, "development broker: accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await; // out of file descriptors, most likely
                }
            },
            Some(_) = tasks.join_next() => {}
        }
    }
    tasks.shutdown().await;
}

/// The timers: sessions, rebalances, overdue transactions.
async fn tick(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(TICK);
    let mut transactions_at = clock::now();
    loop {
        ticks.tick().await;
        let now = clock::now();
        let mut state = shared.state.lock();
        state.groups.values_mut().for_each(|entry| entry.group.expire(now));
        if now.duration_since(transactions_at) >= shared.config.transaction_abort_interval {
            transactions_at = now;
            for id in state.txns.expire(now) {
                tracing::info!(transactional_id = id, "development broker: transaction timed out and is aborted");
                state.finish_transaction(&id, now, clock::unix_ms());
            }
        }
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(64 << 10, reader);
    let host = format!("/{}", peer.ip());
    let mut caller = Caller { wake: Arc::new(Notify::new()), host, client_id: String::new() };
    loop {
        let answered = match read_frame(&mut reader).await {
            Ok(Some(frame)) => answer(&shared, &mut caller, frame).await,
            Ok(None) => return,
            Err(error) => Err(error.to_string()),
        };
        match answered {
            Ok(Some(response)) => {
                if writer.write_all(&response).await.is_err() {
                    return; // the client has gone
                }
            }
            Ok(None) => {}
            Err(reason) => {
                tracing::warn!(%peer, client_id = caller.client_id, reason, "development broker: connection closed");
                return;
            }
        }
    }
}

/// One request, or None at the end of the connection.
async fn read_frame(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Bytes>> {
    let Ok(length) = reader.read_i32().await else { return Ok(None) };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if !(MIN_REQUEST_BYTES..=MAX_REQUEST_BYTES).contains(&length) {
        let text =
            format!("a request of {length} bytes; between {MIN_REQUEST_BYTES} and {MAX_REQUEST_BYTES} are taken");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut frame = BytesMut::with_capacity(length);
    let mut rest = reader.take(length as u64);
    while rest.limit() > 0 {
        if rest.read_buf(&mut frame).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(frame.freeze()))
}

/// The framed response to one request; None where the protocol wants none.
async fn answer(shared: &Arc<Shared>, caller: &mut Caller, frame: Bytes) -> Result<Option<Bytes>, String> {
    let (key, version) = ((&frame[0..]).get_i16(), (&frame[2..]).get_i16());
    let api = ApiKey::try_from(key).map_err(|()| format!("unknown request {key}"))?;
    let Some((_, min, max)) = APIS.iter().find(|(known, ..)| *known == api) else {
        return Err(format!("request {api:?} is not offered by the development broker"));
    };
    if api == ApiKey::ApiVersions && !(*min..=*max).contains(&version) {
        // The one request where an unknown version is answered, in version 0 (KIP-35).
        let correlation_id = (&frame[4..]).get_i32();
        let response = api_versions(ResponseError::UnsupportedVersion.code());
        return encode(api, 0, correlation_id, &response).map(Some);
    }
    if !(*min..=*max).contains(&version) {
        return Err(format!("{api:?} version {version}; {min} to {max} are offered"));
    }
    let (header, request) = decode::request(&frame, api, version).map_err(|error| format!("{api:?}: {error}"))?;
    if let Some(id) = header.client_id.as_ref().filter(|id| id.as_str() != caller.client_id) {
        caller.client_id = id.to_string();
    }
    match handle(shared, caller, request, version).await {
        Some(response) => encode(api, version, header.correlation_id, &response).map(Some),
        None => Ok(None),
    }
}

/// The framed bytes of a response.
///
/// # Errors
/// A field is set that the version lacks: a mistake of ours.
pub fn encode(api: ApiKey, version: i16, correlation_id: i32, response: &ResponseKind) -> Result<Bytes, String> {
    let mut out = BytesMut::with_capacity(512);
    out.put_i32(0);
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    let encoded = header.encode(&mut out, api.response_header_version(version));
    let encoded = encoded.and_then(|()| response.encode(&mut out, version));
    encoded.map_err(|error| format!("{api:?} response version {version}: {error:#}"))?;
    let length = (out.len() - 4) as i32;
    (&mut out[0..]).put_i32(length);
    Ok(out.freeze())
}

/// One request to its handler. None: no answer is wanted.
pub async fn handle(shared: &Arc<Shared>, caller: &Caller, request: RequestKind, version: i16) -> Option<ResponseKind> {
    use {RequestKind as Q, ResponseKind as A};
    Some(match request {
        Q::ApiVersions(_) => api_versions(0),
        Q::Produce(q) => return api_produce::produce(shared, q).map(A::Produce),
        Q::Fetch(q) => A::Fetch(api_fetch::fetch(shared, caller, q).await),
        Q::ListOffsets(q) => A::ListOffsets(api_fetch::list_offsets(shared, &q, version)),
        Q::Metadata(q) => A::Metadata(api_metadata::metadata(shared, q, version)),
        Q::DescribeCluster(_) => A::DescribeCluster(api_metadata::describe_cluster(shared)),
        Q::FindCoordinator(q) => A::FindCoordinator(api_metadata::find_coordinator(shared, q, version)),
        Q::CreateTopics(q) => A::CreateTopics(api_admin::create_topics(shared, q, version)),
        Q::DeleteTopics(q) => A::DeleteTopics(api_admin::delete_topics(shared, q, version)),
        Q::DeleteRecords(q) => A::DeleteRecords(api_admin::delete_records(shared, q)),
        Q::CreatePartitions(q) => A::CreatePartitions(api_admin::create_partitions(shared, q)),
        Q::DescribeConfigs(q) => A::DescribeConfigs(api_configs::describe(shared, q)),
        Q::AlterConfigs(q) => A::AlterConfigs(api_configs::alter(shared, q)),
        Q::IncrementalAlterConfigs(q) => A::IncrementalAlterConfigs(api_configs::incremental_alter(shared, q)),
        Q::JoinGroup(q) => A::JoinGroup(api_group::join(shared, caller, q, version).await),
        Q::SyncGroup(q) => A::SyncGroup(api_group::sync(shared, q).await),
        Q::Heartbeat(q) => A::Heartbeat(api_group::heartbeat(shared, &q)),
        Q::LeaveGroup(q) => A::LeaveGroup(api_group::leave(shared, q, version)),
        Q::ListGroups(q) => A::ListGroups(api_group::list(shared, &q)),
        Q::DescribeGroups(q) => A::DescribeGroups(api_group::describe(shared, q)),
        Q::DeleteGroups(q) => A::DeleteGroups(api_group::delete(shared, q)),
        Q::OffsetCommit(q) => A::OffsetCommit(api_offsets::commit(shared, q)),
        Q::OffsetFetch(q) => A::OffsetFetch(api_offsets::fetch(shared, q, version)),
        Q::OffsetDelete(q) => A::OffsetDelete(api_offsets::delete(shared, q)),
        Q::TxnOffsetCommit(q) => A::TxnOffsetCommit(api_offsets::commit_in_transaction(shared, q)),
        Q::InitProducerId(q) => A::InitProducerId(api_txn::init_producer_id(shared, &q, version)),
        Q::AddPartitionsToTxn(q) => A::AddPartitionsToTxn(api_txn::add_partitions(shared, q, version)),
        Q::AddOffsetsToTxn(q) => A::AddOffsetsToTxn(api_txn::add_offsets(shared, &q, version)),
        Q::EndTxn(q) => A::EndTxn(api_txn::end(shared, &q, version)),
        other => {
            // The table above is checked before decoding, so this is a row without a handler.
            tracing::warn!(?other, "development broker: no handler");
            return None;
        }
    })
}

fn api_versions(error_code: i16) -> ResponseKind {
    let row = |(api, min, max): &(ApiKey, i16, i16)| {
        ApiVersion::default().with_api_key(*api as i16).with_min_version(*min).with_max_version(*max)
    };
    let rows = APIS.iter().map(row).collect();
    ResponseKind::ApiVersions(ApiVersionsResponse::default().with_error_code(error_code).with_api_keys(rows))
}
