//! A stub of HubSpot's CRM: the batch read of contacts (API v3) with HubSpot's own shapes, quotas and slowness. It
//! can die and come back.
//!
//! Ids are user ids as traffic makes them (`u_0042`) or plain numbers; with `idProperty` the value of that property
//! (`email`, `user_id`, `external_id`), and then `id` in the answer is the record's own number.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    contacts::{Contact, contact, mix},
    stub::Stub,
};
use crate::{clock, deliver::body::rfc3339, secret::Secret, topology::Rate};

/// Inputs per batch read, as HubSpot has it.
const BATCH_LIMIT: usize = 100;
/// Record ids are these and the contact's number.
const FIRST_RECORD: u64 = 100_001;
/// 2024-01-01, when the first contact was created. Milliseconds since 1970 UTC.
const FOUNDED_MS: i64 = 1_704_067_200_000;
/// Given when no properties are asked for.
const DEFAULT_PROPERTIES: [&str; 3] = ["email", "firstname", "lastname"];

/// How the stub is set up.
#[derive(Debug, Clone)]
pub struct CrmOptions {
    /// The private app's token that requests must bear.
    pub token: Secret,
    /// How long each answer takes.
    pub latency: Duration,
    /// Contacts 0 to this exist.
    pub population: u64,
    /// In any window, not per clock tick: `TEN_SECONDLY_ROLLING`.
    pub quota: Rate,
}

impl Default for CrmOptions {
    fn default() -> Self {
        CrmOptions {
            token: Secret::new("demo"),
            latency: Duration::from_millis(1_200),
            population: 2_000,
            quota: Rate { count: 100, per: Duration::from_secs(10) },
        }
    }
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CrmCounts {
    /// Requests, whatever became of them.
    pub requests: u64,
    pub unauthorized: u64,
    /// Answered 429.
    pub limited: u64,
    /// Contacts asked for in requests that were served.
    pub asked: u64,
    pub found: u64,
    pub not_found: u64,
}

/// A running CRM.
pub struct Crm {
    stub: Stub,
    office: Arc<Office>,
}

struct Office {
    authorization: Secret,
    population: u64,
    quota: Rate,
    state: Mutex<Desk>,
}

struct Desk {
    latency: Duration,
    counts: CrmCounts,
    /// When the requests of the current window came.
    window: VecDeque<Instant>,
}

#[derive(Deserialize)]
struct BatchRead {
    inputs: Vec<Input>,
    #[serde(default)]
    properties: Vec<String>,
    #[serde(default, rename = "idProperty")]
    id_property: Option<String>,
}

#[derive(Deserialize)]
struct Input {
    id: String,
}

impl Crm {
    /// Serves on the preferred port, or on a free one.
    pub async fn start(preferred_port: Option<u16>, options: CrmOptions) -> io::Result<Self> {
        let office = Arc::new(Office {
            authorization: Secret::new(format!("Bearer {}", options.token.expose())),
            population: options.population,
            quota: options.quota,
            state: Mutex::new(Desk { latency: options.latency, counts: CrmCounts::default(), window: VecDeque::new() }),
        });
        let router = Router::new()
            .route("/crm/v3/objects/contacts/batch/read", post(batch_read))
            .fallback(async || problem(StatusCode::NOT_FOUND, 0, "OBJECT_NOT_FOUND", "resource not found", json!({})))
            .with_state(office.clone());
        Ok(Crm { stub: Stub::start(preferred_port, router).await?, office })
    }

    /// What to write as a service's base_url.
    pub fn url(&self) -> String {
        self.stub.url()
    }

    /// The server: its address, and its life.
    pub fn stub(&self) -> &Stub {
        &self.stub
    }

    /// Dead, it resets connections.
    pub fn set_alive(&self, alive: bool) {
        self.stub.set_alive(alive);
    }

    /// How long each answer takes from now on.
    pub fn set_latency(&self, latency: Duration) {
        self.office.state.lock().latency = latency;
    }

    /// What was asked so far.
    pub fn counts(&self) -> CrmCounts {
        self.office.state.lock().counts
    }
}

async fn batch_read(State(office): State<Arc<Office>>, headers: HeaderMap, body: axum::body::Bytes) -> Response {
    let started_ms = clock::unix_ms();
    let (number, latency, admitted) = office.admit(&headers, clock::now());
    let remaining = match admitted {
        Ok(remaining) => remaining,
        Err(refusal) => return *refusal,
    };
    tokio::time::sleep(latency).await;
    let request = match serde_json::from_slice::<BatchRead>(&body) {
        Ok(request) if request.inputs.len() <= BATCH_LIMIT => request,
        Ok(request) => {
            let message = format!(
                "The maximum number of inputs supported in a batch request for this API is {BATCH_LIMIT}. Received {}.",
                request.inputs.len()
            );
            return problem(StatusCode::BAD_REQUEST, number, "VALIDATION_ERROR", &message, json!({}));
        }
        Err(error) => {
            let message = format!("Invalid input JSON on line {}, column {}: {error}", error.line(), error.column());
            return problem(StatusCode::BAD_REQUEST, number, "VALIDATION_ERROR", &message, json!({}));
        }
    };
    let (status, answer) = office.read(&request, started_ms);
    let mut response = (status, Json(answer)).into_response();
    office.quota_headers(response.headers_mut(), remaining);
    response
}

impl Office {
    /// Token and quota. The request's number, how long to take, and what is left of the window, or the refusal.
    fn admit(&self, headers: &HeaderMap, now: Instant) -> (u64, Duration, Result<u32, Box<Response>>) {
        let mut desk = self.state.lock();
        desk.counts.requests += 1;
        let (number, latency) = (desk.counts.requests, desk.latency);
        let authorized = headers
            .get("authorization")
            .is_some_and(|value| value.as_bytes() == self.authorization.expose().as_bytes());
        if !authorized {
            desk.counts.unauthorized += 1;
            let message = "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview";
            let refusal = problem(StatusCode::UNAUTHORIZED, number, "INVALID_AUTHENTICATION", message, json!({}));
            return (number, latency, Err(Box::new(refusal)));
        }
        while desk.window.front().is_some_and(|at| now.saturating_duration_since(*at) >= self.quota.per) {
            desk.window.pop_front();
        }
        if desk.window.len() >= self.quota.count as usize {
            desk.counts.limited += 1;
            let extra = json!({
                "errorType": "RATE_LIMIT",
                "policyName": "TEN_SECONDLY_ROLLING",
                "groupName": "publicapi:private-apps:headwater-development",
            });
            let message = "You have reached your ten_secondly_rolling limit.";
            let mut refusal = problem(StatusCode::TOO_MANY_REQUESTS, number, "RATE_LIMITS", message, extra);
            self.quota_headers(refusal.headers_mut(), 0);
            return (number, latency, Err(Box::new(refusal)));
        }
        desk.window.push_back(now);
        (number, latency, Ok(self.quota.count - desk.window.len() as u32))
    }

    fn quota_headers(&self, headers: &mut HeaderMap, remaining: u32) {
        headers.insert("x-hubspot-ratelimit-max", HeaderValue::from(self.quota.count));
        headers.insert("x-hubspot-ratelimit-remaining", HeaderValue::from(remaining));
        let interval_ms = u64::try_from(self.quota.per.as_millis()).unwrap_or(u64::MAX);
        headers.insert("x-hubspot-ratelimit-interval-milliseconds", HeaderValue::from(interval_ms));
    }

    /// 200 with all contacts, or 207 with those that exist and an error that names the others.
    fn read(&self, request: &BatchRead, started_ms: i64) -> (StatusCode, Value) {
        let mut results = Vec::with_capacity(request.inputs.len());
        let mut missing = Vec::new();
        for Input { id } in &request.inputs {
            match self.find(id, request.id_property.as_deref()) {
                Some(contact) => results.push(result(&contact, id, request)),
                None => missing.push(id.as_str()),
            }
        }
        {
            let counts = &mut self.state.lock().counts;
            counts.asked += request.inputs.len() as u64;
            counts.found += results.len() as u64;
            counts.not_found += missing.len() as u64;
        }
        let mut answer = json!({
            "status": "COMPLETE",
            "results": results,
            "startedAt": rfc3339(started_ms),
            "completedAt": rfc3339(clock::unix_ms()),
        });
        if missing.is_empty() {
            return (StatusCode::OK, answer);
        }
        answer["numErrors"] = json!(1);
        answer["errors"] = json!([{
            "status": "error",
            "category": "OBJECT_NOT_FOUND",
            "message": "Could not get some CONTACT objects, they may be deleted or not exist. Check that ids are valid.",
            "context": { "ids": missing },
        }]);
        (StatusCode::MULTI_STATUS, answer)
    }

    fn find(&self, id: &str, id_property: Option<&str>) -> Option<Contact> {
        let number = match id_property {
            // The email's name ends with the number.
            Some("email") => {
                let name = id.split('@').next()?;
                name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok()?
            }
            _ => id.strip_prefix("u_").unwrap_or(id).parse().ok()?,
        };
        let contact = (number < self.population).then(|| contact(number))?;
        match id_property {
            Some(property) => (contact.property(property)?? == id).then_some(contact),
            None => Some(contact),
        }
    }
}

fn result(contact: &Contact, id: &str, request: &BatchRead) -> Value {
    let created_ms = FOUNDED_MS + (mix(contact.number) % (500 * 86_400_000)) as i64;
    let updated_ms = created_ms + (mix(contact.number + 1) % (100 * 86_400_000)) as i64;
    let record = match request.id_property {
        Some(_) => (FIRST_RECORD + contact.number).to_string(),
        None => id.to_owned(),
    };
    let asked = request.properties.iter().map(String::as_str);
    let defaults = DEFAULT_PROPERTIES.iter().copied().filter(|_| request.properties.is_empty());
    let mut properties: Map<String, Value> = asked
        .chain(defaults)
        .filter_map(|name| Some((name.to_owned(), contact.property(name)?.map_or(Value::Null, Value::String))))
        .collect();
    properties.insert("createdate".to_owned(), rfc3339(created_ms).into());
    properties.insert("hs_object_id".to_owned(), record.clone().into());
    properties.insert("lastmodifieddate".to_owned(), rfc3339(updated_ms).into());
    json!({
        "id": record,
        "properties": properties,
        "createdAt": rfc3339(created_ms),
        "updatedAt": rfc3339(updated_ms),
        "archived": false,
    })
}

/// An error as HubSpot writes one.
fn problem(status: StatusCode, number: u64, category: &str, message: &str, extra: Value) -> Response {
    let mut body = json!({
        "status": "error",
        "message": message,
        "correlationId": format!("00000000-0000-4000-8000-{number:012x}"),
        "category": category,
    });
    if let (Some(body), Value::Object(extra)) = (body.as_object_mut(), extra) {
        body.extend(extra);
    }
    (status, Json(body)).into_response()
}
