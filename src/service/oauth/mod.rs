//! OAuth 2.0 access tokens: asked for once however many want one, kept until shortly before they expire.
//!
//! ```text
//! none ──get──▶ under way ──▶ fresh ──renew_at──▶ under way, the old one serves on ──▶ fresh
//!   ▲              │ fails       │ refused (401)
//!   └── pause ◀────┘             └──▶ none; without a pause if it has worked before
//! ```
//!
//! Formats: RFC 6749 (4.4 client credentials, 5 answers, 2.3.1 client authentication), RFC 7523 (JWT bearer).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use reqwest::{
    Client, RequestBuilder,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::{
    clock,
    policy::{CallError, Kind},
    secret::Secret,
    topology::{OAuthSpec, SecretSource},
};

use super::{jwt::Signer, wire};

/// Longest that one request for a token takes, whatever the attempt's timeout: whoever waits next gains by it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read.
const MAX_BODY: usize = 64 * 1024;
/// Largest file of a secret.
const MAX_SECRET: u64 = 64 * 1024;
/// A token is renewed so long before it expires, or at three quarters of its life where that is later.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// Longest life that is believed.
const LONGEST_LIFE: Duration = Duration::from_secs(86_400);
/// How long a JWT is valid: issuers take three minutes at most.
const ASSERTION_LIFE_S: i64 = 120;
/// After a failure nothing is asked for so long, doubling with each: when it may pass by itself, and when somebody
/// has to do something.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_REJECTED: Duration = Duration::from_secs(15);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How tokens are asked for.
pub(super) enum Grant {
    ClientCredentials(OAuthSpec),
    JwtBearer { token_url: String, client_id: String, username: String, audience: String, key: SecretSource },
}

/// A token, as it is sent.
#[derive(Debug)]
pub(super) struct Token {
    /// `Bearer …`, marked as sensitive.
    pub authorization: HeaderValue,
    /// Where the issuer says that it serves (Salesforce).
    pub instance_url: Option<String>,
    renew_at: Option<Instant>,
    expires_at: Option<Instant>,
    /// A service has taken it.
    worked: AtomicBool,
}

impl Token {
    /// A service has taken it: if one refuses it later, it has expired, and a new one is worth asking for at once.
    pub fn has_worked(&self) {
        self.worked.store(true, Relaxed);
    }
}

type Outcome = Result<Arc<Token>, CallError>;

/// One account's token.
pub(super) struct Tokens {
    inner: Arc<Inner>,
}

struct Inner {
    service: Arc<str>,
    client: Client,
    grant: Grant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    under_way: Option<Shared<BoxFuture<'static, Outcome>>>,
    /// The last failure, and until when it stands for an answer.
    failed: Option<(CallError, Instant)>,
    /// In a row.
    failures: u32,
}

/// The part of an answer that we read.
#[derive(Deserialize)]
struct Issued {
    access_token: String,
    #[serde(default)]
    token_type: Option<String>,
    #[serde(default)]
    expires_in: Option<Json>,
    #[serde(default)]
    instance_url: Option<String>,
}

impl Tokens {
    /// No token yet; the first call asks for one.
    pub fn new(service: Arc<str>, client: Client, grant: Grant) -> Self {
        Tokens { inner: Arc::new(Inner { service, client, grant, state: Mutex::default() }) }
    }

    /// The token: the one there is, the one that is under way, or a new one. Must run on the I/O runtime.
    ///
    /// # Errors
    /// Why there is none; the same failure for all who ask during the pause after it.
    pub async fn get(&self) -> Outcome {
        let flight = {
            let (mut state, now) = (self.inner.state.lock(), clock::now());
            let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
            let token = state.token.clone().filter(|token| !passed(token.expires_at));
            match &token {
                Some(token) if !passed(token.renew_at) => return Ok(token.clone()),
                _ => {}
            }
            let flight = match (&state.under_way, &state.failed) {
                (Some(flight), _) => Ok(flight.clone()),
                (None, Some((error, until))) if now < *until => Err(error.clone()),
                (None, _) => Ok(self.inner.start(&mut state)),
            };
            match (token, flight) {
                // Renewing is under way, or has just failed; the old one serves as long as it lives.
                (Some(token), _) => return Ok(token),
                (None, flight) => flight?,
            }
        };
        flight.await
    }

    /// A service refuses that token. A new one follows at the next [`Tokens::get`]; after a pause only, if this one has
    /// never been taken, for then another would not fare better.
    pub fn refused(&self, token: &Arc<Token>, error: &CallError) {
        let mut state = self.inner.state.lock();
        if !state.token.as_ref().is_some_and(|current| Arc::ptr_eq(current, token)) {
            // Others have seen to it.
            return;
        }
        state.token = None;
        if !token.worked.load(Relaxed) {
            let service = &*self.inner.service;
            tracing::warn!(service, "a new access token is refused: look at the client's rights, scope and audience");
            self.inner.fail(&mut state, error);
        }
    }
}

impl Inner {
    /// Begins a request in a task of its own: whoever stops waiting, the token still comes.
    fn start(self: &Arc<Self>, state: &mut State) -> Shared<BoxFuture<'static, Outcome>> {
        let task = tokio::spawn(self.clone().renew());
        let lost = |_| Err(CallError::new(Kind::Transient, "the request for a token was lost"));
        let flight = async move { task.await.unwrap_or_else(lost) }.boxed().shared();
        state.under_way = Some(flight.clone());
        flight
    }

    async fn renew(self: Arc<Self>) -> Outcome {
        let late = |_| Err(CallError::new(Kind::Timeout, format!("no token within {TIMEOUT:?}")));
        let issued = tokio::time::timeout(TIMEOUT, self.ask()).await.unwrap_or_else(late);
        let mut state = self.state.lock();
        state.under_way = None;
        let service = &*self.service;
        match issued {
            Ok(token) => {
                if state.failures > 0 {
                    tracing::info!(service, "access tokens are issued again");
                }
                (state.failed, state.failures) = (None, 0);
                let token = Arc::new(token);
                state.token = Some(token.clone());
                Ok(token)
            }
            Err(error) => {
                let reason = &*error.message;
                match error.kind {
                    Kind::Rejected => {
                        tracing::error!(service, reason, "no access token: look at the client's id, secret and rights");
                    }
                    _ => tracing::warn!(service, reason, "no access token"),
                }
                self.fail(&mut state, &error);
                Err(error)
            }
        }
    }

    /// Remembers a failure for a while.
    fn fail(&self, state: &mut State, error: &CallError) {
        let first = if error.kind == Kind::Rejected { PAUSE_REJECTED } else { PAUSE };
        let grown = first * 2_u32.saturating_pow(state.failures.min(10));
        let pause = grown.max(error.retry_after.unwrap_or_default()).min(LONGEST_PAUSE);
        state.failures = state.failures.saturating_add(1);
        state.failed = Some((error.clone(), clock::now() + pause));
    }

    async fn ask(&self) -> Result<Token, CallError> {
        let asked_at = clock::now();
        let answer = wire::fetch_explained(self.request().await?, MAX_BODY).await?;
        let Ok(_) = wire::judge(answer.status, &answer.headers) else {
            return Err(refusal(&answer));
        };
        let bad = |message: &str| CallError::new(Kind::BadResponse, format!("token: {message}"));
        // The error is not shown: it may quote the token.
        let issued = Issued::deserialize(answer.body?).map_err(|_| bad("the answer holds no access_token"))?;
        if issued.token_type.as_deref().is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(bad("it is not a bearer token"));
        }
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", issued.access_token))
            .map_err(|_| bad("it cannot stand in a header"))?;
        authorization.set_sensitive(true);
        let life = issued.expires_in.as_ref().and_then(seconds).map(|life| life.min(LONGEST_LIFE));
        Ok(Token {
            authorization,
            instance_url: issued.instance_url,
            renew_at: life.map(|life| asked_at + life.saturating_sub(RENEW_BEFORE).max(life / 4 * 3)),
            expires_at: life.map(|life| asked_at + life),
            worked: AtomicBool::new(false),
        })
    }

    async fn request(&self) -> Result<RequestBuilder, CallError> {
        let secret = match &self.grant {
            Grant::ClientCredentials(spec) => read(&spec.client_secret).await,
            Grant::JwtBearer { key, .. } => read(key).await,
        };
        let mut form = Serializer::new(String::new());
        match &self.grant {
            Grant::ClientCredentials(spec) => {
                form.append_pair("grant_type", "client_credentials");
                if spec.in_body {
                    form.append_pair("client_id", &spec.client_id).append_pair("client_secret", secret.expose());
                }
                for (name, value) in [("scope", &spec.scope), ("audience", &spec.audience)] {
                    if let Some(value) = value {
                        form.append_pair(name, value);
                    }
                }
                let request = self.client.post(&spec.token_url);
                let basic = (!spec.in_body).then(|| basic_header(&spec.client_id, &secret));
                Ok(basic.into_iter().fold(request, |request, basic| request.header(AUTHORIZATION, basic)))
            }
            Grant::JwtBearer { token_url, client_id, username, audience, .. } => {
                let expires_s = clock::unix_ms() / 1_000 + ASSERTION_LIFE_S;
                let claims = json!({ "iss": client_id, "sub": username, "aud": audience, "exp": expires_s });
                let assertion = Signer::from_pem(secret.expose())
                    .and_then(|signer| signer.sign(&claims))
                    .map_err(|error| CallError::new(Kind::Rejected, format!("token: {error}")))?;
                form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
                    .append_pair("assertion", &assertion);
                Ok(self.client.post(token_url))
            }
        }
        .map(|request| request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.finish()))
    }
}

/// What an issuer's refusal means, in RFC 6749's words where it uses them. Its own sentences are left out: some
/// repeat what was sent.
fn refusal(answer: &wire::Explained) -> CallError {
    let judged = match wire::judge(answer.status, &answer.headers) {
        Err(error) => error,
        Ok(_) => CallError::new(Kind::BadResponse, "answered without a token"),
    };
    let said = answer.body.as_ref().ok().and_then(|body| body.get("error")).and_then(Json::as_str);
    let said =
        said.filter(|word| word.len() <= 60 && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
    let message = match said {
        Some(word) => format!("token: answered {}, {word}", answer.status),
        None => format!("token: {}", judged.message),
    };
    CallError { message: message.into(), ..judged }
}

/// The secret as it is now: a file's content is read again, for it may have been rotated.
async fn read(source: &SecretSource) -> Secret {
    use tokio::io::AsyncReadExt as _;
    let Some(path) = &source.file else { return source.value.clone() };
    let mut text = String::new();
    let read = async { tokio::fs::File::open(path).await?.take(MAX_SECRET).read_to_string(&mut text).await };
    match read.await {
        Ok(_) => Secret::new(text.trim_end_matches(['\n', '\r'])),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a secret's file cannot be read again; its old value serves");
            source.value.clone()
        }
    }
}

/// RFC 6749, 2.3.1: both are form-encoded first.
fn basic_header(id: &str, secret: &Secret) -> HeaderValue {
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = STANDARD.encode(format!("{}:{}", encode(id), encode(secret.expose())));
    // Base64 can always stand in a header.
    let mut value = HeaderValue::from_str(&format!("Basic {pair}")).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// A life in seconds, as number or as text.
fn seconds(json: &Json) -> Option<Duration> {
    let seconds = json.as_f64().or_else(|| json.as_str()?.trim().parse().ok())?;
    (seconds > 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_LIFE))
}

#[cfg(test)]
mod tests;
