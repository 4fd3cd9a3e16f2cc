//! What a topology becomes: order, stages, defaults, secrets kept, later kinds refused by name.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::event::{EventField, EventMap, Path, Type, Value};

const TWO_AGENTS: &str = include_str!("../../topologies/two-agents.yaml");
const CAMPAIGN: &str = include_str!("../../topologies/campaign.yaml");
const DESIGN: &str = include_str!("../../tests/fixtures/design.yaml");

fn load_with(text: &str, options: &LoadOptions) -> Loaded {
    load("t.yaml", text, options).unwrap_or_else(|findings| panic!("{}", render(&findings, text)))
}

fn loaded(text: &str) -> Loaded {
    load_with(text, &LoadOptions::default())
}

fn codes_of(findings: &[Diagnostic]) -> Vec<&str> {
    findings.iter().map(|finding| finding.code).collect()
}

fn agent<'t>(topology: &'t Topology, name: &str) -> &'t AgentSpec {
    topology.agents.iter().find(|agent| *agent.name == *name).unwrap()
}

fn names_of(topology: &Topology) -> Vec<&str> {
    topology.agents.iter().map(|agent| &*agent.name).collect()
}

fn chain_of(topology: &Topology) -> Vec<(&str, &str, &str)> {
    topology.stages.iter().map(|stage| (&*stage.name, &*stage.input, &*stage.output)).collect()
}

#[test]
fn the_two_agents_of_the_brief_load_with_warnings_and_run_refuses_them_by_name() {
    let list = TWO_AGENTS.split_once("agents:\n").unwrap().1;
    assert!(
        list.contains("  - name: crm_lookup\n    type: function\n    timeout: 2s\n    retry: 2\n    fallback: cache\n")
    );
    let Loaded { topology, warnings } = loaded(TWO_AGENTS);
    assert_eq!(codes_of(&warnings), ["HW204", "HW303", "HW303"]);
    assert_eq!(names_of(&topology), ["crm_lookup", "sentiment"]);
    let refusals: Vec<String> = plan_refusals(&topology).into_iter().map(|finding| finding.message).collect();
    assert!(refusals[0].contains("crm_lookup"), "{refusals:?}");
    // A build with models runs the second.
    assert_eq!(refusals.len(), if cfg!(feature = "ml") { 1 } else { 2 });
    assert!(refusals.get(1).is_none_or(|refusal| refusal.contains("local_llm")), "{refusals:?}");
}

#[test]
fn an_unbound_function_asks_the_stub_in_the_development_world() {
    let options = LoadOptions { bind_unbound_to: Some("http://127.0.0.1:4000/".to_owned()), ..LoadOptions::default() };
    let Loaded { topology, warnings } = load_with(TWO_AGENTS, &options);
    assert!(codes_of(&warnings).contains(&"HW204"));
    let AgentKind::Function { service } = agent(&topology, "crm_lookup").kind else { panic!("not bound") };
    let ServiceKind::HubSpot(spec) = &topology.services[service].kind else { panic!("not HubSpot") };
    assert_eq!(spec.base_url, "http://127.0.0.1:4000");
    assert!(topology.services[service].cache.is_some());
}

#[test]
fn the_shipped_campaign_has_no_finding_and_can_run() {
    let Loaded { topology, warnings } = loaded(CAMPAIGN);
    assert!(warnings.is_empty(), "{}", render(&warnings, CAMPAIGN));
    assert!(plan_refusals(&topology).is_empty());
    assert_eq!(
        names_of(&topology),
        ["geo", "device", "session", "funnel", "attribution", "crm_lookup", "account", "intent", "sentiment", "score"]
    );
    assert_eq!(agent(&topology, "intent").deps, [5], "intent's condition reads the CRM");
    assert_eq!(agent(&topology, "score").deps, [0, 1, 2, 4, 5, 7, 8]);
    assert_eq!(topology.source.key, [Path::Event(EventField::UserId), Path::Event(EventField::AnonymousId)]);
    assert!(!topology.destinations[0].allow_private);
    let mut variables = Variables::placeholders();
    variables.set("ALLOW_PRIVATE", "true");
    variables.set("HUBSPOT_URL", "http://127.0.0.1:4000");
    let options = LoadOptions { variables, ..LoadOptions::default() };
    let topology = load_with(CAMPAIGN, &options).topology;
    assert!(topology.destinations[0].allow_private);
    let ServiceKind::HubSpot(spec) = &topology.services[0].kind else { panic!("not HubSpot") };
    assert_eq!(spec.base_url, "http://127.0.0.1:4000");
}

#[test]
fn the_big_example_of_the_design_parses_and_checks() {
    let Loaded { topology, warnings } = loaded(DESIGN);
    assert!(warnings.iter().all(|warning| warning.code == codes::HW303), "{}", render(&warnings, DESIGN));
    let position = |name: &str| names_of(&topology).iter().position(|other| *other == name).unwrap();
    assert!(position("geo") < position("attribution"), "attribution reads geo.country");
    assert!(position("crm_lookup") < position("intent"));
    assert_eq!(position("score"), 8);
    let refused: Vec<String> = plan_refusals(&topology).into_iter().map(|finding| finding.message).collect();
    for word in ["customerio", "postgres", "redshift"] {
        assert!(refused.iter().any(|message| message.contains(word)), "{word} is not refused: {refused:?}");
    }
    assert!(!refused.iter().any(|message| message.contains("attribution")), "{refused:?}");
    let sentiment = agent(&topology, "sentiment");
    assert_eq!(sentiment.output, [OutputField { name: "sentiment".into(), ty: Type::Text, from: "label".into() }]);
    assert_eq!(sentiment.fallback, [Fallback::Lexicon]);
    assert_eq!(sentiment.retry, 0);
    let trigger = &topology.triggers[0];
    assert_eq!(trigger.cooldown, Some(Duration::from_secs(24 * 3600)));
    assert_eq!(trigger.payload.len(), 3);
    let unused = loaded(&DESIGN.replace("    destination: customerio\n", "    destination: ops-hook\n"));
    assert!(
        !plan_refusals(&unused.topology).iter().any(|finding| finding.message.contains("customerio")),
        "a later destination that nobody uses is no obstacle"
    );
}

#[test]
fn each_placement_names_its_stages_and_topics() {
    let split = loaded(CAMPAIGN).topology;
    assert_eq!(
        chain_of(&split),
        [
            ("geo", "campaign.events", "campaign.geo"),
            ("device", "campaign.geo", "campaign.device"),
            ("session", "campaign.device", "campaign.session"),
            ("funnel", "campaign.session", "campaign.funnel"),
            ("attribution", "campaign.funnel", "campaign.attribution"),
            ("crm_lookup", "campaign.attribution", "campaign.crm_lookup"),
            ("account", "campaign.crm_lookup", "campaign.account"),
            ("intent", "campaign.account", "campaign.intent"),
            ("sentiment", "campaign.intent", "campaign.sentiment"),
            ("score", "campaign.sentiment", "campaign.enriched"),
        ]
    );
    let options = LoadOptions { placement: Some(Placement::Fused), ..LoadOptions::default() };
    let fused = load_with(CAMPAIGN, &options).topology;
    assert_eq!(chain_of(&fused), [("enrich", "campaign.events", "campaign.enriched")]);
    assert_eq!(fused.stages[0].agents, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let stages = "stages: [{ name: remote, agents: [crm_lookup, account, intent] }, { name: rest, agents: [score, geo, device, session, funnel, attribution, sentiment] }]\n";
    let named = loaded(&format!("{CAMPAIGN}{stages}")).topology;
    assert_eq!(
        chain_of(&named),
        [("remote", "campaign.events", "campaign.remote"), ("rest", "campaign.remote", "campaign.enriched")]
    );
    assert_eq!(named.stages[1].agents, [0, 1, 2, 3, 4, 8, 9]);
    assert_eq!(names_of(&named), names_of(&split), "parts keep their order in every placement");
    let in_file = loaded(&format!("{CAMPAIGN}placement: fused\n")).topology;
    assert_eq!(in_file.stages.len(), 1);
}

#[test]
fn what_is_not_written_has_its_default() {
    let text = "name: t\nsource: { topic: raw }\nservices:\n  crm: { type: hubspot, token: x }\nagents:\n\
                \x20 - { name: crm, type: function, input: { id: event.user_id }, output: { a: b } }\n\
                \x20 - { name: slow, type: function, service: crm, timeout: 4s, input: { id: event.user_id }, output: { a: b } }\n\
                destinations:\n  hook: { type: webhook, url: 'https://a.example/x', secret: s }\n";
    let topology = loaded(text).topology;
    let crm = agent(&topology, "crm");
    assert_eq!((crm.deadline, crm.timeout, crm.retry), (Duration::from_secs(7), Duration::from_secs(2), 2));
    assert_eq!(agent(&topology, "slow").deadline, Duration::from_secs(13), "three times four seconds, and pauses");
    let service = &topology.services[0];
    assert_eq!(
        service.cache,
        Some(CacheSpec {
            ttl: Duration::from_secs(300),
            stale: Duration::from_secs(3600),
            not_found: Duration::from_secs(30),
            entries: 200_000
        })
    );
    assert_eq!(service.batch, Some(BatchSpec { max: 100, wait: Duration::from_millis(5) }));
    assert_eq!(service.breaker, BreakerSpec { failures: 5, open: Duration::from_secs(10) });
    assert_eq!((service.failure_ttl, service.concurrency), (Duration::from_secs(5), 64));
    let hook = &topology.destinations[0];
    assert_eq!((hook.timeout, hook.concurrency), (Duration::from_secs(10), 32));
    assert_eq!((hook.retry_for, hook.give_up), (Duration::from_secs(3600), Duration::from_secs(3 * 86_400)));
    assert_eq!(topology.source.start, Start::Beginning);
    assert_eq!(topology.source.dedup, None);
}

#[test]
fn an_agent_may_bring_a_service_of_its_own() {
    let text = "name: t\nsource: { topic: raw, key: [properties.account, user_id], start: end }\nagents:\n\
                \x20 - { name: people, type: http, url: 'https://p.example/{id}', method: post, cache: off, body: { who: ['{id}', 3] },\n\
                \x20     auth: { header: { name: X-Key, value: k } }, result: { level: /a/level, seats: /a/seats },\n\
                \x20     types: { seats: int }, fallback: { level: none, seats: 3 }, input: { id: event.user_id } }\n";
    let Loaded { topology, warnings } = loaded(text);
    assert!(warnings.is_empty(), "{}", render(&warnings, text));
    let people = agent(&topology, "people");
    assert!(matches!(people.kind, AgentKind::Function { service: 0 }));
    assert_eq!(people.output[1], OutputField { name: "seats".into(), ty: Type::Int, from: "seats".into() });
    assert_eq!(people.fallback, [Fallback::Values(vec![(0, Value::from("none")), (1, Value::Int(3))])]);
    assert_eq!(people.input, [("id".into(), Path::Event(EventField::UserId))]);
    let ServiceKind::Http(http) = &topology.services[0].kind else { panic!("not http") };
    assert_eq!(http.method, "POST");
    assert_eq!(http.body, Some(serde_json::json!({ "who": ["{id}", 3] })));
    assert!(topology.services[0].cache.is_none() && topology.services[0].batch.is_none());
    assert_eq!(topology.source.key[0], Path::Entry(EventMap::Properties, "account".into()));
    assert_eq!(topology.source.start, Start::End);
}

#[test]
fn variables_are_required_by_run_and_their_values_never_shown() {
    let text =
        CAMPAIGN.replace("${HOOK_SECRET:-", "${HOOK_SECRET}").replace("${HUBSPOT_TOKEN:-demo}", "${HUBSPOT_TOKEN}");
    let variables = Variables::required([("HOOK_SECRET".to_owned(), "s3cret".to_owned())]);
    let findings = load("t.yaml", &text, &LoadOptions { variables, ..LoadOptions::default() }).unwrap_err();
    assert_eq!(codes_of(&findings), ["HW506"]);
    assert!(findings[0].message.contains("HUBSPOT_TOKEN"));
    let wrong = "name: t\nsource: { topic: raw }\nagents: [{ name: d, type: user_agent }]\ndestinations:\n\
                 \x20 hook: { type: webhook, url: '${U}', secret: '${S}', timeout: '${U}', concurrency: '${S}' }\n";
    let variables = Variables::required([("U".to_owned(), "s3cret".to_owned()), ("S".to_owned(), "s3cret".to_owned())]);
    let findings = load("t.yaml", wrong, &LoadOptions { variables, ..LoadOptions::default() }).unwrap_err();
    assert_eq!(codes_of(&findings), ["HW113", "HW104", "HW107"]);
    assert!(!render(&findings, wrong).contains("s3cret"));
    let variables =
        Variables::required([("U".to_owned(), "https://a.example".to_owned()), ("S".to_owned(), "9".to_owned())]);
    let options = LoadOptions { variables, ..LoadOptions::default() };
    let topology = load_with(&wrong.replace(", timeout: '${U}'", ""), &options).topology;
    assert_eq!(topology.destinations[0].concurrency, 9);
    assert!(!format!("{topology:?}").contains("a.example"), "addresses of webhooks are secrets");
}

#[test]
fn the_version_follows_the_text() {
    let version = |text: &str| loaded(text).topology.version.to_string();
    assert_eq!(version(CAMPAIGN), version(CAMPAIGN));
    assert_ne!(version(CAMPAIGN), version(&format!("{CAMPAIGN}# more\n")));
    assert_eq!(version(CAMPAIGN).len(), 8);
}

#[test]
fn attribution_brings_a_redis_of_its_own_and_keeps_its_password() {
    let text = |url: &str, fallback: &str| {
        format!(
            "name: campaign\nsource: {{ topic: events.raw }}\nagents:\n  \
             - {{ name: attribution, type: attribution, campaigns: \"{url}\", fallback: {fallback} }}\n"
        )
    };
    let mut variables = Variables::required([]);
    variables.set("REDIS_PASSWORD", "hunter2");
    let options = LoadOptions { variables: variables.clone(), ..LoadOptions::default() };
    let file = text("redis://:${REDIS_PASSWORD}@cache.example", "[cache, { campaign: none }]");
    let topology = load_with(&file, &options).topology;
    assert_eq!(agent(&topology, "attribution").kind.service(), Some(0));
    let ServiceKind::Redis(redis) = &topology.services[0].kind else { panic!("{:?}", topology.services) };
    assert_eq!(redis.url.expose(), "redis://:hunter2@cache.example");
    assert!(topology.services[0].cache.is_some() && topology.services[0].batch.is_some());
    assert!(!format!("{topology:?}").contains("hunter2"));
    let wrong = text("redis:/${REDIS_PASSWORD}", "cache");
    let findings = load("t.yaml", &wrong, &options).err().unwrap();
    assert_eq!(codes_of(&findings), ["HW113"]);
    assert!(!render(&findings, &wrong).contains("hunter2"));
}

#[test]
fn every_code_is_explained_and_ascending() {
    assert!(codes::ALL.is_sorted_by(|one, next| one.id < next.id), "in order, none twice");
    for code in codes::ALL {
        assert!(code.explain.trim().lines().count() >= 2, "{} is not explained", code.id);
        assert!(code.explain.lines().all(|line| line.chars().count() <= 110), "{} has long lines", code.id);
    }
    assert_eq!(codes::find("hw207").map(|code| code.id), Some("HW207"));
}

#[test]
fn the_json_schema_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/topology.schema.json");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == json_schema(), "schemas/topology.schema.json is out of date: run `headwater schema`");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_damaged_topology_makes_loading_panic(which in 0usize..3, at in 0usize..5000, remove in 0usize..40, insert in "[ \\-:{}\\[\\],#&*!'\"|>%@`a-z0-9.$\n\t]{0,6}") {
        let text = [TWO_AGENTS, CAMPAIGN, DESIGN][which];
        let mut at = at % text.len();
        while !text.is_char_boundary(at) { at -= 1; }
        let mut end = (at + remove).min(text.len());
        while !text.is_char_boundary(end) { end += 1; }
        let damaged = format!("{}{insert}{}", &text[..at], &text[end..]);
        match load("t.yaml", &damaged, &LoadOptions::default()) {
            Ok(loaded) => prop_assert!(loaded.topology.stages.iter().map(|stage| stage.agents.len()).sum::<usize>() == loaded.topology.agents.len()),
            Err(findings) => {
                prop_assert!(findings.iter().any(|finding| finding.severity == Severity::Error));
                render(&findings, &damaged);
            }
        }
    }

    #[test]
    fn no_text_makes_loading_panic(text in "(?s).{0,200}") {
        let _ = load("t.yaml", &text, &LoadOptions::default());
    }
}
