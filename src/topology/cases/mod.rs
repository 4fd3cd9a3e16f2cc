//! Topology tests, `campaign.test.yaml` beside `campaign.yaml`: YAML → checked cases, every name resolved. Pure.
//!
//! # Layout
//!
//! - `raw`: the keys of the file · `event`: an event as a test writes it
//! - `given`: what services and state answer · `expect`: what must come out · `value`: texts to typed values
//!
//! Faults are reported as those of topologies are: all at once, with place, code and what to write instead.

mod event;
mod expect;
mod given;
mod raw;
#[cfg(test)]
mod tests;
mod value;

use std::{sync::Arc, time::Duration};

use self::{
    expect::Expecting,
    raw::{Later, RawCase},
};
use super::{
    codes,
    decode::{Cx, Decode, Name},
    diagnostic::{Diagnostic, Findings},
    model::Topology,
    schema,
    scope::{Names, Signature},
    vars::Variables,
    yaml::{self, Shape, Span},
};
use crate::event::{Event, Path, Reason, Value};

/// One test: events of which each builds on those before it.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: Arc<str>,
    /// Of its name in the file, from 1.
    pub line: usize,
    /// At least one.
    pub steps: Vec<CaseStep>,
}

/// One event of a test.
#[derive(Debug, Clone)]
pub struct CaseStep {
    pub event: Event,
    /// By index of the agent, ascending: who does not run but answers this.
    pub given: Vec<(usize, Given)>,
    pub expect: Expect,
}

/// What a test says in an agent's stead.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// These values, one for each field of the part.
    Answer(Vec<Value>),
    /// The call fails for that reason; the cache holds this, so old.
    Stale { fields: Vec<Value>, age: Duration, because: Reason },
    /// The call fails for that reason, and the cache holds nothing.
    Fails(Reason),
    /// The service has nothing under that key.
    NotFound,
}

/// What must come out of one event.
#[derive(Debug, Clone, Default)]
pub struct Expect {
    /// In the order of the file.
    pub values: Vec<Expected>,
    /// The campaigns that fire: these and no others, in any order. `None` asks nothing.
    pub triggers: Option<Vec<Arc<str>>>,
    /// The agents that failed: these and no others, in any order. `None` asks nothing.
    pub incomplete: Option<Vec<Arc<str>>>,
}

/// One expected value.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// As written: `geo.country`.
    pub name: Arc<str>,
    pub path: Path,
    pub value: Value,
}

/// Loads the tests of a topology from the text of their file. `file_name` stands in findings.
///
/// # Errors
/// Every fault, in the order of the file. Each has a code that `headwater explain` knows.
pub fn load_cases(file_name: &str, text: &str, topology: &Topology) -> Result<Vec<Case>, Vec<Diagnostic>> {
    let mut findings = Findings::new(file_name, text);
    let cases = parse(text, topology, &mut findings);
    if findings.has_errors() { Err(findings.into_sorted()) } else { Ok(cases) }
}

/// `schemas/test.schema.json`, for completion and hovers in `<topology>.test.yaml`.
pub fn test_json_schema() -> String {
    schema::schema_of::<Vec<RawCase>>("Headwater topology tests")
}

fn parse(text: &str, topology: &Topology, findings: &mut Findings) -> Vec<Case> {
    let Some(root) = yaml::parse(text, findings) else {
        nothing(findings);
        return Vec::new();
    };
    // A test says the same everywhere: it has no variables, so each is an error that names it.
    let variables = Variables::required([]);
    let mut cx = Cx { findings, variables: &variables, what: "the file of tests".to_owned() };
    let Some(raw) = Vec::<RawCase>::decode(&root, &mut cx) else { return Vec::new() };
    if raw.is_empty() {
        nothing(cx.findings);
    }
    let signatures: Vec<Signature> = topology
        .agents
        .iter()
        .map(|agent| Signature { name: agent.name.clone(), output: agent.output.clone() })
        .collect();
    let names = Names { agents: &signatures, broken: &[] };
    let build = Build { topology, names: &names };
    let mut cases: Vec<Case> = Vec::new();
    for raw in &raw {
        twice(&raw.name, cases.iter().map(|case| (&*case.name, case.line)), "tests are called", cx.findings);
        cx.what = format!("test \"{}\"", raw.name.value);
        cases.extend(build.case(raw, &mut cx));
    }
    cases
}

fn nothing(findings: &mut Findings) {
    if !findings.has_errors() {
        let at = Span { line: 1, column: 1, ..Span::default() };
        let fix = "Write - { name: …, event: { type: page }, expect: { triggers: [] } }";
        findings.error(codes::HW105, at, "the file has no tests", fix);
    }
}

/// Reports a name that an earlier one has already; `what` as in "two tests are called …".
fn twice<'n>(name: &Name, mut before: impl Iterator<Item = (&'n str, usize)>, what: &str, findings: &mut Findings) {
    if let Some((_, line)) = before.find(|(other, _)| *other == name.value) {
        let message = format!("two {what} \"{}\", the first on line {line}", name.value);
        findings.error(codes::HW215, name.span, message, "Give one of them another name");
    }
}

/// What building a case needs.
struct Build<'b> {
    topology: &'b Topology,
    names: &'b Names<'b>,
}

impl Build<'_> {
    fn case(&self, raw: &RawCase, cx: &mut Cx) -> Option<Case> {
        let steps = raw.steps(cx)?;
        let for_all = raw.given.as_ref().map(|node| self.given(&node.0, cx)).unwrap_or_default();
        let mut clock = event::Clock::default();
        let mut built: Vec<CaseStep> = Vec::new();
        let mut ids: Vec<(Name, usize)> = Vec::new();
        let last = steps.len() - 1;
        for (index, step) in steps.iter().enumerate() {
            if let (0, Some(after)) = (index, step.after) {
                let message = "the first event comes after none";
                cx.findings.error(codes::HW107, after.span, message, "Take after away, or write occurred_at");
            }
            let event = step.event.build(index, step.after.map(|after| after.value), &mut clock, cx);
            if let Some(id) = &step.event.id {
                let before = ids.iter().map(|(id, line)| (id.value.as_str(), *line));
                twice(id, before, "events have the id", cx.findings);
                ids.push((id.clone(), id.span.line));
            }
            let mut given = step.given.map(|node| self.given(&node.0, cx)).unwrap_or_default();
            given.extend(
                for_all
                    .iter()
                    .filter(|(agent, _)| given.iter().all(|(own, _)| own != agent))
                    .cloned()
                    .collect::<Vec<_>>(),
            );
            given.sort_by_key(|(agent, _)| *agent);
            let of_case = raw.expect.as_ref().filter(|_| index == last);
            let expecting = Expecting { topology: self.topology, names: self.names };
            let expect = match (step.expect, of_case) {
                (Some(own), Some(of_case)) => {
                    let message = "the last event has an expect of its own, and this one speaks of it too";
                    cx.findings.error(codes::HW107, of_case.0.span, message, "Keep one of them");
                    expecting.read(&own.0, cx)
                }
                (Some(node), None) | (None, Some(node)) => expecting.read(&node.0, cx),
                (None, None) => Expect::default(),
            };
            built.push(CaseStep { event: event?, given, expect });
        }
        let written = |expect: &Later| !matches!(&expect.0.shape, Shape::Map(entries) if entries.is_empty());
        if !raw.expect.iter().chain(steps.iter().filter_map(|step| step.expect)).any(written) {
            let message = format!("{} expects nothing, so it cannot fail", cx.what);
            let fix = "Write expect: { triggers: [] } or { <agent>.<field>: … }";
            cx.findings.error(codes::HW105, raw.name.span, message, fix);
        }
        Some(Case { name: raw.name.value.as_str().into(), line: raw.name.span.line, steps: built })
    }
}
