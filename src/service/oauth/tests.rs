//! Against small issuers on the loopback interface.

use std::sync::atomic::AtomicUsize;

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use futures::future::join_all;

use super::*;

fn spec(token_url: String) -> OAuthSpec {
    OAuthSpec {
        token_url,
        client_id: "headwater".into(),
        client_secret: "ge:heim+1".into(),
        scope: Some("read intent".into()),
        audience: None,
        in_body: false,
    }
}

fn keeper(spec: OAuthSpec) -> Tokens {
    Tokens::new("intent".into(), wire::client().unwrap(), Grant::ClientCredentials(spec))
}

/// An issuer that answers with status and body, and counts.
async fn issuer(answer: impl Fn(usize) -> (u16, Json) + Clone + Send + Sync + 'static) -> (Tokens, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let serve = move || {
        let (status, body) = answer(counter.fetch_add(1, Relaxed));
        async move { (StatusCode::from_u16(status).unwrap(), axum::Json(body)) }
    };
    let url = wire::serve(Router::new().route("/token", post(serve))).await + "/token";
    (keeper(spec(url)), asked)
}

fn issued(number: usize) -> (u16, Json) {
    (200, json!({ "access_token": format!("t{number}"), "token_type": "Bearer", "expires_in": 3600 }))
}

fn refused() -> CallError {
    CallError::new(Kind::Rejected, "answered 401")
}

fn shown(outcome: &Outcome) -> String {
    outcome.as_ref().unwrap().authorization.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_calls_at_once_ask_for_one_token() {
    let (tokens, asked) = issuer(issued).await;
    let all = join_all((0..100).map(|_| tokens.get())).await;
    assert!(all.iter().all(|token| shown(token) == "Bearer t0"));
    assert_eq!(asked.load(Relaxed), 1);
    let token = all[0].as_ref().unwrap();
    token.has_worked();
    // All hundred meet the same expired session.
    let again = join_all((0..100).map(|_| async {
        tokens.refused(token, &refused());
        tokens.get().await
    }));
    assert!(again.await.iter().all(|token| shown(token) == "Bearer t1"));
    assert_eq!(asked.load(Relaxed), 2);
}

#[tokio::test]
async fn whoever_stops_waiting_leaves_the_token_to_the_others() {
    let (tokens, asked) = issuer(issued).await;
    assert!(tokens.get().now_or_never().is_none(), "it takes a while");
    assert_eq!(shown(&tokens.get().await), "Bearer t0");
    assert_eq!(asked.load(Relaxed), 1);
}

#[tokio::test]
async fn credentials_are_sent_as_the_issuer_wants_them() {
    async fn echo(headers: HeaderMap, body: String) -> axum::Json<Json> {
        let basic = headers.get("authorization").map_or("none", |value| value.to_str().unwrap());
        axum::Json(json!({ "access_token": format!("{basic}|{body}") }))
    }
    let url = wire::serve(Router::new().route("/token", post(echo))).await + "/token";
    let in_header = keeper(spec(url.clone())).get().await;
    let basic = STANDARD.encode("headwater:ge%3Aheim%2B1");
    assert_eq!(shown(&in_header), format!("Bearer Basic {basic}|grant_type=client_credentials&scope=read+intent"));
    let audience = Some("https://intent.example".into());
    let in_body = keeper(OAuthSpec { in_body: true, scope: None, audience, ..spec(url) }).get().await;
    assert_eq!(
        shown(&in_body),
        "Bearer none|grant_type=client_credentials&client_id=headwater&client_secret=ge%3Aheim%2B1\
         &audience=https%3A%2F%2Fintent.example"
    );
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires_and_serves_until_then() {
    let (tokens, asked) = issuer(|number| match number {
        // It lives for long, and its time to be renewed has come: three quarters of nearly nothing.
        0 => (200, json!({ "access_token": "t0", "expires_in": "3600" })),
        1 => (503, json!({})),
        number => issued(number),
    })
    .await;
    assert_eq!(shown(&tokens.get().await), "Bearer t0");
    let age = |tokens: &Tokens| {
        let mut state = tokens.inner.state.lock();
        let token = state.token.take().unwrap();
        let (authorization, worked) = (token.authorization.clone(), AtomicBool::new(true));
        let (renew_at, expires_at) = (Some(clock::now()), token.expires_at);
        state.token = Some(Arc::new(Token { authorization, instance_url: None, renew_at, expires_at, worked }));
        state.failed = None;
    };
    age(&tokens);
    assert_eq!(shown(&tokens.get().await), "Bearer t0", "the old one, while a new one is asked for");
    while tokens.inner.state.lock().failed.is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(shown(&tokens.get().await), "Bearer t0", "the issuer is down");
    assert_eq!(asked.load(Relaxed), 2, "and is left alone for a while");
    age(&tokens);
    assert_eq!(shown(&tokens.get().await), "Bearer t0");
    while asked.load(Relaxed) < 3 || tokens.inner.state.lock().under_way.is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(shown(&tokens.get().await), "Bearer t2");
}

#[tokio::test]
async fn a_wrong_secret_is_rejected_not_asked_again_at_once_and_taken_once_it_is_right() {
    let wrong = json!({ "error": "invalid_client", "error_description": "the secret ge:heim+1 is wrong" });
    let (tokens, asked) = issuer(move |number| if number == 0 { (400, wrong.clone()) } else { issued(number) }).await;
    for _ in 0..3 {
        let error = tokens.get().await.unwrap_err();
        assert_eq!((error.kind, &*error.message), (Kind::Rejected, "token: answered 400 Bad Request, invalid_client"));
    }
    assert_eq!(asked.load(Relaxed), 1);
    let pause = tokens.inner.state.lock().failed.as_ref().unwrap().1.saturating_duration_since(clock::now());
    assert!(pause > PAUSE && pause <= PAUSE_REJECTED, "{pause:?}");
    tokens.inner.state.lock().failed.as_mut().unwrap().1 = clock::now();
    assert_eq!(shown(&tokens.get().await), "Bearer t1");
    assert_eq!(tokens.inner.state.lock().failures, 0);
}

#[tokio::test]
async fn pauses_grow_and_end_at_five_minutes() {
    let (tokens, _) = issuer(|_| (400, json!({ "error": "invalid_client" }))).await;
    let mut pauses = Vec::new();
    for _ in 0..8 {
        tokens.get().await.unwrap_err();
        let mut state = tokens.inner.state.lock();
        let until = &mut state.failed.as_mut().unwrap().1;
        pauses.push(until.saturating_duration_since(clock::now()).as_secs_f64().round());
        *until = clock::now();
    }
    assert_eq!(pauses, [15.0, 30.0, 60.0, 120.0, 240.0, 300.0, 300.0, 300.0]);
}

#[tokio::test]
async fn a_new_token_that_is_refused_is_not_replaced_at_once() {
    let (tokens, asked) = issuer(issued).await;
    let token = tokens.get().await.unwrap();
    tokens.refused(&token, &refused());
    assert_eq!(tokens.get().await.unwrap_err(), refused());
    assert_eq!(asked.load(Relaxed), 1);
}

#[tokio::test]
async fn failures_of_the_issuer_keep_their_kind() {
    for (status, body, kind) in [
        (401, json!({ "error": "invalid_client" }), Kind::Rejected),
        (429, json!({}), Kind::Limited),
        (503, json!({}), Kind::Transient),
        (200, json!({ "token": "geheim" }), Kind::BadResponse),
        (200, json!({ "access_token": 7 }), Kind::BadResponse),
        (200, json!({ "access_token": "geheim\n" }), Kind::BadResponse),
        (200, json!({ "access_token": "geheim", "token_type": "mac" }), Kind::BadResponse),
        (204, json!({}), Kind::BadResponse),
    ] {
        let (tokens, _) = issuer(move |_| (status, body.clone())).await;
        let error = tokens.get().await.unwrap_err();
        assert_eq!(error.kind, kind, "{status}: {error}");
        assert!(!format!("{error:?}").contains("heim"), "{error:?}");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(keeper(spec(format!("http://{free}/token"))).get().await.unwrap_err().kind, Kind::Transient);
}

#[tokio::test]
async fn absurd_lives_are_bounded() {
    for (life, most) in [
        (json!(1e300), Some(LONGEST_LIFE)),
        (json!("86400000"), Some(LONGEST_LIFE)),
        (json!(-5), None),
        (json!("soon"), None),
        (json!(null), None),
    ] {
        let (tokens, _) = issuer(move |_| (200, json!({ "access_token": "t", "expires_in": life }))).await;
        let token = tokens.get().await.unwrap();
        let left = token.expires_at.map(|at| at.saturating_duration_since(clock::now()).as_secs().div_ceil(60) * 60);
        assert_eq!(left, most.map(|most| most.as_secs()));
    }
}

#[tokio::test]
async fn a_secret_s_file_is_read_again_for_each_token() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "new\n").unwrap();
    let source = SecretSource { value: "old".into(), file: Some(file.path().into()) };
    assert_eq!(read(&source).await.expose(), "new");
    drop(file);
    assert_eq!(read(&source).await.expose(), "old", "it is gone: what was known serves");
}

#[test]
fn nothing_shows_a_token() {
    let mut authorization = HeaderValue::from_static("Bearer geheim");
    authorization.set_sensitive(true);
    let worked = AtomicBool::new(false);
    let token = Token { authorization, instance_url: None, renew_at: None, expires_at: None, worked };
    assert!(!format!("{token:?}").contains("geheim"));
}
