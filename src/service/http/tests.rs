//! Against a small server on the loopback interface.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use axum::{
    Router,
    extract::RawQuery,
    http::{HeaderMap as Headers, StatusCode, Uri},
    response::Redirect,
    routing::{any, get, post},
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{
    event::{Type, Value},
    topology::OAuthSpec,
};

fn spec(url: String) -> HttpSpec {
    HttpSpec {
        method: "GET".into(),
        url,
        headers: Vec::new(),
        body: None,
        auth: None,
        result: vec![("level".into(), "/intent/level".into()), ("topics".into(), "/intent/topics".into())],
    }
}

fn columns() -> Vec<Column> {
    vec![
        Column { from: "level".into(), ty: Type::Text },
        Column { from: "topics".into(), ty: Type::TextList },
        Column { from: "score".into(), ty: Type::Int },
    ]
}

async fn ask_with(spec: &HttpSpec, key: &str) -> Result<Found, CallError> {
    let service = Http::new("intent", spec, columns()).unwrap();
    let response = service.call(vec![key.into()]).await;
    response.answers.and_then(|mut answers| answers.remove(0))
}

async fn ask(router: Router) -> Result<Found, CallError> {
    let url = format!("{}/x", wire::serve(router).await);
    ask_with(&spec(url.clone()), &url).await
}

fn answers(body: serde_json::Value) -> Router {
    Router::new().route("/x", get(move || async move { axum::Json(body) }))
}

async fn kind_of(status: u16) -> Kind {
    let status = StatusCode::from_u16(status).unwrap();
    ask(Router::new().route("/x", get(move || async move { (status, "no") }))).await.unwrap_err().kind
}

#[tokio::test]
async fn values_are_read_where_the_pointers_say() {
    let answer = ask(answers(json!({"intent": {"level": "high", "topics": ["crm", "cdp"]}, "score": 7}))).await;
    let topics = Value::List(["crm", "cdp"].map(Value::text).into());
    assert_eq!(answer, Ok(Some(Arc::from([Value::text("high"), topics, Value::Int(7)]))));
    let answer = ask(answers(json!({"intent": {"level": null}}))).await;
    assert_eq!(answer, Ok(Some(Arc::from([Value::Null, Value::Null, Value::Null]))), "missing and null are null");
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_named() {
    let error = ask(answers(json!({"score": "many"}))).await.unwrap_err();
    assert_eq!(error.kind, Kind::BadResponse);
    assert_eq!(&*error.message, "field score (/score): text where an integer was expected");
}

#[tokio::test]
async fn statuses_become_kinds() {
    assert_eq!(kind_of(401).await, Kind::Rejected);
    assert_eq!(kind_of(403).await, Kind::Rejected);
    assert_eq!(kind_of(500).await, Kind::Transient);
    assert_eq!(kind_of(503).await, Kind::Transient);
    assert_eq!(kind_of(429).await, Kind::Limited);
    assert_eq!(ask(Router::new()).await, Ok(None), "404 is not found");
}

#[tokio::test]
async fn a_429_says_when_to_come_back() {
    let limited =
        Router::new().route("/x", get(|| async { (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")], "") }));
    assert_eq!(ask(limited).await.unwrap_err().retry_after, Some(Duration::from_secs(7)));
    let silent = Router::new().route("/x", get(|| async { StatusCode::TOO_MANY_REQUESTS }));
    assert_eq!(ask(silent).await.unwrap_err().retry_after, None);
}

#[tokio::test]
async fn html_broken_json_and_too_much_are_bad_responses() {
    let html = Router::new().route("/x", get(|| async { axum::response::Html("<h1>Maintenance</h1>") }));
    let error = ask(html).await.unwrap_err();
    assert_eq!((error.kind, &*error.message), (Kind::BadResponse, "answered \"text/html\" instead of JSON"));

    let broken =
        Router::new().route("/x", get(|| async { ([("content-type", "application/json")], "{\"a\": secret") }));
    let error = ask(broken).await.unwrap_err();
    assert_eq!(error.kind, Kind::BadResponse);
    assert!(!error.message.contains("secret"));

    let large = json!({"x": "y".repeat(wire::MAX_BODY)});
    assert_eq!(ask(answers(large)).await.unwrap_err().kind, Kind::BadResponse);
}

#[tokio::test]
async fn a_connection_that_fails_or_breaks_is_transient() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}/x?token=geheim");
    let error = ask_with(&spec(url.clone()), &url).await.unwrap_err();
    assert_eq!(error.kind, Kind::Transient);
    assert!(!error.message.contains("geheim"), "{}", error.message);

    let half = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"intent\":";
    for answer in ["", half] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let _ = socket.read(&mut [0; 1024]).await;
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        assert_eq!(ask_with(&spec(url.clone()), &url).await.unwrap_err().kind, Kind::Transient);
    }
}

#[tokio::test]
async fn a_body_is_sent_with_headers_and_credentials() {
    async fn echo(headers: Headers, RawQuery(query): RawQuery, body: String) -> axum::Json<serde_json::Value> {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        let level = format!("{} {} {}", header("authorization"), header("x-key"), header("content-type"));
        axum::Json(json!({"intent": {"level": level, "topics": [query, body]}}))
    }
    let base = wire::serve(Router::new().route("/x", post(echo))).await;
    let mut spec = HttpSpec {
        method: "post".into(),
        body: Some(json!({"domain": "{domain}"})),
        headers: vec![("X-Key".into(), "k1".into())],
        auth: Some(Auth::Bearer("geheim".into())),
        ..spec(format!("{base}/x?d={{domain}}"))
    };
    let key = format!("{base}/x?d=acme.example\n{{\"domain\":\"acme.example\"}}");
    let answer = ask_with(&spec, &key).await.unwrap().unwrap();
    assert_eq!(answer[0], Value::text("Bearer geheim k1 application/json"));
    let sent = ["d=acme.example", "{\"domain\":\"acme.example\"}"].map(Value::text);
    assert_eq!(answer[1], Value::List(sent.into()));

    spec.auth = Some(Auth::Basic { username: "Aladdin".into(), password: "open sesame".into() });
    let answer = ask_with(&spec, &key).await.unwrap().unwrap();
    assert_eq!(answer[0], Value::text("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ== k1 application/json"), "RFC 7617's example");
}

#[tokio::test]
async fn redirects_are_followed_on_the_same_host_only() {
    let level = |level: &'static str| get(move || async move { axum::Json(json!({"intent": {"level": level}})) });
    let elsewhere = wire::serve(Router::new().fallback(any(|| async { "never called" }))).await;
    let router = Router::new()
        .route("/x", get(|| async { Redirect::temporary("/there") }))
        .route("/there", level("moved"))
        .route("/away", get(move || async move { Redirect::temporary(&elsewhere) }))
        .route("/loop", get(|uri: Uri| async move { Redirect::temporary(uri.path()) }));
    let base = wire::serve(router).await;
    let ask = async |path: &str| {
        let url = format!("{base}{path}");
        ask_with(&spec(url.clone()), &url).await
    };
    assert_eq!(ask("/x").await.unwrap().unwrap()[0], Value::text("moved"));
    assert_eq!(ask("/away").await.unwrap_err().kind, Kind::BadResponse);
    assert_eq!(ask("/loop").await.unwrap_err().kind, Kind::BadResponse);
}

#[test]
fn a_secret_with_a_line_break_is_refused_without_being_shown() {
    let spec = HttpSpec { auth: Some(Auth::Bearer("geheim\n".into())), ..spec("http://a.example/".into()) };
    let error = Http::new("intent", &spec, columns()).err().unwrap();
    assert_eq!(error, ServiceError::Header { service: "intent".into(), name: "authorization".into() });
    assert!(!error.to_string().contains("geheim"));
}

/// An API whose tokens are `t1`, `t2`, …, of which it takes the ones from `first` on.
async fn with_tokens(first: usize) -> (Http, String, Arc<AtomicUsize>) {
    let issued = Arc::new(AtomicUsize::new(0));
    let counter = issued.clone();
    let token = move || {
        let number = counter.fetch_add(1, Relaxed) + 1;
        async move { axum::Json(json!({ "access_token": format!("t{number}"), "expires_in": 3600 })) }
    };
    let answer = move |headers: Headers| async move {
        let sent = headers["authorization"].to_str().unwrap().to_owned();
        let number: usize = sent.strip_prefix("Bearer t").unwrap().parse().unwrap();
        let status = if number >= first { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        (status, axum::Json(json!({ "intent": { "level": sent } })))
    };
    let base = wire::serve(Router::new().route("/token", post(token)).route("/x", get(answer))).await;
    let oauth = OAuthSpec {
        token_url: format!("{base}/token"),
        client_id: "headwater".into(),
        client_secret: "geheim".into(),
        scope: None,
        audience: None,
        in_body: false,
    };
    let url = format!("{base}/x");
    let spec = HttpSpec { auth: Some(Auth::OAuth(oauth)), ..spec(url.clone()) };
    (Http::new("intent", &spec, columns()).unwrap(), url, issued)
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_again_when_it_is_refused() {
    let (service, url, issued) = with_tokens(1).await;
    for _ in 0..3 {
        let answer = service.call(vec![url.as_str().into()]).await.answers.unwrap().remove(0).unwrap().unwrap();
        assert_eq!(answer[0], Value::text("Bearer t1"));
    }
    assert_eq!(issued.load(Relaxed), 1);
    // It has worked, and is revoked: whoever knows it only from us gets 401.
    let token = service.inner.tokens.as_ref().unwrap().get().await.unwrap();
    service.inner.tokens.as_ref().unwrap().refused(&token, &CallError::new(Kind::Rejected, "answered 401"));
    let answer = service.call(vec![url.as_str().into()]).await.answers.unwrap().remove(0).unwrap().unwrap();
    assert_eq!(answer[0], Value::text("Bearer t2"));
}

#[tokio::test]
async fn an_api_that_takes_no_token_is_not_asked_for_ever() {
    let (service, url, issued) = with_tokens(usize::MAX).await;
    for _ in 0..5 {
        assert_eq!(service.call(vec![url.as_str().into()]).await.answers.unwrap_err().kind, Kind::Rejected);
    }
    assert_eq!(issued.load(Relaxed), 1, "a token that never worked is no reason for another at once");
}

#[tokio::test]
async fn what_headers_say_is_left_reaches_the_quota_also_with_a_failure() {
    for status in [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS, StatusCode::NOT_FOUND] {
        let headers = [("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "60")];
        let router = Router::new().route("/x", get(move || async move { (status, headers, axum::Json(json!({}))) }));
        let url = wire::serve(router).await + "/x";
        let service = Http::new("intent", &spec(url.clone()), columns()).unwrap();
        let limit = Limit { remaining: 3, window: Duration::ZERO, resets_in: Some(Duration::from_secs(60)) };
        assert_eq!(service.call(vec![url.as_str().into()]).await.limits, [limit], "{status}");
    }
}
