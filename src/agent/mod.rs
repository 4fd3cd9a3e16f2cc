//! The agents: one file per type. An agent is a function from a record to its own part of it.
//!
//! # How to add an agent
//! 1. A file here with a type that implements [`Agent`]: everything found out at build time (fields, paths, files),
//!    `start` quick and without blocking.
//! 2. A variant of [`AgentKind`] with its parameters, read and checked in `topology`.
//! 3. A row with its output fields in the topology's table of types: schema, completion and help come from it.
//! 4. A line in [`build`], the list below.
//! 5. Tests beside it by behaviour, and a line in the README's table of agents.
//!
//! What every agent has in common (`when`, `consent`, `skip_older_than`, the size of a part) is in `guard.rs`; what
//! every call to a service has in common is in [`crate::policy`].

mod attribution;
mod function;
mod funnel;
mod geoip;
mod guard;
mod keyed;
mod lead_score;
mod sentiment;
mod session;
mod user_agent;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use futures::future::BoxFuture;
pub use keyed::{Decoded, Keyed, KeyedAgent, MAX_STATE, Ordered, Ran};
pub use user_agent::BotsError;

use crate::{
    event::{Part, Record},
    service::{ServiceError, Services},
    topology::{AgentKind, AgentSpec, OutputField, Topology},
};

/// What starting an agent gives.
pub enum Step {
    /// The part, at once: pure agents and cache hits.
    Done(Part),
    /// The part comes later; run it on the I/O runtime. Keeps the agent's deadline itself and never fails:
    /// whatever happens is a part's outcome.
    Pending(BoxFuture<'static, Part>),
    /// The agent keeps state per key: this part goes to its [`Ordered::run`] once it ran for the key's previous event.
    /// From an ordered agent the part of a `Pending` does so too.
    Ordered(Part),
}

/// An agent as the engine sees it. `start` runs on the worker thread: it must not block, and is quick.
pub trait Agent: Send + Sync {
    /// Begins the agent's work on one record, whose dependencies' parts are there.
    fn start(&self, record: &Record) -> Step;

    /// The half that keeps state per key, where it has one.
    fn ordered(&self) -> Option<&dyn Ordered> {
        None
    }

    /// What metrics say of it beside its results.
    fn vitals(&self) -> Vitals {
        Vitals::default()
    }
}

/// What metrics say of an agent beside its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vitals {
    /// Conditions of the agent that met a missing value (`headwater_conditions_unknown_total`).
    pub unknown_conditions: u64,
    /// When its database was built, in seconds since 1970 UTC (`headwater_database_age_seconds`).
    pub database_built_at_s: Option<u64>,
}

/// Why the agents of a topology cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Bind it: `services.<name>`, or `service: <name>`.
    #[error("HW505 agent \"{agent}\": a function that is bound to no service")]
    Unbound { agent: Arc<str> },
    /// Put a database in MaxMind's format there (`GEOIP_DB`), readable for this user.
    #[error("agent \"{agent}\": database {}: {message}", .path.display())]
    Database { agent: Arc<str>, path: PathBuf, message: String },
    /// Correct that line of the list of referrers (0: the file as a whole), or leave `referrers` out for the one that
    /// ships.
    #[error("agent \"{agent}\": referrers {}, line {line}: {message}", .path.display())]
    Referrers { agent: Arc<str>, path: PathBuf, line: usize, message: String },
    /// See the list's error.
    #[error("agent \"{agent}\": {error}")]
    Bots { agent: Arc<str>, error: BotsError },
    /// Build with cargo feature `ml`, write `model: lexicon`, or declare `fallback: lexicon`.
    #[error("HW505 agent \"{agent}\": model \"{model}\" needs cargo feature ml, which is not in this build")]
    WithoutMl { agent: Arc<str>, model: Arc<str> },
    /// Look at what it says of the model's directory (`directory`, `model`).
    #[error("agent \"{agent}\": {message}")]
    Model { agent: Arc<str>, message: String },
    /// See the service's error.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// All agents of a topology, in its order, each behind its guard. Reads databases; connects to nothing.
pub fn build(topology: &Topology, services: &Arc<Services>) -> Result<Vec<Arc<dyn Agent>>, AgentError> {
    let (mut databases, mut models) = (HashMap::new(), sentiment::Models::default());
    let agents = topology.agents.iter().map(|spec| {
        let agent: Box<dyn Agent> = match &spec.kind {
            AgentKind::GeoIp { database } => Box::new(geoip::GeoIp::new(spec, database, &mut databases)?),
            AgentKind::UserAgent { bots } => Box::new(user_agent::UserAgent::new(spec, bots.as_deref())?),
            AgentKind::Function { service } => Box::new(function::Function::new(spec, services.port(spec, *service)?)),
            AgentKind::LeadScore(score) => match score.half_life {
                Some(half_life) => Box::new(KeyedAgent(lead_score::Decaying::new(spec, score, half_life))),
                None => Box::new(lead_score::LeadScore::new(spec, score)),
            },
            AgentKind::Session(session) => {
                Box::new(KeyedAgent(session::Session::new(spec, session, &topology.source.key)))
            }
            AgentKind::Funnel(funnel) => Box::new(KeyedAgent(funnel::Funnel::new(spec, funnel))),
            AgentKind::Attribution(own) => {
                let campaigns = own.campaigns.map(|service| services.line(service));
                Box::new(KeyedAgent(attribution::Attribution::new(spec, own, campaigns)?))
            }
            AgentKind::LocalLlm(llm) => Box::new(sentiment::Sentiment::new(spec, llm, &mut models)?),
            AgentKind::Unbound => return Err(AgentError::Unbound { agent: spec.name.clone() }),
        };
        Ok(Arc::new(guard::Guard::new(spec, agent)) as Arc<dyn Agent>)
    });
    agents.collect()
}

/// An agent of one's own behind the guard that a declaration asks for: topology tests put their stand-ins there.
pub fn guarded(spec: &AgentSpec, agent: Box<dyn Agent>) -> Arc<dyn Agent> {
    Arc::new(guard::Guard::new(spec, agent))
}

/// For each output field what it shows of an agent's result, looked up once: by the result's name, else by the
/// field's own; `None` where the agent knows neither, and the field stays null.
fn fields<T>(output: &[OutputField], known: impl Fn(&str) -> Option<T>) -> Box<[Option<T>]> {
    output.iter().map(|field| known(&field.from).or_else(|| known(&field.name))).collect()
}

/// Where the agent's input of that name lies.
fn input<'a>(spec: &'a AgentSpec, name: &str) -> Option<&'a crate::event::Path> {
    spec.input.iter().find(|(input, _)| &**input == name).map(|(_, path)| path)
}

#[cfg(test)]
mod tests;
