//! A schema registry inside the process, with Confluent's REST API and error codes, in memory:
//! <https://docs.confluent.io/platform/current/schema-registry/develop/api.html>. Avro only, without references.
//! Beyond 10,000 schemas it takes no more.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use super::registry_store::{Found, Refusal, Store};

/// A running registry, on this machine only.
pub struct Registry {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

impl Registry {
    /// Starts on that port of 127.0.0.1, or on a free one.
    pub async fn start(port: Option<u16>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port.unwrap_or(0))).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let until = async move {
                let _ = stopped.await;
            };
            if let Err(error) = axum::serve(listener, router()).with_graceful_shutdown(until).await {
                tracing::error!(%error, "the development registry stopped");
            }
        });
        Ok(Registry { address, stop: Some(stop), server })
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it; what it held is gone. Open connections that idle are cut.
    pub async fn shutdown(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        // A client's idle connection must not keep us: one turn to answer what is under way, then the end.
        tokio::task::yield_now().await;
        self.server.abort();
        let _ = (&mut self.server).await;
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

type Shared = State<Arc<Mutex<Store>>>;
type Answer = Result<Json<Value>, Refusal>;

fn router() -> Router {
    Router::new()
        .route("/", get(async || Json(json!({}))))
        .route("/schemas/types", get(async || Json(json!(["AVRO"]))))
        .route("/schemas/ids/{id}", get(schema))
        .route("/subjects", get(subjects))
        .route("/subjects/{subject}", post(find))
        .route("/subjects/{subject}/versions", get(versions).post(register))
        .route("/subjects/{subject}/versions/{version}", get(version))
        .route("/compatibility/subjects/{subject}/versions", post(compatible_with_all))
        .route("/compatibility/subjects/{subject}/versions/{version}", post(compatible_with_one))
        .route("/config", get(global_level).put(set_global_level))
        .route("/config/{subject}", get(level).put(set_level))
        .fallback(async || Refusal::new(404, 404, "HTTP 404 Not Found"))
        .with_state(Arc::new(Mutex::new(Store::default())))
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(json!({ "error_code": self.code, "message": self.message }))).into_response()
    }
}

/// What clients send to register, find or check a schema.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Posted {
    schema: String,
    #[serde(default)]
    schema_type: Option<String>,
    #[serde(default)]
    references: Option<Vec<Value>>,
}

impl Posted {
    /// The schema's text. Clients send their own media type, so the body is taken as bytes.
    fn read(body: &[u8]) -> Result<String, Refusal> {
        let posted: Posted = serde_json::from_slice(body)
            .map_err(|error| Refusal::new(422, 42_201, &format!("not a schema in JSON: {error}")))?;
        let avro = posted.schema_type.is_none_or(|kind| kind.eq_ignore_ascii_case("AVRO"));
        if !avro || posted.references.is_some_and(|references| !references.is_empty()) {
            let message = "the development registry takes Avro schemas without references";
            return Err(Refusal::new(422, 42_201, message));
        }
        Ok(posted.schema)
    }
}

#[derive(Deserialize)]
struct Level {
    compatibility: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    verbose: bool,
    default_to_global: bool,
}

async fn schema(State(store): Shared, Path(id): Path<u32>) -> Answer {
    let schema = store.lock().schema(id)?;
    Ok(Json(json!({ "schema": *schema })))
}

async fn subjects(State(store): Shared) -> Json<Value> {
    Json(store.lock().subjects().into())
}

async fn versions(State(store): Shared, Path(subject): Path<String>) -> Answer {
    Ok(Json(store.lock().versions(&subject)?.into()))
}

async fn version(State(store): Shared, Path((subject, version)): Path<(String, String)>) -> Answer {
    store.lock().version(&subject, &version).map(described)
}

async fn find(State(store): Shared, Path(subject): Path<String>, body: Bytes) -> Answer {
    let schema = Posted::read(&body)?;
    store.lock().find(&subject, &schema).map(described)
}

async fn register(State(store): Shared, Path(subject): Path<String>, body: Bytes) -> Answer {
    let schema = Posted::read(&body)?;
    let id = store.lock().register(&subject, &schema)?;
    Ok(Json(json!({ "id": id })))
}

async fn compatible_with_all(
    State(store): Shared,
    Path(subject): Path<String>,
    Query(options): Query<Options>,
    body: Bytes,
) -> Answer {
    let schema = Posted::read(&body)?;
    store.lock().incompatibilities(&subject, None, &schema).map(|messages| verdict(&options, messages))
}

async fn compatible_with_one(
    State(store): Shared,
    Path((subject, version)): Path<(String, String)>,
    Query(options): Query<Options>,
    body: Bytes,
) -> Answer {
    let schema = Posted::read(&body)?;
    store.lock().incompatibilities(&subject, Some(&version), &schema).map(|messages| verdict(&options, messages))
}

async fn global_level(State(store): Shared) -> Json<Value> {
    Json(json!({ "compatibilityLevel": store.lock().level(None) }))
}

async fn level(State(store): Shared, Path(subject): Path<String>, Query(options): Query<Options>) -> Answer {
    let store = store.lock();
    match store.own_level(&subject) {
        Some(level) => Ok(Json(json!({ "compatibilityLevel": level }))),
        None if options.default_to_global => Ok(Json(json!({ "compatibilityLevel": store.level(None) }))),
        None => {
            let message = format!("Subject '{subject}' does not have subject-level compatibility configured");
            Err(Refusal::new(404, 40_408, &message))
        }
    }
}

async fn set_global_level(State(store): Shared, body: Bytes) -> Answer {
    set(&store, None, &body)
}

async fn set_level(State(store): Shared, Path(subject): Path<String>, body: Bytes) -> Answer {
    set(&store, Some(&subject), &body)
}

fn set(store: &Mutex<Store>, subject: Option<&str>, body: &[u8]) -> Answer {
    let level: Level = serde_json::from_slice(body)
        .map_err(|error| Refusal::new(422, 42_203, &format!("not a compatibility level in JSON: {error}")))?;
    store.lock().set_level(subject, &level.compatibility)?;
    Ok(Json(json!({ "compatibility": level.compatibility })))
}

fn described(found: Found) -> Json<Value> {
    Json(json!({ "subject": found.subject, "version": found.version, "id": found.id, "schema": *found.schema }))
}

fn verdict(options: &Options, messages: Vec<String>) -> Json<Value> {
    let mut answer = json!({ "is_compatible": messages.is_empty() });
    if options.verbose {
        answer["messages"] = messages.into();
    }
    Json(answer)
}
