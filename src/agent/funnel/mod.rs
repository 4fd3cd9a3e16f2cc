//! Steps towards a goal: the furthest that a person has reached, since when, and when each was reached.

mod progress;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use self::progress::{Ends, Progress, Standing};
use super::{Keyed, Ran, Vitals, fields};
use crate::{
    event::{Part, Record, Source, Value},
    expr::{Condition, Truth},
    topology::{AgentSpec, FunnelSpec},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Step,
    StepNumber,
    EnteredAt,
    TimeInStepMs,
    Completed,
    Entered,
    Advanced,
    StartedAt,
    Run,
    /// When that step was reached.
    StepAt(usize),
}

impl Field {
    fn from_name(name: &str, steps: &[Arc<str>]) -> Option<Self> {
        Some(match name {
            "step" => Field::Step,
            "step_number" => Field::StepNumber,
            "entered_at" => Field::EnteredAt,
            "time_in_step_ms" => Field::TimeInStepMs,
            "completed" => Field::Completed,
            "entered" => Field::Entered,
            "advanced" => Field::Advanced,
            "started_at" => Field::StartedAt,
            "run" => Field::Run,
            name => {
                let step = name.strip_suffix("_at")?;
                Field::StepAt(steps.iter().position(|known| **known == *step)?)
            }
        })
    }
}

/// An agent of type `funnel`.
pub(super) struct Funnel {
    steps: Box<[Arc<str>]>,
    conditions: Box<[Condition]>,
    ends: Ends,
    fields: Box<[Option<Field>]>,
    unknown: AtomicU64,
}

impl Funnel {
    /// Prepares steps and fields.
    pub fn new(spec: &AgentSpec, funnel: &FunnelSpec) -> Self {
        let steps: Box<[Arc<str>]> = funnel.steps.iter().map(|step| step.name.clone()).collect();
        let within_ms = funnel.within.map(|within| i64::try_from(within.as_millis()).unwrap_or(i64::MAX));
        Funnel {
            conditions: funnel.steps.iter().map(|step| step.when.clone()).collect(),
            ends: Ends { within_ms, restart: funnel.restart },
            fields: fields(&spec.output, |name| Field::from_name(name, &steps)),
            steps,
            unknown: AtomicU64::new(0),
        }
    }

    /// Whether a step's condition holds. Unknown is not true, and is counted.
    fn holds(&self, step: usize, record: &Record) -> bool {
        match self.conditions[step].eval(record) {
            Truth::True => true,
            Truth::False => false,
            Truth::Unknown(_) => {
                self.unknown.fetch_add(1, Relaxed);
                false
            }
        }
    }

    fn part(&self, progress: &Progress, standing: Standing, at: i64, advanced: bool) -> Part {
        let furthest = standing.furthest;
        let value = |field: &Option<Field>| match field {
            Some(Field::Step) => furthest.map_or(Value::Null, |(step, _)| Value::Text(self.steps[step].clone())),
            Some(Field::StepNumber) => Value::Int(furthest.map_or(0, |(step, _)| step as i64 + 1)),
            Some(Field::EnteredAt) => furthest.map(|(_, entered)| entered).into(),
            Some(Field::TimeInStepMs) => furthest.map(|(_, entered)| at.saturating_sub(entered).max(0)).into(),
            Some(Field::Completed) => Value::Bool(furthest.is_some_and(|(step, _)| step + 1 == self.steps.len())),
            Some(Field::Entered) => Value::Bool(furthest.is_some()),
            Some(Field::Advanced) => Value::Bool(advanced),
            Some(Field::StartedAt) => standing.started_at.into(),
            Some(Field::Run) => Value::Int(i64::try_from(progress.runs()).unwrap_or(i64::MAX)),
            // A run that is over is not shown, its steps neither.
            Some(Field::StepAt(step)) => furthest.and_then(|_| progress.entered_at(&self.steps[*step])).into(),
            None => Value::Null,
        };
        Part::ok(Source::State, self.fields.iter().map(value).collect())
    }
}

impl Keyed for Funnel {
    type State = Progress;

    fn count(&self, record: &Record, _: Part, state: &mut Progress) -> Ran {
        let at = record.event_time_ms();
        let before = (state.runs(), state.standing(&self.steps).furthest.map(|(step, _)| step));
        let changed = state.count(&self.steps, self.ends, at, |step| self.holds(step, record));
        let standing = state.standing_at(&self.steps, self.ends, at);
        let after = (state.runs(), standing.furthest.map(|(step, _)| step));
        Ran { part: self.part(state, standing, at, changed && after > before), changed }
    }

    fn recall(&self, record: &Record, _: Part, state: &Progress) -> Part {
        let at = record.event_time_ms();
        let standing = state.standing_at(&self.steps, self.ends, at);
        // It advanced when it came, if it brought the furthest step of its time.
        let brought = |step: usize, name: &Arc<str>| {
            state.entered_at(name) == Some(at)
                && self.steps[step + 1..]
                    .iter()
                    .all(|further| state.entered_at(further).is_none_or(|entered| entered > at))
                && self.conditions[step].eval(record) == Truth::True
        };
        let advanced = self.steps.iter().enumerate().any(|(step, name)| brought(step, name));
        self.part(state, standing, at, advanced)
    }

    fn vitals(&self) -> Vitals {
        Vitals { unknown_conditions: self.unknown.load(Relaxed), ..Vitals::default() }
    }
}

#[cfg(test)]
mod tests;
