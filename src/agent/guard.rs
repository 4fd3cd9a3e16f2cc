//! What every agent has in common: whether it runs at all, and how large its part may be.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{
    clock,
    event::{Outcome, Part, Reason, Record, Value},
    expr::{Condition, Truth},
    topology::AgentSpec,
};

use super::{Agent, Decoded, Ordered, Ran, Step, Vitals};

/// The most that a part may hold, in bytes of its values. Intake accepts only what leaves room for all parts.
const MAX_PART: usize = 32 * 1024;

/// An agent behind its guard.
pub(super) struct Guard {
    agent: Box<dyn Agent>,
    when: Option<Condition>,
    consent: Option<Arc<str>>,
    skip_older_than_ms: Option<i64>,
    unknown: AtomicU64,
}

impl Guard {
    /// Puts an agent behind the guard that its declaration asks for.
    pub fn new(spec: &AgentSpec, agent: Box<dyn Agent>) -> Self {
        Guard {
            agent,
            when: spec.when.clone(),
            consent: spec.consent.clone(),
            skip_older_than_ms: spec.skip_older_than.map(|bound| i64::try_from(bound.as_millis()).unwrap_or(i64::MAX)),
            unknown: AtomicU64::new(0),
        }
    }

    /// Why the agent is not to run on this record.
    fn skips(&self, record: &Record) -> Option<Reason> {
        if self.consent.as_deref().is_some_and(|purpose| !record.event.consents_to(purpose)) {
            return Some(Reason::Consent);
        }
        if let Some(condition) = &self.when
            && !self.holds(&condition.eval(record))
        {
            return Some(Reason::Condition);
        }
        self.skip_older_than_ms.filter(|bound| overdue(record, *bound, clock::unix_ms())).map(|_| Reason::Overdue)
    }

    /// Unknown is not true: the agent is skipped as by a false condition, and the unknown is counted.
    fn holds(&self, truth: &Truth) -> bool {
        if matches!(truth, Truth::Unknown(_)) {
            self.unknown.fetch_add(1, Relaxed);
        }
        matches!(truth, Truth::True)
    }
}

impl Agent for Guard {
    fn start(&self, record: &Record) -> Step {
        if let Some(reason) = self.skips(record) {
            return Step::Done(Part::without(Outcome::Skipped, reason));
        }
        match self.agent.start(record) {
            Step::Done(part) => Step::Done(bounded(part)),
            Step::Ordered(part) => Step::Ordered(part),
            Step::Pending(part) => Step::Pending(Box::pin(async move { bounded(part.await) })),
        }
    }

    fn ordered(&self) -> Option<&dyn Ordered> {
        self.agent.ordered().map(|_| self as &dyn Ordered)
    }

    fn vitals(&self) -> Vitals {
        let mut vitals = self.agent.vitals();
        vitals.unknown_conditions += self.unknown.load(Relaxed);
        vitals
    }
}

impl Ordered for Guard {
    fn decode(&self, bytes: Option<&[u8]>) -> Decoded {
        self.agent.ordered().map_or_else(Decoded::nothing, |ordered| ordered.decode(bytes))
    }

    /// A lookup that answered too much has failed before its state is touched.
    fn run(&self, record: &Record, part: Part, state: &mut Decoded, write: &mut Vec<u8>) -> Ran {
        match self.agent.ordered() {
            Some(ordered) => {
                let ran = ordered.run(record, bounded(part), state, write);
                Ran { part: bounded(ran.part), ..ran }
            }
            None => Ran { part, changed: false },
        }
    }
}

/// Whether a record was accepted too long ago.
fn overdue(record: &Record, bound_ms: i64, now_ms: i64) -> bool {
    now_ms.saturating_sub(record.received_at_ms) > bound_ms
}

/// The part, unless it is too large to travel.
fn bounded(mut part: Part) -> Part {
    if part.fields.iter().map(weight).sum::<usize>() > MAX_PART {
        part.fields = Vec::new();
        part.provenance.outcome = Outcome::Failed;
        part.provenance.reason = Some(Reason::BadResponse);
    }
    part
}

/// About as many bytes as the value takes in a record.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Int(_) | Value::Float(_) => 8,
        Value::Text(text) => text.len() + 2,
        Value::List(values) => values.iter().map(weight).sum::<usize>() + 2,
        Value::Map(values) => values.iter().map(|(key, value)| key.len() + 2 + weight(value)).sum::<usize>() + 2,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{agent::tests::spec, event::Source, topology::AgentKind};

    struct Fixed(Part);

    impl Agent for Fixed {
        fn start(&self, _record: &Record) -> Step {
            Step::Done(self.0.clone())
        }
    }

    fn guard(spec: &AgentSpec, fields: Vec<Value>) -> Guard {
        Guard::new(spec, Box::new(Fixed(Part::ok(Source::Local, fields))))
    }

    fn run(guard: &Guard, record: &Record) -> (Outcome, Option<Reason>) {
        match guard.start(record) {
            Step::Done(part) => (part.provenance.outcome, part.provenance.reason),
            Step::Pending(_) | Step::Ordered(_) => panic!("not done"),
        }
    }

    #[test]
    fn a_purpose_that_is_not_agreed_to_skips() {
        let guard = guard(
            &AgentSpec { consent: Some("marketing".into()), ..spec(AgentKind::UserAgent { bots: None }) },
            vec![],
        );
        let mut record = Record::default();
        assert_eq!(run(&guard, &record), (Outcome::Skipped, Some(Reason::Consent)));
        record.event.consent.insert("marketing".into(), false);
        assert_eq!(run(&guard, &record), (Outcome::Skipped, Some(Reason::Consent)));
        record.event.consent.insert("marketing".into(), true);
        assert_eq!(run(&guard, &record), (Outcome::Ok, None));
    }

    #[test]
    fn an_unknown_condition_is_not_true_and_is_counted() {
        let guard = guard(&spec(AgentKind::UserAgent { bots: None }), vec![]);
        assert!(guard.holds(&Truth::True));
        assert!(!guard.holds(&Truth::False));
        assert_eq!(guard.vitals().unknown_conditions, 0);
        assert!(!guard.holds(&Truth::Unknown("geo.country".into())));
        assert_eq!(guard.vitals().unknown_conditions, 1);
    }

    #[test]
    fn a_record_past_the_bound_is_overdue() {
        let bound =
            AgentSpec { skip_older_than: Some(Duration::from_secs(30)), ..spec(AgentKind::UserAgent { bots: None }) };
        let guard = guard(&bound, vec![]);
        let mut record = Record { received_at_ms: clock::unix_ms() - 40_000, ..Record::default() };
        assert_eq!(run(&guard, &record), (Outcome::Skipped, Some(Reason::Overdue)));
        record.received_at_ms = clock::unix_ms();
        assert_eq!(run(&guard, &record), (Outcome::Ok, None));
        assert!(!overdue(&record, 30_000, record.received_at_ms + 30_000));
        assert!(overdue(&record, 30_000, record.received_at_ms + 30_001));
    }

    #[test]
    fn a_part_that_is_too_large_fails() {
        let list = |count| vec![Value::List((0..count).map(|_| Value::text("x".repeat(98))).collect())];
        assert_eq!(
            run(&guard(&spec(AgentKind::UserAgent { bots: None }), list(300)), &Record::default()),
            (Outcome::Ok, None)
        );
        let large = guard(&spec(AgentKind::UserAgent { bots: None }), list(330));
        assert_eq!(run(&large, &Record::default()), (Outcome::Failed, Some(Reason::BadResponse)));
    }
}
