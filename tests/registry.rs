//! The development registry, through our client, through schema_registry_converter's own encoder and by plain HTTP.

use std::sync::Arc;

use headwater::{
    codec::{DecodeError, EVENT_SCHEMA, EventDecoder, EventEncoder, RegistryClient, RegistryError, SchemaCache},
    dev::registry::Registry,
    event::Event,
};
use serde_json::{Value, json};

const V1: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;
/// Reads and is read by V1.
const V2: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":["null","string"],"default":null}]}"#;
/// Goes with V2 but not with V1.
const V3: &str = r#"{"type":"record","name":"R","fields":[{"name":"b","type":["null","string"],"default":null}]}"#;

async fn registry() -> (Registry, RegistryClient) {
    let registry = Registry::start(None).await.unwrap();
    let client = RegistryClient::at(&registry.url()).unwrap();
    (registry, client)
}

async fn call(method: &str, url: String, body: Option<Value>) -> (u16, Value) {
    let request = reqwest::Client::new().request(method.parse().unwrap(), url);
    let response = match body {
        Some(body) => request.json(&body),
        None => request,
    }
    .send()
    .await
    .unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn the_same_schema_has_one_id_and_one_version() {
    let (registry, client) = registry().await;
    let id = client.register("a-value", V1).await.unwrap();
    assert_eq!(client.register("a-value", &V1.replace(',', ", ")).await.unwrap(), id);
    assert_eq!(client.register("b-value", V1).await.unwrap(), id);
    let newer = client.register("a-value", V2).await.unwrap();
    assert_ne!(newer, id);
    let latest = client.latest("a-value").await.unwrap().unwrap();
    assert_eq!((latest.id, latest.version, &*latest.schema), (newer, 2, V2));
    assert_eq!(client.find("a-value", V1).await.unwrap().unwrap().version, 1);
    assert_eq!(client.find("b-value", V2).await.unwrap(), None);
    assert_eq!(client.latest("c-value").await.unwrap(), None);
    assert_eq!(client.schema(id).await.unwrap(), V1);
    registry.shutdown().await;
}

#[tokio::test]
async fn full_transitive_looks_at_every_version() {
    let (_registry, client) = registry().await;
    assert_eq!(client.compatibility("a-value").await.unwrap(), None);
    client.set_compatibility("a-value", "FULL_TRANSITIVE").await.unwrap();
    assert_eq!(client.compatibility("a-value").await.unwrap().as_deref(), Some("FULL_TRANSITIVE"));
    assert!(client.incompatibilities("a-value", V1).await.unwrap().is_empty(), "a new subject takes anything");
    for schema in [V1, V2] {
        assert!(client.incompatibilities("a-value", schema).await.unwrap().is_empty());
        client.register("a-value", schema).await.unwrap();
    }
    assert!(!client.incompatibilities("a-value", V3).await.unwrap().is_empty());
    let error = client.register("a-value", V3).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Refused { message, .. } if message.contains("incompatible")), "{error}");
    assert!(client.set_compatibility("a-value", "SIDEWAYS").await.is_err());
}

#[tokio::test]
async fn answers_and_error_codes_are_confluents() {
    let (registry, client) = registry().await;
    let at = |path: &str| format!("{}{path}", registry.url());
    assert_eq!(call("GET", at("/subjects"), None).await, (200, json!([])));
    let id = client.register("a-value", V1).await.unwrap();
    client.register("a/b", V1).await.unwrap();
    assert_eq!(call("GET", at("/subjects"), None).await, (200, json!(["a-value", "a/b"])));
    assert_eq!(call("GET", at("/subjects/a-value/versions"), None).await, (200, json!([1])));
    let described = json!({ "subject": "a-value", "version": 1, "id": id, "schema": V1 });
    assert_eq!(call("GET", at("/subjects/a-value/versions/latest"), None).await, (200, described.clone()));
    assert_eq!(call("POST", at("/subjects/a-value"), Some(json!({ "schema": V1 }))).await, (200, described));
    assert_eq!(call("GET", at("/config"), None).await, (200, json!({ "compatibilityLevel": "BACKWARD" })));
    let inherited = json!({ "compatibilityLevel": "BACKWARD" });
    assert_eq!(call("GET", at("/config/a-value?defaultToGlobal=true"), None).await, (200, inherited));
    let compatible =
        call("POST", at("/compatibility/subjects/a-value/versions/latest"), Some(json!({ "schema": V2 }))).await;
    assert_eq!(compatible, (200, json!({ "is_compatible": true })));

    let schema = || Some(json!({ "schema": V2 }));
    let broken = || Some(json!({ "schema": "{" }));
    for (method, path, body, status, code) in [
        ("GET", "/schemas/ids/99", None, 404, 40403),
        ("GET", "/schemas/ids/0", None, 404, 40403),
        ("GET", "/subjects/none/versions", None, 404, 40401),
        ("GET", "/subjects/a-value/versions/7", None, 404, 40402),
        ("GET", "/subjects/a-value/versions/x", None, 422, 42202),
        ("GET", "/subjects/a-value/versions/0", None, 422, 42202),
        ("POST", "/subjects/none", schema(), 404, 40401),
        ("POST", "/subjects/a-value", schema(), 404, 40403),
        ("POST", "/subjects/a-value/versions", broken(), 422, 42201),
        ("POST", "/subjects/a-value/versions", Some(json!({ "schema": "x", "schemaType": "PROTOBUF" })), 422, 42201),
        ("PUT", "/config/a-value", Some(json!({ "compatibility": "x" })), 422, 42203),
        ("GET", "/config/a-value", None, 404, 40408),
        ("GET", "/nowhere", None, 404, 404),
    ] {
        let (got, answer) = call(method, at(path), body).await;
        assert_eq!((got, &answer["error_code"]), (status, &json!(code)), "{method} {path}: {answer}");
        assert!(answer["message"].is_string());
    }
}

#[tokio::test]
async fn the_cache_fetches_a_writers_schema_once() {
    let (registry, client) = registry().await;
    let id = client.register("events.raw-value", EVENT_SCHEMA).await.unwrap();
    let schemas = Arc::new(SchemaCache::new(client));
    let decoder = EventDecoder::new(schemas.clone());
    let event = Event { id: "e".into(), kind: "track".into(), occurred_at_ms: 1, ..Event::default() };
    let mut bytes = Vec::new();
    EventEncoder::new(id).unwrap().encode(&event, &mut bytes).unwrap();
    assert_eq!(decoder.decode(&bytes), Err(DecodeError::SchemaNotLoaded(id)));
    schemas.fetch(id).await.unwrap();
    assert_eq!(decoder.decode(&bytes), Ok(event));

    schemas.fetch(99).await.unwrap();
    assert_eq!(decoder.decode(b"\0\0\0\0\x63"), Err(DecodeError::NoSuchSchema(99)));

    registry.shutdown().await;
    schemas.fetch(id).await.expect("it is known: nobody is asked");
    let error = schemas.fetch(100).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unavailable { .. }), "{error}");
    assert_eq!(decoder.decode(b"\0\0\0\0\x64"), Err(DecodeError::SchemaNotLoaded(100)), "not remembered as missing");
}

#[tokio::test]
async fn schema_registry_converters_own_encoder_is_understood() {
    use schema_registry_converter::{
        async_impl::{avro::AvroEncoder, schema_registry::SrSettings},
        schema_registry_common::{SchemaType, SubjectNameStrategy, SuppliedSchema},
    };
    let (registry, client) = registry().await;
    let encoder = AvroEncoder::new(SrSettings::new(registry.url()));
    let supplied = SuppliedSchema::new(None, SchemaType::Avro, EVENT_SCHEMA.to_owned());
    let strategy = SubjectNameStrategy::TopicNameStrategyWithSchema("events.raw".into(), false, supplied);
    let none = || apache_avro::types::Value::Union(0, Box::new(apache_avro::types::Value::Null));
    let text = |text: &str| apache_avro::types::Value::String(text.into());
    let map = || apache_avro::types::Value::Map(Default::default());
    let values = vec![
        ("id", text("e-1")),
        ("type", text("page")),
        ("name", text("")),
        ("user_id", apache_avro::types::Value::Union(1, Box::new(text("u")))),
        ("anonymous_id", none()),
        ("occurred_at", apache_avro::types::Value::TimestampMillis(9)),
        ("url", none()),
        ("referrer", none()),
        ("ip", none()),
        ("user_agent", none()),
        ("description", none()),
        ("client_hints", map()),
        ("campaign", map()),
        ("properties", map()),
        ("consent", map()),
        ("revenue", none()),
        ("currency", none()),
    ];
    let bytes = encoder.encode(values, strategy).await.unwrap();
    let schemas = Arc::new(SchemaCache::new(client));
    schemas.fetch(1).await.unwrap();
    let event = EventDecoder::new(schemas).decode(&bytes).unwrap();
    assert_eq!((&*event.id, event.user_id.as_deref(), event.occurred_at_ms), ("e-1", Some("u"), 9));
}
