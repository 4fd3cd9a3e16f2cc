//! On answers that only a broken or hostile server gives. The stub of Salesforce judges the rest, in `tests/stubs`.

use std::sync::atomic::AtomicU64;

use axum::{
    Router,
    http::{HeaderMap, StatusCode, Uri},
    response::{Html, IntoResponse, Response as Answer},
    routing::{any, post},
};

use super::*;
use crate::event::{Type, Value};

const ID: &str = "003Hw0000000001";

fn spec(login_url: String, id_field: Option<&str>) -> SalesforceSpec {
    SalesforceSpec {
        login_url,
        client_id: "headwater".into(),
        grant: SalesforceGrant::ClientCredentials { client_secret: "geheim".into() },
        object: "Contact".into(),
        id_field: id_field.map(str::to_owned),
        api_version: "v62.0".into(),
        reserve_percent: 5.0,
    }
}

fn columns() -> Vec<Column> {
    vec![Column { from: "Segment__c".into(), ty: Type::Text }]
}

/// A service whose token leads to `instance`, or to the server itself, which answers so.
async fn service(
    instance: Option<&str>,
    id_field: Option<&str>,
    answer: impl Fn(&Uri) -> Answer + Clone + Send + Sync + 'static,
) -> Salesforce {
    let instance = instance.map(str::to_owned);
    let token = move |headers: HeaderMap| async move {
        let here = format!("http://{}", headers["host"].to_str().unwrap());
        axum::Json(json!({ "access_token": "t", "instance_url": instance.unwrap_or(here) }))
    };
    let router = Router::new()
        .route("/services/oauth2/token", post(token))
        .fallback(any(move |uri: Uri| async move { answer(&uri) }));
    Salesforce::new("crm", &spec(wire::serve(router).await, id_field), columns()).unwrap()
}

fn says(body: Json) -> Answer {
    axum::Json(body).into_response()
}

async fn ask(service: &Salesforce, key: &str) -> Result<Found, CallError> {
    service.call(vec![key.into()]).await.answers.and_then(|mut answers| answers.remove(0))
}

fn enterprise() -> Result<Found, CallError> {
    Ok(Some(Arc::from([Value::text("enterprise")])))
}

#[tokio::test]
async fn nobody_gets_another_s_record() {
    let record = |id: &'static str| move |_: &Uri| says(json!([{ "Id": id, "Segment__c": "enterprise" }]));
    let service_of = async |id| service(None, None, record(id)).await;
    assert_eq!(ask(&service_of("003Hw0000000001IAA").await, ID).await, enterprise());
    let error = ask(&service_of("003Hw0000000002IAA").await, ID).await.unwrap_err();
    assert_eq!(error.kind, Kind::BadResponse);
    let two = service(None, None, |_| says(json!([null, null]))).await;
    assert_eq!(ask(&two, ID).await.unwrap_err().kind, Kind::BadResponse, "not one for each");
}

#[tokio::test]
async fn html_is_a_bad_response_and_a_maintenance_page_is_transient() {
    let html = service(None, None, |_| Html("<h1>We are down for maintenance</h1>").into_response()).await;
    assert_eq!(ask(&html, ID).await.unwrap_err().kind, Kind::BadResponse);
    let down = service(None, None, |_| (StatusCode::SERVICE_UNAVAILABLE, Html("<h1>Down</h1>")).into_response()).await;
    assert_eq!(ask(&down, ID).await.unwrap_err().kind, Kind::Transient);
    let odd = service(None, None, |_| says(json!({ "records": [] }))).await;
    assert_eq!(ask(&odd, ID).await.unwrap_err().kind, Kind::BadResponse);
}

#[tokio::test]
async fn the_token_goes_to_https_or_this_machine_only() {
    for instance in ["http://acme.my.salesforce.com", "ftp://127.0.0.1", "http://localhost.evil.example", "no address"]
    {
        let service = service(Some(instance), None, |_| says(json!([null]))).await;
        assert_eq!(ask(&service, ID).await.unwrap_err().kind, Kind::BadResponse, "{instance}");
    }
}

#[tokio::test]
async fn the_next_page_is_on_the_same_host() {
    let evil =
        |_: &Uri| says(json!({ "records": [], "done": false, "nextRecordsUrl": "@evil.example/services/data/" }));
    let error = ask(&service(None, Some("Email"), evil).await, "a@b.example").await.unwrap_err();
    assert_eq!((error.kind, &*error.message), (Kind::BadResponse, "nextRecordsUrl is no path of the API"));
    assert!(is_path("/services/data/v62.0/query/01g5e00000abcde-2000"));
    for wrong in
        ["//evil.example/services/data/x", "/services/data/x?y=z", "https://evil.example/", "/services/data/%2e"]
    {
        assert!(!is_path(wrong), "{wrong}");
    }
}

#[tokio::test]
async fn pages_without_end_are_given_up() {
    let count = Arc::new(AtomicU64::new(0));
    let counter = count.clone();
    let endless = move |_: &Uri| {
        counter.fetch_add(1, Relaxed);
        says(json!({ "records": [], "done": false, "nextRecordsUrl": "/services/data/v62.0/query/01g-1" }))
    };
    let service = service(None, Some("Email"), endless).await;
    assert_eq!(ask(&service, "a@b.example").await.unwrap_err().kind, Kind::Limited);
    assert_eq!(count.load(Relaxed), MAX_REQUESTS as u64);
}

#[tokio::test]
async fn what_cannot_be_an_id_is_not_asked_for() {
    let count = Arc::new(AtomicU64::new(0));
    let counter = count.clone();
    let none = move |_: &Uri| {
        counter.fetch_add(1, Relaxed);
        says(json!([null]))
    };
    let service = service(None, None, none).await;
    for key in ["u_0042", "", "003Hw0000000001' OR '", "ada@acme.example", "003Hw000000000é"] {
        assert_eq!(ask(&service, key).await, Ok(None), "{key}");
    }
    assert_eq!(count.load(Relaxed), 0);
    let keys = ["u_0042", ID, "nobody"].map(Key::from).to_vec();
    assert_eq!(service.call(keys).await.answers.unwrap(), [Ok(None), Ok(None), Ok(None)]);
    assert_eq!(count.load(Relaxed), 1);
}

#[tokio::test]
async fn near_the_day_s_limit_it_stops_and_says_for_how_long() {
    let answer = |usage: &'static str| {
        move |_: &Uri| ([("sforce-limit-info", usage)], axum::Json(json!([null]))).into_response()
    };
    let near = service(None, None, answer("api-usage=4750/5000")).await.call(vec![ID.into()]).await;
    let stop = Limit { remaining: 0, window: answer::LOOK_AGAIN, resets_in: Some(answer::LOOK_AGAIN) };
    assert_eq!(near.limits, [stop]);
    assert_eq!(near.answers.unwrap(), [Ok(None)], "this one was answered");
    let far = service(None, None, answer("api-usage=4749/5000")).await.call(vec![ID.into()]).await;
    assert_eq!(far.limits, []);
}

#[test]
fn relationships_and_other_keys_need_queries() {
    let plain = |id_field| max_batch(&spec("https://a.example".into(), id_field), &columns());
    assert_eq!((plain(None), plain(Some("Email"))), (2_000, 200));
    let related = vec![Column { from: "Account.Name".into(), ty: Type::Text }];
    assert_eq!(max_batch(&spec("https://a.example".into(), None), &related), 200);
}

#[test]
fn a_private_key_that_is_none_is_refused_by_name() {
    let grant = SalesforceGrant::JwtBearer {
        username: "a@b.example".into(),
        private_key: "-----BEGIN geheim".into(),
        audience: "https://login.salesforce.com".into(),
    };
    let error = Salesforce::new("crm", &SalesforceSpec { grant, ..spec("https://a.example".into(), None) }, columns());
    let error = error.err().unwrap().to_string();
    assert_eq!(error, "service \"crm\": private_key: the private key is not one in PEM, unencrypted");
}
