//! What the agents' tests share, and the list as a whole.

use std::time::Duration;

use super::*;
use crate::{
    event::{Outcome, Path, Reason, Type},
    topology::{BreakerSpec, HttpSpec, LeadScoreSpec, ServiceKind, ServiceSpec, SourceSpec, Start},
};

/// An agent with these output fields and nothing else declared.
pub(super) fn spec_with(kind: AgentKind, output: &[(&str, Type)]) -> AgentSpec {
    let field = |(name, ty): &(&str, Type)| OutputField { name: (*name).into(), ty: *ty, from: (*name).into() };
    AgentSpec {
        name: "agent".into(),
        kind,
        deps: Vec::new(),
        input: Vec::new(),
        output: output.iter().map(field).collect(),
        when: None,
        consent: None,
        deadline: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        retry: 0,
        fallback: Vec::new(),
        skip_older_than: None,
    }
}

pub(super) fn spec(kind: AgentKind) -> AgentSpec {
    spec_with(kind, &[])
}

/// The part of an agent that answers at once.
pub(super) fn run(agent: &dyn Agent, record: &Record) -> Part {
    match agent.start(record) {
        Step::Done(part) => part,
        Step::Pending(_) | Step::Ordered(_) => panic!("not answered at once"),
    }
}

fn topology(services: Vec<ServiceSpec>, agents: Vec<AgentSpec>) -> Topology {
    Topology {
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
    }
}

fn service(kind: ServiceKind) -> ServiceSpec {
    ServiceSpec {
        name: "intent".into(),
        kind,
        rate_limit: None,
        batch: None,
        cache: None,
        breaker: BreakerSpec { failures: 5, open: Duration::from_secs(10) },
        failure_ttl: Duration::from_secs(5),
        concurrency: 16,
    }
}

fn http() -> ServiceKind {
    ServiceKind::Http(HttpSpec {
        method: "GET".into(),
        url: "http://127.0.0.1:9/{domain}".into(),
        headers: Vec::new(),
        body: None,
        auth: None,
        result: vec![("level".into(), "/level".into())],
    })
}

fn refusal(topology: &Topology) -> String {
    match Services::build(topology) {
        Err(error) => error.to_string(),
        Ok(services) => build(topology, &services).err().map(|error| error.to_string()).unwrap_or_default(),
    }
}

#[test]
fn what_is_not_in_this_version_is_refused_by_name() {
    let later = || "local_llm".into();
    let agents = topology(vec![], vec![spec(AgentKind::Later { kind: later() })]);
    assert_eq!(refusal(&agents), "HW505 agent \"agent\": type local_llm is not in this version");
}

#[test]
fn an_input_that_the_url_names_and_the_agent_lacks_is_refused() {
    let agents = topology(vec![service(http())], vec![spec(AgentKind::Function { service: 0 })]);
    assert_eq!(refusal(&agents), "agent \"agent\": service \"intent\" needs an input \"domain\"");
}

#[test]
fn a_call_without_its_input_is_skipped() {
    let mut function = spec(AgentKind::Function { service: 0 });
    function.input = vec![("domain".into(), Path::Entry(crate::event::EventMap::Properties, "domain".into()))];
    let score = AgentKind::LeadScore(LeadScoreSpec { rules: vec![], floor: Some(1.0), cap: None, half_life: None });
    let topology = topology(vec![service(http())], vec![function, spec_with(score, &[("value", Type::Float)])]);
    let services = Services::build(&topology).unwrap();
    let agents = build(&topology, &services).unwrap();
    assert_eq!(agents.len(), 2);
    let part = run(&*agents[0], &Record::default());
    assert_eq!((part.provenance.outcome, part.provenance.reason), (Outcome::Skipped, Some(Reason::MissingInput)));
    assert_eq!(run(&*agents[1], &Record::default()).field(0), &crate::event::Value::Float(1.0));
}
