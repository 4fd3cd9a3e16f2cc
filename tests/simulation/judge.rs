//! The invariants. Shares no code with the engine but the ledger's reader, whose work it compares with the topics.

use headwater::engine::{Ledger, LedgerEntry};

use super::{
    Checked, Violation,
    broker::{Broker, DEAD_LETTERS, State, TRIGGERS, Transaction, Written},
    plan::{KEYS, Plan},
};

/// The tag of the simulated cluster's partitions.
pub const TAG: u32 = 0x5EED;

pub struct Judge {
    /// For each input record, the topics that hold a committed output of it, as bits.
    seen: Vec<Vec<u8>>,
    /// For each partition and key, the last offset whose output is committed.
    last: Vec<[i64; KEYS as usize]>,
    /// For each partition, the life that last began from what is committed.
    opener: Vec<u32>,
    /// Dead letters of records with nothing wrong in them.
    pub innocents: Vec<(usize, i64)>,
}

impl Judge {
    pub fn new(plan: &Plan) -> Self {
        Judge {
            seen: plan.input.iter().map(|log| vec![0; log.len()]).collect(),
            last: vec![[-1; KEYS as usize]; plan.partitions()],
            opener: vec![0; plan.partitions()],
            innocents: Vec::new(),
        }
    }

    /// The owner of a partition begins from what is committed: nobody before it may commit any more.
    pub fn opens(&mut self, partition: i32, life: u32) {
        self.opener[partition as usize] = life;
    }

    /// What a transaction makes visible, before it does.
    pub fn commits(
        &mut self,
        plan: &Plan,
        transaction: &Transaction,
        output: &[Vec<Written>],
        committed: &[(i64, String)],
    ) -> Checked {
        for (partition, index) in &transaction.written {
            let written = &output[*partition][*index];
            if !transaction.ledgers.iter().any(|ledger| ledger.partition == written.source.0) {
                return Err(Violation(format!("{written:?} is committed without its partition's ledger")));
            }
            self.output(plan, *partition, written)?;
        }
        for ledger in &transaction.ledgers {
            if self.opener[ledger.partition as usize] != transaction.life {
                return Err(Violation(format!(
                    "life {} commits {ledger:?} after life {} took over",
                    transaction.life, self.opener[ledger.partition as usize]
                )));
            }
            self.ledger(plan, ledger, committed[ledger.partition as usize].0)?;
        }
        Ok(())
    }

    /// An ordinary commit of a partition that is left.
    pub fn farewell(&self, plan: &Plan, life: u32, entry: &LedgerEntry, committed: i64) -> Checked {
        let opener = self.opener[entry.partition as usize];
        if opener != life {
            return Err(Violation(format!("life {life} bids farewell with {entry:?} after life {opener} took over")));
        }
        self.ledger(plan, entry, committed)
    }

    fn output(&mut self, plan: &Plan, partition: usize, written: &Written) -> Checked {
        let (from, offset) = written.source;
        let Some((key, nature)) = plan.record(from, offset) else {
            return Err(Violation(format!("{written:?} has no input")));
        };
        if written.value != offset || written.key != key || partition as i32 != from {
            return Err(Violation(format!("{written:?} is not what was to be made of its input")));
        }
        let seen = &mut self.seen[partition][offset as usize];
        let bit = 1u8 << written.topic;
        // An event is enriched or buried, once; its trigger comes with the enriched record, once.
        let others = if written.topic == TRIGGERS { 1 << DEAD_LETTERS } else { !(1 << TRIGGERS) };
        if *seen & (bit | others) != 0 {
            return Err(Violation(format!("{written:?} is committed twice")));
        }
        *seen |= bit;
        if written.topic == TRIGGERS {
            return Ok(());
        }
        if written.topic == DEAD_LETTERS && !nature.is_poison() {
            self.innocents.push((partition, offset));
        }
        if written.topic != DEAD_LETTERS && nature.is_poison() {
            return Err(Violation(format!("{written:?} is made of a record that is {nature:?}")));
        }
        let last = &mut self.last[partition][key as usize];
        if *last >= offset {
            return Err(Violation(format!("{written:?} follows offset {last} of its key")));
        }
        *last = offset;
        Ok(())
    }

    fn ledger(&self, plan: &Plan, entry: &LedgerEntry, committed: i64) -> Checked {
        let wrong = |why: &str| Err(Violation(format!("{entry:?}: {why}")));
        if entry.offset < committed {
            return wrong("the committed offset moves back");
        }
        if entry.metadata.len() > 4_096 || !entry.metadata.is_ascii() {
            return wrong("the metadata does not fit");
        }
        let Ok((ledger, stamp)) = Ledger::decode(entry.metadata.as_bytes(), entry.offset, TAG) else {
            return wrong("no ledger");
        };
        if ledger.encode(&stamp) != entry.metadata {
            return wrong("encodes to something else");
        }
        if entry.offset > plan.end(entry.partition) {
            return wrong("beyond the end");
        }
        for (offset, seen) in self.seen[entry.partition as usize].iter().enumerate() {
            let offset = offset as i64;
            let done = offset < ledger.next() || ledger.is_done(offset);
            if plan.record(entry.partition, offset).is_some() && done != (*seen != 0) {
                return wrong(&format!("says done = {done} of offset {offset}, whose outputs say the opposite"));
            }
        }
        Ok(())
    }

    /// Whether every lag is zero.
    pub fn is_all_done(plan: &Plan, broker: &Broker) -> bool {
        broker.committed.iter().enumerate().all(|(partition, (offset, metadata))| {
            *offset == plan.end(partition as i32)
                && (metadata.is_empty()
                    || Ledger::decode(metadata.as_bytes(), *offset, TAG).is_ok_and(|(ledger, _)| ledger.is_plain()))
        })
    }

    /// When everything is done: each record once, triggers with their events, and the log in the order of its keys.
    pub fn closes(&self, plan: &Plan, broker: &Broker) -> Checked {
        for (partition, log) in self.seen.iter().enumerate() {
            for (offset, seen) in log.iter().enumerate() {
                let record = plan.record(partition as i32, offset as i64);
                let fired = *seen & 1 << TRIGGERS != 0;
                let enriched = *seen & !(1 << TRIGGERS | 1 << DEAD_LETTERS) != 0;
                if record.is_some() == (*seen == 0) || fired != (enriched && plan.fires(offset as i64)) {
                    return Err(Violation(format!("{partition}@{offset} {record:?} has outputs {seen:#b}")));
                }
            }
        }
        for (partition, log) in broker.output.iter().enumerate() {
            let mut last = [-1; KEYS as usize];
            for written in log.iter().filter(|it| it.state == State::Committed && it.topic != TRIGGERS) {
                let before = std::mem::replace(&mut last[written.key as usize], written.source.1);
                if before >= written.source.1 {
                    return Err(Violation(format!("partition {partition}: {written:?} lies behind offset {before}")));
                }
            }
        }
        Ok(())
    }
}
