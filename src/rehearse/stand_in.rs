//! The stand-in: where a test says what an agent answers it answers that, else the agent itself runs.
//!
//! It stands behind the agent's real guard, so `when` and `consent` decide as ever, and a call that fails goes through
//! the real fallbacks.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use parking_lot::Mutex;

use crate::{
    agent::{Agent, Ordered, Step},
    event::{Outcome, Part, Path, Provenance, Reason, Record, Source, Value},
    policy::Fallbacks,
    topology::{AgentKind, AgentSpec, Fallback, Given, ServiceKind, Topology},
};

/// What the test says at the event under way, and whether somebody asked who must not be asked.
#[derive(Default)]
pub(super) struct Prompt {
    given: Mutex<Option<Given>>,
    unanswered: AtomicBool,
}

impl Prompt {
    /// Says what is answered from now on; `None` lets the agent itself run.
    pub fn set(&self, given: Option<Given>) {
        *self.given.lock() = given;
    }

    /// Whether, since the last call, an agent that would leave the process was started without an answer.
    pub fn take_unanswered(&self) -> bool {
        self.unanswered.swap(false, Relaxed)
    }
}

/// An agent, or what the test says in its stead.
pub(super) struct StandIn {
    prompt: Arc<Prompt>,
    /// `None`: it would leave the process.
    real: Option<Arc<dyn Agent>>,
    /// Sentiment by lexicon, where a fallback asks for it.
    lexicon: Option<Arc<dyn Agent>>,
    /// What is asked with: without one of them nobody is asked. Empty for agents that ask nobody.
    asks_with: Vec<Path>,
    source: Source,
    fallbacks: Fallbacks,
    retry: u32,
}

impl StandIn {
    /// A stand-in for that agent; `real` is `None` where it would leave the process.
    pub fn new(
        topology: &Topology,
        spec: &AgentSpec,
        prompt: Arc<Prompt>,
        real: Option<Arc<dyn Agent>>,
        lexicon: Option<Arc<dyn Agent>>,
    ) -> Self {
        StandIn {
            prompt,
            real,
            lexicon,
            asks_with: asks_with(topology, spec),
            source: source_of(&spec.kind),
            fallbacks: Fallbacks::new(spec),
            // A model on this machine is asked once.
            retry: if matches!(spec.kind, AgentKind::LocalLlm(_)) { 0 } else { spec.retry },
        }
    }

    /// The part that the test's words make.
    fn play(&self, given: &Given, record: &Record) -> Step {
        let part = match given {
            Given::Answer(fields) => {
                let mut part = Part::ok(self.source, fields.clone());
                part.provenance.attempts = u32::from(self.source == Source::Live);
                part
            }
            Given::NotFound => {
                let mut part = self.fallbacks.not_found(self.source);
                part.provenance.attempts = u32::from(self.source == Source::Live);
                part
            }
            Given::Stale { fields, age, because } => {
                let cached = || {
                    let provenance = Provenance {
                        outcome: Outcome::Stale,
                        reason: Some(*because),
                        source: Some(Source::Cache),
                        age_ms: Some(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
                        ..Provenance::default()
                    };
                    Some(Part { fields: fields.clone(), provenance })
                };
                self.tried(self.fallbacks.failed(*because, cached), *because)
            }
            Given::Fails(because) => match &self.lexicon {
                Some(lexicon) => return by_lexicon(lexicon.start(record), *because, self.attempts(*because)),
                None => self.tried(self.fallbacks.failed(*because, || None), *because),
            },
        };
        Step::Done(part)
    }

    fn tried(&self, mut part: Part, because: Reason) -> Part {
        part.provenance.attempts = self.attempts(because);
        part
    }

    /// The attempts that such a failure takes: all of them where another may help, one where the answer was final,
    /// none where nothing was sent (our own rate limit, an open breaker).
    fn attempts(&self, because: Reason) -> u32 {
        match because {
            Reason::Timeout | Reason::Unavailable => self.retry.saturating_add(1),
            Reason::RateLimited | Reason::BreakerOpen => 0,
            _ => 1,
        }
    }
}

impl Agent for StandIn {
    fn start(&self, record: &Record) -> Step {
        if self.asks_with.iter().any(|path| is_absent(&path.get(record))) {
            return Step::Done(Part::without(Outcome::Skipped, Reason::MissingInput));
        }
        match (&*self.prompt.given.lock(), &self.real) {
            (Some(given), _) => self.play(given, record),
            (None, Some(real)) => real.start(record),
            (None, None) => {
                self.prompt.unanswered.store(true, Relaxed);
                Step::Done(Part::without(Outcome::Failed, Reason::Unavailable))
            }
        }
    }

    fn ordered(&self) -> Option<&dyn Ordered> {
        self.real.as_deref().and_then(Agent::ordered)
    }
}

/// The inputs that an agent's question is made of.
fn asks_with(topology: &Topology, spec: &AgentSpec) -> Vec<Path> {
    let service = match spec.kind {
        AgentKind::Function { service } => topology.services.get(service),
        AgentKind::Unbound | AgentKind::LocalLlm(_) => None,
        _ => return Vec::new(),
    };
    let is_asked = |name: &str| match service.map(|service| &service.kind) {
        Some(ServiceKind::Http(http)) => {
            let hole = format!("{{{name}}}");
            http.url.contains(&hole) || http.body.as_ref().is_some_and(|body| body.to_string().contains(&hole))
        }
        _ => true,
    };
    spec.input.iter().filter(|(name, _)| is_asked(name)).map(|(_, path)| path.clone()).collect()
}

/// Whether nobody can be asked with it.
fn is_absent(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => text.trim().is_empty(),
        _ => false,
    }
}

/// Where the agent's values come from when all is well.
fn source_of(kind: &AgentKind) -> Source {
    match kind {
        AgentKind::Function { .. } | AgentKind::Unbound => Source::Live,
        kind if kind.keeps_state() => Source::State,
        _ => Source::Local,
    }
}

/// Whether a failed call falls to the lexicon: no fixed values stand before it.
pub(super) fn falls_to_lexicon(spec: &AgentSpec) -> bool {
    let holds = |fallback: &&Fallback| matches!(fallback, Fallback::Values(_) | Fallback::Lexicon);
    matches!(spec.fallback.iter().find(holds), Some(Fallback::Lexicon))
}

/// What the lexicon says, marked as standing in for a call that failed.
fn by_lexicon(step: Step, because: Reason, attempts: u32) -> Step {
    let mark = move |mut part: Part| {
        if part.provenance.outcome == Outcome::Ok {
            part.provenance.outcome = Outcome::Fallback;
            part.provenance.reason = Some(because);
            part.provenance.source = Some(Source::Lexicon);
            part.provenance.attempts = attempts;
        }
        part
    };
    match step {
        Step::Done(part) => Step::Done(mark(part)),
        Step::Pending(part) => Step::Pending(Box::pin(async move { mark(part.await) })),
        Step::Ordered(part) => Step::Ordered(mark(part)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Part);

    impl Agent for Fixed {
        fn start(&self, _record: &Record) -> Step {
            Step::Done(self.0.clone())
        }
    }

    #[test]
    fn the_lexicon_stands_in_for_a_failed_call_and_says_so() {
        let part = Part::ok(Source::Lexicon, vec!["negative".into()]);
        let Step::Done(part) = by_lexicon(Fixed(part).start(&Record::default()), Reason::Timeout, 1) else {
            panic!("not done")
        };
        assert_eq!(part.field(0), &Value::text("negative"));
        let provenance = part.provenance;
        assert_eq!(
            (provenance.outcome, provenance.reason, provenance.source, provenance.attempts),
            (Outcome::Fallback, Some(Reason::Timeout), Some(Source::Lexicon), 1)
        );
    }

    #[test]
    fn a_lexicon_without_a_text_stays_skipped() {
        let skipped = Part::without(Outcome::Skipped, Reason::MissingInput);
        let Step::Done(part) = by_lexicon(Step::Done(skipped.clone()), Reason::Timeout, 1) else { panic!("not done") };
        assert_eq!(part, skipped);
    }
}
