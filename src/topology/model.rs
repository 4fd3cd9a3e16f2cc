//! The checked topology: what the rest of the program works from. Every name is resolved, every default filled in.

use std::{sync::Arc, time::Duration};

pub use super::model_service::*;
use crate::{
    event::{Path, Type, Value},
    expr::Condition,
    secret::Secret,
};

/// A checked topology. Made by [`super::load`]; there is no other way to one.
#[derive(Debug, Clone)]
pub struct Topology {
    /// Prefix of every topic, group and metric.
    pub name: Arc<str>,
    /// Hash of the file's text, short enough to read aloud; stands in every record.
    pub version: Arc<str>,
    pub source: SourceSpec,
    pub services: Vec<ServiceSpec>,
    /// In dependency order; ties in the order of the file. The order of a record's parts.
    pub agents: Vec<AgentSpec>,
    pub stages: Vec<StageSpec>,
    pub triggers: Vec<TriggerSpec>,
    pub destinations: Vec<DestinationSpec>,
    pub sinks: Vec<SinkSpec>,
    pub feeds: Vec<FeedSpec>,
}

/// Where raw events come from.
#[derive(Debug, Clone)]
pub struct SourceSpec {
    pub topic: Arc<str>,
    /// The first that is set is the record's key.
    pub key: Vec<Path>,
    /// Window of the duplicate check; `None` is off.
    pub dedup: Option<Duration>,
    /// The raw topic is already keyed and partitioned as intake would: intake runs inside the first stage.
    pub keyed: bool,
    pub start: Start,
}

/// Where the intake group begins when it is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Beginning,
    End,
}

/// One agent: who depends on what, deadlines, fallbacks.
#[derive(Debug, Clone)]
pub struct AgentSpec {
    pub name: Arc<str>,
    pub kind: AgentKind,
    /// Indexes of the agents it reads from or is declared `after`, ascending.
    pub deps: Vec<usize>,
    /// Input name → where it reads.
    pub input: Vec<(Arc<str>, Path)>,
    /// The part's fields, in order: of the schema, and of `Part::fields`.
    pub output: Vec<OutputField>,
    /// Runs only where this is true; otherwise `skipped: condition`.
    pub when: Option<Condition>,
    /// Runs only with consent to this purpose; otherwise `skipped: consent`.
    pub consent: Option<Arc<str>>,
    /// From "inputs are there" to "fields are there", everything included.
    pub deadline: Duration,
    /// Per attempt.
    pub timeout: Duration,
    /// Attempts after the first.
    pub retry: u32,
    /// In order; none left is `failed`.
    pub fallback: Vec<Fallback>,
    /// Older records are `skipped: overdue`.
    pub skip_older_than: Option<Duration>,
}

/// A field of a part.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputField {
    pub name: Arc<str>,
    pub ty: Type,
    /// The service's name for it (HubSpot property, result name); the field's own name by default.
    pub from: Arc<str>,
}

#[derive(Debug, Clone)]
pub enum AgentKind {
    GeoIp {
        database: std::path::PathBuf,
    },
    UserAgent {
        /// A list of bots in place of the one that ships.
        bots: Option<std::path::PathBuf>,
    },
    /// Calls the service of that index.
    Function {
        service: usize,
    },
    LeadScore(LeadScoreSpec),
    Session(SessionSpec),
    Funnel(FunnelSpec),
    Attribution(AttributionSpec),
    /// Sentiment of a text.
    LocalLlm(LocalLlmSpec),
    /// A function that is bound to no service: `run` refuses it.
    Unbound,
}

#[derive(Debug, Clone)]
pub struct LeadScoreSpec {
    pub rules: Vec<ScoreRule>,
    pub floor: Option<f64>,
    pub cap: Option<f64>,
    /// `decay.half_life`: the score is kept per person, and half of it is gone after so long in event time.
    pub half_life: Option<Duration>,
}

/// How visits are told apart.
#[derive(Debug, Clone)]
pub struct SessionSpec {
    /// A session ends after so long without an event, in event time.
    pub gap: Duration,
    /// How much older than the person's latest an event may be and still count.
    pub lateness: Duration,
    /// Midnight (UTC) ends it.
    pub split_midnight: bool,
    /// Another campaign ends it.
    pub split_campaign: bool,
}

/// Steps towards a goal, in order.
#[derive(Debug, Clone)]
pub struct FunnelSpec {
    pub steps: Vec<FunnelStep>,
    /// So long after its first step a run is over, in event time; `None` is never.
    pub within: Option<Duration>,
    /// After the last step, an earlier one begins another run.
    pub restart: bool,
}

#[derive(Debug, Clone)]
pub struct FunnelStep {
    pub name: Arc<str>,
    pub when: Condition,
}

/// Where a person came from.
#[derive(Debug, Clone)]
pub struct AttributionSpec {
    pub model: AttributionModel,
    /// How long a touch counts, in event time.
    pub window: Duration,
    /// The service where campaigns are looked up, by index.
    pub campaigns: Option<usize>,
    /// A list of referrers instead of the one that ships.
    pub referrers: Option<std::path::PathBuf>,
}

/// How credit is shared among touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributionModel {
    First,
    Last,
    Linear,
    /// 40 % to the first, 40 % to the last, the rest to those between.
    PositionBased,
}

/// A classifier of text.
#[derive(Debug, Clone)]
pub struct LocalLlmSpec {
    /// A Hugging Face name or directory; `lexicon` is VADER.
    pub model: Arc<str>,
    /// Where model files are.
    pub directory: Option<std::path::PathBuf>,
    /// Weights are kept in 8 bits.
    pub quantized: bool,
}

impl LocalLlmSpec {
    /// Whether it is a list of words and no model.
    pub fn is_lexicon(&self) -> bool {
        &*self.model == "lexicon"
    }
}

#[derive(Debug, Clone)]
pub struct ScoreRule {
    pub add: f64,
    pub when: Condition,
    /// With decay: every event for which it is true adds, instead of the last one only.
    pub each: bool,
    /// With `each`: the most that it adds in all, without sign.
    pub at_most: Option<f64>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Fallback {
    /// A cached value within its stale bound.
    Cache,
    /// Sentiment by VADER.
    Lexicon,
    /// Fixed values, by field index.
    Values(Vec<(usize, Value)>),
    /// A copy of the record goes to the dead letters; the event itself goes on as failed.
    DeadLetter,
}

/// One stage: agents placed together, with their topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageSpec {
    pub name: Arc<str>,
    /// Indexes into `Topology::agents`, ascending.
    pub agents: Vec<usize>,
    /// The topic it reads; its consumer group bears the same name.
    pub input: Arc<str>,
    pub output: Arc<str>,
}

#[derive(Debug, Clone)]
pub struct TriggerSpec {
    pub campaign: Arc<str>,
    pub when: Condition,
    pub consent: Option<Arc<str>>,
    /// At most once per person in so long, by event time.
    pub cooldown: Option<Duration>,
    pub expires: Option<Duration>,
    /// Indexes into `Topology::destinations`.
    pub destinations: Vec<usize>,
    pub payload: Vec<(Arc<str>, Path)>,
}

#[derive(Debug, Clone)]
pub struct DestinationSpec {
    pub name: Arc<str>,
    pub kind: DestinationKind,
    pub rate_limit: Option<Rate>,
    pub timeout: Duration,
    /// Calls under way at once.
    pub concurrency: usize,
    /// While the destination works, one trigger is retried for so long.
    pub retry_for: Duration,
    /// While it is down, a trigger older than this is a dead letter.
    pub give_up: Duration,
    /// Whether private and loopback addresses may be called.
    pub allow_private: bool,
}

#[derive(Debug, Clone)]
pub enum DestinationKind {
    Webhook {
        url: Secret,
        /// Standard Webhooks secret, `whsec_…` or plain text.
        secret: Option<Secret>,
        headers: Vec<(String, Secret)>,
    },
    /// Parsed and checked; `run` refuses it in this version, by this type name.
    Later { kind: Arc<str> },
}

/// Parsed and checked; `run` refuses sinks in this version.
#[derive(Debug, Clone)]
pub struct SinkSpec {
    pub name: Arc<str>,
    pub kind: Arc<str>,
    pub from: Vec<Arc<str>>,
}

/// A producer that Headwater runs itself. Parsed and checked; `run` refuses feeds in this version.
#[derive(Debug, Clone)]
pub struct FeedSpec {
    pub name: Arc<str>,
    pub kind: Arc<str>,
}

impl AgentSpec {
    /// Whether a fallback gives values where what the agent calls has never answered.
    pub fn has_stand_in(&self) -> bool {
        self.fallback.iter().any(|fallback| matches!(fallback, Fallback::Lexicon | Fallback::Values(_)))
    }
}

impl AgentKind {
    /// Its name in the file.
    pub fn name(&self) -> &'static str {
        match self {
            AgentKind::GeoIp { .. } => "geoip",
            AgentKind::UserAgent { .. } => "user_agent",
            AgentKind::Function { .. } => "function",
            AgentKind::LeadScore(_) => "lead_score",
            AgentKind::Session(_) => "session",
            AgentKind::Funnel(_) => "funnel",
            AgentKind::Attribution(_) => "attribution",
            AgentKind::LocalLlm(_) => "local_llm",
            AgentKind::Unbound => "function (unbound)",
        }
    }

    /// Whether it keeps state per key, in a changelog of its own.
    pub fn keeps_state(&self) -> bool {
        match self {
            AgentKind::Session(_) | AgentKind::Funnel(_) | AgentKind::Attribution(_) => true,
            AgentKind::LeadScore(score) => score.half_life.is_some(),
            _ => false,
        }
    }

    /// The service that it calls, by index.
    pub fn service(&self) -> Option<usize> {
        match self {
            AgentKind::Function { service } => Some(*service),
            AgentKind::Attribution(attribution) => attribution.campaigns,
            _ => None,
        }
    }
}

impl Topology {
    /// `<name>.<suffix>`: every topic and group of ours.
    pub fn topic(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.name)
    }

    /// The agents' names in the order of the parts.
    pub fn agent_names(&self) -> Vec<Arc<str>> {
        self.agents.iter().map(|agent| agent.name.clone()).collect()
    }
}
