//! A proxy before a broker that understands Kafka's frames, and does to EndTxn what a network would.
//!
//! Brokers tell clients their own addresses, so the proxy rewrites these in the answers (Metadata, FindCoordinator,
//! DescribeCluster) to ports of its own: the broker needs no setting, and one proxy stands before all brokers of a
//! cluster. Everything else passes byte for byte and in order.

mod answers;
mod frames;

use std::{
    collections::{HashMap, VecDeque},
    net::TcpListener,
    sync::Arc,
    time::Duration,
};

use kafka_protocol::messages::ApiKey;
use parking_lot::Mutex;
use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::Runtime,
    sync::Semaphore,
};

/// What happens to one EndTxn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: lets one pass before the next fault.
    Pass,
    /// The request reaches the broker that much later, also when the client has given up meanwhile.
    Delay(Duration),
    /// The request waits for [`Proxy::release`], also when the client has given up meanwhile.
    Hold,
    /// The connection ends and the request never reaches the broker.
    CutRequest,
    /// The broker decides and answers; the connection ends before the client reads it.
    CutAnswer,
}

/// What has passed so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// EndTxn requests from clients, retries included.
    pub end_txn: u64,
    /// EndTxn requests that were delayed or held, counted when they went on to the broker.
    pub late: u64,
    /// EndTxn requests whose connection was cut, counted when it was.
    pub cut: u64,
    /// Answers to AddPartitionsToTxn, and how many of them said CONCURRENT_TRANSACTIONS.
    pub add_partitions: u64,
    pub add_partitions_concurrent: u64,
    /// Answers to AddOffsetsToTxn, and how many of them said CONCURRENT_TRANSACTIONS.
    pub add_offsets: u64,
    pub add_offsets_concurrent: u64,
    /// Answers that should have been read or rewritten and could not be: the client's versions are too new for us.
    pub unread: u64,
}

impl Counts {
    /// The share of AddPartitionsToTxn and AddOffsetsToTxn answers that said CONCURRENT_TRANSACTIONS, 0 to 1: each made
    /// the producer wait and ask again because the previous transaction's markers were not yet written.
    pub fn concurrent_share(&self) -> f64 {
        let all = self.add_partitions + self.add_offsets;
        let concurrent = self.add_partitions_concurrent + self.add_offsets_concurrent;
        if all == 0 { 0.0 } else { concurrent as f64 / all as f64 }
    }
}

/// A running proxy; its connections end when it is dropped.
pub struct Proxy {
    bootstrap: String,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl Proxy {
    /// Stands before the broker at `upstream` (`127.0.0.1:port`) and before every broker it tells of.
    pub fn start(upstream: &str) -> Proxy {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let shared = Arc::new(Shared::new(runtime.handle().clone()));
        let port = shared.port_before(upstream);
        Proxy { bootstrap: format!("127.0.0.1:{port}"), shared, runtime: Some(runtime) }
    }

    /// `127.0.0.1:port`, for clients.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Does this to the next EndTxn that has no fault of its own yet: calls line up.
    pub fn on_end_txn(&self, fault: Fault) {
        self.shared.faults.lock().push_back(fault);
    }

    /// Lets one held EndTxn go on, or the next one that will be held.
    pub fn release(&self) {
        self.shared.released.add_permits(1);
    }

    /// What has passed so far.
    pub fn counts(&self) -> Counts {
        *self.shared.counts.lock()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Shared {
    runtime: tokio::runtime::Handle,
    /// The port of ours before each broker.
    ports: Mutex<HashMap<String, u16>>,
    faults: Mutex<VecDeque<Fault>>,
    released: Semaphore,
    counts: Mutex<Counts>,
}

impl Shared {
    fn new(runtime: tokio::runtime::Handle) -> Self {
        Shared {
            runtime,
            ports: Mutex::default(),
            faults: Mutex::default(),
            released: Semaphore::new(0),
            counts: Mutex::default(),
        }
    }

    /// The port before this broker; listens there from the first question on.
    fn port_before(self: &Arc<Self>, upstream: &str) -> u16 {
        *self.ports.lock().entry(upstream.to_owned()).or_insert_with(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.set_nonblocking(true).expect("a socket that does not block");
            let port = listener.local_addr().expect("an address").port();
            self.runtime.spawn(accept(self.clone(), listener, upstream.to_owned()));
            port
        })
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, upstream: String) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    while let Ok((client, _)) = listener.accept().await {
        // A broker that is away refuses: so do we, by closing.
        let Ok(broker) = TcpStream::connect(&upstream).await else { continue };
        let _ = (client.set_nodelay(true), broker.set_nodelay(true));
        let asked = Arc::new(Mutex::new(HashMap::new()));
        let (client_reads, client_writes) = client.into_split();
        let (broker_reads, broker_writes) = broker.into_split();
        tokio::spawn(requests(shared.clone(), asked.clone(), client_reads, broker_writes));
        tokio::spawn(answers(shared.clone(), asked, broker_reads, client_writes));
    }
}

/// A question that waits for its answer.
struct Asked {
    api: ApiKey,
    version: i16,
    cut: bool,
}

/// By correlation id.
type Open = Arc<Mutex<HashMap<i32, Asked>>>;

/// Client to broker. Its end ends the broker's side, which ends the answers, which ends the client's side.
async fn requests(shared: Arc<Shared>, asked: Open, mut client: OwnedReadHalf, mut broker: OwnedWriteHalf) {
    while let Ok(frame) = frames::read(&mut client).await {
        let Some(head) = frames::request_head(&frame) else { return };
        let mut cut = false;
        if head.api == Some(ApiKey::EndTxn) {
            shared.counts.lock().end_txn += 1;
            let fault = shared.faults.lock().pop_front().unwrap_or(Fault::Pass);
            match fault {
                Fault::Pass => {}
                Fault::Delay(time) => tokio::time::sleep(time).await,
                Fault::Hold => shared.released.acquire().await.expect("never closed").forget(),
                Fault::CutRequest => {
                    shared.counts.lock().cut += 1;
                    return;
                }
                Fault::CutAnswer => cut = true,
            }
            if matches!(fault, Fault::Delay(_) | Fault::Hold) {
                shared.counts.lock().late += 1;
            }
        }
        if let Some(api) = head.api {
            asked.lock().insert(head.correlation_id, Asked { api, version: head.version, cut });
        }
        if broker.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// Broker to client. A client that has gone does not end it: what it asked for is still under way.
async fn answers(shared: Arc<Shared>, asked: Open, mut broker: OwnedReadHalf, client: OwnedWriteHalf) {
    let mut client = Some(client);
    while let Ok(mut frame) = frames::read(&mut broker).await {
        if let Some(question) = frames::correlation_id(&frame).and_then(|id| asked.lock().remove(&id)) {
            if question.cut {
                shared.counts.lock().cut += 1;
                return;
            }
            let port = |upstream: &str| shared.port_before(upstream);
            match answers::read(question.api, question.version, &frame, &port) {
                Ok(answers::Seen::Nothing) => {}
                Ok(answers::Seen::Rewritten(answer)) => frame = answer,
                Ok(answers::Seen::AddPartitions { concurrent }) => {
                    let mut counts = shared.counts.lock();
                    counts.add_partitions += 1;
                    counts.add_partitions_concurrent += u64::from(concurrent);
                }
                Ok(answers::Seen::AddOffsets { concurrent }) => {
                    let mut counts = shared.counts.lock();
                    counts.add_offsets += 1;
                    counts.add_offsets_concurrent += u64::from(concurrent);
                }
                Err(_) => shared.counts.lock().unread += 1,
            }
        }
        if let Some(open) = &mut client
            && open.write_all(&frame).await.is_err()
        {
            client = None;
        }
    }
}
