//! Order per key: events finish as they like and are released in the order in which they came.
//!
//! Each key has a chain of flights, linked through the slots they lie in. A flight that is ready leaves when everything
//! of its key before it has left. Keys are 64-bit hashes: two keys that collide are kept in one order, which is
//! stricter than needed and never wrong.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// A place in the table of flights. Reused after the flight has left; `generation` tells the lives apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flight {
    slot: u32,
    generation: u32,
}

struct Slot<W> {
    generation: u32,
    key: u64,
    ready: bool,
    /// The next flight of the same key.
    next: Option<u32>,
    /// The one before, as long as it is under way.
    before: Option<u32>,
    /// `None` when the slot is free.
    work: Option<W>,
}

/// The chain of one key: first and last slot.
struct Chain {
    head: u32,
    tail: u32,
}

/// Flights under way, in the order of their keys.
pub struct Order<W> {
    slots: Vec<Slot<W>>,
    free: Vec<u32>,
    chains: HashMap<u64, Chain, BuildHasherDefault<Identity>>,
    /// Heads that are ready: what [`Order::pop`] gives next.
    leaving: Vec<u32>,
}

impl<W> Default for Order<W> {
    fn default() -> Self {
        Order { slots: Vec::new(), free: Vec::new(), chains: HashMap::default(), leaving: Vec::new() }
    }
}

impl<W> Order<W> {
    /// Flights under way.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the next event of a key. Says whether it is the first of its key.
    pub fn push(&mut self, key: u64, work: W) -> (Flight, bool) {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push(Slot { generation: 0, key, ready: false, next: None, before: None, work: None });
                (self.slots.len() - 1) as u32
            }
        };
        let slot = &mut self.slots[index as usize];
        (slot.key, slot.ready, slot.next, slot.before, slot.work) = (key, false, None, None, Some(work));
        let flight = Flight { slot: index, generation: slot.generation };
        match self.chains.entry(key) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(Chain { head: index, tail: index });
                (flight, true)
            }
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                let tail = std::mem::replace(&mut entry.get_mut().tail, index);
                self.slots[tail as usize].next = Some(index);
                self.slots[index as usize].before = Some(tail);
                (flight, false)
            }
        }
    }

    /// The work of a flight that has not left.
    pub fn get_mut(&mut self, flight: Flight) -> Option<&mut W> {
        let slot = self.slots.get_mut(flight.slot as usize)?;
        if slot.generation == flight.generation { slot.work.as_mut() } else { None }
    }

    /// The work of the key's previous event, as long as that is under way.
    pub fn before(&self, flight: Flight) -> Option<&W> {
        let slot = self.slots.get(flight.slot as usize).filter(|slot| slot.generation == flight.generation)?;
        self.slots[slot.before? as usize].work.as_ref()
    }

    /// The key's next event.
    pub fn after(&self, flight: Flight) -> Option<Flight> {
        let slot = self.slots.get(flight.slot as usize).filter(|slot| slot.generation == flight.generation)?;
        let next = slot.next?;
        Some(Flight { slot: next, generation: self.slots[next as usize].generation })
    }

    /// Marks a flight ready to leave.
    pub fn ready(&mut self, flight: Flight) {
        let Some(slot) = self.slots.get_mut(flight.slot as usize) else { return };
        if slot.generation != flight.generation || slot.ready || slot.work.is_none() {
            return;
        }
        slot.ready = true;
        if self.chains.get(&slot.key).is_some_and(|chain| chain.head == flight.slot) {
            self.leaving.push(flight.slot);
        }
    }

    /// The next event that may leave, and the flight that now is the first of its key, if there is one.
    pub fn pop(&mut self) -> Option<(W, Option<Flight>)> {
        let index = self.leaving.pop()?;
        let slot = &mut self.slots[index as usize];
        let work = slot.work.take()?;
        let (key, next) = (slot.key, slot.next.take());
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        let Some(next) = next else {
            self.chains.remove(&key);
            return Some((work, None));
        };
        if let Some(chain) = self.chains.get_mut(&key) {
            chain.head = next;
        }
        let slot = &mut self.slots[next as usize];
        slot.before = None;
        if slot.ready {
            self.leaving.push(next);
        }
        Some((work, Some(Flight { slot: next, generation: slot.generation })))
    }
}

/// Keys are hashes already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slow_event_holds_only_its_own_key() {
        let mut order = Order::default();
        let (_slow, first) = order.push(1, "slow");
        let (second, not_first) = order.push(1, "second of its key");
        let (other, _) = order.push(2, "other key");
        assert!(first && !not_first);
        order.ready(second);
        order.ready(other);
        assert_eq!(order.pop().map(|left| left.0), Some("other key"));
        assert!(order.pop().is_none());
        assert_eq!(order.len(), 2);
    }

    #[test]
    fn a_flight_that_has_left_is_not_found_under_its_old_name() {
        let mut order = Order::default();
        let (old, _) = order.push(1, 1);
        order.ready(old);
        order.pop();
        let (new, _) = order.push(2, 2);
        order.ready(old);
        assert!(order.pop().is_none(), "the old name must not release the new flight");
        assert_eq!(order.get_mut(old), None);
        assert_eq!(order.get_mut(new), Some(&mut 2));
    }

    #[test]
    fn an_event_knows_its_neighbours_of_the_same_key_under_way() {
        let mut order = Order::default();
        let (first, _) = order.push(1, "first");
        let (other, _) = order.push(2, "other key");
        let (second, _) = order.push(1, "second");
        assert_eq!((order.before(first), order.before(second), order.before(other)), (None, Some(&"first"), None));
        assert_eq!((order.after(first), order.after(second)), (Some(second), None));
        order.ready(first);
        order.pop();
        assert_eq!((order.before(second), order.after(first)), (None, None));
        let (third, _) = order.push(1, "third");
        assert_eq!((order.before(third), order.after(second)), (Some(&"second"), Some(third)));
    }

    proptest! {
        #[test]
        fn whatever_finishes_when_each_key_leaves_in_the_order_it_came(
            keys in prop::collection::vec(0u64..5, 1..200),
            finishing in prop::collection::vec(any::<prop::sample::Index>(), 200),
        ) {
            let mut order = Order::default();
            let mut waiting: Vec<(Flight, usize)> =
                keys.iter().enumerate().map(|(index, key)| (order.push(*key, index).0, index)).collect();
            let mut left: Vec<usize> = Vec::new();
            let mut ready = std::collections::BTreeSet::new();
            for pick in finishing.iter().take(keys.len()) {
                let (flight, index) = waiting.swap_remove(pick.index(waiting.len()));
                ready.insert(index);
                order.ready(flight);
                while let Some((index, _)) = order.pop() {
                    left.push(index);
                }
                // Nothing that could leave stays.
                for key in 0..5 {
                    let of_key = |index: &&usize| keys[**index] == key;
                    let expected: Vec<usize> =
                        (0..keys.len()).filter(|index| keys[*index] == key).take_while(|index| ready.contains(index)).collect();
                    prop_assert_eq!(left.iter().filter(of_key).copied().collect::<Vec<_>>(), expected);
                }
            }
            prop_assert_eq!(left.len(), keys.len());
            prop_assert!(order.is_empty());
        }
    }
}
