//! Against a stub of HubSpot's endpoint on the loopback interface, and on answers as HubSpot documents them.

use std::time::Duration;

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::json;

use super::*;
use crate::{event::Value, policy::Limit};

fn spec(base_url: String, id_property: Option<&str>) -> HubSpotSpec {
    HubSpotSpec { token: "geheim".into(), base_url, id_property: id_property.map(str::to_owned) }
}

fn columns() -> Vec<Column> {
    let column = |from: &str, ty| Column { from: from.into(), ty };
    vec![column("segment", Type::Text), column("seats", Type::Int), column("products", Type::TextList)]
}

fn inner(id_property: Option<&str>) -> Arc<Inner> {
    HubSpot::new("crm", &spec("http://a.example".into(), id_property), columns()).unwrap().inner
}

fn keys(keys: &[&str]) -> Vec<Key> {
    keys.iter().map(|key| Key::from(*key)).collect()
}

fn answer(segment: &str) -> Result<Found, CallError> {
    Ok(Some(Arc::from([Value::text(segment), Value::Null, Value::Null])))
}

#[tokio::test]
async fn asks_for_many_contacts_and_their_properties_at_once() {
    async fn read(headers: HeaderMap, axum::Json(body): axum::Json<Json>) -> (HeaderMap, axum::Json<Json>) {
        assert_eq!(headers["authorization"], "Bearer geheim");
        assert_eq!(
            body,
            json!({
                "inputs": [{"id": "1"}, {"id": "2"}, {"id": "3"}],
                "properties": ["segment", "seats", "products"],
            })
        );
        let mut limits = HeaderMap::new();
        for (name, value) in [("max", "190"), ("remaining", "120"), ("interval-milliseconds", "10000")] {
            let name = format!("x-hubspot-ratelimit-{name}");
            limits.insert(reqwest::header::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
        limits.insert("x-hubspot-ratelimit-secondly-remaining", "18".parse().unwrap());
        let results = json!([
            {"id": "2", "properties": {"segment": "smb", "seats": "12", "products": "crm;cdp"}},
            {"id": "1", "properties": {"segment": "enterprise", "seats": null}},
        ]);
        (limits, axum::Json(json!({"status": "COMPLETE", "results": results})))
    }
    let base = wire::serve(Router::new().route("/crm/v3/objects/contacts/batch/read", post(read))).await;
    let service = HubSpot::new("crm", &spec(base + "/", None), columns()).unwrap();
    let response = service.call(keys(&["1", "2", "3"])).await;
    let products = Value::List(["crm", "cdp"].map(Value::text).into());
    assert_eq!(
        response.answers.unwrap(),
        [answer("enterprise"), Ok(Some(Arc::from([Value::text("smb"), Value::Int(12), products]))), Ok(None)],
        "in the order of the keys; who is left out does not exist"
    );
    let limit = |remaining, ms| Limit { remaining, window: Duration::from_millis(ms), resets_in: None };
    assert_eq!(response.limits, [limit(120, 10_000), limit(18, 1000)]);
}

#[tokio::test]
async fn a_failing_request_keeps_its_kind_and_its_headers() {
    let limited = || async {
        let headers = [("retry-after", "3"), ("x-hubspot-ratelimit-secondly-remaining", "0")];
        (StatusCode::TOO_MANY_REQUESTS, headers, "{}")
    };
    for (router, kind) in [
        (post(limited), Kind::Limited),
        (post(|| async { StatusCode::UNAUTHORIZED }), Kind::Rejected),
        (post(|| async { StatusCode::BAD_GATEWAY }), Kind::Transient),
        (post(|| async { StatusCode::NOT_FOUND }), Kind::Rejected),
        (post(|| async { axum::response::Html("<h1>hello</h1>") }), Kind::BadResponse),
        (post(|| async { axum::Json(json!({"message": "hello"})) }), Kind::BadResponse),
    ] {
        let base = wire::serve(Router::new().route("/crm/v3/objects/contacts/batch/read", router)).await;
        let response = HubSpot::new("crm", &spec(base, None), columns()).unwrap().call(keys(&["1"])).await;
        let error = response.answers.unwrap_err();
        assert_eq!(error.kind, kind);
        if kind == Kind::Limited {
            assert_eq!(error.retry_after, Some(Duration::from_secs(3)));
            assert_eq!(response.limits, [Limit { remaining: 0, window: Duration::from_secs(1), resets_in: None }]);
        }
    }
}

#[tokio::test]
async fn a_207_is_read_item_by_item() {
    let multi = || async {
        let body = json!({
            "status": "COMPLETE",
            "results": [{"id": "1", "properties": {"segment": "enterprise"}}],
            "numErrors": 2,
            "errors": [
                {"status": "error", "category": "OBJECT_NOT_FOUND", "message": "Could not get some CONTACT objects", "context": {"ids": ["2"]}},
                {"status": "error", "category": "VALIDATION_ERROR", "message": "…", "context": {"ids": ["x"]}},
            ],
        });
        (StatusCode::MULTI_STATUS, axum::Json(body))
    };
    let base = wire::serve(Router::new().route("/crm/v3/objects/contacts/batch/read", post(multi))).await;
    let response = HubSpot::new("crm", &spec(base, None), columns()).unwrap().call(keys(&["1", "2", "x"])).await;
    let answers = response.answers.unwrap();
    assert_eq!(answers[..2], [answer("enterprise"), Ok(None)]);
    assert_eq!(answers[2].as_ref().unwrap_err().kind, Kind::Rejected);
}

#[test]
fn an_error_that_names_nobody_spoils_the_not_found_of_those_left_out() {
    let body = json!({
        "results": [{"id": "1", "properties": {"segment": "smb"}}],
        "errors": [{"category": "INTERNAL_ERROR", "message": "…"}],
    });
    let answers = inner(None).match_up(&keys(&["1", "2"]), Some(body)).unwrap();
    assert_eq!(answers[0], answer("smb"));
    assert_eq!(answers[1].as_ref().unwrap_err().kind, Kind::Transient);
}

#[test]
fn contacts_found_by_a_property_are_matched_by_it_without_regard_to_case() {
    let inner = inner(Some("email"));
    assert_eq!(inner.properties, ["segment", "seats", "products", "email"]);
    let body = json!({"results": [{"id": "7", "properties": {"email": "ada@acme.example", "segment": "smb"}}]});
    let answers = inner.match_up(&keys(&["Ada@Acme.example", "7"]), Some(body)).unwrap();
    assert_eq!(answers, [answer("smb"), Ok(None)]);
}

#[test]
fn a_property_of_the_wrong_type_costs_its_contact_only() {
    let body = json!({"results": [
        {"id": "1", "properties": {"segment": "smb", "seats": "many"}},
        {"id": "2", "properties": {"segment": "smb", "seats": ""}},
    ]});
    let answers = inner(None).match_up(&keys(&["1", "2"]), Some(body)).unwrap();
    let error = answers[0].as_ref().unwrap_err();
    assert_eq!(
        (error.kind, &*error.message),
        (Kind::BadResponse, "property seats: text where an integer was expected")
    );
    assert_eq!(answers[1], answer("smb"));
}
