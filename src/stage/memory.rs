//! What a stage remembers per key: the state of its agents and of decide, and what an event leaves of it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

use super::{
    decide::Decided,
    dedup::{Sighting, store},
    intake::burial,
};
use crate::{
    agent::{Agent, Decoded},
    engine::{Batch, Outputs},
    event::{Part, Record},
    kafka::{Input, Written},
    state::{Keeper, StateError},
    worker::{Burial, Stats},
};

/// The state of a stage, by table: one for each agent that keeps state, in the stage's order, then decide's.
pub struct Memory {
    keeper: Keeper<Decoded>,
    /// For each of the stage's agents its table, where it keeps state.
    tables: Vec<Option<usize>>,
    /// The agents with state, as bits.
    ordered: u64,
    /// The table of decide, where the stage decides.
    decide: Option<usize>,
    /// Index of the first table's changelog among the output topics.
    first_topic: usize,
    stats: Arc<Stats>,
}

/// What an event leaves behind whatever becomes of it, because later ones have seen it.
#[derive(Default)]
pub struct Left {
    /// Table and value, of the event's key.
    writes: Vec<(usize, Arc<[u8]>)>,
    pub(super) seen: Vec<Sighting>,
}

/// The state of a key cannot be had: [`Memory::fault`] says why, and nothing may be committed any more.
pub struct Unavailable;

impl Memory {
    /// `tables`: for each of the stage's agents its table, where it keeps state; `decide`: that of decide, where the
    /// stage decides. `first_topic`: index of the first table's changelog among the output topics.
    pub fn new(
        keeper: Keeper<Decoded>,
        tables: Vec<Option<usize>>,
        decide: Option<usize>,
        first_topic: usize,
        stats: Arc<Stats>,
    ) -> Self {
        let with_state = tables.iter().enumerate().filter(|(_, table)| table.is_some());
        let ordered = with_state.fold(0, |bits, (agent, _)| bits | 1 << agent);
        let keeper = keeper.with_gauge(stats.state_memory_bytes.clone());
        Memory { keeper, tables, ordered, decide, first_topic, stats }
    }

    /// Whether the agent (by index in the stage) keeps state.
    pub fn is_ordered(&self, agent: usize) -> bool {
        self.ordered & 1 << agent != 0
    }

    /// The agents with state, as bits.
    pub fn ordered(&self) -> u64 {
        self.ordered
    }

    /// See [`Keeper::opening`].
    pub fn opening(&mut self, partition: i32) {
        self.keeper.opening(partition);
    }

    /// See [`Keeper::is_open`].
    pub fn is_open(&mut self, partition: i32) -> bool {
        self.keeper.is_open(partition)
    }

    /// See [`Keeper::retain`].
    pub fn retain(&mut self, partitions: &[i32]) {
        self.keeper.retain(partitions);
    }

    /// Runs an agent with state (by index in the stage) for an event whose key's previous one it has behind it. `part`
    /// is what it looked up. Where it panics the state is as before: later events see nothing of the one that is buried.
    pub fn run(
        &mut self,
        (index, agent): (usize, &dyn Agent),
        (partition, key): (i32, &[u8]),
        record: &Record,
        part: Part,
        left: &mut Left,
    ) -> Result<Part, Unavailable> {
        let (Some(table), Some(ordered)) = (self.tables[index], agent.ordered()) else { return Ok(part) };
        let decode = |bytes: Option<&[u8]>| ordered.decode(bytes);
        let state = self.keeper.get(partition, table, key, decode).ok_or(Unavailable)?;
        let mut value = Vec::new();
        let ran = match catch_unwind(AssertUnwindSafe(|| ordered.run(record, part, state, &mut value))) {
            Ok(ran) => ran,
            Err(panic) => {
                self.keeper.revert(partition, table, key, |bytes| ordered.decode(bytes));
                resume_unwind(panic)
            }
        };
        note_unreadable(state, &self.stats, partition, table);
        if ran.changed {
            let value: Arc<[u8]> = value.into();
            self.keeper.wrote_and_kept(partition, table, key, value.clone());
            left.writes.push((table, value));
        }
        Ok(ran.part)
    }

    /// What decide remembers of the input's key, changed by `decide`, which says whether it has; then it joins the batch.
    pub fn decide(
        &mut self,
        input: &Input<'_>,
        outputs: &mut Outputs,
        decide: impl FnOnce(&mut Decided, &mut Outputs) -> Result<bool, Burial>,
    ) -> Result<(), Burial> {
        let Some(table) = self.decide else { return Ok(()) };
        let key = input.key.unwrap_or_default();
        // Without it there is a fault, and the worker ends before this is committed.
        let Some(state) = self.keeper.get(input.partition, table, key, Decided::decode) else { return Ok(()) };
        note_unreadable(state, &self.stats, input.partition, table);
        let Some(person) = state.get_mut() else { return Ok(()) };
        if decide(person, outputs)? {
            let value = person.encode();
            self.keeper.wrote(input.partition, table, key, value.len());
            self.write(input, table, &value, outputs)?;
        }
        Ok(())
    }

    /// What an event leaves behind joins its batch.
    pub fn leave(&mut self, input: &Input<'_>, left: &Left, outputs: &mut Outputs) -> Result<(), Burial> {
        left.writes.iter().try_for_each(|(table, value)| self.write(input, *table, value, outputs))
    }

    fn write(&mut self, input: &Input<'_>, table: usize, value: &[u8], outputs: &mut Outputs) -> Result<(), Burial> {
        let (source, key) = ((input.partition, input.offset), input.key.unwrap_or_default());
        let copy = |out: &mut Vec<u8>| {
            out.extend_from_slice(value);
            Ok::<_, std::convert::Infallible>(())
        };
        outputs.push(self.first_topic + table, input.partition, source, key, usize::MAX, copy).map_err(burial)?;
        self.keeper.released(input.partition, table, key);
        Ok(())
    }

    /// See [`Keeper::committed`].
    pub fn committed(&mut self, batch: &Batch, written: &[Written], ours: &dyn Fn(i32) -> bool) {
        let tables = self.tables.iter().chain([&self.decide]).flatten().count();
        store(&mut self.keeper, self.first_topic, tables, batch, written, ours);
    }

    /// Why a state could not be had.
    pub fn fault(&mut self) -> Option<StateError> {
        self.keeper.fault()
    }
}

/// Counts and says, once, that a key's state could not be used.
fn note_unreadable(state: &mut Decoded, stats: &Stats, partition: i32, table: usize) {
    if std::mem::take(&mut state.is_unreadable) {
        Stats::count(&stats.unreadable_states);
        tracing::warn!(partition, table, "a key's state cannot be read, or is too large, and begins anew");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        agent::{Keyed, KeyedAgent, Ran},
        event::{Event, Origin, Source, Value},
        state::fake::Fake,
    };

    /// Counts events; dies halfway of those that are named so.
    struct Counter;

    impl Keyed for Counter {
        type State = i64;
        fn count(&self, record: &Record, _: Part, state: &mut i64) -> Ran {
            *state += 1;
            assert!(&*record.event.name != "kills", "on purpose");
            Ran { part: Part::ok(Source::State, vec![Value::Int(*state)]), changed: true }
        }
        fn recall(&self, _: &Record, _: Part, state: &i64) -> Part {
            Part::ok(Source::State, vec![Value::Int(*state)])
        }
    }

    /// Counts an event of key "a", and gives what it counts to.
    fn count(memory: &mut Memory, offset: i64, name: &str) -> Option<i64> {
        let record = Record {
            event: Event { name: name.into(), ..Event::default() },
            origin: Origin { events_tag: 7, events_offset: offset, ..Origin::default() },
            ..Record::default()
        };
        let (agent, mut left) = (KeyedAgent(Counter), Left::default());
        let run = || memory.run((0, &agent), (0, b"a"), &record, Part::default(), &mut left).ok();
        match catch_unwind(AssertUnwindSafe(run)).ok()??.field(0) {
            Value::Int(count) => Some(*count),
            other => panic!("{other:?}"),
        }
    }

    fn memory(disk: &Fake) -> Memory {
        let mut keeper = Keeper::new(Box::new(disk.clone()), 1, 10_000);
        keeper.opening(0);
        Memory::new(keeper, vec![Some(0)], None, 3, Arc::default())
    }

    #[test]
    fn an_event_whose_agent_panics_leaves_no_trace_in_the_state() {
        let disk = Fake::default();
        let stored = br#"{"at":{"tag":7,"offset":1},"is":10}"#;
        disk.0.lock().store.insert((0, b"a".to_vec()), stored.to_vec());
        let mut memory = memory(&disk);
        assert_eq!(count(&mut memory, 2, "kills"), None);
        assert_eq!(count(&mut memory, 3, "counts"), Some(11), "from what is stored");
        assert_eq!(count(&mut memory, 4, "kills"), None);
        assert_eq!(count(&mut memory, 5, "counts"), Some(12), "from what is written and not committed yet");
        assert_eq!(count(&mut memory, 4, "counts"), Some(12), "a repeat");
    }
}
