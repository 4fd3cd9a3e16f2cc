//! Duplicates: which event ids a raw partition has shown within the window, and at which place.
//!
//! | the id was seen | it is |
//! |---|---|
//! | not within the window | new |
//! | at this very place | a *repeat*: the group was reset. It goes on, changes no state and fires no trigger |
//! | at another place | a *duplicate*: left out, counted |
//! | and the record bears `headwater-replay: <name>` | a repeat, unless the same replay has shown it before |
//!
//! The window is reckoned in the raw records' timestamps, so that reading a backlog judges as reading it live did.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    clock,
    engine::{Batch, Outputs, PushError},
    event::{Place, Record},
    kafka::{Input, Written},
    state::{Durable, Keeper, StateError},
    worker::Stats,
};

/// Names the replay that a record belongs to.
pub const REPLAY: &str = "headwater-replay";
/// On a replayed record, with any value: its triggers are wanted again.
pub const REFIRE: &str = "headwater-refire";
/// Ids above this many bytes are known by their beginning: two that agree so far are one.
const MAX_ID: usize = 512;
/// Bytes of memory for ids seen lately, for all partitions of a worker.
const MEMORY: usize = 32 << 20;

/// Where and when an id was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    #[serde(flatten)]
    place: Place,
    /// The raw record's timestamp. Milliseconds since 1970 UTC.
    at: i64,
}

/// A sighting on its way into the changelog, with the event that it belongs to.
pub struct Sighting {
    key: Box<[u8]>,
    value: Vec<u8>,
}

/// What an id tells of an event.
pub enum Judged {
    /// To be taken in, as new or as the repeat that the record now says it is.
    Event(Vec<Sighting>),
    Duplicate,
    /// The state cannot be read: see [`Dedup::fault`].
    Unknown,
}

/// Where an id was seen.
enum Look {
    New(Sighting),
    Here,
    Elsewhere,
}

/// The duplicate check of a stage that reads the raw topic. Its changelog is one output topic.
pub struct Dedup {
    keeper: Keeper<Option<Seen>>,
    window_ms: i64,
    /// Index of its changelog among the output topics.
    topic: usize,
    stats: Arc<Stats>,
}

impl Dedup {
    /// `window_ms`: for how long an id is remembered.
    pub fn new(durable: Box<dyn Durable>, window_ms: i64, topic: usize, stats: Arc<Stats>) -> Self {
        let keeper = Keeper::new(durable, 1, MEMORY).with_gauge(stats.state_memory_bytes.clone());
        Dedup { keeper, window_ms, topic, stats }
    }

    /// See [`Keeper::opening`].
    pub fn opening(&mut self, partition: i32) {
        self.keeper.opening(partition);
    }

    /// Whether the partition's ids are there.
    pub fn is_open(&mut self, partition: i32) -> bool {
        self.keeper.is_open(partition)
    }

    /// These partitions are ours still.
    pub fn retain(&mut self, partitions: &[i32]) {
        self.keeper.retain(partitions);
    }

    /// Why an id could not be looked up.
    pub fn fault(&mut self) -> Option<StateError> {
        self.keeper.fault()
    }

    /// Judges an event that has just been taken in, in the order of its partition.
    pub fn judge(&mut self, input: &Input<'_>, record: &mut Record) -> Judged {
        let at = input.timestamp_ms.unwrap_or_else(clock::unix_ms);
        let now = Seen { place: Place { tag: record.origin.tag, offset: input.offset }, at };
        let id = cut(record.event.id.as_bytes());
        let replay = input.headers.get(REPLAY).filter(|replay| !replay.is_empty());
        let own = replay.map(|replay| [cut(replay), b"\0", id].concat());
        let first = match self.look(input.partition, own.as_deref().unwrap_or(id), now) {
            None => return Judged::Unknown,
            Some(Look::Elsewhere) => {
                Stats::count(&self.stats.duplicates);
                return Judged::Duplicate;
            }
            Some(Look::Here) => None,
            Some(Look::New(sighting)) => Some(sighting),
        };
        // New within its replay: new at all only if it never went through.
        let second = match (&first, &own) {
            (Some(_), Some(_)) => match self.look(input.partition, id, now) {
                None => return Judged::Unknown,
                Some(Look::New(sighting)) => Some(sighting),
                Some(Look::Here | Look::Elsewhere) => None,
            },
            _ => None,
        };
        record.repeat = first.is_none() || (own.is_some() && second.is_none());
        record.refire = own.is_some() && input.headers.get(REFIRE).is_some();
        if record.repeat {
            Stats::count(&self.stats.repeats);
        }
        Judged::Event(first.into_iter().chain(second).collect())
    }

    /// Where an id was seen within the window; one that was not is noted. `None`: it cannot be known.
    fn look(&mut self, partition: i32, id: &[u8], now: Seen) -> Option<Look> {
        let seen = self.keeper.get(partition, 0, id, decode)?;
        match seen.filter(|seen| now.at.abs_diff(seen.at) <= self.window_ms.unsigned_abs()) {
            Some(seen) if seen.place == now.place => Some(Look::Here),
            Some(_) => Some(Look::Elsewhere),
            None => {
                *seen = Some(now);
                let value = serde_json::to_vec(&now).unwrap_or_default();
                self.keeper.wrote(partition, 0, id, value.len());
                Some(Look::New(Sighting { key: id.into(), value }))
            }
        }
    }

    /// The event leaves: what was seen of it joins its batch.
    pub fn release(
        &mut self,
        input: &Input<'_>,
        sighting: &Sighting,
        outputs: &mut Outputs,
    ) -> Result<(), PushError<std::convert::Infallible>> {
        let source = (input.partition, input.offset);
        outputs.push(self.topic, input.partition, source, &sighting.key, usize::MAX, |out| {
            out.extend_from_slice(&sighting.value);
            Ok(())
        })?;
        self.keeper.released(input.partition, 0, &sighting.key);
        Ok(())
    }

    /// See [`Keeper::committed`].
    pub fn committed(&mut self, batch: &Batch, written: &[Written], ours: &dyn Fn(i32) -> bool) {
        store(&mut self.keeper, self.topic, 1, batch, written, ours);
    }
}

fn decode(bytes: Option<&[u8]>) -> Option<Seen> {
    bytes.and_then(|bytes| serde_json::from_slice(bytes).ok())
}

fn cut(id: &[u8]) -> &[u8] {
    &id[..id.len().min(MAX_ID)]
}

/// Hands a committed batch to the keeper whose tables are the output topics from `first` on.
pub(super) fn store<V>(
    keeper: &mut Keeper<V>,
    first: usize,
    tables: usize,
    batch: &Batch,
    written: &[Written],
    ours: &dyn Fn(i32) -> bool,
) {
    let table = |topic: usize| topic.checked_sub(first).filter(|table| *table < tables);
    let records = batch.outputs.iter().filter_map(|(output, key, value)| {
        let partition = output.source.0;
        Some((partition, table(output.topic)?, key, value)).filter(|_| ours(partition))
    });
    let ends = written.iter().filter_map(|end| Some((end.partition, table(end.topic)?, end.next)));
    keeper.committed(records, ends);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;
    use crate::{
        event::{Event, Origin},
        kafka::Headers,
        state::fake::Fake,
    };

    const HOUR: i64 = 3_600_000;

    struct World {
        dedup: Dedup,
        stats: Arc<Stats>,
    }

    fn world() -> World {
        let stats = Arc::new(Stats::default());
        let mut dedup = Dedup::new(Box::new(Fake::default()), 24 * HOUR, 2, stats.clone());
        dedup.opening(0);
        World { dedup, stats }
    }

    impl World {
        /// What becomes of an event: `new`, `repeat`, `duplicate`, and what it leaves behind.
        fn see(&mut self, id: &str, offset: i64, at: i64, headers: &[(&str, &str)]) -> (&'static str, usize) {
            let headers: Vec<_> =
                headers.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
            let input = Input {
                topic: "raw",
                partition: 0,
                offset,
                timestamp_ms: Some(at),
                key: None,
                value: None,
                headers: Headers::Kept(&headers),
            };
            let event = Event { id: id.into(), ..Event::default() };
            let origin = Origin { tag: 7, offset, ..Origin::default() };
            let mut record = Record { event, origin, ..Record::default() };
            match self.dedup.judge(&input, &mut record) {
                Judged::Duplicate => ("duplicate", 0),
                Judged::Event(seen) if record.refire => ("refire", seen.len()),
                Judged::Event(seen) if record.repeat => ("repeat", seen.len()),
                Judged::Event(seen) => ("new", seen.len()),
                Judged::Unknown => ("unknown", 0),
            }
        }
    }

    #[test]
    fn the_same_id_elsewhere_is_a_duplicate_and_here_a_repeat() {
        let mut world = world();
        assert_eq!(world.see("a", 1, 0, &[]), ("new", 1));
        assert_eq!(world.see("b", 2, 0, &[]), ("new", 1));
        assert_eq!(world.see("a", 3, HOUR, &[]), ("duplicate", 0));
        assert_eq!(world.see("a", 1, 0, &[]), ("repeat", 0), "the group was reset");
        assert_eq!(world.see("a", 3, HOUR, &[]), ("duplicate", 0));
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
        assert_eq!((count(&world.stats.duplicates), count(&world.stats.repeats)), (2, 1));
    }

    #[test]
    fn beyond_the_window_an_id_is_new_again() {
        let mut world = world();
        assert_eq!(world.see("a", 1, 0, &[]), ("new", 1));
        assert_eq!(world.see("a", 2, 24 * HOUR, &[]), ("duplicate", 0));
        assert_eq!(world.see("a", 3, 24 * HOUR + 1, &[]), ("new", 1));
    }

    #[test]
    fn a_replay_is_checked_within_itself_and_repeats_what_went_through() {
        let mut world = world();
        assert_eq!(world.see("a", 1, 0, &[]), ("new", 1));
        assert_eq!(world.see("a", 10, HOUR, &[(REPLAY, "r1")]), ("repeat", 1), "its own mark only");
        assert_eq!(world.see("a", 11, HOUR, &[(REPLAY, "r1")]), ("duplicate", 0));
        assert_eq!(world.see("a", 12, HOUR, &[(REPLAY, "r2"), (REFIRE, "")]), ("refire", 1));
        assert_eq!(world.see("never seen", 13, HOUR, &[(REPLAY, "r1")]), ("new", 2), "it never went through");
        assert_eq!(world.see("never seen", 14, HOUR, &[]), ("duplicate", 0), "now it has");
    }
}
