//! Intake: a producer's event is decoded, checked, keyed, and becomes a record.

use std::{collections::HashMap, sync::Arc};

use futures::future::BoxFuture;

use super::{
    ControlGate, DeadLetters, Dedup, Lookups,
    dedup::{Judged, Sighting},
    state_fault,
};
use crate::{
    clock,
    codec::{
        DecodeError, EventDecoder, RecordEncoder,
        intake::{Place, accept},
        murmur2,
    },
    engine::{Batch, Outputs, PushError, hash_key},
    event::{Class, DeadLetter, Event, Origin, Part, Path, Record},
    kafka::{Input, KafkaError, Written},
    topology::codes,
    worker::{Accept, Burial, Hold, Stage, Stats},
};

/// Raw bytes → checked event with its key. Shared by [`Intake`] and a first stage that reads a keyed topic itself.
pub struct Admission {
    pub decoder: EventDecoder,
    pub lookups: Lookups,
    /// The first that is set is the key.
    pub key: Vec<Path>,
    pub chain: u32,
    pub topology_version: Arc<str>,
    pub topic: Arc<str>,
    /// How many parts a record has.
    pub parts: usize,
    /// By partition: see [`crate::engine::partition_tag`].
    pub tags: HashMap<i32, u32>,
    pub stats: Arc<Stats>,
}

/// Clocks of producers and ours may differ by so much, in milliseconds, without a word.
const CLOCKS_DIFFER_MS: i64 = 1_000;

/// What became of a raw record.
pub enum Admitted {
    Record { key: Arc<str>, record: Box<Record> },
    Refused { code: &'static str, class: Class, message: String },
    Hold(Hold),
}

impl Admission {
    /// Decodes and checks.
    pub fn admit(&self, input: &Input<'_>) -> Admitted {
        let refused = |code, class, message: String| Admitted::Refused { code, class, message };
        let event = match self.decoder.decode(input.value.unwrap_or_default()) {
            Ok(event) => event,
            Err(DecodeError::SchemaNotLoaded(id)) => {
                self.lookups.is_known(id); // Begins to fetch it.
                return Admitted::Hold(Hold::Schema(id));
            }
            Err(error) => return refused(codes::HW601, Class::Decode, error.to_string()),
        };
        let place = Place { topic: input.topic, partition: input.partition, offset: input.offset };
        let now_ms = clock::unix_ms();
        match accept(event, &self.key, place, now_ms) {
            Ok((key, event)) => Admitted::Record { key, record: Box::new(self.record(event, input, now_ms)) },
            Err(rejection) => {
                refused(rejection.code, rejection.class, format!("{}: {}", rejection.field, rejection.message))
            }
        }
    }

    fn record(&self, event: Event, input: &Input<'_>, now_ms: i64) -> Record {
        if event.occurred_at_ms > now_ms.saturating_add(CLOCKS_DIFFER_MS) {
            Stats::count(&self.stats.from_the_future);
        }
        Record {
            event,
            received_at_ms: now_ms,
            origin: Origin {
                topic: self.topic.clone(),
                tag: self.tags.get(&input.partition).copied().unwrap_or_default(),
                partition: input.partition,
                offset: input.offset,
                events_offset: -1,
                events_tag: 0,
            },
            chain: self.chain,
            topology_version: self.topology_version.clone(),
            parts: vec![Part::default(); self.parts],
            ..Record::default()
        }
    }
}

/// The intake stage.
pub struct Intake {
    pub admission: Admission,
    pub control: ControlGate,
    /// Where a window is declared.
    pub dedup: Option<Dedup>,
    pub encoder: RecordEncoder,
    pub dead_letters: DeadLetters,
    /// Of `<topology>.events`: a key's partition is murmur2 as Java's clients compute it.
    pub partitions: i32,
    /// Values above this many bytes are dead letters.
    pub max_bytes: usize,
}

/// An event on its way through intake.
pub enum Work {
    Record {
        key: Arc<str>,
        record: Box<Record>,
        seen: Vec<Sighting>,
    },
    /// Its id was seen at another place: nothing comes of it.
    Duplicate,
    Dead(Box<DeadLetter>, Vec<Sighting>),
}

impl Stage for Intake {
    type Work = Work;
    type Finished = std::convert::Infallible;
    const SERIAL: bool = false;
    const DEAD_LETTERS: usize = 1;
    const STATE_FROM: usize = 2;

    fn accept(&mut self, input: &Input<'_>) -> Accept<Work> {
        match self.admission.admit(input) {
            Admitted::Record { key, mut record } => {
                let hash = hash_key(key.as_bytes());
                let judged = self.dedup.as_mut().map(|dedup| dedup.judge(input, &mut record));
                let work = match judged {
                    None => Work::Record { key, record, seen: Vec::new() },
                    Some(Judged::Event(seen)) => Work::Record { key, record, seen },
                    // Unknown: the fault ends the worker before anything of this is committed.
                    Some(Judged::Duplicate | Judged::Unknown) => Work::Duplicate,
                };
                Accept::Work { key: hash, work }
            }
            Admitted::Hold(hold) => Accept::Hold(hold),
            Admitted::Refused { code, class, message } => {
                let letter = self.dead_letters.letter(input, code, class, message);
                Accept::Work {
                    key: hash_key(input.key.unwrap_or_default()),
                    work: Work::Dead(Box::new(letter), Vec::new()),
                }
            }
        }
    }

    fn bury(&mut self, input: &Input<'_>, why: Burial) -> Work {
        Work::Dead(Box::new(self.dead_letters.buried(input, why)), Vec::new())
    }

    fn inherit(&mut self, grave: &mut Work, buried: &mut Work) {
        if let (Work::Dead(_, left), Work::Record { seen, .. } | Work::Dead(_, seen)) = (grave, buried) {
            *left = std::mem::take(seen);
        }
    }

    fn start(&mut self, _: &mut Work, _: u64, _: &mut Vec<BoxFuture<'static, Self::Finished>>) -> bool {
        true
    }

    fn finish(&mut self, _: &mut Work, finished: Self::Finished) {
        match finished {}
    }

    fn release(&mut self, input: &Input<'_>, work: &mut Work, outputs: &mut Outputs) -> Result<(), Burial> {
        let source = (input.partition, input.offset);
        let seen = match work {
            Work::Duplicate => return Ok(()),
            Work::Dead(letter, seen) => {
                let written = self.dead_letters.write(letter, source, outputs);
                written.map_err(|error| Burial::Unencodable(error.to_string()))?;
                seen
            }
            Work::Record { key, record, seen } => {
                let partition = murmur2::partition(key.as_bytes(), self.partitions);
                let encoder = &mut self.encoder;
                outputs
                    .push(0, partition, source, key.as_bytes(), self.max_bytes, |out| encoder.encode(record, out))
                    .map_err(burial)?;
                seen
            }
        };
        if let Some(dedup) = &mut self.dedup {
            for sighting in &*seen {
                dedup.release(input, sighting, outputs).map_err(burial)?;
            }
        }
        Ok(())
    }

    fn is_lifted(&mut self, hold: &Hold) -> bool {
        match hold {
            Hold::Schema(id) => self.admission.lookups.is_known(*id),
            Hold::Restore(partition) if self.dedup.as_mut().is_some_and(|dedup| !dedup.is_open(*partition)) => false,
            Hold::Control | Hold::Restore(_) => self.control.is_open(),
            Hold::NewerChain(_) => false,
        }
    }

    fn assigned(&mut self, partitions: &[i32]) {
        self.admission.tags.retain(|partition, _| partitions.contains(partition));
        if let Some(dedup) = &mut self.dedup {
            dedup.retain(partitions);
        }
        // Read after all of them were assigned: a stop that was written before is obeyed.
        self.control.close();
    }

    fn opening(&mut self, partition: i32, tag: u32) -> Option<Hold> {
        self.admission.tags.insert(partition, tag);
        if let Some(dedup) = &mut self.dedup {
            dedup.opening(partition);
        }
        Some(Hold::Restore(partition))
    }

    fn committed(&mut self, batch: &Batch, written: &[Written], ours: &dyn Fn(i32) -> bool) {
        if let Some(dedup) = &mut self.dedup {
            dedup.committed(batch, written, ours);
        }
    }

    fn fault(&mut self) -> Option<KafkaError> {
        self.dedup.as_mut().and_then(Dedup::fault).map(state_fault)
    }

    fn epoch(&self) -> i64 {
        self.control.epoch()
    }
}

/// Why a record could not be added to the outputs.
pub(super) fn burial<E: std::fmt::Display>(error: PushError<E>) -> Burial {
    match error {
        PushError::TooLarge { .. } => Burial::TooLarge(error.to_string()),
        PushError::Encode(_) => Burial::Unencodable(error.to_string()),
    }
}
