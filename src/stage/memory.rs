//! What a stage remembers per key: the state of its agents and of decide, and what an event leaves of it.

use std::sync::Arc;

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
    pub keeper: Keeper<Decoded>,
    /// For each of the stage's agents its table, where it keeps state.
    pub tables: Vec<Option<usize>>,
    /// The table of decide, where the stage decides.
    pub decide: Option<usize>,
    /// Index of the first table's changelog among the output topics.
    pub first_topic: usize,
    pub stats: Arc<Stats>,
}

/// What an event leaves behind whatever becomes of it, because later ones have seen it.
#[derive(Default)]
pub struct Left {
    /// Table and value, of the event's key.
    writes: Vec<(usize, Box<[u8]>)>,
    pub(super) seen: Vec<Sighting>,
}

/// The state of a key cannot be had: [`Memory::fault`] says why, and nothing may be committed any more.
pub struct Unavailable;

impl Memory {
    /// The agents with state, as bits.
    pub fn ordered(&self) -> u64 {
        let agents = self.tables.iter().enumerate();
        agents.filter(|(_, table)| table.is_some()).fold(0, |bits, (agent, _)| bits | 1 << agent)
    }

    /// Runs an agent with state (by index in the stage) for an event whose key's previous one it has behind it. `part`
    /// is what it looked up.
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
        let ran = ordered.run(record, part, state, &mut value);
        if std::mem::take(&mut state.is_unreadable) {
            Stats::count(&self.stats.unreadable_states);
            tracing::warn!(partition, table, "a key's state cannot be read, or is too large, and begins anew");
        }
        if ran.changed {
            self.keeper.wrote(partition, table, key, value.len());
            left.writes.push((table, value.into()));
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
        let decode = |bytes: Option<&[u8]>| Decoded::of(Decided::decode(bytes));
        let person = self.keeper.get(input.partition, table, key, decode).and_then(Decoded::get_mut);
        // Without it there is a fault, and the worker ends before this is committed.
        let Some(person) = person else { return Ok(()) };
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
