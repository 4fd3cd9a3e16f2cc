//! A stub of a third-party intent provider: how interested is a company? A function of its domain.

use std::io;

use axum::{Json, Router, extract::Path, routing::get};
use serde_json::{Value, json};

use super::stub::Stub;
use crate::engine::hash_key;

/// A running provider.
pub struct Intent {
    stub: Stub,
}

impl Intent {
    /// Serves on the preferred port, or on a free one.
    pub async fn start(preferred_port: Option<u16>) -> io::Result<Self> {
        let router = Router::new().route("/v2/companies/{domain}", get(company));
        Ok(Intent { stub: Stub::start(preferred_port, router).await? })
    }

    /// What to write before `/v2/companies/{domain}`.
    pub fn url(&self) -> String {
        self.stub.url()
    }
}

async fn company(Path(domain): Path<String>) -> Json<Value> {
    let hash = hash_key(domain.as_bytes());
    let level = ["low", "low", "medium", "high"][(hash % 4) as usize];
    Json(json!({ "company": domain, "intent": { "level": level, "topics": ["email marketing", "analytics"] } }))
}
