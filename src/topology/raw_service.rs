//! The keys of services, one row per type.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    decode::{Cx, Decode, For, Json, Name, Number, PerTime, Read, Table, Text, Whole, raw},
    raw::{RawAuth, RawBatch, RawBreaker, RawCacheKeys},
    tagged::{Kind, keys, named},
    yaml::Node,
};

/// `cache: off`, or how long answers are kept.
#[derive(Debug, Clone)]
pub(super) enum RawCache {
    Off,
    On(RawCacheKeys),
}

impl Decode for RawCache {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match node.text() {
            Some("off" | "false") => Some(RawCache::Off),
            _ => RawCacheKeys::decode(node, cx).map(RawCache::On),
        }
    }
}

impl JsonSchema for RawCache {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "RawCache".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let keys = generator.subschema_for::<RawCacheKeys>();
        json_schema!({ "anyOf": [{ "enum": ["off", false] }, keys] })
    }
}

raw! {
    /// Keys of every service.
    "" struct ServiceKeys {
        /// Quota of the account, for all processes together: `100/10s`, `30/s`. Off when not given.
        rate_limit: Option<PerTime>,
        /// Puts several requests into one call, where the service can do that.
        batch: Option<RawBatch>,
        /// How long answers are kept; `off` for not at all.
        cache: Option<RawCache>,
        /// When to stop calling a service that fails.
        breaker: Option<RawBreaker>,
        /// A request that has just failed is not sent again for so long. Default 5s.
        failure_ttl: Option<For>,
        /// Most requests under way at once from one process. Default 64.
        concurrency: Option<Whole>,
    }

    /// HubSpot contacts.
    "" struct HubSpotKeys {
        /// Token of a private app, usually `${HUBSPOT_TOKEN}`.
        token: Text,
        /// Default https://api.hubapi.com
        base_url: Option<Text>,
        /// Which property the agent's input holds, such as `email`. Default: the record id.
        id_property: Option<Text>,
    }

    /// Records of a Salesforce object, with a token by client credentials (`client_secret`) or JWT bearer (`private_key`).
    "" struct SalesforceKeys {
        /// Consumer key of the connected app.
        client_id: Text,
        /// Consumer secret, usually `${…}`: client credentials. `${file:/path}` is read again for each token.
        client_secret: Option<Text>,
        /// RSA key in PEM, usually `${file:/path}`, whose certificate the connected app has: JWT bearer, with `username`.
        private_key: Option<Text>,
        /// In whose name JWT bearer asks.
        username: Option<Text>,
        /// Whom the JWT names as audience. Default https://login.salesforce.com, or https://test.salesforce.com for a sandbox.
        audience: Option<Text>,
        /// Where tokens are issued, such as https://acme.my.salesforce.com. Client credentials work at your own domain only. Default with a private_key: https://login.salesforce.com
        login_url: Option<Text>,
        /// Which records. Default Contact.
        object: Option<Text>,
        /// Which field the agent's input holds: a text, e-mail, phone or external id. Of several records with one value the oldest answers. Default Id.
        id_field: Option<Text>,
        /// Default v62.0
        api_version: Option<Text>,
        /// Calls stop when so little of the organisation's calls per day is left, in percent; looked at again every 5 minutes. Default 5.
        reserve_percent: Option<Number>,
    }

    /// Any JSON API.
    "" struct HttpKeys {
        /// Where to call; `{name}` stands for the agent's input of that name, percent-encoded.
        url: Text,
        /// GET (the default), POST or PUT.
        method: Option<Name>,
        /// Further headers.
        headers: Option<Table<Text>>,
        /// JSON to send; `{name}` in its strings stands for the agent's input of that name.
        body: Option<Json>,
        /// How the service is told who calls.
        auth: Option<RawAuth>,
        /// Name → JSON pointer into the answer, such as `level: /intent/level`.
        result: Option<Table<Text>>,
    }
}

/// What a service needs by type.
#[derive(Debug, Clone)]
pub(super) enum ServiceBody {
    HubSpot(Box<HubSpotKeys>),
    Http(Box<HttpKeys>),
    Salesforce(Box<SalesforceKeys>),
}

/// Every type of service.
pub(super) const SERVICES: &[Kind<ServiceBody>] = &[
    Kind {
        name: "hubspot",
        doc: "HubSpot contacts: properties by id, misses batched into one call.",
        read: |map, cx| HubSpotKeys::read(map, cx).map(|keys| ServiceBody::HubSpot(Box::new(keys))),
        keys: &[keys::<HubSpotKeys>],
    },
    Kind {
        name: "http",
        doc: "Any JSON API: address, headers and body from templates, JSON pointers into the answer.",
        read: |map, cx| HttpKeys::read(map, cx).map(|keys| ServiceBody::Http(Box::new(keys))),
        keys: &[keys::<HttpKeys>],
    },
    Kind {
        name: "salesforce",
        doc: "Salesforce records: fields by id or another field, misses batched into one call.",
        read: |map, cx| SalesforceKeys::read(map, cx).map(|keys| ServiceBody::Salesforce(Box::new(keys))),
        keys: &[keys::<SalesforceKeys>],
    },
];

named! {
    RawServices, "service": ServiceKeys, ServiceBody, SERVICES;
}
