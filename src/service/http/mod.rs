//! Any JSON API: a URL and a body rendered from the inputs, values read out by JSON pointers.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use reqwest::{
    Client, Method, RequestBuilder, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};

use crate::{
    clock,
    policy::{Call, CallError, Found, Key, Kind, Limit, Response},
    secret::Secret,
    topology::{Auth, HttpSpec},
};

use super::{
    Column, ServiceError, convert,
    limits::limits,
    oauth::{Grant, Tokens},
    template::Template,
    wire::{self, Answered},
};

/// An HTTP service, ready to be called. Its keys are the rendered URL and, after a line break, the rendered body.
pub(super) struct Http {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    method: Method,
    headers: HeaderMap,
    /// For each column: where its value is in the answer.
    pointers: Vec<String>,
    columns: Vec<Column>,
    /// Where a token stands for a fixed credential.
    tokens: Option<Tokens>,
}

/// The template of a service's keys.
pub(super) fn template(service: &str, spec: &HttpSpec) -> Result<Template, ServiceError> {
    let error = |message| ServiceError::Url { service: service.into(), message };
    let url = Template::url(&spec.url).map_err(error)?;
    Ok(match &spec.body {
        Some(body) => url.then(Template::json(body)),
        None => url,
    })
}

impl Http {
    /// Prepares the client and the fixed headers.
    pub fn new(service: &str, spec: &HttpSpec, columns: Vec<Column>) -> Result<Self, ServiceError> {
        let bad = |name: &str| ServiceError::Header { service: service.into(), name: name.into() };
        let method = Method::from_bytes(spec.method.to_ascii_uppercase().as_bytes())
            .map_err(|_| ServiceError::Method { service: service.into(), method: spec.method.as_str().into() })?;
        let mut headers = HeaderMap::new();
        let mut insert = |name: &str, value: &Secret| -> Result<(), ServiceError> {
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad(name))?;
            let mut text = HeaderValue::from_str(value.expose()).map_err(|_| bad(name))?;
            text.set_sensitive(true);
            headers.insert(header, text);
            Ok(())
        };
        for (name, value) in &spec.headers {
            insert(name, value)?;
        }
        match &spec.auth {
            None => {}
            Some(Auth::Bearer(token)) => {
                insert(AUTHORIZATION.as_str(), &Secret::new(format!("Bearer {}", token.expose())))?;
            }
            Some(Auth::Basic { username, password }) => {
                use base64::Engine as _;
                let pair = format!("{username}:{}", password.expose());
                let pair = base64::engine::general_purpose::STANDARD.encode(pair);
                insert(AUTHORIZATION.as_str(), &Secret::new(format!("Basic {pair}")))?;
            }
            Some(Auth::Header { name, value }) => insert(name, value)?,
            Some(Auth::OAuth(_)) => {}
        }
        if spec.body.is_some() && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        headers.entry(reqwest::header::ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        let pointers = columns.iter().map(|column| {
            let declared = spec.result.iter().find(|(name, _)| *name == column.from);
            declared.map_or_else(|| format!("/{}", column.from), |(_, pointer)| pointer.clone())
        });
        let pointers = pointers.collect();
        let client = wire::client().map_err(|error| ServiceError::client(service, &error))?;
        let tokens = match &spec.auth {
            Some(Auth::OAuth(oauth)) => {
                let grant = Grant::ClientCredentials(oauth.clone());
                Some(Tokens::new(service.into(), client.clone(), grant))
            }
            _ => None,
        };
        Ok(Http { inner: Arc::new(Inner { client, method, headers, pointers, columns, tokens }) })
    }
}

impl Call for Http {
    fn call(&self, keys: Vec<Key>) -> BoxFuture<'static, Response> {
        let inner = self.inner.clone();
        async move {
            // One request a key: this API has no batches.
            let (mut answers, mut left) = (Vec::with_capacity(keys.len()), Vec::new());
            for key in keys {
                match inner.ask(&key, &mut left).await {
                    Ok(answer) => answers.push(answer),
                    Err(error) => return Response { answers: Err(error), limits: left },
                }
            }
            Response { answers: Ok(answers), limits: left }
        }
        .boxed()
    }
}

impl Inner {
    /// Asks once. The outer error is the request's, the inner the item's; `left` is what remains of the quota.
    async fn ask(&self, key: &str, left: &mut Vec<Limit>) -> Result<Result<Found, CallError>, CallError> {
        let (url, body) = key.split_once('\n').map_or((key, None), |(url, body)| (url, Some(body)));
        let answered = match &self.tokens {
            None => wire::fetch(self.request(url, body)).await?,
            Some(tokens) => {
                let answered = self.fetch_with(tokens, url, body).await?;
                match answered.status {
                    // The token has expired before its time, or was revoked: once more with a new one.
                    StatusCode::UNAUTHORIZED => self.fetch_with(tokens, url, body).await?,
                    _ => answered,
                }
            }
        };
        *left = limits(&answered.headers, clock::unix_ms());
        let Some(json) = answered.body? else { return Ok(Ok(None)) };
        let values = self.columns.iter().zip(&self.pointers).map(|(column, pointer)| {
            convert::value(json.pointer(pointer), column.ty).map_err(|found| {
                CallError::new(Kind::BadResponse, format!("field {} ({pointer}): {found}", column.from))
            })
        });
        Ok(values.collect::<Result<_, _>>().map(Some))
    }

    fn request(&self, url: &str, body: Option<&str>) -> RequestBuilder {
        let request = self.client.request(self.method.clone(), url).headers(self.headers.clone());
        match body {
            Some(body) => request.body(body.to_owned()),
            None => request,
        }
    }

    /// Asks with the token of the moment, and says to its keeper whether it was taken.
    async fn fetch_with(&self, tokens: &Tokens, url: &str, body: Option<&str>) -> Result<Answered, CallError> {
        let token = tokens.get().await?;
        let request = self.request(url, body).header(AUTHORIZATION, token.authorization.clone());
        let answered = wire::fetch(request).await?;
        match &answered.body {
            Err(error) if answered.status == StatusCode::UNAUTHORIZED => tokens.refused(&token, error),
            _ => token.has_worked(),
        }
        Ok(answered)
    }
}

#[cfg(test)]
mod tests;
