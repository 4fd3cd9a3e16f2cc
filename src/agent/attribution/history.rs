//! A person's touches, in event time, bounded: the state of an attribution agent.
//!
//! Kept are the first touch and the newest, up to [`MAX_TOUCHES`] together and [`MAX_WEIGHT`] bytes. Those between that
//! no longer fit are counted by label, so that first, last and position-based stay right and linear stays honest. Their
//! own times are not kept: they leave the window in proportion, so that `touches` is about right for the very busy.

use serde::{Deserialize, Serialize};

use super::touch::Touch;

/// Most touches kept whole.
pub(super) const MAX_TOUCHES: usize = 50;
/// Most bytes of touches kept whole. As JSON they take less than twice that, far below [`crate::agent::MAX_STATE`].
pub(super) const MAX_WEIGHT: usize = 16 * 1024;
/// Labels that are told apart among those only counted; the rest is counted together.
const MAX_LABELS: usize = 20;
/// Steps per window in which those only counted expire.
const STEPS: i64 = 8;

/// One person's touches.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    /// Oldest first.
    #[serde(default)]
    touches: Vec<Touch>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    beyond: Option<Beyond>,
}

/// Touches between the first and the newest that did not fit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Beyond {
    pub count: u64,
    /// Time from which they are spread up to `until`, as far as is known: of the oldest that counts.
    #[serde(default)]
    pub since: i64,
    /// Time of the newest of them, milliseconds since 1970 UTC.
    pub until: i64,
    /// How many of each label, the first [`MAX_LABELS`].
    pub by_label: Vec<(String, u64)>,
}

/// What counts for an event of some time: touches of the window before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'h> {
    /// Oldest first.
    pub touches: &'h [Touch],
    pub beyond: Option<&'h Beyond>,
}

impl View<'_> {
    /// How many touches, those only counted included.
    pub fn count(&self) -> u64 {
        self.touches.len() as u64 + self.beyond.map_or(0, |beyond| beyond.count)
    }
}

impl Beyond {
    fn add(&mut self, touch: &Touch) {
        if self.count == 0 {
            (self.since, self.until) = (touch.at, touch.at);
        }
        self.count += 1;
        self.since = self.since.min(touch.at);
        self.until = self.until.max(touch.at);
        let label = touch.label().text();
        if let Some((_, count)) = self.by_label.iter_mut().find(|(known, _)| *known == label) {
            *count += 1;
        } else if self.by_label.len() < MAX_LABELS {
            self.by_label.push((label, 1));
        }
    }

    /// Leaves what is newer than `oldest`. When each of them was is not kept, so they are taken as spread evenly; in steps
    /// of a part of the window, lest rounding take more than time does. Says whether any is left.
    fn expire(&mut self, oldest: i64, window_ms: i64) -> bool {
        if self.until <= oldest {
            return false;
        }
        if oldest.saturating_sub(self.since) >= (window_ms / STEPS).max(1) {
            let share = self.until.abs_diff(oldest) as f64 / self.until.abs_diff(self.since) as f64;
            let left = |count: u64| (count as f64 * share).round() as u64;
            // Rounded as sums, so that many labels with a few touches each lose what they should together.
            let mut sum = 0;
            for (_, count) in &mut self.by_label {
                let before = left(sum);
                sum += *count;
                *count = left(sum) - before;
            }
            self.by_label.retain(|(_, count)| *count > 0);
            if !self.by_label.is_empty() {
                // What rounding takes falls on the later ones: next time on others.
                self.by_label.rotate_left(1);
            }
            self.count = left(self.count);
            self.since = oldest;
        }
        self.count > 0
    }
}

impl History {
    /// Counts a touch, in its place in time; says whether anything changed. Not counted are: one older than the window
    /// before the newest; one that tells a visit again; one that an earlier one overrules: a direct one with another in the window before
    /// it, or the echo of a marked one (`Touch::is_echo_of`).
    pub(super) fn add(&mut self, touch: Touch, window_ms: i64) -> bool {
        let newest = self.touches.last().map_or(touch.at, |last| last.at.max(touch.at));
        let oldest = newest.saturating_sub(window_ms);
        if touch.at <= oldest && touch.at < newest {
            return false;
        }
        // Of the same click, but before the window: whoever comes back by an old link comes anew, whether or not other
        // touches have pushed the old one out meanwhile.
        let again = |known: &Touch| known.at > touch.at.saturating_sub(window_ms) && known.is_same_visit(&touch);
        let known = self.touches.iter().position(again);
        let changed = match known {
            Some(index) => self.tell_again(index, touch),
            None => self.insert(touch, window_ms),
        };
        if changed {
            self.drop_overruled(window_ms);
            self.touches.retain(|touch| touch.at > oldest || touch.at == newest);
            self.beyond.take_if(|beyond| !beyond.expire(oldest, window_ms));
            self.drop_surplus();
        }
        changed
    }

    /// What counts for an event at that time. A late event sees no touch after it.
    pub(super) fn view(&self, at_ms: i64, window_ms: i64) -> View<'_> {
        let oldest = at_ms.saturating_sub(window_ms);
        let end = self.touches.partition_point(|touch| touch.at <= at_ms);
        let start = self.touches[..end].partition_point(|touch| touch.at <= oldest && touch.at < at_ms);
        let touches = &self.touches[start..end];
        let beyond = self.beyond.as_ref();
        let beyond =
            beyond.filter(|beyond| beyond.until > oldest && touches.last().is_some_and(|last| beyond.until <= last.at));
        View { touches, beyond }
    }

    /// A visit told again: it began with the earlier of both, and what the store says is taken over where it was not
    /// known.
    fn tell_again(&mut self, index: usize, again: Touch) -> bool {
        let known = &mut self.touches[index];
        let is_earlier = again.at < known.at;
        let is_fuller = known.found.is_none() && again.found.is_some();
        if is_fuller {
            known.found = again.found;
        }
        if is_earlier {
            known.at = again.at;
            self.touches.sort_by_key(|touch| touch.at);
        }
        is_earlier || is_fuller
    }

    fn insert(&mut self, touch: Touch, window_ms: i64) -> bool {
        let index = self.touches.partition_point(|known| known.at <= touch.at);
        if is_overruled(&touch, &self.touches[..index], window_ms) {
            return false;
        }
        self.touches.insert(index, touch);
        true
    }

    /// Touches that a late one has overruled.
    fn drop_overruled(&mut self, window_ms: i64) {
        let mut index = 0;
        while let Some(touch) = self.touches.get(index) {
            if is_overruled(touch, &self.touches[..index], window_ms) {
                self.touches.remove(index);
            } else {
                index += 1;
            }
        }
    }

    fn drop_surplus(&mut self) {
        let mut weight: usize = self.touches.iter().map(Touch::weight).sum();
        while self.touches.len() > 2 && (self.touches.len() > MAX_TOUCHES || weight > MAX_WEIGHT) {
            let touch = self.touches.remove(1);
            weight -= touch.weight();
            self.beyond.get_or_insert_default().add(&touch);
        }
    }
}

/// Whether a touch is none after those before it.
fn is_overruled(touch: &Touch, before: &[Touch], window_ms: i64) -> bool {
    let within = |known: &Touch| known.at > touch.at.saturating_sub(window_ms);
    match touch.is_direct() {
        true => before.last().is_some_and(within),
        false => before.iter().rev().take_while(|known| within(known)).any(|known| touch.is_echo_of(known)),
    }
}

#[cfg(test)]
impl History {
    /// Times and labels, for tests.
    pub(super) fn told(&self) -> Vec<(i64, String)> {
        self.touches.iter().map(|touch| (touch.at, touch.label().text())).collect()
    }
}
