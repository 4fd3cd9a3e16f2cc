//! What came out against what was expected.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    event::{Event, Path, Record, RecordField, Trigger, Value},
    topology::{CaseStep, Expected},
};

/// How one test went.
#[derive(Debug)]
pub struct Verdict {
    pub name: Arc<str>,
    /// Of the test in its file, from 1.
    pub line: usize,
    /// How many events it has.
    pub events: usize,
    /// One for each event that was run.
    pub steps: Vec<StepVerdict>,
}

/// How one event of it went.
#[derive(Debug)]
pub struct StepVerdict {
    /// As it left the last stage; of a refused event only the event.
    pub record: Record,
    pub triggers: Vec<Trigger>,
    /// Why nothing can be said.
    pub faults: Vec<Fault>,
    /// In the order in which the record was filled: the first is often the cause of the others.
    pub differences: Vec<Difference>,
}

/// Why nothing can be said of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Intake would refuse it, for that reason.
    Refused(String),
    /// The agent of that index would leave the process, and the test says nothing of it.
    Unanswered(usize),
}

/// Something is not as expected.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// A value.
    Value { expected: Expected, got: Value },
    /// The agents that failed.
    Incomplete { expected: Vec<Arc<str>>, got: Vec<Arc<str>> },
    /// The campaigns that fired.
    Triggers { expected: Vec<Arc<str>>, got: Vec<Arc<str>> },
}

impl Verdict {
    /// Whether everything is as expected.
    pub fn passed(&self) -> bool {
        self.steps.iter().all(StepVerdict::passed)
    }
}

impl StepVerdict {
    /// Compares what came out.
    pub(super) fn new(step: &CaseStep, record: Record, triggers: Vec<Trigger>, faults: Vec<Fault>) -> Self {
        let differences = differences(step, &record, &triggers);
        StepVerdict { record, triggers, faults, differences }
    }

    /// Of an event that intake refuses.
    pub(super) fn refused(step: &CaseStep, fault: Fault) -> Self {
        let record = Record { event: Event::clone(&step.event), ..Record::default() };
        StepVerdict { record, triggers: Vec::new(), faults: vec![fault], differences: Vec::new() }
    }

    /// Whether everything is as expected.
    pub fn passed(&self) -> bool {
        self.faults.is_empty() && self.differences.is_empty()
    }

    /// The campaigns that fired, each once.
    pub fn fired(&self) -> Vec<Arc<str>> {
        fired(&self.triggers)
    }
}

fn fired(triggers: &[Trigger]) -> Vec<Arc<str>> {
    let mut fired: Vec<Arc<str>> = Vec::new();
    for trigger in triggers {
        if !fired.contains(&trigger.campaign) {
            fired.push(trigger.campaign.clone());
        }
    }
    fired
}

fn differences(step: &CaseStep, record: &Record, triggers: &[Trigger]) -> Vec<Difference> {
    let expect = &step.expect;
    let mut found: Vec<Difference> = expect
        .values
        .iter()
        .map(|expected| (expected, expected.path.get(record)))
        .filter(|(expected, got)| !same(&expected.value, got))
        .map(|(expected, got)| Difference::Value { expected: expected.clone(), got })
        .collect();
    let names = |difference: &Difference| match difference {
        Difference::Value { expected, .. } => rank(&expected.path),
        _ => usize::MAX,
    };
    // Stable: what is written first comes first within a part.
    found.sort_by_key(names);
    if let Some(expected) = &expect.incomplete
        && set(expected) != set(&record.incomplete)
    {
        found.push(Difference::Incomplete { expected: expected.clone(), got: record.incomplete.clone() });
    }
    if let Some(expected) = &expect.triggers {
        let got = fired(triggers);
        if set(expected) != set(&got) {
            found.push(Difference::Triggers { expected: expected.clone(), got });
        }
    }
    found
}

fn set(names: &[Arc<str>]) -> BTreeSet<&str> {
    names.iter().map(|name| &**name).collect()
}

/// When a path is filled: the event, the agents in their order, then the record's status.
fn rank(path: &Path) -> usize {
    match path {
        Path::Event(_) | Path::Map(_) | Path::Entry(..) | Path::Record(RecordField::ReceivedAt) => 0,
        Path::Part { agent, .. } | Path::Provenance { agent, .. } => agent + 1,
        Path::Record(RecordField::Status) => usize::MAX - 1,
    }
}

/// How far two numbers may be apart, as a part of the larger: rounding, and no more.
const ROUNDING: f64 = 1e-9;

/// Whether a value is the expected one.
fn same(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::Float(expected), Value::Float(got)) => {
            (expected - got).abs() <= ROUNDING * expected.abs().max(got.abs()).max(1.0)
        }
        _ => expected == got,
    }
}
