//! What the agents' tests share, and the list as a whole.

use std::time::Duration;

use proptest::prelude::*;

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
fn a_function_that_is_bound_to_no_service_is_refused_by_name() {
    let agents = topology(vec![], vec![spec(AgentKind::Unbound)]);
    assert_eq!(refusal(&agents), "HW505 agent \"agent\": a function that is bound to no service");
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

/// Runs every agent of a topology for one record, in order, each with its own person's state.
fn enrich(agents: &[Arc<dyn Agent>], states: &mut [Decoded], record: &mut Record) {
    record.parts = vec![Part::default(); agents.len()];
    for (index, (agent, state)) in agents.iter().zip(states).enumerate() {
        record.parts[index] = match agent.start(record) {
            Step::Done(part) => part,
            Step::Ordered(part) => agent.ordered().unwrap().run(record, part, state, &mut Vec::new()).part,
            Step::Pending(_) => panic!("none of these waits"),
        };
    }
}

const KEYED: &str = r#"
name: shop
source: { topic: raw }
agents:
  - { name: session, type: session, gap: 30m, split: [campaign] }
  - name: funnel
    type: funnel
    restart: true
    steps:
      - { view: 'event.type == "page"' }
      - { cart: 'event.name == "Product Added"' }
      - { order: 'event.name == "Order Completed"' }
  - name: score
    type: lead_score
    decay: { half_life: 1h }
    cap: 100
    rules:
      - { add: 20, when: session.page_views >= 2 }
      - { add: 30, when: funnel.step == "cart" }
      - { add: 5, when: event.name == "Product Added", each: true, at_most: 10 }
"#;

/// The topology, its agents, and a person of whom nothing is known.
fn shop() -> (Topology, Vec<Arc<dyn Agent>>, Vec<Decoded>) {
    let topology = crate::topology::load("shop.yaml", KEYED, &Default::default()).unwrap().topology;
    assert!(crate::topology::plan_refusals(&topology).is_empty(), "all of it runs");
    let agents = build(&topology, &Services::build(&topology).unwrap()).unwrap();
    let states = agents.iter().map(|_| Decoded::nothing()).collect();
    (topology, agents, states)
}

fn event(offset: i64, minute: i64, kind: &str, name: &str) -> Record {
    let event = crate::event::Event {
        id: offset.to_string().into(),
        kind: kind.into(),
        name: name.into(),
        user_id: Some("u_1".into()),
        url: Some("https://acme.example/product?utm_source=newsletter&utm_campaign=november".into()),
        occurred_at_ms: minute * 60_000,
        ..Default::default()
    };
    let origin = crate::event::Origin { events_offset: offset, events_tag: 1, ..Default::default() };
    Record { event, origin, received_at_ms: i64::MAX, ..Record::default() }
}

#[test]
fn a_score_reads_what_session_and_funnel_keep() {
    let (topology, agents, mut states) = shop();
    let events = [
        (0, "page", ""),
        (5, "page", ""),
        (10, "track", "Product Added"),
        (70, "track", "Order Completed"),
        (71, "page", ""),
    ];
    let shown: Vec<String> = events
        .into_iter()
        .zip(1..)
        .map(|((minute, kind, name), offset)| {
            let mut record = event(offset, minute, kind, name);
            enrich(&agents, &mut states, &mut record);
            let value = |path: &str| {
                let (agent, field) = path.split_once('.').unwrap();
                let agent = topology.agents.iter().position(|spec| *spec.name == *agent).unwrap();
                let field = topology.agents[agent].output.iter().position(|output| *output.name == *field).unwrap();
                record.parts[agent].field(field).to_string()
            };
            [
                "session.number",
                "session.page_views",
                "funnel.step",
                "funnel.run",
                "funnel.cart_at",
                "score.value",
                "score.reasons",
            ]
            .map(value)
            .join(" ")
        })
        .collect();
    assert_eq!(
        shown,
        [
            "1 1 view 1  0 []",
            "1 2 view 1  20 [+20 session.page_views >= 2]",
            "1 2 cart 1 600000 55 [+20 session.page_views >= 2,+30 funnel.step == \"cart\",+5 event.name == \"Product Added\"]",
            "2 0 order 1 600000 27.5 [+10 session.page_views >= 2 (of +20, 1h ago),+15 funnel.step == \"cart\" (of +30, 1h ago),+2.5 event.name == \"Product Added\" (0.5 × +5)]",
            "2 1 view 2  27.19 [+9.89 session.page_views >= 2 (of +20, 1h ago),+14.83 funnel.step == \"cart\" (of +30, 1h ago),+2.47 event.name == \"Product Added\" (0.49 × +5)]",
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_crash_after_any_event_changes_nothing(
        events in prop::collection::vec((0i64..400, 0usize..4, 0usize..3), 1..60),
    ) {
        let (_, agents, mut undisturbed) = shop();
        let mut written = vec![None::<Vec<u8>>; agents.len()];
        for ((minute, what, campaign), offset) in events.into_iter().zip(1..) {
            let (kind, name) =
                [("page", ""), ("track", "Product Added"), ("track", "Order Completed"), ("track", "Search")][what];
            let mut record = event(offset, minute, kind, name);
            record.event.url = Some(format!("https://acme.example/{}", ["", "?gclid=a", "?gclid=b"][campaign]).into());
            let mut again = record.clone();
            enrich(&agents, &mut undisturbed, &mut record);
            again.parts = vec![Part::default(); agents.len()];
            for (index, agent) in agents.iter().enumerate() {
                let ordered = agent.ordered().unwrap();
                // The state is what was last written, as after a restart; and the event comes twice, as after an abort.
                for attempt in 0..2 {
                    let mut state = ordered.decode(written[index].as_deref());
                    let mut bytes = Vec::new();
                    let ran = ordered.run(&again, Part::default(), &mut state, &mut bytes);
                    if attempt == 1 {
                        again.parts[index] = ran.part;
                        written[index] = Some(bytes).filter(|_| ran.changed).or_else(|| written[index].take());
                    }
                }
                let mut state = ordered.decode(written[index].as_deref());
                prop_assert!(!state.is_unreadable);
                prop_assert!(!ordered.run(&again, Part::default(), &mut state, &mut Vec::new()).changed, "a repeat");
            }
            prop_assert_eq!(&record.parts, &again.parts);
        }
    }
}
