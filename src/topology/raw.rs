//! The keys of a topology file, as written. Doc comments here are what an editor shows: the JSON schema is made from them.

use super::{
    decode::{Condition, Flag, For, Lenient, Name, OneOrMany, Table, Text, Whole, raw},
    raw_agent::RawAgents,
    raw_edge::{RawDestinations, RawFeeds, RawSinks},
    raw_service::RawServices,
};

raw! {
    /// A Headwater topology: where events come from, what enriches them, what they trigger.
    "" struct RawTopology {
        /// Prefix of every topic, consumer group and metric: `<name>.events`, `<name>.enriched`, …
        name: Name,
        /// Where raw events come from.
        source: Lenient<RawSource>,
        /// What agents call: connection, secrets, quota, breaker and cache, shared by agents.
        services: Option<RawServices>,
        /// What each agent adds to an event. Order is inferred from what inputs and conditions read.
        agents: Lenient<RawAgents>,
        /// Campaigns: conditions on the enriched event, and whom to tell.
        triggers: Option<Vec<RawTrigger>>,
        /// Webhooks and other receivers of triggers.
        destinations: Option<RawDestinations>,
        /// Where enriched events and triggers are stored.
        sinks: Option<RawSinks>,
        /// Further producers that Headwater runs itself: HTTP ingest, change streams.
        feeds: Option<RawFeeds>,
        /// `split` (the default): each agent is a stage with topics of its own. `fused`: one stage holds all, with no topic in between.
        placement: Option<Name>,
        /// Named groups of agents instead of `placement`: each is a stage, in this order.
        stages: Option<Vec<RawStage>>,
    }

    /// Where raw events come from.
    "source" struct RawSource {
        /// The raw topic. Avro, JSON and CloudEvents are told apart record by record.
        topic: Name,
        /// Which fields name the person; the first that is set is the key. Default: [user_id, anonymous_id].
        key: Option<OneOrMany<Name>>,
        /// Events with an id seen within this time are duplicates. Off when not given.
        dedup: Option<For>,
        /// The raw topic already has this key, our partition count and murmur2: intake then runs inside the first stage.
        keyed: Option<Flag>,
        /// Where a new deployment starts: `beginning` (the default) or `end`.
        start: Option<Name>,
    }

    /// A stage: agents placed together.
    "stage" struct RawStage {
        /// Its name: of its topic and its metrics.
        name: Name,
        /// The agents in it. They may depend on each other and on agents of earlier stages.
        agents: Vec<Name>,
    }

    /// A campaign: when its condition holds for an event, its destinations are told.
    "trigger" struct RawTrigger {
        /// The campaign's name: label of metrics, part of every trigger's id.
        campaign: Name,
        /// Fires where this is true. A condition that meets an absent value is unknown and does not fire.
        when: Condition,
        /// Fires only with the person's consent to this purpose (`event.consent.<purpose>`).
        consent: Option<Name>,
        /// At most once per person in this time, by event time.
        cooldown: Option<For>,
        /// Not delivered later than this after the event.
        expires: Option<For>,
        /// Whom to tell: one destination or several.
        destination: OneOrMany<Name>,
        /// What to tell: name → field, such as `city: geo.city`.
        payload: Option<Table<Name>>,
    }

    /// How many requests go to a service at once.
    "batch" struct RawBatch {
        /// Most requests in one call. Default 100. HubSpot takes 100; Salesforce 2000 by id, 200 by another field.
        max: Option<Whole>,
        /// How long to wait for more of them. Default 5ms.
        wait: Option<For>,
    }

    /// When to stop calling a service that fails.
    "breaker" struct RawBreaker {
        /// Opens after so many failures in a row. Default 5.
        failures: Option<Whole>,
        /// Probes after so long, doubling up to ten times as long. Default 10s.
        open: Option<For>,
    }

    /// How long answers are kept.
    "cache" struct RawCacheKeys {
        /// How long an answer is fresh. Default 5m.
        ttl: Option<For>,
        /// How long past that it may still serve as a fallback. Default 1h.
        stale: Option<For>,
        /// How long a "not found" is remembered. Default 30s.
        not_found: Option<For>,
        /// Most answers kept. Default 200000.
        entries: Option<Whole>,
    }

    /// How a service is told who calls. One of the four.
    "auth" struct RawAuth {
        /// `Authorization: Bearer …`
        bearer: Option<Text>,
        /// `Authorization: Basic …`
        basic: Option<RawBasic>,
        /// A header of another name.
        header: Option<RawHeader>,
        /// A token of OAuth 2.0 client credentials: asked for when needed, kept until shortly before it expires.
        oauth: Option<RawOAuth>,
    }

    /// OAuth 2.0 client credentials.
    "oauth" struct RawOAuth {
        /// Where tokens are issued. https, unless it is on a private network.
        token_url: Text,
        /// The client's id.
        client_id: Text,
        /// Its secret, usually `${…}`. `${file:/path}` is read again for each token.
        client_secret: Text,
        /// Which rights to ask for, separated by spaces.
        scope: Option<Text>,
        /// For whom the token is, where the issuer wants it said.
        audience: Option<Text>,
        /// Where id and secret stand: `header` (the default, `Authorization: Basic`) or `body`.
        credentials_in: Option<Name>,
    }

    /// User name and password.
    "basic" struct RawBasic {
        /// The user name.
        username: Text,
        /// The password, usually `${…}`.
        password: Text,
    }

    /// A header that holds a key.
    "header" struct RawHeader {
        /// Its name, such as `X-Api-Key`.
        name: Name,
        /// Its value, usually `${…}`.
        value: Text,
    }
}
