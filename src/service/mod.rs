//! What agents call: HubSpot, Salesforce, any JSON API over HTTP, campaigns in Redis, each behind its [`Line`] (cache,
//! quota, breaker, batches).

mod convert;
mod http;
mod hubspot;
mod jwt;
mod limits;
mod oauth;
mod redis;
mod salesforce;
mod template;
mod wire;

use std::sync::Arc;

use crate::{
    clock,
    event::Type,
    policy::{Call, Line, Snapshot},
    topology::{AgentKind, AgentSpec, BatchSpec, ServiceKind, ServiceSpec, Topology},
};

/// What the campaigns' store answers, in this order.
pub const CAMPAIGN_COLUMNS: [(&str, Type); 4] = redis::COLUMNS;

pub use template::Keys;
use template::Template;

/// Why the services of a topology cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// Correct `url` or `base_url`: an absolute http(s) URL with inputs after the host only.
    #[error("service \"{service}\": its URL cannot be used: {message}")]
    Url { service: Arc<str>, message: String },
    /// Correct `campaigns`: `redis://[[user]:password@]host[:port][/database]`, or `rediss://` for TLS.
    #[error("service \"{service}\": its Redis cannot be used: {message}")]
    Redis { service: Arc<str>, message: String },
    /// Correct `method`: GET, POST or PUT.
    #[error("service \"{service}\": \"{method}\" is not an HTTP method")]
    Method { service: Arc<str>, method: Arc<str> },
    /// A header's name or value holds what HTTP forbids, often a line break at the end of a secret.
    #[error("service \"{service}\": header {name} cannot be sent; look for a line break in its value")]
    Header { service: Arc<str>, name: Arc<str> },
    /// No TLS certificates on this machine, as a rule: install `ca-certificates`.
    #[error("service \"{service}\": no HTTP client: {message}")]
    Client { service: Arc<str>, message: String },
    /// Give `private_key` an RSA key in PEM, unencrypted: `openssl genrsa -out key.pem 2048`.
    #[error("service \"{service}\": private_key: {message}")]
    Key { service: Arc<str>, message: String },
    /// Give the agent the input that the service's URL or body names, or that a contact is found by.
    #[error("agent \"{agent}\": service \"{service}\" needs an input \"{input}\"")]
    Input { agent: Arc<str>, service: Arc<str>, input: Arc<str> },
    /// A contact is found by one key: give the agent exactly one input.
    #[error("agent \"{agent}\": service \"{service}\" finds contacts by one input, and the agent has {count}")]
    Inputs { agent: Arc<str>, service: Arc<str>, count: usize },
}

impl ServiceError {
    fn client(service: &str, error: &reqwest::Error) -> Self {
        ServiceError::Client { service: service.into(), message: error.to_string() }
    }
}

/// A value that agents want of a service, asked for once however many want it.
#[derive(Debug, Clone, PartialEq)]
struct Column {
    /// The service's name for it.
    from: Arc<str>,
    ty: Type,
}

/// One service, ready.
struct Service {
    name: Arc<str>,
    line: Arc<Line>,
    /// `None`: the key is the agent's only input.
    template: Option<Template>,
    columns: Vec<Column>,
}

/// An agent's place at a service.
pub struct Port {
    pub line: Arc<Line>,
    /// Renders the key of a record.
    pub keys: Keys,
    /// For each field of the part, the column of the service's answer.
    pub columns: Vec<usize>,
}

/// All services of a topology, shared by all agents and workers of the process.
pub struct Services {
    list: Vec<Service>,
}

impl Services {
    /// Prepares every service; connects to none.
    pub fn build(topology: &Topology) -> Result<Arc<Self>, ServiceError> {
        let services = topology.services.iter().enumerate().map(|(index, spec)| {
            let columns = columns(topology, index);
            let (call, template): (Arc<dyn Call>, _) = match &spec.kind {
                ServiceKind::HubSpot(hubspot) => {
                    (Arc::new(hubspot::HubSpot::new(&spec.name, hubspot, columns.clone())?), None)
                }
                ServiceKind::Http(http) => (
                    Arc::new(http::Http::new(&spec.name, http, columns.clone())?),
                    Some(http::template(&spec.name, http)?),
                ),
                ServiceKind::Redis(of_redis) => (Arc::new(redis::Redis::new(&spec.name, of_redis)?), None),
                ServiceKind::Salesforce(salesforce) => {
                    (Arc::new(salesforce::Salesforce::new(&spec.name, salesforce, columns.clone())?), None)
                }
            };
            let line = Line::new(&within_bounds(spec, &columns), call, clock::now);
            Ok(Service { name: spec.name.clone(), line, template, columns })
        });
        Ok(Arc::new(Services { list: services.collect::<Result<_, _>>()? }))
    }

    /// This process's share of the quotas of these services, recomputed at each rebalance of the stage that calls
    /// them: assigned partitions / all partitions.
    pub fn set_share(&self, services: &[usize], share: f64) {
        services.iter().filter_map(|index| self.list.get(*index)).for_each(|service| service.line.set_share(share));
    }

    /// Every service's name and state, for status lines and metrics.
    pub fn snapshot(&self) -> Vec<(Arc<str>, Snapshot)> {
        self.list.iter().map(|service| (service.name.clone(), service.line.snapshot())).collect()
    }

    /// The line to the service of that index, for agents that make their keys themselves.
    pub(crate) fn line(&self, service: usize) -> Arc<Line> {
        // The index comes from a checked topology.
        self.list[service].line.clone()
    }

    /// An agent's place at the service of that index.
    pub(crate) fn port(&self, agent: &AgentSpec, service: usize) -> Result<Port, ServiceError> {
        // The index comes from a checked topology.
        let service = &self.list[service];
        let by_input;
        let template = match (&service.template, &*agent.input) {
            (Some(template), _) => template,
            (None, [(name, _)]) => {
                by_input = Template::hole(name);
                &by_input
            }
            (None, inputs) => {
                let (agent, service) = (agent.name.clone(), service.name.clone());
                return Err(ServiceError::Inputs { agent, service, count: inputs.len() });
            }
        };
        let keys = template.bind(&agent.input).map_err(|input| ServiceError::Input {
            agent: agent.name.clone(),
            service: service.name.clone(),
            input,
        })?;
        let columns = agent.output.iter().map(|field| {
            let wanted = |column: &Column| column.from == field.from && column.ty == field.ty;
            service.columns.iter().position(wanted).unwrap_or(usize::MAX)
        });
        Ok(Port { line: service.line.clone(), keys, columns: columns.collect() })
    }
}

/// What the agents of a service want of it, each once.
fn columns(topology: &Topology, service: usize) -> Vec<Column> {
    let mut columns = Vec::new();
    let agents =
        topology.agents.iter().filter(|agent| matches!(agent.kind, AgentKind::Function { service: s } if s == service));
    for field in agents.flat_map(|agent| &agent.output) {
        let column = Column { from: field.from.clone(), ty: field.ty };
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    columns
}

/// Batches as large as the service reads at most; none where it has none.
fn within_bounds(spec: &ServiceSpec, columns: &[Column]) -> ServiceSpec {
    let most = match &spec.kind {
        ServiceKind::HubSpot(_) => Some(hubspot::MAX_BATCH),
        ServiceKind::Salesforce(salesforce) => Some(salesforce::max_batch(salesforce, columns)),
        ServiceKind::Redis(_) => Some(usize::MAX),
        ServiceKind::Http(_) => None,
    };
    let batch = most.zip(spec.batch).map(|(most, batch)| BatchSpec { max: batch.max.min(most), ..batch });
    ServiceSpec { batch, ..spec.clone() }
}
