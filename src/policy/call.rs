//! What the policy calls, and the ways in which a call goes wrong, told apart by type.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;

use crate::event::{Reason, Value};

/// What is asked, as text: identity in the cache and of a call under way, and all the service needs to ask it
/// (a contact's id; a rendered URL, then its body on the next line). May hold personal data: never logged.
pub type Key = Arc<str>;

/// The values of a service's columns, converted once, shared by the cache and every record.
pub type Answer = Arc<[Value]>;

/// What a service says of a key: an answer, or that it has none.
pub type Found = Option<Answer>;

/// A service, as the policy sees it: asks for some keys in one request.
pub trait Call: Send + Sync + 'static {
    /// Sends one request for these keys, at most as many as the service's batch holds. Dropping the future
    /// cancels the request; the policy does so after the attempt's timeout.
    fn call(&self, keys: Vec<Key>) -> BoxFuture<'static, Response>;
}

/// What came of one request.
#[derive(Debug)]
pub struct Response {
    /// One result per key, in the order of the keys; or why the request failed as a whole.
    pub answers: Result<Vec<Result<Found, CallError>>, CallError>,
    /// What the service says is left of its quota.
    pub limits: Vec<Limit>,
}

impl From<Result<Vec<Result<Found, CallError>>, CallError>> for Response {
    fn from(answers: Result<Vec<Result<Found, CallError>>, CallError>) -> Self {
        Response { answers, limits: Vec::new() }
    }
}

/// So many requests are left to the whole account in one of its windows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    pub remaining: u32,
    /// The window's length, which also tells the account's windows apart. Zero where the service does not say.
    pub window: Duration,
    /// When the window ends, where the service says so. Otherwise at most `window` after it was first seen.
    pub resets_in: Option<Duration>,
}

/// What kind of failure it is: it decides whether to try again, what the breaker counts, and the part's reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No answer within the attempt's timeout. Look at the service's latency, or raise `timeout`.
    Timeout,
    /// The service answered 429, or our own quota cannot send the request within the deadline. Raise `rate_limit`
    /// if the account allows more, or `cache.ttl` to ask less often.
    Limited,
    /// Could not connect, the connection broke, or the service answered 5xx. It passes by itself.
    Transient,
    /// The service refuses us (401, 403 and other final 4xx). Look at the token and at what is asked.
    Rejected,
    /// The answer is not what the service promises: not JSON, too large, a field of the wrong type.
    BadResponse,
    /// The breaker is open: nothing was sent.
    BreakerOpen,
}

/// A failed call. `message` never holds the key, the URL or a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    pub kind: Kind,
    pub message: Arc<str>,
    /// The service's `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl CallError {
    /// A failure of that kind.
    pub fn new(kind: Kind, message: impl AsRef<str>) -> Self {
        CallError { kind, message: Arc::from(message.as_ref()), retry_after: None }
    }

    /// The same, with the service's wish when to come back.
    pub fn with_retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// The reason that a part bears.
    pub fn reason(&self) -> Reason {
        match self.kind {
            Kind::Timeout => Reason::Timeout,
            Kind::Limited => Reason::RateLimited,
            Kind::Transient => Reason::Unavailable,
            Kind::Rejected => Reason::Rejected,
            Kind::BadResponse => Reason::BadResponse,
            Kind::BreakerOpen => Reason::BreakerOpen,
        }
    }

    /// Whether another attempt may help.
    pub fn may_pass(&self) -> bool {
        matches!(self.kind, Kind::Timeout | Kind::Limited | Kind::Transient)
    }

    /// Whether it counts against the service. A refusal (401, 429) is an answer: the service works.
    pub fn counts_for_breaker(&self) -> bool {
        matches!(self.kind, Kind::Timeout | Kind::Transient | Kind::BadResponse)
    }
}
