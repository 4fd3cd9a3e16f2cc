//! What a test says in an agent's stead: its fields, or how its call ends.

use std::time::Duration;

use super::{Build, Given, value};
use crate::{
    event::{Reason, Value},
    topology::{
        codes,
        decode::{Cx, Decode, For, Lenient, MapReader, Name},
        model::{AgentKind, AgentSpec, Fallback},
        scope::join,
        suggest::did_you_mean,
        yaml::{Node, Shape},
    },
};

/// How a call may end. `not_found` is no failure: the question was answered.
const FAILURES: &[Reason] = &[
    Reason::Timeout,
    Reason::RateLimited,
    Reason::BreakerOpen,
    Reason::BadResponse,
    Reason::Unavailable,
    Reason::Rejected,
];

/// How old a stale answer is unless the test says so.
const STALE_AGE: Duration = Duration::from_secs(600);

/// Words that say how a call ends, unless the agent has a field of that name.
const ENDS: &[&str] = &["stale", "fails", "not_found"];

impl Build<'_> {
    /// Who answers what, in the order of the file. What was reported is left out.
    pub(super) fn given(&self, node: &Node, cx: &mut Cx) -> Vec<(usize, Given)> {
        let mut given = Vec::new();
        for (name, node) in entries(node, cx) {
            if name.value == "state" {
                for (name, node) in entries(node, cx) {
                    self.one(&name, node, true, &mut given, cx);
                }
            } else {
                self.one(&name, node, false, &mut given, cx);
            }
        }
        given
    }

    fn one(&self, name: &Name, node: &Node, from_state: bool, given: &mut Vec<(usize, Given)>, cx: &mut Cx) {
        let agents = || self.topology.agents.iter().map(|agent| &*agent.name);
        let Some(index) = agents().position(|agent| agent == name.value) else {
            let message = format!("agent \"{}\" is not defined; given speaks of it", name.value);
            let mut fix = did_you_mean(&name.value, agents().chain(["state"]));
            if fix.is_empty() {
                fix = format!("Defined: {}", join(agents()));
            }
            cx.findings.error(codes::HW202, name.span, message, fix);
            return;
        };
        let agent = &self.topology.agents[index];
        if from_state && !agent.kind.keeps_state() {
            let message = format!("{} keeps no state", agent.name);
            let fix = format!("Write it beside state: given: {{ {}: … }}", agent.name);
            cx.findings.error(codes::HW107, name.span, message, fix);
            return;
        }
        if given.iter().any(|(other, _)| *other == index) {
            let message = format!("given speaks of {} twice", agent.name);
            cx.findings.error(codes::HW215, name.span, message, "Keep one of them");
            return;
        }
        let outer = std::mem::replace(&mut cx.what, format!("given.{}", agent.name));
        if let Some(one) = self.answer(agent, node, cx) {
            given.push((index, one));
        }
        cx.what = outer;
    }

    fn answer(&self, agent: &AgentSpec, node: &Node, cx: &mut Cx) -> Option<Given> {
        let Shape::Map(entries) = &node.shape else {
            let fix = format!("Write {}: {{ {} }}", agent.name, sample(agent));
            cx.findings.error(codes::HW107, node.span, format!("{} is not an answer", node.noun()), fix);
            return None;
        };
        let is_field = |word: &str| agent.output.iter().any(|field| *field.name == *word);
        let end = entries.iter().find_map(|(key, _)| key.text().filter(|key| ENDS.contains(key) && !is_field(key)));
        match end {
            None => self.fields(agent, node, cx).map(Given::Answer),
            Some(end) => self.ends(agent, end, node, cx),
        }
    }

    /// `{ stale: …, age: 7m, because: timeout }`, `{ fails: timeout }`, `{ not_found: true }`.
    fn ends(&self, agent: &AgentSpec, end: &str, node: &Node, cx: &mut Cx) -> Option<Given> {
        let mut map = MapReader::open(node, cx)?;
        let given = match end {
            "stale" => {
                let fields = map.peek("stale").and_then(|fields| self.fields(agent, fields, cx));
                map.key::<Lenient<super::raw::Later>>("stale", cx);
                let age = map.key::<Option<For>>("age", cx)?;
                let because = map.key::<Option<Name>>("because", cx)?;
                let because = because.map_or(Some(Reason::Timeout), |word| failure(&word, cx))?;
                if !agent.fallback.contains(&Fallback::Cache) {
                    let message = format!("{} never gives a stale value: it has no fallback: cache", agent.name);
                    cx.findings.error(codes::HW214, node.span, message, "Write { fails: timeout } to see what it does");
                    return None;
                }
                Some(Given::Stale { fields: fields?, age: age.map_or(STALE_AGE, |age| age.value), because })
            }
            "fails" => {
                let word = map.key::<Name>("fails", cx)?;
                failure(&word, cx).map(Given::Fails)
            }
            _ => map.key::<super::super::decode::Flag>("not_found", cx)?.value.then_some(Given::NotFound),
        };
        map.finish(cx);
        let may = match end {
            "not_found" => asks(&agent.kind) || matches!(agent.kind, AgentKind::GeoIp { .. }),
            _ => asks(&agent.kind) || matches!(agent.kind, AgentKind::LocalLlm(_) | AgentKind::GeoIp { .. }),
        };
        if !may {
            let message = format!("{} asks nobody, so its call cannot end so", agent.name);
            let fix = format!("Give its fields: {}: {{ {} }}", agent.name, sample(agent));
            cx.findings.error(codes::HW107, node.span, message, fix);
            return None;
        }
        given
    }

    /// A value for each field of the part; what is not written is null.
    fn fields(&self, agent: &AgentSpec, node: &Node, cx: &mut Cx) -> Option<Vec<Value>> {
        let mut values = vec![Value::Null; agent.output.len()];
        for (field, node) in entries(node, cx) {
            let Some(index) = agent.output.iter().position(|output| *output.name == *field.value) else {
                let dotted = format!("{}.{}", agent.name, field.value);
                if let Some(unknown) = self.names.explain(&dotted, "given") {
                    cx.findings.error(unknown.code, field.span, unknown.message, unknown.fix);
                }
                continue;
            };
            let outer = std::mem::replace(&mut cx.what, format!("{}.{}", agent.name, field.value));
            if let Some(value) = value::read(node, agent.output[index].ty, cx) {
                values[index] = value;
            }
            cx.what = outer;
        }
        Some(values)
    }
}

/// The entries of a map, keys as names; anything else was reported.
fn entries<'n>(node: &'n Node, cx: &mut Cx) -> Vec<(Name, &'n Node)> {
    match &node.shape {
        Shape::Map(entries) => {
            entries.iter().filter_map(|(key, value)| Some((Name::decode(key, cx)?, value))).collect()
        }
        _ if node.is_null() => Vec::new(),
        _ => {
            cx.expected(node, "a map");
            Vec::new()
        }
    }
}

fn failure(word: &Name, cx: &mut Cx) -> Option<Reason> {
    let found = Reason::from_name(&word.value).filter(|reason| FAILURES.contains(reason));
    if found.is_none() {
        let names = || FAILURES.iter().map(|reason| reason.name());
        let message = format!("a call does not fail of \"{}\"", word.value);
        let fix = match (word.value.as_str(), did_you_mean(&word.value, names())) {
            ("not_found", _) => "Write { not_found: true }".to_owned(),
            (_, fix) if !fix.is_empty() => fix,
            _ => format!("There are {}", join(names())),
        };
        cx.findings.error(codes::HW112, word.span, message, fix);
    }
    found
}

/// Whether it calls a service.
fn asks(kind: &AgentKind) -> bool {
    matches!(kind, AgentKind::Function { .. } | AgentKind::Unbound)
}

fn sample(agent: &AgentSpec) -> String {
    agent.output.first().map_or_else(String::new, |field| format!("{}: …", field.name))
}
