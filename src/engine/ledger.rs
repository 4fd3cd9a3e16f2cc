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
mod tests;
