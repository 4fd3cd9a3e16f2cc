//! Topology tests: a test's events through the topology's agents and rules, without Kafka, network or clocks.
//!
//! ```text
//! case ─▶ event ─▶ intake's rules ─▶ agents, in their order ─▶ decide ─▶ record and triggers ─▶ verdict ─▶ screen
//!                                     └ stand_in: what `given` says, else the agent itself
//! ```
//!
//! Everything that need not leave the process is the real thing: intake's rules, guards (`when`, `consent`), fallbacks,
//! agents with their state per key, conditions, [`Decide`]. What would leave it is answered by the test, and a test that
//! does not say what fails. Time is the test's: an event is received when it occurred, so none is ever overdue, and no
//! test's result depends on the day it is run.

mod places;
mod report;
mod screen;
mod stand_in;
#[cfg(test)]
mod tests;
mod verdict;

use std::{collections::HashMap, io, sync::Arc};

pub use places::TEST_PLACES;
use places::TestPlaces;
pub use report::report;
pub use screen::screen;
pub use verdict::{Difference, Fault, StepVerdict, Verdict};

use crate::{
    agent::{self, Agent, AgentError, Decoded, Step},
    codec::intake,
    event::{Origin, Record, Trigger},
    service::{ServiceError, Services},
    stage::{Decide, Decided},
    topology::{AgentKind, AgentSpec, Case, CaseStep, LocalLlmSpec, Topology},
    worker::Stats,
};
use stand_in::{Prompt, StandIn, falls_to_lexicon};

/// The tag of the one log that a test's events lie in.
const TAG: u32 = 1;

/// Why a topology cannot be rehearsed.
#[derive(Debug, thiserror::Error)]
pub enum RehearseError {
    /// See the agent's error.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// See the service's error.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// Make the system's temporary folder writable.
    #[error("the test data of places cannot be written: {0}")]
    Places(#[from] io::Error),
}

/// A topology on the stage, ready for its tests.
pub struct Rehearsal {
    topology: Topology,
    cast: Vec<Arc<dyn Agent>>,
    prompts: Vec<Arc<Prompt>>,
    decide: Decide,
    /// Agents whose database is not there, so that places are MaxMind's test data.
    without_database: Vec<Arc<str>>,
    _places: Option<TestPlaces>,
}

/// What is remembered of people.
#[derive(Default)]
struct States {
    /// What agents keep, by agent and key.
    agents: HashMap<(usize, Arc<str>), Decoded>,
    /// What decide keeps, by key.
    decided: HashMap<Arc<str>, Decided>,
}

impl Rehearsal {
    /// Prepares the agents. Where a database of places is not there, MaxMind's test data stands in.
    pub fn new(topology: &Topology) -> Result<Self, RehearseError> {
        let mut places = None;
        let mut without_database = Vec::new();
        let (mut cast, mut prompts) = (Vec::new(), Vec::new());
        for spec in &topology.agents {
            let mut spec = spec.clone();
            // The test's time is not the wall's.
            spec.skip_older_than = None;
            if let AgentKind::GeoIp { database } = &mut spec.kind
                && !database.exists()
            {
                without_database.push(spec.name.clone());
                let places = match &mut places {
                    Some(places) => places,
                    none => none.insert(TestPlaces::lay_out()?),
                };
                *database = places.file().to_owned();
            }
            let prompt = Arc::new(Prompt::default());
            let real = if leaves_the_process(&spec.kind) { None } else { Some(bare(topology, &spec)?) };
            let lexicon = lexicon_of(&spec).map(|spec| bare(topology, &spec)).transpose()?;
            let stand_in = StandIn::new(topology, &spec, prompt.clone(), real, lexicon);
            cast.push(agent::guarded(&spec, Box::new(stand_in)));
            prompts.push(prompt);
        }
        let decide = Decide::new(topology);
        Ok(Rehearsal { topology: topology.clone(), cast, prompts, decide, without_database, _places: places })
    }

    /// The topology it plays.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Agents whose database is not there, so that places are MaxMind's test data.
    pub fn without_database(&self) -> &[Arc<str>] {
        &self.without_database
    }

    /// Runs one test from a clean slate. After an event that intake refuses, or that asks what the test does not
    /// answer, the rest is not run: it would say nothing.
    pub async fn run(&mut self, case: &Case) -> Verdict {
        let mut states = States::default();
        let mut steps = Vec::new();
        for (index, step) in case.steps.iter().enumerate() {
            let verdict = self.step(index, step, &mut states).await;
            let goes_on = verdict.faults.is_empty();
            steps.push(verdict);
            if !goes_on {
                break;
            }
        }
        Verdict { name: case.name.clone(), line: case.line, events: case.steps.len(), steps }
    }

    async fn step(&mut self, index: usize, step: &CaseStep, states: &mut States) -> StepVerdict {
        let (key, mut record) = match self.accept(index, step) {
            Ok(accepted) => accepted,
            Err(fault) => return StepVerdict::refused(step, fault),
        };
        for (agent, prompt) in self.prompts.iter().enumerate() {
            prompt.set(step.given.iter().find(|(of, _)| *of == agent).map(|(_, given)| given.clone()));
        }
        for (index, agent) in self.cast.iter().enumerate() {
            let (part, is_ordered) = match agent.start(&record) {
                Step::Done(part) => (part, false),
                Step::Ordered(part) => (part, true),
                Step::Pending(part) => (part.await, true),
            };
            record.parts[index] = match agent.ordered().filter(|_| is_ordered) {
                Some(ordered) => {
                    let state = states.agents.entry((index, key.clone())).or_insert_with(|| ordered.decode(None));
                    ordered.run(&record, part, state, &mut Vec::new()).part
                }
                None => part,
            };
        }
        let unanswered = |(agent, prompt): (usize, &Arc<Prompt>)| prompt.take_unanswered().then_some(agent);
        let faults = self.prompts.iter().enumerate().filter_map(unanswered).map(Fault::Unanswered).collect();
        let triggers = self.decided(&mut record, states.decided.entry(key).or_default());
        StepVerdict::new(step, record, triggers, faults)
    }

    /// The record as intake would begin it, and its key.
    fn accept(&self, index: usize, step: &CaseStep) -> Result<(Arc<str>, Record), Fault> {
        let topic = &self.topology.source.topic;
        let offset = i64::try_from(index).unwrap_or(i64::MAX);
        let place = intake::Place { topic, partition: 0, offset };
        let received_at_ms = step.event.occurred_at_ms;
        let (key, event) = intake::accept(step.event.clone(), &self.topology.source.key, place, received_at_ms)
            .map_err(|rejection| Fault::Refused(rejection.to_string()))?;
        let origin =
            Origin { topic: topic.clone(), tag: TAG, partition: 0, offset, events_offset: offset, events_tag: TAG };
        let parts = vec![Default::default(); self.topology.agents.len()];
        let topology_version = self.topology.version.clone();
        Ok((key, Record { event, received_at_ms, origin, topology_version, parts, ..Record::default() }))
    }

    /// Settles the record as the last stage does, and gives the triggers that fire.
    fn decided(&self, record: &mut Record, person: &mut Decided) -> Vec<Trigger> {
        self.decide.settle(record);
        let mut triggers = Vec::new();
        let fired: Result<bool, std::convert::Infallible> =
            self.decide.decide(record, person, &Stats::default(), |trigger| {
                triggers.push(trigger);
                Ok(())
            });
        match fired {
            Ok(_) => triggers,
            Err(never) => match never {},
        }
    }
}

/// Whether the agent asks somebody, or needs what is not in the binary.
fn leaves_the_process(kind: &AgentKind) -> bool {
    match kind {
        AgentKind::Function { .. } | AgentKind::Unbound => true,
        AgentKind::LocalLlm(model) => &*model.model != LEXICON,
        _ => false,
    }
}

/// The model that is in the binary.
const LEXICON: &str = "lexicon";

/// The agent that a failed call of this one falls to.
fn lexicon_of(spec: &AgentSpec) -> Option<AgentSpec> {
    let AgentKind::LocalLlm(model) = &spec.kind else { return None };
    let lexicon = LocalLlmSpec { model: LEXICON.into(), ..model.clone() };
    falls_to_lexicon(spec).then(|| AgentSpec { kind: AgentKind::LocalLlm(lexicon), ..spec.clone() })
}

/// The agent itself, without its guard's questions: the stand-in's guard asks them. Attribution runs without its
/// table of campaigns, which is elsewhere.
fn bare(topology: &Topology, spec: &AgentSpec) -> Result<Arc<dyn Agent>, RehearseError> {
    let mut spec = AgentSpec { when: None, consent: None, ..spec.clone() };
    if let AgentKind::Attribution(attribution) = &mut spec.kind {
        attribution.campaigns = None;
    }
    let alone = Topology { agents: vec![spec.clone()], services: Vec::new(), ..topology.clone() };
    let services = Services::build(&alone)?;
    agent::build(&alone, &services)?.pop().ok_or(RehearseError::Agent(AgentError::Unbound { agent: spec.name.clone() }))
}
