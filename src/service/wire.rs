//! HTTP as every service needs it: the client, JSON with a bound, and what a status means.

use std::{error::Error as _, time::Duration};

use reqwest::{Client, RequestBuilder, StatusCode, header::HeaderMap, redirect};

use crate::{
    clock,
    policy::{CallError, Kind, retry_after},
};

/// The largest answer that is read.
pub(super) const MAX_BODY: usize = 1024 * 1024;
/// Redirects followed, within the same host only.
const MAX_REDIRECTS: usize = 3;
/// Connections kept open while idle, per host.
const IDLE_CONNECTIONS: usize = 32;

/// A client for one service. Redirects stay on the host: a header with a secret must not follow one elsewhere.
pub(super) fn client() -> reqwest::Result<Client> {
    let same_host = redirect::Policy::custom(|attempt| {
        let next = attempt.url();
        let stays = attempt.previous().first().is_some_and(|first| {
            (first.scheme(), first.host(), first.port_or_known_default())
                == (next.scheme(), next.host(), next.port_or_known_default())
        });
        if stays && attempt.previous().len() <= MAX_REDIRECTS { attempt.follow() } else { attempt.stop() }
    });
    Client::builder()
        .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
        .redirect(same_host)
        .referer(false)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .connect_timeout(Duration::from_secs(10))
        .build()
}

/// An answer that holds JSON.
#[derive(Debug)]
pub(super) struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// `None`: the service has nothing under what was asked (404, 410, 204).
    pub body: Result<Option<serde_json::Value>, CallError>,
}

/// Sends a request and reads its JSON. `Err` is a failure before there were headers.
pub(super) async fn fetch(request: RequestBuilder) -> Result<Answered, CallError> {
    let mut response = request.send().await.map_err(broken)?;
    let headers = std::mem::take(response.headers_mut());
    let status = response.status();
    let body = match judge(status, &headers) {
        Err(error) => Err(error),
        Ok(false) => Ok(None),
        Ok(true) => read_json(response, &headers, MAX_BODY).await.map(Some),
    };
    Ok(Answered { status, headers, body })
}

/// An answer whose body says more than its status: JSON that explains a failure too.
pub(super) struct Explained {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Result<serde_json::Value, CallError>,
}

/// Sends a request and reads its JSON, whatever the status. `Err` is a failure before there were headers.
pub(super) async fn fetch_explained(request: RequestBuilder, max_body: usize) -> Result<Explained, CallError> {
    let mut response = request.send().await.map_err(broken)?;
    let headers = std::mem::take(response.headers_mut());
    let status = response.status();
    let body = read_json(response, &headers, max_body).await;
    Ok(Explained { status, headers, body })
}

/// What a status means: a body (true), nothing there (false), or a failure.
pub(super) fn judge(status: StatusCode, headers: &HeaderMap) -> Result<bool, CallError> {
    let error = |kind| {
        let asked = retry_after(headers, clock::unix_ms());
        Err(CallError::new(kind, format!("answered {status}")).with_retry_after(asked))
    };
    match status.as_u16() {
        204 | 404 | 410 => Ok(false),
        200..=299 => Ok(true),
        429 => error(Kind::Limited),
        // Request timeout and "too early": the same request may succeed in a moment.
        408 | 425 | 500..=599 => error(Kind::Transient),
        300..=399 => Err(CallError::new(
            Kind::BadResponse,
            format!("answered {status}: redirects to another host, and more than {MAX_REDIRECTS}, are not followed"),
        )),
        _ => error(Kind::Rejected),
    }
}

async fn read_json(
    mut response: reqwest::Response,
    headers: &HeaderMap,
    max_body: usize,
) -> Result<serde_json::Value, CallError> {
    let bad = |message: String| CallError::new(Kind::BadResponse, message);
    if let Some(content_type) = headers.get(reqwest::header::CONTENT_TYPE) {
        let content_type = content_type.to_str().unwrap_or("unreadable");
        let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if media != "application/json" && media != "text/json" && !media.ends_with("+json") {
            let media: String = media.chars().take(60).collect();
            return Err(bad(format!("answered {media:?} instead of JSON")));
        }
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > max_body {
            return Err(bad(format!("answered more than {max_body} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    // The text itself may hold personal data, so only the place is told.
    serde_json::from_slice(&body)
        .map_err(|error| bad(format!("answered broken JSON at line {}, column {}", error.line(), error.column())))
}

/// What a transport error is. Its text must not hold the URL: keys and tokens may stand in it.
fn broken(error: reqwest::Error) -> CallError {
    let error = error.without_url();
    let kind = match () {
        () if error.is_timeout() => Kind::Timeout,
        () if error.is_builder() => Kind::Rejected,
        () => Kind::Transient,
    };
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    CallError::new(kind, message)
}

/// Starts a small server for a test and gives its base URL.
#[cfg(test)]
pub(super) async fn serve(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_told_apart_by_what_can_be_done_about_it() {
        let kind = |status| judge(StatusCode::from_u16(status).unwrap(), &HeaderMap::new()).map_err(|error| error.kind);
        assert_eq!(kind(200), Ok(true));
        assert_eq!(kind(207), Ok(true));
        assert_eq!(kind(404), Ok(false));
        assert_eq!(kind(401), Err(Kind::Rejected));
        assert_eq!(kind(422), Err(Kind::Rejected));
        assert_eq!(kind(429), Err(Kind::Limited));
        assert_eq!(kind(503), Err(Kind::Transient));
        assert_eq!(kind(302), Err(Kind::BadResponse));
    }
}
