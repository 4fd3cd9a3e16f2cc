//! Whose turn it is to be redone alone: one partition of a worker at a time.
//!
//! A record that kills takes its whole worker along. Were several partitions tried at once, each would have announced a
//! record when the worker dies, and all of them would look guilty.

use std::collections::VecDeque;

/// The turn of one worker's partitions.
#[derive(Debug, Default)]
pub struct Turn {
    holder: Option<i32>,
    waiting: VecDeque<i32>,
}

impl Turn {
    /// Takes the turn, or queues for it.
    pub fn take(&mut self, partition: i32) -> bool {
        if self.holder == Some(partition) {
            return true;
        }
        if self.holder.is_none() && self.waiting.front().is_none_or(|first| *first == partition) {
            self.waiting.pop_front();
            self.holder = Some(partition);
            return true;
        }
        if !self.waiting.contains(&partition) {
            self.waiting.push_back(partition);
        }
        false
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
        assert!(turn.take(1) && turn.take(1));
        assert!(!turn.take(2) && !turn.take(3) && !turn.take(2));
        turn.leave(1);
        assert!(!turn.take(1), "who had it queues again");
        assert!(turn.take(2));
        turn.leave(3);
        turn.leave(2);
        assert!(turn.take(1), "who has gone holds up nobody");
    }
}
