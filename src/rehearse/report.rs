//! Verdicts as JSON, for scripts: what `headwater test --json` prints.
//!
//! ```json
//! { "topology": "t.yaml", "tests": "t.test.yaml", "ok": false, "passed": 1, "failed": 1, "left_out": 0,
//!   "cases": [{ "name": "…", "line": 3, "ok": false,
//!     "events": [{ "id": "e1", "ok": false, "faults": ["…"],
//!       "differences": [{ "path": "geo.country", "expected": "GB", "got": null }],
//!       "agents": { "geo": { "outcome": "ok", "reason": null, "source": "local", "attempts": 0, "age_ms": null,
//!                            "fields": { "country": null } } },
//!       "status": "complete", "incomplete": [], "triggers": ["win-back"] }] }] }
//! ```

use serde_json::{Map, Value as Json, json};

use super::{Difference, Fault, StepVerdict, Verdict};
use crate::{
    event::{Reason, Source, Status, Value},
    topology::Topology,
};

/// Every test with all its events. `left_out` were not asked for.
pub fn report(topology: &Topology, file: &str, tests: &str, verdicts: &[Verdict], left_out: usize) -> Json {
    let failed = verdicts.iter().filter(|verdict| !verdict.passed()).count();
    let cases: Vec<Json> = verdicts
        .iter()
        .map(|verdict| {
            let events: Vec<Json> = verdict.steps.iter().map(|step| event(topology, step)).collect();
            json!({ "name": &*verdict.name, "line": verdict.line, "ok": verdict.passed(), "events": events })
        })
        .collect();
    json!({
        "topology": file,
        "tests": tests,
        "ok": failed == 0,
        "passed": verdicts.len() - failed,
        "failed": failed,
        "left_out": left_out,
        "cases": cases,
    })
}

fn event(topology: &Topology, step: &StepVerdict) -> Json {
    let record = &step.record;
    let agents: Map<String, Json> = topology
        .agents
        .iter()
        .zip(&record.parts)
        .map(|(agent, part)| {
            let fields: Map<String, Json> = agent
                .output
                .iter()
                .enumerate()
                .map(|(index, field)| (field.name.to_string(), value(part.field(index))))
                .collect();
            let provenance = &part.provenance;
            let told = json!({
                "outcome": provenance.outcome.name(),
                "reason": provenance.reason.map(Reason::name),
                "source": provenance.source.map(Source::name),
                "attempts": provenance.attempts,
                "age_ms": provenance.age_ms,
                "fields": fields,
            });
            (agent.name.to_string(), told)
        })
        .collect();
    let faults: Vec<String> = step
        .faults
        .iter()
        .map(|fault| match fault {
            Fault::Refused(why) => format!("intake refuses the event: {why}"),
            Fault::Unanswered(agent) => format!("given says nothing of {}", topology.agents[*agent].name),
        })
        .collect();
    json!({
        "id": &*record.event.id,
        "ok": step.passed(),
        "faults": faults,
        "differences": step.differences.iter().map(difference).collect::<Vec<_>>(),
        "agents": agents,
        "status": if record.status == Status::Complete { "complete" } else { "partial" },
        "incomplete": texts(&record.incomplete),
        "triggers": texts(&step.fired()),
    })
}

fn difference(difference: &Difference) -> Json {
    match difference {
        Difference::Value { expected, got } => {
            json!({ "path": &*expected.name, "expected": value(&expected.value), "got": value(got) })
        }
        Difference::Incomplete { expected, got } => {
            json!({ "path": "incomplete", "expected": texts(expected), "got": texts(got) })
        }
        Difference::Triggers { expected, got } => {
            json!({ "path": "triggers", "expected": texts(expected), "got": texts(got) })
        }
    }
}

fn texts(names: &[std::sync::Arc<str>]) -> Vec<&str> {
    names.iter().map(|name| &**name).collect()
}

fn value(of: &Value) -> Json {
    match of {
        Value::Null => Json::Null,
        Value::Bool(yes) => Json::from(*yes),
        Value::Int(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::Text(text) => Json::from(&**text),
        Value::List(values) => values.iter().map(value).collect(),
        Value::Map(values) => values.iter().map(|(key, of)| (key.to_string(), value(of))).collect::<Map<_, _>>().into(),
    }
}
