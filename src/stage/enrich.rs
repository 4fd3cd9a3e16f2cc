//! Enrich: the agents of one stage add their parts, in parallel where dependencies allow; the last stage decides.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};

use super::{Admission, ControlGate, DeadLetters, Decide, Lookups, intake::Admitted, intake::burial};
use crate::{
    agent::{Agent, Step},
    codec::{DecodeError, RecordDecoder, RecordEncoder, TriggerEncoder, murmur2},
    engine::{Dag, Outputs, Progress, hash_key},
    event::{Class, DeadLetter, Outcome, Part, Record},
    kafka::Input,
    topology::codes,
    worker::{Accept, Burial, Hold, Stage},
};

/// What a stage reads.
pub enum Front {
    /// A record of an earlier stage. `first`: it comes from `<topology>.events` and gets its offset there.
    Record { decoder: Box<RecordDecoder>, lookups: Lookups, first: bool },
    /// A raw topic that is keyed already: intake runs here, and a misplaced record is a dead letter.
    Raw { admission: Box<Admission>, control: Box<ControlGate>, partitions: i32 },
}

/// A stage of agents. Output topics: 0 records, 1 dead letters, 2 triggers.
pub struct Enrich {
    pub front: Front,
    /// The stage's agents: index into the record's parts, and the agent.
    pub agents: Vec<(usize, Arc<dyn Agent>)>,
    /// Who waits for whom among them.
    pub dag: Dag,
    /// Agents (indexes into the record's parts) whose failure asks for a copy among the dead letters.
    pub copies: Vec<usize>,
    pub encoder: RecordEncoder,
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
    Dead(Box<DeadLetter>),
}

/// A record and how far it is.
pub struct Flight {
    record: Record,
    progress: Progress,
}

impl Stage for Enrich {
    type Work = Work;
    /// Index among the stage's agents, and its part.
    type Finished = (usize, Part);
    const SERIAL: bool = false;
    const DEAD_LETTERS: usize = 1;

    fn accept(&mut self, input: &Input<'_>) -> Accept<Work> {
        let key = hash_key(input.key.unwrap_or_default());
        match self.read(input) {
            Ok(record) if record.chain > self.chain => Accept::Hold(Hold::NewerChain(record.chain)),
            Ok(record) => {
                Accept::Work { key, work: Work::Record(Box::new(Flight { record, progress: Progress::default() })) }
            }
            Err(Admitted::Hold(hold)) => Accept::Hold(hold),
            Err(Admitted::Refused { code, class, message }) => {
                let letter = self.dead_letters.letter(input, code, class, message);
                Accept::Work { key, work: Work::Dead(Box::new(letter)) }
            }
            Err(Admitted::Record { .. }) => {
                let why = Burial::Unencodable("record is neither read nor refused".to_owned());
                Accept::Work { key, work: self.bury(input, why) }
            }
        }
    }

    fn bury(&mut self, input: &Input<'_>, why: Burial) -> Work {
        Work::Dead(Box::new(self.dead_letters.buried(input, why)))
    }

    fn start(&mut self, work: &mut Work, futures: &mut Vec<BoxFuture<'static, Self::Finished>>) -> bool {
        let Work::Record(flight) = work else { return true };
        while let Some(index) = self.dag.start_next(&mut flight.progress) {
            let (place, agent) = &self.agents[index];
            let Some(part) = flight.record.parts.get(*place) else { continue };
            // A part that is filled already was filled by an earlier run of a replay: it stays.
            if part.is_pending() {
                match agent.start(&flight.record) {
                    Step::Done(part) | Step::Ordered(part) => flight.record.parts[*place] = part,
                    Step::Pending(future) => {
                        futures.push(future.map(move |part| (index, part)).boxed());
                        continue;
                    }
                }
            }
            flight.progress.finish(index);
        }
        self.dag.is_complete(&flight.progress)
    }

    fn finish(&mut self, work: &mut Work, (index, part): Self::Finished) {
        if let Work::Record(flight) = work {
            let place = self.agents[index].0;
            flight.record.parts[place] = part;
            flight.progress.finish(index);
        }
    }

    fn release(&mut self, input: &Input<'_>, work: &mut Work, outputs: &mut Outputs) -> Result<(), Burial> {
        let source = (input.partition, input.offset);
        let unencodable = |error: crate::engine::PushError<_>| Burial::Unencodable(error.to_string());
        let Enrich { encoder, max_bytes, dead_letters, decide, copies, agent_names, topology_version, .. } = self;
        let record = match work {
            Work::Dead(letter) => return dead_letters.write(letter, source, outputs).map_err(unencodable),
            Work::Record(flight) => &mut flight.record,
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
        if let Some((decide, encoder)) = decide {
            decide.decide(record, |trigger| {
                outputs
                    .push(2, input.partition, source, key, *max_bytes, |out| encoder.encode(&trigger, out))
                    .map(|_| ())
                    .map_err(burial)
            })?;
        }
        Ok(())
    }

    fn is_lifted(&mut self, hold: &Hold) -> bool {
        match (hold, &mut self.front) {
            (Hold::Schema(id), Front::Record { lookups, .. }) => lookups.is_known(*id),
            (Hold::Schema(id), Front::Raw { admission, .. }) => admission.lookups.is_known(*id),
            (Hold::Control, Front::Raw { control, .. }) => control.is_open(),
            (Hold::Control, Front::Record { .. }) => true,
            (Hold::NewerChain(_), _) => false,
        }
    }

    fn assigned(&mut self, partitions: &[i32]) {
        if let Front::Raw { admission, control, .. } = &mut self.front {
            admission.tags.retain(|partition, _| partitions.contains(partition));
            control.close();
        }
        (self.share)(partitions.len());
    }

    fn opening(&mut self, partition: i32, tag: u32) -> Option<Hold> {
        match &mut self.front {
            Front::Record { .. } => None,
            Front::Raw { admission, .. } => {
                admission.tags.insert(partition, tag);
                Some(Hold::Control)
            }
        }
    }

    fn epoch(&self) -> i64 {
        match &self.front {
            Front::Record { .. } => 0,
            Front::Raw { control, .. } => control.epoch(),
        }
    }
}

impl Enrich {
    /// The record in this input, or what else is to become of it.
    fn read(&self, input: &Input<'_>) -> Result<Record, Admitted> {
        let refused = |code, class, message| Admitted::Refused { code, class, message };
        match &self.front {
            Front::Record { decoder, lookups, first } => {
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
