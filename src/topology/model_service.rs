//! The checked services: connection, quota, breaker and cache of what agents call.

use std::{sync::Arc, time::Duration};

use super::credentials::{OAuthSpec, SalesforceSpec};
use crate::secret::Secret;

/// What an agent calls: connection, quota, breaker, cache.
#[derive(Debug, Clone)]
pub struct ServiceSpec {
    pub name: Arc<str>,
    pub kind: ServiceKind,
    /// Of the whole cluster; a worker gets its share.
    pub rate_limit: Option<Rate>,
    pub batch: Option<BatchSpec>,
    pub cache: Option<CacheSpec>,
    pub breaker: BreakerSpec,
    /// A request that has just failed is not sent again for so long.
    pub failure_ttl: Duration,
    /// Requests under way at once from one process.
    pub concurrency: usize,
}

#[derive(Debug, Clone)]
pub enum ServiceKind {
    HubSpot(HubSpotSpec),
    Http(HttpSpec),
    /// Campaign data of an attribution agent.
    Redis(RedisSpec),
    Salesforce(SalesforceSpec),
}

#[derive(Debug, Clone)]
pub struct HubSpotSpec {
    pub token: Secret,
    /// `https://api.hubapi.com` unless overridden (tests, proxies).
    pub base_url: String,
    /// HubSpot's `idProperty`: which property the agent's input holds. `None` is the record id.
    pub id_property: Option<String>,
}

#[derive(Debug, Clone)]
pub struct RedisSpec {
    /// `redis://[[user]:password@]host[:port][/database]`, or `rediss://` for TLS.
    pub url: Secret,
}

#[derive(Debug, Clone)]
pub struct HttpSpec {
    /// GET, POST, PUT.
    pub method: String,
    /// `{name}` is replaced by the agent's input of that name, percent-encoded.
    pub url: String,
    pub headers: Vec<(String, Secret)>,
    /// JSON text whose string values may hold `{name}`.
    pub body: Option<serde_json::Value>,
    pub auth: Option<Auth>,
    /// Result name → JSON pointer.
    pub result: Vec<(Arc<str>, String)>,
}

#[derive(Debug, Clone)]
pub enum Auth {
    Bearer(Secret),
    Basic {
        username: String,
        password: Secret,
    },
    Header {
        name: String,
        value: Secret,
    },
    /// A token that an issuer gives against a secret.
    OAuth(OAuthSpec),
}

/// So many in so long: `100/10s`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSpec {
    pub max: usize,
    pub wait: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSpec {
    pub ttl: Duration,
    /// How long past its time to live a value may still serve as a fallback.
    pub stale: Duration,
    /// How long a not-found is remembered.
    pub not_found: Duration,
    pub entries: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSpec {
    /// Opens after so many failures in a row.
    pub failures: u32,
    /// Probes after so long, doubling up to ten times as long.
    pub open: Duration,
}
