//! Services: defaults filled in, addresses and templates checked.

use std::{net::IpAddr, sync::Arc, time::Duration};

use url::{Host, Url};

use super::{
    codes,
    credentials::{OAuthSpec, SalesforceSpec, SecretSource},
    decode::{Table, Text},
    diagnostic::Findings,
    model::{Auth, BatchSpec, BreakerSpec, CacheSpec, HttpSpec, HubSpotSpec, RedisSpec, ServiceKind, ServiceSpec},
    raw::{RawAuth, RawBatch, RawOAuth},
    raw_service::{HttpKeys, HubSpotKeys, RawCache, ServiceBody, ServiceKeys},
    salesforce,
    yaml::Span,
};
use crate::secret::Secret;

/// HubSpot's public address.
const HUBSPOT_URL: &str = "https://api.hubapi.com";

/// Fills in one service. `span` is its place, for findings that have no better one.
pub(super) fn build(
    name: &str,
    keys: &ServiceKeys,
    body: &ServiceBody,
    span: Span,
    findings: &mut Findings,
) -> ServiceSpec {
    let kind = match body {
        ServiceBody::HubSpot(keys) => hubspot(keys, findings),
        ServiceBody::Http(http) => {
            if keys.batch.is_some() {
                let message = format!("service \"{name}\" is of type http, which takes one request per call");
                findings.error(codes::HW107, span, message, "Leave batch out");
            }
            http_kind(name, http, span, findings)
        }
        ServiceBody::Salesforce(keys) => salesforce::build(name, keys, span, findings),
    };
    let batch = match (&kind, &keys.batch) {
        (ServiceKind::Http(_), _) => None,
        (kind, batch) => Some(batch_spec(batch.as_ref(), largest_batch(kind))),
    };
    let breaker = keys.breaker.as_ref();
    ServiceSpec {
        name: name.into(),
        kind,
        rate_limit: keys.rate_limit.map(|rate| rate.value),
        batch,
        cache: match &keys.cache {
            Some(RawCache::Off) => None,
            Some(RawCache::On(keys)) => Some(CacheSpec {
                ttl: keys.ttl.map_or(DEFAULT_CACHE.ttl, |ttl| ttl.value),
                stale: keys.stale.map_or(DEFAULT_CACHE.stale, |stale| stale.value),
                not_found: keys.not_found.map_or(DEFAULT_CACHE.not_found, |time| time.value),
                entries: keys.entries.map_or(DEFAULT_CACHE.entries, |entries| entries.value),
            }),
            None => Some(DEFAULT_CACHE),
        },
        breaker: BreakerSpec {
            failures: at_least_one(breaker.and_then(|breaker| breaker.failures).map(|whole| whole.value), 5),
            open: breaker.and_then(|breaker| breaker.open).map_or(Duration::from_secs(10), |open| open.value),
        },
        failure_ttl: keys.failure_ttl.map_or(Duration::from_secs(5), |ttl| ttl.value),
        concurrency: at_least_one(keys.concurrency.map(|whole| whole.value), 64) as usize,
    }
}

const DEFAULT_CACHE: CacheSpec = CacheSpec {
    ttl: Duration::from_secs(5 * 60),
    stale: Duration::from_secs(60 * 60),
    not_found: Duration::from_secs(30),
    entries: 200_000,
};

/// The most requests that a service takes in one call.
fn largest_batch(kind: &ServiceKind) -> usize {
    match kind {
        // By another field the keys stand in a URL, whose length is bounded.
        ServiceKind::Salesforce(SalesforceSpec { id_field: Some(_), .. }) => 200,
        ServiceKind::Salesforce(_) => 2_000,
        ServiceKind::HubSpot(_) | ServiceKind::Redis(_) => 100,
        ServiceKind::Http(_) => 1,
    }
}

fn batch_spec(batch: Option<&RawBatch>, largest: usize) -> BatchSpec {
    let max = batch.and_then(|batch| batch.max).map(|whole| whole.value);
    let wait = batch.and_then(|batch| batch.wait).map(|wait| wait.value);
    BatchSpec { max: (at_least_one(max, 100) as usize).min(largest), wait: wait.unwrap_or(Duration::from_millis(5)) }
}

/// A HubSpot service of the development world, for a function that is bound to none.
pub(super) fn stub(name: &str, base_url: &str) -> ServiceSpec {
    let kind = ServiceKind::HubSpot(HubSpotSpec {
        token: Secret::new("dev"),
        base_url: base_url.trim_end_matches('/').to_owned(),
        id_property: None,
    });
    ServiceSpec { batch: Some(batch_spec(None, 100)), ..plain(name, kind) }
}

/// The terms of a service that writes none.
fn plain(name: &str, kind: ServiceKind) -> ServiceSpec {
    ServiceSpec {
        name: name.into(),
        kind,
        rate_limit: None,
        batch: None,
        cache: Some(DEFAULT_CACHE),
        breaker: BreakerSpec { failures: 5, open: Duration::from_secs(10) },
        failure_ttl: Duration::from_secs(5),
        concurrency: 64,
    }
}

/// The Redis of an attribution agent, on the terms of every service; a pipeline takes as many as there are.
pub(super) fn redis(name: &str, url: &Text, findings: &mut Findings) -> ServiceSpec {
    let is_redis = |url: &Url| {
        let database = url.path().trim_matches('/');
        matches!(url.scheme(), "redis" | "rediss")
            && url.has_host()
            && (database.is_empty() || database.parse::<i64>().is_ok())
    };
    if !url.placeholder && !Url::parse(&url.value).is_ok_and(|url| is_redis(&url)) {
        let message = format!("\"{}\" is no address of a Redis", url.raw);
        findings.error(codes::HW113, url.span, message, "Write redis://host:6379/0, or rediss:// with TLS");
    }
    let kind = ServiceKind::Redis(RedisSpec { url: Secret::new(url.value.clone()) });
    ServiceSpec { batch: Some(BatchSpec { max: 100, wait: Duration::from_millis(1) }), ..plain(name, kind) }
}

/// A count of which zero makes no sense.
pub(super) fn at_least_one(count: Option<u64>, default: u32) -> u32 {
    count.map_or(default, |count| u32::try_from(count).unwrap_or(u32::MAX).max(1))
}

fn hubspot(keys: &HubSpotKeys, findings: &mut Findings) -> ServiceKind {
    if let Some(base_url) = &keys.base_url {
        address(base_url, findings);
    }
    ServiceKind::HubSpot(HubSpotSpec {
        token: Secret::new(keys.token.value.clone()),
        base_url: keys.base_url.as_ref().map_or(HUBSPOT_URL, |url| &url.value).trim_end_matches('/').to_owned(),
        id_property: keys.id_property.as_ref().map(|text| text.value.clone()),
    })
}

fn http_kind(name: &str, keys: &HttpKeys, span: Span, findings: &mut Findings) -> ServiceKind {
    address(&keys.url, findings);
    let method = keys.method.as_ref().map_or("GET", |method| method.value.as_str()).to_ascii_uppercase();
    if let Some(written) = &keys.method
        && !["GET", "POST", "PUT"].contains(&method.as_str())
    {
        let message = format!("\"{}\" is no method of an http service", written.value);
        findings.error(codes::HW112, written.span, message, "There are GET, POST, PUT");
    }
    let result: Vec<(Arc<str>, String)> = keys
        .result
        .iter()
        .flat_map(|Table(entries)| entries)
        .map(|(field, pointer)| {
            if !pointer.placeholder && !pointer.value.is_empty() && !pointer.value.starts_with('/') {
                let message = format!("\"{}\" is no JSON pointer", pointer.raw);
                let fix = format!("Write \"/{}\"", pointer.raw.trim_start_matches("$.").replace('.', "/"));
                findings.error(codes::HW107, pointer.span, message, fix);
            }
            (field.value.as_str().into(), pointer.value.clone())
        })
        .collect();
    if result.is_empty() {
        let message = format!("service \"{name}\" has no key \"result\", which says what to take from the answer");
        findings.error(codes::HW105, span, message, "Write result: { level: /intent/level }");
    }
    if let Some(auth) = &keys.auth
        && [auth.bearer.is_some(), auth.basic.is_some(), auth.header.is_some(), auth.oauth.is_some()]
            .into_iter()
            .filter(|written| *written)
            .count()
            != 1
    {
        let message = format!("auth of service \"{name}\" is to be one of bearer, basic, header, oauth");
        findings.error(codes::HW107, span, message, "Write auth: { bearer: \"${TOKEN}\" }");
    }
    ServiceKind::Http(HttpSpec {
        method,
        url: keys.url.value.clone(),
        headers: headers(keys.headers.as_ref()),
        body: keys.body.as_ref().map(|body| body.value.clone()),
        auth: keys.auth.as_ref().and_then(|keys| auth(keys, findings)),
        result,
    })
}

/// Headers, whose values are secrets.
pub(super) fn headers(table: Option<&Table<Text>>) -> Vec<(String, Secret)> {
    table
        .iter()
        .flat_map(|Table(entries)| entries)
        .map(|(name, value)| (name.value.clone(), Secret::new(value.value.clone())))
        .collect()
}

fn auth(keys: &RawAuth, findings: &mut Findings) -> Option<Auth> {
    let secret = |text: &Text| Secret::new(text.value.clone());
    if let Some(bearer) = &keys.bearer {
        return Some(Auth::Bearer(secret(bearer)));
    }
    if let Some(basic) = &keys.basic {
        return Some(Auth::Basic { username: basic.username.value.clone(), password: secret(&basic.password) });
    }
    if let Some(oauth) = &keys.oauth {
        return Some(Auth::OAuth(self::oauth(oauth, findings)));
    }
    keys.header.as_ref().map(|header| Auth::Header { name: header.name.value.clone(), value: secret(&header.value) })
}

fn oauth(keys: &RawOAuth, findings: &mut Findings) -> OAuthSpec {
    token_address(&keys.token_url, findings);
    if let Some(word) = keys.credentials_in.as_ref().filter(|word| !["header", "body"].contains(&word.value.as_str())) {
        let message = format!("there is no place \"{}\" for credentials", word.value);
        findings.error(codes::HW112, word.span, message, "There are header, body");
    }
    OAuthSpec {
        token_url: keys.token_url.value.clone(),
        client_id: keys.client_id.value.clone(),
        client_secret: secret_source(&keys.client_secret),
        scope: keys.scope.as_ref().map(|scope| scope.value.clone()),
        audience: keys.audience.as_ref().map(|audience| audience.value.clone()),
        in_body: keys.credentials_in.as_ref().is_some_and(|word| word.value == "body"),
    }
}

/// A secret; the file it comes from is remembered where it is all that was written.
pub(super) fn secret_source(text: &Text) -> SecretSource {
    let path = text.raw.strip_prefix("${file:").and_then(|rest| rest.strip_suffix('}'));
    let file = path.filter(|path| !text.placeholder && !path.contains('}')).map(Into::into);
    SecretSource { value: Secret::new(text.value.clone()), file }
}

/// Checks an address to which secrets are sent.
pub(super) fn token_address(text: &Text, findings: &mut Findings) {
    if let Some(url) = address(text, findings)
        && url.scheme() == "http"
        && !is_private(&url)
    {
        let message = format!("secrets would go to \"{}\" in clear", text.raw);
        findings.error(codes::HW113, text.span, message, "Write https://…");
    }
}

/// Checks an http address. `None` is one that is not known here, or was reported.
pub(super) fn address(text: &Text, findings: &mut Findings) -> Option<Url> {
    if text.placeholder {
        return None;
    }
    match Url::parse(&text.value) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() => Some(url),
        _ => {
            let message = format!("\"{}\" is no address", text.raw);
            findings.error(codes::HW113, text.span, message, "Write https://host/path");
            None
        }
    }
}

/// Whether an address names this machine or a private network, as far as the text tells.
pub(super) fn is_private(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => is_private_ip(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => is_private_ip(IpAddr::V6(ip)),
        Some(Host::Domain(host)) => {
            let host = host.trim_end_matches('.');
            host == "localhost"
                || [".localhost", ".local", ".internal", ".svc", ".lan"].iter().any(|end| host.ends_with(end))
                || !host.contains('.')
        }
        None => false,
    }
}

fn is_private_ip(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(ip) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip.to_ipv4_mapped().is_some_and(|ip| is_private_ip(IpAddr::V4(ip)))
        }
    }
}

/// The `{name}` of a template; `${…}` is no such name.
pub(super) fn template_names(template: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        let variable = rest[..at].ends_with('$');
        let Some(end) = rest[at..].find('}') else { break };
        let name = &rest[at + 1..at + end];
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if is_name && !variable && !names.contains(&name) {
            names.push(name);
        }
        rest = &rest[at + 1..];
    }
    names
}

/// The `{name}` of a body's strings.
pub(super) fn body_names(body: &serde_json::Value) -> Vec<&str> {
    match body {
        serde_json::Value::String(text) => template_names(text),
        serde_json::Value::Array(values) => values.iter().flat_map(body_names).collect(),
        serde_json::Value::Object(entries) => entries.values().flat_map(body_names).collect(),
        _ => Vec::new(),
    }
}
