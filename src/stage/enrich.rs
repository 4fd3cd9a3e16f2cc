//! Enrich: the agents of one stage add their parts, in parallel where dependencies allow; the last stage decides.

use std::{collections::HashMap, sync::Arc};

use futures::{FutureExt, future::BoxFuture};

use super::{
    Admission, ControlGate, DeadLetters, Decide, Dedup, Lookups, Memory,
    dedup::Judged,
    intake::{Admitted, burial},
    memory::Left,
    state_fault,
};
use crate::{
    agent::{Agent, Step},
    codec::{DecodeError, RecordDecoder, RecordEncoder, TriggerEncoder, murmur2},
    engine::{Batch, Dag, Outputs, Progress, hash_key},
    event::{Class, DeadLetter, Outcome, Part, Record},
    kafka::{Input, KafkaError, Written},
    topology::codes,
    worker::{Accept, Burial, Hold, Stage, Stats},
};

/// What a stage reads.
pub enum Front {
    /// A record of an earlier stage. `first`: it comes from `<topology>.events` and gets its offset there.
    Record { decoder: Box<RecordDecoder>, lookups: Lookups, first: bool, tags: HashMap<i32, u32> },
    /// A raw topic that is keyed already: intake runs here, and a misplaced record is a dead letter.
    Raw { admission: Box<Admission>, control: Box<ControlGate>, dedup: Option<Box<Dedup>>, partitions: i32 },
}

/// A stage of agents. Output topics: 0 records, 1 dead letters, 2 triggers, then the changelogs: of the agents with state
/// in the stage's order, of decide, of dedup.
pub struct Enrich {
    pub front: Front,
    /// The stage's agents: index into the record's parts, and the agent.
    pub agents: Vec<(usize, Arc<dyn Agent>)>,
    /// Who waits for whom among them.
    pub dag: Dag,
    /// What the agents with state, and decide, remember per key.
    pub memory: Option<Memory>,
    /// Agents (indexes into the record's parts) whose failure asks for a copy among the dead letters.
    pub copies: Vec<usize>,
    pub encoder: RecordEncoder,
    pub stats: Arc<Stats>,
    /// In the last stage: the rules, and the encoder of triggers (output topic 2).
    pub decide: Option<(Decide, TriggerEncoder)>,
    pub dead_letters: DeadLetters,
    pub agent_names: Vec<Arc<str>>,
    pub topology_version: Arc<str>,
    pub chain: u32,
    /// Values above this many bytes are dead letters.
    pub max_bytes: usize,
    /// Told how large a share of all partitions is ours, after each rebalance.
    pub share: Box<dyn Fn(usize) + Send>,
}

/// An event on its way through the stage.
pub enum Work {
    Record(Box<Flight>),
    /// Its id was seen at another place of the raw topic: nothing comes of it.
    Duplicate,
    Dead(Box<DeadLetter>, Left),
}

/// A record and how far it is.
pub struct Flight {
    record: Record,
    progress: Progress,
    partition: i32,
    /// Whose state it is; empty in a stage without.
    key: Box<[u8]>,
    /// Agents, as bits, that have what they look up and wait for the key's previous event.
    waiting: u64,
    left: Left,
}

impl Stage for Enrich {
    type Work = Work;
    /// Index among the stage's agents, and its part.
    type Finished = (usize, Part);
    const SERIAL: bool = false;
    const DEAD_LETTERS: usize = 1;
    const STATE_FROM: usize = 3;

    fn accept(&mut self, input: &Input<'_>) -> Accept<Work> {
        let key = hash_key(input.key.unwrap_or_default());
        match self.read(input) {
            Ok(record) if record.chain > self.chain => Accept::Hold(Hold::NewerChain(record.chain)),
            Ok(mut record) => {
                let mut left = Left::default();
                if let Front::Raw { dedup: Some(dedup), .. } = &mut self.front {
                    match dedup.judge(input, &mut record) {
                        Judged::Event(seen) => left.seen = seen,
                        // Unknown: the fault ends the worker before anything of this is committed.
                        Judged::Duplicate | Judged::Unknown => return Accept::Work { key, work: Work::Duplicate },
                    }
                }
                let state_of = if self.memory.is_some() { input.key.unwrap_or_default() } else { &[] };
                let flight = Flight {
                    record,
                    progress: Progress::default(),
                    partition: input.partition,
                    key: state_of.into(),
                    waiting: 0,
                    left,
                };
                Accept::Work { key, work: Work::Record(Box::new(flight)) }
            }
            Err(Admitted::Hold(hold)) => Accept::Hold(hold),
            Err(Admitted::Refused { code, class, message }) => {
                let letter = self.dead_letters.letter(input, code, class, message);
                Accept::Work { key, work: Work::Dead(Box::new(letter), Left::default()) }
            }
            Err(Admitted::Record { .. }) => {
                let why = Burial::Unencodable("record is neither read nor refused".to_owned());
                Accept::Work { key, work: self.bury(input, why) }
            }
        }
    }

    fn bury(&mut self, input: &Input<'_>, why: Burial) -> Work {
        Work::Dead(Box::new(self.dead_letters.buried(input, why)), Left::default())
    }

    fn inherit(&mut self, grave: &mut Work, buried: &mut Work) {
        if let Work::Dead(_, left) = grave {
            *left = match buried {
                Work::Record(flight) => std::mem::take(&mut flight.left),
                Work::Dead(_, left) => std::mem::take(left),
                Work::Duplicate => Left::default(),
            };
        }
    }

    fn start(&mut self, work: &mut Work, ahead: u64, futures: &mut Vec<BoxFuture<'static, Self::Finished>>) -> bool {
        let Work::Record(flight) = work else { return true };
        loop {
            while let Some(index) = self.dag.start_next(&mut flight.progress) {
                let (place, agent) = &self.agents[index];
                let Some(part) = flight.record.parts.get(*place) else { continue };
                // A part that is filled already was filled by an earlier run of a replay: it stays.
                if part.is_pending() {
                    match agent.start(&flight.record) {
                        Step::Done(part) => flight.record.parts[*place] = part,
                        Step::Ordered(part) => {
                            flight.record.parts[*place] = part;
                            flight.waiting |= 1 << index;
                            continue;
                        }
                        Step::Pending(future) => {
                            futures.push(future.map(move |part| (index, part)).boxed());
                            continue;
                        }
                    }
                }
                flight.progress.finish(index);
            }
            let may = flight.waiting & ahead;
            if may == 0 {
                break;
            }
            let index = may.trailing_zeros() as usize;
            flight.waiting &= !(1 << index);
            let (place, agent) = &self.agents[index];
            let part = std::mem::take(&mut flight.record.parts[*place]);
            let Flight { record, partition, key, left, .. } = &mut **flight;
            let ran = match &mut self.memory {
                Some(memory) => memory.run((index, &**agent), (*partition, key), record, part, left),
                None => Ok(part),
            };
            // Unavailable: the worker ends before this is committed.
            let Ok(part) = ran else { return false };
            flight.record.parts[*place] = part;
            flight.progress.finish(index);
        }
        self.dag.is_complete(&flight.progress)
    }

    fn finish(&mut self, work: &mut Work, (index, part): Self::Finished) {
        if let Work::Record(flight) = work {
            let place = self.agents[index].0;
            flight.record.parts[place] = part;
            match &self.memory {
                Some(memory) if memory.is_ordered(index) => flight.waiting |= 1 << index,
                _ => flight.progress.finish(index),
            }
        }
    }

    fn behind(&self, work: &Work) -> u64 {
        match (work, &self.memory) {
            (Work::Record(flight), Some(memory)) => flight.progress.done() | !memory.ordered(),
            _ => u64::MAX,
        }
    }

    fn release(&mut self, input: &Input<'_>, work: &mut Work, outputs: &mut Outputs) -> Result<(), Burial> {
        let source = (input.partition, input.offset);
        let unencodable = |error: crate::engine::PushError<_>| Burial::Unencodable(error.to_string());
        let Enrich {
            encoder,
            max_bytes,
            dead_letters,
            decide,
            copies,
            agent_names,
            topology_version,
            memory,
            stats,
            ..
        } = self;
        let (record, left) = match work {
            Work::Duplicate => return Ok(()),
            Work::Dead(letter, left) => {
                dead_letters.write(letter, source, outputs).map_err(unencodable)?;
                return self.leave(input, left, outputs);
            }
            Work::Record(flight) => (&mut flight.record, &flight.left),
        };
        record.topology_version = topology_version.clone();
        if let Some((decide, _)) = decide {
            decide.settle(record);
        }
        let key = input.key.unwrap_or_default();
        outputs.push(0, input.partition, source, key, *max_bytes, |out| encoder.encode(record, out)).map_err(burial)?;
        for place in copies {
            let provenance = &record.parts[*place].provenance;
            if provenance.outcome == Outcome::Failed {
                let reason = provenance.reason.map_or("no reason", crate::event::Reason::name);
                let name = &agent_names[*place];
                let message = format!("agent {name} failed ({reason}); the event went on without it");
                let mut letter = dead_letters.letter(input, codes::HW611, Class::Agent, message);
                letter.agents = vec![name.clone()];
                letter.event_id = Some(record.event.id.clone());
                dead_letters.write(&letter, source, outputs).map_err(unencodable)?;
            }
        }
        if let (Some((decide, encoder)), Some(memory)) = (decide, memory) {
            memory.decide(input, outputs, |person, outputs| {
                decide.decide(record, person, stats, |trigger| {
                    let pushed =
                        outputs.push(2, input.partition, source, key, *max_bytes, |out| encoder.encode(&trigger, out));
                    pushed.map(|_| ()).map_err(burial)
                })
            })?;
        }
        self.leave(input, left, outputs)
    }

    fn is_lifted(&mut self, hold: &Hold) -> bool {
        match (hold, &mut self.front) {
            (Hold::Schema(id), Front::Record { lookups, .. }) => lookups.is_known(*id),
            (Hold::Schema(id), Front::Raw { admission, .. }) => admission.lookups.is_known(*id),
            (Hold::Control, Front::Raw { control, .. }) => control.is_open(),
            (Hold::Control, Front::Record { .. }) => true,
            (Hold::Restore(partition), front) => {
                let memory = self.memory.as_mut().is_none_or(|memory| memory.is_open(*partition));
                memory
                    && match front {
                        Front::Record { .. } => true,
                        Front::Raw { dedup, control, .. } => {
                            dedup.as_mut().is_none_or(|dedup| dedup.is_open(*partition)) && control.is_open()
                        }
                    }
            }
            (Hold::NewerChain(_), _) => false,
        }
    }

    fn assigned(&mut self, partitions: &[i32]) {
        if let Front::Raw { admission, control, dedup, .. } = &mut self.front {
            admission.tags.retain(|partition, _| partitions.contains(partition));
            control.close();
            if let Some(dedup) = dedup {
                dedup.retain(partitions);
            }
        }
        if let Some(memory) = &mut self.memory {
            memory.retain(partitions);
        }
        (self.share)(partitions.len());
    }

    fn opening(&mut self, partition: i32, tag: u32) -> Option<Hold> {
        if let Some(memory) = &mut self.memory {
            memory.opening(partition);
        }
        match &mut self.front {
            Front::Record { tags, first: true, .. } => {
                tags.insert(partition, tag);
            }
            Front::Record { .. } => {}
            Front::Raw { admission, dedup, .. } => {
                admission.tags.insert(partition, tag);
                if let Some(dedup) = dedup {
                    dedup.opening(partition);
                }
            }
        }
        Some(Hold::Restore(partition))
    }

    fn committed(&mut self, batch: &Batch, written: &[Written], ours: &dyn Fn(i32) -> bool) {
        if let Some(memory) = &mut self.memory {
            memory.committed(batch, written, ours);
        }
        if let Front::Raw { dedup: Some(dedup), .. } = &mut self.front {
            dedup.committed(batch, written, ours);
        }
    }

    fn fault(&mut self) -> Option<KafkaError> {
        let of_memory = self.memory.as_mut().and_then(Memory::fault);
        let of_dedup = match &mut self.front {
            Front::Raw { dedup: Some(dedup), .. } => dedup.fault(),
            _ => None,
        };
        of_memory.or(of_dedup).map(state_fault)
    }

    fn epoch(&self) -> i64 {
        match &self.front {
            Front::Record { .. } => 0,
            Front::Raw { control, .. } => control.epoch(),
        }
    }
}

impl Enrich {
    /// What an event leaves behind joins its batch.
    fn leave(&mut self, input: &Input<'_>, left: &Left, outputs: &mut Outputs) -> Result<(), Burial> {
        if let Some(memory) = &mut self.memory {
            memory.leave(input, left, outputs)?;
        }
        if let Front::Raw { dedup: Some(dedup), .. } = &mut self.front {
            for sighting in &left.seen {
                dedup.release(input, sighting, outputs).map_err(burial)?;
            }
        }
        Ok(())
    }

    /// The record in this input, or what else is to become of it.
    fn read(&self, input: &Input<'_>) -> Result<Record, Admitted> {
        let refused = |code, class, message| Admitted::Refused { code, class, message };
        match &self.front {
            Front::Record { decoder, lookups, first, tags } => {
                let mut record = match decoder.decode(input.value.unwrap_or_default()) {
                    Ok(record) => record,
                    Err(DecodeError::SchemaNotLoaded(id)) => {
                        lookups.is_known(id);
                        return Err(Admitted::Hold(Hold::Schema(id)));
                    }
                    Err(error) => return Err(refused(codes::HW601, Class::Decode, error.to_string())),
                };
                if *first && record.origin.events_offset < 0 {
                    record.origin.events_offset = input.offset;
                    record.origin.events_tag = tags.get(&input.partition).copied().unwrap_or_default();
                }
                Ok(record)
            }
            Front::Raw { admission, partitions, .. } => match admission.admit(input) {
                Admitted::Record { key, record } => {
                    let belongs = murmur2::partition(key.as_bytes(), *partitions);
                    if input.key != Some(key.as_bytes()) || belongs != input.partition {
                        return Err(refused(
                            codes::HW605,
                            Class::Key,
                            format!(
                                "source.keyed is set, but the record's key is not its {key:?} or lies in partition {} \
                                 instead of {belongs}",
                                input.partition
                            ),
                        ));
                    }
                    Ok(*record)
                }
                other => Err(other),
            },
        }
    }
}
