//! The whole way from text to a checked topology: parse, resolve, check, place. Every finding of every step at once.

use sha2::{Digest, Sha256};

use super::{
    agents::{self, Binding, Build},
    codes,
    decode::{Cx, Lenient, MapReader, Name, Read},
    diagnostic::{Diagnostic, Findings},
    edge,
    model::{AgentSpec, ServiceSpec, SourceSpec, Start, Topology},
    names, order,
    place::{self, Placement},
    raw::{RawSource, RawTopology},
    raw_agent::{AgentBody, RawAgent, RawAgents},
    raw_service::RawServices,
    scope::{Names, Signature},
    services,
    site::Sites,
    suggest::did_you_mean,
    vars::Variables,
    yaml,
};
use crate::{
    event::{EventField, EventMap, Path},
    expr::Scope as _,
};

/// How a topology is loaded.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Values of `${…}`.
    pub variables: Variables,
    /// Base URL of a HubSpot that a function without a service is bound to, with a warning: the stub CRM of `dev`.
    pub bind_unbound_to: Option<String>,
    /// Overrides the file's placement.
    pub placement: Option<Placement>,
}

/// A topology that can be used, and what its author should know.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub topology: Topology,
    /// In the order of the file.
    pub warnings: Vec<Diagnostic>,
}

/// Loads a topology from the text of its file. `file_name` stands in findings.
///
/// # Errors
/// Every error and warning, in the order of the file. Each has a code that `headwater explain` knows.
pub fn load(file_name: &str, text: &str, options: &LoadOptions) -> Result<Loaded, Vec<Diagnostic>> {
    let mut findings = Findings::new(file_name, text);
    let topology = parse(text, options, &mut findings).and_then(|raw| build(&raw, text, options, &mut findings));
    match topology {
        Some(topology) if !findings.has_errors() => Ok(Loaded { topology, warnings: findings.into_sorted() }),
        _ => Err(findings.into_sorted()),
    }
}

fn parse(text: &str, options: &LoadOptions, findings: &mut Findings) -> Option<RawTopology> {
    let root = yaml::parse(text, findings)?;
    let mut cx = Cx { findings, variables: &options.variables, what: "the topology".to_owned() };
    let mut map = MapReader::open(&root, &mut cx)?;
    let raw = RawTopology::read(&mut map, &mut cx);
    map.finish(&mut cx);
    raw
}

fn build(raw: &RawTopology, text: &str, options: &LoadOptions, findings: &mut Findings) -> Option<Topology> {
    names::check(&raw.name, "a topology", findings);
    let Lenient(raw_agents) = &raw.agents;
    let raw_agents = raw_agents.as_ref()?;
    check_agent_names(raw_agents, raw, findings);
    let source = raw.source.0.as_ref().and_then(|source| self::source(&raw.name.value, source, raw_agents, findings));
    let (services, bindings) = bind(raw.services.as_ref(), &raw_agents.entries, options, findings);

    let edges = order::edges(&raw_agents.entries, &raw_agents.broken, findings);
    let order = order::sorted(&raw_agents.entries, &edges, findings);
    let mut place = vec![0; order.len()];
    for (position, index) in order.iter().enumerate() {
        place[*index] = position;
    }
    let signatures: Vec<Signature> = order
        .iter()
        .map(|index| agents::signature(&raw_agents.entries[*index], bindings[*index], &services, findings))
        .collect();
    let names = Names { agents: &signatures, broken: &raw_agents.broken };
    let build = Build { names: &names, services: &services, place: &place, edges: &edges };
    let mut sites = Sites::default();
    let agents: Vec<Option<AgentSpec>> = order
        .iter()
        .map(|index| build.agent(*index, &raw_agents.entries[*index], bindings[*index], &mut sites, findings))
        .collect();

    let destinations = edge::destinations(raw.destinations.as_ref(), findings);
    let broken = raw.destinations.as_ref().map_or(&[][..], |raw| &raw.0.broken);
    let triggers = raw.triggers.as_deref().unwrap_or(&[]);
    let triggers = edge::triggers(triggers, &destinations, broken, &build, &mut sites, findings);
    let sinks = edge::sinks(raw.sinks.as_ref(), findings);
    let feeds = edge::feeds(raw.feeds.as_ref(), findings);

    let agents = agents.into_iter().collect::<Option<Vec<_>>>();
    let stages = stages(raw, options, agents.as_deref(), findings);
    let agents = agents?;
    let spans: Vec<_> = order.iter().map(|index| raw_agents.entries[*index].common.name.span).collect();
    sites.warn_absent(&agents, &spans, findings);
    let name = &raw.name.value;
    Some(Topology {
        name: name.as_str().into(),
        version: version(text).into(),
        source: source?,
        services,
        stages: stages?,
        agents,
        triggers,
        destinations,
        sinks,
        feeds,
    })
}

/// Eight hexadecimal digits of SHA-256 of the text.
fn version(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

fn check_agent_names(agents: &RawAgents, raw: &RawTopology, findings: &mut Findings) {
    if agents.entries.is_empty() && agents.broken.is_empty() {
        findings.error(
            codes::HW105,
            raw.name.span,
            "the topology has no agents",
            "Add - { name: geo, type: geoip, database: … }",
        );
    }
    for (index, agent) in agents.entries.iter().enumerate() {
        let name = &agent.common.name;
        names::check(name, "an agent", findings);
        if let Some(first) = agents.entries[..index].iter().find(|other| other.common.name.value == name.value) {
            let message =
                format!("there are two agents \"{}\", the first on line {}", name.value, first.common.name.span.line);
            findings.error(codes::HW215, name.span, message, "Give one of them another name");
        }
    }
}

fn source(topology: &str, raw: &RawSource, agents: &RawAgents, findings: &mut Findings) -> Option<SourceSpec> {
    names::check_topic(&raw.topic, findings);
    if let Some(suffix) = raw.topic.value.strip_prefix(&format!("{topology}.")) {
        let own = ["events", "enriched", "triggers", "dead-letters", "control"].contains(&suffix)
            || agents.entries.iter().any(|agent| agent.common.name.value == suffix);
        if own {
            let message = format!("the raw topic \"{}\" is one of the topology's own", raw.topic.value);
            findings.error(
                codes::HW109,
                raw.topic.span,
                message,
                "Name the topic that producers write to, such as events.raw",
            );
        }
    }
    let no_agents = Names { agents: &[], broken: &agents.broken };
    let key = match &raw.key {
        None => vec![Path::Event(EventField::UserId), Path::Event(EventField::AnonymousId)],
        Some(fields) => {
            let mut key = Vec::new();
            for field in &fields.0 {
                let dotted = format!("event.{}", field.value.trim_start_matches("event."));
                match no_agents.resolve(&dotted) {
                    Some((
                        path @ (Path::Event(
                            EventField::UserId | EventField::AnonymousId | EventField::Id | EventField::Ip,
                        )
                        | Path::Entry(EventMap::Properties | EventMap::Campaign, _)),
                        _,
                    )) => key.push(path),
                    Some(_) => {
                        let message = format!("\"{}\" names nobody, so it is no key", field.value);
                        findings.error(
                            codes::HW107,
                            field.span,
                            message,
                            "Keys are user_id, anonymous_id, id, ip, properties.<name>",
                        );
                    }
                    None => {
                        if let Some(unknown) = no_agents.explain(&dotted, "source.key") {
                            findings.error(unknown.code, field.span, unknown.message, unknown.fix);
                        }
                    }
                }
            }
            key
        }
    };
    let start = match raw.start.as_ref().map(|word| (word, word.value.as_str())) {
        None | Some((_, "beginning")) => Start::Beginning,
        Some((_, "end")) => Start::End,
        Some((word, other)) => {
            let message = format!("there is no start \"{other}\"");
            findings.error(codes::HW112, word.span, message, "There are beginning, end");
            Start::Beginning
        }
    };
    Some(SourceSpec {
        topic: raw.topic.value.as_str().into(),
        key,
        dedup: raw.dedup.map(|window| window.value),
        keyed: raw.keyed.is_some_and(|keyed| keyed.value),
        start,
    })
}

/// Services, those of their own that agents bring, and which agent calls which.
fn bind(
    raw: Option<&RawServices>,
    agents: &[RawAgent],
    options: &LoadOptions,
    findings: &mut Findings,
) -> (Vec<ServiceSpec>, Vec<Binding>) {
    let mut list: Vec<ServiceSpec> = Vec::new();
    for (name, service) in raw.iter().flat_map(|raw| &raw.0.entries) {
        names::check_label(name, "a service", findings);
        list.push(services::build(&name.value, &service.common, &service.body, name.span, findings));
    }
    let shared = list.len();
    let broken = raw.map_or(&[][..], |raw| &raw.0.broken);
    let find = |list: &[ServiceSpec], name: &str| list.iter().position(|service| *service.name == *name);
    let bindings: Vec<Binding> = agents
        .iter()
        .map(|agent| {
            let Name { value: name, span } = &agent.common.name;
            match &agent.body {
                AgentBody::Private(service, _) => {
                    let (keys, body) = &**service;
                    if find(&list, name).is_some() {
                        let message = own_service_twice(name);
                        findings.error(codes::HW215, *span, message, "Write type: function to call the shared one");
                    }
                    list.push(services::build(name, keys, body, *span, findings));
                    Binding::Service(list.len() - 1)
                }
                AgentBody::Function(keys, _) => {
                    let wanted = keys.service.as_ref().map_or(name.as_str(), |service| service.value.as_str());
                    match (find(&list, wanted), &keys.service, &options.bind_unbound_to) {
                        (Some(index), _, _) => Binding::Service(index),
                        _ if broken.iter().any(|broken| broken == wanted) => Binding::None,
                        (None, Some(written), _) => {
                            let message = format!("service \"{wanted}\" is not defined; {name} calls it");
                            let mut fix = did_you_mean(wanted, list.iter().map(|service| &*service.name));
                            if fix.is_empty() {
                                fix = format!("Add services.{wanted}: {{ type: hubspot, token: … }}");
                            }
                            findings.error(codes::HW211, written.span, message, fix);
                            Binding::None
                        }
                        (None, None, Some(stub)) => {
                            let message =
                                format!("function \"{name}\" is bound to no service; here it asks the stub CRM");
                            findings.warn(codes::HW204, *span, message, bind_fix(name));
                            list.push(services::stub(name, stub));
                            Binding::Service(list.len() - 1)
                        }
                        (None, None, None) => {
                            let message = format!("function \"{name}\" is bound to no service");
                            findings.warn(codes::HW204, *span, message, bind_fix(name));
                            Binding::Unbound
                        }
                    }
                }
                AgentBody::Attribution(keys, _) => match &keys.campaigns {
                    None => Binding::None,
                    Some(url) => {
                        if find(&list, name).is_some() {
                            findings.error(
                                codes::HW215,
                                *span,
                                own_service_twice(name),
                                "Give one of them another name",
                            );
                        }
                        list.push(services::redis(name, url, findings));
                        Binding::Lookup(list.len() - 1)
                    }
                },
                _ => Binding::None,
            }
        })
        .collect();
    for (index, (name, _)) in raw.iter().flat_map(|raw| &raw.0.entries).enumerate().take(shared) {
        if !bindings.contains(&Binding::Service(index)) {
            let message = format!("no agent calls service \"{}\"", name.value);
            findings.warn(
                codes::HW301,
                name.span,
                message,
                format!("Add - {{ name: {}, type: function, … }} or take it away", name.value),
            );
        }
    }
    (list, bindings)
}

fn own_service_twice(name: &str) -> String {
    format!("agent \"{name}\" brings a service of its own, and there is a service \"{name}\"")
}

fn bind_fix(name: &str) -> String {
    format!("Add services.{name}: {{ type: hubspot, token: … }} or service: <name>")
}

/// Places the agents; without all of them only the keys are checked.
fn stages(
    raw: &RawTopology,
    options: &LoadOptions,
    agents: Option<&[AgentSpec]>,
    findings: &mut Findings,
) -> Option<Vec<super::model::StageSpec>> {
    let written = match raw.placement.as_ref().map(|word| (word, word.value.parse::<Placement>())) {
        None => None,
        Some((_, Ok(placement))) => Some(placement),
        Some((word, Err(message))) => {
            findings.error(
                codes::HW112,
                word.span,
                message,
                "For groups of your own write stages: [{ name: local, agents: [geo] }]",
            );
            None
        }
    };
    if let (Some(word), Some(_)) = (&raw.placement, &raw.stages) {
        findings.error(codes::HW107, word.span, "placement and stages both say where agents run", "Keep one of them");
    }
    let name = raw.name.value.as_str();
    Some(match (&raw.stages, options.placement) {
        (Some(groups), None) if !groups.is_empty() => {
            let groups_at = groups.first().map_or(&raw.name, |group| &group.name);
            place::place_groups(name, groups, groups_at, agents?, findings)
        }
        (_, placement) => place::place(name, placement.or(written).unwrap_or_default(), agents?),
    })
}
