//! Who gets a token of the stub Salesforce: client credentials, or a JWT whose signature it checks.

use std::collections::HashMap;

use axum::http::HeaderMap;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rustls::{SignatureScheme, crypto::aws_lc_rs};
use serde_json::{Value, json};

use crate::{clock, secret::Secret};

/// Longest that an assertion may be valid, as Salesforce has it: 3 minutes and some skew.
const LONGEST_ASSERTION_S: i64 = 300;

/// Who may log in.
#[derive(Debug, Clone)]
pub struct Login {
    pub client_id: String,
    pub client_secret: Secret,
    /// In whose name a JWT asks.
    pub username: String,
    /// RSA, PKCS #1 in PEM (`BEGIN RSA PUBLIC KEY`); without one there is no login by JWT.
    pub public_key: Option<String>,
}

impl Default for Login {
    fn default() -> Self {
        Login {
            client_id: "demo".to_owned(),
            client_secret: Secret::new("demo"),
            username: "integration@acme.example".to_owned(),
            public_key: None,
        }
    }
}

/// Error and description, as Salesforce writes them.
type Refusal = (&'static str, &'static str);

/// Whether a request for a token is granted.
pub(super) fn check(login: &Login, headers: &HeaderMap, body: &str) -> Result<(), Refusal> {
    let form: HashMap<String, String> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let value = |name: &str| form.get(name).map_or("", String::as_str);
    match value("grant_type") {
        "client_credentials" => {
            let basic = basic(headers);
            let (id, secret) = match &basic {
                Some((id, secret)) => (id.as_str(), secret.as_str()),
                None => (value("client_id"), value("client_secret")),
            };
            match () {
                () if id != login.client_id => Err(("invalid_client_id", "client identifier invalid")),
                () if secret != login.client_secret.expose() => Err(("invalid_client", "invalid client credentials")),
                () => Ok(()),
            }
        }
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => assertion(login, value("assertion")),
        _ => Err(("unsupported_grant_type", "grant type not supported")),
    }
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let pair = headers.get("authorization")?.to_str().ok()?.strip_prefix("Basic ")?;
    let pair = String::from_utf8(STANDARD.decode(pair).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

fn assertion(login: &Login, token: &str) -> Result<(), Refusal> {
    let invalid = ("invalid_grant", "invalid assertion");
    let (signed, signature) = token.rsplit_once('.').ok_or(invalid)?;
    let (header, claims) = signed.split_once('.').ok_or(invalid)?;
    let part = |text: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok() };
    let (header, claims) = part(header).zip(part(claims)).ok_or(invalid)?;
    let key = login.public_key.as_deref().and_then(der).ok_or(invalid)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| invalid)?;
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    let rs256 = algorithms.mapping.iter().find(|(scheme, _)| *scheme == SignatureScheme::RSA_PKCS1_SHA256);
    let verified = rs256
        .into_iter()
        .flat_map(|(_, algorithms)| *algorithms)
        .any(|algorithm| algorithm.verify_signature(&key, signed.as_bytes(), &signature).is_ok());
    let says = |name: &str, wanted: &str| claims[name].as_str() == Some(wanted);
    let audience = ["https://login.salesforce.com", "https://test.salesforce.com"].iter().any(|aud| says("aud", aud));
    let left_s = claims["exp"].as_i64().map(|expires_s| expires_s - clock::unix_ms() / 1_000);
    match () {
        () if header["alg"] != "RS256" || !verified => Err(invalid),
        () if !says("iss", &login.client_id) => Err(("invalid_client_id", "client identifier invalid")),
        () if !audience => Err(("invalid_grant", "audience is invalid")),
        () if !left_s.is_some_and(|left| (1..=LONGEST_ASSERTION_S).contains(&left)) => {
            Err(("invalid_grant", "expired authorization code"))
        }
        () if !says("sub", &login.username) => Err(("invalid_grant", "user hasn't approved this consumer")),
        () => Ok(()),
    }
}

fn der(pem: &str) -> Option<Vec<u8>> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    STANDARD.decode(body).ok()
}

/// What is answered to who gets one.
pub(super) fn issued(session: &str, url: &str) -> Value {
    json!({
        "access_token": session,
        "signature": "c3R1Yg==",
        "scope": "api",
        "instance_url": url,
        "id": format!("{url}/id/00D000000000001AAA/005000000000001AAA"),
        "token_type": "Bearer",
        "issued_at": clock::unix_ms().to_string(),
    })
}
