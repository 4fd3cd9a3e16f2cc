//! The one connection to Redis: made when it is needed, shared by all requests, dropped when it may be broken.
//!
//! Retries, timeouts and the breaker are the policy's; so there is no connection manager here that would try by itself.

use std::sync::Arc;

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use redis::{AsyncConnectionConfig, Client, ErrorKind, Pipeline, RedisError, Value, aio::MultiplexedConnection};

use crate::policy::{CallError, Kind};

/// A connection, or on the way to be one.
type Connection = Shared<BoxFuture<'static, Result<MultiplexedConnection, CallError>>>;

/// The connection to one Redis.
pub(super) struct Wire {
    client: Client,
    current: Mutex<Option<Arc<Connection>>>,
}

/// Drops the connection unless the request has come home: an error, or a caller who stopped waiting, may mean that
/// nothing comes over it any more. Requests under way on it end as they may.
struct Doubt<'w> {
    wire: &'w Wire,
    connection: Arc<Connection>,
    is_over: bool,
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let mut current = self.wire.current.lock();
            if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &self.connection)) {
                *current = None;
            }
        }
    }
}

impl Wire {
    /// To the server of that URL. `Err` says what is wrong with it, without showing it.
    pub fn new(url: &str) -> Result<Self, CallError> {
        let client = Client::open(url).map_err(|error| failed(&error))?;
        Ok(Wire { client, current: Mutex::default() })
    }

    /// Sends the commands in one go and gives one reply for each, errors of single commands among them. They only read,
    /// so that a connection that was closed while it rested (`timeout` of the server, a balancer) costs no more than a
    /// new one.
    pub async fn ask(&self, pipeline: Pipeline) -> Result<Vec<Value>, CallError> {
        let (connection, is_new) = self.connection();
        match self.ask_over(connection, &pipeline).await {
            Err(error) if !is_new && error.kind == Kind::Transient => {
                self.ask_over(self.connection().0, &pipeline).await
            }
            result => result,
        }
    }

    async fn ask_over(&self, connection: Arc<Connection>, pipeline: &Pipeline) -> Result<Vec<Value>, CallError> {
        let mut doubt = Doubt { wire: self, connection: connection.clone(), is_over: false };
        let mut connection = (*connection).clone().await?;
        let replies = connection.send_packed_commands(pipeline, 0, pipeline.len()).await;
        let replies = replies.map_err(|error| failed(&error))?;
        doubt.is_over = true;
        Ok(replies)
    }

    /// The connection, and whether it is a new one.
    fn connection(&self) -> (Arc<Connection>, bool) {
        let mut current = self.current.lock();
        let is_new = current.is_none();
        let connection = current.get_or_insert_with(|| Arc::new(connect(self.client.clone()).boxed().shared()));
        (connection.clone(), is_new)
    }
}

async fn connect(client: Client) -> Result<MultiplexedConnection, CallError> {
    // The policy's timeout per attempt covers both.
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await.map_err(|error| failed(&error))
}

/// What an error of the connection means. Its detail is left out: it may show the address or what was asked.
fn failed(error: &RedisError) -> CallError {
    match error.kind() {
        ErrorKind::AuthenticationFailed => {
            CallError::new(Kind::Rejected, "Redis refuses user or password; look at the URL of campaigns")
        }
        ErrorKind::InvalidClientConfig => CallError::new(Kind::Rejected, "this is no URL of a Redis"),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
            CallError::new(Kind::BadResponse, "the server does not speak as Redis does")
        }
        _ => match error.code() {
            Some(code) => refused(code),
            None => CallError::new(Kind::Transient, format!("no connection to Redis: {}", error.category())),
        },
    }
}

/// What an error code of the server means, where it concerns more than one key.
pub(super) fn refused(code: &str) -> CallError {
    let code: String = code.chars().filter(char::is_ascii_alphanumeric).take(20).collect();
    let (kind, what) = match code.as_str() {
        "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "BUSY" => (Kind::Transient, "cannot answer now"),
        "NOAUTH" => (Kind::Rejected, "wants a password: redis://:password@host"),
        "WRONGPASS" | "NOPERM" => (Kind::Rejected, "refuses this user"),
        "MOVED" | "ASK" => (Kind::Rejected, "is a cluster, whose redirections are not followed"),
        _ => (Kind::Rejected, "refuses the request"),
    };
    CallError::new(kind, format!("Redis {what} ({code})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        assert_eq!(refused("LOADING").kind, Kind::Transient);
        assert_eq!(refused("NOAUTH").kind, Kind::Rejected);
        assert_eq!(refused("MOVED").kind, Kind::Rejected);
        assert!(refused("NO\r\nAUTH secret@x").message.contains("(NOAUTHsecretx)"));
    }
}
