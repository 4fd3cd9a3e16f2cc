//! Who runs before whom: dependencies from what inputs and conditions read, and an order of agents that respects them.

use super::{
    codes,
    decode::{Name, Table},
    diagnostic::Findings,
    raw_agent::{AgentBody, RawAgent},
    suggest::did_you_mean,
    yaml::Span,
};
use crate::expr;

/// One agent reads from another (indexes in the file).
#[derive(Debug, Clone)]
pub(super) struct Edge {
    pub reader: usize,
    pub from: usize,
    /// What it reads: `geo.country`, or `after`.
    pub name: String,
    pub span: Span,
}

/// Every dependency between agents, in the order of the file.
pub(super) fn edges(agents: &[RawAgent], broken: &[String], findings: &mut Findings) -> Vec<Edge> {
    let index_of = |name: &str| agents.iter().position(|agent| agent.common.name.value == name);
    let mut edges = Vec::new();
    for (reader, agent) in agents.iter().enumerate() {
        let mut reads: Vec<(String, Span)> = agent
            .common
            .input
            .iter()
            .flat_map(|Table(inputs)| inputs)
            .map(|(_, path)| (path.value.clone(), path.span))
            .collect();
        let rules = match &agent.body {
            AgentBody::LeadScore(keys) => keys.rules.iter().map(|rule| &rule.when).collect(),
            AgentBody::Funnel(keys) => keys.steps.iter().map(|step| &step.when).collect(),
            _ => Vec::new(),
        };
        for condition in agent.common.when.iter().chain(rules) {
            reads.extend(expr::names(&condition.source).into_iter().map(|name| (name, condition.span)));
        }
        for (name, span) in reads {
            if let Some(from) = name.split_once('.').and_then(|(root, _)| index_of(root)) {
                edges.push(Edge { reader, from, name, span });
            }
        }
        for Name { value, span } in agent.common.after.iter().flat_map(|names| &names.0) {
            match index_of(value) {
                Some(from) => edges.push(Edge { reader, from, name: "after".to_owned(), span: *span }),
                None if broken.contains(value) => {}
                None => {
                    let message =
                        format!("agent \"{value}\" is not defined; {} runs after it", agent.common.name.value);
                    let fix = did_you_mean(value, agents.iter().map(|agent| agent.common.name.value.as_str()));
                    findings.error(codes::HW202, *span, message, fix);
                }
            }
        }
    }
    edges
}

/// The agents in an order that respects every edge, ties as in the file. A cycle is reported, and its agents come last.
pub(super) fn sorted(agents: &[RawAgent], edges: &[Edge], findings: &mut Findings) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::with_capacity(agents.len());
    let mut left: Vec<usize> = (0..agents.len()).collect();
    while !left.is_empty() {
        let ready =
            left.iter().position(|agent| edges.iter().all(|edge| edge.reader != *agent || order.contains(&edge.from)));
        match ready {
            Some(at) => order.push(left.remove(at)),
            None => {
                report_cycle(agents, edges, &left, findings);
                order.append(&mut left);
            }
        }
    }
    order
}

/// Prints one cycle as its path, in the direction in which values flow.
fn report_cycle(agents: &[RawAgent], edges: &[Edge], left: &[usize], findings: &mut Findings) {
    // Following "reads from" inside the rest must come back to where it has been.
    let mut path: Vec<&Edge> = Vec::new();
    let Some(mut at) = left.first().copied() else { return };
    loop {
        let Some(edge) = edges.iter().find(|edge| edge.reader == at && left.contains(&edge.from)) else { return };
        path.push(edge);
        at = edge.from;
        if let Some(start) = path.iter().position(|edge| edge.reader == at) {
            path.drain(..start);
            break;
        }
    }
    path.reverse();
    // It starts with the agent that stands first in the file.
    let first = (0..path.len()).min_by_key(|index| path[*index].from).unwrap_or(0);
    path.rotate_left(first);
    let name = |agent: usize| agents[agent].common.name.value.as_str();
    let mut names: Vec<&str> = path.iter().map(|edge| name(edge.from)).collect();
    names.extend(path.last().map(|edge| name(edge.reader)));
    let reads: Vec<String> = path
        .iter()
        .map(|edge| {
            let what = if edge.name == "after" {
                format!("{} runs after {}", name(edge.reader), name(edge.from))
            } else {
                format!("{} reads {}", name(edge.reader), edge.name)
            };
            format!("{what} (line {})", edge.span.line)
        })
        .collect();
    let message = format!("dependency cycle: {}. {}", names.join(" → "), reads.join(", "));
    let span = path.first().map_or_else(Span::default, |edge| edge.span);
    findings.error(codes::HW201, span, message, "Take one of these reads away, or split the agent in two");
}
