//! Whose turn it is to be redone alone: one partition of a worker at a time, and nothing else beside it.
//!
//! A record that kills takes its whole worker along. Were anything else under way, in whichever partition, it would look
//! guilty too. So a partition that has a record to try takes the turn and waits for solitude: while somebody has the
//! turn the worker takes in nothing of the others, and begins when all that was under way has left.

use std::collections::VecDeque;

/// The turn of one worker's partitions.
#[derive(Debug, Default)]
pub struct Turn {
    holder: Option<i32>,
    waiting: VecDeque<i32>,
}

impl Turn {
    /// Whether the partition had the turn already, hence solitude. Otherwise it takes the turn, or queues for it.
    pub fn take(&mut self, partition: i32) -> bool {
        if self.holder == Some(partition) {
            return true;
        }
        if self.holder.is_none() && self.waiting.front().is_none_or(|first| *first == partition) {
            self.waiting.pop_front();
            self.holder = Some(partition);
        } else if !self.waiting.contains(&partition) {
            self.waiting.push_back(partition);
        }
        false
    }

    /// Who has it: nobody else's records are to be taken in.
    pub fn holder(&self) -> Option<i32> {
        self.holder
    }

    /// The partition has had its turn, or is no longer ours.
    pub fn leave(&mut self, partition: i32) {
        if self.holder == Some(partition) {
            self.holder = None;
        } else if !self.waiting.is_empty() {
            self.waiting.retain(|waiting| *waiting != partition);
        }
    }

    /// Nobody has it.
    pub fn clear(&mut self) {
        self.holder = None;
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_the_turn_and_the_others_follow_in_the_order_in_which_they_asked() {
        let mut turn = Turn::default();
        assert!(!turn.take(1), "it waits for solitude first");
        assert!(turn.take(1));
        assert!(!turn.take(2) && !turn.take(3) && !turn.take(2));
        assert_eq!(turn.holder(), Some(1));
        turn.leave(1);
        assert!(!turn.take(1), "who had it queues again");
        assert!(!turn.take(2) && turn.take(2));
        turn.leave(3);
        turn.leave(2);
        assert!(!turn.take(1) && turn.take(1), "who has gone holds up nobody");
    }
}
