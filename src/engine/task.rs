//! A stage's work on one partition: its ledger, its events in order, and the trial of records that kill.
//!
//! ```text
//!            first record              ledger committed                      1,000 alone and well
//! Opening ──────────────────▶ Opening ──────────────────▶ Normal ◀──────────────────────────────── Alone
//!                             (announced)                    │ three lives without progress          ▲
//!                                                            └───────────── next life ───────────────┘
//! ```
//!
//! Before a task takes in its first record it commits its ledger with one more take-over; whatever is done sets the
//! count back to 0. A partition whose count reaches [`Task::TRIAL`] is redone one record at a time, each announced in
//! the ledger before it is touched, and only one partition of a worker at a time (see [`Turn`]). The record that lives
//! end with again and again while it is alone, up to a count of [`Task::CONDEMNED`], goes to the dead letters. Once is
//! not enough: a life also ends for other reasons, and a partition moves to another worker without any death. A worker
//! that resumes after doubt has not died, and counts nothing; one that leaves cleanly takes its count back
//! ([`Task::farewell`]).

use super::{
    batch::LedgerEntry,
    ledger::{Ledger, LedgerError, MAX_OPEN, Stamp},
    order::{Flight, Order},
    turn::Turn,
};

/// Whether the next record may be taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Take it in.
    Go,
    /// An earlier life did it: pass it over.
    Known,
    /// Keep it and ask again after something was released or committed.
    Wait,
    /// It has killed its worker again and again: take it in as a dead letter, without touching what is inside.
    Condemned,
}

/// How carefully records are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// Nothing taken in yet; the next record announces the take-over first.
    Opening {
        announced: bool,
    },
    Normal,
    /// One at a time, so many more.
    Alone {
        left: usize,
        announced: Option<i64>,
    },
}

struct Entry<W> {
    offset: i64,
    work: W,
}

/// One partition's task.
pub struct Task<W> {
    partition: i32,
    stamp: Stamp,
    /// Take-overs without progress before this life.
    began_with: u32,
    ledger: Ledger,
    order: Order<Entry<W>>,
    trial: Trial,
    /// Died in the trial of the first record that is not done.
    condemn_first: bool,
    /// The ledger says something that is not committed yet.
    dirty: bool,
    /// The ledger that opens the task or announces a trial is on its way.
    announcing: bool,
    max_in_flight: usize,
}

impl<W> Task<W> {
    /// Take-overs without progress after which records are redone alone.
    pub const TRIAL: u32 = 3;
    /// Take-overs without progress, the last ones with the same record alone, after which it is not touched again.
    pub const CONDEMNED: u32 = Self::TRIAL + 3;

    /// Resumes from what is committed. `began_with`: where the same life goes on after doubt, what its task had from
    /// [`Task::began_with`]. The error says that the metadata was no ledger: work beyond the offset repeats.
    pub fn resume(
        partition: i32,
        committed: i64,
        metadata: &[u8],
        fresh: Stamp,
        began_with: Option<u32>,
        max_in_flight: usize,
    ) -> (Self, Option<LedgerError>) {
        let (ledger, mut stamp, error) = match Ledger::decode(metadata, committed, fresh.tag) {
            Ok((ledger, stamp)) => (ledger, stamp, None),
            Err(error) => (Ledger::starting_at(committed), fresh, (!metadata.is_empty()).then_some(error)),
        };
        // What this life has announced already is no earlier life's end.
        let began_with = stamp.takeovers.min(began_with.unwrap_or(u32::MAX));
        let trial = if began_with >= Self::TRIAL {
            Trial::Alone { left: MAX_OPEN, announced: None }
        } else {
            Trial::Opening { announced: false }
        };
        stamp.takeovers = began_with;
        stamp.chain = fresh.chain;
        let task = Task {
            partition,
            stamp,
            began_with,
            ledger,
            order: Order::default(),
            trial,
            condemn_first: began_with >= Self::CONDEMNED,
            dirty: false,
            announcing: false,
            max_in_flight: max_in_flight.clamp(1, MAX_OPEN),
        };
        (task, error)
    }

    /// Take-overs without progress before this life: for [`Task::resume`] after doubt.
    pub fn began_with(&self) -> u32 {
        self.began_with
    }

    /// Asks for the record at `offset`. May change the ledger: see [`Task::is_dirty`]. `turn` is the worker's; give it
    /// back when the partition goes.
    pub fn admit(&mut self, offset: i64, turn: &mut Turn) -> Room {
        if offset < self.ledger.next() {
            return Room::Known;
        }
        if self.ledger.open() >= self.max_in_flight || !self.ledger.has_room(offset) {
            return Room::Wait;
        }
        if self.ledger.is_done(offset) {
            return Room::Known;
        }
        if matches!(self.trial, Trial::Alone { .. }) && !turn.take(self.partition) {
            return Room::Wait;
        }
        if std::mem::take(&mut self.condemn_first) {
            return Room::Condemned;
        }
        match &mut self.trial {
            Trial::Normal => Room::Go,
            Trial::Opening { announced: false } => {
                self.trial = Trial::Opening { announced: true };
                self.stamp.takeovers = self.began_with + 1;
                self.announce();
                Room::Wait
            }
            Trial::Opening { announced: true } if self.announcing => Room::Wait,
            Trial::Opening { announced: true } => {
                self.trial = Trial::Normal;
                Room::Go
            }
            Trial::Alone { .. } if self.ledger.open() > 0 => Room::Wait,
            Trial::Alone { announced, .. } if *announced == Some(offset) => {
                if self.announcing {
                    Room::Wait
                } else {
                    Room::Go
                }
            }
            Trial::Alone { announced, .. } => {
                *announced = Some(offset);
                self.stamp.takeovers += 1;
                self.announce();
                Room::Wait
            }
        }
    }

    fn announce(&mut self) {
        self.dirty = true;
        self.announcing = true;
    }

    /// The admitted record is not touched after all (its schema is not there yet): takes the announcement back, so that
    /// dying meanwhile accuses nobody.
    pub fn decline(&mut self, turn: &mut Turn) {
        if self.ledger.open() > 0 {
            return; // Something else is being worked on: the announcement stands.
        }
        match &mut self.trial {
            Trial::Alone { announced, .. } => {
                if announced.take().is_some() {
                    self.stamp.takeovers -= 1;
                    self.dirty = true;
                }
                turn.leave(self.partition);
            }
            Trial::Opening { .. } | Trial::Normal if self.stamp.takeovers > self.began_with => {
                self.trial = Trial::Opening { announced: false };
                self.stamp.takeovers = self.began_with;
                self.dirty = true;
            }
            Trial::Opening { .. } | Trial::Normal => {}
        }
    }

    /// What to commit when the partition is left cleanly: the ledger as it was committed last, without this life's
    /// take-over. `None` where it says nothing of the kind.
    pub fn farewell(&self, committed: &LedgerEntry) -> Option<LedgerEntry> {
        let (ledger, stamp) = Ledger::decode(committed.metadata.as_bytes(), committed.offset, self.stamp.tag).ok()?;
        if stamp.takeovers <= self.began_with {
            return None;
        }
        let stamp = Stamp { takeovers: self.began_with, ..stamp };
        Some(LedgerEntry { metadata: ledger.encode(&stamp), ..committed.clone() })
    }

    /// Passes over a record that is [`Room::Known`].
    pub fn pass(&mut self, offset: i64) {
        if self.ledger.advance(offset + 1) {
            self.dirty = true;
        }
    }

    /// Takes in an admitted record. Says whether it is the first of its key.
    pub fn push(&mut self, offset: i64, key: u64, work: W) -> (Flight, bool) {
        self.ledger.take_in(offset);
        self.order.push(key, Entry { offset, work })
    }

    /// The work of a flight under way.
    pub fn get_mut(&mut self, flight: Flight) -> Option<&mut W> {
        self.order.get_mut(flight).map(|entry| &mut entry.work)
    }

    /// The flight's work is finished.
    pub fn ready(&mut self, flight: Flight) {
        self.order.ready(flight);
    }

    /// The next event that leaves, in its key's order: its offset is done from here on, so its outputs belong into the
    /// same batch as the next [`Task::entry`]. With it the flight that is now the first of its key.
    pub fn release(&mut self, turn: &mut Turn) -> Option<(i64, W, Option<Flight>)> {
        let (entry, next) = self.order.pop()?;
        self.ledger.done(entry.offset);
        self.dirty = true;
        if matches!(self.trial, Trial::Alone { .. }) {
            turn.leave(self.partition);
        }
        self.stamp.takeovers = match &mut self.trial {
            Trial::Alone { left, announced } if *left > 1 => {
                (*left, *announced) = (*left - 1, None);
                Self::TRIAL
            }
            _ => {
                self.trial = Trial::Normal;
                self.began_with = 0;
                0
            }
        };
        Some((entry.offset, entry.work, next))
    }

    /// The consumer stands at `position` and delivered nothing since the last record.
    pub fn advance(&mut self, position: i64) {
        if self.ledger.advance(position) {
            self.dirty = true;
        }
    }

    /// The control topic was obeyed up to this offset.
    pub fn set_epoch(&mut self, epoch: i64) {
        if epoch > self.stamp.epoch {
            self.stamp.epoch = epoch;
            self.dirty = true;
        }
    }

    /// Whether the ledger has something to commit.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Whether work waits for the ledger to be committed.
    pub fn is_announcing(&self) -> bool {
        self.announcing
    }

    /// The ledger as it is to be committed now, with everything released so far.
    pub fn entry(&mut self) -> LedgerEntry {
        self.dirty = false;
        LedgerEntry { partition: self.partition, offset: self.ledger.base(), metadata: self.ledger.encode(&self.stamp) }
    }

    /// A batch with this task's ledger was committed: what was announced in it may begin.
    pub fn committed(&mut self) {
        if !self.dirty {
            self.announcing = false;
        }
    }

    /// Offsets taken in and not released.
    pub fn open(&self) -> usize {
        self.ledger.open()
    }

    /// The first offset that is not done.
    pub fn base(&self) -> i64 {
        self.ledger.base()
    }

    /// One past the last offset taken in.
    pub fn next(&self) -> i64 {
        self.ledger.next()
    }

    /// How carefully records are taken in.
    pub fn trial(&self) -> Trial {
        self.trial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Stamp = Stamp { tag: 7, chain: 1, epoch: 0, takeovers: 0 };

    fn commit(task: &mut Task<&'static str>) -> LedgerEntry {
        let entry = task.entry();
        task.committed();
        entry
    }

    /// A life that dies after taking in what it may; gives what it left committed.
    fn life(committed: i64, metadata: &str) -> (LedgerEntry, Vec<(i64, Room)>) {
        let (mut task, _) = Task::resume(0, committed, metadata.as_bytes(), FRESH, None, 1_000);
        let mut entry = LedgerEntry { partition: 0, offset: committed, metadata: metadata.to_owned() };
        let (mut taken, turn) = (Vec::new(), &mut Turn::default());
        for offset in 0..3 {
            let mut room = task.admit(offset, turn);
            if room == Room::Wait && task.is_dirty() {
                entry = commit(&mut task);
                room = task.admit(offset, turn);
            }
            taken.push((offset, room));
            if room == Room::Wait {
                break;
            }
            task.push(offset, offset as u64, "kills");
        }
        (entry, taken)
    }

    /// So many lives after the first one, each ended by its records. Gives what the last one took in.
    fn lives(count: usize) -> (LedgerEntry, Vec<(i64, Room)>) {
        let mut last = life(0, "");
        for _ in 0..count {
            last = life(last.0.offset, &last.0.metadata);
        }
        last
    }

    #[test]
    fn a_record_that_kills_three_times_is_tried_alone_and_condemned_if_it_kills_three_times_then() {
        for normal in 0..3 {
            assert_eq!(lives(normal).1, [(0, Room::Go), (1, Room::Go), (2, Room::Go)]);
        }
        for alone in 3..6 {
            assert_eq!(lives(alone).1, [(0, Room::Go), (1, Room::Wait)], "the fourth life goes one by one");
        }
        assert_eq!(lives(6).1, [(0, Room::Condemned), (1, Room::Wait)]);
        assert_eq!(
            lives(9).1,
            [(0, Room::Condemned), (1, Room::Wait)],
            "what is condemned stays so until it is buried"
        );
    }

    #[test]
    fn a_life_that_goes_on_after_doubt_is_not_counted_again() {
        for earlier in 0..7 {
            let mut entry = if earlier == 0 { life(0, "").0 } else { lives(earlier - 1).0 };
            let (mut task, _) = Task::<()>::resume(0, entry.offset, entry.metadata.as_bytes(), FRESH, None, 10);
            let began_with = task.began_with();
            for _ in 0..10 {
                let turn = &mut Turn::default();
                if task.admit(0, turn) == Room::Wait {
                    entry = task.entry();
                    task.committed();
                    task.admit(0, turn);
                }
                let metadata = entry.metadata.as_bytes();
                task = Task::resume(0, entry.offset, metadata, FRESH, Some(task.began_with()), 10).0;
                assert_eq!(task.began_with(), began_with);
            }
        }
    }

    #[test]
    fn of_two_partitions_on_trial_the_second_announces_nothing_while_the_first_is_tried() {
        let text = Ledger::starting_at(0).encode(&Stamp { takeovers: 3, ..FRESH });
        let resume = |partition| Task::resume(partition, 0, text.as_bytes(), FRESH, None, 10).0;
        let (mut first, mut second, turn) = (resume(0), resume(1), &mut Turn::default());
        assert_eq!(first.admit(0, turn), Room::Wait);
        commit(&mut first);
        assert_eq!(second.admit(0, turn), Room::Wait);
        assert!(!second.is_dirty());
        assert_eq!(first.admit(0, turn), Room::Go);
        let (flight, _) = first.push(0, 1, "well");
        first.ready(flight);
        first.release(turn);
        assert_eq!(second.admit(0, turn), Room::Wait);
        assert!(second.is_announcing());
    }

    #[test]
    fn a_take_over_of_an_idle_partition_counts_nothing() {
        let (mut entry, _) = life(0, "");
        let (task, _) = Task::<()>::resume(0, entry.offset, entry.metadata.as_bytes(), FRESH, None, 10);
        assert!(!task.is_dirty(), "nothing arrived, nothing is said");
        entry = life(entry.offset, &entry.metadata).0;
        let (_, stamp) = Ledger::decode(entry.metadata.as_bytes(), 0, FRESH.tag).unwrap();
        assert_eq!(stamp.takeovers, 2);
    }

    #[test]
    fn clean_leaves_accuse_nobody_however_many() {
        let (mut offset, mut metadata) = (0, String::new());
        for _ in 0..10 {
            let mut turn = Turn::default();
            let (mut task, _) = Task::resume(0, offset, metadata.as_bytes(), FRESH, None, 10);
            assert_eq!(task.admit(0, &mut turn), Room::Wait);
            let announced = commit(&mut task);
            assert_eq!(task.admit(0, &mut turn), Room::Go);
            task.push(0, 1, "takes longer than the pod lives");
            let farewell = task.farewell(&announced).expect("this life's take-over is taken back");
            (offset, metadata) = (farewell.offset, farewell.metadata);
        }
        let (_, stamp) = Ledger::decode(metadata.as_bytes(), offset, FRESH.tag).unwrap();
        assert_eq!(stamp.takeovers, 0);
    }

    #[test]
    fn a_record_that_is_declined_is_accused_of_nothing_and_announced_again() {
        let mut turn = Turn::default();
        let (mut task, _) = Task::<&str>::resume(0, 0, b"", FRESH, None, 10);
        assert_eq!(task.admit(0, &mut turn), Room::Wait);
        commit(&mut task);
        assert_eq!(task.admit(0, &mut turn), Room::Go);
        task.decline(&mut turn);
        let (_, stamp) = Ledger::decode(commit(&mut task).metadata.as_bytes(), 0, FRESH.tag).unwrap();
        assert_eq!(stamp.takeovers, 0);
        assert_eq!(task.admit(0, &mut turn), Room::Wait, "announced anew");
        let (_, stamp) = Ledger::decode(commit(&mut task).metadata.as_bytes(), 0, FRESH.tag).unwrap();
        assert_eq!(stamp.takeovers, 1);
    }

    #[test]
    fn progress_sets_the_count_back() {
        let turn = &mut Turn::default();
        let (entry, _) = life(0, "");
        let (mut task, _) = Task::resume(0, entry.offset, entry.metadata.as_bytes(), FRESH, None, 10);
        assert_eq!(task.admit(0, turn), Room::Wait);
        commit(&mut task);
        assert_eq!(task.admit(0, turn), Room::Go);
        let (flight, first) = task.push(0, 1, "well");
        assert!(first);
        task.ready(flight);
        assert_eq!(task.release(turn).map(|left| left.0), Some(0));
        let entry = commit(&mut task);
        assert_eq!(entry.offset, 1);
        let (_, stamp) = Ledger::decode(entry.metadata.as_bytes(), 1, FRESH.tag).unwrap();
        assert_eq!(stamp.takeovers, 0);
    }

    #[test]
    fn after_enough_records_alone_the_task_is_normal_again() {
        let turn = &mut Turn::default();
        let text = Ledger::starting_at(0).encode(&Stamp { takeovers: 3, ..FRESH });
        let (mut task, _) = Task::resume(0, 0, text.as_bytes(), FRESH, None, 10);
        for offset in 0..MAX_OPEN as i64 {
            assert_eq!(task.admit(offset, turn), Room::Wait);
            commit(&mut task);
            assert_eq!(task.admit(offset, turn), Room::Go);
            let (flight, _) = task.push(offset, 1, "well");
            assert_eq!(task.admit(offset + 1, turn), Room::Wait);
            task.ready(flight);
            task.release(turn);
        }
        assert_eq!(task.trial(), Trial::Normal);
        assert_eq!(task.admit(MAX_OPEN as i64, turn), Room::Go);
    }

    #[test]
    fn the_bound_on_flights_stops_intake_until_one_is_released() {
        let turn = &mut Turn::default();
        let text = Ledger::starting_at(0).encode(&FRESH);
        let (mut task, _) = Task::resume(0, 0, text.as_bytes(), FRESH, None, 2);
        task.admit(0, turn);
        commit(&mut task);
        assert_eq!(task.admit(0, turn), Room::Go);
        let (first, _) = task.push(0, 1, "a");
        task.push(1, 2, "b");
        assert_eq!(task.admit(2, turn), Room::Wait);
        task.ready(first);
        task.release(turn);
        assert_eq!(task.admit(2, turn), Room::Go);
    }
}
