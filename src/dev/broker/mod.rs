//! The development broker: Kafka's protocol on a real port, in memory and in this process, honest about transactions.
//!
//! It is for development and fast tests, and nothing else: one node, nothing replicated, nothing kept on disk, no
//! authentication, loopback only. Record batches are kept as they came; isolation, fencing, groups and offsets follow
//! Apache Kafka's rules, and transaction markers are written a little after EndTxn answers, as there. Memory is bounded:
//! above [`BrokerConfig::max_bytes`] the oldest batches of the largest partitions go (compacted topics last, which are
//! never compacted but kept whole) and their log start offsets move. `retention.bytes` of a topic is honoured,
//! `retention.ms` is not.

mod api_admin;
mod api_configs;
mod api_fetch;
mod api_group;
mod api_metadata;
mod api_offsets;
mod api_produce;
mod api_txn;
mod batch;
mod decode;
mod group;
mod log;
mod member;
mod offsets;
mod producer_state;
mod server;
mod state;
mod topic;
mod txn;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use state::State;

/// Ports tried after the one that is taken.
const PORTS_TRIED: u16 = 100;

/// How a development broker behaves.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// None: any free port. Taken: the next free one.
    pub port: Option<u16>,
    /// What clients see as the cluster's id.
    pub cluster_id: String,
    /// Whether asking for a topic creates it.
    pub auto_create_topics: bool,
    /// Of topics created without a number.
    pub default_partitions: usize,
    /// How long after EndTxn's answer the markers are written.
    pub marker_delay: Duration,
    /// How often overdue transactions are looked for (Apache Kafka: 10 s).
    pub transaction_abort_interval: Duration,
    /// Records held in all, in bytes.
    pub max_bytes: usize,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            port: None,
            cluster_id: "headwater-development".to_owned(),
            auto_create_topics: false,
            default_partitions: 1,
            marker_delay: Duration::from_millis(2),
            transaction_abort_interval: Duration::from_secs(1),
            max_bytes: 512 << 20,
        }
    }
}

/// Why a broker could not do what its owner asked.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Free a port in this range, or leave the port open.
    #[error("no free port from {first} to {last} on 127.0.0.1")]
    NoPort {
        /// The port asked for.
        first: u16,
        /// The last one tried.
        last: u16,
    },
    /// The system does not let us listen; the source says why.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port asked for, 0 for any.
        port: u16,
        /// From the system.
        source: std::io::Error,
    },
    /// The topic as asked for is not possible; the text says what is.
    #[error("topic {name}: {reason}")]
    Topic {
        /// Of the topic.
        name: String,
        /// In Kafka's words.
        reason: String,
    },
}

/// What connections and timers share.
pub(crate) struct Shared {
    pub(crate) config: BrokerConfig,
    pub(crate) address: SocketAddr,
    pub(crate) state: Mutex<State>,
}

/// A running development broker. Dropping it stops it; [`Broker::shutdown`] also waits.
pub struct Broker {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    server: Option<JoinHandle<()>>,
}

impl Broker {
    /// Starts a broker on the current tokio runtime.
    ///
    /// # Errors
    /// No port to listen on.
    pub async fn start(config: BrokerConfig) -> Result<Self, BrokerError> {
        let listener = listen(config.port).await?;
        let port = config.port.unwrap_or(0);
        let address = listener.local_addr().map_err(|source| BrokerError::Listen { port, source })?;
        tracing::info!(
            %address,
            cluster_id = config.cluster_id,
            "development broker: in memory only, one node, nothing replicated"
        );
        let state = Mutex::new(State::new(config.max_bytes));
        let shared = Arc::new(Shared { config, address, state });
        let (stop, stopped) = watch::channel(false);
        let server = Some(tokio::spawn(server::run(shared.clone(), listener, stopped)));
        Ok(Self { shared, stop, server })
    }

    /// Where clients connect: `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.shared.address.to_string()
    }

    /// Creates a topic with Kafka's topic settings.
    ///
    /// # Errors
    /// It exists, or name, number of partitions or a setting is impossible.
    pub fn create_topic(&self, name: &str, partitions: usize, configs: &[(&str, &str)]) -> Result<(), BrokerError> {
        let configs: BTreeMap<_, _> = configs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let created = self.shared.state.lock().create_topic(name, partitions, configs, false);
        created.map_err(|(_, reason)| BrokerError::Topic { name: name.to_owned(), reason })
    }

    /// Closes the port and every connection, and waits until that is done.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        if let Some(server) = self.server.take() {
            let _ = server.await;
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}

async fn listen(port: Option<u16>) -> Result<TcpListener, BrokerError> {
    let Some(first) = port.filter(|port| *port != 0) else {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        return bound.map_err(|source| BrokerError::Listen { port: 0, source });
    };
    let last = first.saturating_add(PORTS_TRIED);
    for port in first..=last {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(source) => return Err(BrokerError::Listen { port, source }),
        }
    }
    Err(BrokerError::NoPort { first, last })
}
