//! What a seed decides before the first step: the input, the cluster, and which faults are likely.

use fastrand::Rng;

/// Keys are small numbers, so that most records have company.
pub const KEYS: u8 = 6;

/// What lies in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    Fine,
    /// Its worker dies as soon as it looks inside.
    KillsWhenTaken,
    /// Its worker dies when the call for it comes back.
    KillsWhenFinished,
    /// The broker refuses what is made of it.
    Refused,
    /// What is made of it is above the limit.
    TooLarge,
}

impl Nature {
    /// Whether it must end among the dead letters.
    pub fn is_poison(self) -> bool {
        self != Nature::Fine
    }
}

/// One offset of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// A transaction marker, an aborted record or a compaction hole: no consumer sees it.
    Unseen,
    Record {
        key: u8,
        nature: Nature,
    },
}

/// How likely each fault is, in 1,024ths of the occasions for it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Odds {
    pub crash: u16,
    pub stop: u16,
    pub rebalance: u16,
    /// A living member is expelled: its process was stopped, or its heartbeats were lost.
    pub expel: u16,
    /// A rebalance does not wait for a commit that takes too long.
    pub gate_timeout: u16,
    /// The broker gives up a pending transaction.
    pub transaction_timeout: u16,
    pub initialise_fails: u16,
    /// A connection fails while no transaction is open.
    pub taint: u16,
    pub produce_aborts: u16,
    pub produce_times_out: u16,
    pub offsets_time_out: u16,
    pub abort_unanswered: u16,
    /// EndTxn is applied and its answer lost.
    pub end_unanswered: u16,
    /// EndTxn is lost before it is applied.
    pub end_lost: u16,
    /// EndTxn arrives later, whoever holds the transaction then.
    pub end_delayed: u16,
    /// EndTxn is delayed, sent again by the client library and answered: a success, and a straggler.
    pub end_retried: u16,
}

/// One schedule's circumstances.
#[derive(Debug, Clone)]
pub struct Plan {
    pub workers: usize,
    pub max_in_flight: usize,
    /// Whether an event starts only after the previous one of its key has left.
    pub serial: bool,
    /// Steps before the faults stop.
    pub steps: usize,
    /// Each partition's log.
    pub input: Vec<Vec<Cell>>,
    pub odds: Odds,
    /// Keys whose calls take long, as bits.
    pub slow_keys: u8,
}

impl Plan {
    /// Drawn from the seed: each fault is absent in half of the schedules, so that each pair of faults also meets alone.
    pub fn draw(rng: &mut Rng) -> Self {
        let partitions = rng.usize(1..4);
        let odds = if rng.u8(..8) == 0 { Odds::default() } else { Odds::draw(rng) };
        let killers = rng.u8(..4) == 0;
        let refused = rng.u8(..3) == 0;
        let input = (0..partitions)
            .map(|_| {
                let length = rng.usize(0..40);
                let gaps = rng.u8(..3);
                (0..length).map(|_| draw_cell(rng, gaps, killers, refused)).collect()
            })
            .collect();
        Plan {
            workers: rng.usize(1..4),
            max_in_flight: rng.usize(1..12),
            serial: rng.bool(),
            steps: rng.usize(20..500),
            input,
            odds,
            slow_keys: rng.u8(..) & rng.u8(..),
        }
    }

    /// Nothing goes wrong but what the records do themselves: one worker, one record in each partition's way.
    pub fn draw_quiet(rng: &mut Rng) -> Self {
        let mut plan = Plan::draw(rng);
        (plan.odds, plan.workers, plan.serial) = (Odds::default(), 1, false);
        plan
    }

    pub fn partitions(&self) -> usize {
        self.input.len()
    }

    pub fn end(&self, partition: i32) -> i64 {
        self.input[partition as usize].len() as i64
    }

    /// Key and nature of a record that exists.
    pub fn record(&self, partition: i32, offset: i64) -> Option<(u8, Nature)> {
        match self.input.get(partition as usize)?.get(usize::try_from(offset).ok()?)? {
            Cell::Unseen => None,
            Cell::Record { key, nature } => Some((*key, *nature)),
        }
    }

    /// How many calls an event needs before it can leave.
    pub fn calls(&self, partition: i32, offset: i64) -> u8 {
        let kills = self.record(partition, offset).is_some_and(|record| record.1 == Nature::KillsWhenFinished);
        if kills { 1 } else { (offset % 3) as u8 }
    }

    /// Whether an event fires a trigger: a second output of the same record.
    pub fn fires(&self, offset: i64) -> bool {
        offset % 5 == 0
    }
}

fn draw_cell(rng: &mut Rng, gaps: u8, killers: bool, refused: bool) -> Cell {
    if rng.u8(..8) < gaps {
        return Cell::Unseen;
    }
    let nature = match rng.u8(..64) {
        0 if killers => Nature::KillsWhenTaken,
        1 if killers => Nature::KillsWhenFinished,
        2 | 3 if refused => Nature::Refused,
        4 => Nature::TooLarge,
        _ => Nature::Fine,
    };
    Cell::Record { key: rng.u8(..KEYS), nature }
}

impl Odds {
    fn draw(rng: &mut Rng) -> Self {
        let mut up_to = |most: u16| if rng.bool() { rng.u16(0..=most) } else { 0 };
        Odds {
            crash: up_to(20),
            stop: up_to(10),
            rebalance: up_to(40),
            expel: up_to(15),
            gate_timeout: up_to(500),
            transaction_timeout: up_to(20),
            initialise_fails: up_to(300),
            taint: up_to(60),
            produce_aborts: up_to(200),
            produce_times_out: up_to(100),
            offsets_time_out: up_to(100),
            abort_unanswered: up_to(300),
            end_unanswered: up_to(150),
            end_lost: up_to(150),
            end_delayed: up_to(150),
            end_retried: up_to(150),
        }
    }
}
