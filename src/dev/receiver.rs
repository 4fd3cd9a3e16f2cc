//! A webhook receiver that believes nobody: it verifies every signature, counts by `webhook-id`, and misbehaves on
//! request.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{ConnectInfo, DefaultBodyLimit, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use parking_lot::Mutex;

use super::stub::{Cut, Stub};
use crate::{
    clock,
    deliver::signature::{self, Signer},
    secret::Secret,
};

/// Bodies above this are refused; bytes.
const BODY_LIMIT: usize = 1024 * 1024;
/// So many ids are told apart; later ones count as untracked.
const IDS: usize = 1_000_000;
/// So many of the last messages are kept whole.
const KEPT: usize = 10_000;

/// How a request with a good signature is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// With this status; 2xx takes the message.
    Status(u16),
    /// With this status and `Retry-After`, in seconds.
    RetryAfter(u16, u64),
    /// 307 to there.
    Redirect(String),
    /// With this status and body.
    Text(u16, String),
    /// Not taken: the connection ends in the middle of the answer.
    CloseHalfWay,
    /// Taken, but the connection ends before the answer: the sender cannot know.
    LoseAnswer,
}

/// What arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests, whatever became of them.
    pub requests: u64,
    /// Messages taken, repeats included.
    pub delivered: u64,
    /// Different ids among them.
    pub distinct: u64,
    /// Messages taken whose id had been taken before.
    pub repeats: u64,
    /// Refused with 401.
    pub bad_signature: u64,
    /// Taken after a million ids: not checked for repeats.
    pub untracked: u64,
    /// The most that were under way at once.
    pub at_once: u64,
}

/// When an id was taken. Milliseconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    pub first_ms: i64,
    pub last_ms: i64,
    pub times: u64,
}

/// A message that was taken.
#[derive(Debug, Clone)]
pub struct Received {
    pub id: String,
    pub at_ms: i64,
    pub body: Bytes,
}

/// A running receiver.
pub struct Receiver {
    stub: Stub,
    desk: Arc<Desk>,
}

struct Desk {
    signer: Signer,
    book: Mutex<Book>,
}

struct Book {
    script: VecDeque<Reply>,
    then: Reply,
    latency: Duration,
    under_way: u64,
    counts: Counts,
    arrivals: HashMap<String, Arrival>,
    last: VecDeque<Received>,
    headers: HeaderMap,
}

impl Receiver {
    /// Serves `/` (and any other path) on the preferred port or a free one, and believes what this secret has signed.
    pub async fn start(preferred_port: Option<u16>, secret: &Secret) -> io::Result<Self> {
        let signer = Signer::new(secret).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let book = Book {
            script: VecDeque::new(),
            then: Reply::Status(204),
            latency: Duration::ZERO,
            under_way: 0,
            counts: Counts::default(),
            arrivals: HashMap::new(),
            last: VecDeque::new(),
            headers: HeaderMap::new(),
        };
        let desk = Arc::new(Desk { signer, book: Mutex::new(book) });
        let router = Router::new()
            .route("/", post(receive))
            .route("/{*path}", post(receive))
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
            .with_state(desk.clone());
        Ok(Receiver { stub: Stub::start(preferred_port, router).await?, desk })
    }

    /// What to write as a destination's url.
    pub fn url(&self) -> String {
        format!("{}/hooks", self.stub.url())
    }

    /// The server: its address, and its life.
    pub fn stub(&self) -> &Stub {
        &self.stub
    }

    /// The next answers, one a request; after them come `then` ones, for ever.
    pub fn answer(&self, script: impl IntoIterator<Item = Reply>, then: Reply) {
        let mut book = self.desk.book.lock();
        book.script = script.into_iter().collect();
        book.then = then;
    }

    /// How long each answer takes.
    pub fn set_latency(&self, latency: Duration) {
        self.desk.book.lock().latency = latency;
    }

    /// What arrived so far.
    pub fn counts(&self) -> Counts {
        self.desk.book.lock().counts
    }

    /// When this id was taken, if it was.
    pub fn arrival(&self, id: &str) -> Option<Arrival> {
        self.desk.book.lock().arrivals.get(id).copied()
    }

    /// The last messages taken (up to ten thousand), in the order of arrival.
    pub fn received(&self) -> Vec<Received> {
        self.desk.book.lock().last.iter().cloned().collect()
    }

    /// The headers of the last request.
    pub fn last_headers(&self) -> HeaderMap {
        self.desk.book.lock().headers.clone()
    }
}

async fn receive(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let at_ms = clock::unix_ms();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let id = header(signature::ID);
    let (timestamp, signatures) = (header(signature::TIMESTAMP), header(signature::SIGNATURE));
    let verified = desk.signer.verify(id, timestamp, signatures, &body, at_ms.div_euclid(1_000));
    let (reply, latency) = {
        let mut book = desk.book.lock();
        book.counts.requests += 1;
        book.headers = headers.clone();
        if let Err(error) = verified {
            book.counts.bad_signature += 1;
            return (StatusCode::UNAUTHORIZED, error.to_string()).into_response();
        }
        book.under_way += 1;
        book.counts.at_once = book.counts.at_once.max(book.under_way);
        (book.script.pop_front().unwrap_or_else(|| book.then.clone()), book.latency)
    };
    // Until the end, also when the sender hangs up in the middle.
    let _under_way = UnderWay(&desk);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    if reply.takes() {
        desk.book.lock().take(id, at_ms, body);
    }
    match reply {
        Reply::Status(status) => code(status).into_response(),
        Reply::Text(status, text) => (code(status), text).into_response(),
        Reply::RetryAfter(status, seconds) => {
            (code(status), [(header::RETRY_AFTER, HeaderValue::from(seconds))]).into_response()
        }
        Reply::Redirect(to) => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response(),
        Reply::CloseHalfWay => {
            cut.after(12);
            StatusCode::OK.into_response()
        }
        Reply::LoseAnswer => {
            cut.after(0);
            StatusCode::OK.into_response()
        }
    }
}

struct UnderWay<'a>(&'a Desk);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.book.lock().under_way -= 1;
    }
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl Reply {
    fn takes(&self) -> bool {
        match self {
            Reply::Status(status) | Reply::Text(status, _) | Reply::RetryAfter(status, _) => {
                (200..300).contains(status)
            }
            Reply::LoseAnswer => true,
            Reply::Redirect(_) | Reply::CloseHalfWay => false,
        }
    }
}

impl Book {
    fn take(&mut self, id: &str, at_ms: i64, body: Bytes) {
        self.counts.delivered += 1;
        if let Some(arrival) = self.arrivals.get_mut(id) {
            self.counts.repeats += 1;
            arrival.last_ms = at_ms;
            arrival.times += 1;
        } else if self.arrivals.len() < IDS {
            self.counts.distinct += 1;
            self.arrivals.insert(id.to_owned(), Arrival { first_ms: at_ms, last_ms: at_ms, times: 1 });
        } else {
            self.counts.untracked += 1;
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(Received { id: id.to_owned(), at_ms, body });
    }
}
