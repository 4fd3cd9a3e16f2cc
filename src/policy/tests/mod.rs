//! The whole stack over a scripted service, in tokio's paused time: it passes only when everybody waits.

mod cache;
mod calls;
mod crowd;
mod limits;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::{BoxFuture, join_all};
use parking_lot::Mutex;

use super::*;
use crate::{
    event::{Outcome, Part, Reason, Source, Type, Value},
    topology::{
        AgentKind, AgentSpec, BatchSpec, BreakerSpec, CacheSpec, Fallback, HubSpotSpec, OutputField, Rate, ServiceKind,
        ServiceSpec,
    },
};

#[allow(clippy::disallowed_methods)]
fn paused_now() -> Instant {
    tokio::time::Instant::now().into_std()
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// What the service does with one request.
#[derive(Clone)]
enum Act {
    /// Answers every key with its own name.
    Echo,
    /// The same, and says what is left of its quota.
    Left(Limit),
    NotFound,
    Fail(CallError),
    /// Answers keys that begin with "bad" with that error.
    FailBad(CallError),
}

fn fail(kind: Kind) -> Act {
    Act::Fail(CallError::new(kind, "scripted"))
}

/// A service that does what it is told, and remembers what it was asked.
struct Fake {
    takes: Duration,
    script: Mutex<VecDeque<Act>>,
    /// Once the script is over.
    then: Mutex<Act>,
    asked: Mutex<Vec<(Instant, Vec<Key>)>>,
}

impl Fake {
    fn requests(&self) -> usize {
        self.asked.lock().len()
    }
    fn then(&self, act: Act) {
        *self.then.lock() = act;
    }
}

impl Call for Arc<Fake> {
    fn call(&self, keys: Vec<Key>) -> BoxFuture<'static, Response> {
        self.asked.lock().push((paused_now(), keys.clone()));
        let act = self.script.lock().pop_front().unwrap_or_else(|| self.then.lock().clone());
        let takes = self.takes;
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            let echo = |key: &Key| Ok(Some(Arc::from([Value::Text(key.clone()), Value::Int(7)])));
            match act {
                Act::Echo => Ok(keys.iter().map(echo).collect()),
                Act::Left(limit) => {
                    return Response { answers: Ok(keys.iter().map(echo).collect()), limits: vec![limit] };
                }
                Act::NotFound => Ok(keys.iter().map(|_| Ok(None)).collect()),
                Act::Fail(error) => Err(error),
                Act::FailBad(error) => Ok(keys
                    .iter()
                    .map(|key| if key.starts_with("bad") { Err(error.clone()) } else { echo(key) })
                    .collect()),
            }
            .into()
        })
    }
}

fn service(script: impl IntoIterator<Item = Act>) -> Arc<Fake> {
    Arc::new(Fake {
        takes: ms(50),
        script: Mutex::new(script.into_iter().collect()),
        then: Mutex::new(Act::Echo),
        asked: Mutex::default(),
    })
}

fn service_spec() -> ServiceSpec {
    ServiceSpec {
        name: "crm".into(),
        kind: ServiceKind::HubSpot(HubSpotSpec {
            token: "fake".into(),
            base_url: "http://127.0.0.1:9".into(),
            id_property: None,
        }),
        rate_limit: None,
        batch: None,
        cache: Some(CacheSpec {
            ttl: Duration::from_secs(300),
            stale: Duration::from_secs(3600),
            not_found: Duration::from_secs(60),
            entries: 1000,
        }),
        breaker: BreakerSpec { failures: 1000, open: Duration::from_secs(10) },
        failure_ttl: Duration::from_secs(5),
        concurrency: 16,
    }
}

fn agent_spec() -> AgentSpec {
    let field = |name: &str, ty| OutputField { name: name.into(), ty, from: name.into() };
    AgentSpec {
        name: "crm_lookup".into(),
        kind: AgentKind::Function { service: 0 },
        deps: Vec::new(),
        input: Vec::new(),
        output: vec![field("number", Type::Int), field("name", Type::Text)],
        when: None,
        consent: None,
        deadline: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        retry: 0,
        fallback: vec![Fallback::Cache],
        skip_older_than: None,
    }
}

fn stack(fake: &Arc<Fake>, service: &ServiceSpec, agent: &AgentSpec) -> Arc<Stack> {
    Stack::new(agent, Line::new(service, Arc::new(fake.clone()), paused_now), [1, 0])
}

async fn ask(stack: &Arc<Stack>, key: &str) -> Part {
    match stack.start(key.into()) {
        Reply::Now(part) => part,
        Reply::Later(part) => part.await,
    }
}

fn at_once(stack: &Arc<Stack>, key: &str) -> Part {
    match stack.start(key.into()) {
        Reply::Now(part) => part,
        Reply::Later(_) => panic!("{key} was not answered at once"),
    }
}

fn says(part: &Part) -> (Outcome, Option<Reason>, Option<Source>, u32) {
    let provenance = &part.provenance;
    (provenance.outcome, provenance.reason, provenance.source, provenance.attempts)
}

/// A cache that holds "u1" and has just gone stale.
async fn gone_stale(fake: &Arc<Fake>, service: &ServiceSpec, agent: &AgentSpec) -> Arc<Stack> {
    let stack = stack(fake, service, agent);
    assert_eq!(ask(&stack, "u1").await.provenance.outcome, Outcome::Ok);
    pass(Duration::from_secs(400)).await;
    stack
}

fn stack_line(stack: &Arc<Stack>) -> &Arc<Line> {
    stack.line()
}

fn batching() -> ServiceSpec {
    ServiceSpec { batch: Some(BatchSpec { max: 10, wait: ms(5) }), ..service_spec() }
}

async fn ask_all(stack: &Arc<Stack>, keys: &[String]) -> Vec<Part> {
    join_all(keys.iter().map(|key| ask(stack, key))).await
}

fn users(count: usize) -> Vec<String> {
    (0..count).map(|user| format!("u{user}")).collect()
}
