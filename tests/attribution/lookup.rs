//! Campaigns that are there: by click id, by UTM, by country; in pipelines; from the cache.

use futures::future::join_all;
use headwater::event::{Outcome, Reason, Source};

use super::{Site, server::RedisServer};

const FIELDS: &[&str] = &["campaign", "campaign_id", "channel", "cost"];

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_found_by_click_id_before_utm_and_by_country_before_all() {
    let Some(redis) = RedisServer::start(None) else { return };
    redis.run(&[
        "SET",
        "campaign:gclid:AbC",
        r#"{"campaign":"Spring","campaign_id":7,"channel":"paid_search","cost":0.42}"#,
    ]);
    redis.run(&["SET", "campaign:gclid:AbC:GB", r#"{"campaign":"Spring UK","cost":0.5}"#]);
    redis.run(&["SET", "campaign:utm:news/email/May", r#"{"campaign":"May letter","campaign_id":"m-5"}"#]);
    let mut site = Site::new(&redis.url(), "");

    let part = site.visit("utm_source=news&utm_medium=email&utm_campaign=May&gclid=AbC", "GB").await;
    assert_eq!(site.show(&part, FIELDS), "Spring UK  email 0.5");
    assert_eq!((part.provenance.outcome, part.provenance.source), (Outcome::Ok, Some(Source::Live)));
    let part = site.visit("gclid=AbC", "FR").await;
    assert_eq!(site.show(&part, FIELDS), "Spring UK  email 0.5", "the same click is the same visit");

    let mut other = Site::new(&redis.url(), "");
    let part = other.visit("gclid=AbC", "FR").await;
    assert_eq!(other.show(&part, FIELDS), "Spring 7 paid_search 0.42");
    let part = other.visit("utm_source=news&utm_medium=email&utm_campaign=May", "").await;
    assert_eq!(
        other.show(&part, &["campaign", "campaign_id", "channel", "credit"]),
        "May letter m-5 email [news/email/May letter:1]"
    );
    let again = other.visit("gclid=AbC", "FR").await;
    assert_eq!((again.provenance.source, again.provenance.attempts), (Some(Source::Cache), 0));
    assert_eq!(other.requests(), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_that_is_not_there_leaves_what_the_link_says() {
    let Some(redis) = RedisServer::start(None) else { return };
    let mut site = Site::new(&redis.url(), "");
    let part = site.visit("gclid=abc&utm_campaign=Spring", "GB").await;
    assert_eq!(site.show(&part, FIELDS), "Spring  paid ");
    assert_eq!((part.provenance.outcome, part.provenance.reason), (Outcome::Ok, Some(Reason::NotFound)));
    let part = site.visit("", "GB").await;
    assert_eq!((part.provenance.source, part.provenance.reason), (Some(Source::State), None), "nothing to ask");
    assert_eq!(redis.info("commandstats", "cmdstat_getrange"), 4, "click and UTM, each with and without country");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_campaigns_are_found_in_far_fewer_pipelines() {
    let Some(redis) = RedisServer::start(None) else { return };
    let campaign = |number: usize| {
        let key = format!("campaign:fbclid:Click-{number}");
        vec!["SET".to_owned(), key, format!(r#"{{"campaign":"c{number}","cost":{number}}}"#)]
    };
    redis.ask(&(0..10_000).map(campaign).collect::<Vec<_>>());
    let mut site = Site::new(&redis.url(), "");
    let records: Vec<_> = (0..10_000).map(|number| site.record(&format!("fbclid=Click-{number}"), "")).collect();
    let reads = redis.info("stats", "total_reads_processed");
    let parts = join_all(records.iter().map(|record| site.ask(record))).await;
    for (number, part) in parts.iter().enumerate() {
        assert_eq!(part.field(0).to_string(), format!("c{number}"), "{:?}", part.provenance);
    }
    let (answered, failed) = site.requests();
    assert_eq!(failed, 0);
    // At least a hundred; how many more depends on how fast the machine gathers them.
    assert!((100..3_000).contains(&answered), "{answered} pipelines");
    assert_eq!(redis.info("commandstats", "cmdstat_getrange"), 10_000);
    let reads = redis.info("stats", "total_reads_processed") - reads;
    assert!(reads < 5_000, "{reads} reads of the server for 10,000 commands");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_events_of_one_campaign_ask_once() {
    let Some(redis) = RedisServer::start(None) else { return };
    redis.run(&["SET", "campaign:utm:news/email/", r#"{"campaign":"Letter"}"#]);
    let mut site = Site::new(&redis.url(), "");
    let records: Vec<_> = (0..1000).map(|_| site.record("utm_source=news&utm_medium=email", "")).collect();
    let parts = join_all(records.iter().map(|record| site.ask(record))).await;
    assert!(parts.iter().all(|part| part.field(0).as_str() == Some("Letter")));
    assert_eq!(redis.info("commandstats", "cmdstat_getrange"), 1);
}
