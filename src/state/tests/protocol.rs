//! The way of a write, with a crash, an abort or doubt at every step: nothing is lost, nothing counts twice.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use crate::state::{Durable, Keeper, fake::Fake};

/// What happens next.
#[derive(Debug, Clone)]
enum Op {
    /// The next event is taken in and counted in memory.
    Count,
    /// The oldest event under way joins the batch.
    Release,
    /// The batch goes to the commit thread.
    Send,
    /// It is committed and stored.
    Commit,
    /// Aborted, and everything uncommitted is forgotten.
    Abort,
    /// Committed, but nobody knows: everything uncommitted is forgotten.
    Doubt,
    /// Committed, and the process dies before it is stored.
    DieCommitted,
    /// The process dies.
    Die,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => Just(Op::Count),
        10 => Just(Op::Release),
        6 => Just(Op::Send),
        6 => Just(Op::Commit),
        1 => Just(Op::Abort),
        1 => Just(Op::Doubt),
        1 => Just(Op::DieCommitted),
        1 => Just(Op::Die),
    ]
}

/// One partition's events are the keys in `events`; each adds one to its key.
struct World {
    events: Vec<u8>,
    disk: Fake,
    keeper: Keeper<i64>,
    /// The next event to take in, and the first that is not committed.
    next: usize,
    committed: usize,
    under_way: VecDeque<(u8, i64)>,
    gathered: Vec<(u8, i64)>,
    flying: Option<Vec<(u8, i64)>>,
}

impl World {
    fn new(events: Vec<u8>, budget: usize) -> World {
        let disk = Fake::default();
        let mut keeper = Keeper::new(Box::new(disk.clone()), 1, budget);
        keeper.opening(0);
        let (under_way, gathered, flying) = Default::default();
        World { events, disk, keeper, next: 0, committed: 0, under_way, gathered, flying }
    }

    /// From what is committed, with what the store and the changelog have.
    fn resume(&mut self) {
        self.keeper.opening(0);
        self.next = self.committed;
        (self.under_way, self.gathered, self.flying) = Default::default();
        let disk = self.disk.0.lock();
        assert_eq!(disk.store, disk.fold(), "a restored store is the fold of its changelog");
    }

    fn die(&mut self) {
        self.keeper = Keeper::new(Box::new(self.disk.clone()), 1, 64);
        self.resume();
    }

    /// The broker commits: changelog and ledger together.
    fn log(&mut self) -> Option<Vec<(u8, i64)>> {
        let batch = self.flying.take()?;
        let mut disk = self.disk.0.lock();
        disk.changelog.extend(batch.iter().map(|(key, count)| (0, vec![*key], count.to_string().into_bytes())));
        self.committed += batch.len();
        Some(batch)
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Count => {
                let Some(key) = self.events.get(self.next).copied() else { return };
                self.next += 1;
                let read = |bytes: Option<&[u8]>| {
                    bytes.map_or(0, |bytes| std::str::from_utf8(bytes).unwrap().parse().unwrap())
                };
                let count = self.keeper.get(0, 0, &[key], read).unwrap();
                *count += 1;
                let count = *count;
                self.keeper.wrote(0, 0, &[key], 8);
                self.under_way.push_back((key, count));
            }
            Op::Release => {
                if let Some((key, count)) = self.under_way.pop_front() {
                    self.keeper.released(0, 0, &[key]);
                    self.gathered.push((key, count));
                }
            }
            Op::Send => {
                if self.flying.is_none() && !self.gathered.is_empty() {
                    self.flying = Some(std::mem::take(&mut self.gathered));
                }
            }
            Op::Commit => {
                if let Some(batch) = self.log() {
                    let end = self.disk.0.lock().changelog.len() as i64;
                    let values: Vec<_> = batch.iter().map(|(key, count)| ([*key], count.to_string())).collect();
                    let records = values.iter().map(|(key, value)| (0, 0, key.as_slice(), value.as_bytes()));
                    self.keeper.committed(records, [(0, 0, end)].into_iter());
                    assert!(self.keeper.fault().is_none());
                }
            }
            Op::Abort => self.resume(),
            Op::Doubt => {
                self.log();
                self.resume();
            }
            Op::DieCommitted => {
                self.log();
                self.die();
            }
            Op::Die => self.die(),
        }
    }
}

proptest! {
    #[test]
    fn whatever_fails_when_each_committed_event_is_counted_once(
        events in prop::collection::vec(0u8..6, 1..80),
        ops in prop::collection::vec(op(), 1..500),
        budget in 0usize..2_000,
    ) {
        let mut world = World::new(events, budget);
        for op in &ops {
            world.step(op);
        }
        // Faults are over: everything gets through.
        while world.committed < world.events.len() {
            for op in [Op::Count, Op::Release, Op::Send, Op::Commit] {
                world.step(&op);
            }
        }
        let mut expected = BTreeMap::new();
        for key in &world.events {
            *expected.entry((0usize, vec![*key])).or_insert(0) += 1;
        }
        let disk = world.disk.0.lock();
        let counted: BTreeMap<_, i32> =
            disk.fold().into_iter().map(|(key, value)| (key, String::from_utf8(value).unwrap().parse().unwrap())).collect();
        prop_assert_eq!(counted, expected);
        prop_assert_eq!(&disk.store, &disk.fold());
    }
}

#[test]
fn a_store_that_cannot_be_written_is_a_fault_and_loses_nothing() {
    let disk = Fake::default();
    let mut keeper: Keeper<i64> = Keeper::new(Box::new(disk.clone()), 1, 64);
    keeper.opening(0);
    *keeper.get(0, 0, b"a", |_| 0).unwrap() = 1;
    keeper.wrote(0, 0, b"a", 1);
    keeper.released(0, 0, b"a");
    disk.0.lock().changelog.push((0, b"a".to_vec(), b"1".to_vec()));
    disk.0.lock().is_full = true;
    keeper.committed([(0, 0, b"a".as_slice(), b"1".as_slice())].into_iter(), [(0, 0, 1)].into_iter());
    assert!(keeper.fault().is_some());
    disk.0.lock().is_full = false;
    disk.clone().open(0);
    assert_eq!(disk.get(0, 0, b"a").unwrap(), Some(b"1".to_vec()), "the changelog has it");
}
