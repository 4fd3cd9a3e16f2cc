use std::time::Duration;

use headwater::{
    dev::crm::{Crm, CrmOptions},
    topology::Rate,
};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

async fn crm(quota: u32) -> Crm {
    let quota = Rate { count: quota, per: Duration::from_secs(3_600) };
    let options = CrmOptions { latency: Duration::ZERO, population: 2_000, quota, ..CrmOptions::default() };
    Crm::start(None, options).await.unwrap()
}

async fn read(crm: &Crm, token: &str, body: &Value) -> reqwest::Result<Response> {
    let url = format!("{}/crm/v3/objects/contacts/batch/read", crm.url());
    Client::new().post(url).bearer_auth(token).json(body).send().await
}

fn ids(ids: &[&str]) -> Value {
    ids.iter().map(|id| json!({ "id": id })).collect()
}

#[tokio::test]
async fn contacts_that_exist_come_complete_with_the_properties_asked_for() {
    let crm = crm(100).await;
    let body = json!({ "inputs": ids(&["u_0001", "u_1999"]), "properties": ["segment", "company", "nonsense"] });
    let response = read(&crm, "demo", &body).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-hubspot-ratelimit-max"], "100");
    assert_eq!(response.headers()["x-hubspot-ratelimit-remaining"], "99");
    assert_eq!(response.headers()["x-hubspot-ratelimit-interval-milliseconds"], "3600000");
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["status"], "COMPLETE");
    let contact = &answer["results"][1];
    assert_eq!((&contact["id"], &contact["archived"]), (&json!("u_1999"), &json!(false)));
    assert!(contact["createdAt"].as_str().unwrap() <= contact["updatedAt"].as_str().unwrap());
    let properties = contact["properties"].as_object().unwrap();
    let mut names: Vec<_> = properties.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["company", "createdate", "hs_object_id", "lastmodifieddate", "segment"]);
    assert!(answer.get("errors").is_none());
}

#[tokio::test]
async fn contacts_that_do_not_exist_make_a_207_that_names_them() {
    let crm = crm(100).await;
    let body = json!({ "inputs": ids(&["u_0001", "u_2000", "nobody"]), "properties": ["segment"] });
    let response = read(&crm, "demo", &body).await.unwrap();
    assert_eq!(response.status(), StatusCode::MULTI_STATUS);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["results"].as_array().unwrap().len(), 1);
    assert_eq!(answer["numErrors"], 1);
    assert_eq!(answer["errors"][0]["category"], "OBJECT_NOT_FOUND");
    assert_eq!(answer["errors"][0]["context"]["ids"], json!(["u_2000", "nobody"]));
    let counts = crm.counts();
    assert_eq!((counts.asked, counts.found, counts.not_found), (3, 1, 2));
}

#[tokio::test]
async fn a_contact_is_found_by_another_property_too() {
    let crm = crm(100).await;
    let email = headwater::dev::contacts::contact(42).email();
    let body = json!({ "inputs": ids(&[&email]), "properties": ["email", "user_id"], "idProperty": "email" });
    let answer: Value = read(&crm, "demo", &body).await.unwrap().json().await.unwrap();
    assert_eq!(answer["results"][0]["id"], "100043");
    assert_eq!(answer["results"][0]["properties"]["email"], json!(email));
    assert_eq!(answer["results"][0]["properties"]["user_id"], "u_0042");
    let other = json!({ "inputs": ids(&["someone42@acme.example"]), "properties": [], "idProperty": "email" });
    assert_eq!(read(&crm, "demo", &other).await.unwrap().status(), StatusCode::MULTI_STATUS);
}

#[tokio::test]
async fn a_wrong_token_a_spent_quota_and_a_large_batch_are_refused_in_hubspot_s_words() {
    let crm = crm(2).await;
    let body = json!({ "inputs": ids(&["u_0001"]), "properties": [] });
    let response = read(&crm, "wrong", &body).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.json::<Value>().await.unwrap()["category"], "INVALID_AUTHENTICATION");

    let large = vec!["u_0001"; 101];
    let response = read(&crm, "demo", &json!({ "inputs": ids(&large) })).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(response.json::<Value>().await.unwrap()["category"], "VALIDATION_ERROR");

    assert_eq!(read(&crm, "demo", &body).await.unwrap().status(), StatusCode::OK);
    let response = read(&crm, "demo", &body).await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["x-hubspot-ratelimit-remaining"], "0");
    let answer: Value = response.json().await.unwrap();
    assert_eq!((&answer["errorType"], &answer["policyName"]), (&json!("RATE_LIMIT"), &json!("TEN_SECONDLY_ROLLING")));
    assert_eq!((crm.counts().unauthorized, crm.counts().limited), (1, 1));
}

#[tokio::test]
async fn dead_it_resets_connections_and_it_comes_back() {
    let crm = crm(100).await;
    let body = json!({ "inputs": ids(&["u_0001"]), "properties": [] });
    crm.set_alive(false);
    assert!(read(&crm, "demo", &body).await.is_err());
    crm.set_alive(true);
    assert_eq!(read(&crm, "demo", &body).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_port_that_is_taken_is_chosen_anew() {
    let first = crm(1).await;
    let port = first.stub().address().port();
    let second = Crm::start(Some(port), CrmOptions::default()).await.unwrap();
    assert_ne!(second.stub().address().port(), port);
}
