//! A stub of Salesforce: tokens by client credentials and JWT bearer, sObject collections and SOQL over the stub CRM's
//! people, with Salesforce's own shapes, sessions that expire and calls that are counted.
//!
//! `Contact` is the only object. Its fields are in `salesforce_record.rs`; ids have 15 characters, and 18 in answers.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    contacts::contact,
    salesforce_login::{self, Login},
    salesforce_record::{number_of, record},
    soql,
    stub::Stub,
};

/// Ids per collection, as Salesforce has it.
const MOST_IDS: usize = 2_000;
/// Answers that wait for their next page.
const MOST_LOCATORS: usize = 100;

/// How the stub is set up.
#[derive(Debug, Clone)]
pub struct SalesforceOptions {
    pub login: Login,
    /// How long each answer takes.
    pub latency: Duration,
    /// Contacts 0 to this exist.
    pub population: u64,
    /// Calls of 24 hours.
    pub daily_calls: u64,
    /// Records of one page of a query.
    pub page: usize,
}

impl Default for SalesforceOptions {
    fn default() -> Self {
        SalesforceOptions {
            login: Login::default(),
            latency: Duration::from_millis(300),
            population: 2_000,
            daily_calls: 100_000,
            page: 2_000,
        }
    }
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SalesforceCounts {
    /// Tokens issued.
    pub tokens: u64,
    /// Requests for one that were refused.
    pub logins_refused: u64,
    /// Calls of the API, whatever became of them.
    pub requests: u64,
    /// Of these, answered 401.
    pub unauthorized: u64,
    /// Of these, answered `REQUEST_LIMIT_EXCEEDED`.
    pub limited: u64,
}

/// A running organisation.
pub struct Salesforce {
    stub: Stub,
    org: Arc<Org>,
}

struct Org {
    population: u64,
    page: usize,
    state: Mutex<Desk>,
}

struct Desk {
    login: Login,
    latency: Duration,
    counts: SalesforceCounts,
    sessions: HashSet<String>,
    /// Calls that the sessions of the moment still take.
    expire_after: Option<u64>,
    used: u64,
    daily_calls: u64,
    /// By locator of the next page: the records of the whole answer, and those that are left.
    pages: HashMap<String, (usize, Vec<Value>)>,
}

impl Salesforce {
    /// Serves on the preferred port, or on a free one.
    pub async fn start(preferred_port: Option<u16>, options: SalesforceOptions) -> io::Result<Self> {
        let desk = Desk {
            login: options.login,
            latency: options.latency,
            counts: SalesforceCounts::default(),
            sessions: HashSet::new(),
            expire_after: None,
            used: 0,
            daily_calls: options.daily_calls,
            pages: HashMap::new(),
        };
        let org = Arc::new(Org { population: options.population, page: options.page.max(1), state: Mutex::new(desk) });
        let router = Router::new()
            .route("/services/oauth2/token", post(token))
            .route("/services/data/{version}/composite/sobjects/{object}", post(collection))
            .route("/services/data/{version}/query", get(query))
            .route("/services/data/{version}/query/{locator}", get(more))
            .fallback(async || failure(StatusCode::NOT_FOUND, "NOT_FOUND", "The requested resource does not exist"))
            .with_state(org.clone());
        Ok(Salesforce { stub: Stub::start(preferred_port, router).await?, org })
    }

    /// What to write as a service's login_url.
    pub fn url(&self) -> String {
        self.stub.url()
    }

    /// Dead, it resets connections.
    pub fn set_alive(&self, alive: bool) {
        self.stub.set_alive(alive);
    }

    /// How long each answer takes from now on.
    pub fn set_latency(&self, latency: Duration) {
        self.org.state.lock().latency = latency;
    }

    /// Who may log in from now on; sessions stay.
    pub fn set_login(&self, login: Login) {
        self.org.state.lock().login = login;
    }

    /// The sessions of the moment expire after so many more calls.
    pub fn expire_sessions_after(&self, calls: u64) {
        let mut desk = self.org.state.lock();
        desk.expire_after = Some(calls);
        if calls == 0 {
            desk.sessions.clear();
            desk.expire_after = None;
        }
    }

    /// So many calls of the day are used.
    pub fn set_used(&self, calls: u64) {
        self.org.state.lock().used = calls;
    }

    /// What was asked so far.
    pub fn counts(&self) -> SalesforceCounts {
        self.org.state.lock().counts
    }
}

async fn token(State(org): State<Arc<Org>>, headers: HeaderMap, body: String) -> Response {
    let latency = org.state.lock().latency;
    tokio::time::sleep(latency).await;
    let mut desk = org.state.lock();
    match salesforce_login::check(&desk.login, &headers, &body) {
        Ok(()) => {
            desk.counts.tokens += 1;
            let session = format!("00D000000000001!AQ.{:016x}", fastrand::u64(..));
            desk.sessions.insert(session.clone());
            let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1");
            Json(salesforce_login::issued(&session, &format!("http://{host}"))).into_response()
        }
        Err((error, description)) => {
            desk.counts.logins_refused += 1;
            let refusal = json!({ "error": error, "error_description": description });
            (StatusCode::BAD_REQUEST, Json(refusal)).into_response()
        }
    }
}

#[derive(Deserialize)]
struct Collection {
    ids: Vec<String>,
    fields: Vec<String>,
}

async fn collection(
    State(org): State<Arc<Org>>,
    Path((version, object)): Path<(String, String)>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    org.serve(&headers, || {
        if !object.eq_ignore_ascii_case("Contact") {
            return Err(failure(StatusCode::NOT_FOUND, "NOT_FOUND", "The requested resource does not exist"));
        }
        let request: Collection = serde_json::from_slice(&body)
            .map_err(|error| failure(StatusCode::BAD_REQUEST, "JSON_PARSER_ERROR", &error.to_string()))?;
        if request.ids.len() > MOST_IDS {
            let message = format!("Maximum of {MOST_IDS} ids exceeded");
            return Err(failure(StatusCode::BAD_REQUEST, "EXCEEDED_ID_LIMIT", &message));
        }
        if let Some(path) = request.fields.iter().find(|field| field.contains('.')) {
            return Err(no_column(path));
        }
        let records = request.ids.iter().map(|id| match number_of(id).filter(|number| *number < org.population) {
            None => Ok(Value::Null),
            Some(number) => chosen(number, &request.fields, &version),
        });
        records.collect::<Result<Vec<_>, _>>().map(Value::Array)
    })
    .await
}

async fn query(
    State(org): State<Arc<Org>>,
    Path(version): Path<String>,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    org.serve(&headers, || {
        let soql = parameters.get("q").map_or("", |q| q);
        let malformed =
            || failure(StatusCode::BAD_REQUEST, "MALFORMED_QUERY", &format!("\n{soql}\n^\nunexpected token"));
        let query = soql::parse(soql).ok_or_else(malformed)?;
        if !query.object.eq_ignore_ascii_case("Contact") {
            let message = format!("sObject type '{}' is not supported.", query.object);
            return Err(failure(StatusCode::BAD_REQUEST, "INVALID_TYPE", &message));
        }
        let unknown = |field: &&String| record(&contact(0), field).is_none();
        if let Some(field) = query.fields.iter().chain([&query.field]).find(unknown) {
            return Err(no_column(field));
        }
        let values: HashSet<String> = query.values.iter().map(|value| value.to_lowercase()).collect();
        let mut records = Vec::new();
        for number in 0..org.population {
            let value = record(&contact(number), &query.field).ok_or_else(|| no_column(&query.field))?;
            // The ids of an IN are known by their first 15 characters.
            let hit = match value.as_str() {
                Some(id) if query.field.eq_ignore_ascii_case("id") => {
                    query.values.iter().any(|value| value.get(..15) == id.get(..15))
                }
                Some(text) => values.contains(&text.to_lowercase()),
                None => false,
            };
            if hit {
                records.push(chosen(number, &query.fields, &version)?);
            }
        }
        if query.descending {
            records.reverse();
        }
        records.truncate(query.limit.unwrap_or(usize::MAX));
        let total = records.len();
        Ok(org.page(records, total, &version))
    })
    .await
}

async fn more(
    State(org): State<Arc<Org>>,
    Path((version, locator)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    org.serve(&headers, || {
        let (total, records) = org
            .state
            .lock()
            .pages
            .remove(&locator)
            .ok_or_else(|| failure(StatusCode::BAD_REQUEST, "INVALID_QUERY_LOCATOR", "invalid query locator"))?;
        Ok(org.page(records, total, &version))
    })
    .await
}

impl Org {
    /// Session and calls of the day, then the answer after the latency.
    async fn serve(&self, headers: &HeaderMap, answer: impl FnOnce() -> Result<Value, Failure>) -> Response {
        let (latency, admitted) = self.admit(headers);
        tokio::time::sleep(latency).await;
        let answer = admitted.and_then(|()| answer());
        let mut response = answer.map_or_else(Failure::into_response, |json| Json(json).into_response());
        let (used, limit) = {
            let desk = self.state.lock();
            (desk.used, desk.daily_calls)
        };
        if let Ok(usage) = HeaderValue::from_str(&format!("api-usage={used}/{limit}")) {
            response.headers_mut().insert("sforce-limit-info", usage);
        }
        response
    }

    fn admit(&self, headers: &HeaderMap) -> (Duration, Result<(), Failure>) {
        let mut desk = self.state.lock();
        desk.counts.requests += 1;
        let latency = desk.latency;
        if let Some(calls) = desk.expire_after {
            desk.expire_after = calls.checked_sub(1);
            if calls == 0 {
                desk.sessions.clear();
            }
        }
        let said = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let session = said.strip_prefix("Bearer ").or_else(|| said.strip_prefix("OAuth "));
        if !session.is_some_and(|session| desk.sessions.contains(session)) {
            desk.counts.unauthorized += 1;
            let refusal = failure(StatusCode::UNAUTHORIZED, "INVALID_SESSION_ID", "Session expired or invalid");
            return (latency, Err(refusal));
        }
        if desk.used >= desk.daily_calls {
            desk.counts.limited += 1;
            let refusal = failure(StatusCode::FORBIDDEN, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.");
            return (latency, Err(refusal));
        }
        desk.used += 1;
        (latency, Ok(()))
    }

    /// The first page of these records, and where the next is.
    fn page(&self, mut records: Vec<Value>, total: usize, version: &str) -> Value {
        let rest = records.split_off(records.len().min(self.page));
        let mut page = json!({ "totalSize": total, "done": rest.is_empty(), "records": records });
        if !rest.is_empty() {
            let locator = format!("01g{:012x}AAA-{}", fastrand::u64(..1 << 48), self.page);
            page["nextRecordsUrl"] = format!("/services/data/{version}/query/{locator}").into();
            let mut desk = self.state.lock();
            if desk.pages.len() >= MOST_LOCATORS {
                desk.pages.clear();
            }
            desk.pages.insert(locator, (total, rest));
        }
        page
    }
}

/// A record with these fields, across relationships too.
fn chosen(number: u64, fields: &[String], version: &str) -> Result<Value, Failure> {
    let contact = contact(number);
    let id = record(&contact, "Id").unwrap_or_default();
    let url = format!("/services/data/{version}/sobjects/Contact/{}", id.as_str().unwrap_or_default());
    let mut chosen = Map::from_iter([("attributes".to_owned(), json!({ "type": "Contact", "url": url }))]);
    for field in fields {
        let value = record(&contact, field).ok_or_else(|| no_column(field))?;
        match field.split_once('.') {
            None => {
                chosen.insert(field.clone(), value);
            }
            Some((relation, name)) => {
                let other = chosen.entry(relation).or_insert_with(|| json!({ "attributes": { "type": relation } }));
                other[name] = value;
            }
        }
    }
    Ok(Value::Object(chosen))
}

fn no_column(field: &str) -> Failure {
    let message = format!(
        "\nSELECT {field} FROM Contact\n       ^\nERROR at Row:1:Column:8\nNo such column '{field}' on entity 'Contact'. If you are attempting to use a custom field, be sure to append the '__c' after the custom field name."
    );
    failure(StatusCode::BAD_REQUEST, "INVALID_FIELD", &message)
}

/// An error as Salesforce writes one.
#[derive(Debug)]
struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
}

fn failure(status: StatusCode, code: &'static str, message: &str) -> Failure {
    Failure { status, code, message: message.to_owned() }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(json!([{ "message": self.message, "errorCode": self.code }]))).into_response()
    }
}
