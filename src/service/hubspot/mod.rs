//! HubSpot contacts by CRM v3 batch read.
//!
//! Formats: "Retrieve a batch of contacts" (`POST /crm/v3/objects/contacts/batch/read`) and "API usage guidelines"
//! in HubSpot's developer documentation. 200 holds results; 207 holds results and errors; whatever is in neither
//! does not exist.

use std::{collections::HashMap, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use reqwest::{
    Client,
    header::{AUTHORIZATION, HeaderValue},
};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::{
    clock,
    event::Type,
    policy::{Call, CallError, Found, Key, Kind, Response},
    topology::HubSpotSpec,
};

use super::{Column, ServiceError, convert, limits::limits, wire};

/// The most contacts that HubSpot reads at once.
pub(super) const MAX_BATCH: usize = 100;

/// HubSpot, ready to be called. Its keys are contact ids, or values of the `id_property`.
pub(super) struct HubSpot {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    url: String,
    authorization: HeaderValue,
    id_property: Option<String>,
    /// Asked for by name, each once; the id property among them, for answers are matched by it.
    properties: Vec<String>,
    columns: Vec<Column>,
}

/// The part of an answer that we read.
#[derive(Deserialize)]
struct Batch {
    results: Vec<Contact>,
    #[serde(default)]
    errors: Vec<ItemError>,
}

#[derive(Deserialize)]
struct Contact {
    id: String,
    #[serde(default)]
    properties: HashMap<String, Json>,
}

#[derive(Deserialize)]
struct ItemError {
    #[serde(default)]
    category: String,
    #[serde(default)]
    context: HashMap<String, Json>,
}

impl HubSpot {
    /// Prepares the client and what is asked for.
    pub fn new(service: &str, spec: &HubSpotSpec, columns: Vec<Column>) -> Result<Self, ServiceError> {
        let url = format!("{}/crm/v3/objects/contacts/batch/read", spec.base_url.trim_end_matches('/'));
        url::Url::parse(&url)
            .map_err(|error| ServiceError::Url { service: service.into(), message: error.to_string() })?;
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", spec.token.expose()))
            .map_err(|_| ServiceError::Header { service: service.into(), name: "authorization (token)".into() })?;
        authorization.set_sensitive(true);
        let mut properties: Vec<String> = Vec::new();
        for name in columns.iter().map(|column| &*column.from).chain(spec.id_property.as_deref()) {
            if !properties.iter().any(|known| known == name) {
                properties.push(name.to_owned());
            }
        }
        let client = wire::client().map_err(|error| ServiceError::client(service, &error))?;
        let id_property = spec.id_property.clone();
        Ok(HubSpot { inner: Arc::new(Inner { client, url, authorization, id_property, properties, columns }) })
    }
}

impl Call for HubSpot {
    fn call(&self, keys: Vec<Key>) -> BoxFuture<'static, Response> {
        let inner = self.inner.clone();
        async move { inner.read(&keys).await }.boxed()
    }
}

impl Inner {
    async fn read(&self, keys: &[Key]) -> Response {
        let inputs: Vec<_> = keys.iter().map(|key| serde_json::json!({ "id": &**key })).collect();
        let mut body = serde_json::json!({ "inputs": inputs, "properties": self.properties });
        if let Some(id_property) = &self.id_property {
            body["idProperty"] = Json::from(id_property.as_str());
        }
        let request = self.client.post(&self.url).header(AUTHORIZATION, self.authorization.clone()).json(&body);
        match wire::fetch(request).await {
            Err(error) => Err(error).into(),
            Ok(answered) => Response {
                limits: limits(&answered.headers, clock::unix_ms()),
                answers: answered.body.and_then(|body| self.match_up(keys, body)),
            },
        }
    }

    /// One result per key, in the order of the keys.
    fn match_up(&self, keys: &[Key], body: Option<Json>) -> Result<Vec<Result<Found, CallError>>, CallError> {
        // A 404 of the endpoint itself says nothing about contacts: the base URL is wrong.
        let body = body.ok_or_else(|| CallError::new(Kind::Rejected, "HubSpot has no batch read at this base_url"))?;
        let batch = Batch::deserialize(&body)
            .map_err(|error| CallError::new(Kind::BadResponse, format!("not a batch of contacts: {error}")))?;
        let mut found = HashMap::with_capacity(batch.results.len());
        for contact in &batch.results {
            let key = match &self.id_property {
                None => Some(contact.id.as_str()),
                Some(name) => contact.properties.get(name).and_then(Json::as_str),
            };
            // HubSpot matches e-mail addresses without regard to case and answers in lower case.
            key.map(|key| found.insert(key.to_ascii_lowercase(), contact));
        }
        let mut failed = HashMap::new();
        let mut unassigned = None;
        for item in &batch.errors {
            let ids = item.context.get("ids").or_else(|| item.context.get("id")).and_then(Json::as_array);
            let ids: Vec<_> = ids.into_iter().flatten().filter_map(Json::as_str).collect();
            let error = item.error();
            if ids.is_empty() && error.is_some() {
                unassigned = error.clone();
            }
            failed.extend(ids.into_iter().map(|id| (id.to_ascii_lowercase(), error.clone())));
        }
        let answer = |key: &Key| {
            let key = key.to_ascii_lowercase();
            match (found.get(&key), failed.get(&key)) {
                (Some(contact), _) => self.values(contact).map(Some),
                (None, Some(Some(error))) => Err(error.clone()),
                (None, Some(None)) => Ok(None),
                // In neither list. If some error names no contact, it may have been this one.
                (None, None) => unassigned.clone().map_or(Ok(None), Err),
            }
        };
        Ok(keys.iter().map(answer).collect())
    }

    fn values(&self, contact: &Contact) -> Result<Arc<[crate::event::Value]>, CallError> {
        let values = self.columns.iter().map(|column| {
            let json = contact.properties.get(&*column.from);
            let split = match (column.ty, json) {
                // Several checkboxes come as one text.
                (Type::TextList, Some(Json::String(text))) => {
                    Some(text.split(';').filter(|item| !item.is_empty()).map(Json::from).collect::<Json>())
                }
                _ => None,
            };
            convert::value(split.as_ref().or(json), column.ty)
                .map_err(|found| CallError::new(Kind::BadResponse, format!("property {}: {found}", column.from)))
        });
        values.collect()
    }
}

impl ItemError {
    /// `None`: the contact does not exist, which is an answer.
    fn error(&self) -> Option<CallError> {
        let category: String = self.category.chars().take(60).collect();
        let kind = match &*category {
            "OBJECT_NOT_FOUND" => return None,
            "VALIDATION_ERROR" | "INVALID_AUTHENTICATION" | "MISSING_SCOPES" => Kind::Rejected,
            "RATE_LIMITS" => Kind::Limited,
            _ => Kind::Transient,
        };
        Some(CallError::new(kind, format!("HubSpot says {category} for this contact")))
    }
}

#[cfg(test)]
mod tests;
