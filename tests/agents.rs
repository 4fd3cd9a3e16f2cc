//! Agents that call services, from topology to part, against servers on the loopback interface.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{Json, Router, http::StatusCode, routing};
use headwater::{
    agent::{self, Agent, Step},
    event::{EventField, EventMap, Outcome, Part, Path, Reason, Record, Source, Type, Value},
    service::Services,
    topology::{
        AgentKind, AgentSpec, BatchSpec, BreakerSpec, CacheSpec, Fallback, HttpSpec, HubSpotSpec, OutputField, Rate,
        ServiceKind, ServiceSpec, SourceSpec, Start, Topology,
    },
};
use serde_json::json;

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

fn service(name: &str, kind: ServiceKind) -> ServiceSpec {
    ServiceSpec {
        name: name.into(),
        kind,
        rate_limit: Some(Rate { count: 1000, per: Duration::from_secs(1) }),
        batch: Some(BatchSpec { max: 100, wait: Duration::from_millis(5) }),
        cache: Some(CacheSpec {
            ttl: Duration::from_secs(300),
            stale: Duration::from_secs(3600),
            not_found: Duration::from_secs(60),
            entries: 1000,
        }),
        breaker: BreakerSpec { failures: 5, open: Duration::from_secs(10) },
        failure_ttl: Duration::from_secs(5),
        concurrency: 8,
    }
}

fn function(name: &str, service: usize, input: (&str, Path), output: &[(&str, &str, Type)]) -> AgentSpec {
    AgentSpec {
        name: name.into(),
        kind: AgentKind::Function { service },
        deps: Vec::new(),
        input: vec![(input.0.into(), input.1)],
        output: output
            .iter()
            .map(|(name, from, ty)| OutputField { name: (*name).into(), ty: *ty, from: (*from).into() })
            .collect(),
        when: None,
        consent: None,
        deadline: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        retry: 0,
        fallback: vec![Fallback::Cache],
        skip_older_than: None,
    }
}

fn start(services: Vec<ServiceSpec>, agents: Vec<AgentSpec>) -> (Arc<Services>, Vec<Arc<dyn Agent>>) {
    let topology = Topology {
        name: "campaign".into(),
        version: "1".into(),
        source: SourceSpec {
            topic: "events.raw".into(),
            key: Vec::new(),
            dedup: None,
            keyed: false,
            start: Start::Beginning,
        },
        services,
        agents,
        stages: Vec::new(),
        triggers: Vec::new(),
        destinations: Vec::new(),
        sinks: Vec::new(),
        feeds: Vec::new(),
    };
    let services = Services::build(&topology).unwrap();
    let agents = agent::build(&topology, &services).unwrap();
    (services, agents)
}

fn record(user: &str) -> Record {
    let mut record = Record::default();
    record.event.user_id = Some(user.into());
    record.event.properties.insert("domain".into(), format!("{user}.example").into());
    record
}

async fn run(agent: &Arc<dyn Agent>, record: &Record) -> Part {
    match agent.start(record) {
        Step::Done(part) => part,
        Step::Pending(part) => part.await,
        Step::Ordered(_) => panic!("an agent with state"),
    }
}

fn user_id() -> (&'static str, Path) {
    ("user_id", Path::Event(EventField::UserId))
}

/// A CRM that knows u0 to u9 and counts requests.
fn crm(requests: Arc<AtomicUsize>) -> Router {
    let read = move |Json(body): Json<serde_json::Value>| {
        requests.fetch_add(1, SeqCst);
        let known = |id: &&str| id.len() == 2;
        let ids = body["inputs"].as_array().unwrap().iter().map(|input| input["id"].as_str().unwrap());
        let contact = |id| json!({"id": id, "properties": {"segment": format!("s-{id}"), "seats": "12"}});
        let results: Vec<_> = ids.filter(known).map(contact).collect();
        async move { (StatusCode::MULTI_STATUS, Json(json!({"status": "COMPLETE", "results": results}))) }
    };
    Router::new().route("/crm/v3/objects/contacts/batch/read", routing::post(read))
}

fn hubspot(base_url: String) -> ServiceKind {
    ServiceKind::HubSpot(HubSpotSpec { token: "t".into(), base_url, id_property: None })
}

#[tokio::test]
async fn two_agents_of_one_crm_share_its_requests_and_each_gets_its_own_fields() {
    let requests = Arc::new(AtomicUsize::new(0));
    let base = serve(crm(requests.clone())).await;
    let lookup = function("crm_lookup", 0, user_id(), &[("crm_segment", "segment", Type::Text)]);
    let sizes = function("sizes", 0, user_id(), &[("seats", "seats", Type::Int), ("again", "segment", Type::Text)]);
    let (services, agents) = start(vec![service("crm", hubspot(base))], vec![lookup, sizes]);
    let records: Vec<_> = (0..12).map(|user| record(&format!("u{user}"))).collect();
    let parts = futures::future::join_all(records.iter().map(|record| run(&agents[0], record))).await;
    assert_eq!(requests.load(SeqCst), 1, "twelve misses, one request");
    assert_eq!(parts[3].fields, [Value::text("s-u3")]);
    assert_eq!((parts[3].provenance.outcome, parts[3].provenance.source), (Outcome::Ok, Some(Source::Live)));
    assert_eq!((parts[11].provenance.outcome, parts[11].provenance.reason), (Outcome::Ok, Some(Reason::NotFound)));

    let Step::Done(part) = agents[1].start(&records[3]) else { panic!("the other agent filled the cache") };
    assert_eq!(part.fields, [Value::Int(12), Value::text("s-u3")]);
    assert_eq!(part.provenance.source, Some(Source::Cache));
    let (name, state) = &services.snapshot()[0];
    assert_eq!((&**name, state.hits, state.misses, state.attempts.ok), ("crm", 1, 12, 1));
}

#[tokio::test]
async fn an_api_is_asked_by_template_and_its_outage_costs_only_its_own_fields() {
    let dead = Arc::new(AtomicUsize::new(0));
    let down = dead.clone();
    let answer = move |axum::extract::Path(domain): axum::extract::Path<String>| {
        let down = down.load(SeqCst) > 0;
        async move {
            match down {
                true => Err(StatusCode::SERVICE_UNAVAILABLE),
                false => Ok(Json(json!({"intent": {"level": "high", "of": domain}}))),
            }
        }
    };
    let base = serve(Router::new().route("/v2/companies/{domain}", routing::get(answer))).await;
    let http = ServiceKind::Http(HttpSpec {
        method: "GET".into(),
        url: format!("{base}/v2/companies/{{domain}}"),
        headers: Vec::new(),
        body: None,
        auth: None,
        result: vec![("level".into(), "/intent/level".into()), ("of".into(), "/intent/of".into())],
    });
    let mut spec = service("intent", http);
    spec.cache = spec.cache.map(|cache| CacheSpec { ttl: Duration::ZERO, ..cache });
    let domain = ("domain", Path::Entry(EventMap::Properties, "domain".into()));
    let mut intent = function("intent", 0, domain, &[("of", "of", Type::Text), ("level", "level", Type::Text)]);
    intent.fallback = vec![Fallback::Cache, Fallback::Values(vec![(1, Value::text("unknown"))])];
    let (_, agents) = start(vec![spec], vec![intent]);

    let part = run(&agents[0], &record("acme")).await;
    assert_eq!(part.fields, [Value::text("acme.example"), Value::text("high")]);
    dead.store(1, SeqCst);
    let part = run(&agents[0], &record("acme")).await;
    assert_eq!((part.provenance.outcome, part.provenance.reason), (Outcome::Stale, Some(Reason::Unavailable)));
    assert_eq!(part.field(1), &Value::text("high"));
    let part = run(&agents[0], &record("other")).await;
    assert_eq!((part.provenance.outcome, part.provenance.reason), (Outcome::Fallback, Some(Reason::Unavailable)));
    assert_eq!(part.fields, [Value::Null, Value::text("unknown")]);
}

#[tokio::test]
async fn a_service_that_never_answers_times_out() {
    let silent = Router::new().fallback(|| async {
        std::future::pending::<()>().await;
    });
    let base = serve(silent).await;
    let mut lookup = function("crm_lookup", 0, user_id(), &[("crm_segment", "segment", Type::Text)]);
    lookup.timeout = Duration::from_millis(50);
    let (services, agents) = start(vec![service("crm", hubspot(base))], vec![lookup]);
    let part = run(&agents[0], &record("u1")).await;
    assert_eq!((part.provenance.outcome, part.provenance.reason), (Outcome::Failed, Some(Reason::Timeout)));
    assert_eq!((part.provenance.attempts, services.snapshot()[0].1.attempts.timeout), (1, 1));
}

#[tokio::test]
async fn a_worker_without_partitions_has_no_quota() {
    let requests = Arc::new(AtomicUsize::new(0));
    let base = serve(crm(requests.clone())).await;
    let lookup = function("crm_lookup", 0, user_id(), &[("crm_segment", "segment", Type::Text)]);
    let (services, agents) = start(vec![service("crm", hubspot(base))], vec![lookup]);
    services.set_share(&[0], 0.0);
    // What is left in the bucket may still go, but it is never filled again.
    let mut refused = 0;
    for user in 0..10 {
        let part = run(&agents[0], &record(&format!("u{user}"))).await;
        refused += usize::from(part.provenance.reason == Some(Reason::RateLimited));
    }
    assert!(refused >= 9 && requests.load(SeqCst) <= 1, "{refused} refused");
}
