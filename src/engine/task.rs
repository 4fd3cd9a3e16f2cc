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
//! the ledger before it is touched, with nothing else under way in the whole worker (see [`Turn`]). The record that lives
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
    /// A record tried alone has left, and that is not committed yet.
    settling: bool,
    /// The record that was condemned in this life.
    condemned: Option<i64>,
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
        // An announcement that doubt interrupted is taken back, so that nobody else's death counts for it.
        let dirty = stamp.takeovers != began_with;
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
            condemned: None,
            settling: false,
            dirty,
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
        if self.settling {
            return Room::Wait;
        }
        if matches!(self.trial, Trial::Alone { .. }) && !turn.take(self.partition) {
            return Room::Wait;
        }
        if std::mem::take(&mut self.condemn_first) {
            self.condemned = Some(offset);
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

    /// The work of the key's previous event, as long as that is under way.
    pub fn before(&self, flight: Flight) -> Option<&W> {
        self.order.before(flight).map(|entry| &entry.work)
    }

    /// The key's next event under way.
    pub fn after(&self, flight: Flight) -> Option<Flight> {
        self.order.after(flight)
    }

    /// The flight's work is finished.
    pub fn ready(&mut self, flight: Flight) {
        self.order.ready(flight);
    }

    /// The next event that leaves, in its key's order: its offset is done from here on, so its outputs belong into the
    /// same batch as the next [`Task::entry`]. With it the flight that is now the first of its key.
    pub fn release(&mut self) -> Option<(i64, W, Option<Flight>)> {
        let (entry, next) = self.order.pop()?;
        self.ledger.done(entry.offset);
        self.dirty = true;
        // The turn stays until that is committed: a death before would be counted against this record.
        self.settling = matches!(self.trial, Trial::Alone { .. });
        self.stamp.takeovers = match &mut self.trial {
            Trial::Alone { left, announced } if *left > 1 => {
                // The culprit is found where one was condemned: one more alone, so that its burial is committed first.
                *left = if self.condemned == Some(entry.offset) { 1 } else { *left - 1 };
                *announced = None;
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
    pub fn committed(&mut self, turn: &mut Turn) {
        if self.dirty {
            return; // By a later one.
        }
        self.announcing = false;
        if std::mem::take(&mut self.settling) {
            turn.leave(self.partition);
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
mod tests;
