//! Deliver: a committed trigger reaches its webhook, in the person's order.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};

use super::{DeadLetters, Lookups};
use crate::{
    codec::{DecodeError, TriggerDecoder},
    deliver::{Destination, PayloadTypes, Verdict},
    engine::{Outputs, hash_key},
    event::{Class, DeadLetter, Trigger},
    kafka::Input,
    topology::codes,
    worker::{Accept, Burial, Hold, Stage},
};

/// The way to one destination. Output topic 0: dead letters.
pub struct Deliver {
    pub destination: Arc<Destination>,
    pub decoder: TriggerDecoder,
    /// On the topic a payload is text; the webhook gets numbers and booleans again.
    pub types: PayloadTypes,
    pub lookups: Lookups,
    pub dead_letters: DeadLetters,
    /// Told how large a share of all partitions is ours, after each rebalance.
    pub share: Box<dyn Fn(usize) + Send>,
}

/// A trigger on its way.
pub enum Work {
    /// Not called yet.
    Waiting(Box<Trigger>),
    /// Being called. What a dead letter would need is kept.
    Called {
        event_id: Arc<str>,
        dead: Option<(Dead, u32)>,
    },
    /// Another destination's.
    NotOurs,
    Dead(Box<DeadLetter>),
}

/// Why a trigger could not be delivered.
pub struct Dead {
    code: &'static str,
    class: Class,
    message: String,
}

impl Stage for Deliver {
    type Work = Work;
    type Finished = Verdict;
    /// A call has effects: the next one for a person starts when the last has its answer.
    const SERIAL: bool = true;
    const DEAD_LETTERS: usize = 0;

    fn accept(&mut self, input: &Input<'_>) -> Accept<Work> {
        let key = hash_key(input.key.unwrap_or_default());
        let work = match self.decoder.decode(input.value.unwrap_or_default()) {
            Ok(trigger) if trigger.destination != *self.destination.name() => Work::NotOurs,
            Ok(mut trigger) => {
                self.types.restore(&mut trigger);
                Work::Waiting(Box::new(trigger))
            }
            Err(DecodeError::SchemaNotLoaded(id)) => {
                self.lookups.is_known(id);
                return Accept::Hold(Hold::Schema(id));
            }
            Err(error) => {
                Work::Dead(Box::new(self.dead_letters.letter(input, codes::HW601, Class::Decode, error.to_string())))
            }
        };
        Accept::Work { key, work }
    }

    fn bury(&mut self, input: &Input<'_>, why: Burial) -> Work {
        let mut letter = self.dead_letters.buried(input, why);
        letter.destination = Some(self.destination.name().clone());
        Work::Dead(Box::new(letter))
    }

    fn start(&mut self, work: &mut Work, _: u64, futures: &mut Vec<BoxFuture<'static, Verdict>>) -> bool {
        match work {
            Work::Waiting(trigger) => {
                let trigger = std::mem::take(&mut **trigger);
                *work = Work::Called { event_id: trigger.event_id.clone(), dead: None };
                futures.push(self.destination.deliver(trigger).boxed());
                false
            }
            // Started again after its answer came.
            Work::Called { .. } | Work::NotOurs | Work::Dead(_) => true,
        }
    }

    fn finish(&mut self, work: &mut Work, verdict: Verdict) {
        if let (Work::Called { dead, .. }, Verdict::DeadLetter { code, class, message, attempts }) = (work, verdict) {
            *dead = Some((Dead { code, class, message }, attempts));
        }
    }

    fn release(&mut self, input: &Input<'_>, work: &mut Work, outputs: &mut Outputs) -> Result<(), Burial> {
        let letter = match work {
            Work::NotOurs | Work::Waiting(_) | Work::Called { dead: None, .. } => return Ok(()),
            Work::Dead(letter) => letter.clone(),
            Work::Called { event_id, dead: Some((dead, attempts)) } => {
                let mut letter =
                    self.dead_letters.letter(input, dead.code, dead.class, std::mem::take(&mut dead.message));
                letter.event_id = Some(event_id.clone());
                letter.attempts = *attempts;
                letter.destination = Some(self.destination.name().clone());
                Box::new(letter)
            }
        };
        self.dead_letters
            .write(&letter, (input.partition, input.offset), outputs)
            .map_err(|error| Burial::Unencodable(error.to_string()))
    }

    fn is_lifted(&mut self, hold: &Hold) -> bool {
        match hold {
            Hold::Schema(id) => self.lookups.is_known(*id),
            Hold::Control | Hold::Restore(_) => true,
            Hold::NewerChain(_) => false,
        }
    }

    fn assigned(&mut self, partitions: &[i32]) {
        (self.share)(partitions.len());
    }

    fn opening(&mut self, _: i32, _: u32) -> Option<Hold> {
        None
    }

    fn is_accepting(&self) -> bool {
        self.destination.accepting()
    }
}
