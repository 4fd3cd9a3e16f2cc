//! The keys at the edge: destinations, sinks and feeds, one row per type.

use super::{
    decode::{Flag, For, Name, OneOrMany, PerTime, Read, Table, Text, Whole, raw},
    tagged::{Kind, keys, named},
};

raw! {
    /// Keys of every destination.
    "" struct DestinationKeys {
        /// Most calls in a time, for all processes together. Off when not given.
        rate_limit: Option<PerTime>,
        /// Per call. Default 10s.
        timeout: Option<For>,
        /// Most calls under way at once from one process. Default 32.
        concurrency: Option<Whole>,
        /// While the destination works, one trigger is retried for so long. Default 1h.
        retry_for: Option<For>,
        /// While it is down, a trigger older than this becomes a dead letter. Default 3d.
        give_up: Option<For>,
        /// Whether private and loopback addresses may be called. Default false.
        allow_private: Option<Flag>,
    }

    /// A webhook, signed per Standard Webhooks.
    "" struct WebhookKeys {
        /// Where to post to.
        url: Text,
        /// Signs every delivery: `whsec_…`, usually `${…}`.
        secret: Option<Text>,
        /// Further headers.
        headers: Option<Table<Text>>,
    }

    /// Customer.io's track API.
    "" struct CustomerIoKeys {
        /// Site id, usually `${CIO_SITE_ID}`.
        site_id: Text,
        /// API key, usually `${CIO_API_KEY}`.
        api_key: Text,
        /// `us` (the default) or `eu`.
        region: Option<Name>,
        /// Another address, for tests and proxies.
        base_url: Option<Text>,
    }

    /// Keys of every sink.
    "" struct SinkKeys {
        /// What is stored: `enriched`, `triggers`, `dead-letters`.
        from: OneOrMany<Name>,
    }

    /// Rows in PostgreSQL, exactly once.
    "" struct PostgresKeys {
        /// Connection address, usually `${DATABASE_URL}`.
        url: Text,
        /// Most rows in one transaction.
        batch: Option<Whole>,
        /// Schema of its tables. Default public.
        schema: Option<Name>,
    }

    /// Files in S3.
    "" struct S3Keys {
        /// `s3://bucket/prefix/`.
        url: Text,
        /// `parquet`, `avro` or `jsonl`.
        format: Option<Name>,
        /// How often a file is closed.
        every: Option<For>,
        /// AWS region.
        region: Option<Text>,
        /// Another address, for stores that speak S3.
        endpoint: Option<Text>,
    }

    /// Tables in Redshift, by COPY from S3.
    "" struct RedshiftKeys {
        /// Where files are staged: `s3://bucket/prefix/`.
        staging: Text,
        /// Role that Redshift reads the files with.
        iam_role: Text,
        /// How often tables are loaded.
        every: Option<For>,
        /// Connection address.
        url: Option<Text>,
    }

    /// No keys in common.
    "" struct NoKeys {}

    /// Events over HTTP.
    "" struct HttpFeedKeys {
        /// Path of the endpoint. Default /v1/events
        path: Option<Text>,
        /// Token that producers send, usually `${…}`.
        token: Option<Text>,
    }

    /// Documents that change in MongoDB, as events.
    "" struct MongoKeys {
        /// Connection address, usually `${…}`.
        url: Text,
        /// The database.
        database: Text,
        /// The collection.
        collection: Text,
        /// Event field → field of the document.
        map: Option<Table<Name>>,
    }
}

/// What a destination needs by type.
#[derive(Debug, Clone)]
pub(super) enum DestinationBody {
    Webhook(WebhookKeys),
    CustomerIo,
}

/// Every type of destination.
pub(super) const DESTINATIONS: &[Kind<DestinationBody>] = &[
    Kind {
        name: "webhook",
        doc: "A webhook, signed per Standard Webhooks.",
        read: |map, cx| WebhookKeys::read(map, cx).map(DestinationBody::Webhook),
        keys: &[keys::<WebhookKeys>],
    },
    Kind {
        name: "customerio",
        doc: "Customer.io's track API.",
        read: |map, cx| CustomerIoKeys::read(map, cx).map(|_| DestinationBody::CustomerIo),
        keys: &[keys::<CustomerIoKeys>],
    },
];

/// Every type of sink.
pub(super) const SINKS: &[Kind<()>] = &[
    Kind {
        name: "postgres",
        doc: "Rows in PostgreSQL, exactly once.",
        read: |map, cx| PostgresKeys::read(map, cx).map(drop),
        keys: &[keys::<PostgresKeys>],
    },
    Kind {
        name: "s3",
        doc: "Files in S3 or a store that speaks it.",
        read: |map, cx| S3Keys::read(map, cx).map(drop),
        keys: &[keys::<S3Keys>],
    },
    Kind {
        name: "redshift",
        doc: "Tables in Redshift, by COPY from S3.",
        read: |map, cx| RedshiftKeys::read(map, cx).map(drop),
        keys: &[keys::<RedshiftKeys>],
    },
];

/// Every type of feed.
pub(super) const FEEDS: &[Kind<()>] = &[
    Kind {
        name: "http",
        doc: "Events over HTTP.",
        read: |map, cx| HttpFeedKeys::read(map, cx).map(drop),
        keys: &[keys::<HttpFeedKeys>],
    },
    Kind {
        name: "mongodb",
        doc: "Documents that change in MongoDB, as events.",
        read: |map, cx| MongoKeys::read(map, cx).map(drop),
        keys: &[keys::<MongoKeys>],
    },
];

named! {
    RawDestinations, "destination": DestinationKeys, DestinationBody, DESTINATIONS;
    RawSinks, "sink": SinkKeys, (), SINKS;
    RawFeeds, "feed": NoKeys, (), FEEDS;
}
