//! A Redis that is away, silent, locked, or holds something else: it costs only its own fields.

use futures::future::join_all;
use headwater::event::{Outcome, Part, Reason};

use super::{Site, server::RedisServer};

fn ended(part: &Part) -> (Outcome, Option<Reason>) {
    (part.provenance.outcome, part.provenance.reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_gone_costs_its_own_fields_and_redis_back_makes_them_good() {
    let Some(mut redis) = RedisServer::start(None) else { return };
    redis.run(&["SET", "campaign:gclid:A", r#"{"campaign":"First"}"#]);
    let mut site = Site::new(&redis.url(), "retry: 0,");
    assert_eq!(ended(&site.visit("gclid=A", "").await), (Outcome::Ok, None));

    redis.stop();
    let away = site.visit("gclid=B&utm_source=google&utm_campaign=Spring", "").await;
    assert_eq!(ended(&away), (Outcome::Failed, Some(Reason::Unavailable)));
    assert_eq!(site.show(&away, &["campaign", "utm_source", "touches", "cost"]), "Spring google 2 ");
    let cached = site.visit("gclid=A", "").await;
    assert_eq!(ended(&cached), (Outcome::Ok, None), "from the cache");

    redis.start_again();
    redis.run(&["SET", "campaign:gclid:B", r#"{"campaign":"Second"}"#]);
    // Another country, for a request that has just failed is not sent again at once.
    let back = site.visit("gclid=B&utm_source=google&utm_campaign=Spring", "GB").await;
    assert_eq!(ended(&back), (Outcome::Ok, None));
    assert_eq!(site.show(&back, &["campaign", "touches"]), "Second 2", "the visit that Redis missed is completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_values_stand_in_while_redis_is_gone() {
    let Some(mut redis) = RedisServer::start(None) else { return };
    redis.stop();
    let mut site = Site::new(&redis.url(), "retry: 0, fallback: [cache, { campaign_id: none, campaign: unknown }],");
    let part = site.visit("gclid=B&utm_campaign=Spring", "").await;
    assert_eq!(ended(&part), (Outcome::Fallback, Some(Reason::Unavailable)));
    assert_eq!(site.show(&part, &["campaign", "campaign_id"]), "Spring none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_does_not_answer_is_a_timeout_and_the_next_request_gets_a_new_connection() {
    let Some(redis) = RedisServer::start(None) else { return };
    redis.run(&["SET", "campaign:gclid:C", r#"{"campaign":"Third"}"#]);
    let mut site = Site::new(&redis.url(), "retry: 0, timeout: 3s, deadline: 30s,");
    site.visit("gclid=A", "").await;
    redis.signal("STOP");
    let silent = site.visit("gclid=B", "").await;
    redis.signal("CONT");
    assert_eq!(ended(&silent), (Outcome::Failed, Some(Reason::Timeout)));
    let part = site.visit("gclid=C", "").await;
    assert_eq!((ended(&part), site.show(&part, &["campaign"])), ((Outcome::Ok, None), "Third".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_campaign_fails_its_own_event_only_and_the_breaker_stays_closed() {
    let Some(redis) = RedisServer::start(None) else { return };
    redis.run(&["HSET", "campaign:gclid:hash", "campaign", "Spring"]);
    redis.run(&["LPUSH", "campaign:gclid:list", "Spring"]);
    redis.run(&["SET", "campaign:gclid:text", "Spring"]);
    redis.run(&["SET", "campaign:gclid:type", r#"{"cost":{"eur":1}}"#]);
    redis.run(&["SET", "campaign:gclid:good", r#"{"campaign":"Good"}"#]);
    let mut site = Site::new(&redis.url(), "retry: 0,");
    let kinds = ["hash", "list", "text", "type", "good"];
    let records: Vec<_> =
        (0..50).map(|number| site.record(&format!("gclid={}&x={number}", kinds[number % 5]), "")).collect();
    let parts = join_all(records.iter().map(|record| site.ask(record))).await;
    for (number, (record, asked)) in records.iter().zip(parts).enumerate() {
        let part = site.count(record, asked).part;
        let expected = if number % 5 == 4 { (Outcome::Ok, None) } else { (Outcome::Failed, Some(Reason::BadResponse)) };
        assert_eq!(ended(&part), expected, "{}", kinds[number % 5]);
        assert_eq!(site.show(&part, &["channel"]), "paid");
    }
    let later = site.visit("gclid=good", "GB").await;
    assert_eq!(ended(&later), (Outcome::Ok, None), "Redis itself works");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_a_megabyte_is_refused_unread() {
    let Some(redis) = RedisServer::start(None) else { return };
    for number in 0..50 {
        let large = format!(r#"{{"campaign":"{}"}}"#, "x".repeat(1024 * 1024));
        redis.run(&["SET", &format!("campaign:gclid:L{number}"), &large]);
    }
    let mut site = Site::new(&redis.url(), "retry: 0,");
    let before = redis.info("stats", "total_net_output_bytes");
    let records: Vec<_> = (0..50).map(|number| site.record(&format!("gclid=L{number}"), "")).collect();
    let parts = join_all(records.iter().map(|record| site.ask(record))).await;
    for part in parts {
        assert_eq!(ended(&part), (Outcome::Failed, Some(Reason::BadResponse)));
    }
    let sent = redis.info("stats", "total_net_output_bytes") - before;
    assert!(sent < 50 * 17 * 1024, "{sent} bytes of 50 MB were sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_opens_it_and_a_wrong_one_or_none_is_a_refusal() {
    let Some(redis) = RedisServer::start(Some("hunter2")) else { return };
    redis.run(&["SET", "campaign:gclid:A", r#"{"campaign":"First"}"#]);
    let mut site = Site::new(&redis.url_with("hunter2"), "");
    let part = site.visit("gclid=A", "").await;
    assert_eq!(site.show(&part, &["campaign"]), "First");
    for url in [redis.url_with("wrong"), redis.url()] {
        let mut site = Site::new(&url, "");
        let part = site.visit("gclid=A", "").await;
        assert_eq!(ended(&part), (Outcome::Failed, Some(Reason::Rejected)));
        assert_eq!(part.provenance.attempts, 1, "a refusal is not tried again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_to_a_server_without_it_is_an_outage_and_no_crash() {
    let Some(redis) = RedisServer::start(None) else { return };
    let mut site = Site::new(&redis.url().replacen("redis:", "rediss:", 1), "retry: 0, timeout: 2s,");
    let part = site.visit("gclid=A", "").await;
    assert_eq!(part.provenance.outcome, Outcome::Failed);
    assert!(matches!(part.provenance.reason, Some(Reason::Unavailable | Reason::Timeout)), "{:?}", part.provenance);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_server_closed_costs_nothing() {
    let Some(redis) = RedisServer::start(None) else { return };
    let mut site = Site::new(&redis.url(), "retry: 0,");
    for number in 0..5 {
        redis.run(&["SET", &format!("campaign:gclid:{number}"), r#"{"campaign":"Spring"}"#]);
        let part = site.visit(&format!("gclid={number}"), "").await;
        assert_eq!((ended(&part), part.field(0).to_string()), ((Outcome::Ok, None), "Spring".to_owned()));
        redis.run(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }
    assert_eq!(site.requests(), (5, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_needs_no_more_than_getrange_on_the_campaigns_and_without_it_is_refused() {
    let Some(redis) = RedisServer::start(None) else { return };
    redis.run(&["SET", "campaign:gclid:A", r#"{"campaign":"First"}"#]);
    redis.run(&["ACL", "SETUSER", "headwater", "on", ">pass", "~campaign:*", "+getrange"]);
    redis.run(&["ACL", "SETUSER", "nobody", "on", ">pass", "~campaign:*", "+get"]);
    let url = |user: &str| redis.url().replacen("redis://", &format!("redis://{user}:pass@"), 1);
    let mut site = Site::new(&url("headwater"), "");
    let part = site.visit("gclid=A", "").await;
    assert_eq!(site.show(&part, &["campaign"]), "First", "{:?}", part.provenance);
    let part = Site::new(&url("nobody"), "").visit("gclid=A", "").await;
    assert_eq!(ended(&part), (Outcome::Failed, Some(Reason::Rejected)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_of_the_url_is_asked() {
    let Some(redis) = RedisServer::start(None) else { return };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    redis.ask(&[words(&["SELECT", "3"]), words(&["SET", "campaign:gclid:A", r#"{"campaign":"Third"}"#])]);
    let mut site = Site::new(&redis.url().replacen("/0", "/3", 1), "");
    let part = site.visit("gclid=A", "").await;
    assert_eq!(site.show(&part, &["campaign"]), "Third");
    let part = Site::new(&redis.url().replacen("/0", "/99", 1), "").visit("gclid=A", "").await;
    assert_eq!(ended(&part), (Outcome::Failed, Some(Reason::Rejected)), "there are sixteen");
}
