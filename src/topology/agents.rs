//! Agents: what each yields, what it reads, how it calls; every name resolved to a place of the record.

use std::{sync::Arc, time::Duration};

use super::{
    calls::{self, Allowed, NoCache},
    codes,
    decode::{Name, Table},
    diagnostic::Findings,
    fields, keyed,
    model::{
        AgentKind, AgentSpec, AttributionModel, AttributionSpec, Fallback, LocalLlmSpec, OutputField, ServiceKind,
        ServiceSpec,
    },
    names,
    order::Edge,
    raw_agent::{AgentBody, AttributionKeys, Calls, LocalLlmKeys, RawAgent},
    salesforce,
    scope::{Names, Signature, join},
    services,
    site::Sites,
    suggest::did_you_mean,
    yaml::Span,
};
use crate::event::{Path, Type};
use crate::expr::Scope as _;

/// How an agent of the file is bound to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binding {
    /// Index into the services.
    Service(usize),
    /// Index into the services: it looks something up there beside what it does itself.
    Lookup(usize),
    /// A function without one: a warning, and `run` refuses it.
    Unbound,
    /// It calls no service, or that was reported.
    None,
}

/// What an agent yields, by type, service and `output`.
pub(super) fn signature(
    agent: &RawAgent,
    binding: Binding,
    services: &[ServiceSpec],
    findings: &mut Findings,
) -> Signature {
    let name = &agent.common.name.value;
    let types = match &agent.body {
        AgentBody::Function(_, calls) | AgentBody::Private(_, calls) => calls.types.as_ref(),
        _ => None,
    };
    let shape = fields::shape_of(&agent.body);
    // The own names of what it can yield; none is whatever is asked for.
    let own: Vec<(Arc<str>, Type)> = match binding {
        Binding::Service(index) => match &services[index].kind {
            ServiceKind::Http(http) => http.result.iter().map(|(name, _)| (name.clone(), Type::Text)).collect(),
            _ => Vec::new(),
        },
        _ => {
            let steps = match &agent.body {
                AgentBody::Funnel(keys) => keyed::step_fields(keys),
                _ => Vec::new(),
            };
            shape.fields.iter().map(|(name, ty)| ((*name).into(), *ty)).chain(steps).collect()
        }
    };
    let mut output: Vec<OutputField> = match &agent.common.output {
        None => own.iter().map(|(name, ty)| OutputField { name: name.clone(), ty: *ty, from: name.clone() }).collect(),
        Some(Table(written)) => written
            .iter()
            .filter_map(|(field, from)| {
                names::check_field(field, findings);
                let known = own.iter().find(|(own, _)| **own == *from.value);
                if known.is_none() && !own.is_empty() {
                    let own = || own.iter().map(|(name, _)| &**name);
                    let message = format!("{name} cannot yield \"{}\"; there is {}", from.value, join(own()));
                    let mut fix = did_you_mean(&from.value, own());
                    if fix.is_empty() && own().any(|own| own == field.value) {
                        fix = format!("Write {}: {}. The left side of output is the new name", from.value, field.value);
                    }
                    findings.error(codes::HW203, from.span, message, fix);
                    return None;
                }
                let ty = known.map_or(Type::Text, |(_, ty)| *ty);
                Some(OutputField { name: field.value.as_str().into(), ty, from: from.value.as_str().into() })
            })
            .collect(),
    };
    let asked_for_nothing =
        matches!(binding, Binding::Service(index) if matches!(services[index].kind, ServiceKind::Http(_)));
    if agent.common.output.is_none() && own.is_empty() && !asked_for_nothing && !findings.has_errors_within(agent.span)
    {
        let message =
            format!("agent \"{name}\" has no key \"output\", and its service yields whatever it is asked for");
        findings.error(
            codes::HW105,
            agent.common.name.span,
            message,
            "Write output: { segment: hs_segment }, new name on the left",
        );
    }
    for (field, written) in types.iter().flat_map(|Table(types)| types) {
        let ty = fields::TYPE_NAMES.iter().find(|(name, _)| *name == written.value);
        let names = || output.iter().map(|field| &*field.name);
        match (output.iter().position(|output| *output.name == *field.value), ty) {
            (Some(index), Some((_, ty))) => output[index].ty = *ty,
            (None, _) => {
                let message = format!("{name} has no field \"{}\"; its output is {}", field.value, join(names()));
                findings.error(codes::HW203, field.span, message, did_you_mean(&field.value, names()));
            }
            (_, None) => {
                let message = format!("there is no field type \"{}\"", written.value);
                let fix = format!("There are {}", join(fields::TYPE_NAMES.iter().map(|(name, _)| *name)));
                findings.error(codes::HW112, written.span, message, fix);
            }
        }
    }
    Signature { name: name.as_str().into(), output }
}

/// Everything an agent is built from. Indexes are those of the record's parts.
pub(super) struct Build<'b> {
    pub names: &'b Names<'b>,
    pub services: &'b [ServiceSpec],
    /// Position in the file → position in the record.
    pub place: &'b [usize],
    pub edges: &'b [Edge],
}

impl Build<'_> {
    /// Builds one agent. `index` is its position in the file. `None` was reported.
    pub(super) fn agent(
        &self,
        index: usize,
        raw: &RawAgent,
        binding: Binding,
        sites: &mut Sites,
        findings: &mut Findings,
    ) -> Option<AgentSpec> {
        let name = raw.common.name.value.as_str();
        let output = self.names.agents[self.place[index]].output.clone();
        let input = self.inputs(raw, binding, findings);
        let when = raw
            .common
            .when
            .as_ref()
            .and_then(|when| sites.compile(when, self.names, name, "the agent is then skipped", findings));
        let kind = match (&raw.body, binding) {
            (AgentBody::GeoIp(keys), _) => Some(AgentKind::GeoIp { database: keys.database.value.clone().into() }),
            (AgentBody::UserAgent(keys), _) => {
                Some(AgentKind::UserAgent { bots: keys.bots.as_ref().map(|bots| bots.value.clone().into()) })
            }
            (AgentBody::Function(..) | AgentBody::Private(..), Binding::Service(service)) => {
                Some(AgentKind::Function { service })
            }
            (AgentBody::LeadScore(keys), _) => {
                keyed::lead_score(name, keys, self.names, sites, findings).map(AgentKind::LeadScore)
            }
            (AgentBody::Funnel(keys), _) => {
                keyed::funnel(raw, keys, self.names, sites, findings).map(AgentKind::Funnel)
            }
            (AgentBody::Session(keys), _) => Some(AgentKind::Session(keyed::session(keys, findings))),
            (AgentBody::Attribution(keys, _), _) => Some(AgentKind::Attribution(attribution(keys, binding))),
            (AgentBody::LocalLlm(keys, _), _) => Some(AgentKind::LocalLlm(local_llm(keys))),
            (AgentBody::Function(..), Binding::Unbound) => Some(AgentKind::Unbound),
            (AgentBody::Function(..) | AgentBody::Private(..), _) => None,
        };
        let (attempts, fallback) = match &raw.body {
            AgentBody::Function(_, calls) | AgentBody::Private(_, calls) => {
                let cache = match binding {
                    Binding::Service(service) if self.services[service].cache.is_none() => {
                        Err(NoCache::Off(&self.services[service].name))
                    }
                    _ => Ok(()),
                };
                Self::calls(name, calls, cache, false, &output, findings)
            }
            AgentBody::LocalLlm(_, calls) => {
                Self::calls(name, calls, Err(NoCache::Never("local_llm")), true, &output, findings)
            }
            AgentBody::Attribution(_, calls) => {
                let cache = match binding {
                    Binding::Lookup(_) => Ok(()),
                    _ => Err(NoCache::Never("attribution without campaigns")),
                };
                Self::calls(name, calls, cache, false, &output, findings)
            }
            _ => (calls::LOCAL, Vec::new()),
        };
        let mut deps: Vec<usize> =
            self.edges.iter().filter(|edge| edge.reader == index).map(|edge| self.place[edge.from]).collect();
        deps.sort_unstable();
        deps.dedup();
        Some(AgentSpec {
            name: name.into(),
            kind: kind?,
            deps,
            input,
            output,
            when,
            consent: raw.common.consent.as_ref().map(|purpose| purpose.value.as_str().into()),
            deadline: attempts.deadline,
            timeout: attempts.timeout,
            retry: attempts.retry,
            fallback,
            skip_older_than: raw.common.skip_older_than.map(|age| age.value),
        })
    }

    fn calls(
        agent: &str,
        calls: &Calls,
        cache: Result<(), NoCache>,
        lexicon: bool,
        output: &[OutputField],
        findings: &mut Findings,
    ) -> (calls::Attempts, Vec<Fallback>) {
        // A classifier on this machine gives the same answer again: a retry only costs time.
        let attempts = calls::attempts(&calls.keys, !lexicon, findings);
        let written = calls.keys.fallback.as_ref().map_or(&[][..], |fallback| &fallback.0);
        (attempts, calls::fallbacks(written, &Allowed { agent, cache, lexicon }, output, findings))
    }

    fn inputs(&self, raw: &RawAgent, binding: Binding, findings: &mut Findings) -> Vec<(Arc<str>, Path)> {
        let name = raw.common.name.value.as_str();
        let shape = fields::shape_of(&raw.body);
        let written: &[(Name, Name)] = raw.common.input.as_ref().map_or(&[], |Table(inputs)| inputs);
        let mut inputs = Vec::new();
        for (input, path) in written {
            if !shape.any_input && !shape.inputs.iter().any(|(known, _)| *known == input.value) {
                let known = || shape.inputs.iter().map(|(name, _)| *name);
                let message = format!("{name} takes no input \"{}\"", input.value);
                let fix = match did_you_mean(&input.value, known()) {
                    near if !near.is_empty() => near,
                    _ if shape.inputs.is_empty() => "It reads the event by itself".to_owned(),
                    _ => format!("It takes {}", join(known())),
                };
                findings.error(codes::HW212, input.span, message, fix);
            } else if let Some(resolved) = self.path(path, name, findings) {
                if matches!(resolved, Path::Map(_)) && input.value != "hints" {
                    let message =
                        format!("{} is a map, and {name} wants one value for \"{}\"", path.value, input.value);
                    findings.error(codes::HW212, path.span, message, format!("Write {}.<key>", path.value));
                }
                inputs.push((Arc::from(input.value.as_str()), resolved));
            }
        }
        for (input, default) in shape.inputs {
            let is_written = written.iter().any(|(name, _)| name.value == *input);
            if let Some((path, _)) = default.filter(|_| !is_written).and_then(|path| self.names.resolve(path)) {
                inputs.push((Arc::from(*input), path));
            }
        }
        if let Binding::Service(service) = binding {
            self.service_inputs(raw, &self.services[service], written, findings);
        }
        inputs
    }

    /// Whether a service can be asked with these inputs.
    fn service_inputs(&self, raw: &RawAgent, service: &ServiceSpec, written: &[(Name, Name)], findings: &mut Findings) {
        let (name, span) = (raw.common.name.value.as_str(), raw.common.name.span);
        let ServiceKind::Http(http) = &service.kind else {
            if written.len() != 1 && !findings.has_errors_within(raw.span) {
                let message =
                    format!("{name} has {} inputs, and service \"{}\" looks up by one", written.len(), service.name);
                findings.error(codes::HW212, span, message, "Write input: { user_id: event.user_id }");
            }
            salesforce::check_fields(raw, service, findings);
            return;
        };
        let mut wanted = services::template_names(&http.url);
        for (name, span) in written.iter().map(|(name, path)| (name, path.span)) {
            if wanted.contains(&name.value.as_str()) {
                self.personal_data(raw, service, &name.value, span, written, findings);
            }
        }
        wanted.extend(http.body.iter().flat_map(services::body_names));
        for want in wanted {
            if !written.iter().any(|(input, _)| input.value == want) {
                let message =
                    format!("services.{} asks for {{{want}}}, and {name} has no input \"{want}\"", service.name);
                findings.error(codes::HW213, span, message, format!("Add input: {{ {want}: event.… }}"));
            }
        }
    }

    fn personal_data(
        &self,
        raw: &RawAgent,
        service: &ServiceSpec,
        input: &str,
        span: Span,
        written: &[(Name, Name)],
        findings: &mut Findings,
    ) {
        let path = written.iter().find(|(name, _)| name.value == input).map_or("", |(_, path)| path.value.as_str());
        let last = path.rsplit('.').next().unwrap_or_default();
        let personal = path == "event.ip"
            || ["email", "phone", "first_name", "last_name", "full_name", "address", "birth"]
                .iter()
                .any(|word| last.contains(word));
        if personal {
            let message = format!(
                "{} is personal data and would stand in the URL of services.{}, hence in logs of proxies and servers",
                path, service.name
            );
            let fix = format!(
                "Send it in the body: method: POST, body: {{ {input}: \"{{{input}}}\" }}; {} stays as it is",
                raw.common.name.value
            );
            findings.warn(codes::HW401, span, message, fix);
        }
    }

    /// Resolves a written path; `None` was reported.
    pub(super) fn path(&self, written: &Name, reader: &str, findings: &mut Findings) -> Option<Path> {
        match self.names.resolve(&written.value) {
            Some((path, _)) => Some(path),
            None => {
                if let Some(unknown) = self.names.explain(&written.value, reader) {
                    findings.error(unknown.code, written.span, unknown.message, unknown.fix);
                }
                None
            }
        }
    }
}

fn attribution(keys: &AttributionKeys, binding: Binding) -> AttributionSpec {
    AttributionSpec {
        model: match keys.model.as_ref().map(|model| model.value.as_str()) {
            Some("first") => AttributionModel::First,
            Some("linear") => AttributionModel::Linear,
            Some("position_based") => AttributionModel::PositionBased,
            _ => AttributionModel::Last,
        },
        window: keys.window.map_or(Duration::from_secs(30 * 24 * 60 * 60), |window| window.value),
        campaigns: match binding {
            Binding::Lookup(service) => Some(service),
            _ => None,
        },
        referrers: keys.referrers.as_ref().map(|path| path.value.clone().into()),
    }
}

fn local_llm(keys: &LocalLlmKeys) -> LocalLlmSpec {
    LocalLlmSpec {
        model: keys.model.value.as_str().into(),
        directory: keys.directory.as_ref().map(|directory| directory.value.clone().into()),
        quantized: keys.quantized.as_ref().is_some_and(|quantized| quantized.value),
    }
}
