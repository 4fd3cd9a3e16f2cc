//! A score from rules: the sum of what the true ones add, within floor and cap, and the reasons. Without `decay` it is a
//! function of the event; with it (`decay.rs`) it is kept per person.

mod decay;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

pub(super) use self::decay::Decaying;
use super::{Agent, Step, Vitals, fields};
use crate::{
    event::{Part, Record, Source, Value},
    expr::{Condition, Truth},
    topology::{AgentSpec, LeadScoreSpec, ScoreRule},
};

/// Most bytes of all reasons of a part; how many more there are is the last one's text.
const MAX_REASONS: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Value,
    Reasons,
}

/// What is shown of a score: its fields, and the bounds of its value.
struct Shown {
    floor: Option<f64>,
    cap: Option<f64>,
    fields: Box<[Option<Field>]>,
}

impl Shown {
    fn new(spec: &AgentSpec, score: &LeadScoreSpec) -> Self {
        let field = |name: &str| match name {
            "value" => Some(Field::Value),
            "reasons" => Some(Field::Reasons),
            _ => None,
        };
        Shown { floor: score.floor, cap: score.cap, fields: fields(&spec.output, field) }
    }

    fn part(&self, source: Source, mut value: f64, reasons: Reasons) -> Part {
        // Adding decimals leaves noise far behind the point (0.1 + 0.2), which no condition should see.
        value = (value * 1e6).round() / 1e6;
        value = self.cap.map_or(value, |cap| value.min(cap));
        value = self.floor.map_or(value, |floor| value.max(floor));
        let reasons: Arc<[Value]> = reasons.list().into();
        let shown = self.fields.iter().map(|field| match field {
            Some(Field::Value) => Value::Float(value),
            Some(Field::Reasons) => Value::List(reasons.clone()),
            None => Value::Null,
        });
        Part::ok(source, shown.collect())
    }
}

/// The reasons of one part, made only where they are shown, and bounded.
struct Reasons {
    wanted: bool,
    list: Vec<Value>,
    bytes: usize,
    more: usize,
}

impl Reasons {
    fn new(shown: &Shown) -> Self {
        Reasons { wanted: shown.fields.contains(&Some(Field::Reasons)), list: Vec::new(), bytes: 0, more: 0 }
    }

    fn push(&mut self, reason: impl FnOnce() -> Value) {
        if !self.wanted {
            return;
        }
        let reason = reason();
        self.bytes += reason.as_str().map_or(0, str::len);
        if self.bytes > MAX_REASONS {
            self.more += 1;
        } else {
            self.list.push(reason);
        }
    }

    fn list(mut self) -> Vec<Value> {
        if self.more > 0 {
            self.list.push(Value::text(format!("and {} more", self.more)));
        }
        self.list
    }
}

/// `+40 crm_lookup.crm_segment == "enterprise"`.
fn reason(rule: &ScoreRule) -> Value {
    Value::text(format!("{:+} {}", rule.add, rule.when.source()))
}

struct Rule {
    add: f64,
    when: Condition,
    reason: Value,
}

/// An agent of type `lead_score` without `decay`.
pub(super) struct LeadScore {
    rules: Vec<Rule>,
    shown: Shown,
    unknown: AtomicU64,
}

impl LeadScore {
    /// Prepares rules and their reasons.
    pub fn new(spec: &AgentSpec, score: &LeadScoreSpec) -> Self {
        let rule = |rule: &ScoreRule| Rule { add: rule.add, when: rule.when.clone(), reason: reason(rule) };
        LeadScore {
            rules: score.rules.iter().map(rule).collect(),
            shown: Shown::new(spec, score),
            unknown: AtomicU64::new(0),
        }
    }

    /// The part, given what each rule's condition says. Unknown is not true: the rule does not count,
    /// but the unknown is counted.
    fn score(&self, mut truth: impl FnMut(&Condition) -> Truth) -> Part {
        let mut value = 0.0;
        let mut reasons = Reasons::new(&self.shown);
        for rule in &self.rules {
            match truth(&rule.when) {
                Truth::True => {
                    value += rule.add;
                    reasons.push(|| rule.reason.clone());
                }
                Truth::False => {}
                Truth::Unknown(_) => {
                    self.unknown.fetch_add(1, Relaxed);
                }
            }
        }
        self.shown.part(Source::Local, value, reasons)
    }
}

impl Agent for LeadScore {
    fn start(&self, record: &Record) -> Step {
        Step::Done(self.score(|condition| condition.eval(record)))
    }

    fn vitals(&self) -> Vitals {
        Vitals { unknown_conditions: self.unknown.load(Relaxed), ..Vitals::default() }
    }
}

#[cfg(test)]
mod tests;
