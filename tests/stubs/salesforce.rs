//! Salesforce agents, from the topology's text to parts, against the stub.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use headwater::{
    agent::{self, Agent, Step},
    dev::{
        contacts::contact,
        salesforce::{Salesforce, SalesforceOptions},
        salesforce_login::Login,
        salesforce_record::record_id,
    },
    event::{Outcome, Part, Reason, Record, Source, Value},
    service::Services,
    topology::{LoadOptions, Variables, load, plan_refusals},
};

const PRIVATE_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/rfc7515-a2.pem");
const PUBLIC_KEY: &str = include_str!("../fixtures/rfc7515-a2.pub.pem");

async fn org(options: SalesforceOptions) -> Salesforce {
    Salesforce::start(None, SalesforceOptions { latency: Duration::ZERO, ..options }).await.unwrap()
}

/// What the agent of a test is made of.
struct Bench {
    services: Arc<Services>,
    agent: Arc<dyn Agent>,
}

/// An agent of type salesforce with these further keys.
fn bench(url: &str, keys: &str) -> Bench {
    let text = format!(
        "name: campaign\nsource: {{ topic: events.raw }}\nagents:\n  - name: crm\n    type: salesforce\n    login_url: {url}\n    \
         client_id: demo\n    input: {{ key: event.user_id }}\n    {}\n",
        keys.replace('\n', "\n    ")
    );
    let options = LoadOptions { variables: Variables::required([]), ..LoadOptions::default() };
    let topology =
        load("test.yaml", &text, &options).unwrap_or_else(|findings| panic!("{findings:#?}\n{text}")).topology;
    assert!(plan_refusals(&topology).is_empty(), "it runs in this version");
    let services = Services::build(&topology).unwrap();
    let agent = agent::build(&topology, &services).unwrap().remove(0);
    Bench { services, agent }
}

const BY_ID: &str = "client_secret: demo\ncache: off\nfailure_ttl: 0s\noutput: { segment: Segment__c, seats: Seats__c, since: CreatedDate }\n\
                     types: { seats: int, since: timestamp }";
const BY_EMAIL: &str = "client_secret: demo\ncache: off\nfailure_ttl: 0s\nid_field: Email\noutput: { segment: segment__c, company: Account.Name }";

impl Bench {
    async fn ask(&self, key: &str) -> Part {
        let mut record = Record::default();
        record.event.user_id = Some(key.into());
        match self.agent.start(&record) {
            Step::Done(part) => part,
            Step::Pending(part) => part.await,
            Step::Ordered(_) => panic!("an agent with state"),
        }
    }

    async fn ask_all(&self, keys: &[String]) -> Vec<Part> {
        join_all(keys.iter().map(|key| self.ask(key))).await
    }

    fn requests(&self) -> u64 {
        let attempts = self.services.snapshot()[0].1.attempts;
        attempts.ok + attempts.limited + attempts.permanent + attempts.timeout + attempts.transient
    }
}

fn says(part: &Part) -> (Outcome, Option<Reason>) {
    (part.provenance.outcome, part.provenance.reason)
}

fn segment(number: u64) -> Value {
    contact(number).segment.map_or(Value::Null, Value::text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_ids_are_one_token_and_one_collection() {
    let org = org(SalesforceOptions::default()).await;
    let bench = bench(&org.url(), &format!("{BY_ID}\nbatch: {{ max: 200, wait: 1s }}"));
    let ids: Vec<String> = (0..200).map(record_id).collect();
    let parts = bench.ask_all(&ids).await;
    for (number, part) in parts.iter().enumerate() {
        assert_eq!(says(part), (Outcome::Ok, None));
        assert_eq!(part.field(0), &segment(number as u64));
        assert!(matches!(part.field(2), Value::Int(at) if *at >= 1_704_067_200_000), "{:?}", part.field(2));
    }
    assert_eq!(parts[0].provenance.source, Some(Source::Live));
    assert_eq!(org.counts().tokens, 1);
    assert_eq!(org.counts().requests, 1);
    let unknown = bench.ask(&record_id(2_000)).await;
    assert_eq!(says(&unknown), (Outcome::Ok, Some(Reason::NotFound)));
    assert_eq!(bench.ask(&record_id(7)[..15]).await.field(0), &segment(7), "15 characters name it too");
}

#[tokio::test]
async fn a_person_is_found_by_email_with_fields_of_the_account() {
    let org = org(SalesforceOptions::default()).await;
    let bench = bench(&org.url(), &format!("{BY_EMAIL}\nbatch: {{ max: 3, wait: 1s }}"));
    let (ada, other) = (contact(42), contact(43));
    let keys = [ada.email().to_uppercase(), other.email(), "nobody@acme.example".to_owned()];
    let parts = bench.ask_all(&keys).await;
    assert_eq!(parts[0].fields, [segment(42), Value::text(ada.company)], "whatever its case");
    assert_eq!(parts[1].fields, [segment(43), Value::text(other.company)]);
    assert_eq!(says(&parts[2]), (Outcome::Ok, Some(Reason::NotFound)));
    assert_eq!(org.counts().requests, 1);
}

#[tokio::test]
async fn fields_of_the_account_are_found_by_id_too() {
    let org = org(SalesforceOptions::default()).await;
    let keys =
        "client_secret: demo\noutput: { company: Account.Name, interests: Interests__c }\ntypes: { interests: list }";
    let bench = bench(&org.url(), keys);
    let interests = Value::List(["crm", "cdp"].map(Value::text).into());
    let ids = [record_id(5), record_id(6)[..15].to_owned(), "nobody".to_owned()];
    let parts = bench.ask_all(&ids).await;
    assert_eq!(parts[0].fields, [Value::text(contact(5).company), interests.clone()]);
    assert_eq!(parts[1].fields, [Value::text(contact(6).company), interests]);
    assert_eq!(says(&parts[2]), (Outcome::Ok, Some(Reason::NotFound)));
}

#[tokio::test]
async fn an_injection_finds_nobody_and_harms_nobody() {
    let org = org(SalesforceOptions::default()).await;
    let bench = bench(&org.url(), &format!("{BY_EMAIL}\nbatch: {{ max: 5, wait: 1s }}"));
    let keys = [
        "x') OR Id != null OR Email IN ('".to_owned(),
        "\\".to_owned(),
        "') LIMIT 1 --\n\u{0}\"".to_owned(),
        "%".to_owned(),
        contact(1).email(),
    ];
    let parts = bench.ask_all(&keys).await;
    for part in &parts[..4] {
        assert_eq!(says(part), (Outcome::Ok, Some(Reason::NotFound)));
    }
    assert_eq!(parts[4].field(0), &segment(1), "in the same query as they");
    assert_eq!(org.counts().requests, 1);
}

#[tokio::test]
async fn all_pages_of_an_answer_are_read_and_the_oldest_record_answers() {
    let org = org(SalesforceOptions { page: 50, population: 600, ..SalesforceOptions::default() }).await;
    let bench = bench(&org.url(), "client_secret: demo\nid_field: MailingCountry\noutput: { id: Id }");
    let countries: Vec<String> = ["US", "SE", "in"].map(str::to_owned).to_vec();
    let parts = bench.ask_all(&countries).await;
    for (country, part) in countries.iter().zip(&parts) {
        let oldest = (0..600).find(|number| contact(*number).country.eq_ignore_ascii_case(country)).unwrap();
        assert_eq!(part.fields, [Value::text(record_id(oldest))]);
    }
    assert!(org.counts().requests > 2, "in pages of fifty");
}

#[tokio::test]
async fn a_session_that_expires_in_mid_batch_costs_nobody_an_answer() {
    let org = org(SalesforceOptions::default()).await;
    let bench = bench(&org.url(), &format!("{BY_EMAIL}\nbatch: {{ max: 159, wait: 1s }}"));
    assert_eq!(bench.ask(&contact(0).email()).await.field(0), &segment(0));
    // Long keys need several queries for one batch. The first finds the session alive, the second does not.
    let mut keys: Vec<String> = (1..100).map(|number| contact(number).email()).collect();
    keys.extend((0..60).map(|n| format!("{}{n}@nowhere.example", "é".repeat(200))));
    org.expire_sessions_after(1);
    let parts = bench.ask_all(&keys).await;
    for (number, part) in parts[..99].iter().enumerate() {
        assert_eq!((says(part), part.field(0)), ((Outcome::Ok, None), &segment(number as u64 + 1)));
    }
    assert!(parts[99..].iter().all(|part| says(part) == (Outcome::Ok, Some(Reason::NotFound))));
    assert_eq!((org.counts().unauthorized, org.counts().tokens), (1, 2));
    assert_eq!(bench.requests(), 2, "one batch, as the quota sees it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_session_is_renewed_once_however_many_meet_it() {
    let org = org(SalesforceOptions::default()).await;
    let bench = bench(&org.url(), &format!("{BY_ID}\nbatch: {{ max: 1 }}\nconcurrency: 100"));
    bench.ask(&record_id(0)).await;
    org.expire_sessions_after(0);
    let ids: Vec<String> = (0..100).map(record_id).collect();
    let parts = bench.ask_all(&ids).await;
    assert!(parts.iter().all(|part| says(part) == (Outcome::Ok, None)));
    assert_eq!(org.counts().tokens, 2);
}

#[tokio::test]
async fn near_the_day_s_limit_calls_stop_before_it() {
    let org = org(SalesforceOptions { daily_calls: 1_000, ..SalesforceOptions::default() }).await;
    let bench = bench(&org.url(), &format!("{BY_ID}\nreserve_percent: 10"));
    assert_eq!(says(&bench.ask(&record_id(1)).await), (Outcome::Ok, None));
    org.set_used(899);
    assert_eq!(says(&bench.ask(&record_id(2)).await), (Outcome::Ok, None), "it learns of it by this answer");
    for number in 3..10 {
        assert_eq!(says(&bench.ask(&record_id(number)).await), (Outcome::Failed, Some(Reason::RateLimited)));
    }
    assert_eq!((org.counts().requests, org.counts().limited), (2, 0), "the rest is left to others");
}

#[tokio::test]
async fn the_day_s_limit_itself_is_rate_limited_and_not_asked_again() {
    let org = org(SalesforceOptions { daily_calls: 5, ..SalesforceOptions::default() }).await;
    org.set_used(5);
    let bench = bench(&org.url(), BY_ID);
    for number in 0..4 {
        assert_eq!(says(&bench.ask(&record_id(number)).await), (Outcome::Failed, Some(Reason::RateLimited)));
    }
    assert_eq!((org.counts().requests, org.counts().limited), (1, 1));
}

#[tokio::test]
async fn a_wrong_secret_is_rejected_and_a_rotated_one_is_read_from_its_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old\n").unwrap();
    let login = |secret: &str| Login { client_secret: secret.into(), ..Login::default() };
    let org = org(SalesforceOptions { login: login("old"), ..SalesforceOptions::default() }).await;
    let keys = BY_ID.replace("demo", &format!("\"${{file:{}}}\"", file.path().display()));
    let bench = bench(&org.url(), &keys);
    assert_eq!(says(&bench.ask(&record_id(1)).await), (Outcome::Ok, None));
    org.set_login(login("new"));
    assert_eq!(says(&bench.ask(&record_id(2)).await), (Outcome::Ok, None), "the session goes on");
    std::fs::write(file.path(), "new\n").unwrap();
    org.expire_sessions_after(0);
    assert_eq!(says(&bench.ask(&record_id(3)).await), (Outcome::Ok, None), "without a restart");
    std::fs::write(file.path(), "wrong\n").unwrap();
    org.expire_sessions_after(0);
    for _ in 0..3 {
        assert_eq!(says(&bench.ask(&record_id(4)).await), (Outcome::Failed, Some(Reason::Rejected)));
    }
    assert_eq!((org.counts().tokens, org.counts().logins_refused), (2, 1));
}

#[tokio::test]
async fn a_jwt_is_signed_so_that_the_issuer_believes_it() {
    let login = Login { public_key: Some(PUBLIC_KEY.to_owned()), ..Login::default() };
    let org = org(SalesforceOptions { login, ..SalesforceOptions::default() }).await;
    let keys = |username: &str, audience: &str| {
        let key = format!("private_key: \"${{file:{PRIVATE_KEY}}}\"\nusername: {username}\naudience: {audience}");
        BY_ID.replace("client_secret: demo", &key)
    };
    let ours = bench(&org.url(), &keys("integration@acme.example", "https://login.salesforce.com"));
    assert_eq!(says(&ours.ask(&record_id(1)).await), (Outcome::Ok, None));
    for (username, audience) in [
        ("somebody@acme.example", "https://login.salesforce.com"),
        ("integration@acme.example", "https://evil.example"),
    ] {
        let theirs = bench(&org.url(), &keys(username, audience));
        assert_eq!(says(&theirs.ask(&record_id(1)).await), (Outcome::Failed, Some(Reason::Rejected)), "{username}");
    }
    assert_eq!((org.counts().tokens, org.counts().logins_refused), (1, 2));
}

#[tokio::test]
async fn a_column_that_does_not_exist_is_rejected_and_an_outage_is_unavailable() {
    let org = org(SalesforceOptions::default()).await;
    for id_field in ["", "\nid_field: Email"] {
        let wrong = bench(&org.url(), &format!("client_secret: demo\noutput: {{ x: Nonsense__c }}{id_field}"));
        assert_eq!(says(&wrong.ask(&record_id(1)).await), (Outcome::Failed, Some(Reason::Rejected)));
    }
    let bench = bench(&org.url(), BY_ID);
    org.set_alive(false);
    assert_eq!(says(&bench.ask(&record_id(1)).await), (Outcome::Failed, Some(Reason::Unavailable)));
}
