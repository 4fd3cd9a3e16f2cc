//! Salesforce records: by id with sObject collections, by another field with SOQL.
//!
//! Formats: "REST API Developer Guide": "Get Multiple Records with Fewer Round-Trips"
//! (`POST /services/data/vXX.X/composite/sobjects/<object>`, records in the order of the ids, null for none),
//! "Query" (`GET /services/data/vXX.X/query?q=…`, `nextRecordsUrl` while not done) and "Limit Info Header".
//!
//! The calls of the whole organisation are limited over the last 24 hours. When no more than the reserve is left, the
//! service stops calling (`rate_limited`) and looks again every five minutes.

mod answer;
mod soql;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use futures::{FutureExt, future::BoxFuture};
use reqwest::{
    Client, RequestBuilder, StatusCode,
    header::{AUTHORIZATION, HeaderMap},
};
use serde_json::{Value as Json, json};
use url::{Host, Url, form_urlencoded::byte_serialize};

use crate::{
    policy::{Call, CallError, Found, Key, Kind, Limit, Response},
    topology::{OAuthSpec, SalesforceGrant, SalesforceSpec},
};

use super::{
    Column, ServiceError,
    jwt::Signer,
    oauth::{Grant, Token, Tokens},
    wire,
};

/// Most ids of one collection, as Salesforce has it.
const MAX_IDS: usize = 2_000;
/// Most values of one query here: they stand in an address.
const MAX_VALUES: usize = 200;
/// Most requests for one batch: queries, and pages of their answers.
const MAX_REQUESTS: usize = 16;
/// Largest answer that is read: 2,000 records of 4 kB.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// Salesforce, ready to be called. Its keys are record ids, or values of the `id_field`.
pub(super) struct Salesforce {
    inner: Arc<Inner>,
}

struct Inner {
    service: Arc<str>,
    client: Client,
    tokens: Tokens,
    /// `/services/data/v62.0`
    data: String,
    lookup: Lookup,
    columns: Vec<Column>,
    reserve_percent: f64,
    /// No more than the reserve is left, and that has been said.
    near_limit: AtomicBool,
    /// Keys that are no ids have been spoken of.
    strange_ids: AtomicBool,
}

/// How records are found.
enum Lookup {
    Collection { path: String, fields: Vec<String> },
    Query { query: soql::Query, key_field: String },
}

/// The most keys of one call.
pub(super) fn max_batch(spec: &SalesforceSpec, columns: &[Column]) -> usize {
    if needs_query(spec, columns) { MAX_VALUES } else { MAX_IDS }
}

/// Collections know neither other keys nor relationships.
fn needs_query(spec: &SalesforceSpec, columns: &[Column]) -> bool {
    spec.id_field.is_some() || columns.iter().any(|column| column.from.contains('.'))
}

impl Salesforce {
    /// Prepares the client, the key that signs, and what is asked for.
    pub fn new(service: &str, spec: &SalesforceSpec, columns: Vec<Column>) -> Result<Self, ServiceError> {
        let token_url = format!("{}/services/oauth2/token", spec.login_url);
        Url::parse(&token_url)
            .map_err(|error| ServiceError::Url { service: service.into(), message: error.to_string() })?;
        let client = wire::client().map_err(|error| ServiceError::client(service, &error))?;
        let client_id = spec.client_id.clone();
        let grant = match &spec.grant {
            SalesforceGrant::ClientCredentials { client_secret } => Grant::ClientCredentials(OAuthSpec {
                token_url,
                client_id,
                client_secret: client_secret.clone(),
                scope: None,
                audience: None,
                in_body: true,
            }),
            SalesforceGrant::JwtBearer { username, private_key, audience } => {
                // A variable that was left open is judged by the run that has it.
                if !private_key.value.expose().starts_with("${") {
                    Signer::from_pem(private_key.value.expose())
                        .map_err(|error| ServiceError::Key { service: service.into(), message: error.to_string() })?;
                }
                let (username, audience, key) = (username.clone(), audience.clone(), private_key.clone());
                Grant::JwtBearer { token_url, client_id, username, audience, key }
            }
        };
        let key_field = spec.id_field.clone().unwrap_or_else(|| "Id".to_owned());
        let mut fields = vec!["Id".to_owned()];
        for name in [&*key_field].into_iter().chain(columns.iter().map(|column| &*column.from)) {
            if !fields.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                fields.push(name.to_owned());
            }
        }
        let data = format!("/services/data/{}", spec.api_version);
        let lookup = if needs_query(spec, &columns) {
            Lookup::Query { query: soql::Query::new(&spec.object, &key_field, &fields), key_field }
        } else {
            Lookup::Collection { path: format!("{data}/composite/sobjects/{}", spec.object), fields }
        };
        Ok(Salesforce {
            inner: Arc::new(Inner {
                service: service.into(),
                tokens: Tokens::new(service.into(), client.clone(), grant),
                client,
                data,
                lookup,
                columns,
                reserve_percent: spec.reserve_percent,
                near_limit: AtomicBool::new(false),
                strange_ids: AtomicBool::new(false),
            }),
        })
    }
}

impl Call for Salesforce {
    fn call(&self, keys: Vec<Key>) -> BoxFuture<'static, Response> {
        let inner = self.inner.clone();
        async move {
            let mut limits = Vec::new();
            let answers = match &inner.lookup {
                Lookup::Collection { path, fields } => inner.collect(&keys, path, fields, &mut limits).await,
                Lookup::Query { query, key_field } => inner.query(&keys, query, key_field, &mut limits).await,
            };
            Response { answers, limits }
        }
        .boxed()
    }
}

type Answers = Result<Vec<Result<Found, CallError>>, CallError>;

impl Inner {
    /// By id, all at once.
    async fn collect(&self, keys: &[Key], path: &str, fields: &[String], limits: &mut Vec<Limit>) -> Answers {
        let (indexes, ids): (Vec<usize>, Vec<&str>) =
            keys.iter().enumerate().filter(|(_, key)| self.is_id(key)).map(|(index, key)| (index, &**key)).unzip();
        let mut answers = vec![Ok(None); keys.len()];
        if ids.is_empty() {
            return Ok(answers);
        }
        let body = json!({ "ids": ids, "fields": fields });
        let request = |base: &str| self.client.post(format!("{base}{path}")).json(&body);
        let records = match self.ask(request, limits).await? {
            Json::Array(records) if records.len() == ids.len() => records,
            _ => return Err(bad("the answer is not one record for each id")),
        };
        for ((index, id), record) in indexes.into_iter().zip(ids).zip(&records) {
            answers[index] = match record {
                Json::Null => Ok(None),
                // Nobody must get another's record, whatever order the answer is in.
                record
                    if answer::field(record, "Id").and_then(Json::as_str).is_some_and(|found| same_id(found, id)) =>
                {
                    answer::values(record, &self.columns).map(Some)
                }
                _ => Err(bad("the record is not the one that was asked for")),
            };
        }
        Ok(answers)
    }

    /// By a field, in as many queries as fit into addresses. What fails costs the keys of its own query.
    async fn query(&self, keys: &[Key], query: &soql::Query, key_field: &str, limits: &mut Vec<Limit>) -> Answers {
        let by_id = key_field.eq_ignore_ascii_case("id");
        let (indexes, asked): (Vec<usize>, Vec<Key>) = keys
            .iter()
            .enumerate()
            .filter(|(_, key)| !by_id || self.is_id(key))
            .map(|(index, key)| (index, key.clone()))
            .unzip();
        let mut answers = vec![Ok(None); keys.len()];
        let (mut budget, mut failures) = (MAX_REQUESTS, 0);
        let chunks = query.chunks(&asked);
        let mut last = None;
        for chunk in &chunks {
            match self.records(&chunk.soql, &mut budget, limits).await {
                Ok(records) => {
                    let mut found = HashMap::with_capacity(records.len() * 2);
                    for record in &records {
                        let Some(value) = answer::field(record, key_field).and_then(text) else { continue };
                        // The first of several: they come by id, the oldest first.
                        found.entry(fold(&value, by_id)).or_insert(record);
                    }
                    for key in &chunk.keys {
                        if let Some(record) = found.get(&fold(&asked[*key], by_id)) {
                            answers[indexes[*key]] = answer::values(record, &self.columns).map(Some);
                        }
                    }
                }
                Err(error) => {
                    failures += 1;
                    chunk.keys.iter().for_each(|key| answers[indexes[*key]] = Err(error.clone()));
                    last = Some(error);
                }
            }
        }
        match last {
            Some(error) if failures == chunks.len() => Err(error),
            _ => Ok(answers),
        }
    }

    /// All records of one query.
    async fn records(&self, soql: &str, budget: &mut usize, limits: &mut Vec<Limit>) -> Result<Vec<Json>, CallError> {
        let query: String = byte_serialize(soql.as_bytes()).collect();
        let mut path = format!("{}/query?q={query}", self.data);
        let mut records = Vec::new();
        loop {
            *budget = budget.checked_sub(1).ok_or_else(|| {
                CallError::new(Kind::Limited, format!("one batch would need more than {MAX_REQUESTS} requests"))
            })?;
            let mut page = self.ask(|base| self.client.get(format!("{base}{path}")), limits).await?;
            match page.get_mut("records").map(Json::take) {
                Some(Json::Array(more)) => records.extend(more),
                _ => return Err(bad("the answer holds no records")),
            }
            match page.get("nextRecordsUrl").and_then(Json::as_str) {
                None => return Ok(records),
                Some(next) if is_path(next) => path = next.to_owned(),
                // A host in it would get the token.
                Some(_) => return Err(bad("nextRecordsUrl is no path of the API")),
            }
        }
    }

    /// One request, once more with a new token where the session has expired.
    async fn ask(&self, request: impl Fn(&str) -> RequestBuilder, limits: &mut Vec<Limit>) -> Result<Json, CallError> {
        let mut renewed = false;
        loop {
            let token = self.tokens.get().await?;
            let request = request(&instance(&token)?).header(AUTHORIZATION, token.authorization.clone());
            let answer = wire::fetch_explained(request, MAX_BODY).await?;
            limits.extend(self.stop(&answer.headers));
            match answer::judge(&answer) {
                Ok(()) => {
                    token.has_worked();
                    return answer.body;
                }
                Err(error) if answer.status == StatusCode::UNAUTHORIZED => {
                    self.tokens.refused(&token, &error);
                    if renewed {
                        return Err(error);
                    }
                    renewed = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Stops the calls when no more than the reserve is left of the day's.
    fn stop(&self, headers: &HeaderMap) -> Option<Limit> {
        let usage = answer::usage(headers)?;
        let (near, service) = (usage.is_near(self.reserve_percent), &*self.service);
        if near != self.near_limit.swap(near, Relaxed) {
            let (used, limit) = (usage.used, usage.limit);
            if near {
                let minutes = answer::LOOK_AGAIN.as_secs() / 60;
                tracing::warn!(
                    service,
                    used,
                    limit,
                    minutes,
                    "Salesforce's calls of 24 hours are nearly used up: calling stops, and looks again after some minutes"
                );
            } else {
                tracing::info!(service, used, limit, "Salesforce's calls have come back: calling again");
            }
        }
        near.then_some(Limit { remaining: 0, window: answer::LOOK_AGAIN, resets_in: Some(answer::LOOK_AGAIN) })
    }

    /// Whether it can be a record's id; what cannot exists nowhere, and would spoil the batch.
    fn is_id(&self, key: &str) -> bool {
        let fine = matches!(key.len(), 15 | 18) && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !fine && !self.strange_ids.swap(true, Relaxed) {
            let service = &*self.service;
            tracing::warn!(service, "an input is no Salesforce id, hence not found: is id_field to be set?");
        }
        fine
    }
}

/// Ids of 15 characters and of 18 (three of checksum) name the same record.
fn same_id(a: &str, b: &str) -> bool {
    a.get(..15).zip(b.get(..15)).is_some_and(|(a, b)| a == b)
}

/// What a value is found by: ids by their first 15 characters, others without regard to case, as Salesforce compares.
fn fold(value: &str, by_id: bool) -> String {
    if by_id { value.chars().take(15).collect() } else { value.to_lowercase() }
}

fn text(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn is_path(next: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    next.starts_with("/services/data/") && next.len() <= 512 && next.bytes().all(plain)
}

/// Where the token says that the organisation is: https, or this machine.
fn instance(token: &Token) -> Result<String, CallError> {
    let url = token.instance_url.as_deref().and_then(|url| Url::parse(url).ok());
    let url = url.ok_or_else(|| bad("the token says no instance_url"))?;
    let here = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(host)) => host == "localhost",
        None => false,
    };
    if url.scheme() == "https" || (url.scheme() == "http" && here) {
        return Ok(url.origin().ascii_serialization());
    }
    Err(bad("the token's instance_url is not https"))
}

fn bad(message: &str) -> CallError {
    CallError::new(Kind::BadResponse, message)
}

#[cfg(test)]
mod tests;
