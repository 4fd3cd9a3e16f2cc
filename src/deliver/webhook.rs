//! One attempt at a webhook: one signed POST, one [`Answer`]. Redirects are not followed, proxies not used (the address
//! guard would not see what they call), connections are kept.

use std::{error::Error, io, sync::Arc, time::Duration};

use bytes::Bytes;
use reqwest::{
    Client, Response, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};

use super::{
    DeliverError,
    address::{self, Guard, Refused},
    job::Answer,
    signature::{self, Signer},
};
use crate::{policy::retry_after, secret::Secret, topology::DestinationSpec};

/// So much of an answer is read, to tell the operator and to keep the connection; bytes.
const ANSWER_LIMIT: usize = 4 * 1024;
/// So much of it is shown; characters.
const PREVIEW_LIMIT: usize = 200;
/// The status has been given: waiting longer for the rest would only hold a slot.
const REST_OF_ANSWER: Duration = Duration::from_secs(1);
/// Load balancers close idle connections after a minute or so; a call must not meet one that is just being closed.
const IDLE: Duration = Duration::from_secs(30);
/// Headers that are ours or the protocol's to set.
const RESERVED: &[&str] = &[
    signature::ID,
    signature::TIMESTAMP,
    signature::SIGNATURE,
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "trailer",
];

/// A webhook that can be called. It has no `Debug`: its URL may hold a secret.
pub struct Webhook {
    client: Client,
    url: Url,
    headers: HeaderMap,
    signer: Option<Signer>,
    /// Texts that must not come back to us in an answer's preview.
    secrets: Vec<Secret>,
}

/// What is sent at each attempt.
#[derive(Debug, Clone)]
pub struct Message {
    /// `webhook-id`.
    pub id: String,
    pub body: Bytes,
}

impl Webhook {
    /// Checks URL, address, headers and secret, and builds the client.
    pub fn new(
        spec: &DestinationSpec,
        url: &Secret,
        secret: Option<&Secret>,
        headers: &[(String, Secret)],
    ) -> Result<Self, DeliverError> {
        let destination = || spec.name.clone();
        let signer = secret
            .map(Signer::new)
            .transpose()
            .map_err(|error| DeliverError::Secret { destination: destination(), message: error.to_string() })?;
        let parsed = check_url(spec, url)?;
        let map = check_headers(spec, headers)?;
        let client = Client::builder()
            .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(spec.timeout)
            .pool_max_idle_per_host(spec.concurrency.max(1))
            .pool_idle_timeout(IDLE)
            .dns_resolver(Arc::new(Guard { allow_private: spec.allow_private }))
            .build()
            .map_err(|error| DeliverError::Client { destination: destination(), message: innermost(&error) })?;
        let secrets = hidden(&parsed, [url].into_iter().chain(secret).chain(headers.iter().map(|(_, value)| value)));
        Ok(Webhook { client, url: parsed, headers: map, signer, secrets })
    }

    /// Sends the message once; `unix_ms` is now. Never longer than the destination's timeout and a second.
    pub async fn attempt(&self, message: &Message, unix_ms: i64) -> Answer {
        let timestamp_s = unix_ms.div_euclid(1_000);
        let mut request = self
            .client
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header(signature::ID, &message.id)
            .header(signature::TIMESTAMP, timestamp_s);
        if let Some(signer) = &self.signer {
            request = request.header(signature::SIGNATURE, signer.sign(&message.id, timestamp_s, &message.body));
        }
        match request.body(message.body.clone()).send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                let retry_after = retry_after(response.headers(), unix_ms);
                let location = response.status().is_redirection();
                let preview = match tokio::time::timeout(REST_OF_ANSWER, start_of(response)).await {
                    _ if location => "(redirects are not followed: write the target as url)".to_owned(),
                    Ok(text) => self.presentable(&text),
                    Err(_) => String::new(),
                };
                Answer::Status { status, retry_after, preview }
            }
            Err(error) if error.is_timeout() => Answer::Timeout,
            Err(error) => Answer::Unreachable { message: explain(&error) },
        }
    }

    /// One line, short, without control characters and without any of our secrets.
    fn presentable(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret.expose()) {
                text = text.replace(secret.expose(), "***");
            }
        }
        let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
        let line = words.collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(PREVIEW_LIMIT) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    }
}

/// What an answer must not show us again: the secrets and their words, and the parts of the URL that may be secret.
/// Longer ones first, so that no part of one is left. What is too short to be a secret would only garble the text.
fn hidden<'a>(url: &'a Url, secrets: impl Iterator<Item = &'a Secret>) -> Vec<Secret> {
    let secrets = secrets.flat_map(|secret| [secret.expose()].into_iter().chain(secret.expose().split_whitespace()));
    let path = url.path().split('/').chain([url.path(), url.username()]).chain(url.password()).chain(url.query());
    let query = url.query().unwrap_or_default().split(['&', '=']);
    let mut texts: Vec<&str> = secrets.chain(path).chain(query).filter(|text| text.len() >= 6).collect();
    texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
    texts.dedup();
    texts.into_iter().map(Secret::new).collect()
}

fn check_url(spec: &DestinationSpec, url: &Secret) -> Result<Url, DeliverError> {
    let fail = |message: &str| DeliverError::Url { destination: spec.name.clone(), message: message.to_owned() };
    let parsed = Url::parse(url.expose()).map_err(|error| fail(&error.to_string()))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(fail("it begins neither with http:// nor with https://"));
    }
    let literal = match parsed.host() {
        None => return Err(fail("it names no host")),
        Some(url::Host::Domain(_)) => None,
        Some(url::Host::Ipv4(address)) => Some(address.into()),
        Some(url::Host::Ipv6(address)) => Some(address.into()),
    };
    match literal.map(|address| (address, address::kind(address))) {
        Some((address, kind)) if !kind.allowed(spec.allow_private) => {
            Err(DeliverError::Address { destination: spec.name.clone(), address, kind: kind.name() })
        }
        _ => Ok(parsed),
    }
}

fn check_headers(spec: &DestinationSpec, headers: &[(String, Secret)]) -> Result<HeaderMap, DeliverError> {
    let mut map = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    for (header, value) in headers {
        let fail = |message| DeliverError::Header { destination: spec.name.clone(), header: header.clone(), message };
        let name: HeaderName = header.parse().map_err(|_| fail("is not a header's name"))?;
        if RESERVED.contains(&name.as_str()) {
            return Err(fail("is set by Headwater"));
        }
        let mut value: HeaderValue =
            value.expose().parse().map_err(|_| fail("has a value that cannot stand in a header"))?;
        value.set_sensitive(true);
        map.insert(name, value);
    }
    Ok(map)
}

/// The first bytes of an answer's body. Read to its end where it is short, so that the connection can serve again.
async fn start_of(mut response: Response) -> String {
    let mut start = Vec::new();
    while start.len() < ANSWER_LIMIT {
        match response.chunk().await {
            Ok(Some(chunk)) => start.extend_from_slice(&chunk[..chunk.len().min(ANSWER_LIMIT - start.len())]),
            Ok(None) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&start).into_owned()
}

/// Why a call did not get an answer, without its URL.
fn explain(error: &reqwest::Error) -> String {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return refused.to_string();
        }
        if let Some(error) = error.downcast_ref::<io::Error>()
            && error.get_ref().is_none()
        {
            return error.kind().to_string();
        }
        cause = error.source();
    }
    let text = innermost(error);
    if error.is_connect() { format!("could not connect: {text}") } else { text }
}

/// The last error of the chain: the one that knows. The outer ones name the URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    let mut text = "the request failed".to_owned();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}
