//! What stands in for a value that could not be had.

use crate::{
    event::{Outcome, Part, Provenance, Reason, Source, Value},
    topology::{AgentSpec, Fallback},
};

/// One step of an agent's fallbacks, prepared.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A cached value within its stale bound.
    Cache,
    /// Fixed values for all fields.
    Values(Vec<Value>),
}

/// An agent's fallbacks, in order. A copy to the dead letters is the engine's affair: it looks for failed parts.
#[derive(Debug, Clone, Default)]
pub struct Fallbacks {
    steps: Vec<Step>,
}

impl Fallbacks {
    /// Prepares the fallbacks of an agent.
    pub fn new(spec: &AgentSpec) -> Self {
        let steps = spec.fallback.iter().filter_map(|fallback| match fallback {
            Fallback::Cache => Some(Step::Cache),
            Fallback::Values(values) => {
                let mut fields = vec![Value::Null; spec.output.len()];
                for (field, value) in values {
                    if let Some(slot) = fields.get_mut(*field) {
                        *slot = value.clone();
                    }
                }
                Some(Step::Values(fields))
            }
            Fallback::Lexicon | Fallback::DeadLetter => None,
        });
        Fallbacks { steps: steps.collect() }
    }

    /// The part when a value could not be had: the first fallback that holds, else failed. `cached` is asked for
    /// the cached value when its turn comes.
    pub fn failed(&self, reason: Reason, cached: impl Fn() -> Option<Part>) -> Part {
        for step in &self.steps {
            match step {
                Step::Cache => {
                    if let Some(part) = cached() {
                        return part;
                    }
                }
                Step::Values(fields) => return default(fields, reason),
            }
        }
        Part::without(Outcome::Failed, reason)
    }

    /// The part when the source was asked and has nothing: fixed values where they are declared; else the fields
    /// are null and the outcome is ok with reason `not_found`, for the question was answered. A cached value is
    /// not served: what it speaks of is gone.
    pub fn not_found(&self, source: Source) -> Part {
        for step in &self.steps {
            if let Step::Values(fields) = step {
                return default(fields, Reason::NotFound);
            }
        }
        let mut part = Part::without(Outcome::Ok, Reason::NotFound);
        part.provenance.source = Some(source);
        part
    }
}

fn default(fields: &[Value], reason: Reason) -> Part {
    Part {
        fields: fields.to_vec(),
        provenance: Provenance {
            outcome: Outcome::Fallback,
            reason: Some(reason),
            source: Some(Source::Default),
            ..Provenance::default()
        },
    }
}
