//! An HTTP server on 127.0.0.1 whose connections can be cut: what every stand-in here runs on.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use axum::{
    Router,
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A running server. Dropping it ends the server and its connections.
#[derive(Debug)]
pub struct Stub {
    address: SocketAddr,
    alive: Arc<AtomicBool>,
    connections: Arc<AtomicU64>,
    server: JoinHandle<()>,
}

impl Stub {
    /// Serves on the preferred port, or on a free one if there is none or it is taken: see [`Stub::address`].
    pub async fn start(preferred_port: Option<u16>, router: Router) -> io::Result<Self> {
        let bind = async |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listener = match preferred_port {
            None => bind(0).await?,
            Some(port) => match bind(port).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => bind(0).await?,
                bound => bound?,
            },
        };
        let address = listener.local_addr()?;
        let alive = Arc::new(AtomicBool::new(true));
        let connections = Arc::new(AtomicU64::new(0));
        let gate = Gate { listener, alive: alive.clone(), connections: connections.clone() };
        let service = router.into_make_service_with_connect_info::<Cut>();
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(gate, service).await {
                tracing::error!(%error, "a stub server ended");
            }
        });
        Ok(Stub { address, alive, connections, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:<port>`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Dead, it resets every connection: those that come, and those that are open at their next byte.
    pub fn set_alive(&self, alive: bool) {
        self.alive.store(alive, Relaxed);
    }

    /// Connections taken so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }

    /// Whether it answers.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Relaxed)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.set_alive(false);
        self.server.abort();
    }
}

/// A connection's shears; handlers get it as `ConnectInfo<Cut>`.
#[derive(Debug, Clone)]
pub struct Cut(Arc<AtomicUsize>);

impl Cut {
    /// Lets so many more bytes out, then resets the connection.
    pub fn after(&self, bytes: usize) {
        self.0.store(bytes, Relaxed);
    }
}

struct Gate {
    listener: TcpListener,
    alive: Arc<AtomicBool>,
    connections: Arc<AtomicU64>,
}

impl Listener for Gate {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            // Best effort both: a stub works without, only slower or more politely.
            let _ = stream.set_nodelay(true);
            if self.alive.load(Relaxed) {
                self.connections.fetch_add(1, Relaxed);
                let left = Cut(Arc::new(AtomicUsize::new(usize::MAX)));
                return (Wire { stream, left, alive: self.alive.clone() }, address);
            }
            let _ = stream.set_zero_linger();
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that can be cut.
pub struct Wire {
    stream: TcpStream,
    left: Cut,
    alive: Arc<AtomicBool>,
}

impl Connected<IncomingStream<'_, Gate>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Gate>) -> Self {
        stream.io().left.clone()
    }
}

impl Wire {
    fn check(&self) -> io::Result<usize> {
        let left = self.left.0.load(Relaxed);
        if left > 0 && self.alive.load(Relaxed) {
            return Ok(left);
        }
        let _ = self.stream.set_zero_linger();
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.check()?;
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let left = self.check()?;
        let written = Pin::new(&mut self.stream).poll_write(cx, &bytes[..bytes.len().min(left)]);
        if let Poll::Ready(Ok(written)) = written
            && left != usize::MAX
        {
            self.left.after(left.saturating_sub(written));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
