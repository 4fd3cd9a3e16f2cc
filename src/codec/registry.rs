//! The schema registry, through schema_registry_converter; what that does not speak (subject settings, verbose
//! compatibility) by its REST API:
//! <https://docs.confluent.io/platform/current/schema-registry/develop/api.html>.

use std::{error::Error as _, time::Duration};

use schema_registry_converter::{
    async_impl::schema_registry::{
        SrSettings, get_referenced_schema, get_schema_by_id, get_schema_by_subject_and_version, perform_sr_call,
        post_schema,
    },
    error::SRCError,
    schema_registry_common::{RawError, RegisteredSchema, SchemaType, SrCall, SuppliedSchema},
};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::{config::Settings, secret::Secret};

/// One call takes no longer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A schema may reference others, so many in all.
const MAX_REFERENCES: usize = 100;
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// What went wrong with the registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It does not have this. For a record's schema id: its producer used another registry, or the id is deleted.
    #[error("HW507 the schema registry has no {what}")]
    NotFound { what: String },
    /// It said no, and will say so again: credentials, an incompatible schema, a URL that is not a registry's.
    #[error("HW507 the schema registry refuses {what}: {message}")]
    Refused { what: String, message: String },
    /// It cannot be reached or is not well. Try again after a pause.
    #[error("HW507 the schema registry cannot be used now ({what}): {message}. Check HEADWATER_SCHEMA_REGISTRY_URL")]
    Unavailable { what: String, message: String },
}

/// A schema under its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    pub id: u32,
    pub version: u32,
    pub schema: String,
}

/// The registry of the settings. Clones share its connections.
#[derive(Clone)]
pub struct RegistryClient {
    converter: SrSettings,
    http: reqwest::Client,
    url: String,
    auth: Option<(String, Secret)>,
}

impl RegistryClient {
    /// For the registry that the settings name.
    pub fn new(settings: &Settings) -> Result<Self, RegistryError> {
        Self::build(settings.registry_url.trim_end_matches('/').to_owned(), settings.registry_auth.clone())
    }

    /// For the registry at that URL, without credentials.
    pub fn at(url: &str) -> Result<Self, RegistryError> {
        Self::build(url.trim_end_matches('/').to_owned(), None)
    }

    fn build(url: String, auth: Option<(String, Secret)>) -> Result<Self, RegistryError> {
        let refused = |message: String| RegistryError::Refused { what: "these settings".into(), message };
        let mut builder = SrSettings::new_builder(url.clone());
        builder.set_timeout(TIMEOUT);
        if let Some((username, password)) = &auth {
            builder.set_basic_authorization(username, Some(password.expose()));
        }
        let converter = builder.build().map_err(|error| refused(error.error))?;
        let http = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(|error| refused(error.to_string()))?;
        Ok(RegistryClient { converter, http, url, auth })
    }

    /// The Avro schema of that id as JSON, what it references included.
    pub async fn schema(&self, id: u32) -> Result<String, RegistryError> {
        let what = || format!("schema {id}");
        let schema = get_schema_by_id(id, &self.converter).await.map_err(|error| translate(error, what()))?;
        if schema.schema_type != SchemaType::Avro {
            // Readable as "not a usable Avro schema" by the cache, once, instead of an error for every record.
            return Ok(schema.schema);
        }
        if schema.references.is_empty() { Ok(schema.schema) } else { self.inline(schema).await }
    }

    /// Puts referenced schemas in the place where they are first named.
    async fn inline(&self, schema: RegisteredSchema) -> Result<String, RegistryError> {
        let mut named: Vec<(String, Json)> = Vec::new();
        let mut waiting = schema.references.clone();
        while let Some(reference) = waiting.pop() {
            if named.iter().any(|(name, _)| *name == reference.name) {
                continue;
            }
            let what = || format!("schema {} version {}", reference.subject, reference.version);
            if named.len() == MAX_REFERENCES {
                let message = format!("more than {MAX_REFERENCES} references");
                return Err(RegistryError::Refused { what: what(), message });
            }
            let found =
                get_referenced_schema(&self.converter, &reference).await.map_err(|error| translate(error, what()))?;
            let json = serde_json::from_str(&found.schema)
                .map_err(|error| RegistryError::Refused { what: what(), message: error.to_string() })?;
            named.push((reference.name, json));
            waiting.extend(found.references);
        }
        let mut root: Json = serde_json::from_str(&schema.schema).unwrap_or(Json::String(schema.schema));
        place(&mut root, None, &mut named);
        Ok(root.to_string())
    }

    /// The newest schema of a subject, if there is one.
    pub async fn latest(&self, subject: &str) -> Result<Option<Registered>, RegistryError> {
        let found = get_schema_by_subject_and_version(&self.converter, subject, None).await;
        optional(found.map_err(|error| translate(error, format!("subject {subject}")))).map(|found| {
            found.map(|found| Registered {
                id: found.id,
                version: found.version.unwrap_or_default(),
                schema: found.schema,
            })
        })
    }

    /// Whether the subject holds exactly this schema, and where.
    pub async fn find(&self, subject: &str, schema: &str) -> Result<Option<Registered>, RegistryError> {
        let body = json!({ "schema": schema, "schemaType": "AVRO" }).to_string();
        let found = perform_sr_call(&self.converter, SrCall::PostForVersion(subject, &body)).await;
        let found = optional(found.map_err(|error| translate(error, format!("subject {subject}"))))?;
        Ok(found.and_then(|found| {
            let (id, version) = (found.id?, found.version.unwrap_or_default());
            Some(Registered { id, version, schema: schema.to_owned() })
        }))
    }

    /// Registers a schema under a subject and gives its id; the same schema again gives the same id.
    pub async fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        let supplied = SuppliedSchema::new(None, SchemaType::Avro, schema.to_owned());
        let registered = post_schema(&self.converter, subject.to_owned(), supplied).await;
        registered
            .map(|registered| registered.id)
            .map_err(|error| translate(error, format!("a new schema for subject {subject}")))
    }

    /// Why the subject's versions and this schema cannot read each other under the subject's level; empty if they
    /// can, or if there is no such subject.
    pub async fn incompatibilities(&self, subject: &str, schema: &str) -> Result<Vec<String>, RegistryError> {
        #[derive(Deserialize)]
        struct Answer {
            is_compatible: bool,
            #[serde(default)]
            messages: Vec<String>,
            /// Apicurio's word for it.
            #[serde(default)]
            reason: Option<String>,
        }
        let path = format!("compatibility/subjects/{}/versions?verbose=true", encoded(subject));
        let request = self.http.post(self.at_path(&path)).json(&json!({ "schema": schema, "schemaType": "AVRO" }));
        let answer: Option<Answer> = optional(self.send(request, format!("subject {subject}")).await)?;
        Ok(match answer {
            None | Some(Answer { is_compatible: true, .. }) => Vec::new(),
            Some(Answer { messages, reason, .. }) if messages.is_empty() => {
                vec![reason.unwrap_or_else(|| "the registry does not say why".to_owned())]
            }
            Some(Answer { messages, .. }) => messages,
        })
    }

    /// The subject's own compatibility level, if it has one.
    pub async fn compatibility(&self, subject: &str) -> Result<Option<String>, RegistryError> {
        #[derive(Deserialize)]
        struct Level {
            #[serde(rename = "compatibilityLevel")]
            level: String,
        }
        let request = self.http.get(self.at_path(&format!("config/{}", encoded(subject))));
        let level: Option<Level> = optional(self.send(request, format!("settings of subject {subject}")).await)?;
        Ok(level.map(|level| level.level))
    }

    /// Sets the subject's compatibility level (`FULL_TRANSITIVE`).
    pub async fn set_compatibility(&self, subject: &str, level: &str) -> Result<(), RegistryError> {
        let request = self
            .http
            .put(self.at_path(&format!("config/{}", encoded(subject))))
            .json(&json!({ "compatibility": level }));
        self.send::<Json>(request, format!("level {level} for subject {subject}")).await.map(drop)
    }

    fn at_path(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    async fn send<T: for<'de> Deserialize<'de>>(
        &self,
        request: reqwest::RequestBuilder,
        what: String,
    ) -> Result<T, RegistryError> {
        let request = match &self.auth {
            Some((username, password)) => request.basic_auth(username, Some(password.expose())),
            None => request,
        };
        let unavailable = |what: &str, error: reqwest::Error| RegistryError::Unavailable {
            what: what.to_owned(),
            message: error.without_url().to_string(),
        };
        let response = request.header("accept", MEDIA_TYPE).send().await.map_err(|error| unavailable(&what, error))?;
        let status = response.status();
        if status.is_success() {
            return response.json().await.map_err(|error| unavailable(&what, error));
        }
        let raw = response.json::<RawError>().await.ok();
        let code = raw.as_ref().map_or(0, |raw| raw.error_code);
        let message = raw.map_or_else(|| format!("HTTP {status}"), |raw| raw.message);
        Err(classify(code, status.is_server_error(), what, message))
    }
}

/// The error of a converter's call, told apart by type.
fn translate(error: SRCError, what: String) -> RegistryError {
    match error.source().and_then(|source| source.downcast_ref::<RawError>()) {
        Some(raw) => classify(raw.error_code, error.retriable, what, format!("{}: {}", error.error, raw.message)),
        None => {
            let message = error.cause.map_or(error.error.clone(), |cause| format!("{}: {cause}", error.error));
            classify(0, error.retriable, what, message)
        }
    }
}

/// Confluent's codes: 404xx is absence, 5xxxx the registry's own trouble. A 404 that is not the registry's own
/// (code 0: a proxy's page) says nothing about the schema.
fn classify(code: u32, trouble: bool, what: String, message: String) -> RegistryError {
    match code {
        40_400..=40_499 => RegistryError::NotFound { what },
        50_000..=59_999 => RegistryError::Unavailable { what, message },
        _ if trouble => RegistryError::Unavailable { what, message },
        _ => RegistryError::Refused { what, message },
    }
}

fn optional<T>(found: Result<T, RegistryError>) -> Result<Option<T>, RegistryError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(RegistryError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A subject as one segment of a path.
fn encoded(subject: &str) -> String {
    url::form_urlencoded::byte_serialize(subject.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Walks a schema in the order of its text and puts each named definition where its name comes first.
fn place(schema: &mut Json, namespace: Option<&str>, named: &mut Vec<(String, Json)>) {
    match schema {
        Json::String(name) => {
            let full = match namespace {
                Some(namespace) if !name.contains('.') => format!("{namespace}.{name}"),
                _ => name.clone(),
            };
            let found = named.iter().position(|(known, _)| *known == full || known == name);
            if let Some(index) = found {
                let (_, mut definition) = named.swap_remove(index);
                place(&mut definition, None, named);
                *schema = definition;
            }
        }
        Json::Array(union) => union.iter_mut().for_each(|variant| place(variant, namespace, named)),
        Json::Object(object) => {
            let own = object.get("namespace").and_then(Json::as_str).map(str::to_owned);
            let from_name = object.get("name").and_then(Json::as_str).and_then(|name| name.rsplit_once('.'));
            let own = own.or_else(|| from_name.map(|(namespace, _)| namespace.to_owned()));
            let namespace = own.as_deref().or(namespace);
            for key in ["type", "items", "values"] {
                if let Some(inner) = object.get_mut(key) {
                    place(inner, namespace, named);
                }
            }
            if let Some(Json::Array(fields)) = object.get_mut("fields") {
                fields.iter_mut().for_each(|field| place(field, namespace, named));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_referenced_schema_stands_where_it_is_first_named() {
        let mut root = json!({ "type": "record", "name": "A", "namespace": "n", "fields": [
            { "name": "one", "type": ["null", "B"] }, { "name": "two", "type": "n.B" },
        ]});
        let definition =
            json!({ "type": "record", "name": "B", "namespace": "n", "fields": [{ "name": "c", "type": "m.C" }] });
        let other = json!({ "type": "enum", "name": "m.C", "symbols": ["x"] });
        place(&mut root, None, &mut vec![("n.B".into(), definition), ("m.C".into(), other)]);
        let parsed: Result<serde_avro_fast::Schema, _> = root.to_string().parse();
        assert!(parsed.is_ok(), "{root:#}");
        assert_eq!(root["fields"][0]["type"][1]["fields"][0]["type"]["name"], "m.C");
        assert_eq!(root["fields"][1]["type"], "n.B");
    }

    #[test]
    fn absence_trouble_and_refusal_are_told_apart() {
        let of = |code, trouble| classify(code, trouble, "x".into(), "m".into());
        assert!(matches!(of(40403, false), RegistryError::NotFound { .. }));
        assert!(matches!(of(50002, false), RegistryError::Unavailable { .. }));
        assert!(matches!(of(0, true), RegistryError::Unavailable { .. }));
        assert!(matches!(of(409, false), RegistryError::Refused { .. }));
        assert!(matches!(of(0, false), RegistryError::Refused { .. }), "a proxy's 404 is no statement about a schema");
    }

    #[test]
    fn a_password_is_never_shown() {
        let client =
            RegistryClient::build("http://127.0.0.1:1".into(), Some(("me".into(), Secret::new("hush")))).unwrap();
        assert!(!format!("{:?} {:?}", client.converter, client.auth).contains("hush"));
    }
}
