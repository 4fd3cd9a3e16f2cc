//! The independent count: what lies in the topics, compared place by place.
//!
//! Shares no code with the engine: topics are read by rdkafka alone, schemas come from the registry by plain HTTP,
//! values are read by apache-avro's own generic reader. What it knows of the records is their published schema.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    time::Duration,
};

use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value};

use super::{
    http,
    topics::{self, Isolation, Message},
};

/// A place in the raw topic: partition and offset.
pub type Place = (i32, i64);

/// How many places are kept as examples of each fault.
const EXAMPLES: usize = 5;

/// Where to look.
pub struct Verifier<'a> {
    /// `127.0.0.1:port`.
    pub bootstrap: &'a str,
    /// `http://127.0.0.1:port`, with a path where the API has one.
    pub registry: &'a str,
    /// The topic producers write to, `events.raw`.
    pub raw: &'a str,
    /// The topology's name: `<topology>.enriched`, `.triggers`, `.dead-letters` are read.
    pub topology: &'a str,
    /// How long the topics may take to be stable and to be read.
    pub limit: Duration,
}

/// What the topics hold. Everything but `events`, `enriched`, `triggers` and `dead_lettered` is a fault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Records in the raw topic.
    pub events: usize,
    /// Raw places with at least one enriched record.
    pub enriched: usize,
    /// Raw places with neither an enriched record nor a dead letter.
    pub lost: usize,
    /// Enriched records beyond the first of their raw place.
    pub doubled: usize,
    /// Enriched records from a place that the raw topic does not have.
    pub unknown_origin: usize,
    /// Enriched records that come after a later one of the same key, or in another partition than the key's first.
    pub out_of_order: usize,
    /// Enriched records whose Kafka key is neither the event's user id nor its anonymous id.
    pub miskeyed: usize,
    /// Trigger ids.
    pub triggers: usize,
    /// Triggers beyond the first of their id.
    pub triggers_doubled: usize,
    /// Triggers for an event that has no enriched record.
    pub triggers_orphaned: usize,
    /// Raw places with a dead letter and no enriched record.
    pub dead_lettered: usize,
    /// The first few faults, in words.
    pub examples: Vec<String>,
}

impl Verdict {
    /// Whether nothing is lost, doubled, out of order or out of place.
    pub fn is_clean(&self) -> bool {
        let faults = [
            self.lost,
            self.doubled,
            self.unknown_origin,
            self.out_of_order,
            self.miskeyed,
            self.triggers_doubled,
            self.triggers_orphaned,
        ];
        faults.iter().all(|count| *count == 0)
    }

    fn example(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(text());
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events · {} enriched · {} dead letters · {} lost · {} doubled · {} out of order · {} miskeyed · \
             {} of unknown origin · {} triggers · {} triggers doubled · {} triggers orphaned",
            self.events,
            self.enriched,
            self.dead_lettered,
            self.lost,
            self.doubled,
            self.out_of_order,
            self.miskeyed,
            self.unknown_origin,
            self.triggers,
            self.triggers_doubled,
            self.triggers_orphaned,
        )?;
        self.examples.iter().try_for_each(|example| write!(f, "\n  {example}"))
    }
}

/// What the verifier needs of one enriched record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enriched {
    /// Where it lies in the enriched topic.
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    pub origin: Place,
    /// Offset in `<topology>.events`; -1 when there is no such hop.
    pub events_offset: i64,
    pub event_id: String,
    /// Whom the event names: user id, anonymous id.
    pub people: Vec<String>,
}

/// What the verifier needs of one trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triggered {
    pub id: String,
    pub event_id: String,
}

impl Verifier<'_> {
    /// Reads everything, read committed, and counts.
    pub fn verdict(&self) -> Verdict {
        let raw = self.read(self.raw).iter().map(|message| (message.partition, message.offset)).collect();
        let mut schemas = Schemas::new(self.registry);
        let enriched: Vec<Enriched> =
            self.part("enriched").iter().map(|message| enriched(message, &schemas.decode(message))).collect();
        let triggers: Vec<Triggered> =
            self.part("triggers").iter().map(|message| triggered(&schemas.decode(message))).collect();
        let dead: HashSet<Place> = self
            .part("dead-letters")
            .iter()
            .map(|message| schemas.decode(message))
            .filter(|letter| text(at(letter, "topic")).as_deref() == Some(self.raw))
            .map(|letter| (long(at(&letter, "partition")) as i32, long(at(&letter, "offset"))))
            .collect();
        count(&raw, &enriched, &triggers, &dead)
    }

    /// The values of `<topology>.<suffix>`, decoded, with the message each came in.
    pub fn values(&self, suffix: &str) -> Vec<(Message, Value)> {
        let mut schemas = Schemas::new(self.registry);
        self.part(suffix).into_iter().map(|message| (message.clone(), schemas.decode(&message))).collect()
    }

    fn part(&self, suffix: &str) -> Vec<Message> {
        self.read(&format!("{}.{suffix}", self.topology))
    }

    fn read(&self, topic: &str) -> Vec<Message> {
        topics::read(self.bootstrap, topic, Isolation::Committed, self.limit)
    }
}

/// The count itself. `enriched` is in the order of partition and offset.
pub fn count(raw: &HashSet<Place>, enriched: &[Enriched], triggers: &[Triggered], dead: &HashSet<Place>) -> Verdict {
    let mut verdict = Verdict { events: raw.len(), ..Verdict::default() };
    let mut places: HashSet<Place> = HashSet::new();
    let mut keys: HashMap<&str, Reached> = HashMap::new();
    for record in enriched {
        let at =
            || format!("enriched-{}@{} key {} origin {:?}", record.partition, record.offset, record.key, record.origin);
        if !raw.contains(&record.origin) {
            verdict.unknown_origin += 1;
            verdict.example(|| format!("unknown origin: {}", at()));
        }
        if !record.people.contains(&record.key) {
            verdict.miskeyed += 1;
            verdict.example(|| format!("miskeyed: {} is for {:?}", at(), record.people));
        }
        if !places.insert(record.origin) {
            verdict.doubled += 1;
            verdict.example(|| format!("doubled: {}", at()));
            // A repeat says nothing about order.
            continue;
        }
        if !keys.entry(&record.key).or_insert_with(|| Reached::new(record.partition)).advance(record) {
            verdict.out_of_order += 1;
            verdict.example(|| format!("out of order: {}", at()));
        }
    }
    verdict.enriched = places.len();
    verdict.dead_lettered = dead.difference(&places).count();
    let mut lost: Vec<&Place> = raw.iter().filter(|place| !places.contains(place) && !dead.contains(place)).collect();
    lost.sort();
    verdict.lost = lost.len();
    lost.iter().for_each(|place| verdict.example(|| format!("lost: raw {place:?}")));

    let events: HashSet<&str> = enriched.iter().map(|record| record.event_id.as_str()).collect();
    let mut ids = HashSet::new();
    for trigger in triggers {
        if !ids.insert(trigger.id.as_str()) {
            verdict.triggers_doubled += 1;
            verdict.example(|| format!("trigger doubled: {}", trigger.id));
        }
        if !events.contains(trigger.event_id.as_str()) {
            verdict.triggers_orphaned += 1;
            verdict.example(|| format!("trigger orphaned: {} for event {}", trigger.id, trigger.event_id));
        }
    }
    verdict.triggers = ids.len();
    verdict
}

/// How far a key has come.
struct Reached {
    partition: i32,
    events_offset: i64,
    /// By raw partition: a key's events may lie in several when producers did not key them.
    raw: BTreeMap<i32, i64>,
}

impl Reached {
    fn new(partition: i32) -> Self {
        Reached { partition, events_offset: -1, raw: BTreeMap::new() }
    }

    /// Whether this record comes after all before it.
    fn advance(&mut self, record: &Enriched) -> bool {
        let (partition, offset) = record.origin;
        let raw = self.raw.entry(partition).or_insert(-1);
        let hop = record.events_offset == -1 || record.events_offset > self.events_offset;
        let in_order = record.partition == self.partition && hop && offset > *raw;
        *raw = offset.max(*raw);
        self.events_offset = record.events_offset.max(self.events_offset);
        in_order
    }
}

fn enriched(message: &Message, value: &Value) -> Enriched {
    let (event, origin) = (at(value, "event"), at(value, "origin"));
    Enriched {
        partition: message.partition,
        offset: message.offset,
        key: String::from_utf8(message.key.clone().expect("an enriched record has a key")).expect("a key is UTF-8"),
        origin: (long(at(origin, "partition")) as i32, long(at(origin, "offset"))),
        events_offset: long(at(origin, "events_offset")),
        event_id: text(at(event, "id")).expect("event.id"),
        people: ["user_id", "anonymous_id"].iter().filter_map(|name| text(at(event, name))).collect(),
    }
}

fn triggered(value: &Value) -> Triggered {
    Triggered { id: text(at(value, "id")).expect("id"), event_id: text(at(value, "event_id")).expect("event_id") }
}

/// Writer schemas by id, each fetched once.
struct Schemas<'a> {
    registry: &'a str,
    known: HashMap<u32, GenericDatumReader<'static>>,
}

impl<'a> Schemas<'a> {
    fn new(registry: &'a str) -> Self {
        Schemas { registry, known: HashMap::new() }
    }

    /// The value of a message in Confluent's framing: a zero, the schema's id in four bytes, Avro.
    fn decode(&mut self, message: &Message) -> Value {
        let place = (message.partition, message.offset);
        let value = message.value.as_deref().unwrap_or_else(|| panic!("{place:?} has no value"));
        let Some((&[0, a, b, c, d], mut body)) = value.split_first_chunk::<5>() else {
            panic!("{place:?} is not framed: {:?}", &value[..value.len().min(16)]);
        };
        let registry = self.registry;
        let id = u32::from_be_bytes([a, b, c, d]);
        let reader = self.known.entry(id).or_insert_with(|| fetch(registry, id));
        let decoded = reader.read_value(&mut body).unwrap_or_else(|error| panic!("{place:?}: {error}"));
        assert!(body.is_empty(), "{place:?}: {} bytes after the value", body.len());
        decoded
    }
}

fn fetch(registry: &str, id: u32) -> GenericDatumReader<'static> {
    let answer = http::get(&format!("{registry}/schemas/ids/{id}")).expect("the schema is registered");
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    let schema = Schema::parse_str(answer["schema"].as_str().expect("a schema")).expect("an Avro schema");
    // A reader borrows its schema; a test reads few schemas, once each.
    GenericDatumReader::builder(Box::leak(Box::new(schema))).build().expect("a schema that resolves")
}

/// A field of an Avro record, out of its union.
pub fn at<'v>(value: &'v Value, name: &str) -> &'v Value {
    let Value::Record(fields) = bare(value) else { panic!("not a record where {name} was looked for: {value:?}") };
    let found = fields.iter().find(|(field, _)| field == name);
    bare(&found.unwrap_or_else(|| panic!("no field {name} in {fields:?}")).1)
}

fn bare(value: &Value) -> &Value {
    if let Value::Union(_, inner) = value { inner } else { value }
}

/// The integer, whichever of Avro's integer types holds it.
pub fn long(value: &Value) -> i64 {
    match bare(value) {
        Value::Int(number) => i64::from(*number),
        Value::Long(number) | Value::TimestampMillis(number) => *number,
        other => panic!("not an integer: {other:?}"),
    }
}

/// The text; `None` for null.
pub fn text(value: &Value) -> Option<String> {
    match bare(value) {
        Value::Null => None,
        Value::String(text) | Value::Enum(_, text) => Some(text.clone()),
        other => panic!("not text: {other:?}"),
    }
}
