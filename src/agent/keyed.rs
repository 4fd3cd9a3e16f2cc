//! Agents that keep state per key: what each of them decides, and what they have in common.
//!
//! ```text
//! event ─▶ start: lookups, if any ─▶ run, after the key's previous event ─▶ part
//!                                     reads and changes the key's state      └▶ state, written when the event leaves
//! ```
//!
//! State is a value, never an increment: what is written says all of it, so that the last record of a key in the
//! changelog is the key's state. It is JSON, which stock tools can read, under the place of the last event that it
//! counts: `{"at":{"tag":7,"offset":42},"is":{…}}`. An event at or below that place is a repeat: it reads, and changes
//! nothing.

use std::any::Any;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Agent, Step, Vitals};
use crate::event::{Outcome, Part, Place, Reason, Record};

/// Most that one key's state may hold, in bytes as written. An agent keeps its own bounds well below. Where one fails to,
/// the event's part fails and the key begins anew: what was before is changed already, and a key that stood at the bound
/// would fail for ever.
pub const MAX_STATE: usize = 64 * 1024;

/// What an agent with state per key decides: a function of record, part and state, without I/O or clocks.
pub trait Keyed: Send + Sync + 'static {
    /// One key's state; its default is a key that was never seen. Bounded by the agent.
    type State: Serialize + DeserializeOwned + Default + Send + 'static;

    /// What can be done before the key's previous event has been counted: lookups. By default nothing.
    fn start(&self, _record: &Record) -> Step {
        Step::Ordered(Part::default())
    }

    /// Counts an event: changes the state and gives the part. `part` is what [`Keyed::start`] gave. Says whether
    /// the state changed in a way that is worth writing. It may say no only where counting the same event again
    /// would change nothing either.
    fn count(&self, record: &Record, part: Part, state: &mut Self::State) -> Ran;

    /// The part of an event that was counted before, from the state as it is now.
    fn recall(&self, record: &Record, part: Part, state: &Self::State) -> Part;

    /// What metrics say of it beside its results.
    fn vitals(&self) -> Vitals {
        Vitals::default()
    }
}

/// What running gave.
#[derive(Debug)]
pub struct Ran {
    pub part: Part,
    /// The state is to be written.
    pub changed: bool,
}

/// One key's state in memory, of a type that only its agent knows.
pub struct Decoded {
    state: Box<dyn Any + Send>,
    /// What was stored could not be read, or has outgrown [`MAX_STATE`], and the key begins anew: to be counted and said.
    pub is_unreadable: bool,
}

impl Decoded {
    /// One key's state from what is stored; `None` was never seen. What cannot be read, or is longer than anything of
    /// ours, begins anew.
    pub fn read<S: DeserializeOwned + Default + Send + 'static>(bytes: Option<&[u8]>) -> Self {
        let read = |bytes: &[u8]| serde_json::from_slice(bytes).ok().filter(|_| bytes.len() <= MAX_STATE);
        let read: Option<Option<S>> = bytes.map(read);
        let is_unreadable = matches!(read, Some(None));
        Decoded { state: Box::new(read.flatten().unwrap_or_default()), is_unreadable }
    }

    /// The state, where it is of that type.
    pub fn get_mut<S: 'static>(&mut self) -> Option<&mut S> {
        self.state.downcast_mut()
    }

    /// No state at all.
    pub fn nothing() -> Self {
        Decoded { state: Box::new(()), is_unreadable: false }
    }
}

/// The engine's view of an agent's ordered half, whatever its state.
pub trait Ordered: Send + Sync {
    /// One key's state from what is stored; `None` was never seen.
    fn decode(&self, bytes: Option<&[u8]>) -> Decoded;

    /// Runs for one event, after it ran for the key's previous one. Where the state changed, `write` gets it all.
    fn run(&self, record: &Record, part: Part, state: &mut Decoded, write: &mut Vec<u8>) -> Ran;
}

/// State under the place of the last event that it counts.
#[derive(Default, Serialize, Deserialize)]
struct Kept<S> {
    /// `None` before the first.
    #[serde(default)]
    at: Option<Place>,
    #[serde(default)]
    is: S,
}

/// An agent around what it decides.
pub struct KeyedAgent<K>(pub K);

impl<K: Keyed> Agent for KeyedAgent<K> {
    fn start(&self, record: &Record) -> Step {
        self.0.start(record)
    }

    fn ordered(&self) -> Option<&dyn Ordered> {
        Some(self)
    }

    fn vitals(&self) -> Vitals {
        self.0.vitals()
    }
}

impl<K: Keyed> Ordered for KeyedAgent<K> {
    fn decode(&self, bytes: Option<&[u8]>) -> Decoded {
        Decoded::read::<Kept<K::State>>(bytes)
    }

    fn run(&self, record: &Record, part: Part, state: &mut Decoded, write: &mut Vec<u8>) -> Ran {
        if !state.state.is::<Kept<K::State>>() {
            *state = self.decode(None);
        }
        let Some(kept) = state.state.downcast_mut::<Kept<K::State>>() else { return Ran { part, changed: false } };
        let place = record.origin.place();
        if record.repeat || kept.at.is_some_and(|at| place.is_within(at)) {
            return Ran { part: self.0.recall(record, part, &kept.is), changed: false };
        }
        let ran = self.0.count(record, part, &mut kept.is);
        if !ran.changed {
            return ran;
        }
        kept.at = Some(place);
        let before = write.len();
        encode(kept, write);
        if write.len() - before <= MAX_STATE {
            return ran;
        }
        kept.is = K::State::default();
        write.truncate(before);
        encode(kept, write);
        state.is_unreadable = true;
        Ran { part: Part::without(Outcome::Failed, Reason::BadResponse), changed: true }
    }
}

fn encode<S: Serialize>(kept: &Kept<S>, write: &mut Vec<u8>) {
    // Numbers, texts, lists and maps of ours always have a JSON form.
    let written = serde_json::to_writer(write, kept);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Origin, Source, Value};

    /// Counts events.
    struct Counter;

    impl Keyed for Counter {
        type State = i64;
        fn count(&self, _: &Record, _: Part, state: &mut i64) -> Ran {
            *state += 1;
            Ran { part: Part::ok(Source::State, vec![Value::Int(*state)]), changed: true }
        }
        fn recall(&self, _: &Record, _: Part, state: &i64) -> Part {
            Part::ok(Source::State, vec![Value::Int(*state)])
        }
    }

    fn at(tag: u32, offset: i64) -> Record {
        let origin = Origin { events_offset: offset, events_tag: tag, ..Origin::default() };
        Record { origin, ..Record::default() }
    }

    fn run(state: &mut Decoded, record: &Record) -> (i64, Option<String>) {
        let mut written = Vec::new();
        let ran = KeyedAgent(Counter).run(record, Part::default(), state, &mut written);
        let Value::Int(count) = ran.part.field(0) else { panic!("{ran:?}") };
        (*count, ran.changed.then(|| String::from_utf8(written).unwrap()))
    }

    #[test]
    fn an_event_at_or_below_the_last_place_is_read_and_not_counted() {
        let mut state = KeyedAgent(Counter).decode(None);
        let (count, written) = run(&mut state, &at(7, 5));
        assert_eq!((count, written.as_deref()), (1, Some(r#"{"at":{"tag":7,"offset":5},"is":1}"#)));
        assert_eq!(run(&mut state, &at(7, 5)), (1, None));
        assert_eq!(run(&mut state, &at(7, 4)), (1, None));
        assert_eq!(run(&mut state, &at(7, 6)).0, 2);
        assert_eq!(run(&mut state, &Record { repeat: true, ..at(7, 9) }), (2, None), "marked by intake");
        assert_eq!(run(&mut state, &at(8, 1)).0, 3, "a recreated topic begins anew");
    }

    #[test]
    fn what_was_written_is_read_again() {
        let agent = KeyedAgent(Counter);
        let mut state = agent.decode(Some(br#"{"at":{"tag":7,"offset":5},"is":41}"#));
        assert!(!state.is_unreadable);
        assert_eq!(run(&mut state, &at(7, 5)).0, 41);
        assert_eq!(run(&mut state, &at(7, 6)).0, 42);
    }

    #[test]
    fn what_cannot_be_read_begins_anew_and_says_so() {
        let mut state = KeyedAgent(Counter).decode(Some(b"\0\0"));
        assert!(state.is_unreadable);
        assert_eq!(run(&mut state, &at(7, 5)).0, 1);
    }

    /// Keeps every event's name.
    struct Hoarder;

    impl Keyed for Hoarder {
        type State = Vec<String>;
        fn count(&self, record: &Record, _: Part, state: &mut Vec<String>) -> Ran {
            state.push(record.event.name.to_string());
            Ran { part: Part::ok(Source::State, vec![Value::Int(state.len() as i64)]), changed: true }
        }
        fn recall(&self, _: &Record, _: Part, state: &Vec<String>) -> Part {
            Part::ok(Source::State, vec![Value::Int(state.len() as i64)])
        }
    }

    #[test]
    fn a_state_that_outgrows_its_bound_fails_the_part_and_begins_anew() {
        let (agent, mut state) = (KeyedAgent(Hoarder), Decoded::nothing());
        let does = |state: &mut Decoded, offset, bytes: usize| {
            let mut record = at(7, offset);
            record.event.name = "x".repeat(bytes).into();
            let mut written = b"kept".to_vec();
            let ran = agent.run(&record, Part::default(), state, &mut written);
            (ran.part, String::from_utf8(written).unwrap())
        };
        assert_eq!(does(&mut state, 1, MAX_STATE / 2).0.field(0), &Value::Int(1));
        assert!(!state.is_unreadable);
        let (part, written) = does(&mut state, 2, MAX_STATE / 2);
        assert_eq!((part.provenance.outcome, part.fields.len()), (Outcome::Failed, 0));
        assert_eq!(
            written, r#"kept{"at":{"tag":7,"offset":2},"is":[]}"#,
            "what stands in the changelog is small again"
        );
        assert!(std::mem::take(&mut state.is_unreadable), "and it is counted");
        assert_eq!(does(&mut state, 3, 1).0.field(0), &Value::Int(1));
        let (part, written) = does(&mut state, 4, 10 * MAX_STATE);
        assert!(part.provenance.outcome == Outcome::Failed && written.len() < 100, "one event's worth");
    }

    #[test]
    fn what_somebody_else_wrote_too_large_begins_anew() {
        let foreign = format!(r#"{{"at":null,"is":{}1}}"#, " ".repeat(MAX_STATE));
        assert!(KeyedAgent(Counter).decode(Some(foreign.as_bytes())).is_unreadable);
        assert!(!KeyedAgent(Counter).decode(Some(br#"{"at":null,"is":1}"#)).is_unreadable);
    }
}
