//! The ledger: which offsets of a partition are done, also those beyond the first that is not.
//!
//! Work finishes out of order; Kafka commits one number. The committed offset is the first that is not done, and the
//! commit's metadata, an ASCII string of at most 4,096 bytes, holds the done runs beyond it:
//!
//! ```text
//! "h1." base64url( tag:u32be  base  chain  epoch  takeovers  (open done)* )      all but the tag as LEB128 varints
//! ```
//!
//! `open` is the length of a run of offsets that are not done, `done` of the run of done ones after it, beginning at
//! `base`. At most [`MAX_OPEN`] offsets are open and they span at most [`MAX_SPAN`], so that every reachable ledger
//! fits: 1,000 open runs of one byte, 1,000 done runs of two, 24 of which may take a third (2^19 = 24 × 2^14 + 976 ×
//! 2^7 + …), and a head of at most 4 + 9 + 5 + 9 + 1 bytes make 3,052; base64 of that and the prefix 4,073.

use std::collections::{BTreeSet, VecDeque};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// Offsets of one partition that may be open (taken in, not released) at once.
pub const MAX_OPEN: usize = 1_000;
/// Offsets from the first open to the last taken in, both included.
pub const MAX_SPAN: i64 = 524_288;
const PREFIX: &str = "h1.";

/// What a ledger carries besides offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// 32 bits of (cluster id, topic id, partition): another cluster's or a recreated topic's ledger is not ours.
    pub tag: u32,
    /// Number of the chain the task works for.
    pub chain: u32,
    /// Offset in the control topic up to which the task has obeyed it.
    pub epoch: i64,
    /// Take-overs of the partition since something in it was last done.
    pub takeovers: u32,
}

/// Why commit metadata is no ledger of this partition: prefer a repeat to a loss, and count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Somebody else's metadata (`kafka-consumer-groups --reset-offsets` writes none at all).
    #[error("commit metadata is not a ledger")]
    Foreign,
    /// Copied from another cluster or a topic of the same name that was recreated.
    #[error("the ledger belongs to another cluster, topic or partition")]
    OtherPartition,
    /// The offset was reset by hand and the metadata kept.
    #[error("the ledger belongs to another committed offset")]
    OtherBase,
    #[error("the ledger is cut short or overlong")]
    Malformed,
}

/// Which offsets of one partition are done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// One past the last offset that was taken in or passed over in this life.
    next: i64,
    /// Taken in and not done.
    open: BTreeSet<i64>,
    /// Runs `[from, to)` beyond `next` that an earlier life did; passed over when the records come.
    ahead: VecDeque<(i64, i64)>,
}

impl Ledger {
    /// A ledger that begins at an offset, everything before it done.
    pub fn starting_at(offset: i64) -> Self {
        Ledger { next: offset, open: BTreeSet::new(), ahead: VecDeque::new() }
    }

    /// The first offset that is not done: what is committed.
    pub fn base(&self) -> i64 {
        self.open.first().copied().unwrap_or(self.next)
    }

    /// One past the last offset taken in or passed over.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Offsets taken in and not done.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether one more offset may be taken in: [`MAX_OPEN`] and [`MAX_SPAN`] hold with it. Offsets that an earlier
    /// life left open ahead count as their records come, which is within what it was allowed.
    pub fn has_room(&self, offset: i64) -> bool {
        // With nothing open, the gap up to this record is done with it, however wide.
        let base = self.open.first().copied().unwrap_or(offset);
        self.open.len() < MAX_OPEN && offset.max(self.done_end() - 1) - base < MAX_SPAN
    }

    /// Whether nothing is open and nothing lies ahead: the committed offset says it all.
    pub fn is_plain(&self) -> bool {
        self.open.is_empty() && self.ahead.is_empty()
    }

    /// Takes in the record at `offset`, or says `false` where an earlier life did it already. Offsets between the last
    /// record and this one that nobody sees (markers, aborted records, compaction holes) are done with it.
    pub fn take_in(&mut self, offset: i64) -> bool {
        if offset < self.next {
            return false; // Delivered again by a reposition: known as open or done already.
        }
        let done = self.is_done(offset);
        self.advance(offset + 1);
        if !done {
            self.open.insert(offset);
        }
        !done
    }

    /// Marks an open offset done. `false` if it was not open.
    pub fn done(&mut self, offset: i64) -> bool {
        self.open.remove(&offset)
    }

    /// The consumer stands at `position` and nothing was delivered since the last record: what lies between is
    /// markers. Says whether anything changed.
    pub fn advance(&mut self, position: i64) -> bool {
        let too_wide = self.open.first().is_some_and(|first| position - first > MAX_SPAN);
        if position <= self.next || too_wide {
            return false;
        }
        self.next = position;
        // Runs that are reached or passed are no longer ahead: the next offset to take in lies beyond them.
        while let Some(&(from, to)) = self.ahead.front()
            && from <= self.next
        {
            self.next = self.next.max(to);
            self.ahead.pop_front();
        }
        true
    }

    /// Whether an earlier life did the offset, which lies at or beyond [`Ledger::next`].
    pub fn is_done(&self, offset: i64) -> bool {
        self.ahead.iter().take_while(|run| run.0 <= offset).any(|run| offset < run.1)
    }

    fn done_end(&self) -> i64 {
        self.ahead.back().map_or(self.next, |run| run.1)
    }

    /// The commit metadata: at most 4,096 bytes of ASCII, whatever the ledger.
    pub fn encode(&self, stamp: &Stamp) -> String {
        let mut raw = Vec::with_capacity(32 + self.open.len() * 3);
        raw.extend_from_slice(&stamp.tag.to_be_bytes());
        put_varint(&mut raw, self.base() as u64);
        put_varint(&mut raw, stamp.chain.into());
        put_varint(&mut raw, stamp.epoch.max(0) as u64);
        put_varint(&mut raw, stamp.takeovers.min(127).into());
        let mut at = self.base();
        let mut run = |open_to: i64, done_to: i64| {
            put_varint(&mut raw, (open_to - at) as u64);
            put_varint(&mut raw, (done_to - open_to) as u64);
            at = done_to;
        };
        // Done runs lie behind each open offset, up to the next open one or `next`, and ahead.
        let mut open = self.open.iter().copied().peekable();
        while let Some(offset) = open.next() {
            let to = open.peek().copied().unwrap_or(self.next);
            if offset + 1 < to {
                run(offset + 1, to);
            }
        }
        for &(from, to) in &self.ahead {
            run(from, to);
        }
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&raw))
    }

    /// Reads commit metadata for the offset it was committed with. The tag must be `tag`.
    pub fn decode(metadata: &[u8], committed: i64, tag: u32) -> Result<(Self, Stamp), LedgerError> {
        let text = metadata.strip_prefix(PREFIX.as_bytes()).ok_or(LedgerError::Foreign)?;
        let raw = URL_SAFE_NO_PAD.decode(text).map_err(|_| LedgerError::Malformed)?;
        let (head, mut rest) = raw.split_first_chunk::<4>().ok_or(LedgerError::Malformed)?;
        if u32::from_be_bytes(*head) != tag {
            return Err(LedgerError::OtherPartition);
        }
        if take_offset(&mut rest)? != committed {
            return Err(LedgerError::OtherBase);
        }
        let small = |value: i64| u32::try_from(value).map_err(|_| LedgerError::Malformed);
        let stamp = Stamp {
            tag,
            chain: small(take_offset(&mut rest)?)?,
            epoch: take_offset(&mut rest)?,
            takeovers: small(take_offset(&mut rest)?)?,
        };
        let mut ledger = Ledger::starting_at(committed);
        let mut at = committed;
        while !rest.is_empty() {
            let open = take_offset(&mut rest)?;
            let done = take_offset(&mut rest)?;
            let from = at.checked_add(open).ok_or(LedgerError::Malformed)?;
            at = from.checked_add(done).ok_or(LedgerError::Malformed)?;
            if done == 0 || ledger.ahead.len() >= MAX_OPEN || at - committed > MAX_SPAN {
                return Err(LedgerError::Malformed);
            }
            ledger.ahead.push_back((from, at));
        }
        Ok((ledger, stamp))
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_offset(bytes: &mut &[u8]) -> Result<i64, LedgerError> {
    let mut value = 0u64;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(LedgerError::Malformed)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return i64::try_from(value).map_err(|_| LedgerError::Malformed);
        }
    }
    Err(LedgerError::Malformed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const STAMP: Stamp = Stamp { tag: 0xDEAD_BEEF, chain: u32::MAX, epoch: i64::MAX, takeovers: 4 };

    #[test]
    fn an_untouched_ledger_commits_its_offset_and_no_runs() {
        let ledger = Ledger::starting_at(42);
        let (back, stamp) = Ledger::decode(ledger.encode(&STAMP).as_bytes(), 42, STAMP.tag).unwrap();
        assert_eq!((back, stamp), (ledger, STAMP));
    }

    #[test]
    fn offsets_done_beyond_an_open_one_are_passed_over_by_the_next_life() {
        let mut ledger = Ledger::starting_at(10);
        for offset in [10, 11, 12, 15, 16] {
            assert!(ledger.take_in(offset));
        }
        for offset in [11, 12, 16] {
            assert!(ledger.done(offset));
        }
        assert_eq!(ledger.base(), 10);
        let (mut next_life, _) = Ledger::decode(ledger.encode(&STAMP).as_bytes(), 10, STAMP.tag).unwrap();
        assert!(next_life.take_in(10));
        assert!(!next_life.take_in(11));
        assert!(!next_life.take_in(12));
        assert!(next_life.take_in(15));
        assert!(!next_life.take_in(16));
        assert!(next_life.take_in(17));
        assert_eq!(next_life.open(), 3);
    }

    #[test]
    fn a_foreign_copied_or_moved_ledger_is_no_ledger() {
        let metadata = Ledger::starting_at(10).encode(&STAMP);
        let decode = |text: &str, base, tag| Ledger::decode(text.as_bytes(), base, tag).unwrap_err();
        assert_eq!(decode("", 10, STAMP.tag), LedgerError::Foreign);
        assert_eq!(decode("set by hand", 10, STAMP.tag), LedgerError::Foreign);
        assert_eq!(decode("h1.!!", 10, STAMP.tag), LedgerError::Malformed);
        assert_eq!(decode(&metadata, 10, 1), LedgerError::OtherPartition);
        assert_eq!(decode(&metadata, 11, STAMP.tag), LedgerError::OtherBase);
    }

    #[test]
    fn a_gap_wider_than_the_span_stops_only_while_something_is_open() {
        let mut ledger = Ledger::starting_at(0);
        assert!(ledger.has_room(10 * MAX_SPAN));
        ledger.take_in(0);
        assert!(!ledger.has_room(10 * MAX_SPAN));
        ledger.done(0);
        assert!(ledger.has_room(10 * MAX_SPAN));
    }

    #[test]
    fn a_record_seen_again_is_not_taken_in_again() {
        let mut ledger = Ledger::starting_at(0);
        assert!(ledger.take_in(0));
        assert!(!ledger.take_in(0));
        ledger.done(0);
        assert!(!ledger.take_in(0));
    }

    #[test]
    fn the_worst_ledger_fits_into_kafkas_metadata() {
        // Every open offset alone, between done runs as long as the span allows; base and stamp as large as can be.
        let start = i64::MAX - 2 * MAX_SPAN;
        let mut ledger = Ledger::starting_at(start);
        let mut offset = start;
        for index in 0..MAX_OPEN as i64 {
            assert!(ledger.has_room(offset));
            ledger.take_in(offset);
            // 24 runs of three bytes, the others of two.
            offset += if index < 23 { 16_385 } else { 129 };
        }
        ledger.advance((start + MAX_SPAN).min(offset));
        assert_eq!(ledger.open(), MAX_OPEN);
        let metadata = ledger.encode(&STAMP);
        assert!(metadata.len() <= 4_096, "{} bytes", metadata.len());
        assert!(metadata.is_ascii());
    }

    /// A model that remembers every offset by itself.
    #[derive(Default)]
    struct Model {
        seen_to: i64,
        open: BTreeSet<i64>,
    }

    #[derive(Debug, Clone)]
    enum Move {
        /// A record arrives after so many offsets that nobody sees.
        Arrive(i64),
        /// The n-th open one is done.
        Done(prop::sample::Index),
        Restart,
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let gap = prop_oneof![8 => Just(0i64), 3 => 0i64..4, 1 => 0i64..2_000, 1 => 0i64..40_000];
        prop::collection::vec(
            prop_oneof![
                6 => gap.prop_map(Move::Arrive),
                5 => any::<prop::sample::Index>().prop_map(Move::Done),
                1 => Just(Move::Restart),
            ],
            0..3_000,
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn every_reachable_ledger_fits_survives_a_restart_and_redoes_only_what_is_open(moves in moves()) {
            let stamp = STAMP;
            let mut ledger = Ledger::starting_at(7);
            let mut model = Model { seen_to: 7, open: BTreeSet::new() };
            let mut log: Vec<i64> = Vec::new();
            for step in moves {
                match step {
                    Move::Arrive(gap) => {
                        let offset = model.seen_to + gap;
                        if ledger.has_room(offset) {
                            prop_assert!(ledger.take_in(offset));
                            model.open.insert(offset);
                            model.seen_to = offset + 1;
                            log.push(offset);
                        }
                    }
                    Move::Done(index) if !model.open.is_empty() => {
                        let offset = *index.get(&model.open.iter().copied().collect::<Vec<_>>());
                        prop_assert!(ledger.done(offset));
                        model.open.remove(&offset);
                    }
                    Move::Done(_) => {}
                    Move::Restart => {
                        let base = ledger.base();
                        let (mut back, _) = Ledger::decode(ledger.encode(&stamp).as_bytes(), base, stamp.tag).unwrap();
                        // The log is read again from the committed offset, and half-way there the process dies again.
                        let again: Vec<i64> = log.iter().copied().filter(|offset| *offset >= base).collect();
                        for (index, offset) in again.iter().enumerate() {
                            prop_assert!(back.has_room(*offset));
                            prop_assert_eq!(back.take_in(*offset), model.open.contains(offset), "offset {}", offset);
                            if index == again.len() / 2 {
                                let text = back.encode(&stamp);
                                back = Ledger::decode(text.as_bytes(), back.base(), stamp.tag).unwrap().0;
                                for offset in again.iter().take(index + 1).filter(|offset| **offset >= base) {
                                    prop_assert_eq!(back.take_in(*offset), model.open.contains(offset));
                                }
                            }
                        }
                        back.advance(model.seen_to);
                        ledger = back;
                    }
                }
                prop_assert_eq!(ledger.base(), model.open.first().copied().unwrap_or(model.seen_to));
                prop_assert_eq!(ledger.open(), model.open.len());
                prop_assert!(ledger.encode(&stamp).len() <= 4_096);
            }
        }

        #[test]
        fn metadata_of_any_kind_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), base in 0i64..1_000) {
            let _ = Ledger::decode(&bytes, base, 1);
            let raw = format!("h1.{}", URL_SAFE_NO_PAD.encode(&bytes));
            let _ = Ledger::decode(raw.as_bytes(), base, bytes.first_chunk::<4>().map_or(0, |tag| u32::from_be_bytes(*tag)));
        }
    }
}
