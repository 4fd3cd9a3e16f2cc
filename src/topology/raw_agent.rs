//! The keys of agents, one row per type.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    codes,
    decode::{Condition, Cx, Decode, Flag, For, Name, OneOrMany, Read, Table, Text, Whole, raw},
    raw_keyed::{FunnelKeys, LeadScoreKeys, SessionKeys},
    raw_service::{HttpKeys, HubSpotKeys, SalesforceKeys, ServiceBody, ServiceKeys},
    tagged::{Kind, Tagged, keys, read, schema},
    yaml::{Node, Shape},
};

raw! {
    /// Keys of every agent.
    "" struct AgentKeys {
        /// Its name: of its part of the record, its topic, its metrics. Small letters, digits and _.
        name: Name,
        /// What it reads: name → field, such as `ip: event.ip`.
        input: Option<Table<Name>>,
        /// What it yields: new name → the service's or type's own name. Default: all fields of the type.
        output: Option<Table<Name>>,
        /// Agents that are to run before it, beyond those whose fields it reads.
        after: Option<OneOrMany<Name>>,
        /// Runs only where this is true; otherwise its part is `skipped: condition`.
        when: Option<Condition>,
        /// Runs only with the person's consent to this purpose; otherwise its part is `skipped: consent`.
        consent: Option<Name>,
        /// Older records pass by as `skipped: overdue`, so that a backlog on a slow agent sheds instead of growing.
        skip_older_than: Option<For>,
    }

    /// Keys of agents that call something.
    "" struct CallKeys {
        /// From "inputs are there" to "fields are there", everything included. Default 5s, or what the attempts need.
        deadline: Option<For>,
        /// Per attempt. Default 2s.
        timeout: Option<For>,
        /// Attempts after the first. Default 2.
        retry: Option<Whole>,
        /// What to do when no answer came, in order: `cache` (a stale answer), `{ field: value }`, `lexicon` (sentiment), `dead_letter` (a copy). Then the event is partial.
        fallback: Option<OneOrMany<RawFallback>>,
    }

    /// Output types of agents whose service does not say them.
    "" struct TypeKeys {
        /// Field → `text` (the default), `int`, `float`, `bool`, `list` or `timestamp`.
        types: Option<Table<Name>>,
    }

    /// Places.
    "" struct GeoIpKeys {
        /// A MaxMind database (.mmdb); a new file is picked up without a restart.
        database: Text,
    }

    /// Browsers and bots.
    "" struct UserAgentKeys {
        /// A list of bots in place of the one that ships, read at start: mark, tab, class, tab, name on each line. The line `@shipped` stands for the one that ships.
        bots: Option<Text>,
    }

    /// A call to a service.
    "" struct FunctionKeys {
        /// Which service it calls. Default: the one with the agent's own name.
        service: Option<Name>,
    }

    /// A local classifier.
    "" struct LocalLlmKeys {
        /// A Hugging Face classifier by name or local directory; `lexicon` is VADER.
        model: Text,
        /// Where model files are: the model's own directory, one that holds it by name, or a Hugging Face cache.
        directory: Option<Text>,
        /// Keeps the weights in 8 bits: a quarter of the memory, slightly other scores. Default false.
        quantized: Option<Flag>,
    }

    /// Where a person came from.
    "" struct AttributionKeys {
        /// How credit is shared among touches: `first`, `last` (the default), `linear`, or `position_based` (40 % to the first, 40 % to the last).
        model: Option<Name>,
        /// Where campaigns are looked up by click id and UTM: `redis://:password@host:6379/0`, `rediss://` with TLS. JSON under `campaign:gclid:<id>`, `campaign:utm:<source>/<medium>/<campaign>`, each also with `:<country>`.
        campaigns: Option<Text>,
        /// How long a touch counts, in event time. Default 30d.
        window: Option<For>,
        /// A list of search engines, networks and mail sites instead of the one that ships: lines such as `search google.*`.
        referrers: Option<Text>,
    }
}

/// One fallback: a word, or values.
#[derive(Debug, Clone)]
pub(super) enum RawFallback {
    Word(Name),
    Values(Name, Vec<(Name, Text)>),
}

impl Decode for RawFallback {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        Some(match &node.shape {
            Shape::Map(_) => {
                let Table(values) = Table::<Text>::decode(node, cx)?;
                RawFallback::Values(Name { value: String::new(), span: node.span }, values)
            }
            _ => RawFallback::Word(Name::decode(node, cx)?),
        })
    }
}

impl JsonSchema for RawFallback {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "RawFallback".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "enum": ["cache", "lexicon", "dead_letter"] },
            { "type": "object", "additionalProperties": { "type": ["string", "number", "boolean"] } }
        ] })
    }
}

/// What an agent that calls something says about calling.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    pub keys: CallKeys,
    pub types: Option<Table<Name>>,
}

/// What an agent needs by type.
#[derive(Debug, Clone)]
pub(super) enum AgentBody {
    GeoIp(GeoIpKeys),
    UserAgent(UserAgentKeys),
    Function(FunctionKeys, Calls),
    /// `type: hubspot` and the like: a service of its own.
    Private(Box<(ServiceKeys, ServiceBody)>, Calls),
    LocalLlm(LocalLlmKeys, Calls),
    Session(SessionKeys),
    Funnel(FunnelKeys),
    Attribution(AttributionKeys, Calls),
    LeadScore(LeadScoreKeys),
}

fn calls(map: &mut super::decode::MapReader, cx: &mut Cx) -> Option<Calls> {
    let (keys, types) = (CallKeys::read(map, cx), TypeKeys::read(map, cx));
    Some(Calls { keys: keys?, types: types?.types })
}

fn only_calls(map: &mut super::decode::MapReader, cx: &mut Cx) -> Option<Calls> {
    Some(Calls { keys: CallKeys::read(map, cx)?, types: None })
}

/// A choice among words.
fn one_of(word: Option<&Name>, words: &[&str], what: &str, cx: &mut Cx) {
    if let Some(word) = word
        && !words.contains(&word.value.as_str())
    {
        let message = format!("there is no {what} \"{}\"", word.value);
        cx.findings.error(codes::HW112, word.span, message, format!("There are {}", words.join(", ")));
    }
}

/// Every type of agent.
pub(super) const AGENTS: &[Kind<AgentBody>] = &[
    Kind {
        name: "geoip",
        doc: "IP to city, country, region, time zone and network, from a MaxMind database.",
        read: |map, cx| GeoIpKeys::read(map, cx).map(AgentBody::GeoIp),
        keys: &[keys::<GeoIpKeys>],
    },
    Kind {
        name: "user_agent",
        doc: "Browser, system, device class and bots, from user agent and client hints.",
        read: |map, cx| UserAgentKeys::read(map, cx).map(AgentBody::UserAgent),
        keys: &[keys::<UserAgentKeys>],
    },
    Kind {
        name: "function",
        doc: "Calls a service of the topology.",
        read: |map, cx| {
            let (keys, calls) = (FunctionKeys::read(map, cx), calls(map, cx));
            Some(AgentBody::Function(keys?, calls?))
        },
        keys: &[keys::<FunctionKeys>, keys::<CallKeys>, keys::<TypeKeys>],
    },
    Kind {
        name: "hubspot",
        doc: "Short for a function and a private HubSpot service.",
        read: |map, cx| {
            let (service, body) = (ServiceKeys::read(map, cx), HubSpotKeys::read(map, cx));
            let calls = calls(map, cx);
            Some(AgentBody::Private(Box::new((service?, ServiceBody::HubSpot(Box::new(body?)))), calls?))
        },
        keys: &[keys::<ServiceKeys>, keys::<HubSpotKeys>, keys::<CallKeys>, keys::<TypeKeys>],
    },
    Kind {
        name: "http",
        doc: "Short for a function and a private HTTP service.",
        read: |map, cx| {
            let (service, body) = (ServiceKeys::read(map, cx), HttpKeys::read(map, cx));
            let calls = calls(map, cx);
            Some(AgentBody::Private(Box::new((service?, ServiceBody::Http(Box::new(body?)))), calls?))
        },
        keys: &[keys::<ServiceKeys>, keys::<HttpKeys>, keys::<CallKeys>, keys::<TypeKeys>],
    },
    Kind {
        name: "salesforce",
        doc: "Short for a function and a private Salesforce service.",
        read: |map, cx| {
            let (service, body) = (ServiceKeys::read(map, cx), SalesforceKeys::read(map, cx));
            let calls = calls(map, cx);
            Some(AgentBody::Private(Box::new((service?, ServiceBody::Salesforce(Box::new(body?)))), calls?))
        },
        keys: &[keys::<ServiceKeys>, keys::<SalesforceKeys>, keys::<CallKeys>, keys::<TypeKeys>],
    },
    Kind {
        name: "local_llm",
        doc: "A Hugging Face classifier on this machine, for sentiment.",
        read: |map, cx| {
            let (keys, calls) = (LocalLlmKeys::read(map, cx), only_calls(map, cx));
            Some(AgentBody::LocalLlm(keys?, calls?))
        },
        keys: &[keys::<LocalLlmKeys>, keys::<CallKeys>],
    },
    Kind {
        name: "session",
        doc: "Visits by inactivity gap, in event time.",
        read: |map, cx| {
            let keys = SessionKeys::read(map, cx)?;
            for word in keys.split.iter().flat_map(|words| &words.0) {
                one_of(Some(word), &["midnight", "campaign"], "split", cx);
            }
            Some(AgentBody::Session(keys))
        },
        keys: &[keys::<SessionKeys>],
    },
    Kind {
        name: "funnel",
        doc: "The furthest step a person reached, and the time in it.",
        read: |map, cx| FunnelKeys::read(map, cx).map(AgentBody::Funnel),
        keys: &[keys::<FunnelKeys>],
    },
    Kind {
        name: "attribution",
        doc: "Which campaign brought a person: UTM, click ids, referrer.",
        read: |map, cx| {
            let (keys, calls) = (AttributionKeys::read(map, cx), only_calls(map, cx));
            let keys = keys?;
            one_of(keys.model.as_ref(), &["first", "last", "linear", "position_based"], "attribution model", cx);
            Some(AgentBody::Attribution(keys, calls?))
        },
        keys: &[keys::<AttributionKeys>, keys::<CallKeys>],
    },
    Kind {
        name: "lead_score",
        doc: "A sum of rules, with the reasons.",
        read: |map, cx| LeadScoreKeys::read(map, cx).map(AgentBody::LeadScore),
        keys: &[keys::<LeadScoreKeys>],
    },
];

/// One agent.
pub(super) type RawAgent = Tagged<AgentKeys, AgentBody>;

/// The agents in the order of the file; of those with faults only the names.
#[derive(Debug, Clone)]
pub(super) struct RawAgents {
    pub entries: Vec<RawAgent>,
    pub broken: Vec<String>,
}

impl Decode for RawAgents {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let Shape::List(nodes) = &node.shape else {
            let message = format!("{} stands where a list of agents belongs", node.noun());
            cx.findings.error(codes::HW107, node.span, message, "Write - { name: geo, type: geoip, … } for each agent");
            return None;
        };
        let outer = cx.what.clone();
        let mut agents = RawAgents { entries: Vec::new(), broken: Vec::new() };
        for (index, node) in nodes.iter().enumerate() {
            let name = match &node.shape {
                Shape::Map(entries) => entries.iter().find(|(key, _)| key.text() == Some("name")),
                _ => None,
            };
            let name = name.and_then(|(_, name)| name.text()).map(str::to_owned);
            cx.what = name.as_ref().map_or_else(|| format!("agent {}", index + 1), |name| format!("agent \"{name}\""));
            match read(node, cx, "agent", AGENTS) {
                Some(agent) => agents.entries.push(agent),
                None => agents.broken.extend(name),
            }
        }
        cx.what = outer;
        Some(agents)
    }
}

impl JsonSchema for RawAgents {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "RawAgents".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = schema::<AgentKeys, AgentBody>(generator, AGENTS);
        json_schema!({ "type": "array", "items": one })
    }
}
