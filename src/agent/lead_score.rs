//! A score from rules: the sum of what the true ones add, within floor and cap, and the reasons.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{
    event::{Part, Record, Source, Value},
    expr::{Condition, Truth},
    topology::{AgentSpec, LeadScoreSpec},
};

use super::{Agent, AgentError, Step, Vitals, fields};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Value,
    Reasons,
}

struct Rule {
    add: f64,
    when: Condition,
    /// `+40 crm_lookup.crm_segment == "enterprise"`.
    reason: Value,
}

/// An agent of type `lead_score`.
pub(super) struct LeadScore {
    rules: Vec<Rule>,
    floor: Option<f64>,
    cap: Option<f64>,
    fields: Box<[Option<Field>]>,
    unknown: AtomicU64,
}

impl LeadScore {
    /// Prepares rules and their reasons.
    pub fn new(spec: &AgentSpec, score: &LeadScoreSpec) -> Result<Self, AgentError> {
        if score.half_life.is_some() {
            return Err(AgentError::Decay { agent: spec.name.clone() });
        }
        let rules = score.rules.iter().map(|rule| Rule {
            add: rule.add,
            when: rule.when.clone(),
            reason: Value::text(format!("{:+} {}", rule.add, rule.when.source())),
        });
        let fields = fields(&spec.output, |name| match name {
            "value" => Some(Field::Value),
            "reasons" => Some(Field::Reasons),
            _ => None,
        });
        Ok(LeadScore { rules: rules.collect(), floor: score.floor, cap: score.cap, fields, unknown: AtomicU64::new(0) })
    }

    /// The part, given what each rule's condition says. Unknown is not true: the rule does not count,
    /// but the unknown is counted.
    fn score(&self, mut truth: impl FnMut(&Condition) -> Truth) -> Part {
        let mut value = 0.0;
        let mut reasons = Vec::new();
        for rule in &self.rules {
            match truth(&rule.when) {
                Truth::True => {
                    value += rule.add;
                    reasons.push(rule.reason.clone());
                }
                Truth::False => {}
                Truth::Unknown(_) => {
                    self.unknown.fetch_add(1, Relaxed);
                }
            }
        }
        value = self.cap.map_or(value, |cap| value.min(cap));
        value = self.floor.map_or(value, |floor| value.max(floor));
        let reasons: Arc<[Value]> = reasons.into();
        let shown = self.fields.iter().map(|field| match field {
            Some(Field::Value) => Value::Float(value),
            Some(Field::Reasons) => Value::List(reasons.clone()),
            None => Value::Null,
        });
        Part::ok(Source::Local, shown.collect())
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
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        agent::tests::spec_with,
        event::{Path, Type},
        topology::{AgentKind, ScoreRule},
    };

    struct Nothing;

    impl crate::expr::Scope for Nothing {
        fn resolve(&self, _dotted: &str) -> Option<(Path, Type)> {
            None
        }
    }

    fn agent(floor: Option<f64>, cap: Option<f64>) -> LeadScore {
        let rule = |add, when: &str| ScoreRule { add, when: Condition::compile(when, &Nothing).unwrap() };
        let rules = vec![rule(40.0, "1 == 1"), rule(-15.0, "2 == 2"), rule(2.5, "3 == 3")];
        let score = LeadScoreSpec { rules, floor, cap, half_life: None };
        let spec =
            spec_with(AgentKind::LeadScore(score.clone()), &[("reasons", Type::TextList), ("value", Type::Float)]);
        LeadScore::new(&spec, &score).unwrap()
    }

    fn score(agent: &LeadScore, truths: [Truth; 3]) -> (Vec<String>, f64) {
        let mut truths = truths.into_iter();
        let part = agent.score(|_| truths.next().unwrap());
        let (Value::List(reasons), Value::Float(value)) = (part.field(0), part.field(1)) else { panic!("{part:?}") };
        (reasons.iter().map(ToString::to_string).collect(), *value)
    }

    #[test]
    fn what_is_true_counts_and_says_so() {
        let (reasons, value) = score(&agent(None, None), [Truth::True, Truth::True, Truth::True]);
        assert_eq!(value, 27.5);
        assert_eq!(reasons, ["+40 1 == 1", "-15 2 == 2", "+2.5 3 == 3"]);
        let agent = agent(None, None);
        let (reasons, value) = score(&agent, [Truth::False, Truth::Unknown("x".into()), Truth::False]);
        assert_eq!((reasons.len(), value), (0, 0.0));
        assert_eq!(agent.vitals().unknown_conditions, 1);
    }

    #[test]
    fn floor_and_cap_hold() {
        let agent = agent(Some(0.0), Some(30.0));
        assert_eq!(score(&agent, [Truth::False, Truth::True, Truth::False]).1, 0.0);
        assert_eq!(score(&agent, [Truth::True, Truth::False, Truth::True]).1, 30.0);
    }

    #[test]
    fn decay_is_refused_by_name() {
        let score = LeadScoreSpec { rules: vec![], floor: None, cap: None, half_life: Some(Duration::from_secs(1)) };
        let error = LeadScore::new(&spec_with(AgentKind::UserAgent { bots: None }, &[]), &score).err().unwrap();
        assert!(error.to_string().starts_with("HW505"), "{error}");
    }
}
